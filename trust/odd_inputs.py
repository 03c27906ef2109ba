"""What each odd input does: the table of the contract, by calling, beside other libraries.

The rows are in `odd_rows.py`. Each has an input and a promise; whether that is kept is found by
calling the loss and comparing.
"""

import textwrap
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from . import report, rivals
from .odd_rows import FAMILIES, Row
from .promises import Outcome, short

TITLE = "What odd inputs do"
# Of scikit-learn the public function, or else the loss of its estimators.
LIBRARIES = (rivals.PyTorch, rivals.SciPy, rivals.Metrics, rivals.ScikitLearn)
# Then the next of the same name is asked.
NO_LOSS = "no such loss"


def measure(
    families: Iterable[str] = tuple(FAMILIES),
    libraries: Iterable[type[rivals.Library]] = LIBRARIES,
    which: Callable[[Row], bool] = lambda row: True,
) -> dict[str, Any]:
    """The answers to all rows, or to some of them."""
    libraries = tuple(libraries)
    others = rivals.installed(*libraries)
    return {
        "missing": rivals.missing(*libraries),
        "libraries": list(dict.fromkeys(library.name for library in others)),
        "families": {
            family: [answers(row, others) for row in FAMILIES[family]() if which(row)]
            for family in families
        },
    }


def answers(row: Row, others: list[rivals.Library]) -> dict[str, Any]:
    """What all answer to a row, and whether the promise is kept."""
    fastloss = rivals.Fastloss()
    ours = call(fastloss, row)
    found = {
        "input": row.input,
        "call": row.call(),
        "promise": row.promise.text(),
        "kept": row.promise.kept(ours, partial(call, fastloss, row), np.shape(row.y_pred)),
        "fastloss": _text(ours),
    }
    for library in others:
        if row.too_large:
            found[library.name] = "not tried: it would make arrays of that size"
        elif found.get(library.name, NO_LOSS) == NO_LOSS:
            found[library.name] = _text(call(library, row))
    return found


def call(library: rivals.Library, row: Row, **changed: Any) -> Outcome:
    """What a library answers, and its warnings; errors are answers, too."""
    told = {"y_true": row.y_true, "y_pred": row.y_pred, "reduction": row.reduction}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = library.answer(row.loss, **(told | row.options | changed))
        except rivals.Absent as absent:
            return Outcome(absent=str(absent))
        except Exception as error:
            return Outcome(error=error)
    return Outcome(answer, tuple(dict.fromkeys(seen.category.__name__ for seen in caught)))


def _text(outcome: Outcome) -> str:
    if outcome.absent:
        return outcome.absent
    if outcome.error is not None:
        words = textwrap.shorten(str(outcome.error), 76, placeholder=" ...")
        return f"{type(outcome.error).__name__}: {words}".strip(" :")
    lines = [f"loss {_numbers(outcome.answer.value)}"]
    if outcome.answer.grad is not None:
        lines.append(f"gradient {_numbers(outcome.answer.grad)}")
    return "\n".join([*lines, *outcome.warnings])


def _numbers(result: Any) -> str:
    if np.iscomplexobj(result):
        return "complex numbers"
    numbers = np.asarray(result, np.float64)
    return short(numbers, 4) if numbers.size < 20 else f"of shape {numbers.shape}"


def page(result: Any) -> str:
    rows = [row for found in result["families"].values() for row in found]
    kept = sum(row["kept"] for row in rows)
    parts = [
        f"{kept} of {len(rows)} promises are kept. A promise is kept if the answer has the numbers "
        "of its column, where `finite` is any finite number and `any` is not promised; or the type "
        "of error, with those words in its message, and an array given as `out` is as it was. "
        "Losses are those of the samples and gradients those of their sum, unless a mean or a sum "
        "is asked for. Of scikit-learn, its public functions answer, which are means without "
        "gradients; where it has none, the losses of its estimators, which are private. Gradients "
        "of SciPy and scikit-learn stay those of the sum. SciPy has functions, which are joined to "
        "losses here, in a line of NumPy each.",
    ]
    for family, found in result["families"].items():
        head = ["input", "given", "promise", "kept", "fastloss", *result["libraries"]]
        table = [
            [
                row["input"],
                f"`{row['call']}`",
                row["promise"],
                "yes" if row["kept"] else "**no**",
                row["fastloss"],
                *(row[name] for name in result["libraries"]),
            ]
            for row in found
        ]
        parts += [f"## {family}", report.table(head, table)]
    return "\n\n".join(parts)
