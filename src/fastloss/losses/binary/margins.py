"""Losses of the margin between two classes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...bases.constant import log_odds, quantile, root
from ...call.arrays import Array
from ...kernels.scalar import exp
from ..hessians import Hessians, exact, over_distance
from .cross_entropy import LEAST_OF_XGBOOST, BinaryLoss, weighed


def _margin(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """s = 2 y - 1, and how much s x lacks of 1; negative if it is more."""
    s = 2 * y_true - 1
    missing = 1 - weighed(s, y_pred)
    return s, missing if y_pred == y_pred else y_pred


def _hinge_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    # Half of |m|, and a multiple of m, which does not bend.
    s, missing = _margin(y_true, y_pred)
    return over_distance(0.5 * s * s if missing != 0 else 0, missing)


def _hinge_of_xgboost(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return 1 if results[0] > 0 else LEAST_OF_XGBOOST


def _squared_hinge_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    s = 2 * y_true - 1
    return 2 * s * s


@dataclass(frozen=True)
class Hinge(BinaryLoss):
    """What is missing from a margin of 1 between scores x and the decision, for labels in [0, 1].

        loss     = max(0, 1 - s x),     s = 2 y - 1
        gradient = -s where 1 - s x > 0, else 0
        hessian  = 0;        majorizer = s^2 / (2 |1 - s x|), at most 2^14 s^2, 0 at the kink

    XGBoost takes a Hessian of 1 where the gradient is not 0, else 2^-126.

    A label of 0 stands for s = -1; if yours are -1 and 1, pass (y_true + 1) / 2.

    Ready made: `hinge`.

    >>> import fastloss as fl
    >>> fl.hinge.value_and_grad([1, 0, 0], [0.5, 0.5, -3.0])
    (0.6666666666666666, array([-0.33333333,  0.33333333,  0.        ]))

    Source: C. Cortes and V. Vapnik, Support-Vector Networks (1995); the majorizers: P. J. F.
    Groenen, G. Nalbantov, J. C. Bioch, SVM-Maj (2008).
    """

    cost: ClassVar[int] = 1
    hessians: ClassVar[Hessians] = {"majorizer": _hinge_majorizer, "xgboost": _hinge_of_xgboost}

    def _constant(self, y_true: Array, weight: Array) -> float:
        # Far below all kinks the samples with s > 0 have slopes, and each kink, at 1 / s, raises
        # the slope of the sum by |s|.
        s = 2 * y_true - 1
        if not np.any(s):
            return 0.0
        turns = (weight * abs(s))[s != 0]
        rising = float((weight * s)[s > 0].sum() / turns.sum())
        return quantile(1 / s[s != 0], turns, rising)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        s, missing = _margin(y_true, y_pred)
        # NaN is neither, and passes through.
        slope = -s if missing > 0 else 0 if missing <= 0 else missing
        return 0 if missing < 0 else missing, slope, 0


@dataclass(frozen=True)
class SquaredHinge(BinaryLoss):
    """The square of `Hinge`.

        loss     = m^2,         m = max(0, 1 - s x),     s = 2 y - 1
        gradient = -2 s m
        hessian  = 2 s^2 where m > 0, else 0;        majorizer = 2 s^2

    Labels are those of `Hinge`.

    Ready made: `squared_hinge`.

    >>> import fastloss as fl
    >>> fl.squared_hinge.value_and_grad([1, 0, 0], [0.5, 0.5, -3.0])
    (0.8333333333333334, array([-0.33333333,  1.        ,  0.        ]))

    Source: as for `Hinge`.
    """

    cost: ClassVar[int] = 1
    hessians: ClassVar[Hessians] = {"majorizer": _squared_hinge_majorizer}

    def _constant(self, y_true: Array, weight: Array) -> float:
        s = 2 * y_true - 1
        return root(lambda x: -float((weight * s * np.maximum(0, 1 - s * x)).sum()), 0.0)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        s, missing = _margin(y_true, y_pred)
        missing = 0 if missing < 0 else missing
        return missing * missing, -2 * s * missing, 2 * s * s if missing > 0 else 0


@dataclass(frozen=True)
class Exponential(BinaryLoss):
    """The loss that AdaBoost minimises, for scores x and labels y in [0, 1].

        loss     = y exp(-x) + (1 - y) exp(x)
        gradient = (1 - y) exp(x) - y exp(-x)
        hessian  = the loss, and so is the majorizer

    For labels 0 and 1 this is exp(-s x) with s = 2 y - 1.

    Ready made: `exponential`.

    >>> import fastloss as fl
    >>> fl.exponential.value_and_grad([1, 0], [0.0, 0.0])
    (1.0, array([-0.5,  0.5]))

    Source: Y. Freund and R. E. Schapire, A Decision-Theoretic Generalization of On-Line Learning
    (1997).
    """

    hessians: ClassVar[Hessians] = {"majorizer": exact}

    def _constant(self, y_true: Array, weight: Array) -> float:
        return log_odds(float(weight @ y_true), float(weight @ (1 - y_true))) / 2

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        positive = weighed(y_true, exp(-y_pred))
        negative = weighed(1 - y_true, exp(y_pred))
        return positive + negative, negative - positive, positive + negative


hinge = Hinge()
squared_hinge = SquaredHinge()
exponential = Exponential()
