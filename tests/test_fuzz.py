"""Hypothesis over options, memory and mistakes; `test_properties.py` has it over data.

Options of a softmax that are in use make a kernel, so a form of a call is a parameter, and what is
drawn for it are numbers.
"""

import dataclasses
import random
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from fuzzing import NIGHTLY, choose, counting, fuzz, layouts, refused
from hypothesis import assume
from hypothesis import strategies as st
from plain import plain
from registry import (
    CASES,
    DOUBLE,
    LINKED,
    SOFTMAX,
    SQUARED,
    Case,
    assert_near,
    assert_same,
    class_ids,
    cross_entropy,
    dense,
    expect,
    storage,
    with_logits,
)

import fastloss as fl

# At night the same, compiled.
pytestmark = [] if NIGHTLY else [plain]

# ---------------------------------------------------------------------------------------------
# Cross-entropy with any of its options


class Form(NamedTuple):
    """What a kernel of cross-entropy is compiled for."""

    options: tuple[str, ...]
    labels: str = "ids"  # "ids", "soft" or "sparse"
    masked: bool = False  # row by row
    weighted: bool = False
    dtype: str = "float32"
    many: bool = False  # so many classes that rows are computed one by one

    def __str__(self) -> str:
        flags = [name for name in ("masked", "weighted", "many") if getattr(self, name)]
        return "-".join([*self.options, self.labels, *flags, self.dtype])


# A strategy for the values of each option, by name; `class_weight` and `class_mask` have one for
# each class and are drawn with the data.
OPTIONS: dict[str, Any] = {
    "softcap": st.floats(2.0, 50.0),
    "temperature": st.floats(0.25, 8.0),
    "z_loss": st.floats(1e-4, 0.5),
    "label_smoothing": st.floats(0.01, 1.0),
    "ignore_index": st.sampled_from([-100, 0, 1]),
    "class_weight": None,
    "class_mask": None,
}
# Under these, what a row's gradient adds up to is not 0.
_SUM_MOVES = {"softcap", "z_loss"}


def any_form(rng: random.Random) -> Form:
    options = tuple(name for name in OPTIONS if rng.random() < 0.4)
    return Form(
        options,
        rng.choice(["ids", "soft", "sparse"]),
        rng.random() < 0.3,
        rng.random() < 0.4,
        rng.choice(["float16", "float32", "float64"]),
        rng.random() < 0.3,
    )


USUAL = [
    Form(()),
    Form((), dtype="float64"),
    Form(tuple(OPTIONS), masked=True),
    Form(("label_smoothing", "ignore_index", "class_weight")),
]
FORMS = choose(USUAL, 40, any_form)


