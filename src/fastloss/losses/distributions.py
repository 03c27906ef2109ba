"""Losses between probability distributions."""

import math
from dataclasses import dataclass
from typing import Any

from ..bases.options import check_switch, of_options
from ..bases.rows import OfWholeRow, RowwiseLoss
from ..compiler.bits import disjoint, window
from ..kernels.rows import dot, largest, total
from ..kernels.scalar import exp, expm1_less_x, log, log1p

_PROBABILITIES = (0.0, 1.0)
_REAL = (-math.inf, math.inf)
_LN2 = math.log(2)
# Logits of a class that is ruled out in both rows.
_NO_LOGITS = (-math.inf, -math.inf)

# ---------------------------------------------------------------------------------------------
# What both divergences have in common


@dataclass(frozen=True)
class _Divergence(RowwiseLoss):
    """Predictions are probabilities, or logits as the labels are."""

    from_logits: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("from_logits", self.from_logits)

    @of_options
    def y_true_range(self) -> tuple[float, float]:
        return _REAL if self.from_logits else _PROBABILITIES

    @of_options
    def y_pred_range(self) -> tuple[float, float]:
        return _REAL if self.from_logits else _PROBABILITIES

    @of_options
    def y_true_widens(self) -> bool:
        return self.from_logits


def _log_ratio(p: Any, q: Any, difference: Any) -> Any:
    """log(p / q), with digits of its own where the two are nearly equal; `difference` is p - q."""
    ratio = p / q
    # The ratio is rounded, and near 1 that is all that is left of the logarithm. What was lost is
    # known, as the ratio less 1 is exact there.
    near = (ratio > 0.5) & (ratio < 2)
    lost = (difference - (ratio - 1) * q) / p if near else 0.0
    return log(ratio) + lost


# Two rows of logits, a and b. With x = a - max(a), y = b - max(b) and D = log(sum of exp(x)) -
# log(sum of exp(y)), the logarithm of p_j / q_j is (x_j - y_j) - D. Where the distributions are
# nearly equal it is small, and must not be a difference of two logarithms that were rounded: x - y
# is exact but for one rounding, and D = log1p(sum of (exp(x) - exp(y)) / sum of exp(y)).


def _lost(a: Any, b: Any, difference: Any) -> Any:
    """How much a - b is more than its rounded value (Knuth's two-sum); 0 if infinite."""
    minus_b = difference - a
    lost = (a - (difference - minus_b)) - (b + minus_b)
    return lost if lost == lost else 0.0


def _excess(p: Any, q: Any, d: Any) -> Any:
    """p - q, where d is the logarithm of p / q."""
    near = abs(d) < 1
    small = d if near else 0.0
    return q * (small + expm1_less_x(small)) if near else p - q


def _exps_of_class(a: Any, b: Any, a_max: Any, b_max: Any) -> tuple[Any, Any, Any, Any]:
    """exp(x), exp(y), x - y and exp(x) - exp(y)."""
    # Of two largest logits, or of a class that is masked in both rows, no difference is asked for:
    # they may be infinite.
    x = a - a_max if a != a_max else 0.0
    y = b - b_max if b != b_max else 0.0
    difference = x - y if x != y else 0.0
    lost = _lost(x, y, difference) + (_lost(a, a_max, x) - _lost(b, b_max, y))
    difference = difference + lost
    p, q = exp(x), exp(y)
    return p, q, difference, _excess(p, q, difference)


def _exps(a: Any, b: Any, a_max: Any, b_max: Any, differences: Any, excesses: Any) -> None:
    disjoint()
    for j in range(a.size):
        a[j], b[j], differences[j], excesses[j] = _exps_of_class(a[j], b[j], a_max, b_max)


def _sum_of_exps(exps: Any, maximum: Any) -> Any:
    """Their sum, or NaN where the softmax has no limit: all -inf, or several +inf."""
    result = total(exps)
    if maximum == -math.inf or (maximum == math.inf and result > 1):
        return math.nan
    return result


def _softmaxes(a: Any, b: Any, spare: Any) -> tuple[Any, Any, Any, Any]:
    """Put exp(x) in the place of a and exp(y) in that of b.

    Returns x - y, 1 / sum of exp(x), 1 / sum of exp(y) and D.
    """
    n = a.size
    differences, excesses = window(spare, 0, n), window(spare, n, n)
    a_max, b_max = largest(a), largest(b)
    _exps(a, b, a_max, b_max, differences, excesses)
    sum_p, sum_q = _sum_of_exps(a, a_max), _sum_of_exps(b, b_max)
    excess = total(excesses) / sum_q
    shift = log1p(excess) if abs(excess) < 0.5 else log(sum_p / sum_q)
    number = a.dtype.type
    return differences, number(1 / sum_p), number(1 / sum_q), number(shift)


