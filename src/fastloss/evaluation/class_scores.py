"""What is known of each class, and what follows for all: precision and recall, kappa, MCC."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..call.arrays import Array
from .means import Means
from .result import Result
from .sums.table import Table, least


class ClassScores(Means):
    """Means over the rows of each class of labels, and how its predictions are.

    A class without rows has a recall of NaN, one that is never predicted a precision of NaN, and
    one that is neither an F1 of NaN.
    """

    key = "class"

    def __init__(self, table: Table, predictions: Table, n_classes: int, exponent: int) -> None:
        super().__init__(table, n_classes, exponent)
        self._predictions = predictions

    @property
    def recall(self) -> Array:
        """The share of rows of a class that are predicted as it: its accuracy, by another name."""
        return self.accuracy

    @property
    def predicted_weight(self) -> Array:
        """The sum of the weights of rows that are predicted as this class."""
        table, predicted = self._predictions, np.zeros(len(self))
        with np.errstate(all="ignore"):
            predicted[table.ids] = np.ldexp(table.weights(), self._exponent)
        return predicted

    @property
    def precision(self) -> Array:
        """The share of rows that are predicted as a class whose label it is."""
        counts = self.counts
        return _ratio(counts.correct, counts.predicted)

    @property
    def f1(self) -> Array:
        """2 c / (t + p), of the weights that are correct, of this label, and predicted as it."""
        counts = self.counts
        return _ratio(2 * counts.correct, counts.true + counts.predicted)

    @cached_property
    def n_absent(self) -> int:
        """How many classes are neither labels nor predictions."""
        return int(np.count_nonzero(~self.counts.present))

    @cached_property
    def counts(self) -> "Counts":
        """The weights of the classes times one scale, at which they are exact."""
        terms, predictions = self.terms, self._predictions
        scale = least(np.append(terms.scale, predictions.high[:, -1]))
        true, predicted, correct = np.zeros((3, len(self)))
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(terms.n > 0, scale / terms.scale, 0.0)
            true[self._table.ids] = terms.weight * factor
            correct[self._table.ids] = terms.correct * factor
            predicted[predictions.ids] = predictions.weights(scale)
        unknown = max(true.sum() - predicted.sum(), 0.0) if terms.n_undefined.any() else 0.0
        return Counts(true, predicted, correct, float(unknown))


ClassScores.names = (*Means.names, "recall", "predicted_weight", "precision", "f1")


def _ratio(numerator: Array, denominator: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Array = numerator / denominator
    return ratio


@dataclass(frozen=True, eq=False)
class Average(Result):
    """Precision, recall and F1, averaged over classes."""

    precision: float
    recall: float
    f1: float


_NONE = Average(math.nan, math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Counts:
    """The weight of the rows whose label is each class, that are predicted as it, and both."""

    true: Array
    predicted: Array
    correct: Array
    unknown: float  # the weight of rows without a prediction, as of those with NaN

    @cached_property
    def present(self) -> Array:
        """Which classes occur, among labels or predictions."""
        occurs: Array = self.true + self.predicted > 0
        return occurs

    @cached_property
    def of_each(self) -> Array:
        """Precision, recall and F1 of the classes that occur; 0 for 0 / 0, as in scikit-learn."""
        t, p, c = (each[self.present] for each in (self.true, self.predicted, self.correct))
        return np.stack([c / np.where(p > 0, p, 1.0), c / np.where(t > 0, t, 1.0), 2 * c / (t + p)])

    def macro(self) -> Average:
        """The mean over the classes that occur."""
        return Average(*self.of_each.mean(axis=1).tolist()) if self.present.any() else _NONE

    def weighted(self) -> Average:
        """The mean over the classes, each of the weight of its labels."""
        t = self.true[self.present]
        return Average(*(self.of_each @ t / t.sum()).tolist()) if t.any() else _NONE

    def micro(self) -> Average:
        """Those of all classes thrown together: the accuracy, if all rows have a prediction."""
        t, p, c = (float(each.sum()) for each in (self.true, self.predicted, self.correct))
        if t == 0:
            return _NONE
        return Average(c / p if p else math.nan, c / t, 2 * c / (t + p))

    @cached_property
    def agreement(self) -> tuple[float, float]:
        """Cohen's kappa, and Matthews' correlation coefficient (MCC).

        With S the sum of the weights, C that of those that are correct, and t and p the weights of
        labels and predictions,

            kappa = (C S - t.p) / (S^2 - t.p)
            MCC   = (C S - t.p) / sqrt((S^2 - p.p) (S^2 - t.t))

        NaN where a denominator is 0. Rows without a prediction count as predicted to be of another
        class, which is no label. Each difference is the sum over the classes of what does not
        cancel where one class has nearly all rows: of c_k (S - t_k - p_k + c_k) less
        (t_k - c_k) (p_k - c_k), of t_k (S - p_k), and of p_k (S - p_k).

        Sources: J. Cohen, A coefficient of agreement for nominal scales (1960); J. Gorodkin,
        Comparing two K-category assignments by a K-category correlation coefficient (2004).
        """
        t, p, c, unknown = self.true, self.predicted, self.correct, self.unknown
        whole = float(t.sum())
        covariance = float((c * (whole - t - p + c) - (t - c) * (p - c)).sum())
        apart = float((t * (whole - p)).sum())
        spread = float((p * (whole - p)).sum()) + unknown * (whole - unknown)
        root = math.sqrt(float((t * (whole - t)).sum())) * math.sqrt(max(spread, 0.0))
        return (
            covariance / apart if apart else math.nan,
            covariance / root if root else math.nan,
        )
