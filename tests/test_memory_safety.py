"""No byte outside the arrays is read or written, and memory that is not there is an error.

What touches a guard kills its process, so these scripts run in processes of their own. In plain
Python every index is looked at.
"""

import dataclasses
import os
import random
import sys
from typing import Any

import numpy as np
import pytest
from plain import plain_python
from processes import run_python
from watched import Window, watched

import fastloss as fl
from fastloss.call import plan
from fastloss.compiler.interrupts import compiler
from fastloss.kernels import tally
from trust.processes import run

needs_guards = pytest.mark.skipif(os.name == "nt", reason="no mprotect on this system")

FOUND = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
GUARDED = """
import itertools, sys
import numpy as np
import fastloss as fl
from guarded import guarded

rng = np.random.default_rng(0)
n_calls = 0

def call(loss, y_true, y_pred, **more):
    global n_calls
    print(loss, y_pred.dtype, y_pred.shape, y_true.dtype, list(more), flush=True)
    expected = loss.value_and_grad(y_true, y_pred, **more)
    for at_end in (True, False):
        y, x = guarded(y_true, at_end), guarded(y_pred, at_end)
        others = {name: guarded(array, at_end) for name, array in more.items()}
        out = guarded(np.zeros_like(y_pred), at_end)
        value, grad = loss.value_and_grad(y, x, out=out, **others)
        assert value == expected[0], (value, expected[0])
        np.testing.assert_array_equal(grad, expected[1])
        loss.value_and_grad(y, x, out=x, **others)
        np.testing.assert_array_equal(x, expected[1])
        n_calls += 1
"""


def run_guarded(code):
    """Runs it with `call`, and returns how many calls were made with guarded arrays."""
    print_count = "\nprint(n_calls)"
    return int(run_python(FOUND + GUARDED + code + print_count).splitlines()[-1])


@needs_guards
@pytest.mark.parametrize("place", [-1, 3])
def test_a_guard_kills_who_touches_it(place):
    code = f"""
import ctypes
first = guarded(np.zeros(3), at_end={place > 0}).ctypes.data
print(ctypes.c_double.from_address(first + 8 * {place} * int(sys.argv[1])).value)
"""
    assert run(FOUND + GUARDED + code, "0") == ("ok", "0.0\n", "")
    assert run(FOUND + GUARDED + code, "1").verdict == "killed by SIGSEGV"


@needs_guards
@pytest.mark.long
def test_nothing_beyond_the_arrays_is_touched():
    """Squares of few classes and steps of many reach over the ends of rows, never of arrays."""
    code = """
for dtype in ("float32", "float16"):
    widths = (1, 2, 10, 16, 17, 100, 112, 113, 300, 1000)
    for c, n in itertools.product(widths, (1, 63, 64, 65, 130)):
        call(fl.cross_entropy, rng.integers(0, c, n), rng.normal(size=(n, c)).astype(dtype))
    call(fl.cross_entropy, rng.integers(0, 9000, 2), rng.normal(size=(2, 9000)).astype(dtype))
for c, n in itertools.product((3, 10, 130), (1, 64, 70)):
    x = rng.normal(size=(n, c)).astype(np.float32)
    y = rng.integers(0, c, n)
    t = rng.random((n, c)).astype(np.float32)
    mask = rng.random((n, c)) < 0.7
    mask[np.arange(n), y] = True
    call(fl.cross_entropy, t, x)
    call(fl.cross_entropy, y, x, class_mask=mask, sample_weight=rng.random(n))
for n in (1, 7, 255, 256, 257, 1000, 40_000):
    x, y = rng.random((2, n)).astype(np.float32)
    call(fl.mse, y, x)
    call(fl.mse, y, x, sample_weight=x.copy())
for c, n in itertools.product((2, 10, 130), (1, 70)):
    p, q = rng.dirichlet(np.ones(c), (2, n)).astype(np.float32)
    call(fl.kl_divergence, p, q)
"""
    assert run_guarded(code) == 2 * (2 * 51 + 18 + 20)


