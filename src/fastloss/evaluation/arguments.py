"""The arguments of `fastloss evaluate`, `compare` and `calibrate`.

What is a FileName is read, and a Path is written; other arguments are options. So all files are
known before the work, and `run_identity` has each new argument without being told.
"""

import argparse
from pathlib import Path

from ..kernels.storage import DECODED, STORED
from .files.formats import FileName
from .row_results import NUMBERS
from .tasks import TASKS


def _add_labels_and_logits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels",
        type=FileName,
        metavar="LABELS",
        help="class ids, or what else the task has: a file, or a pattern in quotes",
    )
    parser.add_argument(
        "predictions",
        type=FileName,
        nargs="+",
        metavar="PREDICTIONS",
        help="rows of classes, the last axis: .npy, .npz, .safetensors, or with pyarrow .parquet, "
        ".arrow or .feather; FILE:NAME is one of several arrays, or a column; several files, or a "
        "pattern in quotes, are joined along rows",
    )
    _add_bits(parser)


def _add_file(parser: argparse.ArgumentParser, option: str, text: str) -> None:
    parser.add_argument(option, type=FileName, metavar="FILE", help=text)


def _add_sample_weight(parser: argparse.ArgumentParser) -> None:
    _add_file(parser, "--sample-weight", "one weight for each row")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_bits(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_mutually_exclusive_group()
    for name in DECODED:
        kinds.add_argument(
            f"--{name}",
            dest="bits",
            action="store_const",
            const=name,
            help=f"logits saved as {STORED[name].bits} are the bit patterns of {name}",
        )


def _add_softmax(parser: argparse.ArgumentParser) -> None:
    """Options of the loss."""
    parser.add_argument("--softcap", type=float, metavar="C", help="logits are C tanh(logit / C)")
    parser.add_argument(
        "--ignore-index", type=int, metavar="I", help="rows with this label are out"
    )
    _add_file(parser, "--class-mask", "one boolean for each class: is it in?")


def _add_temperature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="divides logits"
    )


def evaluate(parser: argparse.ArgumentParser) -> None:
    _add_labels_and_logits(parser)
    _add_task(parser)
    _add_temperature(parser)
    _add_softmax(parser)
    _add_file(parser, "--class-weight", "one weight for each class")
    _add_sample_weight(parser)
    _add_file(parser, "--groups", "one integer, or a text of a table, for each row: its group")
    _add_file(parser, "--clusters", "one of these for each row: those that belong together")
    parser.add_argument(
        "--bootstrap",
        type=int,
        metavar="N",
        help="errors of means by so many replicates: of clusters, sequences or queries if there "
        "are any, else of rows by their numbers",
    )
    _add_file(parser, "--offsets", "where sequences of rows begin, and where the last ends")
    _add_file(parser, "--queries", "of rankings: one integer for each row, its query")
    _add_file(
        parser,
        "--query-weight",
        "of rankings: one weight for each query, or with --queries for each row; so are --groups "
        "and --clusters",
    )
    _add_file(parser, "--mask", "where there is a label: one boolean for each")
    _add_file(parser, "--n-bytes", "with --offsets: bytes of each text")
    parser.add_argument("--bins", type=int, metavar="N", help="of confidence or probability (15)")
    parser.add_argument(
        "--no-classes", dest="by_class", action="store_false", help="no table of classes"
    )
    parser.add_argument(
        "--top-k",
        type=_integers,
        default=(1, 5),
        metavar="K,K",
        help="accuracies of the top k that are shown (1,5)",
    )
    _add_json(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report with pictures")
    parser.add_argument("--rows", type=Path, metavar="FILE.npz", help="write results of every row")
    parser.add_argument(
        "--row-results",
        type=lambda text: text.split(","),
        default=["loss", "log_sum_exp", "prediction", "rank"],
        metavar="NAME,NAME",
        help=f"which, of {', '.join(NUMBERS)}",
    )
    parser.add_argument(
        "--row-top", type=int, metavar="K", help="and the K likeliest classes of every row"
    )
    _add_state(parser)


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task",
        default="multiclass",
        help="what labels and predictions are (multiclass): "
        + "; ".join(
            f"{name}: {task.labels}, and {task.predictions}" for name, task in TASKS.items()
        ),
    )
    parser.add_argument(
        "--from-probabilities",
        action="store_true",
        help="binary and multilabel: predictions are probabilities, not logits",
    )
    parser.add_argument(
        "--option",
        action="append",
        metavar="NAME=VALUE",
        help="any option of the task's scorecard: thresholds=0,1.5 or deviance=poisson, say; more "
        "than once for several",
    )


def compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "a", type=FileName, metavar="A", help="rows of logits: a file, or a pattern in quotes"
    )
    parser.add_argument("b", type=FileName, metavar="B", help="as many, of the same classes")
    _add_file(parser, "--labels", "class ids")
    _add_sample_weight(parser)
    _add_bits(parser)
    _add_temperature(parser)
    _add_softmax(parser)
    _add_json(parser)
    _add_state(parser)


def calibrate(parser: argparse.ArgumentParser) -> None:
    _add_labels_and_logits(parser)
    _add_temperature(parser)
    _add_softmax(parser)
    _add_sample_weight(parser)
    _add_json(parser)


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="where to keep what --resume needs (default: beside the first file that is written)",
    )
    parser.add_argument("--resume", action="store_true", help="go on where a run before ended")


def _integers(text: str) -> tuple[int, ...]:
    """
    >>> _integers("1,5")
    (1, 5)
    """
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,5,10")
    return tuple(map(int, parts))
