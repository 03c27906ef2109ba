"""`fl.evaluate` and `fl.Scorecard`, held against float64 from the formulas, and scikit-learn."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from cards import assert_same
from plain import both, compiled, plain
from scipy.stats import poisson
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

import fastloss as fl
from fastloss.evaluation import rows as rows_module
from fastloss.evaluation.calibration import SlopedScorecard
from fastloss.evaluation.class_scores import Counts
from fastloss.evaluation.sums import replicates
from fastloss.kernels import resample

pytestmark = plain

NUMBERS = (
    *("loss", "log_sum_exp", "prediction", "rank", "entropy", "confidence", "brier"),
    *("largest_logit", "energy"),
)
# One for the lanes, one along the row, one of several segments.
WIDTHS = (7, 200, 70_000)


def data(n, c, dtype=np.float32, seed=0, scale=3.0):
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal((n, c)) * scale).astype(dtype)
    labels = rng.integers(0, c, n)
    logits[np.arange(n), labels] += np.asarray(2 * scale, dtype)
    return labels, logits


def by_formula(labels, logits, temperature=1.0, softcap=None, mask=None):
    """The numbers of each row, in float64."""
    x = np.asarray(logits).astype(np.float64)
    if softcap is not None:
        x = softcap * np.tanh(x / softcap)
    if mask is not None:
        x = np.where(mask, x, -np.inf)
    x = x / temperature
    rows = np.arange(len(labels))
    gaps = x.max(axis=1, keepdims=True) - x
    exps = np.exp(-gaps)
    p = exps / exps.sum(axis=1, keepdims=True)
    log_sums = np.log(exps.sum(axis=1))
    one_hot = np.zeros_like(p)
    one_hot[rows, labels] = 1
    order = np.argsort(-x, axis=1, kind="stable")
    with np.errstate(invalid="ignore"):
        mean_gaps = np.where(p > 0, p * gaps, 0).sum(axis=1)
    return {
        "loss": gaps[rows, labels] + log_sums,
        "log_sum_exp": x.max(axis=1) + log_sums,
        "prediction": x.argmax(axis=1),
        "rank": np.argmax(order == labels[:, np.newaxis], axis=1),
        "entropy": log_sums + mean_gaps,
        "confidence": p.max(axis=1),
        "brier": ((p - one_hot) ** 2).sum(axis=1),
        "largest_logit": x.max(axis=1) * temperature,
        "energy": (x.max(axis=1) + log_sums) * temperature,
    }


def assert_rows(rows, expected, rtol):
    for name in NUMBERS:
        if name in ("prediction", "rank"):
            np.testing.assert_array_equal(rows[name], expected[name], err_msg=name)
        else:
            np.testing.assert_allclose(
                rows[name], expected[name], rtol=rtol, atol=rtol / 100, err_msg=name
            )


# -------------------------------------------------------------------------------------------------
# Rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@both("c", WIDTHS[:2], long=WIDTHS[2:])
def test_rows_are_those_of_the_formulas(c, dtype):
    labels, logits = data(40 if c > 1000 else 150, c, dtype)
    scores = fl.evaluate(labels, logits, rows=NUMBERS)
    assert_rows(scores.rows, by_formula(labels, logits), 2e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_16_bits(dtype):
    labels, logits = data(150, 7, dtype)
    assert_rows(fl.evaluate(labels, logits, rows=NUMBERS).rows, by_formula(labels, logits), 2e-5)


@pytest.mark.parametrize("c", WIDTHS[:2])
@pytest.mark.parametrize(
    "options",
    [{"temperature": 1.7}, {"softcap": 4.0}, {"class_mask": True}, {"rows masked": True}],
    ids=lambda options: next(iter(options)),
)
def test_options(c, options):
    labels, logits = data(150, c)
    inside = np.arange(c) % 3 != 1
    labels[~inside[labels]] = 0
    if "rows masked" in options:
        mask = np.random.default_rng(1).random(logits.shape) < 0.6
        mask[np.arange(150), labels] = True
        scores = fl.evaluate(labels, logits, class_mask=mask, rows=NUMBERS)
        expected = by_formula(labels, logits, mask=mask)
    elif "class_mask" in options:
        scores = fl.evaluate(labels, logits, class_mask=inside, rows=NUMBERS)
        expected = by_formula(labels, logits, mask=inside)
    else:
        scores = fl.evaluate(labels, logits, rows=NUMBERS, **options)
        expected = by_formula(labels, logits, **options)
    assert_rows(scores.rows, expected, 2e-5)


@both("c", WIDTHS[:2], long=WIDTHS[2:])
def test_the_loss_is_that_of_cross_entropy(c):
    """But for the order in which the exponentials of a row are added."""
    labels, logits = data(30, c)
    rows = fl.evaluate(labels, logits, rows=["loss"]).rows
    each = fl.CrossEntropy(reduction="none")(labels, logits)
    np.testing.assert_allclose(rows["loss"], each, rtol=4 * np.finfo(np.float32).eps)


@both("c", [7, 200], long=[2000])
def test_equal_logits(c):
    """The lower class id comes first: scikit-learn's rule, with the classes in reverse order."""
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, c, 300), rng.integers(0, 4, (300, c)).astype(np.float32)
    scores = fl.evaluate(labels, logits, rows=NUMBERS)
    assert_rows(scores.rows, by_formula(labels, logits), 2e-5)
    assert scores.accuracy == accuracy_score(labels, logits.argmax(axis=1))
    for k in (1, 2, 5):
        expected = top_k_accuracy_score(c - 1 - labels, logits[:, ::-1], k=k, labels=range(c))
        assert scores.top_k(k) == pytest.approx(expected, rel=1e-15)


@both("c, k", [(7, 3), (200, 5)], compiled=[(70_000, 20)])
@pytest.mark.long
def test_top_classes(c, k):
    labels, logits = data(20, c)
    logits[:, ::3] = logits[:, 1:2]  # equal ones
    scores = fl.evaluate(labels, logits, rows=["top_classes", "top_log_probs"], top=k)
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(scores.rows["top_classes"], expected)
    log_p = fl.cross_entropy.log_proba(logits.astype(np.float64))
    expected = np.take_along_axis(log_p, expected, axis=1)
    np.testing.assert_allclose(scores.rows["top_log_probs"], expected, rtol=2e-6, atol=1e-6)


def test_top_classes_of_few():
    scores = fl.evaluate(
        [1, 1], [[0.0, 1.0, 2.0], [np.nan, 0.0, 1.0]], class_mask=[True, True, False],
        rows=["top_classes", "top_log_probs"], top=3,
    )  # fmt: skip
    np.testing.assert_array_equal(scores.rows["top_classes"], [[1, 0, -1], [-1, -1, -1]])
    log_p = fl.cross_entropy.log_proba([1.0, 0.0])
    np.testing.assert_allclose(scores.rows["top_log_probs"][0], [*log_p, -np.inf])
    assert np.isnan(scores.rows["top_log_probs"][1]).all()


