"""Python in a process of its own, for what a process can do only once."""

import os
import subprocess
import sys
from pathlib import Path

# Where the package lies: a child finds the same one, installed or not.
_HOME = Path(__file__).parent.parent.parent


def run_python(*arguments: str, **environment: str) -> str:
    """What it prints; what it says of an error goes where this process's own errors go."""
    path = [str(_HOME), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
