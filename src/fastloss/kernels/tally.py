"""Sums of what is known about rows, by key: by class, by bin of confidence, by group.

Each sum is two float64, the second of which holds what rounding took from the first (Knuth's
two-sum). So the order of rows, and how they are split among tables that are merged later, changes a
result in its last bit at most.
"""

from typing import Any, NamedTuple

import numpy as np

from .bits import smaller, window
from .flags import unfused
from .form import RowScores

N_SCORES = len(RowScores._fields)


class Terms(NamedTuple):
    """What a row of weight w and loss l adds to the sums of its key."""

    n: Any
    n_undefined: Any  # rows whose loss is NaN
    weight: Any
    squared_weight: Any
    loss: Any  # w l
    squared_weight_loss: Any  # w^2 l
    squared_loss: Any  # w^2 l^2
    correct: Any
    squared_weight_correct: Any
    entropy: Any
    confidence: Any
    brier: Any
    reciprocal_rank: Any
    slope: Any
    spread: Any


N_TERMS = len(Terms._fields)
# With one number more a key has two whole vectors of 8.
WIDTH = 16


def read(scores: Any, at: Any) -> Any:
    return RowScores(
        scores[at],
        scores[at + 1],
        scores[at + 2],
        scores[at + 3],
        scores[at + 4],
        scores[at + 5],
        scores[at + 6],
        scores[at + 7],
        scores[at + 8],
        scores[at + 9],
    )


# Not fused with a product that is a term: what is lost is that of the rounded product.
@unfused
def add(terms: Any, key: Any, sums: Any, lost: Any) -> None:
    """Add the terms of a row to the sums of a key, if there is such a key."""
    n = terms.size
    if key < 0 or key >= sums.size // n:
        return
    high, low = window(sums, key * n, n), window(lost, key * n, n)
    for i in range(n):
        before, term = high[i], terms[i]
        total = before + term
        part = total - before
        low[i] += (before - (total - part)) + (term - part)
        high[i] = total


def place_of(key: Any, places: Any, n_met: Any, sums: Any, lost: Any) -> Any:
    """Where the sums of a key are, counted from 1 in `places`: a new one gets the next place."""
    if key < 0 or key >= places.size:
        return -1
    if places[key] == 0:
        # A page of zeros that is written before it is read is mapped once, and not twice.
        for i in range(n_met[0] * WIDTH, (n_met[0] + 1) * WIDTH):
            sums[i] = lost[i] = 0.0
        n_met[0] += 1
        places[key] = n_met[0]
    return places[key] - 1


def tally_rows(
    scores: Any,
    labels: Any,
    places: Any,
    n_met: Any,
    groups: Any,
    sequences: Any,
    n_bins: Any,
    terms: Any,
    bins: Any,
    ranks: Any,
    by_class: Any,
    by_group: Any,
    by_sequence: Any,
) -> None:
    """Add rows to tables, pairs of sums and of what they lost, in order; weight 0 counts nowhere.

    Rows whose scores are not known have a bin of their own, the last. `places` and `n_met` say
    where the sums of a class are; see `place_of`. `terms` is scratch memory.
    """
    row_terms, row_weight = window(terms, 0, WIDTH), window(terms, WIDTH, 1)
    for r in range(scores.size // N_SCORES):
        row = read(scores, r * N_SCORES)
        weight, loss = row.weight, row.loss
        if weight == 0.0:
            continue
        known = loss == loss
        correct = weight if row.rank == 0.0 else 0.0
        values = Terms(
            1.0,
            0.0 if known else 1.0,
            weight,
            weight * weight,
            weight * loss,
            weight * weight * loss,
            weight * weight * loss * loss,
            correct,
            weight * correct,
            weight * row.entropy,
            weight * row.confidence,
            weight * row.brier,
            weight / (row.rank + 1.0),
            weight * row.slope,
            weight * row.spread,
        )
        for i in range(N_TERMS):
            row_terms[i] = values[i]
        row_weight[0] = weight
        key = smaller(np.int64(row.confidence * n_bins), n_bins - 1) if known else n_bins
        add(row_terms, key, bins[0], bins[1])
        if known:
            add(row_weight, np.int64(row.rank), ranks[0], ranks[1])
        if by_class[0].size > 0:
            place = place_of(labels[r], places, n_met, by_class[0], by_class[1])
            add(row_terms, place, by_class[0], by_class[1])
        if by_group[0].size > 0:
            add(row_terms, groups[r], by_group[0], by_group[1])
        if by_sequence[0].size > 0:
            add(row_terms, sequences[r], by_sequence[0], by_sequence[1])
