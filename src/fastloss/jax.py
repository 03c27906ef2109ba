"""Losses in JAX: a step around the loss, between two compiled functions, and a callback in them."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .bases.loss import Loss
from .bases.rows import RowwiseLoss
from .call.arrays import Array
from .call.run import evaluate
from .call.verbs import VALUE, VALUE_AND_GRAD, Verb
from .hosts.common import VANISHING, check_loss, hvp, in_words_of_host, named


def value_and_grad(
    loss: Loss, forward: Callable[[Any, Any], Any], *, has_aux: bool = False
) -> "Step":
    """A loss and its gradient by the parameters of a model, as `jax.value_and_grad` has them.

    `forward(params, inputs)` returns the logits, or predictions, as an array, with its classes on
    the last axis; with `has_aux` the pair of them and anything else. It is compiled by `jax.jit`,
    as is its transposed derivative; between the two the loss is computed where the logits lie, and
    its gradient is written where the second finds it. That is the fast way for large logits, and no
    function for `jax.jit`, as the step is not all of JAX: what comes after it may be.

        step = value_and_grad(loss, forward)
        value, grads = step(params, inputs, labels, weight=None, normalizer=None)

    `params` and `inputs` are any pytrees of arrays, `labels` what the loss takes, `weight` that of
    each sample, `normalizer` the denominator of a mean. `value` is a float, or with
    `reduction="none"` a NumPy array of the losses, whose sum has the gradient; `grads` is like
    `params`. With `has_aux` the first result is the pair `(value, aux)`.

    Raises TypeError within `jax.jit` and other transforms, ValueError for logits that are not on
    one CPU, and what the loss raises.

    >>> import jax.numpy as jnp
    >>> import fastloss as fl
    >>> import fastloss.jax
    >>> step = fl.jax.value_and_grad(fl.cross_entropy, lambda params, x: x @ params["w"])
    >>> value, grads = step({"w": jnp.zeros((2, 2))}, jnp.eye(2), jnp.array([0, 1]))
    >>> round(value, 6), grads["w"].tolist()
    (0.693147, [[-0.25, 0.25], [0.25, -0.25]])
    """
    return Step(loss, forward, has_aux)


class Step:
    """A loss and its gradient by the parameters of a model: see `value_and_grad`."""

    def __init__(self, loss: Loss, forward: Callable[[Any, Any], Any], has_aux: bool) -> None:
        import jax

        def ahead(params: Any, inputs: Any) -> tuple[Any, ...]:
            function = partial(_swapped, forward, inputs)
            logits, *more = jax.vjp(function, params, has_aux=has_aux)
            if not isinstance(logits, jax.Array):
                raise TypeError(
                    f"forward returned {type(logits).__name__} for logits: it must return an "
                    "array, or with has_aux=True the pair of an array and anything"
                )
            return logits, *more

        def back(pull: Any, grad: Any) -> tuple[Any, Any]:
            # And something that is there when the gradient has been read, which nobody else has.
            return pull(grad)[0], grad.reshape(-1)[:1]

        self.loss, self.forward, self.has_aux = loss, forward, has_aux
        check_loss(loss)
        self._named = named(loss, "labels", "logits")
        self._ahead, self._back = jax.jit(ahead), jax.jit(back)
        self._spare: dict[Any, list[_Buffer]] = {}

    def __repr__(self) -> str:
        aux = ", has_aux=True" if self.has_aux else ""
        return f"fastloss.jax.value_and_grad({self.loss!r}, {self.forward!r}{aux})"

    def __call__(
        self, params: Any, inputs: Any, labels: Any, weight: Any = None, normalizer: Any = None
    ) -> tuple[Any, Any]:
        """The loss and its gradient by the parameters: see `value_and_grad`."""
        import jax

        given = params, inputs, labels, weight, normalizer
        if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(given)):
            raise TypeError(
                "a step of fastloss.jax.value_and_grad is no part of a function that JAX traces: "
                "call it outside of jax.jit, or use fastloss.jax.callback inside"
            )
        logits, pull, *aux = self._ahead(params, inputs)
        devices = logits.devices()
        if [device.platform for device in devices] != ["cpu"]:
            places = ", ".join(sorted(map(str, devices)))
            raise ValueError(
                f"logits are on {places}, but fastloss computes on one CPU: put parameters and "
                'inputs there, with jax.device_put(..., jax.devices("cpu")[0])'
            )
        # This waits for the logits, and copies nothing.
        x = np.asarray(logits)
        key = x.shape, x.dtype, *devices
        buffer = self._buffer(key, logits)
        labels, weight, normalizer = map(_array, (labels, weight, normalizer))
        value, _, _ = _run(self._named, VALUE_AND_GRAD, x, labels, weight, normalizer, buffer.array)
        grads, buffer.read = self._back(pull, buffer.of_jax)
        self._keep(key, buffer)
        return ((value, *aux) if self.has_aux else value), grads

    def _buffer(self, key: Any, logits: Any) -> "_Buffer":
        """Memory for a gradient: of an earlier step, once that has been read, or new."""
        try:
            buffer = self._spare[key].pop()
        except (KeyError, IndexError):
            return _Buffer(logits)
        buffer.read.block_until_ready()
        return buffer

    def _keep(self, key: Any, buffer: "_Buffer") -> None:
        if key not in self._spare and len(self._spare) > 1:  # batches, and the last of an epoch
            self._spare.clear()
        self._spare.setdefault(key, []).append(buffer)


class _Buffer:
    """An array of JAX whose memory is written: used by one step at a time, and known to no one."""

    def __init__(self, like: Any) -> None:
        import jax.numpy as jnp

        self.of_jax = jnp.zeros(like.shape, like.dtype, device=like.sharding).block_until_ready()
        memory = ctypes.c_char * self.of_jax.nbytes
        address = self.of_jax.unsafe_buffer_pointer()
        memory_of_it = memory.from_address(address) if like.size else bytearray()
        self.array: Array = np.ndarray(like.shape, like.dtype, memory_of_it)
        self.read: Any = None  # is ready once the last step has read it


# -------------------------------------------------------------------------------------------------


def callback(loss: Loss) -> Callable[..., Any]:
    """A loss as a function of JAX, for `jax.jit`, `jax.grad` and `jax.vmap`.

        function = callback(loss)
        function(logits, labels, weight=None, normalizer=None)

    Logits have their classes on the last axis. Returns the loss as an array, of float64 for such
    logits and else of float32. The gradient, that by the logits alone, is computed together with
    the loss; CrossEntropy and elementwise losses have second derivatives.

    JAX leaves its compiled code for each call and copies what comes back, so that this is slower
    than losses that are written in JAX, by up to three times: it is for losses that JAX does not
    have. `value_and_grad` is the fast way.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import fastloss as fl
    >>> import fastloss.jax
    >>> tweedie = fl.jax.callback(fl.tweedie)
    >>> jax.jit(jax.grad(tweedie))(jnp.array([0.0, 1.0]), jnp.array([1.0, 1.0])).round(4)
    Array([0.    , 0.5211], dtype=float32)
    """
    import jax
    import jax.numpy as jnp
    from jax.custom_derivatives import SymbolicZero

    # All parts of it are functions in here, as they need JAX, which is imported only now.
    # Second derivatives are the exact ones, whatever boosters would be given.
    check_loss(loss)
    known = named(replace(loss, hessian="exact"), "labels", "logits")
    unreduced, by_rows = loss.reduction == "none", isinstance(loss, RowwiseLoss)

    def loss_like(logits: Any) -> Any:
        shape = logits.shape[:-1] if by_rows else logits.shape
        dtype = jnp.float64 if logits.dtype == jnp.float64 else jnp.float32
        return jax.ShapeDtypeStruct(shape if unreduced else (), dtype)

    def call(function: Callable[..., Any], like: Any, *inputs: Any) -> Any:
        # Arrays of JAX come in, and are only read: within a callback JAX computes nothing.
        def on_host(*given: Any) -> Any:
            return function(*map(_array, given))

        return jax.pure_callback(on_host, like, *inputs, vmap_method="sequential")

    def of_arrays(verb: Verb, logits: Array, *others: Any) -> Any:
        value, grad, _ = _run(known, verb, logits, *others)
        value = np.asarray(value, loss_like(logits).dtype)
        return (value, grad) if verb is VALUE_AND_GRAD else value

    def product(vector: Array, logits: Array, labels: Array, weight: Any, normalizer: Any) -> Array:
        return hvp(known, labels, logits, vector, weight, normalizer, np.empty_like(logits))

    @jax.custom_vjp
    def value(*inputs: Any) -> Any:
        return call(partial(of_arrays, VALUE), loss_like(inputs[0]), *inputs)

    @jax.custom_vjp
    def both(*inputs: Any) -> Any:
        like = loss_like(inputs[0]), _like(inputs[0])
        return call(partial(of_arrays, VALUE_AND_GRAD), like, *inputs)

    def multiplied(grad: Any, factor: Any) -> Any:
        factor = factor[..., None] if by_rows and unreduced else factor
        return (grad * factor).astype(grad.dtype)

    def value_ahead(*inputs: Any) -> Any:
        return both(*_constant_but_first(inputs))

    def value_back(grad: Any, factor: Any) -> Any:
        return multiplied(grad, factor), None, None, None

    def both_ahead(*inputs: Any) -> Any:
        inputs = _constant_but_first(inputs)
        results = both(*inputs)
        return results, (inputs, results[1])

    def both_back(kept: Any, factors: Any) -> Any:
        inputs, grad = kept
        of_value, of_grad = factors
        parts = []
        if not isinstance(of_value, SymbolicZero):
            parts.append(multiplied(grad, of_value))
        if not isinstance(of_grad, SymbolicZero):
            parts.append(call(product, _like(grad), of_grad, *inputs))
        return sum(parts[1:], *parts[:1]), None, None, None

    value.defvjp(value_ahead, value_back, symbolic_zeros=True)
    both.defvjp(both_ahead, both_back, symbolic_zeros=True)

    def function(logits: Any, labels: Any, weight: Any = None, normalizer: Any = None) -> Any:
        logits = jnp.asarray(logits)
        if logits.dtype.name in VANISHING:
            logits = logits.astype(jnp.float32)
        return value(logits, labels, weight, normalizer)

    return function


def _constant_but_first(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The numbers of the inputs, of which the logits alone may be asked for a gradient."""
    import jax

    # Labels may be a pair of arrays, and lists are trees of numbers.
    for name, given in zip(("labels", "weight", "normalizer"), inputs[1:], strict=True):
        if any(leaf.perturbed for leaf in jax.tree.leaves(given)):
            raise TypeError(
                f"a gradient by {name} is asked for, but that of the logits is computed alone: "
                f"write jax.lax.stop_gradient({name})"
            )
    return tuple(jax.tree.map(lambda leaf: leaf.value, inputs))


def _like(array: Any) -> Any:
    import jax

    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _swapped(forward: Callable[[Any, Any], Any], inputs: Any, params: Any) -> Any:
    return forward(params, inputs)


def _array(given: Any) -> Any:
    """An array of JAX as one of NumPy, where it lies, and a single number as that."""
    if hasattr(given, "__array__"):
        given = np.asarray(given)
        return given if given.ndim else given.item()
    return given


def _run(
    loss: Loss,
    verb: Verb,
    logits: Array,
    labels: Any,
    weight: Any,
    normalizer: Any,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    try:
        return evaluate(loss._family, verb, labels, logits, weight, normalizer, None, out)
    except (TypeError, ValueError) as error:
        raise in_words_of_host(error) from error
