"""All forms of kernels: each pair of choices once, compiled and in plain Python.

A form is what a kernel is compiled for: a loss with its options, dtypes, what is written, weights.
In plain Python all pairs meet, with layouts and shapes besides. Compiled are fewer: a formula meets
both precisions, a word for the Hessian meets each loop and option but not each dtype and kind of
labels, and what else the loops do meets each other. Of these `make test` compiles each dtype,
each verb of formulas, each loop and kind of labels of a softmax, and `make test-long` the rest.
Compiled code and plain Python are compared.

They may differ by the rounding of fused multiply-adds, of divisions that became products, and of
sums whose terms were reordered: all that the error allowed for a result is for. So each is compared
with the true results, and what has no reference with the other, within that error. The formulas
without primitives (`BITWISE`) are not fused (`flags.py`): their bits are the same.
"""

import dataclasses
import itertools
import math
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from covering import bring_nothing_new, covering
from plain import compiled, forget, plain, plain_python
from registry import (
    CASES,
    DOUBLE,
    FAMILY,
    IN_FLOAT64,
    NARROW,
    ROUNDING,
    SMALLEST,
    SOFTMAX,
    SOFTMAX_SOFT,
    Case,
    arithmetic,
    assert_near,
    assert_same,
    cross_entropy,
    dense,
    expect,
)

import fastloss as fl
from fastloss.call import blocks as _blocks
from fastloss.call import threads as _threads
from fastloss.compiler import jit
from fastloss.compiler.bits import (
    bfloat_as_float,
    elements,
    float_as_bfloat,
    float_as_int,
    int_as_float,
    int_like,
    larger,
    next_larger,
    part_of,
    scratch,
    select,
    smaller,
    window,
    windows,
)
from fastloss.kernels.softmax import long_rows

pytestmark = plain

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
VERBS = ("grad_hess", "value_and_grad", "value", "losses", "losses_and_grad")

# ---------------------------------------------------------------------------------------------
# Layouts and odd numbers


def strided(a: Any) -> Any:
    return np.repeat(a, 2, axis=-1)[..., ::2]


def backwards(a: Any) -> Any:
    return a[::-1].copy()[::-1]


LAYOUTS = {
    "contiguous": np.ascontiguousarray,
    "strided": strided,
    "backwards": backwards,
    "fortran": np.asfortranarray,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()) if a.dtype.kind != "V" else a,
}


def call(loss: Any, verb: str, y_true: Any, y_pred: Any, **more: Any) -> tuple[Any, ...]:
    """What a verb gives, by the name of `Expected`."""
    if verb in ("losses", "losses_and_grad"):
        loss = dataclasses.replace(loss, reduction="none")
    if verb in ("value", "losses"):
        return (loss(y_true, y_pred, **more),)
    results: tuple[Any, ...] = getattr(loss, verb.replace("losses", "value"))(
        y_true, y_pred, **more
    )
    return results


def expected(case: Case, verb: str, y_true: Any, y_pred: Any, **more: Any) -> Any:
    reduction = "none" if verb.startswith("losses") else "mean"
    return expect(case, y_true, y_pred, lib=DOUBLE, reduction=reduction, **more)


def fields_of(verb: str) -> list[str]:
    return ["grad", "hess"] if verb == "grad_hess" else verb.split("_and_")


def assert_true(verb: str, results: tuple[Any, ...], true: Any) -> None:
    for name, result in zip(fields_of(verb), results, strict=True):
        assert_near(result, getattr(true, name), getattr(true, f"{name}_error"), name)


def assert_alike(verb: str, results: tuple[Any, ...], others: tuple[Any, ...], true: Any) -> None:
    """Both have NaN and infinities in the same places, and numbers that differ by two errors."""
    for name, result, other in zip(fields_of(verb), results, others, strict=True):
        a, b = (np.asarray(x).astype(np.float64) for x in (result, other))
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b), name)
        np.testing.assert_array_equal(a[~np.isfinite(a)], b[~np.isfinite(a)], name)
        here = np.isfinite(a)
        error = np.broadcast_to(getattr(true, f"{name}_error"), a.shape)
        assert_near(a[here], b[here], 2 * error[here].astype(np.float64), name)


