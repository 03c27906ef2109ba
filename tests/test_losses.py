"""Every registered loss and every verb against the reference, and what must hold between calls."""

import copy
import dataclasses
import itertools
import math
import pickle

import numpy as np
import pytest
from plain import both, compiled, partly_long, plain
from registry import (
    BFLOAT16,
    CASES,
    CATEGORICAL,
    DOUBLE,
    DTYPES,
    EXACT,
    IN_FLOAT64,
    LOGITS,
    MECHANICS,
    NARROW,
    PLAIN,
    ROUNDING,
    ROWS,
    ROWWISE,
    SOFTMAX,
    SOFTMAX_ALL,
    SOFTMAX_SOFT,
    SQUARED,
    WEIGHED,
    arithmetic,
    assert_near,
    assert_same,
    expect,
    name_of,
    one_hot_of,
    storage,
)

import fastloss as fl

pytestmark = plain

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
P = [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]

all_cases = pytest.mark.parametrize("case", CASES, ids=str)
mechanics = pytest.mark.parametrize("case", MECHANICS, ids=str)
plain_cases = pytest.mark.parametrize("case", PLAIN, ids=str)
# One for each loop and kind of labels.
LOOPS = [SQUARED, LOGITS, CATEGORICAL, SOFTMAX, SOFTMAX_SOFT]


@pytest.fixture
def threads():
    """`fl.set_num_threads`, undone afterwards."""
    before = fl.get_num_threads()
    yield fl.set_num_threads
    fl.set_num_threads(before)


# ---------------------------------------------------------------------------------------------
# Against the reference


def exactly(*halves):
    """Each case in its widest dtype, and halves; float32 has fewer digits of the same formula."""
    widest = [(case, FLOAT64 if case in IN_FLOAT64 else FLOAT32) for case in CASES]
    narrower = list(itertools.product(IN_FLOAT64, (FLOAT32,)))
    first = [*widest, *itertools.product(halves, NARROW)]
    return partly_long(len(first), "case, dtype", [*first, *narrower], ids=str)


@exactly(*PLAIN)
def test_value_and_gradient(case, dtype):
    y_true, y_pred = case.data(dtype)
    for reduction, normalizer in (("mean", None), ("sum", None), ("mean", 2.5)):
        loss = case.reduced(reduction)
        true = expect(case, y_true, y_pred, reduction=reduction, normalizer=normalizer)
        value, grad = loss.value_and_grad(y_true, y_pred, normalizer=normalizer)
        assert type(value) is float
        assert grad.dtype == dtype
        assert_near(value, true.value, true.value_error, "value")
        assert_near(grad, true.grad, true.grad_error, "grad")
        assert_same(loss.grad(y_true, y_pred, normalizer=normalizer), grad)


@plain_cases
def test_value_alone(case):
    y_true, y_pred = case.data()
    for reduction, normalizer in (("mean", None), ("sum", None), ("mean", 2.5)):
        true = expect(case, y_true, y_pred, reduction=reduction, normalizer=normalizer)
        value = case.reduced(reduction)(y_true, y_pred, normalizer=normalizer)
        assert type(value) is float
        assert_near(value, true.value, true.value_error, "value")


@exactly(SQUARED, LOGITS, SOFTMAX)
def test_gradient_and_hessian(case, dtype):
    y_true, y_pred = case.data(dtype)
    for reduction, normalizer in (("mean", None), ("none", None), ("mean", 2.5)):
        true = expect(case, y_true, y_pred, reduction=reduction, normalizer=normalizer)
        results = case.reduced(reduction).grad_hess(y_true, y_pred, normalizer=normalizer)
        assert isinstance(results, tuple)
        grad, hess = results
        assert grad.dtype == hess.dtype == dtype
        assert_near(grad, true.grad, true.grad_error, "grad")
        assert_near(hess, true.hess, true.hess_error, "hess")


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *itertools.product(IN_FLOAT64, (FLOAT32,)),
        *itertools.product(PLAIN, (*NARROW, FLOAT64)),
    ],
    ids=str,
)
def test_no_reduction(case, dtype):
    """The loss of each sample."""
    y_true, y_pred = case.data(dtype)
    true = expect(case, y_true, y_pred, reduction="none")
    losses = case.reduced("none")(y_true, y_pred)
    assert losses.dtype == arithmetic(case.loss, y_true, y_pred)
    assert_near(losses, true.losses, true.losses_error, "losses")


