"""How far an area under the ROC curve may be off where rows belong together, cluster by cluster."""

import math
from collections.abc import Callable

import numpy as np

from ...call.arrays import Array
from ..sums.grouped_scores import GroupedScores
from ..sums.score_keys import FLOAT64
from ..sums.score_table import ScoreTable
from ..sums.sorted_scores import Run, scaled, sums_before
from ..sums.table import places_of

_BLOCK = 1 << 18  # rows that are looked at at a time


def clustered_error(table: ScoreTable, rows: GroupedScores, clusters: Array) -> float:
    """The standard error of the AUC of a table, whose rows are given with their clusters.

    The placement of a positive row is the share of the weight of negatives below it, and that of a
    negative one the share of positives above, ties as one half. Both have the mean A, the area. A
    cluster moves the area by the sums over its rows of weight w

        d = sum over positives of w (placement - A) / P,
        e = sum over negatives of w (placement - A) / N,

    where P and N are the weights of all. With K clusters, of which K_p have positives and K_n
    negatives, the variance is the sum over clusters of

        K_p / (K_p - 1) d^2 + K_n / (K_n - 1) e^2 + 2 K / (K - 1) d e.

    If each cluster is one row, that is DeLong's. NaN where one of K_p, K_n and K is below 2.

    Source: N. A. Obuchowski, Nonparametric analysis of clustered ROC curve data (1997).
    """
    table = table.in_runs()
    negative, positive = table.weights
    if not (negative > 0 and positive > 0):
        return math.nan
    below = [_twice_below(run) for run in table.both()]
    # By cluster: of positives the sum of 2 N w (placement - 1/2) and that of w, and of negatives
    # alike. Whole numbers are added up without rounding.
    sums = np.zeros((4, len(clusters)))
    for run in rows.runs:
        for start in range(0, run.size, _BLOCK):
            part = run.chosen(np.s_[start : start + _BLOCK])
            part = part.chosen(part.keys != FLOAT64.nan)
            for i, (label, others) in enumerate(((1, negative), (0, positive))):
                alike = part.chosen(part.positive == label)
                away = below[i](table.form.keys(FLOAT64.scores(alike.keys))) - others
                weights = scaled(alike.weighted().weights, table.scale)
                places = places_of(alike.groups, clusters)
                for j, number in enumerate((weights * (away if label else -away), weights)):
                    sums[2 * i + j] += np.bincount(places, number, len(clusters))
    wins, of_label, losses, of_other = sums
    area = wins.sum() / (2 * negative * positive)  # less 1/2
    moved = wins / (2 * negative * positive) - of_label * (area / positive)
    moved_by_others = losses / (2 * negative * positive) - of_other * (area / negative)
    counts = [np.count_nonzero(each > 0) for each in (of_label, of_other, of_label + of_other)]
    if min(counts) < 2:
        return math.nan
    terms = moved * moved, moved_by_others * moved_by_others, 2 * moved * moved_by_others
    variance = sum(n / (n - 1) * term.sum() for n, term in zip(counts, terms, strict=True))
    return math.sqrt(max(variance, 0.0))


def _twice_below(run: Run) -> Callable[[Array], Array]:
    """Twice the weight of rows with lower keys than some, and once that of rows with the same."""
    sums = sums_before(run.weights, run.room) if run.weights.size else None

    def twice_below(keys: Array) -> Array:
        order = np.argsort(keys)  # what is looked up in order is found in the caches
        ends = [np.searchsorted(run.keys, keys[order], side) for side in ("left", "right")]
        found = np.empty(len(keys))
        found[order] = sum(ends) if sums is None else sum(sums[end] for end in ends)
        return found

    return twice_below
