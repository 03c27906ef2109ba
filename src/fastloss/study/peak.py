"""How much memory there is, and how much a process takes at its peak."""

import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Memory that can be had without pushing out anything; None where the system does not say."""
    limits = []
    with suppress(OSError, KeyError):
        limits.append(_fields(Path("/proc/meminfo"))["MemAvailable"])
    with suppress(OSError, ValueError):  # ValueError: "max", that is, no limit
        limit = int((_CGROUP / "memory.max").read_text())
        limits.append(limit - int((_CGROUP / "memory.current").read_text()))
    if not limits and hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):  # half of what there is: a guess on the safe side
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return min(limits, default=None)


def peak_of(call: Callable[[], Any]) -> tuple[int, Any]:
    """How far the memory of this process rises above its level while `call` runs; its result.

    The result counts: it is there at the peak. Linux tells the peak of all memory in use, in which
    small arrays do not show if they fit where earlier ones were; Python's tracer sees every array,
    as NumPy tells it of them, but no other memory. The answer is the larger of the two.
    """
    resident = measures_resident()
    before = peak_resident() if resident else 0
    tracemalloc.start()
    try:
        traced_before, _ = tracemalloc.get_traced_memory()
        result = call()
        _, traced_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    rise = peak_resident() - before if resident else 0
    return max(rise, traced_peak - traced_before), result


def measures_resident() -> bool:
    """Whether this process can read its peak of memory, after setting it to the present level."""
    try:
        _CLEAR.write_text("5")  # see proc(5): reset the peak resident set size
        return peak_resident() > 0
    except (OSError, LookupError):
        return False


def peak_resident() -> int:
    """The largest memory in use since `measures_resident`, in bytes."""
    return _fields(_STATUS)["VmHWM"]


def _fields(path: Path) -> dict[str, int]:
    """The lines "name:  number kB" of a file, in bytes."""
    fields = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            fields[name] = int(words[0]) * 1024
    return fields
