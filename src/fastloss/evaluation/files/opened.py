"""Labels and logits in files: what is given on the command line, opened and checked.

What the files hold is checked when they are opened, before the first number is read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.storage import DECODED, FLOATS, bits_type, kind_of
from .formats import find, stored_as
from .part import TEXT, FileError, Part
from .reading import FileRows


def logits(names: Sequence[str], bits: str | None = None) -> FileRows:
    """Rows of logits of shape (..., c); `bits` names the dtype that 16-bit patterns stand for."""
    parts = [part for name in names for part in find(name, 2)]
    rows = FileRows(parts, _dtype_of_logits(parts[0], bits), 1)
    if rows.row_shape[0] == 0:
        raise FileError(f"{rows} has shape {rows.shape}: zero classes on the last axis")
    return rows


def predictions(names: Sequence[str], bits: str | None = None) -> FileRows:
    """Rows of numbers along the first axis; `bits` as for logits."""
    parts = [part for name in names for part in find(name, 1)]
    return FileRows(parts, _dtype_of_logits(parts[0], bits), max(0, len(parts[0].shape) - 1))


def arrays(name: str) -> FileRows:
    """Numbers along the first axis, which is that of rows."""
    parts = find(name, 1)
    dtype = parts[0].dtype
    if dtype.kind not in "biuf" and not kind_of(dtype):
        raise FileError(f"{_told(parts[0])}, but numbers are expected")
    return FileRows(parts, dtype, max(0, len(parts[0].shape) - 1))


def holds_patterns(name: str) -> bool:
    """Whether the logits are patterns of bits that do not say of which dtype."""
    dtype = find(name, 2)[0].dtype
    return dtype.kind != "i" and bool(_meanings(dtype))


def _meanings(dtype: np.dtype[Any]) -> list[str]:
    """The dtypes whose bits may have been saved as this one.

    NumPy makes bytes of no known meaning, "void", of a dtype that is not its own when it saves it.
    """
    n = 8 * dtype.itemsize
    if dtype.name not in (f"int{n}", f"uint{n}", f"void{n}"):
        return []
    return [name for name in DECODED if bits_type(name).itemsize == dtype.itemsize]


def _dtype_of_logits(part: Part, bits: str | None) -> np.dtype[Any]:
    dtype = part.dtype
    meanings = _meanings(dtype)
    if bits is not None:
        if bits not in meanings:
            raise FileError(
                f"{part} has dtype {dtype}, but --{bits} is for bit patterns saved as "
                f"{bits_type(bits)}: leave it out"
            )
        wanted = stored_as(bits, str(part))
        return wanted if dtype.isnative or dtype.kind == "V" else wanted.newbyteorder()
    if meanings and dtype.kind != "i":
        options = " or ".join(f"--{name}" for name in meanings)
        raise FileError(
            f"{part} has dtype {dtype}: say what its {8 * dtype.itemsize} bits stand for, {options}"
        )
    if kind_of(dtype) not in ("int", "float"):
        raise FileError(f"{_told(part)}, but predictions are integers or {', '.join(FLOATS)}")
    return dtype


def _told(part: Part) -> str:
    return f"{part} holds texts" if part.dtype == TEXT else f"{part} has dtype {part.dtype}"


def labels(name: str) -> FileRows:
    """Class ids: one integer for each row."""
    return integers(name, "labels are class ids, and come before the logits")


def integers(name: str, what: str) -> FileRows:
    """One integer for each row; `what` says of which kind, for the message."""
    parts = find(name, 1)
    if parts[0].dtype.kind not in "iu":
        raise FileError(f"{_told(parts[0])}, but {what}: integers are expected")
    return FileRows(parts, parts[0].dtype, 0)


def groups(name: str) -> FileRows:
    """The group of each row: an integer or a text."""
    parts = find(name, 1)
    if parts[0].dtype.kind not in "iu" and parts[0].dtype != TEXT:
        raise FileError(
            f"{_told(parts[0])}, but a group is an integer, or a text in a column of a table"
        )
    return FileRows(parts, parts[0].dtype, 0)


def numbers(name: str) -> FileRows:
    """One number for each row."""
    parts = find(name, 1)
    if parts[0].dtype.kind not in "biuf":
        raise FileError(f"{_told(parts[0])}, but numbers are expected")
    return FileRows(parts, parts[0].dtype, 0)


def check_same_rows(rows: FileRows, logits: FileRows) -> None:
    """Raise unless there is one of `rows` for each row of logits."""
    if rows.shape != logits.shape[:-1]:
        raise FileError(
            f"{rows} has shape {rows.shape}, but {logits} has shape {logits.shape}: "
            f"{logits.shape[:-1]} is expected, one for each row"
        )
