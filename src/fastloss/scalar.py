"""Functions for the scalar functions of losses, exact and compiled to SIMD code.

Import them by name: `from fastloss.scalar import exp, log1p`.
"""

from .kernels.scalar import exp, log, log1p, sigmoid, softplus

__all__ = ["exp", "log", "log1p", "sigmoid", "softplus"]
