"""How much is fuzzed, and how it is counted; layouts of arrays.

`FUZZ_PROFILE` is `ci`, few examples and always the same, or `nightly`, many and new ones, drawn
from `FUZZ_SEED`; `trust/fuzz.py` runs it. `FUZZ_COUNTS` is a file to write what ran into.
"""

import atexit
import functools
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, errors, given, settings
from hypothesis import strategies as st

NIGHTLY = {"ci": False, "nightly": True}[os.environ.get("FUZZ_PROFILE", "ci")]
SEED = int(os.environ.get("FUZZ_SEED", "0"))
# How many times as many examples a night has.
TIMES = 12 if NIGHTLY else 1
_RANDOM = random.Random(SEED)

# By property: the examples that were checked, those that ought to be an error and were one, and how
# many losses there were among them.
_counts: dict[str, Counter[str]] = defaultdict(Counter)
_losses: dict[str, set[Any]] = defaultdict(set)
_running = [""]


def fuzz(examples: int, *arguments: Any, **named: Any) -> Callable[..., Any]:
    """`hypothesis.given`, with so many examples, which are counted."""
    budget = settings(
        max_examples=examples * TIMES,
        deadline=None,  # the first example of a kind may have to wait for the compiler
        derandomize=not NIGHTLY,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        def counted(*values: Any, **options: Any) -> None:
            _running[0] = test.__name__
            with_errors = _counts[test.__name__]["errors"]
            try:
                test(*values, **options)
            except errors.UnsatisfiedAssumption:
                _counts[test.__name__]["errors"] = with_errors
                raise
            _counts[test.__name__]["cases"] += 1

        return budget(given(*arguments, **named)(counted))

    return decorate


def counting(loss: Any) -> Any:
    """The loss, of which it is noted that it took part."""
    _losses[_running[0]].add(repr(loss))
    return loss


@contextmanager
def refused(error: Any, match: str | None = None, *untouched: Any) -> Iterator[None]:
    """Whether this raises, and leaves these arrays as they are."""
    before = [array.tobytes() for array in untouched]
    with pytest.raises(error, match=match):
        yield
    assert [array.tobytes() for array in untouched] == before
    _counts[_running[0]]["errors"] += 1


def choose(usual: list[Any], number: int, draw: Callable[[random.Random], Any]) -> list[Any]:
    """What to parametrize by where each choice is a kernel to compile: at night, drawn from all."""
    return [*usual, *(draw(_RANDOM) for _ in range(number if NIGHTLY else 0))]


@st.composite
def layouts(draw: Any, array: Any) -> Any:
    """The same numbers, in memory some other way."""
    order = draw(st.permutations(range(array.ndim)))
    steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in range(array.ndim)]
    moved = array.transpose(order)
    wide = np.zeros(
        [n * abs(step) for n, step in zip(moved.shape, steps, strict=True)], array.dtype
    )
    view = wide[tuple(slice(None, None, step) for step in steps)]
    view[...] = moved
    return view.transpose(np.argsort(order))


def _write_counts(path: str) -> None:
    found = {name: {**dict(count), "losses": len(_losses[name])} for name, count in _counts.items()}
    Path(path).write_text(json.dumps(found), encoding="utf-8")


if "FUZZ_COUNTS" in os.environ:
    atexit.register(_write_counts, os.environ["FUZZ_COUNTS"])
