"""Losses of real numbers."""

from .cosine import CosineDistance, cosine_distance
from .gaussian import GaussianNLL, gaussian_nll
from .likelihoods import Gamma, Poisson, Tweedie, gamma, poisson, tweedie
from .relative import AbsolutePercentageError, SquaredLogError, mape, msle
from .residuals import (
    AbsoluteError,
    Fair,
    Huber,
    LogCosh,
    Quantile,
    SmoothL1,
    SquaredError,
    fair,
    huber,
    log_cosh,
    mae,
    mse,
    quantile,
    smooth_l1,
    sse,
    sum_squared_error,
)

# In the order in which the losses are listed.
__all__ = [  # noqa: RUF022
    "SquaredError",
    "mse",
    "sse",
    "sum_squared_error",
    "AbsoluteError",
    "mae",
    "Huber",
    "huber",
    "SmoothL1",
    "smooth_l1",
    "LogCosh",
    "log_cosh",
    "Quantile",
    "quantile",
    "SquaredLogError",
    "msle",
    "AbsolutePercentageError",
    "mape",
    "Fair",
    "fair",
    "Poisson",
    "poisson",
    "Gamma",
    "gamma",
    "Tweedie",
    "tweedie",
    "GaussianNLL",
    "gaussian_nll",
    "CosineDistance",
    "cosine_distance",
]
