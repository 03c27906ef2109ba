"""The same bits: hashes of results over threads, backends, ways to call and places to call from."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fastloss as fl

from . import processes, report
from .scenarios import TBB_PATH

TITLE = "Determinism: the same bits, whoever computes"

THREADS = range(1, 9)
BACKENDS = ("pool", "prange")
# How often each number of threads of each backend computes every loss, in all its ways.
REPEATS = 100
# Few, some and many classes; all dtypes; and enough work for all threads.
LOSSES: dict[str, tuple[fl.Loss, tuple[int, ...], str]] = {
    "cross-entropy, 10 classes": (fl.cross_entropy, (60_000, 10), "float32"),
    "cross-entropy, 10 classes, float16": (fl.cross_entropy, (60_000, 10), "float16"),
    "cross-entropy, 1,000 classes": (fl.cross_entropy, (700, 1_000), "float32"),
    "cross-entropy, 50,000 classes": (fl.cross_entropy, (13, 50_000), "float32"),
    "cross-entropy, 1,000 classes, float64": (fl.cross_entropy, (700, 1_000), "float64"),
    "label smoothing": (fl.CrossEntropy(label_smoothing=0.1), (6_000, 100), "float32"),
    "KL divergence": (fl.kl_divergence, (6_000, 100), "float32"),
    "squared error": (fl.mse, (1_300_007,), "float32"),
    "squared error, float64": (fl.mse, (1_300_007,), "float64"),
    "binary, with logits": (fl.binary_cross_entropy_with_logits, (600_011,), "float32"),
}
# CPUs whose code this machine runs too, if it is of the same kind; the last has no fused products.
OTHER_CPUS = ("skylake-avx512", "haswell", "nehalem")

Hashes = dict[str, str]  # by name of the loss

# -------------------------------------------------------------------------------------------------
# Ways to call: each returns value and gradient


def _strided(array: Any) -> Any:
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _misaligned(array: Any) -> Any:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _in_place(loss: Any, y_true: Any, y_pred: Any) -> Any:
    copy = y_pred.copy()
    return loss.value_and_grad(y_true, copy, out=copy)


WAYS: dict[str, Callable[[Any, Any, Any], tuple[float, Any]]] = {
    "a new array": lambda loss, y, x: loss.value_and_grad(y, x),
    "into `out`": lambda loss, y, x: loss.value_and_grad(y, x, out=np.empty_like(x)),
    "in place": _in_place,
    "value and gradient apart": lambda loss, y, x: (loss(y, x), loss.grad(y, x)),
    "strided predictions": lambda loss, y, x: loss.value_and_grad(y, _strided(x)),
    "misaligned predictions": lambda loss, y, x: loss.value_and_grad(y, _misaligned(x)),
}


def data(name: str) -> tuple[Any, Any]:
    loss, shape, dtype = LOSSES[name]
    rng = np.random.default_rng(len(shape))
    numbers = rng.normal(size=shape) * 3
    if isinstance(loss, fl.CrossEntropy):
        return rng.integers(0, shape[-1], shape[:-1]), numbers.astype(dtype)
    if isinstance(loss, fl.KLDivergence):
        numbers = np.exp(numbers)
        p, q = numbers / numbers.sum(-1, keepdims=True), np.full(shape, 1 / shape[-1])
        return p.astype(dtype), q.astype(dtype)
    return (rng.random(shape) < 0.5).astype(dtype), numbers.astype(dtype)


def hash_of(value: float, grad: Any) -> str:
    digest = hashlib.sha256(np.float64(value).tobytes())
    digest.update(np.ascontiguousarray(grad).tobytes())
    return digest.hexdigest()[:16]


def hashes(names: tuple[str, ...] = tuple(LOSSES), repeats: int = 1) -> Hashes:
    """The hash of each loss, or all that came out if not every repetition has the same."""
    found = {}
    for name in names:
        loss, y_true, y_pred = LOSSES[name][0], *data(name)
        each = {hash_of(*loss.value_and_grad(y_true, y_pred)) for _ in range(repeats)}
        found[name] = " and ".join(sorted(each))
    return found


def different(names: tuple[str, ...], repeats: int) -> Iterator[str]:
    """Compute all losses in all ways so many times: whatever has other bits than the first."""
    for name in names:
        loss, y_true, y_pred = LOSSES[name][0], *data(name)
        first = hash_of(*WAYS["a new array"](loss, y_true, y_pred))
        for way, call in WAYS.items():
            if any(hash_of(*call(loss, y_true, y_pred)) != first for _ in range(repeats)):
                yield f"{name}, {way}"


# -------------------------------------------------------------------------------------------------
# Places to call from, as scripts that print JSON

_IMPORTS = (
    f"""
import asyncio, atexit, json, multiprocessing, os, signal, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
import fastloss as fl
from trust.contenders import Verdict
from trust.determinism import LOSSES, different, hashes
from trust.scenarios import forked, half_a_cpu

