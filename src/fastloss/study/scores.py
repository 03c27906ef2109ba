"""The numbers of scorecards: the formulas in float64, and how each library comes by them.

Here are those of logits over classes, and what all have in common; `task_numbers.py` has others.

Each in its fairest form: the top-k accuracies follow from ranks, as `top_k_accuracy_score` of
scikit-learn sorts all logits and that of TorchMetrics makes an array of zeros and ones of them;
both take longer than all else together. Nor does TorchMetrics make the table of classes: for that
it counts pairs of classes, 8 GiB of them where there are 32,768.
"""

from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from . import task_numbers
from .task_numbers import Numbers, Ways
from .workloads import LOGITS, Array

_N_BINS = 15
_TOP = 5
# Between float32 and float64 arithmetic, and of confidences that round across the edge of a bin.
_TOLERANCE = 1e-4
_CHUNK = 1 << 21  # elements


class _Rows(NamedTuple):
    """A number for each row."""

    loss: Array
    prediction: Array
    confidence: Array
    p_label: Array
    rank: Array
    squares: Array  # the sum of the squares of the probabilities
    entropy: Array


def _rows(labels: Array, logits: Array) -> _Rows:
    """In the precision of the logits."""
    from scipy.special import log_softmax

    rows = np.arange(len(labels))
    log_p = log_softmax(logits, axis=1)
    p = np.exp(log_p)
    prediction = logits.argmax(axis=1)
    return _Rows(
        loss=-log_p[rows, labels],
        prediction=prediction,
        confidence=p[rows, prediction],
        p_label=p[rows, labels],
        rank=(logits > logits[rows, labels][:, None]).sum(axis=1),
        squares=np.einsum("ij,ij->i", p, p),
        entropy=-np.einsum("ij,ij->i", p, log_p),
    )


def _numbers(labels: Array, n_classes: int, rows: _Rows) -> Numbers:
    """With the bins of a reliability diagram."""
    hit = rows.prediction == labels
    bins = np.minimum((rows.confidence * _N_BINS).astype(np.int64), _N_BINS - 1)
    gap = np.bincount(bins, weights=hit - rows.confidence.astype(np.float64), minlength=_N_BINS)
    n = np.bincount(labels, minlength=n_classes)
    of_class = n > 0
    accuracy = np.bincount(labels, weights=hit, minlength=n_classes)[of_class] / n[of_class]
    loss = np.bincount(labels, weights=rows.loss, minlength=n_classes)[of_class] / n[of_class]
    return {
        "loss": np.mean(rows.loss, dtype=np.float64),
        "standard error": np.std(rows.loss, ddof=1, dtype=np.float64) / np.sqrt(len(labels)),
        "accuracy": np.mean(hit),
        f"top-{_TOP} accuracy": np.mean(rows.rank < _TOP),
        "mean reciprocal rank": np.mean(1 / (1 + rows.rank)),
        "Brier score": np.mean(rows.squares + 1 - 2 * rows.p_label),
        "calibration error": np.abs(gap).sum() / len(labels),
        "entropy": np.mean(rows.entropy),
        "confidence": np.mean(rows.confidence, dtype=np.float64),
        "mean accuracy of classes": np.mean(accuracy),
        "mean loss of classes": np.mean(loss),
    }


def truth(labels: Array, logits: Array) -> Numbers:
    """In float64, a chunk of rows at a time."""
    n_rows, n_classes = logits.shape
    step = max(1, _CHUNK // n_classes)
    chunks = [
        _rows(labels[first : first + step], logits[first : first + step].astype(np.float64))
        for first in range(0, n_rows, step)
    ]
    return _numbers(labels, n_classes, _Rows(*map(np.concatenate, zip(*chunks, strict=True))))


def check(name: str, found: Any, truth: Numbers) -> dict[str, Any]:
    """What compares with `compare.check`. Who finds some of the numbers alone is told so."""
    unknown = sorted(set(found) - set(truth))
    assert not unknown, f"{name}: no score is called {', '.join(unknown)}: {', '.join(truth)}"
    for number, value in found.items():
        assert np.isclose(value, truth[number], rtol=_TOLERANCE, atol=_TOLERANCE), (
            f"{name}: {number} is {value}, and in float64 {truth[number]}"
        )
    missing = len(truth) - len(found)
    remark = f"{len(found)} of {len(truth)} numbers" if missing else ""
    return {"loss_error": None, "grad_error": None, "remark": remark}


# -------------------------------------------------------------------------------------------------
# As libraries find them


def fastloss(labels: Array, logits: Array) -> Numbers:
    scores = fl.evaluate(labels, logits, n_bins=_N_BINS)
    by_class = scores.by_class
    assert by_class is not None
    return {
        "loss": scores.loss,
        "standard error": scores.loss_standard_error,
        "accuracy": scores.accuracy,
        f"top-{_TOP} accuracy": scores.top_k(_TOP),
        "mean reciprocal rank": scores.mean_reciprocal_rank,
        "Brier score": scores.brier,
        "calibration error": scores.calibration_error,
        "entropy": scores.entropy,
        "confidence": scores.confidence,
        "mean accuracy of classes": float(np.nanmean(by_class.accuracy)),
        "mean loss of classes": float(np.nanmean(by_class.loss)),
    }


def scikit_learn(labels: Array, logits: Array) -> Numbers:
    """With SciPy and NumPy, as most of them are in none of its functions."""
    from sklearn.metrics import accuracy_score

    rows = _rows(labels, logits)
    accuracy = accuracy_score(labels, rows.prediction)
    return {**_numbers(labels, logits.shape[1], rows), "accuracy": accuracy}


def torchmetrics(labels: Array, logits: Array) -> Numbers:
    import torch
    from torch.nn.functional import cross_entropy, log_softmax
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_calibration_error,
    )

    y, x = torch.from_numpy(labels), torch.from_numpy(logits)
    options = {"num_classes": x.shape[1], "validate_args": False}
    losses = cross_entropy(x, y, reduction="none")
    log_p = log_softmax(x, dim=1)
    p = log_p.exp()
    at_label = y[:, None]
    p_label = p.gather(1, at_label)[:, 0]
    rank = (x > x.gather(1, at_label)).sum(dim=1)
    prediction = x.argmax(dim=1)
    present = torch.bincount(y, minlength=x.shape[1])
    of_class = torch.zeros(x.shape[1]).index_add_(0, y, losses)[present > 0] / present[present > 0]
    hits = torch.bincount(y[prediction == y], minlength=x.shape[1])
    tensors = {
        "loss": losses.mean(),
        "standard error": losses.std() / len(y) ** 0.5,
        "accuracy": multiclass_accuracy(prediction, y, average="micro", **options),
        f"top-{_TOP} accuracy": (rank < _TOP).double().mean(),
        "mean reciprocal rank": (1 / (1 + rank)).mean(),
        "Brier score": (p.square().sum(dim=1) + 1 - 2 * p_label).mean(),
        "calibration error": multiclass_calibration_error(p, y, n_bins=_N_BINS, **options),
        "entropy": -(p * log_p).sum(dim=1).mean(),
        "confidence": p.max(dim=1).values.mean(),
        "mean accuracy of classes": (hits / present)[present > 0].mean(),
        "mean loss of classes": of_class.mean(),
    }
    return {name: tensor.item() for name, tensor in tensors.items()}


# By what is evaluated.
WAYS = {LOGITS: Ways(truth, fastloss, scikit_learn, torchmetrics)} | task_numbers.WAYS
