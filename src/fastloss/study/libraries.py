"""Other libraries, each in its fairest form."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np

import fastloss as fl

from ..call.tensors import tensor_of
from . import scores
from .contender import ALL_DTYPES, SMALL, Contender, Job, in_place, threads_of
from .workloads import EVALUATION, GRADIENT, IN_PLACE, LOSS, Array, Data


class SciPy(Contender):
    """The functions of `scipy.special`, as `scipy_losses.py` puts them together."""

    name = "SciPy"
    package = "scipy"
    takes_out = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        from .scipy_losses import FUNCTIONS

        if loss not in FUNCTIONS:
            return None
        value, value_and_grad = FUNCTIONS[loss]
        if task == LOSS:
            return Job(partial(value, data.y_true, data.y_pred))
        if task == IN_PLACE:
            return in_place(lambda y_pred: value_and_grad(data.y_true, y_pred, y_pred), data)
        out = data.out if task == GRADIENT else None
        return Job(partial(value_and_grad, data.y_true, data.y_pred, out))


class NumExpr(Contender):
    """Losses of elements. The sums of numexpr run on one thread, so the terms go into a buffer on
    all of them, and NumPy adds them up.
    """

    name = "numexpr"
    package = "numexpr"
    takes_out = True
    # The terms of the loss and of its gradient, with s = 1 / n. Numbers are whole, or they would
    # make float64 of float32.
    expressions: ClassVar = {
        "mse": ("(p - y) ** 2", "2 * s * (p - y)"),
        "mae": ("abs(p - y)", "where(p > y, s, where(p < y, -s, 0 * s))"),
        "binary_cross_entropy": (
            "-(y * log(p) + (1 - y) * log1p(-p))",
            "s * (p - y) / (p * (1 - p))",
        ),
        "binary_cross_entropy_with_logits": (
            "where(p > 0, p, 0 * p) - p * y + log1p(exp(-abs(p)))",
            "s * (1 / (1 + exp(-p)) - y)",
        ),
        "huber": (
            "where(abs(p - y) <= 1, (p - y) ** 2, 2 * abs(p - y) - 1) / 2",
            "where(p - y > 1, s, where(p - y < -1, -s, s * (p - y)))",
        ),
    }

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        import numexpr

        if loss not in self.expressions:
            return None
        terms, gradient = self.expressions[loss]
        buffer = np.ones_like(data.y_pred)
        scale = data.y_pred.dtype.type(1 / data.y_pred.size)
        n_threads = fl.get_num_threads() if data.y_pred.size > SMALL else 1

        def value(y_pred: Array) -> Any:
            arguments = {"y": data.y_true, "p": y_pred}
            return numexpr.evaluate(terms, arguments, {}, out=buffer).mean()

        def value_and_grad(y_pred: Array, out: Array | None) -> Any:
            loss = value(y_pred)
            arguments = {"y": data.y_true, "p": y_pred, "s": scale}
            return loss, numexpr.evaluate(gradient, arguments, {}, out=out)

        if task == LOSS:
            job = Job(partial(value, data.y_pred))
        elif task == IN_PLACE:
            job = in_place(lambda y_pred: value_and_grad(y_pred, y_pred), data)
        else:
            out = data.out if task == GRADIENT else None
            job = Job(partial(value_and_grad, data.y_pred, out))
        return job._replace(setting=partial(_numexpr_threads, n_threads, job.setting))


@contextmanager
def _numexpr_threads(n: int, within: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    import numexpr

    before = numexpr.set_num_threads(n)
    try:
        with within():
            yield
    finally:
        numexpr.set_num_threads(before)


class ScikitLearn(Contender):
    """The losses behind its linear models and gradient boosting, which are private there."""

    name = "scikit-learn"
    package = "sklearn"
    # Half of a deviance is the loss that others have; half of a squared error is not.
    classes: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "binary_cross_entropy_with_logits": ("HalfBinomialLoss", {}),
        "mae": ("AbsoluteError", {}),
        "huber": ("HuberLoss", {"delta": 1.0}),
        "quantile": ("PinballLoss", {"quantile": 0.5}),
        "poisson": ("HalfPoissonLoss", {}),
        "gamma": ("HalfGammaLoss", {}),
    }
    gradient_of_sum = True  # as those who call it want it: dividing would be another pass
    takes_out = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        from sklearn._loss import loss as losses

        if loss == "cross_entropy" and data.y_true.ndim == 1:
            theirs = losses.HalfMultinomialLoss(n_classes=data.y_pred.shape[1])
        elif loss in self.classes and data.y_pred.ndim == 1:
            kind, options_of_loss = self.classes[loss]
            theirs = getattr(losses, kind)(**options_of_loss)
        else:
            return None
        y_true = data.y_true.astype(data.y_pred.dtype)
        n_threads = fl.get_num_threads() if data.y_pred.size > SMALL else 1
        options = {"loss_out": np.ones(len(y_true), y_true.dtype), "n_threads": n_threads}
        if task == LOSS:
            return Job(lambda: theirs.loss(y_true, data.y_pred, **options).mean(dtype=np.float64))

        def loss_gradient(y_pred: Array, out: Array | None) -> Any:
            terms, grad = theirs.loss_gradient(y_true, y_pred, gradient_out=out, **options)
            return terms.mean(dtype=np.float64), grad

        if task == IN_PLACE:
            return in_place(lambda y_pred: loss_gradient(y_pred, y_pred), data)
        return Job(partial(loss_gradient, data.y_pred, data.out if task == GRADIENT else None))


class ScikitLearnMetrics(Contender):
    """What it has for evaluation; losses there have no gradients, and check their inputs."""

    name = "scikit-learn metrics"
    package = "sklearn"
    evaluates = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        from sklearn import metrics

        y_true, y_pred = data.y_true, data.y_pred
        if task == EVALUATION:
            return Job(partial(scores.WAYS[loss].scikit_learn, y_true, y_pred))
        if task != LOSS:
            return None
        if loss == "mse":
            return Job(partial(metrics.mean_squared_error, y_true, y_pred))
        if loss == "mae":
            return Job(partial(metrics.mean_absolute_error, y_true, y_pred))
        if loss == "binary_cross_entropy":
            ids, n_classes = y_true.astype(np.int64), 2
        elif loss == "categorical_cross_entropy":
            ids, n_classes = y_true.argmax(axis=1), y_pred.shape[1]
        else:
            return None
        return Job(partial(metrics.log_loss, ids, y_pred, labels=np.arange(n_classes)))


class Torch(Contender):
    name = "PyTorch"
    package = "torch"
    dtypes = ALL_DTYPES
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
        import torch
        from torch.nn import functional

        if loss not in self.functions:
            return None
        # On one thread where two only wait for each other: 0.5 ms instead of 30 us for 32 x 10.
        n_threads = fl.get_num_threads() if data.y_pred.size > SMALL else 1
        threads = partial(threads_of, torch, n_threads)
        function = self.prepared(getattr(functional, self.functions[loss]))
        y_true, y_pred = tensor_of(data.y_true), tensor_of(data.y_pred)
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


def _with_array(dtype: Any, result: Any) -> Any:
    """The loss and the gradient, from a tensor to an array of the same memory."""
    import torch

    loss, grad = result
    return loss, grad.view(torch.uint8).numpy().view(dtype)


class TorchCompiled(Torch):
    """The same functions through `torch.compile`, which writes C++ for these very shapes."""

    name = "torch.compile"
    cache_variable = "TORCHINDUCTOR_CACHE_DIR"
    compiles_shapes = True

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
        compiled: Callable[..., Any] = torch.compile(
            function, fullgraph=True, dynamic=False, isolate_recompiles=True
        )
        return compiled


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


class TorchMetrics(Contender):
    """With functions of PyTorch for what it lacks."""

    name = "TorchMetrics"
    package = "torchmetrics"
    evaluates = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task != EVALUATION:
            return None
        import torch

        setting = partial(threads_of, torch, fl.get_num_threads())
        call = partial(scores.WAYS[loss].torchmetrics, data.y_true, data.y_pred)
        return Job(call, setting)


class Jax(Contender):
    """The formulas in its functions, under `jit`, and its derivatives of them."""

    name = "JAX"
    package = "jax"
    dtypes = ALL_DTYPES
    compiles_shapes = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        import jax

        function = self.functions().get(loss)
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

    def functions(self) -> dict[str, Callable[[Any, Any], Any]]:
        return _jax_functions()


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


class Optax(Jax):
    """The losses of JAX's library of optimizers, under `jit`, and JAX's derivatives of them."""

    name = "optax"
    package = "optax"

    def functions(self) -> dict[str, Callable[[Any, Any], Any]]:
        return _optax_functions()


@cache
def _optax_functions() -> dict[str, Callable[[Any, Any], Any]]:
    import optax

    def cross_entropy(labels: Any, logits: Any) -> Any:
        if labels.ndim == logits.ndim:
            return optax.softmax_cross_entropy(logits, labels).mean()
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return {
        "mse": lambda y, p: optax.squared_error(p, y).mean(),
        "huber": lambda y, p: optax.huber_loss(p, y).mean(),
        "log_cosh": lambda y, p: optax.log_cosh(p, y).mean(),
        "binary_cross_entropy_with_logits": lambda y, x: optax.sigmoid_binary_cross_entropy(
            x, y
        ).mean(),
        "cosine_distance": lambda y, p: optax.cosine_distance(p, y).mean(),
        "cross_entropy": cross_entropy,
    }
