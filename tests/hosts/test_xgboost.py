"""`fastloss.xgboost` in XGBoost itself, beside its own objectives."""

import copy
import math
import pickle

import numpy as np
import pytest
from plain import partly_long, plain

import fastloss as fl
import fastloss.xgboost

xgb = pytest.importorskip("xgboost", reason="needs XGBoost: pip install xgboost-cpu")

pytestmark = plain

RNG = np.random.default_rng(0)
N = 100
X = RNG.standard_normal((N, 4)).astype(np.float32)
SCORE = X[:, 0] - 0.5 * X[:, 1] + 0.5 * RNG.standard_normal(N)
WEIGHT = RNG.uniform(0.2, 3.0, N)
BINARY = (SCORE > 0.3).astype(float)
CLASSES = np.digitize(SCORE, [-0.7, 0.7]).astype(float)
AMOUNTS = np.exp(SCORE)
COUNTS = np.floor(AMOUNTS)
ROUNDS = 4
PARAMS = {"max_depth": 3, "eta": 0.4, "nthread": 1}

# Losses that XGBoost has, too: its name for them, labels, and where both start.
OWN = [
    ("reg:squarederror", fl.mse, SCORE, 0.25, {}),
    ("binary:logistic", fl.binary_cross_entropy_with_logits, BINARY, 0.4, {}),
    ("reg:logistic", fl.binary_cross_entropy_with_logits, BINARY * 0.8 + 0.1, 0.4, {}),
    ("multi:softprob", fl.cross_entropy, CLASSES, [0.1, 0.3, -0.4], {"num_class": 3}),
    ("count:poisson", fl.poisson, COUNTS, 1.5, {"max_delta_step": 0.7}),
    ("reg:gamma", fl.gamma, AMOUNTS, 1.5, {}),
    ("reg:tweedie", fl.Tweedie(power=1.3), COUNTS, 1.5, {"tweedie_variance_power": 1.3}),
    ("reg:squaredlogerror", fl.msle, AMOUNTS, 0.6, {}),
    ("binary:hinge", fl.hinge, BINARY, 0.0, {}),
]


OBJECTIVE = fl.xgboost.objective(fl.cross_entropy)
SOFTPROB = PARAMS | {"objective": "multi:softprob", "num_class": 3, "base_score": 0.0}


def train(params, y, weight=None, rounds=ROUNDS, **options):
    data = xgb.DMatrix(X, label=y, weight=weight)
    booster = xgb.train(PARAMS | params, data, rounds, **options)
    return booster.predict(data, output_margin=True)


@partly_long(1, "weight", [WEIGHT, None], ids=["weighted", ""])
@pytest.mark.parametrize(("name", "loss", "y", "start", "params"), OWN, ids=[o[0] for o in OWN])
def test_models_equal_those_of_own_objectives(name, loss, y, start, params, weight):
    own = params | {"objective": name, "base_score": start}
    expected = train(own, y, weight)
    # The rule by which predictions start from a mean is that of the objective of the parameters.
    found = train(own, y, weight, obj=fl.xgboost.objective(loss))
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_whatever_the_reduction_sums_are_taken():
    params = {"objective": "multi:softprob", "num_class": 3, "base_score": 0.0}
    found = [
        train(params, CLASSES, obj=fl.xgboost.objective(fl.CrossEntropy(reduction=reduction)))
        for reduction in ("mean", "sum", "none")
    ]
    assert np.ptp(found[0]) > 0.5
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_many_labels_of_a_row():
    """Multi-label classification: XGBoost has the same objective for each column."""
    y = np.stack([SCORE > 0, X[:, 2] > 0.2], axis=1).astype(float)
    params = {"objective": "binary:logistic", "base_score": 0.4}
    expected = train(params, y)
    found = train(params, y, obj=fl.xgboost.objective(fl.binary_cross_entropy_with_logits))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_arrays_are_kept_and_labels_are_converted_once(monkeypatch):
    objective = fl.xgboost.objective(fl.cross_entropy)
    data = xgb.DMatrix(X, label=CLASSES)
    preds = RNG.standard_normal((N, 3)).astype(np.float32)
    grad, hess = objective(preds, data)
    p = np.exp(preds) / np.exp(preds).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(grad, p - np.eye(3)[CLASSES.astype(int)], atol=1e-6)
    np.testing.assert_allclose(hess, 2 * p * (1 - p), atol=1e-6)
    monkeypatch.setattr(fl.hosts.boosters, "whole", None)  # is called no more
    again = objective(-preds, data)
    assert again[0] is grad
    assert again[1] is hess
    assert grad.dtype == np.float32


