"""Cross-entropy of rows of which a model is ever more sure, and right: how far can it be told?

The loss of the row [0, -t] with label 0 is log(1 + exp(-t)), which runs through all magnitudes that
a dtype has, while the textbook formula subtracts numbers near 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

from . import report, rivals
from .drawing import STYLES, legend, panels, save

TITLE = "Cross-entropy of a model that is sure and right"
CONTENDERS = (
    rivals.Fastloss,
    rivals.PyTorch,
    rivals.SciPy,
    rivals.ScikitLearn,
    rivals.Textbook,
)
# The exponents of ten of the true losses.
EXPONENTS = {"float32": np.linspace(0, -37.9, 201), "float64": np.linspace(0, -300, 201)}
QUANTITIES = ("loss", "gradient at the label")


def measure(
    contenders: Sequence[type[rivals.Library]] = CONTENDERS, every: int = 1
) -> dict[str, Any]:
    """The relative errors of contenders at every so manieth loss."""
    return {
        "missing": rivals.missing(*contenders),
        "curves": {
            dtype: _curves(rivals.installed(*contenders), np.dtype(dtype), exponents[::every])
            for dtype, exponents in EXPONENTS.items()
        },
    }


def _curves(libraries: list[rivals.Library], dtype: Any, exponents: Any) -> dict[str, Any]:
    with mpmath.workdps(400):
        t = [-mpmath.log(mpmath.expm1(mpmath.mpf(10) ** float(e))) for e in exponents]
        logits = np.stack([np.zeros(len(t)), [-float(number) for number in t]], axis=1)
        logits = logits.astype(dtype)
        exps = [mpmath.exp(float(x)) for x in logits[:, 1]]
        truths = {
            "loss": [mpmath.log(1 + e) for e in exps],
            "gradient at the label": [-e / (1 + e) for e in exps],
        }
        ids = np.zeros(len(t), np.int64)
        answers = {
            library.name: library.answer("cross_entropy", ids, logits) for library in libraries
        }
        found = {
            who: {"loss": answer.value, "gradient at the label": answer.grad[:, 0]}
            for who, answer in answers.items()
        }
        return {
            "true": [float(loss) for loss in truths["loss"]],
            "error": {
                what: {
                    who: [
                        float(abs(mpmath.mpf(float(a)) / b - 1))
                        for a, b in zip(results[what], truths[what], strict=True)
                    ]
                    for who, results in found.items()
                }
                for what in QUANTITIES
            },
        }


def largest_with(true: Sequence[float], errors: Sequence[float], least: float) -> float | None:
    """The largest true loss whose error is at least so much."""
    return max((t for t, error in zip(true, errors, strict=True) if error >= least), default=None)


def page(result: Any) -> str:
    parts = [
        "Rows `[0, -t]` with label 0, whose loss `log(1 + exp(-t))` is known from mpmath in 400 "
        "digits. The textbook formula takes the logarithm of a softmax; PyTorch, SciPy and "
        "scikit-learn subtract a logit from a finished logarithm of a sum of exponentials. Such a "
        "sum is near 1, and what is smaller than the spacing of numbers there is lost. The "
        "gradient at the label is minus the probability of the other class, which `p - 1` loses "
        "likewise.",
    ]
    for dtype, curves in result["curves"].items():
        eps = float(np.finfo(dtype).eps)
        rows = []
        for what, errors_of in curves["error"].items():
            for who, errors in errors_of.items():
                lost = [largest_with(curves["true"], errors, least) for least in (eps**0.5, 1.0)]
                rows.append(
                    [
                        what,
                        who,
                        f"{max(errors):.2g}",
                        f"{max(errors) / eps:.3g}",
                        *("never" if loss is None else f"{loss:.1e}" for loss in lost),
                    ]
                )
        head = [
            *("of the", "by", "largest relative error", "in eps"),
            *("half of the digits lost from a loss of", "all lost from a loss of"),
        ]
        lowest, highest = min(curves["true"]), max(curves["true"])
        parts += [
            f"## {dtype}",
            f"{len(curves['true'])} losses from {highest:.0e} to {lowest:.0e}; eps is {eps:.2g}.",
            report.table(head, rows),
        ]
    return "\n\n".join(parts)


def draw(result: Any, path: Path) -> None:
    figure, axes = panels(2, 2, width=5.6, height=3.6)
    empty = iter(axes)
    for dtype, curves in result["curves"].items():
        eps = float(np.finfo(dtype).eps)
        for what, errors_of in curves["error"].items():
            panel = next(empty)
            for who, errors in errors_of.items():
                # Errors of 0, and those of one number alone, would hide the lines.
                panel.plot(
                    curves["true"], np.clip(errors, eps / 30, None), label=who, **STYLES[who]
                )
            panel.set(xscale="log", yscale="log", title=f"{what}, {dtype}", ylim=(eps / 100, 100))
            panel.invert_xaxis()
            panel.set_xlabel("true loss")
            panel.set_ylabel("relative error (1: nothing is right)")
            panel.grid(alpha=0.3)
    legend(figure, axes)
    save(figure, path)
