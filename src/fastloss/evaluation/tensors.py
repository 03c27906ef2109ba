"""What is evaluated, as arrays: tensors of PyTorch among them, whatever their dtype."""

import sys
from typing import Any

from ..call import arrays, tensors
from ..call.arrays import Array


def as_array(value: Any, name: str) -> Array:
    """As that of losses; but no gradient is asked for, so that tensors may require one.

    Numbers of a tensor are read where they lie.
    """
    tensor = getattr(sys.modules.get("torch"), "Tensor", ())
    if isinstance(value, tensor):
        value = value.detach().resolve_conj().resolve_neg()
        if value.device.type == "cpu" and (array := tensors.by_bits(value, name)) is not None:
            return array
    return arrays.as_array(value, name)
