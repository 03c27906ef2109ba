"""The pictures of a study. Not pyplot: a figure of its own leaves no global state."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import report
from .contender import FASTLOSS
from .report import BASIS, ROOF, Result
from .tables import rivals

# Hues that stay apart for colour-blind readers (Okabe and Ito, 2008), and for more contenders than
# these have, others of other lightness.
_COLORS = {
    "naive NumPy": "#E69F00",
    "naive NumPy, in chunks": "#F5C451",
    "careful NumPy": "#999999",
    "SciPy": "#882255",
    "numexpr": "#DDCC77",
    "scikit-learn": "#009E73",
    "scikit-learn metrics": "#88CCAA",
    "PyTorch": "#CC79A7",
    "TorchMetrics": "#E3B5CD",
    "torch.compile": "#D55E00",
    "JAX": "#56B4E9",
    "optax": "#332288",
    FASTLOSS: "#0072B2",
    f"{FASTLOSS}, 1 thread": "#4D9BD0",
    f"{FASTLOSS}, prange": "#8FC1E3",
    f"{FASTLOSS}, 2^20 bins": "#4D9BD0",
}
_MARKERS = "os^vD<>Pp*hX"
_LOST = "#B00000"
_LEFT = 0.5  # where bars begin: a logarithmic scale has no 0
_WIDTH = 11.0  # inches
_ROOF_LINE: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": (0, (4, 3))}


# -------------------------------------------------------------------------------------------------
# Bars of time over that of the roof


def bars(
    results: Sequence[Result], names: Sequence[str], tasks: Sequence[str], foot: str
) -> Figure:
    """Bars of time / roof on a logarithmic scale, a panel for each task."""
    labels = list(dict.fromkeys(map(_label, results)))
    height = 1.2 + len(labels) * (0.3 + 0.18 * len(names))
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharex=True, sharey=True, squeeze=False)[0]
    ratios = [
        1 / report.share_of_roof(result, cell) for result in results for cell in result["cells"]
    ]
    panels[0].set_xscale("log")
    panels[0].set_xlim(_LEFT, 4 * max(1.0, *ratios))  # room for the number after a bar
    for axes, task in zip(panels, tasks, strict=True):
        _draw_panel(axes, [r for r in results if r["task"] == task], names, labels)
        axes.set_title(task)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    _legend(figure, panels)
    figure.supxlabel(
        "time / time of the roof, shorter is better; 1 is a kernel that only reads and writes\n"
        + foot,
        fontsize=9,
    )
    return figure


def bars_of_workload(results: Sequence[Result]) -> Figure:
    """The same for all tasks of one workload, variants of fastloss included."""
    tasks = list(dict.fromkeys(result["task"] for result in results))
    ours = {cell["contender"] for result in results for cell in result["cells"]}
    variants = sorted(name for name in ours if name.startswith(FASTLOSS))
    noisy = dict.fromkeys(r["task"] for r in results if any(report.noise(r["roof"])))
    foot = f"the roof itself is noisy: {', '.join(noisy)}" if noisy else ""
    return bars(results, [*rivals(results), *variants], tasks, foot)


def _label(result: Result) -> str:
    loss = result["loss"].replace("_with_", "\nwith_")
    return "\n".join([loss, report.shape_text(result), *report.kinds(result)])


def _draw_panel(
    axes: Axes, results: Sequence[Result], names: Sequence[str], labels: Sequence[str]
) -> None:
    thickness = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        label = name  # one entry in the legend for each name
        for result in results:
            place = labels.index(_label(result))
            cell = report.find(result, name)
            if cell is None:
                continue
            ratio = 1 / report.share_of_roof(result, cell)
            y = place + (i - (len(names) - 1) / 2) * thickness
            width = max(ratio - _LEFT, 0)
            axes.barh(y, width, thickness, left=_LEFT, label=label, color=_color(name))
            label = ""
            lost = report.beats_fastloss(result, cell)
            text = f"{ratio:#.2g}" if ratio < 9.95 else f"{ratio:,.0f}"
            axes.annotate(
                text + ("  faster than fastloss" if lost else ""),
                (max(ratio, _LEFT), y),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=_LOST if lost else "black",
                weight="bold" if name == FASTLOSS else "normal",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
            )
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.axvline(1, label=ROOF, **_ROOF_LINE)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _color(name: str) -> str:
    if name in _COLORS:
        return _COLORS[name]
    spare = ["#117733", "#AA4499", "#44AA99", "#661100", "#6699CC"]  # of users' contenders
    return spare[sum(name.encode()) % len(spare)]


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One for all panels, as not every contender does every task."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=6, fontsize=9)


# -------------------------------------------------------------------------------------------------
# Curves


def over_sizes(results: Sequence[Result]) -> Figure:
    """Time against the number of elements: a panel for each loss and length of rows."""
    return _curves(
        results,
        lambda result: (result["loss"], tuple(result["shape"][1:]), result["dtype"]),
        lambda result: float(_size(result)),
        "elements",
    )


def over_classes(results: Sequence[Result]) -> Figure:
    return _curves(
        results,
        lambda result: (result["loss"], result["dtype"]),
        lambda result: float(result["shape"][-1]),
        "classes",
    )


def over_small(results: Sequence[Result]) -> Figure:
    """The latency of small calls: a panel for each loss and task."""
    return _curves(
        results,
        lambda result: (result["loss"], tuple(result["shape"][1:]), result["task"]),
        lambda result: float(_size(result)),
        "elements",
        unit="microseconds",
        scale=1e6,
    )


def _size(result: Result) -> int:
    size = 1
    for length in result["shape"]:
        size *= length
    return size


def _curves(
    results: Sequence[Result],
    group: Any,
    place: Any,
    x_label: str,
    unit: str = "milliseconds",
    scale: float = 1e3,
) -> Figure:
    """Curves of all contenders over `place(result)`, a panel for each `group(result)`."""
    groups = [list(members) for _, members in itertools.groupby(sorted(results, key=group), group)]
    figure, panels = _grid(len(groups))
    for axes, members in zip(panels, groups, strict=False):
        members.sort(key=place)
        axes.plot(
            [place(result) for result in members],
            [scale * result["roof"][BASIS] for result in members],
            label=ROOF,
            **_ROOF_LINE,
        )
        for i, name in enumerate([*rivals(members), FASTLOSS]):
            points = [(place(r), cell) for r in members if (cell := report.find(r, name))]
            axes.plot(
                [x for x, _ in points],
                [scale * cell[BASIS] for _, cell in points],
                label=name,
                color=_color(name),
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=4,
                linewidth=2.5 if name == FASTLOSS else 1.2,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}")
        first = members[0]
        axes.set_title(", ".join([first["loss"], first["task"], first["dtype"]]), fontsize=10)
        axes.set_xlabel(x_label)
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
    _legend(figure, panels)
    return figure


def _grid(n: int) -> tuple[Figure, Sequence[Axes]]:
    """So many panels, two in a row, and a legend above."""
    n_columns = min(n, 2)
    n_rows = -(-n // n_columns)
    figure = Figure(figsize=(_WIDTH, 0.9 + 3.6 * n_rows), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flatten())
    for axes in panels[n:]:
        axes.set_axis_off()
    return figure, panels[:n]


def over_threads(results: Sequence[Result]) -> Figure:
    """Time against the number of threads: a panel for each workload and task."""
    figure, panels = _grid(len(results))
    colors = {"pool": _COLORS[FASTLOSS], "prange": _COLORS["torch.compile"], ROOF: "black"}
    for axes, result in zip(panels, results, strict=True):
        for backend in dict.fromkeys(row["backend"] for row in result["rows"]):
            rows = [row for row in result["rows"] if row["backend"] == backend]
            axes.plot(
                [row["threads"] for row in rows],
                [1e3 * row["time"][BASIS] for row in rows],
                label=backend,
                color=colors.get(backend, "grey"),
                marker="o",
                linestyle="--" if backend == ROOF else "-",
            )
        counts = sorted({row["threads"] for row in result["rows"]})
        axes.set_xticks(counts)
        axes.set_ylim(bottom=0)
        what = f"{result['loss']}, {report.shape_text(result)}, {result['task']}"
        axes.set_title(what, fontsize=9)
        axes.set_xlabel("threads")
        axes.set_ylabel("milliseconds")
        axes.grid(alpha=0.3)
    _legend(figure, panels)
    return figure


# -------------------------------------------------------------------------------------------------
# All cells at once


def profile(results: Sequence[Result]) -> Figure:
    """The share of cells in which each is at most so many times slower than the fastest."""
    figure = Figure(figsize=(_WIDTH, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in [*rivals(results), FASTLOSS]:
        factors = report.profile(results, name)
        done = [factor for factor in factors if factor < _PROFILE_ENDS]
        shares = [(i + 1) / len(factors) for i in range(len(done))]
        if done:
            width = 2.5 if name == FASTLOSS else 1.2
            x, y = [1.0, *done, _PROFILE_ENDS], [0.0, *shares, shares[-1]]
            axes.step(x, y, where="post", label=name, color=_color(name), linewidth=width)
    axes.set_xscale("log")
    axes.set_xlim(1, _PROFILE_ENDS)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.set_xlabel(
        "time over that of the fastest in each cell; who takes no part is never counted"
    )
    axes.set_ylabel("share of all cells")
    axes.grid(alpha=0.3)
    _legend(figure, [axes])
    return figure


_PROFILE_ENDS = 200.0
_NO_ERROR = 1e-17  # where an error of 0 is drawn


def errors(results: Sequence[Result]) -> Figure:
    """The larger of the errors of loss and gradient over the time: a panel for each dtype."""
    dtypes = list(dict.fromkeys(result["dtype"] for result in results))
    figure, panels = _grid(len(dtypes))
    for axes, dtype in zip(panels, dtypes, strict=True):
        mine = [result for result in results if result["dtype"] == dtype]
        for i, name in enumerate([*rivals(mine), FASTLOSS]):
            cells = [(result, cell) for result in mine if (cell := report.find(result, name))]
            points = [
                (1 / report.share_of_roof(*pair), max(error, _NO_ERROR))
                for pair in cells
                if (error := report.error(pair[1])) is not None
            ]
            if points:
                x, y = zip(*points, strict=True)
                marker = _MARKERS[i % len(_MARKERS)]
                axes.scatter(x, y, 22, _color(name), marker=marker, label=name, alpha=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(dtype, fontsize=10)
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel("time / time of the roof")
        axes.set_ylabel("relative error")
        axes.grid(alpha=0.3)
    _legend(figure, panels)
    return figure


# -------------------------------------------------------------------------------------------------
# Plain bars


def memory(result: Result) -> Figure:
    values = {
        f"{cell['contender']}: {cell['task']}": cell["bytes"] / 2**20 for cell in result["cells"]
    }
    colors = [_color(cell["contender"]) for cell in result["cells"]]
    array = report.array_bytes(result) / 2**20
    return _plain(values, colors, f"MiB; an array of the gradient's size has {array:,.0f}")


def cold(result: Result) -> Figure:
    values = {f"{cell['contender']}: {cell['what']}": cell[BASIS] for cell in result["cells"]}
    colors = [_color(cell["contender"]) for cell in result["cells"]]
    return _plain(values, colors, "seconds from the import of the library to its first result")


def host(result: Result) -> Figure:
    values = {cell["contender"]: 1e3 * cell[BASIS] for cell in result["cells"]}
    return _plain(values, [_color(name) for name in values], "milliseconds")


def job(result: Result) -> Figure:
    """Two panels: time and memory."""
    cells = result["cells"]
    colors = [_color(cell["contender"]) for cell in cells]
    figure = Figure(figsize=(_WIDTH, 1.0 + 0.35 * len(cells)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    seconds = {cell["contender"]: cell[BASIS] for cell in cells}
    mebibytes = {cell["contender"]: cell["bytes"] / 2**20 for cell in cells}
    _draw_plain(left, seconds, colors, "seconds")
    _draw_plain(right, mebibytes, colors, "MiB at the peak, beyond what was there before")
    return figure


def _plain(values: Mapping[str, float], colors: Sequence[str], unit: str) -> Figure:
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.26 * len(values)), layout="constrained")
    _draw_plain(figure.subplots(), values, colors, unit)
    return figure


def _draw_plain(axes: Axes, values: Mapping[str, float], colors: Sequence[str], unit: str) -> None:
    places = range(len(values))
    axes.barh(places, list(values.values()), color=colors)
    for place, value in zip(places, values.values(), strict=True):
        text = f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"
        axes.annotate(
            text, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(places, list(values), fontsize=8.5)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
