"""The best constant prediction: what it is found from, and how, all in float64.

A constant minimises the sum of weight x loss. For most losses it is a mean or a quantile, or
follows from one; for others the derivative of the sum is brought to 0.
"""

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..call.arrays import Array, place_of
from ..call.family import Family
from ..call.plan import prepare
from ..call.verbs import VALUE
from ..call.work import check_numbers

_LARGEST = float(np.finfo(np.float64).max)
# The most steps to a root, every third of which halves the interval that it lies in.
_MOST_STEPS = 600


def counted(
    family: Family,
    y_true: Any,
    shape: tuple[int, ...],
    sample_weight: Any,
    least: float = -_LARGEST,
) -> tuple[Array, Array, Array | None]:
    """Labels, weights, and the probabilities of sparse labels, after the checks of every verb.

    `shape` is that of predictions. Weights are float64, one for each sample, the largest of them 1,
    and 0 where a class id is ignored. Labels that are no class ids are float64, `least` or more.
    """
    y_pred = np.broadcast_to(np.float64(0.5), shape)
    call, inputs = prepare(family, VALUE, y_true, y_pred, sample_weight)
    check_numbers(family, call.batch, inputs)
    labels, samples = inputs.y_true, call.batch.sample_shape
    weight = np.ones(samples)
    if inputs.weight is not None:
        given = inputs.weight.astype(np.float64)
        weight *= given.reshape((*given.shape, *[1] * (len(samples) - given.ndim)))
    probabilities = None if inputs.extras is None else inputs.extras.probabilities
    if call.batch.class_ids and family.ignore_index is not None and probabilities is None:
        weight[labels == family.ignore_index] = 0.0
    check_any(weight)
    if not call.batch.class_ids:
        labels = labels.astype(np.float64)
        kept = weight.reshape((*samples, *[1] * (labels.ndim - len(samples)))) != 0
        for place in np.argwhere(kept & ~((labels >= least) & (labels <= _LARGEST))):
            raise ValueError(
                f"{family.traits.names[0]}{place_of(place)} is {labels[tuple(place)]}, and no "
                "constant is the best one for it: leave it out, or give it the sample_weight 0"
            )
    return labels, weight / weight.max(), probabilities


def check_any(weight: Array) -> None:
    if not weight.any():
        raise ValueError(
            "no constant is the best one: there are no rows, or all are ignored or of weight 0"
        )


def nowhere(why: str, limit: float) -> NoReturn:
    """Raise that the loss has its least value at infinity."""
    raise ValueError(
        f"{why}, so the best constant is {limit:g} and no number is the best one: start from 0 or "
        "another number of your own"
    )


def mean(numbers: Array, weight: Array) -> float:
    """The weighted mean, between the least and the largest; float64 need not hold the sum."""
    exponent = math.frexp(float(abs(numbers).max()))[1]
    near_one = np.ldexp(numbers, -exponent)
    result = float(np.ldexp((weight * near_one).sum() / weight.sum(), exponent))
    return min(max(result, float(numbers.min())), float(numbers.max()))


def quantile(numbers: Array, weight: Array, q: float) -> float:
    """The middle of all numbers that have a share q of the weight on one side, 1 - q on the other.

    With q = 0 and q = 1 these reach to infinity on one side, and their other end is taken.
    """
    order = np.argsort(numbers, kind="stable")
    ordered, below = numbers[order], np.cumsum(weight[order])
    wanted = q * below[-1]
    if q in (0, 1):
        return float(ordered[0 if q == 0 else -1])
    left = float(ordered[min(np.searchsorted(below, wanted, "left"), ordered.size - 1)])
    right = float(ordered[min(np.searchsorted(below, wanted, "right"), ordered.size - 1)])
    half = (right - left) / 2
    return left + half if half < math.inf else left / 2 + right / 2


def log_of(number: float, why: str) -> float:
    """The logarithm of a mean or of a ratio; `why` says of which labels it would be infinite."""
    if number <= 0:
        nowhere(why, -math.inf)
    if number == math.inf:
        nowhere(why, math.inf)
    return math.log(number)


def log_odds(positive: float, negative: float) -> float:
    why = "labels of one kind alone count"
    if negative <= 0:
        nowhere(why, math.inf)
    return log_of(positive, why) - math.log(negative)


