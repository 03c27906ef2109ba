"""The losses under test: options worth testing, data that they take, and what must come out.

A loss is tested by being registered: a `Case` names an instance, a generator of valid data and a
reference. A reference is the formula of the loss, written down twice for one price: with `EXACT`
it is evaluated by mpmath in 400 decimal digits, where the textbook formula loses nothing; with
`DOUBLE` in float64, for data too large for that.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import mpmath
import numpy as np

import fastloss as fl
from fastloss.kernels.storage import DECODED, FLOATS, dtype_of

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [dtype_of(name) for name in FLOATS]
# Those that kernels decode and encode.
NARROW = [dtype_of(name) for name in DECODED]

INFINITE = [dtype for dtype in DTYPES if float(np.array(np.inf).astype(dtype)) == np.inf]

# Half the distance of 1 to the next number: the largest relative error of one rounding.
ROUNDING = {dtype.name: float(ml_dtypes.finfo(dtype).eps) / 2 for dtype in DTYPES}
SMALLEST = {dtype.name: float(ml_dtypes.finfo(dtype).smallest_subnormal) for dtype in DTYPES}

# ---------------------------------------------------------------------------------------------
# Two ways to evaluate a formula

# 400 digits: a loss of 1e-308 next to a logit of 1e6 still has 80 digits of its own.
_MP = mpmath.MPContext()
_MP.dps = 400


def _each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    vectorised = np.frompyfunc(function, 1, 1)

    def apply(values: Any) -> Any:
        results = np.empty(np.shape(values), object)
        results[...] = vectorised(values)
        return results

    return apply


class Exact:
    """Arrays of mpmath numbers, and the textbook formulas."""

    numbers = staticmethod(_each(lambda value: _MP.mpf(float(value))))
    log = staticmethod(_each(lambda p: -_MP.inf if p == 0 else _MP.log(p)))
    sigmoid = staticmethod(_each(lambda x: 1 / (1 + _MP.exp(-x))))
    softplus = staticmethod(_each(lambda x: _MP.log(1 + _MP.exp(x))))
    exp = staticmethod(_each(_MP.exp))
    tanh = staticmethod(_each(_MP.tanh))
    sqrt = staticmethod(_each(_MP.sqrt))
    log_plus = staticmethod(_each(lambda x: -_MP.inf if x == -1 else _MP.log(1 + x)))

    def log_not(self, p: Any) -> Any:
        return self.log(1 - p)

    def log_sum_exp_less(self, x: Any) -> Any:
        """log(sum of exp(x_k)) - x_j for every j."""
        return self.log(self.exp(x).sum(axis=-1, keepdims=True)) - x

    def softmax(self, x: Any) -> tuple[Any, Any]:
        """p and 1 - p."""
        exps = self.exp(x)
        p = exps / exps.sum(axis=-1, keepdims=True)
        return p, 1 - p


class Double:
    """Arrays of float64, and functions that neither overflow nor cancel."""

    exp = staticmethod(np.exp)
    tanh = staticmethod(np.tanh)
    sqrt = staticmethod(np.sqrt)

    def numbers(self, values: Any) -> Any:
        return np.asarray(values).astype(np.float64)

    def log(self, p: Any) -> Any:
        with np.errstate(divide="ignore"):
            return np.log(p)

    def sigmoid(self, x: Any) -> Any:
        """SciPy's is 0 below -709, where its exponential overflows."""
        e = np.exp(-abs(x))
        return np.where(x < 0, e, 1.0) / (1.0 + e)

    def log_not(self, p: Any) -> Any:
        return self.log_plus(-p)

    def log_plus(self, x: Any) -> Any:
        with np.errstate(divide="ignore"):
            return np.log1p(x)

    def softplus(self, x: Any) -> Any:
        return np.logaddexp(0.0, x)

    # SciPy's log_softmax subtracts from a finished logarithm, and 1 - softmax(x) from 1: a
    # confident row would lose its digits. So the largest logit is kept apart from the others.
    def _exps_of_the_others(self, x: Any) -> tuple[Any, Any, Any]:
        largest = x.argmax(axis=-1)[..., None]
        gaps = np.take_along_axis(x, largest, axis=-1) - x
        others = np.exp(-gaps)
        np.put_along_axis(others, largest, 0.0, axis=-1)
        return largest, gaps, others

    def log_sum_exp_less(self, x: Any) -> Any:
        _, gaps, others = self._exps_of_the_others(x)
        return gaps + np.log1p(others.sum(axis=-1, keepdims=True))

    def softmax(self, x: Any) -> tuple[Any, Any]:
        largest, _, p = self._exps_of_the_others(x)
        rest = p.sum(axis=-1, keepdims=True)
        np.put_along_axis(p, largest, 1.0, axis=-1)
        p /= 1.0 + rest
        complement = 1.0 - p
        np.put_along_axis(complement, largest, rest / (1.0 + rest), axis=-1)
        return p, complement


EXACT, DOUBLE = Exact(), Double()
Arithmetic = Exact | Double

# ---------------------------------------------------------------------------------------------
# References


class Terms(NamedTuple):
    """What a loss is before samples are weighed and reduced.

    `weight` is what a sample adds to the denominator of the mean; a sample that is not `kept` is
    left out. `grad_size` is the sum of the magnitudes of the terms of the gradient, which is what
    its rounding error is proportional to where terms of both signs meet; `loss_size` and
    `hess_size` are the same of the others, if they differ from their magnitudes. `gap` is that of
    the accuracy contract: the largest |x_j - max x|, by which exponentials amplify rounding.
    """

    loss: Any
    grad: Any
    hess: Any
    grad_size: Any
    weight: Any
    kept: Any
    gap: Any
    loss_size: Any = None
    hess_size: Any = None


def _of_rows(
    loss: Any,
    grad: Any,
    hess: Any,
    grad_size: Any = None,
    gap: Any = 0,
    loss_size: Any = None,
    hess_size: Any = None,
) -> Terms:
    ones = np.ones(np.shape(loss))
    grad_size = abs(grad) if grad_size is None else grad_size
    gap = np.asarray(gap).astype(np.float64) * ones
    return Terms(loss, grad, hess, grad_size, ones, ones == 1, gap, loss_size, hess_size)


def _elementwise(loss: Any, grad: Any, hess: Any, *sizes: Any, **named_sizes: Any) -> Terms:
    """Of independent elements, whose Hessian may be one number for all."""
    return _of_rows(loss, grad, hess + 0 * grad, *sizes, **named_sizes)


