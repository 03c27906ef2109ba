"""Losses and scores of Dask arrays: lazy, chunk by chunk, with means over all chunks.

Logits stay where they are: a task computes one chunk of them. Labels and weights are chunked as the
logits are. Sizes of chunks must be known, and rows must not be cut.
"""

import math
import warnings
from copy import deepcopy
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from .bases.loss import Loss
from .call.arrays import FLOAT64, Array, as_array
from .call.messages import NO_MEAN
from .call.plan import prepare
from .call.powers import Power
from .call.run import evaluate as run
from .call.run import total_weight
from .call.verbs import VALUE, VALUE_AND_GRAD, Verb
from .evaluation.given import Given, sizes_of
from .evaluation.groups import Named, groups_of
from .evaluation.scorecard import Scorecard
from .evaluation.sums.group_names import GroupNames
from .evaluation.tasks import call_with_logits, options_of_call, task_named
from .hosts.common import check_loss

try:
    import dask.array as da
except ImportError as error:
    raise ImportError(
        'fastloss.dask needs Dask, which is not installed: pip install "fastloss[dask]"'
    ) from error

from ._chunks import (
    Chunks,
    arrays_by_row,
    arrays_of,
    as_chunk,
    blockwise,
    check_predictions,
    check_rows,
    flat,
    stand_ins,
    whole_chunk,
    without_rows,
)

_FAN_IN = 8  # as many scorecards are merged by a task
# A sum as `Power`: weights may add up to more or less than float64 can hold.
_POWER = np.dtype([("number", np.float64), ("exponent", np.int64)])
_NOTHING = Power(0.0, -10_000)  # beside which all exponents are larger
_OBJECT = np.dtype(object)


def value(loss: Loss, y_true: Any, y_pred: Any, /, *, sample_weight: Any = None) -> Any:
    """The loss of Dask arrays, not yet computed: what `loss(y_true, y_pred)` is of NumPy arrays.

    `y_pred`, or logits: a Dask array, for a loss of rows with its last axis in one chunk. `y_true`,
    also the pair `(ids, probabilities)` of cross-entropy, and `sample_weight`: Dask or other arrays
    of the shapes that the loss takes; they are chunked as `y_pred` is.

    Returns a Dask array: of float64 and shape (), a mean being that over all samples of all chunks,
    however these differ in size and weight; or with `reduction="none"` the loss of each sample,
    chunked as `y_pred` is. `y_pred` is read once.

    Raises TypeError if `y_pred` is no Dask array and ValueError for unknown chunk sizes or chunks
    that cut rows; and what the loss raises: for shapes and dtypes at once, for numbers when they
    are computed, with the place of their chunk.

    >>> import dask.array as da
    >>> import fastloss as fl
    >>> import fastloss.dask
    >>> logits = da.from_array([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]], chunks=(2, 2))
    >>> loss = fl.dask.value(fl.cross_entropy, [0, 1, 1], logits)
    >>> round(float(loss), 12), round(fl.cross_entropy([0, 1, 1], logits.compute()), 12)
    (0.377778959707, 0.377778959707)
    """
    call = _Call(loss, VALUE, y_true, y_pred, sample_weight)
    work = partial(_value, loss)
    if loss.reduction == "none":
        return call.chunks.map(work, call.sample_axes, call.arithmetic)
    if loss.reduction == "sum":
        return call.chunks.numbers(work).sum()
    # Divided at the end, so that no logits wait for the weights of other chunks.
    weights = call.weights()
    part = partial(_part_of_mean, loss)
    if weights is None:
        total = call.chunks.numbers(part).sum()
        return blockwise(_mean, (), FLOAT64.dtype, total, (), weight=call.call.denominator)
    parts = call.chunks.numbers(part, beside=("exponent", weights["exponent"]))
    total, weight = _in_one_power(weights, parts), _in_one_power(weights, weights["number"])
    return blockwise(_mean, (), FLOAT64.dtype, total, (), weight=weight)


