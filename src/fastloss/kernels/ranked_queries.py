"""How well scores rank the documents of queries, one query after the other.

Documents of equal scores are ordered at random: each number is its mean over all their orders,
which has a closed form. With m of them, t of which are relevant, at the places a + 1 to a + m,

    the mean gain at each place is that of the m
    a place has a relevant document with the chance t / m, and among the j - 1 places before it
        there are then (j - 1) (t - 1) / (m - 1) relevant ones on the average
    none of the first j is relevant with the chance (m - t) / m ... (m - t - j + 1) / (m - j + 1)

Source: F. McSherry, M. Najork, Computing Information Retrieval Performance Measures Efficiently in
the Presence of Tied Scores (2008).
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import smaller, window

# A number of places that stands for all of them.
ALL = np.iinfo(np.int64).max
# So few are sorted by insertion.
RUN = 8


class QueryScores(NamedTuple):
    """What is found out about a query, each for every number of places k."""

    ndcg: Any
    average_precision: Any
    reciprocal_rank: Any
    recall: Any
    precision: Any
    hit: Any


N_QUERY_SCORES = len(QueryScores._fields)


class Documents(NamedTuple):
    """Documents of queries, or of one."""

    relevances: Any
    gains: Any  # which grow with the relevances
    scores: Any
    index: Any  # scratch, for each document of the longest query
    spare: Any


class Asked(NamedTuple):
    """What is asked of rankings."""

    ks: Any  # in ascending order
    relevant_from: Any  # the least relevance of a relevant document
    discounts: Any  # of each place in the longest query


def goes_before(i: Any, j: Any, first: Any, second: Any) -> Any:
    """Whether i comes before j, the larger number first; of equal ones by a second number."""
    return first[i] > first[j] or (first[i] == first[j] and second[i] > second[j])


def sort_down(first: Any, second: Any, index: Any, spare: Any) -> None:
    """Write into `index` the places of numbers, the largest first (insertions, then merges)."""
    n = index.size
    for start in range(0, n, RUN):
        for i in range(start, smaller(start + RUN, n)):
            j = i
            while j > start and goes_before(i, index[j - 1], first, second):
                index[j] = index[j - 1]
                j -= 1
            index[j] = i
    size = RUN
    while size < n:
        for start in range(0, n, 2 * size):
            middle = smaller(start + size, n)
            end = smaller(start + 2 * size, n)
            i, j = start, middle
            for place in range(start, end):
                if i < middle and (j >= end or not goes_before(index[j], index[i], first, second)):
                    spare[place] = index[i]
                    i += 1
                else:
                    spare[place] = index[j]
                    j += 1
        for place in range(n):
            index[place] = spare[place]
        size *= 2


def score_queries(documents: Any, offsets: Any, asked: Any, counts_out: Any, out: Any) -> None:
    """Write `QueryScores` of queries, whose documents begin at `offsets`; NaN where there are none.

    `counts_out` gets of each query the number of relevant documents and the largest gain.
    """
    # Names are lost on the way into compiled code.
    every, what = Documents(*documents), Asked(*asked)
    width = N_QUERY_SCORES * what.ks.size
    for q in range(offsets.size - 1):
        start = offsets[q]
        n = offsets[q + 1] - start
        of_query = Documents(
            window(every.relevances, start, n),
            window(every.gains, start, n),
            window(every.scores, start, n),
            window(every.index, 0, n),
            window(every.spare, 0, n),
        )
        counts = window(counts_out, 2 * q, 2)
        score_query(of_query, what, counts, window(out, width * q, width))


def score_query(documents: Any, asked: Any, counts_out: Any, out: Any) -> None:
    relevances, gains, scores, index, spare = documents
    ks, relevant_from, discounts = asked
    n, n_ks = scores.size, ks.size
    n_relevant, largest, known = 0.0, 0.0, True
    for i in range(n):
        if relevances[i] >= relevant_from:
            n_relevant += 1.0
        if gains[i] > largest:
            largest = gains[i]
        if scores[i] != scores[i]:
            known = False
    counts_out[0], counts_out[1] = n_relevant, largest
    for i in range(out.size):
        out[i] = np.nan
    if not known or (largest == 0.0 and n_relevant == 0.0):
        return
    find_ideal(gains, ks, discounts, index, spare, window(out, 0, n_ks))
    sort_down(scores, gains, index, spare)
    gain = precision = reciprocal = hit = found = 0.0
    missing = 1.0  # the chance that no relevant document has come yet
    place = at = 0
    while at < n_ks:
        # Documents of equal scores.
        end, total, t = place, 0.0, 0.0
        while end < n and scores[index[end]] == scores[index[place]]:
            total += gains[index[end]]
            if relevances[index[end]] >= relevant_from:
                t += 1.0
            end += 1
        m = np.float64(end - place)
        among = (t - 1.0) / (m - 1.0) if m > 1.0 else 0.0
        before, j = found, 0.0
        while place < end:
            rank = np.float64(place + 1)
            gain += total / m * discounts[place]
            precision += t / m * (before + 1.0 + j * among) / rank
            first = missing * (t / (m - j))
            reciprocal += first / rank
            hit += first
            missing *= (m - t - j) / (m - j)
            j += 1.0
            found = before + t * j / m
            place += 1
            if missing == 0.0:
                hit = 1.0
            while at < n_ks and (place == n or place == ks[at]):
                k = np.float64(n if ks[at] == ALL else ks[at])
                # Rounded sums could be larger than those of the best order.
                out[at] = gain / out[at] if gain < out[at] else 1.0
                out[n_ks + at] = precision / (k if k < n_relevant else n_relevant)
                out[2 * n_ks + at] = reciprocal
                out[3 * n_ks + at] = found / n_relevant
                out[4 * n_ks + at] = found / k
                out[5 * n_ks + at] = hit
                at += 1


def find_ideal(gains: Any, ks: Any, discounts: Any, index: Any, spare: Any, out: Any) -> None:
    """Write the largest discounted gain that there is in so many places."""
    n = gains.size
    sort_down(gains, gains, index, spare)
    total = 0.0
    at = 0
    for place in range(n):
        total += gains[index[place]] * discounts[place]
        while at < ks.size and (place + 1 == n or place + 1 == ks[at]):
            out[at] = total
            at += 1
