"""Softmax cross-entropy of rows of logits x against the target masses t.

With m the largest logit, e_j = exp(x_j - m), S = sum of e_j and rest = S - 1, which is summed
without the 1 and so keeps its digits when the model is confident:

    loss       = sum of t_j (m - x_j) + T log1p(rest),    T = sum of t_j
    gradient_j = T e_j / S - t_j
    hessian_j  = T p_j (1 - p_j),                         p_j = e_j / S

The mass of a class is its class weight times its label, the label being smoothed if asked.

This file has the formulas, and the loops for rows of many classes, where SIMD goes along the row.
For few classes it goes across rows: see `lanes.py`. A group of rows is computed in four steps: the
largest number of each row; what each row adds up to (`Sums`); all that is done once for a row, for
the whole group (`finish`); the derivatives, again row by row. In each step one row does not wait
for another, and the processor begins a row before it has ended the last: with maximum and sum of a
row together, 300 classes took 116 ns instead of 78.
"""

from typing import Any, NamedTuple

import numpy as np

from .bits import disjoint, larger, prefetch, select, window
from .flags import fastmath
from .form import Form, Function
from .rowwise import GROUP, rowwise
from .scalar import exp_of_gap, log1p
from .tiles import fill, put

# Exponentials that are added up in the arithmetic dtype before their sum goes on in float64. With
# the lanes of SIMD each float32 sum has few terms, so 131,072 classes are as exact as 10.
CHUNK = 1 << 9
# Rows of up to so many classes keep their exponentials for the gradient. Longer ones compute them
# again: for 32,768 classes 50 ms against 54 to bring them back from the second-level cache.
KEPT = 1 << 13
# Numbers, about, of the rows of a group: they, their exponentials and the next group, which is
# fetched meanwhile, fill the first-level cache.
TOGETHER = 1 << 12
# Derivatives of longer rows are written in parts of this size.
WRITTEN = 1 << 11
# A longer row is read in segments, each of which stays in the second-level cache until its
# exponentials are summed.
SEGMENT = 1 << 15
# Loops run over a multiple of this where they can: the four vectors of 16 that LLVM takes at a
# time. It computes what is left one by one: 40 of 1,000 classes cost a third of the row. So the
# last step of a row reaches back over numbers that were there before.
STEP = 64
# Rows are finished so many at a time.
RUN = 16


class Sums(NamedTuple):
    """What the rows of a group add up to: arrays with room for GROUP rows."""

    largest: Any  # m
    rest: Any  # the sum of e_j over x_j < m
    maxima: Any  # how often x_j = m
    gaps: Any  # the sum of t_j (m - x_j), in float64
    masses: Any  # T, in float64
    # Found by `finish`:
    totals: Any  # T
    probability: Any  # 1 / S
    complement: Any  # 1 - 1 / S
    factor: Any  # what derivatives are multiplied by: 0 for a row that is left out


# The numbers that they take.
SUMS = 7 * GROUP


class Formulas(NamedTuple):
    """What is computed for one class of one row, and once for a row."""

    mass: Function
    exp_terms: Function
    gap_term: Function
    derivatives: Function
    sums_in: Function
    finish: Function


