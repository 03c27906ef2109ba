"""The option `hessian`: the words of each loss, and that a majorizer lies above the loss."""

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from plain import both, compiled, partly_long, plain, plain_python
from registry import CASES, ELEMENTWISE, INFINITE, LINKED, assert_same

import fastloss as fl
from fastloss.catalogue import entries

pytestmark = plain

WORDS = [(entry.name, word) for entry in entries() for word in entry.hessians]


def having(word: str, cases: Any) -> list[Any]:
    return [case for case in cases if word in case.loss.hessians]


def per_sample(loss: fl.Loss, **options: Any) -> Any:
    return dataclasses.replace(loss, reduction="none", **options)


# ---------------------------------------------------------------------------------------------
# All of them


@pytest.mark.parametrize(("name", "word"), WORDS)
def test_every_word_leaves_the_gradient_as_it_is(name, word):
    exact, loss = getattr(fl, name)(), getattr(fl, name)(hessian=word)
    y_true, y_pred = exact._family.examples(np.random.default_rng(0))
    y_true, y_pred = y_true[:8], y_pred[:8].astype(np.float32)
    value, grad = loss.value_and_grad(y_true, y_pred)
    assert_same(value, exact.value_and_grad(y_true, y_pred)[0])
    also_grad, hess = loss.grad_hess(y_true, y_pred)
    assert_same(also_grad, exact.grad_hess(y_true, y_pred)[0])
    assert_same(also_grad, grad)
    assert hess.dtype == np.float32
    assert (repr(loss) == f"{name}()") == (word == "exact")
    if word in ("ones", "majorizer"):
        assert np.all(hess[grad != 0] > 0)


@compiled
@partly_long(
    3,
    "loss, width",
    [
        (fl.cross_entropy, 3),
        (fl.cross_entropy, 130),
        (fl.focal, 3),
        (fl.focal, 130),
        *((fl.CrossEntropy(label_smoothing=0.1), width) for width in (3, 130)),
        *((fl.CrossEntropy(z_loss=0.1), width) for width in (3, 130)),
    ],
)
def test_the_gradient_has_the_same_bits_with_and_without_a_hessian(loss, width):
    """Compiled code, too, though LLVM may contract what is computed for both in another way."""
    rng = np.random.default_rng(0)
    logits = (4 * rng.normal(size=(200, width))).astype(np.float32)
    labels = rng.integers(0, width, 200)
    grad = loss.grad(labels, logits)
    assert_same(loss.value_and_grad(labels, logits)[1], grad)
    assert_same(loss.grad_hess(labels, logits)[0], grad)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ones_are_the_weights(case):
    y_true, y_pred = case.data(np.float64)
    shape = y_pred.shape[:-1] if case.rowwise else y_pred.shape
    weight = np.random.default_rng(1).integers(0, 4, shape) / 2
    loss = dataclasses.replace(case.loss, hessian="ones")
    of_labels: Any = np.ones(y_pred.shape)
    if isinstance(loss, fl.CategoricalCrossEntropy):  # where the loss depends on the prediction
        soft = y_true.shape == y_pred.shape
        of_labels = y_true != 0 if soft else y_true[:, None] == np.arange(5)
    if isinstance(loss, fl.MultiMargin) and loss.class_weight:
        of_labels = np.append(loss.class_weight, 0)[np.maximum(y_true, -1)][:, None]
    if isinstance(loss, fl.CrossEntropy):
        of_labels = _mass(loss, y_true, y_pred)
    per_row = weight.reshape(*shape, *[1] * (y_pred.ndim - weight.ndim))
    expected = of_labels * per_row * np.ones(y_pred.shape)
    _, hess = per_sample(loss).grad_hess(y_true, y_pred, sample_weight=weight)
    np.testing.assert_allclose(hess, expected, rtol=1e-14)
    _, hess = loss.grad_hess(y_true, y_pred, sample_weight=weight, normalizer=2.5)
    np.testing.assert_allclose(hess, expected / 2.5, rtol=1e-14)


