"""Hypothesis over shapes, layouts, dtypes, special values and options, against the reference.

Examples are drawn from dtypes and verbs that the other tests use too, so that few kernels have to
be compiled for these alone.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from fuzzing import NIGHTLY, counting, fuzz, layouts, refused
from hypothesis import assume
from hypothesis import strategies as st
from plain import compiled, plain
from registry import (
    CASES,
    CATEGORICAL,
    DOUBLE,
    ELEMENTWISE,
    FAMILY,
    IN_FLOAT64,
    MECHANICS,
    NARROW,
    PLAIN,
    ROUNDING,
    ROWS,
    SOFTMAX,
    WEIGHED,
    Case,
    assert_near,
    expect,
    one_hot_of,
)

import fastloss as fl

# At night the same, compiled.
pytestmark = [] if NIGHTLY else [plain]

INF, NAN = math.inf, math.nan


# ---------------------------------------------------------------------------------------------
# Strategies


@dataclasses.dataclass
class Call:
    """A call, with what it is made of in a form that the reference understands."""

    case: Case
    y_true: Any
    y_pred: Any
    weight: Any
    reduction: str
    normalizer: float | None


@st.composite
def shapes(draw, case):
    leading = draw(st.lists(st.integers(0, 6), min_size=1, max_size=3))
    if not case.rowwise:
        return tuple(leading)
    class_weight = getattr(case.loss, "class_weight", None)
    n_classes = len(class_weight) if class_weight else draw(st.integers(1, 9))
    return (*leading[:2], n_classes)


def takes_infinities(case):
    """Whether any number may be predicted, and `element` or `softmax_row` knows what it gives."""
    return case not in FAMILY + ROWS and case.loss.y_pred_range[0] == -INF


@st.composite
def calls(draw, cases, dtypes, weighted, reductions=("mean", "sum")):
    case = draw(st.sampled_from(cases))
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(shapes(case))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    y_true, y_pred = case.make(rng, shape, np.dtype(dtype))
    if takes_infinities(case):
        largest = 10 if dtype == np.float16 else 40
        scale = 2.0 ** draw(st.integers(-largest, largest))
        y_pred = (y_pred.astype(np.float64) * scale).clip(-1e4 if largest == 10 else -INF)
        y_pred = y_pred.clip(None, 1e4 if largest == 10 else None).astype(dtype)
    specials = [NAN] if case in FAMILY + ROWS else [NAN, 0.0, 1.0]
    specials += [INF, -INF] if takes_infinities(case) else []
    if y_pred.size:
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(0, y_pred.size - 1))
            y_pred.flat[place] = draw(st.sampled_from(specials))
    samples = shape[:-1] if case.rowwise else shape
    weight = None
    if weighted and case in WEIGHED and draw(st.booleans()):
        few = shape[:1] if not case.rowwise and draw(st.booleans()) else samples
        weight = rng.integers(0, 5, few) / 4
    reduction = draw(st.sampled_from(reductions))
    normalizer = draw(st.sampled_from([None, None, 0.5, 7])) if reduction == "mean" else None
    return Call(case, y_true, y_pred, weight, reduction, normalizer)


# ---------------------------------------------------------------------------------------------
# The reference, with the table of odd inputs for what no formula gives


def softmax_row(mass, x):
    """Loss and gradient of a row with NaN or infinities."""
    infinite = x == INF
    if np.isnan(x).any() or infinite.sum() > 1 or np.all(x == -INF):
        return NAN, np.full(x.shape, NAN)
    loss_at, p = np.full(x.shape, INF), np.zeros(x.shape)
    if infinite.any():
        loss_at[infinite], p[infinite] = 0.0, 1.0
    else:
        here = x > -INF
        loss_at[here], p[here] = DOUBLE.log_sum_exp_less(x[here]), DOUBLE.softmax(x[here])[0]
    with np.errstate(invalid="ignore"):
        return np.where(mass == 0, 0.0, mass * loss_at).sum(), mass.sum() * p - mass


def element(case, y, x):
    """Loss and gradient of an element that is NaN or infinite."""
    if math.isnan(y) or math.isnan(x):
        return NAN, NAN
    if "binary_logits" in case.name:
        loss = case.loss
        y = y * (1 - loss.label_smoothing) + loss.label_smoothing / 2
        positive, negative = loss.pos_weight * y, 1 - y
        if x > 0:
            return (INF if negative > 1e-9 else 0.0), negative
        return (INF if positive > 0 else 0.0), -positive
    r = x - y
    return (r * r, 2 * r) if case.name == "squared" else (abs(r), math.copysign(1, r))


def results_of_odd_samples(call):
    """{index of sample: (loss, gradient)} for samples that hold NaN, infinities or certainties."""
    case, y_true, y_pred = call.case, call.y_true, call.y_pred.astype(np.float64)
    odd = {}
    if not case.rowwise:
        for index in np.ndindex(y_pred.shape):
            if not math.isfinite(y_pred[index]):
                odd[index] = element(case, float(y_true[index]), y_pred[index])
        return odd
    n_classes = y_pred.shape[-1]
    if case in ROWS:
        for index in np.ndindex(y_pred.shape[:-1]):
            if np.any(np.isnan(y_pred[index])):
                weights = getattr(case.loss, "class_weight", None)
                assume(weights is None or y_true[index] < 0 or weights[y_true[index]] > 0)
                odd[index] = NAN, np.full(n_classes, NAN)
        return odd
    labels = y_true.astype(np.float64)
    if y_true.ndim < y_pred.ndim:
        labels = one_hot_of(y_true, n_classes)
    for index in np.ndindex(y_pred.shape[:-1]):
        x, t = y_pred[index], labels[index]
        if np.all(np.isfinite(x)):
            continue
        if case.name.startswith("softmax"):
            weights = case.loss.class_weight or np.ones(n_classes)
            e = case.loss.label_smoothing
            mass = np.array(weights) * ((1 - e) * t + e / n_classes)
            assume(mass.sum() > 0 and np.dot(weights, t) > 0)
            odd[index] = softmax_row(mass, x)
        else:
            # Whether NaN at a class of label 0 shows is left open: 0 * log(NaN).
            assume(np.all(t[np.isnan(x)] > 0))
            odd[index] = NAN, None
    return odd


def is_undefined(case, y_true, y_pred):
    """Without a floor, log(0) and its derivatives are infinite; the odd inputs have the test."""
    floor = getattr(case.loss, "log_floor", 0.0)
    return floor == -INF and bool(np.any((y_pred == 0) | (y_pred == 1)))


def check(call, value, losses, grad):
    """Compare with the reference; `value` or `losses` may be None."""
    case, y_pred = call.case, call.y_pred
    odd = results_of_odd_samples(call)
    harmless = y_pred.copy()
    harmless[~np.isfinite(y_pred.astype(np.float64))] = 0.5
    options = {"sample_weight": call.weight, "normalizer": call.normalizer}
    true = expect(case, call.y_true, harmless, reduction=call.reduction, lib=DOUBLE, **options)
    weight = weights_of(call)
    terms = case.reference(DOUBLE, case.loss, call.y_true, harmless)
    counted = terms.kept & (weight != 0)
    denominator = 1.0
    if call.reduction == "mean":
        denominator = call.normalizer or (weight * terms.weight)[counted].sum()

    usual = np.ones(weight.shape, bool)
    unusual_losses = []
    for index, (loss, gradient) in odd.items():
        if not counted[index]:
            continue
        usual[index] = False
        unusual_losses.append(loss)
        if losses is not None:
            eps = 40 * float(np.finfo(losses.dtype).eps)
            np.testing.assert_allclose(float(losses[index]), loss * weight[index], rtol=eps)
        if gradient is not None:
            factor = weight[index] / denominator
            expected = np.asarray(gradient) * factor
            actual = grad[index].astype(np.float64)
            np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
            eps = 2 * ROUNDING[grad.dtype.name]
            np.testing.assert_allclose(actual, expected, rtol=40 * eps, atol=eps * factor)
    usual_elements = np.broadcast_to(
        usual.reshape(usual.shape + (1,) * (grad.ndim - usual.ndim)), grad.shape
    )
    assert_near(
        grad[usual_elements], true.grad[usual_elements], true.grad_error[usual_elements], "grad"
    )
    if losses is not None:
        assert_near(losses[usual], true.losses[usual], true.losses_error[usual], "losses")
    if value is not None:
        if any(math.isnan(loss) for loss in unusual_losses):
            assert math.isnan(value)
        elif any(loss == INF for loss in unusual_losses):
            assert value == INF
        elif not unusual_losses:
            assert_near(value, true.value, true.value_error, "value")


def weights_of(call):
    """The weight of each sample."""
    samples = call.y_pred.shape[:-1] if call.case.rowwise else call.y_pred.shape
    weight = np.ones(samples) if call.weight is None else call.weight
    weight = weight.reshape(weight.shape + (1,) * (len(samples) - weight.ndim))
    return np.broadcast_to(weight, samples)


def counts(call):
    """Whether the mean has a denominator."""
    any_data = np.full(call.y_pred.shape, 0.5)
    terms = call.case.reference(DOUBLE, call.case.loss, call.y_true, any_data)
    return float(np.where(terms.kept, weights_of(call) * terms.weight, 0.0).sum()) > 0


# ---------------------------------------------------------------------------------------------
# Properties


def run(draw, call):
    case, loss = call.case, counting(call.case.reduced(call.reduction))
    assume(not is_undefined(case, call.y_true, call.y_pred))
    y_true = draw(layouts(call.y_true))
    y_pred = draw(layouts(call.y_pred))
    before = y_true.tobytes(), y_pred.tobytes()
    out = draw(layouts(np.full(y_pred.shape, 7, y_pred.dtype))) if draw(st.booleans()) else None
    options = {"sample_weight": call.weight, "normalizer": call.normalizer}
    if call.reduction == "mean" and call.normalizer is None and not counts(call):
        with pytest.warns(RuntimeWarning, match="mean"):
            value, grad = loss.value_and_grad(y_true, y_pred, out=out, **options)
        assert math.isnan(value)
        assert not grad.astype(np.float64).any()
        return
    value, grad = loss.value_and_grad(y_true, y_pred, out=out, **options)
    assert out is None or grad is out
    assert grad.dtype == call.y_pred.dtype
    assert grad.shape == call.y_pred.shape
    assert (y_true.tobytes(), y_pred.tobytes()) == before
    if call.reduction == "none":
        check(call, None, value, grad)
    else:
        check(call, value, None, grad)


@fuzz(150, st.data(), calls(CASES, [np.float32], True, ("mean", "sum")))
def test_value_and_gradient_in_float32(data, call):
    """Those of the reference, for every loss, with NaN, infinities, weights and any layout."""
    run(data.draw, call)


@compiled
@fuzz(150, st.data(), calls(MECHANICS, [np.float32], False, ("none",)))
@pytest.mark.long
def test_losses_and_gradient_in_float32(data, call):
    """The same, of each sample."""
    run(data.draw, call)


@fuzz(150, st.data(), calls(IN_FLOAT64, [np.float64], False))
def test_value_and_gradient_in_float64(data, call):
    """The same."""
    run(data.draw, call)


@fuzz(200, st.data(), calls(PLAIN, NARROW, False))
@pytest.mark.long
def test_value_and_gradient_in_16_bits(data, call):
    """The same, in float16 and bfloat16."""
    run(data.draw, call)


@fuzz(150, st.data(), calls(IN_FLOAT64, [np.float32, np.float64], False))
@pytest.mark.long
def test_gradient_and_hessian(data, call):
    """Those of the reference, in float32 and float64."""
    case, loss = call.case, counting(call.case.reduced(call.reduction))
    assume(not is_undefined(case, call.y_true, call.y_pred))
    assume(call.reduction == "sum" or call.normalizer is not None or counts(call))
    y_pred = data.draw(layouts(call.y_pred))
    options = {"normalizer": call.normalizer}
    grad, hess = loss.grad_hess(call.y_true, y_pred, **options)
    check(call, None, None, grad)
    if np.all(np.isfinite(call.y_pred)):
        true = expect(
            case, call.y_true, call.y_pred, reduction=call.reduction, lib=DOUBLE, **options
        )
        assert_near(hess, true.hess, true.hess_error, "hess")
    else:
        infinite = np.isinf(call.y_pred)
        nan_rows = np.isnan(grad)
        assert not hess[infinite & ~nan_rows].any() or case.name in ("squared", "absolute")


@fuzz(60, st.data(), calls(IN_FLOAT64, [np.float32], False, ("none",)))
def test_samples_do_not_see_each_other(data, call):
    """Any selection of samples has the losses and gradients that it has in the whole."""
    loss = counting(call.case.reduced("none"))
    n = len(call.y_pred)
    assume(n > 0)
    chosen = data.draw(st.lists(st.integers(0, n - 1), max_size=12))
    some = call.y_true[chosen], call.y_pred[chosen]
    losses, grad = loss(call.y_true, call.y_pred), loss.grad(call.y_true, call.y_pred)
    np.testing.assert_array_equal(loss(*some), losses[chosen])
    np.testing.assert_array_equal(loss.grad(*some), grad[chosen])


@compiled
@fuzz(
    60,
    case=st.sampled_from([SOFTMAX, CATEGORICAL]),
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    n_classes=st.integers(1, 6),
    data=st.data(),
)
def test_the_first_bad_class_id_is_named(case, shape, n_classes, data):
    """By its index and value, and nothing is written."""
    shape = (*shape, n_classes)
    labels, y_pred = case.data(shape=shape)
    bad = data.draw(
        st.integers(-(2**63), -1) | st.integers(n_classes, 2**63 - 1) | st.just(n_classes)
    )
    first = data.draw(st.integers(0, labels.size - 1))
    others = data.draw(st.lists(st.integers(first, labels.size - 1), max_size=3))
    labels.flat[others] = -3
    labels.flat[first] = bad
    index = ", ".join(str(int(i)) for i in np.unravel_index(first, labels.shape))
    labels = data.draw(layouts(labels))
    out = np.full(shape, 7, np.float32)
    with refused(ValueError, rf"\[{index}\] is {bad}\b", out):
        counting(case.loss).value_and_grad(labels, y_pred, out=out)


@fuzz(
    60,
    case=st.sampled_from([c for c in ELEMENTWISE if c.loss.y_true_range == (0.0, 1.0)]),
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    bad=st.floats(1.0, exclude_min=True, width=32)
    | st.floats(None, 0.0, exclude_max=True, width=32),
    data=st.data(),
)
def test_the_first_bad_label_is_named(case, shape, bad, data):
    """By its index, and nothing is written."""
    y_true, y_pred = case.data(shape=shape)
    first = data.draw(st.integers(0, y_true.size - 1))
    others = data.draw(st.lists(st.integers(first, y_true.size - 1), max_size=3))
    y_true.flat[others] = 2.0
    y_true.flat[first] = bad
    index = ", ".join(str(int(i)) for i in np.unravel_index(first, y_true.shape))
    y_true = data.draw(layouts(y_true))
    out = np.full(shape, 7, np.float32)
    with refused(ValueError, rf"y_true\[{index}\] is ", out):
        counting(case.loss).value_and_grad(y_true, y_pred, out=out)


@compiled
@fuzz(
    60,
    logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=8),
    shift=st.integers(-1000, 1000),
    data=st.data(),
)
def test_cross_entropy_is_at_least_zero_and_its_gradient_bounded(logits, shift, data):
    """For any row: loss >= 0, |gradient| <= 1, negative at the label only."""
    label = data.draw(st.integers(0, len(logits) - 1))
    losses, grad = fl.CrossEntropy(reduction="none").value_and_grad(
        [label], np.array([logits], np.float32) + np.float32(shift)
    )
    assert losses[0] >= 0
    assert -1 <= grad[0, label] <= 0
    others = np.delete(grad[0], label)
    assert np.all((others >= 0) & (others <= 1))
