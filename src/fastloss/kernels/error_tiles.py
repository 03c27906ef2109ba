"""Sums over a tile of targets y and predictions p: of the errors e = p - y, and of moments.

A run of rows is added up tile by tile, each by SIMD; see `tally_errors.py`.

- The sum of e may be far smaller than its terms. So each is cut in two: a multiple of a power of
  two, the sum of which is exact, and the rest, of whose sum next to nothing is lost.
- Other sums are of distances from centers, the means of the first tile of the run, or of positive
  numbers. They lose as much as a few additions do.
- Where all numbers are the same, the center is that number, and so their moments are 0.
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import (
    accumulate,
    disjoint,
    float_as_int,
    int_as_float,
    larger,
    select,
)
from ..compiler.flags import unfused
from .form import Function
from .tally import SquareWeighed, Unweighed, Weighed, add, powers_in


class Terms(NamedTuple):
    """What a row of weight w adds to the sums; and some numbers of the run."""

    n: Unweighed
    n_undefined: Unweighed  # rows whose error is NaN
    weight: Weighed
    squared_weight: SquareWeighed
    error: Weighed  # w e
    absolute: Weighed  # w |e|
    squared: Weighed  # w e^2
    size: Weighed  # w |y|
    relative: Weighed  # w |e / y|, where y is not 0
    relative_weight: Weighed  # w, where y is not 0
    symmetric: Weighed  # 2 w |e| / (|y| + |p|), where these are not 0
    n_zero: Unweighed  # rows whose target is 0
    largest: Unweighed  # |e|
    center: Unweighed  # a number c close to e
    absolute_center: Unweighed  # to |e|
    squared_center: Unweighed  # to e^2
    first: SquareWeighed  # w^2 (e - c)
    absolute_first: SquareWeighed
    squared_first: SquareWeighed
    second: SquareWeighed  # w^2 (e - c)^2
    absolute_second: SquareWeighed
    squared_second: SquareWeighed
    scale: Unweighed  # what weights are multiplied by


class Moments(NamedTuple):
    """Moments of target, prediction and error about centers of theirs."""

    weight: Weighed
    y_center: Unweighed
    p_center: Unweighed
    e_center: Unweighed
    y_first: Weighed  # w (y - c)
    p_first: Weighed
    e_first: Weighed
    y_second: Weighed  # w (y - c)^2
    p_second: Weighed
    e_second: Weighed
    product: Weighed  # w (y - c) (p - c')
    scale: Unweighed


TERM_POWERS, MOMENT_POWERS = powers_in(Terms), powers_in(Moments)
N_TERMS, N_MOMENTS = len(TERM_POWERS), len(MOMENT_POWERS)
(
    N,
    N_UNDEFINED,
    WEIGHT,
    SQUARED_WEIGHT,
    ERROR,
    ABSOLUTE,
    SQUARED,
    SIZE,
    RELATIVE,
    RELATIVE_WEIGHT,
    SYMMETRIC,
    N_ZERO,
    LARGEST,
    CENTER,
) = range(14)
FIRST, SECOND, SCALE = (Terms._fields.index(name) for name in ("first", "second", "scale"))
Y_CENTER, Y_FIRST, Y_SECOND, PRODUCT = (
    Moments._fields.index(name) for name in ("y_center", "y_first", "y_second", "product")
)
# Of a tile, behind its other sums: the rest of the sum of errors, and the largest |w e|.
REST, MOST = N_TERMS, N_TERMS + 1
N_TILE = N_TERMS + 2

# Rows that are added up before rounding is looked at. A sum of 128 numbers by vectors of four, two
# abreast, has 16 additions in each lane: of numbers that are all the same it loses 7e-16 at most,
# and one of 256 up to 1.6e-15.
TILE = 1 << 7
# How far ahead of a tile memory is asked for.
AHEAD = 4 * TILE
# Terms of errors are cut where adding so many units rounds them. A unit is so many times the
# largest term of the tile that made it necessary. So the sum of what is cut off is exact.
SLACK = 2.0**10


@unfused
def cut_at(x: Any, cut: Any) -> Any:
    return (x + cut) - cut


@unfused
def _square(x: Any) -> Any:
    """Rounded, so that those of equal numbers are equal to their center."""
    return x * x


@unfused
def finite(x: Any) -> Any:
    return x - x == 0.0


def find_centers(y: Any, p: Any, of_errors: Any, of_moments: Any) -> None:
    """The means of e, |e| and e^2, and those of y, p and e.

    Each is found as the first number and the mean of the distances from it.
    """
    first_y, first_p = np.float64(y[0]), np.float64(p[0])
    first = first_p - first_y
    absolute, squared = abs(first), _square(first)
    sum_y = sum_p = sum_e = sum_absolute = sum_squared = 0.0
    for i in range(p.size):
        target, prediction = np.float64(y[i]), np.float64(p[i])
        e = prediction - target
        sum_y += target - first_y
        sum_p += prediction - first_p
        sum_e += e - first
        sum_absolute += abs(e) - absolute
        sum_squared += _square(e) - squared
    n = np.float64(p.size)
    of_moments[0], of_moments[1] = _center(first_y, sum_y / n), _center(first_p, sum_p / n)
    of_moments[2] = of_errors[0] = _center(first, sum_e / n)
    of_errors[1] = _center(absolute, sum_absolute / n)
    of_errors[2] = _center(squared, sum_squared / n)


def clear(sums: Any) -> None:
    for i in range(sums.size):
        sums[i] = 0.0


def add_tile(tile: Any, high: Any, low: Any) -> None:
    """Add the sums of a tile to those of a run, of which `low` has what rounding takes."""
    disjoint()
    for i in range(high.size):
        add(tile[i], 0.0, i, high, low)


def unit_of(most: Any) -> Any:
    """The unit of a tile with so large a term."""
    return select(most < 2.0**990, most, 2.0**990) * SLACK


def _center(first: Any, mean: Any) -> Any:
    """A number so far from the first one, if it is finite."""
    center = first + mean
    return select(finite(center), center, 0.0)


def _scale_of(most: Any) -> Any:
    """The power of two that brings the largest weight to 1 or next below it.

    So a sum of weighed numbers overflows where that of as many numbers does, and not before.
    """
    exponent = (float_as_int(most) - 1) >> 52
    return int_as_float(larger(2045 - exponent, np.int64(1)) << 52)


def weighing(weighted: bool) -> tuple[Function, Function]:
    """The weight of a row, and the scale for the weights of a run; both are 1 without weights."""

    def weight_at(weight: Any, i: Any, scale: Any) -> Any:
        return np.float64(weight[i]) * scale if weighted else 1.0

    def scale_for(weight: Any) -> Any:
        if not weighted:
            return 1.0
        most = 0.0
        for i in range(weight.size):
            most = larger(np.float64(weight[i]), most)
        return _scale_of(most)

    return weight_at, scale_for


def errors_adder(weighted: bool) -> Function:
    """Sums of errors over a tile; those of |e| and e^2 less the last two centers."""
    weight_at, _ = weighing(weighted)
    double = np.float64

    def add_errors(
        y: Any, p: Any, weight: Any, scale: Any, cut: Any, center: Any, tile: Any
    ) -> None:
        disjoint()
        c, c_absolute, c_squared = center[0], center[1], center[2]
        weights = weights_2 = cut_off = rest = absolute = squared = size = largest = most = 0.0
        first = first_a = first_s = second = second_a = second_s = 0.0
        for i in range(p.size):
            w = weight_at(weight, i, scale)
            target = double(y[i])
            e = double(p[i]) - target
            e_absolute, e_squared = abs(e), _square(e)
            term = w * e
            part = cut_at(term, cut)
            cut_off = accumulate(cut_off, part)
            rest = accumulate(rest, term - part)
            of_absolute, of_squared = w * (e_absolute - c_absolute), w * (e_squared - c_squared)
            absolute = accumulate(absolute, of_absolute)
            squared = accumulate(squared, of_squared)
            size = accumulate(size, w * abs(target))
            largest = larger(e_absolute, largest)
            second_a = accumulate(second_a, of_absolute * of_absolute)
            second_s = accumulate(second_s, of_squared * of_squared)
            of_error = w * (e - c)
            most = larger(w * e_absolute, most)
            weights = accumulate(weights, w)
            weights_2 = accumulate(weights_2, w * w)
            first = accumulate(first, w * of_error)
            first_a = accumulate(first_a, w * of_absolute)
            first_s = accumulate(first_s, w * of_squared)
            second = accumulate(second, of_error * of_error)
        tile[WEIGHT], tile[SQUARED_WEIGHT] = weights, weights_2
        tile[ERROR], tile[REST] = cut_off, rest
        tile[ABSOLUTE], tile[SQUARED], tile[SIZE], tile[LARGEST] = absolute, squared, size, largest
        tile[FIRST], tile[FIRST + 1], tile[FIRST + 2] = first, first_a, first_s
        tile[SECOND], tile[SECOND + 1], tile[SECOND + 2] = second, second_a, second_s
        tile[MOST] = most

    return add_errors


def ratios_of(single: bool) -> Function:
    """|e| over |y|, and over |y| + |p|.

    Of float32 numbers the product of both is a float64, so that one division does.
    """

    def ratios(e: Any, size: Any, both: Any) -> Any:
        if single:
            ratio = e / (size * both)
            return ratio * both, ratio * size
        return e / size, e / both

    return ratios


def relative_adder(weighted: bool, single: bool, with_zeros: bool) -> Function:
    """Sums of relative errors over a tile, in the order of `Terms` from `RELATIVE` on.

    Where a label may be 0 these are left out and counted.
    """
    weight_at, _ = weighing(weighted)
    double = np.float64

    ratios = ratios_of(single)

    def add_relative(y: Any, p: Any, weight: Any, scale: Any, tile: Any) -> None:
        disjoint()
        relative = weights = symmetric = n_zero = 0.0
        for i in range(p.size):
            w = weight_at(weight, i, scale)
            target, prediction = double(y[i]), double(p[i])
            size, e = abs(target), abs(prediction - target)
            of_size, of_both = ratios(e, size, size + abs(prediction))
            if with_zeros:
                known = size != 0.0
                # Of a label of 0 the error is all that there is, or there is none. An infinite
                # prediction is all, too.
                far = abs(prediction) == np.inf
                of_size = select(known, select(far, e, of_size), 0.0)
                of_both = select(far, 1.0, select(known, of_both, select(e != 0.0, 1.0, 0.0)))
                n_zero = accumulate(n_zero, select(known, 0.0, 1.0))
                weights = accumulate(weights, select(known, w, 0.0))
            else:
                weights = accumulate(weights, w)
            relative = accumulate(relative, w * of_size)
            symmetric = accumulate(symmetric, w * of_both)
        tile[0], tile[1], tile[2], tile[3] = relative, weights, 2.0 * symmetric, n_zero

    return add_relative


def moments_adder(weighted: bool) -> Function:
    """Moments over a tile; the centers are those of y, p and e."""
    weight_at, _ = weighing(weighted)
    double = np.float64

    def add_moments(y: Any, p: Any, weight: Any, scale: Any, center: Any, tile: Any) -> None:
        disjoint()
        c_y, c_p, c_e = center[0], center[1], center[2]
        y_first = p_first = e_first = y_second = p_second = e_second = product = 0.0
        for i in range(p.size):
            w = weight_at(weight, i, scale)
            target, prediction = double(y[i]), double(p[i])
            e = (prediction - target) - c_e
            target -= c_y
            prediction -= c_p
            of_y, of_p, of_e = w * target, w * prediction, w * e
            y_first = accumulate(y_first, of_y)
            p_first = accumulate(p_first, of_p)
            y_second = accumulate(y_second, of_y * target)
            p_second = accumulate(p_second, of_p * prediction)
            e_first = accumulate(e_first, of_e)
            e_second = accumulate(e_second, of_e * e)
            product = accumulate(product, of_y * prediction)
        tile[Y_FIRST], tile[Y_FIRST + 1], tile[Y_FIRST + 2] = y_first, p_first, e_first
        tile[Y_SECOND], tile[Y_SECOND + 1], tile[Y_SECOND + 2] = y_second, p_second, e_second
        tile[PRODUCT] = product

    return add_moments
