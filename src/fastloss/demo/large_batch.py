"""One large batch of logits: time, memory and error of each way to the loss."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import cross_entropy
from ..call.arrays import Array
from ..study.numpy_losses import (
    naive_cross_entropy,
    naive_cross_entropy_grad,
    unblocked_cross_entropy,
    unblocked_cross_entropy_grad,
)
from ..study.peak import available_bytes, peak_of

ROWS, CLASSES = 200_000, 1_000
QUICK_ROWS, QUICK_CLASSES = 10_000, 100
ROUNDS = 3
# Arrays as large as the logits that are there at once when the naive version is at its peak, with
# the buffer for results and room to spare.
ARRAYS_AT_ONCE = 8
_SAMPLE = 2_000  # rows whose gradient is compared
_CHUNK = 2_000  # rows of the float64 reference computed at a time

TASKS = ("loss only", "loss + grad.", "loss + grad., out=", "loss + grad., in place")


class Contender(NamedTuple):
    name: str
    task: str
    call: Callable[[], Any]


class Result(NamedTuple):
    name: str
    task: str
    seconds: float  # the median of the rounds
    fastest: float
    extra_bytes: int  # at the peak, results included
    loss_error: float  # relative
    grad_error: float | None  # relative to the largest number in the row, the worst of all rows


class Reference(NamedTuple):
    """The truth, in float64."""

    loss: float
    rows: Array  # a sample of row numbers
    grad: Array  # of these rows


def rows_that_fit(rows: int, n_classes: int) -> int:
    """`rows`, or fewer if the memory that is available is too small for so many."""
    available = available_bytes()
    if available is None:
        return min(rows, ROWS // 4)
    return max(1_000, min(rows, available // (ARRAYS_AT_ONCE * n_classes * 4)))


def batch(rows: int, n_classes: int) -> tuple[Array, Array]:
    """Labels and float32 logits, such as a model that is often right and often sure returns."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, rows)
    logits = rng.standard_normal((rows, n_classes), dtype=np.float32)
    logits *= 2
    logits[np.arange(rows), labels] += rng.uniform(0, 24, rows).astype(np.float32)
    return labels, logits


def reference(labels: Array, logits: Array) -> Reference:
    """Loss and gradient in float64, chunk by chunk."""
    n = len(labels)
    rows = np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64)
    total = 0.0
    for first in range(0, n, _CHUNK):
        total += _exact(labels[first : first + _CHUNK], logits[first : first + _CHUNK])[0].sum()
    return Reference(total / n, rows, _exact(labels[rows], logits[rows])[1] / n)


def _exact(labels: Array, logits: Array) -> tuple[Array, Array]:
    """The loss of each row, and its gradient, with nothing subtracted from a rounded sum."""
    rows = np.arange(len(labels))
    x = logits.astype(np.float64)
    top = x.argmax(axis=1)
    row_max = x[rows, top]
    exps = np.exp(x - row_max[:, np.newaxis])
    exps[rows, top] = 0
    others = exps.sum(axis=1)
    losses = row_max - x[rows, labels] + np.log1p(others)
    exps[rows, top] = 1
    exps[rows, labels] = 0
    exps[rows, labels] = -exps.sum(axis=1)
    return losses, exps / (1 + others)[:, np.newaxis]


def contenders(labels: Array, logits: Array, buffer: Array) -> list[Contender]:
    """The in-place calls work on `buffer`, into which the logits are copied before each."""
    fused = cross_entropy.value_and_grad
    careful = unblocked_cross_entropy_grad
    loss_only, fresh, given, in_place = TASKS
    return [
        Contender("naive NumPy", loss_only, partial(naive_cross_entropy, labels, logits)),
        Contender("careful NumPy", loss_only, partial(unblocked_cross_entropy, labels, logits)),
        Contender("fastloss", loss_only, partial(cross_entropy, labels, logits)),
        Contender("naive NumPy", fresh, partial(naive_cross_entropy_grad, labels, logits)),
        Contender("careful NumPy", fresh, partial(careful, labels, logits)),
        Contender("fastloss", fresh, partial(fused, labels, logits)),
        Contender("careful NumPy", given, partial(careful, labels, logits, out=buffer)),
        Contender("fastloss", given, partial(fused, labels, logits, out=buffer)),
        Contender("careful NumPy", in_place, partial(careful, labels, buffer, out=buffer)),
        Contender("fastloss", in_place, partial(fused, labels, buffer, out=buffer)),
    ]


def measure(labels: Array, logits: Array, report: Callable[[str, float], None]) -> list[Result]:
    """Memory and errors of every contender, then the times, in rounds that alternate them.

    `report` is told what comes next and which share of the work is done.
    """
    buffer = np.zeros_like(logits)
    field = contenders(labels, logits, buffer)
    n_steps = 1 + len(field) * (1 + ROUNDS)

    report("the truth in float64", 0)
    truth = reference(labels, logits)
    extra_bytes, errors = [], []
    for i, contender in enumerate(field):
        report(f"memory: {contender.name}, {contender.task}", (1 + i) / n_steps)
        _prepare(contender, logits, buffer)
        extra, result = peak_of(contender.call)
        extra_bytes.append(extra)
        errors.append(_errors(result, truth))
        del result  # before the next call, which needs the room

    seconds: list[list[float]] = [[] for _ in field]
    for i in range(ROUNDS * len(field)):
        contender, times = field[i % len(field)], seconds[i % len(field)]
        report(f"time: {contender.name}, {contender.task}", (1 + len(field) + i) / n_steps)
        _prepare(contender, logits, buffer)
        start = time.perf_counter()
        result = contender.call()
        times.append(time.perf_counter() - start)
        del result
    report("done", 1)
    return [
        Result(*contender[:2], statistics.median(times), min(times), extra, *error)
        for contender, times, extra, error in zip(field, seconds, extra_bytes, errors, strict=True)
    ]


def _prepare(contender: Contender, logits: Array, buffer: Array) -> None:
    if contender.task == TASKS[-1]:
        np.copyto(buffer, logits)


def _errors(result: Any, truth: Reference) -> tuple[float, float | None]:
    value, grad = result if isinstance(result, tuple) else (result, None)
    loss_error = abs(float(value) - truth.loss) / truth.loss
    if grad is None:
        return loss_error, None
    difference = np.abs(grad[truth.rows] - truth.grad).max(axis=1)
    return loss_error, float((difference / np.abs(truth.grad).max(axis=1)).max())


def confident_row() -> Iterator[tuple[str, float]]:
    """The loss of one row that a model is sure of, and right about, by each way in float32."""
    labels = np.array([0])
    logits = np.array([[20, 0, -5]], dtype=np.float32)
    yield "naive NumPy", abs(float(naive_cross_entropy(labels, logits)))  # it returns -0.0
    yield "careful NumPy", unblocked_cross_entropy(labels, logits)
    yield "fastloss", cross_entropy(labels, logits)
    yield "the truth", float(np.log1p(np.exp(-20.0) + np.exp(-25.0)))
