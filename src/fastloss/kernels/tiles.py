"""What loops do with tiles, small arrays that stay in the first-level cache."""

from typing import Any

from ..compiler.bits import disjoint, stream


def fill(out: Any, stored: Any) -> None:
    """Write the same stored number everywhere; outputs that are not wanted are empty."""
    for j in range(out.size):
        out[j] = stored


def put(tile: Any, out: Any, streamed: Any) -> None:
    """Copy as much of the tile as `out` has room for."""
    if streamed:
        stream(tile, out)
    else:
        copy(tile, out)


def copy(tile: Any, out: Any) -> None:
    disjoint()
    for j in range(out.size):
        out[j] = tile[j]
