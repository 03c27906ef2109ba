"""What an evaluation of two classes found: numbers, and tables by bin and group."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..call.arrays import Array
from ..kernels.binary_rows import (
    BIN_POWERS,
    N_TERMS,
    N_THRESHOLD,
    SUMS,
    WEIGHTS,
    BinaryTerms,
)
from . import rank_statistics
from .confusion import Confusion, ratio
from .rank_statistics import NOTHING, Interval
from .result import Columns, Result, row_lines, table_of
from .sums.binary_sums import BinarySums
from .sums.double_double import divide
from .sums.score_table import ScoreTable
from .sums.standard_error import standard_error
from .sums.table import Table, spread


class BinaryMeans(Columns, Result):
    """Means over the rows of each key, as arrays of one number for each.

    Of rows without a label 1, or 0, or without any, what is not known is NaN. Decisions, from
    `accuracy` to `kappa`, are those at the first threshold; `confusion` has all.
    """

    def __init__(self, table: Table, n_thresholds: int) -> None:
        self._table, self._n_thresholds = table, n_thresholds

    @cached_property
    def _terms(self) -> BinaryTerms:
        return BinaryTerms(*self._table.sums.T[:N_TERMS])

    @cached_property
    def _scale(self) -> Array:
        scales = self._table.high[:, -1]
        return np.where(scales == 0, 1.0, scales)

    @cached_property
    def _means(self) -> tuple[Array, Array]:
        """The mean loss and Brier score, and their standard errors."""
        t, table = self._terms, self._table
        with np.errstate(all="ignore"):
            part = slice(SUMS, SUMS + 2)
            mean = divide((table.high[:, part], table.low[:, part]), table.column(WEIGHTS))
            means = table.sums[:, part] / t.weight[:, np.newaxis]
            errors = standard_error(
                t.n[:, np.newaxis], t.weight[:, np.newaxis], spread(table, mean)
            )
        return means, errors

    def _numbers(self) -> dict[str, Any]:
        return self._columns()

    def _columns(self) -> dict[str, Array]:
        return {name: getattr(self, name) for name in _MEANS}

    @property
    def n(self) -> Array:
        """The number of rows of a weight above 0."""
        return np.asarray(self._terms.n, np.int64)

    @property
    def n_undefined(self) -> Array:
        """How many of them have a prediction of NaN."""
        return np.asarray(self._terms.n_undefined, np.int64)

    @property
    def weight(self) -> Array:
        """The sum of the weights."""
        with np.errstate(over="ignore"):
            return np.asarray(self._terms.weight / self._scale)

    @property
    def base_rate(self) -> Array:
        """The share of label 1, among rows whose prediction is known, as all decisions are."""
        return np.asarray(ratio(self._terms.positive, self._terms.known))

    @property
    def loss(self) -> Array:
        """The binary cross-entropy."""
        return self._means[0][:, 0]

    @property
    def loss_standard_error(self) -> Array:
        """The standard error of the mean loss."""
        return self._means[1][:, 0]

    @property
    def normalised_entropy(self) -> Array:
        """The loss, divided by that of predicting the base rate for every row."""
        r = self.base_rate
        with np.errstate(all="ignore"):
            of_base_rate = -(r * np.log(r) + (1 - r) * np.log1p(-r))
        return np.asarray(ratio(self.loss, np.where(of_base_rate > 0, of_base_rate, np.nan)))

    @property
    def brier(self) -> Array:
        """The Brier score, the mean of (p - label)^2."""
        return self._means[0][:, 1]

    @property
    def brier_standard_error(self) -> Array:
        """The standard error of the Brier score."""
        return self._means[1][:, 1]

    @cached_property
    def confusion(self) -> Confusion:
        """Weights by label and decision, arrays of shape (keys, thresholds)."""
        t, scale = self._terms, self._scale[:, np.newaxis]
        true, false, *_ = self._decided
        positive, negative = t.positive[:, np.newaxis], (t.known - t.positive)[:, np.newaxis]
        # Rounding must not make less than nothing.
        missed, right = np.maximum(positive - true, 0.0), np.maximum(negative - false, 0.0)
        with np.errstate(over="ignore"):
            return Confusion(true / scale, false / scale, missed / scale, right / scale)

    @property
    def _decided(self) -> Array:
        """The weights of rows at a threshold or above, and squares, of shape (4, keys, thr.)."""
        columns = self._table.sums[:, N_TERMS:][:, : N_THRESHOLD * self._n_thresholds]
        decided: Array = columns.reshape(-1, self._n_thresholds, N_THRESHOLD).transpose(2, 0, 1)
        return decided

    @cached_property
    def _first(self) -> Confusion:
        return Confusion(*(each[:, 0] for each in self.confusion))

    @property
    def accuracy(self) -> Array:
        """The share of rows that are decided as labelled."""
        return np.asarray(self._first.accuracy)

    @property
    def accuracy_standard_error(self) -> Array:
        """The standard error of the accuracy."""
        t, right = self._terms, self.accuracy
        _, _, of_true, of_false = self._decided[:, :, 0]
        of_right = of_true + (t.squared_known - t.squared_positive - of_false)
        of_wrong = t.squared_known - of_right
        squares = np.maximum(of_right * (1 - right) ** 2 + of_wrong * right**2, 0.0)
        return np.asarray(standard_error(t.n - t.n_undefined, t.known, squares))

    @property
    def balanced_accuracy(self) -> Array:
        """The mean of recall and specificity."""
        return np.asarray(self._first.balanced_accuracy)

    @property
    def precision(self) -> Array:
        """The share of label 1 among the rows decided to be 1."""
        return np.asarray(self._first.precision)

    @property
    def recall(self) -> Array:
        """The share of the rows of label 1 that are decided to be 1."""
        return np.asarray(self._first.recall)

    @property
    def specificity(self) -> Array:
        """The share of the rows of label 0 that are decided to be 0."""
        return np.asarray(self._first.specificity)

    @property
    def f1(self) -> Array:
        """The harmonic mean of precision and recall."""
        return np.asarray(self._first.f1)

    @property
    def mcc(self) -> Array:
        """Matthews' correlation coefficient."""
        return np.asarray(self._first.mcc)

    @property
    def kappa(self) -> Array:
        """Cohen's kappa."""
        return np.asarray(self._first.kappa)

    def __len__(self) -> int:
        return self._table.n_keys

    def __repr__(self) -> str:
        return f"Means of {len(self):,} keys: {', '.join(_MEANS)}"


