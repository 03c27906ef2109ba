"""What each odd input does: the table of the contract, row by row, for every loss it applies to.

Errors come before anything is written, name the argument, the first bad position and its value, and
say what to do.
"""

import dataclasses
import inspect
import itertools
import math
import re
import warnings
from fractions import Fraction

import numpy as np
import pytest
from plain import both, compiled, plain
from registry import (
    BINARY,
    CASES,
    CATEGORICAL,
    CATEGORICAL_SOFT,
    DTYPES,
    FAMILY,
    IN_FLOAT64,
    INFINITE,
    LOGITS,
    MECHANICS,
    NARROW,
    PLAIN,
    ROWWISE,
    SOFTMAX,
    SOFTMAX_SOFT,
    SOFTMAX_SOFT_ALL,
    SQUARED,
    WEIGHED,
    assert_same,
    class_ids,
)

import fastloss as fl
from fastloss.call.work import Work
from fastloss.kernels.args import SURVEY
from fastloss.kernels.storage import FLOATS

pytestmark = plain

INF, NAN = math.inf, math.nan
BY_NAME = {case.name: case for case in CASES}
ALL_SOFTMAX = [case for case in IN_FLOAT64 if case.name.startswith("softmax")]
BY_ID = [case for case in ROWWISE if case.data()[0].dtype.kind == "i"]
NONE = fl.CrossEntropy(reduction="none")
# One for each loop and kind of labels.
LAYOUT_CASES = [SOFTMAX, SQUARED, LOGITS, CATEGORICAL, SOFTMAX_SOFT]

mechanics = pytest.mark.parametrize("case", MECHANICS, ids=str)
plain_cases = pytest.mark.parametrize("case", PLAIN, ids=str)


def names(case):
    return case.loss.names


def assert_rejected(loss, y_true, y_pred, error, *parts, verbs=True, **options):
    """Every verb raises `error` with all `parts` in its message and leaves `out` as it was.

    Returns the message. `verbs=False` for arguments that not all verbs have in common.
    """
    shape = np.shape(y_pred)
    pred_dtype = np.asarray(y_pred).dtype
    dtype = pred_dtype if pred_dtype.name in FLOATS else np.float64
    out, hess = np.full(shape, 7, dtype), np.full(shape, 7, dtype)
    calls = [lambda: loss.value_and_grad(y_true, y_pred, out=out, **options)]
    if verbs:
        calls += [
            lambda: loss(y_true, y_pred, **options),
            lambda: loss.grad(y_true, y_pred, out=out, **options),
            lambda: loss.grad_hess(y_true, y_pred, out=(out, hess), **options),
        ]
    message = ""
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        message = str(caught.value)
        for part in parts:
            assert part in message
        assert np.all(out == 7)
        assert np.all(hess == 7)
    return message


def losses_and_grad(loss, y_true, y_pred):
    """Of a loss without reduction, by the kernels that most other tests use too."""
    return loss(y_true, y_pred), loss.grad(y_true, y_pred)


def assert_says_what_to_do(message):
    """After what is wrong comes a colon or a comma and a hint."""
    assert re.search(
        r"\b(write|pass|give|use|build|check|clip|expected|must|were they|leave|marked)\b", message
    ), message


# ---------------------------------------------------------------------------------------------
# NaN and infinite logits


@pytest.mark.parametrize("case", ALL_SOFTMAX, ids=str)
@pytest.mark.parametrize("position", [0, 3, 4, slice(None)], ids=str)
def test_nan_in_a_row_of_logits(case, position):
    y_true, logits = case.data()
    row = 3
    if y_true.ndim == 1:
        y_true[row] = 3  # class 3 has a positive weight
    else:
        y_true[row] = [0, 0.5, 0, 0.5, 0]
    before_losses, before = losses_and_grad(case.reduced("none"), y_true, logits)
    logits[row, position] = NAN
    losses, grad = losses_and_grad(case.reduced("none"), y_true, logits)
    assert math.isnan(losses[row])
    assert np.all(np.isnan(grad[row]))
    others = np.arange(len(logits)) != row
    assert_same(losses[others], before_losses[others])
    assert_same(grad[others], before[others])
    mean, grad = case.loss.value_and_grad(y_true, logits)
    assert math.isnan(mean)
    assert np.all(np.isnan(grad[row]))
    assert np.all(np.isfinite(grad[others]))


def test_nan_in_a_row_whose_soft_labels_are_all_zero():
    losses, grad = losses_and_grad(NONE, np.zeros((1, 3)), [[NAN, 0.0, 1.0]])
    assert math.isnan(losses[0])
    assert np.all(np.isnan(grad))


@pytest.mark.parametrize("infinity", [INF, -INF])
def test_nan_beside_an_infinity(infinity):
    for row in ([NAN, infinity, 0.0], [infinity, NAN, 0.0], [0.0, infinity, NAN]):
        for label in range(3):
            losses, grad = losses_and_grad(NONE, [label], [row])
            assert math.isnan(losses[0])
            assert np.all(np.isnan(grad))


@pytest.mark.parametrize("case", [c for c in IN_FLOAT64 if not c.rowwise], ids=str)
@pytest.mark.parametrize("which", [0, 1], ids=["y_true", "y_pred"])
def test_nan_elements(case, which):
    data = case.data()
    data[which][2, 3] = NAN
    data[0][1, 1], data[1][1, 1] = 1.0, NAN
    data[0][1, 2], data[1][1, 2] = 0.0, NAN
    losses, grad = losses_and_grad(case.reduced("none"), *data)
    nan = np.isnan(data[0]) | np.isnan(data[1])
    assert nan.sum() == 3
    np.testing.assert_array_equal(np.isnan(losses), nan)
    np.testing.assert_array_equal(np.isnan(grad), nan)
    assert math.isnan(case.loss.value_and_grad(*data)[0])


def test_nan_passes_an_option_that_multiplies_by_zero():
    loss = fl.BinaryCrossEntropyWithLogits(pos_weight=0.0, reduction="none")
    losses, grad = loss.value_and_grad([1.0], [NAN])
    assert math.isnan(losses[0])
    assert math.isnan(grad[0])


@pytest.mark.parametrize("case", [CATEGORICAL, CATEGORICAL_SOFT], ids=str)
def test_nan_in_probabilities(case):
    """At a class that the labels ask for."""
    y_true, p = case.data()
    y_true[2] = 1 if y_true.ndim == 1 else [0, 0.5, 0, 0.5, 0]
    p[2, 1] = NAN
    losses, grad = losses_and_grad(case.reduced("none"), y_true, p)
    assert np.flatnonzero(np.isnan(losses)).tolist() == [2]
    assert math.isnan(grad[2, 1])
    assert np.all(np.isfinite(np.delete(grad, 2, axis=0)))
    assert math.isnan(case.loss(y_true, p))


def test_nan_in_soft_labels():
    for loss, y_pred in (
        (fl.CrossEntropy(reduction="none"), [[1.0, 2.0], [0.0, 1.0]]),
        (fl.CategoricalCrossEntropy(reduction="none"), [[0.5, 0.5], [0.25, 0.75]]),
    ):
        losses, grad = losses_and_grad(loss, [[NAN, 0.5], [0.5, 0.5]], y_pred)
        assert np.isnan(losses).tolist() == [True, False]
        assert math.isnan(grad[0, 0])
        assert np.all(np.isfinite(grad[1]))


