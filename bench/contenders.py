"""Who takes part: each way to compute the losses, in its fairest form.

A contender is a class with a name and a method that turns a loss, a task and data into a call
without arguments; whatever can be prepared is prepared there, outside the timing. To add one,
write such a class and list it in `CONTENDERS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple

import numpy as np

import fastloss as fl

from .workloads import GRADIENT, LOSS, Array, Data

FASTLOSS = "fastloss"
NAIVE = "naive NumPy"

# Up to so many elements one thread is faster than several, and a call cannot be timed alone.
_SMALL = 1 << 16


class Job(NamedTuple):
    """What is timed: a call that returns the loss, or the loss and its gradient."""

    call: Callable[[], Any]
    # What holds while it is timed; entered and left outside the timing, before every round.
    setting: Callable[[], AbstractContextManager[Any]] = nullcontext
    # Whether several calls in a row compute the same.
    repeatable: bool = True


class Contender(ABC):
    name: str
    # What must be installed for it, as imported.
    package = "numpy"
    # Whether it returns the gradient of the sum, where all others return that of the mean.
    gradient_of_sum = False

    def available(self) -> bool:
        return find_spec(self.package) is not None

    @abstractmethod
    def job(self, loss: str, task: str, data: Data) -> Job | None:
        """None if it does not do this."""


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


def _one_hot(labels: Array, like: Array) -> Array:
    # Not np.eye(c)[labels], which for 32,768 classes makes a square of 4 GiB first.
    one_hot = np.zeros_like(like)
    one_hot[np.arange(len(labels)), labels] = 1
    return one_hot


def naive_cross_entropy(labels: Array, logits: Array) -> Any:
    one_hot = _one_hot(labels, logits)
    exps = np.exp(logits)
    probabilities = exps / np.sum(exps, axis=1, keepdims=True)
    return -np.mean(np.sum(one_hot * np.log(probabilities), axis=1))


def naive_cross_entropy_grad(labels: Array, logits: Array) -> Any:
    one_hot = _one_hot(labels, logits)
    exps = np.exp(logits)
    probabilities = exps / np.sum(exps, axis=1, keepdims=True)
    loss = -np.mean(np.sum(one_hot * np.log(probabilities), axis=1))
    grad = (probabilities - one_hot) / len(labels)
    return loss, grad


class Naive(Contender):
    name = NAIVE
    functions: ClassVar = {
        "mse": (naive_mse, naive_mse_grad),
        "mae": (naive_mae, naive_mae_grad),
        "binary_cross_entropy": (naive_bce, naive_bce_grad),
        "binary_cross_entropy_with_logits": (naive_bce_logits, naive_bce_logits_grad),
        "categorical_cross_entropy": (naive_categorical, naive_categorical_grad),
        "cross_entropy": (naive_cross_entropy, naive_cross_entropy_grad),
    }

    def job(self, loss: str, task: str, data: Data) -> Job:
        function = self.functions[loss][task == GRADIENT]
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
    n, total = len(logits), 0.0
    for block in _blocks(logits):
        x = logits[block]
        exps = buffers[0, : x.size].reshape(x.shape) if out is None else out[block]
        at_label = np.arange(len(x)), labels[block]
        np.subtract(x, x.max(axis=1, keepdims=True), out=exps)
        total -= float(np.sum(exps[at_label]))
        np.exp(exps, out=exps)
        sums = exps.sum(axis=1, keepdims=True)
        total += float(np.sum(np.log(sums)))
        if out is not None:
            sums *= n
            np.divide(exps, sums, out=exps)
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


class Careful(Contender):
    name = "careful NumPy"
    functions: ClassVar = {
        "mse": careful_mse,
        "mae": careful_mae,
        "binary_cross_entropy": careful_bce,
        "binary_cross_entropy_with_logits": careful_bce_logits,
        "categorical_cross_entropy": careful_categorical,
        "cross_entropy": careful_cross_entropy,
    }

    def job(self, loss: str, task: str, data: Data) -> Job:
        function = self.functions[loss]
        arguments = data.y_true, data.y_pred, _buffers(data.y_pred)
        return Job(partial(function, *arguments, out=data.out if task == GRADIENT else None))


# ---------------------------------------------------------------------------------------------
# Other libraries


class ScikitLearn(Contender):
    """The losses behind its linear models and gradient boosting, which are private there."""

    name = "scikit-learn"
    package = "sklearn"
    gradient_of_sum = True  # as those who call it want it: dividing would be another pass

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        from sklearn._loss import loss as losses

        if loss == "cross_entropy":
            theirs = losses.HalfMultinomialLoss(n_classes=data.y_pred.shape[1])
        elif loss == "binary_cross_entropy_with_logits":
            theirs = losses.HalfBinomialLoss()
        else:
            return None
        y_true = data.y_true.astype(data.y_pred.dtype)
        n_threads = fl.get_num_threads() if data.y_pred.size > _SMALL else 1
        options = {"loss_out": np.ones(len(y_true), y_true.dtype), "n_threads": n_threads}
        if task == LOSS:
            return Job(lambda: theirs.loss(y_true, data.y_pred, **options).mean(dtype=np.float64))

        def loss_gradient() -> Any:
            terms, grad = theirs.loss_gradient(
                y_true, data.y_pred, gradient_out=data.out, **options
            )
            return terms.mean(dtype=np.float64), grad

        return Job(loss_gradient)


class Torch(Contender):
    name = "PyTorch"
    package = "torch"
    functions: ClassVar = {
        "mse": "mse_loss",
        "mae": "l1_loss",
        "binary_cross_entropy": "binary_cross_entropy",
        "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
        "cross_entropy": "cross_entropy",
    }

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        import torch
        from torch.nn import functional

        if loss not in self.functions:
            return None
        torch.set_num_threads(fl.get_num_threads())
        function = getattr(functional, self.functions[loss])
        y_true, y_pred = torch.from_numpy(data.y_true), torch.from_numpy(data.y_pred)
        if task == LOSS:
            return Job(lambda: function(y_pred, y_true).item())
        y_pred.requires_grad_()

        def loss_gradient() -> Any:
            y_pred.grad = None  # as optimizers do: an array to add to would cost one more pass
            value = function(y_pred, y_true)
            value.backward()
            return value.item(), y_pred.grad.numpy()

        return Job(loss_gradient)


# ---------------------------------------------------------------------------------------------
# fastloss


class Fastloss(Contender):
    """The way that is compared with others: gradients go where the caller says."""

    name = FASTLOSS
    package = "fastloss"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        ours = getattr(fl, loss)
        if task == LOSS:
            return Job(partial(ours, data.y_true, data.y_pred))
        return Job(partial(ours.value_and_grad, data.y_true, data.y_pred, out=data.out))


class OneThread(Fastloss):
    name = "fastloss, 1 thread"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if data.y_pred.size <= _SMALL or fl.get_num_threads() == 1:
            return None
        job = super().job(loss, task, data)
        return job and job._replace(setting=_one_thread)


class NewArray(Fastloss):
    name = "fastloss, new array"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task == LOSS:
            return None
        return Job(partial(getattr(fl, loss).value_and_grad, data.y_true, data.y_pred))


class InPlace(Fastloss):
    """`y_pred` becomes the gradient; before every call it is copied back from the original."""

    name = "fastloss, in place"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task == LOSS or data.y_pred.size <= _SMALL:
            return None
        call = partial(getattr(fl, loss).value_and_grad, data.y_true, data.out, out=data.out)
        return Job(call, partial(_copied, data.out, data.y_pred), repeatable=False)


@contextmanager
def _copied(target: Array, source: Array) -> Iterator[None]:
    np.copyto(target, source)
    yield


@contextmanager
def _one_thread() -> Iterator[None]:
    n_threads = fl.get_num_threads()
    fl.set_num_threads(1)
    try:
        yield
    finally:
        fl.set_num_threads(n_threads)
        # The pool ended its workers, and starts them at the next parallel call: not in a timed one.
        fl.mse(_WAKE, _WAKE)


_WAKE = np.zeros(1 << 20, np.float32)

CONTENDERS: list[Contender] = [
    Naive(),
    Careful(),
    ScikitLearn(),
    Torch(),
    Fastloss(),
    NewArray(),
    InPlace(),
    OneThread(),
]
