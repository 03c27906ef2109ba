"""The command: what it prints, what it leaves on disk, how it fails."""

import inspect
import json
import os
import re
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

import fastloss as fl
from fastloss import cli
from fastloss.call import threads as _threads
from fastloss.compiler import store


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of this test alone."""
    path = tmp_path / "code"
    monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(path))
    return path


def run(*arguments, status=0, **environment):
    """Run the command in a process of its own; return what it printed, errors last."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "fastloss", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_version_and_help_do_not_import_numba():
    for option in ("--version", "--help"):
        code = (
            "import sys\nfrom fastloss.cli import main\n"
            f"try: main([{option!r}])\nexcept SystemExit: pass\n"
            "assert not [name for name in sys.modules if name.startswith(('numba', 'llvm'))]"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "fastloss" in result.stdout


def test_no_command_shows_those_that_there_are(capsys):
    for command, shown in (
        ([], "evaluate predictions in"),
        (["cache"], "delete all compiled"),
    ):
        assert cli.main(command) == 2
        assert shown in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["bench", "--shape", "10x"], "'10x' is no shape such as 65536x1000: '' is no number"),
        (["bench", "--contender-file", "nope.py"], "nope.py: No such file or directory"),
    ],
)
def test_what_a_study_cannot_take_is_said_in_words(command, said, capsys):
    with suppress(SystemExit):  # as argparse ends
        assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Errno" not in err


def test_info(folder):
    printed = run("info")
    rows = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert list(rows) == [
        "fastloss", "Python", "NumPy", "Numba", "CPU", "threads", "backend", "cache",
    ]  # fmt: skip
    assert rows["fastloss"] == fl.__version__
    assert rows["NumPy"] == np.__version__
    assert "LLVM" in rows["CPU"]
    assert rows["backend"] == "pool"
    assert rows["cache"] == f"{folder}: 0 files, 0.0 MB"


def test_info_says_how_the_threads_were_counted(monkeypatch, capsys):
    monkeypatch.setattr(_threads, "_num_threads", None)

    def threads(setting, n_cpus, available):
        monkeypatch.setenv("FASTLOSS_NUM_THREADS", setting)
        monkeypatch.setattr(_threads, "_default_num_threads", None)
        monkeypatch.setattr(_threads, "available_cpus", lambda: available)
        monkeypatch.setattr(os, "cpu_count", lambda: n_cpus)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
        return cli._num_threads()

    assert threads("3", 8, 8) == "3, as FASTLOSS_NUM_THREADS says"
    assert threads("", 8, 8) == "8, as many as there are CPUs"
    assert threads("", 8, 4) == "4, for 8 CPUs and the CPU affinity of this process"
    assert threads("", 8, 2) == "2, for 8 CPUs and the CPU quota of this process"
    assert "must be an integer" in threads("many", 8, 8)
    monkeypatch.setattr(_threads, "_default_num_threads", None)


def test_info_reports_wrong_settings_and_does_not_fail():
    printed = run("info", FASTLOSS_BACKEND="cuda")
    assert 'must be "pool" or "prange"' in printed


def test_info_says_why_a_cache_is_not_used(folder):
    folder.write_text("a file where the folder should be")
    assert f"not used, code is compiled anew in every process: {folder} is not" in run("info")


@pytest.mark.long
def test_warmup_compiles_once_and_what_users_call_is_there(folder):
    first = run("warmup")
    lines = first.splitlines()
    assert len(lines) == 5 * 2 * 2 + 1
    assert all(re.fullmatch(r"\S+ +float(32|64) +compiled +[\d.]+ s", line) for line in lines[:-1])
    assert lines[-1].endswith("MB")
    n_files = len(list(folder.iterdir()))
    assert n_files >= 20

    second = run("warmup")
    assert "compiled" not in second
    assert second.count("loaded") == 20
    code = (
        "import numpy as np, fastloss as fl\n"
        "z = np.ones((100_000, 10), np.float32)\n"
        "fl.cross_entropy.value_and_grad(np.zeros(len(z), np.int64), z, out=z)\n"
        "fl.mse(np.zeros(5), np.zeros(5))\n"
        "from fastloss.compiler import jit\n"
        "assert jit.counts['loaded'] and not jit.counts['compiled'], jit.counts"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(folder.iterdir())) == n_files


