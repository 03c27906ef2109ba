"""The losses: options, docstring and formula of each."""

import sys

from ..bases import options
from . import binary, distributions, multiclass, regression, segmentation

# Losses that were pickled when these files had other names are found by those.
sys.modules["fastloss._options"] = options
for _file in (binary, distributions, multiclass, regression, segmentation):
    sys.modules[_file.__name__.replace(".losses.", ".")] = _file
