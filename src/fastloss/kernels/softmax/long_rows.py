"""Softmax losses of rows of many classes, with SIMD along the row.

In each of the four steps of a group one row does not wait for another, and the processor begins a
row before it has ended the last: with maximum and sum of a row together, 300 classes took 116 ns
instead of 78.
"""

from typing import Any

import numpy as np

from ...compiler.bits import (
    LINE_BYTES,
    larger,
    prefetch,
    select,
    smaller,
    window,
)
from ...compiler.processor import vector_bytes
from ..form import Function
from ..row_groups import BLOCK, GROUP, N_DOUBLE_SUMS, group_sizer, rowwise
from ..scalar import exp_of_gap
from .group_sums import SUMS, finisher, moments_in, sums_in
from .labels import part_label_sums
from .outputs import n_written, row_writer
from .parts import STEP, chunk_of_exps, part_exponentials, parts, step_of_exps
from .row_scores import part_scores, scorer
from .traits import Traits

# About how many numbers the rows of a group have: they, their exponentials and the next group,
# which is fetched meanwhile, fill the first-level cache.
TOGETHER = 1 << 12
# A longer row is read in segments, each of which stays in the second-level cache until its
# exponentials are summed.
SEGMENT = 1 << 15
# The most classes whose soft labels are fetched a block ahead.
LABELS_AHEAD = 1 << 13


def keeps(n_classes: int) -> bool:
    """Whether rows of so many classes keep their exponentials for the gradient.

    Longer ones compute them again. With vectors of 16 that is soon the faster way: for 32,768
    classes 50 ms against 54 to bring them back from the second-level cache. With vectors of 8 it
    takes 49 against 37, and for 262,144 classes 43 against 35.
    """
    return n_classes <= (1 << 13 if vector_bytes() == LINE_BYTES else 1 << 18)


def many_classes(traits: Traits) -> Function:
    """What to do with a block of rows whose exponentials are summed along the row."""
    largest_in, sum_row, sum_labels = _maximum(traits), _row_adder(traits), part_label_sums(traits)
    top_of, finish = parts(traits).top_of, finisher(traits)
    write_row, end_group = row_writer(traits)
    scores, score = part_scores(traits), scorer(traits)
    clear_moments, predict = scores.clear_moments, scores.predict
    scoring, with_grad, with_hess = traits.form.scored, traits.form.with_grad, traits.form.with_hess
    keeping, capped, written = traits.keeping, traits.variant.capped, n_written(traits)
    group_size = group_sizer(TOGETHER)

    # What is kept: the exponentials of one row after the other, or of one chunk.

    def n_kept(n_classes: Any) -> Any:
        return (n_classes + (STEP - 1)) & -STEP if keeping else written

    def room(n_classes: Any) -> Any:
        n_rows = group_size(n_classes) if keeping else 1
        return SUMS + n_rows * n_kept(n_classes), (1 + with_hess) * written

    def kept_of(rows: Any, row: Any) -> Any:
        size = n_kept(rows.n_classes)
        return window(rows.numbers, SUMS + (row * size if keeping else 0), size)

    def group(rows: Any) -> None:
        o = rows.options
        sums = sums_in(rows.numbers, rows.doubles)
        moments = moments_in(rows.doubles, N_DOUBLE_SUMS * GROUP)
        n_rows = rows.y_pred.size // rows.n_classes
        for r in range(n_rows):
            sums.largest[r] = largest_in(o, rows, r, 0)
        for r in range(n_rows):
            if scoring:
                clear_moments(moments, r)
            sum_row(o, rows, r, n_rows, kept_of(rows, r), sums, moments)
            sum_labels(o, rows, r, sums)
        if capped:
            for r in range(n_rows):
                sums.capped[r] = top_of(o, sums.largest[r])[1]
        finish(o, sums, rows.weights, rows.scale, rows.losses, n_rows)
        if scoring:
            for r in range(n_rows):
                predict(o, rows, r, sums.largest[r], moments.predictions)
            score(o, sums, moments, rows, n_rows)
        if with_grad:
            for r in range(n_rows):
                write_row(o, rows, r, kept_of(rows, r), sums)
            end_group(rows)

    return rowwise(group, group_size, room, traits.form, traits.ignoring)


