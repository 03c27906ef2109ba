"""How far each loss and its gradient are off, in each dtype, beside other libraries.

The truth is that of mpmath in 400 digits, for the very numbers that each dtype holds: by the
formulas and with the data of `tests/registry.py`, which all tests compare with, too.
"""

import importlib
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import mpmath
import numpy as np

import fastloss as fl
from fastloss.kernels.storage import FLOATS

from . import report, rivals
from .drawing import STYLES, panels, save

TITLE = "Errors of losses and gradients, by dtype"
CONTENDERS = (rivals.Fastloss, rivals.PyTorch, rivals.SciPy, rivals.ScikitLearn)
QUANTITIES = ("loss", "gradient")
_MARKERS = {"fastloss": "o", "PyTorch": "s", "SciPy": "^", "scikit-learn": "x"}


def _registry() -> Any:
    """The references, which are with the tests; these are no package."""
    folder = str(report.ROOT / "tests")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("registry")


def cases() -> dict[str, Any]:
    """A case of the registry for each ready-made loss; another name of the same is left out."""
    registry = _registry()
    known = {case.loss: case for case in reversed(registry.CASES)}
    # Those which the registry has with options alone.
    by_id = registry.with_logits(registry.class_ids)
    for loss in (fl.focal, fl.generalized_cross_entropy, fl.poly_cross_entropy):
        known[loss] = registry.Case(repr(loss), loss, by_id, registry.cross_entropy)
    known[fl.tversky] = registry.Case(
        "tversky", fl.tversky, registry.probability_data, registry.tversky
    )
    found = {
        name: known[loss]
        for name, loss in vars(fl).items()
        if isinstance(loss, fl.Loss) and loss.reduction == "mean"
    }
    return found | {"cross_entropy, soft labels": registry.SOFTMAX_SOFT}


# Predictions of several scales: real numbers times a number, probabilities drawn to one end.
Scale = Callable[[Any], Any]
SCALES: tuple[Scale, ...] = (lambda x: x / 16, lambda x: x, lambda x: 4 * x)
PROBABILITY_SCALES: tuple[Scale, ...] = (lambda p: p / 16, lambda p: p, lambda p: 1 - (1 - p) / 16)


def _inputs(case: Any, dtype: Any, n_rows: int) -> Any:
    y_true, y_pred = case.data(np.float64, (n_rows, 5))
    labels = y_true if y_true.dtype.kind == "i" else y_true.astype(dtype)
    for scale in PROBABILITY_SCALES if case.loss.y_pred_range == (0, 1) else SCALES:
        yield labels, scale(y_pred).astype(dtype)


def measure(
    names: Sequence[str] | None = None,
    dtypes: Sequence[str] = FLOATS,
    contenders: Sequence[type[rivals.Library]] = CONTENDERS,
    n_rows: int = 60,
) -> dict[str, Any]:
    libraries = rivals.installed(*contenders)
    chosen = cases()
    return {
        "missing": rivals.missing(*contenders),
        "rows": n_rows,
        "losses": {
            name: {dtype: _errors(name, chosen[name], dtype, libraries, n_rows) for dtype in dtypes}
            for name in names or chosen
        },
    }


def number(dtype: str) -> Any:
    """The dtype of that name, NumPy's or another's."""
    return np.dtype(getattr(ml_dtypes, dtype, dtype))


def _errors(
    name: str, case: Any, dtype: str, libraries: list[rivals.Library], n_rows: int
) -> dict[str, Any]:
    """By library: largest and median error of loss and gradient in ulp, or why there is none."""
    registry = _registry()
    found: dict[str, Any] = {}
    errors: dict[tuple[str, str], list[float]] = {}
    for y_true, y_pred in _inputs(case, number(dtype), n_rows):
        truth = case.reference(registry.EXACT, case.loss, y_true, y_pred)
        for library in libraries:
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    answer = library.answer(name.partition(",")[0], y_true, y_pred)
            except rivals.Absent:
                continue
            except Exception as error:  # whatever it answers is an answer
                found[library.name] = type(error).__name__
                continue
            for what, result, exact in zip(
                QUANTITIES, answer, (truth.loss, truth.grad), strict=True
            ):
                if result is not None:
                    these = errors.setdefault((library.name, what), [])
                    these += ulp_errors(np.asarray(result), exact, number(dtype))
    for (who, what), these in errors.items():
        if isinstance(found.get(who), str):  # it answered at another scale alone
            continue
        figures = {"max": max(these), "median": float(np.median(these))}
        # JSON has no infinity.
        found.setdefault(who, {})[what] = {
            kind: error if math.isfinite(error) else None for kind, error in figures.items()
        }
    return found


