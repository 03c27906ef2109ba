"""What a process may go through while losses are computed in it, each written once for everyone.

A scenario is given `check`, which calls a contender and compares its numbers. What it returns, if
anything, is a remark for the table. It runs in a process of its own, which may end in any way.
"""

import asyncio
import atexit
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import contenders
from .contenders import EVERYONE, Check, Verdict

LOOPS = ("prange", "numba")  # who runs on Numba's parallel loops
TBB_PATH = f"{sys.prefix}/lib"  # where pip puts oneTBB, and Numba does not look


class Scenario(NamedTuple):
    title: str
    run: Callable[..., str | None]
    times: int  # how often something happens; 0: this is no question
    fewer: int  # in the tests of every change
    who: tuple[str, ...]
    brief: bool  # whether it is among those tests
    environment: dict[str, str]

    def verdict(self, subject: object, times: int) -> str:
        arguments = (times,) if self.times else ()
        return verdict_of(lambda: self.run(subject, *arguments))


def listed_in(table: dict[str, Scenario]) -> Callable[..., Any]:
    """A decorator that enters functions into a table, under their names."""

    def scenario(
        title: str,
        *,
        times: int = 0,
        fewer: int = 0,
        who: tuple[str, ...] = EVERYONE,
        brief: bool = True,
        **environment: str,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def enter(run: Callable[..., Any]) -> Callable[..., Any]:
            entry = Scenario(title, run, times, fewer or times, who, brief, environment)
            table[run.__name__] = entry
            return run

        return enter

    return scenario


SCENARIOS: dict[str, Scenario] = {}
scenario = listed_in(SCENARIOS)


def main(name: str, who: str, times: str) -> None:
    """Go through a scenario; the last line printed is what the table says."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork with threads
    # Whoever started this in the background may have switched it off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(SCENARIOS[name].verdict(Check(who), int(times)), flush=True)


def verdict_of(function: Callable[[], object]) -> str:
    """`ok` with what the function returns, or what went wrong."""
    try:
        remark = function()
    except Verdict as verdict:
        return str(verdict)
    except ModuleNotFoundError as missing:
        return f"skipped: {missing.name} is not installed"
    except Exception as error:
        text = " ".join(str(error).split())
        return f"fails: {type(error).__name__}: {text}"[:160]
    return "ok" if remark is None else f"ok: {remark}"


def skip(reason: str) -> Verdict:
    return Verdict(f"skipped: {reason}")


# -------------------------------------------------------------------------------------------------
# Threads


def in_threads(n: int, function: Callable[[], object]) -> None:
    """Run it in so many threads at once; the first error is raised here."""
    with ThreadPoolExecutor(n) as pool:
        for future in [pool.submit(function) for _ in range(n)]:
            future.result()


def again(check: Callable[[], object], times: int = 10) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(times):
            check()

    return repeat


@contextmanager
def meanwhile(function: Callable[[], object], n_threads: int) -> Iterator[None]:
    """Threads that call it again and again."""
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            function()

    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(work) for _ in range(n_threads)]
        try:
            yield
        finally:
            enough.set()
        for future in futures:
            future.result()


@scenario("four threads call at once")
def four_threads(check: Check) -> None:
    in_threads(4, again(check))


@scenario("a pool of 16 threads calls, and is the first to do so")
def thread_pool_of_16(check: Check) -> None:
    in_threads(16, again(check, 3))


@scenario("`asyncio.to_thread`")
def asyncio_threads(check: Check) -> None:
    async def several() -> None:
        await asyncio.gather(*(asyncio.to_thread(again(check)) for _ in range(8)))

    check()
    asyncio.run(several())


@scenario("joblib, threads")
def joblib_threads(check: Check) -> None:
    _joblib(check, "threading")


@scenario("joblib, processes (loky)")
def joblib_processes(check: Check) -> None:
    _joblib(check, "loky")


def _joblib(check: Check, backend: str) -> None:
    import joblib

    check()
    joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(check)() for _ in range(6))
    check()


@scenario("Dask, threads")
def dask_threads(check: Check) -> None:
    _dask(check, "threads")


# Not brief: tests/test_dask.py asks the same.
@scenario("Dask, processes", brief=False)
def dask_processes(check: Check) -> None:
    _dask(check, "processes")


def _dask(check: Check, scheduler: str) -> None:
    import dask

    check()
    tasks = [dask.delayed(check, pure=False)() for _ in range(6)]
    dask.compute(*tasks, scheduler=scheduler, num_workers=2)
    check()


# -------------------------------------------------------------------------------------------------
# Numba's parallel loops


@scenario("from Python called within a user's `prange` (`objmode`)")
def within_a_parallel_loop(check: Check) -> str | None:
    import numba

    verdicts = []

    def called() -> None:  # no exception can leave a parallel loop
        verdicts.append(verdict_of(check))

    @numba.njit(parallel=True)
    def loop(n: int) -> None:
        for _ in numba.prange(n):
            with numba.objmode():
                called()

    loop(8)
    wrong = [verdict for verdict in verdicts if verdict != "ok"]
    if wrong or len(verdicts) != 8:
        raise Verdict([*wrong, f"fails: {len(verdicts)} calls of 8"][0])
    check()
    return None


# Not brief: tests/test_own_code.py asks the same of other losses.
@scenario("compiled into a user's `prange` (`loss.jit`)", who=("fastloss",), brief=False)
def compiled_into_a_parallel_loop(check: Check) -> None:
    import numba

    import fastloss as fl

    value_and_grad = fl.cross_entropy.jit(contenders.CLASSES, "float32").value_and_grad

    @numba.njit(parallel=True)
    def loop(labels: Any, logits: Any, grad: Any) -> Any:
        total = 0.0
        for i in numba.prange(len(labels)):
            total += value_and_grad(labels[i], logits[i], grad[i])
        return total / len(labels)

    labels, logits = contenders.data()
    for _ in range(10):
        grad = np.empty_like(logits)
        loss = loop(labels, logits, grad)
        contenders.compare(loss, grad / len(labels))
    check()


@scenario("a user's `prange` kernel runs in another thread")
def beside_a_parallel_loop(check: Check) -> None:
    loop, x = _users_loop(), np.ones(1 << 20)
    check()
    with meanwhile(lambda: loop(x), 1):
        again(check, 50)()


@cache
def _users_loop() -> Any:
    import numba

    @numba.njit(parallel=True)
    def loop(x: Any) -> Any:
        total = 0.0
        for i in numba.prange(len(x)):
            total += np.sqrt(x[i])
        return total

    loop(np.ones(4))
    return loop


@scenario(
    "four threads, on Numba's layer `workqueue`", who=LOOPS, NUMBA_THREADING_LAYER="workqueue"
)
def on_workqueue(check: Check) -> str | None:
    return _on_layer(check, "workqueue")


@scenario("four threads, on Numba's layer `omp`", who=LOOPS, NUMBA_THREADING_LAYER="omp")
def on_omp(check: Check) -> str | None:
    return _on_layer(check, "omp")


@scenario(
    "four threads, on Numba's layer `tbb`",
    who=LOOPS,
    NUMBA_THREADING_LAYER="tbb",
    LD_LIBRARY_PATH=TBB_PATH,
)
def on_tbb(check: Check) -> str | None:
    return _on_layer(check, "tbb")


def _on_layer(check: Check, layer: str) -> str | None:
    try:
        import_module(f"numba.np.ufunc.{layer}" + ("pool" if layer != "workqueue" else ""))
    except ImportError:
        raise skip(f"Numba has no {layer} here") from None
    if check.who == "prange" and layer == "workqueue":
        import fastloss as fl

        try:
            check()
        except RuntimeError as refusal:
            if "workqueue" not in str(refusal) or "set_backend" not in str(refusal):
                raise
        else:
            raise Verdict("fails: workqueue was not refused")
        fl.set_backend("pool")
        in_threads(4, again(check))
        return "refused with the reason, and right on the pool"
    in_threads(4, again(check))
    import numba

    if numba.threading_layer() != layer:
        raise Verdict(f"fails: ran on {numba.threading_layer()}")
    return None


# -------------------------------------------------------------------------------------------------
# Forks and other processes


def forked(function: Callable[[], object]) -> str | None:
    """Run it in a forked child and return its remark; what else becomes of it is raised here."""
    if not hasattr(os, "fork"):
        raise skip("no fork on this system")
    answer, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(sender, verdict_of(function).encode())
        finally:
            os._exit(0)
    os.close(sender)
    with os.fdopen(answer) as reader:
        verdict = reader.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        verdict = f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    if not verdict.startswith("ok"):
        raise Verdict(f"{verdict or 'fails: ended without a word'}, in the child")
    return verdict.removeprefix("ok").removeprefix(": ") or None


@scenario("first used in a child after `os.fork`")
def first_use_after_fork(check: Check) -> None:
    forked(check)
    check()


@scenario("`os.fork` after use, in child, grandchild and parent")
def fork_after_use(check: Check) -> None:
    def child() -> None:
        again(check)()
        forked(again(check))

    check()
    forked(child)
    check()


@scenario("`os.fork` from a thread")
def fork_from_a_thread(check: Check) -> None:
    check()
    in_threads(1, lambda: again(lambda: forked(check), 5)())
    check()


@scenario("`os.fork` while other threads call", times=50, fewer=5)
def fork_while_others_call(check: Check, times: int) -> None:
    check()
    with meanwhile(check, 3):
        for _ in range(times):
            forked(check)
    check()


@scenario("PyTorch computed in the parent before `os.fork`")
def fork_after_pytorch(check: Check) -> None:
    again(Check("pytorch"), 3)()
    forked(check)
    check()


@scenario("PyTorch's `DataLoader` with forked workers")
def data_loader(check: Check) -> None:
    from torch.utils.data import DataLoader

    check()
    loader = DataLoader(
        _Items(check), batch_size=None, num_workers=2, multiprocessing_context="fork"
    )
    for _ in range(2):
        if sorted(int(item) for item in loader) != list(range(6)):
            raise Verdict("fails: items are missing")
    check()


class _Items:
    """A dataset whose items take a call each."""

    def __init__(self, check: Check) -> None:
        self.check = check

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        self.check()
        return index


@scenario("`multiprocessing`, fork")
def multiprocessing_fork(check: Check) -> None:
    _multiprocessing(check, "fork")


@scenario("`multiprocessing`, spawn")
def multiprocessing_spawn(check: Check) -> None:
    _multiprocessing(check, "spawn")


@scenario("`multiprocessing`, forkserver")
def multiprocessing_forkserver(check: Check) -> None:
    _multiprocessing(check, "forkserver")


def _multiprocessing(check: Check, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        raise skip(f"no {method} on this system")
    check()
    with multiprocessing.get_context(method).Pool(2) as pool:
        for result in [pool.apply_async(check) for _ in range(6)]:
            result.get()
    check()


@scenario("`ProcessPoolExecutor`")
def process_pool_executor(check: Check) -> None:
    check()
    with ProcessPoolExecutor(2) as pool:
        for future in [pool.submit(check) for _ in range(6)]:
            future.result()
    check()


# -------------------------------------------------------------------------------------------------
# Interrupts and the end


@scenario("Ctrl-C after a fifth of a long call")
def interrupt(check: Check) -> str | None:
    check()
    call = check.long()
    call()  # the first may compile, and asks the system for memory
    begin = time.monotonic()
    call()
    whole = time.monotonic() - begin
    timer = threading.Timer(whole / 5, os.kill, (os.getpid(), signal.SIGINT))
    begin = time.monotonic()
    try:
        timer.start()
        call()
    except KeyboardInterrupt:
        waited = time.monotonic() - begin
    else:
        timer.cancel()
        raise Verdict("fails: the call was not interrupted")
    in_threads(1, check)
    check()
    share = waited / whole
    return f"after {share:.0%} of the call, not 20%" if share > 0.4 else None


@scenario("an `atexit` handler calls")
def at_exit(check: Check) -> None:
    check()
    atexit.register(lambda: print(verdict_of(again(check)), flush=True))
    sys.exit()  # the verdict is up to the handler


@scenario("the process ends while daemon threads call")
def daemon_threads_at_exit(check: Check) -> None:
    def forever() -> None:
        while True:
            check()

    check()
    for _ in range(2):
        threading.Thread(target=forever, daemon=True).start()
    again(check)()


# -------------------------------------------------------------------------------------------------
# Fewer CPUs

_UNSET = {"FASTLOSS_NUM_THREADS": "", "OMP_NUM_THREADS": "", "NUMBA_NUM_THREADS": ""}


@scenario("one CPU of several, by affinity", **_UNSET)
def one_cpu(check: Check) -> str:
    if not hasattr(os, "sched_setaffinity"):
        raise skip("no affinity on this system")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    in_threads(2, again(check))
    return f"asks for {check.threads()} thread(s)"


@scenario("half a CPU, by the quota of a cgroup", **_UNSET)
def cgroup_quota(check: Check) -> str | None:
    with half_a_cpu() as join:

        def child() -> str:
            join()
            again(check, 3)()
            return f"asks for {check.threads()} thread(s)"

        return forked(child)


@contextmanager
def half_a_cpu() -> Iterator[Callable[[], object]]:
    """A cgroup with that quota, for the processes that join it by this call and end before it."""
    group = _cgroup_of_half_a_cpu()
    try:
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def _cgroup_of_half_a_cpu() -> Path:
    """Below the cgroup of this process, if it may make one."""
    membership = Path("/proc/self/cgroup")
    for line in membership.read_text().splitlines() if membership.exists() else []:
        _, controllers, path = line.split(":", 2)
        version_2 = not controllers
        if not version_2 and "cpu" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup") / controllers
        group = root / path.strip("/") / f"fastloss-trust-{os.getpid()}"
        try:
            group.mkdir()
            if version_2:
                (group / "cpu.max").write_text("50000 100000")
            else:
                (group / "cpu.cfs_quota_us").write_text("50000")
            return group
        except OSError:
            with suppress(OSError):
                group.rmdir()
    raise skip("this process may not make a cgroup with a quota")


# -------------------------------------------------------------------------------------------------
# Again and again

# What memory may grow by in a cycle: a result has 5 MB.
GROWTH = 100_000


def steady(cycle: Callable[[], object], times: int, patience: float = 5) -> None:
    """Go through cycles: neither threads nor files nor memory may grow with their number."""
    quarter = times // 4
    peaks = [_peak(cycle, quarter)]
    before = _footprint()
    peaks += [_peak(cycle, quarter) for _ in range(3)]
    # Allocators take and give back as they please: what leaks grows from each quarter to the next.
    growth = min(later - earlier for earlier, later in pairwise(peaks)) / quarter
    if growth > GROWTH:
        raise Verdict(f"fails: memory grows by {growth / 1e6:.1f} MB a cycle")
    end = time.monotonic() + patience
    while True:  # what ends by itself, such as a thread, may take its time
        grown = {name: now - before[name] for name, now in _footprint().items()}
        if max(grown.values()) <= 0:
            return
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    more = " and ".join(f"{count} {name}" for name, count in grown.items() if count > 0)
    raise Verdict(f"fails: {more} more after {3 * quarter} cycles")


def _peak(cycle: Callable[[], object], times: int) -> int:
    """The most memory at the end of any of so many cycles."""
    import psutil

    process = psutil.Process()
    peak = 0
    for _ in range(times):
        cycle()
        peak = max(peak, process.memory_info().rss)
    return peak


def _footprint() -> dict[str, int]:
    import psutil

    gc.collect()
    process = psutil.Process()
    files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    return {"threads": process.num_threads(), "files": files}


@scenario("threads that call once and end", times=200, fewer=50)
def threads_come_and_go(check: Check, times: int) -> None:
    check()
    steady(lambda: in_threads(1, check), times)


@scenario("forked children that call once and end", times=200, fewer=30)
def children_come_and_go(check: Check, times: int) -> None:
    check()
    steady(lambda: forked(check), times)


@scenario("losses that are made, called once and dropped", times=200, fewer=100)
def losses_come_and_go(check: Check, times: int) -> None:
    steady(check.anew, times)
