"""An array in a file, as it is found and then read; and what can be wrong with it."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

# How numbers are stored: as they are, in a member of a compressed .npz, or as a column of a table,
# which pyarrow decodes.
PLAIN, ZIPPED, COLUMN = "plain", "zipped", "column"
# The dtype of what is text; it is read as codes of the texts, int64, which are as long.
TEXT = np.dtype(object)


class FileError(ValueError):
    """A file that cannot be used: its name, what is wrong, and a remedy."""


class Unreadable(FileError):
    """A file that could not be read now, and may be the next time."""


class Checksum(NamedTuple):
    """What the archive says of the bytes of a member, and what those before its numbers give."""

    whole: int
    header: int


class Part(NamedTuple):
    """An array in one file, in C order, as the header describes it."""

    path: Path
    member: str | None  # its name among the arrays of the file
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int  # of its first number in the file; if compressed, in the stream
    stored: str
    stamp: tuple[int, int]  # size and time of the last change of the file
    checksum: Checksum | None = None  # to be compared by whoever reads the numbers, all in order

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


# What a file has under each name. One that cannot be used is an error only if it is asked for.
Arrays = Mapping[str | None, Part | FileError]


def stamp_of(file: IO[bytes]) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def check_size(part: Part, present: int) -> None:
    what = f"an array of shape {part.shape} and dtype {part.dtype} has {part.n_bytes:,} bytes"
    if present < part.n_bytes:
        raise FileError(f"{part} is truncated: {what}, and {max(present, 0):,} are there")
    if present > part.n_bytes:
        raise FileError(f"{part} has {present:,} bytes, but {what}: save it again, and alone")
