"""How a call runs: checks, outputs, survey, denominator, losses, result."""

import math
import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..compiler.flags import CompilationError
from ..compiler.interrupts import compiler
from ..kernels.blocks import over_blocks
from ..kernels.form import BOTH, COMPUTE, SURVEY, Extras, Form, Function
from ..kernels.survey import (
    BAD_PROBABILITY,
    BAD_WEIGHT,
    BAD_Y_PRED,
    BAD_Y_TRUE,
    LEAST_WEIGHT,
    MOST_WEIGHT,
    UNBOUNDED,
    Limits,
    survey,
)
from . import blocks, threads
from .arrays import FLOAT32, FLOAT64, Array, Format, as_array, format_of
from .messages import report_class_id, report_range, report_weight
from .operands import Operand, Strided, canonical, times_power
from .outputs import check_no_overlap, check_out
from .short import SmallCall, small_call

if TYPE_CHECKING:
    from ..bases.loss import Loss

Verb = Literal[
    "value",
    "value_and_grad",
    "grad",
    "grad_hess",
    "hvp",
    "proba",
    "log_proba",
    "logsumexp",
    "scores",
    "scores_and_spread",
    "pair_scores",
    "unlabelled_pair_scores",
]
# Verbs that know no labels: what stands for them is y_pred.
UNLABELLED = frozenset({"proba", "log_proba", "logsumexp", "unlabelled_pair_scores"})
_PER_SAMPLE = frozenset(
    {"logsumexp", "scores", "scores_and_spread", "pair_scores", "unlabelled_pair_scores"}
)
# Verbs of the loss and its derivatives, which are what a kernel writes unless it is told otherwise.
_PLAIN = frozenset({"value", "value_and_grad", "grad", "grad_hess"})
_NO_LIMITS = Limits(UNBOUNDED, UNBOUNDED)

# For every small call: to look it up in NumPy takes longer.
_ndarray = np.ndarray
# Of how many combinations of dtypes and shapes a loss remembers what it found out about them.
_MOST_CALLS = 256
# The largest exponent of 2 that derivatives are multiplied by in the arithmetic.
_MOST_EXPONENT = {"float32": 100, "float64": 900}
_LARGEST = float(np.finfo(np.float64).max)

NO_MEAN = "the mean of no samples is nan: there are no rows, or all are ignored or of weight 0"

# The kernels made so far in this process, by key and by whether they are for prange.
_kernels: dict[Any, Any] = {}


def _names(formats: Extras) -> dict[str, str]:
    return {key: form.name for key, form in formats._asdict().items() if form is not None}


class Batch(NamedTuple):
    """How the arrays of a call belong together."""

    true: Format
    pred: Format
    sample_shape: tuple[int, ...]
    true_width: int  # elements of y_true in a sample
    width: int  # elements of y_pred in a sample
    class_ids: bool = False  # y_true has class ids
    period: int = 1  # after how many samples what the kernel does begins again
    one_truth: bool = False  # y_true has one number for each row of y_pred
    # The formats of other inputs, if there are any.
    extras: Extras | None = None


class Power(NamedTuple):
    """A number times 2**exponent, which float64 may not hold."""

    number: float
    exponent: int


class Inputs(NamedTuple):
    """The arrays of a call as the user gave them."""

    y_true: Array
    y_pred: Array
    weight: Array | None
    extras: Extras | None
    labelled: bool


_NO_EXTRAS = Extras(None, None, None)


class Kernel:
    """A kernel that is made, or found, when it is first called."""

    def __init__(
        self, key: Any, make: Callable[[], tuple[Function, Function]], on_pool: bool
    ) -> None:
        self.key = key
        self.make = make  # writes what is done with a block, as plain functions
        self.on_pool = on_pool  # whatever the backend is
        self.compiled: dict[bool, Any] = {}  # for prange, and for all else

    def __call__(
        self,
        head: tuple[Any, ...],
        arrays: Sequence[Operand],
        extras: Sequence[Operand],
        strided: bool,
        results: tuple[Array, Array],
        cut: blocks.Cut,
        work: int,
    ) -> None:
        backend = blocks.backend_for(strided or self.on_pool, work)
        prange = backend == "prange"
        compiled = self.compiled.get(prange)
        if compiled is None:
            compiled = self._compile(head, arrays, extras, results, cut, prange)
        blocks.run(backend, compiled, head, arrays, extras, strided, results, cut, work)

    def _compile(
        self,
        head: tuple[Any, ...],
        arrays: Sequence[Operand],
        extras: Sequence[Operand],
        results: tuple[Array, Array],
        cut: blocks.Cut,
        prange: bool,
    ) -> Any:
        known = _kernels.get((self.key, prange))
        if known is None:
            jit = compiler()
            examples = [blocks.room(array, 0, 0) for array in arrays]
            more = [blocks.room(array, 0, 0) for array in extras]
            arguments = (*head, 0, 0, *blocks.arguments(cut, examples, more, results))
            function = over_blocks(*self.make(), len(extras) > 0)
            known = jit.load_or_compile(function, arguments, prange)
            _kernels[self.key, prange] = known
        self.compiled[prange] = known
        return known


