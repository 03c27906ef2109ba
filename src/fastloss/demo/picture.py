"""The demonstration in one picture: loss curves, times, memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .large_batch import TASKS, Result
from .training import History

# Three hues that stay apart for colour-blind readers and in grey (Okabe and Ito, 2008).
_COLORS = {"naive NumPy": "#E69F00", "careful NumPy": "#999999", "fastloss": "#0072B2"}
_LABELS = ("loss only", "loss +\ngradient", "loss + grad.,\nout=", "loss + grad.,\nin place")


def save(
    path: Path,
    trainings: Mapping[str, Mapping[str, History]],
    results: Sequence[Result],
    batch_name: str,
) -> None:
    """Draw `trainings[model][loss]` above, `results` below."""
    # Not pyplot: a Figure of its own needs no display and leaves no global state.
    figure = Figure(figsize=(11, 8), layout="constrained")
    above, below = figure.subplots(2, 2)
    for axes, (model, histories) in zip(above, trainings.items(), strict=True):
        _draw_curves(axes, model, histories)
    milliseconds = {(r.task, r.name): r.seconds * 1e3 for r in results}
    megabytes = {(r.task, r.name): r.extra_bytes / 1e6 for r in results}
    _draw_bars(below[0], f"time, {batch_name}", "milliseconds", milliseconds)
    _draw_bars(below[1], f"peak extra memory, {batch_name}", "megabytes", megabytes)
    figure.savefig(path, dpi=120)


def _draw_curves(axes: Axes, model: str, histories: Mapping[str, History]) -> None:
    # The naive curve is broad and the other thin and dashed, as they lie on top of each other.
    styles: dict[str, dict[str, Any]] = {
        "naive NumPy": {"linewidth": 7, "alpha": 0.6},
        "fastloss": {"linewidth": 2, "linestyle": (0, (4, 3))},
    }
    for name, history in histories.items():
        epochs = range(1, len(history.losses) + 1)
        axes.plot(epochs, history.losses, label=name, color=_COLORS[name], **styles[name])
    accuracy = histories["fastloss"].accuracies[-1]
    axes.set_title(f"{model}: training loss (test accuracy {accuracy:.1%})")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean cross-entropy")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_bars(axes: Axes, title: str, unit: str, values: Mapping[tuple[str, str], float]) -> None:
    width = 0.28
    style: dict[str, Any] = {"fontsize": 8, "ha": "center"}
    for offset, name in enumerate(_COLORS, start=-1):
        for i, task in enumerate(TASKS):
            label = name if i == 0 else None  # one entry in the legend for each name
            place = i + offset * width
            if (task, name) not in values:
                axes.annotate("n/a", (place, 0), (0, 2), textcoords="offset points", **style)
                continue
            height = values[task, name]
            axes.bar(place, height, width, label=label, color=_COLORS[name])
            text = f"{height:,.0f}" if height >= 10 else f"{height:.1f}"
            axes.annotate(text, (place, height), (0, 2), textcoords="offset points", **style)
    axes.set_xticks(range(len(TASKS)), _LABELS)
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.margins(y=0.1)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend()
