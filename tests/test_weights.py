"""Weights of any scale: a mean knows their ratios alone, and a sum loses nothing on the way."""

import dataclasses
import itertools
import math
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from plain import compiled, partly_long, plain
from registry import (
    CATEGORICAL_SOFT,
    GAUSSIAN,
    MULTI_MARGIN_ALL,
    SOFTMAX,
    SOFTMAX_SOFT,
    SQUARED,
    Case,
    assert_same,
    class_ids,
    cross_entropy,
    with_logits,
)

import fastloss as fl

pytestmark = plain

NAN = math.nan
FOCAL = Case("focal", fl.focal, with_logits(class_ids), cross_entropy)
# One for each loop, and for each way in which classes weigh.
CASES = [SQUARED, CATEGORICAL_SOFT, GAUSSIAN, MULTI_MARGIN_ALL, SOFTMAX, SOFTMAX_SOFT, FOCAL]
CLASSES = [MULTI_MARGIN_ALL, SOFTMAX, SOFTMAX_SOFT, FOCAL]
OF_CLASSES = np.array([1.0, 0.5, 2.0, 3.0, 1.0])
# Exponents of 2, as far as float64 goes.
FAR = [-1070, -130, 110, 1020]
# Of weights of samples, weights of classes and a denominator.
FAR_APART = [
    (-1000, 1000, 0),
    (1000, -1000, 0),
    (-130, 0, -130),
    (130, 0, 130),
    (0, 1000, 1000),
    (0, -1000, -1000),
    (500, 500, 1000),
    (-1000, 130, -1000),
    (-130, -130, 130),
    (130, 130, -130),
]


def weight_for(case: Case) -> Any:
    _, y_pred = case.data()
    shape = y_pred.shape[:-1] if case.rowwise else y_pred.shape
    weight = np.random.default_rng(7).integers(1, 9, shape) / 4.0
    weight[2] = 0
    return weight


def all_verbs(loss: Any, y_true: Any, y_pred: Any, **options: Any) -> list[Any]:
    """What all verbs give, that have weights."""
    given = [*loss.value_and_grad(y_true, y_pred, **options)]
    given += loss.grad_hess(y_true, y_pred, **options)
    if isinstance(loss, fl.CrossEntropy):
        given.append(loss.hvp(y_true, y_pred, np.roll(y_pred, 1), **options))
    return given


def times_power(results: list[Any], exponent: int) -> list[Any]:
    """Exactly, and rounded once."""

    def times(number: float) -> float:
        if not math.isfinite(number):
            return number
        try:
            return float(Fraction(number) * Fraction(2) ** exponent)
        except OverflowError:
            return math.copysign(math.inf, number)

    with np.errstate(all="ignore"):
        return [
            np.vectorize(times, [float])(part).astype(np.asarray(part).dtype) for part in results
        ]


def near(actual: list[Any], expected: list[Any], rtol: float) -> None:
    """To some roundings, of the smallest numbers as well."""
    for one, other in zip(actual, expected, strict=True):
        tiny = float(np.finfo(np.asarray(one).dtype).smallest_subnormal)
        np.testing.assert_allclose(
            np.asarray(one, np.float64), np.asarray(other, np.float64), rtol, 4 * tiny
        )


def same(actual: list[Any], expected: list[Any]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert_same(np.asarray(one), np.asarray(other))


# ---------------------------------------------------------------------------------------------
# Means


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=["f2", "f4", "f8"])
def test_a_mean_has_the_same_bits_for_all_scales_of_sample_weights(case, dtype):
    """Of powers of 2, which change no digit of a weight."""
    y_true, y_pred = case.data(dtype)
    weight = weight_for(case)
    expected = all_verbs(case.loss, y_true, y_pred, sample_weight=weight)
    for exponent in FAR:
        scaled = np.ldexp(weight, exponent)
        assert np.all((scaled > 0) == (weight > 0))
        same(all_verbs(case.loss, y_true, y_pred, sample_weight=scaled), expected)
    if dtype == np.float32:
        for exponent in (-140, 120):
            scaled = np.ldexp(weight.astype(np.float32), exponent)
            same(all_verbs(case.loss, y_true, y_pred, sample_weight=scaled), expected)


