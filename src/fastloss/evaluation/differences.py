"""What a comparison of two sets of logits found."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..call.arrays import Array
from ..kernels.tally_pairs import Bins
from .resampling import Bootstrap
from .result import Result, by_clusters, row_lines

# What `to_dict` and `repr` show of a distribution.
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Summary(Result):
    """A number that each row has: its mean over the weights, the standard error of the mean, and
    the smallest and largest of all rows.
    """

    mean: float
    standard_error: float
    minimum: float
    maximum: float

    def to_dict(self) -> dict[str, Any]:
        return {
            name: getattr(self, name) for name in ("mean", "standard_error", "minimum", "maximum")
        }


@dataclass(frozen=True, eq=False)
class Distribution(Summary):
    """A number that each row has, with its quantiles.

    Quantiles come from a histogram of fixed bins, 128 between each power of two and the next: they
    are the middle of the bin that the quantile lies in, at most 1/256 of itself away from it.
    """

    bins: Bins = field(repr=False)
    bin_weights: Array = field(repr=False)

    def quantile(self, q: float) -> float:
        """The smallest number that rows of a share `q` of the weight do not exceed.

        NaN if there are no rows, or if any row has NaN. The smallest and the largest number are
        exact, and so is 0.
        """
        if isinstance(q, bool) or not isinstance(q, (int, float, np.floating)):
            raise TypeError(f"q must be a number between 0 and 1, got {type(q).__name__}")
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q is {q}, but must lie between 0 and 1")
        up_to = np.cumsum(self.bin_weights)
        if math.isnan(self.maximum) or not up_to[-1] > 0:
            return math.nan
        if q == 0:
            return self.minimum
        # A bin that holds nothing is never the first to reach a share of the whole.
        place = int(np.searchsorted(up_to, min(q * up_to[-1], up_to[-1])))
        return min(max(self.bins.middle(place), self.minimum), self.maximum)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"quantiles": {f"{q:g}": self.quantile(q) for q in QUANTILES}}


@dataclass(frozen=True, repr=False, eq=False)
class Differences(Result):
    """How far two sets of logits a and b are apart, p and q being their softmaxes, row by row.

    Means are over the weights of the rows that count; all divergences are in nats.

    - `n_rows`, `n_counted` of them of a weight above 0, `weight` their sum, `n_undefined` that have
      no softmax in one set or the other (NaN, -inf alone, or several +inf): they do not agree, and
      all else is NaN for them, and so is its mean;
    - `kl`, KL(p || q), the sum of p_j log(p_j / q_j), and `reverse_kl`, KL(q || p);
    - `jensen_shannon`, the mean of both from (p + q) / 2, at most log(2);
    - `total_variation`, half the sum of |p_j - q_j|, between 0 and 1;
    - `agreement`, the share of rows whose largest logit is that of the same class in both; the
      lowest class id counts where there are several.

    - `errors`: "rows" if standard errors take rows to be independent, "clusters" if they take
      `n_clusters` clusters; `bootstrap`, if it was asked for: a `Bootstrap` of all means.

    With labels, and None without:

    - `loss_a` and `loss_b`, the cross-entropies;
    - `loss_difference`, that of b less that of a, row by row: its standard error is that of the
      pairs, which is much smaller than those of the two losses;
    - `perplexity_ratio`, exp of the mean of `loss_difference`, with its
      `perplexity_ratio_standard_error`;
    - `probability_change`, q_y - p_y of the label y, and `root_mean_square_change`.

    Each is a `Summary`, with `mean`, `standard_error`, `minimum` and `maximum`, and `kl` and
    `probability_change` are a `Distribution`, which has a `quantile` as well:

    >>> import fastloss as fl
    >>> differences = fl.compare([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.5], [1.0, 0.0]])
    >>> round(differences.kl.mean, 9), round(differences.kl.quantile(0.9), 3)
    (0.015464902, 0.031)
    >>> differences.agreement
    Summary(mean=0.5, standard_error=0.5, minimum=0.0, maximum=1.0)
    """

    n_rows: int
    n_counted: int
    n_undefined: int
    n_classes: int
    weight: float
    kl: Distribution
    reverse_kl: Summary
    jensen_shannon: Summary
    total_variation: Summary
    agreement: Summary
    loss_a: Summary | None = None
    loss_b: Summary | None = None
    loss_difference: Summary | None = None
    probability_change: Distribution | None = None
    root_mean_square_change: float | None = None
    errors: str = "rows"
    n_clusters: int | None = None
    bootstrap: Bootstrap | None = None
    complete: bool = True

    @property
    def perplexity_ratio(self) -> float | None:
        """exp of the mean of `loss_difference`: the perplexity of b over that of a."""
        difference = self.loss_difference
        with np.errstate(over="ignore", under="ignore"):
            return None if difference is None else float(np.exp(difference.mean))

    @property
    def perplexity_ratio_standard_error(self) -> float | None:
        """The ratio times the standard error of the mean of `loss_difference`: the delta method."""
        ratio, difference = self.perplexity_ratio, self.loss_difference
        if ratio is None or difference is None:
            return None
        return ratio * difference.standard_error

    def to_dict(self) -> dict[str, Any]:
        """Numbers and dictionaries, as JSON has them."""
        ratio = ("perplexity_ratio", "perplexity_ratio_standard_error")
        return super().to_dict() | {name: getattr(self, name) for name in ratio}

    def lines(self) -> Iterator[tuple[str, ...]]:
        """The lines of a table, as text: names, and what there is of each."""
        yield from row_lines(self.n_rows, self.n_counted, self.n_undefined, "undefined rows")
        yield "classes", f"{self.n_classes:,}"
        agreement = self.agreement
        if self.n_clusters is not None:
            yield "standard errors", by_clusters(self.n_clusters).strip()
        yield "same prediction", f"{agreement.mean:.4%} ± {agreement.standard_error:.2%}"
        if self.perplexity_ratio is not None:
            ratio = f"{self.perplexity_ratio:.6g} ± {self.perplexity_ratio_standard_error:.2g}"
            yield "perplexity, b / a", ratio
        yield ()
        yield "", "mean", "±", "minimum", "maximum"
        for name, title in _TITLES.items():
            found = getattr(self, name)
            if found is not None:
                numbers = found.mean, found.standard_error, found.minimum, found.maximum
                yield title, *(f"{number:.4g}" for number in numbers)
        yield ()
        yield "quantiles", *(f"{q:.0%}" for q in QUANTILES)
        for name, title in _TITLES.items():
            found = getattr(self, name)
            if isinstance(found, Distribution):
                yield title, *(f"{found.quantile(q):.3g}" for q in QUANTILES)

    def __repr__(self) -> str:
        lines = list(self.lines())
        width = max(len(line[0]) for line in lines if line)
        partial = "" if self.complete else "partial: the comparison was interrupted\n"
        return partial + "\n".join(_line(width, *line).rstrip() for line in lines)


def _line(width: int, name: str = "", *cells: str) -> str:
    right = 10 if len(cells) > 1 else 0  # one number stands at the left
    return f"{name:{width}}" + "".join(f"  {cell:>{right}}" for cell in cells)


_TITLES = {
    "kl": "KL(a || b)",
    "reverse_kl": "KL(b || a)",
    "jensen_shannon": "Jensen-Shannon",
    "total_variation": "total variation",
    "loss_a": "loss of a",
    "loss_b": "loss of b",
    "loss_difference": "loss of b - loss of a",
    "probability_change": "label's probability, b - a",
}
