"""Cross-entropy of labels and logits."""

from dataclasses import dataclass, field
from typing import Any

from ...bases.options import LARGEST_FACTOR, check_number
from ...bases.softmax import SoftmaxLoss
from ...call.arrays import Array
from ...call.run import evaluate
from ...call.verbs import HVP
from ...kernels.softmax.traits import Variant


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
    - `z_loss` z, from 0 to 1e30: adds z T log(sum of exp(x_j))^2, which keeps the sum near 1. T is
      the sum of the masses t_j, 1 for a class id without weights.
    - `hessian`: "exact"; "ones", which is T for each class of a row; "majorizer",
      2 T p_j (1 - p_j), besides the terms of other options, a diagonal that the whole Hessian of
      the row never exceeds; or as boosting libraries take it: "xgboost", the same number, of
      XGBoost up to 3.4; "xgboost_residual", |T p_j - t_j|, of XGBoost after 3.4; or "lightgbm",
      c / (c - 1) T p_j (1 - p_j).
    - `hessian_floor`: no number of the Hessian of a row that counts is smaller. None: 0, or 1e-16
      for the majorizer and for both words of XGBoost, which has this floor itself.

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

    hessians = ("majorizer", "xgboost", "xgboost_residual", "lightgbm")

    label_smoothing: float = field(default=0.0, kw_only=True)
    z_loss: float = field(default=0.0, kw_only=True)
    hessian_floor: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("label_smoothing", self.label_smoothing, 0.0, 1.0)
        check_number("z_loss", self.z_loss, 0.0, LARGEST_FACTOR)
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
        T (p_j v_j - p_j (sum of p_k v_k)); options enter by the chain rule, but for `hessian`: the
        product is that of the exact one. `vector` has the shape of the logits, (..., c). The result
        has that shape and the floating dtype of the logits, and is written into `out` if given,
        which may be `logits` itself, or of float32 where they are float64. Raises what the loss
        raises, and ValueError for a vector of another shape.

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

    def _smoothed(self, masses: Array, n_rows: float) -> Array:
        n_inside = masses.size if self.class_mask is None else sum(self.class_mask)
        return (1 - self.label_smoothing) * masses + self.label_smoothing * n_rows / n_inside

    @property
    def _floor(self) -> float:
        if self.hessian_floor is not None:
            return self.hessian_floor
        return 1e-16 if self.hessian.startswith("xgboost") else super()._floor

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
        return told

    def _variant(self) -> Variant:
        return (
            super()._variant()._replace(smoothed=self.label_smoothing > 0, z_loss=self.z_loss > 0)
        )


cross_entropy = CrossEntropy()
