"""`fl.BinaryScorecard`, held against scikit-learn and the formulas in float64."""

import math

import ml_dtypes
import numpy as np
import pytest
from plain import compiled, partly_long, plain
from sklearn import metrics

import fastloss as fl
from fastloss.evaluation.sums import binary_sums
from fastloss.kernels import binary_bins

pytestmark = plain
approx = pytest.approx


def data(n=70, seed=0, dtype=np.float64):
    """Scores with ties, on both sides of 0."""
    rng = np.random.default_rng(seed)
    x = (np.round(4 * rng.standard_normal(n)) / 2).astype(dtype)
    return (rng.random(n) < 1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.int64), x


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -np.asarray(x, np.float64)))


def error(x, w):
    mean = (w * x).sum() / w.sum()
    n = (w > 0).sum()
    return math.sqrt(n / (n - 1) * (w**2 * (x - mean) ** 2).sum()) / w.sum()


def check(scores, y, x, w=None, threshold=0.0, n_bins=15):
    """Against scikit-learn, from the labels, the logits and the weights of rows that count."""
    w = np.ones(len(y)) if w is None else w
    p = sigmoid(x)
    decided = (x >= threshold).astype(int)
    losses = np.logaddexp(0, np.where(y == 1, -x, x).astype(np.float64))
    given = {"sample_weight": w}
    rate = (w * y).sum() / w.sum()
    loss = metrics.log_loss(y, p, **given, labels=[0, 1])
    expected = {
        "base_rate": rate,
        "probability": (w * p).sum() / w.sum(),
        "loss": loss,
        "loss_standard_error": error(losses, w),
        "brier": metrics.brier_score_loss(y, p, **given),
        "brier_standard_error": error((p - y) ** 2, w),
        "normalised_entropy": loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)),
        "accuracy": metrics.accuracy_score(y, decided, **given),
        "accuracy_standard_error": error((decided == y) * 1.0, w),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, decided, **given),
        "precision": metrics.precision_score(y, decided, **given),
        "recall": metrics.recall_score(y, decided, **given),
        "specificity": metrics.recall_score(1 - y, 1 - decided, **given),
        "f1": metrics.f1_score(y, decided, **given),
        "mcc": metrics.matthews_corrcoef(y, decided, **given),
        "kappa": metrics.cohen_kappa_score(y, decided, **given),
        "auc": metrics.roc_auc_score(y, x, **given),
        "average_precision": metrics.average_precision_score(y, x, **given),
    }
    for name, number in expected.items():
        assert getattr(scores, name) == approx(number, rel=1e-12), name
    tn, fp, fn, tp = metrics.confusion_matrix(y, decided, **given).ravel()
    for found, number in zip(scores.confusion, (tp, fp, fn, tn), strict=True):
        assert found[0] == approx(number, rel=1e-13)
    place = np.minimum((p * n_bins).astype(int), n_bins - 1)
    gaps = np.array([abs((w * (y - p))[place == k].sum()) for k in range(n_bins)])
    weights = np.bincount(place, w, n_bins)
    np.testing.assert_allclose(scores.bins.weight, weights, rtol=1e-13)
    assert scores.calibration_error == approx(gaps.sum() / w.sum(), rel=1e-12)
    largest = (gaps[weights > 0] / weights[weights > 0]).max()
    assert scores.maximum_calibration_error == approx(largest, rel=1e-12)


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64]
)
def test_numbers_are_those_of_scikit_learn(dtype):
    y, x = data(dtype=dtype)
    scores = fl.evaluate(y, x, task="binary")
    assert (scores.n_rows, scores.n_counted, scores.n_undefined, scores.weight) == (70, 70, 0, 70.0)
    check(scores, y, x.astype(np.float64))


def test_weights():
    y, x = data()
    w = np.random.default_rng(1).uniform(0.2, 3, 70)
    w[::7] = 0
    scores = fl.evaluate(y, x, task="binary", sample_weight=w, thresholds=[0.5, -1.0])
    assert (scores.n_rows, scores.n_counted) == (70, 60)
    assert scores.weight == approx(w.sum(), rel=1e-15)
    here = w > 0
    check(scores, y[here], x[here], w[here], threshold=0.5)
    tp = (w * (x >= -1) * y).sum()
    assert scores.confusion.true_positive[1] == approx(tp, rel=1e-14)


