"""`fastloss bench`: what it measures, shows, compares and refuses. Nothing here is timed."""

import base64
import json
import math
import os
import platform
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import fastloss as fl
from fastloss import cli
from fastloss.catalogue import entries
from fastloss.kernels.storage import FLOATS
from fastloss.study import (
    GRADIENT,
    LOSS,
    NEW_ARRAY,
    Contender,
    Job,
    Workload,
    bootstrap,
    changes,
    charts,
    command,
    contenders,
    hosts,
    jobs,
    machine,
    measure,
    memory,
    page,
    report,
    run,
    suites,
)
from fastloss.study.contender import FASTLOSS, NAIVE
from fastloss.study.processes import run_python
from fastloss.study.report import ROOF
from fastloss.study.suites import FULL, QUICK, SECTIONS, Selection, select
from fastloss.study.workloads import EVALUATED, NUMBERS

DOCS = Path(__file__).parent.parent / "docs" / "study.md"


# ---------------------------------------------------------------------------------------------
# What is measured


def test_the_full_suite_has_what_it_claims():
    sizes = {w.size for w in FULL.comparisons[suites.SIZES] if w.loss == "mse"}
    assert min(sizes) == 32
    assert max(sizes) == 64 * 2**20
    classes = {w.shape[-1] for w in FULL.comparisons[suites.CLASSES]}
    assert min(classes) == 2
    assert max(classes) == 262_144
    assert len({w.size for w in FULL.comparisons[suites.CLASSES]}) == 1
    dtypes = {w.dtype for w in FULL.comparisons[suites.DTYPES]}
    assert dtypes == set(FLOATS)
    losses = {w.loss for w in FULL.comparisons[suites.FAMILIES]}
    assert losses == {next(iter(entry.instances)) for entry in entries()}
    assert FULL.mapped_gib == 4
    assert not FULL.left_out


def test_the_quick_suite_has_one_loss_of_each_family():
    family = {name: entry.family for entry in entries() for name in entry.instances}
    losses = [w.loss for w in QUICK.comparisons[suites.FAMILIES]]
    assert sorted(map(family.get, losses)) == sorted(set(family.values()))


@pytest.mark.parametrize("suite", [QUICK, FULL], ids=lambda suite: suite.name)
def test_every_section_of_a_suite_has_workloads(suite):
    assert set(suite.comparisons) == set(suites.TASKS)
    assert all(suite.comparisons.values())
    assert suite.threads
    assert suite.memory
    assert suite.cold
    assert {case.host for case in suite.hosts} == {*hosts.BOOSTERS, "torch"}
    assert set(suites.TASKS) | {"threads", "memory", "cold", "hosts", "jobs"} == set(SECTIONS)
    assert {w.numbers for w in suite.comparisons[suites.DATA]} == set(NUMBERS)


def test_selecting_a_part():
    part = select(QUICK, Selection(losses=["mse"]))
    chosen = [w for them in part.comparisons.values() for w in them]
    assert {w.loss for w in (*chosen, *part.threads)} == {"mse"}
    assert not part.memory
    assert part.mapped_gib == 0
    part = select(QUICK, Selection(sections=["memory", "jobs"]))
    assert part.memory == QUICK.memory
    assert part.mapped_gib == QUICK.mapped_gib
    assert not any(part.comparisons.values())
    part = select(QUICK, Selection(dtypes=["float64"]))
    assert [w.dtype for them in part.comparisons.values() for w in them] == ["float64"]


def test_hosts_and_evaluations_have_no_loss_to_choose():
    part = select(QUICK, Selection(sections=[suites.HOSTS]))
    assert part.hosts == QUICK.hosts
    assert not any(part.comparisons.values())
    part = select(QUICK, Selection(losses=["cross_entropy"]))
    assert not part.hosts
    section = "evaluation"
    chosen = Selection([section], ["cross_entropy"], [(7, 3)])
    assert select(QUICK, chosen).comparisons[section] == (Workload("cross_entropy", (7, 3)),)
    with pytest.raises(ValueError, match="--loss cross_entropy"):
        select(QUICK, Selection([section], ["mse"], [(7,)]))
    for sections in ([], [section]):
        part = select(QUICK, Selection(sections, ["binary"], [(7,)]))
        assert part.comparisons.pop(section) == (Workload("binary", (7,)),)
        assert not any(part.comparisons.values())
    for suite in (QUICK, FULL):
        assert {w.loss for w in suite.comparisons[section]} == set(EVALUATED)


