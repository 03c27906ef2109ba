"""How a call is cut into blocks and tasks, and the order in which its partial sums are added.

A block has a fixed number of samples and a float64 partial sum of its own, so that a result does
not depend on which thread computed what. A task is a run of whole blocks.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import _threads
from ._arrays import Array, Strided

# Up to this many elements of `y_pred`, one thread is faster than handing out the work: two wake-ups
# of an idle core take some 45 us, in which it computes 100,000 to 400,000 elements.
SERIAL = 1 << 18
# Elements of a task: enough to make the hand-over cheap, few enough that threads end together and
# Ctrl-C is answered soon. Strided arrays are copied task by task, so theirs fit into the cache.
TASK = 1 << 18
STRIDED_TASK = 1 << 15


class Cut(NamedTuple):
    """How the arrays of a call belong to its samples, and its samples to blocks."""

    n_samples: int
    n_elements: int  # of `y_pred`
    true_width: int  # elements of `y_true` in a sample
    width: int  # elements of `y_pred` in a sample
    block: int  # samples in a block
    n_blocks: int
    shape: tuple[int, int, int]  # block, true_width and width, which a kernel is told

    def blocks_of(self, task: int) -> int:
        """How many blocks a task of so many elements has."""
        return max(1, task // (self.block * self.width))

    def samples(self, first: int, last: int) -> tuple[int, int]:
        """The range of samples in the blocks from first to last."""
        return first * self.block, min(last * self.block, self.n_samples)

    @property
    def widths(self) -> tuple[int, ...]:
        """Elements in a sample of y_true, y_pred, weight, losses_out, grad_out and hess_out."""
        return self.true_width, self.width, 1, 1, self.width, self.width


@lru_cache(maxsize=64)
def cut_of(n_elements: int, true_width: int, width: int, block_size: int) -> Cut:
    """The cut of so many elements of `y_pred` into blocks of about `block_size` elements."""
    n_samples = n_elements // width
    block = max(1, block_size // width)
    n_blocks = -(-n_samples // block)
    shape = block, true_width, width
    return Cut(n_samples, n_elements, true_width, width, block, n_blocks, shape)


# Of the six arrays of a kernel, the first three are read, the others written.
_N_READ = 3


def backend_for(arrays: Sequence[Array | Strided], cut: Cut) -> str:
    """Who does this call: "serial", "pool" or "prange"; the last takes plain arrays only."""
    plain = Strided not in map(type, arrays)
    if cut.n_elements <= SERIAL:
        return "serial" if plain else "pool"
    return _threads.get_backend() if plain else "pool"


def run(
    backend: str,
    kernel: Callable[..., None],
    head: tuple[Any, ...],
    arrays: Sequence[Array | Strided],
    partials: Array,
    cut: Cut,
) -> None:
    """Call `kernel(*head, *cut.shape, *arrays, partials)` for all samples."""
    if backend == "serial":
        kernel(*head, *cut.shape, *arrays, partials)
    elif backend == "prange":
        kernel(_threads.get_num_threads(), *head, *cut.shape, *arrays, partials)
    else:
        _run_tasks(kernel, head, arrays, partials, cut)


def _run_tasks(
    kernel: Callable[..., None],
    head: tuple[Any, ...],
    arrays: Sequence[Array | Strided],
    partials: Array,
    cut: Cut,
) -> None:
    """The tasks one by one, on the threads of the pool if there is enough to do."""
    widths = cut.widths
    strided = Strided in map(type, arrays)
    blocks_per_task = cut.blocks_of(STRIDED_TASK if strided else TASK)

    def task(index: int) -> None:
        first = index * blocks_per_task
        last = min(first + blocks_per_task, partials.size)
        start, stop = cut.samples(first, last)
        parts = [
            (part if i < _N_READ else room)(array, start * width, stop * width)
            for i, (array, width) in enumerate(zip(arrays, widths, strict=True))
        ]
        kernel(*head, *cut.shape, *parts, partials[first:last])
        for i, array in enumerate(arrays):
            if i >= _N_READ and isinstance(array, Strided):
                array.write(start * widths[i], stop * widths[i], parts[i])

    n_tasks = -(-partials.size // blocks_per_task)
    _threads.run(task, n_tasks, parallel=cut.n_elements > SERIAL)


def part(array: Array | Strided, start: int, stop: int) -> Array:
    """The elements from start to stop, for a kernel to read; of an absent array, none."""
    return array.read(start, stop) if isinstance(array, Strided) else array[start:stop]


def room(array: Array | Strided, start: int, stop: int) -> Array:
    """Where a kernel writes the elements from start to stop."""
    return array.buffer(start, stop) if isinstance(array, Strided) else array[start:stop]


def pairwise_sum(partials: Array) -> float:
    """The sum over a fixed binary tree, whose rounding error grows with its depth alone."""
    while partials.size > 1:
        if partials.size % 2:
            partials = np.append(partials, 0.0)
        partials = partials[0::2] + partials[1::2]
    return float(partials[0]) if partials.size else 0.0
