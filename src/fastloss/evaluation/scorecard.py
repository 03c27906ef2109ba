"""Everything about labels and logits in one pass: `Scorecard`, for parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bases.options import check_integer, check_switch
from ..bases.softmax import Softmax
from ..call.arrays import FLOAT64, Array, Format
from ..call.family import Batch
from ..call.verbs import SCORES, SCORES_AND_SPREAD, Verb
from ..kernels.form import RowScores
from ..kernels.tally import Terms
from ..losses.multiclass import CrossEntropy, cross_entropy
from .given import Given
from .resampling import check_replicates
from .result import warn_of_nothing
from .row_results import RowResults
from .rows import Rows, Slab, warn_of_probabilities
from .scores import Scores, scores_of
from .sums.accumulator import Accumulator
from .sums.class_bins import with_rows
from .sums.row_sums import (
    Kept,
    RowSums,
    ScoredRows,
    confidences_of,
    resampled_rows,
    tokens_of,
)
from .sums.score_table import check_memory_limit
from .sums.state import options_of
from .sums.table import Table
from .tensors import as_array

# Of so many numbers probabilities are there at a time, but for few bins of many classes.
PROBABILITIES = 1 << 20
# Classes of a confusion matrix, at most: it takes 128 MiB.
MOST_CONFUSED = 4096
# As they were called when they were pickled.
_Sums, _Part = RowSums, ScoredRows


@dataclass(frozen=True)
class _Logits(CrossEntropy):
    """A cross-entropy at any temperature."""

    def _describe(self) -> Softmax:
        return _OfAnyTemperature(self)


class _OfAnyTemperature(Softmax):
    def arithmetic(self, batch: Batch) -> Format:
        # Beyond float32 the inverse of a temperature is 0 or infinite there.
        return super().arithmetic(batch) if 1e-37 < self.loss.temperature < 1e37 else FLOAT64


_PLAIN = _Logits(reduction="sum")


class Scorecard(Accumulator[RowSums]):
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
    lower edge; `by_class=False` keeps no table of classes, which takes 312 bytes for each of
    those that are met; `confusion=True` keeps the confusion matrix, of at most 4,096 classes, in 56
    bytes for each pair of label and prediction that is met; `bootstrap` is the number of replicates
    of a Poisson bootstrap, 0 for none: each row then takes a few microseconds for each thousand;
    `by_confidence=True` keeps the confidence of each row, in 8 bytes and 16 with weights, for risk
    and coverage and the equal-mass calibration error; what is beyond `memory_limit` bytes lies in
    temporary files, as `BinaryScorecard` has it; `tokens=True` keeps loss and rank of each row
    of sequences, in 20 bytes, for their `top_k` and `min_k`; `classwise=True` finds the classwise
    calibration error, for which the probability of every class has its bin: this takes many times
    as long as all else, and 48 bytes for each bin of a class that is met.

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
        confusion: bool = False,
        bootstrap: int = 0,
        by_confidence: bool = False,
        tokens: bool = False,
        classwise: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        check_integer("n_bins", n_bins)
        if n_bins < 1:
            raise ValueError(f"n_bins is {n_bins}, but must be 1 or more")
        # Most cards have no weights of classes, and no options of logits: they share what is known
        # of such losses.
        self._weighing = (
            cross_entropy if class_weight is None else CrossEntropy(class_weight=class_weight)
        )
        is_plain = type(temperature) is float and temperature == 1.0
        if is_plain and ignore_index is class_mask is softcap is None:
            self._loss = _PLAIN
        else:
            self._loss = _Logits(
                reduction="sum",
                ignore_index=ignore_index,
                class_mask=class_mask,
                softcap=softcap,
                temperature=temperature,
            )
        switches = {
            "by_class": by_class,
            "confusion": confusion,
            "by_confidence": by_confidence,
            "tokens": tokens,
            "classwise": classwise,
        }
        for name, value in switches.items():
            check_switch(name, value)
        self._n_bins = int(n_bins)
        self._kept = Kept(
            **switches,
            bootstrap=check_replicates(bootstrap),
            slopes=self._verb is SCORES_AND_SPREAD,
            memory_limit=check_memory_limit(memory_limit),
        )
        super().__init__(self._nothing)

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
        clusters: Any = None,
        ids: Any = None,
        rows: Mapping[str, Array] | None = None,
    ) -> "Scorecard":
        """Add rows: `labels`, class ids of shape (...), and `logits` of shape (..., c).

        - `sample_weight` of the shape of the labels; `class_mask`, booleans of the shape of the
          logits, as `CrossEntropy` takes them;
        - `groups`: an integer, a text or a category for each row, or several columns of these as a
          dictionary or data frame, each combination of which is a group: whose results are then
          given apart;
        - `sequences`: any integer for each row, the same for all rows of a sequence, which may go
          on in another call; or `offsets`: where each sequence of this call begins, and the end of
          the last, n + 1 row numbers, for sequences that are numbered as they come;
        - `n_bytes`: the bytes that each sequence of `offsets` stands for, for bits per byte;
        - `clusters`: any integer for each row, the same for rows that belong together, such as
          those of a person or a document; or names, as of groups. All parts have ids of one kind,
          as 1 and "1" are two clusters. If each row has one, standard errors of the loss and
          accuracy take clusters to be independent, not rows. So they do of sequences, where there
          are no clusters;
        - `ids`: any integer for each row, which no other row has, if rows are independent and
          there is a bootstrap, which knows rows by them, or by `clusters` or `sequences`. It is the
          same wherever a row comes, so that parts and merges change nothing, and two models are
          resampled alike: its number in the whole data, for one;
        - `rows`: arrays to write results of each row into, by name: "loss", "log_sum_exp",
          "prediction", "rank", "entropy", "confidence", "brier", "largest_logit" (with its softcap,
          but not divided by the temperature) and "energy" (the log-sum-exp times the temperature,
          large for rows like those of the training) of the shape of the labels, "top_classes" and
          "top_log_probs" of shape (..., k). Memory-mapped arrays will do. What is not known, as for
          a row with NaN, is NaN, or -1 where numbers are integers. They may not share memory with
          what is read, nor with one another.

        Returns the scorecard itself. Raises what `CrossEntropy` raises, before anything is changed.
        Warns with UserWarning if the first rows that come seem to be probabilities, not logits.
        """
        logits = as_array(logits, "logits")
        if self._sums.n_rows == 0:
            warn_of_probabilities(logits)
        given = Given(sample_weight, class_mask, groups, sequences, offsets, n_bytes, clusters, ids)
        return self._update(labels, logits, given, rows or {})

    def _update(
        self, labels: Any, logits: Any, given: Given, results: Mapping[str, Array] | None = None
    ) -> "Scorecard":
        """`update` without a warning."""
        weight, mask = given.sample_weight, given.class_mask
        rows = Rows(labels, logits, weight, mask, self._loss, self._weighing, self._verb)
        groups, names = given.groups_of(rows.shape)
        sequences = given.sequences_of(rows.shape)
        sums = self._nothing._replace(n_classes=rows.n_classes, sequences=given.kind)
        if groups is not None:
            sums = sums.with_part("group_names", names)
        self._sums.check(sums)
        self._check_classes(rows.n_classes)
        sampled = given.sampled_of(rows.shape, self._kept.bootstrap)
        if given.offsets is not None:
            new = given.new_sequences()
            n = len(new.ids)
            sums = sums._replace(next_sequence=n, pending=(new,), n_pending=n)
        outputs = RowResults(results or {}, rows, self._loss, given._asdict())

        for slab in rows.slabs():
            scores = rows.score(slab)
            outputs.write(slab, scores)
            mine = slab.places
            its = sampled.at(mine)
            scored = ScoredRows(
                scores,
                slab.labels.reshape(-1).astype(np.int64),
                None if groups is None else groups[mine],
                None if sequences is None else sequences[mine],
                its.clusters,
            )
            sums = sums.with_rows(scored, len(scores))
            more: dict[str, Any] = {}
            if its.draws is not None:
                more["bootstrap"] = resampled_rows(self._kept.bootstrap, its.draws, scores)
            if self._kept.by_confidence:
                more["confidences"] = confidences_of(scores)
            if self._kept.tokens and sequences is not None:
                more["tokens"] = tokens_of(scores, sequences[mine])
            for name, part in more.items():
                sums = sums.with_part(name, sums.parts[name].merged(part))
            if self._kept.classwise:
                sums = sums.with_part(
                    "classwise", self._classwise(sums.parts["classwise"], slab, scores)
                )
        self._add(sums)
        return self

    def _classwise(self, table: Table, slab: Slab, scores: Array) -> Table:
        """The table of classes and bins with more rows, whose probabilities come bit by bit."""
        row = RowScores(*scores.T)
        weights = np.where(np.isnan(row.loss), 0.0, row.weight)
        labels, c = slab.labels.reshape(-1).astype(np.int64), slab.logits.shape[-1]
        logits = slab.logits.reshape(-1, c)
        mask = None if slab.mask is None else slab.mask.reshape(-1, c)
        # A table is copied each time, so that rows are some times as many numbers as it may have.
        step = max(PROBABILITIES // c, 4 * self._n_bins)
        for start in range(0, len(logits), step):
            part = np.s_[start : start + step]
            # What is rounded to 16 bits would fall into other bins.
            wide = np.float32 if np.can_cast(logits.dtype, np.float32) else np.float64
            inside = None if mask is None else mask[part]
            p = self._loss.proba(logits[part].astype(wide), class_mask=inside)
            table = with_rows(table, p, labels[part], weights[part], self._n_bins)
        return table

    def _check_classes(self, n_classes: int) -> None:
        if self._kept.confusion and n_classes > MOST_CONFUSED:
            raise ValueError(
                f"confusion is True, but there are {n_classes:,} classes: a matrix has at most "
                f"{MOST_CONFUSED:,}. Precision, recall and F1 are in by_class without it, and the "
                'prediction of each row is in rows=["prediction"]'
            )

    def result(self) -> Scores:
        """All that is known of the rows seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        # Kernels get the weights of classes divided by 2 to this.
        _, exponent = self._weighing._softmax.class_weight
        scores = scores_of(self._added_up(), exponent, self._kept)
        warn_of_nothing(scores.n_counted)
        return scores

    # ---------------------------------------------------------------------------------------------

    @property
    def _options(self) -> dict[str, Any]:
        """By name, each equal to that of any scorecard that does the same."""
        return options_of(self._loss) | {
            "class_weight": self._weighing.class_weight,
            "n_bins": self._n_bins,
            **self._kept.options(),
            "columns": Terms._fields,
        }

    @property
    def _nothing(self) -> RowSums:
        return RowSums.of_nothing(self._n_bins, self._kept)
