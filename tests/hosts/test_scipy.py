"""`fastloss.scipy` in SciPy's optimisers, beside closed forms and scikit-learn's models."""

import numpy as np
import pytest
from plain import partly_long, plain

pytest.importorskip("scipy", reason="needs SciPy: pip install 'fastloss[scipy]'")

from scipy import sparse
from scipy.optimize import Bounds, approx_fprime, least_squares, minimize
from scipy.special import huber

import fastloss as fl
import fastloss.scipy

pytestmark = plain

RNG = np.random.default_rng(0)
N = 60
X = RNG.standard_normal((N, 3))
SCORE = X[:, 0] - X[:, 2] + 0.5 * RNG.standard_normal(N)
CLASSES = np.digitize(SCORE, [-0.7, 0.7])
BINARY = (SCORE > 0).astype(float)
WEIGHT = RNG.uniform(0.0, 2.0, N)
SOFT = np.eye(3)[CLASSES] * 0.7 + 0.1

LOSSES = [
    (fl.mse, SCORE),
    (fl.Huber(delta=0.5, reduction="sum"), SCORE),
    (fl.poisson, np.exp(SCORE)),
    (fl.binary_cross_entropy_with_logits, BINARY),
    (fl.cross_entropy, CLASSES),
    (fl.CrossEntropy(reduction="sum", class_weight=[1.0, 2.0, 0.5]), CLASSES),
    (fl.cross_entropy, SOFT),
    (fl.mse, np.stack([SCORE, -SCORE], axis=1)),
]


@partly_long(1, "weight", [WEIGHT, None], ids=["weighted", ""])
@partly_long(1, "intercept", [True, False])
@pytest.mark.parametrize(("loss", "y"), LOSSES, ids=[f"{i}" for i in range(len(LOSSES))])
def test_derivatives(loss, y, intercept, weight):
    fun = fl.scipy.objective(loss, X, y, sample_weight=weight, l2=0.3, intercept=intercept)
    w, v = RNG.standard_normal((2, fun.x0.size)) * 0.5
    value, grad = fun(w)
    coef, start = fun.split(w)
    expected = loss(y, X @ coef.T + start, sample_weight=weight) + 0.15 * np.sum(coef**2)
    assert value == pytest.approx(expected, rel=1e-12)
    assert type(value) is float
    assert (grad.dtype, grad.shape) == (np.float64, w.shape)
    np.testing.assert_allclose(
        grad, approx_fprime(w, lambda w: fun(w)[0]), rtol=1e-4, atol=1e-5 * N
    )
    h = 1e-6
    change = (fun(w + h * v)[1] - fun(w - h * v)[1]) / (2 * h)
    np.testing.assert_allclose(fun.hessp(w, v), change, rtol=1e-5, atol=1e-6 * N)


def test_least_squares_in_closed_form():
    fun = fl.scipy.objective(fl.sse, X, SCORE, l2=2.0)
    found = minimize(fun, fun.x0, jac=True, hessp=fun.hessp, method="trust-ncg", tol=1e-9)
    ones = np.hstack([X, np.ones((N, 1))])
    penalty = np.diag([1.0, 1.0, 1.0, 0.0])  # l2 / 2 over the 2 of the square
    np.testing.assert_allclose(
        found.x, np.linalg.solve(ones.T @ ones + penalty, ones.T @ SCORE), rtol=1e-6
    )


