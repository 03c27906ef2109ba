"""Choices in few combinations, among which each two of them meet."""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def covering(
    choices: Mapping[str, Sequence[Any]],
    legal: Callable[[Row], bool] = lambda row: True,
    without: Sequence[tuple[str, str]] = (),
) -> list[Row]:
    """Rows of one value for each name, so that each two values meet in some row if they may.

    `legal` is asked of rows that lack names; the first value of each name must go with any others
    that are legal. The pairs of names in `without` need not meet.
    """
    names = list(choices)
    pairs = [
        pair
        for pair in itertools.combinations(names, 2)
        if pair not in without and pair[::-1] not in without
    ]
    missing = {
        ((a, i), (b, j))
        for a, b in pairs
        for i, x in enumerate(choices[a])
        for j, y in enumerate(choices[b])
        if legal({a: x, b: y})
    }
    order = sorted(missing, key=lambda pair: [(names.index(name), i) for name, i in pair])
    rows = []
    for pair in order:
        if pair not in missing:
            continue
        chosen = dict(pair)
        for name in names:
            if name not in chosen:
                chosen[name] = _best(name, chosen, choices, legal, missing)
        items = [(name, chosen[name]) for name in names]
        missing -= set(itertools.combinations(items, 2))
        rows.append(_values({name: chosen[name] for name in names}, choices))
    return rows


def bring_nothing_new(rows: Sequence[Row], names: Collection[str]) -> list[bool]:
    """Whether each value that a row has for these names is in a row before it."""
    seen: set[tuple[str, str]] = set()
    known = []
    for row in rows:
        values = {(name, str(row[name])) for name in names}
        known.append(values <= seen)
        seen |= values
    return known


def _values(chosen: dict[str, int], choices: Mapping[str, Sequence[Any]]) -> Row:
    return {name: choices[name][i] for name, i in chosen.items()}


def _best(
    name: str,
    chosen: dict[str, int],
    choices: Mapping[str, Sequence[Any]],
    legal: Callable[[Row], bool],
    missing: set[Any],
) -> int:
    """The value that meets most of those that it has not met yet."""
    names = list(choices)

    def gain(i: int) -> int:
        return sum(
            (pair if names.index(other) > names.index(name) else pair[::-1]) in missing
            for other, j in chosen.items()
            for pair in [((name, i), (other, j))]
        )

    possible = [
        i
        for i, value in enumerate(choices[name])
        if legal({**_values(chosen, choices), name: value})
    ]
    return max(possible, key=gain)
