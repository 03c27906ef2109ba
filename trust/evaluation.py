"""`fastloss evaluate` and `compare` under interrupts, kills, damaged files, full disks and links.

What an undisturbed run prints and writes is compared, byte for byte, with what comes out in the end
of one that was disturbed and resumed: see `evaluation_runs.py`, and `evaluation_files.py` for what
is wrong with files.
"""

import json
import random
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import report, scorecard_survival
from .evaluation_files import OTHER, REFUSED, SAME, damaged, full_disk, planted
from .evaluation_runs import (
    CASES,
    EARLY,
    OTHERS,
    Bench,
    C,
    Ended,
    Found,
    N,
    bench,
    disturbed,
    run,
    same,
)

TITLE = "An evaluation that loses nothing"

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
            elif ended.status in (EARLY, -number):
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
            lost += same(f"signal {i}", place, ended, out, left)
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
                        lost += same(f"{name}, kill {i}", place, ended, out, left)
                        found.add("it had ended", lost)
                    else:
                        state = any("state" in each or each == "s" for each in place.outputs())
                        found.add("killed with a state" if state else "killed before a state", lost)
                ended = run(place.folder, [*arguments, "--resume"])
                lost = same(f"{name}, after kills", place, ended, out, left)
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
        found.lost += same("at last", place, ended, out, left)
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
        "card_interrupts": lambda: scorecard_survival.interrupts(many(400)),
        "card_threads": lambda: scorecard_survival.threads(many(100)),
    }
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
            parts += ["## Kills", _KILLS, _table_by_name(result["kills"])]
    parts += ["## Damaged files", _DAMAGED, _damage_table(result["damaged"])]
    for name, (title, text) in _CARDS.items():
        parts += [f"## {title}", text, _table_by_name(result[name])]
    return "\n\n".join(part.strip() for part in parts)


_KILLS = """
SIGKILL at a random moment, `--resume`, killed again, and once more; then resumed to the end. With
every option of both commands. What a kill can leave behind is a half of a file, `NAME.….new`, and a
folder of row results that no state knew of yet: they are counted, and are in nobody's way.
"""

_CARDS = {
    "card_interrupts": (
        "Scorecards between interrupts",
        "A timer rings at moments spread over an update, and an exception comes out of it. What "
        "was added up must then be that of before or of after.",
    ),
    "card_threads": (
        "Scorecards of several threads",
        "Threads update one of them at once. No row may be lost.",
    ),
}

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


def _table_by_name(tables: dict[str, Any]) -> str:
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
