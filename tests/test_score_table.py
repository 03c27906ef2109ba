"""Score tables and what follows from ranks, against formulas over all pairs of rows."""

import errno
import math
import mmap
import os
import pickle
import tempfile
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import compiled, partly_long, plain

import fastloss as fl
from fastloss.call import threads
from fastloss.evaluation.ranks import rank_statistics as ranks
from fastloss.evaluation.ranks.operating_points import (
    BestF,
    Confusion,
    FalsePositivesAt,
    Gains,
    Quantiles,
    SensitivityAt,
    confusion,
)
from fastloss.evaluation.ranks.rank_curves import (
    EqualMassBins,
    Isotonic,
    PrecisionRecallCurve,
    RocCurve,
    decomposition,
)
from fastloss.evaluation.sums import sorted_scores
from fastloss.evaluation.sums.grouped_scores import GroupedScores
from fastloss.evaluation.sums.score_keys import FORMS
from fastloss.evaluation.sums.score_table import ScoreTable
from fastloss.evaluation.tasks import TASKS
from fastloss.kernels.score_runs import split_keys
from fastloss.kernels.storage import FLOATS, dtype_of

pytestmark = plain

DTYPES = *map(dtype_of, FLOATS), np.int8, np.uint16, np.int64


def rows(n, dtype=np.float32, seed=0, weighted=False):
    """Labels, scores with ties and every odd number that the dtype has, and weights or None."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(np.int64)
    scores = (2 * rng.standard_normal(n) + labels).round(1)
    if np.dtype(dtype).kind in "iu":
        scores = np.abs(scores).round()
    else:
        odd = [np.inf, -np.inf, 0.0, -0.0, np.nan, 1e-7, -1e-7]
        scores[rng.integers(0, n, 2 * len(odd))] = odd * 2
    weights = rng.random(n) * (rng.random(n) < 0.9) if weighted else None
    return labels, scores.astype(dtype), weights


class Pairs:
    """The numbers of `summary` from their definitions, in float64."""

    def __init__(self, labels, scores, weights=None):
        x = np.asarray(scores).astype(np.float64)
        w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
        known = ~np.isnan(x) & (w != 0)
        y, x, w = np.asarray(labels)[known] != 0, x[known], w[known]
        self.n_nan = int((~known & (w_of(weights, len(known)) != 0)).sum())
        self.n, self.p, self.n_w, self.p_w = x[~y], x[y], w[~y], w[y]
        # Of each pair: 1 if it is won, 1/2 if tied.
        self.won = (self.p[:, None] > self.n) + (self.p[:, None] == self.n) / 2
        self.auc = math.fsum((self.won * np.outer(self.p_w, self.n_w)).ravel()) / (
            math.fsum(self.p_w) * math.fsum(self.n_w)
        )
        self.thresholds = np.unique(x)[::-1]
        self.true = np.array([math.fsum(self.p_w[self.p >= t]) for t in self.thresholds])
        self.false = np.array([math.fsum(self.n_w[self.n >= t]) for t in self.thresholds])
        gains = np.diff(self.true, prepend=0.0)
        self.average_precision = (
            math.fsum(gains * self.true / (self.true + self.false)) / self.true[-1]
        )
        gaps = np.abs(self.true / self.true[-1] - self.false / self.false[-1])
        self.ks, self.ks_threshold = gaps.max(), self.thresholds[gaps.argmax()]

    @property
    def standard_error(self):
        of_p, of_n = self.won.mean(axis=1), self.won.mean(axis=0)
        return math.sqrt(of_p.var(ddof=1) / len(self.p) + of_n.var(ddof=1) / len(self.n))


def w_of(weights, n):
    return np.ones(n) if weights is None else np.asarray(weights)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_summary_is_that_of_all_pairs(dtype, weighted):
    labels, scores, weights = rows(200, dtype, weighted=weighted)
    reference = Pairs(labels, scores, weights)
    table = ScoreTable.of(labels, scores, weights)
    assert table.n_nan == reference.n_nan
    assert (table.n_negatives, table.n_positives) == (len(reference.n), len(reference.p))
    found = ranks.summary(table)
    assert found.auc == pytest.approx(reference.auc, rel=1e-15)
    assert found.average_precision == pytest.approx(reference.average_precision, rel=1e-15)
    assert found.ks == pytest.approx(reference.ks, rel=1e-14)
    assert found.ks_threshold == reference.ks_threshold
    assert found.auc_interval == (found.auc, found.auc)
    if weighted:
        assert math.isnan(found.auc_standard_error)
    else:
        assert found.auc_standard_error == pytest.approx(reference.standard_error, rel=1e-13)


@compiled
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_compiled_loops_find_what_plain_ones_find(dtype, monkeypatch):
    """There are several blocks of rows and of steps, and threads."""
    monkeypatch.setattr(sorted_scores, "BLOCK", 1 << 10)
    monkeypatch.setattr(sorted_scores, "STEPS", 1 << 9)
    labels, scores, _ = rows(10_000, dtype)
    scores = (scores + np.random.default_rng(1).random(len(scores))).astype(dtype)
    # Of 32 bits in another way: by the middle rank of each score.
    known = ~np.isnan(scores)
    y, x = labels[known] == 1, scores[known]
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    middles = 2 * np.cumsum(counts) - counts + 1
    n_p, n_n = int(y.sum()), int((~y).sum())
    auc = (int(middles[places[y]].sum()) - n_p * (n_p + 1)) / (2 * n_p * n_n)
    found = []
    for n_threads in 1, 2:
        threads.set_num_threads(n_threads)
        table = ScoreTable.of(labels, scores)
        half = len(labels) // 2
        parts = [ScoreTable.of(labels[part], scores[part]) for part in np.s_[:half, half:]]
        found += [ranks.summary(table), ranks.summary(parts[1].merged(parts[0]))]
    threads.set_num_threads(None)
    assert found[0].auc == auc
    assert len(set(found)) == 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-45, 1.0, 2.0, np.inf, np.nan]),
            st.sampled_from([0.0, 0.3, 1.0, 2.0**600, 7.0]),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=24,
    ),
    st.booleans(),
    st.permutations(range(4)),
)
@settings(max_examples=30)
def test_any_split_and_order_of_merges_gives_the_same_bits(given_rows, weighted, order):
    labels, scores, weights, parts = (np.array(each) for each in zip(*given_rows, strict=True))
    scores = scores.astype(np.float32)

    def table(chosen):
        return ScoreTable.of(labels[chosen], scores[chosen], weights[chosen] if weighted else None)

    whole = table(np.full(len(labels), True))
    merged = ScoreTable.empty()
    for part in order:
        merged = merged.merged(table(parts == part))
    assert merged.n_nan == whole.n_nan
    assert repr(ranks.summary(merged)) == repr(ranks.summary(whole))


def test_runs_are_never_more_than_the_logarithm_of_the_rows():
    table = ScoreTable.empty()
    for i in range(100):
        table = table.merged(ScoreTable.of(np.array([0, 1]), np.array([i, i + 0.5])))
    sizes = [run.size for run in table.positives]
    assert sum(sizes) == 100
    assert all(2 * a <= b for a, b in pairwise(sizes))
    assert ranks.summary(table).auc == (101 / 2) / 100


def test_tables_of_different_dtypes_merge_into_the_wider_one():
    for weighted in False, True:
        parts = [rows(60, dtype, seed, weighted) for seed, dtype in enumerate(DTYPES)]
        if weighted:
            parts[0] = (*parts[0][:2], None)
        merged = ScoreTable.empty()
        for part in parts:
            merged = merged.merged(ScoreTable.of(*part))
        labels, scores, weights = (
            np.concatenate(each)
            for each in zip(
                *[(y, x.astype(np.float64), w_of(w, len(y))) for y, x, w in parts], strict=True
            )
        )
        assert ranks.summary(merged).auc == pytest.approx(
            Pairs(labels, scores, weights).auc, rel=1e-15
        )


def test_only_ratios_of_weights_count():
    labels, scores, weights = rows(100, weighted=True)
    plain_weights = ranks.summary(ScoreTable.of(labels, scores, weights))
    for scale in 2.0**1000, 2.0**-1000:
        parts = [
            ScoreTable.of(labels[part], scores[part], weights[part] * scale)
            for part in (np.s_[::2], np.s_[1::2])
        ]
        assert ranks.summary(parts[0].merged(parts[1]))[:4] == pytest.approx(
            plain_weights[:4], rel=1e-15, nan_ok=True
        )
    # However small weights are beside others, scores of theirs are scores.
    for bins in None, 16:
        far = ScoreTable.of([1, 1, 0, 1], [9, 3, 2, 1.0], [1e-300, 1.0, 1.0, 1.0], bins).merged(
            ScoreTable.of([0], [0.0], [1e300], bins)
        )
        assert ranks.summary(far).auc == 1.0
        assert far.n_positives == 3
        again = ScoreTable.from_state("s", far.state("s"), bins)
        assert ranks.summary(again).average_precision == ranks.summary(far).average_precision > 0
    # The small ones of the two tables vanish beside the large ones.
    large, small = (
        ScoreTable.of(labels, scores, np.full(len(labels), each)) for each in (1e300, 1e-300)
    )
    both = ranks.summary(small.merged(large)), ranks.summary(large.merged(small))
    assert both[0][:4] == pytest.approx(ranks.summary(large)[:4], rel=1e-15, nan_ok=True)
    assert repr(both[0]) == repr(both[1])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [dtype_of(name) for name in FLOATS])
@pytest.mark.parametrize("bins", [2, 512])
def test_bins_guarantee_an_interval(dtype, weighted, bins):
    for seed in range(4):
        labels, scores, weights = rows(80, dtype, seed, weighted)
        exact = Pairs(labels, scores, weights)
        halves = [
            ScoreTable.of(
                labels[part], scores[part], None if weights is None else weights[part], bins
            )
            for part in (np.s_[::2], np.s_[1::2])
        ]
        table = halves[0].merged(halves[1])
        assert (table.n_negatives, table.n_positives) == (len(exact.n), len(exact.p))
        assert table.n_nan == exact.n_nan
        found = ranks.summary(table)
        for name in "auc", "average_precision", "ks":
            low, high = getattr(found, f"{name}_interval")
            assert low - 1e-15 <= getattr(exact, name) <= high + 1e-15
            assert low <= getattr(found, name) <= high
    # Bins of one score each make no difference.
    whole = ScoreTable.of([0, 1, 1], np.array([1.0, 1.0, 2.0], np.float32), bins=1 << 20)
    assert ranks.summary(whole).auc_interval == (0.5, 1.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_numbers_of_bins_are_those_of_scores_lowered_to_the_least_of_their_bin(weighted):
    labels, _, weights = rows(300, weighted=weighted)
    scores = (3 * np.random.default_rng(1).standard_normal(300)).astype(np.float32)
    bits = scores.view(np.uint32)
    # Of 2**10 bins, ten upper bits are told apart; a negative score is lowered by a larger size.
    rest = np.uint32(2**22 - 1)
    lowered = np.where(scores < 0, bits + rest & ~rest, bits & ~rest).view(np.float32)
    assert (lowered < scores).all()

    def every(scores, bins=None):
        return ranks.read(
            ScoreTable.of(labels, scores, weights, bins),
            BestF(),
            FalsePositivesAt(),
            SensitivityAt(0.7),
            Gains([0.1, 0.7]),
            Quantiles([0.2, 0.5]),
            EqualMassBins(6, np.tanh),
        )

    for a, b in zip(every(scores, 1 << 10), every(lowered), strict=True):
        np.testing.assert_allclose(np.hstack(a), np.hstack(b), rtol=1e-13)


def test_what_is_unknown_is_nan():
    for labels in [], [0, 0], [1, 1]:
        for bins in None, 4:
            table = ScoreTable.of(np.array(labels), np.arange(len(labels), dtype=float), bins=bins)
            found = ranks.summary(table)
            precisions = found.average_precision, *found.average_precision_interval
            expected = [1.0 if 1 in labels else math.nan] * 3
            np.testing.assert_array_equal(precisions, expected)
            others = found._replace(average_precision=math.nan, average_precision_interval=())
            assert all(map(math.isnan, np.hstack(others)))
    one = ranks.summary(ScoreTable.of(np.array([0, 1]), np.array([1.0, 2.0])))
    assert one.auc == 1.0
    assert math.isnan(one.auc_standard_error)
    unseen = ScoreTable.of(np.array([0, 1]), np.array([np.nan, 2.0]))
    assert (unseen.n_nan, unseen.n_rows) == (1, 1)
    weightless = ScoreTable.of(np.array([0, 1]), np.array([np.nan, 2.0]), np.zeros(2))
    assert (weightless.n_nan, weightless.n_rows) == (0, 0)


def test_wins_beyond_2_to_the_53_are_exact():
    n = 2**31
    table = ScoreTable.of(np.array([0, 1, 0, 1]), np.array([1, 1, 2, 2], np.float16))
    counts = table.counts * 0.0
    places = np.flatnonzero(table.counts.any(axis=1))
    counts[places] = [[n, 2 * n + 1], [n - 2, n]]
    table = table._replace(counts=counts, n_negatives=2 * n - 2, n_positives=3 * n + 1)
    twice = n * n * 2 + (n - 2) * n + (2 * n + 1) * n
    assert ranks.summary(table).auc == twice / (2 * (2 * n - 2) * (3 * n + 1))


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match=r"scores\[1\] is 9007199254740993, which float64 does"):
        ScoreTable.of(np.array([0, 1]), np.array([2**53, 2**53 + 1]))
    big = np.array([2**64 - 1, 2**63], np.uint64)
    with pytest.raises(ValueError, match=r"scores\[0\] is 18446744073709551615"):
        ScoreTable.of(np.array([0, 1]), big)
    with pytest.raises(ValueError, match="one axis"):
        ScoreTable.of(np.array([0]), np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"labels has shape \(2,\), but scores has \(1,\)"):
        ScoreTable.of([0, 1], [0.5])
    with pytest.raises(ValueError, match=r"weights has shape \(2,\), but scores has \(1,\)"):
        ScoreTable.of([0], [0.5], [1, 2])
    with pytest.raises(TypeError, match="scores has dtype <U1"):
        ScoreTable.of(np.array([0]), np.array(["a"]))
    for bins in 3, 1, 2**21:
        with pytest.raises(ValueError, match="power of two"):
            ScoreTable.empty(bins)
    with pytest.raises(ValueError, match="same bins"):
        ScoreTable.empty(4).merged(ScoreTable.empty())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "bins"), [(np.float16, None), (np.float32, None), (float, 64)])
def test_a_state_holds_all_and_damage_is_refused(dtype, bins, weighted):
    labels, scores, weights = rows(50, dtype, weighted=weighted)
    table = ScoreTable.of(labels, scores, weights, bins)
    state = table.state("s")
    again = ScoreTable.from_state("s", state, bins)
    assert repr(ranks.summary(again)) == repr(ranks.summary(table))
    assert again.n_nan == table.n_nan
    for name, array in state.items():
        damaged = array.copy()
        if name.endswith(("_keys", "_places")):
            damaged[[0, -1]] = damaged[[-1, 0]]
        elif array.size:
            damaged.flat[0] = -1
        else:
            continue
        with pytest.raises(ValueError, match="damaged"):
            ScoreTable.from_state("s", {**state, name: damaged}, bins)
        if array.size > 1:
            with pytest.raises(ValueError, match="s_"):
                ScoreTable.from_state("s", {**state, name: array[1:]}, bins)
    with pytest.raises(ValueError, match="has no 's_rows'"):
        ScoreTable.from_state("s", {}, bins)
    empty = ScoreTable.from_state("s", ScoreTable.empty(bins).state("s"), bins)
    assert empty == ScoreTable.empty(bins)


def test_layouts_of_scores_make_no_difference():
    labels, scores, _ = rows(64)
    found = ranks.summary(ScoreTable.of(labels, scores))
    for other in scores.astype(">f4"), np.repeat(scores, 2)[::2], scores[::-1].copy()[::-1]:
        assert ranks.summary(ScoreTable.of(labels == 1, other)) == found
    assert sorted_scores.BLOCK > 64


def test_confusion_is_that_of_scores_not_below_the_threshold():
    for dtype, bins in [(dtype, None) for dtype in DTYPES] + [(np.float32, 1 << 16)]:
        for weighted in False, True:
            labels, scores, weights = rows(80, dtype, weighted=weighted)
            table = ScoreTable.of(labels, scores, weights, bins)
            pairs = Pairs(labels, scores, weights)
            near = 0.1, 65505.0, -1e300, 1e300, np.inf, -np.inf
            thresholds = np.array([*near, *pairs.thresholds[::7]]) if bins is None else [0.0, 0.5]
            found = confusion(table, thresholds)
            for i, threshold in enumerate(thresholds):
                of_one = confusion(table, threshold)
                assert of_one == pytest.approx([each[i] for each in found], rel=1e-15)
                expected = [
                    math.fsum(part)
                    for part in (
                        pairs.p_w[pairs.p >= threshold],
                        pairs.n_w[pairs.n >= threshold],
                        pairs.p_w[pairs.p < threshold],
                        pairs.n_w[pairs.n < threshold],
                    )
                ]
                assert of_one == pytest.approx(expected, rel=1e-14, abs=1e-14)
    hand = Confusion(3.0, 1.0, 2.0, 4.0)
    ratios = hand.precision, hand.recall, hand.specificity, hand.accuracy, hand.f(), hand.f(2.0)
    assert ratios == (0.75, 0.6, 0.8, 0.7, 6 / 9, 15 / 24)
    assert math.isnan(Confusion(0.0, 0.0, 2.0, 4.0).precision)
    with pytest.raises(ValueError, match="threshold is NaN"):
        confusion(ScoreTable.empty(), np.nan)


@pytest.mark.parametrize("weighted", [False, True])
def test_operating_points_are_the_best_of_all_thresholds(weighted):
    for seed in range(5):
        labels, scores, weights = rows(60, np.float32, seed, weighted)
        pairs = Pairs(labels, scores, weights)
        true, false = pairs.true, pairs.false
        n, p = false[-1], true[-1]
        found = ranks.read(
            ScoreTable.of(labels, scores, weights),
            BestF(),
            BestF(0.5),
            SensitivityAt(0.8),
            FalsePositivesAt(),
            SensitivityAt(1.0),
        )
        f = [(1 + b) * true / ((1 + b) * true + b * (p - true) + false) for b in (1.0, 0.25)]
        sensitivities = [np.where((n - false) / n >= least, true / p, -1) for least in (0.8, 1.0)]
        misses = np.where(true / p >= 0.95, false / n, 2.0)
        expected = [
            (pairs.thresholds[f[0].argmax()], f[0].max()),
            (pairs.thresholds[f[1].argmax()], f[1].max()),
            (pairs.thresholds[sensitivities[0].argmax()], sensitivities[0].max()),
            (pairs.thresholds[misses.argmin()], misses.min()),
        ]
        assert found[:4] == [pytest.approx(each, rel=1e-14) for each in expected]
        if sensitivities[1].max() < 0:
            assert found[4] == (np.inf, 0.0)
        else:
            assert found[4].value == sensitivities[1].max()


def test_gains_and_quantiles_are_those_of_sorted_rows():
    labels, scores, _ = rows(91, np.float32)
    scores = np.clip(scores, -50, 50)
    known = ~np.isnan(scores)
    y, x = labels[known], scores[known].astype(float)
    order = np.argsort(-x)
    shares = np.array([0.0, 0.1, 0.5, 1.0])
    table = ScoreTable.of(labels, scores)
    gain, quantiles = ranks.read(table, Gains(shares), Quantiles([0.0, 0.25, 0.5, 1.0]))
    # A row counts as much as the mean of those it is tied with.
    means = np.array([y[x == score].mean() for score in x[order]])
    gained = np.interp(shares * len(x), range(len(x) + 1), np.append(0, np.cumsum(means)))
    np.testing.assert_allclose(gain.gain, gained / y.sum(), rtol=1e-13)
    np.testing.assert_allclose(gain.lift[1:], gain.gain[1:] / shares[1:])
    expected = np.quantile(x, [0.0, 0.25, 0.5, 1.0], method="averaged_inverted_cdf")
    np.testing.assert_array_equal(quantiles, expected)
    for n in 1, 2, 5, 6:
        values = np.random.default_rng(n).standard_normal(n)
        of_values = ScoreTable.of(None, values)
        assert ranks.read(of_values, Quantiles(0.5))[0] == [np.median(values)]
    for wrong in (lambda: Gains([2.0]), lambda: SensitivityAt(-1), lambda: FalsePositivesAt(95)):
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            wrong()
    for wrong in (lambda: RocCurve(2), lambda: PrecisionRecallCurve(0), lambda: EqualMassBins(0)):
        with pytest.raises(ValueError, match="n must be [13] or more"):
            wrong()
    used = Gains(shares)
    ranks.read(table, used)
    with pytest.raises(RuntimeError, match="make another"):
        ranks.read(table, used)


@pytest.mark.parametrize("weighted", [False, True])
def test_isotonic_pools_give_the_best_monotone_probabilities(weighted):
    for seed in range(5):
        labels, scores, weights = rows(60, np.float32, seed, weighted)
        pairs = Pairs(labels, scores, weights)
        p = np.diff(pairs.true, prepend=0.0)[::-1]
        w = p + np.diff(pairs.false, prepend=0.0)[::-1]
        # At each score the largest over what begins before it, of the least over what ends after.
        sums_p, sums_w = (np.append(0.0, np.cumsum(each)) for each in (p, w))
        means = [
            [
                (sums_p[b + 1] - sums_p[a]) / (sums_w[b + 1] - sums_w[a]) if b >= a else np.inf
                for b in range(len(p))
            ]
            for a in range(len(p))
        ]
        fit = np.array([max(min(means[a][k:]) for a in range(k + 1)) for k in range(len(p))])
        brier = float((p * (1 - fit) ** 2 + (w - p) * fit**2).sum() / w.sum())
        table = ScoreTable.of(labels, scores, weights)
        found = ranks.read(table, Isotonic())[0]
        assert found == pytest.approx(brier, rel=1e-12)
        parts = decomposition(table, 0.3, found)
        share = p.sum() / w.sum()
        assert parts.uncertainty == pytest.approx(share * (1 - share), rel=1e-12)
        total = parts.miscalibration - parts.discrimination + parts.uncertainty
        assert total == pytest.approx(0.3, rel=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [5, 40, 10_000])
def test_thinned_curves_keep_their_area(n, weighted):
    labels, scores, weights = rows(1000, np.float32, 0, weighted)
    scores += np.random.default_rng(2).random(len(scores)).astype(np.float32)
    table = ScoreTable.of(labels, scores, weights)
    areas, roc, steps = ranks.read(table, ranks.Areas(), RocCurve(n), PrecisionRecallCurve(n))
    assert len(roc.x) <= n
    assert len(steps.x) <= n
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(areas.auc, rel=1e-12)
    widths = np.diff(steps.x, prepend=0.0)
    assert (widths * steps.y).sum() == pytest.approx(areas.average_precision, rel=1e-12)
    for curve in roc, steps:
        assert (np.diff(curve.x) >= 0).all()
    assert (np.diff(roc.y) >= 0).all()
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1], steps.x[-1]) == (0, 0, 1, 1, 1)
    # Points of the curve are where their thresholds say.
    real = ~np.isnan(roc.threshold)
    real[0] = False  # where nothing is predicted positive
    at = confusion(table, roc.threshold[real])
    np.testing.assert_allclose(roc.y[real], at.recall, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(roc.x[real], 1 - at.specificity, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(steps.x, confusion(table, steps.threshold).recall, rtol=1e-12)
    if n == 10_000:
        assert real[1:].all()
        np.testing.assert_allclose(steps.y, confusion(table, steps.threshold).precision)


def test_bins_of_equal_weight_never_split_a_score():
    labels, scores, weights = rows(500, np.float32, 0, True)
    chosen = np.isfinite(scores) & (weights > 0)
    y, x, w = labels[chosen], scores[chosen], weights[chosen]
    found = ranks.read(ScoreTable.of(y, x, w), EqualMassBins(7, np.tanh))[0]
    inside = [(x >= a) & (x <= b) for a, b in zip(found.lowest, found.highest, strict=True)]
    assert np.sum(inside, axis=0).tolist() == [1] * len(x)
    for i, here in enumerate(inside):
        assert found.negative[i] == pytest.approx(w[here & (y == 0)].sum())
        assert found.positive[i] == pytest.approx(w[here & (y == 1)].sum())
        mean = (w * np.tanh(x.astype(float)))[here].sum() / w[here].sum()
        assert found.probability[i] == pytest.approx(mean)
    heaviest = max(w[x == score].sum() for score in x)
    assert (np.abs(found.negative + found.positive - w.sum() / 7) <= heaviest).all()
    # Without ties they are as equal as can be, in any number of blocks of steps.
    many = np.random.default_rng(0).permutation(100).astype(np.float32)
    equal = ranks.read(ScoreTable.of(many > 50, many), EqualMassBins(10))[0]
    np.testing.assert_array_equal(equal.lowest, np.arange(0, 100, 10))
    np.testing.assert_array_equal(equal.highest, np.arange(9, 100, 10))


def test_statistics_of_nothing_are_nan():
    every = BestF, SensitivityAt, FalsePositivesAt, Gains, Quantiles
    for labels in [], [0, 0], [1, 1]:
        table = ScoreTable.of(labels, np.arange(len(labels), dtype=float))
        best, sensitivity, misses, gain, quantile, isotonic = ranks.read(
            table, *(statistic(0.5) for statistic in every), Isotonic()
        )
        assert math.isnan(best.value) == (1 not in labels)
        assert math.isnan(sensitivity.value)
        assert math.isnan(misses.value)
        assert np.isnan(gain.gain).all() == (1 not in labels)
        assert math.isnan(quantile[0]) == (not labels)
        assert math.isnan(isotonic) == (not labels)
        roc, steps, bins = ranks.read(table, RocCurve(5), PrecisionRecallCurve(5), EqualMassBins(3))
        assert not len(roc.x)
        assert (len(steps.x) > 0) == (1 in labels)
        assert len(bins.lowest) == len(labels)


@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_of_many_blocks_are_those_of_one(weighted, monkeypatch):
    labels, scores, weights = rows(300, np.float32, 0, weighted)
    table = ScoreTable.of(labels, scores, weights)

    def every():
        return ranks.read(
            table,
            ranks.Areas(),
            BestF(),
            FalsePositivesAt(),
            Gains([0.1, 0.7]),
            Quantiles([0.2, 0.5]),
            RocCurve(9),
            PrecisionRecallCurve(9),
            EqualMassBins(6, np.tanh),
            Isotonic(),
        )

    once = every()
    monkeypatch.setattr(sorted_scores, "STEPS", 7)
    again = every()
    for a, b in zip(once[:-1], again[:-1], strict=True):
        np.testing.assert_allclose(np.hstack(a), np.hstack(b), rtol=1e-13)
    assert once[-1] == again[-1]


@pytest.mark.parametrize("weighted", [False, True])
def test_areas_of_groups_are_those_of_tables_of_each(weighted):
    labels, scores, weights = rows(120, np.float32, 3, weighted)
    groups = np.random.default_rng(0).integers(-3, 6, 120) ** 3
    labels[groups == 8] = 1  # a class is absent
    scores[groups == 27] = np.nan

    def grouped(part, weights=weights):
        return GroupedScores.of(
            groups[part], labels[part], scores[part], None if weights is None else weights[part]
        )

    whole = grouped(np.s_[:])
    merged = GroupedScores()
    for i in 3, 0, 2, 1, 4:
        merged = merged.merged(grouped(np.s_[i::5]))
    areas = whole.areas()
    for again in merged, GroupedScores.from_state("s", merged.state("s")):
        for a, b in zip(again.areas(), areas, strict=True):
            np.testing.assert_array_equal(a, b)
    assert areas.ids.tolist() == sorted(set(groups.tolist()))
    for i, group in enumerate(areas.ids):
        here = groups == group
        alone = ScoreTable.of(
            labels[here], scores[here], None if weights is None else weights[here]
        )
        numbers = alone.n_negatives, alone.n_positives, alone.n_nan
        assert (areas.n_negatives[i], areas.n_positives[i], areas.n_nan[i]) == numbers
        found = ranks.summary(alone)
        assert areas.auc[i] == pytest.approx(found.auc, rel=1e-15, nan_ok=True)
        expected = pytest.approx(found.average_precision, rel=1e-15, nan_ok=True)
        assert areas.average_precision[i] == expected
        assert repr(ranks.summary(merged.of_group(group))) == repr(found)
    assert merged.of_group(5).n_rows == 0
    if weighted:
        # Weights of 1 are none.
        both = grouped(np.s_[:60], None).merged(grouped(np.s_[60:], np.ones(120))).areas()
        np.testing.assert_array_equal(both.auc, grouped(np.s_[:], None).areas().auc)
        scaled = grouped(np.s_[:], weights * 2.0**900).areas()
        np.testing.assert_allclose(scaled.auc, areas.auc, rtol=1e-15)
    assert len(GroupedScores().areas().ids) == 0


def test_a_damaged_state_of_groups_is_refused():
    table = GroupedScores.of([1, 1, 2], [0, 1, 1], [0.5, np.nan, 2.0], [1.0, 2.0, 3.0])
    state = table.state("s")
    for name, damaged in (
        ("groups", [2, 1, 1]),
        ("keys", state["s_keys"][[1, 0, 2]]),
        ("keys", state["s_keys"] - np.uint64(1)),
        ("weights", [0.0, 1.0, 2.0]),
        ("weights", [1.0]),
        ("positive", [True]),
    ):
        name = f"s_{name}"
        broken = {**state, name: np.array(damaged, state[name].dtype)}
        with pytest.raises(ValueError, match=r"damaged|has shape"):
            GroupedScores.from_state("s", broken)
    with pytest.raises(ValueError, match="has no 's_groups'"):
        GroupedScores.from_state("s", {})


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_keys_are_in_the_order_of_scores(form):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 2000, np.uint64) << np.uint64(32) >> np.uint64(64 - form.bits)
    edges = [0, form.sign, form.infinity, form.sign + form.infinity, 1, form.infinity - 1]
    bits = np.append(bits, np.array(edges, np.uint64)).astype(form.dtype)
    x = bits.view(dtype_of(form.name))
    keys = np.empty(len(x), form.dtype)
    of_label_0 = np.zeros(len(x), np.uint8)
    split_keys(bits, of_label_0, form.sign, form.infinity, form.nan, keys, 0, len(x))
    with np.errstate(invalid="ignore"):  # of NaN that signal
        values = x.astype(np.float64)
    known = ~np.isnan(values)
    assert (keys[~known] == form.nan).all()
    keys, values = keys[known], values[known]
    np.testing.assert_array_equal(form.scores(keys).astype(np.float64), values)
    np.testing.assert_array_equal(
        np.unique(keys, return_inverse=True)[1], np.unique(values, return_inverse=True)[1]
    )
    np.testing.assert_array_equal(form.keys(values), keys)
    assert form.holds(keys)
    # Nor do NaN that signal warn when they are rounded for bins.
    assert ScoreTable.of(np.zeros(len(x)), x, bins=2).n_nan == np.count_nonzero(~known)
    # The least key of a threshold that lies between scores is that of the next one.
    ordered = np.unique(values)
    finite = ordered[np.isfinite(ordered)]
    with np.errstate(over="ignore"):
        between = np.nextafter(finite, np.inf)
    for thresholds in finite, between, np.array([-np.inf, np.inf, -1e308]):
        least = form.least_keys(thresholds)
        assert not (form.scores(least).astype(np.float64) < thresholds).any()
        with np.errstate(invalid="ignore"):  # below -inf
            lower = form.scores(least - form.dtype.type(1)).astype(np.float64)
        assert not (lower >= thresholds).any()


@pytest.mark.parametrize("bins", [None, 64])
def test_rounding_of_weights_leaves_neither_less_nor_more_than_all(bins):
    for seed in range(12):
        labels, scores, weights = rows(60, np.float32, seed, weighted=True)
        table = ScoreTable.of(labels, scores, weights, bins)
        found = confusion(table, [-np.inf, np.inf])
        assert (found.false_negative[0], found.true_negative[0]) == (0.0, 0.0)
        assert (found.true_positive[1], found.false_positive[1]) >= (0.0, 0.0)
        assert math.isnan(found.mcc[0])
        every = confusion(table, np.unique(scores[~np.isnan(scores)]))
        assert all((part >= 0).all() for part in every)
        gains, all_found, least, *curves = ranks.read(
            table,
            Gains([1.0]),
            SensitivityAt(0.0),
            FalsePositivesAt(1.0),
            *(kind(n) for kind in (RocCurve, PrecisionRecallCurve) for n in (5, 1000)),
        )
        assert (gains.gain[0], all_found.value) == (1.0, 1.0)
        assert least.value <= 1.0
        for curve in curves:
            assert curve.x[-1] == 1.0
            assert curve.y.max() <= 1.0
            assert (np.diff(curve.x) >= 0).all()
        for roc in curves[:2]:
            assert roc.y[-1] == 1.0
            assert (np.diff(roc.y) >= 0).all()


# -------------------------------------------------------------------------------------------------
# In files


LIMIT = 800  # bytes, of which an array has an eighth: 25 keys of float32
SPILLED = {
    "binary": ({}, lambda card: [card._sums.parts["scores"]]),
    "multilabel": ({}, lambda card: card._sums.parts["scores"].tables),
    "regression": ({"median": True}, lambda card: [card._sums.parts["median/0"]]),
    "multiclass": ({"by_confidence": True}, lambda card: [card._sums.parts["confidences"]]),
}


@partly_long(
    3,
    "task, weighted",
    [
        *(("binary", False), ("binary", True), ("regression", True), ("regression", False)),
        *((task, weighted) for task in ("multilabel", "multiclass") for weighted in (True, False)),
    ],
)
def test_scores_beyond_the_limit_lie_in_files_and_give_the_same_bits(
    task, weighted, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((240, 2)).astype(np.float32).round(1)
    labels, w = rng.integers(0, 2, (240, 2)), rng.uniform(0.5, 2, 240)
    y = labels if task == "multilabel" else labels[:, 0]
    x = x if task in ("multilabel", "multiclass") else x[:, 0]
    options, tables_of = SPILLED[task]
    kind = TASKS[task].scorecard
    cards = kind(**options), kind(**options, memory_limit=LIMIT)
    for card in cards:
        for start in range(0, 240, 40):
            part = np.s_[start : start + 50]
            card.update(y[part], x[part], sample_weight=w[part] if weighted else None)
            card._replace(lambda sums: sums.added_up())
    assert cards[0].result() == cards[1].result()
    state, spilled = (card.state() for card in cards)
    for name, array in state.items():
        np.testing.assert_array_equal(spilled[name], array)
    again = kind.from_state(spilled, **options, memory_limit=LIMIT)
    assert again.merge(kind(**options)).result() == cards[0].result()
    for card in cards[1], again:
        arrays = [
            array
            for table in tables_of(card)
            for run in table.negatives + table.positives
            for array in (run.keys, run.weights)
        ]
        in_files = [isinstance(array.base, mmap.mmap) for array in arrays]
        assert any(in_files)
        inside = [array.nbytes for array, out in zip(arrays, in_files, strict=True) if not out]
        assert sum(inside) <= LIMIT
    assert pickle.loads(pickle.dumps(again)).result() == cards[0].result()
    assert not list(tmp_path.iterdir())  # they have no names


def test_a_disk_without_room_is_an_error_and_changes_nothing(monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    y, x = np.arange(60) % 2, np.linspace(-3, 3, 60)
    card = fl.BinaryScorecard(memory_limit=64).update(y[:6], x[:6])
    before = card.result()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(
            OSError, match="beyond memory_limit cannot be kept in .*: say by TMPDIR"
        ):
            card.update(y, x).result()
    for code, folder, remedy in (
        (errno.ENOENT, "/none", "/none: say by TMPDIR"),
        (errno.ENOENT, None, "any folder for temporary files: say by TMPDIR"),
        (errno.EMFILE, "/none", "allow more open files"),
    ):

        def missing(code=code):
            raise OSError(code, "missing")

        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "TemporaryFile", missing)
            patch.setattr(tempfile, "tempdir", folder)
            with pytest.raises(OSError, match=f"beyond memory_limit cannot be kept in .*{remedy}"):
                card.result()
    fresh = fl.BinaryScorecard(memory_limit=64).update(y[:6], x[:6])
    assert fresh.result() == before
    for limit, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="memory_limit"):
            fl.BinaryScorecard(memory_limit=limit)
