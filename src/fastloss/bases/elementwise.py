"""Losses of independent elements, from which users derive their own."""

import math
import re
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from textwrap import indent
from typing import Any, ClassVar

import numpy as np

from ..call.arrays import Array, as_array, format_of
from ..call.family import UNBOUNDED, Batch, Family
from ..call.shapes import check_same_shape, check_weight_shape
from ..call.verbs import GRAD_HESS, VALUE_AND_GRAD
from ..kernels import elementwise, single
from ..kernels.args import Extras
from ..kernels.form import Form
from ..kernels.storage import FLOATS, STORED
from .check import random_in
from .compiled import ElementFunctions
from .constant import check_any, counted, mean, root
from .formula import ScalarFormula
from .loss import Loss
from .options import Numbers, PerColumn, annotations_of, numbers


class Elements(Family):
    """The family of losses of independent elements, each of which has a scalar function."""

    block_size = elementwise.BLOCK

    def __init__(self, loss: "ElementwiseLoss") -> None:
        super().__init__(loss._traits)
        self.formula = ScalarFormula(loss, loss._outputs)
        # What a function of one element gives.
        self.verb = GRAD_HESS if self.formula.gives_hessian else VALUE_AND_GRAD
        self.one_truth = loss._one_truth

    def _check_columns(self, y_pred: Array) -> None:
        """Raise ValueError unless y_pred has the columns that the options are for."""
        n_columns = self.formula.n_columns
        if not n_columns or y_pred.shape[-1:] == (n_columns,):
            return
        columns = f"{y_pred.shape[-1]} columns on the last axis" if y_pred.ndim else "no columns"
        raise ValueError(
            f"{next(iter(self.formula.per_column))} has {n_columns} numbers, but "
            f"{self.traits.names[1]} of shape {y_pred.shape} has {columns}: give one number for "
            "each column"
        )

    def batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        names, n_columns = self.traits.names, self.formula.n_columns
        true, pred = format_of(y_true, names[0]), format_of(y_pred, names[1])
        self._check_columns(y_pred)
        shape = y_pred.shape
        one_truth = self.one_truth and n_columns > 0 and y_true.shape == shape[:-1]
        if not one_truth:
            check_same_shape(y_true, y_pred, names)
        if weight is not None and weight.shape != shape[:1]:
            check_weight_shape(weight, shape, "element (or, for n rows, one for each row)")
        return Batch(true, pred, shape, 1, 1, period=max(n_columns, 1), one_truth=one_truth)

    def kernel(self, form: Form) -> Callable[..., Any]:
        formula = self.formula
        formula.check_results(form)
        surveyed = form.labelled and self.limits(form).reads(form)[0]
        return elementwise.elementwise(
            formula.in_form(form), *formula.type_in(form), form, surveyed, formula.columns_whole
        )

    def one_element(self, form: Form) -> Callable[..., Any]:
        """The loss and its derivatives of two numbers, as a plain function."""
        formula = self.formula
        formula.check_results(form)
        named, constants = formula.type_in(form)
        values = *formula.told_in(form), *constants
        return single.one_element(formula.in_form(form), named, values, form)

    def structure(self, form: Form) -> Any:
        return self.formula.structure(form)

    def options(self, form: Form, width: int) -> tuple[Any, ...]:
        return self.formula.told_in(form)

    def examples(self, rng: Any) -> tuple[Array, Array]:
        n_columns = self.formula.n_columns
        shape = (100, n_columns) if n_columns else (500,)
        true_range, pred_range = self.traits.y_true_range, self.traits.y_pred_range
        return random_in(rng, true_range, shape), random_in(rng, pred_range, shape)

    @property
    def has_hessian(self) -> bool:
        return self.formula.has_hessian

    def compilation_error(self, form: Form, error: Exception) -> Exception:
        return self.formula.compilation_error(form, error)


def _best(loss: "ElementwiseLoss", y_true: Array, weight: Array) -> float:
    counts = weight != 0
    check_any(counts)
    return float(loss._constant(y_true[counts], weight[counts]))


