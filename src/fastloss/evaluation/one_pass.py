"""One pass over rows in files, which can be interrupted, and resumed from a state on disk."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Generic, Protocol, TypeVar

from .._arrays import Array
from .checkpoint import Checkpoint
from .progress import progress
from .row_output import RowOutput

# Chunks still lie in the last cache of the CPU when they are computed; smaller ones cost calls.
CHUNK_BYTES = 16 * 2**20
SAVE_SECONDS = 5.0
_SAVE_SHARE = 0.05  # of the time, at most: a state with millions of groups is large


class Sums(Protocol):
    """What adds up over the rows, such as a Scorecard."""

    def state(self) -> dict[str, Array]: ...


S = TypeVar("S", bound=Sums)


@dataclass(frozen=True)
class Work(Generic[S]):
    """What is done with so many rows."""

    title: str
    n_rows: int
    row_bytes: int
    begin: Callable[[Mapping[str, Array] | None], S]  # new sums, or those of a state
    update: Callable[[S, int, int], None]  # with the rows from the first number to the second
    checkpoint: Checkpoint | None = None
    row_output: RowOutput | None = None


@dataclass(frozen=True)
class Outcome(Generic[S]):
    sums: S
    n_done: int
    signal: int | None  # which one ended it before the last row


def chunk_rows(row_bytes: int) -> int:
    return max(1, CHUNK_BYTES // row_bytes)


def run(work: Work[S]) -> Outcome[S]:
    """From the start, or from the state of the checkpoint, to the last row or to a signal."""
    found = work.checkpoint.load() if work.checkpoint is not None else None
    n_done, state = found or (0, None)
    sums = work.begin(state)
    if work.row_output is not None:
        work.row_output.check(n_done)

    def save() -> None:
        if work.checkpoint is not None:
            if work.row_output is not None:
                work.row_output.sync()
            work.checkpoint.save(n_done, sums.state())

    size = chunk_rows(work.row_bytes)
    due = time.monotonic() + SAVE_SECONDS
    with (
        _signals() as received,
        progress(work.title, work.n_rows, work.row_bytes, n_done) as show,
    ):
        while n_done < work.n_rows and not received:
            stop = min(n_done + size, work.n_rows)
            work.update(sums, n_done, stop)
            n_done = stop
            show(n_done)
            began = time.monotonic()
            if began >= due:
                save()
                due = time.monotonic()
                due += max(SAVE_SECONDS, (due - began) / _SAVE_SHARE)
        if n_done == work.n_rows:
            return Outcome(sums, n_done, None)
        save()
        return Outcome(sums, n_done, received[0])


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list into which the first interrupt or termination goes; a second one acts as usual.

    Otherwise an interrupt could come while sums are being added to.
    """
    received: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    kinds = (signal.SIGINT, signal.SIGTERM) if main else ()  # others cannot have handlers
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def restore() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler)

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()

    for kind in kinds:
        signal.signal(kind, receive)
    try:
        yield received
    finally:
        restore()
