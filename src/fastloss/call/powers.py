"""Powers of two, which are taken out of weights and sums and put back into results.

Only the ratios of weights matter in a mean, and a sum that float64 cannot hold may be divided by
another. So where the sum of the weights is beyond `LEAST_WEIGHT` and `MOST_WEIGHT`, weights are
read times 2**-shift, which changes no digit; and where kernels are told of numbers of classes that
are near 1 in place of those that the user gave, results are multiplied by 2**exponent.
"""

import math
from numbers import Real
from typing import NamedTuple

import numpy as np

from ..kernels.survey import LEAST_WEIGHT, MOST_WEIGHT
from .plan import Call

# The largest exponent of 2 that derivatives are multiplied by in the arithmetic.
_MOST_EXPONENT = {"float32": 100, "float64": 900}
_LARGEST = float(np.finfo(np.float64).max)


class Power(NamedTuple):
    """A number times 2**exponent, which float64 may not hold."""

    number: float
    exponent: int


def in_reach(total: float) -> bool:
    """Whether samples of so much weight are computed with as they are."""
    return LEAST_WEIGHT <= total <= MOST_WEIGHT or total == 0.0


def exponent_of(number: float) -> int:
    return math.frexp(min(number, _LARGEST))[1]


def times_power(number: float, exponent: int) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(number, exponent))


def checked_normalizer(reduction: str, normalizer: float | Power) -> Power:
    """The denominator as a number in reach."""
    if isinstance(normalizer, Power):
        return normalizer
    if reduction != "mean":
        raise ValueError(
            "normalizer replaces the denominator of a mean, but this loss has "
            f'reduction="{reduction}": leave normalizer= away, or build it with "mean"'
        )
    if isinstance(normalizer, bool) or not isinstance(normalizer, Real):
        raise TypeError(f"normalizer must be a number, got {type(normalizer).__name__}")
    try:
        number = float(normalizer)
    except OverflowError:  # of an integer or a fraction
        number = math.inf if normalizer > 0 else -math.inf
    if not 0.0 < number < math.inf:
        raise ValueError(f"normalizer is {number}, but must be positive and finite")
    return Power(number, 0) if in_reach(number) else Power(*math.frexp(number))


class Division:
    """What the sum of the losses is divided by, and the powers of two that are taken out."""

    __slots__ = "by_weight", "denominator", "exponent", "shift"

    def __init__(self, call: Call, reduction: str, normalizer: float | Power | None) -> None:
        self.by_weight, self.denominator = call.by_weight, call.denominator
        self.shift, self.exponent = 0, call.exponent
        form = call.plan.form
        if normalizer is not None:
            self.by_weight, self.exponent = False, call.exponent_of_sum
            self.denominator, self.shift = checked_normalizer(reduction, normalizer)
        if self.exponent and form.per_sample and form.weight == "float64":
            # Weights and numbers of classes may cancel, and what is written has to hold their
            # product.
            self.shift, self.exponent = -self.exponent, 0

    def inverse(self) -> float:
        return 1.0 / self.denominator if self.denominator else 0.0

    def shift_in_reach(self, total: float) -> int:
        """How far weights of this sum are shifted; what is left goes to the results.

        Not so far that weights would lose digits or be infinite.
        """
        largest = exponent_of(total)
        taken = max(largest - 500, min(self.shift, largest + 500))
        self.exponent -= self.shift - taken
        return taken

    def scale(self, total: float, arithmetic: str) -> tuple[float, int]:
        """What a kernel multiplies derivatives by, and the exponent that is left for later.

        What the arithmetic cannot hold of the two is left to that exponent.
        """
        scale = self.inverse()
        if not self.exponent and in_reach(total):
            return scale, 0
        most = _MOST_EXPONENT[arithmetic]
        early = max(min(self.exponent, most - exponent_of(total * scale), 900), -900)
        return math.ldexp(scale, early), self.exponent - early
