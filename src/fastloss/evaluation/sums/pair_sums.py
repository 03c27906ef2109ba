"""What a comparison has seen: sums, extremes and histograms over pairs of rows."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels.tally import Room
from ...kernels.tally_pairs import (
    CENTERS,
    CHANGE_BINS,
    COLUMNS,
    COUNTERS,
    FIRSTS,
    KL_BINS,
    N_KLS,
    N_MEANS,
    POWERS,
    SECONDS,
    tally_pairs,
)
from .accumulator import PARALLEL_ROWS, PENDING_ROWS, Sums, joined
from .replicates import unseen
from .state import entry
from .table import HISTOGRAM, NO_KEYS, NO_ROOM, Layout, Table, keyed

_MEANS = Layout(
    POWERS,
    centers=slice(CENTERS, CENTERS + N_MEANS),
    firsts=slice(FIRSTS, FIRSTS + N_MEANS),
    seconds=slice(SECONDS, SECONDS + N_MEANS),
    squared_weight=3,
)
_EMPTY = {
    "means": Table.empty(_MEANS),
    "kls": Table.empty(HISTOGRAM),
    "changes": Table.empty(HISTOGRAM),
    "clusters": Table.empty(_MEANS),
}
# How many keys each table has; of clusters there are any.
_N_KEYS = {"means": 1, "kls": KL_BINS.n, "changes": CHANGE_BINS.n}
# From so many rows on, those of weight 1 are counted, and each bin is added to its histogram once.
_COUNTED_ROWS = 1 << 13


class PairRows(NamedTuple):
    """Pairs of rows that are not yet added up."""

    scores: Array  # of shape (rows, scores)
    clusters: Array | None


class _Fields(NamedTuple):
    n_rows: int = 0
    n_classes: int = 0
    labelled: bool | None = None  # until the first rows say so
    parts: Mapping[str, Table] = _EMPTY
    lowest: Array = np.full(N_MEANS, math.inf)
    highest: Array = np.full(N_MEANS, -math.inf)
    pending: tuple[PairRows, ...] = ()
    n_pending: int = 0


class PairSums(_Fields, Sums):
    __slots__ = ()

    @classmethod
    def of_nothing(cls, bootstrap: int) -> "PairSums":
        """With a bootstrap of so many replicates, if it is not 0."""
        return cls(
            parts=_EMPTY | {"bootstrap": unseen(bootstrap, N_MEANS)} if bootstrap else _EMPTY
        )

    def check(self, new: "PairSums", other: bool = False) -> None:
        n_classes, labelled = new.n_classes, new.labelled
        if self.labelled is None or labelled is None:  # of one nothing came
            return
        if n_classes != self.n_classes:
            raise ValueError(
                f"there are {n_classes} classes on the last axis, but before there were "
                f"{self.n_classes}: a comparison is of one number of classes"
            )
        if labelled != self.labelled:
            raise ValueError(
                "labels were given "
                + ("now, but not before" if labelled else "before, but not now")
                + ": give them with all rows, or with none"
            )

    def _joined(self, other: "PairSums") -> dict[str, Any]:
        return {
            "n_classes": self.n_classes or other.n_classes,
            "labelled": self.labelled if other.labelled is None else other.labelled,
            "lowest": np.minimum(self.lowest, other.lowest),
            "highest": np.maximum(self.highest, other.highest),
        }

    def with_scores(self, parts: Iterable[Array], n: int, clusters: Array | None) -> "PairSums":
        """The sums with n more rows, whose scores come in parts; of many rows none is kept."""
        if n < PENDING_ROWS:
            return self.with_rows(PairRows(joined(list(parts)), clusters), n) if n else self
        sums = self.added_up()
        return sums._with(n_rows=sums.n_rows + n, **sums._tallied(parts, n, [clusters], [n]))

    def _with_pending(self) -> dict[str, Any]:
        scores, clusters = zip(*self.pending, strict=True)
        sizes = [len(rows) for rows in scores]
        return self._tallied([joined(list(scores))], sum(sizes), list(clusters), sizes)

    def _tallied(
        self, parts: Iterable[Array], n: int, clusters: list[Array | None], sizes: list[int]
    ) -> dict[str, Any]:
        """What changes when n rows are added, and their clusters, which come in other parts."""
        lowest, highest = self.lowest.copy(), self.highest.copy()
        tables = dict(self.parts)
        rooms = {name: tables[name].room(n_keys, n) for name, n_keys in _N_KEYS.items()}
        means, *histograms = rooms.values()
        counters = np.zeros(COUNTERS if n >= _COUNTED_ROWS else 0)
        tasks: list[tuple[Array, Any, tuple[Room, ...], Array]] = [
            (NO_KEYS, (lowest, highest), (means, NO_ROOM, NO_ROOM), np.empty(COLUMNS)),
            (NO_KEYS, (lowest, highest), (NO_ROOM, *histograms), counters),
        ]
        found = keyed(tables["clusters"], clusters, sizes)
        if found is not None:
            tables["clusters"], ids, places = found
            rooms["clusters"] = tables["clusters"].room(len(ids), n)
            # The extremes are those of all rows, which the first task finds.
            unused = np.zeros((2, N_MEANS))
            tasks.append((places, unused, (rooms["clusters"], NO_ROOM, NO_ROOM), np.empty(0)))
        tally, stop = _tally_pairs(), 0
        for scores in parts:
            start, stop, numbers = stop, stop + len(scores), scores.reshape(-1)

            def run(index: int, numbers: Array = numbers, mine: slice = slice(start, stop)) -> None:
                keys, extremes, rooms, scratch = tasks[index]
                tally(numbers, keys[mine], POWERS, *extremes, *rooms, scratch)

            threads.run(run, len(tasks), parallel=len(scores) >= PARALLEL_ROWS)
        for name, room in rooms.items():
            tables[name] = tables[name].filled(room)
        if counters.size:
            tables["kls"] = _with_counts(tables["kls"], counters[:N_KLS])
            tables["changes"] = _with_counts(tables["changes"], counters[N_KLS:])
        if found is not None:
            tables["clusters"] = tables["clusters"]._replace(ids=ids)
        return {"parts": tables, "lowest": lowest, "highest": highest}

    def numbers(self) -> dict[str, Array]:
        labelled = -1 if self.labelled is None else int(self.labelled)
        return {
            "rows": np.array([self.n_rows, self.n_classes, labelled], np.int64),
            "lowest": self.lowest.copy(),
            "highest": self.highest.copy(),
        }

    def from_state(self, state: Mapping[str, Array]) -> "PairSums":
        n_rows, n_classes, labelled = entry(state, "rows", np.int64, (3,)).tolist()
        if min(n_rows, n_classes) < 0 or labelled not in (-1, 0, 1):
            raise ValueError("'rows' of the state are not what they were: it is damaged")
        most = dict(_N_KEYS)
        if "bootstrap" in self.parts:
            most["bootstrap"] = self.parts["bootstrap"].n_keys
        return self._replace(
            n_rows=n_rows,
            n_classes=n_classes,
            labelled=None if labelled < 0 else bool(labelled),
            parts={
                name: Table.from_state(table.layout, name, state, most.get(name))
                for name, table in self.parts.items()
            },
            lowest=entry(state, "lowest", np.float64, (N_MEANS,)),
            highest=entry(state, "highest", np.float64, (N_MEANS,)),
        )


def _with_counts(histogram: Table, counts: Array) -> Table:
    """A histogram with so many more rows of weight 1 in each bin."""
    ids = np.flatnonzero(counts)
    high = np.column_stack([counts[ids], np.ones(len(ids))])
    return histogram.merged(Table(HISTOGRAM, ids, high, np.zeros(high.shape)))


@cache
def _tally_pairs() -> Callable[..., None]:
    numbers = np.empty(0)
    arguments = numbers, NO_KEYS, POWERS, numbers, numbers, NO_ROOM, NO_ROOM, NO_ROOM, numbers
    return compiler().load_or_compile(tally_pairs, arguments)  # type: ignore[no-any-return]
