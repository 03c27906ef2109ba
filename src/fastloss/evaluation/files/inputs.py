"""What a command is given, opened and checked before any work."""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...call.arrays import Array
from ..report import terminal
from . import opened
from .formats import out_of_order
from .part import FileError
from .reading import FileRows


def logits(names: Sequence[str], bits: str | None) -> FileRows:
    _point_out_order(names)
    return opened.logits(names, bits)


def predictions(names: Sequence[str], bits: str | None) -> FileRows:
    _point_out_order(names)
    return opened.predictions(names, bits)


def _point_out_order(names: Sequence[str]) -> None:
    if out_of_order(names):
        terminal.say(
            "fastloss: the files are joined in the order in which they are given, "
            f"{names[0]}, {names[1]} and so on, in which 10 comes before 2: if that is not the "
            "order of the labels, put quotes around the pattern"
        )


def with_labels(options: argparse.Namespace) -> dict[str, FileRows]:
    """Logits first, then what there is for each row of them."""
    rows = {
        "predictions": logits(options.predictions, options.bits),
        "labels": opened.labels(options.labels),
    }
    rows |= weights(options)
    for name in ("groups", "clusters"):
        if getattr(options, name, None) is not None:
            rows[name] = opened.groups(getattr(options, name))
    for each in list(rows.values())[1:]:
        opened.check_same_rows(each, rows["predictions"])
    return rows


def pair(options: argparse.Namespace) -> dict[str, FileRows]:
    """Two sets of logits, then what there is for each row of both."""
    names = [options.a, options.b]
    are_patterns = list(map(opened.holds_patterns, names))
    # Of the one that holds patterns; if none does, of both, which is an error.
    first, second = (
        logits([name], options.bits if is_pattern or not any(are_patterns) else None)
        for name, is_pattern in zip(names, are_patterns, strict=True)
    )
    if first.shape != second.shape:
        raise FileError(
            f"{first} has shape {first.shape} and {second} has shape {second.shape}: "
            "logits to be compared have the same rows and classes"
        )
    rows = weights(options)
    if options.labels is not None:
        rows["labels"] = opened.labels(options.labels)
    for each in rows.values():
        opened.check_same_rows(each, first)
    return {"logits_a": first, "logits_b": second} | rows


def weights(options: argparse.Namespace) -> dict[str, FileRows]:
    name = options.sample_weight
    return {} if name is None else {"sample_weight": opened.numbers(name)}


def softmax_settings(options: argparse.Namespace, n_classes: int) -> dict[str, Any]:
    return {
        "temperature": options.temperature,
        "softcap": options.softcap,
        "ignore_index": options.ignore_index,
        "class_mask": of_classes(options.class_mask, n_classes),
    }


def of_classes(name: str | None, n_classes: int) -> Array | None:
    if name is None:
        return None
    rows = opened.numbers(name)
    if rows.shape != (n_classes,):
        raise FileError(f"{rows} has shape {rows.shape}, but there are {n_classes} classes")
    return rows.read_all()


def offsets(name: str | None, logits: FileRows) -> Array | None:
    if name is None:
        return None
    rows = opened.integers(name, "offsets are the numbers of rows")
    offsets = rows.read_all()
    n = logits.n_rows
    if offsets.ndim != 1 or len(offsets) < 2:
        raise FileError(
            f"{rows} has shape {rows.shape}, but offsets are one more than there are sequences"
        )
    if offsets[0] != 0 or offsets[-1] != n or (offsets[1:] < offsets[:-1]).any():
        raise FileError(
            f"{rows} must begin with 0, not fall, and end with {n:,}, the number of rows: "
            f"it goes from {offsets[0]:,} to {offsets[-1]:,}"
        )
    return offsets.astype(np.int64)


def n_bytes(name: str | None, offsets: Array | None) -> Array | None:
    if name is None:
        return None
    rows = opened.numbers(name)
    if offsets is None or rows.shape != (len(offsets) - 1,):
        n = "no --offsets" if offsets is None else f"{len(offsets) - 1:,} sequences"
        raise FileError(f"{rows} has shape {rows.shape}, but there are {n}")
    # As float64, in which bits per byte are to be computed, whatever they are stored as.
    n_bytes = rows.read_all().astype(np.float64)
    bad = np.flatnonzero(~((n_bytes > 0) & np.isfinite(n_bytes)))
    if bad.size:
        raise FileError(f"{rows} holds {n_bytes[bad[0]]:g}, but a text has 1 byte or more")
    return n_bytes
