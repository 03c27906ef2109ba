"""`make bench TABLE=threads`: time against the number of threads, on both backends."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastloss as fl

from . import scaling
from .conftest import Run
from .measure import alternate, claim
from .workloads import TASKS, Workload


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("workload", scaling.WORKLOADS, ids=lambda workload: workload.name)
def test_threads(
    workload: Workload,
    task: str,
    benchmark: BenchmarkFixture,
    run: Run,
    add: Callable[[Any, str], None],
    budget: Callable[[float], float],
) -> None:
    claim(benchmark)
    data, _ = run.data(workload)
    jobs = scaling.jobs(workload, task, data, fl.get_num_threads())
    for job in jobs.values():
        with job.setting():
            job.call()  # compiled here
    if benchmark.disabled:
        return
    names = {key: f"{key[0]}, {key[1]} threads" for key in jobs}
    named = {names[key]: job for key, job in jobs.items()}
    times = alternate(benchmark, named, seconds=budget(6.0))
    result = {
        "loss": workload.loss,
        "shape": workload.shape,
        "dtype": workload.dtype,
        "task": task,
        "rows": scaling.rows({key: times[name] for key, name in names.items()}),
    }
    add(result, scaling.text(result))
