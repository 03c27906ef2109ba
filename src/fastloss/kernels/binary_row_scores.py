"""What is found of each row of two classes: its loss, (p - y)^2, whether it is decided rightly."""

from typing import Any

from ..compiler.bits import select, smaller, window, windows
from .binary_losses import LOGITS, score_logits, score_probabilities
from .binary_rows import Rows, read_rows
from .binary_terms import CHUNK, LANES

N_BINARY_ROW_SCORES = 3
SCRATCH = 6 * CHUNK


def score_binary_rows(
    labels: Any, scores: Any, what: Any, threshold: Any, scratch: Any, out: Any
) -> None:
    """Write the numbers of each row one behind the other; of a score that is NaN they are NaN.

    `labels` are 0 and 1, `scores` LOGITS or PROBABILITIES, as `what` says; at and above the
    threshold the decision is 1. There are SCRATCH numbers of `scratch`.
    """
    x, y, w, loss, brier, p = windows(scratch, CHUNK, 6)
    for start in range(0, labels.size, CHUNK):
        n = smaller(labels.size - start, CHUNK)
        none = window(scores, 0, 0)
        rows = Rows(window(labels, start, n), none, window(scores, start, n), none)
        read_rows(rows, 1.0, x, y, w)
        # As many at a time as sums take, so that bits do not depend on where a row stands.
        here = window(x, 0, (n + LANES - 1) // LANES * LANES)
        if what == LOGITS:
            score_logits(here, y, loss, brier, p)
        else:
            score_probabilities(here, y, loss, brier, p)
        for i in range(n):
            place = N_BINARY_ROW_SCORES * (start + i)
            right = select((x[i] >= threshold) == (y[i] == 1.0), 1.0, 0.0)
            out[place], out[place + 1] = loss[i], brier[i]
            out[place + 2] = right if x[i] == x[i] else x[i]
