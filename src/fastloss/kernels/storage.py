"""How numbers lie in memory and what they are in a register.

16-bit floats are stored in arrays that Numba sees as uint16 and are decoded and encoded one number
at a time inside the loops, so no up-cast copy of an array exists. Arithmetic is float32 or float64.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..compiler.bits import bfloat_as_float, float_as_bfloat, float_as_half, half_as_float

# Storage formats by name: numpy knows the name "bfloat16" only once `ml_dtypes` is imported.
_DECODED: dict[str, Callable[[Any], Any]] = {
    "float16": half_as_float,
    "bfloat16": bfloat_as_float,
}
_ENCODED: dict[str, Callable[[Any], Any]] = {
    "float16": float_as_half,
    "bfloat16": float_as_bfloat,
}


@cache
def bits_type(name: str) -> np.dtype[Any]:
    """The dtype under which a kernel sees an array of the dtype `name`."""
    if name in _DECODED:
        return np.dtype(np.uint16)
    return np.dtype(np.uint8 if name == "bool" else name)


@cache
def least_above_0(name: str) -> float:
    """The least positive number that is stored."""
    bits = np.array(1, f"u{np.dtype(bits_type(name)).itemsize}")
    return float(decoder(name, "float64")(bits.view(bits_type(name))[()]))


@cache
def decoder(name: str, arithmetic: str) -> Callable[[Any], Any]:
    """The function from a stored number to one of the `arithmetic` dtype."""
    number = np.dtype(arithmetic).type
    if name in _DECODED:
        widen = _DECODED[name]

        def decode(stored: Any) -> Any:
            return number(widen(stored))
    elif name == "uint64" and arithmetic == "int64":
        largest = np.uint64(2**63 - 1)

        def decode(stored: Any) -> Any:
            # A class id beyond int64 must not turn into a negative one, which may be ignore_index.
            return number(stored if stored < largest else largest)
    else:

        def decode(stored: Any) -> Any:
            return number(stored)

    return decode


@cache
def encoder(name: str) -> Callable[[Any], Any]:
    """The function from a number of the arithmetic dtype to a stored one, rounded once."""
    if name in _ENCODED:
        narrow = _ENCODED[name]
        single = np.float32

        def encode(number: Any) -> Any:
            return narrow(single(number))
    else:
        stored_type = np.dtype(name).type

        def encode(number: Any) -> Any:
            return stored_type(number)

    return encode
