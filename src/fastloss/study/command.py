"""`fastloss bench`: a suite with progress on the terminal, and its report on disk."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import fastloss as fl

from . import changes, page, report, suites, tables
from .contender import FASTLOSS, Contender
from .contenders import users
from .report import BASIS, Result
from .run import FORMAT, Document, Study, everyone
from .suites import SUITES, Selection

STUDY, PAGE, SUMMARY = "study.json", "report.html", "summary.md"
_SHOWN = 18  # the last results, which fit on a terminal


class Request(NamedTuple):
    """What the command line asks for."""

    suite: str
    selection: Selection
    contenders: Sequence[str] = ()  # names; none: all
    files: Sequence[str] = ()  # of users' contenders
    threads: int | None = None
    seconds: float | None = None
    processes: int | None = None
    gib: float | None = None
    output: Path | None = None


def measure(request: Request) -> int:
    """Run a suite and write its report; the exit status is 1 if something failed.

    A ValueError says what cannot be done as asked.
    """
    suite = SUITES[request.suite]
    if request.gib is not None:
        suite = suite._replace(mapped_gib=request.gib)
    suites.check(request.selection)
    suite = suites.select(suite, request.selection)
    if request.seconds is not None:
        suite = suite._replace(seconds=request.seconds)
    if request.processes is not None:
        suite = suite._replace(processes=request.processes)
    if request.contenders:  # who is asked for by name is not left out
        suite = suite._replace(left_out={})
    field = chosen(request.contenders, everyone(users(request.files)))
    folder = request.output or Path(f"fastloss-{suite.name}-{datetime.now():%Y%m%d-%H%M%S}")
    with _threads(request.threads):
        folder.mkdir(parents=True, exist_ok=True)
        console = Console(highlight=False, markup=False)  # brackets are brackets
        with console.status("looking who is there"):  # torch.compile is tried
            study = Study(suite, field, request.files, folder)
        if study.document["not_available"]:
            names = ", ".join(study.document["not_available"])
            console.print(f"not installed, or not working here, left out: {names}")
        try:
            _run(study, folder, console)
        except KeyboardInterrupt:
            console.print("interrupted: what there is goes into the report")
    console.print(f"\n{_ending(study.document)}")
    write(study.document, folder)
    console.print(f"{folder / PAGE}, {folder / SUMMARY}, {folder / STUDY}", soft_wrap=True)
    if not study.document["complete"]:
        return 130
    return 1 if study.document["problems"] else 0


def chosen(names: Sequence[str], field: Sequence[Contender]) -> list[Contender]:
    """The contenders of these names, and fastloss, which all are compared with."""
    known = {who.name.casefold(): who for who in field}
    for name in names:
        if name.casefold() not in known:
            raise ValueError(
                f"no contender is called {name}: there are {', '.join(w.name for w in field)}"
            )
    wanted = {name.casefold() for name in names} | {FASTLOSS}
    return [who for who in field if not names or who.name.casefold() in wanted]


@contextmanager
def _threads(n: int | None) -> Iterator[None]:
    """So many for everyone: who cannot be told a number looks at the CPUs of the process."""
    if n is None:
        yield
        return
    before, name = fl.get_num_threads(), "FASTLOSS_NUM_THREADS"
    setting, cpus = os.environ.get(name), _cpus()
    if cpus is not None:
        if n > len(cpus):
            raise ValueError(f"{n} threads need as many CPUs; this process may use {len(cpus)}")
        os.sched_setaffinity(0, sorted(cpus)[:n])
    os.environ[name] = str(n)  # for the processes that are started
    fl.set_num_threads(n)
    try:
        yield
    finally:
        fl.set_num_threads(before)
        os.environ.pop(name)
        if setting is not None:
            os.environ[name] = setting
        if cpus is not None:
            os.sched_setaffinity(0, cpus)


def _cpus() -> set[int] | None:
    """Those that this process may use, where the system lets it choose among them."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None