def test_a_workload_that_no_suite_has():
    part = select(QUICK, Selection(losses=["huber"], shapes=[(7, 3)], dtypes=["float64"]))
    assert part.comparisons[suites.SPEED] == (Workload("huber", (7, 3), "float64"),)
    known = Workload("mse", QUICK.comparisons[suites.SPEED][3].shape)
    part = select(QUICK, Selection(losses=["mse"], shapes=[known.shape]))
    assert [w for them in part.comparisons.values() for w in them] == [known]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(shapes=[(7, 3)]), "nothing of the suite quick is like that"),
        (Selection(sections=["sped"]), "no section is called sped"),
    ],
)
def test_selecting_nothing(selection, message):
    with pytest.raises(ValueError, match=message):
        select(QUICK, selection)


# ---------------------------------------------------------------------------------------------
# Contenders of users


@pytest.fixture
def documented(tmp_path):
    """The file of docs/study.md."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "dot.py"
    path.write_text(code, encoding="utf-8")
    return str(path)


WRONG = """
from fastloss.study import Contender, Job
from fastloss.kernels.storage import FLOATS
class Wrong(Contender):
    name = "wrong"
    def job(self, loss, task, data):
        return Job(lambda: 0.5) if task == "loss" else None
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from fastloss.study import Contender", "no class that derives from"),
        (WRONG.replace("wrong", "pytorch"), "another contender called 'pytorch'"),
        (WRONG.replace("def job", "def work"), "needs a name and a method job"),
        (WRONG.replace("name =", "title ="), "needs a name and a method job"),
    ],
)
def test_files_without_a_contender(code, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(code, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        contenders.users([str(path)])


class Installed(Contender):
    name = "installed"

    def job(self, loss, task, data):
        return None


def test_entry_points_bring_contenders(monkeypatch):
    def entry_points(group):
        return [EntryPoint("mine", f"{__name__}:{value}", group)]

    monkeypatch.setattr(contenders, "entry_points", entry_points)
    value = "Installed"
    (mine,) = contenders.users()
    assert isinstance(mine, Installed)
    value = "DOCS"
    with pytest.raises(ValueError, match="entry point mine"):
        contenders.users()


def test_choosing_contenders():
    field = [Installed(), *contenders.LIBRARIES]
    chosen = command.chosen(["pytorch", "Installed"], field)
    assert [who.name for who in chosen] == ["installed", "PyTorch", FASTLOSS]
    assert command.chosen([], field) == field
    with pytest.raises(ValueError, match="no contender is called TensorFlow: there are installed"):
        command.chosen(["TensorFlow"], field)


# ---------------------------------------------------------------------------------------------
# A run


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(measure, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(measure, "TURN_SECONDS", 0.0)


def bench(*arguments):
    small = ["--loss", "mse", "--shape", "500", "--section", "speed", "--seconds", "0"]
    return cli.main(["bench", *small, "--contender", "careful NumPy", *arguments])


@pytest.mark.long
def test_a_run_of_a_workload_with_a_contender_of_ones_own(documented, hurried, tmp_path, capsys):
    folder = tmp_path / "results"
    mine = ["--contender-file", documented, "--contender", "dot product"]
    assert bench(*mine, "--output", str(folder)) == 0
    printed = capsys.readouterr().out
    assert "500" in printed
    assert str(folder) in printed
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert study["complete"]
    assert study["suite"] == "quick"
    assert study["problems"] == []
    assert study["machine"]["versions"]["numpy"] == np.__version__
    found = [(r["loss"], r["shape"], r["task"]) for r in study["results"]]
    assert found == [("mse", [500], task) for task in suites.TASKS["speed"]]
    for result in study["results"]:
        names = [cell["contender"] for cell in result["cells"]]
        assert names == ["careful NumPy", FASTLOSS, "dot product"]
        for times in (result["roof"], *result["cells"]):
            assert 0 < times["min"] <= times["median"]
            assert times["rounds"] == measure.MIN_ROUNDS
    own = study["results"][1]["cells"][2]
    assert own["does"] == NEW_ARRAY
    # The same files again, from the results alone.
    html = (folder / "report.html").read_text(encoding="utf-8")
    again = tmp_path / "again"
    assert cli.main(["bench", "report", str(folder / "study.json"), "--output", str(again)]) == 0
    assert (again / "report.html").read_text(encoding="utf-8") == html
    assert (again / "summary.md").read_bytes() == (folder / "summary.md").read_bytes()
    same = str(folder / "study.json")
    assert cli.main(["bench", "compare", same, same]) == 0
    assert "fastloss is worse in 0" in capsys.readouterr().out


@pytest.mark.long
def test_a_workload_in_processes_of_its_own(documented, tmp_path):
    mine = ["--contender-file", documented, "--contender", "dot product"]
    assert bench(*mine, "--processes", "2", "--output", str(tmp_path)) == 0
    study = command.load(tmp_path / "study.json")
    assert study["processes"] == 2
    for result in study["results"]:
        assert [cell["contender"] for cell in result["cells"]][1:] == [FASTLOSS, "dot product"]
        for times in (result["roof"], *result["cells"]):
            assert len(times["seconds"]) == 2
            assert times["rounds"] == sum(map(len, times["seconds"]))


@pytest.mark.long
def test_who_is_wrong_is_left_out_and_named(hurried, tmp_path, capsys):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG, encoding="utf-8")
    mine = ["--contender-file", str(path), "--contender", "wrong"]
    assert bench(*mine, "--output", str(tmp_path)) == 1
    assert "failed: mse-500-float32, wrong: loss: wrong: an error of" in capsys.readouterr().out
    study = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert "an error of" in study["problems"][0]
    names = {cell["contender"] for result in study["results"] for cell in result["cells"]}
    assert names == {"careful NumPy", FASTLOSS}
    for name in ("report.html", "summary.md"):
        assert "an error of" in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.long
def test_an_interrupted_run_keeps_what_it_had(hurried, tmp_path, monkeypatch, capsys):
    real = command.Study._compare

    def compare(self, section, workload):
        if self.document["results"]:
            raise KeyboardInterrupt
        return real(self, section, workload)

    monkeypatch.setattr(command.Study, "_compare", compare)
    assert bench("--shape", "400", "--output", str(tmp_path)) == 130
    assert "interrupted" in capsys.readouterr().out
    study = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert not study["complete"]
    assert {tuple(result["shape"]) for result in study["results"]} == {(500,)}
    assert "interrupted" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_a_step_that_fails_does_not_end_the_run(tmp_path, monkeypatch):
    suite = select(QUICK, Selection(sections=["cold", "jobs"]))
    study = command.Study(suite, [], [], tmp_path)
    monkeypatch.setattr(study, "_training", lambda: 1 / 0)
    monkeypatch.setattr(study, "_cold", lambda workload: [{"loss": workload.loss, "cells": [1]}])
    monkeypatch.setattr(study, "_evaluation", lambda: [{"job": jobs.EVALUATION, "cells": []}])
    assert [step.section for step, _ in study.run()] == ["cold", "jobs", "jobs"]
    assert study.document["problems"] == ["jobs, training: division by zero"]
    assert study.document["results"] == [{"section": "cold", "loss": "cross_entropy", "cells": [1]}]
    assert study.document["complete"]


def test_hosts_that_are_missing_are_named(tmp_path, monkeypatch):
    cases = (hosts.Case("no_such_host", hosts.STEP, (3, 2)), hosts.Case("sys", hosts.STEP, (3, 2)))
    monkeypatch.setattr(hosts, "jobs", lambda case: {FASTLOSS: case.host, hosts.OWN: case.host})
    monkeypatch.setattr(run, "timed", lambda jobs, *_: dict.fromkeys(jobs, timing(1e-3)))
    suite = select(QUICK, Selection(sections=["hosts"]))._replace(hosts=cases)
    study = command.Study(suite, [], [], tmp_path)
    (_, nothing), (step, (result,)) = study.run()
    assert nothing == []
    assert study.document["not_available"] == ["no_such_host"]
    assert step.title == "sys-step-3x2"
    assert (result["section"], result["host"]) == ("hosts", "sys")
    assert [cell["contender"] for cell in result["cells"]] == [FASTLOSS, hosts.OWN]
    json.dumps(study.document)


@pytest.mark.parametrize(
    ("files", "smt", "boost", "huge_pages"),
    [
        ({}, None, None, None),
        ({"_SMT": "1\n", "_BOOST": "0\n", "_HUGE_PAGES": "always [never]\n"}, 1, 0, "never"),
        ({"_SMT": "0\n", "_NO_TURBO": "0\n", "_HUGE_PAGES": "[always] never\n"}, 0, 1, "always"),
        ({"_SMT": "notimplemented\n", "_NO_TURBO": "1\n"}, None, 0, None),
    ],
)  # fmt: skip
def test_what_a_machine_is_set_to(files, smt, boost, huge_pages, tmp_path, monkeypatch):
    for name in ("_SMT", "_BOOST", "_NO_TURBO", "_HUGE_PAGES"):
        path = tmp_path / name
        monkeypatch.setattr(machine, name, path)
        if name in files:
            path.write_text(files[name], encoding="utf-8")
    monkeypatch.setattr(machine, "cgroup_cpus", lambda: 1.5)
    found = json.loads(json.dumps(machine.machine(["pytest"] if smt else [])))
    assert (found["smt"], found["boost"], found["huge_pages"]) == (smt, boost, huge_pages)
    assert found["quota"] == 1.5
    assert found["kernel"] == platform.release()
    assert found["versions"].get("pytest") == (pytest.__version__ if smt else None)
    assert found["versions"]["numpy"] == np.__version__


def test_a_process_that_fails_costs_its_own_cell_alone(tmp_path, monkeypatch):
    def measured(workload, contender, task, files):
        if contender == NAIVE:
            run_python("-c", "raise SystemExit('no room')")
        return {"contender": contender, "task": task, "bytes": 0, "method": "samples"}

    monkeypatch.setattr(memory, "measure", measured)
    field = [contenders.Naive(), contenders.Fastloss()]
    study = command.Study(select(QUICK, Selection(sections=["memory"])), field, [], tmp_path)
    ((_, (result,)),) = study.run()
    assert {cell["contender"] for cell in result["cells"]} == {FASTLOSS}
    assert study.document["problems"] == [
        "memory, cross_entropy-2048x8192-float32, naive NumPy: "
        "a process ended with status 1: no room"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "mean"], "no loss is called mean"),
        (["--loss", "mse", "--loss", "dice", "--shape", "9"], "dice takes rows: give it a shape"),
        (["--loss", "ranking", "--shape", "9"], "ranking takes rows: give it a shape"),
        (["--loss", "binary", "--shape", "9x3"], "binary takes a line: give it a shape"),
        (["--contender", "TensorFlow"], "no contender is called TensorFlow"),
        (["--contender-file", "no/such/file.py"], "no/such/file.py"),
        (["report", "no/such/file.json"], "cannot be read"),
        (["compare", __file__, __file__], "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["--shape", "3x0"], ["--threads", "0"], ["--dtype", "f4"]])
def test_options_that_are_none(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["bench", "quick", *arguments])
    assert caught.value.code == 2
    assert f"argument {arguments[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["full"], ["report", "x"], ["compare", "x", "y"]])
def test_packages_that_are_missing(arguments, monkeypatch, capsys):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "rich" else name)
    assert cli.main(["bench", *arguments]) == 2
    assert 'needs rich: pip install "fastloss[bench]"' in capsys.readouterr().err


def test_options_stand_before_and_after_the_suite(monkeypatch):
    seen = []
    monkeypatch.setattr(command, "measure", lambda request: seen.append(request) or 0)
    cli.main(["bench"])
    cli.main(["bench", "--loss", "mse", "full", "--shape", "3x4", "--gib", "0.5"])
    default, both = seen
    assert default == command.Request("quick", Selection())
    assert both == command.Request("full", Selection((), ["mse"], [(3, 4)], ()), gib=0.5)
    cli.main(["bench", "--processes", "5"])
    assert seen[-1] == command.Request("quick", Selection(), processes=5)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs cannot be chosen here")
def test_threads_are_the_same_for_all_and_given_back(monkeypatch):
    monkeypatch.delenv("FASTLOSS_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0), fl.get_num_threads()
    with command._threads(1):
        assert len(os.sched_getaffinity(0)) == fl.get_num_threads() == 1
        assert os.environ["FASTLOSS_NUM_THREADS"] == "1"
    assert (os.sched_getaffinity(0), fl.get_num_threads()) == before
    assert "FASTLOSS_NUM_THREADS" not in os.environ
    with pytest.raises(ValueError, match="may use"), command._threads(len(before[0]) + 1):
        pass


# ---------------------------------------------------------------------------------------------
# Whole jobs


@pytest.mark.long
def test_all_evaluate_the_same_file(tmp_path):
    with jobs.file_of_logits(tmp_path, 5_000) as job:  # more rows than a chunk has
        found = {name: jobs._work(job, name)().loss for name in job.contenders}
        logits = np.load(Path(job.folder) / "logits.npy", mmap_mode="r")
        assert logits.shape == (5_000, 1_000)
        labels = np.load(Path(job.folder) / "labels.npy")
        x = logits.astype(np.float64)
        expected = np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(5_000), labels])
    assert list(found) == [NAIVE, jobs.IN_CHUNKS, jobs.CAREFUL, FASTLOSS]
    assert list(found.values()) == pytest.approx([expected] * 4, rel=1e-5)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_all_train_the_same_network():
    job = jobs.Job(jobs.TRAINING, 2)
    outcomes = [jobs._work(job, name)() for name in job.contenders]
    assert all(outcome.loss_seconds > 0 for outcome in outcomes)
    found = [outcome.loss for outcome in outcomes]
    assert found == pytest.approx([found[0]] * 3, rel=1e-10)
    assert 0 < found[0] < np.log(10)