_NARROW = [name for name in FLOATS if STORED[name].arithmetic == "float32"]
# For the docstrings of losses, with a line for each part that some of them do without.
_SECTION = """\
Arguments of the verbs, both of shape (...), any real dtype and any layout:

- `{true}`: {true_numbers}.
- `{pred}`: {pred_numbers}.

The arithmetic is that of float32 where `{pred}` are {narrow}
{wider}and that of float64 elsewhere. The loss is a float, or with
`reduction="none"` an array of shape (...), and derivatives have the shape and the floating dtype
of `{pred}`.
{several}
Raises TypeError for arrays that hold no real numbers, and ValueError for shapes that differ,
{out_of_range}for weights that are negative or not finite, and for options out of their
range, all before anything is written. NaN is no error: it gives NaN.

"""
_SEVERAL = """\
An option that is a number may also be a sequence of c numbers, one for each column of `{pred}`,
shape (..., c).
"""


def _section(loss: type["ElementwiseLoss"]) -> str:
    """Arguments, dtypes and errors of a loss."""
    true, pred = loss.names
    ranges = loss.y_true_range, loss.y_pred_range
    kinds = set(annotations_of(loss).values())
    return _SECTION.format(
        true=true,
        pred=pred,
        true_numbers=_numbers_in(ranges[0]),
        pred_numbers=_numbers_in(ranges[1]),
        narrow=" or ".join(", ".join(_NARROW).rsplit(", ", 1)),
        wider=f"(and `{true}` no wider), " if loss.y_true_widens else "",
        several=_SEVERAL.format(pred=pred) if {Numbers, Numbers | None} & kinds else "",
        out_of_range="" if set(ranges) == {UNBOUNDED} else "for numbers out of range, ",
    )


def _numbers_in(limits: Any) -> str:
    if not isinstance(limits, tuple):
        return "numbers in a range that follows from the options"
    low, high = limits
    if limits == UNBOUNDED:
        return "any numbers"
    return f"numbers in [{low:g}, {high:g}{']' if high < math.inf else ')'}"


