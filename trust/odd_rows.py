"""The odd inputs of `odd_inputs.py`: for each family of losses, inputs and what is promised."""

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastloss as fl

from .promises import ANY, FINITE, AsPlain, Gives, Promise, Raises, short

INF, NAN = math.inf, math.nan


@dataclass(frozen=True)
class Row:
    """An odd input: a call of a loss without reduction, unless another is asked for."""

    input: str
    loss: str
    y_true: Any
    y_pred: Any
    promise: Promise
    options: dict[str, Any] = field(default_factory=dict)
    reduction: str = "none"
    given: str = ""  # the data in words, where the numbers do not tell

    @property
    def too_large(self) -> bool:
        """For whoever makes an array of that size; these are views of one number."""
        return np.size(self.y_pred) >= 2**31

    def call(self) -> str:
        data = self.given or f"{short(self.y_true)}, {short(self.y_pred)}"
        told = dict(self.options)
        tells = f".{told.pop('tells')}" if "tells" in told else ""
        options = "".join(f", {name}={short(value)}" for name, value in told.items())
        return f"{self.loss}({data}{options}){tells}"


@dataclass(frozen=True)
class Loss:
    """A loss and two good samples, from which odd ones are made."""

    name: str
    y_true: Any
    y_pred: Any

    @property
    def names(self) -> tuple[str, str]:
        """What the loss calls its arguments."""
        names: tuple[str, str] = getattr(fl, self.name).names
        return names

    def row(self, what: str, y_true: Any, y_pred: Any, promise: Promise, **more: Any) -> Row:
        """With arrays made of lists."""
        data = (np.array(x) if isinstance(x, list) else x for x in (y_true, y_pred))
        return Row(what, self.name, *data, promise, **more)

    def changed(self, which: int, number: float) -> tuple[Any, Any]:
        """The first number of either replaced."""
        data = self.y_true.copy(), self.y_pred.copy()
        data[which].flat[0] = number
        return data

    # What any loss does

    def nan(self, which: int) -> Row:
        """NaN in the first sample alone."""
        name = self.names[which]
        value = np.array([NAN, FINITE], object)
        grad = np.resize(value, self.y_pred.shape[::-1]).T  # the same along each row
        return self.row(f"NaN in {name}", *self.changed(which, NAN), Gives(value, grad))

    def nan_mean(self) -> Row:
        return self.row(
            f"NaN in {self.names[1]}, and the mean",
            *self.changed(1, NAN),
            Gives(NAN, ANY),
            reduction="mean",
        )

    def nothing(self) -> Iterator[Row]:
        none = self.y_true[:0], self.y_pred[:0]
        empty, zeros = Gives(NAN, none[1], True), Gives(NAN, 0 * self.y_pred, True)
        yield self.row("no samples, and the mean", *none, empty, reduction="mean")
        yield self.row("no samples, and the sum", *none, Gives(0.0, none[1]), reduction="sum")
        weight = {"sample_weight": np.zeros(2)}
        yield self.row(
            "all of weight 0, and the mean",
            self.y_true,
            self.y_pred,
            zeros,
            options=weight,
            reduction="mean",
        )

    def weights(self) -> Iterator[Row]:
        for bad in (-1.0, NAN, INF):
            yield self.row(
                f"a weight of {bad:g}",
                self.y_true,
                self.y_pred,
                Raises(ValueError, "sample_weight[1]", f"{bad:g}"),
                options={"sample_weight": np.array([1.0, bad])},
                reduction="mean",
            )

    def shapes(self) -> Iterator[Row]:
        """Shapes that NumPy would broadcast."""
        odd = self.y_true[:, None] if self.y_true.ndim == 1 else self.y_true[:1]
        promise = Raises(ValueError, str(odd.shape), str(self.y_pred.shape))
        yield self.row("shapes that broadcast", odd, self.y_pred, promise)

    def labels(self, *bad: float) -> Iterator[Row]:
        """Labels out of the range of the loss."""
        yield from (self._outside("label", 0, number) for number in bad)

    def predictions(self, *bad: float) -> Iterator[Row]:
        yield from (self._outside("prediction", 1, number) for number in bad)

    def _outside(self, what: str, which: int, number: float) -> Row:
        place = f"{self.names[which]}[{', '.join('0' * (self.y_true, self.y_pred)[which].ndim)}]"
        text = repr(float(number))
        promise = Raises(ValueError, place, text)
        return self.row(f"{what} {text}", *self.changed(which, number), promise)

    def class_ids(self) -> Iterator[Row]:
        ids, names = self.y_true, self.names
        for bad in (self.y_pred.shape[-1], -1, -100, 2**40):
            promise = Raises(ValueError, f"{names[0]}[1] is {bad}")
            yield self.row(f"class id {bad}", [0, bad], self.y_pred, promise)
        promise = Raises(TypeError, names[0], "integer")
        given = f"{ids.astype(float).tolist()}, {short(self.y_pred)}"
        yield Row(
            "class ids as floats", self.name, ids.astype(float), self.y_pred, promise, given=given
        )
        yield self.row("arguments swapped", self.y_pred, ids, Raises(TypeError, "swapped"))
        promise = Raises(ValueError, names[1], "zero classes")
        yield self.row("no classes", ids, np.empty((2, 0)), promise)

    def usual(self) -> Iterator[Row]:
        yield self.nan_mean()
        yield from self.nothing()
        yield from self.weights()
        yield from self.shapes()

    def dtypes(self) -> Iterator[Row]:
        """Predictions of dtypes that are no numbers, or that no kernel computes with."""
        x = self.y_pred
        odd = {
            "complex": x.astype(complex),
            "object": x.astype(object),
            "strings": x.astype(str),
            "datetimes": x.astype("int64").astype("datetime64[s]"),
            "longdouble": x.astype(np.longdouble),
            "a masked array": np.ma.masked_array(x, mask=x == x.max()),
        }
        for what, array in odd.items():
            # longdouble is float64 on some systems, where there is nothing to refuse.
            if array.dtype != np.float64 or isinstance(array, np.ma.MaskedArray):
                yield self._in_words(what, self.y_true, array, Raises(TypeError, self.names[1]))

    def layouts(self) -> Iterator[Row]:
        """Predictions of which the numbers are good, as they may lie in memory."""
        x, twice = self.y_pred, np.repeat(self.y_pred, 2, axis=-1)
        read_only = x.copy()
        read_only.flags.writeable = False
        unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        unaligned[...] = x
        with tempfile.TemporaryFile() as file:
            mapped = np.memmap(file, x.dtype, "w+", shape=x.shape)
        mapped[...] = x
        odd = {
            "lists": x.tolist(),
            "integers": x.astype(np.int64),
            "read-only": read_only,
            "strided": twice[..., ::2],
            "reversed": x[::-1].copy()[::-1],
            "Fortran order": np.asfortranarray(x),
            "misaligned": unaligned,
            "byte-swapped": x.astype(x.dtype.newbyteorder()),
            "memory-mapped": mapped,
        }
        for what, array in odd.items():
            yield self._in_words(what, self.y_true, array, AsPlain(self.y_true, x))

    def _in_words(self, what: str, y_true: Any, y_pred: Any, promise: Promise) -> Row:
        given = f"{short(self.y_true)}, {what}"
        return Row(f"{self.names[1]}: {what}", self.name, y_true, y_pred, promise, given=given)


