"""What fastloss and its rivals survive: a table of scenarios, and one for stores of compiled code.

Who takes part is in `contenders.py`, what they go through in `scenarios.py` and `stores.py`: a
function added there is a row of the page, and a test.
"""

import tempfile
from pathlib import Path
from typing import Any

from . import processes, report
from .contenders import CLASSES, CONTENDERS, ROWS
from .scenarios import SCENARIOS, Scenario
from .stores import KEEPERS, ORDEALS, Program

TITLE = "What it survives"

# Most scenarios take a few, and a fraction of one for each time that they repeat something: who is
# not done by then is waiting for what never comes.
SECONDS = 45
SECONDS_EACH = 0.25

OURS = ("fastloss", "prange")  # as the tables call what is ours
# Of scenario, or ordeal, and contender: why it fails. A failure of ours must have an entry.
EXPLANATIONS: dict[tuple[str, str], str] = {}

_CODE = "import sys; from trust.scenarios import main; main(*sys.argv[1:])"


def cell(name: str, who: str, *, few: bool = False, at_least: float = 0) -> str:
    """What the table says of a scenario and a contender."""
    scenario = SCENARIOS[name]
    times = scenario.fewer if few else scenario.times
    environment = CONTENDERS[who].environment | scenario.environment
    seconds = max(at_least, SECONDS + times * SECONDS_EACH)
    outcome = processes.run(_CODE, name, who, str(times), seconds=seconds, **environment)
    if outcome.verdict != processes.OK:
        return outcome.in_short
    lines = outcome.output.splitlines()
    return lines[-1] if lines else "fails: the process ended before the scenario did"


def store_cell(name: str, who: str, *, few: bool = False) -> str:
    """What the table says of an ordeal of a store."""
    ordeal = ORDEALS[name]
    with tempfile.TemporaryDirectory() as folder:
        program = Program(KEEPERS[who], Path(folder) / "place", Path(folder) / "store")
        return ordeal.verdict(program, ordeal.fewer if few else ordeal.times)


def measure() -> dict[str, Any]:
    scenarios = [
        _row(name, scenario, {who: cell(name, who) for who in scenario.who})
        for name, scenario in SCENARIOS.items()
    ]
    stores = [
        _row(name, ordeal, {who: store_cell(name, who) for who in KEEPERS})
        for name, ordeal in ORDEALS.items()
    ]
    return {"scenarios": scenarios, "stores": stores}


def _row(name: str, entry: Scenario, cells: dict[str, str]) -> dict[str, Any]:
    print(f"  {name}: {cells}", flush=True)
    title = f"{entry.title}: {entry.times}" if entry.times else entry.title
    return {"name": name, "title": title, "cells": cells}


# -------------------------------------------------------------------------------------------------

_INTRODUCTION = """
Each cell is a process of its own, which is given {seconds} seconds and {each} more for each time
that it repeats something. Losses are computed in it before, meanwhile and after, and each time the
loss and every number of the gradient are compared with the formula in float64 (cross-entropy of
{rows:,} rows of {classes} classes, float32): `ok` means that it ended well and all were right. A
remark after `ok` is what else was seen. A dash means that the question does not arise.
"""

_CONTENDERS = """
- **fastloss** as it is by default, on its own pool; beside it on Numba's parallel loops, with
  `FASTLOSS_BACKEND=prange` on OpenMP, which is meant for programs of one process.
- **PyTorch** `cross_entropy`, forward and backward; **scikit-learn**
  `HalfMultinomialLoss.loss_gradient` with as many threads as its models take.
- **plain Numba**: the textbook formula under `njit(parallel=True)`, on the layer that Numba brings
  itself, `workqueue`. Where a row names a layer, on that.

All are told to use two threads, except in the rows of fewer CPUs.

Whoever hangs in a forked child waits for threads of OpenMP that the parent had and the child has
not; PyTorch's `DataLoader` keeps its workers to one thread. `workqueue` ends the process when two
threads call at once.
"""

_STORES = """
## The store of compiled code

The same for what is kept on disk. A program computes a squared error; its store is treated as the
row says, and it runs again. `ok`: it ended well, its numbers were those of the version that is
installed, damaged code was made again, and the store was used afterwards. Beside it, Numba's
`cache=True` on a function with a helper in another file.
"""


def page(result: dict[str, Any]) -> str:
    introduction = _INTRODUCTION.format(
        seconds=SECONDS, each=SECONDS_EACH, rows=ROWS, classes=CLASSES
    )
    titles = {who: contender.title for who, contender in CONTENDERS.items()}
    keepers = {who: keeper.title for who, keeper in KEEPERS.items()}
    return "\n\n".join(
        part.strip()
        for part in (
            introduction,
            _table(titles, result["scenarios"]),
            _CONTENDERS,
            _STORES,
            _table(keepers, result["stores"]),
            _explanations(result),
        )
    )


def _table(titles: dict[str, str], rows: list[dict[str, Any]]) -> str:
    lines = [[row["title"], *(_styled(row["cells"].get(who)) for who in titles)] for row in rows]
    return report.table(["", *titles.values()], lines)


def _styled(verdict: str | None) -> str:
    if verdict is None:
        return "-"
    return verdict if verdict.startswith(("ok", "skipped")) else f"**{verdict}**"


def _explanations(result: dict[str, Any]) -> str:
    rows = [row for table in ("scenarios", "stores") for row in result[table]]
    lines = [
        f"- {row['title']}, {CONTENDERS[who].title}: {EXPLANATIONS[row['name'], who]}"
        for row in rows
        for who in CONTENDERS
        if (row["name"], who) in EXPLANATIONS
    ]
    if not lines:
        return "No cell of fastloss has failed."
    return "\n".join(["## Where fastloss fails", "", *lines])