def test_labels_that_change_are_seen():
    objective = fl.xgboost.objective(fl.cross_entropy)
    data = xgb.DMatrix(X, label=CLASSES)
    preds = np.zeros((N, 3), np.float32)
    first = objective(preds, data)[0].copy()
    data.set_label((CLASSES + 1) % 3)
    np.testing.assert_array_equal(objective(preds, data)[0], np.roll(first, 1, axis=1))


@pytest.mark.parametrize("kind", [xgb.DMatrix, xgb.QuantileDMatrix])
@pytest.mark.parametrize("y", [SCORE, np.stack([SCORE, -SCORE], axis=1)], ids=["one", "several"])
def test_labels_and_weights_are_read_where_they_lie(kind, y, monkeypatch):
    read = fastloss.xgboost._labels_and_weight
    data = kind(X, label=y, weight=WEIGHT)
    labels, weight = read(data)
    np.testing.assert_array_equal(labels, y.astype(np.float32))
    np.testing.assert_array_equal(weight, WEIGHT.astype(np.float32))
    assert labels is not weight
    assert not labels.flags.owndata
    assert not labels.flags.writeable
    # As a version of XGBoost without the function has it.
    monkeypatch.setattr(fastloss.xgboost, "_get_info", lambda: None)
    for found, expected in zip(read(data), (labels, weight), strict=True):
        np.testing.assert_array_equal(found, expected)
    labels, weight = read(kind(X))
    assert labels.size == 0
    assert weight is None


def test_copies_are_the_same_and_pickles_are_of_options_alone():
    objective = fl.xgboost.objective(fl.CrossEntropy(label_smoothing=0.1), hessian="exact")
    expected = train(SOFTPROB, CLASSES, obj=objective)
    assert copy.copy(objective) is copy.deepcopy(objective) is objective
    other = pickle.loads(pickle.dumps(objective))
    assert repr(other) == repr(objective)
    assert not vars(other._kept)
    np.testing.assert_array_equal(train(SOFTPROB, CLASSES, obj=other), expected)
    assert len(pickle.dumps(objective)) < 1000
    metric = pickle.loads(pickle.dumps(objective.metric))
    assert metric(CLASSES, expected) == objective.metric(CLASSES, expected)


def test_the_metric_and_early_stopping():
    objective = fl.xgboost.objective(fl.cross_entropy)
    half = N // 2
    params = dict(SOFTPROB)
    parts = [
        xgb.DMatrix(X[rows], label=CLASSES[rows], weight=WEIGHT[rows])
        for rows in (slice(half), slice(half, N))
    ]
    own, found = {}, {}
    for objective_or_not, history in ((objective, found), (None, own)):
        custom = {}
        if objective_or_not is not None:
            custom = {"obj": objective_or_not, "custom_metric": objective_or_not.metric}
            params["disable_default_eval_metric"] = True
        booster = xgb.train(
            params,
            parts[0],
            40,
            evals=[(parts[0], "train"), (parts[1], "test")],
            early_stopping_rounds=3,
            evals_result=history,
            verbose_eval=False,
            **custom,
        )
        params.pop("disable_default_eval_metric", None)
        history["best"] = booster.best_iteration
    assert found["best"] == own["best"] < 39
    for part in ("train", "test"):
        np.testing.assert_allclose(found[part]["cross_entropy"], own[part]["mlogloss"], rtol=2e-5)


