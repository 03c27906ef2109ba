"""Class ids of labels of any kind."""

import ml_dtypes
import numpy as np
import pytest
from plain import plain

import fastloss as fl

WHOLE = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.uint64, object, ">f4"]


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_whole_numbers(dtype):
    y = np.array([[2, 0], [7, 2]]).astype(dtype)
    ids, classes = fl.class_ids(y)
    assert ids.dtype == np.int64
    assert ids.tolist() == [[1, 0], [2, 1]]
    assert classes.dtype.kind in "iu"
    assert classes.tolist() == [0, 2, 7]
    same, as_given = fl.class_ids(y, 8)
    assert same.dtype == np.int64
    assert same.tolist() == y.tolist()
    assert as_given.tolist() == list(range(8))


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b"],
        np.array(["b", "a", "b"], object),
        np.array([b"b", b"a", b"b"]),
        [True, False, True],
        np.array([True, False, True], object),
        [1, -1, 1],
    ],
    ids=repr,
)
def test_kinds(y):
    ids, classes = fl.class_ids(y)
    assert ids.tolist() == [1, 0, 1]
    assert classes[ids].tolist() == np.asarray(y).tolist()
    reverse = classes[::-1]
    ids, classes = fl.class_ids(y, reverse)
    assert ids.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(classes, reverse)


def test_numbers_that_float64_would_round():
    y = np.array([2**53, 2**53 + 1, -(2**62) - 1], object)
    for labels in (y, y.astype(np.int64)):
        ids, classes = fl.class_ids(labels)
        assert ids.tolist() == [1, 2, 0]
        assert classes.tolist() == sorted(y.tolist())
        assert fl.class_ids(labels, y)[0].tolist() == [0, 1, 2]
    for large in (2**63, 10**400, -(10**400)):
        with pytest.raises(ValueError, match=rf"y\[1\] is {large}, which int64 cannot hold"):
            fl.class_ids(np.array([1, large], object))


def test_a_single_label():
    for y, classes in (("b", ["a", "b"]), (np.array(1.0), 2), (True, [False, True])):
        ids, _ = fl.class_ids(y, classes)
        assert type(ids) is np.ndarray
        assert (ids.shape, ids.dtype, ids.item()) == ((), np.int64, 1)


def test_strings_of_any_length():
    of_any = np.dtypes.StringDType
    y = np.array(["b", "a", "b"], of_any())
    ids, classes = fl.class_ids(y)
    assert ids.tolist() == [1, 0, 1]
    assert classes.tolist() == ["a", "b"]
    for labels, given in ((y, ["b", "a"]), (y.tolist(), y[:2]), (y, y[:2])):
        assert fl.class_ids(labels, given)[0].tolist() == [0, 1, 0]
    for missing in (None, np.nan):
        with pytest.raises(ValueError, match=rf"y\[1\] is {missing}, which is no label"):
            fl.class_ids(np.array(["a", missing], of_any(na_object=missing)))


@plain
def test_they_are_labels_of_a_loss():
    x = np.zeros((3, 3))
    ids, _ = fl.class_ids(np.array([0.0, 2.0, 1.0], np.float32), 3)
    assert fl.cross_entropy(ids, x) == pytest.approx(np.log(3))


def test_nothing():
    ids, classes = fl.class_ids([])
    assert ids.shape == classes.shape == (0,)
    ids, classes = fl.class_ids(np.zeros((0, 2), np.float32), ["a", "b"])
    assert ids.shape == (0, 2)
    assert ids.dtype == np.int64


@pytest.mark.parametrize(
    ("y", "classes", "error", "why"),
    [
        ([0.0, 0.5], None, ValueError, r"y\[1\] is 0.5, but labels of classes are whole.*str"),
        ([0.0, np.nan], None, ValueError, r"y\[1\] is nan, .*: leave such rows out"),
        ([[0.0, np.inf]], None, ValueError, r"y\[0, 1\] is inf, .*: leave such rows out"),
        ([1e300], None, ValueError, r"y\[0\] is 1e\+300"),
        (np.array([2**63], np.uint64), None, ValueError, r"y\[0\] is 9223372036854775808"),
        ([np.iinfo(np.int64).max, 2.0**63], None, ValueError, r"y\[0\] is 9.2.*int64 cannot hold"),
        (np.array([1, 0.5], object), None, ValueError, r"y\[1\] is 0.5, but labels"),
        (np.array([1, np.nan], object), None, ValueError, r"y\[1\] is nan, .*: leave such rows"),
        ([b"a"], ["a"], TypeError, "y has bytes and classes has strings"),
        ([0, 3], 3, ValueError, r"y\[1\] is 3, which is none of the 3 classes: leave"),
        ([0.0, -1.0], 3, ValueError, r"y\[1\] is -1, which is none of the 3"),
        (["a", "c"], ["a", "b"], ValueError, r"y\[1\] is 'c', which is none of the 2 classes"),
        (["a"], [0, 1], TypeError, "y has strings and classes has numbers"),
        ([0], ["a"], TypeError, "y has numbers and classes has strings"),
        ([0], [0, 1, 0.0], ValueError, "classes has 0 more than once"),
        ([0], [[0, 1]], ValueError, r"classes has shape \(1, 2\)"),
        ([0], 0, ValueError, "classes is 0"),
        ([0], [], ValueError, r"classes has shape \(0,\)"),
        ([0], [0.0, 0.5], ValueError, r"classes\[1\] is 0.5"),
        (np.array(["a", None]), None, ValueError, r"y\[1\] is None, which is no label"),
        (np.array(["a", np.nan], object), None, ValueError, r"y\[1\] is nan, which is no label"),
        (
            np.array(["a", 1], object),
            None,
            TypeError,
            r"y\[0\] of str and y\[1\] of int are labels",
        ),
        (np.array(["2020-01-01"], "M8[D]"), None, TypeError, "dtype datetime64.*astype\\(str\\)"),
        ([1j], None, TypeError, "dtype complex128"),
        (np.ma.masked_array([1, 2], [0, 1]), None, TypeError, "masked"),
        (np.array([{1}], object), None, TypeError, r"y\[0\] of set are labels"),
    ],
    ids=repr,
)
def test_errors(y, classes, error, why):
    with pytest.raises(error, match=why):
        fl.class_ids(y, classes)


def test_remedies():
    assert fl.class_ids(np.asarray([0.0, 0.5]).astype(str))[0].tolist() == [0, 1]
    for y in ([1.0, np.nan, 2.0], np.array([1, np.nan, 2], object)):
        kept = np.asarray(y)[np.isfinite(np.asarray(y, np.float64))]
        assert fl.class_ids(kept)[0].tolist() == [0, 1]
    y = np.array(["a", 1], object)
    assert fl.class_ids(np.array([str(label) for label in y]))[1].tolist() == ["1", "a"]
