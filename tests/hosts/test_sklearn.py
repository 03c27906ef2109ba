"""`fastloss.sklearn` beside scikit-learn's own metrics, and within its searches."""

import math
import pickle

import numpy as np
import pytest
from plain import partly_long, plain

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'fastloss[sklearn]'")

import sklearn
from sklearn import metrics
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import fastloss as fl
import fastloss.sklearn

pytestmark = plain

RNG = np.random.default_rng(0)
N = 120
X = RNG.standard_normal((N, 3))
SCORE = X[:, 0] + RNG.standard_normal(N)
THREE = np.array(["low", "middle", "top"])[np.digitize(SCORE, [-0.5, 0.8])]
WEIGHT = RNG.uniform(0.0, 2.0, N)
BINARY = {
    "strings": np.where(SCORE > 0, "yes", "no"),
    "signs": np.where(SCORE > 0, 1, -1),
    "booleans": SCORE > 0,
    "bits": (SCORE > 0).astype(int),
}


@partly_long(1, "weight", [WEIGHT, None], ids=["weighted", ""])
@pytest.mark.parametrize("y", BINARY.values(), ids=BINARY)
def test_log_loss_of_two_classes(y, weight):
    model = LogisticRegression().fit(X, y)
    p = model.predict_proba(X)
    expected = metrics.log_loss(y, p, sample_weight=weight)
    found = [
        fl.sklearn.log_loss(y, model.decision_function(X), sample_weight=weight),
        fl.sklearn.log_loss(y, p, proba=True, sample_weight=weight),
        fl.sklearn.log_loss(y, p[:, 1], proba=True, sample_weight=weight),
        fl.sklearn.metric(fl.binary_cross_entropy_with_logits)(
            y, model.decision_function(X), sample_weight=weight
        ),
        fl.sklearn.metric(fl.binary_cross_entropy)(y, p, sample_weight=weight),
        -fl.sklearn.scorer(fl.cross_entropy)(model, X, y, sample_weight=weight),
        -fl.sklearn.scorer(fl.binary_cross_entropy_with_logits)(model, X, y, sample_weight=weight),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@partly_long(1, "weight", [WEIGHT, None], ids=["weighted", ""])
def test_log_loss_of_several_classes(weight):
    model = LogisticRegression().fit(X, THREE)
    p, scores = model.predict_proba(X), model.decision_function(X)
    expected = metrics.log_loss(THREE, p, sample_weight=weight)
    found = [
        fl.sklearn.log_loss(THREE, scores, sample_weight=weight),
        fl.sklearn.log_loss(THREE, p, proba=True, sample_weight=weight),
        -fl.sklearn.scorer(fl.cross_entropy)(model, X, THREE, sample_weight=weight),
        -fl.sklearn.scorer(fl.categorical_cross_entropy)(model, X, THREE, sample_weight=weight),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_nothing_is_clipped():
    y, scores = np.array([0, 1]), np.array([-100.0, 200.0])
    assert fl.sklearn.log_loss(y, scores) == pytest.approx(math.exp(-100) / 2, rel=1e-12)
    assert fl.sklearn.log_loss(y, -scores) == 150.0
    assert fl.sklearn.log_loss(y, [1.0, 1.0], proba=True) == math.inf
    # As scikit-learn has it, for comparison.
    assert metrics.log_loss(y, [1.0, 1.0]) == pytest.approx(18, abs=1)


@pytest.mark.parametrize(
    "model",
    [
        LinearDiscriminantAnalysis(),
        GaussianNB(),  # has no decision function
        RandomForestClassifier(5, min_samples_leaf=10, random_state=0),
        SGDClassifier(loss="log_loss", random_state=0),  # one against the others: no softmax
    ],
    ids=lambda model: type(model).__name__,
)
def test_scores_are_of_the_probabilities_that_the_estimator_gives(model):
    model.fit(X, THREE)
    p = model.predict_proba(X)
    expected = -metrics.log_loss(THREE, p)
    assert fl.sklearn.scorer(fl.cross_entropy)(model, X, THREE) == pytest.approx(expected, rel=1e-9)


def test_scores_of_decision_functions_alone():
    model = LinearSVC().fit(X, BINARY["strings"])
    expected = -metrics.hinge_loss(BINARY["signs"], model.decision_function(X))
    found = fl.sklearn.scorer(fl.hinge)(model, X, BINARY["strings"])
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (fl.mse, "neg_mean_squared_error"),
        (fl.mae, "neg_mean_absolute_error"),
        (fl.Tweedie(power=1.5), None),
    ],
    ids=["mse", "mae", "other"],
)
def test_regression(loss, expected):
    scorer = fl.sklearn.scorer(loss)
    found = cross_val_score(Ridge(), X, np.abs(SCORE), scoring=scorer, cv=3)
    if expected is None:
        assert np.isfinite(found).all()
    else:
        theirs = cross_val_score(Ridge(), X, np.abs(SCORE), scoring=expected, cv=3)
        np.testing.assert_allclose(found, theirs, rtol=1e-12)


