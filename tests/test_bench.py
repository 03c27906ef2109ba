"""The benchmarks compute what they should, and show all they found. Nothing here is timed."""

import io
import itertools
import json
import sys
import time
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from plain import partly_long, plain

ROOT = Path(__file__).parent.parent
# `bench` is no part of the package, so that it is found only next to this folder.
sys.path.insert(0, str(ROOT))

import fastloss as fl  # noqa: E402
from bench import conftest, readme, storage  # noqa: E402
from fastloss.catalogue import entries  # noqa: E402
from fastloss.kernels.storage import DECODED, FLOATS  # noqa: E402
from fastloss.study import (  # noqa: E402
    cold,
    contenders,
    cutoff,
    libraries,
    measure,
    memory,
    numpy_losses,
    peak,
    report,
    roof,
    scaling,
    scorecard,
    scores,
    tables,
)
from fastloss.study import compare as compare_module  # noqa: E402
from fastloss.study.compare import check, compare, truth_of  # noqa: E402
from fastloss.study.contender import FASTLOSS, NAIVE, Job, threads  # noqa: E402
from fastloss.study.contenders import CONTENDERS, LIBRARIES  # noqa: E402
from fastloss.study.reference import FORMULAS, Reference, errors, reference, tolerance  # noqa: E402
from fastloss.study.workloads import (  # noqa: E402
    CALLS,
    CONFIDENT,
    CROSS_ENTROPY,
    ELEMENTWISE,
    EVALUATED,
    EVALUATION,
    EXTREME,
    GRADIENT,
    IN_PLACE,
    LOSS,
    NEW_ARRAY,
    NUMBERS,
    RANDOM,
    SOFT_LABELS,
    SORTED,
    TIED,
    WORKLOADS,
    Data,
    Workload,
    make_data,
)

ALL_TASKS = (LOSS, NEW_ARRAY, GRADIENT, IN_PLACE)
LOSSES = sorted(FORMULAS)
ROWWISE = ("cross_entropy", "categorical_cross_entropy")