def _mass(loss: Any, y_true: Any, y_pred: Any) -> Any:
    """T, of each row: what its labels weigh."""
    c = y_pred.shape[-1]
    hard = y_true.ndim < y_pred.ndim
    labels = (y_true[..., None] == np.arange(c)).astype(float) if hard else y_true
    smoothed = (1 - loss.label_smoothing) * labels + loss.label_smoothing / c
    weight = np.ones(c) if loss.class_weight is None else np.array(loss.class_weight)
    mass = (smoothed * weight).sum(-1)
    return (mass * (y_true != loss.ignore_index) if hard else mass)[..., None]


def test_value_and_gradient_share_their_kernels():
    y_true, y_pred = np.zeros(3, int), np.zeros((3, 4))
    for exact, other in (
        (fl.mae, fl.AbsoluteError(hessian="majorizer")),
        (fl.cross_entropy, fl.CrossEntropy(hessian="lightgbm")),
        (fl.multi_margin, fl.MultiMargin(hessian="ones")),
    ):
        labels = y_true if isinstance(exact, fl.RowwiseLoss) else y_pred
        keys = []
        for loss in (exact, other):
            for verb in (loss, loss.value_and_grad, loss.grad_hess):
                verb(labels, y_pred)
            plans = loss._family.plans.values()
            keys.append({plan.form: plan.kernel.key for plan in plans})
        for form, key in keys[0].items():
            assert (key == keys[1][form]) == (not form.with_hess)


# ---------------------------------------------------------------------------------------------
# Formulas


def _logistic(loss: Any, y: Any, x: Any) -> Any:
    smooth = loss.label_smoothing
    y = (1 - smooth) * y + smooth / 2
    return loss.pos_weight * y + 1 - y


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _kinked(size: Any) -> Any:
    return np.where(size == 0, 0, 1 / np.maximum(size, 2.0**-15))


