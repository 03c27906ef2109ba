"""Agreement with PyTorch, in value and gradient, where both have a loss. Skipped without PyTorch.

Where the two differ by definition, a comment beside the test states the difference, and the test
asserts that it is exactly that. Its gradients are always those of autograd. What PyTorch does not
have is held against its formula in the tests of `registry.py`.
"""

import dataclasses
import math

import numpy as np
import pytest

import fastloss as fl

torch = pytest.importorskip("torch")
functional = torch.nn.functional

RTOL = 1e-10
# What rounding leaves where terms of some size cancel, as when PyTorch subtracts the logit of a
# label, here 10 at most, from a finished logarithm.
ATOL = 1e-14
INF = math.inf
# Most of the time goes into compiling, once for each loss and set of options. The losses of samples
# are another kernel than their mean and sum, so they are compared for a few losses of each family.
REDUCTIONS = ("mean", "sum")
EVERY = ("none", *REDUCTIONS)
WEIGHTS = (0.5, 2.0, 0.0, 1.25, 3.0)
W = torch.tensor(WEIGHTS, dtype=torch.float64)
N, C = 12, 5


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


def near(ours, theirs, rtol=RTOL, atol=ATOL):
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=rtol, atol=atol)


def autograd(function, y_pred):
    """The value of a function of a tensor, and the gradient of its sum."""
    x = torch.tensor(y_pred, requires_grad=True)
    value = function(x)
    value.sum().backward()
    return value.detach().numpy(), x.grad.numpy()


def value_of(loss, y_true, y_pred, **arguments):
    """The loss, from the kernel that `agree` has compiled for loss and gradient."""
    return loss.value_and_grad(y_true, y_pred, **arguments)[0]


def agree(
    loss, y_true, y_pred, function, *, reductions=REDUCTIONS, rtol=RTOL, atol=ATOL, **arguments
):
    """Whether `function(x, reduction=...)` has the values and gradients of the loss."""
    for reduction in reductions:
        ours = dataclasses.replace(loss, reduction=reduction)
        told = arguments if reduction == "mean" else arguments | {"normalizer": None}
        value, grad = ours.value_and_grad(y_true, y_pred, **told)
        their_value, their_grad = autograd(lambda x, r=reduction: function(x, reduction=r), y_pred)
        near(value, their_value, rtol, atol)
        near(grad, their_grad, rtol, atol)
        assert np.any(grad)


def reduced(each, denominator=None):
    """A function of a tensor that gives the loss of each sample, with a reduction."""

    def function(x, reduction):
        losses = each(x)
        if reduction == "none":
            return losses
        whole = losses.numel() if denominator is None else denominator
        return losses.sum() / (whole if reduction == "mean" else 1)

    return function


def given(function, *arguments, **options):
    """A loss of PyTorch as a function of its first argument."""
    arguments = [torch.tensor(argument) for argument in arguments]
    return lambda x, reduction: function(x, *arguments, reduction=reduction, **options)


# ---------------------------------------------------------------------------------------------
# Real numbers


def real(rng, dtype=np.float64):
    """Residuals of which some are 0 or at the limits of the losses below."""
    y_true, y_pred = rng.normal(scale=2.0, size=(2, N, C)).astype(dtype)
    y_true[0] = 0.0
    y_pred[0] = 0.0, 0.75, -0.75, 2.5, -2.5
    return y_true, y_pred


REAL = [
    (fl.mse, functional.mse_loss, {}),
    (fl.mae, functional.l1_loss, {}),
    (fl.Huber(delta=0.75), functional.huber_loss, {"delta": 0.75}),
    (fl.Huber(delta=2.5), functional.huber_loss, {"delta": 2.5}),
    (fl.SmoothL1(beta=0.75), functional.smooth_l1_loss, {"beta": 0.75}),
    (fl.SmoothL1(beta=2.5), functional.smooth_l1_loss, {"beta": 2.5}),
]


