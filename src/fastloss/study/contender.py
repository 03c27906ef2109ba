"""What takes part in a comparison: a contender, and the job it makes of a loss, a task and data.

A contender is a class with a name and a method that turns a loss, a task and data into a call
without arguments; whatever can be prepared is prepared there, outside the timing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from ..call.threads import run
from ..kernels.storage import DECODED
from .workloads import EVALUATION, LOSS, NEW_ARRAY, Array, Data

FASTLOSS = "fastloss"
NAIVE = "naive NumPy"

ALL_DTYPES = ("float32", "float64", *DECODED)

# Up to so many elements one thread is faster than several, and a call cannot be timed alone.
SMALL = 1 << 16


class Job(NamedTuple):
    """What is timed: a call that returns the loss, the loss and its gradient, or scores."""

    call: Callable[[], Any]
    # What holds while it is timed; entered and left outside the timing, before every round.
    setting: Callable[[], AbstractContextManager[Any]] = nullcontext
    # Whether several calls in a row compute the same.
    repeatable: bool = True
    # What makes NumPy arrays of the result, for the check; outside the timing.
    to_numpy: Callable[[Any], Any] = lambda result: result


class Contender(ABC):
    """Who takes part: a class with a name, and with `job`, which makes a call to be timed."""

    name: str
    # What must be installed for it, as imported.
    package = "numpy"
    # Of the predictions. 16 bits are left out where software would compute them.
    dtypes: tuple[str, ...] = ("float32", "float64")
    # Whether it returns the gradient of the sum, where all others return that of the mean.
    gradient_of_sum = False
    # Whether it compiles anew for every shape, in its first call: when memory is measured, that
    # call is made before.
    compiles_shapes = False
    # The environment variable of the folder where it keeps what it compiled, if it does.
    cache_variable: str | None = None
    # Whether it writes the gradient where the caller says, over the predictions too.
    takes_out = False
    # Whether it is also asked for EVALUATION: a call that returns numbers by name.
    evaluates = False

    def available(self) -> bool:
        return find_spec(self.package) is not None

    def does(self, task: str) -> str:
        """The task it does when asked for this one: without `out`, each gradient is a new array."""
        return task if task in (LOSS, EVALUATION) or self.takes_out else NEW_ARRAY

    @abstractmethod
    def job(self, loss: str, task: str, data: Data) -> Job | None:
        """None if it does not do this."""


def in_place(call: Callable[[Array], Any], data: Data) -> Job:
    """A job over `data.out`, into which the predictions are copied before every turn."""
    # Several calls only where one is too short for the clock: all but the first then read a
    # gradient as predictions, which takes the same time.
    repeatable = data.out.size <= SMALL
    return Job(partial(call, data.out), partial(_copied, data.out, data.y_pred), repeatable)


@contextmanager
def _copied(target: Array, source: Array) -> Iterator[None]:
    np.copyto(target, source)
    yield


@contextmanager
def threads_of(library: Any, n: int) -> Iterator[None]:
    """So many threads for Numba or PyTorch, which have the same pair of functions."""
    before = library.get_num_threads()
    library.set_num_threads(n)
    try:
        yield
    finally:
        library.set_num_threads(before)


@contextmanager
def threads(n: int, backend: str | None = None) -> Iterator[None]:
    """So many threads for fastloss, and this backend, both awake."""
    before = fl.get_num_threads(), fl.get_backend()
    try:
        _choose_threads(n, backend or before[1])
        yield
    finally:
        _choose_threads(*before)


def _choose_threads(n: int, backend: str) -> None:
    fl.set_num_threads(n)
    fl.set_backend(backend)
    # The pool ends its workers, and starts them at the next parallel call: not in a timed one.
    run(str, n)
    fl.mse(_WAKE, _WAKE)


_WAKE = np.zeros(1 << 20, np.float32)
