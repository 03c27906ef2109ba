"""scikit-learn's losses of linear models and boosting: `sklearn._loss`.

Its Python classes keep their checks, links and constants; the compiled functions under them, which
compute all numbers, are replaced.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import sklearn._loss.loss as peer

import fastloss as fl

from .recorder import NotOffered, instead

REFUSALS = {
    "sample_weight.* is -": "negative sample weights, which fastloss refuses",
    "y_true.* is -.* takes 0 and more": "negative labels of a Poisson or gamma loss",
}
VOID = {
    "test_loss_same_as_C_functions": "compares two layers of scikit-learn, under both of which "
    "fastloss is here",
    # A PyTorch that was built for GPUs fails on a machine without one.
    r"\[torch-cuda-": "is about arrays on a GPU",
}
VERBS = ("loss", "gradient", "loss_gradient", "gradient_hessian")


class Compiled:
    """A compiled loss of scikit-learn, whose verbs fastloss answers.

    `loss` may also be what fastloss lacks, in words. `scale` is what the loss of fastloss is
    multiplied by, and `constant` what scikit-learn adds to that of a sample for its label alone.
    """

    def __init__(self, theirs: Any, loss: fl.Loss | str, scale: float = 1.0, constant: Any = None):
        self.theirs, self.scale, self.constant = theirs, scale, constant
        self.lacking = loss if isinstance(loss, str) else ""
        self.ours = loss if isinstance(loss, str) else replace(loss, reduction="none")

    def __getattr__(self, name: str) -> Any:
        """A verb; or an option, which scikit-learn reads and writes."""
        if name.startswith("__") or name == "theirs":
            raise AttributeError(name)
        if name in VERBS:
            return instead(getattr(self, f"_{name}"), getattr(self.theirs, name), REFUSALS)
        return getattr(self.theirs, name)

    def _loss_now(self) -> Any:
        if self.lacking:
            raise NotOffered(self.lacking)
        return self.ours

    def _labels(self, y_true: Any) -> Any:
        return y_true

    def _write(self, out: Any, result: Any) -> None:
        out[...] = result if self.scale == 1.0 else self.scale * result

    def _write_loss(self, out: Any, result: Any, y_true: Any, sample_weight: Any) -> None:
        if self.constant is not None:
            result = result + self.constant(y_true) * (
                1 if sample_weight is None else sample_weight
            )
        self._write(out, result)

    def _loss(self, y_true, raw_prediction, sample_weight, loss_out, n_threads=1):
        loss, labels = self._loss_now(), self._labels(y_true)
        result = loss(labels, raw_prediction, sample_weight=sample_weight)
        self._write_loss(loss_out, result, y_true, sample_weight)

    def _gradient(self, y_true, raw_prediction, sample_weight, gradient_out, n_threads=1):
        loss, labels = self._loss_now(), self._labels(y_true)
        self._write(gradient_out, loss.grad(labels, raw_prediction, sample_weight=sample_weight))

    def _loss_gradient(
        self, y_true, raw_prediction, sample_weight, loss_out, gradient_out, n_threads=1
    ):
        loss, labels = self._loss_now(), self._labels(y_true)
        result, grad = loss.value_and_grad(labels, raw_prediction, sample_weight=sample_weight)
        self._write_loss(loss_out, result, y_true, sample_weight)
        self._write(gradient_out, grad)

    def _gradient_hessian(
        self, y_true, raw_prediction, sample_weight, gradient_out, hessian_out, n_threads=1
    ):
        loss, labels = self._loss_now(), self._labels(y_true)
        grad, hess = loss.grad_hess(labels, raw_prediction, sample_weight=sample_weight)
        self._write(gradient_out, grad)
        self._write(hessian_out, hess)


class Multinomial(Compiled):
    def _labels(self, y_true: Any) -> Any:
        """Class ids, which scikit-learn keeps as floats."""
        return y_true.astype(np.int64)

    def gradient_proba(
        self, y_true, raw_prediction, sample_weight, gradient_out, proba_out, n_threads=1
    ):
        verb = instead(self._gradient_proba, self.theirs.gradient_proba, REFUSALS)
        return verb(y_true, raw_prediction, sample_weight, gradient_out, proba_out)

    def _gradient_proba(self, y_true, raw_prediction, sample_weight, gradient_out, proba_out):
        self._gradient(y_true, raw_prediction, sample_weight, gradient_out)
        proba_out[...] = self.ours.proba(raw_prediction)

    def _test_cy_gradient(self, y_true, raw_prediction, sample_weight):
        verb = instead(self._gradient_by_row, self.theirs._test_cy_gradient)
        return verb(y_true, raw_prediction, sample_weight)

    def _gradient_by_row(self, y_true, raw_prediction, sample_weight):
        """Their function of one row by ours."""
        of_row = self.ours.jit(raw_prediction.shape[1], raw_prediction.dtype).value_and_grad
        grad = np.empty_like(raw_prediction)
        for label, row, place in zip(self._labels(y_true), raw_prediction, grad, strict=True):
            of_row(label, row, place)
        return grad * sample_weight[:, None]


class Kinked(Compiled):
    def _gradient_hessian(self, *arguments, **options):
        raise NotOffered("a Hessian of 1 where it is 0, as boosting likes it")


class Huber(Compiled):
    """Boosting writes `delta` after the loss is made."""

    def _loss_now(self) -> Any:
        return fl.Huber(delta=self.theirs.delta, reduction="none")


def _poisson_constant(y: Any) -> Any:
    return np.where(y == 0, 0, y * np.log(np.where(y == 0, 1, y))) - y


def _gamma_constant(y: Any) -> Any:
    return -np.log(y) - 1


def _tweedie(power: float) -> tuple[Any, ...]:
    if 1 < power < 2:
        return (fl.Tweedie(power=power),)
    known: dict[float, tuple[Any, ...]] = {1: (fl.poisson,), 2: (fl.gamma,)}
    return known.get(power, ("Tweedie losses of a power outside [1, 2]",))


def _tweedie_of_means(power: float) -> tuple[Any, ...]:
    known: dict[float, tuple[Any, ...]] = {
        0: (fl.mse, 0.5),
        1: (fl.Poisson(log_input=False), 1.0, _poisson_constant),
        2: (fl.Gamma(log_input=False), 1.0, _gamma_constant),
    }
    return known.get(power, ("Tweedie losses of means with a power other than 0, 1 and 2",))


def install() -> None:
    # Their name, what stands in for it, and ours with scale and constant, from their options.
    replaced: list[tuple[str, type[Compiled], Any]] = [
        ("CyHalfSquaredError", Compiled, lambda: (fl.mse, 0.5)),
        ("CyAbsoluteError", Kinked, lambda: (fl.mae,)),
        ("CyPinballLoss", Kinked, lambda quantile: (fl.Quantile(q=quantile),)),
        ("CyHuberLoss", Huber, lambda delta: (fl.Huber(delta=delta),)),
        ("CyHalfPoissonLoss", Compiled, lambda: (fl.poisson,)),
        ("CyHalfGammaLoss", Compiled, lambda: (fl.gamma,)),
        ("CyHalfTweedieLoss", Compiled, _tweedie),
        ("CyHalfTweedieLossIdentity", Compiled, _tweedie_of_means),
        ("CyHalfBinomialLoss", Compiled, lambda: (fl.binary_cross_entropy_with_logits,)),
        ("CyExponentialLoss", Compiled, lambda: (fl.exponential,)),
        ("CyHalfMultinomialLoss", Multinomial, lambda: (fl.cross_entropy,)),
    ]
    for name, kind, ours in replaced:
        theirs = getattr(peer, name)
        setattr(
            peer,
            name,
            lambda kind=kind, theirs=theirs, ours=ours, **options: kind(
                theirs(**options), *ours(**options)
            ),
        )
