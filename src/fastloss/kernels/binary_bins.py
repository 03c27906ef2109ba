"""Bins of probability of rows of two classes: what lies in each, for calibration."""

from typing import Any

import numpy as np

from ..compiler.bits import disjoint, select
from .tally import add

# Of rows whose probability is in the bin: w, w of label 1, w p.
BIN_POWERS = [1, 1, 1]
N_BIN = len(BIN_POWERS)
_COPIES = 8  # of bins, so that a row need not wait for the one before it
# So far from an edge, in bins, the bin is told by a product; nearer, by the edges.
_ROUNDING = 2.0**-50
_ROUNDER = 1.5 * 2.0**52  # what is added to it is rounded to a whole number


def n_places(n_bins: Any) -> Any:
    """Those of copies of bins, one of which is for rows that are in none."""
    return _COPIES * (n_bins + 1)


def find_bins(p: Any, w: Any, n_bins: Any, bins: Any) -> Any:
    """Write the bin of each row, the one behind the last for those that are in none.

    Returns whether some are so close to an edge that `correct_bins` has to look at it, which is
    rare: 0.4 ns a row, and 4 ns if each row looks.
    """
    disjoint()
    n = np.float64(n_bins)
    near = np.int64(0)
    for i in range(p.size):
        here = (p[i] == p[i]) & (w[i] > 0.0)
        place = select(here, p[i], 0.0) * n
        edge = (place + _ROUNDER) - _ROUNDER
        is_near = (abs(place - edge) <= _ROUNDING * n) & (edge > 0.0) & (edge < n)
        near += select(is_near, np.int64(1), np.int64(0))
        last = select(place < n, np.int32(place), np.int32(n_bins - 1))
        bins[i] = select(here, last, np.int32(n_bins))
    return near > 0


def correct_bins(p: Any, edges: Any, bins: Any) -> None:
    """As in `tally.bin_of`: a product is rounded, and so may be off by one."""
    n_bins = edges.size - 1
    for i in range(p.size):
        k = np.int64(bins[i])
        if k < n_bins - 1 and edges[k + 1] <= p[i]:
            bins[i] = k + 1
        elif k < n_bins and edges[k] > p[i]:
            bins[i] = k - 1


def count_in_bins(
    labels: Any, p: Any, bins: Any, bins_high: Any, bins_low: Any, counts: Any
) -> None:
    """Add rows that weigh 1: to a pair of counts, by label, and to the sum of probabilities."""
    disjoint()
    first = 2 * (bins_high.size // N_BIN)
    for i in range(labels.size):
        place = _COPIES * np.int64(bins[i]) + (i & (_COPIES - 1))
        counts[2 * place + np.int64(labels[i])] += 1
        add(p[i], 0.0, first + place, bins_high, bins_low)


def add_to_bins(p: Any, y: Any, w: Any, bins: Any, bins_high: Any, bins_low: Any) -> None:
    n = bins_high.size // N_BIN
    for i in range(p.size):
        place = _COPIES * np.int64(bins[i]) + (i & (_COPIES - 1))
        if place < n - _COPIES:
            add(w[i], 0.0, place, bins_high, bins_low)
            add(w[i] * y[i], 0.0, n + place, bins_high, bins_low)
            add(w[i] * p[i], 0.0, 2 * n + place, bins_high, bins_low)


def fold_bins(
    n_bins: Any,
    bins_high: Any,
    bins_low: Any,
    counts: Any,
    first: Any,
    high: Any,
    low: Any,
) -> None:
    """Add the copies of the bins, and what was counted of them, to the sums from `first` on."""
    n = bins_high.size // N_BIN
    for i in range(_COPIES * n_bins):
        place = first + N_BIN * (i // _COPIES)
        for j in range(N_BIN):
            add(bins_high[j * n + i], bins_low[j * n + i], place + j, high, low)
        negatives, positives = counts[2 * i], counts[2 * i + 1]
        high[place] += negatives + positives
        high[place + 1] += positives
