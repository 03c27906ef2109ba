"""Two runs side by side: what became slower or larger, on one machine or between two."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from . import bootstrap, report
from .bootstrap import Estimate, Rounds
from .contender import FASTLOSS
from .report import BASIS, ROOF, Result
from .run import Document

Key = tuple[str, ...]

# Memory is no matter of luck, but of the pages that a library happens to touch.
_BYTES = 1.05
_FEW_BYTES = 1 << 20
# Of the interval that must exclude 1. Hundreds of figures are compared at once, of which intervals
# of 95% would call some slower by chance alone.
LEVEL = 0.999


class Value(NamedTuple):
    amount: float  # seconds or bytes
    rounds: Rounds = ()  # of seconds
    roof: Rounds = ()  # the seconds of the roof in the same rounds, if there is one


class Change(NamedTuple):
    key: Key
    before: Value
    after: Value
    ratio: Estimate  # after / before; with `against_roof`, of the times over the roof
    verdict: str  # "slower", "faster", "larger", "smaller" or ""

    @property
    def is_ours(self) -> bool:
        return FASTLOSS in self.key

    @property
    def is_worse(self) -> bool:
        return self.verdict in ("slower", "larger")


class Changes(NamedTuple):
    changes: list[Change]
    against_roof: bool
    only_before: list[Key]
    only_after: list[Key]

    def regressions(self) -> list[Change]:
        """Those of fastloss: a rival that changes is no fault of ours."""
        return [change for change in self.changes if change.is_ours and change.is_worse]


def values(document: Document) -> dict[Key, Value]:
    return dict(found for result in document["results"] for found in _values(result))


def _values(result: Result) -> Iterator[tuple[Key, Value]]:
    section = result["section"]
    if "job" in result:
        what: Key = (section, result["job"], str(result["size"]))
    elif "host" in result:
        what = (section, result["host"], result["what"], report.shape_text(result))
    else:
        size = report.shape_text(result), result["dtype"]
        what = (section, result["loss"], *size, *report.kinds(result))
    if "task" in result:
        what = (*what, result["task"])
    roof = result.get("roof")
    if roof is not None:
        yield (*what, ROOF), _time(roof)
    for row in result.get("rows", ()):  # of the threads
        who = FASTLOSS if row["backend"] != ROOF else ROOF
        name = (who, row["backend"], f"{row['threads']} threads")
        yield (*what, *name), _time(row["time"])
    for cell in result.get("cells", ()):
        extra = [cell[name] for name in ("task", "what") if name in cell]
        name = (cell["contender"], *extra)
        if BASIS in cell:
            yield (*what, *name), _time(cell, roof)
        if "bytes" in cell:
            yield (*what, *name, "memory"), Value(cell["bytes"])


def _time(cell: Result, roof: Result | None = None) -> Value:
    return Value(cell[BASIS], cell["seconds"], () if roof is None else roof["seconds"])


def changes(before: Document, after: Document) -> Changes:
    """On two machines, or on other threads, times are compared as multiples of the roof."""
    against_roof = any(
        before["machine"][name] != after["machine"][name] for name in ("cpu", "cpus", "threads")
    )
    old, new = values(before), values(after)
    found = [_change(key, old[key], new[key], against_roof) for key in old if key in new]
    return Changes(
        sorted(found, key=lambda change: -change.ratio.value),
        against_roof,
        [key for key in old if key not in new],
        [key for key in new if key not in old],
    )


def _change(key: Key, before: Value, after: Value, against_roof: bool) -> Change:
    if key[-1] == "memory":
        grown = (after.amount + _FEW_BYTES) / (before.amount + _FEW_BYTES)
        ratio = Estimate(grown, grown / _BYTES, grown * _BYTES)
        return Change(key, before, after, ratio, _verdict(ratio, "larger", "smaller"))
    old, new = before.rounds, after.rounds
    if against_roof:
        if not (before.roof and after.roof):  # nothing that tells the machines apart
            return Change(key, before, after, Estimate(after.amount / before.amount), "")
        old, new = (bootstrap.ratios(each.rounds, each.roof) for each in (before, after))
    ratio = bootstrap.change(old, new, LEVEL)
    return Change(key, before, after, ratio, _verdict(ratio, "slower", "faster"))


def _verdict(ratio: Estimate, worse: str, better: str) -> str:
    """Nothing that the rounds could explain."""
    return worse if ratio.low > 1 else better if ratio.high < 1 else ""


def text(found: Changes) -> str:
    """As plain text: what changed, the worst first, and a count of the rest."""
    rows: list[Sequence[str]] = [("", "before", "after", "ratio", "interval", "")]
    for change in found.changes:
        if change.verdict:
            ours = "" if change.is_ours or not change.is_worse else ", not ours"
            amounts = [_amount(change.key, value) for value in (change.before, change.after)]
            name = ", ".join(change.key)
            value, low, high = change.ratio
            numbers = [f"{value:.2f}", f"{low:.2f} to {high:.2f}"]
            rows.append((name, *amounts, *numbers, change.verdict + ours))
    same = sum(not change.verdict for change in found.changes)
    lines = [report.aligned("what changed, the worst first", rows)] if len(rows) > 1 else []
    lines.append(
        f"{len(found.changes)} figures in both: fastloss is worse in {len(found.regressions())}, "
        f"{same} have intervals ({LEVEL:.1%}) that include 1"
    )
    if any(
        len(each.rounds) == 1 for change in found.changes for each in (change.before, change.after)
    ):
        lines.append(
            "what was timed in one process has an interval without what its memory happened to "
            "do: fastloss bench --processes 3"
        )
    if found.against_roof:
        lines.append(
            "the machines differ: times are compared as multiples of the roof, and those of "
            "sections without a roof not at all"
        )
    for name, keys in (("first", found.only_before), ("second", found.only_after)):
        if keys:
            lines.append(f"only in the {name}: {len(keys)}, such as {', '.join(keys[0])}")
    return "\n".join(lines)


def _amount(key: Key, value: Value) -> str:
    if key[-1] == "memory":
        return f"{value.amount / 2**20:,.1f} MiB"
    return f"{report.milliseconds(value.amount)} ms"
