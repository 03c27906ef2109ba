"""What Sphinx is told besides `conf.py`: how docstrings and formulas become pages."""
