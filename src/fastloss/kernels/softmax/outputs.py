"""What is written for each class, when all is known of its row: derivatives, or probabilities.

First of long rows, part by part; then of short rows, a lane for each class.
"""

from typing import Any

import numpy as np

from ...compiler.bits import accumulate, disjoint, larger, select, smaller, window
from ..form import Function
from ..row_groups import CHUNK, GROUP
from ..tiles import fill, put
from .formulas import logits, output_formula
from .group_sums import row_reader
from .labels import lane_mass, part_masses
from .lanes import bending, class_reader, keeping_masks, lane, lane_writer
from .parts import STEP, part_exponentials, parts
from .traits import Traits

# -------------------------------------------------------------------------------------------------
# Of long rows

# Derivatives that are encoded and written at a time, where exponentials are kept and where not.
WRITTEN_OF_KEPT = 1 << 13
WRITTEN_ANEW = 1 << 11


def n_written(traits: Traits) -> int:
    """How many derivatives of a long row are written at a time."""
    return WRITTEN_OF_KEPT if traits.keeping else WRITTEN_ANEW


def row_writer(traits: Traits) -> tuple[Function, Function]:
    """The function that writes a long row, from what is kept of it or anew; and what ends a group.

    Streamed derivatives are made in spare memory. Those of rows that have room there are streamed
    by the second function, all of a group together: at the end of a row there mostly is a part of a
    line of memory, and the processor waits for it. On a Zen 3 rows of 300 classes so take 0.4, and
    such of 1,000 take 0.6 of the time that they take one by one.
    """
    part_of, _, top_of, _ = parts(traits)
    keep, find_dots = part_exponentials(traits).keep, _dots_finder(traits)
    write_part, write_ids = _part_writer(traits), _id_writer(traits)
    of_row, encode = row_reader(traits), traits.form.encode
    labelled, by_id, multiplying = traits.form.labelled, traits.by_id, traits.multiplying
    keeping, leaving_out, with_hess = traits.keeping, traits.leaving_out, traits.form.with_hess
    # Whether what is written for a class follows from what was kept of it, and the row.
    kept_is_all = by_id and not (traits.variant.smoothed or traits.variant.capped or multiplying)
    # Whether what is written twice, for a class id, is made of the logit: it must still be there.
    aside = labelled and by_id and traits.variant.capped
    written, zero = n_written(traits), traits.form.number(0)

    def place(rows: Any, out: Any, start: Any, n: Any, spare: Any) -> Any:
        """Where n derivatives from `start` on are written."""
        if not (aside or rows.streamed):
            return window(out, start, n)
        return window(rows.encoded, spare + (start if rows.n_classes <= written else 0), n)

    def write_row(o: Any, rows: Any, row: Any, kept: Any, sums: Any) -> None:
        c = rows.n_classes
        begin = row * c
        left_out = leaving_out and sums.factor[row] == zero
        top = top_of(o, sums.largest[row])
        if multiplying and not left_out:
            find_dots(o, rows, row, kept, top, sums)
        numbers, share = of_row(sums, row), sums.shares[row]
        # Where only what is kept is read, loops go over whole steps, the last of which reaches back
        # over what was written before.
        stepping = keeping and kept_is_all and c >= STEP
        start = 0
        while start < c:
            n = smaller(written, c - start)
            if stepping:
                start = smaller(start, c - STEP)
                n = larger(n & -STEP, STEP)
            grads = place(rows, rows.grad_out, begin + start, n, 0)
            hesses = place(rows, rows.hess_out, begin + start, n, written) if with_hess else ()
            if left_out:
                fill(grads, encode(zero))
                if with_hess:
                    fill(hesses, encode(zero))
            else:
                part = part_of(o, rows, row, start, n)
                kept_part = window(kept, start if keeping else 0, n)
                if not keeping:
                    keep(o, part, top, kept_part)
                write_part(o, part, kept_part, share, numbers, grads, hesses)
                if labelled and by_id:
                    write_ids(o, rows, row, start, kept_part, share, numbers, grads, hesses)
            if (aside or rows.streamed) and c > written:
                put(grads, window(rows.grad_out, begin + start, n), rows.streamed)
                if with_hess:
                    put(hesses, window(rows.hess_out, begin + start, n), rows.streamed)
            start += n

    def end_group(rows: Any) -> None:
        if (aside or rows.streamed) and rows.n_classes <= written:
            put(rows.encoded, rows.grad_out, rows.streamed)
            if with_hess:
                spare = window(rows.encoded, written, rows.hess_out.size)
                put(spare, rows.hess_out, rows.streamed)

    return write_row, end_group


