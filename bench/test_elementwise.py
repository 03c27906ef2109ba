"""`make bench TABLE=elementwise`: losses of elements, from the cache and from memory."""

import pytest

from .conftest import Compare
from .contenders import LIBRARIES
from .workloads import ELEMENTWISE, GRADIENT, IN_PLACE, LOSS, Workload


@pytest.mark.parametrize("workload", ELEMENTWISE, ids=lambda workload: workload.name)
def test_elementwise(workload: Workload, compare: Compare) -> None:
    compare(workload, [LOSS, GRADIENT, IN_PLACE], LIBRARIES, seconds=8.0)
