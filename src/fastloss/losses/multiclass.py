"""Losses of one class among several."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..bases.options import as_weights, check_number, near_one
from ..bases.rows import IDS, ByClass, OfEachClass, OfWholeRow, RowwiseLoss
from ..bases.softmax import SoftmaxLoss
from ..call.arrays import Array
from ..call.run import evaluate
from ..call.verbs import HVP
from ..compiler.bits import disjoint
from ..kernels.rows import total
from ..kernels.scalar import exp, exp_of_minus, log
from ..kernels.softmax import Variant

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class CrossEntropy(SoftmaxLoss):
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

    Arguments of the verbs: `labels`, class ids of shape (...) and any integer dtype; or soft labels
    of shape (..., c); or, where few classes of many have a probability, the pair of arrays
    `(ids, probabilities)`, both of shape (..., k). `logits` of shape (..., c). A logit of -inf is a
    class that is ruled out. `class_mask`, booleans of the shape of the logits: a class that is not
    True is out in this row, as if it had been deleted.

    Options, in any combination:

    - `class_weight`: c numbers w; the loss of a row is multiplied by that of its class, and the
      mean is over these weights. With soft labels t_j becomes w_j t_j, and the weight of a row in
      the mean is the sum of w_j t_j; a row that weighs 0 is left out.
    - `label_smoothing` e: labels become (1 - e) t_j + e / c, c being the classes that are in.
      Beside `class_weight` each class has its own weight in that: w_j ((1 - e) t_j + e / c), while
      rows weigh in the mean what they weigh without smoothing, as with PyTorch.
    - `ignore_index`: rows of this class id are left out. None: every id must be a class.
    - `class_mask`: c booleans; a class that is not True is out for all rows. Class ids must not
      name a class that is out, and what soft labels give it does not count: a row whose labels are
      all on such classes has the loss 0. Where all classes of a row are out there are no
      probabilities, and its loss and derivatives are NaN, or with class weights left out.
    - `softcap` s: logits x become s tanh(x / s) before anything else (-inf becomes -s).
    - `temperature`: logits are divided by it.
    - `z_loss` z: adds z T log(sum of exp(x_j))^2, which keeps the sum near 1. T is the sum of the
      masses t_j, 1 for a class id without weights.
    - `hessian`: "exact"; or as boosting libraries take it: "xgboost", 2 T p_j (1 - p_j), of XGBoost
      up to 3.4; "xgboost_residual", |T p_j - t_j|, of XGBoost after 3.4; or "lightgbm",
      c / (c - 1) T p_j (1 - p_j).
    - `hessian_floor`: no number of the Hessian of a row that counts is smaller. None: 0, or for
      both of XGBoost its 1e-16.

    Raises, besides what every loss raises: ValueError for a class id outside [0, c) or of a class
    that is out, soft labels outside [0, 1], or as many class weights as there are not classes;
    TypeError for class ids that are floats.

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
    functions (2021); the z-loss: A. Chowdhery et al., PaLM (2022); the cap: Gemma 2 (2024).
    """

    label_smoothing: float = field(default=0.0, kw_only=True)
    z_loss: float = field(default=0.0, kw_only=True)
    hessian: Literal["exact", "xgboost", "xgboost_residual", "lightgbm"] = field(
        default="exact", kw_only=True
    )
    hessian_floor: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("label_smoothing", self.label_smoothing, 0.0, 1.0)
        check_number("z_loss", self.z_loss, 0.0)
        if self.hessian not in ("exact", "xgboost", "xgboost_residual", "lightgbm"):
            raise ValueError(
                f'hessian is {self.hessian!r}, but must be one of "exact", "xgboost", '
                '"xgboost_residual", "lightgbm"'
            )
        if self.hessian_floor is not None:
            check_number("hessian_floor", self.hessian_floor, 0.0)

    def hvp(
        self,
        labels: Any,
        logits: Any,
        vector: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: Array | None = None,
    ) -> Array:
        """The product of the whole Hessian and a vector, row by row, without forming the Hessian.

        For a row, with p the softmax, the Hessian is T (diag(p) - p p') and the product
        T (p_j v_j - p_j (sum of p_k v_k)); options enter by the chain rule. `vector` has the shape
        of the logits; so has the result, and their floating dtype. It is written into `out` if
        given, which may be `logits` itself.

        >>> import fastloss as fl
        >>> fl.cross_entropy.hvp([0], [[0.0, 0.0]], [[1.0, 0.0]])
        array([[ 0.25, -0.25]])
        """
        return evaluate(  # type: ignore[no-any-return]
            self._family,
            HVP,
            labels,
            logits,
            sample_weight,
            normalizer,
            class_mask=class_mask,
            vector=vector,
            grad_out=out,
        )[1]

    @property
    def _floor(self) -> float:
        if self.hessian_floor is None:
            return 1e-16 if self.hessian.startswith("xgboost") else 0.0
        return self.hessian_floor

    def _told(self, width: int) -> dict[str, Any]:
        told = super()._told(width)
        if self.label_smoothing > 0:
            n_inside = sum(self.class_mask) if self.class_mask else width
            told["smoothing"] = float(self.label_smoothing)
            told["share"] = self.label_smoothing / n_inside
        if self.z_loss > 0:
            told["z_loss"] = float(self.z_loss)
        if self.hessian in ("xgboost", "lightgbm"):
            told["hessian_scale"] = 2.0 if self.hessian == "xgboost" else width / max(width - 1, 1)
        if self._floor > 0:
            told["hessian_floor"] = self._floor
        return told

    def _variant(self) -> Variant:
        return (
            super()
            ._variant()
            ._replace(
                smoothed=self.label_smoothing > 0,
                z_loss=self.z_loss > 0,
                hessian_scaled=self.hessian in ("xgboost", "lightgbm"),
                hessian_of_residual=self.hessian == "xgboost_residual",
                hessian_floored=self._floor > 0,
            )
        )

    @property
    def _has_hessian(self) -> bool:
        return self.hessian == "exact" and self._floor == 0


