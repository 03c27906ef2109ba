"""How tuples are handed to functions that are inlined: as they are, if there are tuples in them.

Numba takes each argument to pieces, down to numbers and pointers, and the function puts them
together again: one instruction for each piece on either side, which for all that is known of a
group of rows are hundreds. A flat tuple still comes in pieces, as `disjoint` speaks of the pointers
among the arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numba import types
from numba.extending import models, register_model


class Whole(types.Type):  # type: ignore[misc]
    """A tuple as an argument that is not taken to pieces."""

    def __init__(self, tuple_type: Any) -> None:
        self.tuple_type = tuple_type
        super().__init__(name=f"Whole({tuple_type})")


@register_model(Whole)
class _WholeModel(models.DataModel):  # type: ignore[misc]
    def get_value_type(self) -> Any:
        return self._dmm.lookup(self.fe_type.tuple_type).get_value_type()

    def get_argument_type(self) -> Any:
        return self.get_value_type()

    def as_argument(self, builder: Any, value: Any) -> Any:
        return value

    def from_argument(self, builder: Any, value: Any) -> Any:
        return value


def handed_over(arguments: Iterable[Any]) -> tuple[Any, ...]:
    """The types of arguments as the function gets them."""
    return tuple(Whole(each) if _has_tuples(each) else each for each in arguments)


def _has_tuples(argument: Any) -> bool:
    """Empty ones, which stand for what is absent, are none."""
    members = argument if isinstance(argument, types.BaseTuple) else ()
    return any(isinstance(member, types.BaseTuple) and len(member) for member in members)
