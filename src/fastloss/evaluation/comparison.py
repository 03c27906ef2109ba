"""Two sets of logits in one pass: `compare`, and `Comparison` for parts of a whole."""

import math
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from .._arrays import FLOAT64, WIDE, Array, Format, as_array
from .._evaluate import Batch, Verb, check, evaluate
from ..kernels import pairs, tally_pairs
from ..kernels.form import Form, PairScores
from ..kernels.interrupts import compiler
from ..kernels.survey import Limits
from ..kernels.tally_pairs import (
    CHANGE_BINS,
    KL_BINS,
    N_COUNTS,
    N_MEANS,
    N_SCORES,
    WIDTH,
    Bins,
)
from ..softmax import SoftmaxLoss
from .differences import Differences, Distribution, Summary
from .rows import slabs
from .standard_error import standard_error
from .tally import Tally


def _verb(labels: Array | None) -> Verb:
    return "unlabelled_pair_scores" if labels is None else "pair_scores"


@dataclass(frozen=True)
class _Pairs(SoftmaxLoss):
    """What two sets of logits have of a loss: its options, and a kernel."""

    names = ("labels", "logits_a")
    vector_name = "logits_b"
    cost = 8
    _scratch = pairs.SCRATCH

    def check(self, labels: Array | None, a: Array, b: Array, weight: Array | None) -> None:
        """Raise what `score` would raise."""
        check(self, _verb(labels), labels, a, weight, vector=b)

    def score(self, labels: Array | None, a: Array, b: Array, weight: Array | None) -> Any:
        """`PairScores` of each row, of shape (..., N_SCORES)."""
        return evaluate(self, _verb(labels), labels, a, weight, None, vector=b)[0]

    def _arithmetic(self, batch: Batch) -> Format:
        # A cap is rounded, and what is rounded in float32 cannot be told from what differs.
        if self.softcap is not None or (
            batch.extras is not None and batch.extras.vector.name in WIDE
        ):
            return FLOAT64
        return super()._arithmetic(batch)

    def _limits(self, form: Form) -> Limits:
        if not form.class_ids:
            raise ValueError(
                "labels are soft labels, but a comparison takes one class id for each row of "
                "logits: write np.argmax(labels, axis=-1) if they are one-hot"
            )
        return super()._limits(form)

    def _rows(self, width: int, arithmetic: str) -> str:
        return ""

    def _kernel(self, form: Form) -> Callable[..., Any]:
        ignoring = form.labelled and self._limits(form).ignoring
        return pairs.pairs(form, self._known_variant, ignoring)


class _Sums:
    """What rows add up to."""

    def __init__(self) -> None:
        self.n_rows = 0
        self.means = Tally(1, WIDTH)
        self.lowest = np.full(N_MEANS, math.inf)
        self.highest = np.full(N_MEANS, -math.inf)
        self.kls = Tally(KL_BINS.n, 1)
        self.changes = Tally(CHANGE_BINS.n, 1)

    def add(self, scores: Array) -> None:
        """Add rows in order."""
        tables = (
            np.empty(WIDTH + 1),
            self.means.pair,
            self.lowest,
            self.highest,
            self.kls.pair,
            self.changes.pair,
        )
        _tally_pairs()(scores.reshape(-1), *tables)
        self.n_rows += scores.size // N_SCORES

    def merge(self, other: "_Sums") -> None:
        self.n_rows += other.n_rows
        for name in _TALLIES:
            getattr(self, name).merge(getattr(other, name))
        self.lowest = np.minimum(self.lowest, other.lowest)
        self.highest = np.maximum(self.highest, other.highest)


_TALLIES = ("means", "kls", "changes")


@cache
def _tally_pairs() -> Callable[..., None]:
    pair = np.empty(0), np.empty(0)
    arguments = np.empty(0), np.empty(0), pair, np.empty(0), np.empty(0), pair, pair
    return compiler().serial(tally_pairs.tally_pairs, arguments)  # type: ignore[no-any-return]


def _distribution(summary: Summary, bins: Bins, tally: Tally) -> Distribution:
    return Distribution(**vars(summary), bins=bins, bin_weights=tally.sums[:, 0])