class Plan:
    """What calls of a loss with the same dtypes and the same verb have in common."""

    def __init__(
        self, loss: "Loss", verb: Verb, batch: Batch, weight: Any, arithmetic: Format, rows: str
    ) -> None:
        threads.check_environment()
        pred = batch.pred if batch.pred.kind == "float" else FLOAT64
        self.true, self.pred, self.arithmetic = batch.true, pred, arithmetic
        self.weight = FLOAT32 if weight == FLOAT32.dtype else FLOAT64
        weighted = weight is not None
        form = self.form = Form(
            true=batch.true.name,
            pred=pred.name,
            weight=self.weight.name if weighted else "",
            arithmetic=self.arithmetic.name,
            class_ids=batch.class_ids,
            **({} if batch.extras is None else _names(batch.extras)),
            per_sample=verb in _PER_SAMPLE
            or (verb.startswith("value") and loss.reduction == "none"),
            with_grad=verb != "value" and verb not in _PER_SAMPLE,
            with_hess=verb == "grad_hess",
            rows=rows,
            output="" if verb in _PLAIN else verb,
        )
        self.results = FLOAT64 if form.scored else self.arithmetic
        limits = loss._limits(form) if form.labelled else _NO_LIMITS
        self.kernel = Kernel(
            (loss._structure(), form, limits),
            lambda: (survey(form, limits), loss._kernel(form)),
            # Scores are for large batches, which gain nothing by prange. And LLVM optimises a
            # parallel loop once more when it is stored, after which the sums of some rows were
            # rounded differently.
            on_pool=form.scored,
        )
        self.reads = limits.reads(form)  # which of its three inputs a survey looks at
        self.surveys = True in self.reads
        # Whether samples may have other weights than 1.
        self.weighs = weighted or limits.ignoring or limits.class_weighted

    def surveyed(self, arrays: tuple[Operand, ...]) -> tuple[Operand, ...]:
        """Of the arrays of a call those that a survey reads; others need not be copied then."""
        return tuple(
            array if reads else blocks.room(array, 0, 0)
            for array, reads in zip(arrays, (*self.reads, False, False, False), strict=True)
        )

    def no_results(self) -> tuple[Operand, ...]:
        """What stands for losses, gradients and Hessians where none are written."""
        asked = self.form.per_sample, self.form.with_grad, self.form.with_hess
        dtypes = self.results.dtype, self.pred.bits, self.pred.bits
        return tuple(np.empty(0, t) if asks else () for asks, t in zip(asked, dtypes, strict=True))


