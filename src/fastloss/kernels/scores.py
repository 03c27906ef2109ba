"""Scores of rows of logits x with class ids y: what is found out beside the loss, in the same pass.

With m the largest logit, g_j = (m - x_j) / temperature, e_j = exp(-g_j), S = sum of e_j and
p_j = e_j / S, everything follows from a few sums over the classes:

    loss         = g_y + log(S)
    log-sum-exp  = m / temperature + log(S)
    confidence   = 1 / S
    entropy      = log(S) + sum of p_j g_j
    Brier score  = sum of (p_j - [j = y])^2 = (sum of p_j^2 over j != y) + (1 - p_y)^2
    slope        = g_y - sum of p_j g_j
    spread       = sum of p_j g_j^2 - (sum of p_j g_j)^2

Slope and spread are the first two derivatives of the loss with respect to b = 1 / temperature, times
b and b^2. The rank of y is the number of classes that stand before it when they are sorted by their
logits, the lower class id first where those are equal.

The sums leave out the largest logits, whose e is 1: so all of it keeps its digits when the model is
confident, as the loss does.
"""

from typing import Any, NamedTuple

import numpy as np

from .bits import select, window
from .form import Form, Function, Scores
from .rowwise import GROUP
from .scalar import exp_of_minus, log1p
from .softmax import Variant


class Moments(NamedTuple):
    """What the rows of a group add up to besides `Sums`: arrays with room for GROUP rows."""

    squares: Any  # the sum of e_j^2 over x_j < m
    gaps: Any  # the sum of e_j g_j
    square_gaps: Any  # the sum of e_j g_j^2
    ranks: Any
    predictions: Any  # the first class whose logit is m


def moments_in(doubles: Any) -> Any:
    """They lie behind the two runs of `Sums`."""
    return Moments(
        window(doubles, 2 * GROUP, GROUP),
        window(doubles, 3 * GROUP, GROUP),
        window(doubles, 4 * GROUP, GROUP),
        window(doubles, 5 * GROUP, GROUP),
        window(doubles, 6 * GROUP, GROUP),
    )


def moment_terms(exp_j: Any, gap: Any) -> Any:
    """What a class adds to the first three; an exponential of 0 takes nothing of any gap."""
    zero = exp_j - exp_j
    weighed = select(exp_j == zero, zero, exp_j * gap)
    return exp_j * exp_j, weighed, select(exp_j == zero, zero, weighed * gap)


def scorer(form: Form, variant: Variant) -> Function:
    """The function that writes the scores of a group, when all sums are known."""
    capped, tempered = variant.capped, variant.tempered
    n_scores = form.n_results
    double, nan = np.float64, np.nan

    def write(scores: Any, out: Any, start: Any) -> None:
        for i in range(n_scores):
            out[start + i] = scores[i]

    def score(o: Any, sums: Any, moments: Any, rows: Any, n_rows: Any) -> None:
        for r in range(n_rows):
            loss, weight = rows.losses[r], rows.weights[r]
            at = r * n_scores
            if loss != loss:
                write(Scores(nan, nan, nan, nan, nan, nan, nan, nan, nan, weight), rows.scores, at)
                continue
            largest = double(sums.capped[r] if capped else sums.largest[r])
            gap, rest = sums.gaps[r], double(sums.rest[r])
            if tempered:
                largest, gap = largest * o.inverse_temperature, gap * o.inverse_temperature
            inverse = 1.0 / (1.0 + rest)
            log_sum = log1p(rest)
            mean_gap = moments.gaps[r] * inverse
            # The classes that are not the label: all maxima but one, or all, and less the label.
            n_maxima = double(sums.maxima[r])
            miss = rest * inverse
            others = moments.squares[r] + (n_maxima - 1.0)
            if gap != 0.0:
                power, tail = exp_of_minus(gap)
                exp_y = power + tail
                miss = 1.0 - exp_y * inverse
                others = others + (1.0 - exp_y * exp_y)
            scores = Scores(
                loss,
                largest + log_sum,
                inverse,
                log_sum + mean_gap,
                max(others, 0.0) * (inverse * inverse) + miss * miss,
                moments.ranks[r],
                moments.predictions[r],
                gap - mean_gap,
                moments.square_gaps[r] * inverse - mean_gap * mean_gap,
                weight,
            )
            write(scores, rows.scores, at)

    return score