# -------------------------------------------------------------------------------------------------
# The families

_ROWS = np.array([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0]])
_SHARES = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]])
_PROBABILITIES = np.array([[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]])


def class_id_cross_entropy() -> Iterator[Row]:
    loss = Loss("cross_entropy", np.array([0, 2]), _ROWS)
    yield loss.nan(1)
    row = loss.row
    yield row("-inf at another class", [0], [[0, -INF, 1]], Gives([FINITE], [[FINITE, 0, FINITE]]))
    yield row("-inf at the label", [1], [[0, -INF, 0]], Gives([INF], [[0.5, -1, 0.5]]))
    nothing = Gives([NAN], [[NAN] * 3])
    yield row("-inf everywhere", [1], [[-INF] * 3], nothing)
    yield row("several +inf", [1], [[INF, INF, 0]], nothing)
    yield row("+inf at the label", [1], [[0, INF, 0]], Gives([0], [[0, 0, 0]]))
    yield row("+inf at another class", [0], [[0, INF, 0]], Gives([INF], [[-1, 1, 0]]))
    yield row("NaN beside +inf", [0], [[0, INF, NAN]], nothing)
    yield row("logits of 1e308", [0], [[1e308, -1e308]], Gives([0], [[0, 0]]))
    yield row("one class", [0, 0], [[3.5], [-1e30]], Gives([0, 0], [[0], [0]]))
    yield from loss.class_ids()
    ignored = {"options": {"ignore_index": -100}, "reduction": "mean"}
    yield row("all ignored", [-100, -100], _ROWS, Gives(NAN, 0 * _ROWS, True), **ignored)
    spoiled = np.array([[NAN, 0, 1], [0, 0, 0]])
    third = [[0, 0, 0], [-2 / 3, 1 / 3, 1 / 3]]
    yield row("NaN in an ignored row", [-100, 0], spoiled, Gives(math.log(3), third), **ignored)
    yield from loss.usual()


