"""`make bench TABLE=scorecard`: all numbers of each task, and of logits from a file as well."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastloss.study import EVALUATION, Workload, scorecard
from fastloss.study.measure import MIN_ROUNDS, Clock

from .conftest import Run


@pytest.mark.parametrize("workload", scorecard.WORKLOADS, ids=lambda workload: workload.name)
def test_scorecard(
    workload: Workload,
    clock: Clock,
    run: Run,
    add: Callable[[Any, str], None],
    budget: Callable[[float], float],
) -> None:
    data, truth = run.data(workload, (EVALUATION,))
    times = clock(scorecard.jobs(workload.loss, data, truth), budget(6.0), MIN_ROUNDS)
    if times:
        result = scorecard.result(workload, times, "in memory")
        result["not_available"] = scorecard.missing()
        add(result, scorecard.text(result))


def test_file(
    tmp_path: Path,
    clock: Clock,
    run: Run,
    add: Callable[[Any, str], None],
    budget: Callable[[float], float],
) -> None:
    workload = scorecard.FILE
    data, _ = run.data(workload)
    path = tmp_path / "logits.npy"
    np.save(path, data.y_pred)
    times = clock(scorecard.file_jobs(data.y_true, path), budget(6.0), MIN_ROUNDS)
    if times:
        result = scorecard.result(workload, times, "a memory-mapped file")
        add(result, scorecard.text(result))
