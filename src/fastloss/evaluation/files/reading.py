"""Rows of arrays in files, read chunk by chunk into a buffer that is used again and again.

A file that is cut while it is read must be an error, not a dead process. So files are mapped only
where `lending.py` keeps them from being cut: of rows of 1,000 classes in the page cache the whole
pass then takes 0.7 of the time, as reading is a third of it. All threads read, and then all
compute: a thread that read the next chunk meanwhile would find no idle core (on two of them it took
1.0 to 1.1 times as long).
"""

import bisect
import itertools
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ...call import threads
from ...call.arrays import Array
from .checksums import crc32
from .lending import CAN_LEND, lend, take_back
from .part import COLUMN, PLAIN, TEXT, FileError, Part, Unreadable
from .tables import Column

_PIECE = 2 * 2**20  # bytes that a thread reads at a time
# Where one read had to wait for a disk, so much of the file is taken to be there, and is asked for
# so far ahead.
_SLOW = 256 * 2**20
_AHEAD = 16 * 2**20


class Texts(NamedTuple):
    """Texts as pandas has categories, which are taken for groups."""

    codes: Array
    categories: list[str]

    def at(self, rows: slice) -> "Texts":
        """Those of some rows."""
        return Texts(self.codes[rows], self.categories)


class Checked(NamedTuple):
    """How far a part was read in order, and the checksum so far."""

    part: int
    place: int
    crc: int


class FileRows:
    """Arrays in files, joined along their first axis: so many rows, read in chunks.

    A row is what the last `row_axes` axes hold; all axes before are samples.
    """

    _opened: "tuple[Any, _Plain | _Compressed | Column] | None" = None
    # Bytes are checked while they are there for other reasons; a later process goes on from here.
    checked = Checked(-1, 0, 0)

    def __init__(self, parts: Sequence[Part], dtype: np.dtype[Any], row_axes: int) -> None:
        first = parts[0]
        for part in parts:
            if len(part.shape) <= row_axes:
                what = "one number for each row is expected"
                if row_axes:
                    what = "rows of classes are expected"
                    what += (
                        "; one number a row is for fastloss evaluate --task binary or regression"
                    )
                raise FileError(f"{part} has shape {part.shape}, but {what}")
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise FileError(
                    f"{part} has shape {part.shape} and dtype {part.dtype}, which cannot be "
                    f"joined to {first} of shape {first.shape} and dtype {first.dtype}: all axes "
                    "but the first, and dtypes, must be equal"
                )
        self.parts = parts
        self.dtype = dtype
        self.shape = (sum(part.shape[0] for part in parts), *first.shape[1:])
        self.row_shape = self.shape[len(self.shape) - row_axes :]
        self.n_rows = math.prod(self.shape[: len(self.shape) - row_axes])
        self.row_bytes = math.prod(self.row_shape) * dtype.itemsize
        # In bytes: where each part begins, and the end.
        self._starts = [0, *itertools.accumulate(part.n_bytes for part in parts)]
        self._buffer: Array = np.empty(0, np.uint8)
        self._texts: dict[str, int] = {}
        self._intact: set[int] = set()

    def __str__(self) -> str:
        more = len({part.path for part in self.parts}) - 1
        return f"{self.parts[0]}" + (f" and {more} more" if more else "")

    def read(self, start: int, stop: int) -> Any:
        """The rows start to stop, in a buffer that the next call overwrites.

        An array; of texts their codes, and what they stand for.
        """
        n_bytes = (stop - start) * self.row_bytes
        if len(self._buffer) < n_bytes:
            self._buffer = np.empty(n_bytes, np.uint8)
        chunk = self._buffer[:n_bytes]
        view, place = chunk.data, start * self.row_bytes
        while view:
            i = bisect.bisect_right(self._starts, place) - 1
            n = min(len(view), self._starts[i + 1] - place)
            self._fill(self.parts[i], place - self._starts[i], view[:n])
            self._check(i, place - self._starts[i], view[:n])
            view, place = view[n:], place + n
        if self.dtype == TEXT:
            return Texts(chunk.view(np.int64).copy(), list(self._texts))
        return chunk.view(self.dtype).reshape(stop - start, *self.row_shape)

    def borrow(self, start: int, stop: int) -> Any:
        """As `read`; where that can be, the file itself, which is to be given back."""
        place, n_bytes = start * self.row_bytes, (stop - start) * self.row_bytes
        i = bisect.bisect_right(self._starts, place) - 1
        # What is small is read in no time, and may begin anywhere.
        if n_bytes >= _PIECE and place + n_bytes <= self._starts[i + 1]:
            part, place = self.parts[i], place - self._starts[i]
            at, lent = part.offset + place, None
            with _told(part):
                reader = self._reader(part)
                if isinstance(reader, _Plain) and at % self.dtype.alignment == 0:
                    lent = reader.lend(at, n_bytes)
            if lent is not None:
                self._check(i, place, lent)
                rows = np.frombuffer(lent, np.uint8).view(self.dtype)
                return rows.reshape(stop - start, *self.row_shape)
        return self.read(start, stop)

    def give_back(self) -> None:
        """What was borrowed is not looked at any more."""
        if self._opened is not None and isinstance(self._opened[1], _Plain):
            take_back(self._opened[1].file)

    def read_all(self) -> Array:
        """All rows, in an array of their own."""
        rows: Array = self.read(0, self.n_rows)
        return rows.reshape(self.shape).copy()

    def _fill(self, part: Part, place: int, view: memoryview) -> None:
        with _told(part):
            if not self._reader(part).read(part.offset + place, view):
                raise FileError(f"{part} ended early: it was cut while it was read")

    def _reader(self, part: Part) -> "_Plain | _Compressed | Column":
        key = part.path, part.member, part.stored
        if self._opened is None or self._opened[0] != key:
            self.close()  # one file is open at a time: there may be thousands
            reader = _Plain if part.stored == PLAIN else _Compressed
            self._opened = (
                key,
                Column(part, self._texts) if part.stored == COLUMN else reader(part),
            )
        return self._opened[1]

    def _check(self, i: int, place: int, view: memoryview) -> None:
        """Raise if a part, read in order from its beginning to its end, has another checksum."""
        part, before = self.parts[i], self.checked
        if part.checksum is None or i in self._intact:
            return
        if place == 0:
            before = Checked(i, 0, part.checksum.header)
        elif before[:2] != (i, place):
            return
        end = place + len(view)
        self.checked = Checked(i, end, crc32(view, before.crc))
        if end < part.n_bytes:
            return
        if self.checked.crc != part.checksum.whole:
            raise FileError(
                f"{part} is damaged: its numbers do not have the checksum that was written with "
                "them: fetch or save it again"
            )
        self._intact.add(i)  # and is not checked in another pass

    def check_unchanged(self) -> None:
        """Raise unless the files are those whose headers were read: else results mix versions."""
        for part in self.parts:
            state = part.path.stat()
            if (state.st_size, state.st_mtime_ns) != part.stamp:
                raise FileError(f"{part} was changed while it was read: evaluate it once more")

    def close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    __del__ = close


