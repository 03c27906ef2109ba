"""The loop over independent elements, written once for every elementwise loss.

A kernel is made for one loss and one combination of dtypes and outputs: the functions and switches
below are constants of the compiled code, while the loss's parameters are arguments of each call.
"""

from typing import Any

import numpy as np

from .flags import fastmath
from .form import Form, Function

# Elements computed at a time. Gradients go through a tile in the first-level cache and from there to
# their array: a loop that reads and writes the same array, as in-place calls do, is not vectorised
# (0.36 ns an element against 0.09), and the tile costs 0.01.
TILE = 1024
# Elements whose losses make one partial sum. Fixed, so that a result does not depend on threads.
BLOCK = 16 * TILE


def elementwise(scalar: Function, parameters: type, form: Form) -> Function:
    """A kernel for `scalar(self, y_true, y_pred) -> (loss, gradient[, hessian])`.

    `parameters` is the named tuple that stands for `self` in compiled code.
    """
    decode_true, decode_pred, encode = form.decode_true, form.decode_pred, form.encode
    weighted, per_sample = form.weighted, form.per_sample
    with_grad, with_hess = form.with_grad, form.with_hess
    number, double = form.number, np.float64

    @fastmath("reassoc")
    def tile_sum(
        self: Any,
        y_true: Any,
        y_pred: Any,
        weight: Any,
        scale: Any,
        losses_out: Any,
        grads: Any,
        hesses: Any,
    ) -> Any:
        total = 0.0
        for i in range(y_pred.size):
            results = scalar(self, decode_true(y_true[i]), decode_pred(y_pred[i]))
            loss = double(results[0])
            if weighted:
                # An element of weight 0 is left out, whatever it holds: NaN included.
                w = double(weight[i])
                factor = number(w) * scale
                loss = w * loss if w != 0.0 else 0.0
            else:
                factor = scale
            total += loss
            if per_sample:
                losses_out[i] = number(loss)
            if with_grad:
                slope = number(results[1]) * factor
                if weighted:
                    slope = slope if w != 0.0 else number(0)
                grads[i] = slope
            if with_hess:
                bend = number(results[2]) * factor
                if weighted:
                    bend = bend if w != 0.0 else number(0)
                hesses[i] = bend
        return total

    def write(numbers: Any, out: Any) -> None:
        for i in range(out.size):
            out[i] = encode(numbers[i])

    def elementwise_kernel(
        options: Any,
        scale: Any,
        block: Any,
        y_true: Any,
        y_pred: Any,
        weight: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
        partials: Any,
    ) -> None:
        self = parameters(*options)
        grads = np.empty(TILE if with_grad else 0, number)
        hesses = np.empty(TILE if with_hess else 0, number)
        for b in range(partials.size):
            total = 0.0
            for start in range(b * block, min((b + 1) * block, y_pred.size), TILE):
                stop = min(start + TILE, y_pred.size)
                total += tile_sum(
                    self,
                    y_true[start:stop],
                    y_pred[start:stop],
                    weight[start:stop],
                    number(scale),
                    losses_out[start:stop],
                    grads,
                    hesses,
                )
                if with_grad:
                    write(grads, grad_out[start:stop])
                if with_hess:
                    write(hesses, hess_out[start:stop])
            partials[b] = total

    return elementwise_kernel
