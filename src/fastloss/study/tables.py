"""Tables of results, for Markdown and for HTML."""

import html
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import report
from .bootstrap import Estimate
from .contender import FASTLOSS
from .contenders import CONTENDERS
from .report import Result

LOST = "▲"


class Cell(NamedTuple):
    text: str
    beside: str = ""  # what is said of the text, or below
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
        cell.beside,
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
        below = [cell.beside, cell.ratio + lost if cell.ratio else "", cell.remark]
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
    remarks = [time.remark, cell["remark"]]
    return time._replace(
        ratio=factors(report.ratio(cell, ours)),
        lost=report.beats_fastloss(result, cell),
        remark=", ".join(filter(None, remarks)),
    )


def _what(result: Result) -> str:
    return ", ".join([f"`{result['loss']}`", result["task"], *report.kinds(result)])


def _size(result: Result) -> str:
    dtype = "" if result["dtype"] == "float32" else f", {result['dtype']}"
    return report.shape_text(result) + dtype


def _time(cell: Result) -> Cell:
    """The median; its interval and the minimum beside it."""
    median, interval, least = report.times(cell)
    beside = f"[{interval}] " * bool(interval) + f"min {least}"
    remark = report.SHORT if report.is_short(cell) else ""
    return Cell(median, beside, noisy=report.is_noisy(cell), remark=remark)


def factors(ratio: Estimate) -> str:
    """With its interval, if it has one."""
    text = factor(ratio.value)
    return (
        text if math.isnan(ratio.low) else f"{text}, {_digits(ratio.low)} to {_digits(ratio.high)}"
    )


def factor(ratio: float) -> str:
    return f"{_digits(ratio)}x"


def _digits(ratio: float) -> str:
    """More of them where they decide who is faster."""
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 1.95 else 2}f}"


def losing(results: Iterable[Result]) -> Table:
    """Every cell in which another is faster than fastloss, the worst first."""
    found = []
    for result in results:
        ours = report.find(result, FASTLOSS)
        for cell in result["cells"]:
            if ours is not None and report.beats_fastloss(result, cell):
                ratio = report.ratio(cell, ours)
                remarks = [cell["remark"], "" if ratio.high < 1 else "within the noise"]
                if ratio.low > 1:
                    remarks[1] = "in single rounds alone"
                remark = ", ".join(filter(None, remarks))
                verdict = Cell(factors(ratio), lost=True, remark=remark)
                who = _size(result), cell["contender"]
                found.append((ratio, [_what(result), *who, _time(cell), _time(ours), verdict]))
    head = ["what", "size", "who is faster", "its ms", "fastloss ms", "times faster fastloss is"]
    return Table(head, [row for _, row in sorted(found, key=lambda pair: pair[0])], 3)


def overall(results: Sequence[Result]) -> Table:
    """All cells at once: a mean, and how many each is the fastest in."""
    rows: list[Sequence[Cell | str]] = []
    for name in [FASTLOSS, *rivals(results)]:
        found = report.mean_ratio(results, name)
        if found is not None:
            ratio, n_cells = found
            fastest = report.profile(results, name).count(1.0)
            mean = Cell(factors(ratio), is_ours=name == FASTLOSS)
            rows.append([name, f"{n_cells:,}", mean, f"{fastest:,}"])
    head = ["who", "cells", "geometric mean of its times over those of fastloss", "fastest in"]
    return Table(head, rows)


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


def hosts(results: Iterable[Result]) -> Table:
    """The others with the factor by which fastloss is faster."""
    rows: list[Sequence[Cell | str]] = []
    names: dict[str, None] = {}
    for result in results:
        names |= dict.fromkeys(cell["contender"] for cell in result["cells"])
    for result in results:
        cells: list[Cell | str] = []
        ours = report.find(result, FASTLOSS)
        for name in names:
            cell = report.find(result, name)
            if cell is None or ours is None:
                cells.append("")
            elif cell is ours:
                cells.append(_time(ours)._replace(is_ours=True))
            else:
                lost = report.beats_fastloss(result, cell)
                cells.append(
                    _time(cell)._replace(ratio=factors(report.ratio(cell, ours)), lost=lost)
                )
        rows.append([result["host"], result["what"], report.shape_text(result), *cells])
    return Table(["host", "what", "size", *names], rows, 3)
