"""Who takes part: NumPy, other libraries, fastloss, and the contenders of users."""

from functools import partial

import fastloss as fl

from .contender import (
    ALL_DTYPES,
    FASTLOSS,
    SMALL,
    Contender,
    Job,
    in_place,
    threads,
)
from .libraries import Jax, ScikitLearn, Torch, TorchCompiled
from .numpy_losses import Careful, Naive
from .workloads import GRADIENT, IN_PLACE, LOSS, NEW_ARRAY, TASKS, Data


class Fastloss(Contender):
    """The way that is compared with others: gradients go where the caller says."""

    name = FASTLOSS
    package = "fastloss"
    dtypes = ALL_DTYPES
    takes_out = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        ours = getattr(fl, loss)
        if task == LOSS:
            return Job(partial(ours, data.y_true, data.y_pred))
        value_and_grad = partial(ours.value_and_grad, data.y_true)
        if task == IN_PLACE:
            return in_place(lambda y_pred: value_and_grad(y_pred, out=y_pred), data)
        # Without the name if there is no array: that is how it is called.
        place = {"out": data.out} if task == GRADIENT else {}
        return Job(partial(value_and_grad, data.y_pred, **place))


class OneThread(Fastloss):
    name = "fastloss, 1 thread"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task not in TASKS or data.y_pred.size <= SMALL or fl.get_num_threads() == 1:
            return None
        job = super().job(loss, task, data)
        return job and job._replace(setting=partial(threads, 1))


class NewArray(Fastloss):
    name = "fastloss, new array"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        return super().job(loss, NEW_ARRAY, data) if task == GRADIENT else None


class InPlace(Fastloss):
    name = "fastloss, in place"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task != GRADIENT or data.y_pred.size <= SMALL:
            return None
        return super().job(loss, IN_PLACE, data)


# One way each, for tables that have a row for each task.
LIBRARIES: list[Contender] = [
    Naive(),
    Careful(),
    ScikitLearn(),
    Torch(),
    TorchCompiled(),
    Jax(),
    Fastloss(),
]
# Of all losses, those that PyTorch has by the same definition.
FAMILY: list[Contender] = [Fastloss(), Torch()]
CONTENDERS = [*LIBRARIES, NewArray(), InPlace(), OneThread()]
