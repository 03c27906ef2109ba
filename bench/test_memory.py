"""`make bench TABLE=memory`: what a call takes beyond its arguments."""

from collections.abc import Callable
from typing import Any

import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastloss.study import memory
from fastloss.study.workloads import needed_bytes


def test_memory(benchmark: BenchmarkFixture, add: Callable[[Any, str], None]) -> None:
    workload = memory.WORKLOAD
    if psutil.virtual_memory().available < needed_bytes(workload):
        pytest.skip(f"needs {needed_bytes(workload) / 2**30:.0f} GiB of memory")
    if benchmark.disabled:
        return
    cells = benchmark.pedantic(lambda: [memory.measure(workload, *case) for case in memory.cases()])
    result = {
        "loss": workload.loss,
        "shape": workload.shape,
        "dtype": workload.dtype,
        "rows": list(filter(None, cells)),
    }
    add(result, memory.text(result))
