"""How a call runs: outputs, survey, denominator, kernel, result."""

import math
import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from . import _blocks
from ._arrays import (
    FLOAT32,
    FLOAT64,
    Array,
    Format,
    Strided,
    canonical,
    check_no_overlap,
    check_out,
    report_class_id,
    report_range,
    report_weight,
)
from .kernels.flags import CompilationError
from .kernels.form import Form
from .kernels.survey import BAD_WEIGHT, BAD_Y_PRED, BAD_Y_TRUE, survey

if TYPE_CHECKING:
    from .loss import Loss

Verb = Literal["value", "value_and_grad", "grad", "grad_hess"]

# Labels whose numbers float32 cannot hold.
_WIDE = frozenset({"float64", "int32", "uint32", "int64", "uint64"})
# What kernels get in place of an array that is not there.
_ABSENT = {dtype: np.empty(0, dtype) for dtype in map(np.dtype, ("float32", "float64", "uint16"))}
_NO_WEIGHTS = np.empty(0)
_NO_WEIGHTS.flags.writeable = False

# The kernels made so far in this process, by key and by whether they are for prange.
_kernels: dict[Any, Any] = {}


class Batch(NamedTuple):
    """The arrays of a call, their dtypes and shapes checked."""

    y_true: Array
    true: Format
    y_pred: Array
    pred: Format
    weight: Array | None  # one for each sample, or for each leading row of samples
    sample_shape: tuple[int, ...]
    width: int  # elements of y_pred in a sample
    class_ids: bool  # y_true has one class id for each sample


class Labels(NamedTuple):
    """How class ids are read."""

    class_weight: Array | None = None
    ignore_index: int | None = None


class Kernel:
    """A kernel that is made, or found, when it is first called."""

    def __init__(self, key: Any, make: Callable[[], Callable[..., None]]) -> None:
        self.key = key
        self.make = make  # writes it, as a plain function
        self.compiled: dict[bool, Any] = {}  # for prange, and for all else

    def __call__(
        self,
        options: tuple[Any, ...],
        scale: float,
        arrays: Sequence[Array | Strided],
        cut: _blocks.Cut,
    ) -> Array:
        """The partial sums of all blocks."""
        partials = np.empty(cut.n_blocks)
        backend = _blocks.backend_for(arrays, cut)
        prange = backend == "prange"
        compiled = self.compiled.get(prange)
        if compiled is None:
            compiled = self._compile(options, scale, arrays, partials, cut, prange)
        _blocks.run(backend, compiled, (options, scale), arrays, partials, cut)
        return partials

    def _compile(
        self,
        options: tuple[Any, ...],
        scale: float,
        arrays: Sequence[Array | Strided],
        partials: Array,
        cut: _blocks.Cut,
        prange: bool,
    ) -> Any:
        known = _kernels.get((self.key, prange))
        if known is None:
            from .kernels import jit  # only now: to import numba takes longer than all the rest

            examples = [_blocks.room(array, 0, 0) for array in arrays]
            arguments = (options, scale, *cut.shape, *examples, partials)
            known = _kernels[self.key, prange] = jit.kernel(self.make(), arguments, 4, prange)
        self.compiled[prange] = known
        return known


