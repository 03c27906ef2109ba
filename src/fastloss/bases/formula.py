"""The function that a loss is defined by, which is compiled, and the options that it reads."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from ..compiler.snapshot import snapshot
from ..kernels.elementwise import per_column
from ..kernels.form import Form
from ..kernels.tiles import fill
from .options import PerColumn, annotations_of, held, whole_options


@cache
def _parameter_type(name: str, options: tuple[str, ...]) -> type:
    return namedtuple(name, options)


# The places of options in compiled code. First come options of one number per column, then numbers
# that are told at each call, and last what is a constant of the code: switches, 0 and 1, so that an
# option that is not used costs nothing.
_PER_COLUMN, _TOLD, _CONSTANT = range(3)


def _rank(value: Any) -> int:
    return _PER_COLUMN if isinstance(value, PerColumn) else _CONSTANT if value in (0, 1) else _TOLD


@cache
def _of_element(scalar: Callable[..., Any], hessian: Callable[..., Any]) -> Callable[..., Any]:
    """`scalar` with another Hessian."""

    def of_element(self: Any, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        results = scalar(self, y_true, y_pred)
        return results[0], results[1], hessian(self, y_true, y_pred, results)

    return of_element


def _one(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return 1


def _one_at_labels(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return 1 if y_true != 0 else 0


@cache
def _of_row(row: Callable[..., Any], hessian: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a row with another Hessian."""

    def of_row(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any) -> Any:
        loss = row(self, y_true, y_pred, grads, hesses, spare)
        hessian(self, y_true, y_pred, grads, hesses)
        return loss

    return of_row


def _all_ones(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any) -> None:
    fill(hesses, 1.0)