@pytest.mark.long
def test_warmup_fails_where_nothing_can_be_kept(folder):
    folder.write_text("a file where the folder should be")
    assert run("warmup", status=1).startswith("fastloss: nothing can be kept: ")
    folder.unlink()
    assert "NUMBA_DISABLE_JIT" in run("warmup", status=1, NUMBA_DISABLE_JIT="1")


def test_cache_info_and_clear(folder, capsys):
    store.save("one", b"x" * 1_500_000)
    store.save("two", b"y" * 1_500_000)
    assert cli.main(["cache", "info"]) == 0
    assert capsys.readouterr().out == f"{folder}: 2 files, 3.0 MB\n"
    keep = folder / "something-else.txt"
    keep.write_text("not ours")
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"deleted 2 files from {folder}\n"
    assert list(folder.iterdir()) == [keep]
    assert cli.main(["cache", "info"]) == 0
    assert "0 files" in capsys.readouterr().out


def test_losses_lists_all_and_shows_one(capsys):
    assert cli.main(["losses"]) == 0
    printed = capsys.readouterr().out
    for name in fl.__all__:
        if isinstance(getattr(fl, name), fl.Loss):
            assert re.search(rf"^{name}[,:( ]|, {name}[,:( ]", printed, re.MULTILINE), name
    assert (
        "\nhuber: Huber(delta=1.0)\n"
        "    Half the squared difference r = y_pred - y_true up to `delta`, and linear beyond.\n"
        "    loss = r^2 / 2 if |r| <= delta\n"
        "           delta (|r| - delta / 2) otherwise\n"
        "    elementwise; y_true any; y_pred any; hessian exact, ones, majorizer, lightgbm\n"
    ) in printed
    assert "mse, sse (sum), sum_squared_error (sum): SquaredError()\n" in printed
    assert "row-wise; labels class ids or [0, 1]; logits any; hessian exact, ones, " in printed
    assert "BinaryCrossEntropy(log_floor=-100.0)" in printed

    for name in ("huber", "Huber"):
        assert cli.main(["losses", name]) == 0
        first, _, rest = capsys.readouterr().out.partition("\n\n")
        assert first == "fastloss.Huber(delta=1.0)"
        assert rest.strip() == inspect.getdoc(fl.Huber)
    assert cli.main(["losses", "hubr"]) == 2
    assert capsys.readouterr().err == (
        "fastloss: no loss is called hubr; did you mean huber or Huber?\n"
    )