# By loss and word, from loss, labels, predictions, gradient and exact Hessian.
FORMULAS: dict[tuple[str, str], Callable[..., Any]] = {
    ("SquaredError", "majorizer"): lambda loss, y, x, g, h: 2,
    ("SquaredError", "xgboost"): lambda loss, y, x, g, h: 2,
    ("SquaredError", "lightgbm"): lambda loss, y, x, g, h: 2,
    ("AbsoluteError", "majorizer"): lambda loss, y, x, g, h: _kinked(abs(x - y)),
    ("AbsoluteError", "xgboost"): lambda loss, y, x, g, h: 1,
    ("AbsoluteError", "lightgbm"): lambda loss, y, x, g, h: 1,
    ("Huber", "majorizer"): lambda loss, y, x, g, h: np.minimum(1, loss.delta / abs(x - y)),
    ("Huber", "lightgbm"): lambda loss, y, x, g, h: 1,
    ("SmoothL1", "majorizer"): lambda loss, y, x, g, h: np.minimum(
        1 / loss.beta if loss.beta else np.inf, _kinked(abs(x - y))
    ),
    ("LogCosh", "majorizer"): lambda loss, y, x, g, h: np.tanh(x - y) / (x - y),
    ("Quantile", "majorizer"): lambda loss, y, x, g, h: _kinked(abs(x - y)) / 2,
    ("Quantile", "xgboost"): lambda loss, y, x, g, h: 1,
    ("Quantile", "lightgbm"): lambda loss, y, x, g, h: 1,
    ("SquaredLogError", "majorizer"): lambda loss, y, x, g, h: np.maximum(h, g / (x - y)),
    ("SquaredLogError", "xgboost"): lambda loss, y, x, g, h: np.maximum(h, 2e-6),
    ("AbsolutePercentageError", "majorizer"): lambda loss, y, x, g, h: abs(g) / abs(x - y),
    ("AbsolutePercentageError", "lightgbm"): lambda loss, y, x, g, h: 1,
    ("Fair", "majorizer"): lambda loss, y, x, g, h: 1 / (1 + abs(x - y) / loss.c),
    ("Fair", "lightgbm"): lambda loss, y, x, g, h: 1 / (1 + abs(x - y) / loss.c) ** 2,
    ("Poisson", "majorizer"): lambda loss, y, x, g, h: (
        np.maximum(np.exp(x), y) if loss.log_input else np.maximum(y / x**2, 1 / x)
    ),
    ("Poisson", "xgboost"): lambda loss, y, x, g, h: np.exp(x + 0.7),
    ("Poisson", "lightgbm"): lambda loss, y, x, g, h: np.exp(x + 0.7),
    ("Gamma", "majorizer"): lambda loss, y, x, g, h: np.maximum(
        h, 1 if loss.log_input else 1 / x**2
    ),
    ("Gamma", "xgboost"): lambda loss, y, x, g, h: y * np.exp(-x),
    ("Gamma", "lightgbm"): lambda loss, y, x, g, h: y * np.exp(-x),
    ("Tweedie", "majorizer"): lambda loss, y, x, g, h: np.maximum(
        h, y ** (2 - loss.power) if loss.log_input else x**-loss.power
    ),
    ("Tweedie", "xgboost"): lambda loss, y, x, g, h: h,
    ("Tweedie", "lightgbm"): lambda loss, y, x, g, h: h,
    ("BinaryCrossEntropy", "majorizer"): lambda loss, y, x, g, h: np.where(
        (g == 0) & (x != y), 0, np.maximum(h, np.where(x == y, 0, g / (x - y)))
    ),
    ("BinaryCrossEntropyWithLogits", "majorizer"): lambda loss, y, x, g, h: (
        _logistic(loss, y, x) * np.tanh(x / 2) / (2 * x)
    ),
    ("BinaryCrossEntropyWithLogits", "xgboost"): lambda loss, y, x, g, h: (
        _logistic(loss, y, x) * np.maximum(_sigmoid(x) * _sigmoid(-x), 1e-16)
    ),
    ("BinaryCrossEntropyWithLogits", "lightgbm"): lambda loss, y, x, g, h: (
        _logistic(loss, y, x) * _sigmoid(x) * _sigmoid(-x)
    ),
    ("BinaryFocal", "majorizer"): lambda loss, y, x, g, h: (
        (y + 1 - y if loss.alpha is None else loss.alpha * y + (1 - loss.alpha) * (1 - y))
        * (1 + 1.25 * np.log1p(loss.gamma))
        / 4
    ),
    ("Hinge", "majorizer"): lambda loss, y, x, g, h: (
        (2 * y - 1) ** 2 / 2 * _kinked(abs(1 - (2 * y - 1) * x))
    ),
    ("Hinge", "xgboost"): lambda loss, y, x, g, h: np.where((2 * y - 1) * x < 1, 1, 2.0**-126),
    ("SquaredHinge", "majorizer"): lambda loss, y, x, g, h: 2 * (2 * y - 1) ** 2,
    ("Exponential", "majorizer"): lambda loss, y, x, g, h: h,
}
OF_WORDS = [
    pytest.param(case, word, id=f"{case}-{word}")
    for case in ELEMENTWISE
    for word in case.loss.hessians
]


@pytest.mark.parametrize(("case", "word"), OF_WORDS)
def test_formula(case, word):
    y_true, y_pred = case.data(np.float64, (40,))
    loss = per_sample(case.loss, hessian=word)
    grad, exact = per_sample(case.loss).grad_hess(y_true, y_pred)
    formula = FORMULAS[type(loss).__name__, word]
    expected = formula(loss, y_true, y_pred, grad, exact) + 0 * y_pred
    np.testing.assert_allclose(loss.grad_hess(y_true, y_pred)[1], expected, rtol=1e-12)


def test_every_word_of_elements_has_a_formula():
    known = {type(case.loss).__name__ for case in ELEMENTWISE}
    words = {pair for pair in WORDS if pair[0] in known and pair[1] not in ("exact", "ones")}
    assert words == set(FORMULAS)


def test_at_the_truth_and_at_kinks():
    zero = [0.0]
    for loss, expected in (
        (fl.AbsoluteError, 0.0),
        (fl.Quantile, 0.0),
        (fl.AbsolutePercentageError, 0.0),
        (fl.Huber, 1.0),
        (fl.SmoothL1, 1.0),
        (fl.LogCosh, 1.0),
        (fl.Fair, 1.0),
        (fl.SquaredLogError, 2.0),
    ):
        assert loss(hessian="majorizer").grad_hess(zero, zero)[1] == [expected]
    logits = fl.BinaryCrossEntropyWithLogits(hessian="majorizer")
    assert logits.grad_hess(zero, zero)[1] == [0.25]
    assert fl.Hinge(hessian="majorizer").grad_hess([1.0], [1.0])[1] == [0.0]
    assert fl.BinaryCrossEntropy(hessian="majorizer").grad_hess([0.5], [0.5])[1] == [4.0]


