"""What every loss can do: its verbs, and how its data lies.

`Loss` has the verbs and the reductions. `ElementwiseLoss`, which users derive their own losses
from, and `RowwiseLoss` say how the arrays belong together and which loop runs over them; see
`elementwise.py` and `rowwise.py`. The losses themselves are options, a docstring and a formula.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property, wraps
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from ..call.arrays import FLOAT32, FLOAT64, WIDE, Array, Format, as_array
from ..call.messages import report_range
from ..call.run import Batch, Call, Plan, evaluate
from ..kernels.form import Extras, Form
from ..kernels.survey import Limits
from .check import check_derivatives
from .options import plain

_UNBOUNDED = (-math.inf, math.inf)
_Functions = TypeVar("_Functions")


def _settling(method: Callable[..., None]) -> Callable[..., None]:
    """`method`, which builds a loss, with the options settled before, if known, and after."""

    @wraps(method)
    def settled(self: "Loss", *args: Any, **kws: Any) -> None:
        if method.__name__ == "__post_init__":
            self._settle()
        method(self, *args, **kws)
        self._settle()

    return settled


@dataclass(frozen=True)
class Loss(ABC):
    """A loss: an immutable object whose fields are its options and whose verbs take the data.

    Every verb takes the labels first and the predictions second, of any real dtype and layout.
    `sample_weight` multiplies the loss of each sample; a sample of weight 0 is left out, be its
    loss infinite or NaN (but its label must be a label). `normalizer` replaces the denominator of
    a mean: pass the number of samples of the whole when a call sees a part of it (gradient
    accumulation, data-parallel sums). `class_mask` is for losses of logits over classes; see
    `CrossEntropy`.
    """

    reduction: Literal["mean", "sum", "none"] = field(default="mean", kw_only=True)

    # What messages call the two arguments, and the range that the numbers of each must lie in.
    names: ClassVar[tuple[str, str]] = ("y_true", "y_pred")
    y_true_range: ClassVar[tuple[float, float]] = _UNBOUNDED
    y_pred_range: ClassVar[tuple[float, float]] = _UNBOUNDED
    # Whether float64 (or wide integer) labels make the arithmetic float64 when predictions are
    # float32. Labels between 0 and 1 do not: their rounding is that of the result.
    y_true_widens: ClassVar[bool] = True
    # Numbers of y_pred in a block.
    block_size: ClassVar[int]
    # How many times as long an element takes as one of squared error, about; from it follows
    # whether a call has enough to do for several threads.
    cost: ClassVar[int] = 2
    # Numbers of memory that a kernel needs for each number of a row, however long it is.
    _scratch: ClassVar[int] = 0
    # The class id whose rows are left out.
    _ignore_index: ClassVar[int | None] = None
    # Which classes are in, 1 or 0 for each.
    _class_mask: ClassVar[Array | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # What a class of a user's own does while it is built, and whether it calls its parents, is
        # its own business; options are settled all the same.
        for name in {"__init__", "__post_init__"} & set(vars(cls)):
            setattr(cls, name, _settling(vars(cls)[name]))
        # Before `dataclass` writes one that names all options, of which a loss may have ten.
        if "__repr__" not in vars(cls):
            cls.__repr__ = Loss.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """The call that makes an equal loss: its options, but for those that have their default."""
        options = [option for option in fields(self) if option.init and option.repr]
        given = (
            f"{option.name}={getattr(self, option.name)!r}"
            for option in options
            if not self._is_default(option)
        )
        return f"{type(self).__name__}({', '.join(given)})"

    def _is_default(self, option: "Field[Any]") -> bool:
        default: Any = option.default
        if option.default_factory is not MISSING:
            default = option.default_factory()
        value = getattr(self, option.name)
        return isinstance(value, bool) == isinstance(default, bool) and bool(value == default)

    def __post_init__(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Bring options into the form in which equal ones are the same, and check `reduction`."""
        for option in fields(self):
            if hasattr(self, option.name):
                value = self._settled(option.name, getattr(self, option.name))
                object.__setattr__(self, option.name, value)
        if self.reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f'reduction is {self.reduction!r}, but must be one of "mean", "sum", "none"'
            )

    def _settled(self, name: str, value: Any) -> Any:
        return plain(name, value)

    # -----------------------------------------------------------------------------------------
    # The verbs

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: Array | None = None,
    ) -> Any:
        """The loss.

        Returns a float, or with `reduction="none"` the loss of each sample: an array of the dtype
        of the arithmetic (float64 if the data is, else float32), written into `out` if given, which
        may be `y_pred` itself if it has that shape and dtype.

        Raises TypeError for dtypes and ValueError for shapes, labels, probabilities and weights
        that make no sense, before anything is written.
        """
        if out is not None and self.reduction != "none":
            raise ValueError(
                f'out is for the loss of each sample, and with reduction="{self.reduction}" the '
                'loss is one number: leave out= away, or build the loss with reduction="none"'
            )
        return evaluate(
            self,
            "value",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask,
            losses_out=out,
        )[0]

    def value_and_grad(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: Array | None = None,
    ) -> tuple[Any, Array]:
        """The loss and its gradient with respect to `y_pred`, in one pass.

        The gradient is that of the reduced loss, or of the sum with `reduction="none"`. It has the
        shape and the floating dtype of `y_pred` and is written into `out` if given, which may be
        `y_pred` itself.
        """
        value, grad, _ = evaluate(
            self,
            "value_and_grad",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask,
            out,
        )
        return value, grad

    def grad(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: Array | None = None,
    ) -> Array:
        """The gradient alone; `value_and_grad` costs the same."""
        return evaluate(  # type: ignore[no-any-return]
            self,
            "grad",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask,
            out,
        )[1]

    def grad_hess(
        self,
        y_true: Any,
        y_pred: Any,
        /,
        *,
        sample_weight: Any = None,
        normalizer: float | None = None,
        class_mask: Any = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """The gradient and the diagonal of the Hessian with respect to `y_pred`, in one pass.

        `out` is a pair of arrays for the two; the first may be `y_pred` itself.
        """
        if out is not None and not (isinstance(out, tuple) and len(out) == 2):
            raise TypeError(f"out must be a pair of arrays (grad, hess), got {type(out).__name__}")
        grad_out, hess_out = out or (None, None)
        _, grad, hess = evaluate(
            self,
            "grad_hess",
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask=class_mask,
            grad_out=grad_out,
            hess_out=hess_out,
        )
        return grad, hess

    def check_gradient(self, y_true: Any = None, y_pred: Any = None) -> None:
        """Compare gradient and Hessian with finite differences of loss and gradient, in float64.

        Without data, at random places in the ranges of the loss. Raises ValueError that names the
        worst place; a kink there, where derivatives jump, is no error of the loss.

        >>> import fastloss as fl
        >>> fl.mse.check_gradient()
        """
        if (y_true is None) != (y_pred is None):
            raise TypeError(f"give both {self.names[0]} and {self.names[1]}, or neither")
        if y_true is None:
            y_true, y_pred = self._examples(np.random.default_rng(0))
        check_derivatives(self, as_array(y_true, self.names[0]), as_array(y_pred, self.names[1]))

    # -----------------------------------------------------------------------------------------
    # What families and losses supply

    @abstractmethod
    def _examples(self, rng: "np.random.Generator") -> tuple[Array, Array]:
        """Random data to check the derivatives at."""

    @abstractmethod
    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        """How the arrays belong together, after all checks that need no look at the numbers."""

    @abstractmethod
    def _kernel(self, form: Form) -> Callable[..., Any]:
        """What is done with a block in this form, as a plain function."""

    @abstractmethod
    def _structure(self) -> Any:
        """A hashable key of all that `_kernel` compiles in."""

    @abstractmethod
    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        """What the kernel is told of this loss at each call."""

    def _limits(self, form: Form) -> Limits:
        """What is looked at before anything is written."""
        return Limits(self.y_true_range, self.y_pred_range)

    def _y_pred_limits(self) -> tuple[Any, Any]:
        """The least and the largest y_pred, each a number or one for each number of a row."""
        return self.y_pred_range

    def _arithmetic(self, batch: Batch) -> Format:
        """That of float64, unless float32 holds all numbers that are computed with."""
        pred, true = batch.pred, batch.true
        wide = pred.kind != "float" or pred.name in WIDE
        wide = wide or (self.y_true_widens and true.name in WIDE)
        return FLOAT64 if wide else FLOAT32

    def _take_extras(
        self, y_true: Any, y_pred: Array, class_mask: Any, vector: Any
    ) -> tuple[Any, Extras | None]:
        """The labels themselves, and the inputs that few losses know."""
        if class_mask is not None:
            raise ValueError(
                f"class_mask is for losses of logits over classes, and {type(self).__name__} is "
                "none: leave samples out by giving them the sample_weight 0"
            )
        return y_true, None

    def _report_y_pred(self, y_pred: Array, start: int, stop: int) -> None:
        """Raise ValueError for the first illegal prediction in [start, stop)."""
        report_range(y_pred, start, stop, self.y_pred_range, self.names[1])

    def _rows(self, width: int, arithmetic: str) -> str:
        """Which of several kernels serves rows of this width."""
        return ""

    def _class_exponents(self, width: int) -> tuple[int, int]:
        """What kernels are told of classes is short of these powers of 2.

        Of what the loss of a class is multiplied by, and of its weight in a mean.
        """
        return 0, 0

    def _has_hessian(self) -> bool:
        return True

    def _compilation_error(self, form: Form, error: Exception) -> Exception:
        """What to tell the user when the kernel does not compile."""
        return error

    # What was worked out for earlier calls.

    @cached_property
    def _plans(self) -> dict[Any, Plan]:
        return {}

    @cached_property
    def _calls(self) -> dict[Any, Call]:
        return {}

    @cached_property
    def _made_functions(self) -> dict[Any, Any]:
        return {}

    def _functions(self, make: Callable[..., _Functions], *arguments: Any) -> _Functions:
        """`make(self, *arguments)`, once: users' functions are compiled with what it returns."""
        found: _Functions | None = self._made_functions.get(arguments)
        if found is None:
            found = self._made_functions[arguments] = make(self, *arguments)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Options, and what else a class gave its losses, but not what follows from them."""
        parts = [vars(base) for base in type(self).__mro__]
        follows = {n for part in parts for n, v in part.items() if isinstance(v, cached_property)}
        options = {option.name: getattr(self, option.name) for option in fields(self)}
        return options | {n: value for n, value in vars(self).items() if n not in follows}


class LogitLoss(Loss):
    """A loss of logits, which stand for probabilities."""

    def proba(self, logits: Any, /, *, class_mask: Any = None, out: Array | None = None) -> Array:
        """The probabilities that the logits stand for.

        Returns an array of the shape and the floating dtype of `logits`, written into `out` if
        given, which may be `logits` itself.

        >>> import fastloss as fl
        >>> fl.cross_entropy.proba([[0.0, 1000.0]])
        array([[0., 1.]])
        """
        return evaluate(  # type: ignore[no-any-return]
            self, "proba", None, logits, None, None, class_mask=class_mask, grad_out=out
        )[1]

    def log_proba(
        self, logits: Any, /, *, class_mask: Any = None, out: Array | None = None
    ) -> Array:
        """The logarithms of the probabilities, exact where those are rounded to 0 or 1.

        Returns an array as `proba` does.

        >>> import fastloss as fl
        >>> fl.cross_entropy.log_proba([[0.0, 1000.0]])
        array([[-1000.,     0.]])
        """
        return evaluate(  # type: ignore[no-any-return]
            self, "log_proba", None, logits, None, None, class_mask=class_mask, grad_out=out
        )[1]