@pytest.mark.parametrize("case", CLASSES, ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=["f2", "f4", "f8"])
def test_a_mean_has_the_same_bits_for_all_scales_of_class_weights(case, dtype):
    y_true, y_pred = case.data(dtype)
    weight = weight_for(case)
    for options in ({}, {"sample_weight": weight}):
        loss = dataclasses.replace(case.loss, class_weight=OF_CLASSES)
        expected = all_verbs(loss, y_true, y_pred, **options)
        for exponent in FAR:
            scaled = dataclasses.replace(case.loss, class_weight=np.ldexp(OF_CLASSES, exponent))
            same(all_verbs(scaled, y_true, y_pred, **options), expected)


def test_weights_far_from_1():
    """Hand values: the error is 1 or 2."""
    for size in (1e-310, 5e-324, 1e-170, 1e160, 1e308):
        value, grad = fl.mse.value_and_grad([0, 0], [1, 2], sample_weight=[size] * 2)
        assert value == 2.5
        assert grad.tolist() == [1.0, 2.0]
    x = np.float32([[0, 0], [0, 0]])
    for size in (1e-46, 1e-40, 1e39, 1e308):
        value, grad = fl.CrossEntropy(class_weight=[size] * 2).value_and_grad([0, 1], x)
        assert value == pytest.approx(math.log(2), rel=1e-7)
        np.testing.assert_allclose(grad, [[-0.25, 0.25], [0.25, -0.25]], rtol=3e-7)


def test_weights_whose_sum_is_infinite():
    """Of one block and of several; and of a sum, whose own size can be held."""
    n = 9
    assert fl.mse([0.0] * n, [1.0] * n, sample_weight=[1e308] * n) == 1.0
    assert fl.sse.value_and_grad([0.0] * n, [1e-3] * n, sample_weight=[1e308] * n)[0] == (
        pytest.approx(9e302)
    )
    none = fl.SquaredError(reduction="none")
    np.testing.assert_allclose(none([0.0] * n, [1e-3] * n, sample_weight=[1e308] * n), 1e302)


