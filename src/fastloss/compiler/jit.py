"""How plain functions become compiled code, and how that code is found again.

Kernels, and the scalar functions of users, are plain Python. `dispatcher` turns one of them and
every plain function that it refers to, by global name or from the enclosing function, into Numba
dispatchers. `load_or_compile` compiles the outermost one for one signature and keeps the machine
code in the store of `store.py`.

The key of the store is a fingerprint of everything that shapes the code: all functions reached with
what they refer to (`fingerprint.py`), the sources of kernels and compiler, the signature, the CPU,
the versions, the settings of Numba. What cannot be fingerprinted completely is not stored. Numba's
own key leaves out globals, helpers and flags, so an edited helper would give stale results; and its
index file is shared by processes without a lock. The fingerprint is also part of each compiled
function's name, as the linker finds functions by name alone.
"""

import functools
import hashlib
import os
import platform
import sys
import threading
import types as python_types
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numba
import numpy as np
from numba import types

from . import numba_api, store
from .bits import ByPrecision
from .fingerprint import SOURCES, Fingerprint, fingerprint, intrinsic_of, settings
from .flags import CompilationError, Manner, manner_of
from .interrupts import uncollected, undisturbed
from .passes import WeakNumbersCompiler
from .snapshot import Part, codes_in, is_extended
from .spans import UNFIT, Span, WrittenSpan

if numba_api.TESTED:
    from . import fast_compile

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
    """The fingerprint of `function`; if it is incomplete, it is unlike that of any other."""
    digest, complete = fingerprint(function)
    if not complete:
        number = _unlike_others.setdefault(function, len(_unlike_others))
        digest = hashlib.sha256(f"{number} {digest}".encode()).hexdigest()
    return Fingerprint(digest, complete)


# ---------------------------------------------------------------------------------------------
# Compiling


def dispatcher(function: Function, *, inner: bool = False) -> Any:
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
            options = _options(manner) | (_inlined(manner) if inner else {})
            named = _rebind(function, f"{function.__name__}_{key[0][:16]}", _resolve)
            one = _dispatchers[key] = numba.njit(**options)(named)
            numba_api.compile_with(undisturbed, one)  # of a first call from Python
            if inner and numba_api.TESTED and not manner.weak:
                numba_api.compile_untimed(one)
        return _dispatchers[key]


def _options(manner: Manner) -> dict[str, Any]:
    wrapper = {"no_cfunc_wrapper": True} if numba_api.TESTED else {}
    return {
        "error_model": "numpy",
        "nogil": True,
        "fastmath": set(manner.flags),
        **wrapper,
    }


def _inlined(manner: Manner) -> dict[str, Any]:
    """How to compile a function that ends up in others."""
    if not numba_api.TESTED:
        weak = {"pipeline_class": WeakNumbersCompiler} if manner.weak else {}
        return {"forceinline": True, **weak}
    return {
        "forceinline": True,
        "no_cpython_wrapper": True,
        "pipeline_class": (
            fast_compile.FormulaCompiler if manner.weak else fast_compile.InlinedCompiler
        ),
        "_nrt": manner.allocates,  # else references need no count
    }


@undisturbed
def entry(function: Function) -> Any:
    """`function` for users to call, from Python and from their own compiled code."""
    if numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(function)
    return dispatcher(function)


@undisturbed
def load_or_compile(
    function: Function,
    arguments: Sequence[Any],
    prange: bool = False,
    written: Collection[int] | None = None,
) -> Any:
    """`function` for arguments of such types.

    With `written`, it takes arrays as spans, those in these places as such that it writes: they
    may have any shape and any dtype of these bits, and BufferError says that one is not contiguous,
    aligned and, if it is written, writeable.

    With `prange` it is called with the number of threads first, and its loop over `bits.prange`
    runs on them. The types of later arguments are not looked at again; arrays that it only reads
    may be read-only.
    """
    if numba.config.DISABLE_JIT:
        plain = np.errstate(all="ignore")(function)
        if written is not None:
            return _of_spans(plain, arguments, written)
        return (lambda n_threads, *arguments: plain(*arguments)) if prange else plain
    compiled = specialised(function, arguments, prange, written)
    (signature,) = compiled.signatures
    # What the dispatcher calls once it has looked up the types of the arguments, which are known
    # here: 0.3 us less for each call.
    code = compiled.get_compile_result(types.none(*signature)).entry_point
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
@uncollected
def specialised(
    function: Function,
    arguments: Sequence[Any],
    prange: bool = False,
    written: Collection[int] | None = None,
) -> Any:
    """The dispatcher of a function that returns nothing, compiled for one signature or loaded."""
    if numba.config.DISABLE_JIT:
        return function
    signature = tuple(_type_of(argument) for argument in arguments)
    if written is not None:
        signature = tuple(
            (WrittenSpan if place in written else Span)(one.dtype)
            if isinstance(one, types.Array)
            else one
            for place, one in enumerate(signature)
        )
    name = function.__name__
    with _lock, numba_api.target() as context:
        digest, complete = _fingerprint(function)
        mark = digest + ("-parallel" if prange else "")
        stored = _StoredCode(name, mark if complete and SOURCES else None)
        # What is in the store needs no dispatchers of all that it was made of.
        resolve = (lambda value: value) if stored.find(signature, context) else _resolve
        named = _rebind(function, f"{name}_{mark[:16]}", resolve)
        one = numba.njit(parallel=prange, **_options(manner_of(function)))(named)
        numba_api.keep_in(stored, one)
        try:
            one.compile(signature)
        except numba.NumbaError as error:
            raise CompilationError(_essence(error)) from error
        one.disable_compile()
        return one


