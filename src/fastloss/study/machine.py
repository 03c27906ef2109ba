"""What the results depend on: the machine, and the versions of all who take part."""

import os
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import psutil

import fastloss as fl

from ..call.cpus import cgroup_cpus, cpu_model

_SYSTEM = Path("/sys/devices/system/cpu")
_CPU = _SYSTEM / "cpu0"
# Boost as drivers tell it: "1" is on, and for Intel's "1" is off.
_BOOST = _SYSTEM / "cpufreq" / "boost"
_NO_TURBO = _SYSTEM / "intel_pstate" / "no_turbo"
_SMT = _SYSTEM / "smt" / "active"
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_NO_QUOTA = 2**31
_PACKAGES = (
    "fastloss",
    "numpy",
    "numba",
    "llvmlite",
    "scipy",
    "scikit-learn",
    "numexpr",
    "torch",
    "torchmetrics",
    "jax",
    "jaxlib",
    "optax",
    "xgboost",
    "xgboost-cpu",
    "lightgbm",
    "ml_dtypes",
)


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """With the versions of these packages, too, by the names that they are imported by."""
    quota = cgroup_cpus()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "threads": fl.get_num_threads(),
        "quota": None if quota >= _NO_QUOTA else quota,  # in CPUs
        "smt": _switch(_SMT),
        "boost": _boost(),
        "governor": _read(_CPU / "cpufreq" / "scaling_governor"),
        "load": _load(),
        "caches": _caches(),
        "memory": psutil.virtual_memory().total,
        "huge_pages": _huge_pages(),
        "system": f"{platform.system()} {platform.machine()}",
        "kernel": platform.release(),
        "libc": " ".join(filter(None, platform.libc_ver())) or None,
        "libraries": libraries(),
        "versions": {"python": platform.python_version(), **dict(_versions(packages))},
    }


def libraries() -> list[str]:
    """Of BLAS and OpenMP, with their versions and threads: those that are loaded by now."""
    try:
        from threadpoolctl import threadpool_info  # which comes with scikit-learn
    except ModuleNotFoundError:
        return []
    return sorted(
        {
            " ".join(
                str(pool[key])
                for key in ("internal_api", "prefix", "version", "architecture")
                if pool.get(key)
            )
            + f", {pool['num_threads']} threads"
            for pool in threadpool_info()
        }
    )


def _boost() -> bool | None:
    off = _switch(_NO_TURBO)
    return _switch(_BOOST) if off is None else not off


def _switch(path: Path) -> bool | None:
    """Whether something is on; None where the system does not tell."""
    return {"1": True, "0": False}.get(_read(path) or "")


def _load() -> float | None:
    """How many processes wanted to run, of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _huge_pages() -> str | None:
    """The word in brackets: "always [madvise] never"."""
    return (_read(_HUGE_PAGES) or "").partition("[")[2].partition("]")[0] or None


def _caches() -> dict[str, str]:
    """Of the first CPU, as Linux tells them: {"L1 data": "32K", ...}."""
    found = {}
    for folder in sorted((_CPU / "cache").glob("index*")):
        level, kind, size = (_read(folder / name) for name in ("level", "type", "size"))
        if level and kind and size:
            found[f"L{level}" + ("" if kind == "Unified" else f" {kind.lower()}")] = size
    return found


def _read(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return None


def _versions(packages: Sequence[str]) -> Iterable[tuple[str, str]]:
    known = packages_distributions() if packages else {}
    more = [name for package in packages for name in known.get(package, ())]
    for package in dict.fromkeys([*_PACKAGES, *more]):
        try:
            yield package, version(package)
        except PackageNotFoundError:
            if package == "fastloss":  # run from its sources
                yield package, fl.__version__
