"""No byte outside the arrays is read or written, and memory that is not there is an error.

What touches a guard kills its process, so these scripts run in processes of their own.
"""

import os
import sys

import numpy as np
import pytest
from processes import run_python

import fastloss as fl
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
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_of_all_widths(dtype):
    """Squares of few classes and steps of many reach over the ends of rows, never of arrays."""
    code = f"""
for c, n in itertools.product((1, 2, 10, 16, 17, 100, 112, 113, 300, 1000), (1, 63, 64, 65, 130)):
    call(fl.cross_entropy, rng.integers(0, c, n), rng.normal(size=(n, c)).astype({dtype!r}))
call(fl.cross_entropy, rng.integers(0, 9000, 2), rng.normal(size=(2, 9000)).astype({dtype!r}))
"""
    assert run_guarded(code) == 2 * 51


@needs_guards
def test_soft_labels_masks_and_weights():
    code = """
for c, n in itertools.product((3, 10, 130), (1, 64, 70)):
    x = rng.normal(size=(n, c)).astype(np.float32)
    y = rng.integers(0, c, n)
    t = rng.random((n, c)).astype(np.float32)
    mask = rng.random((n, c)) < 0.7
    mask[np.arange(n), y] = True
    call(fl.cross_entropy, t, x)
    call(fl.cross_entropy, y, x, class_mask=mask, sample_weight=rng.random(n))
"""
    assert run_guarded(code) == 2 * 18


@needs_guards
def test_elements_and_whole_rows():
    code = """
for n in (1, 7, 255, 256, 257, 1000, 40_000):
    x, y = rng.random((2, n)).astype(np.float32)
    call(fl.mse, y, x)
    call(fl.mse, y, x, sample_weight=x.copy())
for c, n in itertools.product((2, 10, 130), (1, 70)):
    p, q = rng.dirichlet(np.ones(c), (2, n)).astype(np.float32)
    call(fl.kl_divergence, p, q)
"""
    assert run_guarded(code) == 2 * 20


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
from fastloss.kernels import jit
from fastloss.kernels.bits import window

def read(array, start, size, i):
    return window(array, start, size)[i]

def write(array, start, size, i):
    window(array, start, size)[i] = 7

read, write = jit.entry(read), jit.entry(write)
array = np.arange(5.0)
print(read(array, 1, 3, 2))
write(array, 1, 3, 0)
assert array[1] == 7
for start, size, i in ((1, 3, 3), (1, 3, -1), (3, 4, 2), (9, 4, 0)):
    for function in (read, write):
        try:
            function(array, start, size, i)
        except IndexError:
            continue
        raise AssertionError((start, size, i))
"""


def test_windows_check_bounds_if_numba_is_told_to():
    assert run_python(CHECKED, NUMBA_BOUNDSCHECK="1") == "3.0"


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
def test_memory_is_asked_for_before_anything_is_written(name, layout, megabytes, printed):
    assert run_python(SHORT_OF_MEMORY, name, layout, str(megabytes)) == printed
