"""One call at work: its arrays as kernels take them, and what kernels find out about them."""

import math

import numpy as np

from ..compiler.flags import CompilationError
from ..kernels.args import SURVEY, Extras
from ..kernels.survey import BAD_PROBABILITY, BAD_WEIGHT, BAD_Y_PRED, BAD_Y_TRUE
from . import blocks
from .arrays import Array
from .family import Batch, Family
from .messages import report_class_id, report_range, report_weight
from .operands import Operand, Strided, canonical
from .plan import Call, Inputs

NO_EXTRAS = Extras(None, None, None)
_NO_ARRAYS = Extras((), (), ())


class Work:
    """The arrays of a call, and for each block the sums of its weights and of its losses."""

    __slots__ = ("args", "call", "family", "inputs", "losses", "strided", "weights")

    def __init__(
        self,
        family: Family,
        call: Call,
        inputs: Inputs,
        results: tuple[Operand, ...] | None = None,
    ) -> None:
        """`results` are losses, gradient and Hessian, or None where none are to be written."""
        self.family, self.call, self.inputs = family, call, inputs
        n_blocks = call.cut.n_blocks
        # Of each block the sum of its weights, and that of its losses.
        self.weights, self.losses = np.empty(n_blocks), np.empty(n_blocks)
        class_major = call.plan.form.class_major
        y_pred = canonical(inputs.y_pred, call.plan.pred, class_major)
        unread = class_major and not inputs.labelled
        losses_out, grad_out, hess_out = call.plan.no_results() if results is None else results
        self.args = call.args.with_arrays(
            blocks.streams(grad_out, hess_out, inputs.y_pred),
            y_pred if unread else canonical(inputs.y_true, call.plan.true),
            y_pred,
            _weight(call, inputs),
            *_extras(call, inputs),
            losses_out,
            grad_out,
            hess_out,
            self.weights,
            self.losses,
        )
        self.strided = Strided in set(map(type, self.args))
        if call.cut.block * call.cut.width > blocks.LONG:
            n_bytes = family.scratch * call.plan.arithmetic.dtype.itemsize
            blocks.ask_for_memory(call.cut, n_bytes, self.args)

    def run(self, phase: int, scale: float) -> None:
        """Let the kernel look at the blocks, compute them, or both; say why it does not compile."""
        call, strided, work = self.call, self.strided, self.call.cut.work
        args = self.args.asking(phase, scale)
        if phase == SURVEY:
            # What has limits or weighs is looked at, and nothing else need be copied.
            args, work = call.plan.surveyed(args), call.survey_work
            strided = Strided in set(map(type, args))
        if strided and call.plan.form.class_major:
            args = blocks.by_rows(args)
        try:
            call.plan.kernel(args, strided, call.cut, work)
        except CompilationError as error:
            raise self.family.compilation_error(call.plan.form, error) from error

    def shift_weights(self, shift: int) -> None:
        """Take weights times 2**-shift from now on."""
        assert self.inputs.weight is not None
        form = self.call.plan.weight
        weight = _spread(self.inputs.weight, self.call.batch)
        shifted = Strided(weight, form.dtype, form.bits, shift)
        self.args = self.args._replace(weight=shifted)
        self.strided = True

    def total_weight(self) -> float:
        """The sum of the weights of the samples that count, unless the survey found an error.

        It is infinite where float64 cannot hold it.
        """
        weights = self.weights
        if weights.size == 1:
            weight = float(weights[0])
            if weight >= 0.0:
                return weight
        for b in np.flatnonzero(weights < 0.0):
            samples = self.call.cut.samples(int(b), int(b) + 1)
            report(self.family, self.call.batch, self.inputs, int(-weights[b]), *samples)
        return blocks.pairwise_sum(weights.tolist())


def report(
    family: Family, batch: Batch, inputs: Inputs, faults: int, start: int, stop: int
) -> None:
    """Raise the error for the first illegal number of the samples from start to stop."""
    first, last = start * batch.width, stop * batch.width
    name = family.traits.names[0]
    probabilities, mask, _ = inputs.extras or NO_EXTRAS
    sparse = probabilities is not None
    k = batch.true_width
    if faults & BAD_Y_TRUE and batch.class_ids:
        remedy = "give rows to be skipped any of them, and the weight 0"
        if sparse:
            remedy = "a class that a row lacks may be any of them, with the probability 0"
        elif family.marks_rows:
            remedy = (
                "rows to be skipped are marked by ignore_index, which is "
                f"{family.ignore_index}: build the loss with the mark that your labels have"
            )
        report_class_id(
            inputs.y_true,
            start * k,
            stop * k,
            batch.width,
            None if sparse else family.ignore_index,
            family.class_mask,
            mask,
            f"{name}[0]" if sparse else name,
            remedy,
        )
    elif faults & BAD_Y_TRUE:
        report_range(inputs.y_true, first, last, family.traits.y_true_range, name)
    elif faults & BAD_Y_PRED:
        family.report_y_pred(inputs.y_pred, first, last)
    elif faults & BAD_PROBABILITY:
        report_range(probabilities, start * k, stop * k, (0.0, 1.0), f"{name}[1]")
    elif faults & BAD_WEIGHT:
        assert inputs.weight is not None
        # To how many samples each weight belongs.
        n = math.prod(batch.sample_shape[inputs.weight.ndim :])
        report_weight(inputs.weight, start // n, -(-stop // n))


def check_numbers(family: Family, batch: Batch, inputs: Inputs) -> None:
    """Raise what a survey of the labels and weights would, without a kernel."""
    y_true, weight, faults = inputs.y_true, inputs.weight, 0
    probabilities = None if inputs.extras is None else inputs.extras.probabilities
    low, high = family.traits.y_true_range
    if batch.class_ids:
        bad = (y_true < 0) | (y_true >= batch.width)
        if family.class_mask is not None:
            bad |= family.class_mask[np.where(bad, 0, y_true)] == 0
        if probabilities is None and family.ignore_index is not None:
            bad &= y_true != family.ignore_index
    else:
        bad = (y_true < low) | (y_true > high)
    if bad.any():
        faults |= BAD_Y_TRUE
    elif probabilities is not None and np.any((probabilities < 0) | (probabilities > 1)):
        faults |= BAD_PROBABILITY
    if weight is not None and not np.all((weight >= 0) & (weight < np.inf)):
        faults |= BAD_WEIGHT
    if faults:
        report(family, batch, inputs, faults, 0, math.prod(batch.sample_shape))


def _weight(call: Call, inputs: Inputs) -> Operand:
    if inputs.weight is None:
        return ()
    return canonical(_spread(inputs.weight, call.batch), call.plan.weight)


def _extras(call: Call, inputs: Inputs) -> Extras:
    """The inputs that few losses know, as kernels take them."""
    given, formats = inputs.extras, call.batch.extras
    if given is None or formats is None:
        return _NO_ARRAYS
    return Extras._make(
        () if extra is None else canonical(extra, form)
        for extra, form in zip(given, formats, strict=True)
    )


def _spread(weight: Array, batch: Batch) -> Array:
    """One weight for each sample."""
    shape = batch.sample_shape
    if weight.shape == shape:
        return weight
    return np.broadcast_to(weight.reshape(-1, *[1] * (len(shape) - 1)), shape)