class Call:
    """What calls with the same dtypes and shapes and the same verb have in common."""

    def __init__(
        self,
        loss: "Loss",
        verb: Verb,
        y_true: Array,
        y_pred: Array,
        weight: Array | None,
        extras: Extras | None,
    ) -> None:
        batch = self.batch = loss._batch(y_true, y_pred, weight, extras)
        width = batch.width
        dtype = None if weight is None else weight.dtype
        arithmetic = loss._arithmetic(batch)
        rows = loss._rows(width, arithmetic.name)
        key = verb, batch.true, batch.pred, batch.class_ids, dtype, batch.extras, rows
        if key not in loss._plans:
            loss._plans[key] = Plan(loss, verb, batch, dtype, arithmetic, rows)
        plan = self.plan = loss._plans[key]
        self.cut = blocks.cut_of(
            y_pred.size,
            batch.true_width,
            width,
            plan.form.n_results,
            batch.period,
            loss.block_size,
            loss.cost,
        )
        self.survey_work = sum(
            self.cut.n_samples * n
            for n, reads in zip((batch.true_width, width, 1), plan.reads, strict=True)
            if reads
        )
        self.options = loss._options(plan.form, width)
        self.true_shape, self.shape = y_true.shape, y_pred.shape
        averages = plan.form.labelled and loss.reduction == "mean"
        # Results are yet to be multiplied by 2 to this, as the kernel is told of numbers of classes
        # that are near 1; in a mean over the weights, those in the denominator cancel.
        of_factors, of_weights = loss._class_exponents(width) if plan.form.labelled else (0, 0)
        self.exponent = of_factors - of_weights if averages else of_factors
        self.exponent_of_sum, self.exponent_of_weights = of_factors, of_weights
        self.by_weight = plan.weighs and averages
        # What the sum of the losses is divided by, if all samples weigh the same.
        self.denominator = float(self.cut.n_samples) if averages else 1.0
        self.reduces = verb.startswith("value") and not plan.form.per_sample
        # Whether later calls may be small ones: no conversion, nothing but labels and predictions.
        self.may_be_small = (
            weight is None
            and batch.extras is None
            and not batch.one_truth
            and plan.form.labelled
            and not (plan.form.per_sample or plan.form.with_hess)
            and self.exponent == 0
            and (y_true.dtype, y_pred.dtype) == (plan.true.dtype, plan.pred.dtype)
            and self.cut.n_blocks > 0
        )
        self.small: SmallCall | None = None

    def prepare_small(self) -> None:
        """Make later calls short, now that the kernel is there."""
        code = self.plan.kernel.compiled.get(False)
        if code is None or self.cut.work > blocks.SERIAL:
            return
        plan = self.plan
        self.small = small_call(
            code,
            self.options,
            self.cut,
            (self.true_shape, self.shape),
            (plan.true, plan.pred),
            plan.form.with_grad,
            None if plan.surveys and self.by_weight else self.denominator,
            plan.surveys,
            self.reduces,
        )

    def run(
        self,
        loss: "Loss",
        phase: int,
        scale: float,
        streamed: bool,
        arrays: tuple[Operand, ...],
        extras: tuple[Operand, ...],
        strided: bool,
        results: tuple[Array, Array],
    ) -> None:
        head = phase, self.options, scale, streamed
        work = self.survey_work if phase == SURVEY else self.cut.work
        try:
            self.plan.kernel(head, arrays, extras, strided, results, self.cut, work)
        except CompilationError as error:
            raise loss._compilation_error(self.plan.form, error) from error

    def survey(
        self,
        loss: "Loss",
        scale: float,
        arrays: tuple[Operand, ...],
        extras: tuple[Operand, ...],
        results: tuple[Array, Array],
    ) -> None:
        """Run the survey alone."""
        arrays = self.plan.surveyed(arrays)
        strided = Strided in map(type, (*arrays, *extras))
        self.run(loss, SURVEY, scale, False, arrays, extras, strided, results)


def _call_like(
    loss: "Loss",
    verb: Verb,
    y_true: Array,
    y_pred: Array,
    weight: Array | None,
    extras: Extras | None,
) -> Call:
    """What is known of such calls, once their dtypes and shapes have been checked."""
    key: Any = verb, y_true.dtype, y_true.shape, y_pred.dtype, y_pred.shape
    if weight is not None:
        key = *key, weight.dtype, weight.shape
    if extras is not None:
        key = *key, *(extra is not None and (extra.dtype, extra.shape) for extra in extras)
    call = loss._calls.get(key)
    if call is None:
        call = Call(loss, verb, y_true, y_pred, weight, extras)
        if len(loss._calls) >= _MOST_CALLS:
            loss._calls.clear()
        loss._calls[key] = call
    return call