@both("case", MECHANICS, compiled=MECHANICS[:1], long=MECHANICS[1:])
def test_no_reduction_and_gradient(case):
    """The loss of each sample, and the gradient of their sum."""
    y_true, y_pred = case.data()
    true = expect(case, y_true, y_pred, reduction="none")
    loss = case.reduced("none")
    losses, grad = loss.value_and_grad(y_true, y_pred)
    assert_same(losses, loss(y_true, y_pred))
    assert_near(grad, true.grad, true.grad_error, "grad")
    assert_same(loss.grad(y_true, y_pred), grad)


def weights_for(case, dtype=np.float64):
    y_true, y_pred = case.data()
    shape = y_pred.shape[:-1] if case.rowwise else y_pred.shape
    weight = np.random.default_rng(5).integers(0, 9, shape) / 4
    weight.flat[0], weight.flat[-1] = 0.0, 1.5
    return weight.astype(dtype)


@both("case", WEIGHED, compiled=[SOFTMAX], long=[SQUARED])
def test_sample_weight(case):
    y_true, y_pred = case.data()
    weight = weights_for(case)
    for reduction, normalizer in (("mean", None), ("sum", None), ("mean", 2.5)):
        options = {"sample_weight": weight, "normalizer": normalizer}
        true = expect(case, y_true, y_pred, reduction=reduction, **options)
        loss = case.reduced(reduction)
        value, grad = loss.value_and_grad(y_true, y_pred, **options)
        assert_near(value, true.value, true.value_error, "value")
        assert_near(grad, true.grad, true.grad_error, "grad")
        assert_same(loss(y_true, y_pred, **options), value)
        assert_same(loss.grad(y_true, y_pred, **options), grad)
    true = expect(case, y_true, y_pred, sample_weight=weight, reduction="none")
    losses = case.reduced("none")(y_true, y_pred, sample_weight=weight)
    assert_near(losses, true.losses, true.losses_error, "losses")
    assert np.all(losses[weight == 0] == 0)


@pytest.mark.parametrize("case", LOOPS, ids=str)
def test_sample_weight_of_hessian(case):
    y_true, y_pred = case.data()
    true = expect(case, y_true, y_pred, sample_weight=weights_for(case))
    grad, hess = case.loss.grad_hess(y_true, y_pred, sample_weight=weights_for(case))
    assert_near(grad, true.grad, true.grad_error, "grad")
    assert_near(hess, true.hess, true.hess_error, "hess")


@pytest.mark.parametrize("case", [SQUARED, SOFTMAX], ids=str)
@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", BFLOAT16, "f4", "f8"], ids=name_of)
def test_sample_weight_of_every_dtype(case, dtype):
    y_true, y_pred = case.data()
    weight = weights_for(case, dtype)
    true = expect(case, y_true, y_pred, sample_weight=weight)
    value, grad = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


@pytest.mark.parametrize("case", [case for case in WEIGHED if not case.rowwise], ids=str)
def test_one_weight_for_each_leading_row(case):
    y_true, y_pred = case.data(shape=(4, 3, 2))
    weight = np.array([0.5, 0.0, 2.0, 1.0])
    each = np.broadcast_to(weight[:, None, None], y_pred.shape).copy()
    value, grad = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    true = expect(case, y_true, y_pred, sample_weight=each)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")
    value_each, grad_each = case.loss.value_and_grad(y_true, y_pred, sample_weight=each)
    assert_same(value, value_each)
    assert_same(grad, grad_each)


@pytest.mark.parametrize("case", [case for case in WEIGHED if case.rowwise], ids=str)
def test_leading_axes_are_samples(case):
    y_true, y_pred = case.data(shape=(2, 3, 4, 5))
    weight = np.random.default_rng(3).integers(1, 5, (2, 3, 4)).astype(float)
    true = expect(case, y_true, y_pred, sample_weight=weight)
    value, grad = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")
    assert case.reduced("none")(y_true, y_pred, sample_weight=weight).shape == (2, 3, 4)


INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


@pytest.mark.parametrize("case", [SOFTMAX, CATEGORICAL], ids=str)
def test_class_ids_of_every_integer_dtype(case):
    ids, y_pred = case.data()
    expected = case.loss.value_and_grad(ids, y_pred)
    for dtype in INTEGERS if case is SOFTMAX else ("i1", "u8"):
        value, grad = case.loss.value_and_grad(ids.astype(dtype), y_pred)
        assert_same(value, expected[0])
        assert_same(grad, expected[1])


