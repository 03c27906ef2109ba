"""Labels of two classes and predictions: whether they are what they have to be."""

import warnings
from typing import Any

import numpy as np

from ...call.arrays import Array, place_of
from ...call.messages import report_range
from ...kernels.storage import kind_of
from ..given import check_numbers, first_failing
from ..sums.binary_sums import BLOCK


def binary_labels(labels: Array) -> Array:
    """Labels as uint8; raise unless all are 0 or 1."""
    flat = labels.reshape(-1)
    if flat.dtype.kind == "b":
        stored = np.ascontiguousarray(flat).view(np.uint8)
        if stored.max(initial=0) > 1:  # as other bytes may be seen as truth values
            stored = flat.astype(np.uint8)
        return stored.reshape(labels.shape)
    found = np.empty(flat.size, np.bool_)

    def work(here: slice) -> bool:
        part = flat[here]
        positive = np.equal(part, 1, out=found[here])
        return bool((positive | (part == 0)).all())

    start = first_failing(flat.size, work)
    if start is not None:
        part = flat[start : start + BLOCK]
        first = start + int(np.flatnonzero(~((part == 0) | (part == 1)))[0])
        _report_label(flat[first], place_of(np.unravel_index(first, labels.shape)))
    return found.view(np.uint8).reshape(labels.shape)


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


def check_probabilities(predictions: Array) -> None:
    """Raise unless they lie between 0 and 1; NaN passes."""
    check_numbers(
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
