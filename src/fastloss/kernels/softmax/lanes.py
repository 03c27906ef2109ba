"""Lanes: a group of short rows with a run of `GROUP` numbers for each class, one for each row."""

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import (
    LINE_BYTES,
    disjoint,
    join_pairs,
    prefetch,
    select,
    split_pairs,
    transpose,
    window,
    windows,
)
from ...compiler.processor import vector_bytes
from ..form import Function
from ..row_groups import GROUP, N_MOMENTS
from ..tiles import fill, put
from .formulas import logits
from .group_sums import SUMS, moments_in, sums_in
from .traits import Traits


class Scratch(NamedTuple):
    """What is known of a group of rows.

    A member that a kernel has no use for shares its memory with others, and is not touched.
    """

    sums: Any  # `Sums`
    moments: Any  # `Moments`, or ()
    # A number for each row:
    others: Any  # how many logits are not the largest; in the place of `sums.maxima`, found next
    at_label: Any  # the logit at its label
    part_gaps: Any  # what some classes add to the gaps
    part_masses: Any
    part_rest: Any  # what the first classes add to the rest; in the place of `part_gaps`
    finite_gaps: Any  # in the place of `rows.losses`, which are found last
    # Rows:
    decoded: Any  # as they came, or as they will be encoded
    # Lanes:
    labels: Any  # class ids as numbers, one for each row; or lanes of soft labels
    logits: Any
    exps: Any  # what is kept of the logits, and in their place
    grads: Any  # in the place of `exps`
    hesses: Any
    slopes: Any  # the derivatives of capped logits
    bends: Any
    masks: Any  # 1 where a class is in
    vectors: Any


class Memory(NamedTuple):
    """Functions that say how much scratch a group needs, and what lies where."""

    room: Function
    scratch_in: Function


# Classes that are computed together, so that what is known of their rows stays in registers.
ABREAST = 4


def class_by_class(several: Function, one: Function, abreast: int = ABREAST) -> Function:
    """The function that calls `several(o, j, scratch)` for as many classes from j on, or `one`."""

    def run(o: Any, n_classes: Any, scratch: Any) -> None:
        n_together = n_classes - n_classes % abreast
        for j in range(0, n_together, abreast):
            several(o, j, scratch)
        for j in range(n_together, n_classes):
            one(o, j, scratch)

    return run


