"""The table of storage dtypes: that its rows are true, and that nothing else knows them by name."""

import ast
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from house import FILES, name_of, tree_of
from plain import plain

from fastloss.call.arrays import format_of
from fastloss.kernels import storage
from fastloss.kernels.storage import DECODED, FLOATS, STORED, bits_type, dtype_of, kind_of

pytestmark = plain

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("row", STORED.values(), ids=lambda row: row.name)
def test_a_row_of_the_table_is_true(row):
    dtype = dtype_of(row.name)
    assert dtype.name == row.name
    kinds = {"f": "float", "V": "float", "i": "int", "u": "int", "b": "bool"}
    assert row.kind == kind_of(dtype) == kinds[dtype.kind]
    assert bits_type(row.name).itemsize == dtype.itemsize
    assert (dtype.kind == "V") == (row.package != "numpy")
    form = format_of(np.empty(0, dtype), "x")
    assert (form.name, form.kind, form.dtype) == (row.name, row.kind, dtype)
    # Whether float32 holds all numbers: those at the ends, and one that has all digits.
    if row.kind == "float":
        finfo = ml_dtypes.finfo(dtype)
        numbers = np.array([finfo.max, finfo.smallest_subnormal, 1 + finfo.eps], dtype)
        largest = np.array(row.infinity, f"u{dtype.itemsize}").view(dtype).astype(np.float64)
        assert largest in (np.inf, finfo.max)
    else:
        info = np.iinfo(np.uint8 if row.kind == "bool" else dtype)
        numbers = np.array([info.min, info.max], dtype)
    with np.errstate(over="ignore"):
        back = numbers.astype(np.float32).astype(np.float64)
    assert (row.arithmetic == "float32") == (back == numbers.astype(np.longdouble)).all()


def test_the_table_has_all_numbers_of_numpy_but_long_ones():
    codes = "?" + np.typecodes["AllInteger"] + np.typecodes["Float"]
    names = {np.dtype(code).name for code in codes} - {np.dtype(np.longdouble).name}
    assert names | {"bfloat16"} <= set(STORED)


@pytest.mark.parametrize("name", DECODED)
def test_bits_are_decoded_and_encoded_as_their_package_does(name):
    # `test_scalar.py` compares all patterns and all roundings.
    row, dtype = STORED[name], dtype_of(name)
    numbers = np.array([0.0, -1.5, 0.1, 3.0], np.float32)
    bits = numbers.astype(dtype).view(bits_type(name))
    assert [row.encode(number) for number in numbers] == bits.tolist()
    assert [row.decode(each) for each in bits] == numbers.astype(dtype).astype(float).tolist()


def test_no_other_file_knows_what_kernels_decode_by_name():
    """Neither as a text nor as an attribute, `np.float16`; sentences for users may name them."""
    for path in FILES:
        if path == Path(storage.__file__):
            continue
        for node in ast.walk(tree_of(path)):
            known = node.value if isinstance(node, ast.Constant) else getattr(node, "attr", None)
            assert not (isinstance(known, str) and known in DECODED), (
                f"{name_of(path)} names {known} in line {node.lineno}: what it needs to know of "
                "dtypes is to be a field of the table in kernels/storage.py, or to follow from one"
            )


def test_the_page_of_numbers_lists_all_floats():
    page = (ROOT / "docs/numbers.md").read_text(encoding="utf-8")
    listed = page[page.index("- **Dtypes**") : page.index("- **Layouts**")]
    for name in FLOATS:
        assert name in listed, f"docs/numbers.md lists the dtypes of predictions: add {name} there"
