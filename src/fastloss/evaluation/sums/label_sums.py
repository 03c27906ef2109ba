"""What a scorecard of several labels has seen: sums by label, means over rows, ranks."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels.binary_losses import LOGITS, PROBABILITIES
from ...kernels.label_rows import N_LABEL_ROW_SCORES, LabelRowScores, n_memory, score_label_rows
from .accumulator import PARALLEL_ROWS
from .binary_sums import BinaryRows, Manner, layout_of
from .group_names import GroupNames
from .labelled_rows import LabelledRows, LabelledSums, merged
from .mean_sums import layout_of as layout_of_means
from .mean_sums import with_rows
from .samples import Sampled, Samples
from .score_table import ScoreTable
from .state import entry
from .table import Table

_NO_MASK = np.empty(0, np.uint8)
# Numbers that are added up at a time, and those that a thread scores at a time.
SLAB, PIECE = 1 << 22, 1 << 16
# Of what is found out about a row, the means over its labels, and what rows have as a whole.
_KNOWN, _WHOLE = slice(1, 4), slice(4, N_LABEL_ROW_SCORES)
# The tables of both, of all rows; there are those by group, and samples, besides.
TABLES = {"known": _KNOWN, "rows": _WHOLE}


class LabelTables(NamedTuple):
    """The scores of each label, whatever the other labels of its rows are."""

    tables: tuple[ScoreTable, ...] = ()

    @property
    def n_keys(self) -> int:
        return sum(table.n_keys for table in self.tables)

    def merged(self, other: "LabelTables") -> "LabelTables":
        if not self.tables or not other.tables:
            return self if self.tables else other
        return LabelTables(
            tuple(a.merged(b) for a, b in zip(self.tables, other.tables, strict=True))
        )

    def state(self, name: str) -> dict[str, Array]:
        state: dict[str, Array] = {}
        for j, table in enumerate(self.tables):
            state |= table.state(f"{name}_{j}")
        return state

    @classmethod
    def from_state(
        cls, name: str, state: Mapping[str, Array], n_labels: int, bins: int | None
    ) -> "LabelTables":
        return cls(
            tuple(ScoreTable.from_state(f"{name}_{j}", state, bins) for j in range(n_labels))
        )


class _Columns(NamedTuple):
    labels: Array  # uint8
    scores: Array
    mask: Array | None = None  # which labels are known
    weights: Array | None = None
    groups: Array | None = None
    clusters: Array | None = None
    draws: Array | None = None


class LabelRows(_Columns, LabelledRows):
    """Rows of labels of 0 and 1 and scores, of shape (rows, labels); and what rows have besides."""

    __slots__ = ()

    def parts(self, manner: Manner) -> dict[str, Any]:
        """The sums over these rows."""
        n, n_labels = self.labels.shape
        found: dict[str, Any] = {"labels": merged(self._by_label(manner))}
        weight = np.ones(n) if self.weights is None else np.asarray(self.weights, np.float64)
        scores, sampled = self._scores(manner), Sampled(self.clusters, self.draws)
        for name, columns in TABLES.items():
            # In means over labels a row weighs as many as are known of it.
            share = scores[:, 0] / n_labels if columns == _KNOWN else scores[:, 0] > 0
            numbers = np.column_stack([weight * share, scores[:, columns]])
            table = Table.empty(layout_of_means(numbers.shape[1] - 1))
            found[name] = with_rows(table, np.zeros(n, np.int64), numbers)
            if self.groups is not None:
                found[f"{name}_groups"] = with_rows(table, self.groups, numbers)
            if sampled.is_any:
                nothing = Samples.empty(numbers.shape[1] - 1, manner.bootstrap)
                found[f"{name}_samples"] = nothing.with_rows(sampled, numbers)
        if manner.ranks:
            found["scores"] = LabelTables(
                tuple(
                    _empty(manner, n_labels).merged(self._scores_of(j, manner.bins))
                    for j in range(n_labels)
                )
            )
        return found

    def _by_label(self, manner: Manner) -> Iterator[Table]:
        """The sums of each label, over some rows after the other."""
        n, n_labels = self.labels.shape
        step = max(1, SLAB // n_labels)
        for start in range(0, n, step):
            rows = self.each(lambda array, start=start: array[start : start + step])
            weights = None
            if rows.weights is not None:
                weights = np.broadcast_to(rows.weights, rows.labels.T.shape)
            columns = rows.labels.T, rows.scores.T, weights
            if rows.mask is None:
                flat: Any = (None if a is None else a.reshape(-1) for a in columns)
                sizes = np.full(n_labels, len(rows.labels))
            else:
                known = rows.mask.T
                flat = (None if a is None else a[known] for a in columns)
                sizes = rows.mask.sum(axis=0)
            yield BinaryRows(*flat).sums(np.append(0, np.cumsum(sizes)), manner)

    def _scores(self, manner: Manner) -> Array:
        """`LabelRowScores` of each row, of shape (rows, scores)."""
        n, n_labels = self.labels.shape
        found = np.empty((n, N_LABEL_ROW_SCORES))
        step = max(1, PIECE // n_labels)
        run = _score_label_rows()

        def task(i: int) -> None:
            here = slice(i * step, (i + 1) * step)
            mask = self.mask
            run(
                np.ascontiguousarray(self.labels[here]).reshape(-1),
                np.ascontiguousarray(self.scores[here], np.float64).reshape(-1),
                _NO_MASK
                if mask is None
                else np.ascontiguousarray(mask[here], np.uint8).reshape(-1),
                n_labels,
                PROBABILITIES if manner.from_probabilities else LOGITS,
                manner.thresholds[0],
                int(manner.ranks),
                np.empty(n_memory(n_labels)),
                *np.empty((2, n_labels), np.int64),
                found[here].reshape(-1),
            )

        threads.run(task, -(-n // step), parallel=n * n_labels >= PARALLEL_ROWS)
        return found

    def _scores_of(self, label: int, bins: int | None) -> ScoreTable:
        """The scores of one label."""
        known = slice(None) if self.mask is None else self.mask[:, label]
        scores = self.scores[:, label]
        if scores.dtype.itemsize <= 2:
            # Counts of all that 16 bits can be would take a megabyte for each label.
            scores = scores.astype(np.float32)
        weights = None if self.weights is None else self.weights[known]
        return ScoreTable.of(self.labels[known, label], scores[known], weights, bins)


def _empty(manner: Manner, n_labels: int) -> ScoreTable:
    """Of a label, which has its share of the memory."""
    limit = manner.memory_limit
    return ScoreTable.empty(manner.bins, None if limit is None else limit // max(n_labels, 1))


class _Fields(NamedTuple):
    manner: Manner
    parts: Mapping[str, Any]
    n_rows: int = 0
    n_labels: int = 0  # until the first rows say so
    pending: tuple[LabelRows, ...] = ()
    n_pending: int = 0


class LabelSums(_Fields, LabelledSums):
    __slots__ = ()

    @classmethod
    def of_nothing(cls, manner: Manner) -> "LabelSums":
        parts: dict[str, Any] = {
            "labels": Table.empty(layout_of(len(manner.thresholds), 0)),
            "group_names": GroupNames(),
        }
        for name, columns in TABLES.items():
            n = len(LabelRowScores._fields[columns])
            parts[name] = parts[f"{name}_groups"] = Table.empty(layout_of_means(n))
            parts[f"{name}_samples"] = Samples.empty(n, manner.bootstrap)
        return cls(manner, parts | ({"scores": LabelTables()} if manner.ranks else {}))

    def check(self, new: "LabelSums", other: bool = False) -> None:
        super().check(new, other)
        if self.n_labels and new.n_labels and self.n_labels != new.n_labels:
            raise ValueError(
                f"other has seen {new.n_labels} labels and this scorecard {self.n_labels}"
                if other
                else f"predictions have {new.n_labels} labels on the last axis, but those that "
                f"came before have {self.n_labels}: keep a scorecard for each"
            )

    def _joined(self, other: "LabelSums") -> dict[str, Any]:
        return {"n_labels": self.n_labels or other.n_labels}

    def numbers(self) -> dict[str, Array]:
        return {"counts": np.array([self.n_rows, self.n_labels], np.int64)}

    def from_state(self, state: Mapping[str, Array]) -> "LabelSums":
        n_rows, n_labels = entry(state, "counts", np.int64, (2,)).tolist()
        if min(n_rows, n_labels) < 0:
            raise ValueError("'counts' of the state are not what they were: it is damaged")
        n_keys = {"labels": n_labels} | dict.fromkeys(TABLES, 1)
        parts: dict[str, Any] = {
            name: Table.from_state(part.layout, name, state, n_keys.get(name))
            for name, part in self.parts.items()
            if isinstance(part, Table)
        }
        parts |= {
            name: part.from_state(name, state)
            for name, part in self.parts.items()
            if isinstance(part, Samples)
        }
        ids = parts["rows_groups"].ids
        parts["group_names"] = GroupNames.from_state("group_names", state, ids)
        if self.manner.ranks:
            tables = LabelTables.from_state(
                "scores", state, n_labels if n_rows else 0, self.manner.bins
            ).tables
            empty = _empty(self.manner, n_labels)
            parts["scores"] = LabelTables(tuple(empty.merged(table) for table in tables))
        return self._replace(parts=parts, n_rows=n_rows, n_labels=n_labels)


@cache
def _score_label_rows() -> Any:
    """The compiled loop."""
    numbers, integers = np.empty(0), np.empty(0, np.int64)
    examples = (_NO_MASK, numbers, _NO_MASK, 1, 1, 1.0, 1, numbers, integers, integers, numbers)
    return compiler().load_or_compile(score_label_rows, examples)