def test_class_ids_may_be_booleans():
    logits = np.array([[1.0, 2.0], [0.5, -1.0]])
    as_booleans = fl.cross_entropy.value_and_grad(np.array([True, False]), logits)
    as_integers = fl.cross_entropy.value_and_grad(np.array([1, 0]), logits)
    assert_same(as_booleans[0], as_integers[0])
    assert_same(as_booleans[1], as_integers[1])


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *itertools.product([SQUARED], ["?", "i1", "u2", "i4", "u8", "f2", BFLOAT16, "f4", "f8"]),
        *itertools.product([LOGITS, SOFTMAX_SOFT], ["?", "i8", BFLOAT16, "f8"]),
    ],
    ids=str,
)
def test_labels_of_every_dtype(case, dtype):
    """The same numbers give the same result, up to the precision that wide labels ask for."""
    _, y_pred = case.data()
    y_true = np.random.default_rng(1).integers(0, 2, y_pred.shape).astype(dtype)
    true = expect(case, y_true, y_pred)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    assert grad.dtype == np.float32
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i8", "u8"])
@pytest.mark.parametrize("case", [SQUARED, SOFTMAX], ids=str)
def test_integer_predictions_become_float64(case, dtype):
    """8-bit integers do not wrap: 0 - 200 is not 56, and exp(200) is not infinite."""
    y_pred = np.array([[0, 1, 200], [3, 0, 100]]).clip(0, 100 if dtype == "i1" else 200)
    y_pred = y_pred.astype(dtype)
    y_true = np.array([0, 2]) if case.rowwise else np.array([[200, 0, 1], [0, 4, 9]], np.uint8)
    true = expect(case, y_true, y_pred)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    assert grad.dtype == np.float64
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