@pytest.mark.parametrize(("loss", "function", "options"), REAL, ids=[str(row[0]) for row in REAL])
def test_losses_of_real_numbers(rng, loss, function, options):
    y_true, y_pred = real(rng)
    every = EVERY if loss is fl.mse else REDUCTIONS
    agree(loss, y_true, y_pred, given(function, y_true, **options), reductions=every)


def test_weighted_means(rng):
    """PyTorch divides the mean by the sum of the weights, or by the number of elements."""
    y, x = real(rng)
    w = rng.uniform(0.1, 2.0, y.shape)
    weighted = {"sample_weight": w}
    agree(fl.mse, y, x, given(functional.mse_loss, y, weight=torch.tensor(w)), **weighted)
    # That of binary cross-entropy, for one, is over the elements, here it is over the weights.
    t = rng.random(y.shape)
    theirs = given(functional.binary_cross_entropy_with_logits, t, weight=torch.tensor(w))
    loss = fl.binary_cross_entropy_with_logits
    agree(loss, t, x, theirs, **weighted, normalizer=y.size)
    mean = theirs(torch.tensor(x), reduction="mean")
    near(value_of(loss, t, x, **weighted), mean * y.size / w.sum())


def test_poisson(rng):
    counts, logs = rng.poisson(2.0, (N, C)).astype(float), rng.normal(size=(N, C))
    agree(fl.poisson, counts, logs, given(functional.poisson_nll_loss, counts, log_input=True))
    # PyTorch adds `eps` to a mean before it takes the logarithm, and 0 cannot go without one.
    means, options = np.exp(logs), {"log_input": False}
    loss = fl.Poisson(log_input=False)
    agree(loss, counts, means, given(functional.poisson_nll_loss, counts, **options, eps=0.0))
    theirs = functional.poisson_nll_loss(*map(torch.tensor, (means, counts)), **options, eps=0.25)
    near(value_of(loss, counts, means + 0.25) - 0.25, theirs)


def test_poisson_has_no_constant(rng):
    """PyTorch's `full` adds Stirling's approximation of log(y!) for y > 1, a constant."""
    y, x = rng.poisson(2.0, (N, C)).astype(float), rng.normal(size=(N, C))
    value, grad = autograd(lambda x: functional.poisson_nll_loss(x, torch.tensor(y), full=True), x)
    large = np.maximum(y, 1.0)
    constant = large * np.log(large) - large + 0.5 * np.log(2 * np.pi * large)
    ours, our_grad = fl.poisson.value_and_grad(y, x)
    near(ours + np.where(y > 1, constant, 0.0).mean(), value)
    near(our_grad, grad)


@pytest.mark.parametrize("full", [False, True])
def test_gaussian(rng, full):
    y, mean = rng.normal(scale=2.0, size=(2, N, C))
    pairs = np.stack([mean, rng.gamma(2.0, 1.5, (N, C)) + 1e-3], axis=-1)

    def theirs(x, reduction):
        mean, variance = x.unbind(-1)
        t = torch.tensor(y)
        return functional.gaussian_nll_loss(mean, t, variance, full=full, reduction=reduction)

    agree(fl.GaussianNLL(full=full), y, pairs, theirs)
    # PyTorch takes variances below its `eps` for `eps`, with the gradient at that; here they are
    # taken as they are, and 0 is an error.
    pairs[..., 1] = 1e-7
    value, grad = autograd(lambda x: theirs(x, "mean"), pairs)
    clamped = pairs.copy()
    clamped[..., 1] = 1e-6
    loss = fl.GaussianNLL(full=full)
    ours, our_grad = loss.value_and_grad(y, clamped)
    near(ours, value)
    near(our_grad, grad)
    assert value_of(loss, y, pairs) > 9 * value
    pairs[..., 1] = 0.0
    with pytest.raises(ValueError, match="variance"):
        loss.value_and_grad(y, pairs)