@pytest.mark.parametrize("name", ["softmax", "softmax_weighed", "softmax_ignoring"])
def test_a_logit_of_minus_infinity_is_a_class_ruled_out(name):
    case, dtype = BY_NAME[name], np.float32
    _, logits = case.data(dtype)
    ids = np.array([0, 1, 3, 4, 0, 1, 3])  # never 2
    without = np.delete(logits, 2, axis=1)
    loss, less = case.reduced("none"), case.reduced("none")
    if loss.class_weight is not None:
        less = dataclasses.replace(less, class_weight=np.delete(loss.class_weight, 2))
    expected, expected_grad = losses_and_grad(less, np.where(ids > 2, ids - 1, ids), without)
    logits[:, 2] = -INF
    losses, grad = losses_and_grad(loss, ids, logits)
    assert np.all(np.isfinite(losses))
    assert np.all(grad[:, 2] == 0)
    np.testing.assert_allclose(losses, expected, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(
        np.delete(grad, 2, axis=1), expected_grad, rtol=8 * np.finfo(dtype).eps
    )
    _, hess = loss.grad_hess(ids, logits)
    assert np.all(hess[:, 2] == 0)
    assert math.isfinite(case.loss.value_and_grad(ids, logits)[0])


@pytest.mark.parametrize("name", ["softmax_soft", "softmax_soft_weighed"])
def test_a_soft_target_of_zero_at_minus_infinity_contributes_nothing(name):
    case = BY_NAME[name]
    labels, logits = case.data()
    labels[:, 1] = 0.0
    labels[:, 0] = 0.25
    less = case.reduced("none")
    if less.class_weight is not None:
        less = dataclasses.replace(less, class_weight=np.delete(less.class_weight, 1))
    expected, expected_grad = losses_and_grad(
        less, np.delete(labels, 1, axis=1), np.delete(logits, 1, axis=1)
    )
    logits[:, 1] = -INF
    losses, grad = losses_and_grad(case.reduced("none"), labels, logits)
    np.testing.assert_allclose(losses, expected, rtol=5e-7)
    np.testing.assert_allclose(np.delete(grad, 1, axis=1), expected_grad, rtol=1e-6, atol=1e-7)
    assert np.all(grad[:, 1] == 0)


@pytest.mark.parametrize("as_soft", [False, True])
def test_minus_infinity_at_the_label(as_soft):
    logits = np.array([[-INF, 0.0, math.log(3.0)], [0.0, 0.0, 0.0]])
    labels = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) if as_soft else [0, 1]
    losses, grad = losses_and_grad(NONE, labels, logits)
    assert losses[0] == INF
    np.testing.assert_allclose(grad[0], [-1.0, 0.25, 0.75], rtol=1e-15)
    mean, grad = fl.cross_entropy.value_and_grad(labels, logits)
    assert mean == INF
    np.testing.assert_allclose(grad[0], [-0.5, 0.125, 0.375], rtol=1e-15)
    assert np.all(np.isfinite(fl.cross_entropy.grad_hess(labels, logits)[1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_soft", [False, True])
@pytest.mark.parametrize(
    "row",
    [[-INF, -INF, -INF], [INF, INF, 0.0], [INF, INF, -INF], [INF, 1.0, INF], [INF, INF, INF]],
    ids=str,
)
def test_rows_without_a_limit_are_nan(row, as_soft, dtype):
    for label in range(3):
        labels = np.eye(3, dtype=dtype)[[label, 0]] if as_soft else [label, 0]
        logits = np.array([row, [0.0, 1.0, 2.0]], dtype)
        losses, grad = losses_and_grad(NONE, labels, logits)
        assert math.isnan(losses[0])
        assert np.all(np.isnan(grad[0]))
        assert math.isfinite(losses[1])
        assert np.all(np.isfinite(grad[1]))
        assert math.isnan(fl.cross_entropy.value_and_grad(labels, logits)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_soft", [False, True])
@pytest.mark.parametrize("other", [1.0, -INF, 1e30])
def test_one_logit_of_plus_infinity(other, as_soft, dtype):
    logits = np.array([[5.0, INF, other, 0.0]], dtype)

    def results(label):
        labels = np.eye(4, dtype=dtype)[[label]] if as_soft else [label]
        losses, grad = losses_and_grad(NONE, labels, logits)
        assert_same(fl.cross_entropy.grad_hess(labels, logits)[0], grad)
        return losses[0], grad[0].tolist()

    assert results(1) == (0.0, [0.0, 0.0, 0.0, 0.0])
    assert results(0) == (INF, [-1.0, 1.0, 0.0, 0.0])
    assert results(2) == (INF, [0.0, 1.0, -1.0, 0.0])


@pytest.mark.parametrize("case", ALL_SOFTMAX, ids=str)
def test_one_class(case):
    loss = case.reduced("none")
    if loss.class_weight is not None:
        loss = dataclasses.replace(loss, class_weight=[2.0])
    logits = np.array([[3.5], [-1e30], [0.0], [3e38]], np.float32)
    soft = case.data()[0].ndim == 2
    labels = np.array([[1.0], [0.5], [0.0], [1.0]], np.float32) if soft else np.zeros(4, int)
    losses, grad = losses_and_grad(loss, labels, logits)
    assert losses.tolist() == [0.0] * 4
    assert not grad.any()
    assert not loss.grad_hess(labels, logits)[1].any()


@pytest.mark.parametrize("case", [SOFTMAX, CATEGORICAL], ids=str)
@pytest.mark.parametrize("shape", [(3, 0), (0, 0), (2, 3, 0), (0,)], ids=str)
def test_zero_classes(case, shape):
    y_pred = np.empty(shape)
    for y_true in (np.zeros(shape[:-1], int), np.empty(shape)):
        message = assert_rejected(case.loss, y_true, y_pred, ValueError, names(case)[1])
        assert "zero classes" in message or "no class" in message


# ---------------------------------------------------------------------------------------------
# Nothing to take the mean of


def nothing(case, kind):
    """Arguments of a call in which no sample counts."""
    if kind == "no rows":
        return (*case.data(shape=(0, 5)), {})
    y_true, y_pred = case.data()
    shape = y_pred.shape[:-1] if case.rowwise else y_pred.shape
    return y_true, y_pred, {"sample_weight": np.zeros(shape)}


@mechanics
@pytest.mark.parametrize("kind", ["no rows", "weight 0"])
def test_the_mean_of_nothing(case, kind):
    y_true, y_pred, options = nothing(case, kind)
    with pytest.warns(RuntimeWarning) as caught:
        line = inspect.currentframe().f_lineno + 1
        mean = case.loss(y_true, y_pred, **options)
    assert math.isnan(mean)
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, line)]
    with pytest.warns(RuntimeWarning) as caught:
        line = inspect.currentframe().f_lineno + 1
        mean, grad = case.loss.value_and_grad(y_true, y_pred, **options)
    assert math.isnan(mean)
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, line)]
    assert grad.shape == y_pred.shape
    assert not grad.any()
    # Neither sums nor means over a given number are in doubt; nor is a gradient.
    assert_same(case.reduced("sum")(y_true, y_pred, **options), 0.0)
    assert_same(case.loss(y_true, y_pred, normalizer=3, **options), 0.0)
    value, grad = case.reduced("sum").value_and_grad(y_true, y_pred, **options)
    assert_same(value, 0.0)
    assert not grad.any()
    losses = case.reduced("none")(y_true, y_pred, **options)
    assert losses.shape == (y_pred.shape[:-1] if case.rowwise else y_pred.shape)
    assert not losses.any()
    if kind == "no rows" or case in LAYOUT_CASES:
        for part in case.loss.grad_hess(y_true, y_pred, **options):
            assert part.shape == y_pred.shape
            assert not part.any()


def test_the_gradient_of_the_mean_of_nothing_is_written_into_out():
    out = np.full((2, 3), 7.0)
    with pytest.warns(RuntimeWarning):
        value, grad = fl.cross_entropy.value_and_grad(
            [0, 1], np.ones((2, 3)), sample_weight=[0, 0], out=out
        )
    assert grad is out
    assert not out.any()


def test_all_rows_ignored():
    loss = fl.CrossEntropy(ignore_index=-100)
    labels, logits = np.full(4, -100), np.ones((4, 3))
    with pytest.warns(RuntimeWarning) as caught:
        value, grad = loss.value_and_grad(labels, logits)
    assert len(caught) == 1
    assert math.isnan(value)
    assert grad.shape == (4, 3)
    assert not grad.any()
    total = fl.CrossEntropy(ignore_index=-100, reduction="sum")
    assert_same(total.value_and_grad(labels, logits)[0], 0.0)


def test_all_rows_of_a_class_without_weight():
    loss = fl.CrossEntropy(class_weight=[0.0, 1.0])
    with pytest.warns(RuntimeWarning):
        value, grad = loss.value_and_grad([0, 0], np.ones((2, 2)))
    assert math.isnan(value)
    assert not grad.any()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 3, 5), (2, 0, 5)], ids=str)
