"""How Numba types the numbers of a scalar function of float32: as Python and NumPy 2 have it.

Numba types `0.5 * float32` and `1 - float32` as float64, which halves the width of SIMD. Under
NumPy's rule (NEP 50) a Python number is weak: beside a NumPy number it takes that one's precision,
while Python numbers among themselves keep their own. So here a Python float has a type of its own,
computed as float64 until it meets a number of the data; whole numbers stay whole among themselves,
as they count, index and shift; and either beside a float32 is float32.

Not told apart from Python's are the results of comparisons, of `np.sqrt(2)` and of `np.int64(y)`:
NumPy has them make float64 of a float32 beside them, and here they are weak, too.
"""

import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import TypingError, types
from numba.extending import models, register_model

from .numba_api import (
    BaseContext,
    Conversion,
    is_dispatcher,
    llvm,
    lower_constant,
    pipeline_of,
)


class _WeakFloat(types.Float):  # type: ignore[misc]
    """A Python float, in the memory of a float64; Numba casts it as it does other floats."""

    def __init__(self) -> None:
        types.Number.__init__(self, "weak_float")
        self.bitwidth = 64

    def __str__(self) -> str:
        return "float64"  # as Numba asks NumPy for the dtype of this name, for arrays of such

    def can_convert_to(self, context: Any, other: Any) -> Any:
        return Conversion.unsafe if isinstance(other, types.Float) else None

    def can_convert_from(self, context: Any, other: Any) -> Any:
        return Conversion.safe if isinstance(other, (types.Boolean, types.Integer)) else None


@register_model(_WeakFloat)
class _WeakFloatModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, llvm.DoubleType())


@lower_constant(_WeakFloat)  # type: ignore[untyped-decorator]
def _constant(context: Any, builder: Any, kind: Any, value: float) -> Any:
    return context.get_constant(types.float64, value)


_weak_float = _WeakFloat()
# What has no precision of its own.
_WEAK = (_WeakFloat, types.Integer, types.Boolean, types.NoneType)
_COMPARISONS = {operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne}


def has_weak_numbers(arguments: Any) -> bool:
    """Whether a function of such arguments is a formula, not a loop over arrays."""

    def is_number(kind: Any) -> bool:
        if isinstance(kind, types.BaseTuple):
            return all(map(is_number, kind.types))
        return isinstance(types.unliteral(kind), (types.Number, types.Boolean))

    return any(isinstance(each, types.Float) for each in arguments) or all(
        map(is_number, arguments)
    )


def _replaced(kind: Any, change: Any) -> Any:
    """A type with `change` done to each number of it."""
    if isinstance(kind, types.BaseTuple):
        changed = [_replaced(part, change) for part in kind.types]
        return types.BaseTuple.from_types(changed, getattr(kind, "instance_class", None))
    return change(kind)


def _parts(kind: Any) -> list[Any]:
    """The types of the numbers of a type."""
    if isinstance(kind, types.BaseTuple):
        return [number for part in kind.types for number in _parts(part)]
    return [kind.dtype if isinstance(kind, types.Array) else types.unliteral(kind)]


def _weakened(kind: Any) -> Any:
    return _replaced(kind, lambda number: _weak_float if number == types.float64 else number)


def strong(kind: Any) -> Any:
    return _replaced(kind, lambda number: types.float64 if number == _weak_float else number)


def _of_value(value: Any, kind: Any) -> Any:
    """The type of a constant, which Numba takes for `kind`: one of Python's own floats is weak."""
    if type(value) is float:
        return _weak_float
    if isinstance(value, tuple) and isinstance(kind, types.BaseTuple):
        changed = [_of_value(*pair) for pair in zip(value, kind.types, strict=True)]
        return types.BaseTuple.from_types(changed, getattr(kind, "instance_class", None))
    return kind


class WeakTypes:
    """The typing context, but for weak numbers."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_value_type(self, value: Any) -> Any:
        return _of_value(value, self._context.resolve_value_type(value))

    def resolve_getattr(self, kind: Any, name: str) -> Any:
        found = self._context.resolve_getattr(kind, name)
        if found is not None and isinstance(kind, types.Module):
            return _of_value(getattr(kind.pymod, name), found)
        return found

    def unify_types(self, *kinds: Any) -> Any:
        unified = kinds[0]
        for kind in kinds[1:]:
            if unified is not None:
                unified = self.unify_pairs(unified, kind)
        return unified

    def unify_pairs(self, first: Any, second: Any) -> Any:
        a, b = types.unliteral(first), types.unliteral(second)
        for weak, other in ((a, b), (b, a)):
            if weak == _weak_float and isinstance(other, (types.Float, types.Integer)):
                return other if isinstance(other, types.Float) else weak
            if isinstance(weak, types.Integer) and isinstance(other, types.Float):
                return other
        # Numba's own, which asks this context for the parts of tuples.
        return BaseContext.unify_pairs(self, first, second)

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        if isinstance(function, types.NumberClass) or knows_weak_numbers(function):
            return self._context.resolve_function_type(function, args, kws)
        parts = {number for kind in (*args, *kws.values()) for number in _parts(kind)}
        single = types.float32 in parts and types.float64 not in parts

        def resolve(weak: tuple[type, ...]) -> Any:
            """What Numba finds if weak numbers of these types become those that they meet."""

            def change(number: Any) -> Any:
                if not isinstance(types.unliteral(number), weak):
                    return number
                return types.float32 if single else types.float64

            changed = tuple(_replaced(kind, change) for kind in args)
            changed_kws = {name: _replaced(kind, change) for name, kind in kws.items()}
            return self._context.resolve_function_type(function, changed, changed_kws)

        if single and any(isinstance(number, types.Integer) for number in parts):
            return self._beside_whole_numbers(function, resolve)
        signature = resolve((_WeakFloat,))
        if signature is not None and all(isinstance(number, _WEAK) for number in parts):
            return signature.replace(return_type=_weakened(signature.return_type))
        return signature

    def _beside_whole_numbers(self, function: Any, resolve: Callable[..., Any]) -> Any:
        """The signature of a function of whole numbers and of float32."""
        signature = None
        if function not in _COMPARISONS:
            # Exponents and places stay whole: functions that want them take them as they are.
            with suppress(TypingError):
                signature = resolve((_WeakFloat,))
        if signature is None or types.float64 in _parts(signature.return_type):
            return resolve((_WeakFloat, types.Integer))
        return signature


def knows_weak_numbers(function: Any) -> bool:
    """Whether a function is one that is compiled with weak numbers, too."""
    dispatcher = getattr(function, "dispatcher", None)
    return is_dispatcher(dispatcher) and pipeline_of(dispatcher) in _compilers


_compilers: set[Any] = set()


def compiles_weak_numbers(compiler: Any) -> Any:
    """Mark a compiler class that takes weak numbers as arguments."""
    _compilers.add(compiler)
    return compiler
