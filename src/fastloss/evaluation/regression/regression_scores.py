"""What an evaluation of numbers found: errors, shares of variance, quantiles and deviances."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...call.arrays import Array
from ..frames import frame
from ..resampling import Bootstrap
from ..result import Result, by_clusters, row_lines, table_of
from .histograms import Histograms


@dataclass(frozen=True, eq=False)
class QuantileScores(Result):
    """What is known of predicted quantiles: arrays of one number for each of `quantiles`.

    - `pinball`, the mean of the pinball loss, and `coverage`, the share of the rows whose label is
      at most the prediction, with their standard errors;
    - `crossing`, the share of the rows in which a quantile is predicted above a larger one;
    - of each interval between two quantiles that add up to 1, the widest first: `level`, the
      share of labels that it should hold, `interval_coverage`, the share that it holds, `width`,
      the mean of its width, and `winkler`, that of the width and 2 / (1 - level) times the
      distance to a label outside; with standard errors.

    Of groups, arrays have an axis of groups before.

    Source: for the Winkler score, T. Gneiting and A. E. Raftery, Strictly proper scoring rules,
    prediction, and estimation (2007).
    """

    quantiles: Array
    pinball: Array
    pinball_standard_error: Array
    coverage: Array
    coverage_standard_error: Array
    crossing: Any
    level: Array
    interval_coverage: Array
    interval_coverage_standard_error: Array
    width: Array
    width_standard_error: Array
    winkler: Array
    winkler_standard_error: Array

    def to_pandas(self) -> Any:
        """A data frame with a row for each quantile, of each key if there are several."""
        names = ("pinball", "pinball_standard_error", "coverage", "coverage_standard_error")
        columns = {name: getattr(self, name).reshape(-1) for name in names}
        if self.pinball.ndim == 1:
            return frame(columns, self.quantiles, ("quantile",))
        pairs = [(i, q) for i in range(len(self.pinball)) for q in self.quantiles.tolist()]
        return frame(columns, np.array(pairs, object), ("key", "quantile"))


@dataclass(frozen=True, repr=False, eq=False)
class Errors(Result):
    """Numbers about errors: a float each, or an array of one for each column or group.

    - `bias`, the mean of e = prediction - label; `mse`, the mean of e^2; `rmse`, its root; `mae`,
      the mean of |e|; with standard errors; `maximum_error`, the largest |e|;
    - `mape`, the mean of |e / label| over labels that are not 0, of which there are
      `n_zero_labels`; `smape`, the mean of 2 |e| / (|label| + |prediction|), which is 0 where both
      are; `wape`, the sum of |e| over that of |label|;
    - `r2`, 1 less mse over the variance of the labels; `explained_variance`, 1 less the variance of
      e over that of the labels; `pearson`, the correlation of labels and predictions, and
      `concordance`, Lin's: 2 cov / (var + var + bias^2);
    - if they were asked for: `rmsle`, the root of the mean of (log(1 + prediction) -
      log(1 + label))^2; `deviance` and `d2`, each a dictionary by name, 1 less the deviance over
      that of the best constant; `median_absolute_error`, not of groups, which lies from
      `median_absolute_error_low` to `median_absolute_error_high`; and `quantiles`.
    """

    n_undefined: Any
    n_zero_labels: Any
    bias: Any
    bias_standard_error: Any
    mse: Any
    mse_standard_error: Any
    rmse: Any
    rmse_standard_error: Any
    mae: Any
    mae_standard_error: Any
    maximum_error: Any
    mape: Any
    smape: Any
    wape: Any
    r2: Any
    explained_variance: Any
    pearson: Any
    concordance: Any
    rmsle: Any
    median_absolute_error: Any
    median_absolute_error_low: Any
    median_absolute_error_high: Any
    deviance: dict[str, Any]
    d2: dict[str, Any]
    quantiles: QuantileScores | None

    def _frame(self, index: Array, names: tuple[str, ...], **more: Any) -> Any:
        """A data frame of the numbers, with a row for each of an index of these names."""
        columns = more | {name: getattr(self, name) for name in NUMBERS}
        for name in "deviance", "d2":
            columns |= {f"{name} {kind}": value for kind, value in getattr(self, name).items()}
        return frame(columns, index, names)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {np.size(self.mse):,} keys: {', '.join(NUMBERS)}"


NUMBERS = tuple(field.name for field in fields(Errors) if field.type is Any)
MEDIANS = tuple(name for name in NUMBERS if name.startswith("median"))


@dataclass(frozen=True, repr=False, eq=False)
class ColumnErrors(Errors):
    """Numbers about errors of each column of the labels."""

    def to_pandas(self) -> Any:
        """A data frame with a row for each column."""
        return self._frame(np.arange(len(self.mse)), ("column",))


@dataclass(frozen=True, repr=False, eq=False)
class GroupErrors(Errors):
    """Numbers about errors by group; `ids`, as they were given, in ascending order.

    `n` rows have a weight above 0, `weight` is their sum. Of several `columns` an id is a tuple.
    """

    ids: Array
    n: Array
    weight: Array
    columns: tuple[str, ...] = ()

    def to_pandas(self) -> Any:
        """A data frame with a row for each group."""
        names = self.columns or ("group",)
        return self._frame(self.ids, names, n=self.n, weight=self.weight)


@dataclass(frozen=True, repr=False, eq=False)
class RegressionScores(Errors):
    """Everything about labels and predictions that are numbers, over the weights of the rows.

    `n_rows`, `n_counted` of them of a weight above 0, `weight` their sum; `n_undefined` have NaN:
    means are NaN then. The other numbers are those of `Errors`, which see; with several columns the
    means of those of the columns, the maximum error excepted. The mean of standard errors is
    what that of the mean is at most: nobody looked at how much columns err together. `by_column`
    has each column, if labels have an axis of columns, and `groups` each group, if there are any.
    `errors` is "rows" if standard errors take rows to be independent, "clusters" if they take
    `n_clusters` clusters, as those of columns then do; `bootstrap`, if it was asked for, is a
    `Bootstrap` of the means over rows, its names having the quantiles and levels of intervals.

    `histograms` has those of a single column, if they were asked for.

    What has no value is NaN: R2 and correlations of a constant, and all that was not asked for.

    >>> import fastloss as fl
    >>> scores = fl.evaluate([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0], task="regression")
    >>> scores.mse, scores.mae, round(scores.r2, 6)
    (0.375, 0.5, 0.948608)
    """

    n_rows: int
    n_counted: int
    weight: float
    by_column: ColumnErrors | None = None
    groups: GroupErrors | None = None
    errors: str = "rows"
    n_clusters: int | None = None
    bootstrap: Bootstrap | None = None
    histograms: Histograms | None = None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and values of the numbers, as text."""
        yield from row_lines(self.n_rows, self.n_counted, self.n_undefined, "rows with NaN")
        if self.by_column is not None:
            yield "columns", f"{len(self.by_column.mse):,}"
        if self.quantiles is None or self.mse == self.mse:
            yield from self._error_lines()
        if self.median_absolute_error == self.median_absolute_error:
            low, high = self.median_absolute_error_low, self.median_absolute_error_high
            between = f" ({low:.6g} to {high:.6g})" if low < high else ""
            yield "median |error|", f"{self.median_absolute_error:.6g}{between}"
        if self.rmsle == self.rmsle:
            yield "RMSLE", f"{self.rmsle:.6g}"
        for name, value in self.deviance.items():
            yield f"{name} deviance", f"{value:.6g}"
            yield f"{name} D2", f"{self.d2[name]:.6g}"
        if self.quantiles is not None:
            yield from _quantile_lines(self.quantiles, by_clusters(self.n_clusters))
        if self.groups is not None:
            yield "groups", f"{len(self.groups.ids):,}"
        if self.bootstrap is not None:
            yield from self.bootstrap.lines()

    def _error_lines(self) -> Iterator[tuple[str, str]]:
        for name in ("bias", "MSE", "RMSE", "MAE"):
            error = getattr(self, f"{name.lower()}_standard_error")
            by = by_clusters(self.n_clusters)
            yield name, f"{getattr(self, name.lower()):.6g} ± {error:.2g}{by}"
        yield "maximum error", f"{self.maximum_error:.6g}"
        zeros = f" ({self.n_zero_labels:,} labels of 0 left out)" if self.n_zero_labels else ""
        yield "MAPE", f"{self.mape:.4%}{zeros}"
        for name in ("sMAPE", "WAPE"):
            yield name, f"{getattr(self, name.lower()):.4%}"
        yield "R2", f"{self.r2:.6g}"
        for name in ("explained variance", "Pearson", "concordance"):
            yield name, f"{getattr(self, name.lower().replace(' ', '_')):.6g}"

    def __repr__(self) -> str:
        return table_of(self.lines())


def _quantile_lines(found: QuantileScores, by: str) -> Iterator[tuple[str, str]]:
    yield "pinball loss", f"{found.pinball.mean():.6g}"
    for i, q in enumerate(found.quantiles):
        yield (
            f"quantile {q:g}",
            f"pinball {found.pinball[i]:.6g} ± {found.pinball_standard_error[i]:.2g}{by}, "
            f"coverage {found.coverage[i]:.2%}",
        )
    for i, level in enumerate(found.level):
        yield (
            f"interval {level:g}",
            f"Winkler {found.winkler[i]:.6g} ± {found.winkler_standard_error[i]:.2g}{by}, "
            f"coverage {found.interval_coverage[i]:.2%}, width {found.width[i]:.6g}",
        )
    yield "crossing", f"{found.crossing:.2%}"
