"""Where threads begin to pay: the size from which on all threads are faster than one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import fastloss as fl

from ..call import blocks
from .contender import Job, threads
from .contenders import Fastloss
from .report import BASIS, aligned, noise, ratio, three_digits
from .workloads import TASKS, Data, Workload

# What an element costs, from least to most, and with it the size at which threads begin to pay.
COST_CLASSES: tuple[tuple[str, int | None], ...] = (
    ("mse", None),
    ("binary_cross_entropy_with_logits", None),
    ("cross_entropy", 10),
    ("cross_entropy", 100),
    ("cross_entropy", 1_000),
)
SIZES = tuple(2**k for k in range(12, 23))

Row = dict[str, Any]  # of a size: the times, and their ratio


@contextmanager
def threads_at_any_size(work: int) -> Iterator[None]:
    """Calls with so much to do are handed out, a part to each thread.

    The one place that knows where the package keeps its own cutoff. What is below a block is one
    task all the same: blocks are what makes results independent of threads.
    """
    before = blocks.LEAST_TASK
    blocks.LEAST_TASK = min(before, work // fl.get_num_threads())
    try:
        yield
    finally:
        blocks.LEAST_TASK = before


def work_of(loss: str, size: int) -> int:
    """What there is to do, in elements of squared error, as the package reckons it."""
    cost: int = getattr(fl, loss).cost
    return size * cost


def workload_of(loss: str, classes: int | None, size: int) -> Workload:
    """One of about `size` elements: as many as make whole rows."""
    return Workload(loss, (size,) if classes is None else (size // classes, classes))


def jobs(workload: Workload, data: Data) -> dict[tuple[str, bool], Job]:
    """For each task, on all threads or not."""
    all_threads = partial(threads_at_any_size, work_of(workload.loss, workload.size))
    result = {}
    for task in TASKS:
        job = Fastloss().job(workload.loss, task, data)
        assert job is not None
        result[task, False] = job._replace(setting=partial(threads, 1))
        result[task, True] = job._replace(setting=all_threads)
    return result


def row(size: int, one: dict[str, Any], several: dict[str, Any]) -> Row:
    factor = ratio(one, several).value
    return {"size": size, "one_thread": one, "all_threads": several, "ratio": factor}


def pays_from(rows: Sequence[Row]) -> int | None:
    """The first size from which on all threads are never slower; None if they are at the last."""
    first = None
    for row in reversed(rows):
        if row["ratio"] < 1:
            break
        first = row["size"]
    return first


def text(result: dict[str, Any]) -> str:
    rows: list[Sequence[str]] = [
        ("elements", "1 thread us", f"{result['threads']} threads us", "ratio", "")
    ]
    sizes = (row["size"] for row in result["rows"])
    used_from = next(filter(lambda n: blocks.is_shared(work_of(result["loss"], n)), sizes), None)
    for row in result["rows"]:
        cells = row["one_thread"], row["all_threads"]
        times = [three_digits(cell[BASIS], "us") for cell in cells]
        remarks = ["threads pay from here"] if row["size"] == result["pays_from"] else []
        remarks += ["and are used from here"] if row["size"] == used_from else []
        remarks += dict.fromkeys(remark for cell in cells for remark in noise(cell))
        rows.append((f"{row['size']:,}", *times, f"{row['ratio']:.2f}", ", ".join(remarks)))
    classes = f", {result['classes']:,} classes" if result["classes"] else ""
    title = f"{result['loss']}{classes}, {result['dtype']}, {result['task']}"
    return aligned(title, rows)
