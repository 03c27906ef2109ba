"""Runs of `fastloss evaluate` and `compare` that are disturbed, and whether they lost something.

Processes are forked from this one, so that a run takes a fraction of a second and some hundred can
be disturbed.
"""

import io
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from fastloss import cli
from fastloss.evaluation.files import one_pass

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
    "probabilities of two classes": [
        *["evaluate", "binary.npy", "probabilities.npy", "--task", "binary", "--groups"],
        *["groups.npy", "--from-probabilities", "--option", "thresholds=0.3,0.5"],
        *["--clusters", "groups.npy", "--bootstrap", "4"],
    ],
    "several labels": [
        *["evaluate", "marks.npy", "logits.npy", "--task", "multilabel", "--mask", "known.npy"],
    ],
    "rankings": [
        *["evaluate", "binary.npy", "weights.npy", "--task", "ranking"],
        *["--queries", "queries.npy", "--query-weight", "query_weights.npy", "--bootstrap", "4"],
    ],
    "numbers": ["evaluate", "logits.npy", "other.npy", "--task", "regression"],
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
    "clusters": lambda given: [*given, "--clusters", "groups.npy"],
    "a bootstrap": lambda given: [*given, "--bootstrap", "4"],
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
    queries = rng.integers(0, 40, N)
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
        "binary": rng.integers(0, 2, N),
        "probabilities": rng.random(N),
        "marks": rng.integers(0, 2, (N, C)),
        "known": rng.random((N, C)) < 0.9,
        "queries": queries,
        "query_weights": queries % 3,
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
        # A signal waits until the child can end by it, and not as a copy of its parent.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        self.pid = os.fork()
        if self.pid == 0:
            self._child(folder, arguments, mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _child(self, folder: Path, arguments: list[str], mask: Iterable[int]) -> None:
        status = _BROKEN
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.chdir(folder)
            for number, text in enumerate(self.texts, 1):
                os.dup2(text.fileno(), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            one_pass.CHUNK_BYTES, one_pass.SAVE_SECONDS = 1200, 0.0
            one_pass._SAVE_SHARE = 1e9
            status = cli.main(arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            status = EARLY
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


_BROKEN, EARLY = 99, 98  # statuses: an exception came out; a signal came before the command began


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


def same(what: str, place: Bench, ended: Ended, out: str, left: dict[str, bytes]) -> list[str]:
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
