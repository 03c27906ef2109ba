"""The verbs: what can be asked of a loss, in one table.

A verb is one row here, a method of a loss that calls `run.evaluate` with it, and, where something
new is written, the kernels that know its `output`.
"""

from dataclasses import dataclass
from typing import Any

from ..kernels.form import PairScores, RowScores


@dataclass(frozen=True, eq=False)
class Verb:
    """What a call reads and writes. There is one of each, so that they are told apart by identity.

    Every verb reads predictions, and those that read labels take weights, too.
    """

    name: str
    reads_labels: bool = True  # if not, y_pred stands for them
    reads_vector: bool = False  # one more array of the shape of the predictions
    # The loss: one number, or one for each sample where the loss has no reduction.
    writes_loss: bool = False
    writes_samples: bool = False  # always a number, or the `scores`, for each sample
    writes_elements: bool = False  # a number for each number of y_pred: gradients, probabilities
    writes_hessian: bool = False  # and a second one
    scores: Any = None  # the named tuple of all that is written for a sample, if it is several
    # What kernels call all that is not the loss and its derivatives.
    output: str = ""

    def __reduce__(self) -> str:
        return self.name.upper()


VALUE = Verb("value", writes_loss=True)
VALUE_AND_GRAD = Verb("value_and_grad", writes_loss=True, writes_elements=True)
GRAD = Verb("grad", writes_elements=True)
GRAD_HESS = Verb("grad_hess", writes_elements=True, writes_hessian=True)
HVP = Verb("hvp", reads_vector=True, writes_elements=True, output="hvp")
PROBA = Verb("proba", reads_labels=False, writes_elements=True, output="proba")
LOG_PROBA = Verb("log_proba", reads_labels=False, writes_elements=True, output="log_proba")
LOGSUMEXP = Verb("logsumexp", reads_labels=False, writes_samples=True, output="logsumexp")
# What boosters ask for, and no loss has as a method.
VALUE_GRAD_HESS = Verb(
    "value_grad_hess", writes_loss=True, writes_elements=True, writes_hessian=True
)
# Verbs of scorecards, which no loss has as a method.
SCORES = Verb("scores", writes_samples=True, scores=RowScores, output="scores")
SCORES_AND_SPREAD = Verb(
    "scores_and_spread", writes_samples=True, scores=RowScores, output="scores_and_spread"
)
PAIR_SCORES = Verb(
    "pair_scores", reads_vector=True, writes_samples=True, scores=PairScores, output="pair_scores"
)
UNLABELLED_PAIR_SCORES = Verb(
    "unlabelled_pair_scores",
    reads_labels=False,
    reads_vector=True,
    writes_samples=True,
    scores=PairScores,
    output="pair_scores",
)
