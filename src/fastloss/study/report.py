"""What was found: what the figures say of each other, and tables as text."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..kernels.storage import bits_type
from . import bootstrap
from .bootstrap import Estimate
from .contender import FASTLOSS, NAIVE
from .workloads import RANDOM, SOFT_LABELS

ROOF = "the roof"

# The time that is shown first, and that ratios are made of; the minimum stands beside it.
BASIS = "median"

# A spread above this says that something else was going on: the cell is marked.
NOISY = 0.10

SHORT = "turns too short"

# A run with more than this share of noisy times was made on a busy machine.
BUSY = 0.25

Result = dict[str, Any]  # of a comparison: one workload and task; see `compare.py`

_UNITS = {"ms": 1e3, "us": 1e6}


def share_of_roof(result: Result, cell: Result) -> float:
    return float(result["roof"][BASIS] / cell[BASIS])


def ratio(cell: Result, other: Result) -> Estimate:
    """How many times longer one takes than the other, of rounds in which both took turns."""
    if "seconds" in cell and "seconds" in other:
        return bootstrap.ratio(cell["seconds"], other["seconds"])
    return Estimate(cell[BASIS] / other[BASIS])  # stored before the time of every round was kept


def find(result: Result, name: str) -> Result | None:
    return next((cell for cell in result["cells"] if cell["contender"] == name), None)


def is_noisy(cell: Result) -> bool:
    return bool(cell["spread"] > NOISY)


def timings(result: Result) -> Iterator[Result]:
    """All that was timed for a result: of the roof, of contenders, on numbers of threads."""
    if "roof" in result:
        yield result["roof"]
    yield from (cell for cell in result.get("cells", ()) if "spread" in cell)
    yield from (row["time"] for row in result.get("rows", ()))


def is_ours(cell: Result) -> bool:
    """Whether it is fastloss or a variant of it."""
    return bool(cell["contender"].startswith(FASTLOSS))


def error(cell: Result) -> float | None:
    """The larger one of loss and gradient, relative; None if one is not finite, or not known."""
    found = cell["loss_error"], cell["grad_error"]
    return None if None in found else max(found)


def is_short(cell: Result) -> bool:
    """Whether turns were too short to tell a call from what a processor does when it wakes up."""
    return bool(cell.get("short", False))


def beats_fastloss(result: Result, cell: Result) -> bool:
    """Whether a contender (no variant of fastloss) has the smaller minimum or median."""
    ours = find(result, FASTLOSS)
    if is_ours(cell) or ours is None:
        return False
    return bool(cell["min"] < ours["min"] or cell["median"] < ours["median"])


def shape_text(result: Result) -> str:
    return " x ".join(f"{length:,}" for length in result["shape"])


def kinds(result: Result) -> list[str]:
    """What is unusual about its data."""
    soft = [SOFT_LABELS] * (result["labels"] == SOFT_LABELS)
    numbers = result.get("numbers", RANDOM)
    return [*soft, *[numbers] * (numbers != RANDOM)]


def milliseconds(seconds: float) -> str:
    return three_digits(seconds, "ms")


def three_digits(seconds: float, unit: str) -> str:
    """Three digits or more."""
    value = seconds * _UNITS[unit]
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def table(result: Result, unit: str = "ms") -> str:
    """The result of a comparison as plain text."""
    rows = [("", f"median {unit}", "interval", f"min {unit}", "of the roof", f"x {NAIVE}", "")]
    rows.append((ROOF, *times(result["roof"], unit), "", "", ", ".join(noise(result["roof"]))))
    naive = find(result, NAIVE)
    for cell in result["cells"]:
        rows.append(
            (
                cell["contender"],
                *times(cell, unit),
                f"{share_of_roof(result, cell):.1%}",
                "" if naive is None else f"{ratio(naive, cell).value:.1f}",
                ", ".join(_remarks(result, cell)),
            )
        )
    parts = [result["loss"], result["task"], shape_text(result), result["dtype"], *kinds(result)]
    return aligned(", ".join(parts), rows)


def aligned(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, numbers to the right; the last column is for remarks."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [title]
    for name, *numbers, remarks in rows:
        padded = [name.ljust(widths[0])]
        padded += [text.rjust(width) for text, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  " + "  ".join([*padded, remarks]).rstrip())
    return "\n".join(lines)


def times(cell: Result, unit: str = "ms") -> tuple[str, str, str]:
    """Median, its interval, and minimum."""
    median, least = (three_digits(cell[name], unit) for name in ("median", "min"))
    return median, interval(cell, unit), least


def interval(cell: Result, unit: str = "ms") -> str:
    """That of the median; nothing where the time of every round was not kept."""
    return " to ".join(three_digits(seconds, unit) for seconds in cell.get("interval", ()))


def _remarks(result: Result, cell: Result) -> Iterable[str]:
    if beats_fastloss(result, cell):
        yield "FASTER THAN FASTLOSS"
    yield from noise(cell)
    if cell["does"] != result["task"]:
        yield "has no out: a new array"
    if cell["remark"]:
        yield cell["remark"]


def noise(cell: Result) -> Iterable[str]:
    if is_noisy(cell):
        yield f"noisy: spread {cell['spread']:.0%}"
    if is_short(cell):
        yield SHORT


def summary(results: list[Result], missing: list[str]) -> str:
    """What to know about the tables as a whole."""
    cells = [(result, cell) for result in results for cell in result["cells"]]
    losing = [cell for result, cell in cells if beats_fastloss(result, cell)]
    noisy = [cell for _, cell in cells if is_noisy(cell)]
    noisy += [result["roof"] for result in results if is_noisy(result["roof"])]
    n_times = len(cells) + len(results)
    lines = [
        f"{len(results)} workloads, {len(cells)} cells; a rival is faster than fastloss in "
        f"{len(losing)}; {len(noisy)} of {n_times} times, roofs among them, are noisy (spread over "
        f"{NOISY:.0%})",
    ]
    lines.append("ratios are medians over the rounds in which all took turns")
    if missing:
        lines.append(f"not installed, or not working here, left out: {', '.join(missing)}")
    return "\n".join(lines)


def array_bytes(result: Result) -> int:
    """Of an array of the size of the gradient."""
    return math.prod(result["shape"]) * bits_type(result["dtype"]).itemsize


# -------------------------------------------------------------------------------------------------
# All cells at once


def profile(results: Iterable[Result], name: str) -> list[float]:
    """In each cell its time over that of the fastest there; infinity where it takes no part.

    The shares of cells up to each factor are a performance profile (Dolan and More, Benchmarking
    Optimization Software with Performance Profiles, Mathematical Programming 91, 2002).
    """
    factors = []
    for result in results:
        cell = find(result, name)
        best = min(float(each[BASIS]) for each in result["cells"])
        factors.append(math.inf if cell is None else cell[BASIS] / best)
    return sorted(factors)


def mean_ratio(results: Iterable[Result], name: str) -> tuple[Estimate, int] | None:
    """The geometric mean of its times over those of fastloss, and in how many cells."""
    pairs = [(find(result, name), find(result, FASTLOSS)) for result in results]
    both = [(cell["seconds"], ours["seconds"]) for cell, ours in pairs if cell and ours]
    return (bootstrap.geometric_mean(both), len(both)) if both else None