@pytest.mark.long
def test_a_job_in_a_process_of_its_own(tmp_path):
    with jobs.file_of_logits(tmp_path, 20_000) as job:  # 76 MiB
        cell = jobs.measure(job, NAIVE, "bytes")
        assert job.needed_bytes(NAIVE) > 0
    assert 2 * 80e6 < cell["bytes"] < 7 * 80e6
    assert cell["process_bytes"] > cell["bytes"] + 10e6  # Python and NumPy
    assert jobs.rows_of(2**32) == 2**32 // 4_000


def test_memory_is_not_measured_of_who_lacks_the_loss(capsys):
    workload = Workload("cross_entropy", (4, 3))
    memory.main(json.dumps([workload, "scikit-learn metrics", NEW_ARRAY, []]))
    assert capsys.readouterr().out == "null\n"


# ---------------------------------------------------------------------------------------------
# Reports


ROUNDS = np.array([-2, -1, -1, 0, 1, 1, 2]) / 2  # in spreads, from the median


def timing(seconds, spread=0.01):
    return measure.summary([(seconds * (1 + spread * ROUNDS)).tolist()])


def cell(name, seconds, spread=0.01, **more):
    errors = {"loss_error": 1e-8, "grad_error": 1e-7}
    times = timing(seconds, spread)
    return {"contender": name, "does": LOSS, "remark": "", **errors, **times, **more}