def evaluate(
    loss: "Loss",
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
    """What is written for samples, and for elements, and Hessian, as far as they are asked for.

    Nothing that the user can see is written before the last check has passed. What most calls pass
    goes by place: by name it takes longer.
    """
    if (
        type(y_true) is type(y_pred) is _ndarray
        and weight is normalizer is class_mask is vector is losses_out is hess_out is None
    ):
        known = loss._calls.get((verb, y_true.dtype, y_true.shape, y_pred.dtype, y_pred.shape))
        if known is not None and known.small is not None:
            results = known.small(y_true, y_pred, grad_out)
            if results is not None:
                return results
    call, inputs = prepare(loss, verb, y_true, y_pred, weight, class_mask, vector)
    plan, cut = call.plan, call.cut
    form, pred = plan.form, plan.pred

    private = losses_out is None and grad_out is None and hess_out is None
    losses: Operand = ()
    grad: Operand = ()
    hess: Operand = ()
    if form.per_sample:
        shape = call.batch.sample_shape
        if form.scored:
            shape = *shape, form.n_results
        losses_out = _output(losses_out, "out", shape, plan.results, loss, inputs)
        losses = canonical(losses_out, plan.results)
    if form.with_grad:
        name = "out[0]" if form.with_hess else "out"
        grad_out = _output(grad_out, name, call.shape, pred, loss, inputs)
        grad = canonical(grad_out, pred)
        if form.with_hess:
            hess_out = _output(hess_out, "out[1]", call.shape, pred, loss, inputs, in_place=False)
            check_no_overlap(hess_out, "out[1]", grad_out, "out[0]")
            hess = canonical(hess_out, pred)
    arrays, others = _canonical(call, inputs)
    arrays = *arrays, losses, grad, hess

    if cut.block * cut.width > blocks.LONG:
        n_bytes = loss._scratch * plan.arithmetic.dtype.itemsize
        blocks.ask_for_memory(cut, n_bytes, (*arrays, *others))
    weights, partials = sums = np.empty(cut.n_blocks), np.empty(cut.n_blocks)
    streamed = blocks.streams(grad, inputs.y_pred)
    by_weight, denominator = call.by_weight, call.denominator
    # Weights are taken times 2**-shift, and results times 2**exponent.
    shift, exponent = 0, call.exponent
    if normalizer is not None:
        by_weight, exponent = False, call.exponent_of_sum
        denominator, shift = _checked_normalizer(loss, normalizer)
    if exponent and form.per_sample and form.weight == "float64":
        # Weights and numbers of classes may cancel, and what is written has to hold their product.
        shift, exponent = -exponent, 0

    surveyed = plan.surveys
    strided = Strided in map(type, (*arrays, *others))
    # A kernel of one block looks at all of it before it writes; and results that nobody else has a
    # hand on may be dropped should an error be found.
    at_once = shift == exponent == 0 and (
        (cut.n_blocks == 1 and not strided) or (private and not (by_weight and form.with_grad))
    )
    if not (surveyed and at_once and by_weight):
        scale = 1.0 / denominator if denominator else 0.0
    else:
        scale = math.nan  # the kernel finds it out
    total = 1.0
    computed = False
    if surveyed:
        if at_once:
            call.run(loss, BOTH, scale, streamed, arrays, others, strided, sums)
        else:
            call.survey(loss, scale, arrays, others, sums)
        total = _total_weight(loss, call, inputs, weights)
        if cut.n_blocks == 1:
            computed = at_once and (_in_reach(total) or (total < 1.0 and not by_weight))
        else:
            computed = at_once and bool(np.all(weights <= MOST_WEIGHT))
        if by_weight and not _in_reach(total) and total == total:
            computed, shift = False, _exponent_of(total)
    if shift and inputs.weight is None:
        total, exponent = _times_power(total, -shift), exponent - shift
    elif shift:
        # Not so far that weights would lose digits or be infinite.
        largest = _exponent_of(total)
        taken = max(largest - 500, min(shift, largest + 500))
        exponent -= shift - taken
        arrays = _shifted(arrays, taken, call, inputs)
        strided = True
        call.survey(loss, 0.0, arrays, others, sums)
        total = _total_weight(loss, call, inputs, weights)
    if by_weight:
        denominator = total
    late = 0
    if not computed:
        scale = 1.0 / denominator if denominator else 0.0
        if exponent or not _in_reach(total):
            # Of what the arithmetic cannot hold, a part comes late.
            most = _MOST_EXPONENT[plan.arithmetic.name]
            early = max(min(exponent, most - _exponent_of(total * scale), 900), -900)
            scale, late = math.ldexp(scale, early), exponent - early
        call.run(loss, COMPUTE, scale, streamed, arrays, others, strided, sums)
    if late:
        for out in (grad_out, hess_out):
            if out is not None:
                times_power(out, late)
    if exponent and losses_out is not None:
        times_power(losses_out, exponent)
    if call.may_be_small and call.small is None:
        call.prepare_small()
    value: Any = losses_out
    if call.reduces:
        value = blocks.pairwise_sum(partials.tolist()) / denominator if denominator else _no_mean()
        if exponent:
            value = _times_power(value, exponent)
    return value, grad_out, hess_out


def prepare(
    loss: "Loss",
    verb: Verb,
    y_true: Any,
    y_pred: Any,
    weight: Any,
    class_mask: Any = None,
    vector: Any = None,
) -> tuple[Call, Inputs]:
    """What is known of such a call, after all checks that need no look at the numbers."""
    extras = None
    y_pred = as_array(y_pred, loss.names[1])
    if class_mask is not None or vector is not None or type(y_true) is tuple:
        y_true, extras = loss._take_extras(y_true, y_pred, class_mask, vector)
    y_true = y_pred if verb in UNLABELLED else as_array(y_true, loss.names[0])
    if weight is not None:
        weight = as_array(weight, "sample_weight")
        format_of(weight, "sample_weight")
    call = _call_like(loss, verb, y_true, y_pred, weight, extras)
    if call.batch.one_truth:
        y_true = np.broadcast_to(y_true[..., None], call.shape)
    return call, Inputs(y_true, y_pred, weight, extras, call.plan.form.labelled)


def _canonical(call: Call, inputs: Inputs) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """Labels, predictions and weights as kernels take them, and the inputs that few losses know."""
    plan, weight = call.plan, inputs.weight
    arrays = (
        canonical(inputs.y_true, plan.true),
        canonical(inputs.y_pred, plan.pred),
        () if weight is None else canonical(_spread(weight, call.batch), plan.weight),
    )
    if call.batch.extras is None:
        return arrays, ()
    assert inputs.extras is not None
    return arrays, tuple(
        () if extra is None else canonical(extra, form)
        for extra, form in zip(inputs.extras, call.batch.extras, strict=True)
    )


def _in_reach(total: float) -> bool:
    """Whether samples of so much weight are computed with as they are."""
    return LEAST_WEIGHT <= total <= MOST_WEIGHT or total == 0.0


def _shifted(
    arrays: tuple[Operand, ...], shift: int, call: Call, inputs: Inputs
) -> tuple[Operand, ...]:
    """The arrays of a call with weights times 2**-shift."""
    assert inputs.weight is not None
    form = call.plan.weight
    weight = Strided(_spread(inputs.weight, call.batch), form.dtype, form.bits, shift)
    return *arrays[:2], weight, *arrays[3:]


def _exponent_of(number: float) -> int:
    return math.frexp(min(number, _LARGEST))[1]


def _times_power(number: float, exponent: int) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(number, exponent))


