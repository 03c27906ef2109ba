"""Scores by group, for many groups of few rows each.

table = GroupedScores.of(groups, labels, scores).merged(GroupedScores.of(...))
table.areas()           # of every group, in one pass
table.of_group(7)       # its `ScoreTable`, for everything else
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels import score_runs as kernel
from ...kernels.tally import scale_of
from .score_keys import FLOAT64, scores_of
from .score_table import ScoreTable, like
from .sorted_scores import NO_WEIGHTS, joined, merged_runs, moved, scaled
from .state import entry


class GroupedRows(NamedTuple):
    """Rows in any order."""

    groups: Array
    keys: Array  # of float64, that of NaN among them
    positive: Array
    weights: Array  # none at all if each has 1
    room: int | None = None  # bytes that an array has in memory, at most

    @property
    def size(self) -> int:
        return len(self.groups)

    @property
    def columns(self) -> tuple[Array, ...]:
        return self[:4]

    def merged(self, other: GroupedRows) -> GroupedRows:
        a, b = self, other
        if a.weights.size or b.weights.size:
            a, b = a.weighted(), b.weighted()
        columns = zip(a.columns, b.columns, strict=True)
        return _rows_of((joined(each, self.room) for each in columns), self.room)

    def within(self, room: int | None) -> GroupedRows:
        """The same with so much room, outside of which no array is in memory."""
        if room is None or room == self.room:
            return self
        return _rows_of((moved(each, room) for each in self.columns), room)

    def weighted(self) -> GroupedRows:
        return self if self.weights.size else self._replace(weights=np.ones(self.size))

    def chosen(self, rows: Any) -> GroupedRows:
        weights = self.weights[rows] if self.weights.size else self.weights
        return GroupedRows(self.groups[rows], self.keys[rows], self.positive[rows], weights)


def _rows_of(columns: Iterable[Array], room: int | None = None) -> GroupedRows:
    groups, keys, positive, weights = columns
    return GroupedRows(groups, keys, positive, weights, room)


_DTYPES: dict[str, Any] = {
    "groups": np.int64,
    "keys": np.uint64,
    "positive": np.bool_,
    "weights": np.float64,
}
_NOTHING = _rows_of(np.empty(0, dtype) for dtype in _DTYPES.values())


class GroupAreas(NamedTuple):
    """Arrays of one number for each group; both areas are those of `rank_statistics.py`."""

    ids: Array
    n_negatives: Array
    n_positives: Array
    n_nan: Array
    auc: Array
    average_precision: Array


class GroupedScores(NamedTuple):
    """Scores of positive and negative rows by group. It is never changed.

    Rows are added to runs, as in a `ScoreTable`, and sorted when something is asked.
    """

    runs: tuple[GroupedRows, ...] = ()
    room: int | None = None  # as that of a `ScoreTable`

    @classmethod
    def of(cls, groups: Any, labels: Any, scores: Any, weights: Any = None) -> GroupedScores:
        """Rows with ids of groups, integers, and what `ScoreTable.of` is given."""
        values, _ = scores_of(scores)
        known = ~np.isnan(values)
        keys = np.full(len(values), FLOAT64.nan, np.uint64)
        keys[known] = FLOAT64.keys(values[known])
        ids = like(values, np.asarray(groups), "groups").astype(np.int64)
        positive = like(values, np.asarray(labels), "labels") != 0
        rows = GroupedRows(ids, keys, positive, NO_WEIGHTS)
        if weights is not None:
            weight = like(values, np.asarray(weights, np.float64), "weights")
            rows = rows._replace(weights=weight).chosen(weight != 0)
        return cls(merged_runs((rows,)))

    @property
    def n_rows(self) -> int:
        """How many rows there are, those of NaN included."""
        return sum(rows.size for rows in self.runs)

    @property
    def n_keys(self) -> int:
        """As of a `ScoreTable` of runs."""
        return len(self.runs)

    def merged(self, other: GroupedScores) -> GroupedScores:
        """The rows of both."""
        runs = tuple(run.within(self.room) for run in self.runs + other.runs)
        return GroupedScores(merged_runs(runs), self.room)

    def of_group(self, group: int) -> ScoreTable:
        """The scores of a group; empty if it has no rows."""
        rows = self._sorted()
        first, last = np.searchsorted(rows.groups, [group, group + 1])
        rows = rows.chosen(np.arange(first, last))
        weights = rows.weights if rows.weights.size else None
        return ScoreTable.of(rows.positive, FLOAT64.scores(rows.keys), weights)

    def areas(self) -> GroupAreas:
        """The areas of every group, in the order of their ids."""
        rows = self._sorted()
        ids, places = np.unique(rows.groups, return_inverse=True)
        scale = scale_of(rows.weights.max(initial=0.0)) if rows.weights.size else 1.0
        results = np.zeros((len(ids), 5))
        _areas_by_group()(
            places,
            rows.keys,
            rows.positive.view(np.uint8),
            scaled(rows.weights, scale),
            FLOAT64.nan,
            results.reshape(-1),
            *np.empty((2, 6)),
        )
        counts = results[:, :3].astype(np.int64)
        return GroupAreas(ids, *counts.T, *results[:, 3:].T)

    def _sorted(self) -> GroupedRows:
        """All rows by group, key and weight: in one order, however they were split."""
        rows = (*merged_runs(self.runs, in_one=True), _NOTHING)[0]
        given = (rows.weights, rows.keys, rows.groups)
        return rows.chosen(np.lexsort(given if rows.weights.size else given[1:]))

    def state(self, name: str) -> dict[str, Array]:
        """As arrays, in order."""
        columns = zip(_DTYPES, self._sorted().columns, strict=True)
        return {f"{name}_{part}": array for part, array in columns}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array]) -> GroupedScores:
        """Raise ValueError unless it is such a table."""
        n = len(entry(state, f"{name}_groups", np.int64, (None,)))
        parts: list[Any] = [(part, dtype, n) for part, dtype in _DTYPES.items()]
        if not np.size(state.get(f"{name}_weights", ())):
            parts[-1] = (*parts[-1][:2], 0)
        rows = _rows_of(
            entry(state, f"{name}_{part}", dtype, (size,)) for part, dtype, size in parts
        )
        sound = (rows.groups[1:] >= rows.groups[:-1]).all()
        same = rows.groups[1:] == rows.groups[:-1]
        sound &= (rows.keys[1:][same] >= rows.keys[:-1][same]).all()
        sound &= FLOAT64.holds(rows.keys[rows.keys != FLOAT64.nan])
        if not sound or not ((rows.weights > 0) & (rows.weights < np.inf)).all():
            raise ValueError(f"the scores of {name} in the state make no sense: it is damaged")
        return cls(merged_runs((rows,)))


@cache
def _areas_by_group() -> Any:
    """The compiled loop, which writes into nothing but the results and scratch memory."""
    groups, keys, numbers = np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0)
    positive, nan = np.empty(0, np.uint8), np.uint64(0)
    examples = groups, keys, positive, numbers, nan, numbers, numbers, numbers
    return compiler().load_or_compile(kernel.areas_by_group, examples)