def test_cosine(rng):
    # So long that what PyTorch adds to their squares, see below, is nothing.
    u, v = rng.normal(scale=100.0, size=(2, N, C))
    t = torch.tensor(u)
    theirs = reduced(lambda x: 1 - torch.cosine_similarity(x, t, dim=-1))
    agree(fl.cosine_distance, u, v, theirs, reductions=EVERY)
    theirs = given(functional.cosine_embedding_loss, u, target=torch.ones(N))
    agree(fl.cosine_distance, u, v, theirs, reductions=EVERY)


def test_cosine_of_short_vectors(rng):
    """Here a direction has no least length; PyTorch's two functions keep their divisor from 0."""
    u, v = rng.normal(size=(2, N, C))
    t = torch.tensor(u)
    value, grad = fl.CosineDistance(reduction="none").value_and_grad(u, v * 1e-9)
    # `cosine_similarity` divides by a length of at least eps = 1e-8.
    length = np.linalg.norm(v * 1e-9, axis=-1)
    assert (length < 1e-8).all()
    near(1 - torch.cosine_similarity(torch.tensor(v * 1e-9), t), 1 - (1 - value) * length / 1e-8)
    # `cosine_embedding_loss` adds 1e-12 to both sums of squares.
    theirs = functional.cosine_embedding_loss(
        torch.tensor(v * 1e-9), t, torch.ones(N), reduction="none"
    )
    shares = [np.linalg.norm(a, axis=-1) for a in (u, v * 1e-9)]
    shares = [share / np.sqrt(share**2 + 1e-12) for share in shares]
    near(theirs, 1 - (1 - value) * shares[0] * shares[1])
    # At 0 the loss is 1 for both; the gradient is 0, and PyTorch's the direction over eps.
    zeros = np.zeros_like(v)
    value, grad = fl.CosineDistance(reduction="none").value_and_grad(u, zeros)
    their_value, their_grad = autograd(lambda x: 1 - torch.cosine_similarity(x, t), zeros)
    near(value, their_value)
    near(their_grad, -u / np.linalg.norm(u, axis=-1, keepdims=True) / 1e-8)
    assert not grad.any()


# ---------------------------------------------------------------------------------------------
# Binary labels


def binary(rng):
    """Labels of which half are 0 or 1, and logits."""
    t = np.where(rng.random((N, C)) < 0.5, rng.integers(0, 2, (N, C)), rng.random((N, C)))
    return t, rng.normal(scale=3.0, size=(N, C))


def signed(rng):
    """Labels 0 and 1, the same as -1 and 1, and scores."""
    labels = rng.integers(0, 2, (N, C)).astype(float)
    return labels, 2 * labels - 1, rng.normal(scale=2.0, size=(N, C))


def test_binary_cross_entropy(rng):
    t, x = binary(rng)
    p = 1 / (1 + np.exp(-x))
    theirs = given(functional.binary_cross_entropy, t)
    agree(fl.binary_cross_entropy, t, p, theirs, reductions=EVERY)
    # The value at probabilities of 0 and 1, where the floor of the logarithm acts.
    t, p = np.array([[0.0, 0.0, 0.25, 1.0, 1.0, 0.25], [0.0, 1.0, 0.0, 0.0, 1.0, 1.0]])
    theirs = functional.binary_cross_entropy(*map(torch.tensor, (p, t)), reduction="none")
    near(value_of(fl.BinaryCrossEntropy(reduction="none"), t, p), theirs)


def test_gradient_of_binary_cross_entropy_at_0_and_1():
    """Where the floor acts the derivative is 0, elsewhere that of the formula.

    PyTorch divides by p (1 - p), or by 1e-12, in float32, if that is larger, floor or not.
    """
    t, p = np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 2.0**-42])
    _, theirs = autograd(lambda x: functional.binary_cross_entropy(x, torch.tensor(t)), p)
    near(theirs * 3, (p - t) / np.float32(1e-12))
    near(fl.BinaryCrossEntropy(reduction="sum").grad(t, p), [0.0, 0.0, -(2.0**42)])


