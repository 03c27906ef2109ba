"""Who takes part: NumPy, other libraries, fastloss, and the contenders of users."""

import inspect
from collections.abc import Iterable, Sequence
from functools import cache, partial
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import fastloss as fl

from . import scores, task_numbers
from .contender import (
    ALL_DTYPES,
    FASTLOSS,
    SMALL,
    Contender,
    Job,
    in_place,
    threads,
)
from .libraries import (
    Jax,
    NumExpr,
    Optax,
    ScikitLearn,
    ScikitLearnMetrics,
    SciPy,
    Torch,
    TorchCompiled,
    TorchMetrics,
)
from .numpy_losses import Careful, Naive
from .workloads import BINARY, EVALUATION, GRADIENT, IN_PLACE, LOSS, NEW_ARRAY, TASKS, Data


class Fastloss(Contender):
    """The way that is compared with others: gradients go where the caller says."""

    name = FASTLOSS
    package = "fastloss"
    cache_variable = "FASTLOSS_CACHE_DIR"
    dtypes = ALL_DTYPES
    takes_out = True
    evaluates = True

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task == EVALUATION:
            return Job(partial(scores.WAYS[loss].fastloss, data.y_true, data.y_pred))
        ours = getattr(fl, loss)
        if task == LOSS:
            return Job(partial(ours, data.y_true, data.y_pred))
        value_and_grad = partial(ours.value_and_grad, data.y_true)
        if task == IN_PLACE:
            return in_place(lambda y_pred: value_and_grad(y_pred, out=y_pred), data)
        # Without the name if there is no array: that is how it is called.
        place = {"out": data.out} if task == GRADIENT else {}
        return Job(partial(value_and_grad, data.y_pred, **place))


class Binned(Fastloss):
    """The areas under the curves of two classes from bins of scores, within fixed memory."""

    name = f"{FASTLOSS}, 2^20 bins"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if (loss, task) != (BINARY, EVALUATION):
            return None
        return Job(partial(task_numbers.BINNED, data.y_true, data.y_pred))


class OneThread(Fastloss):
    name = "fastloss, 1 thread"

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task not in TASKS or data.y_pred.size <= SMALL or fl.get_num_threads() == 1:
            return None
        job = super().job(loss, task, data)
        return job and job._replace(setting=partial(threads, 1))


class Prange(Fastloss):
    """On the parallel loops of Numba instead of the pool."""

    name = "fastloss, prange"

    def available(self) -> bool:
        return "prange" in backends()

    def job(self, loss: str, task: str, data: Data) -> Job | None:
        if task not in TASKS or data.y_pred.size <= SMALL or fl.get_num_threads() == 1:
            return None
        job = super().job(loss, task, data)
        return job and job._replace(setting=partial(threads, fl.get_num_threads(), "prange"))


@cache
def backends() -> list[str]:
    """Those that work here: "prange" needs a threading layer of Numba that is thread-safe."""
    before, working = fl.get_backend(), []
    for name in ("pool", "prange"):
        try:
            fl.set_backend(name)
        except RuntimeError:
            continue
        working.append(name)
    fl.set_backend(before)
    return working


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
    SciPy(),
    NumExpr(),
    ScikitLearn(),
    ScikitLearnMetrics(),
    Torch(),
    TorchCompiled(),
    Jax(),
    Optax(),
    Fastloss(),
]
# Of all losses, those that others have by the same definition.
FAMILY: list[Contender] = [Fastloss(), SciPy(), NumExpr(), ScikitLearn(), Torch(), Optax()]
# Those who have all numbers of a scorecard.
EVALUATORS: list[Contender] = [Fastloss(), Binned(), ScikitLearnMetrics(), TorchMetrics()]
CONTENDERS = [*LIBRARIES, NewArray(), InPlace(), Binned(), OneThread(), Prange(), TorchMetrics()]

# The group of entry points by which an installed package brings contenders.
GROUP = "fastloss.contenders"


def users(files: Sequence[str] = ()) -> list[Contender]:
    """The contenders of installed packages and of these files, each an object of its class.

    A ValueError says which of them is none, or has a name that is taken.
    """
    found: list[Contender] = []
    for point in entry_points(group=GROUP):
        found.append(_built(point.load(), f"entry point {point.name} = {point.value}"))
    for file in files:
        module = _module(file)
        mine = [
            _built(value, file)
            for value in vars(module).values()
            # Those that it imports belong to others.
            if isinstance(value, type) and value.__module__ == module.__name__
            if issubclass(value, Contender)
        ]
        if not mine:
            raise ValueError(f"{file} has no class that derives from fastloss.study.Contender")
        found += mine
    names = [who.name.casefold() for who in [*CONTENDERS, *found]]
    for who in found:
        if names.count(who.name.casefold()) > 1:
            raise ValueError(f"there is another contender called {who.name!r}")
    return found


def _module(file: str) -> ModuleType:
    spec = spec_from_file_location("contenders_of_user", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no Python file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _built(kind: Any, where: str) -> Contender:
    if not (isinstance(kind, type) and issubclass(kind, Contender)):
        raise ValueError(f"{where}: {kind!r} is no class that derives from Contender")
    if inspect.isabstract(kind) or not hasattr(kind, "name"):
        raise ValueError(f"{where}: {kind.__name__} needs a name and a method job")
    return kind()


def called(name: str, among: Iterable[Contender]) -> Contender:
    return next(who for who in among if who.name == name)
