"""Everything about labels and logits in one pass: `evaluate`; and `Scorecard`, for parts."""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..bases.options import check_integer, check_switch
from ..bases.softmax import Softmax
from ..call import threads
from ..call.arrays import FLOAT64, Array, Format, as_array
from ..call.family import Batch
from ..call.verbs import SCORES, SCORES_AND_SPREAD, Verb
from ..compiler.interrupts import compiler
from ..kernels import tally as kernel
from ..kernels.tally import SLOPE_POWERS, Room, Terms
from ..losses.multiclass import CrossEntropy
from .accumulator import (
    PARALLEL_ROWS,
    PENDING_ROWS,
    Accumulator,
    check_options,
    options_of,
    options_state,
)
from .row_results import RowResults, made
from .rows import Rows, warn_of_probabilities
from .scores import LAYOUT, Groups, Means, Scores, Sequences
from .tally import HISTOGRAM, NO_ROOM, Layout, Table, entry

_NO_KEYS, _NO_NUMBERS = np.empty(0, np.int64), np.empty(0)
_NO_TERMS = Terms(*np.zeros(kernel.WIDTH))
_NAMED, _NUMBERED = "named", "numbered"
_KINDS = ("", _NAMED, _NUMBERED)


class _Part(NamedTuple):
    """Rows that were scored and are not yet added up, and the sequences that came with them."""

    scores: Array  # of shape (rows, scores)
    labels: Array
    groups: Array | None
    sequences: Array | None
    # Sequences, which may have no rows, and the bytes of each, NaN if they are not known.
    ids: Array = _NO_KEYS
    n_bytes: Array = _NO_NUMBERS


class _Sums(NamedTuple):
    """What a scorecard has seen. It is never changed: whoever adds to it makes another."""

    n_bins: int
    tables: dict[str, Table]
    n_rows: int = 0
    n_classes: int = 0  # 0 until the first rows say so
    sequences: str = ""  # whether they are named or numbered, if there are any
    next_sequence: int = 0
    bytes_ids: Array = _NO_KEYS
    n_bytes: Array = _NO_NUMBERS
    pending: tuple[_Part, ...] = ()
    n_pending: int = 0

    def check(self, n_classes: int, sequences: str, other: bool = False) -> None:
        """Raise ValueError unless such rows, of another scorecard or not, go with those here."""
        if n_classes and self.n_classes not in (0, n_classes):
            raise ValueError(
                f"other has seen {n_classes} classes and this scorecard {self.n_classes}"
                if other
                else f"logits have {n_classes} classes on the last axis, but those that came "
                f"before have {self.n_classes}: keep a scorecard for each"
            )
        if sequences and self.sequences not in ("", sequences):
            raise ValueError(
                ("other" if other else "sequences" if sequences == _NAMED else "offsets")
                + (
                    " has ids, but those that came before were numbered, as they had offsets"
                    if sequences == _NAMED
                    else " numbers sequences, but those that came before had ids of their own"
                )
                + ": keep to one of the two"
            )

    def plus(self, other: "_Sums", first: int = 0) -> "_Sums":
        """With the rows of another, whose sequences have numbers that are so much larger here."""
        if first:
            other = other._shifted(first)
        both = self._replace(
            n_rows=self.n_rows + other.n_rows,
            n_classes=self.n_classes or other.n_classes,
            sequences=self.sequences or other.sequences,
            next_sequence=max(self.next_sequence, other.next_sequence),
        )
        if any(table.n_keys for table in other.tables.values()):
            mine, its = self.added_up(), other.added_up()
            return both._replace(
                tables={
                    name: table.merged(its.tables[name]) for name, table in mine.tables.items()
                },
                bytes_ids=np.append(mine.bytes_ids, its.bytes_ids),
                n_bytes=np.append(mine.n_bytes, its.n_bytes),
                pending=(),
                n_pending=0,
            )
        return both._replace(
            pending=self.pending + other.pending, n_pending=self.n_pending + other.n_pending
        )

    def settled(self) -> "_Sums":
        """The same with few rows pending."""
        n_keys = sum(table.n_keys for table in self.tables.values())
        return self.added_up() if self.n_pending >= max(PENDING_ROWS, n_keys) else self

    def _shifted(self, first: int) -> "_Sums":
        """The same with larger numbers of sequences."""
        table = self.tables["sequences"]
        return self._replace(
            tables=self.tables | {"sequences": table._replace(ids=table.ids + first)},
            next_sequence=self.next_sequence + first,
            bytes_ids=self.bytes_ids + first,
            pending=tuple(
                part._replace(
                    sequences=None if part.sequences is None else part.sequences + first,
                    ids=part.ids + first,
                )
                for part in self.pending
            ),
        )

    def added_up(self) -> "_Sums":
        """The same with no rows pending."""
        if not self.pending:
            return self
        ids = _joined([part.ids for part in self.pending])
        n_bytes = _joined([part.n_bytes for part in self.pending])
        known = ~np.isnan(n_bytes)
        return self._replace(
            tables=_added_up(self, ids),
            bytes_ids=np.append(self.bytes_ids, ids[known]),
            n_bytes=np.append(self.n_bytes, n_bytes[known]),
            pending=(),
            n_pending=0,
        )


