"""What must be known before anything is written: is the data legal, and what does it weigh?

A survey reads labels, probabilities and weights once, block by block. For each block it gives the
sum of the weights of its samples, which make the denominator of a mean; or, if the block holds an
illegal number, minus the code of the array that holds it.
"""

from typing import Any, NamedTuple

import numpy as np

from ..compiler.bits import accumulate, select, window
from .form import Form, Function
from .storage import STORED, decoder

# The arrays with an illegal number; codes of several are added.
BAD_Y_TRUE = 1
BAD_Y_PRED = 2
BAD_WEIGHT = 4
BAD_PROBABILITY = 8  # of a class id, where a row has several

UNBOUNDED = (-np.inf, np.inf)

# Sums of weights with which losses and derivatives can be computed as they are. Only the ratios of
# weights matter in a mean: where the sum is beyond these, a call first takes a power of two out of
# the weights, which changes no digit. Products with losses and scales then stay within float64.
LEAST_WEIGHT, MOST_WEIGHT = 2.0**-100, 2.0**100


class Limits(NamedTuple):
    """What is legal, and what counts."""

    y_true: tuple[float, float]
    y_pred: tuple[float, float]
    # Of losses of rows: whether `RowOptions` have these.
    ignoring: bool = False
    class_weighted: bool = False
    class_masked: bool = False
    # The place, in each row of y_pred, of a number that must be above 0.
    positive: int | None = None

    def reads(self, form: Form) -> tuple[bool, bool, bool]:
        """Whether y_true, y_pred and weights are looked at."""
        y_true = (
            form.class_ids
            or self.class_weighted
            or (self.y_true != UNBOUNDED and form.true != "bool")
        )
        y_pred = self.y_pred != UNBOUNDED or self.positive is not None
        return y_true, y_pred, form.weighted


def _exact(name: str) -> Any:
    """The type of arithmetic that holds all numbers of a dtype (of wide integers, near enough)."""
    return np.dtype(STORED[name].arithmetic).type


def _exact_decoder(name: str) -> Function:
    return decoder(name, STORED[name].arithmetic)


