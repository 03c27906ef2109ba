"""Of the labels of two sets of few classes: both losses, and how much these and p_y differ."""

from typing import Any

import numpy as np

from ...compiler.bits import disjoint
from ..form import Function
from ..row_groups import GROUP
from .pairs import label_change_formula, label_finder, loss_change
from .traits import Traits
from .two_rows import difference_formula, gap_reader


def narrower(traits: Traits) -> Function:
    number, double = traits.form.number, np.float64

    # In a loop of its own, as beside float64 LLVM takes half of the rows at a time.
    def narrow(wide: Any, numbers: Any) -> None:
        disjoint()
        for r in range(GROUP):
            numbers[r] = number(double(wide[r]))

    return narrow


def label_reader(traits: Traits) -> Function:
    label_of, gap_at = label_finder(traits), gap_reader(traits)
    difference_of = difference_formula(traits)

    def find_gaps(o: Any, x: Any, tops: Any, gaps: Any) -> None:
        disjoint()
        for r in range(GROUP):
            gaps[r] = gap_at(o, x, r, tops[r])

    def find_differences(
        o: Any, a: Any, b: Any, shifts: Any, lost_shifts: Any, differences: Any
    ) -> None:
        disjoint()
        for r in range(GROUP):
            differences[r] = difference_of(o, a[r], b[r], shifts[r], lost_shifts[r])

    def read_labels(o: Any, rows: Any, a: Any, b: Any, numbers: Any, doubles: Any) -> None:
        labels_a, labels_b = numbers.labels_a, numbers.labels_b
        for r in range(rows.y_pred.size // rows.n_classes):
            place = label_of(rows, r) * GROUP + r
            labels_a[r], labels_b[r] = a[place], b[place]
        find_gaps(o, labels_a, numbers.tops_a, doubles.gaps_a)
        find_gaps(o, labels_b, numbers.tops_b, doubles.gaps_b)
        shifts, lost_shifts = numbers.shifts, numbers.lost_shifts
        find_differences(o, labels_a, labels_b, shifts, lost_shifts, numbers.differences)

    return read_labels


def label_comparer(traits: Traits) -> Function:
    change_of, narrow = label_change_formula(traits.form.number), narrower(traits)
    double = np.float64

    def find_losses(
        gaps_a: Any,
        gaps_b: Any,
        log_sums_a: Any,
        log_sums_b: Any,
        differences: Any,
        log_ratios: Any,
        losses_a: Any,
        losses_b: Any,
        loss_changes: Any,
        n: Any,
    ) -> None:
        disjoint()
        for r in range(n):
            loss_a = gaps_a[r] + double(log_sums_a[r])
            loss_b = gaps_b[r] + double(log_sums_b[r])
            difference = double(differences[r]) - double(log_ratios[r])
            losses_a[r], losses_b[r] = loss_a, loss_b
            loss_changes[r] = loss_change(loss_a, loss_b, difference)

    def find_changes(losses_a: Any, losses_b: Any, differences: Any, changes: Any) -> None:
        disjoint()
        for r in range(GROUP):
            changes[r] = change_of(losses_a[r], losses_b[r], differences[r])

    def widen(numbers: Any, wide: Any) -> None:
        disjoint()
        for r in range(GROUP):
            wide[r] = double(numbers[r])

    def compare_labels(numbers: Any, doubles: Any, scores: Any, n: Any) -> None:
        find_losses(
            doubles.gaps_a,
            doubles.gaps_b,
            numbers.log_sums_a,
            numbers.log_sums_b,
            numbers.differences,
            numbers.log_ratios,
            scores.loss_a,
            scores.loss_b,
            scores.loss_difference,
            n,
        )
        narrow(scores.loss_a, numbers.labels_a)
        narrow(scores.loss_b, numbers.labels_b)
        narrow(scores.loss_difference, numbers.differences)
        find_changes(numbers.labels_a, numbers.labels_b, numbers.differences, numbers.parts)
        widen(numbers.parts, scores.probability_change)

    return compare_labels
