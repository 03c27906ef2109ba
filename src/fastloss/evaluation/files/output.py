"""Files that a command writes: tried before the work, and replaced as a whole after it.

Nothing that the command did not make is changed or removed but the file of that name, and this only
when what replaces it is on the disk.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .part import FileError


class Output:
    """A file to be written; `option` is how a user asked for it."""

    def __init__(self, option: str, path: Path) -> None:
        self.option = option
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def check(self, n_bytes: int = 0) -> None:
        """Raise unless the file can be written, with room for so many bytes in its folder."""
        folder = self.path.parent
        if not folder.is_dir():
            raise FileError(f"{self} cannot be written: there is no folder {folder}")
        if self.path.exists() and not self.path.is_file():
            what = "a folder" if self.path.is_dir() else "a pipe or a device"
            raise FileError(f"{self} is {what}: {self.option} is to name a file")
        if self.path.is_symlink():
            # To follow it would change a file that nobody named, and who planted it chose which.
            raise FileError(
                f"{self} is a link, to {os.path.realpath(self.path)}: name that file, or another"
            )
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise FileError(f"{self} may not be written: chmod u+w it, or name another file")
        try:
            descriptor, name = self._begun()
            os.close(descriptor)
            os.unlink(name)
            disk = shutil.disk_usage(folder)
        except OSError as error:
            raise FileError(f"{self} cannot be written: {error.strerror}") from None
        if disk.free < n_bytes and disk.total:  # some systems of files do not tell
            raise FileError(
                f"{self} cannot be written: {n_bytes:,} bytes are needed in {folder}, and there is "
                f"room for {disk.free:,}"
            )

    @contextmanager
    def replaced(self) -> Iterator[IO[bytes]]:
        """A file that takes the place of the one that is there, if all goes well."""
        descriptor, name = self._begun()
        try:
            with open(descriptor, "w+b") as file:
                yield file
                file.flush()
                self._keep_mode(descriptor)
                os.fsync(descriptor)
            os.replace(name, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise

    def _begun(self) -> tuple[int, Path]:
        """A new file beside the one to be written, of a name that nobody can have foreseen."""
        name = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}.new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        # Of a private file not even a half is to be seen.
        mode = 0o600 if self.path.exists() else 0o666
        return os.open(name, flags, mode), name

    def _keep_mode(self, descriptor: int) -> None:
        """The owner, if that is allowed, and the permissions of the file that is replaced."""
        if not self.path.exists() or not hasattr(os, "fchown"):
            return
        state = self.path.stat()
        with suppress(OSError):
            os.fchown(descriptor, state.st_uid, state.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(state.st_mode))


def check_distinct(outputs: Iterable[Output], inputs: Iterable[Path]) -> None:
    """Raise if a file is to be written that is read, or is written as something else."""
    known: dict[Any, str] = {}
    for path in inputs:
        known |= dict.fromkeys(_identities(path), "is also read")
    for output in outputs:
        for identity in _identities(output.path):
            if identity in known:
                raise FileError(
                    f"{output} of {output.option} {known[identity]}: give {output.option} a name "
                    "of its own"
                )
        known |= dict.fromkeys(_identities(output.path), f"is that of {output.option}, too")


def _identities(path: Path) -> list[Any]:
    """By its place, and by what it is: a file may have two names."""
    found: list[Any] = [os.path.realpath(path)]
    with suppress(OSError):
        state = path.stat()
        found.append((state.st_dev, state.st_ino))
    return found
