"""Scores as whole numbers of the same order, sorted by label, and read from the highest down.

The key of a score is made of its bits: with s the bit of the sign and m the other bits, a whole
number that grows with the size, it is s + m above 0 and s - m below. So -0 and 0 have one key, and
infinities have keys like other numbers. All NaN have the key that is all ones.
"""

from typing import Any

import numpy as np

from ..compiler.bits import select, window
from .tally import add


def key_of(bits: Any, sign: Any, infinity: Any) -> Any:
    """The key of a score, all of them uint64; `sign` and `infinity` are those bits of its dtype."""
    size = bits & (sign - np.uint64(1))
    key = select(bits < sign, sign + size, sign - size)
    return select(size > infinity, (sign - np.uint64(1)) + sign, key)


def split_keys(
    bits: Any, labels: Any, sign: Any, infinity: Any, keys: Any, negative: Any, positive: Any
) -> None:
    """Write the keys of rows of label 0 from `negative` on, those of label 1 from `positive` on.

    The one store of a row needs no branch, which nobody could foresee.
    """
    for i in range(bits.size):
        label = np.int64(labels[i])
        keys[select(label == 1, positive, negative)] = key_of(np.uint64(bits[i]), sign, infinity)
        positive += label
        negative += 1 - label


def count_keys(
    bits: Any, labels: Any, weights: Any, sign: Any, infinity: Any, shift: Any, counts: Any
) -> None:
    """Add rows, or their weights, to pairs of counts, of label 0 and 1, by the upper bits of keys.

    The last pair is for NaN. Without weights, which then are an array of none, each row counts 1.
    """
    nan, weighted = (sign - np.uint64(1)) + sign, weights.size > 0
    for i in range(bits.size):
        key = key_of(np.uint64(bits[i]), sign, infinity)
        bin_of = np.int64(key >> shift)
        place = 2 * select(key == nan, np.int64(counts.size // 2 - 1), bin_of)
        counts[place + np.int64(labels[i])] += weights[i] if weighted else 1.0


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


# The numbers that `read_steps` carries from a call to the next, each with what rounding took from
# it: the weight of negatives and of positives so far, and that of the key that it is at.
NEGATIVE, POSITIVE, OF_KEY = range(3)


def read_steps(
    negatives: Any,
    positives: Any,
    negative_weights: Any,
    positive_weights: Any,
    left: Any,
    high: Any,
    low: Any,
    keys: Any,
    steps: Any,
) -> None:
    """Write the next distinct keys, from the highest down, as many as there is room for.

    For each of them `steps` gets four numbers: the weight of the negatives and of the positives
    that have it, and those of all that have a higher one; behind the last of them, where there is
    room for one more, the latter two once more, with the last key. `left` has the numbers of keys
    of either kind that were not read yet, and then how many steps were written.
    """
    i, j, n = left[0], left[1], np.int64(0)
    while n < keys.size and i + j > 0:
        key = positives[j - 1] if i == 0 else negatives[i - 1]
        if i > 0 and j > 0 and positives[j - 1] > key:
            key = positives[j - 1]
        keys[n] = key
        steps[4 * n + 2] = high[NEGATIVE] + low[NEGATIVE]
        steps[4 * n + 3] = high[POSITIVE] + low[POSITIVE]
        i = read_key(negatives, negative_weights, i, key, NEGATIVE, high, low)
        steps[4 * n] = high[OF_KEY] + low[OF_KEY]
        j = read_key(positives, positive_weights, j, key, POSITIVE, high, low)
        steps[4 * n + 1] = high[OF_KEY] + low[OF_KEY]
        n += 1
    steps[4 * n + 2] = high[NEGATIVE] + low[NEGATIVE]
    steps[4 * n + 3] = high[POSITIVE] + low[POSITIVE]
    left[0], left[1], left[2] = i, j, n


def read_key(run: Any, weights: Any, n: Any, key: Any, kind: Any, high: Any, low: Any) -> Any:
    """Add up those of the first n that have this key, which come last; how many come before."""
    before = n
    high[OF_KEY] = low[OF_KEY] = 0.0
    while n > 0 and run[n - 1] == key:
        n -= 1
        if weights.size > 0:
            add(weights[n], 0.0, OF_KEY, high, low)
    if weights.size == 0:
        high[OF_KEY] = np.float64(before - n)
    add(high[OF_KEY], low[OF_KEY], kind, high, low)
    return n


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


# What else is added up of a group: the weights of both labels at a key, the pairs that are won, and
# precisions times the positives that have them.
NEGATIVE_OF_KEY, POSITIVE_OF_KEY, WINS, PRECISIONS = range(2, 6)


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
        false, true = high[NEGATIVE] + low[NEGATIVE], high[POSITIVE] + low[POSITIVE]
        wins, precisions = high[WINS] + low[WINS], high[PRECISIONS] + low[PRECISIONS]
        of_group[3] = wins / true / false
        of_group[4] = select(false > 0.0, precisions / true, np.nan)


def add_areas(high: Any, low: Any) -> None:
    """Add the rows of a key to the sums of their group."""
    n = high[NEGATIVE_OF_KEY] + low[NEGATIVE_OF_KEY]
    p = high[POSITIVE_OF_KEY] + low[POSITIVE_OF_KEY]
    add(n * (high[POSITIVE] + low[POSITIVE] + p / 2.0), 0.0, WINS, high, low)
    for label in range(2):
        k = NEGATIVE_OF_KEY + label
        add(high[k], low[k], label, high, low)
    false, true = high[NEGATIVE] + low[NEGATIVE], high[POSITIVE] + low[POSITIVE]
    add(p * (true / (true + false)), 0.0, PRECISIONS, high, low)
