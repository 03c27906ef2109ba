"""One element or one row of a loss, for compiled code of users to call.

The functions below stand between such code and what the verbs run: the scalar function of a loss,
or its kernel, which is compiled and stored as it is for the verbs. So results agree to the last
bit. The options are constants of the code.
"""

from typing import Any

import numpy as np

from ..compiler.bits import part_of, scratch, writeable
from ..compiler.flags import allocating
from .args import Args
from .form import Form, Function
from .tiles import fill


def one_element(
    scalar: Function, parameters: type, values: tuple[Any, ...], form: Form
) -> Function:
    """`scalar(self, y_true, y_pred)` with the `values` of all parameters built in."""
    number = form.number

    def gradient_only(y_true: Any, y_pred: Any) -> Any:
        results = scalar(parameters(*values), number(y_true), number(y_pred))
        return number(results[0]), number(results[1])

    def with_hessian(y_true: Any, y_pred: Any) -> Any:
        results = scalar(parameters(*values), number(y_true), number(y_pred))
        return number(results[0]), number(results[1]), number(results[2])

    return with_hessian if form.with_hess else gradient_only


def one_row(kernel: Function, args: Args, form: Form, one_label: bool, exponent: int) -> Function:
    """The kernel called for one row, with results times 2**exponent.

    `args` are those of a call with one row. If `one_label`, y_true is a number, not a row.
    """
    shared = *args.shared, args.weight
    n_classes, n_labels = args.width, args.true_width
    stored, stored_true = form.stored, form.stored_true
    double, nan = np.float64, stored(np.nan)

    @allocating
    def labels_of_number(y_true: Any) -> Any:
        labels = scratch(stored_true, 1)
        labels[0] = y_true
        return labels

    # A number that is no class id, nor the mark of rows that are left out.
    no_class = -2 if form.class_ids and args.options.ignore_index == -1 else -1

    @allocating
    def labels_of_class_id(y_true: Any) -> Any:
        labels = scratch(stored_true, 1)
        in_reach = (y_true >= -(2.0**63)) & (y_true < 2.0**63)
        label = stored_true(y_true) if in_reach else stored_true(no_class)
        labels[0] = label if label == y_true else no_class  # no fraction is a class id
        return labels

    rescaled_grad = form.with_grad and exponent != 0
    # Two powers of 2, as float64 may not hold their product.
    power, rest = 2.0 ** (exponent // 2), 2.0 ** (exponent - exponent // 2)
    labels_of: Function = writeable
    if one_label:
        labels_of = labels_of_class_id if form.class_ids else labels_of_number

    @allocating
    def run(y_true: Any, y_pred: Any, grad_out: Any) -> Any:
        labels = labels_of(y_true)
        # No exception: a parallel loop may be running.
        if y_pred.size != n_classes or labels.size != n_labels:
            return np.nan
        weights, partials = scratch(double, 1), scratch(double, 1)
        own = (
            part_of(labels, 0, n_labels),
            part_of(y_pred, 0, n_classes),
            part_of(grad_out, 0, n_classes),
            part_of(weights, 0, 1),
            part_of(partials, 0, 1),
        )
        kernel(*(writeable(shared) + own))
        n_read = labels.size  # named once more, so that it is there until now
        if rescaled_grad:
            for j in range(grad_out.size):
                grad_out[j] = stored(double(grad_out[j]) * power * rest)
        is_legal = n_read == n_labels and weights[0] >= 0.0
        return partials[0] * power * rest if is_legal else np.nan

    def value(y_true: Any, y_pred: Any) -> Any:
        return run(y_true, y_pred, ())

    def value_and_grad(y_true: Any, y_pred: Any, grad_out: Any) -> Any:
        loss = run(y_true, y_pred, grad_out) if grad_out.size == n_classes else np.nan
        if loss != loss:  # whatever the reason, and the kernel may not have written it
            fill(grad_out, nan)
        return loss

    return value_and_grad if form.with_grad else value
