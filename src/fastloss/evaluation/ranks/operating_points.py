"""What is predicted at a threshold, which one is best, and the rows with the highest scores."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array, as_array, format_of
from ..sums.score_table import ScoreTable
from ..sums.sorted_scores import Steps
from .confusion import Confusion, squared
from .rank_statistics import Statistic


def confusion(table: ScoreTable, threshold: Any) -> Confusion:
    """The rows of which the score is at least a threshold, or each of an array of them.

    Scores and thresholds are compared as real numbers. With `bins`, a threshold within a bin is
    the lower end of the next one. Raises ValueError for NaN.
    """
    given = _numbers("threshold", threshold)
    thresholds = given.reshape(-1)
    if np.isnan(thresholds).any():
        raise ValueError("threshold is NaN, which no score is above or below: give a number")
    keys = table.form.least_keys(thresholds)
    negative, positive = table.weights
    false, true = table.at_least(keys)
    with np.errstate(over="ignore"):
        found = [each / table.scale for each in (true, false, positive - true, negative - false)]
    return Confusion(
        *(each.reshape(given.shape) if given.ndim else float(each[0]) for each in found)
    )


class Point(NamedTuple):
    """A threshold, and what it is chosen for."""

    threshold: float
    value: float


class _Choice(Statistic):
    """The highest threshold at which something is best."""

    def __init__(self) -> None:
        self.threshold = self.value = math.nan

    def choose(self, steps: Steps, place: int, value: Any) -> None:
        self.threshold = float(self.table.scores(steps.keys[place : place + 1])[0])
        self.value = float(value)

    def result(self) -> Point:
        return Point(self.threshold, self.value)


class BestF(_Choice):
    """The largest F-beta; see `Confusion.f`. NaN without positives.

    >>> from fastloss.evaluation.ranks.rank_statistics import read
    >>> table = ScoreTable.of([0, 1, 0, 1], [0.1, 0.25, 0.5, 0.75])
    >>> read(table, BestF())
    [Point(threshold=0.25, value=0.8)]
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.square = squared(beta)

    def add(self, steps: Steps) -> None:
        if not self.positive > 0:
            return
        # TP + FN is that of all positives.
        values = steps.positive_so_far / (steps.so_far + self.square * self.positive)
        place = int(values.argmax())
        value = (1.0 + self.square) * values[place]
        if not value <= self.value:
            self.choose(steps, place, value)


class SensitivityAt(_Choice):
    """The largest share of positives that is found at a specificity of at least so much."""

    def __init__(self, specificity: float) -> None:
        super().__init__()
        self.specificity = float(_shares("specificity", specificity))

    def begin(self, table: ScoreTable, negative: float, positive: float) -> None:
        super().begin(table, negative, positive)
        if self.has_both:
            # Where nothing is predicted positive.
            self.threshold, self.value = math.inf, 0.0

    def add(self, steps: Steps) -> None:
        if not self.has_both or self._specificity(steps.negative_so_far[:1]) < self.specificity:
            return
        n = np.count_nonzero(self._specificity(steps.negative_so_far) >= self.specificity)
        most = steps.positive_so_far[n - 1]
        if most / self.positive > self.value:
            place = int(np.searchsorted(steps.positive_so_far, most))
            self.choose(steps, place, most / self.positive)

    def _specificity(self, false: Array) -> Any:
        return (self.negative - false) / self.negative


class FalsePositivesAt(_Choice):
    """The smallest share of negatives that is predicted positive at a sensitivity of at least so
    much.
    """

    def __init__(self, sensitivity: float = 0.95) -> None:
        super().__init__()
        self.sensitivity = float(_shares("sensitivity", sensitivity))

    def add(self, steps: Steps) -> None:
        if not self.has_both or not math.isnan(self.value):
            return
        if steps.positive_so_far[-1] / self.positive >= self.sensitivity:
            place = int((steps.positive_so_far / self.positive >= self.sensitivity).argmax())
            self.choose(steps, place, steps.negative_so_far[place] / self.negative)


def _numbers(name: str, given: Any) -> Array:
    numbers = as_array(given, name)
    format_of(numbers, name)
    return numbers.astype(np.float64)


def _shares(name: str, given: Any, most_axes: int = 0) -> Array:
    shares = _numbers(name, given)
    if shares.ndim > most_axes:
        raise ValueError(
            f"{name} has shape {shares.shape}, but must be a number{' or a list' * most_axes}"
        )
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"{name} must lie between 0 and 1, got {given}")
    return shares


class Gain(NamedTuple):
    """Arrays: a share of all rows, that of positives among them, and the ratio of both."""

    share: Array
    gain: Array
    lift: Array


class _Along(Statistic):
    """What is looked up at shares of all rows, counted from the highest score down."""

    def __init__(self, shares: Any) -> None:
        self.shares = np.atleast_1d(_shares("shares", shares, 1))

    @property
    def weight(self) -> float:
        return self.negative + self.positive


class Gains(_Along):
    """The share of positives among the rows with the highest scores: cumulative gain, and lift.

    Of rows with equal scores at the edge, positives and negatives count in proportion.
    """

    def begin(self, table: ScoreTable, negative: float, positive: float) -> None:
        super().begin(table, negative, positive)
        self.found = np.zeros(len(self.shares))

    def add(self, steps: Steps) -> None:
        weights = np.insert(steps.so_far, 0, steps.negative_above[0] + steps.positive_above[0])
        found = np.insert(steps.positive_so_far, 0, steps.positive_above[0])
        wanted = self.shares * self.weight
        here = wanted > weights[0]
        self.found[here] = np.interp(wanted[here], weights, found)

    def result(self) -> Gain:
        gain = self.found / self.positive if self.positive > 0 else np.full(len(self.found), np.nan)
        with np.errstate(invalid="ignore"):
            return Gain(self.shares, gain, gain / self.shares)


class Quantiles(_Along):
    """Quantiles of the scores of all rows: of 0.5 the median, the mean of two in the middle.

    Each is the mean of the least score that at least such a share does not exceed, and the largest
    one that at least the rest does not fall below.
    """

    def begin(self, table: ScoreTable, negative: float, positive: float) -> None:
        super().begin(table, negative, positive)
        self.found = np.full((2, len(self.shares)), np.nan)
        self.last = math.nan

    def add(self, steps: Steps) -> None:
        scores = self.table.scores(steps.keys).astype(np.float64)
        wanted = self.weight - self.shares * self.weight
        for found, side in zip(self.found, ("left", "right"), strict=True):
            places = np.searchsorted(steps.so_far, wanted, side)  # type: ignore[call-overload]
            here = np.isnan(found) & (places < len(steps.keys))
            found[here] = scores[places[here]]
        self.last = float(scores[-1])

    @property
    def around(self) -> Array:
        """The two scores, of each quantile, that it is the mean of: of shape (2, quantiles)."""
        both: Array = np.where(np.isnan(self.found), self.last, self.found)
        return both

    def result(self) -> Array:
        upper, lower = self.around
        with np.errstate(invalid="ignore"):
            middle: Array = np.where(upper == lower, upper, upper / 2 + lower / 2)
        return middle
