"""fastloss in the place of its peers, under their own tests; `trust/peers.py` runs them.

A module for each peer has adapters, which give fastloss the interface of the peer and do no more
than scale, reorder and convert, and what puts them in the peer's place: `install()`, before the
tests are imported, or `replace_in(tests)`, in their module. `REFUSALS` has reasons for errors
that fastloss raises on purpose, by a pattern of their message, and `CAUSES` the causes of failures,
by the name of the test; `VOID` has tests that would say nothing, by a pattern of their name. What
fastloss has not the peer answers itself; `recorder.py` notes that.
No test and no input of a peer is copied: all are those that are installed.
"""
