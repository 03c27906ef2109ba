"""The report of an evaluation: one HTML file that needs nothing else."""

import html
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .. import _html
from .._arrays import Array
from . import charts
from .scores import Means, Scores

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
        _html.facts(facts),
        _partial(scores),
        "<h2>Summary</h2>",
        _table((), dict(_summary(scores, top_k)).items()),
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
    return _html.document("fastloss: an evaluation of logits", body)


def _partial(scores: Scores) -> str:
    if scores.complete:
        return ""
    return (
        '<div class="problems">Partial: the evaluation was interrupted after '
        f"{scores.n_rows:,} rows. All numbers are of these rows alone.</div>"
    )


def _summary(scores: Scores, top_k: Sequence[int]) -> Iterator[tuple[str, str]]:
    for name, value in scores.lines():
        yield name, value
        if name == "accuracy":
            yield from ((f"top-{k} accuracy", f"{scores.top_k(k):.4%}") for k in top_k if k > 1)


def _reliability(scores: Scores) -> str:
    bins = scores.bins
    shares = bins.weight / (bins.weight.sum() or 1.0)
    columns = (scores.bin_edges, shares, bins.confidence, bins.accuracy)
    return charts.reliability(*(column.tolist() for column in columns))


def _classes(scores: Scores) -> list[str]:
    table = scores.by_class
    if table is None:
        return []
    counted = np.flatnonzero(table.weight > 0)
    worst = counted[_by_loss(table.loss[counted])][:_WORST].tolist()
    whole = table.weight[counted] @ table.loss[counted]
    head = ("class", *_HEAD, "of the whole loss")
    rows = [
        (f"{i:,}", *_means(table, i), f"{table.weight[i] * table.loss[i] / whole:.2%}")
        for i in worst
    ]
    text = f"<p>{len(rows)} of the {len(counted):,} classes that have rows.</p>"
    return ["<h2>Classes of the largest mean loss</h2>", text, _table(head, rows)]


def _groups(scores: Scores) -> list[str]:
    if scores.groups is None:
        return []
    ids, means = scores.groups.ids, scores.groups.means
    chosen = _by_loss(means.loss)[:_GROUPS].tolist()
    rows = [(str(ids[i]), *_means(means, i)) for i in chosen]
    text = f"<p>{len(rows)} of {len(ids):,}, the largest loss first.</p>"
    return ["<h2>Groups</h2>", text, _table(("group", *_HEAD), rows)]


def _means(means: Means, i: int) -> tuple[str, str, str]:
    loss = f"{means.loss[i]:.5g} ± {means.loss_standard_error[i]:.2g}"
    accuracy = f"{means.accuracy[i]:.2%} ± {means.accuracy_standard_error[i]:.2%}"
    return f"{means.n[i]:,}", loss, accuracy


def _by_loss(loss: Array) -> Array:
    """The largest first, NaN before all; equal ones in their order."""
    return np.argsort(-np.nan_to_num(loss, nan=math.inf), kind="stable")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row("th", head)] if head else []
    lines += [_row("td", row) for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _row(tag: str, cells: Sequence[str]) -> str:
    texts = [
        f"<{tag}{' class=name' * (i == 0)}>{html.escape(text)}</{tag}>"
        for i, text in enumerate(cells)
    ]
    return f"<tr>{''.join(texts)}</tr>"