def compared(section, loss, shape, *cells, task=LOSS, roof=1e-3):
    what = {"section": section, "loss": loss, "shape": shape, "dtype": "float32"}
    more = {"labels": "class ids", "main": False, "task": task, "roof": timing(roof)}
    return {**what, **more, "cells": list(cells)}


@pytest.fixture
def document():
    """Two rivals win a cell each, one by its median alone and within the noise."""
    cells = cell(NAIVE, 8e-3), cell("PyTorch", 0.9e-3, 0.5), cell(FASTLOSS, 2e-3)
    by_median = cell("JAX", 3.05e-3), cell(FASTLOSS, 3.1e-3, 0.2)
    row = {"backend": "pool", "threads": 1, "time": timing(4e-3), "speedup": 1.0}
    roof = {"backend": ROOF, "threads": 1, "time": timing(1e-3), "speedup": 1.0}
    of = {"loss": "mse", "shape": [1000, 1024], "dtype": "float32", "labels": "class ids"}
    peak = {"contender": FASTLOSS, "task": GRADIENT, "bytes": 3 << 20, "method": "samples"}
    start = cell("JAX", 1.5, what="first call", imports=timing(1.0), call=timing(0.5))
    within = [cell(name, seconds) for name, seconds in ((FASTLOSS, 1.0), (hosts.OWN, 1.5))]
    whole = {"contender": NAIVE, **timing(2.0), "bytes": 1 << 30, "loss": 0.123456789}
    whole |= {"process_bytes": 2 << 30, "loss_seconds": 0.5}
    machine = {
        "date": "2024-02-29", "cpu": "A <CPU>", "cpus": 2, "threads": 2, "caches": {"L2": "1M"},
        "governor": None, "system": "Linux", "versions": {"numpy": "2.0"}, "quota": 1.5,
        "smt": True, "boost": None, "load": 0.25, "memory": 2**33, "huge_pages": "madvise",
        "kernel": "6.1", "libc": None, "libraries": ["openblas 0.3, 2 threads"],
    }  # fmt: skip
    return {
        "format": 2,
        "suite": "quick",
        "processes": 1,
        "machine": machine,
        "complete": True,
        "not_available": ["numexpr"],
        "left_out": {"sizes": ["torch.compile"]},
        "problems": [],
        "results": [
            compared("speed", "mse", [4_000_000], *cells),
            compared("speed", "mse", [4_000_000], *by_median, task=GRADIENT),
            compared("sizes", "mse", [32], *cells[::2], task=GRADIENT),
            compared("sizes", "mse", [64], *cells[::2], task=GRADIENT),
            compared("classes", "cross_entropy", [64, 2], *cells[::2]),
            compared("calls", "mse", [32], *cells[::2]),
            {
                "section": "threads", **of, "task": LOSS,
                "rows": [{**row, "share_of_roof": 0.25}, {**roof, "share_of_roof": 1.0}],
            },
            {"section": "memory", **of, "cells": [peak]},
            {"section": "cold", **of, "cells": [start]},
            {"section": "jobs", "job": jobs.TRAINING, "size": 60, "cells": [whole]},
            {"section": "hosts", "host": "torch", "what": "step", "shape": [9, 3], "cells": within},
        ],
    }  # fmt: skip