def _maximum(traits: Traits) -> Function:
    part_of, inside, _, _ = parts(traits)
    decode, masked, number = traits.form.decode_pred, traits.masked, traits.form.number
    minus_inf, lowest = number(-np.inf), np.finfo(number).min

    # NaN is not looked for here; it shows in the sum of the exponentials.
    def largest_of(part: Any) -> Any:
        largest = minus_inf
        for j in range(part.x.size):
            x_j = decode(part.x[j])
            if masked:
                # With -inf LLVM sees that nothing is to be done, and makes a branch of it: 1.1 ns a
                # number against 0.03.
                x_j = select(inside(part, j), x_j, lowest)
            largest = larger(x_j, largest)
        if masked and largest == lowest:  # of all that are in, or of one that is not
            largest = minus_inf
            for j in range(part.x.size):
                if inside(part, j):
                    largest = larger(decode(part.x[j]), largest)
        return largest

    def largest_in(o: Any, rows: Any, row: Any, first: Any) -> Any:
        """The largest number of the segment of a row that starts at class `first`."""
        size = smaller(SEGMENT, rows.n_classes - first)
        step = smaller(STEP, size)
        return larger(
            largest_of(part_of(o, rows, row, first, size & -STEP)),
            largest_of(part_of(o, rows, row, first + size - step, step)),
        )

    return largest_in


def _row_adder(traits: Traits) -> Function:
    part_of, _, top_of, _ = parts(traits)
    largest_in, scores = _maximum(traits), part_scores(traits)
    sum_part, _, move_kept = part_exponentials(traits)
    move_moments, at_label = scores.move_moments, scores.at_label
    tempered, keeping, scoring = traits.variant.tempered, traits.keeping, traits.form.scored
    row_masked, soft = traits.row_masked, not traits.by_id
    sum_part = scores.score_part if scoring else sum_part
    number, double = traits.form.number, np.float64
    step, chunk = step_of_exps(), chunk_of_exps()

    def sum_row(
        o: Any, rows: Any, row: Any, n_rows: Any, kept: Any, sums: Any, moments: Any
    ) -> None:
        """Find the largest number, the rest and the number of maxima, and keep the exponentials.

        The largest number of the first segment is known.
        """
        c = rows.n_classes
        top = top_of(o, sums.largest[row])
        rest = 0.0
        maxima = 0.0
        for first in range(0, c, SEGMENT):
            if first > 0:
                segment_top = top_of(o, largest_in(o, rows, row, first))
                if segment_top[0] > top[0]:
                    gap = double(top[1]) - double(segment_top[1])
                    if tempered:
                        gap = gap * o.inverse_temperature
                    rest = (rest + maxima) * exp_of_gap(gap)
                    if keeping:
                        move_kept(window(kept, 0, first), gap)
                    if scoring:
                        move_moments(moments, row, gap, rest, maxima)
                    maxima = 0.0
                    top = segment_top
            label = at_label(o, rows, row, top) if scoring else ()
            # Whole steps, the last of which reaches back over what came before it.
            size = smaller(SEGMENT, c - first)
            n_steps = size & -step
            for start in range(first, first + n_steps, chunk):
                n = smaller(chunk, first + n_steps - start)
                place = row * c + start
                # Numbers of the next group of rows, or of the next segment.
                prefetch(rows.y_pred, place + n_rows * size, n)
                if row_masked:
                    prefetch(rows.mask, place + n_rows * size, n)
                # Labels of this block were just read; those of the next one will be first. Two
                # longer rows of both would fill the second-level cache.
                if soft and c <= LABELS_AHEAD:
                    prefetch(rows.y_true, place + BLOCK, n)
                part = part_of(o, rows, row, start, n)
                term, count = sum_part(o, part, row, 0, top, kept, label, moments)
                rest += term
                maxima += count
            if n_steps < size:
                n = smaller(step, size)
                last = first + size - n
                n_known = n_steps + n - size
                part = part_of(o, rows, row, last, n)
                term, count = sum_part(o, part, row, n_known, top, kept, label, moments)
                rest += term
                maxima += count
        sums.largest[row] = top[0]
        sums.rest[row], sums.maxima[row] = number(rest), number(maxima)

    return sum_row
