"""`make bench TABLE=calls`: small calls, whose time is mostly that of the call itself."""

import pytest

from fastloss.study.contenders import LIBRARIES, Careful, TorchCompiled
from fastloss.study.workloads import CALLS, GRADIENT, LOSS, NEW_ARRAY, Workload

from .conftest import Compare

# Without those that are made for large arrays, and slower here than what they improve on.
CONTENDERS = [who for who in LIBRARIES if not isinstance(who, (Careful, TorchCompiled))]


@pytest.mark.parametrize("workload", CALLS, ids=lambda workload: workload.name)
def test_calls(workload: Workload, compare: Compare) -> None:
    compare(workload, [LOSS, NEW_ARRAY, GRADIENT], CONTENDERS, unit="us")
