"""Small calls, most of whose time would be Python's."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..kernels.args import BOTH, COMPUTE, SURVEY, Args
from ..kernels.survey import LEAST_WEIGHT, MOST_WEIGHT
from . import blocks
from .arrays import Array, Format
from .blocks import Cut, pairwise_sum
from .operands import PLAIN

# More of NumPy's flags as bits.
_OWN = 0x4  # its memory is its own
_FIT = PLAIN | 0x400  # and can be written

SmallCall = Callable[[Array, Array, Array | None], tuple[Any, Any, None] | None]


def _sum(of_blocks: Array) -> float:
    return pairwise_sum(of_blocks.tolist())


def _sum_legal(weights: Array) -> float:
    """The sum of the weights, or a negative number if a block holds anything illegal."""
    of_blocks = weights.tolist()
    return pairwise_sum(of_blocks) if min(of_blocks) >= 0.0 else -1.0


def small_call(
    code: Callable[..., None],
    args: Args,
    cut: Cut,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    formats: tuple[Format, Format],
    with_grad: bool,
    denominator: float | None,
    surveys: bool,
    reduces: bool,
) -> SmallCall:
    """A function for calls on one thread, of arrays that a kernel takes as they are.

    It is given labels, predictions and `out`; `args` is what it tells the kernel besides. All that
    such calls have in common is prepared here, in local names: with attributes a call of 32 rows
    takes an eighth longer. Whatever is in any way special is left to the general way: then the
    answer is None, and nothing has been written but memory of our own, or what will be written
    again.

    `denominator` is None where it is the sum of the weights, which the kernel finds.
    """
    (true_shape, shape), (true, pred) = shapes, formats
    dtype = pred.dtype
    ravel_true, ravel = len(true_shape) != 1, len(shape) != 1
    # Whether a kernel takes the numbers for something else, as those of 16 bits.
    as_bits = (true.bits, pred.bits) != (true.dtype, dtype)
    n_blocks = cut.n_blocks
    one_block = n_blocks == 1
    # What threads could share.
    work = 0 if one_block else cut.work
    # A kernel looks at all of a block before it writes, but not at all blocks.
    twice = surveys and not one_block
    phase = COMPUTE if not surveys else SURVEY if twice else BOTH
    first_scale = math.nan if denominator is None else 1.0 / denominator
    # No weights, other inputs, losses of samples or Hessian.
    run = partial(code, *args.asking(phase, first_scale).shared)
    # What the kernel writes for each block, from calls that have ended.
    spare: list[tuple[Array, Array]] = []
    empty = np.empty

    def call(y_true: Array, y_pred: Array, out: Any) -> tuple[Any, Any, None] | None:
        flags = y_true.flags.num & y_pred.flags.num
        # Who measures from where on threads pay sets the bound anew.
        if flags & PLAIN != PLAIN or work > blocks.SERIAL:
            return None
        grad: Any = ()
        if with_grad:
            if out is None:
                out = empty(shape, dtype)
            elif not _is_fit(out, y_true, y_pred, flags, shape, dtype):
                return None
            grad = out.ravel() if ravel else out
            if as_bits:
                grad = grad.view(pred.bits)
        if ravel_true:
            y_true = y_true.ravel()
        if ravel:
            y_pred = y_pred.ravel()
        if as_bits:
            y_true, y_pred = y_true.view(true.bits), y_pred.view(pred.bits)
        try:
            weights, partials = results = spare.pop()
        except IndexError:
            weights, partials = results = empty(n_blocks), empty(n_blocks)
        run(y_true, y_pred, grad, weights, partials)
        divisor = denominator
        if surveys:
            weight = weights.item() if one_block else _sum_legal(weights)
            if not (LEAST_WEIGHT <= weight <= MOST_WEIGHT or weight == 0.0):
                return None
            if divisor is None:
                divisor = weight
        if twice:
            scale = 1.0 / divisor if divisor else 0.0
            head = args.asking(COMPUTE, scale).shared
            code(*head, y_true, y_pred, grad, weights, partials)
        value = None
        if reduces:
            if not divisor:
                return None
            value = (partials.item() if one_block else _sum(partials)) / divisor
        spare.append(results)
        return value, out, None

    return call


def _is_fit(
    out: Any,
    y_true: Array,
    y_pred: Array,
    flags: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> bool:
    """Whether the gradient can be written into `out`."""
    if type(out) is not np.ndarray or out is y_true:
        return False
    own_flags = out.flags.num
    if own_flags & _FIT != _FIT:
        return False
    if out is y_pred:
        # If y_true has memory of its own, it is not that of y_pred.
        return bool(y_true.flags.num & own_flags & _OWN)
    return bool(flags & own_flags & _OWN) and out.shape == shape and out.dtype == dtype
