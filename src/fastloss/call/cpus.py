"""The CPUs that this process may use: how many, and which are not the caller's."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from math import ceil


def available_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, capped by its cgroup's CPU quota.

    A quota that is no whole number of CPUs is rounded up. At least 1. Never raises.

    >>> available_cpus() >= 1
    True
    """
    n_cpus = os.cpu_count() or 1
    if hasattr(os, "process_cpu_count"):  # Python 3.13: the affinity, or PYTHON_CPU_COUNT
        n_cpus = os.process_cpu_count() or n_cpus
    elif hasattr(os, "sched_getaffinity"):
        with suppress(OSError):
            n_cpus = len(os.sched_getaffinity(0))
    return max(1, min(n_cpus, ceil(cgroup_cpus())))


def cgroup_cpus(membership: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> float:
    """The least CPU quota of this process's cgroup and its ancestors; 2**31 where there is none.

    `membership` has a line "id:controllers:/path" for each hierarchy; version 2 names no
    controllers.
    """
    cpus = float(2**31)
    for line in read_text(membership).splitlines():
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        if controllers == "":
            mounts, names = ["", "unified"], ["cpu.max"]
        elif "cpu" in controllers.split(","):
            mounts, names = ["cpu", controllers], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        # In a container the path may be the host's, and the mount show the container's own cgroup
        # at its root: files that do not exist are skipped, and so is "..", which leads outside.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders = [
            os.path.join(root, mount, *parts[:depth])
            for mount in mounts
            for depth in range(len(parts) + 1)
        ]
        for folder in folders:
            # "200000 100000", or no limit: "max 100000", and -1 in version 1
            values = " ".join(read_text(os.path.join(folder, name)) for name in names).split()
            quota, period = map(parse_int, values) if len(values) == 2 else (0, 0)
            if quota > 0 and period > 0:
                cpus = min(cpus, quota / period)
    return cpus


def read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


@cache
def _cpu_finder() -> Callable[[], int] | None:
    """The C library's sched_getcpu, where there is one and threads can be moved."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        import ctypes  # only now: most calls are small, and small ones do not get here

        find: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
    except (ImportError, OSError, AttributeError):
        return None
    return find


def cpus_of_others() -> frozenset[int]:
    """The CPUs that the calling thread may use, but for the one it runs on; none if unknown.

    Linux often wakes a worker on the CPU of the thread that rang for it, where the two take turns
    until, after 2 ms or more, one of them is moved: after a pause of 10 ms a call of 1.9 ms on 2
    threads took 3.3, and takes 2.2 if the worker is kept off that CPU.
    """
    find_cpu = _cpu_finder()
    if find_cpu is None:
        return frozenset()
    cpus = frozenset(os.sched_getaffinity(0))
    return cpus - {find_cpu()} or cpus


def cpu_model() -> str:
    """What the system calls its CPU.

    >>> bool(cpu_model())
    True
    """
    import platform  # only now, as no call of a loss needs them
    import subprocess
    import sys

    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return done.stdout.strip()
    for line in read_text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
