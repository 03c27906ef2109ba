"""Losses as metrics and scorers of scikit-learn, of labels of any kind, without clipping."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .bases.loss import Loss
from .bases.rows import RowwiseLoss
from .call.arrays import Array
from .call.class_ids import class_ids
from .hosts.common import check_loss, name_of
from .losses.binary import BinaryCrossEntropy
from .losses.multiclass.categorical import CategoricalCrossEntropy
from .losses.multiclass.logits import cross_entropy

_UNIT = 0.0, 1.0
# In so many rows a decision function is compared with the probabilities.
_ROWS_COMPARED = 16


def scorer(loss: Loss) -> "Scorer":
    """A loss as `scoring=` of `cross_val_score`, `GridSearchCV` and their like: greater is better.

    What is scored is minus the loss. A loss of logits takes those whose softmax, or sigmoid, the
    probabilities of the estimator are: its decision function where these agree, else the logarithms
    of its probabilities, or its decision function if it has none. A loss of probabilities takes
    these, and all others what is predicted. Labels may be of any kind: classes are those that the
    estimator has seen.

    Weights of samples reach it as those of scikit-learn's own: searches and early stopping pass
    theirs, and with metadata routing `set_score_request(sample_weight=True)` asks for them.

    >>> import fastloss as fl
    >>> import fastloss.sklearn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> scores = cross_val_score(model, X, y, scoring=fl.sklearn.scorer(fl.cross_entropy))
    >>> scores.round(2)
    array([-0.15, -0.11, -0.19, -0.15, -0.11])
    """
    return Scorer(loss)


def metric(loss: Loss) -> "Metric":
    """A loss as a function `(y_true, y_score, *, sample_weight=None, labels=None)`; less is better.

    For `make_scorer(metric, response_method=..., greater_is_better=False)`, too. `y_score`: what
    the loss takes, with a column for each class, or one number for each sample that speaks for the
    second of two classes, as decision functions have it. `y_true`: labels of any kind; classes are
    the sorted `labels`, or those that occur. Of several columns they are as the loss takes them.

    >>> import fastloss as fl
    >>> import fastloss.sklearn
    >>> fl.sklearn.metric(fl.hinge)(["no", "yes"], [-0.5, 2.0])
    0.25
    """
    return Metric(loss)


def log_loss(
    y_true: Any,
    y_score: Any,
    *,
    sample_weight: Any = None,
    labels: Any = None,
    proba: bool = False,
) -> float:
    """The mean cross-entropy of labels and a decision function, or with `proba` probabilities.

    Nothing is clipped: a probability of 0 of what is true costs infinity, and a decision function
    loses no digits, where the logarithm of its probabilities would. All else is as in `metric`.

    >>> import fastloss as fl
    >>> import fastloss.sklearn
    >>> fl.sklearn.log_loss([-1, 1], [-800.0, 800.0])
    0.0
    >>> fl.sklearn.log_loss(["a", "b", "b"], [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]], proba=True)
    inf
    """
    metric = Metric(CategoricalCrossEntropy(log_floor=-np.inf) if proba else cross_entropy)
    return metric(y_true, y_score, sample_weight=sample_weight, labels=labels)


@dataclass(frozen=True)
class Metric:
    """A loss as a metric of scikit-learn: see `metric`."""

    loss: Loss

    def __post_init__(self) -> None:
        check_loss(self.loss)
        if self.loss.reduction == "none":
            raise ValueError(
                f"a score is one number, and {self.loss} has one for each sample: build it with "
                'reduction="mean" or "sum"'
            )

    @property
    def __name__(self) -> str:
        return name_of(self.loss)

    def __call__(
        self, y_true: Any, y_score: Any, *, sample_weight: Any = None, labels: Any = None
    ) -> float:
        score = np.asarray(y_score)
        # Labels of several columns, soft or of several classes at once, are as the loss takes them.
        if _is_of_classes(self.loss) and np.ndim(y_true) < 2:
            y_true = _class_ids(y_true, labels, 2 if score.ndim == 1 else score.shape[-1])
            if isinstance(self.loss, RowwiseLoss):
                score = self._columns(score)
            else:
                y_true, score = y_true.astype(np.float64), self._one_column(score)
        return float(self.loss(y_true, score, sample_weight=sample_weight))

    def _columns(self, score: Array) -> Array:
        """A column for each class."""
        if score.ndim > 1:
            return score
        other = 1 - score if _takes_proba(self.loss) else np.zeros_like(score)
        return np.stack([other, score], axis=1)

    def _one_column(self, score: Array) -> Array:
        """What speaks for the second of two classes."""
        if score.ndim == 1:
            return score
        if score.shape[1] == 1:
            return score[:, 0]
        if score.shape[1] != 2:
            raise ValueError(
                f"{type(self.loss).__name__} tells two classes apart, and y_score has "
                f"{score.shape[1]} columns: take fl.cross_entropy, or labels and scores of one "
                "class against the others"
            )
        if _takes_proba(self.loss):
            return score[:, 1]
        return score[:, 1] - score[:, 0]


@dataclass(unsafe_hash=True)
class Scorer:
    """A loss as a scorer of scikit-learn: see `scorer`."""

    loss: Loss
    # Whether weights of samples are asked for, as metadata, or by which name.
    _request: bool | str | None = field(default=None, init=False, repr=False, hash=False)
    # As those of scikit-learn: what is larger is better.
    _sign: ClassVar[int] = -1

    def __post_init__(self) -> None:
        Metric(self.loss)

    @property
    def __name__(self) -> str:
        return f"neg_{Metric(self.loss).__name__}"

    def __call__(self, estimator: Any, X: Any, y_true: Any, sample_weight: Any = None) -> float:
        """Minus the loss of what the estimator says of X."""
        labels = None
        if _is_of_classes(self.loss):
            if np.ndim(y_true) > 1:
                raise ValueError(
                    f"y has shape {np.shape(y_true)}, but scorers are for one label of each row: "
                    "give labels and predictions to fastloss.sklearn.metric(loss)"
                )
            if not hasattr(estimator, "classes_"):
                raise TypeError(
                    f"{type(self.loss).__name__} is a loss of classes, and "
                    f"{type(estimator).__name__} has no classes_: score a classifier with it"
                )
            labels = estimator.classes_
            takes_proba = _takes_proba(self.loss)
            score = estimator.predict_proba(X) if takes_proba else _logits(estimator, X)
        else:
            score = estimator.predict(X)
        metric = Metric(self.loss)
        return -metric(y_true, score, sample_weight=sample_weight, labels=labels)

    def set_score_request(self, *, sample_weight: bool | str | None = None) -> "Scorer":
        """Ask for weights of samples where metadata is routed: True, False, None or their name.

        As in scikit-learn, the scorer itself is changed and returned, and None is an error for
        those who pass weights.
        """
        self._request = sample_weight
        return self

    def get_metadata_routing(self) -> Any:
        """What is asked for, as scikit-learn's routers want to know it."""
        from sklearn.utils.metadata_routing import MetadataRequest

        requests = MetadataRequest(owner=self)
        requests.score.add_request(param="sample_weight", alias=self._request)
        return requests

    def _accept_sample_weight(self) -> bool:
        """Searches that score several things ask this of each scorer."""
        return True