def weight_for(case: Case, y_pred: Any, dtype: Any) -> dict[str, Any]:
    if dtype is None:
        return {}
    shape = y_pred.shape[:-1] if case.rowwise else y_pred.shape
    weight = np.random.default_rng(5).integers(0, 9, shape) / 4
    weight.flat[0], weight.flat[-1] = 0.0, 1.5
    return {"sample_weight": weight.astype(dtype)}


# ---------------------------------------------------------------------------------------------
# Losses that are a formula

FORMULAS = [case for case in CASES if not case.name.startswith("softmax")]
# Sums and products alone: no primitive, of which multiplications and additions are fused.
BITWISE = {"squared", "absolute", "percentage", "hinge", "squared_hinge"} | {
    case.name for case in FAMILY if case.name.startswith(("huber", "smooth_l1", "quantile"))
}


# Whole numbers from 0 on are no labels that make sense, or have a gradient beyond float16.
_NOT_NARROW = ("kl", "js", "gaussian", "cosine", "percentage")


def other_labels(case: Case, y_true: Any, kind: str) -> Any:
    """The same labels, or those that another dtype can hold."""
    if y_true.dtype.kind == "i":
        y_true = y_true.clip(0) if kind == "wide" else y_true  # which knows no mark below 0
        return y_true.astype({"same": np.int64, "narrow": np.int8, "wide": np.uint64}[kind])
    if kind == "wide":
        return y_true.astype(np.float64)
    if kind == "narrow" and not case.name.startswith(_NOT_NARROW):
        return np.rint(y_true.clip(0)).astype(np.uint8)
    return y_true


def parameters(rows: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(row, id="-".join(map(str, row.values()))) for row in rows]


def compiled_parameters(rows: list[dict[str, Any]], *names: str) -> list[Any]:
    """`make test` compiles each choice for these names, and `make test-long` the rest."""
    marks = [[pytest.mark.long] if known else [] for known in bring_nothing_new(rows, names)]
    return [
        pytest.param(*row.values, id=row.id, marks=more)
        for row, more in zip(parameters(rows), marks, strict=True)
    ]


def of_formulas(**choices: Any) -> list[Any]:
    return parameters(covering({"case": FORMULAS, **choices}))


def check_formula(
    case: Case, dtype: Any, labels: str, verb: str, weight: Any, layout: str, shape: Any
) -> tuple[Any, ...]:
    """Against the reference; returns what the call gives."""
    y_true, y_pred = case.data(dtype, shape)
    y_true = other_labels(case, y_true, labels)
    more = weight_for(case, y_pred, weight)
    true = expected(case, verb, y_true, y_pred, **more)
    change = LAYOUTS[layout]
    results = call(case.loss, verb, change(y_true), change(y_pred), **more)
    assert_true(verb, results, true)
    return results, true


@pytest.mark.parametrize(
    "form",
    of_formulas(
        dtype=[FLOAT32, *NARROW, FLOAT64],
        labels=["same", "narrow", "wide"],
        verb=VERBS,
        weight=[None, FLOAT32, FLOAT64],
        layout=list(LAYOUTS),
        shape=[(7, 5), (2, 3, 5), (1, 5), (70, 5)],
    ),
)
def test_a_formula_in_plain_python(form):
    check_formula(**form)


def compiled_formulas() -> list[Any]:
    """Each formula once, with its Hessian or its losses, in one precision or the other.

    The other choices meet each other in pairs, on one formula or another. Each formula with its
    gradient is a form of `result_hashes.py`, too, which all kinds of processors compile.
    """
    rest = {
        "labels": ["same", "narrow", "wide"],
        "weight": [None, FLOAT32, FLOAT64],
    }
    single = [FLOAT32, *NARROW]
    turns = {
        (verb, dtypes[0]): itertools.cycle(covering({"dtype": dtypes, **rest}))
        for verb in VERBS
        for dtypes in (single, [FLOAT64])
    }
    rows = []
    choices = itertools.product(("grad_hess", "losses_and_grad"), (FLOAT32, FLOAT64))
    for case, choice in zip(FORMULAS, itertools.cycle(choices), strict=False):
        verb, dtype = choice if case in IN_FLOAT64 else ("grad_hess", FLOAT32)
        rows.append({"case": case, "verb": verb, **next(turns[verb, dtype])})
    cases = itertools.cycle(case for case in FORMULAS if case in IN_FLOAT64)
    for verb, dtype in itertools.product(VERBS[2:], (FLOAT32, FLOAT64)):
        for _ in range(3):
            rows.append({"case": next(cases), "verb": verb, **next(turns[verb, dtype])})
    return compiled_parameters(rows, "verb", "dtype")