def test_losses_as_json(capsys):
    assert cli.main(["losses", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    names = [name for entry in entries for name in (entry["name"], *entry["instances"])]
    ready_made = {name for name in fl.__all__ if isinstance(getattr(fl, name), fl.Loss)}
    classes = {type(getattr(fl, name)).__name__ for name in ready_made}
    assert sorted(names) == sorted(ready_made | classes)
    for entry in entries:
        loss = getattr(fl, entry["name"])(**entry["options"])
        assert all(getattr(fl, name).reduction == how for name, how in entry["instances"].items())
        assert loss.names == (entry["y_true"]["name"], entry["y_pred"]["name"])
        assert entry["loss"], f"{entry['name']} has no formula that begins with 'loss ='"
        assert entry["y_true"]["takes"]
    assert cli.main(["losses", "--json", "poisson"]) == 0
    (poisson,) = json.loads(capsys.readouterr().out)
    assert poisson["formulas"] == [
        "loss     = exp(x) - y x\ngradient = exp(x) - y\n"
        "hessian  = exp(x);        majorizer = max(exp(x), y)",
        "loss     = m - y log(m)\ngradient = 1 - y / m\n"
        "hessian  = y / m^2;        majorizer = max(y / m^2, 1 / m)",
    ]
    assert poisson["hessians"] == ["exact", "ones", "majorizer", "xgboost", "lightgbm"]
    assert poisson["y_true"] == {"name": "y_true", "takes": ["[0, inf)"]}


def test_demo_without_its_extra_says_how_to_get_it(monkeypatch, capsys):
    found = cli.find_spec
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "rich" else found(name))
    assert cli.main(["demo"]) == 2
    captured = capsys.readouterr()
    assert captured.err == 'fastloss: the demo needs rich: pip install "fastloss[demo]"\n'
    assert captured.out == ""


def test_demo_says_where_its_picture_cannot_go(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["demo", "--out", str(tmp_path / "file" / "below")]) == 2
    assert "the picture cannot go to" in capsys.readouterr().err


@pytest.mark.long
def test_demo_end_to_end(tmp_path):
    out = tmp_path / "new" / "pictures"
    printed = run("demo", "--quick", "--out", str(out), COLUMNS="100", TERM="dumb")

    picture = out / "fastloss-demo.png"
    assert str(picture.resolve()) in printed
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.stat().st_size > 20_000

    differences = re.findall(r"largest difference of any weight (\S+);", printed)
    assert len(differences) == 2
    assert all(float(difference) < 1e-10 for difference in differences)
    losses = re.findall(r"│ +(?:naive NumPy|fastloss) +│ +([\d.]+) │ +([\d.]+)%", printed)
    assert len(losses) == 4
    assert losses[0] == losses[1]
    assert losses[2] == losses[3]
    assert all(float(accuracy) > 90 for _, accuracy in losses)

    assert re.search(r"naive NumPy +0\n", printed), "naive float32 loses the confident row"
    assert re.search(r"fastloss +2\.07504\d*e-09\n", printed)

    # times, ratio and memory, then the errors of the loss and of the gradient
    line = r" (naive NumPy|careful NumPy|fastloss)  .*? (\S+e-\d+) *(\S+e[+-]\d+)?"
    rows = re.findall(line, printed.partition("A large batch")[2])
    assert len(rows) == 10
    for name, loss_error, grad_error in rows:
        if name == "fastloss":
            assert float(loss_error) < 1e-7
            assert not grad_error or float(grad_error) < 1e-5


def test_demo_shrinks_the_batch_when_memory_is_short(monkeypatch):
    from fastloss.demo import large_batch

    monkeypatch.setattr(large_batch, "available_bytes", lambda: 3_200_000_000)
    assert large_batch.rows_that_fit(200_000, 1_000) == 100_000
    monkeypatch.setattr(large_batch, "available_bytes", lambda: 10**12)
    assert large_batch.rows_that_fit(200_000, 1_000) == 200_000
    monkeypatch.setattr(large_batch, "available_bytes", lambda: None)
    assert large_batch.rows_that_fit(200_000, 1_000) == 50_000


@pytest.mark.parametrize("system_tells", [True, False])
def test_demo_measures_memory(system_tells, monkeypatch):
    from fastloss.study import peak

    if not system_tells:
        monkeypatch.setattr(peak, "measures_resident", lambda: False)
    kept, result = peak.peak_of(lambda: np.ones(10_000_000, np.uint8))
    assert result.size == 10_000_000
    assert 10_000_000 <= kept < 15_000_000
    passing, _ = peak.peak_of(lambda: np.ones(30_000_000, np.uint8).sum())
    assert 30_000_000 <= passing < 35_000_000
    assert peak.available_bytes() is None or peak.available_bytes() > 0


@pytest.mark.long
def test_demo_rivals_agree_with_the_truth():
    from fastloss.demo import large_batch
    from fastloss.study import numpy_losses

    labels, logits = large_batch.batch(50, 7)
    logits = logits.astype(np.float64)
    truth = large_batch.reference(labels, logits)
    assert list(truth.rows) == list(range(50))
    for loss, grad in (
        numpy_losses.naive_cross_entropy_grad(labels, logits),
        numpy_losses.unblocked_cross_entropy_grad(labels, logits),
        numpy_losses.unblocked_cross_entropy_grad(labels, logits, out=np.empty_like(logits)),
        fl.cross_entropy.value_and_grad(labels, logits),
        numpy_losses.unblocked_cross_entropy_grad(labels, logits.copy()),
    ):
        assert loss == pytest.approx(truth.loss, rel=1e-12)
        np.testing.assert_allclose(grad, truth.grad, rtol=0, atol=1e-16)
    assert numpy_losses.naive_cross_entropy(labels, logits) == pytest.approx(truth.loss, rel=1e-12)
    assert numpy_losses.unblocked_cross_entropy(labels, logits) == pytest.approx(
        truth.loss, rel=1e-12
    )
    in_place = logits.copy()
    assert numpy_losses.unblocked_cross_entropy_grad(labels, in_place, out=in_place)[1] is in_place
