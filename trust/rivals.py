"""The losses of other libraries, under the names that the same losses have here.

A library is a class with a table of its losses and a method that calls one: `answer`. Where a
library has no such loss, but a function that the loss is made of in one line, that line is here.
"""

from collections.abc import Callable
from importlib.util import find_spec
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

import numpy as np

import fastloss as fl


class Answer(NamedTuple):
    """The losses of samples or, with another reduction, one number; the gradient of their sum."""

    value: Any
    grad: Any = None  # None if there is none to have


class Absent(LookupError):
    """The library has no such loss, or not with such labels or options."""


class Library:
    name: ClassVar[str]
    package: ClassVar[str]  # what must be installed, as imported

    def __init__(self) -> None:
        self.losses = self._losses()

    @classmethod
    def installed(cls) -> bool:
        return find_spec(cls.package) is not None

    def _losses(self) -> dict[str, Callable[..., Any]]:
        """Its losses; whatever it must import is imported here."""
        raise NotImplementedError

    def answer(
        self, name: str, y_true: Any, y_pred: Any, reduction: str = "none", **options: Any
    ) -> Answer:
        if name not in self.losses:
            raise Absent("no such loss")
        try:
            return self._call(self.losses[name], y_true, y_pred, reduction, **options)
        except TypeError as error:
            if "unexpected keyword" in str(error):
                raise Absent("no such option") from error
            raise

    def _call(self, loss: Any, y_true: Any, y_pred: Any, reduction: str, **options: Any) -> Answer:
        raise NotImplementedError


def one_hot(ids: Any, logits: Any) -> Any:
    """Class ids as rows of the shape and dtype of the logits; labels of all classes as they are."""
    ids, logits = np.asarray(ids), np.asarray(logits)
    if ids.shape == logits.shape:
        return ids
    return (ids[..., None] == np.arange(logits.shape[-1])).astype(logits.dtype)


def _reduced(losses: Any, reduction: str) -> Any:
    return losses if reduction == "none" else getattr(losses, reduction)()


class Fastloss(Library):
    name = "fastloss"
    package = "fastloss"

    def _losses(self) -> dict[str, Callable[..., Any]]:
        losses = {name: type(loss) for name, loss in vars(fl).items() if isinstance(loss, fl.Loss)}
        return losses | {"evaluate": fl.evaluate}

    def _call(self, loss: Any, y_true: Any, y_pred: Any, reduction: str, **options: Any) -> Answer:
        if loss is fl.evaluate:
            return self._evaluated(y_true, y_pred, **options)
        data = {name: options.pop(name) for name in ("sample_weight", "out") if name in options}
        made = loss(reduction=reduction, **options)
        if np.size(y_pred) >= 2**31:  # as a view: a gradient would need the memory
            return Answer(made(y_true, y_pred, **data))
        return Answer(*made.value_and_grad(y_true, y_pred, **data))

    def _evaluated(
        self, labels: Any, predictions: Any, tells: str, out: Any = None, **options: Any
    ) -> Answer:
        """One of the numbers of an evaluation, which writes nothing."""
        number = attrgetter(tells)(fl.evaluate(labels, predictions, **options))
        return Answer(next(iter(number.values())) if isinstance(number, dict) else number)


class Textbook(Library):
    """The formula as it is mostly written, in NumPy and in the dtype of the data."""

    name = "textbook formula"
    package = "numpy"

    def _losses(self) -> dict[str, Callable[..., Any]]:
        return {"cross_entropy": self._cross_entropy}

    def _cross_entropy(self, t: Any, x: Any) -> Any:
        exps = np.exp(x - x.max(axis=-1, keepdims=True))
        p = exps / exps.sum(axis=-1, keepdims=True)
        losses = -(t * np.log(p)).sum(axis=-1, where=t != 0)
        return losses, t.sum(axis=-1, keepdims=True) * p - t

    def _call(self, loss: Any, y_true: Any, y_pred: Any, reduction: str) -> Answer:
        with np.errstate(all="ignore"):
            losses, grad = loss(one_hot(y_true, y_pred), np.asarray(y_pred))
        return Answer(_reduced(losses, reduction), grad)