@contextmanager
def _told(part: Part) -> Iterator[None]:
    """With what goes wrong told of the part."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        if error.errno is None:  # of pyarrow, which does not understand what it reads
            raise FileError(f"{part} is damaged: {error}") from None
        raise Unreadable(f"{part} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the decompressors fail in a dozen ways
        raise FileError(f"{part} is damaged: {error}") from None


class _Plain:
    """A file whose bytes are those of the array."""

    def __init__(self, part: Part) -> None:
        self.file = part.path.open("rb", buffering=0)
        self.can_refuse = hasattr(os, "RWF_NOWAIT")  # to wait for a disk
        self.can_lend = CAN_LEND
        self.slow_until = 0  # up to this place the disk is asked for what comes next
        self.asked = 0  # up to here it was

    def read(self, place: int, view: memoryview) -> bool:
        """Fill the view with what begins at `place`; False if the file ends before."""
        n_pieces = -(-len(view) // _PIECE)
        whole = [False] * n_pieces

        def read_piece(i: int) -> None:
            first = i * _PIECE
            whole[i] = self._read(place + first, view[first : first + _PIECE])

        # One thread copies from the page cache more slowly than all compute.
        threads.run(read_piece, n_pieces, parallel=hasattr(os, "preadv"))
        self._read_ahead(place + len(view))
        return all(whole)

    def lend(self, place: int, n_bytes: int) -> memoryview | None:
        """What begins at `place`, if it seems to be in the page cache and the file can be lent."""
        if not (self.can_lend and self._is_cached(place, n_bytes)):
            return None
        lent = lend(self.file, place, n_bytes)
        self.can_lend = lent is not None  # else it has another owner, or a writer
        return lent

    def _is_cached(self, place: int, n_bytes: int) -> bool:
        if not self.can_refuse or place < self.slow_until:
            return False
        byte = [bytearray(1)]
        try:
            for at in range(place, place + n_bytes, _PIECE):
                os.preadv(self.file.fileno(), byte, at, os.RWF_NOWAIT)
        except OSError:  # which comes back where it is read
            return False
        return True

    def _read(self, place: int, view: memoryview) -> bool:
        while view:
            n = self._some(place, view)
            if not n:
                return False
            view, place = view[n:], place + n
        return True

    def _some(self, place: int, view: memoryview) -> int:
        """How many bytes were read, 0 at the end of the file."""
        if not hasattr(os, "preadv"):
            self.file.seek(place)
            return self.file.readinto(view) or 0
        if self.can_refuse:
            try:
                return os.preadv(self.file.fileno(), [view], place, os.RWF_NOWAIT)
            except BlockingIOError:  # not in the page cache
                self.slow_until = place + _SLOW
            except (
                OSError
            ):  # a file system that does not know the flag; or an error, which comes back
                self.can_refuse = False
        return os.preadv(self.file.fileno(), [view], place)

    def _read_ahead(self, place: int) -> None:
        """Have a disk fetch what comes after `place` while this is computed.

        This makes reading from a disk up to three times as fast, and from the page cache a seventh
        slower: so it is done for a while after a read that had to wait.
        """
        if place < self.slow_until and hasattr(os, "posix_fadvise"):
            start, self.asked = max(self.asked, place), place + _AHEAD
            if start < self.asked:
                n_bytes = self.asked - start
                os.posix_fadvise(self.file.fileno(), start, n_bytes, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        self.file.close()


class _Compressed:
    """A member of a compressed .npz. Going back in it means to begin anew."""

    def __init__(self, part: Part) -> None:
        with zipfile.ZipFile(part.path) as archive:  # the file stays open with the stream
            self.stream: Any = archive.open(f"{part.member}.npy")

    def read(self, place: int, view: memoryview) -> bool:
        self.stream.seek(place)
        while view:
            n = self.stream.readinto(view)
            if not n:
                return False
            view = view[n:]
        return True

    def close(self) -> None:
        self.stream.close()
