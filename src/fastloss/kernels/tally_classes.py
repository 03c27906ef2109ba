"""How far the probabilities of each class are from how often it comes, by class and bin."""

from typing import Any

from ..compiler.bits import select
from .tally import Room, add, bin_of, fit, place_of


def tally_classes(
    probabilities: Any, labels: Any, weights: Any, n_bins: Any, powers: Any, table: Any
) -> None:
    """Add w (p - y) of each class of each row to a table, y being 1 for the label and else 0.

    The keys of the table, a `Room`, are bins of p, first those of the first class. `powers` are 1
    and 0. Rows of weight 0 count nowhere.
    """
    n, n_rows = powers.size, labels.size
    room = Room(table[0], table[1], table[2], table[3], table[4])
    for r in range(n_rows):
        if weights[r] == 0.0:
            continue
        n_classes = probabilities.size // n_rows
        for j in range(n_classes):
            p = probabilities[r * n_classes + j]
            place = place_of(j * n_bins + bin_of(p, n_bins), n, room)
            weight = fit(weights[r], place, powers, room)
            gap = p - select(labels[r] == j, 1.0, 0.0)
            add(weight * gap, 0.0, place * n, room.high, room.low)
