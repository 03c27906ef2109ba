"""How far a mean over rows may be from what it estimates."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...call.arrays import Array
from .double_double import Pair, add, divide, multiply
from .table import Table, aligned


def standard_error(n: Any, weight: Any, squares: Any) -> Any:
    """sqrt(n / (n - 1) (sum of w^2 (x - mean)^2)) / (sum of w), of n independent rows.

    With equal weights it is that of textbooks, and of one row it is NaN.

    Source: W. G. Cochran, Sampling Techniques (1977): a weighted mean is a ratio of two sums.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(n / (n - 1) * squares) / weight


def clustered_error(weights: Pair, sums: Pair, mean: Pair) -> float:
    """sqrt(G / (G - 1) sum over clusters g of (sum over rows i of g of w_i (x_i - mean))^2) / W.

    Rows of a cluster belong together, as words of a text do; only clusters are independent. Of each
    are given the sum of its weights w and that of w x. G clusters have a weight above 0, and W is
    the sum of all. If each cluster is one row, it is `standard_error`; of one cluster it is NaN.

    Source: W. G. Cochran, Sampling Techniques (1977), chapter 9.
    """
    n = np.count_nonzero(weights[0] > 0)
    with np.errstate(all="ignore"):
        away = add(sums, multiply((-mean[0], -mean[1]), weights))[0]
        # Rounded, so that bits do not depend on how the rows were split.
        whole = (weights[0] + weights[1]).sum()
        return float(standard_error(np.float64(n), whole, (away * away).sum()))


def errors_by_cluster(table: Table, weight: int, columns: Iterable[int]) -> tuple[int, Array]:
    """How many clusters have rows, and the standard errors of the means of some columns.

    The keys of the table are clusters; one column has the sums of their weights w, and others those
    of w x.
    """
    columns = list(columns)
    here = table.select(table.high[:, -1] > 0)
    if not here.n_keys:
        return 0, np.full(len(columns), np.nan)
    scales = here.high[:, -1]
    center = here.high[scales.argmax(), here.layout.centers]
    high, low = aligned(here.layout, (here.high, here.low), scales.min(), center)
    whole = table.total()
    with np.errstate(all="ignore"):
        errors = [
            clustered_error(
                (high[:, weight], low[:, weight]),
                (high[:, i], low[:, i]),
                divide(
                    (whole.high[0, i], whole.low[0, i]),
                    (whole.high[0, weight], whole.low[0, weight]),
                ),
            )
            for i in columns
        ]
    return here.n_keys, np.array(errors)
