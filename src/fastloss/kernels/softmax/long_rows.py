"""Softmax losses of rows of many classes, with SIMD along the row.

In each of the four steps of a group one row does not wait for another, and the processor begins a
row before it has ended the last: with maximum and sum of a row together, 300 classes took 116 ns
instead of 78.
"""

from typing import Any

import numpy as np

from ...compiler.bits import (
    INTERLEAVED,
    LINE_BYTES,
    accumulate,
    disjoint,
    interleaved,
    larger,
    next_larger,
    prefetch,
    select,
    smaller,
    window,
)
from ...compiler.processor import vector_bytes
from ..form import Form, Function
from ..row_groups import BLOCK, GROUP, rowwise
from ..scalar import exp_of_gap, lift_unit
from ..storage import decoder
from ..tiles import fill, put
from .formulas import SUMS, Variant, formulas
from .row_scores import moment_terms, moments_in, scorer

# Exponentials that are added up in the arithmetic dtype before their sum goes on in float64. With
# the lanes of SIMD each float32 sum has few terms, so 131,072 classes are as exact as 10.
CHUNK = 1 << 9
# Terms of soft labels that are added up so in each lane of the vectors that `interleaved` takes at
# a time. Equal ones, as of smoothing, are all rounded the same way: 32 lose 8 units in the last
# place.
TERMS = 1 << 4
# Numbers, about, of the rows of a group: they, their exponentials and the next group, which is
# fetched meanwhile, fill the first-level cache.
TOGETHER = 1 << 12
# Derivatives that are written at a time, where exponentials are kept and where not.
WRITTEN_KEPT = 1 << 13
WRITTEN = 1 << 11
# A longer row is read in segments, each of which stays in the second-level cache until its
# exponentials are summed.
SEGMENT = 1 << 15
# The most classes whose soft labels are fetched a block ahead.
LABELS_AHEAD = 1 << 13
# Loops run over a multiple of this where they can: the four vectors of 16 that LLVM takes at a
# time. It computes what is left one by one: 40 of 1,000 classes cost a third of the row. So the
# last step of a row reaches back over numbers that were there before.
STEP = 64


def keeps(n_classes: int) -> bool:
    """Whether rows of so many classes keep their exponentials for the gradient.

    Longer ones compute them again. With vectors of 16 that is soon the faster: for 32,768 classes
    50 ms against 54 to bring them back from the second-level cache. With vectors of 8 it takes 49
    against 37, and for 262,144 classes 43 against 35.
    """
    return n_classes <= (1 << 13 if vector_bytes() == LINE_BYTES else 1 << 18)


