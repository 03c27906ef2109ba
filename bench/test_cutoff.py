"""`make bench TABLE=cutoff`: where threads begin to pay."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastloss as fl

from . import cutoff
from .conftest import Run
from .measure import alternate, claim
from .workloads import TASKS


@pytest.mark.parametrize(("loss", "classes"), cutoff.COST_CLASSES)
def test_cutoff(
    loss: str,
    classes: int | None,
    benchmark: BenchmarkFixture,
    run: Run,
    add: Callable[[Any, str], None],
    budget: Callable[[float], float],
) -> None:
    claim(benchmark)
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
        if benchmark.disabled:
            return
        names = {key: f"{size}, {key[0]}, {n_threads if key[1] else 1} threads" for key in jobs}
        named = {names[key]: job for key, job in jobs.items()}
        times = alternate(benchmark, named, seconds=budget(2.0))
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
