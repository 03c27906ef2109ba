"""Ctrl-C and collections of garbage wait while Numba is imported, and code compiled or loaded.

Numba's registries and LLVM do not survive a KeyboardInterrupt at any moment: all later first calls
would fail, or the process be aborted. Python runs handlers of signals on the main thread, between
any two steps of it. There they are put off until the work is done, which takes seconds at most.
"""

import gc
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache, wraps
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


def uncollected(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, during which Python collects no garbage, nor right afterwards.

    It would look through all that an import or a compilation makes, again and again, and hardly any
    of it is garbage: that takes a tenth of the time. Objects that were frozen and unfrozen count as
    old, and old ones are rarely looked through.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if collecting:
                if not gc.get_freeze_count():  # of users who froze objects, none must be unfrozen
                    gc.freeze()
                    gc.unfreeze()
                gc.enable()

    return call


@cache
@undisturbed
@uncollected
def compiler() -> Any:
    """The module `jit.py`, imported at a first call: Numba takes longer than all the rest."""
    return import_module(".jit", __package__)
