"""The rows of a call, checked as a whole and then handed out in slabs."""

import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..call.arrays import Array
from ..call.plan import prepare
from ..call.run import check, evaluate
from ..call.verbs import Verb
from ..kernels.storage import kind_of
from ..losses.multiclass import CrossEntropy
from .tensors import as_array

# Rows that are scored before they are added up, and numbers of their logits, at most. A slab is
# interrupted as a whole.
SLAB_ROWS = 1 << 16
SLAB = 1 << 28


def slabs(shape: tuple[int, ...], most: int | None = None) -> Iterator[tuple[Any, ...]]:
    """Indices of parts of an array of rows of this shape, in order; of `most` rows, if it is given.

    They leave the last axis, the classes, as it is, and index others as a view.
    """
    yield from _slabs(shape[:-1], min(most or SLAB_ROWS, _most(shape)))


def is_one_slab(shape: tuple[int, ...]) -> bool:
    """Whether an array of rows of this shape is one part: to score it is to check all of it."""
    return 0 < math.prod(shape[:-1]) <= _most(shape)


def _most(shape: tuple[int, ...]) -> int:
    return max(1, min(SLAB_ROWS, SLAB // shape[-1]))


def _slabs(shape: tuple[int, ...], most: int) -> Iterator[tuple[Any, ...]]:
    if not shape:
        yield ()
        return
    each = math.prod(shape[1:])
    if each > most:
        for i in range(shape[0]):
            for rest in _slabs(shape[1:], most):
                yield i, *rest
    elif each:
        step = most // each
        for start in range(0, shape[0], step):
            yield (slice(start, start + step),)


class Slab(NamedTuple):
    """Some of the rows of a call."""

    part: tuple[Any, ...]  # an index of the leading axes
    places: slice  # in the order of all rows
    labels: Array
    logits: Array
    weight: Array | None
    mask: Array | None


class Rows:
    """Labels, logits, weights and masks, of any number of leading axes."""

    def __init__(
        self,
        labels: Any,
        logits: Any,
        weight: Any,
        mask: Any,
        loss: CrossEntropy,
        weighing: CrossEntropy,
        verb: Verb,
    ) -> None:
        """Raise for all that the loss would raise for; `weighing` has the class weights."""
        if type(labels) is tuple and len(labels) == 2 and np.ndim(labels[0]) == np.ndim(logits):
            raise TypeError(f"labels are class ids with probabilities, {_ONE_LABEL}")
        labels, logits = as_array(labels, "labels"), as_array(logits, "logits")
        _check_classes(labels, logits, loss.ignore_index)
        weight = None if weight is None else as_array(weight, "sample_weight")
        mask = None if mask is None else as_array(mask, "class_mask")
        self.whole = Slab((), slice(None), labels, logits, weight, mask)
        self.loss, self.verb = loss, verb
        self.class_weight, _ = weighing._softmax.class_weight
        prepare(loss._family, verb, labels, logits, weight, mask)
        weighs_twice = weight is not None and self.class_weight.size > 0
        if weighs_twice or not is_one_slab(logits.shape):
            check(loss._family, verb, labels, logits, weight, mask)
        self.shape, self.n_rows, self.n_classes = labels.shape, labels.size, logits.shape[-1]
        weighing._softmax.check_of_each_class(self.n_classes)

    def slabs(self) -> Iterator[Slab]:
        _, _, labels, logits, weight, mask = self.whole
        stop = 0
        for index in slabs(logits.shape):
            part = labels[(*index, ...)]  # an array also of one row
            start, stop = stop, stop + part.size
            yield Slab(
                index,
                slice(start, stop),
                part,
                logits[index],
                None if weight is None else weight[index],
                None if mask is None else mask[index],
            )

    def score(self, slab: Slab) -> Array:
        """`kernels.form.RowScores` of each row, of shape (n, n_scores)."""
        weight = slab.weight
        if self.class_weight.size:
            inside = (slab.labels >= 0) & (slab.labels < self.n_classes)
            of_class = self.class_weight[np.where(inside, slab.labels, 0).astype(np.int64)]
            weight = of_class if weight is None else of_class * weight
        labels, logits, mask = slab.labels, slab.logits, slab.mask
        scores: Array
        scores, *_ = evaluate(
            self.loss._family, self.verb, labels, logits, weight, None, class_mask=mask
        )
        return scores.reshape(-1, scores.shape[-1])


_ONE_LABEL = (
    "but each row has a rank by one class id: write np.argmax(labels, axis=-1) if they are "
    "one-hot; of soft labels there is the loss alone, fl.cross_entropy"
)


_LABELS = {
    "binary": "labels of 0 and 1",
    "multilabel": "several labels of 0 and 1 for each row",
    "regression": "numbers",
}


def _task(name: str) -> str:
    """For messages: which task is another one."""
    return (
        f'fastloss.evaluate(..., task="{name}"), or fastloss.{name.capitalize()}Scorecard, for '
        f"{_LABELS[name]}"
    )


def _is_binary(labels: Array) -> bool:
    return bool(kind_of(labels.dtype)) and bool(((labels == 0) | (labels == 1)).all())


def _check_classes(labels: Array, logits: Array, ignore_index: int | None) -> None:
    """Raise for labels that are not one of several classes."""
    if logits.ndim and logits.shape[-1] == 1:
        ids = labels.reshape(-1) if labels.size * logits.shape[-1] == logits.size else labels
        if labels.shape == logits.shape or ((ids == 1) & (ids != ignore_index)).any():
            other = "binary" if _is_binary(labels) else "regression"
            raise ValueError(
                f"logits have shape {logits.shape}, so there is one class: use {_task(other)}"
                + ("" if labels.shape == logits.shape else ", and write logits[..., 0]")
            )
    elif labels.shape == logits.shape and labels.ndim == 1:
        other = "binary" if _is_binary(labels) else "regression"
        raise TypeError(
            f"labels and logits both have shape {logits.shape}, but logits have an axis of classes "
            f"besides: use {_task(other)}"
        )
    elif labels.shape == logits.shape and labels.ndim:
        several = _is_binary(labels) and bool((labels.sum(axis=-1) != 1).any())
        raise TypeError(
            f"labels have the shape of the logits, {logits.shape}, "
            + (
                f"and rows have none or several: use {_task('multilabel')}"
                if several
                else _ONE_LABEL
            )
        )


def warn_of_probabilities(logits: Array, name: str = "logits", above: int = 0) -> None:
    """Warn the caller of who calls this, if all that is looked at seems to be probabilities.

    With `above`, so many callers further up. A row of zeros and a one may well be logits.
    """
    dtype = logits.dtype  # whose kind NumPy says in a hundredth of the time
    if logits.ndim == 0 or (dtype.kind != "f" and kind_of(dtype) != "float"):
        return
    rows = logits[(slice(4),) * (logits.ndim - 1)].astype(np.float64)
    if not ((rows >= 0) & (rows <= 1)).all() or not ((rows > 0) & (rows < 1)).any():
        return
    close = 1e-2 if logits.dtype.itemsize <= 2 else 1e-4
    if (abs(rows.sum(axis=-1) - 1) < close).all():
        warnings.warn(
            f"{name} seem to be probabilities: in each row that was looked at they lie in [0, 1] "
            f"and add up to 1, and their softmax is another; write np.log({name})",
            UserWarning,
            stacklevel=3 + above,
        )