def test_summary_shows_every_figure_and_every_losing_cell(document):
    text = page.markdown(document)
    assert (
        "| `mse`, loss | 4,000,000 | 1.00 [0.995 to 1.00] min 0.990 "
        "| **2.00** [1.99 to 2.01] min 1.98 | 50% "
        "| 8.00 [7.96 to 8.04] min 7.92 (4.0x, 4.0 to 4.0) "
        "| 0.900 [0.675 to 1.12] min 0.450 (0.45x, 0.34 to 0.56) ~ **▲** |"
    ) in text
    lost = text.partition("## Where another is faster")[2].partition("## Speed")[0]
    assert "faster than fastloss in 2 of 7 cells" in lost
    rows = [line for line in lost.splitlines() if line.startswith("| `")]
    assert "in 1 of them the whole interval of their ratio says so" in lost
    assert rows == [
        "| `mse`, loss | 4,000,000 | PyTorch | 0.900 [0.675 to 1.12] min 0.450 ~ "
        "| 2.00 [1.99 to 2.01] min 1.98 | 0.45x, 0.34 to 0.56 **▲** |",
        "| `mse`, loss + gradient | 4,000,000 | JAX | 3.05 [3.03 to 3.07] min 3.02 "
        "| 3.10 [2.79 to 3.41] min 2.48 ~ | 0.98x, 0.90 to 1.09 **▲** within the noise |",
    ]
    # All cells, of which fastloss is the fastest in all but two.
    assert "| fastloss | 6 | **1.00x, 1.00 to 1.00** | 4 |" in text
    assert "| naive NumPy | 5 | 4.0x, 4.0 to 4.0 | 0 |" in text
    assert "| JAX | 1 | 0.98x, 0.90 to 1.09 | 1 |" in text
    assert "| pool | 1 | 4.00 [3.98 to 4.02] min 3.96 | 1.00 | 25% |" in text
    assert "1,500 [1,492 to 1,507] min 1,485 (1.50x, 1.50 to 1.50) |" in text
    assert (
        "| `mse`, 1,000 x 1,024 | fastloss | loss + gradient | **3.0** by samples | 0.77 |" in text
    )
    assert "| `mse`, 1,000 x 1,024 | JAX | first call | 1,000 [995 to 1,005] min 990 |" in text
    assert "min 1,980 | 500 | 1,024.0 | 2,048.0 | 0.123456789 |" in text
    assert "- CPU: A <CPU>, 2 CPUs, a quota of 1.5\n- SMT, boost: on, unknown\n" in text
    assert "not installed, or not working here: numexpr" in text
    assert "Left out, as it compiles anew for every shape: torch.compile." in text
    assert "2 of 25 times are spread over more than 10%\n" in text