def total_weight(loss: "Loss", verb: Verb, y_true: Any, y_pred: Any, weight: Any) -> Power:
    """The denominator of the mean, by which a call of this verb divides.

    Predictions matter only where they have a range; NaN stands for all that are legal.
    """
    call, inputs = prepare(loss, verb, y_true, y_pred, weight)
    if not call.by_weight:
        return Power(call.denominator, 0)
    total, shift = _survey(loss, call, inputs), 0
    if not _in_reach(total) and total == total:
        shift = _exponent_of(total)
        total = math.ldexp(total, -shift) if weight is None else _survey(loss, call, inputs, shift)
    return Power(total, shift + call.exponent_of_weights)


def check(
    loss: "Loss",
    verb: Verb,
    y_true: Any,
    y_pred: Any,
    weight: Any,
    class_mask: Any = None,
    vector: Any = None,
) -> None:
    """Raise what a call of this verb raises before it computes anything."""
    call, inputs = prepare(loss, verb, y_true, y_pred, weight, class_mask, vector)
    if call.plan.surveys:
        _survey(loss, call, inputs)


def _survey(loss: "Loss", call: Call, inputs: Inputs, shift: int = 0) -> float:
    """The sum of the weights of the samples that count, times 2**-shift, or an error."""
    arrays, others = _canonical(call, inputs)
    if shift:
        arrays = _shifted(arrays, shift, call, inputs)
    arrays = *arrays, *call.plan.no_results()
    weights, partials = np.empty(call.cut.n_blocks), np.empty(call.cut.n_blocks)
    call.survey(loss, 0.0, arrays, others, (weights, partials))
    return _total_weight(loss, call, inputs, weights)


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
    inputs: Inputs,
    in_place: bool = True,
) -> Array:
    """`out`, if it is fit to be written, or a new array. In place: it may be y_pred."""
    if out is None:
        return np.empty(shape, form.dtype)
    check_out(out, name, shape, form.dtype)
    check_no_overlap(out, name, inputs.y_pred, loss.names[1], in_place)
    if inputs.labelled:
        check_no_overlap(out, name, inputs.y_true, loss.names[0])
    if inputs.weight is not None:
        check_no_overlap(out, name, inputs.weight, "sample_weight")
    probabilities, mask, vector = inputs.extras or _NO_EXTRAS
    for other, other_name in (
        (probabilities, f"{loss.names[0]}[1]"),
        (mask, "class_mask"),
        (vector, "vector"),
    ):
        if other is not None:
            check_no_overlap(out, name, other, other_name)
    return out