def _type_of(argument: Any) -> Any:
    """The type of an argument, whether the array of this call is read-only or not."""
    if isinstance(argument, np.ndarray):
        return numba.typeof(argument).copy(readonly=False)
    if isinstance(argument, tuple):
        return types.Tuple([_type_of(part) for part in argument])
    return numba.typeof(argument)


def _of_spans(
    function: Function, arguments: Sequence[Any], written: Collection[int]
) -> Callable[..., None]:
    """The same of plain Python, whose arrays have one axis and these dtypes."""
    dtypes = [one.dtype if isinstance(one, np.ndarray) else None for one in arguments]

    def span(place: int, given: Any) -> Any:
        dtype = dtypes[place]
        if dtype is None:
            return given
        flags = getattr(given, "flags", None)  # an address has none, and plain Python no use of it
        if not flags or not (
            flags.carray if place in written else flags.c_contiguous and flags.aligned
        ):
            raise BufferError(UNFIT)
        return given.reshape(-1).view(dtype)

    return lambda *given: function(*map(span, range(len(given)), given))


def _essence(error: Any) -> str:
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
        return intrinsic_of(value) or dispatcher(value, inner=True)
    if isinstance(value, Part):
        part = Part(value.__name__)
        vars(part).update({name: _resolve(each) for name, each in vars(value).items()})
        return part
    return value


@functools.cache
def _overloaded(function: ByPrecision) -> Function:
    """What calls of a primitive refer to; an overload of Numba would be one more to compile."""
    single = dispatcher(function.float32, inner=True)
    double = dispatcher(function.float64, inner=True)

    def stub(x: Any) -> Any:
        return function(x)

    class Template(numba_api.AbstractTemplate):  # type: ignore[misc]
        key = stub

        def generic(self, args: Any, kws: Any) -> Any:
            chosen, number = (
                (single, types.float32) if args[0] == types.float32 else (double, types.float64)
            )
            return types.Dispatcher(chosen).get_call_type(self.context, (number,), kws)

        def get_impl_key(self, sig: Any) -> Any:
            return (single if sig.args[0] == types.float32 else double).get_overload(sig.args)

    numba_api.infer_global(stub, types.Function(Template))
    return stub


# ---------------------------------------------------------------------------------------------
# The store, as Numba's dispatcher wants to see it


class _StoredCode:
    """What the store has of a function; without a mark it has nothing and keeps nothing."""

    def __init__(self, name: str, mark: str | None) -> None:
        self._name = name
        self._mark = mark
        self._found: Any = None

    @property
    def cache_path(self) -> str:
        return str(store.folder())

    def find(self, sig: Any, context: Any) -> bool:
        """Load what is stored, if anything is; `load_overload` gives it then."""
        if self._mark is None:
            return False
        payload = store.load(self._file(sig, context.codegen()))
        if payload is None:
            return False
        try:
            self._found = numba_api.loaded(payload, context)
        except Exception:  # written by something else under our name: as good as absent
            return False
        counts["loaded"] += 1
        return True

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        return self._found

    def save_overload(self, sig: Any, data: Any) -> None:
        counts["compiled"] += 1
        payload = None if self._mark is None else numba_api.dumped(data)
        if payload is not None:
            store.save(self._file(sig, data.codegen), payload)

    def _file(self, sig: Any, codegen: Any) -> str:
        versions = numba.__version__, numba_api.llvmlite_version, np.__version__, sys.version
        machine = platform.machine(), numba_api.machine_of(codegen)
        key = repr((self._mark, SOURCES, str(sig), versions, settings(), machine))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:40]}"

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...
