"""The state of a pass on disk, from which a later process goes on."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...call.arrays import Array
from ..sums.state import CHECKSUMS, check_checksums, with_checksums
from .output import Output
from .part import FileError

_ABOUT, _STATE = "about", "state."
_LONG = 200  # characters, of what is shown


class Saved(NamedTuple):
    """What a later process needs: the number of rows done, the sums so far, and notes on files."""

    n_done: int
    sums: Mapping[str, Array]
    notes: Mapping[str, Any]


class Checkpoint:
    """A file with what was saved, and a fingerprint of the work it belongs to.

    The file is replaced as a whole, so that there is a valid one whenever the process dies. It has
    digests of all that it holds: the checksums of the archive would not tell that a part of it is
    of another one.
    """

    def __init__(self, output: Output, fingerprint: Mapping[str, Any], resume: bool) -> None:
        self.output = output
        self.resume = resume
        # As JSON has it: tuples are lists.
        self.fingerprint: dict[str, Any] = json.loads(json.dumps(fingerprint))
        self.is_ours = False  # whether a state of this run is on the disk

    def check(self) -> None:
        """Raise if another run needs the file, or if it cannot be written."""
        self.output.check()
        if self.output.path.exists() and not self.resume:
            raise FileError(
                f"{self.output} is there, of a run that did not end: go on with --resume, or "
                "delete it"
            )

    def save(self, saved: Saved) -> None:
        about = {"n_done": saved.n_done, "notes": saved.notes, "fingerprint": self.fingerprint}
        arrays: dict[str, Any] = {_STATE + name: array for name, array in saved.sums.items()}
        arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        with self.output.replaced() as file:
            np.savez(file, **with_checksums(arrays))  # type: ignore[arg-type]
        self.is_ours = True

    def load(self) -> Saved | None:
        """What an earlier process saved; None if there is no file."""
        path = self.output.path
        if not path.exists():
            return None
        try:
            # Opened here, as `np.load` leaves a damaged file open.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            check_checksums(arrays)
            del arrays[CHECKSUMS]
            about = json.loads(arrays.pop(_ABOUT).tobytes())
        except Exception as error:  # there are dozens of ways to be no archive of arrays
            raise self.refused(error) from None
        difference = _difference("", about["fingerprint"], self.fingerprint)
        if difference is not None:
            raise FileError(
                f"{path} cannot be resumed, as {difference}: give the same files and options, or "
                "delete it"
            )
        self.is_ours = True
        sums = {name.removeprefix(_STATE): array for name, array in arrays.items()}
        return Saved(about["n_done"], sums, about["notes"])

    def refused(self, error: Exception) -> FileError:
        return FileError(
            f"{self.output} is no state of such an evaluation, or a damaged one ({error}): delete "
            "it and begin anew"
        )

    def remove(self) -> None:
        """Remove the file, if it is of this run."""
        if self.is_ours:
            self.output.path.unlink(missing_ok=True)


def _difference(name: str, before: Any, now: Any) -> str | None:
    """The first thing that is not what it was, in words.

    >>> _difference("", {"labels": [{"size": 1}]}, {"labels": [{"size": 2}]})
    'size of labels was 1 and is 2 now'
    """
    if before == now:
        return None
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            found = _difference(f"{key} of {name}" if name else key, before.get(key), now.get(key))
            if found is not None:
                return found
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, both in enumerate(zip(before, now, strict=True), 1):
            found = _difference(f"file {i} of {name}" if len(now) > 1 else name, *both)
            if found is not None:
                return found
    texts = json.dumps(before), json.dumps(now)
    if max(map(len, texts)) > _LONG:
        return f"{name} is not what it was"
    return f"{name} was {texts[0]} and is {texts[1]} now"
