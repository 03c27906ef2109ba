"""The Jensen-Shannon divergence."""

import math
from dataclasses import dataclass
from typing import Any

from ...bases.rows import OfWholeRow
from ...compiler.bits import disjoint, window
from ...kernels.row_loss import dot, total
from ...kernels.scalar import log1p
from .divergence import NO_LOGITS, Divergence, excess_of, log_ratio, place_above, softmaxes

_LN2 = math.log(2)

# With m = (p + q) / 2 and s = (p - q) / (p + q), p = m (1 + s) and q = m (1 - s), and a class adds
# (m / 2) h(s) with
#
#     h(s) = (1 + s) log(1 + s) + (1 - s) log(1 - s) = s (log(p / m) - log(q / m)) + log(1 - s^2)
#
# For small s it is s^2. The second form cancels little, and is good for |s| up to 1/2; the first
# form is good for larger ones.


def _js_of_class(p: Any, q: Any, difference: Any) -> tuple[Any, Any, Any]:
    """What one class adds to the divergence, log(q / m) / 2 and p / (p + q)."""
    both = p + q
    log_p = log_ratio(p + p, both, difference)
    log_q = log_ratio(q + q, both, -difference)
    s = difference / both
    near = abs(s) < 0.5
    # A probability of 0 takes nothing of an infinite logarithm; `less` is 0, or NaN.
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
    term, half_log, share = _js_of_class(p, q, excess_of(p, q, difference - shift))
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
    """The same for a class with q > 1/2, from sums over the other classes: of q, q g and q r."""
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
    half_logs, inverse_p, inverse_q, shift = softmaxes(y_true, y_pred, spare)
    shares = window(spare, y_pred.size, y_pred.size)
    _js_of_exps(y_true, y_pred, half_logs, shares, inverse_p, inverse_q, shift)
    if grads.size > 0:
        number = y_pred.dtype.type
        mean_log, mean_share = number(dot(y_pred, half_logs)), number(dot(y_pred, shares))
        _js_derivatives(y_pred, half_logs, shares, mean_log, mean_share, grads, hesses)
        j = place_above(y_pred, 0.5)
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
class JensenShannon(Divergence):
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

    Raises, besides what every loss raises: ValueError for probabilities outside [0, 1].

    Ready made: `jensen_shannon`.

    >>> import fastloss as fl
    >>> loss, grad = fl.jensen_shannon.value_and_grad([[0.5, 0.5]], [[0.25, 0.75]])
    >>> round(loss, 12)
    0.033822075569
    >>> grad
    array([[-0.20273255,  0.09116078]])

    Source: J. Lin, Divergence Measures Based on the Shannon Entropy (1991).
    """

    cost = 16

    def _describe(self) -> OfWholeRow:
        if self.from_logits:
            return OfWholeRow(self, _js_of_logits, padding=NO_LOGITS)
        return OfWholeRow(self, _js_of_probabilities)


jensen_shannon = JensenShannon()
