"""What rows of two classes add to sums: counts, and terms of moments in lanes."""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import accumulate, add_product, disjoint, select, window, windows
from .tally import SquareWeighed, Unweighed, Weighed, add, powers_in

LANES = 32
CHUNK = 8 * LANES  # rows that are scored before they are added up


class BinaryTerms(NamedTuple):
    """What a row of weight w, label y, loss l and q = p - y adds to the sums of its key.

    Four columns for each threshold follow, three for each bin, and the scale of the weights.
    """

    n: Unweighed
    n_undefined: Unweighed  # rows whose score is NaN
    n_positive: Unweighed  # known rows of label 1
    weight: Weighed
    squared_weight: SquareWeighed
    known: Weighed  # w, if the score is known
    squared_known: SquareWeighed
    positive: Weighed  # w, if the score is known and the label is 1
    squared_positive: SquareWeighed
    loss: Weighed  # w l
    brier: Weighed  # w q^2
    loss_center: Unweighed
    brier_center: Unweighed
    loss_first: SquareWeighed  # w^2 (l - c)
    brier_first: SquareWeighed
    loss_second: SquareWeighed  # w^2 (l - c)^2
    brier_second: SquareWeighed


N_TERMS = len(BinaryTerms._fields)
TERM_POWERS = powers_in(BinaryTerms)
# Of rows with a score of the threshold or more: w of label 1 and of label 0, and w^2 of each.
THRESHOLD_POWERS = [1, 1, 2, 2]
N_THRESHOLD = len(THRESHOLD_POWERS)
(COUNTS, WEIGHTS, SUMS, CENTERS, FIRSTS, SECONDS) = (0, 3, 9, 11, 13, 15)
# Terms of rows that weigh differently, in the order of lanes: two deviations from the centers, the
# squares of these, their products with weights, six sums of weights, and four for each threshold.
AT_SECOND, AT_FIRST, AT_WEIGHT, AT_THRESHOLD = 2, 4, 6, 12


def mean_of(values: Any, w: Any, n: Any) -> Any:
    """The mean of the finite values of a weight."""
    total, weight = 0.0, 0.0
    for i in range(n):
        finite = (w[i] > 0.0) & (values[i] < np.inf)
        total = accumulate(total, select(finite, w[i] * values[i], 0.0))
        weight = accumulate(weight, select(finite, w[i], 0.0))
    return total / weight if weight > 0.0 and total < np.inf else 0.0


def count_rows(x: Any, y: Any, high: Any) -> None:
    """Rows whose score is NaN, and those of label 1 among the others."""
    n_known, n_positive = 0.0, 0.0
    for i in range(x.size):
        known = x[i] == x[i]
        n_known = accumulate(n_known, select(known, 1.0, 0.0))
        n_positive = accumulate(n_positive, select(known, y[i], 0.0))
    high[COUNTS + 1] += x.size - n_known
    high[COUNTS + 2] += n_positive


def count_weights(w: Any) -> Any:
    """Rows that count."""
    n = 0.0
    for i in range(w.size):
        n = accumulate(n, select(w[i] > 0.0, 1.0, 0.0))
    return n


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


def add_moments(values: Any, j: Any, high: Any, low: Any) -> None:
    """Add losses or Brier scores of rows that weigh 1: distances from the center, and squares."""
    center, first, second = high[CENTERS + j], 0.0, 0.0
    for i in range(values.size):
        gap = values[i] - center
        first = accumulate(first, gap)
        second = add_product(second, gap, gap)
    add(first, 0.0, SUMS + j, high, low)
    add(second, 0.0, SECONDS + j, high, low)


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
    rest = window(terms, AT_FIRST * CHUNK, (AT_THRESHOLD - AT_FIRST) * CHUNK)
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
            x,
            y,
            w,
            thresholds[t],
            window(terms, (AT_THRESHOLD + N_THRESHOLD * t) * CHUNK, 4 * CHUNK),
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
