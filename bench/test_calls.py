"""`make bench TABLE=calls`: small calls, whose time is mostly that of the call itself."""

from functools import partial

import numpy as np
import pytest

import fastloss as fl
from fastloss.study.contender import Job, in_place
from fastloss.study.contenders import LIBRARIES, Careful, Fastloss, Naive, TorchCompiled
from fastloss.study.workloads import (
    CALLS,
    GRADIENT,
    IN_PLACE,
    LOSS,
    NEW_ARRAY,
    Array,
    Data,
    Workload,
)

from .conftest import Compare

# Without those that are made for large arrays, and slower here than what they improve on.
CONTENDERS = [who for who in LIBRARIES if not isinstance(who, (Careful, TorchCompiled))]


@pytest.mark.parametrize("workload", CALLS, ids=lambda workload: workload.name)
def test_calls(workload: Workload, compare: Compare) -> None:
    compare(workload, [LOSS, NEW_ARRAY, GRADIENT], CONTENDERS, unit="us")


class MiniBatches(Fastloss):
    """As training loops have it: labels, logits and gradients are slices of larger arrays."""

    name = "fastloss, slices"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        return super().job(loss, task, Data(*map(_slice_of_a_larger_one, data)))


class Weighted(MiniBatches):
    """With weights, all of them 1, so that the results are those of all others."""

    name = "fastloss, slices and weights"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        ours = getattr(fl, loss)
        y_true, y_pred, out = map(_slice_of_a_larger_one, data)
        weight = _slice_of_a_larger_one(np.ones(y_true.shape, y_pred.dtype))
        if task == LOSS:
            return Job(partial(ours, y_true, y_pred, sample_weight=weight))
        call = partial(ours.value_and_grad, y_true, sample_weight=weight)
        if task == IN_PLACE:
            return in_place(lambda y_pred: call(y_pred, out=y_pred), Data(y_true, y_pred, out))
        return Job(partial(call, y_pred, **({"out": out} if task == GRADIENT else {})))


def _slice_of_a_larger_one(array: Array) -> Array:
    n = len(array)
    larger = np.concatenate([array, array, array])
    return larger[n : 2 * n]


def test_mini_batches(compare: Compare) -> None:
    contenders = [Naive(), Fastloss(), MiniBatches(), Weighted()]
    workload = Workload("cross_entropy", (64, 10))
    compare(workload, [LOSS, NEW_ARRAY, GRADIENT, IN_PLACE], contenders, unit="us")