def survey(form: Form, limits: Limits) -> Function:
    """What to do with a block: check ranges and weights, and add up the weights of its samples."""
    # Not in the arithmetic of the loss: 1 + 1e-9 is illegal, though float32 rounds it to 1.
    true_number, pred_number = _exact(form.true), _exact(form.pred)
    decode_true, decode_pred = _exact_decoder(form.true), _exact_decoder(form.pred)
    check_true = limits.reads(form)[0] and limits.y_true != UNBOUNDED
    check_pred, check_positive = limits.y_pred != UNBOUNDED, limits.positive is not None
    true_low, true_high = map(true_number, limits.y_true)
    pred_low, pred_high = map(pred_number, limits.y_pred)
    place, double = limits.positive or 0, np.float64
    class_ids, weighted, class_weighted = form.class_ids, form.weighted, limits.class_weighted
    look_at_ids, soft_label_weights = _id_survey(form, limits), _soft_weights(form, limits)

    def outside(stored: Any, decode: Function, low: Any, high: Any) -> Any:
        """Whether a number lies outside [low, high]; NaN does not, and shows in the result."""
        found = False
        for i in range(stored.size):
            number = decode(stored[i])
            # To count such numbers takes integers of 64 bits, and a third longer.
            found |= (number < low) | (number > high)
        return found

    def not_positive(rows: Any, width: Any) -> Any:
        count = 0
        for r in range(rows.size // width):
            count += decode_pred(rows[r * width + place]) <= 0
        return count > 0

    def bad_weights(weight: Any) -> Any:
        count = 0
        for i in range(weight.size):
            count += not (weight[i] >= 0 and weight[i] < np.inf)
        return count > 0

    def sum_of(weight: Any) -> Any:
        total = 0.0
        for i in range(weight.size):
            total = accumulate(total, double(weight[i]))
        return total

    def survey_block(block: Any) -> Any:
        faults = 0
        total = double(block.y_pred.size // block.width)
        if weighted:
            if bad_weights(block.weight):
                faults |= BAD_WEIGHT
            total = sum_of(block.weight)
        if class_ids:
            found, total = look_at_ids(block, total)
            faults |= found
        else:
            if check_true and outside(block.y_true, decode_true, true_low, true_high):
                faults |= BAD_Y_TRUE
            if class_weighted:
                total = soft_label_weights(block)
        if check_pred and outside(block.y_pred, decode_pred, pred_low, pred_high):
            faults |= BAD_Y_PRED
        if check_positive and not_positive(block.y_pred, block.width):
            faults |= BAD_Y_PRED
        return -double(faults) if faults else total

    return survey_block


def _soft_weights(form: Form, limits: Limits) -> Function:
    inside = _insider(form, limits)
    masked, weighted = limits.class_masked or bool(form.mask), form.weighted
    decode_true = _exact_decoder(form.true)
    double = np.float64

    def mass(block: Any, r: Any) -> Any:
        """The sum of class weight times label of a row."""
        class_weight = block.options.mean_weight
        row = window(block.y_true, r * block.width, block.width)
        total = 0.0
        for j in range(row.size):
            t = class_weight[j] * double(decode_true(row[j]))
            if masked:
                t = select(inside(block, r, j), t, 0.0)
            total = accumulate(total, t)
        return total

    def soft_label_weights(block: Any) -> Any:
        total = 0.0
        for r in range(block.y_true.size // block.width):
            w = double(block.weight[r]) if weighted else 1.0
            if w != 0.0:
                total += w * mass(block, r)
        return total

    return soft_label_weights


def _insider(form: Form, limits: Limits) -> Function:
    class_masked, row_masked = limits.class_masked, bool(form.mask)

    def inside(block: Any, row: Any, j: Any) -> Any:
        """Whether class j of a row is in."""
        here = True
        if class_masked:
            here = block.options.class_mask[j] != 0
        if row_masked:
            here &= block.mask[row * block.width + j] != 0
        return here

    return inside


def _id_survey(form: Form, limits: Limits) -> Function:
    """`look_at_ids(block, sum of the weights)`: faults, and the sum of the weights that count."""
    if form.probabilities:
        return _sparse_survey(form, limits)
    masked = limits.class_masked or form.mask
    if limits.ignoring or limits.class_weighted or masked:
        return _counting_survey(form, limits)
    decode_true = form.decode_true

    def look_at_ids(block: Any, weight_sum: Any) -> Any:
        labels, n_classes = block.y_true, block.width
        found = False
        for r in range(labels.size):
            label = decode_true(labels[r])
            found |= (label < 0) | (label >= n_classes)
        return BAD_Y_TRUE if found else 0, weight_sum

    return look_at_ids


def _counting_survey(form: Form, limits: Limits) -> Function:
    inside, decode_true = _insider(form, limits), form.decode_true
    ignoring, class_weighted = limits.ignoring, limits.class_weighted
    weighted, double = form.weighted, np.float64

    def look_at_ids(block: Any, weight_sum: Any) -> Any:
        """Without branches, as with them the survey took a quarter of the time of 10 classes."""
        labels, weight, n_classes = block.y_true, block.weight, block.width
        options = block.options
        bad = False
        total = 0.0
        n_counting = 0
        for r in range(labels.size):
            label = decode_true(labels[r])
            ignored = (label == options.ignore_index) if ignoring else False
            here = (label >= 0) & (label < n_classes)
            place = select(here, label, 0)
            here &= inside(block, r, place)
            bad |= not (here | ignored)
            counts = here & (not ignored)
            if weighted or class_weighted:
                w = double(weight[r]) if weighted else 1.0
                w = w * options.mean_weight[place] if class_weighted else w
                total += select(counts, w, 0.0)
            else:
                n_counting += counts
        return BAD_Y_TRUE if bad else 0, total + double(n_counting)

    return look_at_ids


def _sparse_survey(form: Form, limits: Limits) -> Function:
    inside, decode_true = _insider(form, limits), form.decode_true
    decode_probability = decoder(form.probabilities, "float64")
    weighted, class_weighted, double = form.weighted, limits.class_weighted, np.float64

    def look_at_ids(block: Any, weight_sum: Any) -> Any:
        faults = 0
        total = 0.0
        k = block.true_width
        for i in range(block.y_true.size):
            label = decode_true(block.y_true[i])
            p = decode_probability(block.probabilities[i])
            if label < 0 or label >= block.width or not inside(block, i // k, label):
                faults |= BAD_Y_TRUE
                continue
            if p < 0.0 or p > 1.0:
                faults |= BAD_PROBABILITY
            w = double(block.weight[i // k]) if weighted else 1.0
            if class_weighted and w != 0.0:
                total += w * (block.options.mean_weight[label] * p)
        return faults, total if class_weighted else weight_sum

    return look_at_ids
