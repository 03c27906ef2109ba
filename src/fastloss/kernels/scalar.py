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

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import ByPrecision, float_as_int, int_as_float, int_like
from ..compiler.flags import unfused


class _Constants(NamedTuple):
    zero: Any
    quarter: Any
    half: Any
    one: Any
    inf: Any
    nan: Any
    # ln 2 = ln2_hi + ln2_lo; the first has zeros at its end, so its product with an exponent is
    # exact, with and without fused multiply-add.
    ln2_hi: Any
    ln2_lo: Any
    log2_e: Any
    # Adding 1.5 * 2**mantissa_bits rounds to an integer and leaves it in the low bits of the sum,
    # where the cast of `rint` would need an integer conversion. Twice the exponent bias on top
    # makes the low bits non-negative for every exponent that exp meets.
    rounder: Any
    # The same with the exponent bias once, and with the lift of `exp_of_gap`, which is undone by
    # a product with the unit: the low bits are those of a power of two.
    gap_rounder: Any
    gap_unit: Any
    # Where the bits of that power of two are those of 0. A little more, and a product would have to
    # underflow to 0: rows of which a fifth is -inf then took twice as long.
    gap_lowest: Any
    # exp is 0 below the first and infinite above the second, and their exponents still fit.
    exp_lowest: Any
    exp_highest: Any
    smallest_normal: Any
    denormal_scale: Any
    denormal_exponent: Any
    mantissa_bits: int
    four_bits: int


def _constants_of(number: Any, mantissa_bits: int, bias: int, **rest: float) -> _Constants:
    return _Constants(
        zero=number(0.0),
        quarter=number(0.25),
        half=number(0.5),
        one=number(1.0),
        inf=number(np.inf),
        nan=number(np.nan),
        log2_e=number(1.4426950408889634),
        rounder=number(1.5 * 2.0**mantissa_bits + 2 * bias),
        gap_rounder=number(1.5 * 2.0**mantissa_bits + bias + mantissa_bits + 2),
        gap_unit=number(2.0 ** -(mantissa_bits + 2)),
        gap_lowest=number(-(bias + mantissa_bits + 2) * 0.69315),
        smallest_normal=number(2.0 ** (1 - bias)),
        denormal_scale=number(2.0**mantissa_bits),
        denormal_exponent=number(mantissa_bits),
        mantissa_bits=mantissa_bits,
        four_bits=int(float_as_int(number(4.0))),
        **{name: number(value) for name, value in rest.items()},
    )


_SINGLE = _constants_of(
    np.float32,
    mantissa_bits=23,
    bias=127,
    ln2_hi=0.693359375,
    ln2_lo=-2.12194440054690583e-4,
    exp_lowest=-104.0,
    exp_highest=89.0,
)
_DOUBLE = _constants_of(
    np.float64,
    mantissa_bits=52,
    bias=1023,
    ln2_hi=6.93147180369123816490e-01,
    ln2_lo=1.90821492927058770002e-10,
    exp_lowest=-746.0,
    exp_highest=710.0,
)


def _single(x: Any) -> Any:
    return _SINGLE


def _double(x: Any) -> Any:
    return _DOUBLE


_constants = ByPrecision("_constants", _single, _double)

# ---------------------------------------------------------------------------------------------
# exp
#
# x = n ln 2 + r with n an integer and |r| <= ln(2)/2, so exp(x) = 2**n exp(r). The two halves of n
# are applied one after the other: 2**n alone overflows at the largest results, and only the last
# product may round, so that denormal results are rounded once. Compared with one factor this costs
# 8%, and reducing by 2 ln 2 to square a single factor saves that, but errs by 1.65 ulp in float32.


def _exp_tail_f32(r: Any) -> Any:
    q = np.float32(0.0013821288)
    q = q * r + np.float32(0.00836866908)
    q = q * r + np.float32(0.0416682586)
    q = q * r + np.float32(0.166665211)
    return q * r + np.float32(0.49999994)


def _exp_tail_f64(r: Any) -> Any:
    # Estrin's scheme: loops would wait for Horner's chain of 10 steps (15% in sigmoid).
    q01 = 0.16666666666666413 * r + 0.5000000000000011
    q23 = 8.333333333494685e-03 * r + 4.166666666653005e-02
    q45 = 1.9841269506176677e-04 * r + 1.3888888943662185e-03
    q67 = 2.755758665583885e-06 * r + 2.480149306160958e-05
    q89 = 2.4999997739499224e-08 * r + 2.7630262950518746e-07
    r2 = r * r
    r4 = r2 * r2
    return (q89 * r4 + (q67 * r2 + q45)) * r4 + (q23 * r2 + q01)


