"""What messages say to write works when it is written."""

import math
import re
import warnings
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from plain import plain

import fastloss as fl

pytestmark = plain

TWO = [[0.5, 0.25]]
LOGITS = [[2.0, 0.0]]


def remedies(message: str) -> list[str]:
    """The expressions that a message tells to write."""
    _, _, told = message.partition("write ")
    assert told, message
    return [part.strip() for part in re.split(r", or, without a copy, |, or, [^,]*names, ", told)]


def follow(call: Any, error: type[Exception] = TypeError, **given: Any) -> list[Any]:
    """Call with the arguments, which must fail, and with the first that it says to write instead.

    All that is told is written down, too: it must be something.
    """
    with pytest.raises(error) as caught:
        call(**given)
    message = str(caught.value)
    found = []
    for told in remedies(message):
        expression = re.match(r"[\w.]+\(.*?\)+(?:\.[a-z_]+\([^()]*\))*(?:\[[^\]]*\])?", told)
        name = next(name for name in given if name in told)
        assert expression or told.startswith("["), told
        source = told[: told.rindex("]") + 1] if not expression else expression.group()
        value = eval(source, {"np": np, "ml_dtypes": ml_dtypes, "fastloss": fl, **given})
        found.append(call(**{**given, name: value}))
    return found


def mse(
    y_true: Any = ((0.0, 0.0),), y_pred: Any = ((0.5, 0.25),), sample_weight: Any = None
) -> Any:
    return fl.mse.value_and_grad(y_true, y_pred, sample_weight=sample_weight)


def entropy(labels: Any, logits: Any = LOGITS, loss: Any = fl.cross_entropy) -> Any:
    return loss.value_and_grad(labels, logits)


NEGATIVE = 0.15625  # of the errors 0.5 and 0.25


# ---------------------------------------------------------------------------------------------
# Numbers of other kinds


@pytest.mark.parametrize(
    "y_pred",
    [
        np.array(TWO, complex),
        [[0.5 + 0j, 0.25]],
        np.array([["0.5", "0.25"]]),
        [["0.5", "0.25"]],
        np.array([[b"0.5", b"0.25"]]),
        np.array(TWO, object),
        np.array([["0.5", 0.25]], object),
        np.array(TWO, np.longdouble),
        np.array(TWO).view("V8"),
        np.array(TWO, np.float32).view("V4"),
        np.array(TWO, ml_dtypes.bfloat16).view("V2"),
        np.array(TWO).astype(ml_dtypes.float8_e4m3fn),
        np.array([[1, 0]], ml_dtypes.int4),
        np.array([[1, 0]], "m8[s]"),
        np.array([["1970-01-02", "1970-01-01"]], "M8[D]"),
    ],
    ids=lambda a: f"{type(a).__name__}-{getattr(a, 'dtype', '')}",
)
def test_numbers_of_another_kind(y_pred):
    if getattr(y_pred, "dtype", None) == np.longdouble == np.float64:
        pytest.skip("longdouble is float64 on this system")
    found = follow(mse, y_pred=y_pred)[0]
    assert found[0] == (0.5 if str(getattr(y_pred, "dtype", ""))[:4] in _ONES else NEGATIVE)


_ONES = ("int4", "time", "date")


def test_strings_become_class_ids():
    names = ["cat", "dog", "cat"]
    logits = np.zeros((3, 2))
    for given in (names, np.array(names), np.array(names, object)):
        with pytest.raises(TypeError) as caught:
            entropy(given, logits)
        told = remedies(str(caught.value))[1]
        ids = eval(told, {"fastloss": fl}, {"labels": given})
        assert ids.tolist() == [0, 1, 0]
        assert entropy(ids, logits)[0] == pytest.approx(math.log(2))


def test_dictionaries_of_classes():
    logits = [[2.0, 0.0], [1.0, 0.0]]

    def call(class_weight: Any) -> Any:
        return fl.CrossEntropy(class_weight=class_weight)([0, 1], logits)

    assert follow(call, class_weight={1: 1.0, 0: 3.0}) == [call([3.0, 1.0])]


