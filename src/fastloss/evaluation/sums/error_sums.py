"""What a scorecard of numbers has seen: sums over rows of targets and predictions."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array
from ...compiler.interrupts import compiler
from ...kernels import error_tiles as kernel
from ...kernels.tally_errors import SCRATCH, tally_errors
from ..regression.deviance import center_of, tangent
from ..row_numbers import RowNumbers
from .accumulator import PENDING_ROWS, Sums, joined
from .double_double import add, exact_sum, multiply
from .group_names import GroupNames
from .number_bins import empty_bins, rounded_down, weights_by_bin
from .samples import NOT_SAMPLED, Sampled, Samples
from .score_table import ScoreTable
from .state import entry
from .table import Layout, Table

ERRORS = Layout(
    kernel.TERM_POWERS,
    centers=slice(kernel.CENTER, kernel.CENTER + 3),
    firsts=slice(kernel.FIRST, kernel.FIRST + 3),
    seconds=slice(kernel.SECOND, kernel.SECOND + 3),
    squared_weight=kernel.SQUARED_WEIGHT,
    largest=slice(kernel.LARGEST, kernel.LARGEST + 1),
)
MOMENTS = Layout(
    kernel.MOMENT_POWERS,
    centers=slice(kernel.Y_CENTER, kernel.Y_CENTER + 3),
    firsts=slice(kernel.Y_FIRST, kernel.Y_FIRST + 3),
    seconds=slice(kernel.Y_SECOND, kernel.Y_SECOND + 3),
    product=(0, 1, kernel.PRODUCT),
)
# Rows that are looked at before the next ones are: all of them where they can be read as they lie,
# few where something is computed of them first, which should stay in the caches, and more where
# they are sorted by groups, as tables of these are merged each time.
_SLAB, _SMALL_SLAB, _GROUPED_SLAB = 1 << 26, 1 << 16, 1 << 21
# A run is a power of two at least, and there are so many runs at most unless there are groups.
_RUN, _N_RUNS = 1 << 14, 64
# So many rows are worth waking a thread.
_PARALLEL = 1 << 15
GROUP_NAMES = "group_names"
# The group of rows that have none; they are apart from those that have.
NO_GROUP = 0


class Rows(NamedTuple):
    """Rows that are not added up yet."""

    targets: Array  # of shape (n, k)
    predictions: Array  # of shape (n, k) or (n, k, q)
    weight: Array | None
    groups: Array | None
    sampled: Sampled = NOT_SAMPLED

    def at(self, index: Any) -> "Rows":
        """Some of the rows."""
        weight = None if self.weight is None else self.weight[index]
        groups = None if self.groups is None else self.groups[index]
        targets, predictions = self.targets[index], self.predictions[index]
        return Rows(targets, predictions, weight, groups, self.sampled.at(index))


class _Fields(NamedTuple):
    numbers_of_rows: RowNumbers
    bootstrap: int = 0  # replicates
    memory_limit: int | None = None  # bytes of |e| for medians
    parts: Mapping[str, Any] = {GROUP_NAMES: GroupNames()}
    n_rows: int = 0
    n_columns: int = -1  # 0: targets have one axis; -1: not known yet
    pending: tuple[Rows, ...] = ()
    n_pending: int = 0


class ErrorSums(_Fields, Sums):
    __slots__ = ()

    def with_columns(self, n: int) -> "ErrorSums":
        """With empty tables for so many columns, unless there are some already."""
        if self.n_columns >= 0 or n < 0:
            return self
        empty = {name: Table.empty(_layout(name)) for name in self._names(n)}
        empty |= {name: empty_bins() for name in self.histograms(n)}
        limit = self.memory_limit
        limit = None if limit is None else limit // max(n, 1)
        bins = self.numbers_of_rows.bins
        medians = {name: ScoreTable.empty(bins, limit) for name in self.medians(n)}
        n_means = max(n, 1) * len(self.numbers_of_rows.sampled)
        samples = {SAMPLES: Samples.empty(n_means, self.bootstrap)}
        return self._replace(n_columns=n, parts={**self.parts, **empty, **medians, **samples})

    def medians(self, n_columns: int) -> list[str]:
        """The names of the tables of |e| that medians are found in, one for each column."""
        wanted = self.numbers_of_rows.median
        return [f"{MEDIAN}/{j}" for j in range(max(n_columns, 1))] if wanted else []

    def histograms(self, n_columns: int) -> tuple[str, ...]:
        """The names of the tables of errors, and of predictions and labels, by bin."""
        numbers = self.numbers_of_rows
        wanted = numbers.histograms and numbers.point is not None and n_columns <= 1
        return ("errors_by_bin", "pairs_by_bin") if wanted else ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of tables; each column has one of rows with groups, and one of rows without."""
        numbers = self.numbers_of_rows
        return ((ERROR, MOMENT) if numbers.point is not None else ()) + numbers.names

    def _names(self, n_columns: int) -> Iterator[str]:
        for j in range(max(n_columns, 1)):
            for kind in self.kinds:
                for by_group in False, True:
                    yield name_of(kind, j, by_group)

    def check(self, new: "ErrorSums", other: bool = False) -> None:
        super().check(new, other)
        if -1 not in (self.n_columns, new.n_columns) and self.n_columns != new.n_columns:
            shapes = ["(n,)" if n == 0 else f"(n, {n})" for n in (new.n_columns, self.n_columns)]
            raise ValueError(
                f"{'other has' if other else 'there are'} labels of shape {shapes[0]}, but those "
                f"that came before have {shapes[1]}: keep a scorecard for each"
            )

    def plus(self, other: "ErrorSums") -> "ErrorSums":
        n = max(self.n_columns, other.n_columns)
        return super(ErrorSums, self.with_columns(n)).plus(other.with_columns(n))

    def numbers(self) -> dict[str, Array]:
        return {"rows": np.array([self.n_rows, self.n_columns], np.int64)}

    def from_state(self, state: Mapping[str, Array]) -> "ErrorSums":
        n_rows, n_columns = entry(state, "rows", np.int64, (2,)).tolist()
        if n_rows < 0 or not -1 <= n_columns <= len(state):
            raise ValueError("'rows' of the state are not what they were: it is damaged")
        empty = self.with_columns(n_columns)
        parts: dict[str, Any] = {
            name: Table.from_state(table.layout, name, state, None)
            for name, table in empty.parts.items()
            if isinstance(table, Table)
        }
        if n_columns >= 0:
            for name in empty.medians(n_columns):
                table = ScoreTable.from_state(name, state, self.numbers_of_rows.bins)
                parts[name] = empty.parts[name].merged(table)
            parts[SAMPLES] = empty.parts[SAMPLES].from_state(SAMPLES, state)
        ids = [table.ids for name, table in parts.items() if name.endswith(_BY_GROUP)]
        if any(not np.array_equal(each, ids[0]) for each in ids):
            raise ValueError("tables of the state have different groups: it is damaged")
        groups = ids[0] if ids else np.empty(0, np.int64)
        parts[GROUP_NAMES] = GroupNames.from_state(GROUP_NAMES, state, groups)
        return empty._replace(n_rows=n_rows, parts=parts)

    def with_new(self, rows: Rows) -> "ErrorSums":
        """The sums with more rows: added up, or copied if they are few."""
        n = len(rows.targets)
        few = n < PENDING_ROWS
        sums = self.with_rows(rows.at(np.arange(n)) if few else rows, n)
        return sums if few else sums.added_up()

    def _with_pending(self) -> dict[str, Any]:
        parts = dict(self.parts)
        for each in self.pending:
            if each.sampled.is_any:
                parts[SAMPLES] = _with_samples(parts[SAMPLES], each, self.numbers_of_rows)
        for grouped in False, True:
            rows = [each for each in self.pending if (each.groups is not None) is grouped]
            if rows:
                every = _joined(rows)
                for name, table in _tables_of(every, self.numbers_of_rows):
                    parts[name] = parts[name].merged(table)
                for j, name in enumerate(self.medians(self.n_columns)):
                    sizes = _sizes_of_errors(every, j, self.numbers_of_rows)
                    parts[name] = parts[name].merged(
                        ScoreTable.of(None, sizes, every.weight, self.numbers_of_rows.bins)
                    )
                if self.histograms(self.n_columns):
                    for name, table in _histograms_of(every, self.numbers_of_rows):
                        parts[name] = parts[name].merged(table)
                weight = every.weight
                if every.groups is not None and weight is not None and not weight.all():
                    # Rows of weight 0 count nowhere, but their groups are known.
                    ids = np.unique(every.groups)
                    for name in self._names(self.n_columns):
                        if name.endswith(_BY_GROUP):
                            parts[name] = parts[name].with_keys(ids)
        return {"parts": parts}