def formulas(form: Form, class_weighted: bool, smoothed: bool) -> Formulas:
    number, double = form.number, np.float64
    with_grad = form.with_grad
    zero, one, half, inf = number(0), number(1), number(0.5), number(np.inf)

    def mass(options: Any, label: Any, j: Any) -> Any:
        """t_j, from the label of class j."""
        _, class_weight, smoothing, share = options
        if smoothed:
            label = number(1.0 - smoothing) * label + number(share)
        if class_weighted:
            label = number(class_weight[j]) * label
        return label

    def exp_terms(x_j: Any, largest: Any) -> Any:
        """e_j, and what class j adds to `rest` and `maxima`.

        A largest logit gets e = 1 by definition, so that +inf - inf is never asked for.
        """
        is_largest = x_j == largest
        exp_j = exp_of_gap(x_j - largest)
        return (
            select(is_largest, one, exp_j),
            select(is_largest, zero, exp_j),
            select(is_largest, one, zero),
        )

    def gap_term(t: Any, x_j: Any, largest: Any) -> Any:
        """t_j (m - x_j); a mass of 0 takes nothing even of an infinite gap."""
        gap = select(x_j == largest, zero, largest - x_j)
        return select(t == zero, zero, t * gap)

    def derivatives(
        exp_j: Any, t: Any, total: Any, probability: Any, complement: Any, factor: Any
    ) -> Any:
        """Gradient and Hessian, times the factor of the row."""
        p = exp_j * probability
        # 1 - p of a class with p > 1/2, without subtracting: the gradient of a confident row keeps
        # its digits as its loss does.
        confident = (exp_j == one) & (complement < half)
        exact = (total - t) - total * complement
        excess = select(confident & (t != zero), exact, exp_j * (total * probability) - t)
        q = select(confident, complement, one - p)
        return factor * excess, factor * (total * (p * q))

    def sums_in(numbers: Any, doubles: Any) -> Any:
        return Sums(
            window(numbers, 0, GROUP),
            window(numbers, GROUP, GROUP),
            window(numbers, 2 * GROUP, GROUP),
            window(doubles, 0, GROUP),
            window(doubles, GROUP, GROUP),
            window(numbers, 3 * GROUP, GROUP),
            window(numbers, 4 * GROUP, GROUP),
            window(numbers, 5 * GROUP, GROUP),
            window(numbers, 6 * GROUP, GROUP),
        )

    def finish(sums: Any, weights: Any, scale: Any, losses: Any, n_rows: Any) -> None:
        """All that is done once for a row, with SIMD over the group."""
        n = (n_rows + (RUN - 1)) & -RUN
        finish_losses(sums.largest, sums.rest, sums.maxima, sums.gaps, sums.masses, losses, n)
        if with_grad:
            finish_factors(
                n,
                sums.rest,
                sums.masses,
                weights,
                scale,
                sums.totals,
                sums.probability,
                sums.complement,
                sums.factor,
            )

    @fastmath("reassoc")
    def finish_losses(
        largest: Any, rest: Any, maxima: Any, gaps: Any, masses: Any, losses: Any, n: Any
    ) -> None:
        disjoint()
        for r in range(n):
            # No limit exists for a row of -inf, nor for several +inf.
            undefined = (largest[r] == -inf) | ((largest[r] == inf) & (maxima[r] > one))
            rest_r = select(undefined, number(np.nan), rest[r] + (maxima[r] - one))
            rest[r] = rest_r
            loss = gaps[r] + masses[r] * double(log1p(rest_r))
            loss = select(rest_r == rest_r, loss, np.nan)  # NaN anywhere in the row is NaN
            if class_weighted:  # its classes weigh nothing: the row is left out
                loss = select(masses[r] == 0.0, 0.0, loss)
            losses[r] = loss

    def finish_factors(
        n: Any,
        rest: Any,
        masses: Any,
        weights: Any,
        scale: Any,
        totals: Any,
        probability: Any,
        complement: Any,
        factor: Any,
    ) -> None:
        disjoint()
        for r in range(n):
            totals[r] = number(masses[r])
            inverse = one / (one + rest[r])
            probability[r] = inverse
            complement[r] = rest[r] * inverse
            counts = weights[r] != 0.0
            if class_weighted:
                counts = counts & (masses[r] != 0.0)
            factor[r] = select(counts, number(weights[r] * scale), zero)

    return Formulas(mass, exp_terms, gap_term, derivatives, sums_in, finish)


