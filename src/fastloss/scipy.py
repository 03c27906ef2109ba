"""Losses of linear models for `scipy.optimize.minimize`, and of residuals for `least_squares`."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .bases.elementwise import ElementwiseLoss
from .bases.loss import Loss
from .bases.softmax import SoftmaxLoss
from .call.arrays import Array, as_array, format_of, place_of
from .hosts.common import check_loss, n_outputs, takes_ids


def objective(
    loss: Loss,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    intercept: bool = True,
    n_classes: int | None = None,
) -> "Objective":
    """The loss of a linear model, as `fun=` of `minimize(fun, fun.x0, jac=True, hessp=fun.hessp)`.

        f(w) = loss(y, X coef' + intercept) + l2 / 2 (sum of coef^2)

    `X`: numbers of shape (n, d), sparse or not. `y`, `sample_weight`: as the loss takes them. For
    class ids there are as many outputs k as the largest of them says, or `n_classes`; for soft
    labels, and labels of several columns, as many as they have; else as many as the loss takes for
    one label: one, a mean and a variance, or so many quantiles. `w` is a vector of
    float64: k rows of d coefficients, and then k intercepts if there are any, which `split` takes
    apart. With `reduction="sum"` and l2 = 1 / C this is what `LogisticRegression` minimises.

    `hessp` needs a loss that has a Hessian: any of elements, and `CrossEntropy`. Bounds of w, and
    constraints, are those of the methods of `minimize` that know them: L-BFGS-B, TNC, SLSQP, and
    trust-constr, which takes `hessp` as well.

    Raises ValueError where there is nothing to learn from: no rows, weights that are all 0, and
    features or labels that are NaN or infinite.

    >>> import fastloss as fl
    >>> import fastloss.scipy
    >>> from scipy.optimize import minimize
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> fun = fl.scipy.objective(fl.cross_entropy, X, y, l2=0.01)
    >>> found = minimize(fun, fun.x0, jac=True, hessp=fun.hessp, method="Newton-CG")
    >>> round(found.fun, 4)
    0.2243
    >>> coef, intercept = fun.split(found.x)
    >>> coef.shape, intercept.shape
    ((3, 4), (3,))
    """
    return Objective(loss, X, y, sample_weight, l2, intercept, n_classes)


def rho(loss: ElementwiseLoss, sample_weight: Any = None) -> Callable[[Array], Array]:
    """A loss of residuals as `loss=` of `least_squares`, whose cost is then the sum of the losses.

    `least_squares` minimises half the sum of rho(f^2), and so rho(z) = 2 loss(sqrt(z)), with the
    derivatives loss'(r) / r and (loss''(r) - loss'(r) / r) / (2 z) at r = sqrt(z). It returns an
    array of shape (3, m).

    `sample_weight` has shape (m,), for m residuals, each of whose losses it multiplies. Weights on
    the residuals themselves would move the place from where on they are taken for outliers. An
    option of the loss may also be m numbers. `least_squares` knows losses for its methods "trf" and
    "dogbox", with bounds or without.

    Raises ValueError for a loss that takes r and -r for different.

    >>> import numpy as np
    >>> import fastloss as fl
    >>> import fastloss.scipy
    >>> from scipy.optimize import least_squares
    >>> y = np.array([1.0, 1.1, 0.9, 50.0])
    >>> found = least_squares(lambda x: x - y, [0.0], loss=fl.scipy.rho(fl.Huber(delta=0.5)))
    >>> found.x.round(2)
    array([1.17])
    """
    if not isinstance(loss, ElementwiseLoss):
        raise TypeError(f"rho takes a loss of residuals, as fl.huber, got {type(loss).__name__}")
    each = replace(loss, reduction="none", hessian="exact")
    some = np.array([0.25, 1.0, 4.0])
    some = np.resize(some, n_outputs(loss, some, "residuals") or 3)
    try:
        is_even = np.array_equal(each(0 * some, some), each(0 * some, -some))
    except ValueError:  # negative numbers are out of its range
        is_even = False
    if not is_even:
        raise ValueError(
            f"{loss} takes residuals r and -r for different, and least_squares knows r^2 alone: "
            "take fl.huber, fl.fair, fl.log_cosh and their like, or fl.scipy.objective"
        )
    weight = None if sample_weight is None else as_array(sample_weight, "sample_weight")
    if weight is not None and not ((weight >= 0) & (weight < np.inf)).all():
        raise ValueError("sample_weight has numbers that are negative or not finite")

    def of_squares(z: Array) -> Array:
        r = np.sqrt(z)
        if weight is not None and weight.shape != r.shape:
            raise ValueError(
                f"sample_weight has shape {weight.shape}, and there are {r.size} residuals: give "
                "one weight for each of them"
            )
        zeros = np.zeros_like(r)
        slope, bend = each.grad_hess(zeros, r)
        found = np.empty((3, r.size))
        found[0] = 2 * each(zeros, r)
        away = r > 0
        found[1] = np.divide(slope, r, out=bend.copy(), where=away)
        found[2] = np.divide(bend - found[1], 2 * z, out=zeros, where=away)
        return found if weight is None else found * weight

    return of_squares


class Objective:
    """The loss of a linear model as a function of its parameters: see `objective`."""

    def __init__(
        self,
        loss: Loss,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        l2: float = 0.0,
        intercept: bool = True,
        n_classes: int | None = None,
    ) -> None:
        check_loss(loss)
        if loss.reduction == "none":
            raise ValueError(
                'a function to be minimised is one number: build the loss with reduction="mean" '
                'or "sum"'
            )
        if not 0 <= l2 < math.inf:
            raise ValueError(f"l2 must be 0 or a positive number, got {l2}")
        is_sparse = hasattr(X, "tocsr")
        self.X: Any = X.tocsr() if is_sparse else as_array(X, "X")
        self.y = as_array(y, "y")
        if self.X.ndim != 2 or self.y.ndim == 0 or len(self.y) != self.X.shape[0]:
            raise ValueError(
                f"X has shape {self.X.shape} and y has shape {self.y.shape}: X needs one row of "
                "features for each of y"
            )
        features: Any = self.X.data if is_sparse else self.X
        format_of(features, "X")  # or raise
        if not is_sparse:
            self.X = self.X.astype(np.float64, copy=False)
        self.loss, self.sample_weight = loss, sample_weight
        self.l2, self.intercept = float(l2), bool(intercept)
        self._check_numbers()
        if n_classes is not None and not (self.y.ndim == 1 and takes_ids(loss)):
            raise ValueError("n_classes goes with class ids alone: leave it away")
        n = n_classes or n_outputs(loss, self.y, loss.names[0])
        self.outputs: tuple[int, ...] = (n,) if n else ()
        # The parameters, and what was found out about them: they are asked for several times.
        self._known: tuple[Array, Array, Array | None] | None = None

    def _check_numbers(self) -> None:
        """Raise ValueError where there is nothing to learn from, which optimisers do not say."""
        counts = np.full(len(self.y), True)
        if self.sample_weight is not None:
            weight = as_array(self.sample_weight, "sample_weight")
            if weight.shape == counts.shape:  # else the loss says what is wrong
                counts = weight != 0
        if not counts.any():
            raise ValueError("there is nothing to learn from: no rows, or all have the weight 0")
        # Of sparse features, where they lie.
        features = self.X if isinstance(self.X, np.ndarray) else self.X.data
        for name, numbers in (("X", features), ("y", self.y)):
            if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
                bad = ~np.isfinite(numbers)
                if len(numbers) == len(counts):
                    bad[~counts] = False
                for place in np.argwhere(bad)[:1]:
                    raise ValueError(
                        f"{name}{place_of(place)} is {numbers[tuple(place)]}: leave such rows out, "
                        "or fill in numbers"
                    )

    @property
    def x0(self) -> Array:
        """Parameters to start from: all 0."""
        n = self.outputs[0] if self.outputs else 1
        return np.zeros(n * (self.X.shape[1] + self.intercept))

    def split(self, w: Any) -> tuple[Array, Any]:
        """The coefficients, of shape (k, d) or (d,), and the intercepts, (k,) or a number."""
        w = np.asarray(w)
        if w.size != self.x0.size:
            raise ValueError(
                f"there are {w.size} parameters, but the model has {self.x0.size}: start from "
                "fun.x0"
            )
        size = w.size // (self.X.shape[1] + self.intercept) * self.X.shape[1]
        coef = w[:size].reshape(*self.outputs, self.X.shape[1])
        if not self.intercept:
            return coef, np.zeros(self.outputs)
        return coef, w[size:].reshape(self.outputs)

    def predict(self, w: Any, X: Any) -> Array:
        """What the model predicts of each row: X coef' + intercept."""
        coef, intercept = self.split(w)
        return np.asarray(X @ coef.T + intercept)

    def __call__(self, w: Array) -> tuple[float, Array]:
        """The value and the gradient by the parameters, both float64."""
        pred = self.predict(w, self.X)
        self._known = np.array(w), pred, None
        value, slope = self.loss.value_and_grad(self.y, pred, sample_weight=self.sample_weight)
        coef, _ = self.split(w)
        return value + 0.5 * self.l2 * float(np.sum(coef * coef)), self._back(slope, coef)

    def hessp(self, w: Array, vector: Array) -> Array:
        """The product of the Hessian by the parameters and a vector."""
        if self._known is None or not np.array_equal(self._known[0], w):
            self._known = np.array(w), self.predict(w, self.X), None
        _, pred, hess = self._known
        change = self.predict(vector, self.X)
        if isinstance(self.loss, ElementwiseLoss):
            if hess is None:
                hess = self.loss.grad_hess(self.y, pred, sample_weight=self.sample_weight)[1]
                self._known = self._known[0], pred, hess
            change *= hess
        elif isinstance(self.loss, SoftmaxLoss) and hasattr(self.loss, "hvp"):
            change = self.loss.hvp(self.y, pred, change, sample_weight=self.sample_weight)
        else:
            raise TypeError(
                f"hessp needs the Hessian of rows, which {type(self.loss).__name__} does not have: "
                'leave hessp away, as in minimize(fun, fun.x0, jac=True, method="L-BFGS-B")'
            )
        return self._back(change, self.split(vector)[0])

    def _back(self, change: Array, coef: Array) -> Array:
        """From changes of predictions to changes of parameters, with those of the penalty."""
        by_coef = np.asarray(self.X.T @ change).T + self.l2 * coef
        parts = [by_coef.ravel()]
        if self.intercept:
            parts.append(np.atleast_1d(change.sum(axis=0)))
        return np.concatenate(parts)
