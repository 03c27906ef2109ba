"""`fastloss bench`: what it measures, shows, compares and refuses. Nothing here is timed."""

import base64
import json
import os
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import fastloss as fl
from fastloss import cli
from fastloss.catalogue import entries
from fastloss.study import (
    GRADIENT,
    LOSS,
    NEW_ARRAY,
    Contender,
    Job,
    Workload,
    changes,
    command,
    contenders,
    hosts,
    jobs,
    measure,
    memory,
    page,
    suites,
)
from fastloss.study.contender import FASTLOSS, NAIVE
from fastloss.study.processes import run_python
from fastloss.study.report import ROOF
from fastloss.study.suites import FULL, QUICK, SECTIONS, Selection, select

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
    assert dtypes == {"float16", "bfloat16", "float32", "float64"}
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
    assert set(suites.TASKS) | {"threads", "memory", "cold", "jobs"} == set(SECTIONS)


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
    assert "needs rich: pip install 'fastloss[bench]'" in capsys.readouterr().err


def test_options_stand_before_and_after_the_suite(monkeypatch):
    seen = []
    monkeypatch.setattr(command, "measure", lambda request: seen.append(request) or 0)
    cli.main(["bench"])
    cli.main(["bench", "--loss", "mse", "full", "--shape", "3x4", "--gib", "0.5"])
    default, both = seen
    assert default == command.Request("quick", Selection())
    assert both == command.Request("full", Selection((), ["mse"], [(3, 4)], ()), gib=0.5)


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


def timing(seconds, spread=0.01):
    return {"median": seconds, "min": seconds, "spread": spread, "rounds": 7, "iterations": 1}


def cell(name, seconds, spread=0.01, **more):
    times = timing(seconds, spread)
    return {"contender": name, "does": LOSS, "remark": "", **times, **more}


def compared(section, loss, shape, *cells, task=LOSS, roof=1e-3):
    what = {"section": section, "loss": loss, "shape": shape, "dtype": "float32"}
    more = {"labels": "class ids", "main": False, "task": task, "roof": timing(roof)}
    return {**what, **more, "cells": list(cells)}


@pytest.fixture
def document():
    """Two rivals win a cell each, one by its median alone; one time is noisy."""
    cells = cell(NAIVE, 8e-3), cell("PyTorch", 0.9e-3, 0.5), cell(FASTLOSS, 2e-3)
    by_median = cell("JAX", 3e-3, median=3.05e-3), cell(FASTLOSS, 2.5e-3, median=3.1e-3)
    row = {"backend": "pool", "threads": 1, "time": timing(4e-3), "speedup": 1.0}
    roof = {"backend": ROOF, "threads": 1, "time": timing(1e-3), "speedup": 1.0}
    of = {"loss": "mse", "shape": [1000, 1024], "dtype": "float32", "labels": "class ids"}
    peak = {"contender": FASTLOSS, "task": GRADIENT, "bytes": 3 << 20, "method": "samples"}
    start = cell("JAX", 1.5, what="first call", imports=timing(1.0), call=timing(0.5))
    whole = {"contender": NAIVE, **timing(2.0), "bytes": 1 << 30, "loss": 0.123456789}
    whole |= {"process_bytes": 2 << 30, "loss_seconds": 0.5}
    machine = {
        "date": "2024-02-29", "cpu": "A <CPU>", "cpus": 2, "threads": 2, "caches": {"L2": "1M"},
        "governor": None, "system": "Linux", "versions": {"numpy": "2.0"},
    }  # fmt: skip
    return {
        "format": 1,
        "suite": "quick",
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
        ],
    }  # fmt: skip


def test_summary_shows_every_figure_and_every_losing_cell(document):
    text = page.markdown(document)
    assert (
        "| `mse`, loss | 4,000,000 | 1.00 | **2.00** | 50% | 8.00 (4.0x) | 0.900 (0.45x) ~ **▲** |"
    ) in text
    lost = text.partition("## Where another is faster")[2].partition("## Speed")[0]
    assert "faster than fastloss in 2 of 7 cells" in lost
    rows = [line for line in lost.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `mse`, loss | 4,000,000 | PyTorch | 0.900 ~ | 2.00 | 0.900 | 2.00 | 0.45x **▲** |",
        "| `mse`, loss + gradient | 4,000,000 | JAX | 3.00 | 2.50 | 3.05 | 3.10 | 1.20x **▲** |",
    ]
    assert "| `mse`, loss | 1,000 x 1,024 | pool | 1 | 4.00 | 1.00 | 25% |" in text
    assert (
        "| `mse`, 1,000 x 1,024 | fastloss | loss + gradient | **3.0** by samples | 0.77 |" in text
    )
    assert "| `mse`, 1,000 x 1,024 | JAX | first call | 1,000 | 500 | 1,500 |" in text
    assert "| naive NumPy | 2,000 | 500 | 1,024.0 | 2,048.0 | 0.123456789 |" in text
    assert "not installed, or not working here: numexpr" in text
    assert "Left out, as it compiles anew for every shape: torch.compile." in text
    assert "1 of 23 times are spread over more than 10%\n" in text