_exp_tail = ByPrecision("_exp_tail", _exp_tail_f32, _exp_tail_f64)  # (exp(r) - 1 - r) / r**2


def _reduce(x: Any) -> Any:
    """r and two powers of two, with exp(x) their product with exp(r)."""
    c = _constants(x)
    shifted = x * c.log2_e + c.rounder
    n = shifted - c.rounder
    r = (x - n * c.ln2_hi) - n * c.ln2_lo
    bits = float_as_int(shifted)
    half = int_like(bits >> 1, x)
    rest = int_like(bits - half, x)
    return (
        r,
        int_as_float(int_like(half << c.mantissa_bits, x)),
        int_as_float(int_like(rest << c.mantissa_bits, x)),
    )


def _exp(x: Any) -> Any:
    """exp(x), the exponential function.

    At most 0.91 ulp in float32 and 0.9 ulp in float64, denormal results included: those underflow
    gradually, to 0 below -103.98 (float32) or -745.14 (float64). exp(0) is exactly 1, exp(x) <= 1
    for x <= 0, exp(inf) is inf, exp(-inf) is 0, NaN stays NaN.

    Method: Cody and Waite's reduction and a polynomial of degree 6 (float32) or 11 (float64).

    >>> float(exp(0.0))
    1.0
    """
    c = _constants(x)
    # Written so that NaN, for which every comparison is false, passes through.
    x = c.exp_highest if x > c.exp_highest else x
    x = c.exp_lowest if x < c.exp_lowest else x
    r, power, rest = _reduce(x)
    return ((_exp_tail(r) * r + c.one) * r + c.one) * power * rest


def _gap_in_reach(x: Any) -> Any:
    """`x`, or the largest number whose exponential is 0 where x is less, as of -inf.

    Beside `lifted_exp_of_gap` it costs nothing, as the compiler sees that it is done there.
    """
    c = _constants(x)
    return c.gap_lowest if x < c.gap_lowest else x


@unfused
def _times_power(a: Any, power: Any) -> Any:
    """For sums, which then do not depend on whether their terms are needed for anything else."""
    return a * power


def _lifted_exp_of_gap(x: Any) -> Any:
    """exp(x) / lift_unit for x <= 0, which is no denormal number: what many of are added up."""
    c = _constants(x)
    x = c.gap_lowest if x < c.gap_lowest else x
    shifted = x * c.log2_e + c.gap_rounder
    n = shifted - c.gap_rounder
    r = (x - n * c.ln2_hi) - n * c.ln2_lo
    power = int_as_float(int_like(float_as_int(shifted) << c.mantissa_bits, x))
    return _times_power((_exp_tail(r) * r + c.one) * r + c.one, power)


def _exp_of_gap(x: Any) -> Any:
    """exp(x) for x <= 0.

    At most 0.91 ulp in float32 and 0.9 ulp in float64, denormal results included. exp_of_gap(0) is
    exactly 1, of -inf it is 0, NaN stays NaN. For a softmax, whose exponents are gaps to the
    largest logit: as no result is large, one power of two serves instead of two halves of it,
    lifted out of the denormal range until the end. Exp and sum take 0.115 instead of 0.131 ns a
    number of float32.

    >>> float(exp_of_gap(0.0))
    1.0
    """
    return lifted_exp_of_gap(x) * _constants(x).gap_unit


def lift_unit(number: Any) -> float:
    """What `lifted_exp_of_gap` is lifted by, a power of two, for a type of numbers."""
    return float(_constants(number(0)).gap_unit)


def _expm1_less_x(x: Any) -> Any:
    """exp(x) - 1 - x for |x| <= 1, without the loss of digits where the three nearly cancel.

    At most 4.1 ulp in float32 and 6.7 ulp in float64. For small x it is x**2 / 2. NaN stays NaN.

    Method: with e(x) for the result, e(2 x) = (x + e(x))**2 + 2 e(x), a sum of positive terms; from
    x / 4, where e is the tail of the polynomial of exp.

    >>> round(float(expm1_less_x(1e-12)) * 1e25, 9)
    5.0
    """
    c = _constants(x)
    h = x * c.quarter
    e = _exp_tail(h) * h * h
    e = (h + e) * (h + e) + (e + e)
    h = h + h
    return (h + e) * (h + e) + (e + e)


def exp_of_minus(magnitude: Any) -> Any:
    """exp(-magnitude) as a power of two and a remainder; their sum has some 3 bits to spare."""
    c = _constants(magnitude)
    x = -magnitude
    x = c.exp_lowest if x < c.exp_lowest else x
    r, power, rest = _reduce(x)
    return power * rest, (_exp_tail(r) * (r * r) + r) * power * rest


