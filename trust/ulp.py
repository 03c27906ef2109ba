"""Errors of functions of one number, in units of the spacing of numbers at the exact result.

float32 has so few numbers that all of them can be tried, beside a float64 result, which is exact
enough: it errs by 2**-28 of such a unit. float64 is tried on samples, beside mpmath.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mpmath
import numpy as np

from fastloss.compiler.bits import float_as_int, int_as_float
from fastloss.compiler.jit import dispatcher


def loop_of(function: Any) -> Any:
    """A compiled loop that applies a plain function or a primitive to an array."""

    def loop(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    return dispatcher(loop)


def apply(function: Any, x: Any, dtype: Any = None) -> Any:
    x = np.ascontiguousarray(x)
    out = np.empty(x.shape, dtype or x.dtype)
    loop_of(function)(x, out)
    return out


# -------------------------------------------------------------------------------------------------
# float32: every number there is


def ulp_error(result: Any, exact: Any) -> Any:
    """The error in units of the spacing of float32 at `exact`; 0 where both are infinite or NaN."""
    exponent = max((float_as_int(exact) >> 52) & 2047, 1023 - 126)
    error = abs(result - exact) * int_as_float((2 * 1023 + 23 - exponent) << 52)
    if error < np.inf:
        return np.float32(error)
    rounded = np.float32(exact)
    same = result == rounded or (result != result and rounded != rounded)
    return np.float32(0.0 if same else np.inf)


def errors_of(function: Any, reference: Any) -> Any:
    """A compiled loop of the errors of a function, beside that of the same number in float64."""

    def errors(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = ulp_error(function(x[i]), reference(np.float64(x[i])))

    return dispatcher(errors)


def _errors_beside(result: Any, exact: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = ulp_error(result[i], exact[i])


def errors_beside(result: Any, exact: Any) -> Any:
    """The errors of float32 results, beside float64 ones."""
    out = np.empty_like(result)
    dispatcher(_errors_beside)(result, exact, out)
    return out


def over_float32(
    measure: Callable[[Any], Any], step: int = 1, first: int = 0, last: int = (1 << 32) - 1
) -> Iterator[Any]:
    """What `measure` makes of every `step`-th float32, a million of them at a time.

    Of all 2**32, or of those whose bits lie between the first and the last.
    """
    chunk = (1 << 20) * step

    def of_chunk(start: int) -> Any:
        bits = np.arange(start, min(start + chunk, last + 1), step, dtype=np.uint64)
        return measure(bits.astype(np.uint32).view(np.float32))

    of_chunk(first)  # compiles
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(of_chunk, range(first, last + 1, chunk))


def worst(errors: Any, *places: int, **named_places: int) -> tuple[float, float]:
    """The largest error over numbers of `over_float32`, and its argument."""

    def of_chunk(x: Any) -> tuple[float, float]:
        out = np.empty_like(x)
        errors(x, out)
        i = int(out.argmax())
        return float(out[i]), float(x[i])

    return max(over_float32(of_chunk, *places, **named_places))


# -------------------------------------------------------------------------------------------------
# float64: random and structured points


def mp_sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def mp_softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x))


def mp_expm1_less_x(x: Any) -> Any:
    return mpmath.expm1(x) - x


EXACT = {
    "exp": mpmath.exp,
    "exp_of_gap": mpmath.exp,
    "expm1": mpmath.expm1,
    "expm1_less_x": mp_expm1_less_x,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log1p_of_share": mpmath.log1p,
    "sigmoid": mp_sigmoid,
    "softplus": mp_softplus,
}


def around(point: float, rng: np.random.Generator, n: int = 800) -> Any:
    """Numbers at all distances from `point`, on both sides."""
    distance = 2.0 ** rng.uniform(-52, -1, n) * rng.choice([-1.0, 1.0], n)
    return point * (1 + distance) if point else distance


def arguments(name: str, rng: np.random.Generator, n: int = 4000) -> list[Any]:
    """Where a primitive may err: everywhere, near its zeros and limits, and where pieces meet."""
    if name == "exp":
        breaks = (np.arange(-1074, 1023) + 0.5) * math.log(2)
        tiny = rng.uniform(-745.1, -708, n // 2)
        return [rng.uniform(-745, 709.78, n), rng.uniform(-2, 2, n), around(0, rng), breaks, tiny]
    if name == "log":
        wide = [2.0 ** rng.uniform(-1074, 1024, n), 2.0 ** rng.uniform(-2, 2, n)]
        points = (0.5, 0.75, 1, 1.5, 2, 3, 2.0**-1022, 2.0**99)
        return wide + [around(point, rng) for point in points]
    if name == "log1p":
        wide = [2.0 ** rng.uniform(-60, 1024, n // 2), rng.uniform(-1, 3, n)]
        edge = [around(0, rng), -1 + 2.0 ** rng.uniform(-53, -1, n), np.array([1e308, 5e-324])]
        return wide + edge + [around(point, rng) for point in (-0.25, 0.5, 1, 2, 2.0**53)]
    if name == "exp_of_gap":
        return [-abs(x) for x in arguments("exp", rng, n)]
    if name == "log1p_of_share":
        return [rng.uniform(0, 1, n), 2.0 ** rng.uniform(-1074, 0, n), np.array([0.0, 0.5, 1.0])]
    if name == "expm1":
        return [x[abs(x) < 709] for x in arguments("exp", rng, n)]
    if name == "expm1_less_x":
        tiny = 2.0 ** rng.uniform(-50, 0, n)
        return [rng.uniform(-1, 1, n), tiny, -tiny]
    breaks = (np.arange(-60, 60) + 0.5) * math.log(2)
    wide = [rng.uniform(-745, 60, n), rng.uniform(-20, 20, n), rng.uniform(-3, 3, n)]
    return [*wide, around(0, rng), breaks, np.array([1e300, -745.13, -740.0])]


def float64_error(result: float, exact: Any) -> float:
    """The error of a float64 number in units of the spacing of float64 at an mpmath number."""
    spacing = mpmath.ldexp(1, max(mpmath.frexp(exact)[1] - 53, -1074))
    return float(abs(mpmath.mpf(result) - exact) / spacing)


def float64_errors(name: str, x: Any, results: Any) -> Any:
    """The errors of a primitive, or of another implementation of it."""
    with mpmath.workprec(250):
        exact = map(EXACT[name], map(mpmath.mpf, x.tolist()))
        return np.array(list(map(float64_error, results.tolist(), exact)))
