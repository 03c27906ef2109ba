"""Losses that are one function, which is compiled, and its numeric options."""

from abc import abstractmethod
from collections import namedtuple
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from ..compiler.snapshot import snapshot
from ..kernels import elementwise
from ..kernels.form import Form
from .loss import Loss
from .options import PerColumn, check_integer, each, held


@cache
def parameter_type(name: str, options: tuple[str, ...]) -> type:
    return namedtuple(name, options)


def _rank(value: Any) -> int:
    """The place of an option in compiled code.

    First options of one number per column, then numbers that are told at each call, and last what
    is a constant of the code: switches, 0 and 1, so that an option that is not used costs nothing.
    """
    return 0 if isinstance(value, PerColumn) else 2 if value in (0, 1) else 1


# Annotations of options that are whole numbers, be they evaluated or not.
_INTEGERS = (int, "int", int | None, "int | None")


class FormulaLoss(Loss):
    """A loss that is defined by one function, which is compiled, and its numeric options."""

    # Properties that the function reads besides the options: numbers that follow from them.
    derived: ClassVar[tuple[str, ...]] = ()
    # Of those and of the options, the ones that are told as float64 whatever the arithmetic is.
    _double: ClassVar[tuple[str, ...]] = ()
    # The options that float32 may round to 0, or to infinity, as the formula has its limit there.
    _limit_at_0: ClassVar[tuple[str, ...]] = ()
    _limit_at_inf: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def _formula(self) -> Callable[..., Any]:
        """The function, whose `self` is a named tuple of the options."""

    def _formula_in(self, form: Form) -> Callable[..., Any]:
        """What is compiled for this form: the function and all that it reads, as first seen."""
        return snapshot(self._formula)

    @cached_property
    def _whole(self) -> frozenset[str]:
        """The options, and what is derived, that are annotated as integers and stay such."""
        kinds: dict[str, Any] = {option.name: option.type for option in fields(self)}
        for name in self.derived:
            getter = getattr(getattr(type(self), name, None), "fget", None)
            kinds[name] = getattr(getter, "__annotations__", {}).get("return")
        return frozenset(name for name, kind in kinds.items() if kind in _INTEGERS)

    def _settled(self, name: str, value: Any) -> Any:
        value = super()._settled(name, value)
        if name in self._whole and value is not None:
            for place, number in each(name, value):
                check_integer(place, number)
        return value

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

    def _ranked(self, rank: int) -> dict[str, Any]:
        return {name: value for name, value in self._parameters.items() if _rank(value) == rank}

    def _ranked_in(self, rank: int, form: Form) -> list[Any]:
        """Values in the precision of the arithmetic."""

        def in_form(name: str, value: Any) -> Any:
            whole = name in self._whole
            if isinstance(value, bool) or (whole and not isinstance(value, PerColumn)):
                return value
            # What is derived was made for the formula, be it 0 or infinite.
            at_0 = name in self.derived or name in self._limit_at_0
            at_inf = name in self.derived or name in self._limit_at_inf
            number = np.float64 if name in self._double else form.number
            return held(name, value, number, at_0, at_inf, whole)

        return [in_form(*item) for item in self._ranked(rank).items()]

    def _parameter_type_in(self, form: Form) -> tuple[type, tuple[Any, ...]]:
        """The named tuple that stands for `self` in compiled code, and its last values."""
        named = parameter_type(type(self).__name__, tuple(self._parameters))
        return named, tuple(self._ranked_in(2, form))

    def _parameters_in(self, form: Form) -> tuple[Any, ...]:
        """The values that are told at each call."""
        told = self._values_told.get(form.arithmetic)
        if told is None:
            told = tuple(self._ranked_in(1, form))
            if columns := self._ranked_in(0, form):
                told = elementwise.per_column(columns, form.number), *told
            self._values_told[form.arithmetic] = told
        return told

    @cached_property
    def _values_told(self) -> dict[str, tuple[Any, ...]]:
        return {}

    def _structure(self) -> Any:
        constants = tuple((value, isinstance(value, bool)) for value in self._ranked(2).values())
        names = tuple((name, name in self._whole) for name in self._parameters)
        return self._formula, type(self).__name__, names, constants, len(self._ranked(0))


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
        own = type(self)
        if own.__annotations__ and "__dataclass_fields__" not in vars(own):
            known += " (what the class declares is no option without @dataclass(frozen=True))"
        return TypeError(
            f"{type(self).__name__}.scalar does not compile for {form.arithmetic} numbers. It may "
            "use arithmetic, comparisons, functions of fastloss.scalar, math and numpy, functions "
            f"of your own that do no more, and of self: {known}. Numba says:\n{error}"
        )
