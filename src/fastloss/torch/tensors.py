"""A loss as a function of tensors: PyTorch's names, dtypes and axis of classes."""

import re
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..bases.loss import Loss
from ..bases.rows import RowwiseLoss
from ..call.arrays import Array
from ..call.run import evaluate
from ..call.short import AddressCall, address_call
from ..call.tensors import by_bits, tensor_of
from ..call.verbs import HVP, VALUE, VALUE_AND_GRAD, Verb
from ..hosts.common import hvp, in_words_of_host, named
from ..kernels.storage import FLOATS, STORED

Tensor = Any  # type checkers are told nothing of PyTorch, which may not be installed
Arrays = tuple[Array, Array, Array | None]  # logits, labels and weight
# Given logits, as a tensor and as an array, it returns where their gradient goes, as both.
Room = Callable[[Tensor, Array], tuple[Tensor, Array]]


_OF_FLOAT32 = frozenset(
    getattr(torch, name) for name in FLOATS if STORED[name].arithmetic == "float32"
)
# The dtypes of losses, and what NumPy calls them.
_ARRAYS: Any = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
# A gradient of up to this many bytes is in memory of NumPy, which is there sooner. For a larger one
# NumPy asks for huge pages, and to find and clear these takes longer in a real step than it saves.
_SMALL = 1 << 16
# Small batches of so many dtypes and shapes are remembered.
_MOST = 64

# What is written with arrays, and what with tensors.
_WORDS = {
    r"np\.asarray\((\w+)\)": r"\1",
    r"\.astype\(np\.(\w+)\)": r".to(torch.\1)",
    r"np\.shape\((\w+)\)": r"\1.shape",
    r"\bnp\.": "torch.",
}

# To look them up takes longer.
_Tensor, _is_grad_enabled = torch.Tensor, torch.is_grad_enabled
_asarray, _from_numpy, _empty_like = np.asarray, torch.from_numpy, torch.empty_like


def array_of(tensor: Tensor, name: str) -> Array:
    """The numbers of a tensor where they lie.

    Raises RuntimeError for tensors without memory, as transforms have them.
    """
    try:
        array: Array = tensor.numpy()
    except (AttributeError, TypeError):
        pass
    else:
        if array.flags.owndata and array.size:  # NumPy makes memory where there is none
            raise ValueError(
                f"{name} has no memory, as its storage was resized to 0: write numbers into it "
                "before they are read"
            )
        return array
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(
            f"{name} must be a tensor, got {type(tensor).__name__}: write torch.as_tensor({name})"
        )
    if tensor.device.type != "cpu":
        raise ValueError(
            f"{name} is on the device {tensor.device}, but fastloss computes on the CPU: write "
            f"{name}.cpu(), or take PyTorch's own loss there"
        )
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} is a sparse tensor: write {name}.to_dense()")
    bits = by_bits(tensor, name)
    if bits is None:
        raise TypeError(f"{name} has dtype {tensor.dtype}: write {name}.float()")
    return bits


def check_constant(**inputs: Any) -> None:
    """Raise ValueError if a gradient is asked for besides that of the logits."""
    for name, given in inputs.items():
        # Within a compiled graph numbers are no Python numbers, and are not to be asked.
        if isinstance(given, torch.Tensor) and given.requires_grad:
            raise ValueError(
                f"{name} must not require a gradient, as that of the logits is computed alone: "
                f"write {name}.detach()"
            )


