"""Negative log-likelihoods of counts and of amounts."""

import math
from dataclasses import dataclass, field
from typing import Any

from ...bases.constant import log_of, mean
from ...bases.elementwise import ElementwiseLoss
from ...bases.options import Numbers, check_number, check_switch, each, of_options
from ...call.arrays import Array
from ...kernels.scalar import exp, expm1_less_x, log, log1p
from ..hessians import HOSTS_EXACT, Hessians, larger

_ALL_0 = "all amounts that count are 0"


# ---------------------------------------------------------------------------------------------
# Other Hessians: for a predicted logarithm, the largest Hessian from the prediction to the truth


def _poisson_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    if self.log_input:
        return larger(results[2], y_true)
    return larger(results[2], 1 / y_pred)


def _poisson_of_hosts(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return exp(y_pred + 0.7)


def _gamma_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return larger(results[2], 1 if self.log_input else 1 / y_pred / y_pred)


def _tweedie_majorizer(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    if self.log_input:
        return larger(results[2], exp(self.below_2 * log(y_true)))
    return larger(results[2], exp(-(1 + self.above_1) * log(y_pred)))


# ---------------------------------------------------------------------------------------------
# Deviances, whose terms cancel near the truth. For y > 0 they are computed from d = log(mean / y).


def _log_ratio(self: Any, y_true: Any, y_pred: Any) -> Any:
    if self.log_input:
        return y_pred - log(y_true)
    # The logarithm of a number that is at least 1: nothing cancels.
    r = y_pred - y_true
    size = log1p(abs(r) / (y_true if r > 0 else y_pred)) if r != 0 else 0
    return size if r > 0 else -size


def _poisson_deviance(self: Any, y_true: Any, y_pred: Any) -> Any:
    mean = exp(y_pred) if self.log_input else y_pred
    d = _log_ratio(self, y_true, y_pred)
    far = (mean - y_true) - y_true * d if mean < math.inf else mean
    near = abs(d) <= 1
    loss = y_true * expm1_less_x(d if near else 0) if near else far
    return loss if y_true != 0 else mean


def _gamma_deviance(self: Any, y_true: Any, y_pred: Any) -> Any:
    ratio = y_true * exp(-y_pred) if self.log_input else y_true / y_pred
    d = _log_ratio(self, y_true, y_pred)
    far = (ratio - 1) + d if ratio < math.inf else ratio
    near = abs(d) <= 1
    return expm1_less_x(-d if near else 0) if near else far


def _tweedie_deviance(self: Any, y_true: Any, y_pred: Any) -> Any:
    a, b = self.below_2, self.above_1
    if y_true == 0:
        return exp(a * (y_pred if self.log_input else log(y_pred))) / a
    d = _log_ratio(self, y_true, y_pred)
    # The linear terms of both cancel.
    return exp(a * log(y_true)) * (_exp_less_line(a * d) / a + _exp_less_line(-b * d) / b)


def _exp_less_line(x: Any) -> Any:
    """exp(x) - 1 - x."""
    near = abs(x) <= 1
    e = exp(x)
    far = (e - 1) - x if e < math.inf else e
    return expm1_less_x(x if near else 0) if near else far


# ---------------------------------------------------------------------------------------------
# Counts and amounts


@dataclass(frozen=True)
class _Counts(ElementwiseLoss):
    """What the losses of counts and amounts share: predictions may be the mean or its logarithm."""

    log_input: bool = field(default=True, kw_only=True)
    deviance: bool = field(default=False, kw_only=True)

    y_true_range = (0.0, math.inf)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("log_input", self.log_input)
        check_switch("deviance", self.deviance)

    @of_options
    def y_pred_range(self) -> tuple[float, float]:
        return (-math.inf, math.inf) if self.log_input else self.y_true_range


@dataclass(frozen=True)
class Poisson(_Counts):
    """The negative log-likelihood of counts y >= 0, without its constant; x is the log of the mean.

        loss     = exp(x) - y x
        gradient = exp(x) - y
        hessian  = exp(x);        majorizer = max(exp(x), y)

    XGBoost and LightGBM take exp(x + 0.7), which bounds the loss up to a step of 0.7.

    With `log_input=False`, y_pred is the mean m >= 0 itself:

        loss     = m - y log(m)
        gradient = 1 - y / m
        hessian  = y / m^2;        majorizer = max(y / m^2, 1 / m)

    With `deviance=True`, y log(y) - y is added, which makes it half the deviance: 0 where the mean
    is y, exact near it, and never negative. The derivatives are the same.

    Ready made: `poisson`.

    >>> import fastloss as fl
    >>> fl.poisson.value_and_grad([3.0, 0.0], [0.0, 0.0])
    (1.0, array([-1. ,  0.5]))

    Source: P. McCullagh and J. A. Nelder, Generalized Linear Models (1989).
    """

    @of_options
    def hessians(self) -> Hessians:
        hosts = dict.fromkeys(("xgboost", "lightgbm"), _poisson_of_hosts) if self.log_input else {}
        return {"majorizer": _poisson_majorizer, **hosts}

    def _constant(self, y_true: Array, weight: Array) -> float:
        best = mean(y_true, weight)
        return log_of(best, _ALL_0) if self.log_input else best

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        if self.log_input:
            mean = exp(y_pred)
            # A count of 0 takes nothing, even of an infinite logarithm, and no count takes much
            # of a mean that is infinite.
            taken = y_true * y_pred if y_true != 0 else 0
            loss = mean - taken if mean < math.inf else mean
            if self.deviance:
                loss = _poisson_deviance(self, y_true, y_pred)
            return loss, mean - y_true, mean
        # With a count of 0 the loss is the mean itself, even if that is 0; `less` is 0, or NaN.
        less = 0 if y_pred == y_pred else y_pred
        ratio = y_true / y_pred if y_true != 0 else less
        taken = y_true * log(y_pred) if y_true != 0 else less
        # The mean grows faster than its logarithm.
        finite = y_pred < math.inf
        # Of 1 - y / m, most digits cancel near the optimum.
        slope = (y_pred - y_true) / y_pred if (y_true != 0) & finite else 1 - ratio
        loss = y_pred - taken if finite else y_pred
        if self.deviance:
            loss = _poisson_deviance(self, y_true, y_pred)
        return loss, slope, ratio / y_pred if y_true != 0 else less


@dataclass(frozen=True)
class Gamma(_Counts):
    """Half the deviance of amounts y > 0, without its constant; x is the log of the mean.

        loss     = x + y exp(-x)
        gradient = 1 - y exp(-x)
        hessian  = y exp(-x), also of XGBoost and LightGBM;        majorizer = max(y exp(-x), 1)

    With `log_input=False`, y_pred is the mean m >= 0 itself:

        loss     = log(m) + y / m
        gradient = (1 - y / m) / m
        hessian  = (2 y / m - 1) / m^2;        majorizer = max(hessian, 1 / m^2)

    With `deviance=True`, -log(y) - 1 is added, which makes it half the deviance: 0 where the mean
    is y, exact near it, and never negative. The derivatives are the same.

    Ready made: `gamma`.

    >>> import fastloss as fl
    >>> fl.gamma.value_and_grad([2.0, 0.5], [0.0, 0.0])
    (1.25, array([-0.5 ,  0.25]))

    Source: as for `Poisson`.
    """

    @of_options
    def hessians(self) -> Hessians:
        return {"majorizer": _gamma_majorizer, **(HOSTS_EXACT if self.log_input else {})}

    def _constant(self, y_true: Array, weight: Array) -> float:
        best = mean(y_true, weight)
        log_mean = log_of(best, _ALL_0)
        return log_mean if self.log_input else best

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        less = 0 if y_pred == y_pred else y_pred  # 0, or NaN
        share = y_true * exp(-y_pred) if self.log_input else y_true / y_pred
        ratio = share if y_true != 0 else less
        log_mean = y_pred if self.log_input else log(y_pred)
        # The ratio grows faster than the logarithm falls.
        loss = log_mean + ratio if ratio < math.inf else ratio
        if self.deviance:
            loss = _gamma_deviance(self, y_true, y_pred)
        if self.log_input:
            return loss, 1 - ratio, ratio
        # Of 1 - y / m, most digits cancel near the optimum, and of 2 y / m - 1 near half of it.
        near = (ratio > 0.25) & (ratio < 4)
        excess = (y_pred - y_true) / y_pred if near else 1 - ratio
        bend = (y_true - (y_pred - y_true)) / y_pred if near else 2 * ratio - 1
        return loss, excess / y_pred, bend / y_pred / y_pred


@dataclass(frozen=True)
class Tweedie(_Counts):
    """Half the deviance of amounts y >= 0 of which many are 0, without its constant.

    With x the logarithm of the mean and p = `power` between 1 and 2,

        loss     = exp((2 - p) x) / (2 - p) + y exp((1 - p) x) / (p - 1)
        gradient = exp((2 - p) x) - y exp((1 - p) x)
        hessian  = (2 - p) exp((2 - p) x) + (p - 1) y exp((1 - p) x), also of XGBoost and LightGBM
        majorizer = max(hessian, y^(2 - p))

    With `log_input=False`, y_pred is the mean m >= 0 itself:

        loss     = m^(2 - p) / (2 - p) + y m^(1 - p) / (p - 1)
        gradient = m^-p (m - y)
        hessian  = m^-p (1 - p (m - y) / m);        majorizer = max(hessian, m^-p)

    With `deviance=True`, -y^(2 - p) / ((2 - p) (p - 1)) is added, which makes it half the deviance:
    0 where the mean is y, exact near it, and never negative. The derivatives are the same.

    Without the terms that do not depend on x, p = 1 would be `Poisson` and p = 2 `Gamma`: use
    those.

    Ready made: `tweedie`, with p = 1.5.

    >>> import fastloss as fl
    >>> fl.tweedie.value_and_grad([3.0, 0.0], [0.0, 0.0])
    (5.0, array([-1. ,  0.5]))

    Source: B. Jørgensen, Exponential Dispersion Models (1987).
    """

    power: Numbers = 1.5

    derived = ("below_2", "above_1")

    @of_options
    def hessians(self) -> Hessians:
        return {"majorizer": _tweedie_majorizer, **(HOSTS_EXACT if self.log_input else {})}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("power", self.power, 1.0, 2.0)
        for name, power in each("power", self.power):
            if power in (1, 2):
                other = "Poisson" if power == 1 else "Gamma"
                raise ValueError(f"{name} is {power:g}: use {other}(), which this would be")

    # Both are computed before the power is rounded to float32: of a power near 1 or 2 few digits
    # would be left.

    @property
    def below_2(self) -> Any:
        return 2 - self.power

    @property
    def above_1(self) -> Any:
        return self.power - 1

    def _constant(self, y_true: Array, weight: Array) -> float:
        best = mean(y_true, weight)
        log_mean = log_of(best, _ALL_0)
        return log_mean if self.log_input else best

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        a, b = self.below_2, self.above_1
        log_mean = y_pred if self.log_input else log(y_pred)
        mean = exp(a * log_mean)
        falling = exp(-b * log_mean)
        taken = y_true * falling if y_true != 0 else 0
        loss = mean / a + taken / b
        if self.deviance:
            loss = _tweedie_deviance(self, y_true, y_pred)
        if self.log_input:
            return loss, mean - taken, a * mean + b * taken
        # (m - y) / m, which is 1 where nothing is taken.
        part = (y_true != 0) & (y_pred < math.inf)
        excess = (y_pred - y_true) / y_pred if part else 1
        excess = excess if y_pred == y_pred else y_pred
        return loss, falling * excess, falling / y_pred * (1 - (1 + b) * excess)


poisson = Poisson()
gamma = Gamma()
tweedie = Tweedie()
