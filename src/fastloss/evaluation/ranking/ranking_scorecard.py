"""`RankingScorecard`: how well scores rank the documents of queries, which come in parts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...bases.options import check_integer, check_positive
from ...call.arrays import Array
from ...call.outputs import check_no_overlap, check_out
from ...kernels.ranked_queries import N_QUERY_SCORES, QueryScores
from ..given import Given
from ..resampling import check_replicates
from ..result import warn_of_nothing
from ..sums.accumulator import Accumulator
from ..sums.query_sums import QuerySums, ScoredQueries
from .queries import EXPONENTIAL, LINEAR, Documents, Measure, weights_of
from .ranking_scores import RankingScores, ranking_scores_of


class RankingScorecard(Accumulator[QuerySums]):
    """Adds up how well scores rank the documents of queries that come in parts.

    >>> import fastloss as fl
    >>> card = fl.RankingScorecard(k=(1, None))
    >>> _ = card.update([3, 0, 1, 0, 2], [0.1, 0.4, 0.2, 0.9, 0.5], offsets=[0, 3, 5])
    >>> scores = card.result()
    >>> scores.n_queries, round(scores.ndcg[None], 6), scores.mean_reciprocal_rank[None]
    (2, 0.608906, 0.5)

    Options:

    - `k`: of how many documents at the top numbers are found, None for all: several, or one;
    - `gain` of a document of relevance r: "linear", r, or "exponential", 2^r - 1;
    - `relevant_from`: a document of this relevance or more is relevant, for all numbers but NDCG;
    - `bootstrap`: the number of replicates of a Poisson bootstrap of all means, 0 for none.

    Of a query with n documents, R of them relevant, sorted by their scores, the largest first:

        DCG@k     = sum over the first k places p of gain / log2(p + 1)
        NDCG@k    = DCG@k / that of the best order
        AP@k      = sum of precision@p over those p <= k with a relevant document / min(R, k)
        RR@k      = 1 / (first place with a relevant document), 0 beyond k
        recall@k  = relevant documents in the first k places / R
        precision@k = the same / k, which is n for None
        hit@k     = 1 with a relevant document in the first k places, else 0

    Documents of equal scores have no order: each number is its mean over all orders of them, as if
    each was as likely. Of NDCG scikit-learn's `ndcg_score` has the same.

    Means are over queries. Left out, and counted, are those without a relevant document, and of
    NDCG those without a gain above 0. A query with a score of NaN has no numbers: means are NaN,
    and `n_undefined` says of how many.

    Sums are kept in twice the precision of float64. However queries are split and in whatever order
    parts are merged, results agree to 1e-15 relative. An update that raises, or is interrupted
    anywhere, has changed nothing or is there as a whole, and several threads may update one
    scorecard. Weights count by their ratios alone.

    Sources: K. Järvelin, J. Kekäläinen, Cumulated gain-based evaluation of IR techniques (2002);
    for ties, F. McSherry, M. Najork, Computing Information Retrieval Performance Measures
    Efficiently in the Presence of Tied Scores (2008).
    """

    def __init__(
        self,
        *,
        k: Any = (1, 5, 10, None),
        gain: str = LINEAR,
        relevant_from: float = 1.0,
        bootstrap: int = 0,
    ) -> None:
        if gain not in (LINEAR, EXPONENTIAL):
            raise ValueError(f"gain must be {LINEAR!r} or {EXPONENTIAL!r}, got {gain!r}")
        check_positive("relevant_from", relevant_from)
        self._measure = Measure(_numbers_of(k), gain, float(relevant_from))
        self._bootstrap = check_replicates(bootstrap)
        super().__init__(self._nothing)

    @property
    def _nothing(self) -> QuerySums:
        return QuerySums.of_nothing(len(self._measure.ks), self._bootstrap)

    @property
    def _options(self) -> dict[str, Any]:
        return self._measure._asdict() | {"bootstrap": self._bootstrap}

    # Half of it says what may be given, as for the cards of other tasks.
    def update(
        self,
        labels: Any,
        predictions: Any,
        /,
        *,
        offsets: Any = None,
        queries: Any = None,
        mask: Any = None,
        query_weight: Any = None,
        groups: Any = None,
        clusters: Any = None,
        ids: Any = None,
        rows: Mapping[str, Array] | None = None,
    ) -> "RankingScorecard":
        """Add documents: `labels`, relevances of 0 or more, and `predictions`, any scores.

        Which belong to a query is said in one of three ways:

        - both of shape (n,) and `offsets`: where each query begins, and the end of the last, q + 1
          row numbers;
        - both of shape (n,) and `queries`: any integer for each document, the same for those of a
          query, which may lie anywhere and go on in other calls. So they are kept until the
          result, 24 bytes for each;
        - both of shape (q, d), a query in each row; `mask` of the same shape has True where there
          is a document. Without it documents whose label is NaN are padding.

        Of each query there may be, with `queries` once for each document and all the same:

        - `query_weight`, its weight in the means;
        - `groups`, any integer or name, for results of each group besides;
        - `clusters`, any integer or name, the same for queries that belong together, as those of a
          user do: if each query that counts has one, standard errors take clusters to be
          independent, not queries;
        - `ids`, any integer that no other query has, by which a bootstrap draws it, if there is
          one and no clusters are drawn; not with `queries`, which are such ids.

        Where a query goes on in a call that has another for it, the largest counts.

        `rows`: arrays to write results of each query into, by name: "ndcg", "average_precision",
        "reciprocal_rank", "recall", "precision" and "hit", float64 with a row for each query and a
        column for each k; NaN where a query is left out or undefined. With `queries` there are
        none.

        Returns the scorecard itself. Raises TypeError and ValueError for what cannot be scored,
        before anything is changed.
        """
        documents = Documents(labels, predictions, mask, self._measure)
        if queries is not None and offsets is not None:
            raise ValueError("give queries or offsets, not both: each says which rows belong")
        if queries is None and offsets is None and not documents.in_rows:
            raise ValueError(
                f"labels have shape {documents.shape}, but which belong to a query is not said: "
                "give offsets or queries, or arrays of shape (q, d); if all are of one query, "
                "write labels[np.newaxis] and predictions[np.newaxis]"
            )
        if queries is not None:
            if rows:
                raise ValueError(_NOT_YET)
            if ids is not None:
                raise ValueError("queries= are ids, by which a bootstrap draws them: leave ids out")
            given = Given(groups=groups, clusters=clusters)
            self._keep(documents, queries, query_weight, given)
            return self
        starts = documents.offsets_of(offsets)
        n = len(starts) - 1
        weight = weights_of(query_weight, n)
        given = Given(groups=groups, clusters=clusters, ids=ids)
        group_ids, names = given.groups_of((n,))
        sampled = given.sampled_of((n,), self._bootstrap)
        inputs = {"labels": labels, "predictions": predictions, "mask": mask, "groups": groups}
        arrays = self._checked(rows or {}, n, inputs | {"query_weight": query_weight})
        sums = self._nothing.with_part("group_names", names)
        self._sums.check(sums)
        for slab in documents.slabs(starts):
            numbers, counts = self._measure.score(slab.relevances, slab.scores, slab.offsets)
            self._write(arrays, slab.queries, numbers, counts)
            size = len(counts)
            its = sampled.at(slab.queries)
            scored = ScoredQueries(
                numbers,
                counts,
                np.ones(size) if weight is None else weight[slab.queries],
                *_known(None if group_ids is None else group_ids[slab.queries], size),
                *_known(its.clusters, size),
                _NO_IDS if its.draws is None else its.draws,
            )
            sums = sums.with_queries(scored, len(slab.scores))
        self._add(sums)
        return self

    def result(self) -> RankingScores:
        """All that is known of the queries seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        sums = self._sums
        rows = sums.parts["rows"].whole()
        if len(rows.queries):
            begins = np.append(True, rows.queries[1:] != rows.queries[:-1])
            offsets = np.append(np.flatnonzero(begins), len(begins))
            numbers, counts = self._measure.score(rows.relevances, rows.scores, offsets)
            first = offsets[:-1]
            scored = ScoredQueries(
                numbers,
                counts,
                np.maximum.reduceat(rows.weight, first),
                *_largest(rows.groups, rows.grouped, first),
                *_largest(rows.clusters, rows.clustered, first),
                _NO_IDS,
            )
            if self._bootstrap:
                ids = rows.queries[first]
                draws = np.where(scored.clustered, scored.clusters, ids)
                scored = scored._replace(draws=draws)
            sums = sums.with_queries(scored, 0)
        scores = ranking_scores_of(sums.added_up(), self._measure.ks)
        warn_of_nothing(scores.n_counted, "query")
        return scores

    # ---------------------------------------------------------------------------------------------

    def _keep(self, documents: Documents, queries: Any, weight: Any, given: Given) -> None:
        shape = documents.shape
        groups, names = given.groups_of(shape)
        clusters = given.sampled_of(shape, 0).clusters
        kept = documents.with_ids(queries, weights_of(weight, shape[0]), groups, names, clusters)
        self._add(self._nothing.with_part("group_names", names).with_kept(kept))

    def _checked(
        self, arrays: Mapping[str, Any], n: int, inputs: Mapping[str, Any]
    ) -> dict[int, Array]:
        """Arrays for results, by the place of what is written into them."""
        if not isinstance(arrays, Mapping):
            raise TypeError(
                f"rows must be arrays to write into, by name, got {type(arrays).__name__}: write "
                f"rows={{'ndcg': np.empty(({n}, {len(self._measure.ks)}))}}"
            )
        others = {name: given for name, given in inputs.items() if isinstance(given, np.ndarray)}
        checked = {}
        for name, array in arrays.items():
            if name not in QueryScores._fields:
                raise ValueError(f"rows names {name!r}, but knows {', '.join(QueryScores._fields)}")
            what = f"rows[{name!r}]"
            check_out(array, what, (n, len(self._measure.ks)), np.dtype(np.float64))
            for other, given in others.items():
                check_no_overlap(array, what, given, other)
            others[what] = array
            checked[QueryScores._fields.index(name)] = array
        return checked

    def _write(
        self, arrays: dict[int, Array], queries: slice, numbers: Array, counts: Array
    ) -> None:
        of_each = numbers.reshape(len(numbers), N_QUERY_SCORES, -1)
        for place, array in arrays.items():
            there = counts[:, 1 if place == 0 else 0, np.newaxis] > 0
            array[queries] = np.where(there, of_each[:, place], np.nan)


