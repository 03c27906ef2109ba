"""All numbers of each task beside the loss alone: from memory, and of logits from a file."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastloss as fl

from ..evaluation.files import one_pass, opened
from . import report, scores
from .contender import FASTLOSS, Job
from .contenders import EVALUATORS
from .report import ROOF, Result, aligned, noise, shape_text
from .roof import roof
from .workloads import (
    BINARY,
    COMPARISON,
    EVALUATION,
    LOGITS,
    LOSS,
    MULTILABEL,
    RANKING,
    REGRESSION,
    Array,
    Data,
    Workload,
)

ALONE = f"{FASTLOSS}: the loss alone"
MAPPED_ANEW = f"{FASTLOSS}: mapping the file anew"
IN_CHUNKS = f"{FASTLOSS}: reading the file in chunks"
READ = "reading the file, one thread"

WORKLOADS = (
    Workload("cross_entropy", (1_000_000, 10)),
    Workload("cross_entropy", (65_536, 100)),
    Workload("cross_entropy", (65_536, 1_000)),
    Workload("cross_entropy", (8_192, 32_768)),
    Workload(BINARY, (10_000_000,)),
    Workload(MULTILABEL, (20_000, 20)),
    Workload(REGRESSION, (10_000_000,)),
    Workload(RANKING, (2_000, 100)),
    Workload(COMPARISON, (1_000_000, 10)),
    Workload(COMPARISON, (65_536, 1_000)),
)
# Of each task, if it has one.
_LOSSES = {
    LOGITS: fl.cross_entropy,
    BINARY: fl.binary_cross_entropy_with_logits,
    MULTILABEL: fl.binary_cross_entropy_with_logits,
    REGRESSION: fl.mse,
}
# Larger than what the caches of a processor hold, and smaller than what the system keeps of files.
FILE = Workload("cross_entropy", (4_096, 32_768))

# What is read at a time; smaller ones take longer, larger ones leave the cache.
_BUFFER = 1 << 20


def missing() -> list[str]:
    return [who.name for who in EVALUATORS if not who.available()]


def jobs(task: str, data: Data, truth: Any) -> dict[str, Job]:
    """By name, all that are there; each has been called once, and found the right numbers."""
    found: dict[str, Job] = {ROOF: roof(LOSS, data, fl.get_num_threads())}
    if task in _LOSSES:
        found[ALONE] = Job(partial(_LOSSES[task], data.y_true, data.y_pred))
    for who in EVALUATORS:
        job = who.job(task, EVALUATION, data) if who.available() else None
        if job is not None:
            found[who.name] = job
    for name, job in found.items():
        with job.setting():
            result = job.call()
        if name not in (ROOF, ALONE):
            scores.check(name, result, truth)
    return found


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
        FASTLOSS: Job(partial(fl.evaluate, labels, logits)),
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
    cells: list[tuple[str, Any]] = [(ROOF, result["roof"])]
    cells += [(cell["contender"], cell) for cell in result["cells"]]
    by_name = dict(cells)
    head = ("", "median ms", "interval", "min ms", "x the loss alone", "x the scorecard", "")
    rows: list[Sequence[str]] = [head]
    for name, cell in cells:
        ratios = [
            f"{report.ratio(cell, by_name[one]).value:.2f}" if one in by_name else ""
            for one in (ALONE, FASTLOSS)
        ]
        rows.append((name, *report.times(cell), *ratios, ", ".join(noise(cell))))
    parts = result["loss"], shape_text(result), result["dtype"], result["where"]
    return aligned(", ".join(parts), rows)