def soft_cross_entropy() -> Iterator[Row]:
    loss = Loss("cross_entropy", _SHARES, _ROWS)
    row = loss.row
    yield loss.nan(1)
    yield row("NaN in labels", *loss.changed(0, NAN), Gives([NAN, FINITE], ANY))
    promise = Gives([FINITE], [[FINITE, FINITE, 0]])
    yield row("-inf where the label is 0", [[0.5, 0.5, 0]], [[0, 1, -INF]], promise)
    promise = Gives([INF], [[FINITE] * 3])
    yield row("-inf where the label is not 0", [[0.5, 0.5, 0]], [[0, -INF, 1]], promise)
    promise = Gives([INF], [[0.75, -0.75, 0]])
    yield row("+inf where a part is", [[0.25, 0.75, 0]], [[INF, 0, 0]], promise)
    promise = Gives([0], [[0, 0, 0]])
    yield row("+inf where all is", [[1.0, 0, 0]], [[INF, 0, 0]], promise)
    yield from loss.labels(1.5, -0.5, INF)
    yield from loss.usual()


def binary_logits() -> Iterator[Row]:
    loss = Loss("binary_cross_entropy_with_logits", np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    yield loss.nan(1)
    yield loss.nan(0)
    for x, y, promise in (
        (INF, 1.0, Gives([0], [0])),
        (-INF, 0.0, Gives([0], [0])),
        (INF, 0.0, Gives([INF], [1])),
        (-INF, 1.0, Gives([INF], [-1])),
        (INF, 0.5, Gives([INF], [0.5])),
        (1e308, 0.0, Gives([1e308], [1])),
    ):
        yield loss.row(f"{x:+g} with label {y:g}", [y], [x], promise)
    yield from loss.labels(2, -1, INF)
    yield from loss.usual()


def binary_probabilities() -> Iterator[Row]:
    loss = Loss("binary_cross_entropy", np.array([1.0, 0.0]), np.array([0.5, 0.25]))
    yield loss.nan(1)
    yield loss.nan(0)
    floored = Gives([100], [FINITE])
    yield loss.row("0 with label 1", [1.0], [0.0], floored)
    yield loss.row("1 with label 0", [0.0], [1.0], floored)
    yield loss.row("0 with label 0", [0.0], [0.0], Gives([0], [1]))
    yield loss.row("1 with label 1", [1.0], [1.0], Gives([0], [-1]))
    bare = {"options": {"log_floor": -INF}}
    yield loss.row("0 with label 1, no floor", [1.0], [0.0], Gives([INF], ANY), **bare)
    yield loss.row("1e-300 with label 1", [1.0], [1e-300], floored)
    yield from loss.labels(2, -1)
    yield from loss.predictions(1.5, -0.5, INF, np.nextafter(1, 2))
    yield from loss.usual()


def categorical_probabilities() -> Iterator[Row]:
    loss = Loss("categorical_cross_entropy", np.array([0, 2]), _PROBABILITIES)
    row = loss.row
    asked, other = [[NAN, 0.5, 0.5]], [[0.5, NAN, 0.5]]
    yield row("NaN at the label", [0], asked, Gives([NAN], [[NAN, FINITE, FINITE]]))
    yield row("NaN at another class", [0], other, Gives([ANY], [[ANY, ANY, ANY]]))
    promise = Gives([100], [[FINITE, 0, 0]])
    yield row("0 at the label", [0], [[0.0, 0.5, 0.5]], promise)
    yield row("0 at a soft label", [[1.0, 0, 0]], [[0.0, 0.5, 0.5]], promise)
    promise = Gives([math.log(2)], [[-2, 0, 0]])
    yield row("0 at another class", [0], [[0.5, 0.0, 0.5]], promise)
    bare = {"options": {"log_floor": -INF}}
    yield row("0 at the label, no floor", [0], [[0.0, 0.5, 0.5]], Gives([INF], ANY), **bare)
    yield from loss.class_ids()
    yield from loss.predictions(1.5, -0.5, INF)
    yield from Loss(loss.name, _SHARES, _PROBABILITIES).labels(1.5, -0.5)
    yield from loss.usual()


def regression() -> Iterator[Row]:
    loss = Loss("mse", np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    yield loss.nan(1)
    yield loss.nan(0)
    row = loss.row
    yield row("an infinite prediction", [0.0], [INF], Gives([INF], [INF]))
    yield row("both infinite", [INF], [INF], Gives([NAN], [NAN]))
    yield row("no axis", np.float64(1), np.float64(3), Gives(4, 4))
    yield row("errors of 1e200", [0.0], [1e200], Gives([INF], [2e200]))
    yield from loss.usual()
    for name, slope in (("mae", 1), ("huber", 1), ("smooth_l1", 1), ("log_cosh", 1), ("fair", 1)):
        far = Loss(name, loss.y_true, loss.y_pred)
        yield far.row(f"an infinite prediction, {name}", [0.0], [-INF], Gives([INF], [-slope]))
    quantile = Loss("quantile", loss.y_true, loss.y_pred)
    yield quantile.row("an infinite prediction, quantile", [0.0], [-INF], Gives([INF], [-0.5]))
    mape = Loss("mape", loss.y_true, loss.y_pred)
    yield mape.row("a truth of 0, mape", [0.0], [1.0], Gives([FINITE], [FINITE]))
    yield from Loss("msle", loss.y_true, loss.y_pred).predictions(-2, -INF)
    yield from Loss("msle", loss.y_true, loss.y_pred).labels(-2)
    for name in ("poisson", "gamma", "tweedie"):
        yield from Loss(name, loss.y_true, loss.y_pred).labels(-1)


def kl() -> Iterator[Row]:
    loss = Loss("kl_divergence", _SHARES, _PROBABILITIES)
    row = loss.row
    yield loss.nan(1)
    yield row("NaN in y_true", *loss.changed(0, NAN), Gives([NAN, FINITE], ANY))
    yield row("y_true of 0", [[0.0, 1.0]], [[0.5, 0.5]], Gives([math.log(2)], [[0, -2]]))
    yield row("both 0", [[0.5, 0.5, 0]], [[0.5, 0.5, 0]], Gives([0], [[-1, -1, 0]]))
    yield row("y_pred of 0 alone", [[0.5, 0.5]], [[0.0, 1.0]], Gives([INF], [[-INF, -0.5]]))
    yield from loss.labels(1.5, -0.5)
    yield from loss.predictions(1.5, -0.5, INF)
    yield from loss.usual()


def whole_rows() -> Iterator[Row]:
    shares = Loss("jensen_shannon", _SHARES, _PROBABILITIES)
    yield shares.nan(1)
    yield shares.row("nothing in common", [[1.0, 0]], [[0.0, 1]], Gives([math.log(2)], ANY))
    yield shares.row("both 0", [[0.5, 0.5, 0]], [[0.5, 0.5, 0]], Gives([0], [[0, 0, FINITE]]))
    yield from shares.predictions(1.5)
    yield from shares.usual()
    for name in ("dice", "tversky"):
        overlap = Loss(name, _SHARES, _PROBABILITIES)
        yield overlap.nan(1)
        yield overlap.row("nothing there, nothing found", [[0.0, 0]], [[0.0, 0]], Gives([0], ANY))
        yield from overlap.labels(2)
        yield from overlap.predictions(-0.5)
    angle = Loss("cosine_distance", _ROWS, _ROWS + 1)
    yield angle.nan(1)
    yield angle.row("y_pred without a direction", [[0.0, 1]], [[0.0, 0]], Gives([1], [[0, 0]]))
    pairs = Loss("gaussian_nll", np.array([0.0, 1.0]), np.array([[0.5, 1.0], [0.5, 2.0]]))
    yield pairs.nan(1)
    for variance in (0.0, -1.0):
        promise = Raises(ValueError, "y_pred[0, 1]", "variance")
        yield pairs.row(f"a variance of {variance:g}", [0.0], [[1.0, variance]], promise)
    margin = Loss("multi_margin", np.array([0, 2]), _ROWS)
    yield margin.nan(1)
    yield margin.row("+inf at another class", [0], [[0.0, INF, 1]], Gives([INF], ANY))
    yield margin.row("+inf at the label", [0], [[INF, 1, 1]], Gives([0], [[0, 0, 0]]))
    yield from margin.class_ids()


def arrays() -> Iterator[Row]:
    """Checks that all losses have in common, for one of elements and one of rows."""
    for loss in (
        Loss("mse", np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 1.0])),
        Loss("cross_entropy", np.array([0, 2]), _ROWS),
    ):
        yield from loss.dtypes()
        yield from loss.layouts()


