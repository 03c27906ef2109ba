"""`fl.RankingScorecard`, held against all orders of ties, the formulas and scikit-learn."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from cards import assert_same
from plain import plain

import fastloss as fl
from fastloss.evaluation.ranking import ranking_scores
from fastloss.evaluation.report import task_page
from fastloss.evaluation.sums.state import with_checksums

pytestmark = plain

METRICS = (
    "ndcg",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "recall",
    "precision",
    "hit_rate",
)
ROWS = ("ndcg", "average_precision", "reciprocal_rank", "recall", "precision", "hit")
KS = (1, 2, 3, 5, None)


def in_order(relevances, k, gain, relevant_from):
    """All numbers of documents in an order, from their definitions."""
    n = len(relevances)
    k_or_n = n if k is None else k
    first = relevances[:k_or_n]
    gains = [r if gain == "linear" else 2**r - 1 for r in relevances]
    hits = [r >= relevant_from for r in relevances]
    n_relevant = sum(hits)

    def dcg(gains):
        return math.fsum(g / math.log2(p + 2) for p, g in enumerate(gains[:k_or_n]))

    ideal = dcg(sorted(gains, reverse=True))
    places = [p for p in range(len(first)) if hits[p]]
    nan = math.nan
    return (
        dcg(gains) / ideal if ideal else nan,
        math.fsum(sum(hits[: p + 1]) / (p + 1) for p in places) / min(n_relevant, k_or_n)
        if n_relevant
        else nan,
        (1 / (places[0] + 1) if places else 0.0) if n_relevant else nan,
        len(places) / n_relevant if n_relevant else nan,
        len(places) / k_or_n if n_relevant else nan,
        float(bool(places)) if n_relevant else nan,
    )


def over_all_orders(relevances, scores, k, gain="linear", relevant_from=1.0):
    """The mean over all orders of documents that the scores allow."""
    orders = [sorted(order, key=lambda i: -scores[i]) for order in permutations(range(len(scores)))]
    every = [in_order([relevances[i] for i in o], k, gain, relevant_from) for o in orders]
    return np.mean(every, axis=0)


def make(seed=0, n=20, largest=12, n_scores=8):
    """Documents of queries of different sizes, with ties; some queries have no relevant ones."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, largest, n) * (np.arange(n) % 9 > 0)
    offsets = np.append(0, np.cumsum(sizes))
    labels = rng.integers(0, 4, offsets[-1]) * rng.integers(0, 2, offsets[-1])
    scores = rng.integers(0, n_scores, offsets[-1]) / 4 - 1
    return labels, scores.astype(np.float32), offsets


@pytest.mark.parametrize(
    ("gain", "relevant_from"), [("linear", 1.0), ("exponential", 2.0), ("linear", 0.5)]
)
def test_ties_are_the_mean_over_all_their_orders(gain, relevant_from):
    rng = np.random.default_rng(1)
    for _ in range(12):
        n = int(rng.integers(1, 6))
        labels = rng.choice([0, 0.5, 1, 2, 3], n)
        scores = rng.integers(0, 3, n).astype(float)
        rows = {name: np.empty((1, len(KS))) for name in ROWS}
        card = fl.RankingScorecard(k=KS, gain=gain, relevant_from=relevant_from)
        card.update(labels[None], scores[None], rows=rows)
        found = np.stack([rows[name][0] for name in ROWS], axis=1)
        for k, of_k in zip(KS, found, strict=True):
            expected = over_all_orders(labels, scores, k, gain, relevant_from)
            np.testing.assert_allclose(of_k, expected, rtol=1e-13, err_msg=str((labels, scores)))


