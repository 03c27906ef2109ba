"""How far exp, log and their like are off: in float32 for every number there is."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from fastloss.kernels import scalar

from . import report, ulp
from .drawing import STYLES, legend, panels, save

TITLE = "Errors of exp, log and their like, number by number"
# Of the histograms, in ulp; errors from the last one on are counted together.
BIN, BINS = 1 / 16, 64


def _softplus(x: Any) -> Any:
    return np.logaddexp(x.dtype.type(0), x)


class Function(NamedTuple):
    """One function: what it is in float64, and who has it in float32 and float64."""

    exact: Callable[[Any], Any]
    contenders: dict[str, Callable[[Any], Any]]
    # From which to which number it is, if not for all.
    parts: tuple[tuple[float, float], ...] = ()


def _ours(name: str) -> Callable[[Any], Any]:
    return partial(ulp.apply, getattr(scalar, name))


FUNCTIONS = {
    "exp": Function(np.exp, {"fastloss": _ours("exp"), "NumPy": np.exp}),
    "log": Function(np.log, {"fastloss": _ours("log"), "NumPy": np.log}),
    "log1p": Function(np.log1p, {"fastloss": _ours("log1p"), "NumPy": np.log1p}),
    "expm1": Function(np.expm1, {"NumPy": np.expm1}),
    "expm1_less_x": Function(
        _ours("expm1_less_x"), {"fastloss": _ours("expm1_less_x")}, ((0.0, 1.0), (-0.0, -1.0))
    ),
    "sigmoid": Function(expit, {"fastloss": _ours("sigmoid"), "SciPy": expit}),
    "softplus": Function(_softplus, {"fastloss": _ours("softplus"), "NumPy": _softplus}),
}


def measure(step: int = 1, functions: tuple[str, ...] = tuple(FUNCTIONS)) -> Any:
    """Of every `step`-th float32; float64 numbers are samples."""
    return {
        name: {"float32": of_float32(name, step), "float64": of_float64(name)} for name in functions
    }


def _summary(x: Any, errors: Any) -> dict[str, Any]:
    """The worst number and the histogram."""
    place = int(errors.argmax())
    bins = np.minimum(errors / BIN, BINS).astype(np.int64)
    return {
        "numbers": x.size,
        "worst": float(errors[place]),
        "at": float(x[place]),
        "histogram": np.bincount(bins, minlength=BINS + 1).tolist(),
    }


def _together(summaries: Iterator[dict[str, Any]]) -> dict[str, Any]:
    found = list(summaries)
    worst = max(found, key=lambda summary: summary["worst"])
    return worst | {
        "numbers": sum(summary["numbers"] for summary in found),
        "histogram": np.sum([summary["histogram"] for summary in found], axis=0).tolist(),
    }


def of_float32(name: str, step: int) -> dict[str, Any]:
    function = FUNCTIONS[name]

    def of_chunk(x: Any) -> dict[str, Any]:
        with np.errstate(all="ignore"):
            exact = function.exact(x.astype(np.float64))
            rounded = exact.astype(np.float32)
            # A result of 0, infinity or NaN is none to measure in ulp; special values are tested.
            some = np.isfinite(rounded) & (rounded != 0)
            x, exact = x[some], exact[some]
            return {
                who: _summary(x, ulp.errors_beside(theirs(x), exact))
                for who, theirs in function.contenders.items()
                if x.size
            }

    every = (1 << 32) - 1
    places = [[int(np.float32(end).view(np.uint32)) for end in part] for part in function.parts]
    chunks = [
        found
        for first, last in places or [[0, every]]
        for found in ulp.over_float32(of_chunk, step, first, last)
        if found
    ]
    return {who: _together(found[who] for found in chunks) for who in function.contenders}


def of_float64(name: str) -> dict[str, Any]:
    x = np.concatenate(ulp.arguments(name, np.random.default_rng(7), n=40_000))
    return {
        who: _summary(x, ulp.float64_errors(name, x, theirs(x)))
        for who, theirs in FUNCTIONS[name].contenders.items()
    }


def _share(summary: dict[str, Any], least: float) -> str:
    """Of the numbers whose error is at least so many ulp, in percent."""
    count = sum(summary["histogram"][round(least / BIN) :])
    return f"{100 * count / summary['numbers']:.2g}%"


def page(result: Any) -> str:
    parts = [
        "An ulp is the distance of two neighbouring numbers at the exact result; rounding that "
        "errs by 0.5 at most. Numbers whose result is 0 or infinite are left out.",
        "## float32",
        "Every number there is, beside the same function in float64, which errs by less than 2^-26 "
        "of a float32 ulp: that of NumPy or SciPy; for `expm1_less_x`, which neither has, our own, "
        "whose error is in the next table.",
        _table(result, "float32"),
        "## float64",
        "Random and structured arguments, near zeros, limits and where the pieces of a formula "
        "meet, beside mpmath in 250 bits.",
        _table(result, "float64"),
        "fastloss has no `expm1`, as no loss needs it: what they need is `expm1_less_x`, which is "
        "`exp(x) - 1 - x` for numbers between -1 and 1 and loses no digits near 0. The softplus of "
        "NumPy is `logaddexp(0, x)`, and the sigmoid of SciPy is `expit`.",
    ]
    return "\n\n".join(parts)


def _table(result: Any, dtype: str) -> str:
    head = ["function", "of", "numbers", "largest error, ulp", "at", "from 0.5 ulp", "from 1 ulp"]
    rows = [
        [
            f"`{name}`",
            who,
            f"{summary['numbers']:,}",
            f"{summary['worst']:.3f}" if summary["worst"] < 1000 else f"{summary['worst']:.1e}",
            f"{summary['at']:.9g}",
            _share(summary, 0.5),
            _share(summary, 1.0),
        ]
        for name, found in result.items()
        for who, summary in found[dtype].items()
    ]
    return report.table(head, rows)


def draw(result: Any, path: Path) -> None:
    figure, axes = panels(2, 4, width=3.6, height=3.2)
    edges = np.arange(BINS + 2) * BIN
    for panel, (name, found) in zip(axes, result.items(), strict=False):
        for who, summary in found["float32"].items():
            shares = np.array(summary["histogram"]) / summary["numbers"]
            panel.stairs(np.where(shares > 0, shares, np.nan), edges, label=who, **STYLES[who])
        panel.set_title(name)
        panel.set_yscale("log")
        panel.set_ylim(1e-10, 2)
        panel.set_xlim(0, BINS * BIN + BIN)
        panel.set_xlabel(f"error in float32 ulp ({BINS * BIN:g}: and more)")
        panel.grid(alpha=0.3)
    for panel in axes[::4]:
        panel.set_ylabel(f"share of all numbers, per {BIN:g} ulp")
    for panel in axes[len(result) :]:
        panel.set_axis_off()
    legend(figure, axes)
    save(figure, path)