def ulp_errors(results: Any, exact: Any, dtype: Any) -> list[float]:
    """In units of the spacing of `dtype` at each exact number.

    Left out is what the dtype cannot hold with all its digits: too large, or below its smallest
    normal number; but not 0, where an error is any result but 0.
    """
    info = ml_dtypes.finfo(dtype)
    found = []
    for result, truth in zip(results.ravel().tolist(), exact.ravel(), strict=True):
        if truth == 0:
            found.append(0.0 if result == 0 else math.inf)
        elif float(info.smallest_normal) <= abs(truth) <= float(info.max):
            spacing = mpmath.ldexp(1, mpmath.frexp(truth)[1] - 1 - info.nmant)
            error = float(abs(mpmath.mpf(result) - truth) / spacing)
            found.append(error if math.isfinite(error) else math.inf)
    return found


def page(result: Any) -> str:
    parts = [
        "The largest error of a sample, and the median in brackets, in ulp of the dtype of the "
        "predictions, beside mpmath in 400 digits, for the numbers as that dtype holds them. "
        f"{result['rows']} rows of 5 at each of three scales: real predictions divided by 16, as "
        "they are, and times 4; probabilities near 0, spread, and near 1. Rounding the exact "
        "result errs by 0.5 at most. Of 16-bit predictions, fastloss gives losses in float32: "
        "hence the small errors. Where a loss or a gradient is the difference of two terms that "
        "nearly cancel, the errors of rounding them are many ulp of what is left, whoever computes "
        "it. Left out is what is below the smallest normal number of the dtype or above its "
        "largest.",
        "The losses of elements of scikit-learn are computed in float64 and rounded once, which "
        "nobody can better; the logarithms of SciPy turn 16-bit numbers into wider ones. SciPy has "
        "few gradients. The gradients of PyTorch are those of autograd. The name of an error is "
        "what a library answers.",
    ]
    for what in QUANTITIES:
        rows = [
            [f"`{name.partition(',')[0]}`{name[len(name.partition(',')[0]) :]}", who]
            + [_cell(found[dtype].get(who), what) for dtype in found]
            for name, found in result["losses"].items()
            for who in _who(found, what)
        ]
        dtypes = next(iter(result["losses"].values()))
        parts += [f"## Of the {what}", report.table([what, "by", *dtypes], rows)]
    return "\n\n".join(parts)


def _who(found: Any, what: str) -> list[str]:
    """Who has figures of a loss, in any dtype."""
    return [who for who in _MARKERS if any(_figures(at.get(who), what) for at in found.values())]


def _figures(found: Any, what: str) -> Any:
    return found.get(what) if isinstance(found, dict) else None


def _cell(found: Any, what: str) -> str:
    if isinstance(found, str):
        return found
    figures = _figures(found, what)
    if figures is None:
        return ""
    return f"{_short(figures['max'])} ({_short(figures['median'])})"


def _short(number: float | None) -> str:
    if number is None:
        return "infinite"
    return f"{number:.2g}" if number < 1000 else f"{number:.0e}"


def draw(result: Any, path: Path) -> None:
    """Of float32 alone, and finite errors: the table has all."""
    names = list(result["losses"])
    figure, axes = panels(1, 2, width=6.2, height=0.27 * len(names) + 1.5)
    for panel, what in zip(axes, QUANTITIES, strict=True):
        for who, marker in _MARKERS.items():
            figures = [
                (_figures(found["float32"].get(who), what), place)
                for place, found in enumerate(result["losses"].values())
            ]
            known = [
                (max(errors["max"], 0.01), place)
                for errors, place in figures
                if errors and errors["max"] is not None
            ]
            panel.plot(
                *zip(*known, strict=True),
                marker,
                color=STYLES[who]["color"],
                markersize=9 if who == "fastloss" else 6,
                zorder=STYLES[who]["zorder"] if who != "fastloss" else 2,
                label=who,
            )
        panel.set(xscale="log", title=f"{what}, float32", ylim=(len(names) - 0.5, -0.5))
        panel.set_yticks(range(len(names)), names, fontsize=8)
        panel.set_xlabel("largest error in ulp (0.01: and less)")
        panel.grid(alpha=0.3)
    axes[1].set_yticklabels([])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    save(figure, path)
