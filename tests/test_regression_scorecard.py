"""`fl.RegressionScorecard`, held against the formulas, scikit-learn, SciPy and mpmath."""

import json
import math
import warnings

import ml_dtypes
import mpmath
import numpy as np
import pytest
from plain import compiled, plain, plain_python
from scipy.stats import pearsonr
from sklearn import metrics

import fastloss as fl
from fastloss.evaluation.report import task_page
from fastloss.evaluation.sums import error_sums
from fastloss.evaluation.sums.state import with_checksums

pytestmark = plain

MEANS = ("bias", "mse", "rmse", "mae", "mape", "smape", "wape")
ERRORS = tuple(f"{name}_standard_error" for name in ("bias", "mse", "rmse", "mae"))
SHARES = ("r2", "explained_variance", "pearson", "concordance")


def data(n=700, k=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = n if k is None else (n, k)
    y = rng.gamma(2.0, 3.0, shape)
    return y, y * rng.gamma(9.0, 1 / 9, shape) + 0.1


def evaluate(y, p, **options):
    return fl.evaluate(y, p, task="regression", **options)


def by_formula(y, p, w=None):
    """The numbers of one column, in float64."""
    w = np.ones(len(y)) if w is None else w
    e, n, total = p - y, np.count_nonzero(w), w.sum()

    def mean(x):
        return (w * x).sum() / total

    def error(x):
        return math.sqrt(n / (n - 1) * (w**2 * (x - mean(x)) ** 2).sum()) / total

    covariance = mean((y - mean(y)) * (p - mean(p)))
    of_y, of_p = (mean((x - mean(x)) ** 2) for x in (y, p))
    both = abs(y) + abs(p)
    return {
        "bias": mean(e),
        "bias_standard_error": error(e),
        "mse": mean(e * e),
        "mse_standard_error": error(e * e),
        "rmse": math.sqrt(mean(e * e)),
        "rmse_standard_error": error(e * e) / (2 * math.sqrt(mean(e * e))),
        "mae": mean(abs(e)),
        "mae_standard_error": error(abs(e)),
        "maximum_error": abs(e[w > 0]).max(),
        "mape": (w * abs(e))[y != 0] @ (1 / abs(y[y != 0])) / w[y != 0].sum(),
        "smape": mean(np.where(both > 0, 2 * abs(e) / np.where(both > 0, both, 1), 0)),
        "wape": (w * abs(e)).sum() / (w * abs(y)).sum(),
        "r2": 1 - mean(e * e) / of_y,
        "explained_variance": 1 - mean((e - mean(e)) ** 2) / of_y,
        "pearson": covariance / math.sqrt(of_y * of_p),
        "concordance": 2 * covariance / (of_y + of_p + mean(e) ** 2),
    }


def assert_same(scores, other, rtol=1e-15, names=MEANS + ERRORS + SHARES):
    """What any split must agree on; of 1 - ratio and of correlations, digits of 1 count."""
    assert scores.n_rows == other.n_rows
    assert scores.n_counted == other.n_counted
    assert scores.maximum_error == other.maximum_error
    for name in names:
        ours, its = getattr(scores, name), getattr(other, name)
        assert ours == pytest.approx(its, rel=rtol, abs=rtol if name in SHARES else 0), name


# -------------------------------------------------------------------------------------------------
# The numbers


def test_by_hand():
    scores = evaluate([1.0, 2.0, 0.0, -1.0], [2.0, 2.0, 0.0, -3.0])
    # Errors 1, 0, 0, -2.
    assert scores.bias == -0.25
    assert scores.mse == 1.25
    assert scores.mae == 0.75
    assert scores.rmse == math.sqrt(1.25)
    assert scores.bias_standard_error == pytest.approx(math.sqrt(4.75 / 3 / 4), rel=1e-15)
    assert scores.mae_standard_error == pytest.approx(math.sqrt(2.75 / 3 / 4), rel=1e-15)
    assert scores.maximum_error == 2.0
    assert scores.mape == pytest.approx((1 + 0 + 2) / 3, rel=1e-15)
    assert scores.n_zero_labels == 1
    assert scores.smape == pytest.approx((2 / 3 + 0 + 0 + 4 / 4) / 4, rel=1e-15)
    assert scores.wape == 0.75
    # Labels have the mean 0.5 and squares of 5, so that 5 - 4 * 0.25 are left: R2 is 0.
    assert scores.r2 == pytest.approx(0.0, abs=1e-15)
    assert scores.explained_variance == pytest.approx(1 - 4.75 / 5, rel=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
def test_numbers_are_those_of_the_formulas(weighted):
    y, p = data(400)
    y[::9] = 0.0
    p[::18] = 0.0
    w = np.random.default_rng(1).gamma(1.0, 1.0, len(y)) if weighted else None
    if weighted:
        w[3::7] = 0
    scores = evaluate(y, p, sample_weight=w)
    for name, value in by_formula(y, p, w).items():
        assert getattr(scores, name) == pytest.approx(value, rel=1e-13, abs=1e-15), name
    assert scores.n_zero_labels == np.count_nonzero((y == 0) & (True if w is None else w > 0))
    assert scores.weight == pytest.approx(len(y) if w is None else w.sum(), rel=1e-14)


@pytest.mark.parametrize("k", [None, 3])
def test_numbers_are_those_of_scikit_learn_and_scipy(k):
    y, p = data(100, k)
    w = np.random.default_rng(2).random(len(y))
    deviances = ["poisson", "gamma", ("tweedie", 1.5), ("tweedie", -1), ("tweedie", 3)]
    scores = evaluate(y, p, sample_weight=w, rmsle=True, deviance=deviances)
    for name, function in {
        "mse": metrics.mean_squared_error,
        "rmse": metrics.root_mean_squared_error,
        "mae": metrics.mean_absolute_error,
        "rmsle": metrics.root_mean_squared_log_error,
        "mape": metrics.mean_absolute_percentage_error,
        "r2": metrics.r2_score,
        "explained_variance": metrics.explained_variance_score,
    }.items():
        value = function(y, p, sample_weight=w)
        assert getattr(scores, name) == pytest.approx(value, rel=1e-12), name
        if k:
            each = function(y, p, sample_weight=w, multioutput="raw_values")
            np.testing.assert_allclose(getattr(scores.by_column, name), each, rtol=1e-12)
    columns = [(y, p)] if k is None else list(zip(y.T, p.T, strict=True))
    powers = [1, 2, 1.5, -1, 3]
    assert list(scores.deviance) == [
        "poisson",
        "gamma",
        "tweedie 1.5",
        "tweedie -1",
        "tweedie 3",
    ]
    for name, power in zip(scores.deviance, powers, strict=True):
        each = [
            (
                metrics.mean_tweedie_deviance(a, b, sample_weight=w, power=power),
                metrics.d2_tweedie_score(a, b, sample_weight=w, power=power),
            )
            for a, b in columns
        ]
        deviance, d2 = np.mean(each, axis=0)
        assert scores.deviance[name] == pytest.approx(deviance, rel=1e-11), name
        assert scores.d2[name] == pytest.approx(d2, rel=1e-11), name
    if k is None:
        unweighted = evaluate(y, p)
        assert unweighted.pearson == pytest.approx(pearsonr(y, p).statistic, rel=1e-12)
        assert unweighted.maximum_error == metrics.max_error(y, p)
    else:
        assert scores.maximum_error == abs(p - y).max()
        assert evaluate(y[:, 1], p[:, 1], sample_weight=w).r2 == scores.by_column.r2[1]


def exact(y, p, w):
    """R2, explained variance, correlations, bias and its error, to 60 digits."""
    with mpmath.workdps(60):
        y, p, w = ([mpmath.mpf(float(x)) for x in each] for each in (y, p, w))
        n, total = len(y), mpmath.fsum(w)

        def mean(x):
            return mpmath.fsum(a * b for a, b in zip(w, x, strict=True)) / total

        def about(x, z):
            m, k = mean(x), mean(z)
            return mean([(a - m) * (b - k) for a, b in zip(x, z, strict=True)])

        e = [b - a for a, b in zip(y, p, strict=True)]
        bias, covariance, of_y, of_p = mean(e), about(y, p), about(y, y), about(p, p)
        squares = mpmath.fsum((a * (b - bias)) ** 2 for a, b in zip(w, e, strict=True))
        found = {
            "bias": bias,
            "bias_standard_error": mpmath.sqrt(squares * n / (n - 1)) / total,
            "mse": mean([x * x for x in e]),
            "r2": 1 - mean([x * x for x in e]) / of_y,
            "explained_variance": 1 - about(e, e) / of_y,
            "pearson": covariance / mpmath.sqrt(of_y * of_p),
            "concordance": 2 * covariance / (of_y + of_p + bias**2),
        }
        return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("outlier", [False, True])
def test_nothing_cancels(weighted, parts, outlier):
    """Numbers of 1e8 that differ by 1e-3, and with a first one that is far from all others."""
    rng = np.random.default_rng(3)
    y = 1e8 + rng.standard_normal(600) * 1e-3
    p = y + rng.standard_normal(600) * 1e-3 + 1e-5
    if outlier:
        y[0], p[0] = 0.0, 1e5
    w = rng.gamma(1.0, 1.0, 600) if weighted else np.ones(600)
    card = fl.RegressionScorecard()
    for part in np.array_split(np.arange(600), parts):
        card.merge(
            fl.RegressionScorecard().update(
                y[part], p[part], sample_weight=w[part] if weighted else None
            )
        )
    scores = card.result()
    for name, value in exact(y, p, w).items():
        assert getattr(scores, name) == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize(
    "case",
    ["errors", "sizes", "squares", "labels", "predictions", "shrunk", "huge", "tiny", "biased"],
)
def test_moments_far_smaller_than_the_sums_they_follow_from(case):
    """Rows that no sums about 0 tell: each has something that hardly differs, or cannot be held."""
    rng, k = np.random.default_rng(11), np.arange(90)
    # Of so few bits, that no error is rounded.
    y, noise = np.rint(rng.standard_normal((2, 90)) * 2**12) * 2.0**-12
    side = np.where(noise > 0, 1, -1)
    p = {
        "errors": y + 2**10 + 2.0**-14 * noise,
        "sizes": y + side * (1 + 2.0**-24 * k),
        "squares": y + side * (3 + 2.0**-30 * k),
        "labels": 2**20 + noise,
        "predictions": 2**20 + 2.0**-10 * noise,
        "shrunk": 2.0**-30 * noise,
        "huge": (y + noise) * 2.0**300,
        "tiny": (y + noise) * 2.0**-200,
        "biased": y - 50,
    }[case]
    y = {"labels": 2**20 + 2.0**-10 * y, "huge": 2.0**300 * y, "tiny": 2.0**-200 * y}.get(case, y)
    scores, w = evaluate(y, p), np.ones(90)
    for name, value in exact(y, p, w).items():
        tolerance = 1e-15 if name in SHARES else 0
        assert getattr(scores, name) == pytest.approx(value, rel=1e-12, abs=tolerance), name
    assert_same(evaluate(y, p, sample_weight=w), scores, rtol=1e-13)


def test_a_bias_far_below_the_errors():
    """The sum of errors is exact, whatever their order."""
    rng = np.random.default_rng(4)
    e = rng.standard_normal(500) * 10.0 ** rng.integers(-8, 8, 500)
    e = np.concatenate([e, -e, [1e-9]])
    rng.shuffle(e)
    assert evaluate(np.zeros(1001), e).bias == pytest.approx(1e-9 / 1001, rel=1e-14)


def test_deviances_of_predictions_that_are_nearly_right():
    y = np.array([0.5, 3.0, 1e4])
    p = y * (1 + np.array([1e-7, -1e-6, 1e-5]))
    for name, deviance in {
        "poisson": lambda a, b: 2 * (a * mpmath.log(a / b) - a + b),
        "gamma": lambda a, b: 2 * (mpmath.log(b / a) + a / b - 1),
    }.items():
        with mpmath.workdps(60):
            pairs = [(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(y, p, strict=True)]
            expected = float(sum(deviance(*pair) for pair in pairs) / 3)
        # Of p - y, the relative error of which is 1e-16 / 1e-7.
        assert evaluate(y, p, deviance=name).deviance[name] == pytest.approx(expected, rel=1e-8)


def test_d2_of_labels_that_differ_little():
    rng = np.random.default_rng(0)
    deviances = ["poisson", "gamma", ("tweedie", 1.5), ("tweedie", 3.0)]
    for spread in (0.1, 1e-3, 1e-6, 1e-9, 1e-12):
        y, p = 1e3 * (1 + spread * rng.normal(size=(2, 30)))
        found = evaluate(y, p, deviance=deviances, groups=y > 0)
        with mpmath.workdps(60):
            labels, predictions = ([mpmath.mpf(float(x)) for x in each] for each in (y, p))
            mean = mpmath.fsum(labels) / 30
            of_deviances = (
                lambda a, b: a * mpmath.log(a / b) - a + b,
                lambda a, b: mpmath.log(b / a) + a / b - 1,
                lambda a, b: -4 * mpmath.sqrt(a) + 2 * a / mpmath.sqrt(b) + 2 * mpmath.sqrt(b),
                lambda a, b: 1 / (2 * a) + a / (2 * b * b) - 1 / b,
            )
            for name, deviance in zip(found.d2, of_deviances, strict=True):
                pairs = zip(labels, predictions, strict=True)
                of_mean = mpmath.fsum(deviance(a, mean) for a in labels)
                expected = float(mpmath.fsum(deviance(a, b) for a, b in pairs) / of_mean)
                for d2 in (found.d2[name], found.groups.d2[name][0]):
                    assert 1 - d2 == pytest.approx(expected, rel=1e-10), (name, spread)
    for value in (0.1, 3.0):
        y, w = np.full(60, value), rng.gamma(1.0, 1.0, 60)
        for p in (y, y + 1):
            for finite in (False, True):
                scores = evaluate(
                    y, p, deviance=deviances, sample_weight=w, force_finite=finite, groups=y > 0
                )
                expected = float(p is y) if finite else math.nan
                for found in (scores.d2, scores.groups.d2):
                    np.testing.assert_array_equal(np.ravel(list(found.values())), [expected] * 4)


def test_powers_have_a_name_each():
    scores = evaluate([1.0, 2.0], [2.0, 1.5], deviance=[("tweedie", 1.5), ("tweedie", 1.5000001)])
    assert list(scores.deviance) == ["tweedie 1.5", "tweedie 1.5000001"]


def test_what_overflows_is_not_known():
    y = np.array([1e154, -1e154, 1e154, -1e154])
    scores = evaluate(y, y * 0.5)
    for name in ("r2", "explained_variance"):
        assert math.isnan(getattr(scores, name))


def test_the_median_error():
    y, p = data(301, 2)
    card = fl.RegressionScorecard(median=True)
    for start in range(0, 301, 90):
        card.update(y[start : start + 90], p[start : start + 90])
    again = fl.RegressionScorecard.from_state(card.state(), median=True)
    medians = np.median(abs(p - y), axis=0)
    np.testing.assert_array_equal(again.result().by_column.median_absolute_error, medians)
    assert card.result().median_absolute_error == medians.mean()
    value = metrics.median_absolute_error(y, p)
    assert card.result().median_absolute_error == pytest.approx(value, rel=1e-15)
    assert "median" in repr(card.result())
    w = np.random.default_rng(10).integers(0, 3, 301)
    weighted = evaluate(y[:, 0], p[:, 0], median=True, sample_weight=w).median_absolute_error
    assert weighted == np.median(abs(p - y)[:, 0].repeat(w))
    assert math.isnan(evaluate([1.0], [math.nan], median=True).median_absolute_error)
    assert math.isnan(evaluate(y, p).median_absolute_error)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_median_error_in_fixed_memory(weighted):
    y, p = data(200)
    y[::3] = p[::3] + 2.0**-4 * (1 - 2.0**-40)  # which a float32 would round to the next bin
    w = np.random.default_rng(13).integers(0, 3, 200) if weighted else None
    for bins in (2**8, 2**20):
        cards = [
            fl.RegressionScorecard(median=True, bins=bins).update(
                y[part], p[part], sample_weight=None if w is None else w[part]
            )
            for part in np.array_split(np.arange(200), 3)
        ]
        card = cards[0].merge(cards[1]).merge(cards[2])
        again = fl.RegressionScorecard.from_state(card.state(), median=True, bins=bins)
        scores, e = again.result(), abs(p - y)
        median = np.median(e if w is None else e.repeat(w))
        low, high = scores.median_absolute_error_low, scores.median_absolute_error_high
        assert low <= median <= high
        assert low < scores.median_absolute_error < high
        assert high - low <= high * (2.0**-11 if bins == 2**20 else 1.0)
    assert f"({low:.6g} to {high:.6g})" in repr(scores)
    exactly = evaluate(y, p, median=True)
    assert exactly.median_absolute_error_low == exactly.median_absolute_error_high
    infinite = evaluate([1.0], [math.inf], median=True, bins=2**20)
    assert infinite.median_absolute_error == infinite.median_absolute_error_high == math.inf
    with pytest.raises(ValueError, match="other has other options: .* bins is"):
        card.merge(fl.RegressionScorecard(median=True))
    for options, message in (({"bins": 3}, "power of two"), ({"bins": 256}, "give median=True")):
        with pytest.raises(ValueError, match=message):
            fl.RegressionScorecard(**{"median": "median" not in message, **options})


# -------------------------------------------------------------------------------------------------
# Quantiles


def test_quantiles():
    y, _ = data(60)
    rng = np.random.default_rng(5)
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    p = np.sort(rng.gamma(2.0, 3.0, (60, 5)), axis=1)
    p[:30] = p[:30, ::-1]
    w = rng.random(60)
    scores = evaluate(y, p, quantiles=quantiles, sample_weight=w)
    fan = scores.quantiles
    total = w.sum()
    for i, q in enumerate(quantiles):
        expected = metrics.mean_pinball_loss(y, p[:, i], sample_weight=w, alpha=q)
        assert fan.pinball[i] == pytest.approx(expected, rel=1e-12)
        assert fan.coverage[i] == pytest.approx(w @ (y <= p[:, i]) / total, rel=1e-12)
    assert fan.crossing == pytest.approx(w[:30].sum() / total, rel=1e-12)
    np.testing.assert_allclose(fan.level, [0.9, 0.5], rtol=1e-15)
    for i, (lower, upper) in enumerate([(p[:, 0], p[:, 4]), (p[:, 1], p[:, 3])]):
        alpha = 1 - fan.level[i]
        winkler = (upper - lower) + 2 / alpha * (
            np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
        )
        assert fan.winkler[i] == pytest.approx(w @ winkler / total, rel=1e-12)
        assert fan.width[i] == pytest.approx(w @ (upper - lower) / total, rel=1e-12)
        inside = (lower <= y) & (y <= upper)
        assert fan.interval_coverage[i] == pytest.approx(w @ inside / total, rel=1e-12)
    # Errors are those of the median.
    assert scores.mse == evaluate(y, p[:, 2], sample_weight=w).mse
    # The score of an interval is that of its quantiles, and so is that of a column of many.
    assert fan.winkler[0] == pytest.approx((fan.pinball[0] + fan.pinball[4]) / 0.05, rel=1e-12)
    columns = evaluate(
        np.stack([y, y], 1), np.stack([p, p], 1), quantiles=quantiles, sample_weight=w
    )
    np.testing.assert_array_equal(columns.quantiles.pinball, fan.pinball)
    assert columns.by_column.quantiles.pinball.shape == (2, 5)


@pytest.mark.parametrize("weighted", [False, True])
def test_histograms(weighted):
    y, p = data(300)
    y[7], p[9] = math.nan, math.inf
    w = np.random.default_rng(14).integers(0, 3, 300) if weighted else None
    card = fl.RegressionScorecard(histograms=True)
    for part in np.array_split(np.arange(300), 3):
        card.update(y[part], p[part], sample_weight=None if w is None else 1e200 * w[part])
    again = fl.RegressionScorecard.from_state(card.state(), histograms=True)
    found = again.result().histograms
    n = np.ones(300) if w is None else 1e200 * w
    e = p - y
    for edges, numbers, weights in (
        (found.error_edges, (e,), found.error_weight),
        (np.hstack([found.prediction_edges, found.label_edges]), (p, y), found.pair_weight),
    ):
        assert weights.sum() == pytest.approx(n.sum() - n[7], rel=1e-14)
        for k in range(len(weights)):
            inside = np.ones(300, bool)
            for j, each in enumerate(numbers):
                low, high = edges[k, 2 * j : 2 * j + 2]
                # Bins of negative numbers have their other end.
                closed = low >= 0
                inside &= low <= each if closed else low < each
                inside &= each < high if closed else each <= high
                inside |= (each == math.inf) & (high == math.inf)
            assert weights[k] == pytest.approx(n[inside].sum(), rel=1e-14)
    page = task_page.page("regression", again.result(), [], True)
    assert "histogram of prediction - label" in page
    assert "label over prediction" in page
    columns = evaluate(np.ones((2, 2)), np.ones((2, 2)), histograms=True)
    assert columns.histograms is None
    same = evaluate([0.0, 0.0], [0.0, 0.0], histograms=True)
    edges, shares = same.histograms.of_errors(4)
    assert shares.sum() == pytest.approx(1.0)
    assert json.loads(json.dumps(same.to_dict()))["histograms"]["error_weight"] == [2.0]
    for far in 1e300, -1e300, math.inf:  # beyond the bins
        beyond = evaluate([-far] * 2, [far] * 2, histograms=True)
        assert "histogram of prediction" in task_page.page("regression", beyond, [], True)


def test_pictures_of_quantiles():
    fan = [[0.0, 2.0], [0.0, 1.0]]
    page = task_page.page("regression", evaluate([1.0, 2.0], fan, quantiles=[0.25, 0.75]), [], True)
    for title in ("Calibration of quantiles", "Coverage of intervals"):
        assert f"<h2>{title}</h2>" in page
    for tip in ("0.25: 0 ", "0.75: 0.5 ", "0.5: 0.5 "):
        assert f"<title>{tip}" in page
    assert "<svg" not in task_page.page("regression", evaluate([1.0], [2.0]), [], True)


def test_quantiles_without_the_median_have_no_errors():
    scores = evaluate([1.0, 2.0], [[0.0, 2.0], [0.0, 1.0]], quantiles=[0.25, 0.75])
    assert math.isnan(scores.mse)
    assert "MSE" not in repr(scores)
    np.testing.assert_array_equal(scores.quantiles.interval_coverage, [0.5])
    np.testing.assert_array_equal(scores.quantiles.winkler, [(2.0 + 1.0 + 4.0) / 2])


# -------------------------------------------------------------------------------------------------
# Parts of a whole


def test_rows_are_sorted_by_their_groups():
    for step in (1, 70_000, 10**15, 2**62):
        groups = np.random.default_rng(12).integers(-2, 2, 50) * step
        order = error_sums._order_of(groups)
        np.testing.assert_array_equal(order, np.argsort(groups, kind="stable"))


def test_groups_that_are_names():
    y, p = data(40)
    names = np.array(["b", "a"])[np.arange(40) % 2]
    w = np.where(names == "a", 0.0, 1.0)  # a group of which no row counts
    card = fl.RegressionScorecard().update(y, p, groups=names, sample_weight=w)
    again = fl.RegressionScorecard.from_state(card.state())
    groups = again.merge(fl.RegressionScorecard().update(y, p, groups=names)).result().groups
    assert groups.ids.tolist() == ["a", "b"]
    assert groups.n.tolist() == [20, 40]
    assert card.result().groups.n.tolist() == [0, 20]
    assert math.isnan(card.result().groups.mse[0])
    assert groups.mse[1] == pytest.approx(card.result().mse, rel=1e-15)
    with pytest.raises(ValueError, match="groups are integers, but names"):
        again.update(y, p, groups=np.arange(40))


def test_rows_with_and_without_groups():
    y, p = data(30)
    card = fl.RegressionScorecard().update(y[:20], p[:20])
    card.update(y[20:], p[20:], groups=np.zeros(10, int))
    assert_same(card.result(), evaluate(y, p))
    assert card.result().groups.n.tolist() == [10]


# -------------------------------------------------------------------------------------------------
# Weights


def test_the_largest_weights_beside_the_largest_errors():
    y, p, w = (np.array(each) for each in ([1.0, -1.0, 3.0], [2.0, 1.0, 3.0], [1.0, 2.0, 0.5]))
    expected = by_formula(y, p, w)
    for weight in (2.0**-1000, 2.0**1020):
        scores = evaluate(y * 2.0**500, p * 2.0**500, sample_weight=w * weight)
        for name in ("bias", "mae", "rmse", "maximum_error"):
            assert getattr(scores, name) == pytest.approx(expected[name] * 2.0**500, rel=1e-15)
        assert scores.mse == pytest.approx(expected["mse"] * 2.0**1000, rel=1e-15)
        for name in SHARES:
            assert getattr(scores, name) == pytest.approx(expected[name], rel=1e-14)


def test_weights_are_numbers_of_rows():
    y, p = data(60)
    n = np.random.default_rng(8).integers(0, 4, 60)
    weighted, repeated = evaluate(y, p, sample_weight=n), evaluate(y.repeat(n), p.repeat(n))
    for name in MEANS + SHARES:
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name), rel=1e-13), name
    assert_same(evaluate(y, p, sample_weight=np.full(60, 0.3)), evaluate(y, p), rtol=1e-14)


# -------------------------------------------------------------------------------------------------
# Edges


def test_one_row():
    scores = evaluate([1.0], [3.0], force_finite=True)
    assert (scores.mse, scores.bias, scores.smape) == (4.0, 2.0, 1.0)
    assert math.isnan(scores.mse_standard_error)
    assert math.isnan(scores.r2)  # as in scikit-learn
    assert math.isnan(scores.pearson)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 + 0.3])
