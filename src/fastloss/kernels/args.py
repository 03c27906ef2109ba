"""How a kernel is called: what it is given, by name, and what it is asked to do.

Kernels take the members of an `Args`, in their order: `kernel(*args)`. This is the one place where
they have an order.
"""

from collections import namedtuple
from functools import cache
from typing import Any, NamedTuple

# What a call does with each block. Both at once saves a call where there is one block, and a trip
# to memory where nothing is written that the user could see.
SURVEY = 1
COMPUTE = 2
BOTH = SURVEY | COMPUTE
# And before: BufferError if results overlap what is read. So short calls learn it.
COMPARE = 4


class Args(NamedTuple):
    """The arguments of a kernel. Arrays are contiguous; one that is absent is ()."""

    phase: Any  # SURVEY, COMPUTE or BOTH, and COMPARE
    options: Any  # numbers and arrays that the loss tells; of losses of rows, see `row_options`
    scale: Any  # what derivatives are multiplied by; NaN: 1 / the sum of the weights
    streamed: Any  # whether derivatives go past the caches
    first: Any  # the first block that is computed
    last: Any  # the block behind the last one
    block: Any  # samples in a block
    true_width: Any  # elements of y_true in a sample
    width: Any  # elements of y_pred and of derivatives in a sample
    probabilities: Any = ()  # [n_samples * true_width], of the class ids in y_true
    mask: Any = ()  # [n_samples * width]: which classes are in, row by row
    vector: Any = ()  # [n_samples * width]; see `Extras`
    losses_out: Any = ()  # [n_samples * form.n_results]
    hess_out: Any = ()  # [n_samples * width]
    # All that differs between most calls with arrays of the same shapes and dtypes: see `shared`.
    weight: Any = ()  # [n_samples]
    y_true: Any = ()  # [n_samples * true_width]
    y_pred: Any = ()  # [n_samples * width]
    grad_out: Any = ()  # [n_samples * width]
    weights: Any = ()  # [n_blocks], written: the sum of the weights of each block
    partials: Any = ()  # [n_blocks], written: the sum of the losses of each block

    def asking(self, phase: Any, scale: Any) -> "Args":
        """The same with another phase and scale, in two thirds of the time of `_replace`."""
        return tuple.__new__(Args, (phase, self.options, scale, *self[3:]))

    def with_arrays(
        self,
        streamed: Any,
        y_true: Any,
        y_pred: Any,
        weight: Any,
        probabilities: Any,
        mask: Any,
        vector: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
        weights: Any,
        partials: Any,
    ) -> "Args":
        """The same for these arrays, in a third of the time of `_replace`."""
        given = probabilities, mask, vector, losses_out, hess_out
        own = weight, y_true, y_pred, grad_out, weights, partials
        return tuple.__new__(Args, (*self[:3], streamed, *self[4:9], *given, *own))

    @property
    def shared(self) -> tuple[Any, ...]:
        """The arguments but for the last six, which a short call adds in their order.

        It calls the same kernel again and again, and has no time to name them.
        """
        return self[:-6]


# Which arguments are arrays that are written.
WRITTEN = frozenset(
    map(Args._fields.index, ("losses_out", "hess_out", "grad_out", "weights", "partials"))
)


class Extras(NamedTuple):
    """The inputs of a call that few losses know."""

    probabilities: Any  # of the class ids in y_true, of which a row then has several
    mask: Any  # which classes are in, row by row
    vector: Any  # what the Hessian is multiplied by, or the second of two sets of logits


# What kernels of rows are told before all else: the class id whose rows are left out, if the kernel
# is made for that; and what a row of each class counts in a mean, [n_classes], or an empty array.
_OF_ALL_ROWS = ("ignore_index", "mean_weight")
_N_OF_ALL_ROWS = len(_OF_ALL_ROWS)


@cache
def row_options(own: tuple[str, ...]) -> Any:
    """The named tuple of what kernels of a loss of rows are told, `own` being what it adds."""
    return namedtuple("RowOptions", (*_OF_ALL_ROWS, *own))


def own_options(options: Any) -> Any:
    """What the loss added, without names."""
    return options[_N_OF_ALL_ROWS:]
