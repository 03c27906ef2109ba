"""Everything about labels of two classes and scores in one pass: `BinaryScorecard`."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..bases.options import check_integer, check_switch
from ..call import threads
from ..call.arrays import Array, format_of, place_of
from ..call.messages import report_range, report_weight
from ..kernels.binary_rows import BinaryTerms
from .binary_scores import BinaryScores, scores_of
from .given import Given
from .sums.accumulator import PARALLEL_ROWS, Accumulator
from .sums.binary_sums import BLOCK, BinaryRows, BinarySums, Manner
from .tensors import as_array

# Fewer rows wait, as a copy, until they are added up together with others.
_FEW_ROWS = 1 << 16


class BinaryScorecard(Accumulator[BinarySums]):
    """Adds up everything about labels of two classes and scores that come in parts.

    >>> import fastloss as fl
    >>> card = fl.BinaryScorecard()
    >>> _ = card.update([0, 1], [-2.0, 0.5])
    >>> _ = card.update([1], [3.0])
    >>> scores = card.result()
    >>> scores.n_rows, round(scores.loss, 12), round(scores.accuracy, 4)
    (3, 0.216530727012, 1.0)

    Options: `from_probabilities=True` if scores are not logits but probabilities of label 1, which
    are checked and never clipped; `thresholds`, at and above which a score means label 1, in the
    unit of the scores (0.0, or 0.5 of probabilities); `n_bins` of equal width between 0 and 1 for
    the calibration error, each with its lower edge. What depends on the order of scores, as the
    areas under both curves, is exact and takes 4 bytes a row of float32 (8 of float64, half a
    megabyte in all of 16 bits); with `bins=2**20`, it lies in an interval that is given, and takes
    16 MiB however many rows there are; with `ranks=False` it is left out.

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
            bins,
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
    ) -> "BinaryScorecard":
        """Add rows: `labels`, 0 or 1, and `predictions`, logits or probabilities of label 1.

        Both have the same shape, and every one of their elements is a row. `sample_weight` and
        `groups` have that shape, too: a weight, and an integer, a text or a category, or several
        columns of these as `Scorecard` takes them, whose results are then given apart. Rows of
        weight 0 count nowhere.

        Returns the scorecard itself. Raises TypeError or ValueError before anything is changed: for
        labels that are neither 0 nor 1, probabilities outside [0, 1], weights that are negative or
        not finite, and for shapes that differ. Warns with UserWarning if the first logits that come
        seem to be probabilities.
        """
        labels, scores = as_array(labels, "labels"), as_array(predictions, "predictions")
        format_of(scores, "predictions")
        _check_shapes(labels, scores)
        ids, names = Given(groups=groups).groups_of(labels.shape)
        new = self._nothing.with_part("group_names", names)
        self._sums.check(new)
        weight = None if sample_weight is None else as_array(sample_weight, "sample_weight")
        if weight is not None:
            format_of(weight, "sample_weight")
            if weight.shape != labels.shape:
                raise ValueError(
                    f"sample_weight has shape {weight.shape}, but there is one weight for each "
                    f"row: expected {labels.shape}"
                )
        binary = _binary(labels)
        _check_numbers(weight, lambda w: (w >= 0) & (w < np.inf), report_weight)
        if self._manner.from_probabilities:
            _check_numbers(
                scores,
                lambda p: ~((p < 0) | (p > 1)),
                lambda p, start, stop: report_range(p, start, stop, (0.0, 1.0), "predictions"),
            )
        elif self._sums.n_rows == 0:
            _warn_of_probabilities(scores)
        rows = BinaryRows(binary, scores, weight, ids).each(lambda array: array.reshape(-1))
        n = len(rows.labels)
        new = new._replace(n_rows=n)
        if n >= _FEW_ROWS:
            new = new._replace(parts={**new.parts, **rows.parts(self._manner)})
        elif n:
            new = new._replace(pending=(rows.each(np.copy),), n_pending=n)
        self._add(new)
        return self

    def result(self) -> BinaryScores:
        """All that is known of the rows seen so far.

        Warns with RuntimeWarning if there are none that count: means are NaN then.
        """
        scores = scores_of(self._sums.added_up())
        if not scores.n_counted:
            warnings.warn("no row counts, so every mean is nan", RuntimeWarning, stacklevel=2)
        return scores

    @property
    def _options(self) -> dict[str, Any]:
        return self._manner._asdict() | {"columns": BinaryTerms._fields}

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


def _blocks(n: int, work: Callable[[slice], bool]) -> int | None:
    """Do the work for parts of n rows, on threads; where the first begins for which it fails."""
    failed: list[int] = []

    def run(i: int) -> None:
        if not work(slice(i * BLOCK, min((i + 1) * BLOCK, n))):
            failed.append(i * BLOCK)

    threads.run(run, -(-n // BLOCK), parallel=n >= PARALLEL_ROWS)
    return min(failed, default=None)


def _binary(labels: Array) -> Array:
    """Labels as uint8; raise unless all are 0 or 1."""
    flat = labels.reshape(-1)
    if flat.dtype.kind == "b":
        return np.ascontiguousarray(flat).view(np.uint8).reshape(labels.shape)
    format_of(labels, "labels")
    found = np.empty(flat.size, np.uint8)

    def work(here: slice) -> bool:
        part = flat[here]
        found[here] = part == 1
        return bool(((part == 0) | (part == 1)).all())

    start = _blocks(flat.size, work)
    if start is not None:
        part = flat[start : start + BLOCK]
        first = start + int(np.flatnonzero(~((part == 0) | (part == 1)))[0])
        _report_label(flat[first], place_of(np.unravel_index(first, labels.shape)))
    return found.reshape(labels.shape)


def _report_label(value: Any, place: str) -> None:
    message = f"labels{place} is {value}, but binary labels are 0 or 1: "
    if value == -1:
        raise ValueError(f"{message}write np.asarray(labels) > 0 if they are -1 and 1")
    if value != value:
        raise ValueError(f"{message}leave such rows out, or give them any label and the weight 0")
    if 0 < value < np.inf and value == int(value):
        raise ValueError(
            f'{message}class ids are for task="multiclass", with a row of logits for each, and '
            'numbers for task="regression"'
        )
    raise ValueError(
        f'{message}numbers are for task="regression"; of soft labels there is the loss alone, '
        "fastloss.binary_cross_entropy_with_logits"
    )


def _check_numbers(
    array: Array | None,
    are_good: Callable[[Array], Array],
    report: Callable[[Array, int, int], None],
) -> None:
    """Report the first part of an array that has bad numbers."""
    if array is None:
        return
    flat = array.reshape(-1)
    start = _blocks(flat.size, lambda here: bool(are_good(flat[here]).all()))
    if start is not None:
        report(array, start, min(start + BLOCK, flat.size))


def _warn_of_probabilities(scores: Array) -> None:
    """Warn the caller of who calls this, if all that is looked at seems to be probabilities."""
    looked_at = scores.reshape(-1)[:1000]
    if scores.dtype.kind not in "fV" or not looked_at.size:
        return
    part = looked_at.astype(np.float64)
    if ((part >= 0) & (part <= 1)).all() and ((part > 0) & (part < 1)).any():
        warnings.warn(
            "predictions seem to be probabilities, as all that were looked at lie in [0, 1], and "
            "are taken for logits: with from_probabilities=True they are taken for what they are",
            UserWarning,
            stacklevel=3,
        )
