"""Some tests of our peers, with fastloss in their place: `trust/peers.py` runs them all."""

import pytest

from trust import peers
from trust.peer_tests.recorder import NotOffered, instead

# For each peer those that need few kernels, and how many there are at least.
SELECTED = {
    "scikit_learn": ("test_loss_on_specific_values and HalfMultinomial", 4),
    "scipy_special": ("TestLogSoftmax or (test_gh22601 and numpy--inf--inf)", 9),
    "optax_losses": ("SoftmaxCrossEntropyTest and (scalar or batched or axis)", 5),
    "pytorch": ("MSELoss and reduction_mean and float64", 2),
}


@pytest.mark.parametrize("peer", SELECTED)
@pytest.mark.long
def test_of_a_peer(peer):
    pytest.importorskip(peers.PEERS[peer].package)
    selection, at_least = SELECTED[peer]
    tests = peers.run(peer, "-k", selection, seconds=300)
    assert [test for test in tests if peers.verdict(test) != "passed"] == []
    assert len(tests) >= at_least


def test_what_fastloss_has_not_the_peer_answers():
    def ours(number):
        if number < 0:
            raise NotOffered("negative numbers")
        if number > 9:
            raise ValueError("number is 10, but must be a digit")
        if number == 0:
            raise ValueError("a mistake of the adapter")
        return "ours"

    answer = instead(ours, lambda number: "theirs", {"must be a digit": "numbers of two digits"})
    assert [answer(number) for number in (5, -1, 10)] == ["ours", "theirs", "theirs"]
    with pytest.raises(ValueError, match="mistake"):
        answer(0)


def test_a_test_counts_only_for_what_fastloss_answered():
    test = {"test": "one", "outcome": "passed", "why": "", "ours": 1, "left": []}
    tests = [
        test,
        test | {"left": ["masks"]},
        test | {"ours": 0, "left": ["masks"]},
        test | {"test": "two[a]", "ours": 0},
        test | {"test": "three", "outcome": "failed", "why": "1 is not 2"},
        test | {"outcome": "skipped", "why": "no GPU"},
    ]
    found = peers.summary(tests)
    verdicts = ["passed", "in part", "left", "silent", "failed", "skipped"]
    assert found["verdicts"] == dict.fromkeys(verdicts, 1)
    assert found["failures"] == [{"test": "three", "why": "1 is not 2"}]
    assert found["left"] == {"masks": {"in part": 1, "left": 1}}
    assert found["silent"] == {"two": 1}
    assert found["skipped"] == {"no GPU": 1}
    page = peers.page({"optax_losses": {"version": "1", **found}, "pytorch": None})
    assert "| optax 1 | 6 | 1 | 1 | 1 | 1 | 1 | 1 |" in page
    assert "Not installed: PyTorch." in page