def test_next_to_a_kink_it_is_finite_in_every_dtype():
    for dtype in (np.float16, np.float32, np.float64):
        tiny = np.array([np.finfo(dtype).smallest_subnormal], dtype)
        for loss, least in (
            (fl.AbsoluteError(hessian="majorizer"), 2.0**15),
            (fl.SmoothL1(beta=0, hessian="majorizer"), 2.0**15),
            (fl.Quantile(hessian="majorizer"), 2.0**14),
        ):
            grad, hess = loss.grad_hess(0 * tiny, tiny)
            assert grad > 0
            assert hess == [least]


# ---------------------------------------------------------------------------------------------
# Parabolas

# Of these the parabola lies above the loss everywhere.
EVERYWHERE = {
    *("SquaredError", "AbsoluteError", "Huber", "SmoothL1", "LogCosh", "Quantile", "Fair"),
    *("AbsolutePercentageError", "BinaryCrossEntropyWithLogits", "BinaryFocal", "Hinge"),
    "SquaredHinge",
}
MAJORIZED = having("majorizer", ELEMENTWISE)


@pytest.mark.parametrize("case", MAJORIZED, ids=str)
def test_a_parabola_lies_above_the_loss(case):
    """From the prediction to where the slope has changed its sign; or everywhere."""
    y_true, y_pred = case.data(np.float64, (1, 25))
    loss = per_sample(case.loss, hessian="majorizer")
    start, (grad, hess) = loss(y_true, y_pred), loss.grad_hess(y_true, y_pred)
    everywhere = type(loss).__name__ in EVERYWHERE
    steps = np.geomspace(1e-3, 20, 20)[:, None]
    steps = np.concatenate([steps, -steps]) if everywhere else -steps * np.sign(grad)
    there = y_pred + steps
    low, high = loss.y_pred_range
    inside = (there >= low) & (there <= high)
    there = np.where(inside, there, y_pred)
    loss_there, grad_there = loss.value_and_grad(y_true + 0 * there, there)
    inside &= everywhere | (grad_there * grad >= 0)
    moved = there - y_pred
    above = start + grad * moved + hess / 2 * moved**2
    rounding = 1e-12 * (abs(start) + abs(grad * moved) + hess * moved**2) + 1e-15
    assert np.all((loss_there <= above + rounding)[inside])


@pytest.mark.parametrize("gamma", [0.25, 1, 3, 7.5, 40, 1e3, 1e6])
def test_no_curvature_of_a_focal_loss_is_larger(gamma):
    x = np.linspace(-25, 60, 1500) if gamma < 1e3 else np.linspace(-60, 5, 1500)
    _, exact = fl.BinaryFocal(gamma=gamma, reduction="sum").grad_hess(np.ones(x.size), x)
    bound = fl.BinaryFocal(gamma=gamma, reduction="sum", hessian="majorizer")
    largest = bound.grad_hess([1.0], [0.0])[1][0]
    assert exact.max() <= largest <= 1.29 * exact.max()


SOFTMAXES = [
    *LINKED,
    fl.cross_entropy,
    fl.CrossEntropy(z_loss=0.2, temperature=0.5),
    fl.CrossEntropy(softcap=2.0, label_smoothing=0.25),
]


@partly_long(5, "loss", SOFTMAXES, ids=repr)
def test_the_whole_hessian_of_a_row_lies_below_the_diagonal(loss):
    loss = dataclasses.replace(loss, reduction="sum", hessian="majorizer")
    rng = np.random.default_rng(0)
    for _ in range(10):
        label, x = rng.integers(0, 3, 1), rng.normal(scale=3.0, size=(1, 5))
        moves = 1e-5 * np.eye(5)
        ahead = loss.grad(np.repeat(label, 5), x + moves)
        whole = (ahead - loss.grad(np.repeat(label, 5), x - moves)) / 2e-5
        diagonal = loss.grad_hess(label, x)[1][0]
        assert np.linalg.eigvalsh(np.diag(diagonal) - (whole + whole.T) / 2).min() > -1e-8