def test_probabilities_are_taken_as_they_are():
    y, x = data()
    p = sigmoid(x)
    scores = fl.evaluate(y, p, task="binary", from_probabilities=True)
    check(scores, y, x)
    assert scores.thresholds.tolist() == [0.5]
    # Nothing is clipped: the logarithm of 1e-300 is that, and that of 0 is infinite.
    tiny = fl.evaluate([1, 0], [1e-300, 1.0], task="binary", from_probabilities=True)
    assert tiny.loss == math.inf
    tiny = fl.evaluate([1, 0], [1e-300, 1e-300], task="binary", from_probabilities=True)
    assert tiny.loss == approx(150 * math.log(10), rel=1e-15)
    sure = fl.evaluate([1, 0], [1.0, 0.0], task="binary", from_probabilities=True)
    assert (sure.loss, sure.brier, sure.normalised_entropy) == (0.0, 0.0, 0.0)


def test_confident_rows_keep_their_digits():
    scores = fl.evaluate([1, 0], [40.0, -30.0], task="binary")
    assert scores.loss == approx((math.exp(-40) + math.log1p(math.exp(-30))) / 2, rel=1e-15)
    assert scores.brier == approx((math.exp(-80) + math.exp(-60)) / 2, rel=1e-12)
    loss = fl.binary_cross_entropy_with_logits([1, 0], [40.0, -30.0])
    assert scores.loss == approx(loss, rel=1e-15)


def test_infinite_logits():
    y, x = np.array([1, 0, 1, 0]), np.array([np.inf, -np.inf, 2.0, -1.0])
    scores = fl.evaluate(y, x, task="binary")
    assert scores.loss == approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 4)
    assert (scores.auc, scores.accuracy) == (1.0, 1.0)
    wrong = fl.evaluate(1 - y, x, task="binary")
    assert (wrong.loss, wrong.auc, wrong.accuracy) == (math.inf, 0.0, 0.0)
    assert math.isfinite(wrong.brier)


def test_rows_of_nan_are_counted_apart():
    y, x = data(30)
    w = np.random.default_rng(2).uniform(0.5, 2, 31)
    for weights in (None, w):
        scores = fl.evaluate(
            np.append(1, y), np.append(np.nan, x), task="binary", sample_weight=weights
        )
        assert (scores.n_rows, scores.n_counted, scores.n_undefined) == (31, 31, 1)
        assert math.isnan(scores.loss)
        assert math.isnan(scores.brier)
        more = {} if weights is None else {"sample_weight": w[1:]}
        expected = fl.evaluate(y, x, task="binary", **more)
        for name in (
            "accuracy",
            "base_rate",
            "auc",
            "calibration_error",
            "accuracy_standard_error",
        ):
            assert getattr(scores, name) == approx(getattr(expected, name), rel=1e-14), name
        assert "rows with NaN" in repr(scores)


def test_one_class_alone():
    scores = fl.evaluate([1, 1], [1.0, -2.0], task="binary")
    for name in ("auc", "ks", "specificity", "normalised_entropy"):
        assert math.isnan(getattr(scores, name)), name
    assert scores.average_precision == metrics.average_precision_score([1, 1], [1.0, -2.0]) == 1
    assert (scores.recall, scores.precision, scores.accuracy) == (0.5, 1.0, 0.5)
    assert math.isnan(fl.evaluate([0], [-1.0], task="binary").precision)


@pytest.fixture(params=[True, False], ids=["with places", "many bins"])
def places_of_bins(request, monkeypatch):
    """Whether rows are added to places of bins first, or as those of many bins."""
    if not request.param:
        for module in (binary_bins, binary_sums):
            monkeypatch.setattr(module, "MOST_WITH_PLACES", 0)


