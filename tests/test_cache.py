"""Compiled code is kept on disk: found again, never stale, and never the cause of an error."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from processes import run_python

from fastloss.kernels import cache

# Prints how many kernels were compiled and how many loaded, and the results as exact text. The loss
# is one that is soon compiled.
WORK = """
import numpy as np
import fastloss as fl
from fastloss.kernels import jit

y_pred = np.linspace(-3, 3, 12, dtype=np.float32)
loss, grad = fl.mse.value_and_grad(np.ones(12, np.float32), y_pred)
print(jit.counts["compiled"], jit.counts["loaded"], loss.hex(), grad.tobytes().hex())
"""

# A loss of a user, in a module of their own whose path is the argument.
OWN = """
import sys
sys.path.insert(0, sys.argv[1])
from own_loss import Own
from fastloss.kernels import jit

value = Own()([1.0], [3.0])
print(jit.counts["compiled"], jit.counts["loaded"], value)
"""
OWN_MODULE = """
from dataclasses import dataclass
import fastloss as fl

FACTOR = {factor}

def helper(r):
    return {helper}

@dataclass(frozen=True)
class Own(fl.ElementwiseLoss):
    def scalar(self, y_true, y_pred):
        r = y_pred - y_true
        return {loss}, r
"""


def work(folder: Path) -> tuple[int, int, str]:
    compiled, loaded, results = run_python(WORK, FASTLOSS_CACHE_DIR=str(folder)).split(" ", 2)
    return int(compiled), int(loaded), results


def own(folder: Path, loss: str, helper: str = "r", factor: float = 1.0) -> tuple[int, int, float]:
    module = OWN_MODULE.format(loss=loss, helper=helper, factor=factor)
    (folder / "own_loss.py").write_text(module)
    code = run_python(
        OWN, str(folder), FASTLOSS_CACHE_DIR=str(folder / "cache"), PYTHONDONTWRITEBYTECODE="1"
    )
    compiled, loaded, value = code.split()
    return int(compiled), int(loaded), float(value)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.code"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder that holds the one kernel of `work`, and its results."""
    folder = tmp_path_factory.mktemp("stored")
    compiled, loaded, results = work(folder)
    assert (compiled, loaded) == (1, 0)
    return folder, results


def test_second_process_compiles_nothing(stored):
    folder, results = stored
    assert work(folder) == (0, 1, results)


def test_a_stored_kernel_needs_nothing_of_what_it_was_made_of(stored):
    code = WORK + "print(len(jit._dispatchers))"
    assert run_python(code, FASTLOSS_CACHE_DIR=str(stored[0])).splitlines()[-1] == "0"


def test_edited_scalar_function_recompiles(tmp_path):
    assert own(tmp_path, "r * r") == (1, 0, 4.0)
    assert own(tmp_path, "r * r") == (0, 1, 4.0)
    assert own(tmp_path, "r * r * r") == (1, 0, 8.0)
    # What was compiled before is still there.
    assert own(tmp_path, "r * r") == (0, 1, 4.0)


def test_edited_helper_recompiles(tmp_path):
    assert own(tmp_path, "helper(r)", helper="r + 1") == (1, 0, 3.0)
    assert own(tmp_path, "helper(r)", helper="r + 2") == (1, 0, 4.0)
    assert own(tmp_path, "helper(r)", helper="r + 2") == (0, 1, 4.0)


def test_edited_global_number_recompiles(tmp_path):
    assert own(tmp_path, "FACTOR * r", factor=3.0) == (1, 0, 6.0)
    assert own(tmp_path, "FACTOR * r", factor=5.0) == (1, 0, 10.0)


def test_options_are_not_compiled_in(tmp_path):
    """But for 0 and 1, which cost nothing then."""
    code = """
import fastloss as fl
from fastloss.kernels import jit

for weight in (2.5, 2.0, 3):
    loss = fl.BinaryCrossEntropyWithLogits(pos_weight=weight)
    print(round(loss([1.0], [0.0]) / weight, 12))
print(jit.counts["compiled"])
"""
    output = run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path)).split()
    assert output == ["0.69314718056"] * 3 + ["1"]


def test_unwritable_folder_costs_only_a_compilation(tmp_path, stored):
    # A file where the folder should be cannot be written even by root.
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    _, results = stored
    assert work(blocked / "cache") == (1, 0, results)
    assert work(blocked) == (1, 0, results)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root writes anywhere")
