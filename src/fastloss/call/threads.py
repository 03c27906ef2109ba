"""The thread pool that runs kernels, the number of threads, and the choice of backend.

A call is cut into tasks. The calling thread and some parked workers each take the next task until
none is left. Tasks release the GIL (kernels are compiled with `nogil=True`), so they run side by
side; they write to disjoint parts of the output. Two rules shape the pool:

- `run` must not return while a worker may still write to the caller's arrays.
- Ctrl-C may raise between any two steps of the calling thread. So there are no locks, which it
  could leave held, and no step counts only once: who owns what is decided by `dict.setdefault`,
  which is atomic with and without a GIL: the first writer wins, and may ask again.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..compiler.interrupts import undisturbed
from .cpus import available_cpus, cpus_of_others, parse_int, read_text

_INSIDE = "inside"  # a worker sits in its seat: it may be writing to the caller's arrays
_LEFT = "left"  # it is done with this call for good
_CLOSED = "closed"  # the caller finished before the worker woke up: it may not enter any more


class _Call:
    """One call of `run`: the tasks still to do, who takes part, and what went wrong."""

    __slots__ = ("bells", "errors", "indices", "interrupt", "left", "seats", "task")

    def __init__(self, task: Callable[[int], object], n_tasks: int) -> None:
        self.task = task
        # A deque, since popleft is documented as thread-safe. A counter under a lock could be left
        # locked by an interrupt; itertools.count is atomic only under the GIL.
        self.indices = deque(range(n_tasks))
        self.errors: list[BaseException] = []
        self.interrupt: BaseException | None = None  # while the caller waited
        self.bells: list[SimpleQueue[bool]] = []  # the invited workers, known by their bells
        self.seats: dict[SimpleQueue[bool], str] = {}  # what became of each one's seat
        self.left: SimpleQueue[None] = SimpleQueue()  # one item from every worker that has left

    def work(self) -> None:
        """Take the next task until none is left or one has failed."""
        while not self.errors:
            try:
                index = self.indices.popleft()
            except IndexError:
                return
            self.task(index)

    def anyone_inside(self) -> bool:
        """Close the empty seats; is there a worker in one of the others?"""
        return _INSIDE in [self.seats.setdefault(bell, _CLOSED) for bell in self.bells]


class _Pool:
    """Worker threads that wait, at no CPU cost, for their bells to ring; one call at a time.

    A bell is a worker's own queue: True means look into the slot, False means end. The caller never
    waits for a worker that has not woken up yet (its CPU may be taken by another process): it does
    the tasks itself and closes that worker's seat.

    Measured with 2 threads on 2 virtual cores (AMD EPYC, Python 3.11), microseconds a call, with
    the error handling left out (it adds 0.6):

        bell and end signal    empty call   empty call that must    two 50 us kernels:
                                            wait for the worker     time beyond 50 us
        queue.SimpleQueue         1.1              13.5                    44
        threading.Lock            1.3              13.5                    46
        threading.Condition       1.7              17                      48
        threading.Event           2.9              19                      51

    The last column is mostly two wake-ups of an idle virtual core, 20 us each. Polling for the end
    with os.sched_yield saves 5 us and keeps a core busy; with time.sleep(0) it costs 35 more.
    """

    def __init__(self) -> None:
        self.slot: dict[str, _Call] = {}  # the call in progress
        self.bells: list[SimpleQueue[bool]] = []
        self.native_ids: dict[SimpleQueue[bool], int] = {}  # of the worker with this bell
        self.cpus: dict[SimpleQueue[bool], frozenset[int]] = {}  # where it was told to run
        self.forked = False  # True in a forked child, where this pool's threads do not exist

    def run(self, task: Callable[[int], object], n_tasks: int, n_threads: int) -> bool:
        """Run the tasks; False if the pool is busy, as it also is for a call from inside a task."""
        if self.slot:
            return False
        call = _Call(task, n_tasks)
        try:
            if self.slot.setdefault("call", call) is not call:
                return False
            # No loop may stand inside a `try` here: the jump back to its head is where Python looks
            # for interrupts, and that jump can lie outside what `try` guards (seen in 3.13).
            self._invite(call, max(0, min(n_threads, n_tasks) - 1), n_threads - 1)
            call.work()
        except BaseException as error:
            call.errors.append(error)
        finally:
            # Once, and again in case an interrupt falls just on the way into or out of a wait.
            try:
                self._finish(call)
            finally:
                try:
                    self._finish(call)
                finally:
                    self._finish(call)
        if self.forked:
            call.errors.append(
                RuntimeError(
                    "the process was forked by a task of this call, and in the child the threads "
                    "that had taken other tasks do not exist, so its result would be incomplete: "
                    "fork before or after the call"
                )
            )
        if call.interrupt is not None:
            call.errors.append(call.interrupt)
        if not call.errors:
            return True
        # The first error, but an interrupt goes before the others, lest it be lost.
        first = min(call.errors, key=lambda error: isinstance(error, Exception))
        call.errors.clear()
        call.interrupt = None
        try:
            raise first
        finally:
            del call, first  # the traceback holds this frame: a cycle would keep the arrays alive

    def _invite(self, call: _Call, n_helpers: int, at_most: int) -> None:
        """Ring for so many workers."""
        self._resize(n_helpers, at_most)
        call.bells = self.bells[:n_helpers]
        cpus = cpus_of_others()
        for bell in call.bells:
            if cpus and self.cpus.get(bell) != cpus:
                self._move(bell, cpus)
            if bell.empty():  # else the worker has not yet woken up for an earlier call
                bell.put(True)

    def _move(self, bell: SimpleQueue[bool], cpus: frozenset[int]) -> None:
        """Let a worker run on these CPUs only."""
        self.cpus[bell] = cpus
        native_id = self.native_ids.get(bell)
        if native_id is not None:
            with suppress(OSError):  # the worker has ended, or may not
                os.sched_setaffinity(native_id, cpus)

    def _wait(self, call: _Call) -> None:
        """Until no worker is inside the call."""
        while not self.forked and call.anyone_inside():
            # A worker marks its seat before it puts its item: if an interrupt makes us lose an
            # item, the next look at the seats makes up for it.
            call.left.get()

    def _finish(self, call: _Call) -> None:
        """Wait until no worker is inside the call, then free the slot. May be repeated."""
        while True:
            try:
                if self.slot.get("call") is call:
                    self._wait(call)
                    self.slot.pop("call", None)
                return
            except BaseException as error:  # interrupted again: remember it, and wait on
                call.interrupt = error  # no call, after which Python would look for the next one

    def _resize(self, at_least: int, at_most: int) -> None:
        """End and start workers. Only for the owner of the slot."""
        while len(self.bells) > at_most:
            bell = self.bells[-1]
            del self.bells[-1]  # no call, after which an interrupt could keep it from being told
            bell.put(False)
            self.cpus.pop(bell, None)
            self.native_ids.pop(bell, None)
        while len(self.bells) < at_least and not sys.is_finalizing():
            bell = SimpleQueue()
            name = f"fastloss-{len(self.bells) + 1}"
            worker = threading.Thread(target=self._serve, args=(bell,), name=name, daemon=True)
            of_the_caller = sys.exc_info()[1]  # an exception that it is just handling
            try:
                worker.start()
            except BaseException as error:
                bell.put(False)  # should the thread have started all the same, it ends
                # An interrupt may make `start` lose a lock, and then hides behind a RuntimeError.
                interrupt = error.__context__ if isinstance(error, RuntimeError) else error
                if interrupt is None or interrupt is of_the_caller:
                    return  # no more threads to be had: do with those there are
                raise interrupt from None
            self.bells.append(bell)  # at once, lest an interrupt leave a worker that nobody knows
            if worker.native_id is not None:
                self.native_ids[bell] = worker.native_id

    def _serve(self, bell: SimpleQueue[bool]) -> None:
        while not self.forked and bell.get():
            self._join(bell)  # a method, so that a parked worker keeps no reference to a call

    def _join(self, bell: SimpleQueue[bool]) -> None:
        call = self.slot.get("call")
        if call is None or bell not in call.bells:
            return
        if call.seats.setdefault(bell, _INSIDE) is not _INSIDE:
            return
        try:
            call.work()
        except BaseException as error:
            call.errors.append(error)
        call.seats[bell] = _LEFT
        call.left.put(None)


def _forked_with_openmp() -> bool:
    """Whether this process began as a fork and has OpenMP already, which the parent may have used.

    Asked at the import, since nobody told us of a fork before it. Only Linux knows; elsewhere the
    answer is False.
    """
    numbers = read_text("/proc/self/stat").rpartition(")")[2].split()
    flags = parse_int(numbers[6]) if len(numbers) > 6 else 0
    if not flags & 0x40:  # PF_FORKNOEXEC: forked, and no program started since
        return False
    loaded = read_text("/proc/self/maps")
    return any(library in loaded for library in ("libgomp", "libiomp", "libomp"))


_pool = _Pool()
_num_threads: int | None = None  # as set by the user
_default_num_threads: int | None = None  # found at first use
_backend: str | None = None  # found at first use
_in_forked_child = _forked_with_openmp()


def _after_fork_in_child() -> None:
    global _pool, _default_num_threads, _in_forked_child
    _pool.forked = True  # for a call in progress on this thread
    _pool = _Pool()
    _default_num_threads = None
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def run(task: Callable[[int], object], n_tasks: int, parallel: bool = True) -> None:
    """Call `task(i)` once for every i in `range(n_tasks)`, on up to `get_num_threads()` threads.

    `task` should release the GIL and must not write where another task reads or writes; its result
    is dropped. A task costs about 0.1 us and 40 bytes beyond its own work, so let it be a block and
    not an element. All tasks run on the calling thread, in order, if `parallel` is False, and where
    threads cannot help: one task, one thread, a call from inside a task, a pool that is serving
    another thread, no threads to be had, an interpreter that is shutting down.

    Raises the first exception of a task, or KeyboardInterrupt: no further task is begun, and every
    thread has left its task by then.

    >>> squares = [0] * 4
    >>> run(lambda i: squares.__setitem__(i, i * i), 4)
    >>> squares
    [0, 1, 4, 9]
    """
    if parallel and n_tasks > 1:
        n_threads = get_num_threads()
        if n_threads > 1 and _pool.run(task, n_tasks, n_threads):
            return
    for index in range(n_tasks):
        task(index)


def get_num_threads() -> int:
    """Return how many threads a call may use, the calling one included.

    By default the environment variable FASTLOSS_NUM_THREADS, or else `available_cpus()`. Raises
    ValueError if that variable is not an integer of at least 1.

    >>> get_num_threads() >= 1
    True
    """
    global _default_num_threads
    if _num_threads is not None:
        return _num_threads
    if _default_num_threads is None:
        text = os.environ.get("FASTLOSS_NUM_THREADS", "").strip()
        n = parse_int(text) if text else available_cpus()
        if n < 1:
            raise ValueError(
                "the environment variable FASTLOSS_NUM_THREADS must be an integer of at least 1, "
                f"got {text!r}: correct or unset it, or call set_num_threads(n)"
            )
        _default_num_threads = n
    return _default_num_threads


def set_num_threads(n: int | None) -> None:
    """Set how many threads a call may use, the calling one included.

    `n` is at least 1 and may exceed the number of CPUs; None goes back to the default. Results are
    the same bits for every `n`. Raises TypeError if `n` is no integer, ValueError if it is below 1.

    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(None)
    """
    global _num_threads
    if n is not None:
        if isinstance(n, (bool, np.bool_)) or not hasattr(n, "__index__"):
            raise TypeError(
                f"n must be an int or None, got {n!r} ({type(n).__name__}): pass the number of "
                "threads, or None for the default"
            )
        n = n.__index__()
        if n < 1:
            raise ValueError(
                f"n must be at least 1, got {n}: pass 1 for the calling thread alone, or None for "
                "the default"
            )
    _num_threads = n
    _pool.run(print, 0, get_num_threads())  # no tasks: ends the workers that are now too many


def check_environment() -> None:
    """Raise ValueError if an environment variable is wrong, whatever the next call is going to use.

    The import lets it pass: a program may still correct it, or set the number or the backend.
    """
    get_num_threads()
    if _backend is None:
        _check_backend(*_backend_by_default())


def _backend_by_default() -> tuple[str, str]:
    """Its name, and who says so."""
    name = os.environ.get("FASTLOSS_BACKEND", "").strip() or "pool"
    return name, "the environment variable FASTLOSS_BACKEND"


def get_backend() -> str:
    """Return what runs a parallel kernel, "pool" or "prange"; in a forked child always "pool".

    By default the environment variable FASTLOSS_BACKEND, or else "pool". Raises what `set_backend`
    does if that variable is wrong.

    >>> get_backend()
    'pool'
    """
    if _in_forked_child:
        return "pool"
    if _backend is None:
        return _choose_backend(*_backend_by_default())
    return _backend


def set_backend(name: str) -> None:
    """Choose what runs a parallel kernel; the results are the same bits.

    "pool" is this package's own threads, right for every program. "prange" is Numba's parallel
    loops: they start faster, but compile slower and cannot be used after a fork. Raises ValueError
    for another name, and RuntimeError for "prange" in a forked child or where Numba's threading
    layer is "workqueue" or cannot be loaded; the backend then stays what it was.

    >>> set_backend("pool")
    """
    _choose_backend(name, "name")


def _check_backend(name: str, source: str) -> None:
    if name not in ("pool", "prange"):
        raise ValueError(f'{source} must be "pool" or "prange", got {name!r}')


def _choose_backend(name: str, source: str) -> str:
    global _backend
    _check_backend(name, source)
    if name == "prange":
        if _in_forked_child:
            raise RuntimeError(
                f'{source} is "prange", which a forked child cannot use: OpenMP\'s threads do not '
                'survive a fork, and the child would hang or be killed; stay on "pool", or start '
                'processes with the "spawn" or "forkserver" method'
            )
        _check_threading_layer(source)
    _backend = name
    return name


@undisturbed
def _check_threading_layer(source: str) -> None:
    problem = ""
    try:
        numba_api: Any = import_module("..compiler.numba_api", __package__)
        if numba_api.threading_layer() == "workqueue":
            problem = (
                'Numba\'s threading layer here is "workqueue", which aborts the process when two '
                "threads call a parallel kernel at the same time"
            )
    except Exception as error:
        problem = f"Numba could not load a threading layer ({error})"
    if problem:
        raise RuntimeError(
            f'{source} is "prange", but {problem}: install tbb or GNU OpenMP (libgomp) and leave '
            'NUMBA_THREADING_LAYER unset, or stay on set_backend("pool")'
        )
