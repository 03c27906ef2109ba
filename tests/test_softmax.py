"""What losses of a softmax have besides labels and weights: options, masks, links, more verbs."""

import dataclasses
import itertools
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import both, compiled, forget, partly_long, plain
from registry import (
    BFLOAT16,
    DOUBLE,
    EXACT,
    LINKED,
    Case,
    assert_near,
    assert_same,
    cross_entropy,
    dense,
    expect,
)

import fastloss as fl
from fastloss.kernels.softmax import long_rows

pytestmark = plain

INF = np.inf


def data(kind: str, n: int, c: int, dtype: Any = np.float32, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3.0, size=(n, c)).astype(dtype)
    ids = rng.integers(0, c, n)
    if kind == "ids":
        return ids, logits
    if kind == "soft":
        return (rng.integers(0, 5, (n, c)) * (rng.random((n, c)) < 0.3) / 4).astype(dtype), logits
    ids = rng.integers(0, c, (n, 3))
    ids[0] = ids[0, 0]  # one class, three times
    return (ids, (rng.integers(0, 3, (n, 3)) / 8).astype(dtype)), logits


def mask_for(y_true: Any, n: int, c: int) -> Any:
    """Most classes are in, those of the class ids among them."""
    mask = np.random.default_rng(1).random((n, c)) < 0.8
    ids = y_true[0] if isinstance(y_true, tuple) else np.asarray(y_true)
    if ids.ndim == 1 or isinstance(y_true, tuple):
        np.put_along_axis(mask, ids.reshape(n, -1), True, axis=1)
    mask[:, 0] = True
    return mask


def check(
    loss: Any,
    y_true: Any,
    logits: Any,
    mask: Any = None,
    hess: bool = True,
    value_alone: bool = False,
) -> None:
    """Against the reference. Compiled, each verb is a kernel for two or three seconds."""
    reference = partial(cross_entropy, class_mask=mask)
    case = Case("", loss, lambda *_: None, reference)  # type: ignore[arg-type]
    small = logits.size < 100
    labels = dense(y_true, logits) if isinstance(y_true, tuple) else y_true
    true = expect(case, labels, logits, lib=EXACT if small else DOUBLE)
    value, grad = loss.value_and_grad(y_true, logits, class_mask=mask)
    if value_alone:
        assert_same(loss(y_true, logits, class_mask=mask), value)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")
    if mask is not None:
        assert not grad[~mask].any()
    if hess:
        also_grad, hessian = loss.grad_hess(y_true, logits, class_mask=mask)
        assert_same(also_grad, grad)
        assert_near(hessian, true.hess, true.hess_error, "hess")


# ---------------------------------------------------------------------------------------------
# Options

ALL = {
    "softcap": 6.0,
    "temperature": 1.5,
    "z_loss": 0.01,
    "label_smoothing": 0.125,
}
ALONE = {
    "softcap": {"softcap": 4.0},
    "temperature": {"temperature": 0.5},
    "z_loss": {"z_loss": 0.1},
    "class_mask": {"class_mask": (True, False, True, True, True)},
    "masked and smoothed": {"class_mask": (True, False, True, True, True), "label_smoothing": 0.2},
    "hessian": {"hessian": "lightgbm"},
}
# Few classes, many, and so many that their derivatives are written in parts.
WIDTHS = [5, 130, 8200]


@pytest.mark.parametrize("options", ALONE.values(), ids=ALONE)
def test_an_option_alone(options):
    ids, logits = data("soft" if "class_mask" in options else "ids", 9, 5)
    check(fl.CrossEntropy(**options), ids, logits)


