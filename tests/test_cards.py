"""What all scorecards have in common: parts of a whole, states, groups, weights, and nothing."""

import json
import math
import pickle

import numpy as np
import pytest
from cards import (
    CARDS,
    GROUPS,
    IDS,
    WEIGHT,
    N,
    X,
    assert_same,
    at,
    every_card,
    every_card_of_groups,
    numbers_of,
)
from plain import compiled, partly_long, plain, plain_python
from watched import watched

import fastloss as fl
from fastloss.call import threads
from fastloss.evaluation.ranking import queries
from fastloss.evaluation.sums import (
    accumulator,
    binary_sums,
    error_sums,
    label_sums,
    labelled_rows,
)
from fastloss.evaluation.sums.state import CHECKSUMS, with_checksums
from fastloss.kernels import tally_errors

pytestmark = plain


@every_card
@partly_long(1, "seed", range(2))
def test_any_split_and_order_of_merges_are_the_same(card, seed, monkeypatch):
    """However few rows are added up at a time, and whether or not parts become states before."""
    whole = card.of(np.s_[:], **card.given()).result()
    rng = np.random.default_rng(seed)
    for module, name, value in (
        (accumulator, "PENDING_ROWS", int(rng.choice([1, 9]))),
        (labelled_rows, "FEW_LABELS", int(rng.choice([0, 1 << 16]))),
        (binary_sums, "BLOCK", 16),
        (label_sums, "SLAB", 20),
        (label_sums, "PIECE", 10),
        (error_sums, "_RUN", 64),
        (tally_errors, "TILE", 32),
        (queries, "SLAB", 64),
        (queries, "SLAB_QUERIES", 5),
        (queries, "PIECE", 16),
    ):
        monkeypatch.setattr(module, name, value)
    cards = []
    for rows in np.split(np.arange(N), [3, 3, *np.sort(rng.integers(3, N, 5))]):
        cards.append(card.of(rows, **card.given()))
        if rng.random() < 0.5:
            cards[-1] = card.kind.from_state(cards[-1].state(), **card.options)
    rng.shuffle(cards)
    while len(cards) > 1:
        i = rng.integers(len(cards) - 1)
        cards[i : i + 2] = [cards[i].merge(cards[i + 1])]
    assert_same(cards[0].result(), whole)
    assert_same(card.of(np.s_[:], **card.given()).result(), whole)


@every_card
@pytest.mark.parametrize("bare", [False, True])
def test_whoever_looks_changes_no_bit(card, bare, monkeypatch):
    """Of what is updated and merged afterwards; also where rows are added up to be looked at."""
    if bare:  # then nothing has a table before there are many rows
        card = card._replace(
            options={k: v for k, v in card.options.items() if k == "quantiles"}, more={}
        )
    monkeypatch.setattr(accumulator, "PENDING_ROWS", 17)

    def built(look):
        whole = card.new()
        for start in range(0, N, 20):
            part = card.of(np.s_[start : start + 14], **card.given())
            look(part)
            look(whole.merge(part))
            data = (each[start + 14 : start + 20] for each in card.data)
            its = card.more | card.given()
            its = {name: at(each, np.s_[start + 14 : start + 20]) for name, each in its.items()}
            look(whole.update(*data, **its))
        return whole

    def look(looked_at):
        looked_at.result()
        looked_at.state()

    seen, unseen = built(look).state(), built(lambda _: None).state()
    for name, array in unseen.items():
        np.testing.assert_array_equal(seen[name], array, err_msg=name)


def test_rows_are_added_up_once():
    """Not by each result anew, where it makes no difference for what comes."""
    card = fl.Scorecard().update(IDS, X)
    whole = card.result()
    assert card._sums.pending  # as they are merged row by row
    card = fl.Scorecard.from_state(card.state())
    card.merge(fl.Scorecard().update(IDS, X))
    assert card.result().n_rows == 2 * whole.n_rows
    assert not card._sums.pending


