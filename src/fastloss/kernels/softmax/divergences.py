"""How far one softmax is from the other: what each class adds to it, and how much that is.

The formulas are in `pairs.py`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import accumulate, disjoint, prefetch, select, smaller, window
from ...compiler.flags import unfused
from ..exponentials import constants
from ..form import Function
from ..log_ratio import divergence_from_mean, half_tanh
from ..row_groups import CHUNK
from ..scalar import log1p_less_x
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


def _close_terms(mass: Any, d: Any) -> Any:
    """What a class of p + q = `mass` adds where |d| <= 1.

    That is twice the mean of both KL, half their difference, and twice the other two divergences.
    """
    tanh, lag = half_tanh(d)
    return mass * (tanh * d), mass * lag, mass * divergence_from_mean(d), mass * abs(tanh)


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
            terms = _close_terms(mass, differences[j] - shift)
            both = accumulate(both, terms[0])
            skew = accumulate(skew, terms[1])
            jensen_shannon = accumulate(jensen_shannon, terms[2])
            total_variation = accumulate(total_variation, terms[3])
        mean, tilt = 0.5 * double(both), double(skew)
        return mean - tilt, mean + tilt, 0.5 * double(jensen_shannon), 0.5 * double(total_variation)

    return close_shares


def _any_adder(traits: Traits) -> Function:
    probability, _, shares_of_class = class_shares(traits)
    zero, double = traits.form.number(0), np.float64

    def any_shares(
        exps_a: Any, exps_b: Any, differences: Any, inverse_a: Any, inverse_b: Any, shift: Any
    ) -> Any:
        disjoint()
        kl, reverse_kl, jensen_shannon, total_variation = zero, zero, zero, zero
        for j in range(exps_a.size):
            p, q = probability(exps_a[j], inverse_a), probability(exps_b[j], inverse_b)
            shares = shares_of_class(p, q, differences[j] - shift)
            kl = accumulate(kl, shares[0])
            reverse_kl = accumulate(reverse_kl, shares[1])
            jensen_shannon = accumulate(jensen_shannon, shares[2])
            total_variation = accumulate(total_variation, shares[3])
        return double(kl), double(reverse_kl), double(jensen_shannon), double(total_variation)

    return any_shares


class ClassShares(NamedTuple):
    """Functions of p, q and d = log(p / q) of one class.

    Where |d| < 1 both give the same bits, whatever stands around them.
    """

    probability: Function
    close: Function
    any: Function


def class_shares(traits: Traits) -> ClassShares:
    number = traits.form.number
    zero, half, one = number(0), number(0.5), number(1)
    inf, ln2 = number(np.inf), number(_LN2)
    least = constants(one).smallest_normal

    @unfused
    def probability(exp_x: Any, inverse: Any) -> Any:
        return exp_x * inverse

    @unfused
    def close(p: Any, q: Any, d: Any) -> Any:
        """What a class adds to KL both ways, Jensen-Shannon and the variation, if |d| < 1."""
        both, skew, twice_js, twice_tv = _close_terms(p + q, d)
        mean = half * both
        return mean - skew, mean + skew, half * twice_js, half * twice_tv

    def of_any(p: Any, q: Any, d: Any) -> Any:
        """The same, however far p and q are apart."""
        above = d > zero
        size = abs(d)
        near = size < one
        of_close = close(p, q, select(near, d, zero))
        greater, lesser = select(above, p, q), select(above, q, p)
        # Where both have underflowed, too.
        u = lesser / select(greater > least, greater, least)
        # u s is 0 where u is 0, though s may be infinite. But a probability beside one that is 0 is
        # above 0, even if it has underflowed.
        us = select(u == zero, zero, u * size)
        w = (u - one) + size
        ahead = select(w == inf, w, greater * w)
        back = greater * ((one - u) - us)
        inner = (one + u) * (ln2 - (u + log1p_less_x(select(near, zero, u)))) - us
        return (
            select(near, of_close[0], select(above, ahead, back)),
            select(near, of_close[1], select(above, back, ahead)),
            select(near, of_close[2], half * (greater * inner)),
            select(near, of_close[3], half * (greater * (one - u))),
        )

    return ClassShares(probability, close, of_any)
