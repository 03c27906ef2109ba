"""`make bench TABLE=family`: every loss that there is, beside the roof and PyTorch."""

import pytest

from fastloss.study.contenders import FAMILY
from fastloss.study.workloads import LOSSES, TASKS, Workload

from .conftest import Compare


@pytest.mark.parametrize("workload", LOSSES, ids=lambda workload: workload.name)
def test_family(workload: Workload, compare: Compare) -> None:
    compare(workload, TASKS, FAMILY)