def _place_above(numbers: Any, bound: Any) -> Any:
    """The first place of a larger number than the bound, or -1."""
    for j in range(numbers.size):
        if numbers[j] > bound:
            return j
    return -1


# ---------------------------------------------------------------------------------------------
# Kullback-Leibler


def _kl_parts(p: Any, q: Any, d: Any) -> tuple[Any, Any, Any]:
    """What one class adds to the divergence, as two numbers, and q - p; d is log(p / q).

    Where p and q are close, p d is nearly p - q, which cancels in the sum over the classes. So the
    first is p d less that, p (d + expm1(-d)), which is no sum of large numbers; otherwise it is
    p d. The second makes up for the difference: their sum is p d + (q - p).
    """
    near = abs(d) < 1
    small = d if near else 0.0
    rest = expm1_less_x(-small)
    change = p * (rest - small) if near else q - p
    share = p * d if p != 0 else 0 * q  # p = 0 takes nothing even of an infinite logarithm
    return p * rest if near else share, 0.0 if near else change, change


def _kl_of_class(self: Any, y_true: Any, q: Any) -> tuple[Any, Any, Any, Any]:
    p = exp(y_true) if self.log_target else y_true
    d = y_true - log(q) if self.log_target else _log_ratio(p, q, p - q)
    term, balance, _ = _kl_parts(p, q, d)
    slope = -(p / q) if p != 0 else 0.0
    # With p = 0 both parts are 0, or NaN.
    return term, (p - q) + balance if p != 0 else term, slope, -slope / q if p != 0 else 0.0


def _kl_of_classes(self: Any, p: Any, q: Any, grads: Any, hesses: Any) -> None:
    disjoint()
    for j in range(p.size):
        p[j], q[j], grad, hess = _kl_of_class(self, p[j], q[j])
        if grads.size > 0:
            grads[j] = grad
        if hesses.size > 0:
            hesses[j] = hess


def _kl_of_probabilities(
    self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any
) -> Any:
    _kl_of_classes(self, y_true, y_pred, grads, hesses)
    return total(y_true) + total(y_pred)


def _kl_of_logit(
    exp_x: Any, exp_y: Any, difference: Any, inverse_p: Any, inverse_q: Any, shift: Any
) -> tuple[Any, Any, Any]:
    p, q = exp_x * inverse_p, exp_y * inverse_q
    term, balance, change = _kl_parts(p, q, difference - shift)
    return term + balance, change, q * (1 - q)


def _kl_of_exps(
    exps_x: Any,
    exps_y: Any,
    differences: Any,
    inverse_p: Any,
    inverse_q: Any,
    shift: Any,
    grads: Any,
    hesses: Any,
) -> None:
    disjoint()
    for j in range(exps_x.size):
        exps_x[j], grad, hess = _kl_of_logit(
            exps_x[j], exps_y[j], differences[j], inverse_p, inverse_q, shift
        )
        if grads.size > 0:
            grads[j] = grad
        if hesses.size > 0:
            hesses[j] = hess


def _kl_of_logits(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any) -> Any:
    differences, inverse_p, inverse_q, shift = _softmaxes(y_true, y_pred, spare)
    _kl_of_exps(y_true, y_pred, differences, inverse_p, inverse_q, shift, grads, hesses)
    if hesses.size > 0:
        # Of a class with q > 1/2, 1 - q is what the others have: the difference has no digits.
        j = _place_above(y_pred, 0.5 / inverse_q)
        if j >= 0:
            q = y_pred[j] * inverse_q
            y_pred[j] = 0.0
            hesses[j] = q * (total(y_pred) * inverse_q)
    return total(y_true)


