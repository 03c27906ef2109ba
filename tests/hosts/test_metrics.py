"""Evaluations of every task beside TorchMetrics and scoringrules, which know no weights.

Data have ties, classes that no row has, and infinities. A row of the weight 3 is there three times.
"""

import sys

import numpy as np
import pytest
from plain import plain

import fastloss as fl

torch = pytest.importorskip("torch")
metrics = pytest.importorskip("torchmetrics.functional")
of_classes = pytest.importorskip("torchmetrics.functional.classification")
retrieval = pytest.importorskip("torchmetrics.functional.retrieval")

pytestmark = plain
approx = pytest.approx
INF = np.inf
CALIBRATION = {"calibration_error": "l1", "maximum_calibration_error": "max"}


def data(weighted, n=60):
    """Numbers at random, the weight of each row or None, and how often each is there without."""
    rng = np.random.default_rng(int(weighted))
    times = rng.integers(0, 4, n) if weighted else np.ones(n, int)
    return rng, {"sample_weight": times} if weighted else {}, times


def repeated(times, *arrays):
    return [torch.from_numpy(np.repeat(each, times, axis=0)) for each in arrays]


def assert_same(scores, expected, rel=1e-12):
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(scores, name), value, rtol=rel, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass(weighted):
    rng, weights, times = data(weighted)
    c = 6
    labels = rng.integers(0, c - 1, len(times))  # the last class is absent
    logits = rng.standard_normal((len(times), c)) + 2 * np.eye(c)[labels]
    logits[:, c - 1] = -INF
    logits[1, 2] = INF
    finite = np.nan_to_num(logits, posinf=700, neginf=-800)  # of the same probabilities
    scores = fl.evaluate(labels, logits, n_bins=10, confusion=True, **weights)
    y, x = repeated(times, labels, finite)
    p, told = torch.softmax(x, 1), {"num_classes": c}
    expected = {
        "accuracy": of_classes.multiclass_accuracy(p, y, average="micro", **told),
        "kappa": of_classes.multiclass_cohen_kappa(p, y, **told),
        "matthews": of_classes.multiclass_matthews_corrcoef(p, y, **told),
        "confusion": of_classes.multiclass_confusion_matrix(p, y, **told),
    }
    assert_same(scores, expected, 1e-6)  # it counts in float32
    # A confidence of 1 has a bin of its own there.
    unsure = fl.evaluate(labels, np.clip(finite, -800, 5), n_bins=10, **weights)
    for name, norm in CALIBRATION.items():
        value = of_classes.multiclass_calibration_error(
            torch.softmax(x.clip(-800, 5), 1), y, n_bins=10, norm=norm, **told
        )
        assert getattr(unsure, name) == approx(value.item(), rel=1e-5)
    for k in 2, 3:
        value = of_classes.multiclass_accuracy(p, y, average="micro", top_k=k, **told)
        assert scores.top_k(k) == approx(value.item(), rel=1e-6)
    assert scores.n_absent == 1
    for name in "precision", "recall", "f1":
        function = getattr(of_classes, f"multiclass_{name.replace('f1', 'f1_score')}")
        for average in "macro", "micro", "weighted":
            value = function(p, y, average=average, **told).item()
            assert getattr(getattr(scores, average), name) == approx(value, rel=1e-6), name
        each = function(p, y, average="none", **told).numpy()
        np.testing.assert_allclose(np.nan_to_num(getattr(scores.by_class, name)), each, rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_binary(weighted):
    rng, weights, times = data(weighted)
    x = np.round(2 * rng.standard_normal(len(times)), 1) + 0.05  # at 0 it decides for 0
    x[:4] = INF, -INF, INF, -INF
    labels = (rng.random(len(x)) < 1 / (1 + np.exp(-x))).astype(int)
    scores = fl.evaluate(labels, x, task="binary", n_bins=10, **weights)
    y, logits = repeated(times, labels, x)
    p = torch.sigmoid(logits)
    expected = {
        name: getattr(of_classes, f"binary_{known}")(p, y)
        for name, known in {
            "auc": "auroc",
            "average_precision": "average_precision",
            "accuracy": "accuracy",
            "precision": "precision",
            "recall": "recall",
            "specificity": "specificity",
            "f1": "f1_score",
            "mcc": "matthews_corrcoef",
            "kappa": "cohen_kappa",
        }.items()
    }
    assert_same(scores, expected, 1e-6)
    unsure = fl.evaluate(labels, x.clip(-5, 5), task="binary", n_bins=10, **weights)
    for name, norm in CALIBRATION.items():
        value = of_classes.binary_calibration_error(
            torch.sigmoid(logits.clip(-5, 5)), y, n_bins=10, norm=norm
        )
        assert getattr(unsure, name) == approx(value.item(), rel=1e-5)
    best = of_classes.binary_recall_at_fixed_precision(p, y, min_precision=0.8)[0].item()
    curve = scores.precision_recall_curve(10_000)
    assert curve.x[curve.y >= 0.8].max() == approx(best, rel=1e-6)
    at = of_classes.binary_sensitivity_at_specificity(p, y, min_specificity=0.75)[0].item()
    assert scores.sensitivity_at(0.75).value == approx(at, rel=1e-6)


@pytest.mark.filterwarnings("ignore:No positive samples")
@pytest.mark.parametrize("weighted", [False, True])
def test_multilabel(weighted):
    rng, weights, times = data(weighted)
    n_labels = 4
    x = np.round(2 * rng.standard_normal((len(times), n_labels)), 1) + 0.05
    labels = (rng.random(x.shape) < 1 / (1 + np.exp(-x))).astype(int)
    labels[:, 3], x[:, 3] = 0, -9.0  # neither true nor decided to be
    x[0, :2] = INF, -INF
    scores = fl.evaluate(labels, x, task="multilabel", **weights)
    y, logits = repeated(times, labels, x)
    p, told = torch.sigmoid(logits), {"num_labels": n_labels}
    expected = {
        "hamming_loss": of_classes.multilabel_hamming_distance(p, y, average="micro", **told),
        "subset_accuracy": of_classes.multilabel_exact_match(p, y, **told),
        "coverage_error": of_classes.multilabel_coverage_error(p, y, **told),
    }
    assert_same(scores, expected, 1e-6)
    for name in "precision", "recall", "f1":
        function = getattr(of_classes, f"multilabel_{name.replace('f1', 'f1_score')}")
        assert scores.n_absent == 1
        for average, share in ("macro", 3 / 4), ("micro", 1):  # what is absent counts as 0 there
            value = share * getattr(getattr(scores, average), name)
            assert value == approx(function(p, y, average=average, **told).item(), rel=1e-6), name
    each = of_classes.multilabel_auroc(p, y, average="none", **told).numpy()[:3]
    np.testing.assert_allclose(scores.by_label.auc[:3], each, rtol=1e-6)
    each = of_classes.multilabel_average_precision(p, y, average="none", **told).numpy()[:3]
    np.testing.assert_allclose(scores.by_label.average_precision[:3], each, rtol=1e-6)
    # Of equal scores it takes those of false labels for smaller: so these are without ties.
    x = rng.permutation(labels.size).reshape(x.shape) / 10.0 - 9
    scores = fl.evaluate(labels, x, task="multilabel", **weights)
    p = torch.sigmoid(repeated(times, x)[0])
    expected = {
        "label_ranking_average_precision": "multilabel_ranking_average_precision",
        "ranking_loss": "multilabel_ranking_loss",
    }
    for name, known in expected.items():
        value = getattr(of_classes, known)(p, y, **told).item()
        assert getattr(scores, name) == approx(value, rel=1e-5), name


@pytest.mark.parametrize("weighted", [False, True])
def test_regression(weighted):
    rng, weights, times = data(weighted)
    labels = np.round(rng.gamma(2.0, 2.0, len(times)), 1) + 0.1
    predictions = np.round(labels * rng.gamma(9.0, 1 / 9, len(times)), 1) + 0.1
    options = {"rmsle": True, "deviance": ["poisson", "gamma", ("tweedie", 1.5)]}
    scores = fl.evaluate(labels, predictions, task="regression", **options, **weights)
    y, p = repeated(times, labels, predictions)
    expected = {
        name: getattr(metrics, known)(p, y)
        for name, known in {
            "mse": "mean_squared_error",
            "mae": "mean_absolute_error",
            "mape": "mean_absolute_percentage_error",
            "smape": "symmetric_mean_absolute_percentage_error",
            "wape": "weighted_mean_absolute_percentage_error",
            "r2": "r2_score",
            "explained_variance": "explained_variance",
            "pearson": "pearson_corrcoef",
        }.items()  # Lin's concordance has n - 1 there
    }
    expected["rmse"] = metrics.mean_squared_error(p, y, squared=False)
    expected["rmsle"] = metrics.mean_squared_log_error(p, y).sqrt()
    assert_same(scores, expected, 1e-10)
    for name, power in ("poisson", 1), ("gamma", 2), ("tweedie 1.5", 1.5):
        value = metrics.tweedie_deviance_score(p, y, power=power).item()
        assert scores.deviance[name] == approx(value, rel=1e-10)
    predictions[3] = INF
    infinite = fl.evaluate(labels, predictions, task="regression")
    assert infinite.mae == metrics.mean_absolute_error(*repeated(1, predictions, labels)) == INF


@pytest.mark.parametrize("weighted", [False, True])
def test_ranking(weighted):
    rng, _, times = data(weighted, 20)
    labels = rng.integers(0, 4, (20, 9))
    labels[5] = 0  # a query without a relevant document
    tied = rng.integers(0, 4, labels.shape).astype(float)
    tied[3, :2] = INF, -INF
    more = {"query_weight": times} if weighted else {}
    counts = times * labels.any(axis=1)

    def mean_of(function, scores, **options):
        each = [
            function(*map(torch.from_numpy, (x, y)), **options).item()
            for x, y in zip(scores, labels, strict=True)
        ]
        return np.average(each, weights=counts)

    found = fl.evaluate(labels, tied, task="ranking", k=(3, None), **more)
    finite = np.nan_to_num(tied, posinf=9, neginf=-9)
    for k in found.k:
        expected = mean_of(retrieval.retrieval_normalized_dcg, finite, top_k=k)
        assert found.ndcg[k] == approx(expected, rel=1e-6)
    assert found.n_without_relevant == 1
    # The others take documents of equal scores in any order.
    scores = np.argsort(rng.random(labels.shape), axis=1) + 1.0  # up to 0 is never relevant there
    labels = (labels > 1).astype(int)
    counts = times * labels.any(axis=1)
    found = fl.evaluate(labels, scores, task="ranking", k=(3, None), **more)
    for k in found.k:
        for name, known in {
            "mean_average_precision": retrieval.retrieval_average_precision,
            "mean_reciprocal_rank": retrieval.retrieval_reciprocal_rank,
            "recall": retrieval.retrieval_recall,
            "precision": retrieval.retrieval_precision,
            "hit_rate": retrieval.retrieval_hit_rate,
        }.items():
            if (name, k) != ("mean_average_precision", 3):  # whose denominator is another
                expected = mean_of(known, scores, top_k=k)
                assert getattr(found, name)[k] == approx(expected, rel=1e-6), (name, k)


def test_comparisons():
    a, b = np.random.default_rng(0).standard_normal((2, 40, 5))
    a[:, 4] = b[:, 4] = -30.0
    found = fl.compare(a, b)
    p, q = (torch.log_softmax(torch.from_numpy(each), 1) for each in (a, b))
    assert found.kl.mean == approx(metrics.kl_divergence(p, q, log_prob=True).item(), rel=1e-12)


@pytest.fixture
def scoringrules(monkeypatch):
    """On NumPy: where it finds Numba, it compiles for seconds when it is imported."""
    monkeypatch.setitem(sys.modules, "numba", None)
    return pytest.importorskip("scoringrules")


@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_and_probabilities(weighted, scoringrules):
    rng, weights, times = data(weighted)
    labels = np.round(rng.standard_normal(len(times)), 1)
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    fan = np.sort(np.round(rng.standard_normal((len(labels), 5)), 1), axis=1)
    fan[2, 4] = 1e6
    scores = fl.evaluate(labels, fan, task="regression", quantiles=levels, **weights).quantiles
    for i, level in enumerate(levels):
        each = scoringrules.quantile_score(labels, fan[:, i], level)
        assert scores.pinball[i] == approx(np.average(each, weights=times), rel=1e-12)
    for i, level in enumerate(scores.level):
        each = scoringrules.interval_score(labels, fan[:, i], fan[:, 4 - i], 1 - level)
        assert scores.winkler[i] == approx(np.average(each, weights=times), rel=1e-12)
    y, p = (labels > 0).astype(int), np.round(rng.random(len(times)), 2)
    found = fl.evaluate(y, p, task="binary", from_probabilities=True, **weights)
    each = scoringrules.brier_score(y, p)
    assert found.brier == approx(np.average(each, weights=times), rel=1e-12)
