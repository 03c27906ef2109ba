"""What an evaluation found: numbers, and tables by bin, class, group and sequence."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..call.arrays import Array
from ..kernels.tally import Terms
from .frames import frame
from .result import Result, row_lines, table_of
from .sums.double_double import divide
from .sums.group_names import GroupNames
from .sums.row_sums import RowSums
from .sums.standard_error import standard_error
from .sums.table import Table, spread


class Means(Result):
    """Means over rows, weighed as those of the loss: arrays of one number for each key.

    A key without rows has means of NaN. They are computed when they are asked for: there may be
    a hundred thousand classes.
    """

    def __init__(self, table: Table, n_keys: int, exponent: int = 0) -> None:
        """Of the keys below `n_keys`; weights of rows are those of the table times 2**exponent."""
        self._table, self._n_keys, self._exponent = table, n_keys, exponent

    @cached_property
    def _terms(self) -> Terms:
        return Terms(*self._table.sums.T)

    def _by_key(self, values: Array, missing: float = math.nan) -> Array:
        dense = np.full(self._n_keys, missing)
        dense[self._table.ids] = values
        return dense

    def _mean(self, sums: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._by_key(sums / self._terms.weight)

    def _error(self, squares: Array) -> Array:
        return self._by_key(standard_error(self._terms.n, self._terms.weight, squares))

    def _numbers(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _MEANS}

    @property
    def n(self) -> Array:
        """The number of rows of a weight above 0."""
        return self._by_key(self._terms.n, 0).astype(np.int64)

    @property
    def weight(self) -> Array:
        """The sum of the weights."""
        with np.errstate(all="ignore"):
            weight = np.ldexp(self._terms.weight / self._terms.scale, self._exponent)
        return self._by_key(np.where(self._terms.n > 0, weight, 0.0), 0.0)

    @property
    def loss(self) -> Array:
        """The cross-entropy."""
        return self._mean(self._terms.loss)

    @property
    def loss_standard_error(self) -> Array:
        """The standard error of the mean loss."""
        loss, weight = (
            self._table.column(Terms._fields.index(name)) for name in ("loss", "weight")
        )
        with np.errstate(all="ignore"):
            mean = divide(loss, weight)
        return self._error(spread(self._table, mean)[:, 0])

    @property
    def accuracy(self) -> Array:
        """The share of rows whose label is the prediction."""
        return self._mean(self._terms.correct)

    @property
    def accuracy_standard_error(self) -> Array:
        """The standard error of the accuracy."""
        t = self._terms
        with np.errstate(divide="ignore", invalid="ignore"):
            right = t.correct / t.weight
        of_right = t.squared_weight_correct
        of_wrong = t.squared_weight - of_right
        return self._error(of_right * (1 - right) ** 2 + of_wrong * right**2)

    @property
    def mean_reciprocal_rank(self) -> Array:
        """The mean of 1 / (rank + 1)."""
        return self._mean(self._terms.reciprocal_rank)

    @property
    def brier(self) -> Array:
        """The Brier score."""
        return self._mean(self._terms.brier)

    @property
    def entropy(self) -> Array:
        """The entropy of the predicted probabilities."""
        return self._mean(self._terms.entropy)

    @property
    def confidence(self) -> Array:
        """The largest probability."""
        return self._mean(self._terms.confidence)

    def __len__(self) -> int:
        return self._n_keys

    def to_dict(self) -> dict[str, Any]:
        """Lists by name."""
        return {name: getattr(self, name).tolist() for name in _MEANS}

    def __repr__(self) -> str:
        return f"Means of {len(self):,} keys: {', '.join(_MEANS)}"


_MEANS = tuple(name for name, value in vars(Means).items() if isinstance(value, property))


@dataclass(frozen=True, eq=False)
class Groups(Result):
    """Means by group; `ids`, as they were given, in ascending order.

    Of several `columns` an id is a tuple.
    """

    ids: Array
    means: Any  # `Means`, or what another task has of each group
    columns: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        columns = {"columns": list(self.columns)} if self.columns else {}
        return {"ids": self.ids.tolist(), **columns, **self.means.to_dict()}

    def to_pandas(self) -> Any:
        """A data frame of the means, with a row for each group, which names its index."""
        return frame(self.means._numbers(), self.ids, self.columns or ("group",))


@dataclass(frozen=True, eq=False)
class Sequences(Result):
    """What is known of each sequence of rows, `ids` in ascending order.

    `log_probability` is the sum of the weighed log-probabilities of its labels, `is_greedy` whether
    each label is the prediction, `bits_per_byte` -log2 of the probability, divided by `n_bytes`.
    """

    ids: Array
    n: Array
    log_probability: Array
    is_greedy: Array
    n_bytes: Array | None = None
    bits_per_byte: Array | None = None

    def among(self, n: int, n_bytes: Array | None) -> "Sequences":
        """With all of the first n, of which some have no rows; their probability is 1."""
        sizes, log_probability = np.zeros(n, np.int64), np.zeros(n)
        is_greedy = np.ones(n, bool)
        for whole, part in (
            (sizes, self.n),
            (log_probability, self.log_probability),
            (is_greedy, self.is_greedy),
        ):
            whole[self.ids] = part
        bits = None
        if n_bytes is not None:
            n_bytes = n_bytes[:n]
            bits = (0.0 - log_probability) / (math.log(2) * n_bytes)
        return Sequences(np.arange(n), sizes, log_probability, is_greedy, n_bytes, bits)

    def to_dict(self) -> dict[str, Any]:
        return {k: None if v is None else v.tolist() for k, v in vars(self).items()}


NO_SEQUENCES = Sequences(np.empty(0, np.int64), *np.empty((3, 0)))


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
    - `by_class`: means for each class of labels;
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
    by_class: Means | None = None
    groups: Groups | None = None
    sequences: Sequences | None = None
    rows: dict[str, Array] = field(default_factory=dict)
    complete: bool = True
    # The weights of the ranks, and that of all rows, times a scale at which they are exact.
    _rank_sums: tuple[Array, float] = (np.empty(0), 0.0)

    def top_k(self, k: int) -> float:
        """The share of the rows whose label is among the k classes of the largest logits."""
        if isinstance(k, (bool, np.bool_)) or not hasattr(k, "__index__") or k < 1:
            raise ValueError(f"k is {k!r}, but must be an integer of at least 1")
        weights, total = self._rank_sums
        return float(weights[:k].sum() / total) if total else math.nan

    def to_dict(self, top_k: tuple[int, ...] = (1, 5)) -> dict[str, Any]:
        """Numbers, lists and dictionaries, as JSON has them; without `rows`."""
        result: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        result["top_k"] = {str(k): self.top_k(k) for k in top_k}
        result["bin_edges"] = self.bin_edges.tolist()
        result["rank_weights"] = self.rank_weights.tolist()
        for name in ("bins", "by_class", "groups", "sequences"):
            table = getattr(self, name)
            result[name] = None if table is None else table.to_dict()
        return result | {"complete": self.complete}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and values of the numbers, as text."""
        yield from row_lines(self.n_rows, self.n_counted, self.n_undefined, "rows with NaN")
        yield "classes", f"{self.n_classes:,}"
        yield "loss", f"{self.loss:.6g} ± {self.loss_standard_error:.2g}"
        yield "perplexity", f"{self.perplexity:.6g}"
        yield "accuracy", f"{self.accuracy:.4%} ± {self.accuracy_standard_error:.2%}"
        if self.n_classes > 5:
            yield "top-5 accuracy", f"{self.top_k(5):.4%}"
        yield "mean reciprocal rank", f"{self.mean_reciprocal_rank:.6g}"
        yield "Brier score", f"{self.brier:.6g}"
        yield "calibration error", f"{self.calibration_error:.4g}"
        yield "entropy", f"{self.entropy:.6g}"
        yield "confidence", f"{self.confidence:.6g}"
        for name in ("groups", "sequences"):
            table = getattr(self, name)
            if table is not None:
                yield name, f"{len(table.ids):,}"

    def __repr__(self) -> str:
        partial = "" if self.complete else "partial: the evaluation was interrupted\n"
        return partial + table_of(self.lines())


