"""Everything about labels and logits in one pass: `evaluate`; and `Scorecard`, for parts."""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from .. import _threads
from .._arrays import Array, as_array
from .._evaluate import Verb
from .._options import check_integer, check_switch
from ..kernels import tally as kernel
from ..kernels.interrupts import compiler
from ..kernels.tally import Terms
from ..multiclass import CrossEntropy
from .row_results import RowResults, made
from .rows import Rows
from .scores import Groups, Means, Scores, Sequences
from .tally import ClassTally, KeyedTally, Tally

_NO_KEYS = np.empty(0, np.int64)
_NO_TABLE = np.empty(0), np.empty(0)
# To add up fewer rows takes less time than to wake a thread.
_PARALLEL_ROWS = 1 << 10


class Scorecard:
    """Adds up everything about labels and logits that come in parts.

    >>> import fastloss as fl
    >>> card = fl.Scorecard()
    >>> _ = card.update([0, 1], [[2.0, 0.0], [0.5, 0.0]])
    >>> _ = card.update([1], [[0.0, 3.0]])
    >>> scores = card.result()
    >>> scores.n_rows, round(scores.loss, 12), round(scores.accuracy, 4)
    (3, 0.383197448932, 0.6667)

    Options: `class_weight`, `ignore_index`, `class_mask`, `softcap` and `temperature` are those of
    `CrossEntropy`; `n_bins` of equal width between 0 and 1 for the calibration error, each with its
    lower edge; `by_class=False` keeps no table of classes, which takes 256 bytes for each of
    those that are met.

    Sums are kept in twice the precision of float64. Whatever the parts are and in whatever order
    they are merged, results agree to 1e-15 relative; the same parts in the same order give the same
    bits.

    The rank of a label is the number of classes before it, sorted by their logits, the lower class
    id first where those are equal: as `np.argmax` does, so that rank 0 means that the label is the
    prediction. (scikit-learn's `top_k_accuracy_score` takes the higher id first.)
    """

    _verb: Verb = "scores"

    def __init__(
        self,
        *,
        class_weight: Any = None,
        ignore_index: int | None = None,
        class_mask: Any = None,
        softcap: float | None = None,
        temperature: float = 1.0,
        n_bins: int = 15,
        by_class: bool = True,
    ) -> None:
        check_integer("n_bins", n_bins)
        if n_bins < 1:
            raise ValueError(f"n_bins is {n_bins}, but must be 1 or more")
        self._weighing = CrossEntropy(class_weight=class_weight)
        self._loss = CrossEntropy(
            reduction="sum",
            ignore_index=ignore_index,
            class_mask=class_mask,
            softcap=softcap,
            temperature=temperature,
        )
        self._n_bins = int(n_bins)
        check_switch("by_class", by_class)
        self._by_class = by_class
        self.n_rows = 0
        self.n_classes = 0
        self._bins = Tally(self._n_bins + 1, kernel.WIDTH)  # and one for rows that have no score
        self._ranks = Tally(0, 1)
        self._classes = ClassTally(kernel.WIDTH)
        self._groups = KeyedTally(kernel.WIDTH)
        self._sequences = KeyedTally(kernel.WIDTH)
        self._bytes: dict[int, float] = {}
        self._numbered = False  # whether sequences were numbered, not named

    def update(
        self,
        labels: Any,
        logits: Any,
        /,
        *,
        sample_weight: Any = None,
        class_mask: Any = None,
        groups: Any = None,
        sequences: Any = None,
        offsets: Any = None,
        n_bytes: Any = None,
        rows: Mapping[str, Array] | None = None,
    ) -> "Scorecard":
        """Add rows: `labels`, class ids of shape (...), and `logits` of shape (..., c).

        - `sample_weight` of the shape of the labels; `class_mask`, booleans of the shape of the
          logits, as `CrossEntropy` takes them;
        - `groups`: any integer for each row, whose results are then given apart;
        - `sequences`: any integer for each row, the same for all rows of a sequence, which may go
          on in another call; or `offsets`: where each sequence of this call begins, and the end of
          the last, n + 1 row numbers, for sequences that are numbered as they come;
        - `n_bytes`: the bytes that each sequence of `offsets` stands for, for bits per byte;
        - `rows`: arrays to write results of each row into, by name: "loss", "log_sum_exp",
          "prediction", "rank", "entropy", "confidence" and "brier" of the shape of the labels,
          "top_classes" and "top_log_probs" of shape (..., k). Memory-mapped arrays will do. What is
          not known, as for a row with NaN, is NaN, or -1 where numbers are integers.

        Returns the scorecard itself. Raises what `CrossEntropy` raises, before anything is changed.
        """
        batch = Rows(
            labels, logits, sample_weight, class_mask, self._loss, self._weighing, self._verb
        )
        if self.n_classes not in (0, batch.n_classes):
            raise ValueError(
                f"logits have {batch.n_classes} classes on the last axis, but those that came "
                f"before have {self.n_classes}: keep a scorecard for each"
            )
        group_ids = None if groups is None else _ids(groups, "groups", batch.shape)
        sequence_ids, n_bytes = self._sequence_ids(sequences, offsets, n_bytes, batch)
        results = RowResults(rows or {}, batch, self._loss)

        self._make_room(batch.n_classes)
        self._classes.make_room(batch.n_rows)
        group_places = _places(self._groups, group_ids)
        sequence_places = _places(self._sequences, sequence_ids)
        self._bytes |= n_bytes
        self._numbered |= offsets is not None
        for slab in batch.slabs():
            scores = batch.score(slab)
            results.write(slab, scores)
            self._tally(
                slab.labels, scores, group_places[slab.places], sequence_places[slab.places]
            )
            self.n_rows += len(scores)
        return self

    def merge(self, other: "Scorecard") -> "Scorecard":
        """Add all that another scorecard of the same options has seen; returns the scorecard.

        Equal ids are the same group or sequence, but sequences of `offsets` are numbered on.
        """
        if other._options != self._options:
            raise ValueError("other has other options: merge scorecards that were built alike")
        if 0 not in (self.n_classes, other.n_classes) and other.n_classes != self.n_classes:
            raise ValueError(
                f"other has seen {other.n_classes} classes and this scorecard {self.n_classes}"
            )
        if other.n_classes:
            self._make_room(other.n_classes)
        first = self._next_sequence if self._numbered and other._numbered else 0
        self._bins.merge(other._bins)
        self._ranks.merge(other._ranks)
        self._classes.merge(other._classes)
        self._groups.merge(other._groups)
        self._sequences.merge(other._sequences, first)
        self._bytes |= {id_ + first: n for id_, n in other._bytes.items()}
        self._numbered |= other._numbered
        self.n_rows += other.n_rows
        return self

    def result(self) -> Scores:
        """All that is known of the rows seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        total = self._bins.total
        terms, means = Terms(*total[: len(Terms._fields)]), Means(total)
        if terms.weight == 0:
            warnings.warn("no row counts, so every mean is nan", RuntimeWarning, stacklevel=2)
        bins = Means(self._bins.sums[:-1])
        gaps = np.abs(bins.accuracy - bins.confidence)[bins.weight > 0]
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(means.loss))
        return Scores(
            n_rows=self.n_rows,
            n_counted=int(terms.n),
            n_undefined=int(terms.n_undefined),
            n_classes=self.n_classes,
            weight=float(terms.weight),
            loss=float(means.loss),
            loss_standard_error=float(means.loss_standard_error),
            perplexity=perplexity,
            accuracy=float(means.accuracy),
            accuracy_standard_error=float(means.accuracy_standard_error),
            mean_reciprocal_rank=float(means.mean_reciprocal_rank),
            brier=float(means.brier),
            calibration_error=_mean(gaps, bins.weight[bins.weight > 0]),
            maximum_calibration_error=float(gaps.max(initial=0.0)) if gaps.size else math.nan,
            entropy=float(means.entropy),
            confidence=float(means.confidence),
            bin_edges=np.linspace(0, 1, self._n_bins + 1),
            bins=bins,
            rank_weights=self._ranks.sums[:, 0],
            by_class=Means(self._classes.snapshot()) if self._by_class else None,
            groups=self._group_table(),
            sequences=self._sequence_table(),
        )

    def state(self) -> dict[str, Array]:
        """All that it has seen, as arrays that `np.savez` writes and reads without pickles."""
        return {
            "rows": np.array([self.n_rows, self.n_classes, self._numbered], np.int64),
            **self._bins.state("bins"),
            **self._ranks.state("ranks"),
            **self._classes.state("classes"),
            **self._groups.state("groups"),
            **self._sequences.state("sequences"),
            "bytes_ids": np.array(list(self._bytes), np.int64),
            "bytes": np.array(list(self._bytes.values())),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Array], **options: Any) -> "Scorecard":
        """A scorecard of these options that goes on where the one of that state was."""
        card = cls(**options)
        card.n_rows, card.n_classes, numbered = state["rows"].tolist()
        card._numbered = bool(numbered)
        card._bins = Tally.from_state("bins", state)
        card._ranks = Tally.from_state("ranks", state)
        card._classes = ClassTally.from_state("classes", state, card.n_classes * card._by_class)
        card._groups = KeyedTally.from_state("groups", state)
        card._sequences = KeyedTally.from_state("sequences", state)
        card._bytes = dict(zip(state["bytes_ids"].tolist(), state["bytes"].tolist(), strict=True))
        return card

    # ---------------------------------------------------------------------------------------------

    @property
    def _options(self) -> tuple[Any, ...]:
        return self._weighing, self._loss, self._n_bins, self._by_class, self._verb

    @property
    def _next_sequence(self) -> int:
        return max(self._sequences.index, default=-1) + 1

    def _make_room(self, n_classes: int) -> None:
        self.n_classes = n_classes
        self._ranks.grow(n_classes)
        if self._by_class:
            self._classes.grow(n_classes)

    def _sequence_ids(
        self, sequences: Any, offsets: Any, n_bytes: Any, batch: Rows
    ) -> tuple[Array | None, dict[int, float]]:
        """The sequence of each row, and the bytes of each of `offsets`."""
        if sequences is not None and offsets is not None:
            raise ValueError("give sequences or offsets, not both: each says which rows belong")
        if n_bytes is not None and offsets is None:
            raise ValueError("n_bytes is for the sequences of offsets, which are not given")
        if sequences is not None:
            if self._numbered:
                raise ValueError(
                    "sequences has ids, but those that came before were numbered, as they had "
                    "offsets: keep to one of the two"
                )
            return _ids(sequences, "sequences", batch.shape), {}
        if offsets is None:
            return None, {}
        if self._sequences.index and not self._numbered:
            raise ValueError(
                "offsets numbers sequences, but those that came before had ids of their own: keep "
                "to one of the two"
            )
        sizes = sizes_of(as_array(offsets, "offsets"), batch.n_rows)
        ids = np.arange(self._next_sequence, self._next_sequence + sizes.size)
        self._sequences.places(ids)  # those of no rows, too
        return np.repeat(ids, sizes), {} if n_bytes is None else dict(
            zip(ids.tolist(), _bytes(as_array(n_bytes, "n_bytes"), sizes.size), strict=True)
        )

    def _tally(self, labels: Array, scores: Array, groups: Array, sequences: Array) -> None:
        """Each table in a thread of its own, so that rows are added to it in order."""
        classes = self._classes
        tables = (
            (self._bins.pair, self._ranks.pair, _NO_TABLE, _NO_TABLE, _NO_TABLE),
            (_NO_TABLE, _NO_TABLE, classes.tally.pair, _NO_TABLE, _NO_TABLE),
            (_NO_TABLE, _NO_TABLE, _NO_TABLE, self._groups.tally.pair, _NO_TABLE),
            (_NO_TABLE, _NO_TABLE, _NO_TABLE, _NO_TABLE, self._sequences.tally.pair),
        )
        used = [given for given in tables if any(table[0].size for table in given)]
        numbers, ids, add = scores.reshape(-1), labels.reshape(-1).astype(np.int64), _tally_rows()

        def task(index: int) -> None:
            add(
                numbers,
                ids,
                classes.places,
                classes.n_met,
                groups,
                sequences,
                self._n_bins,
                np.empty(kernel.WIDTH + 1),
                *used[index],
            )
            missing.discard(index)

        missing = set(range(len(used)))
        try:
            _threads.run(task, len(used), parallel=len(scores) >= _PARALLEL_ROWS)
        except KeyboardInterrupt:
            for index in tuple(missing):  # rows are in all tables or in none
                task(index)
            raise

    def _group_table(self) -> Groups | None:
        if not self._groups.index:
            return None
        ids, sums = self._groups.sorted()
        return Groups(ids, Means(sums))

    def _sequence_table(self) -> Sequences | None:
        if not self._sequences.index:
            return None
        ids, sums = self._sequences.sorted()
        terms = Terms(*sums.T[: len(Terms._fields)])
        n_bytes = bits = None
        if self._bytes:
            n_bytes = np.array([self._bytes.get(id_, math.nan) for id_ in ids.tolist()])
            with np.errstate(divide="ignore", invalid="ignore"):
                bits = terms.loss / (math.log(2) * n_bytes)
        is_greedy = terms.correct == terms.weight
        return Sequences(ids, terms.n.astype(np.int64), 0.0 - terms.loss, is_greedy, n_bytes, bits)


def evaluate(
    labels: Any,
    logits: Any,
    /,
    *,
    sample_weight: Any = None,
    class_mask: Any = None,
    groups: Any = None,
    sequences: Any = None,
    offsets: Any = None,
    n_bytes: Any = None,
    rows: Mapping[str, Array] | Iterable[str] = (),
    top: int = 5,
    **options: Any,
) -> Scores:
    """Everything about labels and logits, in one pass and without an array as large as the logits.

    Loss with standard error, perplexity, accuracy, top-k accuracy for every k, mean reciprocal
    rank, Brier score, calibration, entropy and confidence; by class, group and sequence if wanted.

    `labels`, class ids of shape (...), and `logits` of shape (..., c). Options are those of
    `Scorecard`, and all else is as its `update` takes it, but that `class_mask` may have one axis,
    for all rows, and `rows` may be names: their arrays are then made, with `top` classes in the
    last two, and found in `scores.rows`.

    >>> import fastloss as fl
    >>> scores = fl.evaluate([0, 1, 1], [[2.0, 0.0], [0.5, 0.0], [0.0, 3.0]], rows=["rank"])
    >>> scores
    rows                  3
    classes               2
    loss                  0.383197 ± 0.3
    perplexity            1.46697
    accuracy              66.6667% ± 33.33%
    mean reciprocal rank  0.833333
    Brier score           0.269276
    calibration error     0.263
    entropy               0.406349
    confidence            0.81861
    >>> scores.rows["rank"], round(scores.top_k(1), 6)
    (array([0, 1, 0]), 0.666667)

    Sources: for the Brier score, G. W. Brier, Verification of forecasts expressed in terms of
    probability (1950); for the calibration error, C. Guo et al., On Calibration of Modern Neural
    Networks (2017).
    """
    if class_mask is not None and np.ndim(class_mask) == 1 != np.ndim(logits):
        options["class_mask"], class_mask = class_mask, None
    card = Scorecard(**options)
    arrays = rows if isinstance(rows, Mapping) else made(rows, labels, logits, top)
    card.update(
        labels,
        logits,
        sample_weight=sample_weight,
        class_mask=class_mask,
        groups=groups,
        sequences=sequences,
        offsets=offsets,
        n_bytes=n_bytes,
        rows=arrays,
    )
    return replace(card.result(), rows=dict(arrays))


@cache
def _tally_rows() -> Any:
    """The compiled loop; it writes into nothing but its tables."""
    examples = np.empty(0), *[_NO_KEYS] * 5, 1, np.empty(0), *[_NO_TABLE] * 5
    return compiler().serial(kernel.tally_rows, examples)


def _places(keyed: KeyedTally, ids: Array | None) -> Array:
    return _NO_KEYS if ids is None else keyed.places(ids)


def _ids(value: Any, name: str, shape: tuple[int, ...]) -> Array:
    """One integer for each row, in a line."""
    given = as_array(value, name)
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"{name} has dtype {given.dtype}, but holds ids: write {name}.astype(int)")
    if given.shape != shape:
        raise ValueError(
            f"{name} has shape {given.shape}, but there is one id for each row: expected {shape}"
        )
    if given.dtype == np.uint64 and (given >= 2**63).any():
        raise ValueError(f"{name} has ids of 2^63 and more, which do not fit into int64")
    return given.reshape(-1).astype(np.int64)


def sizes_of(offsets: Array, n_rows: int) -> Array:
    """The number of rows in each sequence."""
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or not offsets.size:
        raise TypeError(
            f"offsets has dtype {offsets.dtype} and shape {offsets.shape}, but holds the row "
            "numbers where sequences begin, and the end of the last: integers of shape (n + 1,)"
        )
    given = offsets.astype(np.int64)
    sizes = np.diff(given)
    if given[0] != 0 or given[-1] != n_rows or (sizes < 0).any():
        bad = np.flatnonzero(sizes < 0)
        where = f"; offsets[{bad[0] + 1}] is less than the one before it" if bad.size else ""
        raise ValueError(
            f"offsets goes from {given[0]} to {given[-1]}, but must go from 0 to {n_rows}, the "
            f"number of rows, and never back{where}"
        )
    return sizes


def _bytes(n_bytes: Array, n_sequences: int) -> list[float]:
    if n_bytes.shape != (n_sequences,):
        raise ValueError(
            f"n_bytes has shape {n_bytes.shape}, but there are {n_sequences} sequences in offsets"
        )
    if n_bytes.dtype.kind not in "iuf":
        raise TypeError(f"n_bytes has dtype {n_bytes.dtype}, but counts bytes")
    bad = np.flatnonzero(~((n_bytes >= 0) & (n_bytes < np.inf)))
    if bad.size:
        raise ValueError(f"n_bytes[{bad[0]}] is {n_bytes[bad[0]]}, but counts bytes")
    return n_bytes.astype(np.float64).tolist()  # type: ignore[no-any-return]


def _mean(numbers: Array, weights: Array) -> float:
    return float((numbers * weights).sum() / weights.sum()) if numbers.size else math.nan