_NO_IDS = np.empty(0, np.int64)
_NOT_YET = (
    "rows are not known before the result, as queries may go on in another call: sort by query and "
    "give offsets instead: "
    "offsets = np.append(0, np.cumsum(np.unique(queries, return_counts=True)[1]))"
)


def _known(ids: Array | None, n: int) -> tuple[Array, Array]:
    """The ids of n queries, and which of them have one."""
    return (np.zeros(n, np.int64) if ids is None else ids), np.full(n, ids is not None)


def _largest(ids: Array, known: Array, first: Array) -> tuple[Array, Array]:
    """Of the documents of each query, the first of which are given."""
    return (
        np.maximum.reduceat(np.where(known, ids, -(2**63)), first),
        np.maximum.reduceat(known, first),
    )


def _numbers_of(k: Any) -> tuple[int | None, ...]:
    """In ascending order, the last None for all."""
    given = k if isinstance(k, (tuple, list)) else (k,)
    if not given:
        raise ValueError("k is empty, but must be numbers of documents, or None for all")
    for number in given:
        if number is not None:
            check_integer("k", number)
            if number < 1:
                raise ValueError(f"k is {number}, but must be 1 or more, or None for all documents")
    numbers = {None if number is None else int(number) for number in given}
    return tuple(sorted(numbers, key=lambda number: 2**63 if number is None else number))
