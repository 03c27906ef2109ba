"""Tensors of PyTorch as arrays of the same memory, and back, of dtypes that NumPy lacks, too."""

import sys
from functools import cache
from typing import Any

from ..kernels.storage import FOREIGN, STORED, dtype_of
from .arrays import Array


def by_bits(tensor: Any, name: str) -> Array | None:
    """The numbers of a tensor on the CPU if NumPy itself has no such dtype, else None.

    Raises ImportError if the package of the dtype is not installed.
    """
    try:
        of_bits, dtype = _views(tensor.dtype)
    except ImportError as error:
        dtype = str(tensor.dtype).removeprefix("torch.")
        package = STORED[dtype].package
        raise ImportError(
            f"{name} has dtype {dtype}, which NumPy knows by the package {package}: "
            f"pip install {package}, or write {name}.float()"
        ) from error
    array: Array | None = of_bits and tensor.view(of_bits).numpy().view(dtype)
    return array


def tensor_of(array: Array) -> Any:
    """An array as a tensor of the same memory."""
    torch: Any = sys.modules["torch"]
    if array.dtype.kind != "V":  # a dtype of NumPy itself
        return torch.from_numpy(array)
    of_bits = torch.from_numpy(array.view(f"i{array.itemsize}"))
    return of_bits.view(getattr(torch, array.dtype.name))


@cache
def _views(dtype: Any) -> tuple[Any, Any]:
    """PyTorch's integers of the bits of a dtype that NumPy lacks, and the dtype of its package."""
    name = str(dtype).removeprefix("torch.")
    if name not in FOREIGN:
        return None, None
    stored = dtype_of(name)
    return getattr(sys.modules["torch"], f"int{8 * stored.itemsize}"), stored
