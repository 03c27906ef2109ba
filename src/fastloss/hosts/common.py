"""What hosts ask of a loss that is no verb: its name, the kind of its labels."""

import re

import numpy as np

from ..bases.loss import Loss
from ..bases.rows import LIKE_ROWS, RowFamily
from ..call.arrays import Array


def name_of(loss: Loss) -> str:
    """As hosts show it: `cross_entropy`."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", type(loss).__name__).lower()


def takes_ids(loss: Loss) -> bool:
    """Whether labels of one axis are class ids."""
    family = loss._family
    return isinstance(family, RowFamily) and family.labels != LIKE_ROWS


def whole(labels: Array, n: int, name: str, remedy: str) -> Array:
    """Labels, which hosts keep as floats, as integers from 0 to n - 1."""
    with np.errstate(invalid="ignore"):
        ids = labels.astype(np.int64)
        bad = (ids != labels) | (ids < 0) | (ids >= n)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{name}[{row}] is {labels[row]}, but must be a whole number from 0 to {n - 1}, "
            f"{remedy}"
        )
    return ids
