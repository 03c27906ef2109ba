"""What must be known before anything is written: is the data legal, and what does it weigh?

A survey reads labels, probabilities and weights once, block by block. For each block it gives the
sum of the weights of its samples, which make the denominator of a mean; or, if the block holds an
illegal number, minus the code of the array that holds it. Where nothing can be wrong and nothing is
weighed, no survey is made.
"""

from typing import Any

import numpy as np

from .bits import window
from .flags import fastmath
from .form import Form, Function

# The arrays with an illegal number; codes of several are added.
BAD_Y_TRUE = 1
BAD_Y_PRED = 2
BAD_WEIGHT = 4


def survey(
    form: Form, check_true: bool, check_pred: bool, ignoring: bool, class_weighted: bool
) -> Function:
    """A kernel that checks ranges and weights and adds up the weights of each block of samples.

    `n_classes` is the width of a sample: 1 for elementwise losses.
    """
    decode_true, decode_pred = form.decode_true, form.decode_pred
    class_ids, weighted = form.class_ids, form.weighted
    double = np.float64

    @fastmath("reassoc")
    def outside(stored: Any, decode: Function, low: Any, high: Any) -> Any:
        """Whether a number lies outside [low, high]; NaN does not, and shows in the result."""
        count = 0
        for i in range(stored.size):
            number = decode(stored[i])
            count += (number < low) or (number > high)
        return count > 0

    @fastmath("reassoc")
    def bad_weights(weight: Any) -> Any:
        count = 0
        for i in range(weight.size):
            count += not (weight[i] >= 0 and weight[i] < np.inf)
        return count > 0

    def class_id_weights(labels: Any, weight: Any, options: Any) -> Any:
        """Whether a class id is out of range, and the sum of the weights of rows that count."""
        n_classes, ignore_index, class_weight = options[0], options[1], options[2]
        bad = False
        total = 0.0
        for r in range(labels.size):
            label = decode_true(labels[r])
            if ignoring and label == ignore_index:
                continue
            if label < 0 or label >= n_classes:
                bad = True
                continue
            w = double(weight[r]) if weighted else 1.0
            total += w * class_weight[label] if class_weighted else w
        return bad, total

    @fastmath("reassoc")
    def mass(row: Any, class_weight: Any) -> Any:
        total = 0.0
        for j in range(row.size):
            total += class_weight[j] * double(decode_true(row[j]))
        return total

    def soft_label_weights(labels: Any, weight: Any, options: Any) -> Any:
        n_classes, class_weight = options[0], options[2]
        total = 0.0
        for r in range(labels.size // n_classes):
            w = double(weight[r]) if weighted else 1.0
            if w != 0.0:
                row = window(labels, r * n_classes, (r + 1) * n_classes)
                total += w * mass(row, class_weight)
        return total

    @fastmath("reassoc")
    def weight_sum(weight: Any) -> Any:
        total = 0.0
        for i in range(weight.size):
            total += double(weight[i])
        return total

    def survey_kernel(
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
        n_classes, _, _, true_low, true_high, pred_low, pred_high = options
        n_samples = y_true.size if class_ids else y_true.size // n_classes
        for b in range(partials.size):
            first = b * block
            last = min(first + block, n_samples)
            w = window(weight, first, last)
            report = 0
            total = double(last - first)
            if weighted:
                if bad_weights(w):
                    report |= BAD_WEIGHT
                total = weight_sum(w)
            if class_ids:
                bad, total = class_id_weights(window(y_true, first, last), w, options)
                if bad:
                    report |= BAD_Y_TRUE
            else:
                labels = window(y_true, first * n_classes, last * n_classes)
                if check_true and outside(labels, decode_true, true_low, true_high):
                    report |= BAD_Y_TRUE
                if class_weighted:
                    total = soft_label_weights(labels, w, options)
            if check_pred:
                numbers = window(y_pred, first * n_classes, last * n_classes)
                if outside(numbers, decode_pred, pred_low, pred_high):
                    report |= BAD_Y_PRED
            partials[b] = -double(report) if report else total

    return survey_kernel