def test_classes_are_those_of_the_estimator():
    """Also where a part of the data lacks some."""
    model = LogisticRegression().fit(X, THREE)
    some = THREE != "middle"
    found = fl.sklearn.scorer(fl.cross_entropy)(model, X[some], THREE[some])
    p = model.predict_proba(X[some])
    expected = metrics.log_loss(THREE[some], p, labels=model.classes_)
    assert -found == pytest.approx(expected, rel=1e-12)
    named = fl.sklearn.log_loss(
        THREE[some], model.decision_function(X[some]), labels=["top", "low", "middle"]
    )
    assert named == pytest.approx(expected, rel=1e-12)


def test_searches():
    scorer = fl.sklearn.scorer(fl.cross_entropy)
    grid = {"C": [0.001, 1.0]}
    ours, theirs = (
        GridSearchCV(LogisticRegression(), grid, scoring=scoring, cv=3).fit(X, THREE)
        for scoring in (scorer, "neg_log_loss")
    )
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-10
    )


@pytest.mark.parametrize("y", [THREE, BINARY["strings"]], ids=["three", "two"])
def test_hist_gradient_boosting_stops_early_by_it(y):
    ours, theirs = (
        HistGradientBoostingClassifier(
            scoring=scoring, early_stopping=True, max_iter=2, random_state=0
        ).fit(X, y, sample_weight=WEIGHT)
        for scoring in (fl.sklearn.scorer(fl.cross_entropy), "neg_log_loss")
    )
    np.testing.assert_allclose(ours.validation_score_, theirs.validation_score_, rtol=1e-9)
    np.testing.assert_allclose(ours.train_score_, theirs.train_score_, rtol=1e-9)


def test_decision_functions_are_scored_where_predictions_are_known_already():
    """As within HistGradientBoosting: what is asked of some rows is answered for all."""
    signs = np.where(np.arange(40) % 2 == 0, -1.0, 1.0)

    class Known:
        classes_ = np.array([-1, 1])

        def decision_function(self, X):
            return 800 * signs

        def predict_proba(self, X):
            return np.stack([signs < 0, signs > 0], axis=1).astype(float)

    scorer = fl.sklearn.scorer(fl.cross_entropy)
    assert scorer(Known(), np.zeros((40, 1)), signs) == 0.0
    assert scorer(Known(), np.zeros((40, 1)), -signs) == -1600.0 / 2