@dataclass(frozen=True)
class KLDivergence(_Divergence):
    """The Kullback-Leibler divergence of predicted from true distributions, p being the true one.

        loss       = sum of p_j (log(p_j) - log(q_j))
        gradient_j = -p_j / q_j
        hessian_j  = p_j / q_j^2

    With `from_logits=True`, labels and predictions are logits, of p and of q, and the derivatives
    are by the logits of q:

        gradient_j = q_j - p_j,        p, q = softmax(y_true), softmax(y_pred)
        hessian_j  = q_j (1 - q_j)

    The loss is exact for distributions that are nearly equal, where the logarithms cancel.

    Arguments of the verbs: `y_true` and `y_pred` of shape (..., c), probabilities in [0, 1], which
    are taken as they are: rows need not add up to 1; or logits, where -inf is a class that is
    ruled out.

    Options:

    - `from_logits`: see above.
    - `log_target`: `y_true` has the logarithms of p, any numbers; -inf is a probability of 0.

    A class with p_j = 0 adds nothing, whatever q_j; one with q_j = 0 and p_j > 0 makes the loss
    infinite, and the gradient there -inf (by logits, it stays finite). A row of logits that has no
    softmax, all -inf or more than one +inf, is NaN.

    Ready made: `kl_divergence`.

    >>> import fastloss as fl
    >>> loss, grad = fl.kl_divergence.value_and_grad([[0.5, 0.5]], [[0.25, 0.75]])
    >>> round(loss, 12)
    0.143841036226
    >>> grad
    array([[-2.        , -0.66666667]])
    >>> round(fl.KLDivergence(from_logits=True)([[0.0, 0.0]], [[1e-9, -1e-9]]) * 1e19, 9)
    5.0

    Source: S. Kullback and R. A. Leibler, On Information and Sufficiency (1951).
    """

    log_target: bool = False

    cost = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("log_target", self.log_target)
        if self.log_target and self.from_logits:
            raise ValueError(
                "log_target and from_logits are both True, but logarithms of probabilities are "
                "logits already: leave log_target away"
            )

    @of_options
    def y_true_range(self) -> tuple[float, float]:
        return _REAL if self.log_target or self.from_logits else _PROBABILITIES

    @of_options
    def y_true_widens(self) -> bool:
        return self.log_target or self.from_logits

    def _describe(self) -> OfWholeRow:
        if self.from_logits:
            return OfWholeRow(self, _kl_of_logits, padding=_NO_LOGITS)
        padding = (-math.inf if self.log_target else 0.0, 0.0)
        return OfWholeRow(self, _kl_of_probabilities, padding=padding)


# ---------------------------------------------------------------------------------------------
# Jensen-Shannon
#
# With m = (p + q) / 2 and s = (p - q) / (p + q), p = m (1 + s) and q = m (1 - s), and a class adds
# (m / 2) h(s) with
#
#     h(s) = (1 + s) log(1 + s) + (1 - s) log(1 - s) = s (log(p / m) - log(q / m)) + log(1 - s^2)
#
# For small s it is s^2. The second form cancels little, and is good for |s| up to 1/2; the first
# for those beyond.


def _js_of_class(p: Any, q: Any, difference: Any) -> tuple[Any, Any, Any]:
    """What one class adds to the divergence, log(q / m) / 2 and p / (p + q)."""
    both = p + q
    log_p = _log_ratio(p + p, both, difference)
    log_q = _log_ratio(q + q, both, -difference)
    s = difference / both
    near = abs(s) < 0.5
    # 0 takes nothing of an infinite logarithm; `less` is 0, or NaN.
    less = 0 * both
    far = (p * log_p if p != 0 else less) + (q * log_q if q != 0 else less)
    term = 0.25 * both * (s * (log_p - log_q) + log1p(-s * s if near else 0.0)) if near else far / 2
    # Where p is 0, also if q is: the limit from above.
    return term, 0.5 * log_q if p != 0 else 0.5 * _LN2, p / both if p != 0 else 0.0


def _js_of_probability(p: Any, q: Any) -> tuple[Any, Any, Any]:
    term, grad, share = _js_of_class(p, q, p - q)
    return term, grad, 0.5 * share / q if p != 0 else 0.0


def _js_of_each(p: Any, q: Any, grads: Any, hesses: Any) -> None:
    disjoint()
    for j in range(p.size):
        p[j], grad, hess = _js_of_probability(p[j], q[j])
        if grads.size > 0:
            grads[j] = grad
        if hesses.size > 0:
            hesses[j] = hess


def _js_of_probabilities(
    self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any
) -> Any:
    _js_of_each(y_true, y_pred, grads, hesses)
    return total(y_true)


def _js_of_logit(
    exp_x: Any, exp_y: Any, difference: Any, inverse_p: Any, inverse_q: Any, shift: Any
) -> tuple[Any, Any, Any, Any]:
    p, q = exp_x * inverse_p, exp_y * inverse_q
    term, half_log, share = _js_of_class(p, q, _excess(p, q, difference - shift))
    return term, q, half_log if q != 0 else 0.0, share


