"""The bit patterns of floats, and the class of primitives that come in two precisions, in plain Python.

`intrinsics.py` holds LLVM twins of some of these functions; when a kernel is compiled, a twin replaces the plain
function of the same name and the other functions are compiled as they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class ByPrecision:
    """A scalar primitive with one implementation for float32 and one for float64, its docstring's source."""

    def __init__(
        self, name: str, float32: Callable[[Any], Any], float64: Callable[[Any], Any]
    ) -> None:
        self.name = self.__name__ = name
        self.float32 = float32
        self.float64 = float64
        self.__doc__ = float64.__doc__

    def __call__(self, x: Any) -> Any:
        return self.float32(x) if isinstance(x, np.float32) else self.float64(np.float64(x))

    def __repr__(self) -> str:
        return f"<fastloss.scalar.{self.name}>"


def float_as_int(x: Any) -> Any:
    """The bits of a float32 as an int32, those of a float64 as an int64."""
    return x.view(np.int32 if isinstance(x, np.float32) else np.int64)


def int_as_float(i: Any) -> Any:
    """The float32 whose bits are the int32 `i`, the float64 whose bits are the int64 `i`."""
    return i.view(np.float32 if isinstance(i, np.int32) else np.float64)


def int_like(i: Any, x: Any) -> Any:
    """The low bits of the integer `i` in the integer type that is as wide as the float `x`.

    Numba widens int32 arithmetic to int64; this brings a result back, and LLVM then does all of it in 32 bits.
    """
    return np.int64(i).astype(np.int32 if isinstance(x, np.float32) else np.int64)


def half_as_float(h: Any) -> Any:
    """The float32 equal to the IEEE half whose bits are the uint16 `h`."""
    return np.float32(np.uint16(h).view(np.float16))


def float_as_half(x: Any) -> Any:
    """The uint16 bits of the IEEE half nearest to the float32 `x`, ties to even."""
    return np.float16(x).view(np.uint16)


def bfloat_as_float(h: Any) -> Any:
    """The float32 equal to the bfloat16 whose bits are the uint16 `h`: its upper half."""
    return int_as_float(np.int32(np.int64(h) << 16))


def float_as_bfloat(x: Any) -> Any:
    """The uint16 bits of the bfloat16 nearest to the float32 `x`, ties to even; NaN stays NaN."""
    bits = np.int64(float_as_int(x)) & 0xFFFFFFFF
    # Adding 0x7FFF carries into the upper half when the lower is past the middle, and one more makes a tie
    # carry exactly when the upper half is odd. A NaN could carry into the sign or lose all its payload bits:
    # its quiet bit is set instead.
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.uint16(rounded if x == x else (bits >> 16) | 0x40)


def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers that are not NaN; unspecified if one is."""
    return a if a > b else b
