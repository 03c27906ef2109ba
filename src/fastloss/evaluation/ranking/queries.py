"""Documents of queries: which belong together, checked as a whole and then scored in slabs."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array, format_of, place_of
from ...call.shapes import check_same_shape
from ...compiler.interrupts import compiler
from ...kernels.ranked_queries import ALL, N_QUERY_SCORES, score_queries
from ..given import checked_weight, ids_of, sizes_of
from ..sums.group_names import GroupNames, Name
from ..sums.query_sums import QueryRows
from ..sums.score_keys import check_held
from ..tensors import as_array

# Documents that a thread takes at a time.
PIECE = 1 << 14
# Documents and queries that are scored before they are added up, at most, but for a longer query.
SLAB, SLAB_QUERIES = 1 << 20, 1 << 16
# No gain is larger than 2 to this, so that no sum of them is infinite.
LARGEST_EXPONENT = 960

LINEAR, EXPONENTIAL = "linear", "exponential"


class Measure(NamedTuple):
    """How rankings are measured."""

    ks: tuple[int | None, ...]
    gain: str
    relevant_from: float

    @property
    def largest(self) -> float:
        """The largest relevance whose gain can be added up."""
        return 2.0**LARGEST_EXPONENT if self.gain == LINEAR else float(LARGEST_EXPONENT)

    def gains_of(self, relevances: Array) -> Array:
        if self.gain == LINEAR:
            return relevances
        # The first has all digits of small relevances, the second those of whole numbers.
        small = np.expm1(np.minimum(relevances, 1.0) * np.log(2.0))
        return np.where(relevances < 1.0, small, np.exp2(relevances) - 1.0)

    def score(self, relevances: Array, scores: Array, offsets: Array) -> tuple[Array, Array]:
        """`QueryScores` of queries, and what they are counted by; see `ScoredQueries`."""
        n = len(offsets) - 1
        ks = np.array([ALL if k is None else k for k in self.ks])
        numbers, counts = np.empty((n, N_QUERY_SCORES * len(ks))), np.empty((n, 2))
        longest = int(np.diff(offsets).max(initial=0))
        asked = ks, self.relevant_from, 1.0 / np.log2(np.arange(longest) + 2.0)
        cuts = [0]
        while cuts[-1] < n:
            cuts.append(_next(offsets, cuts[-1], PIECE, PIECE))
        run = _score_queries()

        def task(index: int) -> None:
            queries = slice(cuts[index], cuts[index + 1])
            inside = offsets[cuts[index] : cuts[index + 1] + 1]
            rows = slice(inside[0], inside[-1])
            of_rows = np.ascontiguousarray(relevances[rows], np.float64)
            documents = (
                of_rows,
                self.gains_of(of_rows),
                np.ascontiguousarray(scores[rows], np.float64),
                *np.empty((2, longest), np.int64),
            )
            outs = counts[queries].reshape(-1), numbers[queries].reshape(-1)
            run(documents, inside - inside[0], asked, *outs)

        threads.run(task, len(cuts) - 1)
        return numbers, counts


def _next(offsets: Array, first: int, n_documents: int, n_queries: int) -> int:
    """The query before which a part ends that begins with another."""
    end = int(np.searchsorted(offsets, offsets[first] + n_documents, side="right")) - 1
    return min(max(end, first + 1), first + n_queries, len(offsets) - 1)


class Slab(NamedTuple):
    """Some of the queries of a call."""

    queries: slice
    relevances: Array
    scores: Array
    offsets: Array


class Documents:
    """Relevances and scores: each row a query or, of one axis, each a document."""

    def __init__(self, labels: Any, predictions: Any, mask: Any, measure: Measure) -> None:
        """Raise unless all of them can be scored."""
        self.relevances = as_array(labels, "labels")
        self.scores = as_array(predictions, "predictions")
        format_of(self.relevances, "labels")
        format_of(self.scores, "predictions")
        check_same_shape(self.relevances, self.scores, ("labels", "predictions"))
        self.shape = self.relevances.shape
        if len(self.shape) not in (1, 2):
            raise ValueError(
                f"labels have shape {self.shape}, but must have one axis, of documents, or two, a "
                "row of documents for each query"
            )
        self.in_rows = len(self.shape) == 2
        self.mask = None if mask is None else self._checked(as_array(mask, "mask"))
        if self.scores.dtype.kind in "iu":
            there = self._present(np.s_[:]) if self.in_rows else True
            check_held(np.where(there, self.scores, 0), "predictions")
        for start in range(0, len(self.relevances), self._step):
            self._check_relevances(slice(start, start + self._step), measure)

    @property
    def _step(self) -> int:
        """Rows of the first axis that are taken at a time."""
        return max(1, SLAB // (self.shape[1] or 1)) if self.in_rows else SLAB

    def _checked(self, mask: Array) -> Array:
        if not self.in_rows:
            raise ValueError("mask is for labels of shape (q, d): leave documents out instead")
        if mask.dtype != bool:
            raise TypeError(f"mask must have booleans, where documents are, got {mask.dtype}")
        if mask.shape != self.shape:
            raise ValueError(f"mask has shape {mask.shape}, but labels have shape {self.shape}")
        return mask

    def _present(self, rows: slice) -> Array:
        """Where documents are, and not padding."""
        if self.mask is not None:
            return self.mask[rows]
        return ~np.isnan(self.relevances[rows].astype(np.float64))

    def _check_relevances(self, rows: slice, measure: Measure) -> None:
        relevances = self.relevances[rows].astype(np.float64)
        sound = (relevances >= 0) & (relevances <= measure.largest)
        bad = np.argwhere(~sound & self._present(rows) if self.in_rows else ~sound)
        if not bad.size:
            return
        value = relevances[tuple(bad[0])]
        place = place_of((bad[0][0] + rows.start, *bad[0][1:]))
        if value > measure.largest and value < np.inf:
            raise ValueError(
                f"labels{place} is {value:g}, but with gain={measure.gain!r} relevances may be "
                f"{measure.largest:.4g} at most: rescale them"
            )
        raise ValueError(
            f"labels{place} is {value}, but relevances are finite and not negative: leave a "
            "document out that nobody judged, or give it the relevance 0"
        )

    def offsets_of(self, offsets: Any) -> Array:
        """Where the documents of each query begin, and where the last end."""
        if self.in_rows:
            if offsets is not None:
                raise ValueError("offsets are for labels of shape (n,): here each row is a query")
            n, d = self.shape
            starts: Array = np.arange(n + 1) * d
            return starts
        return np.append(0, np.cumsum(sizes_of(as_array(offsets, "offsets"), self.shape[0])))

    def slabs(self, offsets: Array) -> Iterator[Slab]:
        first = 0
        while first < len(offsets) - 1:
            end = _next(offsets, first, SLAB, SLAB_QUERIES)
            queries = slice(first, end)
            if self.in_rows:
                present = self._present(queries)
                relevances, scores = (
                    self.relevances[queries][present],
                    self.scores[queries][present],
                )
                inside = np.append(0, np.cumsum(present.sum(axis=1)))
            else:
                inside = offsets[first : end + 1]
                rows = slice(inside[0], inside[-1])
                relevances, scores = self.relevances[rows], self.scores[rows]
                inside = inside - inside[0]
            yield Slab(queries, relevances, scores, inside)
            first = end

    def with_ids(
        self,
        queries: Any,
        weight: Array | None,
        groups: Array | None,
        names: GroupNames,
        clusters: Array | None,
    ) -> QueryRows:
        """All documents, which are kept, as their queries may go on."""
        if self.in_rows:
            raise ValueError("queries are for labels of shape (n,): here each row is a query")
        ids = ids_of(queries, "queries", self.shape)
        given = {"query_weight": weight, "groups": groups, "clusters": clusters}
        for name, values in given.items():
            if values is not None:
                _check_same_in_query(ids, values, name, names.names if name == "groups" else {})
        rows = QueryRows(ids, self.relevances.astype(np.float64), self.scores.astype(np.float64))
        if weight is not None:
            rows = rows._replace(weight=weight)
        if groups is not None:
            rows = rows._replace(groups=groups, grouped=np.ones(len(groups), bool))
        if clusters is not None:
            rows = rows._replace(clusters=clusters, clustered=np.ones(len(clusters), bool))
        return rows


def _check_same_in_query(ids: Array, values: Array, name: str, names: Mapping[int, Name]) -> None:
    """Raise unless all documents of a query have the same value."""
    every, first, places = np.unique(ids, return_index=True, return_inverse=True)
    bad = np.flatnonzero(values != values[first[places]])
    if bad.size:
        query = places[bad[0]]
        a, b = (
            f"{name}[{row}] is {names.get(values[row].item(), values[row])}"
            for row in (bad[0], first[query])
        )
        raise ValueError(
            f"{a} and {b}, but both are of the query {every[query]}: give all documents of a query "
            "the same"
        )


def weights_of(value: Any, n: int) -> Array | None:
    """Weights of so many queries, or of their documents."""
    each = "query, or with queries= for each document"
    weight = checked_weight(value, (n,), each, "query_weight")
    return None if weight is None else weight.astype(np.float64)


@cache
def _score_queries() -> Any:
    """The compiled loop."""
    numbers, integers = np.empty(0), np.empty(0, np.int64)
    documents = (numbers, numbers, numbers, integers, integers)
    examples = documents, integers, (integers, 1.0, numbers), numbers, numbers
    return compiler().load_or_compile(score_queries, examples)
