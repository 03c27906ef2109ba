"""`fl.MultilabelScorecard`, held against the formulas and scikit-learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cards import assert_same
from plain import partly_long, plain

import fastloss as fl
from fastloss.evaluation.report import task_page
from fastloss.evaluation.sums.state import with_checksums

pytestmark = plain

ROWS = (
    "loss",
    "brier",
    "hamming_loss",
    "subset_accuracy",
    "coverage_error",
    "label_ranking_average_precision",
    "ranking_loss",
)


def make(seed=0, n=24, n_labels=4, n_scores=9):
    """Rows with ties, some of them with no label, or with all of them."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n, n_labels)) < rng.random((n, 1)) * 1.4 - 0.2
    scores = rng.integers(0, n_scores, labels.shape) / 2 - 2 + 0.5 * labels
    return labels.astype(int), scores.astype(np.float32)


def of_rows(labels, scores, mask=None):
    """What is known of each row, from the definitions."""
    found = {name: [] for name in ROWS}
    for i in range(len(labels)):
        known = slice(None) if mask is None else mask[i]
        y, x = labels[i][known], scores[i][known].astype(float)
        n_true, m = y.sum(), len(y)
        found["loss"].append(np.mean(np.logaddexp(0, np.where(y, -x, x))))
        found["brier"].append(np.mean((1 / (1 + np.exp(-x)) - y) ** 2))
        found["hamming_loss"].append(np.mean((x >= 0) != y))
        found["subset_accuracy"].append(float(((x >= 0) == y).all()))
        true = np.flatnonzero(y)
        found["coverage_error"].append((x >= x[true].min()).sum() if n_true else 0)
        shares = [(y & (x >= x[j])).sum() / (x >= x[j]).sum() for j in true]
        found["label_ranking_average_precision"].append(np.mean(shares) if n_true else 1)
        wrong = sum(x[j] <= x[k] for j in true for k in np.flatnonzero(y == 0))
        pairs = n_true * (m - n_true)
        found["ranking_loss"].append(wrong / pairs if pairs else 0)
    return {name: np.array(values, float) for name, values in found.items()}


def weighted(x, w):
    """The weighted mean and its standard error."""
    there = w > 0
    x, w = x[there], w[there]
    mean = (w * x).sum() / w.sum()
    n = len(x)
    return mean, np.sqrt(n / (n - 1) * (w**2 * (x - mean) ** 2).sum()) / w.sum()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("has_weights", [False, True])
def test_means_over_rows_are_those_of_the_formulas(masked, has_weights):
    labels, scores = make(1)
    rng = np.random.default_rng(1)
    n = len(labels)
    weight = rng.random(n) * rng.integers(0, 3, n) if has_weights else np.ones(n)
    mask = rng.random(labels.shape) < 0.7 if masked else np.ones(labels.shape, bool)
    mask[:, 0] = True
    given = {"mask": mask} if masked else {}
    if has_weights:
        given["sample_weight"] = weight
    garbage = np.where(mask, labels, 7), np.where(mask, scores, np.nan)
    found = fl.evaluate(*garbage, task="multilabel", **given)
    rows = of_rows(labels, scores, mask)
    for name in ROWS:
        # Means over labels are over all that are known: a row has as many of them.
        w = weight * mask.sum(axis=1) if name in ROWS[:3] else weight
        mean, error = weighted(rows[name], w)
        assert getattr(found, name) == pytest.approx(mean, rel=1e-13), name
        assert getattr(found, f"{name}_standard_error") == pytest.approx(error, rel=1e-11), name
    assert found.n_counted == (weight > 0).sum()
    assert found.weight == pytest.approx(weight.sum())
    assert found.micro.loss == pytest.approx(found.loss, rel=1e-14)
    assert found.micro.accuracy == pytest.approx(1 - found.hamming_loss)


@pytest.mark.parametrize("has_weights", [False, True])
def test_all_that_scikit_learn_has_is_the_same(has_weights):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores = make(2, n=60)
    weight = np.random.default_rng(2).random(60) if has_weights else None
    found = fl.evaluate(labels, scores, task="multilabel", sample_weight=weight)
    w = {"sample_weight": weight}
    decided = scores >= 0
    for name, metric in (
        ("hamming_loss", metrics.hamming_loss),
        ("subset_accuracy", metrics.accuracy_score),
    ):
        assert getattr(found, name) == pytest.approx(metric(labels, decided, **w))
    for name in ROWS[4:]:
        known = {"ranking_loss": "label_ranking_loss"}.get(name, name)
        metric = getattr(metrics, known if known.startswith("label") else name, None) or getattr(
            metrics, f"{name}_score"
        )
        assert getattr(found, name) == pytest.approx(metric(labels, scores, **w)), name
    for kind in "micro", "macro":
        average = getattr(found, kind)
        for name in "precision", "recall", "f1":
            metric = getattr(metrics, f"{name}_score")
            expected = metric(labels, decided, average=kind, **w)
            assert getattr(average, name) == pytest.approx(expected), (kind, name)
        expected = metrics.roc_auc_score(labels, scores, average=kind, **w)
        assert average.auc == pytest.approx(expected)
        expected = metrics.average_precision_score(labels, scores, average=kind, **w)
        assert average.average_precision == pytest.approx(expected)
    assert (found.n_absent, found.n_one_class, found.n_never_true) == (0, 0, 0)


