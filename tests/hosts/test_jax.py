"""Losses in JAX, against the losses written in JAX."""

import math

import numpy as np
import pytest
from plain import plain

import fastloss as fl
import fastloss.jax

jax = pytest.importorskip("jax")
jnp = jax.numpy
pytestmark = plain

N, C = 6, 3


def close(ours, theirs, rtol=2e-6, atol=1e-7):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), ours, theirs)


def forward(params, x):
    return jnp.tanh(x @ params["w"]) @ params["layers"][0] + params["layers"][1]


def each(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)[..., 0]


def mean(logits, labels):
    return each(logits, labels).mean()


@pytest.fixture(params=[0, 1])
def model(request):
    """Parameters, inputs and labels."""
    rng = np.random.default_rng(request.param)
    params = {
        "w": jnp.asarray(rng.normal(size=(4, 5)), jnp.float32),
        "layers": [
            jnp.asarray(rng.normal(size=(5, C)), jnp.float32),
            jnp.asarray(rng.normal(size=C), jnp.float32),
        ],
    }
    x = jnp.asarray(rng.normal(size=(N, 4)), jnp.float32)
    return params, x, jnp.asarray(rng.integers(0, C, N))


# -------------------------------------------------------------------------------------------------
# The step


def test_steps_are_those_of_jax(model):
    params, x, labels = model
    step = fl.jax.value_and_grad(fl.cross_entropy, forward)

    def theirs(params, x, labels):
        return mean(forward(params, x), labels)

    expected = jax.value_and_grad(theirs)
    for n in (N, N - 2, N, 1):
        close(step(params, x[:n], labels[:n]), expected(params, x[:n], labels[:n]))


def test_auxiliary_results_weights_and_normalizer(model):
    params, x, labels = model
    weight = jnp.arange(1.0, N + 1)
    step = fl.jax.value_and_grad(
        fl.cross_entropy, lambda params, x: (forward(params, x), x.sum()), has_aux=True
    )

    def theirs(n):
        def function(params):
            losses = each(forward(params, x), labels) * weight
            return losses.sum() / n, x.sum()

        return jax.value_and_grad(function, has_aux=True)(params)

    close(step(params, x, labels, weight), theirs(weight.sum()))
    close(step(params, x, labels, weight, 7), theirs(7))
    close(step(params, x, labels, weight, jnp.float32(7)), theirs(7))


def test_the_losses_of_samples(model):
    params, x, labels = model
    losses, grads = fl.jax.value_and_grad(fl.CrossEntropy(reduction="none"), forward)(*model)
    close(losses, each(forward(params, x), labels))
    close(grads, jax.grad(lambda p: each(forward(p, x), labels).sum())(params))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_logits_of_16_bits(model, dtype):
    params, x, labels = model
    step = fl.jax.value_and_grad(fl.cross_entropy, lambda p, x: forward(p, x).astype(dtype))
    value, grads = step(params, x, labels)
    close(value, mean(forward(params, x).astype(dtype).astype("float32"), labels))
    expected = jax.grad(lambda p: mean(forward(p, x), labels))(params)
    close(grads, expected, rtol=0.1, atol=0.02)


def test_logits_of_64_bits(model):
    with jax.enable_x64(True):
        params, x, labels = jax.tree.map(
            lambda a: jnp.asarray(a, a.dtype if a.dtype.kind == "i" else "float64"), model
        )
        found = fl.jax.value_and_grad(fl.cross_entropy, forward)(params, x, labels)
        expected = jax.value_and_grad(lambda p: mean(forward(p, x), labels))(params)
        close(found, expected, rtol=1e-12, atol=1e-14)


def test_steps_that_nobody_waits_for():
    """A gradient is read by JAX while the next step begins, which must not overwrite it."""
    rng = np.random.default_rng(0)
    w = jnp.asarray(rng.normal(size=(300, 300)) / 20, jnp.float32)
    x = jnp.asarray(rng.normal(size=(N, 300)), jnp.float32)

    def deep(w, x):
        for _ in range(20):
            x = jnp.tanh(x @ w)
        return x[:, :C]

    step = fl.jax.value_and_grad(fl.cross_entropy, deep)
    labels = [jnp.full(N, i % C) for i in range(9)]
    found = [step(w, x, ids) for ids in labels]
    expected = jax.value_and_grad(lambda w, ids: mean(deep(w, x), ids))
    for pair, ids in zip(found, labels, strict=True):
        close(pair, expected(w, ids), rtol=1e-4, atol=1e-6)