@dataclass(frozen=True)
class Focal(SoftmaxLoss):
    """Cross-entropy of a class id y and the softmax p of logits that looks away from what is easy.

        loss       = alpha_y (1 - p_y)^gamma (-log(p_y))
        gradient_j = alpha_y f'(l) (p_j - [j = y])
        hessian_j  = alpha_y (f''(l) (p_j - [j = y])^2 + f'(l) p_j (1 - p_j))

    with l = -log(p_y) and f(l) = (1 - exp(-l))^gamma l. `alpha` is a number, or c numbers, one for
    each class; it is a factor of the loss, while a `class_weight` counts in the mean, too. With
    `gamma=0` and no `alpha` it is `CrossEntropy`.

    The verbs take `labels`, class ids of shape (...), and `logits` of shape (..., c); the other
    options are those of `CrossEntropy`.

    Ready made: `focal`, with gamma = 2.

    >>> import fastloss as fl
    >>> loss, grad = fl.focal.value_and_grad([0], [[2.0, 0.0]])
    >>> round(loss, 12), grad.round(6)
    (0.001803562835, array([[-0.004871,  0.004871]]))

    Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).
    """

    gamma: float = 2.0
    alpha: float | tuple[float, ...] | None = None

    link_options = ("gamma",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("gamma", self.gamma, 0.0)
        if isinstance(self.alpha, int | float):
            check_number("alpha", self.alpha, 0.0)
            object.__setattr__(self, "alpha", float(self.alpha))
        elif self.alpha is not None:
            alpha = tuple(as_weights("alpha", self.alpha).tolist())
            object.__setattr__(self, "alpha", alpha)

    def link(self, loss: Any) -> tuple[Any, Any, Any]:
        power, rest = exp_of_minus(loss)
        p = power + rest
        q = (1 - power) - rest
        certain = q == 0
        # q^gamma, and -p log(p) / q, which tends to 1 as q goes to 0 and to 0 as p does.
        easy = exp(self.gamma * log(q)) if self.gamma != 0 else 1
        ratio = 1 if certain else (p * loss / q if p != 0 else 0)
        turn = 2 - loss + (self.gamma - 1) * ratio
        bend = self.gamma * easy * (p / (1 if certain else q)) * turn
        value = easy * loss
        # Where q is 0 so is all that the curvature is multiplied by; and p infinity takes nothing.
        return value, easy * (1 + self.gamma * ratio), 0 if certain or p == 0 else bend

    @cached_property
    def _alpha(self) -> Array:
        return as_weights("alpha", self.alpha)

    def _factors(self, width: int) -> tuple[Array, int] | None:
        if self.alpha is None:
            return None
        alpha = np.full(width, self.alpha) if isinstance(self.alpha, float) else self._alpha
        factors, exponent = near_one(alpha)
        if self.class_weight is None or width == 1:
            return factors, exponent
        weight, of_weights = self._softmax.class_weight
        product, more = near_one(factors * weight)
        return product, exponent + of_weights + more

    def _of_each_class(self) -> dict[str, tuple[Any, ...]]:
        return {"alpha": self.alpha} if isinstance(self.alpha, tuple) else {}


@dataclass(frozen=True)
class GeneralizedCrossEntropy(SoftmaxLoss):
    """Between cross-entropy and absolute error of a class id y, for labels that may be wrong.

        loss       = (1 - p_y^q) / q
        gradient_j = p_y^q (p_j - [j = y])
        hessian_j  = p_y^q (p_j (1 - p_j) - q (p_j - [j = y])^2)

    with p the softmax of the logits. As q goes to 0 it becomes `CrossEntropy`; with `q=1` it is
    1 - p_y, half the absolute error of the probabilities.

    The verbs take `labels`, class ids of shape (...), and `logits` of shape (..., c); the other
    options are those of `CrossEntropy`.

    Ready made: `generalized_cross_entropy`, with q = 0.7.

    >>> import fastloss as fl
    >>> round(fl.generalized_cross_entropy([0], [[2.0, 0.0]]), 12)
    0.121452614824

    Source: Z. Zhang and M. R. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels (2018).
    """

    q: float = 0.7

    link_options = ("q",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("q", self.q, 0.0, 1.0)
        if self.q == 0:
            raise ValueError("q is 0, with which the loss is CrossEntropy: take that")

    def link(self, loss: Any) -> tuple[Any, Any, Any]:
        power, rest = exp_of_minus(self.q * loss)
        slope = power + rest
        return ((1 - power) - rest) / self.q, slope, -self.q * slope


@dataclass(frozen=True)
class PolyCrossEntropy(SoftmaxLoss):
    """Cross-entropy of a class id y whose first term in 1 - p_y is weighed by 1 + `epsilon`.

        loss       = -log(p_y) + epsilon (1 - p_y)
        gradient_j = (1 + epsilon p_y) (p_j - [j = y])
        hessian_j  = (1 + epsilon p_y) p_j (1 - p_j) - epsilon p_y (p_j - [j = y])^2

    with p the softmax of the logits; `epsilon` is -1 or more. With `epsilon=0` it is
    `CrossEntropy`.

    The verbs take `labels`, class ids of shape (...), and `logits` of shape (..., c); the other
    options are those of `CrossEntropy`.

    Ready made: `poly_cross_entropy`, with epsilon = 1.

    >>> import fastloss as fl
    >>> round(fl.poly_cross_entropy([0], [[2.0, 0.0]]), 12)
    0.246130933065

    Source: Z. Leng et al., PolyLoss (2022), Poly-1.
    """

    epsilon: float = 1.0

    link_options = ("epsilon",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("epsilon", self.epsilon, -1.0)

    def link(self, loss: Any) -> tuple[Any, Any, Any]:
        power, rest = exp_of_minus(loss)
        bend = self.epsilon * (power + rest)
        return loss + self.epsilon * ((1 - power) - rest), 1 + bend, -bend


@dataclass(frozen=True)
class CategoricalCrossEntropy(RowwiseLoss):
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

    _limit_at_0 = ("log_floor",)
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

    def _describe(self) -> OfEachClass:
        return OfEachClass(self)


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
class MultiMargin(RowwiseLoss):
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

    class_weight: tuple[float, ...] | None = field(default=None, kw_only=True)
    ignore_index: int | None = field(default=None, kw_only=True)
    p: int = 1
    margin: float = 1.0

    cost = 3
    _limit_at_0 = ("margin",)

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


cross_entropy = CrossEntropy()
focal = Focal()
generalized_cross_entropy = GeneralizedCrossEntropy()
poly_cross_entropy = PolyCrossEntropy()
categorical_cross_entropy = CategoricalCrossEntropy()
multi_margin = MultiMargin()
