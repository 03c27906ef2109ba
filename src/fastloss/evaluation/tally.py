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

    def state(self, name: str) -> dict[str, Array]:
        return {f"{name}_high": self.high.copy(), f"{name}_low": self.low.copy()}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array]) -> "Tally":
        high, low = state[f"{name}_high"], state[f"{name}_low"]
        tally = cls(0, high.shape[1])
        tally.high, tally.low = high.copy(), low.copy()
        return tally


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
        return {f"{name}_ids": np.array(list(self.index), np.int64), **self.tally.state(name)}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array]) -> "KeyedTally":
        keyed = cls(0, state[f"{name}_ids"].tolist())
        keyed.tally = Tally.from_state(name, state)
        return keyed