_NUMBERS = tuple(name for name, kind in Scores.__annotations__.items() if kind in (int, float))


def scores_of(sums: RowSums, exponent: int) -> Scores:
    """What is known of rows that were added up. Weights are those of sums times 2**exponent."""
    tables = sums.parts
    total = tables["bins"].total()
    means = Means(total, 1, exponent)
    found = Terms(*(total.sums[0] if total.n_keys else np.zeros(len(Terms._fields))))
    bins = tables["bins"].select(tables["bins"].ids < sums.n_bins)
    error, largest = _calibration_errors(bins)
    ranks, relative = tables["ranks"], np.zeros(sums.n_classes)
    relative[ranks.ids] = ranks.sums[:, 0] * (found.scale / ranks.sums[:, 1])
    numbers = {name: getattr(means, name).item() for name in _MEANS if name != "n"}
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
        bins=Means(bins, sums.n_bins, exponent),
        rank_weights=rank_weights,
        by_class=(
            Means(tables["classes"], sums.n_classes, exponent) if "classes" in tables else None
        ),
        groups=groups_of(
            tables["groups"],
            tables["group_names"],
            lambda table: Means(
                table._replace(ids=np.arange(table.n_keys)), table.n_keys, exponent
            ),
        ),
        sequences=_sequences(sums, exponent),
        _rank_sums=(relative, found.weight),
    )


def _calibration_errors(bins: Table) -> tuple[float, float]:
    """The mean over the weights of the bins, and the largest."""
    if not bins.n_keys:
        return math.nan, math.nan
    terms = Terms(*bins.sums.T)
    gaps = np.abs(terms.correct - terms.confidence) / terms.weight
    weights = terms.weight * (terms.scale.min() / terms.scale)
    return float((gaps * weights).sum() / weights.sum()), float(gaps.max())


def groups_of(table: Table, names: GroupNames, means_of: Callable[[Table], Any]) -> Groups | None:
    """The groups of a table, if there are any, in the order of their names."""
    if not table.n_keys:
        return None
    order, ids = names.sorted(table.ids)
    return Groups(ids, means_of(table.select(order)), names.columns)


def _sequences(sums: RowSums, exponent: int) -> Sequences | None:
    table = sums.parts["sequences"]
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
