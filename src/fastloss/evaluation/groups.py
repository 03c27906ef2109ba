"""Groups as users give them: integers, names, categories, or several columns of these."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..call.arrays import Array, place_of
from .sums.group_names import INTEGERS, NAMES, GroupNames, Name, id_of
from .tensors import as_array


class Named(NamedTuple):
    """The id of the group of each row, and what ids stand for."""

    ids: Array
    names: GroupNames


def groups_of(groups: Any, shape: tuple[int, ...], name: str = "groups") -> Named:
    """Groups as sums need them, with the ids in a line.

    `groups`: integers, which are ids as they are; texts, booleans or categories, of NumPy, pandas,
    polars or Arrow; or several such columns, as a dictionary or a data frame, of which each
    combination is a group. Each has one for each row. Raises TypeError for what is none of these,
    and ValueError for another shape and for rows without a group.
    """
    if isinstance(groups, Named):
        check_shape(groups.ids.shape, shape, name)
        return Named(groups.ids.reshape(-1), groups.names)
    columns = _columns(groups)
    if columns is None:
        codes, names = _coded(groups, shape, name)
        if names is None:
            return Named(codes, GroupNames(INTEGERS if codes.size else ""))
        kind: Any = NAMES
    else:
        if not columns:
            raise ValueError(f"{name} has no column: give one at least, or leave it out")
        kind = tuple(map(str, columns))
        codes, names = _combined(columns, shape, name)
    if not codes.size:  # nobody knows of which kind
        return Named(codes, GroupNames())
    met, codes = np.unique(codes, return_inverse=True)
    met_names = [_checked(names[i], name) for i in met.tolist()]
    ids = np.array([id_of(each) for each in met_names], np.int64)
    return Named(ids[codes.reshape(-1)], GroupNames.of(kind, met_names))


def _columns(groups: Any) -> Mapping[Any, Any] | None:
    """The columns of a dictionary or a data frame, by name."""
    if isinstance(groups, Mapping):
        return groups
    for names in ("column_names", "columns"):  # of Arrow; of pandas and polars
        if hasattr(groups, names) and not callable(getattr(groups, names)):
            return {column: groups[column] for column in getattr(groups, names)}
    return None


def _combined(
    columns: Mapping[Any, Any], shape: tuple[int, ...], name: str
) -> tuple[Array, list[Name]]:
    """The code of each row, and the tuples that codes stand for."""
    codes, names = np.zeros(math.prod(shape), np.int64), [()]
    for column, values in columns.items():
        more, its = _coded(values, shape, f"{name}[{column!r}]")
        if its is None:
            every, more = np.unique(more, return_inverse=True)
            its = every.tolist()
        width = max(len(its), 1)
        met, codes = np.unique(codes * width + more.reshape(-1), return_inverse=True)
        names = [(*names[i // width], its[i % width]) for i in met.tolist()]
    return codes, list(names)


def _coded(values: Any, shape: tuple[int, ...], name: str) -> tuple[Array, list[Any] | None]:
    """The code of each row, in a line, and what codes stand for: nothing, if they are integers."""
    found = _categories(values, name)
    if found is None:
        array = as_array(values, name)
        check_shape(array.shape, shape, name)
        if array.dtype.kind in "iu" or not array.size:
            return integers(array, name), None
        if array.dtype.kind not in "bUTO":
            raise no_ids(array, name, f"np.asarray({name}).astype(str) for names")
        listed = array.reshape(-1).tolist()
        distinct = _distinct(listed, name, shape)
        its = list(distinct)
        types = list(map(type, listed))
        if len(set(types)) > 1:  # 1, True and 1.0 are equal, but no names of one group
            listed = list(zip(types, listed, strict=True))
            distinct = dict.fromkeys(listed)
            its = [each for _, each in distinct]
        places = {each: i for i, each in enumerate(distinct)}
        codes = np.fromiter(map(places.__getitem__, listed), np.int64, len(listed))
        return codes, its
    codes, categories = found
    check_shape(codes.shape, shape, name)
    codes = codes.reshape(-1)
    kinds = set(map(type, categories))
    if kinds and all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        return integers(np.array(categories), name)[codes], None
    return codes, categories


def _categories(values: Any, name: str) -> tuple[Array, list[Any]] | None:
    """The codes and the values of what pandas and Arrow keep as categories."""
    holder: Any
    for holder in values, getattr(values, "cat", None):  # of pandas: a categorical, a series
        if hasattr(holder, "codes") and hasattr(holder, "categories"):
            codes = np.asarray(holder.codes, np.int64)
            _check_none_missing(np.flatnonzero(codes < 0), name, codes.shape)
            return codes, list(holder.categories)
    if not hasattr(values, "dictionary_encode") or "int" in str(values.type)[:4]:
        return None
    # Of Arrow. Each chunk has a dictionary of its own.
    _check_none_missing(np.flatnonzero(np.asarray(values.is_null())), name, (len(values),))
    try:
        encoded = values.dictionary_encode()
    except NotImplementedError:
        raise _no_names(name) from None
    places: dict[Any, int] = {}
    parts = [np.empty(0, np.int64)]
    for chunk in getattr(encoded, "chunks", [encoded]):
        known = [places.setdefault(each, len(places)) for each in chunk.dictionary.to_pylist()]
        parts.append(np.array(known, np.int64)[np.asarray(chunk.indices)])
    return np.concatenate(parts), list(places)


def check_shape(found: tuple[int, ...], shape: tuple[int, ...], name: str) -> None:
    if found != shape:
        raise ValueError(
            f"{name} has shape {found}, but there is one id for each row: expected {shape}"
        )


def no_ids(array: Array, name: str, names: str = "") -> Exception:
    """What to raise for what are no ids; `names` says how to make names of it, where they do."""
    kind = array.dtype.kind
    if kind == "f" and names:
        _check_none_missing(np.flatnonzero(np.isnan(array)), name, array.shape)
    whole = kind in "bmM" or (kind == "f" and all(each.is_integer() for each in array.flat))
    numbers = (
        f"np.asarray({name}).astype(int)" if whole else f"np.unique({name}, return_inverse=True)[1]"
    )
    return TypeError(
        f"{name} has dtype {array.dtype}, but holds ids: write {numbers}"
        + (f", or {names}" if names else "")
    )


def integers(ids: Array, name: str) -> Array:
    """Ids that are integers, in a line."""
    if ids.dtype == np.uint64 and (ids >= 2**63).any():
        raise ValueError(
            f"{name} has ids of 2^63 and more, which do not fit into int64: write "
            f"np.asarray({name}).view(np.int64), which tells them apart as well"
        )
    return ids.reshape(-1).astype(np.int64)


def _distinct(values: list[Any], name: str, shape: tuple[int, ...]) -> dict[Any, None]:
    """The different ones of `values`, in the order in which they come."""
    try:
        distinct = dict.fromkeys(values)
    except TypeError:
        raise _no_names(name) from None
    if any(_is_missing(each) for each in distinct):
        missing = np.array([_is_missing(each) for each in values])
        _check_none_missing(np.flatnonzero(missing), name, shape)
    return distinct


def _no_names(name: str) -> TypeError:
    """What to raise for what are neither ids nor names."""
    return TypeError(
        f"{name} holds lists or the like: give several columns as a dictionary, "
        "{'name': column, ...}"
    )


def _is_missing(value: Any) -> bool:
    """None, NaN, and what pandas has for a missing value, which are not equal to themselves."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _check_none_missing(missing: Array, name: str, shape: tuple[int, ...]) -> None:
    if missing.size:
        place = place_of(np.unravel_index(missing[0], shape))
        raise ValueError(
            f"{name}{place} is missing: leave such rows out, or give them a group of their own, "
            "as 'missing'"
        )


def _checked(value: Any, name: str) -> Any:
    """A name, or those of a tuple, as Python has them."""
    if isinstance(value, tuple):
        return tuple(_checked(each, name) for each in value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)) and -(2**63) <= value < 2**63:
        return int(value)
    raise TypeError(
        f"{name} has a group {value!r} of type {type(value).__name__}, but groups are integers, "
        f"texts or booleans: write np.asarray({name}).astype(str)"
    )
