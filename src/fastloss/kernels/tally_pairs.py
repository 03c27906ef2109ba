"""Sums, extremes and histograms of what is known about pairs of rows."""

from typing import Any, NamedTuple

import numpy as np

from .bits import float_as_int, window
from .form import PairScores
from .tally import add

N_SCORES = len(PairScores._fields)
# Those that are averaged: all but the weight.
N_MEANS = N_SCORES - 1
# The columns of a table of sums: rows, undefined rows, weights w, w^2; w x, w^2 x and w^2 x^2 of
# each score x; and w x^2 of the last.
N_COUNTS = 4
WIDTH = N_COUNTS + 3 * N_MEANS + 1


class Bins(NamedTuple):
    """Bins of a histogram, by the first bits of a number: 128 between a power of two and the next.

    So a bin is at most 1/128 of its numbers wide. One bin is for all that is closer to 0 than
    2**lowest, and one on each side for all beyond 2**highest. Of negative numbers there are as many
    or, if `signed` is False, there are none.
    """

    lowest: int
    highest: int
    signed: bool

    @property
    def n_above(self) -> int:
        """How many bins lie above that of 0."""
        return ((self.highest - self.lowest) << MANTISSA_BITS) + 1

    @property
    def n(self) -> int:
        return self.n_above * (1 + self.signed) + 1

    def middle(self, place: int) -> float:
        """The number in the middle of a bin; of the last on a side, an infinite one."""
        above = place - self.n_above if self.signed else place
        if above == 0:
            return 0.0
        first = (1023 + self.lowest) << MANTISSA_BITS
        bits = np.array([first + abs(above) - 1, first + abs(above)]) << (52 - MANTISSA_BITS)
        size = np.inf if abs(above) == self.n_above else float(bits.view(np.float64).mean())
        return size if above > 0 else -size


MANTISSA_BITS = 7
KL_BINS = Bins(-64, 10, False)
CHANGE_BINS = Bins(-32, 0, True)


def bin_of(x: Any, bins: Bins) -> Any:
    first = (1023 + bins.lowest) << MANTISSA_BITS
    n_above = ((bins.highest - bins.lowest) << MANTISSA_BITS) + 1
    place: Any = np.int64(float_as_int(abs(x)) >> (52 - MANTISSA_BITS)) - (first - 1)
    place = min(max(place, 0), n_above)
    if bins.signed:
        place = n_above + (place if x > 0.0 else -place)
    return place


def tally_pairs(
    scores: Any, terms: Any, sums: Any, lowest: Any, highest: Any, kls: Any, changes: Any
) -> None:
    """Add rows of `PairScores` in order; those of weight 0 count nowhere.

    `sums`, `kls` and `changes` are pairs of tables: sums, and what they lost. `terms` is scratch
    memory for WIDTH numbers and one.
    """
    row, row_weight = window(terms, 0, WIDTH), window(terms, WIDTH, 1)
    for r in range(scores.size // N_SCORES):
        numbers = window(scores, r * N_SCORES, N_SCORES)
        weight = numbers[0]
        if weight == 0.0:
            continue
        kl, change = numbers[1], numbers[N_MEANS]
        known = kl == kl and change == change
        row[0], row[1], row[2], row[3] = 1.0, 0.0 if known else 1.0, weight, weight * weight
        for i in range(N_MEANS):
            x = numbers[1 + i]
            row[N_COUNTS + i] = weight * x
            row[N_COUNTS + N_MEANS + i] = weight * weight * x
            row[N_COUNTS + 2 * N_MEANS + i] = weight * weight * x * x
            if x < lowest[i] or x != x:
                lowest[i] = x
            if x > highest[i] or x != x:
                highest[i] = x
        row[WIDTH - 1] = weight * change * change
        add(row, 0, sums[0], sums[1])
        row_weight[0] = weight
        if known:
            add(row_weight, bin_of(kl, KL_BINS), kls[0], kls[1])
            add(row_weight, bin_of(change, CHANGE_BINS), changes[0], changes[1])
