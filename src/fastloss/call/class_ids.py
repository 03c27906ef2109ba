"""Class ids of labels of any kind: whole numbers of any dtype, strings, booleans."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..kernels.storage import kind_of
from .arrays import Array, as_array, place_of

_MOST = 2.0**63


def class_ids(y: Any, classes: Any = None) -> tuple[Array, Array]:
    """Class ids from 0 on, and the labels that they stand for: `ids` and `classes`.

    `y` has labels of any shape: whole numbers of any dtype, floats among them, as boosting
    libraries keep them; strings; or booleans. `ids` are int64 and of this shape, and `classes[ids]`
    are the labels.

    Without `classes`, these are the labels that there are, sorted. Give those of the training data
    for all other data, in any order, so that an id means the same everywhere; or a number k for the
    ids 0 to k - 1 themselves, which then are checked and stay as they are, though some be missing.

    Raises ValueError, with the place, for labels that are none of `classes`, that have a fraction
    or are NaN, infinite or None; and TypeError for labels of other or of several kinds.

    >>> import numpy as np
    >>> import fastloss as fl
    >>> ids, classes = fl.class_ids(["dog", "cat", "dog"])
    >>> ids, classes.tolist()
    (array([1, 0, 1]), ['cat', 'dog'])
    >>> fl.class_ids(["cat", "cat"], classes)[0]
    array([0, 0])
    >>> fl.class_ids(np.array([2, 0, 2], np.float32), 3)[0]
    array([2, 0, 2])
    """
    labels = _labels(as_array(y, "y"), "y")
    if classes is None:
        known, places = np.unique(labels, return_inverse=True)
        return places.reshape(labels.shape).astype(np.int64), known
    if isinstance(classes, Integral) and not isinstance(classes, bool):
        if classes < 1:
            raise ValueError(f"classes is {classes}, but there is one class at least")
        known = np.arange(int(classes))
    else:
        known = _labels(as_array(classes, "classes"), "classes")
    if known.ndim != 1 or not known.size:
        raise ValueError(
            f"classes has shape {known.shape}, but must have one axis, with each class once"
        )
    if _kind(labels) != _kind(known) and labels.size:
        raise TypeError(
            f"y has {_kind(labels)} and classes has {_kind(known)}: give both the same kind, as in "
            "np.asarray(y).astype(str)"
        )
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    for j in np.flatnonzero(ordered[1:] == ordered[:-1]):
        raise ValueError(f"classes has {_shown(ordered[j])} more than once: give each class once")
    if not labels.size:
        return np.zeros(labels.shape, np.int64), known
    places = np.minimum(np.searchsorted(ordered, labels), known.size - 1)
    for place in np.argwhere(ordered[places] != labels):
        raise ValueError(
            f"y{place_of(place)} is {_shown(labels[tuple(place)])}, which is none of the "
            f"{known.size} classes: leave such rows out, or add it to classes"
        )
    return np.asarray(order[places], np.int64), known


def _shown(label: Any) -> str:
    return repr(label.item() if isinstance(label, np.generic) else label)


def _kind(labels: Array) -> str:
    return {"U": "strings", "S": "bytes"}.get(labels.dtype.kind, "numbers")


def _labels(labels: Array, name: str) -> Array:
    """Labels as integers, booleans, strings of one dtype or bytes."""
    kind = labels.dtype.kind
    if kind in "OT":  # strings of any length may have some that are missing
        return _of_objects(labels.astype(object, copy=False), name)
    if kind in "US" or kind == "b" or (kind in "iu" and labels.dtype.itemsize < 8):
        return labels
    if kind in "iu":
        for place in np.argwhere(labels > 2**63 - 1):
            raise _no_label(labels[tuple(place)], place, name)
        return labels.astype(np.int64)
    if kind != "f" and kind_of(labels.dtype) != "float":
        raise TypeError(
            f"{name} has dtype {labels.dtype}, but labels are whole numbers, strings or booleans: "
            f"write np.asarray({name}).astype(str)"
        )
    numbers = labels.astype(np.float64)
    with np.errstate(invalid="ignore"):
        whole = (numbers == np.floor(numbers)) & (abs(numbers) < _MOST)
    for place in np.argwhere(~whole):
        raise _no_label(numbers[tuple(place)], place, name)
    return numbers.astype(np.int64)


def _no_label(number: Any, place: Any, name: str) -> ValueError:
    here = f"{name}{place_of(place)} is {number}"
    if not abs(number) < math.inf:
        return ValueError(
            f"{here}, but labels of classes are whole numbers: leave such rows out, and keep those "
            f"of np.isfinite(np.asarray({name}, np.float64)), here and in the data"
        )
    if number == int(number):
        return ValueError(f"{here}, which int64 cannot hold: write np.asarray({name}).astype(str)")
    return ValueError(
        f"{here}, but labels of classes are whole numbers: write np.asarray({name}).astype(str) if "
        "each number is a class of its own"
    )


def _of_objects(labels: Array, name: str) -> Array:
    """Labels in an array of objects, as pandas has them: Python's numbers, or strings."""
    kinds: dict[type, tuple[int, ...]] = {}
    for place, label in np.ndenumerate(labels):
        kinds.setdefault(type(label), place)
    if all(issubclass(kind, str) for kind in kinds):
        return labels.astype(str)
    if all(issubclass(kind, (Real, np.bool_)) for kind in kinds):
        numbers = np.empty(labels.shape, np.int64)
        for place, label in np.ndenumerate(labels):  # float64 would round some of them
            if not (abs(label) < _MOST and label == int(label)):
                raise _no_label(label, place, name)
            numbers[place] = int(label)
        return numbers
    for kind, place in kinds.items():
        label = labels[place]
        if label is None or "NA" in kind.__name__ or label != label:
            raise ValueError(
                f"{name}{place_of(place)} is {label!r}, which is no label: leave such rows out, or "
                "give them a class of their own"
            )
    found = " and ".join(f"{name}{place_of(at)} of {kind.__name__}" for kind, at in kinds.items())
    raise TypeError(
        f"{found} are labels, but all must be strings, or all whole numbers: write "
        f"np.array([str(label) for label in {name}])"
    )