def _dots_finder(traits: Traits) -> Function:
    part_of, keep, cap = parts(traits).part_of, part_exponentials(traits).keep, logits(traits).cap
    decode, decode_vector = traits.form.decode_pred, traits.form.decode_vector
    keeping, capped, number = traits.keeping, traits.variant.capped, traits.form.number
    zero, one, double = number(0), number(1), np.float64

    def dots_of(o: Any, exps: Any, part: Any) -> Any:
        """The sum of e_j v_j, and that over x_j < m."""
        total = zero
        rest = zero
        for j in range(exps.size):
            exp_j = exps[j]  # first: after the slope, LLVM would add up in another order
            slope = cap(o, decode(part.x[j]))[1] if capped else one
            term = exp_j * (slope * decode_vector(part.vector[j]))
            total = accumulate(total, term)
            rest = accumulate(rest, select(exp_j == one, zero, term))
        return double(total), double(rest)

    def find_dots(o: Any, rows: Any, row: Any, kept: Any, top: Any, sums: Any) -> None:
        total = 0.0
        rest = 0.0
        for start in range(0, rows.n_classes, CHUNK):
            n = smaller(CHUNK, rows.n_classes - start)
            part, exps = part_of(o, rows, row, start, n), window(kept, start if keeping else 0, n)
            if not keeping:
                keep(o, part, top, exps)
            dots = dots_of(o, exps, part)
            total += dots[0]
            rest += dots[1]
        sums.dots[row] = number(total) * sums.probability[row]
        sums.rest_dots[row] = number(rest) * sums.probability[row]

    return find_dots


def _class_output(traits: Traits) -> Function:
    cap, output = logits(traits).cap, output_formula(traits)
    decode, decode_vector = traits.form.decode_pred, traits.form.decode_vector
    capped, multiplying = traits.variant.capped, traits.multiplying
    zero, one = traits.form.number(0), traits.form.number(1)

    def output_of(o: Any, part: Any, j: Any, kept_j: Any, t: Any, numbers: Any) -> Any:
        """What is written for class j of a part, and its Hessian."""
        slope, bend = one, zero
        if capped:
            _, slope, bend = cap(o, decode(part.x[j]))
        v_j = decode_vector(part.vector[j]) if multiplying else zero
        return output(o, kept_j, t, slope, bend, v_j, numbers)

    return output_of


def _part_writer(traits: Traits) -> Function:
    mass_of, output_of = part_masses(traits).mass_of, _class_output(traits)
    encode, with_hess = traits.form.encode, traits.form.with_hess

    def write_part(
        o: Any, part: Any, kept: Any, share: Any, numbers: Any, grads: Any, hesses: Any
    ) -> None:
        disjoint()
        for j in range(kept.size):
            t = mass_of(o, part, j, share)
            grad, hess = output_of(o, part, j, kept[j], t, numbers)
            grads[j] = encode(grad)
            if with_hess:
                hesses[j] = encode(hess)

    return write_part