@pytest.mark.usefixtures("places_of_bins")
@pytest.mark.parametrize("weighted", [False, True])
def test_each_bin_has_its_lower_edge(weighted):
    """However the product of a probability and the number of bins is rounded."""
    for n_bins in 1, 3, 10, 49:
        edges = np.arange(n_bins + 1) / n_bins
        p = np.concatenate([edges, np.nextafter(edges[1:], 0), np.nextafter(edges[:-1], 1), [0.3]])
        y = np.arange(len(p)) % 2
        w = np.random.default_rng(0).uniform(0.2, 3, len(p)) if weighted else np.ones(len(p))
        more = {"sample_weight": w} if weighted else {}
        scores = fl.evaluate(y, p, task="binary", from_probabilities=True, n_bins=n_bins, **more)
        places = np.minimum(np.searchsorted(edges, p, "right") - 1, n_bins - 1)
        weights, positive, sums = (np.bincount(places, w * x, n_bins) for x in (1, y, p))
        np.testing.assert_allclose(scores.bins.weight, weights, rtol=1e-14)
        np.testing.assert_allclose(scores.bins.base_rate, positive / weights, rtol=1e-14)
        np.testing.assert_allclose(scores.bins.probability, sums / weights, rtol=1e-14)


@pytest.mark.usefixtures("places_of_bins")
def test_rows_without_a_probability_are_in_no_bin():
    y, x = data(50)
    x[[3, 49]] = np.nan
    scores = fl.evaluate(y, x, task="binary", n_bins=4)
    known = np.bincount(np.minimum((sigmoid(x[~np.isnan(x)]) * 4).astype(int), 3), minlength=4)
    np.testing.assert_array_equal(scores.bins.weight, known)


@compiled
@pytest.mark.parametrize("weighted", [False, True])
def test_a_million_bins(weighted):
    """Of rows in several segments; each bin has a row or none."""
    n = 1_000_000
    places = np.arange(0, n, 7)
    y, w = places % 3 % 2, places % 4 if weighted else np.ones(len(places))
    card = fl.BinaryScorecard(n_bins=n, from_probabilities=True, ranks=False)
    for part in np.array_split(np.random.default_rng(0).permutation(len(places)), 2):
        card.update(y[part], (places[part] + 0.5) / n, sample_weight=w[part] if weighted else None)
    bins = card.result().bins
    counts = w > 0
    np.testing.assert_array_equal(np.flatnonzero(bins.weight), places[counts])
    np.testing.assert_array_equal(bins.weight[places], w)
    np.testing.assert_array_equal(bins.base_rate[places[counts]], y[counts])
    np.testing.assert_allclose(
        bins.probability[places[counts]], (places[counts] + 0.5) / n, rtol=1e-15
    )


@pytest.mark.usefixtures("places_of_bins")
@pytest.mark.parametrize(
    "p", [np.full(999, 0.1), np.full(999, 1e-12), np.geomspace(1e-300, 0.6, 999)]
)
def test_probabilities_of_a_bin_keep_their_digits(p):
    scores = fl.evaluate(np.arange(999) % 2, p, task="binary", from_probabilities=True, n_bins=1)
    assert scores.bins.probability[0] == approx(math.fsum(p) / 999, rel=1e-15)


@compiled
@partly_long(1, "weighted", [False, True])
def test_compiled_code_and_blocks_of_threads(weighted):
    y, x = data(150_000, dtype=np.float64 if weighted else np.float32)
    w = np.random.default_rng(0).uniform(0.5, 2, len(y)) if weighted else None
    check(fl.evaluate(y, x, task="binary", sample_weight=w), y, x.astype(np.float64), w)


def test_losses_that_differ_little():
    """Of 1e8 and more, by millionths: nothing is left of a variance that is a difference."""
    x = 1e8 + 1e-6 * np.random.default_rng(0).integers(0, 1000, 200)
    x[0] = 1e8
    scores = fl.evaluate(np.zeros(200), x, task="binary")
    assert scores.loss_standard_error == approx(error(x - 1e8, np.ones(200)), rel=1e-12)
    parts = fl.BinaryScorecard()
    for part in np.split(np.arange(200), 10):
        parts.merge(fl.BinaryScorecard().update(np.zeros(20), x[part]))
    assert parts.result().loss_standard_error == approx(scores.loss_standard_error, rel=1e-12)


