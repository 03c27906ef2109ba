"""The start: imports and first calls in fresh processes, without the start of Python itself."""

import tempfile

from .processes import run_python
from .workloads import Workload

IMPORT_NUMPY = "import numpy"
IMPORT = "import fastloss after it"
FIRST_EVER = "first call ever"  # it compiles
FIRST_WARM = "first call, compiled code in the cache"

_IMPORTS = """
from time import perf_counter

start = perf_counter()
import numpy
between = perf_counter()
import fastloss
print(between - start, perf_counter() - between)
"""
_FIRST_CALL = """
import sys
from time import perf_counter
from fastloss.study.contenders import Fastloss
from fastloss.study.workloads import GRADIENT, Workload, make_data

loss, *lengths = sys.argv[1:]
data = make_data(Workload(loss, tuple(map(int, lengths))))
job = Fastloss().job(loss, GRADIENT, data)
start = perf_counter()
job.call()
print(perf_counter() - start)
"""


def imports() -> dict[str, float]:
    """The seconds of each import, one after the other."""
    times = run_python("-c", _IMPORTS).split()
    return dict(zip((IMPORT_NUMPY, IMPORT), map(float, times), strict=True))


def first_calls(workload: Workload) -> dict[str, float]:
    """The seconds of the first call of all, with an empty cache, and of the next process's first.

    It is `value_and_grad` with `out`.
    """
    child = "-c", _FIRST_CALL, workload.loss, *map(str, workload.shape)
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: float(run_python(*child, FASTLOSS_CACHE_DIR=folder))
            for name in (FIRST_EVER, FIRST_WARM)
        }
