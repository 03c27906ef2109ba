"""How a call is cut into blocks and tasks, who runs them, and the order in which sums are added.

A block has a fixed number of samples and a float64 partial sum of its own, so that a result does
not depend on which thread computed what. A task is a run of whole blocks.
"""

from collections.abc import Callable
from functools import lru_cache
from math import ceil
from operator import add
from typing import Any, NamedTuple

import numpy as np

from ..kernels.args import COMPUTE, Args
from ..kernels.row_groups import GROUP
from . import threads
from .arrays import Array
from .operands import ClassMajor, Operand, Strided

# The work of a task, at least, in elements of squared error: some 100 us. A call of two such tasks
# is for two threads, and one of n for n. For a parked worker begins 20 to 35 us after its bell, and
# a caller that has to wait for the last task goes on as much later; both are up to three times as
# late where the core fell asleep meanwhile. Two threads with two such tasks took 0.70 to 0.93 of
# the time of one where call followed call, and 0.75 to 1.05, in one case of seven 1.28, where 2 ms
# lay between them; with tasks half as large 0.84 to 1.08, and 0.92 to 1.38. `make bench
# TABLE=cutoff` measures it anew.
LEAST_TASK = 3 << 17
# The caller has done so much of one before a worker begins, so its first task is larger by that.
_HEAD_START = 1 / 4
# Elements of a task, at most: few enough that threads end together and Ctrl-C is answered soon, and
# so many that they seldom wait for each other's Python between two (with a quarter of it, squared
# errors take 5% longer). Strided arrays are copied task by task, so theirs fit into the cache.
TASK = 1 << 20
STRIDED_TASK = 1 << 15
# Tasks for each thread, at least, if there is so much to do: then threads that start late, or are
# interrupted, take fewer.
TASKS_EACH = 4

# Where a kernel is told which blocks to compute: from the first to before the last.
_FIRST = Args._fields.index("first")
assert Args._fields[_FIRST + 1] == "last"


