"""Two rows of logits: as they count, how far they are apart, and the sums of their exponentials.

The formulas are in `pairs.py`.
"""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import accumulate, disjoint, prefetch, select, smaller, window
from ..form import Function
from ..log_ratio import half_cosh_sinh, half_tanh
from ..row_groups import CHUNK
from ..row_loss import PADDED_TO, largest, largest_magnitude
from ..scalar import exp, exp_of_gap
from ..tiles import fill
from .formulas import logits
from .traits import Traits

# Rows of scratch memory, at most: a, b and the differences; and the largest of these in each chunk.
SCRATCH = 4


class TwoRows(NamedTuple):
    """A number for each class, and padding; of `widths`, one for each chunk."""

    a: Any  # logits as they count
    b: Any
    exps_a: Any  # in the place of a
    exps_b: Any
    differences: Any  # x - y
    widths: Any  # the largest magnitude of a difference


def padded(n_classes: Any) -> Any:
    return -(-n_classes // PADDED_TO) * PADDED_TO


def room(n_classes: Any) -> Any:
    n = padded(n_classes)
    return 3 * n + -(-n // CHUNK), 1


def rows_in(numbers: Any, n_classes: Any) -> TwoRows:
    n = padded(n_classes)
    a, b = window(numbers, 0, n), window(numbers, n, n)
    return TwoRows(a, b, a, b, window(numbers, 2 * n, n), window(numbers, 3 * n, -(-n // CHUNK)))


# -------------------------------------------------------------------------------------------------
# One row of logits


def row_loader(traits: Traits, decode: Function) -> Function:
    """The function that brings one row into scratch memory; `decode` is that of its dtype."""
    cap = logits(traits).cap
    masked, capped, number = traits.variant.class_masked, traits.variant.capped, traits.form.number
    zero, inf, nan = number(0), number(np.inf), number(np.nan)

    def mask_of(o: Any, start: Any, x: Any) -> Any:
        return window(o.class_mask, start, x.size) if masked else x

    def decode_part(stored: Any, mask: Any, x: Any) -> None:
        disjoint()
        for j in range(stored.size):
            x_j = decode(stored[j])
            if masked:
                x_j = select(mask[j] != 0, x_j, -inf)
            x[j] = x_j

    def cap_part(o: Any, mask: Any, top: Any, x: Any) -> None:
        disjoint()
        for j in range(x.size):
            x_j = cap(o, x[j])[0]
            # Rounding may let a smaller logit pass the largest.
            x_j = select(x_j > top, top, x_j)
            if masked:
                x_j = select(mask[j] != 0, x_j, -inf)
            x[j] = x_j

    def one_hot(x: Any) -> Any:
        """Put 0 in the place of each +inf of a row that has some, else -inf; how many there are."""
        count = 0
        for j in range(x.size):
            is_top = x[j] == inf
            count += is_top
            x[j] = select(is_top, zero, x[j] - inf)
        return count

    def load(o: Any, stored: Any, x: Any) -> Any:
        """Put a row into x, as it counts; returns the largest number and its place.

        The largest is NaN where the softmax has no limit: all are -inf, or several +inf.
        """
        c = stored.size
        whole = window(x, 0, c)
        fill(window(x, c, x.size - c), -inf)
        top, place = -inf, 0
        for start in range(0, c, CHUNK):
            n = smaller(CHUNK, c - start)
            part = window(x, start, n)
            decode_part(window(stored, start, n), mask_of(o, start, part), part)
            # With the padding, of which there is none but at the end.
            found = largest(window(x, start, padded(n)))
            if found > top:
                top, place = found, start
        if capped:  # -inf, too; and others before the largest may be as large now
            top, place = cap(o, top)[0], 0
            cap_part(o, mask_of(o, 0, whole), top, whole)
        place = _first_of(whole, place, top)
        if top == inf:
            top = zero if one_hot(whole) == 1 else nan
        elif top == -inf or whole[place] != top:
            top = nan
        return top, place

    return load


def _first_of(x: Any, start: Any, top: Any) -> Any:
    """Where the number `top` is first, from `start` on."""
    for j in range(start, x.size):
        if x[j] == top:
            return j
    return 0  # only of NaN


# -------------------------------------------------------------------------------------------------
# Both rows


def gap_reader(traits: Traits) -> Function:
    tempered, double = traits.variant.tempered, np.float64

    def gap_at(o: Any, x: Any, label: Any, top: Any) -> Any:
        gap = double(top) - double(x[label])
        return gap * o.inverse_temperature if tempered else gap

    return gap_at


def _scaler(traits: Traits) -> Function:
    tempered, number = traits.variant.tempered, traits.form.number

    def scaled(o: Any, gap: Any) -> Any:
        return gap * number(o.inverse_temperature) if tempered else gap

    return scaled


def lost_by(a: Any, b: Any, rounded: Any) -> Any:
    """How much a - b is more than its rounded value (Knuth's two-sum)."""
    minus_b = rounded - a
    return (a - (rounded - minus_b)) - (b + minus_b)


def difference_formula(traits: Traits) -> Function:
    scaled, zero = _scaler(traits), traits.form.number(0)

    def difference_of(o: Any, a_j: Any, b_j: Any, shift: Any, lost_shift: Any) -> Any:
        """x - y; 0 for a class that is masked in both rows."""
        rounded = a_j - b_j
        lost = lost_by(a_j, b_j, rounded)
        lost = select(lost == lost, lost, zero)  # of an infinite difference
        difference = scaled(o, (rounded - shift) + (lost - lost_shift))
        return select(difference == difference, difference, zero)

    return difference_of


def difference_finder(traits: Traits) -> Function:
    difference_of = difference_formula(traits)

    def differences_of(
        o: Any, a: Any, b: Any, shift: Any, lost_shift: Any, differences: Any
    ) -> None:
        disjoint()
        for j in range(a.size):
            differences[j] = difference_of(o, a[j], b[j], shift, lost_shift)

    def find_differences(o: Any, two: Any, tops: Any) -> None:
        """Find x - y of all classes, and how wide these are in each chunk."""
        shift = tops[0] - tops[1]
        lost_shift = lost_by(tops[0], tops[1], shift)
        for start in range(0, two.a.size, CHUNK):
            n = smaller(CHUNK, two.a.size - start)
            a, b = window(two.a, start, n), window(two.b, start, n)
            part = window(two.differences, start, n)
            differences_of(o, a, b, shift, lost_shift, part)
            two.widths[start // CHUNK] = largest_magnitude(part)

    return find_differences


def excess_formula(number: Any) -> Function:
    zero, one = number(0), number(1)

    def excess_of(exp_x: Any, exp_y: Any, difference: Any) -> Any:
        """exp(x) - exp(y), with digits of its own where the two are close."""
        near = abs(difference) < one
        tanh = half_tanh(select(near, difference, zero))[0]
        return select(near, (exp_x + exp_y) * tanh, exp_x - exp_y)

    return excess_of


def exp_adder(traits: Traits) -> Function:
    gap_at, (sum_close, sum_any) = gap_reader(traits), _part_adders(traits)
    number, double = traits.form.number, np.float64
    one, inf, excess_of = number(1), number(np.inf), excess_formula(np.float64)

    def sum_exps(o: Any, rows: Any, ahead: Any, two: Any, tops: Any, places: Any) -> Any:
        """Put exponentials in the place of logits, and add up what `pairs.py` needs of them.

        That is the sum of exp(x) and that of exp(y), each without its largest term, which is 1, and
        the sum of exp(x) - exp(y). `places` are those of the largest terms. Of y_pred, what is from
        `ahead` on comes next.
        """
        a, b, (at_a, at_b) = two.exps_a, two.exps_b, places
        # The classes of the maxima are added apart: a sum without the 1 keeps its digits.
        apart = at_a != at_b
        exp_x, exp_y = exp(-gap_at(o, two.a, at_b, tops[0])), exp(-gap_at(o, two.b, at_a, tops[1]))
        rest_a, rest_b = exp_x if apart else 0.0, exp_y if apart else 0.0
        excess = excess_of(1.0, exp_y, double(two.differences[at_a]))
        if apart:
            excess += excess_of(exp_x, 1.0, double(two.differences[at_b]))
        for place in places:
            two.a[place], two.b[place] = -inf, -inf
        for start in range(0, a.size, CHUNK):
            n = smaller(CHUNK, a.size - start)
            prefetch(rows.y_pred, ahead + start, n)
            part_a, part_b = window(a, start, n), window(b, start, n)
            part = window(two.differences, start, n)
            if two.widths[start // CHUNK] < one:
                sums = sum_close(o, part_a, part_b, part, tops)
            else:
                sums = sum_any(o, part_a, part_b, part, tops)
            rest_a += sums[0]
            rest_b += sums[1]
            excess += sums[2]
        a[at_a], b[at_a] = one, number(exp_y)
        a[at_b], b[at_b] = number(exp_x), one
        return rest_a, rest_b, excess

    return sum_exps


def exps_formula(traits: Traits) -> Function:
    scaled, excess_of = _scaler(traits), excess_formula(traits.form.number)

    def any_exps(o: Any, a_j: Any, b_j: Any, difference: Any, tops: Any) -> Any:
        """exp(x), exp(y) and exp(x) - exp(y)."""
        exp_x = exp_of_gap(scaled(o, a_j - tops[0]))
        exp_y = exp_of_gap(scaled(o, b_j - tops[1]))
        return exp_x, exp_y, excess_of(exp_x, exp_y, difference)

    return any_exps


def _part_adders(traits: Traits) -> tuple[Function, Function]:
    """The functions for chunks whose differences are all below 1, and for any chunks."""
    scaled, number, double = _scaler(traits), traits.form.number, np.float64
    zero, half, two = number(0), number(0.5), number(2)

    def close_exps(o: Any, a_j: Any, b_j: Any, difference: Any, tops: Any) -> Any:
        """The same from exp((x + y) / 2)."""
        mean = exp_of_gap(scaled(o, half * ((a_j - tops[0]) + (b_j - tops[1]))))
        cosh, sinh = half_cosh_sinh(difference)
        return mean * (cosh + sinh), mean * (cosh - sinh), two * (mean * sinh)

    def summing(exps_of: Function) -> Function:
        def sum_part(o: Any, a: Any, b: Any, differences: Any, tops: Any) -> Any:
            """Put exp(x) and exp(y) in the place of a and b; add up both, and exp(x) - exp(y)."""
            disjoint()
            sum_a, sum_b, excess = zero, zero, zero
            for j in range(a.size):
                exps = exps_of(o, a[j], b[j], differences[j], tops)
                a[j], b[j] = exps[0], exps[1]
                sum_a = accumulate(sum_a, exps[0])
                sum_b = accumulate(sum_b, exps[1])
                excess = accumulate(excess, exps[2])
            return double(sum_a), double(sum_b), double(excess)

        return sum_part

    return summing(close_exps), summing(exps_formula(traits))
