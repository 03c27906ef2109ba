"""Scores as whole numbers of the same order, sorted by label, and read from the highest down.

The key of a score is made of its bits: with s the bit of the sign and m the other bits, a whole
number that grows with the size, it is s + m above 0 and s - m below. So -0 and 0 have one key, and
infinities have keys like other numbers. All NaN have the key that is all ones.
"""

from typing import Any

import numpy as np

from ..compiler.bits import disjoint, select, smaller, window
from .tally import add


def key_of(bits: Any, size: Any, sign: Any) -> Any:
    """The key of a number. All are of a type that holds the key of NaN, too: int64, which is
    faster, or uint64.
    """
    return select(bits < sign, sign + size, sign - size)


def split_keys(
    bits: Any,
    labels: Any,
    sign: Any,
    infinity: Any,
    nan: Any,
    keys: Any,
    negative: Any,
    positive: Any,
) -> None:
    """Write the keys of rows of label 0 from `negative` on, those of label 1 from `positive` on.

    The one store of a row needs no branch, which nobody could foresee.
    """
    for i in range(bits.size):
        label = select(labels[i] != 0, np.int64(1), np.int64(0))
        place = select(label == 1, positive, negative)
        wide = bits[i] & nan
        size = wide & (nan ^ sign)
        keys[place] = select(size > infinity, nan, key_of(wide, size, sign))
        positive += label
        negative += 1 - label


