"""All forms of kernels, in plain Python and compiled."""

import itertools

import numpy as np
import pytest
from plain import compiled, plain, plain_python
from registry import DOUBLE, SOFTMAX, SOFTMAX_SOFT, assert_near, assert_same, expect

import fastloss as fl
from fastloss.kernels import jit

pytestmark = plain

# Around the ends of groups and squares.
ROWS_AND_CLASSES = [
    *itertools.product((1, 2, 64, 65, 70, 130), (1, 2, 3, 7, 16, 17)),
    *itertools.product((1, 65), (100, 112, 113, 130)),
]


@pytest.mark.parametrize("case", [SOFTMAX, SOFTMAX_SOFT], ids=str)
@pytest.mark.parametrize("shape", ROWS_AND_CLASSES, ids=str)
def test_rows_that_squares_reach_beyond(case, shape):
    y_true, logits = case.data(shape=shape)
    true = expect(case, y_true, logits, lib=DOUBLE)
    value, grad = case.loss.value_and_grad(y_true, logits)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


@compiled
def test_plain_python_compiles_nothing_and_leaves_what_was_compiled():
    ids, logits = SOFTMAX.data()
    before = fl.cross_entropy.value_and_grad(ids, logits)
    card = fl.evaluate(ids, logits)
    n_kernels = sum(jit.counts.values())
    with plain_python():
        value, grad = fl.cross_entropy.value_and_grad(ids, logits)
        assert value == pytest.approx(before[0], rel=1e-6)
        np.testing.assert_allclose(grad, before[1], rtol=1e-5)
        assert fl.evaluate(ids, logits).loss == pytest.approx(card.loss, rel=1e-6)
    after = fl.cross_entropy.value_and_grad(ids, logits)
    assert_same(after[0], before[0])
    assert_same(after[1], before[1])
    assert sum(jit.counts.values()) == n_kernels
