"""The short way to the kernel, for calls most of whose time would else be Python's."""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..kernels.args import BOTH, COMPUTE, SURVEY, Args
from ..kernels.survey import LEAST_WEIGHT, MOST_WEIGHT
from . import blocks
from .arrays import Array
from .blocks import pairwise_sum
from .messages import NO_MEAN
from .operands import PLAIN
from .plan import Call

# More of NumPy's flags as bits.
_OWN = 0x4  # its memory is its own
_FIT = PLAIN | 0x400  # and can be written

# How many arguments of a kernel come before its arrays, and which of them is the scale.
_N_TOLD, _SCALE = map(Args._fields.index, ("weight", "scale"))

# The numbers that a normalizer mostly is; to ask for any other takes as long as the call.
_NUMBERS = frozenset({float, int, np.float32, np.float64, np.int64})

# Given the arrays and the normalizer of a call, it returns what `run.evaluate` does, or None.
SmallCall = Callable[..., tuple[Any, Any, Any] | None]

# To look them up in NumPy takes longer.
_ndarray, _may_share_memory = np.ndarray, np.may_share_memory


def _sum(of_blocks: Array) -> float:
    return pairwise_sum(of_blocks.tolist())


def _sum_legal(weights: Array) -> float:
    """The sum of the weights, or a negative number if a block holds anything illegal."""
    of_blocks = weights.tolist()
    return pairwise_sum(of_blocks) if min(of_blocks) >= 0.0 else -1.0


