"""The roof: the least time in which this machine can read the inputs and write the output once.

No loss can be computed faster than by a kernel that does nothing but the necessary trips to
memory. The share of the roof, roof / time, is how near to that a contender comes.
"""

from typing import Any

import numba
import numpy as np

from .contenders import Job
from .workloads import GRADIENT, Data

# Iterations of the parallel loop: enough to share out evenly. Slices of a fixed length would leave
# the last thread waiting when there are few of them.
_PARTS_PER_THREAD = 8
# Up to this many elements a parallel loop costs more than it saves.
_SERIAL = 1 << 16


def _read(extra: Any, data: Any, n_parts: Any) -> Any:
    """Sum up two arrays of any lengths."""
    total = 0.0
    for part in numba.prange(n_parts):
        a = extra[part * extra.size // n_parts : (part + 1) * extra.size // n_parts]
        z = data[part * data.size // n_parts : (part + 1) * data.size // n_parts]
        sum_a = a.dtype.type(0)
        for i in range(a.size):
            sum_a += a[i]
        sum_z = z.dtype.type(0)
        for i in range(z.size):
            sum_z += z[i]
        total += sum_a + sum_z
    return total


def _read_and_write(extra: Any, data: Any, out: Any, n_parts: Any) -> Any:
    """Sum up one array, write a multiple of the other."""
    total = 0.0
    for part in numba.prange(n_parts):
        a = extra[part * extra.size // n_parts : (part + 1) * extra.size // n_parts]
        first, last = part * data.size // n_parts, (part + 1) * data.size // n_parts
        z, g = data[first:last], out[first:last]
        sum_a = a.dtype.type(0)
        for i in range(a.size):
            sum_a += a[i]
        total += sum_a
        factor = z.dtype.type(3)
        for i in range(z.size):
            g[i] = z[i] * factor
    return total


def _read_and_write_pair(extra: Any, data: Any, out: Any, n_parts: Any) -> Any:
    """Write a multiple of the sum of two arrays of the same length."""
    for part in numba.prange(n_parts):
        first, last = part * data.size // n_parts, (part + 1) * data.size // n_parts
        a, z, g = extra[first:last], data[first:last], out[first:last]
        factor = z.dtype.type(3)
        for i in range(z.size):
            g[i] = (a[i] + z[i]) * factor
    return 0.0