_MEANS = tuple(
    name
    for name, value in vars(BinaryMeans).items()
    if isinstance(value, property) and not name.startswith("_")
)


@dataclass(frozen=True, eq=False)
class BinaryGroups(Columns, Result):
    """Means by group; `ids` in ascending order."""

    ids: Array
    means: BinaryMeans

    def _columns(self) -> dict[str, Array]:
        return {"ids": self.ids, **self.means._columns()}


@dataclass(frozen=True, eq=False)
class BinaryBins(Columns, Result):
    """Bins of probability, `edges[i]` to `edges[i + 1]`: weights, and means that are NaN of none.

    `base_rate` is the share of label 1, and `probability` the mean of the predicted ones.
    """

    edges: Array
    weight: Array
    base_rate: Array
    probability: Array

    def _columns(self) -> dict[str, Array]:
        means = {name: getattr(self, name) for name in ("weight", "base_rate", "probability")}
        return {"lower": self.edges[:-1], "upper": self.edges[1:], **means}


@dataclass(frozen=True, repr=False, eq=False)
class BinaryScores(Result):
    """Everything about labels of two classes and scores. Means are over the weights of the rows.

    - `n_rows`, `n_counted` of them of a weight above 0, `weight` their sum, `n_undefined` with a
      prediction of NaN: the loss and the Brier score are NaN then, and all else leaves them out;
    - `base_rate`, the share of label 1, and `probability`, the mean of the predicted ones;
    - `loss`, the mean binary cross-entropy, with `loss_standard_error`, and `normalised_entropy`,
      the loss divided by that of predicting the base rate for every row;
    - `brier`, the mean of (p - label)^2, with its standard error;
    - `calibration_error`, the mean over bins of |base rate - probability|, and the largest of them;
    - `accuracy` with its standard error, `balanced_accuracy`, `precision`, `recall`, `specificity`,
      `f1`, `mcc` and `kappa` at the first of the `thresholds`, and `confusion` at each;
    - `auc`, the area under the ROC curve, with DeLong's standard error if rows have no weights,
      `average_precision`, and `ks`, the largest gap between the scores of both labels, at
      `ks_threshold`; ties are one threshold. With `bins` they are within `auc_interval` and so on;
    - `bins` of probability, and `groups`, if they were given;
    - `complete`: False if the evaluation was interrupted.

    What is a ratio is NaN where its denominator is 0.

    >>> import fastloss as fl
    >>> scores = fl.evaluate([0, 0, 1, 1], [-2.0, 0.5, 1.0, 3.0], task="binary")
    >>> scores.accuracy, scores.recall, scores.confusion.false_positive
    (0.75, 1.0, array([1.]))

    Source: for the normalised entropy, X. He et al., Practical Lessons from Predicting Clicks on
    Ads at Facebook (2014).
    """

    n_rows: int
    n_counted: int
    n_undefined: int
    weight: float
    base_rate: float
    probability: float
    loss: float
    loss_standard_error: float
    normalised_entropy: float
    brier: float
    brier_standard_error: float
    calibration_error: float
    maximum_calibration_error: float
    accuracy: float
    accuracy_standard_error: float
    balanced_accuracy: float
    precision: float
    recall: float
    specificity: float
    f1: float
    mcc: float
    kappa: float
    auc: float
    auc_standard_error: float
    average_precision: float
    ks: float
    ks_threshold: float
    auc_interval: Interval
    average_precision_interval: Interval
    ks_interval: Interval
    thresholds: Array
    confusion: Confusion
    bins: BinaryBins
    groups: BinaryGroups | None = None
    complete: bool = True
    _scores: ScoreTable | None = None

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dictionaries, as JSON has them."""
        return {
            **{name: getattr(self, name) for name in _NUMBERS},
            **{name: list(getattr(self, name)) for name in _INTERVALS},
            "thresholds": self.thresholds.tolist(),
            "confusion": {k: v.tolist() for k, v in self.confusion._asdict().items()},
            "bins": self.bins.to_dict(),
            "groups": None if self.groups is None else self.groups.to_dict(),
            "complete": self.complete,
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and values of the numbers, as text."""
        yield from row_lines(self.n_rows, self.n_counted, self.n_undefined, "rows with NaN")
        yield "base rate", f"{self.base_rate:.4%}"
        yield "loss", f"{self.loss:.6g} ± {self.loss_standard_error:.2g}"
        yield "normalised entropy", f"{self.normalised_entropy:.6g}"
        yield "Brier score", f"{self.brier:.6g} ± {self.brier_standard_error:.2g}"
        yield "calibration error", f"{self.calibration_error:.4g}"
        if self._scores is not None:
            yield "ROC AUC", _with_error(self.auc, self.auc_standard_error)
            yield "average precision", f"{self.average_precision:.6g}"
            yield "KS", f"{self.ks:.6g} at {self.ks_threshold:.6g}"
        yield "threshold", f"{self.thresholds[0]:g}"
        yield "accuracy", f"{self.accuracy:.4%} ± {self.accuracy_standard_error:.2%}"
        yield "balanced accuracy", f"{self.balanced_accuracy:.4%}"
        yield "precision", f"{self.precision:.4%}"
        yield "recall", f"{self.recall:.4%}"
        yield "specificity", f"{self.specificity:.4%}"
        yield "F1", f"{self.f1:.6g}"
        yield "MCC", f"{self.mcc:.6g}"
        yield "kappa", f"{self.kappa:.6g}"
        if self.groups is not None:
            yield "groups", f"{len(self.groups.ids):,}"

    def __repr__(self) -> str:
        partial = "" if self.complete else "partial: the evaluation was interrupted\n"
        return partial + table_of(self.lines())


