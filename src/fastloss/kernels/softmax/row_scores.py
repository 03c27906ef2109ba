"""Scores of rows of logits x with class ids y: what is found out beside the loss, in the same pass.

With m the largest logit, g_j = (m - x_j) / temperature, e_j = exp(-g_j), S = sum of e_j and
p_j = e_j / S, everything follows from a few sums over the classes:

    loss         = g_y + log(S)
    log-sum-exp  = m / temperature + log(S)
    confidence   = 1 / S
    entropy      = log(S) + sum of p_j g_j
    Brier score  = sum of (p_j - [j = y])^2 = (sum of p_j^2 over j != y) + (1 - p_y)^2
    slope        = g_y - sum of p_j g_j
    spread       = sum of p_j g_j^2 - (sum of p_j g_j)^2

Slope and spread are the first two derivatives of the loss with respect to b = 1 / temperature,
times b and b^2. The rank of y is the number of classes that stand before it when they are sorted by
their logits, the lower class id first where those are equal.

The sums leave out the largest logits, whose e is 1: so all scores keep their digits when the model
is confident, as the loss does.

The sums (`Moments`) are added up by `part_scores` in long rows. In short rows this is done beside
the exponentials, but for what `lane_scores` does.
"""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import (
    accumulate,
    add_product,
    count,
    disjoint,
    next_larger,
    select,
    smaller,
    transpose,
    window,
    windows,
)
from ..form import Form, Function, RowScores
from ..row_groups import CHUNK, GROUP, N_DOUBLE_SUMS, N_MOMENTS
from ..scalar import exp_of_gap, exp_of_minus, lift_unit
from ..tiles import fill
from .formulas import exponentials
from .group_sums import RUN
from .lanes import ABREAST, class_by_class, square_side
from .parts import parts
from .traits import Traits, Variant


def moment_terms(number: Any) -> Function:
    zero = number(0)

    def terms(exp_j: Any, gap: Any, is_largest: Any) -> Any:
        """What a class adds to the first three moments, the second with a minus.

        `exp_j` is lifted, and so are these. The gap is in reach, so that of -inf adds nothing; nor
        does the largest, though its gap may be inf - inf.
        """
        square, weighed = exp_j * exp_j, exp_j * gap
        return (
            select(is_largest, zero, square),
            select(is_largest, zero, weighed),
            select(is_largest, zero, weighed * gap),
        )

    return terms


def score_writer(form: Form) -> tuple[Function, Function]:
    """Where the scores of a group are collected, GROUP of each; how they are written as rows."""
    start, n_scores = (N_DOUBLE_SUMS + N_MOMENTS) * GROUP, form.n_results
    side = square_side(Traits(form._replace(arithmetic="float64"), Variant()))

    def columns_in(doubles: Any) -> Any:
        return window(doubles, start, n_scores * GROUP)

    def write_rows(columns: Any, scores_out: Any, n_rows: Any) -> None:
        whole = n_rows - n_rows % side
        for r in range(0, whole, side):
            for i in range(0, n_scores, side):
                # The last square reaches back, not over the end.
                at = smaller(i, n_scores - side)
                first, out = at * GROUP + r, r * n_scores + at
                transpose(columns, first, GROUP, scores_out, out, n_scores, side)
        for r in range(whole, n_rows):
            for i in range(n_scores):
                scores_out[r * n_scores + i] = columns[i * GROUP + r]

    return columns_in, write_rows