def test_each_label_is_as_if_it_was_alone():
    labels, scores = make(3)
    rng = np.random.default_rng(3)
    weight, mask = rng.random(len(labels)), rng.random(labels.shape) < 0.8
    for given in {}, {"sample_weight": weight}, {"mask": mask, "sample_weight": weight}:
        found = fl.evaluate(labels, scores, task="multilabel", **given).by_label
        for j in range(labels.shape[1]):
            known = mask[:, j] if "mask" in given else slice(None)
            w = weight[known] if "sample_weight" in given else None
            alone = fl.evaluate(labels[known, j], scores[known, j], task="binary", sample_weight=w)
            for name, value in found._columns().items():
                expected = getattr(alone, "n_counted" if name == "n" else name)
                np.testing.assert_allclose(value[j], expected, rtol=1e-14, err_msg=name)


def test_absent_labels_are_left_out_and_counted():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores = make(4, n_labels=6)
    labels[:, 1], scores[:, 1] = 0, -1  # neither true nor decided to be
    labels[:, 2], scores[0, 2] = 0, 1  # never true, but decided to be
    labels[:, 3] = 1
    labels[:, 4], scores[:, 4] = labels[:, 0], -1  # true, and never decided to be
    found = fl.evaluate(labels, scores, task="multilabel")
    assert (found.n_absent, found.n_one_class, found.n_never_true) == (1, 3, 2)
    present = [0, 2, 3, 4, 5]
    for name in "precision", "recall", "f1":
        expected = getattr(metrics, f"{name}_score")(
            labels, scores >= 0, labels=present, average="macro", zero_division=0
        )
        assert getattr(found.macro, name) == pytest.approx(expected)
    expected = metrics.roc_auc_score(labels[:, [0, 4, 5]], scores[:, [0, 4, 5]], average="macro")
    assert found.macro.auc == pytest.approx(expected)
    at = [0, 3, 4, 5]
    expected = metrics.average_precision_score(labels[:, at], scores[:, at], average="macro")
    assert found.macro.average_precision == pytest.approx(expected)
    text = repr(found)
    for line in "labels absent", "labels of one class", "labels never true":
        assert line in text


def test_probabilities_are_taken_as_they_are():
    labels, scores = make(5)
    scores = scores.astype(float)
    p = 1 / (1 + np.exp(-scores))
    expected = fl.evaluate(labels, scores, task="multilabel")
    found = fl.evaluate(labels, p, task="multilabel", from_probabilities=True)
    assert_same(replace(found, threshold=0.0), expected, 1e-12)
    with pytest.raises(ValueError, match=r"predictions\[0, 1\] is 1.5"):
        fl.evaluate([[0, 1]], [[0.5, 1.5]], task="multilabel", from_probabilities=True)
    masked = fl.evaluate(
        [[0, 1]], [[0.5, 1.5]], task="multilabel", from_probabilities=True, mask=[[True, False]]
    )
    assert masked.loss == pytest.approx(math.log(2))
    assert fl.evaluate(labels, scores, task="multilabel", threshold=9).micro.recall == 0.0
    with pytest.warns(UserWarning, match="seem to be probabilities"):
        fl.evaluate(labels, p, task="multilabel")


def test_a_group_of_which_no_label_is_known():
    labels, scores = make(7)
    groups = np.arange(len(labels)) % 3
    mask = np.repeat(groups[:, None] < 2, labels.shape[1], axis=1)
    found = fl.evaluate(labels, scores, task="multilabel", groups=groups, mask=mask).groups
    assert found.means.n.tolist() == [8, 8, 0]
    assert math.isnan(found.means.loss[2])


def test_without_ranks_all_else_is_the_same():
    labels, scores = make(9)
    found = fl.evaluate(labels, scores, task="multilabel", ranks=False)
    expected = fl.evaluate(labels, scores, task="multilabel")
    for name in ROWS[:4]:
        assert getattr(found, name) == getattr(expected, name)
    for name in ROWS[4:]:
        assert math.isnan(getattr(found, name))
    assert math.isnan(found.micro.auc)
    assert found.macro.f1 == expected.macro.f1
    assert found.n_undefined == 0
    assert "ranking" not in repr(found)