def _run(study: Study, folder: Path, console: Console) -> None:
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    steps = study.steps()
    bar = progress.add_task("", total=len(steps))
    rows: list[Sequence[str]] = []
    names = [f"{suites.SECTIONS[step.section]}: {step.title}" for step in steps]
    progress.update(bar, description=names[0])
    with Live(_live(rows, progress), console=console, refresh_per_second=4) as live:
        for name, (_, results) in zip([*names[1:], "done"], study.run(), strict=True):
            rows += [row for result in results for row in _rows(result)]
            progress.update(bar, advance=1, description=name)
            live.update(_live(rows[-_SHOWN:], progress))
            # Whatever happens next, this is not lost.
            _store(study.document, folder)
        live.update(_live(rows, progress))


def _live(rows: Sequence[Sequence[str]], progress: Progress) -> Group:
    table = Table(box=box.SIMPLE)
    for name in ("what", "size", "who", "ms or MiB", "roof", "best of the others"):
        table.add_column(name, justify="right" if name in ("ms or MiB", "roof") else "left")
    for row in rows:
        table.add_row(*row)
    return Group(table, progress)


def _rows(result: Result) -> Iterator[Sequence[str]]:
    """Of fastloss; beside the rival that is nearest to it, or ahead."""
    keys = "loss", "job", "host", "what", "task"
    what = ", ".join(str(result[key]) for key in keys if key in result)
    size = report.shape_text(result) if "shape" in result else f"{result['size']:,}"
    for row in result.get("rows", ()):
        time = report.milliseconds(row["time"][BASIS])
        yield what, size, f"{row['backend']}, {row['threads']}", time, "", ""
    key = "bytes" if result["section"] == suites.MEMORY else BASIS
    show = tables.mebibytes if key == "bytes" else report.milliseconds
    cells = result.get("cells", ())
    for cell in cells:
        if cell["contender"] != FASTLOSS:
            continue
        # A memory result has cells of several tasks, and a cold start of two.
        same = [other for other in cells if _way(other) == _way(cell)]
        others = [other for other in same if not report.is_ours(other)]
        best = min(others, key=lambda other: float(other[key]), default=None)
        rival = "" if best is None else f"{best['contender']} {show(best[key])}"
        mark = f" {tables.LOST}" * (best is not None and best[key] < cell[key])
        share = f"{report.share_of_roof(result, cell):.0%}" if "roof" in result else ""
        name = ", ".join(filter(None, [FASTLOSS, *_way(cell)]))
        yield what, size, name, show(cell[key]), share, rival + mark


def _way(cell: Result) -> tuple[str, str]:
    return cell.get("task", ""), cell.get("what", "")


def _ending(document: Document) -> str:
    lines = [f"failed: {text}" for text in document["problems"]]
    compared = [result for result in document["results"] if result["section"] in suites.TASKS]
    if compared:
        lines.append(report.summary(compared, []))
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------
# Files


def _store(document: Document, folder: Path) -> None:
    text = json.dumps(document, indent=1) + "\n"
    (folder / STUDY).write_text(text, encoding="utf-8")


def write(document: Document, folder: Path) -> None:
    """The results and both reports."""
    _store(document, folder)
    (folder / PAGE).write_text(page.page(document), encoding="utf-8")
    (folder / SUMMARY).write_text(page.markdown(document), encoding="utf-8")


def load(path: Path) -> Document:
    """A stored study. A ValueError says that it is none, or of another version."""
    try:
        document: Document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found is None:
        raise ValueError(f"{path} is no study: fastloss bench writes study.json")
    if found != FORMAT:
        raise ValueError(
            f"{path} is a study of format {found}, where this version of fastloss reads {FORMAT}, "
            "which has the time of every round: run fastloss bench once more"
        )
    return document


def render(path: Path, output: Path | None) -> int:
    """The reports of a stored study, beside it or elsewhere."""
    folder = output or path.parent
    document = load(path)
    folder.mkdir(parents=True, exist_ok=True)
    write(document, folder)
    print(f"{folder / PAGE}, {folder / SUMMARY}")
    return 0


def compare(before: Path, after: Path) -> int:
    """Print what changed between two stored studies; the exit status is 1 if fastloss is worse."""
    found = changes.changes(load(before), load(after))
    print(changes.text(found))
    if not found.changes:
        print("nothing was measured in both", file=sys.stderr)
        return 2
    return 1 if found.regressions() else 0
