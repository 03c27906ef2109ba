"""Labels of two classes, weights and predictions: whether they are what they have to be."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ...call import threads
from ...call.arrays import Array, format_of, place_of
from ...call.messages import report_range, report_weight
from ...kernels.storage import kind_of
from ..sums.accumulator import PARALLEL_ROWS
from ..sums.binary_sums import BLOCK
from ..tensors import as_array


def binary_labels(labels: Array) -> Array:
    """Labels as uint8; raise unless all are 0 or 1."""
    flat = labels.reshape(-1)
    if flat.dtype.kind == "b":
        return np.ascontiguousarray(flat).view(np.uint8).reshape(labels.shape)
    found = np.empty(flat.size, np.uint8)

    def work(here: slice) -> bool:
        part = flat[here]
        found[here] = part == 1
        return bool(((part == 0) | (part == 1)).all())

    start = _blocks(flat.size, work)
    if start is not None:
        part = flat[start : start + BLOCK]
        first = start + int(np.flatnonzero(~((part == 0) | (part == 1)))[0])
        _report_label(flat[first], place_of(np.unravel_index(first, labels.shape)))
    return found.reshape(labels.shape)


def _report_label(value: Any, place: str) -> None:
    message = f"labels{place} is {value}, but binary labels are 0 or 1: "
    if value == -1:
        raise ValueError(f"{message}write np.asarray(labels) > 0 if they are -1 and 1")
    if value != value:
        raise ValueError(f"{message}leave such rows out, or give them any label and the weight 0")
    if 0 < value < np.inf and value == int(value):
        raise ValueError(
            f'{message}class ids are for task="multiclass", with a row of logits for each, and '
            'numbers for task="regression"'
        )
    raise ValueError(
        f'{message}numbers are for task="regression"; of soft labels there is the loss alone, '
        "fastloss.binary_cross_entropy_with_logits"
    )


def checked_weight(weight: Any, shape: tuple[int, ...]) -> Array | None:
    """One weight for each row, if there are any: finite and not negative."""
    if weight is None:
        return None
    given = as_array(weight, "sample_weight")
    format_of(given, "sample_weight")
    if given.shape != shape:
        raise ValueError(
            f"sample_weight has shape {given.shape}, but there is one weight for each row: "
            f"expected {shape}"
        )
    _check_numbers(given, lambda w: (w >= 0) & (w < np.inf), report_weight)
    return given


def check_probabilities(predictions: Array) -> None:
    """Raise unless they lie between 0 and 1; NaN passes."""
    _check_numbers(
        predictions,
        lambda p: ~((p < 0) | (p > 1)),
        lambda p, start, stop: report_range(p, start, stop, (0.0, 1.0), "predictions"),
    )


def warn_of_probabilities(scores: Array) -> None:
    """Warn the caller of who calls this, if all that is looked at seems to be probabilities."""
    looked_at = scores.reshape(-1)[:1000]
    if kind_of(scores.dtype) != "float" or not looked_at.size:
        return
    part = looked_at.astype(np.float64)
    if ((part >= 0) & (part <= 1)).all() and ((part > 0) & (part < 1)).any():
        warnings.warn(
            "predictions seem to be probabilities, as all that were looked at lie in [0, 1], and "
            "are taken for logits: with from_probabilities=True they are taken for what they are",
            UserWarning,
            stacklevel=3,
        )


def _check_numbers(
    array: Array,
    are_good: Callable[[Array], Array],
    report: Callable[[Array, int, int], None],
) -> None:
    """Report the first part of an array that has bad numbers."""
    flat = array.reshape(-1)
    start = _blocks(flat.size, lambda here: bool(are_good(flat[here]).all()))
    if start is not None:
        report(array, start, min(start + BLOCK, flat.size))


def _blocks(n: int, work: Callable[[slice], bool]) -> int | None:
    """Do the work for parts of n rows, on threads; where the first begins for which it fails."""
    failed: list[int] = []

    def run(i: int) -> None:
        if not work(slice(i * BLOCK, min((i + 1) * BLOCK, n))):
            failed.append(i * BLOCK)

    threads.run(run, -(-n // BLOCK), parallel=n >= PARALLEL_ROWS)
    return min(failed, default=None)