def scorer(traits: Traits) -> Function:
    """The function that writes the scores of a group, when all sums are known."""
    capped, tempered = traits.variant.capped, traits.variant.tempered
    n_scores, with_spread = traits.form.n_results, traits.form.with_spread
    number, double, nan = traits.form.number, np.float64, np.nan

    columns_in, write_rows = score_writer(traits.form)

    def score(o: Any, sums: Any, moments: Any, rows: Any, n_rows: Any) -> None:
        n = (n_rows + (RUN - 1)) & -RUN
        columns = columns_in(rows.doubles)
        scores = RowScores(*windows(columns, GROUP, n_scores))
        score_all(o, sums, moments, rows.losses, rows.weights, scores, n)
        write_rows(columns, rows.scores, n_rows)

    def score_all(
        o: Any, sums: Any, moments: Any, losses: Any, weights: Any, columns: Any, n: Any
    ) -> None:
        """All that is done once for a row, with SIMD over the group."""
        disjoint()
        for r in range(n):
            largest = double(sums.capped[r] if capped else sums.largest[r])
            gap, rest, log_sum = sums.gaps[r], double(sums.rest[r]), double(sums.log_sums[r])
            if tempered:
                largest, gap = largest * o.inverse_temperature, gap * o.inverse_temperature
            inverse = 1.0 / (1.0 + rest)
            mean_gap = double(moments.gaps[r]) * inverse
            # A sum over the classes that are not the label: of the largest all but one, if that is
            # the label; else all of the largest, and all of the others but the label.
            power, tail = exp_of_minus(number(gap))
            exp_y = double(power) + double(tail)
            right = gap == 0.0
            miss = select(right, rest * inverse, 1.0 - exp_y * inverse)
            others = double(moments.squares[r]) + (double(sums.maxima[r]) - 1.0)
            others = others + select(right, 0.0, 1.0 - exp_y * exp_y)
            others = select(others < 0.0, 0.0, others)
            loss = losses[r]
            known = loss == loss
            columns.loss[r] = loss
            columns.log_sum_exp[r] = select(known, largest + log_sum, nan)
            columns.confidence[r] = inverse
            columns.entropy[r] = select(known, log_sum + mean_gap, nan)
            columns.brier[r] = select(known, others * (inverse * inverse) + miss * miss, nan)
            columns.rank[r] = select(known, double(moments.ranks[r]), nan)
            columns.prediction[r] = select(known, double(moments.predictions[r]), nan)
            columns.slope[r] = select(known, gap - mean_gap, nan)
            spread = 0.0
            if with_spread:
                spread = double(moments.square_gaps[r]) * inverse - mean_gap * mean_gap
            columns.spread[r] = select(known, spread, nan)
            columns.weight[r] = weights[r]

    return score


# -------------------------------------------------------------------------------------------------
# Of long rows


class PartScores(NamedTuple):
    """Functions that add up the moments of a long row."""

    clear_moments: Function
    move_moments: Function
    at_label: Function
    score_part: Function
    predict: Function


def part_scores(traits: Traits) -> PartScores:
    part_of, _, _, seen = parts(traits)
    with_spread, decode_true = traits.form.with_spread, traits.form.decode_true
    all_terms, n_equal = _terms_adder(traits), _equals_counter(traits)
    double = np.float64

    def clear_moments(moments: Any, row: Any) -> None:
        for sum_ in moments:
            sum_[row] = 0.0
        moments.predictions[row] = -1.0

    def move_moments(moments: Any, row: Any, gap: Any, rest: Any, n_maxima: Any) -> None:
        """Change the moments to a larger largest logit.

        `gap` is the last one less that, `n_maxima` how often the last one was there, and `rest` the
        sum of all exponentials after the move.
        """
        factor = exp_of_gap(gap)
        nothing = factor == 0.0
        first, second = moments.gaps[row] * factor, moments.square_gaps[row] * factor
        moved = first - gap * rest
        bent = second - gap * (first + moved)
        moments.squares[row] = (moments.squares[row] + n_maxima) * (factor * factor)
        moments.gaps[row] = select(nothing, 0.0, moved)
        moments.square_gaps[row] = select(nothing, 0.0, bent)
        moments.predictions[row] = -1.0

    def at_label(o: Any, rows: Any, row: Any, top: Any) -> Any:
        """The label of a row and its logit as it counts."""
        label = decode_true(rows.y_true[row])
        # The labels were checked, so they changed since: stay inside the arrays.
        label = select((label >= 0) & (label < rows.n_classes), label, 0)
        return label, seen(o, part_of(o, rows, row, 0, rows.n_classes), label, top)[0]

    def score_part(
        o: Any, part: Any, row: Any, n_known: Any, top: Any, kept: Any, label: Any, moments: Any
    ) -> Any:
        """As `sum_part` of `parts.py`; and add to the moments of the row."""
        start, n, (y, x_y) = part.start, part.x.size, label
        # Before the label are counted the classes in front of it that reach its logit, and those
        # behind it that are larger.
        bound = x_y if start + n <= y else next_larger(x_y)
        rest, n_maxima, sums, before = all_terms(o, part, n_known, top, bound)
        if start < y < start + n:
            before += n_equal(o, part, n_known, y - start, top, x_y)
        moments.squares[row] += sums[0]
        moments.gaps[row] += sums[1]
        if with_spread:
            moments.square_gaps[row] += sums[2]
        moments.ranks[row] += before
        # Where the prediction is to be looked for.
        if n_maxima > 0.0 and moments.predictions[row] < 0.0:
            moments.predictions[row] = double(start)
        return rest, n_maxima

    return PartScores(clear_moments, move_moments, at_label, score_part, _predictor(traits))


