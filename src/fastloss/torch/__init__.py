"""Losses of PyTorch tensors on the CPU, as modules: `fastloss.torch.Loss`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .module import Loss

__all__ = ["Loss"]


def __getattr__(name: str) -> Any:
    """`Loss`, with which PyTorch is imported, as its class derives from one of PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import module
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            'fastloss.torch needs PyTorch, which is not installed: pip install "fastloss[torch]"'
        ) from error
    return getattr(module, name)
