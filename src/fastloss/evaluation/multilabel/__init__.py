"""Evaluation of several labels in each row."""