# The tables of errors, of moments and for medians, and how the names of those by group end; and
# what errors by cluster and a bootstrap need.
ERROR, MOMENT, MEDIAN, SAMPLES = "error", "moment", "median", "samples"
_BY_GROUP = "/group"


def name_of(kind: str, column: int, by_group: bool) -> str:
    """The name of a table, which begins with that of what it adds up."""
    return f"{kind}/{column}" + (_BY_GROUP if by_group else "")


def _layout(name: str) -> Layout:
    return MOMENTS if name.partition("/")[0] == MOMENT else ERRORS


def _joined(rows: list[Rows]) -> Rows:
    if len(rows) == 1:
        return rows[0]
    weighted = any(each.weight is not None for each in rows)
    weights = [np.ones(len(each.targets)) if each.weight is None else each.weight for each in rows]
    groups = [each.groups for each in rows if each.groups is not None]
    return Rows(
        joined([each.targets for each in rows]),
        joined([each.predictions for each in rows]),
        joined(weights) if weighted else None,
        joined(groups) if groups else None,
    )


def _tables_of(rows: Rows, numbers: RowNumbers) -> Iterator[tuple[str, Table]]:
    """The tables of rows, each by its name; several of a name are to be merged."""
    n = len(rows.targets)
    slab = _SMALL_SLAB
    if rows.groups is not None:
        slab = _GROUPED_SLAB
    elif not numbers.names and _plain(rows.targets, rows.predictions):
        slab = _SLAB
    for start in range(0, n, slab):
        part = rows.at(slice(start, start + slab))
        if part.weight is not None and not part.weight.all():
            part = part.at(part.weight != 0)
        if not len(part.targets):
            continue
        ids, edges = np.array([NO_GROUP]), np.array([0, len(part.targets)])
        if part.groups is not None:
            order = _order_of(part.groups)
            groups, part = part.groups[order], part.at(order)
            first = np.flatnonzero(np.diff(groups, prepend=~groups[:1]))
            ids, edges = groups[first], np.append(first, len(groups))
        yield from _tables_of_slab(part, numbers, ids, edges)


