"""What adds up over rows that come in parts, from several threads and between interrupts."""

import json
import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np

from ..bases.softmax import SoftmaxLoss
from ..call.arrays import Array
from .tally import entry

S = TypeVar("S")

# Rows are kept until there are so many, and as many as there are keys; then they are added up, in
# their order. So an update of a few rows need not copy large tables, nor change one in place.
PENDING_ROWS = 1 << 10
# To add up fewer rows takes less time than to wake a thread.
PARALLEL_ROWS = 1 << 10


class Accumulator(Generic[S]):
    """All that was added up is one object, which is never changed but replaced by another.

    So an update that raises, or is interrupted anywhere, has happened as a whole or not at all, and
    whoever looks meanwhile sees one of the two.
    """

    def __init__(self, sums: S) -> None:
        self._sums = sums
        self._lock = threading.Lock()

    def _replace(self, change: Callable[[S], S]) -> None:
        """Put what `change` makes of the sums in their place. It is called again if another thread
        was faster.
        """
        while True:
            before = self._sums
            after = change(before)
            # Nothing is called here, after which Python would look for an interrupt or let a
            # signal's handler in, which may want the lock.
            with self._lock:
                if self._sums is before:
                    self._sums = after
                    return

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())


def options_of(loss: SoftmaxLoss) -> dict[str, Any]:
    """Options of the logits, each equal to that of any loss that does the same."""
    return {
        "ignore_index": None if loss.ignore_index is None else int(loss.ignore_index),
        "class_mask": loss.class_mask,
        "softcap": None if loss.softcap is None else float(loss.softcap),
        "temperature": float(loss.temperature),
    }


def options_state(options: Mapping[str, Any]) -> dict[str, Array]:
    """Options as an array of a state, which knows what it belongs to."""
    text = json.dumps({name: _short(value) for name, value in options.items()})
    return {"options": np.frombuffer(text.encode(), np.uint8).copy()}


def _short(value: Any) -> Any:
    """As text; what is long by its digest."""
    text = repr(value)
    return text if len(text) < 100 else sha256(text.encode()).hexdigest()


def check_options(state: Mapping[str, Array], options: Mapping[str, Any]) -> None:
    """Raise ValueError unless a state is that of these options."""
    given = entry(state, "options", np.uint8, (None,)).tobytes()
    try:
        found = dict(json.loads(given))
    except ValueError:
        raise ValueError("the options of the state cannot be read: it is damaged") from None
    for name, value in options.items():
        now, before = _short(value), found.get(name)
        if now != before:
            raise ValueError(
                f"the state is of other options: {name} was {before} and is {now} now; give those "
                "it was made with"
            )
