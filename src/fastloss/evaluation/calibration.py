"""Temperature scaling: the one number that makes confidence honest."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..call.verbs import SCORES_AND_SPREAD
from .given import Given
from .rows import warn_of_probabilities
from .scorecard import Scorecard
from .scores import Scores
from .tensors import as_array

# Steps of less than this, relative, end the search; Newton's method then has all digits but a few.
SETTLED = 1e-7
# Between the smallest and the largest normal number.
COLDEST, HOTTEST = 2.0**-1022, 2.0**1023
# Of logits that tell so little that their loss is that of none, but for rounding.
FAINT = 1e-6


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
    class_mask: Any = None,
    **options: Any,
) -> Calibration:
    """Find the temperature that minimises the mean cross-entropy of labels and logits.

    Logits are divided by the temperature, as by `CrossEntropy(temperature=...)`. The loss is convex
    in b = 1 / temperature; with p the softmax of b x, its derivatives for a class id y are

        dloss / db     = (sum of p_j x_j) - x_y
        d2loss / db2   = (sum of p_j x_j^2) - (sum of p_j x_j)^2

    and Newton's method takes a handful of passes over the logits. `labels`, `logits`,
    `sample_weight` and `class_mask` are as for `evaluate`, and options those of `Scorecard`; a
    `temperature` among them is where the search begins, and that of `before`.

    A minimum is found wherever there is one between the smallest and the largest normal number.
    Raises ValueError where there is none: if each label has the largest logit of its row, every
    lower temperature is better; if logits say less than nothing, every higher one; and if no row
    counts, or all logits are equal, all are the same.

    >>> import fastloss as fl
    >>> logits = [[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [4.0, 0.0]]
    >>> calibration = fl.calibrate([0, 1, 0, 1], logits)
    >>> round(calibration.temperature, 6)
    3.640957
    >>> round(calibration.before.loss, 6), round(calibration.after.loss, 6)
    (1.01815, 0.562335)

    Source: C. Guo et al., On Calibration of Modern Neural Networks (2017).
    """
    logits = as_array(logits, "logits")
    if class_mask is not None and np.ndim(class_mask) == 1 != logits.ndim:
        options["class_mask"], class_mask = class_mask, None
    warn_of_probabilities(logits)

    def score(temperature: float) -> SlopedScorecard:
        card = SlopedScorecard(**{**options, "temperature": temperature})
        card._update(labels, logits, Given(sample_weight, class_mask))
        return card

    return find_temperature(score, options.get("temperature", 1.0))


class SlopedScorecard(Scorecard):
    """A scorecard that finds out how the loss depends on the temperature, too."""

    _verb = SCORES_AND_SPREAD

    @property
    def derivatives(self) -> tuple[float, float]:
        """The first derivative of the mean loss by b = 1 / temperature, times b, and the second,
        times b^2.
        """
        sums = self._added_up().parts["slopes"].sums
        if not len(sums):
            raise ValueError(
                "no row counts, as there are none, or all are ignored or of weight 0: there is "
                "nothing to be calibrated"
            )
        slope, spread, weight = sums[0, :3].tolist()
        return slope / weight, spread / weight


def find_temperature(
    score: Callable[[float], SlopedScorecard], temperature: float = 1.0
) -> Calibration:
    """As `calibrate`, for `score(temperature)` that passes over all rows: over files, for one.

    The loss is convex, so that the sign of its slope says on which side the minimum is. Newton's
    method is used where it gets nearer, as it does not far from the minimum, where all
    probabilities are 0 and 1 or all alike. There steps grow until both sides are known, and then
    what is between them is halved.
    """
    passes: dict[float, SlopedScorecard] = {}

    def pass_at(temperature: float) -> SlopedScorecard:
        if temperature not in passes:
            passes[temperature] = score(temperature)
        return passes[temperature]

    before = pass_at(temperature)
    low, high = 0.0, math.inf  # temperatures that are known to be too low and too high
    stride, moved, is_flat = 10.0, math.inf, True
    while True:
        slope, spread = pass_at(temperature).derivatives
        if math.isnan(slope) or (slope == math.inf == pass_at(HOTTEST).derivatives[0]):
            raise ValueError(
                f"the loss is {pass_at(temperature).result().loss} at temperature "
                f"{temperature:g}, so it has no minimum to be found: leave rows with NaN or an "
                "infinite loss out by the weight 0"
            )
        is_cold = slope > 0
        if slope == spread == 0:
            # All probabilities are alike, for a temperature so high, or they are 0 and 1.
            loss, most = (pass_at(t).result().loss for t in (temperature, HOTTEST))
            if loss < most:
                raise ValueError(_NO_MINIMUM + _ALL_RIGHT)
        elif slope == 0:
            break
        else:
            is_flat = False
        if is_cold:
            low = temperature
        else:
            high = temperature
        # Newton's step, as far as it makes sense.
        factor = 1 - slope / spread if spread > 0 else 0.0
        following = temperature / factor if factor > 0 else math.inf if is_cold else 0.0
        if low > 0 and high < math.inf:
            if not low < following < high or abs(math.log(following / temperature)) > moved / 2:
                following = math.sqrt(low) * math.sqrt(high)
        else:
            nearest = min(temperature * stride, HOTTEST), max(temperature / stride, COLDEST)
            # Where there is no minimum, Newton's method would take a thousand steps, each smaller.
            is_near = len(passes) > 12 and nearest[1] < following < nearest[0]
            is_timid = is_near and abs(math.log(following / temperature)) > 0.9 * moved
            if is_cold and (is_timid or not following < nearest[0]):
                following, stride = nearest[0], min(stride, 1e150) ** 2
            elif not is_cold and (is_timid or not following > nearest[1]):
                following, stride = nearest[1], min(stride, 1e150) ** 2
            if following == temperature:
                if is_flat:
                    raise ValueError(
                        f"{_NO_MINIMUM}the temperature makes no difference to it, as all "
                        "probabilities of a row are equal"
                    )
                raise ValueError(_NO_MINIMUM + (_LESS_THAN_NOTHING if is_cold else _ALL_RIGHT))
        moved = abs(math.log(following / temperature))
        if moved <= SETTLED:
            break
        temperature = following
    after = pass_at(temperature).result()
    if spread < FAINT and not after.loss < pass_at(HOTTEST).result().loss:
        raise ValueError(_NO_MINIMUM + _LESS_THAN_NOTHING)
    return Calibration(temperature, before.result(), after, len(passes))


_NO_MINIMUM = "the loss has no minimum: "
_ALL_RIGHT = "it falls as the temperature goes to 0, as each label has the largest logit of its row"
_LESS_THAN_NOTHING = (
    "it falls as the temperature goes to infinity, as the logits tell less than nothing of the "
    "labels"
)
