"""What the results depend on: the machine, and the versions of all who take part."""

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastloss as fl

from ..call.cpus import cpu_model

_CPU = Path("/sys/devices/system/cpu/cpu0")
_PACKAGES = (
    "fastloss",
    "numpy",
    "numba",
    "llvmlite",
    "scipy",
    "scikit-learn",
    "numexpr",
    "torch",
    "jax",
    "jaxlib",
    "optax",
)


def machine() -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "threads": fl.get_num_threads(),
        "caches": _caches(),
        "governor": _read(_CPU / "cpufreq" / "scaling_governor"),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **dict(_versions())},
    }


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


def _versions() -> Iterable[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            if package == "fastloss":  # run from its sources
                yield package, fl.__version__
