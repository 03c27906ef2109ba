"""Two sets of logits: against mpmath and NumPy, in parts, with options, and with what is odd."""

import json
import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from cards import assert_same
from plain import compiled, partly_long, plain
from processes import run_python

import fastloss as fl
from fastloss.evaluation import comparison as module
from fastloss.evaluation import rows as rows_module
from fastloss.evaluation.sums import pair_sums
from fastloss.evaluation.sums.accumulator import PENDING_ROWS
from fastloss.evaluation.sums.pair_sums import PairRows, PairSums
from fastloss.kernels import scalar
from fastloss.kernels.form import PairScores
from fastloss.kernels.log_ratio import divergence_from_mean, half_cosh_sinh, half_tanh
from fastloss.kernels.softmax import short_rows
from fastloss.kernels.tally_pairs import (
    BLOCK,
    CENTERS,
    CHANGE_BINS,
    FIRSTS,
    KL_BINS,
    MEANS,
    N_MEANS,
    N_PAIR_SCORES,
    SECONDS,
    bin_of,
)
from trust.ulp import apply

pytestmark = plain

INF, NAN = math.inf, math.nan
DIVERGENCES = ("kl", "reverse_kl", "jensen_shannon", "total_variation")
LABELLED = ("loss_a", "loss_b", "loss_difference", "probability_change")
NAMES = (*DIVERGENCES, "agreement", *LABELLED)


# -------------------------------------------------------------------------------------------------
# The reference


def exact(a, b, label=None):
    """All numbers of a row, by their formulas in mpmath; infinite logits are -inf alone."""
    with mpmath.workprec(200):
        a, b = ([mpmath.mpf(float(x)) for x in row] for row in (a, b))
        sums = (mpmath.log(sum(map(mpmath.exp, row))) for row in (a, b))
        log_p, log_q = ([x - lse for x in row] for row, lse in zip((a, b), sums, strict=True))
        p, q = (list(map(mpmath.exp, row)) for row in (log_p, log_q))
        log_m = [mpmath.log((p_j + q_j) / 2) for p_j, q_j in zip(p, q, strict=True)]

        def kl(p, log_p, log_q):
            return sum(p_j * (x - y) for p_j, x, y in zip(p, log_p, log_q, strict=True) if p_j)

        found = {
            "kl": kl(p, log_p, log_q),
            "reverse_kl": kl(q, log_q, log_p),
            "jensen_shannon": (kl(p, log_p, log_m) + kl(q, log_q, log_m)) / 2,
            "total_variation": sum(abs(p_j - q_j) for p_j, q_j in zip(p, q, strict=True)) / 2,
            "agreement": float(np.argmax(a) == np.argmax(b)),
        }
        if label is not None:
            found |= {"loss_a": -log_p[label], "loss_b": -log_q[label]}
            found |= {"probability_change": q[label] - p[label]}
            found |= {"loss_difference": log_p[label] - log_q[label]}
        return found


def scores_of(a, b, labels=None, weight=None, **options):
    """`PairScores` of rows."""
    loss = fl.Comparison(**options)._loss
    arrays = (None if x is None else np.asarray(x) for x in (labels, a, b, weight))
    return PairScores(*np.moveaxis(loss.score(*arrays), -1, 0))


