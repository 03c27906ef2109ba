"""What `fastloss evaluate` reads, adds up and shows for each task."""

import argparse
import ast
import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..call.arrays import Array
from . import arguments
from .files import inputs, opened
from .files.one_pass import Outcome
from .files.output import Output
from .files.part import FileError
from .files.reading import FileRows, Texts
from .files.row_output import Column, RowOutput
from .report import page, task_page
from .row_results import NUMBERS, TOP, new_arrays
from .scorecard import Scorecard
from .scores import Scores
from .sequences import NO_SEQUENCES
from .tasks import keywords, task_named

# Arguments that every task has, or that are looked at apart. All others are for class ids.
_OF_ANY_TASK = {
    *("task", "option", "from_probabilities", "bins", "labels", "predictions", "bits"),
    *("offsets", "bootstrap", "json", "html", "state", "resume"),
}
# Arrays with something for each row, if the scorecard of a task takes it; with offsets some of
# them have something for each query.
_BY_ROW = ("sample_weight", "groups", "clusters", "queries", "query_weight", "mask")
_BY_QUERY = ("groups", "clusters", "query_weight")


class FileTask(ABC):
    """An evaluation of files, all of which are open and checked."""

    kind: Any  # of scorecard
    rows: dict[str, FileRows]  # predictions and labels, and what else there is for each row
    settings: dict[str, Any]  # what the scorecard is built with
    # And what it is built with for a report alone, unless a run is resumed that began without one.
    pictures: Mapping[str, Any] = {}

    def row_output(self, packed: Output) -> RowOutput:
        """Where results of rows go."""
        raise FileError("--rows is for --task multiclass: leave it out")

    def end_of(self, start: int, stop: int) -> int:
        """Where rows that begin at `start` are cut, at `stop` or close to it."""
        return stop

    @abstractmethod
    def more(self, start: int, stop: int) -> dict[str, Any]:
        """What an update is told besides what there is for each row."""

    @abstractmethod
    def scores(self, outcome: Outcome[Any]) -> Any:
        """The result."""

    @abstractmethod
    def text(self, scores: Any, complete: bool) -> str:
        """For a terminal."""

    @abstractmethod
    def to_dict(self, scores: Any) -> dict[str, Any]:
        """For programs."""

    @abstractmethod
    def page(self, scores: Any, facts: Iterator[tuple[str, str]], complete: bool) -> str:
        """For a browser."""


def task_in_files(options: argparse.Namespace) -> FileTask:
    task_named(options.task)
    kind: Any = LogitsInFiles if options.task == "multiclass" else AnyInFiles
    task: FileTask = kind(options)
    return task


class LogitsInFiles(FileTask):
    """Class ids and logits."""

    kind = Scorecard

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        for name in ("queries", "query_weight", "mask", "from_probabilities"):
            if getattr(options, name):
                raise FileError(f"{_flag(name)} is for another task: give --task, or leave it out")
        self.rows = inputs.with_labels(options)
        self.logits = self.rows["predictions"]
        n_classes = self.logits.row_shape[0]
        self.settings = inputs.softmax_settings(options, n_classes) | {
            "class_weight": inputs.of_classes(options.class_weight, n_classes),
            "n_bins": 15 if options.bins is None else options.bins,
            "by_class": options.by_class,
            **_options(options, Scorecard),
        }
        self.offsets = inputs.offsets(options.offsets, self.logits)
        self.n_bytes = inputs.n_bytes(options.n_bytes, self.offsets)

    def row_output(self, packed: Output) -> RowOutput:
        return RowOutput(packed, self._columns(), self.logits.n_rows)

    def _columns(self) -> dict[str, Column]:
        """What a row result is, from that of one row."""
        names, top = list(self.options.row_results), self.options.row_top
        n_classes = self.logits.row_shape[0]
        for name in names:
            if name not in NUMBERS:
                raise FileError(f"no row result is called {name}: there are {', '.join(NUMBERS)}")
        if top is not None:
            if not 0 < top <= n_classes:
                raise FileError(f"--row-top is {top}, but there are {n_classes} classes")
            names += TOP
        found = new_arrays(names, np.zeros(1, np.int64), np.zeros((1, n_classes)), top or 0)
        return {name: Column(found[name].dtype, found[name].shape[1:]) for name in names}

    def more(self, start: int, stop: int) -> dict[str, Any]:
        places = np.arange(start, stop)
        if self.offsets is not None:
            return {"sequences": np.searchsorted(self.offsets, places, side="right") - 1}
        by_number = self.settings.get("bootstrap") and "clusters" not in self.rows
        return {"ids": places} if by_number else {}

    def scores(self, outcome: Outcome[Any]) -> Scores:
        scores: Scores = outcome.sums.result()
        if self.offsets is not None:
            n_begun = len(self.offsets) - 1
            if not outcome.complete:
                n_begun = int(np.searchsorted(self.offsets[:-1], outcome.n_done))
            sequences = (scores.sequences or NO_SEQUENCES).among(n_begun, self.n_bytes)
            scores = dataclasses.replace(scores, sequences=sequences)
        return dataclasses.replace(scores, complete=outcome.complete)

    def text(self, scores: Scores, complete: bool) -> str:
        return page.text(scores, self.options.top_k)

    def to_dict(self, scores: Scores) -> dict[str, Any]:
        return scores.to_dict(self.options.top_k)

    def page(self, scores: Scores, facts: Iterator[tuple[str, str]], complete: bool) -> str:
        return page.page(scores, facts, self.options.top_k)


