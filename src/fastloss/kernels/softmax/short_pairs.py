"""Two sets of logits of few classes, with SIMD across rows.

The formulas are in `pairs.py`, and why rows of few classes are computed so in `short_rows.py`. The
bits of a row do not depend on its neighbours.
"""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import disjoint, larger, prefetch, select, smaller, window, windows
from ..form import Function, PairScores
from ..row_groups import GROUP, rowwise
from ..scalar import log1p_of_sum
from ..tiles import fill
from .divergences import class_shares
from .group_sums import RUN
from .lanes import lane, loader, memory
from .pair_labels import label_comparer, label_reader, narrower
from .pair_tops import settler, shift_finder, top_finder
from .pairs import log_ratio_of
from .row_scores import score_writer
from .traits import Traits
from .two_rows import difference_formula, exps_formula

# Classes whose terms are added up one after the other in the arithmetic.
IN_TURN = 1 << 4


class Side(NamedTuple):
    """Of a group of rows, what the loader reads of one of the two sets: as in `Rows`."""

    n_classes: Any
    y_pred: Any
    n_behind: Any
    losses: Any
    numbers: Any
    doubles: Any


class Numbers(NamedTuple):
    """What is known of the rows of a group in the arithmetic: arrays with room for GROUP rows."""

    tops_a: Any  # the largest logit
    tops_b: Any
    places_a: Any  # its class, the first one
    places_b: Any
    shifts: Any  # the difference of the largest logits, and what rounding took from it
    lost_shifts: Any
    labels_a: Any  # the logit of the label, and its loss in the end
    labels_b: Any
    differences: Any  # of the label
    rests_a: Any  # the sum of the exponentials but for the largest one
    rests_b: Any
    excesses: Any  # the sum of their differences
    inverses_a: Any  # 1 / the sum of the exponentials
    inverses_b: Any
    log_sums_a: Any  # its logarithm
    log_sums_b: Any
    log_ratios: Any
    # What some classes add to sums.
    parts: Any
    more_parts: Any
    third_parts: Any
    last_parts: Any


class Doubles(NamedTuple):
    """The same in float64."""

    gaps_a: Any  # of the label
    gaps_b: Any
    rests_a: Any
    rests_b: Any
    excesses: Any


# What the two have room for.
_N_NUMBERS, _N_DOUBLES = len(Numbers._fields), len(Doubles._fields)


def few_pairs(traits: Traits) -> Function:
    """What to do with a block: as `pairs`, for few classes."""
    form = traits.form
    unlabelled = form._replace(labelled=False, class_ids=False)
    side_a = traits._replace(form=unlabelled)
    side_b = traits._replace(form=unlabelled._replace(pred=form.vector))
    load_a, load_b, (side_room, scratch_in) = loader(side_a), loader(side_b), memory(side_a)
    find_tops, settle, find_shifts = top_finder(traits), settler(traits), shift_finder(traits)
    read_labels, sum_exps = label_reader(traits), _exp_adder(traits)
    find_ratios, add_shares = _ratio_finder(traits), _share_adder(traits)
    compare_labels, finish = label_comparer(traits), _finisher(traits)
    columns_in, write_rows = score_writer(form)
    labelled, n_scores = form.labelled, form.n_results

    def room(n_classes: Any) -> Any:
        n_numbers, n_encoded = side_room(n_classes)
        return 2 * n_numbers + (n_classes + _N_NUMBERS) * GROUP, n_encoded

    def group_size(n_classes: Any) -> Any:
        return GROUP

    def group(rows: Any) -> None:
        o, c = rows.options, rows.n_classes
        n_rows, (n_side, _) = rows.y_pred.size // c, side_room(c)
        n = (n_rows + (RUN - 1)) & -RUN
        first, second = window(rows.numbers, 0, n_side), window(rows.numbers, n_side, n_side)
        of_a = Side(c, rows.y_pred, rows.n_behind, rows.losses, first, rows.doubles)
        of_b = Side(c, rows.vector, rows.n_behind, rows.losses, second, rows.doubles)
        in_a, in_b = scratch_in(of_a), scratch_in(of_b)
        load_a(o, of_a, in_a)
        load_b(o, of_b, in_b)
        a, b = in_a.logits, in_b.logits
        differences = window(rows.numbers, 2 * n_side, c * GROUP)
        rest = window(rows.numbers, 2 * n_side + c * GROUP, _N_NUMBERS * GROUP)
        numbers = Numbers(*windows(rest, GROUP, _N_NUMBERS))
        doubles = Doubles(*windows(rows.doubles, GROUP, _N_DOUBLES))
        columns = columns_in(rows.doubles)
        scores = PairScores(*windows(columns, GROUP, n_scores))
        find_tops(c, a, numbers.tops_a, numbers.places_a)
        find_tops(c, b, numbers.tops_b, numbers.places_b)
        settle(c, a, numbers.tops_a, numbers.parts)
        settle(c, b, numbers.tops_b, numbers.parts)
        find_shifts(numbers.tops_a, numbers.tops_b, numbers.shifts, numbers.lost_shifts)
        if labelled:
            read_labels(o, rows, a, b, numbers, doubles)
        sum_exps(o, rows, a, b, differences, numbers, doubles)
        find_ratios(numbers, doubles)
        add_shares(rows, a, b, differences, numbers, scores)
        if labelled:
            compare_labels(numbers, doubles, scores, n)
        finish(numbers, doubles, rows.weights, scores, n)
        write_rows(columns, rows.scores, n_rows)
        fill(rows.losses, 0.0)

    return rowwise(group, group_size, room, form, traits.ignoring)