# ---------------------------------------------------------------------------------------------
# log and log1p
#
# x = 2**n (1 + f) with f in [-1/4, 1/2), so log(x) = n ln 2 + log1p(f). Any binade [a, 2a) around 1
# needs a polynomial of the same degree, as the singularity at f = -1 lies as far outside it; this
# one loses least to cancellation between the two terms: with a = 2/3, log1p errs by 1.52 ulp in
# float32.


def _log1p_excess_f32(f: Any) -> Any:
    # Even and odd powers apart: two short chains of dependent steps instead of a long one.
    f2 = f * f
    odd = np.float32(0.104725517) * f2 + np.float32(0.1447763)
    odd = odd * f2 + np.float32(0.19990848)
    odd = odd * f2 + np.float32(0.333334506)
    even = np.float32(-0.0451522842) * f2 + np.float32(-0.131639361)
    even = even * f2 + np.float32(-0.166468784)
    even = even * f2 + np.float32(-0.250001103)
    even = even * f2 + np.float32(-0.5)
    return (odd * f + even) * f2


def _log1p_excess_f64(f: Any) -> Any:
    # log1p(f) = 2 atanh(s) with s = f / (2 + f), arranged as in fdlibm. A polynomial in f would
    # need degree 21 instead of this division and degree 7 in s**2: 0.72 against 0.55 ns a number.
    s = f / (2.0 + f)
    z = s * s
    z2 = z * z
    odd = 0.1383910806142822 * z2 + 0.15391077261862074
    odd = odd * z2 + 0.22222224278738123
    odd = odd * z2 + 0.4000000000005604
    even = 0.13174181326975226 * z2 + 0.18181666938809152
    even = even * z2 + 0.2857142855598433
    even = even * z2 + 0.666666666666666
    half_square = 0.5 * f * f
    return s * (half_square + (odd * z + even) * z) - half_square


_log1p_excess = ByPrecision("_log1p_excess", _log1p_excess_f32, _log1p_excess_f64)  # log1p(f) - f


def _scaled_exponent_f32(x: Any) -> Any:
    bits = int_like((float_as_int(x) - 0x3F400000) & -0x800000, x)
    return bits, np.float32(bits), np.float32(2.0**-23)


def _scaled_exponent_f64(x: Any) -> Any:
    # The upper half of an int64 converts to float64 everywhere, all of it only with AVX-512.
    bits = int_like((float_as_int(x) - 0x3FE8000000000000) & -0x10000000000000, x)
    return bits, np.float64(np.int32(bits >> 32)), 2.0**-20


# For x in 2**n [3/4, 3/2): n in the exponent bits of an integer; a float and a power of two whose
# product is n, as the conversion of the unshifted integer saves the shift.
_scaled_exponent = ByPrecision("_scaled_exponent", _scaled_exponent_f32, _scaled_exponent_f64)


def _log(x: Any) -> Any:
    """log(x), the natural logarithm.

    At most 1.06 ulp in float32 and 1.3 ulp in float64, denormal x included. log(0) is -inf,
    log(inf) is inf, negative x and NaN give NaN.

    Method: a polynomial of degree 10 (float32), or fdlibm's series in s = f / (2 + f) (float64).

    >>> float(log(10.0))
    2.302585092994046
    """
    c = _constants(x)
    denormal = x < c.smallest_normal
    normal = x * c.denormal_scale if denormal else x
    bits, n, unit = _scaled_exponent(normal)
    f = int_as_float(int_like(float_as_int(normal) - bits, x)) - c.one
    n = n * unit
    n = n - c.denormal_exponent if denormal else n
    y = n * c.ln2_hi + (n * c.ln2_lo + (_log1p_excess(f) + f))
    y = y if x < c.inf else x
    return y if x > c.zero else (-c.inf if x == c.zero else c.nan)


def _log1p(x: Any) -> Any:
    """log(1 + x), without the loss of digits of the sum for small x.

    At most 1.27 ulp in float32 and 1.3 ulp in float64. log1p(-1) is -inf, log1p(inf) is inf, x < -1
    and NaN give NaN; for x so small that x**2 does not count, the result is x.

    Method: as `log`, with f = x / 2**n + (2**-n - 1), whose one rounding error does not count.

    >>> float(log1p(1e-20))
    1e-20
    """
    c = _constants(x)
    shifted = c.one + x
    bits, n, unit = _scaled_exponent(shifted)
    # 2**(2-n) instead of 2**-n, which is denormal for the largest x.
    power = int_as_float(int_like(c.four_bits - bits, x))
    f = int_as_float(int_like(float_as_int(x) - bits, x)) + (power * c.quarter - c.one)
    n = n * unit
    y = n * c.ln2_hi + (n * c.ln2_lo + (_log1p_excess(f) + f))
    y = y if x < c.inf else x
    return y if shifted > c.zero else (-c.inf if shifted == c.zero else c.nan)


