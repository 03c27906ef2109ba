"""What every loss can do: its verbs, and how its data lies.

`Loss` has the verbs and the reductions. `ElementwiseLoss`, which users derive their own losses
from, and `RowwiseLoss` say how the arrays belong together and which loop runs over them. The
losses themselves are options, a docstring and a formula.
"""

import math
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from ._arrays import (
    INT64,
    Array,
    as_array,
    check_classes,
    check_same_shape,
    check_weight_shape,
    format_of,
    report_range,
)
from ._evaluate import Batch, Call, Plan, evaluate
from ._finite_differences import check_derivatives, random_in
from ._functions import ElementFunctions, RowFunctions
from ._options import PerColumn, as_weights, check_integer, numbers, plain
from .kernels import elementwise, rows, rowwise
from .kernels.form import Extras, Form
from .kernels.survey import Limits

_UNBOUNDED = (-math.inf, math.inf)
_Functions = TypeVar("_Functions")
NO_CLASS_WEIGHTS = as_weights("class_weight", ())


@dataclass(frozen=True)
class Loss(ABC):
    """A loss: an immutable object whose fields are its options and whose verbs take the data.

    Every verb takes the labels first and the predictions second, of any real dtype and layout.
    `sample_weight` multiplies the loss of each sample; a sample of weight 0 is left out, be its
    loss infinite or NaN (but its label must be a label). `normalizer` replaces the denominator of
    a mean: pass the number of samples of the whole when a call sees a part of it (gradient
    accumulation, data-parallel sums). `class_mask` is for losses of logits over classes; see
    `CrossEntropy`.
    """

    reduction: Literal["mean", "sum", "none"] = field(default="mean", kw_only=True)

    # What messages call the two arguments, and the range that the numbers of each must lie in.
    names: ClassVar[tuple[str, str]] = ("y_true", "y_pred")
    y_true_range: ClassVar[tuple[float, float]] = _UNBOUNDED
    y_pred_range: ClassVar[tuple[float, float]] = _UNBOUNDED
    # Whether float64 (or wide integer) labels make the arithmetic float64 when predictions are
    # float32. Labels between 0 and 1 do not: their rounding is that of the result.
    y_true_widens: ClassVar[bool] = True
    # Numbers of y_pred in a block.
    block_size: ClassVar[int]
    # How many times as long an element takes as one of squared error, about; from it follows
    # whether a call has enough to do for several threads.
    cost: ClassVar[int] = 2
    # The class id whose rows are left out.
    _ignore_index: ClassVar[int | None] = None
    # Which classes are in, 1 or 0 for each.
    _class_mask: ClassVar[Array | None] = None

    def __post_init__(self) -> None:
        for option in fields(self):
            object.__setattr__(self, option.name, plain(getattr(self, option.name)))
        if self.reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f'reduction is {self.reduction!r}, but must be one of "mean", "sum", "none"'
            )

    # -----------------------------------------------------------------------------------------
    # The verbs

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: Array | None = None,
    ) -> Any:
        """The loss.

        Returns a float, or with `reduction="none"` the loss of each sample: an array of the dtype
        of the arithmetic (float64 if the data is, else float32), written into `out` if given, which
        may be `y_pred` itself if it has that shape and dtype.

        Raises TypeError for dtypes and ValueError for shapes, labels, probabilities and weights
        that make no sense, before anything is written.
        """
        if out is not None and self.reduction != "none":
            raise ValueError(
                f'out is for the loss of each sample, and with reduction="{self.reduction}" the '
                'loss is one number: leave out= away, or build the loss with reduction="none"'
            )
        return evaluate(
            self,
            "value",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask=class_mask,
            losses_out=out,
        )[0]

    def value_and_grad(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: Array | None = None,
    ) -> tuple[Any, Array]:
        """The loss and its gradient with respect to `y_pred`, in one pass.

        The gradient is that of the reduced loss, or of the sum with `reduction="none"`. It has the
        shape and the floating dtype of `y_pred` and is written into `out` if given, which may be
        `y_pred` itself.
        """
        value, grad, _ = evaluate(
            self,
            "value_and_grad",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask=class_mask,
            grad_out=out,
        )
        return value, grad

    def grad(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: Array | None = None,
    ) -> Array:
        """The gradient alone; `value_and_grad` costs the same."""
        return evaluate(  # type: ignore[no-any-return]
            self,
            "grad",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask=class_mask,
            grad_out=out,
        )[1]

    def grad_hess(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """The gradient and the diagonal of the Hessian with respect to `y_pred`, in one pass.

        `out` is a pair of arrays for the two; the first may be `y_pred` itself.
        """
        if out is not None and not (isinstance(out, tuple) and len(out) == 2):
            raise TypeError(f"out must be a pair of arrays (grad, hess), got {type(out).__name__}")
        grad_out, hess_out = out or (None, None)
        _, grad, hess = evaluate(
            self,
            "grad_hess",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask=class_mask,
            grad_out=grad_out,
            hess_out=hess_out,
        )
        return grad, hess

    def check_gradient(self, y_true: Any = None, y_pred: Any = None) -> None:
        """Compare gradient and Hessian with finite differences of loss and gradient, in float64.

        Without data, at random places in the ranges of the loss. Raises ValueError that names the
        worst place; a kink there, where derivatives jump, is no error of the loss.

        >>> import fastloss as fl
        >>> fl.mse.check_gradient()
        """
        if (y_true is None) != (y_pred is None):
            raise TypeError(f"give both {self.names[0]} and {self.names[1]}, or neither")
        if y_true is None:
            y_true, y_pred = self._examples(np.random.default_rng(0))
        check_derivatives(self, as_array(y_true, self.names[0]), as_array(y_pred, self.names[1]))

    # -----------------------------------------------------------------------------------------
    # What families and losses supply

    @abstractmethod
    def _examples(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Random data to check the derivatives at."""

    @abstractmethod
    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        """How the arrays belong together, after all checks that need no look at the numbers."""

    @abstractmethod
    def _kernel(self, form: Form) -> Callable[..., Any]:
        """What is done with a block in this form, as a plain function."""

    @abstractmethod
    def _structure(self) -> Any:
        """A hashable key of all that `_kernel` compiles in."""

    @abstractmethod
    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        """What the kernel is told of this loss at each call."""

    def _limits(self, form: Form) -> Limits:
        """What is looked at before anything is written."""
        return Limits(self.y_true_range, self.y_pred_range)

    def _take_extras(
        self, y_true: Any, y_pred: Array, class_mask: Any, vector: Any
    ) -> tuple[Any, Extras | None]:
        """The labels themselves, and the inputs that few losses know."""
        if class_mask is not None:
            raise ValueError(
                f"class_mask is for losses of logits over classes, and {type(self).__name__} is "
                "none: leave samples out by giving them the sample_weight 0"
            )
        return y_true, None

    def _report_y_pred(self, y_pred: Array, start: int, stop: int) -> None:
        """Raise ValueError for the first illegal prediction in [start, stop)."""
        report_range(y_pred, start, stop, self.y_pred_range, self.names[1])

    def _rows(self, width: int) -> str:
        """Which of several kernels serves rows of this width."""
        return ""

    def _has_hessian(self) -> bool:
        return True

    def _compilation_error(self, form: Form, error: Exception) -> Exception:
        """What to tell the user when the kernel does not compile."""
        return error

    # What was worked out for earlier calls.

    @cached_property
    def _plans(self) -> dict[Any, Plan]:
        return {}

    @cached_property
    def _calls(self) -> dict[Any, Call]:
        return {}

    @cached_property
    def _made_functions(self) -> dict[Any, Any]:
        return {}

    def _functions(self, make: Callable[..., _Functions], *arguments: Any) -> _Functions:
        """`make(self, *arguments)`, once: users' functions are compiled with what it returns."""
        found: _Functions | None = self._made_functions.get(arguments)
        if found is None:
            found = self._made_functions[arguments] = make(self, *arguments)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {option.name: getattr(self, option.name) for option in fields(self)}


class LogitLoss(Loss):
    """A loss of logits, which stand for probabilities."""

    def proba(self, logits: Any, /, *, class_mask: Any = None, out: Array | None = None) -> Array:
        """The probabilities that the logits stand for.

        Returns an array of the shape and the floating dtype of `logits`, written into `out` if
        given, which may be `logits` itself.

        >>> import fastloss as fl
        >>> fl.cross_entropy.proba([[0.0, 1000.0]])
        array([[0., 1.]])
        """
        return evaluate(  # type: ignore[no-any-return]
            self, "proba", None, logits, None, None, class_mask=class_mask, grad_out=out
        )[1]

    def log_proba(
        self, logits: Any, /, *, class_mask: Any = None, out: Array | None = None
    ) -> Array:
        """The logarithms of the probabilities, exact where those are rounded to 0 or 1.

        Returns an array as `proba` does.

        >>> import fastloss as fl
        >>> fl.cross_entropy.log_proba([[0.0, 1000.0]])
        array([[-1000.,     0.]])
        """
        return evaluate(  # type: ignore[no-any-return]
            self, "log_proba", None, logits, None, None, class_mask=class_mask, grad_out=out
        )[1]


@cache
def _parameter_type(name: str, options: tuple[str, ...]) -> type:
    return namedtuple(name, options)


def _rank(value: Any) -> int:
    """The place of an option in compiled code.

    First options of one number per column, then numbers that are told at each call, and last what
    is a constant of the code: switches, 0 and 1, so that an option that is not used costs nothing.
    """
    return 0 if isinstance(value, PerColumn) else 2 if value in (0, 1) else 1


class FormulaLoss(Loss):
    """A loss that is defined by one function, which is compiled, and its numeric options."""

    # Properties that the function reads besides the options: numbers that follow from them.
    derived: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def _formula(self) -> Callable[..., Any]:
        """The function, whose `self` is a named tuple of the options."""

    @cached_property
    def _per_column(self) -> dict[str, PerColumn]:
        """The options that have one number for each column."""
        options = {option.name: getattr(self, option.name) for option in fields(self)}
        return {name: value for name, value in options.items() if isinstance(value, PerColumn)}

    @cached_property
    def _n_columns(self) -> int:
        """How many columns the options are for, or 0 if they are for any."""
        return max(map(len, self._per_column.values()), default=0)

    def _of_column(self, j: int) -> Any:
        """The loss of one column."""
        if not self._per_column:
            return self
        own: dict[str, Any] = {name: value[j] for name, value in self._per_column.items()}
        return replace(self, **own)

    def _derived(self, name: str) -> Any:
        """A property that follows from the options: with those of columns, from each column's."""
        if not self._per_column:
            return getattr(self, name)
        return PerColumn(getattr(self._of_column(j), name) for j in range(self._n_columns))

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        """The options that compiled code knows, by rank."""
        options = {option.name: getattr(self, option.name) for option in fields(self)}
        options |= {name: self._derived(name) for name in self.derived}
        known = (bool, int, float, PerColumn)
        found = [item for item in options.items() if isinstance(item[1], known)]
        return dict(sorted(found, key=lambda item: _rank(item[1])))

    def _ranked(self, rank: int) -> list[Any]:
        return [value for value in self._parameters.values() if _rank(value) == rank]

    def _parameter_type_in(self, form: Form) -> tuple[type, tuple[Any, ...]]:
        """The named tuple that stands for `self` in compiled code, and its last values.

        Numbers have the precision of the arithmetic.
        """
        named = _parameter_type(type(self).__name__, tuple(self._parameters))
        return named, tuple(
            value if isinstance(value, bool) else form.number(value) for value in self._ranked(2)
        )

    def _parameters_in(self, form: Form) -> tuple[Any, ...]:
        """The values that are told at each call."""
        told = self._values_told.get(form.arithmetic)
        if told is None:
            told = tuple(form.number(value) for value in self._ranked(1))
            if columns := self._ranked(0):
                told = elementwise.per_column(columns, form.number), *told
            self._values_told[form.arithmetic] = told
        return told

    @cached_property
    def _values_told(self) -> dict[str, tuple[Any, ...]]:
        return {}

    def _structure(self) -> Any:
        constants = tuple((value, isinstance(value, bool)) for value in self._ranked(2))
        names, n_per_column = tuple(self._parameters), len(self._ranked(0))
        return self._formula, type(self).__name__, names, constants, n_per_column


class ScalarLoss(FormulaLoss):
    """A loss that is defined by a function of two numbers."""

    @abstractmethod
    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, ...]:
        """The loss of two numbers and its first, or first and second, derivative by `y_pred`."""

    @property
    def _formula(self) -> Callable[..., Any]:
        return type(self).scalar

    def _plain_results(self, number: Any = np.float64) -> Any:
        """What `scalar` returns in plain Python, or the error: there 1 / 0 is one."""
        with np.errstate(all="ignore"):
            try:
                return self._of_column(0).scalar(number(0.5), number(0.5))
            except Exception as error:
                return error

    def _check_results(self, form: Form) -> None:
        """Raise TypeError if `scalar` does not return what it should."""
        results = self._plain_results(form.number)
        if isinstance(results, Exception):  # compiled code may yet do without
            return
        name = f"{type(self).__name__}.scalar"
        if not isinstance(results, tuple) or len(results) not in (2, 3):
            got = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
            raise TypeError(
                f"{name} returned {got}, but must return two or three numbers: "
                "(loss, gradient) or (loss, gradient, hessian)"
            )
        if form.with_hess and len(results) == 2:
            raise TypeError(
                f"{name} returns (loss, gradient): for grad_hess it must return "
                "(loss, gradient, hessian)"
            )

    def _has_hessian(self) -> bool:
        results = self._plain_results()
        return isinstance(results, tuple) and len(results) == 3

    def _compilation_error(self, form: Form, error: Exception) -> Exception:
        known = ", ".join(self._parameters) or "no options"
        return TypeError(
            f"{type(self).__name__}.scalar does not compile for {form.arithmetic} numbers. It may "
            "use arithmetic, comparisons, functions of fastloss.scalar, math and numpy, functions "
            f"of your own that do no more, and of self: {known}. Numba says:\n{error}"
        )


class ElementwiseLoss(ScalarLoss):
    """A loss of independent elements: one scalar function, from which all else follows.

    Derive from it, give the options as fields of a frozen dataclass, and write

        def scalar(self, y_true, y_pred):
            return loss, gradient              # or: return loss, gradient, hessian

    for two numbers, with derivatives by `y_pred`. The function is compiled, in float32 and in
    float64; a number written in it takes the precision of the data, as in NumPy. `self` has the
    options that are numbers or switches, and the properties that the class names in `derived`. Call
    `exp`, `log`, `log1p`, `sigmoid` and `softplus` from `fastloss.scalar`, which compile to SIMD
    code; those of `math` work and are several times slower. Set `y_true_range` and `y_pred_range`
    if only some numbers make sense. `check_gradient()` compares the derivatives with finite
    differences.

    An option may be a sequence of c numbers instead of one number: then y_pred has c columns on its
    last axis, shape (..., c), and in `scalar` the option is the number of the column. The loss
    keeps the sequence as a tuple, which is what a check in `__post_init__` sees. Every column has
    the losses and derivatives, to the last bit, that a loss with its number alone would give; a
    mean is that over all elements. As many numbers as there are not columns: ValueError.

    >>> from dataclasses import dataclass
    >>> import fastloss as fl
    >>> from fastloss.scalar import log1p
    >>> @dataclass(frozen=True)
    ... class Cauchy(fl.ElementwiseLoss):
    ...     scale: float = 1.0
    ...
    ...     def scalar(self, y_true, y_pred):
    ...         r = (y_pred - y_true) / self.scale
    ...         return log1p(r * r), 2 * r / (self.scale * (1 + r * r))
    >>> Cauchy(scale=2.0).grad([0.0, 0.0], [2.0, -2.0])
    array([ 0.25, -0.25])
    """

    block_size = elementwise.BLOCK
    # Whether one truth may serve all columns, where these have options of their own.
    _one_truth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for option in fields(self):
            value = numbers(option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)
        super().__post_init__()
        if any(len(value) != self._n_columns for value in self._per_column.values()):
            sizes = ", ".join(f"{name} has {len(v)}" for name, v in self._per_column.items())
            raise ValueError(f"{sizes} numbers: give each one number for each column")

    def _check_columns(self, y_pred: Array) -> None:
        """Whether y_pred has the columns that the options are for."""
        if not self._n_columns or y_pred.shape[-1:] == (self._n_columns,):
            return
        columns = f"{y_pred.shape[-1]} columns on the last axis" if y_pred.ndim else "no columns"
        raise ValueError(
            f"{next(iter(self._per_column))} has {self._n_columns} numbers, but {self.names[1]} of "
            f"shape {y_pred.shape} has {columns}: give one number for each column"
        )

    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        true = format_of(y_true, self.names[0])
        pred = format_of(y_pred, self.names[1])
        self._check_columns(y_pred)
        shape = y_pred.shape
        one_truth = self._one_truth and self._n_columns > 0 and y_true.shape == shape[:-1]
        if not one_truth:
            check_same_shape(y_true, y_pred, self.names)
        if weight is not None and weight.shape != shape[:1]:
            check_weight_shape(weight, shape, "element (or, for n rows, one for each row)")
        return Batch(true, pred, shape, 1, 1, period=max(self._n_columns, 1), one_truth=one_truth)

    def _examples(self, rng: np.random.Generator) -> tuple[Array, Array]:
        shape = (100, self._n_columns) if self._n_columns else (500,)
        return random_in(rng, self.y_true_range, shape), random_in(rng, self.y_pred_range, shape)

    def _kernel(self, form: Form) -> Callable[..., Any]:
        self._check_results(form)
        surveyed = self._limits(form).reads(form)[0]
        parameters = self._parameter_type_in(form)
        n_per_column = len(self._ranked(0))
        return elementwise.elementwise(type(self).scalar, *parameters, form, surveyed, n_per_column)

    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        return self._parameters_in(form)

    def jit(self, dtype: Any = "float64") -> ElementFunctions:
        """The loss as a function that your own `@njit` functions can call: `jit(dtype).scalar`.

            scalar(y_true, y_pred) -> (loss, gradient)    or (loss, gradient, hessian)

        takes and returns numbers of `dtype`, float32 or float64, and is not reduced: what the verbs
        give for one element with `reduction="sum"`, to the last bit. Whether labels are in range is
        not checked. It can be called from Python, too, and its options are constants of its code.

        Raises TypeError for other dtypes and ValueError if options differ between columns.

        >>> import fastloss as fl
        >>> fl.Huber(delta=2.0).jit().scalar(0.0, 3.0)
        (4.0, 2.0, 0.0)
        """
        for name, value in self._per_column.items():
            raise ValueError(
                f"{name} has {len(value)} numbers, one for each column, but a function of one "
                "element needs one: build a loss for each column"
            )
        return self._functions(ElementFunctions, dtype)


class RowwiseLoss(Loss):
    """A loss of rows over classes, the last axis of `y_pred`; all axes before it are samples.

    `y_true` has one integer class id for each sample, or labels of the shape of `y_pred`.
    """

    block_size = rowwise.BLOCK
    y_true_range = (0.0, 1.0)
    y_true_widens = False

    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        true = format_of(y_true, self.names[0])
        pred = format_of(y_pred, self.names[1])
        check_classes(y_true, true, y_pred, pred, self.names)
        sample_shape = y_pred.shape[:-1]
        class_ids = y_true.ndim < y_pred.ndim
        if class_ids and true.kind == "float":  # an empty list: there is nothing to mistake
            true = INT64
        if weight is not None:
            check_weight_shape(weight, sample_shape, "row")
        width = y_pred.shape[-1]
        return Batch(true, pred, sample_shape, 1 if class_ids else width, width, class_ids)

    def _examples(self, rng: np.random.Generator) -> tuple[Array, Array]:
        return rng.integers(0, 4, 100), random_in(rng, self.y_pred_range, (100, 4))

    def jit(
        self, n_classes: int, dtype: Any = "float64", *, soft_labels: bool = False
    ) -> RowFunctions:
        """The loss as functions of one row that your own `@njit` functions can call.

        With `f = loss.jit(n_classes, dtype)`,

            f.value(y_true, y_pred) -> loss
            f.value_and_grad(y_true, y_pred, grad_out) -> loss

        where `y_pred` and `grad_out` are contiguous arrays of shape (n_classes,) and of `dtype`,
        float32 or float64. `grad_out` may be `y_pred` itself. `y_true` is a class id or, with
        `soft_labels`, a row of labels of the same shape and dtype. The loss, a float64, and the
        gradient are those that the verbs give for such a row with `reduction="sum"`, to the last
        bit. Both are NaN if a label is out of range or an array has another length; memory outside
        is never touched. The functions can be called from Python, too.

        Each call costs some 100 ns besides the arithmetic, and more for few classes, of which the
        verbs compute many rows at a time: whole batches are theirs.

        Raises TypeError for other dtypes or labels that the loss does not take.

        >>> import numpy as np
        >>> import fastloss as fl
        >>> value_and_grad = fl.cross_entropy.jit(2).value_and_grad
        >>> grad = np.empty(2)
        >>> round(value_and_grad(0, np.array([0.0, 0.0]), grad), 12), grad
        (0.69314718056, array([-0.5,  0.5]))
        """
        check_integer("n_classes", n_classes)
        return self._functions(RowFunctions, n_classes, dtype, soft_labels)


class RowLoss(RowwiseLoss, FormulaLoss):
    """A loss of whole rows: one function of a row of labels and a row of predictions.

    `_formula(self, y_true, y_pred, grads, hesses, spare)` returns the loss of the row in float64
    and fills `grads` and `hesses`, which are empty where they are not wanted. Its arguments are
    memory of its own in the arithmetic dtype, which it may overwrite, `spare` as much as two rows;
    where labels are class ids, `y_true` is an integer. `self.n_classes` is the length of the row
    without its padding.
    """

    # A label and a prediction that add nothing to a loss, with which rows are padded to whole
    # vectors: LLVM computes what is left over one by one. None: rows are not padded.
    padding: ClassVar[tuple[float, float] | None] = (0.0, 0.0)

    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        check_same_shape(y_true, y_pred, self.names)
        return super()._batch(y_true, y_pred, weight, extras)

    def _examples(self, rng: np.random.Generator) -> tuple[Array, Array]:
        shape = (100, 4)
        return random_in(rng, self.y_true_range, shape), random_in(rng, self.y_pred_range, shape)

    def _parameter_type_in(self, form: Form) -> tuple[type, tuple[Any, ...]]:
        _, constants = super()._parameter_type_in(form)
        return _parameter_type(type(self).__name__, ("n_classes", *self._parameters)), constants

    def _kernel(self, form: Form) -> Callable[..., Any]:
        limits, parameters = self._limits(form), self._parameter_type_in(form)
        counting = limits.ignoring, limits.class_weighted
        return rows.by_row(self._formula, *parameters, self.padding, form, *counting)

    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        return 0, NO_CLASS_WEIGHTS, *self._parameters_in(form)