@every_card
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_rows_of_infinite_numbers_are_the_same_wherever_they_come(card):
    """Also if they are first, and sums of squares are about them."""
    truth, predictions, *others = card.data
    predictions = predictions.astype(np.float64)
    predictions.reshape(N, -1)[::7, 0] = np.inf
    card = card._replace(data=(truth, predictions, *others))
    found = []
    for order in np.arange(8), np.arange(8)[::-1]:
        whole = card.new()
        for i in order:
            whole.merge(card.of(np.s_[i : i + 1], **card.given()))
        found.append(whole.result())
    assert_same(found[1], found[0])
    assert_same(card.of(np.s_[:8], **card.given()).result(), found[0])


@every_card
def test_states_and_pickles_go_on_and_share_nothing(card, tmp_path):
    begun, rest = card.of(np.s_[:25], **card.given()), card.of(np.s_[25:], **card.given())
    before, of_rest = begun.result(), rest.result()
    np.savez(tmp_path / "state.npz", **begun.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        restored = card.kind.from_state(state, **card.options)
    for array in begun.state().values():
        array[...] = 0
    both = [
        other.merge(rest).merge(card.new()).result()
        for other in (restored, pickle.loads(pickle.dumps(begun)), card.new().merge(begun))
    ]
    assert both[0] == both[1] == both[2] != before
    assert (begun.result(), rest.result()) == (before, of_rest)
    assert rest.merge(rest).result().weight == 2 * of_rest.weight
    empty = card.kind.from_state(card.new().state(), **card.options)
    assert empty.n_rows == 0
    assert empty.merge(begun).result() == before


@every_card
def test_other_options_are_refused(card):
    begun = card.of(np.s_[:9])
    before = begun.state()
    for other in card.others:
        options, (name,) = {**card.options, **other}, other
        with pytest.raises(ValueError, match=f"the state is of other options: {name}s? was"):
            card.kind.from_state(before, **options)
        with pytest.raises(ValueError, match=f"other has other options: .* {name}s? is"):
            begun.merge(card.kind(**options))
    np.testing.assert_equal(begun.state(), before)
    for state in (other.new().state() for other in CARDS.values() if other.kind is not card.kind):
        with pytest.raises(ValueError, match="the state is that of something else"):
            card.kind.from_state(state, **card.options)


@every_card
def test_states_that_make_no_sense_are_refused(card):
    state = card.of(np.s_[:9], **card.given()).state()
    for name, array in state.items():
        if name in (CHECKSUMS, "group_names"):  # which groups that are integers do without
            continue
        without = {other: each for other, each in state.items() if other != name}
        with pytest.raises(ValueError, match="state"):
            card.kind.from_state(with_checksums(without), **card.options)
        for wrong in (array[:-1], array.astype(complex), array[None]) if array.size else ():
            with pytest.raises(ValueError, match=r"(of|in) the state"):
                card.kind.from_state(with_checksums(without | {name: wrong}), **card.options)
    for name in {"rows", "counts"} & state.keys():
        damaged = with_checksums(state | {name: -state[name]})
        with pytest.raises(ValueError, match="damaged"):
            card.kind.from_state(damaged, **card.options)


@every_card_of_groups
def test_groups_are_what_they_are_apart(card):
    """Of rows that are independent, as groups take them to be."""
    given = card.given() | {name: None for name in ("clusters", "sequences") if name in card.more}
    card = card._replace(options={**card.options, "bootstrap": 0})
    for groups in (GROUPS, np.searchsorted(["a", "b", "c"], GROUPS) * 10**15):
        found = card.of(np.s_[:], **given | {"groups": groups}).result().groups.to_dict()
        ids, _ = found.pop("ids"), found.pop("columns", None)
        assert ids == np.unique(groups).tolist()
        for i, group in enumerate(ids):
            apart = numbers_of(card.of(groups == group, **given | {"groups": None}).result())
            for name, values in numbers_of(found).items():
                if name not in card.not_of_groups:
                    expected = apart["n_counted" if name == "n" else name]
                    np.testing.assert_allclose(
                        values[i], expected, rtol=1e-13, atol=1e-15, err_msg=name
                    )


@every_card
@partly_long(1, "factor", [2.0**-1070, 2.0**1020, 2.0**-500])
def test_weights_count_by_their_ratios(card, factor):
    """Of powers of two, by which no weight is rounded: results are the same to the bit."""
    given = card.given()
    found, expected = (
        numbers_of(card.of(np.s_[:], **given | {card.weight: 4 * WEIGHT * each}).result())
        for each in (factor, 1.0)
    )
    with np.errstate(over="ignore"):
        for name, value in expected.items():
            if name.startswith("sequences"):
                continue  # whose sums are weighed
            if name.endswith(("weight", "weights")) or name.startswith("confusion"):
                value = value * factor
            np.testing.assert_allclose(found[name], value, rtol=1e-14, atol=0, err_msg=name)


@every_card
def test_of_nothing_means_are_nan(card):
    nothing = card.of(np.s_[:5], **card.given() | {card.weight: np.zeros(N)})
    for each in (card.new(), card.of(np.s_[:0], **card.given()), nothing):
        with pytest.warns(RuntimeWarning, match="no (row|query) counts"):
            found = each.result()
        assert (found.n_counted, found.weight) == (0, 0)
        assert "nan" in repr(found)
        json.dumps(found.to_dict())
        numbers = numbers_of(found)
        for name in numbers:
            if "standard_error" in name:
                mean = name.replace("_standard_error", "").replace(" standard_error", " mean")
                assert np.isnan(numbers[name]).all(), name
                assert np.isnan(numbers.get(mean, math.nan)).all(), mean


LAYOUTS = {
    "reversed": lambda a: a[::-1].copy()[::-1],
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "of columns": np.asfortranarray,
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "lists": lambda a: a.tolist(),
}


@every_card
@partly_long(3, "layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_give_the_same(card, layout):
    expected = card.of(np.s_[:], **card.given())
    changed = card._replace(
        data=tuple(layout(each) for each in card.data),
        more={name: layout(each) for name, each in card.more.items()},
    )
    given = {name: layout(each) for name, each in card.given().items()}
    assert (
        changed.new().update(*changed.data, **changed.more, **given).result() == expected.result()
    )


@compiled
@partly_long(
    1,
    "name, wider",
    [
        ("classes", 1),
        ("pairs", 1),
        ("binary", 1),
        ("labels", 1),
        ("numbers", 1),
        ("classes", 250),
        ("pairs", 250),  # rows of many classes
    ],
)
def test_threads_and_backends_give_the_same_bits(name, wider, monkeypatch):
    """Of several blocks, in one part or in several.

    Numba's loops are set here unasked: in plain Python they need none of its layers of threads.
    """
    times = 3000 if name == "numbers" else 1200 // wider
    card = CARDS[name]._replace(options={}, more={})
    rows = (np.repeat(each, times, axis=0) for each in card.data)
    card = card._replace(
        data=tuple(np.repeat(each, wider, axis=1) if each.ndim > 1 else each for each in rows)
    )
    n, found = len(card.data[0]), []
    try:
        for backend, n_threads in (("pool", 1), ("pool", 2), ("pool", 5), ("prange", 3)):
            monkeypatch.setattr(threads, "_backend", backend)
            fl.set_num_threads(n_threads)
            found.append(card.of(np.s_[:]).result())
        parts = card.new()
        for start in range(0, n, n // 3):
            parts.update(*(each[start : start + n // 3] for each in card.data))
    finally:
        fl.set_num_threads(None)
    assert found[0] == found[1] == found[2] == found[3]
    assert_same(parts.result(), found[0])


# Those that nothing else compiles in this way.
COMPILED = partly_long(2, "card", [CARDS[name] for name in ("labels", "rankings", "numbers")])


@compiled
@COMPILED
def test_no_index_lies_outside(card):
    small = np.s_[:9]
    with plain_python():
        expected = card.of(small, **card.given()).result()
    with watched():
        assert card.of(small, **card.given()).result() == expected


@compiled
@pytest.mark.long
@every_card
def test_compiled_code_is_as_plain_python(card):
    found = card.of(np.s_[:], **card.given()).result()
    with plain_python():
        assert_same(found, card.of(np.s_[:], **card.given()).result())