@both(
    "kind, c",
    itertools.product(["ids", "soft", "sparse"], WIDTHS[:2]),
    long=itertools.product(["ids", "soft", "sparse"], WIDTHS[2:]),
)
def test_all_options_together(kind, c):
    n = 9 if c < 1000 else 3
    y_true, logits = data(kind, n, c)
    weights = tuple(np.random.default_rng(2).integers(1, 9, c) / 4)
    off = np.random.default_rng(3).random(c) < 0.1
    off[y_true[0].ravel() if kind == "sparse" else y_true if kind == "ids" else 0] = False
    loss = fl.CrossEntropy(**ALL, class_weight=weights, class_mask=~off)
    hess = (kind == "soft" and c < 1000) or (kind == "ids" and c == 5)
    check(loss, y_true, logits, mask_for(y_true, n, c), hess, value_alone=c == 5 and kind == "ids")


@both("c, smoothing", [(5, 0), (130, 0), (5, 0.25)], long=[(WIDTHS[2], 0)])
def test_sparse_labels_equal_soft_labels(c, smoothing):
    pair, logits = data("sparse", 5, c)
    labels = dense(pair, logits).astype(np.float32)
    loss = fl.CrossEntropy(label_smoothing=smoothing)
    value, grad = loss.value_and_grad(pair, logits)
    value_soft, grad_soft = loss.value_and_grad(labels, logits)
    assert value == pytest.approx(value_soft, rel=1e-6)
    np.testing.assert_allclose(grad, grad_soft, rtol=2e-6, atol=1e-9)


@compiled
@pytest.mark.long
def test_one_sparse_label_equals_a_class_id():
    for c in WIDTHS:
        ids, logits = data("ids", 5, c)
        pair = ids[:, None], np.ones((5, 1), np.float32)
        value, grad = fl.cross_entropy.value_and_grad(ids, logits)
        value_pair, grad_pair = fl.cross_entropy.value_and_grad(pair, logits)
        assert_same(value_pair, value)
        assert_same(grad_pair, grad)


@both("c", WIDTHS[:2], long=WIDTHS[2:])
def test_a_mask_equals_deleting_the_classes(c):
    ids, logits = data("ids", 5, c)
    off = np.arange(c) % 3 == 1
    ids[off[ids]] -= 1
    kept = np.flatnonzero(~off)
    loss, masked = (
        fl.CrossEntropy(label_smoothing=0.25),
        fl.CrossEntropy(label_smoothing=0.25, class_mask=~off),
    )
    value, grad = loss.value_and_grad(np.searchsorted(kept, ids), logits[:, kept])
    mask = np.broadcast_to(~off, logits.shape)
    results = [
        masked.value_and_grad(ids, np.where(off, 1e30, logits).astype("f4"), class_mask=mask)
    ]
    if c == 5:
        results.append(masked.value_and_grad(ids, logits))
        results.append(loss.value_and_grad(ids, logits, class_mask=mask))
    for value_of, grad_of in results:
        assert value_of == pytest.approx(value, rel=1e-6)
        np.testing.assert_allclose(grad_of[:, kept], grad, rtol=2e-6, atol=1e-9)
        assert not grad_of[:, off].any()


def test_masked_classes_are_finite_with_labels_on_them():
    """A class at -inf with soft labels or smoothing gives NaN or infinity elsewhere."""
    logits = np.array([[1.0, -INF, 2.0, 0.0], [0.5, 0.0, 1.0, -INF]], np.float32)
    mask = np.isfinite(logits)
    labels = np.full((2, 4), 0.25, np.float32)
    for y_true in (labels, [0, 2]):
        loss = fl.CrossEntropy(label_smoothing=0.1)
        value, grad = loss.value_and_grad(y_true, logits, class_mask=mask)
        assert np.isfinite(value)
        assert np.isfinite(grad).all()


def test_options_that_change_nothing():
    ids, logits = data("ids", 9, 5)
    value, grad = fl.cross_entropy.value_and_grad(ids, logits)
    for loss in (
        fl.CrossEntropy(temperature=1),
        fl.CrossEntropy(z_loss=0),
        fl.CrossEntropy(class_mask=[True] * 5),
        fl.CrossEntropy(hessian_floor=0),
    ):
        same_value, same_grad = loss.value_and_grad(ids, logits)
        assert_same(same_value, value)
        assert_same(same_grad, grad)
    far, _ = fl.CrossEntropy(softcap=1e6).value_and_grad(ids, logits)
    assert far == pytest.approx(value, rel=1e-6)


