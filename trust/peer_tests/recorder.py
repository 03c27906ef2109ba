"""A plugin of pytest: runs a peer's tests with fastloss in its place, and notes what came of each.

`-p trust.peer_tests.recorder --peer MODULE --results FILE`. Each test is noted with its outcome,
how many calls fastloss answered in it, and what it left to the peer, and why.
"""

import functools
import importlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


class NotOffered(Exception):
    """fastloss does not compute this: the reason, in words for the page."""


class Answers:
    """Who answered in the test that is running."""

    def __init__(self) -> None:
        self.ours = 0
        self.left: set[str] = set()


_now = Answers()


def instead(
    ours: Callable[..., Any], theirs: Callable[..., Any], refusals: Mapping[str, str] | None = None
) -> Callable[..., Any]:
    """A function that fastloss answers, and the peer itself where fastloss cannot.

    `refusals` gives reasons for the errors that fastloss raises on purpose, by a pattern of their
    message; any other error is the test's.
    """

    @functools.wraps(theirs)
    def answer(*arguments: Any, **options: Any) -> Any:
        try:
            result = ours(*arguments, **options)
        except NotOffered as reason:
            _now.left.add(str(reason))
        except (TypeError, ValueError) as error:
            known = [why for what, why in (refusals or {}).items() if re.search(what, str(error))]
            if not known:
                raise
            _now.left.add(known[0])
        else:
            _now.ours += 1
            return result
        return theirs(*arguments, **options)

    return answer


class Recorder:
    def __init__(self, peer: Any, path: Path) -> None:
        self.peer, self.path = peer, path
        self.tests: list[dict[str, Any]] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for name, why in getattr(self.peer, "VOID", {}).items():
                if re.search(name, item.name):
                    item.add_marker(pytest.mark.skip(why))
        if hasattr(self.peer, "replace_in"):
            for module in {item.module for item in items if isinstance(item, pytest.Function)}:
                self.peer.replace_in(module)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        # A test that does not ask for a loss says nothing, whatever comes of it.
        _now.__init__()  # type: ignore[misc]
        yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        report = (yield).get_result()
        if report.when != "call" and not (report.when == "setup" and not report.passed):
            return
        why = ""
        if report.skipped:
            why = getattr(report, "wasxfail", None) or str(report.longrepr[2])
        name = re.sub(r"^.*?::", "", item.nodeid)
        if report.failed:
            known = getattr(self.peer, "CAUSES", {})
            why = known.get(name) or report.longrepr.reprcrash.message
        self.tests.append(
            {
                "test": name,
                "outcome": report.outcome,
                "why": why.removeprefix("Skipped: "),
                "ours": _now.ours,
                "left": sorted(_now.left),
            }
        )

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps(self.tests), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--peer", help="a module of trust.peer_tests")
    parser.addoption("--results", type=Path, help="where to write what came of the tests")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    peer = importlib.import_module(f"{__package__}.{config.getoption('--peer')}")
    if hasattr(peer, "install"):
        peer.install()
    config.pluginmanager.register(Recorder(peer, config.getoption("--results")))
