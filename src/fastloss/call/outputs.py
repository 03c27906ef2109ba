"""Checks of the arrays that results are written into."""

from typing import Any

import numpy as np

from .arrays import Array, is_masked


def check_out(out: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Whether results of this shape and dtype can be written into `out`."""
    if type(out) is not np.ndarray and (not isinstance(out, np.ndarray) or is_masked(out)):
        raise TypeError(f"{name} must be a numpy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, but the result has shape {shape}")
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, but the result has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only: pass an array that can be written")
    if not out.flags.c_contiguous and overlaps_itself(out):
        raise ValueError(f"{name} uses the same memory for several elements: pass a plain array")


def overlaps_itself(array: Array) -> bool:
    """Whether elements may share memory: an axis must step over all that smaller steps span."""
    if not array.size:
        return False
    span = array.itemsize
    for step, n in sorted(
        (abs(step), n) for step, n in zip(array.strides, array.shape, strict=True)
    ):
        if n > 1:
            if step < span:
                return True
            span += step * (n - 1)
    return False


def check_no_overlap(
    out: Array, name: str, other: Array, other_name: str, in_place: bool = False
) -> None:
    """Whether `out` has memory of its own; if `in_place`, it may be all that `other` is."""
    if out is other:
        if in_place:
            return
    elif out.flags.owndata and other.flags.owndata:
        return
    if not np.may_share_memory(out, other) or (in_place and _same_memory(out, other)):
        return
    try:
        overlap = np.shares_memory(out, other, max_work=100_000)  # type: ignore[arg-type]
    except (np.exceptions.TooHardError, OverflowError):
        overlap = True
    if overlap:
        remedy = f", or {other_name} itself to work in place" if in_place else ""
        raise ValueError(
            f"{name} overlaps the memory of {other_name}: pass memory of its own{remedy}"
        )


def _same_memory(a: Array, b: Array) -> bool:
    """Whether two arrays are the same elements in the same places."""
    return a is b or (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )
