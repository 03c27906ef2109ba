"""Losses of binary labels, and of independent labels between 0 and 1."""

import math
from dataclasses import dataclass
from typing import Any

from ._options import check_number
from .kernels.scalar import exp_of_gap, log, log1p, log1p_of_share
from .loss import ElementwiseLoss


def _share(label: Any, loss: Any) -> Any:
    """label * loss, where a label of 0 takes nothing even from an infinite loss."""
    return label * loss if label != 0 else 0


def _floored(log_p: Any, floor: Any) -> Any:
    return floor if log_p < floor else log_p


@dataclass(frozen=True)
class BinaryCrossEntropy(ElementwiseLoss):
    """Cross-entropy of labels y in [0, 1] and probabilities p in [0, 1].

        loss     = -y log(p) - (1 - y) log(1 - p)
        gradient = (1 - y) / (1 - p) - y / p
        hessian  = (1 - y) / (1 - p)^2 + y / p^2

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

    log_floor: float = -100.0

    y_true_range = (0.0, 1.0)
    y_pred_range = (0.0, 1.0)
    y_true_widens = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("log_floor", self.log_floor, -math.inf, 0.0)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        log_p = log(y_pred)
        log_q = log1p(-y_pred)
        loss = _share(y_true, -_floored(log_p, self.log_floor)) + _share(
            1 - y_true, -_floored(log_q, self.log_floor)
        )
        a = 0 if log_p < self.log_floor or y_true == 0 else y_true / y_pred
        b = 0 if log_q < self.log_floor or y_true == 1 else (1 - y_true) / (1 - y_pred)
        hess_a = 0 if a == 0 else a / y_pred
        hess_b = 0 if b == 0 else b / (1 - y_pred)
        return loss, b - a, hess_a + hess_b


@dataclass(frozen=True)
class BinaryCrossEntropyWithLogits(ElementwiseLoss):
    """Cross-entropy of labels y in [0, 1] and the sigmoid of logits x.

        loss     = w y log(1 + exp(-x)) + (1 - y) log(1 + exp(x))
        gradient = (1 - y) sigmoid(x) - w y sigmoid(-x)
        hessian  = (w y + 1 - y) sigmoid(x) sigmoid(-x)

    with w = `pos_weight`, the weight of the positive label. `label_smoothing` e moves labels
    towards 1/2: y (1 - e) + e / 2. All three are exact to the last digits for logits of any size.

    Ready made: `binary_cross_entropy_with_logits`.

    >>> import fastloss as fl
    >>> round(fl.binary_cross_entropy_with_logits([1, 0], [20.0, -800.0]), 18)
    1.03057681e-09

    Source: Bishop, as for `BinaryCrossEntropy`; smoothing: C. Szegedy et al., Rethinking the
    Inception Architecture (2016).
    """

    pos_weight: float = 1.0
    label_smoothing: float = 0.0

    names = ("y_true", "logits")
    y_true_range = (0.0, 1.0)
    y_true_widens = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("pos_weight", self.pos_weight, 0.0)
        check_number("label_smoothing", self.label_smoothing, 0.0, 1.0)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        kept, share = 1 - self.label_smoothing, self.label_smoothing / 2
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
        total = against + agreeing
        loss = total * log1p_of_share(e) + _share(against, size)
        grad = larger * (against - agreeing * e)
        return loss, grad if y_pred > 0 else -grad, total * (e * larger * larger)


binary_cross_entropy = BinaryCrossEntropy()
binary_cross_entropy_with_logits = BinaryCrossEntropyWithLogits()
