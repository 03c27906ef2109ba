"""Checks of the options that losses are built with."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from ._arrays import Array, as_array, format_of

# The largest of the numbers that losses of classes are multiplied by, if all are taken as they are.
_SMALL, _LARGE = 2.0**-32, 2.0**32


def plain(value: Any) -> Any:
    """A number as Python's own bool, int or float, so that equal options are the same option."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


# The type of an option that is a number or one number for each column. In the scalar function of
# the loss it always is a number, so type checkers cannot be told more.
Numbers = Any


class PerColumn(tuple[float, ...]):
    """An option of an elementwise loss that has one number for each column of the predictions."""

    __slots__ = ()


def numbers(name: str, value: Any) -> Any:
    """A sequence of numbers as `PerColumn`; all else as it is."""
    if not isinstance(value, (list, tuple, np.ndarray)) or isinstance(value, PerColumn):
        return value
    if isinstance(value, np.ndarray) and value.ndim > 1:
        raise ValueError(
            f"{name} has shape {value.shape}, but must be a number or one number for each column"
        )
    given = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(given, (list, tuple)):  # an array without axes
        return given
    if not all(isinstance(number, Real) and not isinstance(number, bool) for number in given):
        return value
    if not given:
        raise ValueError(f"{name} is empty, but must be a number or one number for each column")
    return PerColumn(plain(number) for number in given)


def each(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """The numbers of an option, with the names that messages call them."""
    if isinstance(value, PerColumn):
        return ((f"{name}[{j}]", number) for j, number in enumerate(value))
    return ((name, value),)


def check_number(name: str, value: Any, low: float, high: float = math.inf) -> None:
    """Whether an option is a number in [low, high]; infinite only where a limit is meant to be.

    Of an option of one number per column, all are looked at.
    """
    for place, number in each(name, value):
        _check_number(place, number, low, high)


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not low <= float(value) <= high or value == math.inf:
        limits = (
            f"between {low:g} and {high:g}" if high < math.inf else f"finite and {low:g} or more"
        )
        raise ValueError(f"{name} is {value}, but must be {limits}")


def check_positive(name: str, value: Any) -> None:
    """Whether an option is a number above 0, and finite."""
    check_number(name, value, 0.0)
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

    Their digits are as they were, but those of weights that are next to nothing beside the largest.
    """
    largest = float(weights.max(initial=0.0))
    if largest == 0.0 or _SMALL <= largest <= _LARGE:
        return weights, 0
    exponent = math.frexp(largest)[1]
    near = np.ldexp(weights, -exponent)
    near.flags.writeable = False
    return near, exponent