def _order_of(groups: Array) -> Array:
    """The places of rows, sorted by their groups, and in their order within each.

    NumPy sorts 16 bits by counting: 32 of them, in two steps, take a third of the time of 64.
    """
    lowest = groups.min()
    if int(groups.max()) - int(lowest) >= 1 << 32:
        return np.argsort(groups, kind="stable")
    places = (groups - lowest).astype(np.uint32)
    order = np.argsort(places.astype(np.uint16), kind="stable")
    upper = (places >> 16).astype(np.uint16)
    return order[np.argsort(upper[order], kind="stable")] if upper.any() else order


def _tables_of_slab(
    rows: Rows, numbers: RowNumbers, ids: Array, edges: Array
) -> Iterator[tuple[str, Table]]:
    by_group, weight = rows.groups is not None, rows.weight
    for j in range(rows.targets.shape[1]):
        targets, predictions = rows.targets[:, j], rows.predictions[:, j]
        if numbers.point is not None:
            point = predictions if predictions.ndim == 1 else predictions[:, numbers.point]
            errors, moments = _tally(targets, point, weight, ids, edges)
            yield name_of(ERROR, j, by_group), errors
            yield name_of(MOMENT, j, by_group), moments
        if numbers.names:
            targets, predictions = targets.astype(np.float64), predictions.astype(np.float64)
            nothing, center = np.zeros(len(targets)), center_of(targets)
            found = numbers.of_rows(targets, predictions, center)
            for name, each in zip(numbers.names, found, strict=True):
                # The mean of a number is that of its distance from nothing.
                table = _tally(nothing, each, weight, ids, edges)[0]
                if name in numbers.generators:
                    table = _with_tangent(table, moments, numbers.generators[name], center)
                yield name_of(name, j, by_group), table


def _with_tangent(table: Table, moments: Table, power: float, center: float) -> Table:
    """The sums of a generator of labels, of one of what it has more than its tangent."""
    value, slope = tangent(power, center)
    centers = exact_sum(moments.high[:, kernel.Y_CENTER], -center)
    weight, first, whole = (
        (each.high[:, i], each.low[:, i])
        for each, i in ((moments, 0), (moments, kernel.Y_FIRST), (table, kernel.ERROR))
    )
    gaps = add(first, multiply(weight, centers))
    high, low = table.high.copy(), table.low.copy()
    with np.errstate(all="ignore"):
        more = add(multiply(weight, value), multiply(gaps, slope))
        high[:, kernel.ERROR], low[:, kernel.ERROR] = add(whole, more)
    return table._replace(high=high, low=low)


def _with_samples(samples: Samples, rows: Rows, numbers: RowNumbers) -> Samples:
    """The samples with all means of each column of some rows."""
    for start in range(0, len(rows.targets), _SMALL_SLAB):
        part = rows.at(slice(start, start + _SMALL_SLAB))
        targets, predictions = part.targets.astype(float), part.predictions.astype(float)
        weight = np.ones(len(targets)) if part.weight is None else part.weight
        # Rows of weight 0 may hold what numbers are not of.
        with np.errstate(all="ignore"):
            columns = [
                number
                for j in range(targets.shape[1])
                for number in numbers.with_errors(targets[:, j], predictions[:, j])
            ]
        samples = samples.with_rows(part.sampled, np.column_stack([weight, *columns]))
    return samples


