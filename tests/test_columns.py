"""Options of one number per column: the losses of the columns, to the last bit."""

import dataclasses
import math
import pickle
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from plain import both, compiled, plain

import fastloss as fl
from fastloss.compiler import jit
from fastloss.kernels.elementwise import BLOCK, TILE

pytestmark = plain


@dataclass(frozen=True)
class Scaled(fl.ElementwiseLoss):
    """A loss of one's own, with a property that is worked out from options, and a whole number."""

    scale: Any = 1.0
    power: int = 2
    halved: bool = False

    derived = ("factor",)

    @property
    def factor(self) -> float:
        return math.sqrt(self.scale) / (2 if self.halved else 1)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = (y_pred - y_true) * self.factor
        slope = 0
        for _ in range(self.power):
            slope += self.factor
        return r * r, slope * r, slope * self.factor


def data(shape, dtype):
    rng = np.random.default_rng(7)
    return rng.random(shape).astype(dtype), rng.normal(scale=2, size=shape).astype(dtype)


def of_columns(loss, names):
    """The losses that have the numbers of one column each."""
    n = len(getattr(loss, names[0]))
    return [
        dataclasses.replace(loss, **{name: getattr(loss, name)[j] for name in names})
        for j in range(n)
    ]


def assert_each_column_is_that_of_its_loss(loss, names, y_true, y_pred):
    losses, grad = loss.value_and_grad(y_true, y_pred)
    for j, alone in enumerate(of_columns(loss, names)):
        value, slope = alone.value_and_grad(y_true[..., j], y_pred[..., j])
        np.testing.assert_array_equal(losses[..., j], value)
        np.testing.assert_array_equal(grad[..., j], slope)


LOSSES = [
    (fl.Quantile(q=(0.1, 0.5, 1), reduction="none"), ["q"]),
    (fl.BinaryCrossEntropyWithLogits((0.5, 3, 2.5), 0.1, reduction="none"), ["pos_weight"]),
    (fl.BinaryFocal((3, 2, 1.5), (0.5, 0.25, 0.75), reduction="none"), ["gamma", "alpha"]),
    (Scaled(scale=(0.5, 2, 3), power=(2, 2, 2), reduction="none"), ["scale", "power"]),
]


