"""`fastloss.lightgbm` in LightGBM itself, beside its own objectives."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from plain import partly_long, plain

import fastloss as fl
import fastloss.lightgbm

lgb = pytest.importorskip("lightgbm", reason="needs LightGBM: pip install 'fastloss[lightgbm]'")

pytestmark = plain

RNG = np.random.default_rng(0)
N = 150
X = RNG.standard_normal((N, 4))
SCORE = X[:, 0] - 0.5 * X[:, 1] + 0.5 * RNG.standard_normal(N)
WEIGHT = RNG.uniform(0.2, 3.0, N)
BINARY = (SCORE > 0.3).astype(float)
CLASSES = np.digitize(SCORE, [-0.7, 0.7]).astype(float)
AMOUNTS = np.exp(SCORE)
COUNTS = np.floor(AMOUNTS)
ROUNDS = 4
PARAMS = {
    "num_leaves": 5,
    "min_data_in_leaf": 5,
    "learning_rate": 0.3,
    "num_threads": 1,
    "verbose": -1,
    "boost_from_average": False,
}

# Losses that LightGBM has, too: its name for them, labels, and where both start.
OWN = [
    ("regression", fl.mse, SCORE, 0.25, {}),
    ("huber", fl.Huber(delta=0.5), SCORE, 0.25, {"alpha": 0.5}),
    ("fair", fl.Fair(c=0.5), SCORE, 0.25, {"fair_c": 0.5}),
    ("binary", fl.binary_cross_entropy_with_logits, BINARY, -0.3, {}),
    ("cross_entropy", fl.binary_cross_entropy_with_logits, BINARY * 0.8 + 0.1, -0.3, {}),
    ("multiclass", fl.cross_entropy, CLASSES, [0.1, 0.3, -0.4], {"num_class": 3}),
    ("poisson", fl.poisson, COUNTS, 0.4, {}),
    ("gamma", fl.gamma, AMOUNTS, 0.4, {}),
    ("tweedie", fl.Tweedie(power=1.3), COUNTS, 0.4, {"tweedie_variance_power": 1.3}),
]


OBJECTIVE = fl.lightgbm.objective(fl.cross_entropy)
THREE = {"objective": OBJECTIVE, "num_class": 3}
START = [0.1, 0.0, -0.1]


def data_of(y, weight=None, start=None):
    init_score = None if start is None else np.tile(start, (len(y), *[1] * np.ndim(start)))
    return lgb.Dataset(X, y, weight=weight, init_score=init_score)


def train(params, y, weight=None, start=0.1, **options):
    return lgb.train(PARAMS | params, data_of(y, weight, start), ROUNDS, **options)


@partly_long(1, "weight", [WEIGHT, None], ids=["weighted", ""])
@pytest.mark.parametrize(("name", "loss", "y", "start", "params"), OWN, ids=[o[0] for o in OWN])
def test_models_equal_those_of_own_objectives(name, loss, y, start, params, weight):
    expected = train(params | {"objective": name}, y, weight, start).predict(X, raw_score=True)
    objective = fl.lightgbm.objective(loss)
    found = train(params | {"objective": objective}, y, weight, start).predict(X)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_arrays_are_kept_and_those_of_classes_are_in_the_order_of_lightgbm():
    objective = fl.lightgbm.objective(fl.cross_entropy)
    preds = np.asfortranarray(RNG.standard_normal((N, 3)))
    grad, hess = objective(CLASSES, preds, WEIGHT)
    p = np.exp(preds) / np.exp(preds).sum(axis=1, keepdims=True)
    expected = (p - np.eye(3)[CLASSES.astype(int)]) * WEIGHT[:, None]
    np.testing.assert_allclose(grad, expected, atol=1e-6)
    np.testing.assert_allclose(hess, 1.5 * p * (1 - p) * WEIGHT[:, None], atol=1e-6)
    for array in (grad, hess):
        assert array.dtype == np.float32
        assert np.shares_memory(array.ravel("F"), array)
    again = objective(CLASSES, preds, WEIGHT)
    assert again[0] is grad
    assert again[1] is hess


def test_the_arguments_are_those_that_lightgbm_counts():
    objective = fl.lightgbm.objective(fl.mse)
    assert len(inspect.signature(objective).parameters) == 3
    assert len(inspect.signature(objective.metric).parameters) == 3


def test_copies_are_the_same_and_pickles_are_of_options_alone():
    objective = fl.lightgbm.objective(fl.Fair(c=0.5), hessian="exact")
    expected = train({"objective": objective}, SCORE).predict(X)
    assert copy.deepcopy(objective) is objective
    other = pickle.loads(pickle.dumps(objective))
    assert repr(other) == repr(objective)
    assert not vars(other._kept)
    np.testing.assert_array_equal(train({"objective": other}, SCORE).predict(X), expected)
    assert len(pickle.dumps(objective)) < 1000


def test_the_metric_and_early_stopping():
    objective = fl.lightgbm.objective(fl.cross_entropy)
    half = N // 2
    own, found = {}, {}
    for custom, history in ((True, found), (False, own)):
        train_set, test_set = (
            lgb.Dataset(
                X[rows], CLASSES[rows], weight=WEIGHT[rows], init_score=np.tile(START, (half, 1))
            )
            for rows in (slice(half), slice(half, N))
        )
        booster = lgb.train(
            PARAMS
            | {"num_class": 3, "objective": objective if custom else "multiclass"}
            | ({"metric": "None"} if custom else {}),
            train_set,
            40,
            valid_sets=[train_set, test_set],
            valid_names=["train", "test"],
            feval=objective.metric if custom else None,
            callbacks=[
                lgb.early_stopping(3, verbose=False),
                lgb.record_evaluation(history),
            ],
        )
        history["best"] = booster.best_iteration
    assert found["best"] == own["best"] < 39
    for part in ("train", "test"):
        np.testing.assert_allclose(
            found[part]["cross_entropy"], own[part]["multi_logloss"], rtol=1e-5
        )


def test_soft_labels_are_rows_of_a_table():
    soft = np.eye(3)[CLASSES.astype(int)] * 0.8 + 0.2 / 3
    objective = fl.lightgbm.objective(fl.cross_entropy, soft_labels=soft)
    smoothed = fl.lightgbm.objective(fl.CrossEntropy(label_smoothing=0.2))
    start = [0.1, 0.0, -0.1]
    found = train({"objective": objective, "num_class": 3}, np.arange(N), start=start).predict(X)
    expected = train({"objective": smoothed, "num_class": 3}, CLASSES, start=start).predict(X)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("min_gain", [0.0, 1e9], ids=["", "a single leaf"])
@pytest.mark.parametrize(
    ("loss", "y", "start", "params"),
    [(fl.mse, SCORE, 7.5, {}), (fl.cross_entropy, CLASSES, [1.0, 2.0, -3.0], {"num_class": 3})],
    ids=["one", "several"],
)
def test_an_init_score_becomes_part_of_the_model(loss, y, start, params, min_gain):
    objective = fl.lightgbm.objective(loss)
    params = params | {"objective": objective, "min_gain_to_split": min_gain}
    init_score = np.tile(start, (N, *[1] * np.ndim(start)))
    booster = train(params, y, start=start)
    without = booster.predict(X)
    assert objective.add_init_score(booster, init_score) is booster
    np.testing.assert_allclose(booster.predict(X), without + init_score, atol=1e-12)
    again = lgb.Booster(model_str=booster.model_to_string())
    np.testing.assert_allclose(again.predict(X), without + init_score, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "y", "name", "params"),
    [
        (fl.mse, SCORE + 7, "regression", {}),
        (fl.binary_cross_entropy_with_logits, BINARY, "binary", {}),
        (fl.poisson, COUNTS, "poisson", {}),
    ],
    ids=["mse", "binary", "poisson"],
)
def test_models_from_the_best_constant_equal_those_from_the_average(loss, y, name, params):
    """As LightGBM starts by itself, and with the constant in its predictions."""
    own = PARAMS | {"objective": name, "boost_from_average": True}
    expected = lgb.train(own, data_of(y, WEIGHT), ROUNDS).predict(X, raw_score=True)
    objective = fl.lightgbm.objective(loss)
    init_score = objective.init_score(y, WEIGHT)
    booster = lgb.train(
        PARAMS | {"objective": objective},
        lgb.Dataset(X, y, weight=WEIGHT, init_score=init_score),
        ROUNDS,
    )
    found = objective.add_init_score(booster, init_score).predict(X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_init_scores_of_classes_and_of_other_rows():
    objective = fl.lightgbm.objective(fl.cross_entropy)
    found = objective.init_score(CLASSES, num_class=3, rows=5)
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found, np.tile(np.log(np.bincount(CLASSES.astype(int)) / N), (5, 1)))
    # A loss that learns nothing from 0, as all labels are on one side.
    objective = fl.lightgbm.objective(fl.mae)
    assert objective.init_score(SCORE + 7).shape == (N,)
    with pytest.warns(UserWarning, match=r"LightGBM starts from 0 .*init_score=objective.init_sc"):
        lgb.train(PARAMS | {"objective": objective}, lgb.Dataset(X, SCORE + 7), 1)


def test_training_goes_on_from_a_model_with_its_init_score(tmp_path):
    objective = fl.lightgbm.objective(fl.mse)
    init_score = objective.init_score(SCORE + 7)
    params = {"objective": objective}

    def begun(rounds):
        data = lgb.Dataset(X, SCORE + 7, init_score=init_score)
        return objective.add_init_score(lgb.train(PARAMS | params, data, rounds), init_score)

    begun(2).save_model(tmp_path / "model.txt")
    found = lgb.train(
        PARAMS | params, data_of(SCORE + 7), 2, init_model=str(tmp_path / "model.txt")
    )
    np.testing.assert_allclose(found.predict(X), begun(4).predict(X), atol=1e-12)


def test_an_init_score_that_is_no_constant_is_refused():
    objective = fl.lightgbm.objective(fl.mse)
    booster = train({"objective": objective}, SCORE)
    before = booster.predict(X)
    with pytest.raises(ValueError, match="init_score differs from row to row"):
        objective.add_init_score(booster, np.arange(N))
    with pytest.raises(ValueError, match="init_score has 2 numbers for each row, and the booster"):
        objective.add_init_score(booster, np.ones((N, 2)))
    np.testing.assert_array_equal(booster.predict(X), before)


OPTIONS = {"n_estimators": ROUNDS, "num_leaves": 5, "n_jobs": 1, "verbose": -1}


def test_linear_trees_take_no_init_score():
    start = fl.lightgbm.objective(fl.mse).init_score(SCORE)
    objective = fl.lightgbm.objective(fl.mse)
    params = PARAMS | {"objective": objective, "linear_tree": True}
    booster = lgb.train(params, lgb.Dataset(X, SCORE, init_score=start), 1)
    with pytest.raises(ValueError, match=r"leaves of linear trees .* add init_score\[0\] to what"):
        objective.add_init_score(booster, start)


class TestEstimators:
    def test_classifier(self):
        objective = fl.lightgbm.objective(fl.cross_entropy)
        init = np.tile(START, (N, 1))
        own = lgb.LGBMClassifier(boost_from_average=False, **OPTIONS)
        own.fit(X, CLASSES, sample_weight=WEIGHT, init_score=init)
        found = lgb.LGBMClassifier(objective=objective, **OPTIONS)
        found.fit(X, CLASSES, sample_weight=WEIGHT, init_score=init)
        raw = found.predict(X, raw_score=True)
        np.testing.assert_allclose(raw, own.predict(X, raw_score=True), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(objective.proba(raw), own.predict_proba(X), atol=1e-5)

    def test_regressor_with_early_stopping_and_search(self):
        from sklearn.model_selection import GridSearchCV

        objective = fl.lightgbm.objective(fl.mse)
        half = N // 2
        model = lgb.LGBMRegressor(objective=objective, **OPTIONS)
        model.fit(
            X[:half],
            SCORE[:half],
            init_score=np.full(half, 0.1),
            eval_X=X[half:],
            eval_y=SCORE[half:],
            eval_sample_weight=[WEIGHT[half:]],
            eval_metric=objective.metric,
            callbacks=[lgb.early_stopping(3, verbose=False)],
        )
        history = model.evals_result_["valid_0"]["squared_error"]
        error = (model.predict(X[half:]) - SCORE[half:]) ** 2
        np.testing.assert_allclose(min(history), np.average(error, weights=WEIGHT[half:]))
        y = SCORE - np.mean(SCORE)
        search = GridSearchCV(
            lgb.LGBMRegressor(objective=objective, **OPTIONS), {"num_leaves": [2, 5]}, cv=2
        )
        search.fit(X, y)
        assert search.best_score_ > 0.1


class TestBadInput:
    @pytest.mark.parametrize("label", [3.0, -1.0, 1.5])
    def test_labels_that_are_no_class(self, label):
        y = CLASSES.copy()
        y[7] = label
        message = rf"label\[7\] is {label}, but must be a whole number from 0 to 2, as LightGBM"
        with pytest.raises(ValueError, match=message):
            train(THREE, y, start=START)

    def test_labels_out_of_the_range_of_the_loss(self):
        objective = fl.lightgbm.objective(fl.binary_cross_entropy_with_logits)
        with pytest.raises(ValueError, match=r"label\[0\] is 2\.0, but must lie between 0 and 1"):
            train({"objective": objective}, BINARY + 2)

    @pytest.mark.parametrize(
        ("loss", "params", "says"),
        [
            (fl.mse, THREE, "takes one prediction .* gives 3 for each row: leave num_class away"),
            (fl.Quantile(q=[0.1, 0.9]), {}, "takes 2 predictions .* one for .* add num_class=2"),
        ],
    )
    def test_other_predictions_than_the_loss_takes(self, loss, params, says):
        with pytest.raises(ValueError, match=says):
            train(params | {"objective": fl.lightgbm.objective(loss)}, SCORE, start=None)

    def test_no_num_class(self):
        with pytest.raises(ValueError, match="add num_class to the parameters"):
            train({"objective": OBJECTIVE}, CLASSES)

    def test_predictions_that_are_nan(self):
        preds = np.zeros((N, 3), order="F")
        preds[5, 1] = np.nan
        with pytest.raises(ValueError, match=r"prediction\[5, 1\] is nan"):
            OBJECTIVE(preds, data_of(CLASSES).construct())

    def test_all_weights_0(self):
        with pytest.raises(ValueError, match="all weights are 0: LightGBM has nothing to learn"):
            train(THREE, CLASSES, np.zeros(N), start=START)
