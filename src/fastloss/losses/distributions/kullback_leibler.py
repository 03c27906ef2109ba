"""The Kullback-Leibler divergence."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...bases.constant import counted, nowhere, shares
from ...bases.options import check_switch, of_options
from ...bases.rows import OfWholeRow
from ...call.arrays import Array, as_array
from ...compiler.bits import disjoint
from ...kernels.row_loss import total
from ...kernels.scalar import exp, expm1_less_x, log
from ..hessians import Hessians, larger
from .divergence import (
    NO_LOGITS,
    PROBABILITIES,
    REAL,
    Divergence,
    log_ratio,
    place_above,
    softmaxes,
)


def _kl_parts(p: Any, q: Any, d: Any) -> tuple[Any, Any, Any]:
    """What one class adds to the divergence, as two numbers, and q - p; d is log(p / q).

    Where p and q are close, p d is nearly p - q, which cancels in the sum over the classes. So the
    first number is p d - (p - q), computed as p (d + expm1(-d)), which is no sum of large numbers;
    elsewhere it is p d. The second makes up for the difference: their sum is p d + (q - p).
    """
    near = abs(d) < 1
    small = d if near else 0.0
    rest = expm1_less_x(-small)
    change = p * (rest - small) if near else q - p
    share = p * d if p != 0 else 0 * q  # p = 0 takes nothing even of an infinite logarithm
    return p * rest if near else share, 0.0 if near else change, change


def _kl_of_class(self: Any, y_true: Any, q: Any) -> tuple[Any, Any, Any, Any]:
    p = exp(y_true) if self.log_target else y_true
    d = y_true - log(q) if self.log_target else log_ratio(p, q, p - q)
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
    differences, inverse_p, inverse_q, shift = softmaxes(y_true, y_pred, spare)
    _kl_of_exps(y_true, y_pred, differences, inverse_p, inverse_q, shift, grads, hesses)
    if hesses.size > 0:
        # Of a class with q > 1/2, 1 - q is what the others have: the difference has no digits.
        j = place_above(y_pred, 0.5 / inverse_q)
        if j >= 0:
            q = y_pred[j] * inverse_q
            y_pred[j] = 0.0
            hesses[j] = q * (total(y_pred) * inverse_q)
    return total(y_true)


def _majorizer(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any) -> None:
    if self.from_logits:
        for j in range(hesses.size):
            hesses[j] = larger(2 * hesses[j], 1e-16)


@dataclass(frozen=True)
class KLDivergence(Divergence):
    """The Kullback-Leibler divergence of predicted from true distributions, p being the true one.

        loss       = sum of p_j (log(p_j) - log(q_j))
        gradient_j = -p_j / q_j
        hessian_j  = p_j / q_j^2, and so is the majorizer

    With `from_logits=True`, labels and predictions are logits, of p and of q, and the derivatives
    are by the logits of q:

        gradient_j = q_j - p_j,        p, q = softmax(y_true), softmax(y_pred)
        hessian_j  = q_j (1 - q_j);        majorizer_j = max(2 q_j (1 - q_j), 1e-16),
                                              as of `CrossEntropy`

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

    Raises, besides what every loss raises: ValueError for probabilities outside [0, 1], and for
    both options at once.

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

    cost = 12
    hessians: ClassVar[Hessians] = {"majorizer": _majorizer}

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
        return REAL if self.log_target or self.from_logits else PROBABILITIES

    @of_options
    def y_true_widens(self) -> bool:
        return self.log_target or self.from_logits

    def constant(self, y_true: Any, /, *, sample_weight: Any = None) -> Array:
        """The best constant distribution: the mean of those of `y_true`, shape (c,) for (..., c).

        For logits it is the logarithms of the mean of their softmaxes. Probabilities add up to 1.

        >>> import fastloss as fl
        >>> fl.kl_divergence.constant([[0.5, 0.5], [1.0, 0.0]])
        array([0.75, 0.25])
        """
        labels = as_array(y_true, self.names[0])
        numbers, weight, _ = counted(self._family, labels, labels.shape, sample_weight, -math.inf)
        rows, weight = numbers.reshape(-1, numbers.shape[-1]), weight.ravel()
        rows, weight = rows[weight != 0], weight[weight != 0]
        if self.from_logits:
            rows = np.exp(rows - rows.max(axis=-1, keepdims=True))
            rows /= rows.sum(axis=-1, keepdims=True)
        mean = shares(weight @ (np.exp(rows) if self.log_target else rows))
        if not self.from_logits:
            return mean
        for lacking in np.flatnonzero(mean == 0):
            nowhere(f"class {lacking} has the probability 0 in all rows", -math.inf)
        return np.log(mean)

    def _describe(self) -> OfWholeRow:
        if self.from_logits:
            return OfWholeRow(self, _kl_of_logits, padding=NO_LOGITS)
        padding = (-math.inf if self.log_target else 0.0, 0.0)
        return OfWholeRow(self, _kl_of_probabilities, padding=padding)


kl_divergence = KLDivergence()