def test_zero_size_arrays(shape):
    empty = np.empty(shape, np.float32)
    assert_same(fl.sse(empty, empty), 0.0)
    grad, hess = fl.mse.grad_hess(empty, empty)
    assert grad.shape == hess.shape == shape
    assert fl.SquaredError(reduction="none")(empty, empty).shape == shape
    if shape[-1]:
        labels = np.empty(shape[:-1], np.int64)
        assert fl.cross_entropy.grad(labels, empty).shape == shape
        assert fl.CrossEntropy(reduction="none")(labels, empty).shape == shape[:-1]
        assert_same(fl.CrossEntropy(reduction="sum")(labels, empty), 0.0)


def test_empty_lists():
    assert_same(fl.sse([], []), 0.0)
    total = fl.CrossEntropy(reduction="sum")
    assert_same(total.value_and_grad([], np.empty((0, 3)))[0], 0.0)


@pytest.mark.parametrize(
    "case", [c for c in FAMILY if c in IN_FLOAT64 and c.loss.y_pred_range == (-INF, INF)], ids=str
)
@pytest.mark.parametrize("far", [INF, -INF])
def test_infinite_predictions_are_the_limit_of_large_ones(case, far):
    y_true, _ = case.data()
    loss = case.reduced("none")
    losses, grad = losses_and_grad(loss, y_true, np.full_like(y_true, far))
    large = np.full_like(y_true, math.copysign(80.0, far))
    near, near_grad = losses_and_grad(loss, y_true, large)
    near_grad[abs(near_grad) < 1e-7] = 0
    assert not np.isnan(losses).any()
    assert not np.isnan(grad).any()
    np.testing.assert_array_equal(np.sign(grad), np.sign(near_grad))
    if not (case.name == "gamma" and far < 0):
        assert np.all(losses >= near - 1e-7)
    # No slope, no loss; else it goes on for ever.
    steep = near_grad != 0
    assert np.all(np.isinf(losses[steep]) | (losses[steep] <= near[steep]))


# ---------------------------------------------------------------------------------------------
# What is left out


@pytest.mark.parametrize("case", WEIGHED, ids=str)
@pytest.mark.parametrize("content", [NAN, INF, -INF])
def test_samples_of_weight_zero_are_left_out_whatever_they_hold(case, content):
    y_true, y_pred = case.data()
    low, high = case.loss.y_pred_range
    if not low <= content <= high or case.name == "gaussian":
        content = NAN  # an infinite probability or a negative variance is an error
    weight = np.ones(y_pred.shape[:-1] if case.rowwise else y_pred.shape)
    weight[2] = 0
    expected = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    with_hess = case in LAYOUT_CASES
    if with_hess:
        expected_hess = case.loss.grad_hess(y_true, y_pred, sample_weight=weight)[1]
    y_pred[2] = content
    if y_true.dtype.kind == "f" and math.isnan(content):
        y_true[2] = NAN
    value, grad = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    assert_same(value, expected[0])
    assert_same(grad, expected[1])
    if with_hess:
        hess = case.loss.grad_hess(y_true, y_pred, sample_weight=weight)[1]
        assert_same(hess, expected_hess)
    losses = case.reduced("none")(y_true, y_pred, sample_weight=weight)
    assert np.all(losses[2] == 0)


@pytest.mark.parametrize("ignore_index", [-100, -1, 1, 5, 2**40])
def test_ignored_rows_inside_and_outside_the_class_range(ignore_index):
    labels = np.array([0, ignore_index, 4, ignore_index, 2])
    logits = np.random.default_rng(0).normal(size=(5, 5))
    logits[1] = NAN
    logits[3] = INF
    value, grad = fl.CrossEntropy(ignore_index=ignore_index).value_and_grad(labels, logits)
    keep = [0, 2, 4]
    expected, expected_grad = fl.cross_entropy.value_and_grad(labels[keep], logits[keep])
    assert value == pytest.approx(expected, rel=1e-15)
    np.testing.assert_allclose(grad[keep], expected_grad, rtol=1e-15)
    assert not grad[[1, 3]].any()


def test_ignore_index_in_narrow_and_wide_dtypes():
    """Also where the mark wraps: 255 for a uint8 is no -1."""
    logits = np.random.default_rng(0).normal(size=(3, 3))
    expected = fl.cross_entropy([0, 2], logits[[0, 2]])
    for dtype in ("i1", "i8"):
        labels = np.array([0, -100, 2], dtype)
        assert fl.CrossEntropy(ignore_index=-100)(labels, logits) == pytest.approx(expected)
    for dtype in ("u1", "u8"):
        largest = np.iinfo(dtype).max
        labels = np.array([0, largest, 2], dtype)
        loss, part = fl.CrossEntropy(ignore_index=-1), f"labels[1] is {largest}"
        message = assert_rejected(loss, labels, logits, ValueError, part, verbs=False)
        assert_says_what_to_do(message)


def test_no_id_beyond_int64_is_taken_for_the_mark():
    labels, logits = np.array([0, 2**63 + 5], np.uint64), np.zeros((2, 3))
    marked = fl.CrossEntropy(ignore_index=2**63 - 1, reduction="none")
    for given in (labels, labels.astype(">u8")):
        with pytest.raises(
            ValueError, match=r"labels has dtype uint64.* write .*astype\(np.int64\)"
        ):
            marked(given, logits)
    assert marked(np.array([0, 2**63 - 1]), logits)[1] == 0.0


def test_ignore_index_does_not_apply_to_soft_labels():
    labels, logits = SOFTMAX_SOFT.data()
    value = fl.CrossEntropy(ignore_index=0)(labels, logits)
    assert_same(value, fl.cross_entropy(labels, logits))


# ---------------------------------------------------------------------------------------------
# Labels out of range


@pytest.mark.parametrize("case", BY_ID, ids=str)
@pytest.mark.parametrize("bad", [5, -1, 2**40, -(2**63), 2**63 - 1])
def test_class_ids_out_of_range(case, bad):
    labels, y_pred = case.data()
    labels[4], labels[6] = bad, -7
    message = assert_rejected(
        case.loss, labels, y_pred, ValueError, names(case)[0], f"[4] is {bad}", "4", "5 classes",
        verbs=case in PLAIN,
    )  # fmt: skip
    assert_says_what_to_do(message)


@pytest.mark.parametrize("case", [SOFTMAX, CATEGORICAL], ids=str)
def test_class_ids_out_of_range_in_narrow_and_wide_dtypes(case):
    _, y_pred = case.data()
    for dtype, bad in (
        ("i1", -128),
        ("u1", 255),
        ("i2", -5),
        ("u2", 65535),
        ("i4", 2**31 - 1),
        ("u4", 2**32 - 1),
        ("u8", 2**63),
        ("u8", 2**64 - 1),
    ):
        labels = np.zeros(7, dtype)
        labels[2] = bad
        if case is SOFTMAX or dtype in ("i1", "u8"):
            parts = names(case)[0], f"[2] is {bad}"
            assert_rejected(case.loss, labels, y_pred, ValueError, *parts, verbs=False)
    labels = np.zeros(7, bool)
    labels[3] = True
    parts = names(case)[0] + "[3]", "1"
    assert_rejected(case.loss, labels, y_pred[:, :1], ValueError, *parts, verbs=False)


