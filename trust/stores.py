"""What a store of compiled code goes through, each written once: for fastloss's and for Numba's.

A small program is installed into a folder, its store is treated badly, and it runs again: it must
end well, and its result must be that of the version that is installed.
"""

import os
import pickle
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from . import processes
from .contenders import Verdict
from .scenarios import Scenario, listed_in

# The squared error of each is 9; a later version of the program multiplies it by its factor.
_DATA = "np.zeros(8), np.full(8, 3.0)"
_RIGHT = 9.0


class Keeper(NamedTuple):
    """Someone who keeps compiled code on disk."""

    title: str
    install: Callable[[Path, int], None]  # a program, with this factor, into this folder
    program: str  # prints how many kernels were found in the store, and a result
    variable: str  # of the environment, names the store
    plant: Callable[["Program", bytes], None]  # puts a pickle where compiled code would be


@dataclass(frozen=True)
class Program:
    """An installed version, and the store that it uses."""

    keeper: Keeper
    place: Path
    store: Path | None
    factor: int = 1

    def installed(self) -> "Program":
        self.place.mkdir(parents=True, exist_ok=True)
        self.keeper.install(self.place, self.factor)
        return self

    def run(self, first: str = "", **environment: str) -> int:
        """How many kernels it found in the store; the numbers must be right."""
        path = filter(None, [str(self.place), os.environ.get("PYTHONPATH", "")])
        outcome = processes.run(
            first + self.keeper.program,
            seconds=300,  # sixteen may be compiling
            **{
                "PYTHONPATH": os.pathsep.join(path),
                "PYTHONDONTWRITEBYTECODE": "1",
                self.keeper.variable: "" if self.store is None else str(self.store),
                **environment,
            },
        )
        if outcome.verdict != processes.OK:
            verdict = outcome.in_short
            for folder in (self.place, self.place.parent):  # of no interest to anyone else
                verdict = verdict.replace(f"{folder}{os.sep}", "")
            raise Verdict(verdict)
        found, result = outcome.output.split()
        if float(result) != _RIGHT * self.factor:
            raise Verdict(f"wrong numbers: {result} and not {_RIGHT * self.factor}")
        return int(found)

    def files(self) -> list[Path]:
        assert self.store is not None
        return sorted(file for file in self.store.rglob("*") if file.is_file())


def _install_fastloss(place: Path, factor: int) -> None:
    source = processes.ROOT / "src" / "fastloss"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, place / "fastloss", ignore=ignored, dirs_exist_ok=True)
    file = place / "fastloss" / "losses" / "regression" / "residuals.py"
    text = file.read_text(encoding="utf-8")
    assert text.count("return r * r, 2 * r, 2\n") == 1
    text = text.replace("return r * r, 2 * r, 2\n", f"return {factor} * (r * r), 2 * r, 2\n")
    file.write_text(text, encoding="utf-8")


def _plant_fastloss(program: Program, planted: bytes) -> None:
    """With the digest that it needs to be believed."""
    for file in program.files():
        code = "import sys; from fastloss.compiler import store; store.save(*eval(sys.argv[1]))"
        arguments = repr((file.name.removesuffix(".code"), planted))
        outcome = processes.run(code, arguments, FASTLOSS_CACHE_DIR=str(program.store))
        assert outcome.verdict == processes.OK, outcome.error


def _install_numba(place: Path, factor: int) -> None:
    """A kernel with a helper in another file."""
    (place / "helper.py").write_text(
        f"from numba import njit\n\n@njit\ndef squared(r):\n    return {factor} * (r * r)\n",
        encoding="utf-8",
    )
    (place / "kernels.py").write_text(
        "from numba import njit\nfrom helper import squared\n\n"
        "@njit(cache=True)\n"
        "def mse(y_true, y_pred):\n"
        "    total = 0.0\n"
        "    for i in range(len(y_true)):\n"
        "        total += squared(y_pred[i] - y_true[i])\n"
        "    return total / len(y_true)\n",
        encoding="utf-8",
    )


def _plant_numba(program: Program, planted: bytes) -> None:
    for file in program.files():
        if file.suffix == ".nbc":
            file.write_bytes(planted)


KEEPERS = {
    "fastloss": Keeper(
        "fastloss",
        _install_fastloss,
        "import numpy as np, fastloss as fl\n"
        "from fastloss.compiler import jit\n"
        f"result = fl.mse({_DATA})\n"
        "print(jit.counts['loaded'], result)\n",
        "FASTLOSS_CACHE_DIR",
        _plant_fastloss,
    ),
    "numba": Keeper(
        "Numba's own (`cache=True`)",
        _install_numba,
        "import numpy as np, kernels\n"
        f"result = kernels.mse({_DATA})\n"
        "print(sum(kernels.mse.stats.cache_hits.values()), result)\n",
        "NUMBA_CACHE_DIR",
        _plant_numba,
    ),
}


