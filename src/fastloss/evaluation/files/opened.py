"""Labels and logits in files: what is given on the command line, opened and checked.

What the files hold is checked when they are opened, before the first number is read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .formats import bfloat16, find
from .part import TEXT, FileError, Part
from .reading import FileRows

# The second is what NumPy makes of bfloat16 when it saves it: two bytes of no known meaning.
_PATTERNS = ("uint16", "void16")


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
    if dtype.kind not in "biuf" and dtype.name != "bfloat16":
        raise FileError(f"{_told(parts[0])}, but numbers are expected")
    return FileRows(parts, dtype, max(0, len(parts[0].shape) - 1))


def holds_patterns(name: str) -> bool:
    """Whether the logits are 16-bit patterns that do not say of which dtype."""
    return find(name, 2)[0].dtype.name in _PATTERNS


def _dtype_of_logits(part: Part, bits: str | None) -> np.dtype[Any]:
    dtype = part.dtype
    if bits is not None:
        if dtype.name not in (*_PATTERNS, "int16"):
            raise FileError(
                f"{part} has dtype {dtype}, but --{bits} is for bit patterns saved as uint16: "
                "leave it out"
            )
        wanted = bfloat16(str(part)) if bits == "bfloat16" else np.dtype(np.float16)
        return wanted if dtype.isnative or dtype.kind == "V" else wanted.newbyteorder()
    if dtype.name in _PATTERNS:
        raise FileError(
            f"{part} has dtype {dtype}: say what its 16 bits stand for, --float16 or --bfloat16"
        )
    if dtype.kind not in "iu" and dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise FileError(f"{_told(part)}, but predictions are float16 to float64")
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