def _id_writer(traits: Traits) -> Function:
    part_of, output_of = parts(traits).part_of, _class_output(traits)
    mass_of, n_ids, mass_at_id = part_masses(traits)
    one_hot, linked, with_hess = traits.one_hot, traits.linked, traits.form.with_hess
    encode, one = traits.form.encode, traits.form.number(1)

    def write_ids(
        o: Any,
        rows: Any,
        row: Any,
        start: Any,
        kept: Any,
        share: Any,
        numbers: Any,
        grads: Any,
        hesses: Any,
    ) -> None:
        """Write again what the mass of the class ids changes, in the part from `start` on."""
        whole = part_of(o, rows, row, 0, rows.n_classes)
        for i in range(n_ids(rows)):
            label, t = mass_at_id(o, rows, row, i)
            j = label - start
            if j < 0 or j >= kept.size:
                continue
            if one_hot:
                t = one if linked else numbers.total
            else:
                # A class id that is there twice has both masses.
                for k in range(rows.n_labels):
                    other, more = mass_at_id(o, rows, row, k)
                    if k != i and other == label:
                        t += more
                t += mass_of(o, whole, label, share)
            grad, hess = output_of(o, whole, label, kept[j], t, numbers)
            grads[j] = encode(grad)
            if with_hess:
                hesses[j] = encode(hess)

    return write_ids


# -------------------------------------------------------------------------------------------------
# Of short rows


def group_writer(traits: Traits) -> Function:
    """The function that writes a group of short rows, whose exponentials are in lanes."""
    write_lane, write, add_dots = _lane_outputs(traits), lane_writer(traits), _dots_adder(traits)
    multiplying, one_id, with_hess = traits.multiplying, traits.one_id, traits.form.with_hess
    zero = traits.form.number(0)

    def write_group(o: Any, rows: Any, scratch: Any) -> None:
        c, sums = rows.n_classes, scratch.sums
        exps, vectors, slopes = scratch.exps, scratch.vectors, scratch.slopes
        if multiplying:
            fill(sums.dots, zero)
            fill(sums.rest_dots, zero)
            for j in range(c):
                v, slope = lane(vectors, j), lane(slopes, j)
                add_dots(lane(exps, j), slope, v, sums.probability, sums.dots, sums.rest_dots)
        for j in range(c):
            write_lane(
                o,
                j,
                lane(exps, j),
                scratch.labels if one_id else lane(scratch.labels, j),
                lane(scratch.masks, j),
                lane(slopes, j),
                lane(scratch.bends, j),
                lane(vectors, j),
                sums,
                lane(scratch.hesses, j),
            )
        write(scratch.grads, rows, scratch.decoded, rows.grad_out)
        if with_hess:
            write(scratch.hesses, rows, scratch.decoded, rows.hess_out)

    return write_group


def _dots_adder(traits: Traits) -> Function:
    capped, zero, one = traits.variant.capped, traits.form.number(0), traits.form.number(1)

    def add_dots(
        exps: Any, slopes: Any, vector: Any, probability: Any, dots: Any, rest_dots: Any
    ) -> None:
        disjoint()
        for r in range(GROUP):
            v = vector[r] * slopes[r] if capped else vector[r]
            term = exps[r] * probability[r] * v
            dots[r] += term
            rest_dots[r] += select(exps[r] == one, zero, term)

    return add_dots


def _lane_outputs(traits: Traits) -> Function:
    output, of_row = output_formula(traits), row_reader(traits)
    of_class, mass_of = class_reader(traits), lane_mass(traits)
    labelled, one_hot = traits.form.labelled, traits.one_hot
    linked, capped, bends_too = traits.linked, traits.variant.capped, bending(traits)
    smoothed = traits.variant.smoothed
    keeping, multiplying = keeping_masks(traits), traits.multiplying
    leaving_out, with_hess = traits.leaving_out, traits.form.with_hess
    number = traits.form.number
    zero, one = number(0), number(1)

    # If `scratch` is handed over instead of its members, LLVM takes a sixth more instructions.
    def write_lane(
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
        """Put gradients in the place of what is kept of class j, and Hessians into theirs."""
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
                t = mass_of(o, j, label, numbers, mask[r] if keeping else one, share)
            slope = slopes[r] if capped else one
            bend = bends[r] if bends_too else zero
            v_r = vector[r] if multiplying else zero
            grad, hess = output(o, exps[r], t, slope, bend, v_r, row)
            if leaving_out:
                grad = select(row.factor == zero, zero, grad)
                hess = select(row.factor == zero, zero, hess)
            exps[r] = grad
            if with_hess:
                hesses[r] = hess

    return write_lane