class ElementwiseLoss(Loss):
    """A loss of independent elements: one scalar function, from which all else follows.

    Derive from it, give the options as fields of a frozen dataclass, and write

        def scalar(self, y_true, y_pred):
            return loss, gradient              # or: return loss, gradient, hessian

    for two numbers, with derivatives by `y_pred`. The function is compiled, in float32 and in
    float64; a number written in it takes the precision of the data, as in NumPy, and whole numbers
    stay whole among themselves: `table[int(y_true) + 1]` and `k // 2` are what they are in Python.
    `self` has the options that are numbers or switches, in the precision of the data, and the
    properties that the class names in `derived`, which are computed in float64 before they are
    rounded: where `1 - self.q` would cancel, say. What is annotated as `int` has to be an integer
    and is one there, too, as in `range(self.n)` or `table[self.n]`. An option that float32 would
    round to 0 or to infinity is refused with float32 data. Call `exp`, `log`, `log1p`, `sigmoid`
    and `softplus` from `fastloss.scalar`, which compile to SIMD code; those of `math` work and are
    several times slower. Set `y_true_range` and `y_pred_range` if only some numbers make sense.
    `check_gradient()` compares the derivatives with finite differences.

    What `scalar` reads from outside, global numbers and functions and variables of an enclosing
    function, is read once in each process: when a loss of the class is first called, by whatever
    verb. All verbs go on with that, in plain Python, too. Make an option of what is to change.
    Functions of `numba.njit` are compiled anew with it. What is not plain Python or such a
    function, say one of `numba.vectorize`, works, but the kernel is compiled in each process.

    An option may be a sequence of c numbers instead of one number: then y_pred has c columns on its
    last axis, shape (..., c), and in `scalar` the option is the number of the column. The loss
    keeps the sequence as a tuple, which is what a check in `__post_init__` sees. Every column has
    the losses and derivatives, to the last bit, that a loss with its number alone would give; a
    mean is over all elements. It is a ValueError if there are not as many numbers as columns.

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

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # What the docstrings of this package's losses have in common is written once, and put into
        # each, before the name under which the loss is ready made.
        found = re.search("^( *)Ready made: ", cls.__doc__ or "", re.MULTILINE)
        if found and cls.__doc__:
            section = indent(_section(cls), found[1])
            cls.__doc__ = cls.__doc__[: found.start()] + section + cls.__doc__[found.start() :]

    # Whether one truth may serve all columns, where these have options of their own.
    _one_truth: ClassVar[bool] = False
    # Functions in place of `scalar` for outputs of verbs that are not the loss, by output.
    _outputs: ClassVar[dict[str, Callable[..., Any]]] = {}

    @abstractmethod
    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, ...]:
        """The loss of two numbers and its first, or first and second, derivative by `y_pred`."""

    def _describe(self) -> Family:
        return Elements(self)

    def constant(self, y_true: Any, /, *, sample_weight: Any = None) -> Any:
        family = self._family
        assert isinstance(family, Elements)
        formula, labels = family.formula, as_array(y_true, self.names[0])
        shape, n_columns = labels.shape, formula.n_columns
        # Labels of one axis are samples, however many they are.
        if self._one_truth and n_columns and (len(shape) < 2 or shape[-1] != n_columns):
            shape = (*shape, n_columns)
        numbers, weight, _ = counted(family, labels, shape, sample_weight)
        if len(shape) < 2 and not n_columns:
            return _best(self, numbers.ravel(), weight.ravel())
        numbers, weight = (part.reshape(-1, shape[-1]) for part in (numbers, weight))
        results = np.empty(shape[-1])
        for j in range(results.size):
            try:
                results[j] = _best(formula.of_column(j), numbers[:, j], weight[:, j])
            except ValueError as error:
                raise ValueError(f"column {j}: {error}") from None
        return results

    constant.__doc__ = Loss.constant.__doc__

    def _constant(self, y_true: Array, weight: Array) -> float:
        """The best constant for one column of labels, all of a weight above 0.

        This is for losses of users: it is found from their gradient.
        """
        loss = replace(self, reduction="sum")

        def slope(x: float) -> float:
            y_pred = np.full(y_true.size, x)
            return float(loss.grad(y_true, y_pred, sample_weight=weight).sum())

        low, high = self.y_pred_range
        return root(slope, min(max(mean(y_true, weight), low), high), low, high)

    def _settled(self, name: str, value: Any) -> Any:
        return super()._settled(name, numbers(name, value))

    def _settle(self) -> None:
        super()._settle()
        options = vars(self).items()
        sizes = {name: len(value) for name, value in options if isinstance(value, PerColumn)}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise ValueError(f"{found} numbers: give each one number for each column")

    def jit(self, dtype: Any = "float64") -> ElementFunctions:
        """The loss as a function that your own `@njit` functions can call: `jit(dtype).scalar`.

            scalar(y_true, y_pred) -> (loss, gradient)    or (loss, gradient, hessian)

        takes and returns numbers of `dtype`, float32 or float64, and is not reduced: what the verbs
        give for one element with `reduction="sum"`, to the last bit. Whether labels are in range is
        not checked. It can be called from Python, too, and its options are constants of its code.
        The first call compiles it; meanwhile Ctrl-C waits, but for a call from your own compiled
        code, which Numba compiles as it does without this package.

        Raises TypeError for other dtypes and ValueError if options differ between columns.

        >>> import fastloss as fl
        >>> fl.Huber(delta=2.0).jit().scalar(0.0, 3.0)
        (4.0, 2.0, 0.0)
        """
        family = self._family
        assert isinstance(family, Elements)
        for name, value in family.formula.per_column.items():
            raise ValueError(
                f"{name} has {len(value)} numbers, one for each column, but a function of one "
                "element needs one: build a loss for each column"
            )
        return self._functions(
            dtype, lambda: ElementFunctions(family, family.one_element, family.verb, dtype)
        )
