"""Softmax losses of rows of few classes, with SIMD across rows.

A row of 10 numbers does not fill a vector. So a group of rows is transposed: each class becomes a
lane, a run of `GROUP` numbers, one for each row, and the loops go along the lanes. A group that is
not full is computed as if it were: what stands in the places of the rows it lacks, nobody reads.
"""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import (
    LINE_BYTES,
    disjoint,
    join_pairs,
    larger,
    prefetch,
    select,
    split_pairs,
    transpose,
    window,
)
from ...compiler.processor import vector_bytes
from ..form import Form, Function
from ..row_groups import BLOCK, GROUP, N_MOMENTS, rowwise
from ..scalar import lift_unit
from ..storage import decoder
from ..tiles import copy, fill, put
from .formulas import SUMS, Variant, formulas
from .row_scores import moment_terms, moments_in, scorer

# The most classes that are computed in this way, by arithmetic. In float32, 100 take 27 ns a row,
# and 38 along the row; 128 take 36 and 35, and the gradient 57 and 53. More numbers than that leave
# the first-level cache; in float64 (on Zen 3), 32 take 68 and 66 ns, and 64 141 and 113.
FEW = {"float32": 112, "float64": 44}
# Classes whose labels are looked at together; what they add up to goes on in float64.
ABREAST = 4
# Exponentials that are added up one after the other, half of the most that there are. Equal ones
# are all rounded the same way: of 112 the error would be 15 units in the last place, of 56 it is 7.
TERMS = max(FEW.values()) // 2


class Scratch(NamedTuple):
    sums: Any
    at_label: Any  # the logit of each row at its label
    parts: Any  # what some classes add to the gaps, and to the masses
    rows: Any  # the group as it came, decoded
    # Lanes:
    lanes: Any  # logits, then exponentials, then gradients
    labels: Any  # class ids as numbers, or soft labels
    hesses: Any
    slopes: Any  # the derivatives of capped logits
    bends: Any
    masks: Any  # 1 where a class is in
    vectors: Any
    moments: Any  # () or `Moments`