class PyTorch(Library):
    """Gradients are those of autograd, of the sum of the losses."""

    name = "PyTorch"
    package = "torch"

    def _losses(self) -> dict[str, Callable[..., Any]]:
        import torch

        self._torch = torch
        functional = torch.nn.functional

        def gaussian(x: Any, t: Any, **options: Any) -> Any:
            mean, variance = x.unbind(-1)
            return functional.gaussian_nll_loss(mean, t, variance, **options)

        def of_probabilities(x: Any, t: Any, **options: Any) -> Any:
            if t.is_floating_point() and t.shape == x.shape:
                raise Absent("no such labels")
            return functional.nll_loss(x.log(), t, **options)

        def kl(x: Any, t: Any, reduction: str) -> Any:
            if reduction == "mean":
                return functional.kl_div(x.log(), t, reduction="batchmean")
            losses = functional.kl_div(x.log(), t, reduction=reduction)
            return losses.sum(dim=-1) if reduction == "none" else losses

        def cosine(x: Any, t: Any, **options: Any) -> Any:
            return functional.cosine_embedding_loss(x, t, torch.ones(len(x)), **options)

        # Of others `weight` is that of classes.
        self._weighs_samples = (
            functional.mse_loss,
            functional.l1_loss,
            functional.huber_loss,
            functional.binary_cross_entropy,
            functional.binary_cross_entropy_with_logits,
        )
        return {
            "mse": functional.mse_loss,
            "mae": functional.l1_loss,
            "huber": functional.huber_loss,
            "smooth_l1": functional.smooth_l1_loss,
            "poisson": functional.poisson_nll_loss,
            "gaussian_nll": gaussian,
            "cosine_distance": cosine,
            "binary_cross_entropy": functional.binary_cross_entropy,
            "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
            "cross_entropy": functional.cross_entropy,
            "categorical_cross_entropy": of_probabilities,
            "multi_margin": functional.multi_margin_loss,
            "kl_divergence": kl,
        }

    def tensor(self, array: Any) -> Any:
        if getattr(array, "dtype", None) is not None and array.dtype.name == "bfloat16":
            return self._torch.tensor(array.astype(np.float32)).to(self._torch.bfloat16)
        return self._torch.tensor(array)

    def _call(self, loss: Any, y_true: Any, y_pred: Any, reduction: str, **options: Any) -> Answer:
        if "sample_weight" in options:
            if loss not in self._weighs_samples:
                raise Absent("no such option")
            options["weight"] = self.tensor(options.pop("sample_weight"))
        x, t = self.tensor(y_pred), self.tensor(y_true)
        if not x.is_floating_point():
            return Answer(self._array(loss(x, t, reduction=reduction, **options)))
        x.requires_grad_(True)
        value = loss(x, t, reduction=reduction, **options)
        value.sum().backward()
        return Answer(self._array(value), self._array(x.grad))

    def _array(self, tensor: Any) -> Any:
        return tensor.detach().to(self._torch.float64).numpy()


class SciPy(Library):
    """Of `scipy.special` and `scipy.spatial`, which have few gradients."""

    name = "SciPy"
    package = "scipy"

    def _losses(self) -> dict[str, Callable[..., Any]]:
        from scipy import special
        from scipy.spatial import distance

        def cross_entropy(y: Any, x: Any) -> Any:
            t, log_p = one_hot(y, x), special.log_softmax(x, axis=-1)
            grad = t.sum(axis=-1, keepdims=True) * special.softmax(x, axis=-1) - t
            if t is y:
                return -(t * log_p).sum(axis=-1), grad
            return -np.take_along_axis(log_p, y[..., None], axis=-1)[..., 0], grad

        def of_logits(y: Any, x: Any) -> Any:
            losses = -(y * special.log_expit(x) + (1 - y) * special.log_expit(-x))
            return losses, special.expit(x) - y

        def of_probabilities(y: Any, p: Any) -> Any:
            return -(special.xlogy(y, p) + special.xlog1py(1 - y, -p)), None

        def categorical(y: Any, p: Any) -> Any:
            return -special.xlogy(one_hot(y, p), p).sum(axis=-1), None

        def jensen_shannon(p: Any, q: Any) -> Any:
            m = (p + q) / 2
            return (special.rel_entr(p, m) + special.rel_entr(q, m)).sum(axis=-1) / 2, None

        def cosine(u: Any, v: Any) -> Any:
            return np.array([distance.cosine(*pair) for pair in zip(u, v, strict=True)]), None

        return {
            "cross_entropy": cross_entropy,
            "binary_cross_entropy_with_logits": of_logits,
            "binary_cross_entropy": of_probabilities,
            "categorical_cross_entropy": categorical,
            "huber": lambda y, x: (special.huber(1.0, x - y), None),
            "kl_divergence": lambda p, q: (special.rel_entr(p, q).sum(axis=-1), None),
            "jensen_shannon": jensen_shannon,
            "cosine_distance": cosine,
        }

    def _call(self, loss: Any, y_true: Any, y_pred: Any, reduction: str) -> Answer:
        losses, grad = loss(np.asanyarray(y_true), np.asanyarray(y_pred))
        return Answer(_reduced(losses, reduction), grad)


