"""What is evaluated, as arrays: tensors of PyTorch among them, whatever their dtype."""

import sys
from typing import Any

from ..call import arrays
from ..call.arrays import Array


def as_array(value: Any, name: str) -> Array:
    """As that of losses; but no gradient is asked for, so that tensors may require one.

    Numbers of a tensor are read where they lie, those of bfloat16 by their bits.
    """
    tensor = getattr(sys.modules.get("torch"), "Tensor", ())
    if isinstance(value, tensor):
        value = _readable(value.detach(), name)
    return arrays.as_array(value, name)


def _readable(tensor: Any, name: str) -> Any:
    torch: Any = sys.modules["torch"]
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.dtype != torch.bfloat16 or tensor.device.type != "cpu":
        return tensor
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise ImportError(
            f"{name} has dtype bfloat16, which NumPy knows by the package ml_dtypes: "
            f"pip install ml_dtypes, or write {name}.float()"
        ) from error
    return tensor.view(torch.int16).numpy().view(bfloat16)