def test_numbers_of_two_queries_by_hand():
    scores = fl.evaluate(
        [3, 0, 1, 0, 2], [0.1, 0.4, 0.2, 0.9, 0.5], offsets=[0, 3, 5], task="ranking", k=(2, None)
    )
    # The first has 0, 1, 3 from the top, the second 0, 2.
    log2_3 = math.log2(3)
    second = 1 / log2_3
    assert scores.ndcg[2] == pytest.approx(((1 / log2_3) / (3 + 1 / log2_3) + second) / 2)
    assert scores.ndcg[None] == pytest.approx(
        ((1 / log2_3 + 3 / 2) / (3 + 1 / log2_3) + second) / 2
    )
    assert scores.mean_average_precision[2] == pytest.approx(((1 / 2) / 2 + 1 / 2) / 2)
    assert scores.mean_average_precision[None] == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 / 2) / 2)
    assert scores.mean_reciprocal_rank == {2: 0.5, None: 0.5}
    assert scores.recall == {2: 0.75, None: 1.0}
    assert scores.precision[2] == 0.5
    assert scores.precision[None] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores.hit_rate == {2: 1.0, None: 1.0}
    # Of two numbers a and b it is |a - b| / 2.
    assert scores.recall_standard_error == {2: 0.25, None: 0.0}
    assert scores.k == (2, None)


@pytest.mark.parametrize("gain", ["linear", "exponential"])
def test_ndcg_is_that_of_scikit_learn(gain):
    ndcg_score = pytest.importorskip("sklearn.metrics").ndcg_score
    labels, scores, offsets = make(2)
    found = fl.evaluate(labels, scores, offsets=offsets, task="ranking", gain=gain, k=(1, 5, None))
    gains = labels if gain == "linear" else 2.0**labels - 1
    for k in found.k:
        each = [
            ndcg_score(gains[None, a:b], scores[None, a:b], k=k)
            for a, b in pairwise(offsets)
            if b - a > 1 and labels[a:b].any()
        ]
        # scikit-learn refuses queries of one document, whose NDCG is 1.
        each += [1.0 for a, b in pairwise(offsets) if b - a == 1 and labels[a:b].any()]
        assert found.ndcg[k] == pytest.approx(np.mean(each), rel=1e-13)
        error = np.std(each, ddof=1) / math.sqrt(len(each))
        assert found.ndcg_standard_error[k] == pytest.approx(error, rel=1e-12)
    assert found.n_without_gain == sum(not labels[a:b].any() for a, b in pairwise(offsets))


def test_average_precision_and_reciprocal_rank_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    labels, scores = rng.integers(0, 2, (30, 12)), rng.random((30, 12))
    labels[:, 0] = 1
    found = fl.evaluate(labels, scores, task="ranking", k=None)
    each = [metrics.average_precision_score(*row) for row in zip(labels, scores, strict=True)]
    assert found.mean_average_precision[None] == pytest.approx(np.mean(each))
    one = np.eye(12)[rng.integers(0, 12, 30)]
    expected = metrics.label_ranking_average_precision_score(one, scores)
    assert fl.evaluate(one, scores, task="ranking").mean_reciprocal_rank[None] == pytest.approx(
        expected
    )


def test_three_ways_to_say_which_documents_belong_to_a_query():
    labels, scores, offsets = make(4)
    expected = fl.RankingScorecard().update(labels, scores, offsets=offsets).result()
    sizes = np.diff(offsets)
    ids = np.repeat(np.arange(len(sizes)), sizes)
    mask = np.arange(sizes.max()) < sizes[:, None]
    padded, padded_scores = np.full(mask.shape, np.nan), np.full(mask.shape, np.nan)
    padded[mask], padded_scores[mask] = labels, scores
    assert_same(fl.evaluate(padded, padded_scores, task="ranking"), expected, 0.0)
    padded[~mask] = -1
    assert_same(fl.evaluate(padded, padded_scores, mask=mask, task="ranking"), expected, 0.0)
    found = fl.evaluate(labels, scores, queries=ids - 7, task="ranking").to_dict()
    # Nobody knows of a query without documents.
    empty = (sizes == 0).sum()
    assert empty
    for name in ("n_queries", "n_without_gain", "n_without_relevant"):
        found[name] += empty
    assert found == expected.to_dict()


