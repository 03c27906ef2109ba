"""What is computed: a loss, a shape, a dtype, and the data for them."""

from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from ..catalogue import entries, find
from ..kernels.storage import DECODED, bits_type, dtype_of

Array = np.ndarray[Any, Any]

LOSS = "loss"
GRADIENT = "loss + gradient"  # into a given array, by all who can
NEW_ARRAY = "loss + gradient, new array"
IN_PLACE = "loss + gradient, in place"  # the predictions are overwritten
TASKS = (LOSS, GRADIENT)
EVALUATION = "evaluation"  # all that `scores.py` names

# What is evaluated, as workloads call it, and how many axes its predictions have.
LOGITS, BINARY, MULTILABEL = "cross_entropy", "binary", "multilabel"
REGRESSION, RANKING, COMPARISON = "regression", "ranking", "compare"
EVALUATED = {
    LOGITS: 2,
    BINARY: 1,
    MULTILABEL: 2,
    REGRESSION: 1,
    RANKING: 2,
    COMPARISON: 2,
}

CLASS_IDS = "class ids"
SOFT_LABELS = "soft labels"

# How logits lie: rising along each row; whole, so that many are equal; so far apart that their
# exponentials overflow and vanish; with the label far ahead.
RANDOM, SORTED, TIED, EXTREME, CONFIDENT = "random", "sorted", "tied", "extreme", "confident"
NUMBERS = (RANDOM, SORTED, TIED, EXTREME, CONFIDENT)


class Workload(NamedTuple):
    loss: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    labels: str = CLASS_IDS  # of `cross_entropy`
    # Whether the README shows it.
    main: bool = False
    numbers: str = RANDOM  # another one only of logits

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def name(self) -> str:
        soft = "-soft" if self.labels == SOFT_LABELS else ""
        numbers = "" if self.numbers == RANDOM else f"-{self.numbers}"
        return f"{self.loss}-{'x'.join(map(str, self.shape))}-{self.dtype}{soft}{numbers}"


_MILLIONS_32 = (32_000_000,)

# The shapes of `cross_entropy`: a small call, where overhead rules; short rows; rows that fit into
# the first-level cache; language-model logits, where memory rules.
WORKLOADS = (
    Workload("cross_entropy", (32, 10), main=True),
    Workload("cross_entropy", (1_000_000, 10), main=True),
    Workload("cross_entropy", (65_536, 100), main=True),
    Workload("cross_entropy", (65_536, 1_000), main=True),
    Workload("cross_entropy", (65_536, 1_000), "float64"),
    *(Workload("cross_entropy", (65_536, 1_000), dtype) for dtype in DECODED),
    Workload("cross_entropy", (8_192, 32_768), main=True),
    Workload("categorical_cross_entropy", (65_536, 100)),
    Workload("mse", _MILLIONS_32, main=True),
    Workload("mae", _MILLIONS_32),
    Workload("binary_cross_entropy", _MILLIONS_32),
    Workload("binary_cross_entropy_with_logits", _MILLIONS_32, main=True),
)

# Two classes to the vocabularies of language models: rows of 20 bytes to rows of a mebibyte.
_SHAPES = (
    (32, 10),
    (1_024, 10),
    (1_000_000, 2),
    (1_000_000, 10),
    (262_144, 32),
    (65_536, 100),
    (65_536, 1_000),
    (16_384, 4_096),
    (8_192, 32_768),
    (2_048, 131_072),
    (16, 262_144),
)
CROSS_ENTROPY = (
    *(
        Workload("cross_entropy", shape, dtype)
        for shape in _SHAPES
        for dtype in ("float32", "float64", *DECODED)
    ),
    Workload("cross_entropy", (65_536, 100), labels=SOFT_LABELS),
    Workload("cross_entropy", (8_192, 32_768), labels=SOFT_LABELS),
)

ELEMENTWISE = tuple(
    Workload(loss, (size,), dtype)
    for loss in ("mse", "mae", "binary_cross_entropy", "binary_cross_entropy_with_logits")
    for size in (1_000_000, 32_000_000)
    for dtype in ("float32", "float64")
)

# Every public loss, as the catalogue knows it, larger than the caches.
_PAIRS = ("GaussianNLL",)  # whose rows are a mean and a variance
LOSSES = tuple(
    Workload(
        next(iter(entry.instances)),
        _MILLIONS_32
        if entry.kind == "elementwise"
        else (16_000_000, 2)
        if entry.name in _PAIRS
        else (320_000, 100),
    )
    for entry in entries()
)

CALLS = (
    *(Workload("cross_entropy", (rows, 10)) for rows in (1, 32, 128, 1_024)),
    Workload("mse", (320,)),
)


class Data(NamedTuple):
    y_true: Array
    y_pred: Array
    out: Array  # where gradients go; may be overwritten at any time