def test_nan_and_infinities():
    labels = [[1, 0], [0, 1], [1, 1]]
    with np.errstate(invalid="ignore"):
        found = fl.evaluate(labels, [[np.nan, 1], [2, 3], [1, 1]], task="multilabel")
    assert (found.n_undefined, found.n_counted) == (1, 3)
    assert math.isnan(found.loss)
    assert math.isnan(found.ranking_loss)
    assert found.by_label.n_undefined.tolist() == [1, 0]
    assert found.by_label.recall.tolist() == [1.0, 1.0]
    inf = np.inf
    found = fl.evaluate(labels, [[inf, -inf], [-inf, inf], [inf, inf]], task="multilabel")
    assert (found.loss, found.brier, found.subset_accuracy, found.ranking_loss) == (0, 0, 1, 0)
    found = fl.evaluate([[1, 0]], [[-inf, -inf]], task="multilabel")
    assert (found.loss, found.ranking_loss, found.coverage_error) == (inf, 1.0, 2.0)


def test_where_no_label_is_known_means_are_nan():
    labels = np.zeros((2, 3))
    with pytest.warns(RuntimeWarning, match="no row counts"):
        found = fl.evaluate(labels, labels, task="multilabel", mask=labels > 0)
    assert (found.n_counted, found.n_labels, found.n_absent) == (0, 3, 3)
    assert np.isnan([getattr(found, name) for name in ROWS]).all()
    assert math.isnan(found.macro.f1)


TWO = np.array([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("labels", "scores", "given", "error", "message"),
    [
        (TWO[0], TWO[0], {}, ValueError, 'task="binary"'),
        (TWO[0], TWO, {}, ValueError, 'task="multiclass"'),
        (TWO, TWO[:, :1], {}, ValueError, "nothing is broadcast"),
        (TWO[:, :0], TWO[:, :0], {}, ValueError, "there is no label"),
        (TWO + 1, TWO, {}, ValueError, r"labels\[0, 1\] is 2"),
        (TWO, TWO, {"mask": TWO}, TypeError, "mask must have booleans"),
        (TWO, TWO, {"mask": TWO[0] > 0}, ValueError, r"mask has shape \(2,\)"),
        (TWO, TWO, {"sample_weight": TWO}, ValueError, r"expected shape \(2,\)"),
        (TWO, TWO, {"sample_weight": [1, -1]}, ValueError, r"sample_weight\[1\] is -1"),
        (TWO, TWO, {"groups": [1]}, ValueError, r"groups has shape \(1,\)"),
        (TWO.repeat(2, 1), TWO.repeat(2, 1), {}, ValueError, "4 labels on the last axis"),
        (TWO, TWO.astype(complex), {}, TypeError, "predictions has dtype complex"),
        (None, TWO, {}, TypeError, "labels is None, which is no number"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(labels, scores, given, error, message):
    card = fl.MultilabelScorecard().update(TWO, 2.0 * TWO)
    before = card.result()
    with pytest.raises(error, match=message):
        card.update(labels, scores, **given)
    assert card.result() == before


def test_options_and_states_are_told_apart():
    card = fl.MultilabelScorecard().update(TWO, 2.0 * TWO)
    with pytest.raises(ValueError, match="other has seen 3 labels"):
        card.merge(fl.MultilabelScorecard().update([[0, 1, 1]], [[3, 2, 1]]))
    state = card.state()
    for name, broken in (("counts", np.array([-1, 2])), ("labels_ids", np.array([0, 7]))):
        with pytest.raises(ValueError, match="state"):
            fl.MultilabelScorecard.from_state(with_checksums({**state, name: broken}))
    with pytest.raises(ValueError, match="power of two"):
        fl.MultilabelScorecard(bins=1000)
    for options in ({"ranks": 1}, {"threshold": "a"}, {"from_probabilities": 0}):
        with pytest.raises(TypeError):
            fl.MultilabelScorecard(**options)


@partly_long(2, "dtype", [np.float16, np.int8, np.float64, bool])
def test_dtypes_and_axes(dtype):
    labels, scores = make(10)
    scores = scores.astype(dtype)
    expected = fl.evaluate(labels, scores.astype(np.float64), task="multilabel")
    found = fl.evaluate(
        labels.reshape(4, 6, 4) > 0,
        np.asfortranarray(scores.reshape(4, 6, 4)),
        task="multilabel",
        groups=np.zeros((4, 6), int),
    )
    assert_same(replace(found, groups=None), expected, 1e-15)


def test_the_report_has_a_bar_for_each_label():
    labels, scores = make(12)
    found = fl.evaluate(labels, scores, task="multilabel")
    page = task_page.page("multilabel", found, [], True)
    for j, precision in enumerate(found.by_label.average_precision):
        assert f"<title>{j}: {precision:.6g}</title>" in page
    assert next(iter(found.by_label.to_dict().items())) == ("labels", [0, 1, 2, 3])
    without = fl.evaluate(labels, scores, task="multilabel", ranks=False)
    assert "<svg" not in task_page.page("multilabel", without, [], True)
