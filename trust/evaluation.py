"""`fastloss evaluate` and `compare` under interrupts, kills, damaged files, full disks and links.

What an undisturbed run prints and writes is compared, byte for byte, with what comes out in the end
of one that was disturbed and resumed. Processes are forked from this one, so that a run takes a
fraction of a second and some hundred can be disturbed.
"""

import io
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from fastloss import cli
from fastloss.evaluation import files, one_pass
from fastloss.evaluation.formats import FileError

from . import report

TITLE = "An evaluation that loses nothing"

# In memory if there is such a place: to wait for a disk after each chunk takes most of the time.
_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

N, C = 900, 11
# Arguments that bring each option of the commands; the tests know of one that is missing.
CASES: dict[str, list[str]] = {
    "as it is": ["evaluate", "labels.npy", "logits.npy"],
    "report and rows": [
        *["evaluate", "labels.npy", "logits.npy", "--html", "r.html", "--rows", "rows.npz"],
        *["--row-results", "loss,rank,entropy", "--row-top", "3", "--top-k", "1,3"],
    ],
    "shards, temperature, bins": [
        *["evaluate", "labels.npy", "part-*.npy", "--temperature", "1.5", "--bins", "7"],
        *["--no-classes"],
    ],
    "stored .npz, weights, groups": [
        *["evaluate", "stored.npz:ids", "stored.npz:x:0", "--sample-weight", "weights.npy"],
        *["--groups", "groups.npy", "--class-weight", "of_classes.npy"],
    ],
    "compressed .npz, ignored rows": [
        *["evaluate", "packed.npz", "packed.npz", "--ignore-index", "3"],
    ],
    ".safetensors, sequences": [
        *["evaluate", "labels.npy", "a.safetensors:x", "--offsets", "offsets.npy"],
        *["--n-bytes", "bytes.npy"],
    ],
    "soft cap and mask": [
        *["evaluate", "labels.npy", "logits.npy", "--softcap", "8", "--class-mask", "mask.npy"],
    ],
    "bits of float16": ["evaluate", "labels.npy", "bits.npy", "--float16"],
    "bits of bfloat16": ["evaluate", "labels.npy", "bits.npy", "--bfloat16"],
    "two sets of logits": [
        *["compare", "logits.npy", "other.npy", "--labels", "labels.npy", "--temperature", "2"],
    ],
    "two sets of logits, no labels": [
        *["compare", "logits.npy", "bits.npy", "--float16", "--sample-weight", "weights.npy"],
        *["--class-mask", "mask.npy", "--softcap", "9"],
    ],
}
# Ways to ask for something else, each of which a state of "report and rows" must not go on with.
OTHERS: dict[str, Callable[[list[str]], list[str]]] = {
    "another temperature": lambda given: [*given, "--temperature", "2"],
    "a soft cap": lambda given: [*given, "--softcap", "5"],
    "rows left out": lambda given: [*given, "--ignore-index", "0"],
    "a mask": lambda given: [*given, "--class-mask", "mask.npy"],
    "weights of classes": lambda given: [*given, "--class-weight", "of_classes.npy"],
    "weights of rows": lambda given: [*given, "--sample-weight", "weights.npy"],
    "groups": lambda given: [*given, "--groups", "groups.npy"],
    "sequences": lambda given: [*given, "--offsets", "offsets.npy"],
    "other bins": lambda given: [*given, "--bins", "9"],
    "no classes": lambda given: [*given, "--no-classes"],
    "other results of rows": lambda given: [*given, "--row-results", "loss"],
    "another number of top classes": lambda given: [*given, "--row-top", "2"],
    "another file of rows": lambda given: [*given, "--rows", "rows-2.npz"],
    "other logits": lambda given: [each.replace("logits", "other") for each in given],
    "logits of that name elsewhere": lambda given: [
        each.replace("logits", "elsewhere/logits") for each in given
    ],
    "labels of that name elsewhere": lambda given: [
        each.replace("labels", "elsewhere/labels") for each in given
    ],
}


