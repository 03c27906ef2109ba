"""Compiled code is kept on disk: found again, never stale, and never the cause of an error."""

import math
import os
import pickle
import shutil
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numba
import numba.extending
import numpy as np
import pytest
from numba.core.registry import cpu_target
from plain import plain
from processes import run_python

import fastloss as fl
from fastloss.compiler import fingerprint, jit, numba_api, snapshot, store

# Prints how many kernels were compiled and how many loaded, and the results as exact text. The loss
# is one that is soon compiled.
WORK = """
import numpy as np
import fastloss as fl
from fastloss.compiler import jit

y_pred = np.linspace(-3, 3, 12, dtype=np.float32)
loss, grad = fl.mse.value_and_grad(np.ones(12, np.float32), y_pred)
print(jit.counts["compiled"], jit.counts["loaded"], loss.hex(), grad.tobytes().hex())
"""

# A loss of a user, in a module of their own whose path is the argument.
OWN = """
import sys
sys.path.insert(0, sys.argv[1])
from own_loss import Own
from fastloss.compiler import jit

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


@pytest.mark.long
def test_second_process_compiles_nothing(stored):
    folder, results = stored
    assert work(folder) == (0, 1, results)


def test_a_stored_kernel_needs_nothing_of_what_it_was_made_of(stored):
    code = WORK + "print(len(jit._dispatchers))"
    assert run_python(code, FASTLOSS_CACHE_DIR=str(stored[0])).splitlines()[-1] == "0"


@pytest.mark.long
def test_edited_scalar_function_recompiles(tmp_path):
    assert own(tmp_path, "r * r") == (1, 0, 4.0)
    assert own(tmp_path, "r * r") == (0, 1, 4.0)
    assert own(tmp_path, "r * r * r") == (1, 0, 8.0)
    # What was compiled before is still there.
    assert own(tmp_path, "r * r") == (0, 1, 4.0)


@pytest.mark.long
def test_edited_helper_recompiles(tmp_path):
    assert own(tmp_path, "helper(r)", helper="r + 1") == (1, 0, 3.0)
    assert own(tmp_path, "helper(r)", helper="r + 2") == (1, 0, 4.0)
    assert own(tmp_path, "helper(r)", helper="r + 2") == (0, 1, 4.0)


@pytest.mark.long
def test_edited_global_number_recompiles(tmp_path):
    assert own(tmp_path, "FACTOR * r", factor=3.0) == (1, 0, 6.0)
    assert own(tmp_path, "FACTOR * r", factor=5.0) == (1, 0, 10.0)


# A folder of a user's modules: what the functions of `functions.py` read comes from all the others.
# Each reads one number, in one way only.
READING = {
    "pkg/__init__.py": "",
    "pkg/consts.py": "K = {k}",
    "pkg/helpers.py": """
import numba

@numba.njit
def h(x):
    return x + {k}

def plain(x):
    return x * {k}
""",
    # Named like one of the standard library, which are not looked into.
    "statistics.py": """
K = {k}

def f(x):
    return x + K
""",
    "functions.py": """
import enum
import numba
import numpy as np
import pkg.consts
import pkg.helpers
import statistics
from pkg import consts, helpers
from pkg.helpers import h as imported
from statistics import f

N = {k}
TABLE = np.array([0.0, {k}])
PAIR = (7.0, ({k}, 1))

class Level(enum.Enum):
    HIGH = {k}

class Number(enum.IntEnum):
    HIGH = {k}

def default(x, k={k}):
    return x + k

def made(k):
    return numba.njit(lambda x: x * k)

closure = made({k})

@numba.njit(error_model="numpy")
def through_global(x):
    return x + N

def deep(x):
    return through_global(x) + 1

def inner(x):
    def inside(x):
        return x + consts.K
    return inside(x)

def comprehension(x):
    total = 0.0
    for each in [consts.K * i for i in range(3)]:
        total += each
    return total

