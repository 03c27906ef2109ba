"""What follows from the ranks of scores: areas, curves, thresholds."""
