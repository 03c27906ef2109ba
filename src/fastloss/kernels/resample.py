"""A Poisson bootstrap: sums over rows that are drawn again and again.

In each replicate a row is there k times, k drawn from the Poisson distribution of mean 1. That is
what drawing n rows out of n with replacement comes to for large n, but each row is drawn without a
look at others: so rows may come in parts, in any order. Nor is it drawn by chance: k is a function
of the id of the row and the number of the replicate, the same wherever it is computed.

Source: N. Chamandy et al., Estimating uncertainty for massive data streams (2012).
"""

from typing import Any

from ..compiler.bits import disjoint, select, window
from .tally import add

# 32 bits u are drawn, and k is how many of these bounds they reach: 2**32 P(k < 1), P(k < 2), ...
# The chance of 13 is below a third of 2**-32.
MASK = 0xFFFFFFFF


def mixed(u: Any) -> Any:
    """32 bits, each of which depends on all of those given.

    Products stay below 2**63, so that an int64 holds them. The numbers are those of a hash function
    by T. Mueller, of which each bit that changes turns about half of the others.
    """
    u = ((u ^ (u >> 16)) * 0x45D9F3B) & MASK
    u = ((u ^ (u >> 16)) * 0x45D9F3B) & MASK
    return u ^ (u >> 16)


def drawn(u: Any) -> Any:
    """The number of the Poisson distribution that 32 bits stand for."""
    few = (
        select(u >= 1580030169, 1.0, 0.0)
        + select(u >= 3160060337, 1.0, 0.0)
        + select(u >= 3950075422, 1.0, 0.0)
        + select(u >= 4213413783, 1.0, 0.0)
    )
    more = (
        select(u >= 4279248374, 1.0, 0.0)
        + select(u >= 4292415292, 1.0, 0.0)
        + select(u >= 4294609778, 1.0, 0.0)
        + select(u >= 4294923276, 1.0, 0.0)
    )
    most = (
        select(u >= 4294962463, 1.0, 0.0)
        + select(u >= 4294966817, 1.0, 0.0)
        + select(u >= 4294967253, 1.0, 0.0)
        + select(u >= 4294967292, 1.0, 0.0)
    )
    return few + more + most


def draw(first: Any, second: Any, streams: Any, counts: Any) -> None:
    """How often a row, whose id are these two times 32 bits, is in each replicate."""
    disjoint()
    for b in range(streams.size):
        counts[b] = drawn(mixed((mixed(first ^ streams[b]) + second) & MASK))


def add_drawn(term: Any, counts: Any, high: Any, low: Any) -> None:
    """Add a term to the sum of each replicate, as often as its row is there."""
    disjoint()
    for b in range(counts.size):
        # A row that is not there adds nothing, be it infinite.
        add(select(counts[b] > 0.0, counts[b] * term, 0.0), 0.0, b, high, low)


def resample(ids: Any, terms: Any, streams: Any, counts: Any, high: Any, low: Any) -> None:
    """Add rows to the sums of replicates, one for each of `streams`.

    `ids` has two times 32 bits for each row, and `terms` as many numbers for each as there are
    sums. `counts` is scratch memory for one number for each replicate. `high` and `low` have one
    sum of all replicates after the other, and what rounding took from them.
    """
    n, n_rows = streams.size, ids.size // 2
    n_terms = high.size // n
    for r in range(n_rows):
        draw(ids[2 * r], ids[2 * r + 1], streams, counts)
        for i in range(n_terms):
            term = terms[r * n_terms + i]
            add_drawn(term, counts, window(high, i * n, n), window(low, i * n, n))
