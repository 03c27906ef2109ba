"""Sums, extremes and histograms of what is known about pairs of rows."""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import disjoint, float_as_int, select, window
from .form import PairScores
from .tally import Room, add, add_weight, fit, moments, place_of, weighed

N_PAIR_SCORES = len(PairScores._fields)
# Those that are averaged: all but the weight.
N_MEANS = N_PAIR_SCORES - 1
# The columns of a table of sums: rows, undefined rows, weights w, w^2; of each score x: w x, a
# number c close to it, w^2 (x - c) and w^2 (x - c)^2; w x^2 of the last one; and the scale of the
# weights. See `tally.py`.
N_COUNTS = 4
MEANS, CENTERS, FIRSTS, SECONDS = (N_COUNTS + i * N_MEANS for i in range(4))
PAIR_WIDTH = N_COUNTS + 4 * N_MEANS + 2
# Which power of the weight each of them has.
POWERS = np.repeat([0, 1, 2, 1, 0, 2, 1, 0], [2, 1, 1, N_MEANS, N_MEANS, 2 * N_MEANS, 1, 1])


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
        """The number in the middle of a bin; for the last bin on a side, infinity."""
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
    scores: Any,
    keys: Any,
    powers: Any,
    lowest: Any,
    highest: Any,
    table: Any,
    kls: Any,
    changes: Any,
) -> None:
    """Add rows of `PairScores` to a table and two histograms, in order, but for rows of weight 0.

    Each is a `Room`. `keys` are those of the rows in the table, or none if it has one key. `powers`
    says of each of its columns which power of the weight it has. `lowest` and `highest` are the
    extremes so far.
    """
    n = powers.size
    room = Room(table[0], table[1], table[2], table[3], table[4])
    kls = Room(kls[0], kls[1], kls[2], kls[3], kls[4])
    changes = Room(changes[0], changes[1], changes[2], changes[3], changes[4])
    for r in range(scores.size // N_PAIR_SCORES):
        numbers = window(scores, r * N_PAIR_SCORES, N_PAIR_SCORES)
        if numbers[0] == 0.0:
            continue
        kl, change = numbers[1], numbers[N_MEANS]
        known = kl == kl and change == change
        if known:
            add_weight(numbers[0], bin_of(kl, KL_BINS), kls)
            add_weight(numbers[0], bin_of(change, CHANGE_BINS), changes)
        key = np.int64(0)
        if keys.size > 0:
            key = keys[r]
        place = place_of(key, n, room)
        if place < 0:
            continue
        weight = fit(numbers[0], place, powers, room)
        high, low = window(room.high, place * n, n), window(room.low, place * n, n)
        x = window(numbers, 1, N_MEANS)
        if high[0] == 0.0:
            for i in range(N_MEANS):
                high[CENTERS + i] = x[i]
        add(1.0, 0.0, 0, high, low)
        add(select(known, 0.0, 1.0), 0.0, 1, high, low)
        add(weight, 0.0, 2, high, low)
        add(weight * weight, 0.0, 3, high, low)
        add(weight * change * change, 0.0, n - 2, high, low)
        add_averaged(
            weight,
            x,
            lowest,
            highest,
            window(high, CENTERS, N_MEANS),
            window(high, MEANS, N_MEANS),
            window(low, MEANS, N_MEANS),
            window(high, FIRSTS, N_MEANS),
            window(low, FIRSTS, N_MEANS),
            window(high, SECONDS, N_MEANS),
            window(low, SECONDS, N_MEANS),
        )


def add_averaged(
    weight: Any,
    x: Any,
    lowest: Any,
    highest: Any,
    centers: Any,
    high: Any,
    low: Any,
    first_high: Any,
    first_low: Any,
    second_high: Any,
    second_low: Any,
) -> None:
    """Add the scores that are averaged to their sums and extremes; an extreme of NaN stays NaN.

    SIMD needs windows that share nothing, and a loop of a length that is not known: a short one
    becomes as many copies of its body.
    """
    disjoint()
    square = weight * weight
    for i in range(lowest.size):
        x_i = x[i]
        term, tail = weighed(weight, x_i)
        first, first_tail, second, second_tail = moments(square, x_i, centers[i])
        add(term, tail, i, high, low)
        add(first, first_tail, i, first_high, first_low)
        add(second, second_tail, i, second_high, second_low)
        lowest[i] = select((x_i < lowest[i]) | (x_i != x_i), x_i, lowest[i])
        highest[i] = select((x_i > highest[i]) | (x_i != x_i), x_i, highest[i])
