"""Checks and canonical forms of the arrays that users pass, and every message about a bad one.

Kernels take native, C-contiguous, one-dimensional arrays. An array that is one already, or can be
seen as one, is passed as it is; any other is `Strided` and goes through a buffer block by block, so
that no layout costs a copy of the whole.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..kernels.storage import bits_type

Array = np.ndarray[Any, Any]


class Format(NamedTuple):
    """How the numbers of an array lie in memory."""

    name: str  # as in numpy: "float32", "bfloat16", "int64", "bool"
    kind: str  # "float", "int" or "bool"
    dtype: np.dtype[Any]  # in the byte order of this machine
    bits: np.dtype[Any]  # what a kernel takes these numbers for


FLOAT32 = Format("float32", "float", np.dtype(np.float32), np.dtype(np.float32))
FLOAT64 = Format("float64", "float", np.dtype(np.float64), np.dtype(np.float64))
INT64 = Format("int64", "int", np.dtype(np.int64), np.dtype(np.int64))

# The formats whose numbers float32 cannot hold.
WIDE = frozenset({"float64", "int32", "uint32", "int64", "uint64"})

_formats: dict[np.dtype[Any], Format] = {form.dtype: form for form in (FLOAT32, FLOAT64, INT64)}


def format_of(array: Array, name: str) -> Format:
    """The format of `array`, or TypeError for a dtype that no loss takes."""
    dtype = array.dtype
    try:
        return _formats[dtype]
    except KeyError:
        pass
    if dtype.name in ("float16", "bfloat16", "float32", "float64"):
        kind = "float"
    elif dtype.kind in "iu":
        kind = "int"
    elif dtype.kind == "b":
        kind = "bool"
    else:
        raise TypeError(f"{name} has dtype {dtype}: {_remedy(array, name)}")
    native = dtype if dtype.isnative else dtype.newbyteorder("=")
    return _formats.setdefault(dtype, Format(dtype.name, kind, native, bits_type(dtype.name)))


def _remedy(array: Array, name: str) -> str:
    """What to write, which has to work for lists, too."""
    dtype = array.dtype
    if dtype.kind == "c":
        return f"a loss takes real numbers; write np.real({name}) or np.abs({name})"
    if dtype.kind == "O":
        return _remedy_of_objects(array, name)
    if dtype.kind in "UST":
        return _remedy_of_strings(name)
    if dtype.names is not None:
        return (
            f"a loss takes numbers, and each of these has several; pass one field, "
            f"np.asarray({name})[{dtype.names[0]!r}], or stack those you want: "
            f"np.stack([np.asarray({name})[field] for field in {list(dtype.names)}], axis=-1)"
        )
    if dtype.type is np.void:
        # As numpy.load gives numbers whose dtype it does not know.
        kind = {2: "ml_dtypes.bfloat16", 4: "np.float32", 8: "np.float64"}.get(dtype.itemsize)
        return (
            f"say what numbers these bytes are; write np.asarray({name}).view({kind or 'np.uint8'})"
        )
    kinds = "np.float64" if dtype.kind in "fV" else "np.int64 or np.float64"
    return f"write np.asarray({name}).astype({kinds})"


def _remedy_of_masks(value: Any, name: str) -> str:
    fill = f"{name}.filled(0)" if _is_masked(value) else "x.filled(0) for each of them, x,"
    return f"whose mask would be lost: write {fill} and give masked samples the weight 0"


def _remedy_of_strings(name: str) -> str:
    return (
        f"a loss takes numbers; write np.asarray({name}).astype(np.float64), or, to make class ids "
        f"of names, np.unique({name}, return_inverse=True)[1]"
    )


def _remedy_of_objects(array: Array, name: str) -> str:
    convert = f"np.asarray({name}, dtype=np.float64), or np.int64 for class ids"
    for index, value in np.ndenumerate(array):
        if _find(value, _is_masked) is not None:
            return f"it holds masked arrays, {_remedy_of_masks(array, name)}"
        try:
            float(value)
        except Exception:
            if isinstance(value, str):
                return _remedy_of_strings(name)
            shown = repr(value)
            if len(shown) > 40:
                shown = f"of type {type(value).__name__}"
            return (
                f"{name}{_place(index)} is {shown}, which is no number; put one there, as np.nan, "
                f"or a mark that ignore_index names, and write {convert}"
            )
    return f"write {convert}"


def _is_masked(value: Any) -> bool:
    """Whether it is a masked array. Where nobody has imported these yet, nothing is one.

    To name them would import them: a seventh of the time in which this package is imported.
    """
    return isinstance(value, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ()))


_NESTING = list, tuple, np.ndarray


def _find(value: Any, is_it: Callable[[Any], bool], depth: int = 64) -> Any:
    """What is wanted, or the first of it in lists, tuples and arrays of objects, or None."""
    if is_it(value):
        return value
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel().tolist()
    if isinstance(value, (list, tuple)) and depth:
        # A type is looked at once: most lists have numbers.
        of_kinds = {type(item): item for item in value}
        if any(is_it(item) or isinstance(item, _NESTING) for item in of_kinds.values()):
            for item in value:
                found = _find(item, is_it, depth - 1)
                if found is not None:
                    return found
    return None


def as_array(value: Any, name: str) -> Array:
    """`value` as an array, without copying one."""
    if type(value) is np.ndarray:
        return value
    if "numpy.ma" in sys.modules and _find(value, _is_masked) is not None:
        what = "is a masked array" if _is_masked(value) else "holds masked arrays"
        raise TypeError(f"{name} {what}, {_remedy_of_masks(value, name)}")
    try:
        array = np.asarray(value)
    except Exception as error:
        tensor = _find(value, _is_tensor)
        if tensor is not None and (steps := _to_numpy(tensor)):
            write = f"{name}{steps}" if tensor is value else f"[x{steps} for x in {name}]"
            raise TypeError(
                f"{name} {'is' if tensor is value else 'holds'} a tensor that NumPy cannot read: "
                f"write {write}"
            ) from error
        # Rows of unequal length, mostly.
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name} cannot be made an array: {error}") from error
    if array.ndim == 0 and array.dtype == object:
        for convert in ("toarray", "todense"):
            if hasattr(value, convert):
                raise TypeError(f"{name} is a sparse array: write {name}.{convert}()")
    return array


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "requires_grad") and hasattr(value, "detach")


def _to_numpy(tensor: Any) -> str:
    """The calls that make a tensor of PyTorch one that NumPy can read."""
    dtype = str(tensor.dtype)
    steps = {
        ".detach()": tensor.requires_grad,
        ".to_dense()": not str(getattr(tensor, "layout", "strided")).endswith("strided"),
        ".dequantize()": getattr(tensor, "is_quantized", False),
        ".cpu()": getattr(getattr(tensor, "device", None), "type", "cpu") != "cpu",
        ".float()": "bfloat16" in dtype or "float8" in dtype,
    }
    return "".join(step for step, needed in steps.items() if needed)


# ---------------------------------------------------------------------------------------------
# Canonical forms


class Strided:
    """An array that a kernel cannot take as it is; read and written in C order through buffers.

    What is read is multiplied by 2**-shift and stays finite.
    """

    def __init__(
        self, array: Array, dtype: np.dtype[Any], bits: np.dtype[Any], shift: int = 0
    ) -> None:
        self.array = array
        self.dtype = dtype
        self.bits = bits
        self.shift = shift

    def buffer(self, start: int, stop: int) -> Array:
        """Room for the elements start to stop, as a kernel sees them."""
        return np.empty(stop - start, self.dtype).view(self.bits)

    def read(self, start: int, stop: int) -> Array:
        buffer = np.empty(stop - start, self.dtype)
        for piece, offset in _pieces(self.array, start, stop):
            buffer[offset : offset + piece.size].reshape(piece.shape)[...] = piece
        if self.shift:
            times_power(buffer, -self.shift)
            np.minimum(buffer, np.finfo(self.dtype).max, out=buffer)
        return buffer.view(self.bits)

    def write(self, start: int, stop: int, buffer: Array) -> None:
        numbers = buffer.view(self.dtype)
        for piece, offset in _pieces(self.array, start, stop):
            piece[...] = numbers[offset : offset + piece.size].reshape(piece.shape)


def times_power(numbers: Array, exponent: int) -> None:
    """Multiply by 2**exponent, in place."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.ldexp(numbers, exponent, out=numbers)


