"""The comparison of contenders at one workload, which most of the tables are made of.

In this process, or in several, one after the other: a process has its memory where it happened to
get it, which a kernel may be faster or slower for as long as the process lives.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastloss import get_num_threads

from . import scores
from .contender import FASTLOSS, Contender, Job
from .contenders import CONTENDERS, called, users
from .measure import MIN_ROUNDS, SECONDS, Clock, joined, timed
from .processes import run_python
from .reference import ROUNDED, Reference, errors, reference, tolerance
from .report import ROOF, Result, find
from .roof import roof
from .task_numbers import Numbers
from .workloads import EVALUATION, RANDOM, Data, Workload, make_data

Truth = Reference | Numbers  # the latter of evaluations


def truth_of(workload: Workload, tasks: Sequence[str], data: Data) -> Truth:
    if EVALUATION in tasks:
        return scores.WAYS[workload.loss].truth(data.y_true, data.y_pred)
    return reference(workload.loss, data.y_true, data.y_pred)


def measure(
    workload: Workload,
    tasks: Sequence[str],
    contenders: Sequence[Contender],
    seconds: float,
    failures: list[str],
) -> list[Result]:
    """`compare` in this process, with data of its own."""
    data = make_data(workload)
    truth = truth_of(workload, tasks, data)
    return compare(workload, tasks, contenders, data, truth, seconds, failures=failures)


def measure_in_processes(
    n: int,
    workload: Workload,
    tasks: Sequence[str],
    contenders: Sequence[Contender],
    files: Sequence[str],
    seconds: float,
    failures: list[str],
) -> list[Result]:
    """The same in so many fresh processes, which share the seconds; `files` have contenders."""
    names = [who.name for who in contenders]
    settings = json.dumps([workload, list(tasks), names, list(files), seconds / n])
    runs = []
    for _ in range(n):
        results, failed = json.loads(run_python("-m", "fastloss.study.compare", settings))
        runs.append(results)
        failures += [text for text in failed if text not in failures]
    return [_joined(results) for results in zip(*runs, strict=True)]


def _joined(results: Sequence[Result]) -> Result:
    """Of who is in all of them."""
    cells = []
    for cell in results[0]["cells"]:
        same = [found for result in results if (found := find(result, cell["contender"]))]
        if len(same) == len(results):
            cells.append({**cell, **joined(same)})
    return {**results[0], "roof": joined([each["roof"] for each in results]), "cells": cells}


def main(settings: str) -> None:
    (loss, shape, *rest), tasks, names, files, seconds = json.loads(settings)
    field = [called(name, [*CONTENDERS, *users(files)]) for name in names]
    failures: list[str] = []
    workload = Workload(loss, tuple(shape), *rest)
    results = measure(workload, tasks, field, seconds, failures)
    print(json.dumps([results, failures]))


def compare(
    workload: Workload,
    tasks: Sequence[str],
    contenders: Iterable[Contender],
    data: Data,
    truth: Truth,
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
        for task in tasks_of(contender, tasks):
            name = _name(contender.name, task)
            try:
                job = contender.job(workload.loss, task, data)
                if job is not None:
                    checks[name] = check(contender, job, data, truth, workload.numbers)
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
                "numbers": workload.numbers,
                "roof": times[_name(ROOF, task)],
                "cells": cells,
            }
        )
    return results


def tasks_of(contender: Contender, tasks: Iterable[str]) -> list[str]:
    """What it does when asked for these, each once."""
    asked = (task for task in tasks if contender.evaluates or task != EVALUATION)
    return list(dict.fromkeys(map(contender.does, asked)))


def _name(contender: str, task: str) -> str:
    return f"{contender}: {task}"


def check(
    contender: Contender, job: Job, data: Data, truth: Truth, numbers: str = RANDOM
) -> dict[str, Any]:
    """Run it once, which also compiles and warms up, and hold its results against the truth.

    A formula that overflows is not a mistake of the benchmark, and is told; nor are a rival's
    roundings: a textbook formula loses digits, and in 16 bits some add up as well; or what is left
    of a formula where numbers are chosen to strain it. A wrong result is a mistake.
    """
    with job.setting(), np.errstate(all="ignore"):
        result = job.to_numpy(job.call())
    if not isinstance(truth, Reference):
        return scores.check(contender.name, result, truth)
    loss_error, grad_error = errors(result, truth, contender.gradient_of_sum)
    is_ours = contender.name.startswith(FASTLOSS)
    worst = max(loss_error, grad_error)
    remark = ""
    if not np.isfinite([loss_error, grad_error]).all():
        assert not is_ours, f"{contender.name}: not finite"
        remark = "overflows: the result is inf or nan"
    elif worst > tolerance(data.y_pred.dtype):
        strained = data.y_pred.dtype.itemsize <= 2 or numbers != RANDOM
        forgiven = not is_ours and (strained or worst < ROUNDED)
        assert forgiven, f"{contender.name}: an error of {worst:.1e}"
        remark = f"inexact: an error of {worst:.2%}"
    finite = [error if np.isfinite(error) else None for error in (loss_error, grad_error)]
    return {"loss_error": finite[0], "grad_error": finite[1], "remark": remark}


if __name__ == "__main__":
    main(*sys.argv[1:])
