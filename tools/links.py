"""`python -m tools.links FOLDER`: whether links within a site of HTML files lead somewhere.

Those that do not are said, and the exit status is 1. Other sites are not asked.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def dead_links(folder: Path) -> list[str]:
    pages = {}
    for path in folder.resolve().rglob("*.html"):
        if "_static" in path.parts:  # a template of the theme
            continue
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return [
        f"{path.relative_to(folder.resolve())} has a dead link: {link}"
        for path, page in sorted(pages.items())
        for link in sorted(set(page.links))
        if not _leads_somewhere(link, path, pages)
    ]


def _leads_somewhere(link: str, path: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not parts.fragment or target not in pages:
        return target.exists()
    return unquote(parts.fragment) in pages[target].places


def main(folder: str) -> int:
    dead = dead_links(Path(folder))
    print("\n".join(dead) or f"the site is {folder}/index.html")
    return int(bool(dead))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