@compiled
@pytest.mark.long
def test_weights_of_many_blocks_at_any_scale():
    """With threads, into given memory, and in place."""
    n = 100_000
    rng = np.random.default_rng(0)
    y_true, y_pred, weight = rng.normal(size=n), rng.normal(size=n), rng.integers(1, 9, n) / 4.0
    weight[: n // 2] *= 2.0**-300  # blocks of their own, which count for nothing
    expected, expected_grad = fl.mse.value_and_grad(y_true, y_pred, sample_weight=weight)
    for exponent in (-700, 1021):
        scaled = np.ldexp(weight, exponent)
        assert fl.mse(y_true, y_pred, sample_weight=scaled) == expected
        buffer = y_pred.copy()
        value, grad = fl.mse.value_and_grad(y_true, buffer, sample_weight=scaled, out=buffer)
        assert value == expected
        # In the first half weights are below the smallest float64, or were divided by the largest.
        np.testing.assert_array_equal(grad[n // 2 :], expected_grad[n // 2 :])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_place_nothing_is_written_before_the_scale_is_known(case):
    y_true, y_pred = case.data()
    weight = weight_for(case)
    expected = case.loss.grad_hess(y_true, y_pred, sample_weight=weight)
    for exponent in FAR:
        buffer, hess = y_pred.copy(), np.empty_like(y_pred)
        scaled = np.ldexp(weight, exponent)
        case.loss.grad_hess(y_true, buffer, sample_weight=scaled, out=(buffer, hess))
        assert_same(buffer, expected[0])
        assert_same(hess, expected[1])


def test_ratios_that_float64_cannot_hold():
    """A weight next to nothing is as if it were 0, but for the largest."""
    assert fl.mse([0, 0], [1, 2], sample_weight=[1e-300, 1e300]) == 4.0
    assert fl.mse([0, 0], [1, NAN], sample_weight=[1e-300, 0]) == 1.0
    loss = fl.CrossEntropy(class_weight=[1e-300, 1.0])
    assert loss([0, 0], np.zeros((2, 2))) == pytest.approx(math.log(2), rel=1e-15)
    grad = loss.grad([0], np.zeros((1, 2)))
    np.testing.assert_allclose(grad, [[-0.5, 0.5]], rtol=1e-15)


def test_labels_that_are_nan_beside_class_weights():
    """The sum of the weights is NaN, and so is all that is divided by it."""
    labels, logits = [[NAN, 0.5], [0.5, 0.5]], [[1.0, 2.0], [0.0, 1.0]]
    loss = fl.CrossEntropy(class_weight=[1, 2])
    value, grad = loss.value_and_grad(labels, logits)
    assert math.isnan(value)
    assert np.isnan(grad).all()
    none = dataclasses.replace(loss, reduction="none")
    losses, grad = none.value_and_grad(labels, logits)
    assert np.isnan(losses).tolist() == [True, False]
    assert np.isnan(grad[0]).all()
    np.testing.assert_allclose(grad[1], none.grad(labels[1:], logits[1:])[0])


# ---------------------------------------------------------------------------------------------
# Sums, single losses, and given denominators


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("case", CASES, ids=str)
@partly_long(1, "dtype", [np.float32, np.float64], ids=["f4", "f8"])
def test_the_scale_of_weights_is_that_of_sums(case, reduction, dtype):
    """Also where the weights of samples and those of classes are far from 1, and their product not.

    What cannot be held is infinite or 0, as a number that is rounded once.
    """
    y_true, y_pred = case.data(dtype)
    weight = weight_for(case)
    by_class = case in CLASSES
    loss = case.reduced(reduction)
    if by_class:
        loss = dataclasses.replace(loss, class_weight=OF_CLASSES)
    # float32 would round the results before they are scaled.
    wide = y_pred.astype(np.float64)
    expected = all_verbs(loss, y_true, wide, sample_weight=weight)
    for of_samples, of_classes, _ in FAR_APART:
        scaled = loss
        of_classes *= by_class
        if by_class:
            scaled = dataclasses.replace(loss, class_weight=np.ldexp(OF_CLASSES, of_classes))
        given = np.ldexp(weight, of_samples)
        actual = all_verbs(scaled, y_true, y_pred, sample_weight=given)
        right = times_power(expected, of_samples + of_classes)
        with np.errstate(over="ignore"):
            right = [r.astype(np.asarray(a).dtype) for a, r in zip(actual, right, strict=True)]
        near(actual, right, 2e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("case", [SQUARED, SOFTMAX, MULTI_MARGIN_ALL], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_denominators_of_any_scale(case, weighted):
    y_true, y_pred = case.data(np.float64)
    by_class = case in CLASSES
    weight = weight_for(case)
    loss = case.loss
    if by_class:
        loss = dataclasses.replace(loss, class_weight=OF_CLASSES)
    options = {"sample_weight": weight} if weighted else {}
    expected = all_verbs(loss, y_true, y_pred, normalizer=3.0, **options)
    for of_samples, of_classes, of_all in FAR_APART:
        of_samples *= weighted
        of_classes *= by_class
        scaled = loss
        if by_class:
            scaled = dataclasses.replace(loss, class_weight=np.ldexp(OF_CLASSES, of_classes))
        if weighted:
            options = {"sample_weight": np.ldexp(weight, of_samples)}
        normalizer = math.ldexp(3.0, of_all)
        actual = all_verbs(scaled, y_true, y_pred, normalizer=normalizer, **options)
        near(actual, times_power(expected, of_samples + of_classes - of_all), 1e-13)


def test_a_gradient_of_0_stays_0_over_next_to_nothing():
    for dtype, normalizer in ((np.float32, 1e-45), (np.float64, 5e-324)):
        y = np.array([1.0, 2.0], dtype)
        grad, hess = fl.mse.grad_hess(y, y, normalizer=normalizer)
        assert grad.tolist() == [0.0, 0.0]
        assert np.isinf(hess).all()


def test_alpha_is_a_factor_at_any_scale():
    """It is no weight: it does not cancel, also beside class weights that do."""
    ids, logits = FOCAL.data(np.float64)
    expected = all_verbs(fl.Focal(alpha=OF_CLASSES, class_weight=OF_CLASSES), ids, logits)
    for of_alpha, of_classes in itertools.product([-900, -60, 60, 900], [-1000, 0, 1000]):
        loss = fl.Focal(
            alpha=np.ldexp(OF_CLASSES, of_alpha), class_weight=np.ldexp(OF_CLASSES, of_classes)
        )
        near(all_verbs(loss, ids, logits), times_power(expected, of_alpha), 1e-14)
    number = all_verbs(fl.Focal(alpha=1.0), ids, logits.astype(np.float32))
    value, grad = fl.Focal(alpha=2.0**-200).value_and_grad(ids, logits.astype(np.float32))
    assert value == math.ldexp(number[0], -200)
    assert not grad.any()  # float32 holds no such number


def test_losses_into_given_memory_at_any_scale():
    ids, logits = SOFTMAX.data()
    plain_losses = fl.CrossEntropy(reduction="none")(ids, logits)
    loss = fl.CrossEntropy(reduction="none", class_weight=[2.0**100] * 5)
    out = np.full(14, 7.0, np.float32)[::2]
    assert loss(ids, logits, out=out) is out
    np.testing.assert_allclose(out, np.ldexp(plain_losses, 100), rtol=1e-6)


# ---------------------------------------------------------------------------------------------
# Elsewhere


@partly_long(2, "exponent", [-1070, 1020, -133, 0, 130])
def test_functions_for_compiled_code(exponent):
    logits = SOFTMAX.data(np.float64)[1]
    weight = np.ldexp(OF_CLASSES, exponent)
    for loss in (fl.CrossEntropy(class_weight=weight), fl.Focal(alpha=weight)):
        functions = loss.jit(5)
        total = dataclasses.replace(loss, reduction="sum")
        for label, row in enumerate(logits[:5]):
            grad = np.empty(5)
            value = functions.value_and_grad(label, row, grad)
            expected, expected_grad = total.value_and_grad([label], row[None])
            assert value == functions.value(label, row) == expected
            np.testing.assert_array_equal(grad, expected_grad[0])


@partly_long(
    2, "of_samples, of_classes", [(0, 0), (1020, -1060), (-1060, 0), (1020, 0), (-1060, 1020)]
)
def test_chunks_of_dask(of_samples, of_classes):
    """Their means are those of one call, also where no chunk's weight is an ordinary number."""
    dask = pytest.importorskip("dask", reason="needs Dask: pip install 'fastloss[dask]'")
    import dask.array as da

    from fastloss import dask as fl_dask

    ids, logits = SOFTMAX.data(np.float64)
    weight = weight_for(SOFTMAX)
    weight[:3] = 0  # a chunk that counts for nothing
    given = np.ldexp(weight, of_samples)
    chunked = da.from_array(logits, chunks=(3, 5))
    of_class = np.ldexp(OF_CLASSES, of_classes)
    with dask.config.set(scheduler="synchronous"):
        for loss, options in itertools.product(
            (
                fl.CrossEntropy(class_weight=of_class),
                fl.Focal(alpha=OF_CLASSES, class_weight=of_class),
            ),
            ({}, {"sample_weight": given}),
        ):
            expected, expected_grad = loss.value_and_grad(ids, logits, **options)
            value = fl_dask.value(loss, ids, chunked, **options).compute()
            again, grad = dask.compute(*fl_dask.value_and_grad(loss, ids, chunked, **options))
            np.testing.assert_allclose([value, again], expected, rtol=1e-15)
            np.testing.assert_allclose(grad, expected_grad, rtol=1e-15)
        nothing = fl.CrossEntropy(class_weight=[0.0] * 5)
        with pytest.warns(RuntimeWarning, match="mean of no samples"):
            value, grad = dask.compute(*fl_dask.value_and_grad(nothing, ids, chunked))
        assert math.isnan(value)
        assert not grad.any()
        with pytest.warns(RuntimeWarning, match="mean of no samples"):
            assert math.isnan(fl_dask.value(nothing, ids, chunked).compute())


def test_no_scale_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in (1e-320, 1e308):
            loss = fl.CrossEntropy(class_weight=[size, size], reduction="none")
            loss.value_and_grad([0], np.float32([[1, 2]]), sample_weight=[size])
            fl.sse.value_and_grad([0.0], [1e200], sample_weight=[size])
