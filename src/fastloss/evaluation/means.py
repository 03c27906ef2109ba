"""Means over rows by key: by bin of confidence, class or group."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..call.arrays import Array
from ..kernels.tally import LOSS, WEIGHT, Terms
from .frames import frame
from .resampling import check_level
from .result import Columns, Result
from .sums.double_double import Pair, divide, total
from .sums.group_names import GroupNames
from .sums.standard_error import standard_error
from .sums.table import NO_KEYS, Table, spread


class Band(NamedTuple):
    """Bounds for each key, and the name of their formula."""

    low: Array
    high: Array
    formula: str


class Means(Columns, Result):
    """Means over rows, weighed as those of the loss: arrays of one number for each key.

    A key without rows has means of NaN. They are computed when they are asked for: there may be
    a hundred thousand classes.
    """

    names: ClassVar[tuple[str, ...]]  # of the numbers

    def __init__(self, table: Table, n_keys: int, exponent: int = 0) -> None:
        """Of the keys below `n_keys`; weights of rows are those of the table times 2**exponent."""
        self._table, self._n_keys, self._exponent = table, n_keys, exponent

    @cached_property
    def _sums(self) -> Array:
        return self._table.sums.T

    @cached_property
    def terms(self) -> Terms:
        """The sums of each key that has rows, in the order of the table."""
        return Terms(*self._sums)

    @cached_property
    def _ratios(self) -> Terms:
        """The terms, divided by the weight."""
        with np.errstate(all="ignore"):
            return Terms(*(self._sums / self.terms.weight))

    def _by_key(self, values: Any, missing: float = math.nan) -> Array:
        dense = np.empty(self._n_keys)
        dense.fill(missing)
        dense[self._table.ids] = values
        return dense

    def _spread(self, mean: Pair) -> Any:
        return spread(self._table, (mean[0][:, np.newaxis], mean[1][:, np.newaxis]))[:, 0]

    def _error(self, squares: Array) -> Array:
        return self._by_key(standard_error(self.terms.n, self.terms.weight, squares))

    def _numbers(self) -> dict[str, Any]:
        return self._columns()

    def _columns(self) -> dict[str, Array]:
        return {name: getattr(self, name) for name in self.names}

    @property
    def n(self) -> Array:
        """The number of rows of a weight above 0."""
        return self._by_key(self.terms.n, 0).astype(np.int64)

    @property
    def weight(self) -> Array:
        """The sum of the weights."""
        with np.errstate(all="ignore"):
            weight = np.ldexp(self.terms.weight / self.terms.scale, self._exponent)
        return self._by_key(np.where(self.terms.n > 0, weight, 0.0), 0.0)

    @property
    def loss(self) -> Array:
        """The cross-entropy."""
        return self._by_key(self._ratios.loss)

    @property
    def loss_standard_error(self) -> Array:
        """The standard error of the mean loss."""
        high, low = self._table.high, self._table.low
        loss, weight = ((high[..., i], low[..., i]) for i in (LOSS, WEIGHT))
        with np.errstate(all="ignore"):
            mean = divide(loss, weight)
        return self._error(self._spread(mean))

    @property
    def accuracy(self) -> Array:
        """The share of rows whose label is the prediction."""
        return self._by_key(self._ratios.correct)

    @property
    def accuracy_standard_error(self) -> Array:
        """The standard error of the accuracy."""
        t, right = self.terms, self._ratios.correct
        of_right = t.squared_weight_correct
        of_wrong = t.squared_weight - of_right
        return self._error(of_right * (1 - right) ** 2 + of_wrong * right**2)

    def accuracy_band(self, level: float = 0.95) -> Band:
        """Bounds for the accuracy of each key that hold with this probability, and their formula.

        They are Wilson's, which hold for few rows and near 0 and 1 as well: with z the quantile of
        the normal distribution at (1 + level) / 2, of the accuracy p of n independent rows

            (p + z^2 / (2 n) ± z sqrt(p (1 - p) / n + z^2 / (4 n^2))) / (1 + z^2 / n)

        Of rows of different weights w, n is (sum of w)^2 / (sum of w^2), as many equal ones as tell
        as much; the formula is then called "Wilson, effective n".

        Sources: E. B. Wilson, Probable inference, the law of succession, and statistical inference
        (1927); for weights, L. Kish, Survey Sampling (1965).
        """
        check_level(level)
        # Imported here, as beside a user's own statistics.py it is another module.
        from statistics import NormalDist

        z = NormalDist().inv_cdf((1 + level) / 2)
        t, p = self.terms, self.accuracy
        with np.errstate(divide="ignore", invalid="ignore"):
            n = t.weight**2 / t.squared_weight
            # Of equal weights the two differ by rounding.
            equal = np.abs(n / t.n - 1) < 1e-9
            share = z * z / self._by_key(np.where(equal, t.n, n))
            middle = (p + share / 2) / (1 + share)
            # The root is at least share / 2, so that bounds lie within [0, 1] but for rounding.
            gap = np.sqrt(p * (1 - p) * share + share * share / 4) / (1 + share)
        formula = "Wilson" if equal[t.n > 0].all() else "Wilson, effective n"
        return Band(np.maximum(middle - gap, 0.0), np.minimum(middle + gap, 1.0), formula)

    @property
    def mean_reciprocal_rank(self) -> Array:
        """The mean of 1 / (rank + 1)."""
        return self._by_key(self._ratios.reciprocal_rank)

    @property
    def brier(self) -> Array:
        """The Brier score."""
        return self._by_key(self._ratios.brier)

    @property
    def entropy(self) -> Array:
        """The entropy of the predicted probabilities."""
        return self._by_key(self._ratios.entropy)

    @property
    def confidence(self) -> Array:
        """The largest probability."""
        return self._by_key(self._ratios.confidence)

    def __len__(self) -> int:
        return self._n_keys

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {len(self):,} keys: {', '.join(self.names)}"


Means.names = tuple(name for name, value in vars(Means).items() if isinstance(value, property))


class Whole(Means):
    """Means over the rows of all keys together, as numbers."""

    def __init__(self, table: Table, exponent: int) -> None:
        self._keys = table.alike()
        with np.errstate(all="ignore"):
            high, low = total(self._keys.high, self._keys.low)
        high[-1], low[-1] = self._keys.high[:, -1].max(initial=0.0), 0.0
        super().__init__(Table(table.layout, NO_KEYS, high, low), 1, exponent)

    def _by_key(self, values: Any, missing: float = math.nan) -> Any:
        return values

    def _spread(self, mean: Pair) -> Any:
        """The sum of what the rows of each key are from the mean of all: no moment is moved."""
        return spread(self._keys, mean).sum()


@dataclass(frozen=True, eq=False)
class Groups(Result):
    """Means by group; `ids`, as they were given, in ascending order.

    Of several `columns` an id is a tuple.
    """

    ids: Array
    means: Any  # `Means`, or what another task has of each group
    columns: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        columns = {"columns": list(self.columns)} if self.columns else {}
        return {"ids": self.ids.tolist(), **columns, **self.means.to_dict()}

    def to_pandas(self) -> Any:
        """A data frame of the means, with a row for each group, which names its index."""
        return frame(self.means._numbers(), self.ids, self.columns or ("group",))


def groups_of(table: Table, names: GroupNames, means_of: Callable[[Table], Any]) -> Groups | None:
    """The groups of a table, if there are any, in the order of their names."""
    if not table.n_keys:
        return None
    order, ids = names.sorted(table.ids)
    return Groups(ids, means_of(table.select(order)), names.columns)