@pytest.mark.parametrize("c", [3, 200])
def test_confident_rows_keep_their_digits(c):
    """A row of [20, 0, -5, and nothing]: what is small is computed without subtracting."""
    logits = np.full((1, c), -np.inf, np.float32)
    logits[0, :3] = 20, 0, -5
    rows = fl.evaluate([0], logits, rows=NUMBERS).rows
    small, smaller = math.exp(-20), math.exp(-25)
    rest = small + smaller
    assert rows["loss"][0] == pytest.approx(math.log1p(rest), rel=1e-6)
    p = small / (1 + rest), smaller / (1 + rest)
    assert rows["brier"][0] == pytest.approx(p[0] ** 2 + p[1] ** 2 + sum(p) ** 2, rel=1e-6)
    entropy = math.log1p(rest) + 20 * p[0] + 25 * p[1]
    assert rows["entropy"][0] == pytest.approx(entropy, rel=1e-6)


@both("c", WIDTHS[:2], long=WIDTHS[2:])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.long
def test_ranks_among_equal_logits(c, dtype):
    """Of few numbers, that many classes have: next to each other, of either sign, of infinity."""
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    numbers = np.array([-np.inf, -huge, -1, -tiny, -0.0, 0.0, tiny, 1, huge], dtype)
    numbers = np.append(numbers, np.nextafter(numbers[1:-1], dtype(np.inf)))
    rng = np.random.default_rng(c)
    logits = rng.choice(numbers, (40, c))
    labels = rng.integers(0, c, 40)
    labels[:2] = 0, c - 1
    logits[3, labels[3]] = -np.inf
    at_label = np.take_along_axis(logits, labels[:, None], 1)
    before = np.arange(c) < labels[:, None]
    expected = (logits > at_label).sum(1) + ((logits == at_label) & before).sum(1)
    found = fl.evaluate(labels, logits, rows=["rank"]).rows["rank"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("c", [3, 200])
@pytest.mark.parametrize(
    ("first", "loss", "rank", "prediction"),
    [
        ((np.nan, 1, 2), np.nan, -1, -1),
        ((np.inf, 1, 2), 0.0, 0, 0),
        ((1, np.inf, 2), np.inf, 2, 1),
        ((-np.inf, 1, 2), np.inf, 2, 2),
        ((np.inf, np.inf, 2), np.nan, -1, -1),
    ],
)
def test_odd_rows(c, first, loss, rank, prediction):
    logits = np.full((2, c), -np.inf)
    logits[:, :3] = first, (0, 1, 0)
    scores = fl.evaluate([0, 1], logits, rows=NUMBERS)
    rows = scores.rows
    np.testing.assert_equal(rows["loss"][0], loss)
    assert (rows["rank"][0], rows["prediction"][0]) == (rank, prediction)
    assert (rows["rank"][1], rows["prediction"][1]) == (0, 1)
    assert scores.n_undefined == math.isnan(loss)
    np.testing.assert_equal(scores.loss, loss if loss else rows["loss"].mean())
    assert scores.accuracy == (1 + (rank == 0)) / 2
    if math.isnan(loss):
        assert math.isnan(scores.entropy)
        assert math.isnan(scores.mean_reciprocal_rank)


def test_a_row_of_minus_infinity_is_undefined():
    scores = fl.evaluate([0], np.full((1, 4), -np.inf), rows=NUMBERS)
    assert scores.n_undefined == 1
    assert math.isnan(scores.rows["confidence"][0]) or scores.rows["confidence"][0] >= 0


# -------------------------------------------------------------------------------------------------
# Means


def weighted(values, weights):
    return float((values * weights).sum() / weights.sum())


def test_means_are_those_of_scikit_learn():
    labels, logits = data(500, 7, np.float64, scale=1.0)
    weight = np.random.default_rng(1).uniform(0, 2, 500)
    scores = fl.evaluate(labels, logits, sample_weight=weight)
    p = fl.cross_entropy.proba(logits)
    every = {"labels": range(7), "sample_weight": weight}
    assert scores.loss == pytest.approx(log_loss(labels, p, **every), rel=1e-12)
    assert scores.accuracy == pytest.approx(
        accuracy_score(labels, p.argmax(axis=1), sample_weight=weight), rel=1e-12
    )
    assert scores.brier == pytest.approx(
        brier_score_loss(labels, p, scale_by_half=False, **every), rel=1e-12
    )
    for k in (1, 2, 6):
        expected = top_k_accuracy_score(labels, p, k=k, **every)
        assert scores.top_k(k) == pytest.approx(expected, rel=1e-12)
    assert scores.top_k(7) == scores.top_k(100) == pytest.approx(1, rel=1e-15)


def test_means_are_those_of_the_rows():
    labels, logits = data(300, 7)
    rng = np.random.default_rng(1)
    weight, of_class = rng.uniform(0, 2, 300), rng.uniform(0.5, 2, 7)
    weight[::10] = 0
    labels[5] = -100
    scores = fl.evaluate(
        labels, logits, sample_weight=weight, class_weight=of_class, ignore_index=-100, rows=NUMBERS
    )
    rows = scores.rows
    w = weight * of_class[labels.clip(0)] * (labels != -100)
    counted = w > 0
    w, labels = w[counted], labels[counted]
    rows = {name: row[counted] for name, row in rows.items()}
    assert (scores.n_rows, scores.n_counted) == (300, counted.sum())
    assert scores.weight == pytest.approx(w.sum(), rel=1e-15)
    for name in ("loss", "entropy", "confidence", "brier"):
        assert getattr(scores, name) == pytest.approx(weighted(rows[name], w), rel=1e-14), name
    correct = rows["rank"] == 0
    assert scores.accuracy == pytest.approx(weighted(correct, w), rel=1e-14)
    assert scores.mean_reciprocal_rank == pytest.approx(
        weighted(1 / (rows["rank"] + 1), w), rel=1e-14
    )
    bessel = len(w) / (len(w) - 1)
    error = np.sqrt(bessel * (w**2 * (rows["loss"] - scores.loss) ** 2).sum()) / w.sum()
    assert scores.loss_standard_error == pytest.approx(error, rel=1e-10)
    error = np.sqrt(bessel * (w**2 * (correct - scores.accuracy) ** 2).sum()) / w.sum()
    assert scores.accuracy_standard_error == pytest.approx(error, rel=1e-10)
    assert scores.perplexity == math.exp(scores.loss)
    for label in range(7):
        mine = labels == label
        assert scores.by_class.n[label] == mine.sum()
        expected = weighted(rows["loss"][mine], w[mine])
        assert scores.by_class.loss[label] == pytest.approx(expected, rel=1e-14)
        expected = weighted(correct[mine], w[mine])
        assert scores.by_class.accuracy[label] == pytest.approx(expected, rel=1e-14)


def test_standard_errors_are_those_of_textbooks():
    labels, logits = data(50, 7)
    scores = fl.evaluate(labels, logits, rows=["loss"])
    expected = scores.rows["loss"].std(ddof=1) / math.sqrt(50)
    assert scores.loss_standard_error == pytest.approx(expected, rel=1e-12)
    assert math.isnan(fl.evaluate(labels[:1], logits[:1]).loss_standard_error)


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("size", [1e82, 1e150, 1e155, 1e300])
def test_standard_errors_of_huge_losses(size, parts):
    """Where their squares are beyond float64, they are infinite."""
    losses = np.array([1, 0.5, 0.25, 1]) * size
    expected = (losses / size).std(ddof=1) / 2 * size if size < 1e154 else math.inf
    card, comparison = fl.Scorecard(), fl.Comparison()
    for rows in np.split(np.arange(4), parts):
        logits = np.stack([0 * losses, losses], axis=1)[rows]
        labels = np.zeros(len(rows), int)
        card.merge(fl.Scorecard().update(labels, logits))
        comparison.merge(fl.Comparison().update(logits, logits, labels))
        card._sums, comparison._sums = card._sums.added_up(), comparison._sums.added_up()
    for loss, error in (
        (card.result().loss, card.result().loss_standard_error),
        (comparison.result().loss_a.mean, comparison.result().loss_a.standard_error),
    ):
        assert loss == pytest.approx(0.6875 * size)
        assert error == pytest.approx(expected)


def test_the_mean_loss_is_that_of_cross_entropy():
    labels, logits = data(1000, 7)
    weight = np.random.default_rng(1).uniform(0, 2, 1000)
    expected = fl.cross_entropy(labels, logits, sample_weight=weight)
    assert fl.evaluate(labels, logits, sample_weight=weight).loss == pytest.approx(expected, 1e-7)


def test_bins():
    labels, logits = data(2000, 7, np.float64, scale=0.7)
    scores = fl.evaluate(labels, logits, n_bins=10, rows=("confidence", "rank"))
    confidence, correct = scores.rows["confidence"], scores.rows["rank"] == 0
    np.testing.assert_array_equal(scores.bin_edges, np.arange(11) / 10)
    bins = np.minimum(np.searchsorted(scores.bin_edges, confidence, side="right") - 1, 9)
    error = largest = 0.0
    for b in range(10):
        mine = bins == b
        assert scores.bins.n[b] == mine.sum()
        if mine.any():
            gap = abs(confidence[mine].mean() - correct[mine].mean())
            error += gap * mine.mean()
            largest = max(largest, gap)
    assert scores.calibration_error == pytest.approx(error, rel=1e-12)
    assert scores.maximum_calibration_error == pytest.approx(largest, rel=1e-12)
    assert fl.evaluate([0], [[np.inf, 0.0]]).bins.n[-1] == 1  # a confidence of 1


@pytest.mark.parametrize("weighed", [False, True])
def test_precision_recall_and_the_like_are_those_of_scikit_learn(weighed):
    """Of 9 classes: one that no row has, one that is never predicted, one that is neither."""
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 7, 300), rng.standard_normal((300, 9))
    logits[np.arange(300), labels] += 1
    logits[:, 0] = -9
    logits[:, 8] = -10
    weight = rng.uniform(0, 2, 300) if weighed else None
    scores = fl.evaluate(labels, logits, sample_weight=weight, confusion=True)
    predictions, every = logits.argmax(axis=1), {"labels": range(9), "sample_weight": weight}
    expected = confusion_matrix(labels, predictions, **every)
    np.testing.assert_allclose(scores.confusion, expected, rtol=1e-14)
    by_class = scores.by_class
    np.testing.assert_allclose(by_class.predicted_weight, expected.sum(axis=0), rtol=1e-14)
    p, r, f, _ = precision_recall_fscore_support(labels, predictions, zero_division=np.nan, **every)
    for found, truth in ((by_class.precision, p), (by_class.recall, r), (by_class.f1, f)):
        np.testing.assert_allclose(found, truth, rtol=1e-14)
    np.testing.assert_array_equal(by_class.recall, by_class.accuracy)
    assert np.isnan([p[0], r[7], f[8]]).all()
    assert scores.n_absent == 1
    for name in ("macro", "micro", "weighted"):
        of_sklearn = precision_recall_fscore_support(
            labels, predictions, average=name, zero_division=0, sample_weight=weight
        )
        found = list(getattr(scores, name).to_dict().values())
        np.testing.assert_allclose(found, of_sklearn[:3], rtol=1e-14, err_msg=name)
    kappa = cohen_kappa_score(labels, predictions, sample_weight=weight)
    assert scores.kappa == pytest.approx(kappa, rel=1e-13)
    mcc = matthews_corrcoef(labels, predictions, sample_weight=weight)
    assert scores.matthews == pytest.approx(mcc, rel=1e-13)
    huge = fl.evaluate(
        labels, logits, sample_weight=(1 if weight is None else weight) * np.full(300, 1e300)
    )
    assert (huge.kappa, huge.macro.f1) == pytest.approx((scores.kappa, scores.macro.f1), rel=1e-13)


