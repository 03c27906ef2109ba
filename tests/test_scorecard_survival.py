"""Scorecards and comparisons between interrupts, from several threads, and of wrong parts."""

import math
import pickle
import random
import signal
import threading
import time
from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from plain import compiled, partly_long, plain

import fastloss as fl
from fastloss.evaluation import rows as rows_module
from fastloss.evaluation.means import Means
from fastloss.evaluation.sums import accumulator
from fastloss.evaluation.sums.row_sums import TERMS
from fastloss.evaluation.sums.state import with_checksums
from fastloss.evaluation.sums.table import NO_ROOM, Table, added, distinct, places_of
from fastloss.kernels import tally

pytestmark = plain
CLASSES = 7


def data(n, seed=0):
    rng = np.random.default_rng(seed)
    logits = (3 * rng.standard_normal((n, CLASSES))).astype(np.float32)
    return rng.integers(0, CLASSES, n), logits


def same_state(a, b):
    a, b = a.state(), b.state()
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def scorecard(labels, logits, card=None, **more):
    return (fl.Scorecard() if card is None else card).update(labels, logits, **more)


def comparison(labels, logits, card=None):
    return (fl.Comparison() if card is None else card).update(logits, logits + 1, labels)


def binary(labels, logits, card=None):
    card = fl.BinaryScorecard() if card is None else card
    return card.update(labels > 3, logits[:, 0], groups=labels)


# -------------------------------------------------------------------------------------------------
# Interrupts, errors, threads


class Stop(BaseException):
    pass


# Python swallows what is raised inside a callback of its garbage collector, as Dask has one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@compiled
@partly_long(1, "kind", [scorecard, comparison, binary])
def test_an_update_that_is_interrupted_is_whole_or_has_not_been(kind):
    """At moments over the whole length of an update, the last of which come after it."""
    labels, logits = data(3000)
    before = kind(labels, logits)
    card = kind(labels, logits)
    kind(labels, logits, card)
    after = card

    def stop(number, frame):
        raise Stop

    handler = signal.signal(signal.SIGALRM, stop)
    try:
        begin = time.perf_counter()
        kind(labels, logits, kind(labels, logits))
        length = (time.perf_counter() - begin) / 2
        ends = set()
        for moment in [*np.linspace(0.0, 1.3, 100), 3.0, 10.0]:
            card = kind(labels, logits)
            try:
                signal.setitimer(signal.ITIMER_REAL, max(moment * length, 1e-6))
                kind(labels, logits, card)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Stop:
                pass
            same_state(card, before if card.n_rows == 3000 else after)
            ends.add(card.n_rows)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert ends == {3000, 6000}