@partly_long(
    1,
    "model",
    [
        OneVsRestClassifier(LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=2),
        CalibratedClassifierCV(LinearSVC(), cv=2),
        VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_meta_estimators(model):
    ours, theirs = (
        cross_val_score(model, X, THREE, scoring=scoring, cv=2)
        for scoring in (fl.sklearn.scorer(fl.cross_entropy), "neg_log_loss")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_others_that_score():
    ours, theirs = (
        RidgeCV([0.1, 10.0], scoring=scoring).fit(X, SCORE).best_score_
        for scoring in (fl.sklearn.scorer(fl.mse), "neg_mean_squared_error")
    )
    assert ours == pytest.approx(theirs, rel=1e-9)
    model, options = LogisticRegression().fit(X, THREE), {"n_repeats": 1, "random_state": 0}
    ours, theirs = (
        permutation_importance(
            model, X, THREE, scoring=scoring, sample_weight=WEIGHT, **options
        ).importances_mean
        for scoring in (fl.sklearn.scorer(fl.cross_entropy), "neg_log_loss")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_weights_of_searches():
    """Those that are fitted are scored, too, by one scorer and by several."""
    several = {"ours": fl.sklearn.scorer(fl.cross_entropy), "theirs": "neg_log_loss"}
    grid = {"C": [0.1, 1.0]}
    found = GridSearchCV(LogisticRegression(), grid, scoring=several, refit="ours", cv=3)
    scores = found.fit(X, THREE, sample_weight=WEIGHT).cv_results_
    np.testing.assert_allclose(scores["mean_test_ours"], scores["mean_test_theirs"], rtol=1e-9)


class TestMetadata:
    @pytest.fixture(autouse=True)
    def routing(self):
        with sklearn.config_context(enable_metadata_routing=True):
            yield

    @staticmethod
    def scores(scoring, params):
        model = LogisticRegression().set_fit_request(sample_weight=True)
        return cross_val_score(model, X, THREE, scoring=scoring, cv=3, params=params)

    @pytest.mark.parametrize("request_", [True, False])
    def test_weights_are_asked_for(self, request_):
        ours = fl.sklearn.scorer(fl.cross_entropy)
        theirs = metrics.get_scorer("neg_log_loss")
        for scorer in (ours, theirs):
            assert scorer.set_score_request(sample_weight=request_) is scorer
        params = {"sample_weight": WEIGHT}
        np.testing.assert_allclose(
            self.scores(ours, params), self.scores(theirs, params), rtol=1e-9
        )

    def test_by_another_name(self):
        """Metadata of a name of its own reaches the scorer alone."""
        scorer = fl.sklearn.scorer(fl.cross_entropy).set_score_request(sample_weight="cost")
        model = LogisticRegression().set_fit_request(sample_weight=False)
        found = cross_val_score(model, X, THREE, scoring=scorer, cv=3, params={"cost": WEIGHT})
        theirs = metrics.get_scorer("neg_log_loss").set_score_request(sample_weight="cost")
        expected = cross_val_score(model, X, THREE, scoring=theirs, cv=3, params={"cost": WEIGHT})
        np.testing.assert_allclose(found, expected, rtol=1e-9)

    def test_weights_that_nobody_asked_for(self):
        """As with scikit-learn's own scorers, and not left out without a word."""
        with pytest.raises(UnsetMetadataPassedError, match="not explicitly set as requested"):
            self.scores(fl.sklearn.scorer(fl.cross_entropy), {"sample_weight": WEIGHT})

    def test_searches(self):
        scorer = fl.sklearn.scorer(fl.cross_entropy).set_score_request(sample_weight=True)
        model = LogisticRegression().set_fit_request(sample_weight=True)
        several = {"a": scorer, "b": scorer}
        search = GridSearchCV(model, {"C": [1.0]}, scoring=several, refit="a", cv=3)
        search.fit(X, THREE, sample_weight=WEIGHT)
        expected = self.scores(scorer, {"sample_weight": WEIGHT})
        assert search.best_score_ == pytest.approx(np.mean(expected), rel=1e-9)
        assert pickle.loads(pickle.dumps(scorer)) == scorer


def test_make_scorer():
    for metric, response in (
        (fl.sklearn.log_loss, "decision_function"),
        (fl.sklearn.metric(fl.cross_entropy), "decision_function"),
    ):
        scorer = metrics.make_scorer(metric, response_method=response, greater_is_better=False)
        found = cross_val_score(LogisticRegression(), X, THREE, scoring=scorer, cv=3)
        theirs = cross_val_score(LogisticRegression(), X, THREE, scoring="neg_log_loss", cv=3)
        np.testing.assert_allclose(found, theirs, rtol=1e-10)
        assert metric.__name__ in repr(scorer)


def test_names_and_pickles():
    scorer = fl.sklearn.scorer(fl.Huber(delta=2.0))
    assert scorer.__name__ == "neg_huber"
    assert fl.sklearn.metric(fl.GaussianNLL()).__name__ == "gaussian_nll"
    assert pickle.loads(pickle.dumps(scorer)) == scorer
    assert repr(scorer) == "Scorer(loss=Huber(delta=2.0))"


def test_labels_of_several_columns_are_as_the_loss_takes_them():
    p, q = RNG.dirichlet(np.ones(3), (2, 7))
    for loss, y, score in (
        (fl.kl_divergence, p, q),
        (fl.dice, p.round(), q),
        (fl.cross_entropy, p, q),
        (fl.binary_cross_entropy_with_logits, p.round(), q),
    ):
        assert fl.sklearn.metric(loss)(y, score) == loss(y, score)
        assert fl.sklearn.metric(loss)(y.tolist(), score.tolist()) == loss(y, score)


def test_sure_rows_say_nothing_of_the_rule():
    """Of these any rule makes 0 and 1, and others come later."""
    model = SGDClassifier(loss="modified_huber", random_state=0).fit(X, BINARY["bits"])
    rows = np.argsort(-abs(model.decision_function(X)))
    far = np.concatenate([1e3 * X[rows[:50]], X[rows]])
    y = model.predict(far)
    p = model.predict_proba(far)
    expected = -metrics.log_loss(y, p)
    assert fl.sklearn.scorer(fl.cross_entropy)(model, far, y) == pytest.approx(expected, rel=1e-9)


def test_features_of_any_kind():
    from scipy import sparse

    model = LogisticRegression().fit(X, THREE)
    expected = fl.sklearn.scorer(fl.cross_entropy)(model, X, THREE)
    for kind in (sparse.coo_matrix, sparse.csr_array, np.ndarray.tolist):
        found = fl.sklearn.scorer(fl.cross_entropy)(model, kind(X), THREE.tolist())
        assert found == pytest.approx(expected)


class TestBadInput:
    def test_what_makes_no_score(self):
        for make in (fl.sklearn.scorer, fl.sklearn.metric):
            with pytest.raises(ValueError, match="a score is one number, and CrossEntropy"):
                make(fl.CrossEntropy(reduction="none"))
        with pytest.raises(
            ValueError, match=r"y has shape \(2, 2\), but scorers are for one label"
        ):
            fl.sklearn.scorer(fl.cross_entropy)(None, None, np.eye(2))

    def test_a_class_that_nobody_knows(self):
        model = LogisticRegression().fit(X, THREE)
        y = THREE.copy()
        y[4] = "bottom"
        with pytest.raises(ValueError, match=r"y\[4\] is 'bottom', which is none of the 3 cl"):
            fl.sklearn.scorer(fl.cross_entropy)(model, X, y)

    def test_classes_that_do_not_occur(self):
        message = r"y_score is of 3 classes, but the labels are of 2, \['a', 'b'\]: name all of"
        with pytest.raises(ValueError, match=message):
            fl.sklearn.log_loss(["a", "b"], np.zeros((2, 3)))

    def test_one_class_only(self):
        with pytest.raises(ValueError, match=r"of 2 classes, but the labels are of 1, \[1\]"):
            fl.sklearn.log_loss([1, 1], [0.5, 2.0])
        assert fl.sklearn.log_loss([1, 1], [800.0, 800.0], labels=[0, 1]) == 0.0

    def test_a_binary_loss_of_three_classes(self):
        with pytest.raises(ValueError, match="BinaryCrossEntropyWithLogits tells two classes apar"):
            fl.sklearn.metric(fl.binary_cross_entropy_with_logits)([0, 1, 2], np.zeros((3, 3)))

    def test_an_estimator_without_classes(self):
        with pytest.raises(TypeError, match="Ridge has no classes_: score a classifier"):
            fl.sklearn.scorer(fl.cross_entropy)(Ridge().fit(X, SCORE), X, SCORE)

    def test_what_is_no_loss(self):
        for function in (fl.sklearn.scorer, fl.sklearn.metric):
            with pytest.raises(TypeError, match="loss must be a loss of fastloss, got str"):
                function("mse")

    def test_weights_of_0(self):
        with pytest.warns(RuntimeWarning, match="mean of no samples"):
            assert math.isnan(fl.sklearn.log_loss([0, 1], [0.0, 0.0], sample_weight=[0.0, 0.0]))

    def test_nan_stays_nan(self):
        assert math.isnan(fl.sklearn.log_loss([0, 1], [0.0, math.nan]))