def _with_error(number: float, error: float) -> str:
    return f"{number:.6g}" + ("" if math.isnan(error) else f" ± {error:.2g}")


_INTERVALS = "auc_interval", "average_precision_interval", "ks_interval"
_NUMBERS = tuple(
    name for name, kind in BinaryScores.__annotations__.items() if kind in (int, float)
)


def scores_of(sums: BinarySums) -> BinaryScores:
    """What is known of rows that were added up."""
    total, n_thresholds = sums.parts["totals"], len(sums.manner.thresholds)
    if not total.n_keys:
        total = total.with_keys(np.zeros(1, np.int64))
    means = BinaryMeans(total, n_thresholds)
    scale = total.high[0, -1] or 1.0
    found = total.sums[0, N_TERMS + N_THRESHOLD * n_thresholds : -1]
    weight, positive, probability = found.reshape(-1, len(BIN_POWERS)).T
    gaps = np.abs(positive - probability)
    groups, scores = sums.parts["groups"], sums.parts.get("scores")
    if scores is not None:
        scores = scores.settled()
    summary = NOTHING if scores is None else rank_statistics.summary(scores)
    with np.errstate(over="ignore"):
        bins = BinaryBins(
            np.arange(sums.manner.n_bins + 1) / sums.manner.n_bins,
            weight / scale,
            ratio(positive, weight),
            ratio(probability, weight),
        )
    return BinaryScores(
        n_rows=sums.n_rows,
        n_counted=int(means.n[0]),
        **{name: getattr(means, name).item() for name in _MEANS if name != "n"},
        probability=ratio(probability.sum(), weight.sum()),
        calibration_error=ratio(gaps.sum(), weight.sum()),
        maximum_calibration_error=float(np.max(ratio(gaps, weight)[weight > 0], initial=-np.inf))
        if weight.any()
        else np.nan,
        **summary._asdict(),
        thresholds=np.array(sums.manner.thresholds),
        confusion=Confusion(*(each[0] for each in means.confusion)),
        bins=bins,
        groups=BinaryGroups(groups.ids, BinaryMeans(groups, n_thresholds))
        if groups.n_keys
        else None,
        _scores=scores,
    )
