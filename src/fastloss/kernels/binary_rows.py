"""Sums over rows of binary labels and scores, by segments of rows: moments, confusion, bins.

As in `tally.py` each sum is two float64, only ratios of weights count, and squares are those of the
distance from a number close to the mean. A sum is added up in lanes, every 32nd row, so that SIMD
does what keeps the digits that rounding takes, and the lanes in the end.
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import (
    accumulate,
    disjoint,
    interleaved,
    select,
    smaller,
    window,
    windows,
)
from ..compiler.flags import unfused
from .scalar import exp_of_gap, log, log1p, log1p_of_share
from .tally import add, lost, scale_of

LANES = 32
CHUNK = 8 * LANES  # rows that are scored before they are added up


class BinaryTerms(NamedTuple):
    """What a row of weight w, label y, loss l and q = p - y adds to the sums of its key.

    Four columns for each threshold follow, three for each bin, and the scale of the weights.
    """

    n: Any
    n_undefined: Any  # rows whose score is NaN
    n_positive: Any  # known rows of label 1
    weight: Any
    squared_weight: Any
    known: Any  # w, if the score is known
    squared_known: Any
    positive: Any  # w, if the score is known and the label is 1
    squared_positive: Any
    loss: Any  # w l
    brier: Any  # w q^2
    loss_center: Any
    brier_center: Any
    loss_first: Any  # w^2 (l - c)
    brier_first: Any
    loss_second: Any  # w^2 (l - c)^2
    brier_second: Any


N_TERMS = len(BinaryTerms._fields)
TERM_POWERS = [0, 0, 0, 1, 2, 1, 2, 1, 2, 1, 1, 0, 0, 2, 2, 2, 2]
# Of rows with a score of the threshold or more: w of label 1 and of label 0, and w^2 of each.
THRESHOLD_POWERS = [1, 1, 2, 2]
# Of rows whose probability is in the bin: w, w of label 1, w p.
BIN_POWERS = [1, 1, 1]
N_THRESHOLD, N_BIN = len(THRESHOLD_POWERS), len(BIN_POWERS)
(COUNTS, WEIGHTS, SUMS, CENTERS, FIRSTS, SECONDS) = (0, 3, 9, 11, 13, 15)
_MARGINAL, _SECOND, _FIRST, _WEIGHT, _THRESHOLD = 0, 2, 4, 6, 12  # terms, in the order of lanes
_UNWEIGHTED = 4  # so many of them are needed if all weights are 1
_COPIES = 8  # of bins, so that a row need not wait for the one before it
# So far from an edge, in bins, the bin is told by a product; nearer, by the edges.
_ROUNDING = 2.0**-50
_ROUNDER = 1.5 * 2.0**52  # what is added to it is rounded to a whole number

LOGITS, PROBABILITIES = range(2)


def powers_of(n_thresholds: int, n_bins: int) -> Any:
    """Which power of the weight each column has."""
    more = THRESHOLD_POWERS * n_thresholds + BIN_POWERS * n_bins
    return np.array([*TERM_POWERS, *more, 0])


def n_scratch(n_thresholds: int, n_bins: int) -> Any:
    """How many numbers of memory `tally_binary` needs."""
    n_terms = _THRESHOLD + N_THRESHOLD * n_thresholds
    return (6 + n_terms) * CHUNK + 2 * (n_terms * LANES + N_BIN * n_places(n_bins))


def n_places(n_bins: Any) -> Any:
    """Those of copies of bins, one of which is for rows that are in none."""
    return _COPIES * (n_bins + 1)


def n_counts(n_bins: int) -> Any:
    """How many integers of memory it needs."""
    return CHUNK + 2 * n_places(n_bins)


def score_logits(x: Any, y: Any, loss: Any, brier: Any, p: Any) -> None:
    """The loss of each row, (p - y)^2 and p, from logits; y is 0 or 1.

    One exponential does for all: with e = exp(-|x|) the loss is log(1 + e), and |x| more where the
    sign of x is wrong. A processor looks some 250 instructions ahead, which are few rows if all is
    done in one loop, whose steps then wait for each other: three loops take 30% less.
    """
    exponentials_of(x, p)
    losses_of(x, y, p, loss)
    probabilities_of(x, y, brier, p)


def exponentials_of(x: Any, e: Any) -> None:
    interleaved()
    disjoint()
    for i in range(x.size):
        e[i] = exp_of_gap(-abs(x[i]))


def losses_of(x: Any, y: Any, e: Any, loss: Any) -> None:
    interleaved()
    disjoint()
    for i in range(x.size):
        wrong = select(y[i] == 0.0, x[i], -x[i])
        loss[i] = log1p_of_share(e[i]) + select(wrong > 0.0, wrong, 0.0)


def probabilities_of(x: Any, y: Any, brier: Any, p: Any) -> None:
    """`p` has the exponentials, and gets the probabilities."""
    interleaved()
    disjoint()
    for i in range(x.size):
        larger = 1.0 / (1.0 + p[i])
        less = p[i] * larger
        q = select(select(y[i] == 0.0, x[i], -x[i]) >= 0.0, larger, less)
        brier[i] = q * q
        p[i] = select(x[i] >= 0.0, larger, less)


def score_probabilities(x: Any, y: Any, loss: Any, brier: Any, p: Any) -> None:
    """The same from probabilities of label 1."""
    disjoint()
    for i in range(x.size):
        q = select(y[i] == 0.0, x[i], 1.0 - x[i])
        # Of 1 - p there are all digits; a loss of -0 is 0.
        loss[i] = 0.0 - select(y[i] == 0.0, log1p(-x[i]), log(x[i]))
        brier[i] = q * q
        p[i] = x[i]


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
    probability, or none.
    """
    n_segments = starts.size - 1
    width = high.size // n_segments
    n_terms = _THRESHOLD + N_THRESHOLD * thresholds.size if weights.size else _UNWEIGHTED
    n_bins = edges.size - 1 if edges.size else 0
    n_of_bins = N_BIN * n_places(n_bins)
    rows = window(scratch, 0, 6 * CHUNK)
    place = 6 * CHUNK
    terms = window(scratch, place, n_terms * CHUNK)
    place += n_terms * CHUNK
    lanes_high = window(scratch, place, n_terms * LANES)
    place += n_terms * LANES
    lanes_low = window(scratch, place, n_terms * LANES)
    place += n_terms * LANES
    bins_high = window(scratch, place, n_of_bins)
    place += n_of_bins
    bins_low = window(scratch, place, n_of_bins)
    for s in range(n_segments):
        first, n = starts[s], starts[s + 1] - starts[s]
        for array in (lanes_high, lanes_low, bins_high, bins_low):
            for i in range(array.size):
                array[i] = 0.0
        for i in range(CHUNK, counts.size):
            counts[i] = 0
        here_high, here_low = window(high, s * width, width), window(low, s * width, width)
        for i in range(width):
            here_high[i] = here_low[i] = 0.0
        tally_segment(
            window(labels, first, n),
            rows_of(singles, first, n),
            rows_of(doubles, first, n),
            rows_of(weights, first, n),
            what,
            thresholds,
            edges,
            rows,
            terms,
            lanes_high,
            lanes_low,
            bins_high,
            bins_low,
            counts,
            here_high,
            here_low,
        )
        fold_bins(n_bins, bins_high, bins_low, counts, thresholds.size, here_high, here_low)
    # What windows are of stays until here.
    if scratch.size == 0:
        labels[0] = 0


