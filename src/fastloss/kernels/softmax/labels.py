"""Labels: the mass that they give to each class, and what masses and their gaps add up to.

First of long rows, part by part; then of short rows, a lane for each class.
"""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import (
    INTERLEAVED,
    accumulate,
    disjoint,
    interleaved,
    select,
    smaller,
    window,
)
from ...compiler.processor import vector_bytes
from ..form import Function
from ..row_groups import CHUNK, GROUP
from ..tiles import copy, fill
from .formulas import logits, masses
from .lanes import ABREAST, class_by_class, class_reader, keeping_masks, lane
from .parts import STEP, parts
from .traits import Traits

# -------------------------------------------------------------------------------------------------
# Of long rows

# How many terms are added up in the arithmetic, in each place of the vectors that `interleaved`
# takes at a time. Equal terms, as smoothing gives them, are all rounded the same way: a sum of 32
# is off by 8 units in the last place.
EQUAL_TERMS = 1 << 4


class PartMasses(NamedTuple):
    """Functions that give the masses of classes of a long row."""

    mass_of: Function
    n_ids: Function
    mass_at_id: Function


def part_masses(traits: Traits) -> PartMasses:
    inside = parts(traits).inside
    mass = masses(traits).mass
    class_weighted, smoothed = traits.variant.class_weighted, traits.variant.smoothed
    masked, by_id, sparse = traits.masked, traits.by_id, traits.sparse
    decode_true, decode_probability = traits.form.decode_true, traits.form.decode_probability
    number = traits.form.number
    zero, one, nan = number(0), number(1), number(np.nan)

    def mass_of(o: Any, part: Any, j: Any, share: Any) -> Any:
        """The mass of class j of a part, without what class ids add to it."""
        if by_id and not smoothed:
            return zero
        label = zero if by_id else decode_true(part.labels[j])
        weight = part.class_weight[j] if class_weighted else one
        return mass(o, label, weight, inside(part, j) if masked else True, share)

    def n_ids(rows: Any) -> Any:
        return rows.n_labels if sparse else 1

    def mass_at_id(o: Any, rows: Any, row: Any, i: Any) -> Any:
        """The i-th class id of a row, and what it adds to the mass of its class."""
        place = row * n_ids(rows) + i
        label = decode_true(rows.y_true[place])
        if label < 0 or label >= rows.n_classes:
            # The labels were checked, so they changed since: stay inside the arrays.
            return 0, nan
        t = decode_probability(rows.probabilities[place]) if sparse else one
        weight = o.class_weight[label] if class_weighted else one
        return label, mass(o, t, weight, True, zero)

    return PartMasses(mass_of, n_ids, mass_at_id)


