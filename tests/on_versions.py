"""A part of the tests with other versions: `make test-oldest test-newest test-pythons`.

`python -m tests.on_versions oldest` takes the oldest Numba and NumPy that pyproject.toml allows,
`newest` what there is, pre-releases included: if there is none that `make test` does not take
anyway, or it cannot be installed, that is said, and nothing is tested. `pythons` takes each Python
that pyproject.toml names, by its name on the path or from pyenv, and a smaller part of the tests;
what is not found is said.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fastloss.compiler.numba_api import NEWEST_TESTED

ROOT = Path(__file__).resolve().parent.parent
# Compiling, loading, what is never stale, interrupts, own functions; nothing of other packages.
TESTS = (
    *("tests/test_own_loss.py", "tests/test_own_code.py", "tests/test_interrupts.py"),
    *("tests/test_cache.py", "-k", "not TestPermissions and not damaged"),
)
# What depends on bytecode: own functions, compiled, kept and found again.
TESTS_OF_PYTHON = (
    *("tests/test_own_loss.py", "tests/test_own_code.py", "tests/test_scalar.py"),
    *("-m", "not long"),
)
PARALLEL = ("-q", "-n", "auto", "--dist", "worksteal", "-p", "no:cacheprovider")
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


def pythons() -> dict[str, str | None]:
    """Of each version that pyproject.toml names, the interpreter, or None where there is none."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found: dict[str, str | None] = {}
    for version in re.findall(r"Python :: (3\.\d+)", text):
        places = [shutil.which(f"python{version}"), *root.glob(f"{version}.*/bin/python")]
        found[version] = next(
            (str(place) for place in places if place and _is(place, version)), None
        )
    return found


def _is(python: str | Path, version: str) -> bool:
    """pyenv has commands of versions that it does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return ran.stdout.strip() == version


def run(python: str, name: str, wanted: Sequence[str], tests: Sequence[str]) -> int | None:
    """Exit status of tests with `wanted` in an environment of `python`; None if it cannot be."""
    folder = ROOT / name
    made = subprocess.run([python, "-m", "venv", "--clear", "--without-pip", folder], check=False)
    if made.returncode or pip(folder, *wanted, *WITH).returncode:
        return None
    print(f"tests with {', '.join(wanted)}, {python}", flush=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "FASTLOSS_CACHE_DIR": str(folder / "compiled"),
    }
    return subprocess.run(
        [python_of(folder), "-m", "pytest", *tests, *PARALLEL],
        cwd=ROOT,
        env=environment,
        check=False,
    ).returncode


def main(which: str) -> int:
    if which == "pythons":
        results = {}
        for version, python in pythons().items():
            name = f".venv-pythons/{version}"
            status = run(python, name, ("numba", "numpy"), TESTS_OF_PYTHON) if python else None
            results[version] = {None: "not run", 0: "passed"}.get(status, "FAILED")
        print("\n".join(f"Python {version}: {result}" for version, result in results.items()))
        return int("FAILED" in results.values())
    wanted = {"oldest": oldest, "newest": newest}[which]()
    if not wanted:
        print(
            f"SKIPPED: there is no Numba newer than {'.'.join(map(str, NEWEST_TESTED))}, no "
            "pre-release, or no package index"
        )
        return 0
    status = run(sys.executable, f".venv-{which}", wanted, TESTS)
    if status is None:
        print(f"{'FAILED' if which == 'oldest' else 'SKIPPED'}: cannot install {', '.join(wanted)}")
        return int(which == "oldest")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