def value_and_grad(
    loss: Loss, y_true: Any, y_pred: Any, /, *, sample_weight: Any = None
) -> tuple[Any, Any]:
    """The loss of Dask arrays and its gradient with respect to `y_pred`, not yet computed.

    Arguments, errors and the first result are those of `value`. The gradient is a Dask array of the
    shape, the chunks and the floating dtype of `y_pred`. Compute both at once,
    `dask.compute(loss, grad)`: one after the other, they take twice the work. A mean over samples
    that weigh differently or may be ignored needs all labels and weights before the first chunk of
    `y_pred`.

    >>> import dask
    >>> import dask.array as da
    >>> import fastloss as fl
    >>> import fastloss.dask
    >>> logits = da.zeros((3, 2), chunks=(2, 2))
    >>> results = fl.dask.value_and_grad(fl.CrossEntropy(ignore_index=-1), [0, -1, 1], logits)
    >>> loss, grad = dask.compute(*results)
    >>> round(float(loss), 12), grad
    (0.69314718056, array([[-0.25,  0.25],
           [ 0.  ,  0.  ],
           [ 0.25, -0.25]]))
    """
    call = _Call(loss, VALUE_AND_GRAD, y_true, y_pred, sample_weight)
    weight = call.total_weight() if loss.reduction == "mean" else None
    work, axes = partial(_value_and_grad, loss), range(y_pred.ndim)
    pairs = call.chunks.map(work, axes, _OBJECT, normalizer=weight)
    grad = blockwise(itemgetter(1), axes, call.y_pred_dtype, pairs, axes)
    if loss.reduction == "none":
        return blockwise(_first, call.sample_axes, call.arithmetic, pairs, axes), grad
    lead = call.chunks.lead
    first = partial(as_chunk, _first, len(lead))
    total = blockwise(first, lead, FLOAT64.dtype, pairs, axes, one_each=True).sum()
    if weight is not None:
        total = blockwise(_mean_of_quotients, (), FLOAT64.dtype, total, (), weight=weight)
    return total, grad


def evaluate(labels: Any, predictions: Any, /, *, task: str = "multiclass", **options: Any) -> Any:
    """Everything about Dask arrays of labels and predictions, not yet computed: see `fl.evaluate`.

    `predictions`: a Dask array, with its rows along the first axis and other axes in one chunk;
    logits of shape (..., c) may be cut along all axes but the last. All other arguments are those
    of `fl.evaluate`; arrays with something for each row are Dask or other arrays, and are chunked
    as `predictions` is. There is no `rows`, which would be gathered in one place: a loss with
    `reduction="none"` leaves what it finds of each row where it is. Queries of rankings have ids,
    `queries`, or are rows of two axes: `offsets` are for sequences of logits.

    Returns a Dask Delayed, whose `compute()` returns what `fl.evaluate` does. Each chunk has a
    scorecard, and these are merged as a tree: numbers are those of one machine to 1e-15 relative,
    and chunks of the same sizes give the same bits, wherever they are computed and however often.

    Raises as `value` does, at once for what is wrong with options and shapes.

    >>> import dask.array as da
    >>> import fastloss as fl
    >>> import fastloss.dask
    >>> logits = da.from_array([[2.0, 0.0], [0.5, 0.0], [0.0, 3.0]], chunks=(2, 2))
    >>> scores = fl.dask.evaluate([0, 1, 1], logits).compute()
    >>> scores.n_rows, round(scores.loss, 12), round(scores.accuracy, 4)
    (3, 0.383197448932, 0.6667)
    >>> scores = fl.dask.evaluate([0, 1, 1], logits[:, 1], task="binary").compute()
    >>> scores.n_rows, scores.auc
    (3, 0.75)
    """
    if task_named(task).scorecard is Scorecard:
        return _evaluate_logits(labels, predictions, **options)
    given = {name: value for name, value in options.items() if value is not None}
    built, by_row = options_of_call(task, given)
    check_predictions(predictions, "predictions")
    if not predictions.ndim:
        raise ValueError("predictions have shape (): there are no rows to be cut into chunks")
    check_rows(predictions, 1, "predictions")
    _refuse(by_row, "offsets", "rows")
    n = predictions.shape[:1]
    names = _with_ids(by_row, n)
    arrays = arrays_by_row("predictions", predictions, n, labels=labels, **by_row)
    empty = {name: without_rows(array) for name, array in arrays.items()}
    start = task_named(task).scorecard(**built)
    start = _task_card(start, names, predictions=without_rows(predictions), **empty)
    chunks = Chunks("predictions", predictions, 1, arrays)
    new = task_named(task).scorecard(**built)
    return _reduced(chunks, partial(_task_card, new, names), start, new)


