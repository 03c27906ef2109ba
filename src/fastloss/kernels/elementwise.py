"""The loop over independent elements, written once for every elementwise loss.

A kernel is made for one loss and one combination of dtypes and outputs: the functions and switches
below are constants of the compiled code, and so are options of the loss that are 0 or 1. All other
options are arguments of each call: first one array, for the options that have one number per
column, then numbers. Blocks begin at column 0, tiles anywhere; so for each such option the array
holds the numbers of all columns and, from the first on again, as many more as a tile may need.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..compiler.bits import (
    accumulate,
    disjoint,
    interleaved,
    prefetch,
    scratch,
    select,
    smaller,
    window,
)
from ..compiler.flags import allocating
from .form import Form, Function
from .tiles import put

# Elements computed at a time, into tiles that stay in the first-level cache. Results go through
# tiles because a loop that reads and writes the same array, as in-place calls do, is not vectorised
# (0.36 ns an element against 0.09; the detour costs 0.01), and because float64 sums in the same
# loop would halve its width. Tiles are small because memory is not read while one is summed up:
# with 1,024 elements squared errors lose 10%.
TILE = 1 << 8
# How far ahead of a tile memory is asked for.
AHEAD = 4 * TILE
# Elements whose losses make one partial sum. Fixed, so that a result does not depend on threads.
BLOCK = 1 << 15


def per_column(options: Sequence[Sequence[float]], number: Any) -> Any:
    """The array of options that have one number per column."""
    return np.concatenate([np.resize(np.array(o, number), len(o) + TILE) for o in options])


def _itself(self: Any, i: Any) -> Any:
    return self


def _as_it_is(number: Any) -> Any:
    return number


def _of_element(parameters: type, constants: tuple[Any, ...], whole: Sequence[bool]) -> Function:
    """What stands for `self` at element i of a tile, with options of one number per column.

    `whole` says of each of these options whether its numbers are integers.
    """

    def none(columns: Any, step: Any, i: Any) -> Any:
        return ()

    def one_more(before: Function, k: int, kind: Function) -> Function:
        # As a window, because LLVM knows that i is not negative, and k * step + i might be.
        def numbers(columns: Any, step: Any, i: Any) -> Any:
            return (*before(columns, step, i), kind(window(columns, k * step, TILE)[i]))

        return numbers

    numbers = none
    for k, is_whole in enumerate(whole):
        numbers = one_more(numbers, k, int if is_whole else _as_it_is)

    def of_element(self: Any, i: Any) -> Any:
        columns, step, others = self
        return parameters(*(numbers(columns, step, i) + others + constants))

    return of_element


def tile_function(
    scalar: Function, form: Form, of_element: Function = _itself, ready: bool = False
) -> Function:
    """The loop that computes losses and derivatives, not weighed, tile by tile.

    `of_element(self, i)` is what `scalar` gets for `self` at element i of a tile. Derivatives are
    numbers of the arithmetic or, if they are to be `ready`, multiplied by `scale` and encoded.

    It always computes whole tiles; numbers that do not fill one are copied to the spare tiles that
    it is lent. Else the elements behind the last whole vector would be computed one by one and
    might be rounded differently, and no sample may notice how many others there are. Its outputs
    have room for whole tiles.
    """
    decode_true, decode_pred, number = form.decode_true, form.decode_pred, form.number
    encode, with_grad, with_hess = form.encode, form.with_grad, form.with_hess

    def kept(derivative: Any, scale: Any) -> Any:
        return encode(number(derivative) * scale) if ready else number(derivative)

    def fill_tile(
        self: Any, scale: Any, y_true: Any, y_pred: Any, losses: Any, grads: Any, hesses: Any
    ) -> None:
        disjoint()
        interleaved()
        for i in range(TILE):
            own = of_element(self, i)
            results = scalar(own, decode_true(y_true[i]), decode_pred(y_pred[i]))
            losses[i] = number(results[0])
            if with_grad:
                grads[i] = kept(results[1], scale)
            if with_hess:
                hesses[i] = kept(results[2], scale)

    def to_spare(part: Any, spare: Any) -> Any:
        for i in range(TILE):
            spare[i] = part[i if i < part.size else 0]
        return window(spare, 0, TILE)

    def compute(
        self: Any,
        scale: Any,
        y_true: Any,
        y_pred: Any,
        losses: Any,
        grads: Any,
        hesses: Any,
        spare_true: Any,
        spare_pred: Any,
    ) -> None:
        for start in range(0, y_pred.size, TILE):
            size = smaller(TILE, y_pred.size - start)
            true, pred = window(y_true, start, size), window(y_pred, start, size)
            if size < TILE:
                true, pred = to_spare(true, spare_true), to_spare(pred, spare_pred)
            fill_tile(
                self,
                scale,
                true,
                pred,
                window(losses, start, TILE),
                window(grads, start, TILE),
                window(hesses, start, TILE),
            )

    return compute


def _compute_and_options(
    scalar: Function,
    parameters: type,
    constants: tuple[Any, ...],
    form: Form,
    ready: bool,
    per_column: Sequence[bool],
) -> tuple[Function, Function]:
    """The loop over a tile, and what it gets for `self` from the options of a call."""
    n_per_column = len(per_column)
    if per_column:
        of_element = _of_element(parameters, constants, per_column)
        compute = tile_function(scalar, form, of_element, ready)

        def of_tile(options: Any, start: Any) -> Any:
            columns = options[0]
            step = columns.size // n_per_column
            return window(columns, start % (step - TILE), columns.size), step, options[1:]
    else:
        compute = tile_function(scalar, form, ready=ready)

        def of_tile(options: Any, start: Any) -> Any:
            return parameters(*(options + constants))

    return compute, of_tile


def _adder(form: Form) -> Function:
    """The function that adds up the losses of a tile, and writes them if each is asked for."""
    number, double = form.number, np.float64
    weighted, per_sample = form.weighted, form.per_sample

    def add_up(losses: Any, weight: Any, losses_out: Any, size: Any) -> Any:
        total = 0.0
        for i in range(size):
            loss = double(losses[i])
            if weighted:
                # An element of weight 0 is left out, whatever it holds: NaN included.
                w = double(weight[i])
                loss = select(w != 0.0, w * loss, 0.0)
            if per_sample:
                losses_out[i] = number(loss)
            total = accumulate(total, loss)
        return total

    return add_up


def elementwise(
    scalar: Function,
    parameters: type,
    constants: tuple[Any, ...],
    form: Form,
    surveyed: bool,
    per_column: Sequence[bool] = (),
) -> Function:
    """What to do with a block, for `scalar(self, y_true, y_pred) -> (loss, gradient[, hessian])`.

    `parameters` is the named tuple that stands for `self` in compiled code, and `constants` are the
    last of its values; the others are the options of a call, of which the first have one number per
    column: as many as `per_column` has members, which say whether the numbers are integers. If
    `surveyed`, the labels of a block are read before it is computed.
    """
    # The product with a weight is one of float64, which would halve the width of that loop.
    ready = not form.weighted
    compute, of_tile = _compute_and_options(scalar, parameters, constants, form, ready, per_column)
    add_up, encode, with_grad, with_hess = _adder(form), form.encode, form.with_grad, form.with_hess
    number, double, stored, stored_true = form.number, np.float64, form.stored, form.stored_true
    encoded_number = form.stored_derivatives
    tile_number = encoded_number if ready else number
    # Labels of this block were just read; those of the next one will be first.
    labels_ahead = BLOCK if surveyed else AHEAD

    def weigh(derivatives: Any, weight: Any, scale: Any, encoded: Any, size: Any) -> None:
        disjoint()
        for i in range(size):
            w = double(weight[i])
            derivative = derivatives[i] * number(w * scale)
            encoded[i] = encode(select(w != 0.0, derivative, number(0)))

    def write(tile: Any, block: Any, scale: Any, start: Any, out: Any, encoded: Any) -> None:
        if ready:
            put(tile, out, block.streamed)
        else:
            weigh(tile, window(block.weight, start, out.size), scale, encoded, out.size)
            put(encoded, out, block.streamed)

    @allocating
    def sum_elements(block: Any, scale: Any) -> Any:
        losses = scratch(number, TILE)
        grads = scratch(tile_number, TILE if with_grad else 0)
        hesses = scratch(tile_number, TILE if with_hess else 0)
        encoded = scratch(encoded_number, 0 if ready else TILE)
        spare_true, spare_pred = scratch(stored_true, TILE), scratch(stored, TILE)
        scale_of_all = number(scale)
        total = 0.0
        for start in range(0, block.y_pred.size, TILE):
            size = smaller(TILE, block.y_pred.size - start)
            y_true = window(block.y_true, start, size)
            y_pred = window(block.y_pred, start, size)
            weight = window(block.weight, start, size)
            self = of_tile(block.options, start)
            compute(
                self, scale_of_all, y_true, y_pred, losses, grads, hesses, spare_true, spare_pred
            )
            prefetch(block.y_true, start + labels_ahead, TILE)
            prefetch(block.y_pred, start + AHEAD, TILE)
            total += add_up(losses, weight, window(block.losses_out, start, size), size)
            if with_grad:
                write(grads, block, scale, start, window(block.grad_out, start, size), encoded)
            if with_hess:
                write(hesses, block, scale, start, window(block.hess_out, start, size), encoded)
        return total

    return sum_elements
