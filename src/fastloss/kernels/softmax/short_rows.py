"""Softmax losses of rows of few classes, with SIMD across rows.

A row of 10 numbers does not fill a vector. So a group of rows is transposed: each class becomes a
lane, a run of `GROUP` numbers, one for each row, and the loops go along the lanes. A group that is
not full is computed as if it were: nobody reads what stands in the places of the rows it lacks.
Arrays that lie class by class, as boosters have them, are lanes already.
"""

from typing import Any

import numpy as np

from ...compiler.bits import add_product, count, disjoint, larger, prefetch, window
from ..form import Function
from ..row_groups import BLOCK, GROUP, rowwise
from ..scalar import lift_unit
from ..tiles import copy, fill
from .formulas import exponentials
from .group_sums import finisher
from .labels import lane_label_sums
from .lanes import ABREAST, lane, loader, memory
from .outputs import group_writer
from .row_scores import lane_scores, moment_terms, scorer
from .traits import Traits

# The most classes that are computed across rows, by arithmetic. In float32, 100 take 27 ns a row,
# and 38 along the row; 128 take 36 and 35, and the gradient 57 and 53. More numbers than that leave
# the first-level cache; in float64 (on Zen 3), 32 take 68 and 66 ns, and 64 141 and 113.
FEW = {"float32": 112, "float64": 44}
# Exponentials that are added up one after the other, half of the most that there are. Equal ones
# are all rounded the same way: of 112 the error would be 15 units in the last place, of 56 it is 7.
EXPS_IN_TURN = max(FEW.values()) // 2


