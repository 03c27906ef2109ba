"""Small calls, most of whose time would be Python's."""

import math
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import numpy as np

from . import _blocks
from ._arrays import Array, Format
from ._blocks import Cut, pairwise_sum
from .kernels.form import BOTH, COMPUTE, SURVEY

# NumPy's flags as bits: to ask for each by name takes longer than the arithmetic of a row.
_PLAIN = 0x1 | 0x100  # C-contiguous and aligned
_OWN = 0x4  # its memory is its own
_WRITEABLE = 0x400
# Pairs of results that are kept for later calls, at most.
_MOST_SPARE = 8


_item: Callable[[Array], float] = methodcaller("item")


def _sum(losses: Array) -> float:
    return pairwise_sum(losses.tolist())


def _sum_legal(weights: Array) -> float:
    """The sum of the weights, or a negative number if a block holds anything illegal."""
    of_blocks = weights.tolist()
    return pairwise_sum(of_blocks) if min(of_blocks) >= 0.0 else -1.0


class SmallCall:
    """A call on one thread, of arrays that a kernel takes as they are.

    All that each such call has in common is prepared. Whatever is in any way special is left to
    the general way: then the answer is None, and nothing has been written but memory of our own, or
    what will be written again.
    """

    def __init__(
        self,
        code: Callable[..., None],
        options: tuple[Any, ...],
        cut: Cut,
        absent: tuple[Any, ...],
        shape: tuple[int, ...],
        formats: tuple[Format, Format],
        with_grad: bool,
        denominator: float | None,
        surveys: bool,
        reduces: bool,
    ) -> None:
        self.code = code
        n_blocks = cut.n_blocks
        # What threads could share.
        self.work = cut.work if n_blocks > 1 else 0
        # A kernel looks at all of a block before it writes, but not at all blocks.
        phase = (BOTH if n_blocks == 1 else SURVEY) if surveys else COMPUTE
        scale = math.nan if denominator is None else 1.0 / denominator
        self.head = (phase, options, scale, False, 0, n_blocks, *cut.shape)
        self.n_blocks = n_blocks
        # The sums over all blocks.
        self.sum_weights, self.sum_losses = (_item, _item) if n_blocks == 1 else (_sum_legal, _sum)
        # What stands for weights, other inputs and losses; and for gradients and Hessians.
        self.before, self.absent = absent[:3], absent[3]
        self.shape = shape
        true, pred = formats
        # What a kernel takes the numbers for, unless it takes them as they are.
        self.bits = (
            None if (true.bits, pred.bits) == (true.dtype, pred.dtype) else (true.bits, pred.bits)
        )
        self.dtype = pred.dtype
        self.with_grad = with_grad
        self.denominator = denominator  # None: the sum of the weights, which the kernel finds
        self.surveys = surveys
        self.reduces = reduces
        # What the kernel writes for each block, from calls that have ended.
        self.spare: list[tuple[Array, Array]] = []

    def __call__(
        self, y_true: Array, y_pred: Array, out: Array | None
    ) -> tuple[Any, Any, None] | None:
        flags = y_true.flags.num & y_pred.flags.num
        # Who measures from where on threads pay sets the bound anew.
        if flags & _PLAIN != _PLAIN or self.work > _blocks.SERIAL:
            return None
        grad = self.absent
        if self.with_grad:
            if out is None:
                out = np.empty(self.shape, self.dtype)
            elif not self._is_fit(out, y_true, y_pred, flags):
                return None
            grad = out.ravel()
        y_true, y_pred = y_true.ravel(), y_pred.ravel()
        if self.bits is not None:
            true, pred = self.bits
            y_true, y_pred, grad = y_true.view(true), y_pred.view(pred), grad.view(pred)
        try:
            weights, partials = results = self.spare.pop()
        except IndexError:
            weights, partials = results = np.empty(self.n_blocks), np.empty(self.n_blocks)
        arrays = y_true, y_pred, *self.before, grad, self.absent, weights, partials
        self.code(*self.head, *arrays)
        denominator = self.denominator
        if self.surveys:
            weight = self.sum_weights(weights)
            if not 0.0 <= weight < math.inf:
                return None
            if denominator is None:
                denominator = weight
        if self.head[0] == SURVEY:
            scale = 1.0 / denominator if denominator else 0.0
            self.code(COMPUTE, self.head[1], scale, *self.head[3:], *arrays)
        value = None
        if self.reduces:
            if not denominator:
                return None
            value = self.sum_losses(partials) / denominator
        if len(self.spare) < _MOST_SPARE:
            self.spare.append(results)
        return value, out, None

    def _is_fit(self, out: Any, y_true: Array, y_pred: Array, flags: int) -> bool:
        """Whether the gradient can be written into `out`."""
        if type(out) is not np.ndarray or out is y_true:
            return False
        own_flags = out.flags.num
        if own_flags & _WRITEABLE == 0 or own_flags & _PLAIN != _PLAIN:
            return False
        if out is y_pred:
            # If y_true has memory of its own, it is not that of y_pred.
            return bool(y_true.flags.num & own_flags & _OWN)
        return bool(
            flags & own_flags & _OWN and out.shape == self.shape and out.dtype == self.dtype
        )
