"""`make bench`: the table that README.md shows."""

import pytest

from fastloss.study.contenders import CONTENDERS
from fastloss.study.workloads import TASKS, WORKLOADS, Workload

from .conftest import Compare


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_speed(workload: Workload, task: str, compare: Compare) -> None:
    compare(workload, [task], CONTENDERS)
