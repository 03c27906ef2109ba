"""Results of every task as data frames of pandas, all that they have; groups of each kind."""

import numpy as np
import pytest
from plain import plain

import fastloss as fl
from fastloss.evaluation.means import Whole
from fastloss.evaluation.result import Columns, Result
from fastloss.evaluation.tasks import TASKS

pd = pytest.importorskip("pandas")

pytestmark = plain

N, C = 24, 3
RNG = np.random.default_rng(0)
IDS, FLAGS = RNG.integers(0, C, N), RNG.integers(0, 2, N)
LOGITS, NUMBERS = RNG.standard_normal((N, C)), RNG.gamma(2.0, 1.0, (N, 2))
TEXTS = np.array(["a", "b", "ö"])[RNG.integers(0, 3, N)]
GIVEN = {
    "multiclass": (IDS, LOGITS),
    "binary": (FLAGS, LOGITS[:, 0]),
    "multilabel": (LOGITS > 0.5, LOGITS),
    "regression": (NUMBERS, NUMBERS[:, ::-1]),
    "ranking": ((IDS[:, None] + 1) * (np.arange(C) > 0), LOGITS),
}
MORE = {
    "multiclass": {"offsets": [0, 5, 9, N], "n_bytes": [1, 2, 3], "ids": np.arange(N)},
    "regression": {"deviance": ["poisson"]},
}
MORE["multiclass"] |= {"bootstrap": 5, "confusion": True}


def evaluated(task, **given):
    return fl.evaluate(*GIVEN[task], task=task, **given)


def all_of():
    """A result of each task, of quantiles and of a comparison, by name."""
    found = {task: evaluated(task, groups=TEXTS, **MORE.get(task, {})) for task in TASKS}
    fan = np.stack([NUMBERS, NUMBERS + 1], axis=-1)
    found["quantiles"] = fl.evaluate(
        NUMBERS, fan, task="regression", quantiles=[0.1, 0.9], groups=TEXTS
    )
    one_column = np.arange(9.0), np.arange(9.0) ** 2
    found["histograms"] = fl.evaluate(*one_column, task="regression", histograms=True)
    found["compare"] = fl.compare(LOGITS, LOGITS[::-1], IDS)
    found["choices"] = found["multiclass"].sequences.choices([0, 1, 3], [0, 1])
    return found


def parts_of(result):
    """The result, and all results within it."""
    yield result
    for value in vars(result).values():
        if isinstance(value, Result):
            yield from parts_of(value)


def kinds(of):
    return {of} | {kind for each in of.__subclasses__() for kind in kinds(each)}


def test_all_that_is_a_result_has_a_frame():
    met = set()
    for name, result in all_of().items():
        for part in parts_of(result):
            frame = part.to_pandas()
            assert len(frame.columns), (name, part)
            assert frame.columns.is_unique
            assert frame.index.is_unique
            met.add(type(part))
            for column in set(frame) & set(vars(part)):
                value = getattr(part, column)
                if isinstance(value, dict):  # by k
                    value = np.stack(list(value.values()), axis=-1)
                np.testing.assert_array_equal(frame[column], np.ravel(value), err_msg=column)
    met |= {type(scores.macro) for scores in all_of().values() if isinstance(scores, fl.Scores)}
    # `Whole` gives `Scores` its numbers, and is handed to nobody.
    every = (kinds(Result) | kinds(Columns)) - {Whole}
    concrete = {kind for kind in every if not kinds(kind) - {kind, Whole}}
    assert {kind for kind in concrete if kind.__module__.startswith("fastloss")} <= met