def test_agreement_keeps_its_digits():
    """Of a million rows all but two of one class, these being right and wrong."""
    counts = Counts(*np.array([[999_998.0, 2], [999_999, 1], [999_998, 1]]), 0.0)
    t, p, s = (999_998, 2), (999_999, 1), 1_000_000
    both = 999_999 * s - (t[0] * p[0] + t[1] * p[1])
    kappa = Fraction(both, s * s - (t[0] * p[0] + t[1] * p[1]))
    squares = Fraction(both**2, (s * s - t[0] ** 2 - t[1] ** 2) * (s * s - p[0] ** 2 - p[1] ** 2))
    found = counts.agreement
    assert found == pytest.approx((float(kappa), math.sqrt(squares)), rel=1e-15)


def test_agreement_where_there_is_none():
    """NaN without rows, or where labels are constant; a row with NaN is predicted as nothing."""
    constant = fl.evaluate([0, 0], [[1.0, 0.0], [2.0, 0.0]])
    assert np.isnan([constant.matthews, constant.kappa]).all()
    assert constant.macro.f1 == 1.0
    assert repr(constant).splitlines()[1].split() == ["classes", "2", "(1", "absent)"]
    with pytest.warns(RuntimeWarning, match="no row counts"):
        nothing = fl.evaluate([0], [[0.0, 1.0]], sample_weight=[0.0], confusion=True)
    assert np.isnan([nothing.macro.f1, nothing.micro.f1, nothing.top_k(1)]).all()
    assert (nothing.n_absent, nothing.confusion.sum()) == (2, 0)
    logits = np.array([[1.0, 0], [0, 1], [np.nan, 0], [1, 0]])
    scores = fl.evaluate([0, 1, 1, 1], logits, confusion=True)
    np.testing.assert_array_equal(scores.confusion, [[1, 0], [1, 1]])
    labels, predictions = [0, 1, 1, 1], [0, 1, 2, 0]  # a class that is no label
    assert scores.matthews == pytest.approx(matthews_corrcoef(labels, predictions))
    assert scores.kappa == pytest.approx(cohen_kappa_score(labels, predictions))
    assert (scores.micro.precision, scores.micro.recall) == (pytest.approx(2 / 3), 0.5)
    without = fl.evaluate([0, 1], logits[:2], by_class=False)
    assert without.by_class is without.macro is without.kappa is without.confusion is None


