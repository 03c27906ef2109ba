"""The comparison of contenders at one workload, which most of the tables are made of."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastloss import get_num_threads

from .contender import FASTLOSS, Contender, Job
from .measure import MIN_ROUNDS, SECONDS, Clock, timed
from .reference import ROUNDED, Reference, errors, tolerance
from .report import ROOF, Result
from .roof import roof
from .workloads import Data, Workload


def compare(
    workload: Workload,
    tasks: Sequence[str],
    contenders: Iterable[Contender],
    data: Data,
    truth: Reference,
    seconds: float = SECONDS,
    min_rounds: int = MIN_ROUNDS,
    clock: Clock = timed,
    failures: list[str] | None = None,
) -> list[Result]:
    """A result for each task, from one run in which everyone takes turns at all of them.

    Results are checked before anything is timed. Who does the same for several tasks is timed once.
    A clock that returns no times only wanted the checks. A contender that fails, or is wrong, is
    told in `failures` and left out; without that list it is an error.
    """
    jobs, checks = {}, {}
    for contender in contenders:
        if workload.dtype not in contender.dtypes:
            continue
        for task in dict.fromkeys(map(contender.does, tasks)):
            name = _name(contender.name, task)
            try:
                job = contender.job(workload.loss, task, data)
                if job is not None:
                    checks[name] = check(contender, job, data, truth)
                    jobs[name] = job
            except Exception as error:
                if failures is None:
                    raise
                failures.append(f"{workload.name}, {name}: {error or type(error).__name__}")
    for task in tasks:
        limit = jobs[_name(ROOF, task)] = roof(task, data, get_num_threads())
        with limit.setting():
            limit.call()  # compiled here
    times = clock(jobs, seconds, min_rounds)
    if not times:
        return []
    results = []
    for task in tasks:
        cells = []
        for contender in contenders:
            does = contender.does(task)
            name = _name(contender.name, does)
            if name in jobs:
                cell = {"contender": contender.name, "does": does}
                cells.append({**cell, **times[name], **checks[name]})
        results.append(
            {
                "loss": workload.loss,
                "shape": workload.shape,
                "dtype": workload.dtype,
                "labels": workload.labels,
                "task": task,
                "main": workload.main,
                "roof": times[_name(ROOF, task)],
                "cells": cells,
            }
        )
    return results


def _name(contender: str, task: str) -> str:
    return f"{contender}: {task}"


def check(contender: Contender, job: Job, data: Data, truth: Reference) -> dict[str, Any]:
    """Run it once, which also compiles and warms up, and hold its results against the truth.

    A formula that overflows is not a mistake of the benchmark, and is told; nor are a rival's
    roundings: a textbook formula loses digits, and in 16 bits some add up as well. A wrong result
    is a mistake.
    """
    with job.setting(), np.errstate(all="ignore"):
        result = job.to_numpy(job.call())
    loss_error, grad_error = errors(result, truth, contender.gradient_of_sum)
    is_ours = contender.name.startswith(FASTLOSS)
    worst = max(loss_error, grad_error)
    remark = ""
    if not np.isfinite([loss_error, grad_error]).all():
        assert not is_ours, f"{contender.name}: not finite"
        remark = "overflows: the result is inf or nan"
    elif worst > tolerance(data.y_pred.dtype):
        forgiven = not is_ours and (data.y_pred.dtype.itemsize == 2 or worst < ROUNDED)
        assert forgiven, f"{contender.name}: an error of {worst:.1e}"
        remark = f"inexact: an error of {worst:.2%}"
    finite = [error if np.isfinite(error) else None for error in (loss_error, grad_error)]
    return {"loss_error": finite[0], "grad_error": finite[1], "remark": remark}
