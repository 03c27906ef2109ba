"""The dtypes in which numbers are stored, in one table, and what these numbers are in a register.

A new dtype is a row of the table `_ROWS`, with two functions of `compiler/bits.py` if Numba does
not know it: such numbers are decoded and encoded one at a time inside the loops, so that no up-cast
copy of an array exists. What has to be said of it elsewhere, `tests/test_storage.py` finds.
Arithmetic is float32 or float64.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import bfloat_as_float, float_as_bfloat, float_as_half, half_as_float


class Storage(NamedTuple):
    """A dtype in which numbers are stored.

    Predictions, weights and labels that are numbers may be of any of them, and class ids of those
    of the kind "int".
    """

    name: str  # as NumPy, PyTorch and JAX have it
    kind: str  # "float", "int" or "bool"
    arithmetic: str  # float32 if that holds all its numbers, else float64
    bits: str  # the dtype under which a kernel sees an array of it
    in_files: str  # its name in .safetensors
    infinity: int = 0  # of floats: the bits of infinity, or of the largest number without it
    decode: Callable[[Any], Any] | None = None  # from bits to float32, if Numba does not know it
    encode: Callable[[Any], Any] | None = None
    package: str = "numpy"  # the one that has it


# Floats are known by their order here in states of `ScoreTable`: a new one comes after the others.
_ROWS = (
    Storage("float16", "float", "float32", "uint16", "F16", 0x7C00, half_as_float, float_as_half),
    Storage("bfloat16", "float", "float32", "uint16", "BF16", 0x7F80,
            bfloat_as_float, float_as_bfloat, "ml_dtypes"),
    Storage("float32", "float", "float32", "float32", "F32", 0x7F800000),
    Storage("float64", "float", "float64", "float64", "F64", 0x7FF0000000000000),
    Storage("bool", "bool", "float32", "uint8", "BOOL"),
    Storage("int8", "int", "float32", "int8", "I8"),
    Storage("uint8", "int", "float32", "uint8", "U8"),
    Storage("int16", "int", "float32", "int16", "I16"),
    Storage("uint16", "int", "float32", "uint16", "U16"),
    Storage("int32", "int", "float64", "int32", "I32"),
    Storage("uint32", "int", "float64", "uint32", "U32"),
    Storage("int64", "int", "float64", "int64", "I64"),
    Storage("uint64", "int", "float64", "uint64", "U64"),
)  # fmt: skip

STORED = {row.name: row for row in _ROWS}
FLOATS = tuple(row.name for row in _ROWS if row.kind == "float")
# Those that kernels decode and encode, as Numba does not know them.
DECODED = tuple(row.name for row in _ROWS if row.decode)
# Those that NumPy itself does not have.
FOREIGN = tuple(row.name for row in _ROWS if row.package != "numpy")


def kind_of(dtype: np.dtype[Any]) -> str:
    """ "float", "int" or "bool", or "" for a dtype that no loss takes, in any order of bytes."""
    row = STORED.get(dtype.name)
    return row.kind if row else ""


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a name, which NumPy knows only once the package of the dtype is imported.

    Raises ImportError where that is not installed.
    """
    import_module(STORED[name].package)
    return np.dtype(name)


@cache
def bits_type(name: str) -> np.dtype[Any]:
    """The dtype under which a kernel sees an array of the dtype `name`."""
    return np.dtype(STORED[name].bits)


@cache
def least_above_0(name: str) -> float:
    """The least positive number that is stored."""
    bits = np.array(1, f"u{bits_type(name).itemsize}")
    return float(decoder(name, "float64")(bits.view(bits_type(name))[()]))


@cache
def decoder(name: str, arithmetic: str) -> Callable[[Any], Any]:
    """The function from a stored number to one of the `arithmetic` dtype."""
    number = np.dtype(arithmetic).type
    widen = STORED[name].decode
    if widen:

        def decode(stored: Any) -> Any:
            return number(widen(stored))
    elif name == "uint64" and arithmetic == "int64":
        largest = np.uint64(2**63 - 1)

        def decode(stored: Any) -> Any:
            # A class id beyond int64 must not turn into a negative one, which may be ignore_index.
            return number(stored if stored < largest else largest)
    elif name == "bool":

        def decode(stored: Any) -> Any:
            return number(stored != 0)  # NumPy's own views may be true by another byte than 1
    else:

        def decode(stored: Any) -> Any:
            return number(stored)

    return decode


@cache
def encoder(name: str) -> Callable[[Any], Any]:
    """The function from a number of the arithmetic dtype to a stored one, rounded once."""
    narrow = STORED[name].encode
    if narrow:
        single = np.float32

        def encode(number: Any) -> Any:
            return narrow(single(number))
    else:
        stored_type = np.dtype(name).type

        def encode(number: Any) -> Any:
            return stored_type(number)

    return encode
