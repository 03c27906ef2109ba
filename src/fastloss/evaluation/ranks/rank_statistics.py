"""What follows from the order of scores, in one reading of them, and the areas under curves.

    areas, best = read(table, Areas(), BestF())

A statistic is told of the distinct scores of a `ScoreTable`, from the highest down, block by block.
Equal scores are one threshold, and a row is predicted positive if its score is at least the
threshold. Where a class is absent, or nothing has a score, what needs it is NaN: the average
precision needs positives alone, and without negatives is 1, as in scikit-learn. Others are in
`operating_points.py` and `rank_curves.py`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from ..sums.score_table import ScoreTable
from ..sums.sorted_scores import Steps


class Statistic(ABC):
    """What is found out from the distinct scores of a table."""

    table: ScoreTable
    # The weights of all negatives and positives.
    negative: float
    positive: float

    def begin(self, table: ScoreTable, negative: float, positive: float) -> None:
        if hasattr(self, "table"):
            raise RuntimeError("a statistic keeps what it found of one table: make another")
        self.table, self.negative, self.positive = table, negative, positive

    @abstractmethod
    def add(self, steps: Steps) -> None:
        """The next distinct scores, at least one."""

    @abstractmethod
    def result(self) -> Any: ...

    @property
    def has_both(self) -> bool:
        return self.negative > 0 and self.positive > 0


def read(table: ScoreTable, *statistics: Statistic) -> list[Any]:
    """The result of each statistic. A table is read once, however many there are."""
    table = table.settled()
    weights = table.weights
    for statistic in statistics:
        statistic.begin(table, *weights)
    for steps in table.steps():
        for statistic in statistics:
            statistic.add(steps)
    return [statistic.result() for statistic in statistics]


Interval = tuple[float, float]


class Summary(NamedTuple):
    """What one reading of a table finds. Without `bins` both ends of an interval are the number."""

    auc: float
    auc_standard_error: float  # NaN with weights or bins
    average_precision: float
    ks: float
    ks_threshold: float
    auc_interval: Interval
    average_precision_interval: Interval
    ks_interval: Interval


def summary(table: ScoreTable) -> Summary:
    """What `Areas` finds."""
    found: Summary = read(table, Areas())[0]
    return found


class Areas(Statistic):
    """The areas under both curves, and the largest gap between the two distributions of scores.

    With N_k and P_k the weights of negatives and positives of score k, N and P those of all:

        auc               = sum of P_k (N_<k + N_k / 2) / (P N)
        average_precision = sum of P_k / P * P_>=k / (P_>=k + N_>=k)
        ks                = max over k of |P_>=k / P - N_>=k / N|

    The standard error of the AUC is that of DeLong, for rows without weights: the variance of
    (N_<k + N_k / 2) / N over positives, divided by their number, and that of (P_>k + P_k / 2) / P
    over negatives. With `bins`, the true number lies in the interval whatever the order of rows
    within a bin is; the number itself takes them for ties.

    Source: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more
    correlated receiver operating characteristic curves (1988).

    >>> table = ScoreTable.of(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    >>> summary(table).auc
    0.875
    """

    def __init__(self) -> None:
        # Twice the pairs that are won, with ties as one; and the ties.
        self.wins: list[Any] = []
        self.ties: list[Any] = []
        self.precisions: list[float] = []
        self.bounds: list[tuple[float, float]] = []
        self.of_negatives, self.of_positives = _Spread(), _Spread()
        self.largest, self.ks, self.most_ks, self.key = -1.0, 0.0, 0.0, np.zeros(1)

    def add(self, steps: Steps) -> None:
        if not self.has_both:
            return
        n, p, n_above, _, n_all, p_all = steps[1:]
        self.wins.append(self._dot(n, steps.twice_above))
        self.precisions.append(float((p * steps.precision).sum()))
        # As products, which are exact of counts that are not huge.
        gap = np.abs(p_all * self.negative - n_all * self.positive)
        place = int(gap.argmax())
        if gap[place] > self.largest:
            self.largest, self.key = float(gap[place]), steps.keys[place : place + 1]
            self.ks = abs(float(p_all[place] / self.positive - n_all[place] / self.negative))
        if self.table.bins is not None:
            self._add_bounds(steps)
        elif not self.table.is_weighted:
            self.of_negatives.add(n, steps.twice_above)
            self.of_positives.add(p, n_above + n_all)

    def _add_bounds(self, steps: Steps) -> None:
        """How far each number may be off, as rows of a bin may have any order."""
        n, p, n_above, p_above, n_all, p_all = steps[1:]
        self.ties.append(self._dot(n, p))
        # If all positives of a bin come first; and if they come last, one after the other. Of a
        # concave function the mean is not below the mean of the ends.
        first = p_above + (0.0 if self.table.is_weighted else 1.0)
        with np.errstate(invalid="ignore"):
            best = p_all / (p_all + n_above)
            least = np.where(n_all > 0, first / (first + n_all), 1.0)
        worst = (least + p_all / (p_all + n_all)) / 2
        here = p > 0
        self.bounds.append((float((p * worst)[here].sum()), float((p * best)[here].sum())))
        most = np.maximum(
            p_all / self.positive - n_above / self.negative,
            n_all / self.negative - p_above / self.positive,
        )
        self.most_ks = max(self.most_ks, float(most.max()))

    def _dot(self, a: Array, b: Array) -> Any:
        """The sum of products; of counts it is exact, however large it is."""
        products = float((a * b).sum())
        if self.table.is_weighted:
            return products
        if products < 2.0**53:
            return int(products)  # nothing was rounded
        counts, others = a.astype(np.int64), b.astype(np.int64)
        # A sum of 2**32 rows times 31 bits does not overflow.
        upper, lower = others >> 31, others & (2**31 - 1)
        return (int(counts @ upper) << 31) + int(counts @ lower)

    def result(self) -> Summary:
        if not self.has_both:
            nan = math.nan
            # Where all rows are positive, every precision is 1.
            precision = 1.0 if self.positive > 0 else nan
            both = precision, precision
            return Summary(nan, nan, precision, nan, nan, (nan, nan), both, (nan, nan))
        auc = self._share(sum(self.wins) if not self.table.is_weighted else math.fsum(self.wins))
        average_precision = math.fsum(self.precisions) / self.positive
        threshold = float(self.table.scores(self.key)[0])
        if self.table.bins is None:
            exact = [(number, number) for number in (auc, average_precision, self.ks)]
            return Summary(auc, self._error(), average_precision, self.ks, threshold, *exact)
        wins, ties = (
            math.fsum(each) if self.table.is_weighted else sum(each)
            for each in (self.wins, self.ties)
        )
        low, high = (math.fsum(each) / self.positive for each in zip(*self.bounds, strict=True))
        return Summary(
            auc,
            math.nan,
            average_precision,
            self.ks,
            threshold,
            (self._share(wins - ties), self._share(wins + ties)),
            (low, high),
            (self.ks, self.most_ks),
        )

    def _share(self, wins: Any) -> float:
        """Half of this of all pairs."""
        if self.table.is_weighted:
            return float(wins / self.negative / self.positive / 2)
        # Integers are divided exactly and rounded once.
        return float(wins / (2 * self.table.n_negatives * self.table.n_positives))

    def _error(self) -> float:
        if self.table.is_weighted:
            return math.nan
        n, p = self.negative, self.positive
        of_positives = self.of_positives.variance / (2 * n) ** 2
        of_negatives = self.of_negatives.variance / (2 * p) ** 2
        return math.sqrt(of_positives / p + of_negatives / n)


class _Spread:
    """The variance of numbers that come in parts, each with how often it occurs.

    Source: T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae (1979).
    """

    def __init__(self) -> None:
        self.n = self.mean = self.squares = 0.0

    def add(self, counts: Array, numbers: Array) -> None:
        n = float(counts.sum())
        if not n:
            return
        mean = float((counts * numbers).sum()) / n
        gaps = numbers - mean
        squares = float((counts * gaps * gaps).sum())
        gap, both = mean - self.mean, self.n + n
        self.squares += squares + gap * gap * (self.n * n / both)
        self.mean += gap * (n / both)
        self.n = both

    @property
    def variance(self) -> float:
        return self.squares / (self.n - 1) if self.n > 1 else math.nan