# -------------------------------------------------------------------------------------------------
# Canaries


@pytest.mark.parametrize("n_classes", [3, 10, 113, 1000])
def test_nothing_around_out_is_written(n_classes):
    rng = np.random.default_rng(n_classes)
    logits = rng.normal(size=(70, n_classes)).astype(np.float32)
    labels = rng.integers(0, n_classes, 70)
    around = np.full(logits.size + 2 * 64, 1234.5, np.float32)
    out = around[64:-64].reshape(logits.shape)
    fl.cross_entropy.value_and_grad(labels, logits, out=out)
    np.testing.assert_array_equal(around[:64], 1234.5)
    np.testing.assert_array_equal(around[-64:], 1234.5)
    np.testing.assert_array_equal(out, fl.cross_entropy.grad(labels, logits))


# -------------------------------------------------------------------------------------------------
# Numba's own checks

CHECKED = """
import numpy as np
from fastloss.compiler import jit
from fastloss.compiler.bits import elements, window

def read(array, start, size, i):
    return window(array, start, size)[i]

def write(array, start, size, i):
    window(array, start, size)[i] = 7

def read_several(array, start, size, i):
    return elements(window(array, start, size), i, 2)[0]

read, write, read_several = jit.entry(read), jit.entry(write), jit.entry(read_several)
array = np.arange(5.0)
print(read(array, 1, 3, 2))
write(array, 1, 3, 0)
assert array[1] == 7
assert read_several(array, 1, 3, 1) == 2
for start, size, i in ((1, 3, 3), (1, 3, -1), (3, 4, 2), (9, 4, 0)):
    for function in (read, write, read_several):
        try:
            function(array, start, size, i)
        except IndexError:
            continue
        raise AssertionError((start, size, i))
"""


@pytest.mark.long
def test_windows_check_bounds_if_numba_is_told_to():
    assert run_python(CHECKED, NUMBA_BOUNDSCHECK="1") == "3.0"


# -------------------------------------------------------------------------------------------------
# Plain Python, in which every index is looked at


def test_the_watch_sees_what_numpy_does_not():
    part = Window(Window(np.arange(9.0), 2, 5), 1, 9)  # of which 6 are there
    assert [part[0], part[5]] == [3.0, 8.0]
    assert part.size == 9
    for place in (-1, 6, 9):
        with pytest.raises(IndexError, match="of a window of 9 elements, from 3 on, of an array"):
            part[place]
        with pytest.raises(IndexError):
            part[place] = 0.0
    with pytest.raises(IndexError):
        part[0:7]
    with watched():
        assert fl.cross_entropy([0], [[0.0, 0.0]]) == pytest.approx(np.log(2))
        # Sums by keys that no row has.
        numbers, none = np.ones(tally.N_SCORES), np.empty(0, np.int64)
        room = tally.Room(np.zeros(4, np.int64), none, none, numbers, numbers)
        arguments = (
            numbers,
            none,
            tally.KEYS,
            1,
            tally.TERM_POWERS,
            np.empty(2 * tally.WIDTH),
            room,
            room,
        )
        with pytest.raises(IndexError, match="of an array of 0"):
            compiler().load_or_compile(tally.tally_rows, ())(*arguments)


WEIGHTS = (0.5, 2.0, 0.0, 1.25, 3.0)
MASK = (True, True, True, False, True)
EVERYTHING = {"class_weight": WEIGHTS, "class_mask": MASK, "ignore_index": -100, "softcap": 9.0}


