"""The accuracy contract, number by number, against mpmath and exact sums.

`u` is the largest relative error of one rounding to float32. A float32 loss may be off by
(8 + gap) u, gap being the largest |x_j - max x| that matters.
"""

import itertools
import math

import ml_dtypes
import mpmath
import numpy as np
import pytest
from plain import both, partly_long, plain
from registry import (
    BFLOAT16,
    EXACT,
    LOGITS,
    NARROW,
    PLAIN,
    SMALLEST,
    SOFTMAX,
    SOFTMAX_SOFT,
    SQUARED,
    name_of,
    one_hot_of,
)

import fastloss as fl

U = 2.0**-24
SMALLEST_NORMAL = 2.0**-126
NONE = fl.CrossEntropy(reduction="none")


def exact_row(row, label=0):
    """Loss, softmax and gradient of a row of logits, by the textbook formulas in 400 digits."""
    x = EXACT.numbers(row)
    p, _ = EXACT.softmax(x)
    return EXACT.log_sum_exp_less(x)[label], p - one_hot_of(label, len(row)).astype(int)


def relative_error(actual, truth):
    """The largest |actual - truth| / |truth|; a truth of 0 must be met exactly."""
    actual, truth = np.atleast_1d(EXACT.numbers(actual)), np.atleast_1d(truth)
    off = [
        0 if a == t else abs(a - t) / abs(t) if t != 0 else mpmath.inf
        for a, t in zip(actual.ravel(), truth.ravel(), strict=True)
    ]
    return float(max(off))


# ---------------------------------------------------------------------------------------------
# Confident rows: what a subtraction from log-sum-exp loses altogether


@pytest.mark.parametrize(
    ("row", "gap"),
    [
        ([20, 0, -5], 25),
        ([100, 90, 80], 20),
        ([80, 0, 0], 80),
        ([0, -87, -87.25], 87.25),
        ([1e6, 1e6 - 12, 0], 12),
        ([16, 0.25, 0.25], 15.75),
    ],
    ids=str,
)
@both("as_soft", [True], compiled=[False], long=[True])
def test_tiny_losses_keep_their_digits(row, gap, as_soft):
    """Loss and gradient; classes that are further than `gap` away do not matter in float32."""
    row = np.array(row, np.float32)
    loss, gradient = exact_row(row)
    labels = one_hot_of([0], 3, np.float32) if as_soft else [0]
    assert 0 < loss < 1e-4
    losses, grad = NONE.value_and_grad(labels, row[None])
    assert losses.dtype == np.float32
    assert relative_error(losses[0], loss) <= (8 + gap) * U
    matters = np.array([abs(g) >= SMALLEST_NORMAL for g in gradient])
    assert matters[0]
    assert relative_error(grad[0][matters], gradient[matters]) <= (10 + gap) * U
    # A gradient at the label of p - 1 would be 0 or a multiple of 2**-24 here.
    assert grad[0, 0] != 0
    # The mean of many such rows.
    mean = fl.cross_entropy(np.zeros(1000, int), np.tile(row, (1000, 1)))
    assert relative_error(mean, loss) <= (9 + gap) * U


@pytest.mark.long
def test_tiny_losses_in_float64():
    for row in ([20.0, 0.0, -5.0], [700.0, 0.0, 0.0], [1e15, 1e15 - 300, 1.0]):
        loss, gradient = exact_row(row)
        losses, grad = NONE.value_and_grad([0], [row])
        assert relative_error(losses[0], loss) <= (8 + 700) * 2.0**-53
        assert relative_error(grad[0, :2], gradient[:2]) <= (10 + 700) * 2.0**-53


