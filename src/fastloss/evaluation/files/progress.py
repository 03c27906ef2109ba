"""How far a long pass is: a bar on a terminal that rich can draw on, else a line now and then."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ..report import terminal

_SECONDS = 5.0  # between two lines
_PATIENCE = 3.0  # until it is said why the first rows take so long

Show = Callable[[int], None]


@contextmanager
def progress(title: str, n_rows: int, row_bytes: int, done: int = 0) -> Iterator[Show]:
    """A function to be told the number of rows that are done, of which `done` were before."""
    text = f"{title}: no rows yet; a first run compiles, once for this machine"
    first = threading.Timer(_PATIENCE, terminal.say, [text])
    first.daemon = True

    def show(rows: int) -> None:
        first.cancel()
        shown(rows)

    shows = _bar if sys.stderr.isatty() and find_spec("rich") is not None else _lines
    with shows(title, n_rows, row_bytes, done) as shown:
        first.start()
        try:
            yield show
        finally:
            first.cancel()


@contextmanager
def _bar(title: str, n_rows: int, row_bytes: int, done: int) -> Iterator[Show]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=n_rows * row_bytes, completed=done * row_bytes)
        yield lambda rows: bar.update(task, completed=rows * row_bytes)


@contextmanager
def _lines(title: str, n_rows: int, row_bytes: int, done: int) -> Iterator[Show]:
    began = shown = time.monotonic()

    def show(rows: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _SECONDS and rows < n_rows:
            shown = now
            terminal.say(line(title, rows, n_rows, row_bytes, rows - done, now - began))

    yield show


def line(title: str, rows: int, n_rows: int, row_bytes: int, read: int, seconds: float) -> str:
    """
    >>> line("logits.npy", 250, 1000, 2_000_000, 200, 4.0)
    'logits.npy: 25%, 0.10 GB/s, 0:00:15 left'
    """
    left = round((n_rows - rows) * seconds / read)
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
    rate = read * row_bytes / seconds / 1e9
    return f"{title}: {rows / n_rows:.0%}, {rate:.2f} GB/s, {clock} left"
