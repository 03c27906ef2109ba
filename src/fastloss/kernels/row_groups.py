"""The loop over rows of classes, written once; and losses that add up a scalar function.

Rows are computed in groups, so that what is done once for a row (a logarithm, two divisions) is
done with SIMD for many. A group function is `group(rows)`: it writes the loss of each row into
`rows.losses`, not weighed, and the derivatives in storage form, multiplied by `weights[r] * scale`.
Rows of weight 0 are left out: their derivatives are 0, and what stands in `losses` for them does
not count.
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import accumulate, disjoint, larger, scratch, select, smaller, window
from ..compiler.flags import allocating
from .args import own_options
from .blocks import cuts
from .elementwise import TILE, tile_function
from .form import Form, Function
from .tiles import fill

# About how many numbers of y_pred make a block. Fixed: see `elementwise.BLOCK`.
BLOCK = 1 << 15
# The most rows in a group; a block that has more rows is a multiple of it. With 32, LLVM leaves
# maxima unvectorised; 128 are 10% faster for 10 classes, and 10% slower for 100.
GROUP = 64
# Numbers that are added up in the arithmetic before their sum goes on in float64. With the lanes of
# SIMD each float32 sum has few terms, so 131,072 classes are as exact as 10.
CHUNK = 1 << 9
# How many sums of a row are float64, and how many more its scores are found from: see `Sums` and
# `Moments` of `softmax/group_sums.py`.
N_DOUBLE_SUMS, N_MOMENTS = 2, 5


class Rows(NamedTuple):
    """A group of n rows."""

    options: Any  # see `row_options`
    n_classes: Any
    n_labels: Any  # numbers of y_true in a row
    y_true: Any  # n class ids, or n rows of labels, as stored
    y_pred: Any  # n rows, as stored; in class-major forms `Columns`
    n_behind: Any  # how many numbers of y_pred lie behind them, at least
    weights: Any  # float64, room for GROUP rows
    probabilities: Any  # n rows of as many as there are class ids, or ()
    mask: Any  # n rows, or ()
    vector: Any  # n rows, or ()
    scale: Any
    losses: Any  # float64, room for GROUP rows
    scores: Any  # n times `RowScores`, n losses, or ()
    grad_out: Any  # as y_pred, or ()
    hess_out: Any
    streamed: Any  # whether derivatives go past the caches
    # Scratch, with what earlier groups left there: numbers of the arithmetic; numbers as stored;
    # float64, GROUP of them for each of N_DOUBLE_SUMS and, if rows are scored, for each of
    # N_MOMENTS and for each score.
    numbers: Any
    encoded: Any
    doubles: Any


def group_sizer(n_numbers: int) -> Function:
    """The function that says how many rows make a group: those with about `n_numbers` in all."""

    def group_size(n_classes: Any) -> Any:
        return smaller(larger(n_numbers // n_classes, 1), GROUP)

    return group_size


def _weighing(form: Form, ignoring: bool, class_weighted: bool) -> tuple[Function, Function]:
    """The functions that find the weights of the rows of a group, and add up their losses."""
    decode_true, weighted = form.decode_true, form.weighted
    per_sample = form.per_sample and not form.scored
    number, double = form.number, np.float64

    def weigh(y_true: Any, weight: Any, options: Any, weights: Any, n: Any) -> None:
        for r in range(n):
            w = double(weight[r]) if weighted else 1.0
            if ignoring and decode_true(y_true[r]) == options.ignore_index:
                w = 0.0
            elif class_weighted:
                label = decode_true(y_true[r])
                if label >= 0 and label < options.mean_weight.size:
                    w *= options.mean_weight[label]
            weights[r] = w

    def weighted_sum(losses: Any, weights: Any, losses_out: Any, n: Any) -> Any:
        total = 0.0
        for r in range(n):
            # A row of weight 0 is left out, whatever it holds: NaN included.
            loss = select(weights[r] != 0.0, weights[r] * losses[r], 0.0)
            if per_sample:
                losses_out[r] = number(loss)
            total = accumulate(total, loss)
        return total

    return weigh, weighted_sum


def rowwise(
    group: Function,
    group_size: Function,
    room: Function,
    form: Form,
    ignoring: bool,
    class_weighted: bool = False,
) -> Function:
    """What to do with a block: apply `group` to its rows, weigh and add up their losses.

    `group_size(n_classes)` rows make a group. `room(n_classes)` says how much scratch it needs, in
    numbers and in stored numbers. If `class_weighted`, the weight of a row is multiplied by that of
    its class id.
    """
    weigh, weighted_sum = _weighing(form, ignoring, class_weighted)
    weighted, n_results = form.weighted, form.n_results
    number, double, stored = form.number, np.float64, form.stored_derivatives
    _, (window_of_pred, window_of_grad, window_of_hess) = cuts(form)
    n_doubles = (N_DOUBLE_SUMS + (N_MOMENTS + n_results if form.scored else 0)) * GROUP

    @allocating
    def sum_rows(block: Any, scale: Any) -> Any:
        n_classes, n_labels, options = block.width, block.true_width, block.options
        size = group_size(n_classes)
        n_scratch, n_encoded = room(n_classes)
        numbers, encoded = scratch(number, n_scratch), scratch(stored, n_encoded)
        doubles = scratch(double, 2 * GROUP + n_doubles)
        fill(doubles, 1.0)  # the weights, where there are none
        total = 0.0
        n_rows = block.y_pred.size // n_classes
        for start in range(0, n_rows, size):
            n = smaller(size, n_rows - start)
            first, n_numbers = start * n_classes, n * n_classes
            y_true = window(block.y_true, start * n_labels, n * n_labels)
            # Arrays would do, but Numba counts who uses them, which costs more than a group of
            # short rows.
            weights, losses = window(doubles, 0, GROUP), window(doubles, GROUP, GROUP)
            if weighted or ignoring or class_weighted:
                weigh(y_true, window(block.weight, start, n), options, weights, n)
            rows = Rows(
                options,
                n_classes,
                n_labels,
                y_true,
                window_of_pred(block.y_pred, first, n_numbers),
                block.y_pred.size - first - n_numbers,
                weights,
                window(block.probabilities, start * n_labels, n * n_labels),
                window(block.mask, first, n_numbers),
                window(block.vector, first, n_numbers),
                scale,
                losses,
                window(block.losses_out, start * n_results, n * n_results),
                window_of_grad(block.grad_out, first, n_numbers),
                window_of_hess(block.hess_out, first, n_numbers),
                block.streamed,
                window(numbers, 0, n_scratch),
                window(encoded, 0, n_encoded),
                window(doubles, 2 * GROUP, n_doubles),
            )
            group(rows)
            total += weighted_sum(losses, weights, rows.scores, n)
        return total

    return sum_rows


# ---------------------------------------------------------------------------------------------
# Losses that are a sum over the classes of a scalar function

# About how many numbers a group has, all computed as if they were independent elements.
_TOGETHER = 4 * TILE


def pointwise(
    scalar: Function, parameters: type, constants: tuple[Any, ...], form: Form
) -> Function:
    """The sum over the classes of `scalar(self, y_true, y_pred) -> (loss, gradient, hessian)`.

    A class id stands for one-hot labels. A class of label 0 adds nothing at all, so only the number
    at the class id is read.
    """
    compute, encode, class_ids = tile_function(scalar, form), form.encode, form.class_ids
    with_grad, with_hess = form.with_grad, form.with_hess
    # Whether rows are weighed or told apart; else they make one long row.
    by_row = form.weighted or form.per_sample
    number, double, stored_true = form.number, np.float64, form.stored_true
    group_size = group_sizer(_TOGETHER)

    n_tiles = 0 if class_ids else 1 + with_grad + with_hess
    # Spare predictions lie where derivatives are encoded, unless these are narrower: those of the
    # arithmetic then, which alone have that.
    narrower = form.stored_derivatives is not form.stored

    def padded(size: Any) -> Any:
        return -(-size // TILE) * TILE

    def room(n_classes: Any) -> Any:
        n_numbers = n_tiles * padded(group_size(n_classes) * n_classes)
        return n_numbers + (TILE if narrower else 0), TILE

    def add_up(losses: Any) -> Any:
        total = 0.0
        for j in range(losses.size):
            total = accumulate(total, double(losses[j]))
        return total

    def write(derivatives: Any, factor: Any, out: Any) -> None:
        disjoint()
        if factor == 0:
            fill(out, encode(number(0)))
        else:
            for j in range(out.size):
                out[j] = encode(factor * derivatives[j])

    @allocating
    def soft_labels(rows: Any) -> None:
        y_pred, weights, scale = rows.y_pred, rows.weights, rows.scale
        size = y_pred.size
        n = padded(size)
        losses = window(rows.numbers, 0, n)
        grads = window(rows.numbers, n, n)
        hesses = window(rows.numbers, 2 * n, n)
        self = parameters(*(own_options(rows.options) + constants))
        spare = scratch(stored_true, TILE)
        spare_pred = window(rows.numbers, n_tiles * n, TILE) if narrower else rows.encoded
        compute(self, number(1), rows.y_true, y_pred, losses, grads, hesses, spare, spare_pred)
        n = rows.n_classes if by_row else size
        for r in range(size // rows.n_classes):
            rows.losses[r] = 0.0
        for r in range(size // n):
            rows.losses[r] = add_up(window(losses, r * n, n))
            factor = number(weights[r] * scale)
            if with_grad:
                write(window(grads, r * n, n), factor, window(rows.grad_out, r * n, n))
            if with_hess:
                write(window(hesses, r * n, n), factor, window(rows.hess_out, r * n, n))

    group = _at_class_ids(scalar, parameters, constants, form) if class_ids else soft_labels
    return rowwise(group, group_size, room, form, ignoring=False)


def _at_class_ids(
    scalar: Function, parameters: type, constants: tuple[Any, ...], form: Form
) -> Function:
    decode_true, decode, encode = form.decode_true, form.decode_pred, form.encode
    with_grad, with_hess = form.with_grad, form.with_hess
    number, double = form.number, np.float64

    def class_id_labels(rows: Any) -> None:
        self = parameters(*(own_options(rows.options) + constants))
        n_classes = rows.n_classes
        nothing = encode(number(0))
        for r in range(rows.y_true.size):
            label = decode_true(rows.y_true[r])
            if label < 0 or label >= n_classes:
                # The labels were checked, so they changed since: stay inside the arrays.
                rows.losses[r] = np.nan
                if with_grad:
                    fill(window(rows.grad_out, r * n_classes, n_classes), encode(number(np.nan)))
                if with_hess:
                    fill(window(rows.hess_out, r * n_classes, n_classes), encode(number(np.nan)))
                continue
            place = r * n_classes + label
            loss, grad, hess = scalar(self, number(1), decode(rows.y_pred[place]))
            rows.losses[r] = double(loss)
            factor = number(rows.weights[r] * rows.scale)
            if with_grad:
                fill(window(rows.grad_out, r * n_classes, n_classes), nothing)
                if factor != 0:
                    rows.grad_out[place] = encode(factor * number(grad))
            if with_hess:
                fill(window(rows.hess_out, r * n_classes, n_classes), nothing)
                if factor != 0:
                    rows.hess_out[place] = encode(factor * number(hess))

    return class_id_labels