@plain
@pytest.mark.parametrize("n_classes", [2, 3, 200])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("options", [{}, {"softcap": 40.0}, {"temperature": 0.5}], ids=str)
def test_the_product_with_the_hessian_of_a_confident_row(n_classes, label, options):
    """Of the likeliest class v_j - (sum of p_k v_k) has no digits where p_j is nearly 1."""
    x = np.full((1, n_classes), -5, np.float32)
    x[0, :2] = 0, 20
    v = np.random.default_rng(n_classes).random((1, n_classes)).astype(np.float32)
    found = fl.CrossEntropy(reduction="sum", **options).hvp([label], x, v)[0, 1]
    logits, slope, bend = EXACT.numbers(x), 1, 0
    if cap := options.get("softcap"):
        tanh = EXACT.tanh(logits / cap)
        logits, slope, bend = cap * tanh, 1 - tanh**2, -2 * tanh * (1 - tanh**2) / cap
    temperature = options.get("temperature", 1.0)
    p, _ = EXACT.softmax(logits / temperature)
    w = EXACT.numbers(v) * slope
    truth = p * (w - (p * w).sum()) * slope / temperature**2
    truth = truth + (p - one_hot_of([label], n_classes)) * EXACT.numbers(v) * bend
    gap = float(logits.max() - logits.min()) / temperature
    assert relative_error(found, truth[0, 1]) <= 4 * (8 + gap) * U


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.1, 1.0, 5.0, 20.0, 80.0, 1e3, 1e6, 1e30])
def test_relative_error_of_random_rows(scale):
    """Hard labels at the largest, the smallest and any logit; 3 and 40 classes."""
    rng = np.random.default_rng(int(math.log10(scale) * 100) + 1000)
    for n_classes, n_rows in ((2, 60), (3, 60), (40, 30)):
        x = (rng.normal(size=(n_rows, n_classes)) * scale).astype(np.float32)
        ids = rng.integers(0, n_classes, n_rows)
        ids[::3] = x[::3].argmax(axis=1)
        ids[1::3] = x[1::3].argmin(axis=1)
        losses, grad = NONE.value_and_grad(ids, x)
        for r in range(n_rows):
            loss, gradient = exact_row(x[r], ids[r])
            # Terms below exp(-104) are 0 in float32 and cannot matter to its digits.
            gap = float(min(x[r].max() - x[r].min(), 104.0))
            if loss >= SMALLEST_NORMAL:
                assert relative_error(losses[r], loss) <= (8 + gap) * U
            else:
                assert abs(losses[r] - float(loss)) <= n_classes * 2.0**-149
            normal = np.array([abs(g) >= SMALLEST_NORMAL for g in gradient])
            if normal.any():
                assert relative_error(grad[r][normal], gradient[normal]) <= (10 + gap) * U


def test_losses_down_to_the_smallest_normal_number():
    """Rows [0, -t] whose loss log1p(exp(-t)) runs through all magnitudes of float32."""
    t = np.linspace(0.0, 87.3, 500, dtype=np.float32)
    x = np.stack([np.zeros_like(t), -t], axis=1)
    losses = NONE(np.zeros(500, int), x)
    for r in range(500):
        loss, _ = exact_row(x[r])
        assert relative_error(losses[r], loss) <= (8 + t[r]) * U
    assert losses[-1] < 2 * SMALLEST_NORMAL