def losses_of(c: int) -> list[Any]:
    found = [
        fl.cross_entropy,
        fl.CrossEntropy(ignore_index=-100, label_smoothing=0.1, z_loss=0.1, temperature=2.0),
        fl.focal,
        fl.categorical_cross_entropy,
        fl.MultiMargin(ignore_index=-100),
        fl.kl_divergence,
        fl.KLDivergence(from_logits=True),
        fl.dice,
        fl.cosine_distance,
        fl.mse,
        fl.binary_cross_entropy_with_logits,
    ]
    if c == 1:
        return [*found, fl.BinaryCrossEntropyWithLogits(pos_weight=[2.0])]
    if c != 5:
        return found
    return [
        *found,
        fl.CrossEntropy(label_smoothing=0.1, **EVERYTHING),
        fl.Focal(alpha=(1, 2, 3, 4, 5), **EVERYTHING),
        fl.MultiMargin(p=2, class_weight=WEIGHTS),
        fl.Quantile(q=(0.1, 0.5, 1, 0, 0.9)),
        fl.BinaryCrossEntropyWithLogits(pos_weight=WEIGHTS),
    ]


def any_call(loss: Any, n: int, c: int, chosen: random.Random) -> Any:
    """A verb, and arguments for it, of which each may be there or not."""
    rng = np.random.default_rng(chosen.randrange(2**32))
    by_id = isinstance(loss, fl.CrossEntropy | fl.Focal | fl.MultiMargin)
    by_id = by_id or (loss == fl.categorical_cross_entropy and chosen.random() < 0.5)
    is_softmax = isinstance(loss, fl.CrossEntropy | fl.Focal)
    verbs = ["value", "value_and_grad", "grad", "grad_hess"]
    if is_softmax:
        verbs += ["proba", "log_proba", "logsumexp"] + ["hvp"] * isinstance(loss, fl.CrossEntropy)
    verb = chosen.choice(verbs)
    dtype = np.dtype(chosen.choice(["f4", "f8", "f2"]))
    probabilities = (0.1 + 0.8 * rng.random((n, c))).astype(dtype)
    y_true: Any = probabilities
    if by_id:
        inside = np.flatnonzero(getattr(loss, "class_mask", None) or [True] * c)
        inside = inside[inside < max(c - 1, 1)]  # the last class is masked in some rows
        y_true = rng.choice(inside, n)
        if isinstance(loss, fl.CrossEntropy) and chosen.random() < 0.4:
            k = chosen.randrange(1, 4)
            y_true = rng.choice(inside, (n, k)), np.full((n, k), 0.25, dtype)
            if chosen.random() < 0.5:
                y_true = probabilities
        elif getattr(loss, "ignore_index", None) is not None:
            y_true[rng.random(n) < 0.3] = -100
    if isinstance(loss, fl.Quantile) and chosen.random() < 0.5:
        y_true = y_true[:, 0]
    y_pred = probabilities[::-1]
    more: dict[str, Any] = {}
    if is_softmax and chosen.random() < 0.4:
        more["class_mask"] = np.ones((n, c), bool)
        more["class_mask"][::2, max(c - 1, 1) :] = False
    out = np.empty_like(probabilities)
    if verb in ("proba", "log_proba", "logsumexp"):
        if verb != "logsumexp" and chosen.random() < 0.4:
            more["out"] = out
        return lambda loss: getattr(loss, verb)(y_pred, **more)
    if verb == "value":
        loss = dataclasses.replace(loss, reduction=chosen.choice(["mean", "sum", "none"]))
    if chosen.random() < 0.5:
        elements = n if isinstance(loss, fl.RowwiseLoss) or chosen.random() < 0.5 else (n, c)
        more["sample_weight"] = rng.random(elements).astype(chosen.choice(["f4", "f8"]))
    if loss.reduction == "mean" and chosen.random() < 0.3:
        more["normalizer"] = 3.0
    if verb != "value" and chosen.random() < 0.4:
        more["out"] = (out, out.copy()) if verb == "grad_hess" else out
    vector = [np.ones((n, c))] if verb == "hvp" else []
    how, verb = loss.reduction, "__call__" if verb == "value" else verb
    return lambda loss: getattr(dataclasses.replace(loss, reduction=how), verb)(
        y_true, y_pred, *vector, **more
    )


