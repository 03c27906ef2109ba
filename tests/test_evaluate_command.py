"""The commands of evaluation: the numbers of the files, whatever ends the process between."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager, suppress
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from cards import assert_told
from plain import partly_long, plain

import fastloss as fl
from fastloss import cli
from fastloss.evaluation.files import one_pass, output, progress, row_output, run_identity, runs
from fastloss.evaluation.files.output import Output

RNG = np.random.default_rng(0)
N, C = 1003, 7
LABELS = RNG.integers(0, C, N)
LOGITS = RNG.standard_normal((N, C), dtype=np.float32) * 3
ARGUMENTS = ["labels.npy", "logits.npy", "--json", "--rows", "rows.npz", "--row-top", "2"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("labels.npy", LABELS)
    np.save("logits.npy", LOGITS)
    # Some 30 chunks, with a state after each.
    monkeypatch.setattr(one_pass, "CHUNK_BYTES", 1200)
    monkeypatch.setattr(one_pass, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(one_pass, "_SAVE_SHARE", 1e9)
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*arguments, status=0):
        """What the command prints, or says if it fails."""
        assert cli.main(list(map(str, arguments))) == status, capsys.readouterr()
        printed = capsys.readouterr()
        return printed.err if status == 2 else printed.out

    return run


@pytest.fixture
def ended_at(monkeypatch):
    """The process receives a signal while it is at the chunk of this number."""

    def ended_at(chunk, number=signal.SIGINT, kind=fl.Scorecard):
        update, calls = kind.update, []

        def counted(*arguments, **more):
            calls.append(1)
            if len(calls) == chunk:
                signal.raise_signal(number)
            return update(*arguments, **more)

        monkeypatch.setattr(kind, "update", counted)

    return ended_at


def arrays_of(path):
    with np.load(path) as stored:
        return {name: stored[name] for name in stored}


def assert_same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


# -------------------------------------------------------------------------------------------------
# What comes out


def test_the_numbers_are_those_of_the_arrays(here, run):
    found = json.loads(run("evaluate", *ARGUMENTS, "--top-k", "1,3"))
    names = ["loss", "log_sum_exp", "prediction", "rank", "top_classes", "top_log_probs"]
    expected = fl.evaluate(LABELS, LOGITS, rows=names, top=2)
    assert found["complete"] is True
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-14)
    assert found["accuracy"] == pytest.approx(expected.accuracy, rel=1e-14)
    assert found["top_k"] == pytest.approx({"1": expected.top_k(1), "3": expected.top_k(3)})
    assert_same_arrays(arrays_of("rows.npz"), expected.rows)
    assert sorted(path.name for path in here.iterdir()) == ["labels.npy", "logits.npy", "rows.npz"]


@pytest.mark.long
def test_all_options_reach_the_scorecard(run):
    weight, mask = RNG.uniform(0.5, 2, C), np.ones(C, bool)
    mask[6] = False
    labels = np.where(LABELS == 6, 0, LABELS)
    labels[::5] = -1
    sample_weight, groups = RNG.uniform(0, 1, N), RNG.integers(-3, 3, N)
    offsets = np.array([0, 10, 400, 401, N])
    given = {
        "class-weight": weight,
        "class-mask": mask,
        "sample-weight": sample_weight,
        "groups": groups,
        "offsets": offsets,
        "n-bytes": np.array([30, 900, 4, 2000]),
    }
    np.save("labels.npy", labels)
    arguments = []
    for name, array in given.items():
        np.save(f"{name}.npy", array)
        arguments += [f"--{name}", f"{name}.npy"]
    arguments += ["--temperature", "1.5", "--softcap", "8", "--ignore-index", "-1", "--bins", "4"]
    found = json.loads(run("evaluate", "labels.npy", "logits.npy", "--json", *arguments))
    scores = fl.evaluate(
        labels,
        LOGITS,
        class_weight=weight,
        class_mask=mask,
        sample_weight=sample_weight,
        groups=groups,
        offsets=offsets,
        n_bytes=given["n-bytes"],
        temperature=1.5,
        softcap=8.0,
        ignore_index=-1,
        n_bins=4,
    )
    assert_told(found, scores.to_dict())


def test_shards_and_compressed_files_give_the_same_bits(run):
    whole = run("evaluate", "labels.npy", "logits.npy", "--json")
    for i, part in enumerate(np.array_split(LOGITS, 11)):
        np.save(f"part-{i}.npy", part)
    np.savez_compressed("both.npz", labels=LABELS, logits=LOGITS)
    assert run("evaluate", "labels.npy", "part-*.npy", "--json") == whole
    assert run("evaluate", "both.npz", "both.npz", "--json") == whole


def test_an_order_that_a_shell_made_is_pointed_out(capsys):
    for i, part in enumerate(np.array_split(LOGITS, 11)):
        np.save(f"part-{i}.npy", part)
    given = sorted(map(str, Path().glob("part-*.npy")))
    assert cli.main(["evaluate", "labels.npy", *given]) == 0
    assert "in which 10 comes before 2" in capsys.readouterr().err
    assert cli.main(["evaluate", "labels.npy", "part-*.npy"]) == 0
    assert capsys.readouterr().err == ""


def test_leading_axes(run):
    np.save("labels.npy", LABELS[:1000].reshape(10, 100))
    np.save("logits.npy", LOGITS[:1000].reshape(10, 100, C))
    found = json.loads(run("evaluate", "labels.npy", "logits.npy", "--json"))
    assert found["loss"] == pytest.approx(fl.cross_entropy(LABELS[:1000], LOGITS[:1000]), rel=1e-6)


# -------------------------------------------------------------------------------------------------
# What is wrong is said in a line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logits.npy", "labels.npy"], "labels.npy has shape"),
        (["logits.npy", "logits.npy"], "labels are class ids, and come before"),
        (["labels.npy", "logits.npy", "--resume"], "say where, with --state"),
        (["labels.npy", "logits.npy", "--rows", "no/rows.npz"], "there is no folder no"),
        (["labels.npy", "logits.npy", "--rows", "r.npz", "--row-results", "x"], "no row result"),
        (["labels.npy", "logits.npy", "--rows", "r.npz", "--row-top", "8"], "there are 7 classes"),
        (["labels.npy", "logits.npy", "--class-weight", "labels.npy"], "there are 7 classes"),
        (["labels.npy", "logits.npy", "--groups", "short.npy"], r"\(1003,\) is expected"),
        (["labels.npy", "logits.npy", "--offsets", "short.npy"], "end with 1,003"),
        (["labels.npy", "logits.npy", "--temperature", "-1"], "the options: .*temperature"),
        (["labels.npy", "cut.npy"], "cut.npy is truncated"),
        (["labels.npy", "missing.npy"], "no such file"),
    ],
)
def test_bad_input_is_found_before_any_work(here, run, arguments, message):
    np.save("short.npy", np.arange(5))
    Path("cut.npy").write_bytes(Path("logits.npy").read_bytes()[:-1])
    before = sorted(here.iterdir())
    assert re.search(message, run("evaluate", *arguments, status=2))
    assert sorted(here.iterdir()) == before


def test_a_bad_label_is_found_where_it_is(run):
    labels = LABELS.copy()
    labels[500] = C
    np.save("labels.npy", labels)
    message = run("evaluate", "labels.npy", "logits.npy", status=2)
    start, place = re.search(
        r"in the rows from (\d+) on, counted from there: labels\[(\d+)\] is 7", message
    ).groups()
    assert int(start) + int(place) == 500


# -------------------------------------------------------------------------------------------------
# Two sets of logits


@pytest.fixture
def other():
    """The logits in float16."""
    other = LOGITS.astype(np.float16)
    np.savez_compressed("other.npz", other)
    np.save("bits.npy", other.view(np.uint16))
    return other


@pytest.mark.long
def test_compare_says_what_the_arrays_say(run, other):
    arguments = ["compare", "logits.npy", "--labels", "labels.npy", "--json"]
    expected = fl.compare(LOGITS, other, LABELS).to_dict()
    assert_told(json.loads(run(*arguments, "other.npz")), expected)
    assert_told(json.loads(run(*arguments, "bits.npy", "--float16")), expected)
    weights = np.linspace(0, 1, N)
    np.save("weights.npy", weights)
    options = ["--sample-weight", "weights.npy", "--temperature", "2"]
    expected = fl.compare(LOGITS, other, LABELS, sample_weight=weights, temperature=2.0).to_dict()
    assert_told(json.loads(run(*arguments, "other.npz", *options)), expected)


def test_what_cannot_be_compared_is_refused(run):
    np.save("less.npy", LOGITS[:, 1:])
    for other, message in [
        (["less.npy"], "have the same rows and classes"),
        (["logits.npy", "--float16"], "--float16 is for bit patterns"),
    ]:
        assert message in run("compare", "logits.npy", *other, status=2)


@pytest.mark.long
def test_compare_is_resumed(run, other, ended_at):
    arguments = ["compare", "logits.npy", "other.npz", "--labels", "labels.npy", "--json"]
    whole = run(*arguments)
    ended_at(5, kind=fl.Comparison)
    partial = json.loads(run(*arguments, "--state", "s", status=130))
    assert partial["complete"] is False
    assert 0 < partial["n_rows"] < N
    assert run(*arguments, "--state", "s", "--resume") == whole


# -------------------------------------------------------------------------------------------------
# The best temperature


@pytest.mark.long
def test_calibrate_finds_the_temperature_of_the_arrays(run):
    found = json.loads(run("calibrate", "labels.npy", "logits.npy", "--json"))
    expected = fl.calibrate(LABELS, LOGITS)
    assert found["temperature"] == pytest.approx(expected.temperature, rel=1e-12)
    assert found["after"]["loss"] == pytest.approx(expected.after.loss, rel=1e-13)
    printed = run("calibrate", "labels.npy", "logits.npy")
    assert printed.startswith(f"temperature        {expected.temperature:.6g}, found in")


@pytest.mark.long
def test_an_interrupted_calibration_says_nothing(ended_at, capsys):
    ended_at(40)
    assert cli.main(["calibrate", "labels.npy", "logits.npy"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


# -------------------------------------------------------------------------------------------------
# Interrupted, killed, resumed


def test_of_sequences_those_that_were_begun_are_there(run, ended_at):
    np.save("offsets.npy", [0, 0, 20, 20, 500, N, N])
    np.save("bytes.npy", np.arange(1, 7))
    more = ["--offsets", "offsets.npy", "--n-bytes", "bytes.npy", "--json"]
    whole = json.loads(run("evaluate", "labels.npy", "logits.npy", *more))["sequences"]
    assert whole["n"] == [0, 20, 0, 480, 503, 0]
    assert whole["log_probability"][0] == whole["bits_per_byte"][0] == 0
    assert whole["is_greedy"][::2] == [True, True, False]
    ended_at(3)
    found = json.loads(run("evaluate", "labels.npy", "logits.npy", *more, status=130))
    n = found["n_rows"]
    assert 20 < n < 500
    assert found["sequences"]["n"] == [0, 20, 0, n - 20]
    assert found["sequences"]["log_probability"][:3] == whole["log_probability"][:3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_valid_partial_result(here, run, ended_at, capsys, number):
    ended_at(9, number)
    arguments = ["evaluate", *ARGUMENTS, "--html", "report.html"]
    assert cli.main(arguments) == 128 + number
    out, err = capsys.readouterr()
    found = json.loads(out)
    n = found["n_rows"]
    assert (0, found["complete"]) < (n, True)
    assert f"partial, of {n:,} of 1,003 rows; --resume goes on from report.html.state" in err
    expected = fl.evaluate(LABELS[:n], LOGITS[:n])
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-14)
    assert {len(array) for array in arrays_of("rows.npz").values()} == {n}
    assert "Partial: the evaluation was interrupted" in Path("report.html").read_text()

    resumed = run(*arguments, "--resume")
    assert "Partial" not in Path("report.html").read_text()
    rows = arrays_of("rows.npz")
    assert run(*arguments) == resumed
    assert_same_arrays(arrays_of("rows.npz"), rows)
    left = sorted(path.name for path in here.iterdir())
    assert left == ["labels.npy", "logits.npy", "report.html", "rows.npz"]


@pytest.mark.long
def test_what_was_killed_goes_on_to_the_same_bits(run):
    """Killed four times, at moments that nothing is prepared for, in the middle of a save too."""
    code = """if True:
        import os, signal, sys
        import fastloss as fl
        from fastloss import cli
        from fastloss.evaluation.files import one_pass
        one_pass.CHUNK_BYTES, one_pass.SAVE_SECONDS, one_pass._SAVE_SHARE = 1200, 0.0, 1e9
        update, left = fl.Scorecard.update, int(sys.argv[1])
        def counted(*arguments, **more):
            global left
            result = update(*arguments, **more)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        fl.Scorecard.update = counted
        replace, saves = os.replace, int(sys.argv[2])
        def replaced(*paths):
            global saves
            saves -= 1
            if saves == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)
        os.replace = replaced
        cli.main(sys.argv[3:])
        """
    arguments = ["evaluate", *ARGUMENTS, "--state", "state.npz", "--resume"]
    done = []
    for chunks, saves in [("1", "0"), ("12", "0"), ("5", "0"), ("0", "4")]:
        ended = subprocess.run([sys.executable, "-c", code, chunks, saves, *arguments], check=False)
        assert ended.returncode == -signal.SIGKILL
        done.append(Path("state.npz").stat().st_mtime_ns if Path("state.npz").exists() else 0)
    assert 0 < done[0] < done[1] < done[2] < done[3]
    resumed = run(*arguments)
    rows = arrays_of("rows.npz")
    assert not Path("state.npz").exists()
    assert run("evaluate", *ARGUMENTS) == resumed
    assert_same_arrays(arrays_of("rows.npz"), rows)
    assert json.loads(resumed)["n_rows"] == N


def test_only_the_same_work_is_resumed(run, ended_at):
    ended_at(5)
    arguments = ["evaluate", "labels.npy", "logits.npy", "--json", "--state", "s"]
    run(*arguments, status=130)
    assert "go on with --resume, or delete it" in run(*arguments, status=2)
    message = run(*arguments, "--resume", "--temperature", "2", status=2)
    assert "s cannot be resumed, as temperature was 1.0 and is 2.0 now" in message
    os.utime("logits.npy", (1, 1))
    assert "s cannot be resumed, as time of predictions was" in run(
        *arguments, "--resume", status=2
    )


def test_row_results_that_are_gone_are_missed(run, ended_at):
    ended_at(5)
    run("evaluate", *ARGUMENTS, status=130)
    (folder,) = Path().glob("rows.npz.*.parts")
    (folder / "rank").unlink()
    assert "has lost rows of the run before" in run("evaluate", *ARGUMENTS, "--resume", status=2)


def test_a_file_that_changes_meanwhile_is_an_error(run, monkeypatch):
    update = fl.Scorecard.update

    def changing(*arguments, **more):
        os.utime("logits.npy", (2, 2))
        return update(*arguments, **more)

    monkeypatch.setattr(fl.Scorecard, "update", changing)
    assert "was changed while it was read" in run("evaluate", *ARGUMENTS, status=2)


# -------------------------------------------------------------------------------------------------
# Memory, progress, report


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.long
def test_memory_does_not_grow_with_the_file(here):
    """Two GiB of which the disk holds nothing; the code that runs takes a part of the bound."""
    n, c = 16 * 1024, 32 * 1024
    logits = np.lib.format.open_memmap("large.npy", "w+", np.float32, (n, c))
    del logits
    np.save("zeros.npy", np.zeros(n, np.uint8))
    code = (
        "import sys\nfrom pathlib import Path\nfrom fastloss import cli\n"
        "assert cli.main(sys.argv[1:]) == 0\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    command = ["evaluate", "zeros.npy", "large.npy", "--json", "--rows", "rows.npz"]
    printed = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    ).stdout
    result, _, peak = printed.strip().rpartition("\n")
    assert json.loads(result)["loss"] == pytest.approx(np.log(c), rel=1e-6)
    assert int(peak) < 700_000  # KiB


def test_progress_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    with progress.progress("logits.npy", 100, 10, done=20) as show:
        show(60)
    assert re.fullmatch(r"logits.npy: 60%, [\d.]+ GB/s, 0:00:00 left\n", capsys.readouterr().err)


@plain
def test_warnings_are_lines(here, capsys):
    np.save("logits.npy", fl.cross_entropy.proba(LOGITS))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["evaluate", "labels.npy", "logits.npy"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("fastloss: logits seem to be probabilities")
    assert said.count("\n") == 1


def test_why_the_first_rows_take_long_is_said(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    said = threading.Event()
    monkeypatch.setattr(progress.terminal, "say", lambda text: (print(text), said.set()))
    with progress.progress("logits.npy", 100, 10) as show:
        assert said.wait(60)
        show(100)
    assert capsys.readouterr().out == (
        "logits.npy: no rows yet; a first run compiles, once for this machine\n"
    )


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.progress("logits.npy", 100, 10) as show:
        show(60)
    assert "60%" in capsys.readouterr().err


class Balanced(HTMLParser):
    """Every element that is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_report_is_one_page_that_needs_nothing_else(run):
    np.save("groups.npy", np.arange(N) % 3 + 40)
    run("evaluate", "labels.npy", "logits.npy", "--groups", "groups.npy", "--html", "<r>.html")
    page = Path("<r>.html").read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    scores = fl.evaluate(LABELS, LOGITS)
    for text in (f"{scores.accuracy:.4%}", f"{scores.top_k(5):.4%}", "40", "logits.npy, float32"):
        assert any(text in shown for shown in parser.texts), text
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert page.count("<svg") == 3


