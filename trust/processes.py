"""Python code in a process of its own, and what became of it: to hang is an answer, too."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

# Runs pytest with the arguments that follow; tests that fail are no failure, but none to run are.
PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]) > 1)"

OK = "ok"
HANGS = "hangs"


class Outcome(NamedTuple):
    verdict: str  # OK, HANGS, "killed by SIGABRT" or "fails"
    output: str  # what it printed
    error: str  # what it said on its way out

    @property
    def in_short(self) -> str:
        """The verdict; of a failure also its last line."""
        if self.verdict != "fails":
            return self.verdict
        lines = [line for line in self.error.splitlines() if line.strip()]
        return f"fails: {lines[-1].strip()[:120]}" if lines else "fails"


# How many times as long processes may take, as on an emulator; those that they start inherit it.
PATIENCE = float(os.environ.get("PATIENCE", "1"))


def run(
    code: str,
    *arguments: str,
    seconds: float = 60,
    python: str = sys.executable,
    **environment: str,
) -> Outcome:
    """Run code in a fresh interpreter, in a group of processes that ends with it."""
    path = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [python, "-X", "faulthandler", "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, error = process.communicate(timeout=seconds * PATIENCE)
    except subprocess.TimeoutExpired:
        _kill(process)
        output, error = process.communicate()
        return Outcome(HANGS, output, error)
    finally:
        _kill(process)  # children that it left behind
    if process.returncode < 0:
        return Outcome(f"killed by {signal.Signals(-process.returncode).name}", output, error)
    return Outcome("fails" if process.returncode else OK, output, error)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