class OfTensors:
    """A loss as a function of tensors."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.by_rows = isinstance(loss, RowwiseLoss)
        self.unreduced = loss.reduction == "none"
        # Of tensors of these dtypes and shapes, what computes the loss by their addresses, and
        # the dtype that it has in NumPy.
        self._small: dict[Any, tuple[AddressCall, Any]] = {}
        # Second derivatives are the exact ones, whatever boosters would be given.
        self._named = named(replace(loss, hessian="exact"), "labels", "logits")

    # ---------------------------------------------------------------------------------------------
    # What follows from shapes and dtypes

    def dtype(self, logits: Tensor) -> Any:
        """The dtype of the loss: float32, unless the logits have more digits."""
        return torch.float32 if logits.dtype in _OF_FLOAT32 else torch.float64

    def shape(self, logits: Tensor) -> list[int]:
        """The shape of the loss."""
        shape = list(logits.shape) if self.unreduced else []
        if self.by_rows and shape:
            del shape[self._class_axis(logits)]
        return shape

    def spread(self, factor: Tensor, logits: Tensor) -> Tensor:
        """Numbers for each loss, so that they can be multiplied with something like the logits."""
        if self.by_rows and self.unreduced:
            return factor.unsqueeze(self._class_axis(logits))
        return factor

    def along(self, grad: Tensor, tangent: Tensor) -> Tensor:
        """How each loss changes when the logits change by a tangent."""
        dtype = self.dtype(grad)
        changes = grad.to(dtype) * tangent.to(dtype)
        if not self.unreduced:
            return changes.sum()
        return changes.sum(self._class_axis(grad)) if self.by_rows else changes

    def _class_axis(self, logits: Tensor) -> int:
        return 1 if logits.ndim > 1 else 0

    # ---------------------------------------------------------------------------------------------
    # What is computed

    def arrays(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Arrays:
        """Tensors as arrays.

        Raises RuntimeError for tensors without memory, as transforms have them.
        """
        try:
            # What requires a gradient has no array, and of these two none is computed.
            x, y = logits.detach().numpy(), labels.numpy()
            w = None if weight is None else weight.numpy()
            if not (x.flags.owndata or y.flags.owndata or (w is not None and w.flags.owndata)):
                return x, y, w
        except (AttributeError, RuntimeError, TypeError):
            pass
        if isinstance(labels, tuple):
            raise TypeError(
                "labels must be a tensor, got tuple: of class ids and their probabilities make "
                "soft labels, torch.zeros_like(logits).scatter_add_(1, ids, probabilities)"
            )
        check_constant(labels=labels, weight=weight)
        x = array_of(logits.detach() if isinstance(logits, torch.Tensor) else logits, "logits")
        return x, array_of(labels, "labels"), None if weight is None else array_of(weight, "weight")

    def small(
        self, logits: Tensor, labels: Tensor, overwrites: bool
    ) -> tuple[Tensor, Tensor | None] | None:
        """The loss of a small batch like one that was seen before, and its gradient if recorded.

        By the addresses of tensors: to make arrays of them takes as long as the loss. None if there
        is anything special about them.
        """
        if not type(logits) is type(labels) is _Tensor:
            return None
        records = logits.requires_grad and _is_grad_enabled()
        known = self._small.get((records, logits.dtype, logits.shape, labels.dtype, labels.shape))
        if known is None or labels.requires_grad:
            return None
        try:
            if not (_is_plain(logits) and _is_plain(labels)):
                return None
            true, pred = labels.data_ptr(), logits.data_ptr()
        except RuntimeError:  # tensors without memory, as transforms have them
            return None
        if not (true and pred):
            return None
        call, dtype = known
        grad = None
        if records:
            grad = overwritten(logits) if overwrites else _empty_like(logits)
        found = call(true, pred, () if grad is None else grad.data_ptr())
        return None if found is None else (_from_numpy(_asarray(found, dtype)), grad)

    def keep_small(self, verb: Verb, arrays: Arrays, logits: Tensor, labels: Tensor) -> None:
        """Remember what `small` needs for other batches like this one, if that is possible."""
        x, y, weight = arrays
        kind = verb is VALUE_AND_GRAD, logits.dtype, logits.shape, labels.dtype, labels.shape
        if weight is not None or self.unreduced or self._is_moved(x) or kind in self._small:
            return
        call = self._named._family.calls.get((verb, y.dtype, y.shape, x.dtype, x.shape))
        known = None if call is None else address_call(call)
        if known is None:
            return
        if len(self._small) >= _MOST:
            self._small.clear()
        self._small[kind] = known, _ARRAYS[self.dtype(logits)]

    def value(self, arrays: Arrays, logits: Tensor, normalizer: Any) -> Tensor:
        """The loss alone."""
        return self._tensor(self._run(VALUE, arrays, normalizer)[0], logits)

    def value_and_grad(
        self, arrays: Arrays, logits: Tensor, normalizer: Any, room: "Room | None" = None
    ) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient in a new tensor or in the memory that `room` gives."""
        x = arrays[0]
        if is_soon_there(x) and x.ndim < 3 and room is not place_of and x.flags.c_contiguous:
            value, found, _ = self._run(VALUE_AND_GRAD, arrays, normalizer)
            return self._tensor(value, logits), tensor_of(found)
        grad, out = (room or new_place)(logits, x)
        return self._tensor(self._run(VALUE_AND_GRAD, arrays, normalizer, out)[0], logits), grad

    def hvp(self, arrays: Arrays, logits: Tensor, normalizer: Any, vector: Tensor) -> Tensor:
        """The product of the Hessian and a vector."""
        product, out = new_place(logits)
        given = array_of(vector.detach().to(logits.dtype), "vector")
        self._run(HVP, arrays, normalizer, out, given)
        return product

    def _run(
        self,
        verb: Verb,
        arrays: Arrays,
        normalizer: Any,
        out: Any = None,
        vector: Any = None,
    ) -> Any:
        x, y, weight = arrays
        if normalizer is not None and isinstance(normalizer, torch.Tensor):
            check_constant(normalizer=normalizer)
            normalizer = normalizer.item()
        moved = self._is_moved(x)
        if moved:
            x, out, vector = _classes_last(x), _classes_last(out), _classes_last(vector)
            y = _classes_last(y) if y.ndim == x.ndim else y
        try:
            if verb is HVP:
                return hvp(self._named, y, x, vector, weight, normalizer, out)
            return evaluate(self._named._family, verb, y, x, weight, normalizer, None, out)
        except (TypeError, ValueError) as error:
            text = _of_tensors(str(in_words_of_host(error)))
            text = text.replace("out overlaps", "overwrite_logits: the gradient overlaps")
            if moved:
                text += " (in these shapes and places the axis of classes, the second, is the last)"
            raise type(error)(text) from error

    def _is_moved(self, x: Array) -> bool:
        """Whether the axis of classes is not the last one, as kernels need it."""
        return self.by_rows and x.ndim > 2

    def _tensor(self, value: Any, logits: Tensor) -> Tensor:
        """The loss as a tensor."""
        return torch.from_numpy(np.asarray(value, _ARRAYS[self.dtype(logits)]))


