"""Python in a process of its own, for what a process can do only once."""

import os
import subprocess
import sys
from pathlib import Path

# Where the package lies: a child finds the same one, installed or not.
_HOME = Path(__file__).parent.parent.parent


def run_python(*arguments: str, **environment: str) -> str:
    """What it prints. If it fails, a RuntimeError says what it said last."""
    path = [str(_HOME), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "no word"
        raise RuntimeError(f"a process ended with status {done.returncode}: {last}")
    return done.stdout
