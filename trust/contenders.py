"""Who takes part in the survival matrix: each computes a cross-entropy and its gradient.

To come back is not enough: every call is compared with the formula in float64, number by number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

# So many rows that every contender asks for all its threads: fastloss does from 2^20 elements on.
ROWS, CLASSES = 120_000, 10
# Of the loss, and of the gradient of the sum. The arithmetic is float32, whose step is 1.2e-7.
TOLERANCE = 1e-5

Labels = np.ndarray[Any, Any]
Logits = np.ndarray[Any, Any]
Answer = tuple[float, np.ndarray[Any, Any]]  # the mean, and its gradient
Call = Callable[[], Answer]


class Verdict(Exception):
    """Ends a scenario; its text is what the table says."""


class Contender(NamedTuple):
    title: str
    make: Callable[[Labels, Logits], Call]
    threads: Callable[[], int]  # how many threads it would use now
    long: Callable[[], Call]  # makes a call that takes a second or more
    environment: dict[str, str]


@cache
def data() -> tuple[Labels, Logits]:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(ROWS, CLASSES)).astype(np.float32)
    return rng.integers(CLASSES, size=ROWS), logits


@cache
def truth() -> Answer:
    """The formula in float64. Exponentials of such logits neither overflow nor vanish."""
    labels, logits = data()
    exponentials = np.exp(logits.astype(np.float64))
    proba = exponentials / exponentials.sum(axis=1, keepdims=True)
    at_labels = np.arange(ROWS), labels
    loss = -np.log(proba[at_labels]).mean()
    proba[at_labels] -= 1
    return float(loss), proba / ROWS


def compare(loss: float, grad: np.ndarray[Any, Any]) -> None:
    right_loss, right_grad = truth()
    if not abs(loss - right_loss) <= TOLERANCE:  # so that NaN is wrong, too
        raise Verdict(f"wrong numbers: the loss is {loss} and not {right_loss}")
    off = float(np.abs(grad - right_grad).max()) * ROWS
    if not off <= TOLERANCE:
        raise Verdict(f"wrong numbers: the gradient is off by {off:.2g}")


@dataclass(frozen=True)
class Check:
    """Calls a contender and looks at its numbers. Processes can send it to one another."""

    who: str

    def __call__(self) -> None:
        compare(*_prepared(self.who)())

    def anew(self) -> None:
        """The same with a loss that is made for this call and dropped after it."""
        compare(*CONTENDERS[self.who].make(*data())())

    def long(self) -> Call:
        return CONTENDERS[self.who].long()

    def threads(self) -> int:
        return CONTENDERS[self.who].threads()


@cache
def _prepared(who: str) -> Call:
    """Made at the first call, which may be in a thread, in a child, or never."""
    return CONTENDERS[who].make(*data())


# -------------------------------------------------------------------------------------------------


def _fastloss(labels: Labels, logits: Logits) -> Call:
    import fastloss as fl

    loss = fl.CrossEntropy()
    return lambda: loss.value_and_grad(labels, logits)


def _threads_of_fastloss() -> int:
    import fastloss as fl

    return fl.get_num_threads()


def _long_of_fastloss() -> Call:
    """Of rows that all lie in the same place, since a second is a gigabyte of others."""
    import fastloss as fl

    n = 250 * ROWS
    labels, logits = data()
    rows = np.broadcast_to(labels[0], n), np.broadcast_to(logits[0], (n, CLASSES))
    return lambda: (fl.cross_entropy(*rows), np.empty(0))


def _pytorch(labels: Labels, logits: Logits) -> Call:
    import torch

    target = torch.from_numpy(labels)
    leaf = torch.from_numpy(logits)

    def call() -> Answer:
        x = leaf.detach().requires_grad_()  # of its own for each thread
        loss = torch.nn.functional.cross_entropy(x, target)
        loss.backward()
        return loss.item(), x.grad.numpy()

    return call


def _threads_of_pytorch() -> int:
    import torch

    return torch.get_num_threads()


def _scikit_learn(labels: Labels, logits: Logits) -> Call:
    from sklearn._loss import HalfMultinomialLoss

    loss = HalfMultinomialLoss(n_classes=CLASSES)
    y_true = labels.astype(np.float32)

    def call() -> Answer:
        losses, grad = loss.loss_gradient(y_true, logits, n_threads=_threads_of_scikit_learn())
        return float(losses.mean(dtype=np.float64)), grad / len(y_true)

    return call


def _threads_of_scikit_learn() -> int:
    """As its own models choose it."""
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    threads: int = _openmp_effective_n_threads()
    return threads


@cache
def _textbook_kernel() -> Any:
    """What one writes who has read Numba's manual."""
    from numba import njit, prange

    @njit(parallel=True)
    def kernel(labels, logits, grad):  # type: ignore[no-untyped-def]
        n, c = logits.shape
        total = 0.0
        for i in prange(n):
            largest = logits[i].max()
            exponentials = np.exp(logits[i] - largest)
            normalizer = exponentials.sum()
            for j in range(c):
                grad[i, j] = exponentials[j] / normalizer / n
            grad[i, labels[i]] -= 1.0 / n
            total += np.log(normalizer) + largest - logits[i, labels[i]]
        return total / n

    return kernel


def _numba(labels: Labels, logits: Logits) -> Call:
    kernel = _textbook_kernel()

    def call() -> Answer:
        grad = np.empty_like(logits)
        return kernel(labels, logits, grad), grad

    return call


def _threads_of_numba() -> int:
    import numba

    threads: int = numba.get_num_threads()
    return threads


def _long(make: Callable[[Labels, Logits], Call], times: int) -> Callable[[], Call]:
    def long() -> Call:
        labels, logits = data()
        return make(np.tile(labels, times), np.tile(logits, (times, 1)))

    return long


# Two threads also where there is one CPU, else nothing would happen at once. Parallel loops
# that belong to a scenario run on OpenMP, if it is there.
_TWO = {
    "FASTLOSS_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
    "NUMBA_NUM_THREADS": "2",
    "NUMBA_THREADING_LAYER_PRIORITY": "omp tbb workqueue",
}

CONTENDERS = {
    "fastloss": Contender("fastloss", _fastloss, _threads_of_fastloss, _long_of_fastloss, _TWO),
    "prange": Contender(
        "fastloss on `prange`",
        _fastloss,
        _threads_of_fastloss,
        _long(_fastloss, 100),
        _TWO | {"FASTLOSS_BACKEND": "prange", "NUMBA_THREADING_LAYER": "omp"},
    ),
    "pytorch": Contender("PyTorch", _pytorch, _threads_of_pytorch, _long(_pytorch, 60), _TWO),
    "scikit-learn": Contender(
        "scikit-learn", _scikit_learn, _threads_of_scikit_learn, _long(_scikit_learn, 60), _TWO
    ),
    "numba": Contender(
        "plain Numba",
        _numba,
        _threads_of_numba,
        _long(_numba, 60),
        _TWO | {"NUMBA_THREADING_LAYER": "workqueue"},
    ),
}
EVERYONE = tuple(CONTENDERS)
