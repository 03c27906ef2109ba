"""The comparison: NumPy, naive and careful, other libraries, fastloss, and the speed of memory."""