# What calls hand to a kernel or its buffers. An array that is absent is ().
Operand = Array | Strided | tuple[()]


def _pieces(array: Array, start: int, stop: int, offset: int = 0) -> Iterator[tuple[Array, int]]:
    """Views that together are the elements start to stop in C order, with their offsets.

    At each level: the end of one row, the rows that lie inside whole, the beginning of another.
    """
    if start >= stop:
        return
    if array.ndim == 0:
        yield array, offset
        return
    if array.ndim == 1:
        yield array[start:stop], offset
        return
    size = math.prod(array.shape[1:])
    first, head = divmod(start, size)
    last, tail = divmod(stop, size)
    if first == last:
        yield from _pieces(array[first], head, tail, offset)
        return
    if head:
        yield from _pieces(array[first], head, size, offset)
        offset += size - head
        first += 1
    if first < last:
        yield array[first:last], offset
        offset += (last - first) * size
    if tail:
        yield from _pieces(array[last], 0, tail, offset)


# C-contiguous and aligned, in the bits of NumPy's flags: to ask for each by name takes longer.
PLAIN = 0x1 | 0x100


def canonical(array: Array, form: Format) -> Array | Strided:
    """`array` as a kernel takes it: one-dimensional, its numbers stored as `form` says."""
    if array.dtype == form.dtype and array.flags.num & PLAIN == PLAIN:
        # A matrix has two dimensions, whatever shape it is given.
        flat = array if array.ndim == 1 else np.asarray(array).reshape(-1)
        return flat if form.bits is form.dtype else flat.view(form.bits)
    return Strided(np.asarray(array), form.dtype, form.bits)


