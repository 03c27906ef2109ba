"""Losses that follow from the softmax of rows of logits, for short rows and for long ones."""