def pair(shape, noise=0.1, dtype=np.float32, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    a = (3 * rng.normal(size=shape)).astype(dtype)
    b = (a + noise * rng.normal(size=shape) + offset).astype(dtype)
    return a, b, rng.integers(0, shape[-1], shape[:-1])


# -------------------------------------------------------------------------------------------------
# Accuracy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@partly_long(2, "noise", [8.0, 1e-6, 0.5, 1e-2])
@partly_long(3, "c", [1, 2, 17, 600])
def test_rows_against_mpmath(c, noise, dtype):
    """Also of sets that are 1e-6 apart, beside an offset of 5: the digits are those of the type.

    In an exponential the gap is rounded as it is, in a difference d the largest d; a term d^2 with
    an error of d is off by twice the error.
    """
    a, b, labels = pair((2, c), noise, dtype, offset=5.0, seed=c)
    scores = scores_of(a, b, labels)
    eps = np.finfo(dtype).eps / 2
    for r in range(len(a)):
        expected = exact(a[r], b[r], labels[r])
        gap = float(np.ptp(a[r]) + np.ptp(b[r]))
        d = a[r].astype(float) - b[r]
        widest = float(np.ptp(d))
        spread = math.sqrt(2 * expected["kl"]) or 1.0
        close = (gap + 32) * eps * (1 + widest / spread)
        share = math.exp(-min(expected["loss_a"], expected["loss_b"]))
        for name in NAMES:
            error = abs(mpmath.mpf(float(getattr(scores, name)[r])) - expected[name])
            allowed = close * abs(expected[name])
            if name == "loss_difference":
                allowed = 8 * eps * widest
            elif name == "probability_change":
                allowed += 8 * eps * widest * share
            assert error <= allowed, (name, r, float(error), float(allowed))


def test_nearly_equal_logits_keep_their_digits():
    """KL of float32 logits that are 1e-4 apart is 5e-9, and right to its last digits."""
    a, b, _ = pair((2, 300), 1e-4)
    scores = scores_of(a, b)
    for r in range(2):
        for name, value in exact(a[r], b[r]).items():
            assert abs(getattr(scores, name)[r] / value - 1) < 1e-6, name


@partly_long(1, "dtype", [np.float32, np.float16, np.float64, "bfloat16"])
def test_equal_logits_differ_in_nothing(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    a, _, labels = pair((40, 700), dtype=dtype)
    a[3, 5] = -INF
    for b in (a, a.astype(np.float64)):
        differences = fl.compare(a, b, labels)
        assert differences.agreement.mean == 1
        for name in (*DIVERGENCES, "loss_difference", "probability_change"):
            summary = getattr(differences, name)
            assert (summary.mean, summary.standard_error, summary.maximum) == (0, 0, 0), name
        assert differences.kl.quantile(0.5) == differences.probability_change.quantile(0.1) == 0


@compiled
@pytest.mark.long
def test_long_rows_keep_their_digits():
    """Sums of 100,000 classes, in parts that are close and parts that are not."""
    a, b, labels = pair((2, 100_003), 1e-3)
    b[:, 70_000:70_100] += 5
    found = scores_of(a, b, labels)
    x, y = a.astype(np.float64), b.astype(np.float64)
    expected = scores_of(x, y, labels)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=4e-6, err_msg=name
        )
    p, q = (np.exp(z - np.logaddexp.reduce(z, -1, keepdims=True)) for z in (x, y))
    np.testing.assert_allclose(expected.total_variation, abs(p - q).sum(-1) / 2, rtol=1e-11)
    np.testing.assert_allclose(expected.kl, (p * np.log(p / q)).sum(-1), rtol=1e-9)


def test_it_is_what_the_losses_are():
    a, b, labels = pair((50, 20), 1.0, np.float64)
    scores = scores_of(a, b, labels)
    for found, loss, first, second in (
        (scores.kl, fl.KLDivergence(from_logits=True, reduction="none"), a, b),
        (scores.reverse_kl, fl.KLDivergence(from_logits=True, reduction="none"), b, a),
        (scores.jensen_shannon, fl.JensenShannon(from_logits=True, reduction="none"), a, b),
        (scores.loss_a, fl.CrossEntropy(reduction="none"), labels, a),
        (scores.loss_b, fl.CrossEntropy(reduction="none"), labels, b),
    ):
        np.testing.assert_allclose(found, loss(first, second), rtol=1e-13)
    np.testing.assert_array_equal(scores.agreement, a.argmax(-1) == b.argmax(-1))


def cosh(d):
    return half_cosh_sinh(d)[0]


def sinh(d):
    return half_cosh_sinh(d)[1]


def tanh(d):
    return half_tanh(d)[0]


def lag(d):
    return half_tanh(d)[1]


def divergence(d):
    t = mpmath.tanh(d / 2)
    return ((1 + t) * mpmath.log1p(t) + (1 - t) * mpmath.log1p(-t)) / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_a_close_ratio_against_mpmath(dtype):
    rng = np.random.default_rng(3)
    d = np.concatenate([rng.uniform(-1, 1, 600), 2.0 ** rng.uniform(-40, 0, 200), [1.0, -1.0]])
    d = d.astype(dtype)
    for function, truth in (
        (cosh, lambda d: mpmath.cosh(d / 2)),
        (sinh, lambda d: mpmath.sinh(d / 2)),
        (tanh, lambda d: mpmath.tanh(d / 2)),
        (lag, lambda d: mpmath.tanh(d / 2) - d / 2),
        (divergence_from_mean, divergence),
    ):
        with mpmath.workprec(300):
            for x, found in zip(d.tolist(), apply(function, d).tolist(), strict=True):
                value = truth(mpmath.mpf(x))
                assert abs(found - value) <= 4 * np.finfo(dtype).eps * abs(value), (function, x)
    assert apply(divergence_from_mean, np.zeros(1, dtype)) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log1p_less_x_against_mpmath(dtype):
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(-0.25, 0.5, 2000), 2.0 ** rng.uniform(-50, -1, 500)])
    x = x.astype(dtype)
    with mpmath.workprec(250):
        for number, found in zip(x.tolist(), apply(scalar.log1p_less_x, x).tolist(), strict=True):
            value = mpmath.log1p(mpmath.mpf(number)) - mpmath.mpf(number)
            assert abs(found - value) <= 4.5 * np.finfo(dtype).eps * abs(value), number


