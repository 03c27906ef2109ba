"""Loss and rank of each row of sequences: what numbers need that no sum has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...call.arrays import Array
from .state import entry


class Chunk(NamedTuple):
    """Rows that count, each with the id of its sequence; 20 bytes for each."""

    ids: Array
    losses: Array
    ranks: Array  # int32; -1 if it is not known


_NOTHING = Chunk(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int32))


class Tokens(NamedTuple):
    """Rows as they came, in chunks, each larger than the next. It is never changed."""

    chunks: tuple[Chunk, ...] = ()

    @property
    def n_keys(self) -> int:
        return len(self.chunks)

    def merged(self, other: Tokens) -> Tokens:
        """The rows of both."""
        chunks = list(self.chunks)
        for chunk in other.chunks:
            # So that a row is copied as often as the logarithm of the rows says, at most.
            while chunks and len(chunks[-1].ids) <= len(chunk.ids):
                chunk = Chunk(*map(np.append, chunks.pop(), chunk))
            chunks.append(chunk)
        return Tokens(tuple(chunks))

    def numbered_from(self, first: int) -> Tokens:
        """The same with ids that are larger by this."""
        return Tokens(tuple(chunk._replace(ids=chunk.ids + first) for chunk in self.chunks))

    def sorted(self) -> Chunk:
        """By sequence, and within it by loss, the largest first; NaN before all."""
        ids, losses, ranks = self._whole()
        order = np.lexsort((ranks, -np.nan_to_num(losses, nan=np.inf), ids))
        return Chunk(ids[order], losses[order], ranks[order])

    def _whole(self) -> Chunk:
        return Chunk(*map(np.concatenate, zip(_NOTHING, *self.chunks, strict=True)))

    def state(self, name: str) -> dict[str, Array]:
        return {f"{name}_{part}": array for part, array in self._whole()._asdict().items()}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array]) -> Tokens:
        """Raise ValueError unless it is such a table."""
        ids = entry(state, f"{name}_ids", np.int64, (None,))
        shape = (len(ids),)
        losses = entry(state, f"{name}_losses", np.float64, shape)
        ranks = entry(state, f"{name}_ranks", np.int32, shape)
        if (losses < 0).any() or (ranks < -1).any():
            raise ValueError(f"the rows of {name} in the state make no sense: it is damaged")
        return cls((Chunk(ids, losses, ranks),))
