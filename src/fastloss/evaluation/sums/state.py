"""States of what was added up: arrays by name, and the options that they belong to."""

import json
from collections.abc import Mapping
from hashlib import blake2b, sha256
from typing import Any

import numpy as np

from ...bases.softmax import SoftmaxLoss
from ...call.arrays import Array

CHECKSUMS = "checksums"


def with_checksums(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays, and besides the digest of each, by its name."""
    found = {name: _digest(array) for name, array in arrays.items() if name != CHECKSUMS}
    text = json.dumps(found).encode()
    return {**arrays, CHECKSUMS: np.frombuffer(text, np.uint8).copy()}


def check_checksums(arrays: Mapping[str, Array]) -> None:
    """Raise ValueError unless arrays are what they were when their digests were taken."""
    if CHECKSUMS not in arrays:
        raise ValueError(
            "the state has no 'checksums': it is another one, or of an earlier version, and cannot "
            "be told from a damaged one: update a new one with its rows"
        )
    try:
        digests = dict(json.loads(entry(arrays, CHECKSUMS, np.uint8, (None,)).tobytes()))
    except ValueError:
        raise ValueError("the checksums of the state cannot be read: it is damaged") from None
    for name, digest in digests.items():
        if name not in arrays or _digest(np.asarray(arrays[name])) != digest:
            raise ValueError(f"{name!r} of the state is not what was saved: it is damaged")


def _digest(array: Array) -> str:
    if array.dtype.hasobject:
        return ""  # nobody saved that
    digest = blake2b(f"{array.dtype.str} {array.shape} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def entry(
    state: Mapping[str, Array], name: str, dtype: Any, shape: tuple[int | None, ...]
) -> Array:
    """A copy of an array of a state; ValueError unless there is one of this dtype and shape."""
    if name not in state:
        raise ValueError(f"the state has no {name!r}: it is another one, or of another version")
    array = np.asarray(state[name])
    if array.dtype != dtype:
        raise ValueError(
            f"{name!r} of the state has dtype {array.dtype}, not {np.dtype(dtype)}: it is another "
            "one, or of another version"
        )
    if len(array.shape) != len(shape) or any(
        size not in (None, found) for size, found in zip(shape, array.shape, strict=True)
    ):
        expected = str(shape).replace("None", "n")
        raise ValueError(
            f"{name!r} of the state has shape {array.shape}, not {expected}: it is another one, or "
            "of another version"
        )
    return array.copy()


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
    # Columns say what is added up.
    for name in sorted(options, key="columns".__ne__):
        now, before = _short(options[name]), found.get(name)
        if before is None or (name == "columns" and now != before):
            raise ValueError(
                "the state is that of something else, or of another version: give it to what made "
                f"it, or update a new one with its rows; {name} was {before} and is {now} now"
            )
        if now != before:
            raise ValueError(
                f"the state is of other options: {name} was {before} and is {now} now; give those "
                "it was made with"
            )
