"""Bins of probability of rows of two classes: what lies in each, for calibration.

Each bin has places for rows of either label, and several of each, so that a row need not wait for
the one before it. Rows that weigh 1 are added up by one addition of whole numbers, whose upper bits
count them and whose lower bits are the probability in units of 2**-34, and one of what these leave.
The first is exact. The second is so small that its rounding is nothing beside the sum, but in the
first bin, of which it may be all: there it is settled after each chunk.

Many bins have no places, which nobody would meet twice: rows are added to their sums at once.
"""

from typing import Any

import numpy as np

from ..compiler.bits import accumulate, disjoint, float_as_int, select, window
from .binary_terms import CHUNK
from .tally import add

# Of rows whose probability is in the bin: w, w of label 1, w p.
BIN_POWERS = [1, 1, 1]
N_BIN = len(BIN_POWERS)
_COPIES = 8  # of the places of each label
_OF_BIN = 2 * _COPIES
# What is added to a number to have it in the lower bits of a float64, as a whole number of 2**-22.
_TO_22 = 1.5 * 2.0**30
_FRACTION, _WHOLE = 2**22 - 1, 2**29 - 1
# The same of 2**-34; and where rows are counted, if there are so many of them in all at most.
_TO_34 = 1.5 * 2.0**18
_BITS_34 = int(float_as_int(np.float64(_TO_34)))
_UNIT = 2.0**-34
_COUNT = 48
MOST_ROWS = _COPIES << (_COUNT - 34 - 1)
# Places of a million bins took 1.8 GB, and a second for each 50,000 rows.
MOST_WITH_PLACES = 1 << 12


def n_places(n_bins: Any) -> Any:
    """Those of all bins, and of one for rows whose probability is NaN; none of many bins."""
    return _OF_BIN * (n_bins + 1) if n_bins <= MOST_WITH_PLACES else 0


def tally_bins(
    p: Any,
    y: Any,
    w: Any,
    weighted: Any,
    edges: Any,
    is_last: Any,
    counts: Any,
    sums: Any,
    first: Any,
    high: Any,
    low: Any,
) -> None:
    """Add some rows to the places of bins, and after the last of them these to the sums of bins.

    Of the sums those from `first` on are of bins. `counts` has two integers for each row, and one
    for each place; `sums` four numbers for each place. Probabilities are overwritten.
    """
    n, n_bins = p.size, edges.size - 1
    places, wholes = window(counts, 0, n), window(counts, CHUNK, n)
    of_places = window(counts, 2 * CHUNK, n_places(n_bins))
    if find_places(p, y, n_bins, places):
        correct_places(p, edges, places)
    if of_places.size == 0:
        add_to_sums(places, p, y, w, first, high, low)
    elif weighted:
        add_to_bins(places, p, w, sums)
    else:
        split(p, wholes)
        count_in_bins(places, wholes, p, of_places, sums)
        settle_first_bin(first, sums, high, low)
    if is_last and of_places.size > 0:
        fold_bins(n_bins, weighted, of_places, sums, first, high, low)


def find_places(p: Any, y: Any, n_bins: Any, places: Any) -> Any:
    """Write the place of each row.

    Returns whether some are so close to an edge that `correct_places` has to look at it, which is
    rare: 0.4 ns a row, and 4 ns if each row looks.
    """
    disjoint()
    n = np.float64(n_bins)
    least, most = 0.5 / n, 1.0 - 0.5 / n  # 0 and 1 are in the same bins, and close to no other
    near = np.int64(0)
    for i in range(p.size):
        inside = select(p[i] < most, p[i], most)
        inside = select(inside > least, inside, least)
        bits = float_as_int(inside * n + _TO_22)
        near += select((bits & _FRACTION) == 0, np.int64(1), np.int64(0))
        k = ((bits >> 22) & _WHOLE) + select(p[i] == p[i], np.int64(0), np.int64(1))
        of_label = select(y[i] != 0.0, np.int64(_COPIES), np.int64(0))
        places[i] = _OF_BIN * k + of_label + (i & (_COPIES - 1))
    return near > 0


def correct_places(p: Any, edges: Any, places: Any) -> None:
    """As in `tally.bin_of`: a product is rounded, and so may be off by one."""
    n_bins = edges.size - 1
    for i in range(p.size):
        k = places[i] // _OF_BIN
        if k < n_bins - 1 and edges[k + 1] <= p[i]:
            places[i] += _OF_BIN
        elif k < n_bins and edges[k] > p[i]:
            places[i] -= _OF_BIN


def split(p: Any, wholes: Any) -> None:
    """The whole number that a row adds, and in the place of the probability what it leaves."""
    disjoint()
    for i in range(p.size):
        rounded = p[i] + _TO_34
        wholes[i] = float_as_int(rounded) + ((1 << _COUNT) - _BITS_34)
        p[i] = p[i] - (rounded - _TO_34)


def count_in_bins(places: Any, wholes: Any, rests: Any, counts: Any, sums: Any) -> None:
    """Add rows that weigh 1."""
    disjoint()
    for i in range(places.size):
        place = places[i]
        counts[place] += wholes[i]
        sums[place] += rests[i]


def settle_first_bin(place: Any, sums: Any, high: Any, low: Any) -> None:
    """Add what whole numbers leave of the first bin to its sum of probabilities."""
    total = 0.0
    for i in range(_OF_BIN):
        total = accumulate(total, sums[i])
        sums[i] = 0.0
    add(total, 0.0, place + 2, high, low)


def add_to_bins(places: Any, p: Any, w: Any, sums: Any) -> None:
    """Add rows of any weight: sums of weights, and of their products with probabilities."""
    n = sums.size // 4
    weights, weights_low = window(sums, 0, n), window(sums, n, n)
    products, products_low = window(sums, 2 * n, n), window(sums, 3 * n, n)
    for i in range(places.size):
        add(w[i], 0.0, places[i], weights, weights_low)
        add(w[i] * p[i], 0.0, places[i], products, products_low)


def add_to_sums(places: Any, p: Any, y: Any, w: Any, first: Any, high: Any, low: Any) -> None:
    """Add rows to the sums of their bins, from `first` on; one without a probability is in none."""
    for i in range(places.size):
        if p[i] == p[i]:
            place = first + N_BIN * (places[i] // _OF_BIN)
            add(w[i], 0.0, place, high, low)
            add(select(y[i] != 0.0, w[i], 0.0), 0.0, place + 1, high, low)
            add(w[i] * p[i], 0.0, place + 2, high, low)


def fold_bins(
    n_bins: Any, weighted: Any, counts: Any, sums: Any, first: Any, high: Any, low: Any
) -> None:
    """Move what is in the places to the sums of the bins, from `first` on."""
    n = sums.size // 4
    for i in range(_OF_BIN * n_bins):
        place = first + N_BIN * (i // _OF_BIN)
        weight, weight_low, product, product_low = (
            sums[i],
            sums[n + i],
            sums[2 * n + i],
            sums[3 * n + i],
        )
        if not weighted:
            weight, weight_low = np.float64(counts[i] >> _COUNT), 0.0
            product, product_low = _UNIT * (counts[i] & ((1 << _COUNT) - 1)), sums[i]
        add(weight, weight_low, place, high, low)
        if i & _COPIES:
            add(weight, weight_low, place + 1, high, low)
        add(product, product_low, place + 2, high, low)
    for i in range(n):
        counts[i] = 0
    for i in range(sums.size):
        sums[i] = 0.0
