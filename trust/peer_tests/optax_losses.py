"""optax's losses: `optax.losses`, with gradients for JAX.

fastloss is called back from JAX, and its gradients are the derivatives that JAX is told. Nothing is
compiled by JAX, so that options are numbers when a loss is built with them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from optax.losses import _classification, _regression, _segmentation

import fastloss as fl

from .recorder import NotOffered, instead

REFUSALS = {
    r"labels.* must lie between 0 and 1": "labels outside [0, 1], as finite differences want them",
    r"y_pred.* must lie between 0 and 1": "predictions of a divergence that are no probabilities",
    "class_mask rules out": "a label that the mask rules out",
    "zero classes": "a loss over no classes",
}
CAUSES = {
    "SoftmaxCrossEntropyTest::test_per_logit_mask": "A row in which every class is masked has the "
    "loss 0 in optax. fastloss gives NaN: there is no softmax of nothing.",
}


# ---------------------------------------------------------------------------------------------
# In JAX


def called_back(function: Callable[..., Any], shape: Any, dtype: Any, *arrays: Any) -> Any:
    """What a function of NumPy arrays gives, inside of JAX."""

    def call(*given: Any) -> Any:
        return np.asarray(function(*map(np.asarray, given)), dtype)

    if not any(isinstance(array, jax.core.Tracer) for array in arrays):
        return jnp.asarray(call(*arrays))  # an error that it raises stays what it is
    result = jax.ShapeDtypeStruct(shape, dtype)
    return jax.pure_callback(call, result, *arrays, vmap_method="sequential")


def differentiable(verbs: Sequence[Callable[..., Any]], rowwise: bool, slope: Any = None) -> Any:
    """A function of labels and predictions for JAX: the first of `verbs`.

    Each of them is the derivative of the one before with respect to the predictions; `slope` is
    that of the first with respect to the labels.
    """

    def value(y_true: Any, y_pred: Any) -> Any:
        shape = y_pred.shape[:-1] if rowwise else y_pred.shape
        return called_back(verbs[0], shape, y_pred.dtype, y_true, y_pred)

    if len(verbs) == 1:
        return value
    value = jax.custom_jvp(value)
    gradient = differentiable(verbs[1:], rowwise=False)

    @value.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        changes = gradient(*primals) * tangents[1]
        if slope is not None:
            changes += differentiable([slope], rowwise=False)(*primals) * tangents[0]
        return value(*primals), changes.sum(-1) if rowwise else changes

    return value


def in_jax(
    loss: fl.Loss, y_true: Any, y_pred: Any, rowwise: bool, slope: Any = None, mask: Any = None
) -> Any:
    """The loss of each sample."""
    each = replace(loss, reduction="none")
    verbs = [partial(each, class_mask=mask), partial(each.grad, class_mask=mask)]
    if not rowwise:
        verbs.append(lambda y_true, y_pred: each.grad_hess(y_true, y_pred)[1])
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    if not jnp.issubdtype(y_pred.dtype, jnp.floating):
        y_pred = y_pred.astype(jnp.result_type(float))
    return differentiable(verbs, rowwise, slope)(y_true, y_pred)


def elementwise(loss: fl.Loss, y_true: Any, y_pred: Any) -> Any:
    if jnp.shape(y_true) != jnp.shape(y_pred):  # optax broadcasts, and says what it does not
        raise NotOffered("arrays that broadcast")
    return in_jax(loss, y_true, y_pred, rowwise=False)


def last(array: Any, axis: Any) -> Any:
    """The array with these axes as one, the last."""
    array = jnp.asarray(array)
    given = range(array.ndim) if axis is None else np.atleast_1d(axis)
    axes = tuple(map(int, given))
    array = jnp.moveaxis(array, axes, tuple(range(-len(axes), 0)))
    return array.reshape(*array.shape[: array.ndim - len(axes)], -1)


# ---------------------------------------------------------------------------------------------
# The losses


def classes(labels: Any, logits: Any, axis: Any, where: Any) -> tuple[Any, ...]:
    """Labels, logits and mask with the classes on the last axis, as arguments of `in_jax`."""
    mask = None
    if where is not None:
        if jnp.ndim(where) != jnp.ndim(logits):
            raise NotOffered("a `where` of whole rows, which are given the weight 0 instead")
        mask = np.asarray(last(jnp.broadcast_to(where, jnp.shape(logits)), axis))
    return labels, last(logits, axis), True, None, mask


def no_mask(where: Any) -> None:
    if where is not None:
        raise NotOffered("a `where` of losses that are not of a softmax")


def _negative_log_proba(y_true: Any, y_pred: Any) -> Any:
    return -fl.cross_entropy.log_proba(y_pred)


def softmax_cross_entropy(logits, labels, axis=-1, where=None):
    labels, logits, rowwise, _, mask = classes(last(labels, axis), logits, axis, where)
    slope = _negative_log_proba if mask is None else None
    return in_jax(fl.cross_entropy, labels, logits, rowwise, slope, mask)


def safe_softmax_cross_entropy(logits, labels):
    return softmax_cross_entropy(logits, labels)


def softmax_cross_entropy_with_integer_labels(logits, labels, axis=-1, where=None):
    return in_jax(fl.cross_entropy, *classes(labels, logits, axis, where))


def poly_loss_cross_entropy(logits, labels, *, epsilon=2.0, axis=-1, where=None):
    labels = np.asarray(last(labels, axis))
    if not (np.isin(labels, (0, 1)).all() and (labels.sum(-1) == 1).all()):
        raise NotOffered("a poly loss of soft labels")
    loss = fl.PolyCrossEntropy(epsilon=float(epsilon))
    return in_jax(loss, *classes(labels.argmax(-1), logits, axis, where))


def sigmoid_binary_cross_entropy(logits, labels):
    return elementwise(fl.binary_cross_entropy_with_logits, labels, logits)


def sigmoid_focal_loss(logits, labels, *, alpha=None, gamma=2.0):
    loss = fl.BinaryFocal(gamma=float(gamma), alpha=None if alpha is None else float(alpha))
    return elementwise(loss, labels, logits)


def hinge_loss(predictor_outputs, targets):
    """Of labels -1 and 1."""
    return elementwise(fl.hinge, (jnp.asarray(targets) + 1) / 2, predictor_outputs)


def kl_divergence(log_predictions, targets, axis=-1, where=None):
    no_mask(where)
    q = jnp.exp(last(log_predictions, axis))
    return in_jax(fl.kl_divergence, last(targets, axis), q, True)


def kl_divergence_with_log_targets(log_predictions, log_targets, axis=-1, where=None):
    no_mask(where)
    q = jnp.exp(last(log_predictions, axis))
    return in_jax(fl.KLDivergence(log_target=True), last(log_targets, axis), q, True)


def _or_zero(predictions: Any, targets: Any) -> Any:
    return jnp.zeros_like(predictions) if targets is None else targets


def squared_error(predictions, targets=None):
    return elementwise(fl.mse, _or_zero(predictions, targets), predictions)


def l2_loss(predictions, targets=None):
    return 0.5 * squared_error(predictions, targets)


def huber_loss(predictions, targets=None, *, delta=1.0):
    return elementwise(fl.Huber(delta=float(delta)), _or_zero(predictions, targets), predictions)


def log_cosh(predictions, targets=None):
    return elementwise(fl.log_cosh, _or_zero(predictions, targets), predictions)


def cosine_distance(predictions, targets, *, epsilon=0.0, axis=-1, where=None):
    no_mask(where)
    if epsilon:
        raise NotOffered("an `epsilon` of cosines")
    return in_jax(fl.cosine_distance, last(targets, axis), last(predictions, axis), True)


def cosine_similarity(predictions, targets, *, epsilon=0.0, axis=-1, where=None):
    return 1 - cosine_distance(predictions, targets, epsilon=epsilon, axis=axis, where=where)


def dice_loss(
    predictions,
    targets,
    *,
    class_weights=None,
    smooth=1.0,
    alpha=0.5,
    beta=0.5,
    apply_softmax=True,
    reduction="mean",
    ignore_background=False,
    axis=None,
):
    """For one class, whose probabilities are a sigmoid; more classes are a row each.

    optax computes dice losses with its own smoothing of the denominator: alpha and beta of a half
    make `fl.Tversky`, not `fl.Dice`.
    """
    if class_weights is not None or ignore_background or axis is not None:
        raise NotOffered("dice losses with class weights, a background or an axis")
    if jnp.ndim(predictions) == jnp.ndim(targets) - 1:
        predictions = predictions[..., None]
    if jnp.ndim(targets) == jnp.ndim(predictions) - 1:
        targets = targets[..., None]
    if jnp.shape(predictions) != jnp.shape(targets):
        raise NotOffered("arrays that broadcast")
    n_classes = jnp.shape(predictions)[-1]
    if n_classes > 1:
        raise NotOffered("dice losses of a softmax")
    loss = fl.Tversky(
        alpha=float(alpha), beta=float(beta), smooth=float(smooth), from_logits=apply_softmax
    )
    rows = [jnp.asarray(x).reshape(jnp.shape(x)[0], -1) for x in (targets, predictions)]
    each = in_jax(loss, *rows, True)
    return each[:, None] if reduction == "none" else each


def install() -> None:
    ours: list[tuple[Any, Any]] = [
        (_classification, softmax_cross_entropy),
        (_classification, safe_softmax_cross_entropy),
        (_classification, softmax_cross_entropy_with_integer_labels),
        (_classification, poly_loss_cross_entropy),
        (_classification, sigmoid_binary_cross_entropy),
        (_classification, sigmoid_focal_loss),
        (_classification, hinge_loss),
        (_classification, kl_divergence),
        (_classification, kl_divergence_with_log_targets),
        (_regression, squared_error),
        (_regression, l2_loss),
        (_regression, huber_loss),
        (_regression, log_cosh),
        (_regression, cosine_distance),
        (_regression, cosine_similarity),
        (_segmentation, dice_loss),
    ]
    for module, function in ours:
        name = function.__name__
        setattr(module, name, instead(function, getattr(module, name), REFUSALS))
