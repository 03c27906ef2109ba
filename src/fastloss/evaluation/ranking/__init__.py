"""Evaluation of rankings, query by query."""