def test_fields():
    records = np.array([[(0.5, 7.0), (0.25, 8.0)]], [("a", float), ("b", float)])
    with pytest.raises(TypeError) as caught:
        mse(y_pred=records)
    field, several = re.findall(
        r"np\.asarray\(y_pred\)\['a'\]|np\.stack\(.*axis=-1\)", str(caught.value)
    )
    assert mse(y_pred=eval(field, {"np": np, "y_pred": records}))[0] == NEGATIVE
    stacked = eval(several, {"np": np, "y_pred": records})
    assert stacked.tolist() == [[[0.5, 7.0], [0.25, 8.0]]]
    assert mse(y_true=stacked, y_pred=stacked)[0] == 0


class Sparse:
    """As SciPy's, of which NumPy makes an array of one object."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def toarray(self) -> Any:
        return self.array


class SparseThatRefuses(Sparse):
    """As that of pydata, which has another name for it."""

    toarray = None  # type: ignore[assignment]

    def todense(self) -> Any:
        return self.array


def test_sparse_arrays():
    del SparseThatRefuses.toarray
    scipy_sparse = pytest.importorskip("scipy.sparse")
    for sparse in (
        Sparse(np.array(TWO)),
        scipy_sparse.csr_array(TWO),
        scipy_sparse.csr_matrix(TWO),
    ):
        assert follow(mse, y_pred=sparse)[0][0] == NEGATIVE
        assert follow(mse, y_true=sparse)[0][0] == 0


# ---------------------------------------------------------------------------------------------
# Things that are no numbers


class NA:
    """As that of pandas."""

    def __repr__(self) -> str:
        return "<NA>"

    def __float__(self) -> float:
        raise TypeError("float() argument must be a string or a real number, not 'NAType'")


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        *((value, "no number") for value in (None, NA(), {}, np.array([1.0, 2.0]))),
        *((value, "beyond all numbers") for value in (10**400, -Fraction(10**400))),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_missing_is_named(missing, what):
    array = np.array([[0.5, 0.25]], object)
    array[0, 1] = missing
    with pytest.raises(TypeError, match=re.escape("y_pred[0, 1] is ")) as caught:
        mse(y_pred=array)
    assert what in str(caught.value)
    array[0, 1] = np.nan  # as it says
    (found,) = follow(mse, y_pred=array)
    assert math.isnan(found[0])
    assert found[1][0, 0] == 0.5


def test_a_weight_that_is_missing():
    weight = np.array([[1.0, None]], object)
    with pytest.raises(TypeError, match="put one there, as 0 if it is to be left out"):
        mse(sample_weight=weight)
    weight[0, 1] = 0  # as it says
    assert follow(mse, sample_weight=weight)[0][0] == 0.25


def test_class_ids_that_are_floats():
    logits = np.zeros((3, 2))
    for labels in ([0.0, 1.0, 1.0], np.array([0.0, 1.0, 1.0], np.float16)):
        (found,) = follow(entropy, labels=labels, logits=logits)
        assert found[0] == pytest.approx(math.log(2))
    labels = np.array([0.0, math.nan, 1.0])
    ignoring = fl.CrossEntropy(ignore_index=-100)
    with pytest.raises(TypeError, match="build the loss with ignore_index=-100") as caught:
        entropy(labels, logits)
    told = re.search(r"np\.where.*np\.int64\)", str(caught.value))
    with np.errstate(invalid="raise"):
        ids = eval(told.group(), {"np": np}, {"labels": labels})
    assert ids.tolist() == [0, -100, 1]
    assert entropy(ids, logits, ignoring)[0] == pytest.approx(math.log(2))


# ---------------------------------------------------------------------------------------------
# Masks


M = np.ma.array([1.0, 2.0], mask=[0, 1])


@pytest.mark.parametrize(
    "nested",
    [
        M,
        [M],
        (M,),
        [[M]],
        [np.array([0.0, 1.0]), M],
        [1.0, np.ma.masked],
        [[0.0, 1.0], [1.0, np.ma.masked]],
        np.array([M, None], object)[:1],
        [np.array([M, None], object)[:1]],
    ],
    ids=str,
)
def test_masks_are_not_forgotten(nested):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (
            lambda: fl.mse(nested, [[1.0, 9.0]]),
            lambda: fl.mse([[1.0, 9.0]], nested),
            lambda: fl.mse([[1.0, 9.0]], [[1.0, 9.0]], sample_weight=nested),
            lambda: fl.CrossEntropy(class_weight=nested),
            lambda: fl.Focal(alpha=nested),
        ):
            with pytest.raises(TypeError, match=r"mask would be lost: write .*filled\(0\)"):
                call()


def test_masks_that_are_filled():
    """As the message says, and as the mean over what is not masked."""
    weight = ~np.ma.getmaskarray(M) * 1.0
    assert fl.mse(M.filled(0), [3.0, 9.0], sample_weight=weight) == 4.0
    assert fl.mse([x.filled(0) for x in [M]], [[3.0, 9.0]], sample_weight=[weight]) == 4.0


def test_lists_that_hold_themselves():
    ring: list[Any] = [1.0]
    ring.append(ring)
    with pytest.raises((TypeError, ValueError), match="y_pred"):
        fl.mse([1.0], ring)


# ---------------------------------------------------------------------------------------------
# Tensors


class Tensor:
    """As one of PyTorch, with what it says where NumPy cannot read it."""

    layout, is_quantized, device = "torch.strided", False, None

    def __init__(self, numbers: Any, dtype: str = "torch.float32", grad: bool = False) -> None:
        self.numbers, self.dtype, self.requires_grad = numbers, dtype, grad

    def detach(self) -> "Tensor":
        return Tensor(self.numbers, self.dtype)

    def float(self) -> "Tensor":
        return Tensor(self.numbers, grad=self.requires_grad)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.dtype != "torch.float32":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.array(self.numbers, np.float32)


def tensor_kinds() -> list[Any]:
    kinds = [
        Tensor(TWO, grad=True),
        Tensor(TWO, "torch.bfloat16"),
        Tensor(TWO, "torch.bfloat16", True),
    ]
    try:
        import torch
    except ImportError:
        return kinds
    return [
        *kinds,
        torch.tensor(TWO, requires_grad=True),
        torch.tensor(TWO).bfloat16(),
        torch.tensor(TWO).bfloat16().requires_grad_(),
        torch.tensor(TWO).to(torch.float8_e5m2),
        torch.tensor(TWO).to_sparse().requires_grad_(),
    ]


@pytest.mark.parametrize("tensor", tensor_kinds(), ids=lambda t: f"{t.dtype}-{t.requires_grad}")
def test_tensors_that_numpy_cannot_read(tensor):
    (found,) = follow(mse, y_pred=tensor)
    assert found[0] == NEGATIVE
    (found,) = follow(mse, y_true=tensor)
    assert found[0] == 0


def test_lists_of_tensors():
    rows = [Tensor(TWO[0], "torch.bfloat16", True), Tensor(TWO[0], "torch.bfloat16", True)]
    (found,) = follow(mse, y_true=np.zeros((2, 2)), y_pred=rows)
    assert found[0] == NEGATIVE


def test_tensors_that_numpy_can_read():
    assert mse(y_pred=Tensor(TWO))[0] == NEGATIVE


def test_arrays_that_refuse():
    class Traced:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("a traced array has no values")

    with pytest.raises(TypeError, match="y_pred cannot be made an array: a traced array"):
        mse(y_pred=Traced())


# ---------------------------------------------------------------------------------------------
# Shapes, labels and masks


def test_shapes():
    for y_true in ([0.0, 0.0], np.zeros((2, 1))):
        (found,) = follow(mse, ValueError, y_true=y_true, y_pred=TWO)
        assert found[0] == NEGATIVE


def test_columns_of_class_ids():
    logits = np.zeros((2, 2))
    for labels in (np.array([[0], [1]]), [[[0, 1]]], np.eye(2).ravel()):
        (found,) = follow(entropy, ValueError, labels=labels, logits=logits)
        assert found[0] == pytest.approx(math.log(2))


def test_one_hot_labels():
    focal, margin = fl.focal, fl.multi_margin
    for loss, name in ((focal, "labels"), (margin, "y_true")):

        def call(loss: Any = loss, **given: Any) -> Any:
            return loss.value_and_grad(given.popitem()[1], LOGITS)

        expected = loss([0], LOGITS)
        (found,) = follow(call, ValueError, **{name: [[1.0, 0.0]]})
        assert found[0] == expected


def test_masks_of_classes():
    def call(class_mask: Any) -> Any:
        return fl.cross_entropy.value_and_grad([0], LOGITS, class_mask=class_mask)

    assert follow(call, class_mask=[[1, 0]])[0][0] == 0
    with pytest.raises(ValueError, match=r"CrossEntropy\(class_mask=\.\.\.\)"):
        call([True, False])
    assert fl.CrossEntropy(class_mask=[True, False])([0], LOGITS) == 0


def test_pairs():
    def call(ids: Any, probabilities: Any) -> Any:
        return fl.cross_entropy.value_and_grad((ids, probabilities), LOGITS)

    expected = fl.cross_entropy([0], LOGITS)
    assert follow(call, ids=[[0.0]], probabilities=[[1.0]])[0][0] == pytest.approx(expected)
    assert follow(call, ids=[[0]], probabilities=[[1]])[0][0] == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------
# Numbers out of range, and what goes with them


def told(call: Any, *texts: str, error: type[Exception] = ValueError) -> str:
    """What a call says that must fail: all of these."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for text in texts:
        assert text in message, message
    return message


