"""What the pictures of docs/trust/ have in common."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Hues that stay apart for colour-blind readers and in grey (Okabe and Ito, 2008). Lines that lie on
# top of each other, as those of libraries with the same formula do, differ in width, so that each
# is seen; the widest is drawn first.
STYLES: dict[str, dict[str, Any]] = {
    "fastloss": {"color": "#0072B2", "linewidth": 2.5, "zorder": 7},
    "scikit-learn": {"color": "#000000", "linewidth": 1, "linestyle": "--", "zorder": 6},
    "SciPy": {"color": "#009E73", "linewidth": 2.5, "zorder": 5},
    "PyTorch": {"color": "#D55E00", "linewidth": 5, "zorder": 4},
    "NumPy": {"color": "#E69F00", "linewidth": 2, "zorder": 5},
    "textbook formula": {"color": "#BBBBBB", "linewidth": 9, "zorder": 2},
    "one float32 sum": {"color": "#BBBBBB", "linewidth": 9, "zorder": 2},
}


def panels(rows: int, columns: int, width: float = 4.2, height: float = 3.4) -> tuple[Any, Any]:
    """A figure, and its axes as a flat list."""
    # Not pyplot: a Figure of its own needs no display and leaves no global state.
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel().tolist()


def legend(figure: Any, axes: Any) -> None:
    """One for all panels, below them."""
    entries: dict[str, Any] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    names = sorted(entries, key=list(STYLES).index)
    figure.legend(
        [entries[name] for name in names], names, loc="outside lower center", ncols=len(names)
    )


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110)
