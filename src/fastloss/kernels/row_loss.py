"""The loop over whole rows, written once for every loss that is a function of a row.

A row is decoded into scratch memory, in the dtype of the arithmetic; the function of the loss
computes its loss and derivatives there; these are weighed and written.
"""

from typing import Any

import numpy as np

from ..compiler.bits import accumulate, disjoint, larger, smaller, window
from .args import own_options
from .form import Form, Function
from .row_groups import group_sizer, rowwise
from .tiles import fill, put

# Rows are padded to a multiple of this: the widest vectors of float32. Padding for the four vectors
# that LLVM may take at a time costs rows of 100 classes 8%, and of 10 twice as much.
PADDED_TO = 16
# Derivatives are encoded and written in parts of this size.
ENCODED = 1 << 11
# Rows of scratch memory, at most: labels, predictions, two to spare, and both derivatives.
SCRATCH = 6


# Row functions add up numbers that they have stored: a sum in the loop that computes its terms
# could be rounded differently with gradients and without.
def total(numbers: Any) -> Any:
    """The sum of the numbers, in float64."""
    result = 0.0
    for j in range(numbers.size):
        result = accumulate(result, np.float64(numbers[j]))
    return result


def dot(a: Any, b: Any) -> Any:
    """The sum of the products, in float64."""
    result = 0.0
    for j in range(a.size):
        result = accumulate(result, np.float64(a[j]) * np.float64(b[j]))
    return result


def largest(numbers: Any) -> Any:
    """The largest number; a NaN among them may be passed over or be the result."""
    result = numbers[0]
    for j in range(numbers.size):
        result = larger(numbers[j], result)
    return result


def largest_magnitude(numbers: Any) -> Any:
    """The largest magnitude; a NaN may be passed over or be the result."""
    result = abs(numbers[0])
    for j in range(numbers.size):
        result = larger(abs(numbers[j]), result)
    return result


def _decode(stored: Any, decode: Function, numbers: Any) -> None:
    disjoint()
    for j in range(stored.size):
        numbers[j] = decode(stored[j])


def _writer(form: Form) -> Function:
    encode, number = form.encode, form.number

    def encode_all(derivatives: Any, factor: Any, encoded: Any) -> None:
        disjoint()
        for j in range(encoded.size):
            encoded[j] = encode(factor * derivatives[j])

    def weigh(derivatives: Any, loss: Any, factor: Any, encoded: Any) -> None:
        if factor == 0:
            fill(encoded, encode(number(0)))
        elif loss != loss:
            fill(encoded, encode(number(np.nan)))
        else:
            encode_all(derivatives, factor, encoded)

    def write(
        derivatives: Any, loss: Any, factor: Any, encoded: Any, first: Any, out: Any, streamed: Any
    ) -> None:
        """Weigh and encode the derivatives of the row at `first`; if it is long, write them too."""
        c = derivatives.size
        if c <= ENCODED:
            weigh(derivatives, loss, factor, window(encoded, first, c))
            return
        for start in range(0, c, ENCODED):
            part = window(encoded, 0, smaller(ENCODED, c - start))
            weigh(window(derivatives, start, part.size), loss, factor, part)
            put(part, window(out, start, part.size), streamed)

    return write


def by_row(
    row: Function,
    parameters: type,
    constants: tuple[Any, ...],
    padding: tuple[float, float] | None,
    form: Form,
    ignoring: bool,
    class_weighted: bool,
) -> Function:
    """What to do with a block, for `row(self, y_true, y_pred, grads, hesses, spare) -> loss`.

    `parameters` is the named tuple that stands for `self` in compiled code: the number of classes,
    the options of a call but for the first two, and `constants`. Rows are padded with the two
    numbers of `padding`. A row whose loss is NaN has derivatives that are NaN, whatever the
    function says.
    """
    write, decode_true, decode_pred = _writer(form), form.decode_true, form.decode_pred
    class_ids, with_grad, with_hess = form.class_ids, form.with_grad, form.with_hess
    number = form.number
    nothing_true, nothing_pred = map(number, padding or (0.0, 0.0))
    step = PADDED_TO if padding else 1
    group_size = group_sizer(ENCODED)

    def padded(size: Any) -> Any:
        return -(-size // step) * step

    def room(n_classes: Any) -> Any:
        return (4 + with_grad + with_hess) * padded(n_classes), 2 * ENCODED

    def load(stored: Any, decode: Function, nothing: Any, numbers: Any) -> None:
        _decode(stored, decode, numbers)
        if step > 1:
            fill(window(numbers, stored.size, numbers.size - stored.size), nothing)

    def group(rows: Any) -> None:
        self = parameters(*((rows.n_classes,) + own_options(rows.options) + constants))  # noqa: RUF005
        c = rows.n_classes
        n_rows = rows.y_pred.size // c
        n_labels = rows.y_true.size // n_rows
        n = padded(c)
        y_pred = window(rows.numbers, 0, n)
        y_true = window(rows.numbers, n, padded(n_labels))
        spare = window(rows.numbers, 2 * n, 2 * n)
        grads = window(rows.numbers, 4 * n, n if with_grad else 0)
        hesses = window(rows.numbers, 5 * n, n if with_hess else 0)
        # Short rows are written together: what is streamed should be whole lines.
        encoded_grads = window(rows.encoded, 0, ENCODED)
        encoded_hesses = window(rows.encoded, ENCODED, ENCODED)
        for r in range(n_rows):
            first = r * c
            factor = number(rows.weights[r] * rows.scale)
            loss = 0.0
            if rows.weights[r] != 0.0:
                loss = np.nan
                load(window(rows.y_pred, first, c), decode_pred, nothing_pred, y_pred)
                if class_ids:
                    label = decode_true(rows.y_true[r])
                    # The labels were checked, but may have changed since: stay inside the arrays.
                    if label >= 0 and label < c:
                        loss = row(self, label, y_pred, grads, hesses, spare)
                else:
                    labels = window(rows.y_true, r * n_labels, n_labels)
                    load(labels, decode_true, nothing_true, y_true)
                    loss = row(self, y_true, y_pred, grads, hesses, spare)
            rows.losses[r] = loss
            if with_grad:
                found = window(grads, 0, c)
                write(found, loss, factor, encoded_grads, first, rows.grad_out, rows.streamed)
            if with_hess:
                found = window(hesses, 0, c)
                write(found, loss, factor, encoded_hesses, first, rows.hess_out, rows.streamed)
        if c <= ENCODED:
            if with_grad:
                put(encoded_grads, rows.grad_out, rows.streamed)
            if with_hess:
                put(encoded_hesses, rows.hess_out, rows.streamed)

    return rowwise(group, group_size, room, form, ignoring, class_weighted)
