"""Dask arrays that are cut alike: chunks of rows, and what tasks do with each of them."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

from .call.arrays import FLOAT64, Array, as_array


class Chunks:
    """Arrays that are cut alike, along the first axes of one of them."""

    def __init__(self, name: str, first: Any, lead: int, others: dict[str, Any]) -> None:
        """`others` are arrays, pairs of them, or None."""
        self.first, self.lead = first, range(lead)
        # Other axes have numbers of their own: that of soft labels need not be one of y_pred.
        self.arrays = [(name, first, tuple(range(first.ndim)))]
        for other_name, given in others.items():
            for array in given if type(given) is tuple else (given,):
                if array is not None:
                    axes = tuple(i if i < lead else first.ndim + i for i in range(array.ndim))
                    self.arrays.append((other_name, self._cut(array), axes))

    def _cut(self, array: Any) -> Any:
        chunks = tuple(self.first.chunks[i] if i in self.lead else -1 for i in range(array.ndim))
        if not isinstance(array, da.Array):
            return da.from_array(array, chunks)
        if not array.size:  # which `rechunk` may leave as it is
            return da.empty(array.shape, array.dtype, chunks=chunks)
        return array.rechunk(chunks)

    def map(
        self,
        work: Callable[..., Any],
        axes: Iterable[int],
        dtype: np.dtype[Any],
        *,
        without: str = "",
        beside: tuple[str, Any] | None = None,
        one_each: bool = False,
        **options: Any,
    ) -> Any:
        """What `work` returns for the chunks, given by name, as a Dask array with these axes.

        `beside` has one element for each chunk.
        """
        used = [item for item in self.arrays if item[0] != without]
        if beside is not None:
            used.append((*beside, tuple(self.lead)))
        arguments = [part for _, *pair in used for part in pair]
        for i in self.lead:
            starts = np.cumsum([0, *self.first.chunks[i][:-1]])
            arguments += [da.from_array(starts, 1), (i,)]
        task = partial(_on_chunk, work, tuple(name for name, *_ in used))
        return blockwise(task, axes, dtype, *arguments, one_each=one_each, **options)

    def numbers(
        self, work: Callable[..., Any], dtype: np.dtype[Any] = FLOAT64.dtype, **options: Any
    ) -> Any:
        """The numbers that `work` returns for the chunks, as a Dask array."""
        number = partial(as_chunk, work, len(self.lead))
        return self.map(number, self.lead, dtype, one_each=True, **options)


def blockwise(
    work: Callable[..., Any],
    axes: Iterable[int],
    dtype: np.dtype[Any],
    *arguments: Any,
    one_each: bool = False,
    **options: Any,
) -> Any:
    """`dask.array.blockwise` of arrays that are cut alike already."""
    axes = tuple(axes)
    return da.blockwise(
        work,
        axes,
        *arguments,
        dtype=dtype,
        meta=np.empty((0,) * len(axes), dtype),
        align_arrays=False,
        adjust_chunks=dict.fromkeys(axes, 1) if one_each else None,
        **options,
    )


def as_chunk(work: Callable[..., Any], n_axes: int, *arguments: Any, **options: Any) -> Array:
    """What `work` returns, a number, as a chunk of one element."""
    return np.full((1,) * n_axes, work(*arguments, **options))


def _on_chunk(
    work: Callable[..., Any], names: tuple[str, ...], *blocks: Any, **options: Any
) -> Any:
    """Call `work` with the chunks by their names; two of one name are a pair. Others say where."""
    given: dict[str, Any] = {}
    for name, block in zip(names, map(whole_chunk, blocks), strict=False):
        given[name] = (given[name], block) if name in given else block
    start = [int(first[0]) for first in blocks[len(names) :]]
    try:
        return work(**given, **options)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"in the chunk that begins at {start}, from which places count: {error}"
        ) from error


def whole_chunk(block: Any) -> Any:
    """The one chunk along axes that are not cut, which comes in a list for each of them."""
    (only,) = flat(block)
    return only


def flat(parts: Any) -> Iterator[Any]:
    """What lists of lists hold, one for each axis that is cut."""
    if not isinstance(parts, list):
        yield parts
        return
    for part in parts:
        yield from flat(part)


def arrays_of(value: Any, name: str) -> Any:
    """An array, or the pair of them that is given."""
    if type(value) is tuple and len(value) == 2:
        return arrays_of(value[0], f"{name}[0]"), arrays_of(value[1], f"{name}[1]")
    if not isinstance(value, da.Array):
        return as_array(value, name)
    _check_known(value, name)
    return value


def arrays_by_row(
    what: str, predictions: Any, rows: tuple[int, ...], **arrays: Any
) -> dict[str, Any]:
    """The arrays that are given; each must have something for each row, along the first axes."""
    given = {name: arrays_of(array, name) for name, array in arrays.items() if array is not None}
    for name, array in given.items():
        if array.shape[: len(rows)] != rows:
            raise ValueError(
                f"{name} has shape {array.shape} and {what} have shape {predictions.shape}: "
                "expected something for each row"
            )
    return given


def without_rows(array: Any) -> Array:
    """An array of the same dtype and shape, but for the first axis, which is empty."""
    return np.empty((0, *array.shape[1:]), array.dtype)


def stand_ins(value: Any) -> Any:
    """Arrays of the same shapes and dtypes, without memory."""
    if type(value) is tuple:
        return tuple(map(stand_ins, value))
    return None if value is None else np.broadcast_to(np.empty((), value.dtype), value.shape)


def check_predictions(array: Any, name: str) -> None:
    if not isinstance(array, da.Array):
        raise TypeError(
            f"{name} must be a Dask array, got {type(array).__name__}: call the loss itself with "
            f"other arrays, or write dask.array.from_array({name}, chunks=...)"
        )
    _check_known(array, name)


def _check_known(array: Any, name: str) -> None:
    if any(math.isnan(size) for size in array.shape):
        raise ValueError(
            f"{name} has chunks of unknown size: write {name}.compute_chunk_sizes(), which reads "
            "what they are made of"
        )


def check_rows(array: Any, lead: int, name: str) -> None:
    cut = [i for i in range(lead, array.ndim) if array.numblocks[i] > 1]
    if cut:
        raise ValueError(
            f"{name} is cut into {array.numblocks[-1]} chunks along its last axis, but rows must "
            f"be whole: write {name}.rechunk({{-1: -1}}), or, as that moves all of it, make chunks "
            "of whole rows in the first place"
        )
