"""What every loss is: an immutable object of options, with verbs for the data."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cached_property, lru_cache, wraps
from math import copysign
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from ..call.arrays import Array, as_array
from ..call.family import UNBOUNDED, Family, Traits
from ..call.run import evaluate
from ..call.verbs import GRAD, GRAD_HESS, VALUE, VALUE_AND_GRAD
from .check import check_derivatives
from .options import check_integer, each, plain, whole_options
from .shared import family_of, follows, known_to, sayings

_Functions = TypeVar("_Functions")
# Where a word begins in the name of a class, but for the first.
_INITIALS = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _settling(method: Callable[..., None]) -> Callable[..., None]:
    """`method`, which builds a loss, with the options settled before, if known, and after.

    Where a class calls its parents, the outermost of the methods does so for all of them.
    """
    name = method.__name__
    mark = f"inside of {name}"

    @wraps(method)
    def settled(self: "Loss", *args: Any, **kws: Any) -> None:
        state = vars(self)
        if mark in state:
            method(self, *args, **kws)
            return
        state[mark] = True
        try:
            if name == "__post_init__":
                self._settle()
            method(self, *args, **kws)
        finally:
            del state[mark]
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

    `hessian` is what `grad_hess` gives besides the gradient:

    - `"exact"`: the second derivative.
    - `"ones"`: 1 for every sample, times its weight and as the reduction has it.
    - `"majorizer"`: the second derivative of a parabola that touches the loss at the prediction and
      lies above it, everywhere or from there to the truth. It is positive wherever the gradient is
      not 0, so that Newton steps go down, where exact Hessians are 0, negative or next to nothing:
      those of absolute errors, of focal losses, of logits that are sure and wrong. Each loss says
      which it has, and where no such bound is known, there is no such word. For losses of rows it
      is a diagonal, and each loss says what it bounds: that of a softmax bounds the whole Hessian
      at the prediction; that of a mean and a variance bounds the loss as either of them changes.
    - `"xgboost"`, `"lightgbm"`: that of the library's own objective, if it has one for this loss.

    The gradient and all other verbs are the same for each of them; `hvp` takes the exact one.
    """

    reduction: Literal["mean", "sum", "none"] = field(default="mean", kw_only=True)
    hessian: str = field(default="exact", kw_only=True)

    # What messages call the two arguments, and what else calls know of a loss: see `Traits`.
    names: ClassVar[tuple[str, str]] = ("y_true", "y_pred")
    y_true_range: ClassVar[tuple[float, float]] = UNBOUNDED
    y_pred_range: ClassVar[tuple[float, float]] = UNBOUNDED
    y_true_widens: ClassVar[bool] = True
    cost: ClassVar[int] = 2
    # Properties that a compiled function reads besides the options: numbers that follow from them.
    derived: ClassVar[tuple[str, ...]] = ()
    # The words of `hessian` besides "exact" and "ones"; with functions, where these are a formula.
    hessians: ClassVar[Collection[str]] = ()
    # Of those and of the options, the ones that are told as float64 whatever the arithmetic is.
    _double: ClassVar[tuple[str, ...]] = ()
    # The options that float32 may round to 0, or to infinity, as the formula has its limit there.
    _limit_at_0: ClassVar[tuple[str, ...]] = ()
    _limit_at_inf: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # What a class of a user's own does while it is built, and whether it calls its parents, is
        # its own business; options are settled all the same.
        for name in {"__init__", "__post_init__"} & set(vars(cls)):
            setattr(cls, name, _settling(vars(cls)[name]))
        # Before `dataclass` writes one that names all options, of which a loss may have ten.
        if "__repr__" not in vars(cls):
            cls.__repr__ = Loss.__repr__  # type: ignore[method-assign]

    if not TYPE_CHECKING:  # for which it would be the name of the class as well

        @property
        def __name__(self) -> str:
            """The name that a function would have, "log_cosh": scorers and boosters print it."""
            return _INITIALS.sub("_", type(self).__name__).lower()

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
        for name, whole in _options(type(self)):
            given = getattr(self, name, None)
            if given is None or (not whole and _is_plain(given)):
                continue
            value = self._settled(name, given)
            if whole:
                for place, number in each(name, value):
                    check_integer(place, number)
            object.__setattr__(self, name, value)
        if self.reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f'reduction is {self.reduction!r}, but must be one of "mean", "sum", "none"'
            )
        if self.hessian not in (words := ("exact", "ones", *self.hessians)):
            known = ", ".join(f'"{word}"' for word in words)
            raise ValueError(
                f"hessian is {self.hessian!r}, but for {type(self).__name__} must be one of "
                f'{known}: "ones" goes with every loss'
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
            self._family,
            VALUE,
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
        `y_pred` itself. If `y_pred` is of float64 or of integers, `out` may be of float32, to which
        each number is rounded once. The gradient of logits of few classes that are in Fortran's
        order is so, too. Raises what the loss raises, and for an `out` that does not fit.
        """
        value, grad, _ = evaluate(
            self._family,
            VALUE_AND_GRAD,
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
        """The gradient alone, as `value_and_grad` has it, which costs the same."""
        return evaluate(  # type: ignore[no-any-return]
            self._family,
            GRAD,
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

        The Hessian is the one that the option `hessian` names. Both have the shape and the floating
        dtype of `y_pred`. `out` is a pair of arrays for the two; the first may be `y_pred` itself.
        They may be of float32 where that of `value_and_grad` may. Raises what `value_and_grad`
        raises, and TypeError for a loss of your own that gives no Hessian.
        """
        if out is not None and not (isinstance(out, tuple) and len(out) == 2):
            raise TypeError(f"out must be a pair of arrays (grad, hess), got {type(out).__name__}")
        grad_out, hess_out = out or (None, None)
        _, grad, hess = evaluate(
            self._family,
            GRAD_HESS,
            y_true,
            y_pred,
            sample_weight,
            normalizer,
            class_mask=class_mask,
            grad_out=grad_out,
            hess_out=hess_out,
        )
        return grad, hess

    def constant(self, y_true: Any, /, *, sample_weight: Any = None) -> Any:
        """The best constant prediction: the one whose loss, summed up over `y_true`, is least.

        It is what a booster or an intercept starts from, in float64, and is found in closed form or
        by a safeguarded iteration: of squared errors the mean, of quantiles the quantile (the
        middle, if there are several), of logits the logarithm of the odds. Returns a float for
        `y_true` of shape (n,), and one for each column, an array of shape (c,), for (..., c).
        `reduction` does not matter.

        Raises what the other verbs raise, and ValueError where no number is the best one: where no
        sample counts, or where the loss falls on and on, as of binary labels that are all 1.

        >>> import fastloss as fl
        >>> fl.mse.constant([1.0, 2.0, 6.0])
        3.0
        >>> fl.mae.constant([[1.0, 10.0], [2.0, 20.0], [6.0, 90.0]])
        array([ 2., 20.])
        """
        raise TypeError(
            f"the best constant of {type(self).__name__} is not known: start from 0, or from the "
            "mean of the labels"
        )

    def check_gradient(self, y_true: Any = None, y_pred: Any = None) -> None:
        """Compare gradient and Hessian with finite differences of loss and gradient, in float64.

        Without data, at random places in the ranges of the loss. Raises ValueError that names the
        worst place; a kink there, where derivatives jump, is no error of the loss.

        >>> import fastloss as fl
        >>> fl.mse.check_gradient()
        """
        if (y_true is None) != (y_pred is None):
            raise TypeError(f"give both {self.names[0]} and {self.names[1]}, or neither")
        family = self._family
        if y_true is None:
            y_true, y_pred = family.examples(np.random.default_rng(0))
        y_true, y_pred = as_array(y_true, self.names[0]), as_array(y_pred, self.names[1])
        unreduced = replace(self, reduction="none")
        limits = family.y_pred_limits()
        has_hessian = family.has_hessian and self.hessian == "exact"
        check_derivatives(unreduced, self.names, y_true, y_pred, limits, has_hessian)

    # -----------------------------------------------------------------------------------------
    # What calls know of it

    @abstractmethod
    def _describe(self) -> Family:
        """The family that the loss belongs to, with all that it has of its own."""

    @cached_property
    def _family(self) -> Family:
        own = type(self)
        known = known_to(self)
        # What a class says of its losses may be replaced, as in a notebook.
        said = tuple([value for values in sayings(own) for value in values()])
        return family_of((own, self._traits), known, self._describe, said)

    @property
    def _traits(self) -> Traits:
        return Traits(
            name=type(self).__name__,
            names=self.names,
            reduction=self.reduction,
            y_true_range=self.y_true_range,
            y_pred_range=self.y_pred_range,
            y_true_widens=self.y_true_widens,
            cost=self.cost,
        )

    @cached_property
    def _made_functions(self) -> dict[Any, Any]:
        return {}

    def _functions(self, key: Any, make: Callable[[], _Functions]) -> _Functions:
        """What `make` returns, once: users' functions are compiled with it."""
        found: _Functions | None = self._made_functions.get(key)
        if found is None:
            found = self._made_functions[key] = make()
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Options, and what else a class gave its losses, but not what follows from them."""
        options = {name: getattr(self, name) for name, _ in _options(type(self))}
        found_out = follows(type(self))
        return options | {n: value for n, value in vars(self).items() if n not in found_out}


def _is_plain(value: Any) -> bool:
    """Whether an option is as it should be, as most are: a loss may be built for each call."""
    return type(value) is str or (type(value) is float and copysign(1.0, value) > 0.0)


@lru_cache(maxsize=256)
def _options(loss: type[Loss]) -> tuple[tuple[str, bool], ...]:
    """The names of the options, and whether they are to be integers."""
    whole = whole_options(loss)
    return tuple((option.name, option.name in whole) for option in fields(loss))
