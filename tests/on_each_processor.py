"""Runs tests for each kind of processor, in fresh processes: `make test-processors`.

`python -m tests.on_each_processor ARGUMENTS` runs `pytest ARGUMENTS` in their place. Kinds that
this machine cannot run are named and left out.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from fastloss.kernels import scalar
from trust.kinds import KINDS, Kind
from trust.ulp import loop_of

# What the instructions of a processor can change. Each kernel of `result_hashes.py` is compared
# with plain Python, where the combinations of `test_forms.py` are tried; and every single float32
# number is tried by `make test-long`.
TESTS = (
    *(f"tests/test_{name}.py" for name in ("accuracy", "sums", "scalar", "softmax", "properties")),
    "tests/test_result_hashes.py",
    "tests/test_processors.py::test_code_has_the_vectors_of_its_kind",
    *("-k", "not every_float32"),
    *("-n", "auto", "--dist", "worksteal"),
)
OF_KERNELS = *TESTS, "-m", "each_processor"
SHORTEST, NOT_FUSED = KINDS["128"], KINDS["256"]


def vectors() -> tuple[int, bool]:
    """The bits of the longest vectors in the code of this process, and whether products are fused.

    Of no vectors that are known, 0 bits.
    """
    loop = loop_of(scalar.exp)
    loop(np.ones(8, np.float32), np.ones(8, np.float32))
    code = "".join(loop.inspect_asm().values())
    registers = {"x": 128, "y": 256, "z": 512}
    longest = max((registers[name] for name in re.findall(r"%([xyz])mm", code)), default=0)
    return longest, bool(re.search(r"\tvfn?m(add|sub)", code))


def own_kind() -> Kind | None:
    """The kind that the machine's own code is of, but for what LLVM knows of it by its name.

    It is none where the processor has instructions that its code makes no vectors of.
    """
    kinds = [kind for kind in KINDS.values() if kind.features and not kind.missing()]
    return next((kind for kind in kinds[-1:] if (kind.bits, kind.fused) == vectors()), None)


def tests_of(kind: Kind, own: Kind | None) -> Sequence[str]:
    """Those that no other target and no other kind makes up for.

    All kernels run for every kind. Other tests of compiled code run in `make test` and `make
    test-long` for the machine's own; and with long vectors whose products are not fused, numbers
    are rounded as in the shortest, and sums lie as in fused ones of the same length. Long tests run
    for the shortest vectors, with which digits were lost.
    """
    if not kind.features or kind in (own, NOT_FUSED):
        return OF_KERNELS
    of_code = "not plain or compiled"
    return *TESTS, "-m", of_code if kind is SHORTEST else f"({of_code}) and not long"


def main(arguments: Sequence[str]) -> int:
    failed = []
    own = own_kind()
    for kind in KINDS.values():
        reason = kind.missing()
        if own and not kind.features and not arguments:
            reason = f"its code is that of {own.title}"
        print(f"\n{kind.title}: {f'left out: {reason}' if reason else 'runs'}", flush=True)
        if not reason:
            command = [sys.executable, "-m", "pytest", *(arguments or tests_of(kind, own))]
            done = subprocess.run(command, env=os.environ | kind.environment, check=False)
            failed += [kind.title] if done.returncode else []
    if failed:
        print(f"\nfailed: {'; '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
