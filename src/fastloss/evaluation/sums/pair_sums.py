"""What a comparison has seen: sums, extremes and histograms over pairs of rows."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels.tally_pairs import (
    CENTERS,
    CHANGE_BINS,
    FIRSTS,
    KL_BINS,
    N_MEANS,
    POWERS,
    SECONDS,
    tally_pairs,
)
from .accumulator import PARALLEL_ROWS, Sums, joined
from .state import entry
from .table import HISTOGRAM, NO_ROOM, Layout, Table

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
}
# How many keys each table has.
_N_KEYS = {"means": 1, "kls": KL_BINS.n, "changes": CHANGE_BINS.n}


class _Fields(NamedTuple):
    n_rows: int = 0
    n_classes: int = 0
    labelled: bool | None = None  # until the first rows say so
    parts: Mapping[str, Table] = _EMPTY
    lowest: Array = np.full(N_MEANS, math.inf)
    highest: Array = np.full(N_MEANS, -math.inf)
    pending: tuple[Array, ...] = ()  # scores of rows that are not yet added up
    n_pending: int = 0


class PairSums(_Fields, Sums):
    __slots__ = ()

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

    def _with_pending(self) -> dict[str, Any]:
        scores = joined(list(self.pending))
        lowest, highest = self.lowest.copy(), self.highest.copy()
        rooms = {name: table.room(_N_KEYS[name], len(scores)) for name, table in self.parts.items()}
        means, *histograms = rooms.values()
        tally, numbers = _tally_pairs(), scores.reshape(-1)

        def run(index: int) -> None:
            rooms = (means, NO_ROOM, NO_ROOM) if index == 0 else (NO_ROOM, *histograms)
            tally(numbers, POWERS, lowest, highest, *rooms)

        threads.run(run, 2, parallel=len(scores) >= PARALLEL_ROWS)
        tables = {name: table.filled(rooms[name]) for name, table in self.parts.items()}
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
        return self._replace(
            n_rows=n_rows,
            n_classes=n_classes,
            labelled=None if labelled < 0 else bool(labelled),
            parts={
                name: Table.from_state(table.layout, name, state, _N_KEYS[name])
                for name, table in self.parts.items()
            },
            lowest=entry(state, "lowest", np.float64, (N_MEANS,)),
            highest=entry(state, "highest", np.float64, (N_MEANS,)),
        )


@cache
def _tally_pairs() -> Callable[..., None]:
    numbers = np.empty(0)
    arguments = numbers, POWERS, numbers, numbers, NO_ROOM, NO_ROOM, NO_ROOM
    return compiler().load_or_compile(tally_pairs, arguments)  # type: ignore[no-any-return]
