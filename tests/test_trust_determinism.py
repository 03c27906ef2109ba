"""A small part of `make trust NAME=determinism`."""

import pytest

import fastloss as fl
from trust.determinism import _compared, different, hashes

LOSSES = ("cross-entropy, 10 classes", "cross-entropy, 1,000 classes", "squared error")


@pytest.fixture(autouse=True)
def threads_as_before():
    yield
    fl.set_num_threads(None)


@pytest.mark.parametrize("n_threads", [2, 3, 4, 8])
@pytest.mark.long
def test_the_same_bits_in_all_ways(n_threads):
    fl.set_num_threads(1)
    expected = hashes(LOSSES)
    fl.set_num_threads(n_threads)
    assert hashes(LOSSES) == expected
    assert list(different(LOSSES, repeats=2)) == []


def test_other_bits_are_found(monkeypatch):
    results = iter([(1.0, [0.0]), (1.0, [-0.0])])
    monkeypatch.setattr("trust.determinism.WAYS", {"a new array": lambda *_: next(results)})
    assert list(different(LOSSES[2:], repeats=1)) == ["squared error, a new array"]


def test_a_repetition_with_other_bits_is_found(monkeypatch):
    values = iter([1.0, 1.0, 2.0])
    monkeypatch.setattr("trust.determinism.hash_of", lambda value, grad: str(next(values)))
    name = LOSSES[2]
    found = hashes((name,), repeats=3)
    assert found == {name: "1.0 and 2.0"}
    assert _compared(found, {name: "1.0"}) == [name]