ORDEALS: dict[str, Scenario] = {}
ordeal = listed_in(ORDEALS)


def _finds_nothing(program: Program, **options: str) -> None:
    if program.run(**options):
        raise Verdict("fails: code was found where none could be")


def _finds_its_code(program: Program) -> None:
    if not program.run():
        raise Verdict("fails: the store is not used afterwards")


# -------------------------------------------------------------------------------------------------
# Nowhere to write


def _without_a_home(program: Program) -> dict[str, str]:
    """A home in a place that not even root can make a folder of."""
    blocked = program.place.parent / "blocked"
    blocked.write_text("a file", encoding="utf-8")
    return {"HOME": str(blocked / "home"), "XDG_CACHE_HOME": str(blocked / "cache")}


@ordeal("the home folder cannot be written", brief=False)
def unwritable_home(program: Program) -> None:
    program = replace(program, store=None).installed()
    program.run(**_without_a_home(program))


@ordeal("neither home nor installation can be written")
def unwritable_installation(program: Program) -> None:
    program = replace(program, store=None).installed()
    for folder in (program.place, *(path for path in program.place.rglob("*") if path.is_dir())):
        (folder / "__pycache__").write_text("no folder, as this is a file", encoding="utf-8")
    before = sorted(program.place.rglob("*"))
    _finds_nothing(program, **_without_a_home(program))
    if sorted(program.place.rglob("*")) != before:
        raise Verdict("fails: it wrote into its installation")


@ordeal("the disk is full: a file ends at 1,000 bytes")
def full_disk(program: Program) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    program.installed()
    _finds_nothing(program, first=limit)
    _finds_nothing(program)
    _finds_its_code(program)


# -------------------------------------------------------------------------------------------------
# Files that are not what was written


def _damage(program: Program, damages: list[Callable[[bytes], bytes]]) -> None:
    """Each to all files; the code must be made again, and be found again then."""
    program.installed().run()
    for damage in damages:
        for file in program.files():
            file.write_bytes(damage(file.read_bytes()))
        _finds_nothing(program)
    _finds_its_code(program)


@ordeal("files are cut short, at seven places", brief=False)
def truncated_files(program: Program) -> None:
    def at(place: float) -> Callable[[bytes], bytes]:
        # A whole number counts bytes, a fraction is one of the length.
        return lambda content: content[: int(place if place >= 1 else place * len(content))]

    _damage(program, [at(place) for place in (0, 1, 10, 30, 60, 0.5, 0.999)])


@ordeal("files of zeros, of noise, and with one bit flipped", brief=False)
def garbage(program: Program) -> None:
    def flipped(content: bytes) -> bytes:
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    noise = random.Random(0)
    _damage(
        program,
        [
            lambda content: bytes(len(content)),
            lambda content: noise.randbytes(len(content)),
            flipped,
        ],
    )


@ordeal("others can write into the store, and have put code there")
def planted_code(program: Program) -> None:
    assert program.store is not None
    program.installed().run()
    mark = program.place.parent / "mark"
    program.keeper.plant(program, pickle.dumps(_Planted(str(mark))))
    program.store.chmod(0o777)
    try:
        program.run()
    finally:
        if mark.exists():
            raise Verdict("fails: runs what others have put there")


class _Planted:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


# -------------------------------------------------------------------------------------------------
# Several at once


def _at_once(programs: list[Program]) -> None:
    with ThreadPoolExecutor(len(programs)) as pool:
        list(pool.map(Program.run, programs))


@ordeal("processes that start at once with an empty store", times=16, fewer=2)
def cold_start(program: Program, times: int) -> None:
    _at_once([program.installed()] * times)
    _finds_its_code(program)


def _versions(program: Program) -> list[Program]:
    """Two, side by side, with one store."""
    return [
        replace(program, place=program.place / str(factor), factor=factor).installed()
        for factor in (1, 2)
    ]


@ordeal("an update in place that changes a scalar function")
def update(program: Program) -> None:
    program.installed().run()
    _finds_its_code(program)
    updated = replace(program, factor=2).installed()
    updated.run()
    _finds_its_code(updated)


@ordeal("two versions in turn, with one store", brief=False)
def versions_in_turn(program: Program) -> None:
    versions = _versions(program)
    for version in versions:
        version.run()
    for version in versions:
        _finds_its_code(version)


@ordeal("two versions at once, processes of both with one empty store", times=8, fewer=2)
def versions_at_once(program: Program, times: int) -> None:
    versions = _versions(program)
    _at_once(versions * (times // 2))
    for version in versions:
        _finds_its_code(version)
