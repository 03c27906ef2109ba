"""Temperature scaling: the one number that makes confidence honest."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._arrays import Array
from ..kernels.tally import Terms
from .scorecard import Scorecard
from .scores import Scores

# Steps of less than this, relative, end the search; Newton's method then has all digits but a few.
STEP = 1e-7
# Where the search is given up.
COLDEST, HOTTEST = 1e-8, 1e8


@dataclass(frozen=True)
class Calibration:
    """The temperature that minimises the loss, and all scores before and after.

    >>> import fastloss as fl
    >>> calibration = fl.calibrate([0, 1, 1], [[4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    >>> calibration.before.calibration_error > calibration.after.calibration_error
    True
    """

    temperature: float
    before: Scores
    after: Scores
    n_passes: int

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dictionaries, as JSON has them."""
        return {
            "temperature": self.temperature,
            "n_passes": self.n_passes,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


def calibrate(
    labels: Any,
    logits: Any,
    /,
    *,
    sample_weight: Any = None,
    class_mask: Array | None = None,
    **options: Any,
) -> Calibration:
    """Find the temperature that minimises the mean cross-entropy of labels and logits.

    Logits are divided by the temperature, as by `CrossEntropy(temperature=...)`. The loss is convex
    in b = 1 / temperature; with p the softmax of b x, its derivatives for a class id y are

        dloss / db     = (sum of p_j x_j) - x_y
        d2loss / db2   = (sum of p_j x_j^2) - (sum of p_j x_j)^2

    and Newton's method takes a handful of passes over the logits. `labels`, `logits`,
    `sample_weight` and `class_mask` are as for `Scorecard.update`, and options those of
    `Scorecard`; a `temperature` among them is where the search begins, and that of `before`.

    Raises ValueError where the loss has no minimum: if each label has the largest logit of its
    row, every lower temperature is better; and if logits say less than nothing, every higher one.

    >>> import fastloss as fl
    >>> logits = [[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [4.0, 0.0]]
    >>> calibration = fl.calibrate([0, 1, 0, 1], logits)
    >>> round(calibration.temperature, 6)
    3.640957
    >>> round(calibration.before.loss, 6), round(calibration.after.loss, 6)
    (1.01815, 0.562335)

    Source: C. Guo et al., On Calibration of Modern Neural Networks (2017).
    """

    def score(temperature: float) -> SlopedScorecard:
        card = SlopedScorecard(**{**options, "temperature": temperature})
        card.update(labels, logits, sample_weight=sample_weight, class_mask=class_mask)
        return card

    return find_temperature(score, options.get("temperature", 1.0))


class SlopedScorecard(Scorecard):
    """A scorecard that finds out how the loss depends on the temperature, too."""

    _verb = "scores_and_spread"

    @property
    def derivatives(self) -> tuple[float, float]:
        """Those of the weighed sum of the losses by b = 1 / temperature, times b; and the second,
        times b^2.
        """
        terms = Terms(*self._bins.total[: len(Terms._fields)])
        return float(terms.slope), float(terms.spread)


def find_temperature(
    score: Callable[[float], SlopedScorecard], temperature: float = 1.0
) -> Calibration:
    """As `calibrate`, for `score(temperature)` that passes over all rows: over files, for one."""
    before = score(temperature)
    card = before
    low, high = COLDEST, HOTTEST
    n_passes = 1
    while True:
        slope, spread = card.derivatives
        if not math.isfinite(slope):
            raise ValueError(
                f"the loss is {card.result().loss} at temperature {temperature:g}, so it has no "
                "minimum to be found: leave rows with NaN or an infinite loss out by the weight 0"
            )
        # If the loss falls as b grows, the temperature that is sought is lower.
        if slope < 0:
            high = temperature
        else:
            low = temperature
        if spread <= 0 and before.result().loss == card.result().loss:
            raise ValueError(
                "the loss has no minimum: the temperature makes no difference to it, as "
                "probabilities are all equal, or all 0 and 1"
            )
        factor = 1 - slope / spread if spread > 0 else 0.1
        following = temperature / min(max(factor, 0.1), 10.0)
        if not COLDEST < following < HOTTEST or spread <= 0:
            raise ValueError(
                "the loss has no minimum: it falls as the temperature goes to "
                + (
                    "0, as each label has the largest logit of its row"
                    if following < 1
                    else "infinity, as the logits tell less than nothing of the labels"
                )
            )
        if abs(following / temperature - 1) <= STEP:
            break
        if not low < following < high:
            following = math.sqrt(low * high)
        temperature = following
        card = score(temperature)
        n_passes += 1
    return Calibration(temperature, before.result(), card.result(), n_passes)