@pytest.mark.parametrize("pos_weight", [1.0, 3.0, WEIGHTS], ids=["1", "3", "per_class"])
def test_binary_cross_entropy_with_logits(rng, pos_weight):
    t, x = binary(rng)
    loss = fl.BinaryCrossEntropyWithLogits(pos_weight=pos_weight)
    theirs = functional.binary_cross_entropy_with_logits
    agree(loss, t, x, given(theirs, t, pos_weight=torch.tensor(pos_weight, dtype=torch.float64)))


def test_smoothed_binary_labels(rng):
    t, x = binary(rng)
    loss = fl.BinaryCrossEntropyWithLogits(label_smoothing=0.2, pos_weight=3.0)
    theirs = functional.binary_cross_entropy_with_logits
    options = {"pos_weight": torch.tensor(3.0, dtype=torch.float64)}
    agree(loss, t, x, given(theirs, t * 0.8 + 0.1, **options))


def test_other_names_of_binary_cross_entropy(rng):
    labels, signs, x = signed(rng)
    loss = fl.binary_cross_entropy_with_logits
    agree(loss, labels, x, given(functional.soft_margin_loss, signs), reductions=EVERY)
    # Per sample, and so in the sum, PyTorch has the mean over the labels of a sample.
    theirs = given(functional.multilabel_soft_margin_loss, labels)
    agree(loss, labels, x, theirs, reductions=("mean",))
    each = dataclasses.replace(loss, reduction="none").value_and_grad(labels, x)[0]
    near(each.mean(axis=-1), theirs(torch.tensor(x), reduction="none"))
    near(each.sum() / C, theirs(torch.tensor(x), reduction="sum"))


def test_hinge(rng):
    labels, signs, x = signed(rng)
    s = torch.tensor(signs)

    def theirs(x, reduction):
        zeros = torch.zeros_like(x)
        return functional.margin_ranking_loss(x, zeros, s, margin=1.0, reduction=reduction)

    agree(fl.hinge, labels, x, theirs)
    # What PyTorch calls a label of -1 there, is one of 1 here; its label of 1 is another loss.
    minus = -np.ones_like(x)
    agree(fl.hinge, -minus, x, given(functional.hinge_embedding_loss, minus, margin=1.0))
    # At the kink the derivative is 0; PyTorch's depends on its version.
    assert not fl.hinge.grad(labels, signs).any()


# ---------------------------------------------------------------------------------------------
# Cross-entropy


def ids_and_logits(rng, shape=(N, C), dtype=np.float64):
    return rng.integers(0, shape[-1], shape[:-1]), rng.normal(scale=2.0, size=shape).astype(dtype)


def soft_and_logits(rng):
    """Targets that add up to 1, some of them 0."""
    t = rng.random((N, C)) * (rng.random((N, C)) < 0.7) + 1e-3 * np.eye(N, C)
    t[:, 0] += 0.125
    return t / t.sum(axis=-1, keepdims=True), rng.normal(scale=2.0, size=(N, C))


def cross_entropy(labels, **options):
    """PyTorch's, with the classes on the last axis."""
    labels = torch.as_tensor(labels)
    if labels.is_floating_point():
        labels = labels.movedim(-1, 1)

    def function(x, reduction):
        return functional.cross_entropy(x.movedim(-1, 1), labels, reduction=reduction, **options)

    return function


# What the options are called on both sides.
OPTIONS = {
    "plain": ({}, {}),
    "weight": ({"class_weight": WEIGHTS}, {"weight": W}),
    "smoothing": ({"label_smoothing": 0.1}, {"label_smoothing": 0.1}),
    "all": (
        {"class_weight": WEIGHTS, "label_smoothing": 0.1, "ignore_index": 3},
        {"weight": W, "label_smoothing": 0.1, "ignore_index": 3},
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), OPTIONS.values(), ids=OPTIONS)
def test_cross_entropy_of_class_ids(rng, ours, theirs):
    ids, x = ids_and_logits(rng, (4, 3, C))
    every = REDUCTIONS if len(ours) == 1 else EVERY
    agree(fl.CrossEntropy(**ours), ids, x, cross_entropy(ids, **theirs), reductions=every)


