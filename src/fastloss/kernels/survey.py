"""What must be known before anything is written: is the data legal, and what does it weigh?

A survey reads labels, probabilities and weights once, block by block. For each block it gives the
sum of the weights of its samples, which make the denominator of a mean; or, if the block holds an
illegal number, minus the code of the array that holds it.
"""

from typing import Any, NamedTuple

import numpy as np

from .bits import window
from .flags import fastmath
from .form import Form, Function
from .storage import decoder

# The arrays with an illegal number; codes of several are added.
BAD_Y_TRUE = 1
BAD_Y_PRED = 2
BAD_WEIGHT = 4

_UNBOUNDED = (-np.inf, np.inf)


class Limits(NamedTuple):
    """What is legal, and what counts."""

    y_true: tuple[float, float]
    y_pred: tuple[float, float]
    # Of row-wise losses, whose options then begin with the ignored class id and the class weights.
    ignoring: bool = False
    class_weighted: bool = False
    # The place of a number in each row of y_pred that must be above 0.
    positive: int | None = None

    def reads(self, form: Form) -> tuple[bool, bool, bool]:
        """Whether y_true, y_pred and weights are looked at."""
        y_true = (
            form.class_ids
            or self.class_weighted
            or (self.y_true != _UNBOUNDED and form.true != "bool")
        )
        y_pred = self.y_pred != _UNBOUNDED or self.positive is not None
        return y_true, y_pred, form.weighted


def _exact(name: str) -> Any:
    """The type of arithmetic that holds all numbers of a dtype (of wide integers, near enough)."""
    return np.float32 if name in ("float16", "bfloat16", "float32", "bool") else np.float64


def survey(form: Form, limits: Limits) -> Function:
    """What to do with a block: check ranges and weights, and add up the weights of its samples."""
    class_ids, weighted = form.class_ids, form.weighted
    # Not in the arithmetic of the loss: 1 + 1e-9 is illegal, though float32 rounds it to 1.
    true_number, pred_number = _exact(form.true), _exact(form.pred)
    decode_true = form.decode_true if class_ids else decoder(form.true, true_number.__name__)
    decode_pred = decoder(form.pred, pred_number.__name__)
    ignoring, class_weighted = limits.ignoring, limits.class_weighted
    check_true, _, _ = limits.reads(form)
    check_true = check_true and limits.y_true != _UNBOUNDED
    check_pred = limits.y_pred != _UNBOUNDED
    check_positive, place = limits.positive is not None, limits.positive or 0
    true_low, true_high = map(true_number, limits.y_true)
    pred_low, pred_high = map(pred_number, limits.y_pred)
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
    def not_positive(rows: Any, width: Any) -> Any:
        count = 0
        for r in range(rows.size // width):
            count += decode_pred(rows[r * width + place]) <= 0
        return count > 0

    @fastmath("reassoc")
    def bad_weights(weight: Any) -> Any:
        count = 0
        for i in range(weight.size):
            count += not (weight[i] >= 0 and weight[i] < np.inf)
        return count > 0

    def class_id_weights(labels: Any, weight: Any, n_classes: Any, options: Any) -> Any:
        """Whether a class id is out of range, and the sum of the weights of rows that count."""
        ignore_index, class_weight = options[0], options[1]
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
    def outside_classes(labels: Any, n_classes: Any) -> Any:
        count = 0
        for r in range(labels.size):
            label = decode_true(labels[r])
            count += (label < 0) or (label >= n_classes)
        return count > 0

    @fastmath("reassoc")
    def mass(row: Any, class_weight: Any) -> Any:
        total = 0.0
        for j in range(row.size):
            total += class_weight[j] * double(decode_true(row[j]))
        return total

    def soft_label_weights(labels: Any, weight: Any, n_classes: Any, class_weight: Any) -> Any:
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
        faults = 0
        total = double(block.y_pred.size // block.width)
        if weighted:
            if bad_weights(block.weight):
                faults |= BAD_WEIGHT
            total = weight_sum(block.weight)
        if class_ids and not (ignoring or class_weighted):
            if outside_classes(block.y_true, block.width):
                faults |= BAD_Y_TRUE
        elif class_ids:
            bad, total = class_id_weights(block.y_true, block.weight, block.width, block.options)
            if bad:
                faults |= BAD_Y_TRUE
        else:
            if check_true and outside(block.y_true, decode_true, true_low, true_high):
                faults |= BAD_Y_TRUE
            if class_weighted:
                total = soft_label_weights(
                    block.y_true, block.weight, block.width, block.options[1]
                )
        if check_pred and outside(block.y_pred, decode_pred, pred_low, pred_high):
            faults |= BAD_Y_PRED
        if check_positive and not_positive(block.y_pred, block.width):
            faults |= BAD_Y_PRED
        return -double(faults) if faults else total

    return survey_block
