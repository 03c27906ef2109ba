"""Messages about the numbers of a call: illegal ones, which are looked for here, or none at all."""

from typing import Any

import numpy as np

from .arrays import FLOAT64, Array, format_of, place_of
from .operands import Strided

NO_MEAN = "the mean of no samples is nan: there are no rows, or all are ignored or of weight 0"


def report_class_id(
    labels: Array,
    start: int,
    stop: int,
    n_classes: int,
    ignore_index: int | None,
    class_mask: Array | None,
    row_mask: Array | None,
    name: str,
    remedy: str,
) -> None:
    """Raise ValueError for the first class id in [start, stop) that is not one.

    `class_mask` has a number for each class, `row_mask` one for each class of each row. `remedy`
    says what to do with rows that have none.
    """
    form = format_of(labels, name)
    part = Strided(labels, form.dtype, form.dtype).read(start, stop)
    bad = (part < 0) | (part >= n_classes)
    inside = np.where(bad, 0, part).astype(np.int64)
    if ignore_index is not None:
        bad &= part != ignore_index
    out = np.zeros(part.shape, bool)
    if class_mask is not None:
        out |= class_mask[inside] == 0
    if row_mask is not None:
        rows = np.arange(start, stop) // (labels.size // (row_mask.size // n_classes))
        out |= ~row_mask.reshape(-1, n_classes)[rows, inside]
    if ignore_index is not None:
        out &= part != ignore_index
    if out.any() and not bad.any():
        value, place = _first(part, out, start, labels.shape)
        raise ValueError(
            f"{name}{place} is {value}, a class that class_mask rules out: let it in, or give such "
            "rows the weight 0 and another label"
        )
    value, place = _first(part, bad, start, labels.shape)
    if value == -1 and n_classes == 2 and np.all(abs(labels.astype(np.int64)) == 1):
        remedy = f"write (np.asarray({name}) + 1) // 2 if they are labels of -1 and 1"
    raise ValueError(
        f"{name}{place} is {value}, but class ids go from 0 to {n_classes - 1}, as there are "
        f"{n_classes} classes on the last axis; {remedy}"
    )


def report_range(
    array: Array, start: int, stop: int, limits: tuple[float, float], name: str
) -> None:
    """Raise ValueError for the first number in [start, stop) that is outside the limits."""
    part = _float64(array, start, stop)
    value, place = _first(part, (part < limits[0]) | (part > limits[1]), start, array.shape)
    if limits[1] == np.inf:
        raise ValueError(
            f"{name}{place} is {value}, but this loss takes {limits[0]:g} and more: check that it "
            "is the one you want for such numbers, or clip them yourself"
        )
    if value == -1:
        remedy = f"write (np.asarray({name}) + 1) / 2 if they are labels of -1 and 1, "
    else:
        remedy = "check that probabilities were not given as logits or per cent, "
    raise ValueError(
        f"{name}{place} is {value}, but must lie between {limits[0]:g} and {limits[1]:g}: {remedy}"
        "or clip them yourself"
    )


def report_variance(array: Array, start: int, stop: int, name: str) -> None:
    """Raise ValueError for the first variance in [start, stop) that is not above 0.

    Variances are the last of each row.
    """
    part = _float64(array, start, stop)
    bad = (part <= 0) & (np.arange(start, stop) % array.shape[-1] == array.shape[-1] - 1)
    value, place = _first(part, bad, start, array.shape)
    raise ValueError(
        f"{name}{place} is {value}, but is a variance, which is above 0: predict its logarithm, "
        "with log_variance=True, or clip it yourself"
    )


def report_weight(weight: Array, start: int, stop: int, name: str = "sample_weight") -> None:
    """Raise ValueError for the first weight in [start, stop) that is negative or not finite."""
    part = _float64(weight, start, stop)
    value, place = _first(part, ~((part >= 0) & (part < np.inf)), start, weight.shape)
    raise ValueError(
        f"{name}{place} is {value}, but weights are finite and not negative: "
        "give what is to be left out the weight 0"
    )


def _float64(array: Array, start: int, stop: int) -> Array:
    return Strided(array, FLOAT64.dtype, FLOAT64.dtype).read(start, stop)


def _first(part: Array, bad: Array, start: int, shape: tuple[int, ...]) -> tuple[Any, str]:
    """The first bad number of a part, and its place in the whole as text: "[3, 0]"."""
    found = np.flatnonzero(bad)
    if not found.size:
        return "no longer what it was during the call (another thread wrote it)", ""
    return part[found[0]], place_of(np.unravel_index(start + int(found[0]), shape))
