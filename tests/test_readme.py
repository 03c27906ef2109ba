"""The Python blocks of README.md and the pages of docs/ run in order, and show what they say."""

import doctest
import re
from pathlib import Path

import pytest
from plain import plain

ROOT = Path(__file__).parent.parent
# Those of hosts that `make test-hosts` installs are run by it.
OF_HOSTS = {"docs/torch.md", "docs/jax.md"}
PAGES = ["README.md"] + [
    path.relative_to(ROOT).as_posix()
    for path in sorted(ROOT.glob("docs/*.md"))
    if ">>>" in path.read_text(encoding="utf-8")
]
BLOCK = re.compile(r"^```(?:python|{eval-rst}\n\.\. plot::)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Pictures are of small data, and each is of another loss.
IN_PLAIN_PYTHON = ["docs/gallery.md"]


@pytest.mark.parametrize("page", sorted({*PAGES} - OF_HOSTS - {*IN_PLAIN_PYTHON}))
@pytest.mark.long
def test_python_blocks_show_what_they_say(page):
    check(page)


@pytest.mark.parametrize("page", IN_PLAIN_PYTHON)
@plain
@pytest.mark.long
def test_pictures_are_drawn(page, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    check(page)
    assert len(pyplot.get_fignums()) == (ROOT / page).read_text(encoding="utf-8").count(".. plot::")
    pyplot.close("all")


def check(page):
    """Whether the blocks of a page, which have one namespace, show what they say."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for host in re.findall(r"^>>> import fastloss\.(\w+)", text, re.MULTILINE):
        pytest.importorskip(host, reason=f"needs what 'fastloss[{host}]' installs")
    names = {"__name__": "page"}
    report = []
    n_examples = 0
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        test = doctest.DocTestParser().get_doctest(block[1], names, page, page, line)
        assert test.examples, f"{page}, line {line}: code without >>> is not checked"
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=report.append, clear_globs=False)
        names = test.globs
        n_examples += len(test.examples)
    assert not report, "".join(report)
    assert n_examples


@pytest.mark.parametrize("page", PAGES)
def test_no_prompt_is_outside_a_checked_block(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert ">>>" not in BLOCK.sub("", text)