def write_inputs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, C, N)
    logits = rng.standard_normal((N, C), dtype=np.float32) * 3
    arrays = {
        "labels": labels,
        "logits": logits,
        "other": logits + rng.standard_normal((N, C), dtype=np.float32) / 10,
        "bits": logits.astype(np.float16).view(np.uint16),
        "weights": rng.uniform(0, 2, N),
        "groups": rng.integers(-2, 3, N),
        "of_classes": rng.uniform(0.5, 2, C),
        "mask": np.ones(C, bool),
        "offsets": np.array([0, 0, 20, 300, 301, N]),
        "bytes": np.array([5, 60, 1000, 4, 2500], np.float32),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    for i, part in enumerate(np.array_split(logits, 12)):
        np.save(folder / f"part-{i}.npy", part)
    np.savez(folder / "stored.npz", ids=labels, **{"x:0": logits})
    np.savez_compressed(folder / "packed.npz", ids=labels, x=logits)
    save_safetensors(folder / "a.safetensors", logits)
    (folder / "elsewhere").mkdir()
    for name, array in (("labels", labels[::-1]), ("logits", -logits)):
        path = folder / "elsewhere" / f"{name}.npy"
        np.save(path, np.ascontiguousarray(array))
        state = (folder / f"{name}.npy").stat()
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as of the same time


def save_safetensors(path: Path, array: np.ndarray[Any, Any]) -> None:
    header = {"x": {"dtype": "F32", "shape": array.shape, "data_offsets": [0, array.nbytes]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + array.tobytes())


# -------------------------------------------------------------------------------------------------
# Runs


class Ended(NamedTuple):
    status: int  # negative: of a signal
    out: str
    err: str


class Run:
    """A process that is forked in `folder` and runs a command there."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.texts = _new_file(), _new_file()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(folder, arguments)

    def _child(self, folder: Path, arguments: list[str]) -> None:
        status = _BROKEN
        try:
            os.chdir(folder)
            for number, text in enumerate(self.texts, 1):
                os.dup2(text.fileno(), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            one_pass.CHUNK_BYTES, one_pass.SAVE_SECONDS = 1200, 0.0
            one_pass._SAVE_SHARE = 1e9
            status = cli.main(arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            status = _EARLY
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def killed(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ended(self) -> Ended:
        _, code = os.waitpid(self.pid, 0)
        found = []
        for text in self.texts:
            with text:
                text.seek(0)
                found.append(text.read().decode())
        return Ended(os.waitstatus_to_exitcode(code), *found)


def _new_file() -> IO[bytes]:
    return tempfile.TemporaryFile(dir=_FAST)


_BROKEN, _EARLY = 99, 98  # statuses: an exception came out; a signal came before the command began


def run(folder: Path, arguments: list[str]) -> Ended:
    return Run(folder, arguments).ended()


def disturbed(folder: Path, arguments: list[str], seconds: float, number: int) -> Ended:
    """By a signal after this time."""
    process = Run(folder, arguments)
    time.sleep(seconds)
    process.killed(number)
    return process.ended()


class Bench:
    """Inputs, and a place for outputs that are there already, as old ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_inputs(folder)
        self.inputs = self.contents()

    def contents(self) -> dict[str, bytes]:
        """Of all files below it."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def outputs(self) -> dict[str, bytes]:
        return {name: what for name, what in self.contents().items() if name not in self.inputs}

    def clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name not in self.inputs and path.name != "elsewhere":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def warm(self, arguments: list[str]) -> None:
        """Have its kernels in this process, of which others are forked."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with redirect_stdout(io.StringIO()):
                assert cli.main(arguments) == 0
        finally:
            os.chdir(before)

    def whole(self, arguments: list[str]) -> tuple[str, dict[str, bytes], float]:
        """What an undisturbed run prints and leaves, and how long it takes."""
        self.warm(arguments)
        seconds = []
        for _ in range(3):
            self.clear()
            began = time.perf_counter()
            ended = run(self.folder, arguments)
            seconds.append(time.perf_counter() - began)
            assert ended.status == 0, ended.err
        found = self.outputs()
        self.clear()
        return ended.out, found, statistics.median(seconds)

    def wrong(self) -> list[str]:
        """Inputs that are not what they were."""
        now = self.contents()
        return [
            f"input {name} changed" for name, what in self.inputs.items() if now.get(name) != what
        ]


@contextmanager
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(dir=_FAST) as folder:
        yield Bench(Path(folder))


class Found:
    """What was tried, what came out of it, and what was lost."""

    def __init__(self) -> None:
        self.tries = 0
        self.outcomes: Counter[str] = Counter()
        self.lost: list[str] = []

    def add(self, outcome: str, lost: list[str] = []) -> None:  # noqa: B006
        self.tries += 1
        self.outcomes[outcome] += 1
        self.lost += lost

    def to_dict(self) -> dict[str, Any]:
        return {"tries": self.tries, "outcomes": dict(self.outcomes), "lost": self.lost[:20]}


# -------------------------------------------------------------------------------------------------
# Signals and kills


def signals(times: int) -> dict[str, Any]:
    """At moments spread over the whole run: ends it with a valid partial result, or not at all."""
    found = Found()
    arguments = [*CASES["report and rows"], "--json"]
    with bench() as place:
        out, left, seconds = place.whole(arguments)
        for i in range(times):
            number = (signal.SIGINT, signal.SIGTERM)[i % 2]
            (place.folder / "r.html").write_text("old")
            ended = disturbed(place.folder, arguments, 1.1 * seconds * i / times, number)
            lost = place.wrong()
            if ended.status == 0:
                outcome = "it had ended"
            elif ended.status in (_EARLY, -number):
                outcome = "before the command began"
            elif ended.status == 128 + number and json.loads(ended.out or "{}").get("complete"):
                outcome = "after the results were printed"
            elif ended.status == 128 + number and ended.out:
                outcome = "a partial result"
                lost += _partial(place, ended, left)
            elif ended.status == 128 + number:
                outcome = "at once, before the first row or while results were written"
            else:
                outcome = f"status {ended.status}"
                lost += [f"signal {i}: status {ended.status}: {ended.err[-200:]}"]
            if not ended.out and ended.status != 0:
                page = (place.folder / "r.html").read_bytes()
                if page not in (b"old", left["r.html"]) and not page.endswith(b"</html>\n"):
                    lost.append(f"signal {i}: r.html is a stub")
            if ended.status != 0:
                ended = run(place.folder, [*arguments, "--resume"])
            lost += _same(f"signal {i}", place, ended, out, left)
            found.add(outcome, lost)
            place.clear()
    return found.to_dict()


def _partial(place: Bench, ended: Ended, left: dict[str, bytes]) -> list[str]:
    """A partial result is of the first rows, and the same in all three forms."""
    result = json.loads(ended.out)
    n = result["n_rows"]
    rows, whole = (_arrays(what) for what in (place.outputs()["rows.npz"], left["rows.npz"]))
    lost = []
    if result["complete"] or not 0 <= n < N:
        lost.append(f"a partial result of {n} rows says complete: {result['complete']}")
    if any((array != whole[name][:n]).any() or len(array) != n for name, array in rows.items()):
        lost.append(f"results of {n} rows are not those of the first rows")
    if b"Partial: the evaluation was interrupted" not in place.outputs()["r.html"]:
        lost.append("the report does not say that it is partial")
    return lost


def _arrays(content: bytes) -> dict[str, np.ndarray[Any, Any]]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        with np.load(file) as stored:
            return {name: stored[name] for name in stored.files}


def _same(what: str, place: Bench, ended: Ended, out: str, left: dict[str, bytes]) -> list[str]:
    """Whether all is as after an undisturbed run, but for halves of files that a kill left."""
    if ended.status != 0:
        return [f"{what}: status {ended.status}: {ended.err[-200:]}"]
    lost = [] if ended.out == out else [f"{what}: what is printed is not the same"]
    now = place.outputs()
    for name, content in left.items():
        same = now.pop(name, b"") == content
        if not same:
            lost.append(f"{what}: {name} is not the same")
    more = [name for name in now if not name.endswith(".new") and ".parts" not in name]
    return lost + [f"{what}: {name} was left" for name in more]


def kills(times: int) -> dict[str, Any]:
    """Three kills at random moments, each resumed, then to the end; with every option."""
    rng = random.Random(0)
    tables = {}
    for name, given in CASES.items():
        found = Found()
        arguments = given if "--html" in given else [*given, "--state", "s"]
        arguments = [*arguments, "--json"]
        with bench() as place:
            out, left, seconds = place.whole(arguments)
            for i in range(times):
                for number in range(3):
                    moment = rng.uniform(0.05, 0.7) * seconds
                    resume = ["--resume"] if number else []
                    ended = disturbed(place.folder, [*arguments, *resume], moment, signal.SIGKILL)
                    lost = place.wrong()
                    if ended.status == 0:  # it was done before; the next one begins anew
                        lost += _same(f"{name}, kill {i}", place, ended, out, left)
                        found.add("it had ended", lost)
                    else:
                        state = any("state" in each or each == "s" for each in place.outputs())
                        found.add("killed with a state" if state else "killed before a state", lost)
                ended = run(place.folder, [*arguments, "--resume"])
                lost = _same(f"{name}, after kills", place, ended, out, left)
                found.lost += lost
                found.outcomes["resumed to the same bytes"] += not lost
                halves = sum(each.endswith(".new") or ".parts" in each for each in place.outputs())
                found.outcomes["halves of files left behind"] += halves
                place.clear()
        tables[name] = found.to_dict()
    return tables


def others() -> dict[str, Any]:
    """What was interrupted is not resumed as something else."""
    found = Found()
    arguments = [*CASES["report and rows"], "--json"]
    with bench() as place:
        out, left, seconds = place.whole(arguments)
        for share in np.linspace(0.3, 0.9, 30):
            place.clear()
            ended = disturbed(place.folder, arguments, float(share) * seconds, signal.SIGINT)
            if ended.status == 130 and ended.out:
                break
        before = place.outputs()
        for name, change in OTHERS.items():
            ended = run(place.folder, [*change(arguments), "--resume", "--state", "r.html.state"])
            if ended.status == 2 and "cannot be resumed, as " in ended.err:
                found.add("refused, with what is another")
            else:
                found.add("not refused", [f"{name}: status {ended.status}: {ended.err[-200:]}"])
            if place.outputs() != before:
                found.lost.append(f"{name}: something was changed")
        ended = run(place.folder, [*arguments, "--resume"])
        found.lost += _same("at last", place, ended, out, left)
    return found.to_dict()


# -------------------------------------------------------------------------------------------------
# Damaged files

LARGE = np.random.default_rng(1).standard_normal((700, 50), dtype=np.float32)


def damaged(times: int) -> dict[str, Any]:
    """A bit that flips at places spread over a file, and ends at as many places."""
    tables: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in {
            "stored.npz": lambda path: np.savez(path, x=LARGE),
            "packed.npz": lambda path: np.savez_compressed(path, x=LARGE),
            "a.npy": lambda path: np.save(path, LARGE),
            "a.safetensors": lambda path: save_safetensors(path, LARGE),
        }.items():
            path = Path(folder) / name
            write(path)
            whole = path.read_bytes()
            n_head = whole.find(LARGE.tobytes())  # -1 where the numbers are compressed
            tables[name] = _flips(path, whole, n_head, times)
            tables[name]["cut"] = _cuts(path, whole, times)
    tables["state"] = _states(times // 3)
    return tables


def _flips(path: Path, whole: bytes, n_head: int, times: int) -> dict[str, Any]:
    rng = random.Random(0)
    areas = {"flip": range(len(whole))}
    if n_head >= 0:
        areas = {
            "header": [*range(n_head), *range(n_head + LARGE.nbytes, len(whole))],  # type: ignore[dict-item]
            "numbers": range(n_head, n_head + LARGE.nbytes),
        }
    tables = {}
    for area, places in areas.items():
        found = Found()
        for i in range(times):
            place = places[i * len(places) // times]
            content = bytearray(whole)
            content[place] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
            outcome, lost = _read(path)
            if outcome == OTHER and path.suffix == ".npz":
                lost.append(f"{path.name}: a bit of byte {place} gives other numbers")
            found.add(outcome, lost)
        tables[area] = found.to_dict()
    return tables


def _cuts(path: Path, whole: bytes, times: int) -> dict[str, Any]:
    found = Found()
    for i in range(times):
        path.write_bytes(whole[: i * len(whole) // times] if i else whole + b"x")
        outcome, lost = _read(path)
        if outcome == OTHER:
            lost.append(f"{path.name}: cut or longer, gives other numbers")
        found.add(outcome, lost)
    return found.to_dict()


REFUSED, SAME, OTHER = "refused", "the same numbers", "other numbers"


def _read(path: Path) -> tuple[str, list[str]]:
    """All rows, in order, as a pass reads them."""
    try:
        rows = files.logits([str(path)])
        size = max(1, rows.n_rows // 7)
        parts = [
            rows.read(start, min(start + size, rows.n_rows)).copy()
            for start in range(0, rows.n_rows, size)
        ]
    except FileError as error:
        return REFUSED, [] if path.name in str(error) else [f"{error} does not name {path.name}"]
    except Exception as error:
        return f"{type(error).__name__}", [f"{path.name}: {type(error).__name__}: {error}"]
    found = np.concatenate(parts) if parts else np.empty((0, 0))
    same = found.dtype == LARGE.dtype and found.shape == LARGE.shape
    return (SAME if same and found.tobytes() == LARGE.tobytes() else OTHER), []


def _states(times: int) -> dict[str, Any]:
    found = Found()
    arguments = [*CASES["as it is"], "--json", "--state", "s"]
    with bench() as place:
        out, left, seconds = place.whole(arguments)
        state = b""
        for share in np.linspace(0.3, 0.9, 30):
            disturbed(place.folder, arguments, float(share) * seconds, signal.SIGKILL)
            if (place.folder / "s").exists():
                state = (place.folder / "s").read_bytes()
                break
        for i in range(times):
            content = bytearray(state)
            content[i * len(state) // times] ^= 1 << i % 8
            (place.folder / "s").write_bytes(content)
            ended = run(place.folder, [*arguments, "--resume"])
            if ended.status == 2 and "fastloss: s " in ended.err:
                found.add(REFUSED)
            else:
                found.add("the same result", _same(f"state, flip {i}", place, ended, out, left))
        place.clear()
    return {"flip": found.to_dict()}


# -------------------------------------------------------------------------------------------------
# Full disks, and what others have put where files are to go


def full_disk(times: int) -> dict[str, Any]:
    """Too small from the start, or filled by others meanwhile; then there is room, and --resume."""
    found = Found()
    with bench() as place, _small_disk(place.folder) as (disk, limit, kind):
        names = {"r.html": "disk/r.html", "rows.npz": "disk/rows.npz"}
        arguments = [names.get(each, each) for each in CASES["report and rows"]]
        arguments = [*arguments, "--json", "--state", "disk/s"]
        place.warm(arguments)
        began = time.perf_counter()
        done = run(place.folder, arguments)
        seconds = time.perf_counter() - began
        assert done.status == 0, done.err
        whole = {path.name: path.read_bytes() for path in disk.iterdir()}
        size = 3 * sum(map(len, whole.values()))

        def attempt(what: str, end: Callable[[], Ended]) -> None:
            for path in disk.iterdir():
                path.unlink()
            (disk / "r.html").write_text("old")
            ended = end()
            lost = place.wrong()
            page = (disk / "r.html").read_bytes()
            if page not in (b"old", whole["r.html"]) and b"Partial" not in page:
                lost.append(f"{what}: r.html is a stub")
            if ended.status == 0:
                outcome = "enough room"
            elif ended.status != 2:
                outcome = f"status {ended.status}"
                lost.append(f"{what}: status {ended.status}: {ended.err[-200:]}")
            elif not ended.out:
                outcome = "refused before the work"
            elif json.loads(ended.out)["complete"]:
                outcome = "all results printed, not all written"
                if ended.out != done.out:
                    lost.append(f"{what}: what was printed is not the same")
            else:
                outcome = "ended where rows found no room, with a partial result"
            if ended.status:
                ended = run(place.folder, [*arguments, "--resume"])
            if ended.status or ended.out != done.out:
                lost.append(f"{what}: then status {ended.status}: {ended.err[-200:]}")
            now = {path.name: path.read_bytes() for path in disk.iterdir()}
            if now != whole:
                lost.append(f"{what}: what is left is {sorted(now)}, or has other bytes")
            found.add(outcome, lost)

        def small(n_bytes: int) -> Ended:
            limit(n_bytes)
            ended = run(place.folder, arguments)
            limit(_ROOM)
            return ended

        def filled(moment: float) -> Ended:
            limit(size)
            process = Run(place.folder, arguments)
            time.sleep(moment)
            with suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))
            ended = process.ended()
            (disk / "filler").unlink()
            limit(_ROOM)
            return ended

        for i in range(times):
            n_bytes = size * i // times
            attempt(f"disk of {n_bytes:,} bytes", lambda n_bytes=n_bytes: small(n_bytes))
        for i in range(times if kind == _DISK else 0):
            moment = seconds * i / times
            attempt(f"filled after {moment:.3f} s", lambda moment=moment: filled(moment))
    return {"kind": kind} | found.to_dict()


_ROOM = 2**26
_DISK, _LIMIT = "a disk in memory", "a limit for the size of each file"


@contextmanager
def _small_disk(folder: Path) -> Iterator[tuple[Path, Callable[[int], None], str]]:
    """A folder, a function that sets its size, and how it is limited."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if shutil.which("mount") and not subprocess.run(mount, capture_output=True).returncode:

        def remount(n_bytes: int) -> None:
            # To the next page; of 0 bytes there would be no limit.
            again = ["mount", "-o", f"remount,size={max(n_bytes, 4096)}", str(disk)]
            subprocess.run(again, check=True)

        try:
            yield disk, remount, _DISK
        finally:
            subprocess.run(["umount", str(disk)], check=True)
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))

    try:
        yield disk, limit, _LIMIT
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def planted() -> dict[str, Any]:
    """Links, folders and files at every name to think of, and outputs that are inputs."""
    found = Found()
    arguments = CASES["report and rows"]
    with bench() as place, tempfile.TemporaryDirectory() as other:
        mine = Path(other) / "mine"
        mine.write_bytes(b"mine")
        out, left, _ = place.whole(arguments)

        def attempt(name: str, expected: int, given: list[str] = arguments) -> None:
            before = place.outputs()
            ended = run(place.folder, given)
            lost = place.wrong()
            if mine.read_bytes() != b"mine":
                lost.append(f"{name}: another file was changed")
            if ended.status != expected:
                lost.append(f"{name}: status {ended.status}: {ended.err[-200:]}")
            if ended.status == 0 and ended.out != out:
                lost.append(f"{name}: another result")
            now = place.outputs()
            if any(now.get(each) != what for each, what in before.items() if each not in left):
                lost.append(f"{name}: a file of others was changed or removed")
            found.add("refused" if ended.status else "stays, and the results are right", lost)
            place.clear()

        for base in ("r.html", "rows.npz", "r.html.state"):
            for suffix in ("new", "tmp", "part", "parts", "bak"):
                (place.folder / f"{base}.{suffix}").symlink_to(mine)
                attempt(f"{base}.{suffix} is a link", 0)
            (place.folder / base).symlink_to(mine)
            attempt(f"{base} is a link", 2)
            (place.folder / f"{base}.parts").mkdir()
            (place.folder / f"{base}.parts" / "loss").write_bytes(b"mine")
            attempt(f"{base}.parts is a folder", 0)
            (place.folder / base).mkdir()
            attempt(f"{base} is a folder", 2)
            os.mkfifo(place.folder / base)
            attempt(f"{base} is a pipe", 2)
        for option in ("--html", "--rows", "--state"):
            for name in ("labels.npy", "logits.npy", "./elsewhere/../logits.npy"):
                attempt(f"{option} is {name}", 2, [*arguments, option, name])
        os.link(place.folder / "logits.npy", place.folder / "hard.npy")
        attempt("--html is a second name of the logits", 2, [*arguments, "--html", "hard.npy"])
        for pair in (["--html", "x", "--rows", "x"], ["--html", "x", "--state", "x"]):
            attempt(f"{pair} are one", 2, [*CASES["as it is"], *pair])
    return found.to_dict()


# -------------------------------------------------------------------------------------------------


def measure(share: float = 1.0) -> dict[str, Any]:
    """All of it; `share` of the tries."""

    def many(times: int) -> int:
        return max(3, round(share * times))

    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "signals": lambda: signals(many(200)),
        "kills": lambda: kills(many(5)),
        "others": others,
        "damaged": lambda: damaged(many(300)),
        "full_disk": lambda: full_disk(many(40)),
        "planted": planted,
    }
    if find_spec(f"{__package__}.scorecard_survival") is not None:
        from . import scorecard_survival

        sections["card_interrupts"] = scorecard_survival.interrupts
        sections["card_threads"] = scorecard_survival.threads
    result = {}
    for name, section in sections.items():
        began = time.perf_counter()
        result[name] = section()
        print(f"  {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return result


# -------------------------------------------------------------------------------------------------

_INTRODUCTION = f"""
`fastloss evaluate` and `compare` on {N} rows of {C} classes in some 35 chunks, with a state saved
after each, disturbed as the sections say. What was printed and written in the end is compared, byte
for byte, with what an undisturbed run prints and writes.

{{summary}}
"""

_PARTS = {
    "signals": (
        "Ctrl-C and SIGTERM",
        "SIGINT and SIGTERM in turn, at moments spread evenly over a whole run with a report and "
        "results of rows, from its first instruction to beyond its end. An old report is there. "
        "Afterwards what was printed, the report and the rows must be of the same first rows, and "
        "say so, or the old report must be whole; and `--resume` must give the same bytes as an "
        "undisturbed run.",
    ),
    "others": (
        "Resumed as something else",
        "A run that was interrupted, resumed with one thing changed, files of the same name, size "
        "and time in another folder among them. Each must be refused and change nothing; then the "
        "run is resumed as it was.",
    ),
    "full_disk": (
        "A full disk",
        "With a report, results of rows and a state on a disk of a size from nothing to more than "
        "enough, and on one that another process fills meanwhile, at moments spread over the run "
        "({kind}). An old report is there. It must be whole afterwards, or the new one must; then "
        "there is room, and `--resume` must give the same bytes.",
    ),
    "planted": (
        "What others have put there",
        "Links, folders and pipes of the names of the outputs, and of names that one would think "
        "of for their halves; and outputs that are inputs, or one another. Nothing of others may "
        "change.",
    ),
}


def page(result: dict[str, Any]) -> str:
    lost = _lost(result)
    tries = _tries(result)
    summary = f"**{tries:,} tries; nothing was lost.**"
    if lost:
        summary = "\n".join([f"**{tries:,} tries. Lost:**", "", *(f"- {each}" for each in lost)])
    parts = [_INTRODUCTION.format(summary=summary)]
    for name, (title, text) in _PARTS.items():
        table = _outcomes(result[name]["outcomes"])
        parts += [f"## {title}", text.format(kind=result[name].get("kind")), table]
        if name == "signals":
            parts += ["## Kills", _KILLS, _kill_table(result["kills"])]
    parts += ["## Damaged files", _DAMAGED, _damage_table(result["damaged"])]
    if "card_interrupts" in result:
        from . import scorecard_survival

        parts.append(scorecard_survival.page(result["card_interrupts"], result["card_threads"]))
    return "\n\n".join(part.strip() for part in parts)


_KILLS = """
SIGKILL at a random moment, `--resume`, killed again, and once more; then resumed to the end. With
every option of both commands. What a kill can leave behind is a half of a file, `NAME.….new`, and a
folder of row results that no state knew of yet: they are counted, and are in nobody's way.
"""

_DAMAGED = """
A bit flips, at places spread evenly over the file, or over its header and its numbers; and the file
is cut at as many places, or has a byte more. All rows are then read as a pass reads them. No error
but one that names the file may come out, and no other numbers from an `.npz`, whose checksums are
compared as the numbers are read. In `.npy` and `.safetensors` there are no checksums: a flip in a
number, or one that makes another valid header of a header (`<f4` becomes `>f4`), cannot be noticed.
A flip in a state must be refused, or have no effect, as in the date of a member.
"""


def _outcomes(outcomes: dict[str, int]) -> str:
    ordered = sorted(outcomes.items(), key=lambda each: -each[1])
    return report.table(["what came out", "times"], ordered, numbers=True)


def _kill_table(tables: dict[str, Any]) -> str:
    names = sorted({name for table in tables.values() for name in table["outcomes"]})
    rows = [
        [title, table["tries"], *(table["outcomes"].get(name, 0) for name in names)]
        for title, table in tables.items()
    ]
    return report.table(["", "tries", *names], rows, numbers=True)


def _damage_table(tables: dict[str, Any]) -> str:
    names = (REFUSED, SAME, OTHER, "the same result")
    rows = [
        [f"{file}, {where}", table["tries"], *(table["outcomes"].get(name, 0) for name in names)]
        for file, areas in tables.items()
        for where, table in areas.items()
    ]
    return report.table(["", "tries", *names], rows, numbers=True)


def _lost(result: Any) -> list[str]:
    """All that any section lost."""
    if not isinstance(result, dict):
        return []
    return [*result.get("lost", []), *(one for each in result.values() for one in _lost(each))]


def _tries(result: Any) -> int:
    if not isinstance(result, dict):
        return 0
    tries = result.get("tries", 0)
    return (tries if isinstance(tries, int) else 0) + sum(map(_tries, result.values()))
