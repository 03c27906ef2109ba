"""The state of a pass on disk, from which a later process goes on."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Array
from .formats import FileError

_ABOUT, _STATE = "about", "state."
_LONG = 100  # characters, of what is shown


class Checkpoint:
    """A file with the number of rows done, the sums so far, and a fingerprint of what is done.

    The file is replaced as a whole, so that there is a valid one whenever the process dies.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = path
        # As JSON has it: tuples are lists.
        self.fingerprint: dict[str, Any] = json.loads(json.dumps(fingerprint))

    def save(self, n_done: int, state: Mapping[str, Array]) -> None:
        about = json.dumps({"n_done": n_done, "fingerprint": self.fingerprint}).encode()
        arrays: dict[str, Any] = {_STATE + name: array for name, array in state.items()}
        arrays[_ABOUT] = np.frombuffer(about, np.uint8)
        temporary = self.path.with_name(f"{self.path.name}.new")
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def load(self) -> tuple[int, dict[str, Array]] | None:
        """The number of rows done, and the sums; None if there is no file."""
        if not self.path.exists():
            return None
        try:
            # Opened here, as `np.load` leaves a damaged file open.
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                about = json.loads(stored[_ABOUT].tobytes())
                n_done, fingerprint = int(about["n_done"]), dict(about["fingerprint"])
                names = [name for name in stored.files if name.startswith(_STATE)]
                state = {name.removeprefix(_STATE): stored[name] for name in names}
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(
                f"{self.path} is no state of an evaluation, or a damaged one ({error}): "
                "delete it and begin anew"
            ) from None
        for name in self.fingerprint | fingerprint:
            before, now = (each.get(name) for each in (fingerprint, self.fingerprint))
            if before != now:
                raise FileError(
                    f"{self.path} cannot be resumed, as {_difference(name, before, now)}: give the "
                    "same files and options, or delete it"
                )
        return n_done, state

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _difference(name: str, before: Any, now: Any) -> str:
    texts = json.dumps(before), json.dumps(now)
    if max(map(len, texts)) > _LONG:
        return f"{name} is not what it was"
    return f"{name} was {texts[0]} and is {texts[1]} now"
