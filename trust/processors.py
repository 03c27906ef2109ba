"""Which processors the promises were tried on: short vectors, unfused products, aarch64.

Each kind of `kinds.py` that this machine can stand in for runs a chosen part of the tests in a
fresh process with an empty store, and so does an emulated aarch64, which `aarch64.sh` sets up: in
the folder that the variable AARCH64 names, where it is found again, or else in one that is removed.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from . import processes, report
from .kinds import KINDS

TITLE = "Processors: what was run where"

# Few, as each kernel takes half a minute to compile by emulation.
_FORMS = (
    "few classes, class ids",
    "many classes, all options, soft labels, Hessian",
    "too many classes to keep, class ids",
    "BinaryCrossEntropyWithLogits",
    "Kullback-Leibler",
    "scores of rows",
)
PARTS = {
    "exact numbers": (
        "tests/test_accuracy.py::test_tiny_losses_keep_their_digits",
        "tests/test_accuracy.py::test_tiny_losses_in_float64",
        "tests/test_accuracy.py::test_losses_down_to_the_smallest_normal_number",
    ),
    "the numbers of plain Python": tuple(
        f"tests/test_result_hashes.py::test_compiled_code_agrees_with_plain_python[{form}]"
        for form in _FORMS
    ),
    "odd inputs": (
        "tests/test_trust_odd_inputs.py::test_all_promises_in_plain_python",
        "tests/test_trust_odd_inputs.py::test_promises_of_compiled_code",
    ),
    "threads and forks": tuple(
        f"tests/test_trust_survival.py::test_survives[{name}]"
        for name in ("four_threads", "fork_after_use", "fork_while_others_call")
    ),
    "the store": (
        "tests/test_cache.py::test_second_process_compiles_nothing",
        *(
            f"tests/test_cache.py::test_damaged_file_costs_only_a_compilation[{damage}]"
            for damage in ("truncated", "flipped")
        ),
    ),
}
# What the emulated Python needs for them, in the versions that are installed here.
NEEDED = ("numpy", "numba", "llvmlite", "scipy", "ml_dtypes", "mpmath", "hypothesis", "pytest")

# A confident row loses its digits first where sums are formed in another order. With the relative
# error that is allowed: (8 + gap) 2^-24 in float32, where the gap of the rows is 25 and 20.
_NUMBERS = {
    "loss of `[20, 0, -5]`, class 0": ("loss([20, 0, -5], '<f4')", 33 * 2**-24),
    "its gradient at the label": ("grad([20, 0, -5], '<f4')", 35 * 2**-24),
    "loss of `[100, 90, 80]`, class 0": ("loss([100, 90, 80], '<f4')", 28 * 2**-24),
    "the same in float64": ("loss([100, 90, 80], '<f8')", 28 * 2**-53),
}
_CODE = """
import json, sys
import numpy as np, fastloss as fl
from trust.kinds import compiled_for

def loss(row, dtype):
    return fl.cross_entropy([0], np.array([row], dtype))

def grad(row, dtype):
    return float(fl.cross_entropy.grad([0], np.array([row], dtype))[0, 0])

