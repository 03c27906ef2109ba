"""`make bench TABLE=calls`: small calls, whose time is mostly that of the call itself."""

import pytest

from .conftest import Compare
from .contenders import LIBRARIES, Careful, TorchCompiled
from .workloads import CALLS, GRADIENT, LOSS, NEW_ARRAY, Workload

# Without those that are made for large arrays, and slower here than what they improve on.
CONTENDERS = [who for who in LIBRARIES if not isinstance(who, (Careful, TorchCompiled))]


@pytest.mark.parametrize("workload", CALLS, ids=lambda workload: workload.name)
def test_calls(workload: Workload, compare: Compare) -> None:
    compare(workload, [LOSS, NEW_ARRAY, GRADIENT], CONTENDERS, unit="us")
