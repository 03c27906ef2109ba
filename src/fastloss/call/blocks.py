"""How a call is cut into blocks and tasks, and the order in which its partial sums are added.

A block has a fixed number of samples and a float64 partial sum of its own, so that a result does
not depend on which thread computed what. A task is a run of whole blocks.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple

import numpy as np

from ..kernels.rowwise import GROUP
from . import threads
from .arrays import Array
from .operands import Operand, Strided

# Up to this many elements of squared error one thread is faster than handing out the work: to wake
# two idle cores takes some 45 us. Losses that cost more per element need fewer.
SERIAL = 1 << 20
# Elements of a task, at most: few enough that threads end together and Ctrl-C is answered soon, and
# so many that they seldom wait for each other's Python between two (with a quarter of it, squared
# errors take 5% longer). Strided arrays are copied task by task, so theirs fit into the cache.
TASK = 1 << 20
STRIDED_TASK = 1 << 15
# Tasks for each thread, at least, if there are so many blocks: then threads that start late, or are
# interrupted, take fewer.
TASKS_EACH = 4


class Cut(NamedTuple):
    """How the arrays of a call belong to its samples, and its samples to blocks."""

    n_samples: int
    work: int  # what there is to do, in elements of squared error
    true_width: int  # elements of `y_true` in a sample
    width: int  # elements of `y_pred` in a sample
    block: int  # samples in a block
    n_blocks: int
    n_results: int  # numbers written for a sample, if any are
    shape: tuple[int, int, int, int]  # block, the widths and n_results, which a kernel is told

    def blocks_of(self, task: int) -> int:
        """How many blocks a task of so many elements has."""
        return max(1, task // (self.block * self.width))

    def samples(self, first: int, last: int) -> tuple[int, int]:
        """The range of samples in the blocks from first to last."""
        return first * self.block, min(last * self.block, self.n_samples)

    @property
    def widths(self) -> tuple[int, ...]:
        """Elements in a sample of y_true, y_pred, weight, losses_out, grad_out and hess_out."""
        return self.true_width, self.width, 1, self.n_results, self.width, self.width

    @property
    def extra_widths(self) -> tuple[int, ...]:
        """Elements in a sample of each of `Extras`."""
        return self.true_width, self.width, self.width


@lru_cache(maxsize=64)
def cut_of(
    n_elements: int,
    true_width: int,
    width: int,
    n_results: int,
    period: int,
    block_size: int,
    cost: int,
) -> Cut:
    """The cut of so many elements of `y_pred` into blocks of about `block_size` elements.

    An element costs about `cost` times as much as one of squared error. A block is a multiple of
    `period` samples, or at least a multiple of it begins where a block does.
    """
    n_samples = n_elements // width
    block = max(1, block_size // width)
    if period > 1:
        block = max(block // period, 1) * period
    else:
        block -= block % GROUP if block > GROUP else 0  # whole groups of rows
    n_blocks = -(-n_samples // block)
    shape = block, true_width, width, n_results
    return Cut(n_samples, n_elements * cost, true_width, width, block, n_blocks, n_results, shape)


# A block of more elements than this is one long sample.
LONG = 1 << 18


def ask_for_memory(cut: Cut, n_bytes: int, arrays: Sequence[Operand]) -> None:
    """Raise MemoryError now if the threads could not have what they need for a block.

    In the middle of a call the error would come after other rows have been written. A long block
    needs `n_bytes` for each of its elements, and copies of strided arrays. All of it is asked
    for and given back, untouched; what short blocks need is next to nothing.
    """
    n_bytes += sum(a.dtype.itemsize for a in arrays if isinstance(a, Strided))
    n_blocks = min(threads.get_num_threads(), cut.n_blocks)
    np.empty(n_blocks * cut.block * cut.width * n_bytes, np.uint8)


# Of the six arrays of a kernel, the first three are read, the others written.
_N_READ = 3

# Derivatives of so many bytes are written past the caches, where nobody would find them.
STREAMED = 1 << 25


def streams(grad: Operand, y_pred: Array) -> bool:
    """Whether derivatives go past the caches. In place they do not: the lines are there already."""
    return (
        isinstance(grad, np.ndarray)
        and grad.nbytes >= STREAMED
        and not np.may_share_memory(grad, y_pred)
    )


def backend_for(strided: bool, work: int) -> str:
    """Who does this call: "serial", "pool" or "prange"; only the pool takes strided arrays."""
    if strided:
        return "pool"
    return "serial" if work <= SERIAL else threads.get_backend()


def run(
    backend: str,
    kernel: Callable[..., None],
    head: tuple[Any, ...],
    arrays: Sequence[Operand],
    extras: Sequence[Operand],
    strided: bool,
    results: tuple[Array, Array],
    cut: Cut,
    work: int,
) -> None:
    """Call `kernel(*head, first, last, *arguments(...))` for all blocks.

    The results are those of each block: the sums of its weights and of its losses.
    """
    rest = arguments(cut, arrays, extras, results)
    if backend == "serial":
        kernel(*head, 0, cut.n_blocks, *rest)
    elif backend == "prange":
        kernel(threads.get_num_threads(), *head, 0, cut.n_blocks, *rest)
    elif strided:
        _run_tasks(
            lambda first, last: _staged(kernel, head, arrays, extras, results, cut, first, last),
            cut,
            STRIDED_TASK,
            work,
        )
    else:
        _run_tasks(lambda first, last: kernel(*head, first, last, *rest), cut, TASK, work)


def arguments(
    cut: Cut, arrays: Sequence[Any], extras: Sequence[Any], results: tuple[Array, Array]
) -> tuple[Any, ...]:
    """The last arguments of a kernel."""
    return (*cut.shape, *arrays[:_N_READ], tuple(extras), *arrays[_N_READ:], *results)


def _run_tasks(run_blocks: Callable[[int, int], object], cut: Cut, size: int, work: int) -> None:
    """Run all blocks in tasks of so many elements, by the pool's threads if there is enough."""
    at_most = cut.n_blocks // (TASKS_EACH * threads.get_num_threads())
    step = max(1, min(cut.blocks_of(size), at_most))

    def task(index: int) -> None:
        run_blocks(index * step, min((index + 1) * step, cut.n_blocks))

    threads.run(task, -(-cut.n_blocks // step), parallel=work > SERIAL)


def _staged(
    kernel: Callable[..., None],
    head: tuple[Any, ...],
    arrays: Sequence[Operand],
    extras: Sequence[Operand],
    results: tuple[Array, Array],
    cut: Cut,
    first: int,
    last: int,
) -> None:
    """Run some blocks on copies of those parts of the arrays that the kernel cannot take."""
    start, stop = cut.samples(first, last)
    parts = [
        (part if i < _N_READ else room)(array, start * width, stop * width)
        for i, (array, width) in enumerate(zip(arrays, cut.widths, strict=True))
    ]
    extra_parts = [
        part(extra, start * width, stop * width)
        for extra, width in zip(extras, cut.extra_widths, strict=False)
    ]
    sums = results[0][first:last], results[1][first:last]
    kernel(*head, 0, last - first, *arguments(cut, parts, extra_parts, sums))
    for array, buffer, width in zip(
        arrays[_N_READ:], parts[_N_READ:], cut.widths[_N_READ:], strict=True
    ):
        if isinstance(array, Strided):
            array.write(start * width, stop * width, buffer)


def part(array: Operand, start: int, stop: int) -> Any:
    """The elements from start to stop, for a kernel to read; () of an absent array."""
    return array.read(start, stop) if isinstance(array, Strided) else array[start:stop]


def room(array: Operand, start: int, stop: int) -> Any:
    """Where a kernel writes the elements from start to stop; () of an absent array."""
    return array.buffer(start, stop) if isinstance(array, Strided) else array[start:stop]


def pairwise_sum(sums: list[float]) -> float:
    """The sum over a fixed binary tree, whose rounding error grows with its depth alone."""
    while len(sums) > 1:
        if len(sums) % 2:
            sums = [*sums, 0.0]
        sums = list(map(add, sums[0::2], sums[1::2]))
    return sums[0] if sums else 0.0
