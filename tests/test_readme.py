"""The Python blocks of README.md and the guides run in order, and show what they say."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/evaluation.md", "docs/hosts.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.long
def test_python_blocks_show_what_they_say(page):
    check(page)


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
    assert n_examples > 10


@pytest.mark.parametrize("page", PAGES)
def test_no_prompt_is_outside_a_checked_block(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert ">>>" not in BLOCK.sub("", text)
