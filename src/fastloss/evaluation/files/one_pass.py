"""One pass over rows in files, which can be interrupted, and resumed from a state on disk."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ...call.arrays import Array
from ..report import terminal
from . import signals
from .checkpoint import Checkpoint, Saved
from .progress import progress
from .row_output import RowOutput

# Chunks still lie in the last cache of many CPUs when they are computed. Smaller ones cost calls:
# with 16 MiB of rows of 1,000 classes the pass took a seventh longer.
CHUNK_BYTES = 24 * 2**20
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
    begin: Callable[[Saved | None], S]  # new sums, or those that were saved
    # With the rows from the first number to the second; sums are settled then.
    update: Callable[[S, int, int], None]
    notes: Callable[[], Mapping[str, Any]]  # what to save besides sums
    checkpoint: Checkpoint | None = None
    row_output: RowOutput | None = None
    # Where rows from the first number on are cut: at the second, or close to it.
    end_of: Callable[[int, int], int] = lambda start, stop: stop


@dataclass(frozen=True)
class Outcome(Generic[S]):
    sums: S
    n_done: int
    signal: int | None  # which one ended it before the last row
    problem: str | None  # or what else did
    save: Callable[[], bool]  # once more, with all that was done; whether it could

    @property
    def complete(self) -> bool:
        return self.signal is None and self.problem is None


def chunk_rows(row_bytes: int) -> int:
    return max(1, CHUNK_BYTES // max(1, row_bytes))


def run(work: Work[S]) -> Outcome[S]:
    """Pass from the start, or from the state of the checkpoint, to the last row or to a signal."""
    checkpoint, row_output = work.checkpoint, work.row_output
    saved = checkpoint.load() if checkpoint is not None else None
    n_done = saved.n_done if saved is not None else 0
    sums = work.begin(saved)

    def save() -> bool:
        if checkpoint is None:
            return False
        try:
            if row_output is not None:
                row_output.sync()
            checkpoint.save(Saved(n_done, sums.state(), work.notes()))
        except OSError as error:  # hours of work do not end for it: there may be room later on
            terminal.say(
                f"fastloss: the state cannot be saved in {checkpoint.output}: {error.strerror}"
            )
            return False
        return True

    size = chunk_rows(work.row_bytes)
    due = time.monotonic() + SAVE_SECONDS
    with (
        signals.noted() as received,
        progress(work.title, work.n_rows, work.row_bytes, n_done) as show,
    ):
        # Here, as an interrupt within it may come out as an error of the archive.
        if row_output is not None and saved is None:
            save()  # or nobody would know where the rows are
        while n_done < work.n_rows and not received:
            start = n_done
            n_done = work.end_of(start, min(start + size, work.n_rows))
            work.update(sums, start, n_done)
            if row_output is not None:
                try:
                    row_output.write(start, n_done - start)
                except OSError as error:  # what was saved before goes on with these rows
                    problem = f"results of rows cannot be written: {error.strerror}"
                    return Outcome(sums, n_done, None, problem, lambda: False)
            show(n_done)
            began = time.monotonic()
            if began >= due:
                save()
                due = time.monotonic()
                due += max(SAVE_SECONDS, (due - began) / _SAVE_SHARE)
        return Outcome(sums, n_done, None if n_done == work.n_rows else received[0], None, save)
