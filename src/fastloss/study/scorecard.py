"""All numbers of a scorecard: in one pass here, and as other libraries come by the same ones.

Each in its fairest form: the top-k accuracies follow from ranks, as `top_k_accuracy_score` of
scikit-learn sorts all logits and that of TorchMetrics makes an array of zeros and ones of them;
both take longer than all else together. Nor does TorchMetrics make the table of classes: for that
it counts pairs of classes, 8 GiB of them where there are 32,768.
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import fastloss as fl

from ..evaluation.files import one_pass, opened
from .contender import FASTLOSS, Job, threads_of
from .report import BASIS, ROOF, Result, aligned, noise, shape_text, three_digits
from .roof import roof
from .workloads import LOSS, Array, Data, Workload

ALONE = f"{FASTLOSS}: the loss alone"
SCORECARD = f"{FASTLOSS}: the scorecard"
MAPPED_ANEW = f"{FASTLOSS}: the scorecard, mapping the file anew"
IN_CHUNKS = f"{FASTLOSS}: the scorecard, reading the file in chunks"
SCIKIT_LEARN = "scikit-learn, SciPy and NumPy"
TORCHMETRICS = "TorchMetrics and PyTorch"
READ = "reading the file, one thread"

WORKLOADS = (
    Workload("cross_entropy", (1_000_000, 10)),
    Workload("cross_entropy", (65_536, 100)),
    Workload("cross_entropy", (65_536, 1_000)),
    Workload("cross_entropy", (8_192, 32_768)),
)
# Larger than what the caches of a processor hold, and smaller than what the system keeps of files.
FILE = Workload("cross_entropy", (4_096, 32_768))

_N_BINS = 15
_TOP = 5
# What is read at a time; smaller ones take longer, larger ones leave the cache.
_BUFFER = 1 << 20
# Between float32 and float64 arithmetic, and of confidences that round across the edge of a bin.
_TOLERANCE = 1e-4

Numbers = dict[str, float]


# -------------------------------------------------------------------------------------------------
# The same numbers


def _fastloss(labels: Array, logits: Array) -> Numbers:
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


def _scikit_learn(labels: Array, logits: Array) -> Numbers:
    from scipy.special import log_softmax
    from sklearn.metrics import accuracy_score

    n, n_classes = logits.shape
    rows = np.arange(n)
    log_p = log_softmax(logits, axis=1)
    p = np.exp(log_p)
    losses = -log_p[rows, labels]
    prediction = logits.argmax(axis=1)
    hit = prediction == labels
    confidence, p_label = p[rows, prediction], p[rows, labels]
    rank = (logits > logits[rows, labels][:, None]).sum(axis=1)
    return {
        **_of_rows(labels, n_classes, losses, hit, confidence),
        "accuracy": accuracy_score(labels, prediction),
        f"top-{_TOP} accuracy": np.mean(rank < _TOP),
        "mean reciprocal rank": np.mean(1 / (1 + rank)),
        "Brier score": np.mean(np.einsum("ij,ij->i", p, p) + 1 - 2 * p_label),
        "entropy": -np.mean(np.einsum("ij,ij->i", p, log_p)),
    }


def _of_rows(
    labels: Array, n_classes: int, losses: Array, hit: Array, confidence: Array
) -> Numbers:
    """What follows from a few numbers of each row; with the bins of a reliability diagram."""
    bins = np.minimum((confidence * _N_BINS).astype(np.int64), _N_BINS - 1)
    gap = np.bincount(bins, weights=hit - confidence.astype(np.float64), minlength=_N_BINS)
    n = np.bincount(labels, minlength=n_classes)
    of_class = n > 0
    accuracy = np.bincount(labels, weights=hit, minlength=n_classes)[of_class] / n[of_class]
    loss = np.bincount(labels, weights=losses, minlength=n_classes)[of_class] / n[of_class]
    return {
        "loss": np.mean(losses, dtype=np.float64),
        "standard error": np.std(losses, ddof=1, dtype=np.float64) / np.sqrt(len(losses)),
        "calibration error": np.abs(gap).sum() / len(labels),
        "confidence": np.mean(confidence, dtype=np.float64),
        "mean accuracy of classes": np.mean(accuracy),
        "mean loss of classes": np.mean(loss),
    }


def _torchmetrics(labels: Array, logits: Array) -> Numbers:
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


_PACKAGES = {SCIKIT_LEARN: "sklearn", TORCHMETRICS: "torchmetrics"}


def missing() -> list[str]:
    return [name for name, package in _PACKAGES.items() if find_spec(package) is None]


def jobs(data: Data) -> dict[str, Job]:
    """By name, all that are there; each has been called once, and found the same numbers."""
    labels, logits, _ = data
    found: dict[str, Job] = {
        ROOF: roof(LOSS, data, fl.get_num_threads()),
        ALONE: Job(partial(fl.cross_entropy, labels, logits)),
        SCORECARD: Job(partial(_fastloss, labels, logits)),
        SCIKIT_LEARN: Job(partial(_scikit_learn, labels, logits)),
    }
    if find_spec("torchmetrics") is not None:
        import torch

        call = partial(_torchmetrics, labels, logits)
        found[TORCHMETRICS] = Job(call, partial(threads_of, torch, fl.get_num_threads()))
    for name in missing():
        found.pop(name, None)
    expected: Numbers = found[SCORECARD].call()
    for name, job in found.items():
        with job.setting():
            result = job.call()
        if isinstance(result, dict):
            check(name, result, expected)
    return found


def check(name: str, found: Numbers, expected: Numbers) -> None:
    assert found.keys() == expected.keys(), name
    for number, value in expected.items():
        assert np.isclose(found[number], value, rtol=_TOLERANCE, atol=_TOLERANCE), (
            f"{name}: {number} is {found[number]}, and here {value}"
        )


# -------------------------------------------------------------------------------------------------
# A file


def file_jobs(labels: Array, path: Path) -> dict[str, Job]:
    """Of logits in an .npy file, memory-mapped, which the system has in its cache by then."""
    logits = np.load(path, mmap_mode="r")
    mapped = Data(labels, logits, logits)
    found = {
        READ: Job(partial(_read, path)),
        ROOF: roof(LOSS, mapped, fl.get_num_threads()),
        ALONE: Job(partial(fl.cross_entropy, labels, logits)),
        SCORECARD: Job(partial(fl.evaluate, labels, logits)),
        MAPPED_ANEW: Job(partial(_evaluate_mapped, labels, path)),
        IN_CHUNKS: Job(partial(_evaluate_in_chunks, labels, path)),
    }
    for job in found.values():
        with job.setting():
            job.call()
    return found


def _evaluate_mapped(labels: Array, path: Path) -> fl.Scores:
    """With a page fault for every few pages, as the first time."""
    return fl.evaluate(labels, np.load(path, mmap_mode="r"))


def _evaluate_in_chunks(labels: Array, path: Path) -> fl.Scores:
    """As `fastloss evaluate` does it."""
    logits, card = opened.logits([str(path)]), fl.Scorecard()
    step = one_pass.chunk_rows(logits.row_bytes)
    for start in range(0, logits.n_rows, step):
        stop = min(start + step, logits.n_rows)
        card.update(labels[start:stop], logits.read(start, stop))
    return card.result()


def _read(path: Path) -> int:
    """The bytes of the file, one buffer at a time, as a copy of it would read them."""
    buffer, total = bytearray(_BUFFER), 0
    with path.open("rb", buffering=0) as file:
        while n_bytes := file.readinto(buffer):
            total += n_bytes
    return total


# -------------------------------------------------------------------------------------------------
# Results


def result(workload: Workload, times: dict[str, Any], where: str) -> Result:
    cells = [{"contender": name, **cell} for name, cell in times.items() if name != ROOF]
    return {
        "loss": workload.loss,
        "shape": workload.shape,
        "dtype": workload.dtype,
        "where": where,
        "roof": times[ROOF],
        "cells": cells,
    }


def text(result: Result) -> str:
    times: list[tuple[str, Any]] = [(ROOF, result["roof"])]
    times += [(cell["contender"], cell) for cell in result["cells"]]
    seconds = {name: cell[BASIS] for name, cell in times}
    rows: list[Sequence[str]] = [
        ("", "median ms", "min ms", "x the loss alone", "x the scorecard", "")
    ]
    for name, cell in times:
        ratios = [f"{cell[BASIS] / seconds[one]:.2f}" for one in (ALONE, SCORECARD)]
        both = [three_digits(cell[statistic], "ms") for statistic in ("median", "min")]
        rows.append((name, *both, *ratios, ", ".join(noise(cell))))
    return aligned(f"{shape_text(result)}, {result['dtype']}, {result['where']}", rows)
