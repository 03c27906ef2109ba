"""Sums over rows of binary labels and scores, by segments of rows: moments, confusion, bins.

As in `tally.py` each sum is two float64, only ratios of weights count, and squares are those of the
distance from a number close to the mean. A sum is added up in lanes, every 32nd row, so that SIMD
does what keeps the digits that rounding takes, and the lanes in the end.
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import accumulate, disjoint, select, smaller, window, windows
from ..compiler.flags import unfused
from .scalar import exp_of_minus, log, log1p, log1p_of_share
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
_COPIES = 4  # of bins, so that a row need not wait for the one before it

LOGITS, PROBABILITIES = range(2)


def powers_of(n_thresholds: int, n_bins: int) -> Any:
    """Which power of the weight each column has."""
    more = THRESHOLD_POWERS * n_thresholds + BIN_POWERS * n_bins
    return np.array([*TERM_POWERS, *more, 0])


def n_scratch(n_thresholds: int, n_bins: int) -> int:
    """How many numbers of memory `tally_binary` needs."""
    n_terms = _THRESHOLD + N_THRESHOLD * n_thresholds
    return (6 + n_terms) * CHUNK + 2 * (n_terms * LANES + _COPIES * N_BIN * n_bins)


def score_logits(x: Any, y: Any, loss: Any, brier: Any, p: Any) -> None:
    """The loss of each row, (p - y)^2 and p, from logits; y is 0 or 1.

    One exponential does for all: with e = exp(-|x|) the loss is log(1 + e), and |x| more where the
    sign of x is wrong.
    """
    disjoint()
    for i in range(x.size):
        wrong = select(y[i] == 0.0, x[i], -x[i])
        power, rest = exp_of_minus(abs(x[i]))
        e = power + rest
        larger = 1.0 / (1.0 + e)
        less = e * larger
        q = select(wrong >= 0.0, larger, less)
        loss[i] = log1p_of_share(e) + select(wrong > 0.0, wrong, 0.0)
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
    scores: Any,
    weights: Any,
    starts: Any,
    what: Any,
    thresholds: Any,
    edges: Any,
    scratch: Any,
    high: Any,
    low: Any,
) -> None:
    """Write the sums of each segment of rows, between two `starts`, into a row of `high` and `low`.

    `labels` are 0 and 1, `scores` LOGITS or PROBABILITIES, as `what` says, `weights` none or one
    for each row. `edges` are those of bins of probability, or none.
    """
    n_segments = starts.size - 1
    width = high.size // n_segments
    n_terms = _THRESHOLD + N_THRESHOLD * thresholds.size if weights.size else _UNWEIGHTED
    n_bins = edges.size - 1 if edges.size else 0
    rows = window(scratch, 0, 6 * CHUNK)
    place = 6 * CHUNK
    terms = window(scratch, place, n_terms * CHUNK)
    place += n_terms * CHUNK
    lanes_high = window(scratch, place, n_terms * LANES)
    place += n_terms * LANES
    lanes_low = window(scratch, place, n_terms * LANES)
    place += n_terms * LANES
    bins_high = window(scratch, place, _COPIES * N_BIN * n_bins)
    place += _COPIES * N_BIN * n_bins
    bins_low = window(scratch, place, _COPIES * N_BIN * n_bins)
    for s in range(n_segments):
        first, n = starts[s], starts[s + 1] - starts[s]
        for array in (lanes_high, lanes_low, bins_high, bins_low):
            for i in range(array.size):
                array[i] = 0.0
        here_high, here_low = window(high, s * width, width), window(low, s * width, width)
        for i in range(width):
            here_high[i] = here_low[i] = 0.0
        tally_segment(
            window(labels, first, n),
            window(scores, first, n),
            window(weights, first if weights.size else 0, n if weights.size else 0),
            what,
            thresholds,
            edges,
            rows,
            terms,
            lanes_high,
            lanes_low,
            bins_high,
            bins_low,
            here_high,
            here_low,
        )
        fold_bins(n_bins, bins_high, bins_low, thresholds.size, here_high, here_low)
    # What windows are of stays until here.
    if scratch.size == 0:
        labels[0] = 0


def tally_segment(
    labels: Any,
    scores: Any,
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
    high: Any,
    low: Any,
) -> None:
    """Add the rows of a segment to lanes and bins, and the lanes to the sums."""
    x, y, w, loss, brier, p = windows(rows, CHUNK, 6)
    scale = scale_of_all(weights)
    for start in range(0, labels.size, CHUNK):
        n = smaller(labels.size - start, CHUNK)
        read_rows(labels, scores, weights, start, n, scale, x, y, w)
        whole = (n + LANES - 1) // LANES * LANES
        here = window(x, 0, whole)
        if what == LOGITS:
            score_logits(here, y, loss, brier, p)
        else:
            score_probabilities(here, y, loss, brier, p)
        if start == 0:
            high[CENTERS], high[CENTERS + 1] = mean_of(loss, w, n), mean_of(brier, w, n)
        count(here, y, w, high)
        if weights.size == 0:
            count_predicted(here, y, w, thresholds, high)
            term_moments(here, w, loss, brier, high, terms)
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
            add_to_bins(window(p, 0, n), y, w, edges, weights.size > 0, bins_high, bins_low)
    fold(thresholds.size, weights.size > 0, lanes_high, lanes_low, high, low)
    high[high.size - 1] = select(high[COUNTS] > 0.0, scale, 0.0)


def scale_of_all(weights: Any) -> Any:
    """The scale at which the largest weight has a square."""
    most = 0.0
    for i in range(weights.size):
        most = select(weights[i] > most, weights[i], most)
    return scale_of(most) if most > 0.0 else 1.0


def read_rows(
    labels: Any, scores: Any, weights: Any, start: Any, n: Any, scale: Any, x: Any, y: Any, w: Any
) -> None:
    """The next rows as float64, and behind them some of weight 0."""
    disjoint()
    label, score = window(labels, start, n), window(scores, start, n)
    for i in range(n):
        x[i] = score[i]
        y[i] = select(label[i] != 0, 1.0, 0.0)
        w[i] = 1.0
    if weights.size:
        weight = window(weights, start, n)
        for i in range(n):
            w[i] = weight[i] * scale
    for i in range(n, x.size):
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
    n, n_undefined, n_positive = 0.0, 0.0, 0.0
    for i in range(x.size):
        here = select(w[i] > 0.0, 1.0, 0.0)
        known = x[i] == x[i]
        n = accumulate(n, here)
        n_undefined = accumulate(n_undefined, select(known, 0.0, here))
        n_positive = accumulate(n_positive, select(known, here * y[i], 0.0))
    high[COUNTS] += n
    high[COUNTS + 1] += n_undefined
    high[COUNTS + 2] += n_positive


def count_predicted(x: Any, y: Any, w: Any, thresholds: Any, high: Any) -> None:
    """Rows with a score of each threshold or more, which are exact as they weigh 1."""
    for t in range(thresholds.size):
        threshold = thresholds[t]
        true, false = 0.0, 0.0
        for i in range(x.size):
            here = select(x[i] >= threshold, w[i], 0.0)
            true = accumulate(true, here * y[i])
            false = accumulate(false, here * (1.0 - y[i]))
        place = N_TERMS + N_THRESHOLD * t
        high[place] += true
        high[place + 1] += false


def term_moments(x: Any, w: Any, loss: Any, brier: Any, high: Any, terms: Any) -> None:
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
    for i in range(x.size):
        square = w[i] * w[i]
        known, here = x[i] == x[i], w[i] > 0.0
        terms[_FIRST * CHUNK + i] = square * select(here, loss[i] - high[CENTERS], 0.0)
        terms[(_FIRST + 1) * CHUNK + i] = square * select(here, brier[i] - high[CENTERS + 1], 0.0)
        terms[_WEIGHT * CHUNK + i] = w[i]
        terms[(_WEIGHT + 1) * CHUNK + i] = square
        terms[(_WEIGHT + 2) * CHUNK + i] = select(known, w[i], 0.0)
        terms[(_WEIGHT + 3) * CHUNK + i] = select(known, square, 0.0)
        terms[(_WEIGHT + 4) * CHUNK + i] = select(known, w[i] * y[i], 0.0)
        terms[(_WEIGHT + 5) * CHUNK + i] = select(known, square * y[i], 0.0)
    for t in range(thresholds.size):
        place = (_THRESHOLD + N_THRESHOLD * t) * CHUNK
        for i in range(x.size):
            weight = select(x[i] >= thresholds[t], w[i], 0.0)
            terms[place + i] = weight * y[i]
            terms[place + CHUNK + i] = weight * (1.0 - y[i])
            terms[place + 2 * CHUNK + i] = weight * weight * y[i]
            terms[place + 3 * CHUNK + i] = weight * weight * (1.0 - y[i])


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


def add_to_bins(
    p: Any, y: Any, w: Any, edges: Any, weighted: Any, bins_high: Any, bins_low: Any
) -> None:
    n_bins = edges.size - 1
    for i in range(p.size):
        if not (p[i] == p[i] and w[i] > 0.0):
            continue
        # As in `tally.bin_of`: the product is rounded, and so may be off by one.
        k: Any = smaller(np.int64(p[i] * n_bins), n_bins - 1)
        if k < n_bins - 1 and edges[k + 1] <= p[i]:
            k += 1
        elif edges[k] > p[i]:
            k -= 1
        place = N_BIN * (k + n_bins * (i % _COPIES))
        if weighted:
            add(w[i], 0.0, place, bins_high, bins_low)
            add(w[i] * y[i], 0.0, place + 1, bins_high, bins_low)
        else:
            bins_high[place] += 1.0
            bins_high[place + 1] += y[i]
        add(w[i] * p[i], 0.0, place + 2, bins_high, bins_low)


def fold_bins(
    n_bins: Any, bins_high: Any, bins_low: Any, n_thresholds: Any, high: Any, low: Any
) -> None:
    """Add the copies of the bins."""
    first = N_TERMS + N_THRESHOLD * n_thresholds
    n = N_BIN * n_bins
    for i in range(bins_high.size):
        add(bins_high[i], bins_low[i], first + i % n, high, low)


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
