"""Every task that can be evaluated, by name; and `evaluate`, which takes any of them."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from ..call.arrays import Array
from .binary.binary_scorecard import BinaryScorecard
from .binary.binary_scores import BinaryScores
from .given import Given
from .multilabel.multilabel_scorecard import MultilabelScorecard
from .multilabel.multilabel_scores import MultilabelScores
from .ranking.ranking_scorecard import RankingScorecard
from .ranking.ranking_scores import RankingScores
from .regression.regression_scorecard import RegressionScorecard
from .regression.regression_scores import RegressionScores
from .row_results import new_arrays
from .rows import warn_of_probabilities
from .scorecard import Scorecard
from .scores import Scores
from .sums.accumulator import Accumulator
from .tensors import as_array


class Task(NamedTuple):
    """What is evaluated, by which scorecard, and what that is fed, in words for messages."""

    scorecard: type[Accumulator[Any]]
    labels: str
    predictions: str


TASKS = {
    "multiclass": Task(Scorecard, "class ids of shape (...)", "logits of shape (..., c)"),
    "binary": Task(
        BinaryScorecard,
        "0 or 1, of shape (...)",
        "logits or probabilities of label 1, of shape (...)",
    ),
    "multilabel": Task(
        MultilabelScorecard,
        "0 or 1 for each row and label, of shape (..., l)",
        "logits or probabilities of that shape",
    ),
    "ranking": Task(RankingScorecard, "relevances of shape (n,) or (q, d)", "scores of that shape"),
    "regression": Task(
        RegressionScorecard, "numbers of shape (n,) or (n, k)", "numbers of that shape"
    ),
}


def task_named(name: str) -> Task:
    """Raise ValueError unless there is one of this name."""
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"there is no task {name!r}: there are {', '.join(map(repr, TASKS))}")
    return TASKS[name]


@cache
def keywords(function: Any) -> frozenset[str]:
    """The names of what a function takes by name alone."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)


def options_of_call(task: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was given by name: what a scorecard is built with, and what its `update` is told."""
    scorecard: Any = task_named(task).scorecard
    built, told = keywords(scorecard), keywords(scorecard.update)
    for name in given:
        if name not in built | told:
            raise TypeError(
                f"task={task!r} knows no {name}: it takes {', '.join(sorted(built | told))}"
            )
    return (
        {name: value for name, value in given.items() if name in built},
        {name: value for name, value in given.items() if name in told and name not in built},
    )


def call_with_logits(given: dict[str, Any], n_axes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """`options_of_call` of logits with so many axes: a class mask of one row is an option."""
    built, told = options_of_call("multiclass", given)
    mask = built.get("class_mask")
    if mask is not None and not np.ndim(mask) == 1 != n_axes:
        told["class_mask"] = built.pop("class_mask")
    return built, told


@overload
def evaluate(
    labels: Any, logits: Any, /, *, task: Literal["multiclass"] = "multiclass", **options: Any
) -> Scores: ...


@overload
def evaluate(
    labels: Any, predictions: Any, /, *, task: Literal["binary"], **options: Any
) -> BinaryScores: ...


@overload
def evaluate(
    labels: Any, predictions: Any, /, *, task: Literal["multilabel"], **options: Any
) -> MultilabelScores: ...


@overload
def evaluate(
    labels: Any, predictions: Any, /, *, task: Literal["ranking"], **options: Any
) -> RankingScores: ...


@overload
def evaluate(
    labels: Any, predictions: Any, /, *, task: Literal["regression"], **options: Any
) -> RegressionScores: ...


@overload
def evaluate(labels: Any, predictions: Any, /, *, task: str, **options: Any) -> Any: ...


def evaluate(
    labels: Any,
    predictions: Any,
    /,
    *,
    task: str = "multiclass",
    sample_weight: Any = None,
    groups: Any = None,
    **options: Any,
) -> Any:
    """Everything about labels and predictions, in one pass over them.

    | task | labels | predictions | scorecard, which has the options |
    |---|---|---|---|
    | `"multiclass"` | class ids of shape (...) | logits of shape (..., c) | `Scorecard` |
    | `"binary"` | 0 or 1, of shape (...) | logits of shape (...) | `BinaryScorecard` |
    | `"multilabel"` | 0 or 1, of shape (..., l) | logits of that shape | `MultilabelScorecard` |
    | `"ranking"` | relevances of shape (n,) or (q, d) | scores of that shape | `RankingScorecard` |
    | `"regression"` | numbers of shape (n,) or (n, k) | the same | `RegressionScorecard` |

    `sample_weight` and `groups`, a weight and an id for each row, and everything else are as the
    scorecard of the task takes them: options as it is built with, data as its `update` does. What
    is returned is its `result()`. Raises ValueError for a task that there is not, and TypeError for
    an option that the task does not have.

    With logits over classes there is more: loss with standard error, perplexity, accuracy, top-k
    accuracy for every k, mean reciprocal rank, Brier score, calibration, entropy and confidence; by
    class, group and sequence if wanted. `class_mask` may have one axis, for all rows; and `rows`
    may be names of what `Scorecard.update` finds of each row: their arrays are then made, with
    `top` classes (5) in the last two, and found in `scores.rows`.

    >>> import fastloss as fl
    >>> scores = fl.evaluate([0, 1, 1], [[2.0, 0.0], [0.5, 0.0], [0.0, 3.0]], rows=["rank"])
    >>> scores
    rows                  3
    classes               2
    loss                  0.383197 ± 0.3
    perplexity            1.46697
    accuracy              66.6667% ± 33.33%
    mean reciprocal rank  0.833333
    Brier score           0.269276
    calibration error     0.263
    entropy               0.406349
    confidence            0.81861
    >>> scores.rows["rank"], round(scores.top_k(1), 6)
    (array([0, 1, 0]), 0.666667)

    Sources: for the Brier score, G. W. Brier, Verification of forecasts expressed in terms of
    probability (1950); for the calibration error, C. Guo et al., On Calibration of Modern Neural
    Networks (2017).
    """
    more = {"sample_weight": sample_weight, "groups": groups}
    given = options | {name: value for name, value in more.items() if value is not None}
    if task_named(task).scorecard is Scorecard:
        return _evaluate_logits(labels, predictions, **given)
    built, told = options_of_call(task, given)
    card: Any = task_named(task).scorecard(**built)
    return card.update(labels, predictions, **told).result()


def _evaluate_logits(
    labels: Any,
    logits: Any,
    /,
    *,
    rows: Mapping[str, Array] | Iterable[str] = (),
    top: int = 5,
    **options: Any,
) -> Scores:
    """`evaluate` of class ids and logits."""
    built, told = call_with_logits(options, np.ndim(logits))
    card = Scorecard(**built)
    logits = as_array(logits, "logits")
    arrays = rows if isinstance(rows, Mapping) else new_arrays(rows, labels, logits, top)
    warn_of_probabilities(logits, above=1)
    card._update(labels, logits, Given(**told), arrays)
    scores = card.result()
    return replace(scores, rows=dict(arrays)) if arrays else scores
