"""How a call runs: outputs, survey, denominator, kernel, result."""

import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _blocks
from ._arrays import (
    Array,
    Format,
    canonical,
    check_no_overlap,
    check_out,
    report_class_id,
    report_range,
    report_weight,
    same_memory,
)
from ._blocks import Operand
from .kernels.form import Form
from .kernels.storage import bits_type
from .kernels.survey import BAD_WEIGHT, BAD_Y_PRED, BAD_Y_TRUE, survey

if TYPE_CHECKING:
    from .loss import Loss

_FLOAT64 = np.dtype(np.float64)
# Stands for the class weights of a loss that has none.
_NO_WEIGHTS = np.empty(0)
_NO_WEIGHTS.flags.writeable = False
# Labels whose numbers float32 cannot hold.
_WIDE = frozenset({"float64", "int32", "uint32", "int64", "uint64"})

# The kernels made so far in this process.
_kernels: dict[Any, Any] = {}


class Batch(NamedTuple):
    """The arrays of a call, their dtypes and shapes checked."""

    y_true: Array
    true: Format
    y_pred: Array
    pred: Format
    weight: Array | None
    sample_shape: tuple[int, ...]
    width: int  # elements of y_pred in a sample
    class_ids: bool  # y_true has one class id for each sample


class Labels(NamedTuple):
    """How class ids are read."""

    class_weight: Array | None = None
    ignore_index: int | None = None


class Results(NamedTuple):
    value: Any
    grad: Any
    hess: Any


