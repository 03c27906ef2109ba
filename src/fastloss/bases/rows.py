"""Losses of rows over classes, and of whole rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..call.arrays import INT64, Array, format_of
from ..call.run import Batch
from ..call.shapes import check_classes, check_same_shape, check_weight_shape
from ..kernels import rows, rowwise
from ..kernels.form import Extras, Form
from ..kernels.survey import Limits
from .check import random_in
from .compiled import RowFunctions
from .loss import Loss
from .options import as_weights, check_integer, near_one
from .parameters import FormulaLoss, parameter_type

NO_CLASS_WEIGHTS = as_weights("class_weight", ())


class RowwiseLoss(Loss):
    """A loss of rows over classes, the last axis of `y_pred`; all axes before it are samples.

    `y_true` has one integer class id for each sample, or labels of the shape of `y_pred`.
    """

    block_size = rowwise.BLOCK
    y_true_range = (0.0, 1.0)
    y_true_widens = False

    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        pred = format_of(y_pred, self.names[1])
        true = format_of(y_true, self.names[0])
        check_classes(y_true, true, y_pred, pred, self.names)
        sample_shape = y_pred.shape[:-1]
        class_ids = y_true.ndim < y_pred.ndim
        if class_ids and true.kind == "float":  # an empty list: there is nothing to mistake
            true = INT64
        if weight is not None:
            check_weight_shape(weight, sample_shape, "row")
        width = y_pred.shape[-1]
        return Batch(true, pred, sample_shape, 1 if class_ids else width, width, class_ids)

    def _examples(self, rng: "np.random.Generator") -> tuple[Array, Array]:
        return rng.integers(0, 4, 100), random_in(rng, self.y_pred_range, (100, 4))

    def jit(
        self, n_classes: int, dtype: Any = "float64", *, soft_labels: bool = False
    ) -> RowFunctions:
        """The loss as functions of one row that your own `@njit` functions can call.

        With `f = loss.jit(n_classes, dtype)`,

            f.value(y_true, y_pred) -> loss
            f.value_and_grad(y_true, y_pred, grad_out) -> loss

        where `y_pred` and `grad_out` are contiguous arrays of shape (n_classes,) and of `dtype`,
        float32 or float64. `grad_out` may be `y_pred` itself. `y_true` is a class id or, with
        `soft_labels`, a row of labels of the same shape and dtype. The loss, a float64, and the
        gradient are those that the verbs give for such a row with `reduction="sum"`, to the last
        bit. Both are NaN if a label is no class id (out of range, or with a fraction) or an array
        has another length; memory outside is never touched. The functions can be called from
        Python, too.

        Each call costs some 100 ns besides the arithmetic, and more for few classes, of which the
        verbs compute many rows at a time: whole batches are theirs.

        Raises TypeError for other dtypes or labels that the loss does not take.

        >>> import numpy as np
        >>> import fastloss as fl
        >>> value_and_grad = fl.cross_entropy.jit(2).value_and_grad
        >>> grad = np.empty(2)
        >>> round(value_and_grad(0, np.array([0.0, 0.0]), grad), 12), grad
        (0.69314718056, array([-0.5,  0.5]))
        """
        check_integer("n_classes", n_classes)
        return self._functions(RowFunctions, n_classes, dtype, soft_labels)


class RowLoss(RowwiseLoss, FormulaLoss):
    """A loss of whole rows: one function of a row of labels and a row of predictions.

    `_formula(self, y_true, y_pred, grads, hesses, spare)` returns the loss of the row in float64
    and fills `grads` and `hesses`, which are empty where they are not wanted. Its arguments are
    memory of its own in the arithmetic dtype, which it may overwrite, `spare` as much as two rows;
    where labels are class ids, `y_true` is an integer. `self.n_classes` is the length of the row
    without its padding.
    """

    # A label and a prediction that add nothing to a loss, with which rows are padded to whole
    # vectors: LLVM computes what is left over one by one. None: rows are not padded.
    padding: ClassVar[tuple[float, float] | None] = (0.0, 0.0)
    _scratch = rows.SCRATCH

    def _batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        check_same_shape(y_true, y_pred, self.names)
        return super()._batch(y_true, y_pred, weight, extras)

    def _examples(self, rng: "np.random.Generator") -> tuple[Array, Array]:
        shape = (100, 4)
        return random_in(rng, self.y_true_range, shape), random_in(rng, self.y_pred_range, shape)

    def _parameter_type_in(self, form: Form) -> tuple[type, tuple[Any, ...]]:
        _, constants = super()._parameter_type_in(form)
        return parameter_type(type(self).__name__, ("n_classes", *self._parameters)), constants

    def _kernel(self, form: Form) -> Callable[..., Any]:
        limits, parameters = self._limits(form), self._parameter_type_in(form)
        counting = limits.ignoring, limits.class_weighted
        return rows.by_row(self._formula_in(form), *parameters, self.padding, form, *counting)

    def _options(self, form: Form, width: int) -> tuple[Any, ...]:
        return 0, NO_CLASS_WEIGHTS, *self._parameters_in(form)


@dataclass(frozen=True)
class ClassLoss(RowwiseLoss):
    """A loss of rows over classes that weighs or leaves out rows by their class.

    Options:

    - `class_weight`: c numbers; the loss of a row is multiplied by that of its class, and the mean
      is over the weights.
    - `ignore_index`: rows of this class id are left out. None: every id must be a class.
    """

    class_weight: tuple[float, ...] | None = field(default=None, kw_only=True)
    ignore_index: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ignore_index is not None:
            check_integer("ignore_index", self.ignore_index)
        if self.class_weight is not None:
            # A tuple, so that the loss stays hashable and nobody changes its weights.
            weights = tuple(as_weights("class_weight", self.class_weight).tolist())
            object.__setattr__(self, "class_weight", weights)

    @property
    def _ignore_index(self) -> int | None:  # type: ignore[override]
        return self.ignore_index

    @cached_property
    def _class_weight(self) -> Array:
        if self.class_weight is None:
            return NO_CLASS_WEIGHTS
        return as_weights("class_weight", self.class_weight)

    @cached_property
    def _known_class_weight(self) -> tuple[Array, int]:
        """The class weights that kernels are told, and the exponent of 2 that they are short of."""
        return near_one(self._class_weight)

    def _class_exponents(self, width: int) -> tuple[int, int]:
        exponent = self._known_class_weight[1]
        return exponent, exponent

    def _by_class(self) -> dict[str, tuple[Any, ...]]:
        """The options that have something for each class."""
        return {} if self.class_weight is None else {"class_weight": self.class_weight}

    def _check_by_class(self, width: int) -> None:
        for name, given in self._by_class().items():
            if len(given) != width:
                raise ValueError(
                    f"{name} has {len(given)} numbers, but there are {width} classes on the last "
                    f"axis of {self.names[1]}: give one for each class"
                )

    def _limits(self, form: Form) -> Limits:
        return Limits(
            self.y_true_range,
            self.y_pred_range,
            ignoring=form.class_ids and not form.probabilities and self.ignore_index is not None,
            class_weighted=self.class_weight is not None,
        )

    def _examples(self, rng: "np.random.Generator") -> tuple[Array, Array]:
        n_classes = next(map(len, self._by_class().values()), 4)
        y_pred = random_in(rng, self.y_pred_range, (100, n_classes))
        return rng.integers(0, n_classes, 100), y_pred
