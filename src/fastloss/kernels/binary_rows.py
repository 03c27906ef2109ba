"""Sums over rows of binary labels and scores, by segments of rows: moments, confusion, bins.

As in `tally.py` each sum is two float64, only ratios of weights count, and squares are those of the
distance from a number close to the mean. A sum is added up in lanes, every 32nd row, so that SIMD
does what keeps the digits that rounding takes, and the lanes in the end.
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import disjoint, prefetch, select, smaller, window, windows
from ..compiler.flags import unfused
from .binary_bins import BIN_POWERS, n_places, tally_bins
from .binary_losses import LOGITS, score_logits, score_probabilities
from .binary_terms import (
    AT_FIRST,
    AT_SECOND,
    AT_THRESHOLD,
    AT_WEIGHT,
    CENTERS,
    CHUNK,
    COUNTS,
    FIRSTS,
    LANES,
    N_TERMS,
    N_THRESHOLD,
    SECONDS,
    SUMS,
    TERM_POWERS,
    THRESHOLD_POWERS,
    WEIGHTS,
    add_moments,
    count_predicted,
    count_rows,
    count_weights,
    mean_of,
    term_moments,
    term_weights,
)
from .tally import add, lost, scale_of

# How many rows ahead of a chunk memory is asked for.
AHEAD = 4 * CHUNK


class Rows(NamedTuple):
    """Binary labels and their scores; of all but the labels there may be none."""

    labels: Any
    singles: Any
    doubles: Any
    weights: Any


def some_rows(rows: Any, first: Any, n: Any) -> Any:
    """`n` of the rows, from the first on."""
    return Rows(
        window(rows.labels, first, n),
        part_if_any(rows.singles, first, n),
        part_if_any(rows.doubles, first, n),
        part_if_any(rows.weights, first, n),
    )


def part_if_any(array: Any, first: Any, n: Any) -> Any:
    """Some numbers of an array, or none if it has none."""
    return window(array, first if array.size else 0, n if array.size else 0)


def powers_of(n_thresholds: int, n_bins: int) -> Any:
    """Which power of the weight each column has."""
    more = np.tile(THRESHOLD_POWERS, n_thresholds), np.tile(BIN_POWERS, n_bins)
    return np.concatenate([TERM_POWERS, *more, [0]]).astype(np.int64)


def n_scratch(n_thresholds: int, n_bins: int) -> Any:
    """How many numbers of memory `tally_binary` needs."""
    n_terms = AT_THRESHOLD + N_THRESHOLD * n_thresholds
    return (6 + n_terms) * CHUNK + 2 * n_terms * LANES + 4 * n_places(n_bins)


def n_counts(n_bins: int) -> Any:
    """How many integers of memory it needs."""
    return 2 * CHUNK + n_places(n_bins)


def tally_binary(
    labels: Any,
    singles: Any,
    doubles: Any,
    weights: Any,
    starts: Any,
    what: Any,
    thresholds: Any,
    edges: Any,
    scratch: Any,
    counts: Any,
    high: Any,
    low: Any,
) -> None:
    """Write the sums of each segment of rows, between two `starts`, into a row of `high` and `low`.

    `labels` are 0 and 1, scores `singles` or `doubles`, one of which there are none of, LOGITS or
    PROBABILITIES, as `what` says, `weights` none or one for each row. `edges` are those of bins of
    probability, or none; with places of bins a segment has MOST_ROWS rows at most.
    """
    n_segments = starts.size - 1
    width = high.size // n_segments
    n_terms = AT_THRESHOLD + N_THRESHOLD * thresholds.size if weights.size else 0
    n_bins = edges.size - 1 if edges.size else 0
    given = Rows(labels, singles, doubles, weights)
    decoded = window(scratch, 0, 6 * CHUNK)
    place = 6 * CHUNK
    terms = window(scratch, place, n_terms * CHUNK)
    place += n_terms * CHUNK
    lanes_high = window(scratch, place, n_terms * LANES)
    place += n_terms * LANES
    lanes_low = window(scratch, place, n_terms * LANES)
    place += n_terms * LANES
    bins = window(scratch, place, 4 * n_places(n_bins))
    for i in range(bins.size):
        bins[i] = 0.0
    for i in range(counts.size):
        counts[i] = 0
    for s in range(n_segments):
        first, n = starts[s], starts[s + 1] - starts[s]
        for array in (lanes_high, lanes_low):
            for i in range(array.size):
                array[i] = 0.0
        here_high, here_low = window(high, s * width, width), window(low, s * width, width)
        for i in range(width):
            here_high[i] = here_low[i] = 0.0
        tally_segment(
            some_rows(given, first, n),
            what,
            thresholds,
            edges,
            decoded,
            terms,
            lanes_high,
            lanes_low,
            bins,
            counts,
            here_high,
            here_low,
        )
    # What windows are of stays until here.
    if scratch.size == 0:
        labels[0] = 0


def tally_segment(
    rows: Any,
    what: Any,
    thresholds: Any,
    edges: Any,
    decoded: Any,
    terms: Any,
    lanes_high: Any,
    lanes_low: Any,
    bins: Any,
    counts: Any,
    high: Any,
    low: Any,
) -> None:
    """Add the rows of a segment to the sums, by way of lanes and places of bins."""
    x, y, w, loss, brier, p = windows(decoded, CHUNK, 6)
    n_rows, weighted = rows.labels.size, rows.weights.size > 0
    scale = scale_of_all(rows.weights)
    for start in range(0, n_rows, CHUNK):
        n = smaller(n_rows - start, CHUNK)
        read_rows(some_rows(rows, start, n), scale, x, y, w)
        whole = (n + LANES - 1) // LANES * LANES
        here = window(x, 0, whole)
        if what == LOGITS:
            score_logits(here, y, loss, brier, p)
        else:
            score_probabilities(here, y, loss, brier, p)
        if start == 0:
            high[CENTERS], high[CENTERS + 1] = mean_of(loss, w, n), mean_of(brier, w, n)
        count_rows(window(x, 0, n), y, high)
        high[COUNTS] += count_weights(window(w, 0, n)) if weighted else n
        if not weighted:
            count_predicted(window(x, 0, n), y, thresholds, high)
            add_moments(window(loss, 0, n), 0, high, low)
            add_moments(window(brier, 0, n), 1, high, low)
        else:
            term_moments(here, w, loss, brier, high, terms)
            term_weights(here, y, w, loss, brier, high, thresholds, terms)
            for k in range(lanes_high.size // LANES):
                add_lanes(
                    window(terms, k * CHUNK, whole),
                    window(lanes_high, k * LANES, LANES),
                    window(lanes_low, k * LANES, LANES),
                )
        if edges.size:
            tally_bins(
                window(p, 0, n),
                y,
                w,
                weighted,
                edges,
                start + n == n_rows,
                counts,
                bins,
                N_TERMS + N_THRESHOLD * thresholds.size,
                high,
                low,
            )
    fold(thresholds.size, weighted, lanes_high, lanes_low, high, low)
    high[high.size - 1] = select(high[COUNTS] > 0.0, scale, 0.0)


def scale_of_all(weights: Any) -> Any:
    """The scale at which the largest weight has a square."""
    most = 0.0
    for i in range(weights.size):
        most = select(weights[i] > most, weights[i], most)
    return scale_of(most) if most > 0.0 else 1.0


def read_rows(rows: Any, scale: Any, x: Any, y: Any, w: Any) -> None:
    """Rows as float64, and behind them some of weight 0; label and score of these are 0."""
    disjoint()
    labels, weights = rows.labels, rows.weights
    prefetch(rows.singles, AHEAD, rows.singles.size)
    prefetch(rows.doubles, AHEAD, rows.doubles.size)
    for i in range(rows.singles.size):
        x[i] = rows.singles[i]
    for i in range(rows.doubles.size):
        x[i] = rows.doubles[i]
    for i in range(labels.size):
        y[i] = select(labels[i] != 0, 1.0, 0.0)
        w[i] = 1.0
    for i in range(weights.size):
        w[i] = weights[i] * scale
        x[i] = select(w[i] > 0.0, x[i], 0.0)
        y[i] = select(w[i] > 0.0, y[i], 0.0)
    for i in range(labels.size, x.size):
        x[i] = y[i] = w[i] = 0.0


@unfused
def add_lanes(terms: Any, high: Any, low: Any) -> None:
    """Add every term to its lane."""
    disjoint()
    for start in range(0, terms.size, LANES):
        here = window(terms, start, LANES)
        for i in range(LANES):
            total = high[i] + here[i]
            part = total - high[i]
            low[i] += (high[i] - (total - part)) + (here[i] - part)
            high[i] = total


def fold(
    n_thresholds: Any, weighted: Any, lanes_high: Any, lanes_low: Any, high: Any, low: Any
) -> None:
    """Add the lanes to the columns that they are of."""
    for k in range(lanes_high.size // LANES):
        column = column_of(np.int64(k))
        for i in range(LANES):
            add(lanes_high[k * LANES + i], lanes_low[k * LANES + i], column, high, low)
    if not weighted:
        known, positive = high[COUNTS] - high[COUNTS + 1], high[COUNTS + 2]
        for power in range(2):
            high[WEIGHTS + power] = high[COUNTS]
            high[WEIGHTS + 2 + power] = known
            high[WEIGHTS + 4 + power] = positive
        for t in range(n_thresholds):
            place = N_TERMS + N_THRESHOLD * t
            high[place + 2], high[place + 3] = high[place], high[place + 1]
        for j in range(2):
            high[FIRSTS + j], low[FIRSTS + j] = high[SUMS + j], low[SUMS + j]
    for j in range(2):  # the sum of w x is that of w (x - c), and c times that of w
        center, weight = high[CENTERS + j], high[WEIGHTS]
        product = center * weight
        tail = lost(center, weight, product) + center * low[WEIGHTS]
        add(product, tail, SUMS + j, high, low)


def column_of(k: Any) -> Any:
    """Which column the lanes of a term belong to."""
    if k < AT_SECOND:
        return SUMS + k
    if k < AT_FIRST:
        return SECONDS + k - AT_SECOND
    if k < AT_WEIGHT:
        return FIRSTS + k - AT_FIRST
    if k < AT_THRESHOLD:
        return WEIGHTS + k - AT_WEIGHT
    return N_TERMS + k - AT_THRESHOLD
