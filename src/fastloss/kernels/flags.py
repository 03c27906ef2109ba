"""Which liberties the compiler may take with the floating-point arithmetic of a function.

Every function of the kernels is compiled with `contract` (fused multiply-add) and `nsz` (the sign
of zero is free). Neither changes what happens to NaN and infinity. That a sum may be added up in
another order for SIMD is said of each addition, with `bits.accumulate`, and never of a function: a
small difference that is computed beside the sum would be at the compiler's mercy.

The scalar functions of losses have `nsz` alone. A product is fused with a sum if nothing else needs
it, so with more the loss alone and the loss beside its gradient could differ in their last bits.
"""

from collections.abc import Callable
from typing import Any, TypeVar

SAFE = frozenset({"contract", "nsz"})
_SAME_BITS = frozenset({"nsz"})
_PACKAGE = __name__.rpartition(".")[0]

F = TypeVar("F", bound=Callable[..., Any])


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
