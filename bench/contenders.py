"""Who takes part: each way to compute the losses, in its fairest form.

A contender is a class with a name and a method that turns a loss, a task and data into a call
without arguments; whatever can be prepared is prepared there, outside the timing. To add one,
write such a class and list it in `LIBRARIES`.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple

import numpy as np

import fastloss as fl

from .workloads import GRADIENT, IN_PLACE, LOSS, NEW_ARRAY, TASKS, Array, Data

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
    # What makes NumPy arrays of the result, for the check; outside the timing.
    to_numpy: Callable[[Any], Any] = lambda result: result


class Contender(ABC):
    name: str
    # What must be installed for it, as imported.
    package = "numpy"
    # Of the predictions. Two bytes are left out where software would compute them.
    dtypes: tuple[str, ...] = ("float32", "float64")
    # Whether it returns the gradient of the sum, where all others return that of the mean.
    gradient_of_sum = False
    # Whether it writes the gradient where the caller says, over the predictions too.
    takes_out = False

    def available(self) -> bool:
        return find_spec(self.package) is not None

    def does(self, task: str) -> str:
        """The task it does when asked for this one: without `out`, each gradient is a new array."""
        return task if task == LOSS or self.takes_out else NEW_ARRAY

    @abstractmethod
    def job(self, loss: str, task: str, data: Data) -> Job | None:
        """None if it does not do this."""


def _in_place(call: Callable[[Array], Any], data: Data) -> Job:
    """Over `data.out`, into which the predictions are copied before every turn."""
    # Several calls only where one is too short for the clock: all but the first then read a
    # gradient as predictions, which takes the same time.
    repeatable = data.out.size <= _SMALL
    return Job(partial(call, data.out), partial(_copied, data.out, data.y_pred), repeatable)


@contextmanager
def _copied(target: Array, source: Array) -> Iterator[None]:
    np.copyto(target, source)
    yield


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
    if labels.ndim == like.ndim:
        return labels  # soft
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

    def job(self, loss: str, task: str, data: Data) -> Job:
        function, buffers = partial(self.functions[loss], data.y_true), _buffers(data.y_pred)
        if task == IN_PLACE:
            return _in_place(lambda y_pred: function(y_pred, buffers, out=y_pred), data)
        if task == NEW_ARRAY:
            return Job(lambda: function(data.y_pred, buffers, out=np.empty_like(data.y_pred)))
        out = data.out if task == GRADIENT else None
        return Job(partial(function, data.y_pred, buffers, out=out))


# ---------------------------------------------------------------------------------------------
# Other libraries


class ScikitLearn(Contender):
    """The losses behind its linear models and gradient boosting, which are private there."""

    name = "scikit-learn"
    package = "sklearn"
    gradient_of_sum = True  # as those who call it want it: dividing would be another pass
    takes_out = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        from sklearn._loss import loss as losses

        if loss == "cross_entropy" and data.y_true.ndim == 1:
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

        def loss_gradient(y_pred: Array, out: Array | None) -> Any:
            terms, grad = theirs.loss_gradient(y_true, y_pred, gradient_out=out, **options)
            return terms.mean(dtype=np.float64), grad

        if task == IN_PLACE:
            return _in_place(lambda y_pred: loss_gradient(y_pred, y_pred), data)
        return Job(partial(loss_gradient, data.y_pred, data.out if task == GRADIENT else None))


_WITH_HALVES = ("float32", "float64", "float16", "bfloat16")


class Torch(Contender):
    name = "PyTorch"
    package = "torch"
    dtypes = _WITH_HALVES
    functions: ClassVar = {
        "mse": "mse_loss",
        "mae": "l1_loss",
        "binary_cross_entropy": "binary_cross_entropy",
        "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
        "cross_entropy": "cross_entropy",
        "huber": "huber_loss",
        "smooth_l1": "smooth_l1_loss",
        "poisson": "poisson_nll_loss",
        "multi_margin": "multi_margin_loss",
    }

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        from torch.nn import functional

        if loss not in self.functions:
            return None
        # On one thread where two only wait for each other: 0.5 ms instead of 30 us for 32 x 10.
        threads = partial(_torch_threads, fl.get_num_threads() if data.y_pred.size > _SMALL else 1)
        function = self.prepared(getattr(functional, self.functions[loss]))
        y_true, y_pred = _tensor(data.y_true), _tensor(data.y_pred)
        if task == LOSS:
            return Job(lambda: function(y_pred, y_true).item(), threads)
        y_pred.requires_grad_()

        def loss_gradient() -> Any:
            value = function(y_pred, y_true)
            value.backward()
            # As optimizers do: an array to add to would cost one more pass.
            grad, y_pred.grad = y_pred.grad, None
            return value.item(), grad

        return Job(loss_gradient, threads, to_numpy=partial(_with_array, data.y_pred.dtype))

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function


@contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensor(array: Array) -> Any:
    """The same memory. PyTorch does not know the bfloat16 of `ml_dtypes`, but has its own."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _with_array(dtype: Any, result: Any) -> Any:
    """The loss and the gradient, from a tensor to an array of the same memory."""
    import torch

    loss, grad = result
    return loss, grad.view(torch.uint8).numpy().view(dtype)


