"""The short way to the kernel, for calls most of whose time would else be Python's."""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..kernels.args import BOTH, COMPARE, COMPUTE, SURVEY, Args
from ..kernels.survey import LEAST_WEIGHT, MOST_WEIGHT
from . import blocks
from .arrays import Array
from .blocks import pairwise_sum
from .messages import NO_MEAN
from .plan import Call

# How many arguments of a kernel come before its arrays, and which of them is the scale.
_N_TOLD, _SCALE = map(Args._fields.index, ("probabilities", "scale"))

# The numbers that a normalizer mostly is; to ask for any other takes as long as the call.
_NUMBERS = frozenset({float, int, np.float32, np.float64, np.int64})

# Given the arrays and the normalizer of a call, it returns what `run.evaluate` does, or None.
SmallCall = Callable[..., tuple[Any, Any, Any] | None]
# Given the addresses of labels, predictions and gradient (or () for none), it returns the
# loss, or None.
AddressCall = Callable[[int, int, Any], float | None]

# To look it up in NumPy takes longer.
_ndarray = np.ndarray


def _sum(of_blocks: Array) -> float:
    return pairwise_sum(of_blocks.tolist())


def _sum_legal(weights: Array) -> float:
    """The sum of the weights, or a negative number if a block holds anything illegal."""
    of_blocks = weights.tolist()
    return pairwise_sum(of_blocks) if min(of_blocks) >= 0.0 else -1.0


def small_call(call: Call) -> SmallCall | None:
    """A function for calls like this, of arrays that a kernel takes as they are.

    All that such calls have in common is prepared here, in local names: with attributes a call of
    32 rows takes an eighth longer. The kernel looks at layouts and memory while it takes its
    arrays, for a tenth of what Python needs. Whatever is in any way special is left to the general
    way: then the answer is None, and nothing has been written but memory of our own.

    None if there can be no such function, as derivatives go past the caches.
    """
    plan, cut, args = call.plan, call.cut, call.args
    code, form = plan.kernel.compiled.get(False), plan.form
    shape, dtype = call.shape, plan.pred.dtype
    n_bytes = (form.with_grad + form.with_hess) * math.prod(shape) * dtype.itemsize
    if code is None or n_bytes >= blocks.STREAMED:
        return None
    losses_shape, losses_dtype = call.losses_shape, plan.results.dtype
    with_grad, with_hess = form.with_grad, form.with_hess
    per_sample, surveys, reduces, empty = form.per_sample, plan.surveys, call.reduces, np.empty
    # Losses may go where the predictions are, if these have the same shape; a kernel sees sizes.
    if per_sample and losses_shape != shape and math.prod(losses_shape) == math.prod(shape):
        return None
    # Whether more is read than labels, predictions and weights, or written than a gradient.
    has_more = call.batch.extras is not None or per_sample or with_hess
    n_blocks = cut.n_blocks
    one_block = n_blocks == 1
    work, on_pool = cut.work, plan.kernel.on_pool
    # None: the kernel finds the sum of the weights.
    denominator = None if surveys and call.by_weight else call.denominator
    # A kernel looks at all of a block before it writes, but not at all blocks. Yet results of which
    # nobody knows may be dropped, if they do not need the sum of the weights.
    at_once, at_once_unseen = not surveys or one_block, denominator is not None or not with_grad
    takes_normalizer = call.averages and call.exponent_of_sum == 0
    # What a kernel is told, the arrays that most calls lack, and the call that lacks the others:
    # see `Args.shared`.
    told: Any = _told_at_once(call, args, COMPARE)
    to_survey, told_behind_scale = (
        args.asking(COMPARE | SURVEY, 0.0)[:_N_TOLD],
        args[_SCALE + 1 : _N_TOLD],
    )
    nothing_more = args.shared[_N_TOLD:]
    plain_run = partial(code, *told, *nothing_more)
    # With a gradient in memory of its own.
    fresh_run = partial(code, *_told_at_once(call, args), *nothing_more)
    # What the kernel writes for each block, from calls that have ended.
    spare: list[tuple[Array, Array]] = []

    def run_blocks(to_do: int, *asked: Any) -> None:
        """Let the kernel do this with all blocks, on threads if there is enough to do."""
        if blocks.is_shared(to_do):
            blocks.run_on_pool(code, asked, cut, to_do)
        else:
            code(*asked)

    # One function, as each further one takes 0.1 us of the 3 that a call has.
    def small(
        y_true: Any,
        y_pred: Any,
        weight: Any,
        normalizer: Any,
        class_mask: Any,
        vector: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
    ) -> tuple[Any, Any, Any] | None:
        shared = not one_block and blocks.is_shared(work)
        if shared and blocks.backend_for(False, on_pool, work) == "prange":
            return None
        once = at_once or (
            losses_out is grad_out is hess_out is None
            and (at_once_unseen or normalizer is not None)
        )
        now, more, divisor = told, nothing_more, denominator
        if normalizer is not None:
            if not (takes_normalizer and _is_in_reach(normalizer)):
                return None
            divisor = float(normalizer)
            now = [*told]
            now[_SCALE] = 1.0 / divisor
        grad: Any = ()
        run = fresh_run
        if with_grad:
            if grad_out is None:
                grad_out = empty(shape, dtype)
            elif not _is_fit(grad_out, shape, dtype):
                return None
            else:
                run = plain_run
            grad = grad_out
        if has_more:
            losses: Any = ()
            hess: Any = ()
            if per_sample:
                if losses_out is None:
                    losses_out = empty(losses_shape, losses_dtype)
                elif not _is_fit(losses_out, losses_shape, losses_dtype):
                    return None
                losses = losses_out
            if with_hess:
                if hess_out is None:
                    hess_out = empty(shape, dtype)
                elif not _is_fit(hess_out, shape, dtype):
                    return None
                hess = hess_out
            mask = () if class_mask is None else class_mask
            more = (), mask, () if vector is None else vector, losses, hess
        if weight is None:
            weight = ()
        try:
            weights, partials = results = spare.pop()
        except IndexError:
            weights, partials = results = empty(n_blocks), empty(n_blocks)
        own = weight, y_true, y_pred, grad, weights, partials
        try:
            if not once:
                run_blocks(call.survey_work, *to_survey, *more, *own)
            elif shared:
                run_blocks(work, *now, *more, *own)
            elif has_more or normalizer is not None:
                code(*now, *more, *own)
            else:
                run(weight, y_true, y_pred, grad, weights, partials)
        except BufferError:
            return None
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
            run_blocks(work, COMPUTE, args.options, scale, *told_behind_scale, *more, *own)
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