def evaluate(
    loss: "Loss",
    batch: Batch,
    normalizer: float | None,
    *,
    losses_out: Array | None = None,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
    with_value: bool = True,
    with_grad: bool = False,
    with_hess: bool = False,
) -> Results:
    """Run `loss` on `batch`. Nothing is written before the last check has passed."""
    width = batch.width
    n_samples = math.prod(batch.sample_shape)
    cut = _blocks.Cut(n_samples, width, max(1, loss.block_size // width))
    form = _form(loss, batch, with_value and loss.reduction == "none", with_grad, with_hess)
    arithmetic = np.dtype(form.arithmetic)

    # Outputs: checked if given, made if not, empty if not wanted.
    pred_dtype = _native(batch.y_pred.dtype) if batch.pred.kind == "float" else _FLOAT64
    if form.per_sample:
        losses_out = _output(losses_out, "out", batch.sample_shape, arithmetic, loss, batch)
    if with_grad:
        name = "out[0]" if with_hess else "out"
        shape = batch.y_pred.shape
        grad_out = _output(grad_out, name, shape, pred_dtype, loss, batch, in_place=True)
    if with_hess:
        hess_out = _output(hess_out, "out[1]", batch.y_pred.shape, pred_dtype, loss, batch)
        check_no_overlap(hess_out, "out[1]", grad_out, "out[0]")
    outputs = [
        _operand(losses_out, arithmetic, 1),
        _operand(grad_out, pred_dtype, width),
        _operand(hess_out, pred_dtype, width),
    ]
    inputs = [
        _operand(batch.y_true, _native(batch.y_true.dtype), 1 if batch.class_ids else width),
        _operand(batch.y_pred, pred_dtype, width),
        _operand(batch.weight, np.dtype(form.weight or "float64"), 1),
    ]

    total_weight = _survey(loss, batch, form, inputs, cut)
    denominator = _denominator(loss, normalizer, total_weight)
    scale = 1.0 / denominator if denominator else 0.0

    partials = np.empty(cut.n_blocks)
    _run(
        (loss._structure(), form),
        lambda: loss._kernel(form),
        (loss._options(form, width), scale),
        inputs,
        outputs,
        [partials],
        cut,
    )
    value = None
    if form.per_sample:
        value = losses_out
    elif with_value:
        value = _blocks.pairwise_sum(partials) / denominator if denominator else _no_mean()
    return Results(value, grad_out, hess_out)


def _form(
    loss: "Loss", batch: Batch, per_sample: bool, with_grad: bool, with_hess: bool
) -> Form:
    pred = batch.pred.name if batch.pred.kind == "float" else "float64"
    wide = pred == "float64" or (loss.y_true_widens and batch.true.name in _WIDE)
    weight = ""
    if batch.weight is not None:
        weight = "float32" if batch.weight.dtype == np.float32 else "float64"
    return Form(
        batch.true.name,
        pred,
        weight,
        "float64" if wide else "float32",
        batch.class_ids,
        per_sample,
        with_grad,
        with_hess,
    )


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def _operand(array: Array | None, stored: np.dtype[Any], width: int) -> Operand:
    bits = bits_type(stored.name)
    if array is None:
        return Operand(np.empty(0, bits), 0)
    return Operand(canonical(array, stored, bits), width)


def _output(
    out: Array | None,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    loss: "Loss",
    batch: Batch,
    in_place: bool = False,
) -> Array:
    if out is None:
        return np.empty(shape, dtype)
    check_out(out, name, shape, dtype)
    check_no_overlap(out, name, batch.y_true, loss.names[0])
    if not (in_place and same_memory(out, batch.y_pred)):
        check_no_overlap(out, name, batch.y_pred, loss.names[1], in_place)
    if batch.weight is not None:
        check_no_overlap(out, name, batch.weight, "sample_weight")
    return out


def _survey(
    loss: "Loss",
    batch: Batch,
    form: Form,
    inputs: list[Operand],
    cut: _blocks.Cut,
) -> float:
    """Check the numbers; return the sum of the weights of the samples that count."""
    labels = loss._labels
    ignoring = batch.class_ids and labels.ignore_index is not None
    class_weighted = labels.class_weight is not None
    check_true = not batch.class_ids and _bounded(loss.y_true_range) and form.true != "bool"
    check_pred = _bounded(loss.y_pred_range)
    if not (batch.class_ids or check_true or check_pred or form.weight or class_weighted):
        return float(cut.n_samples)
    options = (
        batch.width,
        labels.ignore_index if ignoring else 0,
        labels.class_weight if class_weighted else _NO_WEIGHTS,
    )
    weight_sums = np.empty(cut.n_blocks)
    reports = np.empty(cut.n_blocks, np.int64)
    form = form._replace(arithmetic="float64", per_sample=False, with_grad=False, with_hess=False)
    switches = (check_true, check_pred, ignoring, class_weighted)
    _run(
        (form, switches),
        lambda: survey(form, *switches),
        (options, (*loss.y_true_range, *loss.y_pred_range)),
        inputs,
        [],
        [weight_sums, reports],
        cut,
    )
    for b in np.flatnonzero(reports):
        _report(loss, batch, int(reports[b]), *cut.samples(int(b), int(b) + 1))
    return _blocks.pairwise_sum(weight_sums)


def _bounded(limits: tuple[float, float]) -> bool:
    return limits != (-math.inf, math.inf)


def _report(loss: "Loss", batch: Batch, report: int, start: int, stop: int) -> None:
    """Raise the error for the first illegal number of the samples in [start, stop)."""
    first, last = start * batch.width, stop * batch.width
    if report & BAD_Y_TRUE and batch.class_ids:
        report_class_id(
            batch.y_true, start, stop, batch.width, loss._labels.ignore_index, loss.names[0]
        )
    elif report & BAD_Y_TRUE:
        report_range(batch.y_true, first, last, loss.y_true_range, loss.names[0])
    elif report & BAD_Y_PRED:
        report_range(batch.y_pred, first, last, loss.y_pred_range, loss.names[1])
    elif report & BAD_WEIGHT:
        assert batch.weight is not None
        report_weight(batch.weight, start, stop)


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
        stacklevel=4,
    )
    return math.nan


def _run(
    key: Any,
    make: Callable[[], Callable[..., None]],
    head: tuple[Any, ...],
    inputs: list[Operand],
    outputs: list[Operand],
    per_block: list[Array],
    cut: _blocks.Cut,
) -> None:
    """Run the kernel known as `key` over all blocks; `make` writes it when it is first needed."""
    kernel = _kernels.get(key)
    if kernel is None:
        from .kernels import jit  # only now: numba takes longer to import than all the rest

        examples = [operand.room(0, 0) for operand in (*inputs, *outputs)]
        arguments = (*head, cut.block, *examples, *per_block)
        kernel = jit.kernel(make(), arguments, len(outputs) + len(per_block))
        _kernels[key] = kernel
    _blocks.run(kernel, head, inputs, outputs, per_block, cut)