class Cut(NamedTuple):
    """How the arrays of a call belong to its samples, and its samples to blocks."""

    n_samples: int
    work: int  # what there is to do, in elements of squared error
    true_width: int  # elements of `y_true` in a sample
    width: int  # elements of `y_pred` in a sample
    block: int  # samples in a block
    n_blocks: int
    n_results: int  # numbers written for a sample, if any are

    def blocks_of(self, task: int) -> int:
        """How many blocks a task of so many elements has."""
        return max(1, task // (self.block * self.width))

    def samples(self, first: int, last: int) -> tuple[int, int]:
        """The range of samples in the blocks from first to last."""
        return first * self.block, min(last * self.block, self.n_samples)

    def args(self, options: tuple[Any, ...]) -> Args:
        """What a kernel is told to compute all of them, but for their arrays."""
        return Args(
            phase=COMPUTE,
            options=options,
            scale=1.0,
            streamed=False,
            first=0,
            last=self.n_blocks,
            block=self.block,
            true_width=self.true_width,
            width=self.width,
        )

    @property
    def widths_read(self) -> dict[str, int]:
        """Elements in a sample of the arrays that a kernel reads."""
        of_true, of_pred = ("y_true", "probabilities"), ("y_pred", "mask", "vector")
        return (
            dict.fromkeys(of_true, self.true_width)
            | dict.fromkeys(of_pred, self.width)
            | {"weight": 1}
        )

    @property
    def widths_written(self) -> dict[str, int]:
        return {"losses_out": self.n_results, "grad_out": self.width, "hess_out": self.width}


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

    An element costs about `cost` times as much as one of squared error. Blocks begin at multiples
    of `period` samples.
    """
    n_samples = n_elements // width
    block = max(1, block_size // width)
    if period > 1:
        block = max(block // period, 1) * period
    else:
        block -= block % GROUP if block > GROUP else 0  # whole groups of rows
    n_blocks = -(-n_samples // block)
    return Cut(n_samples, n_elements * cost, true_width, width, block, n_blocks, n_results)


# A block of more elements than this is one long sample.
LONG = 1 << 18


def ask_for_memory(cut: Cut, n_bytes: int, args: Args) -> None:
    """Raise MemoryError now if the threads could not have what they need for a block.

    In the middle of a call the error would come after other rows have been written. A long block
    needs `n_bytes` for each of its elements, and copies of strided arrays. All of it is asked
    for and given back, untouched; what short blocks need is next to nothing.
    """
    n_bytes += sum(a.dtype.itemsize for a in args if isinstance(a, Strided))
    n_blocks = min(threads.get_num_threads(), cut.n_blocks)
    np.empty(n_blocks * cut.block * cut.width * n_bytes, np.uint8)


# Derivatives of so many bytes in all are written past the caches. On a Zen 3 with 32 MiB of cache
# that takes less time from here on, and whoever reads them next takes no longer.
STREAMED = 1 << 23


def streams(grad: Operand, hess: Operand, y_pred: Array) -> bool:
    """Whether derivatives go past the caches. In place they do not: the lines are there already."""
    return (
        isinstance(grad, np.ndarray)
        and grad.nbytes + (hess.nbytes if isinstance(hess, np.ndarray) else 0) >= STREAMED
        and not np.may_share_memory(grad, y_pred)
    )


def is_shared(work: int) -> bool:
    """Whether a call is cut into tasks: for threads, or where one thread could not be stopped for
    more than some milliseconds.
    """
    return work >= 2 * LEAST_TASK and (work > 4 * TASK or threads.get_num_threads() > 1)


def backend_for(strided: bool, on_pool: bool, work: int) -> str:
    """Who does this call: "serial", "pool" or "prange"; only the pool takes strided arrays.

    If `on_pool`, it is never "prange".
    """
    if strided:
        return "pool"
    if not is_shared(work):
        return "serial"
    return "pool" if on_pool else threads.get_backend()


def run(
    backend: str, kernel: Callable[..., None], args: Args, strided: bool, cut: Cut, work: int
) -> None:
    """Call the kernel for all blocks. With `strided`, there may be operands that it cannot take."""
    if backend == "serial":
        kernel(*args)
    elif backend == "prange":
        kernel(threads.get_num_threads(), *args)
    elif strided:
        _run_tasks(
            lambda first, last: _staged(kernel, args, cut, first, last), cut, STRIDED_TASK, work
        )
    else:
        run_on_pool(kernel, args, cut, work)


def run_on_pool(kernel: Callable[..., None], args: tuple[Any, ...], cut: Cut, work: int) -> None:
    """Call the kernel for all blocks, on the pool's threads if there is enough to do."""
    before, behind = args[:_FIRST], args[_FIRST + 2 :]
    _run_tasks(lambda first, last: kernel(*before, first, last, *behind), cut, TASK, work)


def _run_tasks(run_blocks: Callable[[int, int], object], cut: Cut, size: int, work: int) -> None:
    """Run all blocks in tasks of at most so many elements, on threads if there is enough to do."""
    n_blocks, most, n_threads = cut.n_blocks, cut.blocks_of(size), threads.get_num_threads()
    shared = n_threads > 1 and is_shared(work)
    head, step = 0, most
    if shared:
        least = LEAST_TASK / work  # as a share of all
        head = int(n_blocks * least * _HEAD_START + 0.5)
        each = n_blocks // (TASKS_EACH * n_threads)
        step = max(each, ceil((n_blocks - head) * least))
        if head + step > most:
            head, step = 0, most

    def task(index: int) -> None:
        first = head + index * step if index else 0
        run_blocks(first, min(head + (index + 1) * step, n_blocks))

    threads.run(task, ceil((n_blocks - head) / step), parallel=shared)


def _staged(kernel: Callable[..., None], args: Args, cut: Cut, first: int, last: int) -> None:
    """Run some blocks on copies of those parts of the arrays that the kernel cannot take."""
    start, stop = cut.samples(first, last)
    parts = {
        name: part(getattr(args, name), start * width, stop * width)
        for name, width in cut.widths_read.items()
    }
    rooms = {
        name: room(getattr(args, name), start * width, stop * width)
        for name, width in cut.widths_written.items()
    }
    here = args._replace(
        first=0,
        last=last - first,
        weights=args.weights[first:last],
        partials=args.partials[first:last],
        **parts,
        **rooms,
    )
    kernel(*here)
    for name, width in cut.widths_written.items():
        array = getattr(args, name)
        if isinstance(array, Strided):
            array.write(start * width, stop * width, getattr(here, name))


def by_rows(args: Args) -> Args:
    """With class-major arrays as such that are copied block by block, as others of the call are."""
    arrays = {name: getattr(args, name) for name in ("y_pred", "grad_out", "hess_out")}
    wanted = {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    copied = {name: ClassMajor(a, args.width) for name, a in wanted.items() if a.size}
    return args._replace(**copied)


def empty(args: Args, cut: Cut) -> Args:
    """Arguments of the same types, with arrays of no samples."""
    names = (*cut.widths_read, *cut.widths_written)
    return args._replace(last=0, **{name: room(getattr(args, name), 0, 0) for name in names})


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
