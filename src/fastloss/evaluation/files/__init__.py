"""Evaluation of files larger than memory: how they are read, passed over and written."""
