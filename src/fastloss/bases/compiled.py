"""Losses as functions that users call from their own compiled code: what `Loss.jit` returns."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..call.family import Family
from ..call.plan import Call
from ..call.verbs import VALUE, VALUE_AND_GRAD, Verb
from ..compiler.interrupts import compiler
from ..kernels import single
from ..kernels.args import BOTH, WRITTEN
from ..kernels.form import Form

_FLOATS = ("float32", "float64")


def _checked(dtype: Any) -> np.dtype[Any]:
    checked: np.dtype[Any] = np.dtype(dtype)
    if checked.name not in _FLOATS or not checked.isnative:
        raise TypeError(f"dtype is {checked}, but compiled code knows float32 and float64")
    return checked


class ElementFunctions:
    """An elementwise loss as a function of two numbers."""

    def __init__(
        self,
        family: Family,
        one_element: Callable[[Form], Callable[..., Any]],
        verb: Verb,
        dtype: Any,
    ) -> None:
        self._family, self._one_element, self._verb = family, one_element, verb
        self._dtype = _checked(dtype)

    @cached_property
    def scalar(self) -> Any:
        """`scalar(y_true, y_pred) -> (loss, gradient[, hessian])`."""
        jit = compiler()
        number = np.zeros((), self._dtype)
        form = Call(self._family, self._verb, number, number, None, None).plan.form
        return jit.entry(self._one_element(form))


class RowFunctions:
    """A row-wise loss as functions of one row."""

    def __init__(self, family: Family, n_classes: int, dtype: Any, soft_labels: bool) -> None:
        """`family` is that of the loss with the reduction "sum"."""
        self._family = family
        self._row = np.zeros(n_classes, _checked(dtype))
        self._label: Any = self._row if soft_labels else np.zeros((), np.int64)
        batch = self._call(VALUE).batch  # or raises what there is to raise
        if not batch.class_ids:  # one number for each row, or for each element
            self._label = self._label.astype(dtype)

    def _call(self, verb: Verb) -> Call:
        return Call(self._family, verb, self._label, self._row, None, None)

    @cached_property
    def value(self) -> Any:
        """`value(y_true, y_pred) -> loss`."""
        return self._entry(VALUE)

    @cached_property
    def value_and_grad(self) -> Any:
        """`value_and_grad(y_true, y_pred, grad_out) -> loss`."""
        return self._entry(VALUE_AND_GRAD)

    def _entry(self, verb: Verb) -> Any:
        jit = compiler()
        call = self._call(verb)
        form = call.plan.form
        args = call.args._replace(
            phase=BOTH,
            y_true=np.atleast_1d(self._label),
            y_pred=self._row,
            grad_out=self._row if form.with_grad else (),
            weights=np.empty(1),
            partials=np.empty(1),
        )
        function = call.plan.kernel.make(type(args.options))
        kernel = jit.specialised(function, args, False, WRITTEN)
        one_label = self._label.ndim == 0
        row = single.one_row(kernel, args, form, one_label, call.exponent)
        return jit.entry(row)