@pytest.mark.parametrize(("n", "c", "times"), [(1, 1, 2), (7, 5, 3), (2, 130, 2)])
def test_calls_that_change_what_they_bring(n, c, times):
    """One after the other with the same loss, of which no number is read that is not there."""
    chosen = random.Random(7)
    calls = [(loss, any_call(loss, n, c, chosen)) for _ in range(times) for loss in losses_of(c)]
    chosen.shuffle(calls)
    with watched():
        found = [flat(call(loss)) for loss, call in calls]
    with plain_python():
        for (loss, call), result in zip(calls, found, strict=True):
            np.testing.assert_array_equal(result, flat(call(loss)), str(loss))


def flat(results: Any) -> Any:
    """All numbers of what a verb returns."""
    parts = results if isinstance(results, tuple) else (results,)
    return np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])


def any_part(n: int, c: int, chosen: random.Random) -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(chosen.randrange(2**32))
    labels, logits = rng.integers(0, c, n), rng.normal(size=(n, c))
    labels[rng.random(n) < 0.2] = -100
    more: dict[str, Any] = {"sample_weight": rng.integers(0, 4, n) / 2, "groups": labels * 10**9}
    more["class_mask"] = np.ones((n, c), bool)
    more["rows"] = {"rank": np.empty(n, int), "top_classes": np.empty((n, 2), int)}
    for name in list(more):
        if chosen.random() < 0.5:
            del more[name]
    return (labels, logits), more


