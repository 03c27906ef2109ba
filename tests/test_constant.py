"""The best constant predictions, against minimisation by SciPy and by hand."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from plain import plain
from registry import ELEMENTWISE
from test_hessians import Cauchy

import fastloss as fl

pytestmark = plain

# With predictions that are labels, or between two of them.
KINKED = {"AbsoluteError", "Quantile", "AbsolutePercentageError", "Hinge"}


def total(loss: fl.Loss, y_true: Any, weight: Any) -> Any:
    """The loss of a constant, summed up."""
    loss = dataclasses.replace(loss, reduction="sum")
    ones = np.ones(np.shape(y_true))

    def of(x: Any) -> float:
        return loss(y_true, x * ones, sample_weight=weight)

    return of


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_no_other_number_is_better(case):
    y_true, _ = case.data(np.float64, (31,))
    weight = np.random.default_rng(1).integers(0, 5, 31) / 2
    loss = case.loss
    best = loss.constant(y_true, sample_weight=weight)
    assert type(best) is float
    of = total(loss, y_true, weight)
    low, high = loss.y_pred_range
    bounds = max(low, best - 3), min(high, best + 3)
    found = scipy.optimize.minimize_scalar(
        of, bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    assert of(best) <= found.fun + 1e-13 * abs(found.fun)
    if type(loss).__name__ in KINKED:  # where no number nearby is better
        for step in (1e-6, -1e-6):
            if low <= best + step <= high:
                assert of(best) <= of(best + step) + 1e-12
    else:
        grad = dataclasses.replace(loss, reduction="none").grad(
            y_true, np.full(31, best), sample_weight=weight
        )
        assert abs(grad.sum()) <= 1e-12 * abs(grad).sum() or best in (low, high)
    # Weights count by their ratios, and repeat samples.
    assert loss.constant(y_true, sample_weight=1e200 * weight) == pytest.approx(best, rel=1e-12)
    repeated = np.repeat(y_true, (2 * weight).astype(int))
    assert loss.constant(repeated.tolist()) == pytest.approx(best, rel=1e-9, abs=1e-12)


LARGE = 1e308


@pytest.mark.parametrize(
    "loss", [fl.mse, fl.mae, fl.huber, fl.smooth_l1, fl.log_cosh, fl.fair, fl.mape], ids=str
)
@pytest.mark.parametrize("n", [1, 100])
def test_labels_whose_sums_and_differences_float64_does_not_hold(loss, n):
    assert loss.constant([LARGE, -LARGE] * n) == 0.0
    assert loss.constant([LARGE] * n) == LARGE
    assert loss.constant([1e-310, 3e-310] * n) == pytest.approx(2e-310, rel=1e-9, abs=0)
    assert LARGE <= loss.constant([LARGE, LARGE, 1.7e308] * n) <= 1.7e308


def test_variances_that_float64_does_not_hold():
    assert fl.gaussian_nll.constant([1e150, 3e150]) == pytest.approx([2e150, 1e300])
    of_log = fl.GaussianNLL(log_variance=True)
    for scale in (1e-200, 1.0, 1e200, 1e307):
        found = of_log.constant([scale, 3 * scale])
        assert found == pytest.approx([2 * scale, 2 * math.log(scale)], abs=1e-12)
        if scale != 1:
            with pytest.raises(ValueError, match="best variance is exp.*log_variance=True"):
                fl.gaussian_nll.constant([scale, 3 * scale])


def test_shares_that_float64_rounds_away():
    """With q = 1 nothing may lie above, however little it weighs."""
    for q, y in ((1.0, [1.0, 5.0]), (0.0, [5.0, 1.0])):
        assert fl.Quantile(q=q).constant(y, sample_weight=[1.0, 1e-20]) == y[1]
    assert fl.AbsolutePercentageError(epsilon=1e-310).constant([0.0, 1.0, 2.0]) == 0.0


def test_derivatives_whose_products_float64_does_not_hold():
    @dataclasses.dataclass(frozen=True)
    class Tiny(fl.ElementwiseLoss):
        def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
            r = 1e-200 * (y_pred - y_true)
            return r * (y_pred - y_true) / 2, r if r < 0 else 3 * r

    assert Tiny().constant([0.0, 1.0]) == pytest.approx(0.25, rel=1e-9)


def test_logarithms_that_are_infinite():
    assert fl.msle.constant([-1.0, -1.0]) == -1.0
    assert fl.msle.constant([-1.0, 3.0], sample_weight=[0.0, 1.0]) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="some y_true are -1 and others are not"):
        fl.msle.constant([-1.0, 3.0])


@pytest.mark.parametrize("floor", [-math.inf, -100.0, -3.0, -1.0, -0.5, -0.1])
def test_floored_logarithms(floor):
    """Among all probabilities of a grid."""
    grid = np.linspace(0, 1, 41)
    loss = fl.BinaryCrossEntropy(log_floor=floor, reduction="none")
    for y in ([1.0, 0.0, 1.0], [1.0, 1.0], [0.3, 0.0], [0.5, 0.5], [1, 0, 0, 0, 0, 0, 0]):
        p = np.append(grid, loss.constant(y))
        sums = loss(np.tile(y, (p.size, 1)), np.tile(p[:, None], len(y))).sum(-1)
        assert sums[-1] <= sums.min() + 1e-12
    rows = fl.CategoricalCrossEntropy(log_floor=floor, reduction="sum")
    ids = [0] * 6 + [1] * 4 + [2] + [3]
    best = rows.constant(ids, n_classes=5)
    assert best.sum() == pytest.approx(1.0)
    found = rows(ids, np.tile(best, (12, 1)))
    steps = np.linspace(0, 1, 9)
    for a, b, c in np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3):
        if a + b + c <= 1:
            p = np.array([a, b, c, 1 - a - b - c])
            assert found <= -np.sum([6, 4, 1, 1] * np.maximum(_logs(p), floor)) + 1e-12


def _logs(p: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(p)


def test_one_label_and_booleans():
    assert fl.mse.constant(3.0) == fl.mae.constant(np.float32(3)) == 3.0
    assert fl.mse.constant(3.0, sample_weight=2.0) == 3.0
    assert fl.cross_entropy.constant([True, False]) == pytest.approx([-math.log(2)] * 2)
    for n_classes in (0, -1):
        with pytest.raises(ValueError, match=f"n_classes is {n_classes}, but there is one class"):
            fl.cross_entropy.constant([0], n_classes=n_classes)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_one_axis_of_labels_is_one_truth_for_all_quantiles(n):
    y = np.arange(1.0, n + 1)
    fan = fl.Quantile(q=[0.1, 0.5, 0.9])
    expected = [fl.Quantile(q=q).constant(y) for q in (0.1, 0.5, 0.9)]
    assert fan.constant(y).tolist() == expected
    assert fan.constant(y, sample_weight=np.ones(n)).tolist() == expected
    assert fan.constant(np.stack([y, y, y], 1)).tolist() == expected


def test_known_constants():
    y = np.array([1.0, 2.0, 3.0, 10.0])
    assert fl.mse.constant(y) == 4.0
    assert fl.mae.constant(y) == np.median(y) == 2.5
    assert fl.Quantile(q=0.1).constant(y) == 1.0
    assert fl.Quantile(q=0.25).constant(y) == 1.5
    assert fl.Quantile(q=0).constant(y) == 1.0
    assert fl.Quantile(q=1).constant(y) == 10.0
    assert fl.poisson.constant(y) == fl.gamma.constant(y) == fl.tweedie.constant(y) == math.log(4)
    assert fl.Poisson(log_input=False).constant([0.0, 0.0]) == 0.0
    logits = fl.BinaryCrossEntropyWithLogits
    assert logits().constant([1, 0, 0, 0]) == pytest.approx(-math.log(3), rel=1e-15)
    assert logits(pos_weight=3.0).constant([1, 0, 0, 0]) == pytest.approx(0.0, abs=1e-15)
    assert logits(label_smoothing=0.2).constant([1, 1]) == pytest.approx(math.log(9))
    assert fl.binary_cross_entropy.constant([1, 0, 0, 0]) == 0.25
    assert fl.hinge.constant([1, 1, 0]) == 1.0
    assert fl.hinge.constant([1, 0]) == 0.0
    assert fl.squared_hinge.constant([1, 1, 0]) == pytest.approx(1 / 3)
    assert fl.Huber(delta=1e-3).constant(y) == pytest.approx(2.5, abs=0.6)
    assert fl.huber.constant([5.0]) == 5.0


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_numbers_of_any_size(scale):
    y = scale * np.array([1.0, 2.0, 9.0, 4.0])
    for loss, expected in ((fl.mse, 4.0), (fl.mae, 3.0), (fl.Huber(delta=1e308), 4.0)):
        assert loss.constant(y) == pytest.approx(expected * scale, rel=1e-14)


def test_columns():
    rng = np.random.default_rng(0)
    y, weight = rng.normal(size=(7, 3)), rng.integers(1, 4, 7)
    each = fl.huber.constant(y, sample_weight=weight)
    assert each.shape == (3,)
    for j in range(3):
        assert each[j] == fl.huber.constant(y[:, j], sample_weight=weight)
    fan = fl.Quantile(q=[0.1, 0.5, 0.9])
    assert (
        fan.constant(y[:, 0]).tolist()
        == np.quantile(y[:, 0], fan.q, method="inverted_cdf").tolist()
    )
    other = fan.constant(y)
    assert other[1] == np.median(y[:, 1])
    np.testing.assert_array_equal(fl.mse.constant(y.reshape(7, 1, 3)), fl.mse.constant(y))
    whole = np.repeat(weight[:, None], 3, axis=1) * [1, 2, 0.5]
    np.testing.assert_allclose(
        fl.mse.constant(y, sample_weight=whole), fl.mse.constant(y, sample_weight=weight)
    )


def test_losses_of_users():
    y = np.array([0.0, 0.1, 0.2, 50.0])
    best = Cauchy().constant(y)
    found = scipy.optimize.minimize_scalar(
        total(Cauchy(), y, None), bounds=(-1, 1), method="bounded"
    )
    assert best == pytest.approx(found.x, abs=1e-5)


# ---------------------------------------------------------------------------------------------
# Softmax

IDS = np.array([0, 1, 1, 2, 4, 3, 0, 1, 4, 1, 2, 2, 2])
SOFTMAXES = [
    fl.cross_entropy,
    fl.CrossEntropy(class_weight=(0.5, 2.0, 1.5, 1.25, 3.0), label_smoothing=0.2),
    fl.CrossEntropy(ignore_index=4, class_mask=(True, True, True, True, False)),
    fl.CrossEntropy(temperature=2.0, z_loss=0.1),
    fl.CrossEntropy(softcap=1.5, temperature=0.5),
    fl.focal,
    fl.Focal(gamma=0.5, alpha=(1.0, 0.5, 2.0, 4.0, 0.25)),
    fl.generalized_cross_entropy,
    fl.poly_cross_entropy,
    fl.PolyCrossEntropy(epsilon=-0.9),
]


@pytest.mark.parametrize("loss", SOFTMAXES, ids=repr)
def test_logits(loss):
    weight = np.random.default_rng(0).integers(1, 5, IDS.size) / 4
    best = loss.constant(IDS, sample_weight=weight)
    of = dataclasses.replace(loss, reduction="none")
    grad = of.grad(IDS, np.tile(best, (IDS.size, 1)), sample_weight=weight)
    np.testing.assert_allclose(grad.sum(axis=0), 0, atol=1e-12)
    for seed in range(3):  # and it is no other place where derivatives are 0
        near = best + np.random.default_rng(seed).normal(size=5) / 3
        rows = (np.tile(x, (IDS.size, 1)) for x in (best, near))
        here, there = (of(IDS, x, sample_weight=weight).sum() for x in rows)
        assert here < there


EXTREME = (1e300, 1e-300)


@pytest.mark.parametrize(
    "loss",
    [
        fl.CrossEntropy(class_weight=EXTREME),
        fl.CrossEntropy(class_weight=(1.0, 5e-324, 0.0), class_mask=(True, True, False)),
        fl.CrossEntropy(class_weight=EXTREME, label_smoothing=0.1, temperature=2.0),
        fl.Focal(alpha=EXTREME, class_weight=EXTREME[::-1]),
        fl.GeneralizedCrossEntropy(q=0.1, class_weight=EXTREME),
        fl.PolyCrossEntropy(class_weight=EXTREME[::-1]),
    ],
    ids=repr,
)
def test_weights_of_classes_whose_ratio_float64_does_not_hold(loss):
    """The loss of a class times its weight falls with its probability as fast as that of others."""
    n_classes = len(loss.class_weight or EXTREME)
    found = loss.constant([0, 0, 1], n_classes=n_classes)[:2]
    log_p = found / loss.temperature
    log_p = log_p - np.logaddexp.reduce(log_p)
    assert np.all(np.isfinite(found))
    smoothing = getattr(loss, "label_smoothing", 0.0)
    logs = np.log((1 - smoothing) * np.array([2.0, 1.0]) + smoothing * 3 / 2)
    for weight in (loss.class_weight, getattr(loss, "alpha", None)):
        logs += 0 if weight is None else np.log(weight[:2])
    slope = 1.0 if loss.link is None else np.array([loss.link(-x)[1] for x in log_p])
    slopes = logs + np.log(slope) - log_p
    assert slopes[0] == pytest.approx(slopes[1], abs=1e-9)


def test_shares():
    expected = np.log(np.bincount(IDS) / IDS.size)
    found = fl.cross_entropy.constant(IDS)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    one_hot = (IDS[:, None] == np.arange(5)).astype(np.float32)
    np.testing.assert_allclose(fl.cross_entropy.constant(one_hot), expected, rtol=1e-15)
    pair = np.stack([IDS, (IDS + 1) % 5], axis=1), np.tile([1.0, 0.0], (IDS.size, 1))
    np.testing.assert_allclose(fl.cross_entropy.constant(pair), expected, rtol=1e-15)
    np.testing.assert_allclose(fl.categorical_cross_entropy.constant(IDS), np.exp(expected))
    assert fl.categorical_cross_entropy.constant([0, 1], n_classes=3).tolist() == [0.5, 0.5, 0.0]
    np.testing.assert_allclose(
        fl.CrossEntropy(label_smoothing=0.5).constant([0, 0], n_classes=2),
        np.log([0.75, 0.25]),
    )
    ignoring = fl.CrossEntropy(ignore_index=-1)
    np.testing.assert_allclose(ignoring.constant([-1, 0, 1, -1, 1]), np.log([1 / 3, 2 / 3]))
    logits = np.log([[0.5, 0.5], [0.1, 0.9]])
    np.testing.assert_allclose(
        fl.KLDivergence(from_logits=True).constant(logits + 7), np.log([0.3, 0.7])
    )
    np.testing.assert_allclose(fl.KLDivergence(log_target=True).constant(logits), [0.3, 0.7])
    y = np.array([1.0, 2.0, 6.0])
    mean, variance = fl.gaussian_nll.constant(y)
    assert (mean, variance) == (3.0, pytest.approx(14 / 3))
    assert fl.GaussianNLL(log_variance=True).constant(y)[1] == pytest.approx(math.log(14 / 3))


# ---------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize(
    ("loss", "labels", "why"),
    [
        (fl.binary_cross_entropy_with_logits, [1, 1], "one kind .* is inf .* start from 0"),
        (fl.binary_cross_entropy_with_logits, [0, 0], "one kind .* is -inf"),
        (fl.exponential, [1.0], "is inf"),
        (fl.binary_focal, [0.0], "is -inf"),
        (fl.poisson, [0, 0], "all amounts that count are 0, .* -inf"),
        (fl.Gamma(log_input=False), [0.0], "all amounts"),
        (fl.cross_entropy, [0, 2], "no label that counts is of class 1, .* -inf"),
        (fl.CrossEntropy(softcap=0.1), [0, 0, 0, 1], "no such shares"),
        (fl.GeneralizedCrossEntropy(q=1), [0, 0, 1], "outweighs"),
        (fl.gaussian_nll, [2.0, 2.0], "all y_true that count are the same"),
        (fl.mse, [], "no rows"),
        (fl.mse, [1.0, np.nan], r"y_true\[1\] is nan, and no constant .* sample_weight 0"),
        (fl.mse, [1.0, -np.inf], r"y_true\[1\] is -inf"),
        (fl.poisson, [1.0, -1.0], r"y_true\[1\] is -1.0, but this loss takes 0 and more"),
        (fl.hinge, [1.0, -1.0], r"write \(np.asarray\(y_true\) \+ 1\) / 2"),
        (
            fl.cross_entropy,
            [0, -1],
            r"labels\[1\] is -1, but class ids go from 0 to 0.*ignore_index",
        ),
        (fl.Quantile(q=[0.1, 0.9]), [[1.0, np.nan]], r"y_true\[0, 1\] is nan"),
    ],
)
def test_where_no_constant_is_the_best(loss, labels, why):
    with pytest.raises(ValueError, match=why):
        loss.constant(labels)


def test_other_errors():
    with pytest.raises(ValueError, match="all are ignored or of weight 0"):
        fl.mse.constant([1.0, 2.0], sample_weight=[0, 0])
    with pytest.raises(ValueError, match="column 1: no constant"):
        fl.mse.constant(np.ones((2, 2)), sample_weight=[[1, 0], [1, 0]])
    with pytest.raises(ValueError, match=r"sample_weight\[1\] is -1"):
        fl.mse.constant([1.0, 2.0], sample_weight=[1, -1])
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\)"):
        fl.mse.constant([1.0, 2.0], sample_weight=[1, 1, 1])
    with pytest.raises(ValueError, match="pos_weight has 2 numbers"):
        fl.BinaryCrossEntropyWithLogits(pos_weight=[1.0, 2.0]).constant([1, 0, 1])
    with pytest.raises(TypeError, match="class ids of shape"):
        fl.cross_entropy.constant([0.0, 1.0])
    with pytest.raises(ValueError, match="class_weight has 2 numbers"):
        fl.CrossEntropy(class_weight=(1, 2)).constant([0, 1], n_classes=3)
    with pytest.raises(TypeError, match="best constant of Dice is not known: start from 0"):
        fl.dice.constant([[0.0]])
    # What has no weight may be anything.
    assert fl.mse.constant([np.nan, 2.0], sample_weight=[0, 1]) == 2.0
    with pytest.raises(ValueError, match="falls for ever"):
        Falling().constant([1.0])


@dataclasses.dataclass(frozen=True)
class Falling(fl.ElementwiseLoss):
    def scalar(self, y_true, y_pred):
        return -y_pred, -1
