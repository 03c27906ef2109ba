"""Losses of rows, the last axis of the predictions, which most of them call classes."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..call.arrays import INT64, Array, as_array, format_of
from ..call.family import Batch, Family
from ..call.shapes import check_classes, check_same_shape, check_weight_shape
from ..kernels import row_groups, row_loss
from ..kernels.args import Extras, row_options
from ..kernels.form import Form
from ..kernels.survey import Limits
from .check import random_in
from .compiled import RowFunctions
from .constant import counted
from .formula import ClassFormula, Formula, RowFormula
from .loss import Loss
from .options import as_weights, check_integer, near_one

_LARGEST = 2**63 - 1  # what kernels know all ids beyond int64 as


class ByClass(NamedTuple):
    """What a loss knows of classes: what each weighs, and the class id whose rows are left out."""

    class_weight: tuple[float, ...] | None = None
    ignore_index: int | None = None

    @classmethod
    def checked(cls, class_weight: Any, ignore_index: Any) -> "ByClass":
        """The two options, checked; weights become a tuple, so that losses stay hashable."""
        if ignore_index is not None:
            check_integer("ignore_index", ignore_index)
        if class_weight is not None:
            class_weight = tuple(as_weights("class_weight", class_weight).tolist())
        return cls(class_weight, ignore_index)

    def near_one(self) -> tuple[Array, int]:
        """The class weights as kernels get them, and the exponent of 2 they were divided by."""
        return near_one(as_weights("class_weight", self.class_weight or ()))


# Which labels a loss of rows takes: class ids, labels of the shape of the rows, or either.
IDS, LIKE_ROWS, EITHER = "class ids", "like rows", "either"


class RowFamily(Family):
    """The family of losses of rows, of which some weigh or leave out rows by their class."""

    block_size = row_groups.BLOCK

    def __init__(
        self, loss: "RowwiseLoss", labels: str = EITHER, by_class: ByClass | None = None
    ) -> None:
        super().__init__(loss._traits)
        self.loss, self.labels, self.by_class = loss, labels, by_class or ByClass()
        self.marks_rows, self.ignore_index = by_class is not None, self.by_class.ignore_index

    @cached_property
    def class_weight(self) -> tuple[Array, int]:
        """The class weights as kernels get them, and the exponent of 2 they were divided by."""
        return self.by_class.near_one()

    def of_each_class(self) -> dict[str, tuple[Any, ...]]:
        """The options that have something for each class."""
        weight = self.by_class.class_weight
        return {} if weight is None else {"class_weight": weight}

    def check_of_each_class(self, width: int) -> None:
        """Raise ValueError if one of them is for another number of classes."""
        for name, given in self.of_each_class().items():
            if len(given) != width:
                raise ValueError(
                    f"{name} has {len(given)} numbers, but there are {width} classes on the last "
                    f"axis of {self.traits.names[1]}: give one for each class"
                )

    def class_exponents(self, width: int) -> tuple[int, int]:
        exponent = self.class_weight[1]
        return exponent, exponent

    def masses(self, labels: Any, sample_weight: Any, n_classes: int | None) -> tuple[Array, float]:
        """What labels add up to, class by class, and the weight of all rows: see `constant`."""
        sparse = isinstance(labels, tuple) and len(labels) == 2
        given = as_array(labels[0] if sparse else labels, self.traits.names[0])
        soft = given.ndim > 1 and given.dtype.kind not in "iub"
        if n_classes is not None:
            check_integer("n_classes", n_classes)
            if n_classes < 1:
                raise ValueError(f"n_classes is {n_classes}, but there is one class at least")
        width = n_classes or next(map(len, self.of_each_class().values()), 0)
        if not width and soft:
            width = given.shape[-1]
        if not width:
            ids = given if self.ignore_index is None else given[given != self.ignore_index]
            width = int(ids.max(initial=0)) + 1 if given.dtype.kind in "iub" else 1
        self.check_of_each_class(width)
        shape = (*(given.shape[:-1] if soft or sparse else given.shape), width)
        given, weight, probabilities = counted(
            self, labels if sparse else given, shape, sample_weight
        )
        if soft:
            return weight.ravel() @ given.reshape(-1, width), float(weight.sum())
        each = weight if probabilities is None else weight[..., None] * probabilities
        kept = each.ravel() != 0
        ids, each = given.ravel()[kept].astype(np.int64), each.ravel()[kept]
        return np.bincount(ids, each, minlength=width), float(weight.sum())

    def limits(self, form: Form) -> Limits:
        return Limits(
            self.traits.y_true_range,
            self.traits.y_pred_range,
            ignoring=form.class_ids and not form.probabilities and self.ignore_index is not None,
            class_weighted=self.by_class.class_weight is not None,
        )

    def batch(
        self, y_true: Array, y_pred: Array, weight: Array | None, extras: Extras | None
    ) -> Batch:
        names = self.traits.names
        if self.labels == LIKE_ROWS:
            check_same_shape(y_true, y_pred, names)
        pred, true = format_of(y_pred, names[1]), format_of(y_true, names[0])
        check_classes(y_true, true, y_pred, pred, names)
        sample_shape = y_pred.shape[:-1]
        class_ids = y_true.ndim < y_pred.ndim
        if class_ids and true.kind == "float":  # an empty list: there is nothing to mistake
            true = INT64
        if class_ids and self.ignore_index == _LARGEST and y_true.dtype.str[1:] == "u8":
            raise ValueError(
                f"{names[0]} has dtype uint64, of which all ids from {_LARGEST} on are taken for "
                f"ignore_index, which is that number: write np.asarray({names[0]}).astype(np.int64)"
            )
        if weight is not None:
            check_weight_shape(weight, sample_shape, "row")
        if self.labels == IDS and not class_ids:
            first, second = names
            raise ValueError(
                f"{first} has shape {y_true.shape}, that of {second}, but this loss takes class "
                f"ids of shape {sample_shape}: write np.argmax({first}, axis=-1) if one-hot"
            )
        width = y_pred.shape[-1]
        return Batch(true, pred, sample_shape, 1 if class_ids else width, width, class_ids)

    def examples(self, rng: Any) -> tuple[Array, Array]:
        n_classes = next(map(len, self.of_each_class().values()), 4)
        shape = 100, n_classes
        y_pred = random_in(rng, self.traits.y_pred_range, shape)
        if self.labels == LIKE_ROWS:
            return random_in(rng, self.traits.y_true_range, shape), y_pred
        return rng.integers(0, n_classes, 100), y_pred


class FormulaRows(RowFamily):
    """The family of losses of rows that a formula defines."""

    def __init__(
        self,
        loss: "RowwiseLoss",
        formula: Formula,
        labels: str = EITHER,
        by_class: ByClass | None = None,
    ) -> None:
        super().__init__(loss, labels, by_class)
        self.formula = formula

    def structure(self, form: Form) -> Any:
        return self.formula.structure(form)

    def options(self, form: Form, width: int) -> tuple[Any, ...]:
        self.check_of_each_class(width)
        # With names of their own: a formula may have an option of the name of one of all rows.
        told = row_options(tuple(f"self_{name}" for name in self.formula.names_told))
        own = self.formula.told_in(form)
        return told(self.ignore_index or 0, self.class_weight[0], *own)  # type: ignore[no-any-return]

    def compilation_error(self, form: Form, error: Exception) -> Exception:
        return self.formula.compilation_error(form, error)


class OfEachClass(FormulaRows):
    """The family of losses that add up the scalar function of a loss over the classes."""

    def __init__(self, loss: "RowwiseLoss") -> None:
        super().__init__(loss, ClassFormula(loss))

    def kernel(self, form: Form) -> Callable[..., Any]:
        return row_groups.pointwise(self.formula.in_form(form), *self.formula.type_in(form), form)


class OfWholeRow(FormulaRows):
    """The family of losses of one function of a row of labels and a row of predictions.

    `function(self, y_true, y_pred, grads, hesses, spare)` returns the loss of the row in float64
    and fills `grads` and `hesses`, which are empty where they are not wanted. Its arguments are
    memory of its own in the arithmetic dtype, which it may overwrite, `spare` as much as two rows;
    where labels are class ids, `y_true` is an integer. `self.n_classes` is the length of the row
    without its padding.
    """

    scratch = row_loss.SCRATCH

    def __init__(
        self,
        loss: "RowwiseLoss",
        function: Callable[..., Any],
        labels: str = LIKE_ROWS,
        by_class: ByClass | None = None,
        *,
        padding: tuple[float, float] | None = (0.0, 0.0),
    ) -> None:
        """`padding` is a label and a prediction that add nothing to a loss.

        Rows are padded with them to whole vectors, as LLVM computes what is left over one by one.
        With None they are not.
        """
        super().__init__(loss, RowFormula(loss, function, "n_classes"), labels, by_class)
        self.padding = padding

    def kernel(self, form: Form) -> Callable[..., Any]:
        formula, limits = self.formula, self.limits(form)
        return row_loss.by_row(
            formula.in_form(form),
            *formula.type_in(form),
            self.padding,
            form,
            limits.ignoring,
            limits.class_weighted,
        )


class RowwiseLoss(Loss):
    """A loss of rows over classes, the last axis of `y_pred`; all axes before it are samples.

    `y_true` has one integer class id for each sample, or labels of the shape of `y_pred`.
    """

    y_true_range = (0.0, 1.0)
    y_true_widens = False

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
        return self._functions(
            (n_classes, dtype, soft_labels),
            lambda: RowFunctions(
                replace(self, reduction="sum")._family, n_classes, dtype, soft_labels
            ),
        )