def _refuse(told: dict[str, Any], *names: str) -> None:
    """Raise for what cannot be told in chunks."""
    for name in names:
        if name in told:
            instead = ", and give queries of rankings by ids" if name == "offsets" else ""
            raise ValueError(f"{name} is not for Dask arrays: leave it out{instead}")


def _with_ids(by_row: dict[str, Any], shape: tuple[int, ...]) -> GroupNames | None:
    """Put ids in place of names that are known, and return what those of groups stand for."""
    names = None
    for name in ("groups", "clusters"):
        if by_row.get(name) is not None and not isinstance(by_row[name], da.Array):
            ids, found = groups_of(by_row[name], shape, name)
            by_row[name] = ids.reshape(shape)
            names = found if name == "groups" else names
    return names


def _evaluate_logits(labels: Any, logits: Any, **given: Any) -> Any:
    """`evaluate` of class ids and logits."""
    check_predictions(logits, "logits")
    if logits.ndim < 2:
        raise ValueError(f"logits have shape {logits.shape}, but rows of logits have two axes")
    lead = logits.ndim - 1
    check_rows(logits, lead, "logits")
    options, told = call_with_logits(given, logits.ndim)
    _refuse(told, "rows")
    offsets, n_bytes = told.pop("offsets", None), told.pop("n_bytes", None)
    names = _with_ids(told, logits.shape[:lead])
    by_row = arrays_by_row("logits", logits, logits.shape[:-1], labels=labels, **told)
    # An update with no rows finds whatever is wrong with options and shapes, and knows the
    # sequences that are numbered. Chunks then have their numbers for names.
    empty: dict[str, Any] = {name: without_rows(given) for name, given in by_row.items()}
    if offsets is not None:
        sizes = sizes_of(as_array(offsets, "offsets"), math.prod(logits.shape[:lead]))
        empty["offsets"] = np.zeros(sizes.size + 1, np.int64)
        by_row["numbers"] = np.repeat(np.arange(sizes.size), sizes).reshape(logits.shape[:lead])
    start = Scorecard(**options)
    empty |= _named(names, empty)
    start._update(empty.pop("labels"), without_rows(logits), Given(n_bytes=n_bytes, **empty))

    chunks = Chunks("logits", logits, lead, by_row)
    return _reduced(chunks, partial(_card, options, names), start, Scorecard(**options))


def _reduced(chunks: Chunks, card_of: Any, start: Any, new: Any) -> Any:
    """The result of `start` with the scorecards of all chunks, which are merged in a tree."""
    scores = da.reduction(
        chunks.map(card_of, chunks.lead, _OBJECT),
        _same,
        partial(_result, start),
        combine=partial(_merged, new),
        concatenate=False,
        dtype=_OBJECT,
        meta=np.empty((), _OBJECT),
        split_every=_FAN_IN,
    )
    return scores.to_delayed().item()


# -------------------------------------------------------------------------------------------------
# What tasks do


def _value(loss: Loss, y_true: Any, y_pred: Array, **options: Any) -> Any:
    return loss(y_true, y_pred, **options)


def _part_of_mean(
    loss: Loss, y_true: Any, y_pred: Array, exponent: Any = None, sample_weight: Any = None
) -> float:
    """The sum of the losses, over 2**exponent."""
    power = Power(1.0, 0 if exponent is None else exponent.item())
    value: float = run(loss._family, VALUE, y_true, y_pred, sample_weight, power)[0]
    return value


def _value_and_grad(
    loss: Loss, y_true: Any, y_pred: Array, normalizer: Any, sample_weight: Any = None
) -> tuple[Any, Array]:
    power = None
    if normalizer is not None:
        number, exponent = normalizer.item()
        # 0: nothing counts, and loss and gradient are 0 whatever they are divided by.
        power = Power(number or 1.0, exponent)
    return run(loss._family, VALUE_AND_GRAD, y_true, y_pred, sample_weight, power)[:2]


def _weight(
    loss: Loss, y_true: Any, verb: Verb, row: tuple[Any, ...], lead: int, sample_weight: Any = None
) -> Any:
    """The sum of the weights. Predictions need not be known: `row` is their dtype and shape."""
    labels = y_true[0] if type(y_true) is tuple else y_true
    dtype, shape = row
    # NaN is in the range of every loss.
    y_pred = np.broadcast_to(np.full((), math.nan, dtype), labels.shape[:lead] + shape)
    power = total_weight(loss._family, verb, y_true, y_pred, sample_weight)
    return _power(*(power if power.number else _NOTHING))


