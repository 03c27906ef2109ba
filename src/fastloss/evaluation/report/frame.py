"""The frame of a report: one HTML file that needs nothing else."""

import html
from collections.abc import Iterable

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 84rem; margin: 2rem auto; padding: 0 1.2rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.6rem; border-bottom: 1px solid #ccc; padding-bottom: .2rem; }
h3 { margin: 1.6rem 0 .3rem; font-size: 1.02rem; }
nav { display: flex; flex-wrap: wrap; gap: 0 .9rem; }
nav a { white-space: nowrap; }
img, svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid #e2e2e2;
         white-space: nowrap; }
th { background: #f3f3f3; vertical-align: bottom; white-space: normal; }
.name { text-align: left; }
.ours { font-weight: bold; }
.lost { color: #b00000; background: #fdeaea; font-weight: bold; }
td small { display: block; font-size: 12px; color: #555; }
.lost small { color: #b00000; }
.problems { background: #fff4e0; border-left: 4px solid #e69f00; padding: .5rem 1rem; }
dl { display: grid; grid-template-columns: fit-content(40%) auto; gap: .15rem 1rem; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
"""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; empty elements of `body` are left out."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        "<body>\n" + "\n".join(filter(None, body)) + "\n</body></html>\n"
    )


def partial(n_rows: int | None) -> str:
    """What is said at the head of a report of some rows."""
    after = "" if n_rows is None else f" after {n_rows:,} rows"
    return (
        f'<div class="problems">Partial: the evaluation was interrupted{after}. All numbers are of '
        "these rows alone.</div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """What a report is about: names and texts, in two columns."""
    return (
        "<dl>"
        + "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in pairs)
        + "</dl>"
    )
