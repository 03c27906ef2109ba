"""Columns of Arrow, polars and pandas as arrays, without importing any of them."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def is_column(value: Any) -> bool:
    """Whether it is an array of Arrow, or a series of polars or pandas."""
    return hasattr(value, "__arrow_c_array__") or hasattr(value, "__arrow_c_stream__")


def array_of(column: Any, name: str) -> Array | None:
    """A column as an array of shape (n,), or (n, k) if each element is a list of k numbers.

    Numbers of Arrow lie where they did, unless they are booleans or in several chunks. None for
    what NumPy understands by itself. Raises ValueError for nulls, which NumPy does not know, and
    for lists of unequal length.
    """
    dtype = str(getattr(column, "dtype", ""))  # which no data frame has
    if hasattr(column, "null_count") and hasattr(column, "type"):
        return of_arrow(column, name)
    if hasattr(column, "null_count") and dtype:
        return _of_polars(column, name)
    held = getattr(getattr(column, "dtype", None), "numpy_dtype", None)
    if held is not None and held.kind in "iufb":
        return _of_pandas(column, held, name)
    if dtype == "object" or "list<" in dtype:
        rows = np.asarray(column)
        if rows.ndim == 1 and rows.size and isinstance(rows[0], (list, tuple, np.ndarray)):
            lengths = np.array([np.size(row) for row in rows])
            width = _width(lengths, name, 0)
            return np.array([np.asarray(row) for row in rows]).reshape(-1, width)
    return None


def of_arrow(column: Any, name: str, first: int = 0) -> Array:
    """An array of Arrow, or a chunked one; `first` is the place of the first row, for messages."""
    if hasattr(column, "chunks"):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if hasattr(column, "chunks"):  # so are those without any rows
            return np.asarray(column)
    n, shape, row = len(column), [len(column)], 1
    while True:
        while hasattr(column, "storage"):  # what an extension type is made of
            column = column.storage
        if column.null_count:
            null = int(np.flatnonzero(np.asarray(column.is_null()))[0])
            raise ValueError(
                f"{name}[{first + null // row}] is null, or holds one: leave such rows out, or put "
                "a number there, as fill_null(0) does, and give them the weight 0"
            )
        if not hasattr(column, "flatten") or not hasattr(column.type, "value_type"):
            break
        if hasattr(column.type, "list_size"):
            width = column.type.list_size
        elif hasattr(column, "offsets"):
            width = _width(np.diff(np.asarray(column.offsets)), name, first)
        else:
            break  # a dictionary, or something else of values
        column = column.flatten()
        shape, row = [*shape, width], row * width
    return _leaf(column, n * row).reshape(shape)


def _leaf(column: Any, n: int) -> Array:
    if "binary[" not in str(column.type):
        return np.asarray(column)
    # Bytes of no known meaning, as bfloat16 may be saved, of which NumPy would make objects.
    width = column.type.byte_width
    return np.frombuffer(column.buffers()[1], np.dtype((np.void, width)), n, column.offset * width)


def _of_pandas(series: Any, held: Any, name: str) -> Array:
    """Numbers of pandas of which some may be missing, which NumPy would make objects of."""
    missing = np.flatnonzero(np.asarray(series.isna()))
    if missing.size:
        raise ValueError(
            f"{name}[{missing[0]}] is missing: leave such rows out, or put a number there, as "
            f"{name}.fillna(0) does, and give them the weight 0"
        )
    return series.to_numpy(dtype=held)  # type: ignore[no-any-return]


def _of_polars(series: Any, name: str) -> Array | None:
    shape = [len(series)]
    while True:
        if series.null_count():
            null = int(np.flatnonzero(series.is_null().to_numpy())[0]) // (np.prod(shape[1:]) or 1)
            raise ValueError(
                f"{name}[{int(null)}] is null, or holds one: leave such rows out, or put a number "
                f"there, as {name}.fill_null(0) does, and give them the weight 0"
            )
        kind = str(series.dtype)
        if kind.startswith("List("):
            width = _width(series.list.len().to_numpy(), name, 0)
        elif kind.startswith("Array("):
            width = series.dtype.size
        else:
            break
        series, shape = series.explode(), [*shape, width]
    return series.to_numpy().reshape(shape)  # type: ignore[no-any-return]


def _width(lengths: Array, name: str, first: int) -> int:
    """The length of all rows, or ValueError."""
    width = int(lengths[0]) if lengths.size else 0
    bad = np.flatnonzero(lengths != width)
    if bad.size:
        raise ValueError(
            f"{name}[{first + bad[0]}] has {lengths[bad[0]]} numbers and {name}[{first}] has "
            f"{width}, but all rows have the same number of them"
        )
    return width