class Plan:
    """What calls of a loss with the same dtypes and the same verb have in common."""

    def __init__(self, loss: "Loss", batch: Batch, verb: Verb) -> None:
        pred = batch.pred if batch.pred.kind == "float" else FLOAT64
        wide = pred.name == "float64" or (loss.y_true_widens and batch.true.name in _WIDE)
        self.true, self.pred = batch.true, pred
        self.arithmetic = FLOAT64 if wide else FLOAT32
        single = batch.weight is not None and batch.weight.dtype == FLOAT32.dtype
        self.weight = FLOAT32 if single else FLOAT64
        weighted = batch.weight is not None
        form = self.form = Form(
            true=batch.true.name,
            pred=pred.name,
            weight=self.weight.name if weighted else "",
            arithmetic=self.arithmetic.name,
            class_ids=batch.class_ids,
            per_sample=verb.startswith("value") and loss.reduction == "none",
            with_grad=verb != "value",
            with_hess=verb == "grad_hess",
        )
        self.kernel = Kernel((loss._structure(), form), lambda: loss._kernel(form))

        # What the survey looks at; see `kernels/survey.py`.
        labels = loss._labels
        check_true = (
            not batch.class_ids and _bounded(loss.y_true_range) and self.true.kind != "bool"
        )
        check_pred = _bounded(loss.y_pred_range)
        ignoring = batch.class_ids and labels.ignore_index is not None
        class_weighted = labels.class_weight is not None
        self.check_pred = check_pred
        self.survey: Kernel | None = None
        if batch.class_ids or check_true or check_pred or class_weighted or weighted:
            seen = form._replace(
                arithmetic="float64", per_sample=False, with_grad=False, with_hess=False
            )
            switches = check_true, check_pred, ignoring, class_weighted
            self.survey = Kernel((seen, switches), lambda: survey(seen, *switches))


def _bounded(limits: tuple[float, float]) -> bool:
    return limits != (-math.inf, math.inf)


def evaluate(
    loss: "Loss",
    verb: Verb,
    batch: Batch,
    normalizer: float | None,
    *,
    losses_out: Array | None = None,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
) -> tuple[Any, Any, Any]:
    """Value, gradient and Hessian, as far as they are asked for.

    Nothing is written before the last check has passed.
    """
    y_true, y_pred, weight, width = batch.y_true, batch.y_pred, batch.weight, batch.width
    key = y_true.dtype, y_pred.dtype, weight is not None and weight.dtype, batch.class_ids, verb
    plan = loss._plans.get(key)
    if plan is None:
        plan = loss._plans[key] = Plan(loss, batch, verb)
    form, pred = plan.form, plan.pred

    absent = _ABSENT[pred.bits]
    losses: Array | Strided = _ABSENT[plan.arithmetic.dtype]
    grad: Array | Strided = absent
    hess: Array | Strided = absent
    if form.per_sample:
        shape = batch.sample_shape
        losses_out = _output(losses_out, "out", shape, plan.arithmetic, loss, batch, in_place=True)
        losses = canonical(np.asarray(losses_out), plan.arithmetic)
    if form.with_grad:
        name = "out[0]" if form.with_hess else "out"
        grad_out = _output(grad_out, name, y_pred.shape, pred, loss, batch, in_place=True)
        grad = canonical(np.asarray(grad_out), pred)
        if form.with_hess:
            hess_out = _output(hess_out, "out[1]", y_pred.shape, pred, loss, batch)
            check_no_overlap(hess_out, "out[1]", grad_out, "out[0]")
            hess = canonical(np.asarray(hess_out), pred)
    inputs = (
        canonical(y_true, plan.true),
        canonical(y_pred, pred),
        _NO_WEIGHTS if weight is None else canonical(_spread(weight, batch), plan.weight),
    )

    true_width = 1 if batch.class_ids else width
    cut = _blocks.cut_of(y_pred.size, true_width, width, loss.block_size)
    options = loss._options(form, width)
    total_weight = _survey(loss, plan, batch, inputs, cut)
    denominator = _denominator(loss, normalizer, total_weight)
    scale = 1.0 / denominator if denominator else 0.0
    arrays = (*inputs, losses, grad, hess)
    try:
        partials = plan.kernel(options, scale, arrays, cut)
    except CompilationError as error:
        raise loss._compilation_error(form, error) from error
    value: Any = losses_out
    if verb.startswith("value") and not form.per_sample:
        value = _blocks.pairwise_sum(partials) / denominator if denominator else _no_mean()
    return value, grad_out, hess_out


def _spread(weight: Array, batch: Batch) -> Array:
    """One weight for each sample."""
    shape = batch.sample_shape
    if weight.shape == shape:
        return weight
    return np.broadcast_to(weight.reshape(-1, *[1] * (len(shape) - 1)), shape)


