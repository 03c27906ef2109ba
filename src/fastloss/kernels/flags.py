"""Which liberties the compiler may take with the floating-point arithmetic of a function.

Every function of the kernels is compiled with `contract` (fused multiply-add), `nsz` (the sign of
zero is free) and `arcp` (x / y may become x * (1 / y)). None of them changes what happens to NaN
and infinity. A function whose sums may be reordered for SIMD says so with `@fastmath("reassoc")`;
compensated sums and the magic-number rounding of `scalar.py` must not have it.

The scalar functions of losses have `nsz` alone. A product is fused with a sum if nothing else needs
it, so with more the loss alone and the loss beside its gradient could differ in their last bits.
"""

from collections.abc import Callable
from typing import Any, TypeVar

SAFE = frozenset({"contract", "nsz", "arcp"})
_SAME_BITS = frozenset({"nsz"})
_PACKAGE = __name__.rpartition(".")[0]

F = TypeVar("F", bound=Callable[..., Any])


def fastmath(*flags: str) -> Callable[[F], F]:
    """Mark a function for compilation with these LLVM fast-math flags besides the safe ones."""

    def mark(function: F) -> F:
        function.__fastmath__ = SAFE | set(flags)  # type: ignore[attr-defined]
        return function

    return mark


def unfused(function: F) -> F:
    """Mark a function whose result is rounded before anything else is done with it."""
    function.__fastmath__ = _SAME_BITS  # type: ignore[attr-defined]
    return function


def flags_of(function: Callable[..., Any]) -> set[str]:
    """The fast-math flags that `function` is compiled with."""
    ours = (function.__module__ or "").startswith(_PACKAGE)
    return set(getattr(function, "__fastmath__", SAFE if ours else _SAME_BITS))


class CompilationError(Exception):
    """A function that Numba cannot compile, and why."""
