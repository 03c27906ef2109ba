"""How plain functions become compiled code, and how that code is found again.

The functions of this package, and the scalar functions of users, are plain Python. `compiled`
turns one of them and every plain function that it refers to, by global name or from the enclosing
function, into Numba dispatchers. `kernel` compiles the outermost one for one signature and keeps
the machine code in the store of `cache.py`.

The key of the store is a fingerprint of everything that shapes the code: all functions reached with
what they refer to (`fingerprint.py`), the sources of kernels and compiler, the signature, the CPU,
the versions, the settings of Numba. What cannot be fingerprinted completely is not stored. Numba's
own key leaves out globals, helpers and flags, so an edited helper would give stale results; and its
index file is shared by processes without a lock. The fingerprint is also part of each compiled
function's name, as the linker finds functions by name alone.
"""

import functools
import gc
import hashlib
import os
import pickle
import platform
import re
import sys
import threading
import types as python_types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target
from numba.core.serialize import dumps
from numba.core.typing.templates import AbstractTemplate, infer_global

from . import cache
from .bits import ByPrecision
from .blocks import over_blocks
from .fingerprint import SOURCES, Fingerprint, fingerprint, intrinsic_of, settings
from .flags import CompilationError, Manner, manner_of
from .interrupts import undisturbed
from .snapshot import Part, codes_in, is_extended
from .weak_numbers import WeakNumbersCompiler

# The newest Numba that `compilers.py` was tested with, which stands on much that is private to
# Numba. It makes compiling twice as fast and changes nothing else: later ones do without.
NEWEST_TESTED = (0, 68)
_version = tuple(int(part) for part in re.findall(r"\d+", numba.__version__)[:2])
FAST: Any = import_module(".compilers", __package__) if _version <= NEWEST_TESTED else None

Function = Callable[..., Any]

# How many kernels this process compiled, and how many it found in the store.
counts: Counter[str] = Counter()

_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A child must not inherit a compilation that another thread has begun, with its locks held.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
_dispatchers: dict[tuple[str, bool], Any] = {}
# Numbers of the functions whose fingerprints are incomplete, and which share their code with none.
_unlike_others: dict[Function, int] = {}


def _fingerprint(function: Function) -> Fingerprint:
    """That of `function`, which is another one for each function if it is incomplete."""
    digest, complete = fingerprint(function)
    if not complete:
        number = _unlike_others.setdefault(function, len(_unlike_others))
        digest = hashlib.sha256(f"{number} {digest}".encode()).hexdigest()
    return Fingerprint(digest, complete)


# ---------------------------------------------------------------------------------------------
# Compiling


def compiled(function: Function, *, inner: bool = False) -> Any:
    """`function`, with all the plain functions that it reaches, as a Numba dispatcher.

    Inner functions are called from compiled code only, so they are inlined and get no wrapper
    for calls from Python.
    """
    if numba.config.DISABLE_JIT:
        return function
    with _lock:
        key = _fingerprint(function).digest, inner
        if key not in _dispatchers:
            manner = manner_of(function)
            options: dict[str, Any] = {
                "error_model": "numpy",
                "nogil": True,
                "fastmath": set(manner.flags),
            }
            if inner:
                options |= _inlined(manner)
            named = _rebind(function, f"{function.__name__}_{key[0][:16]}", _resolve)
            dispatcher = _dispatchers[key] = numba.njit(**options, **_NO_WRAPPER)(named)
            # What a first call from Python runs.
            dispatcher._compile_for_args = undisturbed(dispatcher._compile_for_args)
        return _dispatchers[key]


_NO_WRAPPER = {"no_cfunc_wrapper": True} if FAST else {}


def _inlined(manner: Manner) -> dict[str, Any]:
    """How to compile a function that ends up in others."""
    if FAST is None:
        weak = {"pipeline_class": WeakNumbersCompiler} if manner.weak else {}
        return {"forceinline": True, **weak}
    return {
        "forceinline": True,
        "no_cpython_wrapper": True,
        "pipeline_class": FAST.FormulaCompiler if manner.weak else FAST.InlinedCompiler,
        "_nrt": manner.allocates,  # else references need no count
    }


