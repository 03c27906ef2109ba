"""The Python blocks of README.md run in order, in one namespace, and show what they say."""

import doctest
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_python_blocks():
    text = README.read_text(encoding="utf-8")
    namespace = {}
    n_examples = 0
    for block in BLOCK.finditer(text):
        first_line = text.count("\n", 0, block.start(1))
        parsed = doctest.DocTestParser().get_doctest(
            block[1], namespace, "README.md", str(README), first_line
        )
        assert parsed.examples, f"README.md, line {first_line}: a block without >>> is not checked"
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        output = []
        runner.run(parsed, out=output.append, clear_globs=False)
        assert runner.summarize(verbose=False).failed == 0, "".join(output)
        namespace = parsed.globs
        n_examples += len(parsed.examples)
    assert n_examples > 10


def test_every_indented_prompt_is_in_a_checked_block():
    text = README.read_text(encoding="utf-8")
    assert ">>>" not in BLOCK.sub("", text)