def many_classes(
    form: Form, class_weighted: bool, smoothed: bool, ignoring: bool, keeping: bool
) -> Function:
    """What to do with a block of rows whose exponentials are summed along the row.

    If `keeping`, rows are short enough that their exponentials are kept for the gradient.
    """
    mass, exp_terms, gap_term, derivatives, sums_in, finish = formulas(
        form, class_weighted, smoothed
    )
    decode_true, decode, encode = form.decode_true, form.decode_pred, form.encode
    class_ids, with_grad, with_hess = form.class_ids, form.with_grad, form.with_hess
    number, double = form.number, np.float64
    zero, one = number(0), number(1)
    one_hot = class_ids and not smoothed
    leaving_out = form.weighted or ignoring or class_weighted
    keeping = keeping and with_grad
    # Derivatives that are written at a time: whole rows, if short.
    written = KEPT if keeping else WRITTEN

    def group_size(n_classes: Any) -> Any:
        return min(max(TOGETHER // n_classes, 1), GROUP)

    def padded(n_classes: Any) -> Any:
        return (n_classes + (STEP - 1)) & -STEP

    def room(n_classes: Any) -> Any:
        n_exps = group_size(n_classes) * padded(n_classes) if keeping else written
        return SUMS + n_exps, (1 + with_hess) * written

    # NaN is not looked for here; it shows in the sum of the exponentials.
    @fastmath("nnan", "reassoc")
    def largest_of(x: Any) -> Any:
        largest = number(-np.inf)
        for j in range(x.size):
            largest = larger(decode(x[j]), largest)
        return largest

    @fastmath("reassoc")
    def rest_of(x: Any, n_known: Any, largest: Any, kept: Any) -> Any:
        """What a part of a row adds to the rest and to the number of maxima.

        The first `n_known` numbers were added before. The exponentials are kept.
        """
        disjoint()
        rest = zero
        maxima = zero
        for j in range(x.size):
            exp_j, term, count = exp_terms(decode(x[j]), largest)
            rest += select(j >= n_known, term, zero)
            maxima += select(j >= n_known, count, zero)
            if keeping:
                kept[j] = exp_j
        return double(rest), double(maxima)

    def largest_in(x: Any, first: Any) -> Any:
        """The largest number of the segment that starts there."""
        size = min(SEGMENT, x.size - first)
        step = min(STEP, size)
        last = window(x, first + size - step, step)
        return larger(largest_of(window(x, first, size & -STEP)), largest_of(last))

    def sum_row(x: Any, largest: Any, kept: Any, n_rows: Any) -> Any:
        """m, the rest and the number of maxima, from the largest number of the first segment."""
        rest = 0.0
        maxima = 0.0
        for first in range(0, x.size, SEGMENT):
            if first > 0:
                segment_largest = largest_in(x, first)
                if segment_largest > largest:
                    rest = (rest + maxima) * exp_of_gap(double(largest) - double(segment_largest))
                    maxima = 0.0
                    largest = segment_largest
            # Whole steps, the last of which reaches back over what came before it.
            size = min(SEGMENT, x.size - first)
            n_steps = size & -STEP
            for start in range(0, n_steps, CHUNK):
                n = min(CHUNK, n_steps - start)
                # Of the next group of rows, or segment.
                prefetch(x, first + n_rows * size + start, n)
                part = window(x, first + start, n)
                term, count = rest_of(part, 0, largest, window(kept, first + start, n))
                rest += term
                maxima += count
            if n_steps < size:
                step = min(STEP, size)
                last = first + size - step
                part = window(x, last, step)
                n_known = n_steps + step - size
                term, count = rest_of(part, n_known, largest, window(kept, last, step))
                rest += term
                maxima += count
        return largest, rest, maxima

    def label_of(y_true: Any, j: Any) -> Any:
        """The label of class j, before smoothing; `y_true` is a class id or a row of labels."""
        if class_ids:
            return select(j == y_true, one, zero)
        return decode_true(y_true[j])

    @fastmath("reassoc")
    def gaps_and_masses_of(options: Any, y_true: Any, x: Any, start: Any, largest: Any) -> Any:
        gaps = zero
        masses = zero
        for j in range(x.size):
            t = mass(options, label_of(y_true, j), start + j)
            gaps += gap_term(t, decode(x[j]), largest)
            masses += t
        return double(gaps), double(masses)

    def sum_labels(options: Any, y_true: Any, x: Any, largest: Any) -> Any:
        """The sum of t_j (m - x_j), and T."""
        gaps = 0.0
        masses = 0.0
        if one_hot:
            if y_true < 0 or y_true >= x.size:
                # The labels were checked, so they changed since: stay inside the arrays.
                return np.nan, np.nan
            t = mass(options, one, y_true)
            return double(gap_term(t, decode(x[y_true]), largest)), double(t)
        for start in range(0, x.size, CHUNK):
            part = window(x, start, min(CHUNK, x.size - start))
            labels = y_true - start if class_ids else window(y_true, start, part.size)
            gap, t = gaps_and_masses_of(options, labels, part, start, largest)
            gaps += gap
            masses += t
        return gaps, masses

    def exps_of(x: Any, largest: Any, exps: Any) -> None:
        disjoint()
        for j in range(x.size):
            exps[j] = exp_terms(decode(x[j]), largest)[0]

    def derivatives_of(
        options: Any, y_true: Any, start: Any, exps: Any, of_row: Any, grads: Any, hesses: Any
    ) -> None:
        disjoint()
        total, probability, complement, factor = of_row
        for j in range(exps.size):
            t = zero if one_hot else mass(options, label_of(y_true, j), start + j)
            grad, hess = derivatives(exps[j], t, total, probability, complement, factor)
            grads[j] = encode(grad)
            if with_hess:
                hesses[j] = encode(hess)

    def write_derivatives(
        rows: Any, y_true: Any, x: Any, kept: Any, largest: Any, of_row: Any, first: Any
    ) -> None:
        options = rows.options
        grads = window(rows.encoded, 0, written)
        hesses = window(rows.encoded, written, written)
        # Where labels are not read, the loops may run over the padding too.
        end = kept.size if keeping and one_hot else x.size
        for start in range(0, end, written):
            size = min(written, end - start)
            exps = window(kept, start if keeping else 0, size)
            if not keeping:
                exps_of(window(x, start, size), largest, exps)
            if class_ids:
                labels = y_true - start
            else:
                labels = window(y_true, start, size)
            derivatives_of(options, labels, start, exps, of_row, grads, hesses)
            if one_hot and labels >= 0 and labels < size:
                total, probability, complement, factor = of_row
                grad = derivatives(exps[labels], total, total, probability, complement, factor)[0]
                grads[labels] = encode(grad)
            size = min(size, x.size - start)
            put(grads, window(rows.grad_out, first + start, size), rows.streamed)
            if with_hess:
                put(hesses, window(rows.hess_out, first + start, size), rows.streamed)

    def group(rows: Any) -> None:
        sums = sums_in(rows.numbers, rows.doubles)
        c = rows.n_classes
        n_rows = rows.y_pred.size // c
        # The exponentials of one row after the other, or of one chunk.
        n_kept = padded(c) if keeping else written
        step = n_kept if keeping else 0
        for r in range(n_rows):
            sums.largest[r] = largest_in(window(rows.y_pred, r * c, c), 0)
        for r in range(n_rows):
            x = window(rows.y_pred, r * c, c)
            if class_ids:
                y_true = decode_true(rows.y_true[r])
            else:
                y_true = window(rows.y_true, r * c, c)
            kept = window(rows.numbers, SUMS + r * step, n_kept)
            largest, rest, maxima = sum_row(x, sums.largest[r], kept, n_rows)
            sums.largest[r] = largest
            sums.rest[r] = number(rest)
            sums.maxima[r] = number(maxima)
            sums.gaps[r], sums.masses[r] = sum_labels(rows.options, y_true, x, largest)
        finish(sums, rows.weights, rows.scale, rows.losses, n_rows)
        if with_grad:
            for r in range(n_rows):
                first = r * c
                factor = sums.factor[r]
                if leaving_out and factor == zero:
                    fill(window(rows.grad_out, first, c), encode(zero))
                    if with_hess:
                        fill(window(rows.hess_out, first, c), encode(zero))
                else:
                    if class_ids:
                        y_true = decode_true(rows.y_true[r])
                    else:
                        y_true = window(rows.y_true, first, c)
                    x = window(rows.y_pred, first, c)
                    kept = window(rows.numbers, SUMS + r * step, n_kept)
                    of_row = sums.totals[r], sums.probability[r], sums.complement[r], factor
                    write_derivatives(rows, y_true, x, kept, sums.largest[r], of_row, first)

    return rowwise(group, group_size, room, form, ignoring)
