"""Time against the number of threads, beside the roof of as many: what limits a kernel.

Near the roof it is memory, which more threads do not help. Far below it, it is arithmetic as long
as the speed-up is the number of threads, and else the hand-over of the work.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from .contender import Job, threads
from .contenders import Fastloss, backends
from .report import BASIS, ROOF, aligned, noise, shape_text, times
from .roof import roof
from .workloads import Data, Workload

WORKLOADS = (
    Workload("cross_entropy", (65_536, 1_000)),
    Workload("cross_entropy", (1_000_000, 10)),
    Workload("cross_entropy", (8_192, 32_768)),
    Workload("mse", (32_000_000,)),
)
Row = dict[str, Any]  # of a backend and a number of threads


def thread_counts(most: int) -> list[int]:
    """Powers of two, the odd numbers between the first of them, and `most`."""
    powers = (2**k for k in range(most.bit_length()))
    return sorted(n for n in {*powers, 3, 5, 7, most} if n <= most)


def jobs(workload: Workload, task: str, data: Data, most: int) -> dict[tuple[str, int], Job]:
    """For each backend, and the roof, and each number of threads."""
    counts = thread_counts(most)
    job = Fastloss().job(workload.loss, task, data)
    assert job is not None
    result = {(ROOF, n): roof(task, data, n) for n in counts}
    for backend in backends():
        for n in counts:
            result[backend, n] = job._replace(setting=partial(threads, n, backend))
    return result


def rows(summaries: dict[tuple[str, int], dict[str, Any]]) -> list[Row]:
    return [
        {
            "backend": backend,
            "threads": n,
            "time": time,
            "share_of_roof": summaries[ROOF, n][BASIS] / time[BASIS],
            "speedup": summaries[backend, 1][BASIS] / time[BASIS],
        }
        for (backend, n), time in summaries.items()
    ]


def text(result: dict[str, Any]) -> str:
    def cells(row: Row) -> Sequence[str]:
        return (
            f"{row['backend']}, {row['threads']}",
            *times(row["time"]),
            f"{row['speedup']:.2f}",
            f"{row['share_of_roof']:.1%}",
            ", ".join(noise(row["time"])),
        )

    head = ("threads", "median ms", "interval", "min ms", "speed-up", "of the roof", "")
    title = f"{result['loss']}, {result['task']}, {shape_text(result)}, {result['dtype']}"
    return aligned(title, [head, *map(cells, result["rows"])])
