"""Softmax cross-entropy of rows of few classes, with SIMD across rows.

A row of 10 numbers does not fill a vector. So a group of rows is transposed: each class becomes a
lane, a run of `GROUP` numbers, one for each row, and the loops go along the lanes. A group that is
not full is computed as if it were: what stands in the places of the rows it lacks, nobody reads.
"""

from typing import Any, NamedTuple

import numpy as np

from .bits import SQUARE_BYTES, disjoint, larger, prefetch, select, transpose, window
from .flags import fastmath
from .form import Form, Function
from .rowwise import GROUP, rowwise
from .softmax import SUMS, formulas
from .tiles import fill, put

# The most classes that are computed in this way: 100 take 27 ns a row of float32, and 38 along the
# row; 128 take 36 and 35, and the gradient 57 and 53.
FEW = 112


class Scratch(NamedTuple):
    sums: Any
    at_label: Any  # the logit of each row at its label
    rows: Any  # the group as it came, decoded
    lanes: Any  # logits, then exponentials, then gradients
    labels: Any  # class ids as numbers, or lanes of soft labels
    hesses: Any  # lanes


def few_classes(form: Form, class_weighted: bool, smoothed: bool, ignoring: bool) -> Function:
    """What to do with a block of rows whose exponentials are summed across rows."""
    mass, exp_terms, gap_term, derivatives, sums_in, finish = formulas(
        form, class_weighted, smoothed
    )
    decode_true, decode, encode = form.decode_true, form.decode_pred, form.encode
    class_ids, with_grad, with_hess = form.class_ids, form.with_grad, form.with_hess
    number, double = form.number, np.float64
    zero, one, nan = number(0), number(1), number(np.nan)
    one_hot = class_ids and not smoothed
    leaving_out = form.weighted or ignoring or class_weighted
    side = SQUARE_BYTES // np.dtype(number).itemsize
    # Whether numbers are stored as they are computed: then rows are transposed where they lie.
    as_stored = form.pred == form.arithmetic

    def group_size(n_classes: Any) -> Any:
        return GROUP

    # Squares reach over the edges: beyond the last row, and beyond the last class.

    def n_in_rows(n_classes: Any) -> Any:
        return GROUP * n_classes + side

    def n_in_lanes(n_classes: Any) -> Any:
        return GROUP * ((n_classes + (side - 1)) & -side)

    def room(n_classes: Any) -> Any:
        n_lanes = n_in_lanes(n_classes)
        n_labels = GROUP if class_ids else n_lanes
        n_numbers = SUMS + GROUP + n_in_rows(n_classes) + n_lanes + n_labels + with_hess * n_lanes
        return n_numbers, 0 if as_stored else with_grad * n_in_rows(n_classes)

    def scratch_in(numbers: Any, doubles: Any, n_classes: Any) -> Any:
        n_rows, n_lanes = n_in_rows(n_classes), n_in_lanes(n_classes)
        n_labels = GROUP if class_ids else n_lanes
        start = SUMS + GROUP
        return Scratch(
            sums_in(numbers, doubles),
            window(numbers, SUMS, GROUP),
            window(numbers, start, n_rows),
            window(numbers, start + n_rows, n_lanes),
            window(numbers, start + n_rows + n_lanes, n_labels),
            window(numbers, start + n_rows + n_lanes + n_labels, n_lanes),
        )

    # -----------------------------------------------------------------------------------------
    # Between rows and lanes

    def decode_rows(decode: Function, stored_rows: Any, rows: Any) -> None:
        disjoint()
        for i in range(stored_rows.size):
            rows[i] = number(decode(stored_rows[i]))

    def encode_rows(rows: Any, encoded: Any, size: Any) -> None:
        disjoint()
        for i in range(size):
            encoded[i] = encode(rows[i])

    def to_lanes(rows: Any, n_classes: Any, lanes: Any) -> None:
        for r in range(0, GROUP, side):
            for j in range(0, n_classes, side):
                transpose(rows, r * n_classes + j, n_classes, lanes, j * GROUP + r, GROUP)

    def from_lanes(lanes: Any, n_classes: Any, rows: Any) -> None:
        # What a square writes beyond the end of a row is the start of the next row. So the starts
        # of rows are written last.
        last = (n_classes - 1) // side * side
        for r in range(0, GROUP, side):
            for back in range(0, n_classes, side):
                j = last - back
                transpose(lanes, j * GROUP + r, GROUP, rows, r * n_classes + j, n_classes)

    # -----------------------------------------------------------------------------------------
    # What is done along the lane of class j

    def label_of(labels: Any, j: Any, r: Any) -> Any:
        """The label of class j in row r, before smoothing."""
        return select(labels[r] == number(j), one, zero) if class_ids else labels[r]

    # NaN is not looked for here; it shows in the sum of the exponentials.
    @fastmath("nnan")
    def raise_largest(x: Any, largest: Any) -> None:
        disjoint()
        for r in range(GROUP):
            largest[r] = larger(x[r], largest[r])

    def find_label(options: Any, j: Any, x: Any, labels: Any, at_label: Any, masses: Any) -> None:
        disjoint()
        t = mass(options, one, j)
        for r in range(GROUP):
            here = labels[r] == number(j)
            at_label[r] = select(here, x[r], at_label[r])
            if class_weighted:
                masses[r] = select(here, double(t), masses[r])

    def add_gaps(
        options: Any, j: Any, x: Any, labels: Any, largest: Any, gaps: Any, masses: Any
    ) -> None:
        disjoint()
        for r in range(GROUP):
            t = mass(options, label_of(labels, j, r), j)
            gaps[r] += double(gap_term(t, x[r], largest[r]))
            masses[r] += double(t)

    @fastmath("reassoc")
    def add_exps(x: Any, largest: Any, rest: Any, maxima: Any) -> None:
        disjoint()
        for r in range(GROUP):
            exp_r, term, count = exp_terms(x[r], largest[r])
            rest[r] += term
            maxima[r] += count
            if with_grad:
                x[r] = exp_r

    def write_derivatives(
        options: Any,
        j: Any,
        exps: Any,
        labels: Any,
        totals: Any,
        probability: Any,
        complement: Any,
        factor: Any,
        hesses: Any,
    ) -> None:
        disjoint()
        for r in range(GROUP):
            if one_hot:
                t = select(labels[r] == number(j), totals[r], zero)
            else:
                t = mass(options, label_of(labels, j, r), j)
            grad, hess = derivatives(
                exps[r], t, totals[r], probability[r], complement[r], factor[r]
            )
            if leaving_out:
                grad = select(factor[r] == zero, zero, grad)
                hess = select(factor[r] == zero, zero, hess)
            exps[r] = grad
            if with_hess:
                hesses[r] = hess

    # -----------------------------------------------------------------------------------------

    def gaps_at_label(at_label: Any, largest: Any, gaps: Any, masses: Any) -> None:
        disjoint()
        for r in range(GROUP):
            t = number(masses[r]) if class_weighted else one
            gaps[r] = double(gap_term(t, at_label[r], largest[r]))
            # A label that is no class, as one that changed since it was checked, left NaN here.
            masses[r] = double(select(at_label[r] == at_label[r], t, nan))

    def sum_lanes(rows: Any, scratch: Any) -> None:
        sums, lanes, labels = scratch.sums, scratch.lanes, scratch.labels
        options, c, at_label = rows.options, rows.n_classes, scratch.at_label
        fill(sums.largest, number(-np.inf))
        for j in range(c):
            x = window(lanes, j * GROUP, GROUP)
            raise_largest(x, sums.largest)
        if one_hot:
            fill(at_label, nan)
            for j in range(c):
                x = window(lanes, j * GROUP, GROUP)
                find_label(options, j, x, labels, at_label, sums.masses)
            gaps_at_label(at_label, sums.largest, sums.gaps, sums.masses)
        else:
            fill(sums.gaps, 0.0)
            fill(sums.masses, 0.0)
            for j in range(c):
                x = window(lanes, j * GROUP, GROUP)
                y = labels if class_ids else window(labels, j * GROUP, GROUP)
                add_gaps(options, j, x, y, sums.largest, sums.gaps, sums.masses)
        fill(sums.rest, zero)
        fill(sums.maxima, zero)
        for j in range(c):
            prefetch(rows.y_pred, (c + j) * GROUP, GROUP)  # of the next group
            x = window(lanes, j * GROUP, GROUP)
            add_exps(x, sums.largest, sums.rest, sums.maxima)

    def write(lanes: Any, rows: Any, scratch: Any, out: Any) -> None:
        from_lanes(lanes, rows.n_classes, scratch.rows)
        if as_stored:
            put(scratch.rows, out, rows.streamed)
        else:
            encode_rows(scratch.rows, rows.encoded, out.size)
            put(rows.encoded, out, rows.streamed)

    def group(rows: Any) -> None:
        c = rows.n_classes
        scratch = scratch_in(rows.numbers, rows.doubles, c)
        sums, lanes, labels = scratch.sums, scratch.lanes, scratch.labels
        if class_ids:
            decode_rows(decode_true, rows.y_true, labels)
        else:
            decode_rows(decode_true, rows.y_true, scratch.rows)
            to_lanes(scratch.rows, c, labels)
        source = scratch.rows
        # Squares reach over the end of the last row, so something must lie behind it.
        if as_stored and rows.y_pred.size == GROUP * c and rows.n_behind >= side:
            source = rows.y_pred
        else:
            decode_rows(decode, rows.y_pred, source)
        to_lanes(source, c, lanes)
        sum_lanes(rows, scratch)
        finish(sums, rows.weights, rows.scale, rows.losses, GROUP)
        if with_grad:
            for j in range(c):
                write_derivatives(
                    rows.options,
                    j,
                    window(lanes, j * GROUP, GROUP),
                    labels if class_ids else window(labels, j * GROUP, GROUP),
                    sums.totals,
                    sums.probability,
                    sums.complement,
                    sums.factor,
                    window(scratch.hesses, j * GROUP, GROUP if with_hess else 0),
                )
            write(lanes, rows, scratch, rows.grad_out)
            if with_hess:
                write(scratch.hesses, rows, scratch, rows.hess_out)

    return rowwise(group, group_size, room, form, ignoring)
