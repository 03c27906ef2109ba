"""The charts of a report, drawn as SVG that stands in the page as it is."""

import html
import math
from collections.abc import Iterable, Sequence

_BLUE, _RED, _GREY = "#0072B2", "#D55E00", "#777"
_LEFT, _TOP, _BOTTOM = 56, 16, 44  # room for what is written around the axes
_LEAST = 0.7  # of its size, down to which a chart shrinks with the page and can still be read


class _Frame:
    """An area with axes; marks are placed by their numbers on these, y from 0 up to `top`."""

    def __init__(self, width: int, height: int, x_range: tuple[float, float], top: float) -> None:
        self.width, self.height = width, height
        self.x_range, self.top = x_range, top
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        first, last = self.x_range
        return round(_LEFT + (value - first) / (last - first) * self.width, 2)

    def y(self, value: float) -> float:
        return round(_TOP + (1 - value / self.top) * self.height, 2)

    def bar(self, x: tuple[float, float], y: tuple[float, float], style: str, tip: str) -> None:
        left, right = map(self.x, x)
        low, high = sorted(map(self.y, y))
        self.parts.append(
            f'<rect x="{left}" y="{low}" width="{right - left:.2f}" height="{high - low:.2f}" '
            f"{style}><title>{html.escape(tip)}</title></rect>"
        )

    def line(self, points: Iterable[tuple[float, float]], style: str) -> None:
        path = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" {style}/>')

    def write(self, x: float, y: float, text: str, style: str = 'text-anchor="middle"') -> None:
        """At a place in the picture, in pixels."""
        self.parts.append(f'<text x="{x}" y="{y}" {style}>{html.escape(text)}</text>')

    def y_axis(self, n_steps: int, label: str) -> None:
        for i in range(n_steps + 1):
            value = self.top * i / n_steps
            self.line([(self.x_range[0], value), (self.x_range[1], value)], 'stroke="#ddd"')
            self.write(_LEFT - 6, self.y(value) + 4, f"{value:.0%}", 'text-anchor="end"')
        middle = _TOP + self.height / 2
        turned = f'text-anchor="middle" transform="rotate(-90 12 {middle})"'
        self.write(12, middle, label, turned)

    def x_axis(self, places: Iterable[tuple[float, str]], label: str) -> None:
        for value, text in places:
            self.write(self.x(value), _TOP + self.height + 16, text)
        self.write(_LEFT + self.width / 2, _TOP + self.height + 36, label)

    def svg(self, name: str) -> str:
        width, height = _LEFT + self.width + 16, _TOP + self.height + _BOTTOM
        return (
            f'<div class="wide"><svg role="img" aria-label="{html.escape(name)}" '
            f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'style="min-width: {_LEAST * width:.0f}px" font-size="12" fill="#222">'
            f"{''.join(self.parts)}</svg></div>"
        )


def reliability(
    edges: Sequence[float],
    shares: Sequence[float],
    confidence: Sequence[float],
    accuracy: Sequence[float],
    names: tuple[str, str] = ("confidence", "accuracy"),
) -> str:
    """How often predictions are right over how sure they are, and how many are so sure."""
    sure_of, right_of = names
    bins = [
        ((edges[i], edges[i + 1]), share, confidence[i], accuracy[i])
        for i, share in enumerate(shares)
        if share > 0
    ]
    frame = _Frame(400, 400, (0, 1), 1)
    frame.y_axis(5, right_of)
    tenths = [(i / 5, f"{i / 5:.0%}") for i in range(6)]
    for x, share, sure, right in bins:
        tip = f"{share:.2%} of the weight: {sure_of} {sure:.2%}, {right_of} {right:.2%}"
        frame.bar(x, (0, right), f'fill="{_BLUE}" fill-opacity=".7" stroke="#fff"', tip)
        frame.line([(x[0], sure), (x[1], sure)], f'stroke="{_RED}" stroke-width="4"')
    frame.line([(0, 0), (1, 1)], 'stroke="#222" stroke-dasharray="5 4"')
    frame.x_axis(tenths, sure_of)

    most = max((share for _, share, _, _ in bins), default=1.0)
    below = _Frame(400, 90, (0, 1), most)
    below.y_axis(2, "share")
    for x, share, _, _ in bins:
        tip = f"{share:.2%} of the weight"
        below.bar(x, (0, share), f'fill="{_GREY}" stroke="#fff"', tip)
    below.x_axis(tenths, sure_of)
    return frame.svg("reliability diagram") + below.svg(f"share of each {sure_of}")


def curve(
    points: Sequence[tuple[float, float]],
    names: tuple[str, str],
    mark: tuple[float, float],
    base: Sequence[tuple[float, float]],
) -> str:
    """A curve of shares, a point of it, and what there would be by chance."""
    frame = _Frame(400, 400, (0, 1), 1)
    frame.y_axis(5, names[1])
    frame.line(base, 'stroke="#222" stroke-dasharray="5 4"')
    frame.line(points, f'stroke="{_BLUE}" stroke-width="2"')
    x, y = mark
    tip = f"{names[0]} {x:.2%}, {names[1]} {y:.2%}"
    frame.bar((x - 0.01, x + 0.01), (y - 0.01, y + 0.01), f'fill="{_RED}"', tip)
    frame.x_axis([(i / 5, f"{i / 5:.0%}") for i in range(6)], names[0])
    return frame.svg(f"{names[1]} over {names[0]}")


