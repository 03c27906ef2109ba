"""Two sets of logits."""
from dataclasses import dataclass
from typing import Any, ClassVar
from collections.abc import Callable
import numpy as np
from .._evaluate import Batch, evaluate
from .._arrays import WIDE
from ..kernels import pairs
from ..kernels.form import Form
from ..softmax import SoftmaxLoss

@dataclass(frozen=True)
class _Pairs(SoftmaxLoss):
    names = ("labels", "logits_a")
    vector_name = "logits_b"
    cost = 8
    _scratch = pairs.SCRATCH

    def _widens(self, batch: Batch) -> bool:
        assert batch.extras is not None
        return self.softcap is not None or batch.extras.vector.name in WIDE

    def _rows(self, width: int) -> str:
        return ""

    def _kernel(self, form: Form) -> Callable[..., Any]:
        ignoring = form.labelled and self._limits(form).ignoring
        return pairs.pairs(form, self._known_variant, ignoring)

    def rows(self, labels, a, b, weight=None):
        verb = "pair_scores" if labels is not None else "unlabelled_pair_scores"
        return evaluate(self, verb, labels, a, weight, None, vector=b)[0]
