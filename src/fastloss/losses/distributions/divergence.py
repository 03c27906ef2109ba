"""What both divergences have in common: logarithms of ratios, and the softmaxes of two rows."""

import math
from dataclasses import dataclass
from typing import Any

from ...bases.options import check_switch, of_options
from ...bases.rows import RowwiseLoss
from ...compiler.bits import disjoint, window
from ...kernels.row_loss import largest, total
from ...kernels.scalar import exp, expm1_less_x, log, log1p

PROBABILITIES = (0.0, 1.0)
REAL = (-math.inf, math.inf)
# Logits of a class that is ruled out in both rows.
NO_LOGITS = (-math.inf, -math.inf)


@dataclass(frozen=True)
class Divergence(RowwiseLoss):
    """A divergence of distributions that are given by probabilities or, both, by logits."""

    from_logits: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("from_logits", self.from_logits)

    @of_options
    def y_true_range(self) -> tuple[float, float]:
        return REAL if self.from_logits else PROBABILITIES

    @of_options
    def y_pred_range(self) -> tuple[float, float]:
        return REAL if self.from_logits else PROBABILITIES

    @of_options
    def y_true_widens(self) -> bool:
        return self.from_logits


def log_ratio(p: Any, q: Any, difference: Any) -> Any:
    """log(p / q), with digits of its own where the two are nearly equal; `difference` is p - q."""
    ratio = p / q
    # The ratio is rounded, and near 1 that is all that is left of the logarithm. What was lost is
    # known, as the ratio less 1 is exact there.
    near = (ratio > 0.5) & (ratio < 2)
    lost = (difference - (ratio - 1) * q) / p if near else 0.0
    return log(ratio) + lost


# Two rows of logits, a and b. With x = a - max(a), y = b - max(b) and D = log(sum of exp(x)) -
# log(sum of exp(y)), the logarithm of p_j / q_j is (x_j - y_j) - D. Where the distributions are
# nearly equal it is small, and must not be a difference of two logarithms that were rounded: x - y
# is exact but for one rounding, and D = log1p(sum of (exp(x) - exp(y)) / sum of exp(y)).


def _lost(a: Any, b: Any, difference: Any) -> Any:
    """How much a - b is more than its rounded value (Knuth's two-sum); 0 if infinite."""
    minus_b = difference - a
    lost = (a - (difference - minus_b)) - (b + minus_b)
    return lost if lost == lost else 0.0


def excess_of(p: Any, q: Any, d: Any) -> Any:
    """p - q, where d is the logarithm of p / q."""
    near = abs(d) < 1
    small = d if near else 0.0
    return q * (small + expm1_less_x(small)) if near else p - q


def _exps_of_class(a: Any, b: Any, a_max: Any, b_max: Any) -> tuple[Any, Any, Any, Any]:
    """exp(x), exp(y), x - y and exp(x) - exp(y)."""
    # Of two largest logits, or of a class that is masked in both rows, no difference is asked for:
    # they may be infinite.
    x = a - a_max if a != a_max else 0.0
    y = b - b_max if b != b_max else 0.0
    difference = x - y if x != y else 0.0
    lost = _lost(x, y, difference) + (_lost(a, a_max, x) - _lost(b, b_max, y))
    difference = difference + lost
    p, q = exp(x), exp(y)
    return p, q, difference, excess_of(p, q, difference)


def _exps(a: Any, b: Any, a_max: Any, b_max: Any, differences: Any, excesses: Any) -> None:
    disjoint()
    for j in range(a.size):
        a[j], b[j], differences[j], excesses[j] = _exps_of_class(a[j], b[j], a_max, b_max)


def _sum_of_exps(exps: Any, maximum: Any) -> Any:
    """The sum of exponentials, or NaN where the softmax has no limit: all -inf, or several +inf."""
    result = total(exps)
    if maximum == -math.inf or (maximum == math.inf and result > 1):
        return math.nan
    return result


def softmaxes(a: Any, b: Any, spare: Any) -> tuple[Any, Any, Any, Any]:
    """Put exp(x) in the place of a and exp(y) in that of b.

    Returns x - y, 1 / sum of exp(x), 1 / sum of exp(y) and D.
    """
    n = a.size
    differences, excesses = window(spare, 0, n), window(spare, n, n)
    a_max, b_max = largest(a), largest(b)
    _exps(a, b, a_max, b_max, differences, excesses)
    sum_p, sum_q = _sum_of_exps(a, a_max), _sum_of_exps(b, b_max)
    excess = total(excesses) / sum_q
    shift = log1p(excess) if abs(excess) < 0.5 else log(sum_p / sum_q)
    number = a.dtype.type
    return differences, number(1 / sum_p), number(1 / sum_q), number(shift)


def place_above(numbers: Any, bound: Any) -> Any:
    """The first place of a larger number than the bound, or -1."""
    for j in range(numbers.size):
        if numbers[j] > bound:
            return j
    return -1
