"""Everything about rows of labels and scores in one pass: `MultilabelScorecard`."""

from typing import Any

import numpy as np

from ...bases.options import check_number, check_switch
from ...call.arrays import Array, format_of
from ...kernels.label_rows import LabelRowScores
from ..binary.binary_inputs import (
    binary_labels,
    check_probabilities,
    warn_of_probabilities,
)
from ..given import Given, checked_weight
from ..resampling import check_replicates
from ..result import warn_of_nothing
from ..sums.accumulator import Accumulator
from ..sums.binary_sums import Manner
from ..sums.label_sums import LabelRows, LabelSums
from ..sums.score_keys import check_held
from ..sums.score_table import ScoreTable, check_memory_limit
from ..tensors import as_array
from .multilabel_scores import MultilabelScores, multilabel_scores_of


class MultilabelScorecard(Accumulator[LabelSums]):
    """Adds up everything about rows of labels and scores that come in parts.

    >>> import fastloss as fl
    >>> card = fl.MultilabelScorecard()
    >>> _ = card.update([[1, 0, 1]], [[2.0, -1.0, -1.0]])
    >>> _ = card.update([[0, 0, 1]], [[-1.0, 1.0, 2.0]])
    >>> scores = card.result()
    >>> scores.n_rows, round(scores.loss, 6), round(scores.micro.f1, 6)
    (2, 0.584484, 0.666667)

    Options: `from_probabilities=True` if scores are not logits but probabilities, which are checked
    and never clipped; `threshold`, at and above which a score means that the label is true, in the
    unit of the scores (0.0, or 0.5 of probabilities). What depends on the order of scores is exact:
    areas under curves take 4 bytes for each label of each row of float32 and less, 8 of float64;
    with `bins=2**12` they lie in an interval, and take 64 KiB for each label however many rows
    there are; with `ranks=False` all that depends on an order is left out. With `memory_limit`
    scores beyond so many bytes lie in temporary files, as `BinaryScorecard` has them. `bootstrap`
    is the number of replicates of a Poisson bootstrap of means over rows, 0 for none.

    Sums are kept in twice the precision of float64. Whatever the parts are and in whatever order
    they are merged, results agree to 1e-15 relative. An update that raises, or is interrupted
    anywhere, has changed nothing or is there as a whole, and several threads may update one
    scorecard. Weights count by their ratios alone.
    """

    def __init__(
        self,
        *,
        from_probabilities: bool = False,
        threshold: float | None = None,
        ranks: bool = True,
        bins: int | None = None,
        bootstrap: int = 0,
        memory_limit: int | None = None,
    ) -> None:
        check_switch("from_probabilities", from_probabilities)
        check_switch("ranks", ranks)
        if threshold is None:
            threshold = 0.5 if from_probabilities else 0.0
        check_number("threshold", threshold, -np.inf, finite=False)
        bins = ScoreTable.empty(bins).bins
        self._manner = Manner(
            from_probabilities,
            (float(threshold),),
            0,
            ranks,
            bins,
            check_replicates(bootstrap),
            check_memory_limit(memory_limit),
        )
        super().__init__(self._nothing)

    @property
    def _nothing(self) -> LabelSums:
        return LabelSums.of_nothing(self._manner)

    @property
    def _options(self) -> dict[str, Any]:
        return self._manner.options() | {"columns": LabelRowScores._fields}

    def update(
        self,
        labels: Any,
        predictions: Any,
        /,
        *,
        sample_weight: Any = None,
        mask: Any = None,
        groups: Any = None,
        clusters: Any = None,
        ids: Any = None,
    ) -> "MultilabelScorecard":
        """Add rows: `labels`, 0 or 1, and `predictions`, logits or probabilities, both (..., l).

        `mask`, booleans of the same shape, has True where a label is known; what is not known is
        looked at nowhere. `sample_weight` and `groups` have the shape of the rows, (...): a weight,
        and an integer, a text or a category, or several columns of these as `Scorecard` takes
        them, whose means over rows are then given apart. Rows of weight 0 count nowhere.
        `clusters` and `ids` of that shape are as `Scorecard.update` has them: rows of a cluster
        belong together, in standard errors and the bootstrap.

        Returns the scorecard itself. Raises TypeError or ValueError before anything is changed: for
        labels that are neither 0 nor 1, probabilities outside [0, 1], weights that are negative or
        not finite, and for shapes that differ. Warns with UserWarning if the first logits that come
        seem to be probabilities.
        """
        labels, scores = as_array(labels, "labels"), as_array(predictions, "predictions")
        format_of(labels, "labels")
        format_of(scores, "predictions")
        _check_shapes(labels, scores)
        shape, n_labels = labels.shape[:-1], labels.shape[-1]
        given = Given(groups=groups, clusters=clusters, ids=ids)
        group_ids, names = given.groups_of(shape)
        sampled = given.sampled_of(shape, self._manner.bootstrap)
        new = self._nothing.with_part("group_names", names)._replace(n_labels=n_labels)
        self._sums.check(new)
        known = None if mask is None else _checked_mask(as_array(mask, "mask"), labels.shape)
        weight = checked_weight(sample_weight, shape)
        binary = binary_labels(labels if known is None else np.where(known, labels, 0))
        seen = scores if known is None else np.where(known, scores, scores.dtype.type(0))
        if self._manner.ranks:
            check_held(seen, "predictions")
        if self._manner.from_probabilities:
            check_probabilities(seen)
        elif self._sums.n_rows == 0:
            warn_of_probabilities(seen)
        n = binary.size // n_labels
        rows = LabelRows(
            binary.reshape(n, n_labels),
            scores.reshape(n, n_labels),
            None if known is None else known.reshape(n, n_labels),
            None if weight is None else weight.reshape(n),
            group_ids,
            *sampled,
        )
        self._add(new.with_new(rows))
        return self

    def result(self) -> MultilabelScores:
        """All that is known of the rows seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        scores = multilabel_scores_of(self._added_up())
        warn_of_nothing(scores.n_counted)
        return scores


def _check_shapes(labels: Array, scores: Array) -> None:
    shapes = f"labels have shape {labels.shape} and predictions {scores.shape}"
    if labels.shape == scores.shape:
        if labels.ndim < 2:
            raise ValueError(
                f"{shapes}, but there are several labels for each row: one label is for "
                'task="binary", fastloss.BinaryScorecard'
            )
        if not labels.shape[-1]:
            raise ValueError(f"{shapes}, so there is no label")
        return
    if labels.shape == scores.shape[:-1]:
        raise ValueError(
            f"{shapes}, but for each row and label there is a 0 or a 1; if labels are class ids, "
            f'one for each row, they are for task="multiclass", fastloss.Scorecard'
        )
    raise ValueError(f"{shapes}, but there is one score for each label: nothing is broadcast")


def _checked_mask(mask: Array, shape: tuple[int, ...]) -> Array:
    if mask.dtype != bool:
        raise TypeError(f"mask must have booleans, which labels are known, got {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"mask has shape {mask.shape}, but labels have shape {shape}")
    return mask
