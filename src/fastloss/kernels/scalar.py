"""exp, log, log1p, sigmoid and softplus without branches, so that LLVM turns loops into SIMD.

Numba's own versions call the C library once per number, as a compiler may not widen such calls
without a vector library. These are arithmetic, selects, shifts and bit casts only, and are written
once for both precisions: what differs is the table of constants and the polynomials. The stated
float32 errors are the largest over all numbers, the float64 ones over samples, both with fused
multiply-add; without, none exceeds 1.5 ulp in float32, but `log1p_of_share` is off by 1.52.

Sources: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980 (argument
reduction in two steps); fdlibm, Sun Microsystems, 1993 (log in float64, its split of ln 2);
S. L. Moshier, Cephes (the float32 split of ln 2). The polynomials are minimax in relative error,
found by Remez exchange; in float32 each coefficient was rounded before the next ones were fitted.
"""

from __future__ import annotations

from typing import Any

from ..compiler.bits import ByPrecision
from .exponentials import (
    constants,
    exp,
    exp_of_gap,
    exp_of_minus,
    expm1_less_x,
    gap_exponential,
    lift_unit,
)
from .logarithms import (
    less_log1p,
    log,
    log1p,
    log1p_excess,
    log1p_less_x,
    log1p_of_share,
    log1p_of_sum,
)

__all__ = [
    "exp",
    "exp_of_gap",
    "exp_of_minus",
    "expm1_less_x",
    "gap_exponential",
    "less_log1p",
    "lift_unit",
    "log",
    "log1p",
    "log1p_less_x",
    "log1p_of_share",
    "log1p_of_sum",
    "sigmoid",
    "softplus",
]


def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), the logistic function.

    At most 1.46 ulp in float32 and 1.4 ulp in float64, also for very negative x, where it is
    exp(x). sigmoid(0) is 0.5, sigmoid(inf) is 1, sigmoid(-inf) is 0, NaN stays NaN.

    Method: with e = exp(-|x|), which cannot overflow, 1 / (1 + e) for x >= 0 and e / (1 + e) below.

    >>> float(sigmoid(0.0))
    0.5
    """
    c = constants(x)
    # The roundings of e, of 1 + e and of the division add up to 2.4 ulp in float32. One Newton step
    # with what the first two lost costs 35%, and does not need fused multiply-add, as would a step
    # that also takes back the rounding of the division: 5% faster, and 1.9 ulp without.
    power, rest = exp_of_minus(abs(x))
    e = power + rest
    total = c.one + e
    lost = ((c.one - total) + power) + rest
    negative = x < c.zero
    quotient = (e if negative else c.one) / total
    residual = ((power - e) + rest if negative else c.zero) - quotient * lost
    return quotient + residual * (c.one - quotient if negative else quotient)


def _softplus(x: Any) -> Any:
    """log(1 + exp(x)), whose derivative is the sigmoid.

    At most 1.39 ulp in float32 and 1.5 ulp in float64, also for very negative x, where it is
    exp(x). softplus(inf) is inf, softplus(-inf) is 0, NaN stays NaN.

    Method: max(x, 0) + log1p(exp(-|x|)), which neither overflows nor loses the small term.

    >>> float(softplus(0.0))
    0.6931471805599453
    """
    c = constants(x)
    # With e = exp(-|x|) = power + rest, f is e or, for large e, (1 + e) / 2 - 1. Rounding e before
    # log1p errs by 1.8 ulp in float32 and is 13% faster.
    power, rest = exp_of_minus(abs(x))
    large = power + rest > c.half
    power = power * c.half - c.half if large else power
    rest = rest * c.half if large else rest
    y = power + (log1p_excess(power + rest) + rest)
    y = y + (c.ln2_hi + c.ln2_lo if large else c.zero)
    return y + (c.zero if x < c.zero else x)


sigmoid = ByPrecision("sigmoid", _sigmoid, _sigmoid)
softplus = ByPrecision("softplus", _softplus, _softplus)
