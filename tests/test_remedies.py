"""What messages say to write works when it is written."""

import math
import re
import warnings
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
        value = eval(source, {"np": np, "ml_dtypes": ml_dtypes, **given})
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
        ids = eval(told, {"np": np}, {"labels": given})
        assert ids.tolist() == [0, 1, 0]
        assert entropy(ids, logits)[0] == pytest.approx(math.log(2))


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


@pytest.mark.parametrize("missing", [None, NA(), {}, np.array([1.0, 2.0])], ids=repr)
def test_what_is_missing_is_named(missing):
    array = np.array([[0.5, 0.25]], object)
    array[0, 1] = missing
    with pytest.raises(TypeError, match=re.escape("y_pred[0, 1] is ")) as caught:
        mse(y_pred=array)
    assert "no number" in str(caught.value)
    array[0, 1] = np.nan  # as it says
    (found,) = follow(mse, y_pred=array)
    assert math.isnan(found[0])
    assert found[1][0, 0] == 0.5


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
