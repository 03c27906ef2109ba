"""Tables of results, for Markdown and for HTML."""

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import report
from .contender import FASTLOSS
from .contenders import CONTENDERS
from .report import BASIS, Result
from .workloads import SOFT_LABELS

LOST = "▲"


class Cell(NamedTuple):
    text: str
    ratio: str = ""  # in brackets, or below
    is_ours: bool = False
    noisy: bool = False
    lost: bool = False  # another is faster than fastloss
    remark: str = ""


class Table(NamedTuple):
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    n_names: int = 1  # columns at the left that are no numbers
    title: str = ""  # where several tables follow each other without pictures


def markdown(table: Table) -> str:
    line = "|" + "---|" * table.n_names + "---:|" * (len(table.head) - table.n_names)
    rows = [table.head, *([_markdown(_cell(each)) for each in row] for row in table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], line, *lines[1:]])


def _markdown(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.is_ours else cell.text
    parts = [
        text,
        f"({cell.ratio})" if cell.ratio else "",
        "~" * cell.noisy,
        f"**{LOST}**" * cell.lost,
        cell.remark,
    ]
    return " ".join(filter(None, parts)).replace("|", "\\|")


def as_html(table: Table) -> str:
    rows = [_html_row("th", [Cell(name) for name in table.head], table.n_names)]
    rows += [_html_row("td", [_cell(each) for each in row], table.n_names) for row in table.rows]
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def _html_row(tag: str, cells: Sequence[Cell], n_names: int) -> str:
    parts = []
    for i, cell in enumerate(cells):
        classes = ["name"] * (i < n_names) + ["ours"] * cell.is_ours + ["lost"] * cell.lost
        lost = f" {LOST}" * cell.lost
        below = [cell.ratio + lost if cell.ratio else "", cell.remark]
        lines = [cell.text + " ~" * cell.noisy + lost * (not cell.ratio), *below]
        first, *others = (html.escape(line).replace("`", "") for line in lines)
        small = "".join(f"<small>{line}</small>" for line in others if line)
        parts.append(f'<{tag} class="{" ".join(classes)}">{first}{small}</{tag}>')
    return f"<tr>{''.join(parts)}</tr>"


def _cell(each: Cell | str) -> Cell:
    return Cell(each) if isinstance(each, str) else each


# -------------------------------------------------------------------------------------------------
# Of comparisons


def rivals(results: Iterable[Result]) -> list[str]:
    """In the order of the registry; those that it does not know (any more) come last."""
    known = [contender.name for contender in CONTENDERS]
    found = {cell["contender"] for result in results for cell in result["cells"]}
    found = {name for name in found if not name.startswith(FASTLOSS)}
    return [name for name in known if name in found] + sorted(found - set(known))


def comparison(results: Sequence[Result]) -> Table:
    """A row for each workload and task: the times, and how many times faster fastloss is."""
    names = rivals(results)
    head = ["what", "size", "roof", "fastloss", "of the roof", *names]
    return Table(head, [_row(result, names) for result in results], 2)


def _row(result: Result, names: Sequence[str]) -> list[Cell | str]:
    ours, roof = report.find(result, FASTLOSS), result["roof"]
    if ours is None:  # it failed: the problems say why
        return [_what(result), _size(result), _time(roof), *[""] * (2 + len(names))]
    cells: list[Cell | str] = [
        _what(result),
        _size(result),
        _time(roof),
        _time(ours)._replace(is_ours=True),
        f"{report.share_of_roof(result, ours):.0%}",
    ]
    for name in names:
        cell = report.find(result, name)
        cells.append("" if cell is None else _rival(result, ours, cell))
    return cells


def _rival(result: Result, ours: Result, cell: Result) -> Cell:
    time = _time(cell)
    return time._replace(
        ratio=factor(cell[BASIS] / ours[BASIS]),
        lost=report.beats_fastloss(result, cell),
        remark=cell["remark"],
    )


def _what(result: Result) -> str:
    soft = f", {result['labels']}" if result["labels"] == SOFT_LABELS else ""
    return f"`{result['loss']}`, {result['task']}{soft}"


def _size(result: Result) -> str:
    dtype = "" if result["dtype"] == "float32" else f", {result['dtype']}"
    return report.shape_text(result) + dtype


def _time(cell: Result) -> Cell:
    return Cell(report.milliseconds(cell[BASIS]), noisy=report.is_noisy(cell))


def factor(ratio: float) -> str:
    """More digits where they decide who is faster."""
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 1.95 else 2}f}x"


