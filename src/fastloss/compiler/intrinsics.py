"""LLVM twins of functions in `bits.py`: single instructions, which the loop vectoriser can widen.

Their docstrings are those of the plain functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
from numba import config, types
from numba.extending import intrinsic

from .bits import INTERLEAVED, LINE_BYTES, PAIRS
from .numba_api import cgutils
from .numba_api import llvm as ir
from .processor import converts_halves
from .spans import Span, clipped, memory, span_of

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


@intrinsic
def accumulate(typingctx: Any, total: Any, term: Any) -> Any:
    if total != term:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args, flags=("reassoc", "contract", "nsz"))

    return total(total, term), codegen


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


def _item_bytes(context: Any, array: Any) -> int:
    return int(context.get_abi_sizeof(context.get_data_type(array.dtype)))


@intrinsic
def scratch(typingctx: Any, number: Any, size: Any) -> Any:
    array = types.Array(number.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        item = args[1].type(_item_bytes(context, array))
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
    span = Span(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, n = memory(context, builder, array, args[0])
        start = builder.mul(args[1], args[2])
        size = clipped(builder, args[2], start, n)
        return span_of(context, builder, span, builder.gep(data, [start]), size)

    return span(array, types.int64, types.int64), codegen


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
        step = args[1].type(LINE_BYTES // _item_bytes(context, array))
        with cgutils.for_range_slice(builder, args[1], stop, step) as (i, _):
            place = builder.bitcast(builder.gep(data, [i]), byte)
            builder.call(function, [place, to_read, into_first_level, data_cache])
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), codegen


@intrinsic
def stream(typingctx: Any, source: Any, out: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, _ = memory(context, builder, source, args[0])
        target, n = memory(context, builder, out, args[1])
        integer = n.type
        item = _item_bytes(context, out)
        lanes = LINE_BYTES // item
        line = ir.VectorType(context.get_data_type(out.dtype), lanes).as_pointer()
        flag = builder.module.add_metadata([ir.IntType(32)(1)])

        def copy_singly(start: Any, stop: Any) -> None:
            with cgutils.for_range_slice(builder, start, stop, integer(1)) as (i, _):
                number = builder.load(builder.gep(data, [i]))
                builder.store(number, builder.gep(target, [i]))

        # Streaming stores exist for aligned vectors only: whole lines, with loose ends around.
        address = builder.ptrtoint(target, integer)
        to_line = builder.and_(builder.neg(address), integer(LINE_BYTES - 1))
        head = builder.udiv(to_line, integer(item))
        head = builder.select(builder.icmp_unsigned("<", head, n), head, n)
        whole = builder.and_(builder.sub(n, head), integer(-lanes))
        tail = builder.add(head, whole)
        copy_singly(integer(0), head)
        with cgutils.for_range_slice(builder, head, tail, integer(lanes)) as (i, _):
            place = builder.bitcast(builder.gep(data, [i]), line)
            numbers = builder.load(place, align=item)
            place = builder.bitcast(builder.gep(target, [i]), line)
            store = builder.store(numbers, place, align=LINE_BYTES)
            store.set_metadata("nontemporal", flag)
        copy_singly(tail, n)
        return context.get_dummy_value()

    return types.none(source, out), codegen


@intrinsic
def settle(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), codegen


def _vector(context: Any, builder: Any, array: Any, data: Any, start: Any, size: int) -> Any:
    """A pointer to so many numbers, taken as a vector."""
    vector = ir.VectorType(context.get_data_type(array.dtype), size)
    return builder.bitcast(builder.gep(data, [start]), vector.as_pointer())


def _lanes(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    """A vector of some numbers of two, those of the second being counted on from the first."""
    kind = ir.VectorType(ir.IntType(32), len(places))
    return builder.shuffle_vector(a, b, ir.Constant(kind, places))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Rows as columns, by swapping off-diagonal blocks of 1, 2, 4 ... numbers between rows.

    On AVX-512 a 16 x 16 square takes 64 shuffles, most of them within 128 bits: 0.55 ns for a row
    of 10 numbers, against 0.73 with rounds of zip, which are fewer lines.
    """
    side = len(rows)
    block = 1
    while block < side:
        # Lane j of a pair of rows (i, i + block); lanes of the second row count from `side`.
        first = [side + j - block if j & block else j for j in range(side)]
        second = [side + j if j & block else j + block for j in range(side)]
        swapped = list(rows)
        for i in range(side):
            if not i & block:
                a, b = rows[i], rows[i + block]
                swapped[i] = _lanes(builder, a, b, first)
                swapped[i + block] = _lanes(builder, a, b, second)
        rows = swapped
        block *= 2
    return rows


@intrinsic
def transpose(
    typingctx: Any,
    source: Any,
    start: Any,
    step: Any,
    target: Any,
    first: Any,
    stride: Any,
    side: Any,
) -> Any:
    if not isinstance(side, types.IntegerLiteral):
        return None
    n = side.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        item = _item_bytes(context, source)

        def places(array: Any, whole: Any, start: Any, step: Any) -> Iterator[Any]:
            data, _ = memory(context, builder, array, whole)
            for i in range(n):
                offset = builder.add(start, builder.mul(step, step.type(i)))
                yield _vector(context, builder, array, data, offset, n)

        rows = [builder.load(place, align=item) for place in places(source, *args[:3])]
        columns = _transposed(builder, rows)
        for column, place in zip(columns, places(target, *args[3:6]), strict=True):
            builder.store(column, place, align=item)
        return context.get_dummy_value()

    index = types.int64
    return types.none(source, index, index, target, index, index, side), codegen


def _move_pairs(source: Any, target: Any, splitting: bool) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given, _ = memory(context, builder, source, args[0])
        data, _ = memory(context, builder, target, args[1])
        item, n = _item_bytes(context, source), args[2]

        def load(start: Any, size: int) -> Any:
            return builder.load(_vector(context, builder, source, given, start, size), align=item)

        def store(numbers: Any, start: Any, size: int) -> None:
            place = _vector(context, builder, target, data, start, size)
            builder.store(numbers, place, align=item)

        with cgutils.for_range_slice(builder, n.type(0), n, n.type(PAIRS)) as (i, _):
            whole, behind = builder.add(i, i), builder.add(i, n)
            if splitting:
                pairs = load(whole, 2 * PAIRS)
                for k, half in enumerate((i, behind)):
                    every_second = list(range(k, 2 * PAIRS, 2))
                    store(_lanes(builder, pairs, pairs, every_second), half, PAIRS)
            else:
                in_turn = [place for k in range(PAIRS) for place in (k, PAIRS + k)]
                first, second = load(i, PAIRS), load(behind, PAIRS)
                store(_lanes(builder, first, second, in_turn), whole, 2 * PAIRS)
        return context.get_dummy_value()

    return types.none(source, target, types.int64), codegen


@intrinsic
def split_pairs(typingctx: Any, source: Any, target: Any, n: Any) -> Any:
    return _move_pairs(source, target, True)


@intrinsic
def join_pairs(typingctx: Any, source: Any, target: Any, n: Any) -> Any:
    return _move_pairs(source, target, False)


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
