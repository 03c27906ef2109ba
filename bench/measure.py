"""How time is measured: all contenders in turn, round after round."""

import math
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture, PauseInstrumentation

from .contenders import Job

# A turn lasts at least so long: a fast call is repeated, so that the clock is no part of it.
TURN_SECONDS = 1e-3
# Rounds go on for so long, within these limits.
SECONDS = 3.0
MIN_ROUNDS, MAX_ROUNDS = 7, 51
# OpenMP's threads (Numba's, PyTorch's, scikit-learn's) go on spinning when their work is done, and
# would take the cores from who is next. The GNU library's stop after some milliseconds.
PAUSE_SECONDS = 0.01

Summary = dict[str, Any]  # of the times of one job; see `_summary`


def claim(benchmark: BenchmarkFixture) -> None:
    """Say that the fixture is used; else pytest-benchmark warns, where a check fails first."""
    benchmark._mode = "alternating"


def alternate(
    benchmark: BenchmarkFixture,
    jobs: dict[str, Job],
    seconds: float = SECONDS,
    min_rounds: int = MIN_ROUNDS,
) -> dict[str, Summary]:
    """Time all jobs in turn; returns for each the statistics that pytest-benchmark makes.

    A machine changes from second to second: its clock rate, its other users. Only what runs in the
    same second is compared fairly. pytest-benchmark times one function to its end and then the
    next, and its public functions give no way around that: `setup=` of `pedantic` could run the
    others, at the square of the cost, and a target that runs all of them has one time for all. So
    this loop takes over the alternation, and leaves the rest to the parts of pytest-benchmark that
    it is made of: its runner, with its timer and its switch for the garbage collector, and one
    record of statistics for each contender, which appear in its tables, JSON and comparisons as if
    each contender had been a test of its own. These two parts are private:
    `tests/test_bench.py` notices if they change.

    In each round the order is another, so that nobody always finds the caches, or the clock rate,
    as the same predecessor left them.
    """
    runners, records, turn_seconds = {}, {}, 0.0
    for name, job in jobs.items():
        runner = runners[name] = benchmark._make_runner(job.call, (), {})
        iterations, call_seconds = _iterations(runner, job)
        turn_seconds += iterations * call_seconds + PAUSE_SECONDS
        records[name] = _record(benchmark, name, iterations)

    shuffled = random.Random(0)
    rounds = min(max(min_rounds, math.ceil(seconds / turn_seconds)), MAX_ROUNDS)
    with PauseInstrumentation():
        for _ in range(rounds):
            for name in shuffled.sample(list(jobs), len(jobs)):
                records[name].update(_turn(runners[name], jobs[name], records[name].iterations))
    return {name: _summary(record) for name, record in records.items()}


def measured(benchmark: BenchmarkFixture, name: str, seconds: Iterable[float]) -> Summary:
    """The statistics of times that were taken elsewhere, one for each round."""
    record = _record(benchmark, name, 1)
    for duration in seconds:
        record.update(duration)
    return _summary(record)


def _record(benchmark: BenchmarkFixture, name: str, iterations: int) -> Any:
    record = benchmark._make_stats(iterations)
    record.group = benchmark.name
    record.name = name
    record.fullname = f"{benchmark.fullname} {name}"
    record.extra_info = {"contender": name}
    return record


def _turn(runner: Callable[[range], float], job: Job, iterations: int) -> float:
    """The seconds that so many calls take, the release of their results included."""
    with job.setting(), np.errstate(all="ignore"):
        time.sleep(PAUSE_SECONDS)
        return runner(range(iterations))


def _iterations(runner: Callable[[range], float], job: Job) -> tuple[int, float]:
    """How many calls make a turn, and about how long one takes."""
    iterations = 1
    while True:
        seconds = _turn(runner, job, iterations)
        if seconds >= TURN_SECONDS or not job.repeatable:
            return iterations, seconds / iterations
        iterations = math.ceil(iterations * min(10.0, 1.2 * TURN_SECONDS / seconds))


def _summary(record: Any) -> Summary:
    stats = record.stats
    return {
        "median": stats.median,
        "min": stats.min,
        # The range of the middle half of the rounds, as a share of the median.
        "spread": stats.iqr / stats.median,
        "rounds": stats.rounds,
        "iterations": record.iterations,
    }
