"""The losses in the functions of SciPy, which need no floors and lose no digits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from .workloads import Array

# y_true, y_pred, where the gradient goes (None: a new array) -> the loss, or with its gradient
Function = Callable[[Array, Array], Any]
GradFunction = Callable[[Array, Array, Array | None], Any]


def cross_entropy(labels: Array, logits: Array) -> Any:
    return np.mean(special.logsumexp(logits, axis=1)) - _at_labels(labels, logits)


def cross_entropy_grad(labels: Array, logits: Array, out: Array | None) -> Any:
    # log_softmax has no out; all that comes after it is written over its result.
    log_p = special.log_softmax(logits, axis=1)
    loss = -_at_labels(labels, log_p)
    grad = np.exp(log_p, out=log_p if out is None else out)
    if labels.ndim == 1:
        grad[np.arange(len(labels)), labels] -= 1
    else:
        grad -= labels
    grad /= len(labels)
    return loss, grad


def _at_labels(labels: Array, numbers: Array) -> Any:
    """The mean over the rows of the number at the label, or of those weighted by soft labels."""
    if labels.ndim == 1:
        return np.mean(numbers[np.arange(len(labels)), labels])
    return np.vdot(labels, numbers) / len(labels)


def categorical(y_true: Array, y_pred: Array) -> Any:
    return -np.sum(special.xlogy(y_true, y_pred)) / len(y_true)


def categorical_grad(y_true: Array, y_pred: Array, out: Array | None) -> Any:
    loss = categorical(y_true, y_pred)
    grad = np.divide(y_true, y_pred, out=out)
    grad /= -len(y_true)
    return loss, grad


def binary(y_true: Array, y_pred: Array) -> Any:
    return -np.mean(special.xlogy(y_true, y_pred) + special.xlog1py(1 - y_true, -y_pred))


def binary_grad(y_true: Array, y_pred: Array, out: Array | None) -> Any:
    loss, variance = binary(y_true, y_pred), y_pred * (1 - y_pred)
    grad = np.subtract(y_pred, y_true, out=out)
    grad /= variance
    grad /= y_true.size
    return loss, grad


def binary_logits(y_true: Array, logits: Array) -> Any:
    # log(1 - sigmoid(x)) is log_expit(x) - x: one of the two is enough.
    return np.mean((1 - y_true) * logits - special.log_expit(logits))


def binary_logits_grad(y_true: Array, logits: Array, out: Array | None) -> Any:
    loss = binary_logits(y_true, logits)
    grad = special.expit(logits, out=out)
    grad -= y_true
    grad /= y_true.size
    return loss, grad


def huber(y_true: Array, y_pred: Array) -> Any:
    return np.mean(special.huber(1, y_pred - y_true))


def huber_grad(y_true: Array, y_pred: Array, out: Array | None) -> Any:
    r = np.subtract(y_pred, y_true, out=out)
    loss = np.mean(special.huber(1, r))
    grad = np.clip(r, -1, 1, out=r)
    grad /= y_true.size
    return loss, grad


def kl_divergence(p: Array, q: Array) -> Any:
    return np.sum(special.rel_entr(p, q)) / len(p)


def kl_divergence_grad(p: Array, q: Array, out: Array | None) -> Any:
    loss = kl_divergence(p, q)
    grad = np.divide(p, q, out=out)
    grad /= -len(p)
    return loss, grad


FUNCTIONS: dict[str, tuple[Function, GradFunction]] = {
    "cross_entropy": (cross_entropy, cross_entropy_grad),
    "categorical_cross_entropy": (categorical, categorical_grad),
    "binary_cross_entropy": (binary, binary_grad),
    "binary_cross_entropy_with_logits": (binary_logits, binary_logits_grad),
    "huber": (huber, huber_grad),
    "kl_divergence": (kl_divergence, kl_divergence_grad),
}
