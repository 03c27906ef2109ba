"""`make bench TABLE=cross-entropy`: rows of all lengths, in four dtypes, every way to call."""

import pytest

from fastloss.study.contenders import LIBRARIES
from fastloss.study.workloads import CROSS_ENTROPY, GRADIENT, IN_PLACE, LOSS, NEW_ARRAY, Workload

from .conftest import Compare


@pytest.mark.parametrize("workload", CROSS_ENTROPY, ids=lambda workload: workload.name)
def test_cross_entropy(workload: Workload, compare: Compare) -> None:
    compare(workload, [LOSS, NEW_ARRAY, GRADIENT, IN_PLACE], LIBRARIES, seconds=8.0, min_rounds=5)