def losing(results: Iterable[Result]) -> Table:
    """Every cell in which another is faster than fastloss, the worst first."""
    found = []
    for result in results:
        ours = report.find(result, FASTLOSS)
        for cell in result["cells"]:
            if ours is not None and report.beats_fastloss(result, cell):
                ratio = cell[BASIS] / ours[BASIS]
                verdict = Cell(factor(ratio), lost=True, remark=cell["remark"])
                medians = (report.milliseconds(each["median"]) for each in (cell, ours))
                times = _time(cell), _time(ours), *medians
                row = [_what(result), _size(result), cell["contender"], *times, verdict]
                found.append((ratio, row))
    head = ["what", "size", "who is faster", "its ms", "fastloss ms", "its median"]
    head += ["fastloss median", "times faster fastloss is"]
    return Table(head, [row for _, row in sorted(found, key=lambda pair: pair[0])], 3)


# -------------------------------------------------------------------------------------------------
# Of the other sections


def threads(results: Iterable[Result]) -> Table:
    rows = []
    for result in results:
        for row in result["rows"]:
            numbers = [f"{row['speedup']:.2f}", f"{row['share_of_roof']:.0%}"]
            name, n = row["backend"], str(row["threads"])
            rows.append([_what(result), _size(result), name, n, _time(row["time"]), *numbers])
    return Table(["what", "size", "", "threads", "ms", "speed-up", "of the roof"], rows, 3)


def memory(results: Iterable[Result]) -> Table:
    rows = []
    for result in results:
        what = f"`{result['loss']}`, {report.shape_text(result)}"
        for cell in result["cells"]:
            arrays = f"{cell['bytes'] / report.array_bytes(result):.2f}"
            size = Cell(mebibytes(cell["bytes"]), is_ours=cell["contender"] == FASTLOSS)
            remark = "by samples" if cell["method"] == "samples" else ""
            size = size._replace(remark=remark)
            rows.append([what, cell["contender"], cell["task"], size, arrays])
    return Table(["what", "who", "how", "MiB", "arrays of the gradient's size"], rows, 3)


def mebibytes(n_bytes: float) -> str:
    return f"{n_bytes / 2**20:,.1f}"


def cold(results: Iterable[Result]) -> Table:
    rows = []
    for result in results:
        what = f"`{result['loss']}`, {report.shape_text(result)}"
        for cell in result["cells"]:
            whole = _time(cell)._replace(is_ours=cell["contender"] == FASTLOSS)
            parts = _time(cell["imports"]), _time(cell["call"])
            rows.append([what, cell["contender"], cell["what"], *parts, whole])
    return Table(["what", "who", "", "imports, ms", "first call, ms", "both, ms"], rows, 3)


def jobs(result: Result) -> Table:
    rows = []
    for cell in result["cells"]:
        time = _time(cell)._replace(is_ours=cell["contender"] == FASTLOSS)
        peaks = [mebibytes(cell[name]) for name in ("bytes", "process_bytes")]
        in_loss = report.milliseconds(cell["loss_seconds"])
        rows.append([cell["contender"], time, in_loss, *peaks, f"{cell['loss']:.9f}"])
    head = [
        "loss by",
        "ms",
        "of it in the loss",
        "MiB of the job",
        "MiB of the process",
        "loss in the end",
    ]
    return Table(head, rows)