@st.composite
def logits_calls(draw: Any, form: Form) -> tuple[Any, ...]:
    """A loss of this form, labels, logits, and what is named in a call of a verb."""
    n, c = draw(st.integers(1, 80)), draw(st.integers(113, 150) if form.many else st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.normal(scale=draw(st.sampled_from([0.1, 3.0, 20.0])), size=(n, c))
    logits = logits.astype(form.dtype)
    options = {name: draw(OPTIONS[name]) for name in form.options if OPTIONS[name] is not None}
    for_all = np.ones(c, bool)
    if "class_mask" in form.options:
        for_all = rng.random(c) < 0.8
        for_all[rng.integers(c)] = True
        options["class_mask"] = tuple(for_all.tolist())
    if "class_weight" in form.options:
        options["class_weight"] = tuple(rng.integers(1, 9, c) / 4)
    here = np.broadcast_to(for_all, (n, c))
    mask = None
    if form.masked:
        mask = rng.random((n, c)) < 0.8
        mask[np.arange(n), rng.choice(np.flatnonzero(for_all), n)] = True
        here = here & mask
    inside = [np.flatnonzero(row) for row in here]
    labels: Any
    if form.labels == "soft":
        labels = (rng.integers(0, 5, (n, c)) * (rng.random((n, c)) < 0.5) / 4).astype(form.dtype)
    elif form.labels == "sparse":
        ids = np.array([rng.choice(row, 3) for row in inside])
        labels = ids, (rng.integers(0, 3, (n, 3)) / 8).astype(form.dtype)
    else:
        labels = np.array([rng.choice(row) for row in inside])
        if "ignore_index" in options:
            labels[rng.random(n) < 0.2] = options["ignore_index"]
    named: dict[str, Any] = {"class_mask": mask}
    named["sample_weight"] = rng.integers(0, 5, n) / 4 if form.weighted else None
    reduction = draw(st.sampled_from(["mean", "sum"]))
    named["normalizer"] = 7.0 if reduction == "mean" and draw(st.booleans()) else None
    return fl.CrossEntropy(**options, reduction=reduction), labels, logits, named


def rearranged(draw: Any, labels: Any) -> Any:
    if isinstance(labels, tuple):
        return tuple(draw(layouts(part)) for part in labels)
    return draw(layouts(labels))


def underflow(loss: Any, logits: Any, counted: Any) -> float:
    """How far off a gradient may be as an exponential is below the least normal number.

    It is off by one smallest number then, times what the mass and the z-loss multiply it by; the
    bound of the reference knows of neither.
    """
    smallest = 2.0**-1074 if logits.dtype == np.float64 else 2.0**-149
    c = logits.shape[-1]
    log_sum = abs(logits.astype(np.float64)).max() / loss.temperature + np.log(c)
    mass = c * max(loss.class_weight or (1.0,)) * (1 + 2 * loss.z_loss * log_sum)
    return (8 + c) * smallest * mass * (1 + 1 / loss.temperature) * (1 + 1 / counted)


def bits(*arrays: Any) -> list[bytes]:
    flat: list[Any] = []
    for array in arrays:
        flat += array if isinstance(array, tuple) else [array]
    return [array.tobytes() for array in flat if array is not None]


@pytest.mark.parametrize("form", FORMS, ids=str)
@fuzz(12, st.data())
def test_cross_entropy_with_any_options(form, data):
    """Value and gradient are those of the reference, and inputs are left as they are."""
    loss, labels, logits, named = data.draw(logits_calls(form))
    case = Case("", counting(loss), None, partial(cross_entropy, class_mask=named["class_mask"]))
    weights = {name: named[name] for name in ("sample_weight", "normalizer")}
    as_soft = dense(labels, logits) if isinstance(labels, tuple) else labels
    terms = cross_entropy(DOUBLE, loss, as_soft, logits, named["class_mask"])
    weight = 1.0 if named["sample_weight"] is None else named["sample_weight"]
    counted = terms.kept * terms.weight * weight
    assume(loss.reduction == "sum" or named["normalizer"] or counted.sum() > 0)
    true = expect(case, as_soft, logits, reduction=loss.reduction, lib=DOUBLE, **weights)
    denominator = counted.sum() if loss.reduction == "mean" else 1.0
    error = true.grad_error + underflow(loss, logits, named["normalizer"] or denominator)

    labels = rearranged(data.draw, labels)
    given = data.draw(layouts(logits))
    how = data.draw(st.sampled_from(["new", "out", "in place"]))
    out = {"new": None, "out": data.draw(layouts(np.full_like(logits, 7))), "in place": given}[how]
    inputs = (labels, named["class_mask"], named["sample_weight"])
    before = bits(*inputs, None if how == "in place" else given)
    value, grad = loss.value_and_grad(labels, given, out=out, **named)
    assert out is None or grad is out
    assert bits(*inputs, None if how == "in place" else given) == before
    assert grad.dtype == storage(logits)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, error, "grad")
    if not _SUM_MOVES & set(form.options):
        rows = abs(grad.astype(np.float64).sum(axis=-1))
        assert np.all(rows <= error.sum(axis=-1))
    if named["class_mask"] is not None:
        assert not grad[~named["class_mask"]].any()


# ---------------------------------------------------------------------------------------------
# Numbers as options of other losses

# Numbers that float32 has, as others are rounded to it before anything is computed from them.
POSITIVE, SHARE = st.floats(0.125, 8.0, width=32), st.floats(0.0, 1.0, width=32)
NUMBERS: dict[str, dict[str, Any]] = {
    "huber": {"delta": POSITIVE},
    "binary_logits_all": {"pos_weight": POSITIVE, "label_smoothing": SHARE},
    "smooth_l1_2": {"beta": POSITIVE},
    "quantile": {"q": SHARE},
    "fair_2": {"c": POSITIVE},
    "tweedie": {"power": st.floats(1.125, 1.875, width=32)},
    "focal_all": {"gamma": POSITIVE, "alpha": SHARE},
    "multi_margin": {"margin": POSITIVE},
    "tversky_logits": {"alpha": POSITIVE, "beta": POSITIVE, "smooth": POSITIVE},
    "percentage": {"epsilon": POSITIVE},
    "Focal": {"gamma": POSITIVE},
    "GeneralizedCrossEntropy": {"q": st.floats(0.0625, 1.0, width=32)},
    "PolyCrossEntropy": {"epsilon": st.floats(-1.0, 4.0, width=32)},
}
_BY_NAME = {case.name: case for case in CASES} | {
    type(loss).__name__: Case("", loss, with_logits(class_ids), cross_entropy)
    for loss in LINKED
    if loss == type(loss)()
}
# One that branches and one with two numbers by day: each is a kernel to compile.
NAMES = list(NUMBERS) if NIGHTLY else ["huber", "binary_logits_all"]