def small_call(call: Call) -> SmallCall | None:
    """A function for calls like this, of arrays that a kernel takes as they are.

    All that such calls have in common is prepared here, in local names: with attributes a call of
    32 rows takes an eighth longer. Whatever is in any way special is left to the general way: then
    the answer is None, and nothing has been written but memory of our own.

    None if there can be no such function, as derivatives go past the caches.
    """
    plan, cut, args, extras = call.plan, call.cut, call.args, call.batch.extras
    code, form = plan.kernel.compiled.get(False), plan.form
    shape, dtype, true_bits, bits = call.shape, plan.pred.dtype, plan.true.bits, plan.pred.bits
    streams = form.with_grad and math.prod(shape) * dtype.itemsize >= blocks.STREAMED
    if code is None or streams:
        return None
    losses_shape, losses_dtype = call.losses_shape, plan.results.dtype
    # Whether losses may go where the predictions are.
    replaces = (losses_shape, losses_dtype) == (shape, dtype)
    ravel_true, ravel = len(call.true_shape) != 1, len(shape) != 1
    ravel_weight = len(call.batch.sample_shape) != 1
    # Whether a kernel takes the numbers for something else, as those of 16 bits.
    as_bits = (true_bits, bits) != (plan.true.dtype, dtype)
    vector = None if extras is None else extras.vector
    vector_bits = None if vector is None or vector.bits is vector.dtype else vector.bits
    labelled, with_grad, with_hess = form.labelled, form.with_grad, form.with_hess
    per_sample, surveys, reduces, empty = form.per_sample, plan.surveys, call.reduces, np.empty
    # Whether more is read than labels, predictions and weights, or written than a gradient.
    has_more, weighted = extras is not None or per_sample or with_hess, form.weighted
    n_blocks = cut.n_blocks
    one_block = n_blocks == 1
    work, on_pool = cut.work, plan.kernel.on_pool
    # None: the kernel finds the sum of the weights.
    denominator = None if surveys and call.by_weight else call.denominator
    # A kernel looks at all of a block before it writes, but not at all blocks. Yet results of which
    # nobody knows may be dropped, if they do not need the sum of the weights.
    at_once, at_once_unseen = not surveys or one_block, denominator is not None or not with_grad
    takes_normalizer = call.averages and call.exponent_of_sum == 0
    # What a kernel is told, the arrays that most calls lack, and the call that lacks the last five
    # arguments: see `Args.shared`.
    scale = 1.0 / denominator if denominator is not None else math.nan if one_block else 1.0
    told: Any = args.asking(BOTH if surveys else COMPUTE, scale)[:_N_TOLD]
    to_survey, told_behind_scale = args.asking(SURVEY, 0.0)[:_N_TOLD], args[_SCALE + 1 : _N_TOLD]
    nothing_more = args[_N_TOLD:-5]
    nothing_behind_weight = nothing_more[1:]
    plain_run = partial(code, *told, *nothing_more)
    # What the kernel writes for each block, from calls that have ended.
    spare: list[tuple[Array, Array]] = []

    def run_blocks(to_do: int, *asked: Any) -> None:
        """Let the kernel do this with all blocks, on threads if there is enough to do."""
        if blocks.is_shared(to_do):
            blocks.run_on_pool(code, asked, cut, to_do)
        else:
            code(*asked)

    def with_more(
        flags: int,
        y_true: Array,
        y_pred: Array,
        weight: Any,
        normalizer: Any,
        class_mask: Any,
        vector: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
    ) -> Any:
        """What is special about a call that is no plain one; None if it is not a small one."""
        now, divisor = told, denominator
        if normalizer is not None:
            if not (takes_normalizer and _is_in_reach(normalizer)):
                return None
            divisor = float(normalizer)
            now = [*told]
            now[_SCALE] = 1.0 / divisor
        to_weight: Any = ()
        to_mask: Any = ()
        to_vector: Any = ()
        losses: Any = ()
        hess: Any = ()
        read: tuple[Array, ...] = (y_true,) if labelled else ()
        if weight is not None:
            flags &= weight.flags.num
            read = *read, weight
            to_weight = weight.ravel() if ravel_weight else weight
        if class_mask is not None:
            flags &= class_mask.flags.num
            read = *read, class_mask
            to_mask = class_mask.ravel().view(np.uint8)
        if vector is not None:
            flags &= vector.flags.num
            read = *read, vector
            to_vector = vector.ravel() if vector_bits is None else vector.ravel().view(vector_bits)
        if flags & PLAIN != PLAIN:
            return None
        if per_sample:
            if losses_out is None:
                losses_out = empty(losses_shape, losses_dtype)
            else:
                free, others = (y_pred, read) if replaces else (None, (y_pred, *read))
                if not _is_fit(losses_out, free, others, flags, losses_shape, losses_dtype):
                    return None
            losses = losses_out.ravel()
        if with_hess:
            if hess_out is None:
                hess_out = empty(shape, dtype)
            else:
                others = y_pred, *read
                if type(grad_out) is _ndarray:
                    others = grad_out, *others
                if not _is_fit(hess_out, None, others, 0, shape, dtype):
                    return None
            hess = hess_out.ravel().view(bits) if as_bits else hess_out.ravel()
        more = to_weight, (), to_mask, to_vector, losses, hess
        return flags, read, now, more, divisor, losses_out, hess_out

    def small(
        y_true: Array,
        y_pred: Array,
        weight: Any,
        normalizer: Any,
        class_mask: Any,
        vector: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
    ) -> tuple[Any, Any, Any] | None:
        flags = y_true.flags.num & y_pred.flags.num
        if flags & PLAIN != PLAIN:
            return None
        read: tuple[Array, ...]
        shared = not one_block and blocks.is_shared(work)
        if shared and blocks.backend_for(False, on_pool, work) == "prange":
            return None
        once = at_once or (
            losses_out is grad_out is hess_out is None
            and (at_once_unseen or normalizer is not None)
        )
        divisor, more = denominator, nothing_more
        special = has_more or weighted or normalizer is not None
        if weighted and not has_more and normalizer is None:  # as mini-batches are, for less
            flags &= weight.flags.num
            if flags & PLAIN != PLAIN:
                return None
            # Where there are no labels, there are no weights.
            now, read = told, (y_true, weight)
            more = weight.ravel() if ravel_weight else weight, *nothing_behind_weight
        elif special:
            found = with_more(
                flags,
                y_true,
                y_pred,
                weight,
                normalizer,
                class_mask,
                vector,
                losses_out,
                grad_out,
                hess_out,
            )
            if found is None:
                return None
            flags, read, now, more, divisor, losses_out, hess_out = found
        grad: Any = ()
        if with_grad:
            if grad_out is None:
                grad_out = empty(shape, dtype)
            else:
                if not special:
                    read = (y_true,) if labelled else ()
                if not _is_fit(grad_out, y_pred, read, flags, shape, dtype):
                    return None
            grad = grad_out.ravel() if ravel else grad_out
            if as_bits:
                grad = grad.view(bits)
        if ravel_true:
            y_true = y_true.ravel()
        if ravel:
            y_pred = y_pred.ravel()
        if as_bits:
            y_true, y_pred = y_true.view(true_bits), y_pred.view(bits)
        try:
            weights, partials = results = spare.pop()
        except IndexError:
            weights, partials = results = empty(n_blocks), empty(n_blocks)
        if not once:
            survey_work = call.survey_work
            run_blocks(survey_work, *to_survey, *more, y_true, y_pred, grad, weights, partials)
        elif shared:
            asked = *(now if special else told), *more, y_true, y_pred, grad, weights, partials
            run_blocks(work, *asked)
        elif special:
            code(*now, *more, y_true, y_pred, grad, weights, partials)
        else:
            plain_run(y_true, y_pred, grad, weights, partials)
        if surveys:
            total = weights.item() if one_block else _sum_legal(weights)
            # Kernels ask the same, and have written nothing if the answer is no.
            if not 0.0 <= total <= MOST_WEIGHT:
                return None
            if divisor is None:
                if total < LEAST_WEIGHT and total != 0.0:
                    return None
                divisor = total
        if not once:
            scale = 1.0 / divisor if divisor else 0.0
            asked = COMPUTE, args.options, scale, *told_behind_scale, *more
            run_blocks(work, *asked, y_true, y_pred, grad, weights, partials)
        value = losses_out
        if reduces:
            if divisor:
                value = (partials.item() if one_block else _sum(partials)) / divisor
            else:
                warnings.warn(NO_MEAN, RuntimeWarning, stacklevel=4)  # the line of the user
                value = math.nan
        spare.append(results)
        return value, grad_out, hess_out

    return small


