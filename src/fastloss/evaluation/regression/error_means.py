"""From sums of errors and moments to the numbers of `RegressionScores`."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...call.arrays import Array
from ...kernels import error_tiles as kernel
from ...kernels.error_tiles import Terms
from ..ranks.operating_points import Quantiles
from ..ranks.rank_statistics import read
from ..resampling import Bootstrap, fields_of
from ..row_numbers import ERRORS, RowNumbers
from ..sums.double_double import Pair, add, divide, multiply
from ..sums.error_sums import ERROR, GROUP_NAMES, MOMENT, SAMPLES, ErrorSums, name_of
from ..sums.group_names import GroupNames
from ..sums.samples import Samples
from ..sums.score_table import ScoreTable
from ..sums.standard_error import standard_error
from ..sums.table import Table, spread
from .deviance import generator, tangent
from .histograms import histograms_of
from .regression_scores import (
    MEDIANS,
    NUMBERS,
    ColumnErrors,
    GroupErrors,
    QuantileScores,
    RegressionScores,
)

# Of labels whose variance is so small beside their squared mean, a deviance loses digits. Below the
# second bound twice the digits of float64 are too few, and the first term of the series about the
# mean has more.
_CLOSE, _CLOSEST = 1e-2, 1e-21


def scores_of(sums: ErrorSums, force_finite: bool) -> RegressionScores:
    """What is known of rows that were added up."""
    sums = sums.with_columns(0)
    numbers, n_columns = sums.numbers_of_rows, max(sums.n_columns, 1)
    columns = [
        {kind: sums.parts[name_of(kind, j, False)] for kind in sums.kinds} for j in range(n_columns)
    ]
    by_group = [
        {kind: sums.parts[name_of(kind, j, True)] for kind in sums.kinds} for j in range(n_columns)
    ]
    every = [
        {kind: _total(table, groups[kind]) for kind, table in column.items()}
        for column, groups in zip(columns, by_group, strict=True)
    ]
    found = _found(every, numbers, force_finite)
    medians = [_median_of(sums.parts[name]) for name in sums.medians(n_columns)]
    for i, name in enumerate(MEDIANS if medians else ()):
        found[name] = np.array([[each[i] for each in medians]])
    n, weight = (_each(found.pop(name), _number) for name in ("n", "weight"))
    sure = _with_samples(found, sums.parts[SAMPLES], n, numbers, n_columns)
    groups = _groups(by_group, sums, force_finite)
    of_all = {name: _each(value, _reduced(name)) for name, value in found.items()}
    one = {name: _each(value, _number) for name, value in of_all.items()}
    by_column = None
    if sums.n_columns:
        own = {name: _each(value, lambda array: array[0]) for name, value in found.items()}
        by_column = ColumnErrors(**_complete(own, numbers))
    return RegressionScores(
        **_complete(one, numbers),
        n_rows=sums.n_rows,
        n_counted=n,
        weight=weight,
        by_column=by_column,
        groups=groups,
        histograms=histograms_of(*(sums.parts[name] for name in sums.histograms(n_columns))),
        **sure,
    )


def _with_samples(
    found: dict[str, Any], samples: Samples, n: int, numbers: RowNumbers, n_columns: int
) -> dict[str, Any]:
    """Fields that say how sure means are; standard errors by cluster come in place of others."""
    names = [f"{name}/{j}" for j in range(n_columns) for name in numbers.sampled]
    sure = fields_of((samples, names, n))

    def of_columns(name: str, what: str = "_standard_error") -> Array:
        return np.array([[sure.pop(f"{name}/{j}{what}") for j in range(n_columns)]])

    if "n_clusters" in sure:
        if numbers.point is not None:
            for name in ERRORS:
                found[f"{name}_standard_error"] = of_columns(name)
            found["rmse_standard_error"] = _of_root(found["rmse"], found["mse_standard_error"])
        for name, kind, n_kinds in _of_quantiles(numbers):
            columns = [of_columns(f"{kind} {i}") for i in range(n_kinds)]
            if columns:
                found["quantiles"][f"{name}_standard_error"] = np.stack(columns, axis=-1)
    bootstrap: Bootstrap | None = sure["bootstrap"]
    if bootstrap is not None:
        replicates = {
            name: np.mean(
                [change(bootstrap.replicates[f"{kind}/{j}"]) for j in range(n_columns)], 0
            )
            for name, kind, change in _resampled(numbers)
        }
        empty = next(iter(bootstrap._empty.values()))
        bootstrap = replace(
            bootstrap, replicates=replicates, _empty=dict.fromkeys(replicates, empty)
        )
    kept = ("errors", "n_clusters")
    return {name: sure[name] for name in kept if name in sure} | {"bootstrap": bootstrap}


def _resampled(numbers: RowNumbers) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Means that have replicates: their names, what sums they are of, and what is made of these."""
    if numbers.point is not None:
        for name in ERRORS:
            yield name, name, np.asarray
        yield "rmse", "mse", np.sqrt
    if numbers.rmsle:
        yield "rmsle", "log", np.sqrt
    for name, _ in numbers.deviances:
        yield f"{name} deviance", f"deviance {name}", np.asarray
    for name, kind, n in _of_quantiles(numbers):
        levels = numbers.quantiles if n == len(numbers.quantiles) else numbers.levels
        for i in range(n):
            yield f"{name} {levels[i]:g}", f"{kind} {i}", np.asarray
    if numbers.quantiles:
        yield "crossing", "crossing", np.asarray


