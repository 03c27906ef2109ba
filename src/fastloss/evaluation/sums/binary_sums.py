"""What a binary scorecard has seen: sums over rows, by group, and the scores by rank."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels import binary_rows as kernel
from ...kernels.binary_bins import MOST_ROWS, MOST_WITH_PLACES
from ...kernels.binary_losses import LOGITS, PROBABILITIES
from ...kernels.binary_row_scores import N_BINARY_ROW_SCORES, SCRATCH, score_binary_rows
from ...kernels.binary_terms import CENTERS, FIRSTS, SECONDS, BinaryTerms
from .accumulator import PARALLEL_ROWS
from .group_names import GroupNames
from .grouped_scores import GroupedScores
from .labelled_rows import LabelledRows, LabelledSums
from .samples import Sampled, Samples
from .score_table import ScoreTable
from .state import entry
from .table import NO_KEYS, Layout, Table

_NO_NUMBERS, _NO_SINGLES = np.empty(0), np.empty(0, np.float32)
# Rows that a thread adds up at a time, so that bits do not depend on the number of threads.
BLOCK = MOST_ROWS
# Means with errors by cluster, and with replicates; decisions have weights of their own.
SAMPLES = {"means": ("loss", "brier"), "decisions": ("accuracy",)}


def layout_of(n_thresholds: int, n_bins: int) -> Layout:
    return Layout(
        kernel.powers_of(n_thresholds, n_bins),
        centers=slice(CENTERS, CENTERS + 2),
        firsts=slice(FIRSTS, FIRSTS + 2),
        seconds=slice(SECONDS, SECONDS + 2),
        squared_weight=BinaryTerms._fields.index("squared_weight"),
    )


class Manner(NamedTuple):
    """The options of a scorecard that say how rows are scored."""

    from_probabilities: bool
    thresholds: tuple[float, ...]
    n_bins: int
    ranks: bool
    bins: int | None  # of ranks, which are exact without
    bootstrap: int = 0  # replicates
    memory_limit: int | None = None  # bytes of ranks

    def options(self) -> dict[str, Any]:
        """Those that sums depend on."""
        return {name: value for name, value in self._asdict().items() if name != "memory_limit"}

    def nothing(self) -> dict[str, Any]:
        """Parts without rows. Groups have no bins, as there may be many."""
        n = len(self.thresholds)
        parts: dict[str, Any] = {
            "totals": Table.empty(layout_of(n, self.n_bins)),
            "groups": Table.empty(layout_of(n, 0)),
            "group_names": GroupNames(),
            **{name: Samples.empty(len(of), self.bootstrap) for name, of in SAMPLES.items()},
        }
        if self.ranks:
            parts["scores"] = ScoreTable.empty(self.bins, self.memory_limit)
            if self.bins is None:
                parts["group_scores"] = GroupedScores()
                parts["cluster_scores"] = GroupedScores(room=parts["scores"].room)
        return parts


class _Columns(NamedTuple):
    labels: Array  # uint8
    scores: Array
    weights: Array | None = None
    groups: Array | None = None
    clusters: Array | None = None
    draws: Array | None = None


class BinaryRows(_Columns, LabelledRows):
    """Labels of 0 and 1, scores of any dtype and, if there are any, what rows have, in a line."""

    __slots__ = ()

    def parts(self, manner: Manner) -> dict[str, Any]:
        """The sums over these rows."""
        n = len(self.labels)
        # To add up the sums of many bins takes longer than to add rows to them.
        size = BLOCK if manner.n_bins <= MOST_WITH_PLACES else 16 * BLOCK
        starts = np.append(np.arange(0, n, size), n)
        edges = np.arange(manner.n_bins + 1) / manner.n_bins
        parts: dict[str, Any] = {"totals": self.sums(starts, manner, edges).total()}
        if manner.ranks:
            parts["scores"] = ScoreTable.of(self.labels, self.scores, self.weights, manner.bins)
        if manner.ranks and manner.bins is None:
            for name, of_rows in (("group_scores", self.groups), ("cluster_scores", self.clusters)):
                if of_rows is not None:
                    parts[name] = GroupedScores.of(of_rows, self.labels, self.scores, self.weights)
        if self.groups is not None:
            ids, places, counts = np.unique(self.groups, return_inverse=True, return_counts=True)
            order = np.argsort(places, kind="stable")
            ordered = self.each(lambda array: array[order])
            starts = np.append(0, np.cumsum(counts))
            parts["groups"] = ordered.sums(starts, manner)._replace(ids=ids)
        sampled = Sampled(self.clusters, self.draws)
        if sampled.is_any:
            parts |= self._samples(sampled, manner)
        return parts

    def _samples(self, sampled: Sampled, manner: Manner) -> dict[str, Samples]:
        """What errors by cluster and a bootstrap need of these rows."""
        weights = np.ones(len(self.labels)) if self.weights is None else self.weights
        scores = self._scores(manner)
        # Decisions leave out what the loss does not know.
        known = np.where(np.isnan(scores[:, 2]), 0.0, weights)
        numbers = {"means": (weights, scores[:, :2]), "decisions": (known, scores[:, 2:])}
        return {
            name: Samples.empty(values.shape[1], manner.bootstrap).with_rows(
                sampled, np.column_stack([weight, values])
            )
            for name, (weight, values) in numbers.items()
        }

    def _scores(self, manner: Manner) -> Array:
        """Loss, Brier score and whether the decision is right, of shape (rows, 3)."""
        n = len(self.labels)
        found = np.empty((n, N_BINARY_ROW_SCORES))
        what = PROBABILITIES if manner.from_probabilities else LOGITS
        score = _score_binary_rows()

        def run(i: int) -> None:
            here = slice(i * BLOCK, (i + 1) * BLOCK)
            score(
                np.ascontiguousarray(self.labels[here]),
                np.ascontiguousarray(self.scores[here], np.float64),
                what,
                manner.thresholds[0],
                np.empty(SCRATCH),
                found[here].reshape(-1),
            )

        threads.run(run, -(-n // BLOCK), parallel=n >= PARALLEL_ROWS)
        return found

    def sums(self, starts: Array, manner: Manner, edges: Array = _NO_NUMBERS) -> Table:
        """The sums of each segment of rows between two `starts`, by its number."""
        thresholds, n_bins = np.array(manner.thresholds), max(0, len(edges) - 1)
        layout = layout_of(len(thresholds), n_bins)
        n = len(starts) - 1
        high, low = np.zeros((2, n, layout.width))
        what = PROBABILITIES if manner.from_probabilities else LOGITS
        tally, n_scratch = _tally_binary(), kernel.n_scratch(len(thresholds), n_bins)
        is_single = np.can_cast(self.scores.dtype, np.float32)
        # A thread takes whole segments.
        cuts = np.unique(np.searchsorted(starts, np.arange(0, starts[-1], BLOCK)))
        cuts = np.append(cuts[cuts < n], n)

        def run(i: int) -> None:
            first, last = cuts[i], cuts[i + 1]
            here = slice(starts[first], starts[last])
            weights = self.weights
            tally(
                np.ascontiguousarray(self.labels[here]),
                np.ascontiguousarray(self.scores[here], np.float32) if is_single else _NO_SINGLES,
                _NO_NUMBERS if is_single else np.ascontiguousarray(self.scores[here], np.float64),
                _NO_NUMBERS if weights is None else np.ascontiguousarray(weights[here], np.float64),
                starts[first : last + 1] - starts[first],
                what,
                thresholds,
                edges,
                np.empty(n_scratch),
                np.empty(kernel.n_counts(n_bins), np.int64),
                high[first:last].reshape(-1),
                low[first:last].reshape(-1),
            )

        threads.run(run, len(cuts) - 1, parallel=bool(starts[-1] >= PARALLEL_ROWS))
        return Table(layout, np.arange(n), high, low)


class _Fields(NamedTuple):
    manner: Manner
    parts: Mapping[str, Any]
    n_rows: int = 0
    pending: tuple[BinaryRows, ...] = ()
    n_pending: int = 0


class BinarySums(_Fields, LabelledSums):
    __slots__ = ()

    def numbers(self) -> dict[str, Array]:
        return {"rows": np.array([self.n_rows], np.int64)}

    def from_state(self, state: Mapping[str, Array]) -> "BinarySums":
        (n_rows,) = entry(state, "rows", np.int64, (1,)).tolist()
        if n_rows < 0:
            raise ValueError("'rows' of the state are not what they were: it is damaged")
        parts: dict[str, Any] = {}
        for name, part in self.parts.items():
            if name == "group_names":
                parts[name] = GroupNames.from_state(name, state, parts["groups"].ids)
            elif name in ("group_scores", "cluster_scores"):
                parts[name] = part.merged(GroupedScores.from_state(name, state))
            elif name in SAMPLES:
                parts[name] = part.from_state(name, state)
            elif name == "scores":
                parts[name] = part.merged(ScoreTable.from_state(name, state, self.manner.bins))
            else:
                n_keys = 1 if name == "totals" else None
                parts[name] = Table.from_state(part.layout, name, state, n_keys)
        return self._replace(parts=parts, n_rows=n_rows)


@cache
def _score_binary_rows() -> Any:
    examples = np.empty(0, np.uint8), _NO_NUMBERS, 1, 1.0, _NO_NUMBERS, _NO_NUMBERS
    return compiler().load_or_compile(score_binary_rows, examples)


@cache
def _tally_binary() -> Any:
    numbers, labels, counts = _NO_NUMBERS, np.empty(0, np.uint8), NO_KEYS
    rows = labels, _NO_SINGLES, numbers, numbers, NO_KEYS
    examples = *rows, 1, numbers, numbers, numbers, counts, numbers, numbers
    return compiler().load_or_compile(kernel.tally_binary, examples)
