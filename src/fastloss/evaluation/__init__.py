"""Large-batch evaluation: everything about labels and logits, in one pass over them."""

import sys

from .calibration import Calibration, calibrate
from .comparison import Comparison, compare
from .differences import Differences
from .scorecard import Scorecard, evaluate
from .scores import Scores
from .sums import table

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

# Tables that were pickled when this file had another name are found by that.
sys.modules["fastloss.evaluation.tally"] = table
