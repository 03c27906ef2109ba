"""Every verb with every option and every loss that has it, in plain Python.

The references are formulas in float64, written without a look at the options that a verb does not
know: what leaks from one into another shows.
"""

import dataclasses
import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.special
from plain import partly_long, plain
from registry import (
    DOUBLE,
    Case,
    assert_near,
    assert_same,
    cross_entropy,
    dense,
    expect,
    one_hot_of,
)

import fastloss as fl
from fastloss.kernels.softmax import long_rows, short_rows

pytestmark = plain

INF = math.inf
C, N = 5, 4
RNG = np.random.default_rng(11)
LOGITS = RNG.normal(scale=2.0, size=(N, C))
IDS = np.array([0, 3, 4, 2])
SOFT = RNG.integers(0, 5, (N, C)) / 8
PAIR = np.array([[0, 3], [3, 3], [4, 0], [2, 4]]), RNG.integers(1, 4, (N, 2)) / 8
VECTOR = RNG.normal(size=(N, C))
SAMPLE_WEIGHT = np.array([1.0, 0.25, 3.0, 2.0])
MASK = np.array(
    [[1, 1, 0, 1, 1], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 1]], bool
)  # lets all of IDS and PAIR in, beside CLASS_MASK
CLASS_MASK = (True, False, True, True, True)

# Each option of losses of a softmax, alone and beside each other one.
SHARED: dict[str, Any] = {
    "class_weight": (1.0, 0.5, 2.0, 4.0, 0.25),
    "ignore_index": 3,
    "class_mask": CLASS_MASK,
    "softcap": 3.0,
    "temperature": 2.0,
}
OWN: dict[type, dict[str, Any]] = {
    fl.CrossEntropy: {
        "label_smoothing": 0.125,
        "z_loss": 0.1,
        "hessian": "lightgbm",
        "hessian_floor": 0.02,
    },
    fl.Focal: {"gamma": 0.5, "alpha": (0.5, 1.0, 2.0, 1.0, 3.0)},
    fl.GeneralizedCrossEntropy: {"q": 0.25},
    fl.PolyCrossEntropy: {"epsilon": -0.5},
}


def losses() -> list[Any]:
    """Each loss of a softmax as it comes, with each option, and with each pair of them."""
    found = []
    for make, own in OWN.items():
        options = SHARED | own
        for n in range(3):
            for names in itertools.combinations(options, n):
                found.append(make(**{name: options[name] for name in names}))
        found.append(make(**options))
    return found


LOSSES = losses()
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
# As they come, with one option, and with all.
FEWER = [
    loss
    for loss in LOSSES
    if sum(getattr(loss, f.name) != f.default for f in dataclasses.fields(loss)) not in (2,)
]


def effective(loss: Any, mask: Any = None) -> Any:
    """The logits as options change them."""
    x = LOGITS
    if loss.softcap is not None:
        x = loss.softcap * np.tanh(x / loss.softcap)
    inside = np.ones(x.shape, bool) if mask is None else mask
    if loss.class_mask is not None:
        inside = inside & np.array(loss.class_mask)
    return np.where(inside, x / loss.temperature, -INF)


# ---------------------------------------------------------------------------------------------
# Verbs without labels


@every_loss
@partly_long(1, "mask", [MASK, None], ids=["mask", ""])
def test_probabilities_know_no_option_of_labels(loss, mask):
    x = effective(loss, mask)
    np.testing.assert_allclose(
        loss.proba(LOGITS, class_mask=mask), scipy.special.softmax(x, axis=1), rtol=1e-13
    )
    log_proba = loss.log_proba(LOGITS, class_mask=mask)
    np.testing.assert_allclose(log_proba, scipy.special.log_softmax(x, axis=1), rtol=1e-12)
    sums = loss.logsumexp(LOGITS, class_mask=mask)
    np.testing.assert_allclose(sums, scipy.special.logsumexp(x, axis=1), rtol=1e-13)


def test_all_options_are_tested():
    for make, own in OWN.items():
        names = {field.name for field in dataclasses.fields(make)}
        assert names == {*SHARED, *own, "reduction", "hessian"}


# ---------------------------------------------------------------------------------------------
# Verbs with labels


def labels_for(loss: Any) -> list[Any]:
    """The kinds of labels that it takes."""
    return [IDS, SOFT, PAIR] if isinstance(loss, fl.CrossEntropy) else [IDS]


