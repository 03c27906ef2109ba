"""What was found: what the figures say of each other, and tables as text."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .contender import FASTLOSS, NAIVE
from .workloads import SOFT_LABELS

ROOF = "the roof"

# The time that ratios are made of. On a quiet machine the minimum and the median of the rounds tell
# the same. On a busy one the minimum is the less disturbed, and the less flattering: naive NumPy
# takes gigabytes of new memory in each call, and may wait long for it in half of its rounds.
BASIS = "min"

# A spread above this says that something else was going on: the cell is marked.
NOISY = 0.10

# A run with more than this share of noisy times was made on a busy machine.
BUSY = 0.25

Result = dict[str, Any]  # of a comparison: one workload and task; see `compare.py`

_UNITS = {"ms": 1e3, "us": 1e6}


def share_of_roof(result: Result, cell: Result) -> float:
    return float(result["roof"][BASIS] / cell[BASIS])


def times_faster_than(result: Result, name: str, cell: Result) -> float | None:
    other = find(result, name)
    return None if other is None else float(other[BASIS] / cell[BASIS])


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


def beats_fastloss(result: Result, cell: Result) -> bool:
    """Whether a contender (no variant of fastloss) has the smaller minimum or median."""
    ours = find(result, FASTLOSS)
    if is_ours(cell) or ours is None:
        return False
    return bool(cell["min"] < ours["min"] or cell["median"] < ours["median"])


def shape_text(result: Result) -> str:
    return " x ".join(f"{length:,}" for length in result["shape"])


def milliseconds(seconds: float) -> str:
    return three_digits(seconds, "ms")


def three_digits(seconds: float, unit: str) -> str:
    """Three digits or more."""
    value = seconds * _UNITS[unit]
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def table(result: Result, unit: str = "ms") -> str:
    """The result of a comparison as plain text."""
    rows = [("", f"median {unit}", f"min {unit}", "of the roof", f"x {NAIVE}", "")]
    rows.append((ROOF, *_times(result["roof"], unit), "", "", ", ".join(noise(result["roof"]))))
    for cell in result["cells"]:
        faster = times_faster_than(result, NAIVE, cell)
        rows.append(
            (
                cell["contender"],
                *_times(cell, unit),
                f"{share_of_roof(result, cell):.1%}",
                "" if faster is None else f"{faster:.1f}",
                ", ".join(_remarks(result, cell)),
            )
        )
    parts = [result["loss"], result["task"], shape_text(result), result["dtype"]]
    if result["labels"] == SOFT_LABELS:
        parts.append(SOFT_LABELS)
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


def _times(cell: Result, unit: str) -> tuple[str, str]:
    return three_digits(cell["median"], unit), three_digits(cell["min"], unit)


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


def summary(results: list[Result], missing: list[str]) -> str:
    """What to know about the tables as a whole."""
    cells = [(result, cell) for result in results for cell in result["cells"]]
    losing = [cell for result, cell in cells if beats_fastloss(result, cell)]
    noisy = [cell for _, cell in cells if is_noisy(cell)]
    noisy += [result["roof"] for result in results if is_noisy(result["roof"])]
    lines = [
        f"{len(results)} workloads, {len(cells)} cells; a rival is faster than fastloss in "
        f"{len(losing)}; {len(noisy)} are noisy (spread over {NOISY:.0%})",
    ]
    lines.append("ratios are those of the minima")
    if missing:
        lines.append(f"not installed, or not working here, left out: {', '.join(missing)}")
    return "\n".join(lines)


def array_bytes(result: Result) -> int:
    """Of an array of the size of the gradient."""
    size = 2 if result["dtype"] in ("float16", "bfloat16") else np.dtype(result["dtype"]).itemsize
    return math.prod(result["shape"]) * size
