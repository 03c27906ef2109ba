"""Tables of a report."""

import html
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row("th", head)] if head else []
    lines += [_row("td", row) for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _row(tag: str, cells: Sequence[str]) -> str:
    texts = [
        f"<{tag}{' class=name' * (i == 0)}>{html.escape(text)}</{tag}>"
        for i, text in enumerate(cells)
    ]
    return f"<tr>{''.join(texts)}</tr>"
