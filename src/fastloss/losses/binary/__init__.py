"""Losses of binary labels, and of independent labels between 0 and 1."""

from .cross_entropy import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    BinaryFocal,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    binary_focal,
)
from .margins import Exponential, Hinge, SquaredHinge, exponential, hinge, squared_hinge

# In the order in which the losses are listed.
__all__ = [  # noqa: RUF022
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "BinaryFocal",
    "Hinge",
    "SquaredHinge",
    "Exponential",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal",
    "hinge",
    "squared_hinge",
    "exponential",
]