@pytest.mark.parametrize("n_classes", [1000, 1024, 5000, 131_072])
def test_many_classes_are_as_exact_as_few(n_classes):
    """Float32 sums over the classes do not pile up rounding errors: no term for c is allowed."""
    rng = np.random.default_rng(n_classes)
    x = rng.normal(size=(3, n_classes)).astype(np.float32)
    x[1] = 0.0  # the same term again and again, whose roundings would all point one way
    x[2] = 1.0 / 3.0
    ids = np.array([n_classes - 1, 0, n_classes // 2])
    losses, grad = NONE.value_and_grad(ids, x)
    exps = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    for r in range(3):
        total = math.fsum(exps[r])
        gap = float(x[r].max() - x[r].min())
        truth = float(x[r].max()) - float(x[r, ids[r]]) + math.log(total)
        assert abs(losses[r] - truth) <= (8 + gap) * U * truth
        p = exps[r] / total
        p[ids[r]] -= 1.0
        assert np.all(abs(grad[r] - p) <= (10 + gap) * U * abs(p))


@pytest.mark.parametrize("n_classes", [32, 71, 112, 113, 500, 512, 1000])
def test_equal_terms_are_not_all_rounded_the_same_way(n_classes):
    """Rows [g, 0, 0, ...] add up c - 1 times the same number, whose roundings all point one way."""
    gaps = np.linspace(0.01, 8, 37, dtype=np.float32)
    x = np.zeros((len(gaps), n_classes), np.float32)
    x[:, 0] = gaps
    g = gaps.astype(np.float64)
    log_sum = np.log1p((n_classes - 1) * np.exp(-g))
    for label, truth in ((0, log_sum), (1, g + log_sum)):
        losses = NONE(np.full(len(gaps), label), x)
        assert np.all(abs(losses - truth) <= (8 + g) * U * truth)


SMOOTH, BOTH = {"label_smoothing": 0.1}, {"label_smoothing": 0.3, "class_weight": True}


@both(
    "n_classes, options, soft",
    [(10, BOTH, True), (112, BOTH, True), (500, SMOOTH, False), (1000, BOTH, False)],
    long=[
        (1000, BOTH, True),
        (10, BOTH, True),
        (20_000, BOTH, False),
        (10, SMOOTH, False),
        (112, BOTH, True),
        (500, BOTH, True),
        (512, BOTH, True),
        (1000, SMOOTH, True),
        (1000, {"class_weight": True}, False),
        (1000, BOTH, False),
        (20_000, BOTH, True),
    ],
)
def test_smoothed_and_weighed_rows_of_many_classes(n_classes, options, soft):
    """Equal logits, so gap = 0: loss = T log(c) with T the sum of the masses."""
    options = dict(options)
    weight = np.ones(n_classes)
    if "class_weight" in options:
        weight = options["class_weight"] = np.full(n_classes, 0.7)
    e = options.get("label_smoothing", 0.0)
    loss = fl.CrossEntropy(reduction="none", **options)
    t = one_hot_of([1], n_classes)
    if soft:
        t = np.repeat(np.linspace(0.01, 0.99, 12, dtype=np.float32)[:, None], n_classes, axis=1)
    losses, grad = loss.value_and_grad(t if soft else [1], np.zeros(t.shape, np.float32))
    mass = weight * ((1 - e) * t.astype(np.float64) + e / n_classes)
    total = np.array([[math.fsum(row)] for row in mass])
    np.testing.assert_allclose(losses, total[:, 0] * math.log(n_classes), rtol=8 * U)
    size = total / n_classes + mass
    assert np.all(abs(grad - (total / n_classes - mass)) <= 10 * U * size)


# ---------------------------------------------------------------------------------------------
# Binary losses


@both("label", (0, 1), long=(0, 1))
def test_binary_logits_keep_the_digits_of_tiny_losses(label):
    x = np.concatenate([np.linspace(-100, 100, 401), [-1e-6, 1e-6, -1e-30, 1e-30, 0.0]]).astype(
        np.float32
    )
    loss = fl.BinaryCrossEntropyWithLogits(reduction="none")
    y = np.full_like(x, label)
    losses, grad = loss.value_and_grad(y, x)
    _, hess = loss.grad_hess(y, x)
    sign = 1 - 2 * label
    exact = EXACT.numbers(x)
    for actual, truth in (
        (losses, EXACT.softplus(sign * exact)),
        (grad, sign * EXACT.sigmoid(sign * exact)),
        (hess, EXACT.sigmoid(exact) * EXACT.sigmoid(-exact)),
    ):
        normal = np.array([abs(t) >= SMALLEST_NORMAL for t in truth])
        assert normal.sum() > 300
        assert relative_error(actual[normal], truth[normal]) <= 8 * U
        assert np.all(abs(EXACT.numbers(actual) - truth)[~normal] <= 2.0**-148)


@pytest.mark.long
def test_binary_logits_with_soft_and_smoothed_labels():
    """No loss is the difference of two: smoothed labels keep their digits at both ends."""
    x = np.linspace(-40, 40, 81).astype(np.float32)
    for y, e in ((0.0, 0.1), (1.0, 0.1), (1.0, 1e-3), (0.25, 0.0), (0.875, 0.2)):
        loss = fl.BinaryCrossEntropyWithLogits(reduction="none", label_smoothing=e)
        losses = loss(np.full_like(x, y), x)
        e, exact = EXACT.numbers(e), EXACT.numbers(x)
        truth = (y * (1 - e) + e / 2) * EXACT.softplus(-exact)
        truth = truth + ((1 - y) * (1 - e) + e / 2) * EXACT.softplus(exact)
        assert relative_error(losses, truth) <= 8 * U


@pytest.mark.long
def test_binary_probabilities_near_0_and_1():
    p = np.array([2.0**-k for k in range(1, 127)] + [1 - 2.0**-k for k in range(1, 25)])
    p = p.astype(np.float32)
    loss = fl.BinaryCrossEntropy(reduction="none")
    exact = EXACT.numbers(p)
    y = np.ones_like(p)
    assert relative_error(loss(y, p), -EXACT.log(exact)) <= 8 * U
    assert relative_error(loss(1 - y, p), -EXACT.log(1 - exact)) <= 8 * U
    grad, hess = loss.grad_hess(y, p)
    assert relative_error(grad, -1 / exact) <= 8 * U
    normal = p > 2.0**-63  # where 1 / p**2 is finite
    assert relative_error(hess[normal], 1 / exact[normal] ** 2) <= 8 * U
    assert relative_error(loss.grad(1 - y, p), 1 / (1 - exact)) <= 8 * U


# ---------------------------------------------------------------------------------------------
# Means


@both(
    "case, n",
    itertools.product(PLAIN, [10, 1000]),
    compiled=itertools.product([SQUARED, SOFTMAX], [2_000_003]),
    long=itertools.product([LOGITS, SOFTMAX_SOFT], [2_000_003]),
)
def test_the_mean_is_that_of_the_losses(case, n):
    """Within 2 float32 ulp of the exact mean of the terms."""
    shape = (n // 5, 5) if case.rowwise else (n,)
    y_true, y_pred = case.data(shape=shape)
    losses = case.reduced("none")(y_true, y_pred)
    exact = math.fsum(losses) / losses.size
    for mean in (case.loss(y_true, y_pred), case.loss.value_and_grad(y_true, y_pred)[0]):
        assert abs(mean - exact) <= 2 * float(np.spacing(np.float32(exact)))
    total = case.reduced("sum")(y_true, y_pred)
    assert abs(total - math.fsum(losses)) <= 2 * float(np.spacing(np.float32(total)))


def test_a_mean_of_terms_of_very_different_size():
    """One term of 1e8 and many of 1e-4: a float32 accumulator would not see the many."""
    y_pred = np.full(3_000_000, 1e-2, np.float32)
    y_pred[0] = 1e4
    losses = fl.SquaredError(reduction="none")(np.zeros_like(y_pred), y_pred)
    exact = math.fsum(losses)
    assert fl.sse(np.zeros_like(y_pred), y_pred) == pytest.approx(exact, rel=1e-13)
    assert exact - float(losses[0]) > 250


def test_the_weighed_mean_is_that_of_the_losses():
    y_true, y_pred = SOFTMAX.data(shape=(50_001, 5))
    weight = np.random.default_rng(3).random(50_001)
    losses = SOFTMAX.reduced("none")(y_true, y_pred).astype(np.float64)
    exact = math.fsum(losses * weight) / math.fsum(weight)
    mean = fl.cross_entropy(y_true, y_pred, sample_weight=weight)
    assert abs(mean - exact) <= 2 * float(np.spacing(np.float32(exact)))


# ---------------------------------------------------------------------------------------------
# 16-bit storage


def in_float32(y_true, y_pred):
    """The same numbers; class ids stay what they are."""
    is_float = y_true.ndim == y_pred.ndim
    return y_true.astype(np.float32) if is_float else y_true, y_pred.astype(np.float32)


@both(
    "case, dtype",
    itertools.product(PLAIN, NARROW),
    compiled=[(SOFTMAX, NARROW[0])],
    long=[*((SQUARED, dtype) for dtype in NARROW), *((SOFTMAX, dtype) for dtype in NARROW[1:])],
)
def test_16_bit_results_are_the_float32_results_rounded_once(case, dtype):
    y_true, y_pred = case.data(dtype, (60, 5))
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    value_wide, grad_wide = case.loss.value_and_grad(*in_float32(y_true, y_pred))
    assert value == value_wide
    assert grad.dtype == dtype
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(grad, grad_wide.astype(dtype))


@both(
    "case, dtype",
    itertools.product([SQUARED, LOGITS, SOFTMAX], NARROW),
    long=[(SOFTMAX, NARROW[0])],
)
def test_16_bit_hessians_and_losses(case, dtype):
    y_true, y_pred = case.data(dtype, (60, 5))
    wide = in_float32(y_true, y_pred)
    with np.errstate(over="ignore"):
        for narrow, full in zip(
            case.loss.grad_hess(y_true, y_pred), case.loss.grad_hess(*wide), strict=True
        ):
            np.testing.assert_array_equal(narrow, full.astype(dtype))
    none = case.reduced("none")
    losses = none(y_true, y_pred)
    assert losses.dtype == np.float32
    np.testing.assert_array_equal(losses, none(*wide))


@pytest.mark.parametrize("dtype", NARROW, ids=name_of)
def test_every_16_bit_number_is_read_as_it_is(dtype):
    """All patterns of bits: subnormal, infinite and NaN among them."""
    n = 1 << 8 * dtype.itemsize
    y_pred = np.arange(n, dtype=f"u{dtype.itemsize}").view(dtype)
    with np.errstate(invalid="ignore"):
        wide = y_pred.astype(np.float32)
    losses = fl.AbsoluteError(reduction="none")(np.zeros(n, dtype), y_pred)
    np.testing.assert_array_equal(losses, abs(wide))


@pytest.mark.parametrize("dtype", NARROW, ids=name_of)
def test_gradients_are_rounded_to_nearest_even(dtype):
    """Ties, subnormal results and overflow: 2 r with r running over sums of two numbers."""
    most, least = float(ml_dtypes.finfo(dtype).max), SMALLEST[dtype.name]
    numbers = np.array(
        [1.0, 1 + 2.0**-8, 1 + 2.0**-11, 1 + 3 * 2.0**-11, most, least, 5 * least, 0.1],
        np.float64,
    )
    y_pred = np.concatenate([numbers, -numbers]).astype(dtype)
    y_true = np.concatenate([[2.0**-12], numbers[::-1]]).astype(dtype)
    y_pred, y_true = (a.ravel().copy() for a in np.meshgrid(y_pred, y_true))
    with np.errstate(over="ignore"):
        r = y_pred.astype(np.float32) - y_true.astype(np.float32)
        expected = (np.float32(2) * r).astype(dtype)
        found = fl.sse.grad(y_true, y_pred)
        np.testing.assert_array_equal(found.astype(float), expected.astype(float))


def test_bfloat16_mean_is_not_accumulated_in_bfloat16():
    """A bfloat16 sum stalls at 256 ones."""
    y_pred = np.ones(100_000, BFLOAT16)
    assert fl.mae(np.zeros(100_000, BFLOAT16), y_pred) == 1.0
    assert fl.AbsoluteError(reduction="sum")(np.zeros(100_000, BFLOAT16), y_pred) == 100_000.0


def test_soft_labels_that_are_nearly_the_prediction():
    """The gradient cancels; its error stays in proportion to its two terms."""
    x = np.log(np.array([[0.5, 0.25, 0.125, 0.125]], np.float32))
    t = np.array([[0.5, 0.25, 0.125, 0.125]], np.float32)
    grad = SOFTMAX_SOFT.reduced("none").grad(t, x)
    truth = EXACT.softmax(EXACT.numbers(x))[0] - EXACT.numbers(t)
    assert np.all(abs(EXACT.numbers(grad) - truth) <= (8 + 2) * U * 2 * t)


# ---------------------------------------------------------------------------------------------
# Rows of all lengths: several loops share the work, and their seams must not show

SEAMS = [1, 2, 15, 16, 17, 64, 65, 191, 192, 193, 513, 1000, 8192, 8193, 32769, 70001]


@pytest.mark.parametrize("width", SEAMS)
@partly_long(1, "n", [65, 1, 130])
def test_rows_of_all_lengths(width, n):
    n = min(n, max(1, 300_000 // width))
    rng = np.random.default_rng(width)
    logits = rng.normal(scale=3, size=(n, width)).astype(np.float32)
    logits[rng.integers(0, n), rng.integers(0, width)] += 60  # a confident row
    labels = rng.integers(0, width, n)
    x = logits.astype(np.float64)
    exps = np.exp(x - x.max(axis=1, keepdims=True))
    p = exps / exps.sum(axis=1, keepdims=True)
    at_label = np.arange(n), labels
    losses = np.log(exps.sum(axis=1)) + x.max(axis=1) - x[at_label]
    gradient, hessian = p.copy(), p * (1 - p)
    gradient[at_label] -= 1

    value, grad = NONE.value_and_grad(labels, logits)
    np.testing.assert_allclose(value, losses, rtol=40 * U, atol=40 * U)
    np.testing.assert_allclose(grad, gradient, rtol=80 * U, atol=U)
    np.testing.assert_allclose(NONE.grad_hess(labels, logits)[1], hessian, rtol=160 * U, atol=U)
    np.testing.assert_array_equal(NONE(labels, logits), value)

    # The same bits for one-hot labels, in place, and for rows that are alone.
    soft = one_hot_of(labels, width, np.float32)
    soft_value, soft_grad = NONE.value_and_grad(soft, logits)
    np.testing.assert_array_equal(soft_value, value)
    np.testing.assert_array_equal(soft_grad, grad)
    last = NONE.value_and_grad(labels[-1:], logits[-1:])
    np.testing.assert_array_equal(last[0], value[-1:])
    np.testing.assert_array_equal(last[1], grad[-1:])
    NONE.value_and_grad(labels, logits, out=logits)
    np.testing.assert_array_equal(logits, grad)
