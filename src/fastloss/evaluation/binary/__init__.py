"""Evaluation of two classes."""