LN2 = pytest.approx(math.log(2))
TIED = [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "make", [fl.CrossEntropy, fl.Focal, fl.PolyCrossEntropy, fl.MultiMargin], ids=str
)
def test_marks_of_rows_to_be_skipped(make):
    labels = [1, -100]
    told(
        lambda: make()(labels, TIED),
        "[1] is -100, but class ids go from 0 to 1",
        "marked by ignore_index, which is None: build the loss with the mark that your labels have",
    )
    told(lambda: make(ignore_index=-1)(labels, TIED), "ignore_index, which is -1: build")
    assert make(ignore_index=-100)(labels, TIED) == make()([1], TIED[:1])


def test_rows_to_be_skipped_where_there_are_no_marks():
    halves, loss = [[0.5, 0.5], [0.1, 0.9]], fl.categorical_cross_entropy
    told(lambda: loss([1, -100], halves), "give rows to be skipped any of them, and the weight 0")
    assert loss([1, 0], halves, sample_weight=[1, 0]) == LN2
    ids, probabilities = [[0, 1], [1, -100]], [[0.5, 0.5], [1.0, 0.0]]
    told(
        lambda: fl.CrossEntropy(ignore_index=-100)((ids, probabilities), TIED),
        "labels[0][1, 1] is -100",
        "a class that a row lacks may be any of them, with the probability 0",
    )
    assert fl.cross_entropy(([[0, 1], [1, 1]], probabilities), TIED) == LN2