@undisturbed
def entry(function: Function) -> Any:
    """`function` for users to call, from Python and from their own compiled code."""
    if numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(function)
    return compiled(function)


@undisturbed
def kernel(
    survey_block: Function,
    sum_block: Function,
    arguments: Sequence[Any],
    has_extras: bool = False,
    prange: bool = False,
) -> Any:
    """The loop of `blocks.py` with these functions in it, compiled for such arguments or loaded.

    With `prange` it is called with the number of threads first. The types of later arguments are
    not looked at again; arrays that it only reads may be read-only.
    """
    if numba.config.DISABLE_JIT:
        function = np.errstate(all="ignore")(
            finished(survey_block, sum_block, arguments, has_extras)
        )
        return (lambda n_threads, *arguments: function(*arguments)) if prange else function
    dispatcher = finished(survey_block, sum_block, arguments, has_extras, prange)
    # What the dispatcher calls once it has looked up the types of the arguments, which are known
    # here: 0.3 us less for each call.
    (code,) = (result.entry_point for result in dispatcher.overloads.values())
    if not prange:
        return code

    def run(n_threads: int, *arguments: Any) -> None:
        users_choice = numba.get_num_threads()
        numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
        try:
            code(*arguments)
        finally:
            numba.set_num_threads(users_choice)

    return run


@undisturbed
def finished(
    survey_block: Function,
    sum_block: Function,
    arguments: Sequence[Any],
    has_extras: bool = False,
    prange: bool = False,
) -> Any:
    """The dispatcher of a kernel, compiled for one signature."""
    function = over_blocks(survey_block, sum_block, has_extras)
    return _finished(function, sum_block.__name__, arguments, prange)


@undisturbed
def serial(function: Function, arguments: Sequence[Any]) -> Any:
    """A plain function that is no kernel, compiled for such arguments or loaded."""
    if numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(function)
    dispatcher = _finished(function, function.__name__, arguments)
    (code,) = (result.entry_point for result in dispatcher.overloads.values())
    return code


def _finished(function: Function, name: str, arguments: Sequence[Any], prange: bool = False) -> Any:
    if numba.config.DISABLE_JIT:
        return function
    signature = tuple(_type_of(argument) for argument in arguments)
    with _lock:
        digest, complete = _fingerprint(function)
        mark = digest + ("-parallel" if prange else "")
        stored = _StoredCode(name, mark if complete and SOURCES else None)
        # What is in the store needs no dispatchers of all that it was made of.
        resolve = (lambda value: value) if stored.find(signature) else _resolve
        named = _rebind(function, f"{name}_{mark[:16]}", resolve)
        dispatcher = numba.njit(
            error_model="numpy",
            nogil=True,
            parallel=prange,
            fastmath=set(manner_of(function).flags),
            **_NO_WRAPPER,
        )(named)
        dispatcher._cache = stored
        try:
            with _without_collection():
                dispatcher.compile(signature)
        except NumbaError as error:
            raise CompilationError(_essence(error)) from error
        dispatcher.disable_compile()
        return dispatcher


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python collects no garbage meanwhile: it would look through all that a compilation makes,
    again and again, and hardly any of it is garbage. That takes a tenth of the time. Nor right
    afterwards: what is frozen and unfrozen counts as old, and what is old is rarely looked through.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if not gc.get_freeze_count():  # of users who froze objects, none must be unfrozen
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _type_of(argument: Any) -> Any:
    """Its type, be the array of this call read-only or not: one kernel serves both."""
    if isinstance(argument, np.ndarray):
        return numba.typeof(argument).copy(readonly=False)
    if isinstance(argument, tuple):
        return types.Tuple([_type_of(part) for part in argument])
    return numba.typeof(argument)


