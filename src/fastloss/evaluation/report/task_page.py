"""The report of any task: its summary, its pictures, and its tables as they come."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..binary.binary_scores import BinaryScores
from ..multilabel.multilabel_scores import MultilabelScores
from ..ranking.ranking_scores import RankingScores
from ..regression.regression_scores import RegressionScores
from . import charts, frame
from .table import table

_ROWS = 200  # of a table, at most
_BARS = 40  # of a picture
_BINS = 50  # of a histogram


def page(task: str, scores: Any, facts: Iterable[tuple[str, str]], complete: bool) -> str:
    """The whole file; `facts` say what was evaluated."""
    body = [
        f"<h1>An evaluation: {task}</h1>",
        frame.facts(facts),
        "" if complete else frame.partial(scores.n_rows if hasattr(scores, "n_rows") else None),
        "<h2>Summary</h2>",
        table((), [line for line in scores.lines() if line]),
        "<p>Means are over the weights of the rows. After ± stands the standard error.</p>",
    ]
    for title, text, picture in pictures(scores):
        body += [f"<h2>{title}</h2>", f"<p>{text}</p>", picture]
    for title, columns in tables(scores.to_dict()):
        body += [f"<h2>{title.capitalize()}</h2>", *_table(columns)]
    return frame.document(f"fastloss: an evaluation, {task}", body)


def pictures(scores: Any) -> Iterator[tuple[str, str, str]]:
    """Titles, what is seen, and the pictures, for those results that have some."""
    if isinstance(scores, BinaryScores):
        yield from _of_two_classes(scores)
    if isinstance(scores, MultilabelScores):
        yield from _of_labels(scores)
    if isinstance(scores, RankingScores):
        yield from _of_rankings(scores)
    if isinstance(scores, RegressionScores):
        yield from _of_numbers(scores)


def _of_labels(scores: MultilabelScores) -> Iterator[tuple[str, str, str]]:
    found = scores.by_label
    if math.isnan(scores.micro.average_precision):
        return
    n = min(len(found), _BARS)
    precisions, rates = found.average_precision[:n].tolist(), found.base_rate[:n].tolist()
    few = f" The first {n} of {len(found):,} labels." if n < len(found) else ""
    yield (
        "Average precision of each label",
        "Red is the share of rows of which the label is true, which is the average precision of "
        f"scores that say nothing.{few}",
        charts.bars(
            [(str(j), precision, math.nan) for j, precision in enumerate(precisions)],
            ("label", "average precision"),
            rates,
        ),
    )


def _of_rankings(scores: RankingScores) -> Iterator[tuple[str, str, str]]:
    yield (
        "Rankings",
        "Means over queries, of the first k documents or of all. A line is a standard error long "
        "on both sides.",
        charts.bars(
            [
                (title, value, error)
                for title, value, error in scores.titled()
                if title.startswith(("NDCG", "MAP", "MRR"))
            ],
            ("number", "mean over queries"),
        ),
    )


def _of_numbers(scores: RegressionScores) -> Iterator[tuple[str, str, str]]:
    if scores.histograms is not None:
        edges, shares = (each.tolist() for each in scores.histograms.of_errors(_BINS))
        yield (
            "Errors",
            "The share of the weight by the error, prediction less label. 0.5% of it lies beyond "
            "either end.",
            charts.histogram(edges, shares, "prediction - label"),
        )
        edges, cells = (each.tolist() for each in scores.histograms.of_pairs(_BINS))
        yield (
            "Predictions and labels",
            "The darker, the more of the weight. On the line a prediction is its label.",
            charts.cells(edges, cells, ("prediction", "label")),
        )
    fan = scores.quantiles
    if fan is None:
        return
    for title, below, levels, found, errors in (
        (
            "Calibration of quantiles",
            "at most the predicted quantile",
            fan.quantiles,
            fan.coverage,
            fan.coverage_standard_error,
        ),
        (
            "Coverage of intervals",
            "in the predicted interval",
            fan.level,
            fan.interval_coverage,
            fan.interval_coverage_standard_error,
        ),
    ):
        if len(levels):
            each = (levels.tolist(), found.tolist(), errors.tolist())
            yield (
                title,
                f"The share of rows whose label is {below}. Red is the share that there should be.",
                charts.bars(
                    [
                        (f"{level:.4g}", share, error)
                        for level, share, error in zip(*each, strict=True)
                    ],
                    ("quantile" if found is fan.coverage else "level", "share of the weight"),
                    levels.tolist(),
                ),
            )


def _of_two_classes(scores: BinaryScores) -> Iterator[tuple[str, str, str]]:
    bins = scores.bins
    shares = bins.weight / (bins.weight.sum() or 1.0)
    edges, shares, sure, right = (
        each.tolist() for each in (bins.edges, shares, bins.probability, bins.base_rate)
    )
    yield (
        "Reliability",
        "Rows in bins of the probability of label 1. Blue is how often the label is 1, red what is "
        "predicted on average: a blue bar that ends below its red line is predicted too high.",
        charts.reliability(edges, shares, sure, right, ("probability", "share of label 1")),
    )
    if math.isnan(scores.auc):
        return
    curve = scores.roc_curve()
    best = scores.best_f1_threshold
    at_best = scores.confusion_at(best)
    yield (
        "ROC",
        f"The share of label 1 over that of label 0 that is decided to be 1, for every threshold. "
        f"The area below is {scores.auc:.6g}. The mark is at the threshold {best:.6g} of the "
        "largest F1.",
        charts.curve(
            list(zip(curve.x.tolist(), curve.y.tolist(), strict=True)),
            ("false positive rate", "true positive rate"),
            mark=(1 - at_best.specificity, at_best.recall),
            base=((0.0, 0.0), (1.0, 1.0)),
        ),
    )
    steps = scores.precision_recall_curve()
    points, before = [], 0.0
    for x, y in zip(steps.x.tolist(), steps.y.tolist(), strict=True):
        points += [(before, y), (x, y)]
        before = x
    rate = scores.base_rate
    yield (
        "Precision and recall",
        f"The area below, the average precision, is {scores.average_precision:.6g}; of scores that "
        f"say nothing it is the base rate, {rate:.4g}. The mark is as above.",
        charts.curve(
            points,
            ("recall", "precision"),
            mark=(at_best.recall, at_best.precision),
            base=((0.0, rate), (1.0, rate)),
        ),
    )


def tables(found: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """Lists of one length that stand together in a result as `to_dict` gives it, by name.

    >>> list(tables({"loss": 1.0, "bins": {"weight": [1.0, 2.0], "mean": {"a": [0.1, 0.2]}}}))
    [('bins', {'weight': [1.0, 2.0], 'mean a': [0.1, 0.2]})]
    """
    for title, value in found.items():
        if isinstance(value, Mapping) and title != "bootstrap":  # which has lines
            columns = dict(_columns("", value))
            if columns and len({len(column) for column in columns.values()}) == 1:
                yield title.replace("_", " "), columns


def _columns(title: str, value: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for name, each in value.items():
        whole = f"{title} {name}".replace("_", " ").strip()
        if isinstance(each, Mapping):
            yield from _columns(whole, each)
        elif isinstance(each, list):
            yield whole, each


def _table(columns: Mapping[str, list[Any]]) -> Iterator[str]:
    n = len(next(iter(columns.values())))
    if n > _ROWS:
        yield f"<p>The first {_ROWS} of {n:,}.</p>"
    rows = zip(*(column[:_ROWS] for column in columns.values()), strict=True)
    yield table(tuple(columns), [tuple(map(_cell, row)) for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if type(value) is int else str(value)