def many_classes(form: Form, variant: Variant, ignoring: bool, keeping: bool) -> Function:
    """What to do with a block of rows whose exponentials are summed along the row.

    If `keeping`, rows are short enough that their exponentials are kept for the gradient.
    """
    formula = formulas(form, variant)
    inside, cap, mass, output = formula.inside, formula.cap, formula.mass, formula.output
    scaled_gap, exp_terms = formula.scaled_gap, formula.exp_terms
    gap_term, finite_gap_term = formula.gap_term, formula.finite_gap_term
    sums_in, of_row, finish = formula.sums_in, formula.of_row, formula.finish
    decode_true, decode, encode = form.decode_true, form.decode_pred, form.encode
    decode_probability = decoder(form.probabilities or "float64", form.arithmetic)
    decode_vector = decoder(form.vector or "float64", form.arithmetic)
    class_ids, with_grad, with_hess = form.class_ids, form.with_grad, form.with_hess
    labelled, sparse = form.labelled, bool(form.probabilities)
    smoothed, tempered, capped = variant.smoothed, variant.tempered, variant.capped
    class_weighted = variant.class_weighted
    class_masked, row_masked = variant.class_masked, bool(form.mask)
    masked = class_masked or row_masked
    number, double = form.number, np.float64
    zero, one, minus_inf = number(0), number(1), number(-np.inf)
    unit = lift_unit(number)
    lowest = np.finfo(number).min
    one_hot = class_ids and not sparse and not smoothed
    # Whether the mass of a class is what smoothing gives to all, but for those of the class ids.
    by_id = class_ids or not labelled
    linked = variant.link is not None
    multiplying = form.output == "hvp"
    logarithmic = form.output == "log_proba"
    scoring, with_spread, score = form.scored, form.with_spread, scorer(form, variant)
    moments_of = moment_terms(form.number)
    leaving_out = form.weighted or ignoring or class_weighted
    keeping = keeping and with_grad
    # Whether what is written for a class follows from what was kept of it, and the row.
    kept_is_all = by_id and not (smoothed or capped or multiplying)
    written = WRITTEN_KEPT if keeping else WRITTEN
    # Class weights are float64, and the longest numbers of a loop say how many fill a vector.
    n_lanes = INTERLEAVED * vector_bytes() // (8 if class_weighted else np.dtype(number).itemsize)
    n_labels = smaller(TERMS * n_lanes, CHUNK)

    def group_size(n_classes: Any) -> Any:
        return smaller(larger(TOGETHER // n_classes, 1), GROUP)

    def padded(n_classes: Any) -> Any:
        return (n_classes + (STEP - 1)) & -STEP

    def room(n_classes: Any) -> Any:
        n_exps = group_size(n_classes) * padded(n_classes) if keeping else written
        return SUMS + n_exps, (1 + with_hess) * written

    # Windows of masks, weights and vectors; of what there is not, a window that is never looked at.

    def masks_of(o: Any, rows: Any, row: Any, start: Any, n: Any) -> Any:
        """For all rows, and for this one, from class `start` on."""
        of_classes = window(o.class_mask, start, n) if class_masked else rows.y_pred
        place = row * rows.n_classes + start
        return of_classes, window(rows.mask, place, n) if row_masked else rows.y_pred

    def weights_of(o: Any, start: Any, n: Any) -> Any:
        return window(o.class_weight, start, n) if class_weighted else ()

    def vector_of(rows: Any, row: Any, start: Any, n: Any) -> Any:
        place = row * rows.n_classes + start
        return window(rows.vector, place, n) if multiplying else rows.y_pred

    def logit(masks: Any, x: Any, j: Any) -> Any:
        x_j = decode(x[j])
        if masked:
            x_j = select(inside(masks[0][j], masks[1][j]), x_j, minus_inf)
        return x_j

    def top_of(o: Any, largest: Any) -> Any:
        """The largest logit, as it came and as it counts."""
        if capped and masked:
            return largest, select(largest == minus_inf, largest, cap(o, largest)[0])
        return largest, cap(o, largest)[0]

    def seen(o: Any, masks: Any, x: Any, j: Any, top: Any) -> Any:
        """A logit as it counts, and whether it is the largest."""
        x_j = logit(masks, x, j)
        is_largest = x_j == top[0]
        if capped:
            capped_j = cap(o, x_j)[0]
            # Rounding may let a smaller logit pass the largest.
            capped_j = select(capped_j > top[1], top[1], capped_j)
            if masked:
                capped_j = select(inside(masks[0][j], masks[1][j]), capped_j, minus_inf)
            return capped_j, is_largest
        return x_j, is_largest

    # NaN is not looked for here; it shows in the sum of the exponentials.
    def largest_of(masks: Any, x: Any) -> Any:
        largest = minus_inf
        for j in range(x.size):
            x_j = decode(x[j])
            if masked:
                # With -inf LLVM sees that nothing is to be done, and makes a branch of it: 1.1 ns a
                # number against 0.03.
                x_j = select(inside(masks[0][j], masks[1][j]), x_j, lowest)
            largest = larger(x_j, largest)
        if masked and largest == lowest:  # of all that are in, or of one that is not
            largest = minus_inf
            for j in range(x.size):
                if inside(masks[0][j], masks[1][j]):
                    largest = larger(decode(x[j]), largest)
        return largest

    def rest_of(o: Any, masks: Any, x: Any, n_known: Any, top: Any, kept: Any) -> Any:
        """What a part of a row adds to the rest and to the number of maxima.

        The first `n_known` numbers were added before. The exponentials are kept.
        """
        disjoint()
        rest = zero
        others = zero
        for j in range(x.size):
            x_j, is_largest = seen(o, masks, x, j, top)
            exp_j, term, other = exp_terms(o, x_j, top[1], is_largest)
            rest = accumulate(rest, select(j >= n_known, term, zero))
            others = accumulate(others, select(j >= n_known, other, zero))
            if keeping:
                kept[j] = kept_of(o, x_j, exp_j, top, is_largest)
        return double(rest) * unit, double(x.size - n_known) - double(others)

    def kept_of(o: Any, x_j: Any, exp_j: Any, top: Any, is_largest: Any) -> Any:
        if logarithmic:
            return select(is_largest, zero, scaled_gap(o, x_j, top[1]))
        return exp_j

    def move_kept(kept: Any, gap: Any) -> None:
        """To another largest logit, to which `gap` goes from the last one."""
        factor = number(exp_of_gap(gap))
        shift = number(gap)
        for j in range(kept.size):
            kept[j] = kept[j] + shift if logarithmic else kept[j] * factor

    def row_of(rows: Any, row: Any) -> Any:
        return window(rows.y_pred, row * rows.n_classes, rows.n_classes)

    def largest_in(o: Any, rows: Any, row: Any, first: Any) -> Any:
        """The largest number of the segment of a row that starts there."""
        x = row_of(rows, row)
        size = smaller(SEGMENT, x.size - first)
        whole = size & -STEP
        step = smaller(STEP, size)
        last = first + size - step
        return larger(
            largest_of(masks_of(o, rows, row, first, whole), window(x, first, whole)),
            largest_of(masks_of(o, rows, row, last, step), window(x, last, step)),
        )

    def sum_row(o: Any, rows: Any, row: Any, largest: Any, kept: Any, n_rows: Any) -> Any:
        """m, the rest and the number of maxima, from the largest number of the first segment."""
        x = row_of(rows, row)
        top = top_of(o, largest)
        rest = 0.0
        maxima = 0.0
        for first in range(0, x.size, SEGMENT):
            if first > 0:
                segment_top = top_of(o, largest_in(o, rows, row, first))
                if segment_top[0] > top[0]:
                    gap = double(top[1]) - double(segment_top[1])
                    if tempered:
                        gap = gap * o.inverse_temperature
                    rest = (rest + maxima) * exp_of_gap(gap)
                    if keeping:
                        move_kept(window(kept, 0, first), gap)
                    if scoring:
                        move_moments(moments_in(rows.doubles, 2 * GROUP), row, gap, rest, maxima)
                    maxima = 0.0
                    top = segment_top
            at_y = at_label(o, rows, row, top) if scoring else (0, zero)
            # Whole steps, the last of which reaches back over what came before it.
            size = smaller(SEGMENT, x.size - first)
            n_steps = size & -STEP
            for start in range(0, n_steps, CHUNK):
                n = smaller(CHUNK, n_steps - start)
                # Of the next group of rows, or segment.
                ahead = first + n_rows * size + start
                prefetch(x, ahead, n)
                if row_masked:
                    prefetch(rows.mask, row * x.size + ahead, n)
                # Labels of this block were just read; those of the next one will be first. Two
                # longer rows of both would fill the second-level cache.
                if labelled and not by_id and x.size <= LABELS_AHEAD:
                    prefetch(rows.y_true, row * x.size + first + start + BLOCK, n)
                place = first + start
                masks = masks_of(o, rows, row, place, n)
                part, kept_part = window(x, place, n), window(kept, place, n)
                if scoring:
                    term, count = score_part(o, rows, row, place, n, 0, top, at_y)
                else:
                    term, count = rest_of(o, masks, part, 0, top, kept_part)
                rest += term
                maxima += count
            if n_steps < size:
                step = smaller(STEP, size)
                last = first + size - step
                n_known = n_steps + step - size
                masks = masks_of(o, rows, row, last, step)
                part, kept_part = window(x, last, step), window(kept, last, step)
                if scoring:
                    term, count = score_part(o, rows, row, last, step, n_known, top, at_y)
                else:
                    term, count = rest_of(o, masks, part, n_known, top, kept_part)
                rest += term
                maxima += count
        return top[0], rest, maxima

    # -----------------------------------------------------------------------------------------
    # Scores

    def at_label(o: Any, rows: Any, row: Any, top: Any) -> Any:
        """The label of a row and its logit as it counts."""
        x = row_of(rows, row)
        label = decode_true(rows.y_true[row])
        # The labels were checked, so they changed since: stay inside the arrays.
        label = select((label >= 0) & (label < x.size), label, 0)
        return label, seen(o, masks_of(o, rows, row, 0, x.size), x, label, top)[0]

    def move_moments(moments: Any, row: Any, gap: Any, rest: Any, n_maxima: Any) -> None:
        """To another largest logit: `gap` goes from it to the last one, which was there `n_maxima`
        times, and `rest` is the sum of all exponentials after the move.
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

    def all_terms(o: Any, masks: Any, x: Any, n_known: Any, top: Any, bound: Any) -> Any:
        """As `rest_of`; and what a part adds to the moments, and how many numbers reach `bound`.

        In a loop of their own the moments took a fifth longer.
        """
        rest = zero
        others = zero
        squares = zero
        gaps = zero
        square_gaps = zero
        before = zero
        for j in range(x.size):
            x_j, is_largest = seen(o, masks, x, j, top)
            _, term, other = exp_terms(o, x_j, top[1], is_largest)
            term = select(j >= n_known, term, zero)
            square, gap, square_gap = moments_of(term, scaled_gap(o, x_j, top[1]), is_largest)
            rest = accumulate(rest, term)
            others = accumulate(others, select(j >= n_known, other, zero))
            squares = accumulate(squares, square)
            gaps = accumulate(gaps, gap)
            if with_spread:
                square_gaps = accumulate(square_gaps, square_gap)
            before = accumulate(before, select((x_j >= bound) & (j >= n_known), one, zero))
        n_maxima = double(x.size - n_known) - double(others)
        sums = double(squares) * (unit * unit), double(gaps) * -unit, double(square_gaps) * unit
        return double(rest) * unit, n_maxima, sums, double(before)

    def n_equal(o: Any, masks: Any, x: Any, n_known: Any, n: Any, top: Any, x_y: Any) -> Any:
        equal = zero
        for j in range(n):
            here = (seen(o, masks, x, j, top)[0] == x_y) & (j >= n_known)
            equal = accumulate(equal, select(here, one, zero))
        return double(equal)

    def score_part(
        o: Any, rows: Any, row: Any, start: Any, n: Any, n_known: Any, top: Any, at_y: Any
    ) -> Any:
        """As `rest_of`; the moments of the row are added to."""
        label, x_y = at_y
        moments = moments_in(rows.doubles, 2 * GROUP)
        masks, x = masks_of(o, rows, row, start, n), window(row_of(rows, row), start, n)
        # What stands before the label: all that reach its logit, of those behind it the larger.
        bound = x_y if start + n <= label else next_larger(x_y)
        rest, n_maxima, sums, before = all_terms(o, masks, x, n_known, top, bound)
        if start < label < start + n:
            before += n_equal(o, masks, x, n_known, label - start, top, x_y)
        moments.squares[row] += sums[0]
        moments.gaps[row] += sums[1]
        if with_spread:
            moments.square_gaps[row] += sums[2]
        moments.ranks[row] += before
        # Where the prediction is to be looked for.
        if n_maxima > 0.0 and moments.predictions[row] < 0.0:
            moments.predictions[row] = double(start)
        return rest, n_maxima

    def clear_moments(moments: Any, row: Any) -> None:
        moments.squares[row] = 0.0
        moments.gaps[row] = 0.0
        moments.square_gaps[row] = 0.0
        moments.ranks[row] = 0.0
        moments.predictions[row] = -1.0

    def first_largest(o: Any, masks: Any, x: Any, top: Any) -> Any:
        """The first number of a part of a row that is the largest of all, or how many there are."""
        first = x.size
        for j in range(x.size):
            first = smaller(first, select(seen(o, masks, x, j, top)[0] == top[1], j, x.size))
        return first

    def predict(o: Any, rows: Any, row: Any, largest: Any) -> None:
        predictions = moments_in(rows.doubles, 2 * GROUP).predictions
        x = row_of(rows, row)
        top = top_of(o, largest)
        # Where logits are capped, rounding may have made others before it as large.
        start = 0 if capped else max(np.int64(predictions[row]), 0)
        while start < x.size:
            n = smaller(CHUNK, x.size - start)
            masks, part = masks_of(o, rows, row, start, n), window(x, start, n)
            found = first_largest(o, masks, part, top)
            if found < n:
                predictions[row] = double(start + found)
                return
            start += n

    # -----------------------------------------------------------------------------------------
    # Labels

    def n_inside(masks: Any, n_classes: Any) -> Any:
        count = 0
        for j in range(n_classes):
            count += inside(masks[0][j], masks[1][j])
        return count

    def share_of(o: Any, rows: Any, row: Any) -> Any:
        """What smoothing adds to the label of each class that is in."""
        if not smoothed:
            return zero
        if row_masked:
            c = rows.n_classes
            return number(o.smoothing / n_inside(masks_of(o, rows, row, 0, c), c))
        return number(o.share)

    def labels_of(rows: Any, row: Any, start: Any, n: Any) -> Any:
        """Those of a part of a row; class ids are looked at one by one."""
        return rows.y_true if by_id else window(rows.y_true, row * rows.n_classes + start, n)

    def mass_of(o: Any, labels: Any, weights: Any, masks: Any, j: Any, share: Any) -> Any:
        """That of a class, but for what class ids add."""
        if by_id and not smoothed:
            return zero
        label = zero if by_id else decode_true(labels[j])
        weight = weights[j] if class_weighted else one
        here = inside(masks[0][j], masks[1][j]) if masked else True
        return mass(o, label, weight, here, share)

    def n_ids(rows: Any) -> Any:
        return rows.n_labels if sparse else 1

    def mass_at_id(o: Any, rows: Any, row: Any, i: Any) -> Any:
        """The i-th class id of a row, and what it adds to the mass of its class."""
        place = row * n_ids(rows) + i
        label = decode_true(rows.y_true[place])
        if label < 0 or label >= rows.n_classes:
            # The labels were checked, so they changed since: stay inside the arrays.
            return 0, number(np.nan)
        t = decode_probability(rows.probabilities[place]) if sparse else one
        weight = o.class_weight[label] if class_weighted else one
        return label, mass(o, t, weight, True, zero)

    def gaps_adder(term: Function) -> Function:
        def add(o: Any, labels: Any, weights: Any, masks: Any, x: Any, top: Any, share: Any) -> Any:
            interleaved()
            gaps = zero
            total = zero
            for j in range(x.size):
                t = mass_of(o, labels, weights, masks, j, share)
                x_j, is_largest = seen(o, masks, x, j, top)
                gaps = accumulate(gaps, term(t, x_j, top[1], is_largest))
                total = accumulate(total, t)
            return double(gaps), double(total)

        return add

    add_gaps, add_finite_gaps = gaps_adder(gap_term), gaps_adder(finite_gap_term)

    def gaps_and_masses_of(
        o: Any, labels: Any, weights: Any, masks: Any, x: Any, top: Any, share: Any
    ) -> Any:
        if not masked:  # else there is -inf for each class that is out
            gaps, total = add_finite_gaps(o, labels, weights, masks, x, top, share)
            if abs(gaps) < np.inf:
                return gaps, total
        return add_gaps(o, labels, weights, masks, x, top, share)

    def sum_labels(o: Any, rows: Any, row: Any, largest: Any, share: Any) -> Any:
        """The sum of t_j (m - x_j), and T."""
        gaps = 0.0
        total = 0.0
        if not labelled:
            return 0.0, 1.0
        x = row_of(rows, row)
        top = top_of(o, largest)
        if not by_id or smoothed:
            start = 0
            while start < x.size:
                left = x.size - start
                n = smaller(n_labels, left & -STEP) if left >= STEP else left
                labels, weights = labels_of(rows, row, start, n), weights_of(o, start, n)
                masks = masks_of(o, rows, row, start, n)
                part = window(x, start, n)
                gap, t = gaps_and_masses_of(o, labels, weights, masks, part, top, share)
                gaps += gap
                total += t
                start += n
        if by_id:
            masks = masks_of(o, rows, row, 0, x.size)
            for i in range(n_ids(rows)):
                label, t = mass_at_id(o, rows, row, i)
                x_j, is_largest = seen(o, masks, x, label, top)
                gaps += double(gap_term(one if linked else t, x_j, top[1], is_largest))
                total += double(t)
        return gaps, total

    # -----------------------------------------------------------------------------------------
    # What is written for each class

    def keep(o: Any, masks: Any, x: Any, top: Any, kept: Any) -> None:
        disjoint()
        for j in range(x.size):
            x_j, is_largest = seen(o, masks, x, j, top)
            exp_j = exp_terms(o, x_j, top[1], is_largest)[0]
            kept[j] = kept_of(o, x_j, exp_j, top, is_largest)

    def bends(o: Any, x: Any, j: Any) -> Any:
        """The first two derivatives of the capped logit."""
        if capped:
            _, slope, bend = cap(o, decode(x[j]))
            return slope, bend
        return one, zero

    def dots_of(o: Any, exps: Any, x: Any, vector: Any) -> Any:
        total = zero
        rest = zero
        for j in range(exps.size):
            term = exps[j] * (bends(o, x, j)[0] * decode_vector(vector[j]))
            total = accumulate(total, term)
            rest = accumulate(rest, select(exps[j] == one, zero, term))
        return double(total), double(rest)

    def dots_with_row(o: Any, rows: Any, row: Any, kept: Any, largest: Any) -> Any:
        """The sum of e_j v_j, and that over x_j < m."""
        x = row_of(rows, row)
        top = top_of(o, largest)
        total = 0.0
        rest = 0.0
        for start in range(0, x.size, CHUNK):
            n = smaller(CHUNK, x.size - start)
            part = window(x, start, n)
            exps = window(kept, start if keeping else 0, n)
            if not keeping:
                keep(o, masks_of(o, rows, row, start, n), part, top, exps)
            dots = dots_of(o, exps, part, vector_of(rows, row, start, n))
            total += dots[0]
            rest += dots[1]
        return total, rest

    def outputs_of(
        o: Any,
        labels: Any,
        weights: Any,
        masks: Any,
        x: Any,
        vector: Any,
        kept: Any,
        share: Any,
        numbers: Any,
        grads: Any,
        hesses: Any,
    ) -> None:
        disjoint()
        for j in range(kept.size):
            t = mass_of(o, labels, weights, masks, j, share)
            slope, bend = bends(o, x, j)
            v_j = decode_vector(vector[j]) if multiplying else zero
            grad, hess = output(o, kept[j], t, slope, bend, v_j, numbers)
            grads[j] = encode(grad)
            if with_hess:
                hesses[j] = encode(hess)

    def output_at_ids(
        o: Any,
        rows: Any,
        row: Any,
        start: Any,
        kept: Any,
        share: Any,
        numbers: Any,
        grads: Any,
        hesses: Any,
    ) -> None:
        """Write again what the mass of the class ids changes, in a part of a row."""
        x = row_of(rows, row)
        masks, vector = masks_of(o, rows, row, 0, x.size), vector_of(rows, row, 0, x.size)
        weights = weights_of(o, 0, x.size)
        for i in range(n_ids(rows)):
            label, t = mass_at_id(o, rows, row, i)
            j = label - start
            if j < 0 or j >= kept.size:
                continue
            if one_hot:
                t = one if linked else numbers.total
            else:
                # A class id that is there twice has both masses.
                for k in range(rows.n_labels):
                    other, more = mass_at_id(o, rows, row, k)
                    if k != i and other == label:
                        t += more
                t += mass_of(o, rows.y_true, weights, masks, label, share)
            slope, bend = bends(o, x, label)
            v_j = decode_vector(vector[label]) if multiplying else zero
            grad, hess = output(o, kept[j], t, slope, bend, v_j, numbers)
            grads[j] = encode(grad)
            if with_hess:
                hesses[j] = encode(hess)

    def write_row(o: Any, rows: Any, row: Any, kept: Any, sums: Any) -> None:
        x = row_of(rows, row)
        begin = row * rows.n_classes
        numbers, share, top = of_row(sums, row), sums.shares[row], top_of(o, sums.largest[row])
        grads = window(rows.encoded, 0, written)
        hesses = window(rows.encoded, written, written)
        # Where nothing else is read, the loops may run over the padding too.
        end = kept.size if keeping and kept_is_all else x.size
        for start in range(0, end, written):
            n = smaller(written, end - start)
            kept_part = window(kept, start if keeping else 0, n)
            part = window(x, start, n)
            masks = masks_of(o, rows, row, start, n)
            if not keeping:
                keep(o, masks, part, top, kept_part)
            labels, weights = labels_of(rows, row, start, n), weights_of(o, start, n)
            vector = vector_of(rows, row, start, n)
            outputs_of(
                o,
                labels,
                weights,
                masks,
                part,
                vector,
                kept_part,
                share,
                numbers,
                grads,
                hesses,
            )
            if labelled and by_id:
                output_at_ids(o, rows, row, start, kept_part, share, numbers, grads, hesses)
            n = smaller(n, x.size - start)
            put(grads, window(rows.grad_out, begin + start, n), rows.streamed)
            if with_hess:
                put(hesses, window(rows.hess_out, begin + start, n), rows.streamed)

    def group(rows: Any) -> None:
        o = rows.options
        sums = sums_in(rows.numbers, rows.doubles)
        c = rows.n_classes
        n_rows = rows.y_pred.size // c
        # The exponentials of one row after the other, or of one chunk.
        n_kept = padded(c) if keeping else written
        step = n_kept if keeping else 0
        for r in range(n_rows):
            sums.largest[r] = largest_in(o, rows, r, 0)
        for r in range(n_rows):
            kept = window(rows.numbers, SUMS + r * step, n_kept)
            if scoring:
                clear_moments(moments_in(rows.doubles, 2 * GROUP), r)
            largest, rest, maxima = sum_row(o, rows, r, sums.largest[r], kept, n_rows)
            sums.largest[r] = largest
            sums.rest[r] = number(rest)
            sums.maxima[r] = number(maxima)
            sums.shares[r] = share = share_of(o, rows, r)
            sums.gaps[r], sums.masses[r] = sum_labels(o, rows, r, largest, share)
        if capped:
            for r in range(n_rows):
                sums.capped[r] = top_of(o, sums.largest[r])[1]
        finish(o, sums, rows.weights, rows.scale, rows.losses, n_rows)
        if scoring:
            for r in range(n_rows):
                predict(o, rows, r, sums.largest[r])
            score(o, sums, moments_in(rows.doubles, 2 * GROUP), rows, n_rows)
        if with_grad:
            for r in range(n_rows):
                if leaving_out and sums.factor[r] == zero:
                    fill(window(rows.grad_out, r * c, c), encode(zero))
                    if with_hess:
                        fill(window(rows.hess_out, r * c, c), encode(zero))
                else:
                    kept = window(rows.numbers, SUMS + r * step, n_kept)
                    if multiplying:
                        dot, rest = dots_with_row(o, rows, r, kept, sums.largest[r])
                        sums.dots[r] = number(dot) * sums.probability[r]
                        sums.rest_dots[r] = number(rest) * sums.probability[r]
                    write_row(o, rows, r, kept, sums)

    return rowwise(group, group_size, room, form, ignoring)