def test_soft_labels_are_rows_of_a_table():
    soft = np.eye(3)[CLASSES.astype(int)] * 0.8 + 0.2 / 3
    objective = fl.xgboost.objective(fl.cross_entropy, soft_labels=soft)
    smoothed = fl.xgboost.objective(fl.CrossEntropy(label_smoothing=0.2))
    found = train(SOFTPROB, np.arange(N), obj=objective)
    np.testing.assert_allclose(found, train(SOFTPROB, CLASSES, obj=smoothed), atol=1e-5)
    copied = pickle.loads(pickle.dumps(objective))
    np.testing.assert_array_equal(train(SOFTPROB, np.arange(N), obj=copied), found)


def test_probabilities_of_raw_predictions():
    objective = fl.xgboost.objective(fl.cross_entropy)
    data = xgb.DMatrix(X, label=CLASSES)
    booster = xgb.train(SOFTPROB, data, 3, obj=objective)
    raw = booster.predict(data, output_margin=True)
    np.testing.assert_allclose(objective.proba(raw), booster.predict(data), rtol=1e-6)
    with pytest.raises(TypeError, match="Huber has no probabilities"):
        fl.xgboost.objective(fl.huber).proba(raw)


@pytest.mark.parametrize(
    "loss",
    [fl.CrossEntropy(label_smoothing=0.1), fl.focal, fl.CrossEntropy(temperature=2.0)],
    ids=repr,
)
def test_predictions_are_probabilities_or_raw(loss):
    """XGBoost's softmax is that of the loss unless options change it."""
    objective = fl.xgboost.objective(loss)
    data = xgb.DMatrix(X, label=CLASSES)
    booster = xgb.train(PARAMS | objective.params(data), data, 2, obj=objective)
    raw, found = booster.predict(data, output_margin=True), booster.predict(data)
    expected = objective.proba(raw) if loss.temperature == 1 else raw
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_probabilities_of_binary_logits():
    """XGBoost takes what it starts from for a probability then, and predicts some."""
    objective = fl.xgboost.objective(fl.BinaryFocal(gamma=1.0))
    start = objective.base_score(BINARY)
    model = xgb.XGBClassifier(n_estimators=2, n_jobs=1, objective=objective, base_score=start)
    p = model.fit(X, BINARY).predict_proba(X)[:, 1]
    raw = model.predict(X, output_margin=True)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-raw)), rtol=1e-5)
    data = xgb.DMatrix(X, label=BINARY)
    booster = xgb.train(objective.params(data), data, 2, obj=objective)
    np.testing.assert_allclose(booster.predict(data), p, rtol=1e-5)


@pytest.mark.parametrize("ignored", [-100, 2, 300])
def test_rows_that_are_ignored_are_as_if_they_had_no_weight(ignored):
    objective = fl.xgboost.objective(fl.CrossEntropy(ignore_index=ignored))
    out = CLASSES == 2
    y = np.where(out, ignored, CLASSES)
    expected = train(SOFTPROB, CLASSES, np.where(out, 0.0, 1.0), obj=OBJECTIVE)
    np.testing.assert_array_equal(train(SOFTPROB, y, obj=objective), expected)
    assert objective.n_outputs(y) == 2
    np.testing.assert_array_equal(
        objective.constant(y), fl.cross_entropy.constant(CLASSES[~out].astype(int))
    )


