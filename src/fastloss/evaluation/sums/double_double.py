"""Arithmetic with pairs of float64, a number and what rounding took from it: twice the digits.

Source: T. J. Dekker, A floating-point technique for extending the available precision (1971).
"""

from typing import Any

import numpy as np

from ...kernels.tally import lost

# Numbers of any shape, and what rounding took from each.
Pair = tuple[Any, Any]


def exact_sum(a: Any, b: Any) -> Pair:
    """The sum of two float64, rounded, and what rounding took from it (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _settled(total: Any, rest: Any) -> Pair:
    """The pair; an infinite number has lost nothing."""
    return exact_sum(total, np.where(np.isinf(total), 0.0, rest))


def add(a: Pair, b: Pair) -> Pair:
    total, rest = exact_sum(a[0], b[0])
    return _settled(total, rest + (a[1] + b[1]))


def multiply(a: Pair, b: Pair) -> Pair:
    product = a[0] * b[0]
    return _settled(product, lost(a[0], b[0], product) + (a[0] * b[1] + a[1] * b[0]))


def divide(a: Pair, b: Pair) -> Pair:
    quotient = a[0] / b[0]
    product = quotient * b[0]
    rest = ((a[0] - product) - lost(quotient, b[0], product)) + (a[1] - quotient * b[1])
    return exact_sum(quotient, rest / b[0])


def total(numbers: Any) -> Pair:
    """The sum of an array of one axis."""
    high, low = numbers, np.zeros_like(numbers)
    while len(high) > 1:
        half = len(high) // 2
        both = add((high[:half], low[:half]), (high[half : 2 * half], low[half : 2 * half]))
        high, low = (
            np.concatenate([sums, more[2 * half :]])
            for sums, more in zip(both, (high, low), strict=True)
        )
    return high.sum(), low.sum()
