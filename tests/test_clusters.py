"""Errors by cluster and a bootstrap, of every task: the formulas, row by row, however rows come."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from plain import partly_long, plain

import fastloss as fl
from fastloss.evaluation.sums import replicates
from fastloss.evaluation.tasks import TASKS

pytestmark = plain
N, B = 40, 6
RNG = np.random.default_rng(5)
CLUSTERS = RNG.integers(-3, 6, N) * 10**11
WEIGHT = RNG.uniform(0, 2, N)
WEIGHT[[4, 31]] = 0
X = RNG.standard_normal((N, 3))
Y = RNG.integers(0, 2, (N, 3))
KNOWN = RNG.random((N, 3)) < 0.8
KNOWN[:, 0] = True
CLASSES = Y.argmax(axis=1)
QUANTILES = np.sort(RNG.standard_normal((N, 3)), axis=1)


NONE: Mapping[str, Any] = MappingProxyType({})


class Case(NamedTuple):
    task: str
    data: tuple[Any, ...]
    numbers: Callable[[], dict[str, Any]]  # of each row, by the names that replicates have
    options: Mapping[str, Any] = NONE
    given: Mapping[str, Any] = NONE
    weight: str = "sample_weight"
    # Numbers whose weight is not that of the row.
    shares: Mapping[str, Any] = NONE
    without_errors: tuple[str, ...] = ()

    @property
    def kind(self) -> Any:
        return fl.Comparison if self.task == "compare" else TASKS[self.task].scorecard

    def evaluate(self, **more: Any) -> Any:
        built = {name: more.pop(name) for name in ("bootstrap",) if name in more}
        return self.kind(**self.options, **built).update(*self.data, **self.given, **more).result()


def of_classes():
    rows = fl.evaluate(CLASSES, X, rows=["loss", "rank", "brier", "entropy", "confidence"]).rows
    right = {"accuracy": rows["rank"] == 0, "mean_reciprocal_rank": 1 / (rows.pop("rank") + 1)}
    return rows | right


def of_pairs():
    losses = [fl.CrossEntropy(reduction="none")(CLASSES, x) for x in (X, X + Y)]
    return {
        "loss_a": losses[0],
        "loss_difference": losses[1] - losses[0],
        "agreement": X.argmax(axis=1) == (X + Y).argmax(axis=1),
    }


def of_two_classes():
    x, y = X[:, 0], Y[:, 0]
    return {
        "loss": np.logaddexp(0, x) - x * y,
        "brier": (1 / (1 + np.exp(-x)) - y) ** 2,
        "accuracy": (x >= 0.25) == y,
    }


def of_labels():
    loss = np.where(KNOWN, np.logaddexp(0, X) - X * Y, 0).sum(axis=1) / KNOWN.sum(axis=1)
    wrong = ((X >= 0) != Y) & KNOWN
    return {
        "loss": loss,
        "hamming_loss": wrong.sum(axis=1) / KNOWN.sum(axis=1),
        "subset_accuracy": ~wrong.any(axis=1),
    }


def of_numbers():
    e = X[:, 0] - Y[:, 0]
    return {"bias": e, "mae": abs(e), "mse": e**2}


def of_quantiles():
    e = Y[:, :1] - QUANTILES
    pinball = np.maximum(np.array([0.1, 0.5, 0.9]) * e, np.array([-0.9, -0.5, -0.1]) * e)
    width = QUANTILES[:, 2] - QUANTILES[:, 0]
    outside = np.maximum(-e[:, 2] * -1, 0) + np.maximum(-e[:, 0], 0)
    return {
        **{f"pinball {q}": pinball[:, i] for i, q in enumerate((0.1, 0.5, 0.9))},
        **{f"coverage {q}": e[:, i] <= 0 for i, q in enumerate((0.1, 0.5, 0.9))},
        "width 0.8": width,
        "winkler 0.8": width + outside / 0.1,
        "mae": abs(e[:, 1]),
    }


def of_queries():
    """Of three documents each; those without a relevant one weigh nothing."""
    order = np.argsort(-X, axis=1)
    relevant = np.take_along_axis(Y, order, axis=1)
    first = np.where(relevant.any(axis=1), relevant.argmax(axis=1), 0)
    return {"mean_reciprocal_rank": 1 / (1 + first), "precision@1": relevant[:, 0]}


ANY = Y.any(axis=1)
SOME = KNOWN.sum(axis=1) / 3
CASES = {
    "classes": Case(
        "multiclass",
        (CLASSES, X),
        of_classes,
        without_errors=("mean_reciprocal_rank", "brier", "entropy", "confidence"),
    ),
    "pairs": Case("compare", (X, X + Y, CLASSES), of_pairs),
    "binary": Case("binary", (Y[:, 0], X[:, 0]), of_two_classes, {"thresholds": [0.25]}),
    "labels": Case(
        "multilabel",
        (Y, X),
        of_labels,
        given={"mask": KNOWN},
        shares={"loss": SOME, "hamming_loss": SOME},
    ),
    "numbers": Case("regression", (Y[:, 0], X[:, 0]), of_numbers),
    "quantiles": Case(
        "regression", (Y[:, 0], QUANTILES), of_quantiles, {"quantiles": (0.1, 0.5, 0.9)}
    ),
    "rankings": Case(
        "ranking",
        (Y, X),
        of_queries,
        {"k": (1, None)},
        weight="query_weight",
        shares={"mean_reciprocal_rank": ANY, "precision@1": ANY},
    ),
}
every_case = partly_long(5, "case", CASES.values(), ids=CASES)


def scores_of(case, cuts=(), by="clusters", **options):
    """Of the rows between the cuts, each part in a card whose state is merged into another."""
    kind = case.kind
    options = {**case.options, "bootstrap": B, **options}
    ids = {"clusters": CLUSTERS, "ids": np.arange(N) * 3}[by]
    given = {case.weight: WEIGHT, by: ids, **case.given}
    whole = kind(**options)
    for start, stop in zip((0, *cuts), (*cuts, N), strict=True):
        part = np.s_[start:stop]
        card = kind(**options).update(
            *(array[part] for array in case.data),
            **{name: array[part] for name, array in given.items()},
        )
        whole.merge(kind.from_state(card.state(), **options))
    return whole.result()


def error_of(scores, name):
    """The standard error of a mean."""
    name, _, at = name.partition("@" if "@" in name else " ")
    if hasattr(scores, "ndcg"):
        return getattr(scores, f"{name}_standard_error")[int(at) if at else None]
    if at:
        levels = scores.quantiles.quantiles if len(scores.quantiles.level) < 3 else []
        place = 0 if name in ("width", "winkler") else levels.tolist().index(float(at))
        return getattr(scores.quantiles, f"{name}_standard_error")[place]
    if hasattr(scores, "kl"):
        return getattr(scores, name).standard_error
    return getattr(scores, f"{name}_standard_error")


def errors_of(case, scores):
    """Those of all means that have one, by name."""
    names = [name for name in case.numbers() if name not in case.without_errors]
    return {name: error_of(scores, name) for name in names}


@every_case
def test_errors_by_cluster_are_those_of_the_formula(case):
    scores = scores_of(case)
    assert scores.errors == scores.to_dict()["errors"] == "clusters"
    assert scores.n_clusters == scores.to_dict()["n_clusters"] == 9
    assert " by 9 clusters" in repr(scores)
    numbers = case.numbers()
    for name, error in errors_of(case, scores).items():
        x, w = numbers[name], WEIGHT * case.shares.get(name, 1.0)
        mean = np.average(x, weights=w)
        away = [(w * (x - mean))[g == CLUSTERS].sum() for g in np.unique(CLUSTERS)]
        expected = math.sqrt(9 / 8 * np.square(away).sum()) / w.sum()
        assert error == pytest.approx(expected, rel=1e-9), name


@every_case
@pytest.mark.parametrize("by", ["ids", "clusters"])
def test_replicates_are_means_over_rows_that_are_drawn_again(case, by):
    scores = scores_of(case, by=by)
    assert scores.n_clusters == (9 if by == "clusters" else None)
    ids, one = CLUSTERS if by == "clusters" else np.arange(N) * 3, np.ones(1)
    counts = np.array(
        [replicates.replicated(B, ids[[i]], one, one[:, None]).sums[:, 0] for i in range(N)]
    )
    numbers = case.numbers()
    assert numbers.keys() <= scores.bootstrap.replicates.keys()
    for name, x in numbers.items():
        w = (WEIGHT * case.shares.get(name, 1.0))[:, None] * counts
        expected = (w * x[:, None]).sum(axis=0) / w.sum(axis=0)
        np.testing.assert_allclose(scores.bootstrap.replicates[name], expected, rtol=1e-12)
    assert "bootstrap: " in repr(scores) or case.task == "compare"
    assert scores.to_dict()["bootstrap"]["n"] == B


@every_case
@pytest.mark.parametrize("by", ["ids", "clusters"])
def test_any_split_and_order_give_the_same_bits(case, by):
    whole = scores_of(case, by=by)
    parts = scores_of(case, (5, 9, 30), by)
    for name, means in whole.bootstrap.replicates.items():
        np.testing.assert_array_equal(parts.bootstrap.replicates[name], means)
    if by == "clusters":
        assert errors_of(case, parts) == errors_of(case, whole)


@every_case
def test_clusters_of_one_row_are_rows(case):
    rows, alone = (
        case.evaluate(clusters=clusters, **{case.weight: WEIGHT})
        for clusters in (None, np.arange(N))
    )
    assert rows.errors == ("queries" if case.task == "ranking" else "rows")
    assert rows.n_clusters is rows.bootstrap is None
    assert errors_of(case, alone) == pytest.approx(errors_of(case, rows), rel=1e-12)


@every_case
def test_parts_without_clusters_leave_errors_of_rows(case):
    kind, half = case.kind, np.arange(N) < 20
    card, rows = kind(**case.options), kind(**case.options)
    for part in half, ~half:
        given = {name: array[part] for name, array in case.given.items()}
        data = [array[part] for array in case.data]
        rows.update(*data, **given)
        card.update(*data, **given, **({"clusters": CLUSTERS[part]} if part is half else {}))
    found, expected = card.result(), rows.result()
    assert (found.errors, found.n_clusters) == (expected.errors, None)
    assert errors_of(case, found) == pytest.approx(errors_of(case, expected), rel=1e-12)


@every_case
def test_names_are_clusters_and_what_does_not_go_together_is_refused(case):
    evaluate = case.evaluate
    names = np.array(["ann", "bob", "eve"])[CLUSTERS % 3]
    assert evaluate(clusters=names).n_clusters == 3
    with pytest.raises(ValueError, match="bootstrap knows rows by ids"):
        evaluate(bootstrap=9)
    with pytest.raises(ValueError, match="give ids, if rows are independent, or clusters"):
        evaluate(bootstrap=9, ids=np.arange(N), clusters=names)
    with pytest.raises(ValueError, match="off: build it with bootstrap=1000"):
        evaluate(ids=np.arange(N))
    with pytest.raises(ValueError, match=r"clusters has shape \(5,\)"):
        evaluate(clusters=names[:5])
    with pytest.raises(ValueError, match="bootstrap is 1, but must be 0 for none, or 2"):
        evaluate(bootstrap=1)
    kind = case.kind
    with pytest.raises(ValueError, match="bootstrap is 6 there and 0 here"):
        kind(**case.options).merge(kind(**case.options, bootstrap=6))
    with pytest.raises(ValueError, match="other options: bootstrap was"):
        kind.from_state(kind(**case.options).state(), **case.options, bootstrap=6)


def test_of_several_columns_errors_are_means_over_them():
    given = {"clusters": CLUSTERS, "sample_weight": WEIGHT, "task": "regression"}
    found = fl.evaluate(Y, X, **given, bootstrap=4)
    each = [fl.evaluate(y, x, **given, bootstrap=4) for y, x in zip(Y.T, X.T, strict=True)]
    for name in ("bias", "mae", "mse", "rmse"):
        errors = [getattr(one, f"{name}_standard_error") for one in each]
        assert getattr(found, f"{name}_standard_error") == pytest.approx(np.mean(errors))
        np.testing.assert_allclose(getattr(found.by_column, f"{name}_standard_error"), errors)
        np.testing.assert_allclose(
            found.bootstrap.replicates[name],
            np.mean([one.bootstrap.replicates[name] for one in each], axis=0),
        )
    mse, rmse = (found.by_column.mse_standard_error, found.by_column.rmse_standard_error)
    np.testing.assert_allclose(rmse, mse / (2 * found.by_column.rmse))


@pytest.mark.parametrize("bootstrap", [0, 8])
def test_queries_that_go_on_are_drawn_by_their_ids(bootstrap):
    """A coarser cluster, as a user, is given for each document, and is that of the query."""
    queries = np.repeat(np.arange(N), 3)
    documents = {"queries": queries, "query_weight": np.repeat(WEIGHT, 3)}
    whole = {"query_weight": WEIGHT, "task": "ranking", "bootstrap": bootstrap}
    ids = {"ids": np.arange(N)} if bootstrap else {}
    for by_query, by_document in (
        (ids, {}),
        ({"clusters": CLUSTERS}, {"clusters": np.repeat(CLUSTERS, 3)}),
    ):
        expected = fl.evaluate(Y, X, **whole, **by_query)
        card = fl.RankingScorecard(bootstrap=bootstrap)
        for part in np.s_[100:], np.s_[:100]:  # a query goes on in the other
            given = {k: v[part] for k, v in (documents | by_document).items()}
            card.update(Y.reshape(-1)[part], X.reshape(-1)[part], **given)
            card = fl.RankingScorecard.from_state(card.state(), bootstrap=bootstrap)
        assert card.result() == expected
    with pytest.raises(ValueError, match=r"clusters\[1\] is 1 and clusters\[0\] is 0, but both"):
        fl.evaluate([1, 0], [1.0, 0], queries=[3, 3], clusters=[0, 1], task="ranking")
    with pytest.raises(ValueError, match="queries= are ids, .* leave ids out"):
        fl.evaluate([1], [1.0], queries=[3], ids=[0], task="ranking", bootstrap=3)


def auc_error(y, x, clusters, w):
    """Obuchowski's, from all pairs of rows."""
    one, none = np.flatnonzero(y), np.flatnonzero(1 - y)
    won = np.sign(x[one, None] - x[none].astype(float)) / 2 + 0.5
    placements = won @ w[none] / w[none].sum(), w[one] @ won / w[one].sum()
    area = w[one] @ placements[0] / w[one].sum()
    moved, known = np.zeros((2, N)), np.zeros((2, N), bool)
    for i, (rows, placement) in enumerate(zip((one, none), placements, strict=True)):
        moved[i, rows] = w[rows] * (placement - area) / w[rows].sum()
        known[i, rows] = w[rows] > 0
    by_cluster = [
        [np.where(here, moved, 0).sum(axis=1), (known & here).any(axis=1)]
        for here in clusters == np.unique(clusters)[:, None]
    ]
    (d, e), (has_one, has_none) = (np.array(each).T for each in zip(*by_cluster, strict=True))
    k_p, k_n, k = has_one.sum(), has_none.sum(), (has_one | has_none).sum()
    return math.sqrt(k_p / (k_p - 1) * d @ d + k_n / (k_n - 1) * e @ e + 2 * k / (k - 1) * (d @ e))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_error_of_an_area_by_cluster_is_that_of_all_pairs(dtype, weighted):
    y, x = Y[:, 0], X[:, 0].round(1).astype(dtype)  # with ties
    w = WEIGHT if weighted else np.ones(N)

    def card_of(part, **options):
        card = fl.BinaryScorecard(**options)
        weight = w[part] if weighted else None
        return card.update(y[part], x[part], clusters=CLUSTERS[part], sample_weight=weight)

    expected = pytest.approx(auc_error(y, x, CLUSTERS, w), rel=1e-14)
    parts = card_of(np.s_[25:], memory_limit=64)
    for part in np.s_[:10], np.s_[10:25]:
        more = card_of(part, memory_limit=64)
        parts = type(parts).from_state(parts.merge(more).state(), memory_limit=64)
    assert card_of(np.s_[:]).result().auc_standard_error == expected
    assert parts.result().auc_standard_error == expected
    assert " by " in dict(parts.result().lines())["ROC AUC"]
    if not weighted:
        rows = fl.evaluate(y, x, task="binary").auc_standard_error  # DeLong's
        found = fl.evaluate(y, x, task="binary", clusters=np.arange(N)).auc_standard_error
        assert found == pytest.approx(rows, rel=1e-14)


def test_what_is_not_known_is_not_known_of_clusters():
    """A score of NaN has no loss, no decision and no rank; of one cluster there is no error."""
    x = X[:, 0].copy()
    x[7] = np.nan
    found = fl.evaluate(Y[:, 0], x, task="binary", clusters=CLUSTERS)
    rest = np.arange(N) != 7
    expected = fl.evaluate(Y[rest, 0], x[rest], task="binary", clusters=CLUSTERS[rest])
    assert math.isnan(found.loss_standard_error)
    assert found.accuracy_standard_error == expected.accuracy_standard_error
    assert found.auc_standard_error == expected.auc_standard_error > 0
    for clusters in [4, 4, 4], [4, 4, 5], [4, 5, 5]:
        scores = fl.evaluate([0, 1, 1], [-0.5, 1.0, -1.0], task="binary", clusters=clusters)
        assert scores.n_clusters == len(set(clusters))
        assert math.isnan(scores.auc_standard_error)
    for options in {"ranks": False}, {"bins": 64}:
        scores = fl.evaluate(Y[:, 0], X[:, 0], task="binary", clusters=CLUSTERS, **options)
        assert math.isnan(scores.auc_standard_error)