numbers = json.loads(sys.argv[1])
print(json.dumps([compiled_for(), {name: eval(code) for name, (code, _) in numbers.items()}]))
"""
# 2 hours, for what takes some 20 minutes by emulation.
SECONDS = 7200


def measure() -> dict[str, Any]:
    found = {}
    for kind in KINDS.values():
        print(f"  {kind.title}", flush=True)
        reason = kind.missing()
        found[kind.title] = {"left out": reason} if reason else _tried({}, **kind.environment)
    print("  aarch64, emulated", flush=True)
    with _emulator() as (python, reason):
        found["aarch64, emulated"] = (
            {"left out": reason} if reason else _tried({"python": python}, PATIENCE="10")
        )
    return {"exact": _exact(), "processors": found}


@contextmanager
def _emulator() -> Iterator[tuple[str, str]]:
    """An emulated Python, or why there is none."""
    if platform.machine() in ("aarch64", "arm64"):
        yield "", "this machine is one itself"
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("AARCH64", temporary))
        packages = [f"{name}=={version(name)}" for name in NEEDED]
        outcome = subprocess.run(
            [Path(__file__).parent / "aarch64.sh", folder, *packages],
            env=os.environ | {"PYTHON": sys.executable},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        lines = outcome.stderr.strip().splitlines() or ["it says nothing"]
        yield str(folder / "python"), lines[-1] if outcome.returncode else ""


def _tried(how: dict[str, str], **environment: str) -> dict[str, Any]:
    """What came out of all parts, on one processor."""
    with tempfile.TemporaryDirectory() as folder:
        settings = environment | {"FASTLOSS_CACHE_DIR": f"{folder}/store"}
        told = json.dumps(_NUMBERS)
        outcome = processes.run(_CODE, told, seconds=SECONDS, **how, **settings)
        if outcome.verdict != processes.OK:
            return {"left out": f"the first call {outcome.in_short}"}
        compiled_for, numbers = json.loads(outcome.output)
        parts = {}
        for part, tests in PARTS.items():
            file = Path(folder) / "results.xml"
            arguments = ("-q", "-p", "no:cacheprovider", f"--junitxml={file}", *tests)
            outcome = processes.run(
                processes.PYTEST, *arguments, seconds=SECONDS, **how, **settings
            )
            parts[part] = (
                _counted(file)
                if outcome.verdict == processes.OK
                else {"passed": 0, "skipped": [], "failed": [outcome.in_short]}
            )
            print(f"    {part}: {parts[part]}", flush=True)
    return {"compiled for": compiled_for, "numbers": numbers, "parts": parts}


def _counted(file: Path) -> dict[str, Any]:
    """How many tests passed, and which did not, with the reasons."""
    found: dict[str, Any] = {"passed": 0, "skipped": [], "failed": []}
    for case in ElementTree.parse(file).iter("testcase"):
        told = next((child for child in case if child.tag in ("skipped", "failure", "error")), None)
        if told is None:
            found["passed"] += 1
        else:
            kind = "skipped" if told.tag == "skipped" else "failed"
            reason = " ".join(told.get("message", "").split())[:160]
            found[kind].append(f"{case.get('name')}: {reason}")
    return found


def _exact() -> dict[str, float]:
    """What `_NUMBERS` should be, from the formula in many digits."""
    import mpmath

    with mpmath.workdps(60):
        first, second = ([mpmath.mpf(x) for x in row] for row in ([20, 0, -5], [100, 90, 80]))
        rests = [mpmath.fsum(mpmath.exp(x - row[0]) for x in row[1:]) for row in (first, second)]
        losses = [mpmath.log1p(rest) for rest in rests]
        right = [losses[0], -rests[0] / (1 + rests[0]), losses[1], losses[1]]
        return {name: float(number) for name, number in zip(_NUMBERS, right, strict=True)}


# -------------------------------------------------------------------------------------------------


_INTRODUCTION = """
A chosen part of the tests, in fresh processes with an empty store, on kinds of processors: on this
machine, with code that is compiled for fewer instructions than it has, and on an aarch64 that is
emulated, with Debian's Python and the wheels of the package index. The compiled code is what users
of such a processor run; what an emulator cannot show is how the memory of several cores behaves.

`make test-processors` runs far more tests on the kinds of x86-64 whenever something is changed.
"""
_OF_NUMBERS = """
## A confident row

What is lost first where sums are formed in another order. Exact is the formula in 60 digits; what
is off by more than the contract allows, (8 + gap) 2^-24 and in float64 2^-53, would be bold.
"""


def page(result: dict[str, Any]) -> str:
    found = result["processors"]
    tried = {title: one for title, one in found.items() if "parts" in one}
    passed = [[part, *(_in_short(one["parts"][part]) for one in tried.values())] for part in PARTS]
    tests = [[part, ", ".join(f"`{test}`" for test in tests)] for part, tests in PARTS.items()]
    return "\n\n".join(
        [
            _INTRODUCTION.strip(),
            report.table(["tests passed", *tried], passed),
            *_remarks(tried, found),
            _OF_NUMBERS.strip(),
            report.table(
                ["", "exact", *tried],
                [
                    [name, f"{right:.10g}", *(_number(name, one, right) for one in tried.values())]
                    for name, right in result["exact"].items()
                ],
            ),
            "## What code was compiled for",
            report.table(["", ""], [[title, one["compiled for"]] for title, one in tried.items()]),
            "## Which tests",
            report.table(["", ""], tests),
        ]
    )


def _remarks(tried: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """What failed, was skipped and could not be tried."""
    for what in ("failed", "skipped"):
        lines = [
            f"- {title}, {part}, {what}: {line}"
            for title, one in tried.items()
            for part, counts in one["parts"].items()
            for line in counts[what]
        ]
        if lines:
            yield "\n".join(lines)
    left_out = [f"- {title}: {found[title]['left out']}" for title in found if title not in tried]
    if left_out:
        yield "Not tried:"
        yield "\n".join(left_out)


def _number(name: str, one: dict[str, Any], right: float) -> str:
    number = one["numbers"][name]
    text = f"{number:.10g}"
    return text if abs(number - right) <= _NUMBERS[name][1] * abs(right) else f"**{text}**"


def _in_short(counts: dict[str, Any]) -> str:
    words = [str(counts["passed"])]
    words += [f"{len(counts[what])} {what}" for what in ("skipped", "failed") if counts[what]]
    text = ", ".join(words)
    return f"**{text}**" if counts["failed"] else text