def _essence(error: NumbaError) -> str:
    """What a Numba error says of the user's function, without the way from the kernel to there."""
    lines = [line.rstrip() for line in str(error).splitlines()]
    end = next(
        (i for i, line in enumerate(lines) if line.startswith("During: typing of call")), None
    )
    noise = ("Failed in nopython mode", "During: ")
    kept = [line for line in lines[:end] if line.strip() and not line.startswith(noise)]
    return "\n".join(dict.fromkeys(kept))


def _rebind(
    function: Function, name: str, resolve: Callable[[Any], Any]
) -> python_types.FunctionType:
    """A copy of `function` under `name` that refers to `resolve(value)` instead of each value."""
    assert isinstance(function, python_types.FunctionType)
    names = {name for code in codes_in(function.__code__) for name in code.co_names}
    shared = function.__globals__
    scope = {name: resolve(shared[name]) for name in sorted(names & shared.keys())}
    cells = tuple(
        python_types.CellType(resolve(cell.cell_contents)) for cell in function.__closure__ or ()
    )
    copy = python_types.FunctionType(
        function.__code__.replace(co_name=name),
        scope | {"__builtins__": __builtins__, "__name__": function.__module__},
        name,
        function.__defaults__,
        cells,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = name
    copy.__module__ = function.__module__
    return copy


def _resolve(value: Any) -> Any:
    """What compiled code refers to in place of `value`."""
    if isinstance(value, ByPrecision):
        return _overloaded(value)
    if isinstance(value, python_types.FunctionType) and not is_extended(value):
        return intrinsic_of(value) or compiled(value, inner=True)
    if isinstance(value, Part):
        part = Part(value.__name__)
        vars(part).update({name: _resolve(each) for name, each in vars(value).items()})
        return part
    return value


@functools.cache
def _overloaded(function: ByPrecision) -> Function:
    """What calls of a primitive refer to; an overload of Numba's is a function more to compile."""
    single = compiled(function.float32, inner=True)
    double = compiled(function.float64, inner=True)

    def stub(x: Any) -> Any:
        return function(x)

    class Template(AbstractTemplate):  # type: ignore[misc]
        key = stub

        def generic(self, args: Any, kws: Any) -> Any:
            chosen, number = (
                (single, types.float32) if args[0] == types.float32 else (double, types.float64)
            )
            return types.Dispatcher(chosen).get_call_type(self.context, (number,), kws)

        def get_impl_key(self, sig: Any) -> Any:
            return (single if sig.args[0] == types.float32 else double).get_overload(sig.args)

    infer_global(stub, types.Function(Template))
    return stub


# ---------------------------------------------------------------------------------------------
# The store, as Numba's dispatcher wants to see it


class _StoredCode:
    """What the store has of a function; without a mark nothing, and it keeps nothing."""

    def __init__(self, name: str, mark: str | None) -> None:
        self._name = name
        self._mark = mark
        self._found: Any = None

    @property
    def cache_path(self) -> str:
        return str(cache.folder())

    def find(self, sig: Any) -> bool:
        """Load what is stored, if anything is; `load_overload` gives it then."""
        if self._mark is None:
            return False
        target_context = cpu_target.target_context
        with global_compiler_lock:
            if FAST:
                FAST.import_arrays()
            target_context.refresh()
            payload = cache.load(self._file(sig, target_context.codegen()))
            if payload is None:
                return False
            try:
                self._found = CompileResult._rebuild(target_context, *pickle.loads(payload))
            except Exception:  # written by something else under our name: as good as absent
                return False
        counts["loaded"] += 1
        return True

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        return self._found

    def save_overload(self, sig: Any, data: Any) -> None:
        counts["compiled"] += 1
        # Dynamic globals hold addresses of this process.
        if self._mark is not None and not data.library.has_dynamic_globals:
            cache.store(self._file(sig, data.codegen), dumps(data._reduce()))

    def _file(self, sig: Any, codegen: Any) -> str:
        versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
        machine = (platform.machine(), codegen.magic_tuple())
        key = repr((self._mark, SOURCES, str(sig), versions, settings(), machine))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:40]}"

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...
