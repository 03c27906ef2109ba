"""Whole jobs instead of kernels: a small network trained on real digits, and the loss of a file of
logits that is mapped into memory. Only how the loss is computed differs.

Each is done in a process of its own: once for its time, and once more for its memory, as looking at
memory takes time.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil

import fastloss as fl

from . import memory
from .contender import FASTLOSS, NAIVE
from .numpy_losses import (
    naive_cross_entropy,
    naive_cross_entropy_grad,
    unblocked_cross_entropy,
    unblocked_cross_entropy_grad,
)
from .processes import run_python
from .workloads import Array

if TYPE_CHECKING:  # at run time only by who trains, as it imports scikit-learn
    from ..demo.training import Digits, LossFunction

TRAINING, EVALUATION = "training", "evaluation"
TITLES = {
    TRAINING: "training a two-layer network on scikit-learn's digits, batches of 32, float64",
    EVALUATION: "the loss of a file of logits, mapped into memory, 1,000 classes, float32",
}
UNITS = {TRAINING: "epochs", EVALUATION: "rows"}
CAREFUL = "careful NumPy"
IN_CHUNKS = "naive NumPy, in chunks"

_CLASSES = 1_000
_CHUNK = 4_096  # rows, by which the file is written, and read by who reads it in chunks
# The naive formula has so many arrays of the size of the logits at its peak.
_NAIVE_ARRAYS = 5


def _naive_training(labels: Array, logits: Array, out: Array) -> tuple[Any, Array]:
    return naive_cross_entropy_grad(labels, logits)


def _fused_training(labels: Array, logits: Array, out: Array) -> tuple[Any, Array]:
    return fl.cross_entropy.value_and_grad(labels, logits, out=out)


LOSSES: "Mapping[str, LossFunction]" = {
    NAIVE: _naive_training,
    CAREFUL: unblocked_cross_entropy_grad,
    FASTLOSS: _fused_training,
}


class Outcome(NamedTuple):
    """What a job came to."""

    loss: float
    loss_seconds: float  # how much of the time went into the loss; the rest is the same for all


def _train(data: "Digits", epochs: int, loss: "LossFunction") -> Outcome:
    """With the loss of the last epoch."""
    from ..demo import training

    model = training.TwoLayerNetwork(np.random.default_rng(0), data.train_images.shape[1])
    history = training.train(model, data, epochs, loss, lambda history: None)
    return Outcome(history.losses[-1], history.loss_seconds)


def _evaluate(loss: Callable[[Array, Array], Any], labels: Array, logits: Array) -> Outcome:
    """Nothing but the loss, and reading the file."""
    start = time.perf_counter()
    value = float(loss(labels, logits))
    return Outcome(value, time.perf_counter() - start)


def _in_chunks(loss: Callable[[Array, Array], Any], labels: Array, logits: Array) -> float:
    total = 0.0
    for first in range(0, len(labels), _CHUNK):
        rows = slice(first, first + _CHUNK)
        total += float(loss(labels[rows], logits[rows])) * len(labels[rows])
    return total / len(labels)


EVALUATIONS: Mapping[str, Callable[[Array, Array], Any]] = {
    NAIVE: naive_cross_entropy,
    IN_CHUNKS: partial(_in_chunks, naive_cross_entropy),
    CAREFUL: partial(_in_chunks, unblocked_cross_entropy),
    FASTLOSS: fl.cross_entropy,
}


class Job(NamedTuple):
    """A whole job, and the numbers that say how large it is."""

    name: str
    size: int  # epochs of the training; rows of the file
    folder: str = ""  # of the file

    @property
    def contenders(self) -> list[str]:
        return list(LOSSES if self.name == TRAINING else EVALUATIONS)

    def needed_bytes(self, contender: str) -> int:
        whole = self.name == EVALUATION and contender == NAIVE
        return self.size * _CLASSES * 4 * _NAIVE_ARRAYS if whole else 0


def rows_of(n_bytes: float) -> int:
    """Of a file of about so many bytes."""
    return max(1, int(n_bytes) // (4 * _CLASSES))


@contextmanager
def file_of_logits(folder: Path, rows: int) -> Iterator[Job]:
    """A file that is deleted in the end: no more of it is in memory than a chunk."""
    with TemporaryDirectory(dir=folder, prefix="logits-") as inside:
        rng = np.random.default_rng(0)
        logits = np.lib.format.open_memmap(
            Path(inside) / "logits.npy", "w+", np.dtype(np.float32), (rows, _CLASSES)
        )
        for first in range(0, rows, _CHUNK):
            chunk = logits[first : first + _CHUNK]
            chunk[:] = 2 * rng.standard_normal(chunk.shape, dtype=np.float32)
        logits.flush()
        np.save(Path(inside) / "labels.npy", rng.integers(0, _CLASSES, rows))
        del logits, chunk
        yield Job(EVALUATION, rows, inside)


def measure(job: Job, contender: str, quantity: str) -> dict[str, Any]:
    """In a fresh process: `quantity` is "seconds" or "bytes", and the rest is an `Outcome`.

    With the bytes, those of the job beyond what was there before, come those of the whole process,
    libraries and compiler included.
    """
    settings = json.dumps([job, contender, quantity])
    found: dict[str, Any] = json.loads(run_python("-m", "fastloss.study.jobs", settings))
    return found


def main(settings: str) -> None:
    fields, contender, quantity = json.loads(settings)
    job, outcomes = Job(*fields), []
    work = _work(job, contender)
    found: dict[str, float] = {}
    if quantity == "seconds":
        start = time.perf_counter()
        outcomes.append(work())
        found["seconds"] = time.perf_counter() - start
    else:
        before = _own(psutil.Process().memory_info())
        found["bytes"] = memory.sampled(lambda: outcomes.append(work()), _own)
        found["process_bytes"] = before + found["bytes"]
    print(json.dumps({**found, **outcomes[0]._asdict()}))


def _work(job: Job, contender: str) -> Callable[[], Outcome]:
    """Warmed up: what is to be compiled, or loaded, is there."""
    if job.name == TRAINING:
        from ..demo import training

        loss, data = LOSSES[contender], training.digits()
        _train(data, 1, loss)
        return partial(_train, data, job.size, loss)
    evaluate = EVALUATIONS[contender]
    labels = np.load(Path(job.folder) / "labels.npy")
    logits = np.load(Path(job.folder) / "logits.npy", mmap_mode="r")
    evaluate(labels[:_FEW], logits[:_FEW])
    return partial(_evaluate, evaluate, labels, logits)


_FEW = 64


def _own(info: Any) -> int:
    """Without pages of files: the system takes these back whenever it needs the room."""
    return int(info.rss - getattr(info, "shared", 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