def test_temperature_equals_scaled_logits():
    ids, logits = data("ids", 9, 5)
    value, grad = fl.CrossEntropy(temperature=4.0).value_and_grad(ids, logits)
    value_scaled, grad_scaled = fl.cross_entropy.value_and_grad(ids, logits / 4)
    assert value == pytest.approx(value_scaled, rel=1e-7)
    np.testing.assert_allclose(grad, grad_scaled / 4, rtol=1e-6)
    logits = (logits * 8).round()
    loss = fl.CrossEntropy(temperature=4.0)
    shifted, _ = loss.value_and_grad(ids, logits + 2.0**20)
    assert shifted == loss.value_and_grad(ids, logits)[0]


@pytest.mark.parametrize("options", [{"temperature": 2.0}, {"softcap": 30.0}, {"z_loss": 1e-4}])
@pytest.mark.parametrize("c", [5, 130])
def test_confident_rows_stay_exact(options, c):
    logits = np.zeros((1, c), np.float32)
    logits[0, 0] = 25
    check(fl.CrossEntropy(**options), np.array([0]), logits, hess=c == 5)


@pytest.mark.parametrize(
    ("c", "dtype"), [(5, np.float16), (5, BFLOAT16), (5, np.float64), (130, np.float16)], ids=str
)
def test_options_in_other_dtypes(c, dtype):
    pair, logits = data("sparse", 5, c, dtype)
    check(fl.CrossEntropy(**ALL), pair, logits, mask_for(pair, 5, c), hess=False)


@pytest.mark.parametrize("c", [6, 130])
def test_strided_masks_and_pairs(c):
    pair, logits = data("sparse", 8, c)
    mask = mask_for(pair, 8, c)
    loss = fl.CrossEntropy(label_smoothing=0.25)
    value, grad = loss.value_and_grad(pair, logits, class_mask=mask)
    wide = np.repeat(pair[0], 2, axis=1)[:, ::2], np.asfortranarray(pair[1])
    value_strided, grad_strided = loss.value_and_grad(
        wide, np.asfortranarray(logits), class_mask=np.asfortranarray(mask)
    )
    assert_same(value_strided, value)
    assert_same(np.ascontiguousarray(grad_strided), grad)


@compiled
@pytest.mark.long
def test_masks_and_pairs_over_many_blocks_and_threads():
    n, c = 70_000, 40
    pair, logits = data("sparse", n, c)
    mask = mask_for(pair, n, c)
    loss = fl.CrossEntropy(label_smoothing=0.25, reduction="sum")
    before = fl.get_num_threads()
    try:
        results = []
        for n_threads in (1, 3):
            fl.set_num_threads(n_threads)
            results.append(loss.value_and_grad(pair, logits, class_mask=mask))
    finally:
        fl.set_num_threads(before)
    assert_same(results[0][0], results[1][0])
    assert_same(results[0][1], results[1][1])
    some = slice(50_000, 50_003)
    part = loss.grad((pair[0][some], pair[1][some]), logits[some], class_mask=mask[some])
    np.testing.assert_allclose(results[0][1][some], part, rtol=1e-6)


def test_weights_meet_masks():
    """The mean is over the weights of the classes that are in; a weight of 2 is the row twice."""
    labels, logits = data("soft", 6, 5)
    mask = mask_for(labels, 6, 5)
    loss = fl.CrossEntropy(class_weight=[1.0, 2.0, 0.5, 3.0, 1.0])
    labels_twice, logits_twice, mask_twice = (np.repeat(a, 2, 0) for a in (labels, logits, mask))
    twice, _ = loss.value_and_grad(labels_twice, logits_twice, class_mask=mask_twice)
    value, _ = loss.value_and_grad(labels, logits, class_mask=mask, sample_weight=np.full(6, 2.0))
    assert value == pytest.approx(twice, rel=1e-12)
    check(loss, labels, logits, mask, hess=False)


# ---------------------------------------------------------------------------------------------
# Hessians


