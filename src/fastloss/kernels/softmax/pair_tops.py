"""The largest logits of two sets of few classes, and how far they are apart, across rows."""

from typing import Any

import numpy as np

from ...compiler.bits import disjoint, select
from ..form import Function
from ..row_groups import GROUP
from ..tiles import fill
from .lanes import lane
from .traits import Traits
from .two_rows import lost_by


def top_finder(traits: Traits) -> Function:
    number = traits.form.number
    zero, minus_inf = number(0), number(-np.inf)

    # NaN is passed over; it shows in the sum of the exponentials.
    def raise_top(j: Any, x: Any, tops: Any, places: Any) -> None:
        disjoint()
        for r in range(GROUP):
            higher = x[r] > tops[r]
            tops[r] = select(higher, x[r], tops[r])
            places[r] = select(higher, number(j), places[r])

    def find_tops(n_classes: Any, lanes: Any, tops: Any, places: Any) -> None:
        fill(tops, minus_inf)
        fill(places, zero)
        for j in range(n_classes):
            raise_top(j, lane(lanes, j), tops, places)

    return find_tops


def settler(traits: Traits) -> Function:
    number = traits.form.number
    zero, one, inf, nan = number(0), number(1), number(np.inf), number(np.nan)

    def any_infinite(tops: Any) -> Any:
        found = False
        for r in range(GROUP):
            found |= tops[r] == inf
        return found

    def settle_lane(x: Any, tops: Any, counts: Any) -> None:
        disjoint()
        for r in range(GROUP):
            is_top = x[r] == inf
            counts[r] += select(is_top, one, zero)
            x[r] = select(tops[r] == inf, select(is_top, zero, x[r] - inf), x[r])

    def settle_tops(tops: Any, counts: Any) -> None:
        disjoint()
        for r in range(GROUP):
            tops[r] = select(tops[r] == inf, select(counts[r] == one, zero, nan), tops[r])

    def settle(n_classes: Any, lanes: Any, tops: Any, counts: Any) -> None:
        """Put 0 in the place of +inf, and -inf beside it; several have no softmax."""
        if any_infinite(tops):
            fill(counts, zero)
            for j in range(n_classes):
                settle_lane(lane(lanes, j), tops, counts)
            settle_tops(tops, counts)

    return settle


def shift_finder(traits: Traits) -> Function:
    minus_inf, nan = traits.form.number(-np.inf), traits.form.number(np.nan)

    def find_shifts(tops_a: Any, tops_b: Any, shifts: Any, lost_shifts: Any) -> None:
        """The differences of the largest logits, of which a row of -inf has none."""
        disjoint()
        for r in range(GROUP):
            a = select(tops_a[r] == minus_inf, nan, tops_a[r])
            b = select(tops_b[r] == minus_inf, nan, tops_b[r])
            shifts[r] = a - b
            lost_shifts[r] = lost_by(a, b, shifts[r])

    return find_shifts