class ScikitLearn(Library):
    """The losses that its estimators minimise."""

    name = "scikit-learn"
    package = "sklearn"

    def _losses(self) -> dict[str, Callable[..., Any]]:
        from sklearn._loss import loss

        def multinomial(x: Any) -> Any:
            return loss.HalfMultinomialLoss(n_classes=x.shape[-1])

        return {
            "mse": lambda x: loss.HalfSquaredError(),
            "mae": lambda x: loss.AbsoluteError(),
            "quantile": lambda x: loss.PinballLoss(quantile=0.5),
            "huber": lambda x: loss.HuberLoss(delta=1.0),
            "poisson": lambda x: loss.HalfPoissonLoss(),
            "gamma": lambda x: loss.HalfGammaLoss(),
            "tweedie": lambda x: loss.HalfTweedieLoss(power=1.5),
            "binary_cross_entropy_with_logits": lambda x: loss.HalfBinomialLoss(),
            "exponential": lambda x: loss.ExponentialLoss(),
            "cross_entropy": multinomial,
        }

    def _call(self, loss: Any, y_true: Any, y_pred: Any, reduction: str, **options: Any) -> Answer:
        x, y = np.asanyarray(y_pred), np.asanyarray(y_true)
        made, shape = loss(x), x.shape
        if made.is_multiclass:
            if y.ndim == x.ndim:
                raise Absent("no such labels")
            y = y.astype(x.dtype)
        elif y.shape == shape:  # of one axis
            x, y = x.ravel(), y.ravel()
        factor = 2 if type(made).__name__ == "HalfSquaredError" else 1
        losses, grad = map(np.asarray, made.loss_gradient(y, x, **options))
        if reduction == "mean":
            return Answer(factor * made(y, x, **options), factor * grad.reshape(shape))
        losses = losses if made.is_multiclass else losses.reshape(shape)
        return Answer(_reduced(factor * losses, reduction), factor * grad.reshape(shape))


class Metrics(Library):
    """The public functions of scikit-learn, which are means and have no gradients."""

    name = "scikit-learn"
    package = "sklearn"

    def _losses(self) -> dict[str, Callable[..., Any]]:
        from sklearn import metrics

        def log_loss(y: Any, p: Any, **options: Any) -> Any:
            n_classes = np.shape(p)[-1] if np.ndim(p) > 1 else 2
            return metrics.log_loss(y, p, labels=range(n_classes), **options)

        return {
            "mse": metrics.mean_squared_error,
            "mae": metrics.mean_absolute_error,
            "msle": metrics.mean_squared_log_error,
            "mape": metrics.mean_absolute_percentage_error,
            "quantile": metrics.mean_pinball_loss,
            "binary_cross_entropy": log_loss,
            "categorical_cross_entropy": log_loss,
        }

    def _call(self, loss: Any, y_true: Any, y_pred: Any, reduction: str, **options: Any) -> Answer:
        return Answer(loss(y_true, y_pred, **options))


def installed(*libraries: type[Library]) -> list[Library]:
    return [library() for library in libraries if library.installed()]


def missing(*libraries: type[Library]) -> list[str]:
    return sorted({library.name for library in libraries if not library.installed()})
