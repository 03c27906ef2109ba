"""How much memory a call takes beyond its arguments.

In a process of its own, as a process that has given memory back is no measure for the next call.
What counts is the peak of resident memory during the call, beyond what was there before it: the
arrays of the data, which are all touched, and of libraries and kernels what a smaller call needs.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil

from .contender import Contender, Job
from .contenders import LIBRARIES, called, users
from .peak import measures_resident, peak_resident
from .processes import run_python
from .report import aligned, shape_text
from .workloads import GRADIENT, IN_PLACE, NEW_ARRAY, Workload, make_data

WORKLOAD = Workload("cross_entropy", (8_192, 32_768))
TASKS = (GRADIENT, IN_PLACE, NEW_ARRAY)

_SAMPLE_SECONDS = 1e-3
_FEW = 64  # rows


def cases() -> list[tuple[str, str]]:
    """The contenders that are there, with each task that they do in a way of their own."""
    return [(who.name, task) for who in LIBRARIES if who.available() for task in tasks_of(who)]


def tasks_of(who: Contender) -> list[str]:
    return list(dict.fromkeys(map(who.does, TASKS)))


def measure(
    workload: Workload, contender: str, task: str, files: Sequence[str] = ()
) -> dict[str, Any] | None:
    """In a fresh process; `bytes` is the growth, `method` how it was found.

    None from who does not compute this loss.
    """
    settings = json.dumps([workload, contender, task, list(files)])
    found = json.loads(run_python("-m", "fastloss.study.memory", settings))
    return found and {"contender": contender, "task": task, **found}


def main(settings: str) -> None:
    (loss, shape, *rest), contender, task, files = json.loads(settings)
    workload = Workload(loss, tuple(shape), *rest)
    who = called(contender, [*LIBRARIES, *users(files)])
    # The same length of rows first, and enough of them for threads to be started.
    small = workload._replace(shape=(min(_FEW, shape[0]), *shape[1:]))
    for each in dict.fromkeys((small, workload)):
        job = who.job(each.loss, task, make_data(each))
        if job is None:
            print("null")
            return
        if who.compiles_shapes:
            with job.setting():
                job.call()
        n_bytes, method = growth(job)
    print(json.dumps({"bytes": n_bytes, "method": method}))


def growth(job: Job) -> tuple[int, str]:
    """By how many bytes the peak during the call exceeds what was there before, and how found."""
    with job.setting(), np.errstate(all="ignore"):
        if measures_resident():
            before = peak_resident()
            job.call()
            return peak_resident() - before, "peak of the kernel"
        return sampled(job.call, lambda info: int(info.rss)), "samples"


def sampled(call: Callable[[], Any], size: Callable[[Any], int]) -> int:
    """Looks every millisecond at a size of this process: a peak that is shorter is missed."""
    process, done = psutil.Process(), threading.Event()
    before = highest = size(process.memory_info())

    def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, size(process.memory_info()))
            time.sleep(_SAMPLE_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return highest - before


def text(result: dict[str, Any]) -> str:
    """In MiB, and in arrays of the size of the gradient."""
    size = int(np.prod(result["shape"])) * np.dtype(result["dtype"]).itemsize
    rows = [("", "MiB", "arrays", "")]
    for cell in result["rows"]:
        name = f"{cell['contender']}: {cell['task']}"
        remark = "" if cell["method"] != "samples" else "by samples"
        n_arrays = f"{cell['bytes'] / size:.2f}"
        rows.append((name, f"{cell['bytes'] / 2**20:,.1f}", n_arrays, remark))
    title = f"memory at the peak of a call beyond its arguments, {result['loss']}, "
    return aligned(title + f"{shape_text(result)}, {result['dtype']}", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
