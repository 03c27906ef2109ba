"""Scores of rows as counts by key, or by the upper bits of keys: pairs, of label 0 and label 1."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels import score_runs as kernel
from .double_double import total
from .score_keys import ScoreForm, as_single, native_bits
from .sorted_scores import STEPS, Steps, blocks_of, positive_rows

# Rows whose places are found before they are counted.
_PLACES = 1 << 10


def counted_rows(
    labels: Array | None, scores: Array, form: ScoreForm, weights: Array, n_keys: int
) -> Array:
    """The weights of rows, of shape (keys + 1, 2); those of NaN come last.

    `form` is that of the keys, whose upper bits tell so many of them apart. Scores of another form
    are rounded to float32 before. Without weights rows are counted.
    """
    blocks = blocks_of(len(scores))
    n_parts = min(threads.get_num_threads(), 1 + len(scores) // n_keys)
    stride = int(weights.size > 0)
    if not stride:
        weights = np.ones(1, count_type(len(scores)))
    counts = [np.zeros((n_keys + 1, 2), weights.dtype) for _ in range(n_parts)]
    shift = form.bits + 1 - n_keys.bit_length()
    count = _count_keys(weights.dtype)

    def run(index: int) -> None:
        for part in blocks[index::n_parts]:
            values = scores[part] if form.is_counted else as_single(scores[part])
            count(
                native_bits(values, form).astype(np.uint32, copy=False),
                positive_rows(labels, part),
                weights[part] if stride else weights,
                stride,
                *(form.sign, form.infinity, form.nan),
                shift,
                np.empty(_PLACES, np.uint32),
                counts[index].reshape(-1),
            )

    threads.run(run, n_parts)
    every = counts[0]
    for more in counts[1:]:
        every += more
    return every


def count_type(n: int) -> np.dtype[Any]:
    """The dtype of counts of so many rows: half of the memory suffices mostly."""
    return np.dtype(np.uint32 if n < 2**32 else np.float64)


def sums_of(counts: Array) -> tuple[float, float]:
    """Those of label 0 and label 1."""
    if counts.dtype != np.float64:
        # Pairs are added up as numbers of 64 bits, in a ninth of the time: rows are fewer than
        # 2**32, so nothing is carried from one label to the other.
        negatives, positives = counts.view(np.uint64).sum(axis=0).view(np.uint32)
        return float(negatives), float(positives)
    negative, positive = (float(sum(total(of_label[of_label != 0]))) for of_label in counts.T)
    return negative, positive


def keys_with_rows(counts: Array) -> Array:
    return np.flatnonzero((counts != 0).view(np.uint16) != 0)


def steps_of_counts(counts: Array, dtype: np.dtype[Any]) -> Iterator[Steps]:
    """The keys that have rows, as such a dtype, in blocks."""
    keys = keys_with_rows(counts)[::-1]
    # Where a label has no more rows, and the weight that it has then: rounding must neither go
    # beyond it nor stay behind.
    ends = np.array([[np.append(0, np.flatnonzero(counts[keys, label]))[-1]] for label in (0, 1)])
    above, whole = np.zeros((2, 1)), np.array(sums_of(counts))[:, np.newaxis]
    for start in range(0, len(keys), STEPS):
        part = keys[start : start + STEPS]
        of_part = np.array(counts[part].T, np.float64, order="C")
        so_far = np.cumsum(np.concatenate([above, of_part], axis=1), axis=1)
        ended = np.arange(start, start + len(part)) >= ends
        so_far[:, 1:] = np.where(ended, whole, np.minimum(so_far[:, 1:], whole))
        yield Steps(part.astype(dtype), *of_part, *so_far[:, :-1], *so_far[:, 1:])
        above = so_far[:, -1:]


@cache
def _count_keys(dtype: np.dtype[Any]) -> Any:
    """The compiled loop, which writes into nothing but the counts."""
    bits, counts = np.empty(0, np.uint32), np.empty(0, dtype)
    examples = bits, np.empty(0, np.uint8), counts, *[1] * 5, bits, counts
    return compiler().load_or_compile(kernel.count_keys, examples)
