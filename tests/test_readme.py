"""The Python blocks of README.md run in order, in one namespace, and show what they say."""

import doctest
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_python_blocks_show_what_they_say():
    text = README.read_text(encoding="utf-8")
    names = {"__name__": "readme"}
    report = []
    n_examples = 0
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        test = doctest.DocTestParser().get_doctest(block[1], names, "README", str(README), line)
        assert test.examples, f"README.md, line {line}: code without >>> is not checked"
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=report.append, clear_globs=False)
        names = test.globs
        n_examples += len(test.examples)
    assert not report, "".join(report)
    assert n_examples > 10


def test_no_prompt_is_outside_a_checked_block():
    text = README.read_text(encoding="utf-8")
    assert ">>>" not in BLOCK.sub("", text)
