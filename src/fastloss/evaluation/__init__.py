"""Large-batch evaluation: everything about labels and logits, in one pass over them."""

from .calibration import Calibration, calibrate
from .comparison import Comparison, compare
from .differences import Differences
from .scorecard import Scorecard, evaluate
from .scores import Scores

__all__ = [
    "Calibration",
    "Comparison",
    "Differences",
    "Scorecard",
    "Scores",
    "calibrate",
    "compare",
    "evaluate",
]