steady = partial(hashes, repeats={REPEATS})
"""
    + """
def same(results):
    first, *others = results
    assert all(other == first for other in others), others
    return first

def in_child(method):
    hashes()  # the parent's threads have run
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as children:
        return children.submit(steady).result()

def forked_first():
    return json.loads(forked(lambda: json.dumps(steady())))

def in_grandchild():
    hashes()
    return json.loads(forked(lambda: json.dumps(forked_first())))

def after_pytorch():
    import torch
    torch.ones(2000, 2000) @ torch.ones(2000, 2000)
    return in_child("fork")

def while_others_call():
    stop = threading.Event()
    def call():
        while not stop.is_set():
            hashes(("squared error",))
    others = [threading.Thread(target=call) for _ in range(2)]
    for other in others:
        other.start()
    try:
        return in_child("fork")
    finally:
        stop.set()
        for other in others:
            other.join()

def by_joblib(backend):
    import joblib
    return same(joblib.Parallel(2, backend=backend)(joblib.delayed(steady)() for _ in range(2)))

def by_dask(scheduler):
    import dask
    tasks = [dask.delayed(steady, pure=False)() for _ in range(2)]
    return same(dask.compute(*tasks, scheduler=scheduler, num_workers=2))

def from_prange():
    import numba
    results = []
    def call():
        results.append(hashes())
    @numba.njit(parallel=True)
    def loop(n):
        for i in numba.prange(n):
            with numba.objmode():
                call()
    loop(100)
    assert len(results) == 100
    return same(results)

def beside_prange():
    import numba
    import numpy as np
    @numba.njit(parallel=True, nogil=True)
    def loop(x):
        for i in numba.prange(x.size):
            x[i] = np.sqrt(x[i] + 1)
    stop = threading.Event()
    def run():
        x = np.ones(1_000_000)
        while not stop.is_set():
            loop(x)
    other = threading.Thread(target=run)
    other.start()
    try:
        return steady()
    finally:
        stop.set()
        other.join()

def by_data_loader():
    import torch.utils.data
    class Calls:
        def __len__(self):
            return steady.keywords["repeats"]
        def __getitem__(self, index):
            return hashes()
    hashes()
    return same(torch.utils.data.DataLoader(
        Calls(), None, num_workers=2, multiprocessing_context="fork"
    ))

def after_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    hashes()  # an interrupt while code is loaded could be lost in a callback of LLVM
    threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,)).start()
    try:
        while True:
            hashes()
    except KeyboardInterrupt:
        return steady()

def in_daemon_threads_at_exit():
    results, enough = [], threading.Event()
    def forever():
        while True:
            results.append(hashes())
            if len(results) >= steady.keywords["repeats"]:
                enough.set()
    def report():
        results.clear()  # what came before does not count
        enough.clear()
        enough.wait()
        print(json.dumps(same(list(results))), flush=True)
    hashes()
    for _ in range(2):
        threading.Thread(target=forever, daemon=True).start()
    atexit.register(report)  # while the threads call on, to the end

def on_one_cpu():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return steady()

def on_half_a_cpu():
    def child():
        join()
        return json.dumps(steady())
    try:
        with half_a_cpu() as join:
            return json.loads(forked(child))
    except Verdict as skipped:
        return str(skipped)

def on_layer(layer):
    import numba
    fl.set_backend("prange")
    result = steady()
    assert numba.threading_layer() == layer, numba.threading_layer()
    return result

def refused_on_layer(layer):
    try:
        fl.set_backend("prange")
    except RuntimeError as refusal:
        assert layer in str(refusal), refusal
        return beside_prange()
    raise AssertionError(f"{layer} was not refused")
