"""`make package`: builds wheel and sdist into `dist/`, and tries them as somebody would have them.

What is wrong is said, and the exit status is 1.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
ENVIRONMENT = ROOT / ".venv-package"

# Of what git has, this alone is not in the sdist.
LEFT_OUT = ".ci/"
NEEDED = {"fastloss", "llvmlite", "numba", "numpy"}
# In an environment that has nothing else: two verbs, against numbers worked out by hand.
TRIED = """
import math
import fastloss as fl
loss, grad = fl.cross_entropy.value_and_grad([0], [[0.0, 0.0]])
assert math.isclose(loss, math.log(2)), loss
assert grad.tolist() == [[-0.5, 0.5]], grad
assert fl.mse([1.0, 2.0], [3.0, 2.0]) == 2.0
print("a loss and a gradient are right, in", fl.__file__)
"""


def build() -> tuple[Path, Path]:
    """The wheel and the sdist, of which the wheel is made."""
    shutil.rmtree(DIST, ignore_errors=True)
    _python("-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    _python("-m", "twine", "check", "--strict", str(wheel), str(sdist))
    return wheel, sdist


def problems(wheel: Path, sdist: Path, tracked: set[str]) -> list[str]:
    """What the archives have too much or too little, from the files of the repository."""
    top = sdist.name.removesuffix(".tar.gz") + "/"
    with tarfile.open(sdist) as archive:
        found = {member.name.removeprefix(top) for member in archive if not member.isdir()}
    wanted = {name for name in tracked if not name.startswith(LEFT_OUT)} | {"PKG-INFO"}
    text = _differences(sdist, found, wanted)

    information = "-".join(wheel.name.split("-")[:2]) + ".dist-info/"
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.endswith("/")}
    wanted = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
    files = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    return text + _differences(wheel, found, wanted | {information + name for name in files})


def _differences(archive: Path, found: set[str], wanted: set[str]) -> list[str]:
    return [
        *(f"{archive.name} lacks {name}" for name in sorted(wanted - found)),
        *(f"{archive.name} has {name}" for name in sorted(found - wanted)),
    ]


def tracked() -> set[str]:
    """The files of the repository, and those that may be added to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}


def installed(wheel: Path) -> set[str]:
    """What is in an environment in which the wheel alone was asked for."""
    _python("-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT))
    pip = "-m", "pip", "--python", str(_there("python"))
    _python(*pip, "install", "--quiet", str(wheel))
    listed = _python(*pip, "list", "--format", "json", "--disable-pip-version-check")
    return {each["name"] for each in json.loads(listed)} - {"pip", "setuptools"}


def _there(command: str) -> Path:
    return ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / command


def _python(*arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout


def main() -> int:
    wheel, sdist = build()
    wrong = problems(wheel, sdist, tracked())
    found = installed(wheel)
    wrong += [f"{name} is installed with it" for name in sorted(found - NEEDED)]
    # In a folder without sources, and without what the environment says of others.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    clean["FASTLOSS_CACHE_DIR"] = str(ENVIRONMENT / "compiled")
    for command in ([_there("fastloss"), "info"], [_there("python"), "-c", TRIED]):
        ran = subprocess.run(command, cwd=ENVIRONMENT, env=clean, check=False)
        wrong += [f"it ends with {ran.returncode}: {command[1]}"] if ran.returncode else []
    print("\n".join(wrong) or f"{wheel.name} and {sdist.name} are as they should be")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
