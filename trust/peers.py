"""The tests that our peers wrote for themselves, with fastloss in their place."""

import importlib.util
import json
import re
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from . import processes, report

TITLE = "fastloss under the tests of its peers"


_PARTS_OF_OPTAX = (
    *("classification", "regression", "segmentation", "fenchel_young", "ranking"),
    *("self_supervised", "smoothing"),
)


class Peer(NamedTuple):
    name: str
    package: str
    distribution: str
    tests: tuple[str, ...]  # what pytest is told to run
    environment: dict[str, str]
    of: str  # what these tests are, for the page


# By the name of the module of `peer_tests` that has the adapters.
PEERS = {
    "scikit_learn": Peer(
        "scikit-learn",
        "sklearn",
        "scikit-learn",
        ("--pyargs", "sklearn._loss.tests.test_loss"),
        # Its losses for other arrays are compared with those under test, in float32 too.
        {"SCIPY_ARRAY_API": "1", "SKLEARN_RUN_FLOAT32_TESTS": "1"},
        "its tests of `sklearn._loss`. Its classes keep their links and constants; all losses, "
        "gradients and Hessians come from fastloss",
    ),
    "scipy_special": Peer(
        "SciPy",
        "scipy",
        "scipy",
        ("--pyargs", "scipy.special.tests.test_logsumexp"),
        {},
        "its tests of `logsumexp`, `softmax` and `log_softmax`, for NumPy arrays",
    ),
    "optax_losses": Peer(
        "optax",
        "optax",
        "optax",
        ("--pyargs", *(f"optax.losses._{part}_test" for part in _PARTS_OF_OPTAX)),
        {"JAX_DISABLE_JIT": "1"},  # options are numbers then, and a loss can be built with them
        "all its tests of `optax.losses`. Derivatives that JAX asks for are the gradients and "
        "Hessians of fastloss",
    ),
    "pytorch": Peer(
        "PyTorch",
        "torch",
        "torch",
        (str(Path(__file__).parent / "peer_tests" / "test_pytorch.py"),),
        {},
        "the inputs of its tests of criteria, which its wheel has, while it has not the tests: "
        "fastloss is compared with its criteria and autograd, as precisely as its tests ask",
    ),
}


def run(key: str, *selection: str, seconds: float = 1200) -> list[dict[str, Any]]:
    """What came of each test of a peer; `selection` are more arguments for pytest."""
    peer = PEERS[key]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        # Settings of our own tests are not for those of others.
        arguments = ("-c", str(Path(folder) / "none.ini"), "--rootdir", folder, "-q")
        Path(arguments[1]).touch()
        outcome = processes.run(
            processes.PYTEST,
            *arguments,
            *("-p", "no:cacheprovider", "-p", "trust.peer_tests.recorder"),
            *("--peer", key, "--results", str(results)),
            *peer.tests,
            *selection,
            seconds=seconds,
            **peer.environment,
        )
        if outcome.verdict != processes.OK or not results.exists():
            raise RuntimeError(f"the tests of {peer.name}: {outcome.in_short}\n{outcome.output}")
        tests: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))
    return tests


def verdict(test: dict[str, Any]) -> str:
    if test["outcome"] != "passed":
        return str(test["outcome"])
    if test["ours"]:
        return "in part" if test["left"] else "passed"
    return "left" if test["left"] else "silent"


def summary(tests: list[dict[str, Any]]) -> dict[str, Any]:
    verdicts = [verdict(test) for test in tests]
    known = list(zip(tests, verdicts, strict=True))
    left = sorted({reason for test in tests for reason in test["left"]})
    return {
        "tests": len(tests),
        "verdicts": dict(Counter(verdicts)),
        "answers": sum(test["ours"] for test in tests),
        "failures": [
            {"test": test["test"], "why": test["why"]} for test, how in known if how == "failed"
        ],
        "left": {
            reason: dict(Counter(how for test, how in known if reason in test["left"]))
            for reason in left
        },
        "skipped": dict(Counter(test["why"] for test, how in known if how == "skipped")),
        "silent": dict(
            Counter(re.split(r"::|\[", test["test"])[0] for test, how in known if how == "silent")
        ),
    }


def measure() -> dict[str, Any]:
    results: dict[str, Any] = {}
    for key, peer in PEERS.items():
        if importlib.util.find_spec(peer.package) is None:
            results[key] = None
            continue
        results[key] = {"version": version(peer.distribution), **summary(run(key))}
    return results


COLUMNS = {
    "passed": "passed",
    "in part": "passed, in part by the peer",
    "failed": "failed",
    "left": "left to the peer",
    "skipped": "skipped",
    "silent": "ask for no loss",
}


def page(result: dict[str, Any]) -> str:
    there = {key: found for key, found in result.items() if found is not None}
    rows = [
        [f"{PEERS[key].name} {found['version']}", found["tests"]]
        + [found["verdicts"].get(verdict, 0) for verdict in COLUMNS]
        for key, found in there.items()
    ]
    parts = [
        "Here fastloss stands in for other libraries while the tests that these wrote for "
        "themselves run, as they are installed: nothing of them is copied. Adapters "
        "(`trust/peer_tests/`) give it the interface of the peer: they scale (half losses), "
        "reorder (classes on another axis), convert and add constants that depend on labels "
        "alone, and compute nothing else. What fastloss has not, or refuses on purpose, the peer "
        "answers itself, which is noted: a test **passed** if fastloss gave all answers and the "
        "test found them right, and **in part by the peer** if some were the peer's own. A test "
        "**left to the peer** had no others, and says nothing of fastloss, nor do those that ask "
        "for no loss at all.",
        report.table(["peer", "tests", *COLUMNS.values()], rows, numbers=True),
    ]
    absent = [PEERS[key].name for key, found in result.items() if found is None]
    if absent:
        parts.append(f"Not installed: {', '.join(absent)}.")
    for key, found in there.items():
        parts += _section(PEERS[key], found)
    return "\n\n".join(parts)


def _section(peer: Peer, found: dict[str, Any]) -> list[str]:
    parts = [
        f"## {peer.name}",
        f"What runs are {peer.of}. fastloss answered {found['answers']:,} calls.",
    ]
    if found["failures"]:
        rows = [[f"`{failure['test']}`", failure["why"]] for failure in found["failures"]]
        parts.append(report.table(["failed", "cause"], rows))
    else:
        parts.append("None failed.")
    if found["left"]:
        rows = [
            [reason, how.get("in part", 0) + how.get("failed", 0), how.get("left", 0)]
            for reason, how in found["left"].items()
        ]
        head = ["what the peer answered itself", "tests, in part", "tests, whole"]
        parts.append(report.table(head, rows, numbers=True))
    if found["skipped"]:
        rows = [[reason, count] for reason, count in found["skipped"].items()]
        parts.append(report.table(["skipped", "tests"], rows, numbers=True))
    if found["silent"]:
        names = (f"`{name}` ({n})" if n > 1 else f"`{name}`" for name, n in found["silent"].items())
        parts.append(f"Ask for no loss, or for none that fastloss has: {', '.join(names)}.")
    return parts
