"""Scores and the whole numbers that stand for them in order; see `kernels/score_runs.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array, format_of, place_of
from ...kernels.storage import FLOATS, STORED, bits_type, dtype_of
from ..tensors import as_array


class ScoreForm(NamedTuple):
    """How scores of a dtype become keys."""

    name: str
    bits: int

    @property
    def is_counted(self) -> bool:
        """Whether there are so few keys that rows are counted by them."""
        return self.bits <= 16

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """That of the keys."""
        return np.dtype(f"u{self.bits // 8}")

    @property
    def sign(self) -> Any:
        """The bit of the sign, and the key of 0."""
        return self._number(1 << (self.bits - 1))

    @property
    def infinity(self) -> Any:
        return self._number(STORED[self.name].infinity)

    @property
    def nan(self) -> Any:
        """The key of NaN, larger than all others."""
        return self._number((1 << self.bits) - 1)

    @property
    def _number(self) -> type[np.integer[Any]]:
        """What kernels compute keys in."""
        return np.uint64 if self.bits == 64 else np.int64

    def holds(self, keys: Array) -> bool:
        """Whether keys are those of numbers."""
        sign, infinity = self.sign, self.infinity
        return bool(((keys >= sign - infinity) & (keys <= sign + infinity)).all())

    def scores(self, keys: Array) -> Array:
        """The scores of keys, of a dtype that NumPy has."""
        sign = self.dtype.type(self.sign)
        bits: Array = np.where(keys < sign, sign + (sign - keys), keys - sign)
        scores: Array = bits.view(dtype_of(self.name))
        return scores if scores.dtype.kind == "f" else scores.astype(np.float32)

    def least_keys(self, thresholds: Array) -> Array:
        """The least keys of scores that are not below these float64."""
        keys = self.keys(thresholds)
        below = self.scores(keys).astype(np.float64) < thresholds
        least = keys + below.astype(self.dtype)
        # No score is below -inf, in whatever bin it is.
        return np.where(thresholds == -np.inf, self.dtype.type(0), least)

    def keys(self, scores: Array) -> Array:
        """The keys of scores, rounded to this dtype, none of them NaN."""
        with np.errstate(over="ignore"):
            rounded = scores.astype(dtype_of(self.name))
        bits = rounded.view(self.dtype)
        sign, one = self.dtype.type(self.sign), self.dtype.type(1)
        # Where there is no infinity, what is larger than all numbers is taken for the largest.
        size = np.minimum(bits & (sign - one), self.dtype.type(self.infinity))
        keys: Array = np.where(bits < sign, sign + size, sign - size)
        return keys


FORMS = tuple(ScoreForm(name, 8 * bits_type(name).itemsize) for name in FLOATS)
FLOAT16, FLOAT32, FLOAT64 = (FORMS[FLOATS.index(f"float{n}")] for n in (16, 32, 64))


def wider(a: ScoreForm, b: ScoreForm) -> ScoreForm:
    """The form that holds the scores of both."""
    if a == b:
        return a
    return FLOAT64 if FLOAT64 in (a, b) else FLOAT32


def scores_of(values: object, name: str = "scores") -> tuple[Array, ScoreForm]:
    """Scores as an array of one axis, and the form of its keys.

    Raises TypeError for what are no numbers, ValueError for another shape and for integers that
    float64 does not hold.
    """
    scores = as_array(values, name)
    known = format_of(scores, name)
    if scores.ndim != 1:
        raise ValueError(f"{name} has shape {scores.shape}, but has one axis, that of rows")
    for form in FORMS:
        if form.name == known.name:
            return scores, form
    if scores.dtype.itemsize < 4:
        return scores.astype(np.float32), FLOAT32
    check_held(scores, name)
    return scores.astype(np.float64), FLOAT64


def check_held(scores: Array, name: str) -> None:
    """Raise ValueError if they are integers that float64 does not hold, as their order is lost."""
    if scores.dtype.kind not in "iu" or scores.dtype.itemsize < 8:
        return
    flat = scores.reshape(-1)
    for place in np.flatnonzero(np.abs(flat.astype(np.float64)) >= 2.0**53).tolist():
        if int(np.float64(flat[place])) != int(flat[place]):
            raise ValueError(
                f"{name}{place_of(np.unravel_index(place, scores.shape))} is {flat[place]}, which "
                "float64 does not hold: subtract a constant that makes them smaller, or give ranks"
            )


def native_bits(scores: Array, form: ScoreForm) -> Array:
    """The bits of scores of the dtype of a form, as a kernel takes them."""
    if not scores.dtype.isnative:
        scores = scores.astype(scores.dtype.newbyteorder("="))
    return np.ascontiguousarray(scores).view(form.dtype)


def as_single(scores: Array) -> Array:
    """Scores rounded to float32: none gets past another."""
    if scores.dtype == np.float32:
        return scores
    with np.errstate(over="ignore", invalid="ignore"):
        return scores.astype(np.float32)
