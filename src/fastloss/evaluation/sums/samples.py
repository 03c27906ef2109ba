"""Sums by cluster and by replicate of a bootstrap, for errors of rows that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...call.arrays import Array
from ...kernels.tally_means import N_COUNTS
from .mean_sums import layout_of, with_rows
from .replicates import replicated, unseen
from .standard_error import errors_by_cluster
from .table import Table


class Sampled(NamedTuple):
    """For each row its cluster, and the id that a bootstrap draws it by, if there are any."""

    clusters: Array | None = None
    draws: Array | None = None

    @property
    def is_any(self) -> bool:
        """Whether there is anything to be added up."""
        return self.clusters is not None or self.draws is not None

    def at(self, index: Any) -> Sampled:
        """Those of some of the rows."""
        return Sampled(*(None if ids is None else ids[index] for ids in self))


NOT_SAMPLED = Sampled()


class Samples(NamedTuple):
    """Of means over the same weights: their sums in each cluster, and in each replicate."""

    clusters: Table
    replicates: Table

    @classmethod
    def empty(cls, n_means: int, bootstrap: int) -> Samples:
        return cls(Table.empty(layout_of(n_means)), unseen(bootstrap, n_means))

    def with_rows(self, sampled: Sampled, numbers: Array) -> Samples:
        """With more rows; `numbers` has the weight of each first, and then what means are of."""
        clusters, replicates = self
        if sampled.clusters is not None:
            clusters = with_rows(clusters, sampled.clusters, numbers)
        if sampled.draws is not None:
            more = replicated(
                replicates.n_keys, sampled.draws, numbers[:, 0].copy(), numbers[:, 1:]
            )
            replicates = replicates.merged(more)
        return Samples(clusters, replicates)

    @property
    def n_keys(self) -> int:
        return self.clusters.n_keys + self.replicates.n_keys

    def merged(self, other: Samples) -> Samples:
        return Samples(
            self.clusters.merged(other.clusters), self.replicates.merged(other.replicates)
        )

    def errors(self, n: int) -> tuple[int, Array] | None:
        """How many clusters there are, and the standard errors of the means by cluster.

        None unless each of the n rows that count has a cluster.
        """
        n_means = self.replicates.layout.width - 2
        return errors_by_cluster(self.clusters, n, 2, range(N_COUNTS, N_COUNTS + n_means))

    def state(self, name: str) -> dict[str, Array]:
        tables = {f"{name}_{part}": table for part, table in self._asdict().items()}
        return {
            key: array for part, table in tables.items() for key, array in table.state(part).items()
        }

    def from_state(self, name: str, state: Mapping[str, Array]) -> Samples:
        """Those of a state, of as many means and replicates; ValueError if it is damaged."""
        clusters, replicates = self
        return Samples(
            Table.from_state(clusters.layout, f"{name}_clusters", state, None),
            Table.from_state(replicates.layout, f"{name}_replicates", state, replicates.n_keys),
        )
