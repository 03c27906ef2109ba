"""`make readme`: puts a stored result into README.md, as a picture, and into docs/benchmarks.md, as
a table; and tables of losses, common ones and all, into README.md and docs/losses.md.

`make bench` leaves its result in bench/results/latest.json. `make readme STORE=1` keeps that as
bench/results/readme.json and renders it; `make readme` renders what was kept once more.
"""

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fastloss import catalogue
from fastloss.study import charts, report, tables
from fastloss.study.bootstrap import LEVEL
from fastloss.study.contender import FASTLOSS
from fastloss.study.report import Result
from fastloss.study.workloads import TASKS, WORKLOADS

from .storage import FOLDER, LATEST

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
LOSSES = ROOT / "docs" / "losses.md"
PICTURE = ROOT / "docs" / "benchmark.png"
STORED = FOLDER / "readme.json"

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
LOSSES_BEGIN, LOSSES_END = "<!-- losses:begin -->", "<!-- losses:end -->"

# The losses that README.md lists, by the names of instances.
COMMON = (
    *("mse", "mae", "huber", "quantile", "log_cosh", "poisson"),
    *("binary_cross_entropy_with_logits", "binary_focal", "hinge"),
    *("cross_entropy", "focal", "kl_divergence"),
)

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
    for path, text in rendered(content).items():
        path.write_text(text, encoding="utf-8")
    draw(content, PICTURE)
    print(f"rendered into {README}, {BENCHMARKS}, {LOSSES} and {PICTURE}")
    return 0


def rendered(content: Content) -> dict[Path, str]:
    """What the pages are to hold."""
    readme, benchmarks, losses = (
        path.read_text(encoding="utf-8") for path in (README, BENCHMARKS, LOSSES)
    )
    entries = catalogue.entries()
    common = [entry for name in COMMON for entry in entries if name in entry.instances]
    return {
        README: with_losses(updated(readme, summary(content)), common_block(common)),
        BENCHMARKS: updated(benchmarks, block(content)),
        LOSSES: with_losses(losses, losses_block(entries)),
    }


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


def updated(text: str, block: str) -> str:
    """The text of a page with the block between the markers made anew."""
    return _between(text, BEGIN, END, block)


def _between(text: str, begin: str, end: str, block: str) -> str:
    before, begins, rest = text.partition(begin)
    _, ends, after = rest.partition(end)
    if not (begins and ends):
        raise ValueError(f"the page must have the lines {begin} and {end}")
    return f"{before}{begin}\n{block}{end}{after}"


def summary(content: Content) -> str:
    """The picture, and what it shows."""
    machine = content["machine"]
    return (
        f"![Time of each contender over that of the roof]({PICTURE.relative_to(ROOT).as_posix()})\n"
        "\n"
        "Time over the least that the machine allows, shorter is better, on "
        f"{machine['cpu']}, {machine['threads']} threads:\n"
        f"[{BENCHMARKS.relative_to(ROOT).as_posix()}]({BENCHMARKS.relative_to(ROOT).as_posix()}).\n"
    )


def block(content: Content) -> str:
    """The picture and the table."""
    machine, results = content["machine"], _main(content)
    versions = machine["versions"]
    lines = [
        f"![Time of each contender over that of the roof]({PICTURE.name})",
        "",
        f"Milliseconds, the median of several rounds beside their minimum, {_dtypes(results)}, on "
        f"{machine['cpu']}, "
        f"{machine['threads']} threads, NumPy {versions['numpy']}, Numba {versions['numba']}. "
        "In brackets: how many times faster fastloss is.",
        "",
        tables.markdown(tables.comparison(results)),
        "",
        _legend(results),
    ]
    return "\n".join(lines) + "\n"


def _main(content: Content) -> list[Result]:
    return [result for result in content["results"] if result["main"]]


def _dtypes(results: list[Result]) -> str:
    return " and ".join(dict.fromkeys(result["dtype"] for result in results))


def _legend(results: list[Result]) -> str:
    sentences = [
        "The roof is a kernel that only reads the inputs and, for a gradient, writes an array of "
        "its size; naive NumPy is the textbook formula, careful NumPy has no overflow and no large "
        "temporaries. NumPy and SciPy compute on one thread. Gradients go into a given array where "
        "a contender can do that. Everyone took turns in the same run."
    ]
    cells = [(result, cell) for result in results for cell in result["cells"]]
    if any("interval" in cell for _, cell in cells):
        sentences.append(f"Intervals are those of the bootstrap, of {LEVEL:.0%}.")
    if any(report.beats_fastloss(result, cell) for result, cell in cells):
        sentences.append(f"**{tables.LOST}** marks where another is faster than fastloss.")
    if any(report.is_noisy(cell) for cell in [r["roof"] for r in results] + [c for _, c in cells]):
        sentences.append(
            f"~ marks times whose middle half is spread over more than {report.NOISY:.0%}."
        )
    sentences.append("On your machine: `make bench`, or a whole study: `fastloss bench`.")
    return " ".join(sentences)


# ---------------------------------------------------------------------------------------------
# The losses


def with_losses(text: str, block: str) -> str:
    """The text of a page with the table of losses made anew."""
    return _between(text, LOSSES_BEGIN, LOSSES_END, block)


def common_block(entries: list[catalogue.Entry]) -> str:
    lines = ["| ready made | class | loss | labels | options |", "|---|---|---|---|---|"]
    for entry in entries:
        options = _options(entry) if len(entry.options) < 4 else "many"
        cells = (_lines(entry.instances), f"`{entry.name}`", _lines(entry.loss))
        lines.append(_row(*cells, " or ".join(entry.y_true.takes), options))
    return "\n".join(lines) + "\n"


def losses_block(entries: list[catalogue.Entry]) -> str:
    """Few columns, each with what belongs together, so that they fit on a page of the site."""
    lines = [
        "| loss | formula | labels,<br>predictions | options | `hessian` |",
        "|---|---|---|---|---|",
    ]
    for family, members in itertools.groupby(entries, lambda entry: entry.family):
        lines.append(f"| **{family}** |" + " |" * 4)
        for entry in members:
            numbers = "<br>".join(" or ".join(side.takes) for side in (entry.y_true, entry.y_pred))
            hessians = entry.hessians[2:]  # after the two that all have
            cells = (_lines([entry.name, *entry.instances]), _lines(entry.loss), numbers)
            lines.append(_row(*cells, _options(entry), _lines(hessians)))
    return "\n".join(lines) + "\n"


def _options(entry: catalogue.Entry) -> str:
    """With their defaults, of which tiny numbers are rounded."""
    shown = {
        name: f"{value:.3g}" if isinstance(value, float) and 0 < value < 1e-6 else repr(value)
        for name, value in entry.options.items()
    }
    return _lines(f"{name}={value}" for name, value in shown.items())


def _lines(words: Iterable[str]) -> str:
    return "<br>".join(f"`{word}`" for word in words)


def _row(*cells: str) -> str:
    # A bar would end the cell.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# ---------------------------------------------------------------------------------------------
# The picture


def draw(content: Content, path: Path) -> None:
    """Bars of time / roof, a panel for each task."""
    results, machine = _main(content), content["machine"]
    names = [*tables.rivals(results), FASTLOSS]
    foot = f"{machine['cpu']}, {machine['threads']} threads"
    charts.bars(results, names, TASKS, foot).savefig(path, dpi=120)


if __name__ == "__main__":
    raise SystemExit(main())
