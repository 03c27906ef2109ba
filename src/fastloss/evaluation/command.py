"""`fastloss evaluate`, `compare` and `calibrate`: from files to the terminal and reports."""

import argparse
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import arguments
from .calibration import SlopedScorecard, find_temperature
from .comparison import Comparison
from .file_tasks import task_in_files
from .files import inputs, one_pass, run_identity, signals
from .files.checkpoint import Checkpoint
from .files.output import Output, check_distinct
from .files.part import FileError
from .files.reading import FileRows
from .files.runs import Run, Writer
from .report import terminal
from .report.text import as_json
from .scorecard import Scorecard


class Verb(NamedTuple):
    """A command: its help, its arguments, and what it does.

    `run` returns the exit status; what cannot be done is a ValueError or an OSError. Besides the
    arguments it is told the `version`, which stands above.
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
    check_distinct(filter(None, (html, packed, state)), run_identity.inputs(options))

    task = task_in_files(options)
    row_output = None
    if packed is not None:
        row_output = task.row_output(packed)
        row_output.check()
    if html is not None:
        html.check()
    run = Run(task.rows, _checkpoint(options, state), row_output, task.pictures)

    def update(card: Any, start: int, stop: int) -> None:
        both, more = run.read(start, stop, "labels", "predictions")
        more |= task.more(start, stop)
        if row_output is not None:
            more["rows"] = row_output.buffers(stop - start)
        card.update(*both, **more)

    outcome = run.outcome(task.kind, task.settings, update, task.end_of)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of means over no rows, which NaN says as well
        scores = task.scores(outcome)

    files: list[tuple[Output, Writer]] = []
    if row_output is not None and outcome.problem is None:
        files.append((row_output.output, partial(row_output.pack, outcome.n_done)))
    if html is not None:
        facts = _facts(options, task.rows, task.settings)
        text = task.page(scores, facts, outcome.complete)
        # A name of a file need not be text.
        encoded = text.encode("utf-8", "backslashreplace")
        files.append((html, lambda file: file.write(encoded)))
    if options.json:
        text = as_json({**task.to_dict(scores), "complete": outcome.complete})
    else:
        text = task.text(scores, outcome.complete)
    return run.end(outcome, text, files)


# -------------------------------------------------------------------------------------------------
# compare


def _compare(options: argparse.Namespace) -> int:
    state = _state(options, None)
    check_distinct(filter(None, [state]), run_identity.inputs(options))
    rows = inputs.pair(options)
    settings = inputs.softmax_settings(options, rows["logits_a"].row_shape[0])
    run = Run(rows, _checkpoint(options, state))

    def update(comparison: Comparison, start: int, stop: int) -> None:
        both, more = run.read(start, stop, "logits_a", "logits_b")
        comparison.update(*both, **more)

    outcome = run.outcome(Comparison, settings, update)
    result = dataclasses.replace(outcome.sums.result(), complete=outcome.complete)
    text = as_json(result.to_dict()) if options.json else str(result)
    return run.end(outcome, text)


# -------------------------------------------------------------------------------------------------
# calibrate


def _calibrate(options: argparse.Namespace) -> int:
    rows = inputs.with_labels(options)
    n_classes = rows["predictions"].row_shape[0]
    settings = inputs.softmax_settings(options, n_classes) | {"by_class": False}
    run = Run(rows)

    def update(card: Scorecard, start: int, stop: int) -> None:
        both, more = run.read(start, stop, "labels", "predictions")
        card.update(*both, **more)

    def score(temperature: float) -> SlopedScorecard:
        outcome = run.outcome(SlopedScorecard, settings | {"temperature": temperature}, update)
        if outcome.signal is not None:  # half a pass says nothing
            raise signals.Interrupted(outcome.signal)
        card: SlopedScorecard = outcome.sums
        return card

    found = find_temperature(score, options.temperature)
    if options.json:
        text = as_json(found.to_dict())
    else:
        before, after = found.before, found.after
        text = (
            f"temperature        {found.temperature:.6g}, found in {found.n_passes} passes\n"
            f"loss               {before.loss:.6g}, then {after.loss:.6g}\n"
            f"calibration error  {before.calibration_error:.4g}, "
            f"then {after.calibration_error:.4g}"
        )
    problem = terminal.show(text)
    if problem is not None:
        terminal.say(f"fastloss: {problem}")
        return 2
    return 0


# -------------------------------------------------------------------------------------------------
# Outputs


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
    about = {
        "fastloss": options.version,
        "chunk": one_pass.CHUNK_BYTES,
        **run_identity.of(options),
    }
    checkpoint = Checkpoint(state, about, options.resume)
    checkpoint.check()
    return checkpoint


def _facts(
    options: argparse.Namespace, rows: Mapping[str, FileRows], settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What was evaluated, and how."""
    for name, each in rows.items():
        yield name.replace("_", " "), f"{each}, {each.dtype}, {each.shape}"
    for name, value in settings.items():
        if value is not None:
            text = "as given" if isinstance(value, np.ndarray) else str(value)
            yield name.replace("_", " "), text
    yield "fastloss", options.version


# -------------------------------------------------------------------------------------------------


VERBS = {
    "evaluate": Verb(
        "evaluate predictions in files of any size: of classes, numbers, rankings (--task)",
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
