"""Two sets of logits, a and b, row by row: how far the one softmax is from the other.

With p and q the two softmaxes and d_j = log(p_j / q_j),

    KL(p || q)       = sum of p_j d_j
    KL(q || p)       = -sum of q_j d_j
    Jensen-Shannon   = (sum of p_j log(p_j / m_j) + sum of q_j log(q_j / m_j)) / 2,  m = (p + q) / 2
    total variation  = (sum of |p_j - q_j|) / 2

Where the two are nearly equal these sums cancel, to a few of millions of their terms. So nothing is
computed but from d, and d never as the difference of two logarithms: it is

    d_j = ((a_j - b_j) - (max(a) - max(b))) / temperature - D

where the differences are exact but for one rounding, and D, the logarithm of the ratio of the two
sums of exponentials, is log1p(sum of (exp(x_j) - exp(y_j)) / sum of exp(y_j)), x and y being the
gaps to the maxima. As p and q add up to the same, q_j - p_j may be added to each term of KL, so that
no term is negative. With P the larger of p_j and q_j, s = |d_j|, v = exp(-s) - 1, w = v + s and
u = exp(-s), a class adds

    P w                                           to the divergence of the larger from the smaller
    P (1 - u - u s)                               to the one the other way
    P ((1 + u) (log(2) - log(1 + u)) - u s) / 2   to Jensen-Shannon
    -P v / 2                                      to the total variation

which for s < log(2), from w and z = v / 2, are P w, P (s^2 - w (1 + s)),
P (2 z^2 - 2 (1 + z) (log1p(z) - z) - u w) / 2 and -P z: sums of terms of their own size.
"""

import math
from typing import Any

import numpy as np

from .bits import disjoint, prefetch, select, window
from .flags import fastmath, inlined
from .form import Form, Function, PairScores
from .rows import CHUNK, STEP, largest
from .rowwise import GROUP, rowwise
from .scalar import exp, exp_of_gap, expm1_less_x, log, log1p, log1p_less_x
from .softmax import Variant, formulas
from .storage import decoder
from .tiles import fill

# Numbers, about, of one of the two arrays in a group of rows.
TOGETHER = 1 << 12
# Rows of scratch memory: exponentials of a and b, and the differences.
SCRATCH = 3
_LN2 = math.log(2.0)