def test_a_busy_machine_is_called_so(document):
    for result in document["results"]:
        for each in result.get("cells", ()):
            each["spread"] = 0.2
    assert "this machine was busy" in page.markdown(document)


@pytest.mark.long
def test_the_page_needs_nothing_else(document):
    html = page.page(document)
    assert not re.findall(r"https?://|<script|<link|@import", html)
    sources = re.findall(r'src="(.*?)"', html)
    prefix = "data:image/svg+xml;base64,"
    assert len(sources) == 8
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
    assert "| `mse`, loss | 4,000,000 | 1.00 |" in page.markdown(document)
    assert "4,000,000" in page.page(document)


# ---------------------------------------------------------------------------------------------
# Two runs


def copy_of(document):
    return json.loads(json.dumps(document))


def cell_of(document, result, name):
    cells = document["results"][result]["cells"]
    return next(cell for cell in cells if cell["contender"] == name)


def verdicts(before, after):
    found = changes.changes(before, after)
    return {change.key: change.verdict for change in found.changes if change.verdict}


SPEED_KEY = ("speed", "mse", "4,000,000", "float32", LOSS)


def test_nothing_changed(document):
    found = changes.changes(document, copy_of(document))
    assert not found.regressions()
    assert len(found.changes) == 25
    assert all(change.ratio == 1 for change in found.changes)
    assert changes.text(found).startswith("25 figures in both: fastloss is worse in 0, 25 are")


def test_a_regression_is_told_from_noise(document):
    after = copy_of(document)
    cell_of(after, 0, FASTLOSS)["min"] *= 1.09
    assert not verdicts(document, after)
    cell_of(after, 0, FASTLOSS)["min"] *= 1.03
    found = changes.changes(document, after)
    assert [change.key for change in found.regressions()] == [(*SPEED_KEY, FASTLOSS)]
    assert verdicts(after, document) == {(*SPEED_KEY, FASTLOSS): "faster"}
    cell_of(after, 0, FASTLOSS)["spread"] = 0.2
    assert not verdicts(document, after)


def test_rivals_and_memory(document):
    after = copy_of(document)
    cell_of(after, 0, NAIVE)["min"] *= 2
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
                times["min"] *= 3
    assert not verdicts(document, after)
    cell_of(after, 0, FASTLOSS)["min"] *= 1.5
    found = changes.changes(document, after)
    assert [change.ratio for change in found.regressions()] == [pytest.approx(1.5)]
    assert "multiples of the roof" in changes.text(found)
    after["results"][0]["roof"]["spread"] = 0.6  # of what it is compared with
    assert not verdicts(document, after)


def test_status_and_text_of_a_comparison(document, tmp_path, capsys):
    after = copy_of(document)
    cell_of(after, 0, FASTLOSS)["min"] = 4e-3
    del after["results"][9]
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, content in zip(paths, (document, after), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    assert cli.main(["bench", "compare", *map(str, paths)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == [
        "speed,", "mse,", "4,000,000,", "float32,", "loss,", "fastloss",
        "2.00", "ms", "4.00", "ms", "2.00", "slower",
    ]  # fmt: skip
    assert lines[-1] == "only in the first: 2, such as jobs, training, 60, naive NumPy"
    paths[1].write_text(json.dumps({**after, "results": []}), encoding="utf-8")
    assert cli.main(["bench", "compare", *map(str, paths)]) == 2
    paths[1].write_text(json.dumps({**after, "format": 0}), encoding="utf-8")
    assert cli.main(["bench", "compare", *map(str, paths)]) == 2
    assert "no study of this version" in capsys.readouterr().err


def test_jobs_have_settings_and_names():
    assert Job(lambda: 1).call() == 1
    assert set(jobs.TITLES) == set(jobs.UNITS) == {jobs.TRAINING, jobs.EVALUATION}


# ---------------------------------------------------------------------------------------------
# Hosts


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*starts from")
@pytest.mark.parametrize(
    "case",
    [*hosts.boosting((200, 3), (200,)), *hosts.steps((200, 3))],
    ids=lambda case: case.name,
)
def test_losses_within_hosts_beside_their_own(case):
    """`jobs` compares their numbers."""
    pytest.importorskip(case.host)
    names = {hosts.OBJECTIVE: [FASTLOSS, hosts.NUMPY], hosts.STEP: [FASTLOSS, hosts.OWN]}
    found = hosts.jobs(case)
    assert list(found) == names.get(case.what, [FASTLOSS, hosts.OWN, hosts.NUMPY])
    result = hosts.result(case, dict.fromkeys(found, timing(1e-3)))
    assert hosts.text(result).count("\n") == 1 + len(found)