def _js_of_exps(
    exps_x: Any,
    exps_y: Any,
    differences: Any,
    shares: Any,
    inverse_p: Any,
    inverse_q: Any,
    shift: Any,
) -> None:
    """Put terms in the place of exp(x), q of exp(y), log(q / m) / 2 of the differences."""
    disjoint()
    for j in range(exps_x.size):
        exps_x[j], exps_y[j], differences[j], shares[j] = _js_of_logit(
            exps_x[j], exps_y[j], differences[j], inverse_p, inverse_q, shift
        )


def _js_derivatives_of_logit(
    q: Any, half_log: Any, share: Any, mean_log: Any, mean_share: Any
) -> tuple[Any, Any]:
    above = q * (half_log - mean_log)
    rest = 1 - 2 * q
    return above, above * rest + 0.5 * q * (share * rest + q * mean_share)


def _js_derivatives_of_likely(
    q: Any, half_log: Any, share: Any, rest: Any, rest_log: Any, rest_share: Any
) -> tuple[Any, Any]:
    """The same of a class with q > 1/2, from sums over the others: of q, of q g and of q r."""
    above = q * (rest * half_log - rest_log)
    return above, above * (1 - 2 * q) + 0.5 * q * (share * rest * rest + q * rest_share)


def _js_derivatives(
    q: Any, half_logs: Any, shares: Any, mean_log: Any, mean_share: Any, grads: Any, hesses: Any
) -> None:
    disjoint()
    for j in range(grads.size):
        grads[j], hess = _js_derivatives_of_logit(
            q[j], half_logs[j], shares[j], mean_log, mean_share
        )
        if hesses.size > 0:
            hesses[j] = hess


def _js_of_logits(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any) -> Any:
    half_logs, inverse_p, inverse_q, shift = _softmaxes(y_true, y_pred, spare)
    shares = window(spare, y_pred.size, y_pred.size)
    _js_of_exps(y_true, y_pred, half_logs, shares, inverse_p, inverse_q, shift)
    if grads.size > 0:
        number = y_pred.dtype.type
        mean_log, mean_share = number(dot(y_pred, half_logs)), number(dot(y_pred, shares))
        _js_derivatives(y_pred, half_logs, shares, mean_log, mean_share, grads, hesses)
        j = _place_above(y_pred, 0.5)
        if j >= 0:
            q = y_pred[j]
            y_pred[j] = 0.0
            rest, rest_log, rest_share = total(y_pred), dot(y_pred, half_logs), dot(y_pred, shares)
            grads[j], hess = _js_derivatives_of_likely(
                q, half_logs[j], shares[j], rest, rest_log, rest_share
            )
            if hesses.size > 0:
                hesses[j] = hess
    return total(y_true)


@dataclass(frozen=True)
class JensenShannon(_Divergence):
    """The Jensen-Shannon divergence of two distributions: that of both from their mean m.

        loss       = (sum of p_j log(p_j / m_j) + sum of q_j log(q_j / m_j)) / 2,  m = (p + q) / 2
        gradient_j = g_j,                        g_j = log(q_j / m_j) / 2
        hessian_j  = r_j / (2 q_j),              r_j = p_j / (p_j + q_j)

    With `from_logits=True`, labels and predictions are logits, of p and of q, and the derivatives
    are by the logits of q, with G = sum of q_k g_k and R = sum of q_k r_k:

        gradient_j = q_j (g_j - G)
        hessian_j  = q_j (1 - 2 q_j) (g_j - G + r_j / 2) + q_j^2 R / 2

    It is symmetric, and at most log(2) for probabilities that add up to 1. The loss is exact for
    distributions that are nearly equal.

    Arguments of the verbs: `y_true` and `y_pred` of shape (..., c), probabilities in [0, 1], which
    are taken as they are; or logits, where -inf is a class that is ruled out.

    Where q_j is 0 and p_j is not, the gradient by probabilities is -inf and the Hessian +inf; where
    p_j is 0, they are log(2) / 2 and 0. A row of logits that has no softmax, all -inf or more than
    one +inf, is NaN.

    Ready made: `jensen_shannon`.

    >>> import fastloss as fl
    >>> loss, grad = fl.jensen_shannon.value_and_grad([[0.5, 0.5]], [[0.25, 0.75]])
    >>> round(loss, 12)
    0.033822075569
    >>> grad
    array([[-0.20273255,  0.09116078]])

    Source: J. Lin, Divergence Measures Based on the Shannon Entropy (1991).
    """

    cost = 8

    def _describe(self) -> OfWholeRow:
        if self.from_logits:
            return OfWholeRow(self, _js_of_logits, padding=_NO_LOGITS)
        return OfWholeRow(self, _js_of_probabilities)


kl_divergence = KLDivergence()
jensen_shannon = JensenShannon()
