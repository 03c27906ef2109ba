"""Sums over runs of targets and predictions, for means of errors and for moments.

Each run of rows gets a row of two tables: of `Terms`, which means follow from, and of `Moments`.
The sums of its tiles, by `error_tiles.py`, are added up with what rounding takes, as in `tally.py`.
"""

from typing import Any

import numpy as np

from ..compiler.bits import disjoint, larger, prefetch, select, smaller, wide_vectors, window
from .error_tiles import (
    CENTER,
    ERROR,
    FIRST,
    LARGEST,
    MOST,
    N_MOMENTS,
    N_TERMS,
    N_TILE,
    N_UNDEFINED,
    RELATIVE,
    REST,
    SCALE,
    SECOND,
    SQUARED_WEIGHT,
    SYMMETRIC,
    TILE,
    WEIGHT,
    Y_CENTER,
    Y_FIRST,
    Y_SECOND,
    N,
    errors_adder,
    find_centers,
    finite,
    moments_adder,
    relative_adder,
    weighing,
)
from .form import Function
from .tally import add, lost

# How far ahead of a tile memory is asked for.
_AHEAD = 4 * TILE
# Terms of errors are cut where adding so many units rounds them. A unit is so many times the
# largest term of the tile that made it necessary. So the sum of what is cut off is exact.
_SLACK = 2.0**10
# Two lines of the caches lie between the memory of two threads, which else would take turns.
_APART = 16
# Memory that a run needs: for a tile, and for its sums, which go to the tables in the end.
SCRATCH = _APART + N_TILE + N_MOMENTS + 2 * (N_TERMS + N_MOMENTS) + _APART


def _count_undefined(y: Any, p: Any) -> Any:
    n = 0.0
    for i in range(p.size):
        e = np.float64(p[i]) - np.float64(y[i])
        n += select(e == e, 0.0, 1.0)
    return n


def _clear(sums: Any) -> None:
    for i in range(sums.size):
        sums[i] = 0.0


def _copy(source: Any, target: Any) -> None:
    for i in range(target.size):
        target[i] = source[i]


def _add_tile(tile: Any, high: Any, low: Any) -> None:
    disjoint()
    for i in range(high.size):
        add(tile[i], 0.0, i, high, low)


def _add_centers(factor: Any, number: Any, center: Any, to: Any, high: Any, low: Any) -> None:
    """Add a center for each unit of weight, as often as the factor says, to sum `to`."""
    product = number * center
    tail = select(abs(center) < 2.0**800, lost(number, center, product), 0.0)
    add(factor * product, factor * tail, to, high, low)


