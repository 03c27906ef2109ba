"""The store of compiled code on disk: one checked file for each compiled function.

Files hold pickles, that is, code that runs when it is read: so the folder must belong to this
user and be closed to others, and whatever is missing, damaged or unreadable counts as absent.
Nothing here raises: without a usable folder, code is compiled again, and that is all.
"""

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"fastloss-code-2\n"
_DIGEST_SIZE = hashlib.sha256().digest_size
_SUFFIX = ".code"


class State(NamedTuple):
    """What `fastloss info` and `fastloss cache info` show."""

    path: Path
    problem: str | None  # why the folder is not used; None when it is
    files: int
    size: int  # bytes


def folder() -> Path:
    """Where compiled code is kept: `FASTLOSS_CACHE_DIR`, or the user's own cache folder."""
    chosen = os.environ.get("FASTLOSS_CACHE_DIR")
    if chosen:  # what no shell has looked at may begin with ~
        return Path(os.path.expanduser(chosen))
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "fastloss"


def load(name: str) -> bytes | None:
    """The bytes stored under `name`, or None if there are none that can be trusted."""
    path = folder()
    if _problem(path) is not None:
        return None
    try:
        content = (path / (name + _SUFFIX)).read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST_SIZE
    digest, payload = content[len(_MAGIC) : start], content[start:]
    if not content.startswith(_MAGIC) or _digest(name, payload) != digest:
        return None
    return payload


def save(name: str, payload: bytes) -> None:
    """Keep `payload` under `name`; readers see the old file or the new one, never a half."""
    path = folder()
    if _problem(path) is not None:
        return
    with contextlib.suppress(OSError):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _problem(path) is not None:  # somebody else made it meanwhile
            return
        handle, temporary = tempfile.mkstemp(dir=path, prefix="tmp-", suffix=_SUFFIX)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + _digest(name, payload) + payload)
            os.replace(temporary, path / (name + _SUFFIX))
        except OSError:
            os.unlink(temporary)
            raise


def _digest(name: str, payload: bytes) -> bytes:
    """That of both, as a file that was renamed holds the code of another function."""
    digest = hashlib.sha256(name.encode())
    digest.update(payload)
    return digest.digest()


def state() -> State:
    """Where the store is, whether it can be used, and how much it holds."""
    path = folder()
    files = _files(path)
    sizes = []
    for file in files:
        with contextlib.suppress(OSError):
            sizes.append(file.stat().st_size)
    return State(path, _problem(path), len(sizes), sum(sizes))


def clear() -> int:
    """Delete every stored file; return how many there were."""
    removed = 0
    for file in _files(folder()):
        with contextlib.suppress(OSError):
            file.unlink()
            removed += 1
    return removed


def _files(path: Path) -> list[Path]:
    try:
        return sorted(path.glob("*" + _SUFFIX))
    except OSError:
        return []


def _problem(path: Path) -> str | None:
    """Why `path` must not be used, or None. A folder that is not there yet is no problem."""
    if path.parts[:1] and path.parts[0].startswith("~"):
        return f"{path} begins with the home of a user who is not known here"
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if not stat.S_ISDIR(status.st_mode):
        return f"{path} is not a folder"
    if hasattr(os, "getuid"):  # Windows keeps its per-user folders private by itself
        if status.st_uid != os.getuid():
            return f"{path} belongs to another user"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{path} can be written by others; run: chmod go-w '{path}'"
    return None