def test_queries_may_lie_anywhere_and_go_on_in_other_calls():
    labels, scores, offsets = make(5)
    ids = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    weight, groups = 1.0 + ids % 3, np.array(["odd", "even"])[ids % 2]
    # Ids as far apart as they can be.
    ids = np.where(ids == 0, -(2**63), np.where(ids == 1, 2**63 - 1, ids))
    whole = fl.evaluate(
        labels, scores, queries=ids, query_weight=weight, groups=groups, task="ranking"
    )
    order = np.random.default_rng(0).permutation(len(ids))
    card, other = fl.RankingScorecard(), fl.RankingScorecard()
    for i, rows in enumerate(np.array_split(order, 7)):
        (card, other)[i % 2].update(
            labels[rows],
            scores[rows],
            queries=ids[rows],
            query_weight=weight[rows],
            groups=groups[rows],
        )
    card = fl.RankingScorecard.from_state(card.state())
    assert_same(other.merge(card).result(), whole, 0.0)
    assert other.result() == other.result()


def test_weighted_means_and_standard_errors_are_those_of_the_formula():
    labels, scores, offsets = make(8)
    n = len(offsets) - 1
    weight = np.random.default_rng(8).random(n) * (np.arange(n) % 4)
    rows = {name: np.empty((n, 2)) for name in ROWS}
    found = fl.evaluate(
        labels, scores, offsets=offsets, query_weight=weight, task="ranking", k=(2, 5), rows=rows
    )
    for name, row_name in zip(METRICS, ROWS, strict=True):
        for j, k in enumerate((2, 5)):
            x = rows[row_name][:, j]
            there = ~np.isnan(x) & (weight > 0)
            w, x = weight[there], x[there]
            mean = (w * x).sum() / w.sum()
            error = np.sqrt(len(w) / (len(w) - 1) * (w**2 * (x - mean) ** 2).sum()) / w.sum()
            assert getattr(found, name)[k] == pytest.approx(mean, rel=1e-14)
            assert getattr(found, f"{name}_standard_error")[k] == pytest.approx(error, rel=1e-12)
    assert found.n_counted == len(w)
    assert found.weight == pytest.approx(w.sum())


def test_what_is_left_out_is_counted():
    labels = [[0, 0, 0], [0.5, 0, 0], [2, 0, 1], [0, 0, 1]]
    scores = [[1, 2, 3], [1, 2, 3], [3, 1, 2], [np.nan, 1, 1]]
    found = fl.evaluate(labels[:3], scores[:3], task="ranking", k=None)
    assert (found.n_queries, found.n_without_gain, found.n_without_relevant) == (3, 1, 2)
    assert (found.n_counted, found.n_undefined, found.n_documents) == (1, 0, 9)
    assert found.mean_average_precision[None] == 1.0
    assert found.ndcg[None] == (0.5 + 1) / 2  # 0.5 in the third place, and the best order
    assert math.isnan(found.recall_standard_error[None])
    undefined = fl.evaluate(labels, scores, task="ranking", k=None)
    assert (undefined.n_undefined, undefined.n_counted) == (1, 2)
    assert all(math.isnan(getattr(undefined, name)[None]) for name in METRICS)
    assert "queries with NaN" in repr(undefined)
    # Of weight 0 nothing counts.
    none = fl.evaluate(labels, scores, task="ranking", query_weight=[1, 1, 1, 0], k=None)
    assert none.ndcg == found.ndcg
    assert (none.n_undefined, none.n_queries) == (0, 4)


@pytest.mark.parametrize(
    ("labels", "more"),
    [
        (np.empty((0, 3)), {}),
        (np.empty((2, 0)), {}),
        (np.zeros((2, 3)), {}),
        (np.ones((2, 3)), {"query_weight": [0, 0]}),
        (np.empty(0), {"offsets": [0]}),
        (np.empty(0), {"queries": np.empty(0, int)}),
    ],
)
def test_of_nothing_means_are_nan(labels, more):
    with pytest.warns(RuntimeWarning, match="no query counts"):
        found = fl.evaluate(labels, labels, task="ranking", groups=more.get("queries"), **more)
    assert found.n_counted == 0
    assert found.weight == 0.0
    assert all(math.isnan(getattr(found, name)[5]) for name in METRICS)