def square_side(traits: Traits) -> int:
    """The side of the squares that are transposed at a time: a vector of numbers.

    With squares of 16 on Zen 3, which has vectors of 8, the loss of 2 classes takes 31% longer, and
    that of 10 or 100 7%. Of short vectors LLVM takes two.
    """
    return max(vector_bytes(), LINE_BYTES // 2) // int(np.dtype(traits.form.number).itemsize)


def bending(traits: Traits) -> bool:
    """Whether the second derivatives of capped logits are needed."""
    return traits.variant.capped and (traits.form.with_hess or traits.multiplying)


def keeping_masks(traits: Traits) -> bool:
    """Whether masks of rows are needed besides logits that come masked."""
    soft = traits.form.labelled and not traits.one_hot
    return traits.row_masked and (traits.variant.capped or soft or traits.form.class_major)


def memory(traits: Traits) -> Memory:
    side, one_id, scored = square_side(traits), traits.one_id, traits.form.scored
    # Whether derivatives are encoded besides.
    encoding = traits.form.written != traits.form.arithmetic and not traits.form.class_major
    n_encoding = int(encoding and traits.form.with_grad)
    # Which kinds of lanes there are besides the logits, and where: behind so many others.
    there = (
        traits.form.with_hess,
        traits.variant.capped and traits.form.with_grad,
        bending(traits),
        keeping_masks(traits),
        traits.multiplying,
    )
    at_hesses, at_slopes, at_bends, at_masks, at_vectors, n_kinds = accumulate(there, initial=1)

    # Squares reach over the edges: beyond the last row, and beyond the last class.

    def n_in_rows(n_classes: Any) -> Any:
        return GROUP * n_classes + side

    def n_in_lanes(n_classes: Any) -> Any:
        return GROUP * ((n_classes + (side - 1)) & -side)

    def room(n_classes: Any) -> Any:
        n_lanes = n_in_lanes(n_classes)
        n_labels = GROUP if one_id else n_lanes
        n_numbers = SUMS + 3 * GROUP + n_in_rows(n_classes) + n_labels + n_kinds * n_lanes
        if scored:
            n_numbers += N_MOMENTS * GROUP
        return n_numbers, n_encoding * n_in_rows(n_classes)

    def scratch_in(rows: Any) -> Scratch:
        numbers, n_classes = rows.numbers, rows.n_classes
        n_decoded, n_lanes = n_in_rows(n_classes), n_in_lanes(n_classes)
        n_labels = GROUP if one_id else n_lanes
        labels = SUMS + 3 * GROUP + n_decoded
        lanes = labels + n_labels
        sums = sums_in(numbers, rows.doubles)
        of_rows = windows(window(numbers, SUMS, 3 * GROUP), GROUP, 3)
        logits = window(numbers, lanes, n_lanes)
        moments = moments_in(numbers, lanes + n_kinds * n_lanes) if scored else ()
        return Scratch(
            sums=sums,
            moments=moments,
            others=sums.maxima,
            at_label=of_rows[0],
            part_gaps=of_rows[1],
            part_masses=of_rows[2],
            part_rest=of_rows[1],
            finite_gaps=rows.losses,
            decoded=window(numbers, SUMS + 3 * GROUP, n_decoded),
            labels=window(numbers, labels, n_labels),
            logits=logits,
            exps=logits,
            grads=logits,
            hesses=window(numbers, lanes + at_hesses * n_lanes, n_lanes),
            slopes=window(numbers, lanes + at_slopes * n_lanes, n_lanes),
            bends=window(numbers, lanes + at_bends * n_lanes, n_lanes),
            masks=window(numbers, lanes + at_masks * n_lanes, n_lanes),
            vectors=window(numbers, lanes + at_vectors * n_lanes, n_lanes),
        )

    return Memory(room, scratch_in)


def lane(lanes: Any, j: Any) -> Any:
    """The lane of class j."""
    return window(lanes, j * GROUP, GROUP)


def column_places(columns: Any, n_classes: Any) -> Any:
    """Where a group of rows begins in the first class, how far the next class is, and its size."""
    return columns.first // n_classes, columns.whole.size // n_classes, columns.size // n_classes


# -------------------------------------------------------------------------------------------------
# Between rows and lanes


def _transposer(traits: Traits) -> Function:
    side = square_side(traits)

    def to_lanes(rows: Any, n_classes: Any, lanes: Any) -> None:
        if n_classes == 2:  # a square would be empty but for two columns
            split_pairs(rows, lanes, GROUP)
            return
        for r in range(0, GROUP, side):
            for j in range(0, n_classes, side):
                transpose(rows, r * n_classes + j, n_classes, lanes, j * GROUP + r, GROUP, side)

    return to_lanes


def lane_writer(traits: Traits) -> Function:
    """The function that writes lanes of derivatives as rows, or as they are."""
    side, encode = square_side(traits), traits.form.encode
    as_stored = traits.form.written == traits.form.arithmetic

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

    def encode_rows(rows: Any, encoded: Any, size: Any) -> None:
        disjoint()
        for i in range(size):
            encoded[i] = encode(rows[i])

    def write(lanes: Any, rows: Any, decoded: Any, out: Any) -> None:
        from_lanes(lanes, rows.n_classes, decoded)
        if as_stored:
            put(decoded, out, rows.streamed)
        else:
            encode_rows(decoded, rows.encoded, out.size)
            put(rows.encoded, out, rows.streamed)

    def write_columns(lanes: Any, rows: Any, decoded: Any, out: Any) -> None:
        begin, step, n = column_places(out, rows.n_classes)
        for j in range(rows.n_classes):
            encode_rows(lane(lanes, j), window(out.whole, begin + j * step, n), n)

    return write_columns if traits.form.class_major else write


def loader(traits: Traits) -> Function:
    """The function that brings a group into lanes: labels, logits as they count, masks, vectors."""
    one_id, sparse, labelled = traits.one_id, traits.sparse, traits.form.labelled
    row_masked, keeping = traits.row_masked, keeping_masks(traits)
    multiplying, side = traits.multiplying, square_side(traits)
    more = keeping or multiplying
    capped, smoothed = traits.variant.capped, traits.variant.smoothed
    changing = capped or smoothed or traits.variant.class_masked or keeping
    decode_true, decode, decode_mask, decode_vector = (
        traits.form.decode_true,
        traits.form.decode_pred,
        traits.form.decode_mask,
        traits.form.decode_vector,
    )
    to_lanes, scatter_probabilities = _transposer(traits), _scatterer(traits)
    apply_options = _option_applier(traits)
    # Whether numbers are stored as they are computed: then rows are transposed where they lie.
    as_stored, class_major = traits.form.pred == traits.form.arithmetic, traits.form.class_major
    stored_labels = traits.form.true == traits.form.arithmetic
    number, minus_inf = traits.form.number, traits.form.number(-np.inf)

    def decode_rows(decode: Function, stored_rows: Any, rows: Any) -> None:
        disjoint()
        for i in range(stored_rows.size):
            rows[i] = number(decode(stored_rows[i]))

    def decode_masked_rows(stored_rows: Any, mask: Any, rows: Any) -> None:
        disjoint()
        for i in range(stored_rows.size):
            rows[i] = select(mask[i] != 0, number(decode(stored_rows[i])), minus_inf)

    def load_columns(columns: Any, n_classes: Any, lanes: Any) -> None:
        begin, step, n = column_places(columns, n_classes)
        for j in range(n_classes):
            place = begin + j * step
            prefetch(columns.whole, place + GROUP, GROUP)
            decode_rows(decode, window(columns.whole, place, n), lane(lanes, j))

    def load_more(rows: Any, scratch: Any) -> None:
        if keeping:
            decode_rows(decode_mask, rows.mask, scratch.decoded)
            to_lanes(scratch.decoded, rows.n_classes, scratch.masks)
        if multiplying:
            decode_rows(decode_vector, rows.vector, scratch.decoded)
            to_lanes(scratch.decoded, rows.n_classes, scratch.vectors)

    def load(o: Any, rows: Any, scratch: Any) -> None:
        c, decoded = rows.n_classes, scratch.decoded
        # Squares reach over the end of the last row, so something must lie behind it.
        in_place = rows.y_pred.size == GROUP * c and rows.n_behind >= side
        if one_id:
            decode_rows(decode_true, rows.y_true, scratch.labels)
        elif sparse:
            scatter_probabilities(rows, scratch.labels)
        elif labelled:
            given = decoded
            if stored_labels and in_place:
                given = rows.y_true
            else:
                decode_rows(decode_true, rows.y_true, given)
            to_lanes(given, c, scratch.labels)
        if more:
            load_more(rows, scratch)
        if class_major:
            load_columns(rows.y_pred, c, scratch.logits)
        else:
            source = decoded
            if row_masked and not keeping:
                decode_masked_rows(rows.y_pred, rows.mask, source)
            elif as_stored and in_place:
                source = rows.y_pred
            else:
                decode_rows(decode, rows.y_pred, source)
            to_lanes(source, c, scratch.logits)
        if changing:
            apply_options(o, scratch, c)

    return load


def _scatterer(traits: Traits) -> Function:
    decode_true, decode_probability = traits.form.decode_true, traits.form.decode_probability
    zero, nan = traits.form.number(0), traits.form.number(np.nan)

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

    return scatter_probabilities


# -------------------------------------------------------------------------------------------------
# Logits as they count


def class_reader(traits: Traits) -> Function:
    class_masked, class_weighted = traits.variant.class_masked, traits.variant.class_weighted

    def of_class(o: Any, j: Any) -> Any:
        """What the mask for all rows says of class j, and its weight."""
        return o.class_mask[j] if class_masked else 1, o.class_weight[j] if class_weighted else 1.0

    return of_class


def _option_applier(traits: Traits) -> Function:
    """The function that caps and masks logits, and finds what smoothing gives to each class."""
    inside, cap = logits(traits)
    of_class = class_reader(traits)
    capped, class_masked = traits.variant.capped, traits.variant.class_masked
    smoothed, row_masked = traits.variant.smoothed, traits.row_masked
    with_grad, bends_too, keeping = traits.form.with_grad, bending(traits), keeping_masks(traits)
    number = traits.form.number
    zero, one, minus_inf = number(0), number(1), number(-np.inf)

    def cap_lane(o: Any, x: Any, slopes: Any, bends: Any) -> None:
        disjoint()
        for r in range(GROUP):
            capped_r, slope, bend = cap(o, x[r])
            x[r] = capped_r
            if with_grad:
                slopes[r] = slope
            if bends_too:
                bends[r] = bend

    def mask_lane(o: Any, j: Any, x: Any, mask: Any, shares: Any) -> None:
        disjoint()
        class_mask, _ = of_class(o, j)
        for r in range(GROUP):
            here = inside(class_mask, mask[r] if keeping else one)
            x[r] = select(here, x[r], minus_inf)
            if smoothed and row_masked:
                shares[r] += select(here, one, zero)  # so far, the number of classes that are in

    def divide_shares(o: Any, shares: Any) -> None:
        for r in range(GROUP):
            shares[r] = number(o.smoothing) / shares[r]

    def apply_options(o: Any, scratch: Any, n_classes: Any) -> None:
        shares = scratch.sums.shares
        if capped:
            for j in range(n_classes):
                x, slopes, bends = scratch.logits, scratch.slopes, scratch.bends
                cap_lane(o, lane(x, j), lane(slopes, j), lane(bends, j))
        if smoothed:
            fill(shares, zero if row_masked else number(o.share))
        if class_masked or keeping:
            for j in range(n_classes):
                mask_lane(o, j, lane(scratch.logits, j), lane(scratch.masks, j), shares)
        if smoothed and row_masked:
            divide_shares(o, shares)

    return apply_options
