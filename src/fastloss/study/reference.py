"""The truth that every contender is held against: the formulas in float64, a chunk at a time."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from .numpy_losses import one_hot
from .workloads import Array

_CHUNK = 1 << 21  # elements
# An error of a rival, in float32 or float64, that can still be one of rounding: a gradient p - t of
# soft labels near p has lost digits, 0.4% of it for 32,768 classes.
ROUNDED = 1e-2
_SAMPLE = 256  # samples whose gradient is compared


class Reference(NamedTuple):
    loss: float
    samples: Array  # some indices on the first axis
    grad: Array  # of these


class Errors(NamedTuple):
    """Of the loss, relative; of the gradient, relative to the largest number of its row.

    The gradient of an element has no row: there it is relative to its size plus the mean size.
    """

    loss: float
    grad: float


def reference(loss: str, y_true: Array, y_pred: Array) -> Reference:
    formula = FORMULAS.get(loss) or _in_float64(loss)
    n = len(y_pred)
    samples = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64))
    n_losses = n if _is_rowwise(loss) else y_pred.size
    chunk = max(1, _CHUNK // max(1, y_pred.size // n))
    total = 0.0
    for first in range(0, n, chunk):
        part = slice(first, first + chunk)
        total += formula(y_true[part], y_pred[part].astype(np.float64))[0].sum()
    _, grad = formula(y_true[samples], y_pred[samples].astype(np.float64))
    return Reference(total / n_losses, samples, grad / n_losses)


def errors(result: Any, truth: Reference, gradient_of_sum: bool = False) -> Errors:
    """The errors of what a contender returned: a loss, or a pair of loss and gradient."""
    loss, grad = result if isinstance(result, tuple) else (result, None)
    loss_error = abs(float(loss) - truth.loss) / abs(truth.loss)
    if grad is None:
        return Errors(loss_error, 0.0)
    got = np.asarray(grad[truth.samples], dtype=np.float64)
    if gradient_of_sum:
        got = got / len(grad)
    # Below its smallest number a dtype can tell nothing: float16 gradients of a mean are so small.
    tiny = float(np.spacing(np.zeros((), grad.dtype)).astype(np.float64))
    off = np.maximum(np.abs(got - truth.grad) - tiny, 0)
    size = np.abs(truth.grad)
    if size.ndim > 1:
        off, size = off.max(axis=-1), size.max(axis=-1)
    else:
        size = size + size.mean()
    # A row may have no gradient, as where all margins are kept: then it must be 0 exactly.
    relative = np.divide(off, size, out=np.where(off > 0, np.inf, off), where=size > 0)
    return Errors(loss_error, float(relative.max()))


def tolerance(dtype: Any) -> float:
    """The largest error that is no mistake: naive formulas lose digits, in few bits all do."""
    exact = {"float64": 1e-9, "float32": 1e-4}.get(str(dtype))
    return exact or max(2.0**-7, float(np.spacing(np.ones((), dtype))))


def _is_rowwise(loss: str) -> bool:
    return isinstance(getattr(fl, loss), fl.RowwiseLoss)


def _in_float64(loss: str) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Our own, which tests hold against formulas in 400 digits: a check of the run, not of it."""
    ours: fl.Loss = dataclasses.replace(getattr(fl, loss), reduction="none")
    return ours.value_and_grad


def _squared(y: Array, p: Array) -> tuple[Array, Array]:
    return (p - y) ** 2, 2 * (p - y)


def _absolute(y: Array, p: Array) -> tuple[Array, Array]:
    return np.abs(p - y), np.sign(p - y)


def _binary(y: Array, p: Array) -> tuple[Array, Array]:
    return -y * np.log(p) - (1 - y) * np.log1p(-p), (1 - y) / (1 - p) - y / p


def _binary_with_logits(y: Array, x: Array) -> tuple[Array, Array]:
    return np.logaddexp(0, x) - y * x, 0.5 * (1 + np.tanh(0.5 * x)) - y


def _categorical(t: Array, p: Array) -> tuple[Array, Array]:
    return -(t * np.log(p)).sum(axis=-1), -t / p


def _cross_entropy(labels: Array, x: Array) -> tuple[Array, Array]:
    t = one_hot(labels, x)
    row_max = x.max(axis=-1, keepdims=True)
    lse = row_max + np.log(np.exp(x - row_max).sum(axis=-1, keepdims=True))
    total = t.sum(axis=-1, keepdims=True, dtype=np.float64)
    return (t * (lse - x)).sum(axis=-1), total * np.exp(x - lse) - t


# The loss of each sample, and the gradient of their sum.
FORMULAS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "mse": _squared,
    "mae": _absolute,
    "binary_cross_entropy": _binary,
    "binary_cross_entropy_with_logits": _binary_with_logits,
    "categorical_cross_entropy": _categorical,
    "cross_entropy": _cross_entropy,
}
