"""Arrays as kernels take them: native, C-contiguous and one-dimensional.

An array that is one already, or can be seen as one, is passed as it is; any other is `Strided` and
goes through a buffer block by block, so that no layout costs a copy of the whole.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .arrays import Array, Format


class Strided:
    """An array that a kernel cannot take as it is; read and written in C order through buffers.

    What is read is multiplied by 2**-shift and stays finite.
    """

    def __init__(
        self, array: Array, dtype: np.dtype[Any], bits: np.dtype[Any], shift: int = 0
    ) -> None:
        self.array = array
        self.dtype = dtype
        self.bits = bits
        self.shift = shift

    def buffer(self, start: int, stop: int) -> Array:
        """Room for the elements start to stop, as a kernel sees them."""
        return np.empty(stop - start, self.dtype).view(self.bits)

    def read(self, start: int, stop: int) -> Array:
        buffer = np.empty(stop - start, self.dtype)
        for piece, offset in _pieces(self.array, start, stop):
            buffer[offset : offset + piece.size].reshape(piece.shape)[...] = piece
        if self.shift:
            multiply_by_power(-self.shift, buffer)
            np.minimum(buffer, np.finfo(self.dtype).max, out=buffer)
        return buffer.view(self.bits)

    def write(self, start: int, stop: int, buffer: Array) -> None:
        numbers = buffer.view(self.dtype)
        for piece, offset in _pieces(self.array, start, stop):
            piece[...] = numbers[offset : offset + piece.size].reshape(piece.shape)


class ClassMajor(Strided):
    """A matrix that lies class by class, of whose rows a kernel takes parts that lie likewise."""

    def __init__(self, by_class: Array, width: int) -> None:
        super().__init__(by_class.reshape(width, -1), by_class.dtype, by_class.dtype)

    def _part(self, start: int, stop: int) -> Array:
        width = len(self.array)
        part: Array = self.array[:, start // width : stop // width]
        return part

    def read(self, start: int, stop: int) -> Array:
        return self._part(start, stop).flatten()

    def write(self, start: int, stop: int, buffer: Array) -> None:
        part = self._part(start, stop)
        part[...] = buffer.reshape(part.shape)


def multiply_by_power(exponent: int, *arrays: Array | None) -> None:
    """Multiply those that are not None by 2**exponent, in place."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for numbers in arrays:
            if numbers is not None:
                np.ldexp(numbers, exponent, out=numbers)


# What calls hand to a kernel or its buffers. An array that is absent is ().
Operand = Array | Strided | tuple[()]


def _pieces(array: Array, start: int, stop: int, offset: int = 0) -> Iterator[tuple[Array, int]]:
    """Views that together are the elements start to stop in C order, with their offsets.

    At each level: the end of one row, the rows that lie inside whole, the beginning of another.
    """
    if start >= stop:
        return
    if array.ndim == 0:
        yield array, offset
        return
    if array.ndim == 1:
        yield array[start:stop], offset
        return
    size = math.prod(array.shape[1:])
    first, head = divmod(start, size)
    last, tail = divmod(stop, size)
    if first == last:
        yield from _pieces(array[first], head, tail, offset)
        return
    if head:
        yield from _pieces(array[first], head, size, offset)
        offset += size - head
        first += 1
    if first < last:
        yield array[first:last], offset
        offset += (last - first) * size
    if tail:
        yield from _pieces(array[last], 0, tail, offset)


# C-contiguous and aligned, in the bits of NumPy's flags: to ask for each by name takes longer.
PLAIN = 0x1 | 0x100


def canonical(array: Array, form: Format, class_major: bool = False) -> Array | Strided:
    """`array` as a kernel takes it: one-dimensional, its numbers stored as `form` says."""
    if class_major:
        array = array.T
    if array.dtype == form.dtype and array.flags.num & PLAIN == PLAIN:
        # A matrix has two dimensions, whatever shape it is given.
        flat = array if array.ndim == 1 else np.asarray(array).reshape(-1)
        return flat if form.bits is form.dtype else flat.view(form.bits)
    return Strided(np.asarray(array), form.dtype, form.bits)
