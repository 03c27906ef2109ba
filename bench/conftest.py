"""Collects the results of a run, prints them as they come, and writes them down."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastloss.study import LOSS, Contender, Job, Workload, report
from fastloss.study.compare import Truth, truth_of
from fastloss.study.compare import compare as compared
from fastloss.study.machine import machine
from fastloss.study.measure import MIN_ROUNDS, SECONDS, Clock, Summary, timed
from fastloss.study.workloads import Data, make_data, needed_bytes

from . import storage


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seconds",
        type=float,
        metavar="S",
        help="benchmarks: time each workload for about so long, whatever its table says; all "
        "contenders and tasks together, and not less than some rounds",
    )


class Run:
    """What the tests of one run share."""

    def __init__(self) -> None:
        self.tables: dict[str, list[report.Result]] = {}
        self.missing: dict[str, list[str]] = {}  # contenders of each table that cannot take part
        self._last: tuple[Workload, Data, Truth] | None = None

    def data(self, workload: Workload, tasks: Sequence[str] = (LOSS,)) -> tuple[Data, Truth]:
        """The data of one workload at a time, as the largest takes gigabytes."""
        if self._last is None or self._last[0] != workload:
            self._last = None  # before the next is made
            if psutil.virtual_memory().available < needed_bytes(workload):
                pytest.skip(f"needs {needed_bytes(workload) / 2**30:.0f} GiB of memory")
            data = make_data(workload)
            self._last = workload, data, truth_of(workload, tasks, data)
        return self._last[1:]


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    run = Run()
    yield run
    if not run.tables:
        return
    here = machine()
    capture = request.config.pluginmanager.getplugin("capturemanager")
    for table, results in run.tables.items():
        content = {"machine": here, "not_available": run.missing.get(table, [])}
        path = storage.path(table)
        text = json.dumps({**content, "results": results}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")
        with capture.global_and_fixture_disabled():
            print()
            if table in run.missing:  # a comparison
                print(report.summary(results, run.missing[table]))
            print(f"written to {path}")


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    """Each table has a file of tests; the one of this test."""
    return request.path.stem.removeprefix("test_").replace("_", "-")


@pytest.fixture
def add(
    run: Run, table: str, capsys: pytest.CaptureFixture[str]
) -> Callable[[report.Result, str], None]:
    """Keeps a result for the file of the table, and prints it."""

    def add(result: report.Result, text: str) -> None:
        run.tables.setdefault(table, []).append(result)
        with capsys.disabled():
            print(f"\n\n{text}")

    return add


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> Callable[[float], float]:
    """The seconds that a table gives to a workload, unless the user wants others."""

    def budget(seconds: float) -> float:
        chosen = request.config.getoption("seconds")
        return seconds if chosen is None else chosen

    return budget


def clock_of(benchmark: BenchmarkFixture) -> Clock:
    """Takes times within pytest-benchmark, or none where benchmarks are switched off.

    It times one function in each test, one after the other: here that is all rounds of all
    contenders. What each of them took goes into its JSON, as `extra_info`.
    """

    def clock(
        jobs: dict[str, Job], seconds: float = SECONDS, min_rounds: int = MIN_ROUNDS
    ) -> dict[str, Summary]:
        if benchmark.disabled:
            return {}
        run = partial(timed, jobs, seconds, min_rounds)
        found = run() if benchmark.extra_info else benchmark.pedantic(run)
        benchmark.extra_info.update(found)
        return found

    return clock


@pytest.fixture
def clock(benchmark: BenchmarkFixture) -> Clock:
    return clock_of(benchmark)


Compare = Callable[..., None]


@pytest.fixture
def compare(
    clock: Clock,
    run: Run,
    table: str,
    add: Callable[[report.Result, str], None],
    budget: Callable[[float], float],
) -> Compare:
    """Times the contenders that are there, at a workload, and keeps and prints what was found."""

    def compare(
        workload: Workload,
        tasks: Sequence[str],
        contenders: Sequence[Contender],
        unit: str = "ms",
        seconds: float = SECONDS,
        min_rounds: int = MIN_ROUNDS,
    ) -> None:
        present = [contender for contender in contenders if contender.available()]
        run.missing[table] = [who.name for who in contenders if who not in present]
        arguments = workload, tasks, present, *run.data(workload, tasks)
        for result in compared(*arguments, budget(seconds), min_rounds, clock):
            add(result, report.table(result, unit))

    return compare
