"""Sums, extremes and histograms of what is known about pairs of rows."""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import (
    accumulate,
    disjoint,
    float_as_int,
    int_as_float,
    int_like,
    larger,
    select,
    smaller,
    window,
)
from ..compiler.flags import unfused
from .form import PairScores
from .tally import Room, add, add_weight, fit, lost, moments, place_of, weighed

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
# How many counters they take, those of KL first.
N_KLS = KL_BINS.n
COUNTERS = N_KLS + CHANGE_BINS.n


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
    scratch: Any,
) -> None:
    """Add rows of `PairScores` to a table and two histograms, in order, but for rows of weight 0.

    Each is a `Room`. `keys` are those of the rows in the table, or none if it has one key. `powers`
    says of each of its columns which power of the weight it has. `lowest` and `highest` are the
    extremes so far. `scratch` is memory of the size COLUMNS for the table. For histograms it is
    COUNTERS numbers, which count the rows of weight 1 in place of the histograms; or none.
    """
    # Names are lost on the way into compiled code.
    room = Room(table[0], table[1], table[2], table[3], table[4])
    kls = Room(kls[0], kls[1], kls[2], kls[3], kls[4])
    changes = Room(changes[0], changes[1], changes[2], changes[3], changes[4])
    n_rows = scores.size // N_PAIR_SCORES
    for start in range(0, n_rows, BLOCK):
        n = smaller(BLOCK, n_rows - start)
        rows = window(scores, start * N_PAIR_SCORES, n * N_PAIR_SCORES)
        if kls.places.size > 0:
            count(rows, kls, changes, scratch)
        if room.places.size > 0:
            summed = False
            if keys.size == 0:
                summed = add_block(rows, powers, lowest, highest, room, scratch)
            if not summed:
                own = window(keys, start, smaller(n, keys.size))  # if there are any
                add_rows(rows, own, powers, lowest, highest, room)


def count(rows: Any, kls: Any, changes: Any, counters: Any) -> None:
    for r in range(rows.size // N_PAIR_SCORES):
        numbers = window(rows, r * N_PAIR_SCORES, N_PAIR_SCORES)
        kl, change = numbers[1], numbers[N_MEANS]
        if numbers[0] == 0.0 or kl != kl or change != change:
            continue
        at_kl, at_change = bin_of(kl, KL_BINS), bin_of(change, CHANGE_BINS)
        if numbers[0] == 1.0 and counters.size > 0:
            counters[at_kl] += 1.0
            counters[N_KLS + at_change] += 1.0
        else:
            add_weight(numbers[0], at_kl, kls)
            add_weight(numbers[0], at_change, changes)


# -------------------------------------------------------------------------------------------------
# Sums of many rows of one key, whose weights are 1

# Rows that are added up at a time, column by column; columns begin in other sets of the cache.
BLOCK = 1 << 9
STEP = BLOCK + 8
# Of each column, and of the extremes.
COLUMNS = N_MEANS * STEP + 2 * N_MEANS
# Rounding takes so many bits from the end of each number, and its square, that sums of BLOCK of
# what is left are exact, in any order: so they need no two-sum for each row.
_TAKEN, _TAKEN_OF_ROOTS = 10, 31


def add_block(rows: Any, powers: Any, lowest: Any, highest: Any, room: Any, columns: Any) -> Any:
    """As `add_rows`, in a fifth of the time; False, and nothing done, if the rows are not so."""
    m = gather(rows, columns)
    if m < 0:
        return False
    if m == 0:
        return True
    least, most = (
        window(columns, N_MEANS * STEP, N_MEANS),
        window(columns, COLUMNS - N_MEANS, N_MEANS),
    )
    for i in range(N_MEANS):
        x = window(columns, i * STEP, m)
        least[i], most[i], odd = extremes(x)
        if not (odd == 0.0 and larger(-least[i], most[i]) < 2.0**400):
            return False
    n = powers.size
    place = place_of(np.int64(0), n, room)
    if fit(1.0, place, powers, room) != 1.0:
        return False
    high, low = window(room.high, place * n, n), window(room.low, place * n, n)
    for i in range(N_MEANS):
        if high[0] == 0.0:
            high[CENTERS + i] = columns[i * STEP]
        if not abs(high[CENTERS + i]) < 2.0**400:
            return False
    n_counted = np.float64(m)
    for i in range(N_MEANS):
        x, center = window(columns, i * STEP, m), high[CENTERS + i]
        total, rest, squares, more = sums_of(x, least[i], most[i], center)
        product = n_counted * center
        add(total, rest, MEANS + i, high, low)
        add(total, rest, FIRSTS + i, high, low)
        add(-product, -lost(n_counted, center, product), FIRSTS + i, high, low)
        add(squares, more, SECONDS + i, high, low)
        lowest[i] = select(least[i] < lowest[i], least[i], lowest[i])
        highest[i] = select(most[i] > highest[i], most[i], highest[i])
    last = N_MEANS - 1
    _, _, squares, more = sums_of(window(columns, last * STEP, m), least[last], most[last], 0.0)
    add(squares, more, n - 2, high, low)
    for i in (0, 2, 3):
        add(n_counted, 0.0, i, high, low)
    return True


def gather(rows: Any, columns: Any) -> Any:
    """Put the rows that count into columns; how many these are, or -1 if a weight is not 1."""
    disjoint()
    m = 0
    for r in range(rows.size // N_PAIR_SCORES):
        weight = rows[r * N_PAIR_SCORES]
        if weight == 0.0:
            continue
        if weight != 1.0:
            return -1
        for i in range(N_MEANS):
            columns[i * STEP + m] = rows[r * N_PAIR_SCORES + 1 + i]
        m += 1
    return m


def extremes(x: Any) -> Any:
    """The least and the largest number; and 0, or NaN if one of them is infinite or NaN."""
    least, most, odd = x[0], x[0], 0.0
    for r in range(x.size):
        least = -larger(-x[r], -least)
        most = larger(x[r], most)
        odd = accumulate(odd, x[r] - x[r])
    return least, most, odd


def rounder(size: Any, taken: Any) -> Any:
    """What to add and to subtract again, so that numbers up to a size lose bits at their end."""
    power = int_as_float(int_like(float_as_int(size) & 0x7FF0000000000000, size))
    return power * (3.0 * np.float64(1 << taken))


@unfused
def sums_of(x: Any, least: Any, most: Any, center: Any) -> Any:
    """The sum of x, and that of (x - c)^2, each with what the first of both lacks."""
    above = rounder(larger(-least, most), _TAKEN)
    above_gap = rounder(larger(center - least, most - center), _TAKEN_OF_ROOTS)
    total, rest, squares, more = 0.0, 0.0, 0.0, 0.0
    for r in range(x.size):
        upper = (x[r] + above) - above
        gap = x[r] - center
        root = (gap + above_gap) - above_gap
        total = accumulate(total, upper)
        rest = accumulate(rest, x[r] - upper)
        squares = accumulate(squares, root * root)
        more = accumulate(more, (gap - root) * (gap + root))
    return total, rest, squares, more


# -------------------------------------------------------------------------------------------------
# Sums of any rows


def add_rows(rows: Any, keys: Any, powers: Any, lowest: Any, highest: Any, room: Any) -> None:
    n = powers.size
    for r in range(rows.size // N_PAIR_SCORES):
        numbers = window(rows, r * N_PAIR_SCORES, N_PAIR_SCORES)
        if numbers[0] == 0.0:
            continue
        kl, change = numbers[1], numbers[N_MEANS]
        known = kl == kl and change == change
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
