"""Collects the results of a run, prints them as they come, and writes them down."""

import json
from collections.abc import Iterator

import pytest

from . import report
from .contenders import CONTENDERS
from .reference import Reference, reference
from .workloads import Data, Workload, make_data


class Run:
    """What the tests of one run share."""

    def __init__(self) -> None:
        self.results: list[report.Result] = []
        self._last: tuple[Workload, Data, Reference] | None = None

    def data(self, workload: Workload) -> tuple[Data, Reference]:
        """The data of one workload at a time, as the largest takes gigabytes."""
        if self._last is None or self._last[0] != workload:
            self._last = None  # before the next is made
            data = make_data(workload)
            self._last = workload, data, reference(workload.loss, data.y_true, data.y_pred)
        return self._last[1:]


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    run = Run()
    yield run
    if not run.results:
        return
    config = request.config
    info = config.hook.pytest_benchmark_generate_machine_info(config=config)
    missing = [contender.name for contender in CONTENDERS if not contender.available()]
    content = {
        "machine": report.machine(info["cpu"]),
        "not_installed": missing,
        "results": run.results,
    }
    report.LATEST.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + report.summary(run.results, missing))
        print(f"written to {report.LATEST}")