@partly_long(len(FEWER), "loss", [*FEWER, *(x for x in LOSSES if x not in FEWER)], ids=repr)
def test_losses_and_derivatives(loss):
    for labels in labels_for(loss):
        for mask in (None, MASK) if loss in FEWER else (MASK,):
            reference = partial(cross_entropy, class_mask=mask)
            case = Case("", loss, lambda *_: None, reference)  # type: ignore[arg-type]
            y_true = dense(labels, LOGITS) if isinstance(labels, tuple) else labels
            true = expect(case, y_true, LOGITS, sample_weight=SAMPLE_WEIGHT, lib=DOUBLE)
            options = {"sample_weight": SAMPLE_WEIGHT, "class_mask": mask}
            value, grad = loss.value_and_grad(labels, LOGITS, **options)
            assert_near(value, true.value, true.value_error, "value")
            assert_near(grad, true.grad, true.grad_error, "grad")
            if loss in FEWER:
                assert_same(loss(labels, LOGITS, **options), value)
                assert_same(loss.grad(labels, LOGITS, **options), grad)
                also, hess = loss.grad_hess(labels, LOGITS, **options)
                assert_same(also, grad)
                right = true.hess
                if getattr(loss, "hessian_floor", None):
                    counts = grad.any(axis=-1, keepdims=True)
                    right = np.where(counts, np.maximum(right, loss.hessian_floor), right)
                assert_near(hess, right, true.hess_error, "hess")


@pytest.mark.parametrize("loss", FEWER, ids=repr)
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_reductions(loss, reduction):
    loss = dataclasses.replace(loss, reduction=reduction)
    for labels in labels_for(loss):
        case = Case("", loss, lambda *_: None, cross_entropy)  # type: ignore[arg-type]
        y_true = dense(labels, LOGITS) if isinstance(labels, tuple) else labels
        true = expect(case, y_true, LOGITS, reduction=reduction, lib=DOUBLE)
        value, grad = loss.value_and_grad(labels, LOGITS)
        if reduction == "sum":
            assert_near(value, true.value, true.value_error, "value")
        else:
            assert_near(value, true.losses, true.losses_error, "losses")
        assert_near(grad, true.grad, true.grad_error, "grad")


@pytest.mark.parametrize(
    "loss", [loss for loss in FEWER if isinstance(loss, fl.CrossEntropy)], ids=repr
)
def test_products_with_the_hessian(loss):
    """By the difference of two gradients; the rules of boosting libraries are not in it."""
    h = 1e-5
    for labels in labels_for(loss):
        options = {"sample_weight": SAMPLE_WEIGHT, "class_mask": MASK}
        ahead = loss.grad(labels, LOGITS + h * VECTOR, **options)
        behind = loss.grad(labels, LOGITS - h * VECTOR, **options)
        product = loss.hvp(labels, LOGITS, VECTOR, **options)
        np.testing.assert_allclose(product, (ahead - behind) / (2 * h), atol=1e-9)


@pytest.mark.parametrize("rows", ["few", "kept", "long"])
def test_results_in_place(monkeypatch, rows):
    """Nothing is read of the logits after derivatives were written there."""
    if rows != "few":
        monkeypatch.setattr(short_rows, "FEW", dict.fromkeys(short_rows.FEW, 0))
    monkeypatch.setattr(long_rows, "keeps", lambda _: rows == "kept")
    for loss in FEWER:
        verbs: list[tuple[Any, list[Any], list[Any]]]
        verbs = [(loss.proba, [], []), (loss.log_proba, [], [])]
        for labels in labels_for(loss):
            verbs += [(loss.grad, [labels], []), (loss.grad_hess, [labels], [])]
            if isinstance(loss, fl.CrossEntropy):
                verbs.append((loss.hvp, [labels], [VECTOR]))
        for verb, before, behind in verbs:
            expected = verb(*before, LOGITS, *behind)
            logits = LOGITS.copy()
            if isinstance(expected, tuple):
                out: Any = logits, np.empty_like(logits)
                verb(*before, logits, *behind, out=out)
            else:
                out = verb(*before, logits, *behind, out=logits)
            assert_same(np.array(out), np.array(expected))


@partly_long(18, "loss", FEWER, ids=repr)
def test_functions_for_compiled_code(loss):
    total = dataclasses.replace(loss, reduction="sum")
    for soft in (False, True)[: len(labels_for(loss))]:
        functions = loss.jit(C, soft_labels=soft)
        for label, row in zip(SOFT if soft else IDS, LOGITS, strict=True):
            expected, expected_grad = total.value_and_grad(
                label[None] if soft else [label], row[None]
            )
            grad = np.empty(C)
            assert functions.value_and_grad(label, row, grad) == expected
            assert functions.value(label, row) == expected
            np.testing.assert_array_equal(grad, expected_grad[0])


