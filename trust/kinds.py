"""Kinds of processors for which this one can stand in, as far as the arithmetic is concerned.

Numba compiles for any processor that it is told of, and this machine runs what it has the
instructions for. So code for short vectors, or without fused products, is tried wherever longer
ones are at home. A kind that this machine cannot run has a reason, which is shown.
"""

import platform
from typing import NamedTuple

import numba
from llvmlite import binding


class Kind(NamedTuple):
    """What code is compiled for; the longest vectors have so many bits."""

    title: str
    bits: int
    fused: bool  # whether a product and a sum may be rounded once
    features: str  # as LLVM lists them; each implies all that came before it: SSE 4.2 SSSE3, say

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a fresh process compile for it."""
        if not self.features:
            return {}
        # No processor of a name, which would bring features and costs of its own.
        return {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": self.features}

    def missing(self) -> str:
        """Why this machine does not run it; nothing if it does."""
        if not self.features:
            return ""
        machine = platform.machine()
        if machine not in ("x86_64", "AMD64"):
            return f"this machine is {machine}, not x86-64"
        here = binding.get_host_cpu_features()
        absent = [name for name in self.features.replace("+", "").split(",") if not here.get(name)]
        return f"this machine has no {', '.join(absent)}" if absent else ""


OWN = "own"
KINDS = {
    "128": Kind("128 bits", 128, False, "+sse4.2"),
    "256": Kind("256 bits, not fused", 256, False, "+avx2"),
    "256-fused": Kind("256 bits, fused", 256, True, "+avx2,+fma"),
    "512": Kind("512 bits", 512, True, "+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl,+f16c"),
    OWN: Kind("the machine's own", 0, False, ""),
}


def _features() -> str:
    """Those that the code of this process is compiled for."""
    given = numba.config.CPU_FEATURES
    return str(binding.get_host_cpu_features().flatten() if given is None else given)


def fuses() -> bool:
    """Whether the code of this process may round a product and a sum once."""
    return "+fma" in _features() or platform.machine() in ("aarch64", "arm64")


def compiled_for() -> str:
    """What the code of this process is compiled for; equal texts stand for equal bits.

    A name, as LLVM knows what instructions cost on each processor and chooses by that how many sums
    run side by side; the instructions, of which a virtual machine may hide some; and the versions
    of the compiler.
    """
    name = numba.config.CPU_NAME or binding.get_host_cpu_name()
    has = _features()
    vectors = next((k for k in ("avx512f", "avx2", "avx", "sse4.2", "sve") if f"+{k}" in has), "")
    fused = " fma" if "+fma" in has else ""
    llvm = ".".join(map(str, binding.llvm_version_info[:1]))
    compiler = f"Numba {'.'.join(numba.__version__.split('.')[:2])}, LLVM {llvm}"
    return f"{platform.machine()} {name} {vectors}{fused}".strip() + f", {compiler}"