def test_scores_are_numbers_whatever_they_are():
    inf = np.inf
    found = fl.evaluate([[1, 0, 0, 2]], [[inf, -inf, 5, inf]], task="ranking", k=(1, 2))
    assert found.ndcg[1] == pytest.approx((1 + 2) / 2 / 2)
    assert found.recall[2] == 1.0
    # -0 is 0, and integers, booleans and halves are numbers.
    for scores in ([0.0, -0.0], np.zeros(2, np.int8), np.zeros(2, bool), np.zeros(2, np.float16)):
        assert fl.evaluate([[0, 1]], [scores], task="ranking").mean_reciprocal_rank[None] == 0.75


def test_large_and_small_relevances_keep_their_ratios():
    for gain, largest in ("linear", 2.0**960), ("exponential", 960):
        found = fl.evaluate([[1, largest, largest]], [[3, 2, 1]], task="ranking", gain=gain, k=None)
        expected = (1 / math.log2(3) + 0.5) / (1 + 1 / math.log2(3))
        assert found.ndcg[None] == pytest.approx(expected)
    tiny = fl.evaluate(
        [[1e-30, 2e-30]], [[2, 1]], task="ranking", gain="exponential", relevant_from=1e-30
    )
    log2_3 = math.log2(3)
    assert tiny.ndcg[None] == pytest.approx((1 + 2 / log2_3) / (2 + 1 / log2_3))


def test_the_best_order_has_1_and_order_of_documents_does_not_matter():
    rng = np.random.default_rng(10)
    labels = rng.random((20, 40)) * 3
    found = fl.evaluate(labels, labels, task="ranking")
    assert found.ndcg == dict.fromkeys(found.k, 1.0)
    scores = rng.integers(0, 6, labels.shape)
    expected = fl.evaluate(labels, scores, task="ranking")
    order = rng.permuted(np.tile(np.arange(40), (20, 1)), axis=1)
    shuffled = [np.take_along_axis(x, order, 1) for x in (labels, scores)]
    assert fl.evaluate(*shuffled, task="ranking") == expected


ONE = np.array([1.0, 0.0, 2.0])