@compiled
@pytest.mark.long
@pytest.mark.parametrize(("loss", "names"), LOSSES, ids=str)
def test_columns_are_separate_losses(loss, names):
    # Two blocks, the first of which ends within a row, were it not cut between rows.
    y_true, y_pred = data((BLOCK // 3 + 100, 3), np.float32)
    assert_each_column_is_that_of_its_loss(loss, names, y_true, y_pred)


def test_gradient_and_hessian():
    LOSSES[-1][0].check_gradient()


QUANTILES = fl.Quantile(q=(0.1, 0.5, 0.9), reduction="none")


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_dtypes_layouts_and_leading_axes(dtype):
    y_true, y_pred = data((4, 50, 3), dtype)
    y_pred = np.asfortranarray(y_pred)
    assert_each_column_is_that_of_its_loss(QUANTILES, ["q"], y_true, y_pred)


def test_weights():
    y_true, y_pred = data((4, 50, 3), np.float32)
    weight = np.arange(4.0)
    grad = QUANTILES.grad(y_true, y_pred, sample_weight=weight)
    alone = fl.Quantile(q=0.9, reduction="none")
    each = np.repeat(weight, 50).reshape(4, 50)
    np.testing.assert_array_equal(
        grad[..., 2], alone.grad(y_true[..., 2], y_pred[..., 2], sample_weight=each)
    )


@both("n_columns", [1, TILE - 1, TILE], long=[BLOCK + 1])
def test_any_number_of_columns(n_columns):
    y_true, y_pred = data((5, n_columns), np.float32)
    q = np.linspace(0.1, 0.9, n_columns)
    grad = fl.Quantile(q=q, reduction="none").grad(y_true, y_pred)
    slopes = np.where(y_pred > y_true, 1 - q, -q).astype(np.float32)
    np.testing.assert_array_equal(grad, slopes)


def test_mean_and_sum_are_over_all_elements():
    y_true, y_pred = data((100, 3), np.float64)
    weight = np.linspace(0, 2, 100)
    losses = fl.Quantile(q=(0.1, 0.5, 0.9), reduction="none")(y_true, y_pred)
    assert fl.Quantile(q=(0.1, 0.5, 0.9))(y_true, y_pred) == pytest.approx(losses.mean())
    total = fl.Quantile(q=(0.1, 0.5, 0.9), reduction="sum")(y_true, y_pred)
    assert total == pytest.approx(losses.sum())
    mean = fl.Quantile(q=(0.1, 0.5, 0.9))(y_true, y_pred, sample_weight=weight)
    assert mean == pytest.approx((weight @ losses).sum() / (3 * weight.sum()))


@compiled
@pytest.mark.long
def test_one_truth_for_all_quantiles():
    y_true, y_pred = data((20_000, 3), np.float32)
    one = y_true[:, 0].copy()
    loss = fl.Quantile(q=(0.1, 0.5, 0.9))
    expected = loss.value_and_grad(np.repeat(one[:, None], 3, axis=1), y_pred)
    buffer = y_pred.copy()
    value, grad = loss.value_and_grad(one, buffer, out=buffer)
    assert grad is buffer
    assert value == expected[0]
    np.testing.assert_array_equal(grad, expected[1])
    assert loss(0.5, [0.0, 0.5, 1.0]) == pytest.approx(0.1 / 3)


@pytest.mark.parametrize("q", [0.999, [0.5, 0.999]])
def test_slopes_of_a_high_quantile_keep_their_digits(q):
    """1 - q is that of q itself, and not of q in float32."""
    grad = fl.Quantile(q=q, reduction="sum").grad(np.zeros((1, 2), "f4"), np.ones((1, 2), "f4"))
    assert grad[0, 1] == np.float32(0.001)


@compiled
def test_one_kernel_serves_any_numbers():
    y_true, y_pred = data((10, 3), np.float64)
    fl.Quantile(q=(0.1, 0.5, 0.9))(y_true, y_pred)
    before = sum(jit.counts.values())
    fl.Quantile(q=(0, 1, 0.5))(y_true, y_pred)
    fl.Quantile(q=(0.5, 0.25))(y_true[:, :2], y_pred[:, :2])
    assert sum(jit.counts.values()) == before


def test_the_loss_stays_a_value():
    loss = fl.Quantile(q=[0.1, 1, np.float32(0.5)])
    assert repr(loss) == "Quantile(q=(0.1, 1, 0.5))"
    for other in (fl.Quantile(q=np.array([0.1, 1, 0.5])), pickle.loads(pickle.dumps(loss))):
        assert other == loss
        assert {loss: 1}[other] == 1
    assert dataclasses.replace(loss, reduction="sum").q == (0.1, 1, 0.5)
    assert fl.Quantile(q=np.array(0.5)) == fl.quantile


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 2), (4, 2)), r"q has 3 numbers, but y_pred of shape \(4, 2\) has 2 columns on the"),
        (((), ()), r"q has 3 numbers, but y_pred of shape \(\) has no columns"),
        (((4, 1), (4, 3)), r"y_true has shape \(4, 1\).*nothing is broadcast"),
        (((3,), (4, 3)), r"y_true has shape \(3,\).*nothing is broadcast"),
    ],
)
def test_wrong_shapes(shapes, message):
    y_true, y_pred = (np.zeros(shape) for shape in shapes)
    out = np.full(y_pred.shape, 7.0)
    with pytest.raises(ValueError, match=message):
        fl.Quantile(q=(0.1, 0.5, 0.9)).grad(y_true, y_pred, out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match="nothing is broadcast"):  # that is for several quantiles
        fl.quantile(np.zeros(4), np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fl.Quantile(q=[0.1, 1.5]), ValueError, r"q\[1\] is 1.5, but must be between 0"),
        (lambda: fl.Quantile(q=[0.1, math.nan]), ValueError, r"q\[1\] is nan"),
        (lambda: fl.Quantile(q=[]), ValueError, "q is empty"),
        (lambda: fl.Quantile(q=np.zeros((2, 2))), ValueError, r"q has shape \(2, 2\)"),
        (lambda: fl.Quantile(q=[0.1, "b"]), TypeError, "q must be a number, got list"),
        (lambda: fl.Huber(delta=[1, 0]), ValueError, r"delta\[1\] is 0, but must be positive"),
        (lambda: fl.Tweedie(power=[1.5, 2]), ValueError, r"power\[1\] is 2: use Gamma"),
        (lambda: fl.BinaryFocal([1, 2], [0, 0, 0]), ValueError, "gamma has 2, alpha has 3 numbers"),
        (lambda: fl.CrossEntropy(label_smoothing=(0.1, 0.2)), TypeError, "must be a number"),
    ],
)
def test_wrong_options(make, error, message):
    with pytest.raises(error, match=message):
        make()
