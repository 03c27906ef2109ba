"""Losses called from users' own compiled code: the bits of the verbs, and no memory outside."""

import dataclasses
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from plain import partly_long

import fastloss as fl


def verb(loss, name, *arguments):
    return getattr(dataclasses.replace(loss, reduction="sum"), name)(*arguments)


class NoHessian(fl.ElementwiseLoss):
    def scalar(self, y_true, y_pred):
        r = y_pred - y_true
        return abs(r) ** 3, 3 * r * abs(r)


@partly_long(
    1,
    "loss, dtype",
    [
        (fl.Tweedie(power=1.25), np.float32),
        (NoHessian(), np.float32),
        (fl.BinaryCrossEntropyWithLogits(pos_weight=3.0, label_smoothing=0.2), np.float32),
        (fl.BinaryFocal(gamma=1.5), np.float64),
        (fl.mse, np.float64),
    ],
    ids=str,
)
def test_scalar_has_the_bits_of_the_verbs(loss, dtype):
    rng = np.random.default_rng(3)
    y_true, y_pred = rng.random(200).astype(dtype), rng.normal(scale=5, size=200).astype(dtype)
    scalar = loss.jit(dtype).scalar
    results = np.array([scalar(*pair) for pair in zip(y_true, y_pred, strict=True)])
    losses = dataclasses.replace(loss, reduction="none")(y_true, y_pred)
    np.testing.assert_array_equal(results[:, 0], losses)
    if loss._family.has_hessian:
        grad, hess = verb(loss, "grad_hess", y_true, y_pred)
        np.testing.assert_array_equal(results[:, 2], hess)
    else:
        grad = verb(loss, "grad", y_true, y_pred)
        assert results.shape == (200, 2)
    np.testing.assert_array_equal(results[:, 1], grad)


WEIGHTS = (0.5, 2.0, 0.0, 1.25, 3.0)


@pytest.mark.parametrize(
    ("loss", "n_classes", "dtype", "soft"),
    [
        (
            fl.CrossEntropy(class_weight=WEIGHTS, label_smoothing=0.1, ignore_index=3),
            5,
            np.float32,
            False,
        ),
        (fl.cross_entropy, 300, np.float64, True),
        (fl.cross_entropy, 10_000, np.float32, False),
        (fl.categorical_cross_entropy, 5, np.float64, False),
        (fl.categorical_cross_entropy, 5, np.float32, True),
    ],
)
@pytest.mark.long
def test_rows_have_the_bits_of_the_verbs(loss, n_classes, dtype, soft):
    rng = np.random.default_rng(4)
    y_pred = rng.random((6, n_classes)).astype(dtype)
    labels = rng.random(y_pred.shape).astype(dtype) if soft else np.arange(6) % 5
    functions = loss.jit(n_classes, dtype, soft_labels=soft)
    y_pred.flags.writeable = False
    grad = np.empty(n_classes, dtype)
    for label, row in zip(labels, y_pred, strict=True):
        value, expected = verb(loss, "value_and_grad", label[None], row[None])
        assert functions.value_and_grad(label, row, grad) == value
        np.testing.assert_array_equal(grad, expected[0])
    in_place = y_pred[5].copy()
    assert functions.value_and_grad(labels[5], in_place, in_place) == value
    np.testing.assert_array_equal(in_place, grad)


