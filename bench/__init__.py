"""The comparison of `fastloss.study` on pytest-benchmark, and its figures in README.md."""
