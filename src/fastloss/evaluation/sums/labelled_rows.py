"""Rows of labels of 0 and 1 and their scores, which wait until they are added up together."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

import numpy as np

from ...call.arrays import Array
from .accumulator import Part, Sums, joined

P = TypeVar("P", bound=Part)
R = TypeVar("R", bound="LabelledRows")
S = TypeVar("S", bound="LabelledSums")
# Rows with fewer labels wait, as a copy.
FEW_LABELS = 1 << 16


class LabelledRows(ABC):
    """What the named tuples of rows have in common: arrays, or None where there is none."""

    labels: Array
    scores: Array
    __slots__ = ()

    @property
    def kind(self) -> Any:
        """Rows of one kind can be joined."""
        return (self.scores.dtype, *(array is None for array in self))

    def each(self: R, change: Any) -> R:
        """The same rows, with every array changed."""
        make: Any = type(self)
        return make(*(None if array is None else change(array) for array in self))  # type: ignore[no-any-return]

    @abstractmethod
    def parts(self, manner: Any) -> dict[str, Any]:
        """The sums over these rows, by name."""

    @abstractmethod
    def __iter__(self) -> Iterator[Array | None]:
        """The arrays."""


class LabelledSums(Sums):
    """Sums over such rows."""

    manner: Any
    __slots__ = ()

    def with_new(self: S, rows: LabelledRows) -> S:
        """The sums with more rows: added up, or pending as a copy if they are few."""
        if not rows.labels.size:
            return self
        few = rows.labels.size < FEW_LABELS
        sums = self.with_rows(rows.each(np.copy) if few else rows, len(rows.labels))
        return sums if few else sums.added_up()

    def _with_pending(self) -> dict[str, Any]:
        found: list[Mapping[str, Any]] = [self.parts]
        for _, alike in groupby(self.pending, lambda rows: rows.kind):
            rows = list(alike)
            columns = zip(*rows, strict=True)
            whole: Any = (None if each[0] is None else joined(list(each)) for each in columns)
            found.append(type(rows[0])(*whole).parts(self.manner))
        return {
            "parts": {
                name: merged(each[name] for each in found if name in each) for name in self.parts
            }
        }


def merged(parts: Iterable[P]) -> P:
    """All in one, merged two by two."""
    found = list(parts)
    while len(found) > 1:
        pairs = zip(found[::2], found[1::2], strict=False)
        rest = found[-1:] if len(found) % 2 else []
        found = [*(a.merged(b) for a, b in pairs), *rest]
    return found[0]
