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
    infer_getattr,
    lower_builtin,
    lower_getattr,
    models,
    register_model,
)

from .numba_api import AbstractTemplate, AttributeTemplate, cgutils, infer_global, llvm


class Span(types.Type):  # type: ignore[misc]
    """`size` elements of one dtype, one behind the other."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Span({dtype})")


@register_model(Span)
class _SpanModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, span: Any) -> None:
        members = [("data", types.CPointer(span.dtype)), ("size", types.intp)]
        super().__init__(manager, span, members)


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
# For intrinsics, which take arrays and spans alike


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
