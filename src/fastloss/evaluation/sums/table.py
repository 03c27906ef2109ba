"""Tables of exact sums by key, which can be merged in any order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from ...kernels.tally import WEIGHT_POWERS, Room
from .double_double import Pair, add, exact_sum, multiply, product, quick_sum, total
from .state import entry


class Layout(NamedTuple):
    """What the columns of a table are. The last is the scale of the weights, 0 without rows."""

    powers: Array  # of the weight, in each column
    # Numbers c that are close to x, the sums of w^2 (x - c) and w^2 (x - c)^2, and that of w^2.
    # What is called w^2 here and below may be any power of the weight.
    centers: slice = slice(0)
    firsts: slice = slice(0)
    seconds: slice = slice(0)
    squared_weight: int = 0
    # Of numbers i and j that have centers, the column of the sum of w^2 (x_i - c_i) (x_j - c_j).
    product: tuple[int, int, int] | None = None
    largest: slice = slice(0)  # numbers of which the largest one is kept

    @property
    def width(self) -> int:
        return len(self.powers)


HISTOGRAM = Layout(WEIGHT_POWERS)
NO_KEYS = np.empty(0, np.int64)
# Instead of a table that is not added to.
NO_ROOM = Room(*np.empty((3, 0), np.int64), *np.empty((2, 0)))


class Table(NamedTuple):
    """For each key some sums, each of two float64: the sum, and what rounding took from it.

    It is never changed: whoever adds to it makes another.
    """

    layout: Layout
    ids: Array  # the keys, int64, each of them once
    high: Array  # of shape (keys, width)
    low: Array

    @classmethod
    def empty(cls, layout: Layout) -> Table:
        zeros = np.zeros((0, layout.width))
        return cls(layout, np.zeros(0, np.int64), zeros, zeros)

    @property
    def n_keys(self) -> int:
        return len(self.ids)

    @property
    def sums(self) -> Array:
        """Rounded, of shape (keys, width). An infinite sum has lost nothing."""
        with np.errstate(invalid="ignore"):
            exact = self.high + self.low
        sums: Array = np.where(np.isfinite(self.high), exact, self.high)
        return sums

    def column(self, index: int) -> Pair:
        """One of the sums of each key, as a column."""
        return self.high[:, index, np.newaxis], self.low[:, index, np.newaxis]

    def weights(self, scale: Any = 1.0) -> Array:
        """Of a histogram the weight of each key, times a scale."""
        sums = self.sums
        weights: Array = sums[:, 0] * (scale / sums[:, 1])
        return weights

    def alike(self) -> Table:
        """The same sums, those of weights times one scale."""
        scales = self.high[:, -1]
        if (scales == scales[:1]).all():
            return self
        sums = scaled(self.layout, (self.high, self.low), least(scales))
        return Table(self.layout, self.ids, *sums)

    def select(self, chosen: Array) -> Table:
        """Some of the keys."""
        return Table(self.layout, self.ids[chosen], self.high[chosen], self.low[chosen])

    def total(self) -> Table:
        """The sums over all keys, as those of the key 0."""
        if self.n_keys < 2:
            return self._replace(ids=np.zeros(self.n_keys, np.int64))
        scales = self.high[:, -1]
        # In the middle of those that have the larger weights.
        center = middle(self.high[scales == least(scales), self.layout.centers])
        sums = self.high[:, np.newaxis], self.low[:, np.newaxis]
        return Table(self.layout, np.zeros(1, np.int64), *_added_up(self.layout, sums, center))

    def by_id(self) -> Table:
        """One row of sums for each id, of a table that may have several, one behind the other."""
        ids, high, low = self.ids, self.high.copy(), self.low.copy()
        while True:
            first = np.flatnonzero(np.diff(ids, prepend=~ids[:1]))
            place = np.arange(len(ids)) - np.repeat(first, np.diff(first, append=len(ids)))
            odd = np.flatnonzero(place % 2)
            if not odd.size:
                return Table(self.layout, ids, high, low)
            both = added(self.layout, (high[odd - 1], low[odd - 1]), (high[odd], low[odd]))
            even = place % 2 == 0
            high[odd - 1], low[odd - 1] = both
            ids, high, low = ids[even], high[even], low[even]

    def merged(self, other: Table) -> Table:
        """The sums of both."""
        if not self.n_keys or not other.n_keys:
            return self if self.n_keys else other
        ids, places = np.unique(np.concatenate([self.ids, other.ids]), return_inverse=True)
        mine, its = places[: self.n_keys], places[self.n_keys :]
        high, low = np.zeros((2, len(ids), self.layout.width))
        high[mine], low[mine] = self.high, self.low
        high[its], low[its] = added(self.layout, (high[its], low[its]), (other.high, other.low))
        return Table(self.layout, ids, high, low)

    def with_keys(self, ids: Array) -> Table:
        """With these keys as well, in order."""
        every = distinct(self.ids, ids)
        high, low = np.zeros((2, len(every), self.layout.width))
        if self.n_keys:
            places = np.searchsorted(every, self.ids)
            high[places], low[places] = self.high, self.low
        return Table(self.layout, every, high, low)

    def room(self, n_keys: int, n_rows: int) -> Room:
        """A copy with room for the keys below `n_keys` that so many rows may have.

        Keys that nobody meets cost nothing: memory that is not written to is none. Of a hundred
        thousand classes a batch meets a few.
        """
        n, width = self.n_keys, self.layout.width
        most = min(n_keys, n + n_rows)
        places = np.zeros(n_keys, np.int64)
        met = np.empty(most, np.int64)
        high, low = np.empty(most * width), np.empty(most * width)
        if n:
            places[self.ids] = np.arange(1, n + 1)
            met[:n] = self.ids
            high[: n * width], low[: n * width] = self.high.reshape(-1), self.low.reshape(-1)
        return Room(places, met, np.array([n]), high, low)

    def filled(self, room: Room) -> Table:
        """What was added up in a room."""
        n, width = int(room.n_met[0]), self.layout.width
        high, low = [sums[: n * width].reshape(n, width) for sums in (room.high, room.low)]
        return Table(self.layout, room.met[:n], high, low)

    def state(self, name: str) -> dict[str, Array]:
        parts = {"ids": self.ids, "high": self.high, "low": self.low}
        return {f"{name}_{part}": array.copy() for part, array in parts.items()}

    @classmethod
    def from_state(
        cls, layout: Layout, name: str, state: Mapping[str, Array], n_keys: int | None
    ) -> Table:
        """Raise ValueError unless it is such a table, of keys below `n_keys` or of any in order."""
        ids = entry(state, f"{name}_ids", np.int64, (None,))
        shape = len(ids), layout.width
        high, low = (entry(state, f"{name}_{part}", np.float64, shape) for part in ("high", "low"))
        if n_keys is None:
            # Differences of ids that are far from each other do not fit into int64.
            sound = bool((ids[1:] > ids[:-1]).all())
        else:
            sound = len(np.unique(ids)) == len(ids) and bool(((ids >= 0) & (ids < n_keys)).all())
        known = [layout.width - 1]  # whatever rows are
        if layout.squared_weight:
            known += [0, layout.squared_weight]  # their number, too
        numbers = (high + low)[:, known]
        if not sound or not ((numbers >= 0) & (numbers < np.inf)).all():
            raise ValueError(f"the sums of {name} in the state make no sense: it is damaged")
        return cls(layout, ids, high, low)


def keyed(
    table: Table, ids: list[Array | None], sizes: list[int], more: Array = NO_KEYS
) -> tuple[Table, Array, Array] | None:
    """A table whose keys are places among all of its ids and those of rows to come, in order.

    Of each part of rows there are `ids`, any integers, or None, and its size; `more` are ids
    without rows. Returns the table, these ids, and the place of each row, -1 of one without; None
    if there are no ids.
    """
    known = [each for each in ids if each is not None]
    if not known and not more.size:
        return None
    every = distinct(table.ids, more, *known)
    places = [
        np.full(size, -1) if each is None else places_of(each, every)
        for each, size in zip(ids, sizes, strict=True)
    ]
    placed = table.with_keys(every)._replace(ids=np.arange(len(every)))
    return placed, every, np.concatenate(places)


def distinct(*ids: Array) -> Array:
    """Each of some integers once, in order."""
    every = np.concatenate(ids)
    lowest, highest = (every.min().item(), every.max().item()) if every.size else (0, -1)
    if highest - lowest >= 4 * len(every):
        return np.unique(every)
    # To mark them takes a fraction of the time.
    there = np.zeros(highest - lowest + 1, bool)
    there[every - lowest] = True
    return np.flatnonzero(there) + lowest


def places_of(ids: Array, every: Array) -> Array:
    """Where ids are among those that there are, which are in order."""
    if not every.size:
        return np.empty(0, np.int64)
    lowest, highest = every[0].item(), every[-1].item()
    if highest - lowest >= 4 * len(ids):
        return np.searchsorted(every, ids)
    # To look them up takes a tenth of the time.
    places = np.empty(highest - lowest + 1, np.int64)
    places[every - lowest] = np.arange(len(every))
    found: Array = places[ids - lowest]
    return found


def added(layout: Layout, a: Pair, b: Pair) -> Pair:
    """The sums of the rows of two tables, key by key; where one has no rows, those of the other."""
    here = (a[0][:, -1] != 0)[:, np.newaxis]
    centers = np.where(here, a[0][:, layout.centers], b[0][:, layout.centers])
    return _added_up(layout, (np.stack([a[0], b[0]]), np.stack([a[1], b[1]])), centers)


def _added_up(layout: Layout, sums: Pair, centers: Array) -> Pair:
    """The sums along the first of three axes, of moments about these centers.

    With d = c_b - c_a, the sum of w^2 (x - c_a) is that of w^2 (x - c_b) + d w^2, and the sum of
    w^2 (x - c_a)^2 that of w^2 (x - c_b)^2 + 2 d w^2 (x - c_b) + d^2 w^2.
    """
    scales = sums[0][..., -1]
    scale = least(scales)
    high, low = scaled(layout, sums, scale)
    with np.errstate(all="ignore"):
        gap = exact_sum(high[..., layout.centers], -centers)
        away = (scales != 0) & gap[0].any(axis=-1)
        if away.any():
            gap = gap[0][away], gap[1][away]
            high[away], low[away] = _moved(layout, (high[away], low[away]), gap)
        of_all, rests = total(high, low)
    for part, same in (
        (layout.centers, centers),
        (layout.largest, high[..., layout.largest].max(axis=0)),
        (slice(-1, None), scale[..., np.newaxis]),
    ):
        of_all[:, part], rests[:, part] = same, 0.0
    return of_all, rests


def least(scales: Array) -> Array:
    """The least scale along the first axis, that of the largest weights; 0 if no rows have one.

    Next to these weights nothing is lost of the others.
    """
    found = np.where(scales > 0, scales, np.inf).min(axis=0, initial=np.inf)
    return np.where(found < np.inf, found, 0.0)


def scaled(layout: Layout, sums: Pair, scale: Array) -> Pair:
    """The same sums, those of weights times these scales, as a copy."""
    high, low = sums[0].copy(), sums[1].copy()
    before = high[..., -1]
    with np.errstate(all="ignore"):
        factor = scale / before
        changed = (before != 0) & (factor != 1)  # without rows there is nothing to be changed
        if changed.any():
            factors = factor[changed][:, np.newaxis] ** layout.powers
            high[changed] *= factors
            low[changed] *= factors
    high[..., -1] = scale
    return high, low


def _moved(layout: Layout, sums: Pair, gap: Pair) -> Pair:
    """The same sums, of moments about centers that are less by these gaps."""
    high, low = sums
    squares, firsts, seconds = layout.squared_weight, layout.firsts, layout.seconds
    weight = high[:, squares, np.newaxis], low[:, squares, np.newaxis]
    first, second = ((high[:, part], low[:, part]) for part in (firsts, seconds))
    moved = add(first, multiply(gap, weight))
    # 2 d B + d^2 D = d (B + (B + d D))
    squares_moved = add(second, multiply(gap, add(first, moved)))
    # What is infinite stays so about any center.
    high[:, seconds] = np.where(second[0] == np.inf, np.inf, squares_moved[0])
    low[:, seconds] = squares_moved[1]
    if layout.product:
        i, j, column = layout.product
        # d_i B_j + d_j B_i + d_i d_j D = d_i B_j + d_j (B_i + d_i D)
        more = add(
            multiply(_column(gap, i), _column(first, j)),
            multiply(_column(gap, j), _column(moved, i)),
        )
        both = add(_column((high, low), column), more)
        high[:, column], low[:, column] = both
    high[:, firsts], low[:, firsts] = moved
    return high, low


def middle(centers: Array) -> Array:
    """One of some centers for each number, of which as many are larger as smaller."""
    half = len(centers) // 2
    found: Array = np.partition(centers, half, axis=0)[half]
    return found


def _column(pair: Pair, i: int) -> Pair:
    return pair[0][:, i], pair[1][:, i]


def spread(table: Table, mean: Pair) -> Array:
    """The sum of w^2 (x - mean)^2 of each x that has moments, of shape (keys, x).

    NaN if the mean is not finite, whichever of its rows came first and is the center.
    """
    layout = table.layout
    parts = layout.centers, layout.firsts, layout.seconds
    # What lies in one piece is added and multiplied in half of the time.
    center, first, second = [table.high[:, part].copy() for part in parts]
    first_low, second_low = [table.low[:, part].copy() for part in parts[1:]]
    with np.errstate(all="ignore"):
        gap, lost = exact_sum(mean[0], -center)
        gaps = quick_sum(gap, lost + mean[1])
        # C - 2 g B + g^2 D = C + g (g D - 2 B)
        inner, low = product(gaps, table.column(layout.squared_weight))
        inner, lost = exact_sum(inner, -2.0 * first)
        more, low = product(gaps, (inner, lost + (low - 2.0 * first_low)))
        high, lost = exact_sum(second, more)
        found: Array = np.maximum(high + (lost + (low + second_low)), 0.0)
    # Of squares beyond float64 nothing more is known.
    found[second == np.inf] = np.inf
    return np.where(np.isfinite(mean[0]), found, np.nan)