@pytest.mark.parametrize("method", ["L-BFGS-B", "Newton-CG"])
@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (fl.CrossEntropy(reduction="sum"), CLASSES),
        (fl.BinaryCrossEntropyWithLogits(reduction="sum"), BINARY),
    ],
    ids=["multinomial", "binary"],
)
def test_logistic_regression(loss, y, method):
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = linear_model.LogisticRegression(C=0.5, tol=1e-8, max_iter=1000)
    model.fit(X, y, sample_weight=WEIGHT)
    fun = fl.scipy.objective(loss, X, y, sample_weight=WEIGHT, l2=1 / 0.5)
    hessp = {"hessp": fun.hessp} if method == "Newton-CG" else {}
    found = minimize(fun, fun.x0, jac=True, method=method, tol=1e-9, **hessp)
    coef, intercept = fun.split(found.x)
    np.testing.assert_allclose(np.atleast_2d(coef), model.coef_, atol=1e-4)
    # Of a softmax, a number that is added to all intercepts changes nothing.
    ours, theirs = (np.atleast_1d(b) for b in (intercept, model.intercept_))
    np.testing.assert_allclose(
        ours - ours.mean() * (len(ours) > 1), theirs - theirs.mean() * (len(theirs) > 1), atol=1e-4
    )
    decision = np.squeeze(model.decision_function(X))
    np.testing.assert_allclose(
        fun.predict(found.x, X) - (intercept - model.intercept_).mean(), decision, atol=1e-3
    )


def test_sparse_features():
    thin = np.where(np.abs(X) > 0.7, X, 0.0)
    w, v = RNG.standard_normal((2, 12))
    dense = fl.scipy.objective(fl.cross_entropy, thin, CLASSES)
    for kind in (sparse.csr_matrix, sparse.coo_array):
        fun = fl.scipy.objective(fl.cross_entropy, kind(thin), CLASSES)
        assert fun(w)[0] == pytest.approx(dense(w)[0], rel=1e-12)
        np.testing.assert_allclose(fun(w)[1], dense(w)[1], atol=1e-12)
        np.testing.assert_allclose(fun.hessp(w, v), dense.hessp(w, v), atol=1e-12)


@pytest.mark.parametrize("method", ["L-BFGS-B", "trust-constr"])
def test_bounds(method):
    """Coefficients that are not negative: where the slope is 0, or on the bound and outward."""
    fun = fl.scipy.objective(fl.BinaryCrossEntropyWithLogits(reduction="sum"), X, BINARY, l2=1.0)
    more = {"hessp": fun.hessp} if method == "trust-constr" else {}
    bounds = Bounds([0, 0, 0, -np.inf], np.inf)
    found = minimize(fun, fun.x0, jac=True, method=method, bounds=bounds, tol=1e-9, **more)
    slope = fun(found.x)[1]
    on_bound = found.x < 1e-4
    on_bound[-1] = False
    assert list(on_bound[:3]) == [False, False, True]
    assert abs(slope[~on_bound]).max() < 1e-3
    assert (slope[on_bound] > 0).all()


def test_several_predictions_for_one_label():
    for loss in (fl.Quantile(q=[0.1, 0.5, 0.9]), fl.GaussianNLL(log_variance=True)):
        fun = fl.scipy.objective(loss, X, SCORE)
        w = RNG.standard_normal(fun.x0.size)
        coef, intercept = fun.split(w)
        assert fun(w)[0] == pytest.approx(loss(SCORE, X @ coef.T + intercept), rel=1e-12)
    fun = fl.scipy.objective(fl.GaussianNLL(log_variance=True), np.empty((N, 0)), SCORE)
    found = minimize(fun, fun.x0, jac=True).x
    np.testing.assert_allclose(found, [SCORE.mean(), np.log(SCORE.var())], atol=1e-4)


def test_products_with_the_hessian_at_other_parameters_than_the_last():
    fun = fl.scipy.objective(fl.Fair(c=0.5), X, SCORE)
    w, v = RNG.standard_normal((2, 4))
    expected = fun.hessp(w, v)
    fun(w + 1)
    np.testing.assert_array_equal(fun.hessp(w, v), expected)


def test_one_truth_for_several_quantiles():
    fan = fl.scipy.objective(fl.Quantile(q=[0.1, 0.9]), X, SCORE)
    both = fl.scipy.objective(fl.Quantile(q=[0.1, 0.9]), X, np.stack([SCORE, SCORE], axis=1))
    w = RNG.standard_normal(fan.x0.size)
    assert fan.x0.size == 8
    assert fan(w)[0] == both(w)[0]
    np.testing.assert_array_equal(fan(w)[1], both(w)[1])


