"""What boosters ask of a loss: sums of gradients and Hessians, in arrays that are kept."""

import math
import threading
import warnings
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np

from ..bases.loss import Loss
from ..bases.softmax import SoftmaxLoss
from ..call.arrays import Array, as_array, place_of
from ..call.run import evaluate
from ..call.verbs import GRAD_HESS, VALUE_GRAD_HESS
from ..losses.binary.cross_entropy import BinaryCrossEntropyWithLogits, BinaryFocal
from ..losses.regression.residuals import SquaredError
from .common import check_loss, ignored_by, n_outputs, name_of, named, takes_ids, whole

_OF_LOGITS = BinaryCrossEntropyWithLogits, BinaryFocal, SoftmaxLoss
# Losses below the first have derivatives that float32 holds, if weights are below the second and
# options, such as a temperature whose square these are divided by, within the third of 1 or 0.
_SAFE, _SAFE_WEIGHT, _SAFE_OPTION = 2.0**64, 2.0**32, 2.0**16


class Settled:
    """Whose copies are itself, as nothing of it changes: estimators are cloned with the same."""

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class Objective(Settled):
    """A loss as an objective of a booster.

    Each thread has arrays of its own, which are used again by the next call: whoever keeps what was
    returned has to copy it. Pickles are of the options alone.
    """

    # What the host is called and what it calls labels; and how one asks for one prediction of a
    # row, for one of each class, and for so many.
    host: ClassVar[str]
    label: ClassVar[str] = "label"
    for_one: ClassVar[str]
    for_classes: ClassVar[str]
    for_several: ClassVar[str]
    # The losses of which its own objectives are half.
    halved: ClassVar[tuple[type[Loss], ...]] = (SquaredError,)
    # The order of gradients of several predictions.
    order: ClassVar[Any] = "C"

    def __init__(self, loss: Loss, hessian: str = "auto", soft_labels: Any = None) -> None:
        check_loss(loss)
        self.loss, self.hessian = loss, hessian
        self.soft_labels = None if soft_labels is None else as_array(soft_labels, "soft_labels")
        # A mean over a number that is given is a sum; a mean over rows would make trees no split.
        self._mean = named(replace(loss, reduction="mean"), self.label, "predictions")
        as_own = hessian == "auto" and loss.hessian == "exact"
        if as_own:
            hessian = self._own_hessian()
        elif hessian == "auto":
            hessian = loss.hessian
        self._normalizer = 2.0 if as_own and isinstance(loss, self.halved) else 1.0
        self._summed = named(replace(self._mean, hessian=hessian), self.label, "predictions")
        self._has_loss = isinstance(loss, _OF_LOGITS) and _has_safe_options(loss)
        self._kept = threading.local()

    def _own_hessian(self) -> str:
        """The word for that of the host, or else for one with which steps go down."""
        words = self.loss.hessians
        known = (word for word in (self.host.lower(), "majorizer") if word in words)
        return next(known, "exact" if self.loss._family.has_hessian else "ones")

    def __repr__(self) -> str:
        hessian = "" if self.hessian == "auto" else f", hessian={self.hessian!r}"
        table = "" if self.soft_labels is None else f", soft_labels={self.soft_labels!r}"
        return f"fastloss.{self.host.lower()}.objective({self.loss!r}{hessian}{table})"

    def __reduce__(self) -> Any:
        return type(self), (self.loss, self.hessian, self.soft_labels)

    @property
    def __name__(self) -> str:
        return name_of(self.loss)

    def proba(self, raw: Any) -> Array:
        """The probabilities that raw predictions stand for, in their shape."""
        find = getattr(self.loss, "proba", None)
        if find is None:
            raise TypeError(
                f"{type(self.loss).__name__} has no probabilities: those of cross-entropy, focal "
                "losses and binary_cross_entropy_with_logits have"
            )
        found: Array = find(raw)
        return found

    # ---------------------------------------------------------------------------------------------

    def derivatives(self, labels: Any, preds: Array, weight: Any) -> tuple[Array, Array]:
        """Gradient and Hessian of the sum of the losses."""
        y_true = self._labels(labels, preds)
        if weight is not None and not np.any(weight):
            raise ValueError(f"all weights are 0: {self.host} has nothing to learn")
        grad, hess = self._arrays(preds)
        given = preds
        if preds.dtype != np.float32:  # is written over
            given = grad
            np.copyto(grad, preds, casting="same_kind")
        # The derivatives of a loss of logits are not much larger than the loss, and to find it
        # takes less than to look at all of them again.
        tells = self._has_loss and (weight is None or np.max(weight) < _SAFE_WEIGHT)
        verb = VALUE_GRAD_HESS if tells else GRAD_HESS
        loss, _, _ = evaluate(
            self._summed._family,
            verb,
            y_true,
            given,
            weight,
            self._normalizer,
            grad_out=grad,
            hess_out=hess,
        )
        if not ((tells and abs(loss) < _SAFE) or (is_finite(grad) and is_finite(hess))):
            self._report(labels, preds, grad, hess)
        return grad, hess

    def value(self, labels: Any, preds: Array, weight: Any) -> float:
        """The mean of the losses."""
        return float(self._mean(self._labels(labels, preds), preds, sample_weight=weight))

    def _arrays(self, preds: Array) -> tuple[Array, Array]:
        kept = getattr(self._kept, "arrays", None)
        if kept is None or kept[0].shape != preds.shape:
            kept = self._kept.arrays = tuple(
                np.empty(preds.shape, np.float32, order=self.order) for _ in range(2)
            )
        arrays: tuple[Array, Array] = kept
        return arrays

    def _labels(self, labels: Any, preds: Array) -> Array:
        """Labels as the loss takes them: worked out once for each of the data sets in use."""
        given = as_array(labels, self.label)
        if len(given) != len(preds) or not len(given):
            what = "no rows" if not len(preds) else f"{len(preds)} rows and {len(given)} labels"
            raise ValueError(f"the data set has {what}: {self.host} needs a {self.label} of each")
        self._check_predictions(given, preds)
        if not self._converts(given):
            return given
        known = self._kept.__dict__.setdefault("labels", [])
        width = preds.shape[1:]
        for seen, of_width, taken in known:
            if of_width == width and seen.shape == given.shape and np.array_equal(seen, given):
                found: Array = taken
                return found
        found = self._as_taken(given, preds)
        del known[:-7]  # those of a training set and of as many others as are evaluated
        known.append((given.copy(), width, found))
        return found

    def _check_predictions(self, labels: Array, preds: Array) -> None:
        """Raise ValueError unless there are as many predictions of a row as the loss takes."""
        found = _width(preds) or 1
        by_class = self.soft_labels is None and takes_ids(self.loss) and labels.ndim == 1
        wanted = found if by_class else self.n_outputs(labels)
        if found == wanted and not (by_class and preds.ndim == 1):
            return
        takes = "one prediction of each row" if wanted == 1 else f"{wanted} predictions of each row"
        remedy = self.for_one if wanted == 1 else self.for_several.format(n=wanted)
        if by_class:
            takes = "a prediction for each class"
            remedy = f"{self.for_classes}; of two classes take fl.binary_cross_entropy_with_logits"
        raise ValueError(
            f"{type(self.loss).__name__} takes {takes}, but {self.host} gives "
            f"{'one' if found == 1 else found} for each row: {remedy}"
        )

    def _converts(self, labels: Array) -> bool:
        return self.soft_labels is not None or (takes_ids(self.loss) and labels.ndim == 1)

    def _as_taken(self, labels: Array, preds: Array) -> Array:
        if self.soft_labels is not None:
            rows = whole(labels, len(self.soft_labels), self.label, _OF_TABLE)
            taken: Array = self.soft_labels[rows]
            return taken
        if not self._converts(labels):
            return labels
        n_classes = _width(preds) or 1
        remedy = f"as {self.host} was told of {n_classes} classes"
        return whole(labels, n_classes, self.label, remedy, ignored_by(self.loss))

    def _report(self, labels: Any, preds: Array, grad: Array, hess: Array) -> None:
        """Raise ValueError where trees would be built of NaN or infinity, as hosts do not look."""
        bad = ~np.isfinite(preds)
        if bad.any():
            index = _first(bad)
            raise ValueError(
                f"prediction{place_of(index)} is {preds[index]}: look for nan in the scores that "
                "training starts from, or lower the learning rate"
            )
        name, found = ("Hessian", hess) if is_finite(grad) else ("gradient", grad)
        index = _first(~np.isfinite(found))
        raise ValueError(
            f"the {name} is {found[index]} at prediction{place_of(index)}, which is "
            f"{preds[index]}: check {self.label}[{index[0]}], which is "
            f"{np.asarray(labels)[index[0]]}, lower the learning rate or set max_delta_step"
        )

    # ---------------------------------------------------------------------------------------------
    # Where training starts

    def constant(self, y: Any, sample_weight: Any = None, *, num_class: int | None = None) -> Any:
        """The best constant prediction: a number, or an array of one for each class or column."""
        y = self.numbers_of(y)
        n_outputs = self.n_outputs(y, num_class)
        several = n_outputs > 1 or takes_ids(self.loss)
        stand_in = np.empty((len(y), *([n_outputs] if several else [])), np.float32)
        y_true = self._as_taken(y, stand_in)
        # That of several columns is an array, which other losses make of the labels.
        options = {"n_classes": n_outputs} if isinstance(self.loss, SoftmaxLoss) else {}
        return self._mean.constant(y_true, sample_weight=sample_weight, **options)

    def numbers_of(self, y: Any) -> Array:
        """Labels that a user gave, as the host will keep them, but for their dtype."""
        labels = as_array(y, self.label)
        if labels.dtype.kind not in "biuf":
            raise TypeError(
                f"{self.label} has dtype {labels.dtype}, but {self.host} has numbers for labels: "
                f"write fl.class_ids({self.label})[0], here and in the data set"
            )
        if not len(labels):
            raise ValueError(f"there are no labels: {self.host} needs a {self.label} of each row")
        return labels[:, 0] if labels.shape[1:] == (1,) else labels

    def n_outputs(self, y: Array, num_class: int | None = None) -> int:
        """How many predictions there are of a row."""
        if num_class is not None:
            return num_class
        if self.soft_labels is not None:
            return int(np.prod(self.soft_labels.shape[1:]))
        return max(n_outputs(self.loss, y, self.label), 1)

    def warn_of_start(self, labels: Any, preds: Array, weight: Any, start: float, do: str) -> None:
        """Warn if all predictions are the constant that the host starts from, and a bad one."""
        if preds.flat[0] != start or not np.all(preds == start):
            return
        # Of some thousand rows, as all of them may take as long as a tree.
        some = slice(None, None, -(-len(preds) // _ROWS_OF_START))
        labels, shape = np.asarray(labels)[some], preds[some].shape
        weight = None if weight is None else np.asarray(weight)[some]
        try:
            best = np.asarray(self.constant(labels, weight, num_class=_width(preds)))
        except (TypeError, ValueError):  # none is known, or none is the best
            return
        there = np.empty(shape, np.float32)
        there[...] = start
        loss = self.value(labels, there, weight)
        there[...] = best
        least = self.value(labels, there, weight)
        if loss - least > 0.05 * abs(least):
            warnings.warn(
                f"{self.host} starts from {start:g} for objectives that are not its own, where "
                f"the mean loss is about {loss:.4g}, and at the best constant, about "
                f"{np.round(best, 4)}, it is {least:.4g}: {do}",
                UserWarning,
                stacklevel=4,
            )


class Metric(Settled):
    """The mean loss of raw predictions, to be shown and for early stopping; less is better."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @property
    def __name__(self) -> str:
        return self.objective.__name__

    def __repr__(self) -> str:
        return f"{self.objective!r}.metric"


# -------------------------------------------------------------------------------------------------

_ROWS_OF_START = 10_000
_OF_TABLE = "as the number of a row of soft_labels"


def _has_safe_options(loss: Loss) -> bool:
    values = [getattr(loss, option.name) for option in fields(loss)]
    told = [value for value in values if isinstance(value, (int, float, tuple))]
    sizes = np.abs(np.hstack([0.0, *told]))
    found: Any = (sizes == 0) | ((sizes >= 1 / _SAFE_OPTION) & (sizes <= _SAFE_OPTION))
    return bool(found.all())


def is_finite(numbers: Array) -> bool:
    flat = numbers.ravel("K")
    with np.errstate(all="ignore"):
        square = float(flat @ flat)  # in a tenth of the time that it takes to look at each
    return math.isfinite(square) or bool(np.isfinite(flat).all())


def _first(found: Array) -> tuple[int, ...]:
    """The index of the first that is True."""
    return tuple(int(i) for i in np.argwhere(found)[0])


def _width(preds: Array) -> int | None:
    return preds.shape[1] if preds.ndim > 1 else None
