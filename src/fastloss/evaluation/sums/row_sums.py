"""What a scorecard has seen: sums by bin of confidence, rank, class, group, sequence, cluster."""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels import tally as kernel
from ...kernels.form import RowScores
from ...kernels.tally import (
    CENTER,
    FIRST,
    SECOND,
    SLOPE_POWERS,
    TERM_POWERS,
    Room,
    Terms,
)
from .accumulator import PARALLEL_ROWS, Sums, joined
from .class_bins import NO_CLASSES
from .group_names import GroupNames
from .replicates import replicated, unseen
from .score_table import ScoreTable
from .state import entry
from .table import HISTOGRAM, NO_KEYS, NO_ROOM, Layout, Table, keyed
from .tokens import Chunk, Tokens

_NO_NUMBERS = np.empty(0)
# Whether sequences have ids of their own, or numbers as they come.
NAMED, NUMBERED = "named", "numbered"
_KINDS = ("", NAMED, NUMBERED)

TERMS = Layout(
    TERM_POWERS,
    centers=slice(CENTER, CENTER + 1),
    firsts=slice(FIRST, FIRST + 1),
    seconds=slice(SECOND, SECOND + 1),
    squared_weight=Terms._fields.index("squared_weight"),
)
_ALWAYS = {
    name: Table.empty(HISTOGRAM if name == "ranks" else TERMS)
    for name in ("bins", "ranks", "groups", "sequences", "clusters")
}
_CLASSES = {"classes": Table.empty(TERMS), "predictions": Table.empty(HISTOGRAM)}
_CONFUSION = {"confusion": Table.empty(HISTOGRAM)}
_SLOPES = {"slopes": Table.empty(Layout(SLOPE_POWERS))}
PREDICTION = RowScores._fields.index("prediction")
# What a bootstrap resamples the means of, from the `RowScores` of all rows.
RESAMPLED: Mapping[str, Callable[[RowScores], Array]] = {
    "loss": lambda row: row.loss,
    "accuracy": lambda row: row.rank == 0,
    "mean_reciprocal_rank": lambda row: 1 / (row.rank + 1),
    "brier": lambda row: row.brier,
    "entropy": lambda row: row.entropy,
    "confidence": lambda row: row.confidence,
}


class Kept(NamedTuple):
    """What is added up besides what always is."""

    by_class: bool = True
    confusion: bool = False
    bootstrap: int = 0  # replicates
    by_confidence: bool = False
    tokens: bool = False
    classwise: bool = False
    slopes: bool = False
    memory_limit: int | None = None  # bytes of confidences

    def options(self) -> dict[str, Any]:
        """Those that sums depend on."""
        return {name: value for name, value in self._asdict().items() if name != "memory_limit"}

    def parts(self) -> dict[str, Any]:
        """They are empty."""
        parts: dict[str, Any] = _ALWAYS | {"group_names": GroupNames()}
        if self.by_class:
            parts |= _CLASSES
        if self.confusion:
            parts |= _CONFUSION
        if self.bootstrap:
            parts["bootstrap"] = unseen(self.bootstrap, len(RESAMPLED))
        if self.by_confidence:
            parts["confidences"] = ScoreTable.empty(None, self.memory_limit)
        if self.tokens:
            parts["tokens"] = Tokens()
        if self.classwise:
            parts["classwise"] = NO_CLASSES
        if self.slopes:
            parts |= _SLOPES
        return parts


class ScoredRows(NamedTuple):
    """Rows that were scored and are not yet added up, and the sequences that came with them."""

    scores: Array  # of shape (rows, scores)
    labels: Array
    groups: Array | None
    sequences: Array | None
    clusters: Array | None
    # Sequences, which may have no rows, and the bytes of each, NaN if they are not known.
    ids: Array = NO_KEYS
    n_bytes: Array = _NO_NUMBERS


class _Fields(NamedTuple):
    n_bins: int
    parts: Mapping[str, Any]
    n_rows: int = 0
    n_classes: int = 0
    sequences: str = ""  # whether they are named or numbered, if there are any
    next_sequence: int = 0
    bytes_ids: Array = NO_KEYS
    n_bytes: Array = _NO_NUMBERS
    pending: tuple[ScoredRows, ...] = ()
    n_pending: int = 0