def with_odd_numbers(case: Case, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    y_true, y_pred = y_true.copy(), y_pred.copy()
    y_pred[2, 1] = np.nan
    if y_true.dtype.kind == "f" and y_true.ndim == 2:
        y_true[3, 1] = np.nan
    if case.loss.y_pred_range == (-np.inf, np.inf) and not case.name.startswith("gaussian"):
        y_pred[4, 2], y_pred[5, 3] = np.inf, -np.inf
    return y_true, y_pred


@compiled
@pytest.mark.parametrize("form", compiled_formulas())
def test_a_formula_compiled(form):
    """True, in any layout, and as plain Python has it, odd numbers included."""
    case, verb, dtype = form["case"], form["verb"], form["dtype"]
    for shape in ((7, 5), (300, 5)):
        results, true = check_formula(**form, layout="contiguous", shape=shape)
    for layout in LAYOUTS:
        again, _ = check_formula(**form, layout=layout, shape=(300, 5))
        assert_bits(again, results)

    y_true, y_pred = case.data(dtype, (70, 5))
    y_true = other_labels(case, y_true, form["labels"])
    more = weight_for(case, y_pred, form["weight"])
    true = expected(case, verb, y_true, y_pred, **more)
    for data in ((y_true, y_pred), with_odd_numbers(case, y_true, y_pred)):
        results = call(case.loss, verb, *data, **more)
        with plain_python():
            others = call(case.loss, verb, *data, **more)
        assert_alike(verb, results, others, true)
        if case.name in BITWISE and verb != "value":
            assert_bits(results[-1:], others[-1:])


def assert_bits(results: tuple[Any, ...], others: tuple[Any, ...]) -> None:
    """The sign of zero is free."""
    for result, other in zip(results, others, strict=True):
        np.testing.assert_array_equal(
            np.asarray(result).astype(np.float64), np.asarray(other).astype(np.float64)
        )


# ---------------------------------------------------------------------------------------------
# Losses of a softmax

UNLABELLED = ("proba", "log_proba", "logsumexp")
LINKS = {
    "focal": fl.Focal(gamma=1.5, alpha=0.25),
    "generalized": fl.GeneralizedCrossEntropy(q=0.5),
    "poly": fl.PolyCrossEntropy(epsilon=0.5),
}
OPTIONS = {
    "temperature": 0.5,
    "softcap": 6.0,
    "z_loss": 0.1,
    "label_smoothing": 0.125,
    "ignore_index": 0,
}
SOFTMAX_CHOICES = {
    "rows": ["few", "kept", "long"],
    "dtype": [FLOAT32, *NARROW, FLOAT64],
    "labels": ["ids", "narrow ids", "soft", "wide soft", "sparse"],
    "verb": [*VERBS, "hvp", *UNLABELLED],
    "weight": [None, FLOAT32, FLOAT64],
    "link": ["", *LINKS],
    # That of XGBoost is twice the exact one, scaled as that of LightGBM, with a floor.
    "hessian": ["exact", "xgboost_residual", "lightgbm", "floor"],
    **{name: [False, True] for name in (*OPTIONS, "class_weight", "class_mask", "row_mask")},
}


# The words that all losses of a softmax know.
OF_ALL = ("ones", "majorizer")


def is_legal(row: dict[str, Any]) -> bool:
    """What goes together; of what is not yet chosen, the first value goes with all."""
    given = {name: SOFTMAX_CHOICES[name][0] for name in SOFTMAX_CHOICES} | row
    by_id = given["labels"] in ("ids", "narrow ids")
    if given["verb"] in UNLABELLED and (given["labels"] != "ids" or given["weight"] is not None):
        return False
    if given["link"] and (
        not by_id
        or given["verb"] == "hvp"
        or given["z_loss"]
        or given["label_smoothing"]
        or given["hessian"] not in ("exact", *OF_ALL)
    ):
        return False
    if given["hessian"] != "exact" and given["verb"] != "grad_hess":
        return False
    return by_id or not given["ignore_index"]


class Softmax:
    """A loss with its data, and what must come out."""

    def __init__(self, form: dict[str, Any], n: int) -> None:
        rng = np.random.default_rng(7)
        c = 5 if form["rows"] == "few" else 130
        self.verb, labels, dtype = form["verb"], form["labels"], form["dtype"]
        self.loss = self._loss(form, rng, c)
        self.logits = rng.normal(scale=3.0, size=(n, c)).astype(dtype)
        self.vector = (rng.integers(-8, 9, (n, c)) / 32).astype(dtype)
        ids = rng.choice(np.flatnonzero(np.arange(c) % 4 != 3), (n, 3))
        ids[0] = 1  # not the one to ignore; of sparse labels one class, three times
        self.y_true: Any = ids[:, 0].astype(np.uint8 if labels == "narrow ids" else np.int64)
        if labels == "sparse":
            self.y_true = ids, (rng.integers(0, 3, (n, 3)) / 8).astype(dtype)
        elif labels.endswith("soft"):
            soft = rng.integers(0, 5, (n, c)) * (rng.random((n, c)) < 0.3) / 4
            soft[:, 1] = 0.5
            self.y_true = soft.astype(np.float64 if labels == "wide soft" else dtype)
        self.mask = None
        if form["row_mask"]:
            self.mask = rng.random((n, c)) < 0.8
            np.put_along_axis(self.mask, ids, True, axis=1)
            self.mask[:, :3] = True  # of one class alone the reference of a link is 0 / 0
        self.more: dict[str, Any] = {}
        if form["weight"] is not None:
            weight = rng.integers(1, 9, n) / 4
            weight[-1] = 0 if n > 1 else 1
            self.more["sample_weight"] = weight.astype(form["weight"])

    @staticmethod
    def _loss(form: dict[str, Any], rng: Any, c: int) -> Any:
        options = {name: value for name, value in OPTIONS.items() if form[name]}
        if form["class_weight"]:
            options["class_weight"] = rng.integers(1, 9, c) / 4
        if form["class_mask"]:
            options["class_mask"] = np.arange(c) % 4 != 3
        if form["hessian"] == "floor":
            options["hessian_floor"] = 1e-3
        else:
            options["hessian"] = form["hessian"]
        if form["link"]:
            return dataclasses.replace(LINKS[form["link"]], **options)
        return fl.CrossEntropy(**options)

    def call(self, change: Any = np.asarray, logits: Any = None) -> tuple[Any, ...]:
        x = change(self.logits if logits is None else logits)
        mask = {} if self.mask is None else {"class_mask": change(self.mask)}
        if self.verb in UNLABELLED:
            return (getattr(self.loss, self.verb)(x, **mask),)
        y_true = self.y_true
        y_true = tuple(map(change, y_true)) if isinstance(y_true, tuple) else change(y_true)
        if self.verb == "hvp":
            return (self.loss.hvp(y_true, x, change(self.vector), **mask, **self.more),)
        return call(self.loss, self.verb, y_true, x, **mask, **self.more)

    def reference(self, logits: Any) -> Any:
        case = Case("", self.loss, None, partial(cross_entropy, class_mask=self.mask))  # type: ignore[arg-type]
        labels = dense(self.y_true, logits) if isinstance(self.y_true, tuple) else self.y_true
        return expected(case, self.verb, labels, logits, **self.more), case, labels

    def true(self) -> list[tuple[Any, Any]]:
        """Each result and its error."""
        if self.verb in UNLABELLED:
            return [self._unlabelled()]
        true, _, _ = self.reference(self.logits)
        if self.verb == "hvp":
            h = 1e-5
            x, v = (a.astype(np.float64) for a in (self.logits, self.vector))
            ahead, behind = (self.reference(x + step * v)[0].grad for step in (h, -h))
            product = (ahead - behind) / (2 * h)
            # No number of the vector is above 1/4; the product is rounded once when it is stored,
            # and the rest is the error of the difference.
            stored = float(ml_dtypes.finfo(self.logits.dtype).eps) / 2 * abs(product)
            error = 4 * true.grad_error + stored + 1e-9 * abs(true.grad).max()
            return [(product, error)]
        results = [(getattr(true, f), getattr(true, f"{f}_error")) for f in fields_of(self.verb)]
        if self.verb == "grad_hess":
            least = getattr(self.loss, "hessian_floor", None)
            if least is None:
                floored = self.loss.hessian.startswith(("xgboost", "majorizer"))
                least = 1e-16 if floored else -np.inf
            if least > 0:  # and when it is stored
                least = max(least, float(ml_dtypes.finfo(self.logits.dtype).smallest_subnormal))
            hess, error = results[1]
            low = self._counts()[:, None] & (hess < least)
            results[1] = np.where(low, least, hess), error + np.where(low, least * 2.0**-8, 0)
        return results

    def _counts(self) -> Any:
        counts = np.ones(len(self.logits), bool)
        if "sample_weight" in self.more:
            counts &= self.more["sample_weight"] > 0
        if getattr(self.y_true, "ndim", 0) == 1 and self.loss.ignore_index is not None:
            counts &= self.y_true != self.loss.ignore_index
        return counts

    def _unlabelled(self) -> tuple[Any, Any]:
        x = self.logits.astype(np.float64)
        cap = self.loss.softcap
        x = (x if cap is None else cap * np.tanh(x / cap)) / self.loss.temperature
        here = np.ones(x.shape, bool)
        for mask in (self.loss.class_mask, self.mask):
            here &= True if mask is None else np.asarray(mask)
        x = np.where(here, x, -np.inf)
        top = x.max(axis=1, keepdims=True)
        log_sum = -DOUBLE.log(DOUBLE.softmax(x)[0].max(axis=1, keepdims=True))
        gap = cross_entropy(
            DOUBLE,
            fl.CrossEntropy(softcap=cap, temperature=self.loss.temperature),
            self.y_true,
            self.logits,
        ).gap[:, None]
        number = arithmetic(self.loss, self.y_true, self.logits)
        u = max(2.0**-24 if number == FLOAT32 else 2.0**-53, 2.0**-51)
        allowed = (10 + gap) * u
        rounding = ROUNDING[self.logits.dtype.name] if self.logits.dtype in NARROW else 0.0
        least = max(2.0**-24, SMALLEST[self.logits.dtype.name])
        with np.errstate(invalid="ignore"):
            log_p = np.where(here, x - top - log_sum, -np.inf)
        if self.verb == "logsumexp":
            return (top + log_sum)[:, 0], (allowed * (abs(top) + log_sum + gap))[:, 0]
        result = np.exp(log_p) if self.verb == "proba" else log_p
        size = np.where(here, abs(result), 0)
        error = allowed * (size + (self.verb == "log_proba") * (cap or 0)) + rounding * size + least
        return result, error


def assert_all_near(results: tuple[Any, ...], true: list[tuple[Any, Any]]) -> None:
    for result, (value, error) in zip(results, true, strict=True):
        finite = np.isfinite(value)
        np.testing.assert_array_equal(np.asarray(result)[~finite], value[~finite])
        assert_near(
            np.asarray(result)[finite], value[finite], np.broadcast_to(error, value.shape)[finite]
        )


@pytest.fixture
def of_rows(monkeypatch):
    """Has rows of many classes keep their exponentials or not, which depends on the processor."""

    def choose(rows: str) -> None:
        monkeypatch.setattr(long_rows, "keeps", lambda n_classes: rows == "kept")
        forget()

    return choose


def with_odd_logits(logits: Any) -> Any:
    logits = logits.copy()
    logits[1, 1], logits[2, 0], logits[3, 2] = np.nan, -np.inf, np.inf
    return logits


NOT_COMPILED = [("hessian", "dtype"), ("hessian", "labels"), ("hessian", "weight")]


@compiled
@pytest.mark.parametrize(
    "form", compiled_parameters(covering(SOFTMAX_CHOICES, is_legal, NOT_COMPILED), "rows")
)
def test_a_softmax_compiled(form, of_rows):
    """True, in any layout, and as plain Python has it, odd logits included."""
    of_rows(form["rows"])
    many = Softmax(form, 300)
    results, true = many.call(), many.true()
    assert_all_near(results, true)
    for name, change in LAYOUTS.items():
        if (name, form["rows"]) != ("fortran", "few"):  # which has kernels of its own
            assert_bits(many.call(change), results)
    few = Softmax(form, 70 if form["rows"] == "few" else 9)
    true = few.true()
    for logits in (few.logits, with_odd_logits(few.logits)):
        results = few.call(logits=logits)
        with plain_python():
            others = few.call(logits=logits)
        for result, other, (value, error) in zip(results, others, true, strict=True):
            a, b = (np.asarray(x).astype(np.float64) for x in (result, other))
            finite = np.isfinite(a)
            np.testing.assert_array_equal(a[~finite], b[~finite])
            here = finite & np.isfinite(value)
            error = np.broadcast_to(error, value.shape)
            assert_near(a[here], b[here], 2 * error[here])


IN_PLAIN_PYTHON = {
    "layout": list(LAYOUTS),
    "n_rows": [9, 1, 70],
    "hessian": [*SOFTMAX_CHOICES["hessian"], "xgboost", *OF_ALL],
}


@pytest.mark.parametrize("form", parameters(covering(SOFTMAX_CHOICES | IN_PLAIN_PYTHON, is_legal)))
def test_a_softmax_in_plain_python(form, of_rows):
    of_rows(form["rows"])
    softmax = Softmax(form, form["n_rows"] if form["rows"] == "few" else min(form["n_rows"], 9))
    assert_all_near(softmax.call(LAYOUTS[form["layout"]]), softmax.true())


# ---------------------------------------------------------------------------------------------
# Plain Python

# Around the ends of groups and squares.
ROWS_AND_CLASSES = [
    *itertools.product((1, 2, 64, 65, 70, 130), (1, 2, 3, 7, 16, 17)),
    *itertools.product((1, 65), (100, 112, 113, 130)),
]


@pytest.mark.parametrize("case", [SOFTMAX, SOFTMAX_SOFT], ids=str)
@pytest.mark.parametrize("shape", ROWS_AND_CLASSES, ids=str)
def test_rows_that_squares_reach_beyond(case, shape):
    y_true, logits = case.data(shape=shape)
    true = expect(case, y_true, logits, lib=DOUBLE)
    value, grad = case.loss.value_and_grad(y_true, logits)
    assert_near(value, true.value, true.value_error, "value")
    assert_near(grad, true.grad, true.grad_error, "grad")


@compiled
@pytest.mark.long
def test_plain_python_compiles_nothing_and_leaves_what_was_compiled():
    ids, logits = SOFTMAX.data()
    before = fl.cross_entropy.value_and_grad(ids, logits)
    card = fl.evaluate(ids, logits)
    n_kernels = sum(jit.counts.values())
    with plain_python():
        value, grad = fl.cross_entropy.value_and_grad(ids, logits)
        assert value == pytest.approx(before[0], rel=1e-6)
        np.testing.assert_allclose(grad, before[1], rtol=1e-5)
        assert fl.evaluate(ids, logits).loss == pytest.approx(card.loss, rel=1e-6)
    after = fl.cross_entropy.value_and_grad(ids, logits)
    assert_same(after[0], before[0])
    assert_same(after[1], before[1])
    assert sum(jit.counts.values()) == n_kernels


@dataclasses.dataclass(frozen=True)
class WithMath(fl.ElementwiseLoss):
    scale: float = 0.0

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        return math.exp(y_pred) + math.log(y_pred), 1 / self.scale + math.sqrt(y_pred)


def test_functions_of_math_and_divisions_do_not_raise():
    """As compiled, where they give NaN and infinity; and float32 stays float32."""
    y_pred = np.float32([0, 1000, -1, 4])
    losses, grad = WithMath(reduction="none").value_and_grad(np.zeros(4, "f4"), y_pred)
    four = np.float32(4)
    np.testing.assert_array_equal(losses, [-np.inf, np.inf, np.nan, np.exp(four) + np.log(four)])
    np.testing.assert_array_equal(grad, [np.inf, np.inf, np.nan, np.inf])


def with_primitives(number: Any) -> Any:
    """A function of all primitives that are not tested one by one elsewhere."""
    single, one, smallest = np.float32, number(1), number(1e-3)

    def run(x: Any, floats: Any, wholes: Any) -> None:
        n = x.size
        for i in range(n):
            bits = float_as_int(x[i])
            wholes[i] = bits
            wholes[n + i] = float_as_bfloat(single(x[i]))
            wholes[2 * n + i] = smaller(np.int64(i), np.int64(5)) + larger(np.int64(i), np.int64(7))
            wholes[3 * n + i] = np.int64(int_like(bits * 3, x[i]))
            floats[i] = int_as_float(int_like(bits, x[i]))
            floats[n + i] = next_larger(x[i])
            floats[2 * n + i] = select(x[i] > one, x[i], smallest)
            floats[3 * n + i] = larger(select(x[i] == x[i], x[i], one), one)
            floats[4 * n + i] = bfloat_as_float(np.uint16(wholes[n + i]))
        few, part, last = window(x, 2, 3), part_of(x, 1, 4), part_of(x, n // 4, 4)
        parts = windows(x, 3, 2)
        wholes[4 * n] = few.size
        wholes[4 * n + 1] = part.size
        wholes[4 * n + 2] = last.size
        wholes[4 * n + 3] = part_of(x, n, 4).size
        wholes[4 * n + 4] = scratch(single, 5).size
        wholes[4 * n + 5] = len(window((), 3, 4)) + len(part_of((), 3, 4))
        floats[5 * n] = few[1]
        floats[5 * n + 1] = part[3]
        floats[5 * n + 2] = last[0]
        floats[5 * n + 3] = parts[0][2] + parts[1][1]
        floats[5 * n + 4] = elements(x, 4, 3)[2] + elements(few, 1, 2)[0]

    return run


@compiled
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.long
def test_primitives_are_those_of_plain_python(dtype):
    special = [0.0, -0.0, 1.0, -1.5, 1e-40, -1e-45, 3e38, np.inf, -np.inf, np.nan, 1 + 2.0**-8]
    x = np.concatenate([special, np.random.default_rng(0).normal(size=8) * 100]).astype(dtype)
    run = with_primitives(dtype.type)
    results = []
    for function in (run, jit.dispatcher(run)):
        floats, wholes = np.zeros(5 * x.size + 5, dtype), np.zeros(4 * x.size + 6, np.int64)
        with np.errstate(all="ignore"):
            function(x, floats, wholes)
        results.append((floats, wholes))
    (floats, wholes), (compiled_floats, compiled_wholes) = results
    np.testing.assert_array_equal(compiled_wholes, wholes)
    np.testing.assert_array_equal(compiled_floats, floats)
    np.testing.assert_array_equal(np.signbit(compiled_floats), np.signbit(floats))
    n = x.size
    np.testing.assert_array_equal(floats[:n], x)
    np.testing.assert_array_equal(floats[n : n + 7], np.nextafter(x[:7], dtype.type(np.inf)))
    assert wholes[4 * n :].tolist() == [3, 4, n % 4, 0, 5, 0]


def test_the_other_backend_is_plain_python_too(monkeypatch):
    monkeypatch.setattr(_blocks, "LEAST_TASK", 5)
    monkeypatch.setattr(_threads, "get_backend", lambda: "prange")
    ids, logits = SOFTMAX.data(shape=(70, 5))
    true = expect(SOFTMAX, ids, logits, lib=DOUBLE)
    assert_near(fl.CrossEntropy()(ids, logits), true.value, true.value_error)