def test_truth_values_of_any_byte():
    """NumPy takes all but 0 for true, as bytes that are seen as truth values may be."""
    rng = np.random.default_rng(0)
    logits, scores = rng.normal(size=(12, 3)).astype(np.float32), rng.normal(size=12)
    bytes_ = rng.integers(0, 4, (12, 3)).astype(np.uint8)
    bytes_[:, 0] = 255
    odd, even = bytes_.view(bool), bytes_ != 0
    smooth = fl.CrossEntropy(label_smoothing=0.1)
    for call in (
        lambda truth: fl.mse.value_and_grad(truth[:, 1].copy(), scores),
        lambda truth: fl.mse.value_and_grad(truth[:, 1], scores),
        lambda truth: fl.mse.grad(scores, scores, sample_weight=truth[:, 1].copy()),
        lambda truth: fl.binary_cross_entropy_with_logits.value_and_grad(truth, logits),
        lambda truth: fl.cross_entropy.value_and_grad(truth, logits),
        lambda truth: smooth.value_and_grad(np.zeros(12, int), logits, class_mask=truth),
        lambda truth: smooth.logsumexp(logits, class_mask=truth),
        lambda truth: fl.dice.value_and_grad(truth, abs(logits) / 9),
        lambda truth: fl.evaluate(truth[:, 1], scores, task="binary").auc,
        lambda truth: fl.evaluate(truth, logits, task="multilabel").loss,
    ):
        expected = call(even)
        for _ in range(2):
            found = call(odd)
            pairs = (
                zip(found, expected, strict=True) if type(found) is tuple else [(found, expected)]
            )
            for one, other in pairs:
                np.testing.assert_array_equal(one, other)


def test_class_ids_out_of_range_in_several_axes():
    labels = np.zeros((4, 3, 2), int)
    labels[2, 1, 0] = 9
    logits = np.zeros((4, 3, 2, 5))
    for ids in (labels, np.asfortranarray(labels)):
        assert_rejected(
            fl.cross_entropy, ids, logits, ValueError, "labels[2, 1, 0] is 9", verbs=False
        )
    assert_rejected(fl.cross_entropy, 7, np.zeros(5), ValueError, "labels is 7", verbs=False)


@compiled
@pytest.mark.parametrize("place", [0, 5460, 5461, 87_380, 99_999])
@pytest.mark.parametrize("step", [1, -1], ids=["contiguous", "reversed"])
def test_the_first_bad_class_id_of_many(place, step):
    labels, logits = SOFTMAX.data(shape=(100_000, 3))
    labels[place:] = 3
    labels = labels[::step].copy()[::step]
    assert_rejected(
        fl.cross_entropy, labels, logits, ValueError, f"labels[{place}] is 3", verbs=False
    )


