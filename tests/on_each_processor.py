"""Runs tests for each kind of processor, in fresh processes: `make test-processors`.

`python -m tests.on_each_processor ARGUMENTS` runs `pytest ARGUMENTS` in their place. Kinds that
this machine cannot run are named and left out.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from trust.kinds import KINDS, Kind

# What the instructions of a processor can change. Each kernel of `result_hashes.py` is compared
# with plain Python, where the combinations of `test_forms.py` are tried; and every single float32
# number is tried by `make test`.
TESTS = (
    *(f"tests/test_{name}.py" for name in ("accuracy", "sums", "scalar", "softmax", "properties")),
    "tests/test_result_hashes.py",
    "tests/test_processors.py::test_code_has_the_vectors_of_its_kind",
    *("-k", "not every_float32"),
    *("-n", "auto", "--dist", "worksteal"),
)
SHORTEST = KINDS["128"]


def tests_of(kind: Kind) -> Sequence[str]:
    """Those of compiled code; for the machine's own kind those that other targets leave out.

    Long ones run for the shortest vectors, with which digits were lost, and for the machine's own.
    """
    if not kind.environment:
        return *TESTS, "-m", "each_processor"
    of_code = "not plain or compiled"
    return *TESTS, "-m", of_code if kind is SHORTEST else f"({of_code}) and not long"


def main(arguments: Sequence[str]) -> int:
    failed = []
    for kind in KINDS.values():
        reason = kind.missing()
        print(f"\n{kind.title}: {f'left out: {reason}' if reason else 'runs'}", flush=True)
        if not reason:
            command = [sys.executable, "-m", "pytest", *(arguments or tests_of(kind))]
            done = subprocess.run(command, env=os.environ | kind.environment, check=False)
            failed += [kind.title] if done.returncode else []
    if failed:
        print(f"\nfailed: {'; '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