class Formula:
    """A function and the numeric options of its loss, which in compiled code are a named tuple.

    `loss` is a frozen dataclass with the attributes of `Loss` that say how options are told:
    `derived`, `_double`, `_limit_at_0` and `_limit_at_inf`. The words of `hessian` stand for
    functions, which are called with what the function has computed.
    """

    # The Hessian of ones; and what makes a function of a function and another Hessian.
    _ones: ClassVar[Callable[..., Any]]
    _with_hessian: ClassVar[Callable[..., Any]]

    def __init__(self, loss: Any, function: Callable[..., Any], *more: str) -> None:
        """`more` are names of what the kernel puts before the options."""
        self.loss, self.function, self.more = loss, function, more
        others = {"ones": type(self)._ones, **dict(loss.hessians)}
        self.hessian = None if loss.hessian == "exact" else others[loss.hessian]
        self._told: dict[str, tuple[Any, ...]] = {}  # by arithmetic

    @property
    def name(self) -> str:
        return type(self.loss).__name__

    def _function(self, form: Form) -> Callable[..., Any]:
        if form.with_hess and self.hessian is not None:
            found: Callable[..., Any] = type(self)._with_hessian(self.function, self.hessian)
            return found
        return self.function

    def in_form(self, form: Form) -> Callable[..., Any]:
        """What is compiled for this form: the function and all that it reads, as first seen."""
        return snapshot(self._function(form))

    @cached_property
    def whole(self) -> frozenset[str]:
        """The options, and what is derived, that are annotated as integers and stay such."""
        return whole_options(self.loss.__class__, tuple(self.loss.derived))

    @cached_property
    def per_column(self) -> dict[str, PerColumn]:
        """The options that have one number for each column."""
        options = {option.name: getattr(self.loss, option.name) for option in fields(self.loss)}
        return {name: value for name, value in options.items() if isinstance(value, PerColumn)}

    @cached_property
    def n_columns(self) -> int:
        """How many columns the options are for, or 0 if they are for any."""
        return max(map(len, self.per_column.values()), default=0)

    def of_column(self, j: int) -> Any:
        """The loss of one column."""
        if not self.per_column:
            return self.loss
        return replace(self.loss, **{name: value[j] for name, value in self.per_column.items()})

    def _derived(self, name: str) -> Any:
        """What follows from the options, by name; one number per column if there are columns."""
        if not self.per_column:
            return getattr(self.loss, name)
        return PerColumn(getattr(self.of_column(j), name) for j in range(self.n_columns))

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The options that compiled code knows, in its order."""
        options = {option.name: getattr(self.loss, option.name) for option in fields(self.loss)}
        options |= {name: self._derived(name) for name in self.loss.derived}
        known = (bool, int, float, PerColumn)
        found = [item for item in options.items() if isinstance(item[1], known)]
        return dict(sorted(found, key=lambda item: _rank(item[1])))

    def _ranked(self, rank: int) -> dict[str, Any]:
        return {name: value for name, value in self.parameters.items() if _rank(value) == rank}

    def _ranked_in(self, rank: int, form: Form) -> list[Any]:
        """Values in the precision of the arithmetic."""
        loss = self.loss

        def in_form(name: str, value: Any) -> Any:
            whole = name in self.whole
            if isinstance(value, bool) or (whole and not isinstance(value, PerColumn)):
                return value
            # What is derived was made for the formula, be it 0 or infinite.
            at_0 = name in loss.derived or name in loss._limit_at_0
            at_inf = name in loss.derived or name in loss._limit_at_inf
            number = np.float64 if name in loss._double else form.number
            return held(name, value, number, at_0, at_inf, whole)

        return [in_form(*item) for item in self._ranked(rank).items()]

    def type_in(self, form: Form) -> tuple[type, tuple[Any, ...]]:
        """The named tuple that stands for `self` in compiled code, and its last values."""
        named = _parameter_type(self.name, (*self.more, *self.parameters))
        return named, tuple(self._ranked_in(_CONSTANT, form))

    def told_in(self, form: Form) -> tuple[Any, ...]:
        """The values that kernels are told at each call."""
        told = self._told.get(form.arithmetic)
        if told is None:
            told = tuple(self._ranked_in(_TOLD, form))
            if columns := self._ranked_in(_PER_COLUMN, form):
                told = per_column(columns, form.number), *told
            self._told[form.arithmetic] = told
        return told

    @property
    def names_told(self) -> tuple[str, ...]:
        """The names of the options that are told and are one number each."""
        return tuple(self._ranked(_TOLD))

    @property
    def columns_whole(self) -> tuple[bool, ...]:
        """Of each option of one number per column, whether its numbers are integers."""
        return tuple(name in self.whole for name in self._ranked(_PER_COLUMN))

    def structure(self, form: Form) -> Any:
        """A hashable key of all that is compiled in."""
        constants = self._ranked(_CONSTANT).values()
        values = tuple((value, isinstance(value, bool)) for value in constants)
        names = tuple((name, name in self.whole) for name in self.parameters)
        return self._function(form), self.name, names, values, len(self._ranked(_PER_COLUMN))

    def compilation_error(self, form: Form, error: Exception) -> Exception:
        return error


class RowFormula(Formula):
    """A function of a row of labels and a row of predictions."""

    _ones, _with_hessian = _all_ones, _of_row


class ScalarFormula(Formula):
    """The function `scalar` of a loss, of two numbers: the loss and one or two derivatives."""

    _ones, _with_hessian = _one, _of_element

    def __init__(self, loss: Any, outputs: dict[str, Callable[..., Any]] | None = None) -> None:
        """`outputs` are functions that are compiled in place of `scalar`, by outputs of verbs."""
        super().__init__(loss, type(loss).scalar)
        self.outputs = outputs or {}

    def _function(self, form: Form) -> Callable[..., Any]:
        return self.outputs.get(form.output) or super()._function(form)

    def _plain_results(self, number: Any = np.float64) -> Any:
        """What `scalar` returns in plain Python, or the error: there 1 / 0 is one."""
        with np.errstate(all="ignore"):
            try:
                return self.of_column(0).scalar(number(0.5), number(0.5))
            except Exception as error:
                return error

    @property
    def has_hessian(self) -> bool:
        results = self._plain_results()
        return isinstance(results, tuple) and len(results) == 3

    @property
    def gives_hessian(self) -> bool:
        """Whether there is a Hessian of any kind."""
        return self.hessian is not None or self.has_hessian

    def check_results(self, form: Form) -> None:
        """Raise TypeError if `scalar` does not return what it should."""
        results = self._plain_results(form.number)
        if isinstance(results, Exception):  # compiled code may yet do without
            return
        name = f"{self.name}.scalar"
        if not isinstance(results, tuple) or len(results) not in (2, 3):
            got = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
            raise TypeError(
                f"{name} returned {got}, but must return two or three numbers: "
                "(loss, gradient) or (loss, gradient, hessian)"
            )
        if form.with_hess and len(results) == 2 and self.hessian is None:
            raise TypeError(
                f"{name} returns (loss, gradient): for grad_hess it must return "
                '(loss, gradient, hessian), or build the loss with hessian="ones"'
            )

    def compilation_error(self, form: Form, error: Exception) -> Exception:
        known = ", ".join(self.parameters) or "no options"
        own = type(self.loss)
        if annotations_of(own) and "__dataclass_fields__" not in vars(own):
            known += " (what the class declares is no option without @dataclass(frozen=True))"
        elif not self.parameters:
            known += " (they are fields with an annotation that hold a number or a switch)"
        return TypeError(
            f"{self.name}.scalar does not compile for {form.arithmetic} numbers. It may "
            "use arithmetic, comparisons, functions of fastloss.scalar, math and numpy, functions "
            f"of your own that do no more, and of self: {known}. Numba says:\n{error}"
        )


class ClassFormula(ScalarFormula):
    """The function `scalar` of a class, for losses that add it up over the classes.

    A class that is not the label has no derivatives.
    """

    _ones = _one_at_labels
