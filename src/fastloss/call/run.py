"""How a call runs: checks, outputs, survey, denominator, losses, result."""

import math
import warnings
from typing import Any

import numpy as np

from ..kernels.args import BOTH, COMPUTE, SURVEY
from ..kernels.survey import MOST_WEIGHT
from .arrays import Array
from .blocks import pairwise_sum
from .family import Family
from .messages import NO_MEAN
from .operands import multiply_by_power
from .outputs import outputs
from .plan import prepare, with_others
from .powers import Division, Power, exponent_of, in_reach, times_power
from .short import small_call
from .verbs import Verb
from .work import Work

# For every small call: to look it up in NumPy takes longer.
_ndarray = np.ndarray


def evaluate(
    family: Family,
    verb: Verb,
    y_true: Any,
    y_pred: Any,
    weight: Any,
    normalizer: float | Power | None,
    class_mask: Any = None,
    grad_out: Array | None = None,
    *,
    vector: Any = None,
    losses_out: Array | None = None,
    hess_out: Array | None = None,
) -> tuple[Any, Any, Any]:
    """What is written for samples, what is written for elements, and the Hessian, or None of each.

    Nothing that the user can see is written before the last check has passed. What most calls pass
    goes by place: by name it takes longer.
    """
    if type(y_true) is type(y_pred) is _ndarray:
        key: Any = verb, y_true.dtype, y_true.shape, y_pred.dtype, y_pred.shape
        if not (class_mask is vector is None):
            key = with_others(key, weight, None, class_mask, vector)
        elif weight is not None:  # as in `with_others`, which takes a tenth of the call to call
            key += (weight.dtype, weight.shape) if type(weight) is _ndarray else (type(weight),)
        known = family.calls.get(key)
        small = None if known is None else known.small
        if small is not None:
            results: tuple[Any, Any, Any] | None = small(
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
            if results is not None:
                return results
    call, inputs = prepare(
        family, verb, y_true, y_pred, weight, class_mask, vector, grad_out, hess_out
    )
    private = losses_out is None and grad_out is None and hess_out is None
    losses, grad, hess, operands = outputs(family, call, inputs, losses_out, grad_out, hess_out)
    work = Work(family, call, inputs, operands)
    division = Division(call, family.traits.reduction, normalizer)
    total, computed = _first_pass(work, division, private)
    if division.shift:
        total = _with_shifted_weights(work, division, total)
    if division.by_weight:
        division.denominator = total
    late = 0
    if not computed:
        scale, late = division.scale(total, call.plan.arithmetic.name)
        if late and call.plan.form.derivatives and division.denominator:
            given = family, verb, y_true, y_pred, weight, normalizer, class_mask
            return _rounded_last(given, vector, losses_out, grad, hess)
        work.run(COMPUTE, scale)
    if late:
        multiply_by_power(late, grad, hess)
    if division.exponent:
        multiply_by_power(division.exponent, losses)
    if call.may_be_small and call.small is None:
        call.small = small_call(call)
    return _value(work, division) if call.reduces else losses, grad, hess


def _rounded_last(
    given: tuple[Any, ...],
    vector: Any,
    losses_out: Array | None,
    grad: Array | None,
    hess: Array | None,
) -> tuple[Any, Any, Any]:
    """What `evaluate` does where derivatives are rounded to float32 after a late power of two.

    Float32 might not hold them before it.
    """
    value, *wide = evaluate(*given, vector=vector, losses_out=losses_out)
    with np.errstate(over="ignore", under="ignore"):
        for out, derivatives in zip((grad, hess), wide, strict=True):
            if out is not None:
                out[...] = derivatives
    return value, grad, hess


def _first_pass(work: Work, division: Division, private: bool) -> tuple[float, bool]:
    """What the samples that count weigh, after all checks; and whether results are there already.

    A kernel of one block looks at all of it before it writes. And results that nobody else has a
    hand on, as they are `private`, may be dropped should an error be found.
    """
    call, by_weight = work.call, division.by_weight
    if not call.plan.surveys:
        return 1.0, False
    one_block = call.cut.n_blocks == 1
    droppable = private and not (by_weight and call.plan.form.with_grad)
    nothing_is_out = division.shift == division.exponent == 0
    at_once = nothing_is_out and ((one_block and not work.strided) or droppable)
    if at_once:
        # With a scale of nan the kernel divides by the weight that it finds.
        work.run(BOTH, math.nan if by_weight and one_block else division.inverse())
    else:
        work.run(SURVEY, 0.0)
    total = work.total_weight()
    if by_weight and not in_reach(total) and total == total:
        division.shift = exponent_of(total)
        return total, False
    if not at_once:
        return total, False
    if one_block:
        return total, in_reach(total) or (total < 1.0 and not by_weight)
    return total, bool(np.all(work.weights <= MOST_WEIGHT))


def _with_shifted_weights(work: Work, division: Division, total: float) -> float:
    """Take a power of two out of the weights, or of their sum if it is that of classes alone."""
    if work.inputs.weight is None:
        division.exponent -= division.shift
        return times_power(total, -division.shift)
    work.shift_weights(division.shift_in_reach(total))
    work.run(SURVEY, 0.0)
    return work.total_weight()


def _value(work: Work, division: Division) -> float:
    if not division.denominator:
        warnings.warn(NO_MEAN, RuntimeWarning, stacklevel=4)  # the line that called the verb
        return math.nan
    value = pairwise_sum(work.losses.tolist()) / division.denominator
    return times_power(value, division.exponent) if division.exponent else value


def check(
    family: Family,
    verb: Verb,
    y_true: Any,
    y_pred: Any,
    weight: Any,
    class_mask: Any = None,
    vector: Any = None,
) -> None:
    """Raise what a call of this verb raises before it computes anything."""
    call, inputs = prepare(family, verb, y_true, y_pred, weight, class_mask, vector)
    if call.plan.surveys:
        work = Work(family, call, inputs)
        work.run(SURVEY, 0.0)
        work.total_weight()


def total_weight(family: Family, verb: Verb, y_true: Any, y_pred: Any, weight: Any) -> Power:
    """The denominator of the mean, by which a call of this verb divides.

    Predictions matter only where they have a range; NaN stands for all that are legal.
    """
    call, inputs = prepare(family, verb, y_true, y_pred, weight)
    if not call.by_weight:
        return Power(call.denominator, 0)
    work = Work(family, call, inputs)
    work.run(SURVEY, 0.0)
    total, shift = work.total_weight(), 0
    if not in_reach(total) and total == total:
        shift = exponent_of(total)
        if weight is None:
            total = math.ldexp(total, -shift)
        else:
            work.shift_weights(shift)
            work.run(SURVEY, 0.0)
            total = work.total_weight()
    return Power(total, shift + call.exponent_of_weights)
