"""Sums over a run of targets and predictions that weigh 1, in one loop, where that loses nothing.

Of most rows nothing cancels: errors, their sizes and their squares differ, and so do targets and
predictions. Then few sums do, of numbers as they are, and all others follow. Whether it is so is
seen at the end of a run, which else is added up by the loops of `error_tiles.py`. All centers are
0, so that tables of such runs are merged without moving any.
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import accumulate, disjoint, larger, prefetch, smaller, window
from .error_tiles import (
    AHEAD,
    ERROR,
    FIRST,
    LARGEST,
    N_MOMENTS,
    RELATIVE,
    SCALE,
    SECOND,
    SLACK,
    SQUARED_WEIGHT,
    TILE,
    WEIGHT,
    Y_FIRST,
    Y_SECOND,
    N,
    add_tile,
    clear,
    cut_at,
    finite,
    ratios_of,
    relative_adder,
    unit_of,
)
from .error_tiles import PRODUCT as PRODUCT_OF_MOMENTS
from .form import Function
from .tally import add


class Sums(NamedTuple):
    """The sums, of which the first are in the order of `Terms`."""

    error: Any
    absolute: Any
    squared: Any
    size: Any
    relative: Any
    relative_weight: Any
    symmetric: Any
    n_zero: Any
    fourth: Any  # e^4
    y_first: Any  # y
    y_second: Any  # y^2
    product: Any  # y e


N_SUMS, N_SHARED = len(Sums._fields), Sums._fields.index("fourth")
# Of a tile, behind its sums: the rest of the sum of errors, and the largest |e|.
_REST, _MOST = N_SUMS, N_SUMS + 1
# Memory that a run needs, for a tile and for its sums.
QUICK_SCRATCH = N_SUMS + 2 + 2 * N_SUMS
# A variance that is so large a part of the mean of squares has lost six bits at most.
_PART = 2.0**-6


def quick_adder(single: bool) -> Function:
    """All sums over a tile, in one loop.

    Errors of float32 numbers are not cut: they have so few digits that float64 has room for the sum
    of a tile, unless a number is 2**22 times the smallest one.
    """
    double, ratios = np.float64, ratios_of(single)

    def add_quickly(y: Any, p: Any, cut: Any, tile: Any) -> None:
        disjoint()
        error = rest = absolute = squared = fourth = size = relative = symmetric = largest = 0.0
        first = second = product = 0.0
        for i in range(p.size):
            target, prediction = double(y[i]), double(p[i])
            e = prediction - target
            part = e if single else cut_at(e, cut)
            error = accumulate(error, part)
            if not single:
                rest = accumulate(rest, e - part)
            second = accumulate(second, target * target)
            product = accumulate(product, target * e)
            square, e_size, y_size = e * e, abs(e), abs(target)
            squared = accumulate(squared, square)
            fourth = accumulate(fourth, square * square)
            absolute = accumulate(absolute, e_size)
            largest = larger(e_size, largest)
            of_size, of_both = ratios(e_size, y_size, y_size + abs(prediction))
            relative = accumulate(relative, of_size)
            symmetric = accumulate(symmetric, of_both)
        # Processors with 16 registers have none left for these two in the loop above.
        for i in range(y.size):
            target = double(y[i])
            first = accumulate(first, target)
            size = accumulate(size, abs(target))
        tile[0], tile[1], tile[2], tile[3] = error, absolute, squared, size
        tile[4], tile[5], tile[6], tile[7] = relative, double(p.size), 2.0 * symmetric, 0.0
        tile[8], tile[9], tile[10], tile[11] = fourth, first, second, product
        tile[_REST], tile[_MOST] = rest, largest

    return add_quickly


def _differ(n: Any, first: Any, second: Any) -> Any:
    """Whether n numbers differ enough, by their sum and that of their squares."""
    return first / n * first <= (1.0 - _PART) * second


def _are_sound(n: Any, sums: Any) -> Any:
    """Whether no moment is far smaller than the sums that it follows from."""
    error, squared, y_second, twice = sums[0], sums[2], sums[10], 2.0 * sums[11]
    total = 0.0
    for i in range(N_SUMS):
        total += sums[i]
    p_second = y_second + twice + squared
    return (
        finite(total)
        and _differ(n, error, squared)
        and _differ(n, sums[1], squared)
        and _differ(n, squared, sums[8])
        and _differ(n, sums[9], y_second)
        and _differ(n, sums[9] + error, p_second)
        and p_second >= _PART * (y_second + squared)
    )


def _write(
    n: Any, largest: Any, sums: Any, rests: Any, high: Any, low: Any, moments: Any, lost: Any
) -> None:
    """The rows of both tables, cleared before."""
    high[N] = high[WEIGHT] = high[SQUARED_WEIGHT] = moments[0] = n
    high[SCALE] = moments[N_MOMENTS - 1] = 1.0
    high[LARGEST] = largest
    for i in range(N_SHARED):
        high[ERROR + i], low[ERROR + i] = sums[i], rests[i]
    for i in range(3):
        high[FIRST + i], low[FIRST + i] = sums[i], rests[i]
        high[SECOND + i] = sums[8] if i == 2 else sums[2]
        low[SECOND + i] = rests[8] if i == 2 else rests[2]
    for i in range(2):
        # Of p = y + e.
        add(sums[9], rests[9], Y_FIRST + i, moments, lost)
        add(sums[10], rests[10], Y_SECOND + i, moments, lost)
    add(sums[10], rests[10], PRODUCT_OF_MOMENTS, moments, lost)
    add(sums[11], rests[11], PRODUCT_OF_MOMENTS, moments, lost)
    add(sums[0], rests[0], Y_FIRST + 1, moments, lost)
    add(sums[0], rests[0], Y_FIRST + 2, moments, lost)
    add(2.0 * sums[11], 2.0 * rests[11], Y_SECOND + 1, moments, lost)
    add(sums[2], rests[2], Y_SECOND + 1, moments, lost)
    add(sums[2], rests[2], Y_SECOND + 2, moments, lost)


def quick_run_adder(single: bool) -> Function:
    """All sums over a run into its rows, cleared before; returns False if it takes more care."""
    add_quickly = quick_adder(single)
    add_with_zeros = relative_adder(False, single, with_zeros=True)

    def sum_quickly(
        y: Any, p: Any, high: Any, low: Any, moments: Any, lost: Any, scratch: Any
    ) -> Any:
        clear(scratch)
        tile, of_tile = window(scratch, 0, N_SUMS + 2), window(scratch, 0, N_SUMS)
        sums = window(scratch, N_SUMS + 2, N_SUMS)
        rests = window(scratch, 2 * N_SUMS + 2, N_SUMS)
        unit = largest = 0.0
        for start in range(0, p.size, TILE):
            n = smaller(TILE, p.size - start)
            ys, ps = window(y, start, n), window(p, start, n)
            add_quickly(ys, ps, unit * SLACK, tile)
            if not single and tile[_MOST] > unit:
                unit = unit_of(tile[_MOST])
                add_quickly(ys, ps, unit * SLACK, tile)
            if not finite(tile[4] + tile[6]):
                add_with_zeros(ys, ps, ys, 1.0, window(tile, RELATIVE - ERROR, 4))
            prefetch(y, start + AHEAD, TILE)
            prefetch(p, start + AHEAD, TILE)
            add_tile(of_tile, sums, rests)
            rests[0] += tile[_REST]
            largest = larger(tile[_MOST], largest)
        n_rows = np.float64(p.size)
        sound = _are_sound(n_rows, sums)
        if sound:
            _write(n_rows, largest, sums, rests, high, low, moments, lost)
        return sound

    return sum_quickly