class TestRho:
    Z = np.array([0.0, 0.01, 0.5, 1.0, 4.0, 100.0])

    def test_huber_is_that_of_scipy(self):
        found = fl.scipy.rho(fl.huber)(self.Z)
        r = np.sqrt(self.Z)
        np.testing.assert_allclose(found[0], 2 * huber(1.0, r), rtol=1e-12)
        np.testing.assert_allclose(found[1], np.minimum(1, 1 / np.maximum(r, 1e-9)), rtol=1e-12)
        outside = r > 1
        np.testing.assert_allclose(found[2][outside], -0.5 * self.Z[outside] ** -1.5, rtol=1e-12)
        assert not found[2][~outside].any()

    @pytest.mark.parametrize("loss", [fl.mse, fl.log_cosh, fl.Fair(c=0.5), fl.SmoothL1(beta=0.5)])
    def test_derivatives(self, loss):
        rho = fl.scipy.rho(loss)
        z, h = np.array([0.1, 0.5, 3.0]), 1e-5
        below, found, above = rho(z - h), rho(z), rho(z + h)
        assert found.shape == (3, 3)
        np.testing.assert_allclose(found[0], 2 * np.array([loss([0.0], [x**0.5]) for x in z]))
        np.testing.assert_allclose(found[1:], (above - below)[:2] / (2 * h), rtol=1e-6, atol=1e-8)

    def test_the_cost_is_the_sum_of_the_losses(self):
        y = np.array([1.0, 1.1, 0.9, 50.0, -30.0])
        fair = fl.Fair(c=0.3, reduction="sum")
        found = least_squares(
            lambda x: x - y, [3.0], loss=fl.scipy.rho(fair), xtol=1e-12, ftol=1e-12
        )
        assert found.cost == pytest.approx(fair(y, np.broadcast_to(found.x, y.shape)), rel=1e-9)
        assert abs(fair.grad(y, np.full(5, found.x[0])).sum()) < 1e-5

    def test_a_scale_of_residuals(self):
        y = np.array([1.0, 1.1, 0.9, 50.0])
        found, theirs = (
            least_squares(lambda x: x - y, [3.0], loss=loss, f_scale=0.3).x
            for loss in (fl.scipy.rho(fl.huber), "huber")
        )
        np.testing.assert_allclose(found, theirs, rtol=1e-6)

    def test_weights_are_of_losses(self):
        """A weight of 2 is as the residual twice; one of 0 as none."""
        y = np.array([1.0, 1.1, 0.9, 50.0, 7.0])
        rho = fl.scipy.rho(fl.Huber(delta=0.5), sample_weight=[2.0, 1.0, 1.0, 1.0, 0.0])
        twice = np.array([1.0, 1.0, 1.1, 0.9, 50.0])
        found = least_squares(lambda x: x - y, [3.0], loss=rho)
        expected = least_squares(lambda x: x - twice, [3.0], loss=fl.scipy.rho(fl.Huber(delta=0.5)))
        np.testing.assert_allclose(found.x, expected.x, rtol=1e-5)
        assert found.cost == pytest.approx(expected.cost, rel=1e-9)
        with pytest.raises(ValueError, match=r"has shape \(5,\), and there are 4 residuals"):
            least_squares(lambda x: x - y[:4], [3.0], loss=rho)
        with pytest.raises(ValueError, match="sample_weight has numbers that are negative"):
            fl.scipy.rho(fl.huber, sample_weight=[1.0, -1.0])

    def test_bounds_and_other_options(self):
        y = np.array([1.0, 1.1, 0.9, 50.0])
        inside = least_squares(
            lambda x: x - y, [0.5], loss=fl.scipy.rho(fl.huber), bounds=(0.0, 1.0)
        )
        assert inside.x == pytest.approx(1.0, abs=1e-3)
        # The Hessian of an option is for boosters, and one of the loss has a number for each.
        for loss in (fl.Huber(hessian="ones"), fl.Huber(delta=[1.0] * 4)):
            np.testing.assert_array_equal(fl.scipy.rho(loss)(y), fl.scipy.rho(fl.huber)(y))

    def test_losses_that_know_the_sign(self):
        with pytest.raises(ValueError, match="takes residuals r and -r for different"):
            fl.scipy.rho(fl.Quantile(q=0.9))
        with pytest.raises(ValueError, match="takes residuals r and -r for different"):
            fl.scipy.rho(fl.msle)
        with pytest.raises(TypeError, match="a loss of residuals, as fl.huber, got CrossEntropy"):
            fl.scipy.rho(fl.cross_entropy)


