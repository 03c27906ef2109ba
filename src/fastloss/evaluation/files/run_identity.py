"""What two runs must have in common for the second to go on where the first one ended."""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .formats import FileName, located

# Options that say what is done with a result, and the version, which is noted apart. All others
# shape a result, those to come as well.
_OF_NO_RESULT = {"run", "version", "html", "json", "top_k", "state", "resume"}
# And such a NAME of --option, by which one may ask for more memory, or less, when a disk is full.
_OF_MEMORY = "memory_limit"
# Of a file so many blocks, evenly spread from the first byte to the last, are looked at.
_BLOCKS, _BLOCK = 5, 16 * 1024


def of(options: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for, as JSON can hold it; files by their place and content."""
    given = vars(options) | {"option": _shaping(getattr(options, "option", None))}
    return {
        name: _of_value(value)
        for name, value in given.items()
        if name not in _OF_NO_RESULT and value is not None
    }


def _shaping(given: list[str] | None) -> list[str] | None:
    """Those of NAME=VALUE that shape a result, if there are any."""
    names = {each: each.partition("=")[0].replace("-", "_") for each in given or ()}
    return [each for each in given or () if names[each] != _OF_MEMORY] or None


def inputs(options: argparse.Namespace) -> Iterator[Path]:
    """All files that are to be read."""
    for value in vars(options).values():
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, FileName):
                yield from located(name)[0]


def _of_value(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(each, FileName) for each in value):
        return [file for name in value for file in _of_value(name)]
    if isinstance(value, FileName):
        paths, member = located(value)
        return [{"array": member, **_of_file(path)} for path in paths]
    if isinstance(value, Path):
        return str(value.resolve())
    return value


def _of_file(path: Path) -> dict[str, Any]:
    state = path.stat()
    digest = hashlib.blake2b(digest_size=8)
    with open(path, "rb", buffering=0) as file:
        for i in range(_BLOCKS):
            file.seek(max(0, state.st_size - _BLOCK) * i // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return {
        "place": str(path.resolve()),
        "size": state.st_size,
        "time": state.st_mtime_ns,
        "content": digest.hexdigest(),
    }