def test_hessians_of_boosting_libraries():
    """As XGBoost 3 (before its change to |p - y|) and LightGBM 4 write them."""
    ids, logits = data("ids", 9, 4, np.float64)
    p = scipy.special.softmax(logits, axis=1)
    weight = np.linspace(0.5, 2, 9)
    build = {"reduction": "sum"}
    for hessian, expected in (
        ("xgboost", np.maximum(2 * p * (1 - p) * weight[:, None], 1e-16)),
        ("lightgbm", 4 / 3 * p * (1 - p) * weight[:, None]),
    ):
        loss = fl.CrossEntropy(hessian=hessian, **build)
        _, hess = loss.grad_hess(ids, logits, sample_weight=weight)
        np.testing.assert_allclose(hess, expected, rtol=1e-13)
    for c in (2, 130):
        certain = np.zeros((1, c))
        certain[0, 1] = 1000.0
        assert np.all(fl.CrossEntropy(hessian="xgboost").grad_hess([0], certain)[1] == 1e-16)
        assert np.all(fl.CrossEntropy(hessian_floor=0.5).grad_hess([0], certain)[1] == 0.5)
    assert not fl.cross_entropy.grad_hess([0], [[0.0, 1000.0]])[1].any()


# ---------------------------------------------------------------------------------------------
# Links


@pytest.mark.parametrize("loss", LINKED, ids=repr)
def test_losses_of_a_cross_entropy(loss):
    ids, logits = data("ids", 9, 5)
    plain = loss == type(loss)()
    check(loss, ids, logits, value_alone=loss == fl.focal)
    confident = np.array([[30.0, 0, 1, 2, 3], [0, 30, 1, 2, 3]], np.float32)
    check(loss, np.array([0, 0]), confident)
    if plain:  # in float64
        loss.check_gradient()


@pytest.mark.parametrize("loss", [fl.focal, fl.poly_cross_entropy], ids=repr)
def test_losses_of_a_cross_entropy_along_rows(loss):
    ids, logits = data("ids", 5, 130)
    check(loss, ids, logits)


def test_links_that_are_cross_entropy():
    ids, logits = data("ids", 9, 5, np.float64)
    value, grad = fl.cross_entropy.value_and_grad(ids, logits)
    for loss in (
        fl.Focal(gamma=0),
        fl.PolyCrossEntropy(epsilon=0),
        fl.GeneralizedCrossEntropy(q=1e-12),
    ):
        same_value, same_grad = loss.value_and_grad(ids, logits)
        assert same_value == pytest.approx(value, rel=1e-10)
        np.testing.assert_allclose(same_grad, grad, rtol=1e-9, atol=1e-15)


def test_binary_focal_is_focal_of_two_classes():
    x = np.linspace(-6, 6, 13)
    y = np.arange(13) % 2
    logits = np.stack([np.zeros(13), x], axis=1)
    binary = fl.BinaryFocal(gamma=1.5, alpha=0.3).value_and_grad(y.astype(float), x)
    both = fl.Focal(gamma=1.5, alpha=(0.7, 0.3)).value_and_grad(y, logits)
    assert both[0] == pytest.approx(binary[0], rel=1e-13)
    np.testing.assert_allclose(both[1][:, 1], binary[1], rtol=1e-12)


@pytest.mark.parametrize("loss", [fl.focal, fl.generalized_cross_entropy, fl.poly_cross_entropy])
def test_links_at_infinity(loss):
    logits = np.array([[INF, 0.0], [-INF, 0.0], [0.0, -INF], [np.nan, 0.0]])
    each = dataclasses.replace(loss, reduction="sum")
    losses = [each.value_and_grad([0], row[None])[0] for row in logits]
    grad = each.grad([0, 0, 0, 0], logits)
    assert losses[0] == losses[2] == 0
    assert losses[1] == (1 / 0.7 if loss is fl.generalized_cross_entropy else INF)
    assert np.isnan(losses[3])
    assert np.isfinite(grad[:3]).all()
    assert np.isnan(grad[3]).all()
    _, hess = each.grad_hess([0, 0, 0, 0], logits)
    assert not hess[:3].any()


