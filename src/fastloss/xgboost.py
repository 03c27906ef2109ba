"""Losses as objectives of XGBoost, of `xgb.train` and of its estimators."""

import ctypes
from functools import cache
from typing import Any, Literal

import numpy as np

from .bases.elementwise import ElementwiseLoss
from .bases.loss import Loss
from .bases.softmax import SoftmaxLoss
from .call.arrays import Array
from .hosts import boosters
from .hosts.common import takes_ids
from .losses.multiclass.logits import CrossEntropy
from .losses.regression.likelihoods import Poisson
from .losses.regression.relative import SquaredLogError
from .losses.regression.residuals import SquaredError

# XGBoost's own objective of counts holds back: no leaf is larger, and its Hessian is that of a
# prediction so far ahead.
_MAX_DELTA_STEP = 0.7
# After this version the Hessian of a softmax is |p - y|.
_LAST_OF_PRODUCTS = 3, 4


def objective(
    loss: Loss,
    hessian: Literal["auto", "exact", "ones", "majorizer"] = "auto",
    *,
    soft_labels: Any = None,
) -> "Objective":
    """A loss as an objective: `obj=` of `xgb.train`, `objective=` of its estimators.

    `loss`: any loss of raw predictions, of which sums are taken whatever its reduction is.

    `hessian`: "auto" counts as XGBoost's own objectives do, so that models are equal to theirs:
    half of `SquaredError` and `SquaredLogError`, 2 p (1 - p) of a softmax (|p - y| after version
    3.4), exp(0.7) times that of `Poisson`. All else is the option of the loss.

    `soft_labels`, an array of shape (n, k): labels of the data sets are then numbers of its rows,
    as in `xgb.DMatrix(X, label=np.arange(n))`.

    XGBoost starts from 0.5 where objectives are not its own; `params` and `base_score` give it the
    best constant, and without them it is warned of.

    >>> import numpy as np
    >>> import fastloss as fl
    >>> import fastloss.xgboost
    >>> import xgboost as xgb
    >>> X = np.arange(8.0)[:, None]
    >>> dtrain = xgb.DMatrix(X, label=X[:, 0] > 3)
    >>> log_loss = fl.xgboost.objective(fl.binary_cross_entropy_with_logits)
    >>> start = log_loss.params(dtrain)
    >>> booster = xgb.train(start, dtrain, 5, obj=log_loss, custom_metric=log_loss.metric)
    >>> booster.predict(dtrain).round()
    array([0., 0., 0., 0., 1., 1., 1., 1.], dtype=float32)
    """
    return Objective(loss, hessian, soft_labels)


