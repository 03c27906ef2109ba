"""How a call is cut into blocks and tasks, and the order in which its partial sums are added.

A block has a fixed number of samples and a float64 partial sum of its own, so that a result does
not depend on which thread computed what. A task is a run of whole blocks.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _threads
from ._arrays import Array, Strided

# Up to this many elements of `y_pred`, one thread is faster than handing out the work.
SERIAL = 1 << 16
# Elements of a task: enough to make the hand-over cheap, few enough that threads end together and
# Ctrl-C is answered soon. Strided arrays are copied task by task, so theirs fit into the cache.
TASK = 1 << 18
STRIDED_TASK = 1 << 15


class Cut(NamedTuple):
    """The samples of a call, the elements of `y_pred` in each, and the samples of a block."""

    n_samples: int
    width: int
    block: int

    @property
    def n_blocks(self) -> int:
        return -(-self.n_samples // self.block)

    def samples(self, first: int, last: int) -> tuple[int, int]:
        """The range of samples that the blocks first to last - 1 hold."""
        return first * self.block, min(last * self.block, self.n_samples)


class Operand(NamedTuple):
    """An argument of a kernel: an array, and how many of its elements belong to a sample.

    An array that is not used is empty, and of width 0 in effect, as all its parts are empty.
    """

    array: Array | Strided
    width: int

    def part(self, start: int, stop: int) -> Array:
        """The elements of the samples start to stop, as a kernel reads them."""
        if isinstance(self.array, Strided):
            return self.array.read(start * self.width, stop * self.width)
        return self.array[start * self.width : stop * self.width]

    def room(self, start: int, stop: int) -> Array:
        """Where a kernel writes the elements of the samples start to stop."""
        if isinstance(self.array, Strided):
            return self.array.buffer(start * self.width, stop * self.width)
        return self.array[start * self.width : stop * self.width]

    def settle(self, start: int, stop: int, room: Array) -> None:
        """Bring what a kernel wrote to its place, unless it is there."""
        if isinstance(self.array, Strided):
            self.array.write(start * self.width, stop * self.width, room)


def run(
    kernel: Callable[..., None],
    head: tuple[Any, ...],
    inputs: Sequence[Operand],
    outputs: Sequence[Operand],
    per_block: Sequence[Array],
    cut: Cut,
) -> None:
    """Call `kernel(*head, block, *inputs, *outputs, *per_block)` for all samples, task by task."""
    strided = any(isinstance(operand.array, Strided) for operand in (*inputs, *outputs))
    n_elements = cut.n_samples * cut.width
    if n_elements <= SERIAL and not strided:
        arrays = [operand.array for operand in (*inputs, *outputs)]
        kernel(*head, cut.block, *arrays, *per_block)
        return
    n_blocks = cut.n_blocks
    blocks_per_task = max(1, (STRIDED_TASK if strided else TASK) // (cut.block * cut.width))

    def task(index: int) -> None:
        first = index * blocks_per_task
        last = min(first + blocks_per_task, n_blocks)
        start, stop = cut.samples(first, last)
        parts = [operand.part(start, stop) for operand in inputs]
        rooms = [operand.room(start, stop) for operand in outputs]
        kernel(*head, cut.block, *parts, *rooms, *[array[first:last] for array in per_block])
        for operand, room in zip(outputs, rooms, strict=True):
            operand.settle(start, stop, room)

    n_tasks = -(-n_blocks // blocks_per_task)
    _threads.run(task, n_tasks, parallel=n_elements > SERIAL)


def pairwise_sum(partials: Array) -> float:
    """The sum over a fixed binary tree, whose rounding error grows with its depth alone."""
    while partials.size > 1:
        if partials.size % 2:
            partials = np.append(partials, 0.0)
        partials = partials[0::2] + partials[1::2]
    return float(partials[0]) if partials.size else 0.0