@pytest.mark.parametrize("case", [case for case in CASES if case.naive], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.long
def test_at_least_as_exact_as_naive_numpy(case, dtype):
    """In the same dtype, over all results together; one rounding of slack for plain luck."""
    y_true, y_pred = case.data(dtype, (40, 5))
    true = expect(case, y_true, y_pred, reduction="none")
    loss = case.reduced("none")
    losses, grad = loss(y_true, y_pred), loss.grad(y_true, y_pred)
    with np.errstate(all="ignore"):
        naive_losses, naive_grad = case.naive(y_true, y_pred)
    eps = float(np.finfo(np.float32).eps if dtype == FLOAT32 else np.finfo(np.float64).eps)
    for ours, naive, truth, rounding in (
        (losses, naive_losses, true.losses, eps if dtype.itemsize > 2 else 0.0),
        (grad, naive_grad, true.grad, eps if dtype.itemsize > 2 else 2 * _rounding(dtype)),
    ):
        ours_off = abs(EXACT.numbers(ours) - truth).sum()
        if not np.all(np.isfinite(naive)):
            naive = np.where(np.isfinite(naive), naive, 65504)  # overflow is as bad as it gets
        naive_off = abs(EXACT.numbers(naive) - truth).sum()
        assert ours_off <= naive_off + rounding / 2 * abs(truth).sum()


def _rounding(dtype):
    return ROUNDING[dtype.name] / 2


# ---------------------------------------------------------------------------------------------
# Finite differences


@partly_long(24, "case", IN_FLOAT64, ids=str)
def test_finite_differences(case):
    """Of the value for the gradient, and of the gradient for the diagonal of the Hessian."""
    y_true, y_pred = case.data(np.float64, (3, 5))
    if "floor_2" in case.name:  # stay away from the kink at exp(-2)
        y_pred[abs(y_pred - math.exp(-2)) < 0.02] += 0.05
        y_pred[abs(1 - y_pred - math.exp(-2)) < 0.02] -= 0.05
    grad, hess = case.loss.grad_hess(y_true, y_pred)
    step = 1e-4 * y_pred.min() if y_pred.min() > 0 else 1e-4
    for index in np.ndindex(y_pred.shape):
        low, high = y_pred.copy(), y_pred.copy()
        low[index] -= step
        high[index] += step
        value_low, grad_low = case.loss.value_and_grad(y_true, low)
        value_high, grad_high = case.loss.value_and_grad(y_true, high)
        width = high[index] - low[index]
        # The truncation error is of order step**2, the rounding error 1e-16 / step.
        size = 1 + abs(grad[index])
        assert (value_high - value_low) / width == pytest.approx(
            grad[index], rel=1e-6, abs=1e-9 * size
        )
        assert (grad_high[index] - grad_low[index]) / width == pytest.approx(
            hess[index], rel=1e-6, abs=1e-9 * size
        )


# ---------------------------------------------------------------------------------------------
# Hand-computed values


def test_the_teaching_texts():
    assert fl.sse([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0]) == 1.5
    assert fl.mse([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0]) == 0.375
    summed = fl.CategoricalCrossEntropy(reduction="sum")
    for labels in (
        [0, 1, 2],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ):
        assert summed(labels, P) == 0.8393296907380268


def test_hand_values():
    assert fl.sum_squared_error is fl.sse
    assert fl.mae([1.0, 2.0, 4.0], [2.0, 2.0, 2.0]) == 1.0
    assert fl.mae.grad([1.0, 2.0, 4.0], [2.0, 2.0, 2.0], normalizer=1).tolist() == [1, 0, -1]
    ln2 = math.log(2.0)
    assert fl.binary_cross_entropy([1, 0], [0.5, 0.25]) == (ln2 - math.log1p(-0.25)) / 2
    assert fl.binary_cross_entropy_with_logits([1, 0, 1], [0.0, 0.0, 0.0]) == pytest.approx(
        ln2, rel=1e-15
    )
    assert fl.cross_entropy([1], [[0.0, 0.0]]) == pytest.approx(ln2, rel=1e-15)
    assert fl.cross_entropy.grad([1], [[0.0, 0.0]]).tolist() == [[0.5, -0.5]]
    grad, hess = fl.cross_entropy.grad_hess([1], [[0.0, 0.0]])
    assert hess.tolist() == [[0.25, 0.25]]
    grad, hess = fl.mse.grad_hess([0.0], [3.0])
    assert (grad.tolist(), hess.tolist()) == ([6.0], [2.0])
    assert fl.categorical_cross_entropy.grad([0], [[0.25, 0.75]]).tolist() == [[-4.0, 0.0]]


def test_soft_labels_weigh_by_class_weight_times_target():
    x = np.array([[1.0, 0.0], [0.0, 2.0]])
    t = np.array([[0.25, 0.75], [1.0, 0.0]])
    w = np.array([2.0, 4.0])
    nll = np.log(np.exp(x).sum(axis=1, keepdims=True)) - x
    weighed = fl.CrossEntropy(class_weight=w)(t, x)
    assert weighed == pytest.approx((w * t * nll).sum() / (w * t).sum(), rel=1e-14)
    # Without class weights every row counts as one, whatever its labels add up to.
    assert fl.cross_entropy(t / 2, x) == pytest.approx((t / 2 * nll).sum() / 2, rel=1e-14)


# ---------------------------------------------------------------------------------------------
# Identities


@both(
    "case",
    [c for c in ROWWISE if c in IN_FLOAT64 and c not in ROWS and c.data()[0].ndim == 1],
    long=[SOFTMAX, SOFTMAX_ALL, CATEGORICAL],
)
def test_one_hot_labels_equal_class_ids_bit_for_bit(case):
    ids, y_pred = case.data()
    ids = np.maximum(ids, 0)  # soft labels have no mark for a row to be ignored
    labels = one_hot_of(ids, 5, y_pred.dtype)
    by_id, by_labels = (case.loss.value_and_grad(y, y_pred) for y in (ids, labels))
    assert_same(by_labels[0], by_id[0])
    assert_same(by_labels[1], by_id[1] + 0 * by_labels[1])
    assert_same(case.reduced("none")(labels, y_pred), case.reduced("none")(ids, y_pred))
    for by_id, by_labels in zip(
        case.loss.grad_hess(ids, y_pred), case.loss.grad_hess(labels, y_pred), strict=True
    ):
        np.testing.assert_array_equal(by_labels, by_id)


@mechanics
def test_a_weight_of_two_is_the_sample_twice(case):
    y_true, y_pred = case.data()
    n = len(y_pred)
    weight = np.ones(n)
    weight[2] = 2
    twice = np.append(np.arange(n), 2)
    value, grad = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    value_twice, grad_twice = case.loss.value_and_grad(y_true[twice], y_pred[twice])
    assert value == pytest.approx(value_twice, rel=1e-13)
    grad_twice[2] *= 2
    np.testing.assert_allclose(grad, grad_twice[:n], rtol=4e-7)


@mechanics
def test_the_mean_times_the_weights_is_the_sum(case):
    y_true, y_pred = case.data(np.float64)
    mean, grad = case.loss.value_and_grad(y_true, y_pred)
    total, grad_of_sum = case.reduced("sum").value_and_grad(y_true, y_pred)
    terms = case.reference(DOUBLE, case.loss, y_true, y_pred)
    denominator = float(terms.weight[terms.kept].sum())
    assert mean * denominator == pytest.approx(total, rel=1e-14)
    np.testing.assert_allclose(grad * denominator, grad_of_sum, rtol=1e-14)
    none = case.reduced("none")
    assert math.fsum(none(y_true, y_pred).ravel()) == pytest.approx(total, rel=1e-14)
    assert_same(none.grad(y_true, y_pred), grad_of_sum)


@mechanics
def test_a_mean_can_be_computed_in_parts(case):
    """Gradient accumulation: parts with the normalizer of the whole add up to the whole."""
    y_true, y_pred = case.data(np.float64, (8, 5))
    total_weight = 8 if case.rowwise else 40
    whole = case.loss.value_and_grad(y_true, y_pred, normalizer=total_weight)
    first = case.loss.value_and_grad(y_true[:3], y_pred[:3], normalizer=total_weight)
    rest = case.loss.value_and_grad(y_true[3:], y_pred[3:], normalizer=np.float32(total_weight))
    assert first[0] + rest[0] == pytest.approx(whole[0], rel=1e-14)
    assert_same(np.concatenate([first[1], rest[1]]), whole[1])


def test_smoothing_of_zero_and_weights_of_one_change_nothing():
    """With the options compiled in, and with the labels of BCE, where they are run-time values."""
    ids, logits = SOFTMAX.data()
    expected = fl.cross_entropy.value_and_grad(ids, logits)
    for loss in (
        fl.CrossEntropy(label_smoothing=0.0),
        fl.CrossEntropy(class_weight=[1] * 5),
        fl.CrossEntropy(ignore_index=-100),
        fl.CrossEntropy(class_weight=[1] * 5, ignore_index=99),
    ):
        value, grad = loss.value_and_grad(ids, logits)
        assert_same(value, expected[0])
        assert_same(grad, expected[1])
    almost = fl.CrossEntropy(label_smoothing=1e-12).value_and_grad(ids, logits)
    assert almost[0] == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(almost[1], expected[1], rtol=1e-6, atol=1e-9)
    labels, logits = LOGITS.data()
    without = fl.binary_cross_entropy_with_logits.value_and_grad(labels, logits)
    options = fl.BinaryCrossEntropyWithLogits(pos_weight=1, label_smoothing=0)
    assert_same(options.value_and_grad(labels, logits)[0], without[0])
    assert_same(options.value_and_grad(labels, logits)[1], without[1])


def test_options_of_any_number_type_and_order_of_use():
    """Kernels are shared by losses of the same structure: none may inherit another's types."""
    ids, logits = SOFTMAX.data(np.float64)
    integral = fl.CrossEntropy(label_smoothing=1)(ids, logits)
    assert integral == fl.CrossEntropy(label_smoothing=1.0)(ids, logits)
    tenth = expect(
        dataclasses.replace(SOFTMAX, loss=fl.CrossEntropy(label_smoothing=0.1)), ids, logits
    )
    assert_near(fl.CrossEntropy(label_smoothing=0.1)(ids, logits), tenth.value, tenth.value_error)
    assert fl.CrossEntropy(label_smoothing=np.float32(0.25))(ids, logits) == fl.CrossEntropy(
        label_smoothing=0.25
    )(ids, logits)
    none_ignored = fl.cross_entropy(ids, logits)
    for index in (np.int8(-100), 2**40, np.uint8(200), -(2**63), 2**63 - 1):
        assert fl.CrossEntropy(ignore_index=index)(ids, logits) == none_ignored
    labels, logits = LOGITS.data(np.float64)
    doubled = fl.BinaryCrossEntropyWithLogits(pos_weight=2.0)(labels, logits)
    for weight in (2, np.float32(2), np.int16(2), np.float64(2)):
        assert fl.BinaryCrossEntropyWithLogits(pos_weight=weight)(labels, logits) == doubled
    p = np.array([0.0, 0.5])
    for floor in (-5, np.float32(-5), np.int8(-5), -5.0):
        loss = fl.BinaryCrossEntropy(log_floor=floor, reduction="sum")
        assert loss([1, 0], p) == 5 - math.log(0.5)
        loss = fl.CategoricalCrossEntropy(log_floor=floor, reduction="sum")
        assert loss([0], [p]) == 5


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=name_of)
def test_binary_and_two_class_cross_entropy_agree(dtype):
    x = np.random.default_rng(2).normal(scale=8.0, size=50).astype(dtype)
    y = np.random.default_rng(3).integers(0, 2, 50)
    rows = np.stack([np.zeros_like(x), x], axis=1)
    binary = fl.BinaryCrossEntropyWithLogits(reduction="none")
    multiclass = fl.CrossEntropy(reduction="none")
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        binary(y.astype(dtype), x), multiclass(y, rows), rtol=(8 + abs(x).max()) * eps
    )
    grad, hess = binary.grad_hess(y.astype(dtype), x)
    grad_rows, hess_rows = multiclass.grad_hess(y, rows)
    np.testing.assert_allclose(grad, grad_rows[:, 1], rtol=(8 + abs(x).max()) * eps)
    np.testing.assert_allclose(hess, hess_rows[:, 1], rtol=(8 + abs(x).max()) * eps)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=name_of)
