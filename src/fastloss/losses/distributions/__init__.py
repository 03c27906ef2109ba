"""Losses between probability distributions."""

from .jensen_shannon import JensenShannon, jensen_shannon
from .kullback_leibler import KLDivergence, kl_divergence

# In the order in which the losses are listed.
__all__ = [  # noqa: RUF022
    "KLDivergence",
    "kl_divergence",
    "JensenShannon",
    "jensen_shannon",
]
