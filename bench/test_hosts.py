"""`make bench TABLE=hosts`: losses within libraries that train with them, beside their own."""

from collections.abc import Callable

import pytest

from fastloss.study import hosts, report
from fastloss.study.measure import MIN_ROUNDS, Clock


@pytest.mark.filterwarnings("ignore:.*starts from")
@pytest.mark.parametrize("case", [*hosts.CASES, *hosts.LANGUAGE], ids=lambda case: case.name)
def test_hosts(
    case: hosts.Case,
    clock: Clock,
    add: Callable[[report.Result, str], None],
    budget: Callable[[float], float],
) -> None:
    if not case.available():
        pytest.skip(f"{case.host} is not installed")
    times = clock(hosts.jobs(case), budget(10.0), MIN_ROUNDS)
    if times:
        result = hosts.result(case, times)
        add(result, hosts.text(result))
