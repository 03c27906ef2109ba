"""Tables of exact sums by key, which can be merged in any order."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._arrays import Array


class Tally:
    """For each key, so many sums, each of two float64: the sum, and what rounding took from it."""

    def __init__(self, n_keys: int, width: int) -> None:
        self.width = width
        self.high = np.zeros((n_keys, width))
        self.low = np.zeros((n_keys, width))
        self._is_shared = False

    def __len__(self) -> int:
        return len(self.high)

    @property
    def sums(self) -> Array:
        """Of shape (n_keys, width). An infinite sum has lost nothing."""
        with np.errstate(invalid="ignore"):
            exact = self.high + self.low
        sums: Array = np.where(np.isfinite(self.high), exact, self.high)
        return sums

    @property
    def total(self) -> Array:
        """The sums over all keys, of shape (width,)."""
        result = Tally(1, self.width)
        for key in range(len(self)):
            result.add(0, self.high[key], self.low[key])
        return result.sums.reshape(-1)

    @property
    def pair(self) -> tuple[Array, Array]:
        """What a kernel adds to."""
        self._own()
        return self.high.reshape(-1), self.low.reshape(-1)

    def grow(self, n_keys: int) -> None:
        """Have room for so many keys, and at once for some more."""
        n = len(self)
        if n_keys > n:
            before = self.high, self.low
            # Pages of zeros that nobody writes to cost nothing.
            shape = max(n_keys, 2 * n), self.width
            self.high, self.low = np.zeros(shape), np.zeros(shape)
            self.high[:n], self.low[:n] = before
            self._is_shared = False

    def snapshot(self) -> "Tally":
        """A table of the same sums, which stays as it is: one of the two is copied if need be."""
        other = Tally(0, self.width)
        other.high, other.low = self.high, self.low
        self._is_shared = other._is_shared = True
        return other

    def _own(self) -> None:
        if self._is_shared:
            self.high, self.low, self._is_shared = self.high.copy(), self.low.copy(), False

    def merge(self, other: "Tally") -> None:
        self.grow(len(other))
        self.add(np.s_[: len(other)], other.high, other.low)

    def add(self, keys: Any, high: Array, low: Array) -> None:
        """Add sums, and what they lost, to those of some keys, each of them once."""
        self._own()
        with np.errstate(invalid="ignore"):
            before = self.high[keys]
            total = before + high
            part = total - before
            self.low[keys] += low + ((before - (total - part)) + (high - part))
            self.high[keys] = total

    def state(self, name: str, n_keys: int | None = None) -> dict[str, Array]:
        """Those of the first keys, or of all."""
        return {f"{name}_high": self.high[:n_keys].copy(), f"{name}_low": self.low[:n_keys].copy()}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array]) -> "Tally":
        high, low = state[f"{name}_high"], state[f"{name}_low"]
        tally = cls(0, high.shape[1])
        tally.high, tally.low = high.copy(), low.copy()
        return tally


class ClassTally:
    """A table whose keys are class ids, of which only those that were met take memory.

    Of a hundred thousand classes a batch meets a few: to write to pages of a table of all of them
    for the first time took longer than all else that is done with the scores.
    """

    def __init__(self, width: int) -> None:
        self.tally = Tally(0, width)
        # Where in it the sums of a class are, counted from 1; and how many were met.
        self.places = np.zeros(0, np.int64)
        self.n_met = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return len(self.places)

    def grow(self, n_classes: int) -> None:
        if n_classes > len(self):
            self.places = np.append(self.places, np.zeros(n_classes - len(self), np.int64))

    def make_room(self, n_rows: int) -> None:
        """For the classes of so many more rows."""
        self.tally.grow(min(int(self.n_met[0]) + n_rows, len(self)))

    @property
    def ids(self) -> Array:
        """The classes that were met, in their order in the table."""
        met = np.flatnonzero(self.places)
        return met[np.argsort(self.places[met])]

    @property
    def sums(self) -> Array:
        """Of shape (n_classes, width)."""
        ids = self.ids
        sums = np.zeros((len(self), self.tally.width))
        sums[ids] = self.tally.sums[: len(ids)]
        return sums

    def snapshot(self) -> "ClassTally":
        """A table of the same sums, which stays as it is."""
        other = ClassTally(self.tally.width)
        other.tally = self.tally.snapshot()
        other.places, other.n_met = self.places.copy(), self.n_met.copy()
        return other

    def merge(self, other: "ClassTally") -> None:
        self.grow(len(other))
        self._add(other.ids, other.tally)

    def _add(self, ids: Array, tally: Tally) -> None:
        self.make_room(len(ids))
        new = ids[self.places[ids] == 0]
        self.places[new] = self.n_met[0] + 1 + np.arange(len(new))
        self.n_met += len(new)
        self.tally.add(self.places[ids] - 1, tally.high[: len(ids)], tally.low[: len(ids)])

    def state(self, name: str) -> dict[str, Array]:
        return {f"{name}_ids": self.ids, **self.tally.state(name, int(self.n_met[0]))}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array], n_classes: int) -> "ClassTally":
        tally = Tally.from_state(name, state)
        classes = cls(tally.width)
        classes.grow(n_classes)
        classes._add(state[f"{name}_ids"], tally)
        return classes


class KeyedTally:
    """A table whose keys are any integers, which come as they come."""

    def __init__(self, width: int, ids: Iterable[int] = ()) -> None:
        self.index = {id_: i for i, id_ in enumerate(ids)}
        self.tally = Tally(len(self.index), width)

    def places(self, ids: Array) -> Array:
        """Where in the table the sums of these ids are; new ones get a place."""
        unique, inverse = np.unique(ids, return_inverse=True)
        places = [self.index.setdefault(id_, len(self.index)) for id_ in unique.tolist()]
        self.tally.grow(len(self.index))
        return np.array(places, np.int64)[inverse].reshape(ids.shape)

    def merge(self, other: "KeyedTally", shift: int = 0) -> None:
        """Add the sums of another table, whose ids are so much larger here."""
        ids = np.array(list(other.index), np.int64) + shift
        n = len(ids)
        self.tally.add(self.places(ids), other.tally.high[:n], other.tally.low[:n])

    def sorted(self) -> tuple[Array, Array]:
        """The ids in order, and the sums of each."""
        ids = np.array(list(self.index), np.int64)
        order = np.argsort(ids)
        return ids[order], self.tally.sums[: len(ids)][order]

    def state(self, name: str) -> dict[str, Array]:
        ids = np.array(list(self.index), np.int64)
        return {f"{name}_ids": ids, **self.tally.state(name, len(ids))}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array]) -> "KeyedTally":
        keyed = cls(0, state[f"{name}_ids"].tolist())
        keyed.tally = Tally.from_state(name, state)
        return keyed
