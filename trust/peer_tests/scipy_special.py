"""SciPy's log-sum-exp, softmax and log-softmax: `scipy.special`."""

import math
from typing import Any

import numpy as np
import scipy.special as peer

import fastloss as fl

from .recorder import NotOffered, instead

REFUSALS = {
    "complex": "complex numbers",
    "zero classes": "a sum over nothing, which fastloss refuses",
}


def rows(a: Any, axis: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """`a` with the axes that are summed over as one, the last; which they were; its shape then."""
    a = np.asarray(a)
    axes = range(a.ndim) if axis is None else np.atleast_1d(axis) % max(a.ndim, 1)
    summed = tuple(int(i) for i in axes)
    kept = tuple(i for i in range(a.ndim) if i not in summed)
    moved = a.transpose(kept + summed)
    width = math.prod(a.shape[i] for i in summed)
    return moved.reshape(*moved.shape[: len(kept)], width), kept + summed, moved.shape


def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False):
    if b is not None or return_sign:
        raise NotOffered("weights and signs of the terms of a sum")
    by_row, order, _ = rows(a, axis)
    result = fl.cross_entropy.logsumexp(by_row)
    if keepdims:
        result = np.expand_dims(result, order[result.ndim :])
    return result[()]


def _back(result: Any, order: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    return result.reshape(shape).transpose(np.argsort(order).astype(int))[()]


def softmax(x, axis=None):
    by_row, *where = rows(x, axis)
    return _back(fl.cross_entropy.proba(by_row), *where)


def log_softmax(x, axis=None):
    by_row, *where = rows(x, axis)
    return _back(fl.cross_entropy.log_proba(by_row), *where)


def replace_in(tests: Any) -> None:
    """In the imported tests, as SciPy knows by its own functions which arrays they take."""
    for name, ours in (
        ("logsumexp", logsumexp),
        ("softmax", softmax),
        ("log_softmax", log_softmax),
    ):
        setattr(tests, name, instead(ours, getattr(peer, name), REFUSALS))
