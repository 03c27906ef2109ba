"""The numbers of the other tasks: the formulas in float64, and how each library comes by them.

Each in its fairest form: logits are taken as they are where that will do, and what a library has no
function for is found with NumPy, or with PyTorch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from .workloads import BINARY, COMPARISON, MULTILABEL, RANKING, REGRESSION, Array

Numbers = dict[str, float]
_TOP = 10  # documents of a query


class Ways(NamedTuple):
    """Ways to the numbers of a task, from what `make_data` has for it."""

    truth: Callable[[Array, Array], Numbers]
    fastloss: Callable[[Array, Array], Numbers]
    scikit_learn: Callable[[Array, Array], Numbers]
    torchmetrics: Callable[[Array, Array], Numbers]


def _double(function: Callable[[Array, Array], Numbers]) -> Callable[[Array, Array], Numbers]:
    """Of predictions in float64."""
    return lambda labels, predictions: function(labels, predictions.astype(np.float64))


def _tensors(*arrays: Array) -> Any:
    import torch

    return map(torch.from_numpy, arrays)


def _as_numbers(found: dict[str, Any]) -> Numbers:
    return {name: float(value) for name, value in found.items()}


# -------------------------------------------------------------------------------------------------
# Two classes


def _areas(labels: Array, scores: Array) -> tuple[float, float]:
    """Under the ROC curve, and the average precision; equal scores are one threshold."""
    order = np.argsort(-scores)
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.cumsum(labels[order])[last].astype(np.float64)
    false = last + 1 - true
    gained, precision = np.diff(true, prepend=0), true / (last + 1)
    won = (gained * (false[-1] - (false + np.append(0, false[:-1])) / 2)).sum()
    with np.errstate(invalid="ignore"):
        return won / (true[-1] * false[-1]), (gained * precision).sum() / true[-1]


def _binary_truth(labels: Array, logits: Array) -> Numbers:
    auc, average_precision = _areas(labels, logits)
    p = 1 / (1 + np.exp(-logits))
    return {
        "loss": np.mean(np.logaddexp(0, logits) - labels * logits),
        "Brier score": np.mean((p - labels) ** 2),
        "ROC AUC": auc,
        "average precision": average_precision,
    }


def binary(labels: Array, logits: Array, bins: int | None = None) -> Numbers:
    scores = fl.evaluate(labels, logits, task="binary", bins=bins)
    return {
        "loss": scores.loss,
        "Brier score": scores.brier,
        "ROC AUC": scores.auc,
        "average precision": scores.average_precision,
    }


def _binary_sklearn(labels: Array, logits: Array) -> Numbers:
    from scipy.special import expit
    from sklearn import metrics

    p = expit(logits)
    return {
        "loss": metrics.log_loss(labels, p),
        "Brier score": metrics.brier_score_loss(labels, p),
        "ROC AUC": metrics.roc_auc_score(labels, logits),
        "average precision": metrics.average_precision_score(labels, logits),
    }


def _binary_torchmetrics(labels: Array, logits: Array) -> Numbers:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits
    from torchmetrics.functional import classification

    y, x = _tensors(labels, logits)
    p = torch.sigmoid(x)
    return _as_numbers(
        {
            "loss": binary_cross_entropy_with_logits(x, y.to(x.dtype)),
            "Brier score": (p - y).square().mean(),
            "ROC AUC": classification.binary_auroc(p, y, validate_args=False),
            "average precision": classification.binary_average_precision(p, y, validate_args=False),
        }
    )


# -------------------------------------------------------------------------------------------------
# Several labels


def _multilabel_truth(labels: Array, logits: Array) -> Numbers:
    """Of rows with a label that is true; no scores are equal."""
    decided = logits >= 0
    # At each place of a row, from the highest score down.
    y = np.take_along_axis(labels, np.argsort(-logits, axis=1), axis=1)
    n_true, places = y.sum(axis=1), np.arange(1, y.shape[1] + 1)
    precision = (y * y.cumsum(axis=1) / places).sum(axis=1) / n_true
    areas = [_areas(*column) for column in zip(labels.T, logits.T, strict=True)]
    right = (decided & (labels == 1)).sum(axis=0)
    return {
        "Hamming loss": np.mean(decided != labels),
        "subset accuracy": np.mean((decided == labels).all(axis=1)),
        "coverage error": np.mean((y * places).max(axis=1)),
        "ranking precision": np.mean(precision),
        "macro F1": np.mean(2 * right / (decided.sum(axis=0) + labels.sum(axis=0))),
        "macro ROC AUC": np.mean([auc for auc, _ in areas]),
        "macro average precision": np.mean([precision for _, precision in areas]),
    }


def _multilabel(labels: Array, logits: Array) -> Numbers:
    scores = fl.evaluate(labels, logits, task="multilabel")
    return {
        "Hamming loss": scores.hamming_loss,
        "subset accuracy": scores.subset_accuracy,
        "coverage error": scores.coverage_error,
        "ranking precision": scores.label_ranking_average_precision,
        "macro F1": scores.macro.f1,
        "macro ROC AUC": scores.macro.auc,
        "macro average precision": scores.macro.average_precision,
    }


def _multilabel_sklearn(labels: Array, logits: Array) -> Numbers:
    from sklearn import metrics

    decided = logits >= 0
    return {
        "Hamming loss": metrics.hamming_loss(labels, decided),
        "subset accuracy": metrics.accuracy_score(labels, decided),
        "coverage error": metrics.coverage_error(labels, logits),
        "ranking precision": metrics.label_ranking_average_precision_score(labels, logits),
        "macro F1": metrics.f1_score(labels, decided, average="macro"),
        "macro ROC AUC": metrics.roc_auc_score(labels, logits, average="macro"),
        "macro average precision": metrics.average_precision_score(labels, logits, average="macro"),
    }


def _multilabel_torchmetrics(labels: Array, logits: Array) -> Numbers:
    import torch
    from torchmetrics.functional import classification

    y, x = _tensors(labels, logits)
    p, told = torch.sigmoid(x), {"num_labels": y.shape[1], "validate_args": False}
    return _as_numbers(
        {
            "Hamming loss": classification.multilabel_hamming_distance(
                p, y, average="micro", **told
            ),
            "subset accuracy": classification.multilabel_exact_match(p, y, **told),
            "coverage error": classification.multilabel_coverage_error(p, y, **told),
            "ranking precision": classification.multilabel_ranking_average_precision(p, y, **told),
            "macro F1": classification.multilabel_f1_score(p, y, **told),
            "macro ROC AUC": classification.multilabel_auroc(p, y, **told),
            "macro average precision": classification.multilabel_average_precision(p, y, **told),
        }
    )


# -------------------------------------------------------------------------------------------------
# Numbers


def _regression_truth(labels: Array, predictions: Array) -> Numbers:
    y = labels.astype(np.float64)
    e = predictions - y
    return {
        "MSE": np.mean(e * e),
        "MAE": np.mean(np.abs(e)),
        "maximum error": np.abs(e).max(),
        "R2": 1 - np.mean(e * e) / y.var(),
        "explained variance": 1 - e.var() / y.var(),
        "Pearson": np.corrcoef(y, predictions)[0, 1],
    }


def _regression(labels: Array, predictions: Array) -> Numbers:
    scores = fl.evaluate(labels, predictions, task="regression")
    return {
        "MSE": scores.mse,
        "MAE": scores.mae,
        "maximum error": scores.maximum_error,
        "R2": scores.r2,
        "explained variance": scores.explained_variance,
        "Pearson": scores.pearson,
    }


def _regression_sklearn(labels: Array, predictions: Array) -> Numbers:
    from scipy.stats import pearsonr
    from sklearn import metrics

    return {
        "MSE": metrics.mean_squared_error(labels, predictions),
        "MAE": metrics.mean_absolute_error(labels, predictions),
        "maximum error": metrics.max_error(labels, predictions),
        "R2": metrics.r2_score(labels, predictions),
        "explained variance": metrics.explained_variance_score(labels, predictions),
        "Pearson": pearsonr(labels, predictions).statistic,
    }


def _regression_torchmetrics(labels: Array, predictions: Array) -> Numbers:
    from torchmetrics import functional

    y, p = _tensors(labels, predictions)
    return _as_numbers(
        {
            "MSE": functional.mean_squared_error(p, y),
            "MAE": functional.mean_absolute_error(p, y),
            "maximum error": (p - y).abs().max(),
            "R2": functional.r2_score(p, y),
            "explained variance": functional.explained_variance(p, y),
            "Pearson": functional.pearson_corrcoef(p, y),
        }
    )


# -------------------------------------------------------------------------------------------------
# Rankings


def _discounted(gains: Array, k: int | None) -> Array:
    """The sum over the first k of each query, all if None."""
    gains = gains[:, :k]
    return gains @ (1 / np.log2(np.arange(2, gains.shape[1] + 2)))


def _ranking_truth(labels: Array, scores: Array) -> Numbers:
    """Of queries with a relevant document; no scores are equal."""
    y = np.take_along_axis(labels, np.argsort(-scores, axis=1), axis=1)
    best, places = -np.sort(-labels, axis=1), np.arange(1, y.shape[1] + 1)
    relevant = y > 0
    precision = (relevant * relevant.cumsum(axis=1) / places).sum(axis=1) / relevant.sum(axis=1)
    return {
        "NDCG": np.mean(_discounted(y, None) / _discounted(best, None)),
        f"NDCG@{_TOP}": np.mean(_discounted(y, _TOP) / _discounted(best, _TOP)),
        "MAP": np.mean(precision),
        "MRR": np.mean(1 / (1 + relevant.argmax(axis=1))),
    }


def _ranking(labels: Array, scores: Array) -> Numbers:
    found = fl.evaluate(labels, scores, task="ranking", k=(_TOP, None))
    return {
        "NDCG": found.ndcg[None],
        f"NDCG@{_TOP}": found.ndcg[_TOP],
        "MAP": found.mean_average_precision[None],
        "MRR": found.mean_reciprocal_rank[None],
    }


def _ranking_sklearn(labels: Array, scores: Array) -> Numbers:
    from sklearn import metrics

    relevant = labels > 0
    highest = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    return {
        "NDCG": metrics.ndcg_score(labels, scores),
        f"NDCG@{_TOP}": metrics.ndcg_score(labels, scores, k=_TOP),
        "MAP": metrics.label_ranking_average_precision_score(relevant, scores),
        "MRR": np.mean(1 / (scores >= highest).sum(axis=1)),
    }


def _ranking_torchmetrics(labels: Array, scores: Array) -> Numbers:
    import torch
    from torchmetrics import retrieval

    queries = torch.arange(len(labels)).repeat_interleave(labels.shape[1])
    y, x = _tensors(labels.reshape(-1), scores.reshape(-1))
    return _as_numbers(
        {
            "NDCG": retrieval.RetrievalNormalizedDCG()(x, y, indexes=queries),
            f"NDCG@{_TOP}": retrieval.RetrievalNormalizedDCG(top_k=_TOP)(x, y, indexes=queries),
            "MAP": retrieval.RetrievalMAP()(x, y > 0, indexes=queries),
            "MRR": retrieval.RetrievalMRR()(x, y > 0, indexes=queries),
        }
    )


# -------------------------------------------------------------------------------------------------
# Two sets of logits


def _comparison_numpy(first: Array, second: Array) -> Numbers:
    """In the precision of the logits."""
    from scipy.special import log_softmax

    log_p, log_q = log_softmax(first, axis=1), log_softmax(second, axis=1)
    p, q = np.exp(log_p), np.exp(log_q)
    log_p -= log_q
    return {
        "KL": np.mean(np.einsum("ij,ij->i", p, log_p)),
        "reverse KL": -np.mean(np.einsum("ij,ij->i", q, log_p)),
        "total variation": np.mean(np.abs(p - q).sum(axis=1)) / 2,
        "agreement": np.mean(first.argmax(axis=1) == second.argmax(axis=1)),
    }


def _comparison_truth(first: Array, second: Array) -> Numbers:
    return _comparison_numpy(first.astype(np.float64), second.astype(np.float64))


def _comparison(first: Array, second: Array) -> Numbers:
    found = fl.compare(first, second)
    return {
        "KL": found.kl.mean,
        "reverse KL": found.reverse_kl.mean,
        "total variation": found.total_variation.mean,
        "agreement": found.agreement.mean,
    }


def _comparison_torchmetrics(first: Array, second: Array) -> Numbers:
    import torch
    from torchmetrics.functional import kl_divergence

    x, z = _tensors(first, second)
    log_p, log_q = torch.log_softmax(x, 1), torch.log_softmax(z, 1)
    return _as_numbers(
        {
            "KL": kl_divergence(log_p, log_q, log_prob=True),
            "reverse KL": kl_divergence(log_q, log_p, log_prob=True),
            "total variation": (log_p.exp() - log_q.exp()).abs().sum(dim=1).mean() / 2,
            "agreement": (x.argmax(dim=1) == z.argmax(dim=1)).double().mean(),
        }
    )


WAYS = {
    BINARY: Ways(_double(_binary_truth), binary, _binary_sklearn, _binary_torchmetrics),
    MULTILABEL: Ways(
        _double(_multilabel_truth), _multilabel, _multilabel_sklearn, _multilabel_torchmetrics
    ),
    REGRESSION: Ways(
        _double(_regression_truth), _regression, _regression_sklearn, _regression_torchmetrics
    ),
    RANKING: Ways(_double(_ranking_truth), _ranking, _ranking_sklearn, _ranking_torchmetrics),
    COMPARISON: Ways(_comparison_truth, _comparison, _comparison_numpy, _comparison_torchmetrics),
}
# In fixed memory, with two areas that are known within an interval.
BINNED = partial(binary, bins=1 << 20)
