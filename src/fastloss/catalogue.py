"""The list of all losses, worked out from the package itself: see `entries`."""

import inspect
import math
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from difflib import get_close_matches
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

import fastloss

from .bases.loss import Loss
from .bases.rows import RowwiseLoss
from .call.plan import Call
from .call.verbs import VALUE


class Argument(NamedTuple):
    """One of the two data arguments of a loss."""

    name: str
    # What its numbers may be: "any", an interval such as "[0, 1]", or "class ids".
    takes: tuple[str, ...]


class Entry(NamedTuple):
    """What there is to know of a loss, with default options."""

    name: str  # of the class
    instances: dict[str, str]  # the names of ready-made ones, and their reductions
    family: str
    kind: str  # "elementwise" or "row-wise"
    summary: str
    loss: tuple[str, ...]  # the formula, a line for each of its cases
    formulas: tuple[str, ...]  # of loss, gradient and Hessian, once for each way to call it
    y_true: Argument
    y_pred: Argument
    options: dict[str, Any]  # with defaults; `reduction` and `hessian` are options of all losses
    hessians: tuple[str, ...]  # the words of `hessian`
    docstring: str


def entries() -> list[Entry]:
    """All public losses, family by family, in the order in which they are written.

    >>> huber = next(entry for entry in entries() if entry.name == "Huber")
    >>> huber.instances, huber.family, huber.kind, huber.options
    ({'huber': 'mean'}, 'regression', 'elementwise', {'delta': 1.0})
    >>> huber.y_pred
    Argument(name='y_pred', takes=('any',))
    """
    public = [getattr(fastloss, name) for name in fastloss.__all__]
    # Every loss is there ready made, which what losses derive from is not.
    losses = {type(value) for value in public if isinstance(value, Loss)}
    families = sorted({_family(loss) for loss in losses})
    modules = [sys.modules[f"fastloss.losses.{family}"] for family in families]
    return [
        _entry(loss)
        for module in modules
        for name in getattr(module, "__all__", vars(module))
        if isinstance(loss := getattr(module, name), type) and loss in losses
    ]


def _family(loss: type[Loss]) -> str:
    """The file or folder of `losses/` that it is in."""
    return loss.__module__.split(".")[2]


def find(name: str) -> Entry | None:
    """The entry of a class or of a ready-made instance."""
    return next((entry for entry in entries() if name in (entry.name, *entry.instances)), None)


def _entry(loss: type[Loss]) -> Entry:
    default = loss()
    docstring = inspect.getdoc(loss) or ""
    # Indented lines that begin with the loss, up to the next that is not indented.
    formulas = re.findall(r"^    loss +=.*(?:\n    .*)*", docstring, re.MULTILINE)
    return Entry(
        name=loss.__name__,
        instances={
            name: value.reduction
            for name in fastloss.__all__
            if type(value := getattr(fastloss, name)) is loss
        },
        family=_family(loss),
        kind="row-wise" if issubclass(loss, RowwiseLoss) else "elementwise",
        summary=docstring.partition("\n")[0],
        loss=_cases(formulas[0]) if formulas else (),
        formulas=tuple(inspect.cleandoc(formula) for formula in formulas),
        y_true=Argument(default.names[0], _labels(default)),
        y_pred=Argument(default.names[1], (_interval(*default.y_pred_range),)),
        options={
            option.name: option.default
            for option in fields(loss)
            if option.name not in ("reduction", "hessian")
        },
        hessians=("exact", "ones", *default.hessians),
        docstring=docstring,
    )


def _cases(formula: str) -> tuple[str, ...]:
    loss = re.split(r"\n +gradient", formula)[0].partition("=")[2]
    return tuple(" ".join(line.split()) for line in loss.splitlines())


def _labels(loss: Loss) -> tuple[str, ...]:
    interval = _interval(*loss.y_true_range)
    if not isinstance(loss, RowwiseLoss):
        return (interval,)
    row = np.zeros((1, 2))
    takes = []
    for y_true in (np.zeros(1, np.int64), row):
        with suppress(TypeError, ValueError):
            # All checks that need no look at the numbers.
            call = Call(loss._family, VALUE, y_true, row, None, None)
            takes.append("class ids" if call.batch.class_ids else interval)
    return tuple(takes)


def _interval(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "any"
    return f"{'(' if math.isinf(low) else '['}{low:g}, {high:g}{')' if math.isinf(high) else ']'}"


# ---------------------------------------------------------------------------------------------
# Entries as text


def similar(name: str) -> str:
    """How a message that a name is unknown goes on."""
    names = [known for entry in entries() for known in (entry.name, *entry.instances)]
    close = get_close_matches(name, names)
    return f"; did you mean {' or '.join(close)}?" if close else ": see fastloss losses"


def as_json(entry: Entry) -> dict[str, Any]:
    arguments = {"y_true": entry.y_true._asdict(), "y_pred": entry.y_pred._asdict()}
    return entry._asdict() | arguments


def signature(entry: Entry) -> str:
    return (
        f"{entry.name}({', '.join(f'{name}={value!r}' for name, value in entry.options.items())})"
    )


def listing(found: Iterable[Entry]) -> str:
    """All that there is to see of several losses, family by family."""
    families = groupby(found, lambda entry: entry.family)
    return "\n\n".join(_family_text(name, members) for name, members in families)


def _family_text(name: str, members: Iterable[Entry]) -> str:
    return "\n\n".join([f"{name.upper()}", *map(_entry_text, members)])


def _entry_text(entry: Entry) -> str:
    ready_made = [
        name if reduction == "mean" else f"{name} ({reduction})"
        for name, reduction in entry.instances.items()
    ]
    formula = "\n           ".join(entry.loss)
    arguments = [f"{name} {' or '.join(takes)}" for name, takes in (entry.y_true, entry.y_pred)]
    return (
        f"{', '.join(ready_made)}: {signature(entry)}\n"
        f"    {entry.summary}\n"
        f"    loss = {formula}\n"
        f"    {entry.kind}; {'; '.join(arguments)}; hessian {', '.join(entry.hessians)}"
    )