def address_call(call: Call) -> AddressCall | None:
    """A function for calls like this by the addresses of memory as the kernel takes it.

    A gradient has memory of its own, or that of the predictions. None if there can be no such
    function: it is one for calls of one block, with a reduction. It returns None as small calls do,
    and where no row counts: then the gradient has been written, and is 0.
    """
    plan, cut = call.plan, call.cut
    if call.small is None or cut.n_blocks > 1 or not call.reduces:
        return None
    args = call.args._replace(block=cut.n_samples)  # of which an address tells enough
    run = partial(plan.kernel.compiled[False], *_told_at_once(call, args), *args.shared[_N_TOLD:])
    surveys, by_weight, denominator = plan.surveys, call.by_weight, call.denominator
    true_bytes = math.prod(call.true_shape) * plan.true.dtype.itemsize
    pred_bytes = math.prod(call.shape) * plan.pred.dtype.itemsize
    spare: list[tuple[Array, Array]] = []

    def of_addresses(true: int, pred: int, grad: Any) -> float | None:
        if grad == pred and -true_bytes < true - pred < pred_bytes:
            return None  # labels would be written
        try:
            weights, partials = results = spare.pop()
        except IndexError:
            weights, partials = results = np.empty(1), np.empty(1)
        try:
            run((), true, pred, grad, weights, partials)
        except BufferError:
            return None
        divisor = denominator
        if surveys:
            total = weights.item()
            # Kernels ask the same, and have written nothing if the answer is no.
            if not 0.0 <= total <= MOST_WEIGHT:
                return None
            if by_weight:
                if total < LEAST_WEIGHT:
                    return None
                divisor = total
        spare.append(results)
        loss: float = partials.item() / divisor
        return loss

    return of_addresses


def _told_at_once(call: Call, args: Args, compare: int = 0) -> tuple[Any, ...]:
    """What a kernel is told that looks at all of a call, if at anything, and computes at once."""
    surveys = call.plan.surveys
    if not (surveys and call.by_weight):
        scale = 1.0 / call.denominator
    else:  # the kernel finds the sum of the weights
        scale = math.nan if call.cut.n_blocks == 1 else 1.0
    return args.asking(compare | (BOTH if surveys else COMPUTE), scale)[:_N_TOLD]


def _is_in_reach(normalizer: Any) -> bool:
    return type(normalizer) in _NUMBERS and LEAST_WEIGHT <= normalizer <= MOST_WEIGHT


def _is_fit(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a kernel may take `out` for its results, and look at the rest itself."""
    if type(out) is not _ndarray or out.shape != shape:
        return False
    return out.dtype is dtype or out.dtype == dtype  # there mostly is one of each