# ---------------------------------------------------------------------------------------------
# More verbs


@pytest.mark.parametrize(
    ("c", "dtype"),
    [*((c, np.float32) for c in WIDTHS), (5, np.float64), (5, np.float16)],
)
def test_probabilities(c, dtype):
    _, logits = data("ids", 3, c, dtype)
    x = logits.astype(np.float64)
    eps = float(np.finfo(dtype).eps)
    p, log_p = scipy.special.softmax(x, axis=1), scipy.special.log_softmax(x, axis=1)
    np.testing.assert_allclose(fl.cross_entropy.proba(logits), p, rtol=16 * eps, atol=1e-7)
    np.testing.assert_allclose(fl.cross_entropy.log_proba(logits), log_p, rtol=8 * eps)
    lse = fl.cross_entropy.logsumexp(logits)
    assert lse.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_allclose(lse, scipy.special.logsumexp(x, axis=1), rtol=1e-6)
    assert fl.cross_entropy.proba(logits).dtype == logits.dtype


@pytest.mark.parametrize("c", [5, 130])
def test_probabilities_with_options(c):
    _, logits = data("ids", 4, c, np.float64)
    mask = np.random.default_rng(5).random(logits.shape) < 0.7
    loss = fl.CrossEntropy(softcap=5.0, temperature=2.0)
    x = np.where(mask, 5 * np.tanh(logits / 5) / 2, -INF)
    p = scipy.special.softmax(x, axis=1)
    np.testing.assert_allclose(loss.proba(logits, class_mask=mask), p, rtol=1e-13)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(loss.log_proba(logits, class_mask=mask), np.log(p), rtol=1e-12)
    lse = loss.logsumexp(logits, class_mask=mask)
    np.testing.assert_allclose(lse, scipy.special.logsumexp(x, axis=1), rtol=1e-13)


def test_probabilities_at_the_ends():
    logits = np.array([[-INF, 0.0], [INF, 0.0], [1e300, -1e300], [0.0, -800.0]])
    np.testing.assert_array_equal(fl.cross_entropy.proba(logits), [[0, 1], [1, 0], [1, 0], [1, 0]])
    log_p = fl.cross_entropy.log_proba(logits)
    np.testing.assert_array_equal(log_p, [[-INF, 0], [0, -INF], [0, -2e300], [0, -800]])
    assert np.isnan(fl.cross_entropy.proba([[np.nan, 0.0], [-INF, -INF], [INF, INF]])).all()
    np.testing.assert_array_equal(fl.cross_entropy.logsumexp(logits), [0, INF, 1e300, 0])
    tiny = fl.cross_entropy.log_proba(np.float32([[20, 0, -5]]))[0, 0]
    assert tiny == pytest.approx(-2.0750e-9, rel=1e-3)


@pytest.mark.parametrize("c", [5, 130, 3000])
def test_log_sum_exp_at_the_ends(c):
    """It has a limit where probabilities have none: nothing, and several infinities."""
    logits = np.full((6, c), -INF)
    logits[1, :2] = INF
    logits[2, 0] = INF
    logits[3, -1] = np.nan
    logits[4, :2] = INF, np.nan
    logits[5, :2] = 0
    lse = fl.cross_entropy.logsumexp(logits)
    expected = [-INF, INF, INF, np.nan, np.nan, np.log(2)]
    np.testing.assert_allclose(lse, expected, rtol=4 * float(np.finfo(np.float64).eps))


def test_probabilities_in_place_and_into_out():
    _, logits = data("ids", 50, 7)
    p = fl.cross_entropy.proba(logits)
    out = np.empty_like(logits)
    assert fl.cross_entropy.proba(logits, out=out) is out
    assert_same(out, p)
    log_p = fl.cross_entropy.log_proba(logits)
    copy = logits.copy()
    assert fl.cross_entropy.log_proba(copy, out=copy) is copy
    assert_same(copy, log_p)
    row = np.empty(50, np.float32)
    assert fl.cross_entropy.logsumexp(logits, out=row) is row
    with pytest.raises(ValueError, match="overlaps"):
        fl.cross_entropy.proba(logits[1:], out=logits[:-1])
    with pytest.raises(ValueError, match="shape"):
        fl.cross_entropy.proba(logits, out=row)


