"""Interrupts and terminations: as an error, or noted until work is at a place where it can end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_KINDS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], None]


class Interrupted(KeyboardInterrupt):
    """An interrupt by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def raised() -> Iterator[None]:
    """A signal raises Interrupted, so that what was begun is cleared away."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(lambda restore: handle):
        yield


@contextmanager
def noted() -> Iterator[list[int]]:
    """A list into which the first signal goes; a second one acts as before.

    Otherwise an interrupt could come while sums are being added to.
    """
    received: list[int] = []

    def with_restore(restore: Callable[[], None]) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            received.append(number)
            restore()

        return handle

    with _handled_by(with_restore):
        yield received


@contextmanager
def _handled_by(make: Callable[[Callable[[], None]], Handler]) -> Iterator[None]:
    """Install the handler; what is ignored stays so, as by a shell for a job in the background."""
    main = threading.current_thread() is threading.main_thread()  # others cannot have handlers
    before = {kind: signal.getsignal(kind) for kind in _KINDS if main}
    # None: a handler that was not installed by Python, and could not be put back.
    before = {kind: was for kind, was in before.items() if was not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for kind, was in before.items():
            signal.signal(kind, was)

    handler = make(restore)
    for kind in before:
        signal.signal(kind, handler)
    try:
        yield
    finally:
        restore()