def squared_error(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    r = lib.numbers(y_pred) - lib.numbers(y_true)
    return _elementwise(r * r, 2 * r, 2)


def _sign(r: Any) -> Any:
    return np.where(r > 0, 1, np.where(r < 0, -1, 0)) + 0 * r


def absolute_error(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    r = lib.numbers(y_pred) - lib.numbers(y_true)
    return _elementwise(abs(r), _sign(r), 0)


def huber(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    r = lib.numbers(y_pred) - lib.numbers(y_true)
    inside = abs(r) <= loss.delta
    value = np.where(inside, r * r / 2, loss.delta * (abs(r) - loss.delta / 2))
    return _elementwise(value, np.where(inside, r, loss.delta * _sign(r)), np.where(inside, 1, 0))


def smooth_l1(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    r = lib.numbers(y_pred) - lib.numbers(y_true)
    inside = abs(r) < loss.beta
    beta = loss.beta or 1  # with 0, nothing is inside
    value = np.where(inside, r * r / (2 * beta), abs(r) - loss.beta / 2)
    return _elementwise(value, np.where(inside, r / beta, _sign(r)), np.where(inside, 1 / beta, 0))


def log_cosh(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    r = lib.numbers(y_pred) - lib.numbers(y_true)
    e = lib.exp(-2 * abs(r))
    value = abs(r) + lib.log((1 + e) / 2)
    # In float64 this subtracts log(2).
    size = value if lib is EXACT else 1 + abs(r)
    return _elementwise(value, lib.tanh(r), 4 * e / (1 + e) ** 2, gap=2 * abs(r), loss_size=size)


def quantile(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    r = lib.numbers(y_pred) - lib.numbers(y_true)
    q = lib.numbers(loss.q)
    slope = np.where(r > 0, 1 - q, np.where(r < 0, -q, 0)) + 0 * r
    return _elementwise(r * slope, slope, 0)


def squared_log_error(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, p = lib.numbers(y_true), lib.numbers(y_pred)
    d = lib.log_plus(p) - lib.log_plus(y)
    size = abs(d) if lib is EXACT else lib.log_plus(p) + lib.log_plus(y)
    return _elementwise(
        d * d,
        2 * d / (1 + p),
        2 * (1 - d) / (1 + p) ** 2,
        2 * size / (1 + p),
        loss_size=size**2,
        hess_size=2 * (1 + size) / (1 + p) ** 2,
    )


def absolute_percentage_error(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, p = lib.numbers(y_true), lib.numbers(y_pred)
    size = np.maximum(abs(y), loss.epsilon)
    return _elementwise(abs(p - y) / size, _sign(p - y) / size, 0)


def fair(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    r = lib.numbers(y_pred) - lib.numbers(y_true)
    share = abs(r) / loss.c
    value = loss.c**2 * (share - lib.log_plus(share))
    size = value if lib is EXACT else loss.c**2 * (share + lib.log_plus(share))
    return _elementwise(value, r / (1 + share), 1 / (1 + share) ** 2, loss_size=size)


def deviance(reference: Any) -> Any:
    """A reference with the constant of a deviance, where `constant(lib, loss, y)` says so."""
    terms_of, constant = reference

    def terms(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
        without, y = terms_of(lib, loss, y_true, y_pred), lib.numbers(y_true)
        value = without.loss + constant(lib, loss, y)
        # A relative error of y or of its logarithm moves the place of the least loss.
        x = lib.numbers(y_pred)
        log_y = lib.log(np.where(y == 0, 1, y))
        moved = abs(x) + abs(log_y) if loss.log_input else x * (1 + abs(lib.log(x) - log_y))
        size = abs(value) + without.grad_size * moved
        if lib is DOUBLE:
            size = size + abs(without.loss) + abs(constant(lib, loss, y))
        return without._replace(loss=value, loss_size=size)

    return terms


def poisson(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, x = lib.numbers(y_true), lib.numbers(y_pred)
    if loss.log_input:
        mean, taken = lib.exp(x), y * x
        return _elementwise(
            mean - taken, mean - y, mean, mean + y, abs(x), loss_size=mean + abs(taken)
        )
    taken = np.where(y == 0, 0, y * lib.log(x))
    ratio = np.where(y == 0, 0, y / np.where(x == 0, 1, x))
    hess = ratio / np.where(x == 0, 1, x)
    return _elementwise(x - taken, 1 - ratio, hess, 1 + ratio, loss_size=x + abs(taken))


def gamma(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, x = lib.numbers(y_true), lib.numbers(y_pred)
    if loss.log_input:
        ratio = y * lib.exp(-x)
        return _elementwise(
            x + ratio, 1 - ratio, ratio, 1 + ratio, abs(x), loss_size=abs(x) + ratio
        )
    ratio = y / x
    return _elementwise(
        lib.log(x) + ratio,
        (1 - ratio) / x,
        (2 * ratio - 1) / x**2,
        (1 + ratio) / x,
        loss_size=abs(lib.log(x)) + ratio,
        hess_size=(2 * ratio + 1) / x**2,
    )


def tweedie(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, x = lib.numbers(y_true), lib.numbers(y_pred)
    a, b = 2 - lib.numbers(loss.power), lib.numbers(loss.power) - 1
    if not loss.log_input:
        log_mean = lib.log(x)
        mean, taken, p = lib.exp(a * log_mean), y * lib.exp(-b * log_mean), 1 + b
        return _elementwise(
            mean / a + taken / b,
            (mean - taken) / x,
            (p * taken - b * mean) / x**2,
            (mean + taken) / x,
            abs(log_mean),
            hess_size=(p * taken + b * mean) / x**2,
        )
    mean, taken = lib.exp(a * x), y * lib.exp(-b * x)
    return _elementwise(
        mean / a + taken / b, mean - taken, a * mean + b * taken, mean + taken, abs(x)
    )


def _y_log_y(lib: Arithmetic, loss: Any, y: Any) -> Any:
    return y * lib.log(np.where(y == 0, 1, y)) - y


def _minus_log_y(lib: Arithmetic, loss: Any, y: Any) -> Any:
    return -lib.log(y) - 1


def _power_of_y(lib: Arithmetic, loss: Any, y: Any) -> Any:
    a = 2 - lib.numbers(loss.power)
    power = np.where(y == 0, 0, lib.exp(a * lib.log(np.where(y == 0, 1, y))))
    return -power / (a * (1 - a))


POISSON_DEVIANCE = deviance((poisson, _y_log_y))
GAMMA_DEVIANCE = deviance((gamma, _minus_log_y))
TWEEDIE_DEVIANCE = deviance((tweedie, _power_of_y))


def hinge(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    s, x = 2 * lib.numbers(y_true) - 1, lib.numbers(y_pred)
    missing = np.where(s * x < 1, 1 - s * x, 0)
    grad = np.where(missing > 0, -s, 0)
    return _elementwise(missing, grad, 0, loss_size=1 + abs(s * x))


def squared_hinge(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    s, x = 2 * lib.numbers(y_true) - 1, lib.numbers(y_pred)
    missing, size = np.where(s * x < 1, 1 - s * x, 0), 1 + abs(s * x)
    hess = np.where(missing > 0, 2 * s * s, 0)
    return _elementwise(missing**2, -2 * s * missing, hess, 2 * abs(s) * size, loss_size=size**2)


def exponential(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, x = lib.numbers(y_true), lib.numbers(y_pred)
    a, b = y * lib.exp(-x), (1 - y) * lib.exp(x)
    return _elementwise(a + b, b - a, a + b, a + b, abs(x))


def binary_focal(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, x = lib.numbers(y_true), lib.numbers(y_pred)
    alpha = lib.numbers(1 if loss.alpha is None else loss.alpha)
    w_a, w_b = alpha * y, (1 if loss.alpha is None else 1 - alpha) * (1 - y)
    g = lib.numbers(loss.gamma)
    p, q, a, b = lib.sigmoid(x), lib.sigmoid(-x), lib.softplus(-x), lib.softplus(x)
    from_a, from_b = w_a * lib.exp(-g * b), w_b * lib.exp(-g * a)
    grad = from_b * (p + g * q * b) - from_a * (q + g * p * a)
    hess_a = p * q * (1 + 2 * g) + (g * p - q) * g * p * a
    hess_b = p * q * (1 + 2 * g) + (g * q - p) * g * q * b
    size_a = p * q * (1 + 2 * g) + (g * p + q) * g * p * a
    size_b = p * q * (1 + 2 * g) + (g * q + p) * g * q * b
    return _elementwise(
        from_a * a + from_b * b,
        grad,
        from_a * hess_a + from_b * hess_b,
        from_a * (q + g * p * a) + from_b * (p + g * q * b),
        # The exponent gamma softplus(x): a logarithm within 1.5 ulp, and a product.
        abs(x) + 4 * loss.gamma * (abs(x) + math.log(2)),
        hess_size=from_a * size_a + from_b * size_b,
    )


def _floored(log_p: Any, p: Any, floor: float) -> tuple[Any, Any]:
    """log(p) with a floor, and its derivative: 1/p, or 0 where the floor acts."""
    below = log_p < floor
    # At p = 0 without a floor the derivative is infinite; no reference asks for that one.
    inverse = 1 / np.where(p == 0, 1, p)
    return np.where(below, floor, log_p), np.where(below, 0, inverse)


def binary_cross_entropy(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, p = lib.numbers(y_true), lib.numbers(y_pred)
    log_p, inverse_p = _floored(lib.log(p), p, loss.log_floor)
    log_q, inverse_q = _floored(lib.log_not(p), 1 - p, loss.log_floor)
    with np.errstate(invalid="ignore"):  # 0 log(0), of which nothing is taken
        value = np.where(y == 0, 0, -y * log_p) + np.where(y == 1, 0, -(1 - y) * log_q)
    a, b = y * inverse_p, (1 - y) * inverse_q
    return _elementwise(value, b - a, a * inverse_p + b * inverse_q, a + b)


def binary_cross_entropy_with_logits(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    y, x = lib.numbers(y_true), lib.numbers(y_pred)
    e = lib.numbers(loss.label_smoothing)
    # Written so that no term is the difference of two: a label of 1 is negative by exactly e / 2.
    positive = loss.pos_weight * (y * (1 - e) + e / 2)
    negative = (1 - y) * (1 - e) + e / 2
    a, b = positive * lib.sigmoid(-x), negative * lib.sigmoid(x)
    value = positive * lib.softplus(-x) + negative * lib.softplus(x)
    hess = (positive + negative) * lib.sigmoid(x) * lib.sigmoid(-x)
    return _elementwise(value, b - a, hess, a + b)


def dense(pair: tuple[Any, Any], y_pred: Any) -> Any:
    """Soft labels of the shape of `y_pred`, from class ids and their probabilities."""
    ids, probabilities = pair
    labels = np.zeros(np.shape(y_pred))
    np.add.at(labels, (np.arange(len(ids))[:, None], ids), np.asarray(probabilities, np.float64))
    return labels


def _targets(lib: Arithmetic, y_true: Any, y_pred: Any) -> Any:
    """Labels of the shape of `y_pred`; rows of class ids that are no class are all 0."""
    if isinstance(y_true, tuple):
        return lib.numbers(dense(y_true, y_pred))
    y_true = np.asarray(y_true)
    if y_true.shape == np.shape(y_pred):
        return lib.numbers(y_true)
    return lib.numbers(y_true[..., None] == np.arange(np.shape(y_pred)[-1]))


def _is_class_ids(y_true: Any, y_pred: Any) -> bool:
    return not isinstance(y_true, tuple) and np.ndim(y_true) < np.ndim(y_pred)


def categorical_cross_entropy(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    t, p = _targets(lib, y_true, y_pred), lib.numbers(y_pred)
    log_p, inverse = _floored(lib.log(p), p, loss.log_floor)
    with np.errstate(invalid="ignore"):
        value = np.where(t == 0, 0, -t * log_p).sum(axis=-1)
    ones = np.ones(value.shape)
    grad = -t * inverse
    return Terms(value, grad, t * inverse * inverse, abs(grad), ones, ones == 1, 0 * ones)


def _link(lib: Arithmetic, loss: Any, nll: Any) -> tuple[Any, Any, Any]:
    """A loss of one class id and its derivatives by the cross-entropy."""
    p = lib.exp(-nll)
    q = 1 - p if lib is EXACT else -np.expm1(-nll)
    if isinstance(loss, fl.Focal):
        g = lib.numbers(loss.gamma)
        easy = lib.exp(g * lib.log(q))
        ratio = p * nll / q
        bend = g * easy * (p / q) * (2 - nll + (g - 1) * ratio)
        return easy * nll, easy * (1 + g * ratio), bend
    if isinstance(loss, fl.GeneralizedCrossEntropy):
        power = lib.exp(-loss.q * nll)
        short = 1 - power if lib is EXACT else -np.expm1(-loss.q * nll)
        return short / loss.q, power, -loss.q * power
    assert isinstance(loss, fl.PolyCrossEntropy)
    return nll + loss.epsilon * q, 1 + loss.epsilon * p, -loss.epsilon * p


def _at(numbers: Any, places: Any) -> Any:
    """One number of each row."""
    return np.take_along_axis(numbers, places[..., None], axis=-1)


def cross_entropy(
    lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any, class_mask: Any = None
) -> Terms:
    """All losses of a softmax: one option after the other, with targets of all classes."""
    x, t = lib.numbers(y_pred), _targets(lib, y_true, y_pred)
    numbers, c = np.asarray(y_pred).astype(np.float64), np.shape(y_pred)[-1]
    class_ids = _is_class_ids(y_true, y_pred)
    here = np.ones(np.shape(y_pred), bool)
    for mask in (loss.class_mask, class_mask):
        here &= True if mask is None else np.asarray(mask)
    slope, bend = 1, 0
    if loss.softcap is not None:
        tanh, e = lib.tanh(x / loss.softcap), lib.exp(-2 * abs(x) / loss.softcap)
        # 1 - tanh^2, of which float64 would lose all digits at a large logit.
        x, slope = loss.softcap * tanh, 4 * e / (1 + e) ** 2
        bend = -2 * tanh * slope / loss.softcap
    x = np.where(here, x / lib.numbers(loss.temperature), -lib.numbers(math.inf))

    e, z = (lib.numbers(getattr(loss, name, 0.0)) for name in ("label_smoothing", "z_loss"))
    w = np.ones(c) if loss.class_weight is None else np.array(loss.class_weight)
    weight = np.where(here, w * t, 0).sum(axis=-1)
    if getattr(loss, "alpha", None) is not None:
        w = w * np.broadcast_to(loss.alpha, c)
    share = e / here.sum(axis=-1, keepdims=True)
    mass = np.where(here, lib.numbers(w) * ((1 - e) * t + share), 0)
    total = mass.sum(axis=-1, keepdims=True)
    p, not_p = lib.softmax(x)
    away = lib.log_sum_exp_less(x)
    value = np.where(mass == 0, 0, mass * np.where(mass == 0, 0, away)).sum(axis=-1)
    # total * p - mass, where the mass of the class itself meets p and cancels.
    grad = (total - mass) * p - mass * not_p
    hess = hess_size = total * p * not_p
    # A gradient at a class id is p - 1, which has its own digits; soft labels subtract.
    grad_size = abs(grad) if class_ids and e == 0 else total * p + mass
    if loss.link is not None:
        y = np.asarray(y_true)
        linked, first, second = _link(lib, loss, _at(away, y))
        turned = np.where(t != 0, -not_p, p)
        value = (_at(mass, y) * linked)[..., 0]
        grad = _at(mass, y) * first * turned
        hess = _at(mass, y) * (second * turned**2 + first * p * not_p)
        hess_size = _at(mass, y) * (abs(second) * turned**2 + first * p * not_p)
        grad_size = abs(grad)
    loss_size = abs(value)
    hessian = loss.hessian
    scales = {"xgboost": 2, "xgboost_residual": 0, "lightgbm": c / max(c - 1, 1)}
    scale = lib.numbers(scales.get(hessian, 1))
    hess, hess_size = scale * hess, scale * hess_size
    if z:
        top = np.argmax(np.where(here, numbers, -math.inf), axis=-1)
        lse, lse_size = _at(away, top) + _at(x, top), abs(_at(away, top)) + abs(_at(x, top))
        value = value + (z * total * lse**2)[..., 0]
        loss_size = loss_size + (z * total * lse_size**2)[..., 0]
        grad = grad + 2 * z * total * lse * p
        grad_size = total * p + mass + 2 * z * total * lse_size * p
        extra = 2 * z * total * lse
        hess = hess + 2 * z * total * (scale * lse * p * not_p + p**2)
        hess_size = hess_size + 2 * z * total * (scale * lse_size * p * not_p + p**2)
    if hessian == "xgboost_residual":
        hess, hess_size = hess + abs(grad), hess_size + grad_size
    if hessian == "majorizer":
        # Twice what is of one class alone, and of a part a a' |a_j| times the sum of |a_k|.
        hess = hess_size = 2 * abs(total + (extra if z else 0)) * p * not_p + 2 * z * total * p
        if loss.link is not None:
            bent = np.where(second > 0, second, 0) * 2 * _at(not_p, y)
            hess = hess_size = _at(mass, y) * (2 * first * p * not_p + bent * abs(turned))
        grad_of_hess, bend_of_hess = abs(grad), abs(bend)
    else:
        grad_of_hess, bend_of_hess = grad, bend
    inverse = 1 / lib.numbers(loss.temperature)
    hess = np.where(here, (hess * inverse * slope**2 + grad_of_hess * bend_of_hess) * inverse, 0)
    hess_size = (2 * abs(hess_size) * inverse * slope**2 + grad_size * abs(bend)) * inverse

    if hessian == "ones":
        hess = hess_size = (total if loss.link is None else _at(mass, y)) * np.ones(x.shape)

    kept = np.ones(value.shape, bool)
    if class_ids and loss.ignore_index is not None:
        kept = np.asarray(y_true) != loss.ignore_index
    gap = np.zeros(value.shape)
    if numbers.size:
        gap = numbers.max(axis=-1) - numbers.min(axis=-1)
    if loss.link is not None:
        gap = 8 + gap
    of_slope = 0
    if loss.softcap is not None:
        # A capped logit is as large as softcap and rounded five times: the numerator of its tanh,
        # the denominator, its inverse, and two products. Two of them make a gap. The slope is
        # 4 exp(-2 |x| / softcap) where it is small, and the exponent is rounded twice: when softcap
        # is inverted and when it is used. No temperature divides that.
        gap = 8 + 10 * loss.softcap
        of_slope = 4 * abs(numbers).max(axis=-1, initial=0) / loss.softcap
    if loss.temperature != 1:  # rounded when it is inverted, and again when it is used
        gap = 3 * gap
    return Terms(
        loss=value,
        grad=grad * slope * inverse,
        hess=hess,
        grad_size=grad_size * abs(slope) * inverse,
        weight=np.ones(value.shape) if loss.class_weight is None else weight,
        kept=kept,
        gap=(gap + 8 * (loss.link is not None)) / loss.temperature * (1 + getattr(loss, "gamma", 0))
        + of_slope,
        loss_size=loss_size,
        hess_size=hess_size,
    )


def _spread(x: Any) -> Any:
    """The gap of the accuracy contract for rows of logits."""
    if not x.size:
        return np.zeros(x.shape[:-1])
    return (x.max(axis=-1) - x.min(axis=-1)).astype(np.float64)


def multi_margin(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    x, t = lib.numbers(y_pred), _targets(lib, y_true, y_pred)
    c, p = x.shape[-1], loss.p
    w = lib.numbers(np.ones(c) if loss.class_weight is None else np.array(loss.class_weight))
    weight = (w * t).sum(axis=-1)
    factor = weight[..., None] / c
    x_y = (t * x).sum(axis=-1, keepdims=True)
    z = loss.margin - x_y + x
    inside = (t == 0) & (z > 0)
    size = np.where(inside, abs(x_y) + abs(x) + loss.margin, 0)
    z = np.where(inside, z, 0)
    others = factor * np.where(inside, p * z ** (p - 1), 0)
    others_size = factor * np.where(inside, p * size ** (p - 1), 0)
    twice = factor * np.where(inside, p * (p - 1), 0)
    return Terms(
        loss=(factor * z**p).sum(axis=-1),
        grad=others - t * others.sum(axis=-1, keepdims=True),
        hess=twice + t * twice.sum(axis=-1, keepdims=True),
        grad_size=others_size + t * others_size.sum(axis=-1, keepdims=True),
        weight=weight,
        kept=np.asarray(y_true) != loss.ignore_index,
        gap=np.zeros(x.shape[:-1]),
        loss_size=(factor * size**p).sum(axis=-1),
    )


def _softmaxes(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> tuple[Any, ...]:
    """p, q, their logarithms, q (1 - q) and the gap, of rows of logits."""
    a, b = lib.numbers(y_true), lib.numbers(y_pred)
    (p, _), (q, not_q) = lib.softmax(a), lib.softmax(b)
    gap = _spread(a) + _spread(b)
    return p, q, -lib.log_sum_exp_less(a), -lib.log_sum_exp_less(b), q * not_q, gap


def kl_divergence(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    if loss.from_logits:
        p, q, log_p, log_q, hess, gap = _softmaxes(lib, loss, y_true, y_pred)
        d = log_p - log_q
        size = (p * abs(d) + abs(q - p)).sum(axis=-1)
        return _of_rows((p * d).sum(axis=-1), q - p, hess, q + p, gap, size)
    t, q = lib.numbers(y_true), lib.numbers(y_pred)
    p = lib.exp(t) if loss.log_target else t
    some = p != 0
    log_p = t if loss.log_target else lib.log(np.where(some, p, 1))
    log_q = lib.log(q)
    size = np.where(some, p * (abs(log_p) + abs(log_q)), 0).sum(axis=-1)
    gap = abs(t).max(axis=-1, initial=0) if loss.log_target else 0
    value = np.where(some, p * (log_p - log_q), 0).sum(axis=-1)
    return _of_rows(value, -p / q, p / q**2, None, gap, size)


def jensen_shannon(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    if loss.from_logits:
        p, q, _, _, _, gap = _softmaxes(lib, loss, y_true, y_pred)
    else:
        p, q, gap = lib.numbers(y_true), lib.numbers(y_pred), 0
    m = (p + q) / 2
    log_p, log_q = lib.log(np.where(p == 0, m, p) / m), lib.log(q / m)
    value = (p * log_p + q * log_q).sum(axis=-1) / 2
    # In float64 this cancels.
    size = value if lib is EXACT else (p * abs(log_p) + q * abs(log_q)).sum(axis=-1)
    g, r = log_q / 2, p / (p + q)
    g_size = abs(g) if lib is EXACT else 1 + abs(g)
    if not loss.from_logits:
        return _of_rows(value, g, r / (2 * q), g_size, gap, size)
    mean_g = (q * g).sum(axis=-1, keepdims=True)
    mean_r = (q * r).sum(axis=-1, keepdims=True)
    grad = q * (g - mean_g)
    hess = (1 - 2 * q) * (grad + q * r / 2) + q * q * mean_r / 2
    grad_size = q * (g_size + (q * g_size).sum(axis=-1, keepdims=True))
    return _of_rows(value, grad, hess, grad_size, gap, size, grad_size + q * r + q * q * mean_r)


def tversky(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    """Dice too, whose numbers are those of Tversky's formula."""
    t, x = lib.numbers(y_true), lib.numbers(y_pred)
    p, not_p = (lib.sigmoid(x), lib.sigmoid(-x)) if loss.from_logits else (x, 1 - x)
    a, b = lib.numbers(loss.alpha), lib.numbers(loss.beta)
    hits = (t * p).sum(axis=-1, keepdims=True) + loss.added
    misses = (a * p * (1 - t) + b * t * not_p).sum(axis=-1, keepdims=True)
    whole = hits + misses
    slope, slope_size = a * (1 - t) - b * t, a * (1 - t) + b * t
    grad = (slope * hits - t * misses) / whole**2
    size = (slope_size * hits + t * misses) / whole**2
    hess, hess_size = -2 * (slope + t) * grad / whole, 2 * (slope_size + t) * size / whole
    if loss.from_logits:
        change = p * not_p
        hess = hess * change**2 + grad * change * (not_p - p)
        hess_size = hess_size * change**2 + size * change
        grad, size = grad * change, size * change
    return _of_rows((misses / whole)[..., 0], grad, hess, size, hess_size=hess_size)


def cosine_distance(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    a, b = lib.numbers(y_true), lib.numbers(y_pred)
    size = lib.sqrt((b * b).sum(axis=-1, keepdims=True))
    u, v = a / lib.sqrt((a * a).sum(axis=-1, keepdims=True)), b / size
    c = (u * v).sum(axis=-1, keepdims=True)
    return _of_rows(
        1 - c[..., 0],
        (c * v - u) / size,
        (2 * u * v + c - 3 * c * v**2) / size**2,
        (1 + abs(u)) / size,
        loss_size=2 + 0 * c[..., 0],
        hess_size=6 / size**2 + 0 * v,
    )


def gaussian_nll(lib: Arithmetic, loss: Any, y_true: Any, y_pred: Any) -> Terms:
    numbers = lib.numbers(y_pred)
    y, mean, spread = lib.numbers(y_true), numbers[..., 0], numbers[..., 1]
    variance = lib.exp(spread) if loss.log_variance else spread
    log_variance = spread if loss.log_variance else lib.log(spread)
    r = mean - y
    ratio = r * r / variance
    constant = lib.log(2 * lib.numbers(np.pi)) / 2 if loss.full else 0
    by_spread = (1 - ratio) / 2, ratio / 2, (1 + ratio) / 2, (1 + ratio) / 2
    if not loss.log_variance:
        by_spread = (
            by_spread[0] / variance,
            (ratio - 0.5) / variance**2,
            by_spread[2] / variance,
            (ratio + 1) / variance**2,
        )
    return _of_rows(
        (log_variance + ratio) / 2 + constant,
        np.stack([r / variance, by_spread[0]], axis=-1),
        np.stack([1 / variance, by_spread[1]], axis=-1),
        np.stack([abs(r) / variance, by_spread[2]], axis=-1),
        gap=abs(spread) if loss.log_variance else 0,
        loss_size=(abs(log_variance) + ratio) / 2 + constant,
        hess_size=np.stack([1 / variance, by_spread[3]], axis=-1),
    )


# ---------------------------------------------------------------------------------------------
# Results and how far off they may be


class Expected(NamedTuple):
    """True results and the error that each may have."""

    value: Any
    value_error: Any
    losses: Any
    losses_error: Any
    grad: Any
    grad_error: Any
    hess: Any
    hess_error: Any


def name_of(dtype: Any) -> str:
    return np.dtype(dtype).name


def storage(y_pred: Any) -> np.dtype:
    """The dtype of the gradient: that of the predictions, native; float64 if they are integers."""
    dtype = np.asarray(y_pred).dtype
    return dtype.newbyteorder("=") if dtype.name in ROUNDING else np.dtype(np.float64)


def arithmetic(loss: fl.Loss, y_true: Any, y_pred: Any) -> np.dtype:
    """float64 if the data is, else float32; labels between 0 and 1 do not count."""
    wide = np.asarray(y_true).dtype.name in {"float64", "int32", "uint32", "int64", "uint64"}
    is_wide = storage(y_pred) == np.float64 or (wide and loss.y_true_widens)
    return np.dtype(np.float64 if is_wide else np.float32)


def expect(
    case: "Case",
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    normalizer: float | None = None,
    reduction: str = "mean",
    lib: Arithmetic = EXACT,
) -> Expected:
    """What the loss of `case` must give with this reduction, and within which error.

    The accuracy contract allows a loss (8 + gap) roundings of the arithmetic. Derivatives get as
    much, twice the gap where two probabilities are multiplied, and one rounding to storage. The
    float64 reference has errors of its own, which count where the arithmetic is float64 too.
    """
    terms = case.reference(lib, case.loss, y_true, y_pred)
    shape = np.shape(y_pred)
    samples = np.shape(terms.loss)
    per_sample = (*samples, *[1] * (len(shape) - len(samples)))
    weight = np.ones(samples)
    if sample_weight is not None:
        weight = np.asarray(sample_weight).astype(np.float64)
        if weight.ndim < len(samples):
            weight = weight.reshape(-1, *[1] * (len(samples) - 1))
        weight = np.broadcast_to(weight, samples)
    kept = terms.kept & (weight != 0)
    weight = lib.numbers(np.where(kept, weight, 0.0))

    def size_of(size: Any, of: Any) -> Any:
        return abs(of) if size is None else size

    losses = np.where(kept, weight * terms.loss, 0)
    losses_size = np.where(kept, weight * size_of(terms.loss_size, terms.loss), 0)
    denominator = 1
    if reduction == "mean":
        denominator = (weight * terms.weight).sum() if normalizer is None else normalizer
    factor = (weight / denominator).reshape(per_sample)
    kept_elements = kept.reshape(per_sample)
    grad, grad_size, hess, hess_size = (
        np.where(kept_elements, part * factor, 0)
        for part in (
            terms.grad,
            terms.grad_size,
            terms.hess,
            size_of(terms.hess_size, terms.hess),
        )
    )

    a = arithmetic(case.loss, y_true, y_pred).name
    stored = storage(y_pred).name
    u = ROUNDING[a] if lib is EXACT else max(ROUNDING[a], 4 * ROUNDING["float64"])
    allowed = (8 + np.where(kept, terms.gap, 0.0)) * u
    width = math.prod(shape[len(samples) :])
    # Underflow: each exponential may be off by one smallest number.
    tiny = (8 + width) * SMALLEST[a]
    losses_error = allowed * losses_size + tiny * (1 + weight)
    allowed = allowed.reshape(per_sample)
    stored_error = 2 * u + ROUNDING[stored]
    tiny_here = tiny * (1 + abs(factor)) + 0.51 * SMALLEST[stored]
    return Expected(
        losses.sum() / denominator,
        losses_error.sum() / denominator,
        losses,
        losses_error,
        grad,
        allowed * grad_size + stored_error * abs(grad) + tiny_here,
        hess,
        2 * allowed * hess_size + stored_error * abs(hess) + tiny_here,
    )


def assert_near(actual: Any, expected: Any, error: Any, what: str = "") -> None:
    """Assert |actual - expected| <= error for each element, computed without rounding."""
    assert np.shape(actual) == np.shape(expected)
    lib = EXACT if np.asarray(expected).dtype == object else DOUBLE
    actual, expected = np.atleast_1d(lib.numbers(actual)), np.atleast_1d(expected)
    error = np.broadcast_to(error, expected.shape)
    same = actual == expected  # infinite numbers, too
    off = abs(np.where(same, 0, actual) - np.where(same, 0, expected))
    bad = ~np.asarray(off <= error, dtype=bool)
    if bad.any():
        ratio = np.where(bad, off / error, 0).astype(np.float64)
        place = np.unravel_index(np.argmax(ratio), expected.shape)
        raise AssertionError(
            f"{what}{[int(i) for i in place]} is {float(actual[place])!r}, should be "
            f"{float(expected[place])!r}: off by {float(off[place]):.3g}, allowed "
            f"{float(error[place]):.3g}; {bad.sum()} of {bad.size} are off"
        )


def assert_same(actual: Any, expected: Any) -> None:
    """Assert the same type, dtype, shape and bits; all NaN count as the same."""
    if isinstance(expected, float):
        assert type(actual) is float
        assert actual == expected or (math.isnan(actual) and math.isnan(expected))
        return
    assert isinstance(actual, np.ndarray)
    assert actual.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected))


# ---------------------------------------------------------------------------------------------
# Data


def real_data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    y_true, y_pred = rng.normal(scale=3.0, size=(2, *shape))
    return y_true.astype(dtype), y_pred.astype(dtype)


def _binary_labels(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Half of them 0 or 1, half between; multiples of 1/8, which every dtype holds exactly."""
    eighths = rng.integers(0, 9, shape)
    return np.where(rng.random(shape) < 0.5, eighths // 8, eighths / 8).astype(dtype)


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """In (0, 1) in every dtype: 1 - 2**-8 is the largest bfloat16 below 1."""
    return rng.uniform(2.0**-8, 1 - 2.0**-8, shape).astype(dtype)


def probability_data(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any
) -> tuple[Any, Any]:
    return _binary_labels(rng, shape, dtype), _probabilities(rng, shape, dtype)


def logit_data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    return _binary_labels(rng, shape, dtype), rng.normal(scale=5.0, size=shape).astype(dtype)


def score_data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Scores whose exponentials float16 can hold."""
    labels, scores = logit_data(rng, shape, dtype)
    return labels, np.clip(scores, -6, 6).astype(dtype)


def positive_data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Amounts above 0, in multiples of 1/8, and predictions above 0."""
    y_true = rng.integers(1, 40, shape) / 8
    return y_true.astype(dtype), (rng.gamma(2.0, 1.5, shape) + 2.0**-8).astype(dtype)


def count_data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Counts, and logarithms of their means."""
    return rng.poisson(2.0, shape).astype(dtype), rng.normal(scale=1.5, size=shape).astype(dtype)


def mean_data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Counts, and means."""
    return rng.poisson(2.0, shape).astype(dtype), positive_data(rng, shape, dtype)[1]


def class_ids(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    return rng.integers(0, shape[-1], shape[:-1])


def one_hot(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    return one_hot_of(class_ids(rng, shape, dtype), shape[-1], dtype)


def one_hot_of(ids: Any, n_classes: int, dtype: Any = np.float64) -> Any:
    return (np.asarray(ids)[..., None] == np.arange(n_classes)).astype(dtype)


def soft_labels(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Some of them 0; rows do not add up to 1, which no loss asks for."""
    eighths = rng.integers(0, 5, shape) * (rng.random(shape) < 0.7)
    return (eighths / 8).astype(dtype)


def ignored_ids(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    ids = class_ids(rng, shape, dtype)
    ids[..., 1::3] = -100
    return ids


Labels = Callable[[np.random.Generator, tuple[int, ...], Any], Any]


def with_logits(labels: Labels) -> Callable[..., tuple[Any, Any]]:
    def make(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
        logits = rng.normal(scale=4.0, size=shape).astype(dtype)
        return labels(rng, shape, dtype), logits

    return make


def with_probabilities(labels: Labels) -> Callable[..., tuple[Any, Any]]:
    def make(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
        return labels(rng, shape, dtype), _probabilities(rng, shape, dtype)

    return make


def distribution_logits(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any
) -> tuple[Any, Any]:
    a, b = rng.normal(scale=2.0, size=(2, *shape))
    return a.astype(dtype), b.astype(dtype)


def log_probabilities(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    return (-rng.gamma(2.0, 1.0, shape)).astype(dtype)


def mean_and_variance(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any
) -> tuple[Any, Any]:
    """For rows of two, however many the shape has."""
    y_true, mean = rng.normal(scale=2.0, size=(2, *shape[:-1]))
    variance = rng.gamma(2.0, 1.5, shape[:-1]) + 2.0**-4
    return y_true.astype(dtype), np.stack([mean, variance], axis=-1).astype(dtype)


# ---------------------------------------------------------------------------------------------
# Naive NumPy, in the dtype of the data: (loss of each sample, gradient of their sum)


def naive_squared(y: Any, p: Any) -> tuple[Any, Any]:
    return (p - y) ** 2, 2 * (p - y)


def naive_absolute(y: Any, p: Any) -> tuple[Any, Any]:
    return abs(p - y), np.sign(p - y)


def naive_binary(y: Any, p: Any) -> tuple[Any, Any]:
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)), (p - y) / (p * (1 - p))


def naive_binary_logits(y: Any, x: Any) -> tuple[Any, Any]:
    return np.log(1 + np.exp(x)) - y * x, 1 / (1 + np.exp(-x)) - y


def naive_categorical(y: Any, p: Any) -> tuple[Any, Any]:
    t = one_hot_of(y, p.shape[-1], p.dtype) if y.ndim < p.ndim else y
    return -(t * np.log(p)).sum(axis=-1), -t / p


def naive_softmax(y: Any, x: Any) -> tuple[Any, Any]:
    t = one_hot_of(y, x.shape[-1], x.dtype) if y.ndim < x.ndim else y
    exps = np.exp(x - x.max(axis=-1, keepdims=True))
    p = exps / exps.sum(axis=-1, keepdims=True)
    return -(t * np.log(p)).sum(axis=-1), t.sum(axis=-1, keepdims=True) * p - t


# ---------------------------------------------------------------------------------------------
# The registry


@dataclasses.dataclass(frozen=True)
class Case:
    """One loss with one kind of labels. Its reduction is the mean; `reduced` gives the others."""

    name: str
    loss: fl.Loss
    make: Callable[[np.random.Generator, tuple[int, ...], Any], tuple[Any, Any]]
    reference: Callable[[Arithmetic, Any, Any, Any], Terms]
    naive: Callable[[Any, Any], tuple[Any, Any]] | None = None

    @property
    def rowwise(self) -> bool:
        return isinstance(self.loss, fl.RowwiseLoss)

    def reduced(self, reduction: str) -> fl.Loss:
        return dataclasses.replace(self.loss, reduction=reduction)

    def data(self, dtype: Any = np.float32, shape: tuple[int, ...] = (7, 5)) -> tuple[Any, Any]:
        """Valid (y_true, y_pred), the same at each call. Losses with class weights take 5 classes.

        For a row-wise loss the last axis of `shape` is the classes.
        """
        return self.make(np.random.default_rng(20240229), shape, np.dtype(dtype))

    def __str__(self) -> str:
        return self.name


WEIGHTS = (0.5, 2.0, 0.0, 1.25, 3.0)
_SMOOTH = {"label_smoothing": 0.1}
_WEIGHED = {"class_weight": WEIGHTS}
_ALL = {**_SMOOTH, **_WEIGHED, "ignore_index": -100}

SQUARED = Case("squared", fl.mse, real_data, squared_error, naive_squared)
ABSOLUTE = Case("absolute", fl.mae, real_data, absolute_error, naive_absolute)
BINARY = Case(
    "binary", fl.binary_cross_entropy, probability_data, binary_cross_entropy, naive_binary
)
LOGITS = Case(
    "binary_logits",
    fl.binary_cross_entropy_with_logits,
    logit_data,
    binary_cross_entropy_with_logits,
    naive_binary_logits,
)
CATEGORICAL = Case(
    "categorical",
    fl.categorical_cross_entropy,
    with_probabilities(class_ids),
    categorical_cross_entropy,
    naive_categorical,
)
SOFTMAX = Case("softmax", fl.cross_entropy, with_logits(class_ids), cross_entropy, naive_softmax)
SOFTMAX_SOFT = Case(
    "softmax_soft", fl.cross_entropy, with_logits(soft_labels), cross_entropy, naive_softmax
)
CATEGORICAL_SOFT = dataclasses.replace(
    CATEGORICAL, name="categorical_soft", make=with_probabilities(soft_labels)
)


def _like(case: Case, suffix: str, labels: Labels | None = None, **options: Any) -> Case:
    """A variant of `case`; naive NumPy has no options."""
    return dataclasses.replace(
        case,
        name=f"{case.name}_{suffix}",
        loss=dataclasses.replace(case.loss, **options),
        make=with_logits(labels) if labels else case.make,
        naive=None,
    )


FOCAL = Case("focal", fl.binary_focal, logit_data, binary_focal)
POISSON = Case("poisson", fl.poisson, count_data, poisson)
GAMMA = Case("gamma", fl.gamma, positive_data, gamma)
# The rest of the family: losses of independent elements.
FAMILY = [
    Case("huber", fl.huber, real_data, huber),
    Case("huber_2", fl.Huber(delta=2.5), real_data, huber),
    Case("smooth_l1", fl.smooth_l1, real_data, smooth_l1),
    Case("smooth_l1_2", fl.SmoothL1(beta=2.0), real_data, smooth_l1),
    Case("smooth_l1_0", fl.SmoothL1(beta=0), real_data, smooth_l1),
    Case("log_cosh", fl.log_cosh, real_data, log_cosh),
    Case("quantile", fl.quantile, real_data, quantile),
    Case("quantile_high", fl.Quantile(q=0.875), real_data, quantile),
    Case("quantile_1", fl.Quantile(q=1), real_data, quantile),
    Case("squared_log", fl.msle, positive_data, squared_log_error),
    Case("percentage", fl.mape, real_data, absolute_percentage_error),
    Case("fair", fl.fair, real_data, fair),
    Case("fair_2", fl.Fair(c=0.25), real_data, fair),
    POISSON,
    Case("poisson_mean", fl.Poisson(log_input=False), mean_data, poisson),
    GAMMA,
    Case("gamma_mean", fl.Gamma(log_input=False), positive_data, gamma),
    Case("tweedie", fl.tweedie, count_data, tweedie),
    Case("tweedie_high", fl.Tweedie(power=1.75), count_data, tweedie),
    Case("tweedie_mean", fl.Tweedie(power=1.25, log_input=False), mean_data, tweedie),
    Case("poisson_deviance", fl.Poisson(deviance=True), count_data, POISSON_DEVIANCE),
    Case("gamma_deviance", fl.Gamma(deviance=True), positive_data, GAMMA_DEVIANCE),
    Case("tweedie_deviance", fl.Tweedie(deviance=True), count_data, TWEEDIE_DEVIANCE),
    Case("hinge", fl.hinge, logit_data, hinge),
    Case("squared_hinge", fl.squared_hinge, logit_data, squared_hinge),
    Case("exponential", fl.exponential, score_data, exponential),
    FOCAL,
    Case("focal_0", fl.BinaryFocal(gamma=0), logit_data, binary_focal),
    Case("focal_all", fl.BinaryFocal(gamma=1.5, alpha=0.25), logit_data, binary_focal),
]

MULTI_MARGIN_ALL = Case(
    "multi_margin_all",
    fl.MultiMargin(p=2, margin=0.5, class_weight=WEIGHTS, ignore_index=-100),
    with_logits(ignored_ids),
    multi_margin,
)
KL = Case("kl", fl.kl_divergence, with_probabilities(soft_labels), kl_divergence)
GAUSSIAN = Case("gaussian", fl.gaussian_nll, mean_and_variance, gaussian_nll)
# Losses of whole rows.
ROWS = [
    Case("multi_margin", fl.multi_margin, with_logits(class_ids), multi_margin),
    MULTI_MARGIN_ALL,
    KL,
    Case(
        "kl_log_target",
        fl.KLDivergence(log_target=True),
        with_probabilities(log_probabilities),
        kl_divergence,
    ),
    Case("kl_logits", fl.KLDivergence(from_logits=True), distribution_logits, kl_divergence),
    Case("js", fl.jensen_shannon, with_probabilities(soft_labels), jensen_shannon),
    Case("js_logits", fl.JensenShannon(from_logits=True), distribution_logits, jensen_shannon),
    Case("dice", fl.dice, probability_data, tversky),
    Case(
        "tversky_logits",
        fl.Tversky(alpha=0.25, beta=0.75, smooth=0.125, from_logits=True),
        logit_data,
        tversky,
    ),
    Case("cosine", fl.cosine_distance, real_data, cosine_distance),
    GAUSSIAN,
    Case(
        "gaussian_all",
        fl.GaussianNLL(full=True, log_variance=True),
        mean_and_variance,
        gaussian_nll,
    ),
]

LOGITS_ALL = _like(LOGITS, "all", pos_weight=0.25, label_smoothing=0.2)
SOFTMAX_ALL = _like(SOFTMAX, "all", ignored_ids, **_ALL)
SOFTMAX_SOFT_ALL = _like(SOFTMAX_SOFT, "all", **_ALL)

CASES = [
    SQUARED,
    ABSOLUTE,
    *FAMILY,
    *ROWS,
    BINARY,
    _like(BINARY, "bare", log_floor=-math.inf),
    _like(BINARY, "floor_2", log_floor=-2.0),
    LOGITS,
    _like(LOGITS, "pos_weight", pos_weight=3.0),
    _like(LOGITS, "smooth", label_smoothing=0.1),
    LOGITS_ALL,
    CATEGORICAL,
    CATEGORICAL_SOFT,
    _like(CATEGORICAL, "bare", log_floor=-math.inf),
    _like(CATEGORICAL_SOFT, "floor_2", log_floor=-2.0),
    SOFTMAX,
    _like(SOFTMAX, "smooth", **_SMOOTH),
    _like(SOFTMAX, "weighed", **_WEIGHED),
    _like(SOFTMAX, "ignoring", ignored_ids, ignore_index=-100),
    SOFTMAX_ALL,
    SOFTMAX_SOFT,
    dataclasses.replace(SOFTMAX, name="softmax_one_hot", make=with_logits(one_hot)),
    _like(SOFTMAX_SOFT, "smooth", **_SMOOTH),
    _like(SOFTMAX_SOFT, "weighed", **_WEIGHED),
    SOFTMAX_SOFT_ALL,
]
# Options alone, where they make kernels of their own: gradient and Hessian in float32. Losses as
# they come, and with all their options together, in float64 too.
_ALONE = {
    *("huber_2", "smooth_l1_2", "smooth_l1_0", "quantile_1", "fair_2", "focal_0"),
    *("poisson_deviance", "gamma_deviance", "tweedie_deviance"),
    *("binary_logits_pos_weight", "binary_logits_smooth"),
    *("softmax_smooth", "softmax_weighed", "softmax_ignoring"),
    *("softmax_soft_smooth", "softmax_soft_weighed"),
}
IN_FLOAT64 = [case for case in CASES if case.name not in _ALONE]
# Functions of a cross-entropy, with some of its options; their reference is that of it.
LINKED = [
    fl.focal,
    fl.Focal(gamma=0.5, alpha=0.25),
    fl.Focal(gamma=3, alpha=(1.0, 0.5, 2.0, 4.0, 0.25), temperature=2.0, ignore_index=3),
    fl.generalized_cross_entropy,
    fl.GeneralizedCrossEntropy(q=1, class_weight=(1.0, 0.5, 2.0, 4.0, 0.25)),
    fl.poly_cross_entropy,
    fl.PolyCrossEntropy(epsilon=-0.5, softcap=5.0),
]
ELEMENTWISE = [case for case in CASES if not case.rowwise]
ROWWISE = [case for case in CASES if case.rowwise]
# One of each class of losses, with default options.
PLAIN = [SQUARED, ABSOLUTE, BINARY, LOGITS, CATEGORICAL, CATEGORICAL_SOFT, SOFTMAX, SOFTMAX_SOFT]
# For what does not depend on the formula: one for each loop and kind of labels, and those with
# options that count or weigh samples. Each combination of a formula, dtypes, outputs and weights is
# a kernel to compile, for a second or two.
MECHANICS = [SQUARED, LOGITS, CATEGORICAL, SOFTMAX, SOFTMAX_SOFT, SOFTMAX_ALL, SOFTMAX_SOFT_ALL]
# For how samples are weighed: also losses of whole rows, with all kinds of labels.
WEIGHED = [*MECHANICS, MULTI_MARGIN_ALL, KL, GAUSSIAN]
