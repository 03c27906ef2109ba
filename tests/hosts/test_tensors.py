"""Tensors of PyTorch that are evaluated: of every dtype, and those that require a gradient."""

import sys

import numpy as np
import pytest
from plain import plain

import fastloss as fl
from fastloss.call import tensors
from fastloss.evaluation.tensors import as_array

torch = pytest.importorskip("torch")

pytestmark = plain

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.25, 3.0], [1.0, 1.5, 0.0]])
LABELS = torch.tensor([0, 2, 1])
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, *UNSIGNED, torch.bool])
def test_numbers_of_every_dtype_are_read_where_they_lie(dtype):
    tensor = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    found = as_array(tensor, "logits")
    assert found.dtype.name == str(dtype).partition(".")[2]
    np.testing.assert_array_equal(found.astype(np.float64), [[0.0, 1.0], [1.0, 1.0]])
    assert found.__array_interface__["data"][0] == tensor.data_ptr()


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_scorecard_takes_tensors(dtype):
    """In any layout, as a part of a computation, and as numbers that are negated when read."""
    logits = LOGITS.to(dtype, copy=True).requires_grad_()
    exact = LOGITS.numpy()
    expected = fl.evaluate(LABELS.numpy(), exact, groups=[1, 0, 1], sample_weight=[1.0, 2.0, 3.0])
    weights, groups = torch.tensor([1.0, 2.0, 3.0], requires_grad=True), torch.tensor([1, 0, 1])
    for given in (logits, logits * 1, logits.mT.contiguous().mT, torch._neg_view(-logits)):
        found = fl.evaluate(LABELS, given, groups=groups, sample_weight=weights)
        assert found.loss == pytest.approx(expected.loss, rel=1e-6)
        assert found.groups.ids.tolist() == [0, 1]
    card = fl.Scorecard().update(LABELS.to(torch.int16), logits, rows={"rank": np.empty(3, int)})
    assert card.result().accuracy == fl.evaluate(LABELS.numpy(), exact).accuracy
    assert fl.compare(logits, exact, LABELS).kl.mean == pytest.approx(0, abs=1e-12)
    assert fl.calibrate([0, 2, 0], logits).temperature > 0
    binary = fl.evaluate(LABELS == 1, logits[:, 0], task="binary")
    by_array = fl.evaluate([0, 0, 1], exact[:, 0], task="binary")
    assert binary.loss == pytest.approx(by_array.loss, rel=1e-6)
    assert logits.requires_grad


def test_losses_do_not_drop_a_gradient():
    """Who asks for a loss may train by it."""
    with pytest.raises(TypeError, match=r"write logits.detach\(\); .* fastloss.torch.Loss\("):
        fl.cross_entropy(LABELS, LOGITS.clone().requires_grad_())


@pytest.mark.parametrize(
    ("tensor", "remedy"),
    [
        (LOGITS.to(torch.float8_e5m2), r"write logits.float\(\)"),
        (LOGITS.to_sparse(), r"write logits.to_dense\(\)"),
        (LOGITS.to("meta"), r"write logits.cpu\(\)"),
        (LOGITS.bfloat16().to("meta"), r"write logits.cpu\(\)"),
        (LOGITS.to(torch.complex64), r"write np.real\(logits\)"),
    ],
)
def test_what_numpy_cannot_read_has_a_remedy(tensor, remedy):
    with pytest.raises(TypeError, match=remedy):
        fl.evaluate(LABELS, tensor)


def test_bfloat16_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    tensors._views.cache_clear()  # it may have been there before
    with pytest.raises(ImportError, match=r"pip install ml_dtypes, or write logits.float\(\)"):
        fl.evaluate(LABELS, LOGITS.bfloat16())