"""
)
PLACES = {
    "the main thread": "steady()",
    "another thread": "ThreadPoolExecutor(1).submit(steady).result()",
    "four threads at once": "same(ThreadPoolExecutor(4).map(lambda _: steady(), range(4)))",
    "sixteen threads at once": (
        f"same(ThreadPoolExecutor(16).map(lambda _: hashes(), range({REPEATS})))"
    ),
    "`asyncio.to_thread`": "asyncio.run(asyncio.to_thread(steady))",
    "joblib, threads": "by_joblib('threading')",
    "joblib, processes (loky)": "by_joblib('loky')",
    "Dask, threads": "by_dask('threads')",
    "Dask, processes": "by_dask('processes')",
    "Python called within a user's `prange` (`objmode`)": "from_prange()",
    "beside a user's `prange` in another thread": "beside_prange()",
    "a forked child": "in_child('fork')",
    "a forked child, first used there": "forked_first()",
    "a forked child's forked child": "in_grandchild()",
    "a child forked from a thread": "ThreadPoolExecutor(1).submit(in_child, 'fork').result()",
    "a child forked while other threads call": "while_others_call()",
    "a child forked after PyTorch computed": "after_pytorch()",
    "workers of a PyTorch `DataLoader`, forked": "by_data_loader()",
    "a spawned child": "in_child('spawn')",
    "a child of a fork server": "in_child('forkserver')",
    "an `atexit` handler": "atexit.register(lambda: print(json.dumps(steady()))) and None",
    "daemon threads, while the process ends": "in_daemon_threads_at_exit()",
    "after Ctrl-C": "after_ctrl_c()",
    "one CPU, by affinity": "on_one_cpu()",
    "half a CPU, by the quota of a cgroup": "on_half_a_cpu()",
}
# Numba's layers, each forced.
LAYERS = {
    "backend `prange` on Numba's layer `omp`": ("omp", "on_layer('omp')"),
    "backend `prange` on Numba's layer `tbb`": ("tbb", "on_layer('tbb')"),
    "backend `pool` beside a user's `prange` on `workqueue`, where ours is refused": (
        "workqueue",
        "refused_on_layer('workqueue')",
    ),
}


def _results(code: str, **environment: str) -> Any:
    """What the code gives, or what became of it."""
    outcome = processes.run(f"{_IMPORTS}\nprint(json.dumps({code}))", seconds=1800, **environment)
    if outcome.verdict != processes.OK:
        return outcome.in_short
    return json.loads(outcome.output.splitlines()[-1])


def measure() -> dict[str, Any]:
    expected = _results("hashes()")
    assert isinstance(expected, dict), expected
    threads = {}
    for backend in BACKENDS:
        for n in THREADS:
            print(f"  {backend}, {n} threads", flush=True)
            settings = {
                "FASTLOSS_BACKEND": backend,
                "FASTLOSS_NUM_THREADS": str(n),
                "NUMBA_NUM_THREADS": str(max(THREADS)),
            }
            code = f"[hashes(), list(different({tuple(LOSSES)}, {REPEATS}))]"
            found = _results(code, **settings)
            threads[f"{backend}, {n}"] = (
                found if isinstance(found, str) else _compared(found[0], expected) + found[1]
            )
    places = {}
    for place, code in PLACES.items():
        print(f"  {place}", flush=True)
        places[place] = _compared(_results(code), expected)
    for place, (layer, code) in LAYERS.items():
        print(f"  {place}", flush=True)
        found = _results(code, NUMBA_THREADING_LAYER=layer, LD_LIBRARY_PATH=TBB_PATH)
        places[place] = _compared(found, expected)
    with tempfile.TemporaryDirectory() as store:
        print("  compiled anew", flush=True)
        found = _results("hashes()", FASTLOSS_CACHE_DIR=store)
    places["a process that compiles, not loads"] = _compared(found, expected)
    other_cpus = {}
    for cpu in OTHER_CPUS:
        print(f"  code for {cpu}", flush=True)
        found = _results("hashes()", NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES="")
        other_cpus[cpu] = _compared(found, expected)
    return {
        "hashes": expected,
        "repeats": REPEATS,
        "ways": list(WAYS),
        "threads": threads,
        "places": places,
        "other_cpus": other_cpus,
    }


def _compared(found: Hashes | str, expected: Hashes) -> list[str] | str:
    if isinstance(found, str):
        return found
    return [name for name in expected if found[name] != expected[name]]


def page(result: dict[str, Any]) -> str:
    n_results = len(result["hashes"]) * len(result["ways"]) * result["repeats"]
    ways = ", ".join(result["ways"])
    rows = [
        (n, *(_verdict(result["threads"][f"{backend}, {n}"]) for backend in BACKENDS))
        for n in THREADS
    ]
    return f"""
Each loss has one hash, of its value and gradient together, which all others are compared with:

{report.table(("loss", "hash"), result["hashes"].items())}

## Threads, backends, ways to call

In each cell every loss is computed {result["repeats"]} times in each of these ways: {ways}. That is
{n_results:,} results for each number of threads.

{report.table(("threads", *(f"backend `{backend}`" for backend in BACKENDS)), rows)}

## Places to call from

Every loss {result["repeats"]} times in each:

{report.table(("where", "bits"), [(k, _verdict(v)) for k, v in result["places"].items()])}

## What is promised

On one machine, with one version of fastloss, NumPy and Numba: the same bits for any number of
threads, on both backends, wherever the call comes from and however the arrays lie. The value has
the same bits with and without a gradient. A sample's loss and gradient do not depend on the samples
beside it.

Not promised: the same bits on CPUs of different families, whose compiled code differs. The losses
above, on this machine with code that was compiled for others:

{report.table(("code for", "bits"), [(k, _verdict(v)) for k, v in result["other_cpus"].items()])}
"""


def _verdict(different: list[str] | str) -> str:
    if isinstance(different, str):
        return different
    return f"other bits: {', '.join(different)}" if different else "the same"