FUNCTIONS = {{
    "package": lambda x: pkg.consts.K,
    "njit in a package": lambda x: pkg.helpers.h(x),
    "function in a module": lambda x: helpers.plain(x),
    "imported njit": lambda x: imported(x),
    "njit of a closure": lambda x: closure(x),
    "njit with a global": deep,
    "inner function": inner,
    "comprehension": comprehension,
    "array": lambda x: TABLE[1],
    "nested tuple": lambda x: PAIR[1][0],
    "enum": lambda x: Level.HIGH.value,
    "int enum": lambda x: Number.HIGH + 0,
    "name of the standard library": lambda x: f(x) + statistics.K,
    "defaults": default,
}}
""",
}
# What cannot be known completely.
OPAQUE = {
    "functions.py": """
import numba
import numpy as np
from numba.extending import intrinsic, lower_builtin, overload, type_callable
import consts

@numba.vectorize
def by_element(x):
    return x + {k}

@numba.vectorize(["float64(float64)"])
def universal(x):
    return x + {k}

@intrinsic
def constant(typingctx):
    def codegen(context, builder, signature, args):
        return context.get_constant(numba.types.float64, {k})
    return numba.types.float64(), codegen

def plain(x):
    return 1000.0

@overload(plain)
def _(x):
    return lambda x: x + {k}

@overload(np.busday_count)
def _(x):
    return lambda x: x + {k}

def typed(x):
    return 1000.0

@type_callable(typed)
def _(context):
    return lambda x: numba.types.float64

@lower_builtin(typed, numba.types.float64)
def _(context, builder, signature, args):
    return context.get_constant(numba.types.float64, {k})

@numba.njit("float64(float64)")
def eager(x):
    return x + {k}

FUNCTIONS = {{
    "vectorize": lambda x: by_element(x),
    "ufunc": lambda x: universal(x),
    "intrinsic": lambda x: constant(),
    "overload": lambda x: plain(x),
    "overload of NumPy": lambda x: np.busday_count(x),
    "type_callable": lambda x: typed(x),
    "eager": lambda x: eager(x),
    "getattr": lambda x: getattr(consts, "K"),
}}
""",
    "consts.py": "K = {k}",
}
READ = """
import sys
from dataclasses import dataclass
from functools import reduce
sys.path.insert(0, sys.argv[1])
import fastloss as fl
from fastloss.compiler import fingerprint, jit
from fastloss.compiler.snapshot import snapshot
from functions import FUNCTIONS

for name, function in FUNCTIONS.items():
    print(name, *fingerprint.fingerprint(snapshot(function)), sep=":")

def added(first, second):
    return lambda x: first(x) + second(x)

whole = reduce(added, FUNCTIONS.values())

@dataclass(frozen=True)
class Whole(fl.ElementwiseLoss):
    def scalar(self, y_true, y_pred):
        return 1.0 * whole(y_pred), 0.0

value = Whole()([0.0], [3.0])
print(value, jit.counts["compiled"], jit.counts["loaded"])
"""


def read(folder: Path, modules: dict[str, str], k: int) -> tuple[dict[str, tuple[str, ...]], str]:
    """The fingerprints of functions, and what becomes of a loss that calls them all."""
    for name, text in modules.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.format(k=k))
    output = run_python(
        READ, str(folder), FASTLOSS_CACHE_DIR=str(folder / "cache"), PYTHONDONTWRITEBYTECODE="1"
    )
    *rows, done = output.splitlines()
    return {name: tuple(rest) for name, *rest in (row.split(":") for row in rows)}, done


@pytest.mark.long
def test_what_is_read_from_anywhere_is_never_stale(tmp_path):
    before, done = read(tmp_path, READING, 10)
    assert done == "229.0 1 0"  # with x = 3 they add up to 19 + 21 k
    assert {complete for _, complete in before.values()} == {"True"}
    assert read(tmp_path, READING, 10) == (before, "229.0 0 1")
    after, done = read(tmp_path, READING, 20)
    assert done == "439.0 1 0"
    assert [name for name, digest in after.items() if digest == before[name]] == []


@plain
def test_rules_of_users_are_told_from_those_of_numba():
    def typed(x):
        return 0.0

    assert not snapshot.is_extended(typed)
    numba.extending.type_callable(typed)(lambda context: lambda x: numba.types.float64)
    assert snapshot.is_extended(typed)
    # Numba tells itself of these in the same ways.
    for function in (math.sin, np.sum, np.interp, math.trunc):
        assert not snapshot.is_extended(function)


@pytest.mark.long
def test_what_cannot_be_known_is_not_stored(tmp_path):
    for k in (10, 20):
        fingerprints, done = read(tmp_path, OPAQUE, k)
        assert {complete for _, complete in fingerprints.values()} == {"False"}
        assert done == f"{15.0 + 8 * k} 1 0"
    assert not files_in(tmp_path / "cache")


@pytest.mark.long
def test_options_are_not_compiled_in(tmp_path):
    """But for 0 and 1, which cost nothing then."""
    code = """
