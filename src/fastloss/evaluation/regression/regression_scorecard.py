"""Everything about labels and predictions that are numbers, in one pass: `RegressionScorecard`."""

from dataclasses import replace
from typing import Any

import numpy as np

from ...bases.options import check_switch
from ...call.arrays import Array, format_of
from ..given import Given, checked_weight
from ..resampling import check_replicates
from ..result import warn_of_nothing
from ..row_numbers import numbers_asked_for
from ..sums.accumulator import Accumulator
from ..sums.error_sums import GROUP_NAMES, ErrorSums, Rows
from ..sums.score_table import ScoreTable, check_memory_limit
from ..tensors import as_array
from .deviance import powers_of
from .error_means import scores_of
from .regression_scores import RegressionScores


class RegressionScorecard(Accumulator[ErrorSums]):
    """Adds up everything about labels and predictions that are numbers, which come in parts.

    >>> import fastloss as fl
    >>> card = fl.RegressionScorecard()
    >>> _ = card.update([3.0, -0.5], [2.5, 0.0])
    >>> _ = card.update([2.0, 7.0], [2.0, 8.0])
    >>> scores = card.result()
    >>> scores.n_rows, scores.mse, scores.bias
    (4, 0.375, 0.25)

    Options:

    - `quantiles`, ascending between 0 and 1: the predictions have a last axis of these quantiles,
      and `scores.quantiles` tells of them and of the intervals between those that add up to 1.
      Errors are then those of the quantile 0.5, and unknown if there is none;
    - `deviance`: "poisson", "gamma", ("tweedie", power) or several of these, as in scikit-learn;
    - `rmsle=True` for the root mean squared logarithmic error;
    - `median=True` for the median of |e| of all rows, for which 8 bytes a row are kept, and 16 with
      weights: no sum knows a median. With `bins=2**20` it takes 16 MiB whatever the rows are, and
      lies in an interval that is given, 0.05% wide;
    - `histograms=True` for those of errors, and of predictions and labels, in `scores.histograms`,
      of which reports draw pictures; labels of several columns have none;
    - `force_finite=True` for scikit-learn's R2 and explained variance of labels that are all the
      same, and for D2: 1 if predictions are as good as can be, else 0, and not NaN;
    - `memory_limit`: bytes that |e| of `median` take in memory; more lies in temporary files, as
      `BinaryScorecard` has them;
    - `bootstrap`, the number of replicates of a Poisson bootstrap of all means over rows, 0 for
      none.

    Sums are kept in twice the precision of float64, and moments are about centers close to the
    numbers, so that nothing is lost of variances and correlations of large numbers that differ
    little. Whatever the parts are and in whatever order they are merged, means agree to 1e-15
    relative; the same parts in the same order give the same bits, on any number of threads. An
    update that raises, or is interrupted anywhere, has changed nothing or is there as a whole, and
    several threads may update one scorecard. Weights count by their ratios alone.
    """

    def __init__(
        self,
        *,
        quantiles: Any = None,
        deviance: Any = (),
        rmsle: bool = False,
        median: bool = False,
        bins: int | None = None,
        histograms: bool = False,
        force_finite: bool = False,
        bootstrap: int = 0,
        memory_limit: int | None = None,
    ) -> None:
        check_switch("rmsle", rmsle)
        check_switch("median", median)
        check_switch("force_finite", force_finite)
        check_switch("histograms", histograms)
        self._numbers = numbers_asked_for(
            quantiles, powers_of(deviance), rmsle, median, ScoreTable.empty(bins).bins
        )
        self._numbers = replace(self._numbers, histograms=histograms)
        if bins is not None and not median:
            raise ValueError("bins are those of the median error: give median=True, or no bins")
        self._force_finite = force_finite
        self._bootstrap = check_replicates(bootstrap)
        self._memory_limit = check_memory_limit(memory_limit)
        super().__init__(self._nothing)

    def update(
        self,
        labels: Any,
        predictions: Any,
        /,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        clusters: Any = None,
        ids: Any = None,
    ) -> "RegressionScorecard":
        """Add rows: `labels` of shape (n,) or (n, k), and `predictions` of the same shape.

        With `quantiles` the predictions have one axis more, of one number for each. Columns are
        evaluated apart. `sample_weight` of shape (n,), and `groups`, any integer or name for
        each row, whose results are then given apart; `clusters` and `ids` are as `Scorecard.update`
        has them: rows of a cluster belong together, in standard errors and the bootstrap.

        Returns the scorecard itself. Raises TypeError for what is no numbers and ValueError for
        shapes that do not fit, weights below 0 or not finite, and numbers that a deviance or
        `rmsle` is not of, before anything is changed. Rows of weight 0 count nowhere, whatever they
        hold; NaN is counted, and makes means NaN.
        """
        labels = as_array(labels, "labels")
        given, shape = Given(groups=groups, clusters=clusters, ids=ids), labels.shape[:1]
        group_ids, names = given.groups_of(shape)
        sampled = given.sampled_of(shape, self._bootstrap)
        rows, n_columns = self._rows_of(labels, predictions, sample_weight, group_ids)
        rows = rows._replace(sampled=sampled)
        new = self._nothing.with_part(GROUP_NAMES, names).with_columns(n_columns)
        self._sums.check(new)
        new = new.with_new(rows)
        self._add(new)
        return self

    def result(self) -> RegressionScores:
        """All that is known of the rows seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        scores = scores_of(self._added_up(), self._force_finite)
        warn_of_nothing(scores.n_counted)
        return scores

    # ---------------------------------------------------------------------------------------------

    @property
    def _nothing(self) -> ErrorSums:
        return ErrorSums(self._numbers, self._bootstrap, self._memory_limit)

    @property
    def _options(self) -> dict[str, Any]:
        numbers = self._numbers
        return {
            "quantiles": numbers.quantiles,
            "deviance": numbers.deviances,
            "rmsle": numbers.rmsle,
            "median": numbers.median,
            "bins": numbers.bins,
            "histograms": numbers.histograms,
            "force_finite": self._force_finite,
            "bootstrap": self._bootstrap,
        }

    def _rows_of(
        self, y: Array, predictions: Any, sample_weight: Any, groups: Array | None
    ) -> tuple[Rows, int]:
        """The rows of a call, once they are checked, and the number of columns, 0 for none."""
        p = as_array(predictions, "predictions")
        format_of(y, "labels")
        format_of(p, "predictions")
        self._check_shapes(y, p)
        n, k = len(y), y.shape[1] if y.ndim == 2 else 1
        weight = checked_weight(sample_weight, (n,))
        rows = Rows(
            y.reshape(n, k),
            p.reshape(n, k, *p.shape[y.ndim :]),
            None if weight is None else weight.astype(np.float64, copy=False),
            groups,
        )
        counts = None if rows.weight is None else rows.weight != 0
        self._numbers.check(rows.targets, rows.predictions, counts)
        return rows, y.shape[1] if y.ndim == 2 else 0

    def _check_shapes(self, y: Array, p: Array) -> None:
        if y.ndim not in (1, 2) or (y.ndim == 2 and not y.shape[1]):
            raise ValueError(
                f"labels have shape {y.shape}, but there is one for each row, (n,), or for every "
                "row and column, (n, k): write np.reshape(labels, -1) if columns are rows, too"
            )
        quantiles = self._numbers.quantiles
        expected = (*y.shape, len(quantiles)) if quantiles else y.shape
        if p.shape == expected:
            return
        remedy = ""
        if not quantiles and p.ndim == y.ndim + 1:
            remedy = (
                ": write np.reshape(predictions, np.shape(labels))"
                if p.size == y.size
                else ": if the last axis is quantiles, say which by quantiles="
            )
        elif quantiles and p.size == y.size * len(quantiles):
            remedy = f": write np.reshape(predictions, {expected})"
        elif not quantiles and p.size == y.size:
            remedy = ": write np.reshape(labels, np.shape(predictions)) if these belong together"
        raise ValueError(
            f"labels have shape {y.shape} and predictions have shape {p.shape}: expected "
            f"{expected}" + (f", with {len(quantiles)} quantiles" if quantiles else "") + remedy
        )