# -------------------------------------------------------------------------------------------------
# Infinities and NaN


def one_row(a, b, label=0):
    scores = scores_of(np.array([a], float), np.array([b], float), [label])
    return {name: float(getattr(scores, name)[0]) for name in NAMES}


def test_a_class_masked_in_both_sets_is_as_if_deleted():
    with_it, without = one_row([0.5, -INF, 2], [0.1, -INF, 2.5]), one_row([0.5, 2], [0.1, 2.5])
    assert with_it == pytest.approx(without, rel=1e-14)


def test_a_class_masked_in_one_set():
    found = one_row([0, 0, 0], [0, 0, -INF])
    assert found == pytest.approx(
        {
            "kl": INF,
            "reverse_kl": math.log(1.5),
            "jensen_shannon": (2 * math.log(0.8) + math.log(2)) / 6 + math.log(1.2) / 2,
            "total_variation": 1 / 3,
            "agreement": 1,
            "loss_a": math.log(3),
            "loss_b": math.log(2),
            "loss_difference": math.log(2 / 3),
            "probability_change": 1 / 6,
        }
    )
    back = one_row([0, 0, -INF], [0, 0, 0])
    assert back["kl"] == pytest.approx(found["reverse_kl"], rel=1e-15)
    assert back["reverse_kl"] == INF


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_probability_that_underflows_is_not_0(dtype):
    scores = scores_of(
        np.array([[0, -1e4], [0, -1e4]], dtype), np.array([[0, -INF], [0, -2e4]], dtype)
    )
    assert scores.kl.tolist() == [INF, 0]
    assert scores.reverse_kl.tolist() == [0, 0]


def test_nothing_in_common():
    found = one_row([0, -INF], [-INF, 0])
    assert found == {
        "kl": INF,
        "reverse_kl": INF,
        "jensen_shannon": pytest.approx(math.log(2)),
        "total_variation": 1,
        "agreement": 0,
        "loss_a": 0,
        "loss_b": INF,
        "loss_difference": INF,
        "probability_change": -1,
    }


def test_a_label_that_neither_set_holds_possible():
    found = one_row([0, -INF], [1, -INF], label=1)
    assert (found["loss_a"], found["loss_b"], found["probability_change"]) == (INF, INF, 0)
    assert math.isnan(found["loss_difference"])
    assert (found["kl"], found["agreement"]) == (0, 1)


def test_infinite_logits_are_all_of_the_mass():
    found = one_row([INF, 0, 0], [INF, 5, 0])
    assert found == dict.fromkeys(NAMES, 0) | {"agreement": 1}
    found = one_row([INF, 0, 0], [0, 0, 0])
    assert found["kl"] == pytest.approx(math.log(3))
    assert (found["reverse_kl"], found["loss_a"]) == (INF, 0)
    assert found["probability_change"] == pytest.approx(-2 / 3)


@partly_long(1, "widest", [0, 200])
@pytest.mark.parametrize(
    ("bad", "c"),
    [((NAN,), 1), ((NAN,), 600), ((INF, INF), 2), ((INF, INF), 600), ((-INF,) * 3, 3)],
)
def test_a_row_without_a_softmax_is_nan(bad, c, widest):
    for dtype in (np.float32, np.float64):
        good, _, labels = pair((3, c), dtype=dtype)
        odd = good.copy()
        odd[1] += widest * np.linspace(-1, 1, c, dtype=dtype)  # where the two are not close
        odd[1, -len(bad) :] = bad
        for a, b in ((odd, good), (good, odd), (odd, odd)):
            scores = scores_of(a, b, labels)
            assert scores.agreement.tolist() == [1, 0, 1]
            for name in (*DIVERGENCES, *LABELLED):
                assert np.isnan(getattr(scores, name)).tolist() == [False, True, False], name
            differences = fl.compare(a, b, labels)
            assert differences.n_undefined == 1
            assert math.isnan(differences.kl.mean)
            assert math.isnan(differences.kl.maximum)
            assert math.isnan(differences.kl.quantile(0.5))
            assert differences.agreement.mean == 2 / 3
            left_out = fl.compare(a, b, labels, sample_weight=[1, 0, 1])
            assert left_out.n_undefined == 0
            assert left_out.kl.mean == 0


def test_ties_are_the_lowest_class():
    scores = scores_of([[0, 1, 1], [1, 0, 1]], [[0, 1, 0], [0, 0, 1]])
    assert scores.agreement.tolist() == [1, 0]


