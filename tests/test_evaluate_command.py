"""The commands of evaluation: the numbers of the files, whatever ends the process between."""

import json
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import fastloss as fl
from fastloss import cli
from fastloss.evaluation import one_pass, progress, row_output

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
    assert_close(found, scores.to_dict())


def assert_close(found, expected, where="result"):
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_close(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            assert_close(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float) and not np.isfinite(expected):
        assert found is None, where  # JSON has no NaN
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-13), where
    else:
        assert found == expected, where


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


def test_compare_says_what_the_arrays_say(run, other):
    arguments = ["compare", "logits.npy", "--labels", "labels.npy", "--json"]
    expected = fl.compare(LOGITS, other, LABELS).to_dict()
    assert_close(json.loads(run(*arguments, "other.npz")), expected)
    assert_close(json.loads(run(*arguments, "bits.npy", "--float16")), expected)
    weights = np.linspace(0, 1, N)
    np.save("weights.npy", weights)
    options = ["--sample-weight", "weights.npy", "--temperature", "2"]
    expected = fl.compare(LOGITS, other, LABELS, sample_weight=weights, temperature=2.0).to_dict()
    assert_close(json.loads(run(*arguments, "other.npz", *options)), expected)


def test_what_cannot_be_compared_is_refused(run):
    np.save("less.npy", LOGITS[:, 1:])
    for other, message in [
        (["less.npy"], "have the same rows and classes"),
        (["logits.npy", "--float16"], "--float16 is for bit patterns"),
    ]:
        assert message in run("compare", "logits.npy", *other, status=2)


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


def test_calibrate_finds_the_temperature_of_the_arrays(run):
    found = json.loads(run("calibrate", "labels.npy", "logits.npy", "--json"))
    expected = fl.calibrate(LABELS, LOGITS)
    assert found["temperature"] == pytest.approx(expected.temperature, rel=1e-12)
    assert found["after"]["loss"] == pytest.approx(expected.after.loss, rel=1e-13)
    printed = run("calibrate", "labels.npy", "logits.npy")
    assert printed.startswith(f"temperature        {expected.temperature:.6g}, found in")


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


def test_what_was_killed_goes_on_to_the_same_bits(run):
    """Killed four times, at moments that nothing is prepared for, in the middle of a save too."""
    code = """if True:
        import os, signal, sys
        import fastloss as fl
        from fastloss import cli
        from fastloss.evaluation import one_pass
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
    assert done[0] == 0 < done[1] < done[2] < done[3]
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
    assert "s cannot be resumed, as logits was [" in run(*arguments, "--resume", status=2)
    Path("s").write_bytes(Path("s").read_bytes()[:-100])
    assert "s is no state of an evaluation, or a damaged one" in run(
        *arguments, "--resume", status=2
    )


def test_row_results_that_are_gone_are_missed(run, ended_at):
    ended_at(5)
    run("evaluate", *ARGUMENTS, status=130)
    (Path("rows.npz.parts") / "rank").unlink()
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


@pytest.mark.parametrize("n", [0, 1])
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
    files = row_output.RowOutput(here / "x.npz", columns)
    files.check(0)
    wide, flat = RNG.standard_normal((10, 3), dtype=np.float32), np.arange(10)
    for start, stop in [(0, 4), (4, 7), (2, 7), (7, 10)]:  # one part is done twice
        buffers = files.buffers(stop - start)
        buffers["a"][...], buffers["b"][...] = wide[start:stop], flat[start:stop]
        files.write(start, stop - start)
    for n in (6, 10, 0):
        files.pack(n)
        assert_same_arrays(arrays_of("x.npz"), {"a": wide[:n], "b": flat[:n]})
