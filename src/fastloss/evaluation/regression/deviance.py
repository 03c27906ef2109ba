"""Deviances of distributions whose variance is a power of the mean, row by row."""

import decimal
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from ...call.arrays import Array

# A number, and what rounding took from it.
_Pair = tuple[float, float]
# Digits of tangents, of which twice those of float64 are kept.
_DIGITS = decimal.Context(prec=50)

_POWERS = {"poisson": 1.0, "gamma": 2.0}
# Of ratios so close to 1 a series has more digits than the formula, in which terms cancel.
_CLOSE, _N_TERMS = 0.05, 14


def powers_of(given: Any) -> dict[str, float]:
    """The power of each deviance that was asked for, by name."""
    every = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if len(every) == 2 and isinstance(every[0], str) and every[0] == "tweedie":
        every = [tuple(every)]
    return dict(map(_power_of, every))


def _power_of(given: Any) -> tuple[str, float]:
    if isinstance(given, str) and given in _POWERS:
        return given, _POWERS[given]
    if isinstance(given, (tuple, list)) and len(given) == 2 and given[0] == "tweedie":
        power = given[1]
        number = isinstance(power, (int, float, np.number)) and not isinstance(power, bool)
        if number and np.isfinite(power) and not 0 <= power < 1:
            return f"tweedie {float(power)}".removesuffix(".0"), float(power)
    raise ValueError(
        f'deviance has {given!r}, but is "poisson", "gamma", ("tweedie", power) with a power '
        "below 0 or of 1 and more, or several of these; with the power 0 it is the mse"
    )


def least_of(power: float) -> tuple[tuple[float, bool], tuple[float, bool]]:
    """What labels and predictions are at least, and whether they may be that."""
    return (0.0 if power >= 1 else -np.inf, power < 2), (0.0, False)


def deviance(power: float, y: Array, mean: Any) -> Array:
    """The unit deviance of each row. With the power p it is

        2 (y^(2 - p) / ((1 - p) (2 - p)) - y m^(1 - p) / (1 - p) + m^(2 - p) / (2 - p)),

    and the limit of it for p = 1 and 2.

    Near y = m it is 2 m^(2 - p) times the sum of a_k r^k from k = 2 on, with r = (y - m) / m,
    a_2 = 1/2 and a_(k + 1) = a_k (2 - p - k) / (k + 1).
    """
    with np.errstate(all="ignore"):
        r = (y - mean) / mean
        close = np.abs(r) < _CLOSE
        if power == 1:
            far = y * np.log(np.where(y > 0, y / mean, 1.0)) - (y - mean)
        elif power == 2:
            far = r - np.log(y / mean)
        else:
            p = power
            far = generator(p, y) - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p)
        coefficients = [0.5]
        for k in range(2, _N_TERMS):
            coefficients.append(coefficients[-1] * (2 - power - k) / (k + 1))
        series = np.zeros_like(r)
        small = np.where(close, r, 0.0)
        for a in reversed(coefficients):
            series = series * small + a
        near = series * small * small * mean ** (2 - power)
        found: Array = 2 * np.where(close, near, far)
    return found


def generator(power: float, y: Array) -> Array:
    """The convex function of which the deviance is twice the Bregman divergence.

    So the deviance of a constant prediction, the mean, is twice the mean of this less this of the
    mean.
    """
    with np.errstate(all="ignore"):
        if power == 1:
            return y * np.log(np.where(y > 0, y, 1.0))
        if power == 2:
            return -np.log(y)
        # Of a power below 0, targets below 0 count as 0.
        return np.maximum(y, 0.0) ** (2 - power) / ((1 - power) * (2 - power))


def center_of(labels: Array) -> float:
    """A number above 0 close to the labels, if they have one."""
    with np.errstate(all="ignore"):
        mean = float(labels.mean())
    return mean if 0 < mean < np.inf else 1.0


def tangent(power: float, y: float) -> tuple[_Pair, _Pair]:
    """The generator at y > 0 and its slope, in twice the precision of float64."""
    with decimal.localcontext(_DIGITS):
        x, p = Decimal(y), Decimal(power)
        if power == 1:
            value, slope = x * x.ln(), x.ln() + 1
        elif power == 2:
            value, slope = -x.ln(), -1 / x
        else:
            slope = x ** (1 - p) / (1 - p)
            value = slope * x / (2 - p)
        return _pair(value), _pair(slope)


def _pair(number: Decimal) -> _Pair:
    high = float(number)
    return high, float(number - Decimal(high)) if abs(high) < np.inf else 0.0