def _logits(estimator: Any, X: Any) -> Array:
    """Numbers whose softmax, or sigmoid, the probabilities of the estimator are."""
    decide = getattr(estimator, "decision_function", None)
    if decide is not None:
        logits: Array = np.asarray(decide(X))
        if not hasattr(estimator, "predict_proba"):
            return logits
        ours = cross_entropy.proba(Metric(cross_entropy)._columns(logits))
        # Sure rows are alike whatever the rule is.
        least_sure = int(np.argmin(ours.max(axis=1))) if len(ours) else 0
        some = slice(max(least_sure + 1 - _ROWS_COMPARED, 0), least_sure + 1)
        rows = X.tocsr() if hasattr(X, "tocsr") else X
        theirs = estimator.predict_proba(rows[some])
        if theirs.shape == ours.shape:  # of all, which HistGradientBoosting has while it is fitted
            theirs = theirs[some]
        if ours[some].shape == theirs.shape and np.allclose(ours[some], theirs, atol=1e-6):
            return logits
    with np.errstate(divide="ignore"):
        if hasattr(estimator, "predict_log_proba"):
            return np.asarray(estimator.predict_log_proba(X))
        log_proba: Array = np.log(np.asarray(estimator.predict_proba(X)))
    return log_proba


def _is_of_classes(loss: Loss) -> bool:
    return loss.y_true_range == _UNIT


def _takes_proba(loss: Loss) -> bool:
    return isinstance(loss, (BinaryCrossEntropy, CategoricalCrossEntropy))


def _class_ids(y_true: Any, labels: Any, n_columns: int) -> Array:
    """The places of labels among the sorted classes."""
    ids, classes = class_ids(y_true, None if labels is None else np.unique(labels))
    if len(classes) != n_columns:
        raise ValueError(
            f"y_score is of {n_columns} classes, but the labels are of {len(classes)}, "
            f"{classes[:10].tolist()}: name all of them, labels=..."
        )
    return ids