@both(
    "kind, options, c",
    [("ids", {}, 300), ("ids", ALL, 300), ("soft", ALL, 300), ("sparse", {}, 300)],
    long=[("ids", ALL, 9_000)],
)
def test_exponentials_are_kept_or_computed_again(monkeypatch, kind, options, c):
    """Which of the two is faster depends on the processor."""
    y_true, logits = data(kind, 3, c)
    mask, vector = mask_for(y_true, 3, c), np.roll(logits, 1)
    results = []
    for kept in (True, False):
        monkeypatch.setattr(long_rows, "keeps", lambda n_classes, kept=kept: kept)
        forget()
        loss = fl.CrossEntropy(**options)
        results.append([*loss.grad_hess(y_true, logits, class_mask=mask)])
        if c < 1000:  # in plain Python; compiled, other tests compare them with what is true
            results[-1] += [
                *loss.value_and_grad(y_true, logits),
                loss.hvp(y_true, logits, vector),
                loss.proba(logits),
                loss.log_proba(logits),
            ]
    for actual, expected in zip(*results, strict=True):
        assert_same(actual, expected)


@both("c", [5], compiled=[130], long=[5, 100])
@partly_long(2, "value", [-np.inf, np.inf, np.nan, -3e38])
def test_an_infinite_gap_leaves_other_rows_their_bits(c, value):
    """Rows whose gaps are all finite take a shorter formula than the others."""
    rng = np.random.default_rng(c)
    logits = rng.normal(size=(70, c)).astype(np.float32)
    labels = rng.random((70, c)).astype(np.float32)
    labels[:, 2] = 0
    loss = fl.CrossEntropy(reduction="none")
    losses, grads = loss.value_and_grad(labels, logits)
    odd = [3, 4, 66]
    logits[odd, 2] = value
    labels[4, 2] = 0.5
    others = np.delete(np.arange(70), odd)
    found, found_grads = loss.value_and_grad(labels, logits)
    np.testing.assert_array_equal(found[others], losses[others])
    np.testing.assert_array_equal(found_grads[others], grads[others])
    np.testing.assert_array_equal(found, loss(labels, logits))
    if value == -np.inf:
        at = [j for j in range(c) if j != 2]
        assert found[4] == np.inf
        for row in (3, 66):
            expected = loss(labels[row : row + 1, at], logits[row : row + 1, at])
            np.testing.assert_allclose(found[row], expected[0], rtol=1e-6)


@compiled
@pytest.mark.parametrize("first", [-INF, 0.0, 1.0, 2.0, 3.0])
@pytest.mark.long
def test_kept_exponentials_follow_the_largest_logit(monkeypatch, first):
    """Of rows so long that their largest logit is found part by part."""
    n, c = 2, 100_000
    ids, logits = data("ids", n, c)
    logits[:, :40_000] += first  # the largest is there, or comes later
    logits[:, 70_000] = 20.0
    results = []
    for kept in (True, False):
        monkeypatch.setattr(long_rows, "keeps", lambda n_classes, kept=kept: kept)
        forget()
        loss = fl.CrossEntropy(temperature=2.0)
        results.append([*loss.value_and_grad(ids, logits), loss.log_proba(logits)])
    (value, grad, log_proba), expected = results
    assert_same(value, expected[0])
    # Each may be off by (10 + gap) 2**-24.
    np.testing.assert_allclose(grad, expected[1], rtol=3e-6)
    np.testing.assert_allclose(log_proba, expected[2], rtol=3e-6)


