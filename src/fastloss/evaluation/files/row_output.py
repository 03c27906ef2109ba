"""Results of every row, written to disk as they come and packed into one .npz in the end."""

import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from .output import Output
from .part import FileError


class Column(NamedTuple):
    """What one result of a row is."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class RowOutput:
    """A file of plain numbers for each column, in a new folder beside the .npz.

    A row has its place, so that rows done twice, before a kill and after it, are there once. The
    folder has a name that nobody foresees; the state of the run knows it.
    """

    def __init__(self, output: Output, columns: Mapping[str, Column], n_rows: int) -> None:
        self.output = output
        self.columns = columns
        self.n_rows = n_rows
        self.folder: Path | None = None
        self._buffers: dict[str, Array] = {}

    def check(self) -> None:
        """Raise if there is no place for the columns, and for the .npz beside them."""
        self.output.check(2 * self.n_rows * sum(map(_row_bytes, self.columns.values())))

    def begin(self, name: str | None, n_done: int) -> None:
        """Begin in a new folder, or in the one of this name, with rows of an earlier process."""
        path = self.output.path
        if name is None:
            made = tempfile.mkdtemp(suffix=".parts", prefix=f"{path.name}.", dir=path.parent)
            self.folder = Path(made)
            return
        self.folder = path.with_name(name)
        for name, column in self.columns.items():
            file = self._file(name)
            present = file.stat().st_size if file.is_file() and not file.is_symlink() else 0
            if present < n_done * _row_bytes(column):
                raise FileError(f"{file} has lost rows of the run before: begin anew")

    @property
    def name(self) -> str:
        """The name of the folder."""
        assert self.folder is not None
        return self.folder.name

    def buffers(self, n_rows: int) -> dict[str, Array]:
        """Arrays for the results of so many rows, which the next call gives out again."""
        for name, (dtype, shape) in self.columns.items():
            if name not in self._buffers or len(self._buffers[name]) < n_rows:
                self._buffers[name] = np.empty((n_rows, *shape), dtype)
        return {name: buffer[:n_rows] for name, buffer in self._buffers.items()}

    def write(self, start: int, n_rows: int) -> None:
        """Write what the buffers hold to the places of the rows from `start` on."""
        for name, buffer in self.buffers(n_rows).items():
            # Not "a", which would write to the end, and not "w", which would cut the file.
            descriptor = os.open(self._file(name), os.O_RDWR | os.O_CREAT, 0o600)
            with open(descriptor, "r+b", buffering=0) as file:
                file.seek(start * _row_bytes(self.columns[name]))
                view = buffer.reshape(-1).view(np.uint8).data
                while view:
                    view = view[file.write(view) :]

    def sync(self) -> None:
        """Have the rows on the disk, before a state says that they are done."""
        for name in self.columns:
            if self._file(name).exists():
                with open(self._file(name), "rb") as file:
                    os.fsync(file.fileno())

    def pack(self, n_rows: int, target: IO[bytes]) -> None:
        """Write the first rows of all columns as an .npz."""
        with zipfile.ZipFile(target, "w") as archive:
            for name, column in self.columns.items():
                header = {
                    "descr": np.lib.format.dtype_to_descr(column.dtype),
                    "fortran_order": False,
                    "shape": (n_rows, *column.shape),
                }
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, header)
                    self._copy(name, n_rows * _row_bytes(column), member)

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
        """The files that were made here, and the folder if nobody put others into it."""
        if self.folder is not None:
            for name in self.columns:
                self._file(name).unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()

    def _file(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / name


def _row_bytes(column: Column) -> int:
    return int(np.prod(column.shape, dtype=np.int64)) * column.dtype.itemsize
