"""LLVM twins of functions in `bits.py`: single instructions, which the loop vectoriser can widen,
and windows of memory. Those that move many numbers at once are in `moves.py`.

Their docstrings are those of the plain functions.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import config, types
from numba.extending import intrinsic

from .bits import INTERLEAVED, LINE_BYTES
from .numba_api import cgutils
from .numba_api import llvm as ir
from .processor import converts_halves, fuses, is_arm
from .spans import Span, clipped, has_windows, item_bytes, memory, span_of

# Numba knows it by its identity, and takes it for `range` where it compiles for one thread.
prange = numba.prange

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


if converts_halves():

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
def float_as_bfloat(typingctx: Any, x: Any) -> Any:
    # Numba computes with 64-bit integers, which LLVM keeps here: half as many fill a vector.
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = ir.IntType(32)
        bits = builder.bitcast(args[0], number)
        upper = builder.lshr(bits, number(16))
        carried = builder.add(number(0x7FFF), builder.and_(upper, number(1)))
        rounded = builder.lshr(builder.add(bits, carried), number(16))
        quiet = builder.or_(upper, number(0x40))
        is_number = builder.fcmp_ordered("==", *args, *args)
        return builder.trunc(builder.select(is_number, rounded, quiet), ir.IntType(16))

    return types.uint16(types.float32), codegen


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    if isinstance(a, types.Integer):
        return _chosen_integer(">")
    # The vectoriser sees a maximum only if comparison and selection both exclude NaN: 0.03 ns an
    # element of a float32 row in the cache, against 1.1 for `a if a > b else b`.
    flags = ("nnan", "nsz")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        is_larger = builder.fcmp_ordered(">", *args, flags=flags)
        return builder.select(is_larger, *args, flags=flags)

    return a(a, a), codegen


@intrinsic
def smaller(typingctx: Any, a: Any, b: Any) -> Any:
    return _chosen_integer("<")


def _chosen_integer(comparison: str) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed(comparison, *args), *args)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def select(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    # Numba turns `a if condition else b` into branches, which LLVM does not always turn back; a sum
    # or a maximum over such a choice then is not vectorised (2.4 ns an element against 0.2).
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return a(types.boolean, a, a), codegen


# The additions of a sum may be done in any order.
_OF_SUMS = ("reassoc", "contract", "nsz")


@intrinsic
def accumulate(typingctx: Any, total: Any, term: Any) -> Any:
    if total != term:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args, flags=_OF_SUMS)

    return total(total, term), codegen


@intrinsic
def add_product(typingctx: Any, total: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = args[0].type
        fused = ir.FunctionType(number, [number] * 3)
        function = builder.module.declare_intrinsic("llvm.fmuladd", [number], fused)
        return builder.call(function, [*args[1:], args[0]], fastmath=_OF_SUMS)

    return total(total, total, total), codegen


@intrinsic
def less_product(typingctx: Any, x: Any, n: Any, whole: Any, high: Any, low: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, n, whole, high, low = args
        if fuses():
            return builder.fma(builder.fneg(n), whole, x)
        return builder.fsub(builder.fsub(x, builder.fmul(n, high)), builder.fmul(n, low))

    return x(x, x, x, x, x), codegen


@intrinsic
def held(typingctx: Any, x: Any) -> Any:
    in_vector_register = "=w,0" if is_arm() else "=x,0"

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = args[0].type
        nothing = ir.FunctionType(number, [number])
        return builder.asm(nothing, "", in_vector_register, args, side_effect=False)

    return x(x), codegen


@intrinsic
def count(typingctx: Any, total: Any, condition: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.add(args[0], builder.zext(args[1], args[0].type))

    return types.int32(types.int32, types.boolean), codegen


@intrinsic
def wide_vectors(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's own `add` refuses attributes that it does not know.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def aligned_stack(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        set.add(builder.function.attributes, f"alignstack({LINE_BYTES})")
        return context.get_dummy_value()

    return types.none(), codegen


def _part(context: Any, builder: Any, span: Span, data: Any, n: Any, start: Any, size: Any) -> Any:
    """The span of `size` elements from `start` on of an array of `n`."""
    if config.BOUNDSCHECK:
        size = clipped(builder, size, start, n)
    return span_of(context, builder, span, builder.gep(data, [start]), size)


_ABSENT = types.Tuple(())
_part_of_nothing = (
    _ABSENT(_ABSENT, types.int64, types.int64),
    lambda context, builder, signature, args: args[0],
)


@intrinsic
def window(typingctx: Any, array: Any, start: Any, size: Any) -> Any:
    # A slice counts a reference to the array's memory and drops it again, atomically, and compares
    # its ends with the array's: a short row pays more for that than for its exponentials.
    if array == _ABSENT:
        return _part_of_nothing
    if not has_windows(array):
        return None
    span = Span(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _part(context, builder, span, *memory(context, builder, array, args[0]), *args[1:])

    return span(array, types.int64, types.int64), codegen


@intrinsic
def windows(typingctx: Any, array: Any, size: Any, count: Any) -> Any:
    if not isinstance(count, types.IntegerLiteral):
        return None
    parts = types.UniTuple(Span(array.dtype), count.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole, size, _ = args
        data, n = memory(context, builder, array, whole)
        spans = [
            _part(context, builder, parts.dtype, data, n, builder.mul(size, size.type(k)), size)
            for k in range(parts.count)
        ]
        return context.make_tuple(builder, parts, spans)

    return parts(array, types.int64, count), codegen


@intrinsic
def elements(typingctx: Any, array: Any, start: Any, count: Any) -> Any:
    if not isinstance(count, types.IntegerLiteral) or not has_windows(array):
        return None
    found = types.UniTuple(array.dtype, count.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, n = memory(context, builder, array, args[0])
        numbers = []
        for k in range(found.count):
            place = builder.add(args[1], args[1].type(k))
            if config.BOUNDSCHECK:
                cgutils.do_boundscheck(context, builder, place, n, 0)
            numbers.append(context.unpack_value(builder, array.dtype, builder.gep(data, [place])))
        return context.make_tuple(builder, found, numbers)

    return found(array, types.int64, count), codegen


@intrinsic
def scratch(typingctx: Any, number: Any, size: Any) -> Any:
    array = types.Array(number.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        item = args[1].type(item_bytes(context, array))
        n_bytes = builder.mul(args[1], item)
        owner = context.nrt.meminfo_alloc_aligned(builder, n_bytes, LINE_BYTES)
        data = context.nrt.meminfo_data(builder, owner)
        whole = context.make_array(array)(context, builder)
        context.populate_array(
            whole,
            data=builder.bitcast(data, whole.data.type),
            shape=[args[1]],
            strides=[item],
            itemsize=item,
            meminfo=owner,
        )
        return whole._getvalue()

    return array(number, types.int64), codegen


@intrinsic
def part_of(typingctx: Any, array: Any, number: Any, size: Any) -> Any:
    # As a function it would be compiled for each type of array, at 30 ms each.
    if array == _ABSENT:
        return _part_of_nothing
    if not has_windows(array):
        return None
    span = Span(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, n = memory(context, builder, array, args[0])
        start = builder.mul(args[1], args[2])
        size = clipped(builder, args[2], start, n)
        return span_of(context, builder, span, builder.gep(data, [start]), size)

    return span(array, types.int64, types.int64), codegen


def _bytes_of(context: Any, builder: Any, array: Any, value: Any) -> tuple[Any, Any]:
    """The address of an array, and the one behind it."""
    data, n = memory(context, builder, array, value)
    start = builder.ptrtoint(data, n.type)
    return start, builder.add(start, builder.mul(n, n.type(item_bytes(context, array))))


@intrinsic
def overlaps(typingctx: Any, result: Any, read: Any, free: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = cgutils.false_bit
        if result == _ABSENT:
            return found
        start, end = _bytes_of(context, builder, result, args[0])
        others = [
            (one, builder.extract_value(args[1], i), False) for i, one in enumerate(read.types)
        ]
        # By place, as arrays that are read may have the type of the free one.
        for array, value, is_free in (*others, (free, args[2], True)):
            if array == _ABSENT:
                continue
            first, last = _bytes_of(context, builder, array, value)
            # If one of them is empty, they share nothing.
            later = builder.select(builder.icmp_unsigned(">", start, first), start, first)
            sooner = builder.select(builder.icmp_unsigned("<", end, last), end, last)
            shared = builder.icmp_unsigned("<", later, sooner)
            if is_free and array.dtype == result.dtype:
                begin = builder.icmp_unsigned("!=", start, first)
                stop = builder.icmp_unsigned("!=", end, last)
                shared = builder.and_(shared, builder.or_(begin, stop))
            found = builder.or_(found, shared)
        return found

    return types.boolean(result, read, free), codegen


@intrinsic
def disjoint(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.none(), codegen


# Of a function whose loops are `interleaved`: `fast_compile.py` tells LLVM, as the loops are not
# complete before the function is. The number is in it for the fingerprint.
INTERLEAVED_MARK = f'"fastloss-interleaved"="{INTERLEAVED}"'


@intrinsic
def interleaved(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        set.add(builder.function.attributes, INTERLEAVED_MARK)
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, start: Any, size: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, _ = memory(context, builder, array, args[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        )
        to_read, into_first_level, data_cache = number(0), number(3), number(1)
        stop = builder.add(args[1], args[2])
        step = args[1].type(LINE_BYTES // item_bytes(context, array))
        with cgutils.for_range_slice(builder, args[1], stop, step) as (i, _):
            place = builder.bitcast(builder.gep(data, [i]), byte)
            builder.call(function, [place, to_read, into_first_level, data_cache])
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), codegen


def _writeable_type(value: Any) -> Any:
    if isinstance(value, types.BaseTuple):
        return types.Tuple([_writeable_type(part) for part in value])
    return value.copy(readonly=False) if isinstance(value, types.Array) else value


@intrinsic
def writeable(typingctx: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        context.nrt.incref(builder, value, args[0])
        return args[0]

    return _writeable_type(value)(value), codegen
