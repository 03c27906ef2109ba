"""The threads that run kernels beside the thread that calls.

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
from queue import SimpleQueue

from .cpus import cpus_of_others

_INSIDE = "inside"  # a worker sits in its seat: it may be writing to the caller's arrays
_LEFT = "left"  # it is done with this call for good
_CLOSED = "closed"  # the caller finished before the worker woke up: it may not enter any more


class PoolCall:
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


class Pool:
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
    Callers that polled for the end for 60 us, and workers for the next bell for 100 us, without the
    GIL, gained nothing where calls of 200 to 900 us followed each other (1.00 to 1.07 of the time).
    """

    def __init__(self) -> None:
        self.slot: dict[str, PoolCall] = {}  # the call in progress
        self.bells: list[SimpleQueue[bool]] = []
        self.native_ids: dict[SimpleQueue[bool], int] = {}  # of the worker with this bell
        self.cpus: dict[SimpleQueue[bool], frozenset[int]] = {}  # where it was told to run
        self.forked = False  # True in a forked child, where this pool's threads do not exist

    def run(self, task: Callable[[int], object], n_tasks: int, n_threads: int) -> bool:
        """Run the tasks; False if the pool is busy, as it also is for a call from inside a task."""
        if self.slot:
            return False
        call = PoolCall(task, n_tasks)
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

    def _invite(self, call: PoolCall, n_helpers: int, at_most: int) -> None:
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

    def _wait(self, call: PoolCall) -> None:
        """Until no worker is inside the call."""
        while not self.forked and call.anyone_inside():
            # A worker marks its seat before it puts its item: if an interrupt makes us lose an
            # item, the next look at the seats makes up for it.
            call.left.get()

    def _finish(self, call: PoolCall) -> None:
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