@compiled
@pytest.mark.parametrize("verb", ["value_and_grad", "grad_hess"])
@pytest.mark.parametrize("n_classes", [3, 300])
@pytest.mark.parametrize("case", [SOFTMAX, CATEGORICAL], ids=str)
@pytest.mark.parametrize("bad", [-1, 2**40, -(2**63)])
def test_class_ids_that_change_once_they_are_checked(bad, case, n_classes, verb, monkeypatch):
    """As by another thread: the row's results are NaN, and no other memory is touched."""
    labels, y_pred = case.data(shape=(300_000 // n_classes, n_classes))
    expected = getattr(case.loss, verb)(labels, y_pred)
    case.loss._family.calls.clear()  # else a short way is known; see test_small_calls.py
    run = Work.run

    def run_and_spoil(self, phase, scale):
        run(self, phase, scale)
        if phase == SURVEY:
            labels[7] = bad

    monkeypatch.setattr(Work, "run", run_and_spoil)
    out = tuple(np.full_like(y_pred, 9) for _ in range(2 if verb == "grad_hess" else 1))
    results = getattr(case.loss, verb)(labels, y_pred, out=out if len(out) > 1 else out[0])
    assert labels[7] == bad
    if verb == "value_and_grad":
        assert math.isnan(results[0])
    others = np.arange(len(labels)) != 7
    for result, right in zip(results[-len(out) :], expected[-len(out) :], strict=True):
        assert np.isnan(result[7]).all()
        np.testing.assert_array_equal(result[others], right[others])


def test_a_stray_mark_is_an_error_unless_it_is_the_one_to_ignore():
    labels, logits = np.array([0, -100, 1]), np.zeros((3, 3), np.float32)
    message = assert_rejected(fl.cross_entropy, labels, logits, ValueError, "labels[1] is -100")
    assert "ignore_index" in message
    other, parts = fl.CrossEntropy(ignore_index=-1), ("labels[1] is -100", "-1")
    message = assert_rejected(other, labels, logits, ValueError, *parts, verbs=False)
    assert_says_what_to_do(message)


# ---------------------------------------------------------------------------------------------
# Mistaken arguments


@pytest.mark.parametrize("case", [SOFTMAX, CATEGORICAL], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_float_class_ids(case, dtype):
    labels, y_pred = case.data()
    message = assert_rejected(
        case.loss, labels.astype(dtype), y_pred, TypeError, names(case)[0], np.dtype(dtype).name
    )
    assert "integer" in message
    assert "astype" in message


@pytest.mark.parametrize("case", [SOFTMAX, CATEGORICAL], ids=str)
def test_swapped_arguments(case):
    for shape in ((7, 5), (2, 3, 5)):
        labels, y_pred = case.data(shape=shape)
        message = assert_rejected(case.loss, y_pred, labels, TypeError, *names(case))
        assert "swapped" in message
    with pytest.raises(TypeError, match="swapped"):
        case.loss([[0.5, 0.5], [0.25, 0.75]], [0, 1])


@plain_cases
def test_shapes_that_numpy_would_broadcast(case):
    y_true, y_pred = case.data(shape=(4, 5))
    for other in (
        y_true[:1],
        y_true[..., None],
        y_true[None],
        y_true[0],
        np.concatenate([y_true, y_true]),
    ):
        message = assert_rejected(
            case.loss, other, y_pred, ValueError, *names(case), str(other.shape), "(4, 5)"
        )
        assert_says_what_to_do(message)


def test_one_column_against_one_axis():
    for loss in (fl.mse, fl.mae, fl.binary_cross_entropy, fl.binary_cross_entropy_with_logits):
        flat, column = np.zeros(3), np.zeros((3, 1))
        assert_rejected(loss, flat, column, ValueError, "(3,)", "(3, 1)")
        assert_rejected(loss, column, flat, ValueError, "(3,)", "(3, 1)")
        assert_rejected(loss, np.float64(0), flat, ValueError, "()", "(3,)")
        assert_rejected(loss, flat, np.float64(0), ValueError, "()", "(3,)")


def test_logits_without_a_class_axis():
    assert_rejected(fl.cross_entropy, 0, 1.0, ValueError, "logits")


BAD_DTYPES = [
    np.array([[1 + 2j, 0]]),
    np.array([[1, "a"]], dtype=object),
    np.array([[None, None]]),
    np.array([["1", "2"]]),
    np.array([[b"1", b"2"]]),
    np.array([["2020-01-01", "2020-01-02"]], dtype="datetime64[D]"),
    np.array([[1, 2]], dtype="timedelta64[s]"),
    np.array([[1, 0]], dtype=np.longdouble),
    np.ma.masked_array([[0.5, 1.0]], mask=[[True, False]]),
    np.ma.masked_array([[0, 1]]),
    np.zeros((1, 2), dtype=[("a", float)]),
]


@plain_cases
@pytest.mark.parametrize("bad", BAD_DTYPES, ids=lambda bad: f"{type(bad).__name__}-{bad.dtype}")
def test_dtypes_that_no_loss_takes(case, bad):
    """As labels, as predictions and as weights, with the conversion to write."""
    if bad.dtype == np.longdouble and np.dtype(np.longdouble) == np.float64:
        pytest.skip("longdouble is float64 on this system")
    good = np.array([[1.0, 0.0]])
    by_id = case in (SOFTMAX, CATEGORICAL)
    first, second = names(case)
    conversion = re.compile(r"astype|asarray|\.real|filled|float\(")
    labels = bad[:, 0] if by_id else bad
    message = assert_rejected(case.loss, labels, good, TypeError, first)
    assert conversion.search(message), message
    labels = np.array([1]) if by_id else good
    message = assert_rejected(case.loss, labels, bad, TypeError, second)
    assert conversion.search(message), message
    weight = bad[:, 0]
    message = assert_rejected(
        case.loss, labels, good, TypeError, "sample_weight", sample_weight=weight
    )
    assert conversion.search(message), message


def test_lists_of_things_that_are_no_numbers():
    for bad in (["a", "b"], [None, 1.0], [1j, 0], [{}, {}]):
        with pytest.raises(TypeError, match="y_pred"):
            fl.mse([1.0, 2.0], bad)
        with pytest.raises(TypeError, match="y_true"):
            fl.mse(bad, [1.0, 2.0])
    with pytest.raises(ValueError, match="y_pred"):
        fl.mse([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0]])


# ---------------------------------------------------------------------------------------------
# Numbers out of range


@pytest.mark.parametrize("bad", [-0.5, NAN, INF, -INF, -5e-324])
@pytest.mark.parametrize(
    ("case", "dtype"),
    [*itertools.product(MECHANICS, [np.float64]), (SQUARED, np.float32), (SOFTMAX, np.float32)],
    ids=str,
)
def test_bad_sample_weights(case, bad, dtype):
    y_true, y_pred = case.data()
    shape = y_pred.shape[:-1] if case.rowwise else y_pred.shape
    weight = np.ones(shape, np.float64)
    weight[3:] = bad
    if dtype == np.float32 and bad == -5e-324:
        bad = -1e-45
        weight[3:] = bad
    weight = weight.astype(dtype)
    place = "[3]" if case.rowwise else "[3, 0]"
    message = assert_rejected(
        case.loss, y_true, y_pred, ValueError, f"sample_weight{place} is ", sample_weight=weight,
        verbs=case in LAYOUT_CASES and dtype == np.float64,
    )  # fmt: skip
    assert_says_what_to_do(message)


def test_bad_weights_of_other_dtypes_and_places():
    y_true, y_pred = SQUARED.data()
    assert_rejected(
        fl.mse, y_true, y_pred, ValueError, "sample_weight[2] is -1",
        sample_weight=np.array([1, 1, -1, 0, 2, 3, 4]),
    )  # fmt: skip
    assert_rejected(
        fl.mse, y_true, y_pred, ValueError, "sample_weight[1] is -2",
        sample_weight=[1, -2.0, 1, 1, 1, 1, 1],
    )  # fmt: skip
    weight = np.ones(100_000)
    weight[70_001] = NAN
    column = np.zeros(100_000)
    assert_rejected(
        fl.mse, column, column, ValueError, "sample_weight[70001] is nan", sample_weight=weight,
        verbs=False,
    )  # fmt: skip


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_sample_weight_of_a_wrong_shape(case):
    y_true, y_pred = case.data(shape=(4, 5))
    expected = "(4,)" if case.rowwise else "(4, 5)"
    for weight in (
        np.ones(5),
        np.ones((4, 1)),
        np.ones((1, 4)),
        np.ones((4, 5, 1)),
        np.float64(1.0),
        *([np.ones((4, 5))] if case.rowwise else []),
    ):
        message = assert_rejected(
            case.loss, y_true, y_pred, ValueError, "sample_weight", str(weight.shape), expected,
            sample_weight=weight,
        )  # fmt: skip
        assert_says_what_to_do(message)


@pytest.mark.parametrize(
    "case", [BINARY, LOGITS, CATEGORICAL_SOFT, SOFTMAX_SOFT, SOFTMAX_SOFT_ALL], ids=str
)
@pytest.mark.parametrize("bad", [-0.125, 1.5, INF, -INF, 2])
def test_labels_outside_0_and_1(case, bad):
    y_true, y_pred = case.data()
    y_true[4, 2:] = bad
    if bad == 2:
        y_true = np.where(y_true == bad, bad, 0).astype(np.int64)
    part = f"{names(case)[0]}[4, 2] is {bad}"
    message = assert_rejected(case.loss, y_true, y_pred, ValueError, part, verbs=bad != 2)
    assert_says_what_to_do(message)


@pytest.mark.parametrize("case", [BINARY, CATEGORICAL, CATEGORICAL_SOFT], ids=str)
@pytest.mark.parametrize("bad", [-0.125, 1.5, INF, -INF])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_probabilities_outside_0_and_1(case, bad, dtype):
    y_true, p = case.data(dtype)
    p[5, 1:] = bad
    part, verbs = f"{names(case)[1]}[5, 1] is {bad}", dtype == "f4"
    message = assert_rejected(case.loss, y_true, p, ValueError, part, verbs=verbs)
    assert_says_what_to_do(message)
    just_above = np.nextafter(np.dtype(dtype).type(1), np.dtype(dtype).type(2))
    p[5] = just_above
    part = f"{names(case)[1]}[5, 0] is 1.0"
    assert_rejected(case.loss, y_true, p, ValueError, part, verbs=verbs)


@pytest.mark.parametrize("place", [0, 1], ids=["y_true", "y_pred"])
def test_a_number_just_above_1_beside_float32(place):
    """Ranges are checked in the array's own precision, not in that of the loss."""
    pair = [np.full(5, 0.5, np.float32), np.full(5, 0.5, np.float32)]
    pair[place] = np.array([0.5, 1, 1, 1 + 1e-9, 0])
    name = names(BINARY)[place]
    with pytest.raises(ValueError, match=re.escape(f"{name}[3] is 1.000000001")):
        fl.binary_cross_entropy(*pair)


def test_probability_zero_at_the_true_class():
    p = np.array([0.0, 1.0, 0.0, 1.0])
    y = np.array([1.0, 0.0, 0.0, 1.0])
    loss = fl.BinaryCrossEntropy(reduction="none")
    losses, grad = losses_and_grad(loss, y, p)
    assert losses.tolist() == [100.0, 100.0, 0.0, 0.0]
    assert np.all(np.isfinite(grad))
    assert np.all(np.isfinite(loss.grad_hess(y, p)[1]))
    rows = np.array([[0.0, 1.0], [1.0, 0.0]])
    for labels in ([0, 0], [[1.0, 0.0], [1.0, 0.0]]):
        loss = fl.CategoricalCrossEntropy(reduction="none")
        losses, grad = losses_and_grad(loss, labels, rows)
        assert losses.tolist() == [100.0, 0.0]
        assert np.all(np.isfinite(grad))
        bare = fl.CategoricalCrossEntropy(reduction="none", log_floor=-INF)
        assert bare(labels, rows).tolist() == [INF, 0.0]
        floored = fl.CategoricalCrossEntropy(reduction="none", log_floor=-7.5)
        assert floored(labels, rows).tolist() == [7.5, 0.0]
    bare = fl.BinaryCrossEntropy(reduction="none", log_floor=-INF)
    assert bare(y, p).tolist() == [INF, INF, 0.0, 0.0]
    floored = fl.BinaryCrossEntropy(reduction="none", log_floor=-3)
    assert floored(y, p).tolist() == [3.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", INFINITE, ids=str)
def test_infinite_binary_logits(dtype):
    x = np.array([INF, -INF, INF, -INF, INF, -INF], dtype)
    y = np.array([1, 0, 0, 1, 0.5, 0.5], dtype)
    loss = fl.BinaryCrossEntropyWithLogits(reduction="none")
    losses, grad = losses_and_grad(loss, y, x)
    assert losses.tolist() == [0.0, 0.0, INF, INF, INF, INF]
    assert grad.astype(float).tolist() == [0.0, 0.0, 1.0, -1.0, 0.5, -0.5]
    assert not loss.grad_hess(y, x)[1].astype(float).any()
    mean = fl.binary_cross_entropy_with_logits
    assert mean.value_and_grad(y[:2], x[:2])[0] == 0.0
    assert mean.value_and_grad(y, x)[0] == INF


def test_an_infinite_truth_is_missed_by_all_of_it():
    """The limit of the share as the truth grows, for which predictions do not matter."""
    loss = fl.AbsolutePercentageError(reduction="none")
    y_true = np.array([INF, -INF, INF, -INF, INF])
    y_pred = np.array([3.0, 3.0, 0.0, INF, INF])
    for dtype in (np.float16, np.float32, np.float64):
        value, grad = loss.value_and_grad(y_true.astype(dtype), y_pred.astype(dtype))
        np.testing.assert_array_equal(value, [1, 1, 1, NAN, NAN])
        np.testing.assert_array_equal(grad[:3], 0)
    assert loss([1e300], [3.0]) == 1.0


# ---------------------------------------------------------------------------------------------
# out=


@plain_cases
def test_out_that_cannot_take_the_result(case):
    y_true, y_pred = case.data()
    y_true, y_pred = y_true.copy(), y_pred.copy()
    read_only = np.full((7, 5), 3, np.float32)
    read_only.flags.writeable = False
    repeated = np.lib.stride_tricks.as_strided(np.full(5, 3, np.float32), (7, 5), (0, 4))
    sliding = np.lib.stride_tricks.as_strided(np.full(11, 3, np.float32), (7, 5), (4, 4))
    for out, error, part in (
        (np.full((5, 7), 3, np.float32), ValueError, "(7, 5)"),
        (np.full(35, 3, np.float32), ValueError, "(7, 5)"),
        (np.full((7, 5, 1), 3, np.float32), ValueError, "(7, 5)"),
        (np.full((7, 5), 3, np.float64), TypeError, "float32"),
        (np.full((7, 5), 3, np.float16), TypeError, "float32"),
        (np.full((7, 5), 3, np.int32), TypeError, "float32"),
        (read_only, ValueError, "read-only"),
        (repeated, ValueError, "memory"),
        (sliding, ValueError, "memory"),
        (np.ma.masked_array(np.full((7, 5), 3, np.float32)), TypeError, "numpy array"),
        ([[3.0] * 5] * 7, TypeError, "numpy array"),
    ):
        for call in (
            lambda out=out: case.loss.value_and_grad(y_true, y_pred, out=out),
            lambda out=out: case.loss.grad(y_true, y_pred, out=out),
            lambda out=out: case.loss.grad_hess(
                y_true, y_pred, out=(out, np.empty((7, 5), np.float32))
            ),
            lambda out=out: case.loss.grad_hess(
                y_true, y_pred, out=(np.empty((7, 5), np.float32), out)
            ),
        ):
            with pytest.raises(error, match="out") as caught:
                call()
            assert part in str(caught.value)
            assert np.all(np.asarray(out) == 3)


@plain_cases
def test_out_that_overlaps_an_input(case):
    memory = np.zeros((8, 5), np.float32)
    y_true, y_pred = case.data()
    memory[:7] = y_pred
    y_pred, shifted = memory[:7], memory[1:]
    before = memory.copy()
    first, second = names(case)
    for out, part in (
        (shifted, second),
        (memory[6::-1], second),
        (memory.ravel()[1:36].reshape(7, 5), second),
    ):
        with pytest.raises(ValueError, match=rf"out .*{part}"):
            case.loss.value_and_grad(y_true, y_pred, out=out)
        with pytest.raises(ValueError, match="out"):
            case.loss.grad_hess(y_true, y_pred, out=(out, np.empty_like(y_pred)))
        np.testing.assert_array_equal(memory, before)
    # The second of a pair may not be y_pred, nor overlap the first.
    with pytest.raises(ValueError, match="out"):
        case.loss.grad_hess(y_true, y_pred, out=(np.empty_like(y_pred), y_pred))
    np.testing.assert_array_equal(memory, before)
    pair = np.full((8, 5), 3, np.float32)
    for second_out in (pair[:7], pair[1:]):
        with pytest.raises(ValueError, match="out"):
            case.loss.grad_hess(y_true, y_pred, out=(pair[:7], second_out))
    assert np.all(pair == 3)
    for wrong in ([pair[:7], pair[:7].copy()], pair[:7], (pair[:7],)):
        with pytest.raises(TypeError, match="pair"):
            case.loss.grad_hess(y_true, y_pred, out=wrong)


def test_out_that_overlaps_labels_or_weights():
    y_true, y_pred = SQUARED.data()
    before = y_true.copy()
    with pytest.raises(ValueError, match=r"out.*y_true"):
        fl.mse.grad(y_true, y_pred, out=y_true)
    np.testing.assert_array_equal(y_true, before)
    weight = np.ones((7, 5), np.float32)
    with pytest.raises(ValueError, match=r"out.*sample_weight"):
        fl.mse.grad(y_true, y_pred, sample_weight=weight, out=weight)
    rows = np.ones((7, 5), np.float32)
    with pytest.raises(ValueError, match=r"out.*sample_weight"):
        fl.mse.grad(y_true, y_pred, sample_weight=rows[:, 0], out=rows)
    assert np.all(weight == 1)
    assert np.all(rows == 1)
    labels, logits = SOFTMAX_SOFT.data()
    with pytest.raises(ValueError, match=r"out.*labels"):
        fl.cross_entropy.grad(labels, logits, out=labels)
    losses = np.zeros(7, np.int64).view(np.float64)
    with pytest.raises(ValueError, match=r"out.*labels"):
        NONE(losses.view(np.int64), logits.astype(np.float64), out=losses)


def test_y_true_that_is_y_pred_and_in_place():
    """One array for both is fine to read, but not to write: in place it is the labels too."""
    x = np.array([1.0, 2.0])
    assert fl.mse(x, x) == 0.0
    with pytest.raises(ValueError, match=r"out.*y_true"):
        fl.mse.grad(x, x, out=x)


def test_out_beside_an_input_is_no_overlap():
    """Interleaved memory: as bounds they overlap, as elements they do not."""
    memory = np.zeros((7, 10), np.float32)
    labels, logits = SOFTMAX.data()
    memory[:, ::2] = logits
    expected = fl.cross_entropy.grad(labels, logits)
    fl.cross_entropy.grad(labels, memory[:, ::2], out=memory[:, 1::2])
    np.testing.assert_array_equal(memory[:, 1::2], expected)
    np.testing.assert_array_equal(memory[:, ::2], logits)


def test_out_for_a_value():
    for reduction in ("mean", "sum"):
        with pytest.raises(ValueError, match=r'out .*"none"'):
            fl.CrossEntropy(reduction=reduction)([0], [[1.0, 2.0]], out=np.empty(1))
    out = np.full(2, 3.0)
    for wrong in (np.full(3, 3.0), np.full((2, 1), 3.0)):
        with pytest.raises(ValueError, match="out"):
            NONE([0, 1], np.zeros((2, 3)), out=wrong)
    with pytest.raises(TypeError, match="out"):
        NONE([0, 1], np.zeros((2, 3), np.float32), out=out)
    assert np.all(out == 3)


# ---------------------------------------------------------------------------------------------
# normalizer and options


@plain_cases
def test_normalizer_that_is_no_denominator(case):
    y_true, y_pred = case.data()
    shown = {bad: str(bad) for bad in (0, -1.0, NAN, INF, -INF)}
    shown |= {10**400: "inf", Fraction(1, 10**400): "0.0"}  # in float64
    for bad, number in shown.items():
        assert_rejected(case.loss, y_true, y_pred, ValueError, "normalizer", number, normalizer=bad)
    for bad in ("3", True, 1j, [3.0], np.ones(2)):
        assert_rejected(case.loss, y_true, y_pred, TypeError, "normalizer", normalizer=bad)
    for reduction in ("sum", "none"):
        message = assert_rejected(
            case.reduced(reduction), y_true, y_pred, ValueError, "normalizer", reduction,
            normalizer=3.0,
        )  # fmt: skip
        assert_says_what_to_do(message)


def test_normalizer_of_any_real_type():
    for number in (4, 4.0, np.float32(4), np.int64(4), np.uint8(4), np.float16(4)):
        assert fl.mse([0.0], [2.0], normalizer=number) == 1.0


def test_class_weight_of_a_wrong_length():
    for n, soft in ((2, False), (4, False), (4, True)):
        loss = fl.CrossEntropy(class_weight=[1.0] * n)
        labels = np.ones((2, 3)) / 3 if soft else [0, 1]
        message = assert_rejected(
            loss, labels, np.zeros((2, 3)), ValueError, "class_weight", str(n), "3 classes"
        )
        assert_says_what_to_do(message)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: fl.CrossEntropy(class_weight=[1.0, -1.0]), ValueError),
        (lambda: fl.CrossEntropy(class_weight=[1.0, NAN]), ValueError),
        (lambda: fl.CrossEntropy(class_weight=[INF, 1.0]), ValueError),
        (lambda: fl.CrossEntropy(class_weight=[[1.0, 2.0]]), ValueError),
        (lambda: fl.CrossEntropy(class_weight=2.0), ValueError),
        (lambda: fl.CrossEntropy(class_weight=["a", "b"]), TypeError),
        (lambda: fl.CrossEntropy(class_weight=["1", "2"]), TypeError),
        (lambda: fl.CrossEntropy(class_weight=[1j, 2.0]), TypeError),
        (lambda: fl.CrossEntropy(class_weight=np.array([1j, 2.0])), TypeError),
        (lambda: fl.CrossEntropy(class_weight=np.ma.masked_array([1.0, 2.0], [0, 1])), TypeError),
    ],
)
def test_bad_class_weights(make, error):
    with pytest.raises(error, match="class_weight"):
        make()


