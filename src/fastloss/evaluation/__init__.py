"""Large-batch evaluation: everything about logits in one pass over them."""

from .comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
