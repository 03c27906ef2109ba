"""The groups of functions that kernels of a softmax are made of, each alone.

What they give is compared with hand values, and with the formulas of the softmax in float64, row by
row and without SIMD. All are called in plain Python, and some compiled as well.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from mpmath import mp, mpf
from plain import compiled, plain

from fastloss.compiler import jit
from fastloss.kernels.blocks import Columns
from fastloss.kernels.form import CLASS_MAJOR, Form
from fastloss.kernels.row_groups import GROUP, N_DOUBLE_SUMS, N_MOMENTS, Rows
from fastloss.kernels.softmax.divergences import class_shares
from fastloss.kernels.softmax.formulas import exponentials, logits, masses, output_formula
from fastloss.kernels.softmax.group_sums import (
    SUMS,
    Moments,
    OfRow,
    Sums,
    finisher,
    moments_in,
    sums_in,
)
from fastloss.kernels.softmax.labels import lane_label_sums, part_label_sums
from fastloss.kernels.softmax.lanes import lane, lane_writer, loader, memory
from fastloss.kernels.softmax.parts import part_exponentials, parts
from fastloss.kernels.softmax.row_scores import lane_scores, part_scores
from fastloss.kernels.softmax.traits import Traits, Variant
from fastloss.kernels.softmax.two_rows import (
    difference_finder,
    exp_adder,
    padded,
    room,
    row_loader,
    rows_in,
)
from fastloss.kernels.survey import BAD_WEIGHT, BAD_Y_TRUE, UNBOUNDED, Limits, survey

pytestmark = plain
in_both_ways = pytest.mark.parametrize("way", ["plain", pytest.param("compiled", marks=compiled)])

INF, NAN = np.inf, np.nan
WEIGHTS = np.array([0.5, 2.0, 1.0, 4.0])
MASK = np.array([1, 1, 0, 1], np.uint8)


class Options(NamedTuple):
    """What kernels are told at each call."""

    softcap: float = 8.0
    inverse_softcap: float = 1 / 8
    inverse_temperature: float = 0.5
    smoothing: float = 0.2
    share: float = 0.05
    z_loss: float = 0.25
    class_weight: Any = WEIGHTS
    class_mask: Any = MASK


def test_the_numbers_of_sums_that_rows_have_room_for():
    assert len(Moments._fields) == N_MOMENTS
    assert Sums._fields.index("largest") == N_DOUBLE_SUMS  # the first that is in the arithmetic


def traits(dtype: str = "float64", **chosen: Any) -> Traits:
    """Of class ids in int64 if nothing else is said; fields of `Variant` and of `Form`."""
    options = {name: chosen.pop(name) for name in Variant._fields if name in chosen}
    form = Form("int64", dtype, "", dtype, True, False, True, False, "kept")._replace(**chosen)
    return Traits(form, Variant(**options))


def rows_of(x: Any, y_true: Any, **more: Any) -> Rows:
    """A group of rows with scratch memory that nobody has written."""
    n, c = x.shape
    given = {
        "options": Options(),
        "n_classes": c,
        "n_labels": np.size(y_true) // n,
        "y_true": np.ravel(y_true),
        "y_pred": x.ravel(),
        "n_behind": 0,
        "scale": 1.0,
        "streamed": False,
        "weights": np.ones(GROUP),
        "losses": np.full(GROUP, NAN),
        "numbers": np.full(SUMS + 2**16, NAN, x.dtype),
        "encoded": np.full(2**15, NAN, x.dtype),
        "doubles": np.full((2 + N_MOMENTS) * GROUP, NAN),
    }
    absent = dict.fromkeys(Rows._fields, ())
    return Rows(**(absent | given | more))


# -------------------------------------------------------------------------------------------------
# Of one class


@pytest.mark.parametrize("class_masked", [False, True])
@pytest.mark.parametrize("mask", ["", "bool"])
def test_a_class_is_in_if_all_masks_say_so(class_masked, mask):
    inside = logits(traits(class_masked=class_masked, mask=mask)).inside
    for of_class in (0, 1):
        for of_row in (0, 1):
            expected = (of_class or not class_masked) and (of_row or not mask)
            assert inside(of_class, of_row) == bool(expected)


@in_both_ways
def test_a_cap_and_its_derivatives(way):
    cap = jit.entry(logits(traits(capped=True)).cap)
    for x in (-30.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 100.0):
        with mp.workdps(50):
            t = mp.tanh(mpf(x) / 8)
            expected = [float(each) for each in (8 * t, 1 - t**2, -2 * t * (1 - t**2) / 8)]
        np.testing.assert_allclose(cap(Options(), x), expected, rtol=2e-15)
    assert logits(traits()).cap(None, 3.0) == (3.0, 1.0, 0.0)


@in_both_ways
def test_what_exponentials_add_to_the_rest(way):
    constants, _, exp_terms = map(jit.entry, exponentials(traits()))
    c = constants()
    kept, factor, power = exp_terms(Options(), 1.0, 3.0, False, c)
    assert kept == pytest.approx(np.exp(-2.0), rel=1e-15)
    assert factor * power / kept == 2.0**54
    assert (factor, power) == (pytest.approx(np.exp(-2.0) * 8), 2.0**51)
    kept, factor, power = exp_terms(Options(), -INF, 3.0, False, c)
    assert (kept, factor * power) == (0.0, 0.0)
    # The largest is 1 by definition, be it infinite, and adds nothing.
    for largest in (3.0, INF, -INF):
        kept, factor, power = exp_terms(Options(), largest, largest, True, c)
        assert (kept, factor * power) == (1.0, 0.0)
    assert np.isnan(exp_terms(Options(), np.nan, 3.0, False, c)[1])


def test_of_logarithms_gaps_are_kept():
    constants, gap_in_reach, exp_terms = exponentials(traits(output="log_proba", tempered=True))
    c = constants()
    assert gap_in_reach(Options(), 1.0, 3.0, c) == -1.0
    assert -760 < gap_in_reach(Options(), -INF, 3.0, c) < -745
    assert exp_terms(Options(), 1.0, 3.0, False, c)[0] == -1.0
    assert exp_terms(Options(), -INF, 3.0, False, c)[0] == -INF
    assert exp_terms(Options(), INF, INF, True, c)[0] == 0.0


def test_masses_and_gaps():
    mass, gap_term, finite_gap_term = masses(traits())
    assert mass(Options(), 0.25, 4.0, False, 0.05) == 0.25  # without options
    mass = masses(traits(smoothed=True, class_weighted=True, mask="bool")).mass
    assert mass(Options(), 0.25, 4.0, True, 0.05) == 4 * (0.8 * 0.25 + 0.05)
    assert mass(Options(), 0.25, 4.0, False, 0.05) == 0.0
    assert gap_term(0.5, 1.0, 3.0, False) == finite_gap_term(0.5, 1.0, 3.0, False) == 1.0
    assert gap_term(0.0, -INF, 3.0, False) == gap_term(0.5, INF, INF, True) == 0.0
    assert gap_term(0.5, -INF, 3.0, False) == INF
    with np.errstate(invalid="ignore"):
        assert np.isnan(finite_gap_term(np.float64(0.0), -INF, 3.0, False))


def row_of(p_largest: float, **more: Any) -> OfRow:
    """What is known of a row that weighs 2, with a probability for its largest logit."""
    known = dict.fromkeys(OfRow._fields, 0.0)
    known |= {"total": 2.0, "factor": 0.5, "probability": p_largest, "complement": 1 - p_largest}
    return OfRow(**(known | more))


@in_both_ways
def test_gradients_of_confident_rows_keep_their_digits(way):
    derivatives = jit.entry(output_formula(traits()))
    row = row_of(1.0, complement=2.0**-80)
    grad, hess = derivatives(Options(), 1.0, 2.0, 1.0, 0.0, 0.0, row)
    assert (grad, hess) == (-(2.0**-80), 2.0**-80)
    # Of a class with a third of the largest exponential, without and with half of the mass.
    row = row_of(0.75)
    assert derivatives(Options(), 1 / 3, 0.0, 1.0, 0.0, 0.0, row) == (0.25, 0.1875)
    assert derivatives(Options(), 1 / 3, 1.0, 1.0, 0.0, 0.0, row)[0] == -0.25
    assert derivatives(Options(), 1 / 3, 1.0, 0.5, 2.0, 0.0, row)[0] == -0.25  # capped: not asked


def test_what_else_is_written():
    row = row_of(0.5, log_sum=0.75, dot=0.125, rest_dot=0.5)
    assert output_formula(traits(output="proba"))(None, 0.5, 0, 1, 0, 0, row) == (0.25, 0.0)
    assert output_formula(traits(output="log_proba"))(None, -2.0, 0, 1, 0, 0, row) == (-2.75, 0.0)
    # T p (v - the sum of p v), times the factor of the row.
    product = output_formula(traits(output="hvp"))(None, 0.5, 0.0, 1.0, 0.0, 3.0, row)[0]
    assert product == 0.5 * 2 * 0.25 * (3 - 0.125)


# -------------------------------------------------------------------------------------------------
# Of one row


@in_both_ways
@pytest.mark.parametrize("class_weighted", [True, False])
def test_what_is_done_once_for_a_row(way, class_weighted):
    sums = sums_in(np.zeros(SUMS), np.zeros(2 * GROUP))
    sums.largest[:4] = 1.0, -INF, INF, 2.0
    sums.rest[:4], sums.maxima[:4] = (0.5, 0.0, 0.0, 1.0), (1.0, 3.0, 2.0, 1.0)
    sums.gaps[:4], sums.masses[:4] = (0.25, 0.0, 0.0, 0.0), 2.0
    losses, weights = np.zeros(GROUP), np.ones(GROUP)
    weights[3] = 0.0
    known = traits(weight="float64", class_weighted=class_weighted)
    jit.entry(finisher(known))(Options(), sums, weights, 4.0, losses, 4)
    mass = 2 if class_weighted else 1  # of a class id without a weight, whatever lies there
    np.testing.assert_allclose(losses[:4], [0.25 + mass * np.log(1.5), NAN, NAN, mass * np.log(2)])
    np.testing.assert_allclose(sums.probability[[0, 3]], [1 / 1.5, 0.5])
    np.testing.assert_allclose(sums.complement[[0, 3]], [0.5 / 1.5, 0.5])
    assert sums.factor[[0, 3]].tolist() == [4.0, 0.0]


# -------------------------------------------------------------------------------------------------
# Parts of long rows

X = np.array([[1.0, -2.0, 9.0, 3.0], [0.0, 3.0, 3.0, -INF]])


def test_a_part_has_what_there_is():
    known = traits(class_weighted=True, class_masked=True, mask="bool", class_ids=False)
    rows = rows_of(X, X + 100, mask=np.arange(8, dtype=np.uint8))
    part = parts(known).part_of(Options(), rows, 1, 2, 2)
    assert part.start == 2
    for found, expected in (
        (part.x, X[1, 2:]),
        (part.labels, X[1, 2:] + 100),
        (part.row_mask, [6, 7]),
        (part.class_weight, WEIGHTS[2:]),
        (part.class_mask, MASK[2:]),
        (part.vector, ()),
    ):
        np.testing.assert_array_equal(found, expected)
    whole = parts(traits()).part_of(Options(), rows_of(X, [3, 0]), 0, 0, 4)
    assert whole[2:] == ((),) * 5


def test_a_logit_as_it_counts():
    known = traits(class_masked=True, capped=True)
    part_of, inside, top_of, seen = parts(known)
    part = part_of(Options(), rows_of(X, [3, 0]), 0, 0, 4)
    top = top_of(Options(), 3.0)
    assert top[1] == pytest.approx(8 * np.tanh(3 / 8))
    assert [bool(inside(part, j)) for j in range(4)] == [True, True, False, True]
    assert seen(Options(), part, 3, top) == (top[1], True)
    assert seen(Options(), part, 2, top)[0] == -INF
    assert seen(Options(), part, 0, top)[0] == pytest.approx(8 * np.tanh(1 / 8))


@in_both_ways
def test_the_exponentials_of_a_part(way):
    known = traits()
    sum_part, _, move_kept = part_exponentials(known)
    part_of = parts(known).part_of
    rows, kept = rows_of(X, [3, 0]), np.zeros(4)
    part = part_of(Options(), rows, 1, 0, 4)
    rest, maxima = jit.entry(sum_part)(Options(), part, 1, 0, (3.0, 3.0), kept, (), ())
    assert (rest, maxima) == (pytest.approx(np.exp(-3)), 2.0)
    np.testing.assert_allclose(kept, [np.exp(-3), 1, 1, 0])
    # But for two numbers that were added before.
    rest, maxima = jit.entry(sum_part)(Options(), part, 1, 2, (3.0, 3.0), kept, (), ())
    assert (rest, maxima) == (0.0, 1.0)
    move_kept(kept, -1.0)
    np.testing.assert_allclose(kept, np.exp([-4, -1, -1, -INF]))


# -------------------------------------------------------------------------------------------------
# Labels, of long rows and of short ones

CHOICES = {
    "one id": {},
    "one id, smoothed, weighed": {"smoothed": True, "class_weighted": True},
    "soft": {"class_ids": False, "true": "float64"},
    "soft, masked": {"class_ids": False, "true": "float64", "class_masked": True},
    "ids": {"probabilities": "float64", "class_weighted": True},
    "ids, masked": {"probabilities": "float64", "class_masked": True, "smoothed": True},
}
SOFT = np.array([[0.5, 0.0, 0.0, 0.25], [0.0, 0.5, 0.5, 0.0]])
IDS, PROBABILITIES = np.array([[3, 0], [1, 1]]), np.array([[0.25, 0.5], [0.5, 0.25]])


def labels_for(choice: str) -> tuple[Any, dict[str, Any], Any]:
    """What a kernel is given, and the masses of all classes."""
    chosen, given, dense = CHOICES[choice], np.array([3, 1]), np.zeros((2, 4))
    more = {}
    if "true" in chosen:
        given = dense = SOFT
    elif "probabilities" in chosen:
        given, more = IDS, {"probabilities": PROBABILITIES.ravel()}
        np.add.at(dense, (np.arange(2)[:, np.newaxis], IDS), PROBABILITIES)
    else:
        dense[np.arange(2), given] = 1.0
    if "smoothed" in chosen:
        dense = 0.8 * dense + 0.05
    if "class_weighted" in chosen:
        dense = dense * WEIGHTS
    if "class_masked" in chosen:
        dense = dense * MASK
    return given, more, dense


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("layout", ["parts", "lanes"])
def test_labels_add_up_to_their_masses_and_gaps(choice, layout):
    known = traits(**CHOICES[choice])
    given, more, dense = labels_for(choice)
    rows = rows_of(X, given, **more)
    counting = np.where(MASK != 0, X, -INF) if "class_masked" in CHOICES[choice] else X
    top = counting.max(axis=1)
    with np.errstate(invalid="ignore"):
        gaps = np.where(dense == 0, 0, dense * (top[:, np.newaxis] - counting)).sum(axis=1)
    if layout == "parts":
        sums = sums_in(rows.numbers, rows.doubles)
        sums.largest[:2], sums.rest[:2] = top, 0.0
        for r in range(2):
            jit.entry(part_label_sums(known))(Options(), rows, r, sums)
    else:
        scratch = memory(known).scratch_in(rows)
        jit.entry(loader(known))(Options(), rows, scratch)
        sums = scratch.sums
        sums.largest[:2] = top
        sums.masses[:] = 0.0
        jit.entry(lane_label_sums(known))(Options(), rows, scratch)
    np.testing.assert_allclose(sums.gaps[:2], gaps)
    if known.unit_masses:  # nobody reads their sum; a label that is no class would be NaN here
        assert sums.rest[:2].tolist() == [0, 0]
    else:
        np.testing.assert_allclose(sums.masses[:2], dense.sum(axis=1))


# -------------------------------------------------------------------------------------------------
# Lanes


@in_both_ways
@pytest.mark.parametrize("n_classes", [1, 2, 5, 17])
def test_rows_become_lanes_and_rows_again(way, n_classes):
    known = traits("float32", class_ids=False, true="float32", rows="few")
    n = 7
    x = np.arange(n * n_classes, dtype=np.float32).reshape(n, n_classes)
    rows = rows_of(x, -x, grad_out=np.zeros(x.size, np.float32))
    n_numbers, n_encoded = memory(known).room(n_classes)
    rows = rows._replace(numbers=np.full(n_numbers, NAN, np.float32))
    scratch = memory(known).scratch_in(rows)
    jit.entry(loader(known))(Options(), rows, scratch)
    for j in range(n_classes):
        np.testing.assert_array_equal(lane(scratch.logits, j)[:n], x[:, j])
        np.testing.assert_array_equal(lane(scratch.labels, j)[:n], -x[:, j])
    jit.entry(lane_writer(known))(scratch.grads, rows, scratch.decoded, rows.grad_out)
    np.testing.assert_array_equal(rows.grad_out, x.ravel())
    assert n_encoded == 0  # numbers are stored as they are computed


def test_columns_are_lanes_already():
    """Seven rows of ten, whose derivatives are narrower; other rows are not touched."""
    known = traits(class_ids=False, true="float64", rows=CLASS_MAJOR, derivatives="float32")
    x, n, first = np.arange(30.0).reshape(10, 3), 7, 2
    here = np.s_[first : first + n]
    written = np.full(30, 7, np.float32)
    n_numbers, n_encoded = memory(known).room(3)
    assert n_encoded == 0  # each is encoded where it goes
    y_pred, grad_out = (Columns(3 * n, 3 * first, each) for each in (x.T.ravel(), written))
    rows = rows_of(x[here] * 0, -x[here], numbers=np.full(n_numbers, NAN))._replace(y_pred=y_pred)
    scratch = memory(known).scratch_in(rows)
    loader(known)(Options(), rows, scratch)
    for j in range(3):
        np.testing.assert_array_equal(lane(scratch.logits, j)[:n], x[here, j])
        np.testing.assert_array_equal(lane(scratch.labels, j)[:n], -x[here, j])
    scratch.grads[:] += 1e-9
    lane_writer(known)(scratch.grads, rows, scratch.decoded, grad_out)
    expected = np.full((10, 3), 7.0)
    expected[here] = x[here]
    np.testing.assert_array_equal(written, expected.T.ravel())


# -------------------------------------------------------------------------------------------------
# Scores

TIED = np.array([[2.0, 5.0, 2.0, 5.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize("y", range(5))
@pytest.mark.parametrize("layout", ["parts", "lanes"])
def test_ranks_and_predictions_where_logits_are_equal(y, layout):
    """As if the classes were sorted by their logits, those of lower ids first."""
    known = traits(n_scores=10, with_grad=False)
    order = np.argsort(-TIED, axis=1, kind="stable")
    rows = rows_of(TIED, [y, y])
    if layout == "parts":
        clear, _, at_label, score_part, predict = part_scores(known)
        part_of, _, top_of, _ = parts(known)
        moments = moments_in(rows.doubles, 2 * GROUP)
        for r in range(2):
            top = top_of(Options(), TIED[r].max())
            label = at_label(Options(), rows, r, top)
            clear(moments, r)
            for start, n in ((0, 3), (3, 2)):
                part = part_of(Options(), rows, r, start, n)
                score_part(Options(), part, r, 0, top, (), label, moments)
            predict(Options(), rows, r, top[0], moments.predictions)
    else:
        scratch = memory(known).scratch_in(rows)
        loader(known)(Options(), rows, scratch)
        scratch.sums.largest[:2] = TIED.max(axis=1)
        lane_label_sums(known)(Options(), rows, scratch)
        lane_scores(known)(Options(), 5, scratch)
        moments = scratch.moments
    expected = [row.tolist().index(y) for row in order]
    assert moments.ranks[:2].tolist() == expected
    assert moments.predictions[:2].tolist() == order[:, 0].tolist()


# -------------------------------------------------------------------------------------------------
# Two rows


def test_two_rows_and_what_lies_between_them():
    known = traits(vector="float64", class_ids=False, labelled=False)
    a, b = np.array([1.0, 3.0, -INF, 2.0]), np.array([0.5, 2.0, 2.5, -1.0])
    numbers = np.full(room(4)[0], NAN)
    two = rows_in(numbers, 4)
    load, o = row_loader(known, known.form.decode_pred), Options()
    assert load(o, a, two.a) == (3.0, 1)
    assert load(o, b, two.b) == (2.5, 2)
    assert two.a[4:].tolist() == [-INF] * (padded(4) - 4)
    with np.errstate(invalid="ignore"):
        difference_finder(known)(o, two, (3.0, 2.5))
        np.testing.assert_allclose(two.differences[:4], (a - 3) - (b - 2.5))
        rows = rows_of(a[np.newaxis], [0], vector=b)
        rest_a, rest_b, excess = exp_adder(known)(o, rows, 4, two, (3.0, 2.5), (1, 2))
    exps_a, exps_b = np.exp(a - 3), np.exp(b - 2.5)
    np.testing.assert_allclose(two.exps_a[:4], exps_a)
    np.testing.assert_allclose(two.exps_b[:4], exps_b)
    sums = exps_a.sum(), exps_b.sum()
    np.testing.assert_allclose((1 + rest_a, 1 + rest_b, excess), (*sums, sums[0] - sums[1]))


@in_both_ways
def test_what_a_class_adds_to_divergences(way):
    shares = jit.entry(class_shares(traits()).any)
    with mp.workdps(50):
        for p in (0.25, 1e-3):
            for d in (-30.0, -0.9, -1e-6, 0.0, 1e-9, 0.5, 0.7, 4.0):
                q = mpf(p) * mp.exp(-mpf(d))
                m = (p + q) / 2
                expected = (
                    p * mpf(d) + q - p,
                    q * -mpf(d) + p - q,
                    (p * mp.log(p / m) + q * mp.log(q / m)) / 2,
                    abs(p - q) / 2,
                )
                np.testing.assert_allclose(
                    shares(*map(np.float64, (p, float(q), d))),
                    [float(x) for x in expected],
                    rtol=1e-14,
                    atol=1e-32,
                )


# -------------------------------------------------------------------------------------------------
# The survey of a block


class Block(NamedTuple):
    y_true: Any
    y_pred: Any
    weight: Any
    width: int
    true_width: int = 1
    probabilities: Any = ()
    mask: Any = ()
    options: Any = None


class OfAllRows(NamedTuple):
    ignore_index: int = -100
    mean_weight: Any = WEIGHTS


def test_what_a_block_weighs():
    weight = np.array([1.0, 2.0, 4.0])
    ids, x = np.array([3, 0, -100]), np.zeros(12)
    block = Block(ids, x, weight, 4, options=OfAllRows())
    form = traits(weight="float64").form
    limits = Limits(UNBOUNDED, UNBOUNDED)
    weighed = limits._replace(ignoring=True, class_weighted=True)
    assert survey(form, weighed)(block) == 1 * 4.0 + 2 * 0.5
    assert survey(form, limits)(block) == -BAD_Y_TRUE
    bad = block._replace(y_true=np.array([3, 0, 1]), weight=np.array([1.0, NAN, 1.0]))
    assert survey(form, limits)(bad) == -BAD_WEIGHT
    assert survey(form, limits)(bad._replace(weight=weight)) == 7.0
    soft = block._replace(y_true=np.tile([0.5, 0.0, 0.0, 0.5], 3), true_width=4)
    form = form._replace(class_ids=False, true="float64")
    assert survey(form, limits._replace(class_weighted=True))(soft) == 7 * (0.25 + 2.0)
    assert survey(form, limits._replace(y_true=(0.0, 0.25)))(soft) == -BAD_Y_TRUE
    several = np.array([3, 0, 1, 1, 2, 4])
    sparse = block._replace(y_true=several, true_width=2, probabilities=np.full(6, 0.5))
    form = traits(weight="float64", probabilities="float64").form
    assert survey(form, limits)(sparse) == -BAD_Y_TRUE
    sparse.y_true[5] = 0
    weighed = limits._replace(class_weighted=True)
    assert survey(form, weighed)(sparse) == 1 * 2.25 + 2 * 2.0 + 4 * 0.75
