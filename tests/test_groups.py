"""Groups that are names, categories or several columns: the same in any parts and any order."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from cards import GROUPS, N, every_card_of_groups
from plain import plain

import fastloss as fl
from fastloss.evaluation.groups import groups_of
from fastloss.evaluation.sums.group_names import GroupNames, id_of
from fastloss.evaluation.sums.state import with_checksums

pytestmark = plain

COUNTRIES = ["fr", "de", "fr", "", "de", "Österreich"]
YEARS = [2020, 2021, 2020, 2020, 2020, 2021]
BOTH = list(zip(COUNTRIES, YEARS, strict=True))
# As pandas has them, with one that no row has.
CATEGORIES = SimpleNamespace(
    codes=[3, 1, 3, 0, 1, 2], categories=["", "de", "Österreich", "fr", "x"]
)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 6)
LOGITS = RNG.standard_normal((6, 3))


def named(groups, shape=(6,)):
    """The group of each row, found by its id."""
    ids, names = groups_of(groups, shape)
    return [names.names[i] for i in ids.tolist()] if names.names else ids.tolist()


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (COUNTRIES, COUNTRIES),
        (np.array(COUNTRIES, object), COUNTRIES),
        (np.array(COUNTRIES, np.dtypes.StringDType()), COUNTRIES),
        (CATEGORIES, COUNTRIES),
        ({"country": COUNTRIES, "year": YEARS}, BOTH),
        ({"country": CATEGORIES, "year": np.array(YEARS, np.int16)}, BOTH),
        ({"country": COUNTRIES}, [(each,) for each in COUNTRIES]),
        (SimpleNamespace(codes=[0, 1, 0, 0, 0, 1], categories=np.array([2020, 2021])), YEARS),
        ([True, False] * 3, [True, False] * 3),
    ],
)
def test_each_row_has_its_group_however_it_is_given(groups, expected):
    assert named(groups) == expected


def test_no_rows_are_of_any_kind():
    card = fl.Scorecard().update(LABELS, LOGITS, groups=COUNTRIES)
    before = card.state()
    for groups in ([], np.empty(0, int), np.empty(0, "U1"), {"a": []}):
        card.update(LABELS[:0], LOGITS[:0], groups=groups)
    np.testing.assert_equal(card.state(), before)


def test_an_id_is_a_digest_of_the_name():
    """So that a state of today is read by another machine and another version."""
    assert (id_of("de"), id_of(("de", 2020))) == (2802108041279750302, -5918764705374548845)
    assert len({id_of(name) for name in ("1", 1, True, (1,), ("1",), ("1", 1), ((1,),))}) == 7


def test_results_of_a_group_are_those_of_its_rows():
    groups = fl.evaluate(LABELS, LOGITS, groups={"country": COUNTRIES, "year": YEARS}).groups
    assert groups.columns == ("country", "year")
    assert groups.ids.tolist() == sorted(set(BOTH))
    for i, group in enumerate(groups.ids):
        mine = [group == each for each in BOTH]
        part = fl.evaluate(LABELS[mine], LOGITS[mine])
        assert groups.means.n[i] == part.n_rows
        assert groups.means.loss[i] == pytest.approx(part.loss, rel=1e-15)
    shown = json.loads(json.dumps(groups.to_dict()))
    assert shown["ids"][0] == ["", 2020]
    assert shown["columns"] == ["country", "year"]


def test_groups_stay_of_one_kind():
    """Integers are not digests of themselves."""
    card = fl.Scorecard().update(LABELS, LOGITS, groups=COUNTRIES)
    before = card.state()
    assert card.result().groups.ids.tolist() == ["", "de", "fr", "Österreich"]
    with pytest.raises(ValueError, match="groups are integers, but names in what came before"):
        card.update(LABELS, LOGITS, groups=YEARS)
    with pytest.raises(ValueError, match="tuples of the columns x, but names"):
        card.merge(fl.Scorecard().update([0], [[0.0, 1.0, 2.0]], groups={"x": ["fr"]}))
    np.testing.assert_equal(card.state(), before)


@every_card_of_groups
def test_scorecards_of_all_tasks_have_groups_of_columns(card):
    groups = {"name": GROUPS, "parity": np.arange(N) % 2}

    merged = card.of(np.s_[40:], groups=groups)
    for rows in np.s_[10:40], np.s_[:10]:
        merged.merge(card.of(rows, groups=groups))
    state = {name: array.copy() for name, array in merged.state().items()}
    found = card.kind.from_state(state, **card.options).result().groups
    assert found.ids.tolist() == [(name, parity) for name in "abc" for parity in (0, 1)]
    assert found.columns == ("name", "parity")
    with pytest.raises(ValueError, match="names, but tuples of the columns name"):
        merged.merge(card.of(np.s_[:], groups=GROUPS))
    np.testing.assert_equal(merged.state(), state)


def test_groups_of_another_shape_than_a_line():
    found = fl.evaluate(
        LABELS.reshape(2, 3), LOGITS.reshape(2, 3, 3), groups=np.reshape(COUNTRIES, (2, 3))
    )
    assert found.groups == fl.evaluate(LABELS, LOGITS, groups=COUNTRIES).groups


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (COUNTRIES[1:], ValueError, "groups has shape (5,), but there is one id for each row"),
        ({"a": YEARS, "b": YEARS[1:]}, ValueError, "groups['b'] has shape (5,)"),
        ({}, ValueError, "groups has no column"),
        (np.array(YEARS) / 2, TypeError, "groups has dtype float64, but holds ids"),
        ({"a": np.zeros(6, "M8[s]")}, TypeError, "write np.asarray(groups['a']).astype(int)"),
        (np.array([1, 1, 2, 2, 3, np.nan]), ValueError, "groups[5] is missing"),
        (np.array([1, 1, 2, 2, 3, 0.5]), TypeError, "write np.unique(groups, return_inverse=True"),
        (np.array([1, 1, 2, 2, 3, np.inf]), TypeError, "write np.unique(groups, return_inverse"),
        ([1.0, 1.0, 2.0, 2.0, 3.0, 3.0], TypeError, "write np.asarray(groups).astype(int), or"),
        (np.array([1, 1, 2, 2, 1.0, 1.0], object), TypeError, "a group 1.0 of type float"),
        ([*COUNTRIES[:5], None], ValueError, "groups[5] is missing: leave such rows out"),
        (np.array([*COUNTRIES[:4], np.nan, "x"], object), ValueError, "groups[4] is missing"),
        (SimpleNamespace(codes=[0, 1, -1, 0, 0, 0], categories="ab"), ValueError, "groups[2] is"),
        (np.array([*COUNTRIES[:5], 0.5], object), TypeError, "a group 0.5 of type float"),
        (np.array([*COUNTRIES[:5], 2**70], object), TypeError, "of type int"),
        (np.array([*COUNTRIES[:5], ["a"]], object), TypeError, "give several columns as a dict"),
        (np.array([0] * 5 + [2**63], np.uint64), ValueError, "do not fit into int64"),
    ],
)
def test_what_is_no_group_is_refused(groups, error, message):
    card = fl.Scorecard()
    with pytest.raises(error, match=re.escape(message)):
        card.update(LABELS, LOGITS, groups=groups)
    assert card.n_rows == 0


def test_groups_that_are_equal_but_of_different_types_are_apart():
    mixed = np.array([True, 1, "1", np.int64(1), False, 0], object)
    whole = fl.evaluate(LABELS, LOGITS, groups=mixed).groups
    assert [(type(name), name) for name in whole.ids] == [
        (bool, False),
        (int, 0),
        (bool, True),
        (int, 1),
        (str, "1"),
    ]
    assert whole.means.weight.tolist() == [1, 1, 1, 2, 1]
    columns = fl.evaluate(LABELS, LOGITS, groups={"a": mixed, "b": YEARS}).groups
    apart = fl.Scorecard()
    for i in range(6):  # where no name meets its equals
        apart.update(
            LABELS[i : i + 1],
            LOGITS[i : i + 1],
            groups={"a": mixed[i : i + 1], "b": YEARS[i : i + 1]},
        )
    assert set(columns.ids) == set(apart.result().groups.ids)
    assert len(columns.ids) == len(apart.result().groups.ids)


@pytest.mark.parametrize("ids", [["a", "b"], [True, False], [1.0, 2.0], [0.5, np.nan]])
def test_remedies_for_what_are_no_ids_work(ids):
    with pytest.raises(TypeError, match="write ") as error:
        fl.Scorecard().update([0, 1], np.eye(2), sequences=ids)
    sequences = eval(str(error.value).split("write ")[1], {"np": np, "sequences": ids})
    assert fl.evaluate([0, 1], np.eye(2), sequences=sequences).sequences.n.tolist() == [1, 1]


def test_digests_that_agree_are_noticed(monkeypatch):
    monkeypatch.setattr("fastloss.evaluation.sums.group_names.id_of", lambda name: 7)
    with pytest.raises(ValueError, match="'a' and 'b' have the same digest"):
        GroupNames.of("names", ["a", "b"])
    with pytest.raises(ValueError, match="'a' and 'b' have the same digest"):
        GroupNames.of("names", ["a"]).merged(GroupNames.of("names", ["b"]))


def test_a_state_whose_names_are_not_those_of_its_ids_is_refused():
    state = fl.Scorecard().update(LABELS, LOGITS, groups=COUNTRIES).state()
    text = state["group_names"].tobytes()
    for damaged in (text.replace(b"fr", b"fx"), text[:-2], text.replace(b"names", b""), b"[1, 2]"):
        with pytest.raises(ValueError, match="damaged"):
            fl.Scorecard.from_state(
                with_checksums({**state, "group_names": np.frombuffer(damaged, np.uint8)})
            )
