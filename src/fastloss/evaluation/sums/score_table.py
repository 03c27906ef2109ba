"""Tables of scores by the label of their rows, exact and mergeable: what all ranks follow from.

    table = ScoreTable.of(labels, scores, weights)
    table = table.merged(ScoreTable.of(more_labels, more_scores))
    for steps in table.steps(): ...     # the distinct scores, from the highest down

Scores of 16 bits are counted, in a pair of counts for each of 2**16 keys. Others are kept as sorted
keys, 4 or 8 bytes a row, in runs that are merged when they are alike in size, so that there are
never more of them than the logarithm of the rows. With `bins` there are counts for the upper bits
of float32 keys: the sign, the exponent and, of 2**20 bins, 11 bits of the mantissa. So a bin is at
most 1/2048 of its scores wide, whatever their unit is, and its place is found without looking at
other rows. `rank_statistics.py` has what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from mmap import mmap
from typing import Any, NamedTuple

import numpy as np

from ...bases.options import check_integer
from ...call.arrays import Array
from ...kernels.tally import scale_of
from .counted_scores import count_type, counted_rows, keys_with_rows, steps_of_counts, sums_of
from .score_keys import FLOAT16, FLOAT32, FORMS, ScoreForm, as_single, scores_of, wider
from .sorted_scores import (
    NO_WEIGHTS,
    Run,
    Runs,
    Steps,
    merged_runs,
    scaled,
    sorted_rows,
    steps_of,
    sums_from,
    total_of,
)
from .state import entry

MOST_BINS = 1 << 20


class ScoreTable(NamedTuple):
    """Scores of negative and positive rows. It is never changed: whoever adds makes another."""

    form: ScoreForm
    bins: int | None
    is_weighted: bool = False
    # A power of two that all weights are multiplied by, as only their ratios count.
    scale: float = 1.0
    n_nan: int = 0  # rows that are left out
    n_negatives: int = 0
    n_positives: int = 0
    # One of these two: counts of shape (keys, 2), or runs.
    counts: Array | None = None
    negatives: Runs = ()
    positives: Runs = ()
    room: int | None = None  # bytes that an array of a run has in memory, at most

    @classmethod
    def empty(cls, bins: int | None = None, memory_limit: int | None = None) -> ScoreTable:
        """Without rows. `bins` is None, for exact numbers, or a power of two from 2 to 2**20.

        So many bytes of runs are in memory, and others in files without names; see `new_array`.
        """
        if bins is None:
            # Runs are twice as long as those before, of two labels, each with keys and weights.
            return cls(FLOAT16, None, room=None if memory_limit is None else memory_limit // 8)
        if isinstance(bins, bool) or not hasattr(bins, "__index__"):
            raise TypeError(f"bins must be None or an integer, got {bins!r}")
        if not 2 <= bins <= MOST_BINS or bins & (bins - 1):
            raise ValueError(
                f"bins must be None or a power of two from 2 to {MOST_BINS}, got {bins}: with None "
                "all numbers are exact"
            )
        return cls(FLOAT32, int(bins))

    @classmethod
    def of(
        cls, labels: Any, scores: Any, weights: Any = None, bins: int | None = None
    ) -> ScoreTable:
        """The rows with these labels, 0 or 1, and scores, of shape (rows,); see `scores_of`.

        Without labels all are positive. Rows of weight 0 count nowhere, and NaN are left out.
        """
        table = cls.empty(bins)
        values, form = scores_of(scores)
        labels = labels if labels is None else like(values, np.asarray(labels), "labels")
        scale, weight = 1.0, NO_WEIGHTS
        if weights is not None:
            weight = like(values, np.asarray(weights, np.float64), "weights")
            counting = weight != 0
            if not counting.all():
                values, weight = values[counting], weight[counting]
                labels = labels if labels is None else labels[counting]
            scale = scale_of(weight.max(initial=1.0 if not weight.size else 0.0))
            weight = scaled(weight, scale)
        table = table._replace(is_weighted=weights is not None, scale=scale)
        if bins is None and (not form.is_counted or weights is not None):
            if form.is_counted:
                values, form = as_single(values), FLOAT32
            return table._with_runs(form, sorted_rows(labels, values, form, weight), len(values))
        form = form if bins is None else FLOAT32
        n_keys = bins or 1 << form.bits
        counts = counted_rows(labels, values, form, weight, n_keys)
        rows = counts
        if weight.size:
            rows = counted_rows(labels, values, FLOAT32, NO_WEIGHTS, 2)
        n_negatives, n_positives = sums_of(rows[:-1])
        return table._replace(
            form=form,
            n_nan=int(rows[-1].sum()),
            n_negatives=int(n_negatives),
            n_positives=int(n_positives),
            counts=counts[:-1],
        )

    def _with_runs(self, form: ScoreForm, runs: tuple[Run, Run], n: int) -> ScoreTable:
        """With these runs of n rows, some of which are NaN and left out."""
        negatives, positives = runs
        return self._replace(
            form=form,
            n_nan=n - negatives.size - positives.size,
            n_negatives=negatives.size,
            n_positives=positives.size,
            negatives=merged_runs((negatives,)),
            positives=merged_runs((positives,)),
        )

    @property
    def n_rows(self) -> int:
        """How many rows count."""
        return self.n_negatives + self.n_positives

    @property
    def n_keys(self) -> int:
        """How many rows are worth adding at once. A count is copied in a fraction of the time that
        a row takes; of runs, which are merged now and then, there are few.
        """
        if self.counts is not None:
            return self.counts.size // 4
        return len(self.negatives + self.positives)

    @property
    def weights(self) -> tuple[float, float]:
        """Of the negatives and of the positives, times `scale`."""
        if not self.is_weighted:
            return float(self.n_negatives), float(self.n_positives)
        if self.counts is not None:
            negative, positive = sums_of(self.counts)
        else:
            negative, positive = (float(total_of(run.weights)[0]) for run in self.both())
        return negative, positive

    def merged(self, other: ScoreTable) -> ScoreTable:
        """The rows of both; ValueError if their bins differ."""
        if self.bins != other.bins:
            raise ValueError(
                f"other has bins={other.bins} and this table bins={self.bins}: only tables of the "
                "same bins can be merged"
            )
        n_nan = self.n_nan + other.n_nan
        if not self.n_rows or not other.n_rows:
            return (self if self.n_rows else other)._replace(n_nan=n_nan)._within(self.room)
        a, b = self, other
        if a.is_weighted or b.is_weighted:
            scale = min(table.scale for table in (a, b) if table.is_weighted)
            a, b = a._weighted(scale), b._weighted(scale)
        if a.form != b.form or (a.counts is None) != (b.counts is None):
            form = wider(wider(a.form, b.form), FLOAT32)
            a, b = a.in_runs(form), b.in_runs(form)
        a, b = a._within(self.room), b._within(self.room)
        counts = a.counts
        if counts is not None and b.counts is not None:
            dtype = None if a.is_weighted else count_type(a.n_rows + b.n_rows)
            counts = np.add(counts, b.counts, dtype=dtype)
        return a._replace(
            n_nan=n_nan,
            n_negatives=a.n_negatives + b.n_negatives,
            n_positives=a.n_positives + b.n_positives,
            counts=counts,
            negatives=merged_runs(a.negatives + b.negatives),
            positives=merged_runs(a.positives + b.positives),
        )

    def _within(self, room: int | None) -> ScoreTable:
        """The same with so much room."""
        negatives, positives = (
            tuple(run.within(room) for run in runs) for runs in (self.negatives, self.positives)
        )
        return self._replace(room=room, negatives=negatives, positives=positives)

    def settled(self) -> ScoreTable:
        """The same in one run of each label."""
        return self._replace(
            negatives=merged_runs(self.negatives, in_one=True),
            positives=merged_runs(self.positives, in_one=True),
        )

    def steps(self) -> Iterator[Steps]:
        """The distinct scores, or the bins that have rows, from the highest down, in blocks.

        They are the same to the bit however rows were split, but for weights of bins.
        """
        if self.counts is not None:
            return steps_of_counts(self.counts, self.form.dtype)
        return steps_of(*self.both())

    def at_least(self, keys: Array) -> tuple[Array, Array]:
        """The weights of negatives and of positives whose scores have at least these keys."""
        if self.counts is None:
            negative, positive = (run.at_least(keys) for run in self.both())
            return negative, positive
        places = -(-keys.astype(np.int64) >> self._shift)
        negative, positive = (
            sums_from(places, of_label.astype(np.float64)) for of_label in self.counts.T
        )
        return negative, positive

    def scores(self, keys: Array) -> Array:
        """The scores of keys; of a bin the least that it may have."""
        if self.bins is not None:
            keys = keys << np.uint32(self._shift)
        return self.form.scores(keys)

    def ends(self, scores: Array) -> Array:
        """Where the bins of these scores end; without bins it is the scores."""
        if self.bins is None:
            return scores
        keys = self.form.keys(scores) >> np.uint32(self._shift)
        ends = self.scores(keys + np.uint32(1))
        # Beyond the bin of infinity there is no number.
        return np.where(np.isnan(ends), np.inf, ends)

    @property
    def _shift(self) -> int:
        """How many bits of a key do not matter to its bin."""
        return 0 if self.bins is None else self.form.bits + 1 - self.bins.bit_length()

    def both(self) -> tuple[Run, Run]:
        """All negatives and all positives as one run."""
        table, nothing = self.settled(), Run(np.empty(0, self.form.dtype))
        return (*table.negatives, nothing)[0], (*table.positives, nothing)[0]

    def _weighted(self, scale: float) -> ScoreTable:
        """The same with weights, times this scale."""
        if self.is_weighted and self.scale == scale:
            return self
        if self.counts is not None and self.bins is None:
            return self.in_runs(FLOAT32)._weighted(scale)
        factor, counts = scale / self.scale, self.counts
        if counts is not None:
            counts = scaled(counts.astype(np.float64), factor) * (counts > 0)
        return self._replace(
            is_weighted=True,
            scale=scale,
            counts=counts,
            negatives=tuple(run.weighted(factor) for run in self.negatives),
            positives=tuple(run.weighted(factor) for run in self.positives),
        )

    def in_runs(self, form: ScoreForm = FLOAT32) -> ScoreTable:
        """The same as runs of keys of a form that holds those of this one, too."""
        form = wider(self.form, form)
        if self.form == form and self.counts is None:
            return self
        if self.counts is None:

            def widened(runs: Runs) -> Runs:
                return tuple(
                    Run(form.keys(self.form.scores(run.keys)), run.weights) for run in runs
                )

            negatives, positives = widened(self.negatives), widened(self.positives)
        else:
            places = keys_with_rows(self.counts)
            keys = form.keys(self.form.scores(places.astype(self.form.dtype)))
            rows = self.counts[places].astype(np.int64).T
            negatives, positives = (
                merged_runs((Run(np.repeat(keys, of_label)),)) for of_label in rows
            )
        return self._replace(form=form, counts=None, negatives=negatives, positives=positives)

    def state(self, name: str) -> dict[str, Array]:
        """As arrays: one run of each label, or the counts that are not 0."""
        numbers = [FORMS.index(self.form), int(self.is_weighted)]
        numbers += [self.n_nan, self.n_negatives, self.n_positives]
        state = {"rows": np.array(numbers, np.int64), "scale": np.array([self.scale])}
        if self.counts is not None:
            places = np.flatnonzero(self.counts)
            state |= {
                "places": places,
                "counts": self.counts.reshape(-1)[places].astype(np.float64),
            }
        else:
            for label, run in zip(_LABELS, self.both(), strict=True):
                state |= {f"{label}_keys": _kept(run.keys), f"{label}_weights": _kept(run.weights)}
        return {f"{name}_{part}": array for part, array in state.items()}

    @classmethod
    def from_state(
        cls, name: str, state: Mapping[str, Array], bins: int | None = None
    ) -> ScoreTable:
        """Raise ValueError unless it is such a table, with these bins."""
        numbers = entry(state, f"{name}_rows", np.int64, (5,)).tolist()
        scale = float(entry(state, f"{name}_scale", np.float64, (1,))[0])
        form, is_weighted, n_nan, n_negatives, n_positives = numbers
        table, sound = cls.empty(bins), False
        if min(numbers) >= 0 and form < len(FORMS) and is_weighted < 2 and 0 < scale < np.inf:
            table = table._replace(
                form=FORMS[form],
                is_weighted=bool(is_weighted),
                scale=scale,
                n_nan=n_nan,
                n_negatives=n_negatives,
                n_positives=n_positives,
            )
            if f"{name}_places" in state:
                table, sound = table._with_counts(name, state)
            else:
                table, sound = table._with_saved_runs(name, state)
        if not sound:
            raise ValueError(f"the scores of {name} in the state make no sense: it is damaged")
        return table

    def _with_counts(self, name: str, state: Mapping[str, Array]) -> tuple[ScoreTable, bool]:
        """With the counts of a state, and whether they make sense."""
        sound = self.form == FLOAT32 if self.bins else self.form.is_counted and not self.is_weighted
        counts = np.zeros((self.bins or 1 << (self.form.bits if sound else 1), 2))
        places = entry(state, f"{name}_places", np.int64, (None,))
        given = entry(state, f"{name}_counts", np.float64, (len(places),))
        sound &= bool(
            ((places >= 0) & (places < counts.size)).all() and (np.diff(places) > 0).all()
        )
        sound &= bool(((given > 0) & (given < np.inf)).all())
        if not sound:
            return self, False
        counts.reshape(-1)[places] = given
        sums = sums_of(counts)
        rows = self.n_negatives, self.n_positives
        if self.is_weighted:
            sound = all((weight > 0) == (n > 0) for weight, n in zip(sums, rows, strict=True))
        else:
            sound = sums == rows and bool((given == np.floor(given)).all())
            counts = counts.astype(count_type(self.n_rows))
        return self._replace(counts=counts), sound

    def _with_saved_runs(self, name: str, state: Mapping[str, Array]) -> tuple[ScoreTable, bool]:
        """With the runs of a state, and whether they make sense."""
        runs: list[Runs] = []
        sound = not self.n_rows or (self.bins is None and not self.form.is_counted)
        for label, n in zip(_LABELS, (self.n_negatives, self.n_positives), strict=True):
            keys = entry(state, f"{name}_{label}_keys", self.form.dtype, (n,))
            shape = (n if self.is_weighted else 0,)
            weights = entry(state, f"{name}_{label}_weights", np.float64, shape)
            sound &= bool((keys[1:] >= keys[:-1]).all()) and self.form.holds(keys)
            sound &= bool(((weights > 0) & (weights < np.inf)).all())
            runs.append(merged_runs((Run(keys, weights),)))
        return self._replace(negatives=runs[0], positives=runs[1]), sound


def like(scores: Array, array: Array, name: str) -> Array:
    """The array; ValueError unless there is one number for each score."""
    if array.shape != scores.shape:
        raise ValueError(f"{name} has shape {array.shape}, but scores has {scores.shape}")
    return array


def _kept(array: Array) -> Array:
    """What a state has of an array: a copy, or what lies in a file as it is, to be read alone."""
    if not isinstance(array.base, mmap):
        return array.copy()
    view = array.view()
    view.flags.writeable = False
    return view


def check_memory_limit(limit: Any) -> int | None:
    """Raise unless it is a number of bytes, or None for as many as there are."""
    if limit is None:
        return None
    check_integer("memory_limit", limit)
    if limit < 1:
        raise ValueError(f"memory_limit is {limit}, but must be a number of bytes, or None for all")
    return int(limit)


_LABELS = "negative", "positive"
