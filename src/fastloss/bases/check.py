"""Derivatives by finite differences, to check those that a loss gives."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..call.arrays import Array

# Allowed error of a derivative, relative to it and to the largest one. Where the function is smooth
# on the scale of a step, the differences below are exact to about 1e-9.
_TOLERANCE = 1e-6
_STEP = 1e-4


def random_in(
    rng: "np.random.Generator", limits: tuple[float, float], shape: int | tuple[int, ...]
) -> Array:
    """Random numbers well inside the limits, where differences do not step over them."""
    low, high = limits
    if math.isfinite(low) and math.isfinite(high):
        return rng.uniform(low + 0.05 * (high - low), high - 0.05 * (high - low), shape)
    if math.isfinite(low):
        return low + rng.lognormal(0.0, 1.0, shape)
    if math.isfinite(high):
        return high - rng.lognormal(0.0, 1.0, shape)
    return rng.normal(0.0, 3.0, shape)


class Differentiable(Protocol):
    """What is checked: a loss that gives a number for each sample."""

    def __call__(self, y_true: Any, y_pred: Any, /) -> Any: ...

    def grad(self, y_true: Any, y_pred: Any, /) -> Array: ...

    def grad_hess(self, y_true: Any, y_pred: Any, /) -> tuple[Array, Array]: ...


def check_derivatives(
    loss: Differentiable,
    names: tuple[str, str],
    y_true: Array,
    y_pred: Array,
    limits: tuple[Any, Any],
    has_hessian: bool,
) -> None:
    """Raise ValueError if the gradient, or the Hessian, of `loss` is not the derivative.

    The arrays are called by `names` in the message, and the `limits` are the least and the largest
    prediction, each a number or one for each number of a row.
    """
    y_pred = y_pred.astype(np.float64)
    # Samples are independent: one element of every sample moves at a time.
    moves: list[Any] = [...]
    losses = loss(y_true, y_pred)
    if losses.shape != y_pred.shape:
        moves = [(..., j) for j in range(y_pred.shape[-1])]
        losses = losses[..., None]
    bounded = np.broadcast_to(~np.isinf(losses), y_pred.shape)
    low, high = (np.broadcast_to(limit, y_pred.shape) for limit in limits)

    def compare(what: str, given: Array, function: Callable[[Array, Any], Array]) -> None:
        found = np.empty_like(y_pred)
        with np.errstate(invalid="ignore"):
            for at in moves:
                found[at] = _derivative(function, y_pred, at, low[at], high[at], given[at])
            # An infinite loss has no differences.
            found = np.where(bounded, found, 0.0)
            error = np.where(bounded, np.abs(given - found), 0.0)
        sizes = np.abs(found)
        largest = np.max(sizes, initial=1e-3, where=np.isfinite(sizes))
        allowed = _TOLERANCE * (sizes + largest)
        if np.all(error <= allowed):
            return
        excess = np.where(error <= allowed, 0.0, np.nan_to_num(error / allowed, nan=np.inf))
        worst = np.unravel_index(np.argmax(excess), y_pred.shape)
        label = y_true[worst] if y_true.shape == y_pred.shape else y_true[worst[:-1]]
        raise ValueError(
            f"the {what} of {loss!r} disagrees with finite differences in {np.sum(excess > 0)} of "
            f"{y_pred.size} places, worst where {names[0]} is {label} and {names[1]} is "
            f"{y_pred[worst]}: {what} {given[worst]}, finite difference {found[worst]}"
        )

    compare("gradient", loss.grad(y_true, y_pred), lambda x, at: loss(y_true, x))
    if has_hessian:
        hess = loss.grad_hess(y_true, y_pred)[1]
        compare("hessian", hess, lambda x, at: loss.grad(y_true, x)[at])


def _derivative(
    function: Callable[[Array, Any], Array],
    x: Array,
    at: Any,
    low: Array,
    high: Array,
    given: Array,
) -> Array:
    """The derivative by the elements of x at `at`, from differences within the range [low, high].

    The differences are central, with their error of second order removed, and their step is a small
    part of the way to the nearest end, as functions may be steep there. At an end they are on one
    side; near one, where a small step leaves few digits, whichever is closer to `given` is taken.
    """
    way = np.minimum(x[at] - low, high - x[at])
    step = _STEP * np.maximum(np.abs(x[at]), 0.1)
    small = np.where(way > 0, np.minimum(step, way / 64), step)
    inwards = np.where(x[at] - low < high - x[at], step, -step)

    def difference(step: Array, other: Array) -> Array:
        one, two = x.copy(), x.copy()
        one[at] += step
        two[at] += other
        quotient: Array = (function(one, at) - function(two, at)) / (one[at] - two[at])
        return quotient

    central: Array = np.full_like(x[at], np.nan)
    if np.any(way > 0):
        inside = np.where(way > 0, small, 0)
        halves, whole = difference(inside / 2, -inside / 2), difference(inside, -inside)
        central = (4 * halves - whole) / 3
    if np.all(way > step):
        return central
    zero = np.zeros_like(step)
    quarter, half, whole = (difference(inwards / n, zero) for n in (4, 2, 1))
    one_sided: Array = (8 * quarter - 6 * half + whole) / 3
    closer = np.abs(one_sided - given) < np.abs(central - given)
    return np.where((way == 0) | ((way <= step) & closer), one_sided, central)
