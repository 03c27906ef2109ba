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

Slope and spread are the first two derivatives of the loss with respect to b = 1 / temperature,
times b and b^2. The rank of y is the number of classes that stand before it when they are sorted by
their logits, the lower class id first where those are equal.

The sums leave out the largest logits, whose e is 1: so all of it keeps its digits when the model is
confident, as the loss does.
"""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import disjoint, select, window, windows
from ..form import Form, Function, RowScores
from ..row_groups import GROUP, N_MOMENTS
from ..scalar import exp_of_minus, gap_in_reach
from .formulas import RUN, Variant


class Moments(NamedTuple):
    """What the rows of a group add up to besides `Sums`: arrays with room for GROUP rows."""

    squares: Any  # the sum of e_j^2 over x_j < m
    gaps: Any  # the sum of e_j g_j
    square_gaps: Any  # the sum of e_j g_j^2
    ranks: Any
    predictions: Any  # the first class whose logit is m


def moments_in(numbers: Any, start: Any) -> Any:
    place = window(numbers, start, N_MOMENTS * GROUP)
    return Moments(*windows(place, GROUP, N_MOMENTS))


def moment_terms(number: Any) -> Function:
    zero = number(0)

    def terms(exp_j: Any, gap: Any, is_largest: Any) -> Any:
        """What a class adds to the first three moments, the second with a minus.

        `exp_j` is lifted, and so are these. The largest adds nothing, though its gap may be
        inf - inf, nor does the gap of -inf.
        """
        gap = gap_in_reach(gap)
        square, weighed = exp_j * exp_j, exp_j * gap
        return (
            select(is_largest, zero, square),
            select(is_largest, zero, weighed),
            select(is_largest, zero, weighed * gap),
        )

    return terms


def scorer(form: Form, variant: Variant) -> Function:
    """The function that writes the scores of a group, when all sums are known."""
    capped, tempered = variant.capped, variant.tempered
    n_scores, with_spread = form.n_results, form.with_spread
    number, double, nan = form.number, np.float64, np.nan

    start = (2 + N_MOMENTS) * GROUP

    def columns_in(doubles: Any) -> Any:
        return RowScores(*windows(window(doubles, start, n_scores * GROUP), GROUP, n_scores))

    def score(o: Any, sums: Any, moments: Any, rows: Any, n_rows: Any) -> None:
        n = (n_rows + (RUN - 1)) & -RUN
        columns = columns_in(rows.doubles)
        score_all(o, sums, moments, rows.losses, rows.weights, columns, n)
        write_rows(window(rows.doubles, start, n_scores * GROUP), rows.scores, n_rows)

    def write_rows(columns: Any, scores_out: Any, n_rows: Any) -> None:
        disjoint()
        for r in range(n_rows):
            for i in range(n_scores):
                scores_out[r * n_scores + i] = columns[i * GROUP + r]

    def score_all(
        o: Any, sums: Any, moments: Any, losses: Any, weights: Any, columns: Any, n: Any
    ) -> None:
        """All that is done once for a row, with SIMD over the group."""
        disjoint()
        for r in range(n):
            largest = double(sums.capped[r] if capped else sums.largest[r])
            gap, rest, log_sum = sums.gaps[r], double(sums.rest[r]), double(sums.log_sums[r])
            if tempered:
                largest, gap = largest * o.inverse_temperature, gap * o.inverse_temperature
            inverse = 1.0 / (1.0 + rest)
            mean_gap = double(moments.gaps[r]) * inverse
            # The classes that are not the label: of the largest all but one; or all, and of the
            # others all but the label.
            power, tail = exp_of_minus(number(gap))
            exp_y = double(power) + double(tail)
            right = gap == 0.0
            miss = select(right, rest * inverse, 1.0 - exp_y * inverse)
            others = double(moments.squares[r]) + (double(sums.maxima[r]) - 1.0)
            others = others + select(right, 0.0, 1.0 - exp_y * exp_y)
            others = select(others < 0.0, 0.0, others)
            loss = losses[r]
            known = loss == loss
            columns.loss[r] = loss
            columns.log_sum_exp[r] = select(known, largest + log_sum, nan)
            columns.confidence[r] = inverse
            columns.entropy[r] = select(known, log_sum + mean_gap, nan)
            columns.brier[r] = select(known, others * (inverse * inverse) + miss * miss, nan)
            columns.rank[r] = select(known, double(moments.ranks[r]), nan)
            columns.prediction[r] = select(known, double(moments.predictions[r]), nan)
            columns.slope[r] = select(known, gap - mean_gap, nan)
            spread = 0.0
            if with_spread:
                spread = double(moments.square_gaps[r]) * inverse - mean_gap * mean_gap
            columns.spread[r] = select(known, spread, nan)
            columns.weight[r] = weights[r]

    return score
