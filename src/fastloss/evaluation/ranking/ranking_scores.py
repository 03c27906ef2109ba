"""What an evaluation of rankings found."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...call.arrays import Array
from ...kernels.ranked_queries import N_QUERY_SCORES
from ..frames import frame
from ..resampling import Bootstrap, fields_of
from ..result import Result, by_clusters, table_of
from ..sums.group_names import GroupNames
from ..sums.mean_sums import Means, means_of
from ..sums.query_sums import QuerySums
from ..sums.table import Table

# As they are called in tables.
_SHORT = {
    "ndcg": "NDCG",
    "mean_average_precision": "MAP",
    "mean_reciprocal_rank": "MRR",
    "recall": "recall",
    "precision": "precision",
    "hit_rate": "hit rate",
}
# With all documents the others are 1, or say nothing of an order.
_OF_ALL = ("ndcg", "mean_average_precision", "mean_reciprocal_rank")
AtK = dict[int | None, Any]


@dataclass(frozen=True, repr=False, eq=False)
class _Rankings(Result):
    """Means over queries, each by k, with their standard errors."""

    ndcg: AtK
    ndcg_standard_error: AtK
    mean_average_precision: AtK
    mean_average_precision_standard_error: AtK
    mean_reciprocal_rank: AtK
    mean_reciprocal_rank_standard_error: AtK
    recall: AtK
    recall_standard_error: AtK
    precision: AtK
    precision_standard_error: AtK
    hit_rate: AtK
    hit_rate_standard_error: AtK

    @property
    def k(self) -> tuple[int | None, ...]:
        """How many documents at the top numbers are of; None is all."""
        return tuple(self.ndcg)


@dataclass(frozen=True, repr=False, eq=False)
class RankingGroups(_Rankings):
    """Means over the queries of each group: arrays in the order of `ids`, which ascend.

    Of several `columns` an id is a tuple.
    `n_counted` queries have a relevant document and a weight above 0. A mean over none is NaN.
    """

    ids: Array
    n_counted: Array
    columns: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Lists by name, and by k."""
        found = super().to_dict()
        columns = found.pop("columns")
        named = {"columns": columns} if columns else {}
        return {"ids": found.pop("ids"), **named, "n_counted": found.pop("n_counted"), **found}

    def to_pandas(self) -> Any:
        """A data frame with a row for each group and k."""
        columns = {
            name: np.stack(list(getattr(self, name).values()), axis=1).reshape(-1)
            for name in _FIELDS
        }
        groups = self.ids.tolist() if self.columns else [(group,) for group in self.ids.tolist()]
        ids = np.empty(len(groups) * len(self.k), object)
        ids[:] = [(*group, k) for group in groups for k in _labels(self.k)]
        return frame(columns, ids, (*(self.columns or ("group",)), "k"))

    def __repr__(self) -> str:
        return f"Rankings of {len(self.ids):,} groups of queries: {', '.join(_SHORT)}"


