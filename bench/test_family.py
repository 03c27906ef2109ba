"""`make bench TABLE=family`: every loss that there is, beside the roof and PyTorch."""

import pytest

from .conftest import Compare
from .contenders import FAMILY
from .workloads import LOSSES, TASKS, Workload


@pytest.mark.parametrize("workload", LOSSES, ids=lambda workload: workload.name)
def test_family(workload: Workload, compare: Compare) -> None:
    compare(workload, TASKS, FAMILY)
