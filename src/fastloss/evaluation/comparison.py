"""Two sets of logits in one pass: `compare`, and `Comparison` for parts of a whole."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..bases.softmax import Softmax, SoftmaxLoss
from ..call.arrays import FLOAT64, Array, Format
from ..call.family import Batch
from ..call.plan import prepare
from ..call.run import check, evaluate
from ..call.threads import get_num_threads
from ..call.verbs import PAIR_SCORES, UNLABELLED_PAIR_SCORES, Verb
from ..kernels.form import Form, PairScores
from ..kernels.softmax import pairs, short_pairs, short_rows, two_rows
from ..kernels.survey import Limits
from ..kernels.tally_pairs import (
    BLOCK,
    CHANGE_BINS,
    KL_BINS,
    MEANS,
    N_COUNTS,
    N_MEANS,
    N_PAIR_SCORES,
    PAIR_WIDTH,
    Bins,
)
from .differences import Differences, Distribution, Summary
from .given import Given
from .resampling import bootstrap_of, check_replicates
from .rows import is_one_slab, slabs, warn_of_probabilities
from .sums.accumulator import Accumulator
from .sums.double_double import divide
from .sums.pair_sums import PairSums
from .sums.replicates import replicated
from .sums.standard_error import errors_by_cluster, standard_error
from .sums.state import options_of
from .sums.table import Table, spread
from .tensors import as_array

_Sums = PairSums  # as it was called when it was pickled


def _verb(labels: Array | None) -> Verb:
    return UNLABELLED_PAIR_SCORES if labels is None else PAIR_SCORES


# Rows of few classes whose scores stay in the caches of a thread until they are added up.
_ROWS = 1 << 13
# So it does not matter for sums how many rows there are at a time, which depends on the threads.
assert _ROWS % BLOCK == 0


def _most_rows(shape: tuple[int, ...]) -> int | None:
    if len(shape) == 2 and shape[-1] <= max(short_rows.FEW.values()):
        return _ROWS * get_num_threads()
    return None


@dataclass(frozen=True)
class _Pairs(SoftmaxLoss):
    """What two sets of logits have of a loss: its options, and a kernel."""

    names = ("labels", "logits_a")
    cost = 8

    def _describe(self) -> Softmax:
        return _OfPairs(self)

    def check(self, labels: Array | None, a: Array, b: Array, weight: Array | None) -> None:
        """Raise what `score` would raise, but for numbers where it would look at all of them."""
        family, verb = self._family, _verb(labels)
        prepare(family, verb, labels, a, weight, vector=b)
        if not is_one_slab(a.shape):
            check(family, verb, labels, a, weight, vector=b)

    def score(self, labels: Array | None, a: Array, b: Array, weight: Array | None) -> Any:
        """`PairScores` of each row, of shape (..., N_PAIR_SCORES)."""
        return evaluate(self._family, _verb(labels), labels, a, weight, None, vector=b)[0]


class _OfPairs(Softmax):
    """The family of two sets of logits, the second of which stands where others have a vector."""

    vector_name = "logits_b"
    scratch = two_rows.SCRATCH

    def arithmetic(self, batch: Batch) -> Format:
        # A cap is rounded, and what is rounded in float32 cannot be told from what differs.
        wide = batch.extras is not None and batch.extras.vector.is_wide
        if self.loss.softcap is not None or wide:
            return FLOAT64
        return super().arithmetic(batch)

    def limits(self, form: Form) -> Limits:
        if not form.class_ids:
            raise ValueError(
                "labels are soft labels, but a comparison takes one class id for each row of "
                "logits: write np.argmax(labels, axis=-1) if they are one-hot"
            )
        return super().limits(form)

    def rows(self, width: int, arithmetic: str, class_major: bool = False) -> str:
        return "few" if width <= short_rows.FEW[arithmetic] else ""

    def kernel(self, form: Form) -> Callable[..., Any]:
        make = short_pairs.few_pairs if form.rows == "few" else pairs.pairs
        return make(self.traits_of(form))


def _distribution(summary: Summary, bins: Bins, table: Table, scale: float) -> Distribution:
    """With the weights of its bins, times a scale."""
    weights = np.zeros(bins.n)
    weights[table.ids] = table.weights(scale)
    return Distribution(**vars(summary), bins=bins, bin_weights=weights)


class Comparison(Accumulator[PairSums]):
    """Adds up how far two sets of logits are apart, which come in parts.

    >>> import fastloss as fl
    >>> comparison = fl.Comparison()
    >>> _ = comparison.update([[2.0, 0.0]], [[1.5, 0.0]], [0])
    >>> _ = comparison.update([[0.0, 3.0]], [[0.5, 0.0]], [1])
    >>> differences = comparison.result()
    >>> differences.agreement.mean, round(differences.kl.mean, 9)
    (0.5, 0.387191441)

    Options: `class_mask`, `temperature`, `softcap` and `ignore_index` are those of `CrossEntropy`,
    for both sets. With a softcap the arithmetic is that of float64. `bootstrap` is the number of
    replicates of a Poisson bootstrap of all means, 0 for none.

    Sums are kept in twice the precision of float64. Whatever the parts are and in whatever order
    they are merged, results agree to 1e-15 relative; the same parts in the same order give the same
    bits. An update that raises, or is interrupted anywhere, has changed nothing or is there as a
    whole, and several threads may update one comparison. Weights count by their ratios alone.
    """

    def __init__(
        self,
        *,
        class_mask: Any = None,
        temperature: float = 1.0,
        softcap: float | None = None,
        ignore_index: int | None = None,
        bootstrap: int = 0,
    ) -> None:
        self._bootstrap = check_replicates(bootstrap)
        self._loss = _Pairs(
            reduction="sum",
            class_mask=class_mask,
            temperature=temperature,
            softcap=softcap,
            ignore_index=ignore_index,
        )
        super().__init__(PairSums.of_nothing(self._bootstrap))

    @property
    def n_classes(self) -> int:
        """The size of the last axis of the logits; 0 before the first ones."""
        return self._sums.n_classes

    def update(
        self,
        logits_a: Any,
        logits_b: Any,
        /,
        labels: Any = None,
        *,
        sample_weight: Any = None,
        clusters: Any = None,
        ids: Any = None,
    ) -> "Comparison":
        """Add rows: `logits_a` and `logits_b`, both of shape (..., c) and each of any dtype.

        `labels`, class ids of shape (...), for the losses and the probabilities of the labels; and
        `sample_weight` of the same shape. Rows of weight 0, or whose label is `ignore_index`, are
        left out. `clusters`, an id for each row, says which rows belong together: if each row has
        one, standard errors take clusters to be independent, not rows. `ids`, one for each row that
        no other row has, is what a bootstrap knows rows by, if it does not draw clusters; see
        `Scorecard.update`.

        Returns the comparison itself. Raises ValueError or TypeError for data that makes no sense,
        as `CrossEntropy` does, for another number of classes than before, and for labels where
        there were none before, or the other way round; then nothing has changed.
        """
        a, b = as_array(logits_a, "logits_a"), as_array(logits_b, "logits_b")
        given = None if labels is None else as_array(labels, "labels")
        weight = None if sample_weight is None else as_array(sample_weight, "sample_weight")
        self._loss.check(given, a, b, weight)
        if self.n_rows == 0:
            for array, name in ((a, "logits_a"), (b, "logits_b")):
                warn_of_probabilities(array, name)
        if given is None and self._loss.ignore_index is not None:
            raise ValueError(
                f"ignore_index is {self._loss.ignore_index}, but there are no labels to find it "
                "in: give labels, or leave rows out by the sample_weight 0"
            )
        sampled = Given(clusters=clusters, ids=ids).sampled_of(a.shape[:-1], self._bootstrap)
        new = PairSums.of_nothing(self._bootstrap)
        new = new._replace(n_classes=a.shape[-1], labelled=given is not None)
        self._sums.check(new)
        replicates = new.parts.get("bootstrap")

        def scored() -> Iterator[Array]:
            nonlocal replicates
            stop = 0
            for part in slabs(a.shape, None if self._bootstrap else _most_rows(a.shape)):
                scores = self._loss.score(
                    None if given is None else given[part],
                    a[part],
                    b[part],
                    None if weight is None else weight[part],
                ).reshape(-1, N_PAIR_SCORES)
                start, stop = stop, stop + len(scores)
                draws = sampled.at(slice(start, stop)).draws
                if draws is not None and replicates is not None:
                    more = replicated(self._bootstrap, draws, scores[:, 0], scores[:, 1:])
                    replicates = replicates.merged(more)
                yield scores

        new = new.with_scores(scored(), math.prod(a.shape[:-1]), sampled.clusters)
        if replicates is not None:
            new = new.with_part("bootstrap", replicates)
        self._add(new)
        return self

    def result(self) -> Differences:
        """What was found so far.

        Warns with RuntimeWarning if there are no rows that count: means are NaN then.
        """
        s = self._added_up()
        sums = s.parts["means"]
        rounded = sums.sums[0] if sums.n_keys else np.zeros(PAIR_WIDTH)
        n, n_undefined, weight, _ = rounded[:N_COUNTS].tolist()
        scale = float(rounded[-1])
        lowest, highest = s.lowest, s.highest
        errors = means = np.full(N_MEANS, math.nan)
        if n == 0:
            warnings.warn("no row counts, so every mean is nan", RuntimeWarning, stacklevel=2)
            lowest = highest = means
        else:
            part = slice(MEANS, MEANS + N_MEANS)
            with np.errstate(all="ignore"):
                means = rounded[part] / weight
                about = divide((sums.high[:, part], sums.low[:, part]), sums.column(2))
                errors = standard_error(np.float64(n), weight, spread(sums, about)[0])
        by: dict[str, Any] = {}
        found = errors_by_cluster(s.parts["clusters"], n, 2, range(MEANS, MEANS + N_MEANS))
        if found is not None:
            by, errors = {"errors": "clusters", "n_clusters": found[0]}, found[1]
        if self._bootstrap:
            by["bootstrap"] = bootstrap_of((s.parts["bootstrap"], PairScores._fields[1:]))
        with np.errstate(all="ignore"):
            root_mean_square = float(np.sqrt(np.float64(rounded[-2]) / weight))
            weight = float(np.float64(weight) / scale) if n else 0.0
        table = np.stack([means, errors, lowest, highest], axis=-1) + 0.0  # no -0
        of = PairScores(None, *(Summary(*numbers) for numbers in table.tolist()))
        differences = Differences(
            n_rows=s.n_rows,
            n_counted=int(n),
            n_undefined=int(n_undefined),
            n_classes=s.n_classes,
            weight=weight,
            kl=_distribution(of.kl, KL_BINS, s.parts["kls"], scale),
            reverse_kl=of.reverse_kl,
            jensen_shannon=of.jensen_shannon,
            total_variation=of.total_variation,
            agreement=of.agreement,
            **by,
        )
        if not s.labelled:
            return differences
        return replace(
            differences,
            loss_a=of.loss_a,
            loss_b=of.loss_b,
            loss_difference=of.loss_difference,
            probability_change=_distribution(
                of.probability_change, CHANGE_BINS, s.parts["changes"], scale
            ),
            root_mean_square_change=root_mean_square,
        )

    @property
    def _options(self) -> dict[str, Any]:
        """By name, each equal to that of any comparison that does the same."""
        return options_of(self._loss) | {
            "columns": PairScores._fields,
            "bootstrap": self._bootstrap,
        }

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
    clusters: Any = None,
    bootstrap: int = 0,
    ids: Any = None,
) -> Differences:
    """How far two sets of logits are apart, in one pass over both.

    The divergences of the softmaxes, whether the predictions agree and, with labels, how losses and
    probabilities of the labels differ: the numbers for judging a quantised or distilled model b by
    its original a. They are exact where the two are nearly equal, and 0 where they are equal.

    Arguments: `logits_a` and `logits_b` of shape (..., c), each of any real dtype and layout;
    `labels`, class ids of shape (...), if there are any; `sample_weight`, `clusters` and `ids` of
    shape (...), as `Comparison.update` takes them. Options are those of `Comparison`. Returns
    `Differences`; raises what `Comparison.update` raises.

    A logit of -inf is a class that is ruled out: in one set only, the divergence towards that set
    is infinite, and the other way round finite.

    >>> import fastloss as fl
    >>> differences = fl.compare([[0.0, 0.0]], [[1e-9, -1e-9]], [0])
    >>> round(differences.kl.mean * 1e19, 6), round(differences.loss_difference.mean * 1e9, 6)
    (5.0, -1.0)

    Source: as for `KLDivergence` and `JensenShannon`.
    """
    comparison = Comparison(
        class_mask=class_mask,
        temperature=temperature,
        softcap=softcap,
        ignore_index=ignore_index,
        bootstrap=bootstrap,
    )
    return comparison.update(
        logits_a, logits_b, labels, sample_weight=sample_weight, clusters=clusters, ids=ids
    ).result()
