"""`fl.evaluate` of each task, and what is said where another one is meant."""

import pytest
from plain import plain

import fastloss as fl

pytestmark = plain


def test_a_task_that_there_is_not_is_told_by_name():
    with pytest.raises(
        ValueError, match=r"there is no task 'bin': there are 'multiclass', 'binary'"
    ):
        fl.evaluate([0], [[1.0, 2.0]], task="bin")
