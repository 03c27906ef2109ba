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
from .score_keys import ScoreForm, as_single, native_bits
from .sorted_scores import NO_WEIGHTS, STEPS, Steps, blocks_of, positive_rows


def counted_rows(
    labels: Array | None, scores: Array, form: ScoreForm, weights: Array, n_keys: int
) -> Array:
    """The weights of rows, of shape (keys + 1, 2); those of NaN come last.

    `form` is that of the keys, whose upper bits tell so many of them apart. Scores of another form
    are rounded to float32 before.
    """
    blocks = blocks_of(len(scores))
    n_parts = min(threads.get_num_threads(), 1 + len(scores) // n_keys)
    counts = np.zeros((n_parts, n_keys + 1, 2))
    shift = np.uint64(form.bits + 1 - n_keys.bit_length())
    count = _count_keys()

    def run(index: int) -> None:
        of_part = counts[index].reshape(-1)
        for part in blocks[index::n_parts]:
            values = scores[part] if form.bits == 16 else as_single(scores[part])
            count(
                native_bits(values, form).astype(np.uint32, copy=False),
                positive_rows(labels, part),
                weights[part],
                form.sign,
                form.infinity,
                shift,
                of_part,
            )

    threads.run(run, n_parts)
    every: Array = counts[0]
    for more in counts[1:]:
        every += more
    return every


def steps_of_counts(counts: Array, dtype: np.dtype[Any]) -> Iterator[Steps]:
    """The keys that have rows, as such a dtype, in blocks."""
    above = np.zeros((1, 2))
    keys = np.flatnonzero(counts.any(axis=1))[::-1]
    for start in range(0, len(keys), STEPS):
        part = keys[start : start + STEPS]
        of_part = counts[part]
        so_far = np.cumsum(np.concatenate([above, of_part]), axis=0).T.copy()
        yield Steps(part.astype(dtype), *of_part.T.copy(), *so_far[:, :-1], *so_far[:, 1:])
        above = so_far[:, -1:].T


@cache
def _count_keys() -> Any:
    """The compiled loop, which writes into nothing but the counts."""
    bits, sign = np.empty(0, np.uint32), np.uint64(1)
    examples = bits, np.empty(0, np.uint8), NO_WEIGHTS, sign, sign, sign, NO_WEIGHTS
    return compiler().load_or_compile(kernel.count_keys, examples)
