"""How far a mean over rows may be from what it estimates."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...call.arrays import Array
from .double_double import add, divide, multiply, total
from .table import Table


def standard_error(n: Any, weight: Any, squares: Any) -> Any:
    """sqrt(n / (n - 1) (sum of w^2 (x - mean)^2)) / (sum of w), of n independent rows.

    With equal weights it is that of textbooks, and of one row it is NaN.

    Source: W. G. Cochran, Sampling Techniques (1977): a weighted mean is a ratio of two sums.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(n / (n - 1) * squares) / weight


def errors_by_cluster(
    table: Table, n_counted: int, weight: int, columns: Iterable[int]
) -> tuple[int, Array] | None:
    """How many clusters have rows, and the standard errors of the means of some columns.

    None unless each row that counts has a cluster. The keys of the table are clusters; the first
    column has the number of their rows, one the sums of their weights w, and others those of w x.
    The error of the mean of x over G clusters, with W the sum of the weights, is

        sqrt(G / (G - 1) sum over clusters g of (sum over rows i of g of w_i (x_i - mean))^2) / W

    Rows of a cluster belong together, as words of a text do; only clusters are independent. If each
    cluster is one row, it is `standard_error`; of one cluster it is NaN.

    Source: W. G. Cochran, Sampling Techniques (1977), chapter 9.
    """
    if not n_counted or not table.n_keys or table.high[:, 0].sum() != n_counted:
        return None
    there = table.high[:, -1] > 0
    alike = (table if there.all() else table.select(there)).alike()
    n = alike.n_keys
    of_weights, of_columns = (
        (alike.high[:, part], alike.low[:, part]) for part in ([weight], list(columns))
    )
    with np.errstate(all="ignore"):
        mean = divide(total(*of_columns), total(*of_weights))
        away = add(of_columns, multiply((-mean[0], -mean[1]), of_weights))[0]
        # Rounded, so that bits do not depend on how the rows were split.
        whole = (of_weights[0] + of_weights[1]).sum()
        return n, standard_error(np.float64(n), whole, (away * away).sum(axis=0))
