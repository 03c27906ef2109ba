"""What calls of a loss have in common, which is found out once and remembered.

A `Plan` is of a verb and dtypes: it has the form that a kernel is made for, and the kernel. A
`Call` is of a verb, dtypes and shapes: it has a plan, and how the arrays are cut into blocks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..compiler.interrupts import compiler
from ..kernels.args import SURVEY, WRITTEN, Args, Extras
from ..kernels.blocks import over_blocks
from ..kernels.form import Form, Function
from ..kernels.survey import UNBOUNDED, Limits, survey
from . import blocks, threads
from .arrays import FLOAT32, FLOAT64, Array, Format, as_array, format_of
from .family import Batch, Family
from .operands import Operand
from .verbs import Verb

_NO_LIMITS = Limits(UNBOUNDED, UNBOUNDED)
# A loss remembers what it found out about so many combinations of dtypes and shapes.
_MOST_CALLS = 256

# To look it up in NumPy takes longer.
_ndarray = np.ndarray

# The kernels that this process has so far, by key and by whether they are for prange.
_kernels: dict[Any, Any] = {}


class Kernel:
    """A kernel that is made, or found, when it is first called."""

    def __init__(self, key: Any, make: Callable[[type], Function], on_pool: bool) -> None:
        self.key = key
        self.make = make  # writes it as a plain function, for options of a type
        self.on_pool = on_pool  # never for prange, whatever the backend is
        self.compiled: dict[bool, Any] = {}  # for prange, and for all else

    def __call__(self, args: Args, strided: bool, cut: blocks.Cut, work: int) -> None:
        backend = blocks.backend_for(strided, self.on_pool, work)
        prange = backend == "prange"
        compiled = self.compiled.get(prange)
        if compiled is None:
            compiled = self._compile(args, cut, prange)
        blocks.run(backend, compiled, args, strided, cut, work)

    def _compile(self, args: Args, cut: blocks.Cut, prange: bool) -> Any:
        known = _kernels.get((self.key, prange))
        if known is None:
            jit = compiler()
            function = self.make(type(args.options))
            # Parallel loops of Numba know no spans.
            written = None if prange else WRITTEN
            known = jit.load_or_compile(function, blocks.empty(args, cut), prange, written)
            _kernels[self.key, prange] = known
        self.compiled[prange] = known
        return known


class Lay(NamedTuple):
    """How predictions and derivatives lie in memory, where that is special.

    Whether it matters depends on the loss and the verb.
    """

    class_major: bool = False  # all of them are matrices in Fortran's order
    narrow: bool = False  # derivatives go into arrays of float32, and predictions are wider


_AS_MOST = Lay()
# C-contiguous, Fortran-contiguous and aligned, in the bits of NumPy's flags.
_C, _FORTRAN, _ALIGNED = 0x1, 0x2, 0x100


def _lay_of(y_pred: Array, grad_out: Any, hess_out: Any) -> Lay:
    given = [out for out in (grad_out, hess_out) if isinstance(out, np.ndarray)]
    if not given and y_pred.flags.num & _C:
        return _AS_MOST
    class_major = y_pred.ndim == 2 and all(
        array.flags.num & (_C | _FORTRAN | _ALIGNED) == _FORTRAN | _ALIGNED and array.dtype.isnative
        for array in (y_pred, *given)
    )
    narrow = [out.dtype.kind == "f" and out.dtype.itemsize == 4 for out in given]
    return Lay(class_major, True in narrow and all(narrow) and y_pred.dtype != np.float32)


class Plan:
    """What calls of a loss with the same dtypes and the same verb have in common."""

    def __init__(
        self,
        family: Family,
        verb: Verb,
        batch: Batch,
        weight: Any,
        arithmetic: Format,
        rows: str,
        narrow: bool,
    ) -> None:
        threads.check_environment()
        pred = batch.pred if batch.pred.kind == "float" else FLOAT64
        self.true, self.pred, self.arithmetic = batch.true, pred, arithmetic
        self.derivatives = FLOAT32 if narrow and pred.name == "float64" else pred
        self.weight = FLOAT32 if weight == FLOAT32.dtype else FLOAT64
        weighted = weight is not None
        unreduced = verb.writes_loss and family.traits.reduction == "none"
        form = self.form = Form(
            true=batch.true.name,
            pred=pred.name,
            weight=self.weight.name if weighted else "",
            arithmetic=self.arithmetic.name,
            class_ids=batch.class_ids,
            **({} if batch.extras is None else _names(batch.extras)),
            per_sample=verb.writes_samples or unreduced,
            with_grad=verb.writes_elements,
            with_hess=verb.writes_hessian,
            rows=rows,
            output=verb.output,
            labelled=verb.reads_labels,
            n_scores=0 if verb.scores is None else len(verb.scores._fields),
            derivatives="" if self.derivatives is pred else self.derivatives.name,
        )
        self.results = FLOAT64 if form.scored else self.arithmetic
        limits = family.limits(form) if form.labelled else _NO_LIMITS
        self.kernel = Kernel(
            (family.structure(form), form, limits),
            lambda told: over_blocks(survey(form, limits), family.kernel(form), form, told),
            # Scores are for large batches, which gain nothing by prange. And LLVM optimises a
            # parallel loop once more when it is stored, after which the sums of some rows were
            # rounded differently.
            on_pool=form.scored,
        )
        self.reads = limits.reads(form)  # which of its three inputs a survey looks at
        self.surveys = True in self.reads
        # Whether samples may have other weights than 1.
        self.weighs = weighted or limits.ignoring or limits.class_weighted

    def surveyed(self, args: Args) -> Args:
        """The arguments with none but the arrays that a survey reads: others need no copy then."""
        names = "y_true", "y_pred", "weight"
        idle = [name for name, reads in zip(names, self.reads, strict=True) if not reads]
        idle += ["losses_out", "grad_out", "hess_out"]
        rooms = {name: blocks.room(getattr(args, name), 0, 0) for name in idle}
        return args._replace(phase=SURVEY, **rooms)

    def no_results(self) -> tuple[Operand, ...]:
        """What stands for losses, gradients and Hessians where none are written."""
        asked = self.form.per_sample, self.form.with_grad, self.form.with_hess
        dtypes = self.results.dtype, self.derivatives.bits, self.derivatives.bits
        return tuple(np.empty(0, t) if asks else () for asks, t in zip(asked, dtypes, strict=True))


def _names(formats: Extras) -> dict[str, str]:
    return {key: form.name for key, form in formats._asdict().items() if form is not None}


class Call:
    """What calls with the same dtypes and shapes and the same verb have in common."""

    def __init__(
        self,
        family: Family,
        verb: Verb,
        y_true: Array,
        y_pred: Array,
        weight: Array | None,
        extras: Extras | None,
        lay: Lay = _AS_MOST,
    ) -> None:
        batch = self.batch = family.batch(y_true, y_pred, weight, extras)
        width = batch.width
        dtype = None if weight is None else weight.dtype
        arithmetic = family.arithmetic(batch)
        class_major = lay.class_major and batch.pred.kind == "float" and verb.scores is None
        rows = family.rows(width, arithmetic.name, class_major)
        key = verb, batch.true, batch.pred, batch.class_ids, dtype, batch.extras, rows, lay.narrow
        if key not in family.plans:
            family.plans[key] = Plan(family, verb, batch, dtype, arithmetic, rows, lay.narrow)
        plan: Plan = family.plans[key]
        self.plan = plan
        self.cut = blocks.cut_of(
            y_pred.size,
            batch.true_width,
            width,
            plan.form.n_results,
            batch.period,
            family.block_size,
            family.traits.cost,
        )
        n_surveyed = sum(
            self.cut.n_samples * n
            for n, reads in zip((batch.true_width, width, 1), plan.reads, strict=True)
            if reads
        )
        self.survey_work = n_surveyed // 4  # to look at a number takes a quarter of a squared error
        self.args = self.cut.args(family.options(plan.form, width))  # but for arrays
        self.true_shape, self.shape = y_true.shape, y_pred.shape
        averages = self.averages = plan.form.labelled and family.traits.reduction == "mean"
        # Results are yet to be multiplied by 2 to the power of this, as the kernel is told of
        # numbers of classes that are near 1; in a mean over the weights, those in the denominator
        # cancel.
        of_factors, of_weights = family.class_exponents(width) if plan.form.labelled else (0, 0)
        self.exponent = of_factors - of_weights if averages else of_factors
        self.exponent_of_sum, self.exponent_of_weights = of_factors, of_weights
        self.by_weight = plan.weighs and averages
        # What the sum of the losses is divided by, if all samples weigh the same.
        self.denominator = float(self.cut.n_samples) if averages else 1.0
        self.reduces = verb.writes_loss and not plan.form.per_sample
        self.losses_shape = *batch.sample_shape, *((plan.form.n_results,) * plan.form.scored)
        # Whether later calls may be small ones, of arrays that kernels take as they are.
        given = y_true, y_pred, weight, *(extras or ())
        taken = plan.true, plan.pred, plan.weight, *(batch.extras or ())
        self.may_be_small = (
            lay == _AS_MOST
            and self.exponent == 0
            and self.cut.n_blocks > 0
            and self.cut.block * self.cut.width <= blocks.LONG
            and not batch.one_truth
            and (extras is None or extras.probabilities is None)
            and (weight is None or weight.size == self.cut.n_samples)
            and all(
                array is None or array.dtype == form.dtype
                for array, form in zip(given, taken, strict=True)
            )
        )
        self.small: Any = None  # what `short.small_call` makes, once there is a kernel


class Inputs(NamedTuple):
    """The arrays of a call as the user gave them."""

    y_true: Array
    y_pred: Array
    weight: Array | None
    extras: Extras | None
    labelled: bool


def prepare(
    family: Family,
    verb: Verb,
    y_true: Any,
    y_pred: Any,
    weight: Any,
    class_mask: Any = None,
    vector: Any = None,
    grad_out: Any = None,
    hess_out: Any = None,
) -> tuple[Call, Inputs]:
    """What is known of such a call, after all checks that need no look at the numbers."""
    extras = None
    names = family.traits.names
    y_pred = as_array(y_pred, names[1])
    if not verb.reads_labels:
        y_true = y_pred
    if class_mask is not None or vector is not None or type(y_true) is tuple:
        y_true, extras = family.take_extras(y_true, y_pred, class_mask, vector)
    y_true = as_array(y_true, names[0])
    if weight is not None:
        weight = as_array(weight, "sample_weight")
    lay = _lay_of(y_pred, grad_out, hess_out)
    call = _call_like(family, verb, y_true, y_pred, weight, extras, lay)
    if call.batch.one_truth:
        y_true = np.broadcast_to(y_true[..., None], call.shape)
    return call, Inputs(y_true, y_pred, weight, extras, verb.reads_labels)


def with_others(key: Any, weight: Any, probabilities: Any, mask: Any, vector: Any) -> Any:
    """The key of calls with more arrays; no call has the key of what is no array yet."""
    if type(weight) is _ndarray:
        key = *key, weight.dtype, weight.shape
    elif weight is not None:
        key = *key, type(weight)
    if not (probabilities is mask is vector is None):
        key = key, *map(_like, (probabilities, mask, vector))
    return key


def _like(array: Any) -> tuple[Any, ...]:
    return (array.dtype, array.shape) if type(array) is _ndarray else (type(array),)


def _call_like(
    family: Family,
    verb: Verb,
    y_true: Array,
    y_pred: Array,
    weight: Array | None,
    extras: Extras | None,
    lay: Lay,
) -> Call:
    """What is known of such calls, once their dtypes and shapes have been checked."""
    key: Any = verb, y_true.dtype, y_true.shape, y_pred.dtype, y_pred.shape
    if weight is not None or extras is not None:
        key = with_others(key, weight, *(extras or (None, None, None)))
    if lay != _AS_MOST:
        key = key, lay
    call: Call | None = family.calls.get(key)
    if call is None:
        if weight is not None:
            format_of(weight, "sample_weight")  # or raise
        call = Call(family, verb, y_true, y_pred, weight, extras, lay)
        if len(family.calls) >= _MOST_CALLS:
            family.calls.clear()
        family.calls[key] = call
    return call
