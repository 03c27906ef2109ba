"""Tests in plain Python: kernels run as under NUMBA_DISABLE_JIT=1, and nothing is compiled.

A small case then takes milliseconds, where a kernel takes seconds to compile. `plain` marks tests,
modules or parameters that run so, and `compiled` those within a module so marked that do not.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

import numba
import pytest

from fastloss import Loss
from fastloss.bases import shared
from fastloss.call import plan

plain = pytest.mark.plain
compiled = pytest.mark.compiled


def partly_long(n: int, names: str, values: Iterable[Any], **more: Any) -> Any:
    """`pytest.mark.parametrize`: n values for `make test`, the others for `make test-long`."""
    parameters = [value if "," in names else (value,) for value in values]
    return pytest.mark.parametrize(
        names,
        [
            *(pytest.param(*parts) for parts in parameters[:n]),
            *(pytest.param(*parts, marks=pytest.mark.long) for parts in parameters[n:]),
        ],
        **more,
    )


class _Apart(cached_property[Any]):
    """In place of an attribute of losses that remembers: what they remember meanwhile."""

    def __init__(self, attribute: cached_property[Any]) -> None:
        super().__init__(attribute.func)
        self.of: dict[int, tuple[Any, Any]] = {}  # with the loss, so that its id stays

    def __get__(self, loss: Any, owner: Any) -> Any:
        if id(loss) not in self.of:
            self.of[id(loss)] = loss, self.func(loss)
        return self.of[id(loss)][1]

    # With this Python looks here first, and not into the loss.
    def __set__(self, loss: Any, value: Any) -> None:
        raise AttributeError(self.func.__name__)


@contextmanager
def plain_python() -> Iterator[None]:
    """Kernels called meanwhile are plain Python; what was compiled is there again afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", 1)
        patch.setattr(plan, "_kernels", {})
        for name in ("_family", "_made_functions"):
            patch.setattr(Loss, name, _Apart(vars(Loss)[name]))
        patch.setattr(shared, "_shared", lru_cache(64)(shared._shared.__wrapped__))
        for module, name in _remembering():
            patch.setattr(module, name, getattr(module, name).__wrapped__)
        yield


def forget() -> None:
    """Losses that are built from now on know nothing of equal ones from before."""
    shared._shared.cache_clear()


def _remembering() -> list[tuple[Any, str]]:
    """Functions that compile something once, in modules that are imported by now."""
    return [
        (module, name)
        for path, module in list(sys.modules.items())
        if path.startswith("fastloss.evaluation")
        for name, value in vars(module).items()
        if hasattr(value, "cache_clear")
    ]


def is_plain(item: pytest.Item) -> bool:
    """Whether the mark that is nearest to a test says that it runs in plain Python."""
    names = (mark.name for mark in item.iter_markers())
    return next((name == "plain" for name in names if name in ("plain", "compiled")), False)


def both(
    names: str, values: Iterable[Any], *, compiled: Iterable[Any] = (), long: Iterable[Any] = ()
) -> Any:
    """`pytest.mark.parametrize`: each value in plain Python, and some compiled as well.

    Those of `long` are compiled by `make test-long` alone.
    """

    def parameter(value: Any, suffix: str, *marks: Any) -> Any:
        parts = value if "," in names else (value,)
        return pytest.param(*parts, marks=marks, id="-".join(map(str, parts)) + suffix)

    return pytest.mark.parametrize(
        names,
        [
            *(parameter(value, "", pytest.mark.compiled) for value in compiled),
            *(parameter(value, "", pytest.mark.compiled, pytest.mark.long) for value in long),
            *(parameter(value, "-plain", pytest.mark.plain) for value in values),
        ],
    )
