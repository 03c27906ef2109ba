"""Histograms of an evaluation of numbers, as they were added up and as they are drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...call.arrays import Array
from ..frames import frame
from ..result import Result
from ..sums.number_bins import error_edges, pair_edges
from ..sums.table import Table

# Of the weight so much lies beyond either end of a picture.
_LEFT_OUT = 0.005


@dataclass(frozen=True, eq=False)
class Histograms(Result):
    """Where errors, and predictions and labels together, lie: the weights of bins that have rows.

    An octave has 8 bins of errors, `error_edges` of shape (bins, 2), and 4 of predictions and of
    labels, whose edges have a row for each pair of bins.
    """

    error_edges: Array
    error_weight: Array
    prediction_edges: Array
    label_edges: Array
    pair_weight: Array

    def to_pandas(self) -> Any:
        """A data frame with a row for each bin of errors: its edges and its weight."""
        low, high = self.error_edges.T
        columns = {"low": low, "high": high, "weight": self.error_weight}
        return frame(columns, np.arange(len(low)), ("bin",))

    def of_errors(self, n: int) -> tuple[Array, Array]:
        """The edges of n bins of equal width, and the share of the weight in each."""
        edges = _between(self.error_edges, self.error_weight, n)
        shares = self.error_weight @ _overlaps(self.error_edges, edges)
        return edges, shares / self.error_weight.sum()

    def of_pairs(self, n: int) -> tuple[Array, Array]:
        """The edges of n bins, and the share of each bin of predictions and of labels."""
        both = np.concatenate([self.prediction_edges, self.label_edges])
        edges = _between(both, np.tile(self.pair_weight, 2), n)
        predictions, labels = (
            _overlaps(each, edges) for each in (self.prediction_edges, self.label_edges)
        )
        weights = (predictions * self.pair_weight[:, np.newaxis]).T @ labels
        return edges, weights / self.pair_weight.sum()


def histograms_of(*tables: Table) -> Histograms | None:
    """What tables of `number_bins.py` hold; None if there are none, or no row is known."""
    if not tables or not tables[0].n_keys:
        return None
    errors, pairs = tables
    by_error, by_pair = (each.sums[:, 0] / each.sums[:, 1] for each in (errors, pairs))
    return Histograms(error_edges(errors), by_error, *pair_edges(pairs), by_pair)


def _between(bins: Array, weight: Array, n: int) -> Array:
    """The edges of n bins of equal width, between which nearly all of the weight lies."""
    order = np.argsort(bins[:, 0], kind="stable")
    shares = np.cumsum(weight[order]) / weight.sum()
    ends = np.searchsorted(shares, [_LEFT_OUT, 1 - _LEFT_OUT]).clip(max=len(bins) - 1)
    low, high = bins[order[ends[0]], 0], bins[order[ends[1]], 1]
    low, high = np.clip([low, high], -1e38, 1e38)
    if low == high:  # all of the weight lies beyond
        low, high = min(low, 0.0), max(high, 0.0)
    return np.linspace(low, high, n + 1)


def _overlaps(bins: Array, edges: Array) -> Array:
    """How much of each bin lies between two edges, of shape (bins, edges - 1)."""
    low, high = np.clip(bins, -1e39, 1e39).T[:, :, np.newaxis]
    both: Any = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    width = high - low  # 0 of the bin of infinity, which no picture shows
    shares: Array = np.maximum(both, 0.0) / np.where(width > 0, width, np.inf)
    return shares