@dataclass(frozen=True, repr=False, eq=False)
class RankingScores(_Rankings):
    """How well documents are ranked; means are over the weights of the queries that count.

    - `ndcg`, `mean_average_precision`, `mean_reciprocal_rank`, `recall`, `precision` and
      `hit_rate`, each by k, as in `scores.ndcg[10]`, None for all documents; and the standard error
      of each, as in `scores.ndcg_standard_error[10]`;
    - `n_queries`, of `n_documents`; `n_without_relevant` of them have no relevant document and are
      left out, and `n_without_gain` have none of a relevance above 0 and are left out of NDCG;
    - `n_counted` have a relevant document and a weight above 0, `weight` their sum; `n_undefined`
      would count but for a score of NaN: their numbers are NaN, so means are;
    - `groups`, if they were given, the same by group;
    - `errors`: "queries" if standard errors take queries to be independent, "clusters" if they take
      `n_clusters` clusters of them; `bootstrap`, if it was asked for: a `Bootstrap` of all means,
      by names such as "ndcg@10" and "ndcg".

    >>> import fastloss as fl
    >>> scores = fl.evaluate([[2, 0, 1], [0, 1, 0]], [[3, 2, 1], [3, 2, 1]], task="ranking", k=2)
    >>> scores.recall[2], scores.mean_reciprocal_rank[2]
    (0.75, 0.75)
    """

    n_queries: int
    n_documents: int
    n_without_relevant: int
    n_without_gain: int
    n_counted: int
    n_undefined: int
    weight: float
    groups: RankingGroups | None = None
    errors: str = "queries"
    n_clusters: int | None = None
    bootstrap: Bootstrap | None = None

    def to_pandas(self) -> Any:
        """A data frame with a row for each k; "all" is the last, if there is one."""
        columns = {name: np.array(list(getattr(self, name).values())) for name in _FIELDS}
        return frame(columns, np.array(_labels(self.k)), ("k",))

    def titled(self) -> Iterator[tuple[str, float, float]]:
        """Titles, means and their standard errors."""
        for name, short in _SHORT.items():
            errors = getattr(self, f"{name}_standard_error")
            for k, value in getattr(self, name).items():
                if k is not None or name in _OF_ALL:
                    yield short if k is None else f"{short}@{k}", value, errors[k]

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and values of the numbers, as text."""
        left_out = self.n_queries - self.n_counted
        yield "queries", f"{self.n_queries:,}" + (f" ({left_out:,} left out)" if left_out else "")
        if self.n_without_relevant:
            yield "without a relevant document", f"{self.n_without_relevant:,}"
        if self.n_undefined:
            yield "queries with NaN", f"{self.n_undefined:,}"
        yield "documents", f"{self.n_documents:,}"
        for title, value, error in self.titled():
            yield title, f"{value:.6g} ± {error:.2g}{by_clusters(self.n_clusters)}"
        if self.groups is not None:
            yield "groups", f"{len(self.groups.ids):,}"
        if self.bootstrap is not None:
            yield from self.bootstrap.lines()

    def __repr__(self) -> str:
        return table_of(self.lines())


_FIELDS = tuple(_Rankings.__annotations__)


def _labels(ks: tuple[int | None, ...]) -> list[str]:
    return ["all" if k is None else str(k) for k in ks]


def ranking_scores_of(sums: QuerySums, ks: tuple[int | None, ...]) -> RankingScores:
    """What is known of queries that were added up."""
    parts = sums.parts
    gains, relevant = means_of(_one(parts["gains"])), means_of(_one(parts["relevant"]))
    of_all = _by_k(gains, relevant, ks)
    numbers: dict[str, Any] = {
        name: {k: v.item() for k, v in by_k.items()} for name, by_k in of_all.items()
    }
    names = [(name, k, name if k is None else f"{name}@{k}") for name in _SHORT for k in ks]
    titles = [title for *_, title in names]
    sure = fields_of(
        (parts["gains_samples"], titles[: len(ks)], gains.n.item()),
        (parts["relevant_samples"], titles[len(ks) :], relevant.n.item()),
    )
    for name, k, title in names:
        error = sure.pop(f"{title}_standard_error", None)
        if error is not None:
            numbers[f"{name}_standard_error"][k] = error
    return RankingScores(
        **numbers,
        **sure,
        n_queries=sums.n_queries,
        n_documents=sums.n_rows,
        n_without_relevant=sums.n_without_relevant,
        n_without_gain=sums.n_without_gain,
        n_counted=relevant.n.item(),
        n_undefined=gains.n_undefined.item(),
        weight=relevant.weight.item(),
        groups=_groups(parts, ks),
    )


def _one(table: Table) -> Table:
    """With the key 0."""
    return table if table.n_keys else table.with_keys(np.zeros(1, np.int64))


def _groups(parts: Mapping[str, Any], ks: tuple[int | None, ...]) -> RankingGroups | None:
    tables = parts["gains_groups"], parts["relevant_groups"]
    if not tables[0].n_keys:
        return None
    names: GroupNames = parts["group_names"]
    order, ids = names.sorted(tables[0].ids)
    gains, relevant = (means_of(table.select(order)) for table in tables)
    n_counted = relevant.n
    return RankingGroups(
        **_by_k(gains, relevant, ks), ids=ids, n_counted=n_counted, columns=names.columns
    )


def _by_k(gains: Means, relevant: Means, ks: tuple[int | None, ...]) -> dict[str, AtK]:
    """Each field of `_Rankings`."""
    both = (
        np.concatenate([getattr(gains, what), getattr(relevant, what)], axis=1)
        for what in ("means", "errors")
    )
    means, errors = (array.reshape(len(array), N_QUERY_SCORES, len(ks)) for array in both)
    found = {}
    for i, name in enumerate(_SHORT):
        for field, array in (name, means), (f"{name}_standard_error", errors):
            found[field] = {k: array[:, i, j] for j, k in enumerate(ks)}
    return found
