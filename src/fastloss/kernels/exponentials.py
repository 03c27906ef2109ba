"""exp, and the exponentials of gaps, without branches; see `scalar.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import (
    ByPrecision,
    float_as_int,
    held,
    int_as_float,
    int_like,
    less_product,
)
from .form import Function


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
    # The gap at which the bits of that power of two are those of 0. At a gap a little larger a
    # product would have to underflow to 0: rows of which a fifth is -inf then took twice as long.
    gap_lowest: Any
    # exp is 0 below the first and infinite above the second, and the exponents of both still fit.
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


constants = ByPrecision("constants", _single, _double)

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
    c = constants(x)
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
    c = constants(x)
    # Written so that NaN, for which every comparison is false, passes through.
    x = c.exp_highest if x > c.exp_highest else x
    x = c.exp_lowest if x < c.exp_lowest else x
    r, power, rest = _reduce(x)
    return ((_exp_tail(r) * r + c.one) * r + c.one) * power * rest


def _gap_in_reach(x: Any, c: Any) -> Any:
    return c.gap_lowest if x < c.gap_lowest else x


def _reduce_gap(x: Any, c: Any) -> Any:
    """r and a power of two, with exp(x) / lift_unit their product with exp(r)."""
    shifted = x * c.log2_e + c.gap_rounder
    n = shifted - c.gap_rounder
    power = int_as_float(int_like(float_as_int(shifted) << c.mantissa_bits, x))
    return (x - n * c.ln2_hi) - n * c.ln2_lo, power


def _exp_of_gap(x: Any) -> Any:
    """exp(x) for x <= 0.

    At most 0.91 ulp in float32 and 0.9 ulp in float64, denormal results included. exp_of_gap(0) is
    exactly 1, of -inf it is 0, NaN stays NaN. As no result is large, one power of two serves
    instead of two halves of it, lifted out of the denormal range until the end.

    >>> float(exp_of_gap(0.0))
    1.0
    """
    c = constants(x)
    r, power = _reduce_gap(_gap_in_reach(x, c), c)
    return ((_exp_tail(r) * r + c.one) * r + c.one) * power * c.gap_unit


class GapExponential(NamedTuple):
    """Functions for sums of exponentials of gaps, as a softmax needs them; see `gap_exponential`.

    `constants()` are asked for before a loop, and handed to the others. `in_reach(x, constants)` is
    x, or the largest number whose exponential is 0 where x is less, as of -inf. `factors` of that
    are two numbers whose product is exp(x) / lift_unit, the second a power of two or 0.
    """

    constants: Function
    in_reach: Function
    factors: Function


def gap_exponential(number: Any) -> GapExponential:
    """exp(x) for x <= 0, as two factors: a sum adds their product in one instruction.

    In float64 at most 0.9 ulp; in float32 the relative error is at most (3.3 + |x| / 20) 2^-24,
    where the gap itself was rounded by up to |x| 2^-24. Of 0 the factors are 1 and 1 / lift_unit,
    of NaN the first is NaN.

    Method: as `exp_of_gap`; in float32 with a polynomial of degree 5, and with one step of
    reduction where the processor fuses products and sums. A loop over exp and sum then takes 21
    instructions a vector (AVX2).
    """
    return _GAP_SINGLE if number is np.float32 else _GAP_DOUBLE


class _GapConstants(NamedTuple):
    gap_lowest: Any
    log2_e: Any
    gap_rounder: Any
    ln2: Any
    fifth: Any  # of the polynomial, the coefficient of r**5
    fourth: Any
    third: Any
    second: Any
    one: Any
    gap_unit: Any


# Of all 1 + r + ... + fifth r**5 this one errs least, by 1.8 2**-24 where |r| <= ln(2)/2; with
# another coefficient of r it would be 1.5, and one register more.
_GAPS = _GapConstants(
    _SINGLE.gap_lowest,
    _SINGLE.log2_e,
    _SINGLE.gap_rounder,
    np.float32(0.6931471805599453),
    np.float32(0.00831233),
    np.float32(0.041890215),
    np.float32(0.16667117),
    np.float32(0.4999923),
    _SINGLE.one,
    _SINGLE.gap_unit,
)


def _single_gap_constants() -> Any:
    g = _GAPS
    return _GapConstants(
        held(g.gap_lowest),
        held(g.log2_e),
        held(g.gap_rounder),
        held(g.ln2),
        held(g.fifth),
        held(g.fourth),
        held(g.third),
        held(g.second),
        held(g.one),
        held(g.gap_unit),
    )


def _single_gap_factors(x: Any, c: Any) -> Any:
    shifted = x * c.log2_e + c.gap_rounder
    r = less_product(x, shifted - c.gap_rounder, c.ln2, _SINGLE.ln2_hi, _SINGLE.ln2_lo)
    p = c.fifth * r + c.fourth
    p = p * r + c.third
    p = p * r + c.second
    p = p * r + c.one
    power = int_as_float(int_like(float_as_int(shifted) << _SINGLE.mantissa_bits, x))
    return p * r + c.one, power


def _double_gap_constants() -> Any:
    return _DOUBLE


def _double_gap_factors(x: Any, c: Any) -> Any:
    r, power = _reduce_gap(x, c)
    return (_exp_tail_f64(r) * r + c.one) * r + c.one, power


_GAP_SINGLE = GapExponential(_single_gap_constants, _gap_in_reach, _single_gap_factors)
_GAP_DOUBLE = GapExponential(_double_gap_constants, _gap_in_reach, _double_gap_factors)


def lift_unit(number: Any) -> float:
    """What `gap_exponential` is lifted by, a power of two, for a type of numbers."""
    return float(constants(number(0)).gap_unit)


def _expm1_less_x(x: Any) -> Any:
    """exp(x) - 1 - x for |x| <= 1, without the loss of digits where the three nearly cancel.

    At most 4.1 ulp in float32 and 6.7 ulp in float64. For small x it is x**2 / 2. NaN stays NaN.

    Method: with e(x) for the result, e(2 x) = (x + e(x))**2 + 2 e(x), a sum of positive terms; from
    x / 4, where e is the tail of the polynomial of exp.

    >>> round(float(expm1_less_x(1e-12)) * 1e25, 9)
    5.0
    """
    c = constants(x)
    h = x * c.quarter
    e = _exp_tail(h) * h * h
    e = (h + e) * (h + e) + (e + e)
    h = h + h
    return (h + e) * (h + e) + (e + e)


def exp_of_minus(magnitude: Any) -> Any:
    """exp(-magnitude) as a power of two and a remainder; their sum has some 3 bits to spare."""
    c = constants(magnitude)
    x = -magnitude
    x = c.exp_lowest if x < c.exp_lowest else x
    r, power, rest = _reduce(x)
    return power * rest, (_exp_tail(r) * (r * r) + r) * power * rest


exp = ByPrecision("exp", _exp, _exp)
exp_of_gap = ByPrecision("exp_of_gap", _exp_of_gap, _exp_of_gap)
expm1_less_x = ByPrecision("expm1_less_x", _expm1_less_x, _expm1_less_x)
