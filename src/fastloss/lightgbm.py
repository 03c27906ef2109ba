"""Losses as objectives of LightGBM, of `lgb.train` and of its estimators."""

from typing import Any, Literal

import numpy as np

from .bases.loss import Loss
from .call.arrays import Array
from .hosts import boosters


def objective(
    loss: Loss,
    hessian: Literal["auto", "exact", "ones", "majorizer"] = "auto",
    *,
    soft_labels: Any = None,
) -> "Objective":
    """A loss as an objective: `params["objective"]` of `lgb.train`, `objective=` of estimators.

    `loss`: any loss of raw predictions, of which sums are taken whatever its reduction is.

    `hessian`: "auto" counts as LightGBM's own objectives do, so that models are equal to theirs:
    half of `SquaredError`, c / (c - 1) p (1 - p) of a softmax of c classes, exp(0.7) times that of
    `Poisson`, 1 of `Huber`. All else is the option of the loss.

    `soft_labels`, an array of shape (n, k): labels of the data sets are then numbers of its rows,
    as in `lgb.Dataset(X, np.arange(n))`.

    LightGBM starts from 0 where objectives are not its own. `init_score` is the best constant, as
    data sets take it; LightGBM leaves it out of predictions, and `add_init_score` puts it into the
    model. A start that is far from the best is warned of.

    >>> import numpy as np
    >>> import fastloss as fl
    >>> import fastloss.lightgbm
    >>> import lightgbm as lgb
    >>> X, y = np.arange(8.0)[:, None], np.arange(8.0) > 5
    >>> log_loss = fl.lightgbm.objective(fl.binary_cross_entropy_with_logits)
    >>> params = {"objective": log_loss, "min_data_in_leaf": 1, "min_data_in_bin": 1, "verbose": -1}
    >>> init_score = log_loss.init_score(y)
    >>> booster = lgb.train(params, lgb.Dataset(X, y, init_score=init_score), 20)
    >>> log_loss.proba(log_loss.add_init_score(booster, init_score).predict(X)).round()
    array([0., 0., 0., 0., 0., 0., 1., 1.])
    """
    return Objective(loss, hessian, soft_labels)


class Objective(boosters.Objective):
    """A loss as an objective of LightGBM: see `objective`."""

    host = "LightGBM"
    for_one = "leave num_class away"
    for_classes = "add num_class to the parameters"
    for_several = "add num_class={n} to the parameters"
    order = "F"

    # LightGBM counts the arguments, and gives weights to whoever takes three.
    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[Array, Array]:
        """Gradient and Hessian of (predictions, Dataset) or, in estimators, (labels, predictions).

        Both are arrays of float32 that the next call uses again.
        """
        labels, preds, weight = _arguments(first, second, weight)
        found = self.derivatives(labels, preds, weight)
        self.warn_of_start(
            labels,
            preds,
            weight,
            0.0,
            "give the training set init_score=objective.init_score(y), and the trained booster to "
            "objective.add_init_score",
        )
        return found

    @property
    def metric(self) -> "Metric":
        """The mean loss, as `feval=` of `lgb.train` and `eval_metric=` of its estimators.

        It is named after the loss, and less is better.
        """
        return Metric(self)

    def init_score(
        self,
        y: Any,
        sample_weight: Any = None,
        *,
        num_class: int | None = None,
        rows: int | None = None,
    ) -> Array:
        """The best constant prediction for labels, as `init_score=` of a data set takes it.

        An array of shape (n,), or (n, k) where there are several predictions of a row. `rows`: n,
        if that is not the number of labels. Data sets that are evaluated start from the constant of
        the labels that are trained on: `init_score(y_train, rows=len(y_test))`.
        """
        constant = np.asarray(self.constant(y, sample_weight, num_class=num_class))
        return np.tile(constant, (len(y) if rows is None else rows, *[1] * constant.ndim))

    def add_init_score(self, booster: Any, init_score: Any) -> Any:
        """Make a constant init score part of a trained booster, which leaves it out of predictions.

        It is added to the leaves of its first trees, and the booster is returned. Of an estimator,
        pass `booster_`. Raises ValueError for an init score that is not one constant, and for trees
        whose leaves are none.
        """
        scores = np.asarray(init_score)
        constant = np.atleast_1d(scores[0])
        n_trees = booster.num_model_per_iteration()
        if not np.array_equal(scores, np.broadcast_to(scores[0], scores.shape)):
            raise ValueError("init_score differs from row to row, and cannot be part of a tree")
        if constant.size != n_trees:
            raise ValueError(
                f"init_score has {constant.size} numbers for each row, and the booster makes "
                f"{n_trees} predictions of it"
            )
        if "\nis_linear=1\n" in booster.model_to_string(num_iteration=1):
            raise ValueError(
                "leaves of linear trees are no constants that can be changed: add init_score[0] "
                "to what the booster predicts"
            )
        trees = booster.dump_model(num_iteration=1)["tree_info"]
        for tree, number in enumerate(constant):
            for leaf in range(trees[tree]["num_leaves"]):
                value = booster.get_leaf_output(tree, leaf) + number
                booster.set_leaf_output(tree, leaf, float(value))
        return booster


class Metric(boosters.Metric):
    """The mean loss of raw predictions: see `Objective.metric`."""

    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[str, float, bool]:
        """The name, the value, and that higher is not better."""
        value = self.objective.value(*_arguments(first, second, weight))
        return self.__name__, value, False


def _arguments(first: Any, second: Any, weight: Any) -> tuple[Any, Array, Any]:
    """Labels, predictions and weights: `lgb.train` gives a Dataset, estimators give arrays."""
    if hasattr(second, "get_label"):
        return second.get_label(), first, second.get_weight()
    return first, second, weight