def test_read_only_folder_costs_only_a_compilation(tmp_path):
    tmp_path.chmod(0o500)
    try:
        compiled, loaded, _ = work(tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert (compiled, loaded) == (1, 0)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign", "unpicklable"])
def test_damaged_file_costs_only_a_compilation(tmp_path, stored, damage):
    folder, results = stored
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for file in files_in(tmp_path):
        content = file.read_bytes()
        if damage == "empty":
            file.write_bytes(b"")
        elif damage == "truncated":
            file.write_bytes(content[: len(content) // 2])
        elif damage == "flipped":
            middle = len(content) // 2
            flipped = bytes([content[middle] ^ 1])
            file.write_bytes(content[:middle] + flipped + content[middle + 1 :])
        elif damage == "foreign":
            file.write_bytes(b"something else" * 100)
        else:  # whole, but not what we wrote
            name = file.name.removesuffix(".code")
            os.environ["FASTLOSS_CACHE_DIR"] = str(tmp_path)
            try:
                cache.store(name, b"no pickle")
            finally:
                del os.environ["FASTLOSS_CACHE_DIR"]
    assert work(tmp_path) == (1, 0, results)
    assert work(tmp_path) == (0, 1, results)  # the damage was mended


def test_two_kernels_do_not_share_code(tmp_path):
    """Same function names, other constants: the linker must not give one the other's code."""
    code = """
from dataclasses import dataclass
import fastloss as fl

def make(power):
    @dataclass(frozen=True)
    class Power(fl.ElementwiseLoss):
        def scalar(self, y_true, y_pred):
            return (y_pred - y_true) ** power, y_pred
    return Power()

print(*[make(power)([0.0], [3.0]) for power in (1, 2, 3)])
"""
    for _ in range(2):  # compiled, then loaded
        assert run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path)) == "3.0 9.0 27.0"


def test_losses_of_a_script_are_found_again(tmp_path):
    """A class of __main__ cannot be imported by name; its code is found by what it says."""
    code = """
from dataclasses import dataclass
import fastloss as fl
from fastloss.kernels import jit
from fastloss.scalar import log1p

@dataclass(frozen=True)
class Cauchy(fl.ElementwiseLoss):
    scale: float = 1.0

    def scalar(self, y_true, y_pred):
        r = (y_pred - y_true) / self.scale
        return log1p(r * r), 2 * r / (self.scale * (1 + r * r))

value = Cauchy(2.0)([0.0], [2.0])
print(jit.counts["compiled"], jit.counts["loaded"], value)
"""
    assert run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path)).startswith("1 0 0.693147")
    assert run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path)).startswith("0 1 0.693147")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
class TestPermissions:
    def test_folder_and_files_are_private(self, tmp_path):
        folder = tmp_path / "new" / "cache"
        work(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in files_in(folder)} == {0o600}

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
    def test_folder_that_others_can_write_is_refused(self, tmp_path, stored, monkeypatch, mode):
        folder, results = stored
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        tmp_path.chmod(mode)
        assert work(tmp_path) == (1, 0, results)
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path))
        problem = cache.state().problem
        assert problem is not None
        assert "chmod go-w" in problem

    def test_link_to_a_folder_is_judged_by_the_folder(self, tmp_path, monkeypatch):
        target = tmp_path / "target"
        target.mkdir(mode=0o700)
        (tmp_path / "link").symlink_to(target)
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path / "link"))
        assert cache.state().problem is None
        target.chmod(0o777)
        assert cache.state().problem is not None


class TestStore:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_round_trip(self):
        assert cache.load("name") is None
        cache.store("name", b"payload")
        assert cache.load("name") == b"payload"
        cache.store("name", b"")
        assert cache.load("name") == b""

    def test_a_file_that_is_cut_short_or_changed_anywhere_is_absent(self, folder):
        cache.store("name", b"payload")
        (file,) = files_in(folder)
        content = file.read_bytes()
        for place, byte in enumerate(content):
            for damaged in (
                content[:place],
                content[:place] + bytes([byte ^ 1]) + content[place + 1 :],
            ):
                file.write_bytes(damaged)
                assert cache.load("name") is None, place
        file.write_bytes(content)
        assert cache.load("name") == b"payload"

    def test_state_and_clear(self, folder):
        assert cache.state()[2:] == (0, 0)
        cache.store("a", b"1")
        cache.store("b", b"22")
        state = cache.state()
        assert state.path == folder
        assert state.problem is None
        assert state.files == 2
        assert state.size == sum(file.stat().st_size for file in files_in(folder))
        assert cache.clear() == 2
        assert cache.load("a") is None
        assert cache.clear() == 0

    def test_home_is_the_default_place(self, monkeypatch, tmp_path):
        monkeypatch.delenv("FASTLOSS_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.setattr(sys, "platform", "linux")
        assert cache.folder() == tmp_path / "xdg" / "fastloss"
