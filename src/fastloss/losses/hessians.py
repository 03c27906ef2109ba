"""Hessians that losses have besides the exact one, by the words of the option `hessian`.

A majorizer is the second derivative of a parabola that touches the loss at the prediction and lies
above it: a step to the lowest point of the parabola never makes the loss larger, where one with the
exact second derivative of a loss that bends away may go anywhere. Where the loss grows faster than
any parabola, or falls on both sides, the parabola lies above it from the prediction to the truth,
and the step does not go past that. For a loss of the residual r that is symmetric and bends less
the larger |r| is, the lowest of all such parabolas has |gradient| / |r|; at a kink there is none.

Sources: D. R. Hunter and K. Lange, A Tutorial on MM Algorithms (2004); J. de Leeuw and K. Lange,
Sharp quadratic majorization in one dimension (2009).

All functions have the arguments `(self, y_true, y_pred, results)`, of which the last is what
`scalar` returns for the others.
"""

from collections.abc import Callable, Mapping
from typing import Any

Hessians = Mapping[str, Callable[..., Any]]

# A number that is closer to a kink than this counts as if it were this far away, so that no sample
# outweighs the rest of a leaf. Its inverse is a number that float16 holds.
_NEAREST = 2.0**-15


def exact(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    """The exact Hessian, for words that stand for the same."""
    return results[2]


def one(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    return 1


def over_distance(slope: Any, distance: Any) -> Any:
    """|slope / distance| beside a kink, where it is bounded; 0 if there is no slope."""
    size = abs(distance)
    return abs(slope) / (_NEAREST if size < _NEAREST else size)


def to_the_truth(self: Any, y_true: Any, y_pred: Any, results: Any) -> Any:
    """The larger of the exact Hessian and gradient / r, with which a step ends at the truth."""
    r = y_pred - y_true
    return larger(results[1] / r if r != 0 else results[2], results[2])


def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers; NaN if one is NaN."""
    return a if (a > b) | (a != a) else b


# Of losses that have kinks and no curvature, boosting libraries take 1.
HOSTS_ONES: Hessians = {"xgboost": one, "lightgbm": one}
HOSTS_EXACT: Hessians = {"xgboost": exact, "lightgbm": exact}
