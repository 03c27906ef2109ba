"""Sums over the rows of each replicate of a bootstrap, as a `Table` with a key for each."""

from collections.abc import Callable
from functools import cache

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels.resample import resample
from ...kernels.tally import scale_of
from .table import Layout, Table

# Replicates that a thread takes at a time: their counts and sums stay in the cache.
REPLICATES = 256


def unseen(n: int, n_values: int) -> Table:
    """The sums of w, and of w x for each of so many x, of n replicates without rows."""
    layout = Layout(np.array([1] * (1 + n_values) + [0]))
    zeros = np.zeros((n, layout.width))
    return Table(layout, np.arange(n), zeros, zeros)


def replicated(n: int, ids: Array, weights: Array, values: Array) -> Table:
    """The sums over rows with these ids and weights, in each of n replicates.

    Of the values, of shape (rows, x), those of rows of weight 0 do not count.
    """
    nothing = unseen(n, values.shape[1])
    layout, counted = nothing.layout, weights > 0
    if not counted.any():
        return nothing
    weights, values = weights[counted, np.newaxis], values[counted]
    scale = scale_of(weights.max())
    with np.errstate(all="ignore"):
        scaled = weights * scale
        terms = np.concatenate([scaled, scaled * values], axis=1)
    # Negative, so that rows numbered from 0 are not mixed like the replicates.
    bits, streams = _halves(ids[counted]), _halves(-1 - np.arange(n))[:, 0].copy()
    high, low = np.zeros((2, n, layout.width))
    high[:, -1] = scale

    def run(index: int) -> None:
        part = np.s_[index * REPLICATES : (index + 1) * REPLICATES]
        mine = streams[part]
        sums, rests = np.zeros((2, layout.width - 1, len(mine)))
        numbers = bits.reshape(-1), terms.reshape(-1), mine, np.empty(len(mine))
        _resample()(*numbers, sums.reshape(-1), rests.reshape(-1))
        high[part, :-1], low[part, :-1] = sums.T, rests.T

    threads.run(run, -(-n // REPLICATES))
    return nothing._replace(high=high, low=low)


def _halves(ids: Array) -> Array:
    """Two times 32 bits that each id is mixed into, as int64 of shape (ids, 2).

    Source: G. L. Steele et al., Fast splittable pseudorandom number generators (2014): SplitMix64.
    """
    z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    halves = np.stack([z >> np.uint64(32), z & np.uint64(0xFFFFFFFF)], axis=1)
    return halves.astype(np.int64)


@cache
def _resample() -> Callable[..., None]:
    integers, numbers = np.empty(0, np.int64), np.empty(0)
    arguments = integers, numbers, integers, numbers, numbers, numbers
    return compiler().load_or_compile(resample, arguments)  # type: ignore[no-any-return]