class RowSums(_Fields, Sums):
    one_by_one = True
    __slots__ = ()

    @classmethod
    @lru_cache(maxsize=8)  # each update begins with them
    def of_nothing(cls, n_bins: int, kept: Kept) -> "RowSums":
        return cls(n_bins, kept.parts())

    def check(self, new: "RowSums", other: bool = False) -> None:
        super().check(new, other)
        n_classes, sequences = new.n_classes, new.sequences
        if n_classes and self.n_classes not in (0, n_classes):
            raise ValueError(
                f"other has seen {n_classes} classes and this scorecard {self.n_classes}"
                if other
                else f"logits have {n_classes} classes on the last axis, but those that came "
                f"before have {self.n_classes}: keep a scorecard for each"
            )
        if sequences and self.sequences not in ("", sequences):
            raise ValueError(
                ("other" if other else "sequences" if sequences == NAMED else "offsets")
                + (
                    " has ids, but those that came before were numbered, as they had offsets"
                    if sequences == NAMED
                    else " numbers sequences, but those that came before had ids of their own"
                )
                + ": keep to one of the two"
            )

    def plus(self, other: "RowSums") -> "RowSums":
        """The sums over the rows of both; sequences that the other has numbered are numbered on."""
        first = self.next_sequence if other.next_sequence else 0
        return super().plus(other.numbered_from(first) if first else other)

    def numbered_from(self, first: int) -> "RowSums":
        """The same with numbers of sequences that are larger by this."""
        table = self.parts["sequences"]
        moved: dict[str, Any] = {"sequences": table._replace(ids=table.ids + first)}
        if "tokens" in self.parts:
            moved["tokens"] = self.parts["tokens"].numbered_from(first)
        return self._replace(
            parts={**self.parts, **moved},
            next_sequence=self.next_sequence + first,
            bytes_ids=self.bytes_ids + first,
            pending=tuple(
                rows._replace(
                    sequences=None if rows.sequences is None else rows.sequences + first,
                    ids=rows.ids + first,
                )
                for rows in self.pending
            ),
        )

    def _joined(self, other: "RowSums") -> dict[str, Any]:
        return {
            "n_classes": self.n_classes or other.n_classes,
            "sequences": self.sequences or other.sequences,
            "next_sequence": max(self.next_sequence, other.next_sequence),
            **self._with_bytes(other.bytes_ids, other.n_bytes),
        }

    def _with_bytes(self, ids: Array, n_bytes: Array) -> dict[str, Array]:
        """The bytes of sequences, with those of more of them."""
        if not ids.size:
            return {}
        return {
            "bytes_ids": np.append(self.bytes_ids, ids),
            "n_bytes": np.append(self.n_bytes, n_bytes),
        }

    def _with_pending(self) -> dict[str, Any]:
        ids = joined([rows.ids for rows in self.pending])
        n_bytes = joined([rows.n_bytes for rows in self.pending])
        known = ~np.isnan(n_bytes)
        return {
            "parts": _Tally(self).tables_with(ids),
            **self._with_bytes(ids[known], n_bytes[known]),
        }

    def numbers(self) -> dict[str, Array]:
        kind = _KINDS.index(self.sequences)
        numbers = [self.n_rows, self.n_classes, kind, self.next_sequence]
        return {
            "rows": np.array(numbers, np.int64),
            "bytes_ids": self.bytes_ids.copy(),
            "bytes": self.n_bytes.copy(),
        }

    def from_state(self, state: Mapping[str, Array]) -> "RowSums":
        n_rows, n_classes, kind, next_sequence = entry(state, "rows", np.int64, (4,)).tolist()
        if min(n_rows, n_classes, next_sequence) < 0 or not 0 <= kind < len(_KINDS):
            raise ValueError("'rows' of the state are not what they were: it is damaged")
        most = {
            "bins": self.n_bins + 1,
            "slopes": 1,
            "confusion": n_classes**2,
            "classwise": n_classes * self.n_bins,
            "bootstrap": self.parts["bootstrap"].n_keys if "bootstrap" in self.parts else 0,
            **dict.fromkeys(("ranks", "classes", "predictions"), n_classes),
        }
        tables = {
            name: Table.from_state(table.layout, name, state, most.get(name))
            for name, table in self.parts.items()
            if isinstance(table, Table)
        }
        others: dict[str, Any] = {
            name: part.merged(type(part).from_state(name, state))
            for name, part in self.parts.items()
            if name in ("confidences", "tokens")
        }
        names = GroupNames.from_state("group_names", state, tables["groups"].ids)
        ids, bytes_ids = tables["sequences"].ids, entry(state, "bytes_ids", np.int64, (None,))
        n_bytes = entry(state, "bytes", np.float64, (len(bytes_ids),))
        numbered, tokens = _KINDS[kind] == NUMBERED, others.get("tokens", Tokens())
        if (
            (ids.size and not kind)
            or (numbered and not ((ids >= 0) & (ids < next_sequence)).all())
            or not all(np.isin(each.ids, ids).all() for each in tokens.chunks)
            or not (np.isin(bytes_ids, ids).all() and len(np.unique(bytes_ids)) == len(bytes_ids))
            or not ((n_bytes >= 0) & (n_bytes < np.inf)).all()
        ):
            raise ValueError("the sequences of the state are not what they were: it is damaged")
        return self._replace(
            parts={**tables, **others, "group_names": names},
            n_rows=n_rows,
            n_classes=n_classes,
            sequences=_KINDS[kind],
            next_sequence=next_sequence,
            bytes_ids=bytes_ids,
            n_bytes=n_bytes,
        )


class _Task(NamedTuple):
    """What a thread does: add all rows to a table and to a histogram, so that they come in order.

    Either may be missing: its name is "" then.
    """

    what: int
    keys: Array
    name: str
    room: Room
    histogram: str
    cells: Room