def test_classes_that_a_mask_rules_out():
    mask, logits = [True, False, True], np.zeros((2, 3))
    ruled_out = fl.CrossEntropy(class_mask=mask)
    told(
        lambda: ruled_out([0, 1], logits),
        "[1] is 1, a class that class_mask rules out: let it in, or give such rows the weight 0",
    )
    assert fl.cross_entropy([0, 1], logits) == pytest.approx(math.log(3))
    assert ruled_out([0, 2], logits, sample_weight=[1, 0]) == LN2


@pytest.mark.parametrize(
    "loss", [fl.hinge, fl.binary_cross_entropy_with_logits, fl.binary_focal], ids=str
)
def test_labels_of_minus_one_and_one(loss):
    y_true, logits = np.array([-1, 1, -1]), [0.5, 2.0, -3.0]
    message = told(lambda: loss(y_true, logits), "y_true[0] is -1.0, but must lie between 0 and 1")
    expression = re.search(r"write (.*) if they are labels of -1 and 1", message)
    labels = eval(expression.group(1), {"np": np, "y_true": y_true})
    assert loss(labels, logits) == loss([0, 1, 0], logits)


def test_class_ids_of_minus_one_and_one():
    labels, logits = np.array([1, -1, 1]), np.array([[0.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
    message = told(lambda: fl.cross_entropy(labels, logits), "labels[1] is -1, but class ids go")
    expression = re.search(r"write (.*) if they are labels of -1 and 1", message)
    ids = eval(expression.group(1), {"np": np, "labels": labels})
    assert fl.cross_entropy(ids, logits) == fl.cross_entropy([1, 0, 1], logits)
    told(
        lambda: fl.cross_entropy([0, -1], logits[:2]),
        "labels[1] is -1, but class ids",
        "ignore_index",
    )


class DMatrix:
    """As XGBoost's, and LightGBM's Dataset."""

    def get_label(self) -> Any:
        return np.array([1.0, 0.0])


def test_what_boosters_keep_data_in():
    dtrain, predictions = DMatrix(), np.array([0.5, 2.0])
    swapped = fl.binary_cross_entropy_with_logits.grad_hess
    for call in (lambda: swapped(predictions, dtrain), lambda: swapped(dtrain, predictions)):
        with pytest.raises(TypeError, match="is a DMatrix, .* labels come first") as caught:
            call()
        (source,) = re.findall(r"write (\w+\.get_label\(\))", str(caught.value))
        labels = eval(source, {"logits": dtrain, "y_true": dtrain})
        assert swapped(labels, predictions)[0].shape == (2,)


@pytest.mark.parametrize(
    ("call", "given", "name", "limits"),
    [
        (fl.binary_cross_entropy, ([1.0, 0.0], [0.5, 50.0]), 1, (0, 1)),
        (fl.kl_divergence, ([[0.5, 0.5]], [[1.1, 0.2]]), 1, (0, 1)),
        (fl.dice, ([[2.0, 0.0]], [[0.5, 0.5]]), 0, (0, 1)),
        (fl.cross_entropy, ([[1.5, 0.0]], [[0.0, 0.0]]), 0, (0, 1)),
        (fl.poisson, ([-0.5, 1.0], [0.0, 0.0]), 0, (0, None)),
        (fl.Gamma(log_input=False), ([1.0], [-0.5]), 1, (0, None)),
        (fl.msle, ([0.0], [-3.0]), 1, (-1, None)),
    ],
)
def test_numbers_out_of_range_are_clipped(call, given, name, limits):
    what = call.names[name]
    told(lambda: call(*given), f"{what}[", "clip them yourself")
    arrays = [np.array(array) for array in given]
    arrays[name] = np.clip(arrays[name], *limits)
    assert not math.isnan(call(*arrays))


def test_variances():
    y_true, y_pred = [1.0, 2.0], np.array([[1.0, 1.0], [2.0, 0.0]])
    told(
        lambda: fl.gaussian_nll(y_true, y_pred),
        "y_pred[1, 1] is 0.0, but is a variance",
        "predict its logarithm, with log_variance=True, or clip it yourself",
    )
    assert fl.GaussianNLL(log_variance=True)(y_true, y_pred) == 0.25
    y_pred[:, 1] = y_pred[:, 1].clip(1.0)
    assert fl.gaussian_nll(y_true, y_pred) == 0


def test_weights():
    for weight in ([-1.0, 1.0], [math.nan, 1.0], [math.inf, 1.0]):
        told(
            lambda weight=weight: fl.mse([0.0, 0.0], [9.0, 1.0], sample_weight=weight),
            "sample_weight[0] is",
            "give what is to be left out the weight 0",
        )
    assert fl.mse([0.0, 0.0], [9.0, 1.0], sample_weight=[0.0, 1.0]) == 1
    told(lambda: mse(sample_weight=[[1.0], [1.0]]), "expected shape (1, 2)")
    assert mse(sample_weight=np.ones((1, 2)))[0] == NEGATIVE


def test_normalizers():
    summed = fl.SquaredError(reduction="sum")
    told(
        lambda: summed([0.0], [3.0], normalizer=2),
        'leave normalizer= away, or build it with "mean"',
    )
    assert summed([0.0], [3.0]) == 9
    assert fl.mse([0.0], [3.0], normalizer=2) == 4.5
    for bad in (0, -1, math.nan, math.inf, 10**400, -(10**400), Fraction(1, 10**400)):
        told(lambda bad=bad: fl.mse([0.0], [3.0], normalizer=bad), "must be positive and finite")
    for bad in ("2", True, [2]):
        told(lambda bad=bad: fl.mse([0.0], [3.0], normalizer=bad), "a number", error=TypeError)


def test_outputs():
    y_true, y_pred = np.zeros(4), np.arange(4.0)
    expected = fl.mse.grad(y_true, y_pred)
    frozen, half = np.empty(4), np.empty(4, np.float16)
    frozen.flags.writeable = False
    around = np.zeros(6)
    for out, *texts in (
        (np.empty(3), "out has shape (3,), but the result has shape (4,)"),
        (half, "out has dtype float16, but the result has dtype float64"),
        (frozen, "out is read-only: pass an array that can be written"),
        (np.broadcast_to(0.0, 4), "out"),
        (around[:4], "out overlaps the memory of y_pred: pass memory of its own, or y_pred itself"),
        ([0.0] * 4, "out must be a numpy array, got list"),
    ):
        given = around[2:] if isinstance(out, np.ndarray) and out.base is around else y_pred
        given[:] = np.arange(4.0)
        error = TypeError if isinstance(out, list) or out is half else ValueError
        told(lambda g=given, o=out: fl.mse.grad(y_true, g, out=o), *texts, error=error)
        np.testing.assert_array_equal(fl.mse.grad(y_true, given, out=np.empty(4)), expected)
        np.testing.assert_array_equal(fl.mse.grad(y_true, given, out=given), expected)
    told(
        lambda: fl.mse(y_true, np.arange(4.0), out=np.empty(4)),
        'leave out= away, or build the loss with reduction="none"',
    )
    out = np.empty(4)
    assert fl.SquaredError(reduction="none")(y_true, np.arange(4.0), out=out) is out
    told(
        lambda: fl.mse.grad_hess(y_true, y_pred, out=out),
        "out must be a pair of arrays (grad, hess)",
        error=TypeError,
    )
    grad, hess = fl.mse.grad_hess(y_true, np.arange(4.0), out=(out, np.empty(4)))
    np.testing.assert_array_equal(grad, expected)
    np.testing.assert_array_equal(hess, 0.5)


def test_dask_arrays():
    dask = pytest.importorskip("dask")
    import dask.array as da

    from fastloss.dask import value

    labels, logits = np.array([0, 1, 1]), np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]])
    expected = pytest.approx(fl.cross_entropy(labels, logits))

    def follow_in(error: type[Exception], name: str, **given: Any) -> None:
        def call(labels: Any = labels, logits: Any = logits) -> Any:
            return value(fl.cross_entropy, labels, logits)

        message = told(lambda: call(**given), "write ", error=error).replace(", chunks=...", "")
        expression = re.search(r"write ([\w.]+\([^()]*\))", message)
        following = eval(expression.group(1), {"dask": dask, name: given[name]})
        assert call(**{**given, name: following}).compute() == expected

    whole, unknown = da.from_array(logits, chunks=(2, 2)), da.from_array(labels, chunks=2)
    follow_in(ValueError, "logits", logits=da.from_array(logits, chunks=(2, 1)))
    follow_in(ValueError, "logits", logits=whole[(whole > -1).all(axis=1)])
    follow_in(ValueError, "labels", labels=unknown[unknown >= 0], logits=whole)
    follow_in(TypeError, "logits", logits=logits)