class TestStart:
    """Where training starts: from the best constant."""

    @partly_long(1, "weight", [WEIGHT, None], ids=["weighted", ""])
    @pytest.mark.parametrize(
        ("loss", "y", "expected"),
        [
            (fl.mse, SCORE, lambda w: np.average(SCORE, weights=w)),
            (fl.poisson, COUNTS, lambda w: np.log(np.average(COUNTS, weights=w))),
            (
                fl.binary_cross_entropy_with_logits,
                BINARY,
                lambda w: np.log(np.average(BINARY, weights=w) / np.average(1 - BINARY, weights=w)),
            ),
            (
                fl.cross_entropy,
                CLASSES,
                lambda w: np.log(np.average(np.eye(3)[CLASSES.astype(int)], axis=0, weights=w)),
            ),
        ],
        ids=["mean", "log of the mean", "log of the odds", "logs of shares"],
    )
    def test_params(self, loss, y, expected, weight):
        objective = fl.xgboost.objective(loss)
        data = xgb.DMatrix(X, label=y, weight=weight)
        params = PARAMS | objective.params(data)
        # With no rounds, as all that is said of the start is in the parameters.
        booster = xgb.train(params, data, 0, obj=objective)
        start = booster.predict(data, output_margin=True)
        np.testing.assert_allclose(start, np.broadcast_to(expected(weight), start.shape), rtol=1e-5)
        booster = xgb.train(params, data, 3, obj=objective, custom_metric=objective.metric)
        better = booster.predict(data, output_margin=True)
        assert objective.metric(y, better) < objective.metric(y, start)
        same = objective.params(y, weight)
        np.testing.assert_allclose(same["base_score"], params["base_score"], rtol=1e-5)

    def test_several_quantiles(self):
        objective = fl.xgboost.objective(fl.Quantile(q=[0.1, 0.5, 0.9]))
        data = xgb.DMatrix(X, label=SCORE)
        params = objective.params(data)
        assert params["num_target"] == 3
        np.testing.assert_allclose(
            params["base_score"], np.quantile(SCORE, [0.1, 0.5, 0.9]), atol=0.1
        )
        found = xgb.train(PARAMS | params, data, 20, obj=objective).predict(data)
        assert objective.metric(SCORE, found) < 0.8 * objective.metric(
            SCORE, np.tile(np.float32(params["base_score"]), (N, 1))
        )
        one = xgb.train(
            PARAMS | {"base_score": params["base_score"][2]},
            data,
            20,
            obj=fl.xgboost.objective(fl.Quantile(q=0.9)),
        )
        np.testing.assert_allclose(found[:, 2], one.predict(data), atol=1e-5)

    def test_mean_and_variance(self):
        objective = fl.xgboost.objective(fl.GaussianNLL(log_variance=True))
        data = xgb.DMatrix(X, label=SCORE)
        params = objective.params(data)
        np.testing.assert_allclose(
            params["base_score"], [np.mean(SCORE), np.log(np.var(SCORE))], rtol=1e-5
        )
        found = xgb.train(PARAMS | params, data, 5, obj=objective).predict(data)
        assert found.shape == (N, 2)

    @partly_long(1, "weight", [WEIGHT, None], ids=["weighted", ""])
    def test_a_bad_start_is_warned_of_and_what_is_said_helps(self, weight):
        objective = fl.xgboost.objective(fl.mse)
        data = xgb.DMatrix(X, label=SCORE + 7, weight=weight)
        with pytest.warns(UserWarning, match=r"XGBoost starts from 0\.5 .*add objective.params"):
            xgb.train(PARAMS, data, 1, obj=objective)
        xgb.train(PARAMS | objective.params(data), data, 2, obj=objective)
        model = xgb.XGBRegressor(
            n_estimators=2,
            n_jobs=1,
            objective=objective,
            base_score=objective.base_score(SCORE + 7),
        )
        model.fit(X, SCORE + 7)
        with pytest.warns(UserWarning, match=r"XGBoost starts from 0 .*base_score=objective"):
            xgb.XGBClassifier(
                n_estimators=1,
                n_jobs=1,
                objective=fl.xgboost.objective(fl.binary_cross_entropy_with_logits),
            ).fit(X, X[:, 0] > 1)

    def test_one_class_only(self):
        objective = fl.xgboost.objective(fl.binary_cross_entropy_with_logits)
        with pytest.raises(ValueError, match="best"):
            objective.base_score(np.ones(5))
        objective = fl.xgboost.objective(fl.cross_entropy)
        with pytest.raises(ValueError, match="no label that counts is of class 2"):
            objective.params(np.array([0.0, 1.0]), num_class=3)