def tiny(loss, dtype="float32", large=False):
    n = 70_000 if large else 60
    return Workload(loss, (n // 10, 10) if loss in ROWWISE else (n,), dtype)


# ---------------------------------------------------------------------------------------------
# Contenders


def test_every_loss_of_the_workloads_has_a_reference():
    assert {workload.loss for workload in WORKLOADS} == set(LOSSES)
    assert {workload.loss for workload in CROSS_ENTROPY + ELEMENTWISE + CALLS} <= set(LOSSES)


def test_workloads_of_the_tables():
    """A row that loses cannot get lost."""
    shapes = ["32x10", "1024x10", "1000000x2", "1000000x10", "262144x32", "65536x100"]
    shapes += ["65536x1000", "16384x4096", "8192x32768", "2048x131072", "16x262144"]
    names = [f"cross_entropy-{shape}-{dtype}" for shape in shapes for dtype in FLOATS]
    names += [f"cross_entropy-{shape}-float32-soft" for shape in ("65536x100", "8192x32768")]
    assert sorted(names) == sorted(workload.name for workload in CROSS_ENTROPY)

    losses = ["mse", "mae", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
    cases = itertools.product(losses, ["32000000", "1000000"], ["float32", "float64"])
    assert sorted(map("-".join, cases)) == sorted(workload.name for workload in ELEMENTWISE)

    names = [f"cross_entropy-{rows}x10-float32" for rows in (1, 32, 128, 1024)]
    assert sorted([*names, "mse-320-float32"]) == sorted(workload.name for workload in CALLS)


def test_soft_labels_add_up_to_1():
    data = make_data(Workload("cross_entropy", (60, 10), labels=SOFT_LABELS))
    assert data.y_true.dtype == np.float32
    np.testing.assert_allclose(data.y_true.sum(axis=1), 1, rtol=1e-6)


def other_data(loss, shape, numbers, dtype="float32"):
    data = make_data(Workload(loss, shape, dtype, numbers=numbers))
    random = make_data(Workload(loss, shape, dtype))
    np.testing.assert_array_equal(data.y_true, random.y_true)
    assert data.y_pred.dtype == random.y_pred.dtype
    return data, random.y_pred


@pytest.mark.parametrize(
    ("loss", "shape"), [("cross_entropy", (60, 10)), ("binary_cross_entropy_with_logits", (600,))]
)
def test_data_that_are_not_random(loss, shape):
    data, random = other_data(loss, shape, SORTED)
    np.testing.assert_array_equal(data.y_pred, np.sort(random, axis=-1))
    data, random = other_data(loss, shape, TIED)
    np.testing.assert_array_equal(data.y_pred, np.round(random))
    assert len(np.unique(data.y_pred)) < 30
    data, random = other_data(loss, shape, EXTREME)
    np.testing.assert_array_equal(data.y_pred, 50 * random)
    assert np.ptp(data.y_pred) > 2 * np.log(np.finfo(np.float32).max)
    data, random = other_data(loss, shape, CONFIDENT)
    if len(shape) == 1:
        np.testing.assert_array_equal(data.y_pred > 0, data.y_true)
        assert np.abs(data.y_pred).min() >= 8
    else:
        of_label = np.take_along_axis(data.y_pred, data.y_true[:, None], axis=1)[:, 0]
        assert (of_label - np.sort(data.y_pred, axis=1)[:, -2] >= 7.99).all()
    assert make_data(Workload(loss, shape, numbers=RANDOM)).y_pred.tobytes() == random.tobytes()


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize(
    "who",
    [
        numpy_losses.Naive(),
        numpy_losses.Careful(),
        pytest.param(contenders.Fastloss(), marks=pytest.mark.long),
    ],
)
def test_only_rivals_are_inexact_or_overflow_where_data_are_not_random(who, numbers):
    """None of it is called wrong."""
    for loss, shape in (
        ("cross_entropy", (600, 100)),
        ("binary_cross_entropy_with_logits", (999,)),
    ):
        data, _ = other_data(loss, shape, numbers)
        truth = reference(loss, data.y_true, data.y_pred)
        for task in (LOSS, GRADIENT):
            found = check(who, who.job(loss, task, data), data, truth, numbers)
            may_overflow = who.name == NAIVE and numbers == EXTREME
            assert may_overflow or "overflows" not in found["remark"]
            assert who.name != FASTLOSS or not found["remark"]


def here(contender):
    if not contender.available():
        pytest.skip(f"{contender.name} is not installed, or does not work here")


def workloads_for(contender):
    if isinstance(contender, libraries.TorchCompiled):  # two seconds for each job
        return [tiny("cross_entropy")]
    cases = itertools.product(LOSSES, ["float32", "float64"], [False, True])
    soft = tiny("cross_entropy")._replace(labels=SOFT_LABELS)
    return [*itertools.starmap(tiny, cases), soft]


@pytest.mark.parametrize(
    "contender",
    [who for who in CONTENDERS if not isinstance(who, (libraries.TorchMetrics, contenders.Binned))],
    ids=lambda contender: contender.name,
)
@pytest.mark.long
def test_contender_agrees_with_the_reference(contender):
    here(contender)
    n_jobs = 0
    for workload in workloads_for(contender):
        loss = workload.loss
        data = make_data(workload)
        truth = reference(loss, data.y_true, data.y_pred)
        y_pred = data.y_pred.copy()
        for task in dict.fromkeys(map(contender.does, ALL_TASKS)):
            job = contender.job(loss, task, data)
            if job is None:
                continue
            n_jobs += 1
            for _ in range(2):  # the second finds what the first left in the buffers
                with job.setting():
                    result = job.to_numpy(job.call())
                assert isinstance(result, tuple) == (task != LOSS)
                error = max(errors(result, truth, contender.gradient_of_sum))
                assert error <= tolerance(data.y_pred.dtype), (workload, task)
        np.testing.assert_array_equal(data.y_pred, y_pred)
    assert n_jobs > 0


def huber(y, p):
    r = p - y
    return np.where(abs(r) <= 1, r * r / 2, abs(r) - 0.5), np.clip(r, -1, 1)


def cosine(y, p):
    y_norm, p_norm = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (y, p))
    cosines = (y * p).sum(axis=-1, keepdims=True) / (y_norm * p_norm)
    return 1 - cosines[..., 0], (cosines * p / p_norm - y / y_norm) / p_norm


def focal(labels, x):
    """The gradient by the chain rule: that of -(1 - p)^2 log(p) by p, and that of p by x."""
    probabilities = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    at_label = np.eye(x.shape[-1])[labels]
    p = (at_label * probabilities).sum(axis=-1, keepdims=True)
    slope = 2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p
    return -(((1 - p) ** 2) * np.log(p))[..., 0], slope * p * (at_label - probabilities)


def dice(t, p):
    a = 2 * (t * p).sum(axis=-1, keepdims=True) + 1
    b = (t + p).sum(axis=-1, keepdims=True) + 1
    return 1 - (a / b)[..., 0], -(2 * t * b - a) / b**2


# Losses that fastloss is compared at, beyond those that all tables have.
MORE_FORMULAS = {
    "focal": focal,
    "dice": dice,
    "huber": huber,
    "quantile": lambda y, p: (abs(p - y) / 2, np.sign(p - y) / 2),
    "poisson": lambda y, x: (np.exp(x) - y * x, np.exp(x) - y),
    "gamma": lambda y, x: (x + y * np.exp(-x), 1 - y * np.exp(-x)),
    "log_cosh": lambda y, p: (np.log(np.cosh(p - y)), np.tanh(p - y)),
    "kl_divergence": lambda p, q: ((p * np.log(p / q)).sum(axis=-1), -p / q),
    "cosine_distance": cosine,
}


@pytest.mark.parametrize(
    ("contender", "losses"),
    [
        (numpy_losses.Naive(), {"huber", "kl_divergence", "focal", "dice"}),
        (numpy_losses.Careful(), set()),
        (libraries.SciPy(), {"huber", "kl_divergence"}),
        (libraries.NumExpr(), {"huber"}),
        (libraries.ScikitLearn(), {"huber", "quantile", "poisson", "gamma"}),
        (libraries.Torch(), {"huber", "poisson"}),
        (libraries.Optax(), {"huber", "log_cosh", "cosine_distance"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_rivals_at_more_losses(contender, losses, monkeypatch):
    here(contender)
    done = set()
    for loss, formula in MORE_FORMULAS.items():
        monkeypatch.setitem(FORMULAS, loss, formula)
        shape = (6, 10) if loss in ("focal", "dice", "kl_divergence", "cosine_distance") else (60,)
        data = make_data(Workload(loss, shape, "float64"))
        truth = reference(loss, data.y_true, data.y_pred)
        for task in dict.fromkeys(map(contender.does, ALL_TASKS)):
            job = contender.job(loss, task, data)
            if job is not None:
                with job.setting():
                    result = job.to_numpy(job.call())
                assert max(errors(result, truth, contender.gradient_of_sum)) < 1e-12, (loss, task)
                done.add(loss)
    assert done == losses


def test_numexpr_stays_in_float32():
    pytest.importorskip("numexpr")
    for loss in libraries.NumExpr.expressions:
        job = libraries.NumExpr().job(loss, NEW_ARRAY, make_data(tiny(loss)))
        assert job.call()[1].dtype == np.float32


@pytest.mark.parametrize(
    "contender", [who for who in LIBRARIES if who.takes_out], ids=lambda contender: contender.name
)
def test_gradients_go_where_the_task_says(contender):
    here(contender)
    loss = "mse" if isinstance(contender, libraries.NumExpr) else "cross_entropy"
    data = make_data(tiny(loss))
    for task, is_out in [(NEW_ARRAY, False), (GRADIENT, True), (IN_PLACE, True)]:
        job = contender.job(loss, task, data)
        with job.setting():
            _, grad = job.call()
        assert (grad is data.out) == is_out, task


@partly_long(1, "dtype", DECODED)
@pytest.mark.parametrize(
    "contender",
    [who for who in CONTENDERS if "float16" in who.dtypes],
    ids=lambda contender: contender.name,
)
def test_contender_in_16_bits(contender, dtype):
    pytest.importorskip("ml_dtypes")
    here(contender)
    if isinstance(contender, libraries.TorchCompiled):
        pytest.skip("takes seconds to compile what PyTorch does as well")
    data = make_data(Workload("cross_entropy", (60, 10), dtype))
    assert data.y_pred.dtype.name == dtype
    truth = reference("cross_entropy", data.y_true, data.y_pred)
    for task in dict.fromkeys(map(contender.does, ALL_TASKS)):
        job = contender.job("cross_entropy", task, data)
        if job is not None:
            found = check(contender, job, data, truth)  # fails if fastloss is inexact
            assert found["loss_error"] <= tolerance(data.y_pred.dtype)
            assert task == LOSS or job.to_numpy(job.call())[1].dtype == data.y_pred.dtype
            assert found["grad_error"] < 0.1  # some compute in 16 bits


def finite_differences(call, y_pred):
    """The derivatives of `call()`, which reads `y_pred`, by each element of it."""
    grad = np.empty_like(y_pred)
    h = 1e-6
    for i in np.ndindex(y_pred.shape):
        x = y_pred[i]
        y_pred[i] = x + h
        above = float(call())
        y_pred[i] = x - h
        below = float(call())
        y_pred[i] = x
        grad[i] = (above - below) / (2 * h)
    return grad


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("contender", [numpy_losses.Naive(), numpy_losses.Careful()])
def test_numpy_gradients_equal_finite_differences(contender, loss):
    data = make_data(tiny(loss, "float64"))
    _, grad = contender.job(loss, GRADIENT, data).call()
    grad = grad.copy()
    loss_only = contender.job(loss, LOSS, data).call
    expected = finite_differences(loss_only, data.y_pred)
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_reference_gradient_equals_finite_differences(loss):
    data = make_data(tiny(loss, "float64"))
    truth = reference(loss, data.y_true, data.y_pred)

    def loss_only():
        return reference(loss, data.y_true, data.y_pred).loss

    expected = finite_differences(loss_only, data.y_pred)[truth.samples]
    np.testing.assert_allclose(truth.grad, expected, rtol=1e-5, atol=1e-8)


def test_wrong_results_have_errors():
    data = make_data(tiny("mse"))
    truth = reference("mse", data.y_true, data.y_pred)
    loss, grad = numpy_losses.naive_mse_grad(data.y_true, data.y_pred)
    assert errors(1.001 * loss, truth).loss > tolerance(grad.dtype)
    assert errors((loss, 1.001 * grad), truth).grad > tolerance(grad.dtype)
    assert errors((loss, grad * grad.size), truth, gradient_of_sum=True).grad < 1e-6


def test_a_row_without_a_gradient_must_have_none():
    truth = Reference(1.0, np.array([0, 1]), np.array([[0.0, 0.0], [1.0, -1.0]]))
    grad = np.array([[0.0, 0.0], [1.0, -1.001]])
    assert errors((1.0, grad), truth).grad == pytest.approx(1e-3)
    grad[0, 1] = 1e-9
    assert errors((1.0, grad), truth).grad == np.inf
    grad[0, 1] = np.nan
    assert np.isnan(errors((1.0, grad), truth).grad)


def test_careful_numpy_is_careful():
    data = Data(np.array([0, 1]), np.array([[1000.0, 0.0], [0.0, 0.0]]), np.empty((2, 2)))
    loss, grad = numpy_losses.Careful().job("cross_entropy", GRADIENT, data).call()
    assert loss == pytest.approx(np.log(2) / 2)
    np.testing.assert_allclose(grad, [[0, 0], [0.25, -0.25]])


@pytest.mark.parametrize("size", [1, 64, 100_001])
@pytest.mark.parametrize("task", ALL_TASKS)
@pytest.mark.long
def test_roof_touches_everything(task, size):
    data = Data(np.arange(size), np.arange(size) + 0.5, np.zeros(size))
    if task == IN_PLACE:
        np.copyto(data.out, data.y_pred)
    total = roof.roof(task, data, 2).call()
    words = data.y_pred.view(np.int64)
    if task == LOSS:
        assert not data.out.any()
        with np.errstate(over="ignore"):
            assert total == data.y_true.sum() + words.sum()
    else:
        np.testing.assert_array_equal(data.out.view(np.int64), words * 3)
        assert total == data.y_true.sum()


# ---------------------------------------------------------------------------------------------
# Measuring


class FakeTime:
    """A clock that stands still but for what is slept and what calls are said to take."""

    def __init__(self):
        self.now, self.turns, self.slept = 0.0, 0, False
        self.disturbed = None  # a turn whose first call takes 5 ms more

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):  # before every turn
        self.now += seconds
        self.turns += 1
        self.slept = True

    def job(self, seconds, waking=0.0, **more):
        """Of calls that take `seconds`, a number or numbers one after the other; and more if the
        processor has been asleep.
        """
        each = itertools.repeat(seconds) if isinstance(seconds, float) else iter(seconds)

        def call():
            self.now += next(each)
            if self.slept:
                self.now += waking + 5e-3 * (self.turns - 1 == self.disturbed)
                self.slept = False

        return Job(call, **more)


@pytest.fixture
def clock(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(measure, "time", fake)
    return fake


def test_contenders_alternate(clock):
    calls = []
    jobs = {name: clock.job(0.002)._replace(setting=partial(noted, calls, name)) for name in "abc"}
    taken = measure.alternate(jobs, 0.36)
    assert [times.seconds for times in taken.values()] == [pytest.approx([0.002] * 10)] * 3
    calls = calls[3 * measure.TRIALS :]
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert len(rounds) == 10  # each of 36 ms, with pauses
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(map(tuple, rounds))) > 1
    assert len(measure.alternate(jobs, 0.0)["a"].seconds) == measure.MIN_ROUNDS
    assert len(measure.alternate(jobs, 1e9)["a"].seconds) == measure.MAX_ROUNDS


@contextmanager
def noted(calls, name):
    calls.append(name)
    yield


@pytest.mark.parametrize("disturbed", [None, 0, 1, 2, 3, 4])
def test_waking_up_is_no_part_of_a_call(clock, disturbed):
    """Whichever turn is disturbed: it then seems long enough with the calls that it has."""
    clock.disturbed = disturbed
    (times,) = measure.timed({"": clock.job(2.4e-6, waking=80e-6)}).values()
    assert times["median"] == pytest.approx(2.4e-6, rel=0.06)
    assert times["iterations"] > 400
    assert not times["short"]


def test_turns_that_fall_short_are_taken_again(clock):
    """Calls become a hundred times faster after the fifth round."""
    n_slow = measure.TRIALS + 5
    job = clock.job(itertools.chain([2e-3] * n_slow, itertools.repeat(2e-5)))
    (taken,) = measure.alternate({"": job}, 0.0).values()
    assert taken.seconds == pytest.approx([2e-3] * 5 + [2e-5] * 2)
    assert taken.iterations == 100
    assert not taken.short


def test_turns_that_are_too_short_are_called_so(clock, content):
    jobs = {
        "short": clock.job(5e-4, repeatable=False),
        "long": clock.job(5e-3, repeatable=False),
    }
    times = measure.timed(jobs)
    assert {name: each["short"] for name, each in times.items()} == {"short": True, "long": False}
    assert times["short"]["iterations"] == times["long"]["iterations"] == 1
    result = content["results"][0]
    result["cells"][0] |= times["short"]
    assert report.table(result).count(report.SHORT) == 1
    assert tables.markdown(tables.comparison([result])).count(report.SHORT) == 1


def test_the_time_of_every_round_is_kept(clock):
    seconds = [2e-3, 3e-3, 5e-3, 4e-3, 7e-3, 6e-3, 9e-3]
    job = clock.job([4e-3] * measure.TRIALS + seconds)
    (times,) = measure.timed({"": job}, 0.0).values()
    assert times["seconds"] == [pytest.approx(seconds)]
    assert times["median"] == pytest.approx(5e-3)
    assert times["min"] == pytest.approx(2e-3)
    low, high = times["interval"]
    assert 2e-3 < low < 5e-3 < high < 9e-3
    joined = measure.joined([times, {**times, "seconds": [[1e-3] * 20]}])
    assert joined["seconds"] == [*times["seconds"], [1e-3] * 20]
    assert (joined["median"], joined["rounds"]) == (1e-3, 27)
    json.dumps(joined)


@pytest.fixture
def hurried(monkeypatch):
    """Turns are short, and without pauses."""
    monkeypatch.setattr(measure, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(measure, "TURN_SECONDS", 0.0)


@pytest.fixture
def quick(hurried):
    return measure.timed


def is_sane(times):
    return 0 < times["min"] <= times["median"] and times["spread"] >= 0 and times["rounds"] > 0


@pytest.mark.long
def test_who_has_no_out_is_timed_once_for_all_gradients(quick):
    workload = tiny("cross_entropy")
    data = make_data(workload)
    truth = reference(workload.loss, data.y_true, data.y_pred)
    who = [numpy_losses.Naive(), contenders.Fastloss()]
    results = compare(workload, ALL_TASKS, who, data, truth, 0.0, 3, quick)
    assert [result["task"] for result in results] == list(ALL_TASKS)
    for result in results:
        assert is_sane(result["roof"])
        assert [cell["contender"] for cell in result["cells"]] == [NAIVE, FASTLOSS]
        assert all(is_sane(cell) and cell["rounds"] == 3 for cell in result["cells"])
        assert ("no out" in report.table(result)) == (result["task"] in (GRADIENT, IN_PLACE))
        json.dumps(result)
    naive = [{**result["cells"][0], "does": ""} for result in results]
    assert naive[1] == naive[2] == naive[3] != naive[0]
    ours = [result["cells"][1] for result in results]
    assert [cell["does"] for cell in ours] == list(ALL_TASKS)


def test_wrong_results_are_not_timed():
    class Wrong(numpy_losses.Naive):
        def job(self, loss, task, data):
            return Job(lambda: 0.5)

    workload = tiny("mse")
    data = make_data(workload)
    truth = reference(workload.loss, data.y_true, data.y_pred)
    with pytest.raises(AssertionError, match="an error of"):
        compare(workload, [LOSS], [Wrong()], data, truth)


class Evaluator(contenders.Contender):
    """Of a user: it has some of the numbers, and no loss."""

    name = "mine"
    evaluates = True

    def __init__(self, factor=1.0):
        self.factor = factor

    def job(self, loss, task, data):
        if task != EVALUATION:
            return None
        hits = data.y_pred.argmax(axis=1) == data.y_true
        return Job(lambda: {"accuracy": self.factor * hits.mean()})


def test_contenders_may_be_evaluators(clock):
    class NoEvaluator(numpy_losses.Naive):
        def job(self, loss, task, data):
            raise AssertionError("who evaluates nothing is not asked")

    workload = tiny("cross_entropy")
    data = make_data(workload)
    truth = truth_of(workload, (EVALUATION,), data)
    mine, failures = Evaluator(), []
    mine.job = lambda *asked: clock.job(1e-3)._replace(call=Evaluator.job(mine, *asked).call)
    clock_of_turns = itertools.count()
    clock.perf_counter = lambda: next(clock_of_turns) * 2e-3
    field = [NoEvaluator(), mine]
    (result,) = compare(workload, (EVALUATION,), field, data, truth, 0.0, failures=failures)
    (cell,) = result["cells"]
    assert (cell["contender"], cell["does"]) == ("mine", EVALUATION)
    assert cell["remark"] == "1 of 11 numbers"
    assert not failures
    wrong = Evaluator(0.9)
    (result,) = compare(workload, (EVALUATION,), [wrong], data, truth, 0.0, failures=failures)
    assert not result["cells"]
    assert "mine: accuracy is" in failures[0]


def one_result(*names, seconds=1e-3):
    """Of a process."""
    cells = [{**cell(name, 1.0), **measure.summary([[seconds, seconds]])} for name in names]
    return {"loss": "mse", "roof": measure.summary([[seconds] * 3]), "cells": cells}


def test_results_of_processes_are_joined(monkeypatch):
    """Settings go to each process, and what all of them timed comes back in one result."""
    asked, runs = [], iter([one_result("a", "b"), one_result("b", "c", seconds=3e-3)])

    def measured(*arguments):
        asked.append(arguments)
        arguments[-1].append("one failed")
        return [next(runs)]

    def run_python(*arguments):
        with redirect_stdout(io.StringIO()) as printed:
            compare_module.main(arguments[-1])
        return printed.getvalue()

    monkeypatch.setattr(compare_module, "measure", measured)
    monkeypatch.setattr(compare_module, "run_python", run_python)
    failures = []
    workload = Workload("cross_entropy", (60, 10), numbers=TIED)
    field = [numpy_losses.Naive(), contenders.Fastloss()]
    (result,) = compare_module.measure_in_processes(
        2, workload, [LOSS, GRADIENT], field, [], 6.0, failures
    )
    for found, tasks, who, seconds, _ in asked:
        assert (found, tasks, seconds) == (workload, [LOSS, GRADIENT], 3.0)
        assert [each.name for each in who] == [NAIVE, FASTLOSS]
    assert failures == ["one failed"]
    assert result["roof"]["seconds"] == [[1e-3] * 3, [3e-3] * 3]
    (only,) = result["cells"]
    assert (only["contender"], only["seconds"]) == ("b", [[1e-3] * 2, [3e-3] * 2])
    assert (only["median"], only["rounds"]) == (2e-3, 4)


def test_times_from_elsewhere():
    times = measure.rounds_of([3.0, 1.0, 2.0])
    assert (times["min"], times["median"], times["rounds"]) == (1.0, 2.0, 3)


@pytest.mark.long
def test_pytest_benchmark_keeps_what_each_contender_took(benchmark, clock):
    """It times one function in each test, and a test may want more of its clock."""
    if benchmark.disabled:
        pytest.skip("benchmarks are switched off")
    front = conftest.clock_of(benchmark)
    first = front({"a": clock.job(2e-3), "b": clock.job(3e-3)}, 0.0)
    second = front({"c": clock.job(4e-3)}, 0.0)
    assert benchmark.extra_info == {**first, **second}
    assert list(benchmark.extra_info) == ["a", "b", "c"]
    assert first["b"]["seconds"] == [pytest.approx([3e-3] * measure.MIN_ROUNDS)]
    assert benchmark.stats["extra_info"] == benchmark.extra_info


def test_settings_hold_in_every_turn(monkeypatch):
    before = fl.get_num_threads()
    monkeypatch.setattr(measure, "PAUSE_SECONDS", 0.0)
    seen = []
    job = Job(lambda: seen.append(fl.get_num_threads()), lambda: threads(1))

    assert measure._turn(job, 3) > 0
    assert seen == [1, 1, 1]
    assert fl.get_num_threads() == before


# ---------------------------------------------------------------------------------------------
# Cutoff, number of threads, memory, cold start


@pytest.mark.parametrize(("loss", "classes"), cutoff.COST_CLASSES)
@pytest.mark.long
def test_threads_are_forced_and_compute_the_same(loss, classes, monkeypatch):
    from fastloss.call import threads as _threads

    asked = []
    real_run = _threads.run

    def run(task, n_tasks, parallel):
        asked.append((n_tasks, parallel))
        real_run(task, n_tasks, parallel)

    monkeypatch.setattr(_threads, "run", run)
    n_threads = fl.get_num_threads()
    fl.set_num_threads(2)
    try:
        workload = cutoff.workload_of(loss, classes, 1 << 16)
        data = make_data(workload)
        for (task, is_parallel), job in cutoff.jobs(workload, data).items():
            with job.setting():
                asked.clear()
                result = job.call()
                assert fl.get_num_threads() == (2 if is_parallel else 1)
                assert all(parallel for _, parallel in asked)
                assert (max(asked, default=(1,))[0] > 1) == is_parallel
            ours = getattr(fl, loss)
            assert (result[0] if task == GRADIENT else result) == ours(data.y_true, data.y_pred)
        asked.clear()
        ours(data.y_true, data.y_pred)
        assert not asked  # the package's own cutoff is back
    finally:
        fl.set_num_threads(n_threads)


def test_threads_pay_from_where_they_are_never_slower_again():
    def pays_from(*ratios):
        rows = [
            cutoff.row(size, timing(ratio), timing(1.0)) for size, ratio in enumerate(ratios, 1)
        ]
        return cutoff.pays_from(rows), rows

    assert pays_from(0.5, 1.1, 0.9, 1.0, 1.5)[0] == 4
    assert pays_from(1.1, 1.2)[0] == 1
    size, rows = pays_from(0.5, 0.9)
    assert size is None
    result = {"loss": "mse", "classes": None, "dtype": "float32", "task": LOSS, "threads": 2}
    text = cutoff.text({**result, "pays_from": size, "rows": rows})
    assert "pay" not in text
    assert text.count("\n") == 3
    text = cutoff.text({**result, "pays_from": 2, "rows": rows})
    assert text.splitlines()[-1].endswith("0.90  threads pay from here")
    rows = [cutoff.row(size, timing(2.0), timing(1.0)) for size in (1 << 18, 1 << 19, 1 << 20)]
    text = cutoff.text({**result, "pays_from": 1 << 18, "rows": rows})
    assert [line.endswith("and are used from here") for line in text.splitlines()] == [
        *(False, False, False, False, True)
    ]


def test_sizes_of_the_cutoff_are_whole_rows():
    assert list(cutoff.SIZES) == [2**k for k in range(12, 23)]
    assert cutoff.workload_of("cross_entropy", 1_000, 4_096).shape == (4, 1_000)
    assert cutoff.workload_of("mse", None, 4_096).shape == (4_096,)


def test_numbers_of_threads():
    assert scaling.thread_counts(1) == [1]
    assert scaling.thread_counts(2) == [1, 2]
    assert scaling.thread_counts(8) == [1, 2, 3, 4, 5, 7, 8]
    assert scaling.thread_counts(48) == [1, 2, 3, 4, 5, 7, 8, 16, 32, 48]


@pytest.mark.long
def test_scaling_over_backends_and_threads(quick):
    workload = Workload("mse", (300_000,))
    data = make_data(workload)
    before = fl.get_num_threads(), fl.get_backend()
    jobs = scaling.jobs(workload, GRADIENT, data, 2)
    expected = {(name, n) for name in (report.ROOF, *scaling.backends()) for n in (1, 2)}
    assert set(jobs) == expected
    assert ("pool", 2) in expected
    for (name, n), job in jobs.items():
        with job.setting():
            job.call()
            if name != report.ROOF:
                assert (fl.get_num_threads(), fl.get_backend()) == (n, name)
    assert (fl.get_num_threads(), fl.get_backend()) == before
    names = {f"{name} {n}": (name, n) for name, n in jobs}
    times = quick({name: jobs[key] for name, key in names.items()}, 0.0, 2)
    rows = scaling.rows({names[name]: summary for name, summary in times.items()})
    assert all(is_sane(row["time"]) for row in rows)
    assert all(row["speedup"] == 1 for row in rows if row["threads"] == 1)
    assert all(row["share_of_roof"] == 1 for row in rows if row["backend"] == report.ROOF)
    text = scaling.text({**workload._asdict(), "task": GRADIENT, "rows": rows})
    assert text.count("\n") == 1 + len(rows)


@pytest.mark.parametrize("n_classes", [7, 300])
@pytest.mark.long
def test_all_come_by_the_same_scores(n_classes, quick):
    """Of all that are there; `jobs` compares their numbers."""
    workload = Workload("cross_entropy", (200, n_classes))
    data = make_data(workload)
    jobs = scorecard.jobs(workload.loss, data, scores.truth(data.y_true, data.y_pred))
    assert {scorecard.ALONE, FASTLOSS, "scikit-learn metrics", report.ROOF} <= set(jobs)
    assert jobs.keys().isdisjoint(scorecard.missing())
    result = scorecard.result(workload, quick(jobs, 0.0, 2), "in memory")
    assert all(is_sane(cell) for cell in report.timings(result))
    lines = scorecard.text(result).splitlines()
    assert len(lines) == 2 + len(jobs)
    alone = next(line for line in lines if scorecard.ALONE in line)
    assert "1.00" in alone


def test_scores_of_the_formula_by_hand():
    labels, p = [0, 1, 1], [[0.7, 0.2, 0.1], [0.2, 0.4, 0.4], [0.5, 0.1, 0.4]]
    logits = np.log(p)
    logits[1, 2] += 1e-9  # nearly a tie, which the other class wins
    losses = [-np.log(0.7), -np.log(0.4), -np.log(0.1)]
    entropy = -sum(np.sum(np.multiply(row, np.log(row))) for row in p) / 3
    expected = {
        "loss": np.mean(losses),
        "standard error": np.std(losses, ddof=1) / 3**0.5,
        "accuracy": 1 / 3,
        "top-5 accuracy": 1,
        "mean reciprocal rank": (1 + 1 / 2 + 1 / 3) / 3,
        "Brier score": (0.09 + 0.05 + 0.04 + 0.36 + 0.16 + 0.25 + 0.81 + 0.16) / 3,
        # Of bins by fifteenths: 0.7 is right, 0.4 and 0.5 are wrong.
        "calibration error": (0.3 + 0.4 + 0.5) / 3,
        "entropy": entropy,
        "confidence": (0.7 + 0.4 + 0.5) / 3,
        "mean accuracy of classes": (1 + 0) / 2,
        "mean loss of classes": (losses[0] + (losses[1] + losses[2]) / 2) / 2,
    }
    found = scores.truth(np.array(labels), logits)
    assert found == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_scores_do_not_depend_on_chunks(n_classes, monkeypatch):
    data = make_data(Workload("cross_entropy", (20, n_classes)))[:2]
    whole = scores.truth(*data)
    monkeypatch.setattr(scores, "_CHUNK", 3 * n_classes)
    assert scores.truth(*data) == pytest.approx(whole, rel=1e-12)


@plain
@pytest.mark.filterwarnings("ignore:.*shape and the target shape")
@pytest.mark.parametrize("task", [task for task in EVALUATED if task != "cross_entropy"])
def test_all_find_the_numbers_of_each_task(task):
    workload = Workload(task, (200,) if EVALUATED[task] == 1 else (40, 12))
    data = make_data(workload)
    truth = truth_of(workload, (EVALUATION,), data)
    ours = scores.WAYS[task].fastloss(data.y_true, data.y_pred)
    assert ours == pytest.approx(truth, rel=1e-6)
    assert list(ours) == list(truth)
    for who in contenders.EVALUATORS:
        job = who.job(task, EVALUATION, data) if who.available() else None
        if job is not None:
            assert check(who, job, data, truth)["remark"] == ""


def test_other_scores_are_not_timed():
    numbers = {"loss": 1.0, "accuracy": 0.5}
    assert scores.check("someone", numbers, numbers)["remark"] == ""
    assert scores.check("someone", {"loss": 1.0}, numbers)["remark"] == "1 of 2 numbers"
    with pytest.raises(AssertionError, match="someone: accuracy is 0.51, and in float64 0.5"):
        scores.check("someone", {**numbers, "accuracy": 0.51}, numbers)
    with pytest.raises(AssertionError, match="no score is called acc: loss, accuracy"):
        scores.check("someone", {"acc": 0.5}, numbers)


@pytest.mark.long
def test_scores_of_a_file(quick, tmp_path):
    workload = Workload("cross_entropy", (200, 300))
    data = make_data(workload)
    np.save(tmp_path / "logits.npy", data.y_pred)
    jobs = scorecard.file_jobs(data.y_true, tmp_path / "logits.npy")
    assert jobs[scorecard.READ].call() == (tmp_path / "logits.npy").stat().st_size
    scores = fl.evaluate(data.y_true, data.y_pred)
    found = jobs[FASTLOSS].call()
    assert json.dumps(found.to_dict()) == json.dumps(scores.to_dict())
    result = scorecard.result(workload, quick(jobs, 0.0, 2), "a memory-mapped file")
    assert scorecard.text(result).count("\n") == 1 + len(jobs)


def test_growth_of_memory_is_the_peak_of_the_call():
    def call():
        np.ones(1 << 23)  # 64 MiB, and given back

    n_bytes, _ = memory.growth(Job(call))
    assert 60 << 20 < n_bytes < 80 << 20
    n_bytes, _ = memory.growth(Job(lambda: None))
    assert n_bytes < 1 << 20


def test_growth_of_memory_by_samples(monkeypatch, tmp_path):
    def call():
        array = np.ones(1 << 23)
        time.sleep(0.1)
        return array

    monkeypatch.setattr(peak, "_CLEAR", tmp_path / "no folder" / "clear_refs")
    n_bytes, method = memory.growth(Job(call))
    assert method == "samples"
    assert 60 << 20 < n_bytes < 80 << 20


@pytest.mark.long
def test_memory_in_a_process_of_its_own():
    assert memory.WORKLOAD.name == "cross_entropy-8192x32768-float32"
    cases = memory.cases()
    assert [task for name, task in cases if name == FASTLOSS] == [GRADIENT, IN_PLACE, NEW_ARRAY]
    assert (NAIVE, NEW_ARRAY) in cases
    workload = memory.WORKLOAD._replace(shape=(256, 8_192))
    rows = [memory.measure(workload, FASTLOSS, task) for task in (GRADIENT, NEW_ARRAY)]
    size = 4 * workload.size
    assert rows[0]["bytes"] < size / 4
    assert size / 2 < rows[1]["bytes"] < 2 * size
    text = memory.text({**workload._asdict(), "rows": rows})
    assert "256 x 8,192" in text
    assert "fastloss: loss + gradient, new array" in text


@pytest.mark.long
def test_cold_start_in_processes():
    assert set(cold.imports()) == {cold.IMPORT_NUMPY, cold.IMPORT}
    times = cold.first_calls(Workload("mse", (320,)))
    assert list(times) == [cold.FIRST_EVER, cold.FIRST_WARM]
    assert all(seconds > 0 for seconds in times.values())


# ---------------------------------------------------------------------------------------------
# Reports


def test_every_table_is_documented():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "bench").glob("test_*.py"))
    tables = [file.stem.removeprefix("test_").replace("_", "-") for file in files]
    assert len(tables) == 11
    assert storage.SPEED in tables
    for table in tables:
        assert table in makefile
        assert f"| `{table}` |" in contributing


def test_each_table_has_a_file_of_results():
    assert storage.path("speed") == storage.LATEST
    assert storage.path("cross-entropy").name == "cross-entropy.json"


def timing(median, spread=0.01):
    return {"median": median, "min": 0.9 * median, "spread": spread, "rounds": 7, "iterations": 1}


def cell(name, median, spread=0.01, remark=""):
    return {"contender": name, "does": LOSS, **timing(median, spread), "remark": remark}


@pytest.fixture
def content():
    """A rival wins the first cell, overflows in the second, and one time is noisy."""
    common = {"loss": "mse", "shape": [32_000_000], "dtype": "float32", "main": True, "labels": ""}
    cells = [cell(NAIVE, 0.008), cell("PyTorch", 0.03, 0.5), cell(FASTLOSS, 0.010)]
    more = [cell(NAIVE, 0.2, remark="overflows"), cell(FASTLOSS, 0.016)]
    return {
        "machine": {"cpu": "A CPU", "threads": 2, "versions": {"numpy": "2.0", "numba": "0.62"}},
        "results": [
            {**common, "task": LOSS, "roof": timing(0.005), "cells": cells},
            {**common, "task": GRADIENT, "roof": timing(0.012), "cells": more},
        ],
    }


def test_table_keeps_and_marks_losing_and_noisy_cells(content):
    lines = report.table(content["results"][0]).splitlines()
    assert lines[0] == "mse, loss, 32,000,000, float32"
    rows = {line[:16].strip(): line[16:].split(maxsplit=4) for line in lines[2:]}
    assert rows["naive NumPy"] == ["8.00", "7.20", "62.5%", "1.0", "FASTER THAN FASTLOSS"]
    assert rows["PyTorch"] == ["30.0", "27.0", "16.7%", "0.3", "noisy: spread 50%"]
    assert rows["fastloss"] == ["10.0", "9.00", "50.0%", "0.8"]
    summary = report.summary(content["results"], ["JAX"])
    assert "faster than fastloss in 1; 1 of 7 times, roofs among them, are noisy" in summary
    assert "left out: JAX" in summary


@pytest.mark.parametrize("statistic", ["min", "median"])
def test_a_rival_wins_by_either_statistic(content, statistic):
    result = content["results"][1]
    naive, ours = result["cells"]
    assert not report.beats_fastloss(result, naive)
    naive[statistic] = 0.999 * ours[statistic]
    assert report.beats_fastloss(result, naive)
    assert not report.beats_fastloss(result, ours)


def test_readme_keeps_and_marks_losing_and_noisy_cells(content):
    block = readme.block(content)
    assert (
        "| `mse`, loss | 32,000,000 | 5.00 min 4.50 | **10.0** min 9.00 | 50% "
        "| 8.00 min 7.20 (0.80x) **▲** | 30.0 min 27.0 (3.0x) ~ |"
    ) in block
    assert (
        "| `mse`, loss + gradient | 32,000,000 | 12.0 min 10.8 | **16.0** min 14.4 | 75% "
        "| 200 min 180 (12x) overflows |  |"
    ) in block
    assert "**▲** marks where another is faster" in block
    assert "~ marks times" in block


def test_readme_has_no_marks_to_explain_where_there_are_none(content):
    content["results"] = content["results"][1:]
    assert "marks" not in readme.block(content)


def test_readme_changes_between_the_markers_only(content):
    text = f"above\n{readme.BEGIN}\nold\n{readme.END}\nbelow\n"
    block = readme.block(content)
    once = readme.updated(text, block)
    assert once.startswith(f"above\n{readme.BEGIN}\n")
    assert once.endswith(f"{readme.END}\nbelow\n")
    assert "old" not in once
    assert readme.updated(once, block) == once
    with pytest.raises(ValueError, match="bench:begin"):
        readme.updated("no markers", block)


def test_picture_is_drawn(content, tmp_path):
    readme.draw(content, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_a_result_of_a_part_is_not_stored(content, tmp_path, monkeypatch, capsys):
    latest, stored = tmp_path / "latest.json", tmp_path / "readme.json"
    monkeypatch.setattr(readme, "LATEST", latest)
    monkeypatch.setattr(readme, "STORED", stored)
    assert readme.main(["--store"]) == 2
    assert "make bench first" in capsys.readouterr().err
    latest.write_text(json.dumps(content))
    assert readme.main(["--store"]) == 2
    assert "cross_entropy 32 10 float32 loss" in capsys.readouterr().err
    assert not stored.exists()


def test_pages_show_the_stored_result_and_all_losses():
    for path, text in readme.rendered(readme.load(readme.STORED)).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: make readme"
    losses = readme.LOSSES.read_text(encoding="utf-8")
    assert all(f"| `{entry.name}`<br>" in losses for entry in entries())
