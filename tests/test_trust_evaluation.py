"""What evaluation of files survives: a part of the experiment, and that it finds what is lost."""

import os
import shutil

import pytest

from fastloss import cli
from trust import evaluation

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Python 3.12: fork with threads
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """No mounts, and what other tests compile, too."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in evaluation.CASES.keys() - {"as it is", "report and rows"}:
        monkeypatch.delitem(evaluation.CASES, name)


def test_every_option_is_tried(monkeypatch):
    monkeypatch.undo()
    given = {each for case in evaluation.CASES.values() for each in case if each.startswith("--")}
    given |= {"--json", "--state", "--resume"}  # which the experiment adds itself
    verbs = cli._parser()._subparsers._group_actions[0].choices
    for verb in ("evaluate", "compare"):
        options = {each for action in verbs[verb]._actions for each in action.option_strings}
        assert options - {"-h", "--help"} <= given


@pytest.mark.parametrize(
    ("section", "outcome"),
    [
        (lambda: evaluation.signals(8), "a partial result"),
        (lambda: evaluation.kills(1)["report and rows"], "resumed to the same bytes"),
        (lambda: evaluation.full_disk(8), "all results printed, not all written"),
    ],
    ids=["signals", "kills", "full disk"],
)
@pytest.mark.long
def test_nothing_is_lost(section, outcome):
    found = section()
    assert found["lost"] == []
    assert found["outcomes"][outcome] > 0


def test_what_is_lost_is_found():
    arguments = [*evaluation.CASES["report and rows"], "--json"]
    with evaluation.bench() as place:
        out, left, _ = place.whole(arguments)
        ended = evaluation.run(place.folder, arguments)
        assert evaluation.same("", place, ended, out, left) == []
        assert "what is printed" in evaluation.same("", place, ended, out[1:], left)[0]
        (place.folder / "r.html").write_text("stub")
        (place.folder / "more").touch()
        (place.folder / "logits.npy").write_bytes(b"")
        found = evaluation.same("", place, ended, out, left)
        assert found == [": r.html is not the same", ": more was left"]
        assert place.wrong() == ["input logits.npy changed"]
        ended = evaluation.run(place.folder, arguments)
        assert "status 2" in evaluation.same("", place, ended, out, left)[0]
        lost = evaluation._partial(place, evaluation.Ended(130, out, ""), left)
        assert any("says complete" in each for each in lost)


def test_the_page_says_what_was_lost():
    one = {"tries": 3, "outcomes": {"refused": 3}, "lost": []}
    result = dict.fromkeys(("signals", "others", "full_disk", "planted"), one)
    named = {"as it is": one}
    result |= dict.fromkeys(("kills", "card_interrupts", "card_threads"), named)
    result |= {"damaged": {"a.npy": {"cut": one}}}
    page = evaluation.page(result)
    assert "**24 tries; nothing was lost.**" in page
    assert "| a.npy, cut | 3 | 3 |" in page
    page = evaluation.page(result | {"planted": one | {"lost": ["r.html"]}})
    assert "**24 tries. Lost:**\n\n- r.html" in page