@pytest.mark.parametrize("c", [3, 130])
def test_parts_that_change_what_they_bring(c):
    """Of a scorecard: groups, sequences, weights and masks that some rows have, and others not."""
    chosen = random.Random(8)
    losses: dict[Any, float] = {}
    with watched():
        card, next_sequence = fl.Scorecard(ignore_index=-100), 0
        for i in range(20):
            n = chosen.choice([0, 1, 4])
            (labels, logits), more = any_part(n, c, chosen)
            weight = np.where(labels == -100, 0, more.get("sample_weight", np.ones(n)))
            alone = fl.CrossEntropy(reduction="none", ignore_index=-100)(labels, logits)
            part = fl.Scorecard(ignore_index=-100) if i % 3 == 2 else card
            if chosen.random() < 0.4:
                part.update(labels, logits, offsets=[0, n // 2, n], **more)
                for place, rows in enumerate((np.s_[: n // 2], np.s_[n // 2 :])):
                    losses["sequence", next_sequence + place] = (weight * alone)[rows].sum()
                next_sequence += 2
            else:
                part.update(labels, logits, **more)
            for row in np.flatnonzero(weight) if "groups" in more else ():
                key = "group", int(more["groups"][row])
                losses[key] = losses.get(key, 0.0) + weight[row] * alone[row]
            if part is not card:
                card.merge(part)
        scores = card.result()
    groups, sequences = scores.groups, scores.sequences
    sums = groups.means.loss * groups.means.weight
    found = {("group", int(key)): total for key, total in zip(groups.ids, sums, strict=True)}
    for key, total in zip(sequences.ids, sequences.log_probability, strict=True):
        found["sequence", int(key)] = -total
    assert {key for key in found if found[key] == found[key]} == {*losses}
    for key, total in losses.items():
        assert found[key] == pytest.approx(total, rel=1e-9), key


BY_ID = [
    *(fl.cross_entropy, fl.focal, fl.categorical_cross_entropy, fl.multi_margin),
    fl.CrossEntropy(label_smoothing=0.1, **EVERYTHING),
    fl.Focal(alpha=(1, 2, 3, 4, 5), **EVERYTHING),
    fl.MultiMargin(p=2, class_weight=WEIGHTS),
]


@pytest.mark.parametrize("label", [-1, 5, 2**62])
def test_labels_that_changed_since_they_were_looked_at(monkeypatch, label):
    """They are no class ids any more: other rows are as they are, and nothing else is touched."""
    monkeypatch.setattr(plan, "survey", lambda form, limits: lambda block: 5.0)
    good, rest = np.array([0, 4, 2, 1, 1]), [0, 1, 3, 4]
    labels = np.array([0, 4, label, 1, 1])
    weight, probabilities = np.full(5, 0.5), np.random.default_rng(0).random((5, 5))
    with watched():
        for loss in BY_ID:
            each = dataclasses.replace(loss, reduction="none")
            losses, grad = each.value_and_grad(good, probabilities, sample_weight=weight)
            others = each.value_and_grad(labels, probabilities, sample_weight=weight)
            np.testing.assert_array_equal(others[0][rest], losses[rest])
            np.testing.assert_array_equal(others[1][rest], grad[rest])
            # What smoothing gives to all classes is left of it.
            assert np.isnan(others[0][2]) or getattr(loss, "label_smoothing", 0) > 0
            each.grad_hess(labels, probabilities)
        for c in (5, 130):
            logits = np.resize(probabilities, (5, c))
            bad = np.where(labels == 5, c, labels)
            pairs = bad[:, None], np.ones((5, 1))
            for given in (bad, pairs):
                losses = fl.CrossEntropy(reduction="none")(given, logits)
                np.testing.assert_array_equal(np.isnan(losses), good == 2)
            fl.cross_entropy.hvp(bad, logits, logits)
            found = fl.evaluate(bad, logits, rows=["loss"]).rows["loss"]
            np.testing.assert_array_equal(np.isnan(found), good == 2)
            fl.Comparison().update(logits, logits[::-1], bad).result()


# -------------------------------------------------------------------------------------------------
# Memory that is not there


def test_a_gradient_too_large_for_memory_is_an_error():
    huge = np.broadcast_to(np.float32(0), (2**46,))
    with pytest.raises(MemoryError):
        fl.mse.grad(huge, huge)


SHORT_OF_MEMORY = """
import resource, sys
import numpy as np
import fastloss as fl

loss, layout, megabytes = getattr(fl, sys.argv[1]), sys.argv[2], int(sys.argv[3])
n = 1 << 22
y = np.full((6, 2 * n), 1 / n, np.float32)
y = y[:, ::2] if layout == "strided" else y[:, :n].copy()
out = np.full((6, n), 9, np.float32)
fl.set_num_threads(2)
for short in y[:, :50], y[:, :50].copy():
    loss.value_and_grad(short, short, out=short.copy())
expected = loss.value_and_grad(y, y)[0]
with open("/proc/self/statm") as numbers:
    in_use = int(numbers.read().split()[0]) * resource.getpagesize()
none = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (in_use + (megabytes << 20), none[1]))
try:
    value, _ = loss.value_and_grad(y, y, out=out)
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, none)
    assert (out == 9).all(), "written before the error"
    print("MemoryError")
else:
    assert value == expected
    print("done")
resource.setrlimit(resource.RLIMIT_AS, none)
assert loss.value_and_grad(y, y, out=out)[0] == expected
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no limit of memory to set")
@pytest.mark.parametrize(
    ("name", "layout", "megabytes", "printed"),
    [
        # A row takes 16 MiB, and a whole-row loss up to six of them for each thread.
        ("kl_divergence", "contiguous", 20, "MemoryError"),
        ("kl_divergence", "contiguous", 130, "MemoryError"),  # enough for one thread of two
        ("kl_divergence", "contiguous", 1000, "done"),
        ("cross_entropy", "contiguous", 20, "done"),  # needs none
        ("cross_entropy", "strided", 20, "MemoryError"),  # copies of rows
        ("cross_entropy", "strided", 150, "done"),
    ],
)
@pytest.mark.long
def test_memory_is_asked_for_before_anything_is_written(name, layout, megabytes, printed):
    assert run_python(SHORT_OF_MEMORY, name, layout, str(megabytes)) == printed
