"""Risk and coverage: how errors grow as predictions of less confidence are taken."""

import math
from typing import NamedTuple

import numpy as np

from .ranks.rank_statistics import Statistic
from .sums.sorted_scores import Steps


class Risk(NamedTuple):
    """Areas under risk and generalized risk, over coverage."""

    aurc: float
    augrc: float


class RiskAreas(Statistic):
    """The areas under two curves over coverage, the share of rows that is predicted.

    Rows are predicted from the most confident down; right ones are positives of the table. Up to a
    weight x of all W there is E(x), the weight of wrong ones: along rows of equal confidence it
    grows evenly, which is the mean over all of their orders. Risk is E(x) / x, and generalized risk
    E(x) / W, so that

        AURC  = integral of E(x) / x dx / W,     AUGRC = integral of E(x) dx / W^2

    both exact. The sums over the first k of n rows, for k from 1 to n, which others take instead of
    integrals, differ from them by some 1 / n, and would depend on the scale of weights.

    Sources: Y. Geifman et al., Bias-reduced uncertainty estimation for deep neural classifiers
    (2019); J. Traub et al., Overcoming common flaws in the evaluation of selective classification
    systems (2024).
    """

    def __init__(self) -> None:
        self.risks: list[float] = []
        self.joint: list[float] = []

    def add(self, steps: Steps) -> None:
        wrong, before = steps.negative, steps.negative_above
        size, above = wrong + steps.positive, before + steps.positive_above
        self.joint.append(float((size * (before + wrong / 2)).sum()))
        # Of E(x) = E + e (x - s) / m the integral is e + (E - e s / m) log((s + m) / s). At s = 0
        # the second term is 0.
        share = wrong / size
        with np.errstate(divide="ignore"):
            growth = np.where(above > 0, np.log1p(size / above), 0.0)
        self.risks.append(float((wrong + (before - share * above) * growth).sum()))

    def result(self) -> Risk:
        whole = self.negative + self.positive
        if not whole > 0:
            return Risk(math.nan, math.nan)
        return Risk(math.fsum(self.risks) / whole, math.fsum(self.joint) / whole / whole)