def _widener(traits: Traits) -> Function:
    zero, double = traits.form.number(0), np.float64

    # In a loop of its own: beside float64, LLVM takes half of the rows at a time.
    def widen(parts: Any, sums: Any) -> None:
        """Add what some classes have added up to, and begin anew."""
        disjoint()
        for r in range(GROUP):
            sums[r] += double(parts[r])
            parts[r] = zero

    return widen


def _exp_adder(traits: Traits) -> Function:
    difference_of, exps_of = difference_formula(traits), exps_formula(traits)
    widen, number, zero = _widener(traits), traits.form.number, traits.form.number(0)

    def sum_class(
        o: Any,
        j: Any,
        a: Any,
        b: Any,
        differences: Any,
        tops_a: Any,
        tops_b: Any,
        places_a: Any,
        places_b: Any,
        shifts: Any,
        lost_shifts: Any,
        rests_a: Any,
        rests_b: Any,
        excesses: Any,
    ) -> None:
        """Put exp(x) and exp(y) in the place of a and b, and add them up, but for the largest."""
        disjoint()
        for r in range(GROUP):
            difference = difference_of(o, a[r], b[r], shifts[r], lost_shifts[r])
            exps = exps_of(o, a[r], b[r], difference, (tops_a[r], tops_b[r]))
            differences[r] = difference
            a[r], b[r] = exps[0], exps[1]
            rests_a[r] += select(places_a[r] == number(j), zero, exps[0])
            rests_b[r] += select(places_b[r] == number(j), zero, exps[1])
            excesses[r] += exps[2]

    def sum_exps(
        o: Any, rows: Any, a: Any, b: Any, differences: Any, numbers: Any, doubles: Any
    ) -> None:
        c = rows.n_classes
        parts = numbers.parts, numbers.more_parts, numbers.third_parts
        sums = doubles.rests_a, doubles.rests_b, doubles.excesses
        for i in range(3):
            fill(parts[i], zero)
            fill(sums[i], 0.0)
        for start in range(0, c, IN_TURN):
            for j in range(start, start + smaller(IN_TURN, c - start)):
                prefetch(rows.y_pred, (c + j) * GROUP, GROUP)  # in the next group
                sum_class(
                    o,
                    j,
                    lane(a, j),
                    lane(b, j),
                    lane(differences, j),
                    numbers.tops_a,
                    numbers.tops_b,
                    numbers.places_a,
                    numbers.places_b,
                    numbers.shifts,
                    numbers.lost_shifts,
                    *parts,
                )
            for i in range(3):
                widen(parts[i], sums[i])

    return sum_exps


def _ratio_finder(traits: Traits) -> Function:
    narrow, labelled, one = narrower(traits), traits.form.labelled, traits.form.number(1)

    def find(
        rests_a: Any,
        rests_b: Any,
        excesses: Any,
        inverses_a: Any,
        inverses_b: Any,
        log_sums_a: Any,
        log_sums_b: Any,
        log_ratios: Any,
    ) -> None:
        disjoint()
        for r in range(GROUP):
            a, b = rests_a[r], rests_b[r]
            inverses = one / (one + a), one / (one + b)
            inverses_a[r], inverses_b[r] = inverses[0], inverses[1]
            log_ratios[r] = log_ratio_of(excesses[r], inverses)
            if labelled:
                log_sums_a[r], log_sums_b[r] = log1p_of_sum(a), log1p_of_sum(b)

    def find_ratios(numbers: Any, doubles: Any) -> None:
        narrow(doubles.rests_a, numbers.rests_a)
        narrow(doubles.rests_b, numbers.rests_b)
        narrow(doubles.excesses, numbers.excesses)
        find(
            numbers.rests_a,
            numbers.rests_b,
            numbers.excesses,
            numbers.inverses_a,
            numbers.inverses_b,
            numbers.log_sums_a,
            numbers.log_sums_b,
            numbers.log_ratios,
        )

    return find_ratios


