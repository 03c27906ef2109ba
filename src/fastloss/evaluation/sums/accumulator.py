"""What adds up over rows that come in parts, from several threads and between interrupts."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from ...call.arrays import Array
from .state import check_checksums, check_options, options_state, with_checksums

P = TypeVar("P", bound="Part")
S = TypeVar("S", bound="Sums")
A = TypeVar("A", bound="Accumulator[Any]")

# Rows are kept until there are so many, and as many as there are keys; then they are added up, in
# their order. So an update of a few rows need not copy large tables, nor change one in place.
PENDING_ROWS = 1 << 10
# To add up fewer rows takes less time than to wake a thread.
PARALLEL_ROWS = 1 << 10


class Part(Protocol):
    """Something that adds up by keys, such as a `Table`. It is never changed."""

    @property
    def n_keys(self) -> int:
        """How many numbers there are to be copied when rows are added."""

    def merged(self: P, other: P) -> P:
        """Both together."""

    def state(self, name: str) -> dict[str, Array]:
        """As arrays of a state, whose names begin with that of the part."""


class Sums(ABC):
    """What the named tuples of all that was seen have in common.

    They are never changed: whoever adds to one makes another. Rows that were scored are pending
    until they are added to the parts.
    """

    n_rows: int
    parts: Mapping[str, Any]  # of `Part`, each by the name that it has in a state
    pending: tuple[Any, ...]
    n_pending: int
    # Whether rows are added up one by one, so that it does not matter when.
    one_by_one: ClassVar[bool] = False
    __slots__ = ()

    def plus(self: S, other: S) -> S:
        """The sums over the rows of both."""
        mine, its = self, other
        if its.n_keys:
            mine, its = mine.added_up(), its.added_up()
        return mine._with(
            n_rows=mine.n_rows + its.n_rows,
            parts={name: part.merged(its.parts[name]) for name, part in mine.parts.items()},
            pending=mine.pending + its.pending,
            n_pending=mine.n_pending + its.n_pending,
            **mine._joined(its),
        )

    def with_rows(self: S, rows: Any, n: int) -> S:
        """The sums with so many more rows pending; earlier ones are added up if they are many."""
        sums = self.settled()
        return sums._with(
            n_rows=sums.n_rows + n, pending=(*sums.pending, rows), n_pending=sums.n_pending + n
        )

    def settled(self: S) -> S:
        """The same with few rows pending."""
        if self.n_pending < PENDING_ROWS or self.n_pending < self.n_keys:
            return self
        return self.added_up()

    def added_up(self: S) -> S:
        """The same with no rows pending."""
        if not self.pending:
            return self
        return self._with(pending=(), n_pending=0, **self._with_pending())

    def resumable(self: S) -> S:
        """The same, from which more rows give the bits that they give from its state."""
        return self if self.one_by_one else self.added_up()

    @property
    def n_keys(self) -> int:
        """The number of keys in all parts together."""
        return sum(part.n_keys for part in self.parts.values())

    def _with(self: S, **fields: Any) -> S:
        """The same but for these."""
        return self._replace(**fields)  # type: ignore[attr-defined, no-any-return]

    def with_part(self: S, name: str, part: Any) -> S:
        """The same with another part of this name."""
        return self._with(parts={**self.parts, name: part})

    def check(self: S, new: S, other: bool = False) -> None:
        """Raise ValueError unless what is new, of another accumulator or not, goes with this."""
        if "group_names" in self.parts:
            self.parts["group_names"].merged(new.parts["group_names"])

    @abstractmethod
    def numbers(self) -> dict[str, Array]:
        """What there is besides parts, as arrays of a state."""

    @abstractmethod
    def from_state(self: S, state: Mapping[str, Array]) -> S:
        """The sums of a state, with parts such as these; ValueError if it is damaged."""

    def _joined(self: S, other: S) -> dict[str, Any]:
        """Whatever there is besides parts, by name, added to that of another."""
        return {}

    @abstractmethod
    def _with_pending(self) -> dict[str, Any]:
        """The parts, and whatever else changes, when the pending rows are added to them."""


class Accumulator(ABC, Generic[S]):
    """All that was added up is one object, which is never changed but replaced by another.

    So an update that raises, or is interrupted anywhere, has happened as a whole or not at all, and
    whoever looks meanwhile sees one of the two.
    """

    def __init__(self, sums: S) -> None:
        self._sums = sums
        self._lock = threading.Lock()

    @property
    def n_rows(self) -> int:
        """How many rows were added, those that do not count included."""
        return self._sums.n_rows

    def merge(self: A, other: A) -> A:
        """Add all that another one of the same options has seen; returns this one.

        Equal ids are the same group or sequence, but sequences of `offsets` are numbered on.
        """
        name = type(self).__name__
        if not isinstance(other, type(self)):
            raise TypeError(f"other must be a {name}, got {type(other).__name__}")
        mine, its = self._options, other._options
        for option, value in its.items():
            if mine.get(option) != value:
                raise ValueError(
                    f"other has other options: merge what was built alike; {option} is {value} "
                    f"there and {mine.get(option)} here"
                )
        self._add(other._sums, other=True)
        return self

    def _add(self, new: S, *, other: bool = False) -> None:
        """Add what was seen elsewhere, by another accumulator or by this one."""

        def change(before: S) -> S:
            before.check(new, other)
            return before.plus(new)

        self._replace(change)

    def _replace(self, change: Callable[[S], S]) -> None:
        """Put what `change` makes of the sums in their place. It is called again if another thread
        was faster.
        """
        while True:
            before = self._sums
            if self._swapped(before, change(before).settled()):
                return

    def _swapped(self, before: S, after: S) -> bool:
        """Put sums in the place of others, unless another thread was faster."""
        # Nothing is called here, after which Python would look for an interrupt or let a signal's
        # handler in, which may want the lock.
        with self._lock:
            if self._sums is before:
                self._sums = after
                return True
        return False

    def _added_up(self) -> S:
        """All that was seen, with no rows pending.

        It is kept where no later bit depends on that, so that nobody adds these rows up again. As
        long as all rows are pending they are merged row by row, and so they stay as they are.
        """
        before = self._sums
        after = before.added_up()
        if before.one_by_one and before.n_keys:
            self._swapped(before, after)
        return after

    def settle(self) -> None:
        """Make what is added later have the bits that it has if one of this state goes on.

        For evaluations that are resumed: after each part, whether or not its state is kept.
        """
        self._replace(lambda sums: sums.resumable())

    def state(self) -> dict[str, Array]:
        """All that it has seen, as arrays that `np.savez` writes and reads without pickles."""
        sums = self._added_up()
        state = options_state(self._options) | sums.numbers()
        for name, part in sums.parts.items():
            state |= part.state(name)
        return with_checksums(state)

    @classmethod
    def from_state(cls: type[A], state: Mapping[str, Array], **options: Any) -> A:
        """One of these options that goes on where the one of that state was.

        Raises ValueError for a state that is not one, is damaged, or is of other options.
        """
        new, state = cls(**options), dict(state)  # of a file, read once
        check_checksums(state)
        check_options(state, new._options)
        new._sums = new._sums.from_state(state)
        return new

    @property
    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """By name, each equal to that of any other that does the same."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        new: Callable[[], Accumulator[S]] = type(self)
        if not vars(new()).keys() - {"_lock"} <= state.keys():
            raise ValueError(
                f"this {type(self).__name__} was pickled by an earlier version of fastloss, which "
                "did not add up all that this one does: update a new one with its rows"
            )
        vars(self).update(state, _lock=threading.Lock())


def joined(arrays: list[Array]) -> Array:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