# -------------------------------------------------------------------------------------------------
# Few classes and many


def of_every_kind(c, dtype):
    """Rows that are close, far apart, equal, confident, and of infinite logits or NaN."""
    a, b, labels = pair((12, c), 0.1, dtype)
    b[1] = pair((c,), seed=1)[0]
    b[2] = a[2]
    a[3, 1] += 40
    b[3, 1] += 39
    a[4, 0] = a[5, :2] = b[5, 0] = -INF
    a[6, 2] = b[7, 1] = INF
    a[8] = -INF
    b[9, :2] = INF
    b[10, 2] = NAN
    a[11] = 1
    return a, b, labels


@partly_long(1, "dtype", [np.float32, np.float64])
def test_both_loops_find_the_same(monkeypatch, dtype):
    """A class that is ruled out in both sets changes no row, but how rows are computed."""
    monkeypatch.setattr(short_rows, "FEW", {"float32": 3, "float64": 3})
    a, b, labels = of_every_kind(3, dtype)
    weight = np.ones(12)
    weight[1] = 0
    x, y = (np.column_stack([z, np.full(12, -INF, dtype)]) for z in (a, b))
    for labels_, options in ((labels, {"temperature": 1.25}), (None, {"temperature": 1.5})):
        few, many = (scores_of(*z, labels_, weight, **options) for z in ((a, b), (x, y)))
        for name in PairScores._fields:
            np.testing.assert_allclose(
                getattr(few, name),
                getattr(many, name),
                rtol=64 * np.finfo(dtype).eps,
                atol=1e-30,
                err_msg=name,
            )


@compiled
@pytest.mark.long
def test_a_row_does_not_depend_on_its_neighbours():
    """In bits, whether or not all rows beside it are close; and the loops meet at their bound."""
    a, b, labels = pair((64, 10), 0.05)
    expected = scores_of(a, b, labels)
    for odd in (50.0, INF, NAN):
        b[::7] = a[::7]
        b[::7, 3] += odd
        found = scores_of(a, b, labels)
        for name in NAMES:
            same, rest = getattr(expected, name).copy(), getattr(found, name).copy()
            same[::7] = rest[::7] = 0
            np.testing.assert_array_equal(rest, same, err_msg=name)
    few = short_rows.FEW["float32"]
    a, b, labels = of_every_kind(few, np.float32)
    x, y = (np.column_stack([z, np.full(12, -INF, np.float32)]) for z in (a, b))
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(scores_of(a, b, labels), name),
            getattr(scores_of(x, y, labels), name),
            rtol=2e-5,
            atol=1e-30,
            err_msg=name,
        )


# -------------------------------------------------------------------------------------------------
# Dtypes and layouts


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("float32", "bfloat16"),
        ("bfloat16", "float16"),
        ("float16", "float64"),
        ("float64", "float32"),
        ("int16", "float32"),
        ("float32", "int64"),
    ],
)
def test_any_two_dtypes(first, second):
    """The same as both in float64: what they hold counts, not what they are."""
    pytest.importorskip("ml_dtypes")
    a, b, labels = pair((30, 70), 1.0)
    a, b = (4 * a).astype(first), (4 * b).astype(second)
    found = scores_of(a, b, labels)
    expected = scores_of(a.astype(np.float64), b.astype(np.float64), labels)
    single = not {first, second} & {"float64", "int16", "int64"}
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(found, name),
            getattr(expected, name),
            rtol=1e-5 if single else 1e-14,
            atol=1e-30 if not single else 1e-6 if name in LABELLED else 1e-12,
            err_msg=name,
        )


def test_one_row_without_an_axis_of_rows():
    assert fl.compare([1.0, 2.0], [2.0, 1.0], 1).n_rows == 1


# -------------------------------------------------------------------------------------------------
# Options


@pytest.mark.parametrize("c", [9, 600])
def test_a_class_mask_deletes_classes(c):
    a, b, _ = pair((20, c), dtype=np.float64)
    mask = np.random.default_rng(1).random(c) < 0.7
    a[0, ~mask] = NAN  # nobody looks
    labels = np.random.default_rng(2).choice(np.flatnonzero(mask), 20)
    found = scores_of(a, b, labels, class_mask=mask)
    expected = scores_of(a[:, mask], b[:, mask], np.cumsum(mask)[labels] - 1)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-15, err_msg=name
        )


def test_a_temperature_divides():
    a, b, labels = pair((20, 30), dtype=np.float64)
    found, expected = scores_of(a, b, labels, temperature=4), scores_of(a / 4, b / 4, labels)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("few", [44, 0])