class _Tally:
    """The pending rows of sums, and the tables that they are added to."""

    def __init__(self, sums: RowSums) -> None:
        self.n_bins, self.n_classes = sums.n_bins, sums.n_classes
        # What came without rows are sequences, whose table is told of them.
        self.pending = [rows for rows in sums.pending if len(rows.labels)] or sums.pending[:1]
        self.scores = joined([rows.scores for rows in self.pending])
        self.tables = dict(sums.parts)
        self.ids: dict[str, Array] = {}  # of the tables whose keys are places in these
        self.tasks: list[_Task] = []

    def tables_with(self, sequences: Array) -> dict[str, Any]:
        """The tables with the pending rows, and with these sequences."""
        n = self.n_classes
        self._plan(kernel.BINS, "bins", self.n_bins + 1, histogram="ranks", n_cells=n)
        labels = joined([rows.labels for rows in self.pending])
        if "classes" in self.tables:
            self._plan(kernel.KEYS, "classes", n, labels, histogram="predictions", n_cells=n)
        if "confusion" in self.tables:
            predictions = self.scores[:, PREDICTION]
            known = predictions == predictions
            cells = np.where(known, labels * n + np.where(known, predictions, 0.0), -1.0)
            keys = cells.astype(np.int64)
            self._plan(kernel.CELLS, "", 0, keys, histogram="confusion", n_cells=n * n)
        for name, more in (("groups", NO_KEYS), ("sequences", sequences), ("clusters", NO_KEYS)):
            self._plan_by_id(name, [getattr(rows, name) for rows in self.pending], more)
        if "slopes" in self.tables:
            self._plan(kernel.SLOPES, "slopes", 1)
        tally, numbers = _tally_rows(), self.scores.reshape(-1)

        def run(index: int) -> None:
            task = self.tasks[index]
            powers = self.tables[task.name].layout.powers if task.name else TERM_POWERS
            scratch = np.empty(2 * len(powers))
            tally(
                numbers, task.keys, task.what, self.n_bins, powers, scratch, task.room, task.cells
            )

        threads.run(run, len(self.tasks), parallel=len(self.scores) >= PARALLEL_ROWS)
        for task in self.tasks:
            if task.name:
                table = self.tables[task.name].filled(task.room)
                if task.name in self.ids:
                    table = table._replace(ids=self.ids[task.name])
                self.tables[task.name] = table
            if task.histogram:
                self.tables[task.histogram] = self.tables[task.histogram].filled(task.cells)
        return self.tables

    def _plan(
        self,
        what: int,
        name: str,
        n_keys: int,
        keys: Array = NO_KEYS,
        histogram: str = "",
        n_cells: int = 0,
    ) -> None:
        room, cells = self._room(name, n_keys), self._room(histogram, n_cells)
        self.tasks.append(_Task(what, keys, name, room, histogram, cells))

    def _room(self, name: str, n_keys: int) -> Room:
        if not name:
            return NO_ROOM
        table: Table = self.tables[name]
        return table.room(n_keys, len(self.scores))

    def _plan_by_id(self, name: str, ids: list[Array | None], more: Array) -> None:
        """Plan a table whose keys are any integers, which rows have or not; `more` have no rows."""
        found = keyed(self.tables[name], ids, [len(rows.labels) for rows in self.pending], more)
        if found is not None:
            self.tables[name], self.ids[name], places = found
            self._plan(kernel.KEYS, name, len(self.ids[name]), places)


def confidences_of(scores: Array) -> ScoreTable:
    """The confidences of rows, of which those are positive whose prediction is right."""
    row = RowScores(*scores.T)
    counts = row.weight > 0
    weights = row.weight[counts]
    confidence = np.where(np.isnan(row.loss), np.nan, row.confidence)[counts]
    right = row.rank[counts] == 0
    return ScoreTable.of(right, confidence, None if (weights == 1).all() else weights)


def tokens_of(scores: Array, sequences: Array) -> Tokens:
    """What is kept of the rows of sequences."""
    row = RowScores(*scores.T)
    counts = row.weight > 0
    ranks = np.where(np.isnan(row.rank), -1, row.rank)
    return Tokens((Chunk(sequences[counts], row.loss[counts], ranks[counts].astype(np.int32)),))


def resampled_rows(n: int, ids: Array, scores: Array) -> Table:
    """The sums of n replicates of rows with these ids."""
    row = RowScores(*scores.T)
    numbers = [number(row) for number in RESAMPLED.values()]
    return replicated(n, ids, row.weight, np.stack(numbers, axis=1))


@cache
def _tally_rows() -> Any:
    """The compiled loop; it writes into nothing but the rooms."""
    examples = _NO_NUMBERS, NO_KEYS, 1, 1, NO_KEYS, _NO_NUMBERS, NO_ROOM, NO_ROOM
    return compiler().load_or_compile(kernel.tally_rows, examples)
