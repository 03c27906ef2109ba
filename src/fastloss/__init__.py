"""Losses and their gradients over NumPy arrays: fused, exact, multi-threaded."""

import typing as _typing

from .bases.elementwise import ElementwiseLoss
from .bases.loss import Loss
from .bases.rows import RowwiseLoss
from .call.class_ids import class_ids
from .call.threads import get_backend, get_num_threads, set_backend, set_num_threads
from .losses.binary import (
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    BinaryFocal,
    Exponential,
    Hinge,
    SquaredHinge,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    binary_focal,
    exponential,
    hinge,
    squared_hinge,
)
from .losses.distributions import JensenShannon, KLDivergence, jensen_shannon, kl_divergence
from .losses.multiclass import (
    CategoricalCrossEntropy,
    CrossEntropy,
    Focal,
    GeneralizedCrossEntropy,
    MultiMargin,
    PolyCrossEntropy,
    categorical_cross_entropy,
    cross_entropy,
    focal,
    generalized_cross_entropy,
    multi_margin,
    poly_cross_entropy,
)
from .losses.regression import (
    AbsoluteError,
    AbsolutePercentageError,
    CosineDistance,
    Fair,
    Gamma,
    GaussianNLL,
    Huber,
    LogCosh,
    Poisson,
    Quantile,
    SmoothL1,
    SquaredError,
    SquaredLogError,
    Tweedie,
    cosine_distance,
    fair,
    gamma,
    gaussian_nll,
    huber,
    log_cosh,
    mae,
    mape,
    mse,
    msle,
    poisson,
    quantile,
    smooth_l1,
    sse,
    sum_squared_error,
    tweedie,
)
from .losses.segmentation import Dice, Tversky, dice, tversky

if _typing.TYPE_CHECKING:
    from .evaluation import (
        BinaryScorecard,
        BinaryScores,
        Calibration,
        Comparison,
        Differences,
        MultilabelScorecard,
        MultilabelScores,
        RankingScorecard,
        RankingScores,
        RegressionScorecard,
        RegressionScores,
        Scorecard,
        Scores,
        calibrate,
        compare,
        evaluate,
    )

__version__ = "0.1.0"

__all__ = [
    "AbsoluteError",
    "AbsolutePercentageError",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "BinaryFocal",
    "BinaryScorecard",
    "BinaryScores",
    "Calibration",
    "CategoricalCrossEntropy",
    "Comparison",
    "CosineDistance",
    "CrossEntropy",
    "Dice",
    "Differences",
    "ElementwiseLoss",
    "Exponential",
    "Fair",
    "Focal",
    "Gamma",
    "GaussianNLL",
    "GeneralizedCrossEntropy",
    "Hinge",
    "Huber",
    "JensenShannon",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MultiMargin",
    "MultilabelScorecard",
    "MultilabelScores",
    "Poisson",
    "PolyCrossEntropy",
    "Quantile",
    "RankingScorecard",
    "RankingScores",
    "RegressionScorecard",
    "RegressionScores",
    "RowwiseLoss",
    "Scorecard",
    "Scores",
    "SmoothL1",
    "SquaredError",
    "SquaredHinge",
    "SquaredLogError",
    "Tversky",
    "Tweedie",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal",
    "calibrate",
    "categorical_cross_entropy",
    "class_ids",
    "compare",
    "cosine_distance",
    "cross_entropy",
    "dice",
    "evaluate",
    "exponential",
    "fair",
    "focal",
    "gamma",
    "gaussian_nll",
    "generalized_cross_entropy",
    "get_backend",
    "get_num_threads",
    "hinge",
    "huber",
    "jensen_shannon",
    "kl_divergence",
    "log_cosh",
    "mae",
    "mape",
    "mse",
    "msle",
    "multi_margin",
    "poisson",
    "poly_cross_entropy",
    "quantile",
    "set_backend",
    "set_num_threads",
    "smooth_l1",
    "squared_hinge",
    "sse",
    "sum_squared_error",
    "tversky",
    "tweedie",
]


if not _typing.TYPE_CHECKING:  # for which any name would be one of these

    def __getattr__(name: str) -> _typing.Any:
        """What evaluates, imported when it is asked for: it takes longer than all the rest."""
        if name not in __all__:
            from importlib.util import find_spec

            missing = f"module {__name__!r} has no attribute {name!r}"
            if name.isidentifier() and find_spec(f"{__name__}.{name}"):
                missing += f" before it is imported: write import {__name__}.{name}"
            raise AttributeError(missing)
        from . import evaluation

        value = globals()[name] = getattr(evaluation, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
