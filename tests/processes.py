"""Run Python in a fresh process, for what a process can do only once: compile, import, fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trust.processes import PATIENCE

SRC = Path(__file__).resolve().parent.parent / "src"


def run_python(code: str, *arguments: str, timeout: float = 120, **environment: str) -> str:
    """The output of `code` in a new process; its failure is a failure of the test."""
    path = os.pathsep.join([str(SRC), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout * PATIENCE,
        env={**os.environ, "PYTHONPATH": path, **environment},
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout.strip()


def need_layer(*layers: str) -> None:
    """Skip the test if Numba can load none of these layers of threads, on which its loops run."""
    for layer in layers:
        code = f"import numba.np.ufunc.{layer}pool"
        command = [sys.executable, "-c", code]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
    pytest.skip(f"Numba has no layer {' or '.join(layers)} here")
