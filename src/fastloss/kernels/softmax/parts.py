"""Parts of long rows: some classes of a row, with all that there is for each of them."""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import LINE_BYTES, add_product, count, disjoint, select, window
from ...compiler.processor import vector_bytes
from ..form import Function
from ..row_groups import CHUNK
from ..scalar import exp_of_gap, lift_unit
from .formulas import exponentials, logits
from .traits import Traits

# Loops run over a multiple of this where they can: the four vectors of 16 that LLVM takes at a
# time. It computes what is left one by one: 40 of 1,000 classes cost a third of the row. So the
# last step of a row reaches back over numbers that were there before.
STEP = 64


def step_of_exps() -> int:
    """The same for exponentials, of which LLVM takes one vector at a time if registers are few.

    With shorter steps less is computed twice: a tenth of the loss of 300 classes.
    """
    return STEP if vector_bytes() == LINE_BYTES else STEP // 4


def chunk_of_exps() -> int:
    """How many exponentials are summed in the arithmetic: 64 in each place of a vector of float32.

    Equal ones are all rounded the same way: by 8 units in the last place if there are 64.
    """
    return min(CHUNK, 64 * vector_bytes() // np.dtype(np.float32).itemsize)


class Part(NamedTuple):
    """Windows of what is stored for n classes of a row; where nothing is, ()."""

    start: Any  # the first of these classes
    x: Any  # logits
    class_mask: Any  # for all rows
    row_mask: Any  # for this one
    class_weight: Any
    labels: Any  # soft ones
    vector: Any


class Parts(NamedTuple):
    """Functions that read parts of rows, and the logits in them."""

    part_of: Function
    inside: Function
    top_of: Function
    seen: Function


def parts(traits: Traits) -> Parts:
    inside, cap = logits(traits)
    class_masked, row_masked, masked = traits.variant.class_masked, traits.row_masked, traits.masked
    class_weighted, capped = traits.variant.class_weighted, traits.variant.capped
    by_id, decode = traits.by_id, traits.form.decode_pred
    number = traits.form.number
    one, minus_inf = number(1), number(-np.inf)

    def part_of(o: Any, rows: Any, row: Any, start: Any, n: Any) -> Part:
        """The n classes of a row from class `start` on."""
        place = row * rows.n_classes + start
        return Part(
            start,
            window(rows.y_pred, place, n),
            window(o.class_mask, start, n) if class_masked else (),
            window(rows.mask, place, n),
            window(o.class_weight, start, n) if class_weighted else (),
            () if by_id else window(rows.y_true, place, n),
            window(rows.vector, place, n),
        )

    def is_inside(part: Any, j: Any) -> Any:
        """Whether class j of a part is in."""
        of_class = part.class_mask[j] if class_masked else one
        return inside(of_class, part.row_mask[j] if row_masked else one)

    def top_of(o: Any, largest: Any) -> Any:
        """The largest logit, as it came and as it counts."""
        if capped and masked:
            return largest, select(largest == minus_inf, largest, cap(o, largest)[0])
        return largest, cap(o, largest)[0]

    def seen(o: Any, part: Any, j: Any, top: Any) -> Any:
        """A logit as it counts, and whether it is the largest."""
        here = is_inside(part, j) if masked else True
        x_j = decode(part.x[j])
        if masked:
            x_j = select(here, x_j, minus_inf)
        is_largest = x_j == (top[0] if capped else top[1])
        if capped:
            x_j = cap(o, x_j)[0]
            # Rounding may let a smaller logit pass the largest.
            x_j = select(x_j > top[1], top[1], x_j)
            if masked:
                x_j = select(here, x_j, minus_inf)
        return x_j, is_largest

    return Parts(part_of, is_inside, top_of, seen)


class PartExponentials(NamedTuple):
    """Functions of the exponentials in a part."""

    sum_part: Function
    keep: Function
    move_kept: Function


def part_exponentials(traits: Traits) -> PartExponentials:
    seen = parts(traits).seen
    constants, _, exp_terms = exponentials(traits)
    keeping, logarithmic = traits.keeping, traits.logarithmic
    number, double = traits.form.number, np.float64
    zero, none, unit = number(0), np.int32(0), lift_unit(number)

    def rest_of(o: Any, part: Any, n_known: Any, top: Any, kept: Any) -> Any:
        disjoint()
        c = constants()
        rest = zero
        others = none
        for j in range(part.x.size):
            x_j, is_largest = seen(o, part, j, top)
            kept_j, factor, power = exp_terms(o, x_j, top[1], is_largest, c)
            is_new = j >= n_known
            rest = add_product(rest, select(is_new, factor, zero), power)
            others = count(others, is_new & (not is_largest))
            if keeping:
                kept[j] = kept_j
        return double(rest) * unit, double(part.x.size - n_known - others)

    def sum_part(
        o: Any, part: Any, row: Any, n_known: Any, top: Any, kept: Any, label: Any, moments: Any
    ) -> Any:
        """What a part adds to the rest and to the number of maxima; what is kept is kept.

        Its first `n_known` numbers were added before, and are left out.
        """
        return rest_of(o, part, n_known, top, window(kept, part.start, part.x.size))

    def keep(o: Any, part: Any, top: Any, kept: Any) -> None:
        disjoint()
        c = constants()
        for j in range(kept.size):
            x_j, is_largest = seen(o, part, j, top)
            kept[j] = exp_terms(o, x_j, top[1], is_largest, c)[0]

    def move_kept(kept: Any, gap: Any) -> None:
        """Change what is kept to a larger largest logit; `gap` is the last one less that."""
        factor = number(exp_of_gap(gap))
        shift = number(gap)
        for j in range(kept.size):
            kept[j] = kept[j] + shift if logarithmic else kept[j] * factor

    return PartExponentials(sum_part, keep, move_kept)
