"""Sums, extremes and histograms of what is known about pairs of rows."""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import float_as_int, window
from .form import PairScores
from .tally import Room, add, fit, moments, place_of, weighed

N_SCORES = len(PairScores._fields)
# Those that are averaged: all but the weight.
N_MEANS = N_SCORES - 1
# The columns of a table of sums: rows, undefined rows, weights w, w^2; of each score x: w x, a
# number c close to it, w^2 (x - c) and w^2 (x - c)^2; w x^2 of the last one; and the scale of the
# weights. See `tally.py`.
N_COUNTS = 4
MEANS, CENTERS, FIRSTS, SECONDS = (N_COUNTS + i * N_MEANS for i in range(4))
WIDTH = N_COUNTS + 4 * N_MEANS + 2
# Which power of the weight they have.
POWERS = np.repeat([0, 1, 2, 1, 0, 2, 1, 0], [2, 1, 1, N_MEANS, N_MEANS, 2 * N_MEANS, 1, 1])
HISTOGRAM_POWERS = np.array([1, 0])


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


# What is added up: sums, or histograms.
SUMS, KLS, CHANGES = range(3)


def tally_pairs(
    scores: Any, what: Any, powers: Any, terms: Any, lowest: Any, highest: Any, table: Any
) -> None:
    """Add rows of `PairScores` to a table, a `Room`, in order; those of weight 0 count nowhere.

    `what` says which table it is, and `powers` of each column which power of the weight it has.
    With sums extremes are looked for, too. `terms` is scratch memory for two rows of a table.
    """
    n = powers.size
    room = Room(table[0], table[1], table[2], table[3], table[4])
    row, tails = window(terms, 0, n), window(terms, n, n)
    for i in range(2 * n):
        terms[i] = 0.0
    for r in range(scores.size // N_SCORES):
        numbers = window(scores, r * N_SCORES, N_SCORES)
        if numbers[0] == 0.0:
            continue
        kl, change = numbers[1], numbers[N_MEANS]
        known = kl == kl and change == change
        key = np.int64(0)
        if what != SUMS:
            if not known:
                continue
            key = bin_of(kl, KL_BINS) if what == KLS else bin_of(change, CHANGE_BINS)
        place = place_of(key, n, room)
        weight = fit(numbers[0], place, powers, room)
        if what == SUMS:
            sums = window(room.high, place * n, n)
            is_first = sums[0] == 0.0
            square = weight * weight
            row[0], row[1], row[2], row[3] = 1.0, 0.0 if known else 1.0, weight, square
            for i in range(N_MEANS):
                x = numbers[1 + i]
                if is_first:
                    sums[CENTERS + i] = x
                first, first_tail, second, second_tail = moments(square, x, sums[CENTERS + i])
                row[MEANS + i], tails[MEANS + i] = weighed(weight, x)
                row[FIRSTS + i], tails[FIRSTS + i] = first, first_tail
                row[SECONDS + i], tails[SECONDS + i] = second, second_tail
                if x < lowest[i] or x != x:
                    lowest[i] = x
                if x > highest[i] or x != x:
                    highest[i] = x
            row[n - 2] = weight * change * change
        else:
            row[0] = weight
        add(row, tails, place, room)
