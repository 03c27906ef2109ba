"""What a window of an array is in compiled code: an address and a number of elements.

Numba's own arrays are seven numbers, and each element asks whether its index counts from the end.
Kernels hand dozens of windows from function to function; as addresses and lengths they compile in
five sixths of the time. Indices are not negative and not checked, unless Numba is told to check
bounds: then a window also ends where its array does, as a slice would.
"""

from __future__ import annotations

import operator
from typing import Any

from numba import config, types
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_builtin,
    lower_cast,
    lower_getattr,
    models,
    register_model,
    unbox,
)

from .numba_api import (
    AbstractTemplate,
    AttributeTemplate,
    Conversion,
    cgutils,
    infer_global,
    llvm,
    llvm_binding,
)


class Span(types.Type):  # type: ignore[misc]
    """`size` elements of one dtype, one behind the other."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"{type(self).__name__}({dtype})")

    def can_convert_to(self, typingctx: Any, other: Any) -> Any:
        """Whether compiled code may hand it to a kernel: Numba asks no array if it is writeable."""
        alike = isinstance(other, Span) and other.dtype == self.dtype
        return Conversion.safe if alike else None


class WrittenSpan(Span):
    """One that is made of an array which must be writeable."""


@register_model(WrittenSpan)
@register_model(Span)
class _SpanModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, span: Any) -> None:
        members = [("data", types.CPointer(span.dtype)), ("size", types.intp)]
        super().__init__(manager, span, members)


@lower_cast(Span, Span)
def _as_other_span(context: Any, builder: Any, span: Any, other: Any, value: Any) -> Any:
    return value


@infer_getattr
class _Attributes(AttributeTemplate):  # type: ignore[misc]
    key = Span

    def resolve_size(self, span: Any) -> Any:
        return types.intp

    def resolve_dtype(self, span: Any) -> Any:
        return types.DType(span.dtype)


@lower_getattr(Span, "size")
def _size(context: Any, builder: Any, span: Any, value: Any) -> Any:
    return builder.extract_value(value, 1)


@lower_getattr(Span, "dtype")
def _dtype(context: Any, builder: Any, span: Any, value: Any) -> Any:
    return context.get_dummy_value()


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        span, index = args
        if isinstance(span, Span) and isinstance(index, types.Integer):
            return span.dtype(span, types.intp)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        span, index, _ = args
        if isinstance(span, Span) and isinstance(index, types.Integer):
            return types.none(span, types.intp, span.dtype)
        return None


def _place(context: Any, builder: Any, span: Any, value: Any, index: Any) -> Any:
    data, size = memory(context, builder, span, value)
    if config.BOUNDSCHECK:
        cgutils.do_boundscheck(context, builder, index, size, 0)
    return builder.gep(data, [index], inbounds=True)


@lower_builtin(operator.getitem, Span, types.intp)
def _getitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    span = sig.args[0]
    return context.unpack_value(builder, span.dtype, _place(context, builder, span, *args))


@lower_builtin(operator.setitem, Span, types.intp, types.Any)
def _setitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    span = sig.args[0]
    place = _place(context, builder, span, *args[:2])
    context.pack_value(builder, span.dtype, args[2], place)
    return context.get_dummy_value()


# -------------------------------------------------------------------------------------------------
# From Python

# What an array of NumPy begins with, as compiled extensions read it, too.
_ARRAY = llvm.LiteralStructType(
    [
        llvm.ArrayType(llvm.IntType(8), object.__basicsize__ - tuple.__itemsize__),
        llvm.IntType(8).as_pointer(),  # its type
        llvm.IntType(8).as_pointer(),  # the first element
        llvm.IntType(32),  # the number of axes
        llvm.IntType(64).as_pointer(),  # how long they are
        *[llvm.IntType(8).as_pointer()] * 3,  # strides, base, dtype
        llvm.IntType(32),  # flags
    ]
)
_TYPE, _DATA, _N_AXES, _SHAPE, _FLAGS = 1, 2, 3, 4, 8
# C-contiguous, aligned and writeable, as bits of the flags.
_PLAIN, _WRITEABLE = 0x1 | 0x100, 0x400


# What says that an array is not as a kernel takes it.
UNFIT = "an array is not contiguous, aligned or writeable"
llvm_binding.add_symbol("PyLong_Type", id(int))
# How many elements there are where none but an address is given: as many as one likes.
_ENDLESS = 1 << 60


@unbox(WrittenSpan)
@unbox(Span)
def _span_from_python(span: Any, given: Any, c: Any) -> Any:
    """All elements of an array of any shape, if they lie one behind the other; else BufferError.

    Who calls sees to it that it is an array of this dtype, or an address, of a plain `int`, where
    there are as many elements as the kernel takes. Numba's own arrays take ten times as long: their
    memory is counted, and they have a shape, so that others must be made first.
    """
    builder, number = c.builder, llvm.IntType(64)
    pointer = c.context.get_value_type(types.CPointer(span.dtype))
    data = cgutils.alloca_once(builder, pointer)
    size = cgutils.alloca_once_value(builder, number(_ENDLESS))
    is_unfit = cgutils.alloca_once_value(builder, cgutils.false_bit)
    members = builder.bitcast(given, _ARRAY.as_pointer())

    def member(place: int) -> Any:
        return builder.load(cgutils.gep_inbounds(builder, members, 0, place))

    int_type = c.context.get_c_value(builder, llvm.IntType(8), "PyLong_Type")
    is_address = builder.icmp_unsigned("==", member(_TYPE), int_type)
    with builder.if_else(is_address, likely=False) as (is_int, is_array):
        with is_int:
            address = c.pyapi.long_as_voidptr(given)
            builder.store(builder.bitcast(address, pointer), data)
        with is_array:
            builder.store(builder.bitcast(member(_DATA), pointer), data)
            builder.store(number(1), size)
            shape = member(_SHAPE)
            with cgutils.for_range(builder, builder.zext(member(_N_AXES), number)) as loop:
                length = builder.load(builder.gep(shape, [loop.index]))
                builder.store(builder.mul(builder.load(size), length), size)
            needed = llvm.IntType(32)(_PLAIN | (_WRITEABLE if type(span) is WrittenSpan else 0))
            has = builder.and_(member(_FLAGS), needed)
            with builder.if_then(builder.icmp_unsigned("!=", has, needed), likely=False):
                c.pyapi.err_set_string("PyExc_BufferError", UNFIT)
                builder.store(cgutils.true_bit, is_unfit)
    whole = span_of(c.context, builder, span, builder.load(data), builder.load(size))
    return NativeValue(whole, is_error=builder.load(is_unfit))


# -------------------------------------------------------------------------------------------------
# For intrinsics, which take arrays and spans alike


def has_windows(array: Any) -> bool:
    """Whether a type is that of elements that lie one behind the other."""
    return isinstance(array, Span) or (
        isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    )


def memory(context: Any, builder: Any, array: Any, value: Any) -> tuple[Any, Any]:
    """Where the first element of a contiguous array or a span is, and how many there are."""
    if isinstance(array, Span):
        return builder.extract_value(value, 0), builder.extract_value(value, 1)
    whole = context.make_array(array)(context, builder, value)
    return whole.data, whole.nitems


def span_of(context: Any, builder: Any, span: Any, data: Any, size: Any) -> Any:
    empty = context.get_value_type(span)(llvm.Undefined)
    return builder.insert_value(builder.insert_value(empty, data, 0), size, 1)


def clipped(builder: Any, size: Any, start: Any, whole: Any) -> Any:
    """As many of `size` elements from `start` on as a whole has: none, if it ends before."""
    none = size.type(0)
    left = builder.sub(whole, start)
    left = builder.select(builder.icmp_signed("<", left, size), left, size)
    return builder.select(builder.icmp_signed("<", left, none), none, left)


def item_bytes(context: Any, array: Any) -> int:
    return int(context.get_abi_sizeof(context.get_data_type(array.dtype)))