def _joined(arrays: list[Array]) -> Array:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def _added_up(sums: _Sums, sequences: Array) -> dict[str, Table]:
    """The tables with the rows that are pending, and with these sequences.

    Each table is added to by a thread of its own, so that its rows come in order.
    """
    scores = _joined([part.scores for part in sums.pending])
    labels = _joined([part.labels for part in sums.pending])
    tables = dict(sums.tables)
    ids = {}
    tasks = []

    def room(name: str, n_keys: int) -> Room:
        return tables[name].room(n_keys, len(scores))

    def add(
        name: str, what: int, n_keys: int, keys: Array = _NO_KEYS, ranks: Room = NO_ROOM
    ) -> None:
        tasks.append((name, what, keys, room(name, n_keys), ranks))

    def add_by_id(name: str, given: list[Array | None], more: Array) -> None:
        """By any integers, which rows have or not; some have no rows."""
        known = [part for part in given if part is not None]
        if not known and not more.size:
            return
        every = ids[name] = np.unique(np.concatenate([tables[name].ids, more, *known]))
        places = [
            np.full(len(part.labels), -1) if part_ids is None else np.searchsorted(every, part_ids)
            for part, part_ids in zip(sums.pending, given, strict=True)
        ]
        tables[name] = tables[name].with_keys(every)._replace(ids=np.arange(len(every)))
        add(name, kernel.KEYS, len(every), _joined(places))

    ranks = room("ranks", sums.n_classes)
    add("bins", kernel.BINS, sums.n_bins + 1, ranks=ranks)
    if "classes" in tables:
        add("classes", kernel.KEYS, sums.n_classes, labels)
    add_by_id("groups", [part.groups for part in sums.pending], _NO_KEYS)
    add_by_id("sequences", [part.sequences for part in sums.pending], sequences)
    if "slopes" in tables:
        add("slopes", kernel.SLOPES, 1)
    numbers, tally = scores.reshape(-1), _tally_rows()

    def task(index: int) -> None:
        name, what, keys, *rooms = tasks[index]
        powers = tables[name].layout.powers
        tally(numbers, keys, what, sums.n_bins, powers, np.empty(2 * len(powers)), *rooms)

    threads.run(task, len(tasks), parallel=len(scores) >= PARALLEL_ROWS)
    for name, _, _, filled, _ in tasks:
        table = tables[name].filled(filled)
        tables[name] = table._replace(ids=ids[name]) if name in ids else table
    tables["ranks"] = tables["ranks"].filled(ranks)
    return tables


@dataclass(frozen=True)
class _Logits(CrossEntropy):
    """A cross-entropy at any temperature."""

    def _describe(self) -> Softmax:
        return _OfAnyTemperature(self)


class _OfAnyTemperature(Softmax):
    def arithmetic(self, batch: Batch) -> Format:
        # Beyond float32 the inverse of a temperature is 0 or infinite there.
        return super().arithmetic(batch) if 1e-37 < self.loss.temperature < 1e37 else FLOAT64


