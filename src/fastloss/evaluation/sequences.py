"""What is known of sequences of rows, such as texts: their probability, and choices among them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..call.arrays import Array
from ..kernels.tally import Terms
from .frames import frame
from .given import sizes_of
from .result import Result
from .sums.row_sums import RowSums
from .sums.tokens import Chunk
from .tensors import as_array


@dataclass(frozen=True, eq=False)
class Sequences(Result):
    """What is known of each sequence of rows, `ids` in ascending order.

    `log_probability` is the sum of the weighed log-probabilities of its labels, `is_greedy` whether
    each label is the prediction, `bits_per_byte` -log2 of the probability, divided by `n_bytes`.
    `top_k` and `min_k` give more of each, and `choices` compares them.
    """

    ids: Array
    n: Array
    log_probability: Array
    is_greedy: Array
    n_bytes: Array | None = None
    bits_per_byte: Array | None = None
    _tokens: Chunk | None = None

    def top_k(self, k: int) -> Array:
        """For each sequence the share of its rows whose label is among the k largest logits.

        Of rows that count, whatever they weigh; it needs `tokens=True`, and so does `min_k`.
        """
        if isinstance(k, (bool, np.bool_)) or not hasattr(k, "__index__") or k < 1:
            raise ValueError(f"k is {k!r}, but must be an integer of at least 1")
        ids, _, ranks = self._kept()
        places = np.searchsorted(self.ids, ids)
        within = np.bincount(places[(ranks >= 0) & (ranks < k)], minlength=len(self.ids))
        with np.errstate(invalid="ignore"):
            shares: Array = within / np.bincount(places, minlength=len(self.ids))
        return shares

    def min_k(self, share: float = 0.2) -> Array:
        """For each sequence the mean of the lowest log-probabilities, a share of all of its rows.

        Of n rows that count these are the integer part of n times the share, but one at least. It
        is high for texts that a model was trained on. NaN without rows.

        Source: W. Shi et al., Detecting pretraining data from large language models (2024).
        """
        if isinstance(share, bool) or not isinstance(share, (int, float, np.floating)):
            raise TypeError(f"share must be a number from 0 to 1, got {type(share).__name__}")
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share is {share}, but must be from 0 to 1")
        ids, losses, _ = self._kept()
        places = np.searchsorted(self.ids, ids)
        sizes = np.bincount(places, minlength=len(self.ids))
        wanted = np.maximum((sizes * share).astype(np.int64), 1)
        # The largest losses of each sequence come first.
        nth = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        lowest = nth < wanted[places]
        sums = np.bincount(places[lowest], losses[lowest], minlength=len(self.ids))
        means: Array = 0.0 - np.where(sizes > 0, sums / wanted, np.nan)
        return means

    def _kept(self) -> Chunk:
        if self._tokens is None:
            raise ValueError("rows of sequences were not kept: evaluate with tokens=True")
        return self._tokens

    def choices(self, offsets: Any, answers: Any) -> "Choices":
        """How often the likeliest of the choices of a question, which are sequences, is right.

        `offsets` says where the choices of each question begin, among the sequences in the order
        of their ids, and where those of the last end: n + 1 numbers. `answers` has the place of
        the right one among the choices of each question, from 0.

        >>> import fastloss as fl
        >>> logits = [[2.0, 0], [1, 0], [0, 3], [0, 0.5]]    # four choices of a token each
        >>> found = fl.evaluate([0, 0, 1, 0], logits, offsets=[0, 1, 2, 3, 4], n_bytes=[1, 9, 5, 5])
        >>> choices = found.sequences.choices([0, 2, 4], [0, 1])
        >>> choices.acc, choices.acc_norm, choices.predictions, choices.predictions_norm
        (0.5, 0.0, array([0, 0]), array([1, 0]))
        """
        sizes = sizes_of(as_array(offsets, "offsets"), len(self.ids), "sequences")
        right = as_array(answers, "answers")
        if right.shape != sizes.shape or right.dtype.kind not in "iu":
            raise ValueError(
                f"answers has shape {right.shape} and dtype {right.dtype}, but holds one integer "
                f"for each of {len(sizes)} questions"
            )
        bad = np.flatnonzero((right < 0) | (right >= sizes))
        if bad.size:
            i = int(bad[0])
            raise ValueError(
                f"answers[{i}] is {right[i]}, but question {i} has {sizes[i]} choices, from 0"
            )
        best = _likeliest(self.log_probability, sizes)
        normed = None
        if self.n_bytes is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                normed = _likeliest(self.log_probability / self.n_bytes, sizes)
        acc, error = _share(best == right)
        acc_norm, error_norm = (None, None) if normed is None else _share(normed == right)
        return Choices(len(sizes), acc, error, acc_norm, error_norm, best, normed)

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

    def to_pandas(self) -> Any:
        """A data frame with a row for each sequence."""
        known = {k: v for k, v in self._numbers().items() if v is not None}
        return frame(known, known.pop("ids"), ("sequence",))


@dataclass(frozen=True, eq=False)
class Choices(Result):
    """Of `n` questions, the share whose likeliest choice is the right one.

    `acc` is that by the log-probability of choices, `acc_norm` that by the log-probability divided
    by `n_bytes`, None where these are not known, each with the standard error of a share of
    independent questions. `predictions` and `predictions_norm` are the places of the choices, of
    which the first counts where several are equal, and -1 where none has a log-probability.
    """

    n: int
    acc: float
    acc_standard_error: float
    acc_norm: float | None
    acc_norm_standard_error: float | None
    predictions: Array
    predictions_norm: Array | None


def _likeliest(scores: Array, sizes: Array) -> Array:
    """The place of the largest of each group, the first of equal ones; -1 if all are NaN."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    known = ~np.isnan(scores)
    # By group, and then from the largest down, equal ones in their order.
    order = np.lexsort((-np.where(known, scores, -np.inf), ~known, groups))
    starts = np.cumsum(sizes) - sizes
    first = order[starts]
    best: Array = np.where(known[first], first - starts, -1)
    return best


def _share(right: Array) -> tuple[float, float]:
    """The share of what is right, and its standard error."""
    n = len(right)
    if not n:
        return math.nan, math.nan
    share = float(right.mean())
    return share, math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else math.nan


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
    n = terms.n.astype(np.int64)
    tokens = sums.parts["tokens"].sorted() if "tokens" in sums.parts else None
    return Sequences(table.ids, n, 0.0 - losses, is_greedy, n_bytes, bits, tokens)
