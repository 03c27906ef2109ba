"""What is known of sequences of rows, such as texts: their probability, and choices among them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..call.arrays import Array
from ..kernels.tally import Terms
from .result import Result
from .sums.row_sums import RowSums


@dataclass(frozen=True, eq=False)
class Sequences(Result):
    """What is known of each sequence of rows, `ids` in ascending order.

    `log_probability` is the sum of the weighed log-probabilities of its labels, `is_greedy` whether
    each label is the prediction, `bits_per_byte` -log2 of the probability, divided by `n_bytes`.
    """

    ids: Array
    n: Array
    log_probability: Array
    is_greedy: Array
    n_bytes: Array | None = None
    bits_per_byte: Array | None = None

    def among(self, n: int, n_bytes: Array | None) -> "Sequences":
        """With all of the first n, of which some have no rows; their probability is 1."""
        sizes, log_probability = np.zeros(n, np.int64), np.zeros(n)
        is_greedy = np.ones(n, bool)
        for whole, part in (
            (sizes, self.n),
            (log_probability, self.log_probability),
            (is_greedy, self.is_greedy),
        ):
            whole[self.ids] = part
        bits = None
        if n_bytes is not None:
            n_bytes = n_bytes[:n]
            bits = (0.0 - log_probability) / (math.log(2) * n_bytes)
        return Sequences(np.arange(n), sizes, log_probability, is_greedy, n_bytes, bits)

    def to_dict(self) -> dict[str, Any]:
        return {k: None if v is None else v.tolist() for k, v in vars(self).items()}


NO_SEQUENCES = Sequences(np.empty(0, np.int64), *np.empty((3, 0)))


def sequences_of(sums: RowSums, exponent: int) -> Sequences | None:
    table = sums.parts["sequences"]
    if not table.n_keys:
        return None
    terms = Terms(*table.sums.T)
    with np.errstate(all="ignore"):
        losses = np.ldexp(np.where(terms.n > 0, terms.loss / terms.scale, 0.0), exponent)
        n_bytes = bits = None
        if sums.n_bytes.size:
            n_bytes = np.full(table.n_keys, math.nan)
            n_bytes[np.searchsorted(table.ids, sums.bytes_ids)] = sums.n_bytes
            bits = losses / (math.log(2) * n_bytes)
    is_greedy = terms.n_correct == terms.n
    return Sequences(table.ids, terms.n.astype(np.int64), 0.0 - losses, is_greedy, n_bytes, bits)
