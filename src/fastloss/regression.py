"""Losses of real numbers."""

from dataclasses import dataclass
from typing import Any, ClassVar

from .loss import ElementwiseLoss


@dataclass(frozen=True)
class SquaredError(ElementwiseLoss):
    """The squared difference of prediction and truth.

        loss     = (y_pred - y_true)^2
        gradient = 2 (y_pred - y_true)
        hessian  = 2

    Ready made: `mse` with the mean of all elements; `sse`, also called `sum_squared_error`, with
    their sum. There is no factor 1/2.

    >>> import fastloss as fl
    >>> fl.sse([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    1.5
    >>> fl.mse.value_and_grad([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    (0.375, array([ 0.25, -0.25,  0.  , -0.5 ]))

    Source: C. F. Gauss, Theoria combinationis observationum (1821).
    """

    cost: ClassVar[int] = 1

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        return r * r, 2 * r, 2


@dataclass(frozen=True)
class AbsoluteError(ElementwiseLoss):
    """The absolute difference of prediction and truth.

        loss     = |y_pred - y_true|
        gradient = sign(y_pred - y_true), 0 at the kink
        hessian  = 0

    Ready made: `mae`, the mean of all elements.

    >>> import fastloss as fl
    >>> fl.mae.value_and_grad([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    (0.5, array([ 0.25, -0.25,  0.  , -0.25]))

    Source: P.-S. Laplace, Mémoire sur la probabilité des causes (1774).
    """

    cost: ClassVar[int] = 1

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = y_pred - y_true
        # r * 0 is 0 at the kink and NaN for NaN.
        sign = 1 if r > 0 else -1 if r < 0 else r * 0
        return abs(r), sign, 0


mse = SquaredError()
sse = sum_squared_error = SquaredError(reduction="sum")
mae = AbsoluteError()
