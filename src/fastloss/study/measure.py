"""How time is measured: all contenders in turn, round after round."""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from .contender import Job

# A turn lasts at least so long: a fast call is repeated, so that the clock is no part of it.
TURN_SECONDS = 1e-3
# Rounds go on for so long, within these limits.
SECONDS = 3.0
MIN_ROUNDS, MAX_ROUNDS = 7, 51
# OpenMP's threads (Numba's, PyTorch's, scikit-learn's) go on spinning when their work is done, and
# would take the cores from who is next. The GNU library's stop after some milliseconds.
PAUSE_SECONDS = 0.01

Summary = dict[str, Any]  # of the times of one job; see `summary`


class Times(NamedTuple):
    """What one job took."""

    seconds: list[float]  # of a call, in each round
    iterations: int  # calls in each round


# What takes the times of several jobs: `timed`, or one that keeps them elsewhere as well.
Clock = Callable[[dict[str, Job], float, int], dict[str, Summary]]


def timed(
    jobs: dict[str, Job], seconds: float = SECONDS, min_rounds: int = MIN_ROUNDS
) -> dict[str, Summary]:
    """A summary of each job's times, taken in turn."""
    return {name: summary(times) for name, times in alternate(jobs, seconds, min_rounds).items()}


def alternate(
    jobs: dict[str, Job], seconds: float = SECONDS, min_rounds: int = MIN_ROUNDS
) -> dict[str, Times]:
    """Time all jobs in turn.

    A machine changes from second to second: its clock rate, its other users. Only what runs in the
    same second is compared fairly. In each round the order is another, so that nobody always finds
    the caches, or the clock rate, as the same predecessor left them.
    """
    iterations, turn_seconds = {}, 0.0
    for name, job in jobs.items():
        iterations[name], call_seconds = _iterations(job)
        turn_seconds += iterations[name] * call_seconds + PAUSE_SECONDS
    times = {name: Times([], n) for name, n in iterations.items()}
    shuffled = random.Random(0)
    rounds = min(max(min_rounds, math.ceil(seconds / turn_seconds)), MAX_ROUNDS)
    for _ in range(rounds):
        for name in shuffled.sample(list(jobs), len(jobs)):
            times[name].seconds.append(_turn(jobs[name], iterations[name]) / iterations[name])
    return times


def _turn(job: Job, iterations: int) -> float:
    """The seconds that so many calls take, the release of their results included."""
    call, loops, collects = job.call, range(iterations), gc.isenabled()
    with job.setting(), np.errstate(all="ignore"):
        time.sleep(PAUSE_SECONDS)
        gc.disable()  # or someone pays for the garbage of another
        try:
            start = time.perf_counter()
            for _ in loops:
                call()
            return time.perf_counter() - start
        finally:
            if collects:
                gc.enable()


def _iterations(job: Job) -> tuple[int, float]:
    """How many calls make a turn, and about how long one takes."""
    iterations = 1
    while True:
        seconds = _turn(job, iterations)
        if seconds >= TURN_SECONDS or not job.repeatable:
            return iterations, seconds / iterations
        iterations = math.ceil(iterations * min(10.0, 1.2 * TURN_SECONDS / seconds))


def summary(times: Times) -> Summary:
    seconds = times.seconds
    median = statistics.median(seconds)
    below, above = np.quantile(seconds, [0.25, 0.75])
    return {
        "median": median,
        "min": min(seconds),
        # The range of the middle half of the rounds, as a share of the median.
        "spread": float(above - below) / median,
        "rounds": len(seconds),
        "iterations": times.iterations,
    }


def rounds_of(seconds: Iterable[float]) -> Summary:
    """The same of times that were taken elsewhere, one call in each round."""
    return summary(Times(list(seconds), 1))