def test_what_is_asked_of_ranks_later():
    y, x = data()
    w = np.random.default_rng(1).uniform(0.2, 3, 70)
    scores = fl.evaluate(y, x, task="binary", sample_weight=w)
    fpr, tpr, _ = metrics.roc_curve(y, x, sample_weight=w, drop_intermediate=False)
    curve = scores.roc_curve()
    np.testing.assert_allclose(curve.x, fpr, rtol=1e-13)
    np.testing.assert_allclose(curve.y, tpr, rtol=1e-13)
    steps = scores.precision_recall_curve()
    area = (np.diff(steps.x, prepend=0) * steps.y).sum()
    assert area == approx(scores.average_precision, rel=1e-13)
    assert scores.fpr_at_95_tpr == approx(fpr[tpr >= 0.95].min(), rel=1e-13)
    f1 = [metrics.f1_score(y, x >= t, sample_weight=w) for t in np.unique(x)]
    assert scores.best_f1 == approx(max(f1), rel=1e-13)
    assert scores.best_f1_threshold == np.unique(x)[np.argmax(f1)]
    assert scores.confusion_at([0.0]).mcc == approx(scores.mcc, rel=1e-12)
    parts = scores.decomposition()
    whole = parts.miscalibration - parts.discrimination + parts.uncertainty
    assert whole == approx(scores.brier, rel=1e-13)
    assert scores.sensitivity_at(0.5).value == approx(tpr[fpr <= 0.5].max(), rel=1e-13)
    assert scores.gain([1.0]).gain == approx([1.0])
    bins = scores.equal_mass_bins(5)
    assert (bins.negative + bins.positive).sum() == approx(w.sum(), rel=1e-13)
    assert 0 < scores.equal_mass_calibration_error(5) < 1
    p = sigmoid(x)
    one = abs((w * (p - y)).sum()) / w.sum()
    assert scores.equal_mass_calibration_error(1) == approx(one, rel=1e-12)
    of_p = fl.evaluate(y, p, task="binary", sample_weight=w, from_probabilities=True)
    assert of_p.equal_mass_calibration_error(1) == approx(one, rel=1e-12)
    without = fl.evaluate(y, x, task="binary", ranks=False)
    with pytest.raises(ValueError, match="with ranks=False the order"):
        without.roc_curve()


def test_a_thinned_curve_with_straight_pieces():
    """Scores that are equal for both labels, and others between: nothing is divided by 0."""
    rng = np.random.default_rng(0)
    x = np.append(np.round(rng.standard_normal(300), 1), rng.standard_normal(300))
    y = (rng.random(600) < sigmoid(x)).astype(int)
    scores = fl.evaluate(y, x, task="binary")
    for n in (9, 20, 100):
        curve = scores.roc_curve(n)
        assert len(curve.x) <= n
        area = (np.diff(curve.x) * (curve.y[1:] + curve.y[:-1]) / 2).sum()
        assert area == approx(scores.auc, rel=1e-12)


def test_ranks_may_be_binned_or_left_out():
    y, x = data()
    exact = fl.evaluate(y, x, task="binary")
    groups = np.arange(len(y)) % 3
    binned = fl.evaluate(y, x, task="binary", bins=2**20, groups=groups)
    assert np.isnan(binned.groups.means.auc).all()
    assert binned.auc_interval[0] <= exact.auc <= binned.auc_interval[1]
    without = fl.evaluate(y, x, task="binary", ranks=False)
    assert math.isnan(without.auc)
    assert "ROC AUC" not in repr(without)
    assert without.loss == exact.loss
    assert not any(name.startswith("scores") for name in fl.BinaryScorecard(ranks=False).state())


def test_what_is_given_may_change_afterwards():
    y, x = data(10)
    card = fl.BinaryScorecard().update(y, x)
    before = card.result()
    x[:], y[:] = 100.0, 1
    assert card.result() == before


