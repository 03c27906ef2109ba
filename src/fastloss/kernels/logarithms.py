"""log, log1p and what these are short of their arguments, without branches; see `scalar.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler.bits import ByPrecision, float_as_int, int_as_float, int_like
from .exponentials import constants

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


log1p_excess = ByPrecision("log1p_excess", _log1p_excess_f32, _log1p_excess_f64)  # log1p(f) - f


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
    c = constants(x)
    denormal = x < c.smallest_normal
    normal = x * c.denormal_scale if denormal else x
    bits, n, unit = _scaled_exponent(normal)
    f = int_as_float(int_like(float_as_int(normal) - bits, x)) - c.one
    n = n * unit
    n = n - c.denormal_exponent if denormal else n
    y = n * c.ln2_hi + (n * c.ln2_lo + (log1p_excess(f) + f))
    y = y if x < c.inf else x
    return y if x > c.zero else (-c.inf if x == c.zero else c.nan)


def _log1p_of_sum(x: Any) -> Any:
    """log(1 + x) for 0 <= x < 2**64, a sum of exponentials: `log1p` without its special cases.

    NaN gives any number.

    >>> float(log1p_of_sum(1e-20))
    1e-20
    """
    c = constants(x)
    bits, n, unit = _scaled_exponent(c.one + x)
    # 2**(2-n) instead of 2**-n, which is denormal for the largest x.
    power = int_as_float(int_like(c.four_bits - bits, x))
    f = int_as_float(int_like(float_as_int(x) - bits, x)) + (power * c.quarter - c.one)
    return n * (unit * c.ln2_hi) + (n * (unit * c.ln2_lo) + (log1p_excess(f) + f))


def _log1p(x: Any) -> Any:
    """log(1 + x), without the loss of digits of the sum for small x.

    At most 1.27 ulp in float32 and 1.3 ulp in float64. log1p(-1) is -inf, log1p(inf) is inf, x < -1
    and NaN give NaN; for x so small that x**2 does not count, the result is x.

    Method: as `log`, with f = x / 2**n + (2**-n - 1), whose one rounding error does not count.

    >>> float(log1p(1e-20))
    1e-20
    """
    c = constants(x)
    shifted = c.one + x
    y = _log1p_of_sum(x)
    y = y if x < c.inf else x
    return y if shifted > c.zero else (-c.inf if shifted == c.zero else c.nan)


def _less_log1p(x: Any) -> Any:
    """x - log(1 + x) for x >= 0, without the loss of digits where the two are close.

    At most 4.1 ulp. For small x it is x**2 / 2. NaN stays NaN.

    >>> round(float(less_log1p(1e-12)) * 1e25, 9)
    5.0
    """
    c = constants(x)
    small = x < c.half
    near = -log1p_excess(x if small else c.zero)
    far = x - _log1p(x)
    far = far if x < c.inf else x
    return near if small else far


def _log1p_less_x(x: Any) -> Any:
    """log(1 + x) - x for -1/4 <= x <= 1/2, without the loss of digits where the two are close.

    At most 4.1 ulp in float32 and in float64. For small x it is -x**2 / 2. NaN stays NaN.

    >>> round(float(log1p_less_x(1e-12)) * 1e25, 9)
    -5.0
    """
    return log1p_excess(x)


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
    c = constants(x)
    large = x > c.half
    f = x * c.half - c.half if large else x
    return (log1p_excess(f) + f) + (c.ln2_hi + c.ln2_lo if large else c.zero)


log = ByPrecision("log", _log, _log)
log1p = ByPrecision("log1p", _log1p, _log1p)
log1p_of_sum = ByPrecision("log1p_of_sum", _log1p_of_sum, _log1p_of_sum)
less_log1p = ByPrecision("less_log1p", _less_log1p, _less_log1p)
log1p_less_x = ByPrecision("log1p_less_x", _log1p_less_x, _log1p_less_x)
log1p_of_share = ByPrecision("log1p_of_share", _log1p_of_share_f32, _log1p_of_share_f64)
