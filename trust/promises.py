"""What is promised for an input, and whether an answer keeps it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import rivals

# In the place of numbers that are promised.
FINITE = "finite"
ANY = "any"


class Outcome(NamedTuple):
    """An answer with the warnings that came with it, an error, or why there is neither."""

    answer: rivals.Answer = rivals.Answer(None)
    warnings: tuple[str, ...] = ()
    error: Exception | None = None
    absent: str = ""


# How to call the loss once more: with a place for the gradient, or with other data.
Again = Callable[..., Outcome]


class Promise:
    def text(self) -> str:
        raise NotImplementedError

    def kept(self, outcome: Outcome, again: Again, shape: tuple[int, ...]) -> bool:
        """Whether an outcome keeps it; `shape` is that of the predictions."""
        raise NotImplementedError


@dataclass(frozen=True)
class Gives(Promise):
    """Numbers, of which some may only be finite, or anything."""

    value: Any
    grad: Any
    warns: bool = False

    def text(self) -> str:
        lines = [f"loss {short(self.value, 4)}", f"gradient {short(self.grad, 4)}"]
        return "\n".join([*lines, *(["RuntimeWarning"] if self.warns else [])])

    def kept(self, outcome: Outcome, again: Again, shape: tuple[int, ...]) -> bool:
        value, grad = outcome.answer
        right = outcome.error is None and _fits(value, self.value) and _fits(grad, self.grad)
        return right and outcome.warnings == (("RuntimeWarning",) if self.warns else ())


def _fits(actual: Any, promised: Any) -> bool:
    if promised is ANY:
        return True
    actual, promised = np.asarray(actual, np.float64), np.asarray(promised, object)
    return actual.shape == promised.shape and all(
        np.isfinite(a) if p is FINITE else np.isclose(a, float(p), 1e-12, 0, equal_nan=True)
        for a, p in zip(actual.flat, promised.flat, strict=True)
        if p is not ANY
    )


@dataclass(frozen=True)
class Raises(Promise):
    """An error whose message has these words, before anything is written."""

    error: type[Exception]
    words: tuple[str, ...]

    def __init__(self, error: type[Exception], *words: str) -> None:
        object.__setattr__(self, "error", error)
        object.__setattr__(self, "words", words)

    def text(self) -> str:
        return f"{self.error.__name__} with {', '.join(f'`{word}`' for word in self.words)}"

    def kept(self, outcome: Outcome, again: Again, shape: tuple[int, ...]) -> bool:
        out = np.full(shape, 7.0)
        return bool(
            all(
                isinstance(one.error, self.error) and all(w in str(one.error) for w in self.words)
                for one in (outcome, again(out=out))
            )
            and np.all(out == 7)
        )


@dataclass(frozen=True)
class AsPlain(Promise):
    """The bits that plain arrays of the same numbers give."""

    y_true: Any
    y_pred: Any

    def text(self) -> str:
        return "as for plain arrays"

    def kept(self, outcome: Outcome, again: Again, shape: tuple[int, ...]) -> bool:
        plain = again(y_true=self.y_true, y_pred=self.y_pred)
        return outcome.error is None and all(
            np.array_equal(ours, right)
            for ours, right in zip(outcome.answer, plain.answer, strict=True)
        )


def short(numbers: Any, digits: int = 17) -> str:
    """Numbers, and words in their place, as a list."""
    if isinstance(numbers, str):
        return numbers
    array = np.asarray(numbers, object)
    return _nested(array.tolist(), digits) if array.size else f"of shape {array.shape}"


def _nested(numbers: Any, digits: int) -> str:
    if isinstance(numbers, list):
        return f"[{', '.join(_nested(one, digits) for one in numbers)}]"
    if isinstance(numbers, str):
        return numbers
    # Without the sign of a zero, which nobody asks for.
    rounded = f"{numbers + 0.0:.{digits}g}"
    return min(rounded, repr(float(numbers)).removesuffix(".0"), key=len)
