"""The roof: the least time in which this machine can read the inputs and write the output once.

No loss can be computed faster than by a kernel that does nothing but the necessary trips to
memory. The share of the roof, roof / time, is how near to that a contender comes. A share above
100 % is possible where a contender makes better use of the caches than this plain loop.
"""

from functools import partial
from typing import Any

import numba
import numpy as np

from .contender import Job, threads_of
from .workloads import EVALUATION, IN_PLACE, LOSS, Array, Data

# Numbers are added as integers of 8 bytes, whatever they are: that is one kernel for all dtypes,
# its sums vectorise as they stand, and the hardware has no slow integers, as it has slow floats.
_WORD = 8
# The work is cut into parts of about so many words, so that every thread alternates between the
# arrays within its cache.
_PART = 1 << 15
# Up to so many bytes, threads cost more than they save.
_SERIAL = 1 << 18


@numba.njit
def _part(array: Any, part: Any, n_parts: Any) -> Any:
    return array[part * array.size // n_parts : (part + 1) * array.size // n_parts]


def _read(first: Any, second: Any, n_parts: Any) -> Any:
    total = 0
    for part in numba.prange(n_parts):
        a, b = _part(first, part, n_parts), _part(second, part, n_parts)
        for i in range(a.size):
            total += a[i]
        for i in range(b.size):
            total += b[i]
    return total


def _read_and_write(first: Any, second: Any, out: Any, n_parts: Any) -> Any:
    total = 0
    for part in numba.prange(n_parts):
        a, b = _part(first, part, n_parts), _part(second, part, n_parts)
        g = _part(out, part, n_parts)
        for i in range(a.size):
            total += a[i]
        for i in range(b.size):
            g[i] = b[i] * 3
    return total


def _read_and_overwrite(first: Any, second: Any, n_parts: Any) -> Any:
    # Not `_read_and_write` of the same array twice: its loop would have to expect that a number is
    # written before it is read, and would not vectorise.
    total = 0
    for part in numba.prange(n_parts):
        a, b = _part(first, part, n_parts), _part(second, part, n_parts)
        for i in range(a.size):
            total += a[i]
        for i in range(b.size):
            b[i] *= 3
    return total


_KERNELS = {
    parallel: {
        kernel: numba.njit(kernel, parallel=parallel)
        for kernel in (_read, _read_and_write, _read_and_overwrite)
    }
    for parallel in (False, True)
}


def roof(task: str, data: Data, n_threads: int) -> Job:
    """Reads `y_true` and `y_pred`; for a gradient, also writes `out`.

    In place, `out` is in the place of `y_pred`.
    """
    n_threads = min(n_threads, numba.config.NUMBA_NUM_THREADS)
    parallel = n_threads > 1 and data.y_pred.nbytes > _SERIAL
    kernels = _KERNELS[parallel]
    y_true, y_pred, out = map(_words, data)
    n_parts = max(n_threads, y_pred.size // _PART) if parallel else 1
    if task in (LOSS, EVALUATION):
        call = partial(kernels[_read], y_true, y_pred, n_parts)
    elif task == IN_PLACE:
        call = partial(kernels[_read_and_overwrite], y_true, out, n_parts)
    else:
        call = partial(kernels[_read_and_write], y_true, y_pred, out, n_parts)
    return Job(call, partial(threads_of, numba, n_threads))


def _words(array: Array) -> Array:
    """The memory of an array; up to 7 bytes at its end are left out."""
    memory = array.reshape(-1).view(np.uint8)
    return memory[: memory.size // _WORD * _WORD].view(np.int64)
