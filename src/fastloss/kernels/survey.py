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
    """What to do with a block: check ranges and weights, and add up the weights of its samples.

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
                row = window(labels, r * n_classes, n_classes)
                total += w * mass(row, class_weight)
        return total

    @fastmath("reassoc")
    def weight_sum(weight: Any) -> Any:
        total = 0.0
        for i in range(weight.size):
            total += double(weight[i])
        return total

    def survey_block(block: Any) -> Any:
        n_classes, _, _, true_low, true_high, pred_low, pred_high = block.options
        faults = 0
        total = double(block.y_true.size if class_ids else block.y_true.size // n_classes)
        if weighted:
            if bad_weights(block.weight):
                faults |= BAD_WEIGHT
            total = weight_sum(block.weight)
        if class_ids:
            bad, total = class_id_weights(block.y_true, block.weight, block.options)
            if bad:
                faults |= BAD_Y_TRUE
        else:
            if check_true and outside(block.y_true, decode_true, true_low, true_high):
                faults |= BAD_Y_TRUE
            if class_weighted:
                total = soft_label_weights(block.y_true, block.weight, block.options)
        if check_pred and outside(block.y_pred, decode_pred, pred_low, pred_high):
            faults |= BAD_Y_PRED
        return -double(faults) if faults else total

    return survey_block
