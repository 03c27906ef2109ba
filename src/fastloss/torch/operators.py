"""Losses as operators of PyTorch: what compilers see of them, and what transforms derive from them.

An operator knows a loss by its text, which has all options: compiled graphs are kept by such
constants, and one that is found in a cache is that of an equal loss.
"""

from typing import Any

import torch
from torch._C._functorch import TransformType, get_interpreter_stack

from ..bases.loss import Loss
from .tensors import OfTensors, Tensor, check_constant

_losses: dict[str, OfTensors] = {}


def text_of(loss: Loss) -> str:
    """The text by which operators know this loss."""
    text = repr(loss)
    while _losses.setdefault(text, OfTensors(loss)).loss != loss:
        text += " once more"  # another class of this name
    return text


def of_text(text: str) -> OfTensors:
    """The loss that is known by a text."""
    try:
        return _losses[text]
    except KeyError:
        raise KeyError(f"no loss {text} in this process: build fastloss.torch.Loss of it") from None


@torch.library.custom_op("fastloss::value", mutates_args=())
def value(
    loss: str,
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None,
    normalizer: torch.Tensor | None,
) -> torch.Tensor:
    """The loss alone, without derivatives."""
    known = of_text(loss)
    return known.value(known.arrays(logits, labels, weight), logits, normalizer)


@torch.library.custom_op("fastloss::value_and_grad", mutates_args=())
def value_and_grad(
    loss: str,
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None,
    normalizer: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and its gradient, both of which have derivatives by the logits."""
    known = of_text(loss)
    return known.value_and_grad(known.arrays(logits, labels, weight), logits, normalizer)


@torch.library.custom_op("fastloss::hvp", mutates_args=())
def hvp(
    loss: str,
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None,
    normalizer: torch.Tensor | None,
    vector: torch.Tensor,
) -> torch.Tensor:
    """The product of the Hessian and a vector, which has derivatives by the vector."""
    known = of_text(loss)
    return known.hvp(known.arrays(logits, labels, weight), logits, normalizer, vector)


# -------------------------------------------------------------------------------------------------
# What compilers know without computing


@value.register_fake
def _(loss: str, logits: Tensor, *others: Tensor) -> Tensor:
    known = of_text(loss)
    return logits.new_empty(known.shape(logits), dtype=known.dtype(logits))


@value_and_grad.register_fake
def _(loss: str, logits: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    known = of_text(loss)
    shape, dtype = known.shape(logits), known.dtype(logits)
    return logits.new_empty(shape, dtype=dtype), torch.empty_like(logits)


@hvp.register_fake
def _(loss: str, logits: Tensor, *others: Tensor) -> Tensor:
    return torch.empty_like(logits)


# -------------------------------------------------------------------------------------------------
# Derivatives


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.loss, *tensors = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, output[1])


class _Last(torch.autograd.Function):  # type: ignore[misc]
    """Logits of a product with the Hessian, whose derivative by them would be a third one.

    The product itself is not told by which of logits and vector a derivative is asked for.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> Tensor:
        raise NotImplementedError(_THIRD)


_THIRD = "third derivatives of losses are not known"


def _product(loss: str, logits: Tensor, *others: Any) -> Tensor:
    return hvp(loss, _Last.apply(logits), *others)


def _keep_factors(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.loss, *tensors, _ = inputs
    ctx.save_for_backward(*tensors)


def _backward_of_product(ctx: Any, factor: Tensor) -> tuple[Any, ...]:
    # The Hessian is symmetric.
    return None, None, None, None, None, _product(ctx.loss, *ctx.saved_tensors, factor)


hvp.register_autograd(_backward_of_product, setup_context=_keep_factors)


def _backward(
    ctx: Any, of_value: Tensor | None, of_grad: Tensor | None, product: Any = _product
) -> tuple[Any, ...]:
    *given, grad = ctx.saved_tensors
    total = None
    if of_value is not None:
        total = grad * of_text(ctx.loss).spread(of_value, grad)
    if of_grad is not None:
        more = product(ctx.loss, *given, of_grad)
        total = more if total is None else total + more
    return None, total, None, None, None


value_and_grad.register_autograd(_backward, setup_context=_keep)


class Transformed(torch.autograd.Function):  # type: ignore[misc]
    """`value_and_grad` for the transforms of `torch.func`, which take no operator as it is."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        return value_and_grad(*inputs)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _keep(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:], output[1])

    @staticmethod
    def backward(ctx: Any, of_value: Tensor | None, of_grad: Tensor | None) -> tuple[Any, ...]:
        return _backward(ctx, of_value, of_grad, TransformedHvp.apply)

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor, *others: None) -> tuple[Tensor, Tensor]:
        *given, grad = ctx.saved_tensors
        of_value = of_text(ctx.loss).along(grad, tangent)
        return of_value, TransformedHvp.apply(ctx.loss, *given, tangent)


class TransformedHvp(torch.autograd.Function):  # type: ignore[misc]
    """`hvp` for the transforms, which ask for it whether or not they use it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        return hvp(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept, as there are no derivatives."""

    @staticmethod
    def backward(ctx: Any, *factors: Any) -> Any:
        raise NotImplementedError(_THIRD)

    jvp = backward


def _one_by_one(operator: Any) -> Any:
    """The rule of `vmap` for an operator."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        def inputs_of(i: int) -> list[Any]:
            pairs = zip(inputs, in_dims, strict=True)
            return [x if dim is None else x.select(dim, i) for x, dim in pairs]

        results = [operator(*inputs_of(i)) for i in range(info.batch_size)]
        if isinstance(results[0], tuple):
            return tuple(map(torch.stack, zip(*results, strict=True))), (0, 0)
        return torch.stack(results), 0

    return rule


for operator in (value, value_and_grad, hvp):
    operator.register_vmap(_one_by_one(operator))


# -------------------------------------------------------------------------------------------------
# What the module calls


def compiled(text: str, logits: Tensor, labels: Tensor, weight: Any, normalizer: Any) -> Tensor:
    """The loss where a compiler looks on."""
    check_constant(labels=labels, weight=weight, normalizer=normalizer)
    inputs = text, logits, labels, weight, _as_tensor(normalizer)
    if logits.requires_grad and torch.is_grad_enabled():
        return value_and_grad(*inputs)[0]
    return value(*inputs)


def transformed(text: str, logits: Tensor, labels: Tensor, weight: Any, normalizer: Any) -> Tensor:
    """The loss within a transform of `torch.func`, or of logits with a tangent."""
    levels = get_interpreter_stack() or ()
    if sum(level.key() == TransformType.Jvp for level in levels) > 1:
        # PyTorch drops what the inner one is given of the outer one, and derivatives would be 0.
        raise NotImplementedError(
            "forward mode within forward mode is not known of losses: write torch.func.hessian, or "
            "jacfwd of jacrev, for second derivatives"
        )
    return Transformed.apply(text, logits, labels, weight, _as_tensor(normalizer))[0]


def gradient(text: str, logits: Tensor, labels: Tensor, weight: Any, normalizer: Any) -> Tensor:
    """The gradient, which has derivatives itself."""
    return value_and_grad(text, logits, labels, weight, _as_tensor(normalizer))[1]


def _as_tensor(normalizer: Any) -> Tensor | None:
    if normalizer is None or isinstance(normalizer, torch.Tensor):
        return normalizer
    return torch.tensor(normalizer, dtype=torch.float64, device="cpu")
