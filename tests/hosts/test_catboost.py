"""`fastloss.catboost` in CatBoost itself, beside its own objectives."""

import copy
import pickle

import numpy as np
import pytest
from plain import compiled, plain

import fastloss as fl
import fastloss.catboost

catboost = pytest.importorskip(
    "catboost", reason="needs CatBoost: pip install 'fastloss[catboost]'"
)

pytestmark = plain

RNG = np.random.default_rng(0)
N = 100
X = RNG.standard_normal((N, 3))
SCORE = X[:, 0] - 0.5 * X[:, 1] + 0.5 * RNG.standard_normal(N)
WEIGHT = RNG.uniform(0.2, 3.0, N)
BINARY = (SCORE > 0.3).astype(int)
CLASSES = np.digitize(SCORE, [-0.7, 0.7])
COUNTS = np.floor(np.exp(SCORE))
PARAMS = {
    "iterations": 4,
    "depth": 2,
    "learning_rate": 0.3,
    "leaf_estimation_method": "Newton",
    "leaf_estimation_iterations": 1,
    "bootstrap_type": "No",
    "boost_from_average": False,
    "random_seed": 0,
    "thread_count": 1,
    "verbose": False,
    "allow_writing_files": False,
}
THREE = {"classes_count": 3}

# Losses that CatBoost has, too: its name for them, and labels.
OWN = [
    ("RMSE", fl.mse, SCORE),
    ("Logloss", fl.binary_cross_entropy_with_logits, BINARY),
    ("CrossEntropy", fl.binary_cross_entropy_with_logits, BINARY * 0.8 + 0.1),
    ("Poisson", fl.poisson, COUNTS),
]


def train(loss, y, weight=None, **params):
    if isinstance(loss, str):
        params = {"loss_function": loss, **params}
    else:
        params = {"loss_function": loss, "eval_metric": loss.metric, **params}
    return catboost.CatBoost(PARAMS | params).fit(catboost.Pool(X, y, weight=weight))


def raw(model):
    return model.predict(X, prediction_type="RawFormulaVal")


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize(("name", "loss", "y"), OWN, ids=[name for name, *_ in OWN])
def test_models_equal_those_of_own_objectives(name, loss, y, weight):
    expected = raw(train(name, y, weight))
    found = raw(train(fl.catboost.objective(loss), y, weight))
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# Called for each row, plain Python takes minutes.
@compiled
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_models_of_classes_equal_those_of_the_own_objective(weight):
    expected = raw(train("MultiClass", CLASSES, weight))
    objective = fl.catboost.objective(fl.cross_entropy)
    found = raw(train(objective, CLASSES, weight, **THREE))
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    p = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(objective.proba(found), p, rtol=1e-12)


def test_second_derivatives_of_classes_are_whole():
    objective = fl.catboost.objective(fl.CrossEntropy(reduction="sum", temperature=2.0))
    logits = np.array([0.5, -1.0, 0.2])
    p = np.exp(logits / 2) / np.exp(logits / 2).sum()
    grad, hess = objective.calc_ders_multi(logits, 2.0, 3.0)
    np.testing.assert_allclose(grad, 3 * (np.eye(3)[2] - p) / 2, rtol=1e-12)
    np.testing.assert_allclose(hess, 3 * (np.outer(p, p) - np.diag(p)) / 4, rtol=1e-12)
    # Others have the diagonal alone.
    grad, hess = fl.catboost.objective(fl.focal).calc_ders_multi(logits, 2.0, 1.0)
    assert np.count_nonzero(hess) == 3
    assert (np.diag(hess) < 0).all()


@compiled
def test_early_stopping_and_the_metric():
    objective = fl.catboost.objective(fl.cross_entropy)
    half = N // 2
    parts = [
        catboost.Pool(X[rows], CLASSES[rows], weight=WEIGHT[rows])
        for rows in (slice(half), slice(half, N))
    ]
    histories = []
    for params in (
        {"loss_function": objective, "eval_metric": objective.metric, **THREE},
        {"loss_function": "MultiClass"},
    ):
        model = catboost.CatBoost(PARAMS | params | {"iterations": 40, "od_wait": 3})
        model.fit(parts[0], eval_set=parts[1])
        history = model.get_evals_result()["validation"]
        histories.append(next(iter(history.values())))
    assert len(histories[0]) == len(histories[1]) < 40
    np.testing.assert_allclose(*histories, rtol=1e-5)


