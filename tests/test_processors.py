"""Kinds of processors: that code is compiled for what they say, and none is left out in silence."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from fastloss.kernels import scalar
from tests import on_each_processor
from trust import kinds, processors, report
from trust.kinds import KINDS, OWN, Kind
from trust.ulp import loop_of


@pytest.mark.each_processor
def test_code_has_the_vectors_of_its_kind():
    features = os.environ.get("NUMBA_CPU_FEATURES", "")
    kind = next(kind for kind in KINDS.values() if kind.features == features)
    if not features:
        pytest.skip("the machine's own kind may have any")
    loop = loop_of(scalar.exp)
    loop(np.ones(8, np.float32), np.ones(8, np.float32))
    code = "".join(loop.inspect_asm().values())
    registers = {"x": 128, "y": 256, "z": 512}
    assert max(registers[name] for name in re.findall(r"%([xyz])mm", code)) == kind.bits
    assert bool(re.search(r"\tvfn?m(add|sub)", code)) == kind.fused


def test_a_kind_that_this_machine_lacks_says_what_is_missing(monkeypatch):
    assert KINDS[OWN].missing() == ""
    assert KINDS[OWN].environment == {}
    strange = Kind("", 128, False, "+sse2,+amx-of-tomorrow")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert strange.missing() == "this machine has no amx-of-tomorrow"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert strange.missing() == "this machine is aarch64, not x86-64"


def test_each_kind_runs_in_a_process_of_its_own_or_is_named(monkeypatch, capsys):
    shown = "NUMBA_CPU_FEATURES"
    strange = Kind("strange", 64, False, "+amx-of-tomorrow")
    monkeypatch.setattr(on_each_processor, "KINDS", {"x": strange, OWN: KINDS[OWN]})
    calls = []

    def run(command, env, check):
        calls.append((command, env.get(shown)))
        return subprocess.CompletedProcess(command, len(calls) % 2)

    monkeypatch.setattr(subprocess, "run", run)
    assert on_each_processor.main(["-k", "x"]) == 1
    assert calls == [([sys.executable, "-m", "pytest", "-k", "x"], os.environ.get(shown))]
    assert capsys.readouterr().out.splitlines() == [
        "",
        f"strange: left out: {strange.missing()}",
        "",
        "the machine's own: runs",
        "",
        "failed: the machine's own",
    ]
    assert on_each_processor.main([]) == 0
    assert calls[1][0][3:] == [*on_each_processor.TESTS, "-m", "each_processor"]
    assert on_each_processor.tests_of(strange)[-1] == "(not plain or compiled) and not long"
    assert on_each_processor.tests_of(kinds.KINDS["128"])[-1] == "not plain or compiled"


def test_other_instructions_and_versions_are_other_processors(monkeypatch):
    here = kinds.compiled_for()
    assert here == kinds.compiled_for()
    for name, value in (("CPU_NAME", "another"), ("CPU_FEATURES", "+avx512f,-fma")):
        with monkeypatch.context() as patch:
            patch.setattr(f"numba.config.{name}", value)
            assert kinds.compiled_for() != here
    monkeypatch.setattr("numba.__version__", "99.0")
    assert kinds.compiled_for() != here


def test_the_page_says_what_failed_and_what_was_not_tried(tmp_path):
    file = tmp_path / "results.xml"
    file.write_text(
        "<testsuites><testsuite>"
        "<testcase name='a'/><testcase name='b[x]'><failure message='off by&#10; 2'/></testcase>"
        "<testcase name='c'><skipped message='no fork'/></testcase><testcase name='d'/>"
        "</testsuite></testsuites>"
    )
    counts = processors._counted(file)
    assert counts == {"passed": 2, "failed": ["b[x]: off by 2"], "skipped": ["c: no fork"]}
    exact = processors._exact()
    numbers = exact | {"its gradient at the label": 0.0}
    parts = dict.fromkeys(processors.PARTS, counts)
    tried = {"compiled for": "an abacus", "numbers": numbers, "parts": parts}
    found = {"a kind": tried, "another": {"left out": "no abacus"}}
    page = processors.page({"exact": exact, "processors": found})
    assert "| odd inputs | **2, 1 skipped, 1 failed** |" in page
    assert "- a kind, odd inputs, failed: b[x]: off by 2" in page
    assert "- another: no abacus" in page
    assert "| its gradient at the label | -2.075041562e-09 | **0** |" in page
    assert "| loss of `[20, 0, -5]`, class 0 | 2.075041564e-09 | 2.075041564e-09 |" in page


def set_up(*arguments, **options):
    script = report.ROOT / "trust" / "aarch64.sh"
    return subprocess.run([script, *arguments], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_what_is_missing_for_aarch64_is_said(tmp_path):
    done = set_up()
    assert done.returncode == 1
    assert done.stderr.startswith("aarch64 cannot be set up: call it as ")
    if os.getuid() == 0:
        done = set_up(tmp_path / "folder", "numpy==2.0.0", user=65534)
        assert done.returncode == 1
        assert re.match(r"aarch64 cannot be set up: .*(needs root|not Debian)", done.stderr)
