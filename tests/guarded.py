"""Arrays that end where memory ends: to touch what lies behind or before them kills the process."""

import ctypes
import mmap

import numpy as np

_NO_ACCESS = 0
_libc = ctypes.CDLL(None, use_errno=True)
_kept = []  # maps must outlive their arrays, and no map may take the place of another's guard


def guarded(values, at_end=True):
    """A copy of the array, contiguous, between two pages of which no byte may be read or written.

    Its last byte is the last before a guard or, if not `at_end`, its first the first behind one.
    """
    values = np.asarray(values)
    page = mmap.PAGESIZE
    n_pages = -(-max(values.nbytes, 1) // page)
    memory = mmap.mmap(-1, (n_pages + 2) * page)
    _kept.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (address, address + (n_pages + 1) * page):
        if _libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), _NO_ACCESS) != 0:
            raise OSError(ctypes.get_errno(), "no guard page")
    start = page + (n_pages * page - values.nbytes if at_end else 0)
    array = np.frombuffer(memory, values.dtype, values.size, start).reshape(values.shape)
    array[...] = values
    return array