@pytest.mark.parametrize("c", WIDTHS)
def test_hessian_vector_product(c):
    """Against the whole Hessian."""
    labels, logits = data("soft", 3, c, np.float64)
    vector = np.random.default_rng(4).normal(size=logits.shape)
    loss = fl.CrossEntropy(reduction="sum")
    weight = np.array([0.5, 2.0, 0.0])
    product = loss.hvp(labels, logits, vector, sample_weight=weight)
    p, total = scipy.special.softmax(logits, axis=1), labels.sum(axis=1) * weight
    for r in range(3):
        direct = total[r] * (p[r] * vector[r] - p[r] * (p[r] @ vector[r]))
        np.testing.assert_allclose(product[r], direct, rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize("c", WIDTHS[:2])
def test_hessian_vector_product_with_options(c):
    """Against the gradient on both sides."""
    labels, logits = data("soft", 3, c, np.float64)
    vector = np.random.default_rng(4).normal(size=logits.shape)
    loss = fl.CrossEntropy(**ALL)
    mask = mask_for(labels, 3, c)
    product = loss.hvp(labels, logits, vector, class_mask=mask)
    h = 1e-5
    ahead = loss.grad(labels, logits + h * vector, class_mask=mask)
    behind = loss.grad(labels, logits - h * vector, class_mask=mask)
    np.testing.assert_allclose(product, (ahead - behind) / (2 * h), atol=1e-9)


def test_hessian_vector_product_in_place():
    ids, logits = data("ids", 20, 5)
    vector = np.ones_like(logits)
    vector[:, 0] = -1
    product = fl.cross_entropy.hvp(ids, logits, vector)
    out = logits.copy()
    assert fl.cross_entropy.hvp(ids, out, vector, out=out) is out
    assert_same(out, product)
    with pytest.raises(ValueError, match="out overlaps the memory of vector"):
        fl.cross_entropy.hvp(ids, logits, vector, out=vector)
    with pytest.raises(ValueError, match="vector has shape"):
        fl.cross_entropy.hvp(ids, logits, vector[:, 0])


# ---------------------------------------------------------------------------------------------
# Errors, before anything is written

IDS, LOGITS_5 = data("ids", 6, 5)


def refused(error: type[Exception], message: str, call: Any) -> None:
    out = np.full((6, 5), 7.0, np.float32)
    with pytest.raises(error, match=message):
        call(out)
    assert np.all(out == 7)


def test_class_ids_of_classes_that_are_out():
    mask = np.ones((6, 5), bool)
    mask[4, IDS[4]] = False
    message = rf"labels\[4\] is {IDS[4]}, a class that class_mask rules out"
    grad = fl.cross_entropy.grad
    refused(ValueError, message, lambda out: grad(IDS, LOGITS_5, class_mask=mask, out=out))
    pair = np.stack([np.full(6, 1), IDS], axis=1), np.full((6, 2), 0.5, np.float32)
    mask[:, 1] = True
    message = rf"labels\[0\]\[4, 1\] is {IDS[4]}, a class"
    if IDS[4] != 1:
        refused(ValueError, message, lambda out: grad(pair, LOGITS_5, class_mask=mask, out=out))
    off = fl.CrossEntropy(class_mask=np.arange(5) != IDS[2])
    refused(ValueError, "rules out", lambda out: off.grad(IDS, LOGITS_5, out=out))
    ignoring = fl.CrossEntropy(class_mask=np.arange(5) != IDS[2], ignore_index=int(IDS[2]))
    assert np.isfinite(ignoring.grad(IDS, LOGITS_5)).all()


def test_masks_of_the_wrong_kind():
    grad = fl.cross_entropy.grad
    for mask, error, message in (
        (np.ones(5, bool), ValueError, r"class_mask has shape \(5,\) .* is an option"),
        (np.ones((6, 5)), TypeError, "astype\\(bool\\)"),
        (np.ones((5, 6), bool), ValueError, "class_mask has shape"),
    ):
        refused(error, message, lambda out, m=mask: grad(IDS, LOGITS_5, class_mask=m, out=out))
    with pytest.raises(ValueError, match="class_mask is for losses of logits"):
        fl.mse([1.0], [2.0], class_mask=[True])
    with pytest.raises(ValueError, match="CategoricalCrossEntropy is none"):
        fl.categorical_cross_entropy([0], [[0.5, 0.5]], class_mask=[[True, True]])
    with pytest.raises(ValueError, match="class_mask has 4 numbers, but there are 5 classes"):
        fl.CrossEntropy(class_mask=[True] * 4)(IDS, LOGITS_5)


def test_pairs_of_the_wrong_kind():
    grad = fl.cross_entropy.grad
    ids, half = np.zeros((6, 2), int), np.full((6, 2), 0.5, np.float32)
    high = half.copy()
    high[3, 1] = 1.5
    far = ids.copy()
    far[2, 0] = 5
    for pair, error, message in (
        ((ids, half[:, :1]), ValueError, "pair of class ids of shape"),
        ((ids[:5], half[:5]), ValueError, r"both must have the shape \(6, k\)"),
        ((ids[:, :0], half[:, :0]), ValueError, "of no class at all"),
        ((half, half), TypeError, r"labels\[0\] has dtype float32"),
        ((ids, ids), TypeError, r"labels\[1\] has dtype int64"),
        ((ids, high), ValueError, r"labels\[1\]\[3, 1\] is 1.5"),
        ((far, half), ValueError, r"labels\[0\]\[2, 0\] is 5, but class ids go from 0 to 4"),
    ):
        refused(error, message, lambda out, p=pair: grad(p, LOGITS_5, out=out))


@pytest.mark.parametrize("loss", [fl.focal, fl.generalized_cross_entropy, fl.poly_cross_entropy])
def test_links_take_class_ids_alone(loss):
    for labels in (np.full((6, 5), 0.2), (np.zeros((6, 1), int), np.ones((6, 1))), LOGITS_5):
        refused(ValueError, "argmax", lambda out, t=labels: loss.grad(t, LOGITS_5, out=out))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"temperature": INF},
        {"softcap": 0.0},
        {"z_loss": -1.0},
        {"hessian": "newton"},
        {"hessian_floor": -1.0},
        {"class_mask": [False, False]},
        {"class_mask": [[True]]},
    ],
    ids=str,
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        fl.CrossEntropy(**options)
    with pytest.raises(TypeError, match="booleans"):
        fl.CrossEntropy(class_mask=[1, 0])