def test_cross_entropy_of_probabilities(rng):
    t, x = soft_and_logits(rng)
    agree(fl.cross_entropy, t, x, cross_entropy(t))
    # Probabilities have no class id to ignore: PyTorch refuses the option, here it does nothing.
    loss = fl.CrossEntropy(class_weight=WEIGHTS, label_smoothing=0.1, ignore_index=3)
    with pytest.raises(RuntimeError, match="ignore_index"):
        cross_entropy(t, ignore_index=3)(torch.tensor(x), "mean")
    # With weights, PyTorch's mean is over the rows, here it is over the weights of the targets.
    function = cross_entropy(t, weight=W, label_smoothing=0.1)
    agree(loss, t, x, function, normalizer=N)
    mean = function(torch.tensor(x), reduction="mean")
    near(value_of(loss, t, x), mean * N / (t * WEIGHTS).sum())


@pytest.mark.parametrize("n_classes", [300, 10_000])
def test_cross_entropy_of_many_classes(rng, n_classes):
    ids, x = ids_and_logits(rng, (N, n_classes))
    agree(fl.cross_entropy, ids, x, cross_entropy(ids))


def test_ignored_rows(rng):
    """PyTorch ignores -100 unless told otherwise; here nothing is ignored unless asked for."""
    ids, x = ids_and_logits(rng)
    ids[:4] = -100
    with pytest.raises(ValueError, match="-100"):
        fl.cross_entropy.value_and_grad(ids, x)
    ignoring = fl.CrossEntropy(class_weight=WEIGHTS, label_smoothing=0.1, ignore_index=-100)
    agree(ignoring, ids, x, cross_entropy(ids, weight=W, label_smoothing=0.1))
    # A mean over nothing is NaN on both sides, here with a warning, and its gradient 0.
    ids[:] = -100
    with pytest.warns(RuntimeWarning, match="no samples"):
        value, grad = ignoring.value_and_grad(ids, x)
    their_value, their_grad = autograd(lambda x: cross_entropy(ids)(x, "mean"), x)
    assert math.isnan(value)
    assert np.isnan(their_value)
    np.testing.assert_array_equal(grad, their_grad)
    assert not grad.any()


def test_infinite_logits(rng):
    ids, x = ids_and_logits(rng)
    x[np.arange(N), (ids + 1) % C] = -INF
    agree(fl.cross_entropy, ids, x, cross_entropy(ids), reductions=EVERY)
    x[0, ids[0]] = -INF
    agree(fl.cross_entropy, ids, x, cross_entropy(ids), reductions=("none",))
    # A target of 0 takes nothing of an infinite loss; PyTorch gives NaN.
    t = np.array([[0.25, 0.75, 0.0]])
    x = np.array([[1.0, 0.5, -INF]])
    value, grad = autograd(lambda x: cross_entropy(t)(x, "mean"), x)
    assert np.isnan(value)
    value, grad = autograd(lambda x: cross_entropy(t[:, :2])(x, "mean"), x[:, :2])
    ours, our_grad = fl.cross_entropy.value_and_grad(t, x)
    near(ours, value)
    near(our_grad, np.append(grad, [[0.0]], axis=1))


def test_digits_of_a_confident_row():
    """PyTorch subtracts from the finished logarithm: in float32 nothing is left of this loss."""
    x = np.array([[20.0, 0.0, -5.0]])
    small = x.astype(np.float32)
    assert cross_entropy([0])(torch.tensor(small), "mean") == 0
    # Of 20 and more, float64 leaves PyTorch 2e-15, a millionth of this loss.
    theirs = cross_entropy([0])(torch.tensor(x), "mean")
    near(value_of(fl.cross_entropy, [0], small), theirs, rtol=2e-6, atol=0)