def long_arrays() -> Iterator[Row]:
    n = 2**31 + 11
    data = (np.broadcast_to(np.float16(number), (n,)) for number in (0, 0.5))
    promise = Gives(n / 2, ANY)
    given = f"0 and 0.5 again and again, {n:,} times"
    yield Row("indices above 2^31", "mae", *data, promise, reduction="sum", given=given)


def evaluations() -> Iterator[Row]:
    """Of each task what is odd for it: one number of the result."""

    def row(what: str, y: Any, x: Any, promise: Promise, task: str, tells: str, **more: Any) -> Row:
        options = {"task": task, **more, "tells": tells}
        return Row(what, "evaluate", np.array(y), np.array(x), promise, options)

    nan, warned = Gives(NAN, ANY), Gives(NAN, ANY, warns=True)
    yield row("no such task", [0], [1.0], Raises(ValueError, "there is no task"), "bin", "loss")
    for task, y, x, tells in (
        ("binary", [0, 1], [-1.0, 2.0], "loss"),
        ("multilabel", [[0, 1], [1, 0]], [[-1.0, 2.0], [1.0, 0.0]], "loss"),
        ("regression", [0.0, 1.0], [-1.0, 2.0], "mse"),
        ("multiclass", [0, 1], [[1.0, 0.0], [0.0, 1.0]], "loss"),
        ("ranking", [[1, 0], [0, 2]], [[2.0, 1.0], [1.0, 2.0]], "ndcg"),
    ):
        some, weights = np.array(x), "query_weight" if task == "ranking" else "sample_weight"
        yield row("all weights 0", y, x, warned, task, tells, **{weights: np.zeros(2)})
        by_group = {"groups": [7, 8], weights: np.array([1.0, 0.0])}
        of_groups = f"groups.{tells}" if tells != "loss" else "groups.means.loss"
        empty = Gives([FINITE, NAN], ANY)
        yield row("a group without weight", y, x, empty, task, of_groups, **by_group)
        yield row("no rows", np.array(y)[:0], some[:0], warned, task, tells)
        some.reshape(-1)[0] = NAN
        yield row("NaN in a prediction", y, some, nan, task, tells)
        yield row("NaN is counted", y, some, Gives(1, ANY), task, "n_undefined")
    y, x = [1, 1, 0], [2.0, INF, -INF]
    loss = math.log1p(math.exp(-2.0)) / 3
    yield row("infinite logits, all right", y, x, Gives(loss, ANY), "binary", "loss")
    yield row("their order", y, x, Gives(1.0, ANY), "binary", "auc")
    yield row("infinite logits, wrong", [1, 0], [-INF, 0.0], Gives(INF, ANY), "binary", "loss")
    yield row("one class only", [1, 1], [1.0, 2.0], nan, "binary", "auc")
    both = [[1.0, 2.0], [2.0, 1.0]]
    yield row("one class only", [[1, 1], [1, 1]], both, nan, "multilabel", "macro.auc")
    yield row("one class only", [0, 0], [[2.0, 1.0]] * 2, nan, "multiclass", "kappa")
    yield row("none predicted", [1, 0], [-1.0, -2.0], nan, "binary", "precision")
    yield row("all scores equal", [1, 0], [1.0, 1.0], Gives(0.5, ANY), "binary", "auc")
    yield row("NaN beside an order", [1, 0, 1], [2.0, 1.0, NAN], Gives(1.0, ANY), "binary", "auc")
    other = Raises(ValueError, "labels[1] is 2", "multiclass")
    yield row("class ids as binary labels", [0, 2], [1.0, 3.0], other, "binary", "loss")
    other = Raises(ValueError, "write predictions[..., 0]")
    yield row("a column of scores", [0, 1], [[1.0], [3.0]], other, "binary", "loss")
    other = Raises(TypeError, 'task="binary"')
    yield row("binary scores as logits", [0, 1], [1.0, 3.0], other, "multiclass", "loss")
    other = Raises(ValueError, "predictions[1] is 1.5", "between 0 and 1")
    p = {"from_probabilities": True}
    yield row("no probability", [0, 1], [0.5, 1.5], other, "binary", "loss", **p)
    yield row("the probability 0", [0, 1], [0.5, 0.0], Gives(INF, ANY), "binary", "loss", **p)
    yield row("a constant target", [2.0, 2.0], [1.0, 2.0], nan, "regression", "r2")
    finite = {"force_finite": True}
    yield row(
        "a constant target", [2.0, 2.0], [1.0, 2.0], Gives(0.0, ANY), "regression", "r2", **finite
    )
    yield row("a constant target", [2.0, 2.0], [1.0, 2.0], nan, "regression", "pearson")
    yield row("targets of 0", [0.0, 2.0], [1.0, 1.0], Gives(0.5, ANY), "regression", "mape")
    yield row("no relevant document", [[0, 0]], [[1.0, 2.0]], warned, "ranking", "ndcg")
    one = Gives(1, ANY)
    yield row(
        "one of two without",
        [[0, 0], [1, 0]],
        [[1.0, 2.0]] * 2,
        one,
        "ranking",
        "n_without_relevant",
    )


FAMILIES: dict[str, Callable[[], Iterator[Row]]] = {
    "Cross-entropy, class ids": class_id_cross_entropy,
    "Cross-entropy, soft labels": soft_cross_entropy,
    "Binary cross-entropy with logits": binary_logits,
    "Binary cross-entropy of probabilities": binary_probabilities,
    "Categorical cross-entropy of probabilities": categorical_probabilities,
    "Regression": regression,
    "Kullback-Leibler divergence": kl,
    "Other losses of whole rows": whole_rows,
    "Any arrays": arrays,
    "Long arrays": long_arrays,
    "Evaluations": evaluations,
}