def test_cross_entropy_does_not_see_a_shift_of_the_logits(dtype):
    """Logits that are integers stay exact under the shift, and so do the results."""
    rng = np.random.default_rng(4)
    logits = rng.integers(-20, 20, (30, 6)).astype(dtype)
    ids = rng.integers(0, 6, 30)
    value, grad = fl.cross_entropy.value_and_grad(ids, logits)
    for shift in (1e6, -1e6):
        assert_same(fl.cross_entropy(ids, logits + dtype.type(shift)), value)
        assert_same(fl.cross_entropy.grad(ids, logits + dtype.type(shift)), grad)


@pytest.mark.parametrize("case", [c for c in CASES if c.name.startswith("softmax")], ids=str)
def test_gradient_rows_of_cross_entropy_add_up_to_zero(case):
    """As the loss does not change when a row is shifted."""
    y_true, logits = case.data(shape=(200, 5))
    grad = case.reduced("sum").grad(y_true, logits).astype(np.float64)
    size = abs(grad).sum(axis=1)
    assert np.all(abs(grad.sum(axis=1)) <= 16 * 2.0**-24 * (1 + size))
    assert abs(grad).max() > 0.1


@pytest.mark.parametrize("case", [c for c in ROWWISE if c in PLAIN], ids=str)
def test_permuting_classes_permutes_the_gradient(case):
    y_true, y_pred = case.data(shape=(20, 9))
    order = np.random.default_rng(6).permutation(9)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    places = np.argsort(order)
    permuted = places[y_true] if y_true.ndim == 1 else y_true[:, order]
    value_permuted, grad_permuted = case.loss.value_and_grad(permuted, y_pred[:, order])
    assert value_permuted == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(grad_permuted, grad[:, order], rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------------------------------
# Where results are written


@both("case", MECHANICS, compiled=[SQUARED, SOFTMAX])
def test_out(case):
    """`out` is what is returned, with the bits of a call without it."""
    y_true, y_pred = case.data()
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    out = np.full_like(y_pred, np.nan)
    value_again, returned = case.loss.value_and_grad(y_true, y_pred, out=out)
    assert returned is out
    assert_same(value_again, value)
    assert_same(out, grad)
    out.fill(np.nan)
    assert case.loss.grad(y_true, y_pred, out=out) is out
    assert_same(out, grad)

    expected = case.loss.grad_hess(y_true, y_pred)
    pair = np.full_like(y_pred, np.nan), np.full_like(y_pred, np.nan)
    returned = case.loss.grad_hess(y_true, y_pred, out=pair)
    assert returned[0] is pair[0]
    assert returned[1] is pair[1]
    assert_same(pair[0], expected[0])
    assert_same(pair[1], expected[1])

    none = case.reduced("none")
    expected = none(y_true, y_pred)
    losses = np.full_like(expected, np.nan)
    assert none(y_true, y_pred, out=losses) is losses
    assert_same(losses, expected)


@both(
    "case, shape",
    [(case, (7, 5)) for case in MECHANICS],
    compiled=[(case, (20_011, 5)) for case in LOOPS[:1]],
    long=[(case, (20_011, 5)) for case in LOOPS[1:]],
)
def test_in_place(case, shape):
    y_true, y_pred = case.data(shape=shape)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    buffer = y_pred.copy()
    value_again, returned = case.loss.value_and_grad(y_true, buffer, out=buffer)
    assert returned is buffer
    assert_same(value_again, value)
    assert_same(buffer, grad)
    # A view of the same elements is the same array.
    buffer = y_pred.copy()
    assert_same(case.loss.grad(y_true, buffer, out=buffer[:]), grad)
    grad, hess = case.loss.grad_hess(y_true, y_pred)
    buffer, hess_out = y_pred.copy(), np.empty_like(y_pred)
    case.loss.grad_hess(y_true, buffer, out=(buffer, hess_out))
    assert_same(buffer, grad)
    assert_same(hess_out, hess)


# ---------------------------------------------------------------------------------------------
# Losses as objects


@all_cases
def test_losses_are_values(case):
    loss = case.loss
    for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss), case.reduced("mean")):
        assert other == loss
        assert hash(other) == hash(loss)
        assert repr(other) == repr(loss)
    y_true, y_pred = case.data()
    grad = loss.grad(y_true, y_pred)
    # Also after use, when it may have something to remember.
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert_same(pickle.loads(pickle.dumps(loss)).grad(y_true, y_pred), grad)
    assert case.reduced("sum") != loss
    namespace = {name: getattr(fl, name) for name in fl.__all__} | {"inf": math.inf}
    assert eval(repr(loss), namespace) == loss
    for option in dataclasses.fields(loss):  # those that differ from their defaults
        differs = getattr(loss, option.name) != option.default
        assert (f"{option.name}=" in repr(loss)) == differs
        with pytest.raises(AttributeError):
            setattr(loss, option.name, getattr(loss, option.name))
        with pytest.raises(AttributeError):
            delattr(loss, option.name)


