"""How far a mean over rows may be from what it estimates."""

from typing import Any

import numpy as np


def standard_error(n: Any, weight: Any, squares: Any) -> Any:
    """sqrt(n / (n - 1) (sum of w^2 (x - mean)^2)) / (sum of w), of n independent rows.

    With equal weights it is that of textbooks, and of one row it is NaN.

    Source: W. G. Cochran, Sampling Techniques (1977): a weighted mean is a ratio of two sums.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(n / (n - 1) * squares) / weight
