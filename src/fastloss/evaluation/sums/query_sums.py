"""What a scorecard of rankings has seen: means over queries, and rows of queries that may go on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from ...kernels.ranked_queries import N_QUERY_SCORES
from .accumulator import Sums, joined
from .group_names import GroupNames
from .mean_sums import layout_of, with_rows
from .samples import Sampled, Samples
from .state import entry
from .table import Table

# Of what is found out about a query, the first needs a gain and the others a relevant document.
MEANS = ("gains", "relevant")
_TABLES = ("gains", "gains_groups", "relevant", "relevant_groups")


class ScoredQueries(NamedTuple):
    """Queries that were scored and are not yet added up."""

    numbers: Array  # `QueryScores`, each for every k, of shape (queries, scores * k)
    counts: Array  # the number of relevant documents and the largest gain, of shape (queries, 2)
    weight: Array
    groups: Array
    grouped: Array  # which of them have a group
    clusters: Array
    clustered: Array
    draws: Array  # what a bootstrap knows them by, if there is one


class QueryRows(NamedTuple):
    """Documents of queries with ids, each in a row. They are kept, as their queries may go on.

    There may be neither weights nor groups nor clusters, which then take no memory.
    """

    queries: Array = np.empty(0, np.int64)
    relevances: Array = np.empty(0)
    scores: Array = np.empty(0)
    weight: Array = np.empty(0)
    groups: Array = np.empty(0, np.int64)
    grouped: Array = np.empty(0, bool)
    clusters: Array = np.empty(0, np.int64)
    clustered: Array = np.empty(0, bool)

    def filled(self) -> "QueryRows":
        """With weights, groups and clusters."""
        n = len(self.queries)
        missing = {"weight": np.ones(n)}
        return QueryRows(
            *(
                array if len(array) == n else missing.get(name, np.zeros(n, array.dtype))
                for name, array in self._asdict().items()
            )
        )


class KeptRows(NamedTuple):
    """Rows that came in several parts."""

    runs: tuple[QueryRows, ...] = ()

    @property
    def n_keys(self) -> int:
        """None of them is copied when there are more."""
        return 0

    def merged(self, other: "KeptRows") -> "KeptRows":
        return KeptRows(self.runs + other.runs)

    def whole(self) -> QueryRows:
        """All of them, those of a query together, by ascending ids."""
        if not self.runs:
            return QueryRows()
        runs = [rows.filled() for rows in self.runs]
        rows = QueryRows(*(joined(list(parts)) for parts in zip(*runs, strict=True)))
        if _ascend(rows.queries):
            return rows
        order = np.argsort(rows.queries, kind="stable")
        return QueryRows(*(array[order] for array in rows))

    def state(self, name: str) -> dict[str, Array]:
        parts = self.whole()._asdict()
        return {f"{name}_{part}": array.copy() for part, array in parts.items()}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array]) -> "KeptRows":
        n = len(entry(state, f"{name}_queries", np.int64, (None,)))
        rows = QueryRows(
            *(
                entry(state, f"{name}_{part}", default.dtype, (n,))
                for part, default in QueryRows()._asdict().items()
            )
        )
        sound = _ascend(rows.queries)
        for array in rows.relevances, rows.weight:
            sound &= bool(((array >= 0) & (array < np.inf)).all())
        if not sound:
            raise ValueError(f"{name} of the state make no sense: it is damaged")
        return cls((rows,) if n else ())


def _ascend(ids: Array) -> bool:
    """Whether ids are in order. Differences of any two need not fit into int64."""
    return bool((ids[1:] >= ids[:-1]).all())


class _Fields(NamedTuple):
    parts: Mapping[str, Any]
    n_rows: int = 0  # documents
    # Queries, and how many of them have no gain and no relevant document.
    n_queries: int = 0
    n_without_gain: int = 0
    n_without_relevant: int = 0
    pending: tuple[ScoredQueries, ...] = ()
    n_pending: int = 0


class QuerySums(_Fields, Sums):
    __slots__ = ()

    @classmethod
    def of_nothing(cls, n_ks: int, bootstrap: int = 0) -> "QuerySums":
        more = (N_QUERY_SCORES - 1) * n_ks
        widths = (n_ks, n_ks, more, more)
        tables = {
            name: Table.empty(layout_of(width)) for name, width in zip(_TABLES, widths, strict=True)
        }
        samples = {
            f"{name}_samples": Samples.empty(width, bootstrap)
            for name, width in zip(MEANS, (n_ks, more), strict=True)
        }
        return cls({**tables, **samples, "rows": KeptRows(), "group_names": GroupNames()})

    def with_queries(self, queries: ScoredQueries, n_documents: int) -> "QuerySums":
        """The sums with so many more queries pending."""
        counts, n, sums = queries.counts, len(queries.counts), self.settled()
        return sums._replace(
            n_rows=sums.n_rows + n_documents,
            n_queries=sums.n_queries + n,
            n_without_relevant=sums.n_without_relevant + int((counts[:, 0] == 0).sum()),
            n_without_gain=sums.n_without_gain + int((counts[:, 1] == 0).sum()),
            pending=(*sums.pending, queries),
            n_pending=sums.n_pending + n,
        )

    def with_kept(self, rows: QueryRows) -> "QuerySums":
        """The sums with more rows that are kept."""
        kept = self.parts["rows"].merged(KeptRows((rows,)))
        return self._replace(
            n_rows=self.n_rows + len(rows.queries), parts={**self.parts, "rows": kept}
        )

    def _joined(self, other: "QuerySums") -> dict[str, Any]:
        return {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}

    def _with_pending(self) -> dict[str, Any]:
        columns = (joined(list(parts)) for parts in zip(*self.pending, strict=True))
        queries, parts = ScoredQueries(*columns), dict(self.parts)
        n_ks = queries.numbers.shape[1] // N_QUERY_SCORES
        total = np.zeros(len(queries.numbers), np.int64)
        for name, there, numbers in (
            ("gains", queries.counts[:, 1] > 0, queries.numbers[:, :n_ks]),
            ("relevant", queries.counts[:, 0] > 0, queries.numbers[:, n_ks:]),
        ):
            # A row of weight 0 counts nowhere, but its group is known.
            weighed = np.column_stack([np.where(there, queries.weight, 0.0), numbers])
            groups, grouped = f"{name}_groups", queries.grouped
            parts[name] = with_rows(parts[name], total, weighed)
            parts[groups] = with_rows(parts[groups], queries.groups[grouped], weighed[grouped])
            samples, clustered = f"{name}_samples", queries.clustered
            if clustered.any():
                its = Sampled(queries.clusters[clustered])
                parts[samples] = parts[samples].with_rows(its, weighed[clustered])
            if queries.draws.size:
                its = Sampled(None, queries.draws)
                parts[samples] = parts[samples].with_rows(its, weighed)
        return {"parts": parts}

    def numbers(self) -> dict[str, Array]:
        return {"counts": np.array([self.n_rows, *(getattr(self, name) for name in _COUNTS)])}

    def from_state(self, state: Mapping[str, Array]) -> "QuerySums":
        n_rows, *counts = entry(state, "counts", np.int64, (1 + len(_COUNTS),)).tolist()
        if min(n_rows, *counts) < 0 or max(counts) > counts[0]:
            raise ValueError("'counts' of the state are not what they were: it is damaged")
        tables = {
            name: Table.from_state(
                self.parts[name].layout, name, state, None if name.endswith("groups") else 1
            )
            for name in _TABLES
        }
        samples = {
            name: part.from_state(name, state)
            for name, part in self.parts.items()
            if isinstance(part, Samples)
        }
        kept = KeptRows.from_state("rows", state)
        rows = kept.whole()
        ids = np.append(tables["gains_groups"].ids, rows.groups[rows.grouped])
        names = GroupNames.from_state("group_names", state, ids)
        return self._replace(
            parts={**tables, **samples, "rows": kept, "group_names": names},
            n_rows=n_rows,
            **dict(zip(_COUNTS, counts, strict=True)),
        )


_COUNTS = ("n_queries", "n_without_gain", "n_without_relevant")
