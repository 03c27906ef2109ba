"""The mean of up to a billion terms: a sum in float32 forgets small terms once it is large.

A billion numbers are a million, again and again, so that their exact mean is that of the million,
by `math.fsum`. fastloss takes them as a view, of which one axis has a stride of 0 and needs no
memory. The others get one long array, of 4 GB: a view of two axes costs NumPy its pairwise sum.
"""

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl
from fastloss.compiler.jit import dispatcher

from . import report
from .drawing import STYLES, legend, panels, save

TITLE = "Means of up to a billion terms"
BLOCK = 1_000_000
LENGTHS = tuple(10**k for k in range(3, 10))


class Data(NamedTuple):
    """A block of samples, their losses in float32, and the loss that has them."""

    loss: fl.Loss
    y_true: Any
    y_pred: Any
    terms: Any


def _squares(roots: Any, dtype: Any = np.float32) -> Data:
    """Numbers of float16, so that their squares are numbers of float32, and nothing is rounded."""
    roots = roots.astype(np.float16)
    terms = roots.astype(np.float32) ** 2
    return Data(fl.mse, np.zeros_like(roots, dtype), roots.astype(dtype), terms)


def _rows(rng: np.random.Generator) -> Data:
    labels = rng.integers(0, 2, BLOCK)
    logits = rng.normal(scale=4.0, size=(BLOCK, 2)).astype(np.float32)
    terms = fl.CrossEntropy(reduction="none")(labels, logits)
    return Data(fl.cross_entropy, labels, logits, terms)


DATA: dict[str, Callable[[np.random.Generator], Data]] = {
    "the same number": lambda rng: _squares(np.full(BLOCK, 0.3)),
    "random numbers": lambda rng: _squares(rng.uniform(0, 1, BLOCK)),
    "small and large numbers": lambda rng: _squares(np.exp(rng.normal(scale=2.0, size=BLOCK))),
    "random float16": lambda rng: _squares(rng.uniform(0, 1, BLOCK), np.float16),
    "cross-entropy of rows": _rows,
}


def again(block: Any, n: int) -> Any:
    """The first n, or the block n / BLOCK times, as a view of two axes."""
    times, length = max(1, n // BLOCK), min(n, BLOCK)
    return np.broadcast_to(block[:length], (times, length, *block.shape[1:]))


def _add(x: Any, total: Any) -> Any:
    for i in range(x.size):
        total += x[i]
    return total


def _one_sum(terms: Any) -> float:
    """The loop that one would write, with a float32 to add to."""
    total = dispatcher(_add)(terms, np.float32(0))
    return float(np.float32(total) / np.float32(terms.size))


def _numpy(terms: Any) -> float:
    return float(terms.mean())


def _pytorch(terms: Any) -> float:
    import torch

    return float(torch.from_numpy(terms).mean())


def _means() -> dict[str, Callable[[Any], float]]:
    """What others make of terms, in float32."""
    found = {"NumPy": _numpy, "one float32 sum": _one_sum}
    return found | ({"PyTorch": _pytorch} if find_spec("torch") else {})


def measure(lengths: Sequence[int] = LENGTHS, kinds: Sequence[str] = tuple(DATA)) -> Any:
    """Errors in float32 ulp of the exact mean."""
    return {
        "lengths": list(lengths),
        "errors": {kind: _errors(DATA[kind](np.random.default_rng(7)), lengths) for kind in kinds},
        "missing": [] if find_spec("torch") else ["PyTorch"],
    }


def _errors(data: Data, lengths: Sequence[int]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for n in lengths:
        some = data.terms[:n]
        exact = math.fsum(some) / some.size
        terms = np.tile(some, n // some.size)
        means = {"fastloss": data.loss(again(data.y_true, n), again(data.y_pred, n))}
        means |= {who: mean(terms) for who, mean in _means().items()}
        for who, mean in means.items():
            ulp = float(np.spacing(np.float32(exact)))
            found.setdefault(who, []).append(abs(mean - exact) / ulp)
    return found


def page(result: Any) -> str:
    parts = [
        "Errors in float32 ulp of the exact mean of the terms. fastloss computes terms in float32 "
        "and adds them up in float64; 2 ulp are promised. The others are given the same terms in "
        "one array of float32, and their means are float32 numbers, so that up to 0.5 ulp is only "
        "the rounding of the result. The first four are squared errors, exact in float32.",
    ]
    rows = [
        [kind, who, *(f"{error:.2g}" for error in errors)]
        for kind, found in result["errors"].items()
        for who, errors in found.items()
    ]
    head = ["mean of", "by", *(f"{n:,}" for n in result["lengths"])]
    parts.append(report.table(head, rows))
    return "\n\n".join(parts)


def draw(result: Any, path: Path) -> None:
    figure, axes = panels(2, 3, width=4.4, height=3.4)
    for panel, (kind, found) in zip(axes, result["errors"].items(), strict=False):
        for who, errors in found.items():
            # An error of 0 is drawn at the lower end.
            shown = np.clip(errors, 1e-9, None)
            panel.plot(result["lengths"], shown, label=who, marker=".", **STYLES[who])
        panel.axhline(2, color="black", linewidth=0.8, linestyle=":")
        panel.set(xscale="log", yscale="log", ylim=(3e-10, 1e9), title=kind)
        panel.set_xlabel("number of terms")
        panel.grid(alpha=0.3)
    for panel in axes[::3]:
        panel.set_ylabel("error in float32 ulp (dotted: 2)")
    for panel in axes[len(result["errors"]) :]:
        panel.set_axis_off()
    legend(figure, axes)
    save(figure, path)