def test_a_softcap_caps_first(monkeypatch, few, dtype):
    """In float64, whatever the logits are: differences of 1e-4 keep their digits."""
    monkeypatch.setattr(short_rows, "FEW", {"float32": few, "float64": few})
    a, b, labels = pair((20, 30), 1e-4, dtype)
    a[0, 3] = b[0, 3] = a[1] = b[2] = -INF  # capped, and so not out
    a[3, 5] = a[4] = b[4] = INF
    a[5] = b[6, 2] = NAN
    mask = np.arange(30) != 7
    labels[labels == 7] = 8
    options = {"softcap": 5.0, "temperature": 2.0, "class_mask": mask}
    x, y = (5 * np.tanh(z.astype(np.float64) / 5) / 2 for z in (a, b))
    x[:, 7] = y[:, 7] = -INF
    found, expected = scores_of(a, b, labels, **options), scores_of(x, y, labels)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-16, err_msg=name
        )


def test_weights_and_ignored_rows():
    a, b, labels = pair((40, 30))
    times = np.random.default_rng(1).integers(0, 4, 40)
    a[times == 0] = NAN
    weighed = fl.compare(a, b, labels, sample_weight=times)
    repeated = fl.compare(*(np.repeat(x, times, axis=0) for x in (a, b)), np.repeat(labels, times))
    assert weighed.n_rows == 40
    assert weighed.n_counted == np.count_nonzero(times)
    assert weighed.weight == repeated.n_rows == times.sum()
    for name in NAMES:
        mean, other = getattr(weighed, name), getattr(repeated, name)
        assert mean.mean == pytest.approx(other.mean, rel=1e-13, abs=1e-18)
        assert (mean.minimum, mean.maximum) == (other.minimum, other.maximum)
    for q in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert weighed.kl.quantile(q) == repeated.kl.quantile(q)

    marked = np.where(times == 0, -7, labels)
    ignored = fl.compare(a, b, marked, ignore_index=-7)
    counted = times > 0
    rest = fl.compare(a[counted], b[counted], labels[counted])
    assert_same(replace(ignored, n_rows=rest.n_rows), rest, 0.0)


# -------------------------------------------------------------------------------------------------
# What is made of the rows


def test_means_errors_and_extremes():
    a, b, labels = pair((500, 12), 0.5)
    weight = np.random.default_rng(1).uniform(0, 2, 500)
    weight[::7] = 0
    differences = fl.compare(a, b, labels, sample_weight=weight)
    scores, counted = scores_of(a, b, labels), weight > 0
    n = counted.sum()
    for name in NAMES:
        x, summary = getattr(scores, name), getattr(differences, name)
        mean = np.average(x, weights=weight)
        squares = np.sum(weight**2 * (x - mean) ** 2)
        error = math.sqrt(n / (n - 1) * squares) / weight.sum()
        assert summary.mean == pytest.approx(mean, rel=1e-13)
        assert summary.standard_error == pytest.approx(error, rel=1e-9)
        assert (summary.minimum, summary.maximum) == (x[counted].min(), x[counted].max())
    change = scores.probability_change
    assert differences.root_mean_square_change == pytest.approx(
        math.sqrt(np.average(change**2, weights=weight)), rel=1e-13
    )
    # The error of the pairs, not that of two losses that know nothing of each other.
    assert differences.loss_difference.standard_error < differences.loss_a.standard_error
    assert differences.loss_difference.mean == pytest.approx(
        differences.loss_b.mean - differences.loss_a.mean, rel=1e-5
    )


@compiled
@pytest.mark.long
def test_quantiles_are_those_of_the_rows():
    a, b, labels = pair((3000, 5), 0.3)
    a[0, 1] = -INF  # an infinite KL one way
    b[1, 1] = -INF
    weight = np.random.default_rng(1).uniform(size=3000)
    differences = fl.compare(a, b, labels, sample_weight=weight)
    scores = scores_of(a, b, labels)
    for name in ("kl", "probability_change"):
        x = getattr(scores, name)
        for q in (0.001, 0.01, 0.3, 0.5, 0.77, 0.99, 0.999):
            expected = np.quantile(x, q, weights=weight, method="inverted_cdf")
            found = getattr(differences, name).quantile(q)
            assert abs(found - expected) <= abs(expected) / 256 + 2.0**-32, (name, q)
        assert getattr(differences, name).quantile(0) == x.min()
        assert getattr(differences, name).quantile(1) == x.max()
    assert differences.kl.quantile(1) == INF


