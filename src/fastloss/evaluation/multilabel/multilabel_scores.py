"""What an evaluation of several labels found."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from ...kernels.label_rows import LabelRowScores
from ..binary.binary_means import MEANS, BinaryMeans
from ..means import Groups
from ..ranks.rank_statistics import Summary, summary
from ..resampling import Bootstrap, fields_of, how_sure
from ..result import Columns, Result, by_clusters, row_lines, table_of
from ..sums.label_sums import TABLES, LabelSums
from ..sums.labelled_rows import merged
from ..sums.mean_sums import means_of
from ..sums.score_table import ScoreTable
from ..sums.table import Table


class Average(NamedTuple):
    """Numbers over all labels: of their rows together, or the mean of those of each label."""

    loss: float
    brier: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    auc: float
    average_precision: float


class LabelMeans(BinaryMeans):
    """What is known of each label, as arrays of one number for each; see `BinaryMeans`.

    `auc` is the area under the ROC curve, with DeLong's standard error where rows have no weights;
    it takes rows to be independent, those of a cluster, too.
    """

    key = "label"

    def __init__(self, table: Table, found: list[Summary]) -> None:
        super().__init__(table, 1)
        self.auc = np.array([each.auc for each in found])
        self.auc_standard_error = np.array([each.auc_standard_error for each in found])
        self.average_precision = np.array([each.average_precision for each in found])

    def _columns(self) -> dict[str, Array]:
        return super()._columns() | {name: getattr(self, name) for name in _RANKS}

    def to_dict(self) -> dict[str, Any]:
        """Lists by name, the numbers of the labels first."""
        return {"labels": list(range(len(self))), **super().to_dict()}

    def __repr__(self) -> str:
        return f"Means of {len(self):,} labels: {', '.join((*MEANS, *_RANKS))}"


_RANKS = "auc", "auc_standard_error", "average_precision"


@dataclass(frozen=True, repr=False, eq=False)
class LabelRowMeans(Columns, Result):
    """Means over the rows of each group, as arrays of one number for each; see `MultilabelScores`.

    `n` rows have a weight above 0 and a label that is known.
    """

    n: Any
    weight: Any
    loss: Any
    loss_standard_error: Any
    brier: Any
    brier_standard_error: Any
    hamming_loss: Any
    hamming_loss_standard_error: Any
    subset_accuracy: Any
    subset_accuracy_standard_error: Any
    coverage_error: Any
    coverage_error_standard_error: Any
    label_ranking_average_precision: Any
    label_ranking_average_precision_standard_error: Any
    ranking_loss: Any
    ranking_loss_standard_error: Any

    def _columns(self) -> dict[str, Any]:
        return vars(self)

    def __repr__(self) -> str:
        return f"Means of {len(self.n):,} groups: {', '.join(vars(self))}"


@dataclass(frozen=True, repr=False, eq=False)
class MultilabelScores(Result):
    """Everything about labels of which any number are true. Means are over the weights of rows.

    - `n_rows`, `n_counted` of them of a weight above 0 and with a label that is known, `weight`
      their sum, `n_undefined` with a prediction of NaN: their numbers are NaN, and so are means
      over rows;
    - `loss`, the mean binary cross-entropy of all labels, `brier`, the mean of (p - label)^2, and
      `hamming_loss`, the share of labels that are decided wrongly. Each has a standard error, of
      rows that are independent of one another, while labels of a row need not be;
    - `subset_accuracy`, the share of rows all labels of which are decided rightly;
    - `coverage_error`, how many labels must be taken, from the highest score down, to have all true
      ones; `label_ranking_average_precision`, the mean over true labels of the share of true ones
      among those with its score or more; `ranking_loss`, the share of pairs of a true and a false
      label whose scores are not in this order, equal ones included; each with its standard error;
    - `micro`, of all labels together, and `macro`, the mean over labels: loss, Brier score,
      accuracy, precision, recall and F1 at the `threshold`, `auc` and `average_precision`. Of F1,
      precision and recall `n_absent` labels are left out, which are neither true nor decided to be;
      of AUC `n_one_class`, that are true always or never; of average precision those never true,
      `n_never_true`;
    - `by_label`: all of these for each label;
    - `groups`, if they were given: means over the rows of each;
    - `errors`: "rows" if standard errors of means over rows take these to be independent,
      "clusters" if they take `n_clusters` clusters; `bootstrap`, if it was asked for: a `Bootstrap`
      of these means.

    What is a ratio is NaN where its denominator is 0; in `macro` it is 0, as in scikit-learn.

    >>> import fastloss as fl
    >>> scores = fl.evaluate([[1, 0, 1], [0, 0, 1]], [[2, -1, -1], [-1, 1, 2]], task="multilabel")
    >>> scores.subset_accuracy, round(scores.hamming_loss, 4), scores.by_label.recall
    (0.0, 0.3333, array([1. , nan, 0.5]))
    """

    n_rows: int
    n_counted: int
    n_undefined: int
    n_labels: int
    weight: float
    loss: float
    loss_standard_error: float
    brier: float
    brier_standard_error: float
    hamming_loss: float
    hamming_loss_standard_error: float
    subset_accuracy: float
    subset_accuracy_standard_error: float
    coverage_error: float
    coverage_error_standard_error: float
    label_ranking_average_precision: float
    label_ranking_average_precision_standard_error: float
    ranking_loss: float
    ranking_loss_standard_error: float
    threshold: float
    micro: Average
    macro: Average
    n_absent: int
    n_one_class: int
    n_never_true: int
    by_label: LabelMeans
    groups: Groups | None = None
    errors: str = "rows"
    n_clusters: int | None = None
    bootstrap: Bootstrap | None = None

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dictionaries, as JSON has them."""
        return {
            **{name: getattr(self, name) for name in _NUMBERS},
            "micro": self.micro._asdict(),
            "macro": self.macro._asdict(),
            "by_label": self.by_label.to_dict(),
            "groups": None if self.groups is None else self.groups.to_dict(),
            **how_sure(self),
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and values of the numbers, as text."""
        yield from row_lines(self.n_rows, self.n_counted, self.n_undefined, "rows with NaN")
        yield "labels", f"{self.n_labels:,}"
        for name, title in _TITLES.items():
            error = getattr(self, f"{name}_standard_error")
            if name in _ORDERED and np.isnan(self.ranking_loss) and not np.isnan(self.loss):
                continue
            yield title, f"{getattr(self, name):.6g} ± {error:.2g}{by_clusters(self.n_clusters)}"
        yield "threshold", f"{self.threshold:g}"
        for kind in "micro", "macro":
            average = getattr(self, kind)
            yield f"{kind} precision", f"{average.precision:.4%}"
            yield f"{kind} recall", f"{average.recall:.4%}"
            yield f"{kind} F1", f"{average.f1:.6g}"
            if not np.isnan(average.average_precision):
                yield f"{kind} ROC AUC", f"{average.auc:.6g}"
                yield f"{kind} average precision", f"{average.average_precision:.6g}"
        for name, title in _LEFT_OUT.items():
            if getattr(self, name):
                yield title, f"{getattr(self, name):,}"
        if self.groups is not None:
            yield "groups", f"{len(self.groups.ids):,}"
        if self.bootstrap is not None:
            yield from self.bootstrap.lines()

    def __repr__(self) -> str:
        return table_of(self.lines())


_TITLES = {
    "loss": "loss",
    "brier": "Brier score",
    "hamming_loss": "Hamming loss",
    "subset_accuracy": "subset accuracy",
    "coverage_error": "coverage error",
    "label_ranking_average_precision": "ranking precision",
    "ranking_loss": "ranking loss",
}
_ORDERED = "coverage_error", "label_ranking_average_precision", "ranking_loss"
_LEFT_OUT = {
    "n_absent": "labels absent",
    "n_one_class": "labels of one class",
    "n_never_true": "labels never true",
}
_NUMBERS = tuple(
    name for name, kind in MultilabelScores.__annotations__.items() if kind in (int, float)
)


def multilabel_scores_of(sums: LabelSums) -> MultilabelScores:
    """What is known of rows that were added up."""
    parts, n_labels = sums.parts, sums.n_labels
    known = parts["known"].with_keys(np.zeros(1, np.int64))
    labels = parts["labels"].with_keys(np.arange(n_labels))
    tables: tuple[ScoreTable, ...] = ()
    if sums.manner.ranks:
        tables = tuple(table.settled() for table in parts["scores"].tables)
    of_none = ScoreTable.empty(sums.manner.bins)
    found = [summary(table) for table in tables or (of_none,) * n_labels]
    by_label = LabelMeans(labels, found)
    whole = BinaryMeans(labels.total().with_keys(np.zeros(1, np.int64)), 1)
    of_whole = summary(merged(tables or (of_none,)))
    tp, fp, fn, _ = (column[:, 0] for column in by_label.confusion)
    positive, negative = tp + fn, by_label._terms.known - by_label._terms.positive
    present = tp + fp + fn > 0
    micro = {name: getattr(whole, name).item() for name in Average._fields[:6]}
    macro = {name: _mean(getattr(by_label, name)[by_label.n > 0]) for name in _MEANS}
    macro |= {
        name: _mean(np.nan_to_num(getattr(by_label, name)[present]))
        for name in ("precision", "recall", "f1")
    }
    both = (positive > 0) & (negative > 0)
    rows = _row_means({name: parts[name].with_keys(known.ids) for name in TABLES})
    n_counted = rows.pop("n").item()
    numbers = {name: column.item() for name, column in rows.items()}
    sure = fields_of(
        *(
            (parts[f"{name}_samples"], LabelRowScores._fields[columns], n_counted)
            for name, columns in TABLES.items()
        )
    )
    return MultilabelScores(
        n_rows=sums.n_rows,
        n_counted=n_counted,
        n_undefined=means_of(known).n_undefined.item(),
        n_labels=n_labels,
        **numbers | sure,
        threshold=sums.manner.thresholds[0],
        micro=Average(**micro, auc=of_whole.auc, average_precision=of_whole.average_precision),
        macro=Average(
            **macro,
            auc=_mean(by_label.auc[both]),
            average_precision=_mean(by_label.average_precision[positive > 0]),
        ),
        n_absent=int((~present).sum()),
        n_one_class=int((~both).sum()),
        n_never_true=int((positive == 0).sum()),
        by_label=by_label,
        groups=_groups(parts),
    )


_MEANS = "loss", "brier", "accuracy"


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else np.nan


def _row_means(tables: Mapping[str, Table]) -> dict[str, Array]:
    """The fields of `LabelRowMeans`."""
    found: dict[str, Array] = {}
    for name, columns in TABLES.items():
        means = means_of(tables[name])
        # Of all rows that count, and not of their labels.
        found |= {"n": means.n, "weight": means.weight}
        for i, number in enumerate(LabelRowScores._fields[columns]):
            found[number] = means.means[:, i]
            found[f"{number}_standard_error"] = means.errors[:, i]
    return found


def _groups(parts: Mapping[str, Any]) -> Groups | None:
    tables = {name: parts[f"{name}_groups"] for name in TABLES}
    ids = tables["rows"].ids
    if not ids.size:
        return None
    order, names = parts["group_names"].sorted(ids)
    means = LabelRowMeans(
        **_row_means({name: table.select(order) for name, table in tables.items()})
    )
    return Groups(names, means, parts["group_names"].columns)
