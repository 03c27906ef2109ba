"""Margins between the score of the true class and those of the others."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...bases.options import check_number, of_options
from ...bases.rows import IDS, ByClass, OfWholeRow, RowwiseLoss
from ...compiler.bits import disjoint
from ...kernels.row_loss import total
from ...kernels.tiles import fill
from ..hessians import Hessians

_LARGEST = float(np.finfo(np.float64).max)


def _margin_of_class(self: Any, x_j: Any, x_y: Any, share: Any) -> tuple[Any, Any, Any]:
    """What a class that is not the label adds, and its derivatives."""
    # A score of -inf is a class that is ruled out, also where that of the label is -inf.
    z = (x_j - x_y) + self.margin if x_j != -math.inf else x_j
    loss = 0.0 if z <= 0 else z * share  # written so that NaN passes through
    slope = share if z > 0 else 0.0
    if self.p == 1:
        return loss, slope, 0.0
    return z * loss if z > 0 else loss, 2 * loss, 2 * slope


def _margins(self: Any, x: Any, x_y: Any, share: Any, grads: Any, hesses: Any) -> None:
    disjoint()
    for j in range(x.size):
        x[j], grad, hess = _margin_of_class(self, x[j], x_y, share)
        if grads.size > 0:
            grads[j] = grad
        if hesses.size > 0:
            hesses[j] = hess


def _multi_margin(self: Any, label: Any, x: Any, grads: Any, hesses: Any, spare: Any) -> Any:
    x_y = x[label]
    x[label] = -math.inf
    _margins(self, x, x_y, x.dtype.type(1 / self.n_classes), grads, hesses)
    if x_y != x_y:  # NaN has to show, though all other classes may be ruled out
        x[label] = x_y
    if grads.size > 0:
        grads[label] = -total(grads)
    if hesses.size > 0:
        hesses[label] = total(hesses)
    return total(x)


def _majorizer(self: Any, label: Any, x: Any, grads: Any, hesses: Any) -> None:
    # Of z_j = x_j - x_y the square is at most 2 (x_j^2 + x_y^2).
    c = self.n_classes
    fill(hesses, 4 / c)
    hesses[label] = 4 * (c - 1) / c


@dataclass(frozen=True)
class MultiMargin(RowwiseLoss):
    """How far the score of the true class is from being the largest by a margin.

    For a row x of scores over c classes, the class id y and z_j = margin - x_y + x_j,

        loss       = sum over j != y of max(0, z_j)^p / c
        gradient_j = p max(0, z_j)^(p - 1) / c if z_j > 0, else 0,      for j != y
        gradient_y = -(sum of the others)
        hessian_j  = p (p - 1) / c if z_j > 0, else 0;                  hessian_y = their sum
        majorizer_j = 4 / c with p = 2;                                 majorizer_y = 4 (c - 1) / c

    At the kink z_j = 0 all derivatives are 0. The division by c is that of PyTorch; J. Weston and
    C. Watkins have c times as much. The hinge loss of K. Crammer and Y. Singer, as scikit-learn and
    optax have it, is another: the largest max(0, z_j) alone, not divided.

    Arguments of the verbs: `y_true`, class ids of shape (...) and any integer dtype; `y_pred`,
    scores of shape (..., c). A score of -inf is a class that is ruled out.

    Options:

    - `p`: 1 or 2.
    - `margin`: any number.
    - `class_weight`: c numbers; the loss of a row is multiplied by that of its class, and the mean
      is over the weights.
    - `ignore_index`: rows of this class id are left out. None: every id must be a class.

    Raises, besides what every loss raises: ValueError for a class id outside [0, c), for labels of
    the shape of `y_pred`, which this loss does not take, or as many class weights as there are not
    classes.

    Ready made: `multi_margin`.

    >>> import fastloss as fl
    >>> fl.multi_margin.value_and_grad([0, 2], [[2.0, 1.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]])
    (0.25, array([[-0.125,  0.125,  0.   ,  0.   ],
           [ 0.125,  0.125, -0.375,  0.125]]))

    Source: J. Weston and C. Watkins, Support Vector Machines for Multi-Class Pattern Recognition
    (1999).
    """

    class_weight: tuple[float, ...] | None = field(default=None, kw_only=True)
    ignore_index: int | None = field(default=None, kw_only=True)
    p: int = 1
    margin: float = 1.0

    cost = 2
    _limit_at_0 = ("margin",)

    @of_options
    def hessians(self) -> Hessians:
        return {"majorizer": _majorizer} if self.p == 2 else {}

    def __post_init__(self) -> None:
        super().__post_init__()
        by_class = ByClass.checked(self.class_weight, self.ignore_index)
        object.__setattr__(self, "class_weight", by_class.class_weight)
        if self.p not in (1, 2):
            raise ValueError(f"p is {self.p}, but must be 1 or 2")
        check_number("margin", self.margin, -_LARGEST)

    def _describe(self) -> OfWholeRow:
        by_class = ByClass(self.class_weight, self.ignore_index)
        return OfWholeRow(self, _multi_margin, IDS, by_class, padding=(0.0, -math.inf))


multi_margin = MultiMargin()
