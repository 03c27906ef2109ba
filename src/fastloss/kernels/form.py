"""What a kernel is made for: the dtypes it meets, what it writes, and the numbers of a row."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np

from .storage import bits_type, decoder, encoder

Function = Callable[..., Any]

# How rows of few classes are computed whose arrays lie class by class: see `Form.class_major`.
CLASS_MAJOR = "class-major"


# What users can have of each row, by its name; what is no such number is for sums alone.
Real: TypeAlias = Annotated[Any, float]
Integer: TypeAlias = Annotated[Any, int]


class RowScores(NamedTuple):
    """What is found out about a row of logits and its class id; see `softmax/row_scores.py`."""

    loss: Real
    log_sum_exp: Real
    confidence: Real
    entropy: Real
    brier: Real
    rank: Integer
    prediction: Integer
    slope: Any
    spread: Any  # 0 but for "scores_and_spread"
    weight: Any


class PairScores(NamedTuple):
    """What is found out about two rows of logits and their class id; see `softmax/pairs.py`."""

    weight: Any
    kl: Any
    reverse_kl: Any
    jensen_shannon: Any
    total_variation: Any
    agreement: Any
    # 0 where there are no class ids.
    loss_a: Any
    loss_b: Any
    loss_difference: Any
    probability_change: Any


class Form(NamedTuple):
    """Constants of a compiled kernel; whatever is not here or in the loss is an argument."""

    true: str  # dtype names, as of `call.arrays.Format`
    pred: str
    weight: str  # "" without weights
    arithmetic: str  # "float32" or "float64"
    class_ids: bool  # y_true holds one class id for each sample, not labels of y_pred's shape
    per_sample: bool  # write something for each sample: its loss, or what `output` says
    with_grad: bool
    with_hess: bool
    rows: str = ""  # how rows are computed, where a loss has several ways, as those of a softmax
    # dtype names of the other inputs, "" where there is none; see `args.Extras`.
    probabilities: str = ""
    mask: str = ""
    vector: str = ""
    # What is written for each class or element, if not the gradient, or for each sample, if not its
    # loss: the `output` of a verb of `call/verbs.py`.
    output: str = ""
    labelled: bool = True  # whether there are labels; else what stands for them is y_pred
    n_scores: int = 0  # how many numbers are written for a sample, if it is not one
    derivatives: str = ""  # dtype name of what is written for each element, if not that of y_pred

    @property
    def scored(self) -> bool:
        """Whether all scores of a sample are written, not one number."""
        return self.n_scores > 0

    @property
    def with_spread(self) -> bool:
        """Whether scores have second derivatives."""
        return self.output == "scores_and_spread"

    @property
    def n_results(self) -> int:
        """How many numbers are written for a sample, if any are."""
        return self.n_scores or 1

    @property
    def class_major(self) -> bool:
        """Whether y_pred and its derivatives lie class by class, as columns in Fortran's order."""
        return self.rows == CLASS_MAJOR

    @property
    def weighted(self) -> bool:
        return bool(self.weight)

    @property
    def number(self) -> Any:
        """The type of arithmetic, np.float32 or np.float64."""
        return np.dtype(self.arithmetic).type

    @property
    def stored(self) -> Any:
        """The type of y_pred as a kernel sees it."""
        return bits_type(self.pred).type

    @property
    def written(self) -> str:
        """The dtype name of derivatives."""
        return self.derivatives or self.pred

    @property
    def stored_derivatives(self) -> Any:
        """The type of derivatives as a kernel sees them."""
        return bits_type(self.written).type

    @property
    def stored_true(self) -> Any:
        """The type of y_true as a kernel sees it."""
        return bits_type(self.true).type

    @property
    def decode_true(self) -> Function:
        return decoder(self.true, "int64" if self.class_ids else self.arithmetic)

    @property
    def decode_pred(self) -> Function:
        return decoder(self.pred, self.arithmetic)

    @property
    def decode_probability(self) -> Function:
        return decoder(self.probabilities or "float64", self.arithmetic)

    @property
    def decode_mask(self) -> Function:
        return decoder(self.mask or "bool", self.arithmetic)

    @property
    def decode_vector(self) -> Function:
        return decoder(self.vector or "float64", self.arithmetic)

    @property
    def encode(self) -> Function:
        return encoder(self.written)
