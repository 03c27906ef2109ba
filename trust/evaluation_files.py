"""Damaged files, full disks, and what others have put where an evaluation is to write."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from fastloss.evaluation.files import opened
from fastloss.evaluation.files.formats import FileError

from .evaluation_runs import CASES, Ended, Found, Run, bench, disturbed, run, same, save_safetensors

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
        rows = opened.logits([str(path)])
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
                found.add("the same result", same(f"state, flip {i}", place, ended, out, left))
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
