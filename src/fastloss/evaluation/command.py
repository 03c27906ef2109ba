"""`fastloss evaluate`, `compare` and `calibrate`: from files to the terminal and reports."""

import argparse
import dataclasses
import hashlib
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array
from . import arguments, inputs, one_pass, report
from .calibration import SlopedScorecard, find_temperature
from .checkpoint import Checkpoint
from .comparison import Comparison
from .formats import FileError
from .one_pass import Outcome, Work
from .reading import FileRows
from .row_output import Column, RowOutput
from .row_results import NUMBERS, TOP, made
from .scorecard import Scorecard
from .scores import Scores, Sequences


class Verb(NamedTuple):
    """A command: its help, its arguments, and what it does.

    `run` returns the exit status; what cannot be done is a ValueError or an OSError.
    """

    text: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


# -------------------------------------------------------------------------------------------------
# evaluate


def _evaluate(options: argparse.Namespace) -> int:
    rows = inputs.with_labels(options)
    logits = rows["logits"]
    n_classes = logits.row_shape[0]
    settings = inputs.softmax_settings(options, n_classes) | {
        "class_weight": inputs.of_classes(options.class_weight, n_classes),
        "n_bins": options.bins,
        "by_class": options.by_class,
    }
    offsets = inputs.offsets(options.offsets, logits)
    n_bytes = inputs.n_bytes(options.n_bytes, offsets)
    _check_folders(options.html, options.rows)
    row_output = None
    if options.rows is not None:
        row_output = RowOutput(options.rows, _columns(options, logits))
    about = {
        "row results": options.row_results if options.rows else [],
        "row top": options.row_top,
        "offsets": offsets,
    }
    checkpoint = _checkpoint(options, rows, settings | about, options.html or options.rows)

    def update(card: Scorecard, start: int, stop: int) -> None:
        both, more = _arrays(rows, start, stop, "labels", "logits")
        if offsets is not None:
            places = np.arange(start, stop)
            more["sequences"] = np.searchsorted(offsets, places, side="right") - 1
        if row_output is not None:
            more["rows"] = row_output.buffers(stop - start)
        card.update(*both, **more)
        if row_output is not None:
            row_output.write(start, stop - start)

    outcome = _run(rows, Scorecard, settings, update, checkpoint, row_output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of means over no rows, which NaN says as well
        scores = outcome.sums.result()
    if offsets is not None:
        n_begun = len(offsets) - 1
        if outcome.signal is not None:
            n_begun = int(np.searchsorted(offsets[:-1], outcome.n_done))
        scores = _of_all_sequences(scores, n_begun, n_bytes)
    if outcome.signal is not None:
        scores = dataclasses.replace(scores, complete=False)
    if row_output is not None:
        row_output.pack(outcome.n_done)
    if options.html is not None:
        text = report.page(scores, _facts(rows, settings), options.top_k)
        options.html.write_text(text, encoding="utf-8")
    if options.json:
        _print_json(scores.to_dict(options.top_k))
    else:
        print(report.text(scores, options.top_k))
    return _end(outcome, logits.n_rows, checkpoint, row_output)


# -------------------------------------------------------------------------------------------------
# compare


def _compare(options: argparse.Namespace) -> int:
    rows = inputs.pair(options)
    first = rows["logits_a"]
    settings = inputs.softmax_settings(options, first.row_shape[0])
    checkpoint = _checkpoint(options, rows, settings, None)

    def update(comparison: Comparison, start: int, stop: int) -> None:
        both, more = _arrays(rows, start, stop, "logits_a", "logits_b")
        comparison.update(*both, **more)

    outcome = _run(rows, Comparison, settings, update, checkpoint)
    result = outcome.sums.result()
    if outcome.signal is not None:
        result = dataclasses.replace(result, complete=False)
    if options.json:
        _print_json(result.to_dict())
    else:
        print(result)
    return _end(outcome, first.n_rows, checkpoint)


# -------------------------------------------------------------------------------------------------
# calibrate


def _calibrate(options: argparse.Namespace) -> int:
    rows = inputs.with_labels(options)
    settings = inputs.softmax_settings(options, rows["logits"].row_shape[0]) | {"by_class": False}

    def update(card: Scorecard, start: int, stop: int) -> None:
        both, more = _arrays(rows, start, stop, "labels", "logits")
        card.update(*both, **more)

    def score(temperature: float) -> SlopedScorecard:
        outcome = _run(rows, SlopedScorecard, settings | {"temperature": temperature}, update, None)
        if outcome.signal is not None:  # half a pass says nothing
            raise KeyboardInterrupt
        card: SlopedScorecard = outcome.sums
        return card

    found = find_temperature(score, options.temperature)
    if options.json:
        _print_json(found.to_dict())
    else:
        before, after = found.before, found.after
        print(f"temperature        {found.temperature:.6g}, found in {found.n_passes} passes")
        print(f"loss               {before.loss:.6g}, then {after.loss:.6g}")
        print(
            f"calibration error  {before.calibration_error:.4g}, then {after.calibration_error:.4g}"
        )
    return 0


# -------------------------------------------------------------------------------------------------
# Tables, and results of rows


def _of_all_sequences(scores: Scores, n: int, n_bytes: Array | None) -> Scores:
    """With those that have no rows, whose probability is 1."""
    found = scores.sequences or Sequences(np.empty(0, np.int64), *np.empty((3, 0)))
    sizes, log_probability = np.zeros(n, np.int64), np.zeros(n)
    is_greedy = np.ones(n, bool)
    for whole, part in (
        (sizes, found.n),
        (log_probability, found.log_probability),
        (is_greedy, found.is_greedy),
    ):
        whole[found.ids] = part
    bits = None
    if n_bytes is not None:
        n_bytes = n_bytes[:n]
        bits = (0.0 - log_probability) / (math.log(2) * n_bytes)
    table = Sequences(np.arange(n), sizes, log_probability, is_greedy, n_bytes, bits)
    return dataclasses.replace(scores, sequences=table)


def _columns(options: argparse.Namespace, logits: FileRows) -> dict[str, Column]:
    """What a row result is, from that of one row."""
    names, top = list(options.row_results), options.row_top
    for name in names:
        if name not in NUMBERS:
            raise FileError(f"no row result is called {name}: there are {', '.join(NUMBERS)}")
    if top is not None:
        if not 0 < top <= logits.row_shape[0]:
            raise FileError(f"--row-top is {top}, but there are {logits.row_shape[0]} classes")
        names += TOP
    found = made(names, np.zeros(1, np.int64), np.zeros((1, logits.row_shape[0])), top or 0)
    return {name: Column(found[name].dtype, found[name].shape[1:]) for name in names}


def _check_folders(*paths: Path | None) -> None:
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise FileError(f"{path} cannot be written: there is no folder {path.parent}")


# -------------------------------------------------------------------------------------------------
# The pass


def _checkpoint(
    options: argparse.Namespace,
    rows: Mapping[str, FileRows],
    about: Mapping[str, Any],
    beside: Path | None,
) -> Checkpoint | None:
    path: Path | None = options.state
    if path is None and beside is not None:
        path = beside.with_name(f"{beside.name}.state")
    if path is None:
        if options.resume:
            raise FileError("--resume needs the state of the run before: say where, with --state")
        return None
    _check_folders(path)
    if path.exists() and not options.resume:
        raise FileError(f"{path} is of a run that did not end: go on with --resume, or delete it")
    fingerprint = {name: _fingerprint(value) for name, value in about.items()}
    for name, each in rows.items():
        fingerprint[name] = [
            [part.path.name, part.member, *part.stamp, str(part.dtype), part.shape]
            for part in each.parts
        ]
    return Checkpoint(path, fingerprint | {"fastloss": _version(), "chunk": one_pass.CHUNK_BYTES})


def _fingerprint(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest()]
    return value


def _run(
    rows: Mapping[str, FileRows],
    kind: Any,
    settings: Mapping[str, Any],
    update: Callable[[Any, int, int], None],
    checkpoint: Checkpoint | None,
    row_output: RowOutput | None = None,
) -> Outcome[Any]:
    def begin(state: Mapping[str, Array] | None) -> Any:
        with _located("the options"):
            return kind(**settings) if state is None else kind.from_state(state, **settings)

    def located_update(sums: Any, start: int, stop: int) -> None:
        with _located(f"in the rows from {start:,} on, counted from there"):
            update(sums, start, stop)

    first = next(iter(rows.values()))
    row_bytes = sum(each.row_bytes for each in rows.values())
    work = Work(str(first), first.n_rows, row_bytes, begin, located_update, checkpoint, row_output)
    outcome = one_pass.run(work)
    for each in rows.values():
        each.check_unchanged()
    return outcome


def _arrays(
    rows: Mapping[str, FileRows], start: int, stop: int, *first: str
) -> tuple[list[Array], dict[str, Any]]:
    """Some rows of each: those that are named, in this order, and the others by name."""
    arrays: dict[str, Any] = {name: each.read(start, stop) for name, each in rows.items()}
    return [arrays.pop(name) for name in first], arrays


@contextmanager
def _located(where: str) -> Iterator[None]:
    """What the library says of its arguments, with the place in the files."""
    try:
        yield
    except FileError:
        raise
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


# -------------------------------------------------------------------------------------------------
# Results


def _facts(rows: Mapping[str, FileRows], settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was evaluated, and how."""
    for name, each in rows.items():
        yield name.replace("_", " "), f"{each}, {each.dtype}, {each.shape}"
    for name, value in settings.items():
        if value is not None:
            text = "as given" if isinstance(value, np.ndarray) else str(value)
            yield name.replace("_", " "), text
    yield "fastloss", _version()


def _version() -> str:
    from .. import __version__  # of a floor above

    return __version__


def _print_json(result: Mapping[str, Any]) -> None:
    """A line for each entry. JSON has no NaN and no infinity: these are null."""
    lines = [
        f" {json.dumps(k)}: {json.dumps(_finite(v), allow_nan=False)}" for k, v in result.items()
    ]
    print("{", ",\n".join(lines), "}", sep="\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _end(
    outcome: Outcome[Any],
    n_rows: int,
    checkpoint: Checkpoint | None,
    row_output: RowOutput | None = None,
) -> int:
    """The exit status; what only a later run would need is deleted if there is none."""
    if outcome.signal is None:
        if checkpoint is not None:
            checkpoint.remove()
        if row_output is not None:
            row_output.remove()
        return 0
    how = "" if checkpoint is None else f"; --resume goes on from {checkpoint.path}"
    print(
        f"fastloss: interrupted; partial, of {outcome.n_done:,} of {n_rows:,} rows{how}",
        file=sys.stderr,
    )
    return 128 + outcome.signal


VERBS = {
    "evaluate": Verb(
        "evaluate logits in files of any size: loss, accuracy, ranks, calibration, by class",
        arguments.evaluate,
        _evaluate,
    ),
    "compare": Verb(
        "compare two sets of logits: of a model and its quantised or distilled version, say",
        arguments.compare,
        _compare,
    ),
    "calibrate": Verb(
        "find the temperature that minimises the loss of logits in files",
        arguments.calibrate,
        _calibrate,
    ),
}
