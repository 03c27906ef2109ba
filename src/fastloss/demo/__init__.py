"""`fastloss demo`: training on real data and one large batch, against naive NumPy."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .. import cross_entropy, get_num_threads
from ..call.arrays import Array
from ..compiler import jit, store
from ..study.numpy_losses import naive_cross_entropy_grad
from ..study.peak import measures_resident
from . import large_batch, picture, training
from .training import History

_QUICK_EPOCHS = 5


def run(folder: Path, quick: bool) -> None:
    """Show everything on the terminal and save the picture in `folder`."""
    began = time.perf_counter()
    console = Console(highlight=False)
    _compile(console)
    trainings = _train(console, quick)
    _show_confident_row(console)
    results, batch_name = _race(console, quick)
    path = folder / "fastloss-demo.png"
    picture.save(path, trainings, results, batch_name)
    console.print(f"\nThe picture is in {path.resolve()}", soft_wrap=True)
    console.print(f"All of it took {time.perf_counter() - began:.0f} s.")


# ---------------------------------------------------------------------------------------------
# Compiling


def _compile(console: Console) -> None:
    """Compile or load what the demonstration needs, so that no later time includes it."""
    console.rule("[bold]1  Compiling")
    console.print("Kernels are compiled when they are first used: seconds, once per machine.")
    before, start = jit.counts.copy(), time.perf_counter()
    labels = np.zeros(2, np.int64)
    cross_entropy.value_and_grad(labels, np.zeros((2, 3)))
    single = np.zeros((2, 3), np.float32)
    cross_entropy(labels, single)
    cross_entropy.value_and_grad(labels, single)
    seconds = time.perf_counter() - start
    done = jit.counts - before
    state = store.state()
    text = f"Compiled {done['compiled']} kernels and loaded {done['loaded']} in {seconds:.1f} s. "
    if state.problem is not None:
        text += f"They cannot be kept for the next run: {state.problem}"
    elif done["compiled"]:
        text += f"The next run loads all of them from {state.path}"
    else:
        text += f"An earlier run left them in {state.path}"
    console.print(text)


# ---------------------------------------------------------------------------------------------
# Training


def _naive(labels: Array, logits: Array, out: Array) -> tuple[Any, Array]:
    return naive_cross_entropy_grad(labels, logits)


def _fused(labels: Array, logits: Array, out: Array) -> tuple[Any, Array]:
    return cross_entropy.value_and_grad(labels, logits, out=out)


def _train(console: Console, quick: bool) -> dict[str, dict[str, History]]:
    console.rule("[bold]2  Training on handwritten digits")
    data = training.digits()
    console.print(
        f"{len(data.train_labels)} images to learn from, {len(data.test_labels)} to be tested on; "
        f"gradient descent in float64 with batches of {training.BATCH_SIZE}. Only the loss "
        "function differs."
    )
    progress = Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(20),
        TextColumn("{task.fields[state]}"),
        console=console,
    )
    trainings: dict[str, dict[str, History]] = {}
    with progress:
        for kind in training.MODELS:
            trainings[kind.name] = {}
            epochs = _QUICK_EPOCHS if quick else kind.epochs
            for name, loss in {"naive NumPy": _naive, "fastloss": _fused}.items():
                model = kind(np.random.default_rng(0), data.train_images.shape[1])
                bar = progress.add_task(f"{kind.name}, {name}", total=epochs, state="")

                def report(history: History, bar: Any = bar) -> None:
                    state = f"loss {history.losses[-1]:.4f} accuracy {history.accuracies[-1]:.1%}"
                    progress.update(bar, advance=1, state=state)

                trainings[kind.name][name] = training.train(model, data, epochs, loss, report)
    _show_trainings(console, trainings)
    return trainings


def _show_trainings(console: Console, trainings: dict[str, dict[str, History]]) -> None:
    table = Table(title="The same numbers")
    for heading in ("model", "loss by", "final loss", "accuracy", "one loss"):
        table.add_column(heading, justify="left" if heading in ("model", "loss by") else "right")
    for model, histories in trainings.items():
        for name, history in histories.items():
            table.add_row(
                model if name == "naive NumPy" else "",
                name,
                f"{history.losses[-1]:.12f}",
                f"{history.accuracies[-1]:.2%}",
                f"{history.loss_seconds / history.loss_calls * 1e6:.1f} us",
                end_section=name == "fastloss",
            )
    console.print(table)
    for model, histories in trainings.items():
        difference = training.largest_difference(*histories.values())
        naive, fused = (history.loss_seconds for history in histories.values())
        console.print(
            f"{model}: largest difference of any weight {difference:.1e}; {naive:.3f} s spent on "
            f"the loss with naive NumPy, {fused:.3f} s with fastloss"
        )


def _show_confident_row(console: Console) -> None:
    console.rule("[bold]3  A confident row")
    console.print("Logits \\[20, 0, -5] in float32, label 0. The loss is tiny, and not nothing:")
    for name, value in large_batch.confident_row():
        console.print(f"  {name:<14} {value:.7g}")


# ---------------------------------------------------------------------------------------------
# The large batch


def _race(console: Console, quick: bool) -> tuple[list[large_batch.Result], str]:
    console.rule("[bold]4  A large batch")
    rows, n_classes = large_batch.ROWS, large_batch.CLASSES
    if quick:
        rows, n_classes = large_batch.QUICK_ROWS, large_batch.QUICK_CLASSES
    fitting = large_batch.rows_that_fit(rows, n_classes)
    if fitting < rows:
        console.print(
            f"[yellow]The naive version of {rows:,} rows needs more memory than is free: "
            f"{fitting:,} rows it is."
        )
        rows = fitting
    batch_name = f"{rows:,} x {n_classes:,}"
    console.print(
        f"{batch_name} float32 logits ({rows * n_classes * 4 / 1e9:.2f} GB), "
        f"{get_num_threads()} threads."
    )
    progress = Progress(
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    )
    with progress:
        bar = progress.add_task("making the logits", total=1)
        labels, logits = large_batch.batch(rows, n_classes)
        results = large_batch.measure(labels, logits, partial(_report, progress, bar))
    _show_results(console, results)
    return results, batch_name


def _report(progress: Progress, bar: Any, description: str, done: float) -> None:
    progress.update(bar, description=description, completed=done)


def _show_results(console: Console, results: list[large_batch.Result]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for heading in (
        "time\nms",
        "fastest\nms",
        "naive /\nthis",
        "extra\nMB",
        "loss\nerror",
        "grad.\nerror",
    ):
        table.add_column(heading, justify="right")
    naive = {result.task: result.seconds for result in results if result.name == "naive NumPy"}
    for task in large_batch.TASKS:
        table.add_row(f"[bold]{task}")
        # NumPy as texts write it always makes new arrays, so its one time is what `out=` and
        # work in place compare with.
        rival = naive.get(task, naive[large_batch.TASKS[1]])
        for result in (result for result in results if result.task == task):
            grad_error = result.grad_error
            table.add_row(
                f"  {result.name}",
                f"{result.seconds * 1e3:,.1f}",
                f"{result.fastest * 1e3:,.1f}",
                f"{rival / result.seconds:.1f}",
                f"{result.extra_bytes / 1e6:,.0f}",
                f"{result.loss_error:.0e}",
                "" if grad_error is None else f"{grad_error:.0e}",
                end_section=result.name == "fastloss",
            )
    console.print(table)
    how = "the peak that Python's tracemalloc saw"
    if measures_resident():
        how = "the rise of the peak resident memory (VmHWM), or of tracemalloc's if larger"
    console.print(
        f"Time: the median of {large_batch.ROUNDS} rounds, and the fastest. Extra: memory, {how}, "
        "results included. Errors, against float64: of the loss, relative; of the gradient, "
        "relative to the largest number in its row, the worst of a sample of rows. Where a model "
        "is sure, its probability rounds to 1 in float32, and p - 1 to 0. Naive NumPy has no out=."
    )