def _output(
    out: Array | None,
    name: str,
    shape: tuple[int, ...],
    form: Format,
    loss: "Loss",
    batch: Batch,
    in_place: bool = False,
) -> Array:
    """`out`, if it is fit to be written, or a new array."""
    if out is None:
        return np.empty(shape, form.dtype)
    check_out(out, name, shape, form.dtype)
    check_no_overlap(out, name, batch.y_true, loss.names[0])
    check_no_overlap(out, name, batch.y_pred, loss.names[1], in_place)
    if batch.weight is not None:
        check_no_overlap(out, name, batch.weight, "sample_weight")
    return out


def _survey(
    loss: "Loss", plan: Plan, batch: Batch, inputs: tuple[Any, ...], cut: _blocks.Cut
) -> float:
    """Check the numbers; return the sum of the weights of the samples that count."""
    if plan.survey is None:
        return float(cut.n_samples)
    weights, ignore_index = loss._labels
    options = (
        cut.width,
        ignore_index or 0,
        _NO_WEIGHTS if weights is None else weights,
        *loss.y_true_range,
        *loss.y_pred_range,
    )
    y_true, y_pred, weight = inputs
    if not plan.check_pred:
        y_pred = _ABSENT[plan.pred.bits]  # not read, so not copied either if it is strided
    arrays = (y_true, y_pred, weight, *[_ABSENT[FLOAT64.dtype]] * 3)
    sums = plan.survey(options, 0.0, arrays, cut)
    if sums.size == 1 and 0.0 <= sums[0] < math.inf:
        return float(sums[0])
    for b in np.flatnonzero(sums < 0.0):
        _report(loss, batch, int(-sums[b]), *cut.samples(int(b), int(b) + 1))
    total = _blocks.pairwise_sum(sums)
    if total == math.inf:
        raise ValueError(
            "the weights add up to more than a float64 can hold: only their ratios matter, so "
            "divide sample_weight by its maximum"
        )
    return total


def _report(loss: "Loss", batch: Batch, report: int, start: int, stop: int) -> None:
    """Raise the error for the first illegal number of the samples from start to stop."""
    first, last = start * batch.width, stop * batch.width
    if report & BAD_Y_TRUE and batch.class_ids:
        ignore_index = loss._labels.ignore_index
        report_class_id(batch.y_true, start, stop, batch.width, ignore_index, loss.names[0])
    elif report & BAD_Y_TRUE:
        report_range(batch.y_true, first, last, loss.y_true_range, loss.names[0])
    elif report & BAD_Y_PRED:
        report_range(batch.y_pred, first, last, loss.y_pred_range, loss.names[1])
    elif report & BAD_WEIGHT:
        assert batch.weight is not None
        samples = math.prod(batch.sample_shape[batch.weight.ndim :])  # to which each weight belongs
        report_weight(batch.weight, start // samples, -(-stop // samples))


def _denominator(loss: "Loss", normalizer: float | None, total_weight: float) -> float:
    """What the sum of the losses is divided by."""
    if normalizer is None:
        return total_weight if loss.reduction == "mean" else 1.0
    if loss.reduction != "mean":
        raise ValueError(
            "normalizer replaces the denominator of a mean, but this loss has "
            f'reduction="{loss.reduction}": leave normalizer= away, or build it with "mean"'
        )
    if isinstance(normalizer, bool) or not isinstance(normalizer, Real):
        raise TypeError(f"normalizer must be a number, got {type(normalizer).__name__}")
    if not 0.0 < normalizer < math.inf:
        raise ValueError(f"normalizer is {normalizer}, but must be positive and finite")
    return float(normalizer)


def _no_mean() -> float:
    warnings.warn(
        "the mean of no samples is nan: there are no rows, or all are ignored or of weight 0",
        RuntimeWarning,
        stacklevel=4,  # the line that called the verb
    )
    return math.nan
