"""What adds up over rows: exact sums by key, which come in parts and are merged in any order."""
