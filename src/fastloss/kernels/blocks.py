"""The loop over blocks, which makes a kernel of what is to be done with one block.

The blocks are independent, and each has results of its own, so one loop serves both backends:
compiled serially, `prange` is `range`, and Python's threads call the kernel on runs of blocks;
compiled in parallel, which takes twice as long and is done only when that backend is chosen,
Numba's threading layer hands out the blocks.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ..compiler.bits import aligned_stack, part_of, prange, settle, wide_vectors, window
from .args import COMPUTE, SURVEY, Args
from .form import Form, Function
from .survey import LEAST_WEIGHT, MOST_WEIGHT


class Columns(NamedTuple):
    """Arrays that lie class by class, from the first number of a sample on."""

    step: Any  # from a number of the sample to that of the next class
    y_pred: Any
    grad_out: Any
    hess_out: Any


class Block(NamedTuple):
    """What is the same for all blocks, and the windows of arrays that belong to one."""

    options: Any
    streamed: Any  # whether derivatives go past the caches
    true_width: Any  # elements of y_true in a sample
    width: Any  # elements of y_pred in a sample
    columns: Any  # of class-major forms, or ()
    y_true: Any
    y_pred: Any  # where there are columns, only as large as it should be; derivatives likewise
    weight: Any
    probabilities: Any
    mask: Any
    vector: Any
    losses_out: Any
    grad_out: Any
    hess_out: Any


def _columns_of(args: Any, b: Any) -> Any:
    whole = Columns(args.y_pred.size // args.width, args.y_pred, args.grad_out, args.hess_out)
    return columns_from(whole, b * args.block)


def columns_from(columns: Any, start: Any) -> Any:
    """Those that begin so many samples later."""
    size = columns.y_pred.size - start
    return Columns(
        columns.step,
        window(columns.y_pred, start, size),
        window(columns.grad_out, start, size),
        window(columns.hess_out, start, size),
    )


# Numba knows arguments by their places alone, and its parallel loops take no tuples of tuples. So
# the text of a kernel is made of the names of its arguments.
_KERNEL = """
def kernel({names}):
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
    named, n_results, class_major = options_type is not tuple, form.n_results, form.class_major

    def run_block(b: Any, *arguments: Any) -> None:
        args = Args(*arguments)
        n_true, n_pred = args.block * args.true_width, args.block * args.width
        block = Block(
            options=options_type(*args.options) if named else args.options,
            streamed=args.streamed,
            true_width=args.true_width,
            width=args.width,
            columns=_columns_of(args, b) if class_major else (),
            y_true=part_of(args.y_true, b, n_true),
            y_pred=part_of(args.y_pred, b, n_pred),
            weight=part_of(args.weight, b, args.block),
            probabilities=part_of(args.probabilities, b, n_true),
            mask=part_of(args.mask, b, n_pred),
            vector=part_of(args.vector, b, n_pred),
            losses_out=part_of(args.losses_out, b, args.block * n_results),
            grad_out=part_of(args.grad_out, b, n_pred),
            hess_out=part_of(args.hess_out, b, n_pred),
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

    scope: dict[str, Any] = {
        "__name__": __name__,
        "aligned_stack": aligned_stack,
        "prange": prange,
        "run_block": run_block,
        "wide_vectors": wide_vectors,
    }
    source = _KERNEL.format(names=", ".join(Args._fields))
    exec(compile(source, _KERNEL_FILE, "exec"), scope)
    kernel: Function = scope["kernel"]
    kernel.__name__ = sum_block.__name__  # which files of the store begin with
    return kernel