def test_ready_made_losses_are_the_defaults():
    for instance, expected in (
        (fl.mse, fl.SquaredError()),
        (fl.sse, fl.SquaredError(reduction="sum")),
        (fl.mae, fl.AbsoluteError()),
        (fl.binary_cross_entropy, fl.BinaryCrossEntropy()),
        (fl.binary_cross_entropy_with_logits, fl.BinaryCrossEntropyWithLogits()),
        (fl.cross_entropy, fl.CrossEntropy()),
        (fl.categorical_cross_entropy, fl.CategoricalCrossEntropy()),
    ):
        assert instance == expected
        assert type(instance) is type(expected)
    assert len({case.loss for case in CASES}) == len({repr(case.loss) for case in CASES})
    assert fl.SquaredError() != fl.AbsoluteError()


def test_class_weights_are_taken_from_any_sequence_and_copied():
    weights = np.array([1.0, 2.0, 3.0])
    loss = fl.CrossEntropy(class_weight=weights)
    assert loss == fl.CrossEntropy(class_weight=[1, 2, 3])
    assert hash(loss) == hash(fl.CrossEntropy(class_weight=(1, 2, 3)))
    ids, logits = [0, 1, 2], np.arange(9.0).reshape(3, 3) % 4
    before = loss(ids, logits)
    weights[:] = [9.0, 0.0, 0.0]
    assert loss(ids, logits) == before
    assert fl.CrossEntropy(class_weight=[9, 0, 0])(ids, logits) != before