# ---------------------------------------------------------------------------------------------
# Single rules


def test_class_weights_beside_smoothing():
    """Each class has its own weight; in the mean rows weigh what they weigh without smoothing."""
    w, e = np.array(SHARED["class_weight"]), 0.125
    log_p = scipy.special.log_softmax(LOGITS, axis=1)
    loss = fl.CrossEntropy(class_weight=w, label_smoothing=e)
    for labels in (IDS, SOFT):
        t = one_hot_of(IDS, C) if labels is IDS else SOFT
        mass = w * ((1 - e) * t + e / C)
        value, grad = loss.value_and_grad(labels, LOGITS)
        assert value == pytest.approx(-(mass * log_p).sum() / (w * t).sum(), rel=1e-13)
        right = (mass.sum(axis=1, keepdims=True) * np.exp(log_p) - mass) / (w * t).sum()
        np.testing.assert_allclose(grad, right, rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.125])
@pytest.mark.parametrize("repeats", [1, 40])
def test_soft_labels_of_rows_whose_classes_are_out(smoothing, repeats):
    """All classes are out, or all that the labels name."""
    logits = np.tile([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 0.0, 2.0]], (1, repeats))
    soft = np.tile([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]], (1, repeats)) / repeats
    mask = np.ones(logits.shape, bool)
    mask[0] = False
    mask[1] = soft[1] == 0
    for weight in (None, np.ones(3 * repeats)):
        loss = fl.CrossEntropy(label_smoothing=smoothing, class_weight=weight, reduction="none")
        losses, grad = loss.value_and_grad(soft, logits, class_mask=mask)
        alone, alone_grad = loss.value_and_grad(soft[2:], logits[2:])
        assert losses[2] == alone[0]
        np.testing.assert_array_equal(grad[2], alone_grad[0])
        assert not grad[1][~mask[1]].any()
        if smoothing == 0:
            assert losses[1] == 0
            assert not grad[1].any()
        mean = dataclasses.replace(loss, reduction="mean")(soft, logits, class_mask=mask)
        if weight is None:
            assert math.isnan(losses[0])
            assert np.isnan(grad[0]).all()
            assert math.isnan(mean)
        else:  # they weigh nothing, and the last row 1
            assert losses[0] == 0
            assert not grad[0].any()
            assert mean == pytest.approx(losses[1:].sum(), rel=1e-14)
    with pytest.raises(ValueError, match=r"labels\[0\] is 0, a class that class_mask rules out"):
        fl.cross_entropy([0, 2, 1], logits, class_mask=mask)


def test_the_hessian_of_residuals():
    """As XGBoost has it after 3.4: the numbers of its own test, weights, and the floor."""
    logits = np.array([[1.0, 0.0, 2.0], [2.0, 0.0, 1.0]])
    loss = fl.CrossEntropy(hessian="xgboost_residual", reduction="sum")
    grad, hess = loss.grad_hess([1, 0], logits)
    np.testing.assert_allclose(hess.ravel(), [0.24, 0.91, 0.67, 0.33, 0.09, 0.24], atol=0.006)
    for labels in (IDS, SOFT):
        p = scipy.special.softmax(LOGITS, axis=1)
        t = one_hot_of(IDS, C) if labels is IDS else SOFT
        right = abs(t.sum(axis=1, keepdims=True) * p - t) * SAMPLE_WEIGHT[:, None]
        grad, hess = loss.grad_hess(labels, LOGITS, sample_weight=SAMPLE_WEIGHT)
        np.testing.assert_allclose(hess, right, rtol=1e-12)
        assert_same(hess, abs(grad))
    sure = np.array([[1000.0, 0.0, 0.0]])
    assert loss.grad_hess([0], sure)[1].tolist() == [[1e-16] * 3]
    assert loss.grad_hess([1], sure)[1].tolist() == [[1.0, 1.0, 1e-16]]
    assert np.all(loss.grad_hess([0, 0], np.zeros((2, 3)), sample_weight=[0, 1])[1][0] == 0)
    for many in (2, 130):
        rows = np.random.default_rng(0).normal(size=(3, many)).astype(np.float32)
        found = fl.CrossEntropy(hessian="xgboost_residual").grad_hess([0, 1, 0], rows)
        assert_same(found[1], abs(found[0]))