def test_donated_parameters(model):
    params, x, labels = model
    start = jax.tree.map(jnp.copy, params)
    step = fl.jax.value_and_grad(fl.cross_entropy, forward)

    def descend(params, grads):
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)

    donating = jax.jit(descend, donate_argnums=0)
    theirs = jax.grad(lambda p: mean(forward(p, x), labels))
    for _ in range(5):
        params = donating(params, step(params, x, labels)[1])
        start = descend(start, theirs(start))
    close(params, start, rtol=1e-5, atol=1e-6)


def test_logits_that_are_parameters():
    """JAX then hands out the same memory, which nothing is written into."""
    params = jnp.asarray([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
    labels = jnp.array([0, 1])
    step = fl.jax.value_and_grad(fl.cross_entropy, lambda params, inputs: params)
    found = step(params, None, labels)
    assert params.tolist() == [[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]]
    close(found, jax.value_and_grad(mean)(params, labels))


def test_a_mean_of_nothing(model):
    params, x, labels = model
    step = fl.jax.value_and_grad(fl.cross_entropy, forward)
    with pytest.warns(RuntimeWarning, match="no samples"):
        value, grads = step(params, x[:0], labels[:0])
    assert math.isnan(value)
    assert not any(leaf.any() for leaf in jax.tree.leaves(grads))
    with pytest.warns(RuntimeWarning, match="no samples"):
        value, grads = step(params, x, labels, jnp.zeros(N))
    assert math.isnan(value)
    assert not any(leaf.any() for leaf in jax.tree.leaves(grads))


def test_what_steps_refuse(model):
    params, x, labels = model
    step = fl.jax.value_and_grad(fl.cross_entropy, forward)
    with pytest.raises(ValueError, match=r"labels\[\d\] is 3, but class ids go from 0 to 2"):
        step(params, x, jnp.full(N, 3))
    with pytest.raises(ValueError, match=r"^weight\[0\] is -1"):
        step(params, x, labels, -jnp.ones(N))
    with pytest.raises(ValueError, match="^weight has shape"):
        step(params, x, labels, jnp.ones(2))
    with pytest.raises(TypeError, match="labels has dtype float32, but class ids"):
        step(params, x, labels.astype("float32"))
    with pytest.raises(TypeError, match=r"use fastloss.jax.callback inside"):
        jax.jit(step)(params, x, labels)
    with pytest.raises(TypeError, match="forward returned dict for logits"):
        fl.jax.value_and_grad(fl.mse, lambda params, x: {"logits": x})(params, x, x)
    with pytest.raises(TypeError, match="loss must be a loss of fastloss"):
        fl.jax.value_and_grad(mean, forward)
    close(step(params, x, labels)[0], mean(forward(params, x), labels))


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, jax.vmap])
def test_losses_of_numpy_say_which_ones_are_for_transforms(transform):
    with pytest.raises(TypeError, match=r"logits has no numbers yet.*fastloss.jax.callback\("):
        transform(lambda logits: fl.cross_entropy(np.zeros(N, int), logits))(jnp.zeros((N, C)))


def test_steps_say_what_they_are():
    text = repr(fl.jax.value_and_grad(fl.mse, forward, has_aux=True))
    assert text.startswith("fastloss.jax.value_and_grad(SquaredError(), <function forward")
    assert text.endswith(", has_aux=True)")


# -------------------------------------------------------------------------------------------------
# The callback