@pytest.mark.parametrize(
    ("labels", "scores", "given", "error", "message"),
    [
        (ONE, ONE, {}, ValueError, r"give offsets or queries.*labels\[np.newaxis\]"),
        (ONE, ONE, {"offsets": [0, 3], "queries": [1, 1, 1]}, ValueError, "not both"),
        (ONE, ONE, {"offsets": [0, 2]}, ValueError, "must go from 0 to 3"),
        (ONE, ONE, {"queries": [1.0, 1, 1]}, TypeError, "queries has dtype float64"),
        (ONE, ONE, {"queries": [1, 1]}, ValueError, r"queries has shape \(2,\)"),
        (ONE, ONE[:2], {"offsets": [0, 3]}, ValueError, "nothing is broadcast"),
        (ONE[None], ONE[None], {"offsets": [0, 3]}, ValueError, "each row is a query"),
        (ONE[None], ONE[None], {"queries": [1]}, ValueError, "each row is a query"),
        (ONE[None, None], ONE[None, None], {}, ValueError, "one axis, of documents, or two"),
        (ONE - 1, ONE, {"offsets": [0, 3]}, ValueError, r"labels\[1\] is -1.0, but relevances"),
        (ONE * np.nan, ONE, {"offsets": [0, 3]}, ValueError, r"labels\[0\] is nan"),
        ([[np.inf, 0, 1]], ONE[None], {}, ValueError, r"labels\[0, 0\] is inf"),
        (
            ONE[None] * [1, np.nan, 1],
            ONE[None],
            {"mask": np.ones((1, 3), bool)},
            ValueError,
            r"labels\[0, 1\] is nan",
        ),
        (ONE * 1e300, ONE, {"offsets": [0, 3]}, ValueError, "rescale"),
        (ONE, ONE, {"offsets": [0, 3], "mask": ONE > 0}, ValueError, "leave documents out"),
        (ONE[None], ONE[None], {"mask": ONE[None]}, TypeError, "mask must have booleans"),
        (ONE[None], ONE[None], {"mask": ONE > 0}, ValueError, r"mask has shape \(3,\)"),
        (ONE[None], ONE[None], {"query_weight": ONE}, ValueError, r"expected shape \(1,\)"),
        (ONE[None], ONE[None], {"query_weight": [-1]}, ValueError, r"query_weight\[0\] is -1.0"),
        (ONE[None], ONE[None], {"groups": ["a", "b"]}, ValueError, r"expected \(1,\)"),
        (
            ONE,
            ONE,
            {"queries": [1, 2, 1], "query_weight": [1, 1, 2]},
            ValueError,
            r"query_weight\[2\] is 2.0 and query_weight\[0\] is 1.0.*query 1",
        ),
        (
            ONE,
            ONE,
            {"queries": [1, 1, 2], "groups": [1, 2, 2]},
            ValueError,
            r"groups\[1\] is 2 and groups\[0\] is 1",
        ),
        (
            ONE,
            ONE,
            {"queries": [1, 1, 2], "groups": ["a", "b", "b"]},
            ValueError,
            r"groups\[1\] is b and groups\[0\] is a",
        ),
        (ONE, ONE, {"queries": ["a", "a", "b"]}, TypeError, r"np.unique\(queries, return_inv"),
        (ONE[None], ONE[None], {"rows": ["ndcg"]}, TypeError, r"np.empty\(\(1, 4\)\)"),
        (ONE, ONE, {"queries": [1, 1, 2], "rows": {"ndcg": ONE}}, ValueError, "give offsets"),
        (ONE[None], ONE[None], {"rows": {"map": ONE}}, ValueError, "knows ndcg, average_prec"),
        (ONE[None], ONE[None], {"rows": {"ndcg": ONE}}, ValueError, r"shape \(1, 4\)"),
        (ONE[None].astype(complex), ONE[None], {}, TypeError, "labels has dtype complex"),
        (ONE[None], [["a", "b", "c"]], {}, TypeError, "predictions has dtype"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(labels, scores, given, error, message):
    card = fl.RankingScorecard().update([[1, 0]], [[1, 2]])
    before = card.result()
    with pytest.raises(error, match=message):
        card.update(labels, scores, **given)
    assert card.result() == before


def test_the_remedies_work():
    labels, scores, queries = np.array([1, 0, 2, 1]), np.array([1, 2, 3, 4]), np.array([1, 2, 2, 7])
    offsets = np.append(0, np.cumsum(np.unique(queries, return_counts=True)[1]))
    ndcg = np.empty((3, 4))
    found = fl.evaluate(labels, scores, offsets=offsets, task="ranking", rows={"ndcg": ndcg})
    assert found == fl.evaluate(labels, scores, queries=queries, task="ranking")
    assert found.ndcg[1] == ndcg[:, 0].mean()
    for names in [list("abbz"), [1.0, 2.0, 2.0, 7.0]]:
        ids = np.unique(names, return_inverse=True)[1]
        assert found == fl.evaluate(labels, scores, queries=ids, task="ranking")
    one = fl.evaluate(labels[np.newaxis], scores[np.newaxis], task="ranking")
    assert one.n_queries == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": ()}, ValueError, "k is empty"),
        ({"k": (0,)}, ValueError, "k is 0"),
        ({"k": 2.5}, TypeError, "k must be an integer"),
        ({"gain": "square"}, ValueError, "gain must be 'linear' or 'exponential'"),
        ({"relevant_from": 0}, ValueError, "must be positive"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        fl.RankingScorecard(**options)


def test_options_and_states_are_told_apart():
    card = fl.RankingScorecard(k=[None, np.int64(5), 5]).update([[1, 0]], [[1, 2]])
    assert card.result().k == (5, None)
    again = fl.RankingScorecard.from_state(card.state(), k=(5, None))
    assert again.result() == card.result()
    state = fl.RankingScorecard().update([1, 0], [1, 2], queries=[1, 1]).state()
    for name, broken in (
        ("rows_queries", np.array([2, 1])),
        ("rows_relevances", np.array([1.0, -1.0])),
        ("rows_weight", np.array([1.0])),
        ("counts", np.array([1, 2, 3, 4])),
        ("gains_ids", np.array([3])),
    ):
        with pytest.raises(ValueError, match="state"):
            fl.RankingScorecard.from_state(with_checksums({**state, name: broken}))


def test_tables_of_pandas(monkeypatch):
    monkeypatch.setattr(ranking_scores, "frame", lambda *parts: parts)
    labels, scores, offsets = make(11)
    groups = np.where(np.arange(len(offsets) - 1) % 3 > 0, "b", "a")
    found = fl.evaluate(labels, scores, offsets=offsets, groups=groups, task="ranking")
    columns, ids, names = found.to_pandas()
    assert (ids.tolist(), names) == (["1", "5", "10", "all"], ("k",))
    assert columns["recall"].tolist() == list(found.recall.values())
    assert list(columns)[::2] == list(METRICS)
    columns, ids, names = found.groups.to_pandas()
    assert ids.tolist() == [(group, k) for group in "ab" for k in ("1", "5", "10", "all")]
    assert names == ("group", "k")
    assert columns["ndcg"][[3, 7]].tolist() == found.groups.ndcg[None].tolist()
    both = {"parity": np.arange(len(groups)) % 2, "name": groups}
    of_both = fl.evaluate(labels, scores, offsets=offsets, groups=both, task="ranking").groups
    _, ids, names = of_both.to_pandas()
    assert (ids[0], names) == ((0, "a", "1"), ("parity", "name", "k"))
    assert of_both.n_counted.sum() == found.n_counted


def test_the_report_has_a_bar_for_each_number_and_tells_ids_first():
    labels, scores, offsets = make(13)
    groups = np.arange(len(offsets) - 1) % 2
    found = fl.evaluate(labels, scores, offsets=offsets, groups=groups, task="ranking", k=(3, None))
    page = task_page.page("ranking", found, [], True)
    titles = ("NDCG@3", "NDCG", "MAP@3", "MAP", "MRR@3", "MRR")
    for title, value, error in found.titled():
        assert (f"<title>{title}: {value:.6g} ± {error:.2g}</title>" in page) == (title in titles)
    assert list(found.groups.to_dict())[:2] == ["ids", "n_counted"]
    with pytest.warns(RuntimeWarning, match="no query counts"):
        none = fl.evaluate([[0, 0]], [[1, 2]], task="ranking")
    assert "<rect" not in task_page.page("ranking", none, [], True)


def test_rows_are_not_written_where_groups_are_refused():
    card = fl.RankingScorecard(k=1).update([[1, 0]], [[1.0, 0.0]], groups=["a"])
    ndcg = np.full((1, 1), 7.0)
    with pytest.raises(ValueError, match="groups are integers, but names in what came before"):
        card.update([[1, 0]], [[1.0, 0.0]], groups=[1], rows={"ndcg": ndcg})
    assert (ndcg[0, 0], card.result().n_queries) == (7.0, 1)


def test_a_state_is_a_copy():
    card = fl.RankingScorecard(k=1)
    card.update([1, 0, 1, 0], [1.0, 2.0, 3.0, 1.0], queries=[0, 0, 1, 1])
    before = card.result()
    for array in card.state().values():
        array[...] = 0
    assert card.result() == before