def _share_adder(traits: Traits) -> Function:
    probability, close, of_any = class_shares(traits)
    widen, zero, one = _widener(traits), traits.form.number(0), traits.form.number(1)

    def farthest(differences: Any, log_ratios: Any) -> Any:
        """The largest |d| of a class; a NaN may be passed over or be the result."""
        result = zero
        for r in range(GROUP):
            result = larger(abs(differences[r] - log_ratios[r]), result)
        return result

    def adding(shares_of: Function) -> Function:
        def add_class(
            exps_a: Any,
            exps_b: Any,
            differences: Any,
            inverses_a: Any,
            inverses_b: Any,
            log_ratios: Any,
            kl: Any,
            reverse_kl: Any,
            jensen_shannon: Any,
            total_variation: Any,
        ) -> None:
            disjoint()
            for r in range(GROUP):
                p = probability(exps_a[r], inverses_a[r])
                q = probability(exps_b[r], inverses_b[r])
                shares = shares_of(p, q, differences[r] - log_ratios[r])
                kl[r] += shares[0]
                reverse_kl[r] += shares[1]
                jensen_shannon[r] += shares[2]
                total_variation[r] += shares[3]

        return add_class

    add_close, add_any = adding(close), adding(of_any)

    def add_shares(rows: Any, a: Any, b: Any, differences: Any, numbers: Any, scores: Any) -> None:
        c = rows.n_classes
        parts = numbers.parts, numbers.more_parts, numbers.third_parts, numbers.last_parts
        sums = scores.kl, scores.reverse_kl, scores.jensen_shannon, scores.total_variation
        inverses = numbers.inverses_a, numbers.inverses_b
        for i in range(4):
            fill(parts[i], zero)
            fill(sums[i], 0.0)
        for start in range(0, c, IN_TURN):
            for j in range(start, start + smaller(IN_TURN, c - start)):
                prefetch(rows.vector, (c + j) * GROUP, GROUP)
                of_class = lane(a, j), lane(b, j), lane(differences, j)
                if farthest(of_class[2], numbers.log_ratios) < one:
                    add_close(*of_class, *inverses, numbers.log_ratios, *parts)
                else:
                    add_any(*of_class, *inverses, numbers.log_ratios, *parts)
            for i in range(4):
                widen(parts[i], sums[i])

    return add_shares


def _finisher(traits: Traits) -> Function:
    labelled, leaving_out = traits.form.labelled, traits.leaving_out

    # A sum, as LLVM makes a masked store of a choice, which takes ten times as long.
    def seen(score: Any, mark: Any, counted: Any) -> Any:
        """The score of a row that has a softmax, whose mark is 0; 0 of one that is left out."""
        return select(counted, score + mark, 0.0) if leaving_out else score + mark

    def finish_all(
        places_a: Any,
        places_b: Any,
        shifts: Any,
        rests_a: Any,
        rests_b: Any,
        weights: Any,
        scores: Any,
        n: Any,
    ) -> None:
        disjoint()
        for r in range(n):
            known = (rests_a[r] + rests_b[r] < np.inf) & (shifts[r] == shifts[r])
            counted = (weights[r] != 0.0) if leaving_out else True
            same = known & counted & (places_a[r] == places_b[r])
            scores.weight[r] = weights[r]
            scores.agreement[r] = select(same, 1.0, 0.0)
            mark = select(known, 0.0, np.nan)
            scores.kl[r] = seen(scores.kl[r], mark, counted)
            scores.reverse_kl[r] = seen(scores.reverse_kl[r], mark, counted)
            scores.jensen_shannon[r] = seen(scores.jensen_shannon[r], mark, counted)
            scores.total_variation[r] = seen(scores.total_variation[r], mark, counted)
            losses = scores.loss_a[r], scores.loss_b[r], scores.loss_difference[r]
            change = scores.probability_change[r]
            if not labelled:
                losses, change = (0.0, 0.0, 0.0), 0.0
            scores.loss_a[r] = seen(losses[0], mark, counted)
            scores.loss_b[r] = seen(losses[1], mark, counted)
            scores.loss_difference[r] = seen(losses[2], mark, counted)
            scores.probability_change[r] = seen(change, mark, counted)

    def finish(numbers: Any, doubles: Any, weights: Any, scores: Any, n: Any) -> None:
        finish_all(
            numbers.places_a,
            numbers.places_b,
            numbers.shifts,
            doubles.rests_a,
            doubles.rests_b,
            weights,
            scores,
            n,
        )

    return finish
