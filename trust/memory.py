"""Arrays that are larger than 32-bit indices reach, and all tests once more with bounds checked."""

import re
import tempfile
from collections import Counter
from typing import Any

from . import processes, report

TITLE = "Memory: arrays past 2^31 elements, and bounds checked at every access"

# Each is run in a process of its own, with `n` elements, and asserts what must come out.
_PRELUDE = """
import numpy as np
import fastloss as fl

n = 2**31 + 16
"""
LARGE = {
    "squared error, float16, 4 GiB of predictions, labels that are one number": """
y_pred = np.zeros(n, np.float16)
y_pred[-1] = 3
y_true = np.broadcast_to(np.float16(1), (n,))
assert fl.sse(y_true, y_pred) == n - 1 + 4
""",
    "its gradient, in place": """
y_pred = np.zeros(n, np.float16)
y_pred[-1] = 3
value, grad = fl.sse.value_and_grad(np.broadcast_to(np.float16(1), (n,)), y_pred, out=y_pred)
assert value == n - 1 + 4 and grad is y_pred
assert grad[-1] == 4 and (grad[:-1] == -2).all()
""",
    "cross-entropy of 16 classes, float16, in place": """
logits = np.zeros((n // 16, 16), np.float16)
labels = np.full(len(logits), 15, np.int8)
sum_of = fl.CrossEntropy(reduction="sum")
value, grad = sum_of.value_and_grad(labels, logits, out=logits)
assert abs(value / (len(logits) * np.log(16)) - 1) < 1e-6
row = np.full(16, 1 / 16)
row[15] -= 1
for part in (grad[:1000], grad[-1000:], grad[len(grad) // 2 :][:1000]):
    assert (part == row.astype(np.float16)).all()
""",
    "cross-entropy of one row of 2^31 classes, the last of them the label": """
logits = np.zeros((1, n), np.float16)
logits[0, -1] = 2
value = fl.cross_entropy([n - 1], logits)
assert abs(value / np.log1p((n - 1) / np.exp(2)) - 1) < 1e-6
""",
    "a bad class id behind 2^31 good ones": """
labels = np.zeros(n, np.uint8)
labels[-3] = 2
logits = np.broadcast_to(np.zeros(2, np.float16), (n, 2))
try:
    fl.cross_entropy(labels, logits)
except ValueError as error:
    assert f"labels[{n - 3}] is 2" in str(error), error
else:
    raise AssertionError("no error")
""",
    "every other number of 8 GiB, read backwards, and written": """
both = np.zeros(2 * n, np.float16)
y_pred = both[::-2]
y_pred[0], y_pred[-1] = 2, 3
y_true = np.broadcast_to(np.float16(1), (n,))
value, _ = fl.sse.value_and_grad(y_true, y_pred, out=y_pred)
assert value == n - 2 + 1 + 4
assert both[-1] == 2 and both[1] == 4 and (both[3:-2:2] == -2).all() and not both[::2].any()
""",
}


def measure() -> dict[str, Any]:
    large = []
    for name, code in LARGE.items():
        print(f"  {name}", flush=True)
        outcome = processes.run(_PRELUDE + code, seconds=600)
        large.append([name, outcome.in_short])
    print("  all tests with NUMBA_BOUNDSCHECK=1", flush=True)
    return {"large": large, "checked": _tests_with_bounds_checked()}


def _tests_with_bounds_checked() -> dict[str, Any]:
    """All tests of the results, whose kernels are compiled once more."""
    # But for the benchmarks, and the page that is about to be written.
    left_out = [f"--ignore=tests/{name}.py" for name in ("test_bench", "test_study", "test_trust")]
    arguments = ["-q", "-n", "auto", "--dist", "worksteal", *left_out, "tests"]
    code = f"import sys, pytest; sys.exit(pytest.main({arguments!r}))"
    with tempfile.TemporaryDirectory() as store:
        outcome = processes.run(
            code,
            seconds=7200,
            NUMBA_BOUNDSCHECK="1",
            FASTLOSS_CACHE_DIR=store,
            COLUMNS="1000",  # for the last lines to have whole messages
        )
    last = (outcome.output.strip().splitlines() or [outcome.in_short])[-1]
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (\w+)", last.split(" in ")[0])}
    failed = re.findall(r"^(?:FAILED|ERROR) (.+?) - (.*)$", outcome.output, re.MULTILINE)
    return {"counts": counts, "failed": failed}


def page(result: dict[str, Any]) -> str:
    checked = result["checked"]
    counts = ", ".join(f"{count:,} {kind}" for kind, count in checked["counts"].items())
    outside = [name for name, why in checked["failed"] if why.startswith("IndexError")]
    failed = Counter(
        (name.partition("[")[0], why.partition(":")[0]) for name, why in checked["failed"]
    )
    rows = [(f"`{name}`", why, count) for (name, why), count in failed.items()]
    return f"""
## Large arrays

Indices are 64-bit everywhere. Each case runs in a process of its own and checks its numbers; n is
2^31 + 16.

{report.table(("what", "outcome"), result["large"])}

## Bounds

Kernels do not check indices, as labels are checked before and the rest follows from shapes. Here
every access is checked: all tests, compiled once more with `NUMBA_BOUNDSCHECK=1`. An index outside
its array would be an `IndexError`, and the test would fail.

{counts}; an index outside its array in {len(outside)}.

Loops that check each index are not vectorised alike in a kernel with gradients and in one without.
So where a test wants the same bits of both, it fails here.

{report.table(("failed", "of which error", "tests"), rows) if rows else ""}

## In the tests

`tests/test_memory_safety.py` puts inputs and outputs between pages that no instruction may touch,
for rows of all widths, and lets memory run out, which is a `MemoryError` before the first number is
written. `tests/test_odd_inputs.py` changes labels between their check and their use.
"""
