"""Sums over runs of targets and predictions, for means of errors and for moments.

Each run of rows gets a row of two tables: of `Terms`, which means follow from, and of `Moments`.
The sums of its tiles, by `error_tiles.py`, are added up with what rounding takes, as in `tally.py`.
"""

from typing import Any

import numpy as np

from ..compiler.bits import aligned_stack, larger, prefetch, select, smaller, wide_vectors, window
from .error_tiles import (
    AHEAD,
    CENTER,
    ERROR,
    LARGEST,
    MOST,
    N_MOMENTS,
    N_TERMS,
    N_TILE,
    N_UNDEFINED,
    RELATIVE,
    REST,
    SCALE,
    SLACK,
    SYMMETRIC,
    TILE,
    WEIGHT,
    Y_CENTER,
    N,
    add_tile,
    clear,
    errors_adder,
    find_centers,
    finite,
    moments_adder,
    relative_adder,
    unit_of,
    weighing,
)
from .form import Function
from .quick_errors import QUICK_SCRATCH, quick_run_adder
from .tally import add, lost

# Two lines of the caches lie between the memory of two threads, which else would take turns.
_APART = 16
# Memory that a run needs: for a tile, and for its sums, which go to the tables in the end.
_OF_TILE = larger(N_TILE + N_MOMENTS, QUICK_SCRATCH)
SCRATCH = _APART + _OF_TILE + 2 * (N_TERMS + N_MOMENTS) + _APART


def _count_undefined(y: Any, p: Any) -> Any:
    n = 0.0
    for i in range(p.size):
        e = np.float64(p[i]) - np.float64(y[i])
        n += select(e == e, 0.0, 1.0)
    return n


def _copy(source: Any, target: Any) -> None:
    for i in range(target.size):
        target[i] = source[i]


def _add_centers(factor: Any, number: Any, center: Any, to: Any, high: Any, low: Any) -> None:
    """Add a center for each unit of weight, as often as the factor says, to sum `to`."""
    product = number * center
    tail = select(abs(center) < 2.0**800, lost(number, center, product), 0.0)
    add(factor * product, factor * tail, to, high, low)


def _never(y: Any, p: Any, high: Any, low: Any, moments: Any, lost: Any, scratch: Any) -> Any:
    """Rows with weights are always added up with care."""
    return False


def _run_adder(weighted: bool, single: bool) -> Function:
    """All sums over a run, from its rows and memory for a tile."""
    _, scale_for = weighing(weighted)
    add_errors = errors_adder(weighted)
    sum_quickly = _never if weighted else quick_run_adder(single)
    add_relative = relative_adder(weighted, single, with_zeros=False)
    add_with_zeros = relative_adder(weighted, single, with_zeros=True)
    add_moments = moments_adder(weighted)

    def finish(n: Any, scale: Any, high: Any, low: Any, of_moments: Any, rests: Any) -> None:
        """What is known of a run once all its tiles are added up."""
        high[N], high[SCALE], of_moments[N_MOMENTS - 1] = n, scale, scale
        for i in range(1, 3):
            _add_centers(1.0, high[WEIGHT], high[CENTER + i], ERROR + i, high, low)
            low[ERROR + i] += low[WEIGHT] * high[CENTER + i]
        of_moments[0], rests[0] = high[WEIGHT], low[WEIGHT]

    def sum_run(
        y: Any, p: Any, weight: Any, high: Any, low: Any, of_moments: Any, rests: Any, scratch: Any
    ) -> None:
        clear(high)
        clear(low)
        clear(of_moments)
        clear(rests)
        if sum_quickly(y, p, high, low, of_moments, rests, window(scratch, 0, QUICK_SCRATCH)):
            return
        n = smaller(TILE, p.size)
        center, center_m = window(high, CENTER, 3), window(of_moments, Y_CENTER, 3)
        find_centers(window(y, 0, n), window(p, 0, n), center, center_m)
        clear(scratch)
        scale, unit, largest = scale_for(weight), 0.0, 0.0
        tile, tile_m = window(scratch, 0, N_TILE), window(scratch, N_TILE, N_MOMENTS)
        relative = window(tile, RELATIVE, 4)
        for start in range(0, p.size, TILE):
            n = smaller(TILE, p.size - start)
            ys, ps, ws = window(y, start, n), window(p, start, n), window(weight, start, n)
            add_errors(ys, ps, ws, scale, unit * SLACK, center, tile)
            if tile[MOST] > unit:
                unit = unit_of(tile[MOST])
                add_errors(ys, ps, ws, scale, unit * SLACK, center, tile)
            add_relative(ys, ps, ws, scale, relative)
            if not finite(tile[RELATIVE] + tile[SYMMETRIC]):
                add_with_zeros(ys, ps, ws, scale, relative)
            add_moments(ys, ps, ws, scale, center_m, tile_m)
            prefetch(y, start + AHEAD, TILE)
            prefetch(p, start + AHEAD, TILE)
            if not finite(tile[ERROR]):
                tile[N_UNDEFINED] = _count_undefined(ys, ps)
            largest = larger(tile[LARGEST], largest)
            add_tile(tile, high, low)
            add_tile(tile_m, of_moments, rests)
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
        aligned_stack()
        tile = window(scratch, _APART, _OF_TILE)
        sums = window(scratch, _APART + _OF_TILE, 2 * (N_TERMS + N_MOMENTS))
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
