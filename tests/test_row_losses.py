"""Losses of whole rows: hand values, identities, digits that formulas lose, and odd inputs."""

import itertools
import math

import numpy as np
import pytest
from plain import both, compiled, partly_long, plain
from registry import EXACT, ROWS, one_hot_of

import fastloss as fl

pytestmark = plain

INF, NAN = math.inf, math.nan
U = 2.0**-24
KL = fl.KLDivergence(reduction="none")
KL_LOGITS = fl.KLDivergence(from_logits=True, reduction="none")
JS = fl.JensenShannon(reduction="none")
JS_LOGITS = fl.JensenShannon(from_logits=True, reduction="none")
COSINE = fl.CosineDistance(reduction="none")
BY_NAME = {case.name: case for case in ROWS}


def losses_and_grad(loss, y_true, y_pred):
    """Of a loss without reduction, by the kernels that other tests use too."""
    return loss(y_true, y_pred), loss.grad(y_true, y_pred)


def softmax(x):
    exps = np.exp(x - x.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


def distributions(shape=(20, 7), seed=0):
    p, q = softmax(np.random.default_rng(seed).normal(size=(2, *shape)))
    return p, q


# ---------------------------------------------------------------------------------------------
# Hand values and identities


def test_hand_values():
    ln2 = math.log(2)
    assert fl.kl_divergence([[1.0, 0.0]], [[0.5, 0.5]]) == pytest.approx(ln2, rel=1e-15)
    assert fl.KLDivergence(log_target=True)([[0.0, -INF]], [[0.5, 0.5]]) == pytest.approx(ln2)
    assert fl.jensen_shannon([[1.0, 0.0]], [[0.0, 1.0]]) == pytest.approx(ln2, rel=1e-15)
    assert fl.multi_margin([3], [[0.1, 0.2, 0.4, 0.8]]) == pytest.approx(0.325, rel=1e-15)
    assert fl.MultiMargin(p=2)([0], [[0.0, 1.0, -2.0]]) == pytest.approx(4 / 3, rel=1e-15)
    assert fl.dice([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]) == pytest.approx(0.25, rel=1e-15)
    assert fl.tversky([[1.0, 0.0]], [[0.5, 0.5]]) == pytest.approx(0.25, rel=1e-15)
    assert fl.cosine_distance([[1.0, 0.0]], [[0.0, 3.0]]) == pytest.approx(1.0, rel=1e-15)
    assert fl.cosine_distance([[1.0, 2.0]], [[-2.0, -4.0]]) == pytest.approx(2.0, rel=1e-15)
    nll = fl.GaussianNLL(full=True)([0.0], [[1.0, 4.0]])
    assert nll == pytest.approx(0.5 * (math.log(8 * math.pi) + 0.25), rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_distributions_have_no_divergence(dtype):
    p, _ = distributions()
    p, logits = p.astype(dtype), np.log(p).astype(dtype)
    assert not KL(p, p).any()
    assert not JS(p, p).any()
    for loss in (KL_LOGITS, JS_LOGITS):
        losses, grad = losses_and_grad(loss, logits, logits)
        assert not losses.any()
        assert not grad.any()


def test_probabilities_and_logits_agree():
    p, q = distributions()
    for loss, of_logits in ((KL, KL_LOGITS), (JS, JS_LOGITS)):
        np.testing.assert_allclose(of_logits(np.log(p), np.log(q)), loss(p, q), rtol=1e-12)
    log_target = fl.KLDivergence(log_target=True, reduction="none")
    np.testing.assert_allclose(log_target(np.log(p), q), KL(p, q), rtol=1e-12)


def test_jensen_shannon_is_symmetric_and_made_of_kullback_leibler():
    p, q = distributions()
    np.testing.assert_allclose(JS(p, q), JS(q, p), rtol=1e-15)
    m = (p + q) / 2
    np.testing.assert_allclose(JS(p, q), (KL(p, m) + KL(q, m)) / 2, rtol=1e-12)
    assert np.all(JS(p, q) <= math.log(2))


def test_kullback_leibler_and_cross_entropy_have_the_same_gradient():
    p, q = distributions()
    expected = fl.cross_entropy.grad(p, np.log(q))
    np.testing.assert_allclose(
        fl.KLDivergence(from_logits=True).grad(np.log(p), np.log(q)), expected, rtol=1e-10
    )


@pytest.mark.parametrize("from_logits", [False, True])
def test_dice_is_tversky_with_a_half_for_both(from_logits):
    t, p = BY_NAME["dice"].data(np.float64)
    dice = fl.Dice(smooth=0.5, from_logits=from_logits)
    tversky = fl.Tversky(smooth=0.25, from_logits=from_logits)
    value, grad = dice.value_and_grad(t, p)
    same_value, same_grad = tversky.value_and_grad(t, p)
    assert value == same_value
    np.testing.assert_array_equal(grad, same_grad)
    p = 1 / (1 + np.exp(-p)) if from_logits else p
    textbook = 1 - (2 * (t * p).sum(-1) + 0.5) / ((t + p).sum(-1) + 0.5)
    assert value == pytest.approx(textbook.mean())


def test_multi_margin_of_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(3)
    x, ids, w = rng.normal(size=(9, 4)), rng.integers(0, 4, 9), np.array([0.5, 1, 2, 4])
    for p, margin in ((1, 1.0), (2, 0.5)):
        loss = fl.MultiMargin(p=p, margin=margin, class_weight=w, reduction="none")
        theirs = functional.multi_margin_loss(
            torch.tensor(x), torch.tensor(ids), p, margin, torch.tensor(w), reduction="none"
        )
        np.testing.assert_allclose(loss(ids, x), theirs.numpy(), rtol=1e-14)


# ---------------------------------------------------------------------------------------------
# Digits


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-6])
def test_divergence_of_nearly_equal_distributions(distance):
    """In float32, where p log(p / q) loses everything; the truth is that of the rounded data."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(8, 50)).astype(np.float32)
    b = (a + distance * rng.normal(size=a.shape)).astype(np.float32)
    for shift in (0, 2**12):
        # Of logits far from 0, small differences are rounded: they are what is given.
        near, far = a + np.float32(shift), b + np.float32(shift)
        p, q = (EXACT.softmax(EXACT.numbers(x))[0] for x in (near, far))
        log_ratio = EXACT.log(p) - EXACT.log(q)
        truth = (p * log_ratio).sum(axis=-1)
        m = (p + q) / 2
        truth_js = (p * EXACT.log(p / m) + q * EXACT.log(q / m)).sum(axis=-1) / 2
        for loss, exact in ((KL_LOGITS, truth), (JS_LOGITS, truth_js)):
            error = abs(EXACT.numbers(loss(near, far)) - exact)
            assert np.all(error <= (20 * U * exact + 1e-45))
    p, q = softmax(a), softmax(b)
    exact_p, exact_q = EXACT.numbers(p), EXACT.numbers(q)
    m = (exact_p + exact_q) / 2
    truth = (exact_p * EXACT.log(exact_p / exact_q)).sum(axis=-1)
    size = abs(truth) + abs((exact_p - exact_q).sum(axis=-1))
    assert np.all(abs(EXACT.numbers(KL(p, q)) - truth) <= 16 * U * size)
    truth = (exact_p * EXACT.log(exact_p / m) + exact_q * EXACT.log(exact_q / m)).sum(-1) / 2
    assert np.all(abs(EXACT.numbers(JS(p, q)) - truth) <= 12 * U * truth)


def units_off(results, terms, dtype):
    """The largest relative errors of gradients and Hessians."""
    true = terms.grad, terms.hess
    off = [abs(EXACT.numbers(found) - t) / abs(t) for found, t in zip(results, true, strict=True)]
    return [float(each.max()) / (np.finfo(dtype).eps / 2) for each in off]


@pytest.mark.parametrize("name", ["kl_logits", "js_logits"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_confident_rows_of_logits_keep_the_digits_of_their_derivatives(name, dtype):
    """1 - q has none where q is nearly 1: the other classes have it."""
    case = BY_NAME[name]
    a = [[20, 0, -5], [3, 1, -5], [12, 0, -1], [0, 1, 2]]
    b = [[21, 1, -3], [25, 1, -3], [-1, 9, 2], [1, 30, 1]]
    a, b = (np.array(x, dtype) for x in (a, b))
    found = case.loss.__class__(from_logits=True, reduction="sum").grad_hess(a, b)
    terms = case.reference(EXACT, case.loss, a, b)
    likely = np.eye(3, dtype=bool)[b.argmax(axis=-1)]
    parts = [x[likely] for x in found]
    terms = terms._replace(grad=terms.grad[likely], hess=terms.hess[likely])
    # Exponentials of gaps up to 33 in each of several factors: 8 + gap, and one or two more.
    assert max(units_off(parts, terms, dtype)) < 2 * (8 + 33)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_variances_near_the_square_keep_the_digits_of_their_derivatives(share, dtype):
    """1 - r^2 / v is 0 for the gradient, and r^2 / v - 1/2 for the Hessian."""
    rng = np.random.default_rng(3)
    y, mean = rng.normal(size=(2, 60)).astype(dtype)
    near = 1 + rng.choice([-1, 1], 60) * 2.0 ** -np.arange(60)
    variance = ((mean.astype(np.float64) - y) ** 2 / share * near).astype(dtype)
    y, y_pred = y[1:], np.stack([mean, variance], axis=-1)[1:]
    terms = BY_NAME["gaussian"].reference(EXACT, fl.gaussian_nll, y, y_pred)
    # At most seven roundings: a logarithm is in none of them.
    found = fl.GaussianNLL(reduction="sum").grad_hess(y, y_pred)
    assert max(units_off(found, terms, dtype)) < 7


@pytest.mark.parametrize("loss", [KL_LOGITS, JS_LOGITS], ids=repr)
def test_shifted_logits_give_the_same(loss):
    """Multiples of 1/8 stay what they are."""
    a, b = np.random.default_rng(2).integers(-40, 40, (2, 9, 6)).astype(np.float32) / 8
    expected = losses_and_grad(loss, a, b)
    for shift_a, shift_b in ((1e6, 1e6), (-1e6, 0), (0, 1e6)):
        shifted = a + np.float32(shift_a), b + np.float32(shift_b)
        for result, same in zip(losses_and_grad(loss, *shifted), expected, strict=True):
            np.testing.assert_array_equal(result, same)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosine_distance_of_nearly_parallel_and_of_large_and_small_vectors(dtype):
    a = np.array([3.0, 4.0, 12.0], dtype)
    b = np.nextafter(a, np.array([0, 9, 99], dtype))
    exact_a, exact_b = EXACT.numbers(a), EXACT.numbers(b)
    squares = (exact_a * exact_a).sum() * (exact_b * exact_b).sum()
    truth = float(1 - (exact_a * exact_b).sum() / EXACT.sqrt(squares))
    if dtype is np.float32:  # in float64 the unit vectors are rounded
        assert COSINE([a], [b])[0] == pytest.approx(truth, rel=1e-3)
    info = np.finfo(dtype)
    far = np.array([1.0, -2.0, 0.5], dtype)
    expected, slope = losses_and_grad(COSINE, [a], [far])
    for scale in (info.max / 16, info.smallest_normal * 16):
        scale = dtype(2.0 ** round(math.log2(float(scale))))
        np.testing.assert_allclose(COSINE([a * scale], [far * scale]), expected, rtol=1e-6)
    for scale in (dtype(2.0**40), dtype(2.0**-40)):
        grad = COSINE.grad([a], [far * scale])
        np.testing.assert_allclose(grad * scale, slope, rtol=1e-6)


def test_overlap_of_a_nearly_perfect_prediction():
    t, x = np.array([[1.0, 1.0, 0.0]], np.float32), np.array([[30.0, 25.0, -28.0]], np.float32)
    wrong = 1 / (1 + np.exp(np.array([30.0, 25.0, 28.0])))
    expected = wrong.sum() / (4 - wrong[0] - wrong[1] + wrong[2] + 1)
    assert fl.Dice(from_logits=True)(t, x) == pytest.approx(expected, rel=1e-6)


@partly_long(2, "name", ["kl_logits", "cosine", "kl", "js_logits", "tversky_logits"])
@pytest.mark.parametrize("width", [1, 15, 17, 513, 5000])
def test_rows_of_all_lengths(name, width):
    """The same for a row in float64 and in the other precision, whole vectors or not."""
    case = BY_NAME[name]
    y_true, y_pred = case.data(np.float32, (3, width))
    loss = case.reduced("sum")
    losses, grad = loss.value_and_grad(y_true, y_pred)
    exact, exact_grad = loss.value_and_grad(y_true.astype(float), y_pred.astype(float))
    np.testing.assert_allclose(losses, exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grad, exact_grad, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------
# Zeros, infinities, NaN


def test_probabilities_of_zero():
    losses, grad = losses_and_grad(KL, [[0.0, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]])
    assert losses.tolist() == [0.0, INF]
    assert grad.tolist() == [[0.0, -1.0], [-INF, -0.5]]
    losses, grad = losses_and_grad(JS, [[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(losses, [0.0, math.log(2)], rtol=1e-15)
    np.testing.assert_allclose(grad[0], [math.log(2) / 2, 0.0])
    assert grad[1, 0] == -INF
    for loss in (KL, JS):
        hess = loss.grad_hess([[0.0, 1.0]], [[0.0, 1.0]])[1]
        assert hess[0, 0] == 0


def test_masked_and_infinite_logits():
    a = np.array([[0.0, -INF, 1.0], [0.0, -INF, 1.0], [0.0, 1.0, 2.0], [INF, 0.0, 0.0]])
    b = np.array([[1.0, -INF, 0.0], [1.0, 2.0, 0.0], [0.0, -INF, 2.0], [INF, 5.0, -INF]])
    p, q = softmax(a[:3]), softmax(b[:3])
    losses, grad = losses_and_grad(KL_LOGITS, a, b)
    for r in range(2):
        some = p[r] > 0
        expected = (p[r][some] * np.log(p[r][some] / q[r][some])).sum()
        assert losses[r] == pytest.approx(expected, rel=1e-14)
    assert losses[2:].tolist() == [INF, 0.0]
    np.testing.assert_allclose(grad[:3], q - p, rtol=1e-12, atol=1e-16)
    assert not grad[3].any()
    losses, grad = losses_and_grad(JS_LOGITS, a, b)
    np.testing.assert_allclose(losses[:3], JS(p, q), rtol=1e-12)
    assert losses[3] == 0
    assert np.all(np.isfinite(grad))


@pytest.mark.parametrize("loss", [KL_LOGITS, JS_LOGITS], ids=repr)
def test_rows_without_a_softmax(loss):
    for row in ([-INF, -INF, -INF], [INF, INF, 0.0], [0.0, NAN, 1.0]):
        for y_true, y_pred in (([row], [[0.0, 1.0, 2.0]]), ([[0.0, 1.0, 2.0]], [row])):
            losses, grad = losses_and_grad(loss, y_true, y_pred)
            assert np.isnan(losses).all()
            assert np.isnan(grad).all()


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_nan_makes_its_row_nan(case):
    y_true, y_pred = case.data()
    if y_true.dtype.kind == "i":
        y_true[:] = 3
    before, before_grad = losses_and_grad(case.reduced("none"), y_true, y_pred)
    y_pred[2, 1] = NAN
    losses, grad = losses_and_grad(case.reduced("none"), y_true, y_pred)
    assert np.isnan(losses[2])
    assert np.isnan(grad[2]).all()
    others = np.arange(len(y_pred)) != 2
    np.testing.assert_array_equal(losses[others], before[others])
    np.testing.assert_array_equal(grad[others], before_grad[others])


def test_scores_that_are_infinite():
    loss = fl.MultiMargin(reduction="none")
    scores = [[0.0, -INF, 0.5], [INF, 0.0, 0.0], [0.0, INF, 0.0], [-INF, 0.0, -INF], [INF, INF, 0]]
    losses, grad = losses_and_grad(loss, [0] * 5, scores)
    np.testing.assert_array_equal(losses, [0.5, 0.0, INF, INF, NAN])
    third = 1 / 3
    np.testing.assert_allclose(grad[0], [-third, 0, third])
    assert not grad[1].any()
    np.testing.assert_allclose(grad[2], [-2 * third, third, third])
    assert np.isnan(grad[4]).all()
    assert loss([0], [[3.0]])[0] == 0


def test_nothing_to_find_and_nothing_found():
    for loss in (fl.Dice(smooth=0), fl.Tversky(smooth=0), fl.Tversky(smooth=0, alpha=0, beta=0)):
        assert loss([[0.0, 0.0]], [[0.0, 0.0]]) == 0.0
        assert not np.any(loss.grad_hess([[0.0, 0.0]], [[0.0, 0.0]]))


def test_vectors_without_a_direction():
    losses, grad = losses_and_grad(
        COSINE,
        [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [INF, 1.0], [INF, INF], [0.0, 0.0]],
        [[1.0, 2.0], [0.0, 0.0], [1.0, -INF], [2.0, 0.0], [1.0, 0.0], [NAN, 1.0]],
    )
    np.testing.assert_allclose(losses, [1.0, 1.0, 1 + math.sqrt(0.5), 0.0, NAN, NAN], rtol=1e-15)
    assert not grad[:4].any()
    assert np.isnan(grad[4:]).all()


def test_limits_of_the_normal_distribution():
    loss = fl.GaussianNLL(reduction="none", log_variance=True)
    losses, grad = loss.value_and_grad([0.0] * 4, [[1, -INF], [0, -INF], [1, INF], [INF, 0]])
    np.testing.assert_array_equal(losses, [INF, -INF, INF, INF])
    np.testing.assert_array_equal(grad, [[INF, -INF], [0, 0.5], [0, 0.5], [INF, -INF]])
    losses, grad = fl.GaussianNLL(reduction="none").value_and_grad([0.0], [[1, INF]])
    assert losses[0] == INF
    assert not grad.any()


# ---------------------------------------------------------------------------------------------
# Errors


@both(
    "bad, n",
    itertools.product([0.0, -0.5, -INF, -0.0], [7]),
    long=itertools.product([0.0, -0.5, -INF, -0.0], [100_000]),
)
def test_variances_that_are_not_positive(bad, n):
    y_pred = np.ones((n, 2), np.float32)
    y_pred[:, 0] = -3
    y_pred[5, 1] = bad
    out = np.full_like(y_pred, 7)
    message = rf"y_pred\[5, 1\] is {bad}, but is a variance, .* log_variance=True"
    with pytest.raises(ValueError, match=message):
        fl.gaussian_nll.value_and_grad(np.zeros(n), y_pred, out=out)
    assert np.all(out == 7)
    assert math.isfinite(fl.GaussianNLL(log_variance=True)(np.zeros(n), np.ones((n, 2))))


def test_a_sample_of_the_normal_distribution_has_two_predictions():
    for shape in ((4,), (4, 1), (4, 3), (2, 4), (3, 2)):
        with pytest.raises(ValueError, match=r"expected \(4, 2\), .* write np.stack"):
            fl.gaussian_nll(np.zeros(4), np.ones(shape))
    y_pred = np.ones((2, 3, 2), np.float16)
    assert fl.GaussianNLL(reduction="none")(np.zeros((2, 3), np.uint8), y_pred).shape == (2, 3)
    with pytest.raises(ValueError, match="sample_weight .* pair of mean and variance"):
        fl.gaussian_nll(np.zeros(4), np.ones((4, 2)), sample_weight=np.ones((4, 2)))


def test_labels_of_the_wrong_kind():
    x = np.full((3, 4), 0.25)
    with pytest.raises(ValueError, match=r"class ids of shape \(3,\): write np.argmax"):
        fl.multi_margin(one_hot_of([0, 1, 2], 4), x)
    with pytest.raises(TypeError, match="class ids of shape .* are integers"):
        fl.multi_margin([0.0, 1.0, 2.0], x)
    for loss in (fl.kl_divergence, fl.jensen_shannon, fl.dice, fl.cosine_distance):
        with pytest.raises(ValueError, match=r"y_true has shape \(3,\) and y_pred has shape"):
            loss([0, 1, 2], x)
        with pytest.raises(ValueError, match="zero classes"):
            loss(np.empty((3, 0)), np.empty((3, 0)))


def test_numbers_that_are_no_probabilities():
    good, bad = [[0.5, 0.5]], [[0.5, 1.5]]
    for loss in (fl.kl_divergence, fl.jensen_shannon, fl.dice):
        with pytest.raises(ValueError, match=r"y_true\[0, 1\] is 1.5"):
            loss.grad(bad, good)
        with pytest.raises(ValueError, match=r"y_pred\[0, 1\] is 1.5"):
            loss.grad(good, bad)
    for loss in (fl.KLDivergence(from_logits=True), fl.JensenShannon(from_logits=True)):
        assert np.isfinite(loss.grad(bad, bad)).all()
    assert np.isfinite(fl.KLDivergence(log_target=True).grad(bad, good)).all()
    with pytest.raises(ValueError, match=r"y_true\[0, 1\] is 1.5"):
        fl.Dice(from_logits=True).grad(bad, bad)


@pytest.mark.parametrize(
    ("make", "error", "option"),
    [
        (lambda: fl.MultiMargin(p=3), ValueError, "p"),
        (lambda: fl.MultiMargin(p=1.0), TypeError, "p"),
        (lambda: fl.MultiMargin(margin=INF), ValueError, "margin"),
        (lambda: fl.MultiMargin(class_weight=[-1]), ValueError, "class_weight"),
        (lambda: fl.MultiMargin(class_weight=[1])([0], [[0.0, 1.0]]), ValueError, "class_weight"),
        (lambda: fl.KLDivergence(from_logits=1), TypeError, "from_logits"),
        (lambda: fl.KLDivergence(True, True), ValueError, "log_target"),
        (lambda: fl.Dice(smooth=-1), ValueError, "smooth"),
        (lambda: fl.Tversky(alpha=NAN), ValueError, "alpha"),
        (lambda: fl.GaussianNLL(full="yes"), TypeError, "full"),
    ],
)
def test_bad_options(make, error, option):
    with pytest.raises(error, match=option):
        make()


@compiled
@pytest.mark.long
def test_memory_of_a_row_in_place_and_streamed():
    """Long rows are written in parts, and a large gradient past the caches."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 3_000_001)).astype(np.float32)
    loss, grad = KL_LOGITS.value_and_grad(a, b)
    small = KL_LOGITS.value_and_grad(a[1:2].copy(), b[1:2].copy())
    np.testing.assert_array_equal(small[0], loss[1:2])
    np.testing.assert_array_equal(small[1], grad[1:2])
    assert KL_LOGITS.grad(a, b, out=b) is b
    np.testing.assert_array_equal(b, grad)
