"""Collects the results of a run, prints them as they come, and writes them down."""

import json
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from . import report
from .compare import compare as compared
from .contenders import Contender
from .measure import MIN_ROUNDS, SECONDS, claim
from .reference import Reference, reference
from .workloads import Data, Workload, make_data, needed_bytes


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
        self._last: tuple[Workload, Data, Reference] | None = None

    def data(self, workload: Workload) -> tuple[Data, Reference]:
        """The data of one workload at a time, as the largest takes gigabytes."""
        if self._last is None or self._last[0] != workload:
            self._last = None  # before the next is made
            if psutil.virtual_memory().available < needed_bytes(workload):
                pytest.skip(f"needs {needed_bytes(workload) / 2**30:.0f} GiB of memory")
            data = make_data(workload)
            self._last = workload, data, reference(workload.loss, data.y_true, data.y_pred)
        return self._last[1:]


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    run = Run()
    yield run
    if not run.tables:
        return
    config = request.config
    info = config.hook.pytest_benchmark_generate_machine_info(config=config)
    machine = report.machine(info["cpu"])
    capture = config.pluginmanager.getplugin("capturemanager")
    for table, results in run.tables.items():
        content = {"machine": machine, "not_available": run.missing.get(table, [])}
        path = report.path(table)
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


Compare = Callable[..., None]


@pytest.fixture
def compare(
    benchmark: BenchmarkFixture,
    run: Run,
    table: str,
    add: Callable[[report.Result, str], None],
    budget: Callable[[float], float],
) -> Compare:
    """Times the contenders that are there, at a workload, and keeps and prints what was found."""
    claim(benchmark)

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
        arguments = benchmark, workload, tasks, present, *run.data(workload)
        for result in compared(*arguments, seconds=budget(seconds), min_rounds=min_rounds):
            add(result, report.table(result, unit))

    return compare