@pytest.mark.parametrize("n", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_report_of_hardly_anything(run, n):
    """No rows; and one whose loss is NaN."""
    np.save("few.npy", LABELS[:n])
    np.save("nothing.npy", np.full((n, C), np.nan))
    run("evaluate", "few.npy", "nothing.npy", "--html", "r.html")
    parser = Balanced()
    parser.feed(Path("r.html").read_text())
    assert parser.open == []
    found = json.loads(run("evaluate", "few.npy", "nothing.npy", "--json", "--no-classes"))
    assert (found["loss"], found["n_undefined"], found["by_class"]) == (None, n, None)


def test_row_results_of_several_axes_come_back(here):
    columns = {
        "a": row_output.Column(np.dtype(np.float32), (3,)),
        "b": row_output.Column(np.dtype(np.int64), ()),
    }
    files = row_output.RowOutput(Output("--rows", here / "x.npz"), columns, 10)
    files.begin(None, 0)
    wide, flat = RNG.standard_normal((10, 3), dtype=np.float32), np.arange(10)
    for start, stop in [(0, 4), (4, 7), (2, 7), (7, 10)]:  # one part is done twice
        buffers = files.buffers(stop - start)
        buffers["a"][...], buffers["b"][...] = wide[start:stop], flat[start:stop]
        files.write(start, stop - start)
    for n in (6, 10, 0):
        with files.output.replaced() as file:
            files.pack(n, file)
        assert_same_arrays(arrays_of("x.npz"), {"a": wide[:n], "b": flat[:n]})


# -------------------------------------------------------------------------------------------------
# Outputs destroy nothing


def contents(folder):
    """Of all files below it, and where links point to."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "both.npz"], "both.npz of --rows is also read"),
        (["--html", "both.npz"], "both.npz of --html is also read"),
        (["--html", "folder/../both.npz"], "of --html is also read"),
        (["--html", "hard.npz"], "hard.npz of --html is also read"),
        (["--html", "folder/weights.npy"], "of --html is also read"),
        (["--state", "both.npz", "--resume"], "both.npz of --state is also read"),
        (["--html", "r", "--state", "r"], "r of --state is that of --html, too"),
        (["--html", "r", "--rows", "folder/../r"], "r of --rows is that of --html, too"),
        (["--html", "r", "--rows", "r.state"], "r.state of --state is that of --rows, too"),
        (["--rows", "link.npz"], "link.npz is a link, to .*mine.npz: name that file"),
        (["--html", "nowhere"], "nowhere is a link, to .*no/where: name that file"),
        (["--state", "link.npz"], "link.npz is a link"),
        (["--html", "folder"], "folder is a folder: --html is to name a file"),
        (["--html", "."], "is a folder"),
        (["--state", "pipe"], "pipe is a pipe or a device"),
        (["--rows", "pipe"], "pipe is a pipe or a device"),
        (["--html", "/dev/null"], "/dev/null is a pipe or a device"),
        (["--html", "x" * 250], "File name too long"),
        (["--rows", "folder/none/r"], "there is no folder folder/none"),
    ],
)
def test_outputs_are_tried_and_compared_before_the_work(here, run, arguments, message):
    np.savez("both.npz", labels=LABELS, logits=LOGITS)
    os.link("both.npz", "hard.npz")
    Path("folder").mkdir()
    np.save("folder/weights.npy", np.ones(N))
    Path("mine.npz").write_bytes(b"mine")
    Path("link.npz").symlink_to("mine.npz")
    Path("nowhere").symlink_to("no/where")
    os.mkfifo("pipe")
    before = contents(here)
    given = ["evaluate", "both.npz", "both.npz", "--sample-weight", "folder/weights.npy"]
    assert re.search(message, run(*given, *arguments, status=2))
    assert contents(here) == before


def test_what_may_not_be_written_or_has_no_room_is_found_before_the_work(here, run, monkeypatch):
    Path("r.html").write_text("old")
    before = contents(here)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # for root there is no such file
    message = run("evaluate", "labels.npy", "logits.npy", "--html", "r.html", status=2)
    assert "r.html may not be written: chmod u+w it" in message
    monkeypatch.undo()
    monkeypatch.chdir(here)
    usage = output.shutil.disk_usage
    for free, status in [(2 * N * 4 * 8, 0), (2 * N * 4 * 8 - 1, 2)]:
        monkeypatch.setattr(
            output.shutil, "disk_usage", lambda path, free=free: usage(path)._replace(free=free)
        )
        printed = run("evaluate", "labels.npy", "logits.npy", "--rows", "r.npz", status=status)
    assert "r.npz cannot be written: 64,192 bytes are needed in ., and there is room for" in printed
    Path("r.npz").unlink()
    assert contents(here) == before


def test_what_others_have_is_not_touched(here, run):
    """Folders and links of names that are the next ones to think of."""
    Path("mine").write_text("mine")
    for name in ("rows.npz", "r.html", "r.html.state"):
        for suffix in ("new", "tmp", "part"):
            Path(f"{name}.{suffix}").symlink_to("mine")
    Path("rows.npz.parts").mkdir()
    Path("rows.npz.parts/loss").write_text("my own losses")
    before = contents(here)
    run("evaluate", *ARGUMENTS, "--html", "r.html")
    after = contents(here)
    assert after.pop("r.html").startswith(b"<!doctype html>")
    assert after.pop("rows.npz")[:2] == b"PK"
    assert after == before


def test_files_that_others_put_among_results_of_rows_stay(here, run, ended_at):
    ended_at(5)
    run("evaluate", *ARGUMENTS, status=130)
    (folder,) = Path().glob("rows.npz.*.parts")
    assert folder.stat().st_mode & 0o77 == 0
    (folder / "notes").write_text("mine")
    run("evaluate", *ARGUMENTS, "--resume")
    assert [path.name for path in folder.iterdir()] == ["notes"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_modes_are_kept(run, mode):
    Path("r.html").write_text("old")
    Path("r.html").chmod(mode)
    before = os.umask(0o027)
    try:
        run("evaluate", *ARGUMENTS, "--html", "r.html")
    finally:
        os.umask(before)
    assert Path("r.html").read_text() != "old"
    assert Path("r.html").stat().st_mode & 0o7777 == mode
    assert Path("rows.npz").stat().st_mode & 0o7777 == 0o640


@pytest.fixture
def full(monkeypatch):
    """A disk with room for so many bytes a file, and no more."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda n: resource.setrlimit(resource.RLIMIT_FSIZE, (n, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_in_the_end_is_printed(here, run, full, monkeypatch, capsys):
    """The old report stays, and the results come when there is room."""
    whole = run("evaluate", *ARGUMENTS, "--html", "r.html")
    rows = arrays_of("rows.npz")
    page = Path("r.html").read_text()
    Path("r.html").write_text("old")
    before = contents(here)
    one_run = runs.Run.outcome

    def filling(*arguments):
        outcome = one_run(*arguments)
        full(8000)
        return outcome

    monkeypatch.setattr(runs.Run, "outcome", filling)
    full(10**9)
    assert cli.main(["evaluate", *ARGUMENTS, "--html", "r.html"]) == 2
    out, err = capsys.readouterr()
    assert out == whole
    assert "fastloss: r.html cannot be written: File too large" in err
    assert "fastloss: rows.npz cannot be written: File too large" in err
    assert err.endswith("; --resume goes on from r.html.state\n")
    after = contents(here)
    assert {name: after[name] for name in before} == before
    assert not list(Path().glob("*.new"))

    full(10**9)
    monkeypatch.setattr(runs.Run, "outcome", one_run)
    assert run("evaluate", *ARGUMENTS, "--html", "r.html", "--resume") == whole
    assert_same_arrays(arrays_of("rows.npz"), rows)
    assert Path("r.html").read_text() == page
    assert len(contents(here)) == 4


def test_rows_that_find_no_room_end_the_run_and_are_not_lost(here, run, monkeypatch, capsys):
    whole = run("evaluate", *ARGUMENTS)
    rows = arrays_of("rows.npz")
    write, calls = row_output.RowOutput.write, []

    def failing(self, start, n_rows):
        calls.append(start)
        if len(calls) == 7:
            raise OSError(28, "No space left on device")
        write(self, start, n_rows)

    monkeypatch.setattr(row_output.RowOutput, "write", failing)
    before = contents(here)
    assert cli.main(["evaluate", *ARGUMENTS]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    n = found["n_rows"]
    assert (found["complete"], found["loss"]) == (
        False, pytest.approx(fl.evaluate(LABELS[:n], LOGITS[:n]).loss, rel=1e-14)
    )  # fmt: skip
    assert "results of rows cannot be written: No space left on device" in err
    assert f"partial, of {n} of 1,003 rows; --resume goes on from rows.npz.state" in err
    assert contents(here)["rows.npz"] == before["rows.npz"]
    assert run("evaluate", *ARGUMENTS, "--resume") == whole
    assert_same_arrays(arrays_of("rows.npz"), rows)
    assert contents(here).keys() == before.keys()


def test_a_state_that_finds_no_room_is_said_and_ends_nothing(run, monkeypatch, capsys):
    arguments = ["evaluate", "labels.npy", "logits.npy", "--json", "--state", "s"]
    whole = run(*arguments)

    def failing(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", failing)
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == whole
    assert "the state cannot be saved in s: No space left on device" in err
    assert sorted(os.listdir()) == ["labels.npy", "logits.npy"]


def test_a_file_whose_name_is_no_text(here, run):
    name = os.fsdecode(b"l\xff.npy")
    try:
        np.save(name, LOGITS)
    except OSError:
        pytest.skip("the system has no such names")
    Path("r.html").write_text("old")
    run("evaluate", "labels.npy", name, "--html", "r.html")
    assert r"l\udcff.npy, float32" in Path("r.html").read_text(encoding="utf-8")
    report = os.fsdecode(b"r\xff.html")
    assert run("evaluate", "labels.npy", name, "--html", report) == run(
        "evaluate", "labels.npy", name
    )
    assert Path(report).read_text(encoding="utf-8").endswith("</html>\n")


def test_what_is_wrong_with_the_rows_leaves_nothing_behind(here, run):
    labels = LABELS.copy()
    labels[900] = C
    np.save("labels.npy", labels)
    before = contents(here)
    run("evaluate", *ARGUMENTS, "--html", "r.html", status=2)
    assert contents(here) == before
    assert not list(Path().glob("*.parts"))


# -------------------------------------------------------------------------------------------------
# Only the same work is resumed


def parsed(*arguments):
    return cli._parser().parse_args(arguments)


def test_every_option_that_shapes_the_result_is_in_the_fingerprint(here):
    """Those to come as well: an option is either here or said to shape nothing."""
    for name, array in [("one", LABELS), ("other", LABELS[::-1])]:
        np.save(f"{name}.npy", array)
    values = {"--row-results": ("loss", "rank"), "--rows": ("a.npz", "b.npz")}
    for verb, needed in [("evaluate", ["one.npy", "one.npy"]), ("compare", ["one.npy", "one.npy"])]:
        parser = cli._parser()._subparsers._group_actions[0].choices[verb]
        n_seen = 0
        for action in parser._actions:
            if not action.option_strings or action.dest in ("help", *run_identity._OF_NO_RESULT):
                continue
            option = action.option_strings[0]
            if action.nargs == 0:
                given = [[], [option]]
            else:
                one, other = values.get(option, ("one.npy", "other.npy"))
                if action.type in (int, float):
                    one, other = "2", "3"
                given = [[], [option, one], [option, other]]
            found = [run_identity.of(parsed(verb, *needed, *more)) for more in given]
            assert all(a != b for i, a in enumerate(found) for b in found[:i]), option
            n_seen += 1
        assert n_seen > 7
        # What is given as a position: its files.
        assert run_identity.of(parsed(verb, *needed)) != run_identity.of(
            parsed(verb, "one.npy", "other.npy")
        )
    first, second = (run_identity.of(parsed(verb, "one.npy", "one.npy")) for verb in
                     ("evaluate", "compare"))  # fmt: skip
    assert first != second


def test_files_are_known_by_place_and_content_not_by_name(here):
    Path("A").mkdir()
    Path("B").mkdir()
    np.save("A/l.npy", LOGITS)
    np.save("B/l.npy", -LOGITS)
    for name in ("A/l.npy", "B/l.npy"):
        os.utime(name, (1, 1))
    a, b = (run_identity.of(parsed("compare", name, name)) for name in ("A/l.npy", "B/l.npy"))
    assert (a["a"][0]["size"], a["a"][0]["time"]) == (b["a"][0]["size"], b["a"][0]["time"])
    assert a["a"][0]["place"] != b["a"][0]["place"]
    assert a["a"][0]["content"] != b["a"][0]["content"]
    Path("link").symlink_to("A")
    assert run_identity.of(parsed("compare", "link/l.npy", "./A/l.npy")) == a
    # The same place, size and time: the content tells.
    for i in (0, N // 2, N - 1):
        changed = LOGITS.copy()
        changed[i] += 1
        np.save("A/l.npy", changed)
        os.utime("A/l.npy", (1, 1))
        now = run_identity.of(parsed("compare", "A/l.npy", "A/l.npy"))
        assert {k for k in now["a"][0] if now["a"][0][k] != a["a"][0][k]} == {"content"}


@pytest.mark.long
def test_bit_patterns_are_not_mixed(run, ended_at):
    """Logits that are valid numbers in both formats."""
    pytest.importorskip("ml_dtypes")
    np.save("bits.npy", LOGITS.astype(np.float16).view(np.uint16))
    arguments = ["compare", "logits.npy", "bits.npy", "--labels", "labels.npy", "--state", "s"]
    ended_at(5, kind=fl.Comparison)
    run(*arguments, "--float16", status=130)
    message = run(*arguments, "--bfloat16", "--resume", status=2)
    assert 's cannot be resumed, as bits was "float16" and is "bfloat16" now' in message
    run(*arguments, "--float16", "--resume")


def test_damaged_states_are_refused_and_stay(run, ended_at, capsys):
    arguments = ["evaluate", "labels.npy", "logits.npy", "--json", "--state", "s"]
    whole = run(*arguments)
    ended_at(9)
    run(*arguments, status=130)
    state = Path("s").read_bytes()
    rng = np.random.default_rng(0)
    damages = [state[:n] for n in (0, 1, 50, len(state) // 2, len(state) - 1)]
    for place in np.linspace(0, len(state) - 1, 40).astype(int):
        damaged = bytearray(state)
        damaged[place] ^= 1 << int(rng.integers(8))
        damages.append(bytes(damaged))
    for damaged in damages:
        Path("s").write_bytes(damaged)
        if cli.main([*arguments, "--resume"]) == 0:  # a bit that means nothing, as of a date
            assert capsys.readouterr().out == whole
        else:
            assert "fastloss: s " in capsys.readouterr().err
            assert Path("s").read_bytes() == damaged
    Path("s").write_bytes(state)
    assert run(*arguments, "--resume") == whole


def test_a_state_of_parts_of_two_is_refused(run, ended_at):
    """Each part is whole, and has the checksum of the archive."""
    arguments = ["evaluate", "labels.npy", "logits.npy", "--json", "--state", "s"]
    states = []
    for chunk in (4, 9):
        ended_at(chunk)
        run(*arguments, status=130)
        states.append(arrays_of("s"))
        Path("s").unlink()
    for name in states[0]:
        mixed = states[0] | {name: states[1][name]}
        with open("s", "wb") as file:
            np.savez(file, **mixed)
        if any((states[0][each] != states[1][each]).any() for each in [name]):
            message = run(*arguments, "--resume", status=2)
            assert "s is no state of such an evaluation, or a damaged one" in message
        Path("s").unlink()


# -------------------------------------------------------------------------------------------------
# Numbers


def test_bits_per_byte_are_in_float64(run):
    offsets = np.array([0, 400, N])
    for n_bytes in ([3, 7], np.float32([1e7 + 1, 3]), np.uint8([255, 3]), np.float16([33, 2.5])):
        np.save("offsets.npy", offsets)
        np.save("bytes.npy", n_bytes)
        more = ["--offsets", "offsets.npy", "--n-bytes", "bytes.npy", "--json"]
        found = json.loads(run("evaluate", "labels.npy", "logits.npy", *more))["sequences"]
        for i in range(2):
            bits = -found["log_probability"][i] / np.log(2) / float(n_bytes[i])
            assert found["bits_per_byte"][i] == pytest.approx(bits, rel=1e-15)
    for bad in (0.0, -1.0, np.nan, np.inf):
        np.save("bytes.npy", [5.0, bad])
        message = run("evaluate", "labels.npy", "logits.npy", *more, status=2)
        assert f"bytes.npy holds {bad:g}, but a text has 1 byte or more" in message


def test_infinite_and_undefined_numbers_are_told_apart(run):
    logits = LOGITS.copy()
    logits[0, LABELS[0]] = -np.inf
    np.save("logits.npy", logits)
    found = json.loads(run("evaluate", "labels.npy", "logits.npy", "--json"))
    assert (found["loss"], found["perplexity"]) == ("Infinity", "Infinity")
    assert found["n_undefined"] == 0
    logits[0] = np.nan
    np.save("logits.npy", logits)
    found = json.loads(run("evaluate", "labels.npy", "logits.npy", "--json"))
    assert (found["loss"], found["n_undefined"]) == (None, 1)


# -------------------------------------------------------------------------------------------------
# Signals, streams, and files that are none


@pytest.mark.long
def test_a_terminated_calibration_says_so(ended_at, capsys):
    ended_at(40, signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["calibrate", "labels.npy", "logits.npy"]) == 143
    assert capsys.readouterr() == ("", "interrupted\n")
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_ignored(run, ended_at, number):
    """As a shell has it for jobs in the background."""
    whole = run("evaluate", "labels.npy", "logits.npy", "--json")
    before = signal.signal(number, signal.SIG_IGN)
    try:
        ended_at(5, number)
        assert run("evaluate", "labels.npy", "logits.npy", "--json") == whole
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_signal_between_passes_leaves_no_half_file(here, run, monkeypatch, capsys):
    whole = run("evaluate", *ARGUMENTS)
    before = contents(here)
    pack = row_output.RowOutput.pack

    def interrupted(self, n_rows, target):
        target.write(b"half")
        signal.raise_signal(signal.SIGTERM)
        pack(self, n_rows, target)

    monkeypatch.setattr(row_output.RowOutput, "pack", interrupted)
    assert cli.main(["evaluate", *ARGUMENTS]) == 143
    assert capsys.readouterr() == ("", "interrupted\n")
    assert contents(here)["rows.npz"] == before["rows.npz"]
    assert not list(Path().glob("*.new"))
    monkeypatch.setattr(row_output.RowOutput, "pack", pack)
    assert run("evaluate", *ARGUMENTS, "--resume") == whole
    assert contents(here) == before


def test_pipes_are_no_inputs(here, run):
    os.mkfifo("pipe.npy")
    for name in ("pipe.npy", "/dev/null"):
        for arguments in (["labels.npy", name], [name, "logits.npy"]):
            message = run("evaluate", *arguments, status=2)
            assert re.search(f"{name} is a (pipe|device or a socket), but is read at", message)


@contextmanager
def piped(name, encoding="utf-8", errors="strict"):
    """The stream of this name goes into a pipe; gives the end to read from."""
    reading, writing = os.pipe()
    with (
        pytest.MonkeyPatch.context() as patch,
        open(reading, "rb") as source,
        suppress(BrokenPipeError),
        open(writing, "w", encoding=encoding, errors=errors) as stream,
    ):
        patch.setattr(sys, name, stream)
        yield source


@partly_long(2, "verb", ["evaluate", "compare", "calibrate"])
def test_a_closed_pipe_gets_a_clear_word(run, capsys, verb):
    more = {
        "evaluate": ["labels.npy", "--html", "r.html", "--state", "s"],
        "compare": ["logits.npy", "--labels", "labels.npy"],
        "calibrate": ["labels.npy"],
    }[verb]
    arguments = [verb, more[0], "logits.npy", *more[1:]]
    whole = run(*arguments)
    with piped("stdout") as source:
        source.close()
        assert cli.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith(
        "fastloss: what is printed was not read to its end: the pipe was closed"
    )
    if verb == "evaluate":  # nothing is lost
        assert message.endswith("; --resume goes on from s\n")
        assert run(*arguments, "--resume") == whole


def test_other_commands_say_it_too(capsys):
    with piped("stdout") as source:
        source.close()
        assert cli.main(["losses"]) == 2
    assert "the pipe was closed" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_full_disk_that_is_printed_to_gets_a_clear_word(monkeypatch, capsys):
    for arguments in (["losses"], ["evaluate", "labels.npy", "logits.npy"]):
        with monkeypatch.context() as patch, suppress(OSError), open("/dev/full", "w") as stream:
            patch.setattr(sys, "stdout", stream)
            assert cli.main(arguments) == 2
        message = capsys.readouterr().err
        assert message == "fastloss: what was found cannot be printed: No space left on device\n"


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # as in the locale C
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_shows_results(run, encoding, errors):
    expected = run("evaluate", "labels.npy", "logits.npy")
    with piped("stdout", encoding, errors) as source:
        assert cli.main(["evaluate", "labels.npy", "logits.npy"]) == 0
        sys.stdout.close()
        printed = source.read().decode(encoding)
    assert "±" in expected
    assert printed == (expected.replace("±", "+-") if encoding == "ascii" else expected)


def test_nobody_reads_the_errors(monkeypatch, capsys):
    """Progress, and what is wrong, end no work."""
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    with piped("stderr") as source:
        source.close()
        assert cli.main(["evaluate", "labels.npy", "logits.npy", "--json"]) == 0
        assert cli.main(["evaluate", "labels.npy", "missing.npy"]) == 2
    assert json.loads(capsys.readouterr().out)["n_rows"] == N


@pytest.mark.skipif(os.name != "posix", reason="closes streams in a shell")
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_from_the_start(here, closed):
    """No file gets their numbers, which whatever writes to them by number would write into."""
    np.save("few.npy", LABELS[:9])
    np.save("rows.npy", LOGITS[:9])
    arguments = ["evaluate", "few.npy", "rows.npy", "--json", "--html", "r.html"]
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-m", "fastloss", *arguments],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Path("r.html").read_text().endswith("</html>\n")
    if closed == "2>&-":
        assert json.loads(ended.stdout)["n_rows"] == 9
    else:
        assert ended.stdout == ""