@pytest.mark.parametrize("case", PLAIN, ids=str)
@pytest.mark.parametrize("reduction", ["avg", "MEAN", None, 1, "", ("mean",), ["mean"]], ids=repr)
def test_bad_reductions(case, reduction):
    with pytest.raises((ValueError, TypeError), match=r"reduction.*mean.*sum.*none"):
        dataclasses.replace(case.loss, reduction=reduction)


@pytest.mark.parametrize(
    ("make", "option", "out_of_range"),
    [
        (fl.CrossEntropy, "label_smoothing", [-0.1, 1.5, NAN, INF, -INF]),
        (fl.BinaryCrossEntropyWithLogits, "label_smoothing", [-0.1, 1.5, NAN, INF, -INF]),
        (fl.BinaryCrossEntropyWithLogits, "pos_weight", [-1, NAN, INF, -INF]),
        (fl.BinaryCrossEntropy, "log_floor", [1.0, NAN, INF]),
        (fl.CategoricalCrossEntropy, "log_floor", [1.0, NAN, INF]),
        (fl.CrossEntropy, "ignore_index", [2**63, -(2**63) - 1]),
    ],
)
def test_bad_options(make, option, out_of_range):
    for bad in out_of_range:
        with pytest.raises(ValueError, match=option):
            make(**{option: bad})
    wrong_types = ["0.1", 1j, True, np.bool_(True)]
    if issubclass(make, fl.RowwiseLoss):  # others take one number for each column
        wrong_types += [[0.1], np.ones(2)]
    if option == "ignore_index":
        wrong_types += [1.5, np.float64(1.0), NAN]
    else:
        wrong_types += [None]
    for bad in wrong_types:
        with pytest.raises(TypeError, match=option):
            make(**{option: bad})


