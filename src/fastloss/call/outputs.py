"""Where the results of a call go: arrays that the user gave, once they are checked, or new ones."""

from typing import Any

import numpy as np

from .arrays import Array, Format, is_masked
from .family import Family
from .operands import Operand, canonical
from .plan import Call, Inputs


def outputs(
    family: Family,
    call: Call,
    inputs: Inputs,
    losses: Array | None,
    grad: Array | None,
    hess: Array | None,
) -> tuple[Array | None, Array | None, Array | None, tuple[Operand, ...]]:
    """Losses, gradient and Hessian, each None if it is not asked for; and all as kernels take them.

    Raises for a given array that cannot be written, or overlaps what is read.
    """
    plan, names = call.plan, family.traits.names
    form, written = plan.form, plan.derivatives
    order: Any = "F" if form.class_major else "C"
    to_losses: Operand = ()
    to_grad: Operand = ()
    to_hess: Operand = ()
    if form.per_sample:
        shape = call.batch.sample_shape
        if form.scored:
            shape = *shape, form.n_results
        losses = _fit(losses, "out", shape, plan.results, names, inputs)
        to_losses = canonical(losses, plan.results)
    if form.with_grad:
        name = "out[0]" if form.with_hess else "out"
        grad = _fit(grad, name, call.shape, written, names, inputs, order=order)
        to_grad = canonical(grad, written, form.class_major)
        if form.with_hess:
            hess = _fit(hess, "out[1]", call.shape, written, names, inputs, False, order)
            check_no_overlap(hess, "out[1]", grad, "out[0]")
            to_hess = canonical(hess, written, form.class_major)
    return losses, grad, hess, (to_losses, to_grad, to_hess)


def _fit(
    out: Array | None,
    name: str,
    shape: tuple[int, ...],
    form: Format,
    names: tuple[str, str],
    inputs: Inputs,
    in_place: bool = True,
    order: Any = "C",
) -> Array:
    """`out`, if it is fit to be written, or a new array; `in_place`, if it may be y_pred."""
    if out is None:
        return np.empty(shape, form.dtype, order)
    check_out(out, name, shape, form.dtype)
    check_no_overlap(out, name, inputs.y_pred, names[1], in_place)
    if inputs.labelled:
        check_no_overlap(out, name, inputs.y_true, names[0])
    if inputs.weight is not None:
        check_no_overlap(out, name, inputs.weight, "sample_weight")
    others = f"{names[0]}[1]", "class_mask", "vector"
    for other, other_name in zip(inputs.extras or (), others, strict=False):
        if other is not None:
            check_no_overlap(out, name, other, other_name)
    return out


def check_out(out: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise unless results of this shape and dtype can be written into `out`."""
    if type(out) is not np.ndarray and (not isinstance(out, np.ndarray) or is_masked(out)):
        raise TypeError(f"{name} must be a numpy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, but the result has shape {shape}")
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, but the result has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only: pass an array that can be written")
    if not out.flags.c_contiguous and overlaps_itself(out):
        raise ValueError(f"{name} uses the same memory for several elements: pass a plain array")


def overlaps_itself(array: Array) -> bool:
    """Whether elements may share memory: an axis must step over all that smaller steps span."""
    if not array.size:
        return False
    span = array.itemsize
    for step, n in sorted(
        (abs(step), n) for step, n in zip(array.strides, array.shape, strict=True)
    ):
        if n > 1:
            if step < span:
                return True
            span += step * (n - 1)
    return False


def check_no_overlap(
    out: Array, name: str, other: Array, other_name: str, in_place: bool = False
) -> None:
    """Raise unless `out` has memory of its own; if `in_place`, it may be `other` as it is."""
    if out is other:
        if in_place:
            return
    elif out.flags.owndata and other.flags.owndata:
        return
    if not np.may_share_memory(out, other) or (in_place and _same_memory(out, other)):
        return
    try:
        overlap = np.shares_memory(out, other, max_work=100_000)  # type: ignore[arg-type]
    except (np.exceptions.TooHardError, OverflowError):
        overlap = True
    if overlap:
        remedy = f", or {other_name} itself to work in place" if in_place else ""
        raise ValueError(
            f"{name} overlaps the memory of {other_name}: pass memory of its own{remedy}"
        )


def _same_memory(a: Array, b: Array) -> bool:
    """Whether two arrays are the same elements in the same places."""
    return a is b or (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )
