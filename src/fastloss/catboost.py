"""Losses as objectives of CatBoost."""

from functools import cache, cached_property, partial
from operator import attrgetter
from typing import Any, Literal

import numpy as np

from .bases.loss import Loss
from .call.arrays import Array
from .hosts import boosters
from .losses.binary import BinaryCrossEntropyWithLogits
from .losses.multiclass.logits import CrossEntropy
from .losses.regression.gaussian import GaussianNLL
from .losses.regression.likelihoods import Poisson, Tweedie
from .losses.regression.residuals import SquaredError

# CatBoost has objectives of these, which take the exact Hessian.
_OWN = SquaredError, BinaryCrossEntropyWithLogits, CrossEntropy, Poisson, Tweedie


def objective(
    loss: Loss,
    hessian: Literal["auto", "exact", "ones", "majorizer"] = "auto",
    *,
    multi_target: bool = False,
) -> "Objective":
    """A loss as an objective: `loss_function=`, with `eval_metric=objective.metric`.

    `loss`: any loss of one raw prediction for each label, or one of class ids and logits, for which
    `class_names` or `classes_count` has to be given. Sums are taken whatever its reduction is.
    A `CatBoostClassifier` needs `class_names`, as without them its `predict` knows no classes.

    `hessian`: "auto" counts as CatBoost's own objectives do, half of `SquaredError`. All else is
    the option of the loss.

    `multi_target`: targets have several columns, and CatBoost makes a prediction for each of them.
    Then losses of elements are as `MultiRMSE` and `MultiLogloss`, and those of rows take the
    columns for soft labels. It is also the one way to several predictions for one target: for
    several quantiles or `GaussianNLL`, repeat it, as in `np.repeat(y[:, None], 3, axis=1)`.

    CatBoost starts from 0, and calls the objective for some hundred rows at a time, or for each row
    where there are classes or several targets: with these it takes several times as long as with
    its own.

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
    kind: type[Objective] = _of_several_targets()[0] if multi_target else Objective
    return kind(loss, hessian)


class Objective(boosters.Objective):
    """A loss as an objective of CatBoost: see `objective`."""

    host = "CatBoost"
    label = "target"
    for_one = "leave classes_count away"
    for_classes = "give class_names, or classes_count"
    for_several = (
        "build the objective with multi_target=True, and give targets of {n} columns, which may be "
        "the same"
    )
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
        metric: Metric = _named(Metric, self.__name__)(self)
        return metric

    def _own_hessian(self) -> str:
        return "exact" if isinstance(self.loss, _OWN) else super()._own_hessian()

    # CatBoost climbs: its derivatives have the signs of those of minus the loss.

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
        """First and second derivatives for some rows, of shape (n, 2)."""
        preds, labels = np.asarray(approxes), np.asarray(targets)
        self._check_predictions(labels, preds)
        grad, hess = self._summed.grad_hess(
            labels, preds, sample_weight=weights, normalizer=self._normalizer
        )
        if not (boosters.is_finite(grad) and boosters.is_finite(hess)):
            self._report(targets, preds, grad, hess)
        found = np.empty((preds.size, 2))
        np.negative(grad, out=found[:, 0])
        np.negative(hess, out=found[:, 1])
        return found

    def calc_ders_multi(self, approxes: Any, target: Any, weight: float) -> tuple[Array, Array]:
        """First and second derivatives for one row, of shapes (k,) and (k, k)."""
        preds, label = np.array(approxes)[None], self._label_of_row(np.array(target)[None])
        self._check_predictions(label, preds)
        label = self._as_taken(label, preds)
        k = preds.shape[1]
        grad: Array
        if self._has_products:
            grad = self._summed.grad(label, preds, normalizer=self._normalizer)
            hess = self._summed.hvp(  # type: ignore[attr-defined]
                np.repeat(label, k, axis=0),
                np.repeat(preds, k, axis=0),
                np.eye(k),
                normalizer=self._normalizer,
            )
        else:
            grad, diagonal = self._summed.grad_hess(label, preds, normalizer=self._normalizer)
            hess = np.diag(diagonal[0])
        if not boosters.is_finite(grad):
            self._report([target], preds, grad, hess)
        return grad[0] * -weight, hess * -weight

    def _label_of_row(self, target: Array) -> Array:
        """The target of one row as the loss takes it."""
        return target

    @cached_property
    def _has_products(self) -> bool:
        """Whether the whole Hessian of a row is known, and wanted."""
        return isinstance(self.loss, CrossEntropy) and self._summed.hessian == "exact"


class Metric(boosters.Metric):
    """The mean loss of raw predictions: see `Objective.metric`."""

    no_jit = True

    def __reduce__(self) -> Any:
        return attrgetter("metric"), (self.objective,)

    def is_max_optimal(self) -> bool:
        return False

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """The loss of all rows and what they weigh."""
        preds = np.asarray(approxes[0] if len(approxes) == 1 else np.stack(approxes, axis=1))
        total = float(len(preds) if weight is None else np.sum(weight, dtype=np.float64))
        return self.objective.value(target, preds, weight) * total, total

    def get_final_error(self, error: float, weight: float) -> float:
        return error / (weight + 1e-38)


class _SeveralTargets(Objective):
    """A loss as an objective of several targets, which CatBoost knows by one of its own classes."""

    def __reduce__(self) -> Any:
        return partial(objective, multi_target=True), (self.loss, self.hessian)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, multi_target=True)"

    @property
    def metric(self) -> Metric:
        metric: Metric = _named(_of_several_targets()[1], self.__name__)(self)
        return metric

    def _label_of_row(self, target: Array) -> Array:
        return self.labels_of(target)

    def labels_of(self, targets: Array) -> Array:
        """Targets as the loss takes them, of which GaussianNLL has one for its two predictions."""
        if not isinstance(self.loss, GaussianNLL):
            return targets
        if targets.shape[1] != 2 or not np.array_equal(targets[:, 0], targets[:, 1]):
            raise ValueError(
                "GaussianNLL takes one target for its two predictions, a mean and a variance: "
                "give it twice, np.repeat(y[:, None], 2, axis=1)"
            )
        return targets[:, 0]


class _MetricOfSeveral(Metric):
    def evaluate(self, approxes: Any, targets: Any, weights: Any) -> tuple[float, float]:
        """The loss of all rows and what they weigh."""
        labels = self.objective.labels_of(np.stack(targets, axis=1))  # type: ignore[attr-defined]
        weight = weights if weights is not None and len(weights) else None
        return super().evaluate(approxes, labels[:, 0] if len(approxes) == 1 else labels, weight)


@cache
def _of_several_targets() -> tuple[Any, Any]:
    """The objective and the metric, derived from CatBoost's classes for several targets."""
    import catboost

    def derived(ours: type, theirs: type) -> Any:
        return type(ours.__name__, (ours, theirs), {})

    return (
        derived(_SeveralTargets, catboost.MultiTargetCustomObjective),
        derived(_MetricOfSeveral, catboost.MultiTargetCustomMetric),
    )


@cache
def _named(kind: type[Metric], name: str) -> type[Metric]:
    """A class of that name, by which CatBoost shows a metric."""
    return type(name, (kind,), {})