def count_keys(
    bits: Any,
    labels: Any,
    weights: Any,
    stride: Any,
    sign: Any,
    infinity: Any,
    nan: Any,
    shift: Any,
    places: Any,
    counts: Any,
) -> None:
    """Add the weights of rows to pairs of counts, of label 0 and 1, by the upper bits of keys.

    The last pair is for NaN. With a stride of 0 each row has the first weight. The places of some
    rows are found before any is counted, into scratch memory: SIMD does that, and in one loop with
    the counts, which it cannot do, a row takes more than twice the time.
    """
    for start in range(0, bits.size, places.size):
        n = smaller(places.size, bits.size - start)
        find_places(
            window(bits, start, n),
            window(labels, start, n),
            sign,
            infinity,
            nan,
            shift,
            np.int64(counts.size // 2 - 1),
            places,
        )
        if stride == 0:
            add_to_counts(window(places, 0, n), weights[0], counts)
        else:
            for i in range(n):
                counts[np.int64(places[i])] += weights[start + i]


def find_places(
    bits: Any,
    labels: Any,
    sign: Any,
    infinity: Any,
    nan: Any,
    shift: Any,
    of_nan: Any,
    places: Any,
) -> None:
    """Where rows are counted. In 32 bits, of which twice as many fill a vector.

    Numba widens each result to 64 bits; where it is brought back, LLVM does not widen it.
    """
    disjoint()
    places = window(places, 0, bits.size)
    middle, largest, absent = np.uint32(sign), np.uint32(infinity), np.uint32(of_nan)
    size_bits, lower = np.uint32(nan ^ sign), np.uint32(shift & 31)
    for i in range(bits.size):
        wide = np.uint32(bits[i])
        size = np.uint32(wide & size_bits)
        key = select(wide < middle, np.uint32(middle + size), np.uint32(middle - size))
        pair = select(size > largest, absent, np.uint32(key >> lower))
        label = select(labels[i] != 0, np.uint32(1), np.uint32(0))
        places[i] = np.uint32(2 * pair + label)


def add_to_counts(places: Any, weight: Any, counts: Any) -> None:
    disjoint()
    for i in range(places.size):
        counts[np.int64(places[i])] += weight


def merge_runs(
    a: Any, b: Any, a_weights: Any, b_weights: Any, merged: Any, merged_weights: Any
) -> None:
    """Merge sorted keys; of equal ones those of smaller weights come first, if there are weights.

    So the order of weights, and with it each sum of them, is the same however rows were split.
    """
    weighted = merged_weights.size > 0
    i, j = np.int64(0), np.int64(0)
    while i < a.size and j < b.size:
        first = a[i] <= b[j]
        if weighted:
            first = a[i] < b[j] or (a[i] == b[j] and a_weights[i] <= b_weights[j])
            merged_weights[i + j] = select(first, a_weights[i], b_weights[j])
        merged[i + j] = select(first, a[i], b[j])
        step = select(first, np.int64(1), np.int64(0))
        i += step
        j += 1 - step
    for k in range(i, a.size):
        merged[k + j] = a[k]
        if weighted:
            merged_weights[k + j] = a_weights[k]
    for k in range(j, b.size):
        merged[k + i] = b[k]
        if weighted:
            merged_weights[k + i] = b_weights[k]


# The sums that `read_steps` carries from a call to the next, each with what rounding took from it:
# the weights of negatives and of positives so far, and those of the key that it is at.
NEGATIVE, POSITIVE, NEGATIVE_OF_KEY, POSITIVE_OF_KEY = range(4)


def read_steps(
    negatives: Any,
    positives: Any,
    negative_weights: Any,
    positive_weights: Any,
    left: Any,
    high: Any,
    low: Any,
    keys: Any,
    negative: Any,
    positive: Any,
    negative_so_far: Any,
    positive_so_far: Any,
) -> None:
    """Write the next distinct keys, from the highest down, as many as there is room for.

    For each of them there are the weights of the negatives and of the positives that have it, and
    of all so far, which begin with those before the first. `left` has the numbers of keys of either
    kind that were not read yet, and then how many steps were written.
    """
    weighted = negative_weights.size + positive_weights.size > 0
    i, j, n = left[0], left[1], np.int64(0)
    if weighted:
        negative_so_far[0], positive_so_far[0] = both(NEGATIVE, high, low)
    else:
        negative_so_far[0] = np.float64(negatives.size - i)
        positive_so_far[0] = np.float64(positives.size - j)
    while n < keys.size and i + j > 0:
        # No number has the key 0. Whose key is the next nobody can foresee, so there is no branch.
        a = np.uint64(negatives[i - 1]) if i > 0 else np.uint64(0)
        b = np.uint64(positives[j - 1]) if j > 0 else np.uint64(0)
        key = select(a > b, a, b)
        last_i, last_j = i, j
        i -= select(a == key, np.int64(1), np.int64(0))
        j -= select(b == key, np.int64(1), np.int64(0))
        while i > 0 and np.uint64(negatives[i - 1]) == key:
            i -= 1
        while j > 0 and np.uint64(positives[j - 1]) == key:
            j -= 1
        keys[n] = key
        if weighted:
            add_weights(negative_weights, i, last_i, NEGATIVE, high, low)
            add_weights(positive_weights, j, last_j, POSITIVE, high, low)
            negative[n], positive[n] = both(NEGATIVE_OF_KEY, high, low)
            negative_so_far[n + 1], positive_so_far[n + 1] = both(NEGATIVE, high, low)
        else:
            negative[n], positive[n] = np.float64(last_i - i), np.float64(last_j - j)
            negative_so_far[n + 1] = np.float64(negatives.size - i)
            positive_so_far[n + 1] = np.float64(positives.size - j)
        n += 1
    left[0], left[1], left[2] = i, j, n


def both(k: Any, high: Any, low: Any) -> Any:
    """Two sums that stand side by side."""
    return high[k] + low[k], high[k + 1] + low[k + 1]


def add_weights(weights: Any, first: Any, last: Any, label: Any, high: Any, low: Any) -> None:
    """Add up some weights as those of a key, and add them to those of all so far."""
    of_key = NEGATIVE_OF_KEY + label
    high[of_key] = low[of_key] = 0.0
    for k in range(last - first):
        add(weights[last - 1 - k], 0.0, of_key, high, low)
    add(high[of_key], low[of_key], label, high, low)


def pool(negative: Any, positive: Any, size: Any, negatives: Any, positives: Any) -> None:
    """Add steps, from the highest score down, to pools in which the share of positives falls.

    A step whose share is not below that of the pool before it is pooled with it. `size`, an array
    of one number, says how many pools there are; the arrays have room for a pool for each step.

    Source: M. Ayer et al., An empirical distribution function for sampling with incomplete
    information (1955): pool adjacent violators.
    """
    n = size[0]
    for k in range(negative.size):
        n_k, p_k = negative[k], positive[k]
        while n > 0 and p_k * negatives[n - 1] >= positives[n - 1] * n_k:
            n -= 1
            n_k += negatives[n]
            p_k += positives[n]
        negatives[n], positives[n] = n_k, p_k
        n += 1
    size[0] = n


# What else is added up of a group: the pairs that are won, and precisions times the positives that
# have them.
WINS, PRECISIONS = range(4, 6)


def areas_by_group(
    groups: Any, keys: Any, positive: Any, weights: Any, nan: Any, results: Any, high: Any, low: Any
) -> None:
    """The areas of `rank_statistics.py` for rows in the order of their groups, 0, 1 and so on.

    Rows of a group are sorted by key, and those of a key by weight. `results` gets five numbers of
    each group: its rows by label, those whose key is that of NaN, which count nowhere else, and
    both areas, NaN where a label is absent. `high` and `low` are scratch memory for six sums.
    """
    i = groups.size
    while i > 0:
        group = groups[i - 1]
        of_group = window(results, 5 * group, 5)
        for k in range(6):
            high[k] = low[k] = 0.0
        while i > 0 and groups[i - 1] == group:
            key = keys[i - 1]
            for k in range(NEGATIVE_OF_KEY, POSITIVE_OF_KEY + 1):
                high[k] = low[k] = 0.0
            while i > 0 and groups[i - 1] == group and keys[i - 1] == key:
                i -= 1
                label = np.int64(positive[i])
                of_group[select(key == nan, np.int64(2), label)] += 1.0
                weight = weights[i] if weights.size > 0 else 1.0
                add(weight, 0.0, NEGATIVE_OF_KEY + label, high, low)
            if key != nan:
                add_areas(high, low)
        false, true = both(NEGATIVE, high, low)
        wins, precisions = both(WINS, high, low)
        of_group[3] = wins / true / false
        of_group[4] = precisions / true


def add_areas(high: Any, low: Any) -> None:
    """Add the rows of a key to the sums of their group."""
    n, p = both(NEGATIVE_OF_KEY, high, low)
    add(n * (high[POSITIVE] + low[POSITIVE] + p / 2.0), 0.0, WINS, high, low)
    for label in range(2):
        k = NEGATIVE_OF_KEY + label
        add(high[k], low[k], label, high, low)
    false, true = both(NEGATIVE, high, low)
    add(p * (true / (true + false)), 0.0, PRECISIONS, high, low)
