"""Derivatives by finite differences, to check those that a loss gives."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import Array

if TYPE_CHECKING:
    from .loss import Loss

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


def check_derivatives(loss: "Loss", y_true: Array, y_pred: Array) -> None:
    """Raise ValueError if the gradient, or the Hessian, of `loss` is not the derivative."""
    loss = replace(loss, reduction="none")
    y_pred = y_pred.astype(np.float64)
    # Samples are independent: one element of every sample moves at a time.
    moves: list[Any] = [...]
    if loss(y_true, y_pred).shape != y_pred.shape:
        moves = [(..., j) for j in range(y_pred.shape[-1])]

    def compare(what: str, given: Array, function: Callable[[Array, Any], Array]) -> None:
        found = np.empty_like(y_pred)
        for at in moves:
            found[at] = _derivative(function, y_pred, at)
        error = np.abs(given - found)
        allowed = _TOLERANCE * (np.abs(found) + np.max(np.abs(found), initial=1e-3))
        if np.all(error <= allowed):
            return
        excess = np.where(error <= allowed, 0.0, np.nan_to_num(error / allowed, nan=np.inf))
        worst = np.unravel_index(np.argmax(excess), y_pred.shape)
        label = y_true[worst] if y_true.shape == y_pred.shape else y_true[worst[:-1]]
        raise ValueError(
            f"the {what} of {loss!r} disagrees with finite differences in {np.sum(excess > 0)} of "
            f"{y_pred.size} places, worst where {loss.names[0]} is {label} and {loss.names[1]} is "
            f"{y_pred[worst]}: {what} {given[worst]}, finite difference {found[worst]}"
        )

    compare("gradient", loss.grad(y_true, y_pred), lambda x, at: loss(y_true, x))
    if loss._has_hessian():
        hess = loss.grad_hess(y_true, y_pred)[1]
        compare("hessian", hess, lambda x, at: loss.grad(y_true, x)[at])


def _derivative(function: Callable[[Array, Any], Array], x: Array, at: Any) -> Array:
    """The central difference by the elements of x at `at`, its error of second order removed."""
    step = _STEP * np.maximum(np.abs(x[at]), 0.1)

    def difference(step: Array) -> Array:
        above, below = x.copy(), x.copy()
        above[at] += step
        below[at] -= step
        quotient: Array = (function(above, at) - function(below, at)) / (above[at] - below[at])
        return quotient

    result: Array = (4 * difference(step / 2) - difference(step)) / 3
    return result
