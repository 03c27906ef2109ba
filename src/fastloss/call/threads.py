"""Tasks are run on threads: how many, and by which backend."""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ..compiler.interrupts import undisturbed
from .cpus import available_cpus, parse_int, read_text
from .pool import Pool


def _forked_with_openmp() -> bool:
    """Whether this process began as a fork and has OpenMP already, which the parent may have used.

    Asked at the import, since nobody told us of a fork before it. Only Linux knows; elsewhere the
    answer is False.
    """
    numbers = read_text("/proc/self/stat").rpartition(")")[2].split()
    flags = parse_int(numbers[6]) if len(numbers) > 6 else 0
    if not flags & 0x40:  # PF_FORKNOEXEC: forked, and no program started since
        return False
    loaded = read_text("/proc/self/maps")
    return any(library in loaded for library in ("libgomp", "libiomp", "libomp"))


# More CPUs than a machine has: a number beyond is a slip, and a large call would start so many.
MOST_THREADS = 1 << 13

_pool = Pool()
_num_threads: int | None = None  # as set by the user
_default_num_threads: int | None = None  # found at first use
_backend: str | None = None  # found at first use
_in_forked_child = _forked_with_openmp()


def _after_fork_in_child() -> None:
    global _pool, _default_num_threads, _in_forked_child
    _pool.forked = True  # for a call in progress on this thread
    _pool = Pool()
    _default_num_threads = None
    _in_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def run(task: Callable[[int], object], n_tasks: int, parallel: bool = True) -> None:
    """Call `task(i)` once for every i in `range(n_tasks)`, on up to `get_num_threads()` threads.

    `task` should release the GIL and must not write where another task reads or writes; its result
    is dropped. A task costs about 0.1 us and 40 bytes beyond its own work, so let it be a block and
    not an element. All tasks run on the calling thread, in order, if `parallel` is False, and where
    threads cannot help: one task, one thread, a call from inside a task, a pool that is serving
    another thread, no threads to be had, an interpreter that is shutting down.

    Raises the first exception of a task, or KeyboardInterrupt: no further task is begun, and every
    thread has left its task by then.

    >>> squares = [0] * 4
    >>> run(lambda i: squares.__setitem__(i, i * i), 4)
    >>> squares
    [0, 1, 4, 9]
    """
    if parallel and n_tasks > 1:
        n_threads = get_num_threads()
        if n_threads > 1 and _pool.run(task, n_tasks, n_threads):
            return
    for index in range(n_tasks):
        task(index)


def get_num_threads() -> int:
    """Return how many threads a call may use, the calling one included.

    By default the environment variable FASTLOSS_NUM_THREADS, or else `available_cpus()`. Raises
    ValueError if that variable is not an integer from 1 to 8192.

    >>> get_num_threads() >= 1
    True
    """
    global _default_num_threads
    if _num_threads is not None:
        return _num_threads
    if _default_num_threads is None:
        text = os.environ.get("FASTLOSS_NUM_THREADS", "").strip()
        n = parse_int(text) if text else available_cpus()
        if not 1 <= n <= MOST_THREADS:
            raise ValueError(
                "the environment variable FASTLOSS_NUM_THREADS must be an integer from 1 to "
                f"{MOST_THREADS}, got {text!r}: correct or unset it, or call set_num_threads(n)"
            )
        _default_num_threads = n
    return _default_num_threads


def set_num_threads(n: int | None) -> None:
    """Set how many threads a call may use, the calling one included.

    `n` is from 1 to 8192 and may exceed the number of CPUs; None goes back to the default. Results
    are the same bits for every `n`. Raises TypeError if `n` is no integer, ValueError if it is
    another one.

    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(None)
    """
    global _num_threads
    if n is not None:
        if isinstance(n, (bool, np.bool_)) or not hasattr(n, "__index__"):
            raise TypeError(
                f"n must be an int or None, got {n!r} ({type(n).__name__}): pass the number of "
                "threads, or None for the default"
            )
        n = n.__index__()
        if not 1 <= n <= MOST_THREADS:
            raise ValueError(
                f"n must be from 1 to {MOST_THREADS}, got {n}: pass 1 for the calling thread "
                "alone, or None for the default"
            )
    _num_threads = n
    _pool.run(print, 0, get_num_threads())  # no tasks: ends the workers that are now too many


def check_environment() -> None:
    """Raise ValueError if an environment variable is wrong, whatever the next call is going to use.

    The import lets it pass: a program may still correct it, or set the number or the backend.
    """
    get_num_threads()
    if _backend is None:
        _check_backend(*_backend_by_default())


def _backend_by_default() -> tuple[str, str]:
    """The name of the default backend, and who says so."""
    name = os.environ.get("FASTLOSS_BACKEND", "").strip() or "pool"
    return name, "the environment variable FASTLOSS_BACKEND"


def get_backend() -> str:
    """Return what runs a parallel kernel, "pool" or "prange"; in a forked child always "pool".

    By default the environment variable FASTLOSS_BACKEND, or else "pool". Raises what `set_backend`
    does if that variable is wrong.

    >>> get_backend()
    'pool'
    """
    if _in_forked_child:
        return "pool"
    if _backend is None:
        return _choose_backend(*_backend_by_default())
    return _backend


def set_backend(name: str) -> None:
    """Choose what runs a parallel kernel; the results are the same bits.

    "pool" is this package's own threads, right for every program. "prange" is Numba's parallel
    loops: they start faster, but compile slower and cannot be used after a fork. Raises ValueError
    for another name, and RuntimeError for "prange" in a forked child or where Numba's threading
    layer is "workqueue" or cannot be loaded; the backend then stays what it was.

    >>> set_backend("pool")
    """
    _choose_backend(name, "name")


def _check_backend(name: str, source: str) -> None:
    if name not in ("pool", "prange"):
        raise ValueError(f'{source} must be "pool" or "prange", got {name!r}')


def _choose_backend(name: str, source: str) -> str:
    global _backend
    _check_backend(name, source)
    if name == "prange":
        if _in_forked_child:
            raise RuntimeError(
                f'{source} is "prange", which a forked child cannot use: OpenMP\'s threads do not '
                'survive a fork, and the child would hang or be killed; stay on "pool", or start '
                'processes with the "spawn" or "forkserver" method'
            )
        _check_threading_layer(source)
    _backend = name
    return name


@undisturbed
def _check_threading_layer(source: str) -> None:
    problem = ""
    try:
        numba_api: Any = import_module("..compiler.numba_api", __package__)
        if numba_api.threading_layer() == "workqueue":
            problem = (
                'Numba\'s threading layer here is "workqueue", which aborts the process when two '
                "threads call a parallel kernel at the same time"
            )
    except Exception as error:
        problem = f"Numba could not load a threading layer ({error})"
    if problem:
        raise RuntimeError(
            f'{source} is "prange", but {problem}: install tbb or GNU OpenMP (libgomp) and leave '
            'NUMBA_THREADING_LAYER unset, or stay on set_backend("pool")'
        )
