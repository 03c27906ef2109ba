"""The command `fastloss`: a demonstration, a look at the machine, and care of the compiled code."""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import Loss, __version__, catalogue
from .call import threads
from .call.cpus import cpu_model
from .compiler import processor, store
from .compiler.interrupts import compiler
from .evaluation import command as evaluation
from .evaluation.files import signals
from .evaluation.report import terminal
from .kernels.storage import FLOATS

Verb = Callable[[Any, Any], Any]
Command = Callable[[argparse.Namespace], int]

_DEMO_PACKAGES = ("matplotlib", "rich", "sklearn")
_BENCH_PACKAGES = ("matplotlib", "ml_dtypes", "psutil", "rich", "scipy", "sklearn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 if it failed, 2 if it cannot run."""
    terminal.prepare()
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
    except KeyboardInterrupt as error:
        terminal.say("interrupted")
        return 128 + getattr(error, "number", signal.SIGINT)
    except OSError as error:
        if error.filename is not None:
            raise
        return _fail(terminal.unprinted(error), 2)
    problem = terminal.show(end="")
    return status if problem is None else _fail(problem, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastloss", description="Losses and their gradients over NumPy arrays."
    )
    parser.add_argument("--version", action="version", version=f"fastloss {__version__}")
    parser.set_defaults(run=partial(_help, parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    text = "train on real data, race naive NumPy on a large batch, save a picture (a minute)"
    demo = commands.add_parser("demo", help=text, description=text)
    demo.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where the picture goes (default: the current directory)",
    )
    demo.add_argument("--quick", action="store_true", help="a short training and a small batch")
    demo.set_defaults(run=_demo)

    _add_bench(commands)

    for name, verb in evaluation.VERBS.items():
        command = commands.add_parser(name, help=verb.text, description=verb.text)
        verb.add_arguments(command)
        run = partial(_evaluation, verb.run)
        command.set_defaults(run=run, command=name, version=__version__)

    text = "show versions, CPU, threads, backend and cache"
    commands.add_parser("info", help=text, description=text).set_defaults(run=_info)

    text = "list all losses, or show the documentation of one"
    losses = commands.add_parser("losses", help=text, description=text)
    losses.add_argument("name", nargs="?", metavar="NAME", help="a class or a ready-made loss")
    losses.add_argument("--json", action="store_true", help="as JSON, for programs")
    losses.set_defaults(run=_losses)

    text = "compile the common kernels into the cache, so that first calls find them there"
    commands.add_parser("warmup", help=text, description=text).set_defaults(run=_warmup)

    text = "show or clear the cache of compiled code"
    cached = commands.add_parser("cache", help=text, description=text)
    cached.set_defaults(run=partial(_help, cached))
    actions = cached.add_subparsers(title="actions", metavar="ACTION")
    text = "show where the cache is, whether it can be used, and how much it holds"
    actions.add_parser("info", help=text, description=text).set_defaults(run=_cache_info)
    text = "delete all compiled code"
    actions.add_parser("clear", help=text, description=text).set_defaults(run=_cache_clear)
    return parser


def _help(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """What there is, if nothing of it was asked for."""
    parser.print_help(sys.stderr)
    return 2


def _add_bench(commands: Any) -> None:
    text = "compare the losses with other libraries, and write a report (7 minutes)"
    bench = commands.add_parser("bench", help=text, description=text)
    bench.set_defaults(run=partial(_study, _bench), suite="quick")
    _add_selection(bench)
    actions = bench.add_subparsers(title="what to do (default: quick)", metavar="ACTION")
    for suite, text in (
        ("quick", "measure the suite of about 7 minutes on 2 cores"),
        ("full", "measure every loss, from 32 to 64M elements: hours, and 16 GiB of memory"),
    ):
        action = actions.add_parser(suite, help=text, description=text)
        # What is not given here must not undo what stands before the name of the suite.
        _add_selection(action, argument_default=argparse.SUPPRESS)
        action.set_defaults(suite=suite)

    text = "write the report of stored results once more"
    report = actions.add_parser("report", help=text, description=text)
    report.add_argument("file", type=Path, metavar="FILE", help="the study.json of a run")
    report.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where it goes (default: beside FILE)"
    )
    report.set_defaults(run=partial(_study, _bench_report))

    text = "show what became slower or larger between two runs, or on another machine"
    compare = actions.add_parser("compare", help=text, description=text)
    compare.add_argument("before", type=Path, metavar="A.json")
    compare.add_argument("after", type=Path, metavar="B.json")
    compare.set_defaults(run=partial(_study, _bench_compare))


def _add_selection(parser: argparse.ArgumentParser, argument_default: Any = None) -> None:
    """Options of a suite. Those that choose may be given several times."""

    def several(name: str, metavar: str, text: str, **kind: Any) -> None:
        one(name, metavar, text, action="append", **kind)

    def one(name: str, metavar: str, text: str, **kind: Any) -> None:
        parser.add_argument(name, metavar=metavar, help=text, default=argument_default, **kind)

    several(
        "--section",
        "NAME",
        "a part of the report: speed, families, dtypes, sizes, classes, calls, data, evaluation, "
        "threads, memory, cold, hosts or jobs",
    )
    several("--loss", "NAME", "as fastloss losses shows it, such as cross_entropy")
    several(
        "--shape",
        "SHAPE",
        "such as 65536x1000; with --loss, one that the suite lacks, too",
        type=_shape,
    )
    several("--dtype", "NAME", f"one of {', '.join(FLOATS)}", choices=FLOATS)
    several("--contender", "NAME", "who is compared with fastloss, such as 'careful NumPy'")
    several("--contender-file", "FILE", "Python code with contenders of your own")
    one("--threads", "N", "for everyone (default: all CPUs it may use)", type=_count)
    one("--seconds", "S", "for each workload, all contenders together", type=float)
    one(
        "--processes",
        "N",
        "time each workload in so many fresh processes, as speed may depend on where memory lies "
        "(default: quick 1, full 3)",
        type=_count,
    )
    one("--gib", "G", "the size of the file of logits that is evaluated", type=float)
    one("--output", "FOLDER", "where the report goes (default: a new folder)", type=Path)


def _shape(text: str) -> tuple[int, ...]:
    """
    >>> _shape("65536x1000")
    (65536, 1000)
    """
    try:
        return tuple(map(_count, text.split("x")))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape such as 65536x1000: {error}"
        ) from None


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def _evaluation(run: Command, options: argparse.Namespace) -> int:
    with signals.raised(), terminal.saying_warnings():
        return _said(lambda: run(options))


def _study(run: Command, options: argparse.Namespace) -> int:
    missing = [package for package in _BENCH_PACKAGES if find_spec(package) is None]
    if missing:
        names = ", ".join(missing)
        return _fail(f'the comparison needs {names}: pip install "fastloss[bench]"', 2)
    return _said(lambda: run(options))


def _bench(options: argparse.Namespace) -> int:
    from .study import command
    from .study.suites import Selection

    def chosen(name: str) -> Sequence[Any]:
        return getattr(options, name) or ()

    selection = Selection(*map(chosen, ("section", "loss", "shape", "dtype")))
    request = command.Request(
        options.suite,
        selection,
        chosen("contender"),
        chosen("contender_file"),
        options.threads,
        options.seconds,
        options.processes,
        options.gib,
        options.output,
    )
    return command.measure(request)


def _bench_report(options: argparse.Namespace) -> int:
    from .study import command

    return command.render(options.file, options.output)


def _bench_compare(options: argparse.Namespace) -> int:
    from .study import command

    return command.compare(options.before, options.after)


def _said(run: Callable[[], int]) -> int:
    """Its exit status; what cannot be done as asked is said in a line."""
    try:
        return run()
    except BrokenPipeError:
        raise
    except ValueError as error:
        return _fail(str(error), 2)
    except OSError as error:
        named = error.filename is not None  # as the system tells it, with a number
        return _fail(f"{error.filename}: {error.strerror}" if named else str(error), 2)


def _demo(options: argparse.Namespace) -> int:
    missing = [package for package in _DEMO_PACKAGES if find_spec(package) is None]
    if missing:
        names = ", ".join(missing)
        return _fail(f'the demo needs {names}: pip install "fastloss[demo]"', 2)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _fail(f"the picture cannot go to {options.out}: {error.strerror}", 2)
    from . import demo

    demo.run(options.out, options.quick)
    return 0


def _info(options: argparse.Namespace) -> int:
    rows = {
        "fastloss": __version__,
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "Numba": f"{version('numba')} with llvmlite {version('llvmlite')}",
        "CPU": _cpu(),
        "threads": _num_threads(),
        "backend": _backend(),
        "cache": _cache_state(),
    }
    for name, value in rows.items():
        print(f"{name:<10}{value}")
    return 0


def _cpu() -> str:
    return f"{cpu_model()} (LLVM calls it {processor.name()})"


def _num_threads() -> str:
    try:
        n = threads.get_num_threads()
    except ValueError as error:
        return str(error)
    if os.environ.get("FASTLOSS_NUM_THREADS", "").strip():
        return f"{n}, as FASTLOSS_NUM_THREADS says"
    total = os.cpu_count() or 1
    if n == total:
        return f"{n}, as many as there are CPUs"
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    limit = "CPU quota" if n < affine else "CPU affinity"
    return f"{n}, for {total} CPUs and the {limit} of this process"


def _backend() -> str:
    try:
        return threads.get_backend()
    except (ValueError, RuntimeError) as error:
        return str(error)


def _cache_state() -> str:
    state = store.state()
    if state.problem is not None:
        return f"not used, code is compiled anew in every process: {state.problem}"
    return f"{state.path}: {state.files} files, {state.size / 1e6:.1f} MB"


def _losses(options: argparse.Namespace) -> int:
    if options.name is None:
        found = catalogue.entries()
    else:
        entry = catalogue.find(options.name)
        if entry is None:
            return _fail(f"no loss is called {options.name}{catalogue.similar(options.name)}", 2)
        found = [entry]
    if options.json:
        print(json.dumps([catalogue.as_json(entry) for entry in found], indent=2, default=str))
    elif options.name is not None:
        print(f"fastloss.{catalogue.signature(found[0])}\n\n{found[0].docstring}")
    else:
        print(catalogue.listing(found))
    return 0


def _warmup(options: argparse.Namespace) -> int:
    problem = store.state().problem
    if problem is not None:
        return _fail(f"nothing can be kept: {problem}", 1)
    jit = compiler()
    import numba
    import numpy as np

    from .losses import binary, multiclass, regression

    if numba.config.DISABLE_JIT:
        return _fail("nothing to warm up: NUMBA_DISABLE_JIT is set", 1)

    losses: dict[str, Loss] = {
        "mse": regression.mse,
        "mae": regression.mae,
        "binary_cross_entropy": binary.binary_cross_entropy,
        "binary_cross_entropy_with_logits": binary.binary_cross_entropy_with_logits,
        "cross_entropy": multiclass.cross_entropy,
    }
    began = time.perf_counter()
    for name, loss in losses.items():
        for dtype in ("float32", "float64"):
            y_pred = np.zeros((2, 2), dtype)
            y_true = np.zeros(2, np.int64) if name == "cross_entropy" else y_pred
            verbs: dict[str, Verb] = {"": loss, ".value_and_grad": loss.value_and_grad}
            for verb, call in verbs.items():
                before, start = jit.counts.copy(), time.perf_counter()
                call(y_true, y_pred)
                seconds = time.perf_counter() - start
                done = jit.counts - before
                how = "compiled" if done["compiled"] else "loaded" if done else "ready"
                print(f"{name + verb:<48}{dtype:<9}{how:<9}{seconds:6.2f} s", flush=True)
    print(f"{time.perf_counter() - began:.1f} s in all; kept in {_cache_state()}")
    return 0


def _cache_info(options: argparse.Namespace) -> int:
    print(_cache_state())
    return 0


def _cache_clear(options: argparse.Namespace) -> int:
    n = store.clear()
    print(f"deleted {n} files from {store.folder()}")
    left = store.state().files
    return _fail(f"{left} files could not be deleted", 1) if left else 0


def _fail(message: str, status: int) -> int:
    terminal.say(f"fastloss: {message}")
    return status
