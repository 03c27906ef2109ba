"""`make bench TABLE=cutoff`: where threads begin to pay."""

from collections.abc import Callable
from typing import Any

import pytest

import fastloss as fl
from fastloss.study import cutoff
from fastloss.study.measure import MIN_ROUNDS, Clock
from fastloss.study.workloads import TASKS

from .conftest import Run


@pytest.mark.parametrize(("loss", "classes"), cutoff.COST_CLASSES)
def test_cutoff(
    loss: str,
    classes: int | None,
    clock: Clock,
    run: Run,
    add: Callable[[Any, str], None],
    budget: Callable[[float], float],
) -> None:
    n_threads = fl.get_num_threads()
    if n_threads == 1:
        pytest.skip("needs two CPUs")
    rows: dict[str, list[cutoff.Row]] = {task: [] for task in TASKS}
    for size in cutoff.SIZES:
        workload = cutoff.workload_of(loss, classes, size)
        data, _ = run.data(workload)
        jobs = cutoff.jobs(workload, data)
        for job in jobs.values():
            with job.setting():
                job.call()
        names = {key: f"{size}, {key[0]}, {n_threads if key[1] else 1} threads" for key in jobs}
        named = {names[key]: job for key, job in jobs.items()}
        times = clock(named, budget(2.0), MIN_ROUNDS)
        if not times:
            return
        for task in TASKS:
            one, several = times[names[task, False]], times[names[task, True]]
            rows[task].append(cutoff.row(size, one, several))
    for task in TASKS:
        result = {
            "loss": loss,
            "classes": classes,
            "dtype": workload.dtype,
            "task": task,
            "threads": n_threads,
            "pays_from": cutoff.pays_from(rows[task]),
            "rows": rows[task],
        }
        add(result, cutoff.text(result))
