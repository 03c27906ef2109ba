"""The loop over blocks, which makes a kernel of what is to be done with one block.

The blocks are independent, and each has results of its own, so one loop serves both backends:
compiled serially, `prange` is `range`, and Python's threads call the kernel on runs of blocks;
compiled in parallel, which takes twice as long and is done only when that backend is chosen,
Numba's threading layer hands out the blocks.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ..compiler.bits import (
    aligned_stack,
    overlaps,
    part_of,
    prange,
    settle,
    smaller,
    wide_vectors,
    window,
)
from .args import COMPARE, COMPUTE, SURVEY, Args
from .form import Form, Function
from .survey import LEAST_WEIGHT, MOST_WEIGHT


class Columns(NamedTuple):
    """What belongs to some samples of an array that lies class by class.

    A block and a group of rows have one in the place of a window: places and sizes are what they
    would be if samples lay one after the other.
    """

    size: Any
    first: Any
    whole: Any  # all samples of the first class, then all of the next one


class Block(NamedTuple):
    """What is the same for all blocks, and the windows of arrays that belong to one."""

    options: Any
    streamed: Any  # whether derivatives go past the caches
    true_width: Any  # elements of y_true in a sample
    width: Any  # elements of y_pred in a sample
    y_true: Any
    y_pred: Any  # in class-major forms `Columns`; derivatives likewise
    weight: Any
    probabilities: Any
    mask: Any
    vector: Any
    losses_out: Any
    grad_out: Any
    hess_out: Any


def _part_of_columns(array: Any, number: Any, size: Any) -> Any:
    whole = window(array, 0, array.size)
    start = number * size
    return Columns(smaller(size, array.size - start), start, whole)


def _columns_from(columns: Any, start: Any, size: Any) -> Any:
    return Columns(size, columns.first + start, columns.whole)


class Cut(NamedTuple):
    """Functions that cut predictions, gradients and Hessians, as these lie in memory."""

    y_pred: Function
    grad_out: Function
    hess_out: Function


def cuts(form: Form) -> tuple[Cut, Cut]:
    """Those into parts of a size, by their number, and those into windows: see `bits.py`."""
    there = True, form.with_grad, form.with_hess
    by_class = [form.class_major and array_is_there for array_is_there in there]
    parts = Cut(*(_part_of_columns if columns else part_of for columns in by_class))
    return parts, Cut(*(_columns_from if columns else window for columns in by_class))


# Numba knows arguments by their places alone, and its parallel loops take no tuples of tuples. So
# the text of a kernel is made of the names of its arguments.
_KERNEL = """
def kernel({names}):
    if phase & {compare} and overlap({names}):
        raise BufferError("results overlap what is read")
    for k in prange(last - first):
        wide_vectors()
        aligned_stack()
        run_block(first + k, {names})
"""
# A file that does not exist, so that nobody is shown lines of another; it lies among the kernels,
# by which functions are known as parts of them.
_KERNEL_FILE = str(Path(__file__).with_name("<kernel>"))


def over_blocks(
    survey_block: Function, sum_block: Function, form: Form, options_type: type = tuple
) -> Function:
    """A kernel, which goes over the blocks from `first` to `last` of its `Args`.

    For each, `survey_block(block)` gives the sum of its weights, or a negative number if it holds
    anything illegal, and `sum_block(block, scale)` the sum of its losses. A scale of NaN stands for
    1 / the sum of the weights of the one block that there is. If a block is surveyed in the same
    call and its weights are out of reach, nothing is written: the call is repeated with other
    weights.

    `options_type` is the type of the options, whose names are lost on the way into compiled code.
    """
    named, n_results, labelled = options_type is not tuple, form.n_results, form.labelled
    part_of_pred, part_of_grad, part_of_hess = cuts(form)[0]

    def run_block(b: Any, *arguments: Any) -> None:
        args = Args(*arguments)
        n_true, n_pred = args.block * args.true_width, args.block * args.width
        block = Block(
            options=options_type(*args.options) if named else args.options,
            streamed=args.streamed,
            true_width=args.true_width,
            width=args.width,
            y_true=part_of(args.y_true, b, n_true),
            y_pred=part_of_pred(args.y_pred, b, n_pred),
            weight=part_of(args.weight, b, args.block),
            probabilities=part_of(args.probabilities, b, n_true),
            mask=part_of(args.mask, b, n_pred),
            vector=part_of(args.vector, b, n_pred),
            losses_out=part_of(args.losses_out, b, args.block * n_results),
            grad_out=part_of_grad(args.grad_out, b, n_pred),
            hess_out=part_of_hess(args.hess_out, b, n_pred),
        )
        scale = args.scale
        legal = True
        if args.phase & SURVEY:
            total = survey_block(block)
            args.weights[b] = total
            legal = total >= 0.0 and total <= MOST_WEIGHT
            if scale != scale:
                legal = legal and (total >= LEAST_WEIGHT or total == 0.0)
                scale = 1.0 / total if total > 0.0 else 0.0
        if args.phase & COMPUTE and legal:
            args.partials[b] = sum_block(block, scale)
            if args.streamed:
                settle()

    def overlap(*arguments: Any) -> Any:
        """Whether results share memory with what is read, unless in place, or with each other."""
        args = Args(*arguments)
        y_true = args.y_true if labelled else ()
        losses, grad, hess, y_pred = args.losses_out, args.grad_out, args.hess_out, args.y_pred
        read = y_true, args.weight, args.probabilities, args.mask, args.vector
        return (
            overlaps(losses, read, y_pred)
            or overlaps(grad, read, y_pred)
            or overlaps(hess, read, ())
            or overlaps(hess, (y_pred, grad), ())
        )

    scope: dict[str, Any] = {
        "__name__": __name__,
        "aligned_stack": aligned_stack,
        "overlap": overlap,
        "prange": prange,
        "run_block": run_block,
        "wide_vectors": wide_vectors,
    }
    source = _KERNEL.format(names=", ".join(Args._fields), compare=COMPARE)
    exec(compile(source, _KERNEL_FILE, "exec"), scope)
    kernel: Function = scope["kernel"]
    kernel.__name__ = sum_block.__name__  # which files of the store begin with
    return kernel