def test_copies_are_the_same_and_pickles_are_of_options_alone():
    objective = fl.catboost.objective(fl.Huber(delta=0.5), hessian="ones")
    expected = raw(train(objective, SCORE))
    assert copy.deepcopy(objective) is objective
    other = pickle.loads(pickle.dumps(objective))
    assert repr(other) == repr(objective)
    np.testing.assert_array_equal(raw(train(other, SCORE)), expected)


def test_estimators_are_cloned_searched_and_pickled_with_their_objectives():
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    choices = [fl.catboost.objective(loss) for loss in (fl.mse, fl.Huber(delta=0.1))]
    metric = choices[0].metric
    model = catboost.CatBoostRegressor(**PARAMS, loss_function=choices[0], eval_metric=metric)
    assert clone(model).get_params()["loss_function"] is choices[0]
    search = GridSearchCV(model, {"loss_function": choices}, cv=2).fit(X, SCORE)
    assert search.best_params_ == {"loss_function": choices[0]}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert again.get_best_score()["learn"].keys() == {"squared_error"}


class TestSeveralTargets:
    Y = np.stack([SCORE, X[:, 2]], axis=1)
    BITS = (Y > 0.1).astype(float)
    OWN = (
        ("MultiRMSE", fl.mse, Y),
        ("MultiLogloss", fl.binary_cross_entropy_with_logits, BITS),
        ("MultiCrossEntropy", fl.binary_cross_entropy_with_logits, BITS * 0.8 + 0.1),
    )

    @pytest.mark.parametrize(
        ("name", "loss", "y", "weight"),
        [(*own, WEIGHT) for own in OWN] + [(*OWN[0], None)],
        ids=[name for name, *_ in OWN] + ["MultiRMSE without weights"],
    )
    def test_models_equal_those_of_own_objectives(self, name, loss, y, weight):
        # Called for each row, plain Python takes long.
        params = {"iterations": 2}
        expected = raw(train(name, y, weight, **params))
        objective = fl.catboost.objective(loss, multi_target=True)
        model = train(objective, y, weight, **params)
        found = raw(model)
        assert np.ptp(expected) > 0.3
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        (score,) = model.get_best_score()["learn"].values()
        assert score == pytest.approx(loss(y, found, sample_weight=weight), rel=1e-6)

    def test_columns_are_soft_labels_of_losses_of_rows(self):
        objective = fl.catboost.objective(fl.cross_entropy, multi_target=True)
        logits, soft = np.array([0.5, -1.0, 0.2]), np.array([0.2, 0.1, 0.7])
        p = np.exp(logits) / np.exp(logits).sum()
        grad, hess = objective.calc_ders_multi(logits, soft, 3.0)
        np.testing.assert_allclose(grad, 3 * (soft - p), rtol=1e-12)
        np.testing.assert_allclose(hess, 3 * (np.outer(p, p) - np.diag(p)), rtol=1e-12)
        some = slice(20)
        params = PARAMS | {"loss_function": objective, "eval_metric": objective.metric}
        model = catboost.CatBoost(params | {"iterations": 1})
        model.fit(X[some], np.eye(3)[CLASSES][some] * 0.8 + 0.2 / 3)
        assert model.predict(X).shape == (N, 3)

    def test_several_quantiles_of_one_target(self):
        objective = fl.catboost.objective(fl.Quantile(q=[0.1, 0.9]), multi_target=True)
        y = np.repeat(SCORE[:, None], 2, axis=1)
        found = raw(train(objective, y, learning_rate=8.0, iterations=1))
        assert (found[:, 0] < found[:, 1]).all()
        grad, hess = objective.calc_ders_multi([0.0, 0.0], [1.0, 1.0], 2.0)
        np.testing.assert_allclose(grad, [0.2, 1.8])
        assert np.count_nonzero(hess) == np.count_nonzero(np.diag(hess)) == 2

    def test_mean_and_variance_of_one_target(self):
        loss = fl.GaussianNLL(log_variance=True)
        objective = fl.catboost.objective(loss, multi_target=True)
        y = np.repeat(SCORE[:, None], 2, axis=1)
        model = train(objective, y, iterations=2)
        (score,) = model.get_best_score()["learn"].values()
        assert score == pytest.approx(loss(SCORE, raw(model)), rel=1e-6)
        with pytest.raises(ValueError, match="takes one target for its two predictions"):
            objective.calc_ders_multi([0.0, 0.0], [1.0, 2.0], 1.0)

    def test_one_column_alone(self):
        objective = fl.catboost.objective(fl.mse, multi_target=True)
        expected = raw(train(fl.catboost.objective(fl.mse), SCORE, iterations=1))
        found = raw(train(objective, SCORE[:, None], iterations=1))
        np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-6)

    def test_pickles_and_copies(self):
        objective = fl.catboost.objective(fl.mse, multi_target=True)
        assert copy.deepcopy(objective) is objective
        for other in (objective, objective.metric):
            again = pickle.loads(pickle.dumps(other))
            assert type(again) is type(other)
            assert repr(again) == repr(other)
        assert "multi_target=True" in repr(objective)


