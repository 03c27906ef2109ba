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


def quick_sum(a: Any, b: Any) -> Pair:
    """The same in fewer steps, of numbers of which the second is not the larger one (Dekker).

    Where terms cancelled it may be the larger one: what is lost is then as much as rounding takes
    from it.
    """
    total = a + b
    return total, b - (total - a)


def _settled(total: Any, rest: Any) -> Pair:
    """The pair; an infinite number has lost nothing."""
    return quick_sum(total, np.where(np.isinf(total), 0.0, rest))


def add(a: Pair, b: Pair) -> Pair:
    total, rest = exact_sum(a[0], b[0])
    return _settled(total, rest + (a[1] + b[1]))


def product(a: Pair, b: Pair) -> Pair:
    """The product of two pairs: its second number may be more than what rounding took."""
    high = a[0] * b[0]
    return high, lost(a[0], b[0], high) + (a[0] * b[1] + a[1] * b[0])


def multiply(a: Pair, b: Pair) -> Pair:
    return _settled(*product(a, b))


def divide(a: Pair, b: Pair) -> Pair:
    quotient = a[0] / b[0]
    back = quotient * b[0]
    rest = ((a[0] - back) - lost(quotient, b[0], back)) + (a[1] - quotient * b[1])
    return exact_sum(quotient, rest / b[0])


def total(high: Any, low: Any = None) -> Pair:
    """The sum of numbers, or of pairs, along the first axis: rounded, and what rounding took.

    What each addition takes from a running sum is found afterwards, for all of them at once.

    Source: T. Ogita et al., Accurate sum and dot product (2005).
    """
    sums = high.cumsum(axis=0)
    if not len(sums):
        return high.sum(axis=0), high.sum(axis=0)
    rest = exact_sum(sums[:-1], high[1:])[1].sum(axis=0)
    return sums[-1], rest if low is None else rest + low.sum(axis=0)
