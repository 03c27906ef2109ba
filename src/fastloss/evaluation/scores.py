"""What an evaluation found: numbers, and tables by bin, class, group and sequence."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..call.arrays import Array
from ..kernels.tally import Terms
from .class_scores import Average, ClassScores
from .means import Groups, Means, Whole, groups_of
from .ranks.rank_curves import EqualMassBins
from .ranks.rank_statistics import read
from .resampling import Bootstrap, bootstrap_of
from .result import Result, by_clusters, row_lines, table_of
from .risk import RiskAreas
from .sequences import Sequences, sequences_of
from .sums.class_bins import classwise_error
from .sums.row_sums import RESAMPLED, Kept, RowSums
from .sums.standard_error import errors_by_cluster
from .sums.table import Table


@dataclass(frozen=True, repr=False, eq=False)
class Scores(Result):
    """Everything about labels and logits. Means are over the weights of the rows that count.

    - `n_rows`, `n_counted` of them of a weight above 0, `weight` their sum, `n_undefined` with a
      NaN in the logits: their loss is NaN, so means are; they count as wrong;
    - `loss`, the mean cross-entropy, with `loss_standard_error`, and `perplexity`, exp(loss);
    - `accuracy`, with its standard error, `top_k(k)` and `mean_reciprocal_rank`, of 1 / (rank + 1);
    - `brier`, the mean sum of squares of probabilities less one-hot labels;
    - `calibration_error`, the mean over bins of |accuracy - confidence|, and the largest of them;
    - `entropy` of the predicted probabilities, in nats, and `confidence`, the largest of them;
    - `bins`: means for each bin of confidence, of those between `bin_edges`;
    - `by_class`: means for each class of labels, the accuracy being the recall of the class, and
      its `recall`, `precision`, `f1` and `predicted_weight`;
    - `macro`, `micro` and `weighted`: averages of `precision`, `recall` and `f1` over classes, the
      first over those that occur among labels or predictions, of which 0 / 0 counts as 0, as in
      scikit-learn; `n_absent` is the number of those that occur in neither;
    - `kappa`, Cohen's, and `matthews`, the correlation coefficient (MCC), NaN where both are 0 / 0;
      these need `by_class`;
    - `confusion`, if it was asked for: the weight of the rows of each label (first axis) and
      prediction;
    - `errors`: "rows" if standard errors take rows to be independent, "clusters" if clusters, or
      sequences where there are no clusters; `n_clusters` is their number;
    - `bootstrap`, if it was asked for: a `Bootstrap` of the means above;
    - `by_confidence=True` gives `aurc` and `augrc`, the areas under risk and generalized risk over
      coverage, rows being predicted from the most confident down, those of equal confidence in all
      orders alike, NaN if a row has NaN; and `equal_mass_calibration_error`, that of `n_bins` bins
      of about equal weight instead of equal width;
    - `classwise=True` gives `classwise_calibration_error`: the mean over all classes of that of the
      probability of the class, in `n_bins` bins of equal width, instead of the largest one. Source:
      M. Kull et al., Beyond temperature scaling (2019);
    - `groups` and `sequences`, if they were given;
    - `rank_weights`: the weight of the rows whose label has the rank 0, 1, ...;
    - `rows`: what was asked for of each row;
    - `complete`: False if the evaluation was interrupted.

    >>> import fastloss as fl
    >>> scores = fl.evaluate([0, 1], [[2.0, 0.0], [2.0, 0.0]])
    >>> scores.accuracy, scores.top_k(2), scores.by_class.accuracy
    (0.5, 1.0, array([1., 0.]))
    """

    n_rows: int
    n_counted: int
    n_undefined: int
    n_classes: int
    weight: float
    loss: float
    loss_standard_error: float
    perplexity: float
    accuracy: float
    accuracy_standard_error: float
    mean_reciprocal_rank: float
    brier: float
    calibration_error: float
    maximum_calibration_error: float
    entropy: float
    confidence: float
    bin_edges: Array
    bins: Means
    rank_weights: Array
    by_class: ClassScores | None = None
    groups: Groups | None = None
    sequences: Sequences | None = None
    rows: dict[str, Array] = field(default_factory=dict)
    complete: bool = True
    confusion: Array | None = None
    errors: str = "rows"
    n_clusters: int | None = None
    bootstrap: Bootstrap | None = None
    aurc: float | None = None
    augrc: float | None = None
    equal_mass_calibration_error: float | None = None
    classwise_calibration_error: float | None = None
    # The weights of the ranks, and that of all rows, times a scale at which they are exact.
    _rank_sums: tuple[Array, float] = (np.empty(0), 0.0)

    # What follows from the table of classes is found when it is asked for.

    @property
    def n_absent(self) -> int | None:
        """How many classes are neither labels nor predictions."""
        return None if self.by_class is None else self.by_class.n_absent

    @property
    def macro(self) -> Average | None:
        """Precision, recall and F1: the means over the classes that occur."""
        return None if self.by_class is None else self.by_class.counts.macro()

    @property
    def micro(self) -> Average | None:
        """Those of all classes thrown together."""
        return None if self.by_class is None else self.by_class.counts.micro()

    @property
    def weighted(self) -> Average | None:
        """The means over the classes, each of the weight of its labels."""
        return None if self.by_class is None else self.by_class.counts.weighted()

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa."""
        return None if self.by_class is None else self.by_class.counts.agreement[0]

    @property
    def matthews(self) -> float | None:
        """Matthews' correlation coefficient."""
        return None if self.by_class is None else self.by_class.counts.agreement[1]

    def top_k(self, k: int) -> float:
        """The share of the rows whose label is among the k classes of the largest logits."""
        if isinstance(k, (bool, np.bool_)) or not hasattr(k, "__index__") or k < 1:
            raise ValueError(f"k is {k!r}, but must be an integer of at least 1")
        weights, total = self._rank_sums
        return float(weights[:k].sum() / total) if total else math.nan

    def to_dict(self, top_k: tuple[int, ...] = (1, 5)) -> dict[str, Any]:
        """Numbers, lists and dictionaries, as JSON has them; without `rows`."""
        names = (*_NUMBERS, "n_absent", "kappa", "matthews", "errors", "n_clusters")
        names += ("aurc", "augrc", "equal_mass_calibration_error", "classwise_calibration_error")
        result: dict[str, Any] = {name: getattr(self, name) for name in names}
        result["top_k"] = {str(k): self.top_k(k) for k in top_k}
        result["bin_edges"] = self.bin_edges.tolist()
        result["rank_weights"] = self.rank_weights.tolist()
        result["confusion"] = None if self.confusion is None else self.confusion.tolist()
        tables = ("bins", "by_class", "macro", "micro", "weighted")
        for name in (*tables, "groups", "sequences", "bootstrap"):
            table = getattr(self, name)
            result[name] = None if table is None else table.to_dict()
        return result | {"complete": self.complete}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and values of the numbers, as text."""
        yield from row_lines(self.n_rows, self.n_counted, self.n_undefined, "rows with NaN")
        absent = f" ({self.n_absent:,} absent)" if self.n_absent and self.n_counted else ""
        yield "classes", f"{self.n_classes:,}{absent}"
        by = by_clusters(self.n_clusters)
        yield "loss", f"{self.loss:.6g} ± {self.loss_standard_error:.2g}{by}"
        yield "perplexity", f"{self.perplexity:.6g}"
        yield "accuracy", f"{self.accuracy:.4%} ± {self.accuracy_standard_error:.2%}{by}"
        if self.n_classes > 5:
            yield "top-5 accuracy", f"{self.top_k(5):.4%}"
        yield "mean reciprocal rank", f"{self.mean_reciprocal_rank:.6g}"
        yield "Brier score", f"{self.brier:.6g}"
        yield "calibration error", f"{self.calibration_error:.4g}"
        if self.equal_mass_calibration_error is not None:
            yield "of equal-mass bins", f"{self.equal_mass_calibration_error:.4g}"
            yield "AURC", f"{self.aurc:.6g}"
            yield "AUGRC", f"{self.augrc:.6g}"
        if self.classwise_calibration_error is not None:
            yield "classwise", f"{self.classwise_calibration_error:.4g}"
        yield "entropy", f"{self.entropy:.6g}"
        yield "confidence", f"{self.confidence:.6g}"
        for name in ("groups", "sequences"):
            table = getattr(self, name)
            if table is not None:
                yield name, f"{len(table.ids):,}"
        if self.bootstrap is not None:
            yield from self.bootstrap.lines()

    def __repr__(self) -> str:
        partial = "" if self.complete else "partial: the evaluation was interrupted\n"
        return partial + table_of(self.lines())


_NUMBERS = tuple(name for name, kind in Scores.__annotations__.items() if kind in (int, float))


def scores_of(sums: RowSums, exponent: int, kept: Kept) -> Scores:
    """What is known of rows that were added up. Weights are those of sums times 2**exponent."""
    tables = sums.parts
    whole = Whole(tables["bins"], exponent)
    found = whole.terms
    known = tables["bins"].select(tables["bins"].ids < sums.n_bins)
    bins = Means(known, sums.n_bins, exponent)
    error, largest = _calibration_errors(known, bins.terms)
    relative = np.zeros(sums.n_classes)
    relative[tables["ranks"].ids] = tables["ranks"].weights(found.scale)
    numbers = _by_clusters(sums, int(found.n))
    for name in Whole.names:
        if name != "n" and name not in numbers:
            numbers[name] = getattr(whole, name).item()
    with np.errstate(over="ignore", under="ignore"):
        perplexity = float(np.exp(numbers["loss"]))
        rank_weights = np.ldexp(relative / (found.scale or 1.0), exponent)
    return Scores(
        n_rows=sums.n_rows,
        n_counted=int(found.n),
        n_undefined=int(found.n_undefined),
        n_classes=sums.n_classes,
        **numbers,
        perplexity=perplexity,
        calibration_error=error,
        maximum_calibration_error=largest,
        bin_edges=np.arange(sums.n_bins + 1) / sums.n_bins,
        bins=bins,
        rank_weights=rank_weights,
        groups=groups_of(
            tables["groups"],
            tables["group_names"],
            lambda table: Means(
                table._replace(ids=np.arange(table.n_keys)), table.n_keys, exponent
            ),
        ),
        sequences=sequences_of(sums, exponent),
        _rank_sums=(relative, found.weight),
        confusion=_confusion(sums, exponent) if kept.confusion else None,
        classwise_calibration_error=(
            classwise_error(tables["classwise"], sums.n_classes, float(relative.sum()), found.scale)
            if kept.classwise
            else None
        ),
        **(_by_confidence(sums, bool(found.n_undefined)) if kept.by_confidence else {}),
        bootstrap=bootstrap_of((tables["bootstrap"], RESAMPLED)) if kept.bootstrap else None,
        by_class=(
            ClassScores(tables["classes"], tables["predictions"], sums.n_classes, exponent)
            if kept.by_class
            else None
        ),
    )


def _by_confidence(sums: RowSums, undefined: bool) -> dict[str, Any]:
    """What follows from the confidences of rows that are right and of those that are wrong."""
    risk, bins = read(
        sums.parts["confidences"], RiskAreas(), EqualMassBins(sums.n_bins, np.asarray)
    )
    weights = bins.negative + bins.positive
    gaps = np.abs(bins.positive - weights * bins.probability)
    error = float(gaps.sum() / weights.sum()) if weights.size else math.nan
    # A row that has no confidence has no place among the others.
    aurc, augrc = (math.nan, math.nan) if undefined else risk
    return {"aurc": aurc, "augrc": augrc, "equal_mass_calibration_error": error}


def _confusion(sums: RowSums, exponent: int) -> Array:
    """The weights of pairs of label and prediction, as a matrix."""
    table, n = sums.parts["confusion"], sums.n_classes
    matrix = np.zeros(n * n)
    with np.errstate(all="ignore"):
        matrix[table.ids] = np.ldexp(table.weights(), exponent)
    return matrix.reshape(n, n)


def _by_clusters(sums: RowSums, n_counted: int) -> dict[str, Any]:
    """Standard errors by clusters, if each row that counts has one, or else a sequence."""
    weight, *columns = (Terms._fields.index(column) for column in ("weight", "loss", "correct"))
    for name in ("clusters", "sequences"):
        found = errors_by_cluster(sums.parts[name], n_counted, weight, columns)
        if found is not None:
            loss, accuracy = found[1].tolist()
            return {
                "errors": "clusters",
                "n_clusters": found[0],
                "loss_standard_error": loss,
                "accuracy_standard_error": accuracy,
            }
    return {}


def _calibration_errors(bins: Table, own: Terms) -> tuple[float, float]:
    """The mean over the weights of the bins, and the largest; `own` are the sums of each."""
    if not bins.n_keys:
        return math.nan, math.nan
    alike = bins.alike()
    # Next to others a bin may weigh nothing, by its own scale it does not.
    terms = own if alike is bins else Terms(*alike.sums.T)
    gaps, largest = (np.abs(each.correct - each.confidence) for each in (terms, own))
    return float(gaps.sum() / terms.weight.sum()), float((largest / own.weight).max())
