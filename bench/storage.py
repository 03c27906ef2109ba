"""Where the results of `make bench` lie."""

from pathlib import Path

FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"  # of the table that README.md shows, which is this one:
SPEED = "speed"


def path(table: str) -> Path:
    return LATEST if table == SPEED else FOLDER / f"{table}.json"
