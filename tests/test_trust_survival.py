"""What fastloss survives: its column of the matrix, and that the matrix can say otherwise."""

import os
import signal

import pytest

from trust import report, scenarios, stores, survival
from trust.contenders import ROWS, Verdict, compare, truth

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def ours(scenario):
    """In whose place fastloss goes through it."""
    return "fastloss" if "fastloss" in scenario.who else "prange"


def brief(table):
    return [name for name, entry in table.items() if entry.brief]


@pytest.mark.parametrize("name", brief(scenarios.SCENARIOS))
@pytest.mark.long
def test_survives(name):
    who = ours(scenarios.SCENARIOS[name])
    # Far more time than it takes: this machine may have a lot else to do, and much to compile.
    verdict = survival.cell(name, who, few=True, at_least=300)
    if verdict.startswith("skipped: "):
        pytest.skip(verdict.removeprefix("skipped: "))
    assert verdict.startswith("ok"), verdict


@pytest.mark.parametrize("name", brief(stores.ORDEALS))
@pytest.mark.long
def test_a_store_costs_a_compilation_at_worst(name):
    assert survival.store_cell(name, "fastloss", few=True) == "ok"


def test_wrong_numbers_are_found():
    loss, grad = truth()
    assert scenarios.verdict_of(lambda: compare(loss, grad)) == "ok"
    for wrong in (loss * 1.0001, float("nan")):
        verdict = scenarios.verdict_of(lambda wrong=wrong: compare(wrong, grad))
        assert verdict == f"wrong numbers: the loss is {wrong} and not {loss}"
    off = grad.copy()
    off[7, 3] += 1e-3 / ROWS
    assert scenarios.verdict_of(lambda: compare(loss, off)).startswith("wrong numbers: the grad")


def test_verdicts():
    def fail():
        raise OSError("no\nroom")

    def remark():
        return "with a remark"

    def missing():
        import a_module_that_is_not_there  # noqa: F401

    assert scenarios.verdict_of(fail) == "fails: OSError: no room"
    assert scenarios.verdict_of(remark) == "ok: with a remark"
    assert scenarios.verdict_of(missing) == ("skipped: a_module_that_is_not_there is not installed")


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12: fork with threads
def test_what_becomes_of_a_child_reaches_the_parent():
    def wrong():
        raise Verdict("wrong numbers: 1")

    assert scenarios.verdict_of(lambda: scenarios.forked(int)) == "ok: 0"
    assert scenarios.verdict_of(lambda: scenarios.forked([].clear)) == "ok"
    for child, verdict in [
        (wrong, "wrong numbers: 1, in the child"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL, in the child"),
        (lambda: os._exit(0), "fails: ended without a word, in the child"),
    ]:
        assert scenarios.verdict_of(lambda child=child: scenarios.forked(child)) == verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("import time; time.sleep(60)", "hangs"),
        ("import os; os.abort()", "killed by SIGABRT"),
        ("print('ok'); raise SystemExit('at the end')", "fails: at the end"),
        ("pass", "fails: the process ended before the scenario did"),
        ("print('said before'); print('ok: so')", "ok: so"),
    ],
)
def test_what_becomes_of_a_process_is_its_verdict(code, verdict, monkeypatch):
    monkeypatch.setattr(survival, "_CODE", code)
    monkeypatch.setattr(survival, "SECONDS", 1 if verdict == "hangs" else 60)
    assert survival.cell("four_threads", "fastloss") == verdict


def test_an_error_in_a_thread_is_no_survival():
    def fail():
        raise Verdict("wrong numbers: 1")

    for run in (
        lambda: scenarios.in_threads(3, fail),
        lambda: scenarios.again(fail)(),
        lambda: enter_and_leave(scenarios.meanwhile(fail, 2)),
    ):
        assert scenarios.verdict_of(run) == "wrong numbers: 1"


def enter_and_leave(context):
    with context:
        pass


@pytest.mark.long
def test_growth_is_found():
    kept = []

    def leak_memory():
        kept.append(b"x" * (scenarios.GROWTH * 50))  # more than others may have freed

    def leak_a_file():
        kept.append(os.open(os.devnull, os.O_RDONLY))

    assert scenarios.verdict_of(lambda: scenarios.steady(lambda: None, 20)) == "ok"
    verdict = scenarios.verdict_of(lambda: scenarios.steady(leak_memory, 40))
    assert verdict.startswith("fails: memory grows")
    kept.clear()
    verdict = scenarios.verdict_of(lambda: scenarios.steady(leak_a_file, 12, patience=0.1))
    for file in kept:
        os.close(file)
    assert verdict == "fails: 9 files more after 9 cycles"


def test_every_failure_of_ours_on_the_page_is_explained():
    result = report.stored("survival")["result"]
    failures = {
        (row["name"], who)
        for table in ("scenarios", "stores")
        for row in result[table]
        for who, verdict in row["cells"].items()
        if who in survival.OURS and not verdict.startswith(("ok", "skipped"))
    }
    assert failures == set(survival.EXPLANATIONS)


def test_the_page_has_all_scenarios():
    result = report.stored("survival")["result"]
    for table, entries in (("scenarios", scenarios.SCENARIOS), ("stores", stores.ORDEALS)):
        assert [row["name"] for row in result[table]] == list(entries)
