"""The losses in NumPy, as teaching texts write them and written with care."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .contender import NAIVE, Contender, Job, in_place
from .workloads import GRADIENT, IN_PLACE, LOSS, NEW_ARRAY, Array, Data

# ---------------------------------------------------------------------------------------------
# NumPy, as teaching texts write it


def naive_mse(y_true: Array, y_pred: Array) -> Any:
    return np.mean((y_pred - y_true) ** 2)


def naive_mse_grad(y_true: Array, y_pred: Array) -> Any:
    loss = np.mean((y_pred - y_true) ** 2)
    grad = 2 * (y_pred - y_true) / y_true.size
    return loss, grad


def naive_mae(y_true: Array, y_pred: Array) -> Any:
    return np.mean(np.abs(y_pred - y_true))


def naive_mae_grad(y_true: Array, y_pred: Array) -> Any:
    loss = np.mean(np.abs(y_pred - y_true))
    grad = np.sign(y_pred - y_true) / y_true.size
    return loss, grad


def naive_bce(y_true: Array, y_pred: Array) -> Any:
    p = np.clip(y_pred, 1e-7, 1 - 1e-7)
    return -np.mean(y_true * np.log(p) + (1 - y_true) * np.log(1 - p))


def naive_bce_grad(y_true: Array, y_pred: Array) -> Any:
    p = np.clip(y_pred, 1e-7, 1 - 1e-7)
    loss = -np.mean(y_true * np.log(p) + (1 - y_true) * np.log(1 - p))
    grad = -(y_true / p - (1 - y_true) / (1 - p)) / y_true.size
    return loss, grad


def naive_bce_logits(y_true: Array, logits: Array) -> Any:
    return naive_bce(y_true, 1 / (1 + np.exp(-logits)))


def naive_bce_logits_grad(y_true: Array, logits: Array) -> Any:
    sigmoid = 1 / (1 + np.exp(-logits))
    return naive_bce(y_true, sigmoid), (sigmoid - y_true) / y_true.size


def naive_categorical(y_true: Array, y_pred: Array) -> Any:
    return np.mean(-np.sum(y_true * np.log(y_pred), axis=1))


def naive_categorical_grad(y_true: Array, y_pred: Array) -> Any:
    loss = np.mean(-np.sum(y_true * np.log(y_pred), axis=1))
    return loss, -y_true / y_pred / len(y_true)


def one_hot(labels: Array, like: Array) -> Array:
    """Class ids as labels of all classes."""
    if labels.ndim == like.ndim:
        return labels  # soft
    # Not np.eye(c)[labels], which for 32,768 classes makes a square of 4 GiB first.
    all_classes = np.zeros_like(like)
    all_classes[np.arange(len(labels)), labels] = 1
    return all_classes


def naive_cross_entropy(labels: Array, logits: Array) -> Any:
    t = one_hot(labels, logits)
    exps = np.exp(logits)
    probabilities = exps / np.sum(exps, axis=1, keepdims=True)
    return -np.mean(np.sum(t * np.log(probabilities), axis=1))


def naive_cross_entropy_grad(labels: Array, logits: Array) -> tuple[Any, Array]:
    t = one_hot(labels, logits)
    exps = np.exp(logits)
    probabilities = exps / np.sum(exps, axis=1, keepdims=True)
    loss = -np.mean(np.sum(t * np.log(probabilities), axis=1))
    grad = (probabilities - t) / len(labels)
    return loss, grad


def naive_huber(y_true: Array, y_pred: Array) -> Any:
    r = y_pred - y_true
    return np.mean(np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5))


def naive_huber_grad(y_true: Array, y_pred: Array) -> Any:
    r = y_pred - y_true
    loss = np.mean(np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5))
    return loss, np.where(np.abs(r) <= 1, r, np.sign(r)) / y_true.size


def naive_kl(p: Array, q: Array) -> Any:
    return np.mean(np.sum(p * np.log(p / q), axis=1))


def naive_kl_grad(p: Array, q: Array) -> Any:
    return naive_kl(p, q), -p / q / len(p)


def naive_focal(labels: Array, logits: Array) -> Any:
    exps = np.exp(logits)
    probabilities = exps / np.sum(exps, axis=1, keepdims=True)
    p = np.sum(one_hot(labels, logits) * probabilities, axis=1)
    return np.mean(-((1 - p) ** 2) * np.log(p))


def naive_focal_grad(labels: Array, logits: Array) -> Any:
    t = one_hot(labels, logits)
    exps = np.exp(logits)
    probabilities = exps / np.sum(exps, axis=1, keepdims=True)
    p = np.sum(t * probabilities, axis=1, keepdims=True)
    loss = np.mean(-((1 - p) ** 2) * np.log(p))
    slope = (1 - p) ** 2 - 2 * p * (1 - p) * np.log(p)
    return loss, slope * (probabilities - t) / len(labels)


def naive_dice(t: Array, p: Array) -> Any:
    overlap, size = np.sum(t * p, axis=1), np.sum(t, axis=1) + np.sum(p, axis=1)
    return np.mean(1 - (2 * overlap + 1) / (size + 1))


def naive_dice_grad(t: Array, p: Array) -> Any:
    above = 2 * np.sum(t * p, axis=1, keepdims=True) + 1
    below = np.sum(t, axis=1, keepdims=True) + np.sum(p, axis=1, keepdims=True) + 1
    return np.mean(1 - above / below), (above / below - 2 * t) / below / len(t)


class Naive(Contender):
    name = NAIVE
    functions: ClassVar = {
        "mse": (naive_mse, naive_mse_grad),
        "mae": (naive_mae, naive_mae_grad),
        "binary_cross_entropy": (naive_bce, naive_bce_grad),
        "binary_cross_entropy_with_logits": (naive_bce_logits, naive_bce_logits_grad),
        "categorical_cross_entropy": (naive_categorical, naive_categorical_grad),
        "cross_entropy": (naive_cross_entropy, naive_cross_entropy_grad),
        # Of each family one more.
        "huber": (naive_huber, naive_huber_grad),
        "kl_divergence": (naive_kl, naive_kl_grad),
        "focal": (naive_focal, naive_focal_grad),
        "dice": (naive_dice, naive_dice_grad),
    }

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if loss not in self.functions:
            return None
        function = self.functions[loss][task != LOSS]
        return Job(partial(function, data.y_true, data.y_pred))


# ---------------------------------------------------------------------------------------------
# NumPy at its best: no temporaries but some buffers that stay in the cache, which are made once;
# no one-hot labels, no overflow, sums in float64. Without `out`, the loss alone.

# Elements of a block: the fastest of 2**13 to 2**18, for short and for long rows.
_BLOCK = 1 << 17
_TINY = np.finfo(np.float32).tiny


def careful_mse(y_true: Array, y_pred: Array, buffers: Array, out: Array | None = None) -> Any:
    n, total = y_pred.size, 0.0
    for block in _blocks(y_pred):
        r = buffers[0, : block.stop - block.start] if out is None else out[block]
        np.subtract(y_pred[block], y_true[block], out=r)
        total += float(np.dot(r, r))
        if out is not None:
            np.multiply(r, 2 / n, out=r)
    return _results(total / n, out)


def careful_mae(y_true: Array, y_pred: Array, buffers: Array, out: Array | None = None) -> Any:
    n, total = y_pred.size, 0.0
    for block in _blocks(y_pred):
        r, a = buffers[:2, : block.stop - block.start]
        np.subtract(y_pred[block], y_true[block], out=r)
        total += float(np.sum(np.abs(r, out=a)))
        if out is not None:
            np.sign(r, out=a)  # in place it takes eight times as long
            np.multiply(a, 1 / n, out=out[block])
    return _results(total / n, out)


def careful_bce(y_true: Array, y_pred: Array, buffers: Array, out: Array | None = None) -> Any:
    n, total = y_pred.size, 0.0
    for block in _blocks(y_pred):
        y, p = y_true[block], y_pred[block]
        q, logs, a = buffers[:, : block.stop - block.start]
        np.subtract(1, p, out=q)
        np.log(np.maximum(p, _TINY, out=logs), out=logs)
        total -= float(np.dot(y, logs))
        np.log(np.maximum(q, _TINY, out=logs), out=logs)
        total -= float(np.sum(logs)) - float(np.dot(y, logs))
        if out is not None:
            np.subtract(p, y, out=a)
            np.multiply(p, q, out=q)
            np.divide(a, q, out=a)
            np.multiply(a, 1 / n, out=out[block])
    return _results(total / n, out)


def careful_bce_logits(
    y_true: Array, logits: Array, buffers: Array, out: Array | None = None
) -> Any:
    # With e = exp(-|x|) the loss is max(x, 0) - x y + log1p(e), and the sigmoid is
    # exp(min(x, 0)) / (1 + e): a second exp is faster than to choose between e and 1.
    n, total = logits.size, 0.0
    for block in _blocks(logits):
        y, x = y_true[block], logits[block]
        a, e, b = buffers[:, : block.stop - block.start]
        total -= float(np.dot(x, y))
        total += float(np.sum(np.maximum(x, 0, out=a)))
        np.abs(x, out=e)
        np.exp(np.negative(e, out=e), out=e)
        total += float(np.sum(np.log1p(e, out=a)))
        if out is not None:
            np.add(e, 1, out=a)
            np.exp(np.minimum(x, 0, out=b), out=b)
            np.divide(b, a, out=b)
            np.subtract(b, y, out=b)
            np.multiply(b, 1 / n, out=out[block])
    return _results(total / n, out)


def careful_categorical(
    y_true: Array, y_pred: Array, buffers: Array, out: Array | None = None
) -> Any:
    n, total = len(y_pred), 0.0
    for block in _blocks(y_pred):
        t, p = y_true[block], y_pred[block]
        a = buffers[0, : p.size].reshape(p.shape)
        total -= float(np.vdot(t, np.log(p, out=a)))
        if out is not None:
            np.divide(t, p, out=a)
            np.multiply(a, -1 / n, out=out[block])
    return _results(total / n, out)


def careful_cross_entropy(
    labels: Array, logits: Array, buffers: Array, out: Array | None = None
) -> Any:
    n, total, soft = len(logits), 0.0, labels.ndim == logits.ndim
    for block in _blocks(logits):
        x = logits[block]
        exps, a = buffers[:2, : x.size].reshape(2, *x.shape)
        exps = exps if out is None else out[block]
        at_label = None if soft else (np.arange(len(x)), labels[block])
        np.subtract(x, x.max(axis=1, keepdims=True), out=exps)
        total -= float(np.vdot(labels[block], exps) if soft else np.sum(exps[at_label]))
        np.exp(exps, out=exps)
        sums = exps.sum(axis=1, keepdims=True)
        total += float(np.sum(np.log(sums)))
        if out is not None:
            sums *= n
            np.divide(exps, sums, out=exps)
            if soft:
                np.subtract(exps, np.multiply(labels[block], 1 / n, out=a), out=exps)
            else:
                exps[at_label] -= exps.dtype.type(1 / n)
    return _results(total / n, out)


def _blocks(array: Array) -> Iterator[slice]:
    """Slices of the first axis, each of about `_BLOCK` elements."""
    n = len(array)
    step = max(1, _BLOCK // max(1, array.size // n))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def _buffers(array: Array) -> Array:
    longest = max(_BLOCK, array.size // len(array))
    return np.ones((3, min(longest, array.size)), array.dtype)


def _results(loss: float, out: Array | None) -> Any:
    return loss if out is None else (loss, out)


# Without blocks, for a batch of a training: one large temporary, which is the gradient.


def unblocked_cross_entropy(labels: Array, logits: Array) -> float:
    loss, _, _ = _shifted_exps(labels, logits, None)
    return loss


def unblocked_cross_entropy_grad(
    labels: Array, logits: Array, out: Array | None = None
) -> tuple[float, Array]:
    # The gradient is made where the exponentials are; `out` may be `logits`.
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


class Careful(Contender):
    name = "careful NumPy"
    takes_out = True
    functions: ClassVar = {
        "mse": careful_mse,
        "mae": careful_mae,
        "binary_cross_entropy": careful_bce,
        "binary_cross_entropy_with_logits": careful_bce_logits,
        "categorical_cross_entropy": careful_categorical,
        "cross_entropy": careful_cross_entropy,
    }

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if loss not in self.functions:
            return None
        function, buffers = partial(self.functions[loss], data.y_true), _buffers(data.y_pred)
        if task == IN_PLACE:
            return in_place(lambda y_pred: function(y_pred, buffers, out=y_pred), data)
        if task == NEW_ARRAY:
            return Job(lambda: function(data.y_pred, buffers, out=np.empty_like(data.y_pred)))
        out = data.out if task == GRADIENT else None
        return Job(partial(function, data.y_pred, buffers, out=out))