def rows_of(array: Any, first: Any, n: Any) -> Any:
    """Some rows of an array, or none if it has none."""
    return window(array, first if array.size else 0, n if array.size else 0)


def tally_segment(
    labels: Any,
    singles: Any,
    doubles: Any,
    weights: Any,
    what: Any,
    thresholds: Any,
    edges: Any,
    rows: Any,
    terms: Any,
    lanes_high: Any,
    lanes_low: Any,
    bins_high: Any,
    bins_low: Any,
    counts: Any,
    high: Any,
    low: Any,
) -> None:
    """Add the rows of a segment to lanes and bins, and the lanes to the sums."""
    x, y, w, loss, brier, p = windows(rows, CHUNK, 6)
    scale = scale_of_all(weights)
    for start in range(0, labels.size, CHUNK):
        n = smaller(labels.size - start, CHUNK)
        read_rows(
            window(labels, start, n),
            rows_of(singles, start, n),
            rows_of(doubles, start, n),
            rows_of(weights, start, n),
            scale,
            x,
            y,
            w,
        )
        whole = (n + LANES - 1) // LANES * LANES
        here = window(x, 0, whole)
        if what == LOGITS:
            score_logits(here, y, loss, brier, p)
        else:
            score_probabilities(here, y, loss, brier, p)
        if start == 0:
            high[CENTERS], high[CENTERS + 1] = mean_of(loss, w, n), mean_of(brier, w, n)
        count(here, y, w, high)
        n_of_term = whole
        if weights.size == 0:
            count_predicted(window(x, 0, n), y, thresholds, high)
            sum_moments(here, w, loss, brier, high, terms)
            n_of_term = LANES
        else:
            term_moments(here, w, loss, brier, high, terms)
            term_weights(here, y, w, loss, brier, high, thresholds, terms)
        for k in range(lanes_high.size // LANES):
            add_lanes(
                window(terms, k * CHUNK, n_of_term),
                window(lanes_high, k * LANES, LANES),
                window(lanes_low, k * LANES, LANES),
            )
        if edges.size:
            bins = window(counts, 0, n)
            counts_of_bins = window(counts, CHUNK, counts.size - CHUNK)
            if find_bins(window(p, 0, n), w, edges.size - 1, bins):
                correct_bins(window(p, 0, n), edges, bins)
            if weights.size == 0:
                here_labels = window(labels, start, n)
                count_in_bins(here_labels, p, bins, bins_high, bins_low, counts_of_bins)
            else:
                add_to_bins(window(p, 0, n), y, w, bins, bins_high, bins_low)
    fold(thresholds.size, weights.size > 0, lanes_high, lanes_low, high, low)
    high[high.size - 1] = select(high[COUNTS] > 0.0, scale, 0.0)


def scale_of_all(weights: Any) -> Any:
    """The scale at which the largest weight has a square."""
    most = 0.0
    for i in range(weights.size):
        most = select(weights[i] > most, weights[i], most)
    return scale_of(most) if most > 0.0 else 1.0


def read_rows(
    labels: Any, singles: Any, doubles: Any, weights: Any, scale: Any, x: Any, y: Any, w: Any
) -> None:
    """Rows as float64, and behind them some of weight 0; label and score of these are 0."""
    disjoint()
    for i in range(singles.size):
        x[i] = singles[i]
    for i in range(doubles.size):
        x[i] = doubles[i]
    for i in range(labels.size):
        y[i] = select(labels[i] != 0, 1.0, 0.0)
        w[i] = 1.0
    for i in range(weights.size):
        w[i] = weights[i] * scale
        x[i] = select(w[i] > 0.0, x[i], 0.0)
        y[i] = select(w[i] > 0.0, y[i], 0.0)
    for i in range(labels.size, x.size):
        x[i] = y[i] = w[i] = 0.0


def mean_of(values: Any, w: Any, n: Any) -> Any:
    """The mean of the finite values of a weight."""
    total, weight = 0.0, 0.0
    for i in range(n):
        finite = (w[i] > 0.0) & (values[i] < np.inf)
        total = accumulate(total, select(finite, w[i] * values[i], 0.0))
        weight = accumulate(weight, select(finite, w[i], 0.0))
    return total / weight if weight > 0.0 and total < np.inf else 0.0


def count(x: Any, y: Any, w: Any, high: Any) -> None:
    n, n_known, n_positive = 0.0, 0.0, 0.0
    for i in range(x.size):
        known = x[i] == x[i]
        n = accumulate(n, select(w[i] > 0.0, 1.0, 0.0))
        n_known = accumulate(n_known, select(known, 1.0, 0.0))
        n_positive = accumulate(n_positive, select(known, y[i], 0.0))
    high[COUNTS] += n
    high[COUNTS + 1] += x.size - n_known
    high[COUNTS + 2] += n_positive


def count_predicted(x: Any, y: Any, thresholds: Any, high: Any) -> None:
    """Rows that weigh 1 and have a score of each threshold or more."""
    for t in range(thresholds.size):
        threshold = thresholds[t]
        true, both = 0.0, 0.0
        for i in range(x.size):
            here = x[i] >= threshold
            true = accumulate(true, select(here, y[i], 0.0))
            both = accumulate(both, select(here, 1.0, 0.0))
        place = N_TERMS + N_THRESHOLD * t
        high[place] += true
        high[place + 1] += both - true


def sum_moments(x: Any, w: Any, loss: Any, brier: Any, high: Any, terms: Any) -> None:
    """The terms of rows that weigh 1, those of every 32nd row added up.

    So each is a sum of 8 numbers at most, and less is lost than when these are computed.
    """
    disjoint()
    loss_center, brier_center = high[CENTERS], high[CENTERS + 1]
    loss_marginal, brier_marginal = window(terms, 0, LANES), window(terms, CHUNK, LANES)
    loss_second, brier_second = window(terms, 2 * CHUNK, LANES), window(terms, 3 * CHUNK, LANES)
    for i in range(LANES):
        loss_marginal[i] = brier_marginal[i] = loss_second[i] = brier_second[i] = 0.0
    for start in range(0, x.size, LANES):
        some_w = window(w, start, LANES)
        some_loss, some_brier = window(loss, start, LANES), window(brier, start, LANES)
        for i in range(LANES):
            here = some_w[i] > 0.0
            loss_gap = select(here, some_loss[i] - loss_center, 0.0)
            brier_gap = select(here, some_brier[i] - brier_center, 0.0)
            loss_marginal[i] += loss_gap
            brier_marginal[i] += brier_gap
            loss_second[i] += loss_gap * loss_gap
            brier_second[i] += brier_gap * brier_gap


def term_moments(x: Any, w: Any, loss: Any, brier: Any, high: Any, terms: Any) -> None:
    """The terms of each row."""
    disjoint()
    loss_center, brier_center = high[CENTERS], high[CENTERS + 1]
    loss_marginal, brier_marginal = window(terms, 0, CHUNK), window(terms, CHUNK, CHUNK)
    loss_second, brier_second = window(terms, 2 * CHUNK, CHUNK), window(terms, 3 * CHUNK, CHUNK)
    for i in range(x.size):
        here = w[i] > 0.0
        loss_gap = select(here, loss[i] - loss_center, 0.0)
        brier_gap = select(here, brier[i] - brier_center, 0.0)
        loss_marginal[i] = w[i] * loss_gap
        brier_marginal[i] = w[i] * brier_gap
        # An infinite loss of a tiny weight stays infinite.
        loss_second[i] = w[i] * (w[i] * loss_gap) * loss_gap
        brier_second[i] = w[i] * (w[i] * brier_gap) * brier_gap


def term_weights(
    x: Any, y: Any, w: Any, loss: Any, brier: Any, high: Any, thresholds: Any, terms: Any
) -> None:
    """What else is needed if rows weigh differently."""
    disjoint()
    loss_center, brier_center = high[CENTERS], high[CENTERS + 1]
    rest = window(terms, _FIRST * CHUNK, (_THRESHOLD - _FIRST) * CHUNK)
    loss_first, brier_first, weight, square, known, squared_known, true, squared_true = windows(
        rest, CHUNK, 8
    )
    for i in range(x.size):
        squared = w[i] * w[i]
        is_known, here = x[i] == x[i], w[i] > 0.0
        loss_first[i] = squared * select(here, loss[i] - loss_center, 0.0)
        brier_first[i] = squared * select(here, brier[i] - brier_center, 0.0)
        weight[i] = w[i]
        square[i] = squared
        known[i] = select(is_known, w[i], 0.0)
        squared_known[i] = select(is_known, squared, 0.0)
        true[i] = select(is_known, w[i] * y[i], 0.0)
        squared_true[i] = select(is_known, squared * y[i], 0.0)
    for t in range(thresholds.size):
        term_predicted(
            x, y, w, thresholds[t], window(terms, (_THRESHOLD + N_THRESHOLD * t) * CHUNK, 4 * CHUNK)
        )


def term_predicted(x: Any, y: Any, w: Any, threshold: Any, terms: Any) -> None:
    disjoint()
    true, false, squared_true, squared_false = windows(terms, CHUNK, 4)
    for i in range(x.size):
        weight = select(x[i] >= threshold, w[i], 0.0)
        true[i] = weight * y[i]
        false[i] = weight * (1.0 - y[i])
        squared_true[i] = weight * weight * y[i]
        squared_false[i] = weight * weight * (1.0 - y[i])


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
    n_thresholds: Any,
    high: Any,
    low: Any,
) -> None:
    """Add the copies of the bins, and what was counted of them."""
    first = N_TERMS + N_THRESHOLD * n_thresholds
    n = bins_high.size // N_BIN
    for i in range(_COPIES * n_bins):
        place = first + N_BIN * (i // _COPIES)
        for j in range(N_BIN):
            add(bins_high[j * n + i], bins_low[j * n + i], place + j, high, low)
        negatives, positives = counts[CHUNK + 2 * i], counts[CHUNK + 2 * i + 1]
        high[place] += negatives + positives
        high[place + 1] += positives


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
    if k < _SECOND:
        return SUMS + k
    if k < _FIRST:
        return SECONDS + k - _SECOND
    if k < _WEIGHT:
        return FIRSTS + k - _FIRST
    if k < _THRESHOLD:
        return WEIGHTS + k - _WEIGHT
    return N_TERMS + k - _THRESHOLD
