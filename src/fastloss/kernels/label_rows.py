"""What is found out about rows of labels of which any number are true, one row after the other.

With R true labels among the m that are known, sorted by their scores, the largest first, equal
scores being one place:

    coverage      = how many labels have the score of the last true one or more; 0 if R = 0
    precision     = mean over true labels of (true ones / all) with its score or more; 1 if R = 0
    ranking loss  = pairs of a true and a false label whose scores are not in this order,
                    equal ones included, / (R (m - R)); 0 if there is no pair

Source: G. Tsoumakas, I. Katakis, I. Vlahavas, Mining Multi-label Data (2010).
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import window
from .binary_rows import LOGITS, score_logits, score_probabilities
from .ranked_queries import sort_down
from .tally import add


class LabelRowScores(NamedTuple):
    """What is known of a row. All but the number of labels is NaN if a score is."""

    n_known: Any
    loss: Any  # the mean over its labels, and so are the next two
    brier: Any
    hamming_loss: Any
    subset_accuracy: Any
    coverage_error: Any
    label_ranking_average_precision: Any
    ranking_loss: Any


N_LABEL_ROW_SCORES = len(LabelRowScores._fields)


def score_label_rows(
    labels: Any,
    scores: Any,
    mask: Any,
    n_labels: Any,
    what: Any,
    threshold: Any,
    ranked: Any,
    memory: Any,
    index: Any,
    spare: Any,
    out: Any,
) -> None:
    """Write `LabelRowScores` of rows, NaN for those of ranks unless they are `ranked`.

    `labels` are 0 and 1, `scores` LOGITS or PROBABILITIES, as `what` says; `mask`, if there is one,
    says which labels are known. There are 5 n + 4 numbers of `memory`, and n of `index` and
    `spare`.
    """
    for r in range(out.size // N_LABEL_ROW_SCORES):
        here = window(out, r * N_LABEL_ROW_SCORES, N_LABEL_ROW_SCORES)
        x, y = window(memory, 0, n_labels), window(memory, n_labels, n_labels)
        m = read_row(labels, scores, mask, r * n_labels, x, y)
        x, y = window(memory, 0, m), window(memory, n_labels, m)
        for i in range(1, here.size):
            here[i] = np.nan
        here[0] = m
        if m and is_known(x):
            score_row(
                x,
                y,
                what,
                threshold,
                window(memory, 2 * n_labels, m),
                window(memory, 3 * n_labels, m),
                window(memory, 4 * n_labels, m),
                window(memory, 5 * n_labels, 2),
                window(memory, 5 * n_labels + 2, 2),
                here,
            )
            if ranked:
                rank_row(x, y, window(index, 0, m), window(spare, 0, m), here)


def read_row(labels: Any, scores: Any, mask: Any, start: Any, x: Any, y: Any) -> Any:
    """The known labels of a row and their scores, one behind the other, and how many they are."""
    m = 0
    for i in range(start, start + x.size):
        if mask.size == 0 or mask[i] != 0:
            x[m] = scores[i]
            y[m] = 1.0 if labels[i] != 0 else 0.0
            m += 1
    return m


def is_known(x: Any) -> Any:
    known = True
    for i in range(x.size):
        if x[i] != x[i]:
            known = False
    return known


def score_row(
    x: Any,
    y: Any,
    what: Any,
    threshold: Any,
    loss: Any,
    brier: Any,
    p: Any,
    high: Any,
    low: Any,
    out: Any,
) -> None:
    """What needs no order."""
    if what == LOGITS:
        score_logits(x, y, loss, brier, p)
    else:
        score_probabilities(x, y, loss, brier, p)
    wrong = 0.0
    high[0] = high[1] = low[0] = low[1] = 0.0
    for i in range(x.size):
        add(loss[i], 0.0, 0, high, low)
        add(brier[i], 0.0, 1, high, low)
        if (x[i] >= threshold) != (y[i] != 0.0):
            wrong += 1.0
    m = np.float64(x.size)
    out[1] = (high[0] + low[0] if high[0] < np.inf else high[0]) / m
    out[2] = (high[1] + low[1]) / m
    out[3] = wrong / m
    out[4] = 1.0 if wrong == 0.0 else 0.0


def rank_row(x: Any, y: Any, index: Any, spare: Any, out: Any) -> None:
    """What follows from the order of the scores."""
    sort_down(x, y, index, spare)
    m, n_true = x.size, 0.0
    for i in range(m):
        n_true += y[i]
    coverage = precision = pairs = found = 0.0
    place = 0
    while place < m:
        end, here = place, 0.0
        while end < m and x[index[end]] == x[index[place]]:
            here += y[index[end]]
            end += 1
        pairs += (end - place - here) * (n_true - found)
        found += here
        if here > 0.0:
            coverage = np.float64(end)
            precision += here * (found / end)
        place = end
    out[5] = coverage
    out[6] = precision / n_true if n_true > 0.0 else 1.0
    out[7] = pairs / (n_true * (m - n_true)) if 0.0 < n_true < m else 0.0
