"""Losses of real numbers."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..bases.elementwise import ElementwiseLoss
from ..bases.options import Numbers, check_number, check_positive, check_switch, each, of_options
from ..bases.rows import OfWholeRow, RowwiseLoss
from ..call.arrays import Array, format_of
from ..call.family import Batch
from ..call.messages import report_variance
from ..call.shapes import check_weight_shape
from ..compiler.bits import accumulate, disjoint
from ..kernels.form import Extras, Form
from ..kernels.rows import dot, largest_magnitude
from ..kernels.scalar import exp, exp_of_minus, less_log1p, log, log1p, log1p_of_share
from ..kernels.survey import Limits
from ..kernels.tally import lost
from ..kernels.tiles import fill

_LN2 = math.log(2)
_HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
_REAL = (-math.inf, math.inf)
# Numbers between this and its inverse have squares whose sum is a float64.
_SMALL = 2.0**-500
# Up to this share of its constant, the series of Fair's loss is exact in float64.
_SMALL_SHARE = 1e-4


@dataclass(frozen=True)
class SquaredError(ElementwiseLoss):
    """The squared difference of prediction and truth.

        loss     = (y_pred - y_true)^2
        gradient = 2 (y_pred - y_true)
        hessian  = 2

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

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        return r * r, 2 * r, 2