def _terms_adder(traits: Traits) -> Function:
    seen, (constants, gap_in_reach, exp_terms) = parts(traits).seen, exponentials(traits)
    moments_of, with_spread = moment_terms(traits.form.number), traits.form.with_spread
    number, double = traits.form.number, np.float64
    zero, none, unit = number(0), np.int32(0), lift_unit(number)

    def all_terms(o: Any, part: Any, n_known: Any, top: Any, bound: Any) -> Any:
        """As `sum_part`; and what a part adds to the moments, and how many numbers reach `bound`.

        In a loop of their own the moments took a fifth longer.
        """
        c = constants()
        rest = zero
        others = none
        squares = zero
        gaps = zero
        square_gaps = zero
        before = none
        for j in range(part.x.size):
            x_j, is_largest = seen(o, part, j, top)
            _, factor, power = exp_terms(o, x_j, top[1], is_largest, c)
            is_new = j >= n_known
            factor = select(is_new, factor, zero)
            gap_j = gap_in_reach(o, x_j, top[1], c)
            square, gap, square_gap = moments_of(factor * power, gap_j, is_largest)
            rest = add_product(rest, factor, power)
            others = count(others, is_new & (not is_largest))
            squares = accumulate(squares, square)
            gaps = accumulate(gaps, gap)
            if with_spread:
                square_gaps = accumulate(square_gaps, square_gap)
            before = count(before, is_new & (x_j >= bound))
        n_maxima = double(part.x.size - n_known - others)
        sums = double(squares) * (unit * unit), double(gaps) * -unit, double(square_gaps) * unit
        return double(rest) * unit, n_maxima, sums, double(before)

    return all_terms


def _equals_counter(traits: Traits) -> Function:
    seen, double = parts(traits).seen, np.float64
    none = np.int32(0)

    def n_equal(o: Any, part: Any, n_known: Any, n: Any, top: Any, x_y: Any) -> Any:
        equal = none
        for j in range(n):
            here = (seen(o, part, j, top)[0] == x_y) & (j >= n_known)
            equal = count(equal, here)
        return double(equal)

    return n_equal


def _predictor(traits: Traits) -> Function:
    part_of, _, top_of, seen = parts(traits)
    capped, double = traits.variant.capped, np.float64

    def first_largest(o: Any, part: Any, top: Any) -> Any:
        """The place of the first number of a part that is the largest of its row, or its size."""
        first = part.x.size
        for j in range(part.x.size):
            first = smaller(first, select(seen(o, part, j, top)[0] == top[1], j, part.x.size))
        return first

    def predict(o: Any, rows: Any, row: Any, largest: Any, predictions: Any) -> None:
        c, top = rows.n_classes, top_of(o, largest)
        # Where logits are capped, rounding may have made others before it as large.
        start = 0 if capped else max(np.int64(predictions[row]), 0)
        while start < c:
            n = smaller(CHUNK, c - start)
            found = first_largest(o, part_of(o, rows, row, start, n), top)
            if found < n:
                predictions[row] = double(start + found)
                return
            start += n

    return predict


# -------------------------------------------------------------------------------------------------
# Of short rows


def _ranker(traits: Traits, n_classes: int) -> Function:
    """The function that counts the classes, of some, above the label, and finds the largest."""
    number, none = traits.form.number, np.int32(0)

    def rank(o: Any, j: Any, scratch: Any) -> None:
        x, moments = window(scratch.logits, j * GROUP, n_classes * GROUP), scratch.moments
        count_above(j, x, scratch.labels, scratch.at_label, moments.ranks)
        find_largest(j, x, scratch.sums.largest, moments.predictions)

    def count_above(j: Any, x: Any, labels: Any, at_label: Any, ranks: Any) -> None:
        disjoint()
        for r in range(GROUP):
            n_above = none
            for i in range(n_classes):
                x_r = x[i * GROUP + r]
                equal_before = (x_r == at_label[r]) & (labels[r] > number(j + i))
                n_above = count(n_above, (x_r > at_label[r]) | equal_before)
            ranks[r] += number(n_above)

    def find_largest(j: Any, x: Any, largest: Any, predictions: Any) -> None:
        disjoint()
        for r in range(GROUP):
            first = predictions[r]
            for i in range(n_classes):
                here = (x[i * GROUP + r] == largest[r]) & (first < 0)
                first = select(here, number(j + i), first)
            predictions[r] = first

    return rank


def lane_scores(traits: Traits) -> Function:
    """The function that finds ranks and predictions, and sets the other moments to 0."""
    rank_all = class_by_class(_ranker(traits, ABREAST), _ranker(traits, 1))
    zero, minus_one = traits.form.number(0), traits.form.number(-1)

    def rank(o: Any, n_classes: Any, scratch: Any) -> None:
        for sum_ in scratch.moments:
            fill(sum_, zero)
        fill(scratch.moments.predictions, minus_one)
        rank_all(o, n_classes, scratch)

    return rank