class TestEstimators:
    def test_classifier(self):
        options = {"n_estimators": ROUNDS, "max_depth": 3, "n_jobs": 1, "base_score": 0.0}
        objective = fl.xgboost.objective(fl.cross_entropy)
        own = xgb.XGBClassifier(**options).fit(X, CLASSES, sample_weight=WEIGHT)
        found = xgb.XGBClassifier(objective=objective, **options)
        found.fit(X, CLASSES, sample_weight=WEIGHT)
        np.testing.assert_allclose(found.predict_proba(X), own.predict_proba(X), atol=1e-5)
        assert list(found.predict(X)) == list(own.predict(X))

    def test_binary_classifier(self):
        objective = fl.xgboost.objective(fl.binary_cross_entropy_with_logits)
        options = {"n_estimators": ROUNDS, "n_jobs": 1, "base_score": 0.4}
        own = xgb.XGBClassifier(**options).fit(X, BINARY)
        found = xgb.XGBClassifier(objective=objective, **options).fit(X, BINARY)
        np.testing.assert_allclose(found.predict_proba(X), own.predict_proba(X), atol=1e-5)

    def test_regressor_with_early_stopping_and_search(self):
        from sklearn.model_selection import GridSearchCV

        objective = fl.xgboost.objective(fl.mse)
        options = {"n_estimators": 10, "n_jobs": 1, "base_score": 0.0}
        model = xgb.XGBRegressor(
            objective=objective, eval_metric=objective.metric, early_stopping_rounds=3, **options
        )
        half = N // 2
        test = X[half:], SCORE[half:]
        model.fit(
            X[:half],
            SCORE[:half],
            eval_set=[test],
            sample_weight_eval_set=[WEIGHT[half:]],
            verbose=False,
        )
        history = model.evals_result()["validation_0"]
        error = (model.predict(test[0]) - test[1]) ** 2
        expected = np.average(error, weights=WEIGHT[half:])
        assert math.isclose(min(history["squared_error"]), expected, rel_tol=1e-5)
        search = GridSearchCV(
            xgb.XGBRegressor(objective=objective, **options), {"max_depth": [1, 3]}, cv=2
        )
        search.fit(X, SCORE)
        assert search.best_score_ > 0.3


def test_training_goes_on_from_a_saved_model(tmp_path):
    data = xgb.DMatrix(X, label=CLASSES)
    whole = xgb.train(SOFTPROB, data, 4, obj=OBJECTIVE).predict(data)
    begun = xgb.train(SOFTPROB, data, 2, obj=OBJECTIVE)
    begun.save_model(tmp_path / "model.json")
    for model in (begun, tmp_path / "model.json"):
        found = xgb.train(SOFTPROB, data, 2, obj=OBJECTIVE, xgb_model=model)
        np.testing.assert_array_equal(found.predict(data), whole)


def test_estimators_are_cloned_searched_and_pickled_with_their_objectives():
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    choices = [fl.xgboost.objective(loss) for loss in (fl.mse, fl.Huber(delta=0.1))]
    model = xgb.XGBRegressor(objective=choices[0], n_estimators=2, n_jobs=1, base_score=0.0)
    assert clone(model).objective is choices[0]
    search = GridSearchCV(model, {"objective": choices}, cv=2).fit(X, SCORE)
    assert search.best_params_ == {"objective": choices[0]}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert repr(again.objective) == repr(choices[0])