def test_a_busy_machine_is_called_so(document):
    for result in document["results"]:
        for each in result.get("cells", ()):
            each["spread"] = 0.2
    assert "this machine was busy" in page.markdown(document)


def test_a_performance_profile(document):
    """Times over those of the fastest of each of six cells; who takes no part is never counted."""
    compared = [result for result in document["results"] if result["section"] in suites.TASKS]
    assert report.profile(compared, "JAX") == [1, *[math.inf] * 5]
    assert report.profile(compared, FASTLOSS) == pytest.approx([1] * 4 + [3.1 / 3.05, 2 / 0.9])
    assert report.profile(compared, NAIVE) == pytest.approx([4] * 4 + [8 / 0.9, math.inf])
    (axes,) = charts.profile(compared).axes
    curves = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert curves["JAX"].tolist() == [[1, 0], [1, 1 / 6], [charts._PROFILE_ENDS, 1 / 6]]
    assert curves[FASTLOSS][-1, 1] == 1


def test_errors_over_times(document):
    compared = [result for result in document["results"] if result["section"] in suites.TASKS]
    of_naive, of_torch, _ = compared[0]["cells"]
    of_naive["grad_error"] = None  # it overflows
    of_torch |= {"loss_error": 0.0, "grad_error": 0.0}
    (axes,) = charts.errors(compared[:1]).axes
    points = {each.get_label(): each.get_offsets() for each in axes.collections}
    assert set(points) == {"PyTorch", FASTLOSS}
    np.testing.assert_allclose(points["PyTorch"], [[0.9, charts._NO_ERROR]])
    np.testing.assert_allclose(points[FASTLOSS], [[2.0, 1e-7]])


@pytest.mark.long
def test_the_page_needs_nothing_else(document):
    html = page.page(document)
    assert not re.findall(r"https?://|<script|<link|@import", html)
    sources = re.findall(r'src="(.*?)"', html)
    prefix = "data:image/svg+xml;base64,"
    assert len(sources) == 11
    assert all(source.startswith(prefix) for source in sources)
    assert all(b"</svg>" in base64.b64decode(source.removeprefix(prefix)) for source in sources)
    assert "A &lt;CPU&gt;" in html
    assert html.count('class="lost"') == 4  # each in the list of losses and in its table
    for title in ("Where another is faster", "Speed", "Threads", "Memory", "Cold start"):
        anchor = title.lower().replace(" ", "-")
        assert f'<a href="#{anchor}">{title}</a>' in html
        assert f'<h2 id="{anchor}">{title}</h2>' in html
    assert "What failed" not in html
    failed = page.page({**document, "results": [], "problems": ["a < b"]})
    assert "What failed, or did not fit:<ul><li>a &lt; b</li></ul>" in failed


