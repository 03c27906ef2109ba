"""What a call knows of a loss: its traits, and the family that it belongs to.

The machinery of calls sees nothing else of a loss. `bases/` has a family for each kind of loss.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from ..kernels.args import Extras
from ..kernels.form import Form, Function
from ..kernels.survey import Limits
from .arrays import FLOAT32, FLOAT64, Array, Format
from .messages import report_range

UNBOUNDED = (-math.inf, math.inf)


class Traits(NamedTuple):
    """What a loss says of itself."""

    name: str  # of its class
    names: tuple[str, str]  # what messages call labels and predictions
    reduction: str  # "mean", "sum" or "none"
    y_true_range: tuple[float, float] = UNBOUNDED
    y_pred_range: tuple[float, float] = UNBOUNDED
    # Whether float64 (or wide integer) labels make the arithmetic float64 when predictions are
    # float32. Labels between 0 and 1 do not: their rounding is that of the result.
    y_true_widens: bool = True
    # About how many times as long an element takes as one of squared error: on one thread, the loss
    # and the gradient of 131,072 in float32. From it follows how many threads share a call.
    cost: int = 2


class Batch(NamedTuple):
    """How the arrays of a call belong together."""

    true: Format
    pred: Format
    sample_shape: tuple[int, ...]
    true_width: int  # elements of y_true in a sample
    width: int  # elements of y_pred in a sample
    class_ids: bool = False  # y_true has class ids
    period: int = 1  # blocks begin at multiples of it, where options differ from column to column
    one_truth: bool = False  # y_true has one number for each row of y_pred
    # The formats of other inputs, if there are any.
    extras: Extras | None = None


class Family(ABC):
    """How the data of a loss lies, and the kernels that compute it.

    It also remembers what earlier calls of the loss found out, so that later ones are short.
    """

    # Numbers of y_pred in a block.
    block_size: int
    # How many numbers of memory a kernel needs for each number of a row, however long that is.
    scratch = 0
    # Whether rows may be left out by a class id, and the one of this loss.
    marks_rows = False
    ignore_index: int | None = None
    # Which classes are in, 1 or 0 for each.
    class_mask: Array | None = None

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        # What is known of calls, by verb, dtypes and shapes; and of plans, by verb and dtypes.
        self.calls: dict[Any, Any] = {}
        self.plans: dict[Any, Any] = {}

    @abstractmethod
    def batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        """How the arrays belong together, after all checks that need no look at the numbers."""

    @abstractmethod
    def kernel(self, form: Form) -> Function:
        """What is done with a block in this form, as a plain function."""

    @abstractmethod
    def structure(self, form: Form) -> Any:
        """A hashable key of all that `kernel` compiles in."""

    @abstractmethod
    def options(self, form: Form, width: int) -> tuple[Any, ...]:
        """What the kernel is told of the loss at each call."""

    @abstractmethod
    def examples(self, rng: Any) -> tuple[Array, Array]:
        """Random labels and predictions, at which derivatives are checked."""

    def take_extras(
        self, y_true: Any, y_pred: Array, class_mask: Any, vector: Any
    ) -> tuple[Any, Extras | None]:
        """The labels themselves, and the inputs that few losses know."""
        if class_mask is not None:
            raise ValueError(
                f"class_mask is for losses of logits over classes, and {self.traits.name} is "
                "none: leave samples out by giving them the sample_weight 0"
            )
        return y_true, None

    def arithmetic(self, batch: Batch) -> Format:
        """The format of the arithmetic: float64, unless float32 holds all numbers that it takes."""
        pred, true = batch.pred, batch.true
        wide = pred.kind != "float" or pred.is_wide
        wide = wide or (self.traits.y_true_widens and true.is_wide)
        return FLOAT64 if wide else FLOAT32

    def limits(self, form: Form) -> Limits:
        """What is looked at before anything is written."""
        return Limits(self.traits.y_true_range, self.traits.y_pred_range)

    def rows(self, width: int, arithmetic: str, class_major: bool = False) -> str:
        """Which of several kernels serves rows of this width, and whether they lie class by class.

        If there is none for those that do, it is one of rows that lie as rows.
        """
        return ""

    @property
    def has_hessian(self) -> bool:
        """Whether the Hessian that it gives is the derivative of the gradient."""
        return True

    def y_pred_limits(self) -> tuple[Any, Any]:
        """The least and the largest prediction, each a number or one for each number of a row."""
        return self.traits.y_pred_range

    def class_exponents(self, width: int) -> tuple[int, int]:
        """Kernels get weights of classes divided by powers of 2, of which these are the exponents.

        The first is that of what the loss of a class is multiplied by, the second that of the
        weight of the class in a mean.
        """
        return 0, 0

    def report_y_pred(self, y_pred: Array, start: int, stop: int) -> None:
        """Raise ValueError for the first illegal prediction in [start, stop)."""
        report_range(y_pred, start, stop, self.traits.y_pred_range, self.traits.names[1])

    def compilation_error(self, form: Form, error: Exception) -> Exception:
        """What to tell the user when the kernel does not compile."""
        return error
