"""What the ids of groups stand for, where groups are no integers: names, and tuples of them."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from .state import entry

# A group as a user names it. Of several columns it is a tuple.
Name = str | int | bool | tuple[Any, ...]
# What groups are: integers, which are ids as they are; names; or tuples, of the columns of these
# names. Nothing until the first rows say so.
Kind = str | tuple[str, ...]
INTEGERS, NAMES = "integers", "names"


class GroupNames(NamedTuple):
    """Names by id. An id is a digest of the name: so a group has the same one in all parts, threads
    and processes, which need not know of each other.

    It is never changed: whoever adds to it makes another.
    """

    kind: Kind = ""
    names: Mapping[int, Name] = {}

    @classmethod
    def of(cls, kind: Kind, names: Iterable[Name]) -> "GroupNames":
        """Names that differ from one another."""
        found: dict[int, Name] = {}
        for name in names:
            _put(found, id_of(name), name)
        return cls(kind, found)

    @property
    def n_keys(self) -> int:
        return len(self.names)

    def merged(self, other: "GroupNames") -> "GroupNames":
        """The names of both; ValueError if they are of different kinds."""
        if not self.kind or not other.kind:
            return self if self.kind else other
        if self.kind != other.kind:
            raise ValueError(
                f"groups are {_in_words(other.kind)}, but {_in_words(self.kind)} in what came "
                "before: give groups of one kind with all rows"
            )
        if other.names.keys() <= self.names.keys():
            mine, more = self, other.names
        else:
            mine, more = GroupNames(self.kind, {**other.names, **self.names}), other.names
        for key, name in more.items():
            _check_same(mine.names[key], name)
        return mine

    def sorted(self, ids: Array) -> tuple[Array, Array]:
        """The order of ids in which their names ascend, and the names in this order."""
        if self.kind in ("", INTEGERS):
            order = np.argsort(ids, kind="stable")
            return order, ids[order]
        names = [self.names[key] for key in ids.tolist()]
        order = np.array(sorted(range(len(names)), key=lambda i: _rank(names[i])), np.int64)
        return order, _as_array([names[i] for i in order])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that groups are of, if there are several."""
        return self.kind if isinstance(self.kind, tuple) else ()

    def state(self, name: str) -> dict[str, Array]:
        """Nothing of ids that are groups as they are, as states had it when all were."""
        if self.kind in ("", INTEGERS):
            return {}
        text = json.dumps([self.kind, list(self.names.values())])
        return {name: np.frombuffer(text.encode(), np.uint8).copy()}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Array], ids: Array) -> "GroupNames":
        """Raise ValueError unless they are the names of these ids, which digests say."""
        if name not in state:
            return cls(INTEGERS if ids.size else "")
        text = entry(state, name, np.uint8, (None,)).tobytes()
        try:
            kind, names = json.loads(text)
            kind = tuple(kind) if isinstance(kind, list) else kind
            found = cls.of(
                kind, [tuple(each) if isinstance(each, list) else each for each in names]
            )
        except (ValueError, TypeError):
            raise ValueError(f"{name!r} of the state cannot be read: it is damaged") from None
        named = kind not in ("", INTEGERS)
        if found.names.keys() != set(ids.tolist() if named else ()) or (ids.size and not kind):
            raise ValueError(f"{name!r} of the state are not what they were: it is damaged")
        return found


def id_of(name: Name) -> int:
    """A digest of a name, as an int64."""
    digest = blake2b(json.dumps(name).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _put(names: dict[int, Name], key: int, name: Name) -> None:
    _check_same(names.setdefault(key, name), name)


def _check_same(before: Name, name: Name) -> None:
    if before != name:  # of a million groups two are alike once in 4e7 evaluations
        raise ValueError(
            f"groups {before!r} and {name!r} have the same digest and cannot be told apart: give "
            "one of them another name"
        )


def _in_words(kind: Kind) -> str:
    return f"tuples of the columns {', '.join(kind)}" if isinstance(kind, tuple) else kind


def _rank(name: Name) -> Any:
    """A key that sorts numbers before texts, and True before 1."""
    if isinstance(name, tuple):
        return tuple(map(_rank, name))
    return isinstance(name, str), name, not isinstance(name, bool)


def _as_array(names: list[Name]) -> Array:
    kinds = {type(name) for name in names}
    if kinds <= {str} or kinds <= {bool}:
        return np.array(names)
    array = np.empty(len(names), object)  # of tuples, too, which would become another axis
    array[:] = names
    return array
