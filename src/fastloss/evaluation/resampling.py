"""What a bootstrap found: means over rows that were drawn again and again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bases.options import check_integer
from ..call.arrays import Array
from .frames import frame
from .result import Result
from .sums.samples import Samples
from .sums.table import Table

# What `to_dict` has of the probability that an interval holds.
LEVEL = 0.95


def check_replicates(n: Any) -> int:
    """Raise unless it is a number of replicates, or 0 for no bootstrap."""
    check_integer("bootstrap", n)
    if n < 0 or n == 1:
        raise ValueError(f"bootstrap is {n}, but must be 0 for none, or 2 or more replicates")
    return int(n)


def check_level(level: Any) -> None:
    """Raise unless it is a probability that an interval can hold."""
    if isinstance(level, bool) or not isinstance(level, (int, float, np.floating)):
        raise TypeError(f"level must be a number between 0 and 1, got {type(level).__name__}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}, but must lie between 0 and 1")


@dataclass(frozen=True, eq=False)
class Bootstrap(Result):
    """Means over the rows of each of `n` replicates, by name: `replicates["loss"]` of shape (n,).

    In a replicate each row, or each cluster of rows, is there as often as a Poisson distribution of
    mean 1 has it, by a hash of its id and the number of the replicate. So results are the same
    whatever the parts that rows come in, and two evaluations of the same ids draw the same rows:
    differences of their replicates are those of pairs. A replicate without any row has means of
    NaN, which count nowhere below; those of rows with NaN count, and are NaN.

    Source: N. Chamandy et al., Estimating uncertainty for massive data streams (2012).
    """

    n: int
    replicates: dict[str, Array]
    _empty: dict[str, Array]  # whether a replicate has no row

    def standard_error(self, name: str) -> float:
        """The standard deviation of the means of all replicates."""
        means = self._means(name)
        with np.errstate(all="ignore"):
            return float(means.std(ddof=1)) if means.size > 1 else np.nan

    def interval(self, name: str, level: float = LEVEL) -> tuple[float, float]:
        """Percentiles of the means of all replicates, between which lie so many of them."""
        check_level(level)
        means = self._means(name)
        if not means.size:
            return np.nan, np.nan
        levels = [(1 - level) / 2, (1 + level) / 2]
        with np.errstate(invalid="ignore"):
            between = np.quantile(means, levels)
        # Between two that are infinite there is no number.
        low, high = np.where(
            np.isnan(between), np.quantile(means, levels, method="higher"), between
        ).tolist()
        return low, high

    def _means(self, name: str) -> Array:
        if name not in self.replicates:
            raise ValueError(f"there is no {name!r}: there are {', '.join(self.replicates)}")
        means: Array = self.replicates[name][~self._empty[name]]
        return means

    def lines(self) -> Iterator[tuple[str, str]]:
        """Standard errors and intervals, as text."""
        for name in self.replicates:
            low, high = self.interval(name)
            error = f"{self.standard_error(name):.2g}"
            yield (
                f"bootstrap: {name.replace('_', ' ')}",
                f"± {error}, {LEVEL:.0%} within {low:.6g} and {high:.6g}",
            )

    def to_dict(self) -> dict[str, Any]:
        """Standard errors and intervals by name."""
        return {
            "n": self.n,
            "level": LEVEL,
            "standard_error": {name: self.standard_error(name) for name in self.replicates},
            "interval": {name: list(self.interval(name)) for name in self.replicates},
        }

    def to_pandas(self) -> Any:
        """A data frame with a row for each replicate."""
        return frame(self.replicates, np.arange(self.n), ("replicate",))

    def __repr__(self) -> str:
        return f"Bootstrap of {self.n:,} replicates: {', '.join(self.replicates)}"


def bootstrap_of(*tables: tuple[Table, Iterable[str]]) -> Bootstrap | None:
    """Of sums of `sums.replicates`, each with the names of its values; None without replicates."""
    n = tables[0][0].n_keys
    if not n:
        return None
    replicates: dict[str, Array] = {}
    empty: dict[str, Array] = {}
    for table, names in tables:
        sums = table.sums
        with np.errstate(all="ignore"):
            means = sums[:, 1:-1] / sums[:, :1]
        more = dict(zip(names, means.T.copy(), strict=True))
        replicates |= more
        empty |= dict.fromkeys(more, sums[:, 0] == 0)
    return Bootstrap(n, replicates, empty)


def fields_of(*means: tuple[Samples, Sequence[str], int]) -> dict[str, Any]:
    """Fields of a result: whose its standard errors are, and the bootstrap.

    `means` are sums with the names of what they are of, and how many rows each mean is over, the
    first being over all that count. If each of these has a cluster, there are the standard errors
    of all means, as fields of their names.
    """
    fields: dict[str, Any] = {
        "bootstrap": bootstrap_of(*((samples.replicates, names) for samples, names, _ in means))
    }
    for samples, names, n in means:
        found = samples.errors(n)
        if found is None:
            continue
        n_clusters, errors = found
        if "errors" not in fields:
            fields |= {"errors": "clusters", "n_clusters": n_clusters}
        fields |= {
            f"{name}_standard_error": e for name, e in zip(names, errors.tolist(), strict=True)
        }
    return fields


def how_sure(scores: Any) -> dict[str, Any]:
    """Of what `fields_of` gives, for `to_dict`."""
    return {
        "errors": scores.errors,
        "n_clusters": scores.n_clusters,
        "bootstrap": None if scores.bootstrap is None else scores.bootstrap.to_dict(),
    }
