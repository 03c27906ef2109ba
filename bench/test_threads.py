"""`make bench TABLE=threads`: time against the number of threads, on both backends."""

from collections.abc import Callable
from typing import Any

import pytest

import fastloss as fl
from fastloss.study import Workload, scaling
from fastloss.study.measure import MIN_ROUNDS, Clock
from fastloss.study.workloads import TASKS

from .conftest import Run


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("workload", scaling.WORKLOADS, ids=lambda workload: workload.name)
def test_threads(
    workload: Workload,
    task: str,
    clock: Clock,
    run: Run,
    add: Callable[[Any, str], None],
    budget: Callable[[float], float],
) -> None:
    data, _ = run.data(workload)
    jobs = scaling.jobs(workload, task, data, fl.get_num_threads())
    for job in jobs.values():
        with job.setting():
            job.call()  # compiled here
    names = {key: f"{key[0]}, {key[1]} threads" for key in jobs}
    named = {names[key]: job for key, job in jobs.items()}
    times = clock(named, budget(6.0), MIN_ROUNDS)
    if not times:
        return
    result = {
        "loss": workload.loss,
        "shape": workload.shape,
        "dtype": workload.dtype,
        "task": task,
        "rows": scaling.rows({key: times[name] for key, name in names.items()}),
    }
    add(result, scaling.text(result))
