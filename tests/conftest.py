"""Runs the tests marked `plain` in plain Python; see `plain.py`."""

import pytest
from plain import is_plain, plain_python


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Around fixtures, too, of which those of a module are made by the first test that asks."""
    if not is_plain(item):
        return (yield)
    with plain_python():
        return (yield)
