"""What hosts ask of a loss that is no verb: its name, the kind of its labels, their own words."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..bases.elementwise import Elements
from ..bases.loss import Loss
from ..bases.rows import LIKE_ROWS, RowFamily
from ..call.arrays import Array
from ..call.run import evaluate
from ..call.verbs import GRAD_HESS, HVP
from ..kernels.storage import FLOATS, least_above_0

# Dtypes of few exponents, such as float16: in them the gradient of a mean of many rows vanishes
# before it is scaled up.
VANISHING = frozenset(name for name in FLOATS if least_above_0(name) > 1e-30)
# A label that is larger is no class id.
_MOST_CLASSES = 1 << 24


def name_of(loss: Loss) -> str:
    """As hosts show it: `cross_entropy`."""
    name: str = getattr(loss, "__name__")  # noqa: B009
    return name


def check_loss(loss: Any) -> None:
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise TypeError(
            f"loss is the class {loss.__qualname__}: build a loss, {loss.__qualname__}()"
        )
    if not isinstance(loss, Loss):
        raise TypeError(
            f"loss must be a loss of fastloss, got {type(loss).__name__}: write "
            "fl.cross_entropy, or a loss of your own that derives from fl.ElementwiseLoss"
        )


def takes_ids(loss: Loss) -> bool:
    """Whether labels of one axis are class ids."""
    family = loss._family
    return isinstance(family, RowFamily) and family.labels != LIKE_ROWS


def ignored_by(loss: Loss) -> int | None:
    """The class id of rows that are left out."""
    return getattr(loss, "ignore_index", None)


def n_outputs(loss: Loss, labels: Array, name: str) -> int:
    """How many predictions there are of a row; 0 if it is a single number and no axis of them."""
    if labels.ndim > 1:
        return int(labels.shape[1])
    if takes_ids(loss):
        ignored = ignored_by(loss)
        ids = whole(labels, _MOST_CLASSES, name, "a class id", ignored)
        return int(np.max(ids if ignored is None else ids[ids != ignored], initial=0)) + 1
    family = loss._family
    if isinstance(family, Elements):
        return family.formula.n_columns
    return 2  # the mean and the variance of GaussianNLL


def whole(labels: Array, n: int, name: str, remedy: str, ignored: int | None = None) -> Array:
    """Labels, which hosts keep as floats, as integers from 0 to n - 1, or such as are ignored."""
    if labels.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} has dtype {labels.dtype}, but class ids are numbers: write ids, classes = "
            f"fl.class_ids({name})"
        )
    with np.errstate(invalid="ignore"):
        ids = labels.astype(np.int64)
        bad = (ids != labels) | (ids < 0) | (ids >= n)
    if ignored is not None:
        bad &= labels != ignored
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{name}[{row}] is {labels[row]}, but must be a whole number from 0 to {n - 1}, "
            f"{remedy}" + ("" if ignored is None else f", or {ignored}, the ignore_index")
        )
    return ids


def named(loss: Loss, labels: str, predictions: str) -> Loss:
    """A copy of a loss that calls its arguments in messages as its host does."""
    copy = replace(loss)
    object.__setattr__(copy, "names", (labels, predictions))
    return copy


def in_words_of_host(error: Exception) -> Exception:
    """What the core says of arrays, where the host's users write `(logits, labels, weight)`."""
    text = str(error).replace("sample_weight", "weight")
    text = text.replace("labels come first, logits second", "logits come first, labels second")
    return type(error)(text)


def hvp(
    loss: Loss,
    y_true: Array,
    y_pred: Array,
    vector: Array,
    weight: Any,
    normalizer: Any,
    out: Array,
) -> Array:
    """The product of the Hessian of a loss and a vector, written into `out`."""
    family = loss._family
    if isinstance(family, Elements) and family.has_hessian:
        options = {"grad_out": np.empty_like(out), "hess_out": out}
        evaluate(family, GRAD_HESS, y_true, y_pred, weight, normalizer, **options)
        return np.multiply(out, vector, out=out)
    if not hasattr(loss, "hvp"):
        raise NotImplementedError(
            f"second derivatives of {loss} are not known: those of CrossEntropy are, and of "
            "elementwise losses with an exact Hessian"
        )
    evaluate(family, HVP, y_true, y_pred, weight, normalizer, vector=vector, grad_out=out)
    return out
