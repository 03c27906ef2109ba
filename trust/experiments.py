"""The list of experiments, in the order in which they run."""

import importlib
from typing import Any

NAMES = (
    "survival",
    "evaluation",
    "primitives",
    "loss_errors",
    "tiny_losses",
    "long_sums",
    "odd_inputs",
    "memory",
    "determinism",
    "processors",
    "peers",
    "fuzz",
)


def load(name: str) -> Any:
    """Its module, which is imported only when it is wanted: some need rivals."""
    return importlib.import_module(f"{__package__}.{name}")
