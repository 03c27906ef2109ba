"""The loop over blocks, which makes a kernel of what is to be done with one block.

The blocks are independent, and each has results of its own, so one loop serves both backends:
compiled serially, `prange` is `range`, and Python's threads call the kernel on runs of blocks;
compiled in parallel, which takes twice as long and is done only when that backend is chosen,
Numba's threading layer hands out the blocks.
"""

from typing import Any, NamedTuple

from ..compiler.bits import aligned_stack, part_of, prange, settle, wide_vectors
from .form import COMPUTE, SURVEY, Extras, Function
from .survey import LEAST_WEIGHT, MOST_WEIGHT


class Block(NamedTuple):
    """The arguments of a call, and the windows of its arrays that belong to one block."""

    options: Any
    scale: Any  # what derivatives are multiplied by
    streamed: Any  # whether derivatives go past the caches
    true_width: Any  # elements of y_true in a sample
    width: Any  # elements of y_pred in a sample
    y_true: Any
    y_pred: Any
    weight: Any
    extras: Any  # () or `Extras`
    losses_out: Any
    grad_out: Any
    hess_out: Any


def _extras_of_block(extras: Any, b: Any, n_true: Any, n_pred: Any) -> Any:
    return Extras(
        part_of(extras[0], b, n_true), part_of(extras[1], b, n_pred), part_of(extras[2], b, n_pred)
    )


def over_blocks(survey_block: Function, sum_block: Function, has_extras: bool) -> Function:
    """A kernel over the blocks from `first` to `last`, each of `n` samples.

    `losses_out` has `n_results` numbers for each.

    For each, `survey_block(block)` gives the sum of its weights, or a negative number if it holds
    anything illegal, and `sum_block(block)` the sum of its losses. A scale of NaN stands for 1 /
    the sum of the weights of the one block that there is. If a block is surveyed in the same call
    and its weights are out of reach, nothing is written: the call is repeated with others.
    """

    def kernel(
        phase: Any,
        options: Any,
        scale: Any,
        streamed: Any,
        first: Any,
        last: Any,
        n: Any,
        true_width: Any,
        width: Any,
        n_results: Any,
        y_true: Any,
        y_pred: Any,
        weight: Any,
        extras: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
        weights: Any,
        partials: Any,
    ) -> None:
        for k in prange(last - first):
            wide_vectors()
            aligned_stack()
            b = first + k
            parts = (
                true_width,
                width,
                part_of(y_true, b, n * true_width),
                part_of(y_pred, b, n * width),
                part_of(weight, b, n),
                _extras_of_block(extras, b, n * true_width, n * width) if has_extras else (),
                part_of(losses_out, b, n * n_results),
                part_of(grad_out, b, n * width),
                part_of(hess_out, b, n * width),
            )
            factor = scale
            legal = True
            if phase & SURVEY:
                total = survey_block(Block(options, scale, streamed, *parts))
                weights[b] = total
                legal = total >= 0.0 and total <= MOST_WEIGHT
                if scale != scale:
                    legal = legal and (total >= LEAST_WEIGHT or total == 0.0)
                    factor = 1.0 / total if total > 0.0 else 0.0
            if phase & COMPUTE and legal:
                partials[b] = sum_block(Block(options, factor, streamed, *parts))
                if streamed:
                    settle()

    kernel.__name__ = sum_block.__name__  # of which stored files are named
    return kernel
