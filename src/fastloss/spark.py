"""Evaluation of data frames of Spark: each part where it lies, and what was added up merged."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .call import threads
from .evaluation.tasks import options_of_call, task_named

_STATE = "state"


def evaluate(
    df: Any,
    /,
    *,
    labels: str,
    predictions: str,
    task: str = "multiclass",
    sample_weight: str | None = None,
    groups: str | Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """Everything about columns of a data frame of Spark, in one pass: see `fl.evaluate`.

    `labels`, `predictions` and `sample_weight`: names of columns of numbers, or of arrays that are
    of equal length, as logits are; `groups` and `clusters` the name of one column, or of several,
    each combination of which is a group. Options are those of the scorecard of the task; what its
    `update` takes for each row besides is named by its column, too. Rows of the result are not
    kept.

    Each partition has a scorecard on the machine where it lies, and the driver merges the states in
    the order of the partitions: numbers are those of one machine to 1e-15 relative, and partitions
    of the same rows give the same bits. A task that is run again counts once. Rows that belong
    together, as those of a query of a ranking, must be in one partition and batch.

    Returns the result of the scorecard. Raises TypeError for names that are none and ValueError for
    columns that there are not, before a job is started; what rows are refused for is an error of
    the job, with the place within its batch of rows.

    >>> from pyspark.sql import SparkSession                                    # doctest: +SKIP
    >>> df = SparkSession.builder.getOrCreate().read.parquet("logits.parquet")  # doctest: +SKIP
    >>> scores = fl.spark.evaluate(df, labels="label", predictions="logits")    # doctest: +SKIP
    """
    given = dict(options, sample_weight=sample_weight, groups=groups)
    built, told = options_of_call(task, {k: v for k, v in given.items() if v is not None})
    columns: dict[str, Any] = {"labels": labels, "predictions": predictions, **told}
    for name, column in columns.items():
        several = name in ("groups", "clusters") and isinstance(column, (list, tuple))
        for each in column if several else [column]:
            if not isinstance(each, str):
                raise TypeError(f"{name} is {each!r}, but must be the name of a column")
            if each not in df.columns:
                raise ValueError(
                    f"{name} is the column {each!r}, but there are {', '.join(df.columns)}"
                )
            _check_type(df.schema[each].dataType, each)
    card: Any = task_named(task).scorecard(**built)
    # Under names of ours: Spark takes those with dots for parts of a column.
    places = {name: f"c{i}" for i, name in enumerate(dict.fromkeys(_flat(columns.values())))}
    chosen = df.select(*(df[f"`{name}`"].alias(place) for name, place in places.items()))
    work = partial(_states, task, built, columns, places)
    for row in chosen.mapInArrow(work, f"{_STATE} binary").collect():
        with np.load(io.BytesIO(row[_STATE]), allow_pickle=False) as state:
            card.merge(type(card).from_state(state, **built))
    return card.result()


def _flat(columns: Iterable[Any]) -> Iterator[str]:
    for column in columns:
        yield from [column] if isinstance(column, str) else column


def _check_type(kind: Any, column: str) -> None:
    if type(kind).__name__ == "VectorUDT":
        raise TypeError(
            f"the column {column!r} has vectors of Spark's own: write df.withColumn({column!r}, "
            f"pyspark.ml.functions.vector_to_array({column!r}))"
        )


def _states(
    task: str,
    options: Mapping[str, Any],
    columns: Mapping[str, Any],
    places: Mapping[str, str],
    batches: Iterator[Any],
) -> Iterator[Any]:
    """The state of a scorecard over the rows of a partition, as a table of one row."""
    import pyarrow as pa
    from pyspark import TaskContext

    context = TaskContext.get()
    # A task has so many cores; others of the machine belong to other tasks.
    threads.set_num_threads(1 if context is None else context.cpus())
    card: Any = task_named(task).scorecard(**options)
    for batch in batches:
        given = {
            name: batch.column(places[column])
            if isinstance(column, str)
            else {each: batch.column(places[each]) for each in column}
            for name, column in columns.items()
        }
        if batch.num_rows:
            card.update(given.pop("labels"), given.pop("predictions"), **given)
    if card.n_rows:
        file = io.BytesIO()
        np.savez(file, **card.state())
        yield pa.RecordBatch.from_arrays([pa.array([file.getvalue()], pa.binary())], [_STATE])
