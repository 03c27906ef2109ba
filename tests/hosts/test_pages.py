"""The pages of hosts that `make test-hosts` installs show what they say, on real data."""

import pytest
from test_readme import check


@pytest.mark.parametrize("page", ["docs/torch.md", "docs/jax.md"])
def test_python_blocks_show_what_they_say(page):
    check(page)