def histogram(edges: Sequence[float], shares: Sequence[float], name: str) -> str:
    """The share of the weight in each bin; a line is at 0."""
    frame = _Frame(400, 300, (edges[0], edges[-1]), max(shares) or 1.0)
    for i, share in enumerate(shares):
        tip = f"{edges[i]:.4g} to {edges[i + 1]:.4g}: {share:.3%}"
        frame.bar((edges[i], edges[i + 1]), (0, share), f'fill="{_BLUE}" stroke="#fff"', tip)
    if edges[0] < 0 < edges[-1]:
        frame.line([(0, 0), (0, frame.top)], 'stroke="#222" stroke-dasharray="5 4"')
    frame.line([(edges[0], 0), (edges[-1], 0)], 'stroke="#ddd"')
    frame.x_axis(_ticks(edges), name)
    return frame.svg(f"histogram of {name}")


def cells(edges: Sequence[float], shares: Sequence[Sequence[float]], names: tuple[str, str]) -> str:
    """The share of the weight in each cell, of the same bins on both axes."""
    first, last = edges[0], edges[-1]
    frame = _Frame(400, 400, (first, last), last - first)
    most = max(map(max, shares)) or 1.0
    for i, column in enumerate(shares):
        for j, share in enumerate(column):
            if share > 0:
                x, y = (edges[i], edges[i + 1]), (edges[j], edges[j + 1])
                tip = f"{names[0]} {x[0]:.4g} to {x[1]:.4g}, {names[1]} {y[0]:.4g} to {y[1]:.4g}: "
                style = f'fill="{_BLUE}" fill-opacity="{math.sqrt(share / most):.3f}"'
                frame.bar(x, (y[0] - first, y[1] - first), style, f"{tip}{share:.3%}")
    frame.line([(first, 0), (last, last - first)], 'stroke="#222" stroke-dasharray="5 4"')
    ticks = _ticks(edges)
    frame.x_axis(ticks, names[0])
    for value, text in ticks:
        frame.write(_LEFT - 6, frame.y(value - first) + 4, text, 'text-anchor="end"')
    middle = _TOP + frame.height / 2
    frame.write(12, middle, names[1], f'text-anchor="middle" transform="rotate(-90 12 {middle})"')
    return frame.svg(f"{names[1]} over {names[0]}")


def _ticks(edges: Sequence[float]) -> list[tuple[float, str]]:
    first, last = edges[0], edges[-1]
    values = (first + (last - first) * i / 4 for i in range(5))
    return [(value, f"{value:.3g}") for value in values]


def bars(
    numbers: Sequence[tuple[str, float, float]],
    names: tuple[str, str],
    marks: Sequence[float] = (),
) -> str:
    """Numbers between 0 and 1, each with its name and standard error, and marks to compare with."""
    step = max(32, 12 + 8 * max((len(name) for name, *_ in numbers), default=0))
    frame = _Frame(max(240, step * len(numbers)), 300, (0, max(1, len(numbers))), 1)
    frame.y_axis(5, names[1])
    for i, (name, value, error) in enumerate(numbers):
        if math.isnan(value):
            continue
        tip = f"{name}: {value:.6g}" + ("" if math.isnan(error) else f" ± {error:.2g}")
        frame.bar((i + 0.15, i + 0.85), (0, value), f'fill="{_BLUE}"', tip)
        if error > 0:
            ends = [(i + 0.5, min(max(value + side * error, 0), 1)) for side in (-1, 1)]
            frame.line(ends, 'stroke="#222" stroke-width="2"')
    for i, mark in enumerate(marks):
        if not math.isnan(mark):
            frame.line([(i + 0.1, mark), (i + 0.9, mark)], f'stroke="{_RED}" stroke-width="3"')
    frame.x_axis([(i + 0.5, name) for i, (name, *_) in enumerate(numbers)], names[0])
    return frame.svg(names[1])


def ranks(weights: Sequence[float]) -> str:
    """Where the label stands among the classes, sorted by logit: 1, 2, 3-4, 5-8 and so on.

    The line is the share that stands there or before: the accuracy of the top k.
    """
    total = sum(weights) or 1.0
    bins = list(places(len(weights)))
    shares = [sum(weights[first:stop]) / total for first, stop in bins]
    frame = _Frame(max(240, 56 * len(bins)), 300, (0, max(1, len(bins))), 1)
    frame.y_axis(5, "share of the weight")
    whole, points = 0.0, []
    for i, ((first, stop), share) in enumerate(zip(bins, shares, strict=True)):
        whole += share
        points.append((i + 0.5, min(whole, 1.0)))
        tip = f"place {_place(first, stop)}: {share:.3%}; top {stop:,}: {whole:.3%}"
        frame.bar((i + 0.12, i + 0.88), (0, share), f'fill="{_BLUE}"', tip)
    frame.line(points, f'stroke="{_RED}" stroke-width="2"')
    for (x, y), (_, stop) in zip(points, bins, strict=True):
        tip = f"top {stop:,}: {y:.3%}"
        frame.bar((x - 0.05, x + 0.05), (y - 0.008, y + 0.008), f'fill="{_RED}"', tip)
    labels = [(i + 0.5, _place(*edges)) for i, edges in enumerate(bins)]
    frame.x_axis(labels, "place of the label")
    return frame.svg("place of the label")


def places(n_classes: int) -> Iterable[tuple[int, int]]:
    """
    >>> list(places(10))
    [(0, 1), (1, 2), (2, 4), (4, 8), (8, 10)]
    """
    first, stop = 0, 1
    while first < n_classes:
        yield first, min(stop, n_classes)
        first, stop = stop, 2 * stop


def _place(first: int, stop: int) -> str:
    """Counted from 1.

    >>> _place(0, 1), _place(4, 8), _place(1024, 2048)
    ('1', '5-8', '1k-2k')
    """
    last = _short(stop)
    return last if stop == first + 1 else f"{_short(first + 1)}-{last}"


def _short(number: int) -> str:
    return f"{number / 1024:.0f}k" if number >= 1024 else str(number)
