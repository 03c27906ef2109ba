"""Losses of the ratio of prediction and truth."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...bases.constant import mean
from ...bases.constant import quantile as quantile_of
from ...bases.elementwise import ElementwiseLoss
from ...bases.options import Numbers, check_positive
from ...call.arrays import Array
from ...kernels.scalar import log1p
from ..hessians import Hessians, one, over_distance, to_the_truth


def _percentage_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    # The bound of an absolute error, for errors that are shares of the truth.
    return abs(results[1]) * over_distance(results[1], results[0])


def _at_least_2e_6(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return 2e-6 if results[2] < 2e-6 else results[2]


@dataclass(frozen=True)
class SquaredLogError(ElementwiseLoss):
    """The squared difference of the logarithms of 1 + prediction and 1 + truth, both at least -1.

        loss     = d^2,                    d = log(1 + y_pred) - log(1 + y_true)
        gradient = 2 d / (1 + y_pred)
        hessian  = 2 (1 - d) / (1 + y_pred)^2
        majorizer = max(hessian, gradient / (y_pred - y_true))

    XGBoost takes the exact Hessian, but at least 2e-6; all three are half of these there.

    Where one of the two is -1, d is infinite; where both are, it is 0.

    Ready made: `msle`.

    >>> import fastloss as fl
    >>> round(fl.msle([3.0, 5.0, 2.5, 7.0], [2.5, 5.0, 4.0, 8.0]), 12)
    0.039730122985

    Source: the Root Mean Squared Logarithmic Error of forecasting competitions.
    """

    y_true_range = (-1.0, math.inf)
    y_pred_range = (-1.0, math.inf)
    cost: ClassVar[int] = 5
    hessians: ClassVar[Hessians] = {"majorizer": to_the_truth, "xgboost": _at_least_2e_6}

    def _constant(self, y_true: Array, weight: Array) -> float:
        at_limit = y_true == -1
        if at_limit.all():
            return -1.0
        if at_limit.any():
            raise ValueError(
                "some y_true are -1 and others are not, so the loss of any constant is infinite: "
                "leave those of -1 out, or give them the sample_weight 0"
            )
        return math.expm1(mean(np.log1p(y_true), weight))

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        # log((1 + larger) / (1 + smaller)), of a number that is at least 1: nothing cancels.
        size = log1p(abs(r) / (1 + (y_true if r > 0 else y_pred))) if r != 0 else 0
        d = size if r > 0 else -size
        inverse = 1 / (1 + y_pred)
        # An infinite prediction has an infinite d and no slope; nor has a prediction that is right,
        # even if it is -1.
        slope = 2 * d * inverse if (inverse != 0) & (d != 0) else 0
        return d * d, slope, 2 * (1 - d) * inverse * inverse if inverse != 0 else 0


@dataclass(frozen=True)
class AbsolutePercentageError(ElementwiseLoss):
    """The absolute difference of prediction and truth as a share of the truth, not in per cent.

        loss     = |y_pred - y_true| / max(|y_true|, epsilon)
        gradient = sign(y_pred - y_true) / max(|y_true|, epsilon), 0 at the kink
        hessian  = 0;        majorizer = |gradient| / |y_pred - y_true|, the loss taken as 2^-15 or
                   more, 0 at the kink

    LightGBM takes a Hessian of 1.

    `epsilon` keeps a truth of 0 from dividing by 0; its default is the distance from 1 to the next
    float64.

    Ready made: `mape`.

    >>> import fastloss as fl
    >>> fl.mape([2.0, -4.0], [3.0, -3.0])
    0.375

    Source: S. Makridakis, Accuracy measures: theoretical and practical concerns (1993).
    """

    epsilon: Numbers = 2.0**-52
    derived = ("steepest",)
    _limit_at_0 = _limit_at_inf = ("epsilon",)
    cost: ClassVar[int] = 1
    hessians: ClassVar[Hessians] = {"majorizer": _percentage_majorizer, "lightgbm": one}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("epsilon", self.epsilon)

    @property
    def steepest(self) -> Any:
        """1 / epsilon, which float32 may hold where it does not hold epsilon."""
        return 1 / self.epsilon

    def _constant(self, y_true: Array, weight: Array) -> float:
        size = np.maximum(abs(y_true), self.epsilon)
        return quantile_of(y_true, weight * (size.min() / size), 0.5)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        size = abs(y_true)
        inverse = self.steepest if (size < self.epsilon) | (size == 0) else 1 / size
        # At the kink nothing is lost, however steep both sides are.
        slope = inverse if r > 0 else -inverse if r < 0 else r * 0
        # Of an infinite truth any finite prediction is short by all of it.
        loss = r * slope if size < math.inf else 1 + y_pred * inverse
        return loss if r != 0 else r * 0, slope, 0


msle = SquaredLogError()
mape = AbsolutePercentageError()
