"""Evaluation of numbers and their predictions."""