def test_the_whole_is_one_row():
    scores = evaluated("multiclass", **MORE["multiclass"])
    (row,) = scores.to_pandas().to_dict("records")
    assert row["loss"] == scores.loss
    assert row["macro f1"] == scores.macro.f1
    assert row["top_k 1"] == scores.accuracy
    both = fl.compare(LOGITS, LOGITS + IDS[:, None] * [0, 0, 1])
    assert both.to_pandas()["kl mean"][0] == both.kl.mean
    models = [evaluated("regression", **more) for more in ({}, {"deviance": ["poisson"]})]
    joined = pd.concat([each.to_pandas() for each in models], keys=["old", "new"])
    assert joined["deviance poisson"].isna().tolist() == [True, False]
    assert (joined["mse"] == models[0].mse).all()


@pytest.mark.parametrize("task", TASKS)
def test_groups_whose_names_are_tuples_have_an_index_of_tuples(task):
    names = np.fromiter(((text, 1) for text in TEXTS), object)
    groups = evaluated(task, groups=names).groups
    index = groups.to_pandas().index
    assert index.names == (["group", "k"] if task == "ranking" else ["group"])
    found = index.get_level_values(0).unique().tolist()
    assert found == groups.ids.tolist() == [(text, 1) for text in "abö"]


def test_tables_have_an_index_of_what_they_are_of():
    scores = {task: evaluated(task, **MORE.get(task, {})) for task in TASKS}
    by_class = scores["multiclass"].by_class
    frame = by_class.to_pandas()
    assert (frame.index.name, list(frame.index)) == ("class", [0, 1, 2])
    np.testing.assert_array_equal(frame["precision"], by_class.precision)
    frame = scores["multiclass"].sequences.to_pandas()
    assert (frame.index.name, len(frame)) == ("sequence", 3)
    assert frame["n"].tolist() == [5, 4, 15]
    assert len(scores["multiclass"].bins.to_pandas()) == 15
    frame = scores["binary"].bins.to_pandas()
    assert (frame.index.name, list(frame)[:2]) == ("bin", ["lower", "upper"])
    assert scores["multilabel"].by_label.to_pandas().index.name == "label"
    frame = scores["regression"].by_column.to_pandas()
    assert frame.index.name == "column"
    assert frame.loc[1, "deviance poisson"] == scores["regression"].by_column.deviance["poisson"][1]
    frame = scores["ranking"].to_pandas()
    assert frame.loc["all", "ndcg"] == scores["ranking"].ndcg[None]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("groups", "names", "one"),
    [
        (IDS - 1, ["group"], -1),
        (TEXTS, ["group"], "ö"),
        (FLAGS == 1, ["group"], True),
        (np.array([7, "a", "b"], object)[IDS], ["group"], "a"),
        (pd.Series(pd.Categorical(TEXTS, ["ö", "b", "a", "none"])), ["group"], "ö"),
        ({"text": TEXTS}, ["text"], "ö"),
        ({"mixed": np.array([7, "a", "b"], object)[IDS]}, ["mixed"], 7),
        (pd.DataFrame({"text": TEXTS, "flag": FLAGS}), ["text", "flag"], ("ö", 1)),
    ],
    ids=["integers", "texts", "flags", "mixed", "categories", "column", "mixed column", "columns"],
)
def test_groups_of_each_kind_are_an_index(task, groups, names, one):
    found = evaluated(task, groups=groups).groups
    frame = found.to_pandas()
    by_k = ["k"] * (task == "ranking")
    assert frame.index.names == [*names, *by_k]
    assert len(frame) == len(found.ids) * (4 if by_k else 1)
    if isinstance(groups, pd.DataFrame):
        rows = (groups == pd.Series(one, groups.columns)).all(axis=1).to_numpy()
    else:
        column = next(iter(groups.values())) if isinstance(groups, dict) else groups
        rows = np.array([each == one for each in column])
    alone = fl.evaluate(*(each[rows] for each in GIVEN[task]), task=task)
    if by_k:
        assert frame.loc[one].loc["5", "ndcg"] == pytest.approx(alone.ndcg[5], rel=1e-14)
    else:
        name = "mse" if task == "regression" else "loss"
        assert frame.loc[one][name] == pytest.approx(getattr(alone, name), rel=1e-14)