def test_estimators_are_cloned_and_know_their_classes():
    from sklearn.base import clone

    objective = fl.catboost.objective(fl.binary_cross_entropy_with_logits)
    params = PARAMS | {"loss_function": objective, "eval_metric": objective.metric}
    y = np.where(BINARY, "yes", "no")
    clone(catboost.CatBoostClassifier(**params))
    model = catboost.CatBoostClassifier(**params, class_names=["no", "yes"]).fit(X, y)
    assert np.mean(model.predict(X) == y) > 0.7
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], objective.proba(raw(model)))


class TestBadInput:
    def test_classes_that_catboost_was_not_told_of(self):
        with pytest.raises(ValueError, match="one for each row: give class_names"):
            fl.catboost.objective(fl.cross_entropy).calc_ders_range([0.0, 0.0], [0.0, 1.0], None)

    def test_labels_that_are_no_class(self):
        objective = fl.catboost.objective(fl.cross_entropy)
        with pytest.raises(
            ValueError, match=r"target\[0\] is 3\.0, but must be a whole number fro"
        ):
            objective.calc_ders_multi(np.zeros(3), 3.0, 1.0)

    @pytest.mark.parametrize(
        ("loss", "says"),
        [
            (fl.cross_entropy, "takes a prediction for each class, .* give class_names"),
            (fl.Quantile(q=[0.1, 0.9]), "takes 2 predictions .* multi_target=True, and give targ"),
        ],
        ids=["classes", "quantiles"],
    )
    def test_one_prediction_for_losses_of_several(self, loss, says):
        with pytest.raises(catboost.CatBoostError, match=says):
            train(fl.catboost.objective(loss), BINARY)

    def test_several_predictions_for_a_loss_of_one(self):
        objective = fl.catboost.objective(fl.binary_cross_entropy_with_logits)
        with pytest.raises(ValueError, match="takes one prediction .* leave classes_count away"):
            objective.calc_ders_multi(np.zeros(3), 1.0, 1.0)

    def test_errors_come_through(self):
        objective = fl.catboost.objective(fl.binary_cross_entropy_with_logits)
        with pytest.raises(catboost.CatBoostError, match=r"target\[0\] is [23]\.0, but must lie"):
            train(objective, BINARY + 2.0)

    def test_predictions_that_are_nan(self):
        objective = fl.catboost.objective(fl.mse)
        with pytest.raises(ValueError, match=r"prediction\[1\] is nan"):
            objective.calc_ders_range(np.array([0.0, np.nan]), np.zeros(2, np.float32), None)
