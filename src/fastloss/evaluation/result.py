"""What results have in common: when two are equal, and what is said of rows."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from .frames import frame


def same(a: Any, b: Any) -> bool:
    """Whether two results are equal, number for number; NaN is equal to NaN."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        numeric = all(np.asarray(each).dtype.kind in "fc" for each in (a, b))
        return np.array_equal(a, b, equal_nan=numeric)
    return bool(a == b or (a != a and b != b))


def as_told(value: Any) -> Any:
    """What JSON has of a number, an array, a result, or a dictionary of these.

    A key of None is "all".
    """
    if isinstance(value, dict):
        return {"all" if key is None else str(key): as_told(each) for key, each in value.items()}
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def row_lines(
    n_rows: int, n_counted: int, n_undefined: int, what: str
) -> Iterator[tuple[str, str]]:
    """Lines of a table: how many rows there are, and how many of them are not known."""
    n_left_out = n_rows - n_counted
    yield "rows", f"{n_rows:,}" + (f" ({n_left_out:,} left out)" if n_left_out else "")
    if n_undefined:
        yield what, f"{n_undefined:,}"


def warn_of_nothing(n_counted: int, what: str = "row") -> None:
    """Warn the caller of who calls this, if there is nothing that a mean could be over."""
    if not n_counted:
        warnings.warn(f"no {what} counts, so every mean is nan", RuntimeWarning, stacklevel=3)


def table_of(lines: Iterable[tuple[str, ...]]) -> str:
    """Names and values in two columns."""
    pairs = list(lines)
    width = max([len(pair[0]) for pair in pairs])
    return "\n".join([f"{name:{width}}  {value}" for name, value in pairs])


class Columns(ABC):
    """Arrays of one number for each key."""

    key: ClassVar[str | None] = None  # what a key is, if that is the same for all

    @abstractmethod
    def _columns(self) -> dict[str, Any]:
        """The arrays, by name."""

    def to_dict(self) -> dict[str, Any]:
        """Lists by name."""
        return {name: np.asarray(values).tolist() for name, values in self._columns().items()}

    def to_pandas(self) -> Any:
        """A data frame with a row for each key; needs pandas."""
        columns = self._columns()
        return frame(columns, np.arange(len(next(iter(columns.values())))), (self.key,))


def by_clusters(n: int | None) -> str:
    """Whose standard errors are shown, behind them, if they are not those of independent rows."""
    return "" if n is None else f" by {n:,} cluster{'' if n == 1 else 's'}"


class Result:
    """Something with numbers, which is equal to another that has the same."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and same(self._numbers(), other._numbers())

    __hash__ = None  # type: ignore[assignment]

    def _numbers(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dictionaries, as JSON has them."""
        found: dict[str, Any] = as_told(self._numbers())
        return found

    def to_pandas(self) -> Any:
        """A data frame of one row, with all that is one number; needs pandas.

        What is by class, bin, group and so on has a data frame of its own.
        """
        numbers = {name: np.array([value]) for name, value in _single("", self.to_dict())}
        return frame(numbers, np.arange(1), (None,))


def _single(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each number of nested dictionaries, by all the names on the way to it."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _single(f"{name} {key}" if name else key, each)
    elif isinstance(value, (int, float)):
        yield name, value
