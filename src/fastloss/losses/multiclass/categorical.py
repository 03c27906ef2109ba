"""Cross-entropy of labels and probabilities."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...bases.constant import kept, shares
from ...bases.options import check_number
from ...bases.rows import OfEachClass, RowwiseLoss
from ...call.arrays import Array, as_array
from ...kernels.scalar import log
from ..hessians import Hessians, exact


@dataclass(frozen=True)
class CategoricalCrossEntropy(RowwiseLoss):
    """Cross-entropy of class labels and probabilities.

    For a row p of probabilities and labels t (one-hot, soft, or a class id that stands for one-hot)

        loss       = -(sum of t_j log(p_j))
        gradient_j = -t_j / p_j
        hessian_j  = t_j / p_j^2, and so is the majorizer; ones are 1 where t_j is not 0

    Arguments of the verbs: `y_true`, labels in [0, 1] of shape (..., c), or class ids of shape
    (...) and any integer dtype; `y_pred`, probabilities in [0, 1] of shape (..., c), which are
    taken as they are: rows need not add up to 1.

    `log_floor` is the least value that a logarithm takes; where it acts, the loss is constant and
    its derivatives are 0. `log_floor=-math.inf` gives the bare formula. If you have logits, use
    `CrossEntropy`, which is exact where probabilities have been rounded to 0 or 1.

    Raises, besides what every loss raises: ValueError for labels or probabilities outside [0, 1]
    and for a class id outside [0, c); TypeError for class ids that are floats.

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
    cost = 5
    hessians: ClassVar[Hessians] = {"majorizer": exact}

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

    def constant(
        self, y_true: Any, /, *, sample_weight: Any = None, n_classes: int | None = None
    ) -> Array:
        """The best constant probabilities that add up to 1: the share of each class, shape (c,).

        Arguments are those of `CrossEntropy().constant`, but for pairs. A class without a label has
        the probability 0; so has a class of so few labels that the floor is what they cost least.

        >>> import fastloss as fl
        >>> fl.categorical_cross_entropy.constant([0, 0, 0, 1])
        array([0.75, 0.25])
        """
        family = self._family
        assert isinstance(family, OfEachClass)
        labels = as_array(y_true, self.names[0])
        masses, _ = family.masses(labels, sample_weight, n_classes)
        found = shares(masses)
        return shares(np.where(kept(found, self.log_floor), masses, 0.0))


categorical_cross_entropy = CategoricalCrossEntropy()
