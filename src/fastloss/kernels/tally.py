"""Sums of what is known about rows, by key: by class, by bin of confidence, by the user's groups.

Each sum is two float64, the second of which holds what rounding took from the first (Knuth's
two-sum). So the order of rows, and how they are split among tables that are merged later, changes a
result in its last bit at most.

Only ratios of weights count, and the square of a weight may be too large or too small for a
float64. So the weights of a key are multiplied by a power of two, which is 1 but for odd weights.

What is added up is not the square of a loss but that of its distance from a number close to it, the
loss of the first row of its key, with the digits that products lose. Otherwise nothing would be
left of the variance of losses that differ little.
"""

from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np

from ..compiler.bits import disjoint, elements, select, smaller, window
from ..compiler.flags import unfused
from .form import RowScores

N_SCORES = len(RowScores._fields)

# What a column of a table is, by the power of the weight that it has.
Unweighed: TypeAlias = Annotated[Any, 0]
Weighed: TypeAlias = Annotated[Any, 1]
SquareWeighed: TypeAlias = Annotated[Any, 2]


def powers_in(columns: type) -> Any:
    """Which power of the weight each column has, of a named tuple of them."""
    return np.array([kind.__metadata__[0] for kind in columns.__annotations__.values()])


class Terms(NamedTuple):
    """What a row of weight w and loss l adds to the sums of its key; and two numbers of the key."""

    n: Unweighed
    n_undefined: Unweighed  # rows whose loss is NaN
    n_correct: Unweighed
    weight: Weighed
    squared_weight: SquareWeighed
    loss: Weighed  # w l
    center: Unweighed  # a number c, the loss of the first row
    first: SquareWeighed  # w^2 (l - c)
    second: SquareWeighed  # w^2 (l - c)^2
    correct: Weighed
    squared_weight_correct: SquareWeighed
    entropy: Weighed
    confidence: Weighed
    brier: Weighed
    reciprocal_rank: Weighed
    scale: Unweighed  # what weights are multiplied by; 0 of a key without rows


# 16 columns are two whole vectors of 8 float64.
WIDTH = len(Terms._fields)
TERM_POWERS = powers_in(Terms)
# The same for a histogram, which adds up the weights of its keys and nothing else.
WEIGHT_POWERS = np.array([1, 0])
SLOPE_POWERS = np.array([1, 1, 1, 0])
WEIGHT, LOSS, CENTER, FIRST, SECOND = (
    Terms._fields.index(name) for name in ("weight", "loss", "center", "first", "second")
)


class Room(NamedTuple):
    """Tables with room for more keys. The last column of sums is the scale of the weights."""

    places: Any  # where the sums of a key are, counted from 1; 0: nowhere yet
    met: Any  # the keys, in the order of their places
    n_met: Any  # how many keys there are, in an array of one number
    high: Any
    low: Any


# What rows are added up by; CELLS are keys of a histogram alone.
BINS, KEYS, SLOPES, CELLS = range(4)


def bin_of(confidence: Any, n_bins: Any) -> Any:
    """The bin k of the edges k / n_bins and (k + 1) / n_bins, the first of which belongs to it.

    An edge is the float64 next to that ratio, as users see it. The product below is rounded, and so
    may be off by one.
    """
    n = np.float64(n_bins)
    k = np.float64(np.int64(confidence * n))
    if (k + 1.0) / n <= confidence:
        k += 1.0
    elif k / n > confidence:
        k -= 1.0
    return smaller(np.int64(k), n_bins - 1)


def place_of(key: Any, n: Any, room: Any) -> Any:
    """Where the n sums of a key are; -1 if there is no such key. A new one gets a place."""
    if key < 0 or key >= room.places.size:
        return -1
    if room.places[key] == 0:
        place = room.n_met[0]
        # A page of zeros that is written before it is read is mapped once, and not twice.
        for i in range(place * n, (place + 1) * n):
            room.high[i] = room.low[i] = 0.0
        room.met[place] = key
        room.n_met[0] = place + 1
        room.places[key] = place + 1
    return room.places[key] - 1


def scale_of(weight: Any) -> Any:
    """The power of two that brings a weight above 0 between 2**-215 and 2**215."""
    if weight >= 2.0**-215:
        return 1.0 if weight < 2.0**215 else 2.0**-430 if weight < 2.0**645 else 2.0**-860
    return 2.0**430 if weight >= 2.0**-645 else 2.0**860


def fit(weight: Any, place: Any, powers: Any, room: Any) -> Any:
    """The weight times the scale of its key, which becomes that of the largest weight.

    What sums of much smaller weights lose by it is nothing beside the largest weight.
    """
    n = powers.size
    high, low = window(room.high, place * n, n), window(room.low, place * n, n)
    scale, before = scale_of(weight), high[n - 1]
    if before == 0.0:
        high[n - 1] = scale
    elif scale < before:
        factor = scale / before
        for i in range(n - 1):
            for _ in range(powers[i]):
                high[i] *= factor
                low[i] *= factor
        high[n - 1] = scale
    return weight * high[n - 1]