def make_data(workload: Workload) -> Data:
    """The same numbers at each call."""
    rng = np.random.default_rng(20240229)
    loss, shape = workload.loss, workload.shape
    dtype = dtype_of(workload.dtype)
    if loss in EVALUATED and loss != LOGITS:
        y_true, y_pred = _evaluated(rng, loss, shape, dtype)
    elif loss in ("mse", "mae"):
        y_true, y_pred = _normal(rng, shape, dtype), _normal(rng, shape, dtype)
    elif loss == "cross_entropy":
        if workload.labels == SOFT_LABELS:  # rows add up to 1
            y_true = rng.random(shape, dtype=np.float32)
            y_true /= y_true.sum(axis=-1, keepdims=True)
        else:
            y_true = rng.integers(0, shape[-1], shape[:-1])
        y_pred = _normal(rng, shape, dtype)
        y_pred *= dtype.type(2)
    elif loss == "categorical_cross_entropy":  # rows add up to 1, labels are one-hot
        y_true = np.zeros(shape, dtype)
        np.put_along_axis(y_true, rng.integers(0, shape[-1], (*shape[:-1], 1)), 1, axis=-1)
        y_pred = np.exp(_normal(rng, shape, dtype))
        y_pred /= y_pred.sum(axis=-1, keepdims=True)
    elif loss not in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        y_true, y_pred = _legal_data(rng, loss, shape, dtype)
    else:
        y_true = rng.integers(0, 2, shape, dtype=np.int8).astype(dtype)
        if loss == "binary_cross_entropy":
            y_pred = rng.random(shape, dtype=np.float32).astype(dtype, copy=False)
            y_pred *= dtype.type(0.998)
            y_pred += dtype.type(0.001)
        else:
            y_pred = _normal(rng, shape, dtype)
            y_pred *= dtype.type(3)
    _arrange(workload.numbers, y_true, y_pred)
    # Touched here, so that no contender pays for the first look at its pages.
    return Data(y_true, y_pred, np.ones_like(y_pred))


# Of a label: a loss that is small, and that float32 still has some digits of.
_AHEAD = 8.0
_APART = 50.0


def _arrange(numbers: str, y_true: Array, y_pred: Array) -> None:
    if numbers == SORTED:
        y_pred.sort(axis=-1)
    elif numbers == TIED:
        np.rint(y_pred, out=y_pred)
    elif numbers == EXTREME:
        y_pred *= y_pred.dtype.type(_APART)
    elif numbers == CONFIDENT and y_pred.ndim == 1:  # of two classes
        np.copysign(np.abs(y_pred) + y_pred.dtype.type(_AHEAD), y_true - 0.5, out=y_pred)
    elif numbers == CONFIDENT:
        ahead = y_pred.max(axis=-1, keepdims=True) + y_pred.dtype.type(_AHEAD)
        np.put_along_axis(y_pred, y_true[..., np.newaxis], ahead, axis=-1)


def _evaluated(
    rng: np.random.Generator, task: str, shape: tuple[int, ...], dtype: Any
) -> tuple[Array, Array]:
    """Labels or a first set of logits, and predictions that are somewhat like them."""
    y_pred = _normal(rng, shape, dtype)
    noise = _normal(rng, shape, dtype)
    if task == REGRESSION:
        return y_pred + noise + dtype.type(5), y_pred + dtype.type(5)
    if task == COMPARISON:
        return y_pred * dtype.type(2), y_pred * dtype.type(2) + noise / dtype.type(8)
    if task == RANKING:  # relevances from 0 to 4, one of them not 0 at least; scores above 0
        labels = np.clip(np.rint(y_pred + noise), 0, 4).astype(np.int64)
        labels[:, 0] = 1
        return labels, np.exp(y_pred)
    labels = (y_pred + noise > 0).astype(np.int64)
    if task == MULTILABEL:  # rows have a true label, as some numbers are of these alone
        labels[:, 0] |= ~labels.any(axis=1)
    return labels, y_pred * dtype.type(2)


def _legal_data(
    rng: np.random.Generator, loss: str, shape: tuple[int, ...], dtype: Any
) -> tuple[Array, Array]:
    """What a loss takes, as the catalogue knows it."""
    entry, build = find(loss), getattr(fl, loss)
    assert entry is not None
    y_pred = _between(rng, build.y_pred_range, shape, dtype)
    if entry.y_true.takes == ("class ids",):
        return rng.integers(0, shape[-1], shape[:-1]), y_pred
    if entry.name in _PAIRS:
        y_pred[..., 1] = np.abs(y_pred[..., 1]) + dtype.type(0.1)
        return _normal(rng, shape[:-1], dtype), y_pred
    return _between(rng, build.y_true_range, shape, dtype), y_pred


def _between(
    rng: np.random.Generator, limits: tuple[float, float], shape: tuple[int, ...], dtype: Any
) -> Array:
    low, high = limits
    if low == -np.inf:
        return _normal(rng, shape, dtype)
    if high == np.inf:
        y: Array = np.abs(_normal(rng, shape, dtype)) + dtype.type(max(low, 0.0) + 0.01)
        return y
    return rng.uniform(low + 0.001, high - 0.001, shape).astype(dtype)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    return rng.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)


def needed_bytes(workload: Workload) -> int:
    """Memory at the peak: the data, a copy of it, and the temporaries of naive NumPy."""
    return 8 * workload.size * bits_type(workload.dtype).itemsize
