"""Scores of rows as sorted keys, in runs that are merged, and read from the highest down."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels import score_runs as kernel
from .double_double import Pair, add, total
from .score_keys import ScoreForm, native_bits

# Rows that are split at a time, and steps that are read at a time: both stay in the cache.
BLOCK = 1 << 16
STEPS = 1 << 14
NO_WEIGHTS = np.empty(0)
_LEAST = 5e-324
_SUMMED = 1 << 20  # numbers that are added up at a time


class _Steps(NamedTuple):
    keys: Array
    negative: Array
    positive: Array
    # Of all rows with a higher score, and of those and these together.
    negative_above: Array
    positive_above: Array
    negative_so_far: Array
    positive_so_far: Array


class Steps(_Steps):
    """Distinct scores, from the highest down, and the weights of the rows that have them."""

    @cached_property
    def so_far(self) -> Array:
        return self.negative_so_far + self.positive_so_far

    @cached_property
    def precision(self) -> Array:
        """If these are predicted positive, and all above."""
        precision: Array = self.positive_so_far / self.so_far
        return precision

    @cached_property
    def twice_above(self) -> Array:
        """Twice the positives above, and once those of these scores."""
        twice: Array = self.positive_above + self.positive_so_far
        return twice

    def some(self, chosen: Array) -> Steps:
        return Steps(*(part[chosen] for part in self))


def new_array(n: int, dtype: Any, room: int | None) -> Array:
    """An array that is written before it is read: in memory, or else in a file.

    The file is beyond so many bytes of `room`. It lies where `tempfile` has its files, and nobody
    else finds it: it has no name, so that it is gone with the array or the process. Its pages are
    read and written as they are looked at, and need not be in memory.
    """
    dtype = np.dtype(dtype)
    n_bytes = n * dtype.itemsize
    if room is None or n_bytes <= room:
        return np.empty(n, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                # A full disk is an error here; when pages are written it would end the process.
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            else:
                file.truncate(n_bytes)
            return np.ndarray((n,), dtype, _mapped(file.fileno(), n_bytes))
    except OSError as error:
        remedy = "say by TMPDIR where they have room"
        if error.errno == errno.EMFILE:
            remedy = "allow more open files, as ulimit -n does, or raise memory_limit"
        where = tempfile.tempdir or "any folder for temporary files"
        raise OSError(
            error.errno,
            f"{n_bytes:,} bytes of scores beyond memory_limit cannot be kept in {where}: {remedy} "
            f"({error.strerror})",
        ) from error


def _mapped(descriptor: int, n_bytes: int) -> mmap.mmap:
    """A file that stays after its descriptor is closed."""
    # Else a map keeps one of its own.
    if sys.platform != "win32" and sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, n_bytes, trackfd=False)
    return mmap.mmap(descriptor, n_bytes)


class Run(NamedTuple):
    """Keys of rows of one label, sorted, and equal ones by weight; without weights each has 1."""

    keys: Array
    weights: Array = NO_WEIGHTS
    room: int | None = None  # bytes that an array of it has in memory, at most

    @property
    def size(self) -> int:
        return len(self.keys)

    def first(self, n: int) -> Run:
        return Run(self.keys[:n], self.weights[:n], self.room)

    def at_least(self, keys: Array) -> Array:
        """The weights of rows that have at least these keys."""
        places = np.searchsorted(self.keys, keys)
        if not self.weights.size:
            return (self.size - places).astype(np.float64)
        return sums_from(places, self.weights)

    def weighted(self, factor: float) -> Run:
        """With weights, those that there are times this."""
        if self.weights.size and factor == 1.0:
            return self
        weights = new_array(self.size, np.float64, self.room)
        for part in blocks_of(self.size):
            given = self.weights[part] if self.weights.size else np.ones(part.stop - part.start)
            weights[part] = scaled(given, factor)
        return self._replace(weights=weights)

    def merged(self, other: Run) -> Run:
        keys = new_array(self.size + other.size, self.keys.dtype, self.room)
        weights = new_array(self.weights.size + other.weights.size, np.float64, self.room)
        _merge_runs(keys.dtype)(self.keys, other.keys, self.weights, other.weights, keys, weights)
        return Run(keys, weights, self.room)

    def within(self, room: int | None) -> Run:
        """The same with so much room, outside of which no array is in memory."""
        if room is None or room == self.room:
            return self
        return Run(moved(self.keys, room), moved(self.weights, room), room)


def joined(arrays: Iterable[Array], room: int | None) -> Array:
    """Arrays of one dtype, one behind the other."""
    parts = list(arrays)
    whole = new_array(sum(map(len, parts)), parts[0].dtype, room)
    return np.concatenate(parts, out=whole)


def moved(array: Array, room: int) -> Array:
    """The array, or a copy in a file if it takes more bytes than there is room."""
    if array.nbytes <= room:
        return array
    copy = new_array(len(array), array.dtype, room)
    copy[:] = array
    return copy


Runs = tuple[Run, ...]


def scaled(weights: Array, factor: float) -> Array:
    """Weights times a power of two. None becomes 0, or nothing would be left of a score."""
    if factor == 1.0:
        return weights
    result: Array = np.maximum(weights * factor, _LEAST)
    return result


def sums_from(places: Array, numbers: Array) -> Array:
    """The sum of numbers from each place on."""
    sums, found, end = (0.0, 0.0), np.empty(len(places)), len(numbers)
    for i in np.argsort(-places):
        sums = add(sums, total_of(numbers[places[i] : end]))
        found[i], end = sums[0], min(end, places[i])
    return found


def total_of(numbers: Array) -> Pair:
    """Their sum, without temporaries that are as long."""
    sums: Pair = (0.0, 0.0)
    for start in range(0, len(numbers), _SUMMED):
        sums = add(sums, total(numbers[start : start + _SUMMED]))
    return sums


def sums_before(numbers: Array, room: int | None) -> Array:
    """The sum of the numbers before each place, and that of all."""
    sums, before = new_array(len(numbers) + 1, np.float64, room), (0.0, 0.0)
    sums[0] = 0.0
    for part in blocks_of(len(numbers)):
        sums[part.start + 1 : part.stop + 1] = before[0] + np.cumsum(numbers[part])
        before = add(before, total(numbers[part]))
    return sums


class Mergeable(Protocol):
    """Some rows."""

    @property
    def size(self) -> int: ...

    def merged(self: P, other: P) -> P: ...


P = TypeVar("P", bound=Mergeable)


def merged_runs(runs: tuple[P, ...], in_one: bool = False) -> tuple[P, ...]:
    """The same rows in runs each of which is at least twice as long as the one before, or in one.

    So a row is merged as often as their number was doubled.
    """
    merged: list[P] = []
    for run in sorted(runs, key=lambda run: run.size):
        if merged and (in_one or 2 * merged[-1].size > run.size):
            merged[-1] = merged[-1].merged(run)
        elif run.size:
            merged.append(run)
    return tuple(merged)


def positive_rows(labels: Array | None, part: slice) -> Array:
    """Bytes that are 0 for the negative rows of a part; without labels all are positive."""
    if labels is None:
        return np.ones(part.stop - part.start, np.uint8)
    if labels.dtype == np.uint8:
        return np.ascontiguousarray(labels[part])
    return np.ascontiguousarray(labels[part] != 0).view(np.uint8)


def blocks_of(n: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def sorted_rows(
    labels: Array | None, scores: Array, form: ScoreForm, weights: Array
) -> tuple[Run, Run]:
    """The rows of label 0 and those of label 1, without those whose score is NaN."""
    n, blocks = len(scores), blocks_of(len(scores))
    counts = [np.count_nonzero(positive_rows(labels, part)) for part in blocks]
    ends = np.cumsum(counts, dtype=np.int64)
    middle = n - int(ends[-1]) if n else 0
    keys = np.empty(n, form.dtype)
    split = _split_keys(form)

    def run(index: int) -> None:
        part, positives = blocks[index], int(ends[index]) - counts[index]
        split(
            native_bits(scores[part], form),
            positive_rows(labels, part),
            *(form.sign, form.infinity, form.nan),
            keys,
            part.start - positives,
            middle + positives,
        )

    threads.run(run, len(blocks))
    sides = keys[:middle], keys[middle:]
    if weights.size:
        is_positive = positive_rows(labels, slice(0, n)) != 0
        negative = _sorted_by_weight(sides[0], weights[~is_positive])
        positive = _sorted_by_weight(sides[1], weights[is_positive])
    else:
        _sort(keys, middle)
        negative, positive = Run(sides[0]), Run(sides[1])
    # NaN come last.
    nan = form.dtype.type(form.nan)
    return (
        negative.first(int(np.searchsorted(negative.keys, nan))),
        positive.first(int(np.searchsorted(positive.keys, nan))),
    )


def _sort(keys: Array, middle: int) -> None:
    """Sort the keys before the middle and those behind it, on all threads.

    NumPy's sort is vectorised: it takes 8 ns a key of 32 bits, and a radix sort by 11 bits 17 ns.
    What a thread is to sort is put in its place first, which takes 1 ns a key, and then nothing has
    to be merged.
    """
    n = len(keys)
    n_tasks = threads.get_num_threads() if n >= 4 * BLOCK else 1
    bounds = [n * i // n_tasks for i in range(n_tasks + 1)]
    for first, last in (0, middle), (middle, n):
        cuts = [bound - first for bound in bounds[1:-1] if first < bound < last]
        if cuts:
            keys[first:last].partition(cuts)

    def run(index: int) -> None:
        first, last = bounds[index], bounds[index + 1]
        cut = min(max(first, middle), last)
        keys[first:cut].sort()
        keys[cut:last].sort()

    threads.run(run, n_tasks)


def _sorted_by_weight(keys: Array, weights: Array) -> Run:
    """A run of keys in any order."""
    order = np.argsort(keys)
    keys, weights = keys[order], weights[order]
    same = keys[1:] == keys[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    if tied.size:
        weights[tied] = weights[tied][np.lexsort((weights[tied], keys[tied]))]
    return Run(keys, weights)


def steps_of(negative: Run, positive: Run) -> Iterator[Steps]:
    """The steps of all rows, in blocks."""
    dtype = negative.keys.dtype
    left = np.array([negative.size, positive.size, 0])
    high, low = np.zeros((2, 4))
    read = _read_steps(dtype)
    while left[:2].any():
        room = min(STEPS, int(left[:2].sum()))
        keys, weights, so_far = np.empty(room, dtype), np.empty((2, room)), np.empty((2, room + 1))
        read(
            *(negative.keys, positive.keys, negative.weights, positive.weights),
            *(left, high, low, keys, *weights, *so_far),
        )
        n = int(left[2])
        yield Steps(keys[:n], *weights[:, :n], *so_far[:, :n], *so_far[:, 1 : n + 1])


# The compiled loops. None writes into anything but the last of its arrays.
@cache
def _split_keys(form: ScoreForm) -> Any:
    keys = np.empty(0, form.dtype)
    examples = keys, np.empty(0, np.uint8), *[form.sign] * 3, keys, 1, 1
    return compiler().load_or_compile(kernel.split_keys, examples)


@cache
def _merge_runs(dtype: np.dtype[Any]) -> Any:
    keys = np.empty(0, dtype)
    examples = keys, keys, NO_WEIGHTS, NO_WEIGHTS, keys, NO_WEIGHTS
    return compiler().load_or_compile(kernel.merge_runs, examples)


@cache
def _read_steps(dtype: np.dtype[Any]) -> Any:
    keys, left = np.empty(0, dtype), np.empty(0, np.int64)
    examples = keys, keys, *[NO_WEIGHTS] * 2, left, *[NO_WEIGHTS] * 2, keys, *[NO_WEIGHTS] * 4
    return compiler().load_or_compile(kernel.read_steps, examples)
