"""The results of all forms: the bits that are kept, and what plain Python gives.

Compiled code is looked at by `make test-processors`, for each kind of processor in turn.
"""

import json

import numpy as np
import pytest
import result_hashes
from plain import plain, plain_python
from registry import NARROW, ROUNDING
from result_hashes import FORMS, PLAIN, PLAIN_FEATURES, hash_of, kept, results_of

from fastloss.compiler import processor
from trust.kinds import compiled_for

HINT = "to keep these: python -m tests.result_hashes --write"
# Form by form, whatever is tested: one process then compiles a kernel for all its tests.
forms = pytest.mark.parametrize("name", FORMS, scope="module")
each_processor = pytest.mark.each_processor


def assert_bits(name, kind):
    known = kept().get(kind, {})
    if name not in known and kind != PLAIN:
        pytest.skip(f"no hash is kept for {kind}; {HINT}")
    assert hash_of(results_of(name)) == known.get(name), (
        f"{name} has other bits than are kept for {kind}; {HINT}"
    )


@plain
@forms
def test_bits_in_plain_python(name, monkeypatch):
    monkeypatch.setattr(processor, "_features", lambda: PLAIN_FEATURES)
    assert_bits(name, PLAIN)


@each_processor
@forms
def test_bits_of_compiled_code(name):
    assert_bits(name, compiled_for())


def steps(name, dtype):
    """The distance of 1 to the next number of the arithmetic, or of what is stored."""
    if dtype in NARROW:
        return 2 * ROUNDING[dtype.name]
    return float(np.finfo(np.float64 if "float64" in name else np.float32).eps)


@each_processor
@forms
def test_compiled_code_agrees_with_plain_python(name):
    """To the last digits of small numbers, too, where no terms of both signs meet."""
    compiled = results_of(name)
    with plain_python():
        expected = results_of(name)
    for actual, right in zip(map(np.asarray, compiled), map(np.asarray, expected), strict=True):
        assert (actual.dtype, actual.shape) == (right.dtype, right.shape)
        if right.dtype.kind == "i":
            np.testing.assert_array_equal(actual, right)
            continue
        step = steps(name, right.dtype)
        wide = right.astype(np.float64)
        # Smoothed and soft labels take from what probabilities give, and there all terms count.
        alone = "class ids" in name and "options" not in name
        largest = 0.0 if alone else abs(wide[np.isfinite(wide)]).max(initial=0.0)
        np.testing.assert_allclose(
            actual.astype(np.float64), wide, rtol=16 * step, atol=16 * step * largest
        )


def test_other_bits_have_another_hash():
    numbers = np.array([0.0, 1.0])
    assert hash_of([numbers]) == hash_of([numbers.copy()])
    for other in ([0.0, np.nextafter(1.0, 2.0)], [-0.0, 1.0], [[0.0, 1.0]]):
        assert hash_of([np.array(other)]) != hash_of([numbers])
    assert hash_of([numbers.astype("f4")]) != hash_of([numbers])
    odd = np.array([np.nan, np.inf])
    assert hash_of([odd]) == hash_of([-odd * [1, -1]])  # a NaN of the other sign


def test_what_other_processors_gave_is_forgotten_where_code_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(result_hashes, "PLACE", tmp_path / "kept.json")
    monkeypatch.setattr(result_hashes, "measured", lambda: {"here": {"a": "1", "b": "2"}})
    before = {"here": {"a": "0", "b": "2"}, "there": {"a": "5", "b": "6"}}
    result_hashes.PLACE.write_text(json.dumps(before))
    assert result_hashes.main([]) == 1
    assert kept() == before
    assert result_hashes.main(["--write"]) == 0
    assert kept() == {"here": {"a": "1", "b": "2"}, "there": {"b": "6"}}
    assert result_hashes.main([]) == 0
