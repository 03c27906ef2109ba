"""Columns of tables in .parquet and .arrow files, by pyarrow: what there is, and how it is read."""

from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any

import numpy as np

from ...call.arrays import Array
from ...call.columns import of_arrow
from .part import COLUMN, PLAIN, TEXT, Arrays, FileError, Part, stamp_of

_BATCH = 4 * 2**20  # bytes that are decoded at a time
_TEXTS = ("string", "large_string", "string_view", "dictionary")


def parquet(file: IO[bytes], path: Any) -> Arrays:
    opened = _opened(lambda: _parquet_file(path), path)
    with opened:
        rows = opened.metadata.num_rows
        return _described(opened.schema_arrow, rows, path, file)


def arrow(file: IO[bytes], path: Any) -> Arrays:
    """The columns of an Arrow file, or of a stream of Arrow, which must be passed to be counted."""

    def counted() -> Arrays:
        schema = _batches_of(path, None)[0]
        scalars = [i for i, field in enumerate(schema) if not field.type.num_fields]
        _, batches = _batches_of(path, (scalars or [0])[0] if len(schema) else None)
        rows = sum(batch.num_rows for batch in batches)
        return _described(schema, rows, path, file)

    arrays: Arrays = _opened(counted, path)
    return arrays


def _described(schema: Any, rows: int, path: Any, file: IO[bytes]) -> Arrays:
    found: dict[str | None, Part | FileError] = {}
    for field in schema:
        name, kind, shape = str(field.name), field.type, [rows]
        while True:
            kind = getattr(kind, "storage_type", kind)
            if hasattr(kind, "list_size"):
                shape.append(kind.list_size)
            elif str(kind).startswith(("list<", "large_list<")):
                shape.append(-1)  # `pieces` looks at a row
            else:
                break
            kind = kind.value_type
        dtype = _dtype(kind)
        if name in found:
            found[name] = FileError(f"{path} has several columns named {name}: rename them")
        elif dtype is None or (dtype == TEXT and len(shape) > 1) or shape.count(-1) > 1:
            found[name] = FileError(
                f"{path}:{name} has type {field.type}, which no loss takes: cast it to float32, "
                "or to integers"
            )
        else:
            found[name] = Part(path, name, dtype, tuple(shape), 0, COLUMN, stamp_of(file))
    return found


def _dtype(kind: Any) -> np.dtype[Any] | None:
    text = str(kind)
    if text.startswith(_TEXTS):
        return TEXT
    if text.startswith("fixed_size_binary["):
        return np.dtype((np.void, kind.byte_width))
    try:
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        return None
    return dtype if dtype.kind in "biuf" else None


def pieces(part: Part) -> list[Part]:
    """Parts that together are this one: where its numbers lie, if they lie in the file as they are.

    Numbers of an Arrow file that is not compressed do, for each batch of rows in one piece.
    """
    if part.stored != COLUMN:
        return [part]
    if part.shape[0] and -1 in part.shape:
        column = next(_columns(part, 1))
        shape = _numbers(column.slice(0, 1), part, 0).shape
        part = part._replace(shape=(part.shape[0], *shape[1:]))
    if part.path.suffix == ".parquet" or part.dtype == TEXT:
        return [part]
    found, first = [], 0
    base, size, mapped = _mapped(part)
    for column in mapped:
        numbers = _numbers(column, part, first)
        place = numbers.__array_interface__["data"][0] - base
        if not (0 <= place <= size - numbers.nbytes and numbers.shape[1:] == part.shape[1:]):
            return [part]  # decoded, as booleans are, which have a bit each; or an error when read
        found.append(part._replace(shape=numbers.shape, offset=place, stored=PLAIN))
        first += len(numbers)
    return found or [part]