def test_callbacks_are_functions_of_jax(model):
    params, x, labels = model
    logits = forward(params, x)
    ours = fl.jax.callback(fl.cross_entropy)
    close(ours(logits, labels), mean(logits, labels))
    close(jax.jit(ours)(logits, labels), mean(logits, labels))
    whole = jax.jit(jax.value_and_grad(lambda p: ours(forward(p, x), labels)))
    close(whole(params), jax.value_and_grad(lambda p: mean(forward(p, x), labels))(params))
    rows = logits[:, None], labels[:, None]
    close(jax.vmap(ours)(*rows), each(logits, labels))
    close(jax.vmap(jax.grad(ours))(*rows), jax.vmap(jax.grad(mean))(*rows))
    weight = jnp.arange(1.0, N + 1)
    expected = (each(logits, labels) * weight).sum() / 7
    close(ours(logits, labels, weight, 7), expected)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_callbacks_have_second_derivatives(model, reduction):
    params, x, labels = model
    logits, factor = forward(params, x), jnp.arange(1.0, N + 1)
    function = fl.jax.callback(fl.CrossEntropy(reduction=reduction))

    def twice(function):
        return jax.jacrev(jax.grad(lambda z: (function(z) * factor).sum()))(logits)

    theirs = mean if reduction == "mean" else each
    close(twice(lambda z: function(z, labels)), twice(lambda z: theirs(z, labels)), atol=1e-6)


def test_callbacks_of_elements(model):
    params, x, labels = model
    y, huber = jnp.ones_like(x), fl.jax.callback(fl.LogCosh(hessian="majorizer"))

    def theirs(x, y):
        return jnp.log(jnp.cosh(x - y)).mean()

    close(huber(x, y), theirs(x, y))
    close(jax.grad(huber)(x, y), jax.grad(theirs)(x, y), atol=1e-6)
    second = jax.jacrev(jax.grad(huber))(x, y)
    close(second, jax.jacrev(jax.grad(theirs))(x, y), atol=1e-6)


def test_labels_that_are_trees(model):
    """A pair of class ids and their probabilities, or lists."""
    params, x, labels = model
    logits, function = forward(params, x), fl.jax.callback(fl.cross_entropy)
    ids = jnp.stack([labels, (labels + 1) % C], axis=1)
    pair = ids, jnp.full((N, 2), 0.5)

    def theirs(z):
        return (mean(z, ids[:, 0]) + mean(z, ids[:, 1])) / 2

    for transform in (jax.value_and_grad, lambda f: jax.jacrev(jax.grad(f))):
        close(transform(lambda z: function(z, pair))(logits), transform(theirs)(logits))
        found = transform(lambda z: function(z, labels.tolist(), [1.0] * N))(logits)
        close(found, transform(lambda z: mean(z, labels))(logits))
    step = fl.jax.value_and_grad(fl.cross_entropy, lambda params, inputs: params)
    close(step(logits, None, pair), jax.value_and_grad(theirs)(logits))
    with pytest.raises(TypeError, match="a gradient by labels is asked for"):
        jax.grad(lambda p: function(logits, (ids, p)))(pair[1])


def test_gradients_of_float16_do_not_vanish_before_they_are_scaled(model):
    params, x, labels = model
    logits, rows, scale = forward(params, x).astype("float16"), 1e7, 2.0**16
    function = fl.jax.callback(fl.cross_entropy)
    found = jax.grad(lambda z: function(z, labels, None, rows) * scale)(logits)
    wide = logits.astype("float32")
    expected = jax.grad(lambda z: each(z, labels).sum() / rows * scale)(wide)
    assert found.dtype == jnp.float16
    close(found, expected.astype("float16"), rtol=1e-3, atol=1e-7)


def test_what_callbacks_refuse(model):
    params, x, labels = model
    logits, function = forward(params, x), fl.jax.callback(fl.cross_entropy)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"ValueError: labels\[0\] is 3"):
        function(logits, jnp.full(N, 3))
    with pytest.raises(jax.errors.JaxRuntimeError, match="logits come first, labels second"):
        function(labels, logits)
    with pytest.raises(TypeError, match=r"build a loss, CrossEntropy\(\)"):
        fl.jax.callback(fl.CrossEntropy)
    with pytest.raises(TypeError, match=r"write jax.lax.stop_gradient\(weight\)"):
        jax.grad(function, 2)(logits, labels, jnp.ones(N))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"second derivatives of Focal\(\)"):
        jax.jacrev(jax.grad(fl.jax.callback(fl.focal)))(logits, labels)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda z: function(z, labels), (logits,), (logits,))