def _of_tensors(text: str) -> str:
    """What messages say to write, with tensors: their functions mostly have the same names."""
    for pattern, words in _WORDS.items():
        text = re.sub(pattern, words, text)
    return text


def is_soon_there(like: Tensor | Array) -> bool:
    """Whether memory for a gradient like this is had as soon as kept memory."""
    return bool(like.nbytes <= _SMALL)


def _is_plain(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor lie in memory as they are, one behind the other."""
    return tensor.is_cpu and tensor.is_contiguous() and not tensor.is_neg()


# -------------------------------------------------------------------------------------------------
# Where gradients go


def new_place(logits: Tensor, x: Array | None = None) -> tuple[Tensor, Array]:
    """New memory in the layout of the logits."""
    place = torch.empty_like(logits.detach())
    return place, array_of(place, "logits")


def place_of(logits: Tensor, x: Array) -> tuple[Tensor, Array]:
    """The memory of the logits themselves."""
    return overwritten(logits), x


def overwritten(logits: Tensor) -> Tensor:
    """A tensor for the gradient in the memory of the logits; ValueError if it cannot be there."""
    base = logits._base if logits._is_view() else logits
    if base.is_leaf:
        raise ValueError(
            "logits are a leaf, a tensor of your own and no result, and overwrite_logits would "
            "destroy it: build the loss with overwrite_logits=False"
        )
    if any(step == 0 and n > 1 for step, n in zip(logits.stride(), logits.shape, strict=True)):
        raise ValueError(
            "logits have the same memory for several elements, and overwrite_logits needs it for "
            "each: write logits.contiguous()"
        )
    return logits.detach()


class KeptMemory:
    """The memory of the last gradient, which the next one takes if nobody holds the last one.

    A tensor of it holds an array, a part of all the memory, for as long as any tensor or array
    knows the same memory. So whether that part is still there tells whether the memory is in use.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Array, Callable[[], Array | None]]] = []

    def __call__(self, logits: Tensor, x: Array) -> tuple[Tensor, Array]:
        try:
            memory, part = self._kept.pop()  # so that no other thread has it
            usable = part() is None and memory.nbytes >= x.nbytes
        except IndexError:
            usable = False
        if not usable:
            memory = np.empty(x.nbytes, np.uint8)
        taken = memory[: x.nbytes]
        place = torch.from_numpy(taken).view(logits.dtype).view(logits.shape)
        self._kept[:] = [(memory, weakref.ref(taken))]
        return place, array_of(place, "logits")


def _classes_last(array: Any) -> Any:
    return None if array is None else np.moveaxis(array, 1, -1)
