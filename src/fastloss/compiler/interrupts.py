"""Ctrl-C waits while Numba is imported, and while code is compiled or loaded.

Numba's registries and LLVM do not survive a KeyboardInterrupt at any moment: all later first calls
would fail, or the process be aborted. Python runs handlers of signals on the main thread, between
any two steps of it. There they are put off until the work is done, which takes seconds at most.
"""

import signal
import sys
import threading
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import FrameType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_SIGNALS = [int(number) for number in signal.valid_signals()]


class _Waiting:
    """Stands for the handlers of all signals, and remembers which arrive; later it passes them on.

    So nothing is lost if what puts the handlers back is itself interrupted.
    """

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[..., Any]] = {}
        self.arrived: dict[int, None] = {}
        self.over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.over:
            self.handlers[number](number, frame)
        else:
            self.arrived[number] = None

    def begin(self) -> None:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            while isinstance(handler, _Waiting) and handler.over:  # one that was not put back
                handler = handler.handlers[number]
            if callable(handler):
                self.handlers[number] = handler
                signal.signal(number, self)

    def end(self) -> None:
        self.over = True
        try:
            for number, handler in self.handlers.items():
                signal.signal(number, handler)
        finally:
            self.tell()

    def tell(self) -> None:
        """Run the handlers of what has arrived, each of them, though one raises an exception."""
        if self.arrived:
            number, _ = self.arrived.popitem()
            try:
                self.handlers[number](number, sys._getframe())
            finally:
                self.tell()


def undisturbed(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, during which no handler of a signal runs, that of Ctrl-C included."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)  # where none ever runs
        waiting = _Waiting()
        try:
            waiting.begin()
            return function(*args, **kwargs)
        finally:
            waiting.end()

    return call


@undisturbed
def compiler() -> Any:
    """The module `jit.py`, imported at a first call: Numba takes longer than all the rest."""
    return import_module(".jit", __package__)
