"""Curves of ranks, thinned to few points without changing their area; calibration by scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...bases.options import check_integer
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels import score_runs as kernel
from ..sums.score_table import ScoreTable
from ..sums.sorted_scores import Steps
from .rank_statistics import Statistic


class Curve(NamedTuple):
    """Points of a curve, and the threshold of each; NaN for a point that is none of the curve."""

    x: Array
    y: Array
    threshold: Array


def _cells(way: Array, edges: Array) -> tuple[Array, Array, Array]:
    """Cells that numbers, in order, fall in, with the first place and the last in each of them.

    A number that is an edge falls in the cell that begins there.
    """
    first, last = np.searchsorted(edges, way[[0, -1]], "right")
    starts = np.append(0, np.searchsorted(way, edges[first:last]))
    ends = np.append(starts[1:], len(way))
    there = ends > starts
    return np.arange(first, last + 1)[there], starts[there], ends[there] - 1


class _Curve(Statistic):
    """A curve of at most n points: all of them if they are no more, else those at ends of cells.

    Cells cut the way along the curve into equal parts. For each there is what lies under the curve
    within it, and the last of its points.
    """

    def __init__(self, n: int, n_cells: int) -> None:
        self.n, self.n_cells = n, n_cells

    def begin(self, table: ScoreTable, negative: float, positive: float) -> None:
        super().begin(table, negative, positive)
        # More cells than rows are never needed.
        self.n_cells = n_cells = max(1, min(self.n_cells, table.n_rows))
        self.points: list[Array] | None = []
        self.n_points = 1
        # Of each cell: how many points it has, the area, x, y and the threshold of the last.
        self.cells = np.zeros((5, n_cells))

    def put(self, steps: Steps, x: Array, y: Array) -> None:
        """Add points, as long as they are few."""
        if self.points is None:
            return
        self.n_points += len(x)
        self.points.append(np.stack([x, y, self.table.scores(steps.keys).astype(np.float64)]))
        if self.n_points > self.n:
            self.points = None

    def put_cells(self, steps: Steps, way: Array, length: float, areas: Array) -> None:
        """Add areas, and how far along the curve each is."""
        cells, starts, ends = _cells(way, np.arange(1, self.n_cells) * (length / self.n_cells))
        self.cells[0, cells] += ends - starts + 1
        self.cells[1, cells] += np.add.reduceat(areas, starts)
        self.cells[2, cells] = steps.negative_so_far[ends]
        self.cells[3, cells] = steps.positive_so_far[ends]
        self.cells[4, cells] = self.table.scores(steps.keys[ends]).astype(np.float64)

    def all_points(self) -> Array | None:
        """x, y and thresholds, if all of them are to be had."""
        return None if self.points is None else np.concatenate([_NONE, *self.points], axis=1)


_NONE = np.empty((3, 0))


class RocCurve(_Curve):
    """The share of positives over that of negatives that are predicted positive, from (0, 0).

    There are at most n points. If the curve has more, every second one of those given is one of
    the curve. Between two of them stands a point within the rectangle that they span, through
    which the area under straight lines is that under the curve, to rounding: the curve between the
    two has some area, and any from the least to the largest is that of a point on the falling
    diagonal.
    """

    def __init__(self, n: int = 1000) -> None:
        super().__init__(_at_least(3, n), (n - 1) // 2)

    def add(self, steps: Steps) -> None:
        if not self.has_both:
            return
        x, y = steps.negative_so_far / self.negative, steps.positive_so_far / self.positive
        self.put(steps, x, y)
        self.put_cells(steps, x + y, 2.0, steps.negative * steps.twice_above)

    def result(self) -> Curve:
        """Empty where a class is absent."""
        start = np.array([[0.0], [0.0], [math.inf]])
        points = self.all_points()
        if not self.has_both:
            return Curve(*_NONE)
        if points is not None:
            return Curve(*np.concatenate([start, points], axis=1))
        n, areas, *last = self.cells[:, self.cells[0] > 0]
        area = areas / (2 * self.negative) / self.positive
        scale = np.array([[self.negative], [self.positive], [1.0]])
        ends = np.concatenate([start, last / scale], axis=1)
        (x0, y0), (x, y) = ends[:2, :-1], ends[:2, 1:]
        width, height = x - x0, y - y0
        with np.errstate(divide="ignore", invalid="ignore"):
            along = np.clip((y * width - area) / (width * height), 0.0, 1.0)
        # Rounding must not leave the rectangle.
        across = np.minimum(x0 + along * width, x)
        between = np.stack([across, np.maximum(y - along * height, y0), np.full(len(x), np.nan)])
        # A straight piece needs no point between.
        needed = (n > 1) & (width * height > 0)
        both = np.stack([between, ends[:, 1:]], axis=2).reshape(3, -1)
        kept = np.stack([needed, np.full(len(x), True)], axis=1).reshape(-1)
        return Curve(*np.concatenate([start, both[:, kept]], axis=1))


class PrecisionRecallCurve(_Curve):
    """Precision over recall, as steps: y[i] is the precision from x[i - 1], at first 0, to x[i].

    There are at most n points. If more thresholds find positives, y is the mean of precisions over
    that part of recall: the area under the steps is always the average precision.
    """

    def __init__(self, n: int = 1000) -> None:
        super().__init__(_at_least(1, n), n)

    def add(self, steps: Steps) -> None:
        if not self.positive > 0:
            return
        if self.points is not None:
            found = steps.some(np.flatnonzero(steps.positive))
            self.put(found, found.positive_so_far / self.positive, found.precision)
        # The way is that before a step: steps that find nothing do not begin a cell.
        self.put_cells(steps, steps.positive_above, self.positive, steps.positive * steps.precision)

    def result(self) -> Curve:
        """Empty without positives."""
        points = self.all_points()
        if not self.positive > 0:
            return Curve(*_NONE)
        if points is not None:
            return Curve(*points)
        _, area, _, true, threshold = self.cells[:, self.cells[1] > 0]
        precision = np.minimum(area / np.diff(true, prepend=0.0), 1.0)
        return Curve(true / self.positive, precision, threshold)


def _at_least(least: int, n: int) -> int:
    check_integer("n", n)
    if n < least:
        raise ValueError(f"n must be {least} or more, got {n}")
    return n


class MassBins(NamedTuple):
    """Bins of scores, ascending: arrays of one number for each."""

    lowest: Array
    highest: Array
    negative: Array
    positive: Array
    probability: Array  # the mean of what is predicted


class EqualMassBins(Statistic):
    """At most n bins of about equal weight; rows of one score are never in two.

    A score belongs to the bin in which the middle of its weight falls; a bin without any is left
    out. `probability` makes probabilities of an array of scores.
    """

    def __init__(self, n: int, probability: Callable[[Array], Array] | None = None) -> None:
        self.n, self.probability = _at_least(1, n), probability

    def begin(self, table: ScoreTable, negative: float, positive: float) -> None:
        super().begin(table, negative, positive)
        # The sums by bin, from the highest down: of negatives, positives, and probabilities.
        self.sums = np.zeros((3, self.n))
        if self.probability is None:
            self.sums[2] = np.nan
        self.lowest, self.highest = np.full((2, self.n), np.nan)

    def add(self, steps: Steps) -> None:
        weight = self.negative + self.positive
        above = np.append(steps.negative_above[0] + steps.positive_above[0], steps.so_far[:-1])
        edges = np.arange(1, self.n) * (2 * weight / self.n)
        bins, starts, ends = _cells(above + steps.so_far, edges)
        of_bins = [steps.negative, steps.positive]
        if self.probability is not None:
            scores = self.table.scores(steps.keys).astype(np.float64)
            of_bins.append((steps.negative + steps.positive) * self.probability(scores))
        for sums, numbers in zip(self.sums, of_bins, strict=False):
            sums[bins] += np.add.reduceat(numbers, starts)
        highest = self.table.scores(steps.keys[starts]).astype(np.float64)
        self.highest[bins] = np.fmax(self.highest[bins], highest)
        self.lowest[bins] = self.table.scores(steps.keys[ends])

    def result(self) -> MassBins:
        negative, positive, predicted = self.sums[:, ::-1]
        with np.errstate(invalid="ignore"):
            means = predicted / (negative + positive)
        bins = self.lowest[::-1], self.highest[::-1], negative, positive, means
        kept = negative + positive > 0
        return MassBins(*(part[kept] for part in bins))


class Isotonic(Statistic):
    """The Brier score of the best probabilities that do not fall where scores rise.

    They are the shares of positives in pools of neighbouring scores, and of a pool of weights n and
    p the sum of (y - p / (n + p))^2 is n p / (n + p).
    """

    def __init__(self) -> None:
        self.size = np.zeros(1, np.int64)
        self.pools = np.zeros((2, 0))

    def add(self, steps: Steps) -> None:
        needed = int(self.size[0]) + len(steps.keys)
        if needed > self.pools.shape[1]:
            pools = np.empty((2, 2 * needed))
            pools[:, : self.pools.shape[1]] = self.pools
            self.pools = pools
        _pool()(steps.negative, steps.positive, self.size, *self.pools)

    def result(self) -> float:
        """NaN without rows."""
        negative, positive = self.pools[:, : self.size[0]]
        weight = self.negative + self.positive
        if not weight > 0:
            return math.nan
        return float((negative * positive / (negative + positive)).sum() / weight)


@cache
def _pool() -> Any:
    """The compiled loop, which writes into nothing but its last arguments."""
    numbers = np.empty(0)
    examples = numbers, numbers, np.empty(0, np.int64), numbers, numbers
    return compiler().load_or_compile(kernel.pool, examples)


class Decomposition(NamedTuple):
    """A Brier score is miscalibration - discrimination + uncertainty."""

    miscalibration: float
    discrimination: float
    uncertainty: float


def decomposition(table: ScoreTable, brier: float, isotonic: float) -> Decomposition:
    """The parts of a Brier score, where `isotonic` is what `Isotonic` found.

    Uncertainty is the Brier score of the share of positives, predicted for every row.
    Discrimination is what the best monotone function of the score gains on it, and miscalibration
    what is lost by not using that function.

    Source: T. Dimitriadis, T. Gneiting, A. I. Jordan, Stable reliability diagrams for probabilistic
    classifiers (2021).
    """
    negative, positive = table.weights
    weight = negative + positive
    uncertainty = negative / weight * (positive / weight) if weight > 0 else math.nan
    return Decomposition(brier - isotonic, uncertainty - isotonic, uncertainty)