def few_classes(traits: Traits) -> Function:
    """What to do with a block of rows whose exponentials are summed across rows."""
    room, scratch_in = memory(traits)
    load, write, finish = loader(traits), group_writer(traits), finisher(traits)
    raise_largest, sum_labels, sum_exps = _raiser(traits), lane_label_sums(traits), _adder(traits)
    rank, score = lane_scores(traits), scorer(traits)
    labelled, capped = traits.form.labelled, traits.variant.capped
    scoring, with_grad = traits.form.scored, traits.form.with_grad
    minus_inf = traits.form.number(-np.inf)

    def group_size(n_classes: Any) -> Any:
        return GROUP

    def group(rows: Any) -> None:
        o, c, scratch = rows.options, rows.n_classes, scratch_in(rows)
        sums = scratch.sums
        load(o, rows, scratch)
        fill(sums.largest, minus_inf)
        for j in range(c):
            raise_largest(lane(scratch.logits, j), sums.largest)
        if labelled:
            sum_labels(o, rows, scratch)
        else:
            fill(sums.gaps, 0.0)
            if scoring:
                fill(sums.masses, 1.0)
        if scoring:
            rank(o, c, scratch)
        sum_exps(o, rows, scratch)
        if capped:
            copy(sums.largest, sums.capped)
        finish(o, sums, rows.weights, rows.scale, rows.losses, GROUP)
        if scoring:
            score(o, sums, scratch.moments, rows, rows.y_pred.size // c)
        if with_grad:
            write(o, rows, scratch)

    return rowwise(group, group_size, room, traits.form, traits.ignoring)


def _raiser(traits: Traits) -> Function:
    # NaN is not looked for here; it shows in the sum of the exponentials.
    def raise_largest(x: Any, largest: Any) -> None:
        disjoint()
        for r in range(GROUP):
            largest[r] = larger(x[r], largest[r])

    return raise_largest


def _classes_adder(traits: Traits, n_classes: int) -> Function:
    """The function that adds up the exponentials of `n_classes` classes, and keeps them."""
    _, gap_in_reach, exp_terms = exponentials(traits)
    moments_of, with_spread = moment_terms(traits.form.number), traits.form.with_spread
    with_grad, scoring = traits.form.with_grad, traits.form.scored
    number, zero, none = traits.form.number, traits.form.number(0), np.int32(0)

    def add_exps(o: Any, j: Any, scratch: Any, constants: Any) -> None:
        x = window(scratch.logits, j * GROUP, n_classes * GROUP)
        sums = scratch.sums
        add(o, x, sums.largest, sums.rest, scratch.others, scratch.moments, constants)

    def add(
        o: Any, x: Any, largest: Any, rest: Any, others: Any, moments: Any, constants: Any
    ) -> None:
        disjoint()
        for r in range(GROUP):
            total = rest[r]
            n_others = none
            squares = zero
            gaps = zero
            square_gaps = zero
            for i in range(n_classes):
                x_r = x[i * GROUP + r]
                is_largest = x_r == largest[r]
                kept, factor, power = exp_terms(o, x_r, largest[r], is_largest, constants)
                total = add_product(total, factor, power)
                n_others = count(n_others, not is_largest)
                if scoring:
                    gap_r = gap_in_reach(o, x_r, largest[r], constants)
                    square, gap, square_gap = moments_of(factor * power, gap_r, is_largest)
                    squares += square
                    gaps -= gap
                    if with_spread:
                        square_gaps += square_gap
                if with_grad:
                    x[i * GROUP + r] = kept
            rest[r] = total
            others[r] += number(n_others)
            if scoring:
                moments.squares[r] += squares
                moments.gaps[r] += gaps
                if with_spread:
                    moments.square_gaps[r] += square_gaps

    return add_exps


def _adder(traits: Traits) -> Function:
    """The function that adds up exponentials, and what scores need of them, and keeps them."""
    constants = exponentials(traits).constants
    add_one, add_several = (_classes_adder(traits, n) for n in (1, ABREAST))
    labelled, scoring = traits.form.labelled, traits.form.scored
    row_masked, soft = traits.row_masked, labelled and not (traits.one_id or traits.sparse)
    class_major, number = traits.form.class_major, traits.form.number
    begun = labelled and traits.unit_masses  # by what the labels say
    zero, unit = number(0), number(lift_unit(number))

    def add_to(sums: Any, parts: Any) -> None:
        disjoint()
        for r in range(GROUP):
            sums[r] += parts[r]

    def settle_moments(moments: Any) -> None:
        disjoint()
        for r in range(GROUP):
            moments.squares[r] *= unit * unit
            moments.gaps[r] *= unit
            moments.square_gaps[r] *= unit

    def settle_sums(rest: Any, maxima: Any, n_classes: Any) -> None:
        """Find the rest from the lifted one, and the number of maxima from that of the others."""
        for r in range(GROUP):
            rest[r] *= unit
            maxima[r] = number(n_classes) - maxima[r]

    def fetch_next(rows: Any, n_classes: Any, j: Any) -> None:
        """Ask for what the next group has of class j, or as much."""
        ahead = (n_classes + j) * GROUP
        if not class_major:
            prefetch(rows.y_pred, ahead, GROUP)
        if row_masked:
            prefetch(rows.mask, ahead, GROUP)
        if soft:
            # Labels of this block were just read; those of the next one will be first.
            prefetch(rows.y_true, BLOCK + j * GROUP, GROUP)

    def sum_exps(o: Any, rows: Any, scratch: Any) -> None:
        sums, moments, c = scratch.sums, scratch.moments, rows.n_classes
        held = constants()
        if not begun:
            fill(sums.rest, zero)
        fill(scratch.others, zero)
        n_together = c & -ABREAST
        for j in range(c):
            fetch_next(rows, c, j)
            if j == EXPS_IN_TURN:
                copy(sums.rest, scratch.part_rest)
                fill(sums.rest, zero)
            if j >= n_together:
                add_one(o, j, scratch, held)
            elif j % ABREAST == 0:
                add_several(o, j, scratch, held)
        if c > EXPS_IN_TURN:
            add_to(sums.rest, scratch.part_rest)
        settle_sums(sums.rest, scratch.others, c)
        if scoring:
            settle_moments(moments)

    return sum_exps
