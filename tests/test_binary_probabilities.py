"""Probabilities of binary logits, and their logarithms."""

import numpy as np
import pytest
import scipy.special
from plain import compiled, plain
from registry import assert_same

import fastloss as fl

pytestmark = plain

INF = np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_of_binary_logits(dtype):
    logits = np.random.default_rng(0).normal(scale=20.0, size=(1000, 3)).astype(dtype)
    eps, x = float(np.finfo(dtype).eps), logits.astype(np.float64)
    for loss in (fl.binary_cross_entropy_with_logits, fl.binary_focal):
        p, log_p = loss.proba(logits), loss.log_proba(logits)
        np.testing.assert_allclose(p, scipy.special.expit(x), rtol=4 * eps)
        np.testing.assert_allclose(log_p, scipy.special.log_expit(x), rtol=4 * eps)
        assert p.dtype == log_p.dtype == dtype


def test_probabilities_of_binary_logits_at_the_ends():
    logits = np.array([-INF, -800.0, 0.0, INF, np.nan])
    loss = fl.binary_cross_entropy_with_logits
    np.testing.assert_array_equal(loss.proba(logits), [0, 0, 0.5, 1, np.nan])
    np.testing.assert_array_equal(loss.log_proba(logits), [-INF, -800, -np.log(2), 0, np.nan])


@compiled
@pytest.mark.long
def test_probabilities_of_binary_logits_in_place_and_by_column():
    logits = np.random.default_rng(1).normal(size=(70_000, 3)).astype(np.float32)
    loss = fl.BinaryCrossEntropyWithLogits(pos_weight=[1.0, 2.0, 3.0])
    p = fl.binary_cross_entropy_with_logits.proba(logits)
    assert_same(loss.proba(logits), p)  # labels have weights, probabilities do not
    assert loss.proba(logits, out=logits) is logits
    assert_same(logits, p)
    with pytest.raises(ValueError, match="pos_weight has 3 numbers"):
        loss.proba(logits[:, :2])
    with pytest.raises(ValueError, match="class_mask is for losses of logits over classes"):
        loss.proba(logits, class_mask=logits > 0)