@pytest.mark.parametrize("dtype", INFINITE)
def test_floors_are_above_0_in_every_dtype(dtype):
    """Be it rounded up to the least number that is."""
    logits = np.array([[1e4, 0.0, 1.0], [-1e4, 300.0, -300.0]], dtype)
    for c in (3, 200):  # short rows and long ones
        x = np.concatenate([logits, np.full((2, c - 3), -1e4, dtype)], axis=1)
        for floor in (5e-324, 1e-16, 1e-3):
            loss = fl.CrossEntropy(hessian_floor=floor, reduction="sum")
            hess = loss.grad_hess([1, 2], x)[1]
            least = max(floor, float(ml_dtypes.finfo(dtype).smallest_subnormal))
            np.testing.assert_array_equal(hess.min(), np.float64(least).astype(dtype))
        for word in ("majorizer", "xgboost", "xgboost_residual"):
            assert np.all(fl.CrossEntropy(hessian=word).grad_hess([1, 2], x)[1] > 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_majorizers_of_sure_and_wrong_logits_are_positive(dtype):
    logits = np.array([[1e4, 0.0, 1.0], [-1e4, 300.0, -300.0]], dtype)
    losses: list[Any] = [fl.KLDivergence(from_logits=True, hessian="majorizer")]
    losses += [own(hessian="majorizer") for own in {fl.CrossEntropy, *map(type, LINKED)}]
    for loss in losses:
        labels = logits[:, ::-1] if isinstance(loss, fl.KLDivergence) else np.array([1, 2])
        assert np.all(loss.grad_hess(labels, logits)[1] > 0)


@pytest.mark.parametrize("loss", [fl.KLDivergence(from_logits=True), fl.MultiMargin(p=2)], ids=repr)
def test_a_paraboloid_lies_above_the_loss_of_a_row(loss):
    loss = per_sample(loss, hessian="majorizer")
    rng = np.random.default_rng(0)
    x, moved = rng.normal(size=(2, 50, 4)) * 2
    # Of divergences it is that of the whole Hessian, at the place alone.
    moved *= 1e-3 if isinstance(loss, fl.KLDivergence) else 1
    labels = rng.normal(size=(50, 4))
    if isinstance(loss, fl.MultiMargin):
        labels = rng.integers(0, 4, 50)
    grad, hess = loss.grad_hess(labels, x)
    above = loss(labels, x) + (grad * moved).sum(-1) + (hess * moved**2).sum(-1) / 2
    assert np.all(loss(labels, x + moved) <= above + 1e-9 * abs(above))


def test_variances_of_a_normal_distribution():
    y, mean = np.array([0.0, 0.0, 0.0]), np.array([0.0, 1.0, 3.0])
    for log_variance in (False, True):
        loss = fl.GaussianNLL(log_variance=log_variance, reduction="sum", hessian="majorizer")
        w = np.array([0.5, 2.0, 0.25])
        v = np.exp(w) if log_variance else w
        _, hess = loss.grad_hess(y, np.stack([mean, w], axis=-1))
        r2 = mean**2
        by_w = r2 / v / 2 if log_variance else (r2 / v - 0.5) / v**2
        expected = np.maximum(by_w, 0.5 if log_variance else 0.5 / v**2)
        np.testing.assert_allclose(hess, np.stack([1 / v, expected], axis=-1), rtol=1e-13)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_steps_of_one_leaf_go_down_to_the_quantile(q):
    """Where the exact Hessian is 0, as boosting libraries sum over the rows of a leaf."""
    y = np.random.default_rng(0).normal(size=99)
    loss = fl.Quantile(q=q, reduction="sum", hessian="majorizer")
    x, last = 5.0, np.inf
    for _ in range(60):
        grad, hess = loss.grad_hess(y, np.full(99, x))
        x -= grad.sum() / hess.sum()
        now = loss(y, np.full(99, x))
        assert now <= last + 99 * 2.0**-15  # as close to a kink it is no parabola of a majorizer
        last = now
    assert x == pytest.approx(np.quantile(y, q, method="inverted_cdf"), abs=1e-2)


# ---------------------------------------------------------------------------------------------
# Words


def test_words_that_a_loss_does_not_have():
    for loss, word, known in (
        (fl.LogCosh, "lightgbm", '"exact", "ones", "majorizer"'),
        (fl.JensenShannon, "majorizer", '"exact", "ones"'),
        (fl.CrossEntropy, "one", '"exact", "ones", "majorizer", "xgboost", "xgboost_residual"'),
        (fl.Focal, "xgboost", '"exact", "ones", "majorizer"'),
        (fl.SquaredError, None, '"exact", "ones", "majorizer", "xgboost", "lightgbm"'),
    ):
        with pytest.raises(ValueError, match=f"for {loss.__name__} must be one of {known}") as e:
            loss(hessian=word)
        assert f"hessian is {word!r}" in str(e.value)
        assert loss(hessian="ones").hessian == "ones"
    for loss in (fl.Poisson, fl.Gamma):
        with pytest.raises(ValueError, match="hessian is \"?'?xgboost"):
            loss(log_input=False, hessian="xgboost")
    with pytest.raises(ValueError, match="hessian"):
        fl.MultiMargin(hessian="majorizer")


@dataclasses.dataclass(frozen=True)
class Cauchy(fl.ElementwiseLoss):
    scale: float = 1.0

    def _majorizer(self, y_true, y_pred, results):
        r = (y_pred - y_true) / self.scale
        return 2 / (self.scale * self.scale * (1 + r * r))

    hessians = {"majorizer": _majorizer}  # noqa: RUF012

    def scalar(self, y_true, y_pred):
        r = (y_pred - y_true) / self.scale
        return np.log1p(r * r), 2 * r / (self.scale * (1 + r * r))


def test_losses_of_users():
    y, x = np.zeros(3), np.array([0.0, 1.0, -4.0])
    with pytest.raises(TypeError, match='build the loss with hessian="ones"'):
        Cauchy().grad_hess(y, x)
    grad, ones = Cauchy(reduction="sum", hessian="ones").grad_hess(y, x)
    np.testing.assert_array_equal(ones, np.ones(3))
    np.testing.assert_allclose(grad, 2 * x / (1 + x * x))
    loss = Cauchy(scale=[2.0, 1.0, 0.5], reduction="sum", hessian="majorizer")
    grad, hess = loss.grad_hess(y[None], x[None])
    scale = np.array([2.0, 1.0, 0.5])
    np.testing.assert_allclose(hess, [2 / scale**2 / (1 + (x / scale) ** 2)])
    loss.check_gradient()


def test_one_element_has_the_same():
    assert Cauchy(hessian="ones").jit().scalar(0.0, 1.0)[1:] == (1.0, 1.0)
    assert len(Cauchy().jit().scalar(0.0, 1.0)) == 2
    assert fl.Huber(hessian="majorizer").jit().scalar(0.0, 4.0) == (3.5, 1.0, 0.25)


def test_products_are_those_of_the_exact_hessian():
    rng = np.random.default_rng(0)
    labels, x, v = rng.integers(0, 4, 6), *rng.normal(size=(2, 6, 4))
    expected = fl.cross_entropy.hvp(labels, x, v)
    for word in fl.CrossEntropy.hessians:
        assert_same(fl.CrossEntropy(hessian=word).hvp(labels, x, v), expected)


# ---------------------------------------------------------------------------------------------
# Compiled

COMPILED = [
    fl.Quantile(q=[0.1, 0.5, 0.75, 0.9], hessian="majorizer"),
    fl.Focal(hessian="majorizer"),
    fl.MultiMargin(p=2, hessian="majorizer"),
    fl.CrossEntropy(hessian="ones", temperature=2.0),
    fl.CategoricalCrossEntropy(hessian="ones"),
    *(case.loss for case in MAJORIZED if case.loss == type(case.loss)()),
]


@both("loss", (), compiled=COMPILED[:1], long=COMPILED[1:])
def test_compiled(loss):
    loss = dataclasses.replace(loss, hessian="majorizer") if loss.hessian == "exact" else loss
    y_true, y_pred = loss._family.examples(np.random.default_rng(0))
    y_true, y_pred = y_true[:40], y_pred[:40]
    found = loss.grad_hess(y_true, y_pred)
    with plain_python():
        expected = loss.grad_hess(y_true, y_pred)
    for result, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(result, other, rtol=1e-13)