def test_a_confusion_matrix_has_4096_classes_at_most():
    card = fl.Scorecard(confusion=True)
    with pytest.raises(ValueError, match="there are 4,097 classes: a matrix has at most 4,096"):
        card.update([0], np.zeros((1, 4097), np.float32))
    assert card.n_rows == 0
    rows = fl.evaluate([0], np.zeros((1, 4097), np.float32), rows=["prediction"]).rows
    assert rows["prediction"][0] == 0


def test_bands_of_accuracy_are_wilsons():
    """10 right of 10, and 3 of 10: the bounds of the textbook, and those of twice as many rows."""
    right = np.repeat([[True] * 10, [True] * 3 + [False] * 7], 1, axis=0)
    labels, logits = np.where(right, 0, 1).ravel(), np.tile([1.0, 0.0], (20, 1))
    groups = np.repeat([0, 1], 10)
    means = fl.evaluate(labels, logits, groups=groups).groups.means
    low, high, formula = means.accuracy_band()
    np.testing.assert_allclose(low, [0.7224672, 0.1077913], rtol=1e-6)
    np.testing.assert_allclose(high, [1.0, 0.6032219], rtol=1e-6)
    assert formula == "Wilson"
    weight = np.tile([1.0, 2.0, 0.0, 0.5, 0.5], 4)
    weighed = fl.evaluate(labels, logits, groups=groups, sample_weight=weight).groups.means
    found = weighed.accuracy_band(0.9)
    assert found.formula == "Wilson, effective n"
    w, z = weight[:10], 1.6448536269514722
    n, p = w.sum() ** 2 / (w**2).sum(), weighed.accuracy
    # The bounds solve (p - x)^2 = z^2 x (1 - x) / n.
    for x in found[:2]:
        np.testing.assert_allclose((p - x) ** 2, z**2 * x * (1 - x) / n, rtol=1e-9, atol=1e-15)
    for level, error in ((1.0, ValueError), (0, ValueError), ("95%", TypeError), (True, TypeError)):
        with pytest.raises(error, match="level"):
            means.accuracy_band(level)


def test_sequences():
    labels, logits = data(20, 7)
    logits[3:9, :] = 0
    logits[np.arange(3, 9), labels[3:9]] = 5
    losses = fl.CrossEntropy(reduction="none")(labels, logits).astype(np.float64)
    sequences = fl.evaluate(
        labels, logits, offsets=[0, 3, 9, 9, 20], n_bytes=[10, 30, 0, 40]
    ).sequences
    np.testing.assert_array_equal(sequences.n, [3, 6, 0, 11])
    sums = [losses[:3].sum(), losses[3:9].sum(), 0, losses[9:].sum()]
    np.testing.assert_allclose(sequences.log_probability, np.negative(sums), rtol=1e-7)
    correct = logits.argmax(axis=1) == labels
    expected = [correct[:3].all(), True, True, correct[9:].all()]
    np.testing.assert_array_equal(sequences.is_greedy, expected)
    bits = np.divide(sums, math.log(2) * np.array([10, 30, np.nan, 40]))
    np.testing.assert_allclose(sequences.bits_per_byte, bits, rtol=1e-7)


def test_sequences_go_on():
    labels, logits = data(20, 7)
    whole = fl.evaluate(labels, logits, offsets=[0, 8, 20]).sequences
    card = fl.Scorecard()
    ids = np.repeat([0, 1], [8, 12])
    for part in (np.s_[:5], np.s_[5:11], np.s_[11:]):
        card.update(labels[part], logits[part], sequences=ids[part])
    parts = card.result().sequences
    np.testing.assert_array_equal(parts.log_probability, whole.log_probability)
    numbered = fl.Scorecard().update(labels[:8], logits[:8], offsets=[0, 8], n_bytes=[3])
    numbered = fl.Scorecard.from_state(numbered.state())
    numbered.update(labels[8:], logits[8:], offsets=[0, 12], n_bytes=[4])
    assert numbered.result().sequences.n_bytes.tolist() == [3, 4]
    merged = fl.Scorecard().update(labels[:8], logits[:8], offsets=[0, 8])
    merged.merge(fl.Scorecard().update(labels[8:], logits[8:], offsets=[0, 12]))
    for card in (numbered, merged):
        found = card.result().sequences
        np.testing.assert_array_equal(found.ids, whole.ids)
        np.testing.assert_array_equal(found.log_probability, whole.log_probability)


# -------------------------------------------------------------------------------------------------
# Errors by cluster, and a bootstrap


def test_sequences_are_clusters_if_all_rows_have_one():
    labels, logits = data(30, 3)
    expected = fl.evaluate(labels, logits, clusters=np.repeat([0, 1, 2], [5, 10, 15]))
    found = fl.evaluate(labels, logits, offsets=[0, 5, 5, 15, 30])  # one has no rows
    assert (found.errors, found.n_clusters) == ("clusters", 3)
    assert found.loss_standard_error == expected.loss_standard_error
    card = fl.Scorecard().update(labels[:5], logits[:5], offsets=[0, 5])
    mixed = card.update(labels[5:], logits[5:]).result()
    assert mixed.errors == "rows"
    assert mixed.loss_standard_error == fl.evaluate(labels, logits).loss_standard_error


def test_counts_of_a_bootstrap_are_those_of_poisson():
    """The bounds are those of the distribution, and drawn numbers have its mean and variance."""
    for k in range(13):
        bound = math.ceil(poisson.cdf(k, 1) * 2**32 - 0.5)
        assert k == 12 or (resample.drawn(bound - 1), resample.drawn(bound)) == (k, k + 1)
    ids = np.concatenate([np.arange(30), np.arange(1, 11) << 32, -np.arange(1, 11)])
    counts = counts_of(ids, 60)
    # Of 3,000 numbers the mean is 1 ± 0.018, and the variance 1 ± 0.032.
    assert counts.mean() == pytest.approx(1, abs=0.06)
    assert counts.var() == pytest.approx(1, abs=0.1)
    for matrix in (counts, counts.T):  # rows are not alike, and neither are replicates
        correlations = np.corrcoef(matrix) - np.eye(len(matrix))
        assert abs(correlations).max() < 5 / math.sqrt(matrix.shape[1])


def counts_of(ids, n):
    """How often each row is in each replicate: the weight of one that is alone."""
    one = np.ones(1)
    alone = [replicates.replicated(n, np.array([i]), one, one[:, None]) for i in ids]
    return np.array([table.sums[:, 0] for table in alone])


