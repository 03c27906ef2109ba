"""What the function of a loss reads from outside of itself, read once.

A loss is compiled once for each verb and dtype, whenever that is first asked for, and compiled code
keeps the values that global names had then. If the function reads a global number, its value could
so be of one number and its gradient of another. Therefore a kernel, and plain Python, get a
copy of the function that refers to copies of all it reads, made when it is first asked for.

The copy also knows exactly what is read, be it through modules: `pkg.consts.K`. Fingerprints are
made of that.
"""

import builtins
import dis
import math
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from .flags import formula

# Where functions are that never change within a process: here, and the kernels.
OWN_FOLDERS = ("compiler", "kernels")
_OWN_PATHS = tuple(
    os.path.join(os.path.dirname(os.path.dirname(__file__)), folder, "") for folder in OWN_FOLDERS
)


class Part(ModuleType):
    """The part of a module that functions use."""


def is_own(function: FunctionType) -> bool:
    """Whether a function is a kernel, or a part of one."""
    return function.__code__.co_filename.startswith(_OWN_PATHS)


# Functions and what stands for them.
_taken: dict[Any, Any] = {}


def snapshot(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a loss, with all that it reads as it was when this was first asked for.

    It is marked as a formula, and so are all plain functions that it reaches, but those of kernels,
    which never change.
    """
    if not isinstance(function, FunctionType) and not _is_dispatcher(function):
        return function
    in_plain_python = _in_plain_python()
    key = function, in_plain_python
    if key in _taken:
        return _taken[key]  # type: ignore[no-any-return]
    copies = _Copies(in_plain_python)
    copy = copies.of(function)
    if not copies.lacking:
        return _taken.setdefault(key, copy)  # type: ignore[no-any-return]
    # A name that is not there yet may be there at the next try, or when Python comes to it.
    return function if in_plain_python else copy


def _as_compiled(ufunc: Any) -> Callable[..., Any]:
    def call(*numbers: Any) -> Any:
        result = ufunc(*numbers)
        return result if any(isinstance(x, np.generic) for x in numbers) else result.item()

    return call


# Functions of `math` raise where compiled code goes on with NaN and infinity, and return float64
# where compiled code has float32: what stands for them in plain Python.
_FOR_MATH = {
    id(function): _as_compiled(ufunc)
    for name, function in vars(math).items()
    if isinstance(ufunc := getattr(np, name, None), np.ufunc)
    and name not in ("floor", "ceil", "trunc", "gcd", "lcm")  # whole numbers
}


class _Copies:
    def __init__(self, in_plain_python: bool) -> None:
        self.in_plain_python = in_plain_python
        self.made: dict[int, Any] = {}
        self.lacking = False

    def of(self, value: Any) -> Any:
        if id(value) in self.made:
            return self.made[id(value)]
        if self.in_plain_python and id(value) in _FOR_MATH:
            return _FOR_MATH[id(value)]
        if isinstance(value, FunctionType):
            if is_own(value) or name_of(value) or is_extended(value):
                return value
            copy = self.made[id(value)] = _blank(value)
            self._fill(copy, value)
            return formula(copy)
        if _is_dispatcher(value):
            copy = _blank(value.py_func)
            self.made[id(value)] = dispatcher = _numba_api().like(value, copy)
            self._fill(copy, value.py_func)
            return dispatcher
        if isinstance(value, tuple):
            parts = map(self.of, value)
            if type(value) is tuple:
                return tuple(parts)
            return type(value)._make(parts) if hasattr(value, "_make") else value
        if type(value) is np.ndarray:
            numbers = value.copy(order="K")
            numbers.flags.writeable = False
            return numbers
        return value

    def _fill(self, copy: FunctionType, function: FunctionType) -> None:
        """Let a blank copy refer to copies of what the function refers to."""
        uses = _uses(function.__code__)
        scope, everywhere = function.__globals__, vars(builtins)
        for name, chains in uses.items():
            if name in scope:
                copy.__globals__[name] = self._used(scope[name], chains)
            elif name not in everywhere and name not in _own_names(function.__code__):
                self.lacking = True
        for name, own, cell in zip(
            function.__code__.co_freevars,
            copy.__closure__ or (),
            function.__closure__ or (),
            strict=True,
        ):
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                self.lacking = True
            else:
                own.cell_contents = self._used(value, uses.get(name, frozenset({()})))
        if function.__defaults__:
            copy.__defaults__ = tuple(map(self.of, function.__defaults__))
        if function.__kwdefaults__:
            named = function.__kwdefaults__
            copy.__kwdefaults__ = {name: self.of(value) for name, value in named.items()}

    def _used(self, value: Any, chains: frozenset[tuple[str, ...]]) -> Any:
        """A copy of a value; of a module, only of the chains of attributes that are asked for."""
        if not isinstance(value, ModuleType) or () in chains:
            return self.of(value)
        known = is_versioned(value) and not (self.in_plain_python and value is math)
        if known and not any(is_extended(_end(value, chain)) for chain in chains):
            return value
        part = Part(value.__name__)
        for name in {chain[0] for chain in chains}:
            further = frozenset(chain[1:] for chain in chains if chain[0] == name)
            if hasattr(value, name):
                setattr(part, name, self._used(getattr(value, name), further))
            else:
                self.lacking = True
        return part


def _end(value: Any, chain: tuple[str, ...]) -> Any:
    for name in chain:
        value = getattr(value, name, None)
    return value


def _blank(function: FunctionType) -> FunctionType:
    """A copy that refers to nothing yet."""
    code, scope = function.__code__, function.__globals__
    kept: dict[str, Any] = {}
    for name in ("__builtins__", "__name__"):
        if name in scope:
            kept[name] = scope[name]
    cells = tuple(CellType() for _ in code.co_freevars)
    copy = FunctionType(code, kept, function.__name__, None, cells)
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    copy.__dict__.update(function.__dict__)
    return copy


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """The code of a function and of those that are written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def _own_names(code: CodeType) -> set[str]:
    """The variables of functions that others, written inside them, read."""
    return {name for each in codes_in(code) for name in each.co_cellvars}


_ROOTS = frozenset({"LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_NAME"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})


@cache
def _uses(code: CodeType) -> dict[str, frozenset[tuple[str, ...]]]:
    """The outer names that code uses, each with the chains of attributes behind it: () is none."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for each in codes_in(code):
        root, chain = "", []
        for step in [*dis.get_instructions(each), None]:
            if step is not None and step.opname == "EXTENDED_ARG":
                continue
            if root and step is not None and step.opname in _ATTRIBUTES:
                chain.append(step.argval)
                continue
            if root:
                found.setdefault(root, set()).add(tuple(chain))
            is_root = step is not None and step.opname in _ROOTS
            root, chain = step.argval if step is not None and is_root else "", []
    return {name: frozenset(chains) for name, chains in found.items()}


# ---------------------------------------------------------------------------------------------
# What belongs to Python, NumPy and Numba, whose versions are known


@cache
def _folders(of_numba: bool) -> tuple[str, ...]:
    """Where their files lie; Numba's folder is known once it has been imported."""
    files = [os.__file__, np.__file__, getattr(math, "__file__", None)]
    if of_numba:
        files += [sys.modules[name].__file__ for name in ("numba", "llvmlite")]
    return tuple(os.path.dirname(file) + os.sep for file in files if file)


def _is_in_folders(file: str) -> bool:
    """Whether a file is theirs; a user's may have the name of one of Python's."""
    insides = [
        file[len(folder) :].split(os.sep)
        for folder in _folders(_numba() is not None)
        if file.startswith(folder)
    ]
    # What is installed may lie inside Python's own folder.
    return any({"site-packages", "dist-packages"}.isdisjoint(inside) for inside in insides)


def is_versioned(module: Any) -> bool:
    """Whether a module is theirs."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return isinstance(origin, str) and (origin in ("built-in", "frozen") or _is_in_folders(origin))


_names: dict[int, tuple[Any, str | None]] = {}


def name_of(value: Any) -> str | None:
    """The name under which one of their modules holds a value, or None."""
    if id(value) not in _names:
        _names[id(value)] = value, _find_name(value)  # as long as it is here, no other has its id
    return _names[id(value)][1]


def _find_name(value: Any) -> str | None:
    if isinstance(value, np.ufunc):
        module, name = "numpy", value.__name__
    elif callable(value):
        module = getattr(value, "__module__", None) or ""
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or ""
    else:
        return None
    held = sys.modules.get(module) if isinstance(module, str) else None
    if not isinstance(name, str) or not is_versioned(held):
        return None
    for part in name.split("."):
        held = getattr(held, part, None)
    return f"{module}.{name}" if held is value else None


# ---------------------------------------------------------------------------------------------
# What Numba knows of functions, if it has been imported


def _numba() -> Any:
    """Numba; None if it has not been imported. What another thread imports is waited for."""
    return import_module("numba") if "numba" in sys.modules else None


def _in_plain_python() -> bool:
    numba = _numba()
    return numba is not None and bool(numba.config.DISABLE_JIT)


def _numba_api() -> Any:
    """What is known of Numba; None if it has not been imported."""
    return None if _numba() is None else import_module(".numba_api", __package__)


def _is_dispatcher(value: Any) -> bool:
    numba_api = _numba_api()
    return numba_api is not None and numba_api.is_dispatcher(value)


# The rules of how Numba types calls, by the id of what is called; and how many of them are here.
_told: dict[int, list[Any]] = {}
_n_told = 0


def is_extended(value: Any) -> bool:
    """Whether somebody else told Numba what to make of a function, as `overload` does."""
    global _n_told
    numba_api = _numba_api()
    if numba_api is None:
        return False
    for told, rules in numba_api.rules_since(_n_told):
        _told.setdefault(id(told), []).extend(rules)
        _n_told += 1
    return not all(map(_is_numbas, _told.get(id(value), ())))


def _is_numbas(rule: Any) -> bool:
    """Whether a typing rule was written for Numba."""
    function = _numba_api().source_of(rule)
    if function is not None:
        return _is_in_folders(function.__code__.co_filename)
    return all(is_versioned(sys.modules.get(each.__module__)) for each in rule.__mro__)