# ---------------------------------------------------------------------------------------------
# Checks of shapes and outputs


def check_same_shape(y_true: Array, y_pred: Array, names: tuple[str, str]) -> None:
    if y_true.shape == y_pred.shape:
        return
    message = (
        f"{names[0]} has shape {y_true.shape} and {names[1]} has shape {y_pred.shape}: "
        "they must be equal, nothing is broadcast"
    )
    if y_true.size == y_pred.size:
        message += f"; write np.reshape({names[0]}, np.shape({names[1]})) if the order is right"
    raise ValueError(message)


def check_classes(
    y_true: Array, true: Format, y_pred: Array, pred: Format, names: tuple[str, str]
) -> None:
    """Whether `y_true` holds class ids for the rows of `y_pred`, or labels of its shape."""
    first, second = names
    if y_true.ndim == y_pred.ndim + 1 and pred.kind != "float":
        raise TypeError(
            f"{second} are {pred.name} of shape {y_pred.shape} and {first} are {true.name} of "
            f"shape {y_true.shape}: were they swapped? {first} come first, {second} second"
        )
    if y_pred.ndim == 0:
        raise ValueError(f"{second} is a single number, but its last axis must be the classes")
    if y_pred.shape[-1] == 0:
        raise ValueError(f"{second} has shape {y_pred.shape}: zero classes on the last axis")
    if y_true.shape == y_pred.shape:
        return
    if y_true.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"{first} has shape {y_true.shape} and {second} has shape {y_pred.shape}: expected "
            f"class ids of shape {y_pred.shape[:-1]} or soft labels of shape {y_pred.shape}, "
            "as nothing is broadcast"
        )
    if true.kind == "float" and y_true.size:
        raise TypeError(
            f"{first} has dtype {true.name}, but class ids of shape {y_true.shape} are integers: "
            + _remedy_of_float_ids(y_true, first)
            + f"; soft labels have shape {y_pred.shape}"
        )


def _remedy_of_float_ids(labels: Array, name: str) -> str:
    if np.isnan(labels.astype(np.float64)).any():
        return (
            f"some are nan; write np.where(np.isnan({name}), -100, {name}).astype(np.int64) and "
            "build the loss with ignore_index=-100"
        )
    return f"write np.asarray({name}).astype(np.int64)"


def check_sparse_labels(ids: Array, probabilities: Array, y_pred: Array) -> None:
    """Whether each row has k class ids and as many probabilities."""
    true, given = format_of(ids, "labels[0]"), format_of(probabilities, "labels[1]")
    if ids.shape != probabilities.shape or ids.shape[:-1] != y_pred.shape[:-1]:
        raise ValueError(
            f"labels are a pair of class ids of shape {ids.shape} and probabilities of shape "
            f"{probabilities.shape}: for logits of shape {y_pred.shape} both must have the shape "
            f"{(*y_pred.shape[:-1], 'k')}, with k classes for each row".replace("'", "")
        )
    if ids.shape[-1] == 0:
        raise ValueError("labels are a pair of class ids and probabilities, but of no class at all")
    if true.kind == "float":
        raise TypeError(
            f"labels[0] has dtype {true.name}, but class ids are integers: labels are the pair "
            "(ids, probabilities); write np.asarray(ids).astype(np.int64)"
        )
    if given.kind != "float":
        raise TypeError(
            f"labels[1] has dtype {given.name}, but holds the probabilities of the class ids in "
            "labels[0]: write np.asarray(probabilities).astype(np.float64)"
        )


def check_weight_shape(weight: Array, expected: tuple[int, ...], what: str) -> None:
    if weight.shape != expected:
        raise ValueError(
            f"sample_weight has shape {weight.shape}, but there is one weight for each {what}: "
            f"expected shape {expected}"
        )


