"""Means over rows of two classes, by key."""

from functools import cached_property
from typing import Any

import numpy as np

from ...call.arrays import Array
from ...kernels.binary_rows import N_TERMS, N_THRESHOLD, SUMS, WEIGHTS, BinaryTerms
from ..ranks.confusion import Confusion, ratio
from ..result import Columns, Result
from ..sums.double_double import divide
from ..sums.grouped_scores import GroupAreas
from ..sums.standard_error import standard_error
from ..sums.table import Table, spread


class BinaryMeans(Columns, Result):
    """Means over the rows of each key, as arrays of one number for each.

    Of rows without a label 1, or 0, or without any, what is not known is NaN. Decisions, from
    `accuracy` to `kappa`, are those at the first threshold; `confusion` has all.
    """

    def __init__(self, table: Table, n_thresholds: int) -> None:
        self._table, self._n_thresholds = table, n_thresholds

    @cached_property
    def _terms(self) -> BinaryTerms:
        return BinaryTerms(*self._table.sums.T[:N_TERMS])

    @cached_property
    def _scale(self) -> Array:
        scales = self._table.high[:, -1]
        return np.where(scales == 0, 1.0, scales)

    @cached_property
    def _means(self) -> tuple[Array, Array]:
        """The mean loss and Brier score, and their standard errors."""
        t, table = self._terms, self._table
        with np.errstate(all="ignore"):
            part = slice(SUMS, SUMS + 2)
            mean = divide((table.high[:, part], table.low[:, part]), table.column(WEIGHTS))
            means = table.sums[:, part] / t.weight[:, np.newaxis]
            errors = standard_error(
                t.n[:, np.newaxis], t.weight[:, np.newaxis], spread(table, mean)
            )
        return means, errors

    def _numbers(self) -> dict[str, Any]:
        return self._columns()

    def _columns(self) -> dict[str, Array]:
        return {name: getattr(self, name) for name in MEANS}

    @property
    def n(self) -> Array:
        """The number of rows of a weight above 0."""
        return np.asarray(self._terms.n, np.int64)

    @property
    def n_undefined(self) -> Array:
        """How many of them have a prediction of NaN."""
        return np.asarray(self._terms.n_undefined, np.int64)

    @property
    def weight(self) -> Array:
        """The sum of the weights."""
        with np.errstate(over="ignore"):
            return np.asarray(self._terms.weight / self._scale)

    @property
    def base_rate(self) -> Array:
        """The share of label 1, among rows whose prediction is known, as all decisions are."""
        return np.asarray(ratio(self._terms.positive, self._terms.known))

    @property
    def loss(self) -> Array:
        """The binary cross-entropy."""
        return self._means[0][:, 0]

    @property
    def loss_standard_error(self) -> Array:
        """The standard error of the mean loss."""
        return self._means[1][:, 0]

    @property
    def normalised_entropy(self) -> Array:
        """The loss, divided by that of predicting the base rate for every row."""
        r = self.base_rate
        with np.errstate(all="ignore"):
            of_base_rate = -(r * np.log(r) + (1 - r) * np.log1p(-r))
        return np.asarray(ratio(self.loss, np.where(of_base_rate > 0, of_base_rate, np.nan)))

    @property
    def brier(self) -> Array:
        """The Brier score, the mean of (p - label)^2."""
        return self._means[0][:, 1]

    @property
    def brier_standard_error(self) -> Array:
        """The standard error of the Brier score."""
        return self._means[1][:, 1]

    @cached_property
    def confusion(self) -> Confusion:
        """Weights by label and decision, arrays of shape (keys, thresholds)."""
        t, scale = self._terms, self._scale[:, np.newaxis]
        true, false, *_ = self._decided
        positive, negative = t.positive[:, np.newaxis], (t.known - t.positive)[:, np.newaxis]
        # Rounding must not make less than nothing.
        missed, right = np.maximum(positive - true, 0.0), np.maximum(negative - false, 0.0)
        with np.errstate(over="ignore"):
            return Confusion(true / scale, false / scale, missed / scale, right / scale)

    @property
    def _decided(self) -> Array:
        """The weights of rows at a threshold or above, and squares, of shape (4, keys, thr.)."""
        columns = self._table.sums[:, N_TERMS:][:, : N_THRESHOLD * self._n_thresholds]
        decided: Array = columns.reshape(-1, self._n_thresholds, N_THRESHOLD).transpose(2, 0, 1)
        return decided

    @cached_property
    def _first(self) -> Confusion:
        return Confusion(*(each[:, 0] for each in self.confusion))

    @property
    def accuracy(self) -> Array:
        """The share of rows that are decided as labelled."""
        return np.asarray(self._first.accuracy)

    @property
    def accuracy_standard_error(self) -> Array:
        """The standard error of the accuracy."""
        t, right = self._terms, self.accuracy
        _, _, of_true, of_false = self._decided[:, :, 0]
        of_right = of_true + (t.squared_known - t.squared_positive - of_false)
        of_wrong = t.squared_known - of_right
        squares = np.maximum(of_right * (1 - right) ** 2 + of_wrong * right**2, 0.0)
        return np.asarray(standard_error(t.n - t.n_undefined, t.known, squares))

    @property
    def balanced_accuracy(self) -> Array:
        """The mean of recall and specificity."""
        return np.asarray(self._first.balanced_accuracy)

    @property
    def precision(self) -> Array:
        """The share of label 1 among the rows decided to be 1."""
        return np.asarray(self._first.precision)

    @property
    def recall(self) -> Array:
        """The share of the rows of label 1 that are decided to be 1."""
        return np.asarray(self._first.recall)

    @property
    def specificity(self) -> Array:
        """The share of the rows of label 0 that are decided to be 0."""
        return np.asarray(self._first.specificity)

    @property
    def f1(self) -> Array:
        """The harmonic mean of precision and recall."""
        return np.asarray(self._first.f1)

    @property
    def mcc(self) -> Array:
        """Matthews' correlation coefficient."""
        return np.asarray(self._first.mcc)

    @property
    def kappa(self) -> Array:
        """Cohen's kappa."""
        return np.asarray(self._first.kappa)

    def __len__(self) -> int:
        return self._table.n_keys

    def __repr__(self) -> str:
        return f"Means of {len(self):,} keys: {', '.join(MEANS)}"


class GroupMeans(BinaryMeans):
    """Means by group, with the areas under its curves, which are NaN with `bins`."""

    def __init__(self, table: Table, n_thresholds: int, areas: GroupAreas | None) -> None:
        super().__init__(table, n_thresholds)
        self.auc, self.average_precision = np.full((2, table.n_keys), np.nan)
        if areas is not None:
            # A group whose rows all have the weight 0 has no scores.
            found = np.flatnonzero(np.isin(table.ids, areas.ids))
            places = np.searchsorted(areas.ids, table.ids[found])
            self.auc[found] = areas.auc[places]
            self.average_precision[found] = areas.average_precision[places]

    def _columns(self) -> dict[str, Array]:
        areas = {"auc": self.auc, "average_precision": self.average_precision}
        return super()._columns() | areas


MEANS = tuple(
    name
    for name, value in vars(BinaryMeans).items()
    if isinstance(value, property) and not name.startswith("_")
)
