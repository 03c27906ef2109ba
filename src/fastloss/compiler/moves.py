"""LLVM twins of functions in `bits.py` that move many numbers at once, past the caches or across.

Their docstrings are those of the plain functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numba import types
from numba.extending import intrinsic

from .bits import LINE_BYTES, PAIRS
from .numba_api import cgutils
from .numba_api import llvm as ir
from .spans import item_bytes, memory


@intrinsic
def stream(typingctx: Any, source: Any, out: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, _ = memory(context, builder, source, args[0])
        target, n = memory(context, builder, out, args[1])
        integer = n.type
        item = item_bytes(context, out)
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
    """A vector of some numbers of two others; those of the second count on from the first."""
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
        item = item_bytes(context, source)

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
        item, n = item_bytes(context, source), args[2]

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
