"""Weights, groups and sequences: what an update may be given besides labels and logits, checked."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..call import threads
from ..call.arrays import Array, format_of
from ..call.messages import report_weight
from ..call.shapes import check_weight_shape
from ..kernels.tally import N_SCORES
from .groups import check_shape, groups_of, integers, no_ids
from .sums.accumulator import PARALLEL_ROWS
from .sums.binary_sums import BLOCK
from .sums.group_names import GroupNames
from .sums.row_sums import NAMED, NUMBERED, ScoredRows
from .sums.samples import Sampled
from .sums.table import NO_KEYS
from .tensors import as_array


class Given(NamedTuple):
    """For each row, each logit or each sequence of rows something; see `Scorecard.update`."""

    sample_weight: Any = None
    class_mask: Any = None
    groups: Any = None
    sequences: Any = None
    offsets: Any = None
    n_bytes: Any = None
    clusters: Any = None
    ids: Any = None
    # For each row that of its sequence, of sequences that are numbered outside.
    numbers: Any = None

    @property
    def kind(self) -> str:
        """Whether sequences are named or numbered, if there are any."""
        if self.sequences is not None and self.offsets is not None:
            raise ValueError("give sequences or offsets, not both: each says which rows belong")
        if self.n_bytes is not None and self.offsets is None:
            raise ValueError("n_bytes is for the sequences of offsets, which are not given")
        if self.offsets is not None or self.numbers is not None:
            return NUMBERED
        return "" if self.sequences is None else NAMED

    def groups_of(self, shape: tuple[int, ...]) -> tuple[Array | None, GroupNames]:
        """The id of the group of each row, and what ids stand for."""
        return (None, GroupNames()) if self.groups is None else groups_of(self.groups, shape)

    def sequences_of(self, shape: tuple[int, ...]) -> Array | None:
        """The sequence of each row."""
        if self.offsets is not None:
            sizes = sizes_of(as_array(self.offsets, "offsets"), math.prod(shape))
            return np.repeat(np.arange(sizes.size), sizes)
        ids = self.sequences if self.numbers is None else self.numbers
        return None if ids is None else ids_of(ids, "sequences", shape)

    def sampled_of(self, shape: tuple[int, ...], bootstrap: int) -> Sampled:
        """The cluster of each row, and what a bootstrap of so many replicates knows it by."""
        draws = self._draws_of(shape, bootstrap)
        if self.clusters is None:
            return Sampled(None, draws)
        return Sampled(groups_of(self.clusters, shape, "clusters").ids, draws)

    def _draws_of(self, shape: tuple[int, ...], bootstrap: int) -> Array | None:
        if self.ids is not None and self.clusters is not None:
            raise ValueError(
                "give ids, if rows are independent, or clusters, of rows that are drawn together, "
                "not both"
            )
        if not bootstrap:
            if self.ids is not None:
                raise ValueError(
                    "ids are for a bootstrap, which is off: build it with bootstrap=1000"
                )
            return None
        for name in "ids", "clusters", "sequences":
            if getattr(self, name) is not None:
                return groups_of(getattr(self, name), shape, name).ids
        raise ValueError(
            "a bootstrap knows rows by ids, the same ones wherever they come (offsets do not do, "
            "which number as they come): give ids=, an integer for each row, such as its number in "
            "the whole, or clusters= of rows that belong together"
        )

    def new_sequences(self) -> ScoredRows:
        """The sequences of `offsets`, before their rows come."""
        n = len(as_array(self.offsets, "offsets")) - 1
        known = np.full(n, math.nan)
        if self.n_bytes is not None:
            known = _bytes(as_array(self.n_bytes, "n_bytes"), n)
        return ScoredRows(np.empty((0, N_SCORES)), NO_KEYS, None, None, None, np.arange(n), known)


def ids_of(value: Any, name: str, shape: tuple[int, ...]) -> Array:
    """One integer for each row, in a line."""
    given = as_array(value, name)
    if given.dtype.kind not in "iu" and given.size:
        raise no_ids(given, name)
    check_shape(given.shape, shape, name)
    return integers(given, name)


def sizes_of(offsets: Array, n_rows: int, what: str = "rows") -> Array:
    """The number of rows in each sequence, or of what else offsets count."""
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or not offsets.size:
        raise TypeError(
            f"offsets has dtype {offsets.dtype} and shape {offsets.shape}, but holds the numbers "
            f"of {what} where each begins, and the end of the last: integers of shape (n + 1,)"
        )
    given = offsets.astype(np.int64)
    sizes = np.diff(given)
    if given[0] != 0 or given[-1] != n_rows or (sizes < 0).any():
        bad = np.flatnonzero(sizes < 0)
        where = f"; offsets[{bad[0] + 1}] is less than the one before it" if bad.size else ""
        raise ValueError(
            f"offsets goes from {given[0]} to {given[-1]}, but must go from 0 to {n_rows}, the "
            f"number of {what}, and never back{where}"
        )
    return sizes


def _bytes(n_bytes: Array, n_sequences: int) -> Array:
    if n_bytes.shape != (n_sequences,):
        raise ValueError(
            f"n_bytes has shape {n_bytes.shape}, but there are {n_sequences} sequences in offsets"
        )
    if n_bytes.dtype.kind not in "iuf":
        raise TypeError(f"n_bytes has dtype {n_bytes.dtype}, but counts bytes")
    bad = np.flatnonzero(~((n_bytes >= 0) & (n_bytes < np.inf)))
    if bad.size:
        raise ValueError(f"n_bytes[{bad[0]}] is {n_bytes[bad[0]]}, but counts bytes")
    return n_bytes.astype(np.float64)


def checked_weight(
    value: Any, shape: tuple[int, ...], each: str = "row", name: str = "sample_weight"
) -> Array | None:
    """One weight for each row or query, if there are any: finite and not negative."""
    if value is None:
        return None
    weight = as_array(value, name)
    format_of(weight, name)
    check_weight_shape(weight, shape, each, name)
    report = partial(report_weight, name=name)
    check_numbers(weight, lambda w: (w >= 0) & (w < np.inf), report)
    return weight


def check_numbers(
    array: Array,
    are_good: Callable[[Array], Array],
    report: Callable[[Array, int, int], None],
) -> None:
    """Report the first part of an array that has bad numbers."""
    flat = array.reshape(-1)
    start = first_failing(flat.size, lambda here: bool(are_good(flat[here]).all()))
    if start is not None:
        report(array, start, min(start + BLOCK, flat.size))


def first_failing(n: int, work: Callable[[slice], bool]) -> int | None:
    """Do the work for parts of n rows, on threads; where the first begins for which it fails."""
    failed: list[int] = []

    def run(i: int) -> None:
        if not work(slice(i * BLOCK, min((i + 1) * BLOCK, n))):
            failed.append(i * BLOCK)

    threads.run(run, -(-n // BLOCK), parallel=n >= PARALLEL_ROWS)
    return min(failed, default=None)
