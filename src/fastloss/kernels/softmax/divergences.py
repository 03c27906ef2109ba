"""How far one softmax is from the other: what each class adds to it, and how much that is.

The formulas are in `pairs.py`.
"""

import math
from typing import Any

import numpy as np

from ...compiler.bits import accumulate, disjoint, prefetch, select, smaller, window
from ..form import Function
from ..log_ratio import divergence_from_mean, half_tanh
from ..row_groups import CHUNK
from ..scalar import exp_of_gap, expm1_less_x, log1p_less_x
from .traits import Traits

_LN2 = math.log(2.0)


def divergence_adder(traits: Traits) -> Function:
    close_shares, any_shares = _close_adder(traits), _any_adder(traits)
    number, one = traits.form.number, traits.form.number(1)

    def add_shares(rows: Any, ahead: Any, two: Any, inverses: Any, log_ratio: Any) -> Any:
        """KL both ways, Jensen-Shannon and the total variation of `two`, a `TwoRows`.

        `inverses` are 1 / the sums of the exponentials, and `log_ratio` is the logarithm of the
        ratio of these sums. Of the vector, what is from `ahead` on comes next.
        """
        inverse_a, inverse_b = number(inverses[0]), number(inverses[1])
        turn = number(log_ratio)
        kl, reverse_kl, jensen_shannon, total_variation = 0.0, 0.0, 0.0, 0.0
        for start in range(0, two.exps_a.size, CHUNK):
            n = smaller(CHUNK, two.exps_a.size - start)
            prefetch(rows.vector, ahead + start, n)
            exps_a, exps_b = window(two.exps_a, start, n), window(two.exps_b, start, n)
            part = window(two.differences, start, n)
            if two.widths[start // CHUNK] + abs(turn) < one:
                shares = close_shares(exps_a, exps_b, part, inverse_a, inverse_b, turn)
            else:
                shares = any_shares(exps_a, exps_b, part, inverse_a, inverse_b, turn)
            kl += shares[0]
            reverse_kl += shares[1]
            jensen_shannon += shares[2]
            total_variation += shares[3]
        return kl, reverse_kl, jensen_shannon, total_variation

    return add_shares


def _close_adder(traits: Traits) -> Function:
    zero, double = traits.form.number(0), np.float64

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

    return close_shares


def _any_adder(traits: Traits) -> Function:
    shares_of_class = class_shares(traits)
    zero, double = traits.form.number(0), np.float64

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

    return any_shares


def class_shares(traits: Traits) -> Function:
    """The function of p, q and log(p / q) of one class, however far these are apart."""
    number = traits.form.number
    zero, half, one, two = number(0), number(0.5), number(1), number(2)
    inf, ln2 = number(np.inf), number(_LN2)

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
        # u s is 0 where u is 0, though s may be infinite. But a probability beside one that is 0 is
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

    return shares_of_class