class AnyInFiles(FileTask):
    """Any other task: arrays are cut along their first axis, or between queries."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.task = options, options.task
        self.kind = task_named(self.task).scorecard
        _check_arguments(options)
        taken = keywords(self.kind.update)
        self.rows = {
            "predictions": inputs.predictions(options.predictions, options.bits),
            "labels": opened.arrays(options.labels),
        }
        first = self.rows["predictions"]
        self.offsets: Array | None = None
        if options.offsets is not None:
            if "offsets" not in taken:
                raise FileError(f"--task {self.task} knows no --offsets: leave it out")
            self.offsets = inputs.offsets(options.offsets, first)
        self.by_query: dict[str, Any] = {}
        for name in _BY_ROW:
            given = getattr(options, name)
            if given is None:
                continue
            if name not in taken:
                raise FileError(f"--task {self.task} knows no {_flag(name)}: leave it out")
            names = name in ("groups", "clusters")
            rows = (opened.groups if names else opened.arrays)(given)
            if self.offsets is not None and name in _BY_QUERY:
                n = len(self.offsets) - 1
                if rows.shape != (n,):
                    raise FileError(f"{rows} has shape {rows.shape}, but --offsets has {n} queries")
                self.by_query[name] = rows.read(0, n)
            else:
                self.rows[name] = rows
        for each in self.rows.values():
            if each.n_rows != first.n_rows:
                raise FileError(
                    f"{each} has shape {each.shape}, but {first} has shape {first.shape}: the "
                    "first axis of both is that of the rows"
                )
        self.settings = _options(options, self.kind)
        if options.bins is not None:
            self._set("n_bins", options.bins, "--bins")
        if options.html and "histograms" in keywords(self.kind) - self.settings.keys():
            self.pictures = {"histograms": True}
        if options.from_probabilities:
            self._set("from_probabilities", True, "--from-probabilities")

    def _set(self, name: str, value: Any, flag: str) -> None:
        if name not in keywords(self.kind):
            raise FileError(f"--task {self.task} knows no {flag}: leave it out")
        self.settings[name] = value

    def end_of(self, start: int, stop: int) -> int:
        if self.offsets is None:
            return stop
        end = int(self.offsets[np.searchsorted(self.offsets, stop, side="right") - 1])
        if end > start:
            return end
        return int(self.offsets[np.searchsorted(self.offsets, start, side="right")])

    def more(self, start: int, stop: int) -> dict[str, Any]:
        more: dict[str, Any] = {}
        first, last = start, stop
        if self.offsets is not None:
            # Queries without documents come with those behind them, at the end with the last.
            first, last = np.searchsorted(self.offsets[:-1], [start, stop])
            if stop == self.offsets[-1]:
                last = len(self.offsets) - 1
            more["offsets"] = self.offsets[first : last + 1] - start
            for name, each in self.by_query.items():
                more[name] = (
                    each.at(slice(first, last)) if isinstance(each, Texts) else each[first:last]
                )
        if self.draws_rows:
            more["ids"] = self._numbers(first, last)
        return more

    @property
    def draws_rows(self) -> bool:
        """Whether a bootstrap draws rows by their numbers, or queries by theirs."""
        known = {"clusters", "queries"} & (self.rows | self.by_query).keys()
        return bool(self.settings.get("bootstrap")) and not known

    def _numbers(self, first: int, last: int) -> Array:
        """Those of rows, of the shape that these have."""
        axes = self.rows["predictions"].shape[1:]
        of_row = {"binary": axes, "multilabel": axes[:-1]}.get(self.task, ())
        n = math.prod(of_row)
        return np.arange(first * n, last * n).reshape(last - first, *of_row)

    def scores(self, outcome: Outcome[Any]) -> Any:
        return outcome.sums.result()

    def text(self, scores: Any, complete: bool) -> str:
        return ("" if complete else "partial: the evaluation was interrupted\n") + repr(scores)

    def to_dict(self, scores: Any) -> dict[str, Any]:
        found: dict[str, Any] = scores.to_dict()
        return found

    def page(self, scores: Any, facts: Iterator[tuple[str, str]], complete: bool) -> str:
        return task_page.page(self.task, scores, facts, complete)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(options: argparse.Namespace) -> dict[str, str]:
    """What is not as it is by itself, each with its flag."""
    parser = argparse.ArgumentParser(add_help=False)
    arguments.evaluate(parser)
    flags = {"by_class": "--no-classes"}
    return {
        name: flags.get(name, _flag(name))
        for name, value in vars(parser.parse_args(["", ""])).items()
        if getattr(options, name) != value
    }


def _check_arguments(options: argparse.Namespace) -> None:
    """Raise for an argument that is for class ids and logits alone."""
    for name, flag in _given(options).items():
        if name not in (*_OF_ANY_TASK, *_BY_ROW):
            raise FileError(f"{flag} is for --task multiclass: leave it out")


def _options(options: argparse.Namespace, scorecard: Any) -> dict[str, Any]:
    """What was given as NAME=VALUE."""
    known, found = keywords(scorecard), {}
    flags = {"n_bins" if name == "bins" else name: flag for name, flag in _given(options).items()}
    if options.bootstrap is not None:
        found["bootstrap"] = options.bootstrap
    for text in options.option or ():
        name, equals, value = text.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in known:
            raise FileError(
                f"--option {text} is no NAME=VALUE of task {options.task}: NAME is one of "
                f"{', '.join(sorted(known))}"
            )
        if name in found or name in flags:
            twice = flags.get(name, "another --option")
            raise FileError(f"--option {text} and {twice} say the same: give one of them")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    """
    >>> _value("0.5"), _value("1,5,None"), _value("gamma"), _value("tweedie,1.5"), _value("[[1]]")
    (0.5, (1, 5, None), 'gamma', ('tweedie', 1.5), [[1]])
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return tuple(map(_value, text.split(","))) if "," in text else text