def _power(number: Any, exponent: Any) -> Any:
    return np.array((number, exponent), _POWER)[()]


def _in_one_power(weights: Any, numbers: Any) -> Any:
    """The sum of the numbers of chunks times their powers of 2, over the largest of these."""
    exponents = weights["exponent"]
    return da.ldexp(numbers, exponents - exponents.max()).sum()


def _first(pair: Any) -> Any:
    return whole_chunk(pair)[0]


def _mean(total: float, weight: float) -> float:
    if weight == 0:
        warnings.warn(NO_MEAN, RuntimeWarning, stacklevel=2)
        return math.nan
    return total / weight


def _mean_of_quotients(total: float, weight: Any) -> float:
    """The sum of what each chunk has divided by the weight."""
    number, _ = weight.item()
    return total if number else _mean(total, number)


def _named(names: GroupNames | None, by_row: dict[str, Any]) -> dict[str, Any]:
    """Groups with what their ids stand for, which is known if they are no Dask array."""
    return {} if names is None else {"groups": Named(by_row["groups"], names)}


def _card(
    options: dict[str, Any],
    names: GroupNames | None,
    labels: Array,
    logits: Array,
    **by_row: Any,
) -> Scorecard:
    given = Given(**by_row | _named(names, by_row))
    return Scorecard(**options)._update(labels, logits, given)


def _task_card(
    new: Any, names: GroupNames | None, labels: Array, predictions: Array, **by_row: Any
) -> Any:
    """A card as a new one, of a chunk."""
    return deepcopy(new).update(labels, predictions, **by_row | _named(names, by_row))


def _same(card: Any, **axes: Any) -> Any:
    return card


def _merged(start: Any, parts: Any, **axes: Any) -> Any:
    """All in one, which none of the arguments is: a task may be run again."""
    whole = deepcopy(start)
    for part in flat(parts):
        whole.merge(part)
    return whole


def _result(start: Any, parts: Any, **axes: Any) -> Any:
    return _merged(start, parts).result()


# -------------------------------------------------------------------------------------------------
# Chunks


class _Call:
    """A call of a verb on chunks, after all checks that need no look at the numbers."""

    def __init__(self, loss: Loss, verb: Verb, y_true: Any, y_pred: Any, weight: Any) -> None:
        check_loss(loss)
        name, pred_name = loss.names
        check_predictions(y_pred, pred_name)
        labels = arrays_of(y_true, name)
        weights = None if weight is None else arrays_of(weight, "sample_weight")
        self.loss, self.verb = loss, verb
        self.call, _ = prepare(loss._family, verb, *map(stand_ins, (labels, y_pred, weights)))
        batch, plan = self.call.batch, self.call.plan
        self.arithmetic, self.y_pred_dtype = plan.arithmetic.dtype, plan.pred.dtype
        self.sample_axes = range(len(batch.sample_shape))
        # Rows are not cut: of classes, or of columns that have options of their own.
        columns = batch.period > 1 or batch.one_truth
        lead = y_pred.ndim - 1 if columns else len(batch.sample_shape)
        check_rows(y_pred, lead, pred_name)
        others = {"y_true": labels, "sample_weight": weights}
        self.chunks = Chunks("y_pred", y_pred, lead, others)

    def total_weight(self) -> Any:
        """The denominator of a mean, as `Power`; not yet computed if it depends on numbers."""
        weights = self.weights()
        if weights is None:
            return _power(self.call.denominator, 0)
        number = _in_one_power(weights, weights["number"])
        return blockwise(_power, (), _POWER, number, (), exponent=weights["exponent"].max())

    def weights(self) -> Any:
        """The sums of the weights of chunks, or None if each sample weighs 1."""
        if not self.call.by_weight:
            return None
        lead = len(self.chunks.lead)
        row = self.y_pred_dtype, self.chunks.first.shape[lead:]
        work = partial(_weight, self.loss, verb=self.verb, row=row, lead=lead)
        return self.chunks.numbers(work, _POWER, without="y_pred")
