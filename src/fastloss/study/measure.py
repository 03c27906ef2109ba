"""How time is measured: all contenders in turn, round after round."""

import gc
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import bootstrap
from .contender import Job

# A turn lasts at least so long, and aims at twice of it: a fast call is repeated, so that the clock
# and what wakes up after a pause are no part of it.
TURN_SECONDS = 1e-3
# Turns before the first round. One may be disturbed, and then seems long enough; but none that is
# longer than so many of the shortest is taken again.
TRIALS = 3
_LONG = 100
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
    iterations: int = 1  # calls in each round
    short: bool = False  # whether turns were too short, of a call that is not repeatable


# What takes the times of several jobs: `timed`, or one that keeps them elsewhere as well.
Clock = Callable[[dict[str, Job], float, int], dict[str, Summary]]


def timed(
    jobs: dict[str, Job], seconds: float = SECONDS, min_rounds: int = MIN_ROUNDS
) -> dict[str, Summary]:
    """A summary of each job's times, taken in turn."""
    taken = alternate(jobs, seconds, min_rounds)
    return {name: summary([each.seconds], *each[1:]) for name, each in taken.items()}


def alternate(
    jobs: dict[str, Job], seconds: float = SECONDS, min_rounds: int = MIN_ROUNDS
) -> dict[str, Times]:
    """Time all jobs in turn.

    A machine changes from second to second: its clock rate, its other users. Only what runs in the
    same second is compared fairly. In each round the order is another, so that nobody always finds
    the caches, or the clock rate, as the same predecessor left them.
    """
    turns = {name: _Turns(job) for name, job in jobs.items()}
    turn_seconds = sum(each.trial() + PAUSE_SECONDS for each in turns.values())
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    shuffled = random.Random(0)
    rounds = min(max(min_rounds, math.ceil(seconds / turn_seconds)), MAX_ROUNDS)
    for _ in range(rounds):
        for name in shuffled.sample(list(jobs), len(jobs)):
            taken[name].append(turns[name].take())
    return {name: Times(taken[name], each.calls, each.short) for name, each in turns.items()}


class _Turns:
    """The turns of one job, each of so many calls that it is long enough."""

    def __init__(self, job: Job) -> None:
        self.job, self.calls, self.short = job, 1, False

    def trial(self) -> float:
        """About how many seconds a turn lasts, after the calls have been counted."""
        found: list[float] = []
        for _ in range(TRIALS):
            seconds = self.take()
            found.append(self.calls * seconds)
            if found[-1] > _LONG * TURN_SECONDS:
                break
        self.short = False  # trials do not count
        return min(found)

    def take(self) -> float:
        """The seconds of a call in one turn. What falls short is taken again, with more calls."""
        while True:
            seconds = _turn(self.job, self.calls)
            is_short = seconds < TURN_SECONDS
            if not (is_short and self.job.repeatable):
                self.short |= is_short
                return seconds / self.calls
            wanted = 2 * TURN_SECONDS / max(seconds, 1e-9)
            self.calls = math.ceil(self.calls * min(10.0, wanted))


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


def summary(
    seconds: Sequence[Sequence[float]], iterations: int = 1, short: bool = False
) -> Summary:
    """Of the seconds of a call in each round of each process."""
    rounds = np.concatenate(seconds)
    median, low, high = bootstrap.median(seconds)
    below, above = np.quantile(rounds, [0.25, 0.75])
    return {
        "median": median,
        "interval": [low, high],
        "min": float(rounds.min()),
        # The range of the middle half of the rounds, as a share of the median.
        "spread": float(above - below) / median,
        "rounds": len(rounds),
        "iterations": iterations,
        "short": short,
        "seconds": [list(each) for each in seconds],
    }


def rounds_of(seconds: Iterable[float]) -> Summary:
    """The same of times that were taken elsewhere, one call in each process."""
    return summary([[each] for each in seconds])


def joined(summaries: Sequence[Summary]) -> Summary:
    """One of several processes."""
    return summary(
        [rounds for each in summaries for rounds in each["seconds"]],
        max(each["iterations"] for each in summaries),
        any(each["short"] for each in summaries),
    )
