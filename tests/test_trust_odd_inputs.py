"""The table of odd inputs of docs/trust/: whether each promise is kept, here and now."""

import json

import numpy as np
import pytest

from trust import odd_inputs, processes, report
from trust.odd_rows import FAMILIES, Row
from trust.promises import ANY, FINITE, Gives, Raises

# Uncompiled, the whole table takes a second.
WHOLE = """
import json
from trust import odd_inputs
families = [name for name in odd_inputs.FAMILIES if name != "Long arrays"]
print(json.dumps(odd_inputs.measure(families, libraries=())))
"""


def rows_of(result):
    return [row for rows in result["families"].values() for row in rows]


def broken(result):
    return [f"{row['call']} gives {row['fastloss']}" for row in rows_of(result) if not row["kept"]]


def test_all_promises_in_plain_python():
    outcome = processes.run(WHOLE, NUMBA_DISABLE_JIT="1")
    assert outcome.verdict == processes.OK, outcome.error
    result = json.loads(outcome.output)
    assert len(rows_of(result)) > 200
    assert broken(result) == []


@pytest.mark.long
def test_promises_of_compiled_code():
    """Of losses without reduction, whose kernels most other tests use too."""
    families = ["Cross-entropy, class ids", "Regression", "Any arrays"]
    result = odd_inputs.measure(
        families,
        libraries=(),
        which=lambda row: row.loss in ("mse", "cross_entropy") and row.reduction == "none",
    )
    assert len(rows_of(result)) > 40
    assert broken(result) == []


def test_the_page_has_the_rows_of_the_table():
    stored = report.stored("odd_inputs")["result"]
    assert broken(stored) == []
    calls = {family: [row.call() for row in FAMILIES[family]()] for family in FAMILIES}
    found = {family: [row["call"] for row in rows] for family, rows in stored["families"].items()}
    assert found == calls


@pytest.mark.parametrize(
    "promise",
    [
        Gives([4.0], [5.0]),
        Gives([np.nan], [4.0]),
        Gives([4.0, 4.0], ANY),
        Gives([4.0], [4.0], warns=True),
        Raises(ValueError, "y_pred"),
    ],
    ids=str,
)
def test_a_promise_can_be_broken(promise):
    row = Row("", "mse", np.array([0.0]), np.array([2.0]), promise)
    assert not odd_inputs.answers(row, [])["kept"]


def test_a_promise_of_an_error_is_broken_by_other_words():
    row = Row("", "mse", np.zeros(2), np.zeros(3), Raises(ValueError, "logits"))
    assert not odd_inputs.answers(row, [])["kept"]


def test_words_in_the_place_of_numbers():
    row = Row("", "mse", np.array([0.0]), np.array([2.0]), Gives([FINITE], [ANY]))
    found = odd_inputs.answers(row, [])
    assert found["kept"]
    assert found["fastloss"] == "loss [4]\ngradient [4]"