def check_out(out: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Whether results of this shape and dtype can be written into `out`."""
    if type(out) is not np.ndarray and (not isinstance(out, np.ndarray) or _is_masked(out)):
        raise TypeError(f"{name} must be a numpy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, but the result has shape {shape}")
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, but the result has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only: pass an array that can be written")
    if not out.flags.c_contiguous and _overlaps_itself(out):
        raise ValueError(f"{name} uses the same memory for several elements: pass a plain array")


def _overlaps_itself(array: Array) -> bool:
    """Whether elements may share memory: an axis must step over all that smaller steps span."""
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
    """Whether `out` has memory of its own; if `in_place`, it may be all that `other` is."""
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


# ---------------------------------------------------------------------------------------------
# Numbers out of range, found by a survey


def report_class_id(
    labels: Array,
    start: int,
    stop: int,
    n_classes: int,
    ignore_index: int | None,
    class_mask: Array | None,
    row_mask: Array | None,
    name: str,
) -> None:
    """Raise ValueError for the first class id in [start, stop) that is not one.

    `class_mask` has a number for each class, `row_mask` one for each class of each row.
    """
    form = format_of(labels, name)
    part = Strided(labels, form.dtype, form.dtype).read(start, stop)
    bad = (part < 0) | (part >= n_classes)
    inside = np.where(bad, 0, part).astype(np.int64)
    if ignore_index is not None:
        bad &= part != ignore_index
    out = np.zeros(part.shape, bool)
    if class_mask is not None:
        out |= class_mask[inside] == 0
    if row_mask is not None:
        rows = np.arange(start, stop) // (labels.size // (row_mask.size // n_classes))
        out |= ~row_mask.reshape(-1, n_classes)[rows, inside]
    if ignore_index is not None:
        out &= part != ignore_index
    if out.any() and not bad.any():
        value, place = _first(part, out, start, labels.shape)
        raise ValueError(
            f"{name}{place} is {value}, a class that class_mask rules out: let it in, or give such "
            "rows the weight 0 and another label"
        )
    value, place = _first(part, bad, start, labels.shape)
    raise ValueError(
        f"{name}{place} is {value}, but class ids go from 0 to {n_classes - 1}, as there are "
        f"{n_classes} classes on the last axis; "
        + (
            "rows to be skipped are marked by ignore_index, which is "
            f"{ignore_index}: build the loss with the mark that your labels have"
        )
    )


def report_range(
    array: Array, start: int, stop: int, limits: tuple[float, float], name: str
) -> None:
    """Raise ValueError for the first number in [start, stop) that is outside the limits."""
    part = _float64(array, start, stop)
    value, place = _first(part, (part < limits[0]) | (part > limits[1]), start, array.shape)
    if limits[1] == np.inf:
        raise ValueError(
            f"{name}{place} is {value}, but this loss takes {limits[0]:g} and more: check that it "
            "is the one you want for such numbers, or clip them yourself"
        )
    raise ValueError(
        f"{name}{place} is {value}, but must lie between {limits[0]:g} and {limits[1]:g}: "
        "check that probabilities were not given as logits or per cent, or clip them yourself"
    )


def report_variance(array: Array, start: int, stop: int, name: str) -> None:
    """Raise ValueError for the first variance in [start, stop) that is not above 0.

    Variances are the last of each row.
    """
    part = _float64(array, start, stop)
    bad = (part <= 0) & (np.arange(start, stop) % array.shape[-1] == array.shape[-1] - 1)
    value, place = _first(part, bad, start, array.shape)
    raise ValueError(
        f"{name}{place} is {value}, but is a variance, which is above 0: predict its logarithm, "
        "with log_variance=True, or clip it yourself"
    )


def report_weight(weight: Array, start: int, stop: int) -> None:
    """Raise ValueError for the first weight in [start, stop) that is negative or not finite."""
    part = _float64(weight, start, stop)
    value, place = _first(part, ~((part >= 0) & (part < np.inf)), start, weight.shape)
    raise ValueError(
        f"sample_weight{place} is {value}, but weights are finite and not negative: "
        "give samples to be left out the weight 0"
    )


def _float64(array: Array, start: int, stop: int) -> Array:
    return Strided(array, FLOAT64.dtype, FLOAT64.dtype).read(start, stop)


def _first(part: Array, bad: Array, start: int, shape: tuple[int, ...]) -> tuple[Any, str]:
    """The first bad number of a part, and its place in the whole as text: "[3, 0]"."""
    found = np.flatnonzero(bad)
    if not found.size:
        return "no longer what it was during the call (another thread wrote it)", ""
    return part[found[0]], _place(np.unravel_index(start + int(found[0]), shape))


def _place(index: Iterable[Any]) -> str:
    """An index as text: "[3, 0]"."""
    place = ", ".join(str(int(i)) for i in index)
    return f"[{place}]" if place else ""
