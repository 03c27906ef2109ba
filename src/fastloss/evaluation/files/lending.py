"""A stretch of a file as memory, lent for as long as nobody can cut the file.

To map a stretch takes a fraction of the time of copying it. But who touches what was cut off a
mapped file is killed. So it is mapped only under a lease: as long as that is held, Linux lets
whoever wants to write to the file, or to cut it, wait, 45 seconds at most (`man 2 fcntl`,
F_SETLEASE). It is given to the owner of a file that nobody has open for writing, by file systems of
this machine; of other files there is no loan, and they are read.
"""

import mmap
import os
import signal
from contextlib import suppress
from typing import IO

try:
    import fcntl
except ImportError:  # of Windows
    CAN_LEND = False
else:
    CAN_LEND = hasattr(fcntl, "F_SETLEASE")

_POPULATE_READ = 22  # MADV_POPULATE_READ: now, and an error where a touch would kill; Linux 5.14


def lend(file: IO[bytes], place: int, n_bytes: int) -> memoryview | None:
    """What begins at `place`, until `take_back`; None if that cannot be, or there is less."""
    first = place - place % mmap.ALLOCATIONGRANULARITY
    try:
        # Who waits for the file is told of by a signal, which would end the process unless it were
        # one that is ignored.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        if os.fstat(file.fileno()).st_size >= place + n_bytes:
            size = place + n_bytes - first
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=first)
            mapped.madvise(_POPULATE_READ)
            return memoryview(mapped)[place - first :]
    except OSError:
        pass
    take_back(file)
    return None


def take_back(file: IO[bytes]) -> None:
    """End the lease, if there is one. What was lent is not to be looked at any more."""
    if CAN_LEND:
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
