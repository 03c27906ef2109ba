"""The rivals: cross-entropy in NumPy, as teaching texts write it, and written with care."""

from typing import Any

import numpy as np

from ..call.arrays import Array


def naive(labels: Array, logits: Array) -> Any:
    """The loss, step by step: one-hot labels, softmax, logarithm, mean."""
    one_hot = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    exps = np.exp(logits)
    probabilities = exps / exps.sum(axis=1, keepdims=True)
    return -np.mean(np.sum(one_hot * np.log(probabilities), axis=1))


def naive_value_and_grad(labels: Array, logits: Array) -> tuple[Any, Array]:
    """The same, and the textbook gradient: probabilities minus one-hot labels."""
    one_hot = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    exps = np.exp(logits)
    probabilities = exps / exps.sum(axis=1, keepdims=True)
    loss = -np.mean(np.sum(one_hot * np.log(probabilities), axis=1))
    grad = (probabilities - one_hot) / len(labels)
    return loss, grad


def careful(labels: Array, logits: Array) -> float:
    """No one-hot array, one large temporary, no overflow, the mean in float64."""
    loss, _, _ = _shifted_exps(labels, logits, None)
    return loss


def careful_value_and_grad(
    labels: Array, logits: Array, out: Array | None = None
) -> tuple[float, Array]:
    """The same, with the gradient made where the exponentials are; `out` may be `logits`."""
    loss, exps, sums = _shifted_exps(labels, logits, out)
    n = len(labels)
    exps /= (sums * n)[:, np.newaxis]
    exps[np.arange(n), labels] -= exps.dtype.type(1 / n)
    return loss, exps


def _shifted_exps(labels: Array, logits: Array, out: Array | None) -> tuple[float, Array, Array]:
    shifted = np.subtract(logits, logits.max(axis=1, keepdims=True), out=out)
    at_label = shifted[np.arange(len(labels)), labels]
    exps = np.exp(shifted, out=shifted)
    sums = exps.sum(axis=1)
    return float(np.mean(np.log(sums) - at_label, dtype=np.float64)), exps, sums
