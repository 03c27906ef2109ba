"""The start: imports and first calls in fresh processes, without the start of Python itself."""

import json
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from .contender import Contender
from .contenders import Fastloss
from .processes import run_python
from .workloads import GRADIENT, Workload

IMPORT_NUMPY = "import numpy"
IMPORT = "import fastloss after it"
FIRST = "first call"  # of who keeps no compiled code
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
# What prepares a call, such as to make tensors, is a part of a start, as are the imports.
_FIRST_CALL = """
import json, sys
from importlib import import_module
from time import perf_counter

import numpy

settings = json.loads(sys.argv[1])
start = perf_counter()
import_module(settings["package"])
imported = perf_counter() - start

from fastloss.study.contenders import CONTENDERS, called, users
from fastloss.study.workloads import Workload, make_data

who = called(settings["contender"], [*CONTENDERS, *users(settings["files"])])
loss, shape, *rest = settings["workload"]
data = make_data(Workload(loss, tuple(shape), *rest))
start = perf_counter()
job = who.job(loss, who.does(settings["task"]), data)
if job is None:
    print("null")
else:
    with job.setting():
        job.call()
    print(json.dumps([imported, perf_counter() - start]))
"""


class Start(NamedTuple):
    """Seconds of a process."""

    imports: float  # of the library, after NumPy
    call: float  # the first, with all that prepares it


def imports() -> dict[str, float]:
    """The seconds of each import, one after the other."""
    times = run_python("-c", _IMPORTS).split()
    return dict(zip((IMPORT_NUMPY, IMPORT), map(float, times), strict=True))


def start(
    workload: Workload, contender: Contender, files: Sequence[str] = (), **environment: str
) -> Start | None:
    """The loss and its gradient in a fresh process; None from who does not compute this loss."""
    settings = {
        "package": contender.package,
        "contender": contender.name,
        "files": list(files),
        "workload": workload,
        "task": GRADIENT,
    }
    times = json.loads(run_python("-c", _FIRST_CALL, json.dumps(settings), **environment))
    return times and Start(*times)


def starts(
    workload: Workload, contender: Contender, files: Sequence[str] = ()
) -> dict[str, Start] | None:
    """With what an earlier process compiled, and from who keeps that, also without."""
    with tempfile.TemporaryDirectory() as folder:
        keeps = contender.cache_variable
        environment = {keeps: folder} if keeps else {}
        names = (FIRST_EVER, FIRST_WARM) if keeps else (FIRST,)
        found = {}
        for name in names:
            times = start(workload, contender, files, **environment)
            if times is None:
                return None
            found[name] = times
        return found


def first_calls(workload: Workload) -> dict[str, float]:
    """Of fastloss: the seconds of the first call of all, and of the next process's first."""
    found = starts(workload, Fastloss())
    assert found is not None
    return {name: times.call for name, times in found.items()}
