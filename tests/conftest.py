"""`plain` tests run in plain Python, see `plain.py`; examples of docstrings are `long`."""

from importlib.util import find_spec

import pytest
from house import HOSTS
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
            host = item.dtest.globs["__name__"].split(".")[1:2]
            if HOSTS.intersection(host) and find_spec(*host) is None:
                item.add_marker(pytest.mark.skip(f"needs what 'fastloss[{host[0]}]' installs"))