@pytest.mark.parametrize(
    ("error", "text", "labels", "predictions", "options"),
    [
        (ValueError, r"write predictions\[..., 0\]", [0, 1], [[0.5], [2.0]], {}),
        (ValueError, r"write labels\[..., 0\]", [[0], [1]], [0.5, 2.0], {}),
        (ValueError, r'2 classes: .* task="multiclass"', [0, 1, 1], np.zeros((3, 2)), {}),
        (ValueError, "there is one score for each label", [0, 1, 1], [0.5, 2.0], {}),
        (ValueError, r"labels\[2\] is 2, .*task=\"multiclass\"", [0, 1, 2], [0.5, 2.0, 1], {}),
        (ValueError, r"labels\[1\] is 0.3, .*\"regression\"", [0, 0.3], [0.5, 2.0], {}),
        (ValueError, r"labels\[0\] is -1, .*> 0 if they are -1", [-1, 1], [0.5, 2.0], {}),
        (ValueError, r"labels\[1\] is nan, .*leave such rows", [0, np.nan], [0.5, 2.0], {}),
        (TypeError, "labels has dtype <U1", ["0", "1"], [0.5, 2.0], {}),
        (TypeError, "labels is None, which is no number", None, [0.5, 2.0], {}),
        (TypeError, "labels has dtype object: it is a dictionary", {"a": 1}, [0.5, 2.0], {}),
        (TypeError, "predictions has dtype complex", [0, 1], [0.5j, 2.0], {}),
        (ValueError, r"predictions\[1\] is 2.0, but must lie between 0 and 1", [0, 1], [0.5, 2.0],
         {"from_probabilities": True}),
        (ValueError, r"sample_weight\[1\] is -1.0", [0, 1], [5.0, 2.0],
         {"sample_weight": [1.0, -1.0]}),
        (ValueError, r"one weight for each row: expected shape \(2,\)", [0, 1], [5.0, 2.0],
         {"sample_weight": [1.0]}),
        (ValueError, "thresholds is .* must be a list", [0, 1], [5.0, 2.0], {"thresholds": 0.5}),
        (ValueError, "n_bins is 0", [0, 1], [5.0, 2.0], {"n_bins": 0}),
        (ValueError, "bins must be None or a power of two", [0, 1], [5.0, 2.0], {"bins": 1000}),
        (TypeError, "task='binary' knows no temperature: it takes bins, bootstrap, clus", [0, 1],
         [5.0, 2.0], {"temperature": 2.0}),
    ],
)  # fmt: skip
def test_errors(error, text, labels, predictions, options):
    with pytest.raises(error, match=text):
        fl.evaluate(labels, predictions, task="binary", **options)


def test_logits_that_seem_to_be_probabilities():
    with pytest.warns(UserWarning, match="from_probabilities=True") as warned:
        fl.BinaryScorecard().update([0, 1], [0.2, 0.9])
    assert warned[0].filename == __file__
    fl.BinaryScorecard().update([0, 1], [0.0, 1.0])
    fl.BinaryScorecard().update([0, 1], [0.2, 1.9])


def test_rounding_of_weights_makes_no_decisions():
    for seed in range(8):
        y, x = data(seed=seed)
        w = np.random.default_rng(seed).random(len(y))
        scores = fl.evaluate(y, x, task="binary", sample_weight=w, thresholds=[-np.inf])
        assert (scores.confusion.false_negative[0], scores.confusion.true_negative[0]) == (0, 0)
        assert (scores.recall, scores.specificity) == (1.0, 0.0)
        assert math.isnan(scores.mcc)
        assert scores.kappa == 0.0
        right = fl.evaluate(y, 2.0 * y - 1, task="binary", sample_weight=w)
        assert (right.accuracy, right.accuracy_standard_error) == (1.0, 0.0)


def test_infinite_losses_stay_infinite_where_parts_meet():
    y, x = data(8)
    x *= 2  # so that none seems to be a probability
    x[2] = -np.inf if y[2] else np.inf
    whole = fl.evaluate(y, x, task="binary")
    assert whole.loss == np.inf
    assert np.isnan(whole.loss_standard_error)
    for cut in range(1, 8):
        card, other = (fl.BinaryScorecard().update(y[i], x[i]) for i in np.s_[:cut, cut:])
        parts = fl.BinaryScorecard.from_state(card.state()).merge(other).result()
        assert parts.loss == np.inf
        assert np.isnan(parts.loss_standard_error)
        assert parts.brier_standard_error == approx(whole.brier_standard_error, rel=1e-14)


@pytest.mark.parametrize("task", ["binary", "multilabel", "ranking"])
def test_integers_whose_order_float64_loses_are_refused_at_once(task):
    card = {
        "binary": fl.BinaryScorecard,
        "multilabel": fl.MultilabelScorecard,
        "ranking": fl.RankingScorecard,
    }[task]()
    labels, scores = np.array([[1, 0], [0, 1]]), np.array([[1, 2], [2**53, 2**53 + 1]])
    card.update(labels, scores % 10)
    before = card.state()
    with pytest.raises(ValueError, match=r"predictions\[1, 1\] is 9007199254740993, which float64"):
        card.update(labels, scores)
    np.testing.assert_equal(card.state(), before)
    card.update(labels, scores - 2**52)
    card.result()
    if task != "ranking":
        type(card)(ranks=False).update(labels, scores).result()
    if task != "binary":  # what is not there is not looked at
        card.update(labels, scores, mask=labels == labels[:1])
    if task == "ranking":
        card.update(np.where(scores < 2**53, labels, np.nan), scores)


