"""Matrices that lie class by class, and derivatives that are narrower than predictions.

Boosters predict in float64, some of them class by class, and want float32. A class-major matrix has
loops of its own; what they give is what rows give, to the last bit.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from covering import covering
from plain import both, compiled, partly_long, plain
from registry import (
    CATEGORICAL,
    CATEGORICAL_SOFT,
    DTYPES,
    IN_FLOAT64,
    KL,
    SOFTMAX,
    SOFTMAX_SOFT_ALL,
    SQUARED,
    assert_same,
)
from test_forms import SOFTMAX_CHOICES, Softmax, is_legal

import fastloss as fl
from fastloss.call import blocks, threads
from fastloss.kernels.softmax.short_rows import FEW

pytestmark = plain

RNG = np.random.default_rng(3)
N, C = 70, 5  # a whole group, and one that is not full
IDS, LOGITS, WEIGHT = RNG.integers(0, C, N), RNG.normal(size=(N, C)) * 3, RNG.random(N)
CE = fl.CrossEntropy(label_smoothing=0.1, hessian="lightgbm")


def was_class_major(loss: fl.Loss) -> bool:
    """Whether a call of the loss, or of it unreduced, was."""
    both = loss, dataclasses.replace(loss, reduction="none")
    return any(c.plan.form.class_major for one in both for c in one._family.calls.values())


# -------------------------------------------------------------------------------------------------
# Class by class

FORMS = [form for form in covering(SOFTMAX_CHOICES, is_legal) if form["rows"] == "few"]


@both("i", range(0, len(FORMS), 5), long=range(0, len(FORMS), 15))
def test_class_by_class_has_the_bits_of_row_by_row(i):
    softmax = Softmax(FORMS[i], N)
    by_row = softmax.call()
    by_class = softmax.call(logits=np.asfortranarray(softmax.logits))
    assert was_class_major(softmax.loss)
    for result, expected in zip(by_class, by_row, strict=True):
        assert_same(result, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_where_new_results_lie_and_given_ones(dtype):
    x = LOGITS.astype(dtype)
    by_class = np.asfortranarray(x)
    grad, hess = CE.grad_hess(IDS, by_class, sample_weight=WEIGHT)
    expected = CE.grad_hess(IDS, x, sample_weight=WEIGHT)
    for found, right in zip((grad, hess), expected, strict=True):
        assert found.flags.f_contiguous
        assert_same(found, right)
    # Of either order, beside predictions of either; and in place.
    for given, order in itertools.product((x, by_class), "CF"):
        out = np.empty_like(x, order=order), np.empty_like(x, order=order)
        assert CE.grad_hess(IDS, given, sample_weight=WEIGHT, out=out)[1] is out[1]
        for found, right in zip(out, expected, strict=True):
            assert_same(found, right)
    hess = np.empty_like(by_class)
    assert CE.grad_hess(IDS, by_class, sample_weight=WEIGHT, out=(by_class, hess))[0] is by_class
    assert_same(by_class, expected[0])
    assert_same(hess, expected[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
@partly_long(1, "n", [2, 1, 65])
def test_more_than_few_classes_and_single_rows(n, dtype):
    for c in (1, 2, few := FEW[np.dtype(dtype).name], few + 1):
        x = RNG.normal(size=(n, c)).astype(dtype)
        value, grad = fl.cross_entropy.value_and_grad(np.zeros(n, int), x)
        again = fl.cross_entropy.value_and_grad(np.zeros(n, int), np.asfortranarray(x))
        assert again[0] == value
        assert_same(again[1], grad)


def test_what_else_is_not_as_kernels_take_it():
    """Then parts of all arrays are copied; and weights out of reach are, whatever they are."""
    by_class = np.asfortranarray(LOGITS)
    soft = RNG.dirichlet(np.ones(C), N)
    mask = RNG.random((N, C)) < 0.8
    mask[:, 0] = True  # of a row without classes the loss is NaN
    wide = np.repeat(WEIGHT, 2)[::2]
    for labels, more in (
        (IDS, {"sample_weight": wide}),
        (np.repeat(IDS, 2)[::2], {}),
        (np.asfortranarray(soft), {"class_mask": np.asfortranarray(mask)}),
        (IDS, {"sample_weight": WEIGHT * 1e-200}),
        (soft, {"sample_weight": wide * 1e200}),
    ):
        expected = CE.grad_hess(labels, LOGITS, **more)
        out = np.full_like(by_class, np.nan), np.full_like(by_class, np.nan)
        CE.grad_hess(labels, by_class, out=out, **more)
        for result, right in zip(out, expected, strict=True):
            assert_same(result, right)
        value, grad = CE.value_and_grad(labels, by_class, **more)
        assert value == CE(labels, LOGITS, **more)
        assert_same(grad, expected[0])


def test_errors_come_before_anything_is_written():
    by_class, bad = np.asfortranarray(LOGITS), IDS.copy()
    bad[66] = C
    out = np.full_like(by_class, 7)
    with pytest.raises(ValueError, match=rf"labels\[66\] is {C}"):
        fl.cross_entropy.grad(bad, by_class, out=out)
    with pytest.raises(ValueError, match="out overlaps the memory of logits"):
        fl.cross_entropy.grad(IDS, by_class, out=by_class.T.reshape(N, C))
    with pytest.raises(ValueError, match=r"out\[1\] overlaps the memory of out\[0\]"):
        fl.cross_entropy.grad_hess(IDS, by_class, out=(out, out))
    assert np.all(out == 7)
    by_class[66, 3] = np.nan
    assert np.flatnonzero(np.isnan(fl.cross_entropy.grad(IDS, by_class)).all(axis=1)) == [66]


def test_other_backends_and_many_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "LEAST_TASK", 10)
    loss = fl.CrossEntropy(label_smoothing=0.2)
    monkeypatch.setattr(loss._family, "block_size", 64 * C)
    expected = loss.grad_hess(IDS, LOGITS)
    for backend in ("prange", "pool"):
        monkeypatch.setattr(threads, "get_backend", lambda backend=backend: backend)
        for result, right in zip(
            loss.grad_hess(IDS, np.asfortranarray(LOGITS)), expected, strict=True
        ):
            assert_same(result, right)


# -------------------------------------------------------------------------------------------------
# Narrower

ORDERS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "every second": lambda a: a[::2]}


def single(a: Any) -> Any:
    """Rounded once."""
    with np.errstate(over="ignore"):
        return a.astype(np.float32)


# One for each loop, which has a way of its own to write, and the rest.
EACH_LOOP = [SQUARED, CATEGORICAL_SOFT, CATEGORICAL, SOFTMAX_SOFT_ALL, KL]


@partly_long(5, "case", [*EACH_LOOP, *(c for c in IN_FLOAT64 if c not in EACH_LOOP)], ids=str)
def test_derivatives_of_float64_are_rounded_once(case):
    y_true, y_pred = case.data(np.float64, (9, 5))
    weight = RNG.random(y_pred.shape[:-1] if case.rowwise else y_pred.shape)
    weight.flat[3] = 0
    for more in ({}, {"sample_weight": weight}):
        exact = case.loss.grad_hess(y_true, y_pred, **more)
        out = np.full(y_pred.shape, 7, "f4"), np.full(y_pred.shape, 7, "f4")
        assert case.loss.grad_hess(y_true, y_pred, out=out, **more)[0] is out[0]
        for found, right in zip(out, exact, strict=True):
            assert_same(found, single(right))
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    found = case.loss.value_and_grad(y_true, y_pred, out=out[0])
    assert found[0] == value
    assert_same(found[1], single(grad))


@compiled
@pytest.mark.long
def test_derivatives_are_rounded_once_over_many_blocks():
    n, loss = 30_001, fl.categorical_cross_entropy
    p = RNG.dirichlet(np.ones(C), n)
    labels = p[::-1].copy()
    expected = loss.grad(labels, p)
    for order in "CF":
        out = np.empty((n, C), "f4", order=order)
        assert_same(loss.grad(labels, np.asarray(p, order=order), out=out), single(expected))


@pytest.mark.parametrize("change", ORDERS.values(), ids=ORDERS)
def test_narrower_in_any_layout(change):
    x, out = change(LOGITS), change(np.full((N, C), 7, "f4"))
    n = len(x)
    labels, vector = IDS[:n], np.ones((n, C)) / 4
    for verb, *arguments in (
        ("grad", labels),
        ("hvp", labels, vector),
        ("proba",),
        ("log_proba",),
    ):
        first, rest = arguments[:1], arguments[1:]
        call = getattr(fl.cross_entropy, verb)
        exact = call(*first, x, *rest)
        assert call(*first, x, *rest, out=out) is out
        assert_same(out, single(exact))


def test_whole_numbers_are_float64_and_may_be_written_so():
    y_pred, out = np.array([3, 5, 9]), np.empty(3, ">f4")
    assert fl.mse.grad([0, 1, 2], y_pred, out=out) is out
    np.testing.assert_array_equal(out, single(fl.mse.grad([0, 1, 2], y_pred)))


def test_what_float32_does_not_hold():
    out = np.empty(3, "f4")
    fl.SquaredError(reduction="sum").grad(np.zeros(3), np.array([1e300, 1e-300, np.nan]), out=out)
    np.testing.assert_array_equal(out, [np.inf, 0, np.nan])


@pytest.mark.parametrize("order", ["C", "F"])
def test_weights_and_normalizers_that_are_out_of_reach(order):
    tiny = fl.CrossEntropy(class_weight=(1e-30,) * C)
    x = np.asarray(LOGITS * 30, order=order)  # with probabilities that float32 does not hold
    for loss, more in (
        (fl.cross_entropy, {"sample_weight": np.full(N, 1e-300)}),
        (fl.cross_entropy, {"sample_weight": np.full(N, 1e300)}),
        (fl.cross_entropy, {"normalizer": 1e-30}),
        (tiny, {"normalizer": 1e-300}),
        (tiny, {"normalizer": 5e-324, "sample_weight": WEIGHT * 1e-290}),
    ):
        out = np.empty((N, C), "f4", order), np.empty((N, C), "f4", order)
        loss.grad_hess(IDS, x, out=out, **more)
        for found, exact in zip(out, loss.grad_hess(IDS, x, **more), strict=True):
            assert_same(found, single(exact))
        value, grad = loss.value_and_grad(IDS, x, out=np.empty_like(out[0]), **more)
        assert value == loss(IDS, x, **more)
        assert_same(grad, out[0])


@pytest.mark.parametrize("case", [SOFTMAX, SQUARED], ids=str)
def test_nothing_else_may_differ(case):
    y_true, y_pred = case.data(np.float64, (6, 5))
    single, double, half = (np.full((6, 5), 7, dtype) for dtype in ("f4", "f8", "f2"))
    for pred, out, message in (
        (y_pred, half, "out has dtype float16, but the result has dtype float64"),
        (y_pred.astype("f4"), double, "out has dtype float64, but the result has dtype float32"),
        (y_pred.astype("f2"), single, "out has dtype float32, but the result has dtype float16"),
    ):
        with pytest.raises(TypeError, match=message):
            case.loss.grad(y_true, pred, out=out)
    for pair, place in (((single, double), 0), ((double, single), 1)):
        message = rf"out\[{place}\] has dtype float32, but the result has dtype float64"
        with pytest.raises(TypeError, match=message):
            case.loss.grad_hess(y_true, y_pred, out=pair)
    losses = np.full(6 if case.rowwise else (6, 5), 7, "f4")
    with pytest.raises(TypeError, match="out has dtype float32, but the result has dtype float64"):
        case.reduced("none")(y_true, y_pred, out=losses)
    # In place there is no room: half of the memory of predictions holds gradients of others.
    inside = y_pred.ravel().view("f4")[:30].reshape(6, 5)
    before = y_pred.copy()
    with pytest.raises(ValueError, match="out overlaps the memory of"):
        case.loss.grad(y_true, y_pred, out=inside)
    assert np.all(np.concatenate([single, double, half]) == 7)
    assert_same(y_pred, before)


@pytest.mark.parametrize("n", [1, 2, 300])
def test_a_call_with_out_does_not_change_those_without(n):
    """What is remembered of calls is that of their dtypes and layouts."""
    loss = fl.SquaredError(reduction="sum")
    y_true, y_pred = np.zeros(n), np.arange(n) + 1.0
    expected = loss.grad(y_true, y_pred)
    for _ in range(3):
        assert_same(loss.grad(y_true, y_pred, out=np.empty(n, "f4")), single(expected))
        assert_same(loss.grad(y_true, y_pred), expected)
        assert_same(loss.grad(y_true, y_pred, out=np.empty(n)), expected)
