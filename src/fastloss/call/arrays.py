"""Arrays as users pass them: which dtypes are taken, and what to write instead of others."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..kernels.storage import FLOATS, STORED, Storage, bits_type
from .columns import array_of, is_column

Array = np.ndarray[Any, Any]


class Format(NamedTuple):
    """How the numbers of an array lie in memory."""

    name: str  # as in numpy: "float32", "bfloat16", "int64", "bool"
    kind: str  # "float", "int" or "bool"
    dtype: np.dtype[Any]  # in the byte order of this machine
    bits: np.dtype[Any]  # what a kernel takes these numbers for
    is_wide: bool  # whether float32 does not hold all of them

    @classmethod
    def of(cls, stored: Storage, dtype: np.dtype[Any]) -> "Format":
        wide = stored.arithmetic != "float32"
        return cls(stored.name, stored.kind, dtype, bits_type(stored.name), wide)


FLOAT32, FLOAT64, INT64 = (
    Format.of(STORED[name], np.dtype(name)) for name in ("float32", "float64", "int64")
)

_formats: dict[np.dtype[Any], Format] = {form.dtype: form for form in (FLOAT32, FLOAT64, INT64)}


def format_of(array: Array, name: str) -> Format:
    """The format of `array`, or TypeError for a dtype that no loss takes."""
    dtype = array.dtype
    try:
        return _formats[dtype]
    except KeyError:
        pass
    stored = STORED.get(dtype.name)
    if stored is None:
        raise TypeError(f"{name} has dtype {dtype}: {_remedy(array, name)}")
    native = dtype if dtype.isnative else dtype.newbyteorder("=")
    return _formats.setdefault(dtype, Format.of(stored, native))


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
        floats = {bits_type(each).itemsize: STORED[each] for each in FLOATS}
        of_size = floats.get(dtype.itemsize, STORED["uint8"])
        package = of_size.package.replace("numpy", "np")
        return (
            f"say what numbers these bytes are; write "
            f"np.asarray({name}).view({package}.{of_size.name})"
        )
    kinds = "np.float64" if dtype.kind in "fV" else "np.int64 or np.float64"
    return f"write np.asarray({name}).astype({kinds})"


def _remedy_of_masks(value: Any, name: str) -> str:
    fill = f"{name}.filled(0)" if is_masked(value) else "x.filled(0) for each of them, x,"
    return f"whose mask would be lost: write {fill} and give masked samples the weight 0"


def _remedy_of_strings(name: str) -> str:
    return (
        f"a loss takes numbers; write np.asarray({name}).astype(np.float64), or, to make class ids "
        f"of names, fastloss.class_ids({name})[0]"
    )


def _remedy_of_objects(array: Array, name: str) -> str:
    convert = f"np.asarray({name}, dtype=np.float64), or np.int64 for class ids"
    for index, value in np.ndenumerate(array):
        if _find(value, is_masked) is not None:
            return f"it holds masked arrays, {_remedy_of_masks(array, name)}"
        try:
            float(value)
        except OverflowError:
            return (
                f"{name}{place_of(index)} is beyond all numbers that float64 can hold; put one of "
                f"these there, and write {convert}"
            )
        except Exception:
            if isinstance(value, str):
                return _remedy_of_strings(name)
            if isinstance(value, dict) and not index:
                return f"it is a dictionary: write [{name}[key] for key in sorted({name})]"
            shown = repr(value)
            if len(shown) > 40:
                shown = f"of type {type(value).__name__}"
            fitting = (
                "0 if it is to be left out"
                if name.endswith("weight")
                else "np.nan, or a mark that ignore_index names"
            )
            return (
                f"{name}{place_of(index)} is {shown}, which is no number; put one there, as "
                f"{fitting}, and write {convert}"
            )
    return f"write {convert}"


def is_masked(value: Any) -> bool:
    """Whether a value is a masked array. Where nobody has imported these yet, nothing is one.

    To name them would import them: a seventh of the time in which this package is imported.
    """
    return isinstance(value, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ()))


_NESTING = list, tuple, np.ndarray


def _find(value: Any, is_it: Callable[[Any], bool], depth: int = 64) -> Any:
    """What `is_it`: `value`, or the first in its lists, tuples and arrays of objects; or None."""
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
    if is_column(value) and (column := array_of(value, name)) is not None:
        return column
    if "numpy.ma" in sys.modules and _find(value, is_masked) is not None:
        what = "is a masked array" if is_masked(value) else "holds masked arrays"
        raise TypeError(f"{name} {what}, {_remedy_of_masks(value, name)}")
    try:
        array = np.asarray(value)
    except Exception as error:
        tensor = _find(value, _is_tensor)
        if tensor is not None and (steps := _to_numpy(tensor)):
            write = f"{name}{steps}" if tensor is value else f"[x{steps} for x in {name}]"
            trains = (
                "; to train with it, take fastloss.torch.Loss(loss)" if "detach" in steps else ""
            )
            raise TypeError(
                f"{name} {'is' if tensor is value else 'holds'} a tensor that NumPy cannot read: "
                f"write {write}{trains}"
            ) from error
        if _is_traced(value):
            raise TypeError(
                f"{name} has no numbers yet, as JAX traces it: a loss that goes into jax.jit, "
                "jax.grad and jax.vmap is fastloss.jax.callback(loss)"
            ) from error
        # Rows of unequal length, mostly.
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name} cannot be made an array: {error}") from error
    if array.ndim == 0 and array.dtype == object:
        for convert in ("toarray", "todense"):
            if hasattr(type(value), convert):
                raise TypeError(f"{name} is a sparse array: write {name}.{convert}()")
        if hasattr(type(value), "get_label"):
            host = type(value).__module__.partition(".")[0]
            raise TypeError(
                f"{name} is a {type(value).__name__}, in which a booster keeps data and labels, "
                "and not the predictions: labels come first, predictions second; write "
                f"{name}.get_label() where labels go, and what the booster predicted in the other "
                f"place, or train with fastloss.{host}.objective(loss)"
            )
    return array


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "requires_grad") and hasattr(value, "detach")


def _is_traced(value: Any) -> bool:
    return isinstance(value, getattr(getattr(sys.modules.get("jax"), "core", None), "Tracer", ()))


def _to_numpy(tensor: Any) -> str:
    """The calls that make a tensor of PyTorch one that NumPy can read."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    steps = {
        ".detach()": tensor.requires_grad,
        ".to_dense()": not str(getattr(tensor, "layout", "strided")).endswith("strided"),
        ".dequantize()": getattr(tensor, "is_quantized", False),
        ".cpu()": getattr(getattr(tensor, "device", None), "type", "cpu") != "cpu",
        ".float()": "float" in dtype and not hasattr(np, dtype),
    }
    return "".join(step for step, needed in steps.items() if needed)


def place_of(index: Iterable[Any]) -> str:
    """An index as text: "[3, 0]"."""
    place = ", ".join(str(int(i)) for i in index)
    return f"[{place}]" if place else ""
