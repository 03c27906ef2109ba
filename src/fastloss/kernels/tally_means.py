"""Sums of weighed numbers by key, from which means and their standard errors follow."""

from typing import Any

import numpy as np

from ..compiler.bits import disjoint, window
from ..compiler.flags import unfused
from .tally import Room, add, fit, moments, place_of, weighed

# The columns of a table: rows, undefined rows, weights w, w^2; of each number x: w x, a number c
# close to it, w^2 (x - c) and w^2 (x - c)^2; and the scale of the weights. See `tally.py`.
N_COUNTS = 4


def powers_of(n_means: int) -> Any:
    """Which power of the weight each column has."""
    counts = np.array([2, 1, 1, n_means, n_means, 2 * n_means, 1])
    return np.repeat([0, 1, 2, 1, 0, 2, 0], counts)


def tally_means(numbers: Any, keys: Any, powers: Any, table: Any) -> None:
    """Add rows of a weight and some numbers to a table, a `Room`, in order.

    Rows of weight 0, or without a key, count nowhere; one with a NaN is undefined. `powers` are
    those of the columns of the table.
    """
    n = powers.size
    n_means = (n - N_COUNTS - 1) // 4
    room = Room(table[0], table[1], table[2], table[3], table[4])
    for r in range(keys.size):
        row = window(numbers, r * (n_means + 1), n_means + 1)
        if row[0] == 0.0:
            continue
        place = place_of(keys[r], n, room)
        if place < 0:
            continue
        weight = fit(row[0], place, powers, room)
        high, low = window(room.high, place * n, n), window(room.low, place * n, n)
        x = window(row, 1, n_means)
        if high[0] == 0.0:
            for i in range(n_means):
                high[N_COUNTS + n_means + i] = x[i]
        undefined = 0.0
        for i in range(n_means):
            if x[i] != x[i]:
                undefined = 1.0
        add(1.0, 0.0, 0, high, low)
        add(undefined, 0.0, 1, high, low)
        add(weight, 0.0, 2, high, low)
        add(weight * weight, 0.0, 3, high, low)
        first, second = N_COUNTS + 2 * n_means, N_COUNTS + 3 * n_means
        add_numbers(
            weight,
            x,
            window(high, N_COUNTS + n_means, n_means),
            window(high, N_COUNTS, n_means),
            window(low, N_COUNTS, n_means),
            window(high, first, n_means),
            window(low, first, n_means),
            window(high, second, n_means),
            window(low, second, n_means),
        )


@unfused
def lost_of_gap(x: Any, center: Any) -> Any:
    """What rounding took from x - c (Knuth). Of standard errors it is the last digits."""
    gap = x - center
    part = gap - x
    return (x - (gap - part)) - (center + part)


def add_numbers(
    weight: Any,
    x: Any,
    centers: Any,
    high: Any,
    low: Any,
    first_high: Any,
    first_low: Any,
    second_high: Any,
    second_low: Any,
) -> None:
    """Add numbers to their sums and moments; SIMD needs windows that share nothing."""
    disjoint()
    square = weight * weight
    for i in range(x.size):
        term, tail = weighed(weight, x[i])
        first, first_tail, second, second_tail = moments(square, x[i], centers[i])
        rest = lost_of_gap(x[i], centers[i])
        add(term, tail, i, high, low)
        add(first, first_tail + square * rest, i, first_high, first_low)
        add(second, second_tail + 2.0 * (first * rest), i, second_high, second_low)
