"""A night of fuzzing: the properties of `tests/test_fuzz.py` and `tests/test_properties.py`."""

import ast
import json
import secrets
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

from . import processes, report

TITLE = "What fuzzing found"
FILES = ("test_fuzz.py", "test_properties.py")
# Of the message of a failure, which has all that was drawn, the page has the first line.
_LONGEST = 600


def measure() -> dict[str, Any]:
    seed = secrets.randbelow(2**32)
    with tempfile.TemporaryDirectory() as folder:
        counts, results = Path(folder) / "counts.json", Path(folder) / "results.xml"
        outcome = processes.run(
            processes.PYTEST,
            *(str(processes.ROOT / "tests" / name) for name in FILES),
            *("-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", f"--junitxml={results}"),
            seconds=3600,
            FUZZ_PROFILE="nightly",
            FUZZ_SEED=str(seed),
            FUZZ_COUNTS=str(counts),
        )
        if outcome.verdict != processes.OK or not counts.exists():
            raise RuntimeError(f"fuzzing: {outcome.in_short}\n{outcome.output[-2000:]}")
        counted = json.loads(counts.read_text(encoding="utf-8"))
        parameters, found = _read(results)
    properties = [
        {"name": name, "what": what, "parameters": parameters[name], **counted[name]}
        for name, what in _properties()
    ]
    return {"seed": seed, "properties": properties, "found": found}


def _properties() -> list[tuple[str, str]]:
    """The tests, and what their docstrings say of them."""
    known = []
    for file in FILES:
        tree = ast.parse((processes.ROOT / "tests" / file).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = ast.get_docstring(node) or ""
                known.append((node.name, " ".join(said.split())))
    return known


def _read(results: Path) -> tuple[Counter[str], list[dict[str, str]]]:
    """How many parameters each property has, and the failures."""
    parameters: Counter[str] = Counter()
    found = []
    for case in ElementTree.parse(results).iter("testcase"):
        name = case.get("name", "")
        parameters[name.partition("[")[0]] += 1
        for failure in (*case.iter("failure"), *case.iter("error")):
            found.append({"test": name, "message": failure.get("message", "")[:_LONGEST]})
    return parameters, found


def page(result: dict[str, Any]) -> str:
    properties, found = result["properties"], result["found"]
    rows = [
        [
            " ".join(each["name"].removeprefix("test_").split("_")),
            each["what"],
            each["parameters"],
            each.get("losses", 0),
            f"{each['cases']:,}",
            f"{each.get('errors', 0):,}",
        ]
        for each in properties
    ]
    cases = sum(each["cases"] for each in properties)
    head = ["property", "", "forms", "losses", "cases", "errors, as expected"]
    parts = [
        "Hypothesis draws calls: shapes from nothing to 30,000 rows, strided, reversed and "
        "transposed memory, four dtypes, numbers from 1e-40 to 1e40, NaN and infinities, weights, "
        "masks, all kinds of labels, and options, those of cross-entropy in any combination. What "
        "comes out is compared with the formulas of `tests/registry.py` in float64, within an "
        "error that is derived and not fitted. Some cases are mistakes, and must be errors that "
        "leave all memory as it was. `forms` are the combinations of options, labels, masks, "
        "weights and dtypes that kernels were compiled for in one property, `losses` the "
        "different losses among the cases.",
        f"{cases:,} cases, from the seed {result['seed']}:",
        report.table(head, rows),
    ]
    if found:
        failures = [[f"`{each['test']}`", each["message"].splitlines()[0]] for each in found]
        parts.append(report.table(["found", "what"], failures))
    else:
        parts.append("Nothing was found: all cases were as they should.")
    parts.append(
        "The same properties run as tests with fewer examples, always the same: "
        "`tests/fuzzing.py` has both profiles."
    )
    return "\n\n".join(parts)