def _less_log1p(x: Any) -> Any:
    """x - log(1 + x) for x >= 0, without the loss of digits where the two are close.

    At most 4.1 ulp. For small x it is x**2 / 2. NaN stays NaN.

    >>> round(float(less_log1p(1e-12)) * 1e25, 9)
    5.0
    """
    c = _constants(x)
    small = x < c.half
    near = -_log1p_excess(x if small else c.zero)
    far = x - _log1p(x)
    far = far if x < c.inf else x
    return near if small else far


def _log1p_less_x(x: Any) -> Any:
    """log(1 + x) - x for -1/4 <= x <= 1/2, without the loss of digits where the two are close.

    At most 4.1 ulp in float32 and in float64. For small x it is -x**2 / 2. NaN stays NaN.

    >>> round(float(log1p_less_x(1e-12)) * 1e25, 9)
    -5.0
    """
    return _log1p_excess(x)


def _log1p_of_share_f32(x: Any) -> Any:
    # One polynomial for the whole range, five instructions less than to halve what is large. By
    # Horner's rule: of even and odd powers apart, the sums would cancel.
    q = np.float32(-0.0036769004) * x + np.float32(0.0218728315)
    q = q * x + np.float32(-0.0609165691)
    q = q * x + np.float32(0.110246345)
    q = q * x + np.float32(-0.155692503)
    q = q * x + np.float32(0.197742298)
    q = q * x + np.float32(-0.249750823)
    q = q * x + np.float32(0.333322495)
    q = q * x + np.float32(-0.5)
    return q * (x * x) + x


def _log1p_of_share_f64(x: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1, where one halving does what `log1p` needs the exponent for.

    At most 1.22 ulp in float32 and 1.3 ulp in float64; NaN stays NaN.

    >>> float(log1p_of_share(1.0))
    0.6931471805599453
    """
    c = _constants(x)
    large = x > c.half
    f = x * c.half - c.half if large else x
    return (_log1p_excess(f) + f) + (c.ln2_hi + c.ln2_lo if large else c.zero)


# ---------------------------------------------------------------------------------------------
# sigmoid and softplus


def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), the logistic function.

    At most 1.46 ulp in float32 and 1.4 ulp in float64, also for very negative x, where it is
    exp(x). sigmoid(0) is 0.5, sigmoid(inf) is 1, sigmoid(-inf) is 0, NaN stays NaN.

    Method: with e = exp(-|x|), which cannot overflow, 1 / (1 + e) for x >= 0 and e / (1 + e) below.

    >>> float(sigmoid(0.0))
    0.5
    """
    c = _constants(x)
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
    c = _constants(x)
    # With e = exp(-|x|) = power + rest, f is e or, for large e, (1 + e) / 2 - 1. Rounding e before
    # log1p errs by 1.8 ulp in float32 and is 13% faster.
    power, rest = exp_of_minus(abs(x))
    large = power + rest > c.half
    power = power * c.half - c.half if large else power
    rest = rest * c.half if large else rest
    y = power + (_log1p_excess(power + rest) + rest)
    y = y + (c.ln2_hi + c.ln2_lo if large else c.zero)
    return y + (c.zero if x < c.zero else x)


exp = ByPrecision("exp", _exp, _exp)
exp_of_gap = ByPrecision("exp_of_gap", _exp_of_gap, _exp_of_gap)
gap_in_reach = ByPrecision("gap_in_reach", _gap_in_reach, _gap_in_reach)
lifted_exp_of_gap = ByPrecision("lifted_exp_of_gap", _lifted_exp_of_gap, _lifted_exp_of_gap)
expm1_less_x = ByPrecision("expm1_less_x", _expm1_less_x, _expm1_less_x)
log = ByPrecision("log", _log, _log)
log1p = ByPrecision("log1p", _log1p, _log1p)
less_log1p = ByPrecision("less_log1p", _less_log1p, _less_log1p)
log1p_less_x = ByPrecision("log1p_less_x", _log1p_less_x, _log1p_less_x)
log1p_of_share = ByPrecision("log1p_of_share", _log1p_of_share_f32, _log1p_of_share_f64)
sigmoid = ByPrecision("sigmoid", _sigmoid, _sigmoid)
softplus = ByPrecision("softplus", _softplus, _softplus)
