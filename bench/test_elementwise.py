"""`make bench TABLE=elementwise`: losses of elements, from the cache and from memory."""

import pytest

from fastloss.study.contenders import LIBRARIES
from fastloss.study.workloads import ELEMENTWISE, GRADIENT, IN_PLACE, LOSS, Workload

from .conftest import Compare


@pytest.mark.parametrize("workload", ELEMENTWISE, ids=lambda workload: workload.name)
def test_elementwise(workload: Workload, compare: Compare) -> None:
    compare(workload, [LOSS, GRADIENT, IN_PLACE], LIBRARIES, seconds=8.0)
