"""Losses as modules of PyTorch."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch.autograd import forward_ad

from ..bases.elementwise import ElementwiseLoss
from ..bases.loss import Loss as CoreLoss
from ..bases.softmax import SoftmaxLoss
from ..call.verbs import VALUE, VALUE_AND_GRAD
from ..hosts.common import VANISHING, check_loss
from . import operators
from .tensors import KeptMemory, Tensor, is_soon_there, place_of

# To look them up takes longer.
_is_compiling, _is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled

_VANISHING = frozenset(getattr(torch, name) for name in VANISHING)
_IGNORED = -100  # PyTorch's mark of labels to be skipped
_OPTIONS = frozenset(
    {
        *("loss", "overwrite_logits", "keep_memory"),
        *("reduction", "ignore_index", "label_smoothing"),
    }
)


class Loss(torch.nn.Module):  # type: ignore[misc]
    """A loss of tensors on the CPU, in the place of one of PyTorch.

        criterion = Loss(loss, overwrite_logits=False, keep_memory=False)
        criterion(logits, labels, weight=None, normalizer=None)

    `loss`: any loss of fastloss, with all its options. The arguments come in PyTorch's order:

    - `logits`, or predictions: shape (...); of losses of rows (N, C, d1, ...) or (C,), with
      PyTorch's axis of classes. Any dtype that losses take, in any layout.
    - `labels`: class ids of shape (N, d1, ...) and any integer dtype, or what else the loss takes,
      of the shape of the logits.
    - `weight`: that of each sample, its `sample_weight`.
    - `normalizer`: the denominator of a mean, a number or a tensor of one number.

    Returns a tensor of shape (), or of the losses of samples with `reduction="none"`: of float64
    for such logits and else of float32, also for those of 16 bits, as PyTorch's own losses under
    autocast. Logits of float16 are made float32 for a gradient, so that what a `GradScaler` is
    there for does not vanish before it; those of bfloat16 are taken as they are.

    The gradient is computed together with the loss, and by `backward` no more than multiplied by
    the factor that it is given, if that is not 1. Where no gradient is recorded, nothing but the
    loss is computed. CrossEntropy and elementwise losses have second derivatives.

    As with PyTorch, `ignore_index` is -100 unless the loss has another, and the mean of nothing is
    NaN, here with a warning. What differs: a mean is that over the weights, also where class
    weights meet soft labels.

    `overwrite_logits`: the gradient takes the memory of the logits, so that none is needed besides.
    The logits are then lost, so they must be the result of a computation, and nothing else may need
    them: PyTorch raises an error in `backward` if another operation has kept them for its own
    gradient. It goes with neither a second `backward` nor second derivatives, and is without effect
    where no gradient is recorded, in `torch.compile` and in transforms of `torch.func`.

    Raises ValueError for tensors that are not on the CPU, labels that require a gradient, logits
    that cannot be overwritten and both options at once; and what the loss raises, before anything
    is written.

    >>> import torch
    >>> import fastloss as fl
    >>> import fastloss.torch
    >>> criterion = fl.torch.Loss(fl.CrossEntropy(label_smoothing=0.1))
    >>> criterion
    Loss(CrossEntropy(ignore_index=-100, label_smoothing=0.1))
    >>> logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.0, 3.0]], requires_grad=True)
    >>> criterion(logits, torch.tensor([0, -100])).backward()
    >>> logits.grad
    tensor([[-0.1477,  0.1420,  0.0058],
            [ 0.0000,  0.0000,  0.0000]])
    """

    def __new__(cls, loss: Any = None, *args: Any, **kws: Any) -> "Loss":
        if cls is Loss:
            if isinstance(loss, SoftmaxLoss):
                cls = _OfClasses
            elif isinstance(loss, ElementwiseLoss) and hasattr(loss, "proba"):
                cls = _OfBinaryLogits
        return super().__new__(cls)  # type: ignore[no-any-return]

    def __init__(
        self, loss: CoreLoss, overwrite_logits: bool = False, keep_memory: bool = False
    ) -> None:
        super().__init__()
        check_loss(loss)
        options = {option.name for option in fields(loss)}
        if "ignore_index" in options and loss.ignore_index is None:  # type: ignore[attr-defined]
            loss = replace(loss, ignore_index=_IGNORED)  # type: ignore[call-arg]
        if overwrite_logits and keep_memory:
            raise ValueError(
                "overwrite_logits=True leaves no memory to be kept by keep_memory=True: choose one"
            )
        self.loss, self.overwrite_logits, self.keep_memory = loss, overwrite_logits, keep_memory
        # What PyTorch's own modules say of themselves.
        for name in options & _OPTIONS:
            setattr(self, name, getattr(loss, name))
        self._know()

    def _know(self) -> None:
        self._text = operators.text_of(self.loss)
        self._of_tensors = operators.of_text(self._text)
        kept = KeptMemory() if self.keep_memory else None
        self._room = place_of if self.overwrite_logits else kept

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OPTIONS and "_text" in vars(self):
            raise AttributeError(
                f"{name} cannot be set, as a Loss does not change: build another one, "
                "fastloss.torch.Loss(...), of a loss with the options that you want"
            )
        super().__setattr__(name, value)

    def forward(
        self, logits: Tensor, labels: Tensor, weight: Tensor = None, normalizer: Any = None
    ) -> Tensor:
        """The loss of tensors: see the class."""
        compiling = _is_compiling()
        if (
            weight is normalizer is None
            and not compiling
            and forward_ad._current_level < 0
            and (not self.keep_memory or is_soon_there(logits))
        ):
            found = self._of_tensors.small(logits, labels, self.overwrite_logits)
            if found is not None:
                if found[1] is None:
                    return found[0]
                return _apply(logits, (*found, labels, None, None, self))
        if getattr(logits, "dtype", None) in _VANISHING and _is_grad_enabled():
            logits = logits.float()
        if compiling:
            return operators.compiled(self._text, logits, labels, weight, normalizer)
        try:
            arrays = self._of_tensors.arrays(logits, labels, weight)
        except RuntimeError:  # transforms are at work
            return operators.transformed(self._text, logits, labels, weight, normalizer)
        if forward_ad._current_level >= 0 and forward_ad.unpack_dual(logits).tangent is not None:
            return operators.transformed(self._text, logits, labels, weight, normalizer)
        if logits.requires_grad and _is_grad_enabled():
            found = self._of_tensors.value_and_grad(arrays, logits, normalizer, self._room)
            self._of_tensors.keep_small(VALUE_AND_GRAD, arrays, logits, labels)
            return _apply(logits, (*found, labels, weight, normalizer, self))
        value = self._of_tensors.value(arrays, logits, normalizer)
        self._of_tensors.keep_small(VALUE, arrays, logits, labels)
        return value

    def extra_repr(self) -> str:
        options = [name for name in ("overwrite_logits", "keep_memory") if getattr(self, name)]
        return ", ".join([repr(self.loss), *(f"{name}=True" for name in options)])

    def _get_name(self) -> str:
        return "Loss"

    def __getstate__(self) -> dict[str, Any]:
        known = "_of_tensors", "_room", "_text"
        return {name: value for name, value in vars(self).items() if name not in known}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._know()


# Libraries such as skorch know by the class of a criterion what predictions stand for.


class _OfClasses(Loss, torch.nn.CrossEntropyLoss):  # type: ignore[misc]
    """A loss of logits of classes."""


class _OfBinaryLogits(Loss, torch.nn.BCEWithLogitsLoss):  # type: ignore[misc]
    """A loss of logits of binary labels."""


class _Recorded(torch.autograd.Function):  # type: ignore[misc]
    """The loss with its gradient, which was computed at once and is handed over by `backward`.

    So no saved memory is ever in the hands of others. Whoever asks again, or for more, has the
    gradient computed once more, by the operator.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        found: tuple[Tensor, Tensor, Tensor, Tensor | None, Any, Loss],
    ) -> Tensor:
        value, grad, labels, weight, normalizer, module = found
        ctx.kept = [grad, module, normalizer]
        if module.overwrite_logits:
            torch.autograd.graph.increment_version(logits)
        else:
            ctx.save_for_backward(logits, labels, weight)
        return value

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None]:
        kept = ctx.kept
        grad, module, normalizer = kept
        if grad is not None and not _is_grad_enabled():
            try:
                if factor.ndim or factor.item() != 1.0:
                    grad.mul_(module._of_tensors.spread(factor, grad))
                kept[0] = None
                return grad, None
            except RuntimeError:  # a factor within a transform has no number
                pass
        if module.overwrite_logits:
            raise RuntimeError(
                "the logits were overwritten by their gradient, and no second backward or "
                "derivative can be computed of them: build the loss with overwrite_logits=False"
            )
        logits, labels, weight = ctx.saved_tensors
        grad = operators.gradient(module._text, logits, labels, weight, normalizer)
        factor = module._of_tensors.spread(factor, grad)
        return grad * factor, None


# Without what PyTorch looks at once more, ahead for transforms and back for `vjp`: of a small batch
# either takes as long as the loss.
_apply = super(torch.autograd.Function, _Recorded).apply
_Recorded._backward_cls.apply = _Recorded.backward
