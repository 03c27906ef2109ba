"""`plain` tests run in plain Python, see `plain.py`; examples of docstrings are `long`."""

import pytest
from plain import is_plain, plain_python


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Around fixtures, too, of which those of a module are made by the first test that asks."""
    if not is_plain(item):
        return (yield)
    with plain_python():
        return (yield)


def pytest_collection_modifyitems(items):
    """Nearly each example of a docstring compiles a kernel that no test needs."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("long")
