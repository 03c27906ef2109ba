"""What the processor can do that code is compiled for. To ask for it imports Numba."""

import platform
from functools import cache

from .bits import LINE_BYTES


@cache
def _features() -> str:
    """As LLVM lists them."""
    from llvmlite import binding
    from numba.core import config

    chosen = config.CPU_FEATURES
    return str(binding.get_host_cpu_features().flatten() if chosen is None else chosen)


def vector_bytes() -> int:
    """Bytes of a vector: of one that is as long as a line of the caches, or of half of it.

    (Where there are only shorter ones, LLVM takes two for one of these.)
    """
    return LINE_BYTES if "+avx512f" in _features() else LINE_BYTES // 2


def converts_halves() -> bool:
    """Whether there is an instruction; if not, LLVM calls a function that is not there."""
    return platform.machine().lower() in ("aarch64", "arm64") or "+f16c" in _features()