class Scorecard(Accumulator[_Sums]):
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
    bits. An update that raises, or is interrupted anywhere, has changed nothing or is there as a
    whole, and several threads may update one scorecard. Weights count by their ratios alone.

    The rank of a label is the number of classes before it, sorted by their logits, the lower class
    id first where those are equal: as `np.argmax` does, so that rank 0 means that the label is the
    prediction. (scikit-learn's `top_k_accuracy_score` takes the higher id first.)
    """

    _verb: Verb = SCORES

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
        self._loss = _Logits(
            reduction="sum",
            ignore_index=ignore_index,
            class_mask=class_mask,
            softcap=softcap,
            temperature=temperature,
        )
        check_switch("by_class", by_class)
        self._n_bins, self._by_class = int(n_bins), by_class
        super().__init__(self._nothing)

    @property
    def n_rows(self) -> int:
        """How many rows were added, those that do not count included."""
        return self._sums.n_rows

    @property
    def n_classes(self) -> int:
        """The size of the last axis of the logits; 0 before the first ones."""
        return self._sums.n_classes

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
          not known, as for a row with NaN, is NaN, or -1 where numbers are integers. They may not
          share memory with what is read, nor with one another.

        Returns the scorecard itself. Raises what `CrossEntropy` raises, before anything is changed.
        Warns with UserWarning if the first rows that come seem to be probabilities, not logits.
        """
        logits = as_array(logits, "logits")
        if self._sums.n_rows == 0:
            warn_of_probabilities(logits)
        return self._update(
            labels,
            logits,
            sample_weight=sample_weight,
            class_mask=class_mask,
            groups=groups,
            sequences=sequences,
            offsets=offsets,
            n_bytes=n_bytes,
            rows=rows,
        )

    def _update(
        self,
        labels: Any,
        logits: Any,
        *,
        sample_weight: Any = None,
        class_mask: Any = None,
        groups: Any = None,
        sequences: Any = None,
        offsets: Any = None,
        n_bytes: Any = None,
        numbers: Any = None,
        rows: Mapping[str, Array] | None = None,
    ) -> "Scorecard":
        """`update` without a warning. `numbers` are those of sequences of several scorecards."""
        batch = Rows(
            labels, logits, sample_weight, class_mask, self._loss, self._weighing, self._verb
        )
        if sequences is not None and offsets is not None:
            raise ValueError("give sequences or offsets, not both: each says which rows belong")
        if n_bytes is not None and offsets is None:
            raise ValueError("n_bytes is for the sequences of offsets, which are not given")
        kind = _NAMED if sequences is not None else ""
        if offsets is not None or numbers is not None:
            kind = _NUMBERED
        self._sums.check(batch.n_classes, kind)
        group_ids = None if groups is None else _ids(groups, "groups", batch.shape)
        sequence_ids = None
        sums = self._nothing._replace(n_classes=batch.n_classes, sequences=kind)
        if offsets is not None:
            sizes = sizes_of(as_array(offsets, "offsets"), batch.n_rows)
            sequence_ids = np.repeat(np.arange(sizes.size), sizes)
            sums = sums._replace(**_numbered(sizes.size, n_bytes))
        elif kind:
            given = sequences if numbers is None else numbers
            sequence_ids = _ids(given, "sequences", batch.shape)
        inputs = {
            "sample_weight": sample_weight,
            "class_mask": class_mask,
            "groups": groups,
            "sequences": sequences,
            "offsets": offsets,
            "n_bytes": n_bytes,
        }
        results = RowResults(rows or {}, batch, self._loss, inputs)

        for slab in batch.slabs():
            scores = batch.score(slab)
            results.write(slab, scores)
            part = _Part(
                scores,
                slab.labels.reshape(-1).astype(np.int64),
                None if group_ids is None else group_ids[slab.places],
                None if sequence_ids is None else sequence_ids[slab.places],
            )
            n = len(scores)
            new = self._nothing._replace(n_rows=n, pending=(part,), n_pending=n)
            sums = sums.settled().plus(new)
        self._add(sums)
        return self

    def merge(self, other: "Scorecard") -> "Scorecard":
        """Add all that another scorecard of the same options has seen; returns the scorecard.

        Equal ids are the same group or sequence, but sequences of `offsets` are numbered on.
        """
        if not isinstance(other, Scorecard):
            raise TypeError(f"other must be a Scorecard, got {type(other).__name__}")
        mine, its = self._options, other._options
        for name, value in its.items():
            if mine.get(name) != value:
                raise ValueError(
                    f"other has other options: merge scorecards that were built alike; {name} is "
                    f"{value} there and {mine.get(name)} here"
                )
        self._add(other._sums, other=True)
        return self

    def result(self) -> Scores:
        """All that is known of the rows seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        sums = self._sums.added_up()
        tables = sums.tables
        total = tables["bins"].total()
        # Weights of classes are told to kernels short of 2 to this.
        exponent = self._weighing._softmax.class_weight[1]
        means = Means(total, 1, exponent).to_dict()
        (found,) = (Terms(*row) for row in total.sums) if total.n_keys else (_NO_TERMS,)
        if found.n == 0:
            warnings.warn("no row counts, so every mean is nan", RuntimeWarning, stacklevel=2)
        bins = tables["bins"].select(tables["bins"].ids < self._n_bins)
        error, largest = _calibration_errors(bins)
        ranks, relative = tables["ranks"], np.zeros(sums.n_classes)
        relative[ranks.ids] = ranks.sums[:, 0] * (found.scale / ranks.sums[:, 1])
        with np.errstate(over="ignore", under="ignore"):
            perplexity = float(np.exp(means["loss"][0]))
            rank_weights = np.ldexp(relative / (found.scale or 1.0), exponent)
        names = (
            "weight",
            "loss",
            "loss_standard_error",
            "accuracy",
            "accuracy_standard_error",
            "mean_reciprocal_rank",
            "brier",
            "entropy",
            "confidence",
        )
        return Scores(
            n_rows=sums.n_rows,
            n_counted=int(found.n),
            n_undefined=int(found.n_undefined),
            n_classes=sums.n_classes,
            **{name: means[name][0] for name in names},
            perplexity=perplexity,
            calibration_error=error,
            maximum_calibration_error=largest,
            bin_edges=np.arange(self._n_bins + 1) / self._n_bins,
            bins=Means(bins, self._n_bins, exponent),
            rank_weights=rank_weights,
            by_class=(
                Means(tables["classes"], sums.n_classes, exponent) if self._by_class else None
            ),
            groups=_groups(tables["groups"], exponent),
            sequences=_sequence_table(sums, exponent),
            _rank_sums=(relative, found.weight),
        )

    def state(self) -> dict[str, Array]:
        """All that it has seen, as arrays that `np.savez` writes and reads without pickles."""
        sums = self._sums.added_up()
        kind = _KINDS.index(sums.sequences)
        numbers = [sums.n_rows, sums.n_classes, kind, sums.next_sequence]
        state = options_state(self._options) | {"rows": np.array(numbers, np.int64)}
        for name, table in sums.tables.items():
            state |= table.state(name)
        return state | {"bytes_ids": sums.bytes_ids.copy(), "bytes": sums.n_bytes.copy()}

    @classmethod
    def from_state(cls, state: Mapping[str, Array], **options: Any) -> "Scorecard":
        """A scorecard of these options that goes on where the one of that state was.

        Raises ValueError for a state that is not one, is damaged, or is of other options.
        """
        card = cls(**options)
        check_options(state, card._options)
        n_rows, n_classes, kind, next_sequence = entry(state, "rows", np.int64, (4,)).tolist()
        if min(n_rows, n_classes, next_sequence) < 0 or not 0 <= kind < len(_KINDS):
            raise ValueError("'rows' of the state are not what they were: it is damaged")
        most = {"bins": card._n_bins + 1, "ranks": n_classes, "classes": n_classes, "slopes": 1}
        tables = {
            name: Table.from_state(table.layout, name, state, most.get(name))
            for name, table in card._sums.tables.items()
        }
        ids, bytes_ids = tables["sequences"].ids, entry(state, "bytes_ids", np.int64, (None,))
        n_bytes = entry(state, "bytes", np.float64, (len(bytes_ids),))
        numbered = _KINDS[kind] == _NUMBERED
        if (
            (ids.size and not kind)
            or (numbered and not ((ids >= 0) & (ids < next_sequence)).all())
            or not (np.isin(bytes_ids, ids).all() and len(np.unique(bytes_ids)) == len(bytes_ids))
            or not ((n_bytes >= 0) & (n_bytes < np.inf)).all()
        ):
            raise ValueError("the sequences of the state are not what they were: it is damaged")
        card._sums = card._sums._replace(
            tables=tables,
            n_rows=n_rows,
            n_classes=n_classes,
            sequences=_KINDS[kind],
            next_sequence=next_sequence,
            bytes_ids=bytes_ids,
            n_bytes=n_bytes,
        )
        return card

    # ---------------------------------------------------------------------------------------------

    @property
    def _options(self) -> dict[str, Any]:
        """By name, each equal to that of any scorecard that does the same."""
        return options_of(self._loss) | {
            "class_weight": self._weighing.class_weight,
            "n_bins": self._n_bins,
            "by_class": self._by_class,
            "scores": self._verb.name,
            "columns": Terms._fields,
        }

    @property
    def _nothing(self) -> _Sums:
        layouts = {"bins": LAYOUT, "ranks": HISTOGRAM, "groups": LAYOUT, "sequences": LAYOUT}
        if self._by_class:
            layouts["classes"] = LAYOUT
        if self._verb is SCORES_AND_SPREAD:
            layouts["slopes"] = Layout(SLOPE_POWERS)
        return _Sums(self._n_bins, {name: Table.empty(layout) for name, layout in layouts.items()})

    def _add(self, sums: _Sums, *, other: bool = False, numbered_on: bool = True) -> None:
        """Add what was seen elsewhere, and number its sequences on."""

        def change(before: _Sums) -> _Sums:
            before.check(sums.n_classes, sums.sequences, other)
            first = before.next_sequence if numbered_on and sums.sequences == _NUMBERED else 0
            return before.plus(sums, first).settled()

        self._replace(change)


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
    logits = as_array(logits, "logits")
    arrays = rows if isinstance(rows, Mapping) else made(rows, labels, logits, top)
    warn_of_probabilities(logits)
    card._update(
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
    """The compiled loop; it writes into nothing but the room."""
    examples = _NO_NUMBERS, _NO_KEYS, 1, 1, _NO_KEYS, _NO_NUMBERS, NO_ROOM, NO_ROOM
    return compiler().load_or_compile(kernel.tally_rows, examples)


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


def _numbered(n: int, n_bytes: Any) -> dict[str, Any]:
    """What is known of n new sequences, before their rows come."""
    known = np.full(n, math.nan) if n_bytes is None else _bytes(as_array(n_bytes, "n_bytes"), n)
    nothing = np.empty((0, kernel.N_SCORES)), _NO_KEYS, None, None
    part = _Part(*nothing, np.arange(n), known)
    return {"next_sequence": n, "pending": (part,), "n_pending": n}


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


def _calibration_errors(bins: Table) -> tuple[float, float]:
    """The mean over the weights of the bins, and the largest."""
    if not bins.n_keys:
        return math.nan, math.nan
    terms = Terms(*bins.sums.T)
    gaps = np.abs(terms.correct - terms.confidence) / terms.weight
    weights = terms.weight * (terms.scale.min() / terms.scale)
    return float((gaps * weights).sum() / weights.sum()), float(gaps.max())


def _groups(table: Table, exponent: int) -> Groups | None:
    if not table.n_keys:
        return None
    return Groups(
        table.ids, Means(table._replace(ids=np.arange(table.n_keys)), table.n_keys, exponent)
    )


def _sequence_table(sums: _Sums, exponent: int) -> Sequences | None:
    table = sums.tables["sequences"]
    if not table.n_keys:
        return None
    terms = Terms(*table.sums.T)
    with np.errstate(all="ignore"):
        losses = np.ldexp(np.where(terms.n > 0, terms.loss / terms.scale, 0.0), exponent)
        n_bytes = bits = None
        if sums.n_bytes.size:
            n_bytes = np.full(table.n_keys, math.nan)
            n_bytes[np.searchsorted(table.ids, sums.bytes_ids)] = sums.n_bytes
            bits = losses / (math.log(2) * n_bytes)
    is_greedy = terms.n_correct == terms.n
    return Sequences(table.ids, terms.n.astype(np.int64), 0.0 - losses, is_greedy, n_bytes, bits)
