"""Sums by class and bin of its probability, for the classwise calibration error."""

from collections.abc import Callable
from functools import cache

import numpy as np

from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels.tally import WEIGHT_POWERS
from ...kernels.tally_classes import tally_classes
from .table import HISTOGRAM, NO_KEYS, NO_ROOM, Table

NO_CLASSES = Table.empty(HISTOGRAM)


def with_rows(
    table: Table, probabilities: Array, labels: Array, weights: Array, n_bins: int
) -> Table:
    """A table of sums of w (p - y) with rows of probabilities, of shape (rows, classes)."""
    room = table.room(probabilities.shape[1] * n_bins, probabilities.size)
    numbers = np.ascontiguousarray(probabilities, np.float64).reshape(-1)
    _tally_classes()(numbers, labels, weights, n_bins, WEIGHT_POWERS, room)
    return table.filled(room)


def classwise_error(table: Table, n_classes: int, weight: float, scale: float) -> float:
    """The mean over classes of the sum over bins of |sum of w (p - y)| / W.

    The sum W of the weights is times a scale.
    """
    if not weight > 0:
        return float("nan")
    return float(np.abs(table.weights(scale)).sum()) / weight / n_classes


@cache
def _tally_classes() -> Callable[..., None]:
    numbers = np.empty(0)
    arguments = numbers, NO_KEYS, numbers, 1, WEIGHT_POWERS, NO_ROOM
    return compiler().load_or_compile(tally_classes, arguments)  # type: ignore[no-any-return]
