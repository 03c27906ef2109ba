"""`make bench TABLE=cold`: imports and first calls, in fresh processes."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastloss.study import Workload, cold
from fastloss.study.measure import rounds_of
from fastloss.study.report import aligned, noise, shape_text, times

WORKLOADS = (
    Workload("cross_entropy", (32, 10)),
    Workload("cross_entropy", (256, 1_000)),
    Workload("mse", (320,)),
)
PROCESSES = 7  # of each kind

Add = Callable[[Any, str], None]


def test_imports(benchmark: BenchmarkFixture, add: Add) -> None:
    _measure(benchmark, add, "imports", cold.imports)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_first_calls(workload: Workload, benchmark: BenchmarkFixture, add: Add) -> None:
    title = f"{workload.loss}.value_and_grad, {shape_text(workload._asdict())}, {workload.dtype}"
    _measure(benchmark, add, title, lambda: cold.first_calls(workload))


def _measure(
    benchmark: BenchmarkFixture, add: Add, title: str, processes: Callable[[], dict[str, float]]
) -> None:
    if benchmark.disabled:
        return
    processes()  # reads files that may lie on the disk only
    rounds = benchmark.pedantic(lambda: [processes() for _ in range(PROCESSES)])
    rows = [
        {"what": what, **rounds_of([seconds[what] for seconds in rounds])} for what in rounds[0]
    ]
    cells = [(row["what"], *times(row), ", ".join(noise(row))) for row in rows]
    text = aligned(title, [("", "median ms", "interval", "min ms", ""), *cells])
    add({"title": title, "rows": rows}, text)
