"""The cosine distance of vectors."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...bases.rows import OfWholeRow, RowwiseLoss
from ...compiler.bits import accumulate, disjoint
from ...kernels.row_loss import dot, largest_magnitude
from ...kernels.tiles import fill

_REAL = (-math.inf, math.inf)
# Numbers between this and its inverse have squares whose sum is a float64.
_SMALL = 2.0**-500


def _scaled(numbers: Any) -> Any:
    """Divide by the largest magnitude, if squares could overflow or vanish, and return the divisor.

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

    Raises what every loss raises, as ValueError for shapes that differ.

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
    cost = 5

    def _describe(self) -> OfWholeRow:
        return OfWholeRow(self, _cosine_distance)


cosine_distance = CosineDistance()
