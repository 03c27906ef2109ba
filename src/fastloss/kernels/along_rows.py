"""Softmax losses of rows of many classes, with SIMD along the row.

In each of the four steps of a group one row does not wait for another, and the processor begins a
row before it has ended the last: with maximum and sum of a row together, 300 classes took 116 ns
instead of 78.
"""

from typing import Any

import numpy as np

from .bits import disjoint, larger, prefetch, select, window
from .flags import fastmath, inlined
from .form import Form, Function
from .rowwise import GROUP, rowwise
from .scalar import exp_of_gap
from .softmax import SUMS, Variant, formulas
from .storage import decoder
from .tiles import fill, put

# Exponentials that are added up in the arithmetic dtype before their sum goes on in float64. With
# the lanes of SIMD each float32 sum has few terms, so 131,072 classes are as exact as 10.
CHUNK = 1 << 9
# Rows of up to so many classes keep their exponentials for the gradient. Longer ones compute them
# again: for 32,768 classes 50 ms against 54 to bring them back from the second-level cache.
KEPT = 1 << 13
# Numbers, about, of the rows of a group: they, their exponentials and the next group, which is
# fetched meanwhile, fill the first-level cache.
TOGETHER = 1 << 12
# Derivatives of longer rows are written in parts of this size.
WRITTEN = 1 << 11
# A longer row is read in segments, each of which stays in the second-level cache until its
# exponentials are summed.
SEGMENT = 1 << 15
# Loops run over a multiple of this where they can: the four vectors of 16 that LLVM takes at a
# time. It computes what is left one by one: 40 of 1,000 classes cost a third of the row. So the
# last step of a row reaches back over numbers that were there before.
STEP = 64