@pytest.mark.long
def test_inside_a_parallel_loop_of_the_user():
    scalar = fl.Quantile(q=0.9).jit("float32").scalar
    value_and_grad = fl.cross_entropy.jit(10, "float32").value_and_grad

    @numba.njit(parallel=True)
    def both(labels, logits, grads, slopes):
        losses = np.empty(len(labels))
        for i in numba.prange(len(labels)):
            losses[i] = value_and_grad(labels[i], logits[i], grads[i])
            for j in range(logits.shape[1]):
                slopes[i, j] = scalar(np.float32(0.5), logits[i, j])[1]
        return losses

    rng = np.random.default_rng(5)
    logits = rng.normal(size=(500, 10)).astype(np.float32)
    labels = rng.integers(0, 10, 500)
    grads, slopes = np.empty_like(logits), np.empty_like(logits)
    losses = both(labels, logits, grads, slopes)
    np.testing.assert_array_equal(grads, verb(fl.cross_entropy, "grad", labels, logits))
    expected = fl.CrossEntropy(reduction="none")(labels, logits)
    np.testing.assert_array_equal(losses.astype(np.float32), expected)
    halves = np.full_like(logits, 0.5)
    np.testing.assert_array_equal(slopes, verb(fl.Quantile(q=0.9), "grad", halves, logits))


@pytest.mark.parametrize(
    ("loss", "label"),
    [
        (fl.cross_entropy, 5),
        (fl.cross_entropy, -1),
        (fl.CrossEntropy(class_weight=WEIGHTS, ignore_index=-100), 2**62),
        (fl.categorical_cross_entropy, -(2**62)),
    ],
)
@pytest.mark.long
def test_what_is_wrong_is_nan_and_touches_nothing_else(loss, label):
    functions = loss.jit(5)
    row, whole = np.full(5, 0.2), np.full(25, 7.0)
    grad = whole[10:15]
    assert np.isnan(functions.value_and_grad(label, row, grad))
    assert np.isnan(grad).all()
    for y_pred, out in ((row[:4], grad), (row, whole[10:14]), (np.full(6, 0.2), grad)):
        grad[:] = 0.0
        assert np.isnan(functions.value_and_grad(0, y_pred, out))
        assert np.isnan(out).all()
    assert np.isnan(functions.value(label, row))
    assert (whole[:10] == 7.0).all()
    assert (whole[15:] == 7.0).all()


@pytest.mark.long
def test_functions_are_made_once():
    assert fl.mse.jit() is fl.mse.jit()
    assert fl.cross_entropy.jit(5).value is fl.cross_entropy.jit(5).value


def test_wrong_ones():
    with pytest.raises(TypeError, match="dtype is float16, but compiled code knows float32"):
        fl.mse.jit("float16")
    with pytest.raises(TypeError, match="n_classes must be an integer"):
        fl.cross_entropy.jit("float32")
    with pytest.raises(ValueError, match="q has 2 numbers, one for each column"):
        fl.Quantile(q=[0.1, 0.9]).jit()
    with pytest.raises(ValueError, match="class_weight has 5 numbers, but there are 4 classes"):
        fl.CrossEntropy(class_weight=WEIGHTS).jit(4)
    with pytest.raises(ValueError, match="zero classes"):
        fl.cross_entropy.jit(0)


SCRIPT = """
import numba, numpy as np, fastloss as fl
scalar = fl.Huber(delta=2.0).jit().scalar
value = fl.categorical_cross_entropy.jit(3).value

@numba.njit(cache=True)
def total(x):
    loss = value(1, x)
    for i in range(x.size):
        loss += scalar(0.0, x[i])[0]
    return loss

x = np.array([0.5, 0.25, 4.0])
expected = fl.Huber(delta=2.0, reduction="sum")(np.zeros(3), x) - np.log(0.25)
x[2] = 1.0  # probabilities reach to 1
expected += 0.5 - 6.0
assert abs(total(x) - expected) < 1e-12, (total(x), expected)
print(sum(total.stats.cache_hits.values()) if hasattr(total, "stats") else "plain")
"""


@pytest.mark.long
def test_users_function_may_be_cached_and_jit_may_be_off(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def run(**environment):
        return subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            capture_output=True,
            text=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **environment},
        )

    for printed, environment in (("0", {}), ("1", {}), ("plain", {"NUMBA_DISABLE_JIT": "1"})):
        result = run(**environment)
        assert result.stdout.strip() == printed, result.stderr
