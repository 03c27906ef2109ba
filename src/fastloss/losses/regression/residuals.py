"""Losses of the difference of prediction and truth."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...bases.constant import mean, of_residuals
from ...bases.constant import quantile as quantile_of
from ...bases.elementwise import ElementwiseLoss
from ...bases.options import Numbers, check_number, check_positive
from ...call.arrays import Array
from ...kernels.scalar import exp_of_minus, less_log1p, log1p_of_share
from ..hessians import (
    HOSTS_EXACT,
    HOSTS_ONES,
    Hessians,
    exact,
    one,
    over_distance,
)

_LN2 = math.log(2)
# Up to this share of its constant, the series of Fair's loss is exact in float64.
_SMALL_SHARE = 1e-4

# ---------------------------------------------------------------------------------------------
# Other Hessians: |gradient| / |r|, r being the distance from a kink or from the truth


def _distance_from_kink(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return over_distance(results[1], y_pred - y_true)


def _quantile_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    # The loss is |r| / 2 and a multiple of r, which does not bend.
    r = y_pred - y_true
    return over_distance(0.5 if r != 0 else 0, r)


def _huber_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    r, slope = y_pred - y_true, results[1]
    return 1 if slope == r else slope / r


def _smooth_l1_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    if results[2] != 0:
        return results[2]
    r = y_pred - y_true
    return over_distance(results[1], r) if self.beta == 0 else results[1] / r


def _log_cosh_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    r = y_pred - y_true
    return results[1] / r if r != 0 else 1


def _fair_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return 1 / (1 + abs(y_pred - y_true) / self.c)


# ---------------------------------------------------------------------------------------------
# The losses


@dataclass(frozen=True)
class SquaredError(ElementwiseLoss):
    """The squared difference of prediction and truth.

        loss     = (y_pred - y_true)^2
        gradient = 2 (y_pred - y_true)
        hessian  = 2, and so are the majorizer and those of XGBoost and LightGBM, whose loss and
                   gradient are half of these, too

    Ready made: `mse` with the mean of all elements; `sse`, also called `sum_squared_error`, with
    their sum. There is no factor 1/2.

    >>> import fastloss as fl
    >>> fl.sse([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    1.5
    >>> fl.mse.value_and_grad([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    (0.375, array([ 0.25, -0.25,  0.  , -0.5 ]))

    Source: C. F. Gauss, Theoria combinationis observationum (1821).
    """

    cost: ClassVar[int] = 1
    hessians: ClassVar[Hessians] = {"majorizer": exact, **HOSTS_EXACT}

    def _constant(self, y_true: Array, weight: Array) -> float:
        return mean(y_true, weight)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        return r * r, 2 * r, 2


@dataclass(frozen=True)
class AbsoluteError(ElementwiseLoss):
    """The absolute difference of prediction and truth.

        loss     = |y_pred - y_true|
        gradient = sign(y_pred - y_true), 0 at the kink
        hessian  = 0;        majorizer = 1 / |y_pred - y_true|, at most 2^15, 0 at the kink

    XGBoost and LightGBM take a Hessian of 1.

    Ready made: `mae`, the mean of all elements.

    >>> import fastloss as fl
    >>> fl.mae.value_and_grad([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    (0.5, array([ 0.25, -0.25,  0.  , -0.25]))

    Source: P.-S. Laplace, Mémoire sur la probabilité des causes (1774); the majorizer: E. Weiszfeld
    (1937).
    """

    cost: ClassVar[int] = 1
    hessians: ClassVar[Hessians] = {"majorizer": _distance_from_kink, **HOSTS_ONES}

    def _constant(self, y_true: Array, weight: Array) -> float:
        return quantile_of(y_true, weight, 0.5)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        # r * 0 is 0 at the kink and NaN for NaN.
        sign = 1 if r > 0 else -1 if r < 0 else r * 0
        return abs(r), sign, 0


@dataclass(frozen=True)
class Huber(ElementwiseLoss):
    """Half the squared difference r = y_pred - y_true up to `delta`, and linear beyond.

        loss     = r^2 / 2                      if |r| <= delta
                   delta (|r| - delta / 2)      otherwise
        gradient = r, clipped to [-delta, delta]
        hessian  = 1 if |r| <= delta, else 0;        majorizer = min(1, delta / |r|)

    LightGBM takes a Hessian of 1.

    With `delta=math.inf` it is half the squared error.

    Ready made: `huber`.

    >>> import fastloss as fl
    >>> fl.huber.value_and_grad([0.0, 0.0], [0.5, -3.0])
    (1.3125, array([ 0.25, -0.5 ]))

    Source: P. J. Huber, Robust Estimation of a Location Parameter (1964).
    """

    delta: Numbers = 1.0

    cost: ClassVar[int] = 1
    hessians: ClassVar[Hessians] = {"majorizer": _huber_majorizer, "lightgbm": one}
    _limit_at_inf = ("delta",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("delta", self.delta, finite=False)

    def _constant(self, y_true: Array, weight: Array) -> float:
        return of_residuals(lambda r: np.clip(r, -self.delta, self.delta), y_true, weight)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        # NaN is on neither side of a limit, and passes through.
        inner = self.delta if r > self.delta else -self.delta if r < -self.delta else r
        inside = inner == r
        return inner * (r / 2 if inside else r - inner / 2), inner, 1 if inside else 0


@dataclass(frozen=True)
class SmoothL1(ElementwiseLoss):
    """`Huber` divided by its limit: as steep as the absolute error, and round within `beta`.

        loss     = r^2 / (2 beta)               if |r| < beta, with r = y_pred - y_true
                   |r| - beta / 2               otherwise
        gradient = r / beta, clipped to [-1, 1]
        hessian  = 1 / beta if |r| < beta, else 0;        majorizer = min(1 / beta, 1 / |r|)

    With `beta=0` it is the absolute error.

    Ready made: `smooth_l1`.

    >>> import fastloss as fl
    >>> fl.smooth_l1.value_and_grad([0.0, 0.0], [0.5, -3.0])
    (1.3125, array([ 0.25, -0.5 ]))

    Source: R. Girshick, Fast R-CNN (2015).
    """

    beta: Numbers = 1.0

    cost: ClassVar[int] = 1
    hessians: ClassVar[Hessians] = {"majorizer": _smooth_l1_majorizer}
    _limit_at_0 = ("beta",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta", self.beta, 0.0)

    def _constant(self, y_true: Array, weight: Array) -> float:
        if self.beta == 0:
            return quantile_of(y_true, weight, 0.5)
        return of_residuals(lambda r: np.clip(r / self.beta, -1, 1), y_true, weight)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        size = abs(r)
        sign = 1 if r > 0 else -1 if r < 0 else r * 0
        inside = size < self.beta
        slope = r / self.beta if inside else sign
        loss = r * slope / 2 if inside else size - self.beta / 2
        return loss, slope, 1 / self.beta if inside else 0


@dataclass(frozen=True)
class LogCosh(ElementwiseLoss):
    """The logarithm of the hyperbolic cosine of r = y_pred - y_true: r^2 / 2, then |r| - log(2).

        loss     = log(cosh(r))
        gradient = tanh(r)
        hessian  = 1 / cosh(r)^2;        majorizer = tanh(r) / r

    Ready made: `log_cosh`.

    >>> import fastloss as fl
    >>> round(fl.log_cosh([0.0, 0.0], [1e-4, 1000.0]), 12)
    499.65342641222

    Source: R. Neuneier and H. G. Zimmermann, How to Train Neural Networks (1998).
    """

    cost: ClassVar[int] = 5
    hessians: ClassVar[Hessians] = {"majorizer": _log_cosh_majorizer}

    def _constant(self, y_true: Array, weight: Array) -> float:
        return of_residuals(np.tanh, y_true, weight)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        size = abs(r)
        power, rest = exp_of_minus(size)
        e = power + rest
        missing = (1 - power) - rest  # 1 - e, which keeps its digits
        # cosh(r) - 1 = (1 - e)^2 / (2 e) for small r; for others cosh(r) = exp(|r|) (1 + e^2) / 2.
        # Both arguments of log1p are at most 1.
        small = size < 1
        log_term = log1p_of_share(missing * missing / (2 * e) if small else e * e)
        loss = log_term if small else size - _LN2 + log_term
        inverse = 1 / (1 + e * e)
        slope = missing * (1 + e) * inverse  # tanh(|r|)
        sech = 2 * e * inverse
        return loss, slope if r > 0 else -slope, sech * sech


@dataclass(frozen=True)
class Quantile(ElementwiseLoss):
    """The pinball loss, which the `q` quantile of the truth minimises; r = y_pred - y_true.

        loss     = (1 - q) r    if r > 0
                   -q r         otherwise
        gradient = 1 - q if r > 0, -q if r < 0, 0 at the kink
        hessian  = 0;        majorizer = 1 / (2 |r|), at most 2^14, 0 at the kink

    XGBoost and LightGBM take a Hessian of 1.

    Several quantiles at once are a sequence of c numbers `q`, one for each column of y_pred, shape
    (..., c). Then y_true may have the shape of y_pred, or its shape without the last axis, (...):
    one truth for all quantiles. (That one is spread out through small buffers; a copy of the full
    shape, kept over many calls, is faster.) The mean is over all elements.

    Ready made: `quantile`, with q = 1/2: half the absolute error.

    >>> import fastloss as fl
    >>> fl.Quantile(q=0.9).value_and_grad([0.0, 0.0], [1.0, -1.0])
    (0.5, array([ 0.05, -0.45]))
    >>> fl.Quantile(q=[0.1, 0.9], reduction="sum").grad([0.0, 5.0], [[1.0, 1.0], [1.0, 1.0]])
    array([[ 0.9,  0.1],
           [-0.1, -0.9]])

    Source: R. Koenker and G. Bassett, Regression Quantiles (1978); the majorizer: D. R. Hunter and
    K. Lange, Quantile Regression via an MM Algorithm (2000).
    """

    q: Numbers = 0.5

    cost: ClassVar[int] = 1
    _one_truth = True
    derived = ("above",)
    _limit_at_0 = ("q",)
    hessians: ClassVar[Hessians] = {"majorizer": _quantile_majorizer, **HOSTS_ONES}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("q", self.q, 0.0, 1.0)

    @property
    def above(self) -> Any:
        """1 - q, before q is rounded to float32: of q = 0.999, four digits would be left."""
        return 1 - self.q

    def _constant(self, y_true: Array, weight: Array) -> float:
        return quantile_of(y_true, weight, self.q)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        slope = self.above if r > 0 else -self.q if r < 0 else r * 0
        return r * slope if slope != 0 else 0, slope, 0


@dataclass(frozen=True)
class Fair(ElementwiseLoss):
    """Half the squared difference r = y_pred - y_true near 0, nearly linear far beyond `c`.

        loss     = c^2 (|r| / c - log(1 + |r| / c))
        gradient = r / (1 + |r| / c)
        hessian  = 1 / (1 + |r| / c)^2, also of LightGBM;        majorizer = 1 / (1 + |r| / c)

    Ready made: `fair`.

    >>> import fastloss as fl
    >>> round(fl.fair([0.0], [1.0]), 12)
    0.30685281944

    Source: R. C. Fair, On the Robust Estimation of Econometric Models (1974).
    """

    c: Numbers = 1.0

    cost: ClassVar[int] = 5
    hessians: ClassVar[Hessians] = {"majorizer": _fair_majorizer, "lightgbm": exact}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("c", self.c)

    def _constant(self, y_true: Array, weight: Array) -> float:
        return of_residuals(lambda r: r / (1 + abs(r) / self.c), y_true, weight)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        share = abs(r) / self.c
        inverse = 1 / (1 + share)
        # This is r / (1 + share), also where both are infinite.
        slope = 1 / (1 / r + (1 / self.c if r > 0 else -1 / self.c))
        # Near 0 the loss is a series, as squares of c overflow and those of the share vanish.
        near = share < _SMALL_SHARE
        rest = share * (1 / 3 - share * (1 / 4 - share / 5))
        far = self.c * less_log1p(share) if share < math.inf else abs(r)
        loss = r * (r * (0.5 - rest)) if near else self.c * far
        return loss, slope, inverse * inverse


mse = SquaredError()
sse = sum_squared_error = SquaredError(reduction="sum")
mae = AbsoluteError()
huber = Huber()
smooth_l1 = SmoothL1()
log_cosh = LogCosh()
quantile = Quantile()
fair = Fair()
