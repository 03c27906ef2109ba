"""Means of numbers by key, with standard errors, of weighed rows that come in parts."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels.tally_means import N_COUNTS, powers_of, tally_means
from .double_double import divide
from .standard_error import standard_error
from .table import NO_ROOM, Layout, Table, places_of, spread


@cache
def layout_of(n_means: int) -> Layout:
    """The columns of a table that has means of so many numbers."""
    parts = N_COUNTS + n_means * np.arange(1, 4)
    centers, firsts, seconds = (slice(i, i + n_means) for i in parts.tolist())
    return Layout(powers_of(n_means), centers, firsts, seconds, squared_weight=3)


def with_rows(table: Table, ids: Array, numbers: Array) -> Table:
    """The table with rows of these keys, which are any integers.

    `numbers` has the shape (rows, 1 + numbers): the weight of each row comes first.
    """
    table = table.with_keys(ids)
    every = table.ids
    room = table._replace(ids=np.arange(len(every))).room(len(every), len(ids))
    _tally_means()(numbers.reshape(-1), places_of(ids, every), table.layout.powers, room)
    return table.filled(room)._replace(ids=every)


class Means(NamedTuple):
    """What is known of each key."""

    n: Array  # rows of a weight above 0
    n_undefined: Array  # those with a NaN
    weight: Array
    means: Array  # of shape (keys, numbers)
    errors: Array  # the standard errors of the means


def means_of(table: Table) -> Means:
    layout, sums = table.layout, table.sums
    n, undefined, weight, _ = sums[:, :N_COUNTS].T
    totals = slice(N_COUNTS, layout.centers.start)
    with np.errstate(all="ignore"):
        mean = divide(
            (table.high[:, totals], table.low[:, totals]), (table.high[:, 2:3], table.low[:, 2:3])
        )
        means = sums[:, totals] / sums[:, 2:3]
        whole = np.where(n > 0, weight / sums[:, -1], 0.0)
    errors = standard_error(n[:, np.newaxis], sums[:, 2:3], spread(table, mean))
    return Means(n.astype(np.int64), undefined.astype(np.int64), whole, means, errors)


@cache
def _tally_means() -> Any:
    """The compiled loop; it writes into nothing but the room."""
    numbers, keys = np.empty(0), np.empty(0, np.int64)
    return compiler().load_or_compile(tally_means, (numbers, keys, powers_of(1), NO_ROOM))
