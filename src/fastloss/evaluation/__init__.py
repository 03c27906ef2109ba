"""Large-batch evaluation: everything about labels and predictions, in one pass over them."""

import sys

from .binary.binary_scorecard import BinaryScorecard
from .binary.binary_scores import BinaryScores
from .calibration import Calibration, calibrate
from .comparison import Comparison, compare
from .differences import Differences
from .multilabel.multilabel_scorecard import MultilabelScorecard
from .multilabel.multilabel_scores import MultilabelScores
from .ranking.ranking_scorecard import RankingScorecard
from .ranking.ranking_scores import RankingScores
from .regression.regression_scorecard import RegressionScorecard
from .regression.regression_scores import RegressionScores
from .scorecard import Scorecard
from .scores import Scores
from .sums import table
from .tasks import evaluate

__all__ = [
    "BinaryScorecard",
    "BinaryScores",
    "Calibration",
    "Comparison",
    "Differences",
    "MultilabelScorecard",
    "MultilabelScores",
    "RankingScorecard",
    "RankingScores",
    "RegressionScorecard",
    "RegressionScores",
    "Scorecard",
    "Scores",
    "calibrate",
    "compare",
    "evaluate",
]

# Tables that were pickled when this file had another name are found by that.
sys.modules["fastloss.evaluation.tally"] = table