@pytest.mark.parametrize("odd", [None, INF, 0.5])
def test_sums_of_blocks_are_exact(odd):
    """Of rows of weight 1, which are added up column by column, and of others beside them."""
    rng = np.random.default_rng(4)
    n = BLOCK + 200
    scores = rng.normal(size=(n, N_PAIR_SCORES)) * 10.0 ** rng.integers(-12, 3, N_PAIR_SCORES)
    scores[:, 0] = rng.random(n) < 0.9
    scores[3, 2] = 1e5
    if odd is not None:
        scores[BLOCK + 7, 0], scores[BLOCK + 7, 1] = (odd, 3.0) if odd < 1 else (1.0, odd)
    counted = scores[scores[:, 0] > 0]
    sums = PairSums.of_nothing(0).with_rows(PairRows(scores, None), n).added_up()
    high, low = (part[0] for part in (sums.parts["means"].high, sums.parts["means"].low))
    w = [Fraction(x) for x in counted[:, 0]]
    for i in range(1 if odd == INF else 0, N_MEANS):
        x, c = [Fraction(x) for x in counted[:, 1 + i]], Fraction(high[CENTERS + i])
        gaps = [x_r - c for x_r in x]
        for at, terms in (
            (MEANS, [w_r * x_r for w_r, x_r in zip(w, x, strict=True)]),
            (FIRSTS, [w_r**2 * gap for w_r, gap in zip(w, gaps, strict=True)]),
            (SECONDS, [w_r**2 * gap**2 for w_r, gap in zip(w, gaps, strict=True)]),
        ):
            error = Fraction(high[at + i]) + Fraction(low[at + i]) - sum(terms)
            # A gap is rounded once.
            allowed = Fraction(2) ** -80 if at == MEANS else Fraction(2) ** -52
            assert abs(error) <= allowed * sum(map(abs, terms))
        assert (sums.lowest[i], sums.highest[i]) == (min(x), max(x))
    assert high[:3].tolist() == [len(counted), 0, counted[:, 0].sum()]
    if odd == INF:
        assert high[MEANS] == sums.highest[0] == INF


def test_it_does_not_matter_how_many_rows_are_taken_at_a_time(monkeypatch):
    a, b, labels = pair((PENDING_ROWS + 300, 2))
    expected = fl.Comparison().update(a, b, labels).state()
    monkeypatch.setattr(module, "_ROWS", BLOCK)
    np.testing.assert_equal(fl.Comparison().update(a, b, labels).state(), expected)


@pytest.mark.parametrize("odd", [1.0, 0.5, 2.0**300])
def test_rows_that_are_counted_weigh_what_others_do(monkeypatch, odd):
    """In bins, of one update after another."""
    a, b, labels = pair((60, 3))
    weight = np.ones(60)
    weight[::9], weight[5::9] = 0, odd

    def histograms():
        comparison = fl.Comparison()
        for part in (slice(40), slice(40, 60)):
            comparison.update(a[part], b[part], labels[part], sample_weight=weight[part])
        found = comparison.result()
        return found.kl.bin_weights, found.probability_change.bin_weights

    monkeypatch.setattr(pair_sums, "PENDING_ROWS", 1)
    expected = histograms()
    monkeypatch.setattr(pair_sums, "_COUNTED_ROWS", 1)
    for found, weights in zip(histograms(), expected, strict=True):
        np.testing.assert_array_equal(found, weights)


@pytest.mark.parametrize("bins", [KL_BINS, CHANGE_BINS])
def test_bins_of_a_histogram(bins):
    """Each number lies in a bin whose middle is near, and larger ones in no lower bin."""
    rng = np.random.default_rng(0)
    x = 2.0 ** rng.uniform(bins.lowest - 3, bins.highest, 2000)
    x = np.concatenate([x, [0.0, 2.0**bins.lowest, 2.0**bins.highest]])
    if bins.signed:
        x = np.concatenate([x, -x])
    x.sort()
    places = [int(bin_of(number, bins)) for number in x]
    assert min(places) >= 0
    assert max(places) < bins.n
    assert all(first <= second for first, second in pairwise(places))
    for number, place in zip(x, places, strict=True):
        middle = bins.middle(place)
        if abs(number) < 2.0**bins.lowest:
            assert middle == 0
        elif abs(number) == 2.0**bins.highest:
            assert middle == math.copysign(INF, number)
        else:
            assert abs(middle - number) <= abs(number) / 256
    if not bins.signed:
        assert bin_of(np.float64(INF), bins) == bins.n - 1


@pytest.mark.parametrize(("q", "error"), [(-0.1, ValueError), (1.5, ValueError), ("a", TypeError)])
def test_a_quantile_that_is_none(q, error):
    with pytest.raises(error, match="^q "):
        fl.compare([[0.0]], [[0.0]]).kl.quantile(q)