class Comparison:
    """Adds up how far two sets of logits are apart, which come in parts.

    >>> import fastloss as fl
    >>> comparison = fl.Comparison()
    >>> _ = comparison.update([[2.0, 0.0]], [[1.5, 0.0]], [0])
    >>> _ = comparison.update([[0.0, 3.0]], [[0.5, 0.0]], [1])
    >>> differences = comparison.result()
    >>> differences.agreement.mean, round(differences.kl.mean, 9)
    (0.5, 0.387191441)

    Options: `class_mask`, `temperature`, `softcap` and `ignore_index` are those of `CrossEntropy`,
    for both sets. With a softcap the arithmetic is that of float64.

    Sums are kept in twice the precision of float64. Whatever the parts are and in whatever order
    they are merged, results agree to 1e-15 relative; the same parts in the same order give the same
    bits.
    """

    def __init__(
        self,
        *,
        class_mask: Any = None,
        temperature: float = 1.0,
        softcap: float | None = None,
        ignore_index: int | None = None,
    ) -> None:
        self._loss = _Pairs(
            reduction="sum",
            class_mask=class_mask,
            temperature=temperature,
            softcap=softcap,
            ignore_index=ignore_index,
        )
        self._sums = _Sums()
        self.n_classes = 0
        self._labelled: bool | None = None  # until the first rows say so

    @property
    def n_rows(self) -> int:
        """How many rows were added, those that do not count included."""
        return self._sums.n_rows

    def update(
        self, logits_a: Any, logits_b: Any, /, labels: Any = None, *, sample_weight: Any = None
    ) -> "Comparison":
        """Add rows: `logits_a` and `logits_b`, both of shape (..., c) and each of any dtype.

        `labels`, class ids of shape (...), for the losses and the probabilities of the labels; and
        `sample_weight` of the same shape. Rows of weight 0, or whose label is `ignore_index`, are
        left out.

        Returns the comparison itself. Raises ValueError or TypeError for data that makes no sense,
        as `CrossEntropy` does, for another number of classes than before, and for labels where
        there were none before, or the other way round; then nothing has changed.
        """
        a, b = as_array(logits_a, "logits_a"), as_array(logits_b, "logits_b")
        given = None if labels is None else as_array(labels, "labels")
        weight = None if sample_weight is None else as_array(sample_weight, "sample_weight")
        self._loss.check(given, a, b, weight)
        self._check_alike(a.shape[-1], given is not None)

        sums = deepcopy(self._sums)  # so that Ctrl-C leaves no half of an update behind
        for part in slabs(a.shape):
            scores = self._loss.score(
                None if given is None else given[part],
                a[part],
                b[part],
                None if weight is None else weight[part],
            )
            sums.add(scores)
        self._sums, self.n_classes, self._labelled = sums, a.shape[-1], given is not None
        return self

    def merge(self, other: "Comparison") -> "Comparison":
        """Add all that another comparison of the same options has seen."""
        if not isinstance(other, Comparison):
            raise TypeError(f"other must be a Comparison, got {type(other).__name__}")
        if other._loss != self._loss:
            raise ValueError(
                f"the options differ, {other} and {self}: only comparisons of equal options can be "
                "merged"
            )
        if other._labelled is not None:
            self._check_alike(other.n_classes, other._labelled)
            self._sums.merge(other._sums)
            self.n_classes, self._labelled = other.n_classes, other._labelled
        return self

    def _check_alike(self, n_classes: int, labelled: bool) -> None:
        if not labelled and self._loss.ignore_index is not None:
            raise ValueError(
                f"ignore_index is {self._loss.ignore_index}, but there are no labels to find it "
                "in: give labels, or leave rows out by the sample_weight 0"
            )
        if self._labelled is None:
            return
        if n_classes != self.n_classes:
            raise ValueError(
                f"there are {n_classes} classes on the last axis, but before there were "
                f"{self.n_classes}: a comparison is of one number of classes"
            )
        if labelled != self._labelled:
            raise ValueError(
                "labels were given "
                + ("now, but not before" if labelled else "before, but not now")
                + ": give them with all rows, or with none"
            )

    def result(self) -> Differences:
        """What was found so far.

        Warns with RuntimeWarning if there are no rows that count: means are NaN then.
        """
        s = self._sums
        sums = s.means.sums[0]
        n, n_undefined, weight, square_weight = sums[:N_COUNTS].tolist()
        firsts, products, squares = sums[N_COUNTS:-1].reshape(3, N_MEANS)
        lowest, highest = s.lowest, s.highest
        if n == 0:
            warnings.warn("no row counts, so every mean is nan", RuntimeWarning, stacklevel=2)
            lowest = highest = np.full(N_MEANS, math.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = firsts / weight
            errors = standard_error(np.float64(n), weight, square_weight, products, squares, means)
            root_mean_square = float(np.sqrt(sums[-1] / weight))
        table = np.stack([means, errors, lowest, highest], axis=-1) + 0.0  # no -0
        of = PairScores(None, *(Summary(*numbers) for numbers in table.tolist()))
        differences = Differences(
            n_rows=s.n_rows,
            n_counted=int(n),
            n_undefined=int(n_undefined),
            n_classes=self.n_classes,
            weight=weight,
            kl=_distribution(of.kl, KL_BINS, s.kls),
            reverse_kl=of.reverse_kl,
            jensen_shannon=of.jensen_shannon,
            total_variation=of.total_variation,
            agreement=of.agreement,
        )
        if not self._labelled:
            return differences
        return replace(
            differences,
            loss_a=of.loss_a,
            loss_b=of.loss_b,
            loss_difference=of.loss_difference,
            probability_change=_distribution(of.probability_change, CHANGE_BINS, s.changes),
            root_mean_square_change=root_mean_square,
        )

    def state(self) -> dict[str, Array]:
        """All that was added up, as arrays for `np.savez`; see `from_state`."""
        s = self._sums
        labelled = -1 if self._labelled is None else int(self._labelled)
        state = {
            "rows": np.array([s.n_rows, self.n_classes, labelled], np.int64),
            "lowest": s.lowest.copy(),
            "highest": s.highest.copy(),
        }
        for name in _TALLIES:
            state |= {key: table.copy() for key, table in getattr(s, name).state(name).items()}
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Array], **options: Any) -> "Comparison":
        """The comparison that goes on where one with the same options was when it gave `state`.

        Raises ValueError for a state that is not one.
        """
        comparison = cls(**options)
        own = comparison.state()
        for name, expected in own.items():
            if name not in state:
                raise ValueError(f"the state has no {name!r}: it is not that of a Comparison")
            if np.shape(state[name]) != expected.shape:
                raise ValueError(
                    f"{name!r} of the state has shape {np.shape(state[name])}, not "
                    f"{expected.shape}: it is not that of a Comparison of this version"
                )
        given = {name: np.array(state[name], own[name].dtype) for name in own}
        n_rows, comparison.n_classes, labelled = given["rows"].tolist()
        comparison._labelled = None if labelled < 0 else bool(labelled)
        s = comparison._sums
        s.n_rows, s.lowest, s.highest = n_rows, given["lowest"], given["highest"]
        for name in _TALLIES:
            setattr(s, name, Tally.from_state(name, given))
        return comparison

    def __repr__(self) -> str:
        options = repr(self._loss).partition("(")[2].replace("reduction='sum'", "").lstrip(", ")
        return f"Comparison({options}"


