"""Losses as objectives of CatBoost."""

from functools import cached_property
from typing import Any, Literal

import numpy as np

from .bases.loss import Loss
from .call.arrays import Array
from .hosts import boosters
from .losses.binary import BinaryCrossEntropyWithLogits
from .losses.multiclass.logits import CrossEntropy
from .losses.regression.likelihoods import Poisson, Tweedie
from .losses.regression.residuals import SquaredError

# CatBoost has objectives of these, which take the exact Hessian.
_OWN = SquaredError, BinaryCrossEntropyWithLogits, CrossEntropy, Poisson, Tweedie


def objective(
    loss: Loss, hessian: Literal["auto", "exact", "ones", "majorizer"] = "auto"
) -> "Objective":
    """A loss as an objective: `loss_function=`, with `eval_metric=objective.metric`.

    `loss`: any loss of one raw prediction for each label, or one of class ids and logits, for which
    `class_names` or `classes_count` has to be given. Sums are taken whatever its reduction is.
    A `CatBoostClassifier` needs `class_names`, as without them its `predict` knows no classes.

    `hessian`: "auto" counts as CatBoost's own objectives do, half of `SquaredError`. All else is
    the option of the loss.

    CatBoost starts from 0, and calls the objective for some hundred rows at a time, or for each row
    where there are classes: with these it takes several times as long as with its own.

    >>> import numpy as np
    >>> import fastloss as fl
    >>> import fastloss.catboost
    >>> import catboost
    >>> X = np.arange(8.0)[:, None]
    >>> log_loss = fl.catboost.objective(fl.binary_cross_entropy_with_logits)
    >>> model = catboost.CatBoost({
    ...     "loss_function": log_loss, "eval_metric": log_loss.metric, "iterations": 50,
    ...     "learning_rate": 0.5, "verbose": False, "allow_writing_files": False,
    ... })
    >>> model = model.fit(X, X[:, 0] > 3)
    >>> log_loss.proba(model.predict(X)).round()
    array([0., 0., 0., 0., 1., 1., 1., 1.])
    """
    return Objective(loss, hessian)


class Objective(boosters.Objective):
    """A loss as an objective of CatBoost: see `objective`."""

    host = "CatBoost"
    label = "target"
    several = "give class_names, or classes_count"
    # Where Numba is imported, CatBoost compiles the methods of objects that do not say this.
    no_jit = True

    def __reduce__(self) -> Any:
        return type(self), (self.loss, self.hessian)

    def __deepcopy__(self, memo: Any) -> "Objective":
        """Itself: CatBoost copies what scikit-learn, to clone an estimator, wants to see again."""
        return self

    @property
    def metric(self) -> "Metric":
        """The mean loss, as `eval_metric=`; less is better."""
        return Metric(self)

    def _own_hessian(self) -> str:
        return "exact" if isinstance(self.loss, _OWN) else super()._own_hessian()

    # CatBoost climbs: its derivatives have the signs of those of minus the loss.

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
        """First and second derivatives for some rows, of shape (n, 2)."""
        preds = np.asarray(approxes)
        labels = self._as_taken(np.asarray(targets), preds)
        grad, hess = self._summed.grad_hess(
            labels, preds, sample_weight=weights, normalizer=self._normalizer
        )
        if not (boosters.is_finite(grad) and boosters.is_finite(hess)):
            self._report(targets, preds, grad, hess)
        found = np.empty((preds.size, 2))
        np.negative(grad, out=found[:, 0])
        np.negative(hess, out=found[:, 1])
        return found

    def calc_ders_multi(self, approxes: Any, target: float, weight: float) -> tuple[Array, Array]:
        """First and second derivatives for one row, of shapes (k,) and (k, k)."""
        logits = np.array(approxes)[None]
        label = self._as_taken(np.array([target]), logits)
        n_classes = logits.shape[1]
        grad: Array
        if self._has_products:
            grad = self._summed.grad(label, logits, normalizer=self._normalizer)
            hess = self._summed.hvp(  # type: ignore[attr-defined]
                np.repeat(label, n_classes),
                np.repeat(logits, n_classes, axis=0),
                np.eye(n_classes),
                normalizer=self._normalizer,
            )
        else:
            grad, diagonal = self._summed.grad_hess(label, logits, normalizer=self._normalizer)
            hess = np.diag(diagonal[0])
        if not boosters.is_finite(grad):
            self._report([target], logits, grad, hess)
        return grad[0] * -weight, hess * -weight

    @cached_property
    def _has_products(self) -> bool:
        """Whether the whole Hessian of a row is known, and wanted."""
        return isinstance(self.loss, CrossEntropy) and self._summed.hessian == "exact"


class Metric(boosters.Metric):
    """The mean loss of raw predictions: see `Objective.metric`."""

    no_jit = True

    def __deepcopy__(self, memo: Any) -> "Metric":
        return self

    def is_max_optimal(self) -> bool:
        return False

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """The loss of all rows and what they weigh."""
        preds = np.asarray(approxes[0] if len(approxes) == 1 else np.stack(approxes, axis=1))
        total = float(len(preds) if weight is None else np.sum(weight, dtype=np.float64))
        return self.objective.value(target, preds, weight) * total, total

    def get_final_error(self, error: float, weight: float) -> float:
        return error / (weight + 1e-38)