def _is_in_reach(normalizer: Any) -> bool:
    return type(normalizer) in _NUMBERS and LEAST_WEIGHT <= normalizer <= MOST_WEIGHT


def _is_fit(
    out: Any,
    free: Array | None,
    read: tuple[Array, ...],
    flags: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> bool:
    """Whether a result can be written into `out`, which is `free` or has memory of its own.

    `flags` are those that all arrays have that it could share memory with.
    """
    if type(out) is not _ndarray:
        return False
    own_flags = out.flags.num
    if own_flags & _FIT != _FIT:
        return False
    if out is not free and (out.shape != shape or out.dtype != dtype):
        return False
    for other in read:
        if out is other:
            return False
    if flags & own_flags & _OWN:  # whoever owns memory shares none
        return True
    return _is_apart(out, read if out is free or free is None else (free, *read))


def _is_apart(out: Array, others: tuple[Array, ...]) -> bool:
    """Whether `out` shares no memory with the others.

    Most are parts of arrays that own their memory: to look at these takes a third of the time.
    """
    whole = out if out.base is None else out.base
    known = type(whole) is _ndarray and whole.flags.num & _OWN
    for other in others:
        its = other.base
        if its is None:
            its = other
        apart = known and its is not whole and type(its) is _ndarray and its.flags.num & _OWN
        if not apart and _may_share_memory(out, other):
            return False
    return True
