"""`make bench`: the table that README.md shows."""

import pytest

from .conftest import Compare
from .contenders import CONTENDERS
from .workloads import TASKS, WORKLOADS, Workload


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_speed(workload: Workload, task: str, compare: Compare) -> None:
    compare(workload, [task], CONTENDERS)
