"""Losses of one class among several."""

from .categorical import CategoricalCrossEntropy, categorical_cross_entropy
from .linked import (
    Focal,
    GeneralizedCrossEntropy,
    PolyCrossEntropy,
    focal,
    generalized_cross_entropy,
    poly_cross_entropy,
)
from .logits import CrossEntropy, cross_entropy
from .margin import MultiMargin, multi_margin

# In the order in which the losses are listed.
__all__ = [  # noqa: RUF022
    "CrossEntropy",
    "cross_entropy",
    "Focal",
    "focal",
    "GeneralizedCrossEntropy",
    "generalized_cross_entropy",
    "PolyCrossEntropy",
    "poly_cross_entropy",
    "CategoricalCrossEntropy",
    "categorical_cross_entropy",
    "MultiMargin",
    "multi_margin",
]
