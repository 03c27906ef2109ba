"""All that this package uses of Numba and llvmlite but Numba's public names, and what it is for.

No other file imports `numba.core`, `numba.np` or `llvmlite`, or reaches into a dispatcher. So what
a new Numba may break is listed here. Public are `numba`, `numba.types` and `numba.extending`.

The names behind `TESTED` only make compiling faster. They are imported with versions that were
tested; with later ones nothing imports `fast_compile.py`, and the same code takes twice as long.
"""

import inspect
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numba
from numba.extending import type_callable

# The newest Numba that `fast_compile.py` was tested with.
NEWEST_TESTED = (0, 68)
TESTED = tuple(map(int, re.findall(r"\d+", numba.__version__)[:2])) <= NEWEST_TESTED

try:
    from llvmlite import __version__ as llvmlite_version
    from llvmlite import binding as llvm_binding
    from llvmlite import ir as llvm
    from numba.core import cgutils, ir
    from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.compiler_machinery import FunctionPass, register_pass
    from numba.core.imputils import lower_constant
    from numba.core.ir_utils import build_definitions
    from numba.core.registry import CPUDispatcher, cpu_target
    from numba.core.serialize import dumps
    from numba.core.typeconv import Conversion
    from numba.core.typed_passes import NopythonTypeInference
    from numba.core.typing.context import BaseContext
    from numba.core.typing.templates import (
        AbstractTemplate,
        AttributeTemplate,
        builtin_registry,
        infer_global,
    )
    from numba.core.untyped_passes import IRProcessing
except ImportError as error:
    raise ImportError(
        f"Numba {numba.__version__} is without what losses are compiled with ({error}): install "
        f"one that was tested, pip install 'numba=={'.'.join(map(str, NEWEST_TESTED))}.*'"
    ) from error

__all__ = [  # noqa: RUF022 - by what they are for
    # LLVM
    "llvm",  # types and values of its language, of which intrinsics are made
    "llvm_binding",  # LLVM itself, for the features of the processor
    "llvmlite_version",  # a part of the keys of stored code
    # Types
    "cgutils",  # loops and structures in LLVM's language
    "AbstractTemplate",  # the types of a call, found by a method
    "AttributeTemplate",  # the types of attributes, found by a method
    "infer_global",  # which template a function has
    "lower_constant",  # how a constant of a type is made
    "Conversion",  # whether one type of number becomes another
    "BaseContext",  # which type two types have in common
    # Passes
    "ir",  # what Numba makes of bytecode
    "build_definitions",  # which values variables have in it
    "FunctionPass",  # one step of a compilation
    "register_pass",
    "CompilerBase",  # all steps of a compilation
    "DefaultPassBuilder",  # Numba's own
    "IRProcessing",  # the step that ours go behind: functions have been read
    "NopythonTypeInference",  # the other one: types are known
    # Compiled code
    "CompileResult",  # what comes out of a compilation
    "cpu_target",  # who compiles for processors
    "dumps",  # as `pickle.dumps`, but for modules
    "global_compiler_lock",  # nobody else compiles meanwhile
    # Dispatchers, and what Numba was told of functions
    "CPUDispatcher",  # what `njit` makes of a function
    "builtin_registry",  # the types of calls, in the order in which Numba was told of them
]

if TESTED:
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler_machinery import PassManager
    from numba.core.lowering import Lower
    from numba.core.rewrites import rewrite_registry
    from numba.core.ssa import reconstruct_ssa
    from numba.core.transforms import canonicalize_cfg
    from numba.core.typed_passes import (
        InlineOverloads,
        IRLegalization,
        NativeLowering,
        NopythonRewrites,
        PreLowerStripPhis,
    )
    from numba.core.untyped_passes import (
        DeadBranchPrune,
        GenericRewrites,
        InlineClosureLikes,
        InlineInlinables,
        ReconstructSSA,
        WithLifting,
    )

    __all__ += [  # noqa: RUF022
        "JITCodeLibrary",  # the machine code of a function, and what it is linked with
        "Lower",  # makes LLVM's language of typed functions
        "NativeLowering",  # the step that does so
        "PassManager",  # runs the steps
        "DeadBranchPrune",  # the step after which conditions may be left over
        # Steps that take less time here, and what they do:
        "GenericRewrites",
        "rewrite_registry",
        "ReconstructSSA",
        "reconstruct_ssa",
        "PreLowerStripPhis",
        "canonicalize_cfg",
        # Steps that functions of this package need not take:
        "InlineClosureLikes",
        "InlineInlinables",
        "InlineOverloads",
        "IRLegalization",
        "NopythonRewrites",
        "WithLifting",
    ]

# -------------------------------------------------------------------------------------------------
# Compiled code