class Column:
    """A column as bytes, decoded as it is read. Going back in it means to begin anew.

    Of texts it has codes, their places in `texts`, which grows.
    """

    def __init__(self, part: Part, texts: dict[str, int]) -> None:
        self.part, self.texts = part, texts
        self.columns: Iterator[Any] = iter(())
        self._begin()

    def _begin(self) -> None:
        self.columns, self.row = _columns(self.part), 0
        self.start, self.bytes = 0, memoryview(b"")

    def read(self, place: int, view: memoryview) -> bool:
        if place < self.start:
            self._begin()
        while view:
            while place >= self.start + len(self.bytes):
                column = next(self.columns, None)
                if column is None:
                    return False
                self.start += len(self.bytes)
                self.bytes = self._decoded(column)
                self.row += len(column)
            part = self.bytes[place - self.start :][: len(view)]
            view[: len(part)] = part
            view, place = view[len(part) :], place + len(part)
        return True

    def _decoded(self, column: Any) -> memoryview:
        if self.part.dtype == TEXT:
            numbers = self._codes(column)
        else:
            numbers = _numbers(column, self.part, self.row)
            expected = self.part.shape[1:]
            if numbers.shape[1:] != expected and len(numbers):
                raise FileError(
                    f"{self.part}[{self.row}] has {numbers.shape[1:]} numbers, but those before "
                    f"have {expected}: all rows have the same number of them"
                )
        return np.ascontiguousarray(numbers).reshape(-1).view(np.uint8).data

    def _codes(self, column: Any) -> Array:
        null = np.flatnonzero(np.asarray(column.is_null()))
        if null.size:
            raise FileError(
                f"{self.part}[{self.row + null[0]}] is null: leave such rows out, or give them a "
                "group of their own, as fill_null('missing') does"
            )
        encoded = column.dictionary_encode()
        known = [
            self.texts.setdefault(each, len(self.texts)) for each in encoded.dictionary.to_pylist()
        ]
        codes: Array = np.array(known, np.int64)[np.asarray(encoded.indices)]
        return codes

    def close(self) -> None:
        self.columns = iter(())


def _numbers(column: Any, part: Part, row: int) -> Array:
    """The numbers of a column that begins with this row."""
    try:
        return of_arrow(column, str(part), row)
    except ValueError as error:  # with its place and a remedy
        raise FileError(str(error)) from None


def _columns(part: Part, n_rows: int = 0) -> Iterator[Any]:
    """The column, so many rows at a time or as many as are decoded at once."""
    if part.path.suffix != ".parquet":
        schema, _ = _batches_of(part.path, None)
        for batch in _batches_of(part.path, schema.get_field_index(part.member))[1]:
            yield batch.column(0)
        return
    row_bytes = abs(part.n_bytes) // max(part.shape[0], 1)
    n_rows = n_rows or max(1, _BATCH // max(row_bytes, 1))
    with _parquet_file(part.path) as opened:
        for batch in opened.iter_batches(n_rows, columns=[part.member]):
            yield batch.column(part.member)


def _parquet_file(path: Any) -> Any:
    # Page by page: a group of rows may be larger than memory.
    options = {"buffer_size": _BATCH, "pre_buffer": False, "page_checksum_verification": True}
    return _pyarrow("parquet", path).ParquetFile(str(path), **options)


def _batches_of(path: Any, index: int | None) -> tuple[Any, Iterator[Any]]:
    """The schema of an Arrow file, and its batches, of one column or with all."""
    ipc = _pyarrow("ipc", path)
    options = ipc.IpcReadOptions(included_fields=None if index is None else [index])
    file = _pyarrow("lib", path).OSFile(str(path))
    return _read_batches(ipc, file, options)


def _read_batches(ipc: Any, file: Any, options: Any) -> tuple[Any, Iterator[Any]]:
    beginning = file.read(6)
    file.seek(0)
    if beginning == b"ARROW1":
        reader = ipc.open_file(file, options=options)
        batches = map(reader.get_batch, range(reader.num_record_batches))
    else:
        reader = ipc.open_stream(file, options=options)
        batches = iter(reader)
    return reader.schema, batches


def _mapped(part: Part) -> tuple[int, int, Iterator[Any]]:
    """Where an Arrow file is mapped, its size, and the column in each batch, none of it read."""
    lib, ipc = _pyarrow("lib", part.path), _pyarrow("ipc", part.path)
    file = lib.memory_map(str(part.path))
    whole = file.read_buffer()
    file.seek(0)
    # Of a choice of columns it would make copies.
    schema, batches = _read_batches(ipc, file, ipc.IpcReadOptions())
    index = schema.get_field_index(part.member)
    return whole.address, whole.size, (batch.column(index) for batch in batches)


def _opened(work: Any, path: Any) -> Any:
    """What `work` returns; a FileError for all that pyarrow does not understand."""
    try:
        return work()
    except FileError:
        raise
    except Exception as error:  # ArrowInvalid, OSError without a number, and a dozen others
        if isinstance(error, OSError) and error.errno:
            raise
        raise FileError(
            f"{path} is no {path.suffix} file, or a damaged one: {str(error).partition(chr(10))[0]}"
        ) from None


def _pyarrow(module: str, path: Any) -> Any:
    try:
        return import_module(f"pyarrow.{module}")
    except ImportError:
        raise FileError(
            f'{path} is read by pyarrow, which is not installed: pip install "fastloss[arrow]"'
        ) from None
