"""The comparison: naive NumPy, careful NumPy, other libraries, fastloss, and the speed of memory."""