def of_residuals(slope: Callable[[Array], Array], y_true: Array, weight: Array) -> float:
    """Where the derivatives of a loss of y_pred - y_true add up to 0."""
    low, high = float(y_true.min()), float(y_true.max())
    if low == high:
        return low
    with np.errstate(over="ignore"):
        return root(
            lambda x: float((weight * slope(x - y_true)).sum()), mean(y_true, weight), low, high
        )


def root(
    slope: Callable[[float], float], start: float, low: float = -math.inf, high: float = math.inf
) -> float:
    """Where `slope` goes from negative to positive, or the end of the interval that it points to.

    It is found by secants, and by halves wherever these are slow (Illinois).
    """
    here = slope(start)
    if here == 0:
        return start
    end, there, step = start, here, max(abs(start), 1.0)
    while _same_side(there, here):
        start, here = end, there
        if end in (low, high):
            return end
        end = min(max(end - math.copysign(step, here), low), high)
        if math.isinf(end):
            nowhere("the loss falls for ever", end)
        there, step = slope(end), 2 * step
    if there != there:
        raise ValueError(f"the derivative of the loss is nan where all predictions are {end}")
    for n in range(_MOST_STEPS):
        middle = start + (end - start) / 2
        if there == 0 or middle in (start, end):
            break
        guess = end - there * ((end - start) / (there - here))
        inside = min(start, end) < guess < max(start, end)
        if n % 3 == 2 or not inside:
            guess = middle
        found = slope(guess)
        if _same_side(found, there):
            here /= 2
        else:
            start, here = end, there
        end, there = guess, found
    return end


def _same_side(a: float, b: float) -> bool:
    """Whether two numbers, whose product float64 may not hold, have the same sign."""
    return (a > 0 and b > 0) or (a < 0 and b < 0)


def kept(shares: Array, log_floor: float) -> Array:
    """Which classes have a probability above 0 in the best constant, if logarithms have a floor.

    For a class of a small share the floored logarithm may cost less, and the larger ones then have
    all. Where up to rounding it does not matter, a class is kept.
    """
    order = np.argsort(-shares, kind="stable")
    ordered = shares[order]
    taken, left = np.cumsum(ordered), np.append(np.cumsum(ordered[:0:-1])[::-1], 0.0)
    own = np.cumsum(ordered * np.log(np.where(ordered > 0, ordered, 1.0)))
    floored = np.array([rest * -log_floor if rest > 0 else 0.0 for rest in left])
    losses = taken * np.log(taken) - own + floored
    n = np.flatnonzero(losses <= losses.min() + 1e-12)[-1] + 1
    of_classes = np.zeros(shares.size, bool)
    of_classes[order[:n]] = True
    return of_classes


def shares(masses: Array) -> Array:
    """Masses divided by their sum."""
    if not masses.any():
        raise ValueError("no constant is the best one: all labels that count are 0")
    parts: Array = masses / masses.sum()
    return parts


def linked_shares(link: Callable[[Any], Any], log_weight: Array) -> Array:
    """log(p) with the least sum of weight x f(-log(p)), f being a link, and p adding up to 1.

    With l = -log(p), the sum is least where weight x f'(l) / p is the same for all classes: where
    l + log(f'(l)) is -log(weight) and a number more that all have in common, the shift. It is
    looked up in a table of f', and from there found by Newton's method.
    """

    def derivatives(losses: Array) -> tuple[Array, Array]:
        slopes, bends = np.array([link(np.float64(loss))[1:] for loss in losses], np.float64).T
        return slopes, bends

    if log_weight.size == 1:
        return np.zeros(1)
    lacking = -log_weight
    table = np.geomspace(1e-12, 700.0, 1000)
    sums = np.maximum.accumulate(table + np.log(derivatives(table)[0]))

    def found_in_table(shift: float) -> Array:
        return np.interp(shift + lacking, sums, table)

    shift = root(lambda shift: 1.0 - float(np.exp(-found_in_table(shift)).sum()), 0.0)
    losses = found_in_table(shift)
    with np.errstate(all="ignore"):
        for _ in range(20):
            slopes, bends = derivatives(losses)
            p, turns = np.exp(-losses), 1 + bends / slopes
            excess = losses + np.log(slopes) - lacking - shift
            moved = (p.sum() - 1 + (p * excess / turns).sum()) / (p / turns).sum()
            shift, losses = shift + moved, losses + (moved - excess) / turns
    if not np.all(np.isfinite(losses)):
        nowhere("one class outweighs all others", math.inf)
    log_shares: Array = -losses
    return log_shares
