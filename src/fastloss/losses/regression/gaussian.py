"""Negative log-likelihoods of normal distributions."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...bases.constant import counted, log_of, mean
from ...bases.options import check_switch
from ...bases.rows import OfWholeRow, RowwiseLoss
from ...call.arrays import Array, as_array, format_of
from ...call.family import Batch
from ...call.messages import report_variance
from ...call.shapes import check_weight_shape
from ...kernels.args import Extras
from ...kernels.form import Form
from ...kernels.scalar import exp, log
from ...kernels.survey import Limits
from ...kernels.tally import lost
from ..hessians import Hessians, larger

_HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
_REAL = (-math.inf, math.inf)


def _of_both_parameters(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any) -> None:
    inverse = 1 if self.log_variance else 1 / y_pred[1] / y_pred[1]
    hesses[1] = larger(hesses[1], 0.5 * inverse)


def _less_square(v: Any, a: Any, b: Any) -> Any:
    """v - (a - b)^2, with what rounding took from difference and square, as these cancel."""
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
    # Where the variance is infinite, all derivatives are 0.
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
        majorizer = 1 / v by m,       max(hessian, 1 / (2 v^2)) by v

    With `log_variance=True` the logarithm w of the variance is predicted, which may be any number:

        gradient = r exp(-w) by m,    (1 - r^2 exp(-w)) / 2 by w
        hessian  = exp(-w) by m,      r^2 exp(-w) / 2 by w
        majorizer = exp(-w) by m,     max(hessian, 1/2) by w

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
    cost = 18
    hessians: ClassVar[Hessians] = {"majorizer": _of_both_parameters}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("full", self.full)
        check_switch("log_variance", self.log_variance)

    def _describe(self) -> OfWholeRow:
        return _MeanAndVariance(self, _gaussian_nll, padding=None)

    def constant(self, y_true: Any, /, *, sample_weight: Any = None) -> Any:
        """The best constant prediction: mean and variance of `y_true`, an array of two numbers.

        With `log_variance=True`, the logarithm of the variance. Raises what the other verbs raise,
        and ValueError where no variance is the best one: where no sample counts, or all are equal.

        >>> import fastloss as fl
        >>> fl.gaussian_nll.constant([1.0, 3.0])
        array([2., 1.])
        """
        labels = as_array(y_true, self.names[0])
        numbers, weight, _ = counted(self._family, labels, (*labels.shape, 2), sample_weight)
        numbers, weight = numbers[weight != 0], weight[weight != 0]
        middle = mean(numbers, weight)
        # Squares that float64 holds.
        exponent = math.frexp(float(abs(numbers).max()))[1]
        residuals = np.ldexp(numbers, -exponent) - math.ldexp(middle, -exponent)
        near_one = mean(residuals**2, weight)
        log_variance = log_of(near_one, "all y_true that count are the same")
        log_variance += 2 * exponent * math.log(2)
        with np.errstate(over="ignore", under="ignore"):
            variance = float(np.ldexp(near_one, 2 * exponent))
        held = 0 < variance < math.inf
        if self.log_variance:
            return np.array([middle, math.log(variance) if held else log_variance])
        if not held:
            raise ValueError(
                f"the best variance is exp({log_variance:g}), which float64 cannot hold: build the "
                "loss with log_variance=True, or divide y_true by a number"
            )
        return np.array([middle, variance])


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


gaussian_nll = GaussianNLL()
