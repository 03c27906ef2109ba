"""What an evaluation of two classes found: numbers, and tables by bin and group."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...call.arrays import Array
from ...kernels.binary_bins import BIN_POWERS
from ...kernels.binary_terms import N_TERMS, N_THRESHOLD
from ..means import Groups, groups_of
from ..ranks.clustered_areas import clustered_error
from ..ranks.confusion import Confusion, ratio
from ..ranks.operating_points import BestF, FalsePositivesAt, Gain, Gains, Point, SensitivityAt
from ..ranks.operating_points import confusion as confusion_at
from ..ranks.rank_curves import (
    Curve,
    Decomposition,
    EqualMassBins,
    Isotonic,
    MassBins,
    PrecisionRecallCurve,
    RocCurve,
    decomposition,
)
from ..ranks.rank_statistics import Areas, Interval, Statistic, read
from ..resampling import Bootstrap, fields_of, how_sure
from ..result import Columns, Result, by_clusters, row_lines, table_of
from ..sums.binary_sums import SAMPLES, BinarySums
from ..sums.score_table import ScoreTable
from ..sums.table import Table
from .binary_means import MEANS, BinaryMeans, GroupMeans


@dataclass(frozen=True, eq=False)
class BinaryBins(Columns, Result):
    """Bins of probability, `edges[i]` to `edges[i + 1]`: weights, and means that are NaN of none.

    `base_rate` is the share of label 1, and `probability` the mean of the predicted ones.
    """

    key = "bin"

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
    - `auc`, the area under the ROC curve, with DeLong's standard error if rows have no weights, or
      Obuchowski's if they have clusters, `average_precision`, and `ks`, the largest gap between the
      scores of both labels, at `ks_threshold`; ties are one threshold. With `bins` they are within
      `auc_interval` and so on, and without an error;
    - `best_f1` at `best_f1_threshold`, the highest there is, and `fpr_at_95_tpr`, the share of
      label 0 that is decided to be 1 where 95% of label 1 is;
    - `bins` of probability, and `groups`, if they were given;
    - `errors`: "rows" if standard errors take rows to be independent, "clusters" if they take
      `n_clusters` clusters; `bootstrap`, if it was asked for: a `Bootstrap` of loss, Brier score
      and accuracy.

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
    best_f1: float
    best_f1_threshold: float
    fpr_at_95_tpr: float
    thresholds: Array
    confusion: Confusion
    bins: BinaryBins
    groups: Groups | None = None
    errors: str = "rows"
    n_clusters: int | None = None
    bootstrap: Bootstrap | None = None
    _scores: ScoreTable | None = None
    _from_probabilities: bool = False

    def confusion_at(self, threshold: Any) -> Confusion:
        """The confusion at any threshold, or at each of an array of them."""
        return confusion_at(self._ranked, threshold)

    def best_f(self, beta: float = 1.0) -> Point:
        """The largest F-beta of any threshold, and the highest threshold that has it."""
        return self._read(BestF(beta))  # type: ignore[no-any-return]

    def sensitivity_at(self, specificity: float) -> Point:
        """The largest recall at a specificity of at least so much, and the threshold."""
        return self._read(SensitivityAt(specificity))  # type: ignore[no-any-return]

    def gain(self, shares: Any) -> Gain:
        """The share of label 1 among such shares of all rows, of the highest scores; and lift."""
        return self._read(Gains(shares))  # type: ignore[no-any-return]

    def roc_curve(self, n: int = 1000) -> Curve:
        """False positive rate, true positive rate and thresholds: at most n points, which keep the
        area.
        """
        return self._read(RocCurve(n))  # type: ignore[no-any-return]

    def precision_recall_curve(self, n: int = 1000) -> Curve:
        """Recall, precision and thresholds: at most n steps, which keep the area."""
        return self._read(PrecisionRecallCurve(n))  # type: ignore[no-any-return]

    def equal_mass_bins(self, n: int = 15) -> MassBins:
        """At most n bins of about equal weight, by score, with the mean probability of each."""
        bins, scale = self._mass_bins(n), self._ranked.scale
        with np.errstate(over="ignore"):
            weights = bins.negative / scale, bins.positive / scale
        return bins._replace(negative=weights[0], positive=weights[1])

    def _mass_bins(self, n: int) -> MassBins:
        """With weights in the unit of the scores' table."""
        of_logits = None if self._from_probabilities else _sigmoid
        return self._read(EqualMassBins(n, of_logits or np.asarray))  # type: ignore[no-any-return]

    def equal_mass_calibration_error(self, n: int = 15) -> float:
        """The mean over `equal_mass_bins` of |base rate - probability|."""
        bins = self._mass_bins(n)
        weights = bins.negative + bins.positive
        gaps = np.abs(bins.positive - weights * bins.probability)
        return float(ratio(gaps.sum(), weights.sum()))

    def decomposition(self) -> Decomposition:
        """What the Brier score is made of: miscalibration - discrimination + uncertainty."""
        return decomposition(self._ranked, self.brier, self._read(Isotonic()))

    @property
    def _ranked(self) -> ScoreTable:
        if self._scores is None:
            raise ValueError("with ranks=False the order of scores is not known: leave it out")
        return self._scores

    def _read(self, statistic: Statistic) -> Any:
        return read(self._ranked, statistic)[0]

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dictionaries, as JSON has them."""
        return {
            **{name: getattr(self, name) for name in _NUMBERS},
            **{name: list(getattr(self, name)) for name in _INTERVALS},
            "thresholds": self.thresholds.tolist(),
            "confusion": {k: v.tolist() for k, v in self.confusion._asdict().items()},
            "bins": self.bins.to_dict(),
            "groups": None if self.groups is None else self.groups.to_dict(),
            **how_sure(self),
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and values of the numbers, as text."""
        yield from row_lines(self.n_rows, self.n_counted, self.n_undefined, "rows with NaN")
        by = by_clusters(self.n_clusters)
        yield "base rate", f"{self.base_rate:.4%}"
        yield "loss", f"{self.loss:.6g} ± {self.loss_standard_error:.2g}{by}"
        yield "normalised entropy", f"{self.normalised_entropy:.6g}"
        yield "Brier score", f"{self.brier:.6g} ± {self.brier_standard_error:.2g}{by}"
        yield "calibration error", f"{self.calibration_error:.4g}"
        if self._scores is not None:
            yield "ROC AUC", _with_error(self.auc, self.auc_standard_error, by)
            yield "average precision", f"{self.average_precision:.6g}"
            yield "best F1", f"{self.best_f1:.6g} at {self.best_f1_threshold:.6g}"
            yield "FPR at 95% TPR", f"{self.fpr_at_95_tpr:.4%}"
            yield "KS", f"{self.ks:.6g} at {self.ks_threshold:.6g}"
        yield "threshold", f"{self.thresholds[0]:g}"
        yield "accuracy", f"{self.accuracy:.4%} ± {self.accuracy_standard_error:.2%}{by}"
        yield "balanced accuracy", f"{self.balanced_accuracy:.4%}"
        yield "precision", f"{self.precision:.4%}"
        yield "recall", f"{self.recall:.4%}"
        yield "specificity", f"{self.specificity:.4%}"
        yield "F1", f"{self.f1:.6g}"
        yield "MCC", f"{self.mcc:.6g}"
        yield "kappa", f"{self.kappa:.6g}"
        if self.groups is not None:
            yield "groups", f"{len(self.groups.ids):,}"
        if self.bootstrap is not None:
            yield from self.bootstrap.lines()

    def __repr__(self) -> str:
        return table_of(self.lines())


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