class Objective(boosters.Objective):
    """A loss as an objective of XGBoost: see `objective`."""

    host = "XGBoost"
    halved = (SquaredError, SquaredLogError)
    for_one = "leave num_class and num_target away"
    for_classes = "add num_class, or objective.params(dtrain), to the parameters"
    for_several = "add num_target={n}, or objective.params(dtrain), to the parameters"

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Gradient and Hessian of (predictions, DMatrix) or, in estimators, (labels, predictions).

        Both are arrays of float32 that the next call uses again.
        """
        labels, preds, weight = _arguments(first, second, sample_weight)
        found = self.derivatives(labels, preds, weight)
        start = 0.0 if _is_binary(self.loss) else 0.5
        self.warn_of_start(
            labels,
            preds,
            weight,
            start,
            "add objective.params(dtrain) to the parameters of xgb.train, or "
            "base_score=objective.base_score(y) to those of an estimator",
        )
        return found

    @property
    def metric(self) -> "Metric":
        """The mean loss, as `custom_metric=` of `xgb.train` and `eval_metric=` of its estimators.

        It is named after the loss, and less is better.
        """
        return Metric(self)

    def base_score(self, y: Any, sample_weight: Any = None, *, num_class: int | None = None) -> Any:
        """The best constant prediction, as XGBoost takes `base_score`.

        A number, or a list of one for each class or column: the raw prediction, but of binary
        logits the probability, as `XGBClassifier` takes it.
        """
        constant = self.constant(y, sample_weight, num_class=num_class)
        if _is_binary(self.loss):
            return float(self.proba(constant))
        return constant.tolist() if isinstance(constant, np.ndarray) else constant

    def params(
        self, data: Any, sample_weight: Any = None, *, num_class: int | None = None
    ) -> dict[str, Any]:
        """Parameters of `xgb.train` that go with the objective, for a DMatrix or labels.

        `base_score`; `num_class` or `num_target`, where there are several predictions of a row;
        the objective by whose rule `predict` makes probabilities of raw predictions, of a softmax
        and of binary logits, if no temperature, cap or mask comes between; and for `Poisson`
        XGBoost's own `max_delta_step`.
        """
        y = data
        if hasattr(data, "get_label"):
            y, sample_weight = _labels_and_weight(data)
        y = self.numbers_of(y)
        n_outputs = self.n_outputs(y, num_class)
        if n_outputs == 1 and takes_ids(self.loss):
            raise ValueError(
                "all labels are of class 0, which does not say how many classes there are: give "
                "num_class"
            )
        chosen: dict[str, Any] = {
            "objective": "binary:logistic" if _is_binary(self.loss) else "reg:squarederror",
            "base_score": self.base_score(y, sample_weight, num_class=num_class),
            "disable_default_eval_metric": True,
        }
        if _is_plain_softmax(self.loss) and y.ndim == 1:
            chosen |= {"objective": "multi:softprob", "num_class": n_outputs}
        elif n_outputs > 1:
            chosen["num_target"] = n_outputs
        if isinstance(self.loss, Poisson) and self.hessian == "auto":
            chosen["max_delta_step"] = _MAX_DELTA_STEP
        return chosen

    def _own_hessian(self) -> str:
        if not isinstance(self.loss, CrossEntropy):
            return super()._own_hessian()
        import xgboost

        version = tuple(map(int, xgboost.__version__.split(".")[:2]))
        return "xgboost" if version <= _LAST_OF_PRODUCTS else "xgboost_residual"


class Metric(boosters.Metric):
    """The mean loss of raw predictions: see `Objective.metric`."""

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> Any:
        """Name and value for (predictions, DMatrix), the value for (labels, predictions)."""
        value = self.objective.value(*_arguments(first, second, sample_weight))
        return (self.__name__, value) if hasattr(second, "get_label") else value


def _arguments(first: Any, second: Any, sample_weight: Any) -> tuple[Any, Array, Any]:
    """Labels, predictions and weights: `xgb.train` gives a DMatrix, estimators give arrays."""
    if hasattr(second, "get_label"):
        labels, weight = _labels_and_weight(second)
        return labels, first, weight
    return first, second, sample_weight


def _labels_and_weight(data: Any) -> tuple[Array, Array | None]:
    """Those of a DMatrix, of which a row may have several labels; None if all rows count alike."""
    labels, weight = _kept_in(data, "label"), _kept_in(data, "weight")
    if labels.ndim == 1 and labels.size > data.num_row() > 0:
        labels = labels.reshape(data.num_row(), -1)
    return labels, weight if weight.size else None


def _kept_in(data: Any, field: str) -> Array:
    """Numbers of a DMatrix where they lie, which change when it is told of others.

    Its `get_label` and `get_weight` make copies of them, by way of JSON: with 200,000 rows and one
    prediction of each that takes as long as all else that an objective does.
    """
    get_info, size, start = _get_info(), ctypes.c_uint64(), ctypes.c_void_p()
    if get_info is None or get_info(
        data.handle, field.encode(), ctypes.byref(size), ctypes.byref(start)
    ):
        copy: Array = data.get_float_info(field)
        return copy
    if not size.value:
        return np.empty(0, np.float32)
    memory: Any = (ctypes.c_float * size.value).from_address(start.value or 0)
    numbers: Array = np.frombuffer(memory, np.float32)
    numbers.flags.writeable = False
    return numbers


@cache
def _get_info() -> Any:
    """The function of XGBoost's C interface that says where numbers lie; None if there is none."""
    import xgboost

    return getattr(getattr(xgboost.core, "_LIB", None), "XGDMatrixGetFloatInfo", None)


def _is_binary(loss: Loss) -> bool:
    """Whether probabilities are the sigmoid of the predictions, as XGBoost makes them."""
    return isinstance(loss, ElementwiseLoss) and hasattr(loss, "proba")


def _is_plain_softmax(loss: Loss) -> bool:
    """Whether probabilities are the softmax of the predictions, as XGBoost makes them."""
    if not isinstance(loss, SoftmaxLoss):
        return False
    return loss.temperature == 1 and loss.softcap is None and loss.class_mask is None
