"""Functions of the cross-entropy of a class id, each linked to it by `link`."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...bases.options import LARGEST_FACTOR, as_weights, check_number, near_one
from ...bases.softmax import SoftmaxLoss
from ...call.arrays import Array
from ...kernels.scalar import exp, exp_of_minus, log


@dataclass(frozen=True)
class Focal(SoftmaxLoss):
    """Cross-entropy of a class id y and the softmax p of logits that looks away from what is easy.

        loss       = alpha_y (1 - p_y)^gamma (-log(p_y))
        gradient_j = alpha_y f'(l) (p_j - [j = y])
        hessian_j  = alpha_y (f''(l) (p_j - [j = y])^2 + f'(l) p_j (1 - p_j))

    with l = -log(p_y) and f(l) = (1 - exp(-l))^gamma l. `alpha` is a number, or c numbers, one for
    each class; it is a factor of the loss, while a `class_weight` counts in the mean, too. With
    `gamma=0` and no `alpha` it is `CrossEntropy`.

    The verbs take `labels`, class ids of shape (...), and `logits` of shape (..., c); the other
    options and the errors are those of `CrossEntropy`, besides a ValueError for soft labels.

    Ready made: `focal`, with gamma = 2.

    >>> import fastloss as fl
    >>> loss, grad = fl.focal.value_and_grad([0], [[2.0, 0.0]])
    >>> round(loss, 12), grad.round(6)
    (0.001803562835, array([[-0.004871,  0.004871]]))

    Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).
    """

    gamma: float = 2.0
    alpha: float | tuple[float, ...] | None = None

    link_options = ("gamma",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("gamma", self.gamma, 0.0)
        if isinstance(self.alpha, int | float):
            check_number("alpha", self.alpha, 0.0)
            object.__setattr__(self, "alpha", float(self.alpha))
        elif self.alpha is not None:
            alpha = tuple(as_weights("alpha", self.alpha).tolist())
            object.__setattr__(self, "alpha", alpha)

    def link(self, loss: Any) -> tuple[Any, Any, Any]:
        power, rest = exp_of_minus(loss)
        p = power + rest
        q = (1 - power) - rest
        certain = q == 0
        # q^gamma, and -p log(p) / q, which tends to 1 as q goes to 0, and to 0 as p goes to 0.
        easy = exp(self.gamma * log(q)) if self.gamma != 0 else 1
        ratio = 1 if certain else (p * loss / q if p != 0 else 0)
        turn = 2 - loss + (self.gamma - 1) * ratio
        bend = self.gamma * easy * (p / (1 if certain else q)) * turn
        value = easy * loss
        # Where q is 0, so is all that the curvature is multiplied by; and where p is 0, it takes
        # nothing even of an infinite turn.
        return value, easy * (1 + self.gamma * ratio), 0 if certain or p == 0 else bend

    @cached_property
    def _alpha(self) -> Array:
        return as_weights("alpha", self.alpha)

    def _factors(self, width: int) -> tuple[Array, int] | None:
        if self.alpha is None:
            return None
        alpha = np.full(width, self.alpha) if isinstance(self.alpha, float) else self._alpha
        factors, exponent = near_one(alpha)
        if self.class_weight is None or width == 1:
            return factors, exponent
        weight, of_weights = self._softmax.class_weight
        product, more = near_one(factors * weight)
        return product, exponent + of_weights + more

    def _log_weights_of_classes(self, width: int) -> Array:
        with np.errstate(divide="ignore"):
            factors = np.log(1.0 if self.alpha is None else self.alpha)
        return super()._log_weights_of_classes(width) + factors

    def _of_each_class(self) -> dict[str, tuple[Any, ...]]:
        return {"alpha": self.alpha} if isinstance(self.alpha, tuple) else {}


@dataclass(frozen=True)
class GeneralizedCrossEntropy(SoftmaxLoss):
    """Between cross-entropy and absolute error of a class id y, for labels that may be wrong.

        loss       = (1 - p_y^q) / q
        gradient_j = p_y^q (p_j - [j = y])
        hessian_j  = p_y^q (p_j (1 - p_j) - q (p_j - [j = y])^2)

    with p the softmax of the logits. As q goes to 0 it becomes `CrossEntropy`; with `q=1` it is
    1 - p_y, half the absolute error of the probabilities.

    The verbs take `labels`, class ids of shape (...), and `logits` of shape (..., c); the other
    options and the errors are those of `CrossEntropy`, besides a ValueError for soft labels.

    Ready made: `generalized_cross_entropy`, with q = 0.7.

    >>> import fastloss as fl
    >>> round(fl.generalized_cross_entropy([0], [[2.0, 0.0]]), 12)
    0.121452614824

    Source: Z. Zhang and M. R. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels (2018).
    """

    q: float = 0.7

    link_options = ("q",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("q", self.q, 0.0, 1.0)
        if self.q == 0:
            raise ValueError("q is 0, with which the loss is CrossEntropy: take that")

    def link(self, loss: Any) -> tuple[Any, Any, Any]:
        power, rest = exp_of_minus(self.q * loss)
        slope = power + rest
        return ((1 - power) - rest) / self.q, slope, -self.q * slope


@dataclass(frozen=True)
class PolyCrossEntropy(SoftmaxLoss):
    """Cross-entropy of a class id y whose first term in 1 - p_y is weighed by 1 + `epsilon`.

        loss       = -log(p_y) + epsilon (1 - p_y)
        gradient_j = (1 + epsilon p_y) (p_j - [j = y])
        hessian_j  = (1 + epsilon p_y) p_j (1 - p_j) - epsilon p_y (p_j - [j = y])^2

    with p the softmax of the logits; `epsilon` is from -1 to 1e30. With `epsilon=0` it is
    `CrossEntropy`.

    The verbs take `labels`, class ids of shape (...), and `logits` of shape (..., c); the other
    options and the errors are those of `CrossEntropy`, besides a ValueError for soft labels.

    Ready made: `poly_cross_entropy`, with epsilon = 1.

    >>> import fastloss as fl
    >>> round(fl.poly_cross_entropy([0], [[2.0, 0.0]]), 12)
    0.246130933065

    Source: Z. Leng et al., PolyLoss (2022), Poly-1.
    """

    epsilon: float = 1.0

    link_options = ("epsilon",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("epsilon", self.epsilon, -1.0, LARGEST_FACTOR)

    def link(self, loss: Any) -> tuple[Any, Any, Any]:
        power, rest = exp_of_minus(loss)
        bend = self.epsilon * (power + rest)
        return loss + self.epsilon * ((1 - power) - rest), 1 + bend, -bend


focal = Focal()
generalized_cross_entropy = GeneralizedCrossEntropy()
poly_cross_entropy = PolyCrossEntropy()