def test_a_bootstrap_does_not_drop_what_is_not_known():
    labels, logits = data(6, 3)
    logits[0] = np.nan
    found = fl.evaluate(labels, logits, bootstrap=40, ids=np.arange(6)).bootstrap
    differences = fl.compare(logits, -logits, bootstrap=40, ids=np.arange(6)).bootstrap
    for bootstrap, name in (found, "loss"), (differences, "kl"):
        assert 0 < np.isnan(bootstrap.replicates[name]).sum() < 40  # whoever drew the row
        assert math.isnan(bootstrap.standard_error(name))
        assert np.isnan(bootstrap.interval(name)).all()
    assert np.isfinite(found.interval("accuracy")).all()
    # Replicates without a row are left out.
    one = fl.evaluate([0], [[1.0, 0.0]], bootstrap=40, ids=[0])
    assert 0 < np.isnan(one.bootstrap.replicates["loss"]).sum() < 40
    assert one.bootstrap.interval("loss") == (one.loss, one.loss)
    # An infinite loss makes all that it is in infinite.
    endless = fl.evaluate([0, 0], [[-np.inf, 0.0]] * 2, bootstrap=40, ids=[0, 1]).bootstrap
    assert endless.interval("loss") == (math.inf, math.inf)
    means = found.replicates["accuracy"]
    assert found.standard_error("accuracy") == pytest.approx(means.std(ddof=1))
    assert found.interval("accuracy", 0.5) == tuple(np.quantile(means, [0.25, 0.75]))
    with pytest.raises(ValueError, match="there is no 'rank': there are loss, accuracy"):
        found.interval("rank")