@pytest.mark.parametrize("kind", [scorecard, comparison, binary])
@pytest.mark.long
def test_an_error_anywhere_changes_nothing(kind, monkeypatch):
    """At each call of NumPy or of a kernel that an update makes, memory is said to be out."""
    monkeypatch.setattr(accumulator, "PENDING_ROWS", 1)
    monkeypatch.setattr(rows_module, "SLAB_ROWS", 4)
    labels, logits = data(10)
    before = kind(labels, logits)
    for failing in count():
        card = kind(labels, logits)
        calls = count()

        def fails(original, calls=calls, failing=failing):
            def call(*arguments, **options):
                if next(calls) == failing:
                    raise MemoryError
                return original(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("empty", "zeros", "unique", "concatenate", "append", "full", "arange"):
                patch.setattr(np, name, fails(getattr(np, name)))
            try:
                kind(labels, logits, card)
            except MemoryError:
                pass
            else:
                break
        same_state(card, before)
    assert failing > 20


# What is in pickles, and how it was called before the rooms were made.
FORMER_NAMES = {
    b"fastloss.evaluation.sums.table\nTable": b"fastloss.evaluation.tally\nTable",
    b"fastloss.evaluation.sums.table\nLayout": b"fastloss.evaluation.tally\nLayout",
    b"fastloss.evaluation.sums.row_sums\nRowSums": b"fastloss.evaluation.scorecard\n_Sums",
    b"fastloss.evaluation.sums.row_sums\nScoredRows": b"fastloss.evaluation.scorecard\n_Part",
    b"fastloss.evaluation.sums.pair_sums\nPairSums": b"fastloss.evaluation.comparison\n_Sums",
}


def test_pickles_of_earlier_versions_are_refused(monkeypatch):
    """They lack what is added up now. Names in them are still known, so that it can be said."""
    monkeypatch.setattr(accumulator, "PENDING_ROWS", 12)
    labels, logits = data(20)
    seen = set()
    for kind, new in ((scorecard, "_kept"), (comparison, "_bootstrap")):
        for n in (10, 20):  # that are pending, and that were added up
            card = kind(labels[:n], logits[:n])
            delattr(card, new)
            pickled = pickle.dumps(card, 0)
            for name, former in FORMER_NAMES.items():
                if name in pickled:
                    seen.add(name)
                    pickled = pickled.replace(name, former)
            with pytest.raises(
                ValueError, match=f"{type(card).__name__} was pickled by an earlier"
            ):
                pickle.loads(pickled)
    assert seen == FORMER_NAMES.keys()


@compiled
@pytest.mark.parametrize("kind", [scorecard, comparison, binary])
def test_threads_lose_nothing(kind):
    """The numbers of rows are whole, so that their sums do not depend on the order."""
    labels, logits = data(400)
    card = kind(labels[:0], logits[:0])
    n_times = 40

    def work():
        for _ in range(n_times):
            kind(labels, logits, card)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert card.n_rows == card.result().n_counted == 4 * n_times * 400
    expected = kind(labels, logits).result().to_dict()
    found = card.result().to_dict()
    for name, number in (("accuracy", None), ("kl", "mean"), ("agreement", "mean"), ("loss", None)):
        if name in expected and expected[name] is not None:
            a, b = (x[name][number] if number else x[name] for x in (found, expected))
            assert a == pytest.approx(b, rel=1e-14), name


def test_a_thread_that_was_slower_adds_to_what_the_faster_one_left():
    labels, logits = data(6)
    card = fl.Scorecard()
    original = type(card._sums).plus
    once = []

    def meanwhile(sums, other):
        if not once and other.n_rows == 6 and sums is card._sums:
            once.append(True)
            card.update(labels, logits, offsets=[0, 6])
        return original(sums, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(card._sums), "plus", meanwhile)
        card.update(labels, logits, offsets=[0, 2, 6])
    assert card.n_rows == 12
    np.testing.assert_array_equal(card.result().sequences.n, [6, 2, 4])


# -------------------------------------------------------------------------------------------------
# Parts that bring other things


@pytest.mark.parametrize("seed", range(8))
def test_parts_that_change_what_they_bring(seed, monkeypatch):
    """Groups, sequences, weights, or none of them; parts, or scorecards that are merged."""
    monkeypatch.setattr(accumulator, "PENDING_ROWS", random.Random(seed).choice([1, 9, 1000]))
    rng = np.random.default_rng(seed)
    labels, logits = data(60, seed)
    card, start = fl.Scorecard(), 0
    groups, sequences = np.full(60, -1), np.full(60, -1)
    while start < 60:
        part = slice(start, min(start + int(rng.integers(1, 12)), 60))
        more = {}
        for name, known in (("groups", groups), ("sequences", sequences)):
            if rng.random() < 0.5:
                more[name] = rng.integers(0, 4, part.stop - start)
                known[part] = more[name]
        if rng.random() < 0.5:
            card.update(labels[part], logits[part], **more)
        else:
            card.merge(fl.Scorecard().update(labels[part], logits[part], **more))
        start = part.stop
    scores = card.result()
    assert scores.n_counted == scores.by_class.n.sum() == scores.bins.n.sum() == 60
    expected = fl.evaluate(labels, logits)
    assert scores.loss == pytest.approx(expected.loss, rel=1e-15)
    for known, found in ((groups, scores.groups), (sequences, scores.sequences)):
        ids, counts = np.unique(known[known >= 0], return_counts=True)
        if ids.size:
            np.testing.assert_array_equal(found.ids, ids)
            np.testing.assert_array_equal(getattr(found, "means", found).n, counts)
        else:
            assert found is None


def test_a_group_among_rows_without():
    card = fl.Scorecard().merge(fl.Scorecard().update([0], [[1.0, 0.0]], groups=[7]))
    card.update(np.zeros(1000, int), np.zeros((1000, 2)))
    means = card.result().groups.means
    assert means.n.tolist() == [1]
    assert card.result().n_counted == 1001


def test_what_is_refused_changes_nothing():
    labels, logits = data(3)
    card = fl.Scorecard()
    for more in (
        {"offsets": [0, 2], "n_bytes": [9, 9]},
        {"offsets": [0, 2, 3], "n_bytes": [9]},
        {"offsets": [0, 3], "rows": {"loss": np.empty(2)}},
        {"sequences": [0, 1]},
        {"sequences": [0, 1, 1], "rows": {"rank": np.empty(3)}},
        {"groups": [0.5, 1, 1]},
    ):
        with pytest.raises((ValueError, TypeError)):
            card.update(labels, logits, **more)
        same_state(card, fl.Scorecard())
    card.update(labels, logits, sequences=[5, 5, 6])
    np.testing.assert_array_equal(card.result().sequences.ids, [5, 6])


def test_merge_refuses_what_update_refuses():
    labels, logits = data(3)
    named = fl.Scorecard().update(labels, logits, sequences=[0, 0, 1])
    numbered = fl.Scorecard().update(labels, logits, offsets=[0, 2, 3])
    neither = fl.Scorecard().update(labels, logits)
    for card, other, text in (
        (named, numbered, "other numbers sequences, but those that came before had ids"),
        (numbered, named, "other has ids, but those that came before were numbered"),
        (named, fl.Scorecard().update([0], [[1.0, 2.0]]), "other has seen 2 classes"),
        (named, fl.Scorecard(n_bins=10), "n_bins is 10 there and 15 here"),
    ):
        before = card.state()
        with pytest.raises(ValueError, match=text):
            card.merge(other)
        for name, array in card.state().items():
            np.testing.assert_array_equal(array, before[name])
    with pytest.raises(TypeError, match="other must be a Scorecard, got dict"):
        named.merge({})
    named.merge(neither).merge(named)
    np.testing.assert_array_equal(named.result().sequences.n, [4, 2])
    numbered.merge(neither).merge(numbered)
    np.testing.assert_array_equal(numbered.result().sequences.n, [2, 1, 2, 1])


# -------------------------------------------------------------------------------------------------
# States


@pytest.mark.parametrize("kind", [scorecard, comparison, binary])
def test_states_that_do_not_belong(kind):
    labels, logits = data(20)
    card = kind(labels, logits)
    state, make = card.state(), type(card)
    table = {scorecard: "bins", comparison: "kls", binary: "totals"}[kind]
    for name, wrong in (
        (f"{table}_ids", state[f"{table}_ids"] + 10**6),
        (f"{table}_ids", state[f"{table}_ids"] * 0 - (kind is binary)),
        (f"{table}_high", state[f"{table}_high"] * np.nan),
        ("options", state["options"][::-1]),
    ):
        with pytest.raises(ValueError, match="damaged"):
            make.from_state(with_checksums(state | {name: wrong}))
    # Equal options of other types are equal.
    if kind is not binary:
        same_state(
            make.from_state(make(temperature=2).state(), temperature=2.0), make(temperature=2.0)
        )


def test_numbers_of_rows_in_states_are_numbers():
    labels, logits = data(20)
    ids = np.arange(20) // 3
    cards = {
        "bins classes groups sequences clusters": fl.Scorecard().update(
            labels, logits, groups=ids, sequences=ids, clusters=ids
        ),
        "means clusters": fl.Comparison().update(logits, -logits, clusters=ids),
        "totals": fl.BinaryScorecard().update(labels > 0, logits[:, 0]),
        "error/0 error/0/group": fl.RegressionScorecard()
        .update(labels, logits[:, 0])
        .update(labels, logits[:, 0], groups=ids),
    }
    for names, card in cards.items():
        state = card.state()
        for name in names.split():
            for part in ("high", "low"):
                wrong = state[f"{name}_{part}"].copy()
                for number in (np.nan, np.inf, -1e9):
                    wrong[-1, 0] = number
                    with pytest.raises(ValueError, match=f"sums of {name} in the state make no"):
                        type(card).from_state(with_checksums(state | {f"{name}_{part}": wrong}))


def test_distinct_integers_and_their_places():
    """Close to each other or not, of one array or several, at the ends of int64, too."""
    ends, rng = np.array([-(2**63), 2**63 - 1]), np.random.default_rng(0)
    empty = np.empty(0, np.int64)
    close = rng.integers(-9, 9, 50)
    for arrays in (
        [empty],
        [empty, close],
        [close, close[::-1] + 3],
        [close, ends],
        [ends[:1] + abs(close), empty],
        [ends[1:] - abs(close), ends[1:]],
        [np.array([7]), np.array([11])],
        [np.array([7]), np.array([15])],
        [rng.integers(-(2**62), 2**62, 50)],
    ):
        every = distinct(*arrays)
        assert every.dtype == np.int64
        assert every.tolist() == sorted({*np.concatenate(arrays)})
        for ids in arrays:
            np.testing.assert_array_equal(every[places_of(ids, every)], ids)


def test_kept_rows_of_other_sequences_are_refused():
    labels, logits = data(4)
    state = fl.Scorecard(tokens=True).update(labels, logits, sequences=[1, 1, 2, 2]).state()
    wrong = state | {"tokens_ids": state["tokens_ids"] - 1}
    with pytest.raises(ValueError, match="the sequences of the state are not what they were"):
        fl.Scorecard.from_state(with_checksums(wrong), tokens=True)


def test_states_of_sequences_that_were_changed():
    labels, logits = data(4)
    state = fl.Scorecard().update(labels, logits, offsets=[0, 1, 4], n_bytes=[3, 4]).state()
    scores = fl.Scorecard.from_state(state).result()
    np.testing.assert_array_equal(scores.sequences.n_bytes, [3, 4])
    n_rows, n_classes, kind, n_sequences = state["rows"]
    for name, wrong in (
        ("bytes_ids", [0, 7]),
        ("bytes_ids", [-1, 0]),
        ("bytes_ids", [1, 1]),
        ("bytes", [3.0, -4.0]),
        ("bytes", [np.nan, 4.0]),
        ("rows", [n_rows, n_classes, kind, n_sequences - 1]),
        ("rows", [n_rows, n_classes, 0, n_sequences]),
    ):
        array = np.array(wrong, state[name].dtype)
        with pytest.raises(ValueError, match="the sequences of the state are not what they were"):
            fl.Scorecard.from_state(with_checksums(state | {name: array}))


# -------------------------------------------------------------------------------------------------
# Second moments


def error_of(losses, weights=None):
    """The standard error of a mean, by its formula in fractions."""
    x = [Fraction(float(loss)) for loss in losses]
    w = [Fraction(float(weight)) for weight in (np.ones(len(x)) if weights is None else weights)]
    total = sum(w)
    mean = sum(a * b for a, b in zip(w, x, strict=True)) / total
    squares = sum(a * a * (b - mean) ** 2 for a, b in zip(w, x, strict=True))
    return math.sqrt(Fraction(len(x), len(x) - 1) * squares / total**2)


def of_losses(losses, weights=None, **more):
    """Rows with these losses, which are as large as that of two far logits."""
    logits = np.stack([np.asarray(losses, float), np.zeros(len(losses))], axis=1)
    labels = np.ones(len(losses), int)
    return fl.Scorecard(**more).update(labels, logits, sample_weight=weights)


@pytest.mark.parametrize(("level", "width"), [(1e4, 1e-4), (1e8, 1e-6), (1e3, 1e3), (1e15, 10.0)])
def test_the_error_of_losses_that_differ_little(level, width):
    rng = np.random.default_rng(3)
    losses = level + width * rng.random(200)
    weights = rng.uniform(0.1, 3, 200)
    for given in (None, weights):
        expected = error_of(losses, given)
        assert of_losses(losses, given).result().loss_standard_error == pytest.approx(
            expected, rel=1e-13
        )
        merged = fl.Scorecard()
        for part in np.array_split(np.arange(200), [1, 7, 90, 91]):
            merged.merge(of_losses(losses[part], None if given is None else given[part]))
        assert merged.result().loss_standard_error == pytest.approx(expected, rel=1e-13)


def test_the_error_after_an_outlier_without_weight():
    """The first row is far from all others, and its square hardly counts."""
    losses = np.append(1e6, 100 + np.random.default_rng(0).random(100))
    weights = np.append(1e-9, np.ones(100))
    found = of_losses(losses, weights).result()
    assert found.loss_standard_error == pytest.approx(error_of(losses, weights), rel=1e-12)


def test_equal_losses_have_no_error():
    found = of_losses(np.full(50, 1e4 / 3), np.linspace(0.1, 2, 50)).result()
    assert found.loss_standard_error < 1e-25
    assert found.loss == pytest.approx(1e4 / 3, rel=1e-15)


def test_groups_whose_weights_are_far_apart():
    """Each has the error of its own rows; and a whole of parts with weights far apart, too."""
    labels, logits = data(40)
    groups = np.arange(40) % 2
    weights = np.where(groups == 0, 1e-200, 1e200)
    found = fl.evaluate(labels, logits, sample_weight=weights, groups=groups)
    for group in (0, 1):
        mine = groups == group
        expected = fl.evaluate(labels[mine], logits[mine])
        assert found.groups.means.loss_standard_error[group] == pytest.approx(
            expected.loss_standard_error, rel=1e-12
        )
    assert found.loss == pytest.approx(expected.loss, rel=1e-14)
    merged = fl.Scorecard()
    for group in (0, 1, 0):
        mine = groups == group
        merged.update(labels[mine], logits[mine], sample_weight=weights[mine])
        merged.merge(fl.Scorecard())
    assert merged.result().loss == pytest.approx(expected.loss, rel=1e-14)


def test_greedy_is_counted():
    """By a sum of weights, which are rounded, the first would not be."""
    labels, logits = np.zeros(30, int), np.tile([1.0, 0.0], (30, 1))
    logits[20] = 0, 1
    weights = np.append(np.full(20, 0.1), np.full(10, 1e-30))
    weights[10:20] = 1e16
    found = fl.evaluate(labels, logits, sample_weight=weights, offsets=[0, 20, 30, 30])
    assert found.sequences.is_greedy.tolist() == [True, False, True]
    whole = fl.evaluate(labels, logits, sample_weight=weights, offsets=[0, 30])
    assert whole.sequences.is_greedy.tolist() == [False]


def test_sums_are_exact():
    """Against exact fractions, of rows in any order, and of tables that are merged in any."""
    rng = np.random.default_rng(0)
    losses = rng.standard_normal(300) * 10.0 ** rng.integers(-12, 12, 300)
    expected = float(sum(map(Fraction, losses.tolist())) / 300)
    tables = []
    for part in np.array_split(losses, 7):
        scores = np.zeros((len(part), tally.N_SCORES))
        scores[:, 0], scores[:, -1] = part, 1
        table = Table.empty(TERMS)
        room = table.room(1, len(part))
        keys, scratch = np.zeros(len(part), int), np.empty(2 * tally.WIDTH)
        args = scores.ravel(), keys, tally.KEYS, 1, TERMS.powers, scratch, room, NO_ROOM
        tally.tally_rows(*args)
        tables.append(table.filled(room))
    rng.shuffle(tables)
    whole = tables.pop()
    for table in tables:
        whole = whole.merged(table)
    means = Means(whole, 1)
    assert means.n[0] == 300
    assert means.loss[0] == pytest.approx(expected, rel=1e-15)
    assert means.loss_standard_error[0] == pytest.approx(error_of(losses), rel=1e-14)
    both = added(TERMS, (whole.high, whole.low), (whole.high * 0, whole.low))
    np.testing.assert_array_equal(both[0], whole.high)


# -------------------------------------------------------------------------------------------------
# Bins


def test_a_bin_has_its_lower_edge():
    """Of each number of bins, each edge is in the bin that begins there; and what is next to it."""
    for n_bins in range(1, 70):
        edges = np.arange(n_bins + 1) / n_bins
        for k, edge in enumerate(edges[1:-1].tolist(), 1):
            assert tally.bin_of(edge, n_bins) == k
            assert tally.bin_of(np.nextafter(edge, 0), n_bins) == k - 1
        assert tally.bin_of(1.0, n_bins) == n_bins - 1


def test_a_confidence_that_is_an_edge():
    """Of c equal logits the confidence is 1 / c."""
    for c, n_bins in ((49, 49), (7, 14), (3, 15), (41, 82)):
        scores = fl.evaluate([0], np.zeros((1, c)), n_bins=n_bins)
        (k,) = np.flatnonzero(scores.bins.n)
        assert scores.bin_edges[k] == 1 / c == scores.confidence


def test_many_bins():
    labels, logits = data(20)
    scores = fl.evaluate(labels, logits, n_bins=10**6)
    assert len(scores.bins) == 10**6
    assert scores.bins.n.sum() == 20
    occupied = scores.bins.n > 0
    assert np.isnan(scores.bins.loss[~occupied]).all()
    gaps = abs(scores.bins.accuracy - scores.bins.confidence)[occupied]
    shares = scores.bins.n[occupied] / 20
    assert scores.calibration_error == pytest.approx((gaps * shares).sum(), rel=1e-13)


# -------------------------------------------------------------------------------------------------
# The rest


def test_results_are_equal_if_their_numbers_are():
    labels, logits = data(20)
    more = {"groups": labels % 2, "offsets": [0, 5, 20], "rows": ["loss"]}
    first, second = (fl.evaluate(labels, logits, **more) for _ in range(2))
    assert first == first
    assert first == second
    assert first != fl.evaluate(labels, logits)
    assert first != fl.evaluate(labels[::-1], logits, **more)
    assert first.by_class == second.by_class
    assert first.groups == second.groups
    assert first.sequences == second.sequences
    assert first != 3
    with pytest.warns(RuntimeWarning, match="no row counts"):
        nothing = fl.Scorecard().result()
    assert nothing == nothing
    logits[0] = np.nan
    first, second = (fl.compare(logits, logits, labels) for _ in range(2))
    assert first == second


def test_no_rows_keep_their_number_of_classes():
    nothing = np.empty(0, int), np.empty((0, 5))
    card = fl.Scorecard().update(*nothing)
    for each in (card, fl.Scorecard().merge(card), fl.Scorecard.from_state(card.state())):
        with pytest.warns(RuntimeWarning, match="no row counts"):
            scores = each.result()
        assert (each.n_classes, scores.n_classes, len(scores.by_class)) == (5, 5, 5)
        assert scores.rank_weights.shape == (5,)
        with pytest.raises(ValueError, match="7 classes"):
            each.update(*data(3))
    compared = fl.Comparison().update(nothing[1], nothing[1])
    assert fl.Comparison().merge(compared).n_classes == 5


def test_one_row_without_an_axis():
    names = ("loss", "rank", "prediction", "top_classes", "top_log_probs")
    rows = fl.evaluate(1, [1.0, 2.0, 3.0], rows=names, top=2).rows
    assert rows["rank"].shape == rows["loss"].shape == ()
    assert (rows["rank"], rows["prediction"]) == (1, 2)
    np.testing.assert_array_equal(rows["top_classes"], [2, 1])
    scores = fl.evaluate(np.array(1), [1.0, 2.0, 3.0], groups=4, sample_weight=2.0)
    assert (scores.weight, scores.groups.ids.tolist()) == (2.0, [4])


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_likeliest_classes_beside_an_infinite_logit(temperature):
    rows = fl.evaluate(
        [0, 0], [[np.inf, 1.0, -np.inf], [np.inf, np.inf, 0.0]],
        rows=["top_classes", "top_log_probs"], top=3, temperature=temperature,
    ).rows  # fmt: skip
    np.testing.assert_array_equal(rows["top_log_probs"][0], [0.0, -np.inf, -np.inf])
    np.testing.assert_array_equal(rows["top_classes"][0], [0, 1, 2])
    assert np.isnan(rows["top_log_probs"][1]).all()


def test_results_of_rows_have_memory_of_their_own():
    labels, logits = data(10)
    weight, groups = np.ones(10), np.arange(10)
    mask = np.ones((10, CLASSES), bool)
    both = np.zeros(11)
    for rows, more, text in (
        ({"loss": weight}, {"sample_weight": weight}, "sample_weight"),
        ({"rank": groups}, {"groups": groups}, "groups"),
        ({"rank": groups}, {"sequences": groups}, "sequences"),
        ({"rank": mask.view(np.int8)[:, 0]}, {"class_mask": mask}, "class_mask"),
        ({"loss": both[:10], "entropy": both[1:]}, {}, r"rows\['loss'\]"),
        ({"loss": both[:10], "brier": both[:10]}, {}, r"rows\['loss'\]"),
    ):
        card = fl.Scorecard()
        with pytest.raises(ValueError, match=f"overlaps the memory of {text}"):
            card.update(labels, logits, rows=rows, **more)
        assert card.n_rows == 0
    shared = np.lib.stride_tricks.as_strided(np.zeros(1), (10,), (0,))
    with pytest.raises(ValueError, match="the same memory for several"):
        fl.evaluate(labels, logits, rows={"loss": shared})
    assert (both == 0).all()
    assert (weight == 1).all()


def test_probabilities_are_no_logits():
    labels, logits = data(30)
    p = fl.cross_entropy.proba(logits)
    right = fl.evaluate(labels, logits).loss
    for given in (p, p.astype(np.float16), p.reshape(5, 6, CLASSES)):
        with pytest.warns(UserWarning, match=r"logits seem to be probabilities.*write np.log") as w:
            fl.evaluate(labels.reshape(given.shape[:-1]), given)
        assert w[0].filename == __file__
        assert len(w) == 1
    assert fl.evaluate(labels, np.log(p)).loss == pytest.approx(right, rel=1e-6)
    with pytest.warns(UserWarning, match="logits seem"):
        fl.Scorecard().update(labels, p).update(labels, p)
    with pytest.warns(UserWarning, match="logits_b seem"):
        fl.compare(logits, p)
    with pytest.warns(UserWarning, match="logits seem"):
        fl.calibrate(labels, p)
    # What is far from it, or might as well be logits, is not warned of.
    fl.evaluate([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    fl.evaluate([0, 1], [[0.5, 0.5], [0.5, 0.7]])
    fl.evaluate([0, 1], [[0.5, 0.6, -0.1]] * 2)
    fl.evaluate(labels, logits)


@pytest.mark.parametrize(
    ("labels", "logits", "text"),
    [
        ([0, 1, 1], [0.5, 2.0, -1.0], 'besides: use .*, task="binary"'),
        ([0, 1, 7], [0.5, 2.0, -1.0], 'besides: use .*, task="regression"'),
        ([0, 1, 1], [[0.5], [2.0], [-1.0]], r'task="binary".*, and write logits\[..., 0\]'),
        ([[0], [1], [1]], [[0.5], [2.0], [-1.0]], 'one class: use .*, task="binary"'),
        ([[0, 1, 1]], [[0.5, 2.0, -1.0]], 'none or several: use .*, task="multilabel"'),
        ([[0.5, 0.5]], [[0.0, 1.0]], "there is the loss alone, fl.cross_entropy"),
        (([[0, 1]], [[0.5, 0.5]]), [[0.0, 1.0]], "there is the loss alone, fl.cross_entropy"),
    ],
)
def test_labels_that_are_no_class_ids(labels, logits, text):
    with pytest.raises((TypeError, ValueError), match=text):
        fl.evaluate(labels if type(labels) is tuple else np.array(labels), np.array(logits))


def test_binary_logits_as_two_classes():
    """What the message says is right, and the same as two classes."""
    x, y = np.array([0.5, 2.0, -1.0]), np.array([0, 1, 1])
    expected = fl.binary_cross_entropy_with_logits(y, x)
    for two in (
        np.stack([np.zeros_like(x), x], axis=-1),
        np.concatenate([np.zeros_like(x[:, None]), x[:, None]], axis=-1),
    ):
        assert fl.evaluate(y, two).loss == pytest.approx(expected, rel=1e-15)
    assert fl.evaluate(y, x, task="binary").loss == pytest.approx(expected, rel=1e-15)
    assert fl.evaluate([0, 0], [[1.0], [2.0]]).loss == 0


def test_one_row_has_no_error():
    differences = fl.compare([[0.0, 1.0]], [[0.0, 0.5]], [0])
    assert math.isnan(differences.kl.standard_error)
    assert differences.kl.mean > 0
    assert math.isnan(fl.evaluate([0], [[0.0, 1.0]]).loss_standard_error)
