"""Large-batch evaluation: everything about labels and logits, in one pass over them."""

from .calibration import Calibration, calibrate
from .scorecard import Scorecard, evaluate
from .scores import Scores

__all__ = ["Calibration", "Scorecard", "Scores", "calibrate", "evaluate"]
