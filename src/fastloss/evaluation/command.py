"""`fastloss evaluate`, `compare` and `calibrate`: from files to the terminal and reports."""

import argparse
import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .. import _terminal
from ..call.arrays import Array
from . import arguments, fingerprint, inputs, one_pass, report, signals
from .calibration import SlopedScorecard, find_temperature
from .checkpoint import Checkpoint, Saved
from .comparison import Comparison
from .formats import FileError, Unreadable
from .one_pass import Outcome, Work
from .output import Output, check_distinct
from .reading import Checked, FileRows
from .row_output import Column, RowOutput
from .row_results import NUMBERS, TOP, made
from .scorecard import Scorecard
from .scores import Scores, Sequences

Writer = Callable[[IO[bytes]], Any]


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
    html = _output("--html", options.html)
    packed = _output("--rows", options.rows)
    state = _state(options, html or packed)
    check_distinct(filter(None, (html, packed, state)), fingerprint.inputs(options))

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
    row_output = None
    if packed is not None:
        row_output = RowOutput(packed, _columns(options, logits), logits.n_rows)
        row_output.check()
    if html is not None:
        html.check()
    checkpoint = _checkpoint(options, state)

    def update(card: Scorecard, start: int, stop: int) -> None:
        both, more = _arrays(rows, start, stop, "labels", "logits")
        if offsets is not None:
            places = np.arange(start, stop)
            more["sequences"] = np.searchsorted(offsets, places, side="right") - 1
        if row_output is not None:
            more["rows"] = row_output.buffers(stop - start)
        card.update(*both, **more)

    outcome = _run(rows, Scorecard, settings, update, checkpoint, row_output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of means over no rows, which NaN says as well
        scores = outcome.sums.result()
    if offsets is not None:
        n_begun = len(offsets) - 1
        if not outcome.complete:
            n_begun = int(np.searchsorted(offsets[:-1], outcome.n_done))
        scores = _of_all_sequences(scores, n_begun, n_bytes)
    scores = dataclasses.replace(scores, complete=outcome.complete)

    files: list[tuple[Output, Writer]] = []
    if row_output is not None and outcome.problem is None:
        files.append((row_output.output, partial(row_output.pack, outcome.n_done)))
    if html is not None:
        page = report.page(scores, _facts(rows, settings), options.top_k)
        # A name of a file need not be text.
        files.append((html, lambda file: file.write(page.encode("utf-8", "backslashreplace"))))
    if options.json:
        text = _json(scores.to_dict(options.top_k))
    else:
        text = report.text(scores, options.top_k)
    return _end(outcome, logits.n_rows, text, files, checkpoint, row_output)


# -------------------------------------------------------------------------------------------------
# compare


def _compare(options: argparse.Namespace) -> int:
    state = _state(options, None)
    check_distinct(filter(None, [state]), fingerprint.inputs(options))
    rows = inputs.pair(options)
    first = rows["logits_a"]
    settings = inputs.softmax_settings(options, first.row_shape[0])
    checkpoint = _checkpoint(options, state)

    def update(comparison: Comparison, start: int, stop: int) -> None:
        both, more = _arrays(rows, start, stop, "logits_a", "logits_b")
        comparison.update(*both, **more)

    outcome = _run(rows, Comparison, settings, update, checkpoint)
    result = dataclasses.replace(outcome.sums.result(), complete=outcome.complete)
    text = _json(result.to_dict()) if options.json else str(result)
    return _end(outcome, first.n_rows, text, [], checkpoint)


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
            raise signals.Interrupted(outcome.signal)
        card: SlopedScorecard = outcome.sums
        return card

    found = find_temperature(score, options.temperature)
    if options.json:
        text = _json(found.to_dict())
    else:
        before, after = found.before, found.after
        text = (
            f"temperature        {found.temperature:.6g}, found in {found.n_passes} passes\n"
            f"loss               {before.loss:.6g}, then {after.loss:.6g}\n"
            f"calibration error  {before.calibration_error:.4g}, "
            f"then {after.calibration_error:.4g}"
        )
    problem = _terminal.show(text)
    if problem is not None:
        _terminal.say(f"fastloss: {problem}")
        return 2
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


# -------------------------------------------------------------------------------------------------
# The pass


def _output(option: str, path: Path | None) -> Output | None:
    return None if path is None else Output(option, path)


def _state(options: argparse.Namespace, beside: Output | None) -> Output | None:
    """The file of the state, if there is to be one."""
    if options.state is not None:
        return Output("--state", options.state)
    if beside is not None:
        return Output("--state", Path(f"{beside}.state"))
    if options.resume:
        raise FileError("--resume needs the state of the run before: say where, with --state")
    return None


def _checkpoint(options: argparse.Namespace, state: Output | None) -> Checkpoint | None:
    if state is None:
        return None
    about = {"fastloss": _version(), "chunk": one_pass.CHUNK_BYTES, **fingerprint.of(options)}
    checkpoint = Checkpoint(state, about, options.resume)
    checkpoint.check()
    return checkpoint


def _run(
    rows: Mapping[str, FileRows],
    kind: Any,
    settings: Mapping[str, Any],
    update: Callable[[Any, int, int], None],
    checkpoint: Checkpoint | None,
    row_output: RowOutput | None = None,
) -> Outcome[Any]:
    def begin(saved: Saved | None) -> Any:
        if saved is None or checkpoint is None:
            with _located("the options"):
                sums = kind(**settings)
        else:
            try:
                sums = kind.from_state(saved.sums, **settings)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise checkpoint.refused(error) from None
            for name, checked in saved.notes["checked"].items():
                rows[name].checked = Checked(*checked)
        if row_output is not None:
            row_output.begin(*((None, 0) if saved is None else (saved.notes["rows"], saved.n_done)))
        return sums

    def notes() -> dict[str, Any]:
        return {
            "checked": {name: each.checked for name, each in rows.items()},
            "rows": None if row_output is None else row_output.name,
        }

    @contextmanager
    def discarding() -> Iterator[None]:
        """Inputs that have to be mended make what was done with them useless."""
        try:
            yield
        except Unreadable:
            raise
        except ValueError:
            _discard(checkpoint, row_output)
            raise

    def located_update(sums: Any, start: int, stop: int) -> None:
        with discarding(), _located(f"in the rows from {start:,} on, counted from there"):
            update(sums, start, stop)

    first = next(iter(rows.values()))
    row_bytes = sum(each.row_bytes for each in rows.values())
    work = Work(
        str(first), first.n_rows, row_bytes, begin, located_update, notes, checkpoint, row_output
    )
    try:
        outcome = one_pass.run(work)
    except BaseException:
        _drop_unknown(checkpoint, row_output)
        raise
    with discarding():
        for each in rows.values():
            each.check_unchanged()
    return outcome


def _drop_unknown(checkpoint: Checkpoint | None, row_output: RowOutput | None) -> None:
    """Results of rows that no state knows of, so that no later run could go on with them."""
    if row_output is not None and not (checkpoint is not None and checkpoint.is_ours):
        row_output.remove()


def _discard(checkpoint: Checkpoint | None, row_output: RowOutput | None) -> None:
    """What only a later run would need."""
    if checkpoint is not None:
        checkpoint.remove()
    if row_output is not None:
        row_output.remove()


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


def _json(result: Mapping[str, Any]) -> str:
    """A line for each entry. JSON has no NaN and no infinity: these are null and text."""
    lines = [
        f" {json.dumps(k)}: {json.dumps(_finite(v), allow_nan=False)}" for k, v in result.items()
    ]
    return "\n".join(["{", ",\n".join(lines), "}"])


def _finite(value: Any) -> Any:
    """
    >>> _finite([1.5, math.nan, math.inf, -math.inf])
    [1.5, None, 'Infinity', '-Infinity']
    """
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _end(
    outcome: Outcome[Any],
    n_rows: int,
    text: str,
    files: Sequence[tuple[Output, Writer]],
    checkpoint: Checkpoint | None,
    row_output: RowOutput | None = None,
) -> int:
    """Write and print, as far as each can be done, and return the exit status."""
    problems = [] if outcome.problem is None else [outcome.problem]
    for output, write in files:
        try:
            with output.replaced() as file:
                write(file)
        except OSError as error:
            problems.append(f"{output} cannot be written: {error.strerror or error}")
    unprinted = _terminal.show(text)
    if unprinted is not None:
        problems.append(unprinted)
    if outcome.complete and not problems:
        _discard(checkpoint, row_output)
        return 0
    if outcome.problem is None:
        outcome.save()  # of all rows, so that a later run has only to write and print
    _drop_unknown(checkpoint, row_output)
    how = ""
    if checkpoint is not None and checkpoint.is_ours:
        how = f"; --resume goes on from {checkpoint.output}"
    if not outcome.complete:
        ended = "interrupted" if outcome.signal is not None else "ended"
        problems.append(f"{ended}; partial, of {outcome.n_done:,} of {n_rows:,} rows")
    for problem in problems:
        _terminal.say(f"fastloss: {problem}{how if problem is problems[-1] else ''}")
    return 2 if outcome.signal is None else 128 + outcome.signal


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
