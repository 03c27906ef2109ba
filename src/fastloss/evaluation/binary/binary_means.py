"""Means over rows of two classes, by key."""

from functools import cached_property
from typing import Any

import numpy as np

from ...call.arrays import Array
from ...kernels.binary_terms import N_TERMS, N_THRESHOLD, SUMS, WEIGHTS, BinaryTerms
from ..ranks.confusion import Confusion, ratio
from ..result import Columns, Result
from ..sums.double_double import Pair, add, divide
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
        scale = self._scale[:, np.newaxis]
        with np.errstate(over="ignore"):
            return Confusion(*(each / scale for each in self._by_decision("", 0)))

    def _by_decision(self, prefix: str, first: int) -> tuple[Array, ...]:
        """Weights, or their squares, as in `Confusion`; `first` is the first of their columns."""
        known, positive = (
            self._table.column(BinaryTerms._fields.index(prefix + name))
            for name in ("known", "positive")
        )
        end = N_TERMS + N_THRESHOLD * self._n_thresholds
        columns = (slice(N_TERMS + first + i, end, N_THRESHOLD) for i in range(2))
        true, false = ((self._table.high[:, i], self._table.low[:, i]) for i in columns)
        missed, rejected = _rest(positive, true), _rest(known, positive, false)
        return true[0] + true[1], false[0] + false[1], missed, rejected

    @cached_property
    def _first(self) -> Confusion:
        """In the unit of sums, which do not overflow."""
        return Confusion(*(each[:, 0] for each in self._by_decision("", 0)))

    @property
    def accuracy(self) -> Array:
        """The share of rows that are decided as labelled."""
        return np.asarray(self._first.accuracy)

    @property
    def accuracy_standard_error(self) -> Array:
        """The standard error of the accuracy."""
        t, right = self._terms, self.accuracy
        true, false, missed, rejected = (each[:, 0] for each in self._by_decision("squared_", 2))
        squares = (true + rejected) * (1 - right) ** 2 + (false + missed) * right**2
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


def _rest(whole: Pair, *parts: Pair) -> Array:
    """What is left of weights without some of them: 0, if it is no more than rounding leaves."""
    rest = whole
    for part in parts:
        rest = add(rest, (-part[0], -part[1]))
    return np.where(rest[0] > _ROUNDING * whole[0], rest[0], 0.0)


# Of sums of pairs of float64 and many rows.
_ROUNDING = 2.0**-80


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
