"""LLVM twins of functions in `bits.py`: single instructions, which the loop vectoriser can widen.

Their docstrings are those of the plain functions.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba.core import config, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

_WIDTH_TWIN: dict[Any, Any] = {
    types.float32: types.int32,
    types.float64: types.int64,
    types.int32: types.float32,
    types.int64: types.float64,
}


def _bitcast(typingctx: Any, value: Any) -> Any:
    if value not in _WIDTH_TWIN:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return _WIDTH_TWIN[value](value), codegen


@intrinsic
def float_as_int(typingctx: Any, x: Any) -> Any:
    return _bitcast(typingctx, x)


@intrinsic
def int_as_float(typingctx: Any, i: Any) -> Any:
    return _bitcast(typingctx, i)


@intrinsic
def int_like(typingctx: Any, i: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], i, signature.return_type)

    return _WIDTH_TWIN[x](i, x), codegen


def _converts_halves() -> bool:
    """Whether the processor converts halves; if not, LLVM calls a function that is not there."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return True
    features = config.CPU_FEATURES
    if features is None:
        features = binding.get_host_cpu_features().flatten()
    return "+f16c" in features


if _converts_halves():

    @intrinsic
    def half_as_float(typingctx: Any, h: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

        return types.float32(types.uint16), codegen

    @intrinsic
    def float_as_half(typingctx: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

        return types.uint16(types.float32), codegen


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    # The vectoriser sees a maximum only if comparison and selection both exclude NaN: 0.03 ns an
    # element of a float32 row in the cache, against 1.1 for `a if a > b else b`.
    flags = ("nnan", "nsz")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        is_larger = builder.fcmp_ordered(">", *args, flags=flags)
        return builder.select(is_larger, *args, flags=flags)

    return a(a, a), codegen


@intrinsic
def select(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    # Numba turns `a if condition else b` into branches, which LLVM does not always turn back; a sum
    # or a maximum over such a choice then is not vectorised (2.4 ns an element against 0.2).
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return a(types.boolean, a, a), codegen


@intrinsic
def wide_vectors(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's own `add` refuses attributes that it does not know.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), codegen


def _view(context: Any, builder: Any, array: Any, whole: Any, start: Any, size: Any) -> Any:
    part = make_array(array)(context, builder)
    populate_array(
        part,
        data=builder.gep(whole.data, [start]),
        shape=[size],
        strides=[whole.itemsize],
        itemsize=whole.itemsize,
        meminfo=None,
    )
    return part._getvalue()


@intrinsic
def window(typingctx: Any, array: Any, start: Any, size: Any) -> Any:
    # A slice counts a reference to the array's memory and drops it again, atomically, and compares
    # its ends with the array's: a short row pays more for that than for its exponentials.
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = make_array(array)(context, builder, args[0])
        return _view(context, builder, array, whole, args[1], args[2])

    return array(array, types.int64, types.int64), codegen


@intrinsic
def part_of(typingctx: Any, array: Any, number: Any, size: Any) -> Any:
    # As a function it would be compiled for each type of array, at 30 ms each.
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = make_array(array)(context, builder, args[0])
        start = builder.mul(args[1], args[2])
        left = builder.sub(whole.nitems, start)
        left = builder.select(builder.icmp_signed("<", left, args[2]), left, args[2])
        none = left.type(0)
        left = builder.select(builder.icmp_signed("<", left, none), none, left)
        return _view(context, builder, array, whole, start, left)

    return array(array, types.int64, types.int64), codegen
