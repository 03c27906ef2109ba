"""Equal losses, which share what is known of their calls: a loss may be built for each call."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from ..call.family import Family
from .options import PerColumn

# What is known of so many losses is kept once they are gone, if their options have no more numbers
# than this: all of it is a few megabytes, however many losses a program builds.
_MOST_LOSSES = 64
_MOST_NUMBERS = 1024


class _Alike:
    """How a family is made, equal to another one if they make the same."""

    __slots__ = "key", "make", "said"

    def __init__(
        self, key: tuple[Any, ...], make: Callable[[], Family], said: tuple[Any, ...]
    ) -> None:
        self.key, self.make, self.said = key, make, said

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=_MOST_LOSSES)
def _shared(alike: _Alike) -> Family:
    return alike.make()


def family_of(
    kind: tuple[Any, ...],
    known: Iterable[tuple[str, Any]],
    describe: Callable[[], Family],
    said: tuple[Any, ...] = (),
) -> Family:
    """The family of a loss, which is that of all others of its kind that know the same by name.

    `said` is what its class says of it, and has to be the same, not equal: functions, mostly. While
    a family is kept, so is that, and nothing else has the id of a part of it.

    A loss that knows anything but numbers and texts, or very many of them, has one of its own.
    """
    try:
        told = tuple([(name, _told_by(value)) for name, value in known])
    except _Special:
        return describe()
    return _shared(_Alike((kind, told, tuple(map(id, said))), describe, said))


class _Special(Exception):
    pass


def _told_by(value: Any) -> Any:
    """What is equal for values that no loss tells apart: 1 is not True, nor is 0.0 -0.0."""
    kind = type(value)
    if kind is float:
        return value.hex()
    if value is None or kind is str or kind is int or kind is bool:
        return kind, value
    if (kind is tuple or kind is PerColumn) and len(value) <= _MOST_NUMBERS:
        return kind, *map(_told_by, value)
    raise _Special
