"""Right and wrong decisions of two classes, and what is made of their four numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...bases.options import check_number


def ratio(a: Any, b: Any) -> Any:
    """a / b; NaN where b is 0. A number of numbers, an array of arrays."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(np.equal(b, 0), np.nan, np.divide(a, b))
    return found if found.ndim else float(found)


def squared(beta: float) -> float:
    """The square of how much more recall counts than precision."""
    check_number("beta", beta, 0.0, 1e150)
    return float(beta) * float(beta)


class Confusion(NamedTuple):
    """Rows, or weights, by what they are and what they are predicted to be: numbers or arrays.

    What is a ratio is NaN where its denominator is 0.

    >>> found = Confusion(3.0, 1.0, 2.0, 4.0)
    >>> found.precision, found.recall, found.specificity, round(found.mcc, 6)
    (0.75, 0.6, 0.8, 0.408248)

    Sources: B. W. Matthews, Comparison of the predicted and observed secondary structure of T4
    phage lysozyme (1975); J. Cohen, A coefficient of agreement for nominal scales (1960).
    """

    true_positive: Any
    false_positive: Any
    false_negative: Any
    true_negative: Any

    @property
    def accuracy(self) -> Any:
        """The share of rows that are predicted as labelled."""
        return ratio(self.true_positive + self.true_negative, sum(self))

    @property
    def precision(self) -> Any:
        """The share of label 1 among rows that are predicted positive."""
        return ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> Any:
        """The share of rows of label 1 that are predicted positive: sensitivity, TPR."""
        return ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> Any:
        """The share of rows of label 0 that are predicted negative."""
        return ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def balanced_accuracy(self) -> Any:
        """The mean of recall and specificity."""
        return (self.recall + self.specificity) / 2

    @property
    def f1(self) -> Any:
        """The harmonic mean of precision and recall."""
        return self.f(1.0)

    def f(self, beta: float = 1.0) -> Any:
        """(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)."""
        square = squared(beta)
        right = (1 + square) * self.true_positive
        return ratio(right, right + square * self.false_negative + self.false_positive)

    @property
    def mcc(self) -> Any:
        """Matthews' coefficient, the correlation of labels and predictions."""
        tp, fp, fn, tn = self._shares
        sizes = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
        return ratio(tp * tn - fp * fn, sizes)

    @property
    def kappa(self) -> Any:
        """Cohen's kappa, the agreement of labels and predictions beyond that of chance."""
        tp, fp, fn, tn = self._shares
        return ratio(2 * (tp * tn - fn * fp), (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn))

    @property
    def _shares(self) -> Any:
        """Of all, so that products neither overflow nor vanish."""
        total = sum(self)
        return [ratio(each, total) for each in self]