def _run_adder(weighted: bool, single: bool) -> Function:
    """All sums over a run, from its rows and memory for a tile."""
    _, scale_for = weighing(weighted)
    add_errors = errors_adder(weighted, single)
    add_relative = relative_adder(weighted, single, with_zeros=False)
    add_with_zeros = relative_adder(weighted, single, with_zeros=True)
    add_moments, cutting = moments_adder(weighted), weighted or not single

    def finish(n: Any, scale: Any, high: Any, low: Any, of_moments: Any, rests: Any) -> None:
        """What is known of a run once all its tiles are added up."""
        high[N], high[SCALE], of_moments[N_MOMENTS - 1] = n, scale, scale
        if not weighted:
            high[WEIGHT] = high[SQUARED_WEIGHT] = n
            for i in range(3):
                high[FIRST + i], low[FIRST + i] = high[ERROR + i], low[ERROR + i]
            # Errors were added up as they are, and |e| and e^2 less their centers.
            _add_centers(-1.0, n, high[CENTER], FIRST, high, low)
            high[SECOND], low[SECOND] = of_moments[Y_SECOND + 2], rests[Y_SECOND + 2]
            of_moments[Y_FIRST + 2], rests[Y_FIRST + 2] = high[FIRST], low[FIRST]
        for i in range(1, 3):
            _add_centers(1.0, high[WEIGHT], high[CENTER + i], ERROR + i, high, low)
            low[ERROR + i] += low[WEIGHT] * high[CENTER + i]
        of_moments[0], rests[0] = high[WEIGHT], low[WEIGHT]

    def sum_run(
        y: Any, p: Any, weight: Any, high: Any, low: Any, of_moments: Any, rests: Any, scratch: Any
    ) -> None:
        _clear(high)
        _clear(low)
        _clear(of_moments)
        _clear(rests)
        _clear(scratch)
        scale, n = scale_for(weight), smaller(TILE, p.size)
        center, center_m = window(high, CENTER, 3), window(of_moments, Y_CENTER, 3)
        tile, tile_m = window(scratch, 0, N_TILE), window(scratch, N_TILE, N_MOMENTS)
        find_centers(window(y, 0, n), window(p, 0, n), center, center_m)
        unit = largest = 0.0
        for start in range(0, p.size, TILE):
            n = smaller(TILE, p.size - start)
            ys, ps, ws = window(y, start, n), window(p, start, n), window(weight, start, n)
            add_errors(ys, ps, ws, scale, unit * _SLACK, center, tile)
            if cutting and tile[MOST] > unit:
                unit = select(tile[MOST] < 2.0**990, tile[MOST], 2.0**990) * _SLACK
                add_errors(ys, ps, ws, scale, unit * _SLACK, center, tile)
            add_relative(ys, ps, ws, scale, tile)
            if not finite(tile[RELATIVE] + tile[SYMMETRIC]):
                add_with_zeros(ys, ps, ws, scale, tile)
            add_moments(ys, ps, ws, scale, center_m, tile_m)
            prefetch(y, start + _AHEAD, TILE)
            prefetch(p, start + _AHEAD, TILE)
            if not finite(tile[ERROR]):
                tile[N_UNDEFINED] = _count_undefined(ys, ps)
            largest = larger(tile[LARGEST], largest)
            _add_tile(tile, high, low)
            _add_tile(tile_m, of_moments, rests)
            low[ERROR] += tile[REST]
            tile[N_UNDEFINED] = 0.0
        high[LARGEST], low[LARGEST] = largest, 0.0
        finish(np.float64(p.size), scale, high, low, of_moments, rests)

    return sum_run


def tally_errors(weighted: bool, single: bool) -> Function:
    """The loop over runs of rows, of float32 if `single`; without weights each row counts once."""
    sum_run = _run_adder(weighted, single)

    def tally_runs(
        y: Any,
        p: Any,
        weight: Any,
        edges: Any,
        first: Any,
        last: Any,
        high: Any,
        low: Any,
        moments_high: Any,
        moments_low: Any,
        scratch: Any,
    ) -> None:
        """Add up the runs from `first` to `last`, each into its rows of both tables.

        Run k has the rows from `edges[k]` to `edges[k + 1]`; `scratch` has room for `SCRATCH`
        numbers.
        """
        wide_vectors()
        tile = window(scratch, _APART, N_TILE + N_MOMENTS)
        sums = window(scratch, _APART + N_TILE + N_MOMENTS, 2 * (N_TERMS + N_MOMENTS))
        of_errors, lost_of_errors = window(sums, 0, N_TERMS), window(sums, N_TERMS, N_TERMS)
        of_moments = window(sums, 2 * N_TERMS, N_MOMENTS)
        rests = window(sums, 2 * N_TERMS + N_MOMENTS, N_MOMENTS)
        for k in range(first, last):
            start, n = edges[k], edges[k + 1] - edges[k]
            sum_run(
                window(y, start, n),
                window(p, start, n),
                window(weight, start, n),
                of_errors,
                lost_of_errors,
                of_moments,
                rests,
                tile,
            )
            _copy(of_errors, window(high, k * N_TERMS, N_TERMS))
            _copy(lost_of_errors, window(low, k * N_TERMS, N_TERMS))
            _copy(of_moments, window(moments_high, k * N_MOMENTS, N_MOMENTS))
            _copy(rests, window(moments_low, k * N_MOMENTS, N_MOMENTS))

    return tally_runs
