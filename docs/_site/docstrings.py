"""Docstrings, whose text is plain, as reStructuredText."""

import ast
import re
from typing import Any

from .formulas import is_formula, math


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A handler of `autodoc-process-docstring`, which changes `lines` in place."""
    lines[:] = rewritten(lines)


def rewritten(lines: list[str]) -> list[str]:
    """Formulas as mathematics, other blocks as they stand, tables, and no markup in the text."""
    result: list[str] = []
    place = 0
    while place < len(lines):
        line = lines[place]
        if line.startswith(">>>"):
            while place < len(lines) and lines[place].strip():
                result.append(lines[place])
                place += 1
        elif line.startswith("    ") and not (result and result[-1].strip()):
            block = []
            while place < len(lines) and (line := lines[place]).startswith("    "):
                block.append(line[4:])
                place += 1
            if is_formula(block):
                directive, block = ".. math::", math(block).splitlines()
            else:
                directive = "::" if _is_python(block) else ".. code-block:: text"
            result += [directive, "", *(f"    {each}" for each in block)]
        elif line.startswith("| "):
            rows = []
            while place < len(lines) and (line := lines[place]).startswith("|"):
                rows.append([_plain(cell.strip()) for cell in line.strip("|").split("|")])
                place += 1
            result += _table(rows)
        else:
            result.append(_plain(line))
            place += 1
    return result


def _table(rows: list[list[str]]) -> list[str]:
    """Rows of cells, the first of them the head, and the second the rule below it."""
    result = [".. list-table::", "    :header-rows: 1", ""]
    for first, *others in [rows[0], *rows[2:]]:
        result += [f"    * - {first}", *(f"      - {cell}" for cell in others)]
    return result


def _is_python(block: list[str]) -> bool:
    """Whether it can be coloured as such; a sign that Python does not know is a warning."""
    try:
        ast.parse("\n".join(block))
    except SyntaxError:
        return False
    return True


def _plain(line: str) -> str:
    """Code between backticks as it is, and what else would be markup escaped."""
    parts = re.split("(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([|*\\]|(?<=\w)_(?!\w))", r"\\\1", text)
