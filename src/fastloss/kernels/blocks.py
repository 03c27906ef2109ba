"""The loop over blocks, which makes a kernel of what is to be done with one block.

The blocks are independent, and each has a partial sum of its own, so one loop serves both backends:
compiled serially, `prange` is `range`, and Python's threads call the kernel on runs of blocks;
compiled in parallel, which takes twice as long and is done only when that backend is chosen,
Numba's threading layer hands out the blocks.
"""

from typing import Any, NamedTuple

import numba

from .bits import part_of, wide_vectors
from .form import Function


class Block(NamedTuple):
    """The arguments of a call, and the windows of its arrays that belong to one block."""

    options: Any
    scale: Any
    y_true: Any
    y_pred: Any
    weight: Any
    losses_out: Any
    grad_out: Any
    hess_out: Any


def over_blocks(sum_block: Function) -> Function:
    """A kernel that gives every block of `n` samples to `sum_block(block) -> partial sum`."""

    def kernel(
        options: Any,
        scale: Any,
        n: Any,
        true_width: Any,
        width: Any,
        y_true: Any,
        y_pred: Any,
        weight: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
        partials: Any,
    ) -> None:
        for b in numba.prange(partials.size):
            wide_vectors()
            partials[b] = sum_block(
                Block(
                    options,
                    scale,
                    part_of(y_true, b, n * true_width),
                    part_of(y_pred, b, n * width),
                    part_of(weight, b, n),
                    part_of(losses_out, b, n),
                    part_of(grad_out, b, n * width),
                    part_of(hess_out, b, n * width),
                )
            )

    return kernel
