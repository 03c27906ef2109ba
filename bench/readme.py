"""`make readme`: puts a stored result into README.md, as a table and a picture, and a table of all
losses.

`make bench` leaves its result in bench/results/latest.json. `make readme STORE=1` keeps that as
bench/results/readme.json and renders it; `make readme` renders what was kept once more.
"""

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastloss import catalogue
from fastloss.study import report
from fastloss.study.contender import FASTLOSS
from fastloss.study.contenders import CONTENDERS
from fastloss.study.report import BASIS, Result
from fastloss.study.workloads import TASKS, WORKLOADS

from .storage import FOLDER, LATEST

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "benchmark.png"
STORED = FOLDER / "readme.json"

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
LOSSES_BEGIN, LOSSES_END = "<!-- losses:begin -->", "<!-- losses:end -->"
LOST = "**▲**"

Content = dict[str, Any]  # what is in latest.json; see `conftest.py`


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 2 if there is nothing to render."""
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description=__doc__)
    parser.add_argument("--store", action="store_true", help="keep the latest result first")
    if parser.parse_args(arguments).store:
        problem = _why_not_stored(LATEST)
        if problem:
            print(problem, file=sys.stderr)
            return 2
        shutil.copyfile(LATEST, STORED)
    if not STORED.exists():
        print("no result is kept yet: make bench, then make readme STORE=1", file=sys.stderr)
        return 2
    content = load(STORED)
    text = with_losses(updated(README.read_text(encoding="utf-8"), content))
    README.write_text(text, encoding="utf-8")
    PICTURE.parent.mkdir(exist_ok=True)
    draw(content, PICTURE)
    print(f"rendered into {README} and {PICTURE}")
    return 0


def load(path: Path) -> Content:
    content: Content = json.loads(path.read_text(encoding="utf-8"))
    return content


def _why_not_stored(path: Path) -> str | None:
    if not path.exists():
        return f"{path} does not exist: make bench first"
    present = {(r["loss"], *r["shape"], r["dtype"], r["task"]) for r in load(path)["results"]}
    wanted = {(w.loss, *w.shape, w.dtype, task) for w in WORKLOADS if w.main for task in TASKS}
    if wanted - present:
        missing = ", ".join(" ".join(map(str, key)) for key in sorted(wanted - present, key=str))
        return f"{path} is from a run of a part, and lacks: {missing}"
    return None


# ---------------------------------------------------------------------------------------------
# The table


def updated(text: str, content: Content) -> str:
    """The text of README.md with the block between the markers made anew."""
    return _between(text, BEGIN, END, block(content))


def _between(text: str, begin: str, end: str, block: str) -> str:
    before, begins, rest = text.partition(begin)
    _, ends, after = rest.partition(end)
    if not (begins and ends):
        raise ValueError(f"README.md must have the lines {begin} and {end}")
    return f"{before}{begin}\n{block}{end}{after}"


def block(content: Content) -> str:
    machine, results = content["machine"], _main(content)
    rivals = _rivals(results)
    versions = machine["versions"]
    head = ["what", "size", "roof", "fastloss", "of the roof", *rivals]
    lines = [
        f"![Time of each contender over that of the roof]({PICTURE.relative_to(ROOT).as_posix()})",
        "",
        f"Milliseconds, the best of several rounds, {_dtypes(results)}, on {machine['cpu']}, "
        f"{machine['threads']} threads, NumPy {versions['numpy']}, Numba {versions['numba']}. "
        "In brackets: how many times faster fastloss is.",
        "",
        "| " + " | ".join(head) + " |",
        "|---|---|" + "---:|" * (len(head) - 2),
    ]
    lines += ["| " + " | ".join(_row(result, rivals)) + " |" for result in results]
    lines += ["", _legend(results)]
    return "\n".join(lines) + "\n"


def _main(content: Content) -> list[Result]:
    return [result for result in content["results"] if result["main"]]


def _rivals(results: list[Result]) -> list[str]:
    """In the order of the registry; those that it does not know (any more) come last."""
    known = [contender.name for contender in CONTENDERS]
    found = {cell["contender"] for result in results for cell in result["cells"]}
    found = {name for name in found if not name.startswith(FASTLOSS)}
    return [name for name in known if name in found] + sorted(found - set(known))


def _row(result: Result, rivals: list[str]) -> list[str]:
    ours, roof = report.find(result, FASTLOSS), result["roof"]
    assert ours is not None
    cells = [
        f"`{result['loss']}`, {result['task']}",
        report.shape_text(result),
        report.milliseconds(roof[BASIS]) + _noise(roof),
        f"**{report.milliseconds(ours[BASIS])}**" + _noise(ours),
        f"{report.share_of_roof(result, ours):.0%}",
    ]
    for name in rivals:
        cell = report.find(result, name)
        if cell is None:
            cells.append("")
            continue
        text = f"{report.milliseconds(cell[BASIS])} ({_factor(cell[BASIS] / ours[BASIS])})"
        lost = f" {LOST}" if report.beats_fastloss(result, cell) else ""
        wrong = f" {cell['remark']}" if cell["remark"] else ""
        cells.append(text + _noise(cell) + lost + wrong)
    return cells


def _factor(ratio: float) -> str:
    """More digits where they decide who is faster."""
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 1.95 else 2}f}x"


def _noise(cell: Result) -> str:
    return " ~" if report.is_noisy(cell) else ""


def _dtypes(results: list[Result]) -> str:
    return " and ".join(dict.fromkeys(result["dtype"] for result in results))


def _legend(results: list[Result]) -> str:
    sentences = [
        "The roof is a kernel that only reads the inputs and, for a gradient, writes an array of "
        "its size; naive NumPy is the textbook formula, careful NumPy has no overflow and no large "
        "temporaries. NumPy computes on one thread. Gradients of careful NumPy and fastloss go "
        "into a given array. Everyone took turns in the same run."
    ]
    cells = [(result, cell) for result in results for cell in result["cells"]]
    if any(report.beats_fastloss(result, cell) for result, cell in cells):
        sentences.append(f"{LOST} marks where another is faster than fastloss.")
    if any(report.is_noisy(cell) for cell in [r["roof"] for r in results] + [c for _, c in cells]):
        sentences.append(
            f"~ marks times whose middle half is spread over more than {report.NOISY:.0%}."
        )
    sentences.append("All figures of your machine: `make bench`.")
    return " ".join(sentences)


# ---------------------------------------------------------------------------------------------
# The losses


def with_losses(text: str) -> str:
    """The text of README.md with the table of all losses made anew."""
    return _between(text, LOSSES_BEGIN, LOSSES_END, losses_block(catalogue.entries()))


def losses_block(entries: list[catalogue.Entry]) -> str:
    lines = [
        "| class | ready made | loss | labels | predictions | options besides `reduction` |",
        "|---|---|---|---|---|---|",
    ]
    for family, members in itertools.groupby(entries, lambda entry: entry.family):
        lines += [f"| **{family}** |" + " |" * 5]
        lines += ["| " + " | ".join(_loss_row(entry)) + " |" for entry in members]
    return "\n".join(lines) + "\n"


def _loss_row(entry: catalogue.Entry) -> list[str]:
    options = [f"{name}={value!r}" for name, value in entry.options.items()]
    cells = [
        f"`{entry.name}`",
        *("<br>".join(f"`{line}`" for line in lines) for lines in (entry.instances, entry.loss)),
        " or ".join(entry.y_true.takes),
        " or ".join(entry.y_pred.takes),
        "<br>".join(f"`{option}`" for option in options),
    ]
    return [cell.replace("|", "\\|") for cell in cells]  # a bar would end the cell


# ---------------------------------------------------------------------------------------------
# The picture

# Hues that stay apart for colour-blind readers (Okabe and Ito, 2008).
_COLORS = {
    "naive NumPy": "#E69F00",
    "careful NumPy": "#999999",
    "scikit-learn": "#009E73",
    "PyTorch": "#CC79A7",
    "torch.compile": "#D55E00",
    "JAX": "#56B4E9",
    FASTLOSS: "#0072B2",
}


def draw(content: Content, path: Path) -> None:
    """Bars of time / roof on a logarithmic scale, a panel for each task."""
    from matplotlib.figure import Figure

    results = _main(content)
    names = [*_rivals(results), FASTLOSS]
    labels = list(dict.fromkeys(map(_label, results)))
    height = 1.2 + len(labels) * (0.3 + 0.18 * len(names))
    figure = Figure(figsize=(11, height), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, task in zip(panels, TASKS, strict=True):
        _draw_panel(axes, [r for r in results if r["task"] == task], names, labels)
        axes.set_title(task)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    ratios = [
        1 / report.share_of_roof(result, cell) for result in results for cell in result["cells"]
    ]
    panels[0].set_xlim(right=4 * max(ratios))  # with room for the number at the end of the bar
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    machine = content["machine"]
    figure.supxlabel(
        "time / time of the roof, shorter is better; 1 is a kernel that only reads and writes\n"
        f"{machine['cpu']}, {machine['threads']} threads",
        fontsize=9,
    )
    figure.savefig(path, dpi=120)


def _label(result: Result) -> str:
    loss = result["loss"].replace("_with_", "\nwith_")
    return f"{loss}\n{report.shape_text(result)}"


def _draw_panel(axes: Any, results: list[Result], names: list[str], labels: list[str]) -> None:
    left = 0.5  # where bars begin: a logarithmic scale has no 0
    thickness = 0.8 / len(names)
    for i, name in enumerate(names):
        label = name  # one entry in the legend for each name
        for result in results:
            place = labels.index(_label(result))
            cell = report.find(result, name)
            if cell is None:
                continue
            ratio = 1 / report.share_of_roof(result, cell)
            y = place + (i - (len(names) - 1) / 2) * thickness
            color = _COLORS.get(name, "#000000")
            axes.barh(y, ratio - left, thickness, left=left, label=label, color=color)
            label = ""
            lost = report.beats_fastloss(result, cell)
            text = f"{ratio:#.2g}" if ratio < 9.95 else f"{ratio:,.0f}"
            axes.annotate(
                text + ("  faster than fastloss" if lost else ""),
                (max(ratio, left), y),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color="#B00000" if lost else "black",
                weight="bold" if name == FASTLOSS else "normal",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
            )
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlim(left=left)
    axes.axvline(1, color="black", linewidth=1, linestyle=(0, (4, 3)), label="the roof")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


if __name__ == "__main__":
    raise SystemExit(main())