# ---------------------------------------------------------------------------------------------
# The same bits on any number of threads


@compiled
@partly_long(2, "case", WEIGHED, ids=str)
def test_results_do_not_depend_on_threads_or_repetition(case, threads):
    """More than four tasks of 2**18 elements, the last one short."""
    y_true, y_pred = case.data(shape=(230_011, 5))
    none = case.reduced("none")
    threads(1)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    losses = none(y_true, y_pred)
    assert math.isfinite(value)
    for count in (2, 3, 4, 8, 8):
        threads(count)
        value_again, grad_again = case.loss.value_and_grad(y_true, y_pred)
        assert value_again == value
        np.testing.assert_array_equal(grad_again, grad)
        np.testing.assert_array_equal(none(y_true, y_pred), losses)
        if case in MECHANICS:
            assert case.loss(y_true, y_pred) == value


@pytest.mark.parametrize("case", [SQUARED, SOFTMAX], ids=str)
@compiled
def test_layout_and_weights_do_not_depend_on_threads(case, threads):
    y_true, y_pred = case.data(shape=(100_003, 5))
    weight = np.random.default_rng(1).random(100_003)
    strided = np.asfortranarray(y_pred)
    threads(1)
    expected = case.loss.value_and_grad(y_true, y_pred, sample_weight=weight)
    for count in (1, 2, 3, 8):
        threads(count)
        value, grad = case.loss.value_and_grad(y_true, strided, sample_weight=weight)
        assert value == expected[0]
        np.testing.assert_array_equal(grad, expected[1])


