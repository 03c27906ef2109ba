"""Losses of one class among several."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ._arrays import Array
from ._evaluate import Batch
from ._options import as_weights, check_integer, check_number
from .kernels import lanes, rowwise, softmax
from .kernels.bits import disjoint
from .kernels.form import Extras, Form
from .kernels.rows import total
from .kernels.scalar import log
from .kernels.survey import Limits
from .loss import RowLoss, RowwiseLoss, ScalarLoss

_NO_WEIGHTS = as_weights("class_weight", ())
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class CrossEntropy(RowwiseLoss):
    """Cross-entropy of class labels and the softmax of logits, from the logits themselves.

    For a row x of logits and a class id y,

        loss       = log(sum of exp(x_j)) - x_y
        gradient_j = p_j - [j = y],        p_j = exp(x_j) / (sum of exp(x_k))
        hessian_j  = p_j (1 - p_j)

    and for soft labels t, one number in [0, 1] for each class, with T = sum of t_j,

        loss       = sum of t_j (log(sum of exp(x_k)) - x_j)
        gradient_j = T p_j - t_j
        hessian_j  = T p_j (1 - p_j)

    The logarithm is never subtracted from: a confident row has a loss and a gradient that are
    exact to the last digits, down to 1e-38 in float32.

    Arguments of the verbs: `labels`, class ids of shape (...) and any integer dtype, or soft labels
    of shape (..., c); `logits` of shape (..., c). A logit of -inf is a class that is ruled out.

    Options:

    - `class_weight`: c numbers; the loss of a row is multiplied by that of its class, and the mean
      is over the weights. With soft labels t_j becomes class_weight_j t_j.
    - `label_smoothing` e: labels become (1 - e) t_j + e / c.
    - `ignore_index`: rows of this class id are left out. None: every id must be a class.

    Raises, besides what every loss raises: ValueError for a class id outside [0, c), soft labels
    outside [0, 1], or as many class weights as there are not classes; TypeError for class ids that
    are floats.

    Ready made: `cross_entropy`.

    >>> import numpy as np
    >>> import fastloss as fl
    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 20.0]])
    >>> round(fl.cross_entropy([0, 2], logits), 12)
    0.119772385172
    >>> fl.CrossEntropy(reduction="none")([0, 2], logits)
    array([2.39544766e-01, 4.12230724e-09])

    Source: Bishop, Pattern Recognition and Machine Learning (2006), equation 4.108; the stable
    form: P. Blanchard, D. J. Higham, N. J. Higham, Accurately computing the log-sum-exp and softmax
    functions (2021).
    """

    class_weight: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    ignore_index: int | None = None

    names = ("labels", "logits")
    cost = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("label_smoothing", self.label_smoothing, 0.0, 1.0)
        if self.ignore_index is not None:
            check_integer("ignore_index", self.ignore_index)
        if self.class_weight is not None:
            # A tuple, so that the loss stays hashable and nobody changes its weights.
            weights = tuple(as_weights("class_weight", self.class_weight).tolist())
            object.__setattr__(self, "class_weight", weights)

    @property
    def _ignore_index(self) -> int | None:  # type: ignore[override]
        return self.ignore_index

    @cached_property
    def _class_weight(self) -> Any:
        if self.class_weight is None:
            return _NO_WEIGHTS
        return as_weights("class_weight", self.class_weight)

    def _structure(self) -> Any:
        return CrossEntropy, self.class_weight is not None, self.label_smoothing > 0

    def _limits(self, form: Form) -> Limits:
        ignoring = form.class_ids and self.ignore_index is not None
        return Limits(self.y_true_range, self.y_pred_range, ignoring, self.class_weight is not None)

    def _rows(self, width: int) -> str:
        return "few" if width <= lanes.FEW else "kept" if width <= softmax.KEPT else "long"

    def _kernel(self, form: Form) -> Callable[..., Any]:
        _, class_weighted, smoothed = self._structure()
        ignoring = self._limits(form).ignoring
        if form.rows == "few":
            return lanes.few_classes(form, class_weighted, smoothed, ignoring)
        keeping = form.rows == "kept"
        return softmax.many_classes(form, class_weighted, smoothed, ignoring, keeping)

    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        weights = self._class_weight
        if self.class_weight is not None and weights.size != width:
            raise ValueError(
                f"class_weight has {weights.size} numbers, but logits have {width} classes on "
                "their last axis: give one weight for each class"
            )
        smoothing = float(self.label_smoothing)
        return self.ignore_index or 0, weights, smoothing, smoothing / width


@dataclass(frozen=True)
class CategoricalCrossEntropy(RowwiseLoss, ScalarLoss):
    """Cross-entropy of class labels and probabilities.

    For a row p of probabilities and labels t (one-hot, soft, or a class id that stands for one-hot)

        loss       = -(sum of t_j log(p_j))
        gradient_j = -t_j / p_j
        hessian_j  = t_j / p_j^2

    Arguments of the verbs: `y_true`, labels in [0, 1] of shape (..., c), or class ids of shape
    (...) and any integer dtype; `y_pred`, probabilities in [0, 1] of shape (..., c), which are
    taken as they are: rows need not add up to 1.

    `log_floor` is the least value that a logarithm takes; where it acts, the loss is constant and
    its derivatives are 0. `log_floor=-math.inf` gives the bare formula. If you have logits, use
    `CrossEntropy`, which is exact where probabilities have been rounded to 0 or 1.

    Ready made: `categorical_cross_entropy`.

    >>> import fastloss as fl
    >>> p = [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]
    >>> fl.CategoricalCrossEntropy(reduction="sum")([[1, 0, 0], [0, 1, 0], [0, 0, 1]], p)
    0.8393296907380268
    >>> fl.CategoricalCrossEntropy(reduction="sum")([0, 1, 2], p)
    0.8393296907380268

    Source: as for `CrossEntropy`; the floor is that of PyTorch's binary cross-entropy.
    """

    log_floor: float = -100.0

    y_pred_range = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("log_floor", self.log_floor, -math.inf, 0.0)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        log_p = log(y_pred)
        floored = log_p < self.log_floor
        if y_true == 0:
            return 0, 0, 0
        if floored:
            return -y_true * self.log_floor, 0, 0
        ratio = y_true / y_pred
        return -y_true * log_p, -ratio, ratio / y_pred

    def _kernel(self, form: Form) -> Callable[..., Any]:
        return rowwise.pointwise(type(self).scalar, *self._parameter_type_in(form), form)

    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        return 0, _NO_WEIGHTS, *self._parameters_in(form)


# ---------------------------------------------------------------------------------------------
# Multi-class margin


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
    if x_y != x_y:  # and all other classes may be ruled out
        x[label] = x_y
    if grads.size > 0:
        grads[label] = -total(grads)
    if hesses.size > 0:
        hesses[label] = total(hesses)
    return total(x)


@dataclass(frozen=True)
class MultiMargin(RowLoss):
    """How far the score of the true class is from being the largest by a margin.

    For a row x of scores over c classes, the class id y and z_j = margin - x_y + x_j,

        loss       = sum over j != y of max(0, z_j)^p / c
        gradient_j = p max(0, z_j)^(p - 1) / c if z_j > 0, else 0,      for j != y
        gradient_y = -(sum of the others)
        hessian_j  = p (p - 1) / c if z_j > 0, else 0;                  hessian_y = their sum

    At the kink z_j = 0 all derivatives are 0.

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

    Source: K. Crammer and Y. Singer, On the Algorithmic Implementation of Multiclass Kernel-based
    Vector Machines (2001); the sum over the classes: J. Weston and C. Watkins, Support Vector
    Machines for Multi-Class Pattern Recognition (1999).
    """

    p: int = 1
    margin: float = 1.0
    class_weight: tuple[float, ...] | None = None
    ignore_index: int | None = None

    padding = (0.0, -math.inf)
    cost = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("p", self.p)
        if self.p not in (1, 2):
            raise ValueError(f"p is {self.p}, but must be 1 or 2")
        check_number("margin", self.margin, -_LARGEST)
        if self.ignore_index is not None:
            check_integer("ignore_index", self.ignore_index)
        if self.class_weight is not None:
            weights = tuple(as_weights("class_weight", self.class_weight).tolist())
            object.__setattr__(self, "class_weight", weights)

    @property
    def _formula(self) -> Callable[..., Any]:
        return _multi_margin

    @property
    def _ignore_index(self) -> int | None:  # type: ignore[override]
        return self.ignore_index

    @cached_property
    def _class_weight(self) -> Any:
        if self.class_weight is None:
            return _NO_WEIGHTS
        return as_weights("class_weight", self.class_weight)

    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        batch = RowwiseLoss._batch(self, y_true, y_pred, weight, extras)
        if not batch.class_ids:
            raise ValueError(
                f"y_true has shape {y_true.shape}, that of y_pred, but this loss takes class ids "
                f"of shape {y_pred.shape[:-1]}: write y_true.argmax(axis=-1) if labels are one-hot"
            )
        return batch

    def _examples(self, rng: np.random.Generator) -> tuple[Array, Array]:
        return RowwiseLoss._examples(self, rng)

    def _limits(self, form: Form) -> Limits:
        ignoring, weighted = self.ignore_index is not None, self.class_weight is not None
        return Limits(self.y_true_range, self.y_pred_range, ignoring, weighted)

    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        weights = self._class_weight
        if self.class_weight is not None and weights.size != width:
            raise ValueError(
                f"class_weight has {weights.size} numbers, but y_pred has {width} classes on its "
                "last axis: give one weight for each class"
            )
        return self.ignore_index or 0, weights, *self._parameters_in(form)


cross_entropy = CrossEntropy()
categorical_cross_entropy = CategoricalCrossEntropy()
multi_margin = MultiMargin()
