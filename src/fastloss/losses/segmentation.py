"""Losses of overlap, for binary segmentation."""

import math
from dataclasses import dataclass
from typing import Any

from ..bases.options import LARGEST_FACTOR, check_number, check_switch, of_options
from ..bases.rows import OfWholeRow, RowwiseLoss
from ..compiler.bits import accumulate, disjoint, window
from ..kernels.row_groups import CHUNK
from ..kernels.scalar import sigmoid

# With TP = sum of t_j p_j, the false positives F = sum of p_j (1 - t_j) and the false negatives
# M = sum of t_j (1 - p_j), the loss is N / T, where N = alpha F + beta M and T = TP + N + smooth.
# None of these sums cancels, where 1 - (TP + smooth) / T would. Both are linear in each p_j:
#
#     gradient_j = (dN (TP + smooth) - t_j N) / T^2,    dN = alpha (1 - t_j) - beta t_j
#     hessian_j  = -2 (dN + t_j) gradient_j / T


def _overlap(self: Any, t: Any, y_pred: Any) -> tuple[Any, Any]:
    """t p, which adds to TP, and what the element adds to alpha F + beta M."""
    p = sigmoid(y_pred) if self.from_logits else y_pred
    not_p = sigmoid(-y_pred) if self.from_logits else 1 - y_pred
    return t * p, self.alpha * (p * (1 - t)) + self.beta * (t * not_p)


def _overlaps(self: Any, t: Any, y_pred: Any) -> tuple[Any, Any]:
    number = t.dtype.type
    hits, misses = number(0), number(0)
    for j in range(t.size):
        hit, miss = _overlap(self, t[j], y_pred[j])
        hits = accumulate(hits, hit)
        misses = accumulate(misses, miss)
    return hits, misses


def _derivatives(
    self: Any, t: Any, y_pred: Any, hits: Any, misses: Any, inverse: Any
) -> tuple[Any, Any]:
    """Derivatives, where `hits` is (TP + smooth) / T, `misses` N / T and `inverse` 1 / T."""
    slope = self.alpha * (1 - t) - self.beta * t
    grad = (slope * hits - t * misses) * inverse
    hess = -2 * (slope + t) * grad * inverse
    if not self.from_logits:
        return grad, hess
    p, not_p = sigmoid(y_pred), sigmoid(-y_pred)
    change = p * not_p
    return grad * change, (hess * change + grad * (not_p - p)) * change


def _fill(
    self: Any, t: Any, y_pred: Any, hits: Any, misses: Any, inverse: Any, grads: Any, hesses: Any
) -> None:
    disjoint()
    for j in range(grads.size):
        grads[j], hess = _derivatives(self, t[j], y_pred[j], hits, misses, inverse)
        if hesses.size > 0:
            hesses[j] = hess


def _tversky(self: Any, y_true: Any, y_pred: Any, grads: Any, hesses: Any, spare: Any) -> Any:
    hits, misses = 0.0, 0.0
    for start in range(0, y_pred.size, CHUNK):
        size = min(CHUNK, y_pred.size - start)
        hit, miss = _overlaps(self, window(y_true, start, size), window(y_pred, start, size))
        hits += hit
        misses += miss
    hits += self.added
    whole = hits + misses
    # Nothing to find, and nothing found.
    inverse = 1 / whole if whole != 0 else 0.0
    if grads.size > 0:
        number = y_pred.dtype.type
        shares = number(hits * inverse), number(misses * inverse)
        _fill(self, y_true, y_pred, *shares, number(inverse), grads, hesses)
    return misses * inverse


class _Overlap(RowwiseLoss):
    """What both losses have in common, but for the order of their options."""

    smooth: float
    from_logits: bool

    cost = 4
    # `added` is added to sums in float64.
    _double = ("added",)
    _limit_at_0 = ("smooth", "alpha", "beta")
    _limit_at_inf = ("smooth",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("smooth", self.smooth, 0.0)
        check_switch("from_logits", self.from_logits)

    @of_options
    def y_pred_range(self) -> tuple[float, float]:
        return (-math.inf, math.inf) if self.from_logits else (0.0, 1.0)

    def _describe(self) -> OfWholeRow:
        return OfWholeRow(self, _tversky, padding=(0.0, -math.inf if self.from_logits else 0.0))


@dataclass(frozen=True)
class Dice(_Overlap):
    """One less the share of what labels t and predictions p have in common, one sample a row.

        loss       = 1 - (2 A + smooth) / B,    A = sum of t_j p_j,  B = sum of (t_j + p_j) + smooth
        gradient_j = (2 A + smooth) / B^2 - 2 t_j / B
        hessian_j  = 2 (2 t_j / B - (2 A + smooth) / B^2) / B

    With `from_logits=True`, predictions are logits x, p = sigmoid(x), and the derivatives are by x.
    The loss of a good prediction is exact: nothing is subtracted from 1.

    Arguments of the verbs: `y_true`, labels in [0, 1], and `y_pred`, probabilities in [0, 1] or
    logits, both of shape (..., d). The last axis is one sample: write
    `images.reshape(len(images), -1)` for the loss of each image, `images.reshape(-1)` for that of
    all of them together.

    Options:

    - `smooth`: added above and below. With 0, a row without anything to find where nothing is
      predicted has loss 0, and gradient 0.
    - `from_logits`: see above.

    Raises, besides what every loss raises: ValueError for labels or probabilities outside [0, 1].

    Ready made: `dice`.

    >>> import fastloss as fl
    >>> fl.Dice(smooth=0).value_and_grad([[1.0, 0.0]], [[0.5, 0.5]])
    (0.5, array([[-0.75,  0.25]]))

    Source: F. Milletari, N. Navab, S.-A. Ahmadi, V-Net (2016), with sums for sums of squares.
    """

    smooth: float = 1.0
    from_logits: bool = False

    alpha = beta = 0.5
    derived = ("alpha", "beta", "added")

    @property
    def added(self) -> float:
        return self.smooth / 2


@dataclass(frozen=True)
class Tversky(_Overlap):
    """`Dice` with weights for both kinds of error, in rows of labels t and predictions p.

        loss       = 1 - (TP + smooth) / T,     T = TP + alpha FP + beta FN + smooth
        gradient_j = (s_j (TP + smooth) - t_j (alpha FP + beta FN)) / T^2
        hessian_j  = -2 (s_j + t_j) gradient_j / T

    with the true positives TP = sum of t_j p_j, the false ones FP = sum of p_j (1 - t_j), the false
    negatives FN = sum of t_j (1 - p_j), and s_j = alpha (1 - t_j) - beta t_j. With
    `from_logits=True`, predictions are logits x, p = sigmoid(x), and the derivatives are by x.

    Arguments, options and errors are those of `Dice`, besides `alpha` and `beta`, numbers from 0 to
    1e30. With 1/2 for both and half the `smooth` it is `Dice`; with 1 for both it is one less the
    Jaccard index.

    Ready made: `tversky`.

    >>> import fastloss as fl
    >>> fl.Tversky(alpha=1, beta=1, smooth=0)([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    0.5

    Source: S. S. M. Salehi, D. Erdogmus, A. Gholipour, Tversky loss function for image segmentation
    (2017).
    """

    alpha: float = 0.5
    beta: float = 0.5
    smooth: float = 1.0
    from_logits: bool = False

    derived = ("added",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("alpha", self.alpha, 0.0, LARGEST_FACTOR)
        check_number("beta", self.beta, 0.0, LARGEST_FACTOR)

    @property
    def added(self) -> float:
        return self.smooth


dice = Dice()
tversky = Tversky()