def compare(
    logits_a: Any,
    logits_b: Any,
    /,
    labels: Any = None,
    *,
    sample_weight: Any = None,
    class_mask: Any = None,
    temperature: float = 1.0,
    softcap: float | None = None,
    ignore_index: int | None = None,
) -> Differences:
    """How far two sets of logits are apart, in one pass over both.

    The divergences of the softmaxes, whether the predictions agree and, with labels, how losses and
    probabilities of the labels differ: the numbers for judging a quantised or distilled model b by
    its original a. They are exact where the two are nearly equal, and 0 where they are equal.

    Arguments: `logits_a` and `logits_b` of shape (..., c), each of any real dtype and layout;
    `labels`, class ids of shape (...), if there are any; `sample_weight` of shape (...). Options
    are those of `CrossEntropy`. Returns `Differences`; raises what `Comparison.update` raises.

    A logit of -inf is a class that is ruled out: in one set only, the divergence towards that set
    is infinite, and the other way round finite.

    >>> import fastloss as fl
    >>> differences = fl.compare([[0.0, 0.0]], [[1e-9, -1e-9]], [0])
    >>> round(differences.kl.mean * 1e19, 6), round(differences.loss_difference.mean * 1e9, 6)
    (5.0, -1.0)

    Source: as for `KLDivergence` and `JensenShannon`.
    """
    comparison = Comparison(
        class_mask=class_mask, temperature=temperature, softcap=softcap, ignore_index=ignore_index
    )
    return comparison.update(logits_a, logits_b, labels, sample_weight=sample_weight).result()
