"""What the code of a function depends on, as a digest: part of its name, and of its key on disk.

All that is known completely is listed here, value by value. Whatever else a function refers to
makes its fingerprint incomplete, and then its code must not be kept: nobody could tell when it
changes.
"""

import enum
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from . import bits, intrinsics, moves
from .bits import ByPrecision
from .flags import manner_of
from .numba_api import is_dispatcher, options_of, pipeline_of
from .snapshot import OWN_FOLDERS, Part, codes_in, is_extended, is_own, is_versioned, name_of

Function = Callable[..., Any]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


class Fingerprint(NamedTuple):
    digest: str
    complete: bool  # whether equal digests mean equal code, in other processes, too


def fingerprint(function: Function) -> Fingerprint:
    """A digest of all that the compiled code of `function` depends on, but for the signature."""
    reader = _Reader()
    reader.read(function)
    text = "\0".join(map(str, reader.noted))
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return Fingerprint(digest, reader.complete)


def intrinsic_of(function: Function) -> Any:
    """The intrinsic that stands for a function of `bits`, if there is one."""
    if function.__module__ == bits.__name__:
        name = function.__name__
        return getattr(intrinsics, name, None) or getattr(moves, name, None)
    return None


class _Reader:
    def __init__(self) -> None:
        self.noted: list[object] = []
        self.complete = True
        self.seen: dict[int, int] = {}  # the numbers of functions

    def note(self, *parts: object) -> None:
        self.noted.extend(parts)

    def read(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN:
            self.note(kind.__name__, repr(value))
        elif isinstance(value, FunctionType):
            self.read_function(value)
        elif kind is ByPrecision:
            self.note("by precision")
            self.read_function(value.float32)
            self.read_function(value.float64)
        elif isinstance(value, tuple) and (kind is tuple or hasattr(value, "_fields")):
            self.note("tuple", len(value))
            if kind is not tuple:
                self.read(kind)
            for part in value:
                self.read(part)
        elif kind is frozenset:
            self.note("set", len(value))
            for part in sorted(value, key=repr):
                self.read(part)
        elif isinstance(value, type):
            self.read_type(value)
        elif isinstance(value, enum.Enum):
            self.read(kind)
            self.note(value.name)
        elif kind is Part:
            self.note("module")
            for name, part in sorted(vars(value).items()):
                if not name.startswith("__"):
                    self.note(name)
                    self.read(part)
        elif isinstance(value, ModuleType) and is_versioned(value):
            self.note("module", value.__name__)
        elif is_dispatcher(value):
            self.note("dispatcher")
            self.read(pipeline_of(value))
            for name, option in sorted(options_of(value).items()):
                self.note(name)
                self.read(frozenset(option) if isinstance(option, set) else option)
            self.read_function(value.py_func)
        else:
            self.read_data(value)

    def read_data(self, value: Any) -> None:
        kind = type(value)
        if kind is np.ndarray and not value.dtype.hasobject:
            flags = value.flags
            layout = flags.c_contiguous, flags.f_contiguous, flags.aligned
            self.note("array", repr(value.dtype), value.shape, layout, value.tobytes().hex())
        elif isinstance(value, np.generic) and kind not in (np.void, np.object_):
            self.note("number", value.dtype.str, value.tobytes().hex())
        elif isinstance(value, np.dtype) and not value.hasobject:
            self.note("dtype", repr(value))
        elif isinstance(value, types.Number | types.Boolean):
            self.note("type", repr(value))
        else:
            name = None if is_extended(value) else name_of(value)
            self.complete = self.complete and name is not None
            self.note("known" if name else "unknown", name)

    def read_type(self, kind: Any) -> None:
        if name_of(kind):
            self.read_data(kind)
        elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
            self.note("fields", kind.__module__, kind.__qualname__, kind._fields)
            self.read(tuple(kind._field_defaults.items()))
        elif issubclass(kind, enum.Enum):
            self.note("members", kind.__module__, kind.__qualname__)
            for name, member in kind.__members__.items():
                self.note(name)
                self.read(member.value)
        else:
            self.read_data(kind)

    def read_function(self, function: Any) -> None:
        if id(function) in self.seen:
            self.note("function number", self.seen[id(function)])
            return
        self.seen[id(function)] = len(self.seen)
        if intrinsic_of(function):  # which the digest of the sources knows
            self.note("intrinsic", function.__name__)
            return
        if not is_own(function) and (name_of(function) or is_extended(function)):
            self.read_data(function)
            return
        manner = manner_of(function)
        self.note("function", function.__name__, sorted(manner.flags), *manner[1:])
        self.read_code(function.__code__)
        scope = function.__globals__
        names = {name for each in codes_in(function.__code__) for name in each.co_names}
        for name in sorted(names & scope.keys()):
            self.note("global", name)
            self.read(scope[name])
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            self.note("free", name)
            self.read(cell.cell_contents)
        self.read(function.__defaults__)
        self.read(tuple((function.__kwdefaults__ or {}).items()))

    def read_code(self, code: CodeType) -> None:
        counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
        self.note("code", counts, code.co_varnames, code.co_names, code.co_cellvars)
        self.note(code.co_code.hex(), getattr(code, "co_exceptiontable", b"").hex())
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.read_code(constant)
            else:
                self.read(constant)


# ---------------------------------------------------------------------------------------------
# What all code depends on

# Settings of Numba that shape no code. All others count, so that none is forgotten.
_HARMLESS = {
    "ALWAYS_WARN_UNINIT_VAR",
    "CACHE_DIR",
    "CACHE_LOCATOR_CLASSES",
    "CHROME_TRACE",
    "COLOR_SCHEME",
    "DEBUG_CACHE",
    "DEVELOPER_MODE",
    "DISABLE_JIT",  # nothing is compiled then
    "DISABLE_PERFORMANCE_WARNINGS",
    "FULL_TRACEBACKS",
    "FUNCTION_CACHE_SIZE",
    "GDB_BINARY",
    "HIGHLIGHT_DUMPS",
    "HTML",
    "NUMBA_DEFAULT_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "PARALLEL_DIAGNOSTICS",
    "SHOW_HELP",
    "THREADING_LAYER",
    "THREADING_LAYER_PRIORITY",
}


def settings() -> str:
    """What Numba's environment variables say, as far as it may shape code."""
    config = vars(numba.config)
    return repr(
        [
            (name, config[name])
            for name in sorted(config)
            if name.isupper() and not name.startswith("CUDA") and name not in _HARMLESS
        ]
    )


def _digest_of_sources(package: Path) -> str | None:
    """A digest of the compiler, all kernels and the file with the version; None if one is missing.

    It is made when this is imported, which is when the compiler is: a file that is edited later
    does not shape the code of this process.
    """
    files = [file for folder in OWN_FOLDERS for file in sorted((package / folder).rglob("*.py"))]
    digest = hashlib.sha256()
    try:
        for file in (package / "__init__.py", *files):
            name = file.relative_to(package).as_posix()
            digest.update(name.encode() + b"\0" + file.read_bytes())
    except OSError:
        return None
    return digest.hexdigest()


SOURCES = _digest_of_sources(Path(__file__).parent.parent)
