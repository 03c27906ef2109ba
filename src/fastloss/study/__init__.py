"""The comparison study: NumPy, naive and careful, other libraries, fastloss, and the speed of
memory, under one harness. `fastloss bench` runs it; a study of your own builds on it.
"""

from .contender import Contender, Job
from .workloads import EVALUATION, GRADIENT, IN_PLACE, LOSS, NEW_ARRAY, Data, Workload

__all__ = [
    "EVALUATION",
    "GRADIENT",
    "IN_PLACE",
    "LOSS",
    "NEW_ARRAY",
    "Contender",
    "Data",
    "Job",
    "Workload",
]
