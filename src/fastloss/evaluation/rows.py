"""The rows of a call, checked as a whole and then handed out in slabs."""

from typing import Any

import numpy as np

from .._arrays import Array, Strided, as_array, format_of, report_class_id, report_weight
from .._evaluate import evaluate
from ..kernels.form import Extras
from ..multiclass import CrossEntropy

# Rows that are scored before they are added up, and numbers of their logits, at most. A slab is
# interrupted as a whole.
SLAB_ROWS = 1 << 16
SLAB = 1 << 26
# Where logits lie so that slabs must be copied.
COPIED = 1 << 20


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
    ) -> None:
        """Raise for all that the loss would raise for; `weighing` has the class weights."""
        labels, logits = as_array(labels, "labels"), as_array(logits, "logits")
        weight = None if weight is None else as_array(weight, "sample_weight")
        mask = None if mask is None else as_array(mask, "class_mask")
        if labels.shape == logits.shape and labels.ndim > 0:
            raise TypeError(
                f"labels have the shape of the logits, {logits.shape}, but each row has a rank by "
                "one class id: write labels.argmax(axis=-1) if they are one-hot"
            )
        if weight is not None:
            format_of(weight, "sample_weight")
        extras = None if mask is None else Extras(None, mask, None)
        loss._batch(labels, logits, weight, extras)
        self.n_classes = logits.shape[-1]
        for options in (loss, weighing):
            options._check_by_class(self.n_classes)
        self.labels, self.logits, self.weight, self.mask = labels, logits, weight, mask
        self.shape = labels.shape
        self.n_rows = labels.size
        self.class_weight = weighing._class_weight
        lies_flat = _lies_flat(logits) and (mask is None or _lies_flat(mask))
        largest = SLAB if lies_flat else COPIED
        self.slab = min(max(largest // self.n_classes, 1), SLAB_ROWS)
        for start in range(0, self.n_rows, SLAB_ROWS):
            self._check(start, min(start + SLAB_ROWS, self.n_rows), loss)

    def _check(self, start: int, stop: int, loss: CrossEntropy) -> None:
        part = _part(self.labels, start, stop, 0)
        bad = (part < 0) | (part >= self.n_classes)
        ids = np.where(bad, 0, part).astype(np.int64)
        if loss._class_mask is not None:
            bad |= loss._class_mask[ids] == 0
        if self.mask is not None:
            bad |= ~_part(self.mask, start, stop, 1)[np.arange(stop - start), ids]
        if loss.ignore_index is not None:
            bad &= part != loss.ignore_index
        if bad.any():
            report_class_id(
                self.labels,
                start,
                stop,
                self.n_classes,
                loss.ignore_index,
                loss._class_mask,
                self.mask,
                "labels",
            )
        if self.weight is not None:
            weights = _part(self.weight, start, stop, 0)
            if not ((weights >= 0) & (weights < np.inf)).all():
                report_weight(self.weight, start, stop)

    def part(self, start: int, stop: int) -> "Slab":
        labels = _part(self.labels, start, stop, 0)
        weight = None if self.weight is None else _part(self.weight, start, stop, 0)
        if self.class_weight.size:
            inside = (labels >= 0) & (labels < self.n_classes)
            of_class = self.class_weight[np.where(inside, labels, 0).astype(np.int64)]
            weight = of_class if weight is None else of_class * weight
        mask = None if self.mask is None else _part(self.mask, start, stop, 1)
        return Slab(labels, _part(self.logits, start, stop, 1), weight, mask)


class Slab:
    """Some of the rows, with one leading axis."""

    def __init__(
        self, labels: Array, logits: Array, weight: Array | None, mask: Array | None
    ) -> None:
        self.labels, self.logits, self.weight, self.mask = labels, logits, weight, mask

    def score(self, loss: CrossEntropy, out: Array) -> Array:
        """Write the scores of each row."""
        evaluate(
            loss,
            "scores",
            self.labels,
            self.logits,
            self.weight,
            None,
            class_mask=self.mask,
            losses_out=out,
        )
        return out


def _lies_flat(array: Array) -> bool:
    """Whether its rows can be seen as lying along one axis."""
    return array.ndim <= 2 or array.flags.c_contiguous


def _part(array: Array, start: int, stop: int, n_last: int) -> Array:
    """The rows from start to stop, along one axis before the last `n_last`; copied if need be."""
    if array.ndim == 1 + n_last:
        return array[start:stop]
    last = array.shape[array.ndim - n_last :]
    if array.flags.c_contiguous:
        return array.reshape(-1, *last)[start:stop]
    form = format_of(array, "array")
    width = last[0] if n_last else 1
    copy = Strided(array, form.dtype, form.dtype).read(start * width, stop * width)
    return copy.reshape(-1, *last)
