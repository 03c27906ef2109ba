"""`fl.evaluate` of each task, and what is said where another one is meant."""

from types import SimpleNamespace

import numpy as np
import pytest
from cards import every_card
from plain import plain

import fastloss as fl

pytestmark = plain


def test_a_task_that_there_is_not_is_told_by_name():
    with pytest.raises(
        ValueError, match=r"there is no task 'bin': there are 'multiclass', 'binary'"
    ):
        fl.evaluate([0], [[1.0, 2.0]], task="bin")


@every_card
def test_a_state_is_refused_if_a_bit_of_it_changed_or_nothing_tells(card, tmp_path):
    kind, options = card.kind, card.options
    seen = card.of(np.s_[:3], **card.given())
    np.savez(tmp_path / "s.npz", **seen.state())
    with np.load(tmp_path / "s.npz") as saved:
        assert kind.from_state(saved, **options).result() == seen.result()
        state = dict(saved)
    for name, array in state.items():
        message = "checksums" if name == "checksums" else f"'{name}' of the state is not what was"
        without = {other: each for other, each in state.items() if other != name}
        with pytest.raises(ValueError, match=message):
            kind.from_state(without, **options)
        with pytest.raises(ValueError, match="damaged"):
            kind.from_state(without | {name: None}, **options)
        if array.size:
            changed = array.copy()
            changed.view(np.uint8).flat[-1] ^= 1
            with pytest.raises(ValueError, match="damaged"):
                kind.from_state(without | {name: changed}, **options)
    del state["checksums"]
    with pytest.raises(ValueError, match="no 'checksums': .* an earlier version, .* with its rows"):
        kind.from_state(state, **options)


class OfPandas:
    """What of a series of pandas with missing values apart is looked at."""

    dtype = SimpleNamespace(numpy_dtype=np.dtype(np.int64))

    def __init__(self, *values):
        self.values = values

    def __arrow_c_stream__(self):
        raise NotImplementedError

    def isna(self):
        return np.array([value is None for value in self.values])

    def to_numpy(self, dtype):
        return np.array(self.values, dtype)


def test_a_number_that_is_missing_in_pandas_is_told_so():
    logits = [[1.0, 0], [0, 2]]
    assert fl.evaluate(OfPandas(1, 0), logits) == fl.evaluate([1, 0], logits)
    assert fl.cross_entropy(OfPandas(1, 0), logits) == fl.cross_entropy([1, 0], logits)
    for call in fl.evaluate, fl.cross_entropy:
        with pytest.raises(ValueError, match=r"\[1\] is missing: leave such rows .*fillna\(0\)"):
            call(OfPandas(1, None), logits)