def test_what_a_result_shows():
    a, b, labels = pair((20, 6))
    differences = fl.compare(a, b, labels)
    assert json.loads(json.dumps(differences.to_dict()))["kl"]["mean"] == differences.kl.mean
    lines = repr(differences).splitlines()
    assert lines[0].split() == ["rows", "20"]
    assert any(line.startswith("loss of b - loss of a") for line in lines)
    without = fl.compare(a, b)
    assert without.loss_a is without.probability_change is without.root_mean_square_change is None
    assert "loss" not in repr(without)
    left_out = repr(fl.compare(a, b, labels, sample_weight=np.arange(20) > 4))
    assert left_out.splitlines()[0].endswith("20 (5 left out)")
    a[0] = NAN
    assert "undefined rows" in repr(fl.compare(a, b))


# -------------------------------------------------------------------------------------------------
# Parts, merging, states


@compiled
@pytest.mark.long
def test_strided_arrays_give_the_same_bits():
    """They are copied in tasks of another size."""
    a, b, labels = pair((3000, 100))
    wide = np.zeros((3000, 200), np.float32)
    wide[:, ::2] = a
    found, expected = (fl.Comparison().update(x, b, labels).state() for x in (wide[:, ::2], a))
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("most", [1, 2, 5, 7, 100])
def test_slabs_cover_all_rows_in_order(most):
    for shape in ((), (7,), (3, 5), (2, 3, 4), (0,), (3, 0), (0, 3)):
        rows = np.arange(math.prod(shape)).reshape(shape)
        parts = [rows[index] for index in rows_module._slabs(shape, most)]
        assert all(part.size <= most for part in parts)
        seen = np.concatenate([np.ravel(part) for part in parts]) if parts else np.empty(0)
        np.testing.assert_array_equal(seen, np.arange(rows.size))


def test_slabs_change_nothing(monkeypatch):
    a, b, labels = pair((2, 2, 2, 3))
    expected = fl.Comparison().update(a, b, labels, sample_weight=labels % 3).state()
    for most in (1, 3):
        monkeypatch.setattr(rows_module, "SLAB_ROWS", most)
        found = fl.Comparison().update(a, b, labels, sample_weight=labels % 3).state()
        np.testing.assert_equal(found, expected)


# -------------------------------------------------------------------------------------------------
# Errors


A, B, LABELS = pair((4, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((A, B[:3], LABELS), ValueError, r"logits_b has shape \(3, 3\) and logits_a have shape"),
        ((A, B, LABELS[:3]), ValueError, "labels has shape"),
        ((A, B, LABELS.astype(float)), TypeError, "labels has dtype float64"),
        ((A, B, A), ValueError, "soft labels"),
        ((A, B, LABELS + 1), ValueError, r"labels\[\d\] is 3, but class ids go from 0 to 2"),
        ((A + 0j, B), TypeError, "logits_a has dtype complex64"),
        ((A, B + 0j), TypeError, "logits_b has dtype complex64"),
        ((A, "ab"), TypeError, "logits_b"),
        ((A, np.ma.masked_array(B)), TypeError, "logits_b is a masked array"),
        ((1.0, 2.0), ValueError, "logits_a is a single number"),
        ((A[:, :0], B[:, :0]), ValueError, "zero classes"),
    ],
)
def test_data_that_makes_no_sense(arguments, error, message):
    comparison = fl.Comparison().update(A, B, LABELS)
    before = comparison.state()
    with pytest.raises(error, match=message):
        comparison.update(*arguments)
    np.testing.assert_equal(comparison.state(), before)


@pytest.mark.parametrize("most", [2, 100])
def test_errors_name_the_place_in_the_whole_and_change_nothing(monkeypatch, most):
    monkeypatch.setattr(rows_module, "SLAB_ROWS", most)
    a, b, labels = pair((5, 4, 6))
    comparison = fl.Comparison().update(a, b, labels)
    before = comparison.state()
    labels[3, 2] = 6
    with pytest.raises(ValueError, match=r"labels\[3, 2\] is 6, but class ids"):
        comparison.update(a, b, labels)
    weight = np.ones((5, 4))
    weight[4, 1] = -1
    for into, more in ((fl.Comparison(), {}), (comparison, {"labels": labels * 0})):
        with pytest.raises(ValueError, match=r"sample_weight\[4, 1\] is -1.0"):
            into.update(a, b, sample_weight=weight, **more)
    with pytest.raises(ValueError, match=r"sample_weight has shape \(4,\)"):
        comparison.update(a, b, sample_weight=np.ones(4))
    np.testing.assert_equal(comparison.state(), before)