def part_label_sums(traits: Traits) -> Function:
    """The function that finds what the labels of a long row add up to."""
    part_of, _, top_of, seen = parts(traits)
    _, n_ids, mass_at_id = part_masses(traits)
    gap_term, share_of, sum_part = masses(traits).gap_term, _share(traits), _part_adder(traits)
    labelled, by_id, linked = traits.form.labelled, traits.by_id, traits.linked
    smoothed, unit = traits.variant.smoothed, traits.unit_masses
    number, double = traits.form.number, np.float64
    one, nan = number(1), number(np.nan)
    # Class weights are float64, and the longest numbers of a loop say how many fill a vector.
    number_bytes = 8 if traits.variant.class_weighted else np.dtype(number).itemsize
    n_together = smaller(EQUAL_TERMS * INTERLEAVED * vector_bytes() // number_bytes, CHUNK)

    def sum_labels(o: Any, rows: Any, row: Any, sums: Any) -> None:
        """Find the shares, gaps and masses of a row whose largest logit is known."""
        sums.shares[row] = share = share_of(o, rows, row)
        if not labelled:
            sums.gaps[row], sums.masses[row] = 0.0, 1.0
            return
        gaps, total = 0.0, 0.0
        top = top_of(o, sums.largest[row])
        if not by_id or smoothed:
            start = 0
            while start < rows.n_classes:
                left = rows.n_classes - start
                n = smaller(n_together, left & -STEP) if left >= STEP else left
                gap, t = sum_part(o, part_of(o, rows, row, start, n), top, share)
                gaps += gap
                total += t
                start += n
        if by_id:
            whole = part_of(o, rows, row, 0, rows.n_classes)
            for i in range(n_ids(rows)):
                label, t = mass_at_id(o, rows, row, i)
                x_j, is_largest = seen(o, whole, label, top)
                gaps += double(gap_term(one if linked else t, x_j, top[1], is_largest))
                total += double(t)
        sums.gaps[row] = gaps
        if unit:
            sums.rest[row] = select(total == total, sums.rest[row], nan)
        else:
            sums.masses[row] = total

    return sum_labels


def _share(traits: Traits) -> Function:
    part_of, inside, _, _ = parts(traits)
    smoothed, row_masked, number = traits.variant.smoothed, traits.row_masked, traits.form.number

    def share_of(o: Any, rows: Any, row: Any) -> Any:
        """What smoothing adds to the label of each class that is in."""
        if not smoothed:
            return number(0)
        if not row_masked:
            return number(o.share)
        whole = part_of(o, rows, row, 0, rows.n_classes)
        n_inside = 0
        for j in range(rows.n_classes):
            n_inside += inside(whole, j)
        return number(o.smoothing / n_inside)

    return share_of


def _part_adder(traits: Traits) -> Function:
    seen, mass_of = parts(traits).seen, part_masses(traits).mass_of
    _, gap_term, finite_gap_term = masses(traits)
    masked, zero, double = traits.masked, traits.form.number(0), np.float64

    def adder(term: Function) -> Function:
        def add(o: Any, part: Any, top: Any, share: Any) -> Any:
            interleaved()
            gaps = zero
            total = zero
            for j in range(part.x.size):
                t = mass_of(o, part, j, share)
                x_j, is_largest = seen(o, part, j, top)
                gaps = accumulate(gaps, term(t, x_j, top[1], is_largest))
                total = accumulate(total, t)
            return double(gaps), double(total)

        return add

    add_gaps, add_finite_gaps = adder(gap_term), adder(finite_gap_term)

    def sum_part(o: Any, part: Any, top: Any, share: Any) -> Any:
        """The sum of t_j (m - x_j), and that of t_j."""
        if not masked:  # else there is -inf for each class that is out
            gaps, total = add_finite_gaps(o, part, top, share)
            if abs(gaps) < np.inf:
                return gaps, total
        return add_gaps(o, part, top, share)

    return sum_part


# -------------------------------------------------------------------------------------------------
# Of short rows


def lane_mass(traits: Traits) -> Function:
    """The function that gives the mass of a class in one row of a group."""
    mass, one_id, masked = masses(traits).mass, traits.one_id, traits.masked
    inside, number = logits(traits).inside, traits.form.number
    zero, one = number(0), number(1)

    def mass_of(o: Any, j: Any, label: Any, of_class: Any, of_row: Any, share: Any) -> Any:
        """The mass of class j, from the numbers of the class and what the mask of the row says."""
        label = select(label == number(j), one, zero) if one_id else label
        here = inside(of_class[0], of_row) if masked else True
        return mass(o, label, of_class[1], here, share)

    return mass_of


def lane_label_sums(traits: Traits) -> Function:
    """The function that finds the gaps and masses of a group whose largest logits are known."""
    if traits.one_hot:
        return _sums_at_labels(traits)
    return _sums_of_lanes(traits)


def _sums_at_labels(traits: Traits) -> Function:
    mass, gap_term, _ = masses(traits)
    of_class, linked = class_reader(traits), traits.linked
    class_weighted, unit = traits.variant.class_weighted, traits.unit_masses
    number, double = traits.form.number, np.float64
    zero, one, nan = number(0), number(1), number(np.nan)

    def find_label(o: Any, j: Any, x: Any, labels: Any, at_label: Any, masses: Any) -> None:
        disjoint()
        t = mass(o, one, of_class(o, j)[1], True, zero)
        for r in range(GROUP):
            here = labels[r] == number(j)
            at_label[r] = select(here, x[r], at_label[r])
            if class_weighted:
                masses[r] = select(here, double(t), masses[r])

    def gaps_at_label(at_label: Any, largest: Any, gaps: Any, masses: Any, rest: Any) -> None:
        disjoint()
        for r in range(GROUP):
            t = number(masses[r]) if class_weighted else one
            gap_mass = one if linked else t
            is_largest = at_label[r] == largest[r]
            gaps[r] = double(gap_term(gap_mass, at_label[r], largest[r], is_largest))
            # A label that is no class, as one that changed since it was checked, left NaN here.
            is_class = at_label[r] == at_label[r]
            if unit:
                rest[r] = select(is_class, zero, nan)
            else:
                masses[r] = double(select(is_class, t, nan))

    def sum_labels(o: Any, rows: Any, scratch: Any) -> None:
        sums, at_label = scratch.sums, scratch.at_label
        fill(at_label, nan)
        for j in range(rows.n_classes):
            find_label(o, j, lane(scratch.logits, j), scratch.labels, at_label, sums.masses)
        gaps_at_label(at_label, sums.largest, sums.gaps, sums.masses, sums.rest)

    return sum_labels


def _lane_adder(traits: Traits, n_classes: int, term: Function, with_masses: bool) -> Function:
    """The function that adds to the gaps and the masses what `n_classes` classes have."""
    mass_of, of_class, keeping = lane_mass(traits), class_reader(traits), keeping_masks(traits)
    skip = 0 if traits.one_id else GROUP
    smoothed, number, double = traits.variant.smoothed, traits.form.number, np.float64
    zero, one = number(0), number(1)

    def add(o: Any, j: Any, scratch: Any) -> None:
        x = window(scratch.logits, j * GROUP, n_classes * GROUP)
        y = window(scratch.labels, j * skip, n_classes * GROUP)
        mask = window(scratch.masks, j * GROUP, n_classes * GROUP)
        sums, gaps, masses = scratch.sums, scratch.part_gaps, scratch.part_masses
        sum_classes(o, j, x, y, mask, sums.shares, sums.largest, gaps, masses)
        widen(gaps, sums.gaps)
        if with_masses:
            widen(masses, sums.masses)

    def sum_classes(
        o: Any,
        j: Any,
        x: Any,
        labels: Any,
        mask: Any,
        shares: Any,
        largest: Any,
        gaps: Any,
        masses: Any,
    ) -> None:
        disjoint()
        numbers = of_class(o, j)
        for r in range(GROUP):
            gap = zero
            total = zero
            share = shares[r] if smoothed else zero
            for i in range(n_classes):
                s = i * GROUP + r
                of_row = mask[s] if keeping else one
                t = mass_of(o, j + i, labels[i * skip + r], numbers, of_row, share)
                gap += term(t, x[s], largest[r], x[s] == largest[r])
                total += t
            gaps[r] = gap
            masses[r] = total

    # In a loop of its own: beside float64, LLVM takes half of the lanes at a time.
    def widen(part: Any, sums: Any) -> None:
        disjoint()
        for r in range(GROUP):
            sums[r] += double(part[r])

    return add


def _sums_of_lanes(traits: Traits) -> Function:
    _, gap_term, finite_gap_term = masses(traits)
    masked = traits.masked
    # The mask and the weight of a class are looked up before the loop over rows, which with either
    # is a loop for one class.
    one_by_one = traits.variant.class_weighted or traits.variant.class_masked
    abreast = 1 if one_by_one else ABREAST
    # With -inf for each class that is out, gaps are often infinite; without, hardly ever.
    often = gap_term if masked else finite_gap_term
    several, one_class = (_lane_adder(traits, n, often, True) for n in (abreast, 1))
    add_all = class_by_class(several, one_class, abreast)
    add_any_gaps = _lane_adder(traits, 1, gap_term, False)

    def all_finite(numbers: Any, n: Any) -> Any:
        found = True
        for r in range(n):
            found &= abs(numbers[r]) < np.inf
        return found

    def replace_infinite(gaps: Any, numbers: Any) -> None:
        disjoint()
        for r in range(GROUP):
            gaps[r] = select(abs(gaps[r]) < np.inf, gaps[r], numbers[r])

    def sum_labels(o: Any, rows: Any, scratch: Any) -> None:
        c, sums, finite_gaps = rows.n_classes, scratch.sums, scratch.finite_gaps
        fill(sums.gaps, 0.0)
        fill(sums.masses, 0.0)
        add_all(o, c, scratch)
        if not (masked or all_finite(sums.gaps, rows.y_pred.size // c)):
            # The other rows keep their gaps: the bits of a row do not depend on its neighbours.
            copy(sums.gaps, finite_gaps)
            fill(sums.gaps, 0.0)
            for j in range(c):
                add_any_gaps(o, j, scratch)
            replace_infinite(finite_gaps, sums.gaps)
            copy(finite_gaps, sums.gaps)

    return sum_labels
