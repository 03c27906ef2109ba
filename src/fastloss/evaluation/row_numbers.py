"""What is found of each row of labels and predictions besides errors, as options ask for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..call.arrays import Array
from .regression.deviance import deviance, least_of

# The names of the means of e, |e| and e^2.
ERRORS = ("bias", "mae", "mse")


@dataclass(frozen=True)
class RowNumbers:
    """The names of these numbers, and how they are computed."""

    quantiles: tuple[float, ...] = ()
    deviances: tuple[tuple[str, float], ...] = ()  # name and power
    rmsle: bool = False
    median: bool = False  # of |e|, which takes a table of its own
    bins: int | None = None  # of that table
    histograms: bool = False  # of errors, and of predictions and labels

    @cached_property
    def point(self) -> int | None:
        """Which of the last axis of the predictions has errors: all there is, or the median."""
        if not self.quantiles:
            return 0
        return self.quantiles.index(0.5) if 0.5 in self.quantiles else None

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Intervals, as places of their quantiles, which add up to 1; the widest first."""
        n = len(self.quantiles)
        return tuple(
            (i, j)
            for i in range(n)
            for j in range(i + 1, n)
            if abs(self.quantiles[i] + self.quantiles[j] - 1.0) < 1e-12
        )

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """The share of labels that each interval should hold."""
        return tuple(1 - 2 * self.quantiles[i] for i, _ in self.pairs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of what `of_rows` gives, in order."""
        n, m = len(self.quantiles), len(self.pairs)
        return (
            *(["log"] if self.rmsle else []),
            *(f"{what} {name}" for name, _ in self.deviances for what in ("deviance", "generator")),
            *(f"{what} {i}" for i in range(n) for what in ("pinball", "covered")),
            *(["crossing"] if n else []),
            *(f"{what} {i}" for i in range(m) for what in ("inside", "width", "winkler")),
        )

    @cached_property
    def sampled(self) -> tuple[str, ...]:
        """Of what `with_errors` gives, in order."""
        return (() if self.point is None else ERRORS) + self.names

    def with_errors(self, labels: Array, predictions: Array) -> Iterator[Array]:
        """e, |e| and e^2 of each row of one column, and all that `of_rows` has."""
        if self.point is not None:
            point = predictions if predictions.ndim == 1 else predictions[:, self.point]
            e = point - labels
            yield from (e, np.abs(e), e * e)
        # Nobody resamples a D2, for which alone a generator and its center are needed.
        yield from self.of_rows(labels, predictions, 1.0)

    def check(self, labels: Array, predictions: Array, counts: Array | None) -> None:
        """Raise ValueError for numbers of shape (n, k) of which something asked for there is not.

        `predictions` may have an axis of quantiles besides; `counts` says which rows do.
        """
        point = predictions if predictions.ndim == 2 else predictions[..., self.point or 0]
        wanted = {f"deviance {name}": least_of(power) for name, power in self.deviances}
        if self.rmsle:
            wanted["rmsle"] = (-1.0, False), (-1.0, False)
        for what, limits in wanted.items():
            each = (("labels", labels), ("predictions", point))
            for (name, numbers), (least, inclusive) in zip(each, limits, strict=True):
                bad = numbers < least if inclusive else numbers <= least
                if counts is not None:
                    bad &= counts[:, np.newaxis]
                if bad.any():
                    row, column = np.unravel_index(int(np.argmax(bad)), bad.shape)
                    place = f"[{row}]" if bad.shape[1] == 1 else f"[{row}, {column}]"
                    raise ValueError(
                        f"{name}{place} is {numbers[row, column]:g}, but {what} is of {name} "
                        f"{'of' if inclusive else 'above'} {least:g}"
                        + (" and more" if inclusive else "")
                        + ": do not ask for it, or give such rows the weight 0"
                    )

    @cached_property
    def generators(self) -> dict[str, float]:
        """The powers of those numbers that `of_rows` gives as distances from a tangent."""
        return {f"generator {name}": power for name, power in self.deviances}

    def of_rows(self, labels: Array, predictions: Array, center: float) -> Iterator[Array]:
        """Each number of each row, of one column, in float64.

        Generators are given as what they have more than their tangent at the center, half the
        deviance from it: of labels that differ little that keeps digits which a generator loses.
        """
        point = predictions if predictions.ndim == 1 else predictions[:, self.point or 0]
        if self.rmsle:
            yield _squared_log_error(labels, point)
        for _, power in self.deviances:
            undefined = np.where(np.isnan(point), np.nan, 0.0)
            yield deviance(power, labels, point)
            yield deviance(power, labels, np.float64(center)) / 2 + undefined
        if self.quantiles:
            yield from self._of_quantiles(labels, predictions)

    def _of_quantiles(self, labels: Array, predictions: Array) -> Iterator[Array]:
        # A row with NaN is unknown as a whole.
        undefined = np.where(np.isnan(labels) | np.isnan(predictions).any(axis=1), np.nan, 0.0)
        with np.errstate(all="ignore"):
            for q, predicted in zip(self.quantiles, predictions.T, strict=True):
                e = labels - predicted
                yield np.maximum(q * e, (q - 1) * e) + undefined
                yield (e <= 0) + undefined
            yield (np.diff(predictions, axis=1) < 0).any(axis=1) + undefined
            for i, j in self.pairs:
                lower, upper = predictions[:, i], predictions[:, j]
                below, above = lower - labels, labels - upper
                width = upper - lower
                outside = np.maximum(below, 0) + np.maximum(above, 0)
                yield ((below <= 0) & (above <= 0)) + undefined
                yield width + undefined
                yield width + outside / self.quantiles[i] + undefined


def _squared_log_error(labels: Array, predictions: Array) -> Array:
    """(log(1 + p) - log(1 + y))^2, as that of log(1 + |p - y| / (1 + the smaller one))."""
    least = np.minimum(labels, predictions)
    with np.errstate(all="ignore"):
        found: Array = np.square(np.log1p(np.abs(predictions - labels) / (1 + least)))
    return found


def numbers_asked_for(
    quantiles: Any, deviances: dict[str, float], rmsle: bool, median: bool, bins: int | None
) -> RowNumbers:
    """Raise ValueError for quantiles that are none, and for what needs a point beside them."""
    try:
        given = () if quantiles is None else tuple(map(float, quantiles))
    except (TypeError, ValueError):
        raise TypeError(
            f"quantiles is {quantiles!r}, but holds several numbers: write [0.1, 0.5, 0.9], or "
            "[0.5] for one"
        ) from None
    if quantiles is not None and not given:
        raise ValueError("quantiles is empty: give some, as [0.1, 0.5, 0.9], or leave it out")
    for i, q in enumerate(given):
        if not 0 < q < 1 or (i and q <= given[i - 1]):
            raise ValueError(
                f"quantiles[{i}] is {q:g}, but quantiles lie between 0 and 1 and ascend: sort "
                "them, and the last axis of the predictions with them"
            )
    numbers = RowNumbers(given, tuple(deviances.items()), rmsle, median, bins)
    if numbers.point is None and (deviances or rmsle or median):
        raise ValueError(
            "deviance, rmsle and median are of one prediction for each row, here the quantile 0.5, "
            "but quantiles has none: add it, or evaluate a point prediction apart"
        )
    return numbers
