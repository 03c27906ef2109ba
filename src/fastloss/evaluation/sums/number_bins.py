"""Where numbers lie: weights of rows by bins that are the same for all data, so that they merge.

A bin has the sign, the exponent and the first bits of the mantissa of a float32.
"""

import numpy as np

from ...call.arrays import Array
from ...kernels.tally import scale_of
from .table import HISTOGRAM, Table

# Bits of a float32 that do not matter: of errors an octave has 8 bins, of pairs 4.
_ERROR_BITS, _PAIR_BITS = 20, 21
# The bins of predictions and labels lie between -HALF and HALF.
_HALF = 1 << 11


def empty_bins() -> Table:
    return Table.empty(HISTOGRAM)


def weights_by_bin(labels: Array, predictions: Array, weight: Array | None) -> tuple[Table, Table]:
    """The weights of rows by their error, and by both numbers; rows of NaN are left out."""
    with np.errstate(invalid="ignore"):
        errors = predictions - labels
    known = ~np.isnan(errors)
    if not known.all():
        labels, predictions, errors = labels[known], predictions[known], errors[known]
        weight = None if weight is None else weight[known]
    p, y = (_bins_of(each, _PAIR_BITS) + _HALF for each in (predictions, labels))
    return _by_key(_bins_of(errors, _ERROR_BITS), weight), _by_key(p * (2 * _HALF) + y, weight)


def error_edges(table: Table) -> Array:
    """The edges of the bins of errors, of shape (bins, 2)."""
    return _edges_of(table.ids, _ERROR_BITS)


def pair_edges(table: Table) -> tuple[Array, Array]:
    """Those of predictions, and those of labels."""
    both = np.divmod(table.ids, 2 * _HALF)
    predictions, labels = (_edges_of(each - _HALF, _PAIR_BITS) for each in both)
    return predictions, labels


def _bins_of(numbers: Array, bits: int) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        single = numbers.astype(np.float32)
    size = (np.abs(single).view(np.int32) >> bits).astype(np.int64)
    bins: Array = np.where(single < 0, -1 - size, size)
    return bins


def _edges_of(bins: Array, bits: int) -> Array:
    size = np.where(bins < 0, -1 - bins, bins)
    low, high = (((size + k) << bits).astype(np.int32).view(np.float32) for k in (0, 1))
    # Beyond the bin of infinity there is no number.
    low, high = low.astype(np.float64), np.where(np.isnan(high), np.inf, high).astype(np.float64)
    negative = bins < 0
    return np.stack([np.where(negative, -high, low), np.where(negative, -low, high)], axis=1)


def _by_key(keys: Array, weight: Array | None) -> Table:
    if not len(keys):
        return empty_bins()
    ids, places = np.unique(keys, return_inverse=True)
    scale = 1.0 if weight is None else float(scale_of(weight.max()))
    sums = np.bincount(places, None if weight is None else weight * scale)
    high = np.stack([sums.astype(np.float64), np.full(len(ids), scale)], axis=1)
    return Table(HISTOGRAM, ids, high, np.zeros_like(high))


def rounded_down(sizes: Array) -> Array:
    """The largest float32 that are not above these numbers."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = sizes.astype(np.float32)
        down = np.nextafter(rounded, np.float32(0.0))
    return np.where(rounded > sizes, down, rounded)
