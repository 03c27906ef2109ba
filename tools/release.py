"""`make release VERSION=x.y.z`: all of a release but its publication, for which see RELEASING.md.

Looks whether there is a release to be made, writes its version and its heading in the changelog,
has everything checked that `.ci/run` checks, commits, tags, and builds into `dist/`. If anything is
wrong, the files are again as they were, and nothing is committed.

`make publishable` looks for the addresses without which nothing is published.
"""

import argparse
import datetime
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import package

ROOT = Path(__file__).resolve().parent.parent
# Where the version stands: the whole place, with the version as its one group.
PLACES = {
    "src/fastloss/__init__.py": r'^__version__ = "(.*)"$',
    "CITATION.cff": r'^version: "(.*)"$',
    "conda/recipe.yaml": r'^  version: "(.*)"$',
}
# Where the address of the repository stands, and what else leads there from an index.
ADDRESSES = {
    "pyproject.toml": {
        f"{name} in [project.urls]": rf'^\[project\.urls\]\n(?:.+\n)*{name} = "https://.+"$'
        for name in ("Documentation", "Source", "Issues", "Changelog")
    },
    "CITATION.cff": {"repository-code": r'^repository-code: "?https://'},
    "conda/recipe.yaml": {"homepage in about": r'^  homepage: "?https://'},
    "SECURITY.md": {"an address to report to": r"https://|@"},
}
RELATIVE = r"\]\((?!https://|#)(.*?)\)"  # a link that leads nowhere from an index
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "## [Unreleased]\n"


class Refused(Exception):
    """What is wrong, and what to do."""


def release(root: Path, version: str, today: datetime.date, check: Callable[[], bool]) -> None:
    """Write, check, commit and tag."""
    _check_version(root, version)
    if _git(root, "status", "--porcelain"):
        raise Refused("there are changes that are not committed: commit them first")
    changed = written(root, version, today)
    before = {path: path.read_text(encoding="utf-8") for path in changed}
    try:
        for path, text in changed.items():
            path.write_text(text, encoding="utf-8")
        if not check():
            raise Refused("something is wrong, see above; nothing was changed")
    except BaseException:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
        raise
    _git(root, "commit", "--quiet", "--all", "--message", f"Version {version}")
    signed = _git(root, "config", "--default", "", "--get", "user.signingkey")
    _git(root, "tag", "--sign" if signed else "--annotate", f"v{version}", "-m", f"v{version}")


def _check_version(root: Path, version: str) -> None:
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refused(
            f"VERSION is {version!r}, but must be three numbers: make release VERSION=1.2.3"
        )
    tags = re.findall(r"^v(\d+)\.(\d+)\.(\d+)$", _git(root, "tag"), re.MULTILINE)
    newest = max((tuple(map(int, tag)) for tag in tags), default=(0, 0, 0))
    if tuple(map(int, version.split("."))) <= newest:
        raise Refused(f"{'.'.join(map(str, newest))} has been released: VERSION must be larger")


def written(root: Path, version: str, today: datetime.date) -> dict[Path, str]:
    """What the files that name a version are to hold."""
    texts = {
        root / name: _with_version(root / name, place, version) for name, place in PLACES.items()
    }
    path = root / "CITATION.cff"
    texts[path] = re.sub("^date-released: .*\n", "", texts[path], flags=re.MULTILINE)
    texts[path] += f"date-released: {today.isoformat()}\n"
    path = root / CHANGELOG
    texts[path] = with_heading(path.read_text(encoding="utf-8"), version, today)
    return texts


def _with_version(path: Path, place: str, version: str) -> str:
    text = path.read_text(encoding="utf-8")
    (found,) = re.finditer(place, text, re.MULTILINE)
    return text[: found.start(1)] + version + text[found.end(1) :]


def with_heading(text: str, version: str, today: datetime.date) -> str:
    """The changelog with what is unreleased as that of a version, and nothing unreleased."""
    before, heading, after = text.partition(UNRELEASED)
    section = after.partition("\n## [")[0]
    if not heading or not re.search("^- ", section, re.MULTILINE):
        raise Refused(f"{CHANGELOG} has no line under [Unreleased]: say what is new")
    return f"{before}{heading}\n## [{version}] - {today.isoformat()}\n{after}"


def unpublishable(root: Path) -> list[str]:
    """What must be there before anything is published, and is not."""

    def text_of(name: str) -> str:
        return (root / name).read_text(encoding="utf-8")

    lacking = [
        f"{name} lacks {what}"
        for name, places in ADDRESSES.items()
        for what, place in places.items()
        if not re.search(place, text_of(name), re.MULTILINE)
    ]
    relative = re.findall(RELATIVE, text_of("README.md"))
    return lacking + ([f"README.md has relative links: {relative[0]}"] if relative else [])


def _git(root: Path, *arguments: str) -> str:
    ran = subprocess.run(
        ["git", *arguments], cwd=root, stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout.strip()


def _everything_holds() -> bool:
    return subprocess.run(["bash", ".ci/run"], cwd=ROOT, check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make release VERSION=x.y.z", usage="%(prog)s")
    parser.add_argument("version", nargs="?", default="")
    parser.add_argument("--publishable", action="store_true")
    options = parser.parse_args(arguments)
    if options.publishable:
        wrong = unpublishable(ROOT)
        print("\n".join(wrong) or "all addresses are there")
        return int(bool(wrong))
    version = options.version
    try:
        release(ROOT, version, datetime.date.today(), _everything_holds)
    except Refused as error:
        print(error, file=sys.stderr)
        return 2
    package.build()
    print(f"v{version} is tagged and built, and not published: RELEASING.md says how to go on")
    for lacking in unpublishable(ROOT):
        print(f"before it is published: {lacking}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