def test_standard_errors_of_a_bootstrap_are_those_of_the_formulas():
    """Of 200 replicates the error is known to 1 / sqrt(400) = 5%."""
    labels, logits = data(40, 3)
    for by in ({"ids": np.arange(40)}, {"clusters": np.arange(40) // 4}):
        scores = fl.evaluate(labels, logits, bootstrap=200, **by)
        for name in ("loss", "accuracy"):
            expected = getattr(scores, f"{name}_standard_error")
            assert scores.bootstrap.standard_error(name) == pytest.approx(expected, rel=0.2)


# -------------------------------------------------------------------------------------------------
# Risk and coverage


def risk_by_rows(confidence, wrong, w, n=2000):
    """E(x) / x and E(x) / W, averaged over a fine grid of x; rows of equal confidence as one."""
    levels = np.unique(confidence)[::-1]
    sizes, errors = ([(v * (confidence == c)).sum() for c in levels] for v in (w, w * wrong))
    ends = np.append(0, np.cumsum(sizes))
    x = (np.arange(n) + 0.5) / n * ends[-1]
    e = np.interp(x, ends, np.append(0, np.cumsum(errors)))
    return (e / x).mean(), e.mean() / ends[-1]


@pytest.mark.parametrize("weighed", [False, True])
def test_risk_and_coverage(weighed):
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 3, 60), rng.integers(0, 3, (60, 3)) * 1.0  # ties
    w = rng.uniform(0, 2, 60) if weighed else np.ones(60)
    w[::9] *= 1 - weighed
    scores = fl.evaluate(
        labels, logits, sample_weight=w, by_confidence=True, rows=["confidence", "rank"]
    )
    confidence, wrong = scores.rows["confidence"], scores.rows["rank"] > 0
    aurc, augrc = risk_by_rows(confidence, wrong, w)
    assert scores.aurc == pytest.approx(aurc, rel=2e-3)
    assert scores.augrc == pytest.approx(augrc, rel=1e-5)
    # The same from the AUC of right over wrong rows.
    auc = roc_auc_score(~wrong, confidence, sample_weight=w)
    acc = scores.accuracy
    expected = (1 - auc) * acc * (1 - acc) + (1 - acc) ** 2 / 2
    assert scores.augrc == pytest.approx(expected, rel=1e-12)
    assert "AURC" in repr(scores)


def test_risk_by_hand():
    """Right, wrong, both at once: E(x) is 0, then x - 1, then 1 + (x - 2) / 2."""
    logits = np.array([[3.0, 0], [2, 0], [1, 0], [1, 0]])
    scores = fl.evaluate([0, 1, 0, 1], logits, by_confidence=True)
    area = (1 - math.log(2)) + 1  # of 1 - 1 / x from 1 to 2, and of 1 / 2 from 2 to 4
    assert scores.aurc == pytest.approx(area / 4, rel=1e-14)
    assert scores.augrc == pytest.approx((0.5 + 3.0) / 16, rel=1e-14)
    odd = fl.evaluate([0, 1], [[np.nan, 0], [1, 0]], by_confidence=True)
    assert np.isnan([odd.aurc, odd.augrc]).all()
    assert odd.equal_mass_calibration_error == pytest.approx(odd.calibration_error)
    with pytest.warns(RuntimeWarning, match="no row counts"):
        none = fl.evaluate([0], [[0.0, 1]], sample_weight=[0.0], by_confidence=True)
    assert np.isnan([none.aurc, none.augrc, none.equal_mass_calibration_error]).all()


def test_the_equal_mass_calibration_error_is_that_of_equal_parts():
    """Of 40 rows of different confidence, in 5 bins of 8 rows each."""
    labels, logits = data(40, 3, np.float64, scale=1.0)
    scores = fl.evaluate(labels, logits, n_bins=5, by_confidence=True, rows=["confidence", "rank"])
    order = np.argsort(scores.rows["confidence"])
    gaps = (scores.rows["confidence"] - (scores.rows["rank"] == 0))[order].reshape(5, 8)
    expected = abs(gaps.mean(axis=1)).mean()
    assert scores.equal_mass_calibration_error == pytest.approx(expected, rel=1e-12)


@both("dtype", [np.float64, np.float16], long=[np.float64])
def test_the_classwise_calibration_error(dtype, monkeypatch):
    """The mean over classes of that of one class against all others."""
    monkeypatch.setattr("fastloss.evaluation.scorecard.PROBABILITIES", 40)  # parts of 16 rows
    labels, logits = data(40, 3, dtype, scale=1.0)
    logits[3, 0] = np.nan
    w = np.arange(40.0) % 3
    mask = np.random.default_rng(1).random((40, 3)) < 0.8
    mask[np.arange(40), labels] = True
    given = {"sample_weight": w, "class_mask": mask, "temperature": 1.5, "n_bins": 4}
    scores = fl.evaluate(labels, logits, classwise=True, **given)
    x = np.where(mask, logits.astype(np.float64), -np.inf)
    p = fl.CrossEntropy(temperature=1.5).proba(x)
    known = ~np.isnan(logits).any(axis=1)
    p, labels, w = p[known], labels[known], w[known]
    error = 0.0
    for j in range(3):
        bins = np.minimum((p[:, j] * 4).astype(int), 3)
        gaps = [(w * (p[:, j] - (labels == j)))[bins == b].sum() for b in range(4)]
        error += np.abs(gaps).sum() / w.sum() / 3
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    assert scores.classwise_calibration_error == pytest.approx(error, rel=rtol)
    assert "classwise" in repr(scores)


# -------------------------------------------------------------------------------------------------
# Language models


def test_top_k_and_min_k_of_sequences():
    labels, logits = data(30, 5, scale=1.0)
    offsets = [0, 7, 7, 19, 30]
    weight = np.ones(30)
    weight[2] = 0
    options = {"offsets": offsets, "sample_weight": weight, "tokens": True}
    scores = fl.evaluate(labels, logits, rows=["loss", "rank"], **options)
    parts = [[0, 1, 3, 4, 5, 6], [], range(7, 19), range(19, 30)]
    rank, loss = scores.rows["rank"], scores.rows["loss"]
    for k in (1, 2, 5):
        expected = [np.mean(rank[list(part)] < k) if len(part) else np.nan for part in parts]
        np.testing.assert_allclose(scores.sequences.top_k(k), expected, rtol=1e-14)
    for share in (0, 0.2, 0.5, 1):
        expected = [
            -np.sort(loss[list(part)])[::-1][: max(int(len(part) * share), 1)].mean()
            if len(part)
            else np.nan
            for part in parts
        ]
        np.testing.assert_allclose(scores.sequences.min_k(share), expected, rtol=1e-12)
    card = fl.Scorecard(tokens=True)  # numbered on, by merging and by updates
    for a, b in ((0, 7), (7, 19)):
        other = fl.Scorecard(tokens=True)
        other.update(labels[a:b], logits[a:b], sample_weight=weight[a:b], offsets=[0, b - a])
        card.merge(fl.Scorecard.from_state(other.state(), tokens=True))
    card.update(labels[19:], logits[19:], offsets=[0, 11])
    np.testing.assert_array_equal(
        card.result().sequences.min_k(), scores.sequences.min_k()[[0, 2, 3]]
    )
    with pytest.raises(ValueError, match="evaluate with tokens=True"):
        fl.evaluate(labels, logits, offsets=offsets).sequences.min_k()
    for share, error in ((-0.1, ValueError), (1.5, ValueError), ("a", TypeError)):
        with pytest.raises(error, match="share"):
            scores.sequences.min_k(share)
    with pytest.raises(ValueError, match="k is 0"):
        scores.sequences.top_k(0)


def test_choices_of_questions():
    """Three questions: right by both; right by length alone; a tie, of which the first counts."""
    log_p = np.array([-1.0, -2, -3, -4.0, -5, -2.0, -2, -9])
    n_bytes = [2, 2, 2, 8, 20, 4, 4, 4]
    logits = np.stack([np.zeros(8), np.log(np.expm1(-log_p))], axis=1)  # loss -log_p of class 0
    sequences = fl.evaluate(np.zeros(8, int), logits, offsets=range(9), n_bytes=n_bytes).sequences
    choices = sequences.choices([0, 3, 5, 8], [0, 1, 1])
    np.testing.assert_array_equal(choices.predictions, [0, 0, 0])
    np.testing.assert_array_equal(choices.predictions_norm, [0, 1, 0])
    assert (choices.n, choices.acc, choices.acc_norm) == (3, 1 / 3, 2 / 3)
    for error in (choices.acc_standard_error, choices.acc_norm_standard_error):
        assert error == pytest.approx(math.sqrt(1 / 3 * 2 / 3 / 2))
    assert choices.to_dict()["predictions"] == [0, 0, 0]
    bare = fl.evaluate(np.zeros(8, int), logits, offsets=range(9)).sequences
    assert bare.choices([0, 8], [0]).acc_norm is None
    for offsets, answers, message in (
        ([0, 8], [8], r"answers\[0\] is 8, but question 0 has 8 choices"),
        ([0, 8], [0, 0], "answers has shape"),
        ([0, 8], [0.0], "answers has shape .* float64"),
        ([0, 7], [0], "must go from 0 to 8, the number of sequences"),
    ):
        with pytest.raises(ValueError, match=message):
            bare.choices(offsets, answers)


# -------------------------------------------------------------------------------------------------
# Parts of a whole


@compiled
def test_parts_in_the_same_order_give_the_same_bits():
    labels, logits = data(3000, 7)
    whole = fl.evaluate(labels, logits)
    card = fl.Scorecard()
    for start in range(0, 3000, 700):
        card.update(labels[start : start + 700], logits[start : start + 700])
    assert card.result() == whole


def test_leading_axes():
    labels, logits = data(60, 7)
    expected = fl.evaluate(labels, logits)
    for given_logits in (
        logits.reshape(5, 12, 7),
        np.asfortranarray(logits.reshape(5, 12, 7)),
        logits.reshape(3, 4, 5, 7).transpose(1, 0, 2, 3).copy().transpose(1, 0, 2, 3),
    ):
        for dtype in (np.uint8, np.int32):
            ids = labels.reshape(given_logits.shape[:-1]).astype(dtype)
            assert fl.evaluate(ids, given_logits) == expected


# -------------------------------------------------------------------------------------------------
# Layouts and shapes


@pytest.mark.parametrize("k", [0, -1, 1.0, "1", True, np.bool_(True), None])
def test_a_bad_k(k):
    with pytest.raises(ValueError, match="k is .*, but must be an integer of at least 1"):
        fl.evaluate([1], [[0.0, 3.0]]).top_k(k)


def test_slabs(monkeypatch):
    """Rows are scored in parts; neither results nor rows show where they are cut."""
    labels, logits = data(64, 7)
    groups = labels % 2
    names = (*NUMBERS, "top_classes", "top_log_probs")
    whole = fl.evaluate(labels, logits, groups=groups, offsets=[0, 30, 64], rows=names, top=2)
    monkeypatch.setattr("fastloss.evaluation.rows.SLAB_ROWS", 5)
    for shaped in (np.s_[:], np.s_[::-1]):
        rows = {name: np.empty_like(array) for name, array in whole.rows.items()}
        cube = np.asfortranarray(logits.reshape(8, 8, 7)) if shaped == np.s_[::-1] else logits
        ids = labels.reshape(cube.shape[:-1])
        rows = {k: v.reshape(*ids.shape, *v.shape[1:]) for k, v in rows.items()}
        parts = fl.evaluate(
            ids, cube, groups=groups.reshape(ids.shape), offsets=[0, 30, 64], rows=rows
        )
        assert_same(parts, whole, 0.0)
        for name in names:
            flat = rows[name].reshape(whole.rows[name].shape)
            np.testing.assert_array_equal(flat, whole.rows[name])


def test_rows_of_memory_mapped_arrays(tmp_path):
    labels, logits = data(50, 7)
    out = np.lib.format.open_memmap(tmp_path / "loss.npy", "w+", np.float32, (50,))
    ranks = np.lib.format.open_memmap(tmp_path / "rank.npy", "w+", np.int8, (50,))
    scores = fl.evaluate(labels, logits, rows={"loss": out, "rank": ranks})
    expected = fl.evaluate(labels, logits, rows=["loss", "rank"]).rows
    assert scores.rows["loss"] is out
    np.testing.assert_array_equal(np.load(tmp_path / "loss.npy"), expected["loss"].astype("f4"))
    np.testing.assert_array_equal(np.load(tmp_path / "rank.npy"), expected["rank"])


def test_readable():
    labels, logits = data(50, 7)
    scores = fl.evaluate(labels, logits, groups=labels)
    assert "accuracy" in repr(scores)
    assert "groups" in repr(scores)
    assert scores.to_dict(top_k=(3,))["top_k"] == {"3": scores.top_k(3)}


# -------------------------------------------------------------------------------------------------
# Errors, before anything is changed

LABELS, LOGITS = [0, 1, 2], np.zeros((3, 4))


@pytest.mark.parametrize(
    ("error", "text", "arguments", "options"),
    [
        (ValueError, r"labels\[2\] is 4, but class ids go from 0 to 3", ([0, 1, 4], LOGITS), {}),
        (TypeError, r"one class id: write np.argmax\(labels", (LOGITS + 0.25, LOGITS), {}),
        (ValueError, r"nothing is broadcast", ([0, 1], LOGITS), {}),
        (TypeError, r"write np.asarray\(labels\).astype", ([0.0, 1.0, 2.0], LOGITS), {}),
        (ValueError, r"sample_weight\[1\] is -1", None, {"sample_weight": [1.0, -1.0, 1.0]}),
        (ValueError, "sample_weight has shape", None, {"sample_weight": [1.0]}),
        (ValueError, "class_weight has 2 numbers, but there are 4", None, {"class_weight": [1, 2]}),
        (
            ValueError,
            r"labels\[1\] is 1, a class that class_mask rules out",
            None,
            {"class_mask": [True, False, True, True]},
        ),
        (TypeError, "groups has dtype float64", None, {"groups": [0.0, 1.0, 2.0]}),
        (ValueError, "groups has shape", None, {"groups": [0, 1]}),
        (ValueError, "do not fit into int64", None, {"groups": np.array([0, 1, 2**63], "u8")}),
        (ValueError, "not both", None, {"sequences": [0, 0, 1], "offsets": [0, 3]}),
        (ValueError, "n_bytes is for the sequences of offsets", None, {"n_bytes": [1]}),
        (ValueError, "must go from 0 to 3", None, {"offsets": [0, 2]}),
        (ValueError, r"offsets\[2\] is less", None, {"offsets": [0, 2, 1, 3]}),
        (TypeError, "integers of shape", None, {"offsets": [0.0, 3.0]}),
        (ValueError, "n_bytes has shape", None, {"offsets": [0, 3], "n_bytes": [1, 2]}),
        (ValueError, r"n_bytes\[0\] is -1", None, {"offsets": [0, 3], "n_bytes": [-1]}),
        (ValueError, "rows names 'los', but knows loss", None, {"rows": ["los"]}),
        (TypeError, "rows is 'loss', but must be names", None, {"rows": "loss"}),
        (TypeError, "rows must be names, as .*got 5", None, {"rows": 5}),
        (TypeError, "knows no labels", None, {"labels": 5}),
        (ValueError, r"rows\['loss'\] has shape", None, {"rows": {"loss": np.empty(2)}}),
        (TypeError, "has floats", None, {"rows": {"loss": np.empty(3, int)}}),
        (TypeError, "has signed integers", None, {"rows": {"rank": np.empty(3)}}),
        (
            ValueError,
            "some of the 4 classes",
            None,
            {"rows": {"top_classes": np.empty((3, 5), int)}},
        ),
        (ValueError, "n_bins is 0", None, {"n_bins": 0}),
        (TypeError, "confusion must be True or False", None, {"confusion": 1}),
        (ValueError, "bootstrap is 1, but must be 0 for none, or 2", None, {"bootstrap": 1}),
        (TypeError, "bootstrap", None, {"bootstrap": 10.0}),
        (ValueError, "knows rows by ids, .* give ids=", None, {"bootstrap": 10}),
        (ValueError, "give ids=", None, {"bootstrap": 10, "offsets": [0, 3]}),
        (ValueError, "off: build it with bootstrap=1000", None, {"ids": [0, 1, 2]}),
        (ValueError, "give ids, .* not both", None, {"ids": [0, 1, 2], "clusters": [0, 1, 2]}),
        (ValueError, "clusters has shape", None, {"clusters": [0]}),
        (TypeError, "ids has dtype float64", None, {"ids": [0.0, 1.0, 2.0], "bootstrap": 10}),
        (TypeError, "by_class must be True or False", None, {"by_class": 1}),
        (ValueError, "temperature is 0", None, {"temperature": 0}),
    ],
)
def test_errors(error, text, arguments, options):
    with pytest.raises(error, match=text):
        fl.evaluate(*(arguments or (LABELS, LOGITS)), **options)


def test_errors_change_nothing():
    labels, logits = data(100, 7)
    card = fl.Scorecard().update(labels, logits)
    before = card.result()
    rows = {"loss": np.full(100, 7.0)}
    wrong = labels.copy()
    wrong[-1] = 7
    for arguments, options in (
        ((wrong, logits), {"rows": rows}),
        ((labels, logits), {"rows": rows, "offsets": [0, 5]}),
        ((labels, logits[:, :5]), {"rows": rows}),
    ):
        with pytest.raises(ValueError):
            card.update(*arguments, **options)
    assert (rows["loss"] == 7).all()
    assert card.result() == before
    with pytest.raises(ValueError, match="other options"):
        card.merge(fl.Scorecard(temperature=2.0))
    with pytest.raises(ValueError, match="5 classes"):
        card.merge(fl.Scorecard().update([0], np.zeros((1, 5))))
    with pytest.raises(ValueError, match="read-only"):
        card.update(labels, logits, rows={"loss": np.broadcast_to(0.0, 100)})
    with pytest.raises(ValueError, match="overlaps"):
        card.update(labels, logits, rows={"loss": logits[:, 0]})
    assert card.result() == before


# -------------------------------------------------------------------------------------------------
# Temperature


def drawn(temperature, n=4000, c=6):
    """Labels that are drawn from the probabilities of logits at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((n, c)) * 3
    p = fl.CrossEntropy(temperature=temperature).proba(logits)
    return (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=c - 1), logits


@compiled
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
@pytest.mark.long
def test_the_temperature_is_that_of_the_least_loss(scale):
    labels, logits = drawn(2.5)
    calibration = fl.calibrate(labels, logits * scale)
    t = calibration.temperature
    assert t / scale == pytest.approx(2.5, rel=0.1)
    least = fl.CrossEntropy(temperature=t)(labels, logits * scale)
    assert calibration.after.loss == pytest.approx(least, rel=1e-14)
    for other in (t * 0.999, t * 1.001):
        assert fl.CrossEntropy(temperature=other)(labels, logits * scale) > least
    assert calibration.before.loss >= calibration.after.loss
    assert calibration.n_passes < 12


@compiled
@pytest.mark.long
def test_calibration_makes_confidence_honest():
    labels, logits = drawn(3.0)
    weight = np.random.default_rng(1).integers(0, 3, len(labels)).astype(float)
    calibration = fl.calibrate(labels, logits, sample_weight=weight)
    assert calibration.after.calibration_error < calibration.before.calibration_error / 3
    twice = np.repeat(np.arange(len(labels)), weight.astype(int))
    expected = fl.calibrate(labels[twice], logits[twice]).temperature
    assert calibration.temperature == pytest.approx(expected, rel=1e-9)
    assert calibration.to_dict()["after"]["loss"] == calibration.after.loss


@pytest.mark.parametrize(
    ("labels", "logits", "text"),
    [
        ([0, 1], [[2.0, 0.0], [0.0, 1.0]], "goes to 0, as each label has the largest"),
        ([1, 0], [[2.0, 0.0], [0.0, 1.0]], "goes to infinity"),
        ([1, 0], [[0.0, 0.0], [1.0, 1.0]], "makes no difference"),
        ([1, 0], [[0.0, np.nan], [1.0, 1.0]], "the loss is nan at temperature 1"),
        ([1, 0], [[0.0, -np.inf], [1.0, 1.0]], "the loss is inf at temperature 1"),
    ],
)
def test_there_may_be_no_least_loss(labels, logits, text, monkeypatch):
    passes, update = [], SlopedScorecard._update

    def counted(card, *given):
        passes.append(card)
        update(card, *given)

    monkeypatch.setattr(SlopedScorecard, "_update", counted)
    with pytest.raises(ValueError, match=text):
        fl.calibrate(labels, logits)
    assert len(passes) < 40


FAR = np.array([[150.0, 0], [0, 150], [150, 0], [150, 0]])


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e-5, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("start", [1e-300, 1.0, 1e300])
def test_a_minimum_is_found_from_anywhere(scale, start):
    """Three rows of four are right, all by a gap g: the best is g / log(3)."""
    calibration = fl.calibrate([0, 1, 0, 1], FAR * scale, temperature=start)
    assert calibration.temperature == pytest.approx(150 * scale / math.log(3), rel=1e-7)
    assert calibration.before.loss >= calibration.after.loss
    assert calibration.n_passes < 40


@pytest.mark.parametrize("scale", [1e-35, 1.0, 1e35])
@pytest.mark.parametrize("weight", [None, 1e-310, 1e300])
def test_a_minimum_is_found_in_float32(scale, weight):
    logits = (FAR * scale).astype(np.float32)
    weights = None if weight is None else [weight] * 4
    found = fl.calibrate([0, 1, 0, 1], logits, sample_weight=weights).temperature
    assert found == pytest.approx(150 * scale / math.log(3), rel=1e-6)


def test_a_class_mask_of_one_axis():
    labels, logits = [0, 1, 1, 0], np.array([[2.0, 0, 9], [0, 1, 9], [3, 0, 9], [1, 0, 9]])
    mask = [True, True, False]
    found = fl.calibrate(labels, logits, class_mask=mask).temperature
    assert found == pytest.approx(fl.calibrate(labels, logits[:, :2]).temperature, rel=1e-9)
    every = np.tile(mask, (4, 1))
    assert found == fl.calibrate(labels, logits, class_mask=every).temperature


@pytest.mark.parametrize(
    ("labels", "logits", "options", "text"),
    [
        (np.zeros(0, int), np.zeros((0, 2)), {}, "no row counts"),
        ([0, 1], [[2.0, 0], [0, 1]], {"sample_weight": [0.0, 0.0]}, "no row counts"),
        ([-1, -1], [[2.0, 0], [0, 1]], {"ignore_index": -1}, "no row counts"),
        # Saturated, to either side; ties; a label that is as likely as not.
        ([0, 1], [[2000.0, 0], [0, 1000]], {}, "goes to 0"),
        ([0, 1], [[2000.0, 0], [0, 1000]], {"temperature": 1e-200}, "goes to 0"),
        ([0, 0], [[2000.0, 0], [1, 1]], {}, "goes to 0"),
        ([1, 0], [[2000.0, 0], [0, 1000]], {"temperature": 1e200}, "goes to infinity"),
        ([0, 1], [[1.0, 0], [1, 0]], {}, "goes to infinity"),
        ([0, 1], np.float32([[1, 0], [1, 0]]), {}, "goes to infinity"),
        ([0, 0], [[0.0, -np.inf], [0, -np.inf]], {}, "makes no difference"),
        ([0, 0], [[0.0, 0], [3, 3]], {"temperature": 1e-300}, "makes no difference"),
        ([0, 1], [[0.0, 1], [0, -np.inf]], {}, "the loss is inf"),
    ],
)
def test_each_error_is_true(labels, logits, options, text):
    with pytest.raises(ValueError, match=text):
        fl.calibrate(labels, logits, **options)


@both("c", WIDTHS[:2], long=WIDTHS[2:])
@pytest.mark.long
def test_derivatives_by_the_temperature(c):
    labels, logits = data(50, c, np.float64)

    def mean(b):
        return fl.CrossEntropy(temperature=1 / b)(labels, logits)

    card = SlopedScorecard(temperature=1 / 1.3).update(labels, logits)
    slope, spread = card.derivatives
    h = 1e-4
    assert slope == pytest.approx(1.3 * (mean(1.3 + h) - mean(1.3 - h)) / (2 * h), rel=1e-6)
    second = (mean(1.3 + h) - 2 * mean(1.3) + mean(1.3 - h)) / h**2
    assert spread == pytest.approx(1.3**2 * second, rel=1e-4)


@plain
@pytest.mark.parametrize("most", [2, 100])
@pytest.mark.parametrize("options", [{}, {"class_weight": [0.5, 1.0, 2.0]}])
def test_wrong_numbers_are_found_before_anything_is_written(monkeypatch, most, options):
    """Be the rows one part, which is scored and checked in one go, or several."""
    monkeypatch.setattr(rows_module, "SLAB_ROWS", most)
    rng = np.random.default_rng(5)
    logits, labels, weight = rng.normal(size=(2, 4, 3)), rng.integers(0, 3, (2, 4)), np.ones((2, 4))
    bad_labels, bad_weight, no_weight = labels.copy(), weight.copy(), weight.copy()
    bad_labels[1, 2], bad_weight[1, 3], no_weight[1, 1] = 3, -1.0, np.nan
    card = fl.Scorecard(**options).update(labels, logits)
    before = card.state()
    written = {"loss": np.full((2, 4), 7.0), "top_classes": np.full((2, 4, 2), 7)}
    for ids, more, message in (
        (bad_labels, {}, r"labels\[1, 2\] is 3, but class ids go from 0 to 2"),
        (bad_labels, {"sample_weight": weight}, r"labels\[1, 2\] is 3, but class ids"),
        (labels, {"sample_weight": bad_weight}, r"sample_weight\[1, 3\] is -1.0, but weights"),
        (labels, {"sample_weight": no_weight}, r"sample_weight\[1, 1\] is nan, but weights"),
    ):
        with pytest.raises(ValueError, match=message):
            card.update(ids, logits, rows=written, **more)
    for name, array in card.state().items():
        np.testing.assert_array_equal(array, before[name])
    assert all((array == 7).all() for array in written.values())