import fastloss as fl
from fastloss.compiler import jit

for weight in (2.5, 2.0, 3):
    loss = fl.BinaryCrossEntropyWithLogits(pos_weight=weight)
    print(round(loss([1.0], [0.0]) / weight, 12))
print(jit.counts["compiled"])
"""
    output = run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path)).split()
    assert output == ["0.69314718056"] * 3 + ["1"]


@pytest.mark.long
def test_unwritable_folder_costs_only_a_compilation(tmp_path, stored):
    # A file where the folder should be cannot be written even by root.
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    _, results = stored
    assert work(blocked / "cache") == (1, 0, results)
    assert work(blocked) == (1, 0, results)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root writes anywhere")
@pytest.mark.long
def test_read_only_folder_costs_only_a_compilation(tmp_path):
    tmp_path.chmod(0o500)
    try:
        compiled, loaded, _ = work(tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert (compiled, loaded) == (1, 0)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign", "unpicklable"])
@pytest.mark.long
def test_damaged_file_costs_only_a_compilation(tmp_path, stored, monkeypatch, damage):
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
            monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path))
            store.save(name, b"no pickle")
    assert work(tmp_path) == (1, 0, results)
    assert work(tmp_path) == (0, 1, results)  # the damage was mended


@pytest.mark.long
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


@pytest.mark.long
def test_losses_of_a_script_are_found_again(tmp_path):
    """A class of __main__ cannot be imported by name; its code is found by what it says."""
    code = """
from dataclasses import dataclass
import fastloss as fl
from fastloss.compiler import jit
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
    @pytest.mark.long
    def test_folder_and_files_are_private(self, tmp_path):
        folder = tmp_path / "new" / "cache"
        work(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in files_in(folder)} == {0o600}

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
    @pytest.mark.long
    def test_folder_that_others_can_write_is_refused(self, tmp_path, stored, monkeypatch, mode):
        folder, results = stored
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        tmp_path.chmod(mode)
        assert work(tmp_path) == (1, 0, results)
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path))
        problem = store.state().problem
        assert problem is not None
        assert "chmod go-w" in problem

    def test_link_to_a_folder_is_judged_by_the_folder(self, tmp_path, monkeypatch):
        target = tmp_path / "target"
        target.mkdir(mode=0o700)
        (tmp_path / "link").symlink_to(target)
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path / "link"))
        assert store.state().problem is None
        target.chmod(0o777)
        assert store.state().problem is not None


