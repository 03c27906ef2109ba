"""PyTorch's criteria, at the inputs of its own tests: `torch.testing._internal.common_modules`.

Its wheel has the inputs and not the tests; `test_pytorch.py` compares with its criteria and with
the gradients of autograd, to the precision that its tests ask for.
"""

import importlib.util
import sys
import types
import unittest
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import fastloss as fl

from .recorder import NotOffered

REFUSALS = {
    r"(weight|class_weight).* is -": "negative weights, which fastloss refuses",
    r"must lie between 0 and 1|takes 0 and more": "labels or probabilities out of range, or NaN",
}
Answer = tuple[Any, Any]  # a loss, and its gradient with respect to the predictions


def install() -> None:
    """Let the inputs be imported without a package that only PyTorch's classes of tests need."""
    if importlib.util.find_spec("expecttest") is None:
        stand_in = types.ModuleType("expecttest")
        stand_in.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        sys.modules["expecttest"] = stand_in


def _reduced(criterion: Any, loss: type[fl.Loss], **options: Any) -> Any:
    return loss(reduction=criterion.reduction, **options)


def _over_all(criterion: Any, count: int) -> dict[str, Any]:
    """PyTorch divides by the number of elements or rows, whatever they weigh."""
    return {"normalizer": max(count, 1)} if criterion.reduction == "mean" else {}


def elementwise(loss: type[fl.Loss], *names: str) -> Callable[..., Answer]:
    def answer(criterion: Any, x: Any, y: Any) -> Answer:
        options = {name: getattr(criterion, name) for name in names}
        weight = getattr(criterion, "weight", None)
        if weight is not None:
            weight = np.broadcast_to(weight.numpy(), x.shape)
        return _reduced(criterion, loss, **options).value_and_grad(
            y, x, sample_weight=weight, **_over_all(criterion, x.size)
        )

    return answer


def soft_margin(criterion: Any, x: Any, y: Any) -> Answer:
    """Of labels -1 and 1."""
    return elementwise(fl.BinaryCrossEntropyWithLogits)(criterion, x, (y + 1) / 2)


def poisson(criterion: Any, x: Any, y: Any) -> Answer:
    if criterion.full:
        raise NotOffered("a Poisson loss with Stirling's approximation of its constant")
    if criterion.log_input:
        return elementwise(fl.Poisson, "log_input")(criterion, x, y)
    # PyTorch adds `eps` to a mean before it takes the logarithm of it.
    loss, grad = elementwise(fl.Poisson, "log_input")(criterion, x + criterion.eps, y)
    count = x.size if criterion.reduction == "sum" else 1
    return loss - criterion.eps * count, grad


def gaussian(criterion: Any, x: Any, y: Any, variance: Any) -> Answer:
    rows = np.stack([x, np.broadcast_to(np.maximum(variance, criterion.eps), x.shape)], axis=-1)
    loss = _reduced(criterion, fl.GaussianNLL, full=criterion.full)
    value, grad = loss.value_and_grad(y, rows)
    return value, grad[..., 0]


def divergence(criterion: Any, x: Any, y: Any) -> Answer:
    """PyTorch takes the logarithms of the predictions, and gives each element its loss."""
    if criterion.reduction == "none":
        raise NotOffered("a divergence of each element, where fastloss has that of a row")
    q = np.exp(np.atleast_1d(x))
    denominator = {"mean": x.size, "batchmean": len(q), "sum": 1}[criterion.reduction]
    loss = fl.KLDivergence(log_target=criterion.log_target)
    value, grad = loss.value_and_grad(np.atleast_1d(y), q, normalizer=denominator)
    return value, (grad * q).reshape(x.shape)


def _class_weight(criterion: Any) -> Any:
    return None if criterion.weight is None else criterion.weight.numpy()


def multi_margin(criterion: Any, x: Any, y: Any) -> Answer:
    options = {name: getattr(criterion, name) for name in ("p", "margin")}
    loss = _reduced(criterion, fl.MultiMargin, class_weight=_class_weight(criterion), **options)
    return loss.value_and_grad(y, x, **_over_all(criterion, y.size))


def cross_entropy(criterion: Any, x: Any, y: Any) -> Answer:
    """PyTorch has the classes on the second axis, or on the only one."""
    axis = min(x.ndim - 1, 1)
    soft = y.dtype.kind == "f"
    loss = _reduced(
        criterion,
        fl.CrossEntropy,
        class_weight=_class_weight(criterion),
        ignore_index=criterion.ignore_index,
        label_smoothing=criterion.label_smoothing,
    )
    labels = np.moveaxis(y, axis, -1) if soft else y
    mean = _over_all(criterion, x.size // x.shape[axis]) if soft else {}
    value, grad = loss.value_and_grad(labels, np.moveaxis(x, axis, -1), **mean)
    return value, np.moveaxis(grad, -1, axis)


CRITERIA: dict[type[torch.nn.Module], Callable[..., Answer]] = {
    torch.nn.BCELoss: elementwise(fl.BinaryCrossEntropy),
    torch.nn.BCEWithLogitsLoss: elementwise(fl.BinaryCrossEntropyWithLogits),
    torch.nn.CrossEntropyLoss: cross_entropy,
    torch.nn.GaussianNLLLoss: gaussian,
    torch.nn.HuberLoss: elementwise(fl.Huber, "delta"),
    torch.nn.KLDivLoss: divergence,
    torch.nn.L1Loss: elementwise(fl.AbsoluteError),
    torch.nn.MSELoss: elementwise(fl.SquaredError),
    torch.nn.MultiMarginLoss: multi_margin,
    torch.nn.PoissonNLLLoss: poisson,
    torch.nn.SmoothL1Loss: elementwise(fl.SmoothL1, "beta"),
    torch.nn.SoftMarginLoss: soft_margin,
}


def ours(criterion: Any, x: Any, *others: Any) -> Answer:
    arrays = [tensor.detach().numpy() for tensor in (x, *others)]
    return CRITERIA[type(criterion)](criterion, *arrays)


def theirs(criterion: Any, x: Any, *others: Any) -> Answer:
    x = x.detach().requires_grad_()
    loss = criterion(x, *others)
    loss.sum().backward()
    return loss.detach(), x.grad