class TorchCompiled(Torch):
    """The same functions through `torch.compile`, which writes C++ for these very shapes."""

    name = "torch.compile"

    def available(self) -> bool:
        return super().available() and _torch_compiles()

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        job = super().job(loss, task, data)
        if job:
            with _no_warnings():
                job.call()  # compiled here
        return job

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        # Isolated: else the shapes of all workloads count as one function's, of which PyTorch
        # compiles eight and leaves the others to its interpreter.
        return torch.compile(function, fullgraph=True, dynamic=False, isolate_recompiles=True)


@cache
def _torch_compiles() -> bool:
    """Found by trying: it needs a C++ compiler and the headers of Python, where PyTorch looks."""
    try:
        TorchCompiled().job("mse", LOSS, Data(*np.ones((3, 1), np.float32)))
    except Exception:
        return False
    return True


@contextmanager
def _no_warnings() -> Iterator[None]:
    """PyTorch warns of its own parts while it compiles, and warnings are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Jax(Contender):
    """The formulas in its functions, under `jit`, and its derivatives of them."""

    name = "JAX"
    package = "jax"
    dtypes = _WITH_HALVES

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        import jax

        function = _jax_functions().get(loss)
        if function is None:
            return None
        jax.config.update("jax_enable_x64", True)  # else float64 becomes float32
        y_true = data.y_true
        if loss == "cross_entropy" and y_true.ndim == 1:
            y_true = y_true.astype(np.int32)
        y_true, y_pred = jax.numpy.asarray(y_true), jax.numpy.asarray(data.y_pred)
        if task == LOSS:
            value = jax.jit(function)
            return Job(lambda: value(y_true, y_pred).block_until_ready())
        value_and_grad = jax.jit(jax.value_and_grad(function, argnums=1))

        def loss_gradient() -> Any:
            loss, grad = value_and_grad(y_true, y_pred)
            return loss, grad.block_until_ready()

        return Job(loss_gradient, to_numpy=lambda result: tuple(map(np.asarray, result)))


@cache
def _jax_functions() -> dict[str, Callable[[Any, Any], Any]]:
    import jax
    import jax.numpy as jnp

    def cross_entropy(labels: Any, logits: Any) -> Any:
        if labels.ndim == logits.ndim:
            return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(logits), axis=-1))
        # Faster than with one-hot labels, and than to take from log_softmax.
        at_label = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - at_label)

    return {
        "mse": lambda y, p: jnp.mean(jnp.square(p - y)),
        "mae": lambda y, p: jnp.mean(jnp.abs(p - y)),
        "binary_cross_entropy": lambda y, p: -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log1p(-p)),
        "binary_cross_entropy_with_logits": lambda y, x: jnp.mean(jax.nn.softplus(x) - x * y),
        "cross_entropy": cross_entropy,
    }


# ---------------------------------------------------------------------------------------------
# fastloss


class Fastloss(Contender):
    """The way that is compared with others: gradients go where the caller says."""

    name = FASTLOSS
    package = "fastloss"
    dtypes = _WITH_HALVES
    takes_out = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        ours = getattr(fl, loss)
        if task == LOSS:
            return Job(partial(ours, data.y_true, data.y_pred))
        value_and_grad = partial(ours.value_and_grad, data.y_true)
        if task == IN_PLACE:
            return _in_place(lambda y_pred: value_and_grad(y_pred, out=y_pred), data)
        # Without the name if there is no array: that is how it is called.
        place = {"out": data.out} if task == GRADIENT else {}
        return Job(partial(value_and_grad, data.y_pred, **place))


class OneThread(Fastloss):
    name = "fastloss, 1 thread"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task not in TASKS or data.y_pred.size <= _SMALL or fl.get_num_threads() == 1:
            return None
        job = super().job(loss, task, data)
        return job and job._replace(setting=partial(threads, 1))


class NewArray(Fastloss):
    name = "fastloss, new array"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        return super().job(loss, NEW_ARRAY, data) if task == GRADIENT else None


class InPlace(Fastloss):
    name = "fastloss, in place"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task != GRADIENT or data.y_pred.size <= _SMALL:
            return None
        return super().job(loss, IN_PLACE, data)


@contextmanager
def threads(n: int, backend: str | None = None) -> Iterator[None]:
    """So many threads for fastloss, and this backend, both awake."""
    before = fl.get_num_threads(), fl.get_backend()
    try:
        _choose_threads(n, backend or before[1])
        yield
    finally:
        _choose_threads(*before)


def _choose_threads(n: int, backend: str) -> None:
    fl.set_num_threads(n)
    fl.set_backend(backend)
    # The pool ends its workers, and starts them at the next parallel call: not in a timed one.
    fl.mse(_WAKE, _WAKE)


_WAKE = np.zeros(1 << 20, np.float32)

# One way each, for tables that have a row for each task.
LIBRARIES: list[Contender] = [
    Naive(),
    Careful(),
    ScikitLearn(),
    Torch(),
    TorchCompiled(),
    Jax(),
    Fastloss(),
]
# Of all losses, those that PyTorch has by the same definition.
FAMILY: list[Contender] = [Fastloss(), Torch()]
CONTENDERS = [*LIBRARIES, NewArray(), InPlace(), OneThread()]
