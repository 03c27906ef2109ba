"""How a function is compiled, written at the function.

A function without a mark is one of the kernels, compiled with `contract` (fused multiply-add) and
`nsz` (the sign of zero is free), neither of which changes what happens to NaN and infinity. That a
sum may be added up in another order for SIMD is said of each addition, with `bits.accumulate`, and
never of a function: a small difference that is computed beside the sum would be at the compiler's
mercy. One that makes arrays is marked as `allocating`: in all others references are not counted.

The functions of losses and what they call are marked by `snapshot.py`, as a `formula`. They have
`nsz` alone: a product is fused with a sum if nothing else needs it, so with more the loss alone and
the loss beside its gradient could differ in their last bits. Numbers written in them take the
precision of the data.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

SAFE = frozenset({"contract", "nsz"})
_SAME_BITS = frozenset({"nsz"})

F = TypeVar("F", bound=Callable[..., Any])


class Manner(NamedTuple):
    """How a function is compiled."""

    flags: frozenset[str] = SAFE  # the fast-math flags of LLVM
    allocates: bool = False  # memory, whose references are counted
    weak: bool = False  # Python numbers take the precision of the arguments, as in NumPy


def manner_of(function: Callable[..., Any]) -> Manner:
    manner: Manner = getattr(function, "__manner__", Manner())
    return manner


def _marked(function: F, **manner: Any) -> F:
    function.__manner__ = manner_of(function)._replace(**manner)  # type: ignore[attr-defined]
    return function


def unfused(function: F) -> F:
    """Mark a function whose result is rounded before anything else is done with it."""
    return _marked(function, flags=_SAME_BITS)


def allocating(function: F) -> F:
    """Mark a function that makes arrays."""
    return _marked(function, allocates=True)


def formula(function: F) -> F:
    """Mark the function of a loss, or one that it calls."""
    return _marked(function, flags=_SAME_BITS, allocates=True, weak=True)


class CompilationError(Exception):
    """A function that Numba cannot compile, and why."""