@contextmanager
def target() -> Iterator[Any]:
    """What Numba knows of the machine that it compiles for, with all that was registered so far.

    Nobody else compiles meanwhile, and Numba does not look for further modules that register
    something, as it does before each function, intrinsic and field: half a millisecond each time.
    """
    context = cpu_target.target_context
    typing_context = context.typing_context

    def install_what_is_new() -> None:
        for registry in list(context._registries):
            context.install_registry(registry)

    with global_compiler_lock:
        _import_arrays()
        context.load_additional_registries()
        typing_context.load_additional_registries()
        try:
            if TESTED:  # as it only saves time
                context.load_additional_registries = install_what_is_new
                typing_context.load_additional_registries = lambda: None
            context.refresh()
            yield context
        finally:
            for each in (context, typing_context):
                vars(each).pop("load_additional_registries", None)


def machine_of(codegen: Any) -> Any:
    """What machine code depends on besides its source: the processor, as it is or was chosen."""
    return codegen.magic_tuple()


def dumped(result: Any) -> bytes | None:
    """Compiled code as bytes, or None if it holds addresses of this process."""
    if result.library.has_dynamic_globals:
        return None
    # Source with types beside it, which nobody reads. To write it, Numba asks for the source of a
    # kernel, which has none: Python 3.13.0 then takes another file for it, and stumbles over that.
    data: bytes = dumps(result._replace(type_annotation="")._reduce())
    return data


def loaded(data: bytes, context: Any) -> Any:
    """The compiled code that these bytes are; any error if somebody else wrote them."""
    return CompileResult._rebuild(context, *pickle.loads(data))


def _import_arrays() -> None:
    """Have Numba import what it knows of arrays, but not SciPy.

    Where SciPy is installed, Numba imports its linear algebra with that, to see whether there is a
    BLAS: a third of a call whose kernel is in the store. A user's compiled code that multiplies
    matrices imports it still.
    """
    if not TESTED or "scipy" not in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    linalg: Any = import_module("numba.np.linalg")
    ensure_blas = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        arraymath: Any = import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = ensure_blas
    arraymath.ensure_blas = ensure_blas


# -------------------------------------------------------------------------------------------------
# Dispatchers


def is_dispatcher(value: Any) -> bool:
    """Whether a value is the work of `njit`, and not compiled for some types alone."""
    return type(value) is CPUDispatcher and bool(value._can_compile)


def pipeline_of(dispatcher: Any) -> Any:
    """The class that compiles its function."""
    return dispatcher._compiler.pipeline_class


def options_of(dispatcher: Any) -> dict[str, Any]:
    """What `njit` was told."""
    return {**dispatcher.targetoptions, **dispatcher._compiler.locals}


def like(dispatcher: Any, function: Callable[..., Any]) -> Any:
    """Another dispatcher, of this function, that was told the same."""
    return type(dispatcher)(
        function,
        locals=dispatcher._compiler.locals,
        targetoptions=dispatcher.targetoptions.copy(),
        pipeline_class=pipeline_of(dispatcher),
    )


def compile_with(wrapper: Callable[[Any], Any], dispatcher: Any) -> None:
    """Wrap what the first call of a dispatcher from Python does."""
    dispatcher._compile_for_args = wrapper(dispatcher._compile_for_args)


def compile_untimed(dispatcher: Any) -> None:
    """Have a dispatcher compile for its callers and tell no listeners how long that takes."""

    def compile_for(types_of_arguments: tuple[Any, ...]) -> Any:
        if types_of_arguments not in dispatcher.overloads:
            with dispatcher._compiling_counter:
                dispatcher.add_overload(dispatcher._compiler.compile(types_of_arguments, None))
        return dispatcher.overloads[types_of_arguments].entry_point

    dispatcher.compile = compile_for


def keep_in(store: Any, dispatcher: Any) -> None:
    """Have a dispatcher look for its code in a store of our own, and leave it there."""
    dispatcher._cache = store


# -------------------------------------------------------------------------------------------------
# What Numba was told of functions


def rules_since(place: int) -> Iterator[tuple[Any, list[Any]]]:
    """Functions, and the rules of how their calls are typed, from a place of Numba's list on."""
    for function, kind in builtin_registry.globals[place:]:
        yield function, list(getattr(kind, "templates", ()))


def source_of(rule: Any) -> Callable[..., Any] | None:
    """The function that was given to `overload` or `type_callable`, if the rule is from there."""
    given: Callable[..., Any] | None = getattr(rule, "_overload_func", None)
    generic: Any = getattr(rule, "generic", None)
    if getattr(generic, "__module__", None) == type_callable.__module__:
        given = next(iter(inspect.getclosurevars(generic).nonlocals.values()), None)
    return given


# -------------------------------------------------------------------------------------------------
# Threads


def threading_layer() -> str:
    """The name of what runs parallel loops here; Numba finds it out when it starts the threads."""
    parallel: Any = import_module("numba.np.ufunc.parallel")
    parallel._launch_threads()  # as Numba does before its first parallel kernel
    return str(parallel.threading_layer())