def _of_quantiles(numbers: RowNumbers) -> tuple[tuple[str, str, int], ...]:
    """Means for each quantile, or each interval: what they are of, and how many there are."""
    n, m = len(numbers.quantiles), len(numbers.pairs)
    return (
        ("pinball", "pinball", n),
        ("coverage", "covered", n),
        ("interval_coverage", "inside", m),
        ("width", "width", m),
        ("winkler", "winkler", m),
    )


def _of_root(root: Array, error: Array) -> Array:
    """The standard error of the root of a mean."""
    with np.errstate(all="ignore"):
        found: Array = error / np.where(root > 0, 2 * root, 1.0)
    return found


def _groups(
    columns: list[dict[str, Table]], sums: ErrorSums, force_finite: bool
) -> GroupErrors | None:
    first = columns[0][sums.kinds[0]]
    if not first.n_keys:
        return None
    names: GroupNames = sums.parts[GROUP_NAMES]
    order, ids = names.sorted(first.ids)
    ordered = [{kind: table.select(order) for kind, table in column.items()} for column in columns]
    found = {
        name: _each(value, _reduced(name))
        for name, value in _found(ordered, sums.numbers_of_rows, force_finite).items()
    }
    return GroupErrors(**_complete(found, sums.numbers_of_rows), ids=ids, columns=names.columns)


def _each(value: Any, change: Callable[[Array], Any]) -> Any:
    """An array, or each of a dictionary of them, changed."""
    if isinstance(value, dict):
        return {name: _each(each, change) for name, each in value.items()}
    return change(value)


def _number(array: Array) -> Any:
    """What there is of the only key: a number, or an array if there are several."""
    first = array[0]
    return first.item() if np.ndim(first) == 0 else first


def _reduced(name: str) -> Callable[[Array], Array]:
    """What becomes of a number that columns have, which are the second axis."""
    if name in ("n", "weight"):
        return lambda array: array
    if name in ("n_undefined", "n_zero_labels"):
        return lambda array: array.sum(axis=1)
    if name == "maximum_error":
        return lambda array: array.max(axis=1)
    return lambda array: array[:, 0] if array.shape[1] == 1 else array.mean(axis=1)


def _complete(found: dict[str, Any], numbers: RowNumbers) -> dict[str, Any]:
    """Fields of `Errors`."""
    of_quantiles = found.pop("quantiles")
    quantiles = None
    if of_quantiles:
        quantiles = QuantileScores(
            quantiles=np.array(numbers.quantiles), level=np.array(numbers.levels), **of_quantiles
        )
    return found | {"quantiles": quantiles}


def _total(table: Table, by_group: Table) -> Table:
    """The sums over all rows, of no group and of any."""
    total = table.merged(by_group.total())
    if total.n_keys:
        return total
    zeros = np.zeros((1, table.layout.width))
    return Table(table.layout, np.zeros(1, np.int64), zeros, zeros)