def pairs(form: Form, variant: Variant, ignoring: bool) -> Function:
    """What to do with a block: write the scores of its rows, a being `y_pred` and b the vector."""
    formula = formulas(form, variant)
    read_options, cap = formula.of_class[0], formula.of_class[2]
    decode_true, decode_a = form.decode_true, form.decode_pred
    decode_b = decoder(form.vector, form.arithmetic)
    labelled = form.labelled
    masked, capped, tempered = variant.class_masked, variant.capped, variant.tempered
    n_scores = form.n_results
    number, double = form.number, np.float64
    zero, half, one, two = number(0), number(0.5), number(1), number(2)
    inf, ln2 = number(np.inf), number(_LN2)

    def padded(n_classes: Any) -> Any:
        return -(-n_classes // STEP) * STEP

    def group_size(n_classes: Any) -> Any:
        return min(max(TOGETHER // n_classes, 1), GROUP)

    def room(n_classes: Any) -> Any:
        return SCRATCH * padded(n_classes), 1

    # -----------------------------------------------------------------------------------------
    # One row of logits

    @inlined
    def mask_of(o: Any, start: Any, x: Any) -> Any:
        return window(o.class_mask, start, x.size) if masked else x

    def decode_part(stored: Any, decode: Function, mask: Any, x: Any) -> None:
        disjoint()
        for j in range(stored.size):
            x_j = decode(stored[j])
            if masked:
                x_j = select(mask[j] != 0, x_j, -inf)
            x[j] = x_j

    def cap_part(o: Any, mask: Any, top: Any, x: Any) -> None:
        disjoint()
        for j in range(x.size):
            x_j = cap(o, x[j])[0]
            # Rounding may let a smaller logit pass the largest.
            x_j = select(x_j > top, top, x_j)
            if masked:
                x_j = select(mask[j] != 0, x_j, -inf)
            x[j] = x_j

    def one_hot(x: Any) -> None:
        """Logits for the softmax of a row that holds +inf."""
        for j in range(x.size):
            x[j] = select(x[j] == inf, zero, x[j] - inf)

    def first_of(x: Any, start: Any, top: Any) -> Any:
        """Where the number `top` is first, from `start` on."""
        for j in range(start, x.size):
            if x[j] == top:
                return j
        return 0  # only of NaN

    def load(o: Any, stored: Any, decode: Function, x: Any) -> Any:
        """Put a row into x, as it counts; returns the largest, its place and whether it was +inf."""
        c = stored.size
        fill(window(x, c, x.size - c), -inf)
        top, place = -inf, 0
        for start in range(0, c, CHUNK):
            n = min(CHUNK, c - start)
            part = window(x, start, n)
            decode_part(window(stored, start, n), decode, mask_of(o, start, part), part)
            # With the padding, of which there is none but at the end.
            found = largest(window(x, start, padded(n)))
            if found > top:
                top, place = found, start
        place = first_of(window(x, 0, c), place, top)
        if capped and top > -inf:
            top = cap(o, top)[0]
            cap_part(o, mask_of(o, 0, window(x, 0, c)), top, window(x, 0, c))
        unbounded = top == inf
        if unbounded:
            one_hot(x)
            top = zero
        return top, place, unbounded

    # -----------------------------------------------------------------------------------------
    # The sums of both softmaxes

    def scaled(o: Any, gap: Any) -> Any:
        return gap * number(o.inverse_temperature) if tempered else gap

    def terms_of_class(o: Any, a_j: Any, b_j: Any, tops: Any, shift: Any, lost_shift: Any) -> Any:
        """exp(x), exp(y), x - y and exp(x) - exp(y)."""
        exp_x = exp_of_gap(scaled(o, a_j - tops[0]))
        exp_y = exp_of_gap(scaled(o, b_j - tops[1]))
        # What the rounding of a - b lost (Knuth's two-sum), nothing if it is infinite; and classes
        # that are masked in both rows are as they should be.
        rounded = a_j - b_j
        minus_b = rounded - a_j
        lost = (a_j - (rounded - minus_b)) - (b_j + minus_b)
        lost = select(lost == lost, lost, zero)
        difference = scaled(o, (rounded - shift) + (lost - lost_shift))
        difference = select(difference == difference, difference, zero)
        near = abs(difference) < one
        small = select(near, difference, zero)
        excess = select(near, exp_y * (small + expm1_less_x(small)), exp_x - exp_y)
        return exp_x, exp_y, difference, excess

    @fastmath("reassoc")
    def sum_part(
        o: Any, a: Any, b: Any, differences: Any, tops: Any, shift: Any, lost_shift: Any
    ) -> Any:
        """Put exp(x), exp(y) and x - y in the place of a, b and the differences.

        Returns the sums of exp(x) < 1 and of exp(y) < 1, how many are 1, and the sum of
        exp(x) - exp(y).
        """
        disjoint()
        rest_a, maxima_a, rest_b, maxima_b, excess = zero, zero, zero, zero, zero
        for j in range(a.size):
            a_j, b_j = a[j], b[j]
            terms = terms_of_class(o, a_j, b_j, tops, shift, lost_shift)
            top_a, top_b = a_j == tops[0], b_j == tops[1]
            rest_a += select(top_a, zero, terms[0])
            rest_b += select(top_b, zero, terms[1])
            maxima_a += select(top_a, one, zero)
            maxima_b += select(top_b, one, zero)
            excess += terms[3]
            a[j], b[j], differences[j] = terms[0], terms[1], terms[2]
        return double(rest_a), double(maxima_a), double(rest_b), double(maxima_b), double(excess)

    # -----------------------------------------------------------------------------------------
    # What lies between them

    def shares_of_class(p: Any, q: Any, d: Any) -> Any:
        """What a class adds to KL both ways, to Jensen-Shannon and to the total variation."""
        above = d > zero
        size = abs(d)
        larger = select(above, p, q)
        near = size < ln2
        small = select(near, size, zero)
        power = exp_of_gap(-size)
        w = expm1_less_x(-small)
        v = select(near, w - small, power - one)
        w = select(near, w, v + size)
        u = select(near, one + v, power)
        # No number of times nothing is nothing.
        us = select(power == zero, zero, power * size)
        ahead = select(larger == zero, larger, larger * w)
        back = larger * select(near, small * small - w * (one + small), (one - u) - us)
        z = select(near, half * v, power)
        less = log1p_less_x(z)
        inner = select(
            near,
            (two * z) * z - two * (one + z) * less - u * w,
            (one + u) * (ln2 - (u + less)) - us,
        )
        return (
            select(above, ahead, back),
            select(above, back, ahead),
            half * (larger * inner),
            -half * (larger * v),
        )

    @fastmath("reassoc")
    def shares_of_part(
        exps_a: Any, exps_b: Any, differences: Any, inverse_a: Any, inverse_b: Any, shift: Any
    ) -> Any:
        disjoint()
        kl, reverse_kl, jensen_shannon, total_variation = zero, zero, zero, zero
        for j in range(exps_a.size):
            shares = shares_of_class(
                exps_a[j] * inverse_a, exps_b[j] * inverse_b, differences[j] - shift
            )
            kl += shares[0]
            reverse_kl += shares[1]
            jensen_shannon += shares[2]
            total_variation += shares[3]
        return double(kl), double(reverse_kl), double(jensen_shannon), double(total_variation)

    # -----------------------------------------------------------------------------------------
    # The label

    def gap_at(o: Any, x: Any, label: Any, top: Any) -> Any:
        gap = double(top) - double(x[label])
        return gap * o.inverse_temperature if tempered else gap

    def change_of(loss_a: Any, loss_b: Any, difference: Any) -> Any:
        """exp(-loss_b) - exp(-loss_a), with digits of its own where the two are close."""
        larger = exp(-min(loss_a, loss_b))
        size = abs(difference)
        near = size < 1.0
        small = size if near else 0.0
        v = (expm1_less_x(-small) - small) if near else exp(-size) - 1.0
        if larger == 0.0 and loss_a == loss_a and loss_b == loss_b:
            return 0.0
        return larger * v if difference > 0.0 else -(larger * v)

    # -----------------------------------------------------------------------------------------

    def score(o: Any, rows: Any, r: Any) -> PairScores:
        c = rows.n_classes
        n = padded(c)
        first = r * c
        a, b = window(rows.numbers, 0, n), window(rows.numbers, n, n)
        differences = window(rows.numbers, 2 * n, n)
        top_a, place_a, unbounded_a = load(o, window(rows.y_pred, first, c), decode_a, a)
        top_b, place_b, unbounded_b = load(o, window(rows.extras.vector, first, c), decode_b, b)
        gap_a, gap_b, label = 0.0, 0.0, 0
        if labelled:
            label = decode_true(rows.y_true[r])
            if label < 0 or label >= c:
                # The labels were checked, so they changed since: stay inside the arrays.
                label = 0
            gap_a, gap_b = gap_at(o, a, label, top_a), gap_at(o, b, label, top_b)

        shift = top_a - top_b
        minus_b = shift - top_a
        lost_shift = (top_a - (shift - minus_b)) - (top_b + minus_b)
        tops = top_a, top_b
        rest_a, maxima_a, rest_b, maxima_b, excess = 0.0, 0.0, 0.0, 0.0, 0.0
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            part_a, part_b = window(a, start, size), window(b, start, size)
            part = window(differences, start, size)
            sums = sum_part(o, part_a, part_b, part, tops, shift, lost_shift)
            rest_a += sums[0]
            maxima_a += sums[1]
            rest_b += sums[2]
            maxima_b += sums[3]
            excess += sums[4]
        rest_a += maxima_a - 1.0
        rest_b += maxima_b - 1.0
        # Of several +inf there is no limit; of -inf alone the sums are NaN already.
        if unbounded_a and maxima_a > 1.0:
            rest_a = np.nan
        if unbounded_b and maxima_b > 1.0:
            rest_b = np.nan
        ratio = excess / (1.0 + rest_b)
        near = abs(ratio) < 0.5
        log_ratio = log1p(ratio) if near else log((1.0 + rest_a) / (1.0 + rest_b))
        log_ratio += rest_a - rest_a + (rest_b - rest_b)  # NaN of either

        inverse_a, inverse_b = number(1.0 / (1.0 + rest_a)), number(1.0 / (1.0 + rest_b))
        kl, reverse_kl, jensen_shannon, total_variation = 0.0, 0.0, 0.0, 0.0
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            # Of the next row.
            prefetch(rows.y_pred, first + c + start, size)
            prefetch(rows.extras.vector, first + c + start, size)
            shares = shares_of_part(
                window(a, start, size),
                window(b, start, size),
                window(differences, start, size),
                inverse_a,
                inverse_b,
                number(log_ratio),
            )
            kl += shares[0]
            reverse_kl += shares[1]
            jensen_shannon += shares[2]
            total_variation += shares[3]
        agreement = 1.0 if place_a == place_b and log_ratio == log_ratio else 0.0

        loss_a, loss_b, difference, change = 0.0, 0.0, 0.0, 0.0
        if labelled:
            loss_a, loss_b = gap_a + log1p(rest_a), gap_b + log1p(rest_b)
            # log(p_y / q_y), exact where the losses are close; a sum of infinities is one.
            difference = double(differences[label]) - log_ratio
            if loss_a == np.inf or loss_b == np.inf:
                difference = loss_b - loss_a
            change = change_of(loss_a, loss_b, difference)
        return PairScores(
            rows.weights[r],
            kl,
            reverse_kl,
            jensen_shannon,
            total_variation,
            agreement,
            loss_a,
            loss_b,
            difference,
            change,
        )

    def group(rows: Any) -> None:
        o = read_options(rows.options)
        for r in range(rows.y_pred.size // rows.n_classes):
            rows.losses[r] = 0.0
            out = window(rows.scores, r * n_scores, n_scores)
            if rows.weights[r] == 0.0:
                fill(out, 0.0)
                continue
            scores = score(o, rows, r)
            for i in range(n_scores):
                out[i] = scores[i]

    return rowwise(group, group_size, room, form, ignoring)