class TestKey:
    """What is in the name of a stored file besides the fingerprint of its function."""

    def file(self) -> str:
        codegen = cpu_target.target_context.codegen()
        return jit._StoredCode("name", "mark")._file((), codegen)

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("OPT", 0),
            ("LOOP_VECTORIZE", 0),
            ("SLP_VECTORIZE", 1),
            ("ENABLE_AVX", False),
            ("BOUNDSCHECK", 1),
            ("DEBUGINFO_DEFAULT", 1),
            ("USING_SVML", True),
            ("LLVM_REFPRUNE_FLAGS", "none"),
            ("CPU_NAME", "generic"),
            ("CPU_FEATURES", "+sse4.2"),
            ("A_SETTING_OF_A_LATER_NUMBA", 1),
        ],
    )
    def test_settings_of_numba(self, setting, value, monkeypatch):
        before = self.file()
        monkeypatch.setattr(numba.config, setting, value, raising=False)
        assert self.file() != before

    def test_settings_that_shape_no_code(self, monkeypatch):
        before = self.file()
        for setting in ("NUMBA_NUM_THREADS", "CACHE_DIR", "CUDA_LOG_LEVEL"):
            monkeypatch.setattr(numba.config, setting, "other")
        assert self.file() == before

    def test_sources(self, monkeypatch):
        before = self.file()
        monkeypatch.setattr(jit, "SOURCES", "other")
        assert self.file() != before

    def test_every_source_of_kernels_and_compiler_and_the_version_count(self, tmp_path):
        package = Path(fl.__file__).parent
        folder = tmp_path / "fastloss"
        for own in ("compiler", "kernels"):
            shutil.copytree(package / own, folder / own)
        shutil.copy(package / "__init__.py", folder)

        def digest() -> str | None:
            return fingerprint._digest_of_sources(folder)

        found = {digest()}
        assert found == {fingerprint.SOURCES}
        files = list(folder.rglob("*.py"))
        for file in files:
            file.write_text(file.read_text() + "#")
            found.add(digest())
        assert len(found) == len(files) + 1
        shutil.rmtree(folder)
        assert digest() is None


class TestStore:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_round_trip(self):
        assert store.load("name") is None
        store.save("name", b"payload")
        assert store.load("name") == b"payload"
        store.save("name", b"")
        assert store.load("name") == b""

    def test_a_file_that_is_cut_short_or_changed_anywhere_is_absent(self, folder):
        store.save("name", b"payload")
        (file,) = files_in(folder)
        content = file.read_bytes()
        for place, byte in enumerate(content):
            for damaged in (
                content[:place],
                content[:place] + bytes([byte ^ 1]) + content[place + 1 :],
            ):
                file.write_bytes(damaged)
                assert store.load("name") is None, place
        file.write_bytes(content)
        assert store.load("name") == b"payload"

    def test_a_file_of_another_name_is_absent(self, folder):
        store.save("name", b"payload")
        (folder / "name.code").rename(folder / "other.code")
        assert store.load("other") is None

    def test_state_and_clear(self, folder):
        assert store.state()[2:] == (0, 0)
        store.save("a", b"1")
        store.save("b", b"22")
        state = store.state()
        assert state.path == folder
        assert state.problem is None
        assert state.files == 2
        assert state.size == sum(file.stat().st_size for file in files_in(folder))
        assert store.clear() == 2
        assert store.load("a") is None
        assert store.clear() == 0

    def test_a_folder_in_the_home_that_no_shell_has_looked_at(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", os.path.join("~", "x"))
        store.save("name", b"payload")
        assert files_in(tmp_path / "x")
        monkeypatch.setenv("FASTLOSS_CACHE_DIR", "~nobody-of-this-name")
        store.save("name", b"payload")
        assert store.load("name") is None
        assert "not known" in store.state().problem
        assert [path.name for path in tmp_path.iterdir()] == ["x"]

    def test_home_is_the_default_place(self, monkeypatch, tmp_path):
        monkeypatch.delenv("FASTLOSS_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.setattr(sys, "platform", "linux")
        assert store.folder() == tmp_path / "xdg" / "fastloss"


def test_code_is_kept_without_a_look_for_the_source_of_kernels():
    """Kernels have none, and where Python 3.13.0 finds another file for it, it stumbles."""

    class Annotation:
        def __str__(self):
            raise AssertionError("the source was asked for")

    class Result(NamedTuple):
        library: Any
        type_annotation: Any

        def _reduce(self):
            return (str(self.type_annotation),)

    result = Result(SimpleNamespace(has_dynamic_globals=False), Annotation())
    assert pickle.loads(numba_api.dumped(result)) == ("",)
