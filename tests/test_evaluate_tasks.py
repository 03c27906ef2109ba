"""`fastloss evaluate --task`: the numbers of the arrays, resumed or not, and a report of each."""

import json
import re
import signal
from collections.abc import Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from cards import assert_told
from plain import partly_long, plain

import fastloss as fl
from fastloss import cli
from fastloss.evaluation.files import one_pass
from fastloss.evaluation.report import task_page
from fastloss.evaluation.tasks import TASKS

pytestmark = plain
N = 60
RNG = np.random.default_rng(0)
X = RNG.standard_normal(N).astype(np.float32)
Y = (RNG.random(N) < 0.5).astype(np.int64)
GROUPS = RNG.integers(0, 3, N)
WEIGHT = RNG.uniform(0.5, 2, N)
CLUSTERS = RNG.integers(-3, 3, N)


class Case(NamedTuple):
    task: str
    labels: Any
    predictions: Any
    files: dict[str, Any]  # arrays besides, as options and as keywords
    arguments: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})
    pictures: int = 0
    known: Mapping[str, Any] = MappingProxyType({})  # keywords that the command finds by itself


CASES = {
    "binary": Case(
        "binary",
        Y,
        X,
        {"groups": GROUPS, "sample_weight": WEIGHT, "clusters": CLUSTERS},
        ("--option", "thresholds=0,0.5", "--bins", "5", "--bootstrap", "3"),
        {"thresholds": [0.0, 0.5], "n_bins": 5, "bootstrap": 3},
        pictures=4,
    ),
    "offsets": Case(
        "ranking",
        Y,
        X,
        {
            "offsets": np.array([0, 0, 7, 30, 30, 33, 60, 60]),
            "groups": GROUPS[:7],
            "query_weight": WEIGHT[:7],
        },
        ("--bootstrap", "3"),
        {"bootstrap": 3},
        pictures=1,
        known={"ids": np.arange(7)},
    ),
    "users": Case(
        "ranking",
        Y,
        X,
        {"offsets": np.array([0, 0, 7, 30, 30, 33, 60, 60]), "clusters": CLUSTERS[:7]},
        ("--option", "bootstrap=3"),
        {"bootstrap": 3},
        pictures=1,
    ),
    "probabilities": Case(
        "binary",
        Y.astype(bool),
        1 / (1 + np.exp(-X)),
        {},
        ("--from-probabilities", "--option", "ranks=False"),
        {"from_probabilities": True, "ranks": False},
        pictures=2,
    ),
    "numbers": Case(
        "regression",
        Y + 0.5,
        X,
        {"groups": GROUPS},
        ("--option", "rmsle=False", "--bootstrap", "3"),
        {"bootstrap": 3},
        known={"ids": np.arange(N)},
        pictures=2,
    ),
    "quantiles": Case(
        "regression",
        X.reshape(30, 2),
        np.stack([X.reshape(30, 2) - 0.5, X.reshape(30, 2) + 0.25], axis=-1),
        {"sample_weight": WEIGHT[:30], "clusters": CLUSTERS[:30]},
        ("--option", "quantiles=[0.1,0.9]"),
        {"quantiles": [0.1, 0.9]},
        pictures=2,
    ),
    "labels": Case(
        "multilabel",
        Y.reshape(20, 3),
        X.reshape(20, 3),
        {"groups": GROUPS[:20], "sample_weight": WEIGHT[:20], "mask": X.reshape(20, 3) < 1},
        ("--option", "threshold=0.5", "--bootstrap", "3"),
        {"threshold": 0.5, "bootstrap": 3},
        pictures=1,
        known={"ids": np.arange(20)},
    ),
    "queries": Case(
        "ranking",
        Y * 2,
        X,
        {"queries": GROUPS, "query_weight": WEIGHT[GROUPS], "clusters": GROUPS // 2},
        ("--option", "k=2", "--bootstrap", "3"),
        {"k": 2, "bootstrap": 3},
        pictures=1,
    ),
    "drawn queries": Case(
        "ranking", Y, X, {"queries": GROUPS}, ("--bootstrap", "3"), {"bootstrap": 3}, pictures=1
    ),
    "several axes": Case(
        "binary",
        Y.reshape(20, 3),
        X.reshape(20, 3),
        {},
        ("--bootstrap", "3"),
        {"bootstrap": 3},
        pictures=4,
        known={"ids": np.arange(N).reshape(20, 3)},
    ),
    "rows of documents": Case("ranking", Y.reshape(12, 5), X.reshape(12, 5), {}, pictures=1),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(one_pass, "CHUNK_BYTES", 100)
    monkeypatch.setattr(one_pass, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(one_pass, "_SAVE_SHARE", 1e9)


@pytest.fixture
def run(capsys):
    def run(*arguments, status=0):
        assert cli.main(["evaluate", *arguments]) == status, capsys.readouterr()
        printed = capsys.readouterr()
        return printed.err if status == 2 else printed.out

    return run


def saved(case):
    """Its arrays as files, and the arguments that name them."""
    np.save("y.npy", case.labels)
    np.savez("x.npz", x=case.predictions, other=np.zeros(3))
    arguments = ["y.npy", "x.npz:x", "--task", case.task, *case.arguments]
    for name, array in case.files.items():
        np.save(f"{name}.npy", array)
        arguments += [f"--{name.replace('_', '-')}", f"{name}.npy"]
    return arguments


def expected_of(case):
    given = {**case.files, **case.options, **case.known}
    return fl.evaluate(case.labels, case.predictions, task=case.task, **given)


def numbers_of(case):
    return {k: v for k, v in expected_of(case).to_dict().items() if k != "complete"}


def test_every_task_is_tried():
    assert {case.task for case in CASES.values()} | {"multiclass"} == TASKS.keys()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_numbers_are_those_of_the_arrays(case, run):
    arguments = saved(case)
    found = json.loads(run(*arguments, "--json"))
    assert found.pop("complete") is True
    assert found.keys() == numbers_of(case).keys()
    assert_told(found, numbers_of(case))
    assert run(*arguments).split() == repr(expected_of(case)).split()


@contextmanager
def interrupted(case):
    """Meanwhile there is a signal at the second chunk."""
    kind = TASKS[case.task].scorecard
    update, calls = kind.update, []

    @wraps(update)
    def counted(*arguments, **more):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return update(*arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "update", counted)
        yield


@pytest.mark.parametrize(
    ("before", "after", "pictures"),
    [
        ([], ["--html", "r.html"], 0),
        (["--html", "r.html"], [], 0),
        (["--html", "r.html"], ["--html", "s.html"], 2),
        (["--option", "memory-limit=80"], ["--html", "r.html", "--option", "memory_limit=9"], 0),
    ],
)
def test_what_shapes_no_number_may_be_another_when_a_run_is_resumed(before, after, pictures, run):
    case = CASES["numbers"]._replace(options={}, arguments=("--option", "median=True"))
    arguments = [*saved(case), "--state", "state"]
    with interrupted(case):
        run(*arguments, *before, status=130)
    assert run(*arguments, *after, "--resume") == run(*arguments)
    if "--html" in after:
        assert Path(after[1]).read_text().count("<svg") == pictures


@partly_long(2, "case", CASES.values(), ids=CASES)
def test_an_interrupted_run_is_partial_and_goes_on(case, run):
    arguments = [*saved(case), "--json", "--state", "state"]
    with interrupted(case):
        partial = json.loads(run(*arguments, status=130))
    assert partial["complete"] is False
    resumed = run(*arguments, "--resume")
    assert resumed == run(*arguments)  # to the bit
    found = json.loads(resumed)
    assert found.pop("complete") is True
    assert found.keys() == numbers_of(case).keys()
    assert_told(found, numbers_of(case))


@partly_long(2, "case", CASES.values(), ids=CASES)
def test_a_report_has_all_lines_and_tables(case, run):
    run(*saved(case), "--html", "r.html")
    text = Path("r.html").read_text()
    expected = expected_of(case)
    for name, value in expected.lines():
        assert name in text
        assert value in text
    # Wide ones are moved in their own frame.
    assert text.count("<svg") == text.count('<div class="wide"><svg') == case.pictures
    assert text.count("<table") == 1 + len(list(task_page.tables(expected.to_dict())))
    assert not re.findall(r'(?:src|href)="(?!#)', text)


def test_a_report_of_nothing(run):
    np.save("y.npy", np.zeros(0, int))
    np.save("x.npy", np.zeros(0))
    run("y.npy", "x.npy", "--task", "binary", "--html", "r.html")
    assert "nan" in Path("r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "bin"], "there is no task 'bin': there are 'multiclass', 'binary'"),
        (["--task", "binary", "--temperature", "2"], "--temperature is for --task multiclass"),
        (["--task", "binary", "--rows", "r.npz"], "--rows is for --task multiclass"),
        (["--task", "binary", "--queries", "y.npy"], "--task binary knows no --queries"),
        (["--task", "binary", "--offsets", "y.npy"], "--task binary knows no --offsets"),
        (["--task", "binary", "--option", "x=1"], "NAME is one of bins, bootstrap, from_prob"),
        (["--task", "binary", "--option", "bins=1000"], "bins must be None or a power of two"),
        (["--task", "binary", "--sample-weight", "few.npy"], "first axis of both is that of the"),
        (["--task", "ranking", "--from-probabilities"], "ranking knows no --from-probabilities"),
        (["--task", "ranking", "--bins", "3"], "ranking knows no --bins"),
        (["--task", "ranking", "--offsets", "o.npy", "--groups", "y.npy"], "--offsets has 1 que"),
        (["--task", "binary", "--query-weight", "y.npy"], "--task binary knows no --query-weight"),
        (["--query-weight", "y.npy"], "--query-weight is for another task"),
        (["--task", "binary", "--clusters", "x.npy"], "a group is an integer"),
        (["--task", "binary", "--clusters", "few.npy"], "a group is an integer"),
        (["--task", "binary", "--bootstrap", "1"], "bootstrap is 1, but must be 0 for none, or 2"),
        (["--task", "binary", "--bootstrap", "3", "--option", "bootstrap=4"], "--bootstrap say"),
        (["--mask", "y.npy"], "--mask is for another task"),
        (["--task", "binary", "--no-classes"], "--no-classes is for --task multiclass"),
        (["--task", "binary", "--bins", "3", "--option", "n_bins=4"], "n_bins=4 and --bins say"),
        (["--task", "regression", *["--option", "rmsle=True"] * 2], "and another --option say the"),
        ([], "x.npy"),
    ],
)
def test_what_is_not_of_the_task_is_refused(run, arguments, message):
    np.save("y.npy", Y)
    np.save("x.npy", X)
    np.save("few.npy", WEIGHT[:3])
    np.save("o.npy", np.array([0, N]))
    assert message in run("y.npy", "x.npy", *arguments, status=2)


def test_arrays_without_rows_or_numbers_get_a_clear_word(run):
    np.save("0d.npy", np.array(1.0))
    np.save("none.npy", np.empty((5, 0)))
    for task in TASKS:
        assert "0d.npy has shape ()" in run("0d.npy", "0d.npy", "--task", task, status=2)
    for task in ("multiclass", "multilabel", "regression"):
        assert "(5, 0)" in run("none.npy", "none.npy", "--task", task, status=2)
    for task, n in ("binary", 0), ("ranking", 5):
        found = run("none.npy", "none.npy", "--task", task)
        assert re.match(rf"(rows|queries) +{n}\b", found)


def test_logits_have_clusters_and_draw_them(run):
    logits = np.stack([X, -X, X / 2], axis=-1)
    for name, array in {"y": Y, "x": logits, "clusters": CLUSTERS}.items():
        np.save(f"{name}.npy", array)
    given = ("y.npy", "x.npy", "--clusters", "clusters.npy", "--bootstrap", "3")
    found = json.loads(run(*given, "--json", "--html", "r.html"))
    expected = fl.evaluate(Y, logits, clusters=CLUSTERS, bootstrap=3)
    assert_told(found, expected.to_dict())
    text = Path("r.html").read_text()
    assert "by 6 clusters" in text
    assert "bootstrap: mean reciprocal rank" in text


def test_a_bootstrap_knows_rows_by_their_numbers(run):
    logits = np.stack([X, -X, X / 2], axis=-1)
    np.save("y.npy", Y)
    np.save("x.npy", logits)
    found = json.loads(run("y.npy", "x.npy", "--json", "--option", "bootstrap=9"))["bootstrap"]
    expected = fl.evaluate(Y, logits, bootstrap=9, ids=np.arange(N)).bootstrap.to_dict()
    assert found["standard_error"] == pytest.approx(expected["standard_error"], rel=1e-13)