def test_a_loss_of_which_fastloss_failed_is_shown_all_the_same(document):
    del document["results"][0]["cells"][2]
    document["results"] = document["results"][:1]
    assert "| `mse`, loss | 4,000,000 | 1.00 [0.995 to 1.00]" in page.markdown(document)
    assert "4,000,000" in page.page(document)


# ---------------------------------------------------------------------------------------------
# Two runs


def copy_of(document):
    return json.loads(json.dumps(document))


def cell_of(document, result, name):
    cells = document["results"][result]["cells"]
    return next(cell for cell in cells if cell["contender"] == name)


def slower(times, factor):
    """The same times, so many times longer."""
    rounds = [[factor * seconds for seconds in each] for each in times["seconds"]]
    times.update(measure.summary(rounds))


def verdicts(before, after):
    found = changes.changes(before, after)
    return {change.key: change.verdict for change in found.changes if change.verdict}


SPEED_KEY = ("speed", "mse", "4,000,000", "float32", LOSS)


def test_nothing_changed(document):
    found = changes.changes(document, copy_of(document))
    assert not found.regressions()
    assert len(found.changes) == 27
    assert all(change.ratio.value == 1 for change in found.changes)
    lines = changes.text(found).splitlines()
    assert lines[0] == (
        "27 figures in both: fastloss is worse in 0, 27 have intervals (99.9%) that include 1"
    )
    assert "--processes 3" in lines[1]


def test_a_regression_is_told_from_noise(document):
    after = copy_of(document)
    slower(cell_of(after, 0, FASTLOSS), 1.015)  # within 2%, over which rounds are spread
    assert not verdicts(document, after)
    slower(cell_of(after, 0, FASTLOSS), 1.03)
    found = changes.changes(document, after)
    assert [change.key for change in found.regressions()] == [(*SPEED_KEY, FASTLOSS)]
    assert verdicts(after, document) == {(*SPEED_KEY, FASTLOSS): "faster"}
    cell_of(after, 0, FASTLOSS).update(timing(2e-3 * 1.045, 0.2))
    assert not verdicts(document, after)


def test_minima_do_not_make_a_verdict(document):
    after = copy_of(document)
    times = cell_of(after, 0, FASTLOSS)
    times.update(measure.summary([[1e-3, *times["seconds"][0][1:]]]))
    assert not verdicts(document, after)


def test_rounds_of_several_processes_are_not_independent(document):
    """The second of three happened to be slow: so may be all of another run."""
    rounds = timing(2e-3)["seconds"]
    three = [*rounds, [1.3 * seconds for seconds in rounds[0]], *rounds]
    cell_of(document, 0, FASTLOSS).update(measure.summary(three))
    after = copy_of(document)
    slower(cell_of(after, 0, FASTLOSS), 1.2)
    assert not verdicts(document, after)
    slower(cell_of(after, 0, FASTLOSS), 1.2)
    assert verdicts(document, after) == {(*SPEED_KEY, FASTLOSS): "slower"}


def test_rivals_and_memory(document):
    after = copy_of(document)
    slower(cell_of(after, 0, NAIVE), 2)
    cell_of(after, 7, FASTLOSS)["bytes"] *= 2
    found = changes.changes(document, after)
    assert verdicts(document, after) == {
        (*SPEED_KEY, NAIVE): "slower",
        ("memory", "mse", "1,000 x 1,024", "float32", FASTLOSS, GRADIENT, "memory"): "larger",
    }
    assert [change.verdict for change in found.regressions()] == ["larger"]
    assert "slower, not ours" in changes.text(found)


def test_two_machines_are_compared_by_the_roof(document):
    after = copy_of(document)
    after["machine"]["cpu"] = "Another"
    for result in after["results"]:
        for times in [result.get("roof"), *result.get("cells", ())]:
            if times and "min" in times:
                slower(times, 3)
    assert not verdicts(document, after)
    slower(cell_of(after, 0, FASTLOSS), 1.5)
    found = changes.changes(document, after)
    assert [change.ratio.value for change in found.regressions()] == [pytest.approx(1.5)]
    assert "multiples of the roof" in changes.text(found)
    # Of what it is compared with; the rounds of fastloss and of the roof no longer go together.
    roof = after["results"][0]["roof"]
    roof.update(timing(roof["median"], 0.6))
    assert not verdicts(document, after)