class TestBadInput:
    @pytest.mark.parametrize("label", [3.0, -1.0, 1.5])
    def test_labels_that_are_no_class(self, label):
        y = CLASSES.copy()
        y[7] = label
        message = rf"label\[7\] is {label}, but must be a whole number from 0 to 2, as XGBoost"
        with pytest.raises(ValueError, match=message):
            train(SOFTPROB, y, obj=OBJECTIVE)

    def test_labels_out_of_the_range_of_the_loss(self):
        objective = fl.xgboost.objective(fl.binary_cross_entropy_with_logits)
        with pytest.raises(ValueError, match=r"label\[0\] is 2\.0, but must lie between 0 and 1"):
            train({"base_score": 0.1}, BINARY + 2, obj=objective)

    def test_no_num_class(self):
        with pytest.raises(ValueError, match="add num_class, or objective.params"):
            train({"base_score": 0.0}, CLASSES, obj=OBJECTIVE)

    @pytest.mark.parametrize(
        ("loss", "params", "says"),
        [
            (fl.mse, SOFTPROB, "takes one prediction of each row, but XGBoost gives 3 for each"),
            (fl.mse, SOFTPROB, "leave num_class and num_target away"),
            (fl.Quantile(q=[0.1, 0.9]), {}, "takes 2 predictions .* one for .* add num_target=2"),
            (fl.GaussianNLL(), {}, "takes 2 predictions .* one for each row: add num_target=2"),
            (fl.cross_entropy, {}, "of two classes take fl.binary_cross_entropy_with_logits"),
        ],
    )
    def test_other_predictions_than_the_loss_takes(self, loss, params, says):
        with pytest.raises(ValueError, match=says):
            train({"base_score": 0.0} | params, SCORE > 0, obj=fl.xgboost.objective(loss))

    @pytest.mark.parametrize(
        ("y", "error", "says"),
        [
            (["a", "b"], TypeError, r"label has dtype <U1.* write fl.class_ids\(label\)\[0\]"),
            ([0, -1], ValueError, r"label\[1\] is -1, but must be a whole number from 0"),
            ([0, math.nan], ValueError, r"label\[1\] is nan, but must be a whole number"),
            ([0, 0], ValueError, "all labels are of class 0, .* give num_class"),
            ([], ValueError, "there are no labels"),
            (xgb.DMatrix(X), ValueError, "there are no labels"),
        ],
        ids=["strings", "negative", "nan", "one class", "none", "a DMatrix without any"],
    )
    def test_labels_of_params(self, y, error, says):
        with pytest.raises(error, match=says):
            OBJECTIVE.params(y)

    def test_labels_of_pandas(self):
        pandas = pytest.importorskip("pandas")
        expected = OBJECTIVE.params(CLASSES)
        ids = pandas.Series(CLASSES.astype(int), index=range(N, 2 * N))
        for y in (ids, ids.astype("category"), ids.to_frame()):
            assert OBJECTIVE.params(y) == expected
        named = ids.map({0: "a", 1: "b", 2: "c"})
        with pytest.raises(TypeError, match="write fl.class_ids"):
            OBJECTIVE.params(named.astype("category"))
        assert OBJECTIVE.params(fl.class_ids(named)[0]) == expected

    def test_a_set_without_labels_is_evaluated(self):
        params = SOFTPROB | {"disable_default_eval_metric": True}
        data, test = xgb.DMatrix(X, label=CLASSES), xgb.DMatrix(X)
        options = {"obj": OBJECTIVE, "custom_metric": OBJECTIVE.metric, "evals": [(test, "test")]}
        with pytest.raises(ValueError, match="100 rows and 0 labels"):
            xgb.train(params, data, 1, **options)

    def test_the_loss_in_place_of_the_objective(self):
        with pytest.raises(TypeError, match=r"train with fastloss\.xgboost\.objective\(loss\)"):
            train(SOFTPROB, CLASSES, obj=fl.cross_entropy)

    def test_class_weights_for_another_number_of_classes(self):
        objective = fl.xgboost.objective(fl.CrossEntropy(class_weight=[1.0, 2.0]))
        with pytest.raises(ValueError, match="class_weight has 2 numbers, but there are 3"):
            train(SOFTPROB, CLASSES, obj=objective)

    def test_predictions_that_are_nan(self):
        data = xgb.DMatrix(X, label=CLASSES)
        margin = np.zeros((N, 3), np.float32)
        margin[5, 1] = np.nan
        data.set_base_margin(margin)
        with pytest.raises(ValueError, match=r"prediction\[5, 1\] is nan: look for nan in the"):
            xgb.train(SOFTPROB, data, 1, obj=OBJECTIVE)

    def test_predictions_so_large_that_gradients_are_infinite(self):
        data = xgb.DMatrix(X, label=COUNTS, base_margin=np.full(N, 100.0))
        with pytest.raises(
            ValueError, match=r"gradient is inf at prediction\[0\], which is 100.*max_del"
        ):
            xgb.train(PARAMS, data, 1, obj=fl.xgboost.objective(fl.poisson))

    def test_large_gradients_are_no_error(self):
        objective = fl.xgboost.objective(fl.mse)
        grad, _ = objective(np.zeros(2), np.full(2, 1e30, np.float32))
        np.testing.assert_allclose(grad, 1e30, rtol=1e-6)

    def test_all_weights_0(self):
        with pytest.raises(ValueError, match="all weights are 0"):
            train(SOFTPROB, CLASSES, np.zeros(N), obj=OBJECTIVE)

    def test_a_weight_of_0_leaves_a_row_out(self):
        weight = np.where(np.arange(N) < 30, 0.0, 1.0)
        spoilt = np.where(weight == 0, 2.0, CLASSES)
        found = [train(SOFTPROB, y, weight, obj=OBJECTIVE) for y in (CLASSES, spoilt)]
        np.testing.assert_array_equal(*found)

    def test_labels_that_are_no_numbers(self):
        with pytest.raises(TypeError, match=r"label has dtype <U1.*fl.class_ids\(label\)"):
            OBJECTIVE.params(np.array(["a", "b"]))
        for label in (math.nan, math.inf, 1e300):
            with pytest.raises(ValueError, match=r"label\[1\] is (nan|inf|1e\+300), but must be a"):
                OBJECTIVE.params(np.array([0.0, label]))
        assert OBJECTIVE.base_score(np.zeros(3)) == [0.0]

    def test_a_hessian_that_is_infinite(self):
        preds, labels = np.full(2, 88.3, np.float32), np.ones(2)
        with pytest.raises(ValueError, match=r"the Hessian is inf at prediction\[0\]"):
            fl.xgboost.objective(fl.poisson)(labels, preds)

    @pytest.mark.parametrize(
        ("loss", "preds", "label", "weight"),
        [
            (fl.CrossEntropy(temperature=1e-20), [0.0, 0.0, 0.0], 1.0, None),
            (fl.CrossEntropy(class_weight=[1e30, 1.0, 1e-30]), [-30.0, 150.0, 79.0], 1.0, 1e10),
            (fl.BinaryFocal(gamma=100.0), -6.0, 0.0, 3e38),
        ],
        ids=str,
    )
    def test_derivatives_that_overflow_where_the_loss_is_small(self, loss, preds, label, weight):
        objective = fl.xgboost.objective(loss, hessian="majorizer")
        preds = np.array([preds], np.float32)
        weight = None if weight is None else np.array([weight], np.float32)
        with pytest.raises(ValueError, match=r"the (gradient|Hessian) is (inf|nan) at prediction"):
            objective(np.array([label]), preds, weight)

    def test_no_labels(self):
        data = xgb.DMatrix(X)
        with pytest.raises(ValueError, match="100 rows and 0 labels: XGBoost needs a label"):
            xgb.train(SOFTPROB, data, 1, obj=OBJECTIVE)

    def test_no_rows(self):
        with pytest.raises(ValueError, match="the data set has no rows"):
            OBJECTIVE(np.zeros(0), np.zeros((0, 3), np.float32))

    def test_what_is_no_loss(self):
        with pytest.raises(TypeError, match="loss must be a loss of fastloss, got str"):
            fl.xgboost.objective("mse")
