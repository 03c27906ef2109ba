"""The prange backend: the tasks of `_blocks.py`, handed out by Numba's threading layer.

Compiled only when that backend is chosen, as code with a prange takes twice as long to compile.
"""

from typing import Any

import numba

from .bits import window
from .form import Function


def prange_kernel(kernel: Function) -> Function:
    """A function that runs `kernel` over tasks of `blocks_per_task` blocks, in parallel."""

    def prange_tasks(
        options: Any,
        scale: Any,
        block: Any,
        y_true: Any,
        y_pred: Any,
        weight: Any,
        losses_out: Any,
        grad_out: Any,
        hess_out: Any,
        partials: Any,
        true_width: Any,
        width: Any,
        n_samples: Any,
        blocks_per_task: Any,
    ) -> None:
        n_tasks = (partials.size + blocks_per_task - 1) // blocks_per_task
        for task in numba.prange(n_tasks):
            first = task * blocks_per_task
            last = min(first + blocks_per_task, partials.size)
            start = first * block
            stop = min(last * block, n_samples)
            kernel(
                options,
                scale,
                block,
                window(y_true, start * true_width, stop * true_width),
                window(y_pred, start * width, stop * width),
                window(weight, start, stop),
                window(losses_out, start, stop),
                window(grad_out, start * width, stop * width),
                window(hess_out, start * width, stop * width),
                window(partials, first, last),
            )

    return prange_tasks
