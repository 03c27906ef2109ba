"""Two runs side by side: what became slower or larger, on one machine or between two."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from . import report
from .contender import FASTLOSS
from .report import BASIS, ROOF, Result
from .run import Document
from .workloads import SOFT_LABELS

Key = tuple[str, ...]

# Memory is no matter of luck, but of the pages that a library happens to touch.
_BYTES = 1.05
_FEW_BYTES = 1 << 20


class Value(NamedTuple):
    amount: float  # seconds or bytes
    spread: float = 0.0
    roof: "Value | None" = None  # that of the same run


class Change(NamedTuple):
    key: Key
    before: Value
    after: Value
    ratio: float  # after / before; with `against_roof`, of the times over the roof
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
    else:
        labels = [result["labels"]] if result["labels"] == SOFT_LABELS else []
        what = (section, result["loss"], report.shape_text(result), result["dtype"], *labels)
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
    return Value(cell[BASIS], cell["spread"], None if roof is None else _time(roof))


def changes(before: Document, after: Document) -> Changes:
    """On two machines, or on other threads, times are compared as multiples of the roof."""
    against_roof = any(
        before["machine"][name] != after["machine"][name] for name in ("cpu", "cpus", "threads")
    )
    old, new = values(before), values(after)
    found = [_change(key, old[key], new[key], against_roof) for key in old if key in new]
    return Changes(
        sorted(found, key=lambda change: -change.ratio),
        against_roof,
        [key for key in old if key not in new],
        [key for key in new if key not in old],
    )


def _change(key: Key, before: Value, after: Value, against_roof: bool) -> Change:
    if key[-1] == "memory":
        ratio = (after.amount + _FEW_BYTES) / (before.amount + _FEW_BYTES)
        return Change(key, before, after, ratio, _verdict(ratio, _BYTES, "larger", "smaller"))
    ratio, spreads = after.amount / before.amount, [before.spread, after.spread]
    if against_roof:
        if before.roof is None or after.roof is None:  # nothing that tells the machines apart
            return Change(key, before, after, ratio, "")
        ratio *= before.roof.amount / after.roof.amount
        spreads += [before.roof.spread, after.roof.spread]
    limit = 1 + max(report.NOISY, *spreads)
    return Change(key, before, after, ratio, _verdict(ratio, limit, "slower", "faster"))


def _verdict(ratio: float, limit: float, worse: str, better: str) -> str:
    """Nothing that the spread of the rounds could explain."""
    return worse if ratio > limit else better if ratio < 1 / limit else ""


def text(found: Changes) -> str:
    """As plain text: what changed, the worst first, and a count of the rest."""
    rows: list[Sequence[str]] = [("", "before", "after", "ratio", "")]
    for change in found.changes:
        if change.verdict:
            ours = "" if change.is_ours or not change.is_worse else ", not ours"
            amounts = [_amount(change.key, value) for value in (change.before, change.after)]
            name = ", ".join(change.key)
            rows.append((name, *amounts, f"{change.ratio:.2f}", change.verdict + ours))
    same = sum(not change.verdict for change in found.changes)
    lines = [report.aligned("what changed, the worst first", rows)] if len(rows) > 1 else []
    lines.append(
        f"{len(found.changes)} figures in both: fastloss is worse in {len(found.regressions())}, "
        f"{same} are within the spread of their rounds"
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