def _sizes_of_errors(rows: Rows, column: int, numbers: RowNumbers) -> Array:
    """|e| of each row."""
    sizes = np.empty(len(rows.targets))
    for start in range(0, len(sizes), _SMALL_SLAB):
        part = rows.at(slice(start, start + _SMALL_SLAB))
        predictions = part.predictions[:, column]
        point = predictions if predictions.ndim == 1 else predictions[:, numbers.point or 0]
        targets = part.targets[:, column].astype(np.float64)
        with np.errstate(invalid="ignore"):
            found = np.abs(point.astype(np.float64) - targets)
        sizes[start : start + len(found)] = found
        if numbers.bins is not None:
            # Bins are of float32, which rounds to the nearest: no size may cross an edge.
            sizes[start : start + len(found)] = rounded_down(found)
    return sizes


def _histograms_of(rows: Rows, numbers: RowNumbers) -> Iterator[tuple[str, Table]]:
    for start in range(0, len(rows.targets), _SMALL_SLAB):
        part = rows.at(slice(start, start + _SMALL_SLAB))
        if part.weight is not None and not part.weight.all():
            part = part.at(part.weight != 0)
        predictions = part.predictions[:, 0]
        point = predictions if predictions.ndim == 1 else predictions[:, numbers.point or 0]
        labels = part.targets[:, 0].astype(np.float64)
        found = weights_by_bin(labels, point.astype(np.float64), part.weight)
        yield from zip(("errors_by_bin", "pairs_by_bin"), found, strict=True)


def _plain(*arrays: Array) -> bool:
    """Whether kernels can read arrays as they lie, each column of them."""
    dtypes = {each.dtype for each in arrays}
    return (
        len(dtypes) == 1
        and dtypes <= _READ
        and all(each.shape[1:] == (1,) and each.flags.c_contiguous for each in arrays)
    )


_READ = {np.dtype(np.float32), np.dtype(np.float64)}


def _tally(
    targets: Array, predictions: Array, weight: Array | None, ids: Array, edges: Array
) -> tuple[Table, Table]:
    """Errors and moments of rows, of which those from one edge to the next have the same id."""
    n = len(targets)
    same = targets.dtype == predictions.dtype and targets.dtype in _READ
    dtype = targets.dtype if same else np.dtype(np.float64)
    y, p = (np.ascontiguousarray(each, dtype) for each in (targets, predictions))
    w: Any = () if weight is None else np.ascontiguousarray(weight, np.float64)
    # Runs depend on the numbers of rows alone, and so do results.
    run = max(_RUN, -(-n // (_N_RUNS * kernel.TILE)) * kernel.TILE)
    n_runs = -(-np.diff(edges) // run)
    of_run = np.repeat(np.arange(len(ids)), n_runs)
    first = np.cumsum(n_runs) - n_runs
    starts = edges[of_run] + run * (np.arange(len(of_run)) - first[of_run])
    bounds = np.append(starts, n)
    m = len(of_run)
    high, low = np.empty((2, m, kernel.N_TERMS))
    moments, rests = np.empty((2, m, kernel.N_MOMENTS))
    sums = [each.reshape(-1) for each in (high, low, moments, rests)]
    tally, n_tasks = _tally_errors(dtype, weight is not None), min(m, _N_RUNS)

    def run_task(index: int) -> None:
        part = m * index // n_tasks, m * (index + 1) // n_tasks
        tally(y, p, w, bounds, *part, *sums, np.empty(SCRATCH))

    threads.run(run_task, n_tasks, parallel=n >= _PARALLEL)
    of_each = ids[of_run]
    tables = Table(ERRORS, of_each, high, low), Table(MOMENTS, of_each, moments, rests)
    if len(ids) > 1:
        return tables[0].by_id(), tables[1].by_id()
    return tables[0].total()._replace(ids=ids), tables[1].total()._replace(ids=ids)


@cache
def _tally_errors(dtype: np.dtype[Any], weighted: bool) -> Callable[..., None]:
    numbers, sums = np.empty(0, dtype), np.empty(0)
    examples = numbers, numbers, sums if weighted else (), np.empty(0, np.int64), 0, 0
    return compiler().load_or_compile(  # type: ignore[no-any-return]
        tally_errors(weighted, dtype == np.float32),
        (*examples, sums, sums, sums, sums, sums),
    )
