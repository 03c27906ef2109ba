"""Intervals of what was measured, by the bootstrap.

Rounds are drawn anew with replacement, many times, and what is asked for is computed of each draw:
the middle 95% of the results are its interval (the percentile interval; Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13). Contenders took turns, so a round is drawn for all
of them at once, and a second in which the machine was slow cancels in their ratio.

If a workload was timed in several processes, processes are drawn first, and then rounds of each
(Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8): rounds of one
process share what depends on where its memory lies, and are no news of another (Kalibera and Jones,
Rigorous Benchmarking in Reasonable Time, 2013).

Rounds of a process are taken as independent. What changes a machine from one run to the next is in
no interval.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .workloads import Array

LEVEL = 0.95
_DRAWS = 2000

Rounds = Sequence[Sequence[float]]  # in each process, a number for each round


class Estimate(NamedTuple):
    """A number, and its interval; NaN where no rounds were kept."""

    value: float
    low: float = math.nan
    high: float = math.nan


def median(rounds: Rounds) -> Estimate:
    return _estimate(np.median(np.concatenate(rounds)), _medians(rounds))


def ratio(rounds: Rounds, others: Rounds) -> Estimate:
    """The median of the ratios of rounds that were taken in turn."""
    return median(ratios(rounds, others))


def ratios(rounds: Rounds, others: Rounds) -> Rounds:
    """Round by round."""
    return [np.divide(a, b).tolist() for a, b in zip(rounds, others, strict=True)]


def change(before: Rounds, after: Rounds, level: float) -> Estimate:
    """The ratio of the medians of two runs, whose rounds have nothing to do with each other."""
    value = np.median(np.concatenate(after)) / np.median(np.concatenate(before))
    return _estimate(value, _medians(after, seed=1) / _medians(before), level)


def geometric_mean(paired: Iterable[tuple[Rounds, Rounds]]) -> Estimate:
    """Of the ratios in several cells, each of which is drawn on its own."""
    values, draws = [], []
    for seed, (rounds, others) in enumerate(paired):
        found = ratios(rounds, others)
        values.append(np.median(np.concatenate(found)))
        draws.append(np.log(_medians(found, seed)))
    return _estimate(math.exp(np.mean(np.log(values))), np.exp(np.mean(draws, axis=0)))


def _estimate(value: Any, draws: Array, level: float = LEVEL) -> Estimate:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high))


def _medians(rounds: Rounds, seed: int = 0) -> Array:
    """Of each draw."""
    flat = np.concatenate(rounds)
    found: Array = np.median(flat[_drawn(tuple(map(len, rounds)), seed)], axis=1)
    return found


@lru_cache(maxsize=64)
def _drawn(lengths: tuple[int, ...], seed: int) -> Array:
    """Places of rounds in each draw; of every process as many as the one with the fewest has."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *lengths[:-1]])
    processes = rng.integers(0, len(lengths), (_DRAWS, len(lengths), 1))
    shape = (_DRAWS, len(lengths), min(lengths))
    within = rng.integers(0, np.array(lengths)[processes], shape)
    return (starts[processes] + within).reshape(_DRAWS, -1)