def test_unknown_arguments():
    with pytest.raises(TypeError):
        fl.CrossEntropy(smoothing=0.1)
    with pytest.raises(TypeError):
        fl.mse([1.0], [1.0], weight=[1.0])
    with pytest.raises(TypeError):
        fl.mse([1.0], [1.0], [1.0])


# ---------------------------------------------------------------------------------------------
# Layouts


def _strided(a):
    wide = np.zeros([2 * n + 1 for n in a.shape], a.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def _reversed(a):
    every = tuple(slice(None, None, -1) for _ in a.shape)
    return a[every].copy()[every]


def _transposed(a):
    axes = np.roll(np.arange(a.ndim), 1)
    return np.ascontiguousarray(a.transpose(axes)).transpose(np.argsort(axes))


def _misaligned(a):
    memory = bytearray(a.nbytes + 1)
    view = np.frombuffer(memory, a.dtype, a.size, offset=1).reshape(a.shape)
    view[...] = a
    return view


def _field(a):
    records = np.zeros(a.shape, np.dtype([("flag", "u1"), ("number", a.dtype)]))
    records["number"] = a
    return records["number"]


def _byte_swapped(a):
    return a.astype(a.dtype.newbyteorder())


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def _inner(a):
    """Rows that are contiguous with a gap between them, at an odd offset."""
    wide = np.zeros((*a.shape[:-1], a.shape[-1] + 3), a.dtype)
    wide[..., 1:-2] = a
    return wide[..., 1:-2]


WRITEABLE_LAYOUTS = {
    "strided": _strided,
    "reversed": _reversed,
    "fortran": np.asfortranarray,
    "transposed": _transposed,
    "misaligned": _misaligned,
    "field": _field,
    "inner": _inner,
}
LAYOUTS = {**WRITEABLE_LAYOUTS, "byte_swapped": _byte_swapped, "read_only": _read_only}
layout_cases = both(
    "case, shape",
    itertools.product(LAYOUT_CASES, [(7, 5), (3, 4, 5)]),
    long=itertools.product(LAYOUT_CASES, [(1, 8191, 5)]),
)


def test_the_layouts_are_what_they_claim():
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for name, layout in LAYOUTS.items():
        b = layout(a)
        np.testing.assert_array_equal(a, b)
        plain = b.flags.c_contiguous and b.flags.aligned and b.flags.writeable and b.dtype.isnative
        assert not plain, name
    assert not _misaligned(a).flags.aligned
    assert _misaligned(a).flags.writeable


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@layout_cases
def test_layouts_of_inputs(case, layout, shape):
    """The bits of the contiguous native arrays, of each argument alone and of all together."""
    y_true, y_pred = case.data(shape=shape)
    weight = np.random.default_rng(1).random(shape[:-1] if case.rowwise else shape)
    expected = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    inputs = y_true, y_pred, weight
    for changed in ((0,), (1,), (2,), (0, 1, 2)):
        arrays = [layout(a) if i in changed else a for i, a in enumerate(inputs)]
        value, grad = case.loss.value_and_grad(*arrays[:2], sample_weight=arrays[2])
        assert_same(value, expected[0])
        assert_same(grad, expected[1])
    none = case.reduced("none")
    assert_same(none(layout(y_true), layout(y_pred)), none(y_true, y_pred))


@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS.values(), ids=WRITEABLE_LAYOUTS)
@layout_cases
def test_layouts_of_out(case, layout, shape):
    y_true, y_pred = case.data(shape=shape)
    expected = case.loss.grad_hess(y_true, y_pred)
    out = layout(np.full(shape, np.nan, np.float32))
    assert case.loss.grad(y_true, y_pred, out=out) is out
    assert_same(np.ascontiguousarray(out), expected[0])
    # In place in that layout, and a pair of them.
    buffer = layout(y_pred)
    hess = layout(np.full(shape, np.nan, np.float32))
    returned = case.loss.grad_hess(y_true, buffer, out=(buffer, hess))
    assert returned[0] is buffer
    assert_same(np.ascontiguousarray(buffer), expected[0])
    assert_same(np.ascontiguousarray(hess), expected[1])
    none = case.reduced("none")
    losses = none(y_true, y_pred)
    out = layout(np.full_like(losses, np.nan))
    assert none(y_true, y_pred, out=out) is out
    assert_same(np.ascontiguousarray(out), losses)


@pytest.mark.parametrize("case", LAYOUT_CASES, ids=str)
def test_byte_swapped_predictions_in_place(case):
    y_true, y_pred = case.data()
    expected = case.loss.grad(y_true, y_pred)
    swapped = _byte_swapped(y_pred)
    case.loss.grad(y_true, swapped, out=swapped)
    np.testing.assert_array_equal(swapped, expected)


@compiled
@pytest.mark.long
def test_what_lies_around_a_strided_out_is_not_touched():
    labels, logits = SOFTMAX.data(shape=(5000, 5))
    wide = np.full((10_001, 11), 7, np.float32)
    inner = wide[1::2, 1::2]
    fl.cross_entropy.grad(labels, logits, out=inner)
    assert not np.any(inner == 7)
    wide[1::2, 1::2] = 7
    assert np.all(wide == 7)


@pytest.mark.parametrize("dtype", [*NARROW, np.dtype(np.float64)], ids=str)
def test_layouts_of_other_dtypes(dtype):
    labels, logits = SOFTMAX.data(dtype, (50, 5))
    expected = fl.cross_entropy.value_and_grad(labels, logits)
    for name, layout in LAYOUTS.items():
        if name == "byte_swapped" and dtype.kind == "V":
            continue  # ml_dtypes has none
        value, grad = fl.cross_entropy.value_and_grad(labels, layout(logits))
        assert_same(value, expected[0])
        assert_same(grad, expected[1])
        if name in WRITEABLE_LAYOUTS:
            buffer = layout(logits)
            fl.cross_entropy.grad(labels, buffer, out=buffer)
            assert_same(np.ascontiguousarray(buffer), expected[1])


