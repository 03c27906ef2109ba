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

from ..compiler.bits import accumulate, disjoint, larger, select, smaller, window
from .binary_losses import LOGITS, score_logits, score_probabilities
from .binary_terms import CHUNK
from .ranked_queries import sort_down


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
    says which labels are known. There are `n_memory` numbers of `memory`, and as many of `index`
    and `spare` as labels. Short rows are scored several at a time, as SIMD takes 16 numbers.
    """
    n_rows = out.size // N_LABEL_ROW_SCORES
    step = rows_at_once(n_labels)
    size = step * n_labels
    for first in range(0, n_rows, step):
        n = smaller(step, n_rows - first)
        for r in range(n):
            here = window(out, (first + r) * N_LABEL_ROW_SCORES, N_LABEL_ROW_SCORES)
            x = window(memory, r * n_labels, n_labels)
            y = window(memory, size + r * n_labels, n_labels)
            here[0] = read_row(labels, scores, mask, (first + r) * n_labels, x, y)
        score(
            what,
            window(memory, 0, n * n_labels),
            window(memory, size, n * n_labels),
            window(memory, 2 * size, n * n_labels),
            window(memory, 3 * size, n * n_labels),
            window(memory, 4 * size, n * n_labels),
        )
        for r in range(n):
            here = window(out, (first + r) * N_LABEL_ROW_SCORES, N_LABEL_ROW_SCORES)
            m = np.int64(here[0])
            x = window(memory, r * n_labels, m)
            y = window(memory, size + r * n_labels, m)
            for i in range(1, here.size):
                here[i] = np.nan
            if m and is_known(x):
                loss = window(memory, 2 * size + r * n_labels, m)
                brier = window(memory, 3 * size + r * n_labels, m)
                score_row(x, y, threshold, loss, brier, here)
                if ranked:
                    rank_row(x, y, window(index, 0, m), window(spare, 0, m), here)


def rows_at_once(n_labels: Any) -> Any:
    return larger(CHUNK // n_labels, 1)


def n_memory(n_labels: int) -> Any:
    """How many numbers of memory rows of so many labels need."""
    return 5 * rows_at_once(n_labels) * n_labels


def read_row(labels: Any, scores: Any, mask: Any, start: Any, x: Any, y: Any) -> Any:
    """The known labels of a row and their scores, and behind them 0; and how many are known."""
    n = x.size
    if mask.size == 0:
        read_labels(window(labels, start, n), window(scores, start, n), x, y)
        return n
    m = 0
    for i in range(start, start + n):
        if mask[i] != 0:
            x[m] = scores[i]
            y[m] = 1.0 if labels[i] != 0 else 0.0
            m += 1
    for i in range(m, n):
        x[i] = y[i] = 0.0
    return m


def read_labels(labels: Any, scores: Any, x: Any, y: Any) -> None:
    disjoint()
    for i in range(labels.size):
        x[i] = scores[i]
        y[i] = select(labels[i] != 0, 1.0, 0.0)


def score(what: Any, x: Any, y: Any, loss: Any, brier: Any, p: Any) -> None:
    if what == LOGITS:
        score_logits(x, y, loss, brier, p)
    else:
        score_probabilities(x, y, loss, brier, p)


def is_known(x: Any) -> Any:
    unknown = 0.0
    for i in range(x.size):
        unknown = accumulate(unknown, select(x[i] == x[i], 0.0, 1.0))
    return unknown == 0.0


def score_row(x: Any, y: Any, threshold: Any, loss: Any, brier: Any, out: Any) -> None:
    """What needs no order."""
    losses = squares = wrong = 0.0
    for i in range(x.size):
        losses = accumulate(losses, loss[i])
        squares = accumulate(squares, brier[i])
        wrong = accumulate(wrong, select((x[i] >= threshold) == (y[i] != 0.0), 0.0, 1.0))
    m = np.float64(x.size)
    out[1], out[2], out[3] = losses / m, squares / m, wrong / m
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
