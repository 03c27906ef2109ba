"""Everything about labels of two classes and scores in one pass: `BinaryScorecard`."""

from typing import Any

import numpy as np

from ...bases.options import check_integer, check_switch
from ...call.arrays import Array, format_of
from ...kernels.binary_terms import BinaryTerms
from ..given import Given, checked_weight
from ..resampling import check_replicates
from ..result import warn_of_nothing
from ..sums.accumulator import Accumulator
from ..sums.binary_sums import BinaryRows, BinarySums, Manner
from ..sums.score_keys import check_held
from ..sums.score_table import ScoreTable, check_memory_limit
from ..tensors import as_array
from .binary_inputs import (
    binary_labels,
    check_probabilities,
    warn_of_probabilities,
)
from .binary_scores import BinaryScores, scores_of


class BinaryScorecard(Accumulator[BinarySums]):
    """Adds up everything about labels of two classes and scores that come in parts.

    >>> import fastloss as fl
    >>> card = fl.BinaryScorecard()
    >>> _ = card.update([0, 1], [-2.0, 0.5])
    >>> _ = card.update([1], [3.0])
    >>> scores = card.result()
    >>> scores.n_rows, round(scores.loss, 12), round(scores.accuracy, 4)
    (3, 0.216530782266, 1.0)

    Options: `from_probabilities=True` if scores are not logits but probabilities of label 1, which
    are checked and never clipped; `thresholds`, at and above which a score means label 1, in the
    unit of the scores (0.0, or 0.5 of probabilities); `n_bins` of equal width between 0 and 1 for
    the calibration error, each with its lower edge. What depends on the order of scores, as the
    areas under both curves, is exact and takes 4 bytes a row of float32 (8 of float64, half a
    megabyte in all of 16 bits); with `bins=2**20`, it lies in an interval that is given, and takes
    16 MiB however many rows there are; with `ranks=False` it is left out. With `memory_limit`
    scores beyond so many bytes lie in temporary files, which have no names and are gone with the
    scorecard or its process, and results are the same to the bit; those of groups stay in memory.
    Of rows with clusters the score is kept once more, in 17 bytes a row and 25 with weights, for
    the error of the area under the ROC curve; `memory_limit` is that of these, too.
    `bootstrap` is the number of replicates of a Poisson bootstrap of loss, Brier score and
    accuracy, 0 for none.

    Sums are kept in twice the precision of float64. Whatever the parts are and in whatever order
    they are merged, results agree to 1e-15 relative; the same parts in the same order give the same
    bits. An update that raises, or is interrupted anywhere, has changed nothing or is there as a
    whole, and several threads may update one scorecard. Weights count by their ratios alone.
    """

    def __init__(
        self,
        *,
        from_probabilities: bool = False,
        thresholds: Any = None,
        n_bins: int = 15,
        ranks: bool = True,
        bins: int | None = None,
        bootstrap: int = 0,
        memory_limit: int | None = None,
    ) -> None:
        check_switch("from_probabilities", from_probabilities)
        check_switch("ranks", ranks)
        check_integer("n_bins", n_bins)
        if n_bins < 1:
            raise ValueError(f"n_bins is {n_bins}, but must be 1 or more")
        if thresholds is None:
            thresholds = [0.5 if from_probabilities else 0.0]
        self._manner = Manner(
            bool(from_probabilities),
            _checked_thresholds(thresholds),
            int(n_bins),
            bool(ranks),
            ScoreTable.empty(bins).bins,
            check_replicates(bootstrap),
            check_memory_limit(memory_limit),
        )
        super().__init__(self._nothing)

    def update(
        self,
        labels: Any,
        predictions: Any,
        /,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        clusters: Any = None,
        ids: Any = None,
    ) -> "BinaryScorecard":
        """Add rows: `labels`, 0 or 1, and `predictions`, logits or probabilities of label 1.

        Both have the same shape, and every one of their elements is a row. `sample_weight` and
        `groups` have that shape, too: a weight, and an integer, a text or a category, or several
        columns of these as `Scorecard` takes them, whose results are then given apart. Rows of
        weight 0 count nowhere. `clusters` and `ids` of that shape are as `Scorecard.update` has
        them: rows of a cluster belong together, in standard errors and the bootstrap.

        Returns the scorecard itself. Raises TypeError or ValueError before anything is changed: for
        labels that are neither 0 nor 1, probabilities outside [0, 1], weights that are negative or
        not finite, and for shapes that differ. Warns with UserWarning if the first logits that come
        seem to be probabilities.
        """
        labels, scores = as_array(labels, "labels"), as_array(predictions, "predictions")
        format_of(labels, "labels")
        format_of(scores, "predictions")
        _check_shapes(labels, scores)
        given = Given(groups=groups, clusters=clusters, ids=ids)
        group_ids, names = given.groups_of(labels.shape)
        sampled = given.sampled_of(labels.shape, self._manner.bootstrap)
        new = self._nothing.with_part("group_names", names)
        self._sums.check(new)
        weight = checked_weight(sample_weight, labels.shape)
        binary = binary_labels(labels)
        if self._manner.ranks:
            check_held(scores, "predictions")
        if self._manner.from_probabilities:
            check_probabilities(scores)
        elif self._sums.n_rows == 0:
            warn_of_probabilities(scores)
        rows = BinaryRows(binary, scores, weight, group_ids, *sampled)
        self._add(new.with_new(rows.each(lambda array: array.reshape(-1))))
        return self

    def result(self) -> BinaryScores:
        """All that is known of the rows seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        scores = scores_of(self._added_up())
        warn_of_nothing(scores.n_counted)
        return scores

    @property
    def _options(self) -> dict[str, Any]:
        return self._manner.options() | {"columns": BinaryTerms._fields}

    @property
    def _nothing(self) -> BinarySums:
        return BinarySums(self._manner, self._manner.nothing())


def _checked_thresholds(thresholds: Any) -> tuple[float, ...]:
    given = np.asarray(thresholds)
    if given.dtype.kind not in "iuf" or given.ndim != 1 or not given.size or np.isnan(given).any():
        raise ValueError(
            f"thresholds is {thresholds!r}, but must be a list of numbers, of one at least: write "
            "thresholds=[0.0] for logits of 0 and more"
        )
    return tuple(map(float, given))


def _check_shapes(labels: Array, scores: Array) -> None:
    if labels.shape == scores.shape:
        return
    shapes = f"labels have shape {labels.shape} and predictions {scores.shape}"
    if scores.shape == (*labels.shape, 1):
        raise ValueError(
            f"{shapes}, but there is one score for each label: write predictions[..., 0]"
        )
    if labels.shape == (*scores.shape, 1):
        raise ValueError(f"{shapes}, but there is one score for each label: write labels[..., 0]")
    if scores.shape[:-1] == labels.shape and scores.ndim:
        raise ValueError(
            f"{shapes}, so there are {scores.shape[-1]} classes: logits over classes are for "
            'task="multiclass", fastloss.Scorecard; if the last column is the probability of '
            "label 1, write predictions[..., -1], with from_probabilities=True"
        )
    raise ValueError(f"{shapes}, but there is one score for each label")