def many_classes(form: Form, variant: Variant, ignoring: bool, keeping: bool) -> Function:
    """What to do with a block of rows whose exponentials are summed along the row.

    If `keeping`, rows are short enough that their exponentials are kept for the gradient.
    """
    formula = formulas(form, variant)
    read_options, inside, cap, scaled_gap, exp_terms, gap_term, mass, output = formula.of_class
    sums_in, of_row, finish = formula.of_group
    decode_true, decode, encode = form.decode_true, form.decode_pred, form.encode
    decode_probability = decoder(form.probabilities or "float64", form.arithmetic)
    decode_vector = decoder(form.vector or "float64", form.arithmetic)
    class_ids, with_grad, with_hess = form.class_ids, form.with_grad, form.with_hess
    labelled, sparse = form.labelled, bool(form.probabilities)
    smoothed, tempered, capped = variant.smoothed, variant.tempered, variant.capped
    class_masked, row_masked = variant.class_masked, bool(form.mask)
    masked = class_masked or row_masked
    number, double = form.number, np.float64
    zero, one = number(0), number(1)
    one_hot = class_ids and not sparse and not smoothed
    # Whether the mass of a class is what smoothing gives to all, but for those of the class ids.
    by_id = one_hot or sparse or not labelled
    linked = variant.link is not None
    multiplying = form.output == "hvp"
    logarithmic = form.output == "log_proba"
    leaving_out = labelled and (form.weighted or ignoring or variant.class_weighted)
    keeping = keeping and with_grad
    # Whether what is written for a class follows from what was kept of it, and the row.
    kept_is_all = by_id and not (smoothed or capped or multiplying)
    # Derivatives that are written at a time: whole rows, if short.
    written = KEPT if keeping else WRITTEN

    def group_size(n_classes: Any) -> Any:
        return min(max(TOGETHER // n_classes, 1), GROUP)

    def padded(n_classes: Any) -> Any:
        return (n_classes + (STEP - 1)) & -STEP

    def room(n_classes: Any) -> Any:
        n_exps = group_size(n_classes) * padded(n_classes) if keeping else written
        return SUMS + n_exps, (1 + with_hess) * written

    @inlined
    def mask_of(rows: Any, first: Any, n: Any) -> Any:
        """Of a part of a row; if rows have no masks of their own, it is never looked at."""
        return window(rows.extras.mask, first, n) if row_masked else rows.y_pred

    @inlined
    def vector_of(rows: Any, first: Any, n: Any) -> Any:
        return window(rows.extras.vector, first, n) if multiplying else rows.y_pred

    @inlined
    def logit(o: Any, mask: Any, x: Any, i: Any, start: Any) -> Any:
        """That of class start + i, capped and masked."""
        x_j = decode(x[i])
        if capped:
            x_j = cap(o, x_j)[0]
        if masked:
            x_j = select(inside(o, mask, i, start + i), x_j, number(-np.inf))
        return x_j

    # NaN is not looked for here; it shows in the sum of the exponentials.
    @fastmath("nnan", "reassoc")
    def largest_of(o: Any, mask: Any, x: Any, start: Any) -> Any:
        largest = number(-np.inf)
        for j in range(x.size):
            largest = larger(logit(o, mask, x, j, start), largest)
        return largest

    @fastmath("reassoc")
    def rest_of(
        o: Any, mask: Any, x: Any, start: Any, n_known: Any, largest: Any, kept: Any
    ) -> Any:
        """What a part of a row adds to the rest and to the number of maxima.

        The first `n_known` numbers were added before. The exponentials are kept.
        """
        disjoint()
        rest = zero
        maxima = zero
        for j in range(x.size):
            x_j = logit(o, mask, x, j, start)
            exp_j, term, count = exp_terms(o, x_j, largest)
            rest += select(j >= n_known, term, zero)
            maxima += select(j >= n_known, count, zero)
            if keeping:
                kept[j] = kept_of(o, x_j, exp_j, largest)
        return double(rest), double(maxima)

    @inlined
    def kept_of(o: Any, x_j: Any, exp_j: Any, largest: Any) -> Any:
        if logarithmic:
            return select(x_j == largest, zero, scaled_gap(o, x_j, largest))
        return exp_j

    def largest_in(o: Any, rows: Any, row: Any, first: Any) -> Any:
        """The largest number of the segment of a row that starts there."""
        x = row_of(rows, row)
        size = min(SEGMENT, x.size - first)
        whole = size & -STEP
        step = min(STEP, size)
        last = first + size - step
        begin = row * rows.n_classes
        return larger(
            largest_of(o, mask_of(rows, begin + first, whole), window(x, first, whole), first),
            largest_of(o, mask_of(rows, begin + last, step), window(x, last, step), last),
        )

    @inlined
    def row_of(rows: Any, row: Any) -> Any:
        return window(rows.y_pred, row * rows.n_classes, rows.n_classes)

    def sum_row(o: Any, rows: Any, row: Any, largest: Any, kept: Any, n_rows: Any) -> Any:
        """m, the rest and the number of maxima, from the largest number of the first segment."""
        x = row_of(rows, row)
        begin = row * rows.n_classes
        rest = 0.0
        maxima = 0.0
        for first in range(0, x.size, SEGMENT):
            if first > 0:
                segment_largest = largest_in(o, rows, row, first)
                if segment_largest > largest:
                    gap = double(largest) - double(segment_largest)
                    if tempered:
                        gap = gap * o.inverse_temperature
                    rest = (rest + maxima) * exp_of_gap(gap)
                    maxima = 0.0
                    largest = segment_largest
            # Whole steps, the last of which reaches back over what came before it.
            size = min(SEGMENT, x.size - first)
            n_steps = size & -STEP
            for start in range(0, n_steps, CHUNK):
                n = min(CHUNK, n_steps - start)
                # Of the next group of rows, or segment.
                prefetch(x, first + n_rows * size + start, n)
                place = first + start
                mask = mask_of(rows, begin + place, n)
                part, kept_part = window(x, place, n), window(kept, place, n)
                term, count = rest_of(o, mask, part, place, 0, largest, kept_part)
                rest += term
                maxima += count
            if n_steps < size:
                step = min(STEP, size)
                last = first + size - step
                n_known = n_steps + step - size
                mask = mask_of(rows, begin + last, step)
                part, kept_part = window(x, last, step), window(kept, last, step)
                term, count = rest_of(o, mask, part, last, n_known, largest, kept_part)
                rest += term
                maxima += count
        return largest, rest, maxima

    # -----------------------------------------------------------------------------------------
    # Labels

    @fastmath("reassoc")
    def n_inside(o: Any, mask: Any, n_classes: Any) -> Any:
        count = 0
        for j in range(n_classes):
            count += inside(o, mask, j, j)
        return count

    @inlined
    def share_of(o: Any, rows: Any, row: Any) -> Any:
        """What smoothing adds to the label of each class that is in."""
        if not smoothed:
            return zero
        if row_masked:
            c = rows.n_classes
            return number(o.smoothing / n_inside(o, mask_of(rows, row * c, c), c))
        return number(o.share)

    @inlined
    def labels_of(rows: Any, row: Any, start: Any, n: Any) -> Any:
        """What the masses of a part of a row are found from."""
        if class_ids:
            return decode_true(rows.y_true[row]) - start
        return window(rows.y_true, row * rows.n_classes + start, n)

    @inlined
    def mass_of(o: Any, labels: Any, mask: Any, i: Any, start: Any, share: Any) -> Any:
        """That of class start + i, but for what the class ids of `sparse` labels add."""
        if by_id and not smoothed:
            return zero
        if by_id:
            label = zero
        elif class_ids:
            label = select(i == labels, one, zero)
        else:
            label = decode_true(labels[i])
        return mass(o, label, start + i, inside(o, mask, i, start + i), share)

    @inlined
    def n_ids(rows: Any) -> Any:
        return rows.n_labels if sparse else 1

    def mass_at_id(o: Any, rows: Any, row: Any, i: Any) -> Any:
        """The i-th class id of a row, and what it adds to the mass of its class."""
        place = row * n_ids(rows) + i
        label = decode_true(rows.y_true[place])
        if label < 0 or label >= rows.n_classes:
            # The labels were checked, so they changed since: stay inside the arrays.
            return 0, number(np.nan)
        mask = mask_of(rows, row * rows.n_classes, rows.n_classes)
        here = inside(o, mask, label, label)
        t = decode_probability(rows.extras.probabilities[place]) if sparse else one
        return label, mass(o, t, label, here, zero)

    @fastmath("reassoc")
    def gaps_and_masses_of(
        o: Any, labels: Any, mask: Any, x: Any, start: Any, largest: Any, share: Any
    ) -> Any:
        gaps = zero
        masses = zero
        for j in range(x.size):
            t = mass_of(o, labels, mask, j, start, share)
            gaps += gap_term(t, logit(o, mask, x, j, start), largest)
            masses += t
        return double(gaps), double(masses)

    def sum_labels(o: Any, rows: Any, row: Any, largest: Any, share: Any) -> Any:
        """The sum of t_j (m - x_j), and T."""
        gaps = 0.0
        masses = 0.0
        if not labelled:
            return 0.0, 1.0
        x = row_of(rows, row)
        if not by_id or smoothed:
            for start in range(0, x.size, CHUNK):
                part = window(x, start, min(CHUNK, x.size - start))
                labels = labels_of(rows, row, start, part.size)
                mask = mask_of(rows, row * rows.n_classes + start, part.size)
                gap, t = gaps_and_masses_of(o, labels, mask, part, start, largest, share)
                gaps += gap
                masses += t
        if by_id:
            mask = mask_of(rows, row * rows.n_classes, x.size)
            for i in range(n_ids(rows)):
                label, t = mass_at_id(o, rows, row, i)
                x_j = logit(o, mask, x, label, 0)
                gaps += double(gap_term(one if linked else t, x_j, largest))
                masses += double(t)
        return gaps, masses

    # -----------------------------------------------------------------------------------------
    # What is written for each class

    def keep(o: Any, mask: Any, x: Any, start: Any, largest: Any, kept: Any) -> None:
        disjoint()
        for j in range(x.size):
            x_j = logit(o, mask, x, j, start)
            kept[j] = kept_of(o, x_j, exp_terms(o, x_j, largest)[0], largest)

    @inlined
    def bends(o: Any, x: Any, j: Any) -> Any:
        """The first two derivatives of the capped logit."""
        if capped:
            _, slope, bend = cap(o, decode(x[j]))
            return slope, bend
        return one, zero

    @fastmath("reassoc")
    def dot_of(o: Any, exps: Any, x: Any, vector: Any) -> Any:
        total = zero
        for j in range(exps.size):
            total += exps[j] * (bends(o, x, j)[0] * decode_vector(vector[j]))
        return double(total)

    def dot_with_row(o: Any, rows: Any, row: Any, kept: Any, largest: Any) -> Any:
        """The sum of e_j v_j."""
        x = row_of(rows, row)
        begin = row * rows.n_classes
        total = 0.0
        for start in range(0, x.size, CHUNK):
            part = window(x, start, min(CHUNK, x.size - start))
            exps = window(kept, start if keeping else 0, part.size)
            if not keeping:
                keep(o, mask_of(rows, begin + start, part.size), part, start, largest, exps)
            total += dot_of(o, exps, part, vector_of(rows, begin + start, part.size))
        return total

    def outputs_of(
        o: Any,
        labels: Any,
        mask: Any,
        x: Any,
        vector: Any,
        start: Any,
        kept: Any,
        share: Any,
        row: Any,
        grads: Any,
        hesses: Any,
    ) -> None:
        disjoint()
        for j in range(kept.size):
            t = mass_of(o, labels, mask, j, start, share)
            slope, bend = bends(o, x, j)
            v_j = decode_vector(vector[j]) if multiplying else zero
            grad, hess = output(o, kept[j], t, slope, bend, v_j, row)
            grads[j] = encode(grad)
            if with_hess:
                hesses[j] = encode(hess)

    def output_at_ids(
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
        """Write again what the mass of the class ids changes, in a part of a row."""
        x = row_of(rows, row)
        mask = mask_of(rows, row * rows.n_classes, x.size)
        vector = vector_of(rows, row * rows.n_classes, x.size)
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
                t += mass_of(o, label, window(mask, start, kept.size), j, start, share)
            slope, bend = bends(o, x, label)
            v_j = decode_vector(vector[label]) if multiplying else zero
            grad, hess = output(o, kept[j], t, slope, bend, v_j, numbers)
            grads[j] = encode(grad)
            if with_hess:
                hesses[j] = encode(hess)

    def write_row(o: Any, rows: Any, row: Any, kept: Any, sums: Any) -> None:
        x = row_of(rows, row)
        begin = row * rows.n_classes
        numbers, share = of_row(sums, row), sums.shares[row]
        grads = window(rows.encoded, 0, written)
        hesses = window(rows.encoded, written, written)
        # Where nothing else is read, the loops may run over the padding too.
        end = kept.size if keeping and kept_is_all else x.size
        for start in range(0, end, written):
            size = min(written, end - start)
            kept_part = window(kept, start if keeping else 0, size)
            part = window(x, start, size)
            mask = mask_of(rows, begin + start, size)
            if not keeping:
                keep(o, mask, part, start, sums.largest[row], kept_part)
            labels = labels_of(rows, row, start, size)
            vector = vector_of(rows, begin + start, size)
            outputs_of(
                o, labels, mask, part, vector, start, kept_part, share, numbers, grads, hesses
            )
            if labelled and by_id:
                output_at_ids(o, rows, row, start, kept_part, share, numbers, grads, hesses)
            size = min(size, x.size - start)
            put(grads, window(rows.grad_out, begin + start, size), rows.streamed)
            if with_hess:
                put(hesses, window(rows.hess_out, begin + start, size), rows.streamed)

    def group(rows: Any) -> None:
        o = read_options(rows.options)
        sums = sums_in(rows.numbers, rows.doubles)
        c = rows.n_classes
        n_rows = rows.y_pred.size // c
        # The exponentials of one row after the other, or of one chunk.
        n_kept = padded(c) if keeping else written
        step = n_kept if keeping else 0
        for r in range(n_rows):
            sums.largest[r] = largest_in(o, rows, r, 0)
        for r in range(n_rows):
            kept = window(rows.numbers, SUMS + r * step, n_kept)
            largest, rest, maxima = sum_row(o, rows, r, sums.largest[r], kept, n_rows)
            sums.largest[r] = largest
            sums.rest[r] = number(rest)
            sums.maxima[r] = number(maxima)
            sums.shares[r] = share = share_of(o, rows, r)
            sums.gaps[r], sums.masses[r] = sum_labels(o, rows, r, largest, share)
        finish(o, sums, rows.weights, rows.scale, rows.losses, n_rows)
        if with_grad:
            for r in range(n_rows):
                if leaving_out and sums.factor[r] == zero:
                    fill(window(rows.grad_out, r * c, c), encode(zero))
                    if with_hess:
                        fill(window(rows.hess_out, r * c, c), encode(zero))
                else:
                    kept = window(rows.numbers, SUMS + r * step, n_kept)
                    if multiplying:
                        dot = dot_with_row(o, rows, r, kept, sums.largest[r])
                        sums.dots[r] = number(dot) * sums.probability[r]
                    write_row(o, rows, r, kept, sums)

    return rowwise(group, group_size, room, form, ignoring)
