"""What was found out about each row, written into arrays of the user."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from ..call import threads
from ..call.arrays import FLOAT64, Array, format_of
from ..call.outputs import check_no_overlap, overlaps_itself
from ..compiler.interrupts import compiler
from ..kernels.form import Integer, Real, RowScores
from ..kernels.top_k import top_k
from ..losses.multiclass import CrossEntropy
from .rows import Rows, Slab

_SCORES = RowScores.__annotations__
# One number for each row, and k of them.
NUMBERS = (
    *(name for name, kind in _SCORES.items() if kind in (Real, Integer)),
    *("largest_logit", "energy"),
)
TOP = ("top_classes", "top_log_probs")
_INTEGERS = (*(name for name, kind in _SCORES.items() if kind is Integer), "top_classes")
_LOG_SUM_EXP, _PREDICTION = (RowScores._fields.index(n) for n in ("log_sum_exp", "prediction"))
# Numbers of logits that a thread searches at a time.
SEARCHED = 1 << 18


def new_arrays(names: Iterable[str], labels: Any, logits: Any, top: int) -> dict[str, Array]:
    """Arrays for results of these names."""
    shape = np.shape(labels)
    if isinstance(names, str):
        raise TypeError(f"rows is {names!r}, but must be names: write [{names!r}]")
    if not isinstance(names, Iterable):
        raise TypeError(f"rows must be names, as ['loss'], or arrays by name, got {names!r}")
    width = min(top, np.shape(logits)[-1])
    return {
        _checked(name): np.empty(
            (*shape, width) if name in TOP else shape,
            np.int64 if name in _INTEGERS else np.float64,
        )
        for name in names
    }


def _checked(name: str) -> str:
    if name not in (*NUMBERS, *TOP):
        raise ValueError(f"rows names {name!r}, but knows {', '.join((*NUMBERS, *TOP))}")
    return name


class RowResults:
    def __init__(
        self,
        arrays: Mapping[str, Array],
        rows: Rows,
        loss: CrossEntropy,
        inputs: Mapping[str, Any],
    ) -> None:
        """Raise unless each array can take what it is to get, in memory of its own."""
        self.arrays = {_checked(name): array for name, array in arrays.items()}
        self.loss = loss
        self.k = 0
        others = {"logits": rows.whole.logits, "labels": rows.whole.labels, **inputs}
        for name, array in self.arrays.items():
            what = f"rows[{name!r}]"
            self._check(what, name, array, rows)
            for other, given in others.items():
                if isinstance(given, np.ndarray):
                    check_no_overlap(array, what, given, other)
            others[what] = array

    def _check(self, what: str, name: str, array: Any, rows: Rows) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{what} must be a numpy array, got {type(array).__name__}")
        if not array.flags.writeable:
            raise ValueError(f"{what} is read-only: pass an array that can be written")
        expected: tuple[Any, ...] = rows.shape
        if name in TOP:
            k = array.shape[-1] if array.ndim else 0
            expected = (*rows.shape, self.k or k)
            if not 1 <= k <= rows.n_classes:
                raise ValueError(
                    f"{what} has shape {array.shape}, but its last axis is for some of the "
                    f"{rows.n_classes} classes of each row"
                )
            self.k = k
        if array.shape != expected:
            raise ValueError(f"{what} has shape {array.shape}, but the result has shape {expected}")
        kinds = "i" if name in _INTEGERS else "f"
        if array.dtype.kind not in kinds:
            kind = "signed integers" if kinds == "i" else "floats"
            raise TypeError(f"{what} has dtype {array.dtype}, but the result has {kind}")
        if name in _INTEGERS and np.iinfo(array.dtype).max < rows.n_classes - 1:
            raise TypeError(f"{what} has dtype {array.dtype}, too small for {rows.n_classes} ids")
        if overlaps_itself(array):
            raise ValueError(f"{what} uses the same memory for several rows: pass a plain array")

    def write(self, slab: Slab, scores: Array) -> None:
        """Write the results of some rows, from their scores."""
        for name in NUMBERS:
            if name in self.arrays:
                self._put(name, slab, self._numbers(name, slab, scores))
        if self.k:
            for name, found in zip(TOP, self._top(slab, scores[:, _LOG_SUM_EXP]), strict=True):
                if name in self.arrays:
                    self._put(name, slab, found)

    def _numbers(self, name: str, slab: Slab, scores: Array) -> Array:
        """One number for each row."""
        if name == "energy":
            return self.loss.temperature * scores[:, _LOG_SUM_EXP]
        if name == "largest_logit":
            known = scores[:, _PREDICTION] >= 0
            places = np.where(known, scores[:, _PREDICTION], 0.0).astype(np.int64)
            at = places.reshape(*slab.labels.shape, 1)
            logits = np.take_along_axis(slab.logits, at, axis=-1).astype(np.float64).reshape(-1)
            if self.loss.softcap is not None:
                logits = self.loss.softcap * np.tanh(logits / self.loss.softcap)
            return np.where(known, logits, np.nan)
        column = scores[:, RowScores._fields.index(name)]
        return np.where(np.isnan(column), -1, column) if name in _INTEGERS else column

    def _put(self, name: str, slab: Slab, values: Array) -> None:
        self.arrays[name][slab.part] = values.reshape(slab.labels.shape + values.shape[1:])

    def _top(self, slab: Slab, log_sums: Array) -> tuple[Array, Array]:
        c = slab.logits.shape[-1]
        logits = slab.logits.reshape(-1, c)
        n = len(logits)
        form = format_of(slab.logits, "logits")
        pred = form if form.kind == "float" else FLOAT64
        mask = None if slab.mask is None else slab.mask.reshape(-1, c)
        if self.loss._class_mask is not None:
            of_class = np.broadcast_to(self.loss._class_mask != 0, (n, c))
            mask = of_class if mask is None else of_class & mask
        places = np.empty((n, self.k), np.int64)
        values = np.empty((n, self.k), np.float64 if pred.name == "float64" else np.float32)
        search = _search(pred.name, pred.bits, values.dtype, mask is not None)
        step = max(SEARCHED // c, 1)

        def task(index: int) -> None:
            part = np.s_[index * step : (index + 1) * step]
            x = np.ascontiguousarray(logits[part], pred.dtype).view(pred.bits)
            inside = np.empty(0, bool) if mask is None else np.ascontiguousarray(mask[part])
            search(
                x.reshape(-1),
                inside.reshape(-1).view(np.uint8),
                c,
                self.k,
                places[part].reshape(-1),
                values[part].reshape(-1),
            )

        threads.run(task, -(-n // step))
        log_probs = values.astype(np.float64)
        if self.loss.softcap is not None:
            log_probs = self.loss.softcap * np.tanh(log_probs / self.loss.softcap)
        certain = log_sums == np.inf  # one logit of inf, and no other class has a chance
        log_sums = np.where(certain, 0.0, log_sums)
        log_probs[certain] = np.where(log_probs[certain] == np.inf, 0.0, -np.inf)
        log_probs = log_probs / self.loss.temperature - log_sums[:, np.newaxis]
        undefined = np.isnan(log_sums)
        places[undefined] = -1
        log_probs[undefined] = np.nan
        return places, log_probs


@cache
def _search(name: str, bits: Any, dtype: Any, masked: bool) -> Any:
    examples = (
        np.empty(0, bits),
        np.empty(0, np.uint8),
        1,
        1,
        np.empty(0, np.int64),
        np.empty(0, dtype),
    )
    return compiler().load_or_compile(top_k(name, dtype.name, masked), examples)
