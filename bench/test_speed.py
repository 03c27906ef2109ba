"""`make bench`: one test for each workload and task, in which all contenders alternate."""

from typing import Any

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastloss import get_num_threads

from .conftest import Run
from .contenders import CONTENDERS, FASTLOSS, Contender, Job
from .measure import alternate, claim
from .reference import Reference, errors, tolerance
from .report import ROOF, table
from .roof import roof
from .workloads import TASKS, WORKLOADS, Data, Workload, needed_bytes


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_speed(
    workload: Workload,
    task: str,
    benchmark: BenchmarkFixture,
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if psutil.virtual_memory().available < needed_bytes(workload):
        pytest.skip(f"needs {needed_bytes(workload) / 2**30:.0f} GiB of memory")
    claim(benchmark)
    data, truth = run.data(workload)
    jobs, checks = {}, {}
    for contender in CONTENDERS:
        if not contender.available():
            continue
        if workload.fastloss_alone and not contender.name.startswith(FASTLOSS):
            continue
        job = contender.job(workload.loss, task, data)
        if job is not None:
            jobs[contender.name] = job
            checks[contender.name] = check(contender, job, data, truth)
    limit = roof(task, data, get_num_threads())
    limit.call()  # compiled here
    if benchmark.disabled:
        return
    times = alternate(benchmark, {ROOF: limit, **jobs})
    result = {
        "loss": workload.loss,
        "shape": workload.shape,
        "dtype": workload.dtype,
        "task": task,
        "main": workload.main,
        "roof": times[ROOF],
        "cells": [{"contender": name, **times[name], **checks[name]} for name in jobs],
    }
    run.results.append(result)
    with capsys.disabled():
        print(f"\n\n{table(result)}")


def check(contender: Contender, job: Job, data: Data, truth: Reference) -> dict[str, Any]:
    """Run it once, which also compiles and warms up, and hold its results against the truth.

    A formula that overflows is not a mistake of the benchmark, and is told. A wrong result is.
    """
    with job.setting(), np.errstate(all="ignore"):
        result = job.call()
    loss_error, grad_error = errors(result, truth, contender.gradient_of_sum)
    remark = ""
    if not np.isfinite([loss_error, grad_error]).all():
        assert not contender.name.startswith(FASTLOSS), f"{contender.name}: not finite"
        remark = "overflows: the result is inf or nan"
    else:
        worst = max(loss_error, grad_error)
        assert worst <= tolerance(data.y_pred.dtype), f"{contender.name}: an error of {worst:.1e}"
    finite = [error if np.isfinite(error) else None for error in (loss_error, grad_error)]
    return {"loss_error": finite[0], "grad_error": finite[1], "remark": remark}