@pytest.mark.parametrize("card", [fl.BinaryScorecard, fl.MultilabelScorecard])
@pytest.mark.parametrize("bins", [np.int64(64), np.uint8(64), np.array(64)])
def test_bins_may_be_an_integer_of_numpy(card, bins):
    y, x = (array.reshape(-1, 2) for array in data())
    found = card(bins=bins).update(y, x)
    again = card.from_state(found.state(), bins=64).merge(card(bins=64).update(y, x))
    assert again.result().n_counted == 2 * found.result().n_counted


def test_what_is_asked_of_ranks_is_checked_by_name():
    y, x = data()
    scores = fl.evaluate(y, x, task="binary")
    for error, text, ask in (
        (ValueError, "beta is -1, but must be between 0 and", lambda: scores.best_f(-1)),
        (ValueError, "beta is nan", lambda: scores.best_f(np.nan)),
        (ValueError, "beta is inf", lambda: scores.confusion.f(np.inf)),
        (TypeError, "beta must be a number, got str", lambda: scores.best_f("1")),
        (ValueError, "threshold is NaN", lambda: scores.confusion_at([0.0, np.nan])),
        (TypeError, "threshold is None, which is no number", lambda: scores.confusion_at(None)),
        (TypeError, "threshold has dtype <U1", lambda: scores.confusion_at("1")),
        (ValueError, r"specificity has shape \(2,\)", lambda: scores.sensitivity_at([0.5, 0.6])),
        (ValueError, "specificity must lie between 0 and 1", lambda: scores.sensitivity_at(2)),
        (ValueError, r"shares has shape \(1, 1\)", lambda: scores.gain([[0.5]])),
        (TypeError, "shares has dtype complex", lambda: scores.gain([0.5j])),
        (TypeError, "n must be an integer, got float", lambda: scores.roc_curve(5.0)),
        (TypeError, "n must be an integer, got bool", lambda: scores.equal_mass_bins(True)),
        (ValueError, "n must be 1 or more", lambda: scores.precision_recall_curve(0)),
    ):
        with pytest.raises(error, match=text):
            ask()
    # As many points as anybody likes take no memory.
    for curve in scores.roc_curve, scores.precision_recall_curve:
        np.testing.assert_equal(curve(2**60), curve(1000))
    square = scores.confusion_at([[0.0, 1.0], [-1.0, 5.0]])
    line = scores.confusion_at([0.0, 1.0, -1.0, 5.0])
    np.testing.assert_array_equal(np.ravel(square), np.ravel(line))
    assert square.recall.shape == (2, 2)


@pytest.mark.parametrize("factor", [5e-324, 1e-310, 1e305, 1.7e308])
def test_weights_have_one_unit_everywhere(factor):
    y, x = data()
    found, plain_weights = (
        fl.evaluate(y, x, task="binary", sample_weight=np.full(len(y), each))
        for each in (factor, 1)
    )
    for name in ("accuracy", "mcc", "kappa", "precision", "recall", "f1", "auc", "fpr_at_95_tpr"):
        assert getattr(found, name) == approx(getattr(plain_weights, name), rel=1e-14)
    error = found.equal_mass_calibration_error(5)
    assert error == approx(plain_weights.equal_mass_calibration_error(5), rel=1e-14)
    ones = plain_weights.confusion_at(0.0)
    with np.errstate(over="ignore"):
        for of_factor, of_one in zip(found.confusion_at(0.0), ones, strict=True):
            assert of_factor == approx(of_one * np.float64(factor), rel=1e-14)
        bins, of_ones = found.equal_mass_bins(5), plain_weights.equal_mass_bins(5)
        np.testing.assert_allclose(bins.positive, of_ones.positive * factor, rtol=1e-14)
    for mine, its in zip(found.confusion_at(0.0), found.confusion, strict=True):
        assert mine == approx(its[0], rel=1e-14)
