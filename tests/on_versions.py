"""A part of the tests with other versions of Numba and NumPy: `make test-oldest test-newest`.

`python -m tests.on_versions oldest` takes the oldest that pyproject.toml allows, `newest` what
there is, pre-releases included: if there is none that `make test` does not take anyway, or it
cannot be installed, that is said, and nothing is tested.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from fastloss.compiler.numba_api import NEWEST_TESTED

ROOT = Path(__file__).resolve().parent.parent
# Compiling, loading, what is never stale, interrupts, own functions; nothing of other packages.
TESTS = (
    *("tests/test_own_loss.py", "tests/test_own_code.py", "tests/test_interrupts.py"),
    *("tests/test_cache.py", "-k", "not TestPermissions and not damaged"),
    *("-q", "-n", "auto", "--dist", "worksteal", "-p", "no:cacheprovider"),
)
WITH = ("pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "mpmath>=1.3", "ml_dtypes>=0.4")


def pip(folder: Path | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """pip of this environment, which need not be in the other one."""
    python = [] if folder is None else ["--python", str(python_of(folder))]
    command = [sys.executable, "-m", "pip", *python, "install", "--quiet", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def oldest() -> list[str]:
    """What pyproject.toml asks for, at the least."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = dict(re.findall(r'"(numba|numpy)>=([0-9.]+)"', text))
    return [f"{name}=={version}.*" for name, version in found.items()]


def newest() -> list[str]:
    """The newest Numba, and a NumPy that it takes; [] if `make test` takes them as well."""
    report = pip(
        None, "--pre", "--dry-run", "--ignore-installed", "--report", "-", "numba", "numpy"
    )
    if report.returncode:
        return []
    found = {
        each["metadata"]["name"]: each["metadata"]["version"]
        for each in json.loads(report.stdout)["install"]
    }
    is_new = tuple(int(part) for part in re.findall(r"\d+", found["numba"])[:2]) > NEWEST_TESTED
    is_new = is_new or any(re.search("[a-z]", found[name]) for name in ("numba", "numpy"))
    print(f"newest: Numba {found['numba']}, NumPy {found['numpy']}", flush=True)
    return [f"{name}=={found[name]}" for name in ("numba", "numpy")] if is_new else []


def main(which: str) -> int:
    wanted = {"oldest": oldest, "newest": newest}[which]()
    if not wanted:
        print(
            f"SKIPPED: there is no Numba newer than {'.'.join(map(str, NEWEST_TESTED))}, no "
            "pre-release, or no package index"
        )
        return 0
    folder = ROOT / f".venv-{which}"
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=False
    )
    if made.returncode or pip(folder, *wanted, *WITH).returncode:
        print(f"{'FAILED' if which == 'oldest' else 'SKIPPED'}: cannot install {', '.join(wanted)}")
        return int(which == "oldest")
    print(f"tests with {', '.join(wanted)}", flush=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "FASTLOSS_CACHE_DIR": str(folder / "compiled"),
    }
    return subprocess.run(
        [python_of(folder), "-m", "pytest", *TESTS], cwd=ROOT, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