def test_labels_of_the_narrow_kind_in_odd_layouts():
    _, logits = SOFTMAX.data(shape=(6, 5))
    for dtype in ("i2", "u4", "u8"):
        ids = np.array([0, 4, 2, 1, 3, 0], dtype)
        expected = fl.cross_entropy.grad(ids.astype(np.int64), logits)
        for layout in LAYOUTS.values():
            assert_same(fl.cross_entropy.grad(layout(ids), logits), expected)


@compiled
@pytest.mark.parametrize("case", LAYOUT_CASES, ids=str)
@pytest.mark.long
def test_memmaps(case, tmp_path):
    y_true, y_pred = case.data(shape=(3000, 5))
    expected = case.loss.value_and_grad(y_true, y_pred)
    for name, array in (("true", y_true), ("pred", y_pred), ("out", np.zeros_like(y_pred))):
        array.tofile(tmp_path / name)
    true = np.memmap(tmp_path / "true", y_true.dtype, "r", shape=y_true.shape)
    pred = np.memmap(tmp_path / "pred", y_pred.dtype, "r", shape=y_pred.shape)
    out = np.memmap(tmp_path / "out", y_pred.dtype, "r+", shape=y_pred.shape)
    value, grad = case.loss.value_and_grad(true, pred)
    assert_same(value, expected[0])
    np.testing.assert_array_equal(grad, expected[1])
    value, grad = case.loss.value_and_grad(true, pred, out=out)
    assert grad is out
    out.flush()
    on_disk = np.fromfile(tmp_path / "out", y_pred.dtype).reshape(y_pred.shape)
    np.testing.assert_array_equal(on_disk, expected[1])
    in_place = np.memmap(tmp_path / "pred", y_pred.dtype, "r+", shape=y_pred.shape)
    assert case.loss.grad(true, in_place, out=in_place) is in_place
    np.testing.assert_array_equal(in_place, expected[1])


@compiled
@pytest.mark.long
def test_broadcast_inputs():
    """Zero strides: the same memory for every row, or for every element."""
    row = np.random.default_rng(0).normal(size=5).astype(np.float32)
    logits = np.broadcast_to(row, (9000, 5))
    ids = np.broadcast_to(np.int64(2), (9000,))
    expected = fl.cross_entropy.value_and_grad(ids.copy(), logits.copy())
    value, grad = fl.cross_entropy.value_and_grad(ids, logits)
    assert_same(value, expected[0])
    assert_same(grad, expected[1])
    y_true = np.broadcast_to(np.float32(0.5), (9000, 5))
    weight = np.broadcast_to(2.0, (9000, 5))
    expected = fl.mse.value_and_grad(y_true.copy(), logits.copy(), sample_weight=weight.copy())
    value, grad = fl.mse.value_and_grad(y_true, logits, sample_weight=weight)
    assert_same(value, expected[0])
    assert_same(grad, expected[1])
    # Written in place, all rows would land in the same memory.
    with pytest.raises(ValueError, match="out"):
        fl.mse.grad(y_true, logits, out=logits)


@plain_cases
def test_lists_and_tuples(case):
    y_true, y_pred = case.data(np.float64)
    expected = case.loss.value_and_grad(y_true, y_pred)
    as_lists = y_true.tolist(), y_pred.tolist()
    as_tuples = tuple(map(tuple, as_lists[1]))
    for arguments in (as_lists, (as_lists[0], as_tuples), (list(y_true), list(y_pred))):
        value, grad = case.loss.value_and_grad(*arguments)
        assert_same(value, expected[0])
        assert_same(grad, expected[1])


@pytest.mark.parametrize("case", [SQUARED, SOFTMAX], ids=str)
def test_lists_of_weights(case):
    y_true, y_pred = case.data()
    expected = case.loss.value_and_grad(y_true, y_pred)
    weights = [1] * len(y_pred)
    for weight in (weights, tuple(weights)):
        value, _ = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
        assert value == pytest.approx(expected[0], rel=1e-15)


def test_zero_dimensional_arguments():
    assert fl.mse(1.0, 3.0) == 4.0
    assert fl.mse(np.float32(1), np.array(3.0, np.float32)) == 4.0
    value, grad = fl.mse.value_and_grad(1.0, 3.0)
    assert (value, grad.shape, float(grad)) == (4.0, (), 4.0)
    losses = fl.SquaredError(reduction="none")(1.0, 3.0)
    assert (losses.shape, float(losses)) == ((), 4.0)
    assert fl.mse(1.0, 3.0, sample_weight=2.0) == 4.0
    out = np.zeros(())
    assert fl.mae.grad(1.0, 3.0, out=out) is out
    assert float(out) == 1.0
    # One row: the class id is a number of its own.
    expected = fl.cross_entropy.value_and_grad([1], [[1.0, 2.0, 3.0]])
    for label in (1, np.int8(1), np.array(1)):
        value, grad = fl.cross_entropy.value_and_grad(label, [1.0, 2.0, 3.0])
        assert value == expected[0]
        assert_same(grad, expected[1][0])
    assert fl.CrossEntropy(reduction="none")(1, [1.0, 2.0, 3.0]).shape == ()


@mechanics
def test_inputs_are_never_modified(case):
    y_true, y_pred = case.data(shape=(300, 5))
    weight = np.random.default_rng(1).random(y_pred.shape[:-1] if case.rowwise else y_pred.shape)
    arrays = [y_true, y_pred, weight, np.asfortranarray(y_pred)]
    before = [a.tobytes() for a in arrays]
    for pred in (y_pred, arrays[3]):
        for loss in (case.loss, case.reduced("none")):
            loss(y_true, pred, sample_weight=weight)
            loss.grad(y_true, pred, sample_weight=weight)
            loss.value_and_grad(y_true, pred)
            loss.grad_hess(y_true, pred)
    assert [a.tobytes() for a in arrays] == before


def test_array_subclasses():
    class Tagged(np.ndarray):
        pass

    y_true, y_pred = SQUARED.data()
    expected = fl.mse.value_and_grad(y_true, y_pred)
    value, grad = fl.mse.value_and_grad(y_true.view(Tagged), y_pred.view(Tagged))
    assert_same(value, expected[0])
    np.testing.assert_array_equal(grad, expected[1])


# ---------------------------------------------------------------------------------------------
# Extremes


@compiled
@pytest.mark.long
def test_more_than_2_to_the_31_elements():
    """Broadcast from one number, so that no memory is needed. The last index is past int32."""
    n = 2**31 + 11
    y_true = np.broadcast_to(np.float16(0), (n,))
    y_pred = np.broadcast_to(np.float16(0.5), (n,))
    assert fl.AbsoluteError(reduction="sum")(y_true, y_pred) == n / 2


def test_no_warning_but_the_one_about_nothing():
    """Overflow, division by zero and invalid operations inside a loss are no news to a caller."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fl.cross_entropy.value_and_grad([0, 1, 2], [[NAN] * 3, [INF] * 3, [-INF] * 3])
        fl.mse.value_and_grad([1e200], [-1e200])
        fl.binary_cross_entropy.value_and_grad([1.0, 0.0], [0.0, NAN])
        half = np.array([60000.0, -60000.0], np.float16)
        assert np.isinf(fl.mse.grad(-half, half, normalizer=1)).all()


def test_bound_data_makes_labels_of_every_class():
    """The generator behind the tests above: else they would not see the last class."""
    ids = class_ids(np.random.default_rng(0), (200, 5), None)
    assert sorted(set(ids.tolist())) == [0, 1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrices_are_taken_for_arrays():
    out = np.matrix([[7.0, 7.0]])
    assert fl.mse.grad(np.matrix([[1.0, 2.0]]), np.matrix([[2.0, 4.0]]), out=out) is out
    assert out.tolist() == [[1.0, 2.0]]
    y_pred = np.matrix([[2.0, 4.0], [3.0, 5.0]])
    losses = np.asfortranarray(y_pred * 0)
    each = fl.SquaredError(reduction="none")
    assert each(np.matrix([[1.0, 2.0], [3.0, 4.0]]), y_pred, out=losses) is losses
    assert losses.tolist() == [[1.0, 4.0], [0.0, 1.0]]