@dataclass(frozen=True)
class AbsoluteError(ElementwiseLoss):
    """The absolute difference of prediction and truth.

        loss     = |y_pred - y_true|
        gradient = sign(y_pred - y_true), 0 at the kink
        hessian  = 0

    Ready made: `mae`, the mean of all elements.

    >>> import fastloss as fl
    >>> fl.mae.value_and_grad([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    (0.5, array([ 0.25, -0.25,  0.  , -0.25]))

    Source: P.-S. Laplace, Mémoire sur la probabilité des causes (1774).
    """

    cost: ClassVar[int] = 1

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
        hessian  = 1 if |r| <= delta, else 0

    With `delta=math.inf` it is half the squared error.

    Ready made: `huber`.

    >>> import fastloss as fl
    >>> fl.huber.value_and_grad([0.0, 0.0], [0.5, -3.0])
    (1.3125, array([ 0.25, -0.5 ]))

    Source: P. J. Huber, Robust Estimation of a Location Parameter (1964).
    """

    delta: Numbers = 1.0

    cost: ClassVar[int] = 1
    _limit_at_inf = ("delta",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("delta", self.delta, finite=False)

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
        hessian  = 1 / beta if |r| < beta, else 0

    With `beta=0` it is the absolute error.

    Ready made: `smooth_l1`.

    >>> import fastloss as fl
    >>> fl.smooth_l1.value_and_grad([0.0, 0.0], [0.5, -3.0])
    (1.3125, array([ 0.25, -0.5 ]))

    Source: R. Girshick, Fast R-CNN (2015).
    """

    beta: Numbers = 1.0

    cost: ClassVar[int] = 1
    _limit_at_0 = ("beta",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta", self.beta, 0.0)

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
        hessian  = 1 / cosh(r)^2

    Ready made: `log_cosh`.

    >>> import fastloss as fl
    >>> round(fl.log_cosh([0.0, 0.0], [1e-4, 1000.0]), 12)
    499.65342641222

    Source: R. Neuneier and H. G. Zimmermann, How to Train Neural Networks (1998).
    """

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        size = abs(r)
        power, rest = exp_of_minus(size)
        e = power + rest
        missing = (1 - power) - rest  # 1 - e, which keeps its digits
        # cosh(r) - 1 = (1 - e)^2 / (2 e) for small r; for others cosh(r) = exp(|r|) (1 + e^2) / 2.
        # Both shares are at most 1.
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
        hessian  = 0

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

    Source: R. Koenker and G. Bassett, Regression Quantiles (1978).
    """

    q: Numbers = 0.5

    cost: ClassVar[int] = 1
    _one_truth = True
    derived = ("above",)
    _limit_at_0 = ("q",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("q", self.q, 0.0, 1.0)

    @property
    def above(self) -> Any:
        """1 - q, before q is rounded to float32: of q = 0.999, four digits would be left."""
        return 1 - self.q

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        slope = self.above if r > 0 else -self.q if r < 0 else r * 0
        return r * slope if slope != 0 else 0, slope, 0


@dataclass(frozen=True)
class SquaredLogError(ElementwiseLoss):
    """The squared difference of the logarithms of 1 + prediction and 1 + truth, both at least -1.

        loss     = d^2,                    d = log(1 + y_pred) - log(1 + y_true)
        gradient = 2 d / (1 + y_pred)
        hessian  = 2 (1 - d) / (1 + y_pred)^2

    Where one of the two is -1, d is infinite; where both are, it is 0.

    Ready made: `msle`.

    >>> import fastloss as fl
    >>> round(fl.msle([3.0, 5.0, 2.5, 7.0], [2.5, 5.0, 4.0, 8.0]), 12)
    0.039730122985

    Source: the Root Mean Squared Logarithmic Error of forecasting competitions.
    """

    y_true_range = (-1.0, math.inf)
    y_pred_range = (-1.0, math.inf)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        # log((1 + larger) / (1 + smaller)), of a number that is at least 1: nothing cancels.
        size = log1p(abs(r) / (1 + (y_true if r > 0 else y_pred))) if r != 0 else 0
        d = size if r > 0 else -size
        inverse = 1 / (1 + y_pred)
        # An infinite prediction has an infinite d, and no slope; nor has one that is right, be it
        # -1.
        slope = 2 * d * inverse if (inverse != 0) & (d != 0) else 0
        return d * d, slope, 2 * (1 - d) * inverse * inverse if inverse != 0 else 0


@dataclass(frozen=True)
class AbsolutePercentageError(ElementwiseLoss):
    """The absolute difference of prediction and truth as a share of the truth, not in per cent.

        loss     = |y_pred - y_true| / max(|y_true|, epsilon)
        gradient = sign(y_pred - y_true) / max(|y_true|, epsilon), 0 at the kink
        hessian  = 0

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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("epsilon", self.epsilon)

    @property
    def steepest(self) -> Any:
        """1 / epsilon, which float32 may hold where it does not hold epsilon."""
        return 1 / self.epsilon

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        size = abs(y_true)
        inverse = self.steepest if (size < self.epsilon) | (size == 0) else 1 / size
        # At the kink nothing is lost, however steep both sides are.
        slope = inverse if r > 0 else -inverse if r < 0 else r * 0
        return r * slope if r != 0 else r * 0, slope, 0


@dataclass(frozen=True)
class Fair(ElementwiseLoss):
    """Half the squared difference r = y_pred - y_true near 0, nearly linear far beyond `c`.

        loss     = c^2 (|r| / c - log(1 + |r| / c))
        gradient = r / (1 + |r| / c)
        hessian  = 1 / (1 + |r| / c)^2

    Ready made: `fair`.

    >>> import fastloss as fl
    >>> round(fl.fair([0.0], [1.0]), 12)
    0.30685281944

    Source: R. C. Fair, On the Robust Estimation of Econometric Models (1974).
    """

    c: Numbers = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("c", self.c)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        share = abs(r) / self.c
        inverse = 1 / (1 + share)
        # r / (1 + share), also where both are infinite.
        slope = 1 / (1 / r + (1 / self.c if r > 0 else -1 / self.c))
        # Near 0 by a series, as squares of c overflow and those of the share vanish.
        near = share < _SMALL_SHARE
        rest = share * (1 / 3 - share * (1 / 4 - share / 5))
        far = self.c * less_log1p(share) if share < math.inf else abs(r)
        loss = r * (r * (0.5 - rest)) if near else self.c * far
        return loss, slope, inverse * inverse


@dataclass(frozen=True)
class _Counts(ElementwiseLoss):
    """What the losses of counts and amounts share: predictions may be the mean or its logarithm."""

    log_input: bool = True

    y_true_range = (0.0, math.inf)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("log_input", self.log_input)

    @of_options
    def y_pred_range(self) -> tuple[float, float]:
        return (-math.inf, math.inf) if self.log_input else self.y_true_range


@dataclass(frozen=True)
class Poisson(_Counts):
    """The negative log-likelihood of counts y >= 0, without its constant; x is the log of the mean.

        loss     = exp(x) - y x
        gradient = exp(x) - y
        hessian  = exp(x)

    With `log_input=False`, y_pred is the mean m >= 0 itself:

        loss     = m - y log(m)
        gradient = 1 - y / m
        hessian  = y / m^2

    Ready made: `poisson`.

    >>> import fastloss as fl
    >>> fl.poisson.value_and_grad([3.0, 0.0], [0.0, 0.0])
    (1.0, array([-1. ,  0.5]))

    Source: P. McCullagh and J. A. Nelder, Generalized Linear Models (1989).
    """

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        if self.log_input:
            mean = exp(y_pred)
            # A count of 0 takes nothing, even of an infinite logarithm, and none much of a mean
            # that is infinite.
            taken = y_true * y_pred if y_true != 0 else 0
            return mean - taken if mean < math.inf else mean, mean - y_true, mean
        # With a count of 0 it is the mean itself, be that 0; `less` is 0, or NaN.
        less = 0 if y_pred == y_pred else y_pred
        ratio = y_true / y_pred if y_true != 0 else less
        taken = y_true * log(y_pred) if y_true != 0 else less
        # The mean grows faster than its logarithm.
        finite = y_pred < math.inf
        # Of 1 - y / m, most digits cancel near the optimum.
        slope = (y_pred - y_true) / y_pred if (y_true != 0) & finite else 1 - ratio
        return y_pred - taken if finite else y_pred, slope, ratio / y_pred if y_true != 0 else less


@dataclass(frozen=True)
class Gamma(_Counts):
    """Half the deviance of amounts y > 0, without its constant; x is the log of the mean.

        loss     = x + y exp(-x)
        gradient = 1 - y exp(-x)
        hessian  = y exp(-x)

    With `log_input=False`, y_pred is the mean m >= 0 itself:

        loss     = log(m) + y / m
        gradient = (1 - y / m) / m
        hessian  = (2 y / m - 1) / m^2

    Ready made: `gamma`.

    >>> import fastloss as fl
    >>> fl.gamma.value_and_grad([2.0, 0.5], [0.0, 0.0])
    (1.25, array([-0.5 ,  0.25]))

    Source: as for `Poisson`.
    """

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        less = 0 if y_pred == y_pred else y_pred  # 0, or NaN
        share = y_true * exp(-y_pred) if self.log_input else y_true / y_pred
        ratio = share if y_true != 0 else less
        log_mean = y_pred if self.log_input else log(y_pred)
        # The ratio grows faster than the logarithm falls.
        loss = log_mean + ratio if ratio < math.inf else ratio
        if self.log_input:
            return loss, 1 - ratio, ratio
        # Of 1 - y / m, most digits cancel near the optimum, and of 2 y / m - 1 near half of it.
        near = (ratio > 0.25) & (ratio < 4)
        excess = (y_pred - y_true) / y_pred if near else 1 - ratio
        bend = (y_true - (y_pred - y_true)) / y_pred if near else 2 * ratio - 1
        return loss, excess / y_pred, bend / y_pred / y_pred


@dataclass(frozen=True)
class Tweedie(ElementwiseLoss):
    """Half the deviance of amounts y >= 0 of which many are 0, without its constant.

    With x the logarithm of the mean and p = `power` between 1 and 2,

        loss     = exp((2 - p) x) / (2 - p) + y exp((1 - p) x) / (p - 1)
        gradient = exp((2 - p) x) - y exp((1 - p) x)
        hessian  = (2 - p) exp((2 - p) x) + (p - 1) y exp((1 - p) x)

    Without the terms that do not depend on x, p = 1 would be `Poisson` and p = 2 `Gamma`: use
    those.

    Ready made: `tweedie`, with p = 1.5.

    >>> import fastloss as fl
    >>> fl.tweedie.value_and_grad([3.0, 0.0], [0.0, 0.0])
    (5.0, array([-1. ,  0.5]))

    Source: B. Jørgensen, Exponential Dispersion Models (1987).
    """

    power: Numbers = 1.5

    y_true_range = (0.0, math.inf)
    derived = ("below_2", "above_1")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("power", self.power, 1.0, 2.0)
        for name, power in each("power", self.power):
            if power in (1, 2):
                other = "Poisson" if power == 1 else "Gamma"
                raise ValueError(f"{name} is {power:g}: use {other}(), which this would be")

    # Both before the power is rounded to float32, after which near 1 and 2 few digits are left.

    @property
    def below_2(self) -> Any:
        return 2 - self.power

    @property
    def above_1(self) -> Any:
        return self.power - 1

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        a, b = self.below_2, self.above_1
        mean = exp(a * y_pred)
        taken = y_true * exp(-b * y_pred) if y_true != 0 else 0
        return mean / a + taken / b, mean - taken, a * mean + b * taken


# ---------------------------------------------------------------------------------------------
# Losses of rows


def _less_square(v: Any, a: Any, b: Any) -> Any:
    """v - (a - b)^2, whose digits do not cancel, with what differences and squares have lost."""
    v, a, b = np.float64(v), np.float64(a), np.float64(b)
    r = a - b
    less = r - a
    rest = (a - (r - less)) - (b + less)
    square = r * r
    return (v - square) - (lost(r, r, square) + 2 * r * rest)


def _normal(self: Any, y: Any, mean: Any, spread: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The loss, its derivatives by mean and spread, and the second ones."""
    r = mean - y
    inverse = exp(-spread) if self.log_variance else 1 / spread
    slope = r * inverse if r != 0 else r
    ratio = r * slope if r != 0 else r
    log_variance = spread if self.log_variance else log(spread)
    # The ratio grows faster than the logarithm falls.
    loss = 0.5 * (log_variance + ratio) if ratio < math.inf else ratio
    loss = loss + _HALF_LOG_2_PI if self.full else loss
    if self.log_variance:
        return loss, slope, 0.5 * (1 - ratio), inverse, 0.5 * ratio
    # Where the variance is infinite, that of the ratio is 0 like all others.
    change = 0.5 * (1 - ratio) * inverse
    bend = (ratio - 0.5) * inverse * inverse
    if ratio > 0.25 and ratio < 4:  # of 1 - r^2 / v, most digits cancel near the optimum
        change = 0.5 * _less_square(spread, mean, y) / spread / spread
        bend = -_less_square(0.5 * spread, mean, y) / spread / spread / spread
    return loss, slope, change, inverse, bend


def _gaussian_nll(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any) -> Any:
    loss, by_mean, by_spread, mean_twice, spread_twice = _normal(
        self, y_true[0], y_pred[0], y_pred[1]
    )
    if grads.size > 0:
        grads[0], grads[1] = by_mean, by_spread
    if hesses.size > 0:
        hesses[0], hesses[1] = mean_twice, spread_twice
    return float(loss)


@dataclass(frozen=True)
class GaussianNLL(RowwiseLoss):
    """The negative log-likelihood of y under a normal distribution of predicted mean and variance.

    With the mean m, the variance v and r = m - y,

        loss     = (log(v) + r^2 / v) / 2
        gradient = r / v by m,        (1 - r^2 / v) / (2 v) by v
        hessian  = 1 / v by m,        (r^2 / v - 1/2) / v^2 by v

    With `log_variance=True` the logarithm w of the variance is predicted, which may be any number:

        gradient = r exp(-w) by m,    (1 - r^2 exp(-w)) / 2 by w
        hessian  = exp(-w) by m,      r^2 exp(-w) / 2 by w

    Arguments of the verbs: `y_true` of shape (...); `y_pred` of shape (..., 2), mean and variance:
    `np.stack([mean, variance], axis=-1)`. Every pair is one sample.

    Options:

    - `full`: add log(2 pi) / 2, which makes it the whole of the negative log-likelihood.
    - `log_variance`: see above.

    Raises, besides what every loss raises: ValueError for a variance that is 0 or less. There is no
    least variance that is taken in its place, which would have a gradient of its own.

    Ready made: `gaussian_nll`.

    >>> import fastloss as fl
    >>> fl.gaussian_nll.value_and_grad([1.0, 3.0], [[1.0, 1.0], [5.0, 1.0]])
    (1.0, array([[ 0.  ,  0.25],
           [ 1.  , -0.75]]))

    Source: D. A. Nix and A. S. Weigend, Estimating the mean and variance of the target probability
    distribution (1994).
    """

    full: bool = False
    log_variance: bool = False

    y_true_range = _REAL
    y_true_widens = True
    cost = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("full", self.full)
        check_switch("log_variance", self.log_variance)

    def _describe(self) -> OfWholeRow:
        return _MeanAndVariance(self, _gaussian_nll, padding=None)


class _MeanAndVariance(OfWholeRow):
    """The family of losses whose rows are a mean and a variance, for one label each."""

    loss: GaussianNLL

    def limits(self, form: Form) -> Limits:
        positive = None if self.loss.log_variance else 1
        return super().limits(form)._replace(positive=positive)

    def y_pred_limits(self) -> tuple[Any, Any]:
        return (-math.inf, -math.inf if self.loss.log_variance else 0.0), math.inf

    def report_y_pred(self, y_pred: Array, start: int, stop: int) -> None:
        report_variance(y_pred, start, stop, self.traits.names[1])

    def batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        names = self.traits.names
        true, pred = format_of(y_true, names[0]), format_of(y_pred, names[1])
        shape = y_true.shape
        if y_pred.shape != (*shape, 2):
            raise ValueError(
                f"y_true has shape {shape} and y_pred has shape {y_pred.shape}: expected "
                f"{(*shape, 2)}, a mean and a variance for each y_true; write "
                "np.stack([mean, variance], axis=-1)"
            )
        if weight is not None:
            check_weight_shape(weight, shape, "pair of mean and variance")
        return Batch(true, pred, shape, 1, 2)

    def examples(self, rng: Any) -> tuple[Array, Array]:
        means, variances = rng.normal(0.0, 3.0, 100), rng.lognormal(0.0, 1.0, 100)
        return rng.normal(0.0, 3.0, 100), np.stack([means, variances], axis=-1)


def _scaled(numbers: Any) -> Any:
    """Divide by the largest magnitude, if squares could overflow or vanish; by what it was divided.

    A vector with one infinite number points along that axis.
    """
    size = largest_magnitude(numbers)
    if size == 0 or (size > _SMALL and size < 1 / _SMALL):
        return 1.0
    for j in range(numbers.size):
        x = numbers[j]
        if abs(x) != size:
            numbers[j] = x / size
        else:
            numbers[j] = 1.0 if x > 0 else -1.0
    return float(size)


def _squared_distance(a: Any, by_a: Any, b: Any, by_b: Any) -> Any:
    result = 0.0
    for j in range(a.size):
        difference = a[j] * by_a - b[j] * by_b
        result = accumulate(result, difference * difference)
    return result


def _cosine_derivatives(
    y_true: Any,
    y_pred: Any,
    by_true: Any,
    by_pred: Any,
    loss: Any,
    factor: Any,
    grads: Any,
    hesses: Any,
) -> None:
    disjoint()
    for j in range(grads.size):
        u, v = y_true[j] * by_true, y_pred[j] * by_pred
        grads[j] = ((v - u) - loss * v) * factor
        if hesses.size > 0:
            hesses[j] = (2 * u * v + (1 - loss) * (1 - 3 * v * v)) * factor * factor


def _cosine_distance(
    self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any
) -> Any:
    true_size, pred_size = _scaled(y_true), _scaled(y_pred)
    true_length, pred_length = math.sqrt(dot(y_true, y_true)), math.sqrt(dot(y_pred, y_pred))
    if (true_size == math.inf and true_length > 1) or (pred_size == math.inf and pred_length > 1):
        return math.nan
    if true_length * pred_length == 0:  # not so if one is NaN
        fill(grads, 0.0)
        fill(hesses, 0.0)
        return 1.0
    # A Python number would take the precision of the vectors in plain Python.
    by_true, by_pred = np.float64(1 / true_length), np.float64(1 / pred_length)
    loss = 0.5 * _squared_distance(y_true, by_true, y_pred, by_pred)
    if grads.size > 0:
        factor = by_pred / pred_size
        _cosine_derivatives(y_true, y_pred, by_true, by_pred, loss, factor, grads, hesses)
    return loss


@dataclass(frozen=True)
class CosineDistance(RowwiseLoss):
    """One less the cosine of the angle between two vectors, the rows of truth and prediction.

    With the unit vectors u = y_true / |y_true| and v = y_pred / |y_pred| and c = sum of u_k v_k,

        loss       = 1 - c
        gradient_j = (c v_j - u_j) / |y_pred|
        hessian_j  = (2 u_j v_j + c - 3 c v_j^2) / |y_pred|^2

    The loss is computed as half the squared distance of u and v, which is exact for vectors that
    are nearly parallel.

    Arguments of the verbs: `y_true` and `y_pred` of shape (..., d), any numbers.

    A vector of zeros has no direction: the loss is 1, as if it were at right angles, and the
    derivatives are 0. One infinite number is a direction; with several the loss is NaN.

    Ready made: `cosine_distance`.

    >>> import fastloss as fl
    >>> fl.cosine_distance.value_and_grad([[3.0, 4.0]], [[4.0, 3.0]])[1]
    array([[ 0.0336, -0.0448]])
    >>> round(fl.cosine_distance([[3.0, 4.0]], [[4.0, 3.0]]), 12)
    0.04

    Source: G. Salton and M. J. McGill, Introduction to Modern Information Retrieval (1983).
    """

    y_true_range = _REAL
    y_true_widens = True
    cost = 4

    def _describe(self) -> OfWholeRow:
        return OfWholeRow(self, _cosine_distance)


mse = SquaredError()
sse = sum_squared_error = SquaredError(reduction="sum")
mae = AbsoluteError()
huber = Huber()
smooth_l1 = SmoothL1()
log_cosh = LogCosh()
quantile = Quantile()
msle = SquaredLogError()
mape = AbsolutePercentageError()
fair = Fair()
poisson = Poisson()
gamma = Gamma()
tweedie = Tweedie()
gaussian_nll = GaussianNLL()
cosine_distance = CosineDistance()
