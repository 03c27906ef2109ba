"""Checks of the options that losses are built with."""

import math
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..call.arrays import Array, as_array, format_of

# Numbers that losses of classes are multiplied by are taken as they are if the largest of them lies
# between these.
_SMALL, _LARGE = 2.0**-32, 2.0**32


def plain(name: str, value: Any) -> Any:
    """A number as Python's own bool, int or float, so that equal options are the same option."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str) or not isinstance(value, Real):  # a text is found out sooner
        return value
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(
            f"{name} is larger than any number that float64 can hold, which is {_LARGEST:.4g}"
        ) from None
    # -0.0 equals 0.0, and so would losses be that differ in it.
    return int(value) if isinstance(value, Integral) else number + 0.0


_LARGEST = float(np.finfo(np.float64).max)


# The type of an option that is a number or one number for each column. In the scalar function of
# the loss it always is a number, so type checkers cannot be told more.
Numbers = Any


class PerColumn(tuple[float, ...]):
    """An option of an elementwise loss that has one number for each column of the predictions."""

    __slots__ = ()


def numbers(name: str, value: Any) -> Any:
    """A sequence or an array of numbers becomes a `PerColumn`; all else stays as it is."""
    if isinstance(value, PerColumn):
        return value
    given = value
    if not isinstance(value, (list, tuple, np.generic)) and hasattr(type(value), "__array__"):
        array = as_array(value, name)
        if array.ndim > 1:
            raise ValueError(
                f"{name} has shape {array.shape}, but must be a number or one number for each "
                "column"
            )
        given = array.tolist()
        if array.ndim == 0:
            return given
    if not isinstance(given, (list, tuple)):
        return given
    are_numbers = (isinstance(n, Real) and not isinstance(n, bool) for n in given)
    if not (given and all(are_numbers)):
        return value
    return PerColumn(plain(f"{name}[{j}]", number) for j, number in enumerate(given))


def of_options(attribute: Callable[[Any], Any]) -> Any:
    """A property where other losses have a constant of the class, as here it follows from options.

    Type checkers are told nothing of it, as they allow no property in the place of a constant.
    """
    return property(attribute)


# Annotations of options that are whole numbers, be they evaluated or not.
_INTEGERS = (int, "int", int | None, "int | None")


@lru_cache(maxsize=256)
def whole_options(loss: type[Any], derived: tuple[str, ...] = ()) -> frozenset[str]:
    """The options, and what is derived, that are annotated as integers and stay such."""
    kinds: dict[str, Any] = {option.name: option.type for option in fields(loss)}
    for name in derived:
        getter = getattr(getattr(loss, name, None), "fget", None)
        kinds[name] = annotations_of(getter).get("return")
    return frozenset(name for name, kind in kinds.items() if kind in _INTEGERS)


def annotations_of(declared: Any) -> dict[str, Any]:
    """The annotations of a class, without those of its parents, or of a function.

    From Python 3.14 on they are evaluated when they are asked for. Then there are none if a name in
    them is there for type checkers alone.
    """
    try:
        return getattr(declared, "__annotations__", {})
    except NameError:
        return {}


def held(name: str, value: Any, number: Any, at_0: bool, at_inf: bool, whole: bool = False) -> Any:
    """The numbers of an option in the arithmetic: one, or a list of one for each column.

    A number that float32 rounds to 0 or to infinity is refused, unless there is a limit there; if
    numbers are to be `whole`, so is any that is rounded.
    """
    results = []
    for place, given in each(name, value):
        with np.errstate(over="ignore", under="ignore"):
            result = number(float(given))
        vanishes = result == 0 and given != 0 and not at_0
        changes = whole and int(result) != given
        if vanishes or changes or (math.isinf(result) and math.isfinite(given) and not at_inf):
            if changes and number is np.float64:
                raise ValueError(f"{place} is {given}, which float64 rounds: choose another {name}")
            raise ValueError(
                f"{place} is {given:g}, which float32 rounds to {result:g}, and for these arrays "
                f"the arithmetic is float32: pass predictions as float64, or choose another {name}"
            )
        results.append(result)
    return results if isinstance(value, PerColumn) else results[0]


def each(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """The numbers of an option, with the names that messages call them."""
    if isinstance(value, PerColumn):
        return ((f"{name}[{j}]", number) for j, number in enumerate(value))
    return ((name, value),)


# Products with an option that is larger could overflow in float32.
LARGEST_FACTOR = 1e30


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, finite: bool = True
) -> None:
    """Raise unless an option is a number in [low, high], and finite if it has to be.

    Of an option of one number per column, all numbers are looked at.
    """
    for place, number in each(name, value):
        _check_number(place, number, low, high, finite)


def _check_number(name: str, value: Any, low: float, high: float, finite: bool) -> None:
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) == 0:
        raise ValueError(f"{name} is empty, but must be a number or one number for each column")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not low <= float(value) <= high or (finite and value == math.inf):
        limits = (
            f"between {low:g} and {high:g}"
            if high < math.inf
            else f"{'finite and ' if finite else ''}{low:g} or more"
        )
        raise ValueError(f"{name} is {value}, but must be {limits}")


def check_positive(name: str, value: Any, *, finite: bool = True) -> None:
    """Raise unless an option is a number above 0, and finite if it has to be."""
    check_number(name, value, 0.0, finite=finite)
    for place, number in each(name, value):
        if number == 0:
            raise ValueError(f"{place} is {number}, but must be positive")


def check_switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {type(value).__name__}")


def check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    if not -(2**63) <= int(value) < 2**63:
        raise ValueError(f"{name} is {value}, but must fit into 64 bits")


def as_mask(name: str, value: Any) -> Array:
    """Which classes are in, as a read-only array of 1 and 0."""
    given = as_array(value, name)
    if given.dtype != bool:
        raise TypeError(f"{name} must have booleans, which classes are in, got {given.dtype}")
    if given.ndim != 1:
        raise ValueError(
            f"{name} has shape {given.shape}, but must have one axis, the classes: a mask for "
            "each row goes to the verb"
        )
    if not given.any():
        raise ValueError(f"{name} lets no class in")
    mask = given.astype(np.uint8)
    mask.flags.writeable = False
    return mask


def as_weights(name: str, value: Any) -> Array:
    """Weights as a read-only array: finite, none negative."""
    given = as_array(value, name)
    format_of(given, name)
    weights = given.astype(np.float64)
    if weights.ndim != 1:
        raise ValueError(f"{name} has shape {weights.shape}, but must have one axis: the classes")
    bad = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if bad.size:
        raise ValueError(
            f"{name}[{bad[0]}] is {weights[bad[0]]}, but weights are finite and not negative"
        )
    weights.flags.writeable = False
    return weights


def near_one(weights: Array) -> tuple[Array, int]:
    """Weights that float32 can be trusted with, and the exponent of 2 that was taken out of them.

    They keep their digits, but for weights that are next to nothing beside the largest.
    """
    largest = float(weights.max(initial=0.0))
    if largest == 0.0 or _SMALL <= largest <= _LARGE:
        return weights, 0
    exponent = math.frexp(largest)[1]
    near = np.ldexp(weights, -exponent)
    near.flags.writeable = False
    return near, exponent
