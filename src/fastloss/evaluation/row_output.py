"""Results of every row, written to disk as they come and packed into one .npz in the end."""

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array
from .formats import FileError


class Column(NamedTuple):
    """What one result of a row is."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class RowOutput:
    """A file of plain numbers for each column, in a folder beside the .npz.

    A row has its place, so that rows done twice, before a kill and after it, are there once.
    """

    def __init__(self, path: Path, columns: Mapping[str, Column]) -> None:
        self.path = path
        self.columns = columns
        self.folder = path.with_name(f"{path.name}.parts")
        self._buffers: dict[str, Array] = {}

    def check(self, n_rows: int) -> None:
        """Whether the first rows, done by an earlier process, are there."""
        self.folder.mkdir(exist_ok=True)
        for name, column in self.columns.items():
            file = self._file(name)
            present = file.stat().st_size if file.exists() else 0
            if present < n_rows * _row_bytes(column):
                raise FileError(f"{file} has lost rows of the run before: begin anew")

    def buffers(self, n_rows: int) -> dict[str, Array]:
        """Arrays for the results of so many rows, which the next call gives out again."""
        for name, (dtype, shape) in self.columns.items():
            if name not in self._buffers or len(self._buffers[name]) < n_rows:
                self._buffers[name] = np.empty((n_rows, *shape), dtype)
        return {name: buffer[:n_rows] for name, buffer in self._buffers.items()}

    def write(self, start: int, n_rows: int) -> None:
        """What the buffers hold becomes that of the rows from `start` on."""
        for name, buffer in self.buffers(n_rows).items():
            # Not "a", which would write to the end, and not "w", which would cut the file.
            descriptor = os.open(self._file(name), os.O_RDWR | os.O_CREAT, 0o666)
            with open(descriptor, "r+b", buffering=0) as file:
                file.seek(start * _row_bytes(self.columns[name]))
                view = buffer.reshape(-1).view(np.uint8).data
                while view:
                    view = view[file.write(view) :]

    def sync(self) -> None:
        """Before a state says that rows are done, they are on the disk."""
        for name in self.columns:
            if self._file(name).exists():
                with open(self._file(name), "rb") as file:
                    os.fsync(file.fileno())

    def pack(self, n_rows: int) -> None:
        """The first rows of all columns as an .npz that replaces an earlier one."""
        temporary = self.path.with_name(f"{self.path.name}.new")
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, column in self.columns.items():
                header = {
                    "descr": np.lib.format.dtype_to_descr(column.dtype),
                    "fortran_order": False,
                    "shape": (n_rows, *column.shape),
                }
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    self._copy(name, n_rows * _row_bytes(column), member)
        os.replace(temporary, self.path)

    def _copy(self, name: str, n_bytes: int, target: Any) -> None:
        if n_bytes:
            with open(self._file(name), "rb") as source:
                while n_bytes:
                    block = source.read(min(n_bytes, 2**20))
                    if not block:
                        raise OSError(f"{self._file(name)} is shorter than it was")
                    target.write(block)
                    n_bytes -= len(block)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self.folder / name


def _row_bytes(column: Column) -> int:
    return int(np.prod(column.shape, dtype=np.int64)) * column.dtype.itemsize