def _total_weight(loss: "Loss", call: Call, inputs: Inputs, weights: Array) -> float:
    """The sum of the weights of the samples that count, unless the survey found an error.

    It is infinite where float64 cannot hold it.
    """
    if weights.size == 1:
        weight = float(weights[0])
        if weight >= 0.0:
            return weight
    for b in np.flatnonzero(weights < 0.0):
        _report(loss, call, inputs, int(-weights[b]), *call.cut.samples(int(b), int(b) + 1))
    return blocks.pairwise_sum(weights.tolist())


def _report(loss: "Loss", call: Call, inputs: Inputs, report: int, start: int, stop: int) -> None:
    """Raise the error for the first illegal number of the samples from start to stop."""
    batch = call.batch
    first, last = start * batch.width, stop * batch.width
    name = loss.names[0]
    _, mask, _ = inputs.extras or _NO_EXTRAS
    if report & BAD_Y_TRUE and batch.class_ids:
        k = batch.true_width
        sparse = inputs.extras is not None and inputs.extras.probabilities is not None
        remedy = "give rows to be skipped any of them, and the weight 0"
        if sparse:
            remedy = "a class that a row lacks may be any of them, with the probability 0"
        elif hasattr(loss, "ignore_index"):
            remedy = (
                f"rows to be skipped are marked by ignore_index, which is {loss._ignore_index}: "
                "build the loss with the mark that your labels have"
            )
        report_class_id(
            inputs.y_true,
            start * k,
            stop * k,
            batch.width,
            None if sparse else loss._ignore_index,
            loss._class_mask,
            mask,
            f"{name}[0]" if sparse else name,
            remedy,
        )
    elif report & BAD_Y_TRUE:
        report_range(inputs.y_true, first, last, loss.y_true_range, name)
    elif report & BAD_Y_PRED:
        loss._report_y_pred(inputs.y_pred, first, last)
    elif report & BAD_PROBABILITY:
        k = batch.true_width
        assert inputs.extras is not None
        probabilities = inputs.extras.probabilities
        report_range(probabilities, start * k, stop * k, (0.0, 1.0), f"{name}[1]")
    elif report & BAD_WEIGHT:
        assert inputs.weight is not None
        # To how many samples each weight belongs.
        n = math.prod(batch.sample_shape[inputs.weight.ndim :])
        report_weight(inputs.weight, start // n, -(-stop // n))


def _checked_normalizer(loss: "Loss", normalizer: float | Power) -> Power:
    """The denominator as a number in reach."""
    if isinstance(normalizer, Power):
        return normalizer
    if loss.reduction != "mean":
        raise ValueError(
            "normalizer replaces the denominator of a mean, but this loss has "
            f'reduction="{loss.reduction}": leave normalizer= away, or build it with "mean"'
        )
    if isinstance(normalizer, bool) or not isinstance(normalizer, Real):
        raise TypeError(f"normalizer must be a number, got {type(normalizer).__name__}")
    if not 0.0 < normalizer < math.inf:
        raise ValueError(f"normalizer is {normalizer}, but must be positive and finite")
    number = float(normalizer)
    return Power(number, 0) if _in_reach(number) else Power(*math.frexp(number))


def _no_mean() -> float:
    warnings.warn(NO_MEAN, RuntimeWarning, stacklevel=4)  # the line that called the verb
    return math.nan
