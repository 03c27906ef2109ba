"""Two sets of logits, a and b, row by row: how far the one softmax is from the other.

With p and q the two softmaxes and d_j = log(p_j / q_j),

    KL(p || q)       = sum of p_j d_j
    KL(q || p)       = -sum of q_j d_j
    Jensen-Shannon   = (sum of p_j log(p_j / m_j) + sum of q_j log(q_j / m_j)) / 2,  m = (p + q) / 2
    total variation  = (sum of |p_j - q_j|) / 2

Where the two are nearly equal these sums cancel, down to a millionth of their terms. So all is
computed from d, and d never as the difference of two logarithms. With x and y the gaps to the
maxima, divided by the temperature, it is (x_j - y_j) - D, where

    x_j - y_j = ((a_j - b_j) - (max(a) - max(b))) / temperature

has lost nothing but its last rounding, and D, the logarithm of the ratio of the sums of
exponentials, is log1p(sum of (exp(x_j) - exp(y_j)) / sum of exp(y_j)). As p and q add up to the
same, q_j - p_j may be added to each term of KL(p || q). Then a class with |d| <= 1 adds, with
t = tanh(d / 2),

    (p + q) (t d / 2 - (t - d / 2))    to KL(p || q), and the same with a plus to KL(q || p)
    (p + q) / 2 times what `divergence_from_mean` is, to Jensen-Shannon
    (p + q) |t| / 2                    to the total variation

and any other, with P the larger of p_j and q_j, s = |d| and u = exp(-s),

    P (u - 1 + s) to the divergence of the larger from the smaller; P (1 - u - u s) the other way
    P ((1 + u) (log(2) - log(1 + u)) - u s) / 2 and P (1 - u) / 2.

Two models that are worth comparing are close in most classes, so each part of a row is computed by
the first if all of it is close, which takes a third of the time.
"""

import math
from typing import Any

import numpy as np

from ...compiler.bits import accumulate, disjoint, prefetch, select, smaller, window
from ..form import Function, PairScores
from ..log_ratio import divergence_from_mean, half_cosh_sinh, half_tanh
from ..row_groups import CHUNK, group_sizer, rowwise
from ..row_loss import PADDED_TO, largest, largest_magnitude
from ..scalar import exp, exp_of_gap, expm1_less_x, log, log1p, log1p_less_x
from ..storage import decoder
from ..tiles import fill
from .formulas import logits
from .traits import Traits

# Numbers, about, of one of the two arrays in a group of rows.
TOGETHER = 1 << 12
# Rows of scratch memory, at most: a and b, in whose place come their exponentials, and the
# differences; and the largest of these in each part of a row.
SCRATCH = 4
_LN2 = math.log(2.0)