def _with_error(number: float, error: float, by: str) -> str:
    return f"{number:.6g}" + ("" if math.isnan(error) else f" ± {error:.2g}{by}")


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
    summary, best, at_95 = read(
        ScoreTable.empty() if scores is None else scores, Areas(), BestF(), FalsePositivesAt(0.95)
    )
    with np.errstate(over="ignore"):
        bins = BinaryBins(
            np.arange(sums.manner.n_bins + 1) / sums.manner.n_bins,
            weight / scale,
            ratio(positive, weight),
            ratio(probability, weight),
        )
    of_groups = sums.parts.get("group_scores")
    areas = of_groups.areas() if groups.n_keys and of_groups is not None else None

    n = int(means.n[0])
    known = n - int(means.n_undefined[0])
    samples = zip(SAMPLES.items(), (n, known), strict=True)
    sure = fields_of(*((sums.parts[name], of, m) for (name, of), m in samples))
    if "n_clusters" in sure:
        sure["auc_standard_error"] = math.nan  # DeLong's is of independent rows
        by_cluster = sums.parts.get("cluster_scores")
        if scores is not None and by_cluster is not None:
            ids = sums.parts["means"].clusters.ids
            sure["auc_standard_error"] = clustered_error(scores, by_cluster, ids)

    def means_of_groups(table: Table) -> GroupMeans:
        return GroupMeans(table, n_thresholds, areas)

    return BinaryScores(
        n_rows=sums.n_rows,
        n_counted=n,
        probability=ratio(probability.sum(), weight.sum()),
        calibration_error=ratio(gaps.sum(), weight.sum()),
        maximum_calibration_error=float(np.max(ratio(gaps, weight)[weight > 0], initial=-np.inf))
        if weight.any()
        else np.nan,
        **{name: getattr(means, name).item() for name in MEANS if name != "n"}
        | summary._asdict()
        | sure,
        best_f1=best.value,
        best_f1_threshold=best.threshold,
        fpr_at_95_tpr=at_95.value,
        thresholds=np.array(sums.manner.thresholds),
        confusion=Confusion(*(each[0] for each in means.confusion)),
        bins=bins,
        groups=groups_of(groups, sums.parts["group_names"], means_of_groups),
        _scores=scores,
        _from_probabilities=sums.manner.from_probabilities,
    )
