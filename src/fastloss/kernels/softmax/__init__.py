"""Losses that follow from the softmax of rows of logits, for short rows and for long ones.

`traits` says what a kernel is made for. All else are factories of functions: they take the traits,
look up what is constant, and return a function or a named tuple of some, which a test can call
alone. `formulas` are of one class, `group_sums` of one row. `long_rows` goes along the row, a part
of `parts` at a time, and `short_rows` across rows, along the lanes of `lanes`. What each of the two
does about labels, outputs and scores is in `labels`, `outputs` and `row_scores`. `pairs` compares
two sets of logits, and `short_pairs` does so across rows, on `two_rows` and `divergences`.

The last bit of a sum depends on how LLVM sees the loop around it: to read a number earlier, or to
hand over a tuple in place of its members, may change it. `tests/result_hashes.py` notices.
"""