def test_ctrl_c_leaves_no_half_of_an_update(monkeypatch):
    comparison = fl.Comparison().update(A, B, LABELS)
    before = comparison.state()
    monkeypatch.setattr(rows_module, "SLAB_ROWS", 1)
    score, calls = module._Pairs.score, []

    def interrupted(self, *arguments, **how):
        calls.append(how)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(self, *arguments, **how)

    monkeypatch.setattr(module._Pairs, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        comparison.update(A, B, LABELS)
    np.testing.assert_equal(comparison.state(), before)


def test_updates_must_be_alike():
    comparison = fl.Comparison().update(A, B, LABELS)
    with pytest.raises(ValueError, match="before, but not now"):
        comparison.update(A, B)
    with pytest.raises(ValueError, match="2 classes .* before there were 3"):
        comparison.update(A[:, :2], B[:, :2], [0, 0, 0, 0])
    without = fl.Comparison().update(A, B)
    with pytest.raises(ValueError, match="now, but not before"):
        without.update(A, B, LABELS)
    with pytest.raises(ValueError, match="now, but not before"):
        without.merge(comparison)
    with pytest.raises(ValueError, match="temperature is 1.0 there and 2.0 here"):
        fl.Comparison(temperature=2.0).merge(comparison)
    with pytest.raises(TypeError, match="must be a Comparison, got dict"):
        comparison.merge({})
    with pytest.raises(ValueError, match="ignore_index is -1, but there are no labels"):
        fl.compare(A, B, ignore_index=-1)


def test_options_that_make_no_sense():
    with pytest.raises(ValueError, match="temperature is 0"):
        fl.Comparison(temperature=0)
    with pytest.raises(ValueError, match="class_mask has 2 numbers, but there are 3 classes"):
        fl.compare(A, B, class_mask=[True, True])
    with pytest.raises(ValueError, match=r"labels\[\d\] is \d, a class that class_mask rules out"):
        fl.compare(A, B, LABELS * 0, class_mask=[False, True, True])


def test_a_comparison_shows_its_options():
    assert repr(fl.Comparison()) == "Comparison()"
    assert repr(fl.Comparison(softcap=30, temperature=2)) == (
        "Comparison(softcap=30, temperature=2)"
    )


# -------------------------------------------------------------------------------------------------
# In other ways


@compiled
@pytest.mark.long
def test_plain_python_gives_the_same():
    code = """
import numpy as np, fastloss as fl
rng = np.random.default_rng(0)
a = rng.normal(size=(6, 20)).astype(np.float32)
b = (a + 0.3 * rng.normal(size=a.shape)).astype(np.float32)
d = fl.compare(a, b, a.argmax(1), class_mask=np.arange(20) != 5 if a.argmax(1).min() > 5 else None)
print([d.kl.mean, d.reverse_kl.mean, d.jensen_shannon.mean, d.loss_difference.mean,
       d.kl.quantile(0.5), d.probability_change.quantile(0.3), d.total_variation.maximum])
"""
    plain, compiled = (
        eval(run_python(code, NUMBA_DISABLE_JIT=disabled)) for disabled in ("1", "0")
    )
    assert plain == pytest.approx(compiled, rel=1e-5)


# -------------------------------------------------------------------------------------------------
# Errors by cluster, and a bootstrap


def of_pairs(n=30):
    rng = np.random.default_rng(7)
    a, labels = rng.standard_normal((n, 3)), rng.integers(0, 3, n)
    return a, a + rng.standard_normal((n, 3)) / 3, labels


def test_the_ratio_of_perplexities():
    """By the delta method, and by the replicates of a bootstrap."""
    a, b, labels = of_pairs(60)
    found = fl.compare(a, b, labels, bootstrap=100, ids=np.arange(60))
    losses = [fl.cross_entropy(labels, x) for x in (a, b)]
    assert found.perplexity_ratio == pytest.approx(math.exp(losses[1] - losses[0]), rel=1e-12)
    error = found.perplexity_ratio_standard_error
    assert error == pytest.approx(found.perplexity_ratio * found.loss_difference.standard_error)
    ratios = np.exp(found.bootstrap.replicates["loss_difference"])
    assert error == pytest.approx(ratios.std(ddof=1), rel=0.25)  # known to 7%
    assert found.to_dict()["perplexity_ratio"] == found.perplexity_ratio
    assert "perplexity, b / a" in repr(found)
    assert fl.compare(a, b).perplexity_ratio is None


def test_replicates_are_pairs_of_those_of_two_scorecards():
    """Equal ids are drawn alike."""
    a, b, labels = of_pairs()
    clusters = np.arange(30) // 4
    given = {"clusters": clusters, "bootstrap": 6}
    found = fl.compare(a, b, labels, **given)
    each = [fl.evaluate(labels, x, **given).bootstrap.replicates["loss"] for x in (a, b)]
    replicates = found.bootstrap.replicates
    np.testing.assert_allclose(replicates["loss_a"], each[0], rtol=1e-14)
    np.testing.assert_allclose(replicates["loss_difference"], each[1] - each[0], rtol=1e-12)
