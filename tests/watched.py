"""Plain Python that sees what compiled code would do without a word: touch what it may not.

In compiled code a window is an address and a number of elements, and no index is checked. NumPy
clips windows instead, and counts negative indices from the end. `watched` puts windows as they are
compiled in the place of all arrays: an index outside of its window, or of the array that this is
of, is an IndexError. Scratch memory holds NaN, or numbers that are no class id, so that a result
shows if numbers were read that nobody wrote.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import pytest
from plain import plain_python

from fastloss.compiler import bits, jit


class Window:
    """Elements of a one-dimensional array, from `start` on; there may be fewer than `size` says."""

    def __init__(self, array: Any, start: Any, size: Any) -> None:
        if isinstance(array, Window):
            start, array = array.start + start, array.array
        self.array, self.start, self.size = array, int(start), max(int(size), 0)
        self.dtype = array.dtype

    def _place(self, index: Any) -> int:
        place = self.start + int(index)
        if not (0 <= index < self.size and 0 <= place < self.array.size):
            raise IndexError(
                f"index {index} of a window of {self.size} elements, from {self.start} on, of an "
                f"array of {self.array.size}"
            )
        return place

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._memory(index)
        return self.array[self._place(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self._memory(index)[:] = value
        else:
            self.array[self._place(index)] = value

    def _memory(self, part: slice) -> Any:
        """For what moves many numbers at a time, which may reach beyond the window."""
        first, last = part.start or 0, self.size if part.stop is None else part.stop
        place = self.start + first
        if place < 0 or place + max(last - first, 0) > self.array.size:
            raise IndexError(f"elements {first} to {last} of an array of {self.array.size}")
        return self.array[place : self.start + last]


def _window(array: Any, start: Any, size: Any) -> Any:
    return array if isinstance(array, tuple) else Window(array, start, size)


def _part_of(array: Any, number: Any, size: Any) -> Any:
    if isinstance(array, tuple):
        return array
    start = number * size
    return Window(array, start, min(size, array.size - start))


def _scratch(number: Any, size: Any) -> Any:
    kind = np.dtype(number)
    nothing = np.nan if kind.kind == "f" else np.iinfo(kind).max
    return Window(np.full(size, nothing, kind), 0, size)


def _transpose(
    source: Any, start: Any, step: Any, target: Any, first: Any, stride: Any, side: int
) -> None:
    square = np.stack([source[start + i * step : start + i * step + side] for i in range(side)])
    for j in range(side):
        target[first + j * stride : first + j * stride + side] = square[:, j]


def _watched(value: Any) -> Any:
    """An argument as compiled code sees it, where a tuple has no names."""
    if isinstance(value, tuple):
        return tuple(map(_watched, value))
    return Window(value, 0, value.size) if isinstance(value, np.ndarray) else value


def _watching(function: Any) -> Any:
    @wraps(function)
    def watching(*arguments: Any) -> Any:
        return function(*map(_watched, arguments))

    return watching


_TWINS = {"window": _window, "part_of": _part_of, "scratch": _scratch, "transpose": _transpose}


@contextmanager
def watched() -> Iterator[None]:
    """Plain Python, in which all that kernels read and write is looked at."""
    with plain_python(), pytest.MonkeyPatch.context() as patch:
        for name, twin in _TWINS.items():
            plain = getattr(bits, name)
            for module in list(sys.modules.values()):
                here = getattr(module, "__name__", "").startswith("fastloss")
                if here and getattr(module, name, None) is plain:
                    patch.setattr(module, name, twin)
        for name in ("load_or_compile", "specialised"):
            plain = getattr(jit, name)
            watching = lambda one, *given, plain=plain: plain(_watching(one), *given)  # noqa: E731
            patch.setattr(jit, name, watching)
        yield
