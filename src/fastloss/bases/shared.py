"""Equal losses, which share what is known of their calls: a loss may be built for each call."""

from abc import ABC
from collections.abc import Callable, Collection, Iterable
from functools import cached_property, lru_cache
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


# -------------------------------------------------------------------------------------------------
# What a loss knows, and what its class says


def known_to(loss: Any) -> list[tuple[str, Any]]:
    """What a loss has by name, but for what follows from the rest."""
    own: Any = type(loss)
    found_out = follows(own)
    known = [item for item in vars(loss).items() if item[0] not in found_out]
    return known + [(name, getattr(loss, name, None)) for name in _slots(own)]


@lru_cache(maxsize=256)
def follows(loss: type[object]) -> frozenset[str]:
    """The names of what losses find out when they are asked, and remember."""
    parts = [vars(base) for base in loss.__mro__]
    return frozenset(n for part in parts for n, v in part.items() if isinstance(v, cached_property))


@lru_cache(maxsize=256)
def sayings(loss: type[object]) -> tuple[Callable[[], Collection[Any]], ...]:
    """What a class and its parents say of losses, but for those that all derive from, as it is."""
    return tuple(
        vars(base).values
        for base in loss.__mro__
        if base not in (ABC, object) and not base.__module__.startswith(f"{__package__}.")
    )


@lru_cache(maxsize=256)
def _slots(loss: type[object]) -> tuple[str, ...]:
    """The names of what losses have in slots: most have none."""
    slots = (vars(base).get("__slots__", ()) for base in loss.__mro__)
    return tuple(name for names in slots for name in ((names,) if type(names) is str else names))
