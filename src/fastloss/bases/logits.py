"""Verbs of losses of logits, which stand for probabilities."""

from typing import Any

from ..call.arrays import Array
from ..call.run import evaluate
from ..call.verbs import LOG_PROBA, PROBA
from .loss import Loss


def proba(self: Loss, logits: Any, /, *, class_mask: Any = None, out: Array | None = None) -> Array:
    """The probabilities that the logits stand for.

    `logits` have the shape (..., c), or any shape if each stands for the probability of one label.
    `class_mask`, booleans of their shape, is for logits of classes. Returns an array of the shape
    and the floating dtype of `logits`, written into `out` if given, which may be `logits` itself,
    or of float32 where they are float64. Raises TypeError for dtypes and ValueError for shapes, of
    `out`, too.

    >>> import fastloss as fl
    >>> fl.cross_entropy.proba([[0.0, 1000.0]])
    array([[0., 1.]])
    """
    return evaluate(  # type: ignore[no-any-return]
        self._family, PROBA, logits, logits, None, None, class_mask=class_mask, grad_out=out
    )[1]


def log_proba(
    self: Loss, logits: Any, /, *, class_mask: Any = None, out: Array | None = None
) -> Array:
    """The logarithms of the probabilities, exact where those are rounded to 0 or 1.

    Arguments, result and errors are those of `proba`.

    >>> import fastloss as fl
    >>> fl.cross_entropy.log_proba([[0.0, 1000.0]])
    array([[-1000.,     0.]])
    """
    return evaluate(  # type: ignore[no-any-return]
        self._family, LOG_PROBA, logits, logits, None, None, class_mask=class_mask, grad_out=out
    )[1]
