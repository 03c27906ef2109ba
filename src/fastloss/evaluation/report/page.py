"""The report of an evaluation: one HTML file that needs nothing else."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ...call.arrays import Array
from ..means import Means
from ..scores import Scores
from . import charts, frame
from .table import table

_WORST = 20  # classes
_GROUPS = 200
_HEAD = ("rows", "loss", "accuracy")

_EXPLAINED = (
    "Means are over the weights of the rows. After ± stands the standard error. A place of 1 means "
    "that the label is the prediction; of classes whose logits are equal, the lower id comes first."
)


def page(scores: Scores, facts: Iterable[tuple[str, str]], top_k: Sequence[int]) -> str:
    """The whole file; `facts` say what was evaluated."""
    body = [
        "<h1>An evaluation of logits</h1>",
        frame.facts(facts),
        "" if scores.complete else frame.partial(scores.n_rows),
        "<h2>Summary</h2>",
        table((), _summary(scores, top_k).items()),
        f"<p>{_EXPLAINED}</p>",
        "<h2>Reliability</h2>",
        "<p>Rows in bins of confidence, the probability of the prediction. Blue is how often the "
        "predictions are right, red how sure they are on average: a blue bar that ends below its "
        "red line is overconfident.</p>",
        _reliability(scores),
        "<h2>Place of the label</h2>",
        "<p>Among the classes sorted by logit. The line is the share up to there: the accuracy of "
        "the top k.</p>",
        charts.ranks(scores.rank_weights.tolist()),
        *_classes(scores),
        *_groups(scores),
    ]
    return frame.document("fastloss: an evaluation of logits", body)


def text(scores: Scores, top_k: Sequence[int]) -> str:
    """The summary for a terminal: that of the scores, with more accuracies."""
    lines = _summary(scores, top_k)
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


def _summary(scores: Scores, top_k: Sequence[int]) -> dict[str, str]:
    lines = {} if scores.complete else {"partial": "the evaluation was interrupted"}
    for name, value in scores.lines():
        lines[name] = value
        if name == "accuracy":
            # Accuracies of `Scores.lines` come in their places, and are not repeated.
            for k in sorted({*top_k, min(5, scores.n_classes)} - {0, 1}):
                lines[f"top-{k} accuracy"] = f"{scores.top_k(k):.4%}"
    return lines


def _reliability(scores: Scores) -> str:
    bins = scores.bins
    shares = bins.weight / (bins.weight.sum() or 1.0)
    columns = (scores.bin_edges, shares, bins.confidence, bins.accuracy)
    return charts.reliability(*(column.tolist() for column in columns))


def _classes(scores: Scores) -> list[str]:
    means = scores.by_class
    if means is None:
        return []
    counted = np.flatnonzero(means.weight > 0)
    worst = counted[_by_loss(means.loss[counted])][:_WORST].tolist()
    with np.errstate(invalid="ignore"):
        whole = float(means.weight[counted] @ means.loss[counted])
    head = ("class", *_HEAD, "of the whole loss")
    rows = [
        (f"{i:,}", *_means(means, i), _share(means.weight[i] * means.loss[i], whole)) for i in worst
    ]
    text = f"<p>{len(rows)} of the {len(counted):,} classes that have rows.</p>"
    return ["<h2>Classes of the largest mean loss</h2>", text, table(head, rows)]


def _groups(scores: Scores) -> list[str]:
    if scores.groups is None:
        return []
    ids, means = scores.groups.ids, scores.groups.means
    chosen = _by_loss(means.loss)[:_GROUPS].tolist()
    rows = [(str(ids[i]), *_means(means, i)) for i in chosen]
    text = f"<p>{len(rows)} of {len(ids):,}, the largest loss first.</p>"
    return ["<h2>Groups</h2>", text, table(("group", *_HEAD), rows)]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2%}" if 0 < whole < math.inf else ""


def _means(means: Means, i: int) -> tuple[str, str, str]:
    loss = f"{means.loss[i]:.5g} ± {means.loss_standard_error[i]:.2g}"
    accuracy = f"{means.accuracy[i]:.2%} ± {means.accuracy_standard_error[i]:.2%}"
    return f"{means.n[i]:,}", loss, accuracy


def _by_loss(loss: Array) -> Array:
    """The largest first, NaN before all; equal ones in their order."""
    return np.argsort(-np.nan_to_num(loss, nan=math.inf), kind="stable")