def test_status_and_text_of_a_comparison(document, tmp_path, capsys):
    after = copy_of(document)
    slower(cell_of(after, 0, FASTLOSS), 2)
    del after["results"][9]
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, content in zip(paths, (document, after), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    assert cli.main(["bench", "compare", *map(str, paths)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == [
        "speed,", "mse,", "4,000,000,", "float32,", "loss,", "fastloss",
        "2.00", "ms", "4.00", "ms", "2.00", "1.97", "to", "2.03", "slower",
    ]  # fmt: skip
    assert lines[-1] == "only in the first: 2, such as jobs, training, 60, naive NumPy"
    paths[1].write_text(json.dumps({**after, "results": []}), encoding="utf-8")
    assert cli.main(["bench", "compare", *map(str, paths)]) == 2
    for content, message in [
        ({**after, "format": 1}, "of format 1, .* reads 2, .* run fastloss bench once more"),
        ([], "is no study"),
        ({"results": []}, "is no study"),
    ]:
        paths[1].write_text(json.dumps(content), encoding="utf-8")
        capsys.readouterr()
        assert cli.main(["bench", "compare", *map(str, paths)]) == 2
        assert re.search(message, capsys.readouterr().err)


# ---------------------------------------------------------------------------------------------
# Intervals


def test_an_interval_of_one_number_is_that_number():
    assert bootstrap.median([[2.0] * 7]) == (2.0, 2.0, 2.0)
    assert bootstrap.median([[2.0]]) == (2.0, 2.0, 2.0)


def test_slow_rounds_cancel_in_a_ratio_of_those_who_took_turns():
    rng = np.random.default_rng(0)
    machine = np.exp(rng.normal(0, 0.5, 31))
    ours = (machine * np.exp(rng.normal(0, 0.01, 31))).tolist()
    theirs = (1.1 * machine).tolist()
    paired = bootstrap.ratio([theirs], [ours])
    assert paired.low < 1.1 < paired.high
    assert paired.high - paired.low < 0.02
    assert paired.low > 1
    apart = bootstrap.change([ours], [theirs], bootstrap.LEVEL)
    assert apart.low < 1 < apart.high
    assert apart.high - apart.low > 0.3


def test_an_interval_covers_as_often_as_it_says():
    """Of samples of a distribution whose median is known: 1."""
    rng = np.random.default_rng(1)
    found = [bootstrap.median([rng.lognormal(0, 0.3, 21).tolist()]) for _ in range(200)]
    assert 0.9 < np.mean([each.low <= 1 <= each.high for each in found]) < 0.99


def test_intervals_are_the_same_each_time():
    rounds = [np.random.default_rng(2).random(9).tolist()]
    assert bootstrap.median(rounds) == bootstrap.median(rounds)


def test_the_median_of_few_numbers_by_all_draws():
    """Of three rounds there are 27 draws, of which 7 each have the least and the largest median."""
    low, high = 7 / 27, 20 / 27
    found = bootstrap._medians([[1.0, 2.0, 4.0]])
    assert np.mean(found <= 1) == pytest.approx(low, abs=0.03)
    assert np.mean(found <= 2) == pytest.approx(high, abs=0.03)


def test_rounds_of_few_processes_widen_an_interval():
    processes = [[1.0] * 9, [2.0] * 9, [3.0] * 5]
    assert bootstrap.median(processes) == (2.0, 1.0, 3.0)
    assert bootstrap.median([np.concatenate(processes).tolist()]).high < 3.0


def test_a_geometric_mean_over_cells():
    cells = [([[4.0, 8.0, 2.0]], [[2.0, 4.0, 1.0]]), ([[1.0] * 5], [[2.0] * 5])]
    assert bootstrap.geometric_mean(cells) == pytest.approx((1.0, 1.0, 1.0))
    noisy = [([[1.0, 2.0, 4.0]], [[1.0] * 3]), ([[8.0] * 3], [[1.0] * 3])]
    assert bootstrap.geometric_mean(noisy) == pytest.approx((4.0, 8**0.5, 32**0.5))


def test_jobs_have_settings_and_names():
    assert Job(lambda: 1).call() == 1
    assert set(jobs.TITLES) == set(jobs.UNITS) == {jobs.TRAINING, jobs.EVALUATION}


# ---------------------------------------------------------------------------------------------
# Hosts


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*starts from")
@pytest.mark.parametrize(
    "case",
    [
        *hosts.boosting((200, 3), (200,)),
        *hosts.steps((200, 3)),
        hosts.Case("torch", hosts.HEAD, (20, 30)),
    ],
    ids=lambda case: case.name,
)
def test_losses_within_hosts_beside_their_own(case):
    """`jobs` compares their numbers."""
    pytest.importorskip(case.host)
    names = {
        hosts.OBJECTIVE: [FASTLOSS, hosts.NUMPY],
        hosts.STEP: [FASTLOSS, hosts.KEPT, hosts.OWN],
        hosts.HEAD: [FASTLOSS, hosts.OWN, hosts.PRODUCTS],
    }
    found = hosts.jobs(case)
    assert list(found) == names.get(case.what, [FASTLOSS, hosts.OWN, hosts.NUMPY])
    result = hosts.result(case, dict.fromkeys(found, timing(1e-3)))
    assert hosts.text(result).count("\n") == 1 + len(found)