class TestBadInput:
    def test_as_many_parameters_as_there_are_not(self):
        with pytest.raises(ValueError, match=r"there are 14 parameters, .* has 12: start from fun"):
            fl.scipy.objective(fl.cross_entropy, X, CLASSES)(np.zeros(14))

    def test_labels_that_are_no_numbers(self):
        with pytest.raises(TypeError, match=r"labels has dtype .*fl.class_ids\(labels\)"):
            fl.scipy.objective(fl.cross_entropy, X, CLASSES.astype(str))

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"X has shape \(60, 3\) and y has shape \(59,\)"):
            fl.scipy.objective(fl.mse, X, SCORE[1:])

    def test_class_ids(self):
        fun = fl.scipy.objective(fl.cross_entropy, X, CLASSES, n_classes=2)
        with pytest.raises(ValueError, match="class ids go from 0 to 1"):
            fun(fun.x0)
        fun = fl.scipy.objective(fl.cross_entropy, X, CLASSES.astype(float))
        with pytest.raises(TypeError, match="class ids of shape .* are integers"):
            fun(fun.x0)

    @pytest.mark.parametrize(
        ("X", "y", "options", "error", "says"),
        [
            (np.where(X[3, 1] == X, np.nan, X), SCORE, {}, ValueError, r"X\[3, 1\] is nan"),
            (X, np.where(np.arange(N) == 4, np.inf, SCORE), {}, ValueError, r"y\[4\] is inf"),
            (X[:0], SCORE[:0], {}, ValueError, "nothing to learn from: no rows"),
            (X, SCORE, {"sample_weight": np.zeros(N)}, ValueError, "or all have the weight 0"),
            (X, SCORE, {"l2": -1.0}, ValueError, "l2 must be 0 or a positive number, got -1.0"),
            (X, SCORE, {"n_classes": 3}, ValueError, "n_classes goes with class ids alone"),
            (X.astype(str), SCORE, {}, TypeError, "X has dtype <U"),
            (X + 0j, SCORE, {}, TypeError, "X has dtype complex128"),
            (sparse.csr_array(X + 0j), SCORE, {}, TypeError, "X has dtype complex128"),
        ],
        ids=["nan", "infinity", "empty", "weights", "l2", "n_classes", "str", "complex", "sparse"],
    )
    def test_what_nothing_can_be_learned_from(self, X, y, options, error, says):
        with pytest.raises(error, match=says):
            fl.scipy.objective(fl.mse, X, y, **options)

    def test_rows_that_do_not_count_may_be_nan(self):
        kept = np.arange(N) > 5
        y = np.where(kept, SCORE, np.nan)
        fun = fl.scipy.objective(fl.mse, X, y, sample_weight=kept)
        expected = fl.scipy.objective(fl.mse, X[kept], SCORE[kept])(fun.x0)[0]
        assert fun(fun.x0)[0] == pytest.approx(expected, rel=1e-12)

    def test_what_is_no_loss(self):
        with pytest.raises(TypeError, match="loss must be a loss of fastloss, got str"):
            fl.scipy.objective("mse", X, SCORE)

    def test_no_reduction(self):
        with pytest.raises(ValueError, match="is one number: build the loss with reduction"):
            fl.scipy.objective(fl.Huber(reduction="none"), X, SCORE)

    def test_no_hessian(self):
        fun = fl.scipy.objective(fl.focal, X, CLASSES)
        with pytest.raises(TypeError, match="leave hessp away"):
            fun.hessp(fun.x0, fun.x0)
