"""Why fastloss can be trusted: experiments, and the pages of docs/trust/ that show their results.

Each module that `experiments.py` lists is one experiment: `TITLE`, what it asks, in a few words;
`measure()`, which returns what was found, as JSON can hold it; `page(result)`, the result as
Markdown; and if a picture helps, `draw(result, path)`. The parts that take seconds are also run as
tests, by the `test_trust*.py` of `tests/`.

What experiments share: `rivals.py` calls the losses of other libraries, `ulp.py` measures errors
number by number, `processes.py` runs code in processes of its own, `drawing.py` and `report.py`
make pictures and pages. `odd_inputs.py` takes its rows from `odd_rows.py` and what is promised from
`promises.py`.
"""
