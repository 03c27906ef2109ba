"""The pages of docs/trust/ are what the stored results make, and every experiment has one."""

import re

import pytest

from trust import experiments, report


def test_every_page_is_listed():
    index = (report.ROOT / "docs" / "trust" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \|", index, re.MULTILINE)
    assert sorted(listed) == sorted((name, name) for name in experiments.NAMES)


@pytest.mark.parametrize("name", experiments.NAMES)
def test_pages_are_made_of_the_stored_results(name):
    experiment = experiments.load(name)
    made = report.page(name, experiment, report.stored(name))
    assert report.path(name, "md").read_text(encoding="utf-8") == made, (
        f"make trust NAME={name} ARGS=--render"
    )
    if hasattr(experiment, "draw"):
        assert report.path(name, "png").stat().st_size > 10_000
