"""Losses of a softmax: their labels, the options of their logits, and more verbs."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from ..call.arrays import Array, Format, as_array, format_of
from ..call.family import Batch
from ..call.run import evaluate
from ..call.shapes import check_sparse_labels
from ..call.verbs import LOGSUMEXP
from ..compiler.snapshot import snapshot
from ..kernels.args import Extras, row_options
from ..kernels.form import CLASS_MAJOR, Form
from ..kernels.softmax import long_rows, short_rows
from ..kernels.softmax.traits import Traits, Variant
from ..kernels.storage import least_above_0
from ..kernels.survey import Limits
from . import logits
from .constant import linked_shares, nowhere
from .options import as_mask, check_positive
from .rows import ByClass, RowFamily, RowwiseLoss


class Softmax(RowFamily):
    """The family of losses that know logits by their softmax."""

    loss: "SoftmaxLoss"
    # What messages call the array that goes with the logits, if there is one.
    vector_name = "vector"

    def __init__(self, loss: "SoftmaxLoss") -> None:
        super().__init__(loss, by_class=ByClass(loss.class_weight, loss.ignore_index))
        self.class_mask = loss._class_mask

    @cached_property
    def variant(self) -> Variant:
        return self.loss._variant()

    def of_each_class(self) -> dict[str, tuple[Any, ...]]:
        mask = {} if self.loss.class_mask is None else {"class_mask": self.loss.class_mask}
        return super().of_each_class() | mask | self.loss._of_each_class()

    def class_exponents(self, width: int) -> tuple[int, int]:
        factors = self.loss._factors(width)
        of_weights = self.class_weight[1]
        return of_weights if factors is None else factors[1], of_weights

    @property
    def has_hessian(self) -> bool:
        return self.loss._has_hessian

    def structure(self, form: Form) -> Any:
        return self.variant.known_to(form)

    def limits(self, form: Form) -> Limits:
        loss = self.loss
        if loss.link is not None and (form.probabilities or not form.class_ids):
            raise ValueError(
                f"{self.traits.name} takes one class id for each row of logits: write "
                "np.argmax(labels, axis=-1) if they are one-hot"
            )
        return super().limits(form)._replace(class_masked=loss.class_mask is not None)

    def rows(self, width: int, arithmetic: str, class_major: bool = False) -> str:
        if width <= short_rows.FEW[arithmetic]:
            return CLASS_MAJOR if class_major else "few"
        return "kept" if long_rows.keeps(width) else "long"

    def traits_of(self, form: Form) -> Traits:
        ignoring = form.labelled and self.limits(form).ignoring
        return Traits(form, self.variant.known_to(form), ignoring)

    def kernel(self, form: Form) -> Callable[..., Any]:
        traits = self.traits_of(form)
        if form.rows in ("few", CLASS_MAJOR):
            return short_rows.few_classes(traits)
        return long_rows.many_classes(traits)

    def options(self, form: Form, width: int) -> tuple[Any, ...]:
        self.check_of_each_class(width)
        self.loss._check_held(form)
        known = self.variant.known_to(form).options
        own = {name: value for name, value in self.loss._told(width).items() if name in known}
        if own.get("hessian_floor"):  # which is above 0 when it is stored, too
            own["hessian_floor"] = max(own["hessian_floor"], least_above_0(form.pred))
        told = row_options(tuple(own))
        return told(self.ignore_index or 0, self.class_weight[0], *own.values())  # type: ignore[no-any-return]

    def take_extras(
        self, y_true: Any, y_pred: Array, class_mask: Any, vector: Any
    ) -> tuple[Any, Extras | None]:
        probabilities = None
        if type(y_true) is tuple and len(y_true) == 2:
            ids, given = as_array(y_true[0], "labels[0]"), as_array(y_true[1], "labels[1]")
            if ids.ndim == y_pred.ndim or given.ndim == y_pred.ndim:
                y_true, probabilities = ids, given
        mask = None if class_mask is None else as_array(class_mask, "class_mask")
        vector = None if vector is None else as_array(vector, self.vector_name)
        if probabilities is mask is vector is None:
            return y_true, None
        return y_true, Extras(probabilities, mask, vector)

    def batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        probabilities, mask, vector = extras or Extras(None, None, None)
        if probabilities is None:
            batch = super().batch(y_true, y_pred, weight, extras)
        else:
            check_sparse_labels(y_true, probabilities, y_pred)
            batch = super().batch(y_true[..., 0], y_pred, weight, extras)
            batch = batch._replace(true_width=y_true.shape[-1])
        formats: list[Format | None] = [None, None, None]
        if probabilities is not None:
            formats[0] = format_of(probabilities, "labels[1]")
        if mask is not None:
            formats[1] = format_of(mask, "class_mask")
            if mask.dtype != bool:
                raise TypeError(
                    f"class_mask has dtype {mask.dtype}, but says of each class whether it is in: "
                    "write np.asarray(class_mask).astype(bool)"
                )
        if vector is not None:
            formats[2] = format_of(vector, self.vector_name)
        for name, array in (("class_mask", mask), (self.vector_name, vector)):
            if array is not None and array.shape != y_pred.shape:
                raise ValueError(
                    f"{name} has shape {array.shape} and {self.traits.names[1]} have shape "
                    f"{y_pred.shape}: they must be equal, nothing is broadcast"
                    + (
                        f"; a mask for all rows is an option: {self.traits.name}(class_mask=...)"
                        if array is mask
                        else ""
                    )
                )
        return batch if extras is None else batch._replace(extras=Extras(*formats))

    def examples(self, rng: Any) -> tuple[Array, Array]:
        ids, logits = super().examples(rng)
        if self.class_mask is not None:
            ids = rng.choice(np.flatnonzero(self.class_mask), ids.size)
        return ids, logits


@dataclass(frozen=True)
class SoftmaxLoss(RowwiseLoss):
    """A loss of logits over classes that knows them by their softmax; its options are shared.

    Options:

    - `class_weight`: c numbers; the loss of a row is multiplied by that of its class, and the mean
      is over the weights. With soft labels t_j becomes class_weight_j t_j, once it is smoothed.
    - `ignore_index`: rows of this class id are left out. None: every id must be a class.
    - `class_mask`: c booleans; a class that is not True is out for all rows, as if it had been
      deleted: its probability and derivatives are 0, no class id may name it, and what soft labels
      give it does not count. The verbs take a `class_mask` of the shape of the logits besides.
    - `softcap` s: logits x become s tanh(x / s) before anything else, and so lie between -s and s
      (-inf becomes -s: a class is ruled out by a mask).
    - `temperature`: logits are divided by it.

    The majorizer of all is a diagonal that the whole Hessian of the row lies below, as the sum of
    magnitudes in each of its rows is no more (Gershgorin): 2 T p_j (1 - p_j) for `CrossEntropy`.
    """

    class_weight: tuple[float, ...] | None = field(default=None, kw_only=True)
    ignore_index: int | None = field(default=None, kw_only=True)
    class_mask: tuple[bool, ...] | None = field(default=None, kw_only=True)
    softcap: float | None = field(default=None, kw_only=True)
    temperature: float = field(default=1.0, kw_only=True)

    names = ("labels", "logits")
    cost = 4
    # From the cross-entropy of a class id to the loss, with its first two derivatives, in float64:
    # `link(self, loss)`, where self has the options named next. Such a loss takes class ids alone.
    link: ClassVar[Callable[..., Any] | None] = None
    link_options: ClassVar[tuple[str, ...]] = ()
    hessians: ClassVar[tuple[str, ...]] = ("majorizer",)

    def __post_init__(self) -> None:
        super().__post_init__()
        by_class = ByClass.checked(self.class_weight, self.ignore_index)
        object.__setattr__(self, "class_weight", by_class.class_weight)
        if self.class_mask is not None:
            mask = tuple(as_mask("class_mask", self.class_mask).astype(bool).tolist())
            object.__setattr__(self, "class_mask", mask)
        if self.softcap is not None:
            check_positive("softcap", self.softcap)
        check_positive("temperature", self.temperature)

    # -----------------------------------------------------------------------------------------
    # More verbs

    proba, log_proba = logits.proba, logits.log_proba

    def logsumexp(self, logits: Any, /, *, class_mask: Any = None, out: Array | None = None) -> Any:
        """log(sum of exp(x_j)) of each row, of the logits as options change them.

        Returns an array of shape (...), for logits of shape (..., c), of the dtype of the
        arithmetic: float64 if the logits are, else float32; written into `out` if given. Raises
        what `proba` raises.

        >>> import fastloss as fl
        >>> fl.cross_entropy.logsumexp([[1000.0, 1000.0]])
        array([1000.69314718])
        """
        return evaluate(
            self._family,
            LOGSUMEXP,
            logits,
            logits,
            None,
            None,
            class_mask=class_mask,
            losses_out=out,
        )[0]

    def constant(
        self, labels: Any, /, *, sample_weight: Any = None, n_classes: int | None = None
    ) -> Array:
        """The best constant logits: the logarithm of the share of each class, shape (c,), float64.

        The shares are those of the masses that the options give to the classes, so that the loss,
        summed up over all rows, is the least that one row of logits for all can have. Many rows of
        logits have it, as a softmax does not notice what all logits have in common; this is the one
        of shares that add up to 1. A class that a mask rules out has 0.

        `labels` are class ids, integers; or soft labels, floats of shape (..., c); or the pair
        `(ids, probabilities)`. Without `n_classes` there are as many as the options have numbers,
        or as the largest class id says.

        Raises what the other verbs raise, and ValueError where no logits are the best ones: where
        no row counts, or no label is of some class, whose logit would be -inf.

        >>> import fastloss as fl
        >>> fl.cross_entropy.constant([0, 0, 0, 1]).round(4)
        array([-0.2877, -1.3863])
        """
        masses, n_rows = self._softmax.masses(labels, sample_weight, n_classes)
        masses = self._smoothed(masses, n_rows)
        log_weight = self._log_weights_of_classes(masses.size)
        inside = np.ones(masses.size, bool) if self._class_mask is None else self._class_mask != 0
        for lacking in np.flatnonzero(inside & ((masses <= 0) | (log_weight == -math.inf))):
            nowhere(f"no label that counts is of class {lacking}", -math.inf)
        # The ratio of two weights may be more than float64 holds, and its logarithm is not.
        mass, log_weight = masses[inside], log_weight[inside] - log_weight[inside].max()
        log_share = np.log(mass / (mass * np.exp(log_weight)).sum()) + log_weight
        link = type(self).link
        if link is not None:
            log_share = linked_shares(partial(link, self), log_share)
        found = np.zeros(masses.size)
        found[inside] = self._logits_of(log_share)
        return found

    # -----------------------------------------------------------------------------------------

    def _smoothed(self, masses: Array, n_rows: float) -> Array:
        """Labels that were added up over so many rows, as the loss smooths them."""
        return masses

    def _log_weights_of_classes(self, width: int) -> Array:
        """The logarithms of what the loss of each class is multiplied by."""
        weight = np.ones(width) if self.class_weight is None else np.array(self.class_weight)
        with np.errstate(divide="ignore"):
            return np.log(weight)

    def _logits_of(self, log_share: Array) -> Array:
        """The logits that stand for logarithms of probabilities, as options change them."""
        logits = self.temperature * log_share
        if self.softcap is None:
            return logits
        if np.any(logits <= -self.softcap):  # what all have in common does not matter
            logits = logits - (logits.max() + logits.min()) / 2
        if np.any(abs(logits) >= self.softcap):
            nowhere(
                f"logits between -{self.softcap:g} and {self.softcap:g} have no such shares",
                -math.inf,
            )
        return self.softcap * np.arctanh(logits / self.softcap)

    def _describe(self) -> Softmax:
        return Softmax(self)

    @property
    def _softmax(self) -> Softmax:
        family = self._family
        assert isinstance(family, Softmax)
        return family

    @property
    def _floor(self) -> float:
        """The least number of a Hessian."""
        return 1e-16 if self.hessian == "majorizer" else 0.0

    @property
    def _has_hessian(self) -> bool:
        """Whether the Hessian is the derivative of the gradient, and not what boosters take."""
        return self._floor == 0

    def _of_each_class(self) -> dict[str, tuple[Any, ...]]:
        """The options of the loss itself that have something for each class."""
        return {}

    @cached_property
    def _class_mask(self) -> Array | None:
        return None if self.class_mask is None else as_mask("class_mask", self.class_mask)

    def _factors(self, width: int) -> tuple[Array, int] | None:
        """What the loss of each class is multiplied by, if not by its weight, and an exponent.

        The factors have been divided by 2 to the power of that.
        """
        return None

    def _told(self, width: int) -> dict[str, Any]:
        """What kernels are told at each call, by name; the names depend on the options alone."""
        told: dict[str, Any] = {}
        if self._class_mask is not None:
            told["class_mask"] = self._class_mask
        if (factors := self._factors(width)) is not None:
            told["class_weight"] = factors[0]
        elif self.class_weight is not None:
            told["class_weight"] = self._softmax.class_weight[0]
        if self.temperature != 1:
            told["inverse_temperature"] = 1.0 / self.temperature
        if self.softcap is not None:
            told |= {"softcap": float(self.softcap), "inverse_softcap": 1.0 / self.softcap}
        if self._floor > 0:
            told["hessian_floor"] = self._floor
        return told | {name: float(getattr(self, name)) for name in self.link_options}

    def _check_held(self, form: Form) -> None:
        """Raise ValueError unless the arithmetic holds the cap and the inverses of both options."""
        largest = float(np.finfo(form.number).max)
        for name, high in (("softcap", largest), ("temperature", math.inf)):
            value = getattr(self, name)
            if value is not None and not 1 / largest <= value <= high:
                limits = f"{1 / largest:.2g} or more" + f", at most {high:.2g}" * (high < math.inf)
                raise ValueError(
                    f"{name} is {value:g}, but for these logits, of which the arithmetic is "
                    f"{form.arithmetic}, must be {limits}"
                )

    def _variant(self) -> Variant:
        return Variant(
            class_weighted=self.class_weight is not None or self._factors(1) is not None,
            class_masked=self.class_mask is not None,
            tempered=self.temperature != 1,
            capped=self.softcap is not None,
            hessian=self.hessian,
            hessian_floored=self._floor > 0,
            link=None if (link := type(self).link) is None else snapshot(link),
            options=tuple(self._told(1)),
        )
