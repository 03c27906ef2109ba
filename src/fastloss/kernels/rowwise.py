"""The loop over rows of classes, written once, and what each kind of loss does with one row.

A row function is `row(options, target, x, factor, grad_out, hess_out, scratch) -> loss`. `options`
are those of the kernel: the number of classes, the ignored class id, and what else the loss has.
`target` is the class id of the row, or its soft labels; `x` is the row of `y_pred` as stored;
`factor` multiplies the derivatives, which are written in storage form. The loss is not multiplied
by anything: the loop weighs it.
"""

from typing import Any

import numpy as np

from .bits import larger, select, window
from .elementwise import tile_function
from .flags import fastmath
from .form import Form, Function
from .scalar import exp, log1p

# Stored numbers, about, whose losses make one partial sum. Fixed: see `elementwise.BLOCK`.
BLOCK = 1 << 14
# Exponentials added up in the arithmetic dtype before their sum goes on in float64: with the lanes
# of SIMD each float32 sum has few terms, and 131,072 classes are as exact as 10.
CHUNK = 1 << 10


def fill(out: Any, stored: Any) -> None:
    """Write the same stored number everywhere; outputs that are not wanted are empty."""
    for j in range(out.size):
        out[j] = stored


def rowwise(row: Function, form: Form, ignoring: bool, n_scratch: int) -> Function:
    """What to do with a block: apply `row` to every row, weigh and add up the losses.

    The row function is lent room for `n_scratch` rows of numbers.
    """
    decode_true, encode = form.decode_true, form.encode
    class_ids, weighted, per_sample = form.class_ids, form.weighted, form.per_sample
    with_grad, with_hess = form.with_grad, form.with_hess
    number, double = form.number, np.float64

    def sum_rows(block: Any) -> Any:
        options, scale, y_true, y_pred, weight, losses_out, grads_out, hesses_out = block
        n_classes, ignore_index = options[0], options[1]
        scratch = np.empty(n_scratch * n_classes, number)
        total = 0.0
        for r in range(y_pred.size // n_classes):
            start = r * n_classes
            grad_out = window(grads_out, start, n_classes if with_grad else 0)
            hess_out = window(hesses_out, start, n_classes if with_hess else 0)
            if class_ids:
                target = decode_true(y_true[r])
            else:
                target = window(y_true, start, n_classes)
            w = double(weight[r]) if weighted else 1.0
            left_out = w == 0.0
            if ignoring:
                left_out = left_out or target == ignore_index
            loss = 0.0
            if left_out:
                fill(grad_out, encode(number(0)))
                fill(hess_out, encode(number(0)))
            else:
                x = window(y_pred, start, n_classes)
                loss = w * row(options, target, x, w * scale, grad_out, hess_out, scratch)
            total += loss
            if per_sample:
                losses_out[r] = number(loss)
        return total

    return sum_rows


# ---------------------------------------------------------------------------------------------
# Softmax cross-entropy


def cross_entropy_row(form: Form, class_weighted: bool, smoothed: bool) -> Function:
    """Softmax cross-entropy of one row of logits x against the target masses t.

    With m the largest logit, e_j = exp(x_j - m), S = sum of e_j and rest = S - 1, which is summed
    without the 1 and so keeps its digits when the model is confident:

        loss       = sum of t_j ((m - x_j) + log1p(rest))
        gradient_j = T e_j / S - t_j,            T = sum of t_j
        hessian_j  = T p_j (1 - p_j),            p_j = e_j / S

    The mass of a class is its class weight times its label, the label being smoothed if asked.
    """
    decode_true, decode, encode = form.decode_true, form.decode_pred, form.encode
    class_ids, with_grad, with_hess = form.class_ids, form.with_grad, form.with_hess
    number, double = form.number, np.float64
    one_hot = class_ids and not smoothed

    # NaN is not looked for here; it shows in the sum of the exponentials.
    @fastmath("nnan", "reassoc")
    def row_max(x: Any) -> Any:
        largest = number(-np.inf)
        for j in range(x.size):
            largest = larger(decode(x[j]), largest)
        return largest

    @fastmath("reassoc")
    def chunk_rest(x: Any, largest: Any, exps: Any) -> Any:
        """The sum of exp(x_j - largest) over x_j < largest, and how often x_j = largest.

        A largest logit gets exp = 1 by definition, so that +inf - inf is never asked for.
        """
        rest = number(0)
        maxima = number(0)
        for j in range(x.size):
            x_j = decode(x[j])
            is_largest = x_j == largest
            exp_j = exp(x_j - largest)
            rest += select(is_largest, number(0), exp_j)
            maxima += select(is_largest, number(1), number(0))
            if with_grad:
                exps[j] = select(is_largest, number(1), exp_j)
        return double(rest), double(maxima)

    def row_rest(x: Any, largest: Any, exps: Any) -> Any:
        """S - 1: the sum of exp(x_j - largest) over all classes but one of the largest."""
        rest = 0.0
        maxima = 0.0
        for start in range(0, x.size, CHUNK):
            size = min(CHUNK, x.size - start)
            chunk, count = chunk_rest(window(x, start, size), largest, window(exps, start, size))
            rest += chunk
            maxima += count
        # No limit exists for a row of -inf, nor for several +inf; here too is a row of NaN.
        if largest == number(-np.inf) or (largest == number(np.inf) and maxima > 1.0):
            return np.nan
        return rest + (maxima - 1.0)

    def mass(options: Any, target: Any, j: Any) -> Any:
        _, _, class_weight, smoothing, share = options
        if class_ids:
            label = select(j == target, number(1), number(0))
        else:
            label = decode_true(target[j])
        if smoothed:
            label = number(1.0 - smoothing) * label + number(share)
        if class_weighted:
            label = number(class_weight[j]) * label
        return label

    @fastmath("reassoc")
    def sum_of_masses(options: Any, target: Any, x: Any, largest: Any, log_sum: Any) -> Any:
        """The sums of t_j ((m - x_j) + log_sum) and of t_j."""
        loss = 0.0
        total = 0.0
        for j in range(x.size):
            x_j = decode(x[j])
            t = mass(options, target, j)
            gap = select(x_j == largest, number(0), largest - x_j)
            loss += double(select(t == number(0), number(0), t * (gap + log_sum)))
            total += double(t)
        return loss, total

    def row_loss(options: Any, target: Any, x: Any, largest: Any, log_sum: Any) -> Any:
        """The loss of the row and T."""
        if not one_hot:
            return sum_of_masses(options, target, x, largest, log_sum)
        x_y = decode(x[target])
        gap = number(0) if x_y == largest else largest - x_y
        t = number(options[2][target]) if class_weighted else number(1)
        loss = number(0) if t == number(0) else t * (gap + log_sum)
        return double(loss), double(t)

    def write_derivatives(
        options: Any,
        target: Any,
        total: Any,
        rest: Any,
        factor: Any,
        exps: Any,
        grad_out: Any,
        hess_out: Any,
    ) -> None:
        to_probability = number(1.0 / (1.0 + rest))
        # 1 - p of a class with p > 1/2, without subtracting: the gradient of a confident row
        # keeps its digits as its loss does.
        confident = rest < 1.0
        complement = number(rest / (1.0 + rest))
        total_ = number(total)
        factor_ = number(factor)
        for j in range(exps.size):
            p = exps[j] * to_probability
            if one_hot:
                grad_out[j] = encode(factor_ * (total_ * p))
            else:
                t = mass(options, target, j)
                excess = total_ * p - t
                if confident:
                    exact = (total_ - t) - total_ * complement
                    excess = select(exps[j] == number(1), exact, excess)
                grad_out[j] = encode(factor_ * excess)
            if with_hess:
                q = number(1) - p
                if confident:
                    q = select(exps[j] == number(1), complement, q)
                hess_out[j] = encode(factor_ * (total_ * (p * q)))
        if one_hot:
            excess = total_ * (exps[target] * to_probability) - total_
            if confident and exps[target] == number(1):
                excess = -(total_ * complement)
            grad_out[target] = encode(factor_ * excess)

    def row(
        options: Any,
        target: Any,
        x: Any,
        factor: Any,
        grad_out: Any,
        hess_out: Any,
        scratch: Any,
    ) -> Any:
        if class_ids and (target < 0 or target >= x.size):
            # The labels were checked, so they changed since: stay inside the arrays.
            fill(grad_out, encode(number(np.nan)))
            fill(hess_out, encode(number(np.nan)))
            return np.nan
        largest = row_max(x)
        rest = row_rest(x, largest, scratch)
        loss, total = row_loss(options, target, x, largest, log1p(number(rest)))
        if class_weighted and total == 0.0:  # its classes weigh nothing: the row is left out
            fill(grad_out, encode(number(0)))
            fill(hess_out, encode(number(0)))
            return 0.0
        if with_grad:
            write_derivatives(options, target, total, rest, factor, scratch, grad_out, hess_out)
        return loss if rest == rest else rest  # NaN in the row is NaN, even where no label is

    return row


# ---------------------------------------------------------------------------------------------
# Losses that are a sum over the classes of a scalar function


def pointwise_row(scalar: Function, parameters: type, form: Form) -> Function:
    """The sum over the classes of `scalar(self, y_true, y_pred) -> (loss, gradient, hessian)`.

    A class id stands for one-hot labels, and a class of label 0 for nothing at all: only the
    number at the class id is read.
    """
    compute, decode, encode = tile_function(scalar, form), form.decode_pred, form.encode
    class_ids, with_grad, with_hess = form.class_ids, form.with_grad, form.with_hess
    number, double = form.number, np.float64

    @fastmath("reassoc")
    def add_up(losses: Any) -> Any:
        total = 0.0
        for j in range(losses.size):
            total += double(losses[j])
        return total

    def write(derivatives: Any, factor: Any, out: Any) -> None:
        for j in range(out.size):
            out[j] = encode(factor * derivatives[j])

    def soft_row(
        self: Any, target: Any, x: Any, factor: Any, grad_out: Any, hess_out: Any, scratch: Any
    ) -> Any:
        losses = window(scratch, 0, x.size)
        grads = window(scratch, x.size, x.size)
        hesses = window(scratch, 2 * x.size, x.size)
        compute(self, target, x, losses, grads, hesses)
        write(grads, factor, grad_out)
        write(hesses, factor, hess_out)
        return add_up(losses)

    def row(
        options: Any,
        target: Any,
        x: Any,
        factor: Any,
        grad_out: Any,
        hess_out: Any,
        scratch: Any,
    ) -> Any:
        self = parameters(*options[2:])
        if not class_ids:
            return soft_row(self, target, x, number(factor), grad_out, hess_out, scratch)
        if target < 0 or target >= x.size:  # changed since the check: stay inside the arrays
            fill(grad_out, encode(number(np.nan)))
            fill(hess_out, encode(number(np.nan)))
            return np.nan
        results = scalar(self, number(1), decode(x[target]))  # before it is written, if in place
        fill(grad_out, encode(number(0)))
        fill(hess_out, encode(number(0)))
        if with_grad:
            grad_out[target] = encode(number(factor) * number(results[1]))
        if with_hess:
            hess_out[target] = encode(number(factor) * number(results[2]))
        return double(results[0])

    return row