# ---------------------------------------------------------------------------------------------
# Sizes


@both(
    "case, n",
    itertools.product(LOOPS, [1, 2, 3, 255, 256, 257]),
    compiled=itertools.product(
        LOOPS,
        [
            1,
            2,
            3,
            1023,
            1024,
            1025,
            5460,
            5461,
            5462,
            16383,
            16384,
            16385,
            65_536,
            100_000,
            300_001,
        ],
    ),
)
def test_sizes(case, n):
    """Around the ends of tiles, blocks and tasks, with three classes for the row-wise losses."""
    shape = (n, 3) if case.rowwise else (n,)
    y_true, y_pred = case.data(shape=shape)
    true = expect(case, y_true, y_pred, lib=DOUBLE)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")
    true = expect(case, y_true, y_pred, lib=DOUBLE, reduction="none")
    losses = case.reduced("none")(y_true, y_pred)
    assert_near(losses, true.losses, true.losses_error, "losses")


@compiled
@partly_long(2, "case", MECHANICS, ids=str)
def test_a_result_does_not_depend_on_its_neighbours(case):
    """A small batch repeated: the same bits for each copy, wherever it falls in a block."""
    y_true, y_pred = case.data(shape=(11, 5))
    loss = case.reduced("none")
    losses, grad = loss.value_and_grad(y_true, y_pred)
    copies = 30_000
    many_losses, many_grad = loss.value_and_grad(
        np.concatenate([y_true] * copies), np.concatenate([y_pred] * copies)
    )
    np.testing.assert_array_equal(many_grad.reshape(copies, 11, 5), [grad] * copies)
    np.testing.assert_array_equal(many_losses.reshape(copies, *losses.shape), [losses] * copies)


@pytest.mark.parametrize("case", [SOFTMAX, SOFTMAX_SOFT, CATEGORICAL], ids=str)
@pytest.mark.parametrize("n_classes", [1, 2, 3, 10, 1000, 1023, 1024, 1025, 16_385, 131_072])
@compiled
def test_numbers_of_classes(case, n_classes):
    y_true, y_pred = case.data(shape=(5, n_classes))
    true = expect(case, y_true, y_pred, lib=DOUBLE)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


@compiled
@pytest.mark.long
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_many_weighed_classes(smoothing):
    n_classes = 5000
    weight = np.random.default_rng(0).integers(0, 9, n_classes) / 4
    loss = fl.CrossEntropy(class_weight=weight, label_smoothing=smoothing)
    case = dataclasses.replace(SOFTMAX, loss=loss)
    y_true, y_pred = case.data(shape=(6, n_classes))
    true = expect(case, y_true, y_pred, lib=DOUBLE)
    value, grad = loss.value_and_grad(y_true, y_pred)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


def test_gradient_dtype_of_byte_swapped_predictions_is_native():
    y_true, y_pred = SQUARED.data()
    grad = fl.mse.grad(y_true, y_pred.astype(">f4"))
    assert grad.dtype == storage(y_pred)
    assert grad.dtype.isnative


@both(
    "size, dtype",
    itertools.product([3, 1025], [FLOAT32, FLOAT64]),
    compiled=itertools.product([3, 1025, 300_001], [FLOAT32, FLOAT64]),
)
def test_losses_of_elements_in_place(size, dtype):
    rng = np.random.default_rng(size)
    y_true, y_pred = rng.normal(size=(2, size)).astype(dtype)
    loss = fl.SquaredError(reduction="none")
    expected = loss(y_true, y_pred)
    buffer = np.repeat(y_pred, 2)  # and strided
    assert loss(y_true, buffer[::2], out=buffer[::2]) is not None
    np.testing.assert_array_equal(buffer[::2], expected)
    np.testing.assert_array_equal(buffer[1::2], y_pred)
    assert loss(y_true, y_pred, out=y_pred) is y_pred
    np.testing.assert_array_equal(y_pred, expected)