def _found(
    columns: list[dict[str, Table]], numbers: RowNumbers, force_finite: bool
) -> dict[str, Any]:
    """All numbers, of shape (keys, columns), from the tables of each column by their kinds."""
    n = len(columns)
    # The keys of one column behind those of the other, as to compute with many takes no longer.
    every = {
        kind: Table(
            table.layout, *map(np.concatenate, zip(*(c[kind][1:] for c in columns), strict=True))
        )
        for kind, table in columns[0].items()
    }

    def by_key(array: Array) -> Array:
        return array.reshape(n, len(array) // n, *array.shape[1:]).swapaxes(0, 1)

    found: dict[str, Any] = _each(_of_tables(every, numbers, force_finite), by_key)
    return found | {name: found[name][:, 0] for name in ("n", "weight")}


@np.errstate(all="ignore")
def _of_tables(tables: dict[str, Table], numbers: RowNumbers, force_finite: bool) -> dict[str, Any]:
    first = next(table for kind, table in tables.items() if kind != MOMENT)
    terms = Terms(*first.sums.T)
    found: dict[str, Any] = {
        "n": terms.n.astype(np.int64),
        "weight": np.where(terms.n > 0, terms.weight / terms.scale, 0.0),
        "n_undefined": terms.n_undefined.astype(np.int64),
        "n_zero_labels": np.zeros(len(terms.n), np.int64),
        **dict.fromkeys(NUMBERS[2:], np.full(len(terms.n), np.nan)),
        "deviance": {},
        "d2": {},
        "quantiles": {},
    }
    if ERROR in tables:
        known = _errors_of(tables[ERROR], terms) | _shares_of(tables[MOMENT], terms, force_finite)
        hidden = _are_unknown(terms)
        if hidden.any():
            known = {name: np.where(hidden, np.nan, value) for name, value in known.items()}
        found |= known
        found["n_zero_labels"] = terms.n_zero.astype(np.int64)
    if numbers.rmsle:
        found["rmsle"] = np.sqrt(_mean_of(tables["log"])[0])
    for name, power in numbers.deviances:
        found["deviance"][name] = mean = _mean_of(tables[f"deviance {name}"])[0]
        whole = _of_constant(power, tables[f"generator {name}"], tables[MOMENT])
        found["d2"][name] = np.where(terms.n < 2, np.nan, _share(mean, whole, force_finite))
    if numbers.quantiles:
        found["quantiles"] = _quantiles_of(tables, numbers)
    return found


def _are_unknown(terms: Terms) -> Array:
    """Whether means are NaN: because a number is, or there is none."""
    unknown: Array = (terms.n_undefined > 0) | (terms.n == 0)
    return unknown


def _means_of(table: Table, terms: Terms) -> tuple[Array, Array]:
    """The means of e, |e| and e^2, and their standard errors, each of shape (3, keys)."""
    part = slice(kernel.ERROR, kernel.ERROR + 3)
    mean = divide((table.high[:, part], table.low[:, part]), table.column(kernel.WEIGHT))
    errors = standard_error(terms.n, terms.weight, spread(table, mean).T)
    sums = np.stack(terms[part]) / terms.weight
    # Of the largest numbers no digits beyond float64 are known; infinite means are theirs, too.
    return np.where(np.isfinite(mean[0].T), mean[0].T, sums), errors


def _mean_of(table: Table) -> tuple[Array, Array]:
    """The mean of a number, and its standard error."""
    terms = Terms(*table.sums.T)
    hidden = _are_unknown(terms)
    mean, error = (np.where(hidden, np.nan, each[0]) for each in _means_of(table, terms))
    return mean, error


def _errors_of(table: Table, terms: Terms) -> dict[str, Array]:
    (bias, mae, mse), (of_bias, of_mae, of_mse) = _means_of(table, terms)
    rmse = np.sqrt(mse)
    return {
        "maximum_error": terms.largest,
        "mape": terms.relative / terms.relative_weight,
        "smape": terms.symmetric / terms.weight,
        "wape": np.where(terms.size > 0, terms.absolute / terms.size, np.nan),
        "bias": bias,
        "bias_standard_error": of_bias,
        "mse": mse,
        "mse_standard_error": of_mse,
        "rmse": rmse,
        "rmse_standard_error": _of_root(rmse, of_mse),
        "mae": mae,
        "mae_standard_error": of_mae,
    }


def _shares_of(moments: Table, terms: Terms, force_finite: bool) -> dict[str, Array]:
    """What compares labels and predictions by their variances."""
    means = _center_means(moments)
    label, prediction, error = spread(moments, means).T
    # The covariance times n: the product of both moments is taken from that about centers.
    y, p = ((moments.high[:, i], moments.low[:, i]) for i in (kernel.Y_FIRST, kernel.Y_FIRST + 1))
    weight = moments.high[:, 0], moments.low[:, 0]
    less = multiply(divide(y, weight), p)
    product = moments.high[:, kernel.PRODUCT], moments.low[:, kernel.PRODUCT]
    covariance = add(product, (-less[0], -less[1]))[0]
    bias = terms.error / terms.weight
    pearson = covariance / (np.sqrt(label) * np.sqrt(prediction))
    both = label + prediction + terms.weight * bias * bias
    r2 = _share(terms.squared, label, force_finite)
    return {
        "r2": np.where(terms.n < 2, np.nan, r2),
        "explained_variance": _share(error, label, force_finite),
        "pearson": np.clip(pearson, -1.0, 1.0),
        "concordance": 2 * covariance / both,
    }


def _center_means(moments: Table) -> Pair:
    """The means of labels, predictions and errors."""
    layout = moments.layout
    first = moments.high[:, layout.firsts], moments.low[:, layout.firsts]
    centers = moments.high[:, layout.centers]
    return add((centers, np.zeros_like(centers)), divide(first, moments.column(0)))


def _share(rest: Array, whole: Array, force_finite: bool) -> Array:
    """1 - rest / whole. Of nothing it is NaN, or else 1 if there is no rest, and 0 if there is."""
    share = np.where(np.isinf(whole), np.nan, 1 - rest / whole)
    of_nothing = np.where(rest == 0, 1.0, 0.0) if force_finite else np.nan
    return np.where(whole == 0, of_nothing, share)


def _of_constant(power: float, generators: Table, moments: Table) -> Array:
    """The deviance of the mean of the labels, predicted for each row."""
    mean, of_labels = _center_means(moments), _mean_of(generators)[0]
    variance = spread(moments, mean)[:, 0] / moments.sums[:, 0]
    m, rest = mean[0][:, 0], mean[1][:, 0]
    found: Array = 2 * (of_labels - generator(power, m))
    found = np.where(variance > 0, found, np.where(np.isnan(variance), np.nan, 0.0))
    # Of labels that differ little, the difference takes more digits than float64 has.
    close = (variance > 0) & (variance <= _CLOSE * m * m) & (m > 0) & np.isfinite(found)
    whole = (
        generators.high[:, kernel.ERROR, np.newaxis],
        generators.low[:, kernel.ERROR, np.newaxis],
    )
    exact = divide(whole, generators.column(kernel.WEIGHT))
    for i in np.flatnonzero(close).tolist():
        value, slope = tangent(power, float(m[i]))
        of_mean = add(value, multiply(slope, (rest[i], 0.0)))
        found[i] = 2 * add((exact[0][i, 0], exact[1][i, 0]), (-of_mean[0], -of_mean[1]))[0]
    found = np.where(close & (variance <= _CLOSEST * m * m), variance * m**-power, found)
    return np.maximum(found, 0.0)


def _median_of(table: ScoreTable) -> tuple[float, float, float]:
    """The median, and between which numbers it lies: of bins, in the middle of them."""
    if table.n_nan or not table.n_rows:
        return (math.nan,) * 3
    quantiles = Quantiles(0.5)
    low = float(read(table, quantiles)[0][0])
    if table.bins is None:
        return (low,) * 3
    high = float(table.ends(quantiles.around).mean())
    return low / 2 + high / 2, low, high


def _quantiles_of(tables: dict[str, Table], numbers: RowNumbers) -> dict[str, Array]:
    """Of shape (keys, quantiles) or (keys, intervals)."""
    found: dict[str, Array] = {}
    for name, kind, n in _of_quantiles(numbers):
        n_keys = tables["crossing"].n_keys
        each = [_mean_of(tables[f"{kind} {i}"]) for i in range(n)]
        for suffix, k in ("", 0), ("_standard_error", 1):
            columns = [both[k] for both in each]
            found[name + suffix] = np.stack(columns, -1) if n else np.empty((n_keys, 0))
    return found | {"crossing": _mean_of(tables["crossing"])[0]}