# Not fused with a product that is a term: what is lost is that of the rounded product.
@unfused
def add(term: Any, tail: Any, i: Any, high: Any, low: Any) -> None:
    """Add a term, and what it has lost, to sum i."""
    before = high[i]
    total = before + term
    part = total - before
    low[i] += ((before - (total - part)) + (term - part)) + tail
    high[i] = total


def add_all(terms: Any, tails: Any, high: Any, low: Any) -> None:
    """Add the terms of a row to the sums of a key."""
    disjoint()
    for i in range(terms.size):
        add(terms[i], tails[i], i, high, low)


def add_weight(weight: Any, key: Any, room: Any) -> None:
    """Add a weight to that of a key of a histogram, if it has such a key."""
    n = WEIGHT_POWERS.size
    place = place_of(key, n, room)
    if place >= 0:
        if weight != 1.0 or room.high[place * n + n - 1] != 1.0:  # else it is as it is
            weight = fit(weight, place, WEIGHT_POWERS, room)
        add(weight, 0.0, place * n, room.high, room.low)


@unfused
def upper(x: Any) -> Any:
    """The first 26 bits of a float64, so that a product of two such numbers is exact (Veltkamp)."""
    wide = x * 134217729.0  # 2**27 + 1
    return wide - (wide - x)


@unfused
def lost(a: Any, b: Any, product: Any) -> Any:
    """What rounding took from a product (Dekker)."""
    a1, b1 = upper(a), upper(b)
    a2, b2 = a - a1, b - b1
    return ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


@unfused
def weighed(weight: Any, x: Any) -> Any:
    """w x, and what rounding took from it; 0 where x is too large to tell."""
    product = weight * x
    if weight == 1.0:
        return product, 0.0
    return product, select(abs(x) < 2.0**800, lost(weight, x, product), 0.0)


@unfused
def moments(squared_weight: Any, x: Any, center: Any) -> Any:
    """q (x - c) and q (x - c)^2, and what is lost of each."""
    gap = x - center
    first = squared_weight * gap
    second = first * gap
    second_tail = lost(first, gap, second)
    if squared_weight == 1.0:
        return first, 0.0, second, second_tail
    first_tail = lost(squared_weight, gap, first)
    return first, first_tail, second, second_tail + first_tail * gap


# One function, as the numbers of a row stay in registers and compiled code cannot hand a tuple of
# them from turn to turn of a loop.
def tally_rows(
    scores: Any,
    keys: Any,
    what: Any,
    n_bins: Any,
    powers: Any,
    terms: Any,
    table: Any,
    histogram: Any,
) -> None:
    """Add rows to a table, a `Room`, in order; those of weight 0, or without a key, count nowhere.

    `what` says by what: by bins, the last of which is for rows whose scores are not known; by
    `keys`, one for each row, which nothing else reads; or all rows to one sum of slopes.
    `powers` says of each column of the table which power of the weight it has. `terms` is scratch
    memory for two rows of a table. `histogram` is a `Room` for the weights of what is counted: of
    ranks beside bins, of predictions beside keys, and else of cells, one of `keys` for each row. It
    has room for none, as the table may have, if it is not wanted.
    """
    n = powers.size
    # Names are lost on the way into compiled code. No inner function may return arrays.
    room = Room(table[0], table[1], table[2], table[3], table[4])
    cells = Room(histogram[0], histogram[1], histogram[2], histogram[3], histogram[4])
    row_terms, tails = window(terms, 0, n), window(terms, n, n)
    for i in range(2 * n):
        terms[i] = 0.0
    for r in range(scores.size // N_SCORES):
        row = RowScores(*elements(scores, r * N_SCORES, N_SCORES))
        if row.weight == 0.0:
            continue
        loss = row.loss
        known = loss == loss
        key = np.int64(0)
        if what == BINS:
            key = bin_of(row.confidence, n_bins) if known else np.int64(n_bins)
        elif what == KEYS:
            key = keys[r]
        cell = np.int64(-1)
        if what == CELLS:
            cell = keys[r]
        elif known:
            cell = np.int64(row.rank if what == BINS else row.prediction)
        add_weight(row.weight, cell, cells)
        place = place_of(key, n, room)
        if place < 0:
            continue
        weight = fit(row.weight, place, powers, room)
        if what == SLOPES:
            row_terms[0], row_terms[1] = weight * row.slope, weight * row.spread
            row_terms[2] = weight
        else:
            if room.high[place * n] == 0.0:
                room.high[place * n + CENTER] = loss
            square = weight * weight
            first, first_tail, second, second_tail = moments(
                square, loss, room.high[place * n + CENTER]
            )
            weighed_loss, loss_tail = weighed(weight, loss)
            right = select(row.rank == 0.0, 1.0, 0.0)
            values = Terms(
                1.0,
                select(known, 0.0, 1.0),
                right,
                weight,
                square,
                weighed_loss,
                0.0,
                first,
                second,
                weight * right,
                square * right,
                weight * row.entropy,
                weight * row.confidence,
                weight * row.brier,
                weight / (row.rank + 1.0),
                0.0,
            )
            for i in range(WIDTH):
                row_terms[i] = values[i]
            tails[LOSS], tails[FIRST], tails[SECOND] = loss_tail, first_tail, second_tail
        add_all(row_terms, tails, window(room.high, place * n, n), window(room.low, place * n, n))