def test_sparse_soft_labels(rng):
    """Class ids and their probabilities, scattered into rows of targets; ids may come twice."""
    _, x = ids_and_logits(rng)
    ids, shares = rng.integers(0, C, (N, 3)), rng.dirichlet([1.0, 1.0, 1.0], N)
    t = torch.zeros(N, C, dtype=torch.float64)
    t = t.scatter_add(1, torch.tensor(ids), torch.tensor(shares))
    loss = fl.CrossEntropy(label_smoothing=0.1, class_weight=WEIGHTS)
    theirs = cross_entropy(t, label_smoothing=0.1, weight=W)
    agree(loss, (ids, shares), x, theirs, normalizer=N)


def test_nll_of_probabilities(rng):
    ids, x = ids_and_logits(rng)
    p = torch.softmax(torch.tensor(x), dim=-1).numpy()
    t = torch.tensor(ids)
    agree(
        fl.categorical_cross_entropy,
        ids,
        p,
        lambda x, reduction: functional.nll_loss(x.log(), t, reduction=reduction),
    )


def test_softmax_and_its_logarithms(rng):
    _, x = ids_and_logits(rng, (4, 3, C))
    t = torch.tensor(x)
    near(fl.cross_entropy.proba(x), torch.softmax(t, dim=-1))
    near(fl.cross_entropy.log_proba(x), torch.log_softmax(t, dim=-1))
    near(fl.cross_entropy.logsumexp(x), torch.logsumexp(t, dim=-1))


# ---------------------------------------------------------------------------------------------
# Other losses of rows


@pytest.mark.parametrize(("p", "margin"), [(1, 1.0), (2, 0.5)])
def test_multi_margin(rng, p, margin):
    ids, x = ids_and_logits(rng)
    theirs = given(functional.multi_margin_loss, ids, p=p, margin=margin)
    agree(fl.MultiMargin(p=p, margin=margin), ids, x, theirs)


def test_weighted_multi_margin(rng):
    ids, x = ids_and_logits(rng)
    loss = fl.MultiMargin(p=2, margin=0.5, class_weight=WEIGHTS)
    theirs = given(functional.multi_margin_loss, ids, p=2, margin=0.5, weight=W)
    # With weights, PyTorch's mean is over the rows, here it is over the weights.
    agree(loss, ids, x, theirs, normalizer=N)
    mean = theirs(torch.tensor(x), reduction="mean")
    near(value_of(loss, ids, x), mean * N / np.array(WEIGHTS)[ids].sum())


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_divergence(rng, log_target):
    """PyTorch takes the logarithms of the predictions."""
    p, q = torch.softmax(torch.tensor(rng.normal(size=(2, N, C))), dim=-1)
    y = p.log() if log_target else p
    loss, y_true, y_pred = fl.KLDivergence(log_target=log_target), y.numpy(), q.numpy()

    # PyTorch's losses are of elements, here they are of rows: its "batchmean" is the mean here, and
    # its "mean" that divided by the number of classes.
    def theirs(x, reduction):
        name = "batchmean" if reduction == "mean" else reduction
        losses = functional.kl_div(x.log(), y, reduction=name, log_target=log_target)
        return losses.sum(dim=-1) if reduction == "none" else losses

    agree(loss, y_true, y_pred, theirs, reductions=REDUCTIONS if log_target else EVERY)
    with pytest.warns(UserWarning, match="batchmean"):  # PyTorch means to change that
        mean = functional.kl_div(q.log(), y, reduction="mean", log_target=log_target)
    near(value_of(loss, y_true, y_pred), mean * C)


# ---------------------------------------------------------------------------------------------
# float32


def test_float32(rng):
    """Within (8 + gap) 2^-24 here, of which gaps of logits of size 10 make 2e-6; as much there."""
    told = {"rtol": 1e-5, "atol": 1e-6}
    y, x = real(rng, np.float32)
    agree(fl.mse, y, x, given(functional.mse_loss, y), **told)
    ids, x = ids_and_logits(rng, dtype=np.float32)
    agree(fl.cross_entropy, ids, x, cross_entropy(ids), **told)