@pytest.mark.parametrize("name", NAMES)
@fuzz(40, st.data())
def test_numbers_as_options(name, data):
    """Value and gradient are those of the reference, whatever the options are."""
    case = _BY_NAME[name]
    options = {option: data.draw(values) for option, values in NUMBERS[name].items()}
    case = dataclasses.replace(case, loss=counting(dataclasses.replace(case.loss, **options)))
    shape = (data.draw(st.integers(1, 60)), data.draw(st.integers(2, 9)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    y_true, y_pred = case.make(rng, shape, np.dtype(np.float32))
    true = expect(case, y_true, y_pred, lib=DOUBLE)
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


# ---------------------------------------------------------------------------------------------
# Memory


@fuzz(
    80,
    case=st.sampled_from([SQUARED, SOFTMAX]),
    n=st.integers(1, 12),
    ahead=st.integers(-14, 14),
    step=st.sampled_from([1, 2, -1]),
    what=st.sampled_from([0, 1]),
)
def test_out_is_its_own_memory_or_all_of_the_predictions(case, n, ahead, step, what):
    """Any other overlap of `out` with labels or predictions is an error, and nothing is written."""
    c = 3
    y_true, y_pred = case.data(shape=(n, c))
    value, grad = case.loss.value_and_grad(y_true, y_pred)
    # Rows of memory in which an input begins at one place and `out` at another.
    room = np.zeros((80, c), np.float32)
    room_rows = slice(40, 40 + step * n, step)
    out_rows = slice(40 + ahead, 40 + ahead + step * n, step)
    given = [y_true, y_pred]
    if what == 0 and y_true.dtype.kind == "i":
        given[0] = room.view(np.int32)[room_rows, 0]
    else:
        given[what] = room[room_rows]
    given[what][...] = (y_true, y_pred)[what]
    out = room[out_rows]
    mine, theirs = set(range(80)[out_rows]), set(range(80)[room_rows])
    in_place = what == 1 and ahead == 0
    run = partial(counting(case.loss).value_and_grad, *given, out=out)
    if mine & theirs and not in_place:
        with refused(ValueError, "overlaps", room):
            run()
        return
    again, same = run()
    assert same is out
    assert_same(again, value)
    assert_same(out.copy(), grad)


# ---------------------------------------------------------------------------------------------
# Mistakes


def spoil(draw: Any, y_true: Any, y_pred: Any, weight: Any, out: Any) -> tuple[str, Any, Any]:
    """A mistake in a call that was right: its name, the arguments and the named ones."""
    named = {"sample_weight": weight, "out": out, "normalizer": None}
    kind = draw(
        st.sampled_from(
            ["weight", "weights", "labels", "complex", "short", "out", "dtype", "locked", "over"]
        )
    )
    place = draw(st.integers(0, len(y_true) - 1))
    if kind == "weight":
        weight[place] = draw(st.sampled_from([-1.0, np.nan, np.inf, -np.inf]))
    elif kind == "weights":
        named["sample_weight"] = weight[:-1]
    elif kind == "labels":
        if y_true.dtype.kind == "i":
            y_true[place] = draw(st.sampled_from([-1, y_pred.shape[1], 2**40]))
        else:
            y_true = y_true[:, :-1]
    elif kind == "complex":
        y_pred = y_pred.astype(np.complex64)
    elif kind == "short":
        y_true = y_true[:-1]
    elif kind == "out":
        named["out"] = out[:-1]
    elif kind == "dtype":
        named["out"] = out.astype(np.float64)
    elif kind == "locked":
        out.flags.writeable = False
    else:
        named["normalizer"] = draw(st.sampled_from([0.0, -1.0, np.nan, np.inf]))
    return kind, (y_true, y_pred), named


@fuzz(
    80,
    data=st.data(),
    case=st.sampled_from([SQUARED, SOFTMAX]),
    # Few rows, and so many that there are several blocks, of which only the last may be wrong.
    n=st.one_of(st.integers(2, 20), st.integers(9000, 30000)),
    in_place=st.booleans(),
)
def test_errors_come_before_anything_is_written(data, case, n, in_place):
    """A call with a mistake raises, and `out` and all inputs are as they were."""
    y_true, y_pred = case.make(np.random.default_rng(n), (n, 4), np.dtype(np.float32))
    out = y_pred if in_place else np.full_like(y_pred, 7)
    kind, given, named = spoil(data.draw, y_true, y_pred, np.ones(n), out)
    arrays = [array for array in (*given, *named.values()) if isinstance(array, np.ndarray)]
    with refused((TypeError, ValueError), None, *arrays):
        counting(case.loss).value_and_grad(*given, **named)
