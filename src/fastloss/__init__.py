"""Losses and their gradients over NumPy arrays: fused, exact, multi-threaded."""

from ._threads import get_backend, get_num_threads, set_backend, set_num_threads
from .binary import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from .loss import ElementwiseLoss, Loss, RowwiseLoss
from .multiclass import (
    CategoricalCrossEntropy,
    CrossEntropy,
    categorical_cross_entropy,
    cross_entropy,
)
from .regression import AbsoluteError, SquaredError, mae, mse, sse, sum_squared_error

__version__ = "0.1.0"

__all__ = [
    "AbsoluteError",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "CategoricalCrossEntropy",
    "CrossEntropy",
    "ElementwiseLoss",
    "Loss",
    "RowwiseLoss",
    "SquaredError",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "cross_entropy",
    "get_backend",
    "get_num_threads",
    "mae",
    "mse",
    "set_backend",
    "set_num_threads",
    "sse",
    "sum_squared_error",
]
