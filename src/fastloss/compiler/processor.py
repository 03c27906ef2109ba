"""What the processor can do that code is compiled for. To ask for it imports Numba."""

import platform
from functools import cache

from .bits import LINE_BYTES


@cache
def _features() -> str:
    """The features of the processor, as LLVM lists them."""
    import numba

    from .numba_api import llvm_binding

    chosen = numba.config.CPU_FEATURES
    return str(llvm_binding.get_host_cpu_features().flatten() if chosen is None else chosen)


def name() -> str:
    """What LLVM calls the processor."""
    from .numba_api import llvm_binding

    return str(llvm_binding.get_host_cpu_name())


def vector_bytes() -> int:
    """Bytes of the longest vector: a line of the caches, half of it, or a quarter."""
    features = _features()
    if "+avx512f" in features:
        return LINE_BYTES
    return LINE_BYTES // 2 if "+avx" in features else LINE_BYTES // 4


def converts_halves() -> bool:
    """Whether an instruction converts float16; else LLVM calls a function that is not there."""
    return is_arm() or "+f16c" in _features()


def fuses() -> bool:
    """Whether an instruction adds a product and rounds once."""
    return is_arm() or not {"+fma", "+avx512f"}.isdisjoint(_features().split(","))


def is_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")
