"""What is computed: a loss, a shape, a dtype, and the data for them."""

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

LOSS = "loss"
GRADIENT = "loss + gradient"
TASKS = (LOSS, GRADIENT)


class Workload(NamedTuple):
    loss: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    # 16-bit storage: NumPy computes it in software, so that a comparison would say nothing.
    fastloss_alone: bool = False
    # Whether the README shows it.
    main: bool = False

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def name(self) -> str:
        return f"{self.loss}-{'x'.join(map(str, self.shape))}-{self.dtype}"


_MILLIONS_32 = (32_000_000,)

# The shapes of `cross_entropy`: a small call, where overhead rules; short rows; rows that fit into
# the first-level cache; language-model logits, where memory rules.
WORKLOADS = (
    Workload("cross_entropy", (32, 10), main=True),
    Workload("cross_entropy", (1_000_000, 10), main=True),
    Workload("cross_entropy", (65_536, 100), main=True),
    Workload("cross_entropy", (65_536, 1_000), main=True),
    Workload("cross_entropy", (65_536, 1_000), "float64"),
    Workload("cross_entropy", (65_536, 1_000), "float16", fastloss_alone=True),
    Workload("cross_entropy", (65_536, 1_000), "bfloat16", fastloss_alone=True),
    Workload("cross_entropy", (8_192, 32_768), main=True),
    Workload("categorical_cross_entropy", (65_536, 100)),
    Workload("mse", _MILLIONS_32, main=True),
    Workload("mae", _MILLIONS_32),
    Workload("binary_cross_entropy", _MILLIONS_32),
    Workload("binary_cross_entropy_with_logits", _MILLIONS_32, main=True),
)


class Data(NamedTuple):
    y_true: Array
    y_pred: Array
    out: Array  # where gradients go; may be overwritten at any time


def make_data(workload: Workload) -> Data:
    """The same numbers at each call."""
    rng = np.random.default_rng(20240229)
    loss, shape = workload.loss, workload.shape
    dtype = _dtype(workload.dtype)
    if loss in ("mse", "mae"):
        y_true, y_pred = _normal(rng, shape, dtype), _normal(rng, shape, dtype)
    elif loss == "cross_entropy":
        y_true, y_pred = rng.integers(0, shape[-1], shape[:-1]), _normal(rng, shape, dtype)
        y_pred *= dtype.type(2)
    elif loss == "categorical_cross_entropy":  # rows add up to 1, labels are one-hot
        y_true = np.zeros(shape, dtype)
        np.put_along_axis(y_true, rng.integers(0, shape[-1], (*shape[:-1], 1)), 1, axis=-1)
        y_pred = np.exp(_normal(rng, shape, dtype))
        y_pred /= y_pred.sum(axis=-1, keepdims=True)
    else:
        y_true = rng.integers(0, 2, shape, dtype=np.int8).astype(dtype)
        if loss == "binary_cross_entropy":
            y_pred = rng.random(shape, dtype=np.float32).astype(dtype, copy=False)
            y_pred *= dtype.type(0.998)
            y_pred += dtype.type(0.001)
        else:
            y_pred = _normal(rng, shape, dtype)
            y_pred *= dtype.type(3)
    # Touched here, so that no contender pays for the first look at its pages.
    return Data(y_true, y_pred, np.ones_like(y_pred))


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    return rng.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)


def _dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def needed_bytes(workload: Workload) -> int:
    """Memory at the peak: the data, and the temporaries of naive NumPy."""
    arrays = 3 if workload.fastloss_alone else 8
    return arrays * workload.size * _dtype(workload.dtype).itemsize
