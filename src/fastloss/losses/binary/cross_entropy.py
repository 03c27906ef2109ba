"""Cross-entropies of binary labels, and of independent labels between 0 and 1."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...bases import logits
from ...bases.constant import kept, log_odds, mean, root
from ...bases.elementwise import ElementwiseLoss
from ...bases.options import Numbers, check_number
from ...call.arrays import Array
from ...kernels.scalar import (
    exp,
    exp_of_gap,
    exp_of_minus,
    log,
    log1p,
    log1p_of_share,
    sigmoid,
    softplus,
)
from ..hessians import Hessians, exact, to_the_truth

# Of larger exponents the squares, which the Hessian has, could overflow in float32.
_LARGEST_GAMMA = 1e15
# The smallest normal float32.
LEAST_OF_XGBOOST = 2.0**-126


def weighed(label: Any, loss: Any) -> Any:
    """label * loss, where a label of 0 takes nothing even from an infinite loss."""
    return label * loss if label != 0 else 0


def _floored(log_p: Any, floor: Any) -> Any:
    return floor if log_p < floor else log_p


# ---------------------------------------------------------------------------------------------
# Other Hessians


def _logistic_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    # The loss is total * log(2 cosh(x / 2)) and a multiple of x, which does not bend.
    size = abs(y_pred)
    power, rest = exp_of_minus(size)
    ratio = ((1 - power) - rest) / ((1 + power + rest) * size) if size != 0 else 0.5
    return _total(self, y_true) * (0.5 * ratio)


def _logistic_of_xgboost(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    least = 1e-16 * _total(self, y_true)
    return least if results[2] < least else results[2]


def _total(self: Any, y_true: Any) -> Any:
    """What both labels of a logit weigh."""
    positive = self.pos_weight * (self.kept * y_true + self.share)
    return 1 if self.even else positive + (self.kept * (1 - y_true) + self.share)


def _focal_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    # The largest curvature of a label of weight 1, at most 28% too large.
    bound = 0.25 + 0.3125 * log1p(self.gamma)
    return (self.positive * y_true + self.negative * (1 - y_true)) * bound


# ---------------------------------------------------------------------------------------------
# The losses


@dataclass(frozen=True)
class BinaryLoss(ElementwiseLoss):
    """What losses of labels between 0 and 1 share."""

    y_true_range = (0.0, 1.0)
    y_true_widens = False
    cost: ClassVar[int] = 5


def _proba(self: Any, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    return 0, sigmoid(y_pred)


def _log_proba(self: Any, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    return 0, -softplus(-y_pred)


@dataclass(frozen=True)
class _BinaryLogitLoss(BinaryLoss):
    """A loss of logits x, which stand for the probabilities sigmoid(x) of the label 1."""

    names = ("y_true", "logits")
    _outputs: ClassVar[dict[str, Callable[..., Any]]] = {"proba": _proba, "log_proba": _log_proba}
    proba, log_proba = logits.proba, logits.log_proba


@dataclass(frozen=True)
class BinaryCrossEntropy(BinaryLoss):
    """Cross-entropy of labels y in [0, 1] and probabilities p in [0, 1].

        loss     = -y log(p) - (1 - y) log(1 - p)
        gradient = (1 - y) / (1 - p) - y / p
        hessian  = (1 - y) / (1 - p)^2 + y / p^2;        majorizer = max(hessian, 1 / (p (1 - p)))

    `log_floor` is the least value that a logarithm takes, so that a certain and wrong prediction
    costs 100 and not infinity; where it acts, the loss is constant and its derivatives are 0.
    `log_floor=-math.inf` gives the bare formula. If you have logits,
    `BinaryCrossEntropyWithLogits` is exact where probabilities have long been rounded to 0 or 1.

    Ready made: `binary_cross_entropy`.

    >>> import fastloss as fl
    >>> round(fl.binary_cross_entropy([1, 0, 1], [0.9, 0.1, 0.0]), 12)
    33.403573677105

    Source: C. M. Bishop, Pattern Recognition and Machine Learning (2006), equation 4.90; the floor
    is that of PyTorch.
    """

    log_floor: Numbers = -100.0

    _limit_at_0 = ("log_floor",)
    y_pred_range = (0.0, 1.0)
    hessians: ClassVar[Hessians] = {"majorizer": to_the_truth}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("log_floor", self.log_floor, -math.inf, 0.0)

    def _constant(self, y_true: Array, weight: Array) -> float:
        best = mean(y_true, weight)
        one, zero = kept(np.array([best, 1 - best]), self.log_floor)
        return best if one and zero else float(one)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        log_p = log(y_pred)
        log_q = log1p(-y_pred)
        loss = weighed(y_true, -_floored(log_p, self.log_floor)) + weighed(
            1 - y_true, -_floored(log_q, self.log_floor)
        )
        p, q = y_pred, 1 - y_pred
        # A term has a slope if its label counts and no floor acts.
        with_p = (y_true != 0) & (not log_p < self.log_floor)
        with_q = (y_true != 1) & (not log_q < self.log_floor)
        # (1 - y) / q - y / p over a common denominator, as the two cancel near the optimum.
        above = y_pred - y_true if with_p & with_q else 1 - y_true if with_q else -y_true
        below = p * q if with_p & with_q else q if with_q else p
        slope = above / below if with_p | with_q else 0
        hess_a = y_true / p / p if with_p else 0
        hess_b = (1 - y_true) / q / q if with_q else 0
        return loss, slope, hess_a + hess_b


@dataclass(frozen=True)
class BinaryCrossEntropyWithLogits(_BinaryLogitLoss):
    """Cross-entropy of labels y in [0, 1] and the sigmoid of logits x.

        loss     = w y log(1 + exp(-x)) + (1 - y) log(1 + exp(x))
        gradient = (1 - y) sigmoid(x) - w y sigmoid(-x)
        hessian  = (w y + 1 - y) sigmoid(x) sigmoid(-x), also of LightGBM
        majorizer = (w y + 1 - y) tanh(|x| / 2) / (2 |x|), at most 1/4 of the weights

    with w = `pos_weight`, the weight of the positive label. XGBoost takes the exact Hessian, but at
    least 1e-16 of the weights. `label_smoothing` e moves labels towards 1/2: y (1 - e) + e / 2.
    Loss, gradient and Hessian are exact to the last digits for logits of any size.

    Where a sample has several labels, shape (..., c), `pos_weight` may be a sequence of c numbers,
    the j-th of which is that of label j; the mean is over all elements.

    Ready made: `binary_cross_entropy_with_logits`.

    >>> import fastloss as fl
    >>> round(fl.binary_cross_entropy_with_logits([1, 0], [20.0, -800.0]), 18)
    1.03057681e-09
    >>> rare = fl.BinaryCrossEntropyWithLogits(pos_weight=[1.0, 10.0], reduction="none")
    >>> rare([[1, 1], [0, 0]], [[0.0, 0.0], [0.0, 0.0]]).round(4)
    array([[0.6931, 6.9315],
           [0.6931, 0.6931]])

    Source: Bishop, as for `BinaryCrossEntropy`; smoothing: C. Szegedy et al., Rethinking the
    Inception Architecture (2016); the majorizer: T. S. Jaakkola and M. I. Jordan, Bayesian
    parameter estimation via variational methods (2000).
    """

    pos_weight: Numbers = 1.0
    label_smoothing: Numbers = 0.0
    derived = ("even", "kept", "share")
    _limit_at_0 = ("pos_weight", "label_smoothing")
    hessians: ClassVar[Hessians] = {
        "majorizer": _logistic_majorizer,
        "xgboost": _logistic_of_xgboost,
        "lightgbm": exact,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("pos_weight", self.pos_weight, 0.0)
        check_number("label_smoothing", self.label_smoothing, 0.0, 1.0)

    @property
    def even(self) -> bool:
        """Whether the two labels of a logit weigh 1 in all."""
        return bool(self.pos_weight == 1 and self.label_smoothing == 0)

    # How a label is smoothed: found before the option is rounded to float32.

    @property
    def kept(self) -> Any:
        return 1 - self.label_smoothing

    @property
    def share(self) -> Any:
        return self.label_smoothing / 2

    def _constant(self, y_true: Array, weight: Array) -> float:
        positive = self.pos_weight * (self.kept * y_true + self.share)
        negative = self.kept * (1 - y_true) + self.share
        return log_odds(float(weight @ positive), float(weight @ negative))

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        kept, share = self.kept, self.share
        positive = self.pos_weight * (kept * y_true + share)
        negative = kept * (1 - y_true) + share
        # With e = exp(-|x|), nothing overflows and nothing is subtracted: the sigmoid of |x| is
        # 1 / (1 + e), that of -|x| is e / (1 + e), and log(1 + exp(-|x|)) is log1p(e).
        size = abs(y_pred)
        e = exp_of_gap(-size)
        larger = 1 / (1 + e)
        # The label that the sign of the logit speaks against, and the other.
        against = negative if y_pred > 0 else positive
        agreeing = positive if y_pred > 0 else negative
        total = 1 if self.even else against + agreeing
        loss = total * log1p_of_share(e) + weighed(against, size)
        grad = larger * (against - agreeing * e)
        return loss, grad if y_pred > 0 else -grad, total * (e * larger * larger)


@dataclass(frozen=True)
class BinaryFocal(_BinaryLogitLoss):
    """Cross-entropy of labels y in [0, 1] and logits x that looks away from what is easy.

        loss     = alpha y q^gamma log(1 + exp(-x)) + (1 - alpha) (1 - y) p^gamma log(1 + exp(x))
        gradient = alpha y q^gamma (-q - gamma p log(1 + exp(-x)))
                   + (1 - alpha) (1 - y) p^gamma (p + gamma q log(1 + exp(x)))
        hessian  = alpha y q^gamma h(p, log(1 + exp(-x)))
                   + (1 - alpha) (1 - y) p^gamma h(q, log(1 + exp(x))),
                   h(r, a) = r (1 - r) (1 + 2 gamma) + gamma r a (gamma r - 1 + r)
        majorizer = (alpha y + (1 - alpha) (1 - y)) (1 + 5/4 log(1 + gamma)) / 4

    with p = sigmoid(x) and q = sigmoid(-x). `alpha` is the weight of positive labels, that of the
    negative ones being 1 - alpha; None weighs both by 1. With `gamma=0` and no `alpha` it is
    `BinaryCrossEntropyWithLogits`.

    Ready made: `binary_focal`, with gamma = 2.

    >>> import fastloss as fl
    >>> loss, grad = fl.binary_focal.value_and_grad([1, 0], [3.0, 0.0])
    >>> round(loss, 12), grad.round(6)
    (0.086698039232, array([-0.000157,  0.149143]))

    The exact Hessian is negative where the loss bends down; the majorizer is no less than its
    largest value.

    Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017); a bound for all x:
    D. Böhning and B. G. Lindsay, Monotonicity of Quadratic-Approximation Algorithms (1988).
    """

    gamma: Numbers = 2.0
    alpha: Numbers | None = None
    derived = ("positive", "negative", "squares")
    _limit_at_0 = ("gamma", "alpha")
    hessians: ClassVar[Hessians] = {"majorizer": _focal_majorizer}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("gamma", self.gamma, 0.0, _LARGEST_GAMMA)
        if self.alpha is not None:
            check_number("alpha", self.alpha, 0.0, 1.0)

    # The weights of the two labels.

    @property
    def positive(self) -> float:
        return 1.0 if self.alpha is None else self.alpha

    @property
    def negative(self) -> float:
        return 1.0 if self.alpha is None else 1.0 - self.alpha

    @property
    def squares(self) -> bool:
        """Whether powers of gamma are squares, which takes a third less time than exponentials."""
        return bool(self.gamma == 2)

    def _constant(self, y_true: Array, weight: Array) -> float:
        # A label enters the loss as a weight does.
        ones, zeros = float(weight @ y_true), float(weight @ (1 - y_true))

        def slope(x: float) -> float:
            of_one, of_zero = (self.scalar(y, np.float64(x))[1] for y in (1.0, 0.0))
            return float(ones * of_one + zeros * of_zero)

        return root(slope, log_odds(self.positive * ones, self.negative * zeros))

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        # The larger and the smaller of p and q, and -log of each.
        size = abs(y_pred)
        e = exp_of_gap(-size)
        larger = 1 / (1 + e)
        smaller = e * larger
        a = log1p_of_share(e)
        b = a + size
        # The label that the sign of the logit speaks against, and the other.
        positive, negative = self.positive * y_true, self.negative * (1 - y_true)
        against = negative if y_pred > 0 else positive
        agreeing = positive if y_pred > 0 else negative
        if self.squares:
            against, agreeing = against * (larger * larger), agreeing * (smaller * smaller)
        elif self.gamma != 0:
            against, agreeing = against * exp(-self.gamma * a), agreeing * exp(-self.gamma * b)
        loss = agreeing * a + weighed(against, b)
        turn_a = self.gamma * (larger * a)
        turn_b = self.gamma * weighed(smaller, b)
        grad = against * (larger + turn_b) - agreeing * (smaller + turn_a)
        # The derivatives of the brackets, and of the powers before them.
        hess_a = larger * smaller * (1 + 2 * self.gamma) + (self.gamma * larger - smaller) * turn_a
        hess_b = larger * smaller * (1 + 2 * self.gamma) + (self.gamma * smaller - larger) * turn_b
        return loss, grad if y_pred > 0 else -grad, agreeing * hess_a + against * hess_b


binary_cross_entropy = BinaryCrossEntropy()
binary_cross_entropy_with_logits = BinaryCrossEntropyWithLogits()
binary_focal = BinaryFocal()
