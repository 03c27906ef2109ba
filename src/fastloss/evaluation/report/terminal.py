"""What is printed: to streams that may be closed, in encodings that may lack a character."""

import codecs
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_SPELLED = {"±": "+-"}
_ERRORS = "fastloss"


def prepare() -> None:
    """Make standard streams of those that are closed, and have all take any text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(number))
    codecs.register_error(_ERRORS, _spelled)
    for stream in (sys.stdout, sys.stderr):
        # The second is what Python takes in the locale C.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_ERRORS)


def _nowhere(number: int) -> TextIO:
    """A stream into nothing, whose number no file may get: others write to it by its number."""
    try:
        os.fstat(number)
    except OSError:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
    return open(os.devnull, "r+" if number == 0 else "w", encoding="utf-8")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SPELLED.get(each, ascii(each)[1:-1]) for each in text), error.end


def say(text: str) -> None:
    """A line of what is no result. That nobody is there to read it ends no work."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


@contextmanager
def saying_warnings() -> Iterator[None]:
    """Warnings are lines, without the place in the code, of which a command knows nothing."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where: say(f"fastloss: {message}")
        yield


def show(text: str = "", end: str = "\n") -> str | None:
    """Print results to the last byte; return why it could not be done, if it could not."""
    try:
        print(text, end=end, flush=True)
    except (OSError, ValueError) as error:
        return unprinted(error)
    return None


def unprinted(error: Exception) -> str:
    """Why it failed; what is left to be printed goes nowhere, as the end would try it again."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    if isinstance(error, BrokenPipeError):
        return "what is printed was not read to its end: the pipe was closed"
    return f"what was found cannot be printed: {getattr(error, 'strerror', None) or error}"