def test_losses_with_options_are_values():
    loss = fl.CrossEntropy(class_mask=[True, False], temperature=2, softcap=30)
    assert loss == pickle.loads(pickle.dumps(loss))
    assert hash(loss) == hash(
        fl.CrossEntropy(class_mask=(True, False), temperature=2.0, softcap=30)
    )
    assert "class_mask=(True, False)" in repr(loss)
    assert len({fl.Focal(alpha=1), fl.Focal(alpha=1.0), fl.Focal(alpha=[1, 2])}) == 2


# ---------------------------------------------------------------------------------------------
# Any combination


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["ids", "soft", "sparse"]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.5, 1.5, 4.0]),
    st.sampled_from([2.0, 30.0]),
    st.sampled_from([1e-4, 0.1]),
    st.sampled_from([0.1, 0.9]),
    st.integers(1, 9),
)
def test_any_numbers_in_any_combination(kind, seed, temperature, softcap, z_loss, smoothing, n):
    """Options are told at each call, so all of these run the kernels of `ALL`."""
    y_true, logits = data(kind, n, 5, seed=seed)
    loss = fl.CrossEntropy(
        temperature=temperature, softcap=softcap, z_loss=z_loss, label_smoothing=smoothing
    )
    check(loss, y_true, logits, mask_for(y_true, n, 5), hess=False)


def test_some_pairs_of_options():
    names = {**ALL, "class_mask": (True, True, False, True, True), "hessian": "lightgbm"}
    ids = IDS.copy()
    ids[ids == 2] = 1
    for pair in list(itertools.combinations(names, 2))[::5]:
        loss = fl.CrossEntropy(**{name: names[name] for name in pair})
        check(loss, ids, LOGITS_5)
