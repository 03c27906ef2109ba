"""The page of fuzzing is made of what was counted and of what was found."""

from trust import fuzz


def test_every_property_has_its_words():
    """They are read from the tests, which say in a docstring what they are."""
    properties = fuzz._properties()
    assert len(properties) > 10
    assert [name for name, what in properties if not what] == []


def test_results_are_read(tmp_path):
    results = tmp_path / "results.xml"
    results.write_text(
        '<testsuites><testsuite><testcase name="test_a[1]"/>'
        '<testcase name="test_a[2]"><failure message="1 is not 2">trace</failure></testcase>'
        '<testcase name="test_b"/></testsuite></testsuites>'
    )
    parameters, found = fuzz._read(results)
    assert parameters == {"test_a": 2, "test_b": 1}
    assert found == [{"test": "test_a[2]", "message": "1 is not 2"}]


def test_the_page_says_what_was_found():
    counted = {"name": "test_a_thing", "what": "Works.", "parameters": 2, "cases": 1200}
    page = fuzz.page({"seed": 5, "properties": [counted], "found": []})
    assert "| a thing | Works. | 2 | 0 | 1,200 | 0 |" in page
    assert "Nothing was found" in page
    found = [{"test": "test_a_thing[1]", "message": "1 is not 2"}]
    page = fuzz.page({"seed": 5, "properties": [counted], "found": found})
    assert "| `test_a_thing[1]` | 1 is not 2 |" in page