def few_classes(form: Form, variant: Variant, ignoring: bool) -> Function:
    """What to do with a block of rows whose exponentials are summed across rows."""
    formula = formulas(form, variant)
    inside, cap, mass, output = formula.inside, formula.cap, formula.mass, formula.output
    scaled_gap, exp_terms = formula.scaled_gap, formula.exp_terms
    gap_term, finite_gap_term = formula.gap_term, formula.finite_gap_term
    sums_in, of_row, finish = formula.sums_in, formula.of_row, formula.finish
    decode_true, decode, encode = form.decode_true, form.decode_pred, form.encode
    decode_mask = decoder(form.mask or "bool", form.arithmetic)
    decode_probability = decoder(form.probabilities or "float64", form.arithmetic)
    decode_vector = decoder(form.vector or "float64", form.arithmetic)
    with_grad, with_hess = form.with_grad, form.with_hess
    labelled, sparse = form.labelled, bool(form.probabilities)
    # Whether a row has one class id, and labels are not spread out over lanes.
    by_id = form.class_ids and not sparse
    class_weighted, smoothed = variant.class_weighted, variant.smoothed
    class_masked, row_masked = variant.class_masked, bool(form.mask)
    masked = class_masked or row_masked
    capped, linked = variant.capped, variant.link is not None
    multiplying = form.output == "hvp"
    logarithmic = form.output == "log_proba"
    scoring, with_spread, score = form.scored, form.with_spread, scorer(form, variant)
    moments_of = moment_terms(form.number)
    bending = capped and (with_hess or multiplying)
    # Whether masks are needed after logits have been masked.
    keeping_masks = row_masked and (capped or (labelled and not (by_id and not smoothed)))
    number, double = form.number, np.float64
    zero, one, nan, minus_inf = number(0), number(1), number(np.nan), number(-np.inf)
    unit = number(lift_unit(number))
    one_hot = by_id and not smoothed
    leaving_out = form.weighted or ignoring or class_weighted
    # A vector of numbers: with squares of 16 on Zen 3, which has vectors of 8, the loss of 2
    # classes takes 31% longer, and that of 10 or 100 7%. Of short vectors LLVM takes two.
    side = larger(vector_bytes(), LINE_BYTES // 2) // np.dtype(number).itemsize
    # Whether numbers are stored as they are computed: then rows are transposed where they lie.
    as_stored = form.pred == form.arithmetic
    stored_labels = form.true == form.arithmetic

    def group_size(n_classes: Any) -> Any:
        return GROUP

    # Squares reach over the edges: beyond the last row, and beyond the last class.

    def n_in_rows(n_classes: Any) -> Any:
        return GROUP * n_classes + side

    def n_in_lanes(n_classes: Any) -> Any:
        return GROUP * ((n_classes + (side - 1)) & -side)

    n_kinds = 1 + with_hess + (capped and with_grad) + bending + keeping_masks + multiplying

    def room(n_classes: Any) -> Any:
        n_lanes = n_in_lanes(n_classes)
        n_labels = GROUP if by_id else n_lanes
        n_numbers = SUMS + 3 * GROUP + n_in_rows(n_classes) + n_labels + n_kinds * n_lanes
        if scoring:
            n_numbers += N_MOMENTS * GROUP
        return n_numbers, 0 if as_stored else with_grad * n_in_rows(n_classes)

    def scratch_in(numbers: Any, doubles: Any, n_classes: Any) -> Any:
        n_rows, n_lanes = n_in_rows(n_classes), n_in_lanes(n_classes)
        n_labels = GROUP if by_id else n_lanes
        rows = SUMS + 3 * GROUP
        labels = rows + n_rows
        lanes = labels + n_labels
        hesses = lanes + n_lanes
        slopes = hesses + n_lanes * with_hess
        bends = slopes + n_lanes * (capped and with_grad)
        masks = bends + n_lanes * bending
        vectors = masks + n_lanes * keeping_masks
        return Scratch(
            sums_in(numbers, doubles),
            window(numbers, SUMS, GROUP),
            window(numbers, SUMS + GROUP, 2 * GROUP),
            window(numbers, rows, n_rows),
            window(numbers, lanes, n_lanes),
            window(numbers, labels, n_labels),
            window(numbers, hesses, n_lanes),
            window(numbers, slopes, n_lanes),
            window(numbers, bends, n_lanes),
            window(numbers, masks, n_lanes),
            window(numbers, vectors, n_lanes),
            moments_in(numbers, vectors + n_lanes * multiplying) if scoring else (),
        )

    def lane(lanes: Any, j: Any) -> Any:
        return window(lanes, j * GROUP, GROUP)

    # -----------------------------------------------------------------------------------------
    # Between rows and lanes

    def decode_rows(decode: Function, stored_rows: Any, rows: Any) -> None:
        disjoint()
        for i in range(stored_rows.size):
            rows[i] = number(decode(stored_rows[i]))

    def decode_masked_rows(stored_rows: Any, mask: Any, rows: Any) -> None:
        disjoint()
        for i in range(stored_rows.size):
            rows[i] = select(mask[i] != 0, number(decode(stored_rows[i])), minus_inf)

    def encode_rows(rows: Any, encoded: Any, size: Any) -> None:
        disjoint()
        for i in range(size):
            encoded[i] = encode(rows[i])

    def to_lanes(rows: Any, n_classes: Any, lanes: Any) -> None:
        if n_classes == 2:  # a square would be empty but for two columns
            split_pairs(rows, lanes, GROUP)
            return
        for r in range(0, GROUP, side):
            for j in range(0, n_classes, side):
                transpose(rows, r * n_classes + j, n_classes, lanes, j * GROUP + r, GROUP, side)

    def from_lanes(lanes: Any, n_classes: Any, rows: Any) -> None:
        if n_classes == 2:
            join_pairs(lanes, rows, GROUP)
            return
        # What a square writes beyond the end of a row is the start of the next row. So the starts
        # of rows are written last.
        last = (n_classes - 1) // side * side
        for r in range(0, GROUP, side):
            for back in range(0, n_classes, side):
                j = last - back
                transpose(lanes, j * GROUP + r, GROUP, rows, r * n_classes + j, n_classes, side)

    def scatter_probabilities(rows: Any, labels: Any) -> None:
        """Lanes of soft labels from the class ids of each row and their probabilities."""
        k, c = rows.n_labels, rows.n_classes
        fill(labels, zero)
        for r in range(rows.y_pred.size // c):
            for i in range(r * k, (r + 1) * k):
                j = decode_true(rows.y_true[i])
                if j < 0 or j >= c:
                    # The labels were checked, so they changed since: stay inside the arrays.
                    labels[r] = nan
                else:
                    labels[j * GROUP + r] += decode_probability(rows.probabilities[i])

    # -----------------------------------------------------------------------------------------
    # What is done along the lane of class j

    def cap_lane(o: Any, x: Any, slopes: Any, bends: Any) -> None:
        disjoint()
        for r in range(GROUP):
            capped_r, slope, bend = cap(o, x[r])
            x[r] = capped_r
            if with_grad:
                slopes[r] = slope
            if bending:
                bends[r] = bend

    def of_class(o: Any, j: Any) -> Any:
        """What the mask for all rows says, and the weight."""
        return o.class_mask[j] if class_masked else 1, o.class_weight[j] if class_weighted else 1.0

    def mask_lane(o: Any, j: Any, x: Any, mask: Any, shares: Any) -> None:
        disjoint()
        class_mask, _ = of_class(o, j)
        for r in range(GROUP):
            here = inside(class_mask, mask[r] if keeping_masks else one)
            x[r] = select(here, x[r], minus_inf)
            if smoothed and row_masked:
                shares[r] += select(here, one, zero)  # so far, the number of classes that are in

    def divide_shares(o: Any, shares: Any) -> None:
        for r in range(GROUP):
            shares[r] = number(o.smoothing) / shares[r]

    # NaN is not looked for here; it shows in the sum of the exponentials.
    def raise_largest(x: Any, largest: Any) -> None:
        disjoint()
        for r in range(GROUP):
            largest[r] = larger(x[r], largest[r])

    def find_label(o: Any, j: Any, x: Any, labels: Any, at_label: Any, masses: Any) -> None:
        disjoint()
        t = mass(o, one, of_class(o, j)[1], True, zero)
        for r in range(GROUP):
            here = labels[r] == number(j)
            at_label[r] = select(here, x[r], at_label[r])
            if class_weighted:
                masses[r] = select(here, double(t), masses[r])

    def mass_of(o: Any, j: Any, label: Any, numbers: Any, of_row: Any, share: Any) -> Any:
        label = select(label == number(j), one, zero) if by_id else label
        here = inside(numbers[0], of_row) if masked else True
        return mass(o, label, numbers[1], here, share)

    def gaps_adder(n_classes: int, term: Function, with_masses: bool = True) -> Function:
        """The function that adds what so many classes add to the gaps and the masses."""
        skip = 0 if by_id else GROUP

        def add(o: Any, j: Any, scratch: Any) -> None:
            x = window(scratch.lanes, j * GROUP, n_classes * GROUP)
            y = window(scratch.labels, j * skip, n_classes * GROUP)
            mask = window(scratch.masks, j * GROUP, n_classes * GROUP)
            sums, parts = scratch.sums, scratch.parts
            gaps, masses = window(parts, 0, GROUP), window(parts, GROUP, GROUP)
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
                    of_row = mask[s] if keeping_masks else one
                    t = mass_of(o, j + i, labels[i * skip + r], numbers, of_row, share)
                    gap += term(t, x[s], largest[r], x[s] == largest[r])
                    total += t
                gaps[r] = gap
                masses[r] = total

        return add

    # In a loop of its own: beside float64, LLVM takes half of the lanes at a time.
    def widen(part: Any, sums: Any) -> None:
        disjoint()
        for r in range(GROUP):
            sums[r] += double(part[r])

    # The numbers of a class are looked up before the loop, so there they are of one class.
    abreast = 1 if class_weighted or class_masked else ABREAST
    # With -inf for each class that is out, gaps are often infinite; without, hardly ever.
    often = gap_term if masked else finite_gap_term
    add_gaps_of_one, add_gaps_of_several = gaps_adder(1, often), gaps_adder(abreast, often)
    add_any_gaps_of_one = gaps_adder(1, gap_term, with_masses=False)

    def all_finite(numbers: Any, n: Any) -> Any:
        found = True
        for r in range(n):
            found &= abs(numbers[r]) < np.inf
        return found

    def replace_infinite(gaps: Any, numbers: Any) -> None:
        disjoint()
        for r in range(GROUP):
            gaps[r] = select(abs(gaps[r]) < np.inf, gaps[r], numbers[r])

    def count_above(j: Any, x: Any, labels: Any, at_label: Any, ranks: Any) -> None:
        disjoint()
        for r in range(GROUP):
            equal_before = (x[r] == at_label[r]) & (labels[r] > number(j))
            ranks[r] += select((x[r] > at_label[r]) | equal_before, one, zero)

    def find_largest(j: Any, x: Any, largest: Any, predictions: Any) -> None:
        disjoint()
        for r in range(GROUP):
            predictions[r] = select(x[r] == largest[r], number(j), predictions[r])

    def add_to(sums: Any, parts: Any) -> None:
        disjoint()
        for r in range(GROUP):
            sums[r] += parts[r]

    def lower(sums: Any, unit: Any) -> None:
        for r in range(GROUP):
            sums[r] *= unit

    def settle_sums(rest: Any, maxima: Any, n_classes: Any) -> None:
        """From the lifted rest, and the number of those that are not the largest."""
        for r in range(GROUP):
            rest[r] *= unit
            maxima[r] = number(n_classes) - maxima[r]

    def add_exps(o: Any, x: Any, largest: Any, rest: Any, others: Any, moments: Any) -> None:
        disjoint()
        for r in range(GROUP):
            is_largest = x[r] == largest[r]
            exp_r, term, other = exp_terms(o, x[r], largest[r], is_largest)
            rest[r] += term
            others[r] += other
            if scoring:
                gap_r = scaled_gap(o, x[r], largest[r])
                square, gap, square_gap = moments_of(term, gap_r, is_largest)
                moments.squares[r] += square
                moments.gaps[r] -= gap
                if with_spread:
                    moments.square_gaps[r] += square_gap
            if logarithmic:
                x[r] = select(is_largest, zero, scaled_gap(o, x[r], largest[r]))
            elif with_grad:
                x[r] = exp_r

    def add_dots(
        exps: Any, slopes: Any, vector: Any, probability: Any, dots: Any, rest_dots: Any
    ) -> None:
        disjoint()
        for r in range(GROUP):
            v = vector[r] * slopes[r] if capped else vector[r]
            term = exps[r] * probability[r] * v
            dots[r] += term
            rest_dots[r] += select(exps[r] == one, zero, term)

    def write_outputs(
        o: Any,
        j: Any,
        exps: Any,
        labels: Any,
        mask: Any,
        slopes: Any,
        bends: Any,
        vector: Any,
        sums: Any,
        hesses: Any,
    ) -> None:
        disjoint()
        numbers = of_class(o, j)
        for r in range(GROUP):
            row = of_row(sums, r)
            if not labelled:
                t = zero
            elif one_hot:
                t = select(labels[r] == number(j), one if linked else row.total, zero)
            else:
                label, share = labels[r], sums.shares[r] if smoothed else zero
                t = mass_of(o, j, label, numbers, mask[r] if keeping_masks else one, share)
            slope = slopes[r] if capped else one
            bend = bends[r] if bending else zero
            v_r = vector[r] if multiplying else zero
            grad, hess = output(o, exps[r], t, slope, bend, v_r, row)
            if leaving_out:
                grad = select(row.factor == zero, zero, grad)
                hess = select(row.factor == zero, zero, hess)
            exps[r] = grad
            if with_hess:
                hesses[r] = hess

    # -----------------------------------------------------------------------------------------

    def gaps_at_label(at_label: Any, largest: Any, gaps: Any, masses: Any) -> None:
        disjoint()
        for r in range(GROUP):
            t = number(masses[r]) if class_weighted else one
            gap_mass = one if linked else t
            is_largest = at_label[r] == largest[r]
            gaps[r] = double(gap_term(gap_mass, at_label[r], largest[r], is_largest))
            # A label that is no class, as one that changed since it was checked, left NaN here.
            masses[r] = double(select(at_label[r] == at_label[r], t, nan))

    def sum_labels(o: Any, rows: Any, scratch: Any) -> None:
        c = rows.n_classes
        sums, lanes, labels, at_label = (
            scratch.sums,
            scratch.lanes,
            scratch.labels,
            scratch.at_label,
        )
        if one_hot:
            fill(at_label, nan)
            for j in range(c):
                find_label(o, j, lane(lanes, j), labels, at_label, sums.masses)
            gaps_at_label(at_label, sums.largest, sums.gaps, sums.masses)
        else:
            fill(sums.gaps, 0.0)
            fill(sums.masses, 0.0)
            n_abreast = c - c % abreast
            for j in range(0, n_abreast, abreast):
                add_gaps_of_several(o, j, scratch)
            for j in range(n_abreast, c):
                add_gaps_of_one(o, j, scratch)
            if not (masked or all_finite(sums.gaps, rows.y_pred.size // c)):
                # The other rows keep theirs: the bits of a row do not depend on its neighbours.
                copy(sums.gaps, rows.losses)
                fill(sums.gaps, 0.0)
                for j in range(c):
                    add_any_gaps_of_one(o, j, scratch)
                replace_infinite(rows.losses, sums.gaps)
                copy(rows.losses, sums.gaps)

    def sum_lanes(o: Any, rows: Any, scratch: Any) -> None:
        sums, lanes, c = scratch.sums, scratch.lanes, rows.n_classes
        fill(sums.largest, minus_inf)
        for j in range(c):
            raise_largest(lane(lanes, j), sums.largest)
        if labelled:
            sum_labels(o, rows, scratch)
        else:
            fill(sums.gaps, 0.0)
            fill(sums.masses, 1.0)
        moments = scratch.moments
        if scoring:
            for sum_ in moments:
                fill(sum_, zero)
            for back in range(c):
                j = c - 1 - back
                count_above(j, lane(lanes, j), scratch.labels, scratch.at_label, moments.ranks)
                find_largest(j, lane(lanes, j), sums.largest, moments.predictions)
        fill(sums.rest, zero)
        first_rest = window(scratch.parts, 0, GROUP)
        others = sums.maxima
        fill(others, zero)
        for j in range(c):
            ahead = (c + j) * GROUP  # in the next group
            prefetch(rows.y_pred, ahead, GROUP)
            if row_masked:
                prefetch(rows.mask, ahead, GROUP)
            if labelled and not by_id and not sparse:
                # Labels of this block were just read; those of the next one will be first.
                prefetch(rows.y_true, BLOCK + j * GROUP, GROUP)
            if j == TERMS:
                copy(sums.rest, first_rest)
                fill(sums.rest, zero)
            add_exps(o, lane(lanes, j), sums.largest, sums.rest, others, moments)
        if c > TERMS:
            add_to(sums.rest, first_rest)
        settle_sums(sums.rest, others, c)
        if scoring:
            lower(moments.squares, unit * unit)
            lower(moments.gaps, unit)
            lower(moments.square_gaps, unit)

    def load(o: Any, rows: Any, scratch: Any) -> None:
        """Bring a group into lanes: labels, logits as they count, and what else there is."""
        c, lanes = rows.n_classes, scratch.lanes
        # Squares reach over the end of the last row, so something must lie behind it.
        in_place = rows.y_pred.size == GROUP * c and rows.n_behind >= side
        if by_id:
            decode_rows(decode_true, rows.y_true, scratch.labels)
        elif sparse:
            scatter_probabilities(rows, scratch.labels)
        elif labelled:
            given = scratch.rows
            if stored_labels and in_place:
                given = rows.y_true
            else:
                decode_rows(decode_true, rows.y_true, given)
            to_lanes(given, c, scratch.labels)
        if keeping_masks:
            decode_rows(decode_mask, rows.mask, scratch.rows)
            to_lanes(scratch.rows, c, scratch.masks)
        if multiplying:
            decode_rows(decode_vector, rows.vector, scratch.rows)
            to_lanes(scratch.rows, c, scratch.vectors)
        source = scratch.rows
        if row_masked and not keeping_masks:
            decode_masked_rows(rows.y_pred, rows.mask, source)
        elif as_stored and in_place:
            source = rows.y_pred
        else:
            decode_rows(decode, rows.y_pred, source)
        to_lanes(source, c, lanes)
        if capped:
            for j in range(c):
                cap_lane(o, lane(lanes, j), lane(scratch.slopes, j), lane(scratch.bends, j))
        shares = scratch.sums.shares
        if smoothed:
            fill(shares, zero if row_masked else number(o.share))
        if class_masked or keeping_masks:
            for j in range(c):
                mask_lane(o, j, lane(lanes, j), lane(scratch.masks, j), shares)
        if smoothed and row_masked:
            divide_shares(o, shares)

    def write(
        lanes: Any, n_classes: Any, decoded: Any, encoded: Any, out: Any, streamed: Any
    ) -> None:
        from_lanes(lanes, n_classes, decoded)
        if as_stored:
            put(decoded, out, streamed)
        else:
            encode_rows(decoded, encoded, out.size)
            put(encoded, out, streamed)

    def group(rows: Any) -> None:
        o = rows.options
        c = rows.n_classes
        scratch = scratch_in(rows.numbers, rows.doubles, c)
        sums, lanes, labels = scratch.sums, scratch.lanes, scratch.labels
        load(o, rows, scratch)
        sum_lanes(o, rows, scratch)
        if capped:
            copy(sums.largest, sums.capped)
        finish(o, sums, rows.weights, rows.scale, rows.losses, GROUP)
        if scoring:
            score(o, sums, scratch.moments, rows, rows.y_pred.size // c)
        if with_grad:
            slopes, vectors = scratch.slopes, scratch.vectors
            if multiplying:
                fill(sums.dots, zero)
                fill(sums.rest_dots, zero)
                for j in range(c):
                    exps, slope, v = lane(lanes, j), lane(slopes, j), lane(vectors, j)
                    add_dots(exps, slope, v, sums.probability, sums.dots, sums.rest_dots)
            for j in range(c):
                write_outputs(
                    o,
                    j,
                    lane(lanes, j),
                    labels if by_id else lane(labels, j),
                    lane(scratch.masks, j),
                    lane(slopes, j),
                    lane(scratch.bends, j),
                    lane(vectors, j),
                    sums,
                    lane(scratch.hesses, j),
                )
            write(lanes, c, scratch.rows, rows.encoded, rows.grad_out, rows.streamed)
            if with_hess:
                hesses = scratch.hesses
                write(hesses, c, scratch.rows, rows.encoded, rows.hess_out, rows.streamed)

    return rowwise(group, group_size, room, form, ignoring)