@pytest.mark.parametrize("parts", [1, 2])
def test_labels_that_are_all_the_same(value, parts):
    y = np.full(301, value)
    for p in (y, y + np.linspace(-1, 1, 301)):
        for finite in (False, True):
            card = fl.RegressionScorecard(force_finite=finite)
            for part in np.array_split(np.arange(301), parts):
                card.update(y[part], p[part])
            scores = card.result()
            if finite:
                # scikit-learn's rule, which it misses itself where the mean is rounded.
                assert scores.r2 == scores.explained_variance == float(p is y)
                if value == 0:
                    assert metrics.r2_score(y, p) == float(p is y)
            else:
                assert math.isnan(scores.r2)
                assert math.isnan(scores.explained_variance)
            assert math.isnan(scores.pearson)


def test_rows_with_nan_are_counted_and_make_means_nan():
    y, p = data(600)
    p[500] = y[7] = math.nan
    p[3] = y[3] = math.inf  # of which the difference is not known either
    scores = evaluate(y, p, deviance="poisson", groups=np.arange(600) // 300)
    assert scores.n_undefined == 3
    for name in (*MEANS, *ERRORS, *SHARES, "maximum_error"):
        assert math.isnan(getattr(scores, name)), name
    assert math.isnan(scores.deviance["poisson"])
    assert scores.groups.n_undefined.tolist() == [2, 1]
    w = (np.isfinite(p) & np.isfinite(y)).astype(float)
    assert not math.isnan(evaluate(y, p, sample_weight=w).r2)
    fan = evaluate([1.0, 2.0], [[0.0, math.nan], [0.0, 1.0]], quantiles=[0.1, 0.9])
    assert fan.n_undefined == 1
    assert np.isnan(fan.quantiles.pinball).all()


def test_an_infinite_prediction():
    scores = evaluate([1.0, 2.0, 3.0], [1.0, math.inf, 3.0])
    assert scores.n_undefined == 0
    assert scores.bias == scores.mse == scores.mae == scores.maximum_error == math.inf
    assert scores.r2 == -math.inf
    assert (scores.mape, scores.smape) == (math.inf, pytest.approx(2 / 3, rel=1e-15))
    assert evaluate([1.0, 2.0], [-math.inf, 2.0]).bias == -math.inf


def test_labels_of_0_are_counted_and_not_blown_up():
    scores = evaluate([0.0, 0.0, 4.0], [1.0, 0.0, 3.0])
    assert (scores.n_zero_labels, scores.mape) == (2, 0.25)
    scores = evaluate([0.0, 0.0], [1.0, 0.0])
    assert math.isnan(scores.mape)
    assert math.isnan(scores.wape)
    assert scores.smape == 1.0


# -------------------------------------------------------------------------------------------------
# What is given


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, ">f8", np.int8, np.uint16]
)
def test_dtypes(dtype):
    y, p = ((x * 5).astype(dtype) for x in data(100))
    expected = by_formula(y.astype(np.float64), p.astype(np.float64))
    for scores in (evaluate(y, p), evaluate(y.tolist(), p), evaluate(y.repeat(2)[::2], p)):
        for name, value in expected.items():
            assert getattr(scores, name) == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize(
    ("labels", "predictions", "more", "message"),
    [
        ([1.0], [[1.0]], {}, r"write np.reshape\(predictions, np.shape\(labels\)\)"),
        ([[1.0]], [1.0], {}, r"write np.reshape\(labels, np.shape\(predictions\)\)"),
        ([1.0, 2.0], [1.0], {}, r"labels have shape \(2,\) and predictions have shape \(1,\)"),
        ([1.0], [[1.0, 2.0]], {}, "if the last axis is quantiles, say which by quantiles="),
        ([1.0], [1.0], {"quantiles": [0.5]}, r"expected \(1, 1\), with 1 quantiles"),
        ([[[1.0]]], [[[1.0]]], {}, r"labels have shape \(1, 1, 1\), but"),
        ([1.0], [1.0], {"sample_weight": [-1.0]}, r"sample_weight\[0\] is -1.0"),
        ([1.0], [1.0], {"sample_weight": [[1.0]]}, r"expected shape \(1,\)"),
        ([1.0], [1.0], {"groups": [1, 2]}, r"expected \(1,\)"),
        ([1.0], [1.0], {"quantiles": []}, "quantiles is empty"),
        ([1.0], [1.0], {"deviance": None}, "deviance has None, but is"),
        ([1.0], [1.0], {"deviance": ("tweedie", "1.5")}, "deviance has .'tweedie', '1.5'., but is"),
        ([1.0], [1.0], {"deviance": [("tweedie",)]}, "deviance has .'tweedie',., but is"),
        ([1.0], [[1.0]], {"quantiles": [1.0]}, r"quantiles\[0\] is 1"),
        ([1.0], [[1.0, 2.0]], {"quantiles": [0.5, 0.1]}, r"quantiles\[1\] is 0.1, .* sort"),
        ([1.0], [1.0], {"deviance": "normal"}, "deviance has 'normal', but is"),
        ([1.0], [1.0], {"deviance": [("tweedie", 0.5)]}, "with a power below 0"),
        ([1.0], [[1.0]], {"quantiles": [0.1], "rmsle": True}, "quantiles has none: add it"),
        ([1.0, 2.0], [1.0, 0.0], {"deviance": "poisson"}, r"predictions\[1\] is 0, .* above 0"),
        ([1.0, -2.0], [1.0, 1.0], {"deviance": "poisson"}, r"labels\[1\] is -2, .*of 0 and more"),
        ([[1.0, 0.0]], [[1.0, 1.0]], {"deviance": "gamma"}, r"labels\[0, 1\] is 0, .* above 0"),
        ([1.0, -1.0], [1.0, 1.0], {"rmsle": True}, r"labels\[1\] is -1, .* above -1"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(labels, predictions, more, message):
    with pytest.raises(ValueError, match=message):
        evaluate(labels, predictions, **more)
    built = {name: more[name] for name in more if name in ("quantiles", "deviance", "rmsle")}
    try:
        card = fl.RegressionScorecard(**built)
    except ValueError:
        return
    told = {name: more[name] for name in more if name not in built}
    with pytest.raises(ValueError, match=message):
        card.update(labels, predictions, **told)
    assert card.n_rows == 0


def test_what_is_no_number_is_told():
    for quantiles in (0.5, "0.5", [[0.1, 0.5]], [None]):
        with pytest.raises(TypeError, match="quantiles is .*, but holds several numbers: write"):
            fl.RegressionScorecard(quantiles=quantiles)
    with pytest.raises(TypeError, match="labels has dtype <U1"):
        evaluate(["a"], [1.0])
    with pytest.raises(TypeError, match="rmsle must be True or False"):
        fl.RegressionScorecard(rmsle=1)


def test_rows_of_weight_0_may_be_outside_of_a_deviance():
    scores = evaluate([1.0, -1.0], [2.0, -1.0], deviance="gamma", sample_weight=[1, 0])
    assert scores.deviance["gamma"] == pytest.approx(2 * (math.log(2) - 0.5), rel=1e-14)


def test_columns_stay_the_same():
    card = fl.RegressionScorecard().update([[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"labels of shape \(n,\), .* before have \(n, 2\)"):
        card.update([1.0], [1.0])
    with pytest.raises(ValueError, match=r"other has labels of shape \(n, 3\)"):
        card.merge(fl.RegressionScorecard().update(np.ones((1, 3)), np.ones((1, 3))))


def test_numbers_of_rows_that_make_no_sense_are_refused():
    state = fl.RegressionScorecard().update([[1.0, 2.0]], [[1.0, 2.0]]).state()
    for rows in ([-1, 2], [5, 2**40], [5, -2]):
        damaged = with_checksums(state | {"rows": np.array(rows)})
        with pytest.raises(ValueError, match="damaged"):
            fl.RegressionScorecard.from_state(damaged)


# -------------------------------------------------------------------------------------------------
# States and results


def test_results_as_text_and_json():
    y, p = data(20)
    y[0] = 0
    scores = evaluate(y, p, groups=np.arange(20) % 2, deviance="poisson")
    assert "MAPE" in repr(scores)
    assert "(1 labels of 0 left out)" in repr(scores)
    told = json.loads(json.dumps(scores.to_dict()))
    assert told["mse"] == scores.mse
    assert told["groups"]["mse"] == scores.groups.mse.tolist()
    assert told["deviance"] == scores.deviance
    fan = evaluate(y, np.stack([p, p], 1), quantiles=[0.1, 0.9])
    assert json.loads(json.dumps(fan.to_dict()))["quantiles"]["quantiles"] == [0.1, 0.9]


def test_no_warnings_of_numpy():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate([0.0, 1e300], [0.0, -1e300], sample_weight=[1e-300, 1e300])


# -------------------------------------------------------------------------------------------------
# Compiled


@compiled
@pytest.mark.long
@pytest.mark.parametrize(("dtype", "weighted"), [(np.float32, False), (np.float64, True)])
def test_compiled_code_agrees_with_plain_python(dtype, weighted):
    rng = np.random.default_rng(9)
    y, p = (x.astype(dtype) for x in data(3000))
    y[5], p[77] = 0, math.inf
    w = rng.random(3000) if weighted else None
    card = fl.RegressionScorecard().update(y, p, sample_weight=w)
    with plain_python():
        reference = fl.RegressionScorecard().update(y, p, sample_weight=w)
    assert card.result().mse == reference.result().mse == math.inf
    p[77] = 1
    fast = evaluate(y, p, sample_weight=w)
    with plain_python():
        slow = evaluate(y, p, sample_weight=w)
    assert_same(fast, slow)