def pairs(traits: Traits) -> Function:
    """What to do with a block: write the scores of its rows, a being `y_pred` and b the vector."""
    form, variant = traits.form, traits.variant
    cap = logits(traits).cap
    decode_true, decode_a = form.decode_true, form.decode_pred
    decode_b = decoder(form.vector, form.arithmetic)
    labelled = form.labelled
    masked, capped, tempered = variant.class_masked, variant.capped, variant.tempered
    n_scores = form.n_results
    number, double = form.number, np.float64
    zero, half, one, two = number(0), number(0.5), number(1), number(2)
    inf, nan, ln2 = number(np.inf), number(np.nan), number(_LN2)

    def padded(n_classes: Any) -> Any:
        return -(-n_classes // PADDED_TO) * PADDED_TO

    def room(n_classes: Any) -> Any:
        n = padded(n_classes)
        return 3 * n + -(-n // CHUNK), 1

    # -----------------------------------------------------------------------------------------
    # One row of logits

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

    def one_hot(x: Any) -> Any:
        """Make logits of the same softmax of a row that holds +inf, and count them."""
        count = 0
        for j in range(x.size):
            is_top = x[j] == inf
            count += is_top
            x[j] = select(is_top, zero, x[j] - inf)
        return count

    def first_of(x: Any, start: Any, top: Any) -> Any:
        """Where the number `top` is first, from `start` on."""
        for j in range(start, x.size):
            if x[j] == top:
                return j
        return 0  # only of NaN

    def load(o: Any, stored: Any, decode: Function, x: Any) -> Any:
        """Put a row into x, as it counts; returns the largest number and its place.

        The largest is NaN where the softmax has no limit: all are -inf, or several +inf.
        """
        c = stored.size
        fill(window(x, c, x.size - c), -inf)
        top, place = -inf, 0
        for start in range(0, c, CHUNK):
            n = smaller(CHUNK, c - start)
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
        if top == inf:
            top = zero if one_hot(window(x, 0, c)) == 1 else nan
        elif top == -inf:
            top = nan
        return top, place

    # -----------------------------------------------------------------------------------------
    # The sums of both softmaxes

    def scaled(o: Any, gap: Any) -> Any:
        return gap * number(o.inverse_temperature) if tempered else gap

    def lost_by(a: Any, b: Any, rounded: Any) -> Any:
        """How much a - b is more than its rounded value (Knuth's two-sum)."""
        minus_b = rounded - a
        return (a - (rounded - minus_b)) - (b + minus_b)

    def difference_of(o: Any, a_j: Any, b_j: Any, shift: Any, lost_shift: Any) -> Any:
        """x - y; nothing for a class that is masked in both rows."""
        rounded = a_j - b_j
        lost = lost_by(a_j, b_j, rounded)
        lost = select(lost == lost, lost, zero)  # of an infinite difference
        difference = scaled(o, (rounded - shift) + (lost - lost_shift))
        return select(difference == difference, difference, zero)

    def differences_of(
        o: Any, a: Any, b: Any, shift: Any, lost_shift: Any, differences: Any
    ) -> None:
        disjoint()
        for j in range(a.size):
            differences[j] = difference_of(o, a[j], b[j], shift, lost_shift)

    def close_exps(o: Any, a_j: Any, b_j: Any, difference: Any, tops: Any) -> Any:
        """exp(x), exp(y) and exp(x) - exp(y), from exp((x + y) / 2)."""
        mean = exp_of_gap(scaled(o, half * ((a_j - tops[0]) + (b_j - tops[1]))))
        cosh, sinh = half_cosh_sinh(difference)
        return mean * (cosh + sinh), mean * (cosh - sinh), two * (mean * sinh)

    def any_exps(o: Any, a_j: Any, b_j: Any, difference: Any, tops: Any) -> Any:
        exp_x = exp_of_gap(scaled(o, a_j - tops[0]))
        exp_y = exp_of_gap(scaled(o, b_j - tops[1]))
        near = abs(difference) < one
        small = select(near, difference, zero)
        close = exp_y * (small + expm1_less_x(small))
        return exp_x, exp_y, select(near, close, exp_x - exp_y)

    def excess_of(exp_x: Any, exp_y: Any, difference: Any) -> Any:
        near = abs(difference) < one
        tanh = half_tanh(double(difference if near else zero))[0]
        return (exp_x + exp_y) * tanh if near else exp_x - exp_y

    def summing(exps_of: Function) -> Function:
        def sum_part(o: Any, a: Any, b: Any, differences: Any, tops: Any) -> Any:
            """Put exp(x) and exp(y) in the place of a and b; add up both, and exp(x) - exp(y)."""
            disjoint()
            sum_a, sum_b, excess = zero, zero, zero
            for j in range(a.size):
                exps = exps_of(o, a[j], b[j], differences[j], tops)
                a[j], b[j] = exps[0], exps[1]
                sum_a = accumulate(sum_a, exps[0])
                sum_b = accumulate(sum_b, exps[1])
                excess = accumulate(excess, exps[2])
            return double(sum_a), double(sum_b), double(excess)

        return sum_part

    sum_close, sum_any = summing(close_exps), summing(any_exps)

    # -----------------------------------------------------------------------------------------
    # What lies between them

    def close_shares(
        exps_a: Any, exps_b: Any, differences: Any, inverse_a: Any, inverse_b: Any, shift: Any
    ) -> Any:
        """What a part of a row adds to KL both ways, to Jensen-Shannon and to the variation."""
        disjoint()
        both, skew, jensen_shannon, total_variation = zero, zero, zero, zero
        for j in range(exps_a.size):
            mass = exps_a[j] * inverse_a + exps_b[j] * inverse_b
            d = differences[j] - shift
            tanh, lag = half_tanh(d)
            both = accumulate(both, mass * (tanh * d))
            skew = accumulate(skew, mass * lag)
            jensen_shannon = accumulate(jensen_shannon, mass * divergence_from_mean(d))
            total_variation = accumulate(total_variation, mass * abs(tanh))
        mean, tilt = 0.5 * double(both), double(skew)
        return mean - tilt, mean + tilt, 0.5 * double(jensen_shannon), 0.5 * double(total_variation)

    def shares_of_class(p: Any, q: Any, d: Any) -> Any:
        above = d > zero
        size = abs(d)
        greater = select(above, p, q)
        near = size < ln2
        small = select(near, size, zero)
        power = exp_of_gap(-size)
        w = expm1_less_x(-small)
        v = select(near, w - small, power - one)
        w = select(near, w, v + size)
        u = select(near, one + v, power)
        # An infinite number of times nothing is nothing. But a probability beside one that is 0 is
        # above 0, even if it has underflowed.
        us = select(power == zero, zero, power * size)
        ahead = select(w == inf, w, greater * w)
        back = greater * select(near, small * small - w * (one + small), (one - u) - us)
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
            half * (greater * inner),
            -half * (greater * v),
        )

    def any_shares(
        exps_a: Any, exps_b: Any, differences: Any, inverse_a: Any, inverse_b: Any, shift: Any
    ) -> Any:
        disjoint()
        kl, reverse_kl, jensen_shannon, total_variation = zero, zero, zero, zero
        for j in range(exps_a.size):
            shares = shares_of_class(
                exps_a[j] * inverse_a, exps_b[j] * inverse_b, differences[j] - shift
            )
            kl = accumulate(kl, shares[0])
            reverse_kl = accumulate(reverse_kl, shares[1])
            jensen_shannon = accumulate(jensen_shannon, shares[2])
            total_variation = accumulate(total_variation, shares[3])
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
        if larger == 0.0:  # both losses are infinite
            return 0.0
        return larger * v if difference > 0.0 else -(larger * v)

    # -----------------------------------------------------------------------------------------

    def score(o: Any, rows: Any, r: Any) -> PairScores:
        c = rows.n_classes
        n = padded(c)
        first = r * c
        a, b = window(rows.numbers, 0, n), window(rows.numbers, n, n)
        differences = window(rows.numbers, 2 * n, n)
        widths = window(rows.numbers, 3 * n, -(-n // CHUNK))
        top_a, place_a = load(o, window(rows.y_pred, first, c), decode_a, a)
        top_b, place_b = load(o, window(rows.vector, first, c), decode_b, b)
        tops = top_a, top_b
        gap_a, gap_b, label = 0.0, 0.0, 0
        if labelled:
            label = decode_true(rows.y_true[r])
            if label < 0 or label >= c:
                # The labels were checked, so they changed since: stay inside the arrays.
                label = 0
            gap_a, gap_b = gap_at(o, a, label, top_a), gap_at(o, b, label, top_b)

        shift = top_a - top_b
        lost_shift = lost_by(top_a, top_b, shift)
        for start in range(0, n, CHUNK):
            size = smaller(CHUNK, n - start)
            part = window(differences, start, size)
            differences_of(
                o, window(a, start, size), window(b, start, size), shift, lost_shift, part
            )
            widths[start // CHUNK] = largest_magnitude(part)
        # The classes of the maxima are added apart: a sum without the 1 keeps its digits.
        apart = place_a != place_b
        exp_x, exp_y = exp(-gap_at(o, a, place_b, top_a)), exp(-gap_at(o, b, place_a, top_b))
        rest_a, rest_b = exp_x if apart else 0.0, exp_y if apart else 0.0
        excess = excess_of(1.0, exp_y, differences[place_a])
        if apart:
            excess += excess_of(exp_x, 1.0, differences[place_b])
        for place in (place_a, place_b):
            a[place], b[place] = -inf, -inf
        for start in range(0, n, CHUNK):
            size = smaller(CHUNK, n - start)
            prefetch(rows.y_pred, first + c + start, size)  # of the next row
            part_a, part_b = window(a, start, size), window(b, start, size)
            part = window(differences, start, size)
            if widths[start // CHUNK] < one:
                sums = sum_close(o, part_a, part_b, part, tops)
            else:
                sums = sum_any(o, part_a, part_b, part, tops)
            rest_a += sums[0]
            rest_b += sums[1]
            excess += sums[2]
        if not rest_a + rest_b < np.inf:
            x = np.nan
            return PairScores(rows.weights[r], x, x, x, x, 0.0, x, x, x, x)

        a[place_a], b[place_a] = one, number(exp_y)
        a[place_b], b[place_b] = number(exp_x), one
        ratio = excess / (1.0 + rest_b)
        near = abs(ratio) < 0.5
        log_ratio = log1p(ratio) if near else log((1.0 + rest_a) / (1.0 + rest_b))

        inverse_a, inverse_b = number(1.0 / (1.0 + rest_a)), number(1.0 / (1.0 + rest_b))
        turn = number(log_ratio)
        kl, reverse_kl, jensen_shannon, total_variation = 0.0, 0.0, 0.0, 0.0
        for start in range(0, n, CHUNK):
            size = smaller(CHUNK, n - start)
            prefetch(rows.vector, first + c + start, size)
            part_a, part_b = window(a, start, size), window(b, start, size)
            part = window(differences, start, size)
            if widths[start // CHUNK] + abs(turn) < one:
                shares = close_shares(part_a, part_b, part, inverse_a, inverse_b, turn)
            else:
                shares = any_shares(part_a, part_b, part, inverse_a, inverse_b, turn)
            kl += shares[0]
            reverse_kl += shares[1]
            jensen_shannon += shares[2]
            total_variation += shares[3]
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
            1.0 if place_a == place_b else 0.0,
            loss_a,
            loss_b,
            difference,
            change,
        )

    def group(rows: Any) -> None:
        o = rows.options
        for r in range(rows.y_pred.size // rows.n_classes):
            rows.losses[r] = 0.0
            out = window(rows.scores, r * n_scores, n_scores)
            if rows.weights[r] == 0.0:
                fill(out, 0.0)
                continue
            scores = score(o, rows, r)
            for i in range(n_scores):
                out[i] = scores[i]

    return rowwise(group, group_sizer(TOGETHER), room, form, traits.ignoring)
